package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"beffroi/signin"
)

// Grant types, as grant_type spells them.
const (
	GrantCode              = "authorization_code"
	GrantRefresh           = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantExchange          = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693
)

// Signing algorithms of ID tokens.
const (
	RS256 = "RS256"
	ES256 = "ES256"
)

// Client is a registered application. The zero value of every field but ID,
// Name and the redirect URIs is a sound default.
type Client struct {
	ID          string            `yaml:"id" json:"id"`
	Name        map[string]string `yaml:"name" json:"name"` // by language: "fr", "en"
	Description map[string]string `yaml:"description" json:"description,omitempty"`
	Home        string            `yaml:"home" json:"home,omitempty"` // where its tile leads; none, no tile
	Icon        string            `yaml:"icon" json:"icon,omitempty"`
	Category    string            `yaml:"category" json:"category,omitempty"`

	// Groups lists who may open it: members of any of them; empty, everyone.
	Groups []string `yaml:"groups" json:"groups,omitempty"`
	// Assurance is how many factors it asks: 1 or 2; 0, the provider's default.
	Assurance int `yaml:"assurance" json:"assurance,omitempty"`

	// Public applications (in a browser, on a telephone) can keep no secret.
	Public bool `yaml:"public" json:"public,omitempty"`
	// SecretFile names a file holding the secret, for the configuration file.
	SecretFile string `yaml:"secret_file" json:"-"`
	// SecretHashes are the secrets that open, as secret.Hash makes them.
	SecretHashes []string `yaml:"secret_sha256" json:"-"`

	RedirectURIs   []string `yaml:"redirect_uris" json:"redirect_uris,omitempty"`
	PostLogoutURIs []string `yaml:"post_logout_redirect_uris" json:"post_logout_redirect_uris,omitempty"`
	Scopes         []string `yaml:"scopes" json:"scopes,omitempty"`
	Grants         []string `yaml:"grants" json:"grants,omitempty"`
	PKCEWaived     bool     `yaml:"pkce_waived" json:"pkce_waived,omitempty"`
	IDTokenAlg     string   `yaml:"id_token_alg" json:"id_token_alg,omitempty"` // RS256 (default) or ES256
	TokenFormat    string   `yaml:"token_format" json:"token_format,omitempty"` // "opaque", the only one so far

	// Audience is the name of the resource that this application is: tokens
	// made for that name are introspected by it.
	Audience string `yaml:"audience" json:"audience,omitempty"`
	// ExchangeTo lists the audiences for which it may exchange a person's token.
	ExchangeTo []string `yaml:"exchange_to" json:"exchange_to,omitempty"`

	app signin.Application // made once, by withDefaults
}

// knownScopes is what the provider itself gives a meaning to. Each says
// something about a person, so an application acting for itself has none.
var knownScopes = []string{"openid", "profile", "email", "phone", "groups", "offline_access", "applications", "people", "mail", "dav"}

