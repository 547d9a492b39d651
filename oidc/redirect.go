package oidc

import (
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
