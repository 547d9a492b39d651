package conformance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/e2e/visitor"
)

// server: OIDCCServerTest.
func server(m *module) {
	g := m.flow(m.application())
	m.checkRandom("code", g.code)
	if g.claims["name"] != nil {
		m.Error("the scope openid brings a name")
	}
}

// responseTypeMissing: OIDCCResponseTypeMissing.
func responseTypeMissing(m *module) {
	a := m.application()
	q := m.request(a, with("response_type", ""))
	m.refusedWith(m.authorize(a, q), "invalid_request", "unsupported_response_type")
}

// idTokenSignature: OIDCCIdTokenSignature, and OIDCCIdTokenRS256 where the application registers that algorithm.
func idTokenSignature(m *module) {
	a := m.register(func(document map[string]any) {
		if strings.Contains(m.Name(), "rs256") {
			document["id_token_signed_response_alg"] = "RS256"
		}
	})
	g := m.flow(a)
	if g.header["alg"] != "RS256" || g.header["kid"] == nil {
		m.Errorf("the ID token's header is %v", g.header)
	}
}

// idTokenUnsigned: OIDCCIdTokenUnsigned. The suite accepts a provider that does not list none; this one registers nobody for it.
func idTokenUnsigned(m *module) {
	if slices.Contains(listed(m.metadata(), "id_token_signing_alg_values_supported"), "none") {
		m.Error("discovery lists none")
	}
	document := m.metadataOf(m.newKey())
	document["id_token_signed_response_alg"] = "none"
	m.registrationRefused(m.sendRegistration(document), "invalid_client_metadata")
	out, err := m.Command("app", "add", "unsigned-"+random(6), "-name", "Sans signature", "-redirect", m.party.base+"/callback", "-id-token-alg", "none")
	if err == nil || strings.Contains(out, "secret") {
		m.Errorf("an application with unsigned ID tokens is registered: %s", out)
	}
}

// userinfoGet: OIDCCUserInfoGet.
func userinfoGet(m *module) {
	g := m.flow(m.application())
	m.checkUserinfo(g, m.get(m.endpoint("userinfo_endpoint"), g.access()))
}

// userinfoPostHeader: OIDCCUserInfoPostHeader.
func userinfoPostHeader(m *module) {
	g := m.flow(m.application())
	m.checkUserinfo(g, m.post(m.endpoint("userinfo_endpoint"), url.Values{}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+g.access()) }))
}

// userinfoPostBody: OIDCCUserInfoPostBody. The suite would take a refusal; a token beside another one is refused.
func userinfoPostBody(m *module) {
	g := m.flow(m.application())
	form := url.Values{"access_token": {g.access()}}
	m.checkUserinfo(g, m.post(m.endpoint("userinfo_endpoint"), form))
	if twice := m.post(m.endpoint("userinfo_endpoint"), form, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+g.access()) }); twice.status != http.StatusBadRequest {
		m.Errorf("a token in header and body: %s", twice)
	}
}

// known are the claims that the directory holds of the person; what it does not hold is left out (§5.3.2).
var known = map[string][]string{
	"profile": {"name", "given_name", "family_name", "preferred_username", "locale"}, "email": {"email", "email_verified"}, "phone": {"phone_number"},
}

// scope: OIDCCScopeProfile and its kind. A scope that discovery does not list is ignored, as Core §3.1.2.1 says of unknown ones.
func scope(scopes ...string) func(*module) {
	return func(m *module) {
		g := m.flow(m.application(), with("scope", "openid "+strings.Join(scopes, " ")))
		m.checkScopes(g, scopes)
	}
}

func (m *module) checkScopes(g *grant, scopes []string) {
	m.Helper()
	info := m.userinfo(g)
	supported := listed(m.metadata(), "scopes_supported")
	expected := map[string]bool{}
	for _, s := range scopes {
		if !slices.Contains(supported, s) {
			if granted := strings.Fields(g.tokens.text("scope")); len(granted) == 0 || slices.Contains(granted, s) {
				m.Errorf("the scope %s is not supported, and granted: %v", s, granted)
			}
			continue
		}
		for _, name := range ofScope[s] {
			expected[name] = true
		}
		for _, name := range known[s] {
			if info[name] == nil {
				m.Errorf("scope %s: userinfo has no %s: %v", s, name, info)
			}
		}
	}
	for name := range info {
		if _, standard := standardClaim(name); standard && !expected[name] {
			m.Errorf("userinfo tells %s, which was not asked", name)
		}
	}
}

