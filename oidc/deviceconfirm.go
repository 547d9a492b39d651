package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/signin"
	"beffroi/templates"
)

// showDeviceConfirm is GET /device/confirm: what is asked, or what was answered.
// Only the session that typed the code sees it.
func (p *Provider) showDeviceConfirm(w http.ResponseWriter, r *http.Request) error {
	ctx, sess := r.Context(), session.From(r.Context())
	id := r.URL.Query().Get("request")
	d, c, err := p.claimedDevice(ctx, id, sess)
	if errors.Is(err, db.ErrNotFound) {
		return p.renderDevice(w, r, http.StatusGone, templates.OidcDevice{Problem: "gone"})
	}
	if err != nil {
		return err
	}
	if d.Decided.IsZero() && !p.now().Before(d.Expires.Time) {
		return p.renderDevice(w, r, http.StatusGone, templates.OidcDevice{Problem: "late"})
	}
	person, err := p.gate.Admit(ctx, d.Person, c.app, d.SID)
	if signin.Refused(err) != nil {
		return web.Fail(http.StatusForbidden, "oidc.error.device.person", err)
	}
	if err != nil {
		return err
	}
	lang := web.Lang(ctx)
	page := &templates.OidcDeviceConfirm{
		Request: d.ID, App: appCard(w, c, lang), Name: person.DisplayName, Login: person.Login, Told: told(lang, words(d.Scope), nil),
		Address: d.Address, Minutes: int(p.now().Sub(d.Created.Time).Minutes()),
		Near:    d.Address != "" && d.Address == web.ClientIP(ctx).Unmap().String(),
		Decided: !d.Decided.IsZero(), Allowed: d.Allowed,
	}
	if page.Code, err = p.sealer.Open("device:"+d.ID, d.Shown); err != nil {
		return err
	}
	page.Title, page.Bare, page.CSS = i18n.T(lang, "oidc.device.confirm.title"), true, deviceCSS
	return web.Render(w, r, http.StatusOK, page)
}

// postDeviceConfirm is POST /device/confirm: the answer.
func (p *Provider) postDeviceConfirm(w http.ResponseWriter, r *http.Request) error {
	sess := session.From(r.Context())
	id, answer := web.Field(r, "request"), web.Field(r, "answer")
	if sess == nil {
		return p.renderDevice(w, r, http.StatusGone, templates.OidcDevice{Problem: "gone"})
	}
	var err error
	switch answer {
	case "allow", "refuse":
		err = p.answerDevice(r.Context(), id, sess, answer == "allow")
	case "switch":
		return p.switchDevice(w, r, id, sess)
	default:
		return web.Fail(http.StatusBadRequest, "oidc.error.request", errors.New("the answer is none of the page's buttons"))
	}
	switch {
	case errors.Is(err, db.ErrNotFound):
		// Settled before, late, or of another session: the page says which.
	case signin.Refused(err) != nil:
		return web.Fail(http.StatusForbidden, "oidc.error.device.person", err)
	case err != nil:
		return err
	}
	return web.Redirect(w, r, confirmPage(id))
}

// switchDevice signs in as somebody else, who is then asked instead.
func (p *Provider) switchDevice(w http.ResponseWriter, r *http.Request, id string, sess *session.Session) error {
	d, c, err := p.claimedDevice(r.Context(), id, sess)
	if errors.Is(err, db.ErrNotFound) {
		return web.Redirect(w, r, confirmPage(id))
	}
	if err != nil {
		return err
	}
	return p.beginForDevice(w, r, d, c, "login")
}

// beginForDevice hands a request whose code was typed over to signin.
func (p *Provider) beginForDevice(w http.ResponseWriter, r *http.Request, d device, c *Client, prompt string) error {
	least, err := p.leastFor(r.Context(), d.Resources)
	if err != nil {
		return err
	}
	raw := url.Values{"device": {d.ID}, "client_id": {c.ID}}
	return p.signin.Begin(w, r, signin.Request{Application: c.app, Protocol: DeviceProtocol, Raw: []byte(raw.Encode()), Prompt: prompt, Assurance: least, Received: p.now().Truncate(time.Microsecond)})
}

// claimedDevice is the request whose code the session has typed, with its
// application. db.ErrNotFound for every other one.
func (p *Provider) claimedDevice(ctx context.Context, id string, sess *session.Session) (d device, c *Client, err error) {
	d, _, err = p.store.device(ctx, id)
	if err == nil && (sess == nil || d.Person != sess.Person || d.SID != sess.SID) {
		err = db.ErrNotFound
	}
	if err != nil {
		return d, nil, err
	}
	c, err = p.deviceClient(ctx, d.Client)
	return d, c, err
}

// answerDevice settles a request, and makes its authorization when it is
// allowed, in one transaction. db.ErrNotFound when there is nothing to settle.
func (p *Provider) answerDevice(ctx context.Context, id string, sess *session.Session, allow bool) error {
	d, c, err := p.claimedDevice(ctx, id, sess)
	if err != nil {
		return err
	}
	d.Decided = db.At(p.now())
	g, actor := p.deviceAuthorized(c, d), personHere(ctx, sess.Person)
	if allow {
		if _, err := p.admitGrant(ctx, c, &g); err != nil {
			return err
		}
	}
	return p.store.db.InTx(ctx, func(ctx context.Context) error {
		if err := p.store.decideDevice(ctx, d, allow); err != nil {
			return err
		}
		event := audit.Event{Action: "oidc.device", Target: d.Person, Application: c.ID, Outcome: "ok", Detail: map[string]string{"sid": d.SID, "device_address": d.Address}}
		if !allow {
			event.Outcome, event.Detail["reason"] = "refused", "person"
			return p.audit.Record(ctx, actor, event)
		}
		if err := p.store.createGrant(ctx, g); err != nil {
			return err
		}
		if err := p.store.allow(ctx, d.Person, c.ID, words(d.Scope), nil); err != nil {
			return err
		}
		return p.audit.Record(ctx, actor, event)
	})
}

// deviceAuthorized is the authorization of an allowed request. It has neither
// redirect URI nor PKCE challenge: no browser carries its code.
func (p *Provider) deviceAuthorized(c *Client, d device) grant {
	offline := slices.Contains(words(d.Scope), "offline_access")
	return grant{
		ID: d.ID, Kind: kindDevice, Client: c.ID, Person: d.Person, SID: d.SID, Offline: offline, Scope: d.Scope, Resources: d.Resources,
		ACR: acrName(d.Level, acrWish{}.vocabulary(c)), AMR: strings.Join(amrFor(c, words(d.AMR)), " "), Level: d.Level, AuthTime: d.AuthTime,
		Created: d.Decided, CodeEnds: d.Expires, Ends: p.outlives(d.Decided.Time, offline),
	}
}
