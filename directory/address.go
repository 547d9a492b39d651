package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// People may sign in by their mail address instead of their login: it is what
// other sites know them by, and what an application's login_hint brings. A login
// comes first: nobody takes over somebody's login by having it as an address.
// An address that two people have is nobody's.

// isAddress tells what may be a mail address rather than a login.
func isAddress(typed string) bool {
	return strings.Count(typed, "@") == 1 && mailOf(typed) == typed
}

// hasAddress tells whether the address, whatever its case, is the person's.
func (p Person) hasAddress(typed string) bool {
	return slices.ContainsFunc(append([]string{p.Mail}, p.MailAliases...), func(address string) bool { return strings.EqualFold(address, typed) })
}

// addressFilter finds who has the login or the address, in one question, so that
// what exists takes as long as what does not.
func (a Attributes) addressFilter(typed string) string {
	value := ldap.EscapeFilter(typed)
	filter := "(" + a.Login + "=" + value + ")"
	if a.Mail != "" {
		filter += "(" + a.Mail + "=" + value + ")"
	}
	switch {
	case strings.EqualFold(a.MailAliases, "proxyAddresses"): // MS-ADA3 §2.171: "smtp:" before each
		filter += "(" + a.MailAliases + "=smtp:" + value + ")"
	case a.MailAliases != "":
		filter += "(" + a.MailAliases + "=" + value + ")"
	}
	return "(|" + filter + ")"
}

// byAddress is byLogin for what may be an address.
func (l *LDAP) byAddress(ctx context.Context, typed string) (*found, error) {
	a := l.config.Attributes
	entries, err := l.find(ctx, l.config.PeopleBase, "(&"+a.addressFilter(typed)+l.config.PeopleFilter+")", a.wanted(true), 4)
	if err != nil {
		return nil, err
	}
	var named, addressed []*ldap.Entry
	for _, entry := range entries {
		v := valuesOf(entry)
		switch {
		case a.has(v, typed):
			named = append(named, entry)
		case a.person(entry.DN, v, l.now()).hasAddress(typed):
			addressed = append(addressed, entry)
		}
	}
	switch {
	case len(named) == 1:
		return l.read(named[0])
	case len(named) == 0 && len(addressed) == 1:
		return l.read(addressed[0])
	case len(entries) > 1:
		l.config.Log.Warn("several people in the directory share one address", "first", entries[0].DN, "second", entries[1].DN)
	}
	return nil, ErrUnknown
}

// byLogin finds a person by what they typed.
func (d *LDIF) byLogin(typed string) (Entry, bool) {
	entry, ok := d.person(d.config.Attributes.Login, typed)
	if ok || !isAddress(typed) || slices.ContainsFunc(d.entries, func(e Entry) bool { return d.isPerson(e) && d.config.Attributes.has(e.Values, typed) }) {
		return entry, ok
	}
	return d.only(func(entry Entry) bool { return d.personOf(entry).hasAddress(typed) })
}