// standardClaim gives the scope that a claim belongs to.
func standardClaim(name string) (string, bool) {
	for s, all := range ofScope {
		if slices.Contains(all, name) {
			return s, true
		}
	}
	return "", false
}

// withoutNonce: OIDCCEnsureRequestWithoutNonceSucceedsForCodeFlow.
func withoutNonce(m *module) { m.flow(m.application(), with("nonce", "")) }

// alternateOrder: OIDCCAlternateHappyFlow. Scopes and parameters the other way round change nothing.
func alternateOrder(m *module) {
	a := m.application()
	q := m.request(a, with("scope", "email openid"))
	var reversed []string
	for _, name := range slices.Backward(slices.Sorted(func(yield func(string) bool) {
		for name := range q {
			if !yield(name) {
				return
			}
		}
	})) {
		reversed = append(reversed, name+"="+url.QueryEscape(q.Get(name)))
	}
	g := m.complete(a, q, m.arrive(a, q, m.open(m.endpoint("authorization_endpoint")+"?"+strings.Join(reversed, "&"))))
	m.checkScopes(g, []string{"email"})
}

// accepts: a parameter that must not be an error (OIDCCDisplayPage, OIDCCEnsureRequestWithUnknownParameterSucceeds…).
func accepts(name, value string) func(*module) {
	return func(m *module) {
		m.flow(m.application(), with(name, value))
		if !m.asked("password") {
			m.Error("the person was not asked to sign in")
		}
	}
}

// loginHint: OIDCCLoginHint. The hint stands in the form; one that nobody has is no error.
func loginHint(m *module) {
	a := m.application()
	for _, hint := range []string{"buffy@localhost", m.person.Login} {
		q := m.request(a, with("login_hint", hint))
		page := m.send(q)
		form, err := page.Form("username")
		if err != nil {
			m.Fatal(err)
		}
		if form.Values.Get("username") != hint {
			m.Errorf("the form starts with %q, not with %q", form.Values.Get("username"), hint)
		}
		if hint == m.person.Login {
			m.complete(a, q, m.arrive(a, q, page))
		}
	}
}

// uiLocales: OIDCCUiLocales. A language that nobody speaks is no error, one that is known is used.
func uiLocales(m *module) {
	a := m.application()
	for locale, lang := range map[string]string{"se": `lang="fr"`, "se en": `lang="en"`} {
		m.browser = visitor.New() // asks for French
		q := m.request(a, with("ui_locales", locale))
		page := m.send(q)
		if !strings.Contains(page.Body, lang) {
			m.Errorf("ui_locales=%s shows a page without %s", locale, lang)
		}
		m.complete(a, q, m.arrive(a, q, page))
	}
}

// acrValues: OIDCCEnsureRequestWithAcrValuesSucceeds. All that discovery lists is asked; one of them is proven.
func acrValues(m *module) {
	values := listed(m.metadata(), "acr_values_supported")
	if len(values) == 0 {
		m.Fatal("discovery lists no acr_values_supported")
	}
	g := m.flow(m.application(), with("acr_values", strings.Join(values, " ")))
	if acr, _ := g.claims["acr"].(string); !slices.Contains(values, acr) {
		m.Errorf("acr is %q, none of %v", acr, values)
	}
}

// postRequest: OIDCCEnsurePostRequestSucceeds.
func postRequest(m *module) {
	a := m.application()
	q := m.request(a)
	page, err := m.browser.Post(m.Context(), m.endpoint("authorization_endpoint"), q, m.party.base+"/")
	if err != nil {
		m.Fatal(err)
	}
	if to := page.Location(); to != "" {
		page = m.open(to)
	}
	m.complete(a, q, m.arrive(a, q, page))
}

// secretPost: OIDCCServerTestClientSecretPost.
func secretPost(m *module) {
	if !slices.Contains(listed(m.metadata(), "token_endpoint_auth_methods_supported"), "client_secret_post") {
		m.Error("discovery does not list client_secret_post")
	}
	a := m.static(posting)
	if m.plan.registers != "" {
		a = m.register(func(document map[string]any) { document["token_endpoint_auth_method"] = "client_secret_post" })
	}
	m.flow(a)
}

