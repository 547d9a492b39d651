package signin

import (
	"errors"
	"net/http"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// The address outside the academy where codes go: it becomes the person's once
// a code that went there is typed here, in the same session. Where that code
// went stands in the database; no field of the forms says it.

const mailPath = "/account/mail"

func mailOfSession(person directory.Person, sess *session.Session) mfa.MailCode {
	return mfa.MailCode{Person: person.ID, Purpose: mfa.MailConfirm, Attempt: accountAttempt(sess)}
}

// mayMail is mayChange where codes are sent at all.
func (s *Service) mayMail(w http.ResponseWriter, r *http.Request) (directory.Person, *session.Session, error) {
	person, sess, err := s.mayChange(w, r, mailPath)
	if person.ID != "" && !s.mfa.MailCodes() {
		return directory.Person{}, nil, web.Fail(http.StatusNotFound, "web.error.not_found", nil)
	}
	return person, sess, err
}

// showMail answers GET /account/mail.
func (s *Service) showMail(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayMail(w, r)
	if person.ID == "" {
		return err
	}
	return s.renderMail(w, r, http.StatusOK, person, sess, templates.AccountMail{})
}

func (s *Service) renderMail(w http.ResponseWriter, r *http.Request, status int, person directory.Person, sess *session.Session, page templates.AccountMail) (err error) {
	if page.Address, err = s.mfa.MailAddress(r.Context(), person.ID); err != nil {
		return err
	}
	if page.Pending, err = s.mfa.MailCodeSent(r.Context(), mailOfSession(person, sess)); err != nil {
		return err
	}
	all, err := s.mfa.Factors(r.Context(), person.ID)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Kind == mfa.Mail {
			page.Factor = f.ID
		}
	}
	return s.renderMine(w, r, status, text(r, "account.mail.title"), &page)
}

// postMail answers POST /account/mail, field address: sends a code there.
func (s *Service) postMail(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayMail(w, r)
	if person.ID == "" {
		return err
	}
	typed := web.Field(r, "address")
	_, err = s.sendMailCode(r.Context(), actorOf(person), person, mailOfSession(person, sess), typed)
	if problem, status := mailProblem(err); problem != "" {
		return s.renderMail(w, r, status, person, sess, templates.AccountMail{Typed: typed, Problem: problem})
	}
	if err != nil {
		return err
	}
	return web.Redirect(w, r, mailPath)
}

// postMailConfirm answers POST /account/mail/confirm, field code.
func (s *Service) postMailConfirm(w http.ResponseWriter, r *http.Request) error {
	person, sess, err := s.mayMail(w, r)
	if person.ID == "" {
		return err
	}
	code := web.Field(r, "code")
	if code == "" {
		return s.renderMail(w, r, http.StatusUnprocessableEntity, person, sess, templates.AccountMail{Problem: "empty"})
	}
	proof, err := s.mfa.CheckMailCode(r.Context(), mailOfSession(person, sess), code)
	if err == nil {
		err = s.mfa.AddMail(r.Context(), actorOf(person), proof)
	}
	switch {
	case errors.Is(err, mfa.ErrWrongCode), errors.Is(err, mfa.ErrUsedCode):
		s.audit.Refuse(r.Context(), actorOf(person), audit.Event{Action: "mfa.enrol", Target: person.ID, Outcome: "refused", Detail: map[string]string{"kind": string(mfa.Mail)}})
		return s.renderMail(w, r, http.StatusUnprocessableEntity, person, sess, templates.AccountMail{Problem: "wrong"})
	case err != nil:
		return err
	}
	return web.Redirect(w, r, "/account?done=mail")
}
