package dav

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrSeries: this change of a whole series cannot be made without losing its
// exceptions; changing one occurrence can.
var ErrSeries = errors.New("change does not fit the whole series")

// Fields are what a person edits of an event.
type Fields struct {
	Summary, Location, Description string
	Start, End                     time.Time // End is exclusive, also of all-day events
	AllDay                         bool
	Repeat                         string // new events only: "", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"
	Until                          time.Time
}

// NewCalendar makes an object with one event. now stamps it.
func NewCalendar(uid string, f Fields, local *time.Location, now time.Time) *Calendar {
	const eol = "\r\n"
	root := newComponent("VCALENDAR", eol)
	root.Add(&Line{Name: "VERSION", Value: "2.0"})
	root.Add(&Line{Name: "PRODID", Value: "-//Beffroi//Agenda//FR"})
	c := &Calendar{root: root, zones: zones{root: root, local: local}}
	if !f.AllDay && local != time.UTC {
		root.addComponent(vtimezone(local, f.Start.Year(), eol))
	}
	e := newComponent("VEVENT", eol)
	e.Add(&Line{Name: "UID", Value: uid})
	e.Add(&Line{Name: "DTSTAMP", Value: utc(now)})
	e.Add(&Line{Name: "CREATED", Value: utc(now)})
	c.setTimes(e, f)
	c.setTexts(e, f)
	if f.Repeat != "" {
		rule := "FREQ=" + f.Repeat
		if !f.Until.IsZero() && f.AllDay {
			rule += ";UNTIL=" + f.Until.Format("20060102")
		} else if !f.Until.IsZero() {
			u := f.Until.In(local)
			rule += ";UNTIL=" + utc(time.Date(u.Year(), u.Month(), u.Day(), 23, 59, 59, 0, local))
		}
		e.Add(&Line{Name: "RRULE", Value: rule})
	}
	root.addComponent(e)
	return c
}

