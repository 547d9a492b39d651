package signin

import (
	"context"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/web"
	"beffroi/templates"
)

// directoryWait bounds a password check. It goes on when the visitor leaves:
// the directory counts the guess, so it must be counted here as well.
const directoryWait = 20 * time.Second

// postPassword answers POST /signin, fields username and password.
func (s *Service) postPassword(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	login, password := web.Field(r, "username"), web.Field(r, "password")
	if login == "" || password == "" {
		return s.renderPassword(w, r, http.StatusUnprocessableEntity, a, templates.SigninPassword{Login: login, Problem: "empty"})
	}
	person, outcome, why, err := s.checkPassword(r.Context(), login, password, a.app.ID)
	if errors.Is(err, errBusy) {
		return web.Fail(http.StatusTooManyRequests, "signin.error.busy", err)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	if why != "" {
		return s.renderPassword(w, r, http.StatusUnprocessableEntity, a, templates.SigninPassword{Login: login, Problem: "wrong"})
	}
	if !outcome.OK() {
		s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "signin.password", Target: person.ID, Application: a.app.ID, Outcome: "refused",
			Detail: map[string]string{"reason": outcome.Result.String()}})
		return s.renderOutcome(w, r, a, person, outcome)
	}
	if err := admit(person, Application{}); err != nil { // disabled: whatever the application
		return s.notAdmitted(w, r, a.flow, a.app, Refused(err), person.ID)
	}
	// Told only here, after the right password: until then a locked account
	// looks like any other.
	if locked, err := s.lockedNow(r.Context(), person.ID); err != nil {
		return err
	} else if locked {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Locked, Person: person}, person.ID)
	}

	a.flow.Person, a.flow.PasswordAt, a.flow.Factors, a.flow.Deferred, a.flow.proof = person.ID, s.moment(), nil, false, ""
	err = s.goOn(w, r, a, person, "signin.password", nil)
	if errors.Is(err, errMoved) {
		return s.back(w, r, a.flow)
	}
	return err
}

// goOn goes on with a flow in which something was just proven and is in a.flow:
// it signs in when that is enough, and keeps it for the next page otherwise.
// spent is the proof's own part of the transaction. action, where it is not
// empty, is written to the trail when the flow does not end yet.
func (s *Service) goOn(w http.ResponseWriter, r *http.Request, a attempt, person directory.Person, action string, spent func(ctx context.Context) error) error {
	step, _, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind == Done {
		return s.signIn(w, r, a, step, person, spent)
	}
	err = s.db.InTx(r.Context(), func(ctx context.Context) error {
		if spent != nil {
			if err := spent(ctx); err != nil {
				return err
			}
		}
		if err := s.keepProof(ctx, w, r, a.flow); err != nil || action == "" {
			return err
		}
		return s.audit.Record(ctx, actorOf(person), audit.Event{Action: action, Target: person.ID, Application: a.app.ID, Outcome: "ok"})
	})
	if err != nil {
		return err
	}
	web.RememberLanguage(r.Context(), w, r, person.Language)
	return s.back(w, r, a.flow)
}

// moment is now, as the database keeps it.
func (s *Service) moment() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// checkPassword asks the directory, unless the person or name is locked. why is
// empty when the password was proven (then outcome tells whether the person may
// go on), and otherwise a word for the audit: from outside all look alike.
func (s *Service) checkPassword(ctx context.Context, login, password, application string) (person directory.Person, outcome directory.Outcome, why string, err error) {
	address := addressKey(web.ClientIP(ctx))
	if err := s.guard.wait(ctx, address); err != nil {
		return person, outcome, "", err
	}
	key, err := s.guard.names.key(ctx, s.directory, login)
	if err != nil {
		return person, outcome, "", err
	}
	result, err := s.guard.attempt(ctx, key, s.cfg.PasswordLimit, func(ctx context.Context, forget func(context.Context) error) (bool, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), directoryWait)
		defer cancel()
		var err error
		if person, outcome, err = s.directory.Authenticate(ctx, login, password); err != nil {
			return false, err
		}
		// A password that could not even be sent says nothing of the name.
		if person.ID != "" || outcome.Result == directory.Unknown {
			s.guard.names.keep(login, person.ID)
		}
		if !outcome.Proven && !outcome.OK() {
			return false, nil
		}
		return true, forget(ctx)
	})
	if err != nil {
		return person, outcome, "", err
	}
	switch result {
	case right:
		return person, outcome, "", nil
	case locked:
		why, person.ID = "locked", personOf(key)
	default:
		why = outcome.Result.String()
	}
	detail := map[string]string{"reason": why}
	if person.ID == "" {
		detail["login"] = hint(login)
	}
	s.audit.Refuse(ctx, audit.Anonymous(), audit.Event{Action: "signin.password", Target: person.ID, Application: application, Outcome: "refused", Detail: detail})
	return person, outcome, why, s.guard.blame(context.WithoutCancel(ctx), address)
}

// personOf is the person a password key counts for; empty for strangers' names.
func personOf(key string) string {
	if prefix := passwordKey(""); len(key) > len(prefix) && key[:len(prefix)] == prefix {
		return key[len(prefix):]
	}
	return ""
}

// hint is the beginning of a name that nobody has: enough to recognise a typing
// mistake on the telephone, too little when it was a password.
func hint(login string) string {
	n := 0
	for i := range login {
		if n++; n > 2 {
			return login[:i] + "…"
		}
	}
	if !utf8.ValidString(login) {
		return "…"
	}
	return login
}
