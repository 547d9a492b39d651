package mfa

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

var (
	// ErrAddress says that what was typed is no address that mail goes to.
	ErrAddress = errors.New("mfa: no mail address")
	// ErrOwnAddress says that a mailbox lies behind this very door: whoever
	// has the password reads it, so that it is no second factor.
	ErrOwnAddress = errors.New("mfa: an address of the academy")
)

// MailCodeConfig says whether codes go to addresses outside the academy.
type MailCodeConfig struct {
	Enabled    bool     `yaml:"enabled"`
	OwnDomains []string `yaml:"own_domains"` // the academy's; no address in or under one is taken
}

// Validate reports every value that makes no sense, by its key.
func (c MailCodeConfig) Validate() []error {
	var errs []error
	if c.Enabled && len(c.OwnDomains) == 0 {
		errs = append(errs, errors.New("mail_codes.own_domains: is needed: codes never go to a mailbox that this sign-in opens"))
	}
	for i, d := range c.OwnDomains {
		if _, err := canonicalDomain(d); err != nil {
			errs = append(errs, fmt.Errorf("mail_codes.own_domains[%d]: %q is not a domain such as academie.example", i, d))
		}
	}
	return errs
}

// canonicalDomain is a domain as it is compared: in A-labels (RFC 5891), lower
// case, without the dot of the root. At least two labels, and no IP address.
func canonicalDomain(domain string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", ErrAddress
	}
	ascii = strings.ToLower(strings.TrimSuffix(ascii, "."))
	labels := strings.Split(ascii, ".")
	if len(labels) < 2 || len(ascii) > 253 {
		return "", ErrAddress
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			return "", ErrAddress
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "", ErrAddress
	}
	return ascii, nil
}

// localSigns may stand in the part before the @, beside letters and digits: those
// of RFC 5322 §3.2.3 without % and !, by which old servers are told a way.
const localSigns = ".#$&'*+-/=?^_`{|}~"

// canonicalAddress is a typed address as mail goes there: a plain one, without a
// name, quotes or comments.
func canonicalAddress(typed string) (string, error) {
	typed = strings.TrimSpace(typed)
	local, domain, ok := strings.Cut(typed, "@")
	if !ok || local == "" || len(local) > 64 || len(typed) > 254 {
		return "", ErrAddress
	}
	for _, r := range local {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(localSigns, r)) {
			return "", ErrAddress
		}
	}
	if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return "", ErrAddress
	}
	domain, err := canonicalDomain(domain)
	if err != nil {
		return "", err
	}
	return local + "@" + domain, nil
}

// inside tells whether a canonical address lies in, or under, one of the
// academy's domains or the domain of one of the person's own mailboxes.
func (c MailCodeConfig) inside(address string, mailboxes []string) bool {
	at := address[strings.LastIndexByte(address, '@')+1:]
	under := func(domain string) bool {
		d, err := canonicalDomain(domain)
		return err == nil && (at == d || strings.HasSuffix(at, "."+d))
	}
	for _, d := range c.OwnDomains {
		if under(d) {
			return true
		}
	}
	for _, m := range mailboxes {
		if under(m[strings.LastIndexByte(m, '@')+1:]) {
			return true
		}
	}
	return false
}

// Masked is an address as whoever knows it recognises it, and nobody else:
// "j•••@g•••.com".
func Masked(address string) string {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" || domain == "" {
		return "•••"
	}
	return local[:1] + "•••@" + domain[:1] + "•••" + domain[max(strings.LastIndexByte(domain, '.'), 0):]
}
