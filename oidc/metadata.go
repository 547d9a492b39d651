package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ory/fosite"
)

// Errors of registration (RFC 7591 §3.2.2).
var (
	errRedirectURI       = &fosite.RFC6749Error{ErrorField: "invalid_redirect_uri", DescriptionField: "a redirect URI is not acceptable", CodeField: http.StatusBadRequest}
	errMetadata          = &fosite.RFC6749Error{ErrorField: "invalid_client_metadata", DescriptionField: "the registration is not acceptable", CodeField: http.StatusBadRequest}
	errSoftwareStatement = &fosite.RFC6749Error{ErrorField: "invalid_software_statement", DescriptionField: "software statements are not offered", CodeField: http.StatusBadRequest}
)

// Bounds of a registration document.
const (
	metadataMost = 32 << 10 // bytes
	listMost     = 20       // entries of a list
	textMost     = 2048     // bytes of a value
	nameMost     = 100      // characters of a name
)

// metadata is a registration document as it is read: the first mistake is kept.
// What is null counts as left out (RFC 7591 §2); what nobody here knows is not
// looked at, so that nothing but the members read below can be set.
type metadata struct {
	doc map[string]any
	err error
}

// parseMetadata reads a JSON object whose members stand once.
func parseMetadata(body []byte) (*metadata, error) {
	m := &metadata{}
	if err := unmarshalClaims(body, &m.doc); err != nil {
		return nil, refused(errMetadata, "the document %v", err)
	}
	for name, value := range m.doc {
		if value == nil {
			delete(m.doc, name)
		}
		if strings.Contains(name, "_encrypted_response_") || strings.HasPrefix(name, "request_object_encryption_") {
			return nil, refused(errMetadata, "%s: encryption is not offered", name)
		}
	}
	if m.doc["software_statement"] != nil {
		return nil, errSoftwareStatement
	}
	return m, nil
}

func (m *metadata) wrong(e *fosite.RFC6749Error, format string, args ...any) {
	if m.err == nil {
		m.err = refused(e, format, args...)
	}
}

func (m *metadata) text(name string) string {
	v, has := m.doc[name]
	s, ok := v.(string)
	if has && (!ok || len(s) > textMost) {
		m.wrong(errMetadata, "%s must be a string of at most %d bytes", name, textMost)
	}
	return s
}

// shown is a text that people read on pages: short, one line, and without the
// characters that turn or hide what stands beside them.
func (m *metadata) shown(name string) string {
	s := m.text(name)
	if utf8.RuneCountInString(s) > nameMost || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || r == utf8.RuneError
	}) {
		m.wrong(errMetadata, "%s must be one line of at most %d visible characters", name, nameMost)
	}
	return strings.TrimSpace(s)
}

func (m *metadata) list(name string) []string {
	v, has := m.doc[name]
	items, ok := v.([]any)
	if has && (!ok || len(items) > listMost) {
		m.wrong(errMetadata, "%s must be a list of at most %d strings", name, listMost)
		return nil
	}
	var all []string
	for _, item := range items {
		s, ok := item.(string)
		if !ok || s == "" || len(s) > textMost {
			m.wrong(errMetadata, "%s must hold strings of at most %d bytes", name, textMost)
			return nil
		}
		all = append(all, s)
	}
	return all
}

func (m *metadata) flag(name string) bool {
	v, has := m.doc[name]
	b, ok := v.(bool)
	if has && !ok {
		m.wrong(errMetadata, "%s must be true or false", name)
	}
	return b
}

// seconds is a whole number, not below 0; nil when it is left out.
func (m *metadata) seconds(name string) *int64 {
	v, has := m.doc[name]
	if !has {
		return nil
	}
	n, ok := v.(json.Number)
	i, err := n.Int64()
	if !ok || err != nil || i < 0 {
		m.wrong(errMetadata, "%s must be a number of seconds", name)
	}
	return &i
}

