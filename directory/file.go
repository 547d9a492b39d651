package directory

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// LDIF is a Directory in a text: for trials and tests. It understands the
// attributes by which a real server closes and locks accounts and wants
// passwords changed (pwdReset, pwdAccountLockedTime, shadowExpire), so that a
// test can bring about every outcome. It is safe for concurrent use.
type LDIF struct {
	config Config
	names  *groupNames
	now    func() time.Time

	mu      sync.RWMutex
	entries []Entry
	down    bool
}

var _ Directory = (*LDIF)(nil)

// NewLDIF reads a directory. Of the configuration, only the preset, the
// attributes, the bases, Groups, NestedGroups and LockoutDuration matter; people
// are the entries that have a login and a password. Entries without the
// attribute of the identifier get EntryUUID of their DN.
func NewLDIF(text io.Reader, c Config, now func() time.Time) (*LDIF, error) {
	if _, ok := presetOf(c.Preset); !ok {
		return nil, &Mistake{"preset", fmt.Sprintf("%q is unknown", c.Preset)}
	}
	c = c.settled()
	d := &LDIF{config: c, names: newGroupNames(c), now: now}
	return d, d.Replace(text)
}

// Replace puts another text in place of the whole directory.
func (d *LDIF) Replace(text io.Reader) error {
	entries, err := ParseLDIF(text)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = entries
	return nil
}

// Set gives an attribute of one entry other values, or removes it when there are
// none. ErrUnknown when no entry has the DN.
func (d *LDIF) Set(dn, attribute string, values ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, entry := range d.entries {
		if sameDN(entry.DN, dn) {
			entry.Attributes[strings.ToLower(attribute)] = values
			return nil
		}
	}
	return ErrUnknown
}

// SetDown makes the directory answer ErrDown until it is set up again.
func (d *LDIF) SetDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// Authenticate implements Directory.
func (d *LDIF) Authenticate(ctx context.Context, login, password string) (Person, Outcome, error) {
	release, err := d.read(ctx)
	if err != nil {
		return Person{}, Outcome{}, err
	}
	defer release()
	if !usablePassword(password) {
		return Person{}, Outcome{Result: Wrong}, nil
	}
	typed, ok := typedLogin(login)
	if !ok {
		return Person{}, Outcome{Result: Unknown}, nil
	}
	entry, ok := d.byLogin(typed)
	if !ok {
		return Person{}, Outcome{Result: Unknown}, nil
	}
	person := d.personOf(entry)
	outcome := d.outcome(entry, person, password)
	if outcome.OK() {
		person.Groups = d.groupsOf(entry, person)
	}
	return person, outcome, nil
}

// outcome is what a server with a password policy would say.
func (d *LDIF) outcome(entry Entry, person Person, password string) Outcome {
	right := slices.ContainsFunc(entry.Values("userPassword"), func(stored string) bool { return matches(stored, password) })
	f := found{person: person}
	locked := false
	if since, err := time.Parse("20060102150405Z", values(entry.Values).first("pwdAccountLockedTime")); err == nil {
		f.lockedSince = since
		locked = d.config.LockoutDuration == 0 || d.now().Before(since.Add(d.config.LockoutDuration))
	}
	code, said := uint16(ldap.LDAPResultInvalidCredentials), policyOf(nil)
	switch {
	case locked:
		said.err = policyLocked
	case right:
		code = ldap.LDAPResultSuccess
		if strings.EqualFold(values(entry.Values).first("pwdReset"), "TRUE") {
			said.err = policyMustChange
		}
	}
	outcome, _ := outcomeOf(code, "", said)
	return f.judge(outcome, d.config.LockoutDuration)
}

// ByID implements Directory. Nothing is remembered: changes show at once.
func (d *LDIF) ByID(ctx context.Context, id string) (Person, error) {
	return d.by(ctx, func() (Entry, bool) {
		id = strings.ToLower(id)
		return d.only(func(entry Entry) bool { return id != "" && d.personOf(entry).ID == id })
	})
}

// ByLogin implements Directory.
func (d *LDIF) ByLogin(ctx context.Context, login string) (Person, error) {
	typed, ok := typedLogin(login)
	return d.by(ctx, func() (Entry, bool) {
		if !ok {
			return Entry{}, false
		}
		return d.byLogin(typed)
	})
}

// by finds a person with their groups.
func (d *LDIF) by(ctx context.Context, find func() (Entry, bool)) (Person, error) {
	release, err := d.read(ctx)
	if err != nil {
		return Person{}, err
	}
	defer release()
	entry, ok := find()
	if !ok {
		return Person{}, ErrUnknown
	}
	person := d.personOf(entry)
	person.Groups = d.groupsOf(entry, person)
	return person, nil
}

