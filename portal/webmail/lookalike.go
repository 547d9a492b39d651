package webmail

import (
	"context"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// Host names that are made to be taken for another one: written in letters that only
// look like ours, or nearly the academy's own.

// doubtful tells whether a host must be shown beside a link, whatever its text says:
// it has letters beyond ASCII (punycode, RFC 3492), or looks like one of our own
// without being it.
func doubtful(host string, own []string) bool {
	if strings.HasPrefix(host, "xn--") || strings.Contains(host, ".xn--") {
		return true
	}
	for _, domain := range own {
		if imitates(host, domain) {
			return true
		}
	}
	return false
}

// imitates tells whether a host looks like a domain, or below it, and is not.
func imitates(host, domain string) bool {
	host, domain = strings.ToLower(strings.Trim(host, ".")), strings.ToLower(strings.Trim(domain, "."))
	if host == "" || !strings.Contains(domain, ".") || host == domain || strings.HasSuffix(host, "."+domain) {
		return false
	}
	if strings.HasPrefix(host, domain+".") || strings.Contains(host, "."+domain+".") || strings.Contains(host, strings.ReplaceAll(domain, ".", "-")) {
		return true // ac-lille.fr.ailleurs.com
	}
	labels := strings.Split(host, ".")
	for n := range labels { // any of its ends
		tail := strings.Join(labels[n:], ".")
		if strings.Count(tail, ".") == strings.Count(domain, ".") && tail != domain && max(len(tail), len(domain))-min(len(tail), len(domain)) <= 4 && skeleton(tail) == skeleton(domain) {
			return true
		}
	}
	return false
}

// twins are letters of other scripts that look like ours (Unicode UTS #39, the ones
// that registries sell).
var twins = strings.NewReplacer(
	"а", "a", "е", "e", "о", "o", "р", "p", "с", "c", "у", "y", "х", "x", "і", "i", "ј", "j", "ѕ", "s", "һ", "h", "ԁ", "d", "ԛ", "q", "ԝ", "w", "ո", "n", "ս", "u",
	"α", "a", "ο", "o", "ρ", "p", "ν", "v", "ι", "i", "κ", "k", "ı", "i", "ɑ", "a", "ɡ", "g", "ł", "l", "ø", "o", "đ", "d")

// shapes are letters and pairs that are taken for one another at a glance.
var shapes = strings.NewReplacer("rn", "m", "vv", "w", "0", "o", "1", "l", "i", "l", "5", "s", "-", "")

// skeleton is what a name looks like: two of them that are alike are easily confused.
func skeleton(host string) string {
	if shown, err := idna.Display.ToUnicode(host); err == nil {
		host = shown
	}
	return shapes.Replace(twins.Replace(fold(host)))
}

// ownDomains are those that nobody else's should look like.
func (s *service) ownDomains(ctx context.Context) (own []string) {
	if _, domain, ok := strings.Cut(s.person(ctx).Mail, "@"); ok {
		own = append(own, strings.ToLower(domain))
	}
	if u, err := url.Parse(s.portalOrigin); err == nil {
		own = append(own, u.Hostname())
	}
	return own
}

// domainImitated is which of our domains an address looks like, "" for none.
func domainImitated(mail string, own []string) string {
	_, host, ok := strings.Cut(strings.ToLower(mail), "@")
	if !ok {
		return ""
	}
	for _, domain := range own {
		if imitates(host, domain) || host != domain && skeleton(host) == skeleton(domain) {
			return domain
		}
	}
	return ""
}