// apply reads the document into c, whose every member that a document has no
// say in stays as it is. The policy bounds the rest.
func (m *metadata) apply(c Client, policy RegistrationPolicy) (Client, error) {
	c.Name = m.names()
	c.RedirectURIs, c.PostLogoutURIs = m.list("redirect_uris"), m.list("post_logout_redirect_uris")
	c.Logo, c.Policy, c.Terms, c.Site = m.text("logo_uri"), m.text("policy_uri"), m.text("tos_uri"), m.text("client_uri")
	c.Contact = ""
	if contacts := m.list("contacts"); len(contacts) > 0 {
		c.Contact = contacts[0]
	}
	m.applyAuthentication(&c)
	m.applyGrants(&c, policy)
	c.SubjectType, c.SectorURI = m.text("subject_type"), m.text("sector_identifier_uri")
	c.IDTokenAlg, c.UserinfoAlg = m.text("id_token_signed_response_alg"), m.text("userinfo_signed_response_alg")
	c.IntrospectionAlg = m.text("introspection_signed_response_alg")
	c.RequestAlg, c.RequestURIs = m.text("request_object_signing_alg"), m.list("request_uris")
	c.PARRequired = m.flag("require_pushed_authorization_requests")
	c.DefaultMaxAge, c.DefaultACRs = m.seconds("default_max_age"), m.list("default_acr_values")
	c.InitiateLogin = m.text("initiate_login_uri")
	c.BackchannelLogout, c.BackchannelSession = m.text("backchannel_logout_uri"), m.flag("backchannel_logout_session_required")
	c.FrontchannelLogout, c.FrontchannelSession = m.text("frontchannel_logout_uri"), m.flag("frontchannel_logout_session_required")
	m.flag("require_auth_time") // it always has it
	switch kind := m.text("application_type"); kind {
	case "", "web", "native":
	default:
		m.wrong(errMetadata, "application_type must be web or native")
	}
	if c.SubjectType == SubjectPairwise && c.SectorURI == "" && slices.Contains(c.Grants, GrantDevice) {
		// Its codes prove that it is at home at its redirect URIs; a device's do not.
		m.wrong(errMetadata, "subject_type: pairwise with %s needs sector_identifier_uri", GrantDevice)
	}
	if m.err == nil {
		m.checkHosts(c, policy)
	}
	if m.err != nil {
		return c, m.err
	}
	probe := c
	if probe.SecretHashes = nil; c.usesSecret() {
		probe.SecretHashes = nobody // it has one, or is about to be given one
	}
	return c, registrationError(probe.Validate())
}

// names reads client_name and client_name#fr: a name without a language is of
// both (RFC 7591 §2.2).
func (m *metadata) names() map[string]string {
	plain, names := m.shown("client_name"), map[string]string{}
	for _, lang := range []string{"fr", "en"} {
		if names[lang] = m.shown("client_name#" + lang); names[lang] == "" {
			names[lang] = plain
		}
		if names[lang] == "" {
			delete(names, lang)
		}
	}
	if len(names) == 0 {
		names["fr"], names["en"] = "Application sans nom", "Unnamed application"
	}
	return names
}

func (m *metadata) applyAuthentication(c *Client) {
	c.AuthMethod = m.text("token_endpoint_auth_method")
	if c.AuthMethod == "" {
		c.AuthMethod = AuthBasic // RFC 7591 §2
	}
	c.Public = c.AuthMethod == AuthNone
	c.AssertionAlg = ""
	if c.AuthMethod == AuthKey {
		c.AssertionAlg = m.text("token_endpoint_auth_signing_alg")
	}
	c.JWKS, c.JWKSURI = nil, m.text("jwks_uri")
	if set, has := m.doc["jwks"]; has {
		written, err := json.Marshal(set)
		if err != nil {
			m.wrong(errMetadata, "jwks is not a JWK Set")
		}
		c.JWKS = written
	}
	if c.Public {
		c.PKCEWaived = false
	}
}

// applyGrants: a grant or a response type that it may not have is refused; of
// the scopes it is given those that it may have (RFC 7591 §3.2.1 lets us choose).
func (m *metadata) applyGrants(c *Client, policy RegistrationPolicy) {
	c.Grants = m.list("grant_types")
	if len(c.Grants) == 0 {
		c.Grants = []string{GrantCode}
	}
	for _, g := range c.Grants {
		if !slices.Contains(policy.Grants, g) {
			m.wrong(errMetadata, "grant_types: %s is not offered here", g)
		}
	}
	types := m.list("response_types")
	if len(types) > 0 && !slices.Equal(types, []string{"code"}) {
		m.wrong(errMetadata, "response_types: only code is offered")
	}
	c.Scopes = policy.Scopes
	if asked := words(m.text("scope")); len(asked) > 0 {
		if c.Scopes = only(asked, policy.Scopes); len(c.Scopes) == 0 {
			m.wrong(errMetadata, "scope: none of these may be asked; these may: %s", strings.Join(policy.Scopes, " "))
		}
	}
	switch by := slices.Contains(c.Grants, GrantCode); {
	case by && len(c.RedirectURIs) == 0:
		m.wrong(errRedirectURI, "redirect_uris is missing")
	case !by && len(c.RedirectURIs) > 0:
		m.wrong(errMetadata, "grant_types: redirect_uris are for authorization_code")
	}
}

// checkHosts holds that every address of the document is where it may be.
func (m *metadata) checkHosts(c Client, policy RegistrationPolicy) {
	for _, uri := range c.RedirectURIs {
		if !policy.allowsHost(uri) {
			m.wrong(errRedirectURI, "redirect_uris: %s is not on a host that the invitation allows", uri)
		}
	}
	if c.Site != "" && checkOutside(c.Site) != nil {
		m.wrong(errMetadata, "client_uri must be an https address")
	}
	others := append(slices.Concat(c.PostLogoutURIs, c.RequestURIs), c.JWKSURI, c.SectorURI, c.BackchannelLogout, c.FrontchannelLogout, c.InitiateLogin, c.Logo, c.Policy, c.Terms, c.Site)
	for _, uri := range others {
		if uri != "" && !policy.allowsHost(uri) {
			m.wrong(errMetadata, "%s is not on a host that the invitation allows", uri)
		}
	}
}

