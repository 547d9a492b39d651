package oidc

import (
	"errors"
	"net/http"
	"net/url"

	"beffroi/internal/web"
)

// authError is a refusal that the application may be told of, at its redirect URI.
type authError struct {
	request           *authRequest // with client, redirectURI and state
	code, description string
	cause             error
}

func (e *authError) Error() string { return e.code + ": " + e.description }
func (e *authError) Unwrap() error { return e.cause }

// authorize is GET /oauth2/authorize.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) error {
	if len(r.URL.RawQuery) > maxAddress {
		return web.Fail(http.StatusBadRequest, "oidc.error.request", errors.New("the authorization request is too long"))
	}
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return web.Fail(http.StatusBadRequest, "oidc.error.request", err)
	}
	if form, err = p.resolve(r.Context(), form); err != nil {
		return p.answerAuthorizeError(w, r, err)
	}
	a, err := p.parseAuthorize(r.Context(), form)
	if err != nil {
		return p.answerAuthorizeError(w, r, err)
	}
	return p.begin(w, r, a)
}

// authorizePost is POST /oauth2/authorize (OpenID Connect Core §3.1.2.1). It
// comes from another site, so it brings no cookie (SameSite=Lax); sent back as
// a GET it does, and passes the same door.
func (p *Provider) authorizePost(w http.ResponseWriter, r *http.Request) error {
	return p.postToGet(w, r, "/oauth2/authorize")
}

// postToGet answers a form posted by another site with a redirect to the same
// page, the form in its address.
func (p *Provider) postToGet(w http.ResponseWriter, r *http.Request, path string) error {
	if r.URL.RawQuery != "" {
		return web.Fail(http.StatusBadRequest, "oidc.error.request", errors.New("parameters in the address and in the body"))
	}
	if err := r.ParseForm(); err != nil {
		return web.Fail(http.StatusBadRequest, "oidc.error.request", err)
	}
	query := r.PostForm.Encode() // what stands twice still does
	if len(query) > maxAddress {
		return web.Fail(http.StatusBadRequest, "oidc.error.request", errors.New("the request is too long"))
	}
	return web.Redirect(w, r, p.cfg.Issuer+path+"?"+query)
}

// answerAuthorizeError sends a refusal to the application where that is safe.
func (p *Provider) answerAuthorizeError(w http.ResponseWriter, r *http.Request, err error) error {
	var e *authError
	if !errors.As(err, &e) {
		return err
	}
	if err := p.redirectError(w, r, e.request, e.code, e.description); err != nil {
		return err
	}
	p.log.InfoContext(r.Context(), "authorization refused", "application", e.request.client.ID, "error", e.Error(), "request", web.RequestID(r.Context()))
	return nil
}
