package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
)

// headerOf is the header of a JWT.
func headerOf(token string) map[string]any {
	raw, _, _ := strings.Cut(token, ".")
	header := map[string]any{}
	decoded, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil || json.Unmarshal(decoded, &header) != nil {
		return nil
	}
	return header
}

// idClaims verifies an ID token with go-oidc, which is not ours, and returns
// its claims.
func (w *world) idClaims(client, raw string) map[string]any {
	w.t.Helper()
	provider, err := gooidc.NewProvider(w.t.Context(), w.http.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	verifier := provider.VerifierContext(context.Background(), &gooidc.Config{ClientID: client, Now: w.clock.now})
	token, err := verifier.Verify(w.t.Context(), raw)
	if err != nil {
		w.t.Fatalf("go-oidc refuses the ID token: %v", err)
	}
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		w.t.Fatal(err)
	}
	return claims
}

func TestASignInGivesTokensThatAnotherLibraryAccepts(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, alg := range algorithms {
			client := "tool-" + alg
			w.register(tool(func(c *Client) { c.ID, c.IDTokenAlg, c.Home = client, alg, "" }))
			a := w.tokens(client)
			if got := headerOf(a.text("id_token"))["alg"]; got != alg {
				t.Errorf("signed with %v, want %s", got, alg)
			}
			provider, err := gooidc.NewProvider(t.Context(), w.http.URL)
			if err != nil {
				t.Fatal(err)
			}
			idToken, err := provider.VerifierContext(t.Context(), &gooidc.Config{ClientID: client, Now: w.clock.now}).Verify(t.Context(), a.text("id_token"))
			if err != nil {
				t.Fatal(err)
			}
			if err := idToken.VerifyAccessToken(a.text("access_token")); err != nil {
				t.Errorf("at_hash: %v", err)
			}
			claims := w.idClaims(client, a.text("id_token"))
			for name, want := range map[string]any{
				"sub": marie, "aud": client, "azp": client, "nonce": "no-1", "sid": "sid-1", "acr": "https://refeds.org/profile/mfa",
				"preferred_username": "mdupont", "name": "Marie Dupont", "given_name": "Marie", "family_name": "Dupont",
				"email": "marie.dupont@academie.test", "email_verified": true, "groups_csv": "helpdesk,tous-personnels", "locale": "fr",
				"auth_time": float64(w.clock.now().Add(-time.Minute).Unix()),
			} {
				if claims[name] != want {
					t.Errorf("%s: claim %s is %v, want %v", client, name, claims[name], want)
				}
			}
			if groups, _ := claims["groups"].([]any); len(groups) != 2 || groups[0] != "helpdesk" {
				t.Errorf("groups: %v", claims["groups"])
			}
			if amr, _ := claims["amr"].([]any); len(amr) != 3 || amr[0] != "pwd" {
				t.Errorf("amr: %v", claims["amr"])
			}
			if a.text("token_type") != "Bearer" || a.json["expires_in"] != float64(900) || a.text("refresh_token") == "" || a.text("scope") != "openid profile email groups" {
				t.Errorf("answer: %s", a.body)
			}
			if a.header.Get("Cache-Control") != "no-store" {
				t.Error("the token answer may be kept")
			}
		}
	})
}

func TestTheSuccessfulAnswerNamesTheIssuerAndKeepsTheState(t *testing.T) {
	w := onOne(t)
	a := w.authorize(request("tool", "state", "a b&c=d"))
	q := a.location()
	if q.Get("state") != "a b&c=d" || q.Get("iss") != w.http.URL || q.Has("scope") {
		t.Fatalf("location %s", a.header.Get("Location"))
	}
	if a := w.authorize(request("tool", "state", "-")); a.location().Has("state") || !a.location().Has("code") {
		t.Fatalf("without state: %s", a.header.Get("Location"))
	}
	if q := w.authorize(request("tool", "redirect_uri", "http://127.0.0.1:4711/callback")).location(); q.Get("code") == "" {
		t.Fatal("loopback with a port of its own")
	}
}

