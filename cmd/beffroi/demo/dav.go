package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What the DAV server asks of a token.
const (
	DAVAudience = "dav"
	DAVScope    = "dav"
)

// DAVConfig describes the CalDAV and CardDAV server.
type DAVConfig struct {
	Addr       string // "127.0.0.1:0" for any free port
	Introspect Introspector
	People     []Account
	Log        *slog.Logger
	Now        func() time.Time
}

// DAVServer serves CalDAV (RFC 4791), CardDAV (RFC 6352) and sync-collection
// (RFC 6578) from memory, to bearer tokens only.
//
//	/                          current-user-principal
//	/.well-known/caldav        → /        (also carddav)
//	/principals/LOGIN/         calendar-home-set, addressbook-home-set
//	/calendars/LOGIN/NAME/     the person's calendars, and "etablissement", read-only
//	/addressbooks/LOGIN/NAME/  the person's books
//
// Objects come back byte for byte as they were put, so their ETags are strong.
// Not served: CALDAV:expand (501), locks, scheduling, free-busy-query.
type DAVServer struct {
	Addr string // host:port listened on
	URL  string // "http://host:port/", where a client starts

	config  DAVConfig
	store   *davStore
	http    *http.Server
	serving sync.WaitGroup
}

// StartDAV listens at once and returns; a person's calendars and books are
// filled when they are first asked for.
func StartDAV(c DAVConfig) (*DAVServer, error) {
	if c.Introspect == nil {
		return nil, errors.New("demo DAV: no introspector")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ln, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("demo DAV: %w", err)
	}
	s := &DAVServer{Addr: ln.Addr().String(), URL: "http://" + ln.Addr().String() + "/", config: c, store: newDAVStore(c.People, c.Now)}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	s.serving.Go(func() {
		if err := s.http.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("demo DAV server stopped", "error", err)
		}
	})
	return s, nil
}

// Close lets requests under way finish, at most 5 s or until ctx ends, then
// cuts them off.
func (s *DAVServer) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	s.serving.Wait()
	return err
}

// ServeHTTP finds out who asks and what for, and turns what a method answers
// into HTTP: every method returns an error instead of writing one.
func (s *DAVServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/.well-known/caldav" || r.URL.Path == "/.well-known/carddav" {
		// RFC 6764 §5. 308 would keep PROPFIND's method in more clients, but RFC 6764 names 301, 303 and 307.
		w.Header().Set("Location", "/")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	err := s.handle(w, r)
	if err == nil {
		return
	}
	var refused *davError
	if !errors.As(err, &refused) {
		s.config.Log.Error("demo DAV", "method", r.Method, "path", r.URL.Path, "error", err)
		refused = &davError{status: http.StatusInternalServerError}
	}
	refused.write(w)
}

func (s *DAVServer) handle(w http.ResponseWriter, r *http.Request) error {
	login, err := s.identify(r)
	if err != nil {
		return err
	}
	methods := map[string]func(http.ResponseWriter, *http.Request, *davTarget) error{
		http.MethodOptions: s.options,
		http.MethodGet:     s.get,
		http.MethodHead:    s.get,
		http.MethodPut:     s.put,
		http.MethodDelete:  s.delete,
		"PROPFIND":         s.propfind,
		"PROPPATCH":        s.proppatch,
		"REPORT":           s.report,
		"MKCALENDAR":       s.mkcalendar,
		"MKCOL":            s.mkcol,
		"MOVE":             s.move,
	}
	method := methods[r.Method]
	if method == nil {
		return &davError{status: http.StatusMethodNotAllowed, headers: map[string]string{"Allow": davMethods}}
	}
	target, err := s.store.find(login, r.URL.EscapedPath())
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostObjectBytes+1)
	return method(w, r, target)
}

const davMethods = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, REPORT, MKCALENDAR, MKCOL, MOVE"

func (s *DAVServer) options(w http.ResponseWriter, _ *http.Request, _ *davTarget) error {
	w.Header().Set("DAV", "1, 3, access-control, calendar-access, addressbook, extended-mkcol")
	w.Header().Set("Allow", davMethods)
	return nil
}

// identify reads the bearer token (RFC 6750 §2.1: from the header only) and
// answers whose it is.
func (s *DAVServer) identify(r *http.Request) (login string, err error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", unauthorized("")
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	answer, err := s.config.Introspect(ctx, token)
	if err != nil {
		s.config.Log.Warn("demo DAV token not checked", "error", err)
		return "", &davError{status: http.StatusServiceUnavailable, headers: map[string]string{"Retry-After": "2"}}
	}
	if err := answer.Grants(DAVAudience, DAVScope, s.config.Now()); err != nil {
		s.config.Log.Info("demo DAV token refused", "reason", err)
		return "", unauthorized(`, error="invalid_token"`)
	}
	return answer.Username, nil
}

func unauthorized(more string) error {
	return &davError{status: http.StatusUnauthorized, headers: map[string]string{"WWW-Authenticate": `Bearer realm="academie"` + more}}
}

// davError is an answer that is not a success: a status, and the name of the
// precondition that failed (RFC 4918 §16) where the standard has one.
type davError struct {
	status    int
	condition *node
	headers   map[string]string
}

func (e *davError) Error() string {
	if e.condition != nil {
		return fmt.Sprintf("%d %s", e.status, e.condition.name.Local)
	}
	return http.StatusText(e.status)
}

func (e *davError) write(w http.ResponseWriter) {
	for key, value := range e.headers {
		w.Header().Set(key, value)
	}
	if e.condition == nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(e.status)
		fmt.Fprintln(w, e.Error())
		return
	}
	writeXML(w, e.status, dav("error", e.condition))
}

func davStatus(status int) error { return &davError{status: status} }

func davRefuse(status int, condition *node) error {
	return &davError{status: status, condition: condition}
}
