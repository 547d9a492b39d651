package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Finding is what Check learned of one server.
type Finding struct {
	Server string        // its address
	Took   time.Duration // to connect, encrypt, bind and answer
	Err    error         // nil when it can serve; worded for the operator otherwise
}

// Check tries every server by itself, the ones that are only a reserve too:
// connection, certificate, service account, and whether a person with an
// identifier and a login can be read below PeopleBase.
func (l *LDAP) Check(ctx context.Context) []Finding {
	findings := make([]Finding, len(l.servers))
	for i, s := range l.servers {
		began := time.Now()
		err := l.checkServer(ctx, s)
		findings[i] = Finding{Server: s.url.Host, Took: time.Since(began), Err: err}
	}
	return findings
}

func (l *LDAP) checkServer(ctx context.Context, s *server) error {
	c, err := s.dialBound(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	a := l.config.Attributes
	request := ldap.NewSearchRequest(l.config.PeopleBase, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 1, 0, false,
		l.config.PeopleFilter, []string{a.ID, a.Login}, nil)
	var entries []*ldap.Entry
	err, _ = c.run(ctx, s.timeout, func(c *ldap.Conn) error {
		result, err := c.Search(request)
		if result != nil {
			entries = result.Entries
		}
		return err
	})
	if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) { // one of many is all we asked for
		return fmt.Errorf("search below %q: %w", l.config.PeopleBase, err)
	}
	if len(entries) == 0 {
		return fmt.Errorf("nobody below %q matches %s, or the account %s may not read them", l.config.PeopleBase, l.config.PeopleFilter, l.config.BindDN)
	}
	v := valuesOf(entries[0])
	var missing []error
	for _, attribute := range []string{a.ID, a.Login} {
		if v.first(attribute) == "" {
			missing = append(missing, fmt.Errorf("%s has no %s that the account %s may read", entries[0].DN, attribute, l.config.BindDN))
		}
	}
	return errors.Join(missing...)
}
