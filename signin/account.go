package signin

import (
	"context"
	"net/http"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/templates"
)

// The account page is an application like any other, answered within the house.
const accountProtocol = "account"

type accountFinisher struct{}

func accountApplication() Application {
	return Application{
		ID: "account", Name: map[string]string{"fr": "Mon compte", "en": "My account"},
		// The password is enough to read it; it shows no secret and changes
		// nothing but the end of one's own sessions.
		Policy: Policy{Assurance: OneFactor},
	}
}

func (accountFinisher) Application(context.Context, []byte) (Application, error) {
	return accountApplication(), nil
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
	return Request{Application: accountApplication(), Protocol: accountProtocol, Raw: []byte(path)}
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
	v = VisitorOf(r.Context())
	if v.Person != "" && !v.FactorAt.IsZero() && s.now().Sub(v.FactorAt) <= within {
		return v, true, nil
	}
	req := AccountRequest(path)
	req.Assurance, req.Fresh = TwoFactors, within
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

// showAccount answers GET /account: who am I, and what protects me.
func (s *Service) showAccount(w http.ResponseWriter, r *http.Request) error {
	sess, data, err := s.needSession(w, r, "/account")
	if sess == nil {
		return err
	}
	person, err := s.gate.Admit(r.Context(), sess.Person, accountApplication(), "")
	if no := Refused(err); no != nil {
		return s.notAdmitted(w, r, Flow{}, accountApplication(), no, sess.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	factors, err := s.mfa.Factors(r.Context(), sess.Person)
	if err != nil {
		return err
	}
	sessions, err := s.sessions.Count(r.Context(), sess.Person)
	if err != nil {
		return err
	}
	page := &templates.SigninAccount{
		Name: displayName(person), Login: person.Login, Mail: person.Mail, Function: person.Title, Groups: s.groupNames(r, person.Groups),
		Since: s.Local(data.authTime()), TwoFactors: data.Level >= TwoFactors, Sessions: sessions,
		Contact: s.contact(),
	}
	for _, f := range factors {
		page.Factors = append(page.Factors, templates.SigninFactorInfo{Kind: string(f.Kind), Name: f.Name, Created: s.Local(f.Created), Used: s.Local(f.Used)})
	}
	page.Title, page.CSS = text(r, "signin.account.title"), signinCSS
	return web.Render(w, r, http.StatusOK, page)
}

// Local is t as the academy's clocks show it; never stays never.
func (s *Service) Local(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(s.zone)
}
