package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/idna"
)

// webAddress is an address as a browser understands it.
type webAddress struct {
	scheme, user, host, port, path, query, fragment string
	hasQuery                                        bool
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// readAsBrowser reads an address by the rules of the WHATWG URL standard, as far
// as they concern absolute addresses: what a browser does with a Location. It is
// written from the standard and shares nothing with net/url, whose reading
// differs in just the places that attacks are made of.
func readAsBrowser(input string) (a webAddress, err error) {
	input = strings.TrimFunc(input, func(r rune) bool { return r <= ' ' })
	input = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(input)
	i := strings.IndexByte(input, ':')
	if i <= 0 || !isLetter(input[0]) {
		return a, errors.New("no scheme")
	}
	for j := range i {
		if c := input[j]; !isLetter(c) && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return a, errors.New("no scheme")
		}
	}
	a.scheme = strings.ToLower(input[:i])
	rest := input[i+1:]
	rest, a.fragment, _ = strings.Cut(rest, "#")
	rest, a.query, a.hasQuery = strings.Cut(rest, "?")
	if defaultPorts[a.scheme] == "" { // not special: what follows is the application's affair
		a.path = encodeAs(rest, " \"<>`{}")
		return a, nil
	}
	// Special schemes: backslashes are slashes, any number of them begins the authority.
	rest = strings.TrimLeft(strings.ReplaceAll(rest, `\`, "/"), "/")
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		a.user, authority = authority[:at], authority[at+1:]
	}
	host := authority
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		host = authority[:colon]
		if text := authority[colon+1:]; text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || strings.Trim(text, "0123456789") != "" || n > 65535 {
				return a, errors.New("port")
			}
			if a.port = strconv.Itoa(n); a.port == defaultPorts[a.scheme] {
				a.port = ""
			}
		}
	}
	if a.host, err = hostAsBrowser(host); err != nil {
		return a, err
	}
	a.path = pathAsBrowser(path)
	a.query = encodeAs(a.query, " \"#<>'")
	a.fragment = encodeAs(a.fragment, " \"<>`")
	return a, nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// hostAsBrowser is the host parser: percent-decoding, IDNA, IPv4 in all its shapes.
func hostAsBrowser(host string) (string, error) {
	if strings.HasPrefix(host, "[") {
		inner, ok := strings.CutSuffix(host[1:], "]")
		ip, err := netip.ParseAddr(inner)
		if !ok || err != nil || ip.Zone() != "" || !ip.Is6() {
			return "", errors.New("IPv6")
		}
		return "[" + ip.String() + "]", nil
	}
	host, err := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false)).ToASCII(percentDecoded(host))
	if err != nil || host == "" {
		return "", errors.New("domain")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("#/:<>?@[\\]^|%", r) }) {
		return "", errors.New("forbidden character in the host")
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if last := labels[len(labels)-1]; !isNumberLabel(last) {
		return host, nil
	}
	if len(labels) > 4 {
		return "", errors.New("IPv4")
	}
	var ip uint64
	for n, label := range labels {
		v, err := numberLabel(label)
		if err != nil {
			return "", err
		}
		most := uint64(255)
		if n == len(labels)-1 {
			most = 1<<(8*(5-len(labels))) - 1
		}
		if v > most {
			return "", errors.New("IPv4")
		}
		if n == len(labels)-1 {
			ip += v
		} else {
			ip += v << (8 * (3 - n))
		}
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}).String(), nil
}

func isNumberLabel(s string) bool {
	if s != "" && strings.Trim(s, "0123456789") == "" {
		return true
	}
	_, err := numberLabel(s)
	return err == nil
}

func numberLabel(s string) (uint64, error) {
	switch lower := strings.ToLower(s); {
	case s == "":
		return 0, errors.New("IPv4")
	case strings.HasPrefix(lower, "0x"):
		if len(s) == 2 {
			return 0, nil
		}
		return strconv.ParseUint(s[2:], 16, 64)
	case len(s) > 1 && s[0] == '0':
		return strconv.ParseUint(s[1:], 8, 64)
	}
	return strconv.ParseUint(s, 10, 64)
}

// pathAsBrowser resolves dot segments, %2e among them, and encodes the rest.
func pathAsBrowser(path string) string {
	var out []string
	segments := strings.Split(path, "/")
	for n, s := range segments {
		last := n == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(s), "%2e", ".") {
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		case ".":
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, encodeAs(s, " \"#<>?`{}^"))
		}
	}
	return "/" + strings.Join(out, "/")
}

