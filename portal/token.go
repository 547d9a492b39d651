package portal

import (
	"context"
	"time"
)

// TokenFor gives an access token of the signed-in person for one audience
// ("imap", "dav"), by token exchange (RFC 8693) at the provider. It is kept,
// sealed with the session, until it expires; callers ask again before each use
// and keep nothing. ctx comes from a request behind Signed (it may be detached
// from the request's end by context.WithoutCancel).
// Errors: ErrSignedOut, ErrUnavailable, ErrRefused.
func (p *Portal) TokenFor(ctx context.Context, audience string) (token string, expires time.Time, err error) {
	return "", time.Time{}, ErrUnavailable
}
