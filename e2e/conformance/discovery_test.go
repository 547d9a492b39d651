package conformance

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// registered are the members that IANA's registry of authorization server metadata knows, as far as a provider without CIBA,
// federation and token binding may use them (CheckForUnexpectedParametersInServerMetadata).
var registered = strings.Fields(`issuer authorization_endpoint token_endpoint userinfo_endpoint jwks_uri registration_endpoint scopes_supported
	response_types_supported response_modes_supported grant_types_supported acr_values_supported subject_types_supported
	id_token_signing_alg_values_supported userinfo_signing_alg_values_supported request_object_signing_alg_values_supported
	token_endpoint_auth_methods_supported token_endpoint_auth_signing_alg_values_supported display_values_supported claim_types_supported
	claims_supported service_documentation claims_locales_supported ui_locales_supported claims_parameter_supported
	request_parameter_supported request_uri_parameter_supported require_request_uri_registration op_policy_uri op_tos_uri
	revocation_endpoint revocation_endpoint_auth_methods_supported revocation_endpoint_auth_signing_alg_values_supported
	introspection_endpoint introspection_endpoint_auth_methods_supported introspection_endpoint_auth_signing_alg_values_supported
	introspection_signing_alg_values_supported code_challenge_methods_supported device_authorization_endpoint
	pushed_authorization_request_endpoint require_pushed_authorization_requests authorization_response_iss_parameter_supported
	prompt_values_supported end_session_endpoint backchannel_logout_supported backchannel_logout_session_supported
	frontchannel_logout_supported frontchannel_logout_session_supported`)

// scopeToken is RFC 6749 §3.3, languageTag the form of RFC 5646 that is asked here.
var (
	scopeToken  = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)
	languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z]{2})?$`)
)

// checkEndpoints holds that every endpoint is https, and that those named are there.
func (m *module) checkEndpoints(metadata map[string]any, needed ...string) {
	m.Helper()
	for name, value := range metadata {
		if strings.HasSuffix(name, "_endpoint") || name == "jwks_uri" || name == "issuer" {
			text, _ := value.(string)
			if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
				m.Errorf("%s is %v", name, value)
			}
		}
	}
	for _, name := range needed {
		if metadata[name] == nil {
			m.Errorf("discovery names no %s", name)
		}
	}
}

// discovery: OIDCCDiscoveryEndpointVerification. The suite asks a Dynamic provider for the implicit grant too: that is refused
// here, and discovery says so.
func discovery(m *module) {
	r := m.get(m.party.issuer+"/.well-known/openid-configuration", "")
	if r.status != http.StatusOK || !isJSON(r.header) || r.json == nil {
		m.Fatalf("discovery: %s", r)
	}
	d := r.json
	if d["issuer"] != m.party.issuer {
		m.Errorf("issuer is %v", d["issuer"])
	}
	m.checkEndpoints(d, "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint")
	for _, name := range names(d) {
		if !slices.Contains(registered, name) {
			m.Errorf("%s stands in no registry", name)
		}
		if list, ok := d[name].([]any); ok && len(list) == 0 {
			m.Errorf("%s is empty: it would be left out", name)
		}
	}
	for name, needed := range map[string][]string{
		"scopes_supported": {"openid"}, "id_token_signing_alg_values_supported": {"RS256"}, "subject_types_supported": {"public"}, "claims_supported": {"sub"},
		"code_challenge_methods_supported": {"S256"}, "response_types_supported": {"code"}, "grant_types_supported": {"authorization_code"},
		"userinfo_signing_alg_values_supported": {"RS256"}, "request_object_signing_alg_values_supported": {"RS256"},
	} {
		for _, value := range needed {
			if !slices.Contains(listed(d, name), value) {
				m.Errorf("%s is %v and lacks %s", name, d[name], value)
			}
		}
	}
	for _, s := range listed(d, "scopes_supported") {
		if !scopeToken.MatchString(s) {
			m.Errorf("the scope %q is none", s)
		}
	}
	for _, tag := range append(listed(d, "ui_locales_supported"), listed(d, "claims_locales_supported")...) {
		if !languageTag.MatchString(tag) {
			m.Errorf("the language %q is none", tag)
		}
	}
	for _, name := range []string{"claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported"} {
		if _, ok := d[name].(bool); !ok {
			m.Errorf("%s is %v", name, d[name])
		}
	}
	m.keys()
	m.checkEndpointsAnswer(d)
	m.checkRefusedTypes(d)
	for _, address := range []string{"/.well-known/oauth-authorization-server"} {
		if again := m.get(m.party.issuer+address, ""); again.status != http.StatusOK || !maps.EqualFunc(again.json, d, func(a, b any) bool { return marshal(a) == marshal(b) }) {
			m.Errorf("%s says something else", address)
		}
	}
}

// checkEndpointsAnswer holds that what discovery names is there: each endpoint refuses an empty request as its standard says.
func (m *module) checkEndpointsAnswer(d map[string]any) {
	m.Helper()
	for name, want := range map[string][]int{
		"token_endpoint": {400, 401}, "introspection_endpoint": {400, 401}, "revocation_endpoint": {400, 401}, "userinfo_endpoint": {401},
		"pushed_authorization_request_endpoint": {400, 401}, "device_authorization_endpoint": {400, 401}, "registration_endpoint": {400, 401, 415},
	} {
		if address, _ := d[name].(string); address != "" {
			if r := m.post(address, url.Values{}); !slices.Contains(want, r.status) {
				m.Errorf("%s answers an empty request %s", name, r)
			}
		}
	}
	if page := m.open(d["authorization_endpoint"].(string)); page.Status != http.StatusBadRequest {
		m.Errorf("the authorization endpoint answers an empty request: %s", page)
	}
}

// checkRefusedTypes holds that what discovery does not list is refused: the implicit and hybrid ways.
func (m *module) checkRefusedTypes(d map[string]any) {
	m.Helper()
	if slices.Contains(listed(d, "grant_types_supported"), "implicit") || slices.Contains(listed(d, "grant_types_supported"), "password") {
		m.Errorf("grant_types_supported is %v", d["grant_types_supported"])
	}
	a := m.static(first)
	for _, kind := range []string{"token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"} {
		if slices.Contains(listed(d, "response_types_supported"), kind) {
			m.Errorf("response_types_supported is %v", d["response_types_supported"])
		}
		q := m.request(a, with("response_type", kind))
		to := m.send(q).Location()
		at, err := url.Parse(to)
		if err != nil || !strings.HasPrefix(to, a.redirect) {
			m.Fatalf("response_type=%s leads to %q", kind, to)
		}
		// an error comes the way the success would have (Core §3.2.2.6)
		answer, err := url.ParseQuery(at.RawQuery + at.EscapedFragment())
		if err != nil {
			m.Fatal(err)
		}
		m.refusedWith(answer, "unsupported_response_type")
		if answer.Get("state") != q.Get("state") {
			m.Errorf("state is %q, not %q", answer.Get("state"), q.Get("state"))
		}
	}
}
