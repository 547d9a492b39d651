package oidc

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// matchRedirect tells whether the redirect URI of a request is one of those
// registered: the same string, character by character. One exception (RFC 8252
// §7.3): http://127.0.0.1/… and http://[::1]/… registered without a port accept
// any port, and everything around the port is still the same string. No URL is
// parsed here: two parsers that disagree are how such checks are passed by.
func matchRedirect(registered []string, asked string) bool {
	for _, uri := range registered {
		if uri == asked {
			return true
		}
		if prefix := anyPort(uri); prefix != "" {
			rest, ok := strings.CutPrefix(asked, prefix+":")
			if !ok {
				continue
			}
			tail := uri[len(prefix):]
			port, ok := strings.CutSuffix(rest, tail)
			if ok && validPort(port) {
				return true
			}
		}
	}
	return false
}

// anyPort returns the part before the port of a registered loopback address
// that names no port, or "".
func anyPort(uri string) string {
	for _, prefix := range []string{"http://127.0.0.1", "http://[::1]"} {
		if tail, ok := strings.CutPrefix(uri, prefix); ok && (tail == "" || tail[0] == '/' || tail[0] == '?') {
			return prefix
		}
	}
	return ""
}

// validPort accepts 1 to 65535 in plain decimal digits.
func validPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	n, err := strconv.Atoi(s)
	return err == nil && n <= 65535
}

// withParameters adds parameters to the query of an accepted redirect URI,
// leaving what stands there untouched.
func withParameters(uri string, p url.Values) string {
	separator := "?"
	switch {
	case strings.HasSuffix(uri, "?"):
		separator = ""
	case strings.Contains(uri, "?"):
		separator = "&"
	}
	return uri + separator + p.Encode()
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
	if u.Port() != "" && !validPort(u.Port()) {
		return errors.New("the port must be 1 to 65535")
	}
	if strings.Contains(u.EscapedPath(), "/../") || strings.Contains(u.EscapedPath(), "/./") || strings.HasSuffix(u.EscapedPath(), "/..") {
		return errors.New("no dot segments in the path")
	}
	switch u.Scheme {
	case "https":
		if !plainHost(u) {
			return errors.New("names no host in plain letters")
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
