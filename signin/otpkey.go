package signin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

// The academy's OTP keys, as their holders see them: a key that was handed over
// is activated with a PIN of one's own, at a sign-in or on the account's page.

// handedKeys are those that the person could activate.
func (s *Service) handedKeys(ctx context.Context, person string) ([]mfa.OTPKey, error) {
	all, err := s.mfa.KeysOf(ctx, person)
	if err != nil {
		return nil, err
	}
	var handed []mfa.OTPKey
	for _, k := range all {
		if k.Activates(s.now()) {
			handed = append(handed, k)
		}
	}
	return handed, nil
}

// keyProblem is the word that pages have for an error of a key; empty for one
// that is ours.
func keyProblem(err error) string {
	var pin *mfa.ErrPIN
	var step *mfa.ErrKeyStep
	switch {
	case errors.As(err, &pin):
		return "pin-" + pin.Reason
	case errors.As(err, new(*mfa.NextCode)), errors.Is(err, mfa.ErrWrongCode), errors.Is(err, mfa.ErrNewPIN):
		return "key"
	case errors.Is(err, mfa.ErrUsedCode):
		return "key-used"
	case errors.Is(err, db.ErrNotFound), errors.As(err, &step), errors.Is(err, mfa.ErrKeyMoved), errors.Is(err, mfa.ErrNoFactor):
		return "key-gone"
	}
	return ""
}

// postEnrolKey answers POST /signin/enrol/key, fields serial, pin and answer: the
// PIN and the code of the key, behind one another.
func (s *Service) postEnrolKey(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, need, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	if step.Kind != AskEnrol || !slices.Contains(step.Methods, mfa.Key) {
		return s.back(w, r, a.flow)
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Gone}, step.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	err = s.proveFactor(r.Context(), person, a.app.ID, func(ctx context.Context, forget func(context.Context) error) error {
		a := a
		a.flow.Person, a.flow.Factors = person.ID, withGiven(a.flow.Factors, Given{Method: mfa.Key, At: s.moment()})
		return s.goOn(w, r.WithContext(ctx), a, person, "", func(ctx context.Context) error {
			if err := s.mfa.ActivateKey(ctx, actorOf(person), person.ID, web.Field(r, "serial"), web.Field(r, "pin"), web.Field(r, "answer")); err != nil {
				return err
			}
			return forget(ctx)
		})
	})
	switch problem := keyProblem(err); {
	case errors.Is(err, errMoved):
		return s.back(w, r, a.flow)
	case errors.Is(err, errFactorLocked):
		return s.renderEnrol(w, r, http.StatusTooManyRequests, a, step, need, templates.SigninEnrol{Problem: "locked", Serial: web.Field(r, "serial")})
	case errors.Is(err, errBusy):
		return web.Fail(http.StatusTooManyRequests, "signin.error.busy", err)
	case problem != "":
		return s.renderEnrol(w, r, http.StatusUnprocessableEntity, a, step, need, templates.SigninEnrol{Problem: problem, Serial: web.Field(r, "serial")})
	}
	return err
}

const keyPath = "/account/key"

// showMyKeys answers GET /account/key.
func (s *Service) showMyKeys(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, keyPath)
	if person.ID == "" {
		return err
	}
	return s.renderMyKeys(w, r, http.StatusOK, person, "", "")
}

func (s *Service) renderMyKeys(w http.ResponseWriter, r *http.Request, status int, person directory.Person, serial, problem string) error {
	keys, err := s.mfa.KeysOf(r.Context(), person.ID)
	if err != nil {
		return err
	}
	page := &templates.AccountKeys{Serial: serial, Problem: problem, Done: doneWords(r), Contact: s.contact()}
	for _, k := range keys {
		page.Keys = append(page.Keys, templates.AccountKey{Serial: k.Serial, Model: k.Model, State: string(k.State), Ends: s.Local(k.Until()), Used: s.Local(k.Used),
			Activates: k.Activates(s.now()), Active: k.State == mfa.KeyActive, Losable: k.InHand() || k.State == mfa.KeyBlocked})
	}
	return s.renderMine(w, r, status, text(r, "account.key.title"), page)
}

// postMyKey answers POST /account/key: field do (activate, pin, resync, lose),
// serial, and what each needs.
func (s *Service) postMyKey(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, keyPath)
	if person.ID == "" {
		return err
	}
	ctx, actor := r.Context(), actorOf(person)
	serial, pin, answer := web.Field(r, "serial"), web.Field(r, "pin"), web.Field(r, "answer")
	what := web.Field(r, "do")
	switch what {
	case "lose":
		err = s.mfa.LoseKey(ctx, actor, person.ID, serial)
	case "activate", "pin", "resync":
		// Codes are tried here as well: they count with the others.
		err = s.proveFactor(ctx, person, "account", func(ctx context.Context, forget func(context.Context) error) error {
			var err error
			switch what {
			case "activate":
				err = s.mfa.ActivateKey(ctx, actor, person.ID, serial, pin, answer)
			case "pin":
				err = s.mfa.ChangePIN(ctx, actor, person.ID, serial, answer, pin)
			default:
				err = s.mfa.ResyncKey(ctx, actor, person.ID, serial, strings.TrimSpace(web.Field(r, "first")), strings.TrimSpace(web.Field(r, "second")), "")
			}
			if err != nil {
				return err
			}
			return forget(ctx)
		})
	default:
		return s.renderMyKeys(w, r, http.StatusUnprocessableEntity, person, serial, "key-gone")
	}
	switch problem := keyProblem(err); {
	case errors.Is(err, errFactorLocked):
		return s.renderMyKeys(w, r, http.StatusTooManyRequests, person, serial, "locked")
	case errors.Is(err, errBusy):
		return web.Fail(http.StatusTooManyRequests, "signin.error.busy", err)
	case problem != "":
		return s.renderMyKeys(w, r, http.StatusUnprocessableEntity, person, serial, problem)
	case err != nil:
		return err
	}
	return web.Redirect(w, r, keyPath+"?done=key")
}

// renewal is a PIN that is chosen anew because the helpdesk took the old one: on
// two codes behind one another, in the place of a PIN and a code.
type renewal struct{ pin, second string }

func (s *Service) proveKey(ctx context.Context, person directory.Person, a attempt, typed string) error {
	if a.renew == nil {
		return s.mfa.VerifyKey(ctx, person.ID, typed)
	}
	return s.mfa.RenewPIN(ctx, audit.Person(person.ID, person.Login), person.ID, a.renew.pin, typed, a.renew.second)
}
