package dav

import (
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
)

// A Card is one stored vCard (2.1, 3.0 or 4.0), changed line by line: a field
// that is not edited keeps its bytes.
type Card struct{ root *Component }

// A Value is one e-mail address or telephone number of a card.
type Value struct {
	Value string
	Kind  string // "work", "home", "cell" or empty
}

// ParseCard reads a vCard. The error is ErrUnreadable.
func ParseCard(text string) (*Card, error) {
	root, err := parseComponent(text, "VCARD")
	if err != nil {
		return nil, err
	}
	return &Card{root}, nil
}

// NewCard makes an empty vCard 3.0, the version that every server stores.
func NewCard(uid string) *Card {
	root := newComponent("VCARD", "\r\n")
	root.Add(&Line{Name: "VERSION", Value: "3.0"})
	root.Add(&Line{Name: "PRODID", Value: "-//Beffroi//Contacts//FR"})
	root.Add(&Line{Name: "UID", Value: uid})
	return &Card{root}
}

// String writes the card: every line that was not changed as it was stored.
func (c *Card) String() string { return c.root.String() }

func (c *Card) old() bool { return strings.HasPrefix(strings.TrimSpace(c.root.Text("VERSION")), "2.") }

// decoded is the value of a line without the encodings of vCard 2.1.
func decoded(l *Line) string {
	if l == nil {
		return ""
	}
	if !slices.ContainsFunc(l.Params, func(p Param) bool {
		return (p.Name == "ENCODING" || p.Name == "") && slices.ContainsFunc(p.Values, func(v string) bool { return strings.EqualFold(v, "QUOTED-PRINTABLE") })
	}) {
		return l.Value
	}
	// Unfolding may have left the soft breaks in; they are part of the raw bytes.
	_, body, ok := strings.Cut(l.raw, ":")
	if !ok {
		return l.Value
	}
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	if err != nil {
		return l.Value
	}
	plain := strings.TrimRight(string(text), "\r\n")
	switch strings.ToUpper(l.Param("CHARSET")) {
	case "ISO-8859-1", "ISO-8859-15", "WINDOWS-1252":
		plain = latin1(plain)
	}
	return strings.ToValidUTF8(plain, "\uFFFD")
}

func latin1(s string) string {
	runes := make([]rune, 0, len(s))
	for i := range len(s) {
		runes = append(runes, rune(s[i]))
	}
	return string(runes)
}

func (c *Card) text(name string) string { return UnescapeText(decoded(c.root.Line(name))) }

func (c *Card) parts(name string, n int) []string {
	parts := make([]string, n)
	for i, p := range splitEscaped(decoded(c.root.Line(name)), ';') {
		if i < n {
			parts[i] = UnescapeText(strings.TrimSpace(p))
		}
	}
	return parts
}

// Name is how the card is called in lists, never empty when anything is known.
func (c *Card) Name() string {
	if name := strings.TrimSpace(c.text("FN")); name != "" {
		return name
	}
	n := c.parts("N", 2)
	if name := strings.TrimSpace(n[1] + " " + n[0]); name != "" {
		return name
	}
	for _, other := range []string{c.Org(), first(c.Emails()), first(c.Phones()), c.text("NICKNAME")} {
		if other != "" {
			return other
		}
	}
	return ""
}

func first(values []Value) string {
	if len(values) == 0 {
		return ""
	}
	return values[0].Value
}

func (c *Card) UID() string    { return c.text("UID") }
func (c *Card) Family() string { return c.parts("N", 5)[0] }
func (c *Card) Given() string  { return c.parts("N", 5)[1] }
func (c *Card) Org() string    { return c.parts("ORG", 1)[0] }
func (c *Card) Title() string  { return c.text("TITLE") }
func (c *Card) Note() string   { return c.text("NOTE") }

// IsGroup tells lists of members from persons.
func (c *Card) IsGroup() bool {
	return strings.EqualFold(c.text("KIND"), "group") || strings.EqualFold(c.text("X-ADDRESSBOOKSERVER-KIND"), "group")
}

