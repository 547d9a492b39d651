package mfa

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/pquerna/otp"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// ErrNewPIN says that the helpdesk took a forgotten PIN away: the person
// chooses a new one, with two codes of the key (RenewPIN).
var ErrNewPIN = errors.New("mfa: the key waits for a new PIN")

// NextCode is the error for a right PIN before a code that the key makes
// further on than expected: whoever then types the code behind it has brought
// the key back in step. Whoever gets it calls NoteAhead, outside the
// transaction that this error rolled back.
type NextCode struct {
	serial string
	at     int64
}

func (e *NextCode) Error() string { return "mfa: the key has run ahead: the next code is needed too" }

// Unwrap makes it a wrong code to whoever counts those: one of the two codes
// that bring a key back in step is not yet a proof.
func (e *NextCode) Unwrap() error { return ErrWrongCode }

// aheadLife is how long the first of two codes is remembered.
const aheadLife = 5 * time.Minute

// NoteAhead remembers for a few minutes where the key was found.
func (s *Service) NoteAhead(ctx context.Context, e *NextCode) error {
	_, err := s.db.Exec(ctx, "UPDATE mfa_key SET ahead = $1, ahead_until = $2 WHERE serial = $3 AND state IN ('active', 'handed', 'loaned')",
		e.at, db.At(s.now().Add(aheadLife)), e.serial)
	if err != nil {
		return fmt.Errorf("key %s: %w", e.serial, err)
	}
	return nil
}

// What a PIN may be.
const (
	pinLeast = 4
	pinMost  = 8
)

// ErrPIN says why a PIN cannot be taken: "length", "signs" or "easy".
type ErrPIN struct{ Reason string }

func (e *ErrPIN) Error() string { return "mfa: this PIN will not do: " + e.Reason }

// cleanKeyAnswer is what was typed behind one another: ASCII letters and
// digits, in small letters, because telephones begin with a capital; anything
// else stays and matches nothing.
func cleanKeyAnswer(text string) string {
	if len(text) > 64 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '０' && r <= '９':
			return r - '０' + '0'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case unicode.IsSpace(r), r == '-', r == '\u200b', r == '\u202f', r == '\u2060', r == '\ufeff':
			return -1
		}
		return r
	}, text)
}

// checkPIN refuses a PIN that a finder of the key would try first.
func checkPIN(pin string) error {
	for _, r := range pin {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			return &ErrPIN{"signs"}
		}
	}
	if len(pin) < pinLeast || len(pin) > pinMost {
		return &ErrPIN{"length"}
	}
	up, down, same := true, true, true
	for i := 1; i < len(pin); i++ {
		up = up && pin[i] == pin[i-1]+1
		down = down && pin[i] == pin[i-1]-1
		same = same && pin[i] == pin[i-1]
	}
	if up || down || same {
		return &ErrPIN{"easy"}
	}
	return nil
}

// sealPIN keeps a PIN: salted, hashed and sealed. A PIN of four digits falls to
// any hash in moments, slow ones too, once it can be tried at leisure. What
// protects it is that the database alone does not tell whether a guess is
// right: the sealing key does, which lies elsewhere, and whoever has both has
// the seed anyway. Online, wrong codes are counted and locked like any.
func (s *Service) sealPIN(serial, pin string) string {
	var salt [16]byte
	_, _ = rand.Read(salt[:])
	return s.sealer.Seal(keyPINPurpose(serial), hex.EncodeToString(salt[:])+hex.EncodeToString(hashPIN(salt[:], pin)))
}

func hashPIN(salt []byte, pin string) []byte {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(pin))
	return mac.Sum(nil)
}

// pinIs compares, with the same work for a key without PIN.
func (s *Service) pinIs(k keyRow, pin string) (int, error) {
	stored := make([]byte, 48)
	if k.pin != "" {
		plain, err := s.sealer.Open(keyPINPurpose(k.Serial), k.pin)
		if err != nil {
			return 0, fmt.Errorf("PIN of key %s: %w", k.Serial, err)
		}
		if stored, err = hex.DecodeString(plain); err != nil || len(stored) != 48 {
			return 0, fmt.Errorf("PIN of key %s is damaged", k.Serial)
		}
	}
	right := subtle.ConstantTimeCompare(hashPIN(stored[:16], pin), stored[16:])
	if k.pin == "" {
		right = 0
	}
	return right, nil
}

