package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Server is a listening http.Server with the deadlines that keep slow or
// silent visitors from holding connections.
type Server struct {
	http *http.Server
	ln   net.Listener
}

// Listen opens addr and serves h until Shutdown. The address is taken before
// it returns, so that a port in use is an error at start.
func Listen(addr string, h http.Handler, log *slog.Logger) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{ln: ln, http: &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		if err := s.http.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("server stopped", "address", addr, "error", err)
		}
	}()
	return s, nil
}

// Addr is the address listened on, with the port that was chosen.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Shutdown lets running requests end until ctx does.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// OnlyHost answers under the host name of base, and to no other with anything.
func OnlyHost(base *url.URL, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != base.Host {
			w.WriteHeader(http.StatusMisdirectedRequest) // RFC 9110 §15.5.20
			return
		}
		next.ServeHTTP(w, r)
	})
}

// OnHost sends a request that names another host to the same path of base:
// links that are built, cookies and passkeys belong to one name only. Paths
// that begin like one of machines are answered under any name, since servers
// in the same room (a mail server that introspects) may know another one, and
// no cookie is read there.
func OnHost(base *url.URL, next http.Handler, machines ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == base.Host {
			next.ServeHTTP(w, r)
			return
		}
		for _, prefix := range machines {
			if strings.HasPrefix(r.URL.Path, prefix) {
				next.ServeHTTP(w, r)
				return
			}
		}
		target := *base
		target.Path, target.RawPath, target.RawQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery
		http.Redirect(w, r, target.String(), http.StatusTemporaryRedirect)
	})
}
