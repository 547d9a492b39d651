package directory

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Entry is one entry of an LDIF text. Attribute names are in lower case, without
// options; values stand in the order of the text.
type Entry struct {
	DN         string
	Attributes map[string][]string
}

// Values returns the values of an attribute, whatever the case of its name.
func (e Entry) Values(attribute string) []string { return e.Attributes[strings.ToLower(attribute)] }

// What a text may hold, so that a wrong file is refused instead of filling the
// memory.
const (
	maxLDIFLine    = 1 << 20
	maxLDIFEntries = 200_000
)

// ParseLDIF reads the entries of an LDIF text (RFC 2849): content records, or
// changes of type add. Values by address (":<") and other changes are errors, as
// are two entries with the same DN. The error names the line.
func ParseLDIF(r io.Reader) ([]Entry, error) {
	p := ldifParser{seen: make(map[string]bool)}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLDIFLine)
	for lines.Scan() {
		p.line++
		if err := p.read(strings.TrimSuffix(lines.Text(), "\r")); err != nil {
			return nil, fmt.Errorf("ldif line %d: %w", p.line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("ldif line %d: %w", p.line+1, err)
	}
	p.line++
	if err := p.read(""); err != nil {
		return nil, fmt.Errorf("ldif line %d: %w", p.line, err)
	}
	return p.entries, nil
}

type ldifParser struct {
	line    int
	pending string // a logical line that the next physical one may continue
	comment bool   // the pending line is one
	started bool   // pending holds something
	entry   *Entry
	entries []Entry
	seen    map[string]bool
}

// read takes one physical line; an empty one ends the entry.
func (p *ldifParser) read(line string) error {
	if strings.HasPrefix(line, " ") {
		if !p.started {
			return errors.New("continues nothing")
		}
		if len(p.pending)+len(line) > maxLDIFLine {
			return errors.New("is too long")
		}
		if !p.comment {
			p.pending += line[1:]
		}
		return nil
	}
	if err := p.finishLine(); err != nil {
		return err
	}
	if line == "" {
		return p.finishEntry()
	}
	p.pending, p.comment, p.started = line, strings.HasPrefix(line, "#"), true
	return nil
}

// finishLine reads the pending logical line: "name: value" or "name:: base64".
func (p *ldifParser) finishLine() error {
	started := p.started && !p.comment
	line := p.pending
	p.pending, p.comment, p.started = "", false, false
	if !started {
		return nil
	}
	name, value, found := strings.Cut(line, ":")
	if !found {
		return errors.New("has no colon")
	}
	switch {
	case strings.HasPrefix(value, "<"):
		return errors.New("takes its value from an address, which is not done here")
	case strings.HasPrefix(value, ":"):
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value[1:]))
		if err != nil {
			return fmt.Errorf("is not base64: %w", err)
		}
		value = string(decoded)
	default:
		value = strings.TrimLeft(value, " ")
	}
	name, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(name)), ";")
	return p.take(name, value)
}

// take gives one name and value to the entry they belong to.
func (p *ldifParser) take(name, value string) error {
	switch {
	case name == "":
		return errors.New("has no name before the colon")
	case name == "version" && p.entry == nil && len(p.entries) == 0:
		if value != "1" {
			return fmt.Errorf("version %q is not 1", value)
		}
	case name == "dn":
		if p.entry != nil {
			return errors.New("begins an entry within another")
		}
		// blanks alone would be read as the empty DN, the root
		if normal, err := normalDN(value); err != nil || normal == "" && value != "" || !utf8.ValidString(value) {
			return fmt.Errorf("%q is not a DN", value)
		}
		p.entry = &Entry{DN: value, Attributes: make(map[string][]string)}
	case p.entry == nil:
		return fmt.Errorf("%s stands before any dn", name)
	case name == "changetype":
		if value != "add" {
			return fmt.Errorf("changetype %q is not add", value)
		}
	default:
		p.entry.Attributes[name] = append(p.entry.Attributes[name], value)
	}
	return nil
}

func (p *ldifParser) finishEntry() error {
	if p.entry == nil {
		return nil
	}
	entry := *p.entry
	p.entry = nil
	key, err := normalDN(entry.DN)
	if err != nil {
		return err
	}
	if p.seen[key] {
		return fmt.Errorf("%s stands twice", entry.DN)
	}
	if len(p.entries) == maxLDIFEntries {
		return fmt.Errorf("more than %d entries", maxLDIFEntries)
	}
	p.seen[key] = true
	p.entries = append(p.entries, entry)
	return nil
}
