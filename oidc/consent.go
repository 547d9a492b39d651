package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/signin"
	"beffroi/templates"
)

// consentDue tells whether the person must be asked before the request is
// answered: because the request wants it (prompt=consent, OpenID Connect Core
// §3.1.2.1, whatever the application's rule), because the rule is always, or
// because it is once and something was never allowed.
func (p *Provider) consentDue(ctx context.Context, a *authRequest, person string) (bool, error) {
	switch {
	case a.consent, a.client.Consent == ConsentAlways:
		return true, nil
	case a.client.Consent != ConsentOnce:
		return false, nil
	}
	before, err := p.store.consent(ctx, person, a.client.ID)
	return !within(a.scopes, before.scopes) || !within(a.claimNames(), before.claims), err
}

// claimNames are the claims that the request asks for one by one.
func (a *authRequest) claimNames() []string { return union(a.claims.Userinfo, a.claims.IDToken) }

// ask keeps the request and sends the browser to the question. In a sign-in,
// this joins its transaction: the session and the question begin together.
func (p *Provider) ask(w http.ResponseWriter, r *http.Request, raw []byte, who signin.Result) error {
	id, err := p.store.ask(r.Context(), raw, who)
	if err != nil {
		return err
	}
	return web.Redirect(w, r, "/oauth2/consent?request="+id)
}

// consentPage is GET /oauth2/consent: who asks, for what, and two buttons.
func (p *Provider) consentPage(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("request")
	q, a, err := p.openQuestion(r, id)
	if err != nil {
		return p.answerAuthorizeError(w, r, err)
	}
	person, err := p.directory.ByID(r.Context(), q.person)
	if err != nil {
		return err
	}
	before, err := p.store.consent(r.Context(), q.person, a.client.ID)
	if err != nil {
		return err
	}
	r = inLocales(r, a.form)
	lang := web.Lang(r.Context())
	page := &templates.OidcConsent{
		Request: id, Name: person.DisplayName, Login: person.Login, App: appCard(w, a.client, lang),
		Told: told(lang, a.scopes, a.claimNames()),
	}
	page.App.Host = answerHost(a.redirectURI)
	if a.client.Consent == ConsentOnce && !a.consent {
		// Only what is new is in question; the rest is called to mind.
		known := told(lang, only(a.scopes, before.scopes), only(a.claimNames(), before.claims))
		page.Told, page.Known = without(page.Told, known), known
	}
	page.Title, page.Bare, page.CSS = i18n.T(lang, "oidc.consent.title", "app", page.App.Name), true, appCSS
	web.AllowFormAction(w, a.client.app.Origins...)
	return web.Render(w, r, http.StatusOK, page)
}

// consentAnswer is POST /oauth2/consent, fields request and answer: "allow",
// "deny" or "switch", which signs in as somebody else.
func (p *Provider) consentAnswer(w http.ResponseWriter, r *http.Request) error {
	q, a, err := p.openQuestion(r, web.Field(r, "request"))
	if err != nil {
		return p.answerAuthorizeError(w, r, err)
	}
	switch web.Field(r, "answer") {
	case "allow":
		return p.allowed(w, r, q, a)
	case "deny":
		return p.denied(w, r, q, a)
	case "switch":
		if err := p.store.answered(r.Context(), q); err != nil {
			return gone(err)
		}
		a.prompt = "login"
		return p.begin(w, r, a)
	}
	return web.Fail(http.StatusBadRequest, "oidc.error.consent", errors.New("the answer is none of the page's buttons"))
}

// openQuestion finds the question of this browser's session and reads its
// request again, as strictly as the first time: the application may have
// changed. To anybody else, and once it is answered, there is no question.
func (p *Provider) openQuestion(r *http.Request, plain string) (q question, a *authRequest, err error) {
	ctx := r.Context()
	q, err = p.store.question(ctx, plain)
	if err != nil {
		return q, nil, gone(err)
	}
	if sess := session.From(ctx); sess == nil || sess.SID != q.sid || sess.Person != q.person {
		p.refuse(ctx, nil, audit.Event{Action: "oidc.consent", Target: q.person, Detail: map[string]string{"reason": "session"}})
		return q, nil, web.Fail(http.StatusGone, "oidc.error.consent", errors.New("the question was asked in another session"))
	}
	form, err := url.ParseQuery(string(q.raw))
	if err != nil {
		return q, nil, err
	}
	a, err = p.parseAuthorize(ctx, form)
	return q, a, err
}

