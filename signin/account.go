package signin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// The account page is an application like any other, answered within the house.
const accountProtocol = "account"

type accountFinisher struct{}

// application is the account, or the desk for its pages: rules may ask more there.
func (accountFinisher) application(path string) Application {
	app := accountApplication()
	if path == "/helpdesk" || strings.HasPrefix(path, "/helpdesk/") || strings.HasPrefix(path, "/helpdesk?") {
		app.ID, app.Name = "helpdesk", map[string]string{"fr": "L’assistance", "en": "The helpdesk"}
	}
	return app
}

func accountApplication() Application {
	return Application{
		ID: "account", Name: map[string]string{"fr": "Mon compte", "en": "My account"},
		// The password is enough to read it; it shows no secret and changes
		// nothing but the end of one's own sessions.
		Policy: Policy{Assurance: OneFactor},
	}
}

func (f accountFinisher) Application(_ context.Context, raw []byte) (Application, error) {
	return f.application(string(raw)), nil
}

func (accountFinisher) Finish(w http.ResponseWriter, r *http.Request, raw []byte, _ Result) error {
	return web.Redirect(w, r, web.LocalPath(string(raw)))
}

func (accountFinisher) Refuse(http.ResponseWriter, *http.Request, []byte, Refusal) error {
	return web.Fail(http.StatusForbidden, "signin.error.request", nil)
}

// AccountRequest is for Begin: somebody who is not signed in comes to a page of
// their own account, this or another folder's, and goes on there.
func AccountRequest(path string) Request {
	return Request{Application: accountFinisher{}.application(path), Protocol: accountProtocol, Raw: []byte(path)}
}

// Visitor is who is signed in at the provider, for the pages of other folders.
type Visitor struct {
	Person   string // ID; empty when nobody is signed in
	Login    string
	Name     string
	SID      string    // public id of the session
	AuthTime time.Time // of the sign-in
	FactorAt time.Time // of the latest second factor; zero when none was given
	Level    Level
}

// Actor is the visitor as author of what happens.
func (v Visitor) Actor() audit.Actor { return audit.Person(v.Person, v.Login) }

// VisitorOf returns who is signed in; the zero Visitor when nobody is.
func VisitorOf(ctx context.Context) Visitor {
	sess, data := dataOf(ctx)
	if sess == nil {
		return Visitor{}
	}
	return Visitor{Person: sess.Person, Login: data.Login, Name: data.Name, SID: sess.SID, AuthTime: data.authTime(), FactorAt: latest(data.Factors), Level: data.Level}
}

// Fresh returns who is signed in when a second factor was proven at most within
// ago. Otherwise ok is false and the answer is written: a sign-in that asks for
// what is missing and comes back to path, a page of the provider.
func (s *Service) Fresh(w http.ResponseWriter, r *http.Request, path string, within time.Duration) (v Visitor, ok bool, err error) {
	req := AccountRequest(path)
	req.Assurance, req.Fresh, req.Received = TwoFactors, within, s.now()
	f := newFlow(req, s.now().Add(s.cfg.FlowLife))
	step, _, err := s.next(r.Context(), attempt{flow: f, app: req.Application, proof: proofOf(r.Context())})
	if err != nil {
		return v, false, err
	}
	// What may be put off was put off at the sign-in.
	if step.Kind == Done || step.Kind == AskEnrol && step.Later {
		return VisitorOf(r.Context()), true, nil
	}
	return v, false, s.Begin(w, r, req)
}

// needSession returns the session, or begins a sign-in that comes back here.
func (s *Service) needSession(w http.ResponseWriter, r *http.Request, path string) (*session.Session, sessionData, error) {
	sess, data := dataOf(r.Context())
	if sess != nil {
		return sess, data, nil
	}
	return nil, data, s.Begin(w, r, AccountRequest(path))
}

// mine returns the session and who it is of, as the directory says now, for a
// page of one's own account; or it has answered: person.ID is empty then.
func (s *Service) mine(w http.ResponseWriter, r *http.Request, path string) (person directory.Person, sess *session.Session, data sessionData, err error) {
	if sess, data, err = s.needSession(w, r, path); sess == nil {
		return person, nil, data, err
	}
	person, err = s.gate.Admit(r.Context(), sess.Person, accountApplication(), "")
	if no := Refused(err); no != nil {
		return directory.Person{}, sess, data, s.notAdmitted(w, r, Flow{}, accountApplication(), no, sess.Person)
	}
	if err != nil {
		return directory.Person{}, sess, data, s.directoryDown(err)
	}
	return person, sess, data, nil
}

// changeFresh is how long ago a factor may have been given for one's own factors
// to be looked into; a form that was open for a while still goes through.
const (
	changeFresh = 15 * time.Minute
	formFresh   = 30 * time.Minute
)

