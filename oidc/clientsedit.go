package oidc

import (
	"encoding/json"
	"sort"
	"strings"
)

// changedFields names the fields in which two registrations differ, as the
// database has them, for the audit trail.
func changedFields(before, after Client) string {
	a, b := fieldsOf(before), fieldsOf(after)
	var names []string
	for name := range a {
		if string(a[name]) != string(b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, has := a[name]; !has {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func fieldsOf(c Client) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if document, err := json.Marshal(c); err == nil {
		_ = json.Unmarshal(document, &fields)
	}
	return fields
}
