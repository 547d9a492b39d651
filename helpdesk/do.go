package helpdesk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/mfa"
)

// Order is what a helper wants done for a person.
type Order struct {
	Action Action
	Person string // ID
	Reason string // why, 3 to 300 characters: needed

	Factor  string        // Reset: this factor only; empty: all of them
	Revoke  bool          // Pass: takes it back
	Life    time.Duration // Pass: zero is the configured one
	SignsIn bool          // Pass: it opens applications too, not only the making of a factor
	Often   bool          // Pass: until it ends, not once
	Serial  string        // Keys: the key that is lost

	// Verified is how an application says that it verified the caller; at the
	// desk that is remembered (Desk.Verify).
	Verified string
}

// Done is what came of an order.
type Done struct {
	Person  directory.Person
	Removed int64     // Reset: factors
	Code    string    // Pass: shown once, now; Letter: stands in the letter
	Ends    time.Time // Pass, Letter
	Request string    // waits for a second person under this ID; nothing was done
}

// Why an order was not carried out though the helper may give it.
var (
	// ErrNoReason says that a reason is missing, or too short or long to be one.
	ErrNoReason = errors.New("helpdesk: an order needs a reason")
	// ErrNotVerified says that nobody has made sure who the caller is.
	ErrNotVerified = errors.New("helpdesk: the caller was not verified")
	// ErrNothing says that there is nothing to be done: somebody was faster, or
	// it was so already.
	ErrNothing = errors.New("helpdesk: nothing to do")
	// ErrAsked says that the same was asked for already and waits.
	ErrAsked = errors.New("helpdesk: asked for already")
)

// The lengths that a reason may have, in characters.
const (
	reasonLeast = 3
	reasonMost  = 300
)

// Do carries out an order, or asks for the second person that the account
// needs. It decides on the directory's facts of now, and is the only way to do
// something at the desk and by the API. A *Refusal, ErrNoReason, ErrNotVerified,
// ErrNothing, ErrAsked and the errors of mfa for what was ordered are answers;
// each refused order leaves its row in the trail.
func (d *Desk) Do(ctx context.Context, h Helper, o Order) (done Done, err error) {
	p, err := d.directory.ByID(ctx, o.Person)
	if errors.Is(err, directory.ErrUnknown) {
		p, err = directory.Person{}, nil
	}
	if err != nil {
		return done, fmt.Errorf("helpdesk: %w", err)
	}
	done.Person = p
	o.Reason = strings.Join(strings.Fields(o.Reason), " ")
	verified, err := d.allowed(ctx, h, o, p)
	no := Refused(err)
	if no != nil && no.Reason == Second {
		done.Request, err = d.ask(ctx, h, o, p, verified)
		if err != nil {
			d.failed(ctx, h, o, err)
		}
		return done, err
	}
	if err == nil {
		err = d.db.InTx(ctx, func(ctx context.Context) error {
			return d.carryOut(ctx, h.actor(), h, o, &done, map[string]string{"verified": verified})
		})
	}
	if err != nil {
		d.failed(ctx, h, o, err)
	}
	return done, err
}

// allowed says whether the order may be carried out now, and how the caller was
// verified. *Refusal with Second when all is well but for the second person.
func (d *Desk) allowed(ctx context.Context, h Helper, o Order, p directory.Person) (verified string, err error) {
	may := d.rules.May(h, o.Action, p, d.now())
	if no := Refused(may); may != nil && (no == nil || no.Reason != Second) {
		return "", may
	}
	if n := utf8.RuneCountInString(o.Reason); n < reasonLeast || n > reasonMost {
		return "", ErrNoReason
	}
	if NeedsVerified(o.Action) && !(o.Action == Pass && o.Revoke) {
		if verified, err = d.verifiedBy(ctx, h, o); err != nil {
			return "", err
		}
	}
	return verified, may
}

// verifiedBy is how the caller was verified for this order.
func (d *Desk) verifiedBy(ctx context.Context, h Helper, o Order) (string, error) {
	if h.Application != "" {
		if !d.rules.Verifies(o.Verified) {
			return "", ErrNotVerified
		}
		return o.Verified, nil
	}
	v, err := d.Verification(ctx, h, o.Person)
	if err != nil {
		return "", err
	}
	if v.Way == "" {
		return "", ErrNotVerified
	}
	return v.Way, nil
}