// gone makes a page of a question that is not there: unknown, too old, answered,
// or not of this browser. All look the same.
func gone(err error) error {
	if errors.Is(err, db.ErrNotFound) || errors.Is(err, errSpent) {
		return web.Fail(http.StatusGone, "oidc.error.consent", err)
	}
	return err
}

// allowed answers the application. Between the question and the answer the
// person may have been disabled and the rules changed: the gate is asked again.
func (p *Provider) allowed(w http.ResponseWriter, r *http.Request, q question, a *authRequest) error {
	ctx := r.Context()
	who := signin.Result{SID: q.sid, AuthTime: q.authTime, AMR: q.amr, Level: q.level}
	var err error
	who.Person, err = p.admitGrant(ctx, a.client, &grant{Person: q.person, SID: q.sid, Level: q.level})
	switch why := signin.Refused(err); {
	case why != nil && why.Reason == signin.TooWeak:
		return p.begin(w, r, a) // the rule became stricter: what is missing is asked for
	case why != nil:
		p.refuse(ctx, a.client, audit.Event{Action: "oidc.admit", Target: q.person, Detail: map[string]string{"reason": why.Reason}})
		return p.redirectError(w, r, a, "access_denied", "the person may not use this application")
	case err != nil:
		return err
	}
	return gone(p.answerCode(w, r, a, who, func(ctx context.Context) error {
		if err := p.store.answered(ctx, q); err != nil {
			return err
		}
		if err := p.store.allow(ctx, q.person, a.client.ID, a.scopes, a.claimNames()); err != nil {
			return err
		}
		return p.audit.Record(ctx, audit.Person(who.Person.ID, who.Person.Login), audit.Event{Action: "oidc.consent", Target: q.person, Application: a.client.ID, Outcome: "ok",
			Detail: map[string]string{"scope": strings.Join(a.scopes, " "), "claims": strings.Join(a.claimNames(), " ")}})
	}))
}

// denied tells the application that the person said no.
func (p *Provider) denied(w http.ResponseWriter, r *http.Request, q question, a *authRequest) error {
	err := p.store.db.InTx(r.Context(), func(ctx context.Context) error {
		if err := p.store.answered(ctx, q); err != nil {
			return err
		}
		return p.audit.Record(ctx, personHere(ctx, q.person), audit.Event{Action: "oidc.consent", Target: q.person, Application: a.client.ID, Outcome: "refused",
			Detail: map[string]string{"reason": "denied"}})
	})
	if err != nil {
		return gone(err)
	}
	return p.redirectError(w, r, a, "access_denied", "the person did not allow it")
}

// personHere is the person of this browser's session as author of what happens.
func personHere(ctx context.Context, person string) audit.Actor {
	login := ""
	if info := signin.PersonInfo(ctx); info != nil {
		login = info.Login
	}
	return audit.Person(person, login)
}

// without is the part of all that is not in some.
func without(all, some []string) []string {
	var rest []string
	for _, s := range all {
		if len(only([]string{s}, some)) == 0 {
			rest = append(rest, s)
		}
	}
	return rest
}

// appCSS are the style sheets of pages about applications beside app.css.
var appCSS = []string{"signin.css", "oidc.css"}

// appCard is the application as a page shows it. Its picture is allowed in this
// answer.
func appCard(w http.ResponseWriter, c *Client, lang i18n.Lang) templates.OidcApp {
	card := templates.OidcApp{ID: c.ID, Name: c.app.Title(string(lang)), Logo: c.app.Logo, Contact: signin.Contact(c.app.Contact), Newcomer: c.registration.by != ""}
	if card.Logo != "" {
		web.AllowImages(w, originOf(card.Logo))
	}
	for _, link := range []struct {
		field *string
		value string
	}{{&card.Policy, c.Policy}, {&card.Terms, c.Terms}} {
		if strings.HasPrefix(link.value, "https://") {
			*link.field = link.value
		}
	}
	return card
}

// answerHost is where an answer goes, as a person can compare it with what the
// browser showed; empty for an application on the device itself.
func answerHost(redirectURI string) string {
	if u, err := url.Parse(redirectURI); err == nil && u.Scheme == "https" {
		return u.Host
	}
	return ""
}
