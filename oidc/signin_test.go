package oidc

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
	"beffroi/signin"
)

// realWorld is a house with an application that asks for two factors.
func realWorld(t *testing.T, d *db.DB) (*world, *signin.Service, *mfa.Service) {
	t.Helper()
	h := newHouse(t, d)
	h.people.change(marie, func(p *directory.Person) { p.Language = "fr" })
	h.register(tool(func(c *Client) { c.ID, c.Assurance = "strong", 2 }))
	return h.world, h.signin, h.mfa
}

// visitor is a browser with cookies.
type visitor struct {
	w    *world
	http *http.Client
}

func (w *world) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &visitor{w, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (v *visitor) do(r *http.Request) answer {
	v.w.t.Helper()
	kept := browser
	browser = v.http
	defer func() { browser = kept }()
	return v.w.send(r)
}

func (v *visitor) get(address string) answer {
	v.w.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.w.http.URL + address
	}
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return v.do(r)
}

func (v *visitor) post(address string, form url.Values) answer {
	v.w.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.w.http.URL + address
	}
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		v.w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", v.w.http.URL)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return v.do(r)
}

// asked tells whether the answer leads to the sign-in page.
func asked(a answer) bool {
	u, err := url.Parse(a.header.Get("Location"))
	return err == nil && u.Path == "/signin"
}

// signIn answers the password page that an authorization request led to.
func (v *visitor) signIn(a answer, login string) answer {
	v.w.t.Helper()
	if !asked(a) {
		v.w.t.Fatalf("not asked to sign in: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	v.w.must(v.get(a.header.Get("Location")), 200)
	return v.post(a.header.Get("Location"), url.Values{"username": {login}, "password": {password}})
}

func TestThroughTheRealDoor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, door, factors := realWorld(t, d)
		v := w.visitor()
		authorize := func(client string, change ...string) answer {
			return v.get("/oauth2/authorize?" + request(client, change...).Encode())
		}
		w.redirectedWith(authorize("tool", "prompt", "none"), "login_required")
		a := v.signIn(authorize("tool", "scope", "openid profile"), "mdupont")
		if a.status != 303 && a.status != 302 || a.location().Get("code") == "" || a.location().Get("state") != "st-1" {
			t.Fatalf("%d %s %s", a.status, a.header.Get("Location"), a.body)
		}
		bound := w.redeem("tool", a.location().Get("code"))
		w.must(bound, 200)
		claims := w.idClaims("tool", bound.text("id_token"))
		if claims["acr"] != "https://refeds.org/profile/sfa" || claims["sid"] == "" {
			t.Errorf("%v", claims)
		}

		// Single sign-on, with and without pages.
		offline := w.redeem("tool", authorize("tool", "scope", "openid offline_access", "prompt", "none").location().Get("code"))
		w.must(offline, 200)
		if w.trail("oidc.authorize", "") == 0 {
			t.Error("entering by an open session leaves no trace")
		}
		if again := w.idClaims("tool", offline.text("id_token")); again["sid"] != claims["sid"] || again["auth_time"] != claims["auth_time"] {
			t.Errorf("another session: %v / %v", again, claims)
		}
		// A re-authentication when it is asked, and once only.
		for _, change := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"max_age", "1"}} {
			w.clock.pass(2 * time.Second)
			b := v.signIn(authorize("tool", change...), "mdupont")
			if b.location().Get("code") == "" {
				t.Errorf("%v: %d %s", change, b.status, b.header.Get("Location"))
			}
		}
		if authorize("tool", "max_age", "10000").location().Get("code") == "" {
			t.Error("max_age=10000 asks again")
		}
		w.clock.pass(time.Second)
		w.redirectedWith(authorize("tool", "max_age", "0", "prompt", "none"), "login_required")

		// A second factor is not skipped by an open session.
		if err := factors.Install(t.Context(), audit.System("test"), marie, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"); err != nil {
			t.Fatal(err)
		}
		b := authorize("strong")
		if !asked(b) {
			t.Fatalf("no factor asked: %s", b.header.Get("Location"))
		}
		code, err := factors.Code(t.Context(), marie)
		if err != nil {
			t.Fatal(err)
		}
		flow := strings.Replace(b.header.Get("Location"), "/signin?", "/signin/factor?", 1)
		b = v.post(flow, url.Values{"code": {code}})
		strong := w.redeem("strong", b.location().Get("code"))
		w.must(strong, 200)
		if claims := w.idClaims("strong", strong.text("id_token")); claims["acr"] != "https://refeds.org/profile/mfa" {
			t.Errorf("%v", claims)
		}

		// Not in the group: a page, 403, and no code; and not remembered as a yes.
		c := authorize("heads")
		if c.status == 303 {
			c = v.get(c.header.Get("Location"))
		}
		if c.status != http.StatusForbidden || strings.Contains(c.header.Get("Location"), "code=") {
			t.Errorf("out of the group: %d %s", c.status, c.header.Get("Location"))
		}

		// Sign-out everywhere ends all, at once.
		if err := door.SignOutEverywhere(t.Context(), audit.Operator("root"), marie); err != nil {
			t.Fatal(err)
		}
		for _, x := range []answer{bound, offline, strong} {
			if w.active("tool", x.text("access_token")) {
				t.Error("a token outlives the sign-out everywhere")
			}
		}
		w.refusedWith(w.refresh("tool", offline.text("refresh_token")), "invalid_grant")
		w.redirectedWith(authorize("tool", "prompt", "none"), "login_required")
	})
}

func TestSigningOutByTheApplicationEndsTheRealSession(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	w, _, _ := realWorld(t, d)
	v := w.visitor()
	a := v.signIn(v.get("/oauth2/authorize?"+request("tool", "scope", "openid").Encode()), "mdupont")
	tokens := w.redeem("tool", a.location().Get("code"))
	w.must(tokens, 200)

	// Without a hint the person is asked.
	page := v.get("/oauth2/logout?" + url.Values{"client_id": {"tool"}, "post_logout_redirect_uri": {bye}, "state": {"x"}}.Encode())
	if page.status != 200 || !strings.Contains(page.body, "/oauth2/logout/confirm") || !strings.Contains(page.header.Get("Content-Security-Policy"), "https://tool.example.test") {
		t.Fatalf("%d %s", page.status, page.body)
	}
	if !w.active("tool", tokens.text("access_token")) {
		t.Fatal("signed out without a question")
	}
	b := v.get("/oauth2/logout?" + url.Values{"id_token_hint": {tokens.text("id_token")}, "post_logout_redirect_uri": {bye}}.Encode())
	if b.header.Get("Location") != bye {
		t.Fatalf("%d %s", b.status, b.body)
	}
	if w.active("tool", tokens.text("access_token")) {
		t.Error("the token outlives the session")
	}
	if !asked(v.get("/oauth2/authorize?" + request("tool").Encode())) {
		t.Error("still signed in")
	}
	// Confirming by the button.
	a = v.signIn(v.get("/oauth2/authorize?"+request("tool", "scope", "openid").Encode()), "mdupont")
	c := v.post("/oauth2/logout/confirm", url.Values{"client_id": {"tool"}, "post_logout_redirect_uri": {bye}, "state": {"x"}})
	if c.header.Get("Location") != bye+"?state=x" || a.location().Get("code") == "" {
		t.Errorf("%d %s", c.status, c.header.Get("Location"))
	}
	if !asked(v.get("/oauth2/authorize?" + request("tool").Encode())) {
		t.Error("still signed in after the button")
	}
}
