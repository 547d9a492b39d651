package oidc

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The defects of fosite that Authelia mended in its fork, each held against
// what stands here instead (internal/arch holds the list).

// A JWT access token without one of the claims of RFC 9068 §2.2 is none.
func TestFositeDefectRFC9068MustConditions(t *testing.T) {
	w := onOne(t)
	w.registerFormats()
	for name, a := range map[string]answer{
		"of a person":       w.tokens("jwt"),
		"of an application": w.post("/oauth2/token", "jwt", url.Values{"grant_type": {GrantClientCredentials}}),
	} {
		w.must(a, 200)
		header, claims := w.unsigned(a.text("access_token"))
		for _, must := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
			if claims[must] == nil || claims[must] == "" {
				t.Errorf("%s: no %s", name, must)
			}
		}
		if header["typ"] != "at+jwt" || header["alg"] == "none" {
			t.Errorf("%s: %v", name, header)
		}
		if person := name == "of a person"; person != (claims["auth_time"] != nil && claims["acr"] != nil) {
			t.Errorf("%s: auth_time %v, acr %v", name, claims["auth_time"], claims["acr"])
		}
	}
}

// Values and names of parameters mean what they spell (RFC 6749 §1.1, §3.1).
func TestFositeDefectArgumentsAreCaseSensitive(t *testing.T) {
	w := onOne(t)
	for name, form := range map[string]url.Values{
		"response_type": request("tool", "response_type", "Code"),
		"prompt":        request("tool", "prompt", "NONE"),
		"method":        request("tool", "code_challenge_method", "s256"),
		"response_mode": request("tool", "response_mode", "Form_Post"),
		"a name":        request("tool", "response_type", "-", "Response_Type", "code"),
	} {
		if e := w.authorize(form).location().Get("error"); e != "invalid_request" && e != "unsupported_response_type" {
			t.Errorf("%s: %q", name, e)
		}
	}
	w.notRedirected(w.authorize(request("Tool")))
	w.notRedirected(w.authorize(request("tool", "redirect_uri", strings.ToUpper(back))))
	if a := w.tokens("tool", "scope", "openid EMAIL Profile"); a.text("scope") != "openid" {
		t.Errorf("scope %q", a.text("scope"))
	}
	code := w.code("tool")
	w.refusedWith(w.redeem("tool", code, "grant_type", "Authorization_Code"), "unsupported_grant_type")
	w.refusedWith(w.redeem("Tool", code), "invalid_client")
	w.refusedWith(w.redeem("tool", code, "code_verifier", strings.ToUpper(verifier)), "invalid_grant")
	w.must(w.redeem("tool", code), 200)
}

// A refresh gives the scope that it asks for, no more (T16 looks inside).
func TestFositeDefectRefreshRequestedScopeIsHonoured(t *testing.T) {
	w := onOne(t)
	a := w.tokens("tool", "scope", "openid email profile offline_access")
	b := w.refresh("tool", a.text("refresh_token"), "scope", "email")
	w.must(b, 200)
	if i := w.introspect("tool", b.text("access_token")); b.text("scope") != "email" || i.text("scope") != "email" || b.text("id_token") != "" {
		t.Errorf("answered %q, stored %q, ID token %q", b.text("scope"), i.text("scope"), b.text("id_token"))
	}
}

// Whatever comes of a refresh belongs to the authorization from its first
// moment: what ends that ends it as well, however soon.
func TestFositeDefectRefreshKeepsItsOriginalRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		code := w.code("tool", "scope", "openid offline_access")
		a := w.redeem("tool", code)
		b := w.refresh("tool", a.text("refresh_token"))
		w.must(b, 200)
		var families int
		if err := w.db.QueryRow(t.Context(), "SELECT COUNT(DISTINCT grant_id) FROM oidc_token").Scan(&families); err != nil || families != 1 {
			t.Errorf("%d families: %v", families, err)
		}
		w.must(w.post("/oauth2/revoke", "tool", url.Values{"token": {b.text("refresh_token")}}), 200)
		for _, token := range []string{a.text("access_token"), a.text("refresh_token"), b.text("access_token"), b.text("refresh_token")} {
			if w.active("tool", token) {
				t.Errorf("%s… outlives its family", token[:8])
			}
		}
	})
}

// An assertion of the future is none, at both places that take one.
func TestFositeDefectRFC7523IssuedAtIsValidated(t *testing.T) {
	w := onOne(t)
	w.keyed()
	for name, iat := range map[string]any{"in the future": w.clock.now().Add(time.Minute).Unix(), "a text": "now", "negative": -1} {
		w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(map[string]any{"iat": iat})))), "invalid_client")
		claims := w.claims(map[string]any{"iss": "https://hr.test", "sub": marie, "iat": iat})
		w.register(tool(func(c *Client) {
			c.ID, c.Grants, c.RedirectURIs, c.Home, c.ExchangeTo = "vouched", []string{GrantJWTBearer}, nil, "", nil
			c.AssertionIssuers = []AssertionIssuer{{Issuer: "https://hr.test", JWKS: jwksOfTests(foreignAlgs...), Assurance: 2}}
		}))
		present := func(claims map[string]any) answer {
			return w.post("/oauth2/token", "vouched", url.Values{"grant_type": {GrantJWTBearer}, "assertion": {signForeign(t, ES256, claims)}, "scope": {"email"}})
		}
		if a := present(claims); a.text("error") != "invalid_grant" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		w.must(present(w.claims(map[string]any{"iss": "https://hr.test", "sub": marie})), 200)
	}
	w.must(w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(nil)))), 200)
}

