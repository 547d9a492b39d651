package oidc

import (
	"context"
	"errors"
	"net/http"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// revoke is POST /oauth2/revoke (RFC 7009). A refresh token ends its family; an
// access token ends alone. A token that is unknown, dead or another client's is
// answered 200 all the same (§2.2), and nothing happens to it.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) error {
	form, err := postedForm(r)
	if err != nil {
		return p.writeError(w, err)
	}
	c, err := p.authenticate(r.Context(), r, form)
	if err != nil {
		return p.writeError(w, err)
	}
	if form.Get("token") == "" {
		return p.writeError(w, refused(fosite.ErrInvalidRequest, "token is missing"))
	}
	if err := p.end(r.Context(), c, form.Get("token")); err != nil {
		return p.writeError(w, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

func (p *Provider) end(ctx context.Context, c *Client, plain string) error {
	l, err := p.store.find(ctx, plain)
	if errors.Is(err, db.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.Client != c.ID {
		p.refuse(ctx, c, audit.Event{Action: "oidc.revoke", Target: l.grant.Person, Detail: map[string]string{"reason": "client", "issued_to": l.Client}})
		return nil
	}
	if l.Refresh {
		_, err := p.store.endGrant(ctx, l.grant.ID)
		return err
	}
	return p.store.endAccess(ctx, l.AccessHash)
}
