package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/signin"

	"github.com/ory/fosite"
)

// Protocol is the name under which the provider's Finisher is registered.
const Protocol = "oidc"

// Finisher returns the provider as signin knows it: register it under Protocol.
func (p *Provider) Finisher() signin.Finisher { return finisher{p} }

// finisher brings a sign-in back to the application. raw is the authorization
// request's form; it is read again as strictly as the first time, because the
// application may have changed while the person looked for the telephone.
type finisher struct{ p *Provider }

var _ signin.Finisher = finisher{}

// Finish makes the code, in the transaction that starts the session.
func (f finisher) Finish(w http.ResponseWriter, r *http.Request, raw []byte, who signin.Result) error {
	p, ctx := f.p, r.Context()
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return err
	}
	a, err := p.parseAuthorize(ctx, form)
	if err != nil {
		return p.answerAuthorizeError(w, r, err)
	}
	if a.hintSub != "" && a.hintSub != p.subject(a.client, who.Person.ID) {
		// OpenID Connect Core §3.1.2.1: not for somebody else than the hint names.
		return p.redirectError(w, r, a, "login_required", "somebody else is signed in")
	}
	if !a.claims.about(p.subject(a.client, who.Person.ID)) {
		return p.redirectError(w, r, a, "login_required", "claims asks for somebody else than is signed in") // §5.5.1
	}
	if _, ok := a.wish.answer(who.Level, a.client); !ok {
		return p.redirectError(w, r, a, "unmet_authentication_requirements", "the sign-in proves less than acr asks")
	}
	switch due, err := p.consentDue(ctx, a, who.Person.ID); {
	case err != nil:
		return err
	case due && a.prompt == "none":
		return p.redirectError(w, r, a, "consent_required", "the person must be asked first")
	case due:
		return p.ask(w, r, raw, who)
	}
	return p.answerCode(w, r, a, who, nil) // on an error nothing of the sign-in is kept; the site answers
}

// answerCode gives the application its code. before joins the transaction that
// stores it.
func (p *Provider) answerCode(w http.ResponseWriter, r *http.Request, a *authRequest, who signin.Result, before func(ctx context.Context) error) error {
	acr, ok := a.wish.answer(who.Level, a.client)
	if !ok {
		return p.redirectError(w, r, a, "unmet_authentication_requirements", "the sign-in proves less than acr asks")
	}
	request, err := p.engine.NewAuthorizeRequest(r.Context(), a.request())
	if err != nil {
		return p.answerAuthorizeError(w, r, a.refuse(err))
	}
	i := &issue{client: a.client, person: who.Person, grant: grant{
		Client: a.client.ID, Person: who.Person.ID, SID: who.SID, Offline: slices.Contains(a.scopes, "offline_access"), Scope: strings.Join(a.scopes, " "),
		ACR: acr, AMR: strings.Join(amrFor(a.client, who.AMR), " "), Level: who.Level, AuthTime: db.At(who.AuthTime), Nonce: a.nonce, RedirectURI: a.redirectURI, Challenge: a.challenge, Claims: a.claims.stored(), Resources: a.resources,
	}}
	if before == nil && !p.store.db.InTransaction(r.Context()) {
		before = func(ctx context.Context) error { return p.entered(ctx, i) }
	}
	response, err := p.makeCode(r.Context(), request, i, before)
	if err != nil {
		return err
	}
	return p.redirectBack(w, r, a, response.GetParameters())
}

// makeCode stores the authorization, together with what before stores.
func (p *Provider) makeCode(ctx context.Context, request fosite.AuthorizeRequester, i *issue, before func(ctx context.Context) error) (response fosite.AuthorizeResponder, err error) {
	if before == nil {
		return p.engine.NewAuthorizeResponse(ctx, request, i)
	}
	err = p.store.db.InTx(ctx, func(ctx context.Context) error {
		if err := before(ctx); err != nil {
			return err
		}
		response, err = p.engine.NewAuthorizeResponse(ctx, request, i)
		return err
	})
	return response, err
}

// entered writes the audit row of somebody who enters by an open session. A
// sign-in, whose transaction Finish joins, has its own.
func (p *Provider) entered(ctx context.Context, i *issue) error {
	return p.audit.Record(ctx, audit.Person(i.person.ID, i.person.Login), audit.Event{
		Action: "oidc.authorize", Target: i.person.ID, Application: i.client.ID, Outcome: "ok", Detail: map[string]string{"sid": i.grant.SID}})
}

