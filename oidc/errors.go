package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ory/fosite"

	"beffroi/directory"
	"beffroi/internal/web"
)

// Errors of the protocol that fosite has no name for.
var (
	errUnsupportedGrant = &fosite.RFC6749Error{ErrorField: "unsupported_grant_type", DescriptionField: "this grant type is not offered", CodeField: http.StatusBadRequest}
	errInvalidTarget    = &fosite.RFC6749Error{ErrorField: "invalid_target", DescriptionField: "the application may not ask for this audience", CodeField: http.StatusBadRequest} // RFC 8693 §2.2.2
	errUnavailable      = &fosite.RFC6749Error{ErrorField: "temporarily_unavailable", DescriptionField: "the directory does not answer, try again", CodeField: http.StatusServiceUnavailable}
)

// protocolError is what the application is told: code, sentence, status. The
// cause stays in the log.
func protocolError(err error) (code, description string, status int) {
	var tooLarge *http.MaxBytesError
	var e *fosite.RFC6749Error
	switch {
	case errors.As(err, &e):
	case errors.As(err, &tooLarge):
		e = &fosite.RFC6749Error{ErrorField: "invalid_request", DescriptionField: "the request is too large", CodeField: http.StatusRequestEntityTooLarge}
	case errors.Is(err, directory.ErrDown):
		e = errUnavailable
	default:
		e = &fosite.RFC6749Error{ErrorField: "server_error", DescriptionField: "something went wrong here, the request number tells the operator what", CodeField: http.StatusInternalServerError}
	}
	description = e.HintField
	if description == "" {
		description = e.DescriptionField
	}
	status = e.CodeField
	if e.ErrorField == fosite.ErrInvalidClient.ErrorField {
		status = http.StatusUnauthorized
	}
	return e.ErrorField, printable(description), status
}

// refused says no with a sentence.
func refused(e *fosite.RFC6749Error, format string, args ...any) *fosite.RFC6749Error {
	return e.WithHint(fmt.Sprintf(format, args...))
}

// printable keeps what RFC 6749 §5.2 allows in error_description.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\' || r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}

// writeError answers the error of an endpoint that applications call, and
// returns it for the log.
func (p *Provider) writeError(w http.ResponseWriter, err error) error {
	code, description, status := protocolError(err)
	if status == http.StatusUnauthorized {
		// RFC 6749 §5.2: the scheme that the client may use (T13).
		w.Header().Set("WWW-Authenticate", `Basic realm="`+p.cfg.Issuer+`", charset="UTF-8"`)
	}
	if writeErr := writeJSON(w, status, map[string]string{"error": code, "error_description": description}); writeErr != nil {
		return writeErr
	}
	return web.Fail(status, code, err)
}

// writeBearerError answers the error of a resource (RFC 6750 §3).
func (p *Provider) writeBearerError(w http.ResponseWriter, err error) error {
	code, description, status := protocolError(err)
	challenge := `Bearer realm="` + p.cfg.Issuer + `"`
	if code != "" {
		challenge += `, error="` + code + `", error_description="` + description + `"`
	}
	if weak := (errTooWeak{}); errors.As(err, &weak) {
		challenge += `, acr_values="` + weak.acr + `"`
	}
	if status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusBadRequest {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	body := map[string]string{"error": code, "error_description": description}
	if writeErr := writeJSON(w, status, body); writeErr != nil {
		return writeErr
	}
	return web.Fail(status, code, err)
}

// writeJSON writes an answer that nobody may keep.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(status)
	_, err = w.Write(b)
	return err
}
