package oidc

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"beffroi/directory"
)

// unsigned verifies a JWT of ours with go-oidc's key set and returns its header
// and claims.
func (w *world) unsigned(token string) (header, claims map[string]any) {
	w.t.Helper()
	payload, err := gooidc.NewRemoteKeySet(context.Background(), w.http.URL+"/jwks").VerifySignature(gooidc.InsecureIssuerURLContext(w.t.Context(), w.http.URL), token)
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		w.t.Fatalf("%v: %.80s", err, token)
	}
	return headerOf(token), claims
}

func TestUserinfoIsSignedForWhoRegistersAnAlgorithm(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, alg := range algorithms {
			id := "signed-" + alg
			w.register(tool(func(c *Client) { c.ID, c.UserinfoAlg, c.Home = id, alg, "" }))
			access := w.tokens(id).text("access_token")
			get := w.get("/userinfo", "Authorization", "Bearer "+access, "Accept", "application/json")
			post := w.post("/userinfo", "", url.Values{"access_token": {access}})
			for _, a := range []answer{get, post} {
				w.must(a, 200)
				if a.header.Get("Content-Type") != "application/jwt" || a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%v", a.header)
				}
				header, claims := w.unsigned(a.body)
				if header["alg"] != alg || claims["iss"] != w.http.URL || claims["aud"] != id || claims["sub"] != marie || claims["email"] != "marie.dupont@academie.test" {
					t.Errorf("%v %v", header, claims)
				}
				if _, err := w.p.readHint(t.Context(), a.body); err == nil {
					t.Error("signed userinfo passes for an ID token")
				}
				if _, err := w.p.store.find(t.Context(), a.body); err == nil {
					t.Error("signed userinfo passes for an access token")
				}
			}
			w.must(w.get("/userinfo"), 401)
		}
	})
}

// Row 20 of the list of bug classes: expiry and audience hold at the resource.
func TestRow20UserinfoRefusesExpiredEndedAndForeignTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		for _, client := range []string{"tool", "jwt", "old-jwt"} {
			w.signIn(marie, "sid-1")
			fresh := func() string {
				return w.tokens(client, "scope", "openid profile mail people offline_access").text("access_token")
			}
			refused := func(why, access string) {
				t.Helper()
				for _, a := range []answer{w.userinfo(access), w.post("/userinfo", "", url.Values{"access_token": {access}}), w.get("/api/people?q=dupont", "Authorization", "Bearer "+access)} {
					w.must(a, 401)
					if a.text("error") != "invalid_token" || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
						t.Errorf("%s, %s: %s", client, why, a.body)
					}
				}
			}
			access := fresh()
			w.must(w.userinfo(access), 200)
			w.must(w.post("/oauth2/revoke", client, url.Values{"token": {access}}), 200)
			refused("revoked", access)

			access = fresh()
			exchanged := w.exchange(client, access, "scope", "mail").text("access_token")
			if exchanged == "" {
				t.Fatal("no exchanged token")
			}
			refused("for another audience", exchanged)
			w.clock.pass(15 * time.Minute)
			refused("expired", access)

			access = fresh()
			if err := w.p.SessionEnded(t.Context(), marie, ""); err != nil {
				t.Fatal(err)
			}
			refused("ended by a sign-out everywhere", access)

			access = fresh()
			w.people.change(marie, func(p *directory.Person) { p.Disabled = true })
			refused("of somebody disabled", access)
			w.people.change(marie, func(p *directory.Person) { p.Disabled = false })
			w.must(w.userinfo(access), 200)
		}
	})
}

func TestIntrospectionIsSignedForWhoAsks(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.register(tool(func(c *Client) { c.ID, c.IntrospectionAlg, c.Home = "asks", PS256, "" }))
		for client, alg := range map[string]string{"tool": RS256, "asks": PS256} {
			access := w.tokens(client).text("access_token")
			plain := w.introspect(client, access)
			a := w.introspectJWT(client, access)
			w.must(a, 200)
			header, claims := w.unsigned(a.body)
			if a.header.Get("Content-Type") != "application/token-introspection+jwt" || header["typ"] != "token-introspection+jwt" || header["alg"] != alg {
				t.Errorf("%v %v", a.header, header)
			}
			inner, _ := claims["token_introspection"].(map[string]any)
			if len(claims) != 4 || claims["iss"] != w.http.URL || claims["aud"] != client || claims["iat"] != float64(w.clock.now().Unix()) || len(inner) != len(plain.json) || inner["sub"] != marie || inner["active"] != true {
				t.Errorf("%v, plain %s", claims, plain.body)
			}
			if _, err := w.p.readHint(t.Context(), a.body); err == nil {
				t.Error("a signed introspection passes for an ID token")
			}
		}
		access := w.tokens("tool").text("access_token")
		for accept, want := range map[string]string{
			"application/json": "application/json", "*/*": "application/json", "application/token-introspection+jwt;q=0": "application/json", "application/token-introspection+jwtx": "application/json",
			"application/json;q=0.5, Application/Token-Introspection+JWT": introspectionJWT, "application/token-introspection+jwt;q=0.1": introspectionJWT,
		} {
			if a := w.introspectAs("tool", access, accept); a.header.Get("Content-Type") != want {
				t.Errorf("Accept %q: %s", accept, a.header.Get("Content-Type"))
			}
		}
		wrong := w.introspectJWT("tool:wrong", access)
		w.refusedWith(wrong, "invalid_client")
	})
}

// Row 12: a foreign client learns nothing, in JSON and in JWT.
func TestRow12AForeignClientSeesBareInactiveInJSONAndJWT(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.registerFormats()
		for _, client := range []string{"tool", "jwt", "old-jwt"} {
			a := w.tokens(client, "scope", "openid profile mail offline_access")
			exchanged := w.exchange(client, a.text("access_token"), "scope", "mail").text("access_token")
			for asking, tokens := range map[string][]string{
				"other": {a.text("access_token"), a.text("refresh_token"), exchanged, "unknown", a.text("id_token")},
				"dav":   {a.text("access_token"), a.text("refresh_token"), exchanged},
				"imap":  {a.text("access_token"), a.text("refresh_token")},
				client:  {a.text("id_token"), "unknown"},
			} {
				for _, token := range tokens {
					if w.active(asking, token) {
						t.Errorf("%s sees inside", asking)
					}
					b := w.introspectJWT(asking, token)
					w.must(b, 200)
					_, claims := w.unsigned(b.body)
					inner, _ := claims["token_introspection"].(map[string]any)
					if len(inner) != 1 || inner["active"] != false || len(claims) != 4 {
						t.Errorf("%s learns %v", asking, claims)
					}
				}
			}
			if !w.active("imap", exchanged) || !w.active(client, exchanged) {
				t.Error("who may see does not")
			}
		}
	})
}

func (w *world) introspectJWT(client, token string) answer {
	w.t.Helper()
	return w.introspectAs(client, token, introspectionJWT)
}

func (w *world) introspectAs(client, token, accept string) answer {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.http.URL+"/oauth2/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", accept)
	id, pass, ok := strings.Cut(client, ":")
	if !ok {
		pass = secret1
	}
	r.SetBasicAuth(id, pass)
	return w.send(r)
}
