package oidc

import (
	"net/http"
	"net/url"
	"strings"
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
