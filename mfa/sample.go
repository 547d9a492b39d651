package mfa

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// NotYet is the error of Code when every code of now is spent: the next one is
// good from Until on.
type NotYet struct{ Until time.Time }

func (e *NotYet) Error() string {
	return "mfa: every code of this moment was used; the next one is good from " + e.Until.Format(time.TimeOnly)
}

// Install gives a sample person a known TOTP secret unless the person has a
// factor already, so that a demo keeps what was changed in it.
func (s *Service) Install(ctx context.Context, actor audit.Actor, person, base32Secret string) error {
	plain := strings.TrimRight(strings.ToUpper(strings.ReplaceAll(base32Secret, " ", "")), "=")
	if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain); err != nil || len(raw) < 16 {
		return errors.New("install factor: the secret must be base32, of 128 bits or more") // RFC 4226 §4
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		added, err := s.addTOTP(ctx, person, plain, -1)
		if err != nil || !added {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.install", Target: person, Outcome: "ok", Detail: map[string]string{"kind": "totp"}})
	})
}

// SampleCode is what a TOTP key of the demo shows: six digits, SHA-1, 30 seconds.
func SampleCode(seed []byte, at time.Time) (string, error) {
	return codeAt(noPadding.EncodeToString(seed), at.Unix()/period)
}

// Code returns the code that the person's authenticator would show, for the
// demo: of the factor, or of the newest pending enrolment. Spent codes are
// skipped; ErrNoFactor when there is neither, *NotYet when one must wait.
func (s *Service) Code(ctx context.Context, person string) (string, error) {
	base := s.now().Unix() / period
	rows, err := s.factorsOf(ctx, person)
	if err != nil {
		return "", err
	}
	if len(rows) > 0 {
		plain, err := s.sealer.Open(totpPurpose(person), rows[0].sealed)
		if err != nil {
			return "", fmt.Errorf("code of %s: %w", person, err)
		}
		step := max(base, rows[0].lastStep+1)
		if step > base+skew {
			return "", &NotYet{Until: time.Unix((step-skew)*period, 0)}
		}
		return codeAt(plain, step)
	}
	var sealed string
	err = s.db.QueryRow(ctx, "SELECT secret FROM mfa_pending WHERE person = $1 AND created > $2 ORDER BY created DESC LIMIT 1",
		person, db.At(s.now().Add(-pendingLife))).Scan(&sealed)
	if errors.Is(err, db.ErrNotFound) {
		return "", ErrNoFactor
	}
	if err != nil {
		return "", fmt.Errorf("code of %s: %w", person, err)
	}
	plain, err := s.sealer.Open(pendingPurpose(person), sealed)
	if err != nil {
		return "", fmt.Errorf("code of %s: %w", person, err)
	}
	return codeAt(plain, base)
}
