package oidc

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

// signedIn is a browser of somebody signed in through the real door, and the
// tokens that the client got.
func (w *world) signedIn(client, login string) (*visitor, answer) {
	w.t.Helper()
	v := w.visitor()
	a := v.signIn(v.get("/oauth2/authorize?"+request(client, "scope", "openid profile").Encode()), login)
	tokens := w.redeem(client, a.location().Get("code"))
	w.must(tokens, 200)
	return v, tokens
}

// here tells whether the browser is still signed in.
func (v *visitor) here() bool {
	v.w.t.Helper()
	return v.get("/oauth2/authorize?"+request("tool", "prompt", "none").Encode()).location().Get("code") != ""
}

func logoutWith(change ...string) string {
	return "/oauth2/logout?" + pairs(url.Values{"post_logout_redirect_uri": {bye}, "state": {"st"}}, change...).Encode()
}

func TestARefusedLogoutSaysWhyAndOffersTheWayOut(t *testing.T) {
	w, _, _ := realWorld(t, dbtest.Open(t, "sqlite"))
	v, tokens := w.signedIn("tool", "mdupont")
	_, others := w.signedIn("other", "mdupont")
	idToken := tokens.text("id_token")
	for name, c := range map[string]struct{ address, says string }{
		"a return address that is not registered": {logoutWith("id_token_hint", idToken, "post_logout_redirect_uri", "https://tool.example.test/else"), "post_logout_redirect_uri"},
		"a query added to it":                     {logoutWith("id_token_hint", idToken, "post_logout_redirect_uri", bye+"?foo=bar"), "post_logout_redirect_uri"},
		"no hint":                                 {logoutWith(), "id_token_hint"},
		"a hint signed elsewhere":                 {logoutWith("id_token_hint", idToken[:len(idToken)-8]+"AAAAAAAA"), "id_token_hint"},
		"a hint that is not signed":               {logoutWith("id_token_hint", w.forgedHints(idToken)["alg none"]), "id_token_hint"},
		"a hint of another application":           {logoutWith("id_token_hint", others.text("id_token"), "client_id", "tool"), "id_token_hint"},
		"an unknown application":                  {logoutWith("client_id", "nobody"), "client_id"},
		"a parameter that stands twice":           {logoutWith("id_token_hint", idToken) + "&state=other", "invalid_request"},
	} {
		a := v.get(c.address)
		w.notRedirected(a)
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, c.says) || !strings.Contains(a.body, "/oauth2/logout/confirm") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if strings.Contains(a.body, "/else") || strings.Contains(a.body, "foo=bar") {
			t.Errorf("%s: the page repeats the address", name)
		}
	}
	if !v.here() {
		t.Fatal("a refused request signed somebody out")
	}
	// The way out that the page offers.
	if a := v.post("/oauth2/logout/confirm", nil); a.status != 200 || a.header.Get("Location") != "" || v.here() {
		t.Errorf("the button: %d, signed in: %v", a.status, v.here())
	}
	// Nobody is signed in: no button.
	if a := v.get(logoutWith()); a.status != http.StatusBadRequest || strings.Contains(a.body, "<form class=\"stack\"") {
		t.Errorf("signed out: %d %s", a.status, a.body)
	}
}

func TestAHintForSomebodyElseAsksFirst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, _, _ := realWorld(t, d)
		v, _ := w.signedIn("tool", "mdupont")
		_, other := w.signedIn("tool", "pmartin")
		_, elsewhere := w.signedIn("tool", "mdupont")
		for name, hint := range map[string]string{"another person": other.text("id_token"), "another session": elsewhere.text("id_token")} {
			a := v.get(logoutWith("id_token_hint", hint))
			if a.status != 200 || a.header.Get("Location") != "" || !strings.Contains(a.body, "/oauth2/logout/confirm") || !v.here() {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		a := v.post("/oauth2/logout/confirm", url.Values{"client_id": {"tool"}, "post_logout_redirect_uri": {bye}, "state": {"st"}})
		if a.header.Get("Location") != bye+"?state=st" || v.here() {
			t.Errorf("confirmed: %d %s", a.status, a.header.Get("Location"))
		}
		if w.active("tool", other.text("access_token")) != true {
			t.Error("somebody else's tokens ended")
		}
	})
}

// The session may have ended before the application asks: the person is sent
// back all the same, and ProConnect's habit of leaving client_id out is met.
func TestLogoutOfAnEndedSessionStillLeadsBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, _, _ := realWorld(t, d)
		v, tokens := w.signedIn("tool", "mdupont")
		idToken := tokens.text("id_token")
		w.clock.pass(13 * time.Hour) // session and ID token have expired
		if a := v.get(logoutWith("id_token_hint", idToken)); a.status != http.StatusSeeOther || a.header.Get("Location") != bye+"?state=st" {
			t.Errorf("%d %s", a.status, a.header.Get("Location"))
		}
		if a := v.get(logoutWith("id_token_hint", idToken, "state", "-")); a.header.Get("Location") != bye {
			t.Errorf("without state: %s", a.header.Get("Location"))
		}
		posted := v.post("/oauth2/logout", url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {bye}, "state": {"st"}})
		if a := v.get(posted.header.Get("Location")); a.header.Get("Location") != bye+"?state=st" {
			t.Errorf("posted: %d %s", a.status, a.header.Get("Location"))
		}
	})
}

func TestLogoutWithoutParametersAsksAndSignsOut(t *testing.T) {
	w, _, _ := realWorld(t, dbtest.Open(t, "sqlite"))
	for _, query := range []string{"", "?state=only", "?logout_hint=mdupont&ui_locales=en"} {
		v, _ := w.signedIn("tool", "mdupont")
		a := v.get("/oauth2/logout" + query)
		if a.status != 200 || !strings.Contains(a.body, "/oauth2/logout/confirm") || !v.here() {
			t.Fatalf("%q: %d %s", query, a.status, a.body)
		}
		if english := strings.Contains(a.body, "Stay signed in"); english != strings.Contains(query, "ui_locales") {
			t.Errorf("%q: in English: %v", query, english)
		}
		a = v.post("/oauth2/logout/confirm", url.Values{"ui_locales": {"en"}})
		if a.status != 200 || a.header.Get("Location") != "" || !strings.Contains(a.body, "You are signed out") || v.here() {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
}
