package dav

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Calendar is one stored iCalendar object: one event, with its repetitions
// and their exceptions. Changes are made in place (see edit.go).
type Calendar struct {
	root  *Component
	zones zones
}

// ParseCalendar reads an object. local is the zone of times that name none or
// an unknown one. The error is ErrUnreadable.
func ParseCalendar(text string, local *time.Location) (*Calendar, error) {
	root, err := parseComponent(text, "VCALENDAR")
	if err != nil {
		return nil, err
	}
	return &Calendar{root: root, zones: zones{root: root, local: local}}, nil
}

// String writes the object: every line that was not changed as it was stored.
func (c *Calendar) String() string { return c.root.String() }

// HasEvent tells events from tasks and journals.
func (c *Calendar) HasEvent() bool { return len(c.root.Components("VEVENT")) > 0 }

// Title is the event's title, for lists of what cannot be shown otherwise.
func (c *Calendar) Title() string {
	for _, e := range c.root.Components("VEVENT") {
		return e.Text("SUMMARY")
	}
	return ""
}

// master is the event itself; nil when the object holds exceptions only.
func (c *Calendar) master() *Component {
	for _, e := range c.root.Components("VEVENT") {
		if e.Line("RECURRENCE-ID") == nil {
			return e
		}
	}
	return nil
}

// overrides are the exceptions of the repetition.
func (c *Calendar) overrides() []*Component {
	var all []*Component
	for _, e := range c.root.Components("VEVENT") {
		if e.Line("RECURRENCE-ID") != nil {
			all = append(all, e)
		}
	}
	return all
}

// An Occurrence is one time that an event takes place.
type Occurrence struct {
	UID, Summary, Location, Description string
	Status                              string // "CONFIRMED", "TENTATIVE", "CANCELLED" or empty
	Organizer                           string // name or address, may be empty
	Attendees                           []string
	Start, End                          time.Time // in the reader's zone; End is exclusive
	AllDay                              bool      // Start and End are midnights
	Repeats                             bool
	Changed                             bool   // an exception of the repetition
	Key                                 string // names the occurrence in its object; empty when it does not repeat
}

// stamp is a DATE or DATE-TIME value as read.
type stamp struct {
	time   time.Time
	allDay bool
}

func (s stamp) key() string {
	if s.allDay {
		return s.time.Format("20060102")
	}
	return s.time.UTC().Format("20060102T150405Z")
}

// stampOf reads one value with the parameters of its line (RFC 5545 §3.3.4,
// §3.3.5). Years outside 1600–9000 are refused: nobody means them.
func (z *zones) stampOf(l *Line, value string) (stamp, error) {
	value = strings.ToUpper(strings.TrimSpace(value))
	var s stamp
	var err error
	switch {
	case len(value) == 8:
		s.allDay = true
		s.time, err = time.ParseInLocation("20060102", value, z.local)
	case strings.HasSuffix(value, "Z"):
		s.time, err = time.ParseInLocation("20060102T150405Z", value, time.UTC)
	case len(value) == 13: // without seconds: seen, and unambiguous
		s.time, err = time.ParseInLocation("20060102T1504", value, z.find(l.Param("TZID")))
	default:
		s.time, err = time.ParseInLocation("20060102T150405", value, z.find(l.Param("TZID")))
	}
	if err != nil || s.time.Year() < 1600 || s.time.Year() > 9000 {
		return stamp{}, fmt.Errorf("%w: %s is %.40q", ErrUnreadable, l.Name, value)
	}
	return s, nil
}

// times reads start and length of an event (RFC 5545 §3.6.1). Of all-day events
// days counts; of others length.
func (z *zones) times(e *Component) (start stamp, length time.Duration, days int, err error) {
	l := e.Line("DTSTART")
	if l == nil {
		return start, 0, 0, fmt.Errorf("%w: an event without a start", ErrUnreadable)
	}
	if start, err = z.stampOf(l, l.Value); err != nil {
		return start, 0, 0, err
	}
	if start.allDay {
		days = 1
	}
	if l := e.Line("DTEND"); l != nil {
		end, err := z.stampOf(l, l.Value)
		if err != nil {
			return start, 0, 0, err
		}
		if start.allDay {
			return start, 0, max(1, daysBetween(start.time, end.time)), nil
		}
		return start, max(0, end.time.Sub(start.time)), 0, nil
	}
	if l := e.Line("DURATION"); l != nil {
		length, ok := parseDuration(l.Value)
		if !ok {
			return start, 0, 0, fmt.Errorf("%w: DURATION is %.40q", ErrUnreadable, l.Value)
		}
		if start.allDay {
			return start, 0, max(1, int(length/(24*time.Hour))), nil
		}
		return start, length, 0, nil
	}
	return start, 0, days, nil
}

func daysBetween(a, b time.Time) int {
	day := func(t time.Time) int64 {
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400
	}
	return int(day(b) - day(a))
}

// parseDuration reads RFC 5545 §3.3.6 ("P1DT2H"); a negative one is refused.
func parseDuration(s string) (time.Duration, bool) {
	s = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), "+")
	s, ok := strings.CutPrefix(s, "P")
	if !ok || s == "" {
		return 0, false
	}
	var total time.Duration
	units := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
	for s != "" {
		if s[0] == 'T' {
			s = s[1:]
			continue
		}
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 || i > 6 {
			return 0, false
		}
		n, _ := strconv.Atoi(s[:i])
		unit, ok := units[s[i]]
		if !ok {
			return 0, false
		}
		total += time.Duration(n) * unit
		if total > 20*366*24*time.Hour {
			return 0, false
		}
		s = s[i+1:]
	}
	return total, true
}

// occurrence fills what is shown of an event that starts at start.
func (c *Calendar) occurrence(e *Component, start stamp, length time.Duration, days int) Occurrence {
	o := Occurrence{UID: e.Text("UID"), Summary: e.Text("SUMMARY"), Location: e.Text("LOCATION"), Description: e.Text("DESCRIPTION"),
		Status: strings.ToUpper(e.Text("STATUS")), AllDay: start.allDay, Organizer: whoIs(e.Line("ORGANIZER"))}
	for _, l := range e.Lines("ATTENDEE") {
		if len(o.Attendees) == 100 {
			break
		}
		o.Attendees = append(o.Attendees, whoIs(l))
	}
	if start.allDay {
		t := start.time
		o.Start = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, c.zones.local)
		o.End = o.Start.AddDate(0, 0, days)
	} else {
		o.Start = start.time.In(c.zones.local)
		o.End = o.Start.Add(length)
	}
	return o
}

func whoIs(l *Line) string {
	if l == nil {
		return ""
	}
	if name := l.Param("CN"); name != "" {
		return name
	}
	if len(l.Value) > 7 && strings.EqualFold(l.Value[:7], "mailto:") {
		return l.Value[7:]
	}
	return l.Value
}
