package oidc

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Who may register an application by itself (RFC 7591).
const (
	RegistrationClosed = "closed" // nobody
	RegistrationToken  = "token"  // who holds an invitation, made by `beffroi app invite`
	RegistrationOpen   = "open"   // anybody: for trials and for certification
)

// RegistrationConfig is about applications that register themselves.
type RegistrationConfig struct {
	Mode string `yaml:"mode"` // RegistrationClosed (default), RegistrationToken or RegistrationOpen
	Most int    `yaml:"most"` // how many such applications at once; 1000
	// RegistrationPolicy is of applications that come without an invitation.
	RegistrationPolicy `yaml:",inline"`
}

// RegistrationPolicy is what an application that registers itself may be. What
// is not of its choice, it is given.
type RegistrationPolicy struct {
	Scopes        []string `yaml:"scopes" json:"scopes,omitempty"`                 // it may ask; openid, profile, email, phone, offline_access
	Grants        []string `yaml:"grants" json:"grants,omitempty"`                 // it may use; authorization_code, refresh_token
	RedirectHosts []string `yaml:"redirect_hosts" json:"redirect_hosts,omitempty"` // where its addresses may be; empty, anywhere
	PKCEWaived    bool     `yaml:"pkce_waived" json:"pkce_waived,omitempty"`

	Groups    []string      `yaml:"groups" json:"groups,omitempty"` // as of any application, from here on
	Assurance int           `yaml:"assurance" json:"assurance,omitempty"`
	Consent   string        `yaml:"consent" json:"consent,omitempty"` // once when empty: nobody here has consented for it
	Life      time.Duration `yaml:"life" json:"life,omitempty"`       // 0: for good; 24h where anybody may register
}

// grantsToRegister are those that a stranger may be given: no exchange and no
// assertions, which are rights over others' tokens and people.
var grantsToRegister = []string{GrantCode, GrantRefresh, GrantClientCredentials, GrantDevice}

func (c RegistrationConfig) withDefaults() RegistrationConfig {
	if c.Mode == "" {
		c.Mode = RegistrationClosed
	}
	if c.Most == 0 {
		c.Most = 1000
	}
	if c.Mode == RegistrationOpen && c.Life == 0 {
		c.Life = 24 * time.Hour
	}
	c.RegistrationPolicy = c.RegistrationPolicy.withDefaults()
	return c
}

func (p RegistrationPolicy) withDefaults() RegistrationPolicy {
	if len(p.Scopes) == 0 {
		p.Scopes = []string{"openid", "profile", "email", "phone", "offline_access"}
	}
	if len(p.Grants) == 0 {
		p.Grants = []string{GrantCode, GrantRefresh}
	}
	if p.Consent == "" {
		p.Consent = ConsentOnce
	}
	return p
}

func (c RegistrationConfig) validate() []error {
	all := c.RegistrationPolicy.Validate()
	if !slices.Contains([]string{"", RegistrationClosed, RegistrationToken, RegistrationOpen}, c.Mode) {
		all = append(all, errors.New("mode: must be closed, token or open"))
	}
	if c.Most < 0 || c.Most > 1_000_000 {
		all = append(all, errors.New("most: must be between 1 and 1000000"))
	}
	for i, err := range all {
		all[i] = fmt.Errorf("registration.%w", err)
	}
	return all
}

// Validate returns every mistake, each naming its key.
func (p RegistrationPolicy) Validate() []error {
	var all []error
	wrong := func(key, format string, args ...any) {
		all = append(all, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	for _, s := range p.Scopes {
		if !scopeToken.MatchString(s) {
			wrong("scopes", "%q is not a scope", s)
		}
	}
	for _, g := range p.Grants {
		if !slices.Contains(grantsToRegister, g) {
			wrong("grants", "%q may not be given to an application that registers itself", g)
		}
	}
	for _, h := range p.RedirectHosts {
		if u, err := url.Parse("https://" + h + "/"); h == "" || err != nil || u.Hostname() != strings.Trim(h, "[]") || u.Port() != "" || strings.ContainsAny(h, "*@/") {
			wrong("redirect_hosts", "%q is not the name of a host, exact", h)
		}
	}
	if p.Assurance < 0 || p.Assurance > 3 {
		wrong("assurance", "must be 1, 2 or 3")
	}
	if !slices.Contains([]string{"", ConsentNever, ConsentOnce, ConsentAlways}, p.Consent) {
		wrong("consent", "must be never, once or always")
	}
	if p.Life < 0 || p.Life > 0 && p.Life < time.Minute {
		wrong("life", "must be a minute or more, or 0 for good")
	}
	return all
}

// names tells whether the host of an address is one that the operator wrote
// down: it is looked after, be it of an inner network.
func (p RegistrationPolicy) names(address string) bool {
	return len(p.RedirectHosts) > 0 && p.allowsHost(address)
}

// allowsHost tells whether an address may stand in a registration. An
// application's own scheme has no host, and so none that could be allowed.
func (p RegistrationPolicy) allowsHost(address string) bool {
	if len(p.RedirectHosts) == 0 {
		return true
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return false
	}
	return slices.ContainsFunc(p.RedirectHosts, func(h string) bool { return strings.Trim(h, "[]") == u.Hostname() })
}
