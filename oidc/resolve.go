package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/web"
)

// resolve is the entry of an authorization request: however it comes (written
// out, pushed before, as a request object or as the address of one), it leaves
// as the plain form that parseAuthorize reads and that is kept across the
// sign-in. This happens once. Nothing of a pushed request or of an object is
// fetched, verified or used up again afterwards (T5): what the person is asked
// about and what is issued in the end is one and the same request.
//
// Its errors are parseAuthorize's.
func (p *Provider) resolve(ctx context.Context, form url.Values) (url.Values, error) {
	object, uri := form.Get("request"), form.Get("request_uri")
	c, err := p.asking(ctx, form)
	if err != nil {
		return nil, err
	}
	no := func(code, description string) error { return c.refuseForm(form, code, description) }
	pushed, isPushed := strings.CutPrefix(uri, pushedPrefix)
	switch {
	case (object != "" || uri != "") && repeated(form, resourceParameter) != "":
		return nil, no("invalid_request", "the parameter "+printable(repeated(form, resourceParameter))+" stands twice")
	case object != "" && uri != "":
		return nil, no("invalid_request", "request and request_uri exclude one another")
	case isPushed:
		form, err := p.store.takePushed(ctx, c.ID, pushed)
		if errors.Is(err, db.ErrNotFound) {
			return nil, no("invalid_request_uri", "the pushed request is unknown, expired or used")
		}
		return form, err
	case c.PARRequired:
		return nil, no("invalid_request", "the application must push its requests first (RFC 9126)")
	case uri != "":
		if object, err = p.fetchObject(ctx, c, form, uri); err != nil {
			return nil, err
		}
	}
	if object != "" {
		return p.objectForm(ctx, c, form, object)
	}
	return form, nil
}

// asking is the application of a request. Without it there is nobody to answer.
func (p *Provider) asking(ctx context.Context, form url.Values) (*Client, error) {
	if len(form["client_id"]) != 1 {
		return nil, web.Fail(http.StatusBadRequest, "oidc.error.client", errors.New("client_id is missing or stands twice"))
	}
	c, err := p.clients.Get(ctx, form.Get("client_id"))
	if errors.Is(err, ErrUnknownClient) {
		p.refuse(ctx, nil, audit.Event{Action: "oidc.authorize", Detail: map[string]string{"reason": "client", "client_id": form.Get("client_id")}})
		return nil, web.Fail(http.StatusBadRequest, "oidc.error.client", err)
	}
	return c, err
}

// homeless is a refusal that has no registered address to go to. It is not an
// authError, so that it cannot be redirected by mistake.
type homeless struct{ code, description string }

func (e *homeless) Error() string { return e.code + ": " + e.description }

// refuseForm refuses a request whose parameters could not be had: to the
// application where what stands beside them says where that is, else on a page.
func (c *Client) refuseForm(form url.Values, code, description string) error {
	a := &authRequest{client: c, redirectURI: form.Get("redirect_uri")}
	no := func(code, description string) error {
		return &authError{request: a, code: code, description: description}
	}
	if len(form["redirect_uri"]) != 1 || !c.may(GrantCode) || !matchRedirect(c.RedirectURIs, a.redirectURI) {
		return web.Fail(http.StatusBadRequest, "oidc.error.request", &homeless{code, description})
	}
	if len(form["state"]) == 1 {
		a.state = form.Get("state")
	}
	if err := a.readMode(form, no); err != nil {
		return err
	}
	return no(code, description)
}
