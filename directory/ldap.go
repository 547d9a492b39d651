package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// LDAP is a Directory on one or more LDAP servers. It is safe for concurrent
// use. A sign-in costs one search, one bind and, unless Config.Groups is
// memberof, one search of groups.
type LDAP struct {
	config  Config
	now     func() time.Time
	servers []*server
	groups  *groupNames
	cache   *cache
	moments moments

	wrongCost atomic.Int64 // what refusing a known person's password takes lately, ns

	mu      sync.Mutex
	closed  bool
	probes  sync.WaitGroup
	closing context.Context
	stop    context.CancelFunc
}

var _ Directory = (*LDAP)(nil)

// Open prepares the directory and connects to nothing yet: the servers may come
// up later. The error joins everything that Validate finds.
func Open(c Config, now func() time.Time) (*LDAP, error) {
	if err := errors.Join(c.Validate()...); err != nil {
		return nil, err
	}
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	c = c.settled()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l := &LDAP{config: c, now: now, groups: newGroupNames(c), cache: newCache(c.Remember, now)}
	l.closing, l.stop = context.WithCancel(context.Background())
	for _, raw := range c.URLs {
		s, err := newServer(raw, c, password)
		if err != nil {
			return nil, fmt.Errorf("directory server %s: %w", raw, err)
		}
		l.servers = append(l.servers, s)
	}
	return l, nil
}

// Close drops every connection.
func (l *LDAP) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.probes.Wait()
	for _, s := range l.servers {
		s.close()
	}
}

// Authenticate implements Directory.
func (l *LDAP) Authenticate(ctx context.Context, login, password string) (Person, Outcome, error) {
	if !usablePassword(password) {
		return Person{}, Outcome{Result: Wrong}, nil
	}
	typed, ok := typedLogin(login)
	if !ok {
		return Person{}, Outcome{Result: Unknown}, nil
	}
	var err error
	found, asked := l.moments.take(typed, l.now())
	complete := found != nil // groups as well
	if !complete {
		asked = l.now()
		found, err = l.byLogin(ctx, typed)
	}
	if errors.Is(err, ErrUnknown) {
		return l.pretend(ctx, password)
	}
	if err != nil {
		return Person{}, Outcome{}, err
	}
	began := time.Now()
	outcome, err := l.bind(ctx, found.person.DN, password)
	if err != nil {
		return Person{}, Outcome{}, fmt.Errorf("check the password of %s: %w", found.person.Login, err)
	}
	outcome = found.judge(outcome, l.config.LockoutDuration)
	if !outcome.OK() {
		if outcome.Result == Wrong {
			l.learnCost(time.Since(began))
		}
		if found.person.Disabled {
			l.cache.forget(found.person.ID)
		}
		return found.person, outcome, nil
	}
	if !complete {
		if err := l.addGroups(ctx, found); err != nil {
			return Person{}, Outcome{}, err
		}
	}
	l.cache.put(found.person, asked)
	return found.person.clone(), outcome, nil
}

// ByID implements Directory.
func (l *LDAP) ByID(ctx context.Context, id string) (Person, error) {
	return l.cache.get(ctx, canonicalID("", id), func(ctx context.Context) (Person, error) {
		stored, ok := storedID(l.config.Attributes.ID, id)
		if !ok {
			return Person{}, ErrUnknown
		}
		found, err := l.one(ctx, l.config.Attributes.ID, stored)
		if err != nil {
			return Person{}, err
		}
		err = l.addGroups(ctx, found)
		return found.person, err
	})
}

// ByLogin implements Directory.
func (l *LDAP) ByLogin(ctx context.Context, login string) (Person, error) {
	typed, ok := typedLogin(login)
	if !ok {
		return Person{}, ErrUnknown
	}
	asked := l.now()
	found, err := l.byLogin(ctx, typed)
	if err != nil {
		return Person{}, err
	}
	if err := l.addGroups(ctx, found); err != nil {
		return Person{}, err
	}
	l.moments.put(typed, found, asked)
	l.cache.put(found.person, asked)
	return found.person.clone(), nil
}

