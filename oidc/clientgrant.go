package oidc

import (
	"context"
	"slices"

	"github.com/ory/fosite"
)

// clientGrant is client_credentials (RFC 6749 §4.4): an application acts for
// itself. One INSERT, no person, no refresh token.
type clientGrant struct{ p *Provider }

var _ fosite.TokenEndpointHandler = (*clientGrant)(nil)

// HandleTokenEndpointRequest settles the scope.
func (g *clientGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	i := issueOf(request)
	c := request.GetClient().(fositeClient).Client
	if !c.may(GrantClientCredentials) || c.Public {
		return refused(fosite.ErrUnauthorizedClient, "the application may not act for itself")
	}
	allowed := slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return slices.Contains(knownScopes, s) })
	i.client, i.scopes = c, allowed
	if asked := words(request.GetRequestForm().Get("scope")); len(asked) > 0 {
		if !within(asked, allowed) {
			return refused(fosite.ErrInvalidScope, "the application may not ask for this scope for itself")
		}
		i.scopes = only(asked, allowed)
	}
	targets, err := g.p.targets(ctx, c, request.GetRequestForm()[resourceParameter])
	if err != nil {
		return err
	}
	return i.aimAt(targets)
}

// PopulateTokenEndpointResponse stores and answers the token.
func (g *clientGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest
	}
	i := issueOf(request)
	access, t := g.p.newToken(i, originClient)
	if err := g.p.store.insert(ctx, t); err != nil {
		return err
	}
	i.stores = t
	g.p.answerTokens(response, access, t)
	return nil
}

// CanSkipClientAuth: never.
func (g *clientGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest answers grant_type=client_credentials.
func (g *clientGrant) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().ExactOne(GrantClientCredentials)
}
