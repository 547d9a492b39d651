package oidc

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"

	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/templates"
)

// leaveAfter is how long, in seconds, the page of a sign-out waits for the
// frames of the other applications when no script tells it that they are done.
const leaveAfter = "5"

// Frames are the addresses that sign the applications of a session out in the
// browser itself (OpenID Connect Front-Channel Logout 1.0 §2). Ask before the
// session is ended, and show them after.
func (p *Provider) Frames(ctx context.Context, person, sid string) ([]templates.Frame, error) {
	present, err := p.store.parties(ctx, person, sid)
	if err != nil {
		return nil, err
	}
	var all []templates.Frame
	for _, one := range present {
		c, err := p.clients.Get(ctx, one.client)
		if errors.Is(err, ErrUnknownClient) || err == nil && c.FrontchannelLogout == "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		f := templates.Frame{Name: c.app.Title(string(web.Lang(ctx))), URL: c.FrontchannelLogout}
		if c.FrontchannelSession {
			f.URL = withParameters(f.URL, url.Values{"iss": {p.cfg.Issuer}, "sid": {sid}})
		}
		all = append(all, f)
	}
	return all, nil
}

// leave shows the page that signs the other applications out and then goes
// back: by itself, by a script sooner, by its link at any time.
func leave(w http.ResponseWriter, r *http.Request, back string, frames []templates.Frame) error {
	lang := web.Lang(r.Context())
	page := &templates.OidcLeaving{Frames: frames, Next: template.URL(back)} // registered, character by character
	page.Title, page.Bare, page.JS = i18n.T(lang, "oidc.leaving.title"), true, []string{"leaving.js"}
	web.AllowFrames(w, frames)
	w.Header().Set("Refresh", leaveAfter+"; url="+back)
	return web.Render(w, r.WithContext(session.With(r.Context(), nil)), http.StatusOK, page)
}
