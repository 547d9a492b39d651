package directory

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Connections are given up before firewalls (and Active Directory, after 15
// minutes) drop them in silence, and now and then anyway, so that a server put
// back behind its name is found.
const (
	maxIdle = 4 * time.Minute
	maxAge  = 30 * time.Minute
)

// conn is one connection, in the hands of one operation at a time. Deadlines are
// set on the network connection itself: go-ldap has none for a write that
// blocks, and after its own timeout it keeps a connection whose late answer is
// still to come.
type conn struct {
	ldap *ldap.Conn
	net  net.Conn
	born time.Time
	used time.Time
}

// run does one operation within timeout and ctx. usable says whether the
// connection can serve another one.
func (c *conn) run(ctx context.Context, timeout time.Duration, op func(*ldap.Conn) error) (err error, usable bool) {
	if err := ctx.Err(); err != nil {
		return err, true
	}
	deadline := time.Now().Add(timeout)
	if err := c.net.SetDeadline(deadline); err != nil {
		return err, false
	}
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	err = op(c.ldap)
	if !stop() {
		if err == nil || answered(err) { // the answer came first
			return err, false
		}
		return ctx.Err(), false
	}
	if err != nil && !answered(err) {
		if !time.Now().Before(deadline) {
			err = errHung
		}
		return err, false
	}
	_ = c.net.SetDeadline(time.Time{})
	return err, !c.ldap.IsClosing()
}

// close drops the connection at once: without the socket go-ldap cannot wait for
// anything.
func (c *conn) close() {
	_ = c.net.Close()
	_ = c.ldap.Close()
}

var (
	errHung    = errors.New("no answer in time")
	errBusy    = errors.New("every connection is busy")
	errGivenUp = errors.New("failed for another request meanwhile")
)

// answered says whether err is a server's answer to the question, good or bad,
// rather than a broken connection or a server that cannot answer now.
func answered(err error) bool {
	if err == nil {
		return true
	}
	var answer *ldap.Error
	if !errors.As(err, &answer) || answer.ResultCode >= ldap.ErrorNetwork {
		return false
	}
	switch answer.ResultCode {
	case ldap.LDAPResultOperationsError, // Active Directory: this connection's bind is gone
		ldap.LDAPResultBusy, ldap.LDAPResultUnavailable:
		return false
	}
	return true
}

// pool keeps connections of one kind to one server, at most as many as it has
// slots, the last used first so that the others can age out.
type pool struct {
	dial  func(ctx context.Context) (*conn, error)
	slots chan struct{}

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

func newPool(size int, dial func(ctx context.Context) (*conn, error)) *pool {
	return &pool{dial: dial, slots: make(chan struct{}, size)}
}

// get waits at most patience for a slot and returns a connection: an idle one
// unless fresh is asked, else a new one. worthIt is asked once the slot is had,
// so that those who waited for a dead server do not each try it in turn.
func (p *pool) get(ctx context.Context, patience time.Duration, fresh bool, worthIt func() bool) (c *conn, reused bool, err error) {
	select {
	case p.slots <- struct{}{}:
	default:
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case p.slots <- struct{}{}:
		case <-timer.C:
			return nil, false, errBusy
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	if !worthIt() {
		<-p.slots
		return nil, false, errGivenUp
	}
	if !fresh {
		if c := p.pop(); c != nil {
			return c, true, nil
		}
	}
	c, err = p.dial(ctx)
	if err != nil {
		<-p.slots
		return nil, false, err
	}
	return c, false, nil
}

// pop takes the idle connection used last, closing those too old on the way.
func (p *pool) pop() *conn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		now := time.Now()
		if !c.ldap.IsClosing() && now.Sub(c.used) < maxIdle && now.Sub(c.born) < maxAge {
			return c
		}
		c.close()
	}
}

// put gives a connection back, closing it when it cannot serve again.
func (p *pool) put(c *conn, usable bool) {
	defer func() { <-p.slots }()
	if usable {
		c.used = time.Now()
		p.mu.Lock()
		if !p.closed {
			p.idle = append(p.idle, c)
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
	c.close()
}

// flush closes the idle connections.
func (p *pool) flush() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// close closes the idle connections, and those in use when they come back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.flush()
}
