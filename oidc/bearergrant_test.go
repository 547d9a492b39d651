package oidc

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
)

const kiosks = "https://kiosks.example.test"

// registerKiosks adds an application that trusts two issuers: one proves a
// password, the other two factors.
func (w *world) registerKiosks(change ...func(c *Client)) {
	w.register(tool(append([]func(c *Client){func(c *Client) {
		c.ID, c.Home, c.RedirectURIs, c.PostLogoutURIs, c.Grants = "kiosk", "", nil, nil, []string{GrantJWTBearer, GrantExchange}
		c.AssertionIssuers = []AssertionIssuer{{Issuer: kiosks, JWKS: jwksOfTests(ES256)}, {Issuer: "https://strong.example.test", JWKS: jwksOfTests(EdDSA), Assurance: 2}}
	}}, change...)...))
}

var assertions struct {
	sync.Mutex
	n int
}

// says is what an issuer writes about a person: name, value pairs change it, nil removes.
func (w *world) says(sub string, change ...any) map[string]any {
	assertions.Lock()
	assertions.n++
	jti := fmt.Sprintf("a-%d", assertions.n)
	assertions.Unlock()
	now := w.clock.now()
	claims := map[string]any{"iss": kiosks, "sub": sub, "aud": w.http.URL, "jti": jti, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	for i := 0; i+1 < len(change); i += 2 {
		if change[i+1] == nil {
			delete(claims, change[i].(string))
		} else {
			claims[change[i].(string)] = change[i+1]
		}
	}
	return claims
}

func (w *world) vouch(client, assertion string, change ...string) answer {
	w.t.Helper()
	return w.post("/oauth2/token", client, pairs(url.Values{"grant_type": {GrantJWTBearer}, "assertion": {assertion}}, change...))
}

func TestAnAssertionOfATrustedSystemGivesAToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerKiosks()
		for _, sub := range []string{marie, "mdupont"} {
			at := w.clock.now().Unix()
			a := w.vouch("kiosk", signForeign(t, ES256, w.says(sub)))
			w.must(a, 200)
			if a.json["refresh_token"] != nil || a.json["id_token"] != nil || a.json["expires_in"] != 900.0 || strings.Contains(a.text("scope"), "openid") || !strings.Contains(a.text("scope"), "mail") {
				t.Fatalf("%s", a.body)
			}
			i := w.introspect("kiosk", a.text("access_token"))
			_, hasAMR := i.json["amr"]
			_, hasSID := i.json["sid"]
			if i.text("sub") != marie || i.text("username") != "mdupont" || i.text("acr") != "https://refeds.org/profile/sfa" || i.json["auth_time"] != float64(at) || hasAMR || hasSID {
				t.Errorf("%s", i.body)
			}
			w.clock.pass(time.Minute)
		}
		b := w.vouch("kiosk", signForeign(t, EdDSA, w.says(marie, "iss", "https://strong.example.test")), "scope", "openid email offline_access")
		w.must(b, 200)
		claims := w.idClaims("kiosk", b.text("id_token"))
		_, hasAMR := claims["amr"]
		_, hasSID := claims["sid"]
		if b.text("scope") != "openid email" || b.json["refresh_token"] != nil || claims["acr"] != "https://refeds.org/profile/mfa" || claims["sub"] != marie || hasAMR || hasSID || claims["nonce"] != nil {
			t.Errorf("%s %v", b.body, claims)
		}
		w.must(w.userinfo(b.text("access_token")), 200)
		if w.trail("oidc.bearer", "") != 3 {
			t.Error("an assertion leaves no trace")
		}
		// It is a token like any other.
		c := w.exchange("kiosk", b.text("access_token"), "scope", "-")
		w.refusedWith(c, "invalid_scope") // no scope mail in it
		d := w.vouch("kiosk", signForeign(t, ES256, w.says(marie)), "resource", "imap")
		w.must(d, 200)
		if d.text("scope") != "mail" || !w.active("imap", d.text("access_token")) {
			t.Errorf("%s", d.body)
		}
		w.must(w.post("/oauth2/revoke", "kiosk", url.Values{"token": {d.text("access_token")}}), 200)
		if w.active("imap", d.text("access_token")) {
			t.Error("revoked and alive")
		}
		w.clock.pass(15 * time.Minute)
		if w.active("kiosk", b.text("access_token")) {
			t.Error("it outlives its life")
		}
	})
}

func TestAnAssertionIsGoodOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerKiosks()
		assertion := signForeign(t, ES256, w.says(marie))
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 50 {
			wg.Go(func() {
				a := w.vouch("kiosk", assertion)
				mu.Lock()
				defer mu.Unlock()
				if a.status == 200 {
					won++
				} else if a.text("error") != "invalid_grant" {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		var grants, tokens int
		if err := w.db.QueryRow(t.Context(), "SELECT (SELECT COUNT(*) FROM oidc_grant), (SELECT COUNT(*) FROM oidc_token)").Scan(&grants, &tokens); err != nil {
			t.Fatal(err)
		}
		if won != 1 || grants != 1 || tokens != 1 {
			t.Errorf("%d winners, %d authorizations, %d tokens", won, grants, tokens)
		}
		if w.trail("oidc.bearer", "replayed") == 0 {
			t.Error("a replay leaves no trace")
		}
	})
}

func TestAnAssertionMustSayExactlyWhatItMust(t *testing.T) {
	w := onOne(t)
	w.registerKiosks()
	now := w.clock.now()
	sign := func(change ...any) string { return signForeign(t, ES256, w.says(marie, change...)) }
	good := sign()
	dots := strings.Split(good, ".")
	for name, assertion := range map[string]string{
		"of another issuer":           sign("iss", "https://evil.example.test"),
		"of no issuer":                sign("iss", nil),
		"of an issuer nearly":         sign("iss", kiosks+"/"),
		"by the key of another":       signForeign(t, ES256, w.says(marie, "iss", "https://strong.example.test")),
		"by an unregistered key":      signForeign(t, RS256, w.says(marie)),
		"for another server":          sign("aud", "https://other.example.test"),
		"for two servers":             sign("aud", []string{w.http.URL, "https://other.example.test"}),
		"for another endpoint":        sign("aud", w.http.URL+"/oauth2/authorize"),
		"for nobody":                  sign("aud", nil),
		"without end":                 sign("exp", nil),
		"expired":                     sign("exp", now.Unix()),
		"for too long":                sign("exp", now.Add(6*time.Minute).Unix()),
		"ends in words":               sign("exp", "tomorrow"),
		"without iat":                 sign("iat", nil),
		"from the future":             sign("iat", now.Add(time.Minute).Unix()),
		"from long ago":               sign("iat", now.Add(-6*time.Minute).Unix()),
		"not yet":                     sign("nbf", now.Add(time.Minute).Unix()),
		"without jti":                 sign("jti", nil),
		"with an empty jti":           sign("jti", ""),
		"about nobody":                sign("sub", nil),
		"about a stranger":            sign("sub", "nobody"),
		"of another typ":              signForeign(t, ES256, w.says(marie), "typ", "at+jwt"),
		"with its end cut":            good[:len(good)-2],
		"unsigned":                    dots[0] + "." + dots[1] + ".",
		"of the algorithm none":       "eyJhbGciOiJub25lIn0." + dots[1] + ".",
		"changed":                     dots[0] + "." + strings.Split(sign("sub", paul), ".")[1] + "." + dots[2],
		"our own ID token":            w.tokens("tool").text("id_token"),
		"no token":                    "x",
		"too long":                    good + strings.Repeat("A", tokenMost),
		"the client's own statement":  sign("iss", "kiosk", "sub", "kiosk"),
		"the issuer twice, in a list": sign("iss", []string{kiosks}),
	} {
		if a := w.vouch("kiosk", assertion); a.text("error") != "invalid_grant" || a.text("access_token") != "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	w.refusedWith(w.vouch("kiosk", ""), "invalid_request")
	w.refusedWith(w.vouch("tool", good), "unauthorized_client")
	w.refusedWith(w.vouch("kiosk:wrong", good), "invalid_client")
	w.refusedWith(w.post("/oauth2/token", "", url.Values{"grant_type": {GrantJWTBearer}, "assertion": {good}}), "invalid_client")
	w.refusedWith(w.vouch("kiosk", good, "scope", "mail reports"), "invalid_scope")
	w.refusedWith(w.vouch("kiosk", good, "resource", "dav"), "invalid_target")
	w.must(w.vouch("kiosk", good), 200) // none of them spoilt it
	w.must(w.vouch("kiosk", signForeign(t, ES256, w.says(marie, "aud", w.http.URL+"/oauth2/token"))), 200)
	w.must(w.vouch("kiosk", signForeign(t, ES256, w.says(marie, "aud", []string{w.http.URL}, "nbf", now.Unix()))), 200)
	for reason, n := range map[string]int{"issuer": 5, "unknown": 1} {
		if got := w.trail("oidc.bearer", reason); got < n {
			t.Errorf("%d traces of %q", got, reason)
		}
	}
}

func TestRow07AnAssertionOpensNoMoreThanItsPersonAndItsIssuerMay(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerKiosks(func(c *Client) { c.Groups = []string{"helpdesk"} })
		weak := func(sub string) answer { return w.vouch("kiosk", signForeign(t, ES256, w.says(sub))) }
		strong := func(sub string) answer {
			return w.vouch("kiosk", signForeign(t, EdDSA, w.says(sub, "iss", "https://strong.example.test")))
		}
		a := weak(marie)
		w.must(a, 200)
		w.refusedWith(weak(paul), "invalid_grant") // not in the group
		w.people.change(marie, func(p *directory.Person) { p.Disabled = true })
		w.refusedWith(weak(marie), "invalid_grant")
		if w.active("kiosk", a.text("access_token")) {
			t.Error("the token of somebody disabled is alive")
		}
		w.people.change(marie, func(p *directory.Person) { p.Disabled = false })
		if !w.active("kiosk", a.text("access_token")) {
			t.Fatal("enabled again")
		}

		// Signed out everywhere, also an assertion of before is no good.
		before := signForeign(t, ES256, w.says(marie))
		w.clock.pass(2 * time.Second)
		w.people.mu.Lock()
		w.people.ended[marie] = w.clock.now()
		w.people.mu.Unlock()
		if err := w.p.SessionEnded(t.Context(), marie, ""); err != nil {
			t.Fatal(err)
		}
		if w.active("kiosk", a.text("access_token")) {
			t.Error("it outlives the sign-out everywhere")
		}
		w.refusedWith(w.vouch("kiosk", before), "invalid_grant")
		w.clock.pass(time.Second)
		b := weak(marie)
		w.must(b, 200)
		// A session that ends is none of its own.
		if err := w.p.SessionEnded(t.Context(), marie, "sid-1"); err != nil || !w.active("kiosk", b.text("access_token")) {
			t.Errorf("another session's end: %v", err)
		}

		w.client("kiosk").Assurance = 2
		w.client("kiosk").app = w.client("kiosk").application()
		w.refusedWith(weak(marie), "invalid_grant")
		w.must(strong(marie), 200)
		if w.active("kiosk", b.text("access_token")) {
			t.Error("a stricter rule leaves the weaker token alive")
		}
		w.people.mu.Lock()
		w.people.down = true
		w.people.mu.Unlock()
		if c := strong(marie); c.status != 503 {
			t.Errorf("directory down: %d %s", c.status, c.body)
		}
	})
}

