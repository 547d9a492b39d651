package dav

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Invitation is what a message about an event says (iTIP, RFC 5546): somebody
// invites, changes, calls off, or answers.
type Invitation struct {
	Method    string // "REQUEST", "PUBLISH", "CANCEL", "REPLY", in capitals
	Organizer Attendee
	Attendees []Attendee
	One       bool // about one occurrence of a series
	Occurrence
	calendar *Calendar
	event    *Component
}

// Attendee is somebody who takes part.
type Attendee struct {
	Name, Mail string
	Status     string // PARTSTAT, in capitals: "ACCEPTED", "DECLINED", "TENTATIVE", "NEEDS-ACTION"
}

const mostAttendees = 200

// ParseInvitation reads the text/calendar part of a message (RFC 6047). method is the
// parameter of its type, which counts when the text says none. The error is
// ErrUnreadable, also for what is no event.
func ParseInvitation(text, method string, local *time.Location) (*Invitation, error) {
	c, err := ParseCalendar(text, local)
	if err != nil {
		return nil, err
	}
	events := c.root.Components("VEVENT")
	if len(events) == 0 {
		return nil, fmt.Errorf("%w: no event", ErrUnreadable)
	}
	e := c.master()
	if e == nil {
		e = events[0]
	}
	start, length, days, err := c.zones.times(e)
	if err != nil {
		return nil, err
	}
	i := &Invitation{Method: strings.ToUpper(c.root.Text("METHOD")), Occurrence: c.occurrence(e, start, length, days), One: e.Line("RECURRENCE-ID") != nil, calendar: c, event: e}
	if i.Method == "" {
		i.Method = strings.ToUpper(method)
	}
	i.Repeats = repeats(e)
	i.Organizer = attendee(e.Line("ORGANIZER"))
	for _, l := range e.Lines("ATTENDEE") {
		if len(i.Attendees) < mostAttendees {
			i.Attendees = append(i.Attendees, attendee(l))
		}
	}
	if i.UID == "" || len(i.UID) > 1000 {
		return nil, fmt.Errorf("%w: no UID", ErrUnreadable)
	}
	return i, nil
}

func attendee(l *Line) Attendee {
	if l == nil {
		return Attendee{}
	}
	return Attendee{Name: l.Param("CN"), Mail: mailOf(l), Status: strings.ToUpper(l.Param("PARTSTAT"))}
}

// mailOf is the address of a calendar user (RFC 5545 §3.3.3).
func mailOf(l *Line) string {
	value := strings.TrimSpace(l.Value)
	if len(value) > 7 && strings.EqualFold(value[:7], "mailto:") {
		return value[7:]
	}
	if mail := l.Param("EMAIL"); mail != "" { // RFC 7986 §6.2
		return mail
	}
	return ""
}

// StatusOf is what somebody has answered, "" when they are not invited.
func (i *Invitation) StatusOf(mail string) string {
	for _, a := range i.Attendees {
		if strings.EqualFold(a.Mail, mail) {
			if a.Status == "" {
				return "NEEDS-ACTION"
			}
			return a.Status
		}
	}
	return ""
}

// Reply is the object that tells the organizer an answer (RFC 5546 §3.2.3).
func (i *Invitation) Reply(mail, name, status string, now time.Time) string {
	root := newComponent("VCALENDAR", "\r\n")
	root.Add(&Line{Name: "VERSION", Value: "2.0"})
	root.Add(&Line{Name: "PRODID", Value: "-//Beffroi//Webmail//FR"})
	root.Add(&Line{Name: "METHOD", Value: "REPLY"})
	for _, tz := range i.calendar.root.Components("VTIMEZONE") {
		root.addComponent(tz)
	}
	e := newComponent("VEVENT", "\r\n")
	for _, name := range []string{"UID", "SEQUENCE", "RECURRENCE-ID", "DTSTART", "DTEND", "DURATION", "SUMMARY", "ORGANIZER"} {
		if l := i.event.Line(name); l != nil {
			e.Add(&Line{Name: l.Name, Params: l.Params, Value: l.Value})
		}
	}
	e.Add(&Line{Name: "DTSTAMP", Value: utc(now)})
	params := []Param{{"PARTSTAT", []string{status}}}
	if name != "" {
		params = append(params, Param{"CN", []string{strings.NewReplacer(`"`, "", "\r", "", "\n", "").Replace(name)}})
	}
	e.Add(&Line{Name: "ATTENDEE", Params: params, Value: "mailto:" + mail})
	root.addComponent(e)
	return root.String()
}

