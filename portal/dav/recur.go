package dav

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/teambition/rrule-go"
)

// Limits of one expansion: a rule may be hostile, and a page must not wait.
const (
	maxSteps       = 60_000
	maxOccurrences = 2_000
)

// ErrTooComplex: the rule of a repetition is beyond what is expanded here; the
// occurrences found so far are given beside it.
var ErrTooComplex = errors.New("repetition is too complex")

// Expand lists the occurrences that touch [from, to), in order of time. By
// deadline (zero for none) it stops with what it has and ErrTooComplex.
func (c *Calendar) Expand(from, to, deadline time.Time) ([]Occurrence, error) {
	var all []Occurrence
	replaced := map[string]bool{} // keys taken over by an exception
	for _, e := range c.overrides() {
		key, err := c.keyOf(e)
		if err != nil {
			return nil, err
		}
		replaced[key] = true
		start, length, days, err := c.zones.times(e)
		if err != nil {
			return nil, err
		}
		o := c.occurrence(e, start, length, days)
		o.Key, o.Repeats, o.Changed = key, true, true
		if touches(o, from, to) {
			all = append(all, o)
		}
	}
	master := c.master()
	if master == nil {
		return inOrder(all), nil
	}
	start, length, days, err := c.zones.times(master)
	if err != nil {
		return nil, err
	}
	model := c.occurrence(master, start, length, days)
	if !repeats(master) {
		if touches(model, from, to) {
			all = append(all, model)
		}
		return inOrder(all), nil
	}
	starts, err := c.starts(master, start, from.Add(-model.End.Sub(model.Start)-25*time.Hour), to, deadline)
	if err != nil && !errors.Is(err, ErrTooComplex) {
		return nil, err
	}
	for _, s := range starts {
		if replaced[s.key()] || replaced[s.time.Format("20060102")] {
			continue
		}
		o := model
		o.Key, o.Repeats = s.key(), true
		if s.allDay {
			o.Start = time.Date(s.time.Year(), s.time.Month(), s.time.Day(), 0, 0, 0, 0, c.zones.local)
			o.End = o.Start.AddDate(0, 0, days)
		} else {
			o.Start = s.time.In(c.zones.local)
			o.End = o.Start.Add(length)
		}
		if touches(o, from, to) {
			all = append(all, o)
		}
	}
	return inOrder(all), err
}

// Find gives the occurrence of a key; the empty key is the event that does not
// repeat. ErrNotFound when the event does not take place then (any more).
func (c *Calendar) Find(key string) (Occurrence, error) {
	if key == "" {
		e := c.master()
		if e == nil || repeats(e) {
			return Occurrence{}, ErrNotFound
		}
		start, length, days, err := c.zones.times(e)
		if err != nil {
			return Occurrence{}, err
		}
		return c.occurrence(e, start, length, days), nil
	}
	for _, e := range c.overrides() {
		k, err := c.keyOf(e)
		if err != nil || k != key {
			continue
		}
		start, length, days, err := c.zones.times(e)
		if err != nil {
			return Occurrence{}, err
		}
		o := c.occurrence(e, start, length, days)
		o.Key, o.Repeats, o.Changed = key, true, true
		return o, nil
	}
	at, err := c.zones.stampOf(&Line{Name: "key"}, key)
	if err != nil {
		return Occurrence{}, ErrNotFound
	}
	all, err := c.Expand(at.time, at.time.Add(time.Second), time.Now().Add(time.Second))
	if err != nil && len(all) == 0 {
		return Occurrence{}, err
	}
	for _, o := range all {
		if o.Key == key {
			return o, nil
		}
	}
	return Occurrence{}, ErrNotFound
}

func touches(o Occurrence, from, to time.Time) bool {
	if o.End.Equal(o.Start) { // a moment
		return !o.Start.Before(from) && o.Start.Before(to)
	}
	return o.Start.Before(to) && o.End.After(from)
}

func inOrder(all []Occurrence) []Occurrence {
	sort.SliceStable(all, func(i, j int) bool { return all[i].Start.Before(all[j].Start) })
	return all
}

func repeats(e *Component) bool { return e.Line("RRULE") != nil || e.Line("RDATE") != nil }

// keyOf names the occurrence that an exception replaces. A RECURRENCE-ID that
// is a date in a series of times (seen from Exchange) names that day.
func (c *Calendar) keyOf(e *Component) (string, error) {
	l := e.Line("RECURRENCE-ID")
	s, err := c.zones.stampOf(l, l.Value)
	if err != nil {
		return "", err
	}
	if m := c.master(); m != nil {
		if start, _, _, err := c.zones.times(m); err == nil && start.allDay && !s.allDay {
			return s.time.In(c.zones.local).Format("20060102"), nil
		}
	}
	return s.key(), nil
}

// starts lists when the repetition begins anew in [from, to): the first start,
// the rules and RDATE, without EXDATE (RFC 5545 §3.8.5).
func (c *Calendar) starts(e *Component, first stamp, from, to, deadline time.Time) ([]stamp, error) {
	without, withoutDays, err := c.excluded(e)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var all []stamp
	add := func(t time.Time) {
		s := stamp{t, first.allDay}
		if t.Before(from) || !t.Before(to) || seen[s.key()] || without[s.key()] || withoutDays[t.Format("20060102")] {
			return
		}
		seen[s.key()] = true
		all = append(all, s)
	}
	add(first.time)
	for _, l := range e.Lines("RDATE") {
		for value := range strings.SplitSeq(l.Value, ",") {
			value, _, _ = strings.Cut(value, "/") // a PERIOD begins with its start
			s, err := c.zones.stampOf(l, value)
			if err != nil {
				return nil, err
			}
			if first.allDay {
				s.time = time.Date(s.time.Year(), s.time.Month(), s.time.Day(), 0, 0, 0, 0, c.zones.local)
			}
			add(s.time)
		}
	}
	for _, l := range e.Lines("RRULE") {
		if err := c.rule(l, first, from, to, deadline, add); err != nil {
			return all, err
		}
		if len(all) > maxOccurrences {
			return all[:maxOccurrences], ErrTooComplex
		}
	}
	return all, nil
}

