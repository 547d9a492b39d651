package mfa

import (
	"context"
	"errors"
	"fmt"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// lockBits is how much is guessed against: CheckLockCode asks for no name.
const lockBits = 80

// ErrNoCard says that no printed card has this code.
var ErrNoCard = errors.New("mfa: no card has this code")

// NewLockCode makes the code of the person's printed card, which locks their
// account from anywhere and opens nothing, and returns it for the only time.
// The card before it is good no longer.
func (s *Service) NewLockCode(ctx context.Context, actor audit.Actor, person string) (string, error) {
	code := newCode(lockBits / 5)
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		hash, err := s.hash(ctx, "lock", "", code)
		if err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `INSERT INTO mfa_lockcard (person, hash, created) VALUES ($1, $2, $3)
			ON CONFLICT (person) DO UPDATE SET hash = excluded.hash, created = excluded.created`, person, hash, db.At(s.now()))
		if err != nil {
			return fmt.Errorf("lock card of %s: %w", person, err)
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.lockcard", Target: person, Outcome: "ok"})
	})
	if err != nil {
		return "", err
	}
	return spoken(code), nil
}

// CheckLockCode returns whose card has the code, as often as it is asked, until
// the person gets another card. ErrNoCard for every other code.
func (s *Service) CheckLockCode(ctx context.Context, typed string) (person string, err error) {
	code := heard(typed, lockBits/5)
	if code == "" {
		return "", ErrNoCard
	}
	hash, err := s.hash(ctx, "lock", "", code)
	if err != nil {
		return "", err
	}
	err = s.db.QueryRow(ctx, "SELECT person FROM mfa_lockcard WHERE hash = $1", hash).Scan(&person)
	if errors.Is(err, db.ErrNotFound) {
		return "", ErrNoCard
	}
	if err != nil {
		return "", fmt.Errorf("check lock card: %w", err)
	}
	return person, nil
}