func utc(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

func (c *Calendar) setTexts(e *Component, f Fields) {
	e.SetText("SUMMARY", f.Summary)
	e.SetText("LOCATION", f.Location)
	e.SetText("DESCRIPTION", f.Description)
}

// setTimes writes DTSTART and DTEND in the zone the event already has, or in
// the reader's.
func (c *Calendar) setTimes(e *Component, f Fields) {
	old := e.Line("DTSTART")
	e.Remove("DURATION")
	if f.AllDay {
		date := []Param{{"VALUE", []string{"DATE"}}}
		e.Set("DTSTART", date, f.Start.Format("20060102"))
		e.Set("DTEND", date, f.End.Format("20060102"))
		return
	}
	start, end := f.Start, f.End
	switch {
	case old != nil && strings.HasSuffix(old.Value, "Z"), c.zones.local == time.UTC && (old == nil || old.Param("TZID") == ""):
		e.Set("DTSTART", nil, utc(start))
		e.Set("DTEND", nil, utc(end))
		return
	case old != nil && old.Param("TZID") != "":
		c.writeWall(e, old.Param("TZID"), start, end)
	default: // new, all-day before, or floating
		c.needZone(start.Year())
		c.writeWall(e, c.zones.local.String(), start, end)
	}
}

func (c *Calendar) writeWall(e *Component, tzid string, start, end time.Time) {
	zone := c.zones.find(tzid)
	params := []Param{{"TZID", []string{tzid}}}
	e.Set("DTSTART", params, start.In(zone).Format("20060102T150405"))
	e.Set("DTEND", params, end.In(zone).Format("20060102T150405"))
}

// needZone adds the VTIMEZONE of the reader's zone when it is missing.
func (c *Calendar) needZone(year int) {
	for _, tz := range c.root.Components("VTIMEZONE") {
		if tz.Text("TZID") == c.zones.local.String() {
			return
		}
	}
	zone := vtimezone(c.zones.local, year, c.root.eol)
	c.root.items = append([]item{}, c.root.items...)
	for i, it := range c.root.items {
		if it.comp != nil {
			c.root.items = append(c.root.items[:i], append([]item{{comp: zone}}, c.root.items[i:]...)...)
			return
		}
	}
	c.root.addComponent(zone)
}

// touch marks a component as changed (RFC 5545 §3.8.7).
func touch(e *Component, now time.Time) {
	e.Set("DTSTAMP", nil, utc(now))
	e.Set("LAST-MODIFIED", nil, utc(now))
	sequence, _ := strconv.Atoi(e.Text("SEQUENCE"))
	e.Set("SEQUENCE", nil, strconv.Itoa(max(0, sequence)+1))
}

func sameTimes(o Occurrence, f Fields) bool {
	return o.AllDay == f.AllDay && o.Start.Equal(f.Start) && o.End.Equal(f.End)
}

// ChangeOne changes the occurrence only: the event itself when it does not
// repeat, else an exception (RECURRENCE-ID) that is made when missing.
func (c *Calendar) ChangeOne(o Occurrence, f Fields, now time.Time) error {
	e := c.master()
	if o.Key != "" {
		var err error
		if e, err = c.exception(o); err != nil {
			return err
		}
	}
	if e == nil {
		return ErrNotFound
	}
	if !sameTimes(o, f) {
		c.setTimes(e, f)
	}
	c.setTexts(e, f)
	touch(e, now)
	return nil
}

// exception finds or makes the component of one occurrence: a copy of the
// event, alarms and unknown properties included, without its rules.
func (c *Calendar) exception(o Occurrence) (*Component, error) {
	for _, e := range c.overrides() {
		if key, err := c.keyOf(e); err == nil && key == o.Key {
			return e, nil
		}
	}
	master := c.master()
	if master == nil {
		return nil, ErrNotFound
	}
	e := clone(master)
	for _, name := range []string{"RRULE", "RDATE", "EXDATE", "EXRULE"} {
		e.Remove(name)
	}
	start, length, days, err := c.zones.times(master)
	if err != nil {
		return nil, err
	}
	line := c.likeStart(master, "RECURRENCE-ID", o)
	e.Set("RECURRENCE-ID", line.Params, line.Value)
	// The copy stands at the occurrence's own time, written as the event writes its.
	at, err := c.zones.stampOf(&Line{Name: "key"}, o.Key)
	if err != nil {
		return nil, err
	}
	end := at.time.Add(length)
	if start.allDay {
		end = at.time.AddDate(0, 0, days)
	}
	e.Remove("DTEND")
	c.setTimes(e, Fields{Start: at.time, End: end, AllDay: start.allDay})
	c.root.addComponent(e)
	return e, nil
}

// likeStart writes the key of an occurrence in the form of DTSTART, as RFC 5545
// asks of RECURRENCE-ID and EXDATE.
func (c *Calendar) likeStart(master *Component, name string, o Occurrence) *Line {
	start := master.Line("DTSTART")
	at, _ := c.zones.stampOf(&Line{Name: "key"}, o.Key)
	switch {
	case at.allDay:
		return &Line{Name: name, Params: []Param{{"VALUE", []string{"DATE"}}}, Value: at.time.Format("20060102")}
	case strings.HasSuffix(start.Value, "Z"):
		return &Line{Name: name, Value: utc(at.time)}
	case start.Param("TZID") != "":
		return &Line{Name: name, Params: []Param{{"TZID", []string{start.Param("TZID")}}},
			Value: at.time.In(c.zones.find(start.Param("TZID"))).Format("20060102T150405")}
	}
	return &Line{Name: name, Value: at.time.In(c.zones.local).Format("20060102T150405")}
}

func clone(c *Component) *Component {
	copied := &Component{Name: c.Name, begin: c.begin, end: c.end, eol: c.eol}
	for _, it := range c.items {
		if it.comp != nil {
			copied.items = append(copied.items, item{comp: clone(it.comp)})
		} else {
			l := *it.line
			copied.items = append(copied.items, item{line: &l})
		}
	}
	return copied
}

// RemoveOne takes one occurrence out of its series. empty tells that nothing is
// left: the object is then to be deleted.
func (c *Calendar) RemoveOne(o Occurrence, now time.Time) (empty bool, err error) {
	for _, e := range c.overrides() {
		if key, err := c.keyOf(e); err == nil && key == o.Key {
			c.root.removeComponent(e)
		}
	}
	master := c.master()
	if master == nil {
		return len(c.overrides()) == 0, nil
	}
	if o.Key == "" {
		return true, nil
	}
	master.Add(c.likeStart(master, "EXDATE", o))
	touch(master, now)
	return false, nil
}

// ChangeAll changes the whole series, given how the form stood (o, one of its
// occurrences) and how it was sent (f). A new time moves every occurrence and
// every exception by as much. Errors: ErrSeries.
func (c *Calendar) ChangeAll(o Occurrence, f Fields, now time.Time) error {
	master := c.master()
	if master == nil {
		return ErrNotFound
	}
	if !sameTimes(o, f) {
		if err := c.moveSeries(master, o, f); err != nil {
			return err
		}
	}
	before := Fields{Summary: master.Text("SUMMARY"), Location: master.Text("LOCATION"), Description: master.Text("DESCRIPTION")}
	c.setTexts(master, f)
	for _, e := range c.overrides() { // an exception follows where it said the same as the series
		for name, pair := range map[string][2]string{"SUMMARY": {before.Summary, f.Summary}, "LOCATION": {before.Location, f.Location}, "DESCRIPTION": {before.Description, f.Description}} {
			if e.Text(name) == pair[0] && pair[0] != pair[1] {
				e.SetText(name, pair[1])
			}
		}
	}
	touch(master, now)
	return nil
}

func (c *Calendar) moveSeries(master *Component, o Occurrence, f Fields) error {
	start, _, _, err := c.zones.times(master)
	if err != nil {
		return err
	}
	if f.AllDay != start.allDay {
		if len(master.Lines("EXDATE"))+len(master.Lines("RDATE"))+len(c.overrides()) > 0 {
			return ErrSeries
		}
	}
	zone := start.time.Location()
	days := daysBetween(o.Start.In(zone), f.Start.In(zone))
	clock := wallClock(f.Start.In(zone)) - wallClock(o.Start.In(zone))
	if f.AllDay || start.allDay {
		days = daysBetween(o.Start, f.Start)
		clock = 0
	}
	if days != 0 {
		if err := c.moveRules(master, start, days); err != nil {
			return err
		}
	}
	if f.AllDay != start.allDay {
		day := time.Date(start.time.Year(), start.time.Month(), start.time.Day()+days, 0, 0, 0, 0, c.zones.local)
		to := Fields{AllDay: f.AllDay, Start: day, End: day.AddDate(0, 0, daysBetween(f.Start, f.End))}
		if !f.AllDay {
			to.Start = day.Add(wallClock(f.Start))
			to.End = to.Start.Add(f.End.Sub(f.Start))
		}
		c.setTimes(master, to)
		return nil
	}
	first := shift(start.time, days, clock)
	if f.AllDay {
		c.setTimes(master, Fields{AllDay: true, Start: first, End: first.AddDate(0, 0, daysBetween(f.Start, f.End))})
	} else {
		c.setTimes(master, Fields{Start: first, End: first.Add(f.End.Sub(f.Start))})
	}
	if days == 0 && clock == 0 {
		return nil
	}
	for _, name := range []string{"EXDATE", "RDATE"} {
		for _, l := range master.Lines(name) {
			if err := c.shiftLine(master, l, days, clock, zone); err != nil {
				return err
			}
		}
	}
	for _, e := range c.overrides() {
		if err := c.shiftLine(e, e.Line("RECURRENCE-ID"), days, clock, zone); err != nil {
			return err
		}
	}
	return c.shiftUntil(master, days, clock, zone)
}

func wallClock(t time.Time) time.Duration {
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
}

// shift moves a wall-clock time, so that ten o'clock stays ten o'clock when the
// clocks change in between.
func shift(t time.Time, days int, clock time.Duration) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+days, t.Hour(), t.Minute(), t.Second()+int(clock/time.Second), 0, t.Location())
}

