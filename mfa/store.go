package mfa

import (
	"context"
	"fmt"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// factorRow is a factor with its sealed secret; it does not leave the package.
type factorRow struct {
	id, kind, name, sealed string
	lastStep               int64
	created, used          db.Time
}

func (r factorRow) factor() Factor {
	return Factor{ID: r.id, Kind: Method(r.kind), Name: r.name, Created: r.created.Time, Used: r.used.Time}
}

func (s *Service) factorsOf(ctx context.Context, person string) ([]factorRow, error) {
	rows, err := db.All(ctx, s.db, func(scan func(...any) error) (factorRow, error) {
		var r factorRow
		err := scan(&r.id, &r.kind, &r.name, &r.sealed, &r.lastStep, &r.created, &r.used)
		return r, err
	}, "SELECT id, kind, name, secret, last_step, created, used FROM mfa_factor WHERE person = $1 ORDER BY created, id", person)
	if err != nil {
		return nil, fmt.Errorf("factors of %s: %w", person, err)
	}
	return rows, nil
}

// useStep claims a time step of a factor: true for one caller only, however
// many come at once, and for no earlier step ever after.
func (s *Service) useStep(ctx context.Context, factor string, step int64) (bool, error) {
	n, err := s.db.Exec(ctx, "UPDATE mfa_factor SET last_step = $1, used = $2 WHERE id = $3 AND last_step < $1", step, db.At(s.now()), factor)
	if err != nil {
		return false, fmt.Errorf("use factor %s: %w", factor, err)
	}
	return n == 1, nil
}

// addTOTP inserts a factor unless the person has one: a first factor needs no
// other, and a second one needs a proof that this package cannot see.
func (s *Service) addTOTP(ctx context.Context, person, plain string, lastStep int64) (bool, error) {
	n, err := s.db.Exec(ctx, `INSERT INTO mfa_factor (id, person, kind, name, secret, last_step, created)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), 'totp', '', CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS BIGINT)
		WHERE NOT EXISTS (SELECT 1 FROM mfa_factor WHERE person = $2)`,
		secret.Random()[:22], person, s.sealer.Seal(totpPurpose(person), plain), lastStep, db.At(s.now()))
	if err != nil {
		return false, fmt.Errorf("add factor of %s: %w", person, err)
	}
	return n == 1, nil
}

// pending returns the sealed secret of an attempt that is not too old.
func (s *Service) pending(ctx context.Context, person, attempt string) (sealed string, err error) {
	err = s.db.QueryRow(ctx, "SELECT secret FROM mfa_pending WHERE person = $1 AND attempt = $2 AND created > $3",
		person, attempt, db.At(s.now().Add(-pendingLife))).Scan(&sealed)
	return sealed, err
}

// Sweep removes enrolments and challenges that nobody finished, passes,
// trusts and codes that have ended, and returns how many rows that was.
func (s *Service) Sweep(ctx context.Context) (n int64, err error) {
	for _, one := range []struct {
		query string
		until time.Time
	}{
		{"DELETE FROM mfa_pending WHERE created <= $1", s.now().Add(-pendingLife)},
		{"DELETE FROM mfa_passkey_challenge WHERE expires <= $1", s.now()},
		{"DELETE FROM mfa_pass WHERE ends <= $1", s.now()},
		{"DELETE FROM mfa_device WHERE ends <= $1", s.now()},
		{"DELETE FROM mfa_mail_code WHERE ends <= $1", s.now()},
		{"DELETE FROM mfa_mail_count WHERE since <= $1", s.now().Add(-24 * time.Hour)},
	} {
		gone, err := s.db.Exec(ctx, one.query, db.At(one.until))
		if err != nil {
			return n, fmt.Errorf("sweep factors: %w", err)
		}
		n += gone
	}
	return n, nil
}