// objectOf finds the stored object of an event in a calendar (RFC 4791 §7.8.6).
func (c *Client) objectOf(ctx context.Context, calendar, uid string) (Object, error) {
	body := `<?xml version="1.0" encoding="utf-8"?>
<c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:getetag/><c:calendar-data/></d:prop>
<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:prop-filter name="UID"><c:text-match collation="i;octet">` + escapeXML(uid) + `</c:text-match></c:prop-filter></c:comp-filter></c:comp-filter></c:filter></c:calendar-query>`
	objects, _, err := c.report(ctx, calendar, body)
	if err != nil {
		return Object{}, fmt.Errorf("event in %s: %w", calendar, err)
	}
	for _, o := range objects { // a text matches parts of it too
		if stored, err := ParseCalendar(o.Data, time.UTC); o.Err == nil && err == nil && slices.ContainsFunc(stored.root.Components("VEVENT"), func(e *Component) bool { return e.Text("UID") == uid }) {
			return o, nil
		}
	}
	return Object{}, fmt.Errorf("%w: event %q", ErrNotFound, uid)
}

// Keep carries an invitation into the person's calendars with the answer of mail: a
// new event lies in the first one that takes events; one that is there is changed. An
// event that was called off, or is declined, is removed. ErrNotFound: nowhere to write.
func (c *Client) Keep(ctx context.Context, i *Invitation, mail, status string) error {
	calendars, err := c.Collections(ctx, Calendars)
	if err != nil {
		return err
	}
	var home *Collection
	for n := range calendars {
		one := &calendars[n]
		if !one.Events || one.ReadOnly {
			continue
		}
		if home == nil {
			home = one
		}
		stored, err := c.objectOf(ctx, one.Href, i.UID)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		return c.change(ctx, stored, i, mail, status)
	}
	if i.Method == "CANCEL" || status == "DECLINED" && !i.One {
		return nil // it is not there, and is not wanted
	}
	if home == nil {
		return fmt.Errorf("%w: no calendar that takes events", ErrNotFound)
	}
	sum := sha256.Sum256([]byte(i.UID))
	_, err = c.Create(ctx, home.Href+hex.EncodeToString(sum[:16])+".ics", calendarType, i.stored(mail, status).String())
	return err
}

const calendarType = "text/calendar; charset=utf-8"

func (c *Client) change(ctx context.Context, stored Object, i *Invitation, mail, status string) error {
	if err := i.mayChange(stored.Data); err != nil {
		return err
	}
	gone := i.Method == "CANCEL" || status == "DECLINED"
	if gone && !i.One {
		err := c.Delete(ctx, stored.Href, stored.ETag)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	next := i.stored(mail, status)
	if i.One { // the rest of the series stays as it is
		whole, err := ParseCalendar(stored.Data, i.calendar.zones.local)
		if err != nil {
			return err
		}
		for _, e := range next.root.Components("VEVENT") {
			at := e.Text("RECURRENCE-ID")
			for _, old := range whole.overrides() {
				if old.Text("RECURRENCE-ID") == at {
					whole.root.removeComponent(old)
				}
			}
			if i.Method == "CANCEL" {
				e.Set("STATUS", nil, "CANCELLED")
			}
			whole.root.addComponent(e)
		}
		next = whole
	}
	_, err := c.Update(ctx, stored.Href, calendarType, next.String(), stored.ETag)
	return err
}

// mayChange refuses what somebody else sends about an event, and what is older than
// what is known (RFC 5546 §2.1.5, RFC 6047 §3).
func (i *Invitation) mayChange(data string) error {
	known, err := ParseCalendar(data, i.calendar.zones.local)
	if err != nil {
		return err
	}
	for _, e := range known.root.Components("VEVENT") {
		if owner := attendee(e.Line("ORGANIZER")).Mail; owner != "" && !strings.EqualFold(owner, i.Organizer.Mail) {
			return fmt.Errorf("%w: the event is organised by somebody else", ErrForbidden)
		}
		if (e.Line("RECURRENCE-ID") != nil) == i.One && e.Text("RECURRENCE-ID") == i.event.Text("RECURRENCE-ID") && number(e.Text("SEQUENCE")) > number(i.event.Text("SEQUENCE")) {
			return fmt.Errorf("%w: a later change is known", ErrConflict)
		}
	}
	return nil
}

func number(text string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(text)) // nonsense is the first
	return n
}

// stored is the invitation as a calendar keeps it (RFC 4791 §4.1: no METHOD).
func (i *Invitation) stored(mail, status string) *Calendar {
	root := clone(i.calendar.root)
	root.Remove("METHOD")
	for _, e := range root.Components("VEVENT") {
		for _, alarm := range e.Components("VALARM") { // whoever invites does not ring here
			e.removeComponent(alarm)
		}
	}
	for _, e := range root.Components("VEVENT") {
		for _, l := range e.Lines("ATTENDEE") {
			if strings.EqualFold(mailOf(l), mail) {
				e.change(l, append(without(without(l.Params, "PARTSTAT"), "RSVP"), Param{"PARTSTAT", []string{status}}), l.Value)
			}
		}
	}
	return &Calendar{root: root, zones: zones{root: root, local: i.calendar.zones.local}}
}
