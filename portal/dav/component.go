package dav

import (
	"errors"
	"fmt"
	"strings"
)

// maxDepth and maxLines bound what is read of one object.
const (
	maxDepth = 12
	maxLines = 50_000
)

// ErrUnreadable is an object whose BEGIN and END do not match, or which is not
// of the expected kind. Its bytes are left alone.
var ErrUnreadable = errors.New("object cannot be read")

// A Component is one BEGIN…END block. It keeps every line in its order and with
// its bytes: what is not changed is written back exactly as it was stored.
type Component struct {
	Name  string // "VCALENDAR", "VEVENT", "VCARD"…
	items []item
	begin string
	end   string
	eol   string
}

type item struct {
	line *Line
	comp *Component
}

// parseComponent reads the first component of text; bytes around it (a BOM,
// empty lines) are kept too.
func parseComponent(text, name string) (*Component, error) {
	lines := splitLines(text)
	if len(lines) > maxLines {
		return nil, fmt.Errorf("%w: %d lines", ErrUnreadable, len(lines))
	}
	eol := "\r\n"
	if !strings.Contains(text, "\r\n") && strings.Contains(text, "\n") {
		eol = "\n"
	}
	var stack []*Component
	var root *Component
	lead := ""
	for i := 0; i < len(lines); i++ {
		raw := lines[i]
		for isQuotedPrintable(raw) && i+1 < len(lines) && strings.HasSuffix(strings.TrimRight(raw, "\r\n"), "=") {
			i++ // vCard 2.1: a soft line break of quoted-printable
			raw += lines[i]
		}
		word := strings.TrimSpace(strings.TrimPrefix(unfold(raw), "\uFEFF"))
		upper := strings.ToUpper(word)
		switch {
		case root != nil && len(stack) == 0:
			if upper != "" { // a second object in the same file is not ours to judge
				root.end += raw
				continue
			}
			root.end += raw
		case strings.HasPrefix(upper, "BEGIN:"):
			c := &Component{Name: strings.TrimSpace(upper[len("BEGIN:"):]), begin: lead + raw, eol: eol}
			lead = ""
			if len(stack) >= maxDepth {
				return nil, fmt.Errorf("%w: nested too deep", ErrUnreadable)
			}
			if len(stack) == 0 {
				root = c
			} else {
				top := stack[len(stack)-1]
				top.items = append(top.items, item{comp: c})
			}
			stack = append(stack, c)
		case len(stack) == 0:
			if upper != "" {
				return nil, fmt.Errorf("%w: it begins with %.40q", ErrUnreadable, word)
			}
			lead += raw
		case strings.HasPrefix(upper, "END:"):
			top := stack[len(stack)-1]
			if strings.TrimSpace(upper[len("END:"):]) != top.Name {
				return nil, fmt.Errorf("%w: %.40q ends %s", ErrUnreadable, word, top.Name)
			}
			top.end = raw
			stack = stack[:len(stack)-1]
		default:
			top := stack[len(stack)-1]
			top.items = append(top.items, item{line: parseLine(raw)})
		}
	}
	switch {
	case root == nil:
		return nil, fmt.Errorf("%w: it is empty", ErrUnreadable)
	case len(stack) > 0:
		return nil, fmt.Errorf("%w: %s does not end", ErrUnreadable, stack[len(stack)-1].Name)
	case root.Name != name:
		return nil, fmt.Errorf("%w: it is a %.20s, not a %s", ErrUnreadable, root.Name, name)
	}
	return root, nil
}

func isQuotedPrintable(raw string) bool {
	head, _, _ := strings.Cut(raw, ":")
	return strings.Contains(strings.ToUpper(head), "QUOTED-PRINTABLE")
}

func newComponent(name, eol string) *Component {
	return &Component{Name: name, begin: "BEGIN:" + name + eol, end: "END:" + name + eol, eol: eol}
}

// String writes the component: stored bytes where nothing was changed.
func (c *Component) String() string {
	var b strings.Builder
	c.write(&b)
	return b.String()
}

func (c *Component) write(b *strings.Builder) {
	b.WriteString(c.begin)
	for _, it := range c.items {
		if it.comp != nil {
			it.comp.write(b)
		} else {
			b.WriteString(it.line.raw)
			if !strings.HasSuffix(it.line.raw, "\n") {
				b.WriteString(c.eol)
			}
		}
	}
	b.WriteString(c.end)
}

// Components lists the direct children of a name.
func (c *Component) Components(name string) []*Component {
	var all []*Component
	for _, it := range c.items {
		if it.comp != nil && it.comp.Name == name {
			all = append(all, it.comp)
		}
	}
	return all
}

// Line is the first property of a name, nil when there is none.
func (c *Component) Line(name string) *Line {
	for _, it := range c.items {
		if it.line != nil && it.line.Name == name {
			return it.line
		}
	}
	return nil
}

// Lines lists the properties of a name.
func (c *Component) Lines(name string) []*Line {
	var all []*Line
	for _, it := range c.items {
		if it.line != nil && it.line.Name == name {
			all = append(all, it.line)
		}
	}
	return all
}

// Text is the unescaped value of the first property of a name.
func (c *Component) Text(name string) string {
	if l := c.Line(name); l != nil {
		return UnescapeText(l.Value)
	}
	return ""
}

// SetText changes a text property, adds it, or removes it when text is empty.
// A property that already says so keeps its bytes.
func (c *Component) SetText(name, text string) {
	if c.Text(name) == strings.ReplaceAll(text, "\r\n", "\n") {
		return
	}
	if text == "" {
		c.Remove(name)
		return
	}
	l := c.Line(name)
	if l == nil {
		c.Add(&Line{Name: name, Value: EscapeText(text)})
		return
	}
	// LANGUAGE stays; ALTREP would show another text than the one just written.
	c.change(l, without(l.Params, "ALTREP"), EscapeText(text))
}

// Set writes a property with these parameters, replacing the first of its name.
func (c *Component) Set(name string, params []Param, value string) {
	if l := c.Line(name); l != nil {
		c.change(l, params, value)
		return
	}
	c.Add(&Line{Name: name, Params: params, Value: value})
}

func (c *Component) change(l *Line, params []Param, value string) {
	l.Params, l.Value = params, value
	l.raw = l.encode(c.eol)
}

// Add appends a property: before the first inner component, where properties
// stand (RFC 5545 §3.6), or at the end.
func (c *Component) Add(l *Line) {
	l.raw = l.encode(c.eol)
	at := len(c.items)
	for i, it := range c.items {
		if it.comp != nil {
			at = i
			break
		}
	}
	c.items = append(c.items[:at], append([]item{{line: l}}, c.items[at:]...)...)
}

// Remove drops every property of a name.
func (c *Component) Remove(name string) {
	c.filter(func(it item) bool { return it.line == nil || it.line.Name != name })
}

func (c *Component) removeLine(l *Line) {
	c.filter(func(it item) bool { return it.line != l })
}

func (c *Component) removeComponent(child *Component) {
	c.filter(func(it item) bool { return it.comp != child })
}

func (c *Component) filter(keep func(item) bool) {
	kept := c.items[:0:0]
	for _, it := range c.items {
		if keep(it) {
			kept = append(kept, it)
		}
	}
	c.items = kept
}

func (c *Component) addComponent(child *Component) {
	c.items = append(c.items, item{comp: child})
}

func without(params []Param, name string) []Param {
	var kept []Param
	for _, p := range params {
		if p.Name != name {
			kept = append(kept, p)
		}
	}
	return kept
}
