package oidc

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"beffroi/signin"
)

// Grant types, as grant_type spells them.
const (
	GrantCode              = "authorization_code"
	GrantRefresh           = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantExchange          = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693
	GrantDevice            = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523 §2.1
)

// Signing algorithms (RFC 7518 §3.1, RFC 8037 §3.1).
const (
	RS256 = "RS256"
	PS256 = "PS256"
	ES256 = "ES256"
	EdDSA = "EdDSA" // Ed25519; Dovecot does not read it
)

// How a client authenticates (OpenID Connect Core §9). Empty means either of
// the two secret ways.
const (
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
	AuthKey   = "private_key_jwt"
	AuthNone  = "none" // a public client
)

// Formats of access tokens.
const (
	FormatOpaque = "opaque"
	FormatJWT    = "at+jwt" // RFC 9068
	FormatOldJWT = "jwt"    // the same with typ JWT, for Dovecot and other readers of before RFC 9068
)

// When a person is asked before an application learns something about them.
const (
	ConsentNever  = "never" // the academy has consented for its applications
	ConsentOnce   = "once"
	ConsentAlways = "always"
)

// ProfileProConnect turns on all that the contract of ProConnect asks.
const ProfileProConnect = "proconnect"

// Client is a registered application. The zero value of every field but ID,
// Name and the redirect URIs is a sound default.
type Client struct {
	ID          string            `yaml:"id" json:"id"`
	Name        map[string]string `yaml:"name" json:"name"` // by language: "fr", "en"
	Description map[string]string `yaml:"description" json:"description,omitempty"`
	Home        string            `yaml:"home" json:"home,omitempty"` // where its tile leads; none, no tile
	Icon        string            `yaml:"icon" json:"icon,omitempty"`
	Category    string            `yaml:"category" json:"category,omitempty"`

	Logo    string `yaml:"logo" json:"logo_uri,omitempty"`     // address of its picture, on a host of its own addresses
	Contact string `yaml:"contact" json:"contact,omitempty"`   // whom to ask about it: mail address, telephone or https address
	Policy  string `yaml:"policy" json:"policy_uri,omitempty"` // address of what it does with what it learns
	Terms   string `yaml:"terms" json:"tos_uri,omitempty"`     // address of its terms of service

	// Groups lists who may open it: members of any of them; empty, everyone.
	Groups []string `yaml:"groups" json:"groups,omitempty"`
	// Assurance is what it asks: 1 a password, 2 a second factor, 3 one that
	// resists phishing; 0, the provider's default.
	Assurance int `yaml:"assurance" json:"assurance,omitempty"`
	// Consent is when a person is asked: ConsentNever (default), ConsentOnce or ConsentAlways.
	Consent string `yaml:"consent" json:"consent,omitempty"`
	// Profile is a contract that the application must be served by: "" or ProfileProConnect.
	Profile string `yaml:"profile" json:"profile,omitempty"`

	// Public applications (in a browser, on a telephone) can keep no secret.
	Public bool `yaml:"public" json:"public,omitempty"`
	// SecretFile names a file holding the secret, for the configuration file.
	SecretFile string `yaml:"secret_file" json:"-"`
	// SecretHashes are the secrets that open, as secret.Hash makes them.
	SecretHashes []string `yaml:"secret_sha256" json:"-"`
	// AuthMethod is the one way it authenticates; "" accepts a secret either way.
	AuthMethod string `yaml:"auth_method" json:"token_endpoint_auth_method,omitempty"`
	// AssertionAlg is the one algorithm of its assertions; "" accepts any asymmetric one.
	AssertionAlg string `yaml:"assertion_alg" json:"token_endpoint_auth_signing_alg,omitempty"`
	// Its public keys, for AuthKey and signed requests: a JWK Set (RFC 7517 §5)
	// in a file, written out (in the database), or at an address.
	JWKSFile string          `yaml:"jwks_file" json:"-"`
	JWKS     json.RawMessage `yaml:"-" json:"jwks,omitempty"`
	JWKSURI  string          `yaml:"jwks_uri" json:"jwks_uri,omitempty"`

	RedirectURIs   []string `yaml:"redirect_uris" json:"redirect_uris,omitempty"`
	PostLogoutURIs []string `yaml:"post_logout_redirect_uris" json:"post_logout_redirect_uris,omitempty"`
	Scopes         []string `yaml:"scopes" json:"scopes,omitempty"`
	Grants         []string `yaml:"grants" json:"grants,omitempty"`
	PKCEWaived     bool     `yaml:"pkce_waived" json:"pkce_waived,omitempty"`

	// Its authorization requests.
	PARRequired   bool     `yaml:"par_required" json:"require_pushed_authorization_requests,omitempty"` // RFC 9126 §6
	RequestAlg    string   `yaml:"request_object_alg" json:"request_object_signing_alg,omitempty"`      // the only one; "" accepts any asymmetric one
	RequestURIs   []string `yaml:"request_uris" json:"request_uris,omitempty"`                          // where its request objects lie, exact
	DefaultMaxAge *int64   `yaml:"default_max_age" json:"default_max_age,omitempty"`                    // seconds
	DefaultACRs   []string `yaml:"default_acr_values" json:"default_acr_values,omitempty"`
	InitiateLogin string   `yaml:"initiate_login_uri" json:"initiate_login_uri,omitempty"` // OpenID Connect Core §4

	// What it is answered. An empty algorithm of the last two means JSON.
	IDTokenAlg       string `yaml:"id_token_alg" json:"id_token_signed_response_alg,omitempty"` // RS256 (default), PS256, ES256, EdDSA
	UserinfoAlg      string `yaml:"userinfo_alg" json:"userinfo_signed_response_alg,omitempty"`
	IntrospectionAlg string `yaml:"introspection_alg" json:"introspection_signed_response_alg,omitempty"` // RFC 9701: used when the request accepts it
	// TokenFormat and TokenAlg are of the access tokens made for it: as their
	// audience, or, where they have no other audience, as their client.
	TokenFormat string `yaml:"token_format" json:"token_format,omitempty"` // FormatOpaque (default), FormatJWT or FormatOldJWT
	TokenAlg    string `yaml:"token_alg" json:"token_alg,omitempty"`       // RS256 (default), PS256, ES256, EdDSA
	// SubjectType is SubjectPublic (default) or SubjectPairwise: a sub that other sectors
	// do not share (OpenID Connect Core §8). The sector is the host of
	// SectorURI, or of the redirect URIs.
	SubjectType string `yaml:"subject_type" json:"subject_type,omitempty"`
	SectorURI   string `yaml:"sector_identifier_uri" json:"sector_identifier_uri,omitempty"`

	// Where it hears of a sign-out.
	BackchannelLogout   string `yaml:"backchannel_logout_uri" json:"backchannel_logout_uri,omitempty"`
	BackchannelSession  bool   `yaml:"backchannel_logout_session_required" json:"backchannel_logout_session_required,omitempty"`
	FrontchannelLogout  string `yaml:"frontchannel_logout_uri" json:"frontchannel_logout_uri,omitempty"`
	FrontchannelSession bool   `yaml:"frontchannel_logout_session_required" json:"frontchannel_logout_session_required,omitempty"`

	// Audience is the name of the resource that this application is: tokens
	// made for that name are introspected by it.
	Audience string `yaml:"audience" json:"audience,omitempty"`
	// Resources are the addresses that name the same resource in the parameter
	// resource (RFC 8707).
	Resources []string `yaml:"resources" json:"resources,omitempty"`
	// ExchangeTo lists the audiences for which it may have tokens: by exchange
	// (RFC 8693) or by the parameter resource (RFC 8707).
	ExchangeTo []string `yaml:"exchange_to" json:"exchange_to,omitempty"`
	// AssertionIssuers may vouch for people to it (RFC 7523 §2.1, JWT bearer).
	AssertionIssuers []AssertionIssuer `yaml:"assertion_issuers" json:"assertion_issuers,omitempty"`

	// Site is where the application says that it is at home. It registered
	// itself and so makes no tile of it.
	Site string `yaml:"-" json:"client_uri,omitempty"`

	app          signin.Application // made once, by withDefaults
	secrets      storedSecrets
	registration registration
}

