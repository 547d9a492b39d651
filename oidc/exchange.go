package oidc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

const typeAccessToken = "urn:ietf:params:oauth:token-type:access_token" // RFC 8693 §3

// exchangeGrant is token exchange (RFC 8693): an application that holds a
// person's token gets a narrower one for one resource, so that a module of the
// portal has a token of its own and nobody has a password. It adds only: which
// application may ask for which audience, narrower scopes, a life no longer
// than the subject token's, and who acts.
type exchangeGrant struct{ p *Provider }

var _ fosite.TokenEndpointHandler = (*exchangeGrant)(nil)

// HandleTokenEndpointRequest checks the subject token and the rights.
func (g *exchangeGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	p, form, i := g.p, request.GetRequestForm(), issueOf(request)
	c := request.GetClient().(fositeClient).Client
	if !c.may(GrantExchange) || c.Public {
		return refused(fosite.ErrUnauthorizedClient, "the application may not exchange tokens")
	}
	switch {
	case form.Get("subject_token") == "":
		return refused(fosite.ErrInvalidRequest, "subject_token is missing")
	case form.Get("subject_token_type") != typeAccessToken:
		return refused(fosite.ErrInvalidRequest, "subject_token_type must be %s", typeAccessToken)
	case form.Get("requested_token_type") != "" && form.Get("requested_token_type") != typeAccessToken:
		return refused(fosite.ErrInvalidRequest, "requested_token_type must be %s", typeAccessToken)
	case form.Has("actor_token") || form.Has("actor_token_type"):
		return refused(fosite.ErrInvalidRequest, "the actor is the application itself: no actor_token")
	case form.Has("resource"):
		return refused(errInvalidTarget, "resource is not offered: name the audience")
	}
	target, err := g.target(ctx, c, form.Get("audience"))
	if err != nil {
		return err
	}
	subject, err := p.store.find(ctx, form.Get("subject_token"))
	if errors.Is(err, db.ErrNotFound) || err == nil && (subject.Refresh || subject.grant.ID == "") {
		return refused(fosite.ErrInvalidGrant, "the subject token is not a living access token of a person")
	}
	if err != nil {
		return err
	}
	if subject.Client != c.ID && !audienceHas(subject.Audience, c.Audience) {
		p.refuse(ctx, c, audit.Event{Action: "oidc.exchange", Target: subject.grant.Person, Detail: map[string]string{"reason": "client", "issued_to": subject.Client}})
		return refused(fosite.ErrInvalidGrant, "the subject token was issued to another application")
	}
	allowed := words(subject.Scope)
	if len(target.Scopes) > 0 {
		allowed = only(allowed, target.Scopes)
	}
	i.scopes = slices.DeleteFunc(allowed, func(s string) bool { return s == "openid" || s == "offline_access" })
	if asked := words(form.Get("scope")); len(asked) > 0 {
		if !within(asked, i.scopes) {
			return refused(fosite.ErrInvalidScope, "the subject token or the audience does not have this scope")
		}
		i.scopes = only(asked, i.scopes)
	}
	if len(i.scopes) == 0 {
		return refused(fosite.ErrInvalidScope, "the subject token has no scope for this audience")
	}
	i.client, i.targets, i.grant = c, []*Client{target}, subject.grant
	i.stores = token{Audience: target.Audience, Actors: strings.TrimSpace(c.ID + " " + subject.Actors), AccessEnds: subject.Ends}
	return nil
}

// target is the application that the audience names, if c may ask for it.
func (g *exchangeGrant) target(ctx context.Context, c *Client, audience string) (*Client, error) {
	if audience == "" {
		return nil, refused(fosite.ErrInvalidRequest, "audience is missing")
	}
	if !slices.Contains(c.ExchangeTo, audience) {
		return nil, errInvalidTarget
	}
	target, err := g.p.clients.resource(ctx, audience)
	if errors.Is(err, ErrUnknownClient) {
		return nil, refused(errInvalidTarget, "no application is this audience")
	}
	return target, err
}

// PopulateTokenEndpointResponse stores and answers the token.
func (g *exchangeGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest
	}
	p, i := g.p, issueOf(request)
	access, t := p.newToken(i, originExchange)
	t.Audience, t.Actors = i.stores.Audience, i.stores.Actors
	t.AccessEnds = soonest(t.AccessEnds.Time, i.stores.AccessEnds.Time)
	err := p.store.insert(ctx, t)
	if errors.Is(err, errSpent) {
		return refused(fosite.ErrInvalidGrant, "the subject token was ended meanwhile")
	}
	if err != nil {
		return err
	}
	i.stores = t
	p.answerTokens(response, access, t)
	response.SetExtra("issued_token_type", typeAccessToken)
	return nil
}

// CanSkipClientAuth: never.
func (g *exchangeGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool {
	return false
}

// CanHandleTokenEndpointRequest answers the grant type of RFC 8693.
func (g *exchangeGrant) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().ExactOne(GrantExchange)
}

// audienceHas tells whether a stored list of audiences names one.
func audienceHas(list, audience string) bool {
	return audience != "" && slices.Contains(words(list), audience)
}

// actorClaim is RFC 8693 §4.1: the latest actor outside, the earlier ones within.
func actorClaim(actors string) map[string]any {
	var claim map[string]any
	all := words(actors)
	for _, id := range slices.Backward(all) {
		next := map[string]any{"sub": id, "client_id": id}
		if claim != nil {
			next["act"] = claim
		}
		claim = next
	}
	return claim
}
