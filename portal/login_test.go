package portal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func TestSignInReturnsToThePageThatWasAsked(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRig(t, d, newOP(t))
		b := r.browser()
		back := b.signIn("mdupont", "/mail/who?folder=INBOX&page=2")
		if back.status != http.StatusSeeOther || back.location != "/mail/who?folder=INBOX&page=2" {
			t.Fatalf("the callback answers %d %q %s", back.status, back.location, back.body)
		}
		want(t, b.get(back.location), 200, "who=mdupont sub=sub-of-mdupont sid=true")
		home := b.get("/")
		want(t, home, 200, "Name of mdupont")
		want(t, home, 200, "Tile of mdupont")
		if strings.Contains(home.body, "Wicked") || strings.Contains(home.body, "Itself") {
			t.Fatal("a tile without a web address, or the portal itself, is shown")
		}
		rows, err := audit.New(d, time.Now).List(t.Context(), audit.Filter{Action: "portal.signin", Limit: 5})
		if err != nil || len(rows) != 1 || rows[0].Outcome != "ok" {
			t.Fatalf("audit has %+v, %v", rows, err)
		}
	})
}

func TestNoTokenReachesTheBrowserOrLiesOpenInTheDatabase(t *testing.T) {
	r := newRig(t, sqlite(t), newOP(t))
	b := r.browser()
	seen := ""
	note := func(p page) page {
		seen += p.body + p.location
		for name, values := range p.header {
			seen += name + strings.Join(values, " ")
		}
		return p
	}
	sent := note(b.get("/mail/token"))
	back := note(b.get(r.op.authorize(t, sent.location, "mdupont")))
	note(b.get(back.location))
	note(b.get("/"))
	note(b.get("/nowhere"))
	var stored string
	if err := r.db.QueryRow(t.Context(), "SELECT data FROM session WHERE site = $1", "portal").Scan(&stored); err != nil {
		t.Fatal(err)
	}
	r.op.mu.Lock()
	defer r.op.mu.Unlock()
	if len(r.op.access) < 2 || len(r.op.refresh) != 1 {
		t.Fatalf("%d access tokens, %d refresh tokens", len(r.op.access), len(r.op.refresh))
	}
	for token := range r.op.access {
		if strings.Contains(seen, token) || strings.Contains(stored, token) {
			t.Errorf("token %.12s… is in the open", token)
		}
	}
	for token := range r.op.refresh {
		if strings.Contains(seen, token) || strings.Contains(stored, token) {
			t.Errorf("token %.12s… is in the open", token)
		}
	}
	for _, c := range back.header.Values("Set-Cookie") {
		if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || !strings.Contains(c, "Path=/") {
			t.Errorf("cookie is %.80s", c)
		}
	}
}

