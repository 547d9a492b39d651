package oidc

import (
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/signin"
)

const (
	acr1 = "https://refeds.org/profile/sfa"
	acr2 = "https://refeds.org/profile/mfa"
)

// change gives an application of the file other rules while the provider runs,
// as an edited file and a restart would.
func (w *world) change(id string, fn func(c *Client)) {
	w.t.Helper()
	c := *w.p.clients.fixed[id]
	fn(&c)
	c.app = c.application()
	w.p.clients.fixed[id] = &c
	w.p.clients.current.Store(w.p.clients.assemble(nil))
}

// known makes the door know its person at the level.
func (w *world) known(level signin.Level) {
	w.door.mu.Lock()
	defer w.door.mu.Unlock()
	w.door.result.Level, w.door.result.AMR = level, []string{"pwd"}
	if level > signin.OneFactor {
		w.door.result.AMR = []string{"pwd", "otp", "mfa"}
	}
}

func TestAcrNamesTheLevelThatWasProven(t *testing.T) {
	plain, pro := &Client{}, &Client{Profile: ProfileProConnect}
	for _, c := range []struct {
		name    string
		wish    acrWish
		client  *Client
		asks    signin.Level
		refused bool
		at      map[signin.Level]string // "" refuses
	}{
		{"no wish", acrWish{}, plain, 0, false, map[signin.Level]string{1: acr1, 2: acr2, 3: "phr"}},
		{"no wish, of an application of ProConnect", acrWish{}, pro, 0, false, map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa", 3: "eidas1-mfa"}},
		{"a wish in the words of ProConnect, of another application", acrWish{names: []string{"eidas1-mfa"}}, plain, 2, false, map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa"}},
		{"a wish in the words of REFEDS, of an application of ProConnect", acrWish{names: []string{acr2}}, pro, 2, false, map[signin.Level]string{1: acr1, 2: acr2}},
		{"the lower one asked, more proven", acrWish{names: []string{"eidas1"}}, pro, 1, false, map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa"}},
		{"of two names for one level, the one that says more", acrWish{names: []string{"eidas0-mfa", "eidas1-mfa", "eidas2", "eidas3"}, essential: true}, pro, 2, false, map[signin.Level]string{1: "", 2: "eidas1-mfa"}},
		{"eidas0 is read as eidas1, and answered as it was asked", acrWish{names: []string{"eidas0", "eidas0-mfa"}}, pro, 1, false, map[signin.Level]string{1: "eidas0", 2: "eidas0-mfa"}},
		{"both, the better first", acrWish{names: []string{"eidas1-mfa", "eidas1"}}, pro, 2, false, map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa"}},
		{"both, the better last: it is answered when it is true", acrWish{names: []string{"eidas1", "eidas1-mfa"}}, pro, 1, false, map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa"}},
		{"what cannot be reached is skipped", acrWish{names: []string{"eidas3", "eidas2", "phr", "eidas1-mfa"}}, pro, 2, false, map[signin.Level]string{1: acr1, 2: "eidas1-mfa"}},
		{"only what cannot be reached", acrWish{names: []string{"eidas2", "0", "gold"}}, pro, 0, false, map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa"}},
		{"essential", acrWish{names: []string{"eidas1-mfa"}, essential: true}, pro, 2, false, map[signin.Level]string{1: "", 2: "eidas1-mfa"}},
		{"essential, the lower one: it is answered although more was proven", acrWish{names: []string{"eidas1"}, essential: true}, pro, 1, false, map[signin.Level]string{1: "eidas1", 2: "eidas1"}},
		{"essential, two", acrWish{names: []string{"eidas1", "eidas1-mfa"}, essential: true}, pro, 1, false, map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa"}},
		{"essential, not reachable", acrWish{names: []string{"phr"}, essential: true}, plain, 0, true, map[signin.Level]string{1: "", 2: ""}},
		{"essential, unknown", acrWish{names: []string{"eidas2", "gold"}, essential: true}, pro, 0, true, map[signin.Level]string{1: "", 2: ""}},
		{"essential, whatever it is", acrWish{essential: true}, plain, 0, false, map[signin.Level]string{1: acr1, 2: acr2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if asks, ok := c.wish.level(signin.TwoFactors); asks != c.asks || ok == c.refused {
				t.Errorf("asks level %d, %v", asks, ok)
			}
			for level, want := range c.at {
				got, ok := c.wish.answer(level, c.client)
				if got != want || ok != (want != "") {
					t.Errorf("known at level %d: %q %v, want %q", level, got, ok, want)
				}
				if l, _ := levelOf(got); l > level {
					t.Errorf("known at level %d: %q says more", level, got)
				}
			}
		})
	}
}

func TestDiscoveryNamesOnlyTheLevelsThatCanBeProven(t *testing.T) {
	if got := strings.Join(acrsOffered(signin.TwoFactors), " "); got != acr1+" "+acr2+" eidas1 eidas0 eidas1-mfa eidas0-mfa" {
		t.Error(got)
	}
	if got := acrsOffered(signin.PhishingResistant); !slices.Contains(got, "phr") {
		t.Error(got)
	}
	if level, ok := (acrWish{names: []string{"phr"}, essential: true}).level(signin.PhishingResistant); level != signin.PhishingResistant || !ok {
		t.Error(level, ok)
	}
}

func TestProConnectReadsTOTPWhereOthersReadOTP(t *testing.T) {
	done := []string{"pwd", "otp", "mfa"}
	if got := amrFor(&Client{Profile: ProfileProConnect}, done); !slices.Equal(got, []string{"pwd", "totp", "mfa"}) {
		t.Error(got)
	}
	if got := amrFor(&Client{}, done); !slices.Equal(got, done) || done[1] != "otp" {
		t.Error(got, done)
	}
}

// TestTokensSayWhatTheSignInProved, whatever was asked, and a refresh no more.
func TestTokensSayWhatTheSignInProved(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, level := range []signin.Level{1, 2} {
			w.signIn(marie, "sid-1")
			w.known(level)
			want := map[signin.Level]string{1: "eidas1", 2: "eidas1-mfa"}[level]
			a := w.tokens("tool", "acr_values", "eidas1-mfa")
			w.signIn(marie, "sid-1")
			w.known(2) // the session grows, the authorization does not
			again := w.refresh("tool", a.text("refresh_token"))
			w.must(again, 200)
			for _, tokens := range []answer{a, again} {
				for name, got := range map[string]any{
					"id_token":   w.idClaims("tool", tokens.text("id_token"))["acr"],
					"userinfo":   w.userinfo(tokens.text("access_token")).json["acr"],
					"introspect": w.introspect("tool", tokens.text("access_token")).json["acr"],
				} {
					if got != want {
						t.Errorf("level %d, %s: %v", level, name, got)
					}
				}
			}
		}
	})
}

// TestStricterRuleRefusesTheWeakerSignIn on every path that an authorization
// has: the application, or the resource, asks two factors of a sign-in with one.
func TestStricterRuleRefusesTheWeakerSignIn(t *testing.T) {
	for _, c := range []struct {
		name   string
		id     string                // whose rule becomes stricter
		refuse func(w *world) func() // prepares, then asserts the refusal
	}{
		{"code", "tool", func(w *world) func() {
			code := w.code("tool")
			return func() { w.refusedWith(w.redeem("tool", code), "invalid_grant") }
		}},
		{"refresh", "tool", func(w *world) func() {
			token := w.tokens("tool").text("refresh_token")
			return func() { w.refusedWith(w.refresh("tool", token), "invalid_grant") }
		}},
		{"refresh with offline_access", "tool", func(w *world) func() {
			token := w.tokens("tool", "scope", "openid offline_access").text("refresh_token")
			return func() { w.refusedWith(w.refresh("tool", token), "invalid_grant") }
		}},
		{"exchange, the application", "tool", func(w *world) func() {
			token := w.tokens("tool", "scope", "openid mail").text("access_token")
			return func() { w.refusedWith(w.exchange("tool", token), "invalid_grant") }
		}},
		{"exchange, the resource", "imap", func(w *world) func() {
			token := w.tokens("tool", "scope", "openid mail").text("access_token")
			return func() { w.refusedWith(w.exchange("tool", token), "invalid_grant") }
		}},
		{"introspection", "tool", func(w *world) func() {
			token := w.tokens("tool").text("access_token")
			return func() { w.inactive("tool", token) }
		}},
		{"introspection of the refresh token", "tool", func(w *world) func() {
			token := w.tokens("tool").text("refresh_token")
			return func() { w.inactive("tool", token) }
		}},
		{"introspection by the resource", "imap", func(w *world) func() {
			token := w.exchange("tool", w.tokens("tool", "scope", "openid mail").text("access_token")).text("access_token")
			if !w.active("imap", token) {
				w.t.Error("not active before")
			}
			return func() { w.inactive("imap", token) }
		}},
		{"userinfo", "tool", func(w *world) func() {
			token := w.tokens("tool").text("access_token")
			return func() { w.stepUp(w.userinfo(token)) }
		}},
		{"the provider's own resources", "tool", func(w *world) func() {
			token := w.tokens("tool", "scope", "openid applications").text("access_token")
			return func() { w.stepUp(w.get("/api/applications", "Authorization", "Bearer "+token)) }
		}},
		{"an authorization of before levels were kept", "tool", func(w *world) func() {
			token := w.tokens("tool").text("refresh_token")
			if _, err := w.db.Exec(w.t.Context(), "UPDATE oidc_grant SET level = 0"); err != nil {
				w.t.Fatal(err)
			}
			return func() { w.refusedWith(w.refresh("tool", token), "invalid_grant") }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) {
				w.known(signin.OneFactor)
				refused := c.refuse(w)
				w.change(c.id, func(c *Client) { c.Assurance = 2 })
				refused()

				// Two factors are enough for the same, so that the rule alone refused.
				w.known(signin.TwoFactors)
				w.must(w.refresh("tool", w.tokens("tool").text("refresh_token")), 200)
			})
		})
	}
}

// TestStricterRuleRefusesTheDeviceThatWasAllowed: the same for a device, between
// the person's answer and its tokens, and at its refresh.
func TestStricterRuleRefusesTheDeviceThatWasAllowed(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		phone := h.guest()
		allow := func() string {
			t.Helper()
			a := h.asks("printer", "scope", "openid offline_access")
			p := phone.post("/device", "user_code", a.text("user_code"))
			if !strings.Contains(p.body, "Allow this device?") {
				p = phone.password(p, "mdupont")
			}
			phone.answers(p, "allow").must(t, 200, "The device is allowed")
			h.clock.pass(6 * time.Second)
			return a.text("device_code")
		}
		b := h.polls("printer", allow())
		h.must(b, 200)
		b = h.refresh("printer:", b.text("refresh_token"), "client_id", "printer")
		h.must(b, 200)
		code := allow()
		h.change("printer", func(c *Client) { c.Assurance = 2 })
		h.refusedWith(h.polls("printer", code), "invalid_grant")
		h.refusedWith(h.refresh("printer:", b.text("refresh_token"), "client_id", "printer"), "invalid_grant")
	})
}

// TestOfflineAccessEndsWithItsScope: an application that may not have it any
// more keeps what it has as long as the session, no longer.
func TestOfflineAccessEndsWithItsScope(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool", "scope", "openid mail offline_access")
		w.people.mu.Lock()
		delete(w.people.sessions, "sid-1")
		w.people.mu.Unlock()
		a = w.refresh("tool", a.text("refresh_token"))
		w.must(a, 200)
		w.change("tool", func(c *Client) { c.Scopes = []string{"openid", "mail"} })
		w.refusedWith(w.refresh("tool", a.text("refresh_token")), "invalid_grant")
		w.refusedWith(w.exchange("tool", a.text("access_token")), "invalid_grant")
		w.signIn(marie, "sid-1")
		w.must(w.refresh("tool", a.text("refresh_token")), 200)
	})
}

