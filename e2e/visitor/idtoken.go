package visitor

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Claims is what an ID token says.
type Claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   int64    `json:"exp"`
	Issued    int64    `json:"iat"`
	AuthTime  int64    `json:"auth_time"`
	Nonce     string   `json:"nonce"`
	ACR       string   `json:"acr"`
	AMR       []string `json:"amr"`
	SID       string   `json:"sid"`
	Login     string   `json:"preferred_username"`
	Groups    []string `json:"groups"`
	GroupsCSV string   `json:"groups_csv"`

	Algorithm string `json:"-"`
}

// audience is a string or several (RFC 7519 §4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// Verify checks signature, issuer, audience, times and nonce of an ID token (OpenID Connect Core §3.1.3.7); nonce "" is not checked.
func (a *Application) Verify(ctx context.Context, token, nonce string) (*Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("an ID token has three parts, this one %d", len(parts))
	}
	var header struct {
		Algorithm string `json:"alg"`
		Key       string `json:"kid"`
	}
	var c Claims
	if err := decodePart(parts[0], &header); err != nil {
		return nil, err
	}
	if err := decodePart(parts[1], &c); err != nil {
		return nil, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	key, err := a.key(ctx, header.Key)
	if err != nil {
		return nil, err
	}
	if err := checkSignature(header.Algorithm, key, parts[0]+"."+parts[1], signature); err != nil {
		return nil, err
	}
	c.Algorithm = header.Algorithm
	now := time.Now().Unix()
	switch {
	case c.Issuer != a.Issuer:
		return nil, fmt.Errorf("ID token of issuer %q", c.Issuer)
	case len(c.Audience) == 0 || c.Audience[0] != a.ID:
		return nil, fmt.Errorf("ID token for %v, not for %s", c.Audience, a.ID)
	case c.Expires <= now || c.Issued > now+5:
		return nil, fmt.Errorf("ID token from %d to %d, now is %d", c.Issued, c.Expires, now)
	case nonce != "" && c.Nonce != nonce:
		return nil, errors.New("ID token with another nonce")
	case c.Subject == "":
		return nil, errors.New("ID token of nobody")
	}
	return &c, nil
}

func checkSignature(algorithm string, key any, signed string, signature []byte) error {
	sum := sha256.Sum256([]byte(signed))
	switch k := key.(type) {
	case *rsa.PublicKey:
		if algorithm != "RS256" {
			return fmt.Errorf("an RSA key signs RS256, not %s", algorithm)
		}
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature)
	case *ecdsa.PublicKey:
		if algorithm != "ES256" || len(signature) != 64 {
			return fmt.Errorf("a P-256 key signs ES256 in 64 bytes, not %s in %d", algorithm, len(signature))
		}
		if !ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			return errors.New("the signature is wrong")
		}
		return nil
	}
	return errors.New("no such key")
}

// key finds a published key, reading the set again when it is not known.
func (a *Application) key(ctx context.Context, id string) (any, error) {
	m, err := a.Discover(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if k, ok := a.keys[id]; ok {
		return k, nil
	}
	var set struct {
		Keys []struct {
			ID    string `json:"kid"`
			Type  string `json:"kty"`
			Curve string `json:"crv"`
			N     string `json:"n"`
			E     string `json:"e"`
			X     string `json:"x"`
			Y     string `json:"y"`
			D     string `json:"d"`
		} `json:"keys"`
	}
	if _, err := getJSON(ctx, m.JWKS, "", &set); err != nil {
		return nil, err
	}
	a.keys = map[string]any{}
	for _, k := range set.Keys {
		if k.D != "" {
			return nil, errors.New("the provider publishes a private key")
		}
		switch {
		case k.Type == "RSA":
			a.keys[k.ID] = &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}
		case k.Type == "EC" && k.Curve == "P-256":
			point := make([]byte, 65) // uncompressed, SEC 1 §2.3.3
			point[0] = 4
			number(k.X).FillBytes(point[1:33])
			number(k.Y).FillBytes(point[33:])
			public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
			if err != nil {
				return nil, fmt.Errorf("the key %q is not on its curve: %w", k.ID, err)
			}
			a.keys[k.ID] = public
		}
	}
	if a.keys[id] == nil {
		return nil, fmt.Errorf("the key %q is not published", id)
	}
	return a.keys[id], nil
}

func number(text string) *big.Int {
	b, _ := base64.RawURLEncoding.DecodeString(text) // a wrong one gives a key that verifies nothing
	return new(big.Int).SetBytes(b)
}

func decodePart(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
