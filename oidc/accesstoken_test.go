package oidc

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/internal/secret"
)

// registerFormats adds applications whose access tokens are JWTs, and a
// resource that reads JWTs of the old kind.
func (w *world) registerFormats() {
	for id, format := range map[string]string{"jwt": FormatJWT, "old-jwt": FormatOldJWT} {
		w.register(tool(func(c *Client) {
			c.ID, c.TokenFormat, c.Home, c.ExchangeTo = id, format, "", []string{"imap", "dovecot", "modern"}
			c.Scopes = append(slices.Clone(c.Scopes), "reports")
		}))
	}
	w.client("old-jwt").TokenAlg = ES256
	for id, format := range map[string]string{"dovecot": FormatOldJWT, "modern": FormatJWT} {
		w.register(Client{ID: id, Name: map[string]string{"fr": "Courrier"}, Audience: id, Scopes: []string{"mail", "groups"}, TokenFormat: format, SecretHashes: []string{secret.Hash(secret1)}})
	}
}

func TestAccessTokensAreJWTsForWhoReadsThem(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		now := float64(w.clock.now().Unix())
		common := map[string]any{"iss": w.http.URL, "sub": marie, "iat": now, "exp": now + 900, "auth_time": now - 60, "acr": "https://refeds.org/profile/mfa"}
		for name, c := range map[string]struct {
			client, audience, scope string
			typ, alg                string
			want                    map[string]any
			absent                  []string
		}{
			"RFC 9068": {"jwt", "", "openid groups", "at+jwt", RS256,
				map[string]any{"aud": "jwt", "client_id": "jwt", "azp": "jwt", "scope": "openid groups", "groups_csv": "helpdesk,tous-personnels"}, []string{"username", "preferred_username", "email", "name", "act"}},
			"without groups": {"jwt", "", "openid", "at+jwt", RS256,
				map[string]any{"scope": "openid"}, []string{"groups", "groups_csv"}},
			"of the old kind": {"old-jwt", "", "openid groups", "JWT", ES256,
				map[string]any{"aud": "old-jwt", "username": "mdupont", "preferred_username": "mdupont", "groups_csv": "helpdesk,tous-personnels"}, []string{"email", "name"}},
			"for Dovecot": {"tool", "dovecot", "openid mail groups", "JWT", RS256,
				map[string]any{"aud": "dovecot", "client_id": "tool", "azp": "tool", "scope": "mail groups", "username": "mdupont"}, nil},
			"for a modern resource": {"old-jwt", "modern", "openid mail", "at+jwt", RS256,
				map[string]any{"aud": "modern", "client_id": "old-jwt", "scope": "mail"}, []string{"username", "groups"}},
		} {
			client := c.client
			if client == "tool" {
				client = "carrier"
				w.register(tool(func(c *Client) { c.ID, c.ExchangeTo, c.Home = client, []string{"dovecot"}, "" }))
				c.want["client_id"], c.want["azp"] = client, client
			}
			a := w.tokens(client, "scope", c.scope)
			if _, err := w.p.readHint(t.Context(), a.text("access_token")); err == nil {
				t.Errorf("%s: the access token passes for an ID token", name)
			}
			if c.audience != "" {
				a = w.exchange(client, a.text("access_token"), "audience", c.audience)
				w.must(a, 200)
			}
			access := a.text("access_token")
			header, claims := w.unsigned(access)
			if header["typ"] != c.typ || header["alg"] != c.alg {
				t.Errorf("%s: %v", name, header)
			}
			want := maps.Clone(common)
			maps.Copy(want, c.want)
			for claim, value := range want {
				if claims[claim] != value {
					t.Errorf("%s: %s is %v, want %v", name, claim, claims[claim], value)
				}
			}
			for _, claim := range c.absent {
				if claims[claim] != nil {
					t.Errorf("%s: it says %s: %v", name, claim, claims[claim])
				}
			}
			if jti, _ := claims["jti"].(string); len(jti) != 43 {
				t.Errorf("%s: jti %q", name, jti)
			}
			if amr, _ := claims["amr"].([]any); len(amr) != 3 {
				t.Errorf("%s: amr %v", name, claims["amr"])
			}
			if act, _ := claims["act"].(map[string]any); c.audience != "" && act["sub"] != client {
				t.Errorf("%s: act %v", name, claims["act"])
			}
		}
	})
}

