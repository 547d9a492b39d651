package oidc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/signin"
)

// bearerGrant is the JWT bearer grant (RFC 7523 §2.1): another system of the
// academy has identified a person and signs who it was; an application that
// trusts it (assertion_issuers) turns that into an access token. Nobody sits at a
// browser, so what only a person can do does not happen: no session, no refresh
// token, no consent but what was given before. The person is as surely known as
// the system is trusted to prove, and the gate is asked as for everybody else.
type bearerGrant struct{ p *Provider }

var _ fosite.TokenEndpointHandler = (*bearerGrant)(nil)

// HandleTokenEndpointRequest verifies the assertion and finds its person.
func (g *bearerGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	p, form, i := g.p, request.GetRequestForm(), issueOf(request)
	c := request.GetClient().(fositeClient).Client
	if !c.may(GrantJWTBearer) || c.Public {
		return refused(fosite.ErrUnauthorizedClient, "the application may not use assertions")
	}
	if form.Get("assertion") == "" {
		return refused(fosite.ErrInvalidRequest, "assertion is missing")
	}
	scopes, err := bearerScopes(c, words(form.Get("scope")))
	if err != nil {
		return err
	}
	targets, err := p.targets(ctx, c, form[resourceParameter])
	if err != nil {
		return err
	}
	issuer, a, err := p.vouched(ctx, c, form.Get("assertion"))
	if err != nil {
		return err
	}
	person, err := p.personNamed(ctx, a.subject)
	if errors.Is(err, directory.ErrUnknown) {
		p.refuse(ctx, c, audit.Event{Action: "oidc.bearer", Detail: map[string]string{"reason": "unknown", "issuer": issuer.Issuer, "subject": a.subject}})
		return refused(fosite.ErrInvalidGrant, "the assertion is about nobody in the directory")
	}
	if err != nil {
		return err
	}
	due, err := p.consentDue(ctx, &authRequest{client: c, scopes: scopes}, person.ID)
	if err != nil {
		return err
	}
	if due {
		p.refuse(ctx, c, audit.Event{Action: "oidc.bearer", Target: person.ID, Detail: map[string]string{"reason": "consent"}})
		return refused(fosite.ErrInvalidGrant, "the person must allow it first, in a browser")
	}
	now := p.now()
	_, id := newSecret(prefixCode) // whose plain text nobody has
	level := signin.Level(max(issuer.Assurance, 1))
	i.client, i.scopes, i.asserted = c, scopes, a
	i.grant = grant{
		ID: id, Kind: kindBearer, Client: c.ID, Person: person.ID, Scope: strings.Join(scopes, " "), Resources: audiencesOf(targets),
		// No session carries it: a sign-out everywhere after the assertion ends it.
		Offline: true, AuthTime: soonest(a.issued, now), Level: level, ACR: acrName(level, acrWish{}.vocabulary(c)),
		Created: db.At(now), CodeEnds: db.At(now), Ends: db.At(now.Add(p.cfg.AccessLife)),
	}
	return i.aimAt(targets)
}

// bearerScopes are the scopes of the token. Without being asked there is no ID
// token, and offline_access, which would need a refresh token, never is granted.
func bearerScopes(c *Client, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return s == "openid" || s == "offline_access" }), nil
	}
	if !within(asked, c.Scopes) {
		return nil, refused(fosite.ErrInvalidScope, "the application may not ask for this scope")
	}
	return slices.DeleteFunc(only(asked, c.Scopes), func(s string) bool { return s == "offline_access" }), nil
}

// vouched verifies an assertion by the keys of the issuer that it names, which
// must be one that the application trusts. Nothing else decides whose keys.
func (p *Provider) vouched(ctx context.Context, c *Client, token string) (issuer AssertionIssuer, a *assertion, err error) {
	no := func(reason, format string, args ...any) error {
		p.refuse(ctx, c, audit.Event{Action: "oidc.bearer", Detail: map[string]string{"reason": reason, "issuer": issuer.Issuer}})
		return refused(fosite.ErrInvalidGrant, format, args...)
	}
	named, _ := asserts(token)
	at := slices.IndexFunc(c.AssertionIssuers, func(one AssertionIssuer) bool { return one.Issuer == named && named != "" })
	if at < 0 {
		return issuer, nil, no("issuer", "the application does not trust the issuer of the assertion")
	}
	issuer = c.AssertionIssuers[at]
	a, err = p.readAssertion(ctx, keySource{set: issuer.JWKS, uri: issuer.JWKSURI}, token, foreignAlgs, []string{p.cfg.Issuer, p.cfg.Issuer + "/oauth2/token"})
	var says *errAssertion
	switch {
	case errors.As(err, &says):
		return issuer, nil, no("assertion", "the assertion %s", says.says)
	case err != nil && ctx.Err() != nil:
		return issuer, nil, err
	case err != nil:
		p.log.InfoContext(ctx, "assertion refused", "application", c.ID, "issuer", issuer.Issuer, "error", err)
		return issuer, nil, no("signature", "the assertion is not signed by its issuer")
	case a.issuer != issuer.Issuer: // read twice, so compared
		return issuer, nil, no("issuer", "the assertion names two issuers")
	case a.issued.IsZero():
		return issuer, nil, no("assertion", "the assertion needs iat: it tells when the person was identified")
	case p.now().Sub(a.issued) > assertionMost+clockSkew:
		return issuer, nil, no("assertion", "the assertion has its iat more than 5 minutes ago")
	}
	return issuer, a, nil
}

// personNamed finds who an assertion is about: by the directory's own ID, else
// by the login.
func (p *Provider) personNamed(ctx context.Context, subject string) (directory.Person, error) {
	person, err := p.directory.ByID(ctx, subject)
	if errors.Is(err, directory.ErrUnknown) {
		return p.directory.ByLogin(ctx, subject)
	}
	return person, err
}

// PopulateTokenEndpointResponse spends the assertion for its token: all of it in
// one transaction, which the first of any number of the same assertion wins.
func (g *bearerGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest
	}
	p, i := g.p, issueOf(request)
	access, t := p.newToken(i, originBearer)
	t.AccessEnds = soonest(t.AccessEnds.Time, i.grant.Ends.Time)
	err := p.store.db.InTx(ctx, func(ctx context.Context) error {
		if err := p.store.spend(ctx, i.asserted); err != nil {
			return err
		}
		if err := p.store.createGrant(ctx, i.grant); err != nil {
			return err
		}
		if err := p.store.insert(ctx, t); err != nil {
			return err
		}
		return p.audit.Record(ctx, actorOf(i.client), audit.Event{Action: "oidc.bearer", Target: i.grant.Person, Application: i.client.ID, Outcome: "ok",
			Detail: map[string]string{"issuer": i.asserted.issuer, "acr": i.grant.ACR}})
	})
	if errors.Is(err, errReplayed) {
		p.refuse(ctx, i.client, audit.Event{Action: "oidc.bearer", Target: i.grant.Person, Detail: map[string]string{"reason": "replayed", "issuer": i.asserted.issuer}})
		return refused(fosite.ErrInvalidGrant, "the assertion %s", errReplayed.says)
	}
	if err != nil {
		return err
	}
	i.stores = t
	p.answerTokens(response, access, t)
	return nil
}

// CanSkipClientAuth: never.
func (g *bearerGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest answers the grant type of RFC 7523.
func (g *bearerGrant) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().ExactOne(GrantJWTBearer)
}
