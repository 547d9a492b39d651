package conformance

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// challenge is S256 of a verifier (RFC 7636 §4.2).
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// codeReuse: OIDCCAuthCodeReuse.
func codeReuse(m *module) {
	g := m.flow(m.application())
	m.tokenRefused(m.redeem(g), "invalid_grant")
	m.checkDead(g)
}

// codeReuseAfter30Seconds: OIDCCAuthCodeReuseAfter30Seconds.
func codeReuseAfter30Seconds(m *module) {
	g := m.flow(m.application())
	m.rest(30 * time.Second)
	m.tokenRefused(m.redeem(g), "invalid_grant")
	m.checkDead(g)
}

// checkDead holds that a token opens nothing any more (RFC 6749 §4.1.2, RFC 6750 §3.1).
func (m *module) checkDead(g *grant) {
	m.Helper()
	r := m.get(m.endpoint("userinfo_endpoint"), g.access())
	if r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "" {
		m.Errorf("the access token still opens userinfo: %s", r)
	}
}

// offline are the grants of an application that refreshes.
func offline(document map[string]any) {
	document["grant_types"] = []string{"authorization_code", "refresh_token"}
}

// refreshToken: OIDCCRefreshToken. Two applications refresh; one's token is nothing to the other.
func refreshToken(m *module) {
	metadata := m.metadata()
	if !slices.Contains(listed(metadata, "grant_types_supported"), "refresh_token") || !slices.Contains(listed(metadata, "scopes_supported"), "offline_access") {
		m.Error("discovery does not list refresh_token or offline_access")
	}
	one, two := m.application(offline), m.static(second)
	if m.plan.registers != "" {
		two = m.application(offline)
	}
	m.refreshed(one, with("scope", "openid offline_access"), 10)
	token := m.refreshed(two, nil, 43)
	m.tokenRefused(m.refresh(one, token), "invalid_grant")
}

// refreshed obtains a refresh token, uses it (RefreshTokenRequestSteps) and gives the one that follows. asks goes into the
// refresh, nonce is the length of the nonce.
func (m *module) refreshed(a *application, asks change, nonce int) string {
	m.Helper()
	g := m.flow(a, with("scope", "openid offline_access"), with("prompt", "consent"), with("nonce", random(nonce)))
	if !m.asked("consent") {
		m.Error("prompt=consent asks nobody")
	}
	return m.refreshedAgain(g, asks)
}

func (m *module) refreshedAgain(g *grant, asks change) string {
	m.Helper()
	token := g.tokens.text("refresh_token")
	if token == "" {
		m.Fatalf("no refresh token: %s", g.tokens)
	}
	m.rest(1100 * time.Millisecond) // so that iat differs
	if asks == nil {
		asks = with("", "")
	}
	r := m.refresh(g.application, token, asks)
	m.checkTokens(r)
	after := &grant{application: g.application, request: g.request, tokens: r}
	if after.access() == g.access() {
		m.Error("the access token is the same")
	}
	// Core §12.2: a refreshed ID token repeats who, when and for whom
	_, after.claims = m.verify(r.text("id_token"), g.application.alg)
	for _, name := range []string{"iss", "sub", "auth_time", "azp", "acr"} {
		if after.claims[name] == nil || after.claims[name] != g.claims[name] {
			m.Errorf("%s was %v and is %v", name, g.claims[name], after.claims[name])
		}
	}
	if before, now := marshal(g.claims["aud"]), marshal(after.claims["aud"]); before != now {
		m.Errorf("aud was %s and is %s", before, now)
	}
	if !numeric(after.claims["iat"]).After(numeric(g.claims["iat"])) {
		m.Errorf("iat was %v and is %v", g.claims["iat"], after.claims["iat"])
	}
	m.userinfo(after)
	if next := r.text("refresh_token"); next != "" {
		return next
	}
	return token
}

func marshal(v any) string {
	text, _ := json.Marshal(v) // what was JSON is JSON
	return string(text)
}

// refreshTokenKeyRotation: OIDCCRefreshTokenRPKeyRotation. An assertion with a key that the application has published since.
func refreshTokenKeyRotation(m *module) {
	path := "/jwks/" + random(10)
	before := m.anotherKey()
	uri := m.party.publish(path, "application/json", marshal(publicSet(before)))
	a := m.application(offline, func(document map[string]any) {
		delete(document, "jwks")
		document["jwks_uri"] = uri
	})
	a.key = before
	g := m.flow(a, with("scope", "openid offline_access"), with("prompt", "consent"))
	a.key = m.anotherKey()
	m.party.publish(path, "application/json", marshal(publicSet(a.key)))
	m.rest(11 * time.Second) // the suite waits for whatever limits how often keys are fetched: ten seconds here
	m.refreshedAgain(g, with("scope", "openid offline_access"))
	a.key = before
	m.tokenRefused(m.refresh(a, g.tokens.text("refresh_token")), "invalid_client")
}

// assertionForIssuer: OIDCCEnsureClientAssertionWithIssAudSucceeds.
func assertionForIssuer(m *module) {
	a := m.application()
	q := m.request(a)
	g := &grant{application: a, request: q, code: m.code(m.authorize(a, q))}
	form := map[string][]string{"grant_type": {"authorization_code"}, "code": {g.code}, "redirect_uri": {a.redirect}}
	r := m.post(m.endpoint("token_endpoint"), form, m.authenticate(a, form, m.party.issuer))
	m.checkTokens(r)
	m.checkIDToken(a, q, r)
}

// userinfoSigned: OIDCCUserInfoRS256.
func userinfoSigned(m *module) {
	if !slices.Contains(listed(m.metadata(), "userinfo_signing_alg_values_supported"), "RS256") {
		m.Error("discovery does not list RS256 for userinfo")
	}
	a := m.application(func(document map[string]any) { document["userinfo_signed_response_alg"] = "RS256" })
	if alg := a.answer.text("userinfo_signed_response_alg"); alg != "RS256" {
		m.Errorf("registered with userinfo_signed_response_alg %q", alg)
	}
	g := m.flow(a)
	r := m.get(m.endpoint("userinfo_endpoint"), g.access())
	if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/jwt" {
		m.Fatalf("userinfo: %s", r)
	}
	_, claims := m.verify(string(r.body), "RS256")
	m.checkForUs(a, "userinfo", claims)
	m.checkStandardClaims("userinfo", claims)
	if claims["sub"] != g.claims["sub"] || claims["nonce"] != nil {
		m.Errorf("userinfo says %v", claims)
	}
}
