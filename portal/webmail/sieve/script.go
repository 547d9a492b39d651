package sieve

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Name is what Beffroi's script is called on the server.
const Name = "beffroi"

// Set is everything that Beffroi's script says.
type Set struct {
	Rules    []Rule   `json:"rules,omitempty"`
	Absence  Absence  `json:"absence"`
	Includes []string `json:"includes,omitempty"` // scripts of other programs that run after it
}

// Rule does something to the messages that fit.
type Rule struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Off   bool   `json:"off,omitempty"`
	Any   bool   `json:"any,omitempty"` // one of the tests is enough
	Tests []Test `json:"tests"`

	Folder   string `json:"folder,omitempty"` // where it goes, as IMAP knows the mailbox
	Label    string `json:"label,omitempty"`  // keyword
	Read     bool   `json:"read,omitempty"`
	Flag     bool   `json:"flag,omitempty"`
	Redirect string `json:"redirect,omitempty"` // address that gets a copy
	Go       bool   `json:"go,omitempty"`       // the rules after it are tried too
}

// Test is one thing looked for. Field is "from", "to", "subject", "list", "body",
// "size" (Value in MB) or "file" (no Value).
type Test struct {
	Field string `json:"field"`
	Not   bool   `json:"not,omitempty"`
	Value string `json:"value,omitempty"`
}

// Fields are the words for Test.Field, in the order of the choice.
var Fields = []string{"from", "to", "subject", "list", "body", "file", "size"}

