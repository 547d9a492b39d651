package oidc

import (
	"slices"
	"strings"
	"testing"

	"beffroi/internal/secret"
	"beffroi/signin"
)

// oddClaims are texts of the parameter claims that must be refused.
var oddClaims = []string{
	"x", "{", "[]", "null", `""`, "1", "{}{}", `{} x`, `{"id_token":[]}`, `{"id_token":"acr"}`, `{"userinfo":1}`, `{"userinfo":{"email":true}}`, `{"userinfo":{"email":"x"}}`, `{"userinfo":{"email":[]}}`,
	`{"userinfo":{"email":{"essential":"true"}}}`, `{"userinfo":{"email":{"essential":1}}}`, `{"userinfo":{"email":{"essential":null}}}`, `{"userinfo":{"email":{"values":"x"}}}`, `{"userinfo":{"email":{"values":null}}}`,
	`{"userinfo":{"email":null,"email":null}}`, `{"id_token":{},"id_token":{}}`, `{"id_token":{"acr":{"value":1}}}`, `{"id_token":{"acr":{"values":["x",1]}}}`, `{"id_token":{"sub":{"value":null}}}`,
	`{"id_token":{"acr":{"values":[[["x"]]]}}}`, `{"x":{"y":{"z":{"deep":{}}}}}`, strings.Repeat("[", 20), `{"userinfo":{"` + strings.Repeat("n", 4096) + `":null}}`, "{\"userinfo\":{\"\xff\":null}}", `{"id_token":{"\u0061cr":null,"acr":null}}`,
}

func TestClaimsIsReadStrictly(t *testing.T) {
	w := onOne(t)
	for _, text := range oddClaims {
		w.redirectedWith(w.authorize(request("tool", "claims", text)), "invalid_request")
	}
	for _, text := range []string{"", "{}", `{"userinfo":null,"id_token":{}}`, `{"x":[1,"y"]}`, `{"USERINFO":"not ours"}`, `{"userinfo":{"http://example.test/x":null,"email#fr":{"essential":false,"purpose":"z"}}}`, ` { "id_token" : { "auth_time" : { "essential" : true } } } `} {
		w.code("tool", "claims", text)
	}
}

func TestClaimsAreAnsweredWhereTheyAreAskedForAndAfterARefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool", "scope", "openid offline_access", "claims", `{"userinfo":{"email":{"essential":true},"given_name":null,"nickname":null},"id_token":{"groups_csv":null,"amr":null,"acr":null,"sub":null,"iss":{"value":"x"}}}`)
		for range 2 {
			id := w.idClaims("tool", a.text("id_token"))
			if id["groups_csv"] != "helpdesk,tous-personnels" || id["groups"] != nil || id["email"] != nil || id["given_name"] != nil || id["iss"] != w.http.URL || id["sub"] != marie {
				t.Errorf("ID token: %v", id)
			}
			u := w.userinfo(a.text("access_token"))
			if u.text("email") != "marie.dupont@academie.test" || u.text("given_name") != "Marie" || u.json["email_verified"] != nil || u.json["groups_csv"] != nil || u.json["name"] != nil || u.json["nickname"] != nil {
				t.Errorf("userinfo: %s", u.body)
			}
			a = w.refresh("tool", a.text("refresh_token"))
			w.must(a, 200)
		}
		// Another authorization of the same person asks for nothing.
		if u := w.userinfo(w.tokens("tool", "scope", "openid").text("access_token")); u.json["email"] != nil {
			t.Errorf("one request's claims answer another: %s", u.body)
		}
	})
}

func TestClaimsGiveNothingBeyondTheScopesOfTheApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		all := `{"userinfo":{"email":{"essential":true},"email_verified":null,"phone_number":{"essential":true},"groups":null,"name":null},"id_token":{"email":{"essential":true},"phone_number":null,"groups":null,"name":null}}`
		a := w.tokens("narrow", "scope", "openid", "claims", all)
		id, u := w.idClaims("narrow", a.text("id_token")), w.userinfo(a.text("access_token"))
		for _, name := range []string{"email", "email_verified", "phone_number", "groups"} {
			if id[name] != nil || u.json[name] != nil {
				t.Errorf("%s reaches an application that may not have it: %v %s", name, id[name], u.body)
			}
		}
		if id["name"] != "Marie Dupont" || u.text("name") != "Marie Dupont" {
			t.Errorf("name is refused to an application that may have it: %v %s", id, u.body)
		}
		// The right is looked at again at each answer.
		w.change("narrow", func(c *Client) { c.Scopes = []string{"openid"} })
		if u := w.userinfo(a.text("access_token")); u.json["name"] != nil {
			t.Errorf("a scope that was taken away is answered: %s", u.body)
		}
		// Without openid there is neither an ID token nor userinfo to answer in.
		b := w.tokens("tool", "scope", "mail", "claims", all)
		if b.text("id_token") != "" || w.userinfo(b.text("access_token")).status != 403 {
			t.Error("claims stands for openid")
		}
	})
}

