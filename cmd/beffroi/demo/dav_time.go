package demo

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // calendars name zones; not every machine knows them

	"github.com/teambition/rrule-go"
)

// parisZone is where floating times and whole days of the academy lie.
var parisZone = sync.OnceValue(func() *time.Location {
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		return time.UTC
	}
	return zone
})

var errNoTime = errors.New("no date or time")

// moment is a DATE or DATE-TIME.
type moment struct {
	time.Time
	day bool // a whole day; the time is its midnight
}

// parseMoment reads a value of DTSTART and its like. A zone whose name nobody
// knows counts as floating: a query of the demo may be an hour off, never fail.
func parseMoment(value, tzid string, floating *time.Location) (moment, error) {
	if before, _, isPeriod := strings.Cut(value, "/"); isPeriod {
		value = before
	}
	value = strings.TrimSpace(value)
	switch len(value) {
	case 8:
		t, err := time.ParseInLocation("20060102", value, floating)
		return moment{t, true}, err
	case 15:
		zone := floating
		if tzid != "" {
			if named, err := time.LoadLocation(tzid); err == nil {
				zone = named
			}
		}
		t, err := time.ParseInLocation("20060102T150405", value, zone)
		return moment{Time: t}, err
	case 16:
		t, err := time.Parse("20060102T150405Z", value)
		return moment{Time: t}, err
	}
	return moment{}, errNoTime
}

func (p contentLine) moment(floating *time.Location) (moment, error) {
	return parseMoment(p.value, p.param("TZID"), floating)
}

// moments reads a list, as EXDATE and RDATE have; what is unreadable is left out.
func (p contentLine) moments(floating *time.Location) []moment {
	var list []moment
	for value := range strings.SplitSeq(p.value, ",") {
		if m, err := parseMoment(value, p.param("TZID"), floating); err == nil {
			list = append(list, m)
		}
	}
	return list
}

var durationForm = regexp.MustCompile(`^([+-]?)P(?:(\d{1,5})W)?(?:(\d{1,5})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,5})M)?(?:(\d{1,7})S)?)?$`)

// parseDuration reads RFC 5545 §3.3.6.
func parseDuration(s string) (time.Duration, error) {
	m := durationForm.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, errNoTime
	}
	var d time.Duration
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if n, err := strconv.Atoi(m[i+2]); err == nil {
			d += time.Duration(n) * unit
		}
	}
	if m[1] == "-" {
		d = -d
	}
	return d, nil
}

// timeRange is half open; a zero end is open.
type timeRange struct{ start, end time.Time }

func (r timeRange) until() time.Time {
	if r.end.IsZero() {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return r.end
}

// meets tells whether something from start to end lies in the range
// (RFC 4791 §9.9); a moment without length lies in it when it starts there.
func (r timeRange) meets(start, end time.Time) bool {
	if !end.After(start) {
		return !start.Before(r.start) && start.Before(r.until())
	}
	return start.Before(r.until()) && end.After(r.start)
}

// length of an event: DTEND, DURATION, a day for a DATE, else nothing.
func (c *component) length(start moment, floating *time.Location) time.Duration {
	if p, ok := c.get("DTEND"); ok {
		if end, err := p.moment(floating); err == nil {
			return end.Sub(start.Time)
		}
	}
	if p, ok := c.get("DURATION"); ok {
		if d, err := parseDuration(p.value); err == nil {
			return d
		}
	}
	if start.day {
		return start.AddDate(0, 0, 1).Sub(start.Time)
	}
	return 0
}

// mostOccurrences bounds the work on one rule; a rule beyond it counts as meeting.
const mostOccurrences = 20_000

// eventMeets tells whether an event, or any of its repetitions, lies in the
// range. overridden are the RECURRENCE-IDs that other components replace.
func (c *component) eventMeets(r timeRange, overridden []moment, floating *time.Location) bool {
	p, ok := c.get("DTSTART")
	if !ok {
		return false
	}
	start, err := p.moment(floating)
	if err != nil {
		return true // better shown than hidden
	}
	length := c.length(start, floating)
	if _, isOverride := c.get("RECURRENCE-ID"); isOverride {
		return r.meets(start.Time, start.Add(length))
	}
	gone := make(map[int64]bool)
	for _, m := range overridden {
		gone[m.Unix()] = true
	}
	for _, ex := range c.all("EXDATE") {
		for _, m := range ex.moments(floating) {
			gone[m.Unix()] = true
		}
	}
	meets := func(t time.Time) bool { return !gone[t.Unix()] && r.meets(t, t.Add(length)) }
	if meets(start.Time) {
		return true
	}
	for _, rd := range c.all("RDATE") {
		for _, m := range rd.moments(floating) {
			if meets(m.Time) {
				return true
			}
		}
	}
	for _, rule := range c.all("RRULE") {
		if ruleMeets(rule.value, start, r, meets) {
			return true
		}
	}
	return false
}

func ruleMeets(rule string, start moment, r timeRange, meets func(time.Time) bool) bool {
	option, err := rrule.StrToROptionInLocation(rule, start.Location())
	if err != nil || option.Freq > rrule.DAILY {
		// Rules by the hour and finer can keep the library busy for minutes.
		return start.Before(r.until())
	}
	option.Dtstart = start.Time
	if start.day && !option.Until.IsZero() {
		option.Until = option.Until.Add(24*time.Hour - time.Second) // UNTIL names the last day
	}
	parsed, err := rrule.NewRRule(*option)
	if err != nil {
		return start.Before(r.until())
	}
	next := parsed.Iterator()
	for range mostOccurrences {
		t, more := next()
		if !more || !t.Before(r.until()) {
			return false
		}
		if meets(t) {
			return true
		}
	}
	return true
}

// todoMeets is the table of RFC 4791 §9.9 for VTODO.
func (c *component) todoMeets(r timeRange, floating *time.Location) bool {
	at := func(name string) (time.Time, bool) {
		p, ok := c.get(name)
		if !ok {
			return time.Time{}, false
		}
		m, err := p.moment(floating)
		return m.Time, err == nil
	}
	until := r.until()
	upTo := func(t time.Time) bool { return !until.Before(t) }   // end >= t
	from := func(t time.Time) bool { return !t.Before(r.start) } // start <= t
	start, hasStart := at("DTSTART")
	due, hasDue := at("DUE")
	if p, ok := c.get("DURATION"); ok && hasStart && !hasDue {
		if d, err := parseDuration(p.value); err == nil {
			end := start.Add(d)
			return from(end) && (until.After(start) || upTo(end))
		}
	}
	completed, hasCompleted := at("COMPLETED")
	created, hasCreated := at("CREATED")
	switch {
	case hasStart && hasDue:
		return (r.start.Before(due) || from(start)) && (until.After(start) || upTo(due))
	case hasStart:
		return from(start) && until.After(start)
	case hasDue:
		return r.start.Before(due) && upTo(due)
	case hasCompleted && hasCreated:
		return (from(created) || from(completed)) && (upTo(created) || upTo(completed))
	case hasCompleted:
		return from(completed) && upTo(completed)
	case hasCreated:
		return until.After(created)
	}
	return true
}
