package oidc

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/secret"
)

// registerChain adds services that pass a token on: tool → a → b → c → d → imap,
// each a resource of its own that may exchange what it was given.
func (w *world) registerChain() {
	service := func(id string, next ...string) {
		w.register(Client{ID: id, Name: map[string]string{"fr": id}, Audience: id, Resources: []string{"https://" + id + ".example.test/api"}, Scopes: []string{"mail", "profile"},
			Grants: []string{GrantExchange}, ExchangeTo: next, SecretHashes: []string{secret.Hash(secret1)}})
	}
	service("a", "b")
	service("b", "c")
	service("c", "d")
	service("d", "imap")
	w.register(tool(func(c *Client) { c.ID, c.ExchangeTo, c.Home = "chief", []string{"imap", "a"}, "" }))
}

func TestAnExchangeNamesItsTargetByAudienceOrByAddress(t *testing.T) {
	w := onOne(t)
	w.registerChain()
	subject := w.tokens("chief", "scope", "openid mail").text("access_token")
	for name, c := range map[string]struct{ audience, resource, want string }{
		"by address":                       {"-", "https://a.example.test/api", ""},
		"by both":                          {"a", "https://a.example.test/api", ""},
		"by two applications":              {"imap", "https://a.example.test/api", "invalid_target"},
		"an address that may not be asked": {"-", "https://b.example.test/api", "invalid_target"},
		"both, one not to be asked":        {"a", "https://b.example.test/api", "invalid_target"},
		"an unknown address":               {"-", "https://nowhere.example.test/", "invalid_target"},
		"an address, nearly":               {"-", "https://a.example.test/api/", "invalid_target"},
		"in other letters":                 {"-", "https://A.example.test/api", "invalid_target"},
		"an address as audience":           {"https://a.example.test/api", "-", ""},
		"an audience as address":           {"-", "a", ""},
		"neither":                          {"-", "-", "invalid_request"},
		"nothing":                          {"", "", "invalid_request"},
	} {
		a := w.exchange("chief", subject, "audience", c.audience, "resource", c.resource)
		switch {
		case c.want != "":
			if a.text("error") != c.want {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		case a.status != 200 || !w.active("a", a.text("access_token")):
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	form := url.Values{"grant_type": {GrantExchange}, "subject_token": {subject}, "subject_token_type": {typeAccessToken}, "resource": {"https://a.example.test/api", "imap"}}
	w.refusedWith(w.post("/oauth2/token", "chief", form), "invalid_target") // one token for two
	form["resource"] = []string{"https://a.example.test/api", "a"}
	w.must(w.post("/oauth2/token", "chief", form), 200)
	form["audience"] = []string{"a", "a"}
	w.refusedWith(w.post("/oauth2/token", "chief", form), "invalid_request")
}

func TestAResourceAddressBelongsToOneApplication(t *testing.T) {
	w := onOne(t)
	w.registerChain()
	_, err := w.p.clients.Add(t.Context(), audit.Operator("root"), Client{ID: "thief", Name: map[string]string{"fr": "x"}, Audience: "thief", Resources: []string{"https://a.example.test/api"}})
	if err == nil || !strings.Contains(err.Error(), "already the application a") {
		t.Errorf("two applications have one address: %v", err)
	}
	one := func(id string) Client {
		return Client{ID: id, Name: map[string]string{"fr": id}, Audience: id, Resources: []string{"https://same.example.test/"}, SecretHashes: []string{secret.Hash(secret1)}}
	}
	if _, err := OpenClients(t.Context(), w.db, w.audit, []Client{one("x"), one("y")}, 1, w.clock.now); err == nil || !strings.Contains(err.Error(), "belongs to one application only") {
		t.Errorf("the file gives one address to two applications: %v", err)
	}
}

func TestAnExchangeRefusesEverythingElse(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		w.registerChain()
		subject := w.tokens("tool", "scope", "openid mail offline_access")
		access := subject.text("access_token")
		const id, saml = "urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:saml2"
		for name, c := range map[string]struct {
			change []string
			want   string
		}{
			"no subject token":             {[]string{"subject_token", ""}, "invalid_request"},
			"no type":                      {[]string{"subject_token_type", "-"}, "invalid_request"},
			"an ID token":                  {[]string{"subject_token", subject.text("id_token"), "subject_token_type", id}, "invalid_request"},
			"an ID token, called a JWT":    {[]string{"subject_token", subject.text("id_token"), "subject_token_type", typeJWT}, "invalid_grant"},
			"an ID token, called access":   {[]string{"subject_token", subject.text("id_token")}, "invalid_grant"},
			"an opaque token called a JWT": {[]string{"subject_token_type", typeJWT}, "invalid_request"},
			"a refresh token":              {[]string{"subject_token", subject.text("refresh_token")}, "invalid_grant"},
			"a refresh token, by its type": {[]string{"subject_token", subject.text("refresh_token"), "subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"},
			"an application's own token":   {[]string{"subject_token", w.post("/oauth2/token", "tool", url.Values{"grant_type": {GrantClientCredentials}}).text("access_token")}, "invalid_grant"},
			"a made-up token":              {[]string{"subject_token", prefixAccess + strings.Repeat("A", 43)}, "invalid_grant"},
			"another kind of answer":       {[]string{"requested_token_type", saml}, "invalid_request"},
			"a refresh token back":         {[]string{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"},
			"an ID token back":             {[]string{"requested_token_type", id}, "invalid_request"},
			"a JWT of who reads none":      {[]string{"requested_token_type", typeJWT}, "invalid_request"},
			"an actor":                     {[]string{"actor_token", access, "actor_token_type", typeAccessToken}, "invalid_request"},
			"an actor's type":              {[]string{"actor_token_type", typeAccessToken}, "invalid_request"},
			"a scope it never had":         {[]string{"scope", "dav"}, "invalid_scope"},
			"another audience":             {[]string{"audience", "dav"}, "invalid_target"},
		} {
			a := w.exchange("tool", access, c.change...)
			if a.text("error") != c.want || a.text("access_token") != "" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		w.refusedWith(w.exchange("other", access), "invalid_grant")
		w.refusedWith(w.exchange("imap", access), "unauthorized_client")
		w.refusedWith(w.post("/oauth2/token", "", url.Values{"grant_type": {GrantExchange}, "client_id": {"spa"}, "subject_token": {access}, "subject_token_type": {typeAccessToken}, "audience": {"imap"}}), "unauthorized_client")
		w.must(w.exchange("tool", access), 200) // nothing of this spoilt it

		w.must(w.post("/oauth2/revoke", "tool", url.Values{"token": {access}}), 200)
		w.refusedWith(w.exchange("tool", access), "invalid_grant")
		later := w.tokens("tool", "scope", "openid mail")
		w.clock.pass(15 * time.Minute)
		w.refusedWith(w.exchange("tool", later.text("access_token")), "invalid_grant")
	})
}

func TestAJWTIsExchangedAndGivenAsItsReaderReadsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		subject := w.tokens("jwt", "scope", "openid mail groups").text("access_token")
		for _, kind := range []string{typeAccessToken, typeJWT} {
			a := w.exchange("jwt", subject, "subject_token_type", kind, "audience", "modern", "requested_token_type", typeJWT)
			w.must(a, 200)
			header, claims := w.unsigned(a.text("access_token"))
			act, _ := claims["act"].(map[string]any)
			if a.text("issued_token_type") != typeJWT || header["typ"] != "at+jwt" || claims["aud"] != "modern" || act["sub"] != "jwt" || claims["sub"] != marie {
				t.Errorf("%s: %s %v", kind, a.body, claims)
			}
		}
		// Who asks for an access token takes it as it is.
		for audience, dots := range map[string]int{"imap": 0, "dovecot": 2} {
			a := w.exchange("jwt", subject, "subject_token_type", typeJWT, "audience", audience, "requested_token_type", typeAccessToken)
			w.must(a, 200)
			if a.text("issued_token_type") != typeAccessToken || strings.Count(a.text("access_token"), ".") != dots {
				t.Errorf("%s: %s", audience, a.body)
			}
		}
		tampered := subject[:len(subject)-8] + "AAAAAAAA"
		w.refusedWith(w.exchange("jwt", tampered, "subject_token_type", typeJWT), "invalid_grant")
	})
}

func TestAChainOfExchangesNamesEverybodyWhoActed(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerChain()
		subject := w.tokens("chief", "scope", "openid profile mail").text("access_token")
		first := subject
		for _, step := range []struct{ who, to string }{{"chief", "a"}, {"a", "b"}, {"b", "c"}, {"c", "d"}} {
			w.clock.pass(time.Minute)
			a := w.exchange(step.who, subject, "audience", step.to)
			w.must(a, 200)
			subject = a.text("access_token")
		}
		i := w.introspect("d", subject)
		act, _ := i.json["act"].(map[string]any)
		var acted []string
		for act != nil {
			acted = append(acted, act["sub"].(string))
			act, _ = act["act"].(map[string]any)
		}
		if strings.Join(acted, " ") != "c b a chief" || i.text("sub") != marie || i.text("client_id") != "c" {
			t.Errorf("%s", i.body)
		}
		if exp, _ := w.introspect("chief", first).json["exp"].(float64); i.json["exp"] != exp {
			t.Errorf("it ends at %v, the first at %v", i.json["exp"], exp)
		}
		w.refusedWith(w.exchange("d", subject), "invalid_grant") // a fifth
		if w.trail("oidc.exchange", "chain") != 1 {
			t.Error("a chain that is too long leaves no trace")
		}
		// Only its own client and its audience may exchange it.
		for _, who := range []string{"chief", "a", "b"} {
			w.refusedWith(w.exchange(who, subject, "audience", map[string]string{"chief": "a", "a": "b", "b": "c"}[who]), "invalid_grant")
		}
	})
}