func TestAJWTLivesAndDiesAsAnOpaqueToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		scope := []string{"scope", "openid profile mail groups offline_access"}
		a := w.tokens("jwt", scope...)
		access := a.text("access_token")
		if claims := w.idClaims("jwt", a.text("id_token")); claims["at_hash"] != leftHalf(RS256, access) {
			t.Error("at_hash is of another token")
		}
		if !w.active("jwt", access) || w.active("other", access) || w.userinfo(access).text("sub") != marie {
			t.Fatal("the token does not work")
		}
		// Row and answers say the same.
		i := w.introspect("jwt", access)
		_, claims := w.unsigned(access)
		for _, name := range []string{"iss", "sub", "client_id", "scope", "iat", "exp", "auth_time", "acr"} {
			if i.json[name] != claims[name] {
				t.Errorf("%s: introspection says %v, the token %v", name, i.json[name], claims[name])
			}
		}
		// The jti alone opens nothing, dressed up or not.
		for _, plain := range []string{claims["jti"].(string), prefixAccess + claims["jti"].(string), "." + claims["jti"].(string) + "."} {
			if w.active("jwt", plain) {
				t.Error("the jti is a token")
			}
		}
		// A refresh makes another.
		b := w.refresh("jwt", a.text("refresh_token"))
		w.must(b, 200)
		if strings.Count(b.text("access_token"), ".") != 2 || b.text("access_token") == access || !w.active("jwt", b.text("access_token")) {
			t.Error("the refreshed token is no JWT of its own")
		}
		narrow := w.refresh("jwt", b.text("refresh_token"), "scope", "openid")
		w.must(narrow, 200)
		if _, said := w.unsigned(narrow.text("access_token")); said["scope"] != "openid" || said["groups"] != nil {
			t.Errorf("a narrower refresh says %v", said)
		}
		b = w.refresh("jwt", narrow.text("refresh_token"))
		w.must(b, 200)
		w.must(w.post("/oauth2/revoke", "other", url.Values{"token": {access}}), 200)
		if !w.active("jwt", access) {
			t.Fatal("another client ended it")
		}
		w.must(w.post("/oauth2/revoke", "jwt", url.Values{"token": {access}}), 200)
		if w.active("jwt", access) || !w.active("jwt", b.text("access_token")) {
			t.Error("revoking one")
		}
		w.refusedWith(w.exchange("jwt", access, "scope", "mail"), "invalid_grant")
		// What came of it ends with the family, JWTs too.
		c := w.exchange("jwt", b.text("access_token"), "audience", "dovecot", "scope", "mail")
		w.must(c, 200)
		if !w.active("dovecot", c.text("access_token")) || w.active("modern", c.text("access_token")) {
			t.Error("the audience")
		}
		w.must(w.post("/oauth2/revoke", "jwt", url.Values{"token": {b.text("refresh_token")}}), 200)
		for _, token := range []string{b.text("access_token"), c.text("access_token")} {
			if w.active("jwt", token) {
				t.Error("a JWT outlives its family")
			}
		}
		w.must(w.userinfo(b.text("access_token")), 401)

		// A code used twice ends the JWT that came of it.
		code := w.code("jwt")
		first := w.redeem("jwt", code)
		w.must(first, 200)
		w.refusedWith(w.redeem("jwt", code), "invalid_grant")
		if w.active("jwt", first.text("access_token")) {
			t.Error("code reuse leaves a JWT alive")
		}
		// Swept away, it is dead, however good its signature.
		last := w.tokens("jwt").text("access_token")
		if _, err := w.db.Exec(t.Context(), "DELETE FROM oidc_token"); err != nil {
			t.Fatal(err)
		}
		if w.active("jwt", last) {
			t.Error("a JWT without a row lives")
		}
	})
}

