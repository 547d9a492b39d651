package signin

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"beffroi/directory"
	"beffroi/internal/db"
)

// errBusy: so many wrong answers come from one address that not even a delayed
// place is free at the moment.
var errBusy = errors.New("signin: too many answers of this address are delayed already")

// guard counts wrong guesses and says when nothing is looked at any more.
//
// A person's guesses count until a right one, or until a whole window has
// passed without any: in no window do more than the limit reach the directory,
// whose own lock, which only the helpdesk opens, is therefore never reached.
// A success costs no write. That needs the guesses at one person to come one
// after another: a lock per person within this process. With several replicas
// the limit may be passed by one for each further replica.
//
// An address is never locked out, for a whole school may share it: past its
// limit answers are delayed.
type guard struct {
	db    *db.DB
	cfg   Config
	now   func() time.Time
	names names

	mu        sync.Mutex
	turns     map[string]*turn
	addresses map[string]blamed
	sleepers  map[string]int
	asleep    int
}

// blamed is an address's count as last seen. It is asked for again after
// blameFresh: a limit that only delays need not be exact to the second.
type blamed struct {
	guesses
	read time.Time
}

// turn is the queue for one person.
type turn struct {
	token chan struct{}
	users int
}

const (
	maxSleepers        = 512 // delayed answers at once
	maxSleepersAddress = 32  // of one address
	maxAddresses       = 20_000
	blameFresh         = 5 * time.Second
	unknownBuckets     = 1 << 16
	addressBuckets     = 1 << 18
)

func newGuard(d *db.DB, cfg Config, now func() time.Time) *guard {
	return &guard{db: d, cfg: cfg, now: now, turns: map[string]*turn{}, addresses: map[string]blamed{}, sleepers: map[string]int{}, names: names{now: now, known: map[string]name{}}}
}

func passwordKey(person string) string { return "password:" + person }
func factorKey(person string) string   { return "factor:" + person }

// unknownKey counts guesses at names that nobody has: they must look locked
// like any other. Buckets bound the table.
func unknownKey(login string) string {
	return fmt.Sprintf("unknown:%d", bucket(directory.CanonicalLogin(login), unknownBuckets))
}

// addressKey is the address's bucket; an IPv6 visitor has a whole /64.
func addressKey(ip netip.Addr) string {
	ip = ip.Unmap()
	if !ip.IsValid() {
		return ""
	}
	text := ip.WithZone("").String()
	if ip.Is6() {
		prefix, _ := ip.WithZone("").Prefix(64)
		text = prefix.String()
	}
	return fmt.Sprintf("address:%d", bucket(text, addressBuckets))
}

func bucket(s string, n uint64) uint64 {
	sum := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(sum[:8]) % n
}

// guesses is one row; zero when there is none.
type guesses struct {
	count         int
	since, latest time.Time
}

func (g *guard) read(ctx context.Context, key string) (guesses, error) {
	var v guesses
	var since, latest db.Time
	err := g.db.QueryRow(ctx, "SELECT count, since, latest FROM signin_guess WHERE key = $1", key).Scan(&v.count, &since, &latest)
	if errors.Is(err, db.ErrNotFound) {
		return guesses{}, nil
	}
	if err != nil {
		return guesses{}, fmt.Errorf("read guesses: %w", err)
	}
	v.since, v.latest = since.Time, latest.Time
	return v, nil
}

// of returns the guesses at a person that still count.
func (g *guard) of(ctx context.Context, key string) (guesses, error) {
	v, err := g.read(ctx, key)
	if err == nil && g.now().Sub(v.latest) >= g.cfg.GuessWindow {
		v = guesses{}
	}
	return v, err
}

// take counts one guess unless the limit is reached: one statement, so that of
// any number at once no more than the limit get true.
func (g *guard) take(ctx context.Context, key string, limit int) (bool, error) {
	var count int
	err := g.db.QueryRow(ctx, `INSERT INTO signin_guess (key, count, since, latest) VALUES ($1, 1, $2, $2)
		ON CONFLICT (key) DO UPDATE SET
			count = CASE WHEN signin_guess.latest <= $3 THEN 1 ELSE signin_guess.count + 1 END,
			since = CASE WHEN signin_guess.latest <= $3 THEN excluded.since ELSE signin_guess.since END,
			latest = excluded.latest
		WHERE signin_guess.latest <= $3 OR signin_guess.count < $4
		RETURNING count`, key, db.At(g.now()), db.At(g.now().Add(-g.cfg.GuessWindow)), limit).Scan(&count)
	if errors.Is(err, db.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("count guess: %w", err)
	}
	return true, nil
}

// giveBack undoes a take for a guess that nobody could look at.
func (g *guard) giveBack(ctx context.Context, key string) error {
	_, err := g.db.Exec(ctx, "UPDATE signin_guess SET count = count - 1 WHERE key = $1 AND count > 0", key)
	return err
}

func (g *guard) forget(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if _, err := g.db.Exec(ctx, "DELETE FROM signin_guess WHERE key = $1", key); err != nil {
			return fmt.Errorf("forget guesses: %w", err)
		}
	}
	return nil
}

// blame counts one wrong answer against the address, in a window that starts
// with the first: a school that is never quiet starts afresh too.
func (g *guard) blame(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	var v guesses
	var since db.Time
	err := g.db.QueryRow(ctx, `INSERT INTO signin_guess (key, count, since, latest) VALUES ($1, 1, $2, $2)
		ON CONFLICT (key) DO UPDATE SET
			count = CASE WHEN signin_guess.since <= $3 THEN 1 ELSE signin_guess.count + 1 END,
			since = CASE WHEN signin_guess.since <= $3 THEN excluded.since ELSE signin_guess.since END,
			latest = excluded.latest
		RETURNING count, since`, address, db.At(g.now()), db.At(g.now().Add(-g.cfg.GuessWindow))).Scan(&v.count, &since)
	if err != nil {
		return fmt.Errorf("count wrong answer of an address: %w", err)
	}
	v.since = since.Time
	g.note(address, v)
	return nil
}