// failed writes an order that was not carried out to the trail.
func (d *Desk) failed(ctx context.Context, h Helper, o Order, err error) {
	no := Refused(err)
	if no == nil {
		word := ""
		switch {
		case errors.Is(err, ErrNoReason):
			word = "no_reason"
		case errors.Is(err, ErrNotVerified):
			word = "not_verified"
		case errors.Is(err, ErrNothing):
			word = "nothing"
		case errors.Is(err, ErrAsked):
			word = "asked"
		default:
			return // not an answer: an error, which the log has
		}
		no = &Refusal{Reason: word}
	}
	d.refuse(context.WithoutCancel(ctx), h, o.Action, o.Person, no)
}

// carryOut does what was ordered and writes its row, in the caller's transaction.
// Its actor may differ from the helper who asked: a second person agreed.
func (d *Desk) carryOut(ctx context.Context, actor audit.Actor, h Helper, o Order, done *Done, detail map[string]string) error {
	detail = maps.Clone(detail)
	detail["reason"] = o.Reason
	if name := d.rules.By(h, o.Action, done.Person, d.now()); name != "" {
		detail["delegation"] = name
	}
	if detail["verified"] == "" {
		delete(detail, "verified")
	}
	if err := d.act(ctx, actor, o, done, detail); err != nil {
		return err
	}
	return d.audit.Record(ctx, actor, audit.Event{Action: "helpdesk." + string(o.Action), Target: o.Person, Application: h.Application, Outcome: "ok", Detail: detail})
}

// act does it.
func (d *Desk) act(ctx context.Context, actor audit.Actor, o Order, done *Done, detail map[string]string) (err error) {
	switch o.Action {
	case Reset:
		if o.Factor == "" {
			if done.Removed, err = d.mfa.Reset(ctx, actor, o.Person, o.Reason); err == nil && done.Removed == 0 {
				return ErrNothing
			}
			detail["factors"] = strconv.FormatInt(done.Removed, 10)
			return err
		}
		gone, err := d.mfa.Remove(ctx, actor, o.Person, o.Factor, o.Reason)
		if errors.Is(err, db.ErrNotFound) {
			return ErrNothing
		}
		done.Removed, detail["factors"], detail["kind"] = 1, "1", string(gone.Kind)
		return err
	case Pass:
		if o.Revoke {
			detail["revoked"] = "true"
			return d.mfa.RevokePass(ctx, actor, o.Person, o.Reason)
		}
		life := o.Life
		if life == 0 {
			life = d.mfa.Passes().Life
		}
		done.Code, err = d.mfa.IssuePass(ctx, actor, o.Person, mfa.PassOptions{Life: life, Once: !o.Often, EnrolOnly: !o.SignsIn, Reason: o.Reason})
		done.Ends = d.now().Add(life)
		return err
	case Letter:
		done.Code, err = d.mfa.IssuePass(ctx, actor, o.Person, mfa.PassOptions{Letter: true, Reason: o.Reason})
		done.Ends = d.now().Add(d.mfa.Passes().Letter)
		return err
	case Unlock:
		state, err := d.signin.LockState(ctx, done.Person.Login)
		if err != nil {
			return err
		}
		if state.Passwords == 0 && state.Factors == 0 {
			return ErrNothing
		}
		return d.signin.Unlock(ctx, actor, done.Person.Login)
	case Lock:
		return d.signin.Lock(ctx, actor, o.Person, o.Reason)
	case Open:
		err := d.signin.Open(ctx, actor, o.Person, o.Reason)
		if errors.Is(err, db.ErrNotFound) {
			return ErrNothing
		}
		return err
	case Sessions:
		return d.signin.SignOutEverywhere(ctx, actor, o.Person)
	case Keys:
		k, err := d.mfa.OTPKey(ctx, o.Serial)
		if errors.Is(err, db.ErrNotFound) || err == nil && k.Person != o.Person {
			return ErrNothing
		}
		if err != nil {
			return err
		}
		detail["serial"] = k.Serial
		_, err = d.mfa.MoveKey(ctx, actor, k.Serial, mfa.KeyMove{Step: mfa.StepLose, Reason: o.Reason})
		return err
	}
	return &Refusal{Reason: NoAction}
}
