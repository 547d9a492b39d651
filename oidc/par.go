package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/web"
)

// Pushed authorization requests (RFC 9126): an application sends its request
// here by itself, proving who it is, and the browser carries only a reference.
const (
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
	pushedLife   = 90 * time.Second // from the push to the browser's arrival
)

// par is POST /oauth2/par.
func (p *Provider) par(w http.ResponseWriter, r *http.Request) error {
	uri, err := p.push(r)
	if err != nil {
		return p.writeError(w, err)
	}
	return writeJSON(w, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": int(pushedLife / time.Second)})
}

// push checks a request as the authorization endpoint would and keeps it in
// plain form, as it will be read when the browser comes.
func (p *Provider) push(r *http.Request) (uri string, err error) {
	form, err := postedForm(r, resourceParameter)
	if err != nil {
		return "", err
	}
	ctx := r.Context()
	c, err := p.authenticate(ctx, r, form)
	if err != nil {
		return "", err
	}
	switch {
	case !c.may(GrantCode):
		return "", refused(fosite.ErrUnauthorizedClient, "the application may not use codes")
	case form.Get("request_uri") != "":
		return "", refused(fosite.ErrInvalidRequest, "request_uri cannot be pushed") // §2.1
	}
	if c.Public {
		if err := p.fewEnough(ctx, "par", pushesByName); err != nil {
			return "", err
		}
	}
	form.Set("client_id", c.ID) // as it authenticated, however it said so
	if form.Get("request") != "" {
		if form, err = p.objectForm(ctx, c, form, form.Get("request")); err != nil {
			return "", pushError(err)
		}
	}
	a, err := p.parseAuthorize(ctx, form)
	if err != nil {
		return "", pushError(err)
	}
	reference := secret.Random()
	return pushedPrefix + reference, p.store.keepPushed(ctx, c.ID, reference, a.form)
}

// pushError is what the authorization endpoint would have told the application
// by redirect, or the person by a page, told to the application itself.
func pushError(err error) error {
	var e *authError
	var page *web.Error
	var h *homeless
	switch {
	case errors.As(err, &h):
		return &fosite.RFC6749Error{ErrorField: h.code, DescriptionField: h.description, CodeField: http.StatusBadRequest}
	case errors.As(err, &e):
		return &fosite.RFC6749Error{ErrorField: e.code, DescriptionField: e.description, CodeField: http.StatusBadRequest}
	case errors.As(err, &page) && page.Status == http.StatusBadRequest && page.Err != nil:
		return refused(fosite.ErrInvalidRequest, "%s", page.Err) // an authenticated client may know
	}
	return err
}

// keepPushed stores a request under the hash of its reference.
func (s *store) keepPushed(ctx context.Context, client, reference string, form url.Values) error {
	_, err := s.db.Exec(ctx, "INSERT INTO oidc_pushed (id, client, form, ends) VALUES ($1, $2, $3, $4)",
		secret.Hash(reference), client, form.Encode(), db.At(s.now().Add(pushedLife)))
	if err != nil {
		return fmt.Errorf("keep pushed request: %w", err)
	}
	return nil
}

// takePushed returns a pushed request, once, to the client that pushed it and
// before it expires; otherwise db.ErrNotFound, and nothing has changed: another
// client's guess can neither read nor spoil it (T5).
func (s *store) takePushed(ctx context.Context, client, reference string) (url.Values, error) {
	var form string
	err := s.db.QueryRow(ctx, "DELETE FROM oidc_pushed WHERE id = $1 AND client = $2 AND ends > $3 RETURNING form",
		secret.Hash(reference), client, db.At(s.now())).Scan(&form)
	if errors.Is(err, db.ErrNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("take pushed request: %w", err)
	}
	return url.ParseQuery(form)
}

// sweepPushed removes requests that nobody came for.
func (s *store) sweepPushed(ctx context.Context) (int64, error) {
	n, err := s.db.Exec(ctx, "DELETE FROM oidc_pushed WHERE ends <= $1", db.At(s.now()))
	if err != nil {
		return 0, fmt.Errorf("sweep pushed requests: %w", err)
	}
	return n, nil
}
