package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// rsaBits: 2048 is what every relying party accepts and what ANSSI allows until
// 2030; 4096 would make each signature five times dearer.
const rsaBits = 2048

// key is one signing key.
type key struct {
	kid     string
	alg     string
	private crypto.Signer
	serial  int64 // 1, 2, 3… within its algorithm
	created time.Time
	signs   time.Time // from then on
	retired time.Time // taken back by an operator; zero: not
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

// newKey names a key by its thumbprint (RFC 7638): the same on every replica.
func newKey(alg string, signer crypto.Signer) (*key, error) {
	members, err := publicMembers(alg, signer.Public())
	if err != nil {
		return nil, err
	}
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
