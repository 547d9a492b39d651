package dav

import (
	"strings"
	"unicode/utf8"
)

// A Line is one content line of an iCalendar object (RFC 5545 §3.1) or a vCard
// (RFC 6350 §3.2), with the bytes it was stored as. A line that is not
// understood keeps its bytes and has no name.
type Line struct {
	Group  string // vCard only: "item1" of item1.TEL
	Name   string // upper case
	Params []Param
	Value  string // unfolded, still escaped

	raw string // as stored: folding and line ends included
}

// Param is one parameter; a bare word of vCard 2.1 (TEL;HOME:) has no Name.
type Param struct {
	Name   string // upper case
	Values []string
}

// Param gives the first value of a parameter, empty when it is absent.
func (l *Line) Param(name string) string {
	for _, p := range l.Params {
		if p.Name == name && len(p.Values) > 0 {
			return p.Values[0]
		}
	}
	return ""
}

// types lists the TYPE words of a vCard line in lower case, bare words of 2.1
// included.
func (l *Line) types() []string {
	var all []string
	for _, p := range l.Params {
		if p.Name != "TYPE" && p.Name != "" {
			continue
		}
		for _, v := range p.Values {
			for word := range strings.SplitSeq(v, ",") {
				all = append(all, strings.ToLower(strings.TrimSpace(word)))
			}
		}
	}
	return all
}

// splitLines cuts text into content lines, each with its folded pieces.
func splitLines(text string) []string {
	var lines []string
	for len(text) > 0 {
		end := lineEnd(text)
		for end < len(text) && (text[end] == ' ' || text[end] == '\t') {
			end += lineEnd(text[end:])
		}
		lines = append(lines, text[:end])
		text = text[end:]
	}
	return lines
}

func lineEnd(text string) int {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// unfold joins the pieces of one content line and drops its end.
func unfold(raw string) string {
	if !strings.ContainsAny(strings.TrimRight(raw, "\r\n"), "\n") {
		return strings.TrimRight(raw, "\r\n")
	}
	var b strings.Builder
	for i, piece := range strings.Split(strings.TrimRight(raw, "\r\n"), "\n") {
		piece = strings.TrimSuffix(piece, "\r")
		if i > 0 && piece != "" {
			piece = piece[1:]
		}
		b.WriteString(piece)
	}
	return b.String()
}

// parseLine reads one content line. It never fails: what has no colon or an
// impossible name comes back without a name.
func parseLine(raw string) *Line {
	l := &Line{raw: raw}
	text := strings.ToValidUTF8(unfold(raw), "\uFFFD")
	head, ok := cutHead(text)
	if !ok {
		return l
	}
	l.Value = text[head+1:]
	pieces := splitQuoted(text[:head], ';')
	name := pieces[0]
	if group, rest, ok := strings.Cut(name, "."); ok {
		l.Group, name = group, rest
	}
	name = strings.ToUpper(strings.TrimSpace(name))
	if name == "" || strings.ContainsAny(name, " \t\"") {
		return &Line{raw: raw}
	}
	l.Name = name
	for _, piece := range pieces[1:] {
		key, value, ok := strings.Cut(piece, "=")
		if !ok {
			l.Params = append(l.Params, Param{Values: []string{piece}})
			continue
		}
		p := Param{Name: strings.ToUpper(strings.TrimSpace(key))}
		for _, v := range splitQuoted(value, ',') {
			p.Values = append(p.Values, unquoteParam(v))
		}
		l.Params = append(l.Params, p)
	}
	return l
}

// cutHead finds the colon that ends name and parameters.
func cutHead(text string) (int, bool) {
	quoted := false
	for i := range len(text) {
		switch text[i] {
		case '"':
			quoted = !quoted
		case ':':
			if !quoted {
				return i, true
			}
		}
	}
	return 0, false
}

func splitQuoted(text string, separator byte) []string {
	var pieces []string
	quoted, from := false, 0
	for i := range len(text) {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == separator && !quoted:
			pieces = append(pieces, text[from:i])
			from = i + 1
		}
	}
	return append(pieces, text[from:])
}

// unquoteParam undoes quotes and the escapes of RFC 6868.
func unquoteParam(v string) string {
	v = strings.Trim(strings.TrimSpace(v), `"`)
	return strings.NewReplacer("^n", "\n", "^^", "^", "^'", `"`).Replace(v)
}

func quoteParam(v string) string {
	v = strings.NewReplacer("^", "^^", "\r\n", "^n", "\n", "^n", `"`, "^'").Replace(v)
	if strings.ContainsAny(v, ",;:") {
		return `"` + v + `"`
	}
	return v
}

// encode writes the line anew, folded at 75 octets between characters.
func (l *Line) encode(eol string) string {
	var b strings.Builder
	if l.Group != "" {
		b.WriteString(l.Group + ".")
	}
	b.WriteString(l.Name)
	for _, p := range l.Params {
		b.WriteByte(';')
		if p.Name != "" {
			b.WriteString(p.Name + "=")
		}
		for i, v := range p.Values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quoteParam(v))
		}
	}
	// A stray line end in a value would begin another property.
	b.WriteString(":" + strings.NewReplacer("\r\n", `\n`, "\n", `\n`, "\r", `\n`).Replace(l.Value))
	return fold(b.String(), eol)
}

func fold(text, eol string) string {
	var b strings.Builder
	room := 75
	for len(text) > room {
		cut := room
		for cut > 1 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		b.WriteString(text[:cut] + eol + " ")
		text, room = text[cut:], 74
	}
	return b.String() + text + eol
}

// EscapeText writes a text value (RFC 5545 §3.3.11, RFC 6350 §3.4).
func EscapeText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r\n", `\n`, "\n", `\n`, "\r", `\n`).Replace(s)
}

// UnescapeText reads a text value; an unknown escape is kept as it stands.
func UnescapeText(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n', 'N':
			b.WriteByte('\n')
		case '\\', ';', ',', ':':
			b.WriteByte(s[i])
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// splitEscaped cuts a structured value (N, ORG, ADR) at separators that are
// not escaped; the pieces stay escaped.
func splitEscaped(s string, separator byte) []string {
	var pieces []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case separator:
			pieces = append(pieces, s[from:i])
			from = i + 1
		}
	}
	return append(pieces, s[from:])
}
