package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// algorithms are those that tokens are signed with, the default first. Each
// has keys of its own: an RSA key signs RS256 or PS256, never both.
var algorithms = []string{RS256, PS256, ES256, EdDSA}

// Algorithms are those that tokens can be signed with.
func Algorithms() []string { return slices.Clone(algorithms) }

// States of a signing key. Which it is follows from its times and the clock, so
// that every replica changes over at the same moment without a word.
const (
	KeyNext    = "next"    // published, does not sign yet
	KeyCurrent = "current" // signs
	KeyOld     = "old"     // published: what it signed is still about
	KeyRetired = "retired" // not published; still verifies id_token_hints, which may be old
)

// How long an application may keep the published keys (Cache-Control of /jwks),
// and how long after a change the last replica knows of it.
const (
	jwksAge     = 5 * time.Minute
	keysFresh   = time.Second
	keysStale   = 4 * time.Second
	keysKnown   = keysStale + time.Second
	keysOverlap = jwksAge + time.Minute // the least that publication must precede, and outlive, use
)

// KeyConfig is the schedule of the signing keys. Zero durations take the
// defaults written beside them.
type KeyConfig struct {
	RotateEvery  time.Duration `yaml:"rotate_every"`  // 90 days
	PublishAhead time.Duration `yaml:"publish_ahead"` // 24 h between publication and the first signature
	Keep         time.Duration `yaml:"keep"`          // 48 h published after the last signature
}

func (c KeyConfig) withDefaults() KeyConfig {
	c.RotateEvery = cmp.Or(c.RotateEvery, 90*24*time.Hour)
	c.PublishAhead = cmp.Or(c.PublishAhead, 24*time.Hour)
	c.Keep = cmp.Or(c.Keep, 48*time.Hour)
	return c
}

