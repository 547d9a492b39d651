package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// codeGrant is the authorization code with PKCE (RFC 6749 §4.1, RFC 7636). It
// takes the place of fosite's own: that one reads the PKCE challenge from a
// second row, which a wrong verifier deletes while the code lives on (T1), and
// lets two parallel requests spend one code (T6).
type codeGrant struct{ p *Provider }

var (
	_ fosite.AuthorizeEndpointHandler = (*codeGrant)(nil)
	_ fosite.TokenEndpointHandler     = (*codeGrant)(nil)
)

// HandleAuthorizeEndpointRequest makes the code and stores the authorization.
func (g *codeGrant) HandleAuthorizeEndpointRequest(ctx context.Context, request fosite.AuthorizeRequester, response fosite.AuthorizeResponder) error {
	if !request.GetResponseTypes().ExactOne("code") {
		return nil
	}
	i := issueOf(request)
	now := g.p.now()
	code, hash := newSecret(prefixCode)
	i.grant.ID, i.grant.Kind, i.grant.Created, i.grant.CodeEnds = hash, kindCode, db.At(now), db.At(now.Add(g.p.cfg.CodeLife))
	i.grant.Ends = g.p.outlives(now, i.grant.Offline)
	if err := g.p.store.createGrant(ctx, i.grant); err != nil {
		return err
	}
	response.AddParameter("code", code)
	request.SetResponseTypeHandled("code")
	return nil
}

// HandleTokenEndpointRequest loads the code and checks everything about it but
// the person. Nothing is changed by a request that proves nothing, so a thief
// can neither use a code nor spoil it for its owner.
func (g *codeGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	p, form, i := g.p, request.GetRequestForm(), issueOf(request)
	c := request.GetClient().(fositeClient).Client
	if !c.may(GrantCode) {
		return refused(fosite.ErrUnauthorizedClient, "the application may not use codes")
	}
	if form.Get("code") == "" {
		return refused(fosite.ErrInvalidRequest, "code is missing")
	}
	hash := secret.Hash(form.Get("code"))
	stored, used, err := p.store.grantByCode(ctx, hash)
	if errors.Is(err, db.ErrNotFound) || err == nil && stored.Kind != kindCode {
		return refused(fosite.ErrInvalidGrant, "the code is unknown")
	}
	if err != nil {
		return err
	}
	event := audit.Event{Action: "oidc.code", Target: stored.Person}
	switch {
	case stored.Client != c.ID:
		// Not the family's fault: another application's guess must not end it.
		event.Detail = map[string]string{"reason": "client", "issued_to": stored.Client}
		p.refuse(ctx, c, event)
		return refused(fosite.ErrInvalidGrant, "the code was issued to another application")
	case used:
		return p.codeReused(ctx, c, stored)
	case !stored.Ended.IsZero():
		return refused(fosite.ErrInvalidGrant, "the code is no longer good: the person has signed out")
	case !p.now().Before(stored.CodeEnds.Time):
		return refused(fosite.ErrInvalidGrant, "the code has expired")
	case form.Get("redirect_uri") != stored.RedirectURI:
		event.Detail = map[string]string{"reason": "redirect_uri"}
		p.refuse(ctx, c, event)
		return refused(fosite.ErrInvalidGrant, "redirect_uri is not the one that the code was sent to")
	}
	if err := checkVerifier(stored.Challenge, form.Get("code_verifier")); err != nil {
		event.Detail = map[string]string{"reason": "verifier"}
		p.refuse(ctx, c, event)
		return err
	}
	i.client, i.grant, i.spends = c, stored, hash
	i.scopes = only(words(stored.Scope), c.Scopes)
	return p.aim(ctx, i, form)
}

// PopulateTokenEndpointResponse spends the code for its tokens.
func (g *codeGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest
	}
	err := g.p.redeem(ctx, issueOf(request), response)
	if errors.Is(err, errSpent) {
		return g.p.codeLost(ctx, issueOf(request))
	}
	return err
}