// withDefaults fills what was left out. The receiver is not changed.
func (c Client) withDefaults(assurance int) Client {
	if len(c.Grants) == 0 && len(c.RedirectURIs) > 0 {
		c.Grants = []string{GrantCode, GrantRefresh}
	}
	if len(c.Scopes) == 0 && slices.Contains(c.Grants, GrantCode) {
		c.Scopes = []string{"openid", "profile", "email", "groups", "offline_access"}
	}
	if c.IDTokenAlg == "" {
		c.IDTokenAlg = RS256
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

// Validate returns every mistake of the registration at once, each naming its key.
func (c Client) Validate() []error {
	var all []error
	wrong := func(key, format string, args ...any) {
		all = append(all, fmt.Errorf("application %q: %s: %s", c.ID, key, fmt.Sprintf(format, args...)))
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
	if c.Assurance < 0 || c.Assurance > 2 {
		wrong("assurance", "must be 1 (password) or 2 (a second factor)")
	}
	if c.IDTokenAlg != "" && c.IDTokenAlg != RS256 && c.IDTokenAlg != ES256 {
		wrong("id_token_alg", "must be RS256 or ES256, not %q", c.IDTokenAlg)
	}
	if c.TokenFormat != "" && c.TokenFormat != "opaque" {
		wrong("token_format", "must be opaque, not %q", c.TokenFormat)
	}
	for _, group := range c.Groups {
		if strings.TrimSpace(group) == "" {
			wrong("groups", "a group has no name")
		}
	}
	c.validateGrants(wrong)
	c.validateSecrets(wrong)
	return all
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
			if !slices.Contains(d.Grants, GrantCode) {
				wrong("grants", "refresh_token needs authorization_code")
			}
		case GrantClientCredentials, GrantExchange:
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
	if len(c.ExchangeTo) > 0 && !slices.Contains(d.Grants, GrantExchange) {
		wrong("exchange_to", "is of no use without the grant %s", GrantExchange)
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
	if c.Public && has {
		wrong("secret_file", "a public application has no secret")
	}
	if !c.Public && !has {
		wrong("secret_file", "is needed, or secret_sha256; or public: true")
	}
}

// checkRegistered tells what is wrong with a redirect URI at registration.
// What stands here is compared as a string later, so it must mean one thing.
func checkRegistered(uri string, public bool) error {
	for _, r := range uri {
		if r <= ' ' || r >= 0x7f || r == '\\' || r == '"' || r == '<' || r == '>' {
			return errors.New("only visible ASCII without quotes, brackets and backslash")
		}
	}
	if strings.Contains(uri, "#") {
		return errors.New("no fragment (RFC 6749 §3.1.2)")
	}
	if strings.Contains(uri, "*") {
		return errors.New("no wildcard: it is compared character by character")
	}
	u, err := url.Parse(uri)
	if err != nil {
		return errors.New("is not an address")
	}
	if u.User != nil {
		return errors.New("no user name in the address")
	}
	if strings.Contains(u.EscapedPath(), "/../") || strings.Contains(u.EscapedPath(), "/./") || strings.HasSuffix(u.EscapedPath(), "/..") {
		return errors.New("no dot segments in the path")
	}
	switch u.Scheme {
	case "https":
		if u.Hostname() == "" {
			return errors.New("names no host")
		}
	case "http":
		if !isLoopback(u.Hostname()) {
			return errors.New("http only for 127.0.0.1, [::1] and localhost; https elsewhere")
		}
	default:
		if !public || !ownScheme.MatchString(u.Scheme) {
			return errors.New("the scheme must be https, or for a public application a reversed domain name (RFC 8252 §7.1)")
		}
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// application is what the sign-in flow must know of the client.
func (c Client) application() signin.Application {
	app := signin.Application{ID: c.ID, Name: c.Name, Policy: signin.Policy{Groups: c.Groups, Assurance: signin.Level(c.Assurance)}}
	for _, uri := range c.RedirectURIs {
		if o := originOf(uri); o != "" && !slices.Contains(app.Origins, o) {
			app.Origins = append(app.Origins, o)
		}
	}
	return app
}

// originOf is scheme://host[:port], with any port where a loopback address was
// registered without one; or "scheme:" for an application's own scheme.
func originOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return u.Scheme + ":"
	}
	if anyPort(uri) != "" {
		return u.Scheme + "://" + u.Host + ":*"
	}
	return u.Scheme + "://" + u.Host
}

func (c *Client) may(grant string) bool { return slices.Contains(c.Grants, grant) }

// fositeClient shows a Client to fosite. Its secret is never compared there.
type fositeClient struct{ *Client }

func (c fositeClient) GetID() string                      { return c.ID }
func (c fositeClient) GetHashedSecret() []byte            { return nil }
func (c fositeClient) GetRedirectURIs() []string          { return c.RedirectURIs }
func (c fositeClient) GetGrantTypes() fosite.Arguments    { return c.Grants }
func (c fositeClient) GetResponseTypes() fosite.Arguments { return fosite.Arguments{"code"} }
func (c fositeClient) GetScopes() fosite.Arguments        { return c.Scopes }
func (c fositeClient) IsPublic() bool                     { return c.Public }
func (c fositeClient) GetAudience() fosite.Arguments      { return nil }
func (c fositeClient) GetResponseModes() []fosite.ResponseModeType {
	return []fosite.ResponseModeType{fosite.ResponseModeDefault, fosite.ResponseModeQuery}
}