func TestAnAssertionReplacesNoConsent(t *testing.T) {
	w := onOne(t)
	w.registerKiosks(func(c *Client) { c.Consent = ConsentOnce })
	w.refusedWith(w.vouch("kiosk", signForeign(t, ES256, w.says(marie)), "scope", "mail"), "invalid_grant")
	if err := w.p.store.allow(t.Context(), marie, "kiosk", []string{"mail"}, nil); err != nil {
		t.Fatal(err)
	}
	w.must(w.vouch("kiosk", signForeign(t, ES256, w.says(marie)), "scope", "mail"), 200)
	w.refusedWith(w.vouch("kiosk", signForeign(t, ES256, w.says(marie)), "scope", "mail dav"), "invalid_grant")
	w.client("kiosk").Consent = ConsentAlways
	w.refusedWith(w.vouch("kiosk", signForeign(t, ES256, w.says(marie)), "scope", "mail"), "invalid_grant")
}

func TestImplicitAndPasswordAreNotOffered(t *testing.T) {
	w := onOne(t)
	for _, grant := range []string{"password", "implicit", "token", "id_token", "urn:ietf:params:oauth:grant-type:saml2-bearer", "urn:openid:params:grant-type:ciba", ""} {
		a := w.post("/oauth2/token", "tool", url.Values{"grant_type": {grant}, "username": {"mdupont"}, "password": {password}, "scope": {"openid"}})
		want := "unsupported_grant_type"
		if grant == "" {
			want = "invalid_request"
		}
		w.refusedWith(a, want)
	}
	for _, offered := range w.get("/.well-known/openid-configuration").json["grant_types_supported"].([]any) {
		if offered == "implicit" || offered == "password" {
			t.Errorf("discovery offers %v", offered)
		}
	}
	w.redirectedWith(w.authorize(request("tool", "response_type", "token")), "unsupported_response_type")
}
