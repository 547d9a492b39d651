package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/templates"
)

// attemptLife is how long somebody may take at the provider.
const attemptLife = 30 * time.Minute

// attemptsKept is how many tabs may be signing in at once.
const attemptsKept = 5

// attempt is one sign-in on its way, sealed in a cookie of the browser that
// began it: nobody else's browser can finish it, and each tab has its own.
type attempt struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Return   string    `json:"r"`
	Begun    time.Time `json:"b"`
	Mandate  bool      `json:"m,omitempty"` // not a sign-in: see mandate.go
}

func (p *Portal) cookiePrefix() string {
	if strings.HasPrefix(p.Config.BaseURL, "https:") {
		return "__Host-beffroi_login_"
	}
	return "beffroi_login_"
}

func (p *Portal) attemptCookie(state, value string, life int) *http.Cookie {
	return &http.Cookie{Name: p.cookiePrefix() + state[:12], Value: value, Path: "/", MaxAge: life,
		Secure: strings.HasPrefix(p.Config.BaseURL, "https:"), HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// Signed guards a page: it runs h for a person with a portal session, sends
// everybody else to the provider and from there back to the same page.
// Errors ErrSignedOut, ErrUnavailable and ErrRefused of h become pages.
func (p *Portal) Signed(h web.Handler) http.Handler {
	return p.site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		row := session.From(r.Context())
		if row == nil {
			return p.askToSignIn(w, r)
		}
		person, _, err := p.unpack(row)
		if err != nil { // sealed with a key that is gone, or not ours: start again
			p.log.WarnContext(r.Context(), "portal session cannot be read", "error", err)
			return p.over(w, r)
		}
		shared, over, err := p.present(r.Context(), r, row.SID)
		if err != nil {
			return err
		}
		if over {
			return p.endShared(w, r)
		}
		v := visit{person: person, sid: row.SID}
		if shared {
			v.lock = p.Config.SharedLock
		}
		ctx := context.WithValue(r.Context(), contextKey{}, v)
		if err = p.Check(ctx); err == nil {
			err = h(w, r.WithContext(ctx))
		}
		switch {
		case errors.Is(err, ErrSignedOut):
			p.log.InfoContext(r.Context(), "portal session ended by the provider", "reason", err)
			return p.over(w, r)
		case errors.Is(err, ErrUnavailable):
			return web.Fail(http.StatusServiceUnavailable, "portal.unavailable", err)
		case errors.Is(err, ErrRefused):
			return web.Fail(http.StatusForbidden, "portal.refused", err)
		}
		return err
	})
}

// over ends this browser's session and asks to sign in again.
func (p *Portal) over(w http.ResponseWriter, r *http.Request) error {
	if row := session.From(r.Context()); row != nil {
		p.vaults.drop(row.SID)
		p.forget(row.Person)
	}
	if err := p.sessions.End(r.Context(), w, r); err != nil {
		return fmt.Errorf("end portal session: %w", err)
	}
	return p.askToSignIn(w, r)
}

// askToSignIn sends a page request straight to the provider. A form that was
// being sent is told so instead, because a redirect would lose what it holds.
func (p *Portal) askToSignIn(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("HX-Request") == "true" {
		current, _ := url.Parse(r.Header.Get("HX-Current-URL"))
		next := "/"
		if current != nil {
			next = returnPath(current.RequestURI())
		}
		w.Header().Set("HX-Redirect", "/login?next="+url.QueryEscape(next))
		w.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		page := &templates.PortalExpired{Layout: p.Layout(r.Context(), "", "portal.expired.title")}
		page.Bare = true
		return web.Render(w, r, http.StatusUnauthorized, page)
	}
	return p.begin(w, r, returnPath(r.URL.RequestURI()))
}

// login is the button of the pages that do not send anybody away by themselves.
func (p *Portal) login(w http.ResponseWriter, r *http.Request) error {
	if over, err := p.overShared(r); err != nil {
		return err
	} else if over {
		return p.logout(w, r)
	}
	return p.begin(w, r, returnPath(r.URL.Query().Get("next")))
}

func (p *Portal) begin(w http.ResponseWriter, r *http.Request, next string) error {
	f, err := p.provider(r.Context())
	if err != nil {
		return web.Fail(http.StatusServiceUnavailable, "portal.unavailable", err)
	}
	return p.leadAway(w, r, f, attempt{Return: next}, oauth2.SetAuthURLParam("ui_locales", string(web.Lang(r.Context()))))
}

// leadAway sends the browser to the provider and remembers the attempt in it.
func (p *Portal) leadAway(w http.ResponseWriter, r *http.Request, f *found, a attempt, more oauth2.AuthCodeOption) error {
	a.State, a.Nonce, a.Verifier, a.Begun = secret.Random(), secret.Random(), oauth2.GenerateVerifier(), p.now()
	plain, err := json.Marshal(a)
	if err != nil {
		return err
	}
	p.forgetOldAttempts(w, r)
	http.SetCookie(w, p.attemptCookie(a.State, p.sealer.Seal("portal.login", string(plain)), int(attemptLife/time.Second)))
	w.Header().Set("Cache-Control", "no-store")
	return web.Redirect(w, r, f.oauth.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier), more))
}

