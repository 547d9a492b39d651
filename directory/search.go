package directory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/text/unicode/norm"
)

// found is an entry read as a person, with what else it says.
type found struct {
	person      Person
	memberOf    []string  // DNs of groups, as the entry has them
	lockedSince time.Time // zero when not locked, or not said
}

// judge adds to a bind's outcome what the entry says: a closed account stays
// closed whatever the bind said, and a lock has a beginning.
func (f *found) judge(o Outcome, lockout time.Duration) Outcome {
	if f.person.Disabled {
		return Outcome{Result: Disabled, Proven: o.Proven, Detail: o.Detail}
	}
	if o.Result == Locked && lockout > 0 && !f.lockedSince.IsZero() {
		o.Until = f.lockedSince.Add(lockout)
	}
	return o
}

// byLogin finds a person by what they typed, which typedLogin has passed: the
// login or, where it looks like one, a mail address.
func (l *LDAP) byLogin(ctx context.Context, typed string) (*found, error) {
	if isAddress(typed) {
		return l.byAddress(ctx, typed)
	}
	return l.one(ctx, l.config.Attributes.Login, typed)
}

// one finds the only person whose attribute has the value. Two people are as bad
// as none: nobody may be let in as either.
func (l *LDAP) one(ctx context.Context, attribute, value string) (*found, error) {
	a := l.config.Attributes
	filter := "(&(" + attribute + "=" + ldap.EscapeFilter(value) + ")" + l.config.PeopleFilter + ")"
	entries, err := l.find(ctx, l.config.PeopleBase, filter, a.wanted(true), 2)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		if len(entries) > 1 {
			l.config.Log.Warn("several people in the directory share one identifier", "attribute", attribute, "first", entries[0].DN, "second", entries[1].DN)
		}
		return nil, ErrUnknown
	}
	if attribute == a.Login && !a.has(valuesOf(entries[0]), value) {
		return nil, ErrUnknown
	}
	return l.read(entries[0])
}

// read is an entry as a person.
func (l *LDAP) read(entry *ldap.Entry) (*found, error) {
	a, v := l.config.Attributes, valuesOf(entry)
	person := a.person(entry.DN, v, l.now())
	if person.ID == "" || entry.DN == "" {
		return nil, fmt.Errorf("%w: %q has no %s that the account %s may read", ErrDown, entry.DN, a.ID, l.config.BindDN)
	}
	f := &found{person: person, memberOf: v.all(a.MemberOf)}
	if locked := v.first("pwdAccountLockedTime"); locked != "" {
		f.lockedSince, _ = time.Parse("20060102150405Z", locked)
	}
	return f, nil
}

// valuesOf reads an entry as go-ldap has it.
func valuesOf(entry *ldap.Entry) values {
	return entry.GetEqualFoldAttributeValues
}

// find searches below base. What comes beyond the limit, ours or the server's,
// is left out without complaint; references to other servers are not followed.
func (l *LDAP) find(ctx context.Context, base, filter string, attributes []string, limit int) ([]*ldap.Entry, error) {
	entries, _, err := l.findSome(ctx, base, filter, attributes, limit, nil)
	return entries, err
}

// findSome is find that says whether there was more.
func (l *LDAP) findSome(ctx context.Context, base, filter string, attributes []string, limit int, controls []ldap.Control) (entries []*ldap.Entry, more bool, err error) {
	request := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, limit, 0, false, filter, attributes, controls)
	err = l.try(ctx, searching, func(c *ldap.Conn) error {
		result, err := c.Search(request)
		if result != nil {
			entries = result.Entries
		}
		return err
	})
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return entries, true, nil
	}
	if isAnswer(err) {
		// The server is there and refuses: a wrong base, or rights missing.
		return nil, false, fmt.Errorf("%w: search below %q: %v", ErrDown, base, err)
	}
	return entries, false, err
}

// The words of a Query that are looked at, and how long each may be.
const (
	maxWords = 6
	maxWord  = 64
)

// Search implements Directory. A word of four letters or more is looked for
// anywhere in the name, a shorter one at the beginning of a name, as that is
// what servers can answer from their indexes. The part of the mail address
// before the @ is searched without accents, so that "helene" finds Hélène.
func (l *LDAP) Search(ctx context.Context, q Query) ([]Person, error) {
	filter := l.searchFilter(q.Text)
	if filter == "" {
		return nil, ctx.Err()
	}
	entries, err := l.find(ctx, l.config.PeopleBase, filter, l.config.Attributes.wanted(false), q.limit())
	if err != nil {
		return nil, err
	}
	people := make([]Person, 0, len(entries))
	for _, entry := range entries {
		if p := l.config.Attributes.person(entry.DN, valuesOf(entry), l.now()); p.ID != "" && !p.Disabled {
			people = append(people, p)
		}
	}
	sortByName(people)
	return people, nil
}

// searchFilter is the filter for a text; empty when the text is too short.
func (l *LDAP) searchFilter(text string) string {
	words := searchWords(text)
	if len(words) == 0 {
		return ""
	}
	a := l.config.Attributes
	name := firstOf(a.CommonName, a.DisplayName)
	var b strings.Builder
	b.WriteString("(&" + l.config.PeopleFilter)
	for _, word := range words {
		escaped, bare := ldap.EscapeFilter(word), ldap.EscapeFilter(fold(word, true))
		b.WriteString("(|")
		anywhere := utf8.RuneCountInString(word) >= 4
		for _, part := range []struct{ attribute, pattern string }{
			{a.Login, bare + "*"},
			{a.FamilyName, escaped + "*"},
			{a.GivenName, escaped + "*"},
			{name, map[bool]string{true: "*" + escaped + "*", false: escaped + "*"}[anywhere]},
			{a.Mail, map[bool]string{true: "*" + bare + "*@*", false: bare + "*@*"}[anywhere]},
		} {
			if part.attribute != "" {
				b.WriteString("(" + part.attribute + "=" + part.pattern + ")")
			}
		}
		b.WriteString(")")
	}
	b.WriteString(")")
	return b.String()
}

// searchWords are the words of a text that say something; none when they have
// fewer than two letters together.
func searchWords(text string) []string {
	if !utf8.ValidString(text) || len(text) > maxWords*maxWord {
		return nil
	}
	text = strings.Map(func(r rune) rune {
		if ignorable(r) && r != '\t' && r != '\n' {
			return -1
		}
		return r
	}, norm.NFC.String(text))
	var words []string
	letters := 0
	for _, word := range strings.Fields(text) {
		if len(word) > maxWord || len(words) == maxWords {
			return nil
		}
		if fold(word, true) == "" {
			continue
		}
		letters += utf8.RuneCountInString(word)
		words = append(words, word)
	}
	if letters < 2 {
		return nil
	}
	return words
}

// sortByName sorts as a list of names reads: family name, then given name,
// without regard to case and accents.
func sortByName(people []Person) {
	keys := make(map[string]string, len(people))
	for _, p := range people {
		keys[p.ID] = fold(p.FamilyName, true) + "\x00" + fold(p.GivenName, true) + "\x00" + p.ID
	}
	slices.SortFunc(people, func(x, y Person) int { return cmp.Compare(keys[x.ID], keys[y.ID]) })
}

// clone is a copy whose slices the caller may keep and change.
func (p Person) clone() Person {
	p.MailAliases = slices.Clone(p.MailAliases)
	p.UAI = slices.Clone(p.UAI)
	p.UAIResponsible = slices.Clone(p.UAIResponsible)
	p.Groups = slices.Clone(p.Groups)
	return p
}
