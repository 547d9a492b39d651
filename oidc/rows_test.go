package oidc

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"beffroi/directory"
)

// Classes of bugs that other providers shipped, one test each, named by its row
// (internal/arch holds the list). Those of one subject stand beside it.

// Row 8: the group is asked at the sign-in, and again wherever nobody signs in.
func TestRow08TheGroupIsAskedAtSingleSignOnAndAtEveryRefresh(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		v := h.guest().signsIn("pmartin")
		enter := func(client string, change ...string) page {
			return v.get("/oauth2/authorize?" + request(client, change...).Encode())
		}
		tokens := h.redeem("heads", enter("heads", "scope", "openid offline_access").left.Get("code"))
		h.must(tokens, 200)
		h.must(h.refresh("heads", tokens.text("refresh_token")), 200)
		before, _ := h.people.ByID(t.Context(), paul)
		h.people.change(paul, func(p *directory.Person) { p.Groups = []string{"tous-personnels"} })
		if p := enter("heads"); p.status != http.StatusForbidden || p.left != nil {
			t.Errorf("single sign-on: %d %v", p.status, p.left)
		}
		if p := enter("heads", "prompt", "none"); p.left.Get("error") != "access_denied" {
			t.Errorf("prompt=none: %d %v", p.status, p.left)
		}
		h.refusedWith(h.refresh("heads", tokens.text("refresh_token")), "invalid_grant")
		if p := enter("tool"); p.left.Get("code") == "" {
			t.Errorf("another application is closed too: %d", p.status)
		}
		h.people.change(paul, func(p *directory.Person) { *p = before })
		h.must(h.refresh("heads", tokens.text("refresh_token")), 200)
	})
}

// Row 11: whoever takes offline_access from an application takes it from the
// authorizations that it has already.
func TestRow11OfflineAccessEndsWithTheScopeOfTheApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool", "scope", "openid email offline_access")
		w.signIn(marie, "sid-2")
		b := w.tokens("tool", "scope", "openid email offline_access")
		w.people.mu.Lock()
		delete(w.people.sessions, "sid-1")
		w.people.mu.Unlock()
		a = w.refresh("tool", a.text("refresh_token")) // without its session
		w.must(a, 200)
		w.register(tool(func(c *Client) { c.Scopes = []string{"openid", "email"} }))
		w.refusedWith(w.refresh("tool", a.text("refresh_token")), "invalid_grant")
		b = w.refresh("tool", b.text("refresh_token"))
		w.must(b, 200) // with its session
		if b.text("scope") != "openid email" {
			t.Errorf("scope %q", b.text("scope"))
		}
		w.register(tool())
		w.must(w.refresh("tool", a.text("refresh_token")), 200) // the refusal spent nothing
	})
}

// Row 32: among many people at once, each browser gets the tokens of whoever is
// signed in there, by every endpoint.
func TestRow32ManyPeopleAtOnceAreEachThemselves(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		const people, rounds = 8, 4
		for i := range people {
			id, login := fmt.Sprintf("6a1f0f52-0000-4000-8000-0000000001%02d", i), fmt.Sprintf("person%d", i)
			h.people.change(id, func(p *directory.Person) {
				*p = directory.Person{ID: id, Login: login, DisplayName: "Person " + login, Mail: login + "@academie.test", Language: "en"}
			})
		}
		var all sync.WaitGroup
		for i := range people {
			all.Go(func() {
				id, login := fmt.Sprintf("6a1f0f52-0000-4000-8000-0000000001%02d", i), fmt.Sprintf("person%d", i)
				v := h.guest()
				for round := range rounds {
					// The first of them signs in, the others enter by the session.
					p := v.get("/oauth2/authorize?" + request("tool", "scope", "openid profile mail offline_access", "nonce", login).Encode())
					if round == 0 {
						p = v.password(p, login)
					}
					a := h.redeem("tool", p.left.Get("code"))
					if a.status != 200 {
						t.Errorf("%s: %d %s", login, a.status, a.body)
						return
					}
					b := h.refresh("tool", a.text("refresh_token"))
					x := h.exchange("tool", b.text("access_token"), "scope", "mail")
					claims := h.idClaims("tool", a.text("id_token"))
					if claims["nonce"] != login {
						t.Errorf("%s gets the ID token of the request %v", login, claims["nonce"])
					}
					for what, got := range map[string]any{
						"ID token":             claims["sub"],
						"refreshed ID token":   h.idClaims("tool", b.text("id_token"))["sub"],
						"userinfo":             h.userinfo(a.text("access_token")).json["sub"],
						"userinfo, refreshed":  h.userinfo(b.text("access_token")).json["sub"],
						"introspection":        h.introspect("tool", b.text("access_token")).json["sub"],
						"introspection, there": h.introspect("imap", x.text("access_token")).json["sub"],
					} {
						if got != id {
							t.Errorf("%s sees %v in the %s", login, got, what)
						}
					}
					if account := v.get("/account"); !strings.Contains(account.body, login+"@academie.test") {
						t.Errorf("%s sees another account: %s", login, account.body)
					}
				}
			})
		}
		all.Wait()
	})
}

