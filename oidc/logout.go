package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

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
	locale string // ui_locales, as preferred languages
}

// A logoutRefusal is a request that cannot be followed: the person stays signed
// in and here, and reads why.
type logoutRefusal struct {
	why   string // logoutUnread, logoutHint, logoutUnnamed or logoutReturn
	app   *Client
	cause error
}

const (
	logoutUnread  = "unread"  // a parameter stands twice, or cannot be read
	logoutHint    = "hint"    // id_token_hint was not issued here, or to somebody else
	logoutUnnamed = "unnamed" // a return address without an application
	logoutReturn  = "return"  // a return address that is not the application's
)

func (e *logoutRefusal) Error() string { return "logout refused: " + e.cause.Error() }
func (e *logoutRefusal) Unwrap() error { return e.cause }

// logout is GET /oauth2/logout. With a hint for the person who is signed in
// here, the application has shown that it is theirs to end: it ends at once.
// Otherwise the person is asked, so that no page can sign people out.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) error {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return p.refuseLogout(w, r, &logoutRefusal{why: logoutUnread, cause: err})
	}
	r = inLocales(r, form)
	l, err := p.parseLogout(r.Context(), form)
	if err != nil {
		return p.refuseLogout(w, r, err)
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
		return p.refuseLogout(w, r, &logoutRefusal{why: logoutUnread, cause: err})
	}
	r = inLocales(r, r.PostForm)
	l, err := p.parseLogout(r.Context(), r.PostForm)
	if err != nil {
		return p.refuseLogout(w, r, err)
	}
	return p.endAndReturn(w, r, l)
}

// inLocales speaks the language that the application proposes (ui_locales).
func inLocales(r *http.Request, form url.Values) *http.Request {
	preferred := strings.Join(words(form.Get("ui_locales")), ",")
	return r.WithContext(web.PreferLanguage(r.Context(), r, preferred))
}

// parseLogout finds the application by the hint's aud, or by client_id, and
// accepts post_logout_redirect_uri only as registered for it. A refusal is a
// *logoutRefusal. logout_hint is accepted and says nothing that the session
// does not: a browser has one at a time.
func (p *Provider) parseLogout(ctx context.Context, form url.Values) (*logoutRequest, error) {
	l := &logoutRequest{state: form.Get("state"), locale: form.Get("ui_locales")}
	bad := func(why string, cause error) error { return &logoutRefusal{why, l.client, cause} }
	if name := repeated(form); name != "" {
		return nil, bad(logoutUnread, errors.New(printable(name)+" stands twice"))
	}
	id := form.Get("client_id")
	if raw := form.Get("id_token_hint"); raw != "" {
		var err error
		if l.hint, err = p.readHint(ctx, raw); err != nil {
			return nil, bad(logoutHint, err)
		}
		if id != "" && id != l.hint.client {
			return nil, bad(logoutHint, errors.New("client_id is not whom the hint was issued to"))
		}
		id = l.hint.client
	}
	if id != "" {
		c, err := p.clients.Get(ctx, id)
		if errors.Is(err, ErrUnknownClient) {
			return nil, bad(logoutUnnamed, err)
		}
		if err != nil {
			return nil, err
		}
		l.client = c
	}
	if uri := form.Get("post_logout_redirect_uri"); uri != "" {
		if l.client == nil {
			return nil, bad(logoutUnnamed, errors.New("post_logout_redirect_uri without id_token_hint or client_id"))
		}
		if !slices.Contains(l.client.PostLogoutURIs, uri) {
			p.refuse(ctx, nil, audit.Event{Action: "oidc.logout", Application: id, Detail: map[string]string{"reason": "post_logout_redirect_uri", "uri": uri}})
			return nil, bad(logoutReturn, errors.New("post_logout_redirect_uri is not registered"))
		}
		l.back = uri
	}
	return l, nil
}

// refuseLogout says what was wrong with the request, and lets a person who is
// signed in sign out all the same: whoever clicked "sign out" on a shared
// computer should not be left signed in by an application's mistake.
func (p *Provider) refuseLogout(w http.ResponseWriter, r *http.Request, err error) error {
	var no *logoutRefusal
	if !errors.As(err, &no) {
		return err
	}
	lang := web.Lang(r.Context())
	page := &templates.OidcLogoutRefused{Why: no.why, SignedIn: session.From(r.Context()) != nil}
	page.Title, page.Bare = i18n.T(lang, "oidc.logout.refused.title"), true
	if no.app != nil {
		page.Application = no.app.app.Title(string(lang))
	}
	if err := web.Render(w, r, http.StatusBadRequest, page); err != nil {
		return err
	}
	return web.Fail(http.StatusBadRequest, "oidc.logout.refused.title", no) // for the log
}

// askLogout shows the question.
func (p *Provider) askLogout(w http.ResponseWriter, r *http.Request, l *logoutRequest) error {
	lang := web.Lang(r.Context())
	page := &templates.OidcLogout{Back: l.back, State: l.state, Locales: l.locale}
	page.Title, page.Bare = i18n.T(lang, "oidc.logout.title"), true
	if l.client != nil {
		page.Client, page.Application = l.client.ID, l.client.app.Title(string(lang))
	}
	if l.back != "" {
		web.AllowFormAction(w, originOf(l.back))
	}
	return web.Render(w, r, http.StatusOK, page)
}

// endAndReturn ends this browser's session, if any, and goes where the request
// may go.
func (p *Provider) endAndReturn(w http.ResponseWriter, r *http.Request, l *logoutRequest) error {
	var frames []templates.Frame
	if sess := session.From(r.Context()); sess != nil {
		var err error
		if frames, err = p.Frames(r.Context(), sess.Person, sess.SID); err != nil {
			return err
		}
	}
	if err := p.signin.EndSession(r.Context(), w, r); err != nil {
		return err
	}
	if l.back != "" {
		to := l.back
		if l.state != "" {
			to = withParameters(to, url.Values{"state": {l.state}})
		}
		if len(frames) > 0 {
			return leave(w, r, to, frames)
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	lang := web.Lang(r.Context())
	page := &templates.OidcLoggedOut{Frames: frames}
	page.Title, page.Bare = i18n.T(lang, "oidc.loggedout.title"), true
	if l.client != nil {
		page.Application, page.Home = l.client.app.Title(string(lang)), l.client.Home
	}
	web.AllowFrames(w, frames)
	return web.Render(w, r.WithContext(session.With(r.Context(), nil)), http.StatusOK, page)
}