func TestAnIDTokenThatIsNotForThisBrowserIsRefused(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	for name, prepare := range map[string]func(o *op){
		"another issuer":          func(o *op) { o.lie = set("iss", "https://evil.test") },
		"another nonce":           func(o *op) { o.lie = set("nonce", "another") },
		"no nonce":                func(o *op) { o.lie = func(c map[string]any) { delete(c, "nonce") } },
		"another audience":        func(o *op) { o.lie = set("aud", "demo-tool") },
		"no audience":             func(o *op) { o.lie = func(c map[string]any) { delete(c, "aud") } },
		"two audiences, no azp":   func(o *op) { o.lie = set("aud", []string{clientID, "demo-tool"}) },
		"issued to somebody else": func(o *op) { o.lie = set("azp", "demo-tool") },
		"no subject":              func(o *op) { o.lie = func(c map[string]any) { delete(c, "sub") } },
		"empty subject":           func(o *op) { o.lie = set("sub", "") },
		"expired":                 func(o *op) { o.lie = set("exp", time.Now().Add(-time.Hour).Unix()) },
		"no expiry":               func(o *op) { o.lie = func(c map[string]any) { delete(c, "exp") } },
		"another access token":    func(o *op) { o.lie = set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA") },
		"alg none":                func(o *op) { o.sign = unsigned },
		"HMAC with the secret": func(o *op) {
			o.sign = func(c map[string]any) string { return o.signed(c, jose.HS256, []byte(clientSecret+clientSecret)) }
		},
		"a key that is not theirs": func(o *op) { o.sign = func(c map[string]any) string { return o.signed(c, jose.RS256, foreignKey()) } },
		"another algorithm's key":  func(o *op) { o.sign = func(c map[string]any) string { return o.signed(c, jose.ES256, foreignEC()) } },
		"a broken signature": func(o *op) {
			o.sign = func(c map[string]any) string { s := o.signed(c, jose.RS256, o.key); return s[:len(s)-8] + "AAAAAAAA" }
		},
		"no token": func(o *op) { o.sign = func(map[string]any) string { return "" } },
	} {
		t.Run(name, func(t *testing.T) {
			provider := newOP(t)
			r := newRig(t, sqlite(t), provider)
			b := r.browser()
			sent := b.get("/mail/who")
			address := provider.authorize(t, sent.location, "mdupont")
			provider.set(func() { prepare(provider) })
			back := b.get(address)
			if back.status != http.StatusBadRequest {
				t.Fatalf("the callback answers %d %q", back.status, back.location)
			}
			if again := b.get("/mail/who"); again.status != http.StatusSeeOther {
				t.Fatalf("a session was started: %d %s", again.status, again.body)
			}
			rows, err := audit.New(r.db, time.Now).List(t.Context(), audit.Filter{Action: "portal.signin", Limit: 5})
			if err != nil || len(rows) != 1 || rows[0].Outcome != "refused" {
				t.Fatalf("audit has %+v, %v", rows, err)
			}
		})
	}
}

func TestAnAnswerOfAnotherIssuerIsAMixUp(t *testing.T) {
	for name, change := range map[string]func(q url.Values){
		"another issuer": func(q url.Values) { q.Set("iss", "https://evil.test") },
		"none":           func(q url.Values) { q.Del("iss") },
		"two":            func(q url.Values) { q.Add("iss", "https://evil.test") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, sqlite(t), newOP(t))
			b := r.browser()
			u, _ := url.Parse(r.op.authorize(t, b.get("/").location, "mdupont"))
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			if back := b.get(u.String()); back.status != http.StatusBadRequest || r.op.count("/token") != 0 {
				t.Fatalf("%d, token endpoint called %d times", back.status, r.op.count("/token"))
			}
		})
	}
}

func TestAProviderThatPromisesNoIssuerStillWorks(t *testing.T) {
	provider := newOP(t)
	provider.noExplain = true
	r := newRig(t, sqlite(t), provider)
	b := r.browser()
	u, _ := url.Parse(provider.authorize(t, b.get("/mail/who").location, "mdupont"))
	q := u.Query()
	q.Del("iss")
	u.RawQuery = q.Encode()
	want(t, b.get(u.String()), http.StatusSeeOther, "")
	r.later(time.Minute) // checked by userinfo, as there is no introspection
	want(t, b.get("/mail/who"), 200, "who=mdupont")
	provider.kill("mdupont")
	r.later(time.Minute)
	want(t, b.get("/mail/who"), http.StatusSeeOther, "")
}

func TestNobodyFinishesASignInBegunInAnotherBrowser(t *testing.T) {
	r := newRig(t, sqlite(t), newOP(t))
	mine, theirs := r.browser(), r.browser()
	sent := theirs.get("/mail/who")
	address := r.op.authorize(t, sent.location, "attacker")
	if got := mine.get(address); got.status != http.StatusBadRequest || r.op.count("/token") != 0 {
		t.Fatalf("login CSRF: %d", got.status)
	}
	own := mine.get("/")
	u, _ := url.Parse(address)
	q := u.Query()
	ownURL, _ := url.Parse(own.location)
	q.Set("state", ownURL.Query().Get("state"))
	u.RawQuery = q.Encode()
	// The attacker's code with my state: PKCE and nonce are another's.
	if got := mine.get(u.String()); got.status != http.StatusBadRequest {
		t.Fatalf("injected code: %d %s", got.status, got.location)
	}
	want(t, mine.get("/mail/who"), http.StatusSeeOther, "")
}

