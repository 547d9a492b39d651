package oidc

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
)

// validateAddresses holds that every address of the registration is one that a
// browser or this provider may be sent to.
func (c Client) validateAddresses(wrong func(key, format string, args ...any)) {
	for _, one := range []struct{ key, address string }{
		{"policy", c.Policy}, {"terms", c.Terms}, {"backchannel_logout_uri", c.BackchannelLogout}, {"frontchannel_logout_uri", c.FrontchannelLogout},
	} {
		if one.address == "" {
			continue
		}
		if err := checkOutside(one.address); err != nil {
			wrong(one.key, "%q %v", one.address, err)
		} else if strings.Contains(one.address, "#") {
			wrong(one.key, "%q: no fragment", one.address)
		}
	}
	if c.Logo != "" {
		if err := c.checkLogo(); err != nil {
			wrong("logo", "%q %v", c.Logo, err)
		}
	}
	if c.Contact != "" && !isContact(c.Contact) {
		wrong("contact", "%q is not a mail address, a telephone number or an https address", c.Contact)
	}
	for _, uri := range c.RequestURIs {
		if err := checkOutside(uri); err != nil {
			wrong("request_uris", "%q %v", uri, err)
		}
	}
	if c.InitiateLogin != "" {
		if u, err := url.Parse(c.InitiateLogin); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			wrong("initiate_login_uri", "%q must be an https address", c.InitiateLogin) // OpenID Connect Core §4
		}
	}
	if c.FrontchannelLogout != "" && !c.sharesOrigin(c.FrontchannelLogout) {
		wrong("frontchannel_logout_uri", "must have scheme, host and port of one of redirect_uris") // Front-Channel Logout 1.0 §2
	}
	if c.BackchannelSession && c.BackchannelLogout == "" {
		wrong("backchannel_logout_session_required", "is of no use without backchannel_logout_uri")
	}
	if c.FrontchannelSession && c.FrontchannelLogout == "" {
		wrong("frontchannel_logout_session_required", "is of no use without frontchannel_logout_uri")
	}
}

// checkLogo: a picture is loaded by every browser that meets it, so it stands
// where the application itself does, and not where somebody counts visitors.
func (c Client) checkLogo() error {
	if err := checkOutside(c.Logo); err != nil {
		return err
	}
	own := append(slices.Clone(c.RedirectURIs), c.Home)
	if !slices.ContainsFunc(own, func(uri string) bool { return uri != "" && hostOf(uri) == hostOf(c.Logo) }) {
		return errors.New("must be on a host of its home or its redirect_uris")
	}
	return nil
}

func (c Client) sharesOrigin(address string) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return originOf(uri) != "" && originOf(uri) == originOf(address) })
}

// isContact reads a mail address, a telephone number or an https address.
func isContact(s string) bool {
	if strings.HasPrefix(s, "https://") {
		return checkOutside(s) == nil
	}
	if a, err := mail.ParseAddress(s); err == nil && a.Address == s {
		return true
	}
	digits := strings.NewReplacer(" ", "", ".", "", "-", "", "\u00a0", "", "\u202f", "").Replace(s)
	return len(digits) >= 3 && len(digits) <= 20 && strings.Trim(strings.TrimPrefix(digits, "+"), "0123456789") == ""
}

// validateRequests holds what is registered of its authorization requests.
func (c Client) validateRequests(wrong func(key, format string, args ...any)) {
	if c.DefaultMaxAge != nil && *c.DefaultMaxAge < 0 {
		wrong("default_max_age", "must be 0 or more seconds")
	}
	for _, acr := range c.DefaultACRs {
		if acr == "" || strings.ContainsAny(acr, " \t\r\n") {
			wrong("default_acr_values", "%q is not one value", acr)
		}
	}
	if c.RequestAlg != "" && c.keys().empty() && c.JWKSFile == "" {
		wrong("request_object_alg", "needs its keys: jwks_file or jwks_uri")
	}
	if c.AssertionAlg != "" && c.AuthMethod != AuthKey {
		wrong("assertion_alg", "is of no use without auth_method %s", AuthKey)
	}
	for _, uri := range c.Resources {
		if u, err := url.Parse(uri); err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" {
			wrong("resources", "%q must be an absolute address without fragment", uri) // RFC 8707 §2
		}
	}
	if len(c.Resources) > 0 && c.Audience == "" {
		wrong("resources", "are of no use without audience, whose addresses they are")
	}
}

// validateIssuers holds that who may vouch for people can be verified.
func (c Client) validateIssuers(wrong func(key, format string, args ...any)) {
	if len(c.AssertionIssuers) > 0 && !slices.Contains(c.Grants, GrantJWTBearer) {
		wrong("assertion_issuers", "are of no use without the grant %s", GrantJWTBearer)
	}
	if len(c.AssertionIssuers) == 0 && slices.Contains(c.Grants, GrantJWTBearer) {
		wrong("assertion_issuers", "the grant %s needs somebody who may vouch for people", GrantJWTBearer)
	}
	seen := map[string]bool{}
	for i, one := range c.AssertionIssuers {
		at := func(key string) string { return fmt.Sprintf("assertion_issuers[%d].%s", i, key) }
		if one.Issuer == "" || seen[one.Issuer] {
			wrong(at("issuer"), "must be given, and once")
		}
		seen[one.Issuer] = true
		written := len(one.JWKS) > 0 || one.JWKSFile != ""
		switch {
		case written == (one.JWKSURI != ""):
			wrong(at("jwks_file"), "its keys are in jwks_file or at jwks_uri: one of the two")
		case len(one.JWKS) > 0:
			if _, err := parseKeys(one.JWKS); err != nil {
				wrong(at("jwks"), "%v", err)
			}
		case one.JWKSURI != "":
			if err := checkOutside(one.JWKSURI); err != nil {
				wrong(at("jwks_uri"), "%v", err)
			}
		}
		if one.Assurance < 0 || one.Assurance > 2 {
			wrong(at("assurance"), "must be 1 or 2")
		}
	}
}
