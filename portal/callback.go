package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/oauth2"

	"beffroi/internal/audit"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
)

// callback receives the provider's answer (RFC 6749 §4.1.2) and, when it is
// whole, starts the portal's own session.
func (p *Portal) callback(w http.ResponseWriter, r *http.Request) error {
	a, err := p.attemptOf(r)
	if err != nil {
		if session.From(r.Context()) != nil { // the back button, or a reloaded address
			return web.Redirect(w, r, "/")
		}
		return web.Fail(http.StatusBadRequest, "portal.callback.stale", err)
	}
	http.SetCookie(w, p.attemptCookie(a.State, "", -1)) // an attempt ends with its first answer
	w.Header().Set("Cache-Control", "no-store")
	f, err := p.provider(r.Context())
	if err != nil {
		return web.Fail(http.StatusServiceUnavailable, "portal.unavailable", err)
	}
	if err := p.rightIssuer(f, r); err != nil {
		return p.distrust(r.Context(), err)
	}
	if code := r.URL.Query().Get("error"); code != "" {
		if a.Mandate {
			return web.Redirect(w, r, withoutMandate(a.Return))
		}
		return refusedBy(code, r.URL.Query().Get("error_description"))
	}
	person, t, err := p.redeem(r.Context(), f, r.URL.Query().Get("code"), a)
	switch {
	case errors.Is(err, ErrUnavailable):
		return web.Fail(http.StatusServiceUnavailable, "portal.unavailable", err)
	case refusal(err) != nil: // the code is used or too old: beginning again is cheap
		return web.Fail(http.StatusBadRequest, "portal.callback.stale", err)
	case err != nil:
		return p.distrust(r.Context(), err)
	}
	if a.Mandate {
		return p.keepMandate(w, r, f, a, person, t)
	}
	if err := p.start(w, r, f, person, t); err != nil {
		return err
	}
	return web.Redirect(w, r, a.Return)
}

// rightIssuer holds RFC 9207 §2.4: an answer that names another issuer, or none
// where the provider promised one, is a mix-up.
func (p *Portal) rightIssuer(f *found, r *http.Request) error {
	iss, given := r.URL.Query()["iss"]
	if !given && !f.alwaysIss {
		return nil
	}
	if len(iss) != 1 || iss[0] != p.Config.Issuer {
		return fmt.Errorf("answer comes from issuer %q, not from %q", iss, p.Config.Issuer)
	}
	return nil
}

// refusedBy turns an error answer (RFC 6749 §4.1.2.1) into a page.
func refusedBy(code, description string) error {
	cause := fmt.Errorf("provider answered %.60q: %.200q", code, description)
	switch code {
	case "access_denied":
		return web.Fail(http.StatusForbidden, "portal.callback.denied", cause)
	case "temporarily_unavailable", "server_error":
		return web.Fail(http.StatusServiceUnavailable, "portal.unavailable", cause)
	case "login_required", "interaction_required":
		return web.Fail(http.StatusUnauthorized, "portal.callback.stale", cause)
	}
	return web.Fail(http.StatusBadGateway, "portal.callback.failed", cause)
}

// distrust refuses an answer that is not what this browser asked for.
func (p *Portal) distrust(ctx context.Context, cause error) error {
	p.audit.Refuse(ctx, audit.Anonymous(), audit.Event{Action: "portal.signin", Application: p.Config.ClientID,
		Outcome: "refused", Detail: map[string]string{"reason": cause.Error()}})
	return web.Fail(http.StatusBadRequest, "portal.callback.failed", cause)
}

// claims are the facts about a person in ID token and userinfo.
type claims struct {
	Sub    string   `json:"sub"`
	Login  string   `json:"preferred_username"`
	Name   string   `json:"name"`
	Mail   string   `json:"email"`
	Locale string   `json:"locale"`
	Groups []string `json:"groups"`
	AZP    string   `json:"azp"`
	SID    string   `json:"sid"`
}

