package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// rsaBits: 2048 is what every relying party accepts and what ANSSI allows until
// 2030; 4096 would make each signature five times dearer.
const rsaBits = 2048

// algorithms are those that tokens are signed with, the default first. Each
// has keys of its own: an RSA key signs RS256 or PS256, never both.
var algorithms = []string{RS256, PS256, ES256, EdDSA}

// key is one signing key.
type key struct {
	kid     string
	alg     string
	private crypto.Signer
}

// keySet is what signs and verifies. It does not change after start.
type keySet struct {
	signing map[string]*key // by algorithm
	byID    map[string]*key
	jwks    []byte
}

// openKeys loads the keys, creating the missing ones. Replicas starting
// together may each make one; the first to be stored is the one they all use.
func openKeys(ctx context.Context, d *db.DB, s *secret.Sealer, now func() time.Time) (*keySet, error) {
	stored, err := loadKeys(ctx, d, s)
	if err != nil {
		return nil, err
	}
	created := false
	for _, alg := range algorithms {
		if slices.ContainsFunc(stored, func(k *key) bool { return k.alg == alg }) {
			continue
		}
		if err := createKey(ctx, d, s, alg, now()); err != nil {
			return nil, err
		}
		created = true
	}
	if created {
		if stored, err = loadKeys(ctx, d, s); err != nil {
			return nil, err
		}
	}
	return newKeySet(stored)
}

func loadKeys(ctx context.Context, d *db.DB, s *secret.Sealer) ([]*key, error) {
	type row struct{ kid, alg, sealed string }
	rows, err := db.All(ctx, d, func(scan func(...any) error) (r row, err error) { return r, scan(&r.kid, &r.alg, &r.sealed) },
		"SELECT kid, alg, sealed FROM oidc_key ORDER BY alg, serial")
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	var all []*key
	for _, r := range rows {
		der, err := s.Open("oidc key "+r.kid, r.sealed)
		if err != nil {
			return nil, fmt.Errorf("open signing key %s: %w", r.kid, err)
		}
		parsed, err := x509.ParsePKCS8PrivateKey([]byte(der))
		if err != nil {
			return nil, fmt.Errorf("parse signing key %s: %w", r.kid, err)
		}
		signer, ok := parsed.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("signing key %s is a %T", r.kid, parsed)
		}
		k, err := newKey(r.alg, signer)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

func createKey(ctx context.Context, d *db.DB, s *secret.Sealer, alg string, now time.Time) error {
	signer, err := generate(alg)
	if err != nil {
		return err
	}
	k, err := newKey(alg, signer)
	if err != nil {
		return err
	}
	return storeKey(ctx, d, s, k, now)
}

func storeKey(ctx context.Context, d *db.DB, s *secret.Sealer, k *key, now time.Time) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return fmt.Errorf("encode signing key: %w", err)
	}
	_, err = d.Exec(ctx, "INSERT INTO oidc_key (kid, alg, serial, sealed, created) VALUES ($1, $2, 1, $3, $4) ON CONFLICT DO NOTHING",
		k.kid, k.alg, s.Seal("oidc key "+k.kid, string(der)), db.At(now))
	if err != nil {
		return fmt.Errorf("store signing key: %w", err)
	}
	return nil
}

func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return rsa.GenerateKey(rand.Reader, rsaBits)
}

func newKey(alg string, signer crypto.Signer) (*key, error) {
	members, err := publicMembers(alg, signer.Public())
	if err != nil {
		return nil, err
	}
	// The kid is the key's thumbprint (RFC 7638): the same on every replica.
	canonical, err := json.Marshal(members) // sorts the names, as §3.3 asks
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	return &key{kid: base64.RawURLEncoding.EncodeToString(sum[:]), alg: alg, private: signer}, nil
}

// publicMembers are the required members of the JWK (RFC 7518 §6, RFC 8037 §2).
func publicMembers(alg string, public crypto.PublicKey) (map[string]string, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	switch p := public.(type) {
	case *rsa.PublicKey:
		if alg != RS256 && alg != PS256 {
			break
		}
		return map[string]string{"kty": "RSA", "n": b64(p.N.Bytes()), "e": b64([]byte{byte(p.E >> 16), byte(p.E >> 8), byte(p.E)})}, nil
	case *ecdsa.PublicKey:
		if alg != ES256 || p.Curve != elliptic.P256() {
			break
		}
		point, err := p.Bytes() // 0x04, then 32 bytes of x, 32 of y
		if err != nil {
			return nil, err
		}
		return map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}, nil
	case ed25519.PublicKey:
		if alg != EdDSA {
			break
		}
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(p)}, nil
	}
	return nil, fmt.Errorf("a %T does not sign %s", public, alg)
}

func newKeySet(all []*key) (*keySet, error) {
	s := &keySet{signing: map[string]*key{}, byID: map[string]*key{}}
	published := []map[string]string{}
	for _, k := range all {
		s.byID[k.kid] = k
		s.signing[k.alg] = k // the last of an algorithm signs
		members, err := publicMembers(k.alg, k.private.Public())
		if err != nil {
			return nil, err
		}
		members["kid"], members["alg"], members["use"] = k.kid, k.alg, "sig"
		published = append(published, members)
	}
	for _, alg := range algorithms {
		if s.signing[alg] == nil {
			return nil, errors.New("no signing key for " + alg)
		}
	}
	var err error
	s.jwks, err = json.Marshal(map[string]any{"keys": published})
	return s, err
}
