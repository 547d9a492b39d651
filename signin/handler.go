package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// Mount adds the pages to the provider's routes.
func (s *Service) Mount(mux web.Mux, site *web.Site) {
	page := func(pattern string, h web.Handler) { mux.Handle(pattern, site.Browser(h)) }

	page("GET /signin", s.showStep)
	page("POST /signin", s.postPassword)
	page("GET /signin/factor", s.showStep)
	page("POST /signin/factor", s.postFactor)
	page("POST /signin/mailcode", s.postMailCode)
	page("POST /signin/later", s.postLater)
	page("GET /signin/passkey", s.askPasskey)
	page("POST /signin/passkey", s.postPasskey)
	page("POST /signin/enrol/passkey", s.postEnrolPasskey)
	page("POST /signin/enrol/key", s.postEnrolKey)
	page("GET /signin/enrol", s.showStep)
	page("POST /signin/enrol", s.postEnrol)
	page("GET /signin/qr", s.showQR)
	page("GET /signin/lost", s.showLost)
	page("GET /enrol", s.showLetter)
	page("POST /signin/account", s.postAccount)
	page("POST /signin/switch", s.postSwitch)

	page("GET /account", s.showAccount)
	page("GET /account/{$}", s.showAccount)
	page("GET /account/protect", s.showProtect)
	page("GET /account/factors/{id}", s.showFactor)
	page("POST /account/factors/{id}", s.postFactorName)
	page("POST /account/factors/{id}/remove", s.postFactorRemove)
	page("GET /account/passkeys/new", s.showNewPasskey)
	page("GET /account/passkeys/options", s.newPasskeyOptions)
	page("POST /account/passkeys/new", s.postNewPasskey)
	page("GET /account/totp/new", s.showNewTOTP)
	page("GET /account/totp/qr", s.newTOTPQR)
	page("POST /account/totp/new", s.postNewTOTP)
	page("GET /account/key", s.showMyKeys)
	page("POST /account/key", s.postMyKey)
	page("GET /account/recovery", s.showRecovery)
	page("POST /account/recovery", s.postRecovery)
	page("POST /account/recovery/noted", s.postRecoveryNoted)
	page("GET /account/mail", s.showMail)
	page("POST /account/mail", s.postMail)
	page("POST /account/mail/confirm", s.postMailConfirm)
	page("GET /account/card", s.showCard)
	page("POST /account/card", s.postCard)
	page("GET /account/sessions", s.showSessions)
	page("POST /account/sessions", s.postEndSession)
	page("GET /account/history", s.showHistory)
	page("GET /account/lock", s.showLock)
	page("POST /account/lock", s.postLock)
	page("GET /account/notme", s.showNotMe)
	page("POST /account/notme", s.postNotMe)
	page("GET /account/signout", s.showSignOut)
	page("POST /account/signout", s.postSignOut)
	page("POST /logout", s.postLogout)
	page("GET /logout/done", s.showSignedOut)
}

// Begin answers an application's request: at once, when the browser's session
// is enough or no page may be shown, else by storing a flow and redirecting
// (303) to its first page.
func (s *Service) Begin(w http.ResponseWriter, r *http.Request, req Request) error {
	if s.finishers[req.Protocol] == nil || len(req.Raw) > maxRaw {
		return web.Fail(http.StatusBadRequest, "signin.error.request", fmt.Errorf("signin: protocol %q, %d bytes", req.Protocol, len(req.Raw)))
	}
	if req.Received.IsZero() {
		req.Received = s.now()
	}
	f := newFlow(req, s.now().Add(s.cfg.FlowLife))
	step, _, err := s.next(r.Context(), attempt{flow: f, app: req.Application, proof: proofOf(r.Context())})
	if err != nil {
		return err
	}
	switch step.Kind {
	case Done:
		return s.finish(w, r, f, req.Application, step)
	case Refuse:
		return s.refuse(w, r, f, req.Application, step)
	}
	browser := newSecret()
	if err := s.storeFlow(r.Context(), &f, browser); err != nil {
		return err
	}
	s.pruneCookies(w, r)
	s.setFlowCookie(w, f, browser)
	return web.Redirect(w, r, stepURL("/signin", f))
}

func stepURL(path string, f Flow) string { return path + "?flow=" + url.QueryEscape(f.ID) }

// attempt is what every step begins with: the flow, its application as it is
// now, and what the browser's session has proven.
type attempt struct {
	flow  Flow
	app   Application
	proof Proof
	renew *renewal      // a PIN is chosen anew with what is being proven
	mail  mfa.MailProof // the code by e-mail that was just right
	trust time.Duration // this browser is to be trusted for so long, on what is being proven
}