func (g *guard) note(address string, v guesses) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.addresses) >= maxAddresses {
		clear(g.addresses)
	}
	g.addresses[address] = blamed{v, g.now()}
}

// ofAddress returns the address's count, at most blameFresh old.
func (g *guard) ofAddress(ctx context.Context, address string) (guesses, error) {
	g.mu.Lock()
	seen, ok := g.addresses[address]
	g.mu.Unlock()
	if age := g.now().Sub(seen.read); ok && age >= 0 && age < blameFresh {
		return seen.guesses, nil
	}
	v, err := g.read(ctx, address)
	if err == nil {
		g.note(address, v)
	}
	return v, err
}

// wait delays an answer to an address that gave too many wrong ones, longer
// with each. errBusy when too many wait already: sleeping costs us too.
func (g *guard) wait(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	v, err := g.ofAddress(ctx, address)
	if err != nil {
		return err
	}
	over := v.count - g.cfg.AddressLimit
	if over < 0 || g.now().Sub(v.since) >= g.cfg.GuessWindow {
		return nil
	}
	g.mu.Lock()
	if g.asleep >= maxSleepers || g.sleepers[address] >= maxSleepersAddress {
		g.mu.Unlock()
		return errBusy
	}
	g.asleep++
	g.sleepers[address]++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asleep--
		if g.sleepers[address]--; g.sleepers[address] == 0 {
			delete(g.sleepers, address)
		}
	}()
	select {
	case <-time.After(min(g.cfg.DelayMax, time.Duration(over+1)*50*time.Millisecond)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter waits for this key's turn; call leave when done.
func (g *guard) enter(ctx context.Context, key string) (leave func(), err error) {
	g.mu.Lock()
	t := g.turns[key]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		g.turns[key] = t
	}
	t.users++
	g.mu.Unlock()
	done := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(g.turns, key)
		}
	}
	select {
	case t.token <- struct{}{}:
		return func() { <-t.token; done() }, nil
	case <-ctx.Done():
		done()
		return nil, ctx.Err()
	}
}

// verdict is how an attempt ended.
type verdict int

const (
	wrong verdict = iota
	right
	locked // nothing was looked at
)

// attempt lets try look at one guess, unless the key is locked. try says
// whether it was right; forget, given to it, removes the guesses counted so far
// and joins the transaction that try may open. An error of try counts nothing.
func (g *guard) attempt(ctx context.Context, key string, limit int, try func(ctx context.Context, forget func(context.Context) error) (bool, error)) (verdict, error) {
	leave, err := g.enter(ctx, key)
	if err != nil {
		return locked, err
	}
	defer leave()
	before, err := g.of(ctx, key)
	if err != nil {
		return locked, err
	}
	taken := false
	if before.count > 0 {
		// Not the first: reserve it, so that replicas share the limit.
		if taken, err = g.take(ctx, key, limit); err != nil {
			return locked, err
		}
		if !taken {
			return locked, nil
		}
	}
	ok, err := try(ctx, func(ctx context.Context) error {
		if !taken {
			return nil
		}
		return g.forget(ctx, key)
	})
	// What follows is written even if the visitor has gone: leaving early must
	// not make a guess free.
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		if taken {
			return wrong, errors.Join(err, g.giveBack(ctx, key))
		}
		return wrong, err
	}
	if ok {
		return right, nil
	}
	if !taken {
		_, err = g.take(ctx, key, limit)
	}
	return wrong, err
}

func (g *guard) sweep(ctx context.Context) (int64, error) {
	n, err := g.db.Exec(ctx, "DELETE FROM signin_guess WHERE latest <= $1", db.At(g.now().Add(-g.cfg.GuessWindow)))
	if err != nil {
		return 0, fmt.Errorf("sweep guesses: %w", err)
	}
	return n, nil
}

// names remembers for a while whose login a typed name is, so that every
// spelling and alias of a person shares one counter without asking the
// directory twice at each sign-in. Unknown names are remembered as well: else
// they would take longer to refuse than known ones, and could be told apart.
type names struct {
	now   func() time.Time
	mu    sync.Mutex
	known map[string]name
}

type name struct {
	person string // empty: nobody
	until  time.Time
}

const (
	maxNames  = 50_000
	nameLife  = 24 * time.Hour // a login hardly ever changes hands, and each check renews it
	nobodyFor = time.Minute
)

// key returns the counter of the typed login.
func (n *names) key(ctx context.Context, d directory.Directory, login string) (string, error) {
	// Not the canonical form: two people may share that.
	n.mu.Lock()
	found, ok := n.known[login]
	n.mu.Unlock()
	if !ok || !n.now().Before(found.until) {
		person, err := d.ByLogin(ctx, login)
		if err != nil && !errors.Is(err, directory.ErrUnknown) {
			return "", err
		}
		found = n.keep(login, person.ID)
	}
	if found.person == "" {
		return unknownKey(login), nil
	}
	return passwordKey(found.person), nil
}

// keep notes whose the login is, as the directory just said.
func (n *names) keep(login, person string) name {
	v := name{person: person, until: n.now().Add(nameLife)}
	if person == "" {
		v.until = n.now().Add(nobodyFor)
	}
	if len(login) > 256 {
		return v // nobody's, and not worth the memory
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known) >= maxNames {
		clear(n.known)
	}
	n.known[login] = v
	return v
}