func TestAnAnswerIsGoodOnce(t *testing.T) {
	r := newRig(t, sqlite(t), newOP(t))
	b := r.browser()
	address := r.op.authorize(t, b.get("/mail/who").location, "mdupont")
	want(t, b.get(address), http.StatusSeeOther, "")
	calls := r.op.count("/token")
	again := b.get(address) // the back button
	if again.status != http.StatusSeeOther || again.location != "/" || r.op.count("/token") != calls {
		t.Fatalf("the second time: %d %q", again.status, again.location)
	}
}

func TestSeveralTabsSignInAtOnce(t *testing.T) {
	r := newRig(t, sqlite(t), newOP(t))
	b := r.browser()
	var addresses, paths []string
	for _, path := range []string{"/mail/who?tab=1", "/mail/who?tab=2", "/mail/who?tab=3"} {
		addresses = append(addresses, r.op.authorize(t, b.get(path).location, "mdupont"))
		paths = append(paths, path)
	}
	for _, i := range []int{1, 0, 2} {
		if back := b.get(addresses[i]); back.location != paths[i] {
			t.Fatalf("tab %d comes back to %q: %s", i+1, back.location, back.body)
		}
		want(t, b.get(paths[i]), 200, "who=mdupont")
	}
	r.portal.Close()
	// The sessions that were replaced gave their grants back; the last one lives.
	r.later(time.Minute)
	want(t, b.get("/mail/who"), 200, "who=mdupont")
}

func TestAttemptsNeverOutgrowTheCookies(t *testing.T) {
	r := newRig(t, sqlite(t), newOP(t))
	b := r.browser()
	last := ""
	for range 30 {
		last = b.get("/mail/who").location
	}
	base, _ := url.Parse(r.web.URL)
	if n := len(b.Jar.Cookies(base)); n > attemptsKept {
		t.Fatalf("%d cookies", n)
	}
	want(t, b.get(r.op.authorize(t, last, "mdupont")), http.StatusSeeOther, "")
	want(t, b.get("/mail/who"), 200, "who=mdupont")
}

func TestARefusalOfTheProviderIsAReadablePage(t *testing.T) {
	for code, status := range map[string]int{"access_denied": 403, "temporarily_unavailable": 503, "invalid_request": 502, "login_required": 401} {
		r := newRig(t, sqlite(t), newOP(t))
		b := r.browser()
		u, _ := url.Parse(r.op.authorize(t, b.get("/").location, "mdupont"))
		q := u.Query()
		q.Del("code")
		q.Set("error", code)
		q.Set("error_description", "<script>alert(1)</script>")
		u.RawQuery = q.Encode()
		got := b.get(u.String())
		if got.status != status || strings.Contains(got.body, "<script>alert") {
			t.Errorf("%s answers %d %.300s", code, got.status, got.body)
		}
	}
}

