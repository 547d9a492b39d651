package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"beffroi/internal/audit"
	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/templates"
)

// logoutRequest is a request of RP-Initiated Logout 1.0 that has been checked.
type logoutRequest struct {
	client *Client // nil when the request names none
	hint   hint    // zero without an id_token_hint
	back   string  // where to go afterwards: registered, exactly; or ""
	state  string
}

// logout is GET /oauth2/logout. With a hint for the person who is signed in
// here, the application has shown that it is theirs to end: it ends at once.
// Otherwise the person is asked, so that no page can sign people out.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) error {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return web.Fail(http.StatusBadRequest, "oidc.error.logout", err)
	}
	l, err := p.parseLogout(r.Context(), form)
	if err != nil {
		return err
	}
	sess := session.From(r.Context())
	if sess != nil && (l.hint.sub == "" || l.hint.sub != p.subject(l.client, sess.Person) || l.hint.sid != "" && l.hint.sid != sess.SID) {
		return p.askLogout(w, r, l)
	}
	return p.endAndReturn(w, r, l)
}

// logoutPost is POST /oauth2/logout, from another site and so without cookies.
func (p *Provider) logoutPost(w http.ResponseWriter, r *http.Request) error {
	return p.postToGet(w, r, "/oauth2/logout")
}

// logoutConfirm is the button of our own page. What the form says is checked
// like the request that led to it.
func (p *Provider) logoutConfirm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return web.Fail(http.StatusBadRequest, "oidc.error.logout", err)
	}
	l, err := p.parseLogout(r.Context(), r.PostForm)
	if err != nil {
		return err
	}
	return p.endAndReturn(w, r, l)
}

// parseLogout finds the application by the hint's aud, or by client_id, and
// accepts post_logout_redirect_uri only as registered for it.
func (p *Provider) parseLogout(ctx context.Context, form url.Values) (*logoutRequest, error) {
	bad := func(cause error) error { return web.Fail(http.StatusBadRequest, "oidc.error.logout", cause) }
	if name := repeated(form); name != "" {
		return nil, bad(errors.New("a parameter stands twice"))
	}
	l := &logoutRequest{state: form.Get("state")}
	id := form.Get("client_id")
	if raw := form.Get("id_token_hint"); raw != "" {
		var err error
		if l.hint, err = p.readHint(ctx, raw); err != nil {
			return nil, bad(err)
		}
		if id != "" && id != l.hint.client {
			return nil, bad(errors.New("client_id is not whom the hint was issued to"))
		}
		id = l.hint.client
	}
	if id != "" {
		c, err := p.clients.Get(ctx, id)
		if err != nil {
			return nil, bad(err)
		}
		l.client = c
	}
	if uri := form.Get("post_logout_redirect_uri"); uri != "" {
		if l.client == nil || !slices.Contains(l.client.PostLogoutURIs, uri) {
			p.refuse(ctx, nil, audit.Event{Action: "oidc.logout", Application: id, Detail: map[string]string{"reason": "post_logout_redirect_uri", "uri": uri}})
			return nil, bad(errors.New("post_logout_redirect_uri is not registered"))
		}
		l.back = uri
	}
	return l, nil
}

// askLogout shows the question.
func (p *Provider) askLogout(w http.ResponseWriter, r *http.Request, l *logoutRequest) error {
	lang := web.Lang(r.Context())
	page := &templates.OidcLogout{Back: l.back, State: l.state}
	page.Title, page.Bare = i18n.T(lang, "oidc.logout.title"), true
	if l.client != nil {
		page.Client, page.Application = l.client.ID, l.client.app.Title(string(lang))
	}
	if l.back != "" {
		web.AllowFormAction(w, r, originOf(l.back))
	}
	return web.Render(w, r, http.StatusOK, page)
}

// endAndReturn ends this browser's session, if any, and goes where the request
// may go.
func (p *Provider) endAndReturn(w http.ResponseWriter, r *http.Request, l *logoutRequest) error {
	if err := p.signin.EndSession(r.Context(), w, r); err != nil {
		return err
	}
	if l.back != "" {
		to := l.back
		if l.state != "" {
			to = withParameters(to, url.Values{"state": {l.state}})
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	lang := web.Lang(r.Context())
	page := &templates.OidcLoggedOut{}
	page.Title, page.Bare = i18n.T(lang, "oidc.loggedout.title"), true
	if l.client != nil {
		page.Application, page.Home = l.client.app.Title(string(lang)), l.client.Home
	}
	return web.Render(w, r.WithContext(session.With(r.Context(), nil)), http.StatusOK, page)
}