// codes is what a key shows at each of its positions (counter or time step).
type codes struct {
	k     keyRow
	plain string
	hash  otp.Algorithm
}

var keyHashes = map[string]otp.Algorithm{"SHA1": otp.AlgorithmSHA1, "SHA256": otp.AlgorithmSHA256, "SHA512": otp.AlgorithmSHA512}

func (s *Service) codesOf(k keyRow) (codes, error) {
	plain, err := s.sealer.Open(keySeedPurpose(k.Serial), k.seed)
	if err != nil {
		return codes{}, fmt.Errorf("seed of key %s: %w", k.Serial, err)
	}
	hash, ok := keyHashes[k.Hash]
	if !ok {
		return codes{}, fmt.Errorf("key %s: unknown hash %q", k.Serial, k.Hash)
	}
	return codes{k, plain, hash}, nil
}

// shows tells whether the key shows the code at that position.
func (c codes) shows(code string, at int64) bool {
	if at < 0 || len(code) != c.k.Digits {
		return false
	}
	expected, err := codeOf(c.plain, at, otp.Digits(c.k.Digits), c.hash)
	return err == nil && subtle.ConstantTimeCompare([]byte(expected), []byte(code)) == 1
}

// reach is where a key may be now: from first to last without a question,
// from lowest to highest when two codes behind one another say so.
type reach struct{ first, last, lowest, highest int64 }

func (k keyRow) reach(c KeyConfig, now time.Time) reach {
	if k.Algorithm == "HOTP" {
		return reach{k.next, k.next + int64(c.Presses), k.next, k.next + int64(c.Lost)}
	}
	step := now.Unix() / int64(k.Period)
	far := max(int64(c.Drift/time.Second)/int64(k.Period), skew)
	return reach{step + k.drift - skew, step + k.drift + skew, step - far, step + far}
}

// verdict is what a code of a key is worth.
type verdict int

const (
	codeWrong verdict = iota
	codeUsed          // right, and spent
	codeAhead         // of this key, but too far on: the next one is needed too
	codeRight
)

// judge finds where the key shows the code. Every position is tried, whatever
// the answer, so that the time it takes says nothing.
func (c codes) judge(cfg KeyConfig, code string, now time.Time) (verdict, int64) {
	k := c.k
	r := k.reach(cfg, now)
	low := min(r.first, r.lowest)
	if k.Algorithm == "HOTP" {
		low -= 2 // the last codes again: pressed once, typed twice
	}
	result, found := codeWrong, int64(0)
	follows := k.ahead >= 0 && now.Before(k.aheadUntil)
	for at := low; at <= max(r.last, r.highest); at++ {
		if !c.shows(code, at) {
			continue
		}
		var v verdict
		switch within := at >= r.first && at <= r.last; {
		case follows && at > k.ahead && at <= k.ahead+k.patience():
			v = codeRight
		case k.Algorithm == "HOTP" && at < k.next, within && at < k.next:
			v = codeUsed
		case within:
			v = codeRight
		default:
			v = codeAhead
		}
		if v > result {
			result, found = v, at
		}
	}
	return result, found
}

// patience is how many codes later the second of two may come: the next press,
// or within a minute and a half of a clock.
func (k keyRow) patience() int64 {
	if k.Algorithm == "HOTP" {
		return 1
	}
	return 3
}

// pair finds where the key shows the two codes behind one another, anywhere
// within its reach.
func (c codes) pair(cfg KeyConfig, first, second string, now time.Time) (last int64, ok bool) {
	r := c.k.reach(cfg, now)
	for at := min(r.first, r.lowest); at <= max(r.last, r.highest); at++ {
		both := c.shows(first, at)
		if c.shows(second, at+1) && both && !ok {
			last, ok = at+1, true
		}
	}
	return last, ok
}

