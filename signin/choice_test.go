package signin

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPersonChoosesTheAccount(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		// Nobody is signed in: there is nothing to choose.
		want(t, b.password(b.get("/begin?app=weak&prompt=select_account"), "mdupont", rightPassword), "done id-mdupont 1")
		g.advance(time.Minute)

		page := b.get("/begin?app=weak&prompt=select_account")
		want(t, page, "account")
		for _, part := range []string{"Avec quel compte", "Continuer en tant que Marie Dupont", "Outil simple", `value="other"`} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the page lacks %s", part)
			}
		}
		want(t, b.get(page.path), "account") // looking is not choosing
		sid := between(page.body, `name="account" value="`, `"`)
		want(t, b.submit(page, "account", sid), "done id-mdupont 1")
		want(t, b.get(page.path), "done id-mdupont 1") // and does not ask again

		// Another one: the name and password of somebody, with nothing filled in.
		g.advance(time.Minute)
		page = b.submit(b.get("/begin?app=weak&prompt=select_account"), "account", anotherAccount)
		want(t, page, "password")
		if strings.Contains(page.body, "mdupont") {
			t.Error("the first account's name is filled in")
		}
		want(t, b.password(page, "ssmith", rightPassword), "done id-ssmith 1")
		want(t, b.get("/begin?app=weak"), "done id-ssmith 1")

		// What is chosen must have been shown, and be there still.
		g.advance(time.Minute)
		page = b.get("/begin?app=weak&prompt=select_account")
		for _, wrong := range []string{"", sid, "id-ssmith", strings.Repeat("A", 22)} {
			want(t, b.submit(page, "account", wrong), "account")
		}
		shown := between(page.body, `name="account" value="`, `"`)
		want(t, b.password(b.get("/begin?app=weak&prompt=login"), "mdupont", rightPassword), "done id-mdupont 1") // in another tab
		g.advance(time.Minute)
		late := b.get("/begin?app=weak&prompt=select_account")
		want(t, b.submit(late, "account", shown), "account")
		want(t, b.get("/begin?app=weak&prompt=none"), "done id-mdupont 1")

		// A stolen address chooses nothing.
		if a := g.browser().do("POST", strings.Replace(late.path, "/signin?", "/signin/account?", 1), url.Values{"account": {anotherAccount}}); a.status != 403 {
			t.Errorf("another browser: %d", a.status)
		}
		want(t, b.get(late.path), "account")
		// Nor does the choice skip a factor.
		g.enrol("id-mdupont")
		page = b.get("/begin?app=strong&prompt=select_account")
		want(t, b.submit(page, "account", between(page.body, `name="account" value="`, `"`)), "factor")
	})
}

func TestPagesShowTheApplicationsOwnLogoAndContact(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		for id, app := range g.protocol.apps {
			app.Logo, app.Contact = "https://"+id+".example.test/logo.png", id+"@example.test"
			g.protocol.apps[id] = app
		}
		b := g.browser()
		page := b.get("/begin?app=weak&prompt=login")
		if !strings.Contains(page.body, `src="https://weak.example.test/logo.png"`) || !strings.Contains(page.header.Get("Content-Security-Policy"), "img-src 'self' data: https://weak.example.test;") {
			t.Errorf("%s %s", page.header.Get("Content-Security-Policy"), page.body)
		}
		if strings.Contains(b.get("/account").header.Get("Content-Security-Policy"), "weak.example.test") {
			t.Error("another page allows it too")
		}
		refused := b.password(b.get("/begin?app=direction&locales=en"), "mdupont", rightPassword)
		if refused.status != 403 || !strings.Contains(refused.body, "mailto:direction@example.test") || !strings.Contains(refused.body, "for a question about") {
			t.Errorf("%d %s", refused.status, refused.body)
		}
	})
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}