// AssertionIssuer is a system of the academy that has identified a person
// itself and signs who it was.
type AssertionIssuer struct {
	Issuer    string          `yaml:"issuer" json:"issuer"` // the iss of its assertions
	JWKSFile  string          `yaml:"jwks_file" json:"-"`
	JWKS      json.RawMessage `yaml:"-" json:"jwks,omitempty"`
	JWKSURI   string          `yaml:"jwks_uri" json:"jwks_uri,omitempty"`
	Assurance int             `yaml:"assurance" json:"assurance,omitempty"` // what it proves: 1 (default) or 2
}

// knownScopes is what the provider itself gives a meaning to. Each says
// something about a person, so an application acting for itself has none.
var knownScopes = []string{"openid", "profile", "email", "phone", "groups", "offline_access", "applications", "people", "mail", "dav"}

// withDefaults fills what was left out. The receiver is not changed.
func (c Client) withDefaults(assurance int) Client {
	if c.isProConnect() {
		c = c.proconnectDefaults()
	}
	if len(c.Grants) == 0 && len(c.RedirectURIs) > 0 {
		c.Grants = []string{GrantCode, GrantRefresh}
	}
	if len(c.Scopes) == 0 && (slices.Contains(c.Grants, GrantCode) || slices.Contains(c.Grants, GrantDevice)) {
		c.Scopes = []string{"openid", "profile", "email", "groups", "offline_access"}
	}
	if c.IDTokenAlg == "" {
		c.IDTokenAlg = RS256
	}
	if c.TokenAlg == "" {
		c.TokenAlg = RS256
	}
	if c.TokenFormat == "" {
		c.TokenFormat = FormatOpaque
	}
	if c.Consent == "" {
		c.Consent = ConsentNever
	}
	if c.SubjectType == "" {
		c.SubjectType = SubjectPublic
	}
	if c.Assurance == 0 {
		c.Assurance = max(assurance, 1)
	}
	c.app = c.application()
	return c
}

