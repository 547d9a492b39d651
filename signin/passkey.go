package signin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// askPasskey answers GET /signin/passkey with the options that the page's script
// hands to the browser, as JSON: those of the step that the flow is at. On the
// page of the password, wait says that the request stands in the name field.
func (s *Service) askPasskey(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, _, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	var options json.RawMessage
	switch step.Kind {
	case AskPassword:
		options, err = s.mfa.AskAnyPasskey(r.Context(), a.flow.ID, r.URL.Query().Has("wait"))
	case AskFactor:
		options, err = s.mfa.AskPasskey(r.Context(), step.Person, a.flow.ID)
	case AskEnrol:
		var e mfa.Enrolling
		if e, err = s.enrolling(r.Context(), a, step); err == nil {
			options, err = s.mfa.BeginPasskey(r.Context(), e)
		}
	default:
		err = mfa.ErrNoFactor
	}
	return s.writeOptions(w, options, err)
}

// writeOptions sends the options to the script, or the reason why there are none.
func (s *Service) writeOptions(w http.ResponseWriter, options json.RawMessage, err error) error {
	switch {
	case errors.Is(err, mfa.ErrNoPasskeys), errors.Is(err, mfa.ErrNoFactor):
		return web.Fail(http.StatusNotFound, "signin.error.passkey", err)
	case errors.Is(err, mfa.ErrTooMany):
		return web.Fail(http.StatusConflict, "signin.passkey.many", err)
	case err != nil:
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(options)
	return err
}

// given is a passkey's answer as a proof.
func (s *Service) given(use *mfa.PasskeyUse) Given {
	g := Given{Method: mfa.Passkey, At: s.moment(), Verified: use.Verified}
	if use.Attested {
		g.Model = use.AAGUID
	}
	return g
}

// postPasskey answers POST /signin/passkey, field answer: in without a password.
func (s *Service) postPasskey(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	if err := s.guard.wait(r.Context(), addressKey(web.ClientIP(r.Context()))); err != nil {
		return web.Fail(http.StatusTooManyRequests, "signin.error.busy", err)
	}
	use, err := s.mfa.CheckPasskey(r.Context(), "", a.flow.ID, web.Field(r, "answer"))
	if errors.Is(err, mfa.ErrWrongCode) || errors.Is(err, mfa.ErrNoPasskeys) {
		return s.wrongPasskey(w, r, a, err)
	}
	if err != nil {
		return err
	}
	person, err := s.directory.ByID(r.Context(), use.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Gone}, use.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	if err := admit(person, Application{}); err != nil {
		return s.notAdmitted(w, r, a.flow, a.app, Refused(err), person.ID)
	}
	if locked, err := s.lockedNow(r.Context(), person.ID); err != nil {
		return err
	} else if locked {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Locked, Person: person}, person.ID)
	}
	if a.flow.Person != person.ID {
		a.flow.PasswordAt, a.flow.Factors, a.flow.Deferred = time.Time{}, nil, false
	}
	a.flow.Person, a.flow.Factors, a.flow.proof = person.ID, withGiven(a.flow.Factors, s.given(use)), ""
	err = s.goOn(w, r, a, person, "signin.passkey", func(ctx context.Context) error { return s.mfa.UsePasskey(ctx, use) })
	switch {
	case errors.Is(err, errMoved):
		return s.back(w, r, a.flow)
	case errors.Is(err, mfa.ErrWrongCode):
		return s.wrongPasskey(w, r, a, err)
	}
	return err
}

// wrongPasskey says on the page of the password that the passkey did not do.
func (s *Service) wrongPasskey(w http.ResponseWriter, r *http.Request, a attempt, why error) error {
	s.log.InfoContext(r.Context(), "a passkey was refused", "why", why, "request", web.RequestID(r.Context()))
	s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "signin.passkey", Application: a.app.ID, Outcome: "refused"})
	if err := s.guard.blame(context.WithoutCancel(r.Context()), addressKey(web.ClientIP(r.Context()))); err != nil {
		return err
	}
	return s.renderPassword(w, r, http.StatusUnprocessableEntity, a, templates.SigninPassword{Login: a.flow.LoginHint, Problem: "passkey"})
}

// provePasskey goes on with a passkey as second factor.
func (s *Service) provePasskey(w http.ResponseWriter, r *http.Request, a attempt, person directory.Person, answer string) error {
	use, err := s.mfa.CheckPasskey(r.Context(), person.ID, a.flow.ID, answer)
	if err == nil {
		a.flow.Person, a.flow.Factors = person.ID, withGiven(a.flow.Factors, s.given(use))
		err = s.goOn(w, r, a, person, "signin.factor", func(ctx context.Context) error { return s.mfa.UsePasskey(ctx, use) })
	}
	if errors.Is(err, mfa.ErrWrongCode) {
		s.log.InfoContext(r.Context(), "a passkey was refused", "person", person.ID, "why", err, "request", web.RequestID(r.Context()))
		s.audit.Refuse(r.Context(), actorOf(person), audit.Event{Action: "signin.factor", Target: person.ID, Application: a.app.ID, Outcome: "refused",
			Detail: map[string]string{"reason": "passkey"}})
	}
	return err
}

// enrolling is who makes a passkey in a flow, and what it must be.
func (s *Service) enrolling(ctx context.Context, a attempt, step Step) (mfa.Enrolling, error) {
	person, err := s.directory.ByID(ctx, step.Person)
	if err != nil {
		return mfa.Enrolling{}, s.directoryDown(err)
	}
	return mfa.Enrolling{
		Person: person.ID, Attempt: a.flow.ID, Login: person.Login, Name: displayName(person), Models: step.Models, First: step.First, Actor: actorOf(person),
	}, nil
}

// postEnrolPasskey answers POST /signin/enrol/passkey, field answer.
func (s *Service) postEnrolPasskey(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, need, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind != AskEnrol || !slices.Contains(step.Methods, mfa.Passkey) {
		return s.back(w, r, a.flow)
	}
	e, err := s.enrolling(r.Context(), a, step)
	if err != nil {
		return err
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if err != nil {
		return s.directoryDown(err)
	}
	checked, err := s.mfa.CheckNewPasskey(r.Context(), e, web.Field(r, "answer"))
	if err == nil {
		a.flow.Person = person.ID
		a.flow.Factors = withGiven(a.flow.Factors, Given{Method: mfa.Passkey, At: s.moment(), Model: checked.Model()})
		err = s.goOn(w, r, a, person, "", func(ctx context.Context) error {
			_, err := s.mfa.AddPasskey(ctx, checked)
			return err
		})
	}
	again := func(problem string) error {
		s.log.InfoContext(r.Context(), "a new passkey was refused", "person", person.ID, "why", err, "request", web.RequestID(r.Context()))
		return s.renderEnrol(w, r, http.StatusUnprocessableEntity, a, step, need, templates.SigninEnrol{Problem: problem})
	}
	switch {
	case errors.Is(err, errMoved):
		return s.back(w, r, a.flow)
	case errors.Is(err, mfa.ErrNotPending):
		return again("passkey")
	case errors.Is(err, mfa.ErrWrongCode):
		s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "mfa.enrol", Target: person.ID, Application: a.app.ID, Outcome: "refused", Detail: map[string]string{"kind": string(mfa.Passkey)}})
		return again("passkey")
	case errors.Is(err, mfa.ErrModel):
		return again("model")
	case errors.Is(err, mfa.ErrKnownPasskey):
		return again("known")
	}
	return err
}