func TestWhatIsNotOfferedButHarmlessIsIgnored(t *testing.T) {
	w := onOne(t)
	code := w.code("tool", "display", "popup", "claims_locales", "fr", "ui_locales", "en fr", "foo", "bar", "claims", `{"userinfo":{"name":{"essential":true}}}`, "login_hint", "mdupont", "nonce", "-")
	a := w.post("/oauth2/token", "", url.Values{"grant_type": {GrantCode}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}, "client_id": {"tool"}, "client_secret": {secret1}, "foo": {"bar"}})
	w.must(a, 200)
	if claims := w.idClaims("tool", a.text("id_token")); claims["nonce"] != nil {
		t.Errorf("a nonce that nobody sent: %v", claims["nonce"])
	}
	if w.door.last.LoginHint != "mdupont" || w.door.last.UILocales != "en fr" {
		t.Errorf("%+v", w.door.last)
	}
}

func TestAPublicApplicationSignsInWithPKCEAlone(t *testing.T) {
	w := onOne(t)
	a := w.redeem("", w.code("spa", "scope", "openid offline_access"), "client_id", "spa")
	w.must(a, 200)
	b := w.post("/oauth2/token", "", url.Values{"grant_type": {GrantRefresh}, "refresh_token": {a.text("refresh_token")}, "client_id": {"spa"}})
	w.must(b, 200)
	w.must(w.post("/oauth2/revoke", "", url.Values{"token": {b.text("refresh_token")}, "client_id": {"spa"}}), 200)
	w.must(w.userinfo(b.text("access_token")), 401)
	r, _ := http.NewRequest(http.MethodOptions, w.http.URL+"/oauth2/token", nil)
	r.Header.Set("Origin", "https://spa.example.test")
	if p := w.send(r); p.status != 204 || p.header.Get("Access-Control-Allow-Origin") != "*" || p.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", p.status, p.header)
	}
}

func TestTheRequestMayBePosted(t *testing.T) {
	w := onOne(t)
	a := w.post("/oauth2/authorize", "", request("tool"))
	w.must(a, http.StatusSeeOther)
	u, _ := url.Parse(a.header.Get("Location"))
	if a = w.get(u.RequestURI()); a.location().Get("code") == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	twice := request("tool")
	twice.Add("scope", "openid")
	u, _ = url.Parse(w.post("/oauth2/authorize", "", twice).header.Get("Location"))
	w.redirectedWith(w.get(u.RequestURI()), "invalid_request")
}

func TestUserinfoAnswersByScopeForGetAndPost(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool")
		token := a.text("access_token")
		for name, u := range map[string]answer{
			"get":       w.userinfo(token),
			"post body": w.post("/userinfo", "", url.Values{"access_token": {token}}),
		} {
			w.must(u, 200)
			if u.text("sub") != marie || u.text("email") == "" || u.text("groups_csv") != "helpdesk,tous-personnels" || u.text("acr") == "" {
				t.Errorf("%s: %s", name, u.body)
			}
		}
		r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/userinfo", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w.must(w.send(r), 200)

		small := w.tokens("tool", "scope", "openid")
		u := w.userinfo(small.text("access_token"))
		if u.text("sub") != marie || u.json["email"] != nil || u.json["groups"] != nil || u.json["name"] != nil {
			t.Errorf("openid alone tells: %s", u.body)
		}
		none := w.tokens("tool", "scope", "profile")
		if none.text("id_token") != "" {
			t.Error("an ID token without openid")
		}
		u = w.userinfo(none.text("access_token"))
		w.must(u, 403)
		if !strings.Contains(u.header.Get("WWW-Authenticate"), "insufficient_scope") {
			t.Errorf("challenge %q", u.header.Get("WWW-Authenticate"))
		}
		u = w.get("/userinfo")
		w.must(u, 401)
		if c := u.header.Get("WWW-Authenticate"); !strings.HasPrefix(c, "Bearer ") || strings.Contains(c, "error") {
			t.Errorf("bare challenge %q", c)
		}
	})
}

