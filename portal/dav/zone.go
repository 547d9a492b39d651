package dav

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

// zones resolves the TZIDs of one object: our own IANA data first (a VTIMEZONE
// is often out of date), then Windows names, then the object's VTIMEZONE.
type zones struct {
	root  *Component
	local *time.Location
	known map[string]*time.Location
}

// find never fails: a zone that nobody knows is read as the reader's own.
func (z *zones) find(tzid string) *time.Location {
	if tzid == "" {
		return z.local
	}
	if loc, ok := z.known[tzid]; ok {
		return loc
	}
	loc := ianaZone(tzid)
	if loc == nil && z.root != nil {
		for _, tz := range z.root.Components("VTIMEZONE") {
			if tz.Text("TZID") != tzid {
				continue
			}
			if loc = ianaZone(tz.Text("X-LIC-LOCATION")); loc == nil {
				loc = zoneOf(tz, tzid)
			}
			break
		}
	}
	if loc == nil {
		loc = z.local
	}
	if z.known == nil {
		z.known = map[string]*time.Location{}
	}
	z.known[tzid] = loc
	return loc
}

// ianaZone knows IANA names, also behind the prefixes of libical and Mozilla
// ("/freeassociation.sourceforge.net/Europe/Paris"), and Windows names.
func ianaZone(name string) *time.Location {
	name = strings.Trim(name, "\"' ")
	if name == "" || len(name) > 200 {
		return nil
	}
	switch strings.ToUpper(name) {
	case "UTC", "GMT", "Z", "ETC/UTC", "ETC/GMT":
		return time.UTC
	case "LOCAL":
		return nil
	}
	if windows, ok := windowsZones[strings.ToLower(name)]; ok {
		name = windows
	}
	pieces := strings.Split(strings.Trim(name, "/"), "/")
	for n := min(3, len(pieces)); n >= 1; n-- {
		if n == 1 && len(pieces) > 1 {
			break // "Paris" alone is nobody's zone
		}
		if loc, err := time.LoadLocation(strings.Join(pieces[len(pieces)-n:], "/")); err == nil {
			return loc
		}
	}
	return nil
}

type transition struct {
	at     time.Time
	offset int // seconds east of UTC, from at on
	name   string
	dst    bool
}

