package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mistake is one thing wrong in the configuration file.
type Mistake struct {
	Line    int // 0 when the key is missing
	Key     string
	Problem string
}

// ConfigError is every mistake of a file.
type ConfigError struct {
	Path     string
	Mistakes []Mistake
}

func (e *ConfigError) Error() string {
	sort.SliceStable(e.Mistakes, func(i, j int) bool { return e.Mistakes[i].Line < e.Mistakes[j].Line })
	var b strings.Builder
	n := "mistakes"
	if len(e.Mistakes) == 1 {
		n = "mistake"
	}
	fmt.Fprintf(&b, "%s: %d %s, nothing was started", e.Path, len(e.Mistakes), n)
	for _, m := range e.Mistakes {
		b.WriteString("\n  ")
		if m.Line > 0 {
			fmt.Fprintf(&b, "line %d: ", m.Line)
		}
		if m.Key != "" {
			b.WriteString(m.Key + ": ")
		}
		b.WriteString(m.Problem)
	}
	return b.String()
}

// lines maps the path of each key ("portal.mail.imap", "applications[0].id")
// to its line.
type lines map[string]int

// of returns the line of a key, or of the nearest section around it.
func (l lines) of(key string) int {
	for key != "" {
		if n, ok := l[key]; ok {
			return n
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			break
		}
		key = key[:i]
	}
	return 0
}

func (l lines) read(prefix string, n *yaml.Node) {
	switch n.Kind {
	case yaml.DocumentNode:
		for _, c := range n.Content {
			l.read(prefix, c)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := strings.TrimPrefix(prefix+"."+n.Content[i].Value, ".")
			l[key] = n.Content[i].Line
			l.read(key, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			key := fmt.Sprintf("%s[%d]", prefix, i)
			l[key] = c.Line
			l.read(key, c)
		}
	}
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// parseConfig reads the text strictly. The Config is never nil, so that the
// values that could be read are checked too.
func parseConfig(text []byte) (*Config, []Mistake) {
	c := &Config{lines: lines{}}
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return c, yamlMistakes(err)
	}
	c.lines.read("", &tree)
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var mistakes []Mistake
	if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		mistakes = yamlMistakes(err)
	}
	if err := decoder.Decode(&yaml.Node{}); err == nil {
		mistakes = append(mistakes, Mistake{Problem: "holds a second document after ---, which nobody would read"})
	}
	return c, mistakes
}

var unknownField = regexp.MustCompile(`^field (\S+) not found in type .*$`)

func yamlMistakes(err error) []Mistake {
	texts := []string{err.Error()}
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		texts = typed.Errors
	}
	var all []Mistake
	for _, text := range texts {
		m := Mistake{Problem: text}
		if parts := yamlLine.FindStringSubmatch(text); parts != nil {
			m.Line, _ = strconv.Atoi(parts[1])
			m.Problem = parts[2]
		}
		if parts := unknownField.FindStringSubmatch(m.Problem); parts != nil {
			m.Key, m.Problem = parts[1], "is not a key of this place"
		}
		all = append(all, m)
	}
	return all
}
