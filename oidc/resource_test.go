package oidc

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"beffroi/internal/audit"
	"beffroi/signin"
)

const (
	mailAPI  = "https://mail.example.test/api"
	stockAPI = "https://stock.example.test/"
)

// withResources gives two of the resources addresses, and "robot" one of its own.
func (w *world) withResources() {
	w.change("imap", func(c *Client) { c.Resources = []string{mailAPI, "https://imap.example.test/"} })
	w.change("imap", func(c *Client) { c.RedirectURIs = nil })
	w.change("tool", func(c *Client) { c.ExchangeTo = []string{"imap", "dav", "nothing"} })
	w.change("spa", func(c *Client) { c.ExchangeTo = []string{"imap"} })
	w.change("robot", func(c *Client) { c.ExchangeTo = []string{"stock"} })
	c := Client{ID: "stock", Name: map[string]string{"fr": "Stock"}, Audience: "stock", Resources: []string{stockAPI}, Scopes: []string{"stock"}}
	if _, err := w.p.clients.Add(w.t.Context(), audit.Operator("root"), c); err != nil {
		w.t.Fatal(err)
	}
}

// and adds values to a parameter.
func and(form url.Values, name string, values ...string) url.Values {
	form[name] = append(form[name], values...)
	return form
}

func TestATokenForAResourceIsForThatResourceAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.withResources()
		a := w.tokens("tool", "scope", "openid email mail dav offline_access", "resource", mailAPI)
		for range 2 {
			access := a.text("access_token")
			if a.text("scope") != "mail" || w.idClaims("tool", a.text("id_token"))["email"] == nil {
				t.Errorf("scope %q, ID token %v", a.text("scope"), w.idClaims("tool", a.text("id_token")))
			}
			if w.userinfo(access).status != 401 {
				t.Error("userinfo takes a token of another audience")
			}
			seen := w.introspect("imap", access)
			if aud, _ := seen.json["aud"].([]any); seen.json["active"] != true || len(aud) != 1 || aud[0] != "imap" || seen.text("scope") != "mail" || seen.text("client_id") != "tool" {
				t.Errorf("the resource sees %s", seen.body)
			}
			if w.active("dav", access) || w.active("other", access) || !w.active("tool", access) {
				t.Error("somebody else sees inside")
			}
			a = w.refresh("tool", a.text("refresh_token"))
			w.must(a, 200)
		}
	})
}

func TestATokenRequestNarrowsToSomeResourcesAndAddsNone(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.withResources()
		ask := func() string {
			a := w.authorize(and(request("tool", "scope", "openid mail dav offline_access"), "resource", mailAPI, "dav", mailAPI))
			return a.location().Get("code")
		}
		auds := func(a answer) []any {
			all, _ := w.introspect("tool", a.text("access_token")).json["aud"].([]any)
			return all
		}
		all := w.redeem("tool", ask())
		w.must(all, 200)
		if !slices.Equal(auds(all), []any{"imap", "dav"}) || all.text("scope") != "mail dav" || !w.active("dav", all.text("access_token")) || !w.active("imap", all.text("access_token")) {
			t.Errorf("for %v with %s", auds(all), all.text("scope"))
		}
		one := w.redeem("tool", ask(), "resource", "dav")
		if !slices.Equal(auds(one), []any{"dav"}) || one.text("scope") != "dav" || w.active("imap", one.text("access_token")) {
			t.Errorf("for %v with %s", auds(one), one.text("scope"))
		}
		// The refresh token keeps what was authorized, whatever one token was narrowed to.
		again := w.refresh("tool", one.text("refresh_token"), "resource", "https://imap.example.test/")
		if !slices.Equal(auds(again), []any{"imap"}) || again.text("scope") != "mail" {
			t.Errorf("for %v with %s", auds(again), again.text("scope"))
		}
		again = w.refresh("tool", again.text("refresh_token"))
		if !slices.Equal(auds(again), []any{"imap", "dav"}) {
			t.Errorf("for %v", auds(again))
		}
		two := w.post("/oauth2/token", "tool", and(url.Values{"grant_type": {GrantRefresh}, "refresh_token": {again.text("refresh_token")}}, "resource", "dav", mailAPI))
		w.must(two, 200)
		refresh := two.text("refresh_token")
		w.refusedWith(w.refresh("tool", refresh, "resource", stockAPI), "invalid_target")
		w.refusedWith(w.refresh("tool", refresh, "scope", "mail", "resource", "dav"), "invalid_scope")
		w.refusedWith(w.refresh("tool", refresh, "scope", "openid"), "invalid_scope")
		narrowed := w.refresh("tool", refresh, "scope", "mail", "resource", mailAPI)
		w.must(narrowed, 200)
		// An authorization without resources is for none.
		code := w.code("tool", "scope", "openid mail offline_access")
		w.refusedWith(w.redeem("tool", code, "resource", mailAPI), "invalid_target")
		plain := w.redeem("tool", code)
		w.must(plain, 200) // a refusal spends nothing
		w.refusedWith(w.refresh("tool", plain.text("refresh_token"), "resource", mailAPI), "invalid_target")
		// What the application may not have any more is refused at the next token.
		w.change("tool", func(c *Client) { c.ExchangeTo = []string{"imap"} })
		w.refusedWith(w.refresh("tool", narrowed.text("refresh_token")), "invalid_target")
		w.must(w.refresh("tool", narrowed.text("refresh_token"), "resource", mailAPI), 200)
	})
}