// load reads the attempt that a request belongs to. When there is none, it has
// answered with the page that says so, and ok is false.
func (s *Service) load(w http.ResponseWriter, r *http.Request) (a attempt, ok bool, err error) {
	a.flow, err = s.flow(r)
	switch {
	case errors.Is(err, errNoFlow):
		return a, false, s.renderNotice(w, r, http.StatusGone, "expired", a.flow)
	case errors.Is(err, errOtherBrowser):
		s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "signin.browser", Application: a.flow.Application, Outcome: "refused"})
		return a, false, s.renderNotice(w, r, http.StatusForbidden, "browser", a.flow)
	case err != nil:
		return a, false, err
	}
	finisher := s.finishers[a.flow.Protocol]
	if finisher == nil {
		return a, false, s.renderNotice(w, r, http.StatusGone, "expired", a.flow)
	}
	a.app, err = finisher.Application(r.Context(), a.flow.Raw)
	if errors.Is(err, db.ErrNotFound) {
		return a, false, s.renderNotice(w, r, http.StatusForbidden, "application", a.flow)
	}
	if err != nil {
		return a, false, fmt.Errorf("application of flow: %w", err)
	}
	a.proof = proofOf(r.Context())
	web.AllowFormAction(w, a.app.Origins...)
	allowLogo(w, a.app)
	return a, true, nil
}

// showStep is the dispatcher: it shows the page of what comes next, or gives
// the answer when nothing does. Whatever address a step has, a browser that
// comes too early or goes back sees the step that the flow is at.
func (s *Service) showStep(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, need, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	switch step.Kind {
	case AskPassword:
		return s.renderPassword(w, r, http.StatusOK, a, templates.SigninPassword{Login: a.flow.LoginHint})
	case AskFactor:
		if done, err := s.useTrust(w, r, a, step, need); done || err != nil {
			return err
		}
		return s.renderFactor(w, r, http.StatusOK, a, step, need, templates.SigninFactor{By: r.URL.Query().Get("by")})
	case AskEnrol:
		return s.renderEnrol(w, r, http.StatusOK, a, step, need, templates.SigninEnrol{})
	case AskAccount:
		return s.renderChoice(w, r, a)
	case Refuse:
		return s.refuse(w, r, a.flow, a.app, step)
	}
	return s.finish(w, r, a.flow, a.app, step)
}

// back sends a request that came out of order to the step that the flow is at.
func (s *Service) back(w http.ResponseWriter, r *http.Request, f Flow) error {
	return web.Redirect(w, r, stepURL("/signin", f))
}

// sessionData is what signin keeps in the provider's session.
type sessionData struct {
	PasswordAt time.Time `json:"auth_time,omitzero"` // zero when a passkey stood for it
	Factors    []Given   `json:"factors,omitempty"`
	CodeAt     time.Time `json:"factor_at,omitzero"` // written by the versions that knew codes only
	Agent      string    `json:"agent,omitempty"`    // what the browser called itself at the latest sign-in, and where it was
	Address    string    `json:"address,omitempty"`
	AMR        []string  `json:"amr"`
	Level      Level     `json:"level"`
	Login      string    `json:"login"`
	Name       string    `json:"name"`
	Mail       string    `json:"mail"`
	Lang       string    `json:"lang,omitempty"`
}

// dataOf reads the session of the request; zero without one.
func dataOf(ctx context.Context) (sess *session.Session, data sessionData) {
	sess = session.From(ctx)
	if sess == nil || json.Unmarshal(sess.Data, &data) != nil {
		return nil, sessionData{} // unreadable data proves nothing
	}
	if !data.CodeAt.IsZero() && len(data.Factors) == 0 {
		data.Factors = []Given{{Method: mfa.TOTP, At: data.CodeAt}}
	}
	data.CodeAt = time.Time{}
	return sess, data
}

func proofOf(ctx context.Context) Proof {
	sess, data := dataOf(ctx)
	if sess == nil {
		return Proof{}
	}
	return Proof{Person: sess.Person, SID: sess.SID, PasswordAt: data.PasswordAt, Factors: data.Factors}
}

// authTime is when the person of the session last said who they are.
func (d sessionData) authTime() time.Time { return authTime(d.PasswordAt, d.Factors) }

// PersonInfo names who is signed in, for the top bar of the provider's pages.
func PersonInfo(ctx context.Context) *templates.PersonInfo {
	sess, data := dataOf(ctx)
	if sess == nil {
		return nil
	}
	return &templates.PersonInfo{Name: data.Name, Login: data.Login, Mail: data.Mail}
}

// actorOf is the signed-in person as author of what happens.
func actorOf(person directory.Person) audit.Actor { return audit.Person(person.ID, person.Login) }

// refuse answers a request that no page can help: to the application when it
// forbade pages, to the person otherwise.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, f Flow, app Application, step Step) error {
	if f.Prompt == "none" {
		return s.finishers[f.Protocol].Refuse(w, r, f.Raw, Refusal{Reason: step.Reason})
	}
	reason := "level"
	if step.Reason == NeedsPass {
		reason = "pass"
	}
	s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "signin.level", Target: step.Person, Application: app.ID, Outcome: "refused", Detail: map[string]string{"reason": reason}})
	return s.renderNotice(w, r, http.StatusForbidden, reason, f)
}

// displayName is what pages call a person.
func displayName(p directory.Person) string {
	if name := strings.TrimSpace(p.DisplayName); name != "" {
		return name
	}
	return p.Login
}
