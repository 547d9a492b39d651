package directory

import (
	"cmp"
	"context"
	"errors"
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
// before the @ is searched without accents, so that "helene" finds Hélène; a
// word with an @ is looked for as an address.
func (l *LDAP) Search(ctx context.Context, q Query) ([]Person, error) {
	filter, err := l.searchFilter(ctx, q)
	if err != nil || filter == "" {
		return nil, errors.Join(err, ctx.Err())
	}
	// Where the directory does not name a person's groups, each one found is asked.
	asked := !l.knowsGroups() && slices.ContainsFunc(q.Within, func(w Within) bool { return len(w.Groups) > 0 })
	limit := q.limit()
	if asked {
		limit = maxFound
	}
	entries, err := l.find(ctx, l.config.PeopleBase, filter, l.config.Attributes.wanted(false), limit)
	if err != nil {
		return nil, err
	}
	people := make([]Person, 0, len(entries))
	for _, entry := range entries {
		f := &found{person: l.config.Attributes.person(entry.DN, valuesOf(entry), l.now())}
		if f.person.ID == "" || f.person.Disabled && !q.IncludeDisabled {
			continue
		}
		if asked {
			if err := l.addGroups(ctx, f); err != nil {
				return nil, err
			}
			if !q.admits(f.person, func() []string { return f.person.Groups }) {
				continue
			}
			f.person.Groups = nil
		}
		people = append(people, f.person)
	}
	sortByName(people)
	return people[:min(len(people), q.limit())], nil
}

// knowsGroups says whether a person's entry names their groups.
func (l *LDAP) knowsGroups() bool {
	return l.config.Attributes.MemberOf != "" && l.config.Groups != groupsByMember
}

// searchFilter is the filter of a query; empty when it can find nobody.
func (l *LDAP) searchFilter(ctx context.Context, q Query) (string, error) {
	words := searchWords(q.Text)
	if len(words) == 0 && (strings.TrimSpace(q.Text) != "" || len(q.Within) == 0 && q.HeadsOf == "") {
		return "", nil
	}
	a := l.config.Attributes
	var b strings.Builder
	b.WriteString("(&" + l.config.PeopleFilter)
	if q.Within != nil {
		where, err := l.withinFilter(ctx, q.Within)
		if err != nil || where == "" {
			return "", err
		}
		b.WriteString(where)
	}
	if len(q.AlsoIn) > 0 {
		where := schoolFilter(a.UAI, q.AlsoIn)
		if where == "" {
			return "", nil
		}
		b.WriteString(where)
	}
	if q.HeadsOf != "" {
		where := schoolFilter(a.UAIResponsible, []string{q.HeadsOf})
		if where == "" {
			return "", nil
		}
		b.WriteString(where)
	}
	for _, word := range words {
		b.WriteString(l.wordFilter(word))
	}
	b.WriteString(")")
	return b.String(), nil
}

// wordFilter is where one word may stand.
func (l *LDAP) wordFilter(word string) string {
	a := l.config.Attributes
	name := firstOf(a.CommonName, a.DisplayName)
	escaped, bare := ldap.EscapeFilter(word), ldap.EscapeFilter(fold(word, true))
	parts := []struct{ attribute, pattern string }{
		{a.Login, bare + "*"},
		{a.FamilyName, escaped + "*"},
		{a.GivenName, escaped + "*"},
	}
	switch {
	case strings.Contains(word, "@"):
		parts = []struct{ attribute, pattern string }{{a.Login, escaped}, {a.Mail, escaped + "*"}, {a.MailAliases, escaped}}
		if strings.EqualFold(a.MailAliases, "proxyAddresses") {
			parts = append(parts, struct{ attribute, pattern string }{a.MailAliases, "smtp:" + escaped})
		}
	case utf8.RuneCountInString(word) >= 4:
		parts = append(parts, struct{ attribute, pattern string }{name, "*" + escaped + "*"}, struct{ attribute, pattern string }{a.Mail, "*" + bare + "*@*"})
	default:
		parts = append(parts, struct{ attribute, pattern string }{name, escaped + "*"}, struct{ attribute, pattern string }{a.Mail, bare + "*@*"})
	}
	var b strings.Builder
	b.WriteString("(|")
	for _, part := range parts {
		if part.attribute != "" {
			b.WriteString("(" + part.attribute + "=" + part.pattern + ")")
		}
	}
	b.WriteString(")")
	return b.String()
}

// withinFilter is the filter of all parts; empty when none can hold anybody.
func (l *LDAP) withinFilter(ctx context.Context, parts []Within) (string, error) {
	a := l.config.Attributes
	var any []string
	for _, w := range parts {
		switch {
		case w.Everyone && w.empty():
			return l.config.PeopleFilter, nil
		case w.empty():
			continue
		}
		all, possible := "", true
		and := func(listed []string, filter string) {
			if len(listed) > 0 && filter == "" {
				possible = false
			}
			all += filter
		}
		and(w.Schools, schoolFilter(a.UAI, w.Schools))
		and(w.Kinds, valueFilter(a.Kind, w.Kinds))
		and(w.Functions, valueFilter(a.Function, w.Functions))
		if len(w.Groups) > 0 && l.knowsGroups() {
			dns, err := l.groupDNs(ctx, w.Groups)
			if err != nil {
				return "", err
			}
			and(w.Groups, valueFilter(a.MemberOf, dns))
		}
		switch {
		case !possible:
		case all == "": // groups, and the entries do not name them: Search asks for each person
			any = append(any, l.config.PeopleFilter)
		default:
			any = append(any, "(&"+all+")")
		}
	}
	if len(any) == 0 {
		return "", nil
	}
	return "(|" + strings.Join(any, "") + ")", nil
}

// groupDNs finds the groups of these names.
func (l *LDAP) groupDNs(ctx context.Context, names []string) ([]string, error) {
	filter := valueFilter(l.config.Attributes.GroupName, names)
	if filter == "" {
		return nil, nil
	}
	entries, err := l.find(ctx, l.config.GroupsBase, filter, []string{l.config.Attributes.GroupName}, maxFound)
	if err != nil {
		return nil, fmt.Errorf("find groups: %w", err)
	}
	var dns []string
	for _, entry := range entries {
		dns = append(dns, entry.DN)
	}
	return dns, nil
}

// valueFilter fits entries that have one of the values; empty without any.
func valueFilter(attribute string, values []string) string {
	var b strings.Builder
	for _, v := range values {
		if attribute != "" && v != "" {
			b.WriteString("(" + attribute + "=" + ldap.EscapeFilter(v) + ")")
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "(|" + b.String() + ")"
}

// schoolFilter is valueFilter for school codes, however they are written there
// (see uaiCodes). Every writing is asked by equality or by its beginning.
func schoolFilter(attribute string, codes []string) string {
	var b strings.Builder
	for _, code := range codes {
		if code = strings.ToUpper(code); attribute != "" && uaiPattern.MatchString(code) {
			fmt.Fprintf(&b, "(%[1]s=%[2]s)(%[1]s={UAI}%[2]s)(%[1]s=%[2]s$*)", attribute, code)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "(|" + b.String() + ")"
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