func TestAnExchangeAsksTheRulesOfAllConcerned(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerChain()
		w.register(tool(func(c *Client) {
			c.ID, c.Groups, c.ExchangeTo, c.Home = "guarded", []string{"helpdesk"}, []string{"a"}, ""
		}))
		subject := w.tokens("guarded", "scope", "openid mail").text("access_token")
		passed := w.exchange("guarded", subject, "audience", "a")
		w.must(passed, 200)
		w.must(w.exchange("a", passed.text("access_token"), "audience", "b"), 200)

		// Of the application that it was issued to, though another one asks.
		w.people.change(marie, func(p *directory.Person) { p.Groups = []string{"tous-personnels"} })
		w.refusedWith(w.exchange("a", passed.text("access_token"), "audience", "b"), "invalid_grant")
		w.refusedWith(w.exchange("guarded", subject, "audience", "a"), "invalid_grant")
		w.people.change(marie, func(p *directory.Person) { p.Groups = []string{"helpdesk"} })
		w.must(w.exchange("a", passed.text("access_token"), "audience", "b"), 200)

		// Of the resource, and of who asks.
		w.client("b").Groups = []string{"chefs-etablissement"}
		w.client("b").app = w.client("b").application()
		w.refusedWith(w.exchange("a", passed.text("access_token"), "audience", "b"), "invalid_grant")
		w.client("b").Groups = nil
		w.client("b").app = w.client("b").application()
		w.client("a").Assurance = 3
		w.client("a").app = w.client("a").application()
		w.refusedWith(w.exchange("a", passed.text("access_token"), "audience", "b"), "invalid_grant")
	})
}

