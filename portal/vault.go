package portal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"beffroi/internal/session"
)

// A vault is what one process knows of one session beyond its row: the opened
// tokens, and when the provider last confirmed them. The row in the database
// decides; a vault only saves opening, checking and exchanging again.
type vault struct {
	sid, person string

	turn chan struct{} // one at a time talks to the provider for this session

	mu      sync.Mutex
	tokens  tokens
	checked time.Time // last yes of the provider
	retry   time.Time // not asked before this, after it did not answer
	used    time.Time
	bad     map[string]bool // tokens that a server has refused before their end
	tiles   []Tile
	tilesAt time.Time
}

type vaults struct {
	mu    sync.Mutex
	bySID map[string]*vault
	swept time.Time
	now   func() time.Time
}

// of finds or makes the vault of a session. opened gives the tokens of a new one.
func (s *vaults) of(sid, person string, opened func() (tokens, error)) (*vault, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.bySID == nil {
		s.bySID = map[string]*vault{}
	}
	if now.Sub(s.swept) > time.Minute {
		for sid, v := range s.bySID {
			if v.idleSince(now) > 15*time.Minute {
				delete(s.bySID, sid)
			}
		}
		s.swept = now
	}
	if v := s.bySID[sid]; v != nil {
		v.touch(now)
		return v, nil
	}
	t, err := opened()
	if err != nil {
		return nil, err
	}
	v := &vault{sid: sid, person: person, turn: make(chan struct{}, 1), tokens: t, checked: t.Obtained, used: now}
	s.bySID[sid] = v
	return v, nil
}

func (s *vaults) drop(sid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bySID, sid)
}

// dropOf forgets every session of the person.
func (s *vaults) dropOf(person string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sid, v := range s.bySID {
		if v.person == person {
			delete(s.bySID, sid)
		}
	}
}

func (v *vault) idleSince(now time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Sub(v.used)
}

func (v *vault) touch(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.used = now
}

// now is a copy of the tokens as they stand.
func (v *vault) now() tokens {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tokens
}

func (v *vault) set(t tokens) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens = t
}

func (v *vault) narrow(audience string, now time.Time) (narrow, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, ok := v.tokens.For[audience]
	return n, ok && !v.bad[n.Token] && now.Before(n.Expires.Add(-margin))
}

func (v *vault) checkedNow(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.checked, v.retry = now, time.Time{}
}

// alone runs fn while nobody else talks to the provider for this session. fn
// goes on when the browser leaves: a rotated refresh token must reach the row.
func (v *vault) alone(ctx context.Context, fn func(ctx context.Context) error) error {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	defer func() { <-v.turn }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 12*time.Second)
	defer cancel()
	return fn(ctx)
}

func (p *Portal) vaultOf(ctx context.Context) (*vault, error) {
	sid := SessionID(ctx)
	if sid == "" {
		return nil, ErrSignedOut
	}
	return p.vaults.of(sid, Who(ctx).Sub, func() (tokens, error) {
		row := session.From(ctx)
		if row == nil || row.SID != sid {
			return tokens{}, ErrSignedOut
		}
		_, t, err := p.unpack(row)
		return t, err
	})
}

// Check asks the provider, at most every Config.Check, whether the session of
// ctx still stands. Signed calls it before each request; what lives longer than
// a request (a stream of new mail) calls it again and ends with its error.
// Errors: ErrSignedOut; ErrUnavailable once the provider has not answered for
// longer than Config.Patience.
func (p *Portal) Check(ctx context.Context) error {
	v, err := p.vaultOf(ctx)
	if err != nil {
		return err
	}
	if !v.due(p.now(), p.Config.Check) {
		return nil
	}
	err = v.alone(ctx, func(ctx context.Context) error {
		if !v.due(p.now(), p.Config.Check) {
			return nil
		}
		return p.confirm(ctx, v)
	})
	if errors.Is(err, ErrUnavailable) {
		now := p.now()
		v.mu.Lock()
		v.retry = now.Add(5 * time.Second)
		patient := now.Sub(v.checked) < p.Config.Patience
		v.mu.Unlock()
		if patient {
			p.log.WarnContext(ctx, "the provider does not answer; sessions go on for a while", "error", err)
			return nil
		}
	}
	return err
}

// due says whether the last yes is too old and the provider may be asked.
func (v *vault) due(now time.Time, every time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Sub(v.checked) >= every && !now.Before(v.retry)
}

// confirm asks the provider about the access token; when it says no, the
// refresh token has the last word. The caller holds v.
func (p *Portal) confirm(ctx context.Context, v *vault) error {
	t := v.now()
	if !p.now().Before(t.Expires.Add(-margin)) {
		return p.refresh(ctx, v)
	}
	f, err := p.provider(ctx)
	if err != nil {
		return err
	}
	active := false
	short, cancel := context.WithTimeout(ctx, 4*time.Second) // a page waits for this; a refresh below has longer
	defer cancel()
	if f.introspection != "" {
		var answer struct {
			Active bool   `json:"active"`
			Sub    string `json:"sub"`
		}
		err = p.post(short, f.introspection, url.Values{"token": {t.Access}, "token_type_hint": {"access_token"}}, &answer)
		active = answer.Active
	} else if f.userinfo != "" {
		err = p.get(short, f.userinfo, t.Access, nil)
		active = err == nil
	}
	switch {
	case err == nil && active:
		v.checkedNow(p.now())
		return nil
	case err != nil && refusal(err) == nil:
		return err
	case err != nil && f.introspection != "": // this client is refused, the person is not
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return p.refresh(ctx, v)
}

func (p *Portal) withClient(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.http)
}
