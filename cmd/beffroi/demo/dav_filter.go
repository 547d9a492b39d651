package demo

import (
	"net/http"
	"strings"
	"time"
)

// matchCalendar applies a CALDAV:filter (RFC 4791 §9.7) to one object.
func matchCalendar(filter *node, root *component, floating *time.Location) (bool, error) {
	top := filter.kid(nsCalDAV, "comp-filter")
	if top == nil {
		return false, davRefuse(http.StatusForbidden, caldav("valid-filter"))
	}
	if !strings.EqualFold(top.attr("name"), root.name) {
		return top.kid(nsCalDAV, "is-not-defined") != nil, nil
	}
	return matchComponent(top, root, nil, floating)
}

// matchComponent tells whether c is what the comp-filter describes; siblings
// are the components beside it, where a repeated event keeps its exceptions.
func matchComponent(filter *node, c *component, siblings []*component, floating *time.Location) (bool, error) {
	for _, test := range filter.kids {
		ok := true
		var err error
		switch {
		case test.is(nsCalDAV, "is-not-defined"):
			ok = false
		case test.is(nsCalDAV, "time-range"):
			ok, err = inRange(test, c, siblings, floating)
		case test.is(nsCalDAV, "prop-filter"):
			ok, err = matchProperty(test, nsCalDAV, c, floating)
		case test.is(nsCalDAV, "comp-filter"):
			ok, err = matchAnyKid(test, c, floating)
		}
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func matchAnyKid(filter *node, c *component, floating *time.Location) (bool, error) {
	absent := filter.kid(nsCalDAV, "is-not-defined") != nil
	for _, kid := range c.kids {
		if !strings.EqualFold(kid.name, filter.attr("name")) {
			continue
		}
		if absent {
			return false, nil
		}
		if ok, err := matchComponent(filter, kid, c.kids, floating); ok || err != nil {
			return ok, err
		}
	}
	return absent, nil
}

func inRange(test *node, c *component, siblings []*component, floating *time.Location) (bool, error) {
	r, err := readRange(test)
	if err != nil {
		return false, err
	}
	switch c.name {
	case "VEVENT":
		return c.eventMeets(r, overrides(c, siblings, floating), floating), nil
	case "VTODO":
		return c.todoMeets(r, floating), nil
	case "VJOURNAL":
		p, ok := c.get("DTSTART")
		if !ok {
			return false, nil
		}
		start, err := p.moment(floating)
		return err == nil && r.meets(start.Time, start.Add(c.length(start, floating))), nil
	}
	return true, nil
}

// overrides are the occurrences of c that components beside it replace.
func overrides(c *component, siblings []*component, floating *time.Location) []moment {
	var list []moment
	for _, other := range siblings {
		if p, ok := other.get("RECURRENCE-ID"); ok && other.name == c.name {
			if m, err := p.moment(floating); err == nil {
				list = append(list, m)
			}
		}
	}
	return list
}

// readRange reads a CALDAV:time-range, whose ends are UTC (RFC 4791 §9.9).
func readRange(test *node) (timeRange, error) {
	var r timeRange
	bad := davRefuse(http.StatusForbidden, caldav("valid-filter"))
	for key, into := range map[string]*time.Time{"start": &r.start, "end": &r.end} {
		value := test.attr(key)
		if value == "" {
			continue
		}
		t, err := time.Parse("20060102T150405Z", value)
		if err != nil {
			return r, bad
		}
		*into = t
	}
	if r.start.IsZero() && r.end.IsZero() || !r.end.IsZero() && !r.start.Before(r.end) {
		return r, bad
	}
	return r, nil
}

// matchProperty applies a prop-filter of either protocol: to one of the
// component's properties of that name.
func matchProperty(filter *node, space string, c *component, floating *time.Location) (bool, error) {
	found := c.all(strings.ToUpper(filter.attr("name")))
	if filter.kid(space, "is-not-defined") != nil {
		return len(found) == 0, nil
	}
	any := filter.attr("test") != "allof" && space == nsCardDAV
	for _, p := range found {
		ok, err := matchLine(filter, space, p, any, floating)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func matchLine(filter *node, space string, p contentLine, any bool, floating *time.Location) (bool, error) {
	tests, held := 0, 0
	for _, test := range filter.kids {
		var ok bool
		var err error
		switch {
		case test.is(space, "text-match"):
			ok, err = matchText(test, space, p.plain())
		case test.is(space, "param-filter"):
			ok, err = matchParam(test, space, p)
		case test.is(nsCalDAV, "time-range"):
			var r timeRange
			if r, err = readRange(test); err == nil {
				m, merr := p.moment(floating)
				ok = merr == nil && r.meets(m.Time, m.Time)
			}
		default:
			continue
		}
		if err != nil {
			return false, err
		}
		tests++
		if ok {
			held++
		}
	}
	if any && tests > 0 {
		return held > 0, nil
	}
	return held == tests, nil
}

func matchParam(filter *node, space string, p contentLine) (bool, error) {
	values := p.params[strings.ToUpper(filter.attr("name"))]
	if filter.kid(space, "is-not-defined") != nil {
		return len(values) == 0, nil
	}
	test := filter.kid(space, "text-match")
	if test == nil {
		return len(values) > 0, nil
	}
	for _, value := range values {
		if ok, err := matchText(test, space, value); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// matchText applies a text-match. CalDAV knows substrings only, CardDAV also
// match-type (RFC 6352 §10.5.4).
func matchText(test *node, space, value string) (bool, error) {
	want := test.text
	switch collation := test.attr("collation"); collation {
	case "", "default", "i;ascii-casemap", "i;unicode-casemap":
		value, want = strings.ToLower(value), strings.ToLower(want)
	case "i;octet":
	default:
		return false, davRefuse(http.StatusForbidden, element(space, "supported-collation"))
	}
	var ok bool
	switch test.attr("match-type") {
	case "equals":
		ok = value == want
	case "starts-with":
		ok = strings.HasPrefix(value, want)
	case "ends-with":
		ok = strings.HasSuffix(value, want)
	default:
		ok = strings.Contains(value, want)
	}
	return ok != (test.attr("negate-condition") == "yes"), nil
}

// matchBook applies a CARDDAV:filter (RFC 6352 §10.5): any of its prop-filters
// unless it says allof; an empty one takes every card.
func matchBook(filter *node, card *component) (bool, error) {
	tests, held := 0, 0
	for _, test := range filter.kids {
		if !test.is(nsCardDAV, "prop-filter") {
			continue
		}
		ok, err := matchProperty(test, nsCardDAV, card, time.UTC)
		if err != nil {
			return false, err
		}
		tests++
		if ok {
			held++
		}
	}
	if tests == 0 {
		return true, nil
	}
	if filter.attr("test") == "allof" {
		return held == tests, nil
	}
	return held > 0, nil
}
