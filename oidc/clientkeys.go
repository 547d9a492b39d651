package oidc

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v3"
)

// keySource is where somebody's public keys are: written out, or at an address.
type keySource struct {
	set json.RawMessage
	uri string
	// stranger: nobody of the academy has looked at the address.
	stranger bool
}

func (s keySource) empty() bool { return len(s.set) == 0 && s.uri == "" }

// keys is where the client's own keys are.
func (c *Client) keys() keySource { return keySource{c.JWKS, c.JWKSURI, c.keptOut(c.JWKSURI)} }

// How long keys from an address are remembered, and how soon they may be asked
// for again because a token names one that is not among them.
const (
	foreignFresh = 15 * time.Minute
	foreignAgain = time.Second // a client may sign by a new key at once
	foreignSets  = 1000        // addresses remembered before old ones are dropped
	foreignMost  = 64 << 10    // bytes of a JWK Set
	tokenMost    = 16 << 10    // bytes of a signed token
	foreignDepth = 8           // levels of what it says

	// Keys that are too short to prove anything (RFC 7518 §3.3), or so long or so
	// many that verifying one false signature would keep this server busy.
	rsaLeast = 2048
	rsaMost  = 8192
	keysMost = 50
)

// foreignAlgs may sign what comes from outside: asymmetric ones only.
var foreignAlgs = []string{RS256, PS256, ES256, EdDSA}

// foreignKeys remembers the keys of applications that publish them.
type foreignKeys struct {
	outside *outside
	now     func() time.Time

	mu    sync.Mutex
	known map[keyAddress]*foreignSet
}

// keyAddress tells apart what strangers have asked and what others have: of one
// address, they must not see or spoil each other's answers.
type keyAddress struct {
	uri      string
	stranger bool
}

type foreignSet struct {
	mu     sync.Mutex
	keys   []jose.JSONWebKey
	asked  time.Time
	asking bool
}

var (
	errNoKeys       = errors.New("has registered no keys")
	errBadSignature = errors.New("the signature is not by one of its registered keys")
)

// parseKeys reads a JWK Set (RFC 7517 §5): public keys that can verify, no
// private ones, no secrets.
func parseKeys(set []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(set, &raw); err != nil {
		return nil, errors.New("is not a JWK Set")
	}
	var keys []jose.JSONWebKey
	for _, one := range raw.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(one, &k) != nil {
			continue // of a kind that nobody here can use (§5: ignored)
		}
		if !k.Valid() || !k.IsPublic() {
			return nil, errors.New("holds a key that is not public")
		}
		if public, ok := k.Key.(*rsa.PublicKey); ok && (public.N.BitLen() < rsaLeast || public.N.BitLen() > rsaMost) {
			return nil, fmt.Errorf("holds an RSA key of %d bits: %d to %d are taken", public.N.BitLen(), rsaLeast, rsaMost)
		}
		if k.Use == "" || k.Use == "sig" {
			keys = append(keys, k)
		}
	}
	switch n := len(keys); {
	case n == 0:
		return nil, errors.New("holds no key that can verify a signature")
	case n > keysMost:
		return nil, fmt.Errorf("holds %d keys: at most %d are taken", n, keysMost)
	}
	return keys, nil
}

// of returns the keys of a source. again asks the address anew, if it was not
// asked a moment ago.
func (f *foreignKeys) of(ctx context.Context, s keySource, again bool) ([]jose.JSONWebKey, error) {
	if len(s.set) > 0 {
		return parseKeys(s.set)
	}
	if s.uri == "" {
		return nil, errNoKeys
	}
	f.mu.Lock()
	if f.known == nil {
		f.known = map[keyAddress]*foreignSet{}
	}
	at := keyAddress{s.uri, s.stranger}
	one := f.known[at]
	if one == nil {
		f.forget()
		one = &foreignSet{}
		f.known[at] = one
	}
	f.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	age, known := f.now().Sub(one.asked), one.keys
	if known != nil && (one.asking || age < foreignFresh && (!again || age < foreignAgain)) {
		return known, nil
	}
	if known == nil && !one.asked.IsZero() && age < time.Second {
		return nil, fmt.Errorf("%s did not answer with keys a moment ago", s.uri)
	}
	one.asked = f.now()
	if known != nil { // whoever comes meanwhile goes on with them, however long the address takes
		one.asking = true
		one.mu.Unlock()
	}
	keys, err := f.fetch(context.WithoutCancel(ctx), s) // for all who wait, not for who asks
	if known != nil {
		one.mu.Lock()
		one.asking = false
	}
	if err != nil {
		one.asked = f.now() // it may have taken its time: whoever waited does not ask again
		if known != nil {
			return known, nil // what was known goes on until it can be asked again
		}
		return nil, err
	}
	one.keys = keys
	return keys, nil
}