// excluded reads the EXDATE lists: exact starts, and whole days where a date
// stands in a series of times.
func (c *Calendar) excluded(e *Component) (exact, days map[string]bool, err error) {
	exact, days = map[string]bool{}, map[string]bool{}
	for _, l := range e.Lines("EXDATE") {
		for value := range strings.SplitSeq(l.Value, ",") {
			if strings.TrimSpace(value) == "" {
				continue
			}
			s, err := c.zones.stampOf(l, value)
			if err != nil {
				return nil, nil, err
			}
			exact[s.key()] = true
			if s.allDay {
				days[s.time.Format("20060102")] = true
			}
		}
	}
	return exact, days, nil
}

// rule runs one RRULE and gives each start below to.
func (c *Calendar) rule(l *Line, first stamp, from, to, deadline time.Time, add func(time.Time)) error {
	option, err := c.ruleOption(l, first)
	if err != nil {
		return err
	}
	name := l.Value + " " + first.time.String()
	if slow.has(name) {
		return ErrTooComplex
	}
	skipAhead(option, from)
	begun, found := time.Now(), false
	defer func() {
		if !found && time.Since(begun) > slowSearch {
			slow.add(name)
		}
	}()
	rule, err := rrule.NewRRule(*option)
	if err != nil {
		return fmt.Errorf("%w: RRULE: %w", ErrUnreadable, err)
	}
	if !deadline.IsZero() && time.Now().After(deadline) {
		return ErrTooComplex
	}
	next := rule.Iterator()
	for n := 0; ; n++ {
		t, ok := next()
		if !ok || !t.Before(to) {
			found = found || ok
			return nil
		}
		if n > maxSteps || n%512 == 511 && !deadline.IsZero() && time.Now().After(deadline) {
			return ErrTooComplex
		}
		found = true
		add(t)
	}
}

// slowSearch is how long a rule may look for its first match. The library
// cannot be stopped on its way to the year 9999, so that a rule which never
// matches costs about a second: once, and is then refused unread.
const slowSearch = 200 * time.Millisecond

var slow slowRules

type slowRules struct {
	mu    sync.Mutex
	names map[string]bool
}

func (s *slowRules) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

func (s *slowRules) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil || len(s.names) > 10_000 {
		s.names = map[string]bool{}
	}
	s.names[name] = true
}

func (c *Calendar) ruleOption(l *Line, first stamp) (*rrule.ROption, error) {
	var parts []string
	var until time.Time
	for part := range strings.SplitSeq(strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(l.Value, "RRULE:"), " ", "")), ";") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "UNTIL":
			s, err := c.zones.stampOf(&Line{Name: "UNTIL", Params: []Param{{"TZID", []string{first.time.Location().String()}}}}, value)
			if err != nil {
				return nil, err
			}
			until = s.time
			if s.allDay { // the whole last day counts
				until = time.Date(s.time.Year(), s.time.Month(), s.time.Day(), 23, 59, 59, 0, first.time.Location())
			} else if first.allDay { // an UNTIL with a time ends on its day
				until = time.Date(s.time.Year(), s.time.Month(), s.time.Day(), 23, 59, 59, 0, c.zones.local)
			}
		case "FREQ", "INTERVAL", "COUNT", "WKST", "BYSECOND", "BYMINUTE", "BYHOUR", "BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS":
			parts = append(parts, part)
		}
	}
	option, err := rrule.StrToROption(strings.Join(parts, ";"))
	if err != nil {
		return nil, fmt.Errorf("%w: RRULE: %w", ErrUnreadable, err)
	}
	option.Dtstart, option.Until = first.time, until
	if option.Freq > rrule.DAILY || len(option.Byhour)*len(option.Byminute)*len(option.Bysecond) > 50 ||
		len(option.Byhour) > 24 || len(option.Byminute) > 20 || len(option.Bysecond) > 5 || impossible(option) {
		return nil, ErrTooComplex
	}
	return option, nil
}

// impossible finds rules that never match (30 February): the library would
// search until the year 9999.
func impossible(o *rrule.ROption) bool {
	if len(o.Bymonthday) == 0 || len(o.Bymonth) == 0 {
		return false
	}
	longest := []int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	for _, m := range o.Bymonth {
		for _, d := range o.Bymonthday {
			if m >= 1 && m <= 12 && max(d, -d) <= longest[m-1] {
				return false
			}
		}
	}
	return true
}

// skipAhead begins an old daily or weekly rule shortly before from, a whole
// number of its intervals later, so that its age costs nothing.
func skipAhead(o *rrule.ROption, from time.Time) {
	step := max(1, o.Interval)
	switch o.Freq {
	case rrule.WEEKLY:
		step *= 7
	case rrule.DAILY:
	default:
		return
	}
	days := daysBetween(o.Dtstart, from) - 14
	if o.Count > 0 || len(o.Bysetpos) > 0 || len(o.Byweekno) > 0 || days < 10*step {
		return
	}
	// The start's own weekday is the rule's when it names none.
	d := o.Dtstart
	o.Dtstart = time.Date(d.Year(), d.Month(), d.Day()+days/step*step, d.Hour(), d.Minute(), d.Second(), 0, d.Location())
}
