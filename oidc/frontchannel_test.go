package oidc

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

var frameSrc = regexp.MustCompile(`<iframe src="([^"]*)"`)

func framesOf(a answer) (all []string) {
	for _, m := range frameSrc.FindAllStringSubmatch(a.body, -1) {
		all = append(all, html.UnescapeString(m[1]))
	}
	return all
}

// frameSources is the frame-src of the answer's policy.
func frameSources(a answer) string {
	for _, d := range strings.Split(a.header.Get("Content-Security-Policy"), "; ") {
		if rest, ok := strings.CutPrefix(d, "frame-src "); ok {
			return rest
		}
	}
	return ""
}

func TestTheBrowserSignsTheOtherApplicationsOut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, _, _ := realWorld(t, d)
		one := w.addClient("one", func(c *Client) {
			c.RedirectURIs, c.FrontchannelLogout, c.FrontchannelSession = []string{back, "https://one.example.test/cb"}, "https://one.example.test/out?x=1", true
		})
		two := w.addClient("two", func(c *Client) {
			c.RedirectURIs, c.FrontchannelLogout = []string{back, "https://two.example.test:8443/cb"}, "https://two.example.test:8443/out"
		})
		other := w.addClient("elsewhere", func(c *Client) { c.FrontchannelLogout = "https://tool.example.test/out" })
		enter := func() (v *visitor, idToken, sid string) {
			v, tokens := w.signedIn("tool", "mdupont")
			for _, c := range []string{one, two} {
				id, _, _ := strings.Cut(c, ":")
				w.must(w.redeem(c, v.get("/oauth2/authorize?"+request(id, "scope", "openid offline_access").Encode()).location().Get("code")), 200)
			}
			sid, _ = w.idClaims("tool", tokens.text("id_token"))["sid"].(string)
			return v, tokens.text("id_token"), sid
		}
		// Another session of the same person knows another application.
		stranger := w.visitor()
		w.must(w.redeem(other, stranger.signIn(stranger.get("/oauth2/authorize?"+request("elsewhere").Encode()), "mdupont").location().Get("code")), 200)

		check := func(name string, a answer, sid string) {
			t.Helper()
			withSession := "https://one.example.test/out?x=1&" + url.Values{"iss": {w.http.URL}, "sid": {sid}}.Encode()
			frames := framesOf(a)
			if len(frames) != 2 || !(frames[0] == withSession && frames[1] == "https://two.example.test:8443/out" || frames[1] == withSession && frames[0] == "https://two.example.test:8443/out") {
				t.Errorf("%s: frames %v", name, frames)
			}
			sources := strings.Fields(frameSources(a))
			if len(sources) != 2 || !strings.Contains(frameSources(a), "https://one.example.test") || !strings.Contains(frameSources(a), "https://two.example.test:8443") {
				t.Errorf("%s: frame-src %v", name, sources)
			}
		}
		v, idToken, sid := enter()
		a := v.get(logoutWith("id_token_hint", idToken))
		check("asked by an application", a, sid)
		if a.status != http.StatusOK || a.header.Get("Refresh") != "5; url="+bye+"?state=st" || !strings.Contains(a.body, `href="`+bye+`?state=st"`) || v.here() {
			t.Errorf("%d %s %s", a.status, a.header.Get("Refresh"), a.body)
		}
		v, _, sid = enter()
		check("asked by an application, answered by the person", v.post("/oauth2/logout/confirm", url.Values{"client_id": {"tool"}, "post_logout_redirect_uri": {bye}}), sid)
		v, _, sid = enter()
		a = v.post("/oauth2/logout/confirm", nil)
		check("without a way back", a, sid)
		if a.header.Get("Refresh") != "" || a.header.Get("Location") != "" {
			t.Error("leads somewhere")
		}
		v, _, sid = enter()
		check("by the person", v.post("/logout", nil), sid)
		if v.here() {
			t.Error("still signed in")
		}
		v, _, sid = enter()
		check("everywhere", v.post("/account/signout", nil), sid)
		if a := v.post("/logout", nil); a.status != http.StatusSeeOther || a.header.Get("Location") != "/logout/done" {
			t.Errorf("nobody signed in: %d", a.status)
		}
	})
}

func TestPagesFrameNobodyUnlessTheyMust(t *testing.T) {
	w, _, _ := realWorld(t, dbtest.Open(t, "sqlite"))
	v, tokens := w.signedIn("tool", "mdupont")
	for _, path := range []string{"/account", "/oauth2/logout", "/logout/done", "/signin/lost"} {
		if got := frameSources(v.get(path)); got != "'none'" {
			t.Errorf("%s: %s", path, got)
		}
	}
	// An application without a front channel: straight back.
	if a := v.get(logoutWith("id_token_hint", tokens.text("id_token"))); a.status != http.StatusSeeOther || a.header.Get("Refresh") != "" {
		t.Errorf("%d", a.status)
	}
}
