package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// checkJSON looks at a JSON text that a stranger wrote before anybody reads
// meaning into it: one value, in UTF-8, at most most levels deep, and no name
// twice in an object, of which two readers would see two things.
func checkJSON(text []byte, most int) error {
	if !utf8.Valid(text) || !json.Valid(text) {
		return errors.New("is not JSON")
	}
	type level struct {
		names  map[string]bool // of an object; nil for a list
		isName bool
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		t, err := d.Token()
		if err != nil {
			return nil // the end: the text is valid
		}
		top := len(open) - 1
		if delim, ok := t.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:top]
			continue
		}
		if top >= 0 && open[top].names != nil {
			if open[top].isName {
				name, _ := t.(string)
				if open[top].names[name] {
					return errors.New("says " + printable(short(name)) + " twice")
				}
				open[top].names[name], open[top].isName = true, false
				continue
			}
			open[top].isName = true // after this value
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}, isName: true})
		case json.Delim('['):
			open = append(open, level{})
		}
		if len(open) > most {
			return errors.New("is nested too deeply")
		}
	}
}

// short is enough of a name to find it by.
func short(name string) string {
	if len(name) > 40 {
		return name[:40]
	}
	return name
}
