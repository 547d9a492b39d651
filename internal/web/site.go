package web

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/templates"
)

// SiteConfig describes one of the two sites.
type SiteConfig struct {
	Kind           string // "provider" or "portal"
	Name           string // of the academy, as pages show it
	BaseURL        *url.URL
	ProviderURL    string // origins without a trailing slash, for links between the sites
	PortalURL      string
	Sessions       *session.Store
	Audit          *audit.Log
	TrustedProxies []netip.Prefix
	FormAction     []string // origins that every form may end at, beside 'self'
	FrameSrc       []string // origins that pages may frame; "'self'" among them
	Log            *slog.Logger
	// Person names who is signed in, for the top bar; nil when nobody is.
	Person func(ctx context.Context) *templates.PersonInfo
}

// Site wraps the handlers of one origin.
type Site struct {
	cfg    SiteConfig
	origin *http.CrossOriginProtection
	served atomic.Int64
	failed atomic.Int64
}

// NewSite makes a Site.
func NewSite(c SiteConfig) *Site {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Site{cfg: c, origin: http.NewCrossOriginProtection()}
}

// Name is what the site is called.
func (s *Site) Name() string { return s.cfg.Name }

// BaseURL is the address of the site.
func (s *Site) BaseURL() *url.URL { return s.cfg.BaseURL }

// Counts returns how many requests were answered, and how many with 5xx.
func (s *Site) Counts() (served, failed int64) { return s.served.Load(), s.failed.Load() }

// maxBody is the most that a form or an API call may send; MaxBody raises it.
const maxBody = 64 << 10

// Browser wraps a page: session, language, cross-origin check, headers, errors.
func (s *Site) Browser(h Handler) http.Handler {
	return s.wrap(func(w http.ResponseWriter, r *http.Request) error {
		var sess *session.Session
		if s.cfg.Sessions != nil {
			var err error
			if sess, err = s.cfg.Sessions.Load(r); err != nil {
				return err
			}
		}
		ctx := session.With(r.Context(), sess)
		ctx = WithLang(ctx, s.language(r))
		r = r.WithContext(ctx)
		s.headers(w, r)
		if err := s.origin.Check(r); err != nil {
			s.refuseOrigin(r, sess)
			return Fail(http.StatusForbidden, "web.error.origin", err)
		}
		return h(w, r)
	}, s.errorPage)
}

// API wraps a machine's entrance: no cookie is read, errors are JSON.
func (s *Site) API(h Handler) http.Handler {
	return s.wrap(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		return h(w, r)
	}, errorJSON)
}

// MaxBody lets a handler of Browser or API receive up to n bytes.
func MaxBody(n int64, h Handler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if head, ok := r.Context().Value(headKey).(*answer); ok && head.body != nil {
			r.Body = http.MaxBytesReader(w, head.body, n)
		}
		return h(w, r)
	}
}

func (s *Site) wrap(h Handler, fail func(w http.ResponseWriter, r *http.Request, e *Error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w, body: r.Body}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		o := audit.Origin{IP: realIP(r, s.cfg.TrustedProxies), UserAgent: r.UserAgent(), RequestID: newRequestID()}
		ctx := audit.WithOrigin(r.Context(), o)
		ctx = context.WithValue(ctx, siteKey, s)
		ctx = context.WithValue(ctx, headKey, a)
		r = r.WithContext(ctx)
		a.Header().Set("X-Request-Id", o.RequestID)

		var e *Error
		if err := s.guard(h, a, r); err != nil {
			e = asError(err)
			if errors.Is(r.Context().Err(), context.Canceled) {
				e = &Error{Status: statusLeft, Key: e.Key, Err: err} // whatever failed, failed because the visitor left
			}
			if a.status == 0 && e.Status == statusLeft {
				a.status = statusLeft
			} else if a.status == 0 {
				// The handler's request (with session and language) is gone;
				// the pages need the language again.
				fail(a, r.WithContext(WithLang(r.Context(), s.language(r))), e)
			}
		}
		s.served.Add(1)
		s.logAccess(a, r, e, time.Since(start))
	})
}

