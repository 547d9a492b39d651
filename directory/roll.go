package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-ldap/ldap/v3"
)

// Member is a person as Roll lists them: enough to count and to name.
type Member struct {
	ID          string
	Login       string
	DisplayName string
	FamilyName  string
	Schools     []string // UAI codes
	Kind        string
}

// rollPage is how many people are asked for at a time.
const rollPage = 500

// ErrGroupsApart says that people cannot be listed by group here: the groups
// name them, not the other way round (no attribute member_of).
var ErrGroupsApart = errors.New("directory: a list of people by group needs member_of")

// Roll lists everybody who fits one of the parts, closed accounts left out, in
// the directory's order. Unlike Search it leaves out nobody for being too many:
// a whole school, or the academy. It asks page by page (RFC 2696), so that what
// is held is the list and one page. Without any part the answer is empty. The
// error is ErrDown or the context's; a list cut short is an error, and so are groups where the entries do not name theirs
// (ErrGroupsApart).
func (l *LDAP) Roll(ctx context.Context, within []Within) ([]Member, error) {
	if !l.knowsGroups() && slices.ContainsFunc(within, func(w Within) bool { return len(w.Groups) > 0 }) {
		return nil, ErrGroupsApart
	}
	where, err := l.withinFilter(ctx, within)
	if err != nil || where == "" {
		return nil, err
	}
	a := l.config.Attributes
	request := ldap.NewSearchRequest(l.config.PeopleBase, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false,
		"(&"+l.config.PeopleFilter+where+")", a.wanted(false), nil)
	var all []Member
	known := map[string]string{} // the same few schools and kinds, held once
	once := func(s string) string {
		if held, ok := known[s]; ok {
			return held
		}
		known[s] = s
		return s
	}
	err = l.try(ctx, searching, func(c *ldap.Conn) error { // all pages on one connection: the cookie belongs to it
		all = all[:0]
		paging := ldap.NewControlPaging(rollPage)
		for {
			request.Controls = []ldap.Control{paging}
			result, err := c.Search(request)
			if err != nil {
				return err
			}
			for _, entry := range result.Entries {
				p := a.person(entry.DN, valuesOf(entry), l.now())
				if p.ID == "" || p.Disabled {
					continue
				}
				m := Member{ID: p.ID, Login: p.Login, DisplayName: p.DisplayName, FamilyName: p.FamilyName, Kind: once(p.Kind)}
				for _, uai := range p.UAI {
					m.Schools = append(m.Schools, once(uai))
				}
				all = append(all, m)
			}
			answer, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if !ok || len(answer.Cookie) == 0 {
				return ctx.Err()
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			paging.SetCookie(answer.Cookie)
		}
	})
	if isAnswer(err) {
		return nil, fmt.Errorf("%w: list the people below %q: %v", ErrDown, l.config.PeopleBase, err)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}
