package directory

import (
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// rdn is the first attribute and value of a DN, unescaped: "uid", "mdupont". Both
// are empty when dn is not a DN.
func rdn(dn string) (attribute, value string) {
	first := dn
	for i := 0; i < len(dn); i++ {
		if dn[i] == '\\' {
			i++
			continue
		}
		if dn[i] == ',' || dn[i] == ';' {
			first = dn[:i]
			break
		}
	}
	attribute, value, found := strings.Cut(first, "=")
	if !found {
		return "", ""
	}
	if !strings.ContainsAny(value, `\+"#`) {
		return strings.TrimSpace(attribute), strings.TrimSpace(value)
	}
	parsed, err := ldap.ParseDN(first)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
		return "", ""
	}
	return parsed.RDNs[0].Attributes[0].Type, parsed.RDNs[0].Attributes[0].Value
}

// under says whether dn lies below base. Both are read as DNs: a value that
// holds the base as escaped text is not below it.
func under(dn, base string) bool {
	if base == "" {
		return true
	}
	d, err := ldap.ParseDN(dn)
	if err != nil {
		return false
	}
	b, err := ldap.ParseDN(base)
	if err != nil {
		return false
	}
	return b.AncestorOfFold(d)
}

// sameDN compares two DNs as a directory does.
func sameDN(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	x, y := NormalDN(a), NormalDN(b)
	return x != "" && x == y
}

// normalDN writes a DN so that equal ones are written alike: types and values
// folded as a directory compares them, no needless spaces.
func normalDN(dn string) (string, error) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, part := range parsed.RDNs {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, a := range part.Attributes {
			if j > 0 {
				b.WriteByte('+')
			}
			b.WriteString(strings.ToLower(a.Type) + "=" + ldap.EscapeDN(fold(a.Value, false)))
		}
	}
	return b.String(), nil
}

// NormalDN is the one writing of a DN, for comparing; "" when dn is not one.
func NormalDN(dn string) string {
	normal, err := normalDN(dn)
	if err != nil {
		return ""
	}
	return normal
}
