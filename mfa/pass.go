package mfa

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// passBits can be read on the telephone in two breaths. Guesses are few: they
// count as wrong codes of the person (signin.factor_limit), and the pass ends.
const passBits = 40

// The bounds of a pass's life, whatever the configuration says.
const (
	passLeast = 15 * time.Minute
	passMost  = 24 * time.Hour
)

// ErrPassLife says that a pass was asked for longer than the configuration
// allows, or shorter than anybody needs to use it.
var ErrPassLife = errors.New("mfa: a pass cannot live that long or short")

// The bounds of the life of a pass that travels by letter.
const (
	letterLeast = 24 * time.Hour
	letterMost  = 60 * 24 * time.Hour
)

// PassConfig bounds temporary access passes.
type PassConfig struct {
	Life   time.Duration `yaml:"life"`   // when nothing else is asked: 1 hour
	Most   time.Duration `yaml:"most"`   // the longest that a helper may give: 8 hours
	Letter time.Duration `yaml:"letter"` // that of an enrolment letter: 30 days
}

// Validate reports every value that makes no sense, by its key.
func (c PassConfig) Validate() []error {
	var errs []error
	for _, one := range []struct {
		key string
		v   time.Duration
	}{{"life", c.Life}, {"most", c.Most}} {
		if one.v != 0 && (one.v < passLeast || one.v > passMost) {
			errs = append(errs, fmt.Errorf("passes.%s: must be between %s and %s", one.key, passLeast, passMost))
		}
	}
	if c.Letter != 0 && (c.Letter < letterLeast || c.Letter > letterMost) {
		errs = append(errs, fmt.Errorf("passes.letter: must be between %s and %s", letterLeast, letterMost))
	}
	if d := c.withDefaults(); len(errs) == 0 && d.Life > d.Most {
		errs = append(errs, fmt.Errorf("passes.life: is longer than passes.most, %s", d.Most))
	}
	return errs
}

func (c PassConfig) withDefaults() PassConfig {
	if c.Most == 0 {
		c.Most = 8 * time.Hour
	}
	if c.Life == 0 {
		c.Life = min(time.Hour, c.Most)
	}
	if c.Letter == 0 {
		c.Letter = 30 * 24 * time.Hour
	}
	return c
}

// Passes returns the bounds of a pass, for whoever offers a choice.
func (s *Service) Passes() PassConfig { return s.passes }

// PassOptions is what a pass lets its person do.
type PassOptions struct {
	Life      time.Duration // zero: the configured life
	Once      bool          // good for one sign-in; else until it ends
	EnrolOnly bool          // good for enrolling a factor and nothing else
	Letter    bool          // goes by post: once, for enrolling only, and as long as a letter is good
	Reason    string        // why, for the audit: needed
}

// PassUse is a pass that was just accepted.
type PassUse struct {
	EnrolOnly bool
	Ends      time.Time
}

// passKind is how temporary access passes are counted, listed and removed. A
// pass that was used up is no longer there.
func passKind() kind {
	return kind{
		tables: []string{"mfa_pass"},
		held:   "SELECT 'pass' AS method FROM mfa_pass WHERE person = $1 AND ends > CAST($2 AS BIGINT) AND (once = 0 OR uses = 0)",
		list: func(s *Service, ctx context.Context, person string) ([]Factor, error) {
			return db.All(ctx, s.db, scanPass, "SELECT "+passColumns+" FROM mfa_pass WHERE person = $1 AND ends > $2 AND (once = 0 OR uses = 0)", person, db.At(s.now()))
		},
		remove: func(s *Service, ctx context.Context, person, id string) (Factor, error) {
			return scanPass(s.db.QueryRow(ctx, "DELETE FROM mfa_pass WHERE person = $1 AND id = $2 RETURNING "+passColumns, person, id).Scan)
		},
	}
}

const passColumns = "id, once, enrol_only, uses, created, used, ends"

// scanPass reads a pass; its detail says in one word what it is good for.
func scanPass(scan func(...any) error) (Factor, error) {
	f := Factor{Kind: Pass}
	var once, enrolOnly, uses int64
	var created, used, ends db.Time
	err := scan(&f.ID, &once, &enrolOnly, &uses, &created, &used, &ends)
	f.Created, f.Used, f.Ends = created.Time, used.Time, ends.Time
	switch {
	case enrolOnly != 0:
		f.Detail = PassEnrols
	case once != 0:
		f.Detail = PassOnce
	default:
		f.Detail = PassOften
	}
	if once != 0 && uses == 0 {
		f.Left = 1
	}
	return f, err
}

// The detail of a pass as a factor.
const (
	PassEnrols = "enrol" // to enrol a factor and nothing else
	PassOnce   = "once"  // for one sign-in
	PassOften  = "often" // until it ends
)

