// Package web is the one way a request reaches a handler. Two stacks only:
// Site.Browser (session, cross-origin check, language, security headers, error
// pages) and Site.API (no cookies, errors as JSON). A handler returns an error;
// here alone it becomes a status, a sentence for the visitor and a log line for
// the operator, and the two never mix.
package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"beffroi/internal/audit"
	"beffroi/internal/i18n"
)

// Handler is an http.Handler that says how it ended.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Error is a failure with the sentence that the visitor sees.
type Error struct {
	Status int
	Key    string // of the sentence, in internal/i18n
	Args   []any  // for the sentence: name, value pairs
	Err    error  // for the log only
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%d %s", e.Status, e.Key)
	}
	return fmt.Sprintf("%d %s: %v", e.Status, e.Key, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Fail makes an Error: key is the translated sentence shown, cause is logged only.
func Fail(status int, key string, cause error) error {
	return &Error{Status: status, Key: key, Err: cause}
}

// statusLeft is the log's word for a visitor who did not wait for the answer.
const statusLeft = 499

// asError gives any error a status and a sentence.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Error{Status: http.StatusRequestEntityTooLarge, Key: "web.error.too_large", Err: err}
	}
	if errors.Is(err, context.Canceled) {
		return &Error{Status: statusLeft, Key: "web.error.internal", Err: err} // the visitor left
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Status: http.StatusGatewayTimeout, Key: "web.error.timeout", Err: err}
	}
	return &Error{Status: http.StatusInternalServerError, Key: "web.error.internal", Err: err}
}

// Redirect answers 303 See Other.
func Redirect(w http.ResponseWriter, r *http.Request, url string) error {
	http.Redirect(w, r, url, http.StatusSeeOther)
	return nil
}

// Field returns a field of the submitted form, never of the address.
func Field(r *http.Request, name string) string {
	if err := r.ParseForm(); err != nil {
		return ""
	}
	return r.PostForm.Get(name)
}

type contextKey int

const (
	siteKey contextKey = iota
	langKey
	headKey
)

// Lang is the language of the request.
func Lang(ctx context.Context) i18n.Lang {
	if l, ok := ctx.Value(langKey).(i18n.Lang); ok {
		return l
	}
	return i18n.French
}

// WithLang changes the language for the rest of the request.
func WithLang(ctx context.Context, l i18n.Lang) context.Context {
	return context.WithValue(ctx, langKey, l)
}

// RequestID is the number that the visitor sees on an error page and the
// operator finds in the log.
func RequestID(ctx context.Context) string { return audit.OriginOf(ctx).RequestID }

// ClientIP is the visitor's address, seen through the trusted proxies.
func ClientIP(ctx context.Context) netip.Addr { return audit.OriginOf(ctx).IP }