// mayChange is mine for pages that change what protects the account: a factor
// was given lately, or is asked for now. The way back leads to path.
func (s *Service) mayChange(w http.ResponseWriter, r *http.Request, path string) (person directory.Person, sess *session.Session, err error) {
	within := changeFresh
	if r.Method == http.MethodPost {
		within = formFresh
	}
	if _, ok, err := s.Fresh(w, r, path, within); !ok {
		return person, nil, err
	}
	person, sess, _, err = s.mine(w, r, path)
	return person, sess, err
}

// renderMine writes a page of one's own account in the frame of the site.
func (s *Service) renderMine(w http.ResponseWriter, r *http.Request, status int, title string, page templates.Page) error {
	frame := page.Frame()
	frame.Title, frame.CSS = title, append(frame.CSS, accountCSS...)
	return web.Render(w, r, status, page)
}

// accountDone are the words for what was just done, by the value of ?done=.
var accountDone = map[string]string{
	"passkey": "account.done.passkey", "totp": "account.done.totp", "removed": "account.done.removed", "renamed": "account.done.renamed",
	"recovery": "account.done.recovery", "session": "account.done.session", "mail": "account.done.mail", "key": "account.done.key",
}

// doneWords is the sentence of ?done=; empty for any other value.
func doneWords(r *http.Request) string {
	if key := accountDone[r.URL.Query().Get("done")]; key != "" {
		return text(r, key)
	}
	return ""
}

// showAccount answers GET /account: who am I, what protects me, where am I
// signed in.
func (s *Service) showAccount(w http.ResponseWriter, r *http.Request) error {
	person, sess, data, err := s.mine(w, r, "/account")
	if person.ID == "" {
		return err
	}
	ctx := r.Context()
	factors, err := s.mfa.Factors(ctx, person.ID)
	if err != nil {
		return err
	}
	page := &templates.AccountOverview{
		Name: displayName(person), Login: person.Login, Mail: person.Mail, Function: person.Title, Groups: s.groupNames(r, person.Groups),
		Passkeys: s.mfa.Passkeys(), MailCodes: s.mfa.MailCodes(), Few: mfa.FewCodes, Contact: s.contact(), Done: doneWords(r),
	}
	for _, f := range factors {
		info := s.factorInfo(r, f)
		switch f.Kind {
		case mfa.Device:
			page.Devices = append(page.Devices, info)
		case mfa.Recovery:
			page.Recovery = &info
		case mfa.TOTP:
			page.HasTOTP = true
			page.Factors = append(page.Factors, info)
		default:
			page.HasPasskey = page.HasPasskey || f.Kind == mfa.Passkey
			page.Factors = append(page.Factors, info)
		}
	}
	keys, err := s.mfa.KeysOf(ctx, person.ID)
	if err != nil {
		return err
	}
	page.OTPKeys = len(keys) > 0
	slices.SortStableFunc(page.Factors, func(a, b templates.AccountFactorInfo) int { return strength(a.Kind) - strength(b.Kind) })
	if page.Sessions, err = s.sessionInfos(r, sess); err != nil {
		return err
	}
	page.Since, page.Strong = s.Local(data.authTime()), int(data.Level)
	if page.History, _, err = s.history(r, person.ID, "", 5); err != nil {
		return err
	}
	accepted, err := s.mfa.Accepted(ctx, person.ID)
	if err != nil {
		return err
	}
	if accepted != nil {
		page.Accepted, page.JS = string(accepted), passkeyJS
	}
	return s.renderMine(w, r, http.StatusOK, text(r, "signin.account.title"), page)
}

// strength orders kinds of factors, the strongest first.
func strength(kind string) int {
	return slices.Index([]mfa.Method{mfa.Passkey, mfa.Key, mfa.TOTP, mfa.Mail, mfa.Pass, mfa.Recovery, mfa.Device}, mfa.Method(kind))
}

// factorInfo is a factor as pages show it.
func (s *Service) factorInfo(r *http.Request, f mfa.Factor) templates.AccountFactorInfo {
	info := templates.AccountFactorInfo{
		ID: f.ID, Kind: string(f.Kind), Name: f.Name, Detail: f.Detail, Left: f.Left,
		Created: s.Local(f.Created), Used: s.Local(f.Used), Ends: s.Local(f.Ends),
	}
	if f.Kind == mfa.Device {
		info.Name, info.Detail = s.browserName(r, f.Name), s.place(f.Detail)
	}
	return info
}

// Zone is that of the times that pages show.
func (s *Service) Zone() *time.Location { return s.zone }

// Local is t as the academy's clocks show it; never stays never.
func (s *Service) Local(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(s.zone)
}
