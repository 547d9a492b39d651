package signin

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// signinCSS are the style sheets of these pages beside app.css.
var signinCSS = []string{"signin.css"}

// text is a sentence in the reader's language.
func text(r *http.Request, key string, args ...any) string {
	return i18n.T(web.Lang(r.Context()), key, args...)
}

// render writes a page of an attempt, as a narrow card.
func (s *Service) render(w http.ResponseWriter, r *http.Request, status int, title string, page templates.Page) error {
	frame := page.Frame()
	frame.Title, frame.Bare, frame.CSS = title, true, signinCSS
	if r.Method == http.MethodPost {
		// Each step's address shows the step when it is visited: changing the
		// language of a refused form must lead back to its flow.
		visit := *r
		visit.Method = http.MethodGet
		r = &visit
	}
	return web.Render(w, r, status, page)
}

// inLanguage applies the languages that the application proposes, unless the
// person has chosen one.
func inLanguage(r *http.Request, locales string) *http.Request {
	if locales == "" {
		return r
	}
	preferred := strings.Join(strings.Fields(locales), ",")
	return r.WithContext(web.PreferLanguage(r.Context(), r, preferred))
}

func (s *Service) about(r *http.Request, a attempt) templates.SigninAttempt {
	return templates.SigninAttempt{Flow: a.flow.ID, Application: a.app.Title(string(web.Lang(r.Context()))), Logo: a.app.Logo}
}

// allowLogo lets the answer show the application's picture.
func allowLogo(w http.ResponseWriter, app Application) {
	if u, err := url.Parse(app.Logo); err == nil && u.Host != "" {
		web.AllowImages(w, u.Scheme+"://"+u.Host)
	}
}

// aboutPerson is about with the name of the person who is signing in.
func (s *Service) aboutPerson(r *http.Request, a attempt, id string) templates.SigninAttempt {
	about := s.about(r, a)
	if person, err := s.directory.ByID(r.Context(), id); err == nil {
		about.Name = displayName(person)
	}
	return about
}

func (s *Service) minutes() int { return int((s.cfg.GuessWindow + time.Minute - 1) / time.Minute) }

func (s *Service) renderPassword(w http.ResponseWriter, r *http.Request, status int, a attempt, page templates.SigninPassword) error {
	r = inLanguage(r, a.flow.Locales)
	page.SigninAttempt = s.about(r, a)
	page.Limit, page.Minutes, page.Passkeys = s.cfg.PasswordLimit, s.minutes(), s.mfa.Passkeys()
	if page.Passkeys {
		page.JS = passkeyJS
	}
	if page.Login == "" && a.flow.Chosen != anotherAccount {
		if sess, data := dataOf(r.Context()); sess != nil { // asked again, for a fresh sign-in
			page.Login = data.Login
		}
	}
	return s.render(w, r, status, text(r, "signin.title"), &page)
}

// passkeyJS is the script of the pages that ask for a passkey.
var passkeyJS = []string{"passkey.js"}

func (s *Service) renderFactor(w http.ResponseWriter, r *http.Request, status int, a attempt, step Step, need Requirement, page templates.SigninFactor) error {
	r = inLanguage(r, a.flow.Locales)
	page.SigninAttempt, page.Minutes = s.aboutPerson(r, a, step.Person), s.minutes()
	by := step.chosen(page.By)
	page.By = string(by)
	for _, m := range step.Methods {
		if m != by {
			page.Others = append(page.Others, string(m))
		}
	}
	if by == mfa.Passkey {
		page.JS, page.Models = passkeyJS, mfa.ModelNames(step.Models)
	}
	if by == mfa.Pass {
		page.JS = letterJS
	}
	if by == mfa.Mail {
		if err := s.mailState(r.Context(), step.Person, a.flow, &page); err != nil {
			return err
		}
	}
	if need.mayTrust(a.flow) && by != mfa.Pass {
		page.TrustDays = int((need.Trust + 12*time.Hour) / (24 * time.Hour))
	}
	return s.render(w, r, status, text(r, "signin.factor.title"), &page)
}

func (s *Service) renderEnrol(w http.ResponseWriter, r *http.Request, status int, a attempt, step Step, need Requirement, page templates.SigninEnrol) error {
	r = inLanguage(r, a.flow.Locales)
	page.SigninAttempt, page.Another = s.aboutPerson(r, a, step.Person), !step.First
	if slices.Contains(step.Methods, mfa.Passkey) {
		page.Passkey, page.JS, page.Models = true, passkeyJS, s.mfa.AllowedModels(step.Models)
	}
	if slices.Contains(step.Methods, mfa.Key) {
		handed, err := s.handedKeys(r.Context(), step.Person)
		if err != nil {
			return err
		}
		for _, k := range handed {
			page.Serials = append(page.Serials, k.Serial)
		}
	}
	if step.Later && need.Wish != nil {
		page.Later, page.LaterLeft, page.LaterUntil = true, need.Wish.Left, s.Local(need.Wish.Ends)
	}
	if !slices.Contains(step.Methods, mfa.TOTP) {
		return s.render(w, r, status, text(r, "signin.enrol.title"), &page)
	}
	page.TOTP = true
	enrolment, err := s.enrolment(r.Context(), a, step.Person)
	if err != nil {
		return err
	}
	page.URI = template.URL(enrolment.URI) // built by mfa, of escaped parts
	page.Secret = fours(enrolment.Secret)
	return s.render(w, r, status, text(r, "signin.enrol.title"), &page)
}

