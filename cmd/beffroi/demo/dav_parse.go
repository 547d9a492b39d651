package demo

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// component is an iCalendar component (RFC 5545 §3.6) or a vCard, for looking
// at; what is stored and served are the bytes it was read from.
type component struct {
	name  string
	props []contentLine
	kids  []*component
}

type contentLine struct {
	name   string // upper case, without a vCard group
	params map[string][]string
	value  string // as written, escapes included
}

var errNoComponent = errors.New("no component")

// parseComponent reads one component and nothing after it. Folded lines are
// unfolded, both line ends are understood.
func parseComponent(data []byte) (*component, error) {
	var root *component
	var open []*component
	for _, line := range unfold(string(data)) {
		if line == "" {
			continue
		}
		p, err := parseLine(line)
		if err != nil {
			return nil, err
		}
		switch p.name {
		case "BEGIN":
			c := &component{name: strings.ToUpper(strings.TrimSpace(p.value))}
			switch {
			case len(open) > 16, len(open) == 0 && root != nil:
				return nil, errNoComponent
			case len(open) == 0:
				root = c
			default:
				open[len(open)-1].kids = append(open[len(open)-1].kids, c)
			}
			open = append(open, c)
		case "END":
			if len(open) == 0 || open[len(open)-1].name != strings.ToUpper(strings.TrimSpace(p.value)) {
				return nil, errNoComponent
			}
			open = open[:len(open)-1]
		default:
			if len(open) == 0 {
				return nil, errNoComponent
			}
			open[len(open)-1].props = append(open[len(open)-1].props, p)
		}
	}
	if root == nil || len(open) > 0 {
		return nil, errNoComponent
	}
	return root, nil
}

func unfold(s string) []string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if len(lines) > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') {
			lines[len(lines)-1] += line[1:]
			continue
		}
		lines = append(lines, line)
	}
	return lines
}

// parseLine reads NAME;PARAM=value,"quoted":value.
func parseLine(line string) (contentLine, error) {
	head, rest := line, ""
	quoted := false
	found := false
	for i := range len(line) {
		if line[i] == '"' {
			quoted = !quoted
		} else if line[i] == ':' && !quoted {
			head, rest, found = line[:i], line[i+1:], true
			break
		}
	}
	if !found {
		return contentLine{}, errNoComponent
	}
	pieces := splitOutsideQuotes(head, ';')
	name := pieces[0]
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:] // item1.EMAIL
	}
	if name == "" || strings.ContainsAny(name, " \t") {
		return contentLine{}, errNoComponent
	}
	p := contentLine{name: strings.ToUpper(name), value: rest}
	for _, piece := range pieces[1:] {
		key, value, _ := strings.Cut(piece, "=")
		if p.params == nil {
			p.params = make(map[string][]string)
		}
		key = strings.ToUpper(key)
		for _, v := range splitOutsideQuotes(value, ',') {
			p.params[key] = append(p.params[key], strings.Trim(v, `"`))
		}
	}
	return p, nil
}

func splitOutsideQuotes(s string, sep byte) []string {
	var parts []string
	quoted, start := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

func (p contentLine) param(key string) string {
	if values := p.params[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// plain is the value without escapes, as a text-match sees it.
func (p contentLine) plain() string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";").Replace(p.value)
}

func (c *component) all(name string) []contentLine {
	var list []contentLine
	for _, p := range c.props {
		if p.name == name {
			list = append(list, p)
		}
	}
	return list
}

func (c *component) get(name string) (contentLine, bool) {
	for _, p := range c.props {
		if p.name == name {
			return p, true
		}
	}
	return contentLine{}, false
}

func (c *component) text(name string) string {
	p, _ := c.get(name)
	return p.plain()
}

// parsedObject is what the store wants to know of an object.
type parsedObject struct {
	root *component
	kind string // VEVENT, VTODO, VJOURNAL, VFREEBUSY, VCARD
	uid  string
}

// parseObject checks that the bytes may stand in a calendar (RFC 4791 §4.1:
// one kind of component, one UID, no METHOD) or a book (RFC 6352 §5.1: one
// vCard 3.0 or 4.0 with a UID). The error is the precondition that fails.
func parseObject(data []byte, isBook bool) (parsedObject, error) {
	root, err := parseComponent(data)
	if err != nil {
		return parsedObject{}, davRefuse(http.StatusForbidden, invalidData(isBook))
	}
	if isBook {
		return parseCard(root)
	}
	found := parsedObject{root: root}
	if root.name != "VCALENDAR" || strings.TrimSpace(root.text("VERSION")) != "2.0" {
		return found, davRefuse(http.StatusForbidden, invalidData(false))
	}
	if _, has := root.get("METHOD"); has {
		return found, davRefuse(http.StatusForbidden, caldav("valid-calendar-object-resource"))
	}
	for _, c := range root.kids {
		if c.name == "VTIMEZONE" {
			continue
		}
		uid := c.text("UID")
		if uid == "" || (found.kind != "" && (c.name != found.kind || uid != found.uid)) {
			return found, davRefuse(http.StatusForbidden, caldav("valid-calendar-object-resource"))
		}
		if _, hasStart := c.get("DTSTART"); c.name == "VEVENT" && !hasStart {
			return found, davRefuse(http.StatusForbidden, invalidData(false))
		}
		found.kind, found.uid = c.name, uid
	}
	if found.kind == "" {
		return found, davRefuse(http.StatusForbidden, caldav("valid-calendar-object-resource"))
	}
	return found, nil
}

func parseCard(root *component) (parsedObject, error) {
	uid := strings.TrimSpace(root.text("UID"))
	_, named := root.get("FN")
	if root.name != "VCARD" || uid == "" || !named || len(root.kids) > 0 {
		return parsedObject{}, davRefuse(http.StatusForbidden, invalidData(true))
	}
	if !slices.Contains([]string{"3.0", "4.0"}, strings.TrimSpace(root.text("VERSION"))) {
		return parsedObject{}, davRefuse(http.StatusForbidden, carddav("supported-address-data"))
	}
	return parsedObject{root: root, kind: "VCARD", uid: uid}, nil
}

func invalidData(isBook bool) *node {
	if isBook {
		return carddav("valid-address-data")
	}
	return caldav("valid-calendar-data")
}
