package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"beffroi/internal/web"
	"beffroi/portal/dav"
)

func (p *Portal) openDAV() error {
	c := p.Config.DAV
	options := dav.Options{CAFile: c.CAFile, Timeout: c.Timeout, Auth: davBearer{p, c.Audience}}
	if c.Auth == "header" {
		options.Auth = dav.TrustedHeader{Name: c.Header, Login: func(ctx context.Context) string { return Who(ctx).Login }}
	}
	for key, server := range map[string]**dav.Server{"caldav": &p.calendars, "carddav": &p.books} {
		address := c.CalDAV
		if key == "carddav" {
			address = c.CardDAV
		}
		if address == "" {
			continue
		}
		opened, err := dav.NewServer(address, options)
		if err != nil {
			return fmt.Errorf("portal.dav.%s: %w", key, err)
		}
		*server = opened
	}
	return nil
}

// davBearer knows a person by a token for the DAV audience; when the server has
// refused one, the next request takes another.
type davBearer struct {
	portal   *Portal
	audience string
}

func (b davBearer) Authorize(ctx context.Context, r *http.Request) error {
	token, _, err := b.portal.TokenFor(ctx, b.audience)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

func (b davBearer) Refused(ctx context.Context, r *http.Request) {
	b.portal.Refused(ctx, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
}

// Calendars is the CalDAV client of the person signed in.
func (p *Portal) Calendars(ctx context.Context) *dav.Client {
	return p.calendars.For(Who(ctx).Login)
}

// HasCalendars tells whether there is a calendar server.
func (p *Portal) HasCalendars() bool { return p.calendars != nil }

// AddressBooks is the CardDAV client of the person signed in.
func (p *Portal) AddressBooks(ctx context.Context) *dav.Client { return p.books.For(Who(ctx).Login) }

// DAVError makes a page of what the calendar or contact server answered.
func DAVError(err error) error {
	var already *web.Error
	switch {
	case err == nil, errors.As(err, &already), errors.Is(err, ErrSignedOut), errors.Is(err, ErrUnavailable), errors.Is(err, ErrRefused):
		return err // Signed knows these
	case errors.Is(err, dav.ErrNotFound):
		return web.Fail(http.StatusNotFound, "portal.dav.gone", err)
	case errors.Is(err, dav.ErrForbidden):
		return web.Fail(http.StatusForbidden, "portal.dav.forbidden", err)
	case errors.Is(err, dav.ErrSignIn):
		return web.Fail(http.StatusForbidden, "portal.refused", err)
	case errors.Is(err, dav.ErrTooLarge):
		return web.Fail(http.StatusRequestEntityTooLarge, "portal.dav.too_large", err)
	case errors.Is(err, dav.ErrUnreadable), errors.Is(err, dav.ErrNoETag):
		return web.Fail(http.StatusConflict, "portal.dav.unreadable", err)
	case errors.Is(err, dav.ErrUnavailable):
		return web.Fail(http.StatusServiceUnavailable, "portal.dav.unavailable", err)
	}
	return err
}
