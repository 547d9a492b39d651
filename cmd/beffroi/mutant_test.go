package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// mutant stands between ProConnect and the provider and alters one thing of what
// passes. Tokens that it alters it signs with a key of its own, which it
// publishes beside the provider's, and turns back when they return as a hint.
type mutant struct {
	t    *testing.T
	base http.RoundTripper
	key  *ecdsa.PrivateKey

	request  func(r *http.Request, form url.Values) // form: of the body or the address; what is changed is sent
	response func(r *http.Request, form url.Values, a *reply)
	idToken  func(claims map[string]any)
	userinfo func(claims map[string]any)
	once     bool // alters only the first ID token or answer for which it does something

	redeemed  int               // token answers with tokens, so far
	altered   bool              // something was altered
	originals map[string]string // tokens of the provider by what was made of them
	answers   map[string]reply  // token answers by code
}

// reply is an answer of the provider.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func newMutant(t *testing.T) *mutant {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &mutant{t: t, base: http.DefaultTransport, key: key, originals: map[string]string{}, answers: map[string]reply{}}
}

func (m *mutant) RoundTrip(r *http.Request) (*http.Response, error) {
	r, form, err := m.send(r)
	if err != nil {
		return nil, err
	}
	res, err := m.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, err
	}
	a := &reply{res.StatusCode, res.Header, body}
	switch r.URL.Path {
	case "/jwks":
		if m.idToken != nil || m.userinfo != nil {
			m.publish(a)
		}
	case "/oauth2/token":
		if a.status == http.StatusOK {
			m.redeemed++
			m.alterIDToken(a)
		}
	case "/userinfo":
		if m.userinfo != nil {
			a.body = []byte(m.forge(string(a.body), m.userinfo))
		}
	}
	if m.response != nil && !(m.once && m.altered) {
		before := string(a.body) + a.header.Get("Location")
		m.response(r, form, a)
		m.altered = m.altered || before != string(a.body)+a.header.Get("Location")
	}
	res.StatusCode, res.Header, res.ContentLength = a.status, a.header, int64(len(a.body))
	res.Header.Del("Content-Length")
	res.Body = io.NopCloser(bytes.NewReader(a.body))
	return res, nil
}

// send prepares what goes to the provider.
func (m *mutant) send(r *http.Request) (*http.Request, url.Values, error) {
	r = r.Clone(r.Context())
	form := r.URL.Query()
	if r.Body != nil && r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, nil, err
		}
		if form, err = url.ParseQuery(string(body)); err != nil {
			return nil, nil, err
		}
	}
	if m.request != nil {
		m.request(r, form)
	}
	if hint := form.Get("id_token_hint"); m.originals[hint] != "" {
		form.Set("id_token_hint", m.originals[hint])
	}
	if r.Method == http.MethodPost {
		r.Body = io.NopCloser(strings.NewReader(form.Encode()))
		r.ContentLength = int64(len(form.Encode()))
	} else {
		r.URL.RawQuery = form.Encode()
	}
	return r, form, nil
}

// publish adds the mutant's key to the provider's.
func (m *mutant) publish(a *reply) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(a.body, &set); err != nil {
		m.t.Fatal(err)
	}
	set.Keys = append(set.Keys, jose.JSONWebKey{Key: m.key.Public(), KeyID: "mutant", Algorithm: "ES256", Use: "sig"})
	a.body = m.json(set)
}

func (m *mutant) json(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		m.t.Fatal(err)
	}
	return text
}

func (m *mutant) alterIDToken(a *reply) {
	if m.idToken == nil || m.once && m.altered {
		return
	}
	var answer map[string]any
	if err := json.Unmarshal(a.body, &answer); err != nil {
		m.t.Fatal(err)
	}
	answer["id_token"] = m.forge(answer["id_token"].(string), m.idToken)
	a.body = m.json(answer)
}

// forge is a token with other claims; the same one where nothing changes.
func (m *mutant) forge(token string, change func(claims map[string]any)) string {
	claims := claimsOf(m.t, token)
	before := string(m.json(claims))
	change(claims)
	after := m.json(claims)
	if string(after) == before {
		return token
	}
	m.altered = true
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: m.key, KeyID: "mutant"}}, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	signed, err := signer.Sign(after)
	if err != nil {
		m.t.Fatal(err)
	}
	forged, err := signed.CompactSerialize()
	if err != nil {
		m.t.Fatal(err)
	}
	m.originals[forged] = token
	return forged
}

// expire makes the provider's own token old, whatever was made of it.
func (m *mutant) expire(old func(context.Context, string) (string, error)) func(context.Context, string) (string, error) {
	return func(ctx context.Context, token string) (string, error) {
		if original := m.originals[token]; original != "" {
			token = original
		}
		return old(ctx, token)
	}
}

func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var claims map[string]any
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// redirect makes an answer lead elsewhere.
func (a *reply) redirect(to string) {
	a.status, a.body = http.StatusSeeOther, nil
	a.header = http.Header{"Location": {to}}
}

// page makes an answer a page.
func (a *reply) page(status int, html string) {
	a.status, a.body = status, []byte(html)
	a.header = http.Header{"Content-Type": {"text/html; charset=utf-8"}}
}

// location changes the parameters of a redirect.
func (a *reply) location(change func(q url.Values)) {
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.header.Get("Location") == "" {
		return
	}
	q := u.Query()
	change(q)
	u.RawQuery = q.Encode()
	a.header.Set("Location", u.String())
}

// hasCode tells whether the answer brings a code back.
func (a *reply) hasCode() bool { return strings.Contains(a.header.Get("Location"), "code=") }
