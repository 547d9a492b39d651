package visitor

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Application is a relying party written from the RFCs, not from the provider's code.
type Application struct {
	Issuer, ID, Secret, RedirectURI string
	Key                             *ecdsa.PrivateKey // proves who it is instead of Secret (private_key_jwt, ES256)

	mu       sync.Mutex
	metadata *Metadata
	keys     map[string]any
}

// Metadata is what discovery says, as far as an application needs it.
type Metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Push          string   `json:"pushed_authorization_request_endpoint"`
	Introspection string   `json:"introspection_endpoint"`
	Revocation    string   `json:"revocation_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	EndSession    string   `json:"end_session_endpoint"`
	Device        string   `json:"device_authorization_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
}

// Attempt is one authorization request on its way.
type Attempt struct {
	URL                    string // where the browser is sent
	State, Nonce, Verifier string
}

// Tokens is a token endpoint's answer. Error is set when it refused.
type Tokens struct {
	Status           int
	AccessToken      string `json:"access_token"`
	RefreshToken     string `json:"refresh_token"`
	IDToken          string `json:"id_token"`
	TokenType        string `json:"token_type"`
	Scope            string `json:"scope"`
	ExpiresIn        int64  `json:"expires_in"`
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

// Discover reads the provider's metadata once.
func (a *Application) Discover(ctx context.Context) (*Metadata, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.metadata != nil {
		return a.metadata, nil
	}
	var m Metadata
	if status, err := getJSON(ctx, a.Issuer+"/.well-known/openid-configuration", "", &m); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("discovery: %d %w", status, err)
	}
	if m.Issuer != a.Issuer {
		return nil, fmt.Errorf("discovery says issuer %q, not %q", m.Issuer, a.Issuer)
	}
	a.metadata = &m
	return &m, nil
}

// Begin makes an authorization request with state, nonce and PKCE; extra adds or replaces parameters ("" removes one).
func (a *Application) Begin(ctx context.Context, scope string, extra map[string]string) (*Attempt, error) {
	m, err := a.Discover(ctx)
	if err != nil {
		return nil, err
	}
	t := &Attempt{State: random(), Nonce: random(), Verifier: random()}
	challenge := sha256.Sum256([]byte(t.Verifier))
	q := url.Values{"response_type": {"code"}, "client_id": {a.ID}, "redirect_uri": {a.RedirectURI}, "scope": {scope}, "state": {t.State},
		"nonce": {t.Nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}}
	for name, value := range extra {
		if value == "" {
			q.Del(name)
		} else {
			q.Set(name, value)
		}
	}
	t.URL = m.Authorization + "?" + q.Encode()
	return t, nil
}

// Push is Begin with the request sent ahead (RFC 9126): the browser carries a reference only.
func (a *Application) Push(ctx context.Context, scope string, extra map[string]string) (*Attempt, error) {
	t, err := a.Begin(ctx, scope, extra)
	if err != nil {
		return nil, err
	}
	_, query, _ := strings.Cut(t.URL, "?")
	form, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	var pushed struct {
		URI   string `json:"request_uri"`
		Error string `json:"error"`
	}
	status, err := a.post(ctx, a.metadata.Push, form, &pushed)
	if err == nil && (status != http.StatusCreated || pushed.URI == "") {
		err = fmt.Errorf("push: %d %s", status, pushed.Error)
	}
	t.URL = a.metadata.Authorization + "?" + url.Values{"client_id": {a.ID}, "request_uri": {pushed.URI}}.Encode()
	return t, err
}

// Code reads the answer that the browser brought to the redirect URI.
func (t *Attempt) Code(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	q := u.Query()
	switch {
	case q.Get("error") != "":
		return "", fmt.Errorf("the provider answers %s: %s", q.Get("error"), q.Get("error_description"))
	case q.Get("state") != t.State:
		return "", errors.New("the answer belongs to another request: its state is not ours")
	case q.Get("code") == "":
		return "", fmt.Errorf("no code in %s", address)
	}
	return q.Get("code"), nil
}

// Redeem exchanges a code.
func (a *Application) Redeem(ctx context.Context, code, verifier string) (*Tokens, error) {
	return a.Token(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.RedirectURI}, "code_verifier": {verifier}})
}

