package portal

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// answerLimit is the most that is read of one answer of the provider, in bytes.
const answerLimit = 1 << 20

// found is what discovery told. It never changes once found.
type found struct {
	verifier      *oidc.IDTokenVerifier
	oauth         oauth2.Config
	userinfo      string
	introspection string
	revocation    string
	endSession    string
	alwaysIss     bool // RFC 9207: every answer names its issuer
}

// relyingParty finds the provider at first use and tries again, with a growing
// pause, as long as it does not answer.
type relyingParty struct {
	mu     sync.Mutex
	found  *found
	err    error
	pause  time.Duration
	nextAt time.Time
	group  singleflight.Group
}

func (p *Portal) provider(ctx context.Context) (*found, error) {
	c := &p.client
	c.mu.Lock()
	known, err, waiting := c.found, c.err, time.Now().Before(c.nextAt)
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if waiting {
		return nil, err
	}
	result := c.group.DoChan("discover", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		f, err := p.discover(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			c.pause = min(max(2*c.pause, 250*time.Millisecond), 10*time.Second)
			c.nextAt, c.err = time.Now().Add(c.pause), fmt.Errorf("%w: %w", ErrUnavailable, err)
			return nil, c.err
		}
		c.found, c.err, c.pause = f, nil, 0
		return f, nil
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*found), nil
	}
}

func (p *Portal) discover(ctx context.Context) (*found, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), p.Config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover %s: %w", p.Config.Issuer, err)
	}
	var more struct {
		JWKS          string `json:"jwks_uri"`
		Introspection string `json:"introspection_endpoint"`
		Revocation    string `json:"revocation_endpoint"`
		EndSession    string `json:"end_session_endpoint"`
		Iss           bool   `json:"authorization_response_iss_parameter_supported"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, fmt.Errorf("discover %s: %w", p.Config.Issuer, err)
	}
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	for name, address := range map[string]string{"authorization_endpoint": endpoint.AuthURL, "token_endpoint": endpoint.TokenURL, "jwks_uri": more.JWKS} {
		if err := secureURL(address); err != nil {
			return nil, fmt.Errorf("discover %s: %s %w", p.Config.Issuer, name, err)
		}
	}
	for name, address := range map[string]string{"introspection_endpoint": more.Introspection, "revocation_endpoint": more.Revocation,
		"end_session_endpoint": more.EndSession, "userinfo_endpoint": provider.UserInfoEndpoint()} {
		if address == "" {
			continue
		}
		if err := secureURL(address); err != nil {
			return nil, fmt.Errorf("discover %s: %s %w", p.Config.Issuer, name, err)
		}
	}
	return &found{
		// Symmetric algorithms and "none" are left out whatever discovery says.
		verifier: provider.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), p.http), &oidc.Config{
			ClientID: p.Config.ClientID, SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256, oidc.PS256}, Now: p.now}),
		oauth: oauth2.Config{ClientID: p.Config.ClientID, ClientSecret: p.secret.Reveal(), Endpoint: endpoint,
			RedirectURL: p.Config.BaseURL + "/callback", Scopes: p.Config.Scopes},
		userinfo: provider.UserInfoEndpoint(), introspection: more.Introspection, revocation: more.Revocation,
		endSession: more.EndSession, alwaysIss: more.Iss,
	}, nil
}

// grantError is a refusal by the token endpoint (RFC 6749 §5.2).
type grantError struct {
	Status int
	Code   string `json:"error"`
	Text   string `json:"error_description"`
}

func (e *grantError) Error() string {
	return fmt.Sprintf("provider answered %d %s: %s", e.Status, e.Code, e.Text)
}

// post sends a form to the provider, authenticated as this client, and reads a
// JSON answer into out. A refusal comes back as *grantError; everything that
// may pass by itself is ErrUnavailable.
func (p *Portal) post(ctx context.Context, endpoint string, form url.Values, out any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(p.Config.ClientID), url.QueryEscape(p.secret.Reveal()))
	return p.send(request, out)
}

// get reads JSON from the provider with a bearer token.
func (p *Portal) get(ctx context.Context, address, token string, out any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return p.send(request, out)
}

func (p *Portal) send(request *http.Request, out any) error {
	request.Header.Set("Accept", "application/json")
	answer, err := p.http.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s answered %d", ErrUnavailable, request.URL.Path, answer.StatusCode)
	case answer.StatusCode >= 300:
		refusal := &grantError{Status: answer.StatusCode}
		_ = json.Unmarshal(body, refusal) // a refusal without JSON keeps its status
		return refusal
	case out == nil || len(bytes.TrimSpace(body)) == 0:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, request.URL.Path, err)
	}
	return nil
}

// refusal unwraps what the token endpoint said, also through x/oauth2.
func refusal(err error) *grantError {
	var g *grantError
	if errors.As(err, &g) {
		return g
	}
	var r *oauth2.RetrieveError
	if errors.As(err, &r) && r.Response != nil && r.Response.StatusCode < 500 {
		return &grantError{Status: r.Response.StatusCode, Code: r.ErrorCode, Text: r.ErrorDescription}
	}
	return nil
}

// newHTTPClient is the client for the provider: deadlines on every phase, no
// redirects (a token endpoint has no reason to send secrets elsewhere) and
// bounded answers.
func newHTTPClient(caFile string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("portal.ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("portal.ca_file: %s holds no certificate", caFile)
		}
	}
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &limited{&http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSClientConfig:       config,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 8 * time.Second,
			MaxIdleConnsPerHost:   32,
			IdleConnTimeout:       60 * time.Second,
			ForceAttemptHTTP2:     true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

type limited struct{ next http.RoundTripper }

func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err == nil {
		answer.Body = &limitedBody{ReadCloser: answer.Body, left: answerLimit}
	}
	return answer, err
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(buffer []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("answer is too long")
	}
	if int64(len(buffer)) > b.left {
		buffer = buffer[:b.left]
	}
	n, err := b.ReadCloser.Read(buffer)
	b.left -= int64(n)
	return n, err
}
