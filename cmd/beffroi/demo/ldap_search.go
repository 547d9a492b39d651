package demo

import (
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"

	"beffroi/directory"
)

// ldapTree is the entries, ready to be searched.
type ldapTree struct {
	entries []*ldapEntry
	byDN    map[string]*ldapEntry
}

// ldapEntry is an entry with its values as they are compared.
type ldapEntry struct {
	entry  directory.Entry
	key    string // the DN as compared
	folded map[string][]string
}

// Attributes whose values are DNs, and those that are only sent when asked for
// by name or with "+" (RFC 3673).
var (
	dnAttributes          = []string{"member", "memberof", "owner", "manager", "seealso"}
	operationalAttributes = []string{"entryuuid", "memberof", "structuralobjectclass"}
)

func newLDAPTree(entries []directory.Entry) *ldapTree {
	t := &ldapTree{byDN: make(map[string]*ldapEntry, len(entries))}
	for _, entry := range entries {
		if len(entry.Values("entryUUID")) == 0 {
			entry.Attributes["entryuuid"] = []string{directory.EntryUUID(entry.DN)}
		}
		e := &ldapEntry{entry: entry, key: directory.NormalDN(entry.DN), folded: make(map[string][]string)}
		for name, values := range entry.Attributes {
			for _, value := range values {
				e.folded[name] = append(e.folded[name], foldValue(name, value))
			}
		}
		t.entries = append(t.entries, e)
		t.byDN[e.key] = e
	}
	return t
}

// foldValue writes a value so that equal ones are written alike: attributes of
// the sample compare without regard to case, composition and repeated spaces.
func foldValue(attribute, value string) string {
	if slices.Contains(dnAttributes, attribute) {
		if normal := directory.NormalDN(value); normal != "" {
			return normal
		}
	}
	return directory.FoldValue(value)
}

// Scopes (RFC 4511 §4.5.1.2).
const (
	scopeBase = iota
	scopeOne
	scopeSubtree
)

// ldapQuery is a search request taken apart.
type ldapQuery struct {
	base       string // as compared
	scope      int64
	limit      int64
	typesOnly  bool
	filter     ldapFilter
	attributes []string // in lower case
}

// search answers a search (RFC 4511 §4.5). Only the service account sees
// anything but the root; people see themselves.
func (c *ldapClient) search(m *ldapMessage) bool {
	q, err := parseLDAPQuery(m.op)
	if err != nil {
		c.done(m.id, opSearchDone, resultProtocolError, err.Error())
		return true
	}
	var controls []*ber.Packet
	if slices.ContainsFunc(m.controls, func(control ldapControl) bool { return control.oid == oidPaging }) {
		controls = append(controls, pagingDone())
	}
	if q.base == "" && q.scope == scopeBase {
		if q.filter.matches(rootDSE) {
			c.send(m.id, rootDSE.answer(q))
		}
		c.done(m.id, opSearchDone, resultOK, "")
		return true
	}
	if c.bound == "" {
		c.done(m.id, opSearchDone, resultInsufficientRights, "bind first")
		return true
	}
	if c.tree.byDN[q.base] == nil {
		c.done(m.id, opSearchDone, resultNoSuchObject, "")
		return true
	}
	code, found := resultOK, int64(0)
	for _, e := range c.tree.entries {
		if !within(e.key, q.base, q.scope) || c.bound != serviceAccount && c.bound != e.entry.DN || !q.filter.matches(e) {
			continue
		}
		if found++; q.limit > 0 && found > q.limit {
			code = resultSizeLimit
			break
		}
		c.send(m.id, e.answer(q))
	}
	c.done(m.id, opSearchDone, code, "", controls...)
	return true
}

// within says whether a DN is in the scope of a base, both as compared.
func within(key, base string, scope int64) bool {
	if scope == scopeBase {
		return key == base
	}
	if key == base {
		return scope == scopeSubtree
	}
	for levels := 1; ; levels++ {
		var ok bool
		if key, ok = parentDN(key); !ok {
			return false
		}
		if key == base {
			return scope == scopeSubtree || levels == 1
		}
	}
}

// parentDN is the DN above another, as compared. ok is false at the top.
func parentDN(key string) (parent string, ok bool) {
	for i := 0; i < len(key); i++ {
		switch key[i] {
		case '\\':
			i++
		case ',':
			return key[i+1:], true
		}
	}
	return "", false
}

// answer is the entry as the query wants to see it. Nobody sees a password.
func (e *ldapEntry) answer(q *ldapQuery) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, opEntry, nil, "")
	p.AppendChild(octets(e.entry.DN))
	list := ber.NewSequence("")
	for _, name := range sortedNames(e.entry.Attributes) {
		if !q.wants(name) {
			continue
		}
		attribute, values := ber.NewSequence(""), ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		if !q.typesOnly {
			for _, value := range e.entry.Attributes[name] {
				values.AppendChild(octets(value))
			}
		}
		attribute.AppendChild(octets(spelling(name)))
		attribute.AppendChild(values)
		list.AppendChild(attribute)
	}
	p.AppendChild(list)
	return p
}

// wants says whether an attribute, in lower case, was asked for.
func (q *ldapQuery) wants(name string) bool {
	if name == "userpassword" {
		return false
	}
	if slices.Contains(q.attributes, name) {
		return true
	}
	if slices.Contains(operationalAttributes, name) {
		return slices.Contains(q.attributes, "+")
	}
	return len(q.attributes) == 0 || slices.Contains(q.attributes, "*")
}

func sortedNames(attributes map[string][]string) []string {
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// spelling is how servers write an attribute's name.
func spelling(name string) string {
	for _, usual := range []string{"objectClass", "givenName", "displayName", "mailAlternateAddress", "preferredLanguage", "frEduRne", "frEduRneResp",
		"frEduFonctAdm", "employeeType", "employeeNumber", "telephoneNumber", "memberOf", "entryUUID", "namingContexts", "supportedLDAPVersion", "supportedControl",
		"supportedExtension", "vendorName"} {
		if strings.EqualFold(usual, name) {
			return usual
		}
	}
	return name
}

// rootDSE says what the server can do (RFC 4512 §5.1).
var rootDSE = newLDAPTree([]directory.Entry{{DN: "", Attributes: map[string][]string{
	"objectclass": {"top"}, "namingcontexts": {BaseDN}, "supportedldapversion": {"3"}, "supportedcontrol": {oidPaging, oidPasswordPolicy},
	"supportedextension": {oidWhoAmI}, "vendorname": {"Beffroi, annuaire de démonstration"},
}}}).entries[0]

// pagingDone says that there is no further page (RFC 2696 §3): everything fits
// into one.
func pagingDone() *ber.Packet {
	value := ber.NewSequence("")
	value.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 0, ""))
	value.AppendChild(octets(""))
	control := ber.NewSequence("")
	control.AppendChild(octets(oidPaging))
	control.AppendChild(octets(string(value.Bytes())))
	return control
}
