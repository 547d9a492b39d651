package oidc

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"beffroi/signin"
)

// The parameter resource (RFC 8707) names, by address, the resources that an
// access token is for. It is the one parameter that may stand more than once
// (§2), at the authorization endpoint, at /oauth2/par and at the token endpoint.
//
// Such a token has the audience of its resources and no other: userinfo refuses
// it, a foreign resource sees nothing in it. An authorization remembers all that
// it named; a request for tokens may narrow to some of them, and adds none.
const resourceParameter = "resource"

// targets are the applications that resource names, each once: by one of their
// addresses or by their audience, exactly as registered, and only those that c
// may have tokens for (exchange_to). Everything else is invalid_target.
func (p *Provider) targets(ctx context.Context, c *Client, asked []string) ([]*Client, error) {
	set, err := p.clients.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var found []*Client
	for _, name := range asked {
		if name == "" {
			continue // a parameter without a value is left out (RFC 6749 §3.1)
		}
		target := set.resourceAt(name)
		if target == nil || !slices.Contains(c.ExchangeTo, target.Audience) {
			return nil, errInvalidTarget
		}
		if !slices.Contains(found, target) {
			found = append(found, target)
		}
	}
	return found, nil
}

// resourceAt is the application with the audience or the address; nil when it
// is nobody's, or of two who cannot both be meant.
func (s *clientSet) resourceAt(name string) *Client {
	found := s.audience[name]
	for _, one := range s.audience {
		if one == found || !slices.Contains(one.Resources, name) {
			continue
		}
		if found != nil {
			return nil
		}
		found = one
	}
	return found
}

// resourceNames are the names that belong to one application only.
func (c *Client) resourceNames() []string {
	if c.Audience == "" {
		return nil
	}
	return append([]string{c.Audience}, c.Resources...)
}

// names are those that may stand in aud for the application: its ID in its own
// tokens, the others in tokens for it. Were one of them another application's,
// that one's own signed tokens would open this resource.
func (c *Client) names() []string { return union([]string{c.ID}, c.resourceNames()) }

// takes are the scopes that have a meaning at a resource.
func (c *Client) takes(scopes []string) []string {
	if len(c.Scopes) > 0 {
		scopes = only(scopes, c.Scopes)
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == "openid" || s == "offline_access" })
}

// aimAt makes the access token one for the targets, with the scopes that they
// take. A resource that takes none of them would be handed a token that says
// nothing, and might take it for everything.
func (i *issue) aimAt(targets []*Client) error {
	if len(targets) == 0 {
		return nil
	}
	var taken []string
	for _, one := range targets {
		its := one.takes(i.scopes)
		if len(its) == 0 {
			return refused(fosite.ErrInvalidScope, "there is no scope for %s", one.Audience)
		}
		taken = append(taken, its...)
	}
	i.targets, i.granted, i.scopes = targets, i.scopes, only(i.scopes, taken)
	return nil
}

// aim settles for which of the authorization's resources the access token is:
// those that the token request names, else all. Those that the application may
// not have any more are refused, as at any other moment.
func (p *Provider) aim(ctx context.Context, i *issue, form url.Values) error {
	granted := words(i.grant.Resources)
	targets, err := p.targets(ctx, i.client, form[resourceParameter])
	if err != nil {
		return err
	}
	for _, one := range targets {
		if !slices.Contains(granted, one.Audience) {
			return refused(errInvalidTarget, "the authorization is not for this resource") // §2.2
		}
	}
	if len(targets) == 0 {
		if targets, err = p.targets(ctx, i.client, granted); err != nil {
			return err
		}
	}
	return i.aimAt(targets)
}

// readResources reads what the tokens of an authorization will be for.
func (p *Provider) readResources(ctx context.Context, a *authRequest, form url.Values, no func(code, description string) error) error {
	targets, err := p.targets(ctx, a.client, form[resourceParameter])
	if err == nil {
		err = (&issue{scopes: a.scopes}).aimAt(targets)
	}
	var e *fosite.RFC6749Error
	if errors.As(err, &e) {
		code, description, _ := protocolError(e)
		return no(code, description)
	}
	a.resources = audiencesOf(targets)
	for _, one := range targets {
		// Asked for now, while the person is there: the gate would refuse the tokens.
		a.least = max(a.least, one.app.Policy.Least())
	}
	return err
}

// leastFor is what stored audiences ask of a sign-in, at least.
func (p *Provider) leastFor(ctx context.Context, audiences string) (least signin.Level, err error) {
	for _, audience := range words(audiences) {
		one, err := p.clients.resource(ctx, audience)
		if errors.Is(err, ErrUnknownClient) {
			continue // removed: the tokens will be refused
		}
		if err != nil {
			return 0, err
		}
		least = max(least, one.app.Policy.Least())
	}
	return least, nil
}

// audiencesOf is what is stored of targets.
func audiencesOf(targets []*Client) string {
	names := make([]string, len(targets))
	for i, one := range targets {
		names[i] = one.Audience
	}
	return strings.Join(names, " ")
}
