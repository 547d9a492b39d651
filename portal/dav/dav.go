// Package dav speaks CalDAV (RFC 4791) and CardDAV (RFC 6352) to the academy's
// server, and reads and edits what lies there.
//
// It promises: nobody's change is overwritten (every PUT and DELETE is
// conditional); one bad object never hides the others; an object is edited in
// place, so that every line that was not changed keeps its bytes; sizes, depth
// and time are bounded, and no address outside the configured host is reached.
//
// client.go, discover.go, collection.go, object.go and report.go are the
// protocol; line.go and component.go the text format that iCalendar and vCard
// share; event.go, recur.go, edit.go and zone.go calendars; vcard.go contacts.
// portal/agenda and portal/contacts call it.
package dav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// What a server's answer means to a caller that branches on it.
var (
	ErrNotFound    = errors.New("not found")             // 404, 410
	ErrConflict    = errors.New("changed meanwhile")     // 412: somebody else was faster
	ErrForbidden   = errors.New("not allowed")           // 403, also 405 and 409 on a collection that takes no such object
	ErrSignIn      = errors.New("credentials refused")   // 401
	ErrUnavailable = errors.New("server unavailable")    // no answer, 5xx, an answer that cannot be read
	ErrTooLarge    = errors.New("object is too large")   // 413, 507, or above maxObject
	ErrNoETag      = errors.New("object has no version") // the server gives no ETag, so no safe change is possible
)

// Auth adds to a request whatever the server knows a person by.
type Auth interface {
	Authorize(ctx context.Context, r *http.Request) error
}

// Bearer is an access token (RFC 6750), asked for before each request.
type Bearer func(ctx context.Context) (string, error)

func (b Bearer) Authorize(ctx context.Context, r *http.Request) error {
	token, err := b(ctx)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// Refuser is an Auth that wants to hear of a 401: the request is then tried
// once more with what it gives next.
type Refuser interface {
	Refused(ctx context.Context, r *http.Request)
}

// TrustedHeader names the person to a server that believes it, such as
// Radicale over a private link.
type TrustedHeader struct {
	Name  string
	Login func(ctx context.Context) string
}

func (h TrustedHeader) Authorize(ctx context.Context, r *http.Request) error {
	login := h.Login(ctx)
	if login == "" {
		return fmt.Errorf("%w: nobody is named", ErrSignIn)
	}
	for _, c := range login {
		if c < 0x21 || c > 0x7e {
			return fmt.Errorf("%w: login %q cannot stand in a header", ErrSignIn, login)
		}
	}
	r.Header.Set(h.Name, login)
	return nil
}