func TestClaimsForSomebodyElseAreNotAnswered(t *testing.T) {
	w := onOne(t)
	for _, text := range []string{`{"id_token":{"sub":{"value":"` + paul + `"}}}`, `{"userinfo":{"sub":{"values":["` + paul + `"]}}}`, `{"id_token":{"sub":{"value":"` + marie + `"}},"userinfo":{"sub":{"value":"` + paul + `"}}}`, `{"id_token":{"sub":{"values":[]}}}`} {
		w.redirectedWith(w.authorize(request("tool", "claims", text)), signin.LoginRequired)
	}
	w.code("tool", "claims", `{"id_token":{"sub":{"values":["`+paul+`","`+marie+`"]}}}`)
}

func TestAnEssentialAcrIsReachedOrRefused(t *testing.T) {
	w := onOne(t)
	mfa, sfa := signin.ACR(signin.TwoFactors), signin.ACR(signin.OneFactor)
	wish := func(acr string) string { return `{"id_token":{"acr":` + acr + `}}` }
	a := w.tokens("tool", "claims", wish(`{"essential":true,"values":["urn:unknown","`+mfa+`"]}`))
	if w.door.last.Assurance != signin.TwoFactors || w.idClaims("tool", a.text("id_token"))["acr"] != mfa {
		t.Errorf("an essential acr asks %d", w.door.last.Assurance)
	}
	w.door.result.Level, w.door.result.AMR = signin.OneFactor, []string{"pwd"}
	w.redirectedWith(w.authorize(request("tool", "claims", wish(`{"essential":true,"value":"`+mfa+`"}`))), "unmet_authentication_requirements")
	w.redirectedWith(w.authorize(request("tool", "claims", wish(`{"essential":true,"value":"eidas3"}`))), "unmet_authentication_requirements")
	w.redirectedWith(w.authorize(request("tool", "claims", wish(`{"essential":true,"values":["urn:unknown"]}`), "response_mode", modeFormPost)), "unmet_authentication_requirements")
	// A wish that is not essential is answered with what was done.
	a = w.tokens("tool", "claims", wish(`{"value":"`+mfa+`"}`))
	if w.idClaims("tool", a.text("id_token"))["acr"] != sfa {
		t.Error("a wish is answered as if it were reached")
	}
	// claims says more exactly what acr_values says; null says nothing.
	w.authorize(request("tool", "claims", wish(`{"value":"`+sfa+`"}`), "acr_values", mfa))
	if w.door.last.Assurance != signin.OneFactor {
		t.Errorf("acr_values overrides claims: %d", w.door.last.Assurance)
	}
	w.authorize(request("tool", "claims", wish("null"), "acr_values", mfa))
	if w.door.last.Assurance != signin.TwoFactors {
		t.Errorf("acr null in claims silences acr_values: %d", w.door.last.Assurance)
	}
}

// FuzzClaims holds what readClaims promises for any text: it refuses it, or
// what it keeps is read again as the same.
func FuzzClaims(f *testing.F) {
	for _, text := range oddClaims {
		f.Add(text)
	}
	f.Add(`{"userinfo":{"email":{"essential":true},"name":null},"id_token":{"acr":{"essential":true,"values":["a","b"]},"sub":{"value":"x"}}}`)
	f.Add(`{"id_token":{"sub":{"value":"x","values":["y"]}},"x":[1,2,{"y":"z"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readClaims(text)
		if err != nil {
			return
		}
		if len(text) > claimsMost || text != "" && !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
			t.Fatalf("read: %q", text)
		}
		again := storedClaims(c.stored())
		if !slices.Equal(again.Userinfo, c.Userinfo) || !slices.Equal(again.IDToken, c.IDToken) {
			t.Fatalf("kept differently: %q and %v", c.stored(), c)
		}
		if c.acr.essential && len(c.acr.names) == 0 && !strings.Contains(text, "values") {
			t.Fatalf("an acr that nobody named is essential: %q", text)
		}
		if len(c.subs) > 2 || c.about("") && slices.ContainsFunc(c.subs, func(s []string) bool { return !slices.Contains(s, "") }) {
			t.Fatalf("for whom: %v", c.subs)
		}
	})
}

var narrowClient = tool(func(c *Client) {
	c.ID, c.Home, c.Scopes, c.SecretHashes = "narrow", "", []string{"openid", "profile"}, []string{secret.Hash(secret1)}
})