// Refuse answers a request that may show no page.
func (f finisher) Refuse(w http.ResponseWriter, r *http.Request, raw []byte, why signin.Refusal) error {
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return err
	}
	a, err := f.p.parseAuthorize(r.Context(), form)
	if err != nil {
		return f.p.answerAuthorizeError(w, r, err)
	}
	reason := why.Reason
	if reason == "" {
		reason = "access_denied"
	}
	return f.p.redirectError(w, r, a, reason, "the request could not be answered without a page")
}

// Application reads the application again, at each step of the sign-in.
func (f finisher) Application(ctx context.Context, raw []byte) (signin.Application, error) {
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return signin.Application{}, err
	}
	c, err := f.p.clients.Get(ctx, form.Get("client_id"))
	if errors.Is(err, ErrUnknownClient) {
		return signin.Application{}, db.ErrNotFound
	}
	if err != nil {
		return signin.Application{}, err
	}
	return c.app, nil
}

// admitGrant asks the gate about the person behind an authorization. Without
// offline_access the session must be alive; with it, the sign-in must be later
// than the last sign-out everywhere.
func (p *Provider) admitGrant(ctx context.Context, c *Client, g *grant) (directory.Person, error) {
	if err := sureEnough(c, g); err != nil {
		return directory.Person{}, err
	}
	if offline, err := p.outlivesSession(ctx, g); err != nil {
		return directory.Person{}, err
	} else if offline {
		return p.gate.AdmitOffline(ctx, g.Person, c.app, g.AuthTime.Time)
	}
	return p.gate.Admit(ctx, g.Person, c.app, g.SID)
}

// outlivesSession tells whether the authorization does, and its application may
// still have such: with the scope taken away, it lives as long as its session.
// One that never had a session (JWT bearer) has no such end.
func (p *Provider) outlivesSession(ctx context.Context, g *grant) (bool, error) {
	if !g.Offline || g.SID == "" {
		return g.Offline, nil
	}
	owner, err := p.clients.Get(ctx, g.Client)
	if errors.Is(err, ErrUnknownClient) {
		return false, nil
	}
	return err == nil && slices.Contains(owner.Scopes, "offline_access"), err
}

// admitTo asks the gate whether the person of an authorization may use an
// application now, be it the one that a token was issued to or a resource.
// Ended sessions have ended the token already (SessionEnded), so the
// directory's facts, at most 60 seconds old, are what is left to ask.
func (p *Provider) admitTo(ctx context.Context, c *Client, g *grant) (directory.Person, error) {
	if err := sureEnough(c, g); err != nil {
		return directory.Person{}, err
	}
	return p.gate.Admit(ctx, g.Person, c.app, "")
}

// admitNow asks the gate whether a token's person may still use it: the
// application that it was issued to, and the resource that it is for.
func (p *Provider) admitNow(ctx context.Context, c *Client, l *living) (directory.Person, error) {
	for _, audience := range words(l.Audience) {
		resource, err := p.clients.resource(ctx, audience)
		if errors.Is(err, ErrUnknownClient) {
			continue // removed: there is no rule, and nobody left to ask about the token
		}
		if err == nil {
			_, err = p.admitTo(ctx, resource, &l.grant)
		}
		if err != nil {
			return directory.Person{}, err
		}
	}
	if l.Refresh {
		return p.admitGrant(ctx, c, &l.grant) // a session that has expired, and that nothing has swept yet, would refuse it
	}
	return p.admitTo(ctx, c, &l.grant)
}

// sureEnough refuses an authorization whose sign-in proved less than the
// application asks now: its rule may have become stricter since, and a resource
// may ask more than the application that holds the token. It stands before
// every question to the gate about an authorization.
func sureEnough(c *Client, g *grant) error {
	if g.level() < c.app.Policy.Least() {
		return &signin.ErrRefused{Reason: signin.TooWeak, Groups: c.app.Policy.Groups}
	}
	return nil
}

// begin hands a checked request over to signin.
func (p *Provider) begin(w http.ResponseWriter, r *http.Request, a *authRequest) error {
	assurance, _ := a.wish.level(p.signin.Highest())
	return p.signin.Begin(w, r, signin.Request{
		Application: a.client.app, Protocol: Protocol, Raw: []byte(a.form.Encode()), LoginHint: a.loginHint, UILocales: a.uiLocales,
		Prompt: a.prompt, MaxAge: a.maxAge, Assurance: max(assurance, a.least), Received: p.now().Truncate(time.Microsecond),
	})
}

// refuse turns what fosite found after our own reading into an answer.
func (a *authRequest) refuse(err error) error {
	var e *fosite.RFC6749Error
	if !errors.As(err, &e) {
		return err
	}
	code, description, _ := protocolError(e)
	return &authError{request: a, code: code, description: description, cause: err}
}
