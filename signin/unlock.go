package signin

import (
	"context"
	"fmt"
	"time"

	"beffroi/internal/audit"
)

// LockState is what stands between a person and the next try.
type LockState struct {
	Passwords     int       // wrong passwords that still count
	PasswordUntil time.Time // when passwords are looked at again; zero when they are now
	Factors       int       // wrong codes that still count
	FactorUntil   time.Time
}

// LockState tells how many wrong guesses count against the login's person.
// directory.ErrUnknown when nobody has the login.
func (s *Service) LockState(ctx context.Context, login string) (LockState, error) {
	person, err := s.directory.ByLogin(ctx, login)
	if err != nil {
		return LockState{}, fmt.Errorf("lock state of %s: %w", login, err)
	}
	var state LockState
	passwords, err := s.guard.of(ctx, passwordKey(person.ID))
	if err != nil {
		return state, err
	}
	factors, err := s.guard.of(ctx, factorKey(person.ID))
	if err != nil {
		return state, err
	}
	state.Passwords, state.Factors = passwords.count, factors.count
	if passwords.count >= s.cfg.PasswordLimit {
		state.PasswordUntil = passwords.latest.Add(s.cfg.GuessWindow)
	}
	if factors.count >= s.cfg.FactorLimit {
		state.FactorUntil = factors.latest.Add(s.cfg.GuessWindow)
	}
	return state, nil
}

// Unlock forgets the wrong guesses at the login's person, of passwords and of
// codes. It opens our lock, not the directory's.
func (s *Service) Unlock(ctx context.Context, actor audit.Actor, login string) error {
	person, err := s.directory.ByLogin(ctx, login)
	if err != nil {
		return fmt.Errorf("unlock %s: %w", login, err)
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.guard.forget(ctx, passwordKey(person.ID), factorKey(person.ID)); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "signin.unlock", Target: person.ID, Outcome: "ok"})
	})
}
