package signin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/web"
)

type guard struct{}

func newGuard(*db.DB, Config, func() time.Time) *guard { return &guard{} }

type flowCount struct{}

const accountProtocol = "account"

type accountFinisher struct{ Finisher }

func (s *Service) endEverywhere(ctx context.Context, person string) error { return nil }

// Begin answers an application's request: at once, when the browser's session
// is enough or no page may be shown, else by storing a flow and redirecting
// (303) to its first page.
func (s *Service) Begin(w http.ResponseWriter, r *http.Request, req Request) error {
	return errors.New("signin: not yet")
}

// Mount adds the pages to the provider's routes.
func (s *Service) Mount(mux *http.ServeMux, site *web.Site) {}

// EndSession signs this browser out, and runs the hooks.
func (s *Service) EndSession(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	return nil
}

// SignOutEverywhere ends every session of the person, and runs the hooks.
func (s *Service) SignOutEverywhere(ctx context.Context, actor audit.Actor, person string) error {
	return nil
}

// LockState is what the guards know of a person.
type LockState struct {
	PasswordFailures int
	PasswordUntil    time.Time // zero when not locked
	FactorFailures   int
	FactorUntil      time.Time
}

// LockState tells why the person's passwords or codes are not looked at.
func (s *Service) LockState(ctx context.Context, person string) (LockState, error) {
	return LockState{}, nil
}

// Unlock forgets the person's wrong guesses.
func (s *Service) Unlock(ctx context.Context, actor audit.Actor, person, reason string) error {
	return nil
}

// Sweep removes what has expired and returns how many rows that was.
func (s *Service) Sweep(ctx context.Context) (int64, error) { return 0, nil }