// Where PKCE is waived nothing of it is kept or missed; where it was used it is
// held all the same.
func TestFositeDefectPKCEIsNeitherKeptNorMissedWithoutNeed(t *testing.T) {
	w := onOne(t)
	code := w.code("old", "code_challenge", "-", "code_challenge_method", "-")
	var challenge string
	if err := w.db.QueryRow(t.Context(), "SELECT challenge FROM oidc_grant").Scan(&challenge); err != nil || challenge != "" {
		t.Errorf("kept %q: %v", challenge, err)
	}
	w.must(w.redeem("old", code, "code_verifier", "-"), 200)
	code = w.code("old")
	w.refusedWith(w.redeem("old", code, "code_verifier", "-"), "invalid_grant")
	w.must(w.redeem("old", code), 200)
}

// OpenID Connect Core §3.1.2.1: redirect_uri is required, even of whoever has
// registered one only, and again with the code.
func TestFositeDefectAbsentRedirectURIIsAnError(t *testing.T) {
	w := onOne(t)
	w.register(tool(func(c *Client) { c.ID, c.RedirectURIs, c.Home = "single", []string{back}, "" }))
	for _, scope := range []string{"openid", "email"} {
		w.notRedirected(w.authorize(request("single", "redirect_uri", "-", "scope", scope)))
		w.notRedirected(w.authorize(request("single", "redirect_uri", "", "scope", scope)))
	}
	w.refusedWith(w.post("/oauth2/par", "single", request("single", "redirect_uri", "-")), "invalid_request")
	code := w.code("single")
	w.refusedWith(w.redeem("single", code, "redirect_uri", "-"), "invalid_grant")
	w.must(w.redeem("single", code), 200)
}

// A hint is verified by the key that signed it, whatever the algorithm of the
// application, then and now.
func TestFositeDefectIDTokenHintIsReadByItsOwnKey(t *testing.T) {
	w := onOne(t)
	for i, alg := range algorithms {
		id := "hint-" + alg
		registered := func(alg string) { w.register(tool(func(c *Client) { c.ID, c.IDTokenAlg, c.Home = id, alg, "" })) }
		registered(alg)
		hint := w.tokens(id).text("id_token")
		registered(algorithms[(i+1)%len(algorithms)])
		if a := w.authorize(request(id, "id_token_hint", hint, "prompt", "none")); a.location().Get("code") == "" {
			t.Errorf("%s: %s", alg, a.header.Get("Location"))
		}
		if l, err := w.p.parseLogout(t.Context(), url.Values{"id_token_hint": {hint}}); err != nil || l.client.ID != id || l.hint.sub != marie {
			t.Errorf("%s at the sign-out: %v", alg, err)
		}
	}
}

// RFC 7009 §2.2: what cannot be revoked is answered as if it had been; only who
// asks wrongly is told so.
func TestFositeDefectRevocationAnswersAsItShould(t *testing.T) {
	w := onOne(t)
	a := w.tokens("tool", "scope", "openid offline_access")
	revoke := func(client string, change ...string) answer {
		return w.post("/oauth2/revoke", client, pairs(url.Values{"token": {a.text("refresh_token")}}, change...))
	}
	for name, b := range map[string]answer{
		"unknown":           revoke("tool", "token", "x"),
		"a foreign one":     revoke("other"),
		"a wrong hint":      revoke("tool", "token", "bfa_x", "token_type_hint", "refresh_token"),
		"a hint of nothing": revoke("tool", "token", "x", "token_type_hint", "saml"),
	} {
		if b.status != 200 || strings.TrimSpace(b.body) != "" {
			t.Errorf("%s: %d %s", name, b.status, b.body)
		}
	}
	w.refusedWith(revoke("tool", "token", "-"), "invalid_request")
	if b := revoke("tool:wrong"); b.status != 401 || b.text("error") != "invalid_client" {
		t.Errorf("a wrong secret: %d %s", b.status, b.body)
	}
	if !w.active("tool", a.text("refresh_token")) {
		t.Fatal("one of these has ended it")
	}
	w.must(revoke("tool", "token_type_hint", "access_token"), 200) // the hint is wrong, the token is found
	w.must(revoke("tool"), 200)                                    // and a second time
	if w.active("tool", a.text("refresh_token")) || w.active("tool", a.text("access_token")) {
		t.Error("it lives on")
	}
}