// redeem exchanges the code and checks the ID token (OpenID Connect Core
// §3.1.3.7); go-oidc leaves nonce, azp and the presence of sub to the caller.
func (p *Portal) redeem(ctx context.Context, f *found, code string, a attempt) (Person, tokens, error) {
	if code == "" {
		return Person{}, tokens{}, errors.New("answer without a code")
	}
	answer, err := f.oauth.Exchange(p.withClient(ctx), code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		if r := refusal(err); r != nil && r.Code != "invalid_client" {
			return Person{}, tokens{}, r
		}
		return Person{}, tokens{}, fmt.Errorf("redeem code: %w: %w", ErrUnavailable, err)
	}
	raw, _ := answer.Extra("id_token").(string)
	if raw == "" {
		return Person{}, tokens{}, errors.New("answer without an ID token")
	}
	id, err := f.verifier.Verify(p.withClient(ctx), raw)
	if err != nil {
		return Person{}, tokens{}, fmt.Errorf("ID token: %w", err)
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return Person{}, tokens{}, fmt.Errorf("ID token: %w", err)
	}
	switch {
	case id.Subject == "":
		return Person{}, tokens{}, errors.New("ID token names nobody")
	case id.Nonce == "" || !secret.Equal(id.Nonce, a.Nonce):
		return Person{}, tokens{}, errors.New("ID token has another nonce")
	case (len(id.Audience) > 1 || c.AZP != "") && c.AZP != p.Config.ClientID:
		return Person{}, tokens{}, fmt.Errorf("ID token was issued to %q", c.AZP)
	case !slices.Contains(id.Audience, p.Config.ClientID):
		return Person{}, tokens{}, errors.New("ID token is for somebody else")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(answer.AccessToken); err != nil {
			return Person{}, tokens{}, fmt.Errorf("ID token: %w", err)
		}
	}
	if (c.Login == "" || c.Name == "" || c.Groups == nil) && f.userinfo != "" {
		var more claims
		if err := p.get(ctx, f.userinfo, answer.AccessToken, &more); err != nil {
			return Person{}, tokens{}, fmt.Errorf("userinfo: %w", err)
		}
		if more.Sub != id.Subject {
			return Person{}, tokens{}, errors.New("userinfo is about somebody else")
		}
		more.AZP, more.SID, c = c.AZP, c.SID, more
	}
	person := Person{Sub: id.Subject, Login: c.Login, Name: c.Name, Mail: c.Mail, Language: c.Locale, Groups: c.Groups}
	if person.Name == "" {
		person.Name = person.Login
	}
	return person, tokens{Access: answer.AccessToken, Expires: p.expiry(answer), Refresh: answer.RefreshToken,
		ID: raw, SID: c.SID, Obtained: p.now()}, nil
}

// start opens the portal session; a former one of this browser ends and its
// grant is given back.
func (p *Portal) start(w http.ResponseWriter, r *http.Request, f *found, person Person, t tokens) error {
	data, err := p.pack(person, t)
	if err != nil {
		return err
	}
	web.RememberLanguage(r.Context(), w, r, person.Language)
	// Each sign-in has a name of its own: two tabs that finish together would
	// otherwise claim the same one.
	unnamed := r.WithContext(session.With(r.Context(), nil))
	err = p.db.InTx(r.Context(), func(ctx context.Context) error {
		sess, err := p.sessions.Start(ctx, w, unnamed, person.Sub, data)
		if err != nil {
			return fmt.Errorf("start portal session: %w", err)
		}
		if err := p.keepOrigin(ctx, sess.SID, t.SID); err != nil {
			return err
		}
		return p.audit.Record(ctx, audit.Person(person.Sub, person.Login),
			audit.Event{Action: "portal.signin", Target: person.Sub, Application: p.Config.ClientID, Outcome: "ok"})
	})
	if err != nil {
		return err
	}
	if former := session.From(r.Context()); former != nil {
		p.vaults.drop(former.SID)
		p.forget(former.Person)
		if _, old, err := p.unpack(former); err == nil {
			p.giveBack(r.Context(), f, old)
		}
	}
	return nil
}
