// Package i18n holds the sentences of the pages, French first, and how each
// language writes numbers and dates. Sentences live in fr/FOLDER.json and
// en/FOLDER.json, one pair for each folder that owns pages; a value is a string
// or {"one": …, "other": …} chosen by the argument n; {name} is replaced.
package i18n

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Lang is a language of the interface.
type Lang string

const (
	French  Lang = "fr"
	English Lang = "en"
)

// Langs lists the languages, the default first.
var Langs = []Lang{French, English}

//go:embed fr/*.json en/*.json
var files embed.FS

// sentence is a message in its plural forms; "other" is always there.
type sentence map[plural.Form]string

type catalogue map[string]sentence

var load = sync.OnceValues(func() (map[Lang]catalogue, error) {
	all := map[Lang]catalogue{}
	for _, l := range Langs {
		c, err := readCatalogue(files, string(l))
		if err != nil {
			return nil, err
		}
		all[l] = c
	}
	return all, nil
})

// Load reads the sentences; the error names the file that is wrong. T works
// without it, but a program that starts says so first.
func Load() error {
	_, err := load()
	return err
}

func readCatalogue(files fs.FS, dir string) (catalogue, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	c := catalogue{}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		var values map[string]json.RawMessage
		if err := json.Unmarshal(raw, &values); err != nil {
			return nil, fmt.Errorf("sentences %s: %w", name, err)
		}
		for key, value := range values {
			if c[key] != nil {
				return nil, fmt.Errorf("sentences %s: %s stands in another file too", name, key)
			}
			s, err := readSentence(value)
			if err != nil {
				return nil, fmt.Errorf("sentences %s: %s: %w", name, key, err)
			}
			c[key] = s
		}
	}
	return c, nil
}

func readSentence(raw json.RawMessage) (sentence, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return sentence{plural.Other: one}, nil
	}
	var forms map[string]string
	if err := json.Unmarshal(raw, &forms); err != nil {
		return nil, fmt.Errorf("must be a string or plural forms: %w", err)
	}
	names := map[string]plural.Form{"one": plural.One, "many": plural.Many, "other": plural.Other}
	s := sentence{}
	for name, text := range forms {
		form, ok := names[name]
		if !ok {
			return nil, fmt.Errorf("unknown plural form %q", name)
		}
		s[form] = text
	}
	if s[plural.Other] == "" {
		return nil, fmt.Errorf("the form \"other\" is missing")
	}
	return s, nil
}

// T returns the sentence of key. args are pairs of name and value; a number
// under "n" chooses the plural form. An unknown key is returned as it is.
func T(l Lang, key string, args ...any) string {
	all, err := load()
	if err != nil {
		return key
	}
	s, ok := all[l][key]
	if !ok {
		return key
	}
	text := s[plural.Other]
	if len(args) == 0 {
		return text
	}
	pairs := make([]string, 0, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		name := fmt.Sprint(args[i])
		if n, ok := number(args[i+1]); ok && name == "n" {
			if form, ok := s[plural.Cardinal.MatchPlural(l.tag(), n, 0, 0, 0, 0)]; ok {
				text = form
			}
		}
		pairs = append(pairs, "{"+name+"}", l.format(args[i+1]))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (l Lang) tag() language.Tag {
	if l == English {
		return language.BritishEnglish
	}
	return language.French
}

var printers = map[Lang]*message.Printer{French: message.NewPrinter(language.French), English: message.NewPrinter(language.BritishEnglish)}

func (l Lang) format(v any) string {
	if n, ok := number(v); ok {
		if p := printers[l]; p != nil {
			return p.Sprint(n)
		}
	}
	return fmt.Sprint(v)
}

func number(v any) (int, bool) {
	switch n := v.(type) {
	case int:
		return n, true
	case int64:
		return int(n), true
	case uint32:
		return int(n), true
	}
	return 0, false
}

var matcher = language.NewMatcher([]language.Tag{language.French, language.English})

// Match chooses the language for an Accept-Language header or a directory's
// preferredLanguage; French when neither language is asked for.
func Match(accept string) Lang {
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(tags) == 0 {
		return French
	}
	_, i, confidence := matcher.Match(tags...)
	if confidence == language.No {
		return French
	}
	return Langs[i]
}

// Valid tells whether s names a language of the interface.
func Valid(s string) (Lang, bool) {
	for _, l := range Langs {
		if string(l) == s {
			return l, true
		}
	}
	return "", false
}
