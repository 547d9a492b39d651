package oidc

import (
	"context"
	"errors"
	"net/url"
	"time"

	"beffroi/internal/secret"
)

// typLogout is the header of a logout token (Back-Channel Logout 1.0 §2.4): none
// of our other tokens has it, and a logout token is none of them.
const typLogout = "logout+jwt"

const (
	logoutEvent     = "http://schemas.openid.net/event/backchannel-logout"
	logoutTokenLife = 2 * time.Minute // §4: short
)

// hears returns the application if it wants to hear of sign-outs by the back
// channel, else nil.
func (p *Provider) hears(ctx context.Context, id string) (*Client, error) {
	c, err := p.clients.Get(ctx, id)
	if errors.Is(err, ErrUnknownClient) || err == nil && c.BackchannelLogout == "" {
		return nil, nil
	}
	return c, err
}

// tellApplication posts a logout token (§2.5). Each try carries a new one: a
// receiver that answered too late must not take the next for a replay.
func (p *Provider) tellApplication(ctx context.Context, n notice) error {
	c, err := p.hears(ctx, n.Client)
	if err != nil {
		return err
	}
	if c == nil {
		return errNothingToTell
	}
	token, err := p.logoutToken(ctx, c, n)
	if err != nil {
		return err
	}
	return p.outside.to(c, c.BackchannelLogout).post(ctx, c.BackchannelLogout, url.Values{"logout_token": {token}})
}

// logoutToken says that a session of the person, or the person everywhere, has
// signed out (§2.4). There is no nonce: it must not pass for an ID token.
func (p *Provider) logoutToken(ctx context.Context, c *Client, n notice) (string, error) {
	now := p.now()
	claims := map[string]any{
		"iss": p.cfg.Issuer, "aud": c.ID, "sub": p.subject(c, n.Person), "iat": now.Unix(), "exp": now.Add(logoutTokenLife).Unix(),
		"jti": secret.Random()[:22], "events": map[string]any{logoutEvent: map[string]any{}},
	}
	if n.SID != "" {
		claims["sid"] = n.SID
	}
	return p.keys.sign(ctx, c.IDTokenAlg, typLogout, claims)
}
