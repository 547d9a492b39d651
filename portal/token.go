package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"beffroi/internal/db"
	"beffroi/internal/session"
)

// margin is how long before its end a token is no longer handed out: longer
// than any request that starts with it.
const margin = 20 * time.Second

// tokens are what the provider gave; they exist in the clear only in memory.
type tokens struct {
	Access   string            `json:"access"`
	Expires  time.Time         `json:"expires"`
	Refresh  string            `json:"refresh"`
	ID       string            `json:"id"`  // the ID token, the hint of a later logout
	SID      string            `json:"sid"` // the provider's session
	Obtained time.Time         `json:"obtained"`
	For      map[string]narrow `json:"for,omitempty"` // by audience
}

// narrow is a token for one audience only.
type narrow struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// record is the Data of a portal session.
type record struct {
	Person Person `json:"person"`
	Sealed string `json:"sealed"`
}

func (p *Portal) pack(person Person, t tokens) (record, error) {
	plain, err := json.Marshal(t)
	if err != nil {
		return record{}, err
	}
	return record{Person: person, Sealed: p.sealer.Seal("portal.tokens:"+person.Sub, string(plain))}, nil
}

func (p *Portal) unpack(s *session.Session) (Person, tokens, error) {
	var r record
	var t tokens
	if err := json.Unmarshal(s.Data, &r); err != nil {
		return Person{}, t, fmt.Errorf("read portal session %s: %w", s.SID, err)
	}
	if r.Person.Sub == "" || r.Person.Sub != s.Person {
		return Person{}, t, fmt.Errorf("portal session %s names two persons", s.SID)
	}
	plain, err := p.sealer.Open("portal.tokens:"+r.Person.Sub, r.Sealed)
	if err != nil {
		return Person{}, t, fmt.Errorf("open tokens of portal session %s: %w", s.SID, err)
	}
	if err := json.Unmarshal([]byte(plain), &t); err != nil {
		return Person{}, t, fmt.Errorf("read tokens of portal session %s: %w", s.SID, err)
	}
	return r.Person, t, nil
}

