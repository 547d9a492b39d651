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
	"sync"
	"sync/atomic"
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

// Method is a way to prove who one is, beside the password.
type Method string

const (
	TOTP     Method = "totp"     // an authenticator app, RFC 6238
	Passkey  Method = "passkey"  // WebAuthn: a passkey or a security key
	Key      Method = "key"      // the academy's OTP key: its code typed behind a PIN
	Recovery Method = "recovery" // one of the printed recovery codes
	Mail     Method = "mail"     // a code sent to an address outside the academy
	Pass     Method = "pass"     // a temporary access pass of the helpdesk
	Device   Method = "device"   // a browser that proved another factor before, and was trusted
)

// Factor is one second factor of a person, without its secret.
type Factor struct {
	ID      string
	Kind    Method
	Name    string // the person's word for it; may be empty
	Detail  string // what tells it from others: the model of a passkey, the serial of a key, a masked address; may be empty
	Created time.Time
	Used    time.Time // zero when never
	Ends    time.Time // zero when it does not end by itself
	Left    int       // how often it can still be used, where that is counted: recovery codes
}

// Held says what a person could be asked for now, and how many of each.
type Held map[Method]int

// Lasting counts the factors that make a person protected: not the helpdesk's
// pass, not a trusted browser, not recovery codes, which only replace one.
func (h Held) Lasting() int { return h[TOTP] + h[Passkey] + h[Key] + h[Mail] }

// Config names the issuer that authenticator apps show beside a code.
type Config struct {
	Issuer string     // "Académie de …"; a colon is written as a space
	Passes PassConfig // temporary access passes
	Keys   KeyConfig  // the academy's OTP keys

	MailCodes MailCodeConfig // codes by e-mail
}

// Service keeps the factors. Safe for concurrent use once its hooks are set.
type Service struct {
	db        *db.DB
	sealer    *secret.Sealer
	audit     *audit.Log
	issuer    string
	keyCfg    KeyConfig
	mailCodes MailCodeConfig
	staged    chan struct{} // an upload waits to be read
	now       func() time.Time
	passes    PassConfig
	pepper    atomic.Pointer[[]byte] // see pepperKey
	reset     []func(ctx context.Context, actor audit.Actor, person string) error
	change    []func(ctx context.Context, c Change) error

	passkeys *passkeys // nil: none are used here
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
	return &Service{db: d, sealer: s, audit: a, issuer: issuer, passes: c.Passes.withDefaults(), keyCfg: c.Keys.orUsual(), mailCodes: c.MailCodes, staged: make(chan struct{}, 1), now: now}
}

// kind is one kind of factor, as far as every kind is alike.
type kind struct {
	tables []string // emptied by a reset, WHERE person = $1; the first holds the factors themselves
	named  string   // the table whose column name is the person's word for it; empty: it has none
	held   string   // SELECT of one row of its method for each usable factor of person $1 at time $2
	list   func(s *Service, ctx context.Context, person string) ([]Factor, error)
	remove func(s *Service, ctx context.Context, person, id string) (Factor, error) // db.ErrNotFound when the person has no such factor

	// A kind whose rows outlive their holder says instead of tables and remove:
	reset    func(s *Service, ctx context.Context, actor audit.Actor, person, reason string) (int64, error)
	removeAs func(s *Service, ctx context.Context, actor audit.Actor, person, id, reason string) (Factor, error)
}

// kinds are all that there are: whoever adds one adds it here, and it is
// counted, listed and reset with the others.
func kinds() []kind {
	return []kind{
		totpKind(),
		passkeyKind(),
		keyKind(),
		mailKind(),
		recoveryKind(),
		passKind(),
		deviceKind(),
	}
}

// Factors lists the person's factors of every kind, oldest first within one.
func (s *Service) Factors(ctx context.Context, person string) ([]Factor, error) {
	var all []Factor
	for _, k := range kinds() {
		some, err := k.list(s, ctx, person)
		if err != nil {
			return nil, fmt.Errorf("factors of %s: %w", person, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// Held counts what the person could be asked for: one query, whatever the kinds.
func (s *Service) Held(ctx context.Context, person string) (Held, error) {
	held := Held{}
	_, err := db.All(ctx, s.db, func(scan func(...any) error) (m Method, err error) {
		var n int
		err = scan(&m, &n)
		held[m] = n
		return m, err
	}, heldQuery(), person, db.At(s.now()))
	if err != nil {
		return nil, fmt.Errorf("count factors of %s: %w", person, err)
	}
	if !s.mailCodes.Enabled {
		delete(held, Mail) // nobody could send a code
	}
	return held, nil
}

var heldQuery = sync.OnceValue(func() string {
	var parts []string
	for _, k := range kinds() {
		if k.held != "" {
			parts = append(parts, k.held)
		}
	}
	return "SELECT method, COUNT(*) FROM (" + strings.Join(parts, " UNION ALL ") + ") AS held GROUP BY method"
})

// Count returns how many lasting factors the person has.
func (s *Service) Count(ctx context.Context, person string) (int, error) {
	held, err := s.Held(ctx, person)
	return held.Lasting(), err
}