func (c *Calendar) shiftLine(e *Component, l *Line, days int, clock time.Duration, zone *time.Location) error {
	var values []string
	for value := range strings.SplitSeq(l.Value, ",") {
		if strings.Contains(value, "/") {
			return ErrSeries
		}
		s, err := c.zones.stampOf(l, value)
		if err != nil {
			return err
		}
		switch {
		case s.allDay:
			values = append(values, shift(s.time, days, 0).Format("20060102"))
		case strings.HasSuffix(strings.TrimSpace(value), "Z"):
			values = append(values, utc(shift(s.time.In(zone), days, clock)))
		default:
			values = append(values, shift(s.time, days, clock).Format("20060102T150405"))
		}
	}
	e.change(l, l.Params, strings.Join(values, ","))
	return nil
}

var untilPart = regexp.MustCompile(`(?i)UNTIL=([0-9TZ]+)`)

func (c *Calendar) shiftUntil(master *Component, days int, clock time.Duration, zone *time.Location) error {
	l := master.Line("RRULE")
	if l == nil {
		return nil
	}
	found := untilPart.FindStringSubmatch(l.Value)
	if found == nil {
		return nil
	}
	s, err := c.zones.stampOf(&Line{Name: "UNTIL", Params: []Param{{"TZID", []string{zone.String()}}}}, found[1])
	if err != nil {
		return err
	}
	moved := shift(s.time, days, 0).Format("20060102")
	if !s.allDay && strings.HasSuffix(strings.ToUpper(found[1]), "Z") {
		moved = utc(shift(s.time.In(zone), days, clock))
	} else if !s.allDay {
		moved = shift(s.time, days, clock).Format("20060102T150405")
	}
	master.change(l, l.Params, untilPart.ReplaceAllString(l.Value, "UNTIL="+moved))
	return nil
}

