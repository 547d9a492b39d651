package webmail

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Pools keeps the IMAP connections of everybody signed in: a few for each
// person, none shared between two, all of them closed when idle. A connection
// is only ever reached inside Do.
type Pools struct {
	dial   func(ctx context.Context, login, token string, expires time.Time) (*conn, error)
	now    func() time.Time
	limits limits

	mu       sync.Mutex
	people   map[string]*pool
	open     int
	sweeping bool
	closed   bool
}

type limits struct {
	perPerson int           // connections of one person at a time
	total     int           // connections of everybody
	idle      time.Duration // an unused connection is closed after this
	use       time.Duration // one use of a connection, from waiting for it to its last byte
}

// pool is the connections of one person. slots holds one token for each use
// that may run at the same time.
type pool struct {
	slots chan struct{}
	idle  []*conn // the most recently used last
	users int     // uses running or waiting: an empty pool nobody uses is forgotten
	over  bool    // forgotten by Forget: what is given back is closed
}

// owner is whose connection is wanted, and the token that proves it.
type owner struct {
	sub, login string // sub keys the pool: never the login, which may be given to another person one day
	token      string
	expires    time.Time
}

func newPools(e endpoint, l limits, now func() time.Time) *Pools {
	return &Pools{limits: l, now: now, people: map[string]*pool{},
		dial: func(ctx context.Context, login, token string, expires time.Time) (*conn, error) {
			return dialIMAP(ctx, e, login, token, expires)
		}}
}

// use says what fn does to the mailbox, for what happens when the connection
// drops under it.
type use int

const (
	reads  use = iota // may run twice: repeated once on a fresh connection when the first one drops
	writes            // runs once, on a connection just seen alive
)

// Do runs fn with a connection of the person. Whatever the server does, Do
// returns within the time of one use: the watchdog closes the connection under
// fn. fn must finish every command it began (Wait, Collect, Close).
func (p *Pools) Do(ctx context.Context, who owner, prefer string, u use, fn func(*conn) error) error {
	return p.DoFor(ctx, p.limits.use, who, prefer, u, fn)
}

// DoFor is Do with a time of its own, for an APPEND of many megabytes.
func (p *Pools) DoFor(ctx context.Context, limit time.Duration, who owner, prefer string, u use, fn func(*conn) error) error {
	if who.sub == "" || who.login == "" || who.token == "" {
		return fmt.Errorf("%w: nobody is signed in", errSignIn)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	fresh := false
	for try := 0; ; try++ {
		err, dropped := p.once(ctx, who, prefer, u, fresh, fn)
		if dropped && u == reads && try == 0 && ctx.Err() == nil {
			fresh = true
			continue
		}
		return err
	}
}

func (p *Pools) once(ctx context.Context, who owner, prefer string, u use, fresh bool, fn func(*conn) error) (err error, dropped bool) {
	box := p.enter(who.sub)
	defer p.leave(who.sub, box)
	select {
	case box.slots <- struct{}{}:
		defer func() { <-box.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errBusy, ctx.Err()), false
	}
	c, err := p.take(ctx, box, who, prefer, u, fresh)
	if err != nil {
		return err, false
	}
	c.raw.left.Store(readLimit)
	watchdog := context.AfterFunc(ctx, c.drop)
	defer func() {
		usable := watchdog() && c.alive() && (err == nil || keepsConnection(err))
		p.give(box, c, usable)
	}()
	err = fn(c)
	if err == nil || keepsConnection(err) {
		return err, false
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w: %w", errDown, ctx.Err(), err), false // the watchdog did it
	}
	return fmt.Errorf("%w: %w", errDropped, err), true
}

// keepsConnection: the server said NO in good order, or fn refused; anything
// else left the conversation in an unknown state.
func keepsConnection(err error) bool {
	var no *imap.Error
	return errors.As(err, &no) && no.Type != imap.StatusResponseTypeBye || errors.Is(err, errGone) || errors.Is(err, errRefused)
}

// errRefused is for fn's own refusals, with the connection in good order.
var errRefused = errors.New("refused")

// errReadOnly is a change that a mailbox does not take: one shared for reading.
var errReadOnly = fmt.Errorf("%w: the mailbox takes no such change", errRefused)

func (p *Pools) enter(sub string) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	box := p.people[sub]
	if box == nil {
		box = &pool{slots: make(chan struct{}, p.limits.perPerson)}
		p.people[sub] = box
	}
	box.users++
	return box
}

func (p *Pools) leave(sub string, box *pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	box.users--
	if box.users == 0 && len(box.idle) == 0 && p.people[sub] == box {
		delete(p.people, sub)
	}
}

