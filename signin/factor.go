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

// proveWith are the factors that are typed: how each one's answer is verified,
// in the transaction of ctx. The passkey is proven by postFactor itself.
var proveWith = map[mfa.Method]func(s *Service, ctx context.Context, person directory.Person, a attempt, typed string) (Given, error){
	mfa.TOTP: func(s *Service, ctx context.Context, person directory.Person, _ attempt, typed string) (Given, error) {
		return Given{Method: mfa.TOTP}, s.mfa.VerifyTOTP(ctx, person.ID, typed)
	},
	mfa.Key: func(s *Service, ctx context.Context, person directory.Person, a attempt, typed string) (Given, error) {
		return Given{Method: mfa.Key}, s.proveKey(ctx, person, a, typed)
	},
	mfa.Mail: func(s *Service, ctx context.Context, _ directory.Person, a attempt, _ string) (Given, error) {
		return Given{Method: mfa.Mail}, s.mfa.UseMailCode(ctx, a.mail)
	},
	mfa.Recovery: func(s *Service, ctx context.Context, person directory.Person, _ attempt, typed string) (Given, error) {
		_, err := s.mfa.VerifyRecovery(ctx, actorOf(person), person.ID, typed)
		return Given{Method: mfa.Recovery}, err
	},
	mfa.Pass: func(s *Service, ctx context.Context, person directory.Person, _ attempt, typed string) (Given, error) {
		use, err := s.mfa.VerifyPass(ctx, actorOf(person), person.ID, typed)
		return Given{Method: mfa.Pass, Enrols: use.EnrolOnly}, err
	},
}

// chosen is the factor to ask for: the one that was asked for, if it helps, else
// the best.
func (step Step) chosen(by string) mfa.Method {
	if m := mfa.Method(by); slices.Contains(step.Methods, m) {
		return m
	}
	return step.Methods[0]
}

// postFactor answers POST /signin/factor: by names the factor, code is what was
// typed, answer a passkey's; trust asks to trust this browser.
func (s *Service) postFactor(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, need, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind != AskFactor {
		return s.back(w, r, a.flow)
	}
	by := step.chosen(web.Field(r, "by"))
	again := func(status int, problem string) error {
		return s.renderFactor(w, r, status, a, step, need, templates.SigninFactor{By: string(by), Problem: problem, Trusting: web.Field(r, "trust") != ""})
	}
	typed := web.Field(r, "code")
	if by == mfa.Passkey {
		typed = web.Field(r, "answer")
	}
	if typed == "" {
		return again(http.StatusUnprocessableEntity, "empty")
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Gone}, step.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	if web.Field(r, "trust") != "" && need.mayTrust(a.flow) {
		a.trust = need.Trust
	}
	if by == mfa.Key && web.Field(r, "pin") != "" {
		a.renew = &renewal{pin: web.Field(r, "pin"), second: web.Field(r, "second")}
	}
	if by == mfa.Passkey {
		err = s.provePasskey(w, r, a, person, typed)
	} else {
		err = s.proveFactor(r.Context(), person, a.app.ID, func(ctx context.Context, forget func(context.Context) error) error {
			return s.finishFactor(w, r.WithContext(ctx), a, person, by, typed, forget)
		})
	}
	var next *mfa.NextCode
	var pin *mfa.ErrPIN
	switch {
	case errors.As(err, &pin):
		return again(http.StatusUnprocessableEntity, "pin-"+pin.Reason)
	case errors.Is(err, mfa.ErrWrongCode) && a.renew != nil:
		return again(http.StatusUnprocessableEntity, "pin-codes")
	case errors.Is(err, errMoved), errors.Is(err, mfa.ErrNoFactor):
		return s.back(w, r, a.flow)
	case errors.As(err, &next):
		if err := s.mfa.NoteAhead(r.Context(), next); err != nil {
			return err
		}
		return again(http.StatusUnprocessableEntity, "next")
	case errors.Is(err, mfa.ErrNewPIN):
		return again(http.StatusUnprocessableEntity, "pin")
	case errors.Is(err, mfa.ErrUsedCode):
		return again(http.StatusUnprocessableEntity, "used")
	case errors.Is(err, mfa.ErrWrongCode):
		return again(http.StatusUnprocessableEntity, "wrong")
	case errors.Is(err, errFactorLocked):
		return again(http.StatusTooManyRequests, "locked")
	case errors.Is(err, errBusy):
		return web.Fail(http.StatusTooManyRequests, "signin.error.busy", err)
	}
	return err
}

// finishFactor goes on with a typed factor, verified within the transaction.
// What a pass is worth is known once it is verified: so it is asked for first,
// in a transaction that carries the rest.
func (s *Service) finishFactor(w http.ResponseWriter, r *http.Request, a attempt, person directory.Person, by mfa.Method, typed string, forget func(context.Context) error) error {
	out := &held{header: w.Header().Clone()}
	if by == mfa.Mail {
		// Looked at before the transaction: a wrong code counts, whatever is undone.
		var err error
		if a.mail, err = s.mfa.CheckMailCode(r.Context(), mailOfFlow(person.ID, a.flow), typed); err != nil {
			return err
		}
	}
	err := s.db.InTx(r.Context(), func(ctx context.Context) error {
		given, err := proveWith[by](s, ctx, person, a, typed)
		if err != nil {
			return err
		}
		if err := forget(ctx); err != nil {
			return err
		}
		given.At = s.moment()
		a := a
		a.flow.Person, a.flow.Factors = person.ID, withGiven(a.flow.Factors, given)
		return s.goOn(out, r.WithContext(ctx), a, person, "signin.factor", nil)
	})
	if err == nil {
		out.release(w)
	}
	return err
}

// errFactorLocked: too many wrong codes; none is looked at for a while.
var errFactorLocked = errors.New("signin: too many wrong codes")

// proveFactor runs verify under the person's own count of wrong codes, and
// writes wrong ones to the audit. The first of two codes of a key that ran ahead
// is right as far as it goes: it counts as a guess until the second one came.
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
	case errors.As(refused, new(*mfa.NextCode)):
		reason = "ahead"
	}
	s.audit.Refuse(ctx, actor, audit.Event{Action: "signin.factor", Target: person.ID, Application: application, Outcome: "refused",
		Detail: map[string]string{"reason": reason}})
	if err := s.guard.blame(context.WithoutCancel(ctx), address); err != nil {
		return err
	}
	return refused
}

// postLater answers POST /signin/later: what will be required is put off.
func (s *Service) postLater(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, need, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind != AskEnrol || !step.Later || need.Wish == nil {
		return s.back(w, r, a.flow)
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if err != nil {
		return s.directoryDown(err)
	}
	a.flow.Person, a.flow.Deferred = step.Person, true
	err = s.goOn(w, r, a, person, "", func(ctx context.Context) error { return s.putOff(ctx, person, need.Wish, a.app.ID) })
	if errors.Is(err, errMoved) {
		return s.back(w, r, a.flow)
	}
	return err
}
