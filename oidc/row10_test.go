package oidc

import (
	"net/url"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

// TestRow10NothingOutlivesALogout ends a session in every way there is, and then
// tries everything that came of it: codes not yet redeemed, access and refresh
// tokens, what was exchanged of them, and single sign-on.
func TestRow10NothingOutlivesALogout(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, door, factors := realWorld(t, d)
		jwt := w.addClient("jwt", func(c *Client) { c.TokenFormat = FormatJWT })
		for _, c := range []struct {
			name       string
			everywhere bool // offline_access too
			end        func(v *visitor, idToken string)
		}{
			{"signed out here", false, func(v *visitor, _ string) { v.post("/logout", nil) }},
			{"signed out by the application", false, func(v *visitor, idToken string) { v.get(logoutWith("id_token_hint", idToken)) }},
			{"signed out by the application, after a question", false, func(v *visitor, _ string) { v.post("/oauth2/logout/confirm", url.Values{}) }},
			{"expired", false, func(*visitor, string) { w.clock.pass(13 * time.Hour); sweep(t, door.SweepSessions) }},
			{"expired, and not swept yet", false, func(*visitor, string) { w.clock.pass(13 * time.Hour) }},
			{"signed out everywhere", true, func(v *visitor, _ string) { v.post("/account/signout", nil) }},
			{"reset", true, func(*visitor, string) {
				if _, err := factors.Reset(t.Context(), audit.Operator("root"), marie, "lost"); err != nil {
					t.Fatal(err)
				}
			}},
		} {
			w.clock.pass(time.Second)
			v := w.visitor()
			code := func(client, scope string) string {
				t.Helper()
				code := v.get("/oauth2/authorize?" + request(client, "scope", scope).Encode()).location().Get("code")
				if code == "" {
					t.Fatal(c.name, "no code")
				}
				return code
			}
			a := w.redeem("tool", v.signIn(v.get("/oauth2/authorize?"+request("tool", "scope", "openid mail").Encode()), "mdupont").location().Get("code"))
			w.must(a, 200)
			lasting := w.redeem("tool", code("tool", "openid offline_access"))
			signed := w.redeem(jwt, code("jwt", "openid"))
			narrow := w.exchange("tool", a.text("access_token"))
			w.must(narrow, 200)
			unredeemed := code("tool", "openid")
			if !w.active("imap", narrow.text("access_token")) || !w.active(jwt, signed.text("access_token")) {
				t.Fatal(c.name, "nothing to end")
			}

			c.end(v, a.text("id_token"))

			for what, token := range map[string]string{"access": a.text("access_token"), "refresh": a.text("refresh_token"), "exchanged": narrow.text("access_token"), "signed": signed.text("access_token")} {
				client := map[string]string{"exchanged": "imap", "signed": jwt}[what]
				if client == "" {
					client = "tool"
				}
				if w.active(client, token) {
					t.Errorf("%s: the %s token lives on", c.name, what)
				}
			}
			if w.userinfo(a.text("access_token")).status != 401 || w.userinfo(signed.text("access_token")).status != 401 {
				t.Errorf("%s: userinfo still answers", c.name)
			}
			w.refusedWith(w.refresh("tool", a.text("refresh_token")), "invalid_grant")
			w.refusedWith(w.refresh(jwt, signed.text("refresh_token")), "invalid_grant")
			w.refusedWith(w.exchange("tool", a.text("access_token")), "invalid_grant")
			w.refusedWith(w.redeem("tool", unredeemed), "invalid_grant")
			if v.here() {
				t.Errorf("%s: the browser is still signed in", c.name)
			}
			again := w.refresh("tool", lasting.text("refresh_token"))
			if c.everywhere == (again.status == 200) {
				t.Errorf("%s: a refresh with offline_access: %d", c.name, again.status)
			}
		}
	})
}