// Members are those of a group (RFC 6350 §6.6.5): "urn:uuid:…" or "mailto:…".
func (c *Card) Members() []string {
	var all []string
	for _, name := range []string{"MEMBER", "X-ADDRESSBOOKSERVER-MEMBER"} {
		for _, l := range c.root.Lines(name) {
			if len(all) < 1000 {
				all = append(all, strings.TrimSpace(decoded(l)))
			}
		}
	}
	return all
}

// Categories are the words that a person sorts cards by (RFC 6350 §6.7.1).
func (c *Card) Categories() []string {
	var all []string
	for _, l := range c.root.Lines("CATEGORIES") {
		for _, word := range splitEscaped(decoded(l), ',') {
			if word = strings.TrimSpace(UnescapeText(word)); word != "" && len(all) < 50 {
				all = append(all, word)
			}
		}
	}
	return all
}

// Emails and Phones list the values of the card in its order.
func (c *Card) Emails() []Value { return c.values("EMAIL") }
func (c *Card) Phones() []Value { return c.values("TEL") }

// Address is the first postal address, one piece a line.
func (c *Card) Address() []string {
	p := c.parts("ADR", 7)
	var lines []string
	for _, line := range []string{p[0], p[1], p[2], strings.TrimSpace(p[5] + " " + p[3]), p[4], p[6]} {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func (c *Card) values(name string) []Value {
	var all []Value
	for _, l := range c.root.Lines(name) {
		if v := valueOf(l); v.Value != "" {
			all = append(all, v)
		}
	}
	return all
}

func valueOf(l *Line) Value {
	v := Value{Value: strings.TrimSpace(UnescapeText(decoded(l)))}
	if l.Name == "TEL" && len(v.Value) > 4 && strings.EqualFold(v.Value[:4], "tel:") {
		v.Value = v.Value[4:]
	}
	for _, kind := range []string{"cell", "work", "home"} {
		if slices.Contains(l.types(), kind) {
			v.Kind = kind
			break
		}
	}
	return v
}

// CardFields are what a person edits of a card. Emails and Phones stand in the
// order of the card's own; an empty Value removes one, further ones are added.
type CardFields struct {
	Given, Family, Org, Title, Note string
	Emails, Phones                  []Value
}

// Fields are the card's own, to be edited and given to Change.
func (c *Card) Fields() CardFields {
	return CardFields{Given: c.Given(), Family: c.Family(), Org: c.Org(), Title: c.Title(), Note: c.Note(), Emails: c.Emails(), Phones: c.Phones()}
}

// Change writes what differs from the card.
func (c *Card) Change(f CardFields) {
	named := f.Given != c.Given() || f.Family != c.Family()
	if named {
		c.setPart("N", 5, map[int]string{0: f.Family, 1: f.Given})
	}
	if f.Org != c.Org() {
		c.setPart("ORG", 1, map[int]string{0: f.Org})
	}
	if named || c.text("FN") == "" {
		full := strings.TrimSpace(f.Given + " " + f.Family)
		for _, other := range []string{f.Org, first(f.Emails), first(f.Phones)} {
			if full == "" {
				full = other
			}
		}
		c.setText("FN", full)
	}
	if c.root.Line("N") == nil && !strings.HasPrefix(c.root.Text("VERSION"), "4") {
		c.root.Add(&Line{Name: "N", Value: ";;;;"}) // mandatory in 2.1 and 3.0
	}
	c.setText("TITLE", f.Title)
	c.setText("NOTE", f.Note)
	c.setValues("EMAIL", f.Emails)
	c.setValues("TEL", f.Phones)
}

func (c *Card) setText(name, text string) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if c.text(name) == text {
		return
	}
	if text == "" {
		c.root.Remove(name)
		return
	}
	c.write(name, EscapeText(text))
}

func (c *Card) setPart(name string, n int, changes map[int]string) {
	parts := splitEscaped(decoded(c.root.Line(name)), ';')
	for len(parts) < n {
		parts = append(parts, "")
	}
	for i, text := range changes {
		parts[i] = EscapeText(text)
	}
	if name != "N" && strings.Trim(strings.Join(parts, ""), " ") == "" {
		c.root.Remove(name)
		return
	}
	c.write(name, strings.Join(parts, ";"))
}

// write replaces the first line of a name, keeping its group and parameters.
func (c *Card) write(name, value string) {
	l := c.root.Line(name)
	if l == nil {
		l = &Line{Name: name}
		c.root.Add(l)
	}
	params, value := c.encodeValue(l.Params, value)
	c.root.change(l, params, value)
}

// encodeValue writes what vCard 2.1 cannot hold as quoted-printable UTF-8, and
// drops parameters that described the former bytes.
func (c *Card) encodeValue(params []Param, value string) ([]Param, string) {
	params = without(without(params, "ENCODING"), "CHARSET")
	params = slices.DeleteFunc(slices.Clone(params), func(p Param) bool {
		return p.Name == "" && len(p.Values) == 1 && strings.EqualFold(p.Values[0], "QUOTED-PRINTABLE")
	})
	if !c.old() || isASCII(value) {
		return params, value
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		if ch := value[i]; ch >= 0x20 && ch < 0x7f && ch != '=' {
			b.WriteByte(ch)
		} else {
			b.WriteByte('=')
			b.WriteByte(hex[ch>>4])
			b.WriteByte(hex[ch&15])
		}
	}
	return append(params, Param{"CHARSET", []string{"UTF-8"}}, Param{"ENCODING", []string{"QUOTED-PRINTABLE"}}), b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (c *Card) setValues(name string, values []Value) {
	var lines []*Line
	for _, l := range c.root.Lines(name) {
		if valueOf(l).Value != "" {
			lines = append(lines, l)
		}
	}
	for i, v := range values {
		v.Value = strings.TrimSpace(v.Value)
		switch {
		case i < len(lines) && v.Value == "":
			c.root.removeLine(lines[i])
		case i < len(lines):
			c.changeValue(lines[i], v)
		case v.Value != "":
			l := &Line{Name: name, Value: EscapeText(v.Value)}
			if v.Kind != "" {
				l.Params = []Param{{"TYPE", []string{strings.ToUpper(v.Kind)}}}
			}
			c.root.Add(l)
		}
	}
	for i := len(values); i < len(lines); i++ {
		c.root.removeLine(lines[i])
	}
}

func (c *Card) changeValue(l *Line, v Value) {
	before := valueOf(l)
	if before == v {
		return
	}
	value := l.Value
	if before.Value != v.Value {
		value = EscapeText(v.Value)
		if strings.HasPrefix(strings.ToLower(l.Value), "tel:") {
			value = "tel:" + strings.ReplaceAll(v.Value, " ", "-")
		}
	}
	params := l.Params
	if before.Kind != v.Kind {
		params = changeKind(params, before.Kind, v.Kind)
	}
	c.root.change(l, params, value)
}

// changeKind replaces one word of TYPE and leaves the others (PREF, VOICE…).
func changeKind(params []Param, before, after string) []Param {
	var kept []Param
	done := after == ""
	for _, p := range params {
		if p.Name != "TYPE" && p.Name != "" {
			kept = append(kept, p)
			continue
		}
		var words []string
		for _, v := range p.Values {
			for word := range strings.SplitSeq(v, ",") {
				if before != "" && strings.EqualFold(strings.TrimSpace(word), before) {
					if !done {
						words, done = append(words, strings.ToUpper(after)), true
					}
					continue
				}
				words = append(words, word)
			}
		}
		if len(words) > 0 {
			kept = append(kept, Param{p.Name, words})
		}
	}
	if !done {
		kept = append(kept, Param{"TYPE", []string{strings.ToUpper(after)}})
	}
	return kept
}