// zoneOf makes a Location of a VTIMEZONE (RFC 5545 §3.6.5), with its changes
// between 1990 and 2045, nil when it says nothing usable.
func zoneOf(tz *Component, name string) *time.Location {
	var all []transition
	for _, kind := range []string{"STANDARD", "DAYLIGHT"} {
		for _, c := range tz.Components(kind) {
			all = append(all, observances(c, kind == "DAYLIGHT")...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	sort.Slice(all, func(i, j int) bool { return all[i].at.Before(all[j].at) })
	if len(all) == 1 {
		return time.FixedZone(name, all[0].offset)
	}
	loc, err := time.LoadLocationFromTZData(name, tzif(all))
	if err != nil {
		return nil
	}
	return loc
}

func observances(c *Component, dst bool) []transition {
	before, ok1 := utcOffset(c.Text("TZOFFSETFROM"))
	after, ok2 := utcOffset(c.Text("TZOFFSETTO"))
	start, err := time.Parse("20060102T150405", c.Text("DTSTART"))
	if !ok1 || !ok2 || err != nil {
		return nil
	}
	// Times are wall clock before the change; UTC stands in for that clock here.
	at := func(wall time.Time) transition {
		return transition{wall.Add(-time.Duration(before) * time.Second), after, c.Text("TZNAME"), dst}
	}
	all := []transition{at(start)}
	for _, l := range c.Lines("RDATE") {
		for v := range strings.SplitSeq(l.Value, ",") {
			if t, err := time.Parse("20060102T150405", v); err == nil {
				all = append(all, at(t))
			}
		}
	}
	if l := c.Line("RRULE"); l != nil {
		if start.Year() < 1990 { // rules of Outlook begin in 1601
			start = time.Date(1990, 1, 1, start.Hour(), start.Minute(), start.Second(), 0, time.UTC)
		}
		option, err := rrule.StrToROption(strings.ToUpper(strings.TrimSpace(l.Value)))
		if err != nil || option.Freq != rrule.YEARLY {
			return all
		}
		option.Dtstart = start
		rule, err := rrule.NewRRule(*option)
		if err != nil {
			return all
		}
		for _, t := range rule.Between(start, time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC), true) {
			all = append(all, at(t))
		}
	}
	return all
}

// utcOffset reads +0100 or -053000 as seconds.
func utcOffset(s string) (int, bool) {
	if len(s) != 5 && len(s) != 7 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	n, err := strconv.Atoi(s[1:])
	if err != nil {
		return 0, false
	}
	if len(s) == 5 {
		n *= 100
	}
	seconds := n/10000*3600 + n/100%100*60 + n%100
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, seconds > -26*3600 && seconds < 26*3600
}

// tzif writes the changes in the form that the standard library reads (RFC 8536,
// version 2; the version 1 block is left empty).
func tzif(all []transition) []byte {
	type kind struct {
		offset int
		dst    bool
		name   string
	}
	kinds, index := []kind{}, map[kind]int{}
	names := []byte{}
	for i, t := range all {
		name := t.name
		if name == "" || len(name) > 8 {
			name = fmt.Sprintf("%+03d", t.offset/3600)
		}
		all[i].name = name
		k := kind{t.offset, t.dst, name}
		if _, ok := index[k]; !ok {
			index[k] = len(kinds)
			kinds = append(kinds, k)
		}
	}
	header := func(changes, kinds, letters int) []byte {
		b := append([]byte("TZif2"), make([]byte, 15)...)
		for _, n := range []int{0, 0, 0, changes, kinds, letters} {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
		return b
	}
	out := append(header(0, 1, 1), make([]byte, 7)...)
	var types []byte
	for _, k := range kinds {
		types = binary.BigEndian.AppendUint32(types, uint32(int32(k.offset)))
		dst := byte(0)
		if k.dst {
			dst = 1
		}
		types = append(types, dst, byte(len(names)))
		names = append(append(names, k.name...), 0)
	}
	out = append(out, header(len(all), len(kinds), len(names))...)
	for _, t := range all {
		out = binary.BigEndian.AppendUint64(out, uint64(t.at.Unix()))
	}
	for _, t := range all {
		out = append(out, byte(index[kind{t.offset, t.dst, t.name}]))
	}
	out = append(out, types...)
	out = append(out, names...)
	return append(out, "\n\n"...)
}

// vtimezone writes the VTIMEZONE of a zone as its rules stand in a year, for
// the readers that do not know IANA names.
func vtimezone(loc *time.Location, year int, eol string) *Component {
	c := newComponent("VTIMEZONE", eol)
	c.Add(&Line{Name: "TZID", Value: loc.String()})
	changes := changesOf(loc, year)
	if len(changes) == 0 {
		_, offset := time.Date(year, 1, 1, 0, 0, 0, 0, loc).Zone()
		c.addComponent(observance("STANDARD", time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), offset, offset, loc.String(), "", eol))
	}
	for _, at := range changes {
		name, after := at.In(loc).Zone()
		_, before := at.Add(-time.Second).In(loc).Zone()
		wall := at.UTC().Add(time.Duration(before) * time.Second)
		kind := "STANDARD"
		if after > before {
			kind = "DAYLIGHT"
		}
		week := strconv.Itoa((wall.Day()-1)/7 + 1)
		if wall.AddDate(0, 0, 7).Month() != wall.Month() {
			week = "-1"
		}
		rule := fmt.Sprintf("FREQ=YEARLY;BYMONTH=%d;BYDAY=%s%s", wall.Month(), week, strings.ToUpper(wall.Weekday().String()[:2]))
		c.addComponent(observance(kind, wall, before, after, name, rule, eol))
	}
	return c
}

func observance(kind string, wall time.Time, before, after int, name, rule, eol string) *Component {
	o := newComponent(kind, eol)
	o.Add(&Line{Name: "DTSTART", Value: wall.Format("20060102T150405")})
	o.Add(&Line{Name: "TZOFFSETFROM", Value: offsetText(before)})
	o.Add(&Line{Name: "TZOFFSETTO", Value: offsetText(after)})
	o.Add(&Line{Name: "TZNAME", Value: name})
	if rule != "" {
		o.Add(&Line{Name: "RRULE", Value: rule})
	}
	return o
}

func offsetText(seconds int) string {
	sign := '+'
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	return fmt.Sprintf("%c%02d%02d", sign, seconds/3600, seconds/60%60)
}

// changesOf lists when the clock of a zone changes within a year.
func changesOf(loc *time.Location, year int) []time.Time {
	var all []time.Time
	at := time.Date(year, 1, 1, 0, 0, 0, 0, loc)
	end := time.Date(year+1, 1, 1, 0, 0, 0, 0, loc)
	for {
		_, next := at.ZoneBounds()
		if next.IsZero() || !next.Before(end) {
			return all
		}
		all = append(all, next)
		at = next
	}
}