// guard turns a panic of h into an error, so that a request that broke is
// logged with its number and answered like any other failure.
func (s *Site) guard(h Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.cfg.Log.Error("panic", "request", RequestID(r.Context()), "panic", p, "stack", string(debug.Stack()))
			err = errors.New("panic while answering")
		}
	}()
	return h(w, r)
}

func (s *Site) logAccess(a *answer, r *http.Request, e *Error, took time.Duration) {
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	level := slog.LevelDebug
	attrs := []any{"site", s.cfg.Kind, "method", r.Method, "path", r.URL.Path, "status", status, "ms", took.Milliseconds(),
		"address", ClientIP(r.Context()).String(), "request", RequestID(r.Context())}
	if e != nil {
		attrs = append(attrs, "error", e.Error())
		level = slog.LevelInfo
	}
	if status >= 500 {
		level = slog.LevelError
		s.failed.Add(1)
	}
	s.cfg.Log.Log(r.Context(), level, "request", attrs...)
}

func (s *Site) refuseOrigin(r *http.Request, sess *session.Session) {
	if s.cfg.Audit == nil {
		return
	}
	actor := audit.Anonymous()
	if sess != nil {
		actor = audit.Person(sess.Person, "")
	}
	s.cfg.Audit.Refuse(r.Context(), actor, audit.Event{Action: "web.origin", Outcome: "refused",
		Detail: map[string]string{"path": r.URL.Path, "origin": r.Header.Get("Origin")}})
}

// answer remembers the status that was written and the body before its limit.
type answer struct {
	http.ResponseWriter
	body   io.ReadCloser
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap serves http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

var requestIDs = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newRequestID is short enough to be read over the telephone.
func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return requestIDs.EncodeToString(b[:])[:12]
}

func (s *Site) errorPage(w http.ResponseWriter, r *http.Request, e *Error) {
	s.headers(w, r)
	l := Lang(r.Context())
	page := &templates.WebError{Status: e.Status, Heading: i18n.T(l, headingKey(e.Status)), Message: i18n.T(l, e.Key, e.Args...), Back: "/"}
	// A failure may have a heading and a next step of its own beside its sentence.
	if heading := i18n.T(l, e.Key+".heading"); heading != e.Key+".heading" {
		page.Heading = heading
	}
	if next := i18n.T(l, e.Key+".next"); next != e.Key+".next" {
		page.Next = next
	}
	page.Title, page.Bare = page.Heading, true
	if err := Render(w, r, e.Status, page); err != nil {
		s.cfg.Log.Error("error page", "error", err, "request", RequestID(r.Context()))
		w.WriteHeader(e.Status)
	}
}

func headingKey(status int) string {
	switch status {
	case 400, 403, 404, 405, 409, 413, 429, 502, 503, 504:
		return fmt.Sprintf("web.error.heading.%d", status)
	}
	if status < 500 {
		return "web.error.heading.400"
	}
	return "web.error.heading.500"
}

func errorJSON(w http.ResponseWriter, _ *http.Request, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": strings.ToLower(strings.ReplaceAll(http.StatusText(e.Status), " ", "_")), "key": e.Key})
}

// Kind is "provider" or "portal".
func (s *Site) Kind() string { return s.cfg.Kind }

// Mux is where a folder mounts its routes: *http.ServeMux, or something that
// writes them down, so that a test can ask for a row about each.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// Routes serves mux, and answers what it does not know with the site's own
// pages: 404, or 405 with Allow when the path is known for another method.
func (s *Site) Routes(mux *http.ServeMux) http.Handler {
	unknown := s.Browser(func(http.ResponseWriter, *http.Request) error {
		return Fail(http.StatusNotFound, "web.error.not_found", nil)
	})
	method := s.Browser(func(http.ResponseWriter, *http.Request) error {
		return Fail(http.StatusMethodNotAllowed, "web.error.method", nil)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &probe{header: http.Header{}}
		h.ServeHTTP(probe, r)
		switch {
		case probe.status == http.StatusMethodNotAllowed:
			w.Header().Set("Allow", probe.header.Get("Allow"))
			method.ServeHTTP(w, r)
		case probe.status >= 300 && probe.status < 400:
			mux.ServeHTTP(w, r)
		default:
			unknown.ServeHTTP(w, r)
		}
	})
}

// probe learns what a handler would answer.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) WriteHeader(status int)      { p.status = status }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
