package dav

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Between lists the events of a calendar that touch [from, to) (RFC 4791
// §7.8). A repeated event comes whole: the server does not expand it.
func (c *Client) Between(ctx context.Context, calendar string, from, to time.Time) ([]Object, error) {
	const form = "20060102T150405Z"
	body := `<?xml version="1.0" encoding="utf-8"?>
<c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:getetag/><c:calendar-data/></d:prop>
<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:time-range start="` +
		from.UTC().Format(form) + `" end="` + to.UTC().Format(form) + `"/></c:comp-filter></c:comp-filter></c:filter></c:calendar-query>`
	objects, _, err := c.report(ctx, calendar, body)
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", calendar, err)
	}
	return objects, nil
}

// Cards lists a whole address book (RFC 6352 §8.6); servers that know no query
// are asked for the list of objects, then for the objects.
func (c *Client) Cards(ctx context.Context, book string) ([]Object, error) {
	const body = `<?xml version="1.0" encoding="utf-8"?>
<a:addressbook-query xmlns:d="DAV:" xmlns:a="urn:ietf:params:xml:ns:carddav"><d:prop><d:getetag/><a:address-data/></d:prop><a:filter/></a:addressbook-query>`
	objects, _, err := c.report(ctx, book, body)
	if err == nil {
		return objects, nil
	}
	if errors.Is(err, ErrSignIn) || errors.Is(err, ErrNotFound) || ctx.Err() != nil {
		return nil, fmt.Errorf("cards of %s: %w", book, err)
	}
	hrefs, err := c.list(ctx, book)
	if err != nil {
		return nil, fmt.Errorf("cards of %s: %w", book, err)
	}
	return c.Multiget(ctx, AddressBooks, book, hrefs)
}

// list names the objects of a collection.
func (c *Client) list(ctx context.Context, collection string) ([]string, error) {
	entries, err := c.propfind(ctx, collection, "1", `<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>`)
	if err != nil {
		return nil, err
	}
	var hrefs []string
	for _, e := range entries {
		if !strings.HasSuffix(e.href, "/") {
			hrefs = append(hrefs, e.href)
		}
	}
	return hrefs, nil
}

// Multiget reads the named objects, a hundred at a time.
func (c *Client) Multiget(ctx context.Context, kind Kind, collection string, hrefs []string) ([]Object, error) {
	name, space, data := "calendar-multiget", nsCalDAV, "calendar-data"
	if kind == AddressBooks {
		name, space, data = "addressbook-multiget", nsCard, "address-data"
	}
	var all []Object
	for len(hrefs) > 0 {
		n := min(100, len(hrefs))
		var b strings.Builder
		fmt.Fprintf(&b, `<?xml version="1.0" encoding="utf-8"?><x:%s xmlns:d="DAV:" xmlns:x="%s"><d:prop><d:getetag/><x:%s/></d:prop>`, name, space, data)
		for _, href := range hrefs[:n] {
			b.WriteString("<d:href>" + escapeXML(href) + "</d:href>")
		}
		fmt.Fprintf(&b, "</x:%s>", name)
		objects, _, err := c.report(ctx, collection, b.String())
		if err != nil {
			return all, fmt.Errorf("read %d objects of %s: %w", n, collection, err)
		}
		all = append(all, objects...)
		hrefs = hrefs[n:]
	}
	return all, nil
}

// Changes is what happened in a collection since a sync token.
type Changes struct {
	Token   string // for the next time
	Changed []Object
	Deleted []string
	Partial bool // the server cut the list; ask again with Token
}

// ErrToken: the server does not know the token any more; begin with an empty one.
var ErrToken = errors.New("sync token is too old")

// Sync lists what changed since token; the empty one lists everything
// (RFC 6578). Objects come without Data: Multiget reads them.
func (c *Client) Sync(ctx context.Context, collection, token string) (Changes, error) {
	body := `<?xml version="1.0" encoding="utf-8"?><d:sync-collection xmlns:d="DAV:"><d:sync-token>` + escapeXML(token) +
		`</d:sync-token><d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop></d:sync-collection>`
	a, err := c.do(ctx, "REPORT", collection, map[string]string{"Depth": "0", "Content-Type": "application/xml; charset=utf-8"}, body)
	if err != nil {
		if a != nil && token != "" && (strings.Contains(string(a.body), "valid-sync-token") || a.status == 412) {
			return Changes{}, fmt.Errorf("%w: %s", ErrToken, collection)
		}
		return Changes{}, fmt.Errorf("changes of %s: %w", collection, err)
	}
	entries, next, err := c.multistatus(collection, a.body)
	if err != nil {
		return Changes{}, fmt.Errorf("changes of %s: %w", collection, err)
	}
	changes := Changes{Token: next}
	for _, e := range entries {
		switch {
		case e.status == 404:
			changes.Deleted = append(changes.Deleted, e.href)
		case e.status == 507:
			changes.Partial = true
		case !strings.HasSuffix(e.href, "/"):
			changes.Changed = append(changes.Changed, Object{Href: e.href, ETag: e.prop.child(nsDAV, "getetag").value()})
		}
	}
	return changes, nil
}

func (c *Client) report(ctx context.Context, href, body string) ([]Object, string, error) {
	a, err := c.do(ctx, "REPORT", href, map[string]string{"Depth": "1", "Content-Type": "application/xml; charset=utf-8"}, body)
	if err != nil {
		return nil, "", err
	}
	entries, token, err := c.multistatus(href, a.body)
	if err != nil {
		return nil, "", err
	}
	var objects []Object
	for _, e := range entries {
		if strings.HasSuffix(e.href, "/") {
			continue
		}
		o := Object{Href: e.href, ETag: e.prop.child(nsDAV, "getetag").value()}
		for _, kind := range [][2]string{{nsCalDAV, "calendar-data"}, {nsCard, "address-data"}} {
			if n := e.prop.child(kind[0], kind[1]); n != nil {
				o.Data = n.text.String()
			}
		}
		switch {
		case e.status == 404:
			o.Err = ErrNotFound
		case e.status != 200 || o.Data == "":
			o.Err = fmt.Errorf("%w: %s: no data (status %d)", ErrUnavailable, e.href, e.status)
		case len(o.Data) > maxObject:
			o.Data, o.Err = "", fmt.Errorf("%w: %s", ErrTooLarge, e.href)
		}
		objects = append(objects, o)
	}
	return objects, token, nil
}