var (
	clientID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,64}$`) // RFC 6749 §3.3
	hashToken  = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	ownScheme  = regexp.MustCompile(`^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+$`) // RFC 8252 §7.1: a domain name reversed
)

// ClientMistake is one thing wrong with an application: Key is the one of the
// configuration file.
type ClientMistake struct{ ID, Key, Problem string }

func (m *ClientMistake) Error() string {
	return fmt.Sprintf("application %q: %s: %s", m.ID, m.Key, m.Problem)
}

// Validate returns every mistake of the registration at once, each naming its key.
func (c Client) Validate() []error {
	var all []error
	wrong := func(key, format string, args ...any) {
		all = append(all, &ClientMistake{c.ID, key, fmt.Sprintf(format, args...)})
	}
	if !clientID.MatchString(c.ID) {
		wrong("id", "must be 1 to 64 of letters, digits, dot, dash, underscore, and start with a letter or digit")
	}
	if c.Name["fr"] == "" && c.Name["en"] == "" {
		wrong("name", "must be given in fr or en")
	}
	for lang := range c.Name {
		if lang != "fr" && lang != "en" {
			wrong("name", "unknown language %q (fr, en)", lang)
		}
	}
	for _, uri := range c.RedirectURIs {
		if err := checkRegistered(uri, c.Public); err != nil {
			wrong("redirect_uris", "%q: %v", uri, err)
		}
	}
	for _, uri := range c.PostLogoutURIs {
		if err := checkRegistered(uri, c.Public); err != nil {
			wrong("post_logout_redirect_uris", "%q: %v", uri, err)
		}
	}
	if c.Home != "" {
		if u, err := url.Parse(c.Home); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			wrong("home", "%q is not an http(s) address", c.Home)
		}
	}
	for _, s := range c.Scopes {
		if !scopeToken.MatchString(s) {
			wrong("scopes", "%q is not a scope", s)
		}
	}
	if c.Assurance < 0 || c.Assurance > 3 {
		wrong("assurance", "must be 1 (password), 2 (a second factor) or 3 (one that resists phishing)")
	}
	c.validateChoices(wrong)
	for _, group := range c.Groups {
		if strings.TrimSpace(group) == "" {
			wrong("groups", "a group has no name")
		}
	}
	c.validateGrants(wrong)
	c.validateSecrets(wrong)
	c.validateSubject(wrong)
	c.validateTokens(wrong)
	if c.isProConnect() {
		c.validateProConnect(wrong)
	}
	c.validateAddresses(wrong)
	c.validateRequests(wrong)
	c.validateIssuers(wrong)
	return all
}

// validateChoices holds that what is chosen of a list is on it.
func (c Client) validateChoices(wrong func(key, format string, args ...any)) {
	for _, one := range []struct {
		key, value string
		among      []string
	}{
		{"auth_method", c.AuthMethod, []string{AuthBasic, AuthPost, AuthKey, AuthNone}},
		{"assertion_alg", c.AssertionAlg, foreignAlgs},
		{"consent", c.Consent, []string{ConsentNever, ConsentOnce, ConsentAlways}},
		{"profile", c.Profile, []string{ProfileProConnect}},
		{"token_format", c.TokenFormat, []string{FormatOpaque, FormatJWT, FormatOldJWT}},
		{"subject_type", c.SubjectType, []string{SubjectPublic, SubjectPairwise}},
		{"id_token_alg", c.IDTokenAlg, algorithms},
		{"userinfo_alg", c.UserinfoAlg, algorithms},
		{"introspection_alg", c.IntrospectionAlg, algorithms},
		{"token_alg", c.TokenAlg, algorithms},
		{"request_object_alg", c.RequestAlg, algorithms},
	} {
		if one.value != "" && !slices.Contains(one.among, one.value) {
			wrong(one.key, "must be one of %s, not %q", strings.Join(one.among, ", "), one.value)
		}
	}
}

func (c Client) validateGrants(wrong func(key, format string, args ...any)) {
	d := c.withDefaults(0)
	for _, g := range d.Grants {
		switch g {
		case GrantCode:
			if len(c.RedirectURIs) == 0 {
				wrong("redirect_uris", "authorization_code needs at least one")
			}
		case GrantRefresh:
			if !slices.Contains(d.Grants, GrantCode) && !slices.Contains(d.Grants, GrantDevice) {
				wrong("grants", "refresh_token needs authorization_code or %s", GrantDevice)
			}
		case GrantDevice: // the person comes by the page /device: no redirect URI
		case GrantClientCredentials, GrantExchange, GrantJWTBearer:
			if c.Public {
				wrong("grants", "%s needs a secret, and a public application has none", g)
			}
		default:
			wrong("grants", "unknown grant %q", g)
		}
	}
	if len(d.Grants) == 0 && c.Audience == "" {
		wrong("grants", "an application without redirect_uris, grants or audience can do nothing")
	}
	if len(c.RedirectURIs) > 0 && !slices.Contains(d.Grants, GrantCode) {
		wrong("redirect_uris", "are of no use without the grant authorization_code")
	}
	if len(c.ExchangeTo) > 0 && len(d.Grants) == 0 {
		wrong("exchange_to", "is of no use without a grant")
	}
	for _, a := range append([]string{c.Audience}, c.ExchangeTo...) {
		if a != "" && !clientID.MatchString(a) {
			wrong("audience", "%q: letters, digits, dot, dash, underscore only", a)
		}
	}
	if c.PKCEWaived && c.Public {
		wrong("pkce_waived", "a public application has nothing but PKCE to protect its codes")
	}
}

func (c Client) validateSecrets(wrong func(key, format string, args ...any)) {
	for _, h := range c.SecretHashes {
		if !hashToken.MatchString(h) {
			wrong("secret_sha256", "must be SHA-256 in base64url, 43 characters")
		}
	}
	has := len(c.SecretHashes) > 0 || c.SecretFile != ""
	if c.AuthMethod == AuthNone && !c.Public || c.Public && c.AuthMethod != "" && c.AuthMethod != AuthNone {
		wrong("auth_method", "none goes with public: true, and public: true with nothing else")
	}
	switch {
	case has && c.Public:
		wrong("secret_file", "a public application has no secret")
	case has && c.AuthMethod == AuthKey:
		wrong("secret_file", "is of no use to an application that authenticates by %s", AuthKey)
	case !has && !c.Public && c.AuthMethod != AuthKey:
		wrong("secret_file", "is needed, or secret_sha256; or public: true, or auth_method: %s", AuthKey)
	}
	c.validateKeys(wrong)
}

// validateKeys holds that its keys can be used, and are there when they are needed.
func (c Client) validateKeys(wrong func(key, format string, args ...any)) {
	if len(c.JWKS) > 0 {
		if _, err := parseKeys(c.JWKS); err != nil {
			wrong("jwks", "%v", err)
		}
	}
	if c.JWKSURI != "" {
		if err := checkOutside(c.JWKSURI); err != nil {
			wrong("jwks_uri", "%v", err)
		}
	}
	if c.JWKSURI != "" && (len(c.JWKS) > 0 || c.JWKSFile != "") {
		wrong("jwks_uri", "its keys are in jwks_file or at jwks_uri, not both")
	}
	if c.AuthMethod == AuthKey && c.keys().empty() && c.JWKSFile == "" {
		wrong("jwks_file", "is needed by auth_method %s, or jwks_uri", AuthKey)
	}
}

// application is what the sign-in flow must know of the client.
func (c Client) application() signin.Application {
	app := signin.Application{ID: c.ID, Name: c.Name, Policy: signin.Policy{Groups: c.Groups, Assurance: signin.Level(c.Assurance)}}
	for _, uri := range c.RedirectURIs {
		if o := originOf(uri); o != "" && !slices.Contains(app.Origins, o) {
			app.Origins = append(app.Origins, o)
		}
	}
	if c.Logo != "" && c.checkLogo() == nil {
		app.Logo = c.Logo
	}
	app.Contact = c.Contact
	return app
}

func (c *Client) may(grant string) bool { return slices.Contains(c.Grants, grant) }
