package mfa

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Codes that people write down or hear on the telephone: base32 in Crockford's
// alphabet, which has no I, L, O and U. What is read or typed for them is
// taken as the sign that was meant.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newCode makes n random signs of 5 bits each.
func newCode(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails: it ends the program instead
	for i, b := range raw {
		raw[i] = alphabet[b&31] // 256 is a multiple of 32: every sign is as likely
	}
	return string(raw)
}

// spoken writes a code in groups of four, to be read aloud and copied.
func spoken(code string) string {
	var b strings.Builder
	for i, r := range code {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// heard is the code that was meant by what somebody typed: in any case and
// grouping, O for 0, I and L for 1, U for V. Empty when it is no code of n signs.
func heard(typed string, n int) string {
	if len(typed) > 128 {
		return ""
	}
	code := strings.Map(func(r rune) rune {
		switch {
		case r >= '０' && r <= '９':
			r = r - '０' + '0'
		case r >= 'Ａ' && r <= 'Ｚ':
			r = r - 'Ａ' + 'A'
		case r >= 'ａ' && r <= 'ｚ':
			r = r - 'ａ' + 'A'
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		case unicode.IsSpace(r), strings.ContainsRune("-.·‐‑‒–—\u200b\u2060\ufeff", r):
			return -1
		}
		switch r {
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		case 'U':
			return 'V'
		}
		if strings.ContainsRune(alphabet, r) {
			return r
		}
		return '!'
	}, typed)
	if len(code) != n || strings.Contains(code, "!") {
		return ""
	}
	return code
}

// pepperPurpose is what the pepper is sealed for.
const pepperPurpose = "mfa-pepper"

// hash is how a written code rests: an HMAC with the pepper, so that a copy of
// the database alone cannot try codes. what and person are bound to it: a code
// is good for nothing and nobody else.
func (s *Service) hash(ctx context.Context, what, person, code string) (string, error) {
	key, err := s.pepperKey(ctx)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s\x00%d\x00%s\x00%s", what, len(person), person, code)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// pepperKey reads the pepper, and makes it the first time. It is sealed, not
// derived from the sealing key: codes outlive a rotation of that.
func (s *Service) pepperKey(ctx context.Context) ([]byte, error) {
	if known := s.pepper.Load(); known != nil {
		return *known, nil
	}
	sealed, err := s.sealedPepper(ctx)
	if errors.Is(err, db.ErrNotFound) {
		_, err = s.db.Exec(ctx, "INSERT INTO mfa_pepper (id, secret) VALUES ('v1', $1) ON CONFLICT (id) DO NOTHING", s.sealer.Seal(pepperPurpose, secret.Random()))
		if err == nil {
			sealed, err = s.sealedPepper(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pepper of written codes: %w", err)
	}
	plain, err := s.sealer.Open(pepperPurpose, sealed)
	if err != nil {
		return nil, fmt.Errorf("pepper of written codes: %w", err)
	}
	key := []byte(plain)
	// Kept only once it stands in the database for good.
	s.db.AfterCommit(ctx, func() { s.pepper.Store(&key) })
	return key, nil
}

func (s *Service) sealedPepper(ctx context.Context) (sealed string, err error) {
	err = s.db.QueryRow(ctx, "SELECT secret FROM mfa_pepper WHERE id = 'v1'").Scan(&sealed)
	return sealed, err
}