// validPKCE: OIDCCEnsureRequestWithValidPkceSucceeds. A wrong verifier, and none, get nothing.
func validPKCE(m *module) {
	a := m.application()
	verifier := random(43)
	for _, wrong := range []string{"-", random(43), ""} {
		q := m.request(a, with("code_challenge", challenge(verifier)), with("code_challenge_method", "S256"))
		g := &grant{application: a, request: q, code: m.code(m.authorize(a, q))}
		if wrong != "-" {
			m.tokenRefused(m.redeem(g, with("code_verifier", wrong)), "invalid_grant")
			continue
		}
		g.tokens = m.redeem(g, with("code_verifier", verifier))
		m.checkTokens(g.tokens)
		g.header, g.claims = m.checkIDToken(a, q, g.tokens)
		m.userinfo(g)
	}
}

// interaction are the errors of a request that needed a page (Core §3.1.2.6).
var interaction = []string{"interaction_required", "login_required", "account_selection_required", "consent_required"}

// promptLogin: OIDCCPromptLogin.
func promptLogin(m *module) {
	a := m.application()
	before := m.flow(a)
	m.rest(1100 * time.Millisecond)
	after := m.flow(a, with("prompt", "login"))
	m.checkSecondSignIn(before, after)
}

func (m *module) checkSecondSignIn(before, after *grant) {
	m.Helper()
	if !m.asked("password") {
		m.Error("nobody had to sign in again")
	}
	if !numeric(after.claims["auth_time"]).After(numeric(before.claims["auth_time"])) {
		m.Errorf("auth_time was %v and is %v", before.claims["auth_time"], after.claims["auth_time"])
	}
	if time.Since(numeric(after.claims["auth_time"])) > time.Minute {
		m.Errorf("auth_time is %v", after.claims["auth_time"])
	}
}

// promptNoneNotLoggedIn: OIDCCPromptNoneNotLoggedIn.
func promptNoneNotLoggedIn(m *module) {
	a := m.application()
	answer := m.authorize(a, m.request(a, with("prompt", "none"), with("state", random(128))))
	m.refusedWith(answer, "login_required")
}

// promptNoneLoggedIn: OIDCCPromptNoneLoggedIn.
func promptNoneLoggedIn(m *module) {
	a := m.application()
	before := m.flow(a)
	m.checkSameSignIn(before, m.flow(a, with("prompt", "none")))
}

// checkSameSignIn: AbstractOIDCCSameAuthTwiceServerTest.
func (m *module) checkSameSignIn(before, after *grant) {
	m.Helper()
	if len(m.shown) > 0 {
		m.Errorf("the person was asked for %v", m.shown)
	}
	for _, name := range []string{"auth_time", "sub", "sid"} {
		if before.claims[name] == nil || before.claims[name] != after.claims[name] {
			m.Errorf("%s was %v and is %v", name, before.claims[name], after.claims[name])
		}
	}
}

// maxAge1: OIDCCMaxAge1.
func maxAge1(m *module) {
	a := m.application()
	before := m.flow(a)
	m.rest(2100 * time.Millisecond)
	m.checkSecondSignIn(before, m.flow(a, with("max_age", "1")))
}

// maxAge10000: OIDCCMaxAge10000.
func maxAge10000(m *module) {
	a := m.application()
	before := m.flow(a, with("max_age", "15000"))
	m.checkSameSignIn(before, m.flow(a, with("max_age", "10000")))
}

// idTokenHint: OIDCCIdTokenHint.
func idTokenHint(m *module) {
	a := m.application()
	before := m.flow(a)
	m.checkSameSignIn(before, m.flow(a, with("prompt", "none"), with("id_token_hint", before.tokens.text("id_token"))))
}

// claimsEssential: OIDCCClaimsEssential. What is asked for userinfo comes there, and not in the ID token.
func claimsEssential(m *module) {
	if m.metadata()["claims_parameter_supported"] != true {
		m.Error("discovery does not say claims_parameter_supported")
	}
	g := m.flow(m.application(), with("claims", `{"userinfo":{"name":{"essential":true}}}`))
	info := m.userinfo(g)
	if info["name"] == nil || g.claims["name"] != nil {
		m.Errorf("name in userinfo: %v; in the ID token: %v", info["name"], g.claims["name"])
	}
	if info["email"] != nil {
		m.Errorf("userinfo tells more than was asked: %v", names(info))
	}
}
