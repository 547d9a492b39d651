package oidc

import (
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"time"
)

// discoveryDocument says what is offered, and only what is true: a client
// configures itself by it (OpenID Connect Discovery §3, RFC 8414 §2).
func (p *Provider) discoveryDocument() ([]byte, error) {
	issuer := p.cfg.Issuer
	scopes := append([]string(nil), knownScopes...)
	sort.Strings(scopes)
	methods := []string{AuthBasic, AuthPost, AuthKey}
	d := map[string]any{
		"issuer":                                         issuer,
		"authorization_endpoint":                         issuer + "/oauth2/authorize",
		"token_endpoint":                                 issuer + "/oauth2/token",
		"device_authorization_endpoint":                  issuer + "/oauth2/device_authorization", // RFC 8628 §4
		"introspection_endpoint":                         issuer + "/oauth2/introspect",
		"revocation_endpoint":                            issuer + "/oauth2/revoke",
		"userinfo_endpoint":                              issuer + "/userinfo",
		"end_session_endpoint":                           issuer + "/oauth2/logout",
		"backchannel_logout_supported":                   true,
		"backchannel_logout_session_supported":           true, // sid stands in ID tokens and logout tokens
		"frontchannel_logout_supported":                  true,
		"frontchannel_logout_session_supported":          true,
		"jwks_uri":                                       issuer + "/jwks",
		"scopes_supported":                               scopes,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       responseModes,
		"grant_types_supported":                          grantTypes,
		"subject_types_supported":                        []string{SubjectPublic, SubjectPairwise},
		"id_token_signing_alg_values_supported":          algorithms,
		"userinfo_signing_alg_values_supported":          algorithms,
		"introspection_signing_alg_values_supported":     algorithms, // RFC 9701 §7
		"token_endpoint_auth_methods_supported":          append(methods[:3:3], AuthNone),
		"introspection_endpoint_auth_methods_supported":  methods,
		"revocation_endpoint_auth_methods_supported":     append(methods[:3:3], AuthNone),
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true, // RFC 9207
		"claims_parameter_supported":                     true,
		"request_parameter_supported":                    true,
		"request_uri_parameter_supported":                true,
		"require_request_uri_registration":               true,
		"request_object_signing_alg_values_supported":    foreignAlgs,
		"pushed_authorization_request_endpoint":          issuer + "/oauth2/par",
		"require_pushed_authorization_requests":          false, // per application
		"acr_values_supported":                           acrsOffered(p.signin.Highest()),
		"prompt_values_supported":                        promptValues,
		"claim_types_supported":                          []string{"normal"},
		"claims_supported": []string{"sub", "iss", "aud", "azp", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash",
			"preferred_username", "name", "given_name", "family_name", "locale", "email", "email_verified", "phone_number", "groups", "groups_csv"},
		"ui_locales_supported": []string{"fr", "en"},

		"token_endpoint_auth_signing_alg_values_supported":         foreignAlgs,
		"introspection_endpoint_auth_signing_alg_values_supported": foreignAlgs,
		"revocation_endpoint_auth_signing_alg_values_supported":    foreignAlgs,
	}
	if slices.ContainsFunc(p.cfg.Applications, Client.isProConnect) {
		d["scopes_supported"] = union(scopes, proconnectScopes)
		d["claims_supported"] = union(d["claims_supported"].([]string), proconnectClaims)
	}
	if p.cfg.Registration.Mode != RegistrationClosed {
		d["registration_endpoint"] = issuer + "/oauth2/register"
	}
	if p.cfg.Documentation != "" {
		d["service_documentation"] = p.cfg.Documentation
	}
	return json.MarshalIndent(d, "", "  ")
}

// union is both lists, the second one without what the first has.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

var publicAge = "public, max-age=" + strconv.Itoa(int(jwksAge/time.Second))

// public answers a document that anybody may read, from any page, and keep for
// a few minutes.
func (p *Provider) public(body []byte) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", publicAge)
		h.Set("Access-Control-Allow-Origin", "*")
		_, err := w.Write(body)
		return err
	}
}
