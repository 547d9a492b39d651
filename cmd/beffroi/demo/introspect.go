package demo

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Introspection is what the provider says of a token (RFC 7662 §2.2).
// Only Active is meaningful when it is false.
type Introspection struct {
	Active   bool
	Username string    // the person's login
	Scope    string    // space separated
	Aud      []string  // the resources the token is for
	ClientID string    // who asked for it
	Expires  time.Time // zero when the provider did not say
}

// Introspector asks what a token is worth. A token that is worth nothing is
// not an error: an error means that nobody could be asked.
type Introspector func(ctx context.Context, token string) (Introspection, error)

// errRefused says that a token was understood and is not good enough here;
// the text after it is for logs.
var errRefused = errors.New("token refused")

// Grants tells whether the token opens a resource: alive at now, issued for
// that audience, with that scope, for a person. The audience check keeps a
// token of one module from opening another.
func (i Introspection) Grants(audience, scope string, now time.Time) error {
	switch {
	case !i.Active:
		return fmt.Errorf("%w: not active", errRefused)
	case !i.Expires.IsZero() && !now.Before(i.Expires):
		return fmt.Errorf("%w: expired", errRefused)
	case !slices.Contains(i.Aud, audience):
		return fmt.Errorf("%w: not for audience %q", errRefused, audience)
	case !slices.Contains(strings.Fields(i.Scope), scope):
		return fmt.Errorf("%w: scope %q missing", errRefused, scope)
	case i.Username == "":
		return fmt.Errorf("%w: no person behind it", errRefused)
	}
	return nil
}

// IntrospectConfig says where and as whom to introspect.
type IntrospectConfig struct {
	URL      string // the provider's introspection endpoint
	ClientID string // the resource's own client: "imap", "dav"
	Secret   string
	Remember time.Duration // how long a good answer is kept; default and most 10 s
	Now      func() time.Time
}

// HTTPIntrospector introspects over HTTP with client_secret_basic. It remembers
// good answers only, and never past the token's end: a refusal is asked again,
// so that a token fresh from the provider is never refused by memory.
type HTTPIntrospector struct {
	config IntrospectConfig
	client *http.Client

	mu    sync.Mutex
	known map[[sha256.Size]byte]remembered
}

type remembered struct {
	answer Introspection
	until  time.Time
}

const (
	mostRemembered       = 10 * time.Second
	mostKnownTokens      = 4096
	mostIntrospectAnswer = 64 << 10
)

// NewIntrospector makes an introspector; Close frees its connections.
func NewIntrospector(c IntrospectConfig) *HTTPIntrospector {
	if c.Remember <= 0 || c.Remember > mostRemembered {
		c.Remember = mostRemembered
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &HTTPIntrospector{
		config: c,
		client: &http.Client{
			Timeout:   5 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 5 * time.Second},
			// A redirected POST would carry the token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		known: make(map[[sha256.Size]byte]remembered),
	}
}

// Close frees idle connections; answers under way finish.
func (h *HTTPIntrospector) Close() { h.client.CloseIdleConnections() }

// Introspect is an Introspector.
func (h *HTTPIntrospector) Introspect(ctx context.Context, token string) (Introspection, error) {
	if token == "" {
		return Introspection{}, nil
	}
	key := sha256.Sum256([]byte(token))
	if answer, ok := h.recall(key); ok {
		return answer, nil
	}
	answer, err := h.ask(ctx, token)
	if err != nil {
		return Introspection{}, fmt.Errorf("introspect at %s: %w", h.config.URL, err)
	}
	h.remember(key, answer)
	return answer, nil
}

func (h *HTTPIntrospector) ask(ctx context.Context, token string) (Introspection, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.config.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return Introspection{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749 §2.3.1: both halves are form-encoded before Basic.
	req.SetBasicAuth(url.QueryEscape(h.config.ClientID), url.QueryEscape(h.config.Secret))
	res, err := h.client.Do(req)
	if err != nil {
		return Introspection{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostIntrospectAnswer+1))
	if err != nil {
		return Introspection{}, err
	}
	if res.StatusCode != http.StatusOK {
		return Introspection{}, fmt.Errorf("answered %s", res.Status)
	}
	if len(body) > mostIntrospectAnswer {
		return Introspection{}, errors.New("the answer is too long")
	}
	return parseIntrospection(body)
}

func parseIntrospection(body []byte) (Introspection, error) {
	var raw struct {
		Active   bool      `json:"active"`
		Username string    `json:"username"`
		Scope    string    `json:"scope"`
		ClientID string    `json:"client_id"`
		Aud      audiences `json:"aud"`
		Exp      float64   `json:"exp"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return Introspection{}, fmt.Errorf("read the answer: %w", err)
	}
	if !raw.Active {
		return Introspection{}, nil
	}
	answer := Introspection{Active: true, Username: raw.Username, Scope: raw.Scope, Aud: raw.Aud, ClientID: raw.ClientID}
	if raw.Exp > 0 {
		answer.Expires = time.Unix(int64(raw.Exp), 0)
	}
	return answer, nil
}

// audiences reads "aud" as one string or as an array (RFC 7662 §2.2, RFC 7519 §4.1.3).
type audiences []string

func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = nil
		if one != "" {
			*a = audiences{one}
		}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	*a = many
	return nil
}

func (h *HTTPIntrospector) recall(key [sha256.Size]byte) (Introspection, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept, ok := h.known[key]
	if !ok || !h.config.Now().Before(kept.until) {
		return Introspection{}, false
	}
	return kept.answer, true
}

func (h *HTTPIntrospector) remember(key [sha256.Size]byte, answer Introspection) {
	if !answer.Active {
		return
	}
	now := h.config.Now()
	until := now.Add(h.config.Remember)
	if !answer.Expires.IsZero() && answer.Expires.Before(until) {
		until = answer.Expires
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= mostKnownTokens {
		for k, kept := range h.known {
			if !now.Before(kept.until) {
				delete(h.known, k)
			}
		}
		if len(h.known) >= mostKnownTokens {
			clear(h.known)
		}
	}
	h.known[key] = remembered{answer, until}
}