func TestOnlyARegisteredResourceIsATarget(t *testing.T) {
	w := onOne(t)
	w.withResources()
	for _, uri := range []string{"https://elsewhere.test/", mailAPI + "/", mailAPI + "#x", mailAPI + "?", "HTTPS://mail.example.test/api", "//mail.example.test/api", "/api", "mail", "IMAP", "nothing", "tool", " imap", stockAPI} {
		w.redirectedWith(w.authorize(request("tool", "scope", "openid mail", "resource", uri)), "invalid_target")
		w.refusedWith(w.push("tool", request("tool", "scope", "openid mail", "resource", uri)), "invalid_target")
		w.refusedWith(w.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}, "resource": {uri + "x"}}), "invalid_target")
	}
	w.redirectedWith(w.authorize(request("other", "scope", "openid dav", "resource", "dav")), "invalid_target") // not in its exchange_to
	w.redirectedWith(w.authorize(request("tool", "scope", "openid dav", "resource", mailAPI)), "invalid_scope") // nothing that the resource takes
	w.redirectedWith(w.authorize(and(request("tool", "scope", "openid mail"), "resource", mailAPI, "https://elsewhere.test/")), "invalid_target")
	w.code("tool", "scope", "openid mail", "resource", "")
	w.code("spa", "scope", "openid mail", "resource", mailAPI) // a public client may
	// An address of two resources means neither.
	w.change("dav", func(c *Client) { c.Resources = []string{mailAPI} })
	w.redirectedWith(w.authorize(request("tool", "scope", "openid mail dav", "resource", mailAPI)), "invalid_target")
}

func TestAnApplicationItselfGetsTokensForItsResources(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.withResources()
		a := w.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}, "resource": {stockAPI}})
		w.must(a, 200)
		if a.text("scope") != "stock" || w.active("imap", a.text("access_token")) {
			t.Errorf("%s", a.body)
		}
		if seen := w.introspect("robot", a.text("access_token")); seen.json["aud"].([]any)[0] != "stock" {
			t.Errorf("%s", seen.body)
		}
		w.refusedWith(w.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}, "scope": {"reports"}, "resource": {stockAPI}}), "invalid_scope")
		w.refusedWith(w.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}, "resource": {mailAPI}}), "invalid_target")
	})
}

func TestARequestForAResourceAsksTheSignInThatTheResourceAsks(t *testing.T) {
	w := onOne(t)
	w.withResources()
	w.change("tool", func(c *Client) { c.Assurance = 1 })
	w.change("imap", func(c *Client) { c.Assurance = 2 })
	w.authorize(request("tool", "scope", "openid mail"))
	if asked := w.door.last.Assurance; asked > signin.OneFactor {
		t.Errorf("without the resource: %d", asked)
	}
	w.authorize(request("tool", "scope", "openid mail", "resource", mailAPI))
	if asked := w.door.last.Assurance; asked != signin.TwoFactors {
		t.Errorf("with the resource: %d", asked)
	}
}