// renderOutcome tells a person who proved the password why it is not enough.
func (s *Service) renderOutcome(w http.ResponseWriter, r *http.Request, a attempt, person directory.Person, outcome directory.Outcome) error {
	r = inLanguage(r, a.flow.Locales)
	page := &templates.SigninOutcome{SigninAttempt: s.about(r, a), Reason: outcome.Result.String(), Until: s.Local(outcome.Until), Contact: s.contact()}
	page.Name = displayName(person)
	return s.render(w, r, http.StatusForbidden, text(r, "signin.title"), page)
}

// renderNotice is a page that ends here.
func (s *Service) renderNotice(w http.ResponseWriter, r *http.Request, status int, reason string, f Flow) error {
	r = inLanguage(r, f.Locales)
	page := &templates.SigninNotice{Reason: reason, Contact: s.contact()}
	return s.render(w, r, status, text(r, "signin.title"), page)
}

// showLost answers GET /signin/lost.
func (s *Service) showLost(w http.ResponseWriter, r *http.Request) error {
	page := &templates.SigninLost{Contact: s.contact()}
	switch f, err := s.flow(r); {
	case err == nil:
		page.Flow = f.ID
		r = inLanguage(r, f.Locales)
	case !errors.Is(err, errNoFlow) && !errors.Is(err, errOtherBrowser):
		return err
	}
	return s.render(w, r, http.StatusOK, text(r, "signin.lost.title"), page)
}

// notAdmitted answers a person who may not enter: the application, when it
// forbade pages, or a page that says why and what to do.
func (s *Service) notAdmitted(w http.ResponseWriter, r *http.Request, f Flow, app Application, no *ErrRefused, person string) error {
	actor := audit.Person(person, no.Person.Login)
	s.audit.Refuse(r.Context(), actor, audit.Event{Action: "signin.gate", Target: person, Application: app.ID, Outcome: "refused",
		Detail: map[string]string{"reason": no.Reason}})
	if f.Prompt == "none" {
		return s.finishers[f.Protocol].Refuse(w, r, f.Raw, Refusal{Reason: AccessDenied})
	}
	if no.Reason == Locked {
		return s.renderLocked(w, r, f, person)
	}
	if f.ID != "" && f.browser == "" && session.From(r.Context()) != nil {
		// Refused at once, on a session: kept, so that another account may be
		// tried without going back to the application.
		browser := newSecret()
		if err := s.storeFlow(r.Context(), &f, browser); err != nil {
			return err
		}
		s.pruneCookies(w, r)
		s.setFlowCookie(w, f, browser)
		web.AllowFormAction(w, app.Origins...)
	}
	allowLogo(w, app)
	r = inLanguage(r, f.Locales)
	page := &templates.SigninRefused{
		SigninAttempt: templates.SigninAttempt{Application: app.Title(string(web.Lang(r.Context()))), Logo: app.Logo}, AppContact: Contact(app.Contact),
		Reason: no.Reason, Login: no.Person.Login, Groups: s.groupNames(r, no.Groups), Contact: s.contact(),
	}
	if f.browser != "" {
		page.Flow = f.ID
	}
	if no.Person.ID != "" {
		page.Name = displayName(no.Person)
	}
	return s.render(w, r, http.StatusForbidden, text(r, "signin.refused.title"), page)
}

// groupNames are the groups in words: those of the configuration, else the
// directory's names with their dashes read as spaces.
func (s *Service) groupNames(r *http.Request, groups []string) []string {
	names := make([]string, 0, len(groups))
	for _, g := range groups {
		named := Application{ID: strings.NewReplacer("-", " ", "_", " ").Replace(g), Name: s.cfg.GroupNames[g]}
		names = append(names, named.Title(string(web.Lang(r.Context()))))
	}
	return names
}

func (s *Service) contact() templates.SigninContact { return Contact(s.cfg.HelpdeskContact) }

// Contact is whom to ask, as pages show it: a telephone number, a mail address
// and an https address lead there, anything else is text.
func Contact(text string) templates.SigninContact {
	return templates.SigninContact{Text: text, Link: template.URL(contactLink(text))}
}
