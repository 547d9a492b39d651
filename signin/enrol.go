package signin

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// postEnrol answers POST /signin/enrol, field code: the first code of the
// pending secret makes it the person's factor and ends the flow.
func (s *Service) postEnrol(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, need, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind != AskEnrol || !slices.Contains(step.Methods, mfa.TOTP) {
		return s.back(w, r, a.flow)
	}
	code := web.Field(r, "code")
	if code == "" {
		return s.renderEnrol(w, r, http.StatusUnprocessableEntity, a, step, need, templates.SigninEnrol{Problem: "empty"})
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Gone}, step.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	attempt := a.flow.ID
	a.flow.Person, a.flow.Factors = person.ID, withGiven(a.flow.Factors, Given{Method: mfa.TOTP, At: s.moment()})
	err = s.goOn(w, r, a, person, "", func(ctx context.Context) error {
		return s.mfa.ConfirmTOTP(ctx, actorOf(person), person.ID, attempt, code)
	})
	switch {
	case errors.Is(err, errMoved), errors.Is(err, mfa.ErrNotPending):
		return s.back(w, r, a.flow)
	case errors.Is(err, mfa.ErrWrongCode):
		// No limit, for the secret stands on the page itself; so capped in the audit.
		s.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "mfa.enrol", Target: person.ID, Application: a.app.ID, Outcome: "refused"})
		return s.renderEnrol(w, r, http.StatusUnprocessableEntity, a, step, need, templates.SigninEnrol{Problem: "wrong"})
	}
	return err
}

// showQR answers GET /signin/qr with the pending secret as a picture, for the
// browser whose enrolment it is.
func (s *Service) showQR(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, _, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind != AskEnrol || !slices.Contains(step.Methods, mfa.TOTP) {
		return web.Fail(http.StatusNotFound, "signin.error.qr", nil)
	}
	enrolment, err := s.enrolment(r.Context(), a, step.Person)
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

func (s *Service) enrolment(ctx context.Context, a attempt, id string) (mfa.Enrolment, error) {
	person, err := s.directory.ByID(ctx, id)
	if err != nil {
		return mfa.Enrolment{}, s.directoryDown(err)
	}
	return s.mfa.BeginTOTP(ctx, id, a.flow.ID, person.Login)
}
