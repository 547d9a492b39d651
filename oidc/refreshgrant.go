package oidc

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// refreshGrant is RFC 6749 §6 with rotation (RFC 9700 §4.14.2): each use gives
// a new refresh token, and a token used again ends the family. Within ten
// seconds of its first use the same application gets tokens of the same family
// once more, because two tabs of one browser refresh at the same moment (T9).
type refreshGrant struct{ p *Provider }

var _ fosite.TokenEndpointHandler = (*refreshGrant)(nil)

// HandleTokenEndpointRequest loads the refresh token and checks it.
func (g *refreshGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	p, form, i := g.p, request.GetRequestForm(), issueOf(request)
	c := request.GetClient().(fositeClient).Client
	if !c.may(GrantRefresh) {
		return refused(fosite.ErrUnauthorizedClient, "the application may not refresh tokens")
	}
	if form.Get("refresh_token") == "" {
		return refused(fosite.ErrInvalidRequest, "refresh_token is missing")
	}
	row, err := p.store.refreshToken(ctx, secret.Hash(form.Get("refresh_token")))
	if errors.Is(err, db.ErrNotFound) {
		return refused(fosite.ErrInvalidGrant, "the refresh token is unknown")
	}
	if err != nil {
		return err
	}
	switch now := p.now(); {
	case row.Client != c.ID:
		p.refuse(ctx, c, audit.Event{Action: "oidc.refresh", Target: row.grant.Person, Detail: map[string]string{"reason": "client", "issued_to": row.Client}})
		return refused(fosite.ErrInvalidGrant, "the refresh token was issued to another application")
	case reused(row.FirstUsed.Time, now, p.cfg.RefreshGrace):
		return p.refreshReused(ctx, c, row)
	case !row.grant.Ended.IsZero():
		return refused(fosite.ErrInvalidGrant, "the person has signed out, or the tokens were ended")
	case !now.Before(row.RefreshEnds.Time):
		return refused(fosite.ErrInvalidGrant, "the refresh token has expired")
	}
	i.client, i.grant, i.spends = c, row.grant, row.RefreshHash
	i.scopes = only(words(row.grant.Scope), c.Scopes)
	// A narrower scope is honoured for the access token (T16); the refresh
	// token keeps the scope of the authorization.
	if asked := words(form.Get("scope")); len(asked) > 0 {
		if !within(asked, i.scopes) {
			return refused(fosite.ErrInvalidScope, "a refresh cannot widen the scope")
		}
		i.scopes = only(asked, i.scopes)
	}
	return p.aim(ctx, i, form)
}

// PopulateTokenEndpointResponse spends the refresh token for the next pair.
func (g *refreshGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest
	}
	p, i := g.p, issueOf(request)
	access, t := p.newToken(i, originRefresh)
	refresh := p.newRefresh(i, &t)
	err := p.store.rotate(ctx, i.spends, t)
	if errors.Is(err, errSpent) {
		return refused(fosite.ErrInvalidGrant, "the refresh token was ended meanwhile")
	}
	if err != nil {
		return err
	}
	i.stores = t
	p.answerTokens(response, access, t)
	response.SetExtra("refresh_token", refresh)
	return nil
}

// reused tells whether a refresh token first used then may not be used now.
func reused(first, now time.Time, grace time.Duration) bool {
	return !first.IsZero() && now.Sub(first) > grace
}

// refreshReused ends the family: a copy of the token is in other hands, and
// nobody can tell whose use was the owner's.
func (p *Provider) refreshReused(ctx context.Context, c *Client, row refreshRow) error {
	event := audit.Event{Action: "oidc.refresh", Target: row.grant.Person, Detail: map[string]string{"reason": "reused"}}
	if err := p.endFamily(ctx, c, row.grant, event); err != nil {
		return err
	}
	return refused(fosite.ErrInvalidGrant, "the refresh token was used before; all tokens of this sign-in are ended")
}

// CanSkipClientAuth: never.
func (g *refreshGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest answers grant_type=refresh_token.
func (g *refreshGrant) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().ExactOne(GrantRefresh)
}
