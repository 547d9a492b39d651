package dav

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind is what a collection holds.
type Kind string

const (
	Calendars    Kind = "caldav"
	AddressBooks Kind = "carddav"
)

func (k Kind) homeSet() (space, local string) {
	if k == Calendars {
		return nsCalDAV, "calendar-home-set"
	}
	return nsCard, "addressbook-home-set"
}

// homeLife is how long a home collection is remembered.
const homeLife = time.Hour

const principalQuery = `<?xml version="1.0" encoding="utf-8"?>
<d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:a="urn:ietf:params:xml:ns:carddav">
<d:prop><d:current-user-principal/><c:calendar-home-set/><a:addressbook-home-set/></d:prop></d:propfind>`

// Home finds the collection of the person's collections (RFC 6764 §6): from the
// configured address, or from /.well-known/ when that says nothing.
func (c *Client) Home(ctx context.Context, kind Kind) (string, error) {
	key := string(kind) + " " + c.login
	c.server.mu.Lock()
	known, ok := c.server.homes[key]
	c.server.mu.Unlock()
	if ok && time.Since(known.at) < homeLife {
		return known.href, nil
	}
	start := c.base.EscapedPath()
	home, err := c.homeFrom(ctx, start, kind)
	if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrSignIn) || err == nil && home == "" {
		home, err = c.homeFrom(ctx, "/.well-known/"+string(kind), kind)
	}
	if err != nil {
		return "", fmt.Errorf("find %s home of %s: %w", kind, c.login, err)
	}
	if home == "" {
		return "", fmt.Errorf("find %s home of %s: %w", kind, c.login, ErrNotFound)
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if len(c.server.homes) > 50_000 {
		clear(c.server.homes)
	}
	c.server.homes[key] = rememberedHome{home, time.Now()}
	return home, nil
}

func (c *Client) forgetHome(kind Kind) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	delete(c.server.homes, string(kind)+" "+c.login)
}

// homeFrom asks at most twice: the address, then the principal it names.
func (c *Client) homeFrom(ctx context.Context, href string, kind Kind) (string, error) {
	space, local := kind.homeSet()
	for range 2 {
		entries, err := c.propfind(ctx, href, "0", principalQuery)
		if err != nil {
			return "", err
		}
		if len(entries) == 0 {
			return "", nil
		}
		prop := entries[0].prop
		if home := prop.child(space, local).child(nsDAV, "href").value(); home != "" {
			return c.resolve(href, home)
		}
		principal := prop.child(nsDAV, "current-user-principal").child(nsDAV, "href").value()
		if principal == "" {
			return "", nil
		}
		if href, err = c.resolve(href, principal); err != nil {
			return "", err
		}
	}
	return "", nil
}

func (c *Client) propfind(ctx context.Context, href, depth, body string) ([]response, error) {
	a, err := c.do(ctx, "PROPFIND", href, map[string]string{"Depth": depth, "Content-Type": "application/xml; charset=utf-8"}, body)
	if err != nil {
		return nil, err
	}
	entries, _, err := c.multistatus(href, a.body)
	return entries, err
}