// Row 38: no address that is handed out is made of what a request says of the
// host; each begins with the issuer of the configuration.
func TestRow38AForgedHostChangesNoAddress(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{Grants: []string{GrantCode, GrantDevice}})
	forge := func(method, path, media, body string) answer {
		t.Helper()
		r, err := http.NewRequest(method, w.http.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "evil.test"
		for _, name := range []string{"X-Forwarded-Host", "X-Original-Host", "X-Host", "X-Forwarded-Server"} {
			r.Header.Set(name, "evil.test")
		}
		r.Header.Set("Forwarded", `host="evil.test";proto=http`)
		r.Header.Set("X-Forwarded-Proto", "ftp")
		r.Header.Set("Content-Type", media)
		r.SetBasicAuth("tool", secret1)
		if strings.HasPrefix(path, "/oauth2/register") {
			r.Header.Del("Authorization")
		}
		return w.send(r)
	}
	const form = "application/x-www-form-urlencoded"
	tokens := forge("POST", "/oauth2/token", form, url.Values{"grant_type": {GrantCode}, "code": {w.code("tool")}, "redirect_uri": {back}, "code_verifier": {verifier}}.Encode())
	w.must(tokens, 200)
	if claims := w.idClaims("tool", tokens.text("id_token")); claims["iss"] != w.http.URL {
		t.Errorf("iss %v", claims["iss"])
	}
	reached := 0
	for name, a := range map[string]answer{
		"discovery":         forge("GET", "/.well-known/openid-configuration", "", ""),
		"metadata":          forge("GET", "/.well-known/oauth-authorization-server", "", ""),
		"authorize":         forge("GET", "/oauth2/authorize?"+request("tool").Encode(), "", ""),
		"authorize, posted": forge("POST", "/oauth2/authorize", form, request("tool").Encode()),
		"logout, posted":    forge("POST", "/oauth2/logout", form, url.Values{"client_id": {"tool"}}.Encode()),
		"logout":            forge("GET", "/oauth2/logout?client_id=tool", "", ""),
		"wrong secret":      forge("POST", "/oauth2/token", form, "grant_type=authorization_code&client_id=nobody"),
		"device":            forge("POST", "/oauth2/device_authorization", form, "scope=openid"),
		"pushed":            forge("POST", "/oauth2/par", form, request("tool").Encode()),
		"registration":      forge("POST", "/oauth2/register", "application/json", `{"client_name":"New tool","redirect_uris":["`+registeredBack+`"]}`),
		"userinfo":          forge("GET", "/userinfo", "", ""),
	} {
		told := a.body + a.header.Get("Location") + a.header.Get("WWW-Authenticate") + a.header.Get("Link")
		if strings.Contains(told, "evil") || strings.Contains(a.header.Get("Location"), "ftp:") {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
		if a.status < 400 && strings.Contains(told, w.http.URL) {
			reached++
		}
	}
	if reached < 5 {
		t.Errorf("only %d answers name the issuer", reached)
	}
}
