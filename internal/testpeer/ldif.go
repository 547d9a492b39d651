package testpeer

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// record is one entry or change of an LDIF text (RFC 2849, as much of it as tests write).
type record struct {
	dn         string
	deletes    bool
	attributes []attribute
}

type attribute struct {
	change, name string // change: "" in an entry, else add, delete or replace
	values       []string
}

func parseLDIF(text string) ([]record, error) {
	var records []record
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n ", "") // unfold
	for _, block := range strings.Split(text, "\n\n") {
		var r record
		change := false
		for _, line := range strings.Split(block, "\n") {
			line = strings.TrimLeft(line, "\t")
			if line == "" || line[0] == '#' {
				continue
			}
			if line == "-" {
				continue
			}
			name, value, err := ldifPair(line)
			if err != nil {
				return nil, err
			}
			switch {
			case name == "dn":
				r.dn = value
			case name == "changetype":
				change, r.deletes = value == "modify", value == "delete"
			case change && (name == "add" || name == "delete" || name == "replace"):
				r.attributes = append(r.attributes, attribute{change: name, name: value})
			default:
				r.put(name, value)
			}
		}
		if r.dn != "" {
			records = append(records, r)
		}
	}
	return records, nil
}

// put adds a value to the attribute being read.
func (r *record) put(name, value string) {
	if n := len(r.attributes); n > 0 && strings.EqualFold(r.attributes[n-1].name, name) {
		r.attributes[n-1].values = append(r.attributes[n-1].values, value)
		return
	}
	r.attributes = append(r.attributes, attribute{name: name, values: []string{value}})
}

func ldifPair(line string) (name, value string, err error) {
	name, value, found := strings.Cut(line, ":")
	if !found {
		return "", "", fmt.Errorf("LDIF: no colon in %q", line)
	}
	if encoded, ok := strings.CutPrefix(value, ":"); ok {
		plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		return name, string(plain), err
	}
	return name, strings.TrimSpace(value), nil
}
