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
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrSeal is returned by Open for anything that this key, for this purpose,
// did not seal: another key, another row, a changed byte.
var ErrSeal = errors.New("secret: sealed by another key or for another purpose, or damaged")

// Sealer encrypts data at rest with AES-256-GCM. Its keys lie in a file of their
// own, so that a copy of the database alone reveals nothing: the first seals,
// each opens what it has sealed. A sealer that was loaded from a file follows it:
// a new key on top is used within refreshEvery, and one that a sealed value names
// is looked for at once. Safe for concurrent use.
type Sealer struct {
	path string // empty: the keys never change

	mu      sync.RWMutex
	keys    []sealKey   // the newest first
	looked  time.Time   // when the file was last looked at
	changed os.FileInfo // as it was then
}

type sealKey struct {
	aead cipher.AEAD
	id   string
}

const (
	refreshEvery = 10 * time.Second
	searchEvery  = time.Second
)

// NewSealer makes a sealer of 256-bit keys, the newest first.
func NewSealer(key [32]byte, older ...[32]byte) *Sealer {
	s := &Sealer{}
	for _, k := range append([][32]byte{key}, older...) {
		s.keys = append(s.keys, newSealKey(k))
	}
	return s
}

func newSealKey(key [32]byte) sealKey {
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
	return sealKey{aead: aead, id: hex.EncodeToString(sum[:4])}
}

// ID names the key that seals, without revealing it.
func (s *Sealer) ID() string { return s.newest().id }

// IDs names every key, the newest first.
func (s *Sealer) IDs() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var ids []string
	for _, k := range s.keys {
		ids = append(ids, k.id)
	}
	return ids
}

// Newest tells whether a sealed value was sealed by the key that seals now.
func (s *Sealer) Newest(sealed string) bool {
	return strings.HasPrefix(sealed, "v1."+s.newest().id+".")
}

// newest is the key that seals; the file is looked at now and then.
func (s *Sealer) newest() sealKey {
	s.refresh(refreshEvery)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys[0]
}

// refresh reads the file again when it has changed, at most once in every. What
// cannot be read leaves the keys as they are: they are good.
func (s *Sealer) refresh(every time.Duration) {
	if s.path == "" {
		return
	}
	s.mu.RLock()
	due := time.Since(s.looked) >= every
	s.mu.RUnlock()
	if !due {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < every {
		return
	}
	s.looked = time.Now()
	info, err := os.Stat(s.path)
	if err != nil || s.changed != nil && os.SameFile(info, s.changed) && info.ModTime().Equal(s.changed.ModTime()) && info.Size() == s.changed.Size() {
		return
	}
	if keys, err := readKeyFile(s.path); err == nil {
		s.keys, s.changed = keys, info
	}
}

func (s *Sealer) find(id string) (sealKey, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.keys {
		if k.id == id {
			return k, true
		}
	}
	return sealKey{}, false
}

// Seal encrypts plain. The purpose ("totp:PERSON") is bound to the result: what
// was sealed for one row or use cannot be opened as another.
func (s *Sealer) Seal(purpose, plain string) string {
	k := s.newest()
	sealed := k.aead.Seal(nil, nil, []byte(plain), []byte(purpose))
	return "v1." + k.id + "." + base64.RawURLEncoding.EncodeToString(sealed)
}

// Open decrypts what Seal returned for the same purpose, or ErrSeal.
func (s *Sealer) Open(purpose, sealed string) (string, error) {
	rest, ok := strings.CutPrefix(sealed, "v1.")
	id, body, whole := strings.Cut(rest, ".")
	if !ok || !whole {
		return "", ErrSeal
	}
	k, known := s.find(id)
	if !known {
		s.refresh(searchEvery) // another replica seals with a newer one already
		if k, known = s.find(id); !known {
			return "", ErrSeal
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return "", ErrSeal
	}
	plain, err := k.aead.Open(nil, nil, raw, []byte(purpose))
	if err != nil {
		return "", ErrSeal
	}
	return string(plain), nil
}

// Reseal opens a value and seals it again with the newest key.
func (s *Sealer) Reseal(purpose, sealed string) (string, error) {
	plain, err := s.Open(purpose, sealed)
	if err != nil {
		return "", err
	}
	return s.Seal(purpose, plain), nil
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

// LoadSealer reads a key file: 64 hexadecimal digits a line, the newest key
// first, readable by its owner only.
func LoadSealer(path string) (*Sealer, error) {
	info, _ := os.Stat(path) // before it is read: a change in between is then seen later
	keys, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	return &Sealer{path: path, keys: keys, looked: time.Now(), changed: info}, nil
}

func readKeyFile(path string) ([]sealKey, error) {
	lines, err := keyLines(path)
	if err != nil {
		return nil, err
	}
	var keys []sealKey
	for _, line := range lines {
		raw, _ := hex.DecodeString(line)
		keys = append(keys, newSealKey([32]byte(raw)))
	}
	return keys, nil
}

// keyLines reads the keys of a file as they stand there.
func keyLines(path string) ([]string, error) {
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
	var lines []string
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		line = strings.TrimSpace(line)
		if raw, err := hex.DecodeString(line); err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("the sealing key %s must be 64 hexadecimal digits a line: line %d is not", path, i+1)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// AddKey puts a new key on top of a key file: sealers that follow the file seal
// with it from then on. The file is never half written.
func AddKey(path string) error {
	lines, err := keyLines(path)
	if err != nil {
		return err
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	return writeKeys(path, append([]string{hex.EncodeToString(key[:])}, lines...))
}

// DropKeys removes keys from a key file by their IDs; the newest always stays.
func DropKeys(path string, ids []string) error {
	lines, err := keyLines(path)
	if err != nil {
		return err
	}
	kept := lines[:1]
	for _, line := range lines[1:] {
		raw, _ := hex.DecodeString(line)
		if !slices.Contains(ids, newSealKey([32]byte(raw)).id) {
			kept = append(kept, line)
		}
	}
	return writeKeys(path, kept)
}

func writeKeys(path string, lines []string) error {
	aside := path + ".new"
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write sealing keys: %w", err)
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		return fmt.Errorf("write sealing keys: %w", err)
	}
	return nil
}
