package visitor

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

// PublicKeys is the JWK Set (RFC 7517) that the application registers for its Key.
func (a *Application) PublicKeys() ([]byte, error) {
	point, err := a.Key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return json.Marshal(map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "kid": "1", "x": b64(point[1:33]), "y": b64(point[33:])}}})
}

// assert adds what proves who the application is by its Key (RFC 7523 §2.2).
func (a *Application) assert(form url.Values) error {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": a.ID, "sub": a.ID, "aud": a.Issuer, "jti": random(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
	if err != nil {
		return err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"ES256","kid":"1"}`)) + "." + b64(claims)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, a.Key, digest[:])
	if err != nil {
		return fmt.Errorf("sign assertion: %w", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	form.Set("client_id", a.ID)
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", text+"."+b64(signature))
	return nil
}