// useKey spends a position of the key, and every one before it: true for one
// caller only, however many come at once. A TOTP key may be set back by two
// codes (back), but never to a step that was typed before.
func (s *Service) useKey(ctx context.Context, k keyRow, at int64, back bool) (bool, error) {
	drift := int64(0)
	if k.Algorithm == "TOTP" {
		drift = at - s.now().Unix()/int64(k.Period)
	}
	n, err := s.db.Exec(ctx, `UPDATE mfa_key SET next = $1, drift = $2, used = $3, ahead = -1, ahead_until = NULL
		WHERE serial = $4 AND state = $5 AND (next < $1 OR $6 AND algorithm = 'TOTP') AND NOT EXISTS (SELECT 1 FROM mfa_key_spent WHERE serial = $4 AND step = $7)`,
		at+1, drift, db.At(s.now()), k.Serial, string(k.State), back, at)
	if err != nil {
		return false, fmt.Errorf("use key %s: %w", k.Serial, err)
	}
	if n == 0 || k.Algorithm != "TOTP" {
		return n == 1, nil
	}
	// Of two that set the key back at once, one writes this row.
	n, err = s.db.Exec(ctx, "INSERT INTO mfa_key_spent (serial, step, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", k.Serial, at, db.At(s.now()))
	if err != nil {
		return false, fmt.Errorf("use key %s: %w", k.Serial, err)
	}
	return n == 1, nil
}

// SweepKeys forgets steps that no key can be set back to any more, and uploads
// that nobody decided about.
func (s *Service) SweepKeys(ctx context.Context) (int64, error) {
	n, err := s.db.Exec(ctx, "DELETE FROM mfa_key_spent WHERE at <= $1", db.At(s.now().Add(-2*s.keyCfg.Drift-24*time.Hour)))
	if err != nil {
		return 0, err
	}
	dropped, err := s.sweepImports(ctx)
	return n + dropped, err
}

// VerifyKey accepts the PIN and the code of one of the person's keys, typed
// behind one another, once: nil, ErrNoFactor, ErrWrongCode, ErrUsedCode,
// *NextCode or ErrNewPIN. A wrong PIN and a wrong code look alike. It joins the
// caller's transaction, so that a code is spent only if what it was spent on is kept.
func (s *Service) VerifyKey(ctx context.Context, person, answer string) error {
	rows, err := s.activeKeys(ctx, person)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return ErrNoFactor
	}
	answer = cleanKeyAnswer(answer)
	result, without := error(ErrWrongCode), 0
	for _, k := range rows {
		if !k.HasPIN {
			without++
		}
		err := s.verifyKey(ctx, k, answer, "")
		var next *NextCode
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrUsedCode), errors.As(err, &next):
			result = err
		case !errors.Is(err, ErrWrongCode):
			return err
		}
	}
	if without == len(rows) {
		return ErrNewPIN
	}
	return result
}

// verifyKey tries one key. fresh is a PIN that the key does not have yet.
func (s *Service) verifyKey(ctx context.Context, k keyRow, answer, fresh string) error {
	split := max(len(answer)-k.Digits, 0)
	pin, code := answer[:split], answer[split:]
	// A YubiKey may type its identifier, its serial here, before the code.
	pin = strings.TrimSuffix(pin, strings.ToLower(k.Serial))
	known, err := s.pinIs(k, pin)
	if err != nil {
		return err
	}
	if fresh != "" {
		known = subtle.ConstantTimeCompare([]byte(pin), []byte(fresh))
	}
	c, err := s.codesOf(k)
	if err != nil {
		return err
	}
	v, at := c.judge(s.keyCfg, code, s.now())
	switch {
	case known != 1 || v == codeWrong:
		return ErrWrongCode
	case v == codeUsed:
		return ErrUsedCode
	case v == codeAhead:
		return &NextCode{k.Serial, at}
	}
	back := k.ahead >= 0 && at > k.ahead && at <= k.ahead+k.patience()
	won, err := s.useKey(ctx, k, at, back)
	if err == nil && !won {
		err = ErrUsedCode
	}
	return err
}