func TestAResourceHasItsRuleAtEveryToken(t *testing.T) {
	w := onOne(t)
	w.withResources()
	a := w.tokens("tool", "scope", "openid mail offline_access", "resource", mailAPI)
	w.change("imap", func(c *Client) { c.Groups = []string{"chefs-etablissement"} })
	w.refusedWith(w.refresh("tool", a.text("refresh_token")), "invalid_grant")
	if w.active("tool", a.text("access_token")) {
		t.Error("the token is alive for a resource that its person may not use")
	}
	w.refusedWith(w.redeem("tool", w.code("tool", "scope", "openid mail", "resource", mailAPI)), "invalid_grant")
}

func TestRow14ResourceIsTheOnlyParameterThatMayRepeat(t *testing.T) {
	w := onOne(t)
	w.withResources()
	everything := []string{"prompt", "login", "max_age", "60", "login_hint", "x", "ui_locales", "fr", "id_token_hint", "x", "acr_values", "x", "claims", "{}", "display", "page", "response_mode", "query", "unknown", "x", "registration", "{}", "request", "x", "request_uri", "x"}
	for name := range request("tool", everything...) {
		form := and(request("tool", name, "a"), name, "a")
		if name == "client_id" || name == "redirect_uri" {
			w.notRedirected(w.authorize(form))
		} else {
			w.redirectedWith(w.authorize(form), "invalid_request")
		}
		w.refusedWith(w.push("tool", and(form, "client_id")), "invalid_request")
	}
	w.must(w.push("tool", and(request("tool", "scope", "openid mail"), "resource", mailAPI, mailAPI)), http.StatusCreated)
	// Names are compared with their case: another case is an unknown parameter, and is not read.
	form := request("tool")
	for _, name := range []string{"Client_id", "REDIRECT_URI", "Scope", "STATE", "Resource", "Request"} {
		form[name] = []string{"https://evil.test/"}
	}
	if a := w.authorize(form); a.location().Get("state") != "st-1" || !w.deliveredBy(a, modeQuery, back) {
		t.Errorf("%d %s", a.status, a.header.Get("Location"))
	}
	for _, name := range []string{"client_id", "redirect_uri"} {
		value := form.Get(name)
		upper := pairs(request("tool"), name, "-")
		upper.Set("Client_ID", value)
		upper.Set("Redirect_URI", value)
		w.notRedirected(w.authorize(upper))
	}
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		w.refusedWith(w.post(path, "tool", url.Values{"token": {"x"}, "resource": {"a", "b"}}), "invalid_request")
	}
	for name, value := range map[string]string{"grant_type": GrantClientCredentials, "scope": "reports", "client_id": "robot", "client_secret": secret1, "audience": "x", "unknown": "x"} {
		form := pairs(url.Values{"grant_type": {GrantClientCredentials}, "client_id": {"robot"}, "client_secret": {secret1}}, name, value)
		w.refusedWith(w.post("/oauth2/token", "", and(form, name, value)), "invalid_request")
	}
}

func TestNoApplicationHasTheNameOfAnothersResource(t *testing.T) {
	w := onOne(t)
	add := func(c Client) error {
		_, err := w.p.clients.Add(t.Context(), audit.Operator("root"), c)
		return err
	}
	resource := func(id, audience string) Client {
		return Client{ID: id, Name: map[string]string{"fr": id}, Audience: audience, Scopes: []string{"mail"}}
	}
	if err := add(resource("files", "files")); err != nil { // its own name is its own
		t.Fatal(err)
	}
	if err := add(resource("spy", "tool")); err == nil || !strings.Contains(err.Error(), `"tool"`) {
		t.Errorf("a resource of an application's name: %v", err)
	}
	if err := add(resource("cloud", "drive")); err != nil {
		t.Fatal(err)
	}
	if err := add(tool(func(c *Client) { c.ID = "drive" })); err == nil || !strings.Contains(err.Error(), `"drive"`) {
		t.Errorf("an application of a resource's name: %v", err)
	}
	_, err := OpenClients(t.Context(), w.db, w.audit, []Client{tool(func(c *Client) { c.ID = "drive" })}, 1, w.clock.now)
	if err == nil || !strings.Contains(err.Error(), `"drive" belongs to one application only`) {
		t.Errorf("in the file: %v", err)
	}
}
