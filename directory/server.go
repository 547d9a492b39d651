package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// server is one of the directory's servers and its two pools. They are kept
// apart because a bind changes who the connection is: after a wrong password it
// is nobody, after a right one it has that person's rights. Connections of bind
// therefore never search, and those of search never check a password.
type server struct {
	url      *url.URL
	tls      *tls.Config
	startTLS bool
	account  string
	password string
	timeout  time.Duration
	log      *slog.Logger

	search *pool
	bind   *pool

	mu       sync.Mutex
	failures int       // in a row; 0 means that the server is well
	total    int       // ever
	shunned  bool      // the failures cost time or guesses at our own account: do not try before retry
	retry    time.Time // when to look whether it is back
	probing  bool
}

func newServer(raw string, c Config, password string) (*server, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	config, err := c.tls(u.Hostname())
	if err != nil {
		return nil, err
	}
	s := &server{
		url: u, tls: config, startTLS: c.StartTLS && u.Scheme == "ldap",
		account: c.BindDN, password: password, timeout: c.Timeout, log: c.Log,
	}
	s.search = newPool(c.PoolSize, s.dialBound)
	s.bind = newPool(c.PoolSize, s.dial)
	return s, nil
}

// dial connects and encrypts, within the timeout.
func (s *server) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(s.url))
	if err != nil {
		return nil, s.late(ctx, err)
	}
	c := &conn{net: plain, born: time.Now(), used: time.Now()}
	if s.url.Scheme == "ldaps" {
		encrypted := tls.Client(plain, s.tls)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			_ = plain.Close()
			return nil, s.late(ctx, err)
		}
		c.net = encrypted
	}
	c.ldap = ldap.NewConn(c.net, s.url.Scheme == "ldaps")
	c.ldap.Start()
	if !s.startTLS {
		return c, nil
	}
	if err, usable := c.run(ctx, s.timeout, func(l *ldap.Conn) error { return l.StartTLS(s.tls) }); err != nil || !usable {
		c.close()
		return nil, s.late(ctx, fmt.Errorf("StartTLS: %w", plainly(err)))
	}
	return c, nil
}

// dialBound connects as the service account.
func (s *server) dialBound(ctx context.Context) (*conn, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	err, usable := c.run(ctx, s.timeout, func(l *ldap.Conn) error { return l.Bind(s.account, s.password) })
	if err == nil && usable {
		return c, nil
	}
	c.close()
	var answer *ldap.Error
	if errors.As(err, &answer) && answered(err) {
		return nil, &accountRefused{account: s.account, cause: err}
	}
	return nil, s.late(ctx, plainly(err))
}

// late names the deadline as the cause where it was.
func (s *server) late(ctx context.Context, err error) error {
	var timeout net.Error
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return errHung
	}
	return err
}

// accountRefused says that the server refuses our own account. Trying again and
// again could lock it.
type accountRefused struct {
	account string
	cause   error
}

func (e *accountRefused) Error() string {
	return fmt.Sprintf("the account %s is refused: %v", e.account, e.cause)
}

// plainly keeps an error from being taken for an answer to the question asked.
func plainly(err error) error {
	if err == nil {
		return errors.New("connection lost")
	}
	if errors.Is(err, errHung) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.New(err.Error())
}

// do runs op on a connection of the pool. The error is the server's answer, the
// context's, or a failure after which another server should be asked. An
// operation lost with a connection that had lain idle is tried once more on a
// new one: all of ours may be repeated.
func (s *server) do(ctx context.Context, p *pool, op func(*ldap.Conn) error) error {
	before, _ := s.failed()
	worthIt := func() bool {
		total, lost := s.failed()
		return total == before || !lost
	}
	for fresh := false; ; fresh = true {
		began := time.Now()
		c, reused, err := p.get(ctx, s.timeout, fresh, worthIt)
		if err != nil {
			if !errors.Is(err, errBusy) && !errors.Is(err, errGivenUp) {
				s.note(ctx, err, began)
			}
			return err
		}
		err, usable := c.run(ctx, s.timeout, op)
		p.put(c, usable)
		if answered(err) {
			s.well()
			return err
		}
		if reused && !fresh && ctx.Err() == nil && !errors.Is(err, errHung) {
			p.flush() // the others were most likely lost with it
			continue
		}
		s.note(ctx, err, began)
		return plainly(err)
	}
}

// failed is how often the server has failed so far, and whether it is lost now.
func (s *server) failed() (total int, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total, s.failures > 0
}

// The server is looked at again after half a second, then ever more rarely.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 10 * time.Second
	patience   = 3 // silences in a row before a server is left alone for a while
)

// note records a failure; not one that is the visitor's own, who left or had
// little time.
func (s *server) note(ctx context.Context, err error, began time.Time) {
	if ctx.Err() != nil && time.Since(began) < min(s.timeout/2, time.Second) {
		return
	}
	var refusal *accountRefused
	refused := errors.As(err, &refusal)
	silent := errors.Is(err, errHung) || errors.Is(err, context.DeadlineExceeded)
	s.mu.Lock()
	s.failures++
	s.total++
	first := s.failures == 1
	s.shunned = refused || (silent && s.failures >= patience)
	s.retry = time.Now().Add(min(firstRetry<<min(s.failures-1, 10), lastRetry))
	s.mu.Unlock()
	s.search.flush()
	s.bind.flush()
	if first {
		s.log.Warn("directory server lost", "server", s.url.Host, "cause", err.Error())
	}
}

// well records that the server answers.
func (s *server) well() {
	s.mu.Lock()
	back := s.failures > 0
	s.failures, s.shunned = 0, false
	s.mu.Unlock()
	if back {
		s.log.Info("directory server back", "server", s.url.Host)
	}
}

// state says whether the server is well, whether it may be tried all the same,
// and whether it is time to look at it; the caller who is told so must.
func (s *server) state(now time.Time) (well, tryable, probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures == 0 {
		return true, true, false
	}
	due := !now.Before(s.retry)
	probe = due && !s.probing
	s.probing = s.probing || probe
	return false, !s.shunned || due, probe
}

// probe looks whether the server is back.
func (s *server) probe(ctx context.Context) error {
	defer func() {
		s.mu.Lock()
		s.probing = false
		s.mu.Unlock()
	}()
	return s.do(ctx, s.search, readRootDSE)
}

// readRootDSE asks for something that every server has (RFC 4512 §5.1).
func readRootDSE(l *ldap.Conn) error {
	_, err := l.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false,
		"(objectClass=*)", []string{"supportedLDAPVersion"}, nil))
	return err
}

func (s *server) close() {
	s.search.close()
	s.bind.close()
}
