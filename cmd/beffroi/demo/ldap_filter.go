package demo

import (
	"errors"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"

	"beffroi/directory"
)

// ldapFilter is a condition on an entry (RFC 4511 §4.5.1.7).
type ldapFilter struct {
	kind      int
	parts     []ldapFilter // of and, or, not
	attribute string       // in lower case
	value     string       // as compared
	// of substrings, as compared
	initial string
	any     []string
	final   string
}

// The kinds of filters, by their tag. An undefined one matches nothing, and nor
// does its contrary.
const (
	filterAnd = iota
	filterOr
	filterNot
	filterEqual
	filterSubstrings
	filterGreater
	filterLess
	filterPresent
	filterApprox
	filterExtensible
)

const ldapMaxConditions = 500

var errFilter = errors.New("the filter is malformed or too large")

// parseLDAPQuery takes a search request apart.
func parseLDAPQuery(op *ber.Packet) (*ldapQuery, error) {
	if len(op.Children) != 8 {
		return nil, errMalformed
	}
	q := &ldapQuery{}
	base := text(op.Children[0])
	q.base = directory.NormalDN(base)
	if base != "" && q.base == "" {
		return nil, errors.New("the base is not a DN")
	}
	var ok [3]bool
	q.scope, ok[0] = op.Children[1].Value.(int64)
	q.limit, ok[1] = op.Children[3].Value.(int64)
	q.typesOnly, ok[2] = op.Children[5].Value.(bool)
	if ok != [3]bool{true, true, true} || q.scope < scopeBase || q.scope > scopeSubtree || q.limit < 0 {
		return nil, errMalformed
	}
	conditions := ldapMaxConditions
	var err error
	if q.filter, err = parseLDAPFilter(op.Children[6], &conditions); err != nil {
		return nil, err
	}
	for _, child := range op.Children[7].Children {
		q.attributes = append(q.attributes, attributeKey(text(child)))
	}
	return q, nil
}

// attributeKey is an attribute's name as entries have it: without options.
func attributeKey(name string) string {
	name, _, _ = strings.Cut(strings.ToLower(name), ";")
	return name
}

// parseLDAPFilter reads a filter; left counts down the conditions that may still
// come. The depth was bounded when the message was read.
func parseLDAPFilter(p *ber.Packet, left *int) (ldapFilter, error) {
	f := ldapFilter{kind: int(p.Tag)}
	if *left--; *left < 0 || p.ClassType != ber.ClassContext {
		return f, errFilter
	}
	switch f.kind {
	case filterAnd, filterOr, filterNot:
		for _, child := range p.Children {
			part, err := parseLDAPFilter(child, left)
			if err != nil {
				return f, err
			}
			f.parts = append(f.parts, part)
		}
		if f.kind == filterNot && len(f.parts) != 1 {
			return f, errFilter
		}
	case filterEqual, filterGreater, filterLess, filterApprox:
		if len(p.Children) != 2 {
			return f, errFilter
		}
		f.attribute = attributeKey(text(p.Children[0]))
		f.value = foldValue(f.attribute, text(p.Children[1]))
	case filterSubstrings:
		return f, f.substrings(p)
	case filterPresent:
		f.attribute = attributeKey(text(p))
	case filterExtensible: // no rule of matching is known here
	default:
		return f, errFilter
	}
	return f, nil
}

// substrings reads the parts of a substring filter, in their order.
func (f *ldapFilter) substrings(p *ber.Packet) error {
	if len(p.Children) != 2 || len(p.Children[1].Children) == 0 {
		return errFilter
	}
	f.attribute = attributeKey(text(p.Children[0]))
	parts := p.Children[1].Children
	for i, part := range parts {
		value := directory.FoldValue(text(part))
		switch {
		case part.Tag == 0 && i == 0:
			f.initial = value
		case part.Tag == 1:
			f.any = append(f.any, value)
		case part.Tag == 2 && i == len(parts)-1:
			f.final = value
		default:
			return errFilter
		}
	}
	return nil
}

// matches says whether the filter is true of an entry.
func (f ldapFilter) matches(e *ldapEntry) bool {
	if f.attribute == "userpassword" { // not to be guessed letter by letter
		return false
	}
	switch f.kind {
	case filterAnd:
		return !slices.ContainsFunc(f.parts, func(part ldapFilter) bool { return !part.matches(e) })
	case filterOr:
		return slices.ContainsFunc(f.parts, func(part ldapFilter) bool { return part.matches(e) })
	case filterNot:
		return f.parts[0].defined() && !f.parts[0].matches(e)
	case filterPresent:
		return len(e.folded[f.attribute]) > 0
	}
	return slices.ContainsFunc(e.folded[f.attribute], f.holds)
}

// defined says whether the filter has a truth at all: "not" of what has none has
// none either (RFC 4511 §4.5.1.7).
func (f ldapFilter) defined() bool {
	if f.kind == filterExtensible || f.attribute == "userpassword" {
		return false
	}
	return !slices.ContainsFunc(f.parts, func(part ldapFilter) bool { return !part.defined() })
}

// holds says whether one value satisfies the condition.
func (f ldapFilter) holds(value string) bool {
	switch f.kind {
	case filterEqual, filterApprox:
		return value == f.value
	case filterGreater:
		return value >= f.value
	case filterLess:
		return value <= f.value
	case filterSubstrings:
		rest, ok := strings.CutPrefix(value, f.initial)
		if !ok {
			return false
		}
		for _, part := range f.any {
			if _, rest, ok = strings.Cut(rest, part); !ok {
				return false
			}
		}
		return strings.HasSuffix(rest, f.final)
	}
	return false
}
