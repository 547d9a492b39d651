// Package secret keeps secrets from leaking: String prints as three stars
// wherever it is formatted, logged or encoded; Sealer encrypts what must rest
// in the database; Hash is how tokens are stored. It imports nothing of the
// project and is used by all of it.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
)

// String is a secret. Only Reveal shows it.
type String string

// Reveal returns the secret itself.
func (s String) Reveal() string { return string(s) }

func (String) String() string                  { return "***" }
func (String) GoString() string                { return "***" }
func (String) LogValue() slog.Value            { return slog.StringValue("***") }
func (String) MarshalText() ([]byte, error)    { return []byte("***"), nil }
func (s *String) UnmarshalText(b []byte) error { *s = String(b); return nil }

// Random returns 256 random bits in base64url without padding: 43 characters.
func Random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash is how a token of at least 128 random bits is stored: SHA-256 in
// base64url. A slow hash would add nothing against guessing and cost a quarter
// of a second per request. Never for passwords chosen by people.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Equal compares in constant time (for equal lengths).
func Equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
