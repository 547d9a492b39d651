package signin

import (
	"errors"
	"net/http"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// accountCSS are the style sheets of the account's pages beside app.css.
var accountCSS = []string{"signin.css", "account.css"}

// renderAccount writes a page of the account that stands alone, as a narrow card.
func (s *Service) renderAccount(w http.ResponseWriter, r *http.Request, status int, title string, page templates.Page) error {
	frame := page.Frame()
	frame.Title, frame.Bare, frame.CSS = text(r, title), true, accountCSS
	return web.Render(w, r, status, page)
}

// showLock answers GET /account/lock: one button for who is signed in here.
func (s *Service) showLock(w http.ResponseWriter, r *http.Request) error {
	return s.renderLock(w, r, http.StatusOK, templates.AccountLock{})
}

func (s *Service) renderLock(w http.ResponseWriter, r *http.Request, status int, page templates.AccountLock) error {
	if sess, data := dataOf(r.Context()); sess != nil {
		page.Name, page.Login = data.Name, data.Login
		n, err := s.sessions.Count(r.Context(), sess.Person)
		if err != nil {
			return err
		}
		page.Sessions = n
	}
	page.Contact = s.contact()
	return s.renderAccount(w, r, status, "account.lock.title", &page)
}

// postLock answers POST /account/lock: the signed-in person's account, or, by
// the fields login and card, that of whose card it is.
func (s *Service) postLock(w http.ResponseWriter, r *http.Request) error {
	sess, data := dataOf(r.Context())
	if sess == nil {
		return s.lockByCard(w, r)
	}
	frames, err := s.frames(r.Context(), sess)
	if err != nil {
		return err
	}
	c, err := s.lock(r.Context(), audit.Person(sess.Person, data.Login), sess.Person, "", LockedBySelf)
	if err != nil {
		return err
	}
	if err := s.sessions.End(r.Context(), w, r); err != nil {
		return err
	}
	return s.renderCut(w, r, sess.Person, c, frames...)
}

// lockByCard locks the account of a login with the code of its card. What is
// wrong is not said, and wrong cards are slowed down as wrong passwords are:
// by their address, never by the account, which anybody could keep open so.
func (s *Service) lockByCard(w http.ResponseWriter, r *http.Request) error {
	login, card := web.Field(r, "login"), web.Field(r, "card")
	if login == "" || card == "" {
		return s.renderLock(w, r, http.StatusUnprocessableEntity, templates.AccountLock{Typed: login, Problem: "empty"})
	}
	address := addressKey(web.ClientIP(r.Context()))
	if err := s.guard.wait(r.Context(), address); err != nil {
		return web.Fail(http.StatusTooManyRequests, "signin.error.busy", err)
	}
	id, err := s.mfa.CheckLockCode(r.Context(), card)
	if err == nil {
		var person directory.Person
		if person, err = s.directory.ByLogin(r.Context(), login); err == nil && person.ID != id {
			err = mfa.ErrNoCard
		}
	}
	switch {
	case errors.Is(err, mfa.ErrNoCard), errors.Is(err, directory.ErrUnknown):
		s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "signin.lock", Outcome: "refused", Detail: map[string]string{"by": LockedByCard}})
		if err := s.guard.blame(r.Context(), address); err != nil {
			return err
		}
		return s.renderLock(w, r, http.StatusUnprocessableEntity, templates.AccountLock{Typed: login, Problem: "card"})
	case err != nil:
		return s.directoryDown(err)
	}
	// The card proves itself, not the person: nobody is named as its author.
	c, err := s.lock(r.Context(), audit.Anonymous(), id, "", LockedByCard)
	if err != nil {
		return err
	}
	return s.renderCut(w, r, id, c)
}

// renderCut says what a lock has just ended.
func (s *Service) renderCut(w http.ResponseWriter, r *http.Request, person string, c severed, frames ...templates.Frame) error {
	page := &templates.AccountLocked{State: "cut", Since: s.Local(c.since), Sessions: c.sessions, Already: c.already, Frames: frames, Contact: s.contact()}
	if p, err := s.directory.ByID(r.Context(), person); err == nil {
		page.Name, page.Login = displayName(p), p.Login
	}
	web.AllowFrames(w, frames)
	page.Person = nil
	return s.renderAccount(w, r, http.StatusOK, "account.locked.title", page)
}

// renderLocked tells somebody who proved the password that the account is
// locked, since when and by whom.
func (s *Service) renderLocked(w http.ResponseWriter, r *http.Request, f Flow, person string) error {
	r = inLanguage(r, f.Locales)
	page := &templates.AccountLocked{State: "refused", Contact: s.contact()}
	lock, err := s.LockOf(r.Context(), person)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	page.Since, page.Way = s.Local(lock.Since), lock.Way
	if p, err := s.directory.ByID(r.Context(), person); err == nil {
		page.Name, page.Login = displayName(p), p.Login
	}
	return s.renderAccount(w, r, http.StatusForbidden, "account.locked.title", page)
}
