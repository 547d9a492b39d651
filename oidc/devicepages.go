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

// DeviceProtocol is the name under which DeviceFinisher is registered.
const DeviceProtocol = "device"

// Wrong codes within ten minutes: of one person; from one address by people who
// have not signed in, who are then asked to; from one address by anybody. There
// are 20^8 codes, so nobody finds one that is waiting (RFC 8628 §5.1).
const (
	wrongOfPerson    = 5
	wrongOfStrangers = 20
	wrongOfAddress   = 100
)

// deviceCSS are the style sheets of these pages beside app.css.
var deviceCSS = append(slices.Clone(appCSS), "device.css")

// showDevice is GET /device. A code in the address fills the field and no more:
// whoever follows a link has not yet said that the code is theirs (RFC 8628 §5.4).
func (p *Provider) showDevice(w http.ResponseWriter, r *http.Request) error {
	page := templates.OidcDevice{}
	if code, ok := readUserCode(r.URL.Query().Get("user_code")); ok {
		page.Code, page.Sent = code, true
	}
	return p.renderDevice(w, r, http.StatusOK, page)
}

func (p *Provider) renderDevice(w http.ResponseWriter, r *http.Request, status int, page templates.OidcDevice) error {
	page.Minutes = int(tallyWindow.Minutes())
	page.Title, page.Bare, page.CSS = i18n.T(web.Lang(r.Context()), "oidc.device.title"), true, deviceCSS
	return web.Render(w, r, status, &page)
}

// postDevice is POST /device: the code that somebody typed. A right one leads
// to the sign-in that its application asks, then to the question.
func (p *Provider) postDevice(w http.ResponseWriter, r *http.Request) error {
	typed := web.Field(r, "user_code")
	if strings.TrimSpace(typed) == "" {
		return p.renderDevice(w, r, http.StatusUnprocessableEntity, templates.OidcDevice{Problem: "empty"})
	}
	code, ok := readUserCode(typed)
	if !ok { // no code looks like that, so nothing is given away by saying so
		return p.renderDevice(w, r, http.StatusUnprocessableEntity, templates.OidcDevice{Code: strings.ToValidUTF8(typed[:min(len(typed), 32)], ""), Problem: "shape"})
	}
	d, err := p.guessDevice(r.Context(), code)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return p.renderDevice(w, r, http.StatusUnprocessableEntity, templates.OidcDevice{Code: code, Problem: "wrong"})
	case errors.Is(err, errGuesses) && session.From(r.Context()) == nil:
		return p.signin.Begin(w, r, signin.Request{Application: devicePage(), Protocol: DeviceProtocol, Raw: []byte("page"), Received: p.now().Truncate(time.Microsecond)})
	case errors.Is(err, errGuesses):
		return p.renderDevice(w, r, http.StatusTooManyRequests, templates.OidcDevice{Problem: "wait"})
	case err != nil:
		return err
	}
	c, err := p.deviceClient(r.Context(), d.Client)
	if err != nil {
		return err
	}
	return p.beginForDevice(w, r, d, c, "")
}

// errGuesses: too many wrong codes; none is looked at for a while.
var errGuesses = errors.New("oidc: too many wrong user codes")

// guessDevice finds the request of a typed code, counting the guess before
// looking: of any number at once no more than the limit are looked at.
// db.ErrNotFound for a wrong code, errGuesses when none is looked at.
func (p *Provider) guessDevice(ctx context.Context, code string) (d device, err error) {
	type count struct {
		key   string
		limit int
	}
	address := fromAddress("code", web.ClientIP(ctx))
	counts := []count{{address, wrongOfStrangers}}
	actor, target := audit.Anonymous(), ""
	if sess := session.From(ctx); sess != nil {
		counts = []count{{"code of:" + sess.Person, wrongOfPerson}, {address, wrongOfAddress}}
		actor, target = personHere(ctx, sess.Person), sess.Person
	}
	// What follows is counted even if the visitor has gone: leaving early must
	// not make a guess free.
	ctx = context.WithoutCancel(ctx)
	refuse := func(reason string) {
		p.audit.Refuse(ctx, actor, audit.Event{Action: "oidc.device", Target: target, Outcome: "refused", Detail: map[string]string{"reason": reason}})
	}
	for i, one := range counts {
		ok, err := p.store.take(ctx, one.key, one.limit)
		if err != nil {
			return d, err
		}
		if !ok {
			actor = audit.Anonymous() // without limit, and so capped in the audit
			refuse("guesses")
			for _, taken := range counts[:i] {
				err = errors.Join(err, p.store.giveBack(ctx, taken.key))
			}
			return d, errors.Join(errGuesses, err)
		}
	}
	d, err = p.store.deviceByUserCode(ctx, userCodeHash(code))
	if errors.Is(err, db.ErrNotFound) {
		refuse("code")
		return d, err
	}
	for _, one := range counts {
		err = errors.Join(err, p.store.giveBack(ctx, one.key))
	}
	return d, err
}

// devicePage stands for the page itself, where strangers must sign in before
// they may go on guessing.
func devicePage() signin.Application {
	return signin.Application{ID: "device", Name: map[string]string{"fr": "la page des appareils", "en": "the page for devices"}, Policy: signin.Policy{Assurance: signin.OneFactor}}
}

// deviceClient is the application of a request, if it may still use device codes.
func (p *Provider) deviceClient(ctx context.Context, id string) (*Client, error) {
	c, err := p.clients.Get(ctx, id)
	if err == nil && !c.may(GrantDevice) {
		err = ErrUnknownClient
	}
	if errors.Is(err, ErrUnknownClient) {
		return nil, web.Fail(http.StatusBadRequest, "oidc.error.client", err)
	}
	return c, err
}

// DeviceFinisher returns the device page as signin knows it: register it under
// DeviceProtocol.
func (p *Provider) DeviceFinisher() signin.Finisher { return deviceFinisher{p} }

// deviceFinisher brings somebody who typed a code and signed in to the question.
// raw names the request and its application; without, the sign-in was only asked
// before further guesses.
type deviceFinisher struct{ p *Provider }

var _ signin.Finisher = deviceFinisher{}

// Finish notes who typed the code, in the transaction of the sign-in.
func (f deviceFinisher) Finish(w http.ResponseWriter, r *http.Request, raw []byte, who signin.Result) error {
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return err
	}
	if form.Get("device") == "" {
		return web.Redirect(w, r, "/device")
	}
	// Unclaimed, the next page says that the code has expired.
	if _, err := f.p.store.claimDevice(r.Context(), form.Get("device"), who); err != nil {
		return err
	}
	return web.Redirect(w, r, confirmPage(form.Get("device")))
}

func confirmPage(id string) string { return "/device/confirm?request=" + url.QueryEscape(id) }

// Refuse is for requests that may show no page: there are none here.
func (deviceFinisher) Refuse(http.ResponseWriter, *http.Request, []byte, signin.Refusal) error {
	return web.Fail(http.StatusForbidden, "oidc.error.request", nil)
}

// Application reads the application again, at each step of the sign-in.
func (f deviceFinisher) Application(ctx context.Context, raw []byte) (signin.Application, error) {
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return signin.Application{}, err
	}
	if form.Get("device") == "" {
		return devicePage(), nil
	}
	c, err := f.p.clients.Get(ctx, form.Get("client_id"))
	if errors.Is(err, ErrUnknownClient) || err == nil && !c.may(GrantDevice) {
		return signin.Application{}, db.ErrNotFound
	}
	if err != nil {
		return signin.Application{}, err
	}
	return c.app, nil
}
