package directory

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// values gives the values of an attribute of one entry. Names are compared
// without regard to case: servers answer "uid" to "UID".
type values func(attribute string) []string

// first is the first value that shows something.
func (v values) first(attribute string) string {
	if attribute == "" {
		return ""
	}
	for _, value := range v(attribute) {
		if value = strings.TrimSpace(value); value != "" {
			return value
		}
	}
	return ""
}

// all is every value of an attribute; none for an attribute without a name.
func (v values) all(attribute string) []string {
	if attribute == "" {
		return nil
	}
	return v(attribute)
}

// person reads an entry. Groups are left out: they may need a search of their
// own. An entry without an identifier gives a Person with an empty ID.
func (a Attributes) person(dn string, v values, now time.Time) Person {
	p := Person{
		ID:             canonicalID(a.ID, v.first(a.ID)),
		DN:             dn,
		Login:          a.login(dn, v),
		DisplayName:    v.first(a.DisplayName),
		GivenName:      v.first(a.GivenName),
		FamilyName:     v.first(a.FamilyName),
		Mail:           mailOf(v.first(a.Mail)),
		Language:       v.first(a.Language),
		UAI:            uaiCodes(v.all(a.UAI)),
		UAIResponsible: uaiCodes(v.all(a.UAIResponsible)),
		Function:       v.first(a.Function),
		Kind:           v.first(a.Kind),
		Title:          v.first(a.Title),
		Phone:          v.first(a.Phone),
		EmployeeNumber: v.first(a.EmployeeNumber),
		Disabled:       a.closed(v, now),
	}
	if strings.EqualFold(a.ID, "objectGUID") { // binary: not to be trimmed
		if raw := v.all(a.ID); len(raw) == 1 {
			p.ID = canonicalID(a.ID, raw[0])
		}
	}
	if p.DisplayName == "" {
		p.DisplayName = firstOf(v.first(a.CommonName), strings.TrimSpace(p.GivenName+" "+p.FamilyName), p.Login)
	}
	p.MailAliases = aliasesOf(append(slices.Clone(v.all(a.MailAliases)), v.all(a.Mail)...), p.Mail)
	return p
}

// login picks one of several logins always in the same way, so that the person
// keeps one name whichever they typed: the one in the DN, else the first in
// alphabetical order.
func (a Attributes) login(dn string, v values) string {
	logins := v.all(a.Login)
	if len(logins) == 0 {
		return ""
	}
	if len(logins) > 1 {
		attribute, value := rdn(dn)
		if strings.EqualFold(attribute, a.Login) {
			for _, login := range logins {
				if strings.EqualFold(login, value) {
					return login
				}
			}
		}
	}
	return slices.Min(logins)
}

// has says whether one of the entry's logins is what was typed: a last look at
// what the server found, in case it was asked something else than we meant.
func (a Attributes) has(v values, typed string) bool {
	typed = CanonicalLogin(typed)
	return slices.ContainsFunc(v.all(a.Login), func(login string) bool { return CanonicalLogin(login) == typed })
}

// canonicalID writes an identifier in its one form: lower case, and an
// objectGUID, 16 bytes of which the first three groups are little-endian
// (MS-DTYP §2.3.4.2), as the text that Windows shows.
func canonicalID(attribute, value string) string {
	if !strings.EqualFold(attribute, "objectGUID") || len(value) != 16 {
		return strings.ToLower(value)
	}
	b := []byte(value)
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return hex.EncodeToString(b[:4]) + "-" + hex.EncodeToString(b[4:6]) + "-" + hex.EncodeToString(b[6:8]) + "-" +
		hex.EncodeToString(b[8:10]) + "-" + hex.EncodeToString(b[10:])
}

// storedID is the inverse of canonicalID: the value that the directory holds.
// ok is false when no entry could have that identifier.
func storedID(attribute, id string) (value string, ok bool) {
	if !strings.EqualFold(attribute, "objectGUID") {
		return id, id != "" && len(id) <= maxLogin && !strings.ContainsFunc(id, ignorable)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(b) != 16 || len(id) != 36 {
		return "", false
	}
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return string(b), true
}

// uaiPattern is a school's code: seven digits and a check letter.
var uaiPattern = regexp.MustCompile(`^[0-9]{7}[A-Z]$`)

// uaiCodes reads the school codes among the values, sorted. They come bare
// ("0590002B"), labelled as SupAnn does ("{UAI}0590002B"), or first in a list of
// properties as the ministry's directory does ("0590002B$UAJ$PU$N$T3$CLG$340").
// Anything else, such as "X" for none, is not a code.
func uaiCodes(values []string) []string {
	var codes []string
	for _, value := range values {
		value, _, _ = strings.Cut(strings.TrimSpace(value), "$")
		code := strings.ToUpper(value)
		code = strings.TrimPrefix(code, "{UAI}")
		if uaiPattern.MatchString(code) {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// mailOf drops what cannot be an address.
func mailOf(value string) string {
	value = strings.TrimSpace(value)
	if len(value) > 254 || strings.Count(value, "@") != 1 || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return ""
	}
	return value
}

// aliasesOf lists the addresses beside the main one, sorted. Active Directory
// writes "smtp:alias@…", "SMTP:main@…" and, for other systems, "x500:…".
func aliasesOf(values []string, main string) []string {
	var aliases []string
	for _, value := range values {
		if scheme, rest, found := strings.Cut(value, ":"); found {
			if !strings.EqualFold(scheme, "smtp") {
				continue
			}
			value = rest
		}
		value = mailOf(value)
		if value != "" && !strings.EqualFold(value, main) {
			aliases = append(aliases, value)
		}
	}
	slices.Sort(aliases)
	return slices.Compact(aliases)
}

// closed says whether an attribute closes the account for good.
func (a Attributes) closed(v values, now time.Time) bool {
	for _, attribute := range a.Disabled {
		for _, value := range v.all(attribute) {
			if closes(strings.ToLower(attribute), strings.TrimSpace(value), now) {
				return true
			}
		}
	}
	return false
}

// windowsEpoch is 1601-01-01 in seconds before 1970 (MS-DTYP §2.3.3).
const windowsEpoch = 11644473600

// closes reads one value of an attribute that can close an account.
func closes(attribute, value string, now time.Time) bool {
	switch attribute {
	case "useraccountcontrol": // ADS_UF_ACCOUNTDISABLE
		flags, err := strconv.ParseInt(value, 10, 64)
		return err == nil && flags&2 != 0
	case "accountexpires": // 100 ns since 1601; 0 and the greatest number mean never
		ticks, err := strconv.ParseInt(value, 10, 64)
		return err == nil && ticks != 0 && ticks != 1<<63-1 && ticks/1e7-windowsEpoch <= now.Unix()
	case "shadowexpire": // days since 1970; negative means never
		days, err := strconv.ParseInt(value, 10, 32)
		return err == nil && days >= 0 && days*86400 <= now.Unix()
	case "pwdaccountlockedtime": // draft-behera §5.3.3: this time means until an administrator acts
		return strings.HasPrefix(value, "000001010000")
	case "supannressourceetat": // SupAnn 2020: I inactive, S suspended
		state := strings.ToUpper(value)
		return strings.HasPrefix(state, "{COMPTE}I") || strings.HasPrefix(state, "{COMPTE}S")
	}
	switch strings.ToLower(value) {
	case "true", "yes", "1", "inactive":
		return true
	}
	return false
}

// firstOf is the first string that is not empty.
func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
