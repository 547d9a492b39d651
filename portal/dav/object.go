package dav

import (
	"context"
	"fmt"
	"strings"
)

// An Object is one stored file: an event or a card.
type Object struct {
	Href string
	ETag string // as the server wrote it; empty when it gives none
	Data string
	Err  error // this object could not be had; the others of its list could
}

// Get reads one object.
func (c *Client) Get(ctx context.Context, href string) (Object, error) {
	a, err := c.do(ctx, "GET", href, nil, "")
	if err != nil {
		return Object{}, err
	}
	if len(a.body) > maxObject {
		return Object{}, fmt.Errorf("%w: GET %s", ErrTooLarge, href)
	}
	return Object{Href: href, ETag: a.header.Get("ETag"), Data: string(a.body)}, nil
}

// Create stores a new object; ErrConflict when the address is taken.
func (c *Client) Create(ctx context.Context, href, contentType, data string) (etag string, err error) {
	return c.put(ctx, href, contentType, data, map[string]string{"If-None-Match": "*"})
}

// Update replaces the version etag of an object; ErrConflict when it is not the
// stored one any more, ErrNoETag without one: a blind write is never made.
func (c *Client) Update(ctx context.Context, href, contentType, data, etag string) (newETag string, err error) {
	if etag == "" {
		return "", fmt.Errorf("%w: %s", ErrNoETag, href)
	}
	return c.put(ctx, href, contentType, data, map[string]string{"If-Match": etag})
}

func (c *Client) put(ctx context.Context, href, contentType, data string, header map[string]string) (string, error) {
	if len(data) > maxObject {
		return "", fmt.Errorf("%w: PUT %s", ErrTooLarge, href)
	}
	header["Content-Type"] = contentType
	a, err := c.do(ctx, "PUT", href, header, data)
	if err != nil {
		return "", err
	}
	return a.header.Get("ETag"), nil
}

// Delete removes the version etag of an object. ErrConflict as for Update; an
// object that is gone already is ErrNotFound.
func (c *Client) Delete(ctx context.Context, href, etag string) error {
	if etag == "" {
		return fmt.Errorf("%w: %s", ErrNoETag, href)
	}
	_, err := c.do(ctx, "DELETE", href, map[string]string{"If-Match": etag}, "")
	return err
}

// SameETag compares two versions; a weak one equals itself (RFC 9110 §8.8.3.2,
// the weak comparison: some servers answer PUT weak and GET strong).
func SameETag(a, b string) bool {
	return a != "" && strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}