// ActivateKey makes a key that was handed to the person their factor: with a
// PIN of their choice, and that PIN and a code typed as at every sign-in.
// *ErrPIN, *ErrKeyStep, db.ErrNotFound for a key that is not theirs, and the
// errors of VerifyKey.
func (s *Service) ActivateKey(ctx context.Context, actor audit.Actor, person, serial, pin, answer string) error {
	pin = cleanKeyAnswer(pin)
	if err := checkPIN(pin); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		k, err := s.ownKey(ctx, person, serial)
		if err != nil {
			return err
		}
		if _, err := AfterStep(k.State, StepActivate, k.HasPIN); err != nil {
			return err
		}
		if k.Overdue(s.now()) {
			return &ErrKeyStep{StepActivate, k.State}
		}
		if err := s.verifyKey(ctx, k, cleanKeyAnswer(answer), pin); err != nil {
			return err
		}
		return s.applyKeyStep(ctx, actor, k, KeyMove{Step: StepActivate, pin: s.sealPIN(k.Serial, pin)})
	})
}

// ChangePIN gives a key a new PIN, on its old one and a code.
func (s *Service) ChangePIN(ctx context.Context, actor audit.Actor, person, serial, answer, pin string) error {
	pin = cleanKeyAnswer(pin)
	if err := checkPIN(pin); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		k, err := s.ownKey(ctx, person, serial)
		if err != nil {
			return err
		}
		if _, err := AfterStep(k.State, StepPIN, k.HasPIN); err != nil {
			return err
		}
		if err := s.verifyKey(ctx, k, cleanKeyAnswer(answer), ""); err != nil {
			return err
		}
		return s.applyKeyStep(ctx, actor, k, KeyMove{Step: StepPIN, pin: s.sealPIN(k.Serial, pin)})
	})
}

// RenewPIN gives a new PIN to the key whose PIN the helpdesk took away, on two
// codes behind one another. It joins the caller's transaction: it is a proof of
// the key as VerifyKey is. ErrNoFactor when no key waits for a PIN.
func (s *Service) RenewPIN(ctx context.Context, actor audit.Actor, person, pin, first, second string) error {
	pin = cleanKeyAnswer(pin)
	if err := checkPIN(pin); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.activeKeys(ctx, person)
		if err != nil {
			return err
		}
		result := error(ErrNoFactor)
		for _, k := range rows {
			if k.HasPIN {
				continue
			}
			if result = s.usePair(ctx, k, first, second); result == nil {
				return s.applyKeyStep(ctx, actor, k, KeyMove{Step: StepPIN, pin: s.sealPIN(k.Serial, pin)})
			}
			if !errors.Is(result, ErrWrongCode) {
				return result
			}
		}
		return result
	})
}

// ResyncKey finds where a key is by two codes behind one another, without its
// PIN, and proves nothing: for the account page and for a helper on the
// telephone. Both codes are spent, so that the helper has seen nothing that
// could be used later. reason is a helper's; person may be empty for them.
func (s *Service) ResyncKey(ctx context.Context, actor audit.Actor, person, serial, first, second, reason string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		k, err := s.keyRow(ctx, cleanSerial(serial))
		if err == nil && person != "" && k.Person != person {
			err = db.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("key %s: %w", serial, err)
		}
		if _, err := AfterStep(k.State, StepResync, k.HasPIN); err != nil {
			return err
		}
		if err := s.usePair(ctx, k, first, second); err != nil {
			return err
		}
		return s.applyKeyStep(ctx, actor, k, KeyMove{Step: StepResync, Reason: reason})
	})
}

// usePair spends two codes behind one another.
func (s *Service) usePair(ctx context.Context, k keyRow, first, second string) error {
	c, err := s.codesOf(k)
	if err != nil {
		return err
	}
	at, ok := c.pair(s.keyCfg, clean(first), clean(second), s.now())
	if !ok {
		return ErrWrongCode
	}
	for _, one := range []int64{at - 1, at} {
		won, err := s.useKey(ctx, k, one, one == at-1)
		if err == nil && !won {
			err = ErrUsedCode
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckKeyPIN tells whether a PIN may be chosen: nil or *ErrPIN.
func CheckKeyPIN(pin string) error { return checkPIN(cleanKeyAnswer(pin)) }
