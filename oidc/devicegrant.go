package oidc

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// deviceGrant is the device's side of the token endpoint (RFC 8628 §3.4).
type deviceGrant struct{ p *Provider }

var _ fosite.TokenEndpointHandler = (*deviceGrant)(nil)

// Errors of RFC 8628 §3.5.
var (
	errPending = &fosite.RFC6749Error{ErrorField: "authorization_pending", DescriptionField: "the person has not answered yet", CodeField: http.StatusBadRequest}
	errHurried = &fosite.RFC6749Error{ErrorField: "slow_down", DescriptionField: "wait five seconds more between polls", CodeField: http.StatusBadRequest}
	errDenied  = &fosite.RFC6749Error{ErrorField: "access_denied", DescriptionField: "the person has refused", CodeField: http.StatusBadRequest}
	errLate    = &fosite.RFC6749Error{ErrorField: "expired_token", DescriptionField: "the device code has expired: begin again", CodeField: http.StatusBadRequest}
)

// HandleTokenEndpointRequest answers a poll: the person's answer, if there is
// one. Allowing has made an authorization whose id is the hash of the device
// code, so from here on the device code is a code like any other.
func (g *deviceGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	p, form, i := g.p, request.GetRequestForm(), issueOf(request)
	c := request.GetClient().(fositeClient).Client
	if !c.may(GrantDevice) {
		return refused(fosite.ErrUnauthorizedClient, "the application may not use device codes")
	}
	if form.Get("device_code") == "" {
		return refused(fosite.ErrInvalidRequest, "device_code is missing")
	}
	hash := secret.Hash(form.Get("device_code"))
	d, redeemed, err := p.store.device(ctx, hash)
	if errors.Is(err, db.ErrNotFound) {
		return refused(fosite.ErrInvalidGrant, "the device code is unknown")
	}
	if err != nil {
		return err
	}
	switch {
	case d.Client != c.ID:
		p.refuse(ctx, c, audit.Event{Action: "oidc.device", Target: d.Person, Detail: map[string]string{"reason": "client", "issued_to": d.Client}})
		return refused(fosite.ErrInvalidGrant, "the device code was issued to another application")
	case !redeemed.IsZero():
		return p.deviceReused(ctx, c, d, redeemed.Time)
	case !p.now().Before(d.Expires.Time):
		return errLate
	case d.Decided.IsZero():
		return p.devicePending(ctx, d)
	case !d.Allowed:
		return errDenied
	}
	stored, _, err := p.store.grantByCode(ctx, hash)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	if err != nil || stored.Kind != kindDevice || !stored.Ended.IsZero() {
		return refused(fosite.ErrInvalidGrant, "the device code is no longer good: the person has signed out")
	}
	i.client, i.grant, i.spends = c, stored, hash
	i.scopes = only(words(stored.Scope), c.Scopes)
	return p.aim(ctx, i, form)
}

func (p *Provider) devicePending(ctx context.Context, d device) error {
	hurried, err := p.store.poll(ctx, d.ID)
	if err != nil {
		return err
	}
	if hurried {
		return errHurried
	}
	return errPending
}

// PopulateTokenEndpointResponse spends the device code for its tokens.
func (g *deviceGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, request) {
		return fosite.ErrUnknownRequest
	}
	err := g.p.redeem(ctx, issueOf(request), response)
	if errors.Is(err, errSpent) {
		return refused(fosite.ErrInvalidGrant, "the device code is no longer good: another poll was faster, or the person has signed out")
	}
	return err
}

// pollTogether is how far apart polls may be that were on their way together.
const pollTogether = 2 * time.Second

// deviceReused answers a device code that has given its tokens. A device that
// polls with several requests at once is ordinary, unlike an application that
// sends one code twice, so the losers of that race end nothing. A poll that
// comes later, though, is either of a device whose answer was lost, which loses
// nothing, or of two who hold the code, and then nobody can tell whose tokens
// they are: as for codes (RFC 6749 §4.1.2), they end.
func (p *Provider) deviceReused(ctx context.Context, c *Client, d device, redeemed time.Time) error {
	if p.now().Sub(redeemed) <= pollTogether {
		return refused(fosite.ErrInvalidGrant, "the device code is used: another poll was faster")
	}
	stored, _, err := p.store.grantByCode(ctx, d.ID)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	if err == nil {
		event := audit.Event{Action: "oidc.device", Target: stored.Person, Detail: map[string]string{"reason": "used"}}
		if err := p.endFamily(ctx, c, stored, event); err != nil {
			return err
		}
	}
	return refused(fosite.ErrInvalidGrant, "the device code was used before; the tokens that came of it are ended")
}

// CanSkipClientAuth: never.
func (g *deviceGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest answers the grant type of RFC 8628.
func (g *deviceGrant) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return request.GetGrantTypes().ExactOne(GrantDevice)
}