// registeredAs are the names that RFC 7591 and its extensions have for the keys
// of an application, where they differ.
var registeredAs = map[string]string{"name": "client_name", "scopes": "scope", "grants": "grant_types", "auth_method": "token_endpoint_auth_method",
	"assertion_alg": "token_endpoint_auth_signing_alg", "jwks_file": "jwks", "logo": "logo_uri", "policy": "policy_uri", "terms": "tos_uri", "contact": "contacts",
	"id_token_alg": "id_token_signed_response_alg", "userinfo_alg": "userinfo_signed_response_alg", "introspection_alg": "introspection_signed_response_alg",
	"request_object_alg": "request_object_signing_alg", "par_required": "require_pushed_authorization_requests"}

// registrationError is the first mistake of an application in the words of
// RFC 7591 §3.2.2; its redirect URIs come first.
func registrationError(mistakes []error) error {
	var first error
	for _, err := range mistakes {
		var one *ClientMistake
		if !errors.As(err, &one) {
			return err
		}
		if one.Key == "redirect_uris" {
			return refused(errRedirectURI, "redirect_uris: %s", one.Problem)
		}
		if first == nil {
			key := one.Key
			if name := registeredAs[key]; name != "" {
				key = name
			}
			first = refused(errMetadata, "%s: %s", key, one.Problem)
		}
	}
	return first
}

// metadataOf is an application in the words of RFC 7591 §2, as it is answered:
// every member that a document may set, and no secret.
func metadataOf(c *Client) map[string]any {
	doc := map[string]any{
		"client_id": c.ID, "redirect_uris": orEmpty(c.RedirectURIs), "grant_types": orEmpty(c.Grants), "response_types": []string{}, "scope": strings.Join(c.Scopes, " "),
		"token_endpoint_auth_method": c.AuthMethod, "application_type": "web", "subject_type": c.SubjectType, "id_token_signed_response_alg": c.IDTokenAlg,
		"require_auth_time": true, "require_pushed_authorization_requests": c.PARRequired,
		"backchannel_logout_session_required": c.BackchannelSession, "frontchannel_logout_session_required": c.FrontchannelSession,
	}
	if c.may(GrantCode) {
		doc["response_types"] = []string{"code"}
	}
	if c.Public && slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return isLoopback(hostOf(uri)) || hostOf(uri) == "" }) {
		doc["application_type"] = "native"
	}
	if doc["client_name"] = c.Name["en"]; c.Name["fr"] != c.Name["en"] {
		for lang, name := range c.Name {
			doc["client_name#"+lang] = name
		}
	}
	if doc["client_name"] == "" {
		doc["client_name"] = c.Name["fr"]
	}
	for name, value := range map[string]string{"logo_uri": c.Logo, "policy_uri": c.Policy, "tos_uri": c.Terms, "client_uri": c.Site, "jwks_uri": c.JWKSURI,
		"token_endpoint_auth_signing_alg": c.AssertionAlg, "sector_identifier_uri": c.SectorURI, "userinfo_signed_response_alg": c.UserinfoAlg,
		"introspection_signed_response_alg": c.IntrospectionAlg, "request_object_signing_alg": c.RequestAlg, "initiate_login_uri": c.InitiateLogin,
		"backchannel_logout_uri": c.BackchannelLogout, "frontchannel_logout_uri": c.FrontchannelLogout} {
		if value != "" {
			doc[name] = value
		}
	}
	for name, values := range map[string][]string{"post_logout_redirect_uris": c.PostLogoutURIs, "request_uris": c.RequestURIs, "default_acr_values": c.DefaultACRs} {
		if len(values) > 0 {
			doc[name] = values
		}
	}
	if c.Contact != "" {
		doc["contacts"] = []string{c.Contact}
	}
	if len(c.JWKS) > 0 {
		doc["jwks"] = c.JWKS
	}
	if c.DefaultMaxAge != nil {
		doc["default_max_age"] = *c.DefaultMaxAge
	}
	return doc
}

func orEmpty(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}

// checkSector holds that the document at sector_identifier_uri lists every
// redirect URI (OpenID Connect Registration §5). What stands there instead, or
// why it cannot be read, is for the log: it may be an address of the inner network.
func (p *Provider) checkSector(ctx context.Context, c *Client, policy RegistrationPolicy) error {
	if c.SectorURI == "" {
		return nil
	}
	out := p.outside.strangers
	if policy.names(c.SectorURI) {
		out = p.outside
	}
	body, err := out.get(ctx, c.SectorURI, "application/json", foreignMost)
	var listed []string
	if err == nil {
		err = json.Unmarshal(body, &listed)
	}
	if err != nil {
		return refused(errMetadata, "sector_identifier_uri: no list of addresses can be read there").WithWrap(fmt.Errorf("sector of %v: %w", c.Name, err))
	}
	if !within(c.RedirectURIs, listed) {
		return refused(errMetadata, "sector_identifier_uri: the document there does not list every one of redirect_uris")
	}
	return nil
}
