package mfa

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

const (
	recoveryCodes = 10
	recoveryBits  = 80
	// FewCodes is how many recovery codes are few: the person is warned from
	// there on.
	FewCodes = 3
)

// RecoverySet is what a person still has of their recovery codes.
type RecoverySet struct {
	Factor      // zero when there is none; Left counts the codes
	Noted  bool // the person said that they are written down
}

// recoveryKind is how recovery codes are counted, listed and removed: a set is
// one factor, and each code left may be asked for.
func recoveryKind() kind {
	return kind{
		tables: []string{"mfa_recovery", "mfa_recovery_code"},
		held:   "SELECT 'recovery' AS method FROM mfa_recovery_code WHERE person = $1 AND used IS NULL AND CAST($2 AS BIGINT) IS NOT NULL",
		list: func(s *Service, ctx context.Context, person string) ([]Factor, error) {
			set, err := s.RecoverySet(ctx, person)
			if err != nil || set.ID == "" {
				return nil, err
			}
			return []Factor{set.Factor}, nil
		},
		remove: func(s *Service, ctx context.Context, person, id string) (Factor, error) {
			f := Factor{ID: id, Kind: Recovery}
			var created, used db.Time
			err := s.db.QueryRow(ctx, "DELETE FROM mfa_recovery WHERE person = $1 AND id = $2 RETURNING created, used", person, id).Scan(&created, &used)
			if err != nil {
				return f, err
			}
			f.Created, f.Used = created.Time, used.Time
			left, err := s.db.Exec(ctx, "DELETE FROM mfa_recovery_code WHERE person = $1 AND used IS NULL", person)
			if err != nil {
				return f, err
			}
			f.Left = int(left)
			_, err = s.db.Exec(ctx, "DELETE FROM mfa_recovery_code WHERE person = $1", person)
			return f, err
		},
	}
}

// RecoverySet tells how many recovery codes the person has left; never the codes.
func (s *Service) RecoverySet(ctx context.Context, person string) (RecoverySet, error) {
	var set RecoverySet
	var created, noted, used db.Time
	err := s.db.QueryRow(ctx, `SELECT id, created, noted, used, (SELECT COUNT(*) FROM mfa_recovery_code c WHERE c.person = r.person AND c.used IS NULL)
		FROM mfa_recovery r WHERE person = $1`, person).Scan(&set.ID, &created, &noted, &used, &set.Left)
	if errors.Is(err, db.ErrNotFound) {
		return set, nil
	}
	if err != nil {
		return set, fmt.Errorf("recovery codes of %s: %w", person, err)
	}
	set.Kind, set.Created, set.Used, set.Noted = Recovery, created.Time, used.Time, !noted.IsZero()
	return set, nil
}

// NewRecoveryCodes makes a set of codes in the place of the one before and
// returns them, in groups of four, for the only time. Whether the actor has
// just proven a factor is the caller's question.
func (s *Service) NewRecoveryCodes(ctx context.Context, actor audit.Actor, person string) (codes []string, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		codes = nil
		// This row is the lock: of two sets made at once, the second waits here
		// and takes the place of the first.
		_, err := s.db.Exec(ctx, `INSERT INTO mfa_recovery (person, id, created) VALUES ($1, $2, $3)
			ON CONFLICT (person) DO UPDATE SET id = excluded.id, created = excluded.created, noted = NULL, used = NULL`, person, secret.Random()[:22], db.At(s.now()))
		if err != nil {
			return fmt.Errorf("new recovery codes of %s: %w", person, err)
		}
		before, err := s.db.Exec(ctx, "DELETE FROM mfa_recovery_code WHERE person = $1", person)
		if err != nil {
			return fmt.Errorf("new recovery codes of %s: %w", person, err)
		}
		for range recoveryCodes {
			code := newCode(recoveryBits / 5)
			hash, err := s.hash(ctx, "recovery", person, code)
			if err != nil {
				return err
			}
			if _, err := s.db.Exec(ctx, "INSERT INTO mfa_recovery_code (person, hash) VALUES ($1, $2)", person, hash); err != nil {
				return fmt.Errorf("new recovery codes of %s: %w", person, err)
			}
			codes = append(codes, spoken(code))
		}
		set, err := s.RecoverySet(ctx, person)
		if err != nil {
			return err
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "added", Factor: set.Factor}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.enrol", Target: person, Outcome: "ok",
			Detail: map[string]string{"kind": string(Recovery), "codes": strconv.Itoa(len(codes)), "replaced": strconv.FormatBool(before > 0)}})
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// NoteRecoveryCodes keeps that the person has written the codes down.
func (s *Service) NoteRecoveryCodes(ctx context.Context, person string) error {
	_, err := s.db.Exec(ctx, "UPDATE mfa_recovery SET noted = $2 WHERE person = $1 AND noted IS NULL", person, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("note recovery codes of %s: %w", person, err)
	}
	return nil
}

// VerifyRecovery spends one recovery code and returns how many are left: nil,
// ErrNoFactor, ErrWrongCode or ErrUsedCode. It joins the caller's transaction,
// so that a code is spent only if what it was spent on is kept.
func (s *Service) VerifyRecovery(ctx context.Context, actor audit.Actor, person, typed string) (left int, err error) {
	code := heard(typed, recoveryBits/5)
	if code == "" {
		return 0, s.wrongUnless(ctx, "SELECT 1 FROM mfa_recovery WHERE person = $1", person)
	}
	hash, err := s.hash(ctx, "recovery", person, code)
	if err != nil {
		return 0, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		n, err := s.db.Exec(ctx, "UPDATE mfa_recovery_code SET used = $3 WHERE person = $1 AND hash = $2 AND used IS NULL", person, hash, db.At(s.now()))
		if err != nil {
			return fmt.Errorf("use recovery code of %s: %w", person, err)
		}
		if n == 0 {
			return s.notGood(ctx, "mfa_recovery_code", person, hash)
		}
		if _, err := s.db.Exec(ctx, "UPDATE mfa_recovery SET used = $2 WHERE person = $1", person, db.At(s.now())); err != nil {
			return fmt.Errorf("use recovery code of %s: %w", person, err)
		}
		set, err := s.RecoverySet(ctx, person)
		if err != nil {
			return err
		}
		left = set.Left
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "used", Factor: set.Factor}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.recovery", Target: person, Outcome: "ok", Detail: map[string]string{"left": strconv.Itoa(left)}})
	})
	return left, err
}

// wrongUnless is ErrWrongCode, or ErrNoFactor when the query about the person
// finds nothing that a code could be wrong for.
func (s *Service) wrongUnless(ctx context.Context, query, person string) error {
	var one int
	err := s.db.QueryRow(ctx, query, person).Scan(&one)
	if errors.Is(err, db.ErrNotFound) {
		return ErrNoFactor
	}
	if err != nil {
		return fmt.Errorf("factors of %s: %w", person, err)
	}
	return ErrWrongCode
}

// notGood says why a hash was not taken: ErrUsedCode when the person has it,
// spent; else as wrongUnless.
func (s *Service) notGood(ctx context.Context, table, person, hash string) error {
	var one int
	err := s.db.QueryRow(ctx, "SELECT 1 FROM "+table+" WHERE person = $1 AND hash = $2", person, hash).Scan(&one)
	if errors.Is(err, db.ErrNotFound) {
		return s.wrongUnless(ctx, "SELECT 1 FROM "+table+" WHERE person = $1 LIMIT 1", person)
	}
	if err != nil {
		return fmt.Errorf("factors of %s: %w", person, err)
	}
	return ErrUsedCode
}
