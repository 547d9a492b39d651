package mfa

import (
	"context"
	"errors"
	"fmt"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// ErrReason says that a reset was asked for without telling why.
var ErrReason = errors.New("mfa: a reset needs a reason")

// OnReset registers what else a reset ends (sessions, tokens), before serving.
// It runs in the reset's transaction; its error undoes the reset.
func (s *Service) OnReset(fn func(ctx context.Context, actor audit.Actor, person string) error) {
	s.reset = append(s.reset, fn)
}

// Reset removes every factor of the person, pending ones too, and returns how
// many factors that was; none is no error. At the next sign-in the person
// enrols again. One transaction with its audit row and its hooks.
func (s *Service) Reset(ctx context.Context, actor audit.Actor, person, reason string) (n int64, err error) {
	if reason == "" {
		return 0, ErrReason
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		mail, err := s.MailAddress(ctx, person)
		if err != nil {
			return err
		}
		n = 0
		for _, k := range kinds() {
			for i, table := range k.tables {
				gone, err := s.db.Exec(ctx, "DELETE FROM "+table+" WHERE person = $1", person)
				if err != nil {
					return fmt.Errorf("reset factors of %s: %w", person, err)
				}
				if i == 0 {
					n += gone
				}
			}
			if k.reset == nil {
				continue
			}
			gone, err := k.reset(s, ctx, actor, person, reason)
			if err != nil {
				return fmt.Errorf("reset factors of %s: %w", person, err)
			}
			n += gone
		}
		if err := s.ended(ctx, actor, person); err != nil {
			return err
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "reset", Reason: reason, Mail: mail}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.reset", Target: person, Outcome: "ok",
			Detail: map[string]string{"reason": reason, "factors": fmt.Sprint(n)}})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Remove takes one factor from the person. Whether the actor may, and has just
// proven a factor, is the caller's question. Where it is not the person's own
// doing (reason is not empty), everything that rests on the factor ends, as
// with Reset. db.ErrNotFound when the person has no such factor.
func (s *Service) Remove(ctx context.Context, actor audit.Actor, person, id, reason string) (gone Factor, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		mail, err := s.MailAddress(ctx, person)
		if err != nil {
			return err
		}
		err = db.ErrNotFound
		for _, k := range kinds() {
			if k.removeAs != nil {
				gone, err = k.removeAs(s, ctx, actor, person, id, reason)
			} else {
				gone, err = k.remove(s, ctx, person, id)
			}
			if !errors.Is(err, db.ErrNotFound) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("remove factor %s of %s: %w", id, person, err)
		}
		if reason != "" {
			if err := s.ended(ctx, actor, person); err != nil {
				return err
			}
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "removed", Factor: gone, Reason: reason, Mail: mail}); err != nil {
			return err
		}
		detail := map[string]string{"kind": string(gone.Kind), "factor": id}
		if reason != "" {
			detail["reason"] = reason
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.remove", Target: person, Outcome: "ok", Detail: detail})
	})
	return gone, err
}

// ended runs the hooks of a reset.
func (s *Service) ended(ctx context.Context, actor audit.Actor, person string) error {
	for _, hook := range s.reset {
		if err := hook(ctx, actor, person); err != nil {
			return fmt.Errorf("reset factors of %s: %w", person, err)
		}
	}
	return nil
}

// Change is what happened to a person's factors.
type Change struct {
	Actor  audit.Actor
	Person string
	What   string // "added", "removed", "renamed", "used" (a recovery code, a pass: worth telling), Stolen or "reset"
	Factor Factor // zero for a reset of all
	Reason string // a helper's
	Mail   string // the address outside the academy that codes went to before the change; empty: there was none
}

// Stolen is the Change of a trusted browser whose cookie turned up in another.
const Stolen = "stolen"

// OnChange registers who is told of every change, before serving. It runs in
// the transaction of the change; its error undoes the change.
func (s *Service) OnChange(fn func(ctx context.Context, c Change) error) {
	s.change = append(s.change, fn)
}

func (s *Service) changed(ctx context.Context, c Change) error {
	if c.Mail == "" && c.Factor.Kind != Mail {
		mail, err := s.MailAddress(ctx, c.Person)
		if err != nil {
			return err
		}
		c.Mail = mail
	}
	if c.What == "added" && (Held{c.Factor.Kind: 1}).Lasting() > 0 {
		// A pass that was for enrolling only did what it was for.
		if _, err := s.db.Exec(ctx, "DELETE FROM mfa_pass WHERE person = $1 AND enrol_only = 1", c.Person); err != nil {
			return fmt.Errorf("end pass of %s: %w", c.Person, err)
		}
	}
	for _, hook := range s.change {
		if err := hook(ctx, c); err != nil {
			return fmt.Errorf("tell of %s %s of %s: %w", c.What, c.Factor.Kind, c.Person, err)
		}
	}
	return nil
}