// Absence answers for the person. Days are YYYY-MM-DD, "" for none.
type Absence struct {
	On        bool     `json:"on,omitempty"`
	From      string   `json:"from,omitempty"`
	Until     string   `json:"until,omitempty"` // last day away
	Subject   string   `json:"subject,omitempty"`
	Text      string   `json:"text,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // of the person
	Domain    string   `json:"domain,omitempty"`    // only who writes from here is answered
}

const (
	digestMark = "# beffroi-digest: "
	setMark    = "# beffroi-set: "
)

// ErrMissing is an extension that the server lacks, named in the text.
var ErrMissing = errors.New("the sieve server lacks an extension")

// Write makes the script, for a server of these extensions, with days that begin
// at midnight of zone.
func Write(set Set, extensions []string, zone *time.Location) (string, error) {
	w := &writer{has: extensions, zone: zone}
	if set.Absence.On { // before a rule that stops
		w.absence(set.Absence)
	}
	for _, r := range set.Rules {
		if !r.Off {
			w.rule(r)
		}
	}
	for _, name := range set.Includes {
		w.need("include")
		w.line("include :personal :optional " + quoted(name) + ";")
	}
	if w.err != nil {
		return "", w.err
	}
	plain, err := json.Marshal(set)
	if err != nil {
		return "", err
	}
	var body strings.Builder
	body.WriteString("# Filters and absence, written by Beffroi. They are set there; what another\n# program changes here is kept beside before they are written again.\n")
	encoded := base64.StdEncoding.EncodeToString(plain)
	for len(encoded) > 0 {
		n := min(len(encoded), 100)
		body.WriteString(setMark + encoded[:n] + "\n")
		encoded = encoded[n:]
	}
	if len(w.require) > 0 {
		slices.Sort(w.require)
		quotedNames := make([]string, len(w.require))
		for i, r := range w.require {
			quotedNames[i] = quoted(r)
		}
		body.WriteString("require [" + strings.Join(quotedNames, ", ") + "];\n")
	}
	body.WriteString(w.out.String())
	text := strings.ReplaceAll(body.String(), "\n", "\r\n")
	return digestMark + digest(text) + "\r\n" + text, nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// Version names a script as it is now, to see whether it has changed meanwhile.
func Version(text string) string { return digest(text) }

// Read takes the set out of Beffroi's script. changed tells that another program
// has edited it since: then the set is what Beffroi wrote last, if it can be read.
func Read(text string) (set Set, changed bool) {
	if strings.TrimSpace(text) == "" {
		return set, false
	}
	normal := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	first, rest, _ := strings.Cut(normal, "\r\n")
	changed = !strings.HasPrefix(first, digestMark+digest(rest))
	var encoded strings.Builder
	for line := range strings.Lines(normal) {
		piece, ok := strings.CutPrefix(line, setMark)
		if ok {
			encoded.WriteString(strings.TrimSpace(piece))
		} else if encoded.Len() > 0 { // what follows may be anybody's text
			break
		}
	}
	plain, err := base64.StdEncoding.DecodeString(encoded.String())
	if err != nil || json.Unmarshal(plain, &set) != nil {
		return Set{}, true
	}
	return set, changed
}

type writer struct {
	out     strings.Builder
	require []string
	has     []string
	zone    *time.Location
	err     error
}

func (w *writer) line(s string) { w.out.WriteString(s + "\n") }

func (w *writer) need(extension string) {
	if !slices.Contains(w.require, extension) {
		w.require = append(w.require, extension)
	}
	if !slices.Contains(w.has, extension) {
		w.err = errors.Join(w.err, fmt.Errorf("%w: %s", ErrMissing, extension))
	}
}

func (w *writer) rule(r Rule) {
	tests := make([]string, 0, len(r.Tests))
	for _, t := range r.Tests {
		test := w.test(t)
		if t.Not {
			test = "not " + test
		}
		tests = append(tests, test)
	}
	w.line("# " + oneLine(r.Name))
	if len(tests) == 0 {
		tests = []string{"false"}
	}
	all := "allof"
	if r.Any {
		all = "anyof"
	}
	w.line("if " + all + " (" + strings.Join(tests, ",\n    ") + ") {")
	for _, flag := range []struct {
		on   bool
		name string
	}{{r.Read, `\Seen`}, {r.Flag, `\Flagged`}, {r.Label != "", r.Label}} {
		if flag.on {
			w.need("imap4flags")
			w.line("  addflag " + quoted(flag.name) + ";")
		}
	}
	if r.Redirect != "" {
		w.need("copy")
		w.line("  redirect :copy " + quoted(r.Redirect) + ";")
	}
	if r.Folder != "" {
		w.need("fileinto")
		create := ""
		if slices.Contains(w.has, "mailbox") {
			w.need("mailbox")
			create = ":create "
		}
		w.line("  fileinto " + create + quoted(r.Folder) + ";")
	}
	if !r.Go {
		w.line("  stop;")
	}
	w.line("}")
}

func (w *writer) test(t Test) string {
	switch t.Field {
	case "from":
		return `header :contains "from" ` + quoted(t.Value)
	case "to":
		return `header :contains ["to", "cc"] ` + quoted(t.Value)
	case "subject":
		return `header :contains "subject" ` + quoted(t.Value)
	case "list":
		return `header :contains "list-id" ` + quoted(t.Value)
	case "body":
		w.need("body")
		return `body :text :contains ` + quoted(t.Value)
	case "file":
		return `header :contains "content-type" "multipart/mixed"`
	case "size":
		return "size :over " + number(t.Value) + "M"
	}
	w.err = errors.Join(w.err, fmt.Errorf("unknown test %q", t.Field))
	return "false"
}

// number keeps the digits of a whole number.
func number(s string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	if digits == "" || len(digits) > 5 {
		return "99999"
	}
	return digits
}

func (w *writer) absence(a Absence) {
	w.need("vacation")
	var tests []string
	for _, edge := range []struct{ day, compare string }{{a.From, "ge"}, {a.Until, "le"}} {
		day, err := time.ParseInLocation(time.DateOnly, edge.day, w.zone)
		if edge.day == "" {
			continue
		}
		if err != nil {
			w.err = errors.Join(w.err, err)
			continue
		}
		w.need("date")
		w.need("relational")
		tests = append(tests, fmt.Sprintf(`currentdate :zone %s :value %s "date" %s`, quoted(day.Add(12*time.Hour).Format("-0700")), quoted(edge.compare), quoted(day.Format(time.DateOnly))))
	}
	if a.Domain != "" {
		tests = append(tests, `address :domain "from" `+quoted(a.Domain))
	}
	if len(tests) == 0 {
		tests = []string{"true"}
	}
	w.line("# absence")
	w.line("if allof (" + strings.Join(tests, ",\n    ") + ") {")
	command := "  vacation :days 1"
	if a.Subject != "" {
		command += " :subject " + quoted(a.Subject)
	}
	if len(a.Addresses) > 0 {
		list := make([]string, len(a.Addresses))
		for i, one := range a.Addresses {
			list[i] = quoted(one)
		}
		command += " :addresses [" + strings.Join(list, ", ") + "]"
	}
	w.line(command + " " + quoted(a.Text) + ";")
	w.line("}")
}

// quoted writes a string (RFC 5228 §2.4.2): only the quotation mark and the
// backslash have a meaning in it; a NUL can be nowhere.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x00", "", "\r\n", "\n", "\r", "\n").Replace(s) + `"`
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
}
