package dav

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// A Collection is one calendar or address book.
type Collection struct {
	Href      string // path on the server, ends with a slash
	Name      string // for people
	Color     string // "#rrggbb" or empty
	ReadOnly  bool
	Events    bool   // a calendar that takes events (some take tasks only)
	Order     int    // the person's own order, 0 when none
	CTag      string // changes with every change inside; may be empty
	SyncToken string // RFC 6578; may be empty
}

const collectionQuery = `<?xml version="1.0" encoding="utf-8"?>
<d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:a="http://apple.com/ns/ical/" xmlns:cs="http://calendarserver.org/ns/" xmlns:i="http://inf-it.com/ns/ab/">
<d:prop><d:resourcetype/><d:displayname/><d:current-user-privilege-set/><d:sync-token/><cs:getctag/><a:calendar-color/><a:calendar-order/><i:addressbook-color/><c:supported-calendar-component-set/></d:prop></d:propfind>`

// Collections lists the person's calendars or address books, in their order.
func (c *Client) Collections(ctx context.Context, kind Kind) ([]Collection, error) {
	home, err := c.Home(ctx, kind)
	if err != nil {
		return nil, err
	}
	entries, err := c.propfind(ctx, home, "1", collectionQuery)
	if errors.Is(err, ErrNotFound) {
		c.forgetHome(kind)
	}
	if err != nil {
		return nil, fmt.Errorf("list %s collections of %s: %w", kind, c.login, err)
	}
	var all []Collection
	for _, e := range entries {
		types := e.prop.child(nsDAV, "resourcetype")
		if kind == Calendars && types.child(nsCalDAV, "calendar") == nil || kind == AddressBooks && types.child(nsCard, "addressbook") == nil {
			continue
		}
		all = append(all, collectionOf(e))
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].Order != all[j].Order {
			return all[i].Order < all[j].Order
		}
		return strings.ToLower(all[i].Name) < strings.ToLower(all[j].Name)
	})
	return all, nil
}

func collectionOf(e response) Collection {
	col := Collection{Href: e.href, Name: e.prop.child(nsDAV, "displayname").value(), SyncToken: e.prop.child(nsDAV, "sync-token").value(),
		CTag: e.prop.child(nsCS, "getctag").value(), Events: true}
	if !strings.HasSuffix(col.Href, "/") {
		col.Href += "/"
	}
	if col.Name == "" {
		pieces := strings.Split(strings.Trim(col.Href, "/"), "/")
		col.Name = pieces[len(pieces)-1]
	}
	col.Color = color(e.prop.child(nsApple, "calendar-color").value() + e.prop.child(nsInf, "addressbook-color").value())
	col.Order, _ = strconv.Atoi(e.prop.child(nsApple, "calendar-order").value())
	if set := e.prop.child(nsCalDAV, "supported-calendar-component-set"); set != nil {
		col.Events = false
		for _, comp := range set.all(nsCalDAV, "comp") {
			col.Events = col.Events || strings.EqualFold(comp.attr("name"), "VEVENT")
		}
	}
	if privileges := e.prop.child(nsDAV, "current-user-privilege-set"); privileges != nil {
		col.ReadOnly = true // until a right to write is found (RFC 3744 §5.5)
		for _, p := range privileges.all(nsDAV, "privilege") {
			for _, name := range []string{"all", "write", "write-content", "bind"} {
				if p.child(nsDAV, name) != nil {
					col.ReadOnly = false
				}
			}
		}
	}
	return col
}

var colorForm = regexp.MustCompile(`^#[0-9a-fA-F]{6}`)

// color reads "#rrggbb", also with the opacity that Apple adds.
func color(s string) string { return strings.ToLower(colorForm.FindString(strings.TrimSpace(s))) }

// CreateCalendar makes a calendar for events (RFC 4791 §5.3.1) named name in
// the person's home; segment is the last part of its address.
func (c *Client) CreateCalendar(ctx context.Context, segment, name, colour string) error {
	body := `<?xml version="1.0" encoding="utf-8"?>
<c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:a="http://apple.com/ns/ical/"><d:set><d:prop>
<d:displayname>` + escapeXML(name) + `</d:displayname><a:calendar-color>` + escapeXML(colour) + `</a:calendar-color>
<c:supported-calendar-component-set><c:comp name="VEVENT"/></c:supported-calendar-component-set></d:prop></d:set></c:mkcalendar>`
	return c.create(ctx, Calendars, "MKCALENDAR", segment, body)
}

// CreateAddressBook makes an address book (RFC 6352 §6.3.1.1, RFC 5689).
func (c *Client) CreateAddressBook(ctx context.Context, segment, name string) error {
	body := `<?xml version="1.0" encoding="utf-8"?>
<d:mkcol xmlns:d="DAV:" xmlns:a="urn:ietf:params:xml:ns:carddav"><d:set><d:prop>
<d:resourcetype><d:collection/><a:addressbook/></d:resourcetype><d:displayname>` + escapeXML(name) + `</d:displayname></d:prop></d:set></d:mkcol>`
	return c.create(ctx, AddressBooks, "MKCOL", segment, body)
}

// create makes a collection. One that exists already is no error: two tabs may
// be somebody's first visit at once.
func (c *Client) create(ctx context.Context, kind Kind, method, segment, body string) error {
	home, err := c.Home(ctx, kind)
	if err != nil {
		return err
	}
	href := strings.TrimSuffix(home, "/") + "/" + segment + "/"
	a, err := c.do(ctx, method, href, map[string]string{"Content-Type": "application/xml; charset=utf-8"}, body)
	if err != nil && a != nil && (a.status == 405 || a.status == 409 || a.status == 403) {
		if entries, err2 := c.propfind(ctx, href, "0", collectionQuery); err2 == nil && len(entries) > 0 {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", href, err)
	}
	return nil
}