// Ping implements Directory.
func (l *LDAP) Ping(ctx context.Context) error {
	return l.try(ctx, searching, readRootDSE)
}

// bind checks a password and nothing else.
func (l *LDAP) bind(ctx context.Context, dn, password string) (Outcome, error) {
	request := ldap.NewSimpleBindRequest(dn, password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()})
	said := policyOf(nil)
	err := l.try(ctx, binding, func(c *ldap.Conn) error {
		result, err := c.SimpleBind(request)
		if result != nil {
			said = policyOf(result.Controls)
		}
		return err
	})
	code, message := uint16(ldap.LDAPResultSuccess), ""
	if err != nil {
		var answer *ldap.Error
		if !errors.As(err, &answer) {
			return Outcome{}, err
		}
		code, message = answer.ResultCode, answer.Err.Error()
	}
	outcome, ok := outcomeOf(code, message, said)
	if !ok {
		return Outcome{}, fmt.Errorf("%w: the server does not check passwords: %v", ErrDown, err)
	}
	return outcome, nil
}

// pretend does for an unknown login the work of a wrong password, so that a
// stranger with a watch cannot tell the two apart: a bind of somebody who does
// not exist, drawn out to what a server's hashing takes.
func (l *LDAP) pretend(ctx context.Context, password string) (Person, Outcome, error) {
	began := time.Now()
	nobody := l.config.Attributes.Login + "=nobody-has-this-name," + l.config.PeopleBase
	if _, err := l.bind(ctx, nobody, password); err != nil {
		return Person{}, Outcome{}, err
	}
	wait := time.Duration(l.wrongCost.Load()) - time.Since(began)
	if wait > 0 {
		timer := time.NewTimer(min(wait, time.Second))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return Person{}, Outcome{}, ctx.Err()
		}
	}
	return Person{}, Outcome{Result: Unknown}, nil
}

// learnCost follows how long a refusal takes, slowly, so that one slow answer
// does not matter. Concurrent updates may lose one another: no harm.
func (l *LDAP) learnCost(took time.Duration) {
	old := l.wrongCost.Load()
	if old == 0 {
		l.wrongCost.Store(int64(took))
		return
	}
	l.wrongCost.Store(old + (int64(took)-old)/8)
}

// The two kinds of work, each with its own connections.
func searching(s *server) *pool { return s.search }
func binding(s *server) *pool   { return s.bind }

// try runs op on the first server that answers. The error is that server's
// answer, the context's, or ErrDown with the cause of each.
func (l *LDAP) try(ctx context.Context, kind func(*server) *pool, op func(*ldap.Conn) error) error {
	var causes []error
	for _, s := range l.order() {
		err := s.do(ctx, kind(s), op)
		if err == nil || isAnswer(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		causes = append(causes, fmt.Errorf("%s: %w", s.url.Host, err))
	}
	if causes == nil {
		causes = append(causes, errors.New("no server has answered lately"))
	}
	return fmt.Errorf("%w: %w", ErrDown, errors.Join(causes...))
}

// isAnswer says whether err is a server's answer.
func isAnswer(err error) bool {
	var answer *ldap.Error
	return errors.As(err, &answer) && answered(err)
}

// order lists the servers to try: those that are well as configured, then the
// others, but for those whose silence would only cost time. Whoever comes by
// when a lost server is due for another look starts it, in the background.
func (l *LDAP) order() []*server {
	now := time.Now()
	var well, rest []*server
	for i, s := range l.servers {
		ok, tryable, probe := s.state(now)
		if ok {
			well = append(well, s)
		} else if tryable {
			rest = append(rest, s)
		}
		if probe {
			l.look(i)
		}
	}
	return append(well, rest...)
}

// look probes a lost server. Once it is back, the idle connections to the ones
// after it are dropped: they would only age.
func (l *LDAP) look(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.probes.Go(func() {
		if l.servers[i].probe(l.closing) != nil {
			return
		}
		for _, later := range l.servers[i+1:] {
			later.search.flush()
			later.bind.flush()
		}
	})
}