// validate returns every mistake. life is that of the longest-lived token.
func (c KeyConfig) validate(life time.Duration) []error {
	c = c.withDefaults()
	var all []error
	wrong := func(key, format string, args ...any) {
		all = append(all, fmt.Errorf("keys.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.PublishAhead < keysOverlap || c.PublishAhead > 30*24*time.Hour {
		wrong("publish_ahead", "%s is outside %s (applications keep the published keys for %s) to 720h", c.PublishAhead, keysOverlap, jwksAge)
	}
	if c.RotateEvery < 2*c.PublishAhead || c.RotateEvery > 5*366*24*time.Hour {
		wrong("rotate_every", "%s is outside twice publish_ahead (%s) to 43920h", c.RotateEvery, 2*c.PublishAhead)
	}
	if least := life + keysOverlap; c.Keep < least || c.Keep > 366*24*time.Hour {
		wrong("keep", "%s is outside %s (the longest life of a token and %s more) to 8784h", c.Keep, least, keysOverlap)
	}
	return all
}

// Keys are the signing keys. Reading them costs no query per request; a
// rotation made on any machine is seen within seconds.
type Keys struct {
	db     *db.DB
	sealer *secret.Sealer
	audit  *audit.Log
	cfg    KeyConfig
	log    *slog.Logger
	now    func() time.Time

	latest  atomic.Pointer[keySet]
	loading sync.Mutex
}

// keySet is the keys as they were at one moment. It does not change.
type keySet struct {
	signing   map[string]*key // by algorithm
	byID      map[string]*key
	published map[string]bool // by kid
	jwks      []byte
	loaded    time.Time
}

// openKeys loads the keys, creating the missing ones. Replicas starting
// together may each make one; the first to be stored is the one they all use.
func openKeys(ctx context.Context, k *Keys) (*Keys, error) {
	if _, err := k.rotateDue(ctx); err != nil {
		return nil, err
	}
	set, err := k.load(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, alg := range algorithms {
		if set.signing[alg] == nil {
			return nil, errors.New("no signing key for " + alg)
		}
	}
	k.latest.Store(set)
	return k, nil
}

// state is pure. later are the keys of the same algorithm that were made after k.
func (k *key) state(later []*key, now time.Time, keep time.Duration) string {
	switch until := k.until(later, now, keep); {
	case !k.retired.IsZero():
		return KeyRetired
	case now.Before(k.signs):
		return KeyNext
	case until.IsZero():
		return KeyCurrent
	case now.Before(until):
		return KeyOld
	}
	return KeyRetired
}

// until is when k stops being published; zero while no later key signs.
func (k *key) until(later []*key, now time.Time, keep time.Duration) time.Time {
	for _, l := range later {
		// One that was taken back before its time never took over.
		if !now.Before(l.signs) && (l.retired.IsZero() || l.retired.After(l.signs)) {
			return l.signs.Add(keep)
		}
	}
	return time.Time{}
}

// later are the keys of all, in order of serial, that follow k.
func later(all []*key, k *key) []*key {
	i := slices.Index(all, k)
	var of []*key
	for _, l := range all[i+1:] {
		if l.alg == k.alg {
			of = append(of, l)
		}
	}
	return of
}

// newKeySet sorts the keys by what they are for now. They come in order of
// algorithm and serial.
func newKeySet(all []*key, now time.Time, keep time.Duration) (*keySet, error) {
	s := &keySet{signing: map[string]*key{}, byID: map[string]*key{}, published: map[string]bool{}, loaded: now}
	list := []map[string]string{}
	for _, alg := range algorithms {
		// Who looks at the first key only finds the one that signs.
		for _, state := range []string{KeyCurrent, KeyNext, KeyOld, KeyRetired} {
			for _, k := range all {
				if k.alg != alg || k.state(later(all, k), now, keep) != state {
					continue
				}
				s.byID[k.kid] = k
				if state == KeyRetired {
					continue
				}
				if state == KeyCurrent {
					s.signing[alg] = k
				}
				members, err := publicMembers(k.alg, k.private.Public())
				if err != nil {
					return nil, err
				}
				members["kid"], members["alg"], members["use"] = k.kid, k.alg, "sig"
				s.published[k.kid] = true
				list = append(list, members)
			}
		}
	}
	var err error
	s.jwks, err = json.Marshal(map[string]any{"keys": list})
	return s, err
}

// snapshot returns the keys as they were at most most ago. When the database
// does not answer, what is known goes on: it stays published for longer than
// that may take.
func (k *Keys) snapshot(ctx context.Context, most time.Duration) *keySet {
	set := k.latest.Load()
	age := k.now().Sub(set.loaded)
	// Never waited for inside a transaction, as Clients.snapshot tells.
	if age < keysFresh || k.db.InTransaction(ctx) {
		return set
	}
	if age < most {
		if !k.loading.TryLock() {
			return set
		}
	} else {
		k.loading.Lock()
	}
	defer k.loading.Unlock()
	if set = k.latest.Load(); k.now().Sub(set.loaded) < keysFresh {
		return set
	}
	renewed, err := k.load(context.WithoutCancel(ctx), set)
	if err != nil {
		k.log.ErrorContext(ctx, "signing keys cannot be read, the known ones go on", "error", err)
		again := *set
		again.loaded = k.now()
		renewed = &again
	}
	k.latest.Store(renewed)
	return renewed
}

// sign makes a JWS in compact form (RFC 7515 §3.1) with the key of alg. typ
// says in its header what it is.
func (k *Keys) sign(ctx context.Context, alg, typ string, claims map[string]any) (string, error) {
	one := k.snapshot(ctx, keysStale).signing[alg]
	if one == nil {
		return "", fmt.Errorf("no signing key for %s", alg)
	}
	return one.compact(typ, claims)
}

// verify reads a JWT signed here, expired or not, by a key of any state.
func (k *Keys) verify(ctx context.Context, token string) (*signed, error) {
	return k.snapshot(ctx, keysStale).verify(token)
}

// jwks is GET /jwks (RFC 7517 §5). It is as new as a second: a key is published
// everywhere before it signs anywhere.
func (p *Provider) jwks(w http.ResponseWriter, r *http.Request) error {
	return p.public(p.keys.snapshot(r.Context(), keysFresh).jwks)(w, r)
}