func encodeAs(s, set string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= 0x1f || c >= 0x7f || strings.IndexByte(set, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func percentDecoded(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// TestTheOracleReadsAsBrowsersDo holds the oracle itself against examples of
// the standard's own test suite (urltestdata.json).
func TestTheOracleReadsAsBrowsersDo(t *testing.T) {
	for input, want := range map[string]string{
		"https://tool.example.test/callback": "https tool.example.test  /callback", "HTTPS://TOOL.example.test:443/./a/../callback": "https tool.example.test  /callback",
		"https:\\\\tool.example.test\\callback": "https tool.example.test  /callback", "https:tool.example.test/callback": "https tool.example.test  /callback", "https:////tool.example.test/x": "https tool.example.test  /x",
		"https://tool.example.test\\@evil.test/": "https tool.example.test  /@evil.test/", "https://a:b@c:d@evil.test:81/": "https evil.test 81 /", "https://evil.test\\.tool.example.test/": "https evil.test  /.tool.example.test/",
		"http://0x7f.1/": "http 127.0.0.1  /", "http://2130706433/": "http 127.0.0.1  /", "http://0177.0.0.01/": "http 127.0.0.1  /", "http://127.0.0.1.:80/": "http 127.0.0.1  /", "http://[0:0::1]:8080/x": "http [::1] 8080 /x",
		"http://１２７.0.0.1/": "http 127.0.0.1  /", "https://tool%2eexample.test/": "https tool.example.test  /", "https://tool。example.test/": "https tool.example.test  /", " \x00https://x.test/a\tb\n ": "https x.test  /ab",
		"https://x.test/%2e%2E/a b": "https x.test  /a%20b", "http://x.test:00080/": "http x.test  /", "https://x.test/a/..": "https x.test  /", "https://x.test?q": "https x.test  /",
	} {
		a, err := readAsBrowser(input)
		if got := fmt.Sprintf("%s %s %s %s", a.scheme, a.host, a.port, a.path); err != nil || got != want {
			t.Errorf("%q reads as %q (%v), want %q", input, got, err, want)
		}
	}
	for _, input := range []string{"", "//x.test/", "/x", "https://", "https://x.test:99999/", "https://x.test:8a/", "http://[::1", "http://256.1.1.1/", "http://1.2.3.4.5/", "http://a b.test/", "http://x^y.test/", "1http://x.test/", "https://%2f/", "https://x%00y/"} {
		if a, err := readAsBrowser(input); err == nil {
			t.Errorf("%q reads as %+v", input, a)
		}
	}
}

// sameToABrowser holds that what the matcher takes leads a browser to a
// registered address and nowhere else: scheme, host, path, query, and the port
// too but on the loopback addresses that take any.
func sameToABrowser(registered []string, asked string) error {
	got, err := readAsBrowser(asked)
	if err != nil {
		return err
	}
	if got.user != "" || got.fragment != "" {
		return fmt.Errorf("reads with user %q, fragment %q", got.user, got.fragment)
	}
	if !slices.ContainsFunc(registered, func(uri string) bool {
		want, err := readAsBrowser(uri)
		if anyPort(uri) != "" && (want.host == "127.0.0.1" || want.host == "[::1]") && want.scheme == "http" {
			want.port = got.port
		}
		return err == nil && got == want
	}) {
		return fmt.Errorf("reads as %+v", got)
	}
	// The answer goes to the same place as the bare address.
	for _, to := range []string{withParameters(asked, url.Values{"code": {"x"}, "state": {"#/?\\@"}}), asked + "#code=x"} {
		if there, err := readAsBrowser(to); err != nil || there.scheme != got.scheme || there.host != got.host || there.port != got.port || there.path != got.path || !strings.HasPrefix(there.query, got.query) {
			return fmt.Errorf("answered at %+v", there)
		}
	}
	return nil
}

// FuzzRedirect: for any registration that we accept, whatever the matcher takes
// for it, a browser takes for it too; and where net/url, which tells us the
// origin for the page's policy, reads a host, the browser reads the same.
func FuzzRedirect(f *testing.F) {
	for _, uri := range hostileRedirects {
		f.Add(back, uri)
		f.Add("http://127.0.0.1/callback", uri)
		f.Add(uri, uri)
	}
	f.Add("http://127.0.0.1/callback", "http://127.0.0.1:4711/callback")
	f.Add("http://[::1]/cb?x=1", "http://[::1]:1/cb?x=1")
	f.Add("http://127.0.0.1", "http://127.0.0.1:80")
	f.Add("http://127.0.0.1?a=b", "http://127.0.0.1:1?a=b")
	f.Add("com.example.app:/cb", "com.example.app:/cb")
	f.Fuzz(func(t *testing.T, registered, asked string) {
		if checkRegistered(registered, true) != nil || !matchRedirect([]string{registered}, asked) {
			return
		}
		if err := sameToABrowser([]string{registered}, asked); err != nil {
			t.Fatalf("registered %q, asked %q: %v", registered, asked, err)
		}
		u, err := url.Parse(asked)
		if err != nil {
			t.Fatalf("accepted and no address: %q", asked)
		}
		if there, _ := readAsBrowser(asked); u.Scheme == "https" || u.Scheme == "http" {
			if ours, err := hostAsBrowser(u.Hostname()); err != nil && !strings.Contains(u.Hostname(), ":") || err == nil && ours != there.host {
				t.Fatalf("%q: net/url has the host %q, a browser %q", asked, u.Hostname(), there.host)
			}
		}
	})
}
