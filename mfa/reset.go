package mfa

import (
	"context"
	"errors"
	"fmt"

	"beffroi/internal/audit"
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
		if _, err := s.db.Exec(ctx, "DELETE FROM mfa_pending WHERE person = $1", person); err != nil {
			return fmt.Errorf("reset factors of %s: %w", person, err)
		}
		if n, err = s.db.Exec(ctx, "DELETE FROM mfa_factor WHERE person = $1", person); err != nil {
			return fmt.Errorf("reset factors of %s: %w", person, err)
		}
		for _, hook := range s.reset {
			if err := hook(ctx, actor, person); err != nil {
				return fmt.Errorf("reset factors of %s: %w", person, err)
			}
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.reset", Target: person, Outcome: "ok",
			Detail: map[string]string{"reason": reason, "factors": fmt.Sprint(n)}})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
