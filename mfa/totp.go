package mfa

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"image/png"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// RFC 6238 with the parameters that every authenticator app knows.
const (
	period = 30 // seconds in a step
	skew   = 1  // steps accepted before and after the present one
	digits = otp.DigitsSix
)

// noPadding is how a secret is written for apps, and rests under its seal.
var noPadding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Enrolment is a secret on its way into the person's authenticator.
type Enrolment struct {
	Secret string // base32 without padding
	URI    string // otpauth://totp/…
}

// QR draws the enrolment's address as a PNG, about 250 pixels wide. It costs
// some 20 ms: serve it from an address of its own, not inside a page.
func (e Enrolment) QR() ([]byte, error) { return QR(e.URI) }

// QR draws any address in the same way.
func QR(address string) ([]byte, error) {
	code, err := qr.Encode(address, qr.L, qr.Auto)
	if err != nil {
		return nil, fmt.Errorf("draw QR code: %w", err)
	}
	// A whole number of pixels per module keeps the edges sharp.
	side := code.Bounds().Dx() * max(1, 250/code.Bounds().Dx())
	if code, err = barcode.Scale(code, side, side); err != nil {
		return nil, fmt.Errorf("scale QR code: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, code); err != nil {
		return nil, fmt.Errorf("encode QR code: %w", err)
	}
	return b.Bytes(), nil
}

// totpKind is how a TOTP is counted, listed and removed.
func totpKind() kind {
	return kind{
		tables: []string{"mfa_factor", "mfa_pending"},
		named:  "mfa_factor",
		held:   "SELECT kind AS method FROM mfa_factor WHERE person = $1 AND CAST($2 AS BIGINT) IS NOT NULL",
		list: func(s *Service, ctx context.Context, person string) ([]Factor, error) {
			rows, err := s.factorsOf(ctx, person)
			list := make([]Factor, len(rows))
			for i, r := range rows {
				list[i] = r.factor()
			}
			return list, err
		},
		remove: func(s *Service, ctx context.Context, person, id string) (Factor, error) {
			var r factorRow
			err := s.db.QueryRow(ctx, "DELETE FROM mfa_factor WHERE person = $1 AND id = $2 RETURNING id, kind, name, created, used", person, id).
				Scan(&r.id, &r.kind, &r.name, &r.created, &r.used)
			return r.factor(), err
		},
	}
}

func totpPurpose(person string) string    { return "totp:" + person }
func pendingPurpose(person string) string { return "totp-pending:" + person }

// BeginTOTP shows a secret for the person, the same again whenever the same
// attempt asks, until it is confirmed or forgotten. attempt names where it was
// begun (a flow): another attempt gets another secret. account is the name that
// the app shows under the issuer's.
func (s *Service) BeginTOTP(ctx context.Context, person, attempt, account string) (Enrolment, error) {
	sealed, err := s.pending(ctx, person, attempt)
	if errors.Is(err, db.ErrNotFound) {
		sealed, err = s.newPending(ctx, person, attempt)
	}
	if err != nil {
		return Enrolment{}, fmt.Errorf("begin enrolment of %s: %w", person, err)
	}
	plain, err := s.sealer.Open(pendingPurpose(person), sealed)
	if err != nil {
		return Enrolment{}, fmt.Errorf("begin enrolment of %s: %w", person, err)
	}
	return s.enrolment(plain, account), nil
}

// newPending stores a new secret, or returns the one that another request of
// the same attempt stored first.
func (s *Service) newPending(ctx context.Context, person, attempt string) (sealed string, err error) {
	var raw [20]byte // 160 bits, RFC 4226 §4
	_, _ = rand.Read(raw[:])
	plain := noPadding.EncodeToString(raw[:])
	err = s.db.QueryRow(ctx, `INSERT INTO mfa_pending (person, attempt, secret, created) VALUES ($1, $2, $3, $4)
		ON CONFLICT (person, attempt) DO UPDATE SET
			secret = CASE WHEN mfa_pending.created > $5 THEN mfa_pending.secret ELSE excluded.secret END,
			created = CASE WHEN mfa_pending.created > $5 THEN mfa_pending.created ELSE excluded.created END
		RETURNING secret`,
		person, attempt, s.sealer.Seal(pendingPurpose(person), plain), db.At(s.now()), db.At(s.now().Add(-pendingLife))).Scan(&sealed)
	return sealed, err
}

func (s *Service) enrolment(plain, account string) Enrolment {
	label := s.issuer + ":" + strings.ReplaceAll(account, ":", " ")
	// SHA-1, 6 digits and 30 seconds are what the format means by saying
	// nothing; a shorter address makes a coarser picture, easier to scan.
	query := "secret=" + plain + "&issuer=" + url.PathEscape(s.issuer)
	return Enrolment{Secret: plain, URI: "otpauth://totp/" + url.PathEscape(label) + "?" + query}
}

// ConfirmTOTP makes the pending secret of the attempt the person's first factor
// if the code is right, and forgets every other pending one. The code counts as
// used. ErrWrongCode leaves the secret pending; ErrNotPending also stands for
// "has a factor already".
func (s *Service) ConfirmTOTP(ctx context.Context, actor audit.Actor, person, attempt, code string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		sealed, err := s.pending(ctx, person, attempt)
		if errors.Is(err, db.ErrNotFound) {
			return ErrNotPending
		}
		if err != nil {
			return fmt.Errorf("confirm enrolment of %s: %w", person, err)
		}
		plain, err := s.sealer.Open(pendingPurpose(person), sealed)
		if err != nil {
			return fmt.Errorf("confirm enrolment of %s: %w", person, err)
		}
		step, ok := matchStep(plain, code, s.now(), -1)
		if !ok {
			return ErrWrongCode
		}
		// The row goes before the factor comes: of two confirmations at once,
		// the second waits here and finds nothing.
		gone, err := s.db.Exec(ctx, "DELETE FROM mfa_pending WHERE person = $1", person)
		if err != nil {
			return fmt.Errorf("confirm enrolment of %s: %w", person, err)
		}
		if gone == 0 {
			return ErrNotPending
		}
		added, err := s.addTOTP(ctx, person, plain, step)
		if err != nil {
			return err
		}
		if !added {
			return ErrNotPending
		}
		rows, err := s.factorsOf(ctx, person)
		if err != nil {
			return err
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "added", Factor: rows[len(rows)-1].factor()}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.enrol", Target: person, Outcome: "ok", Detail: map[string]string{"kind": "totp"}})
	})
}

