package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// What the header says a token is (RFC 8725 §3.11): one kind is never taken for
// another.
const (
	typJWT    = "JWT"    // ID tokens, signed userinfo
	typAccess = "at+jwt" // RFC 9068

	typIntrospection = "token-introspection+jwt" // RFC 9701
)

// errSignature is returned for any JWT that this provider did not sign.
var errSignature = errors.New("not a token signed here")

// pss is RFC 7518 §3.5: the salt is as long as the hash.
var pss = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// compact makes a JWS in compact form (RFC 7515 §3.1).
func (k *key) compact(typ string, claims map[string]any) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": k.alg, "kid": k.kid, "typ": typ})
	if err != nil {
		return "", fmt.Errorf("encode header: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	b := make([]byte, 0, (len(header)+len(payload))*4/3+360)
	b = base64.RawURLEncoding.AppendEncode(b, header)
	b = append(b, '.')
	b = base64.RawURLEncoding.AppendEncode(b, payload)
	signature, err := k.sign(b)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", k.kid, err)
	}
	b = append(b, '.')
	return string(base64.RawURLEncoding.AppendEncode(b, signature)), nil
}

// sign is the signature of a message (RFC 7518 §3, RFC 8037 §3.1).
func (k *key) sign(message []byte) ([]byte, error) {
	if private, ok := k.private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(private, message), nil // hashes itself
	}
	digest := sha256.Sum256(message)
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		if k.alg == PS256 {
			return rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], pss)
		}
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return nil, err
		}
		if s.Cmp(halfP256) > 0 {
			s.Sub(elliptic.P256().Params().N, s)
		}
		signature := make([]byte, 64) // r and s, 32 bytes each (RFC 7518 §3.4)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature, nil
	}
	return nil, fmt.Errorf("a %T cannot sign", k.private)
}

// halfP256: of s and N-s, which sign the same, only the lower is made and taken
// here. Otherwise whoever has a token could write it in a second way.
var halfP256 = new(big.Int).Rsh(elliptic.P256().Params().N, 1)

// verify tells whether signature is k's of the message.
func (k *key) verify(message, signature []byte) bool {
	digest := sha256.Sum256(message)
	switch public := k.private.Public().(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(public, message, signature)
	case *rsa.PublicKey:
		if k.alg == PS256 {
			return rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, pss) == nil
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		if len(signature) != 64 {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return s.Cmp(halfP256) <= 0 && ecdsa.Verify(public, digest[:], r, s)
	}
	return false
}

// signed is a JWT that was signed here, expired or not.
type signed struct {
	typ       string
	key       *key
	published bool // its key still is
	claims    map[string]any
}

// verify reads a JWT signed here. The key decides the algorithm, never the
// token: "none" and HMAC with a public key find no key that is theirs. No token
// can be written in two ways: base64url is strict, without the line breaks that
// the decoder would skip.
func (s *keySet) verify(token string) (*signed, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > tokenMost || strings.ContainsAny(token, "\r\n") {
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
		Typ  string   `json:"typ"`
		Crit []string `json:"crit"`
	}
	if err := json.Unmarshal(rawHeader, &header); err != nil || header.Crit != nil {
		return nil, errSignature
	}
	k := s.byID[header.Kid]
	if k == nil || k.alg != header.Alg || !k.verify([]byte(parts[0]+"."+parts[1]), signature) {
		return nil, errSignature
	}
	t := &signed{typ: header.Typ, key: k, published: s.published[k.kid]}
	if err := json.Unmarshal(payload, &t.claims); err != nil || t.claims == nil {
		return nil, errSignature
	}
	return t, nil
}

// leftHalf is at_hash (OpenID Connect Core §3.1.3.6): the left half of the hash
// that alg uses. Ed25519 uses SHA-512, the others here SHA-256 (T11).
func leftHalf(alg, token string) string {
	if alg == EdDSA {
		sum := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