func TestEndingATokenEndsWhatWasExchangedForIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerChain()
		subject := w.tokens("chief", "scope", "openid mail offline_access")
		access := subject.text("access_token")
		toA := w.exchange("chief", access, "audience", "a").text("access_token")
		toB := w.exchange("a", toA, "audience", "b").text("access_token")
		aside := w.exchange("chief", access, "audience", "imap").text("access_token")

		revoke := func(client, token string) {
			w.must(w.post("/oauth2/revoke", client, url.Values{"token": {token}}), 200)
		}
		revoke("chief", toA)
		if w.active("a", toA) || w.active("b", toB) || !w.active("imap", aside) || !w.active("chief", access) {
			t.Fatal("the end of an exchanged token ends what came of it and nothing else")
		}
		again := w.exchange("chief", access, "audience", "a").text("access_token")
		further := w.exchange("a", again, "audience", "b").text("access_token")
		revoke("chief", access)
		if w.active("a", again) || w.active("b", further) || w.active("imap", aside) || !w.active("chief", subject.text("refresh_token")) {
			t.Fatal("the end of a subject token ends what was exchanged for it, and not its family")
		}
		w.refusedWith(w.exchange("a", again, "audience", "b"), "invalid_grant")
		// Between being read and being exchanged: the same statement looks again.
		fresh := w.refresh("chief", subject.text("refresh_token"))
		w.must(fresh, 200)
		l, err := w.p.store.find(t.Context(), fresh.text("access_token"))
		if err != nil {
			t.Fatal(err)
		}
		revoke("chief", fresh.text("access_token"))
		_, one := w.p.newToken(&issue{client: w.client("chief"), grant: l.grant}, originExchange)
		one.Parent = l.AccessHash
		if err := w.p.store.insert(t.Context(), one); err != errSpent {
			t.Errorf("a token that ended meanwhile is exchanged: %v", err)
		}
		live := w.exchange("chief", w.refresh("chief", fresh.text("refresh_token")).text("access_token"), "audience", "imap")
		w.must(live, 200)
		revoke("chief", fresh.text("refresh_token")) // spent: nothing happens
		if err := w.p.SessionEnded(t.Context(), marie, ""); err != nil || w.active("imap", live.text("access_token")) {
			t.Errorf("an exchanged token outlives the sign-out everywhere: %v", err)
		}
	})
}
