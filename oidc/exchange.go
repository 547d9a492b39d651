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

// Token types of RFC 8693 §3.
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token" // whatever it looks like
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"          // one that is a JWT
)

// actorsMost bounds how many times in a row a token may be exchanged: what comes
// of it names everybody who acted.
const actorsMost = 4

// exchangeGrant is token exchange (RFC 8693): an application that holds a
// person's token gets a narrower one for one resource, so that a module of the
// portal has a token of its own and nobody has a password. It adds only: which
// application may ask for which audience, narrower scopes, a life no longer
// than the subject token's, and who acts.
//
// The actor is always the application that asks, known by its own credentials:
// an actor_token, which would name somebody else, is not accepted.
type exchangeGrant struct{ p *Provider }

var _ fosite.TokenEndpointHandler = (*exchangeGrant)(nil)

// HandleTokenEndpointRequest checks the subject token and the rights.
func (g *exchangeGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	p, form, i := g.p, request.GetRequestForm(), issueOf(request)
	c := request.GetClient().(fositeClient).Client
	if !c.may(GrantExchange) || c.Public {
		return refused(fosite.ErrUnauthorizedClient, "the application may not exchange tokens")
	}
	plain, kind, wanted := form.Get("subject_token"), form.Get("subject_token_type"), form.Get("requested_token_type")
	switch {
	case plain == "":
		return refused(fosite.ErrInvalidRequest, "subject_token is missing")
	case kind != typeAccessToken && kind != typeJWT:
		return refused(fosite.ErrInvalidRequest, "subject_token_type must be %s or %s", typeAccessToken, typeJWT)
	case kind == typeJWT && strings.HasPrefix(plain, prefixAccess):
		return refused(fosite.ErrInvalidRequest, "the subject token is no JWT")
	case wanted != "" && wanted != typeAccessToken && wanted != typeJWT:
		return refused(fosite.ErrInvalidRequest, "requested_token_type must be %s or %s", typeAccessToken, typeJWT)
	case form.Has("actor_token") || form.Has("actor_token_type"):
		return refused(fosite.ErrInvalidRequest, "the actor is the application itself: no actor_token")
	}
	// Both may be given, and then mean the same application: a token for two
	// would let each of them use it at the other.
	found, err := p.targets(ctx, c, append([]string{form.Get("audience")}, form[resourceParameter]...))
	if err != nil {
		return err
	}
	switch len(found) {
	case 0:
		return refused(fosite.ErrInvalidRequest, "audience or resource is missing")
	case 1:
	default:
		return refused(errInvalidTarget, "audience and resource name more than one application")
	}
	target := found[0]
	if wanted == typeJWT && !target.readsJWT() {
		return refused(fosite.ErrInvalidRequest, "this audience is given opaque tokens")
	}
	subject, err := p.store.find(ctx, plain)
	if errors.Is(err, db.ErrNotFound) || err == nil && (subject.Refresh || subject.grant.ID == "") {
		return refused(fosite.ErrInvalidGrant, "the subject token is not a living access token of a person")
	}
	if err != nil {
		return err
	}
	if err := g.mayAct(ctx, c, subject, i); err != nil {
		return err
	}
	holder := c
	if i.source != nil {
		holder = i.source
	}
	if i.scopes, err = narrowed(subject, holder, target, words(form.Get("scope"))); err != nil {
		return err
	}
	i.client, i.targets, i.grant = c, []*Client{target}, subject.grant
	i.stores = token{Actors: strings.TrimSpace(c.ID + " " + subject.Actors), Parent: subject.AccessHash, AccessEnds: subject.Ends}
	i.tells = typeAccessToken
	if wanted == typeJWT {
		i.tells = typeJWT
	}
	return nil
}

// mayAct holds that c has come by the subject token rightly: it was issued to it,
// or made for it. That takes the place of a claim may_act (RFC 8693 §4.4).
func (g *exchangeGrant) mayAct(ctx context.Context, c *Client, subject *living, i *issue) error {
	p := g.p
	event := audit.Event{Action: "oidc.exchange", Target: subject.grant.Person, Detail: map[string]string{"reason": "client", "issued_to": subject.Client}}
	if subject.Client != c.ID && !audienceHas(subject.Audience, c.Audience) {
		p.refuse(ctx, c, event)
		return refused(fosite.ErrInvalidGrant, "the subject token was issued to another application")
	}
	if len(words(subject.Actors)) >= actorsMost {
		event.Detail["reason"] = "chain"
		p.refuse(ctx, c, event)
		return refused(fosite.ErrInvalidGrant, "the subject token has been exchanged %d times in a row", actorsMost)
	}
	if subject.Client == c.ID {
		return nil
	}
	source, err := p.clients.Get(ctx, subject.Client)
	if errors.Is(err, ErrUnknownClient) {
		return refused(fosite.ErrInvalidGrant, "the application that the subject token was issued to is gone")
	}
	i.source = source
	return err
}

// narrowed are the scopes of the new token: of those of the subject token what
// its holder may still have and the resource knows, or the part of it that is asked.
func narrowed(subject *living, holder, target *Client, asked []string) ([]string, error) {
	allowed := target.takes(holder.takes(words(subject.Scope)))
	if !within(asked, allowed) {
		return nil, refused(fosite.ErrInvalidScope, "the subject token or the audience does not have this scope")
	}
	if len(allowed) == 0 {
		return nil, refused(fosite.ErrInvalidScope, "the subject token has no scope for this audience")
	}
	if len(asked) > 0 {
		return only(asked, allowed), nil
	}
	return allowed, nil
}

// PopulateTokenEndpointResponse stores and answers the token.
func (g *exchangeGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest
	}
	p, i := g.p, issueOf(request)
	access, t := p.newToken(i, originExchange)
	t.Actors, t.Parent = i.stores.Actors, i.stores.Parent
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
	response.SetExtra("issued_token_type", i.tells)
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