// forgetOldAttempts removes cookies of sign-ins never finished, so that their
// number cannot outgrow what servers accept in one request.
func (p *Portal) forgetOldAttempts(w http.ResponseWriter, r *http.Request) {
	var live []attempt
	for _, c := range r.Cookies() {
		name, ours := strings.CutPrefix(c.Name, p.cookiePrefix())
		if !ours {
			continue
		}
		a, err := p.openAttempt(c.Value)
		if err != nil && len(name) == 12 {
			http.SetCookie(w, p.attemptCookie(name, "", -1))
		} else if err == nil {
			live = append(live, a)
		}
	}
	for len(live) >= attemptsKept {
		oldest := 0
		for i, a := range live {
			if a.Begun.Before(live[oldest].Begun) {
				oldest = i
			}
		}
		http.SetCookie(w, p.attemptCookie(live[oldest].State, "", -1))
		live = append(live[:oldest], live[oldest+1:]...)
	}
}

func (p *Portal) openAttempt(sealed string) (attempt, error) {
	var a attempt
	plain, err := p.sealer.Open("portal.login", sealed)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(plain), &a); err != nil {
		return a, err
	}
	if age := p.now().Sub(a.Begun); age > attemptLife || age < -time.Minute || len(a.State) < 12 {
		return a, errors.New("sign-in attempt is too old")
	}
	return a, nil
}

// attemptOf finds the attempt that this answer of the provider belongs to.
func (p *Portal) attemptOf(r *http.Request) (attempt, error) {
	state := r.URL.Query().Get("state")
	if len(state) < 12 {
		return attempt{}, errors.New("answer without state")
	}
	cookie, err := r.Cookie(p.cookiePrefix() + state[:12])
	if err != nil {
		return attempt{}, errors.New("no sign-in of this browser has this state")
	}
	a, err := p.openAttempt(cookie.Value)
	if err != nil {
		return attempt{}, err
	}
	if !secret.Equal(a.State, state) {
		return attempt{}, errors.New("state differs")
	}
	return a, nil
}

// signedOut is where the provider leads after a logout.
func (p *Portal) signedOut(w http.ResponseWriter, r *http.Request) error {
	if session.From(r.Context()) != nil {
		return web.Redirect(w, r, "/")
	}
	page := &templates.PortalSignedOut{Layout: p.Layout(r.Context(), "", "portal.signedout.title")}
	page.Bare = true
	return web.Render(w, r, http.StatusOK, page)
}

// logout ends the portal's session, gives the grant back and ends the session
// at the provider (OpenID Connect RP-Initiated Logout 1.0).
func (p *Portal) logout(w http.ResponseWriter, r *http.Request) error {
	row := session.From(r.Context())
	if row == nil {
		return web.Redirect(w, r, "/signed-out")
	}
	person, t, unpacked := p.unpack(row)
	if unpacked == nil {
		p.leave(context.WithValue(r.Context(), contextKey{}, visit{person: person, sid: row.SID}))
	}
	p.leaveShared(r.Context(), w, row)
	if err := p.sessions.End(r.Context(), w, r); err != nil {
		return fmt.Errorf("sign out: %w", err)
	}
	p.vaults.drop(row.SID)
	p.forget(row.Person)
	f, err := p.provider(r.Context())
	if err != nil || unpacked != nil || f.endSession == "" {
		return web.Redirect(w, r, "/signed-out")
	}
	p.giveBack(r.Context(), f, t)
	query := url.Values{"id_token_hint": {t.ID}, "client_id": {p.Config.ClientID},
		"post_logout_redirect_uri": {p.Config.BaseURL + "/signed-out"}, "ui_locales": {string(web.Lang(r.Context()))}}
	separator := "?"
	if strings.Contains(f.endSession, "?") {
		separator = "&"
	}
	return web.Redirect(w, r, f.endSession+separator+query.Encode())
}

// leaveLimit is how long a sign-out waits for what modules have to finish.
const leaveLimit = 8 * time.Second

func (p *Portal) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	for _, m := range p.modules {
		if leaving, ok := m.(interface{ Leave(context.Context) }); ok {
			leaving.Leave(ctx)
		}
	}
}

// giveBack revokes the refresh token and with it the tokens of the modules; the
// browser does not wait for it.
func (p *Portal) giveBack(ctx context.Context, f *found, t tokens) {
	if f.revocation == "" || t.Refresh == "" {
		return
	}
	ctx = context.WithoutCancel(ctx)
	p.background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		form := url.Values{"token": {t.Refresh}, "token_type_hint": {"refresh_token"}}
		if err := p.post(ctx, f.revocation, form, nil); err != nil {
			p.log.WarnContext(ctx, "refresh token not revoked; it ends by itself", "error", err)
		}
	})
}
