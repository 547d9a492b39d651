package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// errSignature is returned for any JWT that this provider did not sign.
var errSignature = errors.New("not a token signed here")

// sign makes a JWS in compact form (RFC 7515 §3.1) with the key of alg.
func (s *keySet) sign(alg string, claims map[string]any) (string, error) {
	k := s.signing[alg]
	if k == nil {
		return "", fmt.Errorf("no signing key for %s", alg)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	b := make([]byte, 0, len(k.header)+len(payload)*4/3+360)
	b = append(b, k.header...)
	b = append(b, '.')
	b = base64.RawURLEncoding.AppendEncode(b, payload)
	digest := sha256.Sum256(b)
	signature, err := k.signDigest(digest[:])
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", k.kid, err)
	}
	b = append(b, '.')
	return string(base64.RawURLEncoding.AppendEncode(b, signature)), nil
}

func (k *key) signDigest(digest []byte) ([]byte, error) {
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64) // r and s, 32 bytes each (RFC 7518 §3.4)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature, nil
	}
	return nil, fmt.Errorf("a %T cannot sign", k.private)
}

// verify returns the claims of a JWT signed here, expired or not. The key
// decides the algorithm, never the token: "none" and HMAC with a public key
// find no key that is theirs.
func (s *keySet) verify(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 16<<10 {
		return nil, errSignature
	}
	decode := base64.RawURLEncoding.Strict().DecodeString
	rawHeader, err1 := decode(parts[0])
	payload, err2 := decode(parts[1])
	signature, err3 := decode(parts[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, errSignature
	}
	var header struct {
		Alg  string   `json:"alg"`
		Kid  string   `json:"kid"`
		Crit []string `json:"crit"`
	}
	if err := json.Unmarshal(rawHeader, &header); err != nil || header.Crit != nil {
		return nil, errSignature
	}
	k := s.byID[header.Kid]
	if k == nil || k.alg != header.Alg {
		return nil, errSignature
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch public := k.private.Public().(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) != nil {
			return nil, errSignature
		}
	case *ecdsa.PublicKey:
		if len(signature) != 64 || !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			return nil, errSignature
		}
	default:
		return nil, errSignature
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil || claims == nil {
		return nil, errSignature
	}
	return claims, nil
}

// leftHalf is at_hash (OpenID Connect Core §3.1.3.6): the left half of the
// SHA-256, which is the hash of both algorithms offered here.
func leftHalf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