func (w *world) inactive(client, token string) {
	w.t.Helper()
	if w.active(client, token) {
		w.t.Error("the token is active")
	}
}

// stepUp asserts the challenge of RFC 9470 §3.
func (w *world) stepUp(a answer) {
	w.t.Helper()
	challenge := a.header.Get("WWW-Authenticate")
	if a.status != 401 || !strings.Contains(challenge, `error="insufficient_user_authentication"`) || !strings.Contains(challenge, `acr_values="`+acr2+`"`) {
		w.t.Errorf("%d %s %s", a.status, challenge, a.body)
	}
}

func TestDefaultAcrValuesAskWhereTheRequestSaysNothing(t *testing.T) {
	w := onOne(t)
	w.change("tool", func(c *Client) { c.DefaultACRs = []string{"eidas1-mfa"} })
	for _, c := range []struct {
		asked string
		want  signin.Level
	}{{"-", 2}, {"eidas1", 1}, {"gold", 0}} {
		w.code("tool", "acr_values", c.asked)
		if w.door.last.Assurance != c.want {
			t.Errorf("acr_values %s: %d", c.asked, w.door.last.Assurance)
		}
	}
}

// TestEssentialAcrIsProvenOrRefused: by the claim acr (OpenID Connect Core §5.5.1.1).
func TestEssentialAcrIsProvenOrRefused(t *testing.T) {
	w := onOne(t)
	essential := func(names string) []string {
		return []string{"claims", `{"id_token":{"acr":{"essential":true,"values":[` + names + `]}}}`}
	}
	// The door would have asked for a factor; one that did not gives no code.
	w.known(signin.OneFactor)
	w.redirectedWith(w.authorize(request("tool", essential(`"`+acr2+`"`)...)), "unmet_authentication_requirements")
	if w.door.last.Assurance != signin.TwoFactors {
		t.Errorf("asked level %d of the door", w.door.last.Assurance)
	}
	for _, names := range []string{`"phr"`, `"eidas2","eidas3"`, `"gold"`} {
		w.door.last = signin.Request{}
		w.redirectedWith(w.authorize(request("tool", essential(names)...)), "unmet_authentication_requirements")
		if w.door.last.Protocol != "" {
			t.Errorf("%s: the person was troubled for nothing", names)
		}
	}
	w.known(signin.TwoFactors)
	for names, want := range map[string]string{`"` + acr2 + `"`: acr2, `"eidas1"`: "eidas1", `"eidas3","eidas1-mfa","eidas1"`: "eidas1-mfa"} {
		if got := w.idClaims("tool", w.tokens("tool", essential(names)...).text("id_token"))["acr"]; got != want {
			t.Errorf("%s: %v", names, got)
		}
	}
}
