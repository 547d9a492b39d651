package signin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/i18n"
	"beffroi/internal/mailer"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// LanguageOf is the language in which a person is written to.
func LanguageOf(person directory.Person) i18n.Lang {
	if strings.HasPrefix(strings.ToLower(person.Language), "en") {
		return i18n.English
	}
	return i18n.French
}

// mailboxes are the person's own, in the directory: codes never go to their domains.
func mailboxes(person directory.Person) []string {
	return append([]string{person.Mail}, person.MailAliases...)
}

// codeWords say what a code is for, in its message.
var codeWords = map[string]string{mfa.MailConfirm: "mail.code.confirm", mfa.MailSignIn: "mail.code.signin", mfa.MailDesk: "mail.code.desk"}

// sendMailCode sends a code and returns where to. The errors are those of
// mfa.SendMailCode. The code stands in the text only, not in the subject: that
// is shown on locked telephones.
func (s *Service) sendMailCode(ctx context.Context, actor audit.Actor, person directory.Person, c mfa.MailCode, typed string) (string, error) {
	if s.teller == nil {
		return "", mfa.ErrNoFactor
	}
	return s.mfa.SendMailCode(ctx, actor, c, mfa.MailTo{Typed: typed, Mailboxes: mailboxes(person)}, func(ctx context.Context, address, code string, life time.Duration) error {
		l := LanguageOf(person)
		lines := []string{
			i18n.T(l, "mail.hello", "name", displayName(person)), "", i18n.T(l, codeWords[c.Purpose]), "", "    " + code[:4] + " " + code[4:], "",
			i18n.T(l, "mail.code.life", "n", int(life/time.Minute)), i18n.T(l, "mail.code.notme"),
		}
		return s.teller.Queue(ctx, mailer.Message{Person: person.ID, To: address, Subject: i18n.T(l, "mail.code.subject"), Body: strings.Join(lines, "\n") + "\n", Lang: string(l)})
	})
}

// mailOfFlow is the code that one attempt to sign in asks for.
func mailOfFlow(person string, f Flow) mfa.MailCode {
	return mfa.MailCode{Person: person, Purpose: mfa.MailSignIn, Attempt: "flow:" + f.ID}
}

// mailState fills in where a code of this attempt goes, or went.
func (s *Service) mailState(ctx context.Context, person string, f Flow, page *templates.SigninFactor) error {
	address, err := s.mfa.MailAddress(ctx, person)
	if err != nil {
		return err
	}
	sent, err := s.mfa.MailCodeSent(ctx, mailOfFlow(person, f))
	page.MailTo, page.Sent = mfa.Masked(address), sent != ""
	return err
}

// postMailCode answers POST /signin/mailcode: sends a code.
func (s *Service) postMailCode(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, need, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind != AskFactor || !slices.Contains(step.Methods, mfa.Mail) {
		return s.back(w, r, a.flow)
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Gone}, step.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	_, err = s.sendMailCode(r.Context(), actorOf(person), person, mailOfFlow(person.ID, a.flow), "")
	problem, status := mailProblem(err)
	switch {
	case errors.Is(err, mfa.ErrNoFactor):
		return s.back(w, r, a.flow)
	case problem != "":
		return s.renderFactor(w, r, status, a, step, need, templates.SigninFactor{By: string(mfa.Mail), Problem: problem})
	case err != nil:
		return err
	}
	return web.Redirect(w, r, stepURL("/signin/factor", a.flow)+"&by="+string(mfa.Mail))
}

// mailProblem is why no code was sent, as pages name it; "" for any other error.
func mailProblem(err error) (problem string, status int) {
	switch {
	case errors.Is(err, mfa.ErrTooManyCodes):
		return "many", http.StatusTooManyRequests
	case errors.Is(err, mfa.ErrOwnAddress):
		return "own", http.StatusUnprocessableEntity
	case errors.Is(err, mfa.ErrAddress):
		return "address", http.StatusUnprocessableEntity
	}
	return "", 0
}

// DeskCodes sends codes by which a caller proves to the helpdesk who they are:
// to the address that counts as their factor.
type DeskCodes struct{ s *Service }

// DeskCodes are those of this service.
func (s *Service) DeskCodes() DeskCodes { return DeskCodes{s} }

// mailOfDesk binds a code to the helper, or the tool, that had it sent.
func mailOfDesk(actor audit.Actor, person string) mfa.MailCode {
	return mfa.MailCode{Person: person, Purpose: mfa.MailDesk, Attempt: actor.Kind + ":" + actor.ID}
}

// SendCode sends one and says where to, most of it hidden.
func (c DeskCodes) SendCode(ctx context.Context, actor audit.Actor, id string) (where string, err error) {
	person, err := c.s.directory.ByID(ctx, id)
	if err != nil {
		return "", err
	}
	address, err := c.s.sendMailCode(ctx, actor, person, mailOfDesk(actor, id), "")
	if err != nil {
		return "", err
	}
	return mfa.Masked(address), nil
}

// CheckCode takes the code that the same actor had sent, once.
func (c DeskCodes) CheckCode(ctx context.Context, actor audit.Actor, person, code string) error {
	proof, err := c.s.mfa.CheckMailCode(ctx, mailOfDesk(actor, person), code)
	if err != nil {
		return err
	}
	return c.s.mfa.UseMailCode(ctx, proof)
}