// moveRules lets a rule follow its start to another day. Only what can be said
// without doubt is changed: a weekly rule on the start's own weekday, and rules
// that name no day.
func (c *Calendar) moveRules(master *Component, start stamp, days int) error {
	for _, l := range master.Lines("RRULE") {
		upper := strings.ToUpper(l.Value)
		for _, part := range []string{"BYMONTHDAY=", "BYYEARDAY=", "BYWEEKNO=", "BYSETPOS="} {
			if strings.Contains(upper, part) {
				return ErrSeries
			}
		}
		if !strings.Contains(upper, "BYDAY=") {
			if strings.Contains(upper, "BYMONTH=") {
				return ErrSeries
			}
			continue
		}
		name := func(t time.Time) string { return strings.ToUpper(t.Weekday().String()[:2]) }
		only := regexp.MustCompile(`BYDAY=` + name(start.time) + `(;|$)`)
		if !strings.Contains(upper, "FREQ=WEEKLY") || !only.MatchString(upper) {
			return ErrSeries
		}
		master.change(l, l.Params, only.ReplaceAllString(upper, "BYDAY="+name(shift(start.time, days, 0))+"$1"))
	}
	return nil
}

// Rule describes the repetition for a sentence: FREQ, the interval, and the
// last day when one is named.
func (c *Calendar) Rule() (freq string, interval int, until time.Time) {
	m := c.master()
	if m == nil || m.Line("RRULE") == nil {
		return "", 1, time.Time{}
	}
	start, _, _, err := c.zones.times(m)
	if err != nil {
		return "", 1, time.Time{}
	}
	interval = 1
	for part := range strings.SplitSeq(strings.ToUpper(m.Line("RRULE").Value), ";") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "FREQ":
			freq = value
		case "INTERVAL":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				interval = n
			}
		case "UNTIL":
			if s, err := c.zones.stampOf(&Line{Name: "UNTIL", Params: []Param{{"TZID", []string{start.time.Location().String()}}}}, value); err == nil {
				until = s.time.In(c.zones.local)
			}
		}
	}
	return freq, interval, until
}

// Check holds Fields to what an event can be. The error names the field.
func (f Fields) Check() error {
	switch {
	case f.Start.IsZero(), f.Start.Year() < 1900, f.Start.Year() > 2200:
		return fmt.Errorf("start %v", f.Start)
	case f.End.Before(f.Start), f.AllDay && !f.End.After(f.Start), f.End.Sub(f.Start) > 400*24*time.Hour:
		return fmt.Errorf("end %v", f.End)
	}
	return nil
}