// IssuePass gives the person a temporary access pass in the place of any before
// it, and returns its code, in groups of four, for the only time. Whether the
// actor may is the caller's question. With the code alone nobody gets in: the
// person's password is asked for before it.
func (s *Service) IssuePass(ctx context.Context, actor audit.Actor, person string, o PassOptions) (string, error) {
	if o.Reason == "" {
		return "", ErrReason
	}
	if o.Letter {
		o.Life, o.Once, o.EnrolOnly = s.passes.Letter, true, true
	} else if o.Life == 0 {
		o.Life = s.passes.Life
	}
	if !o.Letter && (o.Life < passLeast || o.Life > s.passes.Most) {
		return "", fmt.Errorf("%w: %s is not between %s and %s", ErrPassLife, o.Life, passLeast, s.passes.Most)
	}
	code := newCode(passBits / 5)
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		hash, err := s.hash(ctx, "pass", person, code)
		if err != nil {
			return err
		}
		now := s.now()
		f, err := scanPass(s.db.QueryRow(ctx, `INSERT INTO mfa_pass (person, id, hash, issuer, once, enrol_only, uses, created, ends) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)
			ON CONFLICT (person) DO UPDATE SET id = excluded.id, hash = excluded.hash, issuer = excluded.issuer, once = excluded.once, enrol_only = excluded.enrol_only,
				uses = 0, created = excluded.created, used = NULL, ends = excluded.ends
			RETURNING `+passColumns, person, secret.Random()[:22], hash, actor.Kind+":"+actor.ID, bit(o.Once), bit(o.EnrolOnly), db.At(now), db.At(now.Add(o.Life))).Scan)
		if err != nil {
			return fmt.Errorf("issue pass for %s: %w", person, err)
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "added", Factor: f, Reason: o.Reason}); err != nil {
			return err
		}
		detail := map[string]string{"reason": o.Reason, "life": o.Life.String(), "once": strconv.FormatBool(o.Once), "enrol_only": strconv.FormatBool(o.EnrolOnly), "factor": f.ID}
		if o.Letter {
			detail["letter"] = "true"
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.pass", Target: person, Outcome: "ok", Detail: detail})
	})
	if err != nil {
		return "", err
	}
	return spoken(code), nil
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// VerifyPass takes the person's pass: nil, ErrNoFactor, ErrWrongCode (also for
// a pass that has ended) or ErrUsedCode. It joins the caller's transaction, so
// that a pass is spent only if what it was spent on is kept.
func (s *Service) VerifyPass(ctx context.Context, actor audit.Actor, person, typed string) (PassUse, error) {
	code := heard(typed, passBits/5)
	if code == "" {
		return PassUse{}, s.wrongUnless(ctx, "SELECT 1 FROM mfa_pass WHERE person = $1", person)
	}
	hash, err := s.hash(ctx, "pass", person, code)
	if err != nil {
		return PassUse{}, err
	}
	var use PassUse
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		f, err := scanPass(s.db.QueryRow(ctx, `UPDATE mfa_pass SET uses = uses + 1, used = $3 WHERE person = $1 AND hash = $2 AND ends > $3 AND (once = 0 OR uses = 0)
			RETURNING `+passColumns, person, hash, db.At(s.now())).Scan)
		if errors.Is(err, db.ErrNotFound) {
			return s.passNotGood(ctx, person, hash)
		}
		if err != nil {
			return fmt.Errorf("use pass of %s: %w", person, err)
		}
		use = PassUse{EnrolOnly: f.Detail == PassEnrols, Ends: f.Ends}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "used", Factor: f}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.pass.used", Target: person, Outcome: "ok", Detail: map[string]string{
			"factor": f.ID, "enrol_only": strconv.FormatBool(use.EnrolOnly),
		}})
	})
	return use, err
}

func (s *Service) passNotGood(ctx context.Context, person, hash string) error {
	var same, spent int64
	err := s.db.QueryRow(ctx, "SELECT CASE WHEN hash = $2 THEN 1 ELSE 0 END, once * uses FROM mfa_pass WHERE person = $1", person, hash).Scan(&same, &spent)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return ErrNoFactor
	case err != nil:
		return fmt.Errorf("use pass of %s: %w", person, err)
	case same == 1 && spent > 0:
		return ErrUsedCode
	}
	return ErrWrongCode
}

// PassHolders tells who has a pass that is still good, of everybody: for letters
// to a school, not for a sign-in.
func (s *Service) PassHolders(ctx context.Context) (map[string]bool, error) {
	people, err := db.All(ctx, s.db, func(scan func(...any) error) (id string, err error) { return id, scan(&id) },
		"SELECT person FROM mfa_pass WHERE ends > $1 AND (once = 0 OR uses = 0)", db.At(s.now()))
	if err != nil {
		return nil, fmt.Errorf("who holds a pass: %w", err)
	}
	all := make(map[string]bool, len(people))
	for _, id := range people {
		all[id] = true
	}
	return all, nil
}

// RevokePass takes the person's pass back; none is no error.
func (s *Service) RevokePass(ctx context.Context, actor audit.Actor, person, reason string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		f, err := scanPass(s.db.QueryRow(ctx, "DELETE FROM mfa_pass WHERE person = $1 RETURNING "+passColumns, person).Scan)
		if errors.Is(err, db.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("revoke pass of %s: %w", person, err)
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "removed", Factor: f, Reason: reason}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.pass.revoke", Target: person, Outcome: "ok", Detail: map[string]string{"reason": reason, "factor": f.ID}})
	})
}