// Forget closes the person's connections: the idle ones now, those in use when
// their use ends. A session that goes on dials again.
func (p *Pools) Forget(sub string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	box := p.people[sub]
	if box == nil {
		return
	}
	for len(box.idle) > 0 {
		p.dropIdleLocked(box, 0)
	}
	box.over = true
	delete(p.people, sub)
}

// take gives an idle connection opened with the same token, best one that has
// the mailbox selected, or dials.
func (p *Pools) take(ctx context.Context, box *pool, who owner, prefer string, u use, fresh bool) (*conn, error) {
	for !fresh {
		c := p.takeIdle(box, who, prefer)
		if c == nil {
			break
		}
		if u == reads || p.now().Sub(c.lastUsed) < time.Second {
			return c, nil
		}
		// What writes is not repeated: see first that somebody listens.
		stop := context.AfterFunc(ctx, c.drop)
		err := c.Noop().Wait()
		if stop() && err == nil {
			return c, nil
		}
		p.discard(c)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", errDown, ctx.Err())
		}
	}
	if err := p.reserve(box); err != nil {
		return nil, err
	}
	c, err := p.dial(ctx, who.login, who.token, who.expires)
	if err != nil {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
		return nil, err
	}
	return c, nil
}

func (p *Pools) takeIdle(box *pool, who owner, prefer string) *conn {
	tag := sha256.Sum256([]byte(who.token))
	soon := p.now().Add(5 * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	var kept []*conn
	for _, c := range box.idle {
		if c.tag != tag || c.expires.Before(soon) || time.Since(c.born) > connectionAge || !c.alive() {
			p.open--
			c.drop()
			continue
		}
		kept = append(kept, c)
	}
	box.idle = kept
	if len(kept) == 0 {
		return nil
	}
	best := len(kept) - 1
	least := kept[best].selected()
	for i := len(kept) - 1; i >= 0; i-- {
		if prefer != "" && kept[i].box == prefer {
			best = i
			break
		}
		// Opening another mailbox costs the one that is open: a large one stays.
		if n := kept[i].selected(); n < least {
			best, least = i, n
		}
	}
	c := kept[best]
	box.idle = append(kept[:best:best], kept[best+1:]...)
	return c
}

// reserve counts one more open connection, closing the one idle for longest
// where the bounds are reached.
func (p *Pools) reserve(box *pool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("%w: closing", errBusy)
	}
	// Slots bound the uses of this person; idle ones beside them count too.
	for len(box.idle) > 0 && len(box.idle)+len(box.slots) > p.limits.perPerson {
		p.dropIdleLocked(box, 0)
	}
	for p.open >= p.limits.total {
		var from *pool
		for _, other := range p.people {
			if len(other.idle) > 0 && (from == nil || other.idle[0].lastUsed.Before(from.idle[0].lastUsed)) {
				from = other
			}
		}
		if from == nil {
			return errBusy
		}
		p.dropIdleLocked(from, 0)
	}
	p.open++
	return nil
}

func (p *Pools) dropIdleLocked(box *pool, i int) {
	box.idle[i].drop()
	box.idle = append(box.idle[:i:i], box.idle[i+1:]...)
	p.open--
}

func (p *Pools) discard(c *conn) {
	c.drop()
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
}

func (p *Pools) give(box *pool, c *conn, usable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !usable || p.closed || box.over {
		c.drop()
		p.open--
		return
	}
	c.lastUsed = p.now()
	box.idle = append(box.idle, c)
	if !p.sweeping {
		p.sweeping = true
		time.AfterFunc(p.limits.idle/2+time.Millisecond, p.sweep)
	}
}

// sweep closes what has been idle for too long, and comes back while anything
// is left.
func (p *Pools) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.now().Add(-p.limits.idle)
	left := false
	for sub, box := range p.people {
		for len(box.idle) > 0 && !box.idle[0].lastUsed.After(old) {
			p.dropIdleLocked(box, 0)
		}
		left = left || len(box.idle) > 0
		if box.users == 0 && len(box.idle) == 0 {
			delete(p.people, sub)
		}
	}
	p.sweeping = left && !p.closed
	if p.sweeping {
		time.AfterFunc(p.limits.idle/2+time.Millisecond, p.sweep)
	}
}

// Close drops every idle connection; those in use are dropped when given back.
func (p *Pools) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, box := range p.people {
		for len(box.idle) > 0 {
			p.dropIdleLocked(box, 0)
		}
	}
}
