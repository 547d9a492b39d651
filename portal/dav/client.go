package dav

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"time"
)

// Bounds of what is read: of one answer, and of one object.
const (
	maxAnswer = 24 << 20
	maxObject = 2 << 20
)

// Options of a Server. Zero values are usable.
type Options struct {
	CAFile    string
	Timeout   time.Duration     // of one exchange; default 10 s
	Auth      Auth              // whom the requests are made for, by their context
	Transport http.RoundTripper // for tests
}

// Server is one CalDAV or CardDAV server. Safe for use by many goroutines; it
// keeps connections, and remembers home collections for a while.
type Server struct {
	base    string // may hold {login}
	http    *http.Client
	auth    Auth
	timeout time.Duration

	mu    sync.Mutex
	homes map[string]rememberedHome
}

type rememberedHome struct {
	href string
	at   time.Time
}

// NewServer checks the address; it does not reach the server.
func NewServer(base string, o Options) (*Server, error) {
	u, err := url.Parse(strings.ReplaceAll(base, "{login}", "x"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("dav: %q is not an address", base)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("dav: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("dav: %s holds no certificate", o.CAFile)
		}
	}
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{
			DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, TLSClientConfig: config, TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: o.Timeout, MaxIdleConnsPerHost: 16, IdleConnTimeout: 60 * time.Second,
		}
	}
	return &Server{base: base, auth: o.Auth, timeout: o.Timeout, homes: map[string]rememberedHome{},
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Client speaks to the server for one person.
type Client struct {
	server *Server
	login  string
	base   *url.URL
}

// For gives the client of a person.
func (s *Server) For(login string) *Client {
	u, err := url.Parse(strings.ReplaceAll(s.base, "{login}", url.PathEscape(login)))
	if err != nil { // NewServer parsed the same address with another login
		u = &url.URL{}
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return &Client{server: s, login: login, base: u}
}

// resolve turns an href of the server into a path on it. Another host, another
// scheme and paths that climb are refused: an answer must not send a person's
// credentials elsewhere.
func (c *Client) resolve(from, href string) (string, error) {
	start := *c.base
	if from != "" {
		start.Path, start.RawPath = from, ""
		if p, err := url.PathUnescape(from); err == nil {
			start.Path, start.RawPath = p, from
		}
	}
	u, err := start.Parse(strings.TrimSpace(href))
	if err != nil || len(href) > 2000 {
		return "", fmt.Errorf("dav: href %.100q is not an address", href)
	}
	if u.Host != c.base.Host || u.Scheme != c.base.Scheme || u.User != nil || u.Opaque != "" {
		return "", fmt.Errorf("dav: href %.100q leads to another server", href)
	}
	p := u.Path
	cleaned := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && cleaned != "/" {
		cleaned += "/"
	}
	if cleaned != p || strings.ContainsAny(p, "\x00\r\n") {
		return "", fmt.Errorf("dav: href %.100q is not a plain path", href)
	}
	return u.EscapedPath(), nil
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends one request and reads the whole answer. Redirects are followed on
// the same server only, three at most.
func (c *Client) do(ctx context.Context, method, href string, header map[string]string, body string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.server.timeout)
	defer cancel()
	_, again := c.server.auth.(Refuser)
	for range 4 {
		a, err := c.once(ctx, method, href, header, body)
		if err != nil {
			return nil, err
		}
		if a.status == http.StatusUnauthorized && again {
			again = false
			continue
		}
		if a.status < 300 || a.status > 399 {
			return a, statusError(method, href, a)
		}
		if href, err = c.resolve(href, a.header.Get("Location")); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return nil, fmt.Errorf("%w: %s %s is sent around in circles", ErrUnavailable, method, href)
}

func (c *Client) once(ctx context.Context, method, href string, header map[string]string, body string) (*answer, error) {
	u := *c.base
	p, err := url.PathUnescape(href)
	if err != nil {
		return nil, fmt.Errorf("dav: href %.100q: %w", href, err)
	}
	u.Path, u.RawPath, u.RawQuery = p, href, ""
	request, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("dav: %w", err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	request.Header.Set("User-Agent", "Beffroi")
	if c.server.auth != nil {
		if err := c.server.auth.Authorize(ctx, request); err != nil {
			return nil, err
		}
	}
	response, err := c.server.http.Do(request)
	if err != nil {
		return nil, unavailable(ctx, method, href, err)
	}
	defer response.Body.Close()
	if r, ok := c.server.auth.(Refuser); ok && response.StatusCode == http.StatusUnauthorized {
		r.Refused(ctx, request)
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, unavailable(ctx, method, href, err)
	}
	if n > maxAnswer {
		return nil, fmt.Errorf("%w: %s %s answers more than %d bytes", ErrUnavailable, method, href, maxAnswer)
	}
	return &answer{response.StatusCode, response.Header, b.Bytes()}, nil
}

// unavailable keeps apart a visitor who left and a server that does not answer.
func unavailable(ctx context.Context, method, href string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	// %v: a deadline of ours must not look like the visitor's.
	return fmt.Errorf("%w: %s %s: %v", ErrUnavailable, method, href, err)
}

func statusError(method, href string, a *answer) error {
	var kind error
	switch s := a.status; {
	case s < 300:
		return nil
	case s == 401:
		kind = ErrSignIn
	case s == 403, s == 405, s == 409, s == 415:
		kind = ErrForbidden
	case s == 404, s == 410:
		kind = ErrNotFound
	case s == 412:
		kind = ErrConflict
	case s == 413, s == 507:
		kind = ErrTooLarge
	default:
		kind = ErrUnavailable
	}
	return fmt.Errorf("%w: %s %s: status %d", kind, method, href, a.status)
}
