package signin

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// A factor is looked at, made and removed on a factor given lately: mayChange.

func factorPath(id string) string { return "/account/factors/" + url.PathEscape(id) }

// myFactor is the factor of the address, if it is the person's.
func (s *Service) myFactor(r *http.Request, person string) (f mfa.Factor, last bool, err error) {
	all, err := s.mfa.Factors(r.Context(), person)
	if err != nil {
		return f, false, err
	}
	held := mfa.Held{}
	for _, one := range all {
		held[one.Kind]++
		if one.ID == r.PathValue("id") {
			f = one
		}
	}
	if f.ID == "" {
		return f, false, web.Fail(http.StatusNotFound, "account.factor.gone", nil)
	}
	return f, held.Lasting() == 1 && (mfa.Held{f.Kind: 1}).Lasting() == 1, nil
}

// showFactor answers GET /account/factors/{id}.
func (s *Service) showFactor(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, factorPath(r.PathValue("id")))
	if person.ID == "" {
		return err
	}
	return s.renderFactorPage(w, r, http.StatusOK, person, "")
}

func (s *Service) renderFactorPage(w http.ResponseWriter, r *http.Request, status int, person directory.Person, problem string) error {
	f, last, err := s.myFactor(r, person.ID)
	if err != nil {
		return err
	}
	page := &templates.AccountFactor{Factor: s.factorInfo(r, f), Last: last, Named: f.Kind == mfa.Passkey || f.Kind == mfa.TOTP, Problem: problem}
	return s.renderMine(w, r, status, text(r, "account.factor.title"), page)
}

// postFactorName answers POST /account/factors/{id}, field name.
func (s *Service) postFactorName(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, factorPath(r.PathValue("id")))
	if person.ID == "" {
		return err
	}
	_, err = s.mfa.Rename(r.Context(), actorOf(person), person.ID, r.PathValue("id"), web.Field(r, "name"))
	switch {
	case errors.Is(err, mfa.ErrName):
		return s.renderFactorPage(w, r, http.StatusUnprocessableEntity, person, "name")
	case errors.Is(err, db.ErrNotFound):
		return web.Fail(http.StatusNotFound, "account.factor.gone", err)
	case err != nil:
		return err
	}
	return web.Redirect(w, r, "/account?done=renamed")
}

// postFactorRemove answers POST /account/factors/{id}/remove.
func (s *Service) postFactorRemove(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, factorPath(r.PathValue("id")))
	if person.ID == "" {
		return err
	}
	if f, _, err := s.myFactor(r, person.ID); err != nil {
		return err
	} else if f.Kind == mfa.Key || f.Kind == mfa.Pass {
		return web.Fail(http.StatusForbidden, "account.factor.kept", nil) // the academy's own; its desk takes it back
	}
	_, err = s.mfa.Remove(r.Context(), actorOf(person), person.ID, r.PathValue("id"), "")
	if errors.Is(err, db.ErrNotFound) {
		return web.Fail(http.StatusNotFound, "account.factor.gone", err)
	}
	if err != nil {
		return err
	}
	return web.Redirect(w, r, "/account?done=removed")
}

// showProtect answers GET /account/protect: whoever has no factor makes the
// first one on the pages of the sign-in, and is back.
func (s *Service) showProtect(w http.ResponseWriter, r *http.Request) error {
	if _, ok, err := s.Fresh(w, r, "/account/protect", changeFresh); !ok {
		return err
	}
	return web.Redirect(w, r, "/account")
}

// accountAttempt names what is begun on the account's pages: the answer must
// come to the same session.
func accountAttempt(sess *session.Session) string { return "account:" + sess.SID }

// myEnrolling is who makes a passkey on the account's page, and what it must be.
func (s *Service) myEnrolling(ctx context.Context, person directory.Person, sess *session.Session) mfa.Enrolling {
	return mfa.Enrolling{Person: person.ID, Attempt: accountAttempt(sess), Login: person.Login, Name: displayName(person), Actor: actorOf(person)}
}

const newPasskeyPath = "/account/passkeys/new"

// showNewPasskey answers GET /account/passkeys/new.
func (s *Service) showNewPasskey(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, newPasskeyPath)
	if person.ID == "" {
		return err
	}
	return s.renderNewPasskey(w, r, http.StatusOK, "")
}

func (s *Service) renderNewPasskey(w http.ResponseWriter, r *http.Request, status int, problem string) error {
	if !s.mfa.Passkeys() {
		return web.Fail(http.StatusNotFound, "signin.error.passkey", mfa.ErrNoPasskeys)
	}
	page := &templates.AccountPasskey{Models: s.mfa.AllowedModels(nil), Problem: problem}
	page.JS = passkeyJS
	return s.renderMine(w, r, status, text(r, "account.passkey.title"), page)
}