// Search implements Directory.
func (d *LDIF) Search(ctx context.Context, q Query) ([]Person, error) {
	release, err := d.read(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	words := searchWords(q.Text)
	if len(words) == 0 && (strings.TrimSpace(q.Text) != "" || len(q.Within) == 0 && q.HeadsOf == "") {
		return nil, nil
	}
	var people []Person
	for _, entry := range d.entries {
		if !d.isPerson(entry) {
			continue
		}
		person := d.personOf(entry)
		if (q.IncludeDisabled || !person.Disabled) && answers(person, words) && q.admits(person, func() []string { return d.groupsOf(entry, person) }) {
			people = append(people, person)
		}
	}
	sortByName(people)
	return people[:min(len(people), q.limit())], nil
}

// answers says whether every word is in the person's name, login or mail box; a
// word with an @, in their addresses.
func answers(p Person, words []string) bool {
	box, _, _ := strings.Cut(p.Mail, "@")
	haystack := fold(strings.Join([]string{p.DisplayName, p.GivenName, p.FamilyName, p.Login, box}, "\n"), true)
	for _, word := range words {
		word = fold(word, true)
		if strings.Contains(word, "@") {
			if !strings.HasPrefix(fold(p.Mail, true), word) && !slices.ContainsFunc(append([]string{p.Login}, p.MailAliases...), func(a string) bool { return fold(a, true) == word }) {
				return false
			}
			continue
		}
		if len(word) < 4 && !strings.HasPrefix(haystack, word) && !strings.Contains(haystack, " "+word) || !strings.Contains(haystack, word) {
			return false
		}
	}
	return true
}

// admits says whether the person is where the query looks.
func (q Query) admits(p Person, groups func() []string) bool {
	has := func(list []string, values ...string) bool {
		return slices.ContainsFunc(values, func(v string) bool {
			return v != "" && slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, v) })
		})
	}
	if len(q.AlsoIn) > 0 && !has(q.AlsoIn, p.UAI...) || q.HeadsOf != "" && !has([]string{q.HeadsOf}, p.UAIResponsible...) {
		return false
	}
	return q.Within == nil || slices.ContainsFunc(q.Within, func(w Within) bool {
		if w.empty() {
			return w.Everyone
		}
		return (len(w.Schools) == 0 || has(w.Schools, p.UAI...)) && (len(w.Kinds) == 0 || has(w.Kinds, p.Kind)) &&
			(len(w.Functions) == 0 || has(w.Functions, p.Function)) && (len(w.Groups) == 0 || has(w.Groups, groups()...))
	})
}

// Ping implements Directory.
func (d *LDIF) Ping(ctx context.Context) error {
	release, err := d.read(ctx)
	if err == nil {
		release()
	}
	return err
}

// read begins a question; release ends it.
func (d *LDIF) read(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.RLock()
	if d.down {
		d.mu.RUnlock()
		return nil, fmt.Errorf("%w: set down", ErrDown)
	}
	return d.mu.RUnlock, nil
}

func (d *LDIF) isPerson(entry Entry) bool {
	return len(entry.Values(d.config.Attributes.Login)) > 0 && len(entry.Values("userPassword")) > 0 && under(entry.DN, d.config.PeopleBase)
}

// only finds the one person for whom ok holds; none when there are two.
func (d *LDIF) only(ok func(Entry) bool) (Entry, bool) {
	var found []Entry
	for _, entry := range d.entries {
		if d.isPerson(entry) && ok(entry) {
			found = append(found, entry)
		}
	}
	if len(found) != 1 {
		return Entry{}, false
	}
	return found[0], true
}

// person finds who has a value of an attribute, compared as servers compare:
// without regard to case, composition and repeated spaces.
func (d *LDIF) person(attribute, value string) (Entry, bool) {
	wanted := fold(value, false)
	return d.only(func(entry Entry) bool {
		return slices.ContainsFunc(entry.Values(attribute), func(v string) bool { return fold(v, false) == wanted })
	})
}

func (d *LDIF) personOf(entry Entry) Person {
	p := d.config.Attributes.person(entry.DN, entry.Values, d.now())
	if p.ID == "" {
		p.ID = EntryUUID(entry.DN)
	}
	return p
}

// groupsOf lists the person's groups by what both sides say.
func (d *LDIF) groupsOf(entry Entry, p Person) []string {
	a, c := d.config.Attributes, d.config
	var groups []group
	if c.Groups != groupsByMember {
		for _, dn := range entry.Values(a.MemberOf) {
			if name := d.names.name(dn); name != "" {
				groups = append(groups, group{dn, name})
			}
		}
	}
	if c.Groups != groupsByMemberOf {
		groups = append(groups, d.naming(p.DN, p.Login)...)
	}
	for i := 0; c.NestedGroups && i < len(groups) && i < maxNested; i++ {
		for _, above := range d.naming(groups[i].dn, "") {
			if !slices.ContainsFunc(groups, func(g group) bool { return sameDN(g.dn, above.dn) }) {
				groups = append(groups, above)
			}
		}
	}
	return groupNamesOf(groups)
}

// naming lists the groups of which dn, or login, is a member.
func (d *LDIF) naming(dn, login string) []group {
	var groups []group
	byLogin := strings.EqualFold(d.config.Attributes.Member, "memberUid")
	for _, entry := range d.entries {
		if !under(entry.DN, d.config.GroupsBase) {
			continue
		}
		for _, member := range entry.Values(d.config.Attributes.Member) {
			if byLogin && login != "" && fold(member, false) == fold(login, false) || !byLogin && sameDN(member, dn) {
				if name := values(entry.Values).first(d.config.Attributes.GroupName); name != "" {
					groups = append(groups, group{entry.DN, name})
				}
				break
			}
		}
	}
	return groups
}
