package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-ldap/ldap/v3"
)

// inChain is Active Directory's matching rule that follows groups within groups
// (MS-ADTS §3.1.1.3.4.4.3).
const inChain = "1.2.840.113556.1.4.1941"

// Groups within groups are followed this deep and this wide, so that a circle or
// a mistake in the directory cannot keep a sign-in busy.
const (
	maxNesting    = 10
	maxNested     = 2000
	nestedAtATime = 50
	groupPage     = 500
)

// group is a group that was found.
type group struct{ dn, name string }

// addGroups fills the person's groups as the configuration says.
func (l *LDAP) addGroups(ctx context.Context, f *found) error {
	c := l.config
	var groups []group
	for _, dn := range f.memberOf {
		if name := l.groups.name(dn); name != "" && c.Groups != groupsByMember {
			groups = append(groups, group{dn, name})
		}
	}
	nestedByServer := c.NestedGroups && strings.EqualFold(c.Attributes.ID, "objectGUID")
	if c.Groups != groupsByMemberOf || nestedByServer {
		attribute := c.Attributes.Member
		value := f.person.DN
		switch {
		case strings.EqualFold(attribute, "memberUid"): // posixGroup: logins, not DNs
			value = f.person.Login
		case nestedByServer:
			attribute += ":" + inChain + ":"
		}
		named, err := l.groupsWith(ctx, "("+attribute+"="+ldap.EscapeFilter(value)+")")
		if err != nil {
			return fmt.Errorf("groups of %s: %w", f.person.Login, err)
		}
		groups = append(groups, named...)
	}
	if c.NestedGroups && !nestedByServer {
		var err error
		if groups, err = l.nested(ctx, groups); err != nil {
			return fmt.Errorf("groups of %s: %w", f.person.Login, err)
		}
	}
	f.person.Groups = groupNamesOf(groups)
	return nil
}

// groupNamesOf lists the names, sorted, each once.
func groupNamesOf(groups []group) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.name
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// groupsWith finds the groups that match a filter: all of them, page by page
// where the server has more than it gives at once.
func (l *LDAP) groupsWith(ctx context.Context, which string) ([]group, error) {
	filter := which // only groups have members: a test of their class would cost and tell nothing
	if l.config.GroupFilter != "" {
		filter = "(&" + which + l.config.GroupFilter + ")"
	}
	attributes := []string{l.config.Attributes.GroupName}
	entries, more, err := l.findSome(ctx, l.config.GroupsBase, filter, attributes, 0, nil)
	if err != nil {
		return nil, err
	}
	if more {
		if entries, err = l.paged(ctx, l.config.GroupsBase, filter, attributes); err != nil {
			return nil, err
		}
	}
	groups := make([]group, 0, len(entries))
	for _, entry := range entries {
		if name := valuesOf(entry).first(l.config.Attributes.GroupName); name != "" {
			groups = append(groups, group{entry.DN, name})
		}
	}
	return groups, nil
}

// paged reads everything that matches (RFC 2696). A list cut short would take
// rights away without a word, so it is an error.
func (l *LDAP) paged(ctx context.Context, base, filter string, attributes []string) ([]*ldap.Entry, error) {
	request := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, nil)
	var entries []*ldap.Entry
	err := l.try(ctx, searching, func(c *ldap.Conn) error { // all pages on one connection: the cookie belongs to it
		request.Controls = nil
		result, err := c.SearchWithPaging(request, groupPage)
		if result != nil {
			entries = result.Entries
		}
		return err
	})
	if isAnswer(err) {
		return nil, fmt.Errorf("%w: read all groups below %q: %v", ErrDown, base, err)
	}
	return entries, err
}

// nested adds the groups that the groups are in, and so on. OpenLDAP has nothing
// that answers this in one question.
func (l *LDAP) nested(ctx context.Context, groups []group) ([]group, error) {
	seen := make(map[string]bool)
	frontier := groups
	groups = nil
	for depth := 0; len(frontier) > 0 && depth <= maxNesting; depth++ {
		var next []group
		var parts []string
		flush := func() error {
			if len(parts) == 0 {
				return nil
			}
			above, err := l.groupsWith(ctx, "(|"+strings.Join(parts, "")+")")
			next, parts = append(next, above...), nil
			return err
		}
		for _, g := range frontier {
			key := fold(g.dn, false)
			if seen[key] || len(seen) >= maxNested {
				continue
			}
			seen[key] = true
			groups = append(groups, g)
			parts = append(parts, "("+l.config.Attributes.Member+"="+ldap.EscapeFilter(g.dn)+")")
			if len(parts) == nestedAtATime {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
		if err := flush(); err != nil {
			return nil, err
		}
		frontier = next
	}
	return groups, nil
}

// groupNames reads the name of a group out of its DN: memberOf gives nothing
// else, and asking for each group would cost a search. The same few thousand DNs
// come again and again, so what was read is kept.
type groupNames struct {
	base      *ldap.DN // nil: anywhere
	attribute string

	mu    sync.RWMutex
	known map[string]string
}

// maxKnownGroups bounds what groupNames keeps.
const maxKnownGroups = 20000

func newGroupNames(c Config) *groupNames {
	g := &groupNames{attribute: c.Attributes.GroupName, known: make(map[string]string)}
	if base, err := ldap.ParseDN(c.GroupsBase); err == nil && len(base.RDNs) > 0 {
		g.base = base
	}
	return g
}

// name is the group's name; empty when the DN is not that of a group of ours: it
// lies outside GroupsBase, or is named by another attribute than GroupName.
func (g *groupNames) name(dn string) string {
	g.mu.RLock()
	name, ok := g.known[dn]
	g.mu.RUnlock()
	if ok {
		return name
	}
	if parsed, err := ldap.ParseDN(dn); err == nil && len(parsed.RDNs) > 0 && (g.base == nil || g.base.AncestorOfFold(parsed)) {
		for _, part := range parsed.RDNs[0].Attributes {
			if strings.EqualFold(part.Type, g.attribute) {
				name = part.Value
			}
		}
	}
	g.mu.Lock()
	if len(g.known) >= maxKnownGroups {
		clear(g.known)
	}
	g.known[dn] = name
	g.mu.Unlock()
	return name
}