// newPasskeyOptions answers GET /account/passkeys/options, for the page's script.
func (s *Service) newPasskeyOptions(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayChange(w, r, newPasskeyPath)
	if person.ID == "" {
		return err
	}
	options, err := s.mfa.BeginPasskey(r.Context(), s.myEnrolling(r.Context(), person, sess))
	return s.writeOptions(w, options, err)
}

// postNewPasskey answers POST /account/passkeys/new, field answer.
func (s *Service) postNewPasskey(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayChange(w, r, newPasskeyPath)
	if person.ID == "" {
		return err
	}
	checked, err := s.mfa.CheckNewPasskey(r.Context(), s.myEnrolling(r.Context(), person, sess), web.Field(r, "answer"))
	if err == nil {
		_, err = s.mfa.AddPasskey(r.Context(), checked)
	}
	problem := ""
	switch {
	case errors.Is(err, mfa.ErrNotPending), errors.Is(err, mfa.ErrWrongCode):
		s.log.InfoContext(r.Context(), "a new passkey was refused", "person", person.ID, "why", err, "request", web.RequestID(r.Context()))
		s.audit.Refuse(r.Context(), actorOf(person), audit.Event{Action: "mfa.enrol", Target: person.ID, Outcome: "refused", Detail: map[string]string{"kind": string(mfa.Passkey)}})
		problem = "passkey"
	case errors.Is(err, mfa.ErrModel):
		problem = "model"
	case errors.Is(err, mfa.ErrKnownPasskey):
		problem = "known"
	case errors.Is(err, mfa.ErrTooMany):
		problem = "many"
	case err != nil:
		return err
	default:
		return web.Redirect(w, r, "/account?done=passkey")
	}
	return s.renderNewPasskey(w, r, http.StatusUnprocessableEntity, problem)
}

const newTOTPPath = "/account/totp/new"

// showNewTOTP answers GET /account/totp/new.
func (s *Service) showNewTOTP(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayChange(w, r, newTOTPPath)
	if person.ID == "" {
		return err
	}
	return s.renderNewTOTP(w, r, http.StatusOK, person, sess, "")
}

func (s *Service) renderNewTOTP(w http.ResponseWriter, r *http.Request, status int, person directory.Person, sess *session.Session, problem string) error {
	enrolment, err := s.mfa.BeginTOTP(r.Context(), person.ID, accountAttempt(sess), person.Login)
	if err != nil {
		return err
	}
	held, err := s.mfa.Held(r.Context(), person.ID)
	if err != nil {
		return err
	}
	page := &templates.AccountTOTP{URI: template.URL(enrolment.URI), Secret: fours(enrolment.Secret), Replace: held[mfa.TOTP] > 0, Problem: problem}
	return s.renderMine(w, r, status, text(r, "account.totp.title"), page)
}

// newTOTPQR answers GET /account/totp/qr with the pending secret as a picture.
func (s *Service) newTOTPQR(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayChange(w, r, newTOTPPath)
	if person.ID == "" {
		return err
	}
	enrolment, err := s.mfa.BeginTOTP(r.Context(), person.ID, accountAttempt(sess), person.Login)
	if err != nil {
		return err
	}
	picture, err := enrolment.QR()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/png")
	_, err = w.Write(picture)
	return err
}

// postNewTOTP answers POST /account/totp/new, field code: the new telephone
// takes the place of the one before, in one transaction.
func (s *Service) postNewTOTP(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayChange(w, r, newTOTPPath)
	if person.ID == "" {
		return err
	}
	code := web.Field(r, "code")
	if code == "" {
		return s.renderNewTOTP(w, r, http.StatusUnprocessableEntity, person, sess, "empty")
	}
	err = s.db.InTx(r.Context(), func(ctx context.Context) error {
		before, err := s.mfa.Factors(ctx, person.ID)
		if err != nil {
			return err
		}
		for _, f := range before {
			if f.Kind != mfa.TOTP {
				continue
			}
			if _, err := s.mfa.Remove(ctx, actorOf(person), person.ID, f.ID, ""); err != nil {
				return err
			}
		}
		return s.mfa.ConfirmTOTP(ctx, actorOf(person), person.ID, accountAttempt(sess), code)
	})
	switch {
	case errors.Is(err, mfa.ErrWrongCode):
		s.audit.Refuse(r.Context(), actorOf(person), audit.Event{Action: "mfa.enrol", Target: person.ID, Outcome: "refused"})
		return s.renderNewTOTP(w, r, http.StatusUnprocessableEntity, person, sess, "wrong")
	case errors.Is(err, mfa.ErrNotPending), errors.Is(err, db.ErrNotFound):
		return web.Redirect(w, r, "/account") // done by another tab
	case err != nil:
		return err
	}
	return web.Redirect(w, r, "/account?done=totp")
}

// fours cuts a secret into groups of four, to be read aloud.
func fours(text string) (groups []string) {
	for text != "" {
		n := min(4, len(text))
		groups, text = append(groups, text[:n]), text[n:]
	}
	return groups
}
