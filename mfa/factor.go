// Package mfa keeps second factors: enrolling, verifying and resetting them. It
// knows a person only as an ID and has no pages; signin shows them.
//
// It promises: a secret rests sealed, for its person only; it is shown while it
// is pending and never again; a code is good once, however many requests carry
// it at the same time; a reset leaves neither a factor nor a half-made one, and
// runs its hooks (the end of sessions) in the same transaction.
//
// Called by signin (enrol, verify), by the operator's commands and the helpdesk
// (Reset), and by the demo (Install, Code).
package mfa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

var (
	// ErrWrongCode says that no factor of the person makes this code now.
	ErrWrongCode = errors.New("mfa: wrong code")
	// ErrUsedCode says that the code is right and was used already, or an
	// earlier one than the last used.
	ErrUsedCode = errors.New("mfa: code used already")
	// ErrNoFactor says that the person has nothing to verify with.
	ErrNoFactor = errors.New("mfa: no factor")
	// ErrNotPending says that there is nothing to confirm: never begun, begun
	// in another attempt, too old, or confirmed meanwhile.
	ErrNotPending = errors.New("mfa: no enrolment pending")
)

// pendingLife is how long a shown secret waits for its first code.
const pendingLife = 30 * time.Minute

// Factor is one second factor of a person, without its secret.
type Factor struct {
	ID      string
	Kind    string // "totp"
	Name    string // the person's word for it; may be empty
	Created time.Time
	Used    time.Time // zero when never
}

// Config names the issuer that authenticator apps show beside a code.
type Config struct {
	Issuer string // "Académie de …"; a colon is written as a space
}

// Service keeps the factors. Safe for concurrent use once its hooks are set.
type Service struct {
	db     *db.DB
	sealer *secret.Sealer
	audit  *audit.Log
	issuer string
	now    func() time.Time
	reset  []func(ctx context.Context, actor audit.Actor, person string) error
}

// New makes a Service.
func New(d *db.DB, s *secret.Sealer, a *audit.Log, c Config, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	// A colon would split the label of the otpauth address (Key URI Format).
	issuer := strings.Join(strings.Fields(strings.ReplaceAll(c.Issuer, ":", " ")), " ")
	if issuer == "" {
		issuer = "Beffroi"
	}
	return &Service{db: d, sealer: s, audit: a, issuer: issuer, now: now}
}

// Factors lists the person's factors, oldest first.
func (s *Service) Factors(ctx context.Context, person string) ([]Factor, error) {
	rows, err := s.factorsOf(ctx, person)
	if err != nil {
		return nil, err
	}
	list := make([]Factor, len(rows))
	for i, r := range rows {
		list[i] = Factor{ID: r.id, Kind: r.kind, Name: r.name, Created: r.created.Time, Used: r.used.Time}
	}
	return list, nil
}

// Count returns how many factors the person could be asked for.
func (s *Service) Count(ctx context.Context, person string) (n int, err error) {
	err = s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mfa_factor WHERE person = $1", person).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count factors of %s: %w", person, err)
	}
	return n, nil
}