// TokenFor gives an access token of the signed-in person for one audience
// ("imap", "dav"), by token exchange (RFC 8693) at the provider. It is kept,
// sealed with the session, until it expires; callers ask again before each use
// and keep nothing. ctx comes from a request behind Signed (it may be detached
// from the request's end by context.WithoutCancel).
// Errors: ErrSignedOut, ErrUnavailable, ErrRefused.
func (p *Portal) TokenFor(ctx context.Context, audience string) (token string, expires time.Time, err error) {
	v, err := p.vaultOf(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	n, ok := v.narrow(audience, p.now())
	if ok {
		return n.Token, n.Expires, nil
	}
	err = v.alone(ctx, func(ctx context.Context) error {
		if n, ok = v.narrow(audience, p.now()); ok {
			return nil // the request before this one has just fetched it
		}
		if err := p.freshen(ctx, v); err != nil {
			return err
		}
		n, err = p.exchange(ctx, v.now().Access, audience)
		if refusal(err) != nil {
			// The access token may have been revoked before its end: only the grant decides.
			if err2 := p.confirm(ctx, v); err2 != nil {
				return err2
			}
			n, err = p.exchange(ctx, v.now().Access, audience)
		}
		if r := refusal(err); r != nil {
			return fmt.Errorf("exchange for %s: %w: %w", audience, ErrRefused, r)
		} else if err != nil {
			return fmt.Errorf("exchange for %s: %w", audience, err)
		}
		return p.keep(ctx, v, v.now().Refresh, v.now().with(audience, n))
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return n.Token, n.Expires, nil
}

// Refused tells that a server has turned down a token that TokenFor gave: the
// next TokenFor fetches another one.
func (p *Portal) Refused(ctx context.Context, token string) {
	v, err := p.vaultOf(ctx)
	if err != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bad == nil || len(v.bad) > 20 {
		v.bad = map[string]bool{}
	}
	v.bad[token] = true
}

// accessToken is the portal's own access token, for the provider's APIs.
func (p *Portal) accessToken(ctx context.Context) (string, error) {
	v, err := p.vaultOf(ctx)
	if err != nil {
		return "", err
	}
	if t := v.now(); p.now().Before(t.Expires.Add(-margin)) {
		return t.Access, nil
	}
	if err := v.alone(ctx, func(ctx context.Context) error { return p.freshen(ctx, v) }); err != nil {
		return "", err
	}
	return v.now().Access, nil
}

func (p *Portal) exchange(ctx context.Context, subject, audience string) (narrow, error) {
	f, err := p.provider(ctx)
	if err != nil {
		return narrow{}, err
	}
	var answer struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int64  `json:"expires_in"` // seconds
	}
	err = p.post(ctx, f.oauth.Endpoint.TokenURL, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":        {subject},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:access_token"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"audience":             {audience},
	}, &answer)
	if err != nil {
		return narrow{}, err
	}
	if answer.Token == "" || answer.Expires <= 0 {
		return narrow{}, fmt.Errorf("%w: the exchange gave no token", ErrUnavailable)
	}
	return narrow{answer.Token, p.now().Add(time.Duration(answer.Expires) * time.Second)}, nil
}

// freshen refreshes the access token when it is near its end. The caller holds v.
func (p *Portal) freshen(ctx context.Context, v *vault) error {
	if p.now().Before(v.now().Expires.Add(-margin)) {
		return nil
	}
	return p.refresh(ctx, v)
}

// refresh uses the refresh token. It first reads the session row: another
// replica may have rotated the token, and a used one kills its family.
// The caller holds v, so that one process never sends the same token twice.
func (p *Portal) refresh(ctx context.Context, v *vault) error {
	row, err := p.alive(ctx, v.sid)
	if errors.Is(err, db.ErrNotFound) {
		return ErrSignedOut
	} else if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	person, stored, err := p.unpack(row)
	if err != nil {
		return err
	}
	if stored.Refresh != v.now().Refresh {
		v.set(stored)
		if p.now().Before(stored.Expires.Add(-margin)) {
			return nil
		}
	}
	if stored.Refresh == "" {
		return ErrSignedOut
	}
	f, err := p.provider(ctx)
	if err != nil {
		return err
	}
	answer, err := f.oauth.TokenSource(p.withClient(ctx), &oauth2.Token{RefreshToken: stored.Refresh}).Token()
	if r := refusal(err); r != nil {
		if r.Code == "invalid_grant" {
			return fmt.Errorf("refresh: %w: %w", ErrSignedOut, r)
		}
		return fmt.Errorf("refresh: %w: %w", ErrUnavailable, r)
	} else if err != nil {
		return fmt.Errorf("refresh: %w: %w", ErrUnavailable, err)
	}
	next := tokens{Access: answer.AccessToken, Expires: p.expiry(answer), Refresh: answer.RefreshToken,
		ID: stored.ID, SID: stored.SID, Obtained: p.now(), For: stored.For}
	if next.Refresh == "" {
		next.Refresh = stored.Refresh
	}
	if raw, _ := answer.Extra("id_token").(string); raw != "" {
		id, err := f.verifier.Verify(p.withClient(ctx), raw)
		if err != nil || id.Subject != person.Sub {
			return fmt.Errorf("refresh: %w: the new ID token is not of this person (%w)", ErrSignedOut, err)
		}
		next.ID = raw
	}
	v.checkedNow(p.now())
	return p.keep(ctx, v, stored.Refresh, next)
}

// expiry of an answer; a provider that does not say gets five minutes.
func (p *Portal) expiry(t *oauth2.Token) time.Time {
	seconds := t.ExpiresIn
	if seconds <= 0 {
		seconds = 300
	}
	return p.now().Add(time.Duration(seconds) * time.Second)
}

// keep stores next in the session row and in memory. before is the refresh
// token that next was made from: when the row holds another one by now, another
// replica was faster and its tokens are taken instead.
func (p *Portal) keep(ctx context.Context, v *vault, before string, next tokens) error {
	for range 5 {
		row, err := p.alive(ctx, v.sid)
		if errors.Is(err, db.ErrNotFound) {
			return ErrSignedOut
		} else if err != nil {
			return fmt.Errorf("keep tokens: %w", err)
		}
		person, stored, err := p.unpack(row)
		if err != nil {
			return err
		}
		if stored.Refresh != before && stored.Refresh != next.Refresh {
			stored.For = merge(stored.For, next.For, p.now())
			next = stored
		} else {
			next.For = merge(next.For, stored.For, p.now())
		}
		data, err := p.pack(person, next)
		if err != nil {
			return err
		}
		err = p.sessions.Save(ctx, row, data)
		if err == nil {
			v.set(next)
			return nil
		} else if !errors.Is(err, session.ErrStale) {
			return fmt.Errorf("keep tokens: %w", err)
		}
	}
	// The tokens work even when the row could not be written; the next refresh tries again.
	v.set(next)
	return nil
}

// merge keeps, for each audience, the token that lives longest, and drops the
// expired ones.
func merge(a, b map[string]narrow, now time.Time) map[string]narrow {
	all := map[string]narrow{}
	for _, m := range []map[string]narrow{a, b} {
		for audience, n := range m {
			if n.Expires.After(now) && n.Expires.After(all[audience].Expires) {
				all[audience] = n
			}
		}
	}
	return all
}

func (t tokens) with(audience string, n narrow) tokens {
	t.For = merge(t.For, map[string]narrow{audience: n}, time.Time{})
	return t
}
