package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// ErrSeal is returned by Open for anything that this key, for this purpose,
// did not seal: another key, another row, a changed byte.
var ErrSeal = errors.New("secret: sealed by another key or for another purpose, or damaged")

// Sealer encrypts data at rest with AES-256-GCM. The key lies in a file of its
// own, so that a copy of the database alone reveals nothing.
type Sealer struct {
	aead cipher.AEAD
	id   string
}

// NewSealer makes a sealer of a 256-bit key.
func NewSealer(key [32]byte) *Sealer {
	derived, err := hkdf.Key(sha256.New, key[:], nil, "beffroi seal v1", 32)
	if err != nil {
		panic(err) // impossible: the length is fixed
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // impossible: the length is fixed
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // impossible: the block is AES
	}
	sum := sha256.Sum256(append([]byte("beffroi key id"), derived...))
	return &Sealer{aead: aead, id: hex.EncodeToString(sum[:4])}
}

// ID names the key without revealing it.
func (s *Sealer) ID() string { return s.id }

// Seal encrypts plain. The purpose ("totp:PERSON") is bound to the result: what
// was sealed for one row or use cannot be opened as another.
func (s *Sealer) Seal(purpose, plain string) string {
	sealed := s.aead.Seal(nil, nil, []byte(plain), []byte(purpose))
	return "v1." + s.id + "." + base64.RawURLEncoding.EncodeToString(sealed)
}

// Open decrypts what Seal returned for the same purpose, or ErrSeal.
func (s *Sealer) Open(purpose, sealed string) (string, error) {
	rest, ok := strings.CutPrefix(sealed, "v1."+s.id+".")
	if !ok {
		return "", ErrSeal
	}
	raw, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return "", ErrSeal
	}
	plain, err := s.aead.Open(nil, nil, raw, []byte(purpose))
	if err != nil {
		return "", ErrSeal
	}
	return string(plain), nil
}

// CreateKeyFile writes a new key, 64 hexadecimal digits, mode 0600. An existing
// file is left alone and reported: overwriting it would lose all that it sealed.
func CreateKeyFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create sealing key: %w", err)
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	_, err = f.WriteString(hex.EncodeToString(key[:]) + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// LoadSealer reads a key file: 64 hexadecimal digits, readable by its owner only.
func LoadSealer(path string) (*Sealer, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the sealing key %s is missing: make one with `beffroi key create %s`, or put back the one that sealed this database", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the sealing key %s may be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("the sealing key %s must be 64 hexadecimal digits", path)
	}
	return NewSealer([32]byte(raw)), nil
}