// Without response_mode the answer takes the way of the response type, and a
// type that would need another way is refused by that one.
func TestFositeDefectOmittedResponseModeIsSettled(t *testing.T) {
	w := onOne(t)
	for _, mode := range []string{"-", ""} {
		if a := w.authorize(request("tool", "response_mode", mode)); !w.deliveredBy(a, modeQuery, back) {
			t.Errorf("code, response_mode %q: %s", mode, a.header.Get("Location"))
		}
		for _, types := range []string{"token", "id_token", "code id_token", "code token"} {
			if a := w.authorize(request("tool", "response_mode", mode, "response_type", types)); !strings.Contains(a.header.Get("Location"), "#error=unsupported_response_type") && a.location().Get("error") != "unsupported_response_type" ||
				strings.Contains(a.header.Get("Location"), "?") {
				t.Errorf("%s, response_mode %q: %s", types, mode, a.header.Get("Location"))
			}
		}
	}
}

// A refresh token that is nothing, expired, ended or of another kind is 400
// invalid_grant, never 401.
func TestFositeDefectBadRefreshTokenIs400(t *testing.T) {
	w := onOne(t)
	a := w.tokens("tool", "scope", "openid offline_access")
	ended := w.tokens("tool", "scope", "openid offline_access")
	w.must(w.post("/oauth2/revoke", "tool", url.Values{"token": {ended.text("refresh_token")}}), 200)
	bad := map[string]answer{
		"nonsense":  w.refresh("tool", "x"),
		"unknown":   w.refresh("tool", prefixRefresh+strings.Repeat("A", 43)),
		"an access": w.refresh("tool", a.text("access_token")),
		"a foreign": w.refresh("other", a.text("refresh_token")),
		"ended":     w.refresh("tool", ended.text("refresh_token")),
	}
	w.clock.pass(31 * 24 * time.Hour)
	bad["expired"] = w.refresh("tool", a.text("refresh_token"))
	for name, b := range bad {
		if b.status != http.StatusBadRequest || b.text("error") != "invalid_grant" || b.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %s", name, b.status, b.body)
		}
	}
	if b := w.refresh("tool", ""); b.status != http.StatusBadRequest || b.text("error") != "invalid_request" {
		t.Errorf("none: %d %s", b.status, b.body)
	}
}

// A refreshed JWT says when it was made itself, not when the first one was.
func TestFositeDefectRefreshedJWTHasItsOwnTimes(t *testing.T) {
	w := onOne(t)
	w.registerFormats()
	a := w.tokens("jwt", "scope", "openid offline_access")
	_, first := w.unsigned(a.text("access_token"))
	w.clock.pass(time.Hour)
	b := w.refresh("jwt", a.text("refresh_token"))
	w.must(b, 200)
	_, second := w.unsigned(b.text("access_token"))
	if second["iat"] != first["iat"].(float64)+3600 || second["exp"] != first["exp"].(float64)+3600 || second["jti"] == first["jti"] || second["auth_time"] != first["auth_time"] {
		t.Errorf("%v\n%v", first, second)
	}
}

// One way to authenticate in a request (RFC 6749 §2.3).
func TestFositeDefectSeveralAuthenticationMethodsAreRefused(t *testing.T) {
	w := onOne(t)
	w.keyed()
	code := w.code("tool")
	w.refusedWith(w.redeem("tool", code, "client_id", "tool", "client_secret", secret1), "invalid_request")
	w.refusedWith(w.redeem("", code, "client_id", "tool", "client_secret", secret1, "client_assertion_type", typeClientAssertion, "client_assertion", signForeign(t, ES256, w.claims(nil))), "invalid_request")
	w.refusedWith(w.redeem("tool", code, "client_assertion_type", typeClientAssertion, "client_assertion", signForeign(t, ES256, w.claims(nil))), "invalid_request")
	w.must(w.redeem("tool", code), 200)
}

// What an application is registered for is held of that application: consent,
// pushed requests, PKCE.
func TestFositeDefectRulesAreHeldPerClient(t *testing.T) {
	w := onOne(t)
	w.register(tool(func(c *Client) { c.ID, c.Consent, c.Home = "asking", ConsentAlways, "" }))
	w.register(tool(func(c *Client) { c.ID, c.PARRequired, c.Home = "pushing", true, "" }))
	if to := w.authorize(request("asking")).header.Get("Location"); !strings.HasPrefix(to, "/oauth2/consent?") {
		t.Errorf("consent: %s", to)
	}
	w.redirectedWith(w.authorize(request("asking", "prompt", "none")), "consent_required")
	w.redirectedWith(w.authorize(request("pushing")), "invalid_request")
	pushed := w.push("pushing", request("pushing"))
	w.must(pushed, http.StatusCreated)
	if w.authorize(byReference("pushing", pushed.text("request_uri"))).location().Get("code") == "" {
		t.Error("a pushed request is refused")
	}
	w.redirectedWith(w.authorize(request("tool", "code_challenge", "-", "code_challenge_method", "-")), "invalid_request")
	w.redirectedWith(w.authorize(request("spa", "code_challenge", "-", "code_challenge_method", "-")), "invalid_request")
	w.redirectedWith(w.authorize(request("old", "code_challenge", verifier, "code_challenge_method", "plain")), "invalid_request")
	for _, free := range []string{"tool", "old"} {
		if w.authorize(request(free)).location().Get("code") == "" {
			t.Errorf("%s is held to another's rules", free)
		}
	}
}