func (f *foreignKeys) fetch(ctx context.Context, s keySource) ([]jose.JSONWebKey, error) {
	out := f.outside
	if s.stranger {
		out = out.strangers
	}
	body, err := out.get(ctx, s.uri, "application/jwk-set+json, application/json", foreignMost)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.uri, err)
	}
	return keys, nil
}

// forget drops what has not been asked for long, when there is much: an
// application that registers itself may change its address again and again. When
// all of that is fresh, strangers' answers go first: they can be asked again.
func (f *foreignKeys) forget() {
	if len(f.known) < foreignSets {
		return
	}
	for at, one := range f.known {
		if one.mu.TryLock() {
			if f.now().Sub(one.asked) > foreignFresh {
				delete(f.known, at)
			}
			one.mu.Unlock()
		}
	}
	for at := range f.known {
		if len(f.known) < foreignSets {
			return
		}
		if at.stranger {
			delete(f.known, at)
		}
	}
}

// foreignToken is a JWS that somebody else signed, its signature checked.
type foreignToken struct {
	alg, kid, typ string
	claims        map[string]any // numbers are json.Number
}

// verify reads a compact JWS signed by one of the keys of s with one of algs:
// asymmetric ones, so that neither "none" nor HMAC with a public key passes.
// Only the signature is checked: what the claims say is the caller's affair.
func (f *foreignKeys) verify(ctx context.Context, s keySource, token string, algs []string) (*foreignToken, error) {
	if len(token) > tokenMost {
		return nil, errors.New("is too long")
	}
	parsed, err := jose.ParseSigned(token)
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, errors.New("is not a signed JWT in compact form")
	}
	if again, err := parsed.CompactSerialize(); err != nil || again != token {
		return nil, errors.New("is not a signed JWT in compact form")
	}
	header := parsed.Signatures[0].Protected
	if !slices.Contains(algs, header.Algorithm) || !slices.Contains(foreignAlgs, header.Algorithm) {
		return nil, errors.New("is signed with an algorithm that is not accepted")
	}
	t := &foreignToken{alg: header.Algorithm, kid: header.KeyID}
	t.typ, _ = header.ExtraHeaders[jose.HeaderType].(string)
	for _, again := range []bool{false, true} {
		keys, err := f.of(ctx, s, again)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if t.kid != "" && k.KeyID != t.kid || k.Algorithm != "" && k.Algorithm != t.alg {
				continue
			}
			payload, err := parsed.Verify(k.Key)
			if err != nil {
				continue
			}
			if err := unmarshalClaims(payload, &t.claims); err != nil {
				return nil, err
			}
			return t, nil
		}
		if s.uri == "" {
			break
		}
	}
	return nil, errBadSignature
}

// unmarshalClaims reads a JSON object, numbers as they are written (T3).
func unmarshalClaims(payload []byte, claims *map[string]any) error {
	if err := checkJSON(payload, foreignDepth); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(claims); err != nil || *claims == nil {
		return errors.New("does not hold a JSON object")
	}
	return nil
}

// moment reads a NumericDate (RFC 7519 §2); ok is false when it is not one.
func moment(v any) (t time.Time, ok bool) {
	n, isNumber := v.(json.Number)
	if !isNumber {
		return t, false
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > 1<<40 {
		return t, false
	}
	return time.Unix(int64(f), 0), true
}

// audiences reads aud, a string or a list of strings.
func audiences(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil
			}
			all = append(all, s)
		}
		return all
	}
	return nil
}