func TestAJWTExpiresToTheSecond(t *testing.T) {
	w := onOne(t)
	w.registerFormats()
	access := w.tokens("jwt").text("access_token")
	w.clock.pass(15*time.Minute - time.Second)
	if !w.active("jwt", access) {
		t.Error("expired too early")
	}
	w.clock.pass(time.Second)
	if w.active("jwt", access) {
		t.Error("expired, and lives")
	}
}

func TestAnApplicationActingForItselfMayHaveAJWT(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		a := w.post("/oauth2/token", "jwt", url.Values{"grant_type": {GrantClientCredentials}})
		w.must(a, 200)
		header, claims := w.unsigned(a.text("access_token"))
		if header["typ"] != "at+jwt" || claims["sub"] != "jwt" || claims["client_id"] != "jwt" || claims["scope"] != "reports" || claims["auth_time"] != nil || claims["username"] != nil {
			t.Errorf("%v %v", header, claims)
		}
		if !w.active("jwt", a.text("access_token")) {
			t.Error("it is not active")
		}
		w.must(w.userinfo(a.text("access_token")), 403)
	})
}

func TestAJWTByARetiredKeyIsNoAccessToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		access := w.tokens("old-jwt").text("access_token")
		w.retires(ES256)
		if w.active("old-jwt", access) {
			t.Error("a key that was taken back still signs in")
		}
	})
}

func TestAPairwiseApplicationIsNotHandedAnotherName(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		for id, format := range map[string]string{"hidden": FormatOldJWT, "veiled": FormatOpaque} {
			w.register(tool(func(c *Client) {
				c.ID, c.RedirectURIs, c.SubjectType, c.TokenFormat, c.Home, c.ExchangeTo = id, []string{stranger}, SubjectPairwise, format, "", []string{"dovecot", "imap"}
			}))
		}
		w.client("dovecot").Scopes = []string{"mail"}
		sub := w.p.subject(w.client("hidden"), marie)
		a := w.tokensAt("hidden", stranger, "scope", "openid mail")
		_, claims := w.unsigned(a.text("access_token"))
		if claims["sub"] != sub || claims["username"] != nil || claims["preferred_username"] != nil {
			t.Errorf("%v", claims)
		}
		i := w.introspect("hidden", a.text("access_token"))
		if i.text("sub") != sub || i.json["username"] != nil || i.json["email"] != nil || i.json["groups"] != nil {
			t.Errorf("introspection says more than the scopes: %s", i.body)
		}
		_, claims = w.unsigned(w.tokensAt("hidden", stranger, "scope", "openid profile").text("access_token"))
		if claims["username"] != "mdupont" {
			t.Errorf("profile was asked: %v", claims)
		}
		for _, client := range []string{"hidden", "veiled"} {
			access := w.tokensAt(client, stranger, "scope", "openid mail").text("access_token")
			w.refusedWith(w.exchange(client, access, "audience", "dovecot"), "invalid_target")
			// An opaque token says nothing to who carries it.
			b := w.exchange(client, access, "audience", "imap")
			w.must(b, 200)
			if at := w.introspect("imap", b.text("access_token")); at.text("sub") != marie || at.text("username") != "mdupont" {
				t.Errorf("the audience sees %s", at.body)
			}
			if own := w.introspect(client, b.text("access_token")); own.text("sub") != sub || own.json["username"] != nil {
				t.Errorf("the application sees %s", own.body)
			}
		}
	})
}

func TestOldReadersAreNotGivenEdDSA(t *testing.T) {
	errs := tool(func(c *Client) { c.TokenFormat, c.TokenAlg = FormatOldJWT, EdDSA }).Validate()
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "token_alg: ") || !strings.Contains(errs[0].Error(), "Dovecot") {
		t.Errorf("%v", errs)
	}
	if errs := tool(func(c *Client) { c.TokenFormat, c.TokenAlg = FormatJWT, EdDSA }).Validate(); len(errs) > 0 {
		t.Errorf("%v", errs)
	}
}
