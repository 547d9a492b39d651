package signin

import (
	"errors"
	"net/http"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/web"
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

// postLock answers POST /account/lock: the signed-in person's account.
func (s *Service) postLock(w http.ResponseWriter, r *http.Request) error {
	sess, data := dataOf(r.Context())
	if sess == nil {
		return web.Redirect(w, r, "/account/lock")
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