// redeem spends the code of an issue, of a browser or of a device, for its
// tokens. errSpent when it is good no longer.
func (p *Provider) redeem(ctx context.Context, i *issue, response fosite.AccessResponder) error {
	access, t := p.newToken(i, originCode)
	refresh := ""
	if i.client.may(GrantRefresh) {
		refresh = p.newRefresh(i, &t)
	}
	if err := p.store.redeem(ctx, i.spends, t); err != nil {
		return err
	}
	i.stores = t
	p.answerTokens(response, access, t)
	if refresh != "" {
		response.SetExtra("refresh_token", refresh)
	}
	return nil
}

// codeLost answers a code that was good a moment ago: somebody was faster, or
// the person signed out in between.
func (p *Provider) codeLost(ctx context.Context, i *issue) error {
	stored, used, err := p.store.grantByCode(ctx, i.spends)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	if used {
		return p.codeReused(ctx, i.client, stored)
	}
	return refused(fosite.ErrInvalidGrant, "the code is no longer good")
}

// codeReused answers a second use: one of the two was not the application's
// own, so what came of the first ends as well (RFC 6749 §4.1.2).
func (p *Provider) codeReused(ctx context.Context, c *Client, stored grant) error {
	event := audit.Event{Action: "oidc.code", Target: stored.Person, Detail: map[string]string{"reason": "used"}}
	if err := p.endFamily(ctx, c, stored, event); err != nil {
		return err
	}
	return refused(fosite.ErrInvalidGrant, "the code was used before; the tokens that came of it are ended")
}

// endFamily ends an authorization and notes why, in one transaction. One that
// has ended already is only noted, within the cap.
func (p *Provider) endFamily(ctx context.Context, c *Client, stored grant, event audit.Event) error {
	if !stored.Ended.IsZero() {
		p.refuse(ctx, c, event)
		return nil
	}
	event.Application, event.Outcome = c.ID, "refused"
	// The client may be gone by now; the thief's tokens end all the same.
	return p.store.db.InTx(context.WithoutCancel(ctx), func(ctx context.Context) error {
		lived, err := p.store.endGrant(ctx, stored.ID)
		if err != nil {
			return err
		}
		if lived {
			event.Detail["closed"] = "authorization" // once: the person is told of it (closings)
			if err := p.kickFor(ctx, stored.Person, "", []party{{stored.Client, stored.SID}}); err != nil {
				return err
			}
		}
		return p.audit.Record(ctx, actorOf(c), event)
	})
}

// CanSkipClientAuth: never.
func (g *codeGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest answers grant_type=authorization_code.
func (g *codeGrant) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().ExactOne(GrantCode)
}

// checkVerifier is RFC 7636 §4.6 for S256. A verifier for a code that had no
// challenge is refused too: somebody stripped the challenge (RFC 9700 §2.1.1).
func checkVerifier(challenge, verifier string) error {
	switch {
	case challenge == "" && verifier == "":
		return nil
	case challenge == "":
		return refused(fosite.ErrInvalidGrant, "the authorization request had no code_challenge")
	case verifier == "":
		return refused(fosite.ErrInvalidGrant, "code_verifier is missing")
	case len(verifier) < 43 || len(verifier) > 128 || !unreserved(verifier):
		return refused(fosite.ErrInvalidGrant, "code_verifier must be 43 to 128 unreserved characters")
	}
	sum := sha256.Sum256([]byte(verifier))
	if !secret.Equal(base64.RawURLEncoding.EncodeToString(sum[:]), challenge) {
		return refused(fosite.ErrInvalidGrant, "code_verifier does not match the code_challenge")
	}
	return nil
}

// unreserved tells whether s has only the characters of RFC 3986 §2.3.
func unreserved(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !slices.Contains([]rune("-._~"), r)
	})
}