func TestAClientActsForItself(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}})
		w.must(a, 200)
		if a.text("scope") != "reports stock" || a.json["refresh_token"] != nil || a.json["id_token"] != nil {
			t.Fatalf("%s", a.body)
		}
		i := w.introspect("robot", a.text("access_token"))
		if i.text("sub") != "robot" || i.json["username"] != nil || i.text("client_id") != "robot" {
			t.Errorf("%s", i.body)
		}
		w.refusedWith(w.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}, "scope": {"openid"}}), "invalid_scope")
		w.refusedWith(w.post("/oauth2/token", "tool", url.Values{"grant_type": {GrantClientCredentials}, "scope": {"people"}}), "invalid_scope")
		u := w.userinfo(a.text("access_token"))
		w.must(u, 403)
		w.must(w.get("/api/people?q=dup", "Authorization", "Bearer "+a.text("access_token")), 403)
		body := w.post("/oauth2/token", "", url.Values{"grant_type": {GrantClientCredentials}, "client_id": {"robot"}, "client_secret": {secret1}, "scope": {"stock"}})
		w.must(body, 200)
		if body.text("scope") != "stock" {
			t.Errorf("%s", body.body)
		}
	})
}

func TestExchangeGivesANarrowTokenForOneAudience(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		subject := w.tokens("tool", "scope", "openid profile mail dav offline_access")
		w.clock.pass(5 * time.Minute)
		a := w.exchange("tool", subject.text("access_token"))
		w.must(a, 200)
		if a.text("scope") != "mail" || a.text("issued_token_type") != typeAccessToken || a.json["refresh_token"] != nil || a.json["id_token"] != nil {
			t.Fatalf("%s", a.body)
		}
		if a.json["expires_in"] != float64(600) {
			t.Errorf("the token outlives its subject: %v s", a.json["expires_in"])
		}
		i := w.introspect("imap", a.text("access_token"))
		aud, _ := i.json["aud"].([]any)
		act, _ := i.json["act"].(map[string]any)
		if i.text("username") != "mdupont" || i.text("sub") != marie || len(aud) != 1 || aud[0] != "imap" || act["sub"] != "tool" || i.text("client_id") != "tool" {
			t.Errorf("%s", i.body)
		}
		if w.active("dav", a.text("access_token")) {
			t.Error("another audience sees inside")
		}
		w.must(w.userinfo(a.text("access_token")), 401)
		w.refusedWith(w.exchange("tool", subject.text("access_token"), "audience", "dav"), "invalid_target")
		w.refusedWith(w.exchange("tool", subject.text("access_token"), "audience", "nothing"), "invalid_target")
		w.refusedWith(w.exchange("tool", subject.text("access_token"), "audience", "-"), "invalid_request")
		w.refusedWith(w.exchange("tool", subject.text("access_token"), "scope", "mail dav"), "invalid_scope")
		w.refusedWith(w.exchange("tool", subject.text("access_token"), "scope", "people"), "invalid_scope")
		w.refusedWith(w.exchange("tool", subject.text("refresh_token")), "invalid_grant")
		w.refusedWith(w.exchange("other", subject.text("access_token")), "invalid_grant")
		if w.trail("oidc.exchange", "client") != 1 {
			t.Error("an exchange of another application's token leaves no trace")
		}
		noMail := w.tokens("tool", "scope", "openid profile")
		w.refusedWith(w.exchange("tool", noMail.text("access_token")), "invalid_scope")

		// It ends with its authorization.
		w.must(w.post("/oauth2/revoke", "tool", url.Values{"token": {subject.text("refresh_token")}}), 200)
		if w.active("imap", a.text("access_token")) {
			t.Error("the exchanged token outlives its authorization")
		}
	})
}

