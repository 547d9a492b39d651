package signin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// postFactor answers POST /signin/factor, field code.
func (s *Service) postFactor(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	// One factor is assumed; without any, the code is wrong for want of one.
	step := Next(a.flow, a.proof, a.app.Policy, 1, s.now())
	if step.Kind != AskFactor {
		return s.back(w, r, a.flow)
	}
	code := web.Field(r, "code")
	if code == "" {
		return s.renderFactor(w, r, http.StatusUnprocessableEntity, a, step.Person, templates.SigninFactor{Problem: "empty"})
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Gone}, step.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	err = s.proveFactor(r.Context(), person, a.app.ID, func(ctx context.Context, forget func(context.Context) error) error {
		return s.finishFactor(w, r.WithContext(ctx), a, person, func(ctx context.Context) error {
			if err := s.mfa.VerifyTOTP(ctx, person.ID, code); err != nil {
				return err
			}
			return forget(ctx)
		})
	})
	switch {
	case errors.Is(err, errMoved), errors.Is(err, mfa.ErrNoFactor):
		return s.back(w, r, a.flow)
	case errors.Is(err, mfa.ErrUsedCode):
		return s.renderFactor(w, r, http.StatusUnprocessableEntity, a, person.ID, templates.SigninFactor{Problem: "used"})
	case errors.Is(err, mfa.ErrWrongCode):
		return s.renderFactor(w, r, http.StatusUnprocessableEntity, a, person.ID, templates.SigninFactor{Problem: "wrong"})
	case errors.Is(err, errFactorLocked):
		return s.renderFactor(w, r, http.StatusTooManyRequests, a, person.ID, templates.SigninFactor{Problem: "locked"})
	case errors.Is(err, errBusy):
		return web.Fail(http.StatusTooManyRequests, "signin.error.busy", err)
	}
	return err
}

// finishFactor signs in on a factor that spent proves within the transaction.
func (s *Service) finishFactor(w http.ResponseWriter, r *http.Request, a attempt, person directory.Person, spent func(ctx context.Context) error) error {
	f := a.flow
	f.Person, f.FactorAt = person.ID, s.now().UTC().Truncate(time.Microsecond)
	step := Next(f, a.proof, a.app.Policy, 1, s.now())
	if step.Kind != Done {
		return errMoved // a password is needed again after all
	}
	return s.signIn(w, r, f, a.app, step, person, spent)
}

// errFactorLocked: too many wrong codes; none is looked at for a while.
var errFactorLocked = errors.New("signin: too many wrong codes")

// proveFactor runs verify under the person's own count of wrong codes, and
// writes wrong ones to the audit.
func (s *Service) proveFactor(ctx context.Context, person directory.Person, application string, verify func(ctx context.Context, forget func(context.Context) error) error) error {
	address := addressKey(web.ClientIP(ctx))
	if err := s.guard.wait(ctx, address); err != nil {
		return err
	}
	var refused error
	result, err := s.guard.attempt(ctx, factorKey(person.ID), s.cfg.FactorLimit, func(ctx context.Context, forget func(context.Context) error) (bool, error) {
		err := verify(ctx, forget)
		if errors.Is(err, mfa.ErrWrongCode) || errors.Is(err, mfa.ErrUsedCode) {
			refused = err
			return false, nil
		}
		return err == nil, err
	})
	if err != nil || result == right {
		return err
	}
	reason, actor := "wrong", actorOf(person)
	switch {
	case result == locked:
		refused, reason = errFactorLocked, "locked"
		actor = audit.Anonymous() // without limit, and so capped in the audit
	case errors.Is(refused, mfa.ErrUsedCode):
		reason = "used"
	}
	s.audit.Refuse(ctx, actor, audit.Event{Action: "signin.factor", Target: person.ID, Application: application, Outcome: "refused",
		Detail: map[string]string{"reason": reason}})
	if err := s.guard.blame(context.WithoutCancel(ctx), address); err != nil {
		return err
	}
	return refused
}