// VerifyTOTP accepts a code of any of the person's factors, once: nil,
// ErrNoFactor, ErrWrongCode or ErrUsedCode. It joins the caller's transaction,
// so that a code is spent only if what it was spent on is kept.
func (s *Service) VerifyTOTP(ctx context.Context, person, code string) error {
	rows, err := s.factorsOf(ctx, person)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return ErrNoFactor
	}
	result := ErrWrongCode
	for _, r := range rows {
		plain, err := s.sealer.Open(totpPurpose(person), r.sealed)
		if err != nil {
			return fmt.Errorf("open factor %s: %w", r.id, err)
		}
		step, ok := matchStep(plain, code, s.now(), r.lastStep)
		if !ok {
			continue
		}
		result = ErrUsedCode
		if step <= r.lastStep {
			continue
		}
		won, err := s.useStep(ctx, r.id, step)
		if err != nil {
			return err
		}
		if won {
			return nil
		}
	}
	return result
}

// matchStep finds the step around now whose code this is. Of two steps with
// the same code (one chance in 300,000) the one after last is taken. Spaces
// within the code, as apps write it, do not count.
func matchStep(plain, code string, now time.Time, last int64) (step int64, ok bool) {
	code = clean(code)
	if len(code) != digits.Length() {
		return 0, false
	}
	base := now.Unix() / period
	for candidate := base - skew; candidate <= base+skew; candidate++ {
		if candidate < 0 {
			continue
		}
		expected, err := codeAt(plain, candidate)
		if err != nil {
			return 0, false
		}
		if subtle.ConstantTimeCompare([]byte(expected), []byte(code)) == 1 && (!ok || step <= last) {
			step, ok = candidate, true
		}
	}
	return step, ok
}

// CodeAt is the code that an authenticator with that secret (base32) shows at a
// time: for the operator's tests with an account of their own.
func CodeAt(base32Secret string, t time.Time) (string, error) {
	plain := strings.TrimRight(strings.ToUpper(strings.Join(strings.Fields(base32Secret), "")), "=")
	code, err := codeAt(plain, t.Unix()/period)
	if err != nil {
		return "", errors.New("the secret of the second factor is not base32")
	}
	return code, nil
}

// codeAt is the code of one step: a TOTP is an HOTP counted by time.
func codeAt(plain string, step int64) (string, error) {
	return codeOf(plain, step, digits, otp.AlgorithmSHA1)
}

// codeOf is RFC 4226 with the length and the hash of any key.
func codeOf(plain string, counter int64, length otp.Digits, hash otp.Algorithm) (string, error) {
	return hotp.GenerateCodeCustom(plain, uint64(counter), hotp.ValidateOpts{Digits: length, Algorithm: hash})
}

// clean drops spaces of any kind and writes digits of any script and width as
// ASCII: what a phone's keyboard or a copied code may bring.
func clean(code string) string {
	if len(code) > 64 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9':
			return r
		case r >= '０' && r <= '９':
			return r - '０' + '0'
		case unicode.IsSpace(r), r == '-', r == '\u200b', r == '\u202f', r == '\u2060', r == '\ufeff':
			return -1
		}
		return 'x'
	}, code)
}