func TestRevocationEndsATokenOrItsFamily(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool")
		w.must(w.post("/oauth2/revoke", "other", url.Values{"token": {a.text("access_token")}}), 200)
		if !w.active("tool", a.text("access_token")) {
			t.Fatal("another client ended the token")
		}
		w.must(w.post("/oauth2/revoke", "tool", url.Values{"token": {a.text("access_token")}, "token_type_hint": {"refresh_token"}}), 200)
		if w.active("tool", a.text("access_token")) || !w.active("tool", a.text("refresh_token")) {
			t.Fatal("revoking the access token")
		}
		b := w.refresh("tool", a.text("refresh_token"))
		w.must(b, 200)
		w.must(w.post("/oauth2/revoke", "tool", url.Values{"token": {b.text("refresh_token")}}), 200)
		if w.active("tool", b.text("access_token")) || w.active("tool", b.text("refresh_token")) {
			t.Fatal("revoking the refresh token")
		}
		w.refusedWith(w.refresh("tool", b.text("refresh_token")), "invalid_grant")
		w.must(w.post("/oauth2/revoke", "tool", url.Values{"token": {"unknown"}}), 200)
		w.refusedWith(w.post("/oauth2/revoke", "tool", url.Values{}), "invalid_request")
		w.refusedWith(w.post("/oauth2/revoke", "tool:wrong", url.Values{"token": {"x"}}), "invalid_client")
	})
}

func TestTilesAndPeopleNeedTheirScope(t *testing.T) {
	w := onOne(t)
	with := w.tokens("tool", "scope", "openid applications people").text("access_token")
	without := w.tokens("tool", "scope", "openid").text("access_token")
	w.must(w.get("/api/applications", "Authorization", "Bearer "+without), 403)
	w.must(w.get("/api/people?q=dup", "Authorization", "Bearer "+without), 403)
	w.must(w.get("/api/people?q=dup"), 401)
	a := w.get("/api/applications", "Authorization", "Bearer "+with)
	w.must(a, 200)
	if !strings.Contains(a.body, `"id":"tool"`) || strings.Contains(a.body, `"id":"heads"`) || strings.Contains(a.body, "secret") {
		t.Errorf("tiles: %s", a.body)
	}
	a = w.get("/api/people?q=dupont", "Authorization", "Bearer "+with)
	if !strings.Contains(a.body, `"login":"mdupont"`) || !strings.Contains(a.body, `"school":"0590001A"`) {
		t.Errorf("people: %s", a.body)
	}
	w.must(w.get("/api/people?q=d", "Authorization", "Bearer "+with), 400)
	w.must(w.get("/api/people", "Authorization", "Bearer "+with), 400)
}

func TestDiscoverySaysOnlyWhatIsTrue(t *testing.T) {
	w := onOne(t)
	a := w.get("/.well-known/openid-configuration")
	w.must(a, 200)
	if a.text("issuer") != w.http.URL || a.json["require_request_uri_registration"] != true || a.json["require_pushed_authorization_requests"] != false || a.json["authorization_response_iss_parameter_supported"] != true {
		t.Fatalf("%s", a.body)
	}
	for name, value := range a.json {
		address, ok := value.(string)
		if !ok || name == "issuer" {
			continue
		}
		path := strings.TrimPrefix(address, w.http.URL)
		if got := w.get(path).status; got == http.StatusNotFound {
			t.Errorf("%s leads to nothing: %s", name, address)
		}
	}
	if b := w.get("/.well-known/oauth-authorization-server"); b.body != a.body {
		t.Error("the two documents differ")
	}
	j := w.get("/jwks")
	if strings.Contains(j.body, `"d"`) || strings.Contains(j.body, `"p"`) || !strings.Contains(j.body, `"alg":"ES256"`) {
		t.Errorf("jwks: %s", j.body)
	}
}