// Device is what a device shows and polls with (RFC 8628 §3.2).
type Device struct {
	Code     string `json:"device_code"`
	UserCode string `json:"user_code"`
	Page     string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
	Expires  int64  `json:"expires_in"`
	Interval int64  `json:"interval"`
}

// BeginDevice begins a sign-in for a device without a keyboard.
func (a *Application) BeginDevice(ctx context.Context, scope string) (*Device, error) {
	m, err := a.Discover(ctx)
	if err != nil {
		return nil, err
	}
	var d Device
	if status, err := a.post(ctx, m.Device, url.Values{"scope": {scope}}, &d); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("device authorization: %d %w", status, err)
	}
	return &d, nil
}

// RedeemDevice asks whether the person has said yes.
func (a *Application) RedeemDevice(ctx context.Context, d *Device) (*Tokens, error) {
	return a.Token(ctx, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.Code}})
}

// Exchange asks a token for another audience (RFC 8693).
func (a *Application) Exchange(ctx context.Context, token, audience string) (*Tokens, error) {
	return a.Token(ctx, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {token},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "audience": {audience},
	})
}

// Refresh uses a refresh token.
func (a *Application) Refresh(ctx context.Context, token string) (*Tokens, error) {
	return a.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// Token sends any grant. The error means that no answer came; a refusal is in Tokens.
func (a *Application) Token(ctx context.Context, form url.Values) (*Tokens, error) {
	m, err := a.Discover(ctx)
	if err != nil {
		return nil, err
	}
	var t Tokens
	t.Status, err = a.post(ctx, m.Token, form, &t)
	return &t, err
}

// Introspect asks what a token is worth (RFC 7662). It gives the status, the answer's fields and its text.
func (a *Application) Introspect(ctx context.Context, token string) (int, map[string]any, string, error) {
	m, err := a.Discover(ctx)
	if err != nil {
		return 0, nil, "", err
	}
	var raw json.RawMessage
	status, err := a.post(ctx, m.Introspection, url.Values{"token": {token}}, &raw)
	if err != nil {
		return status, nil, "", err
	}
	var fields map[string]any
	err = json.Unmarshal(raw, &fields)
	return status, fields, string(raw), err
}

// Revoke ends a token (RFC 7009) and gives the status.
func (a *Application) Revoke(ctx context.Context, token string) (int, error) {
	m, err := a.Discover(ctx)
	if err != nil {
		return 0, err
	}
	return a.post(ctx, m.Revocation, url.Values{"token": {token}}, nil)
}

// UserInfo reads the claims of an access token's person.
func (a *Application) UserInfo(ctx context.Context, token string) (int, map[string]any, error) {
	m, err := a.Discover(ctx)
	if err != nil {
		return 0, nil, err
	}
	var claims map[string]any
	status, err := getJSON(ctx, m.UserInfo, token, &claims)
	return status, claims, err
}

// machines is how applications reach the provider.
var machines = &http.Client{Transport: transport, Timeout: 60 * time.Second}

// post sends a form with the application's credentials (client_secret_basic, RFC 6749 §2.3.1).
func (a *Application) post(ctx context.Context, address string, form url.Values, into any) (int, error) {
	switch {
	case a.Key != nil:
		if err := a.assert(form); err != nil {
			return 0, err
		}
	case a.Secret == "":
		form.Set("client_id", a.ID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a.Secret != "" {
		request.SetBasicAuth(url.QueryEscape(a.ID), url.QueryEscape(a.Secret))
	}
	return answerJSON(request, into)
}

func getJSON(ctx context.Context, address, token string, into any) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return answerJSON(request, into)
}

func answerJSON(request *http.Request, into any) (int, error) {
	answer, err := machines.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || into == nil || len(text) == 0 {
		return answer.StatusCode, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		if answer.StatusCode >= 400 { // an error page is an answer too
			return answer.StatusCode, nil
		}
		return answer.StatusCode, fmt.Errorf("%s answers %d, not JSON: %.200s", request.URL, answer.StatusCode, text)
	}
	return answer.StatusCode, nil
}

func random() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