func TestAProviderThatStartsLaterIsFound(t *testing.T) {
	provider := newOP(t)
	provider.down = true
	r := newRig(t, sqlite(t), provider)
	b := r.browser()
	want(t, b.get("/mail/who"), http.StatusServiceUnavailable, "")
	provider.set(func() { provider.down = false })
	deadline := time.Now().Add(5 * time.Second)
	for b.get("/mail/who").status != http.StatusSeeOther {
		if time.Now().After(deadline) {
			t.Fatal("the provider is never found")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestFormsAndFragmentsAreToldThatTheSessionEnded(t *testing.T) {
	r, b := signedInRig(t)
	r.op.kill("mdupont")
	r.later(time.Minute)
	form := b.do(http.MethodPost, "/mail/send", map[string]string{"Sec-Fetch-Site": "same-origin"})
	want(t, form, http.StatusUnauthorized, "/login")
	fragment := b.do(http.MethodGet, "/mail/who", map[string]string{"HX-Request": "true", "HX-Current-URL": r.web.URL + "/mail/?page=2"})
	if fragment.status != http.StatusUnauthorized || fragment.header.Get("HX-Redirect") != "/login?next=%2Fmail%2F%3Fpage%3D2" {
		t.Fatalf("%d %v", fragment.status, fragment.header)
	}
	evil := b.do(http.MethodGet, "/mail/who", map[string]string{"HX-Request": "true", "HX-Current-URL": "https://evil.test//evil.test"})
	if evil.header.Get("HX-Redirect") != "/login?next=%2F" {
		t.Fatalf("%v", evil.header)
	}
}

func TestSigningOutEndsEverything(t *testing.T) {
	r, b := signedInRig(t)
	home, _ := url.Parse(r.web.URL)
	kept := b.Jar.Cookies(home)
	cross := b.do(http.MethodPost, "/logout", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"})
	want(t, cross, http.StatusForbidden, "")
	want(t, b.get("/mail/who"), 200, "who=mdupont")
	module := r.portal.modules[0].(*probe)
	if len(module.left) != 0 {
		t.Errorf("%v left by a form of another site", module.left)
	}
	out := b.do(http.MethodPost, "/logout", map[string]string{"Sec-Fetch-Site": "same-origin"})
	if len(module.left) != 1 || module.left[0] != "mdupont <nil>" {
		t.Errorf("%v had to finish", module.left)
	}
	u, _ := url.Parse(out.location)
	q := u.Query()
	if out.status != http.StatusSeeOther || !strings.HasPrefix(out.location, r.op.URL+"/logout?") || q.Get("post_logout_redirect_uri") != r.web.URL+"/signed-out" ||
		strings.Count(q.Get("id_token_hint"), ".") != 2 || q.Get("client_id") != clientID {
		t.Fatalf("%d %q", out.status, out.location)
	}
	r.portal.Close()
	if r.op.count("/revoke") != 1 {
		t.Fatal("the grant was not given back")
	}
	want(t, b.get("/signed-out"), 200, "/login")
	want(t, b.get("/mail/who"), http.StatusSeeOther, "")
	thief := r.browser() // the cookie of before opens nothing
	thief.Jar.SetCookies(home, kept)
	want(t, thief.get("/mail/who"), http.StatusSeeOther, "")
}

func TestASessionOfAnotherKeyStartsAnew(t *testing.T) {
	r, b := signedInRig(t)
	var row struct{ data, person string }
	if err := r.db.QueryRow(t.Context(), "SELECT data, person FROM session").Scan(&row.data, &row.person); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*record){
		"tokens cut":     func(x *record) { x.Sealed = x.Sealed[:len(x.Sealed)-4] },
		"another person": func(x *record) { x.Person.Sub = "sub-of-jmartin" },
		"nobody":         func(x *record) { x.Person.Sub = "" },
	} {
		var data record
		if err := json.Unmarshal([]byte(row.data), &data); err != nil {
			t.Fatal(err)
		}
		change(&data)
		text, _ := json.Marshal(data)
		if _, err := r.db.Exec(t.Context(), "UPDATE session SET data = $1", string(text)); err != nil {
			t.Fatal(err)
		}
		if got := b.get("/mail/who"); got.status != http.StatusSeeOther || !strings.HasPrefix(got.location, r.op.URL) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		r.signInAgain(b)
	}
}

func (r *rig) signInAgain(b *browser) {
	r.t.Helper()
	if got := b.get("/mail/who"); got.status == http.StatusSeeOther {
		want(r.t, b.get(r.op.authorize(r.t, got.location, "mdupont")), http.StatusSeeOther, "")
	}
}
