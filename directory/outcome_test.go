package directory

import (
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// adRefusal is how Active Directory words a refused bind.
func adRefusal(code string) string {
	return "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data " + code + ", v3839"
}

func TestWhatABindMeans(t *testing.T) {
	none := policy{err: policyNone, expire: -1, grace: -1}
	said := func(err int) policy { return policy{err: err, expire: -1, grace: -1} }
	const ok, refused = ldap.LDAPResultSuccess, ldap.LDAPResultInvalidCredentials
	for _, test := range []struct {
		name    string
		code    uint16
		message string
		policy  policy
		want    Result
		proven  bool
		letsIn  bool
	}{
		{"right", ok, "", none, OK, true, true},
		{"right, to be changed", ok, "", said(policyMustChange), MustChange, true, false},
		{"right, expired, sign-ins left", ok, "", policy{policyNone, -1, 2}, GraceLeft, true, true},
		{"right, expired, last sign-in", ok, "", policy{policyNone, -1, 0}, GraceLeft, true, true},
		{"right, soon to expire", ok, "", policy{policyNone, 3600, -1}, OK, true, true},
		{"right, but expired all the same", ok, "", said(policyExpired), Expired, true, false},
		{"right, but locked all the same", ok, "", said(policyLocked), Locked, true, false},
		{"wrong", refused, "", none, Wrong, false, false},
		{"locked", refused, "", said(policyLocked), Locked, false, false},
		{"expired", refused, "", said(policyExpired), Expired, true, false},
		{"must change, refused", refused, "", said(policyMustChange), MustChange, true, false},
		{"policy error unknown to us", refused, "", said(8), Wrong, false, false},
		{"389 DS, too many", ldap.LDAPResultConstraintViolation, "Exceed password retry limit. Please try later.", none, Locked, false, false},
		{"389 DS, closed", ldap.LDAPResultUnwillingToPerform, "Account inactivated. Contact system administrator.", none, Disabled, false, false},
		{"unwilling", ldap.LDAPResultUnwillingToPerform, "unauthenticated bind disallowed", none, Wrong, false, false},
		{"no such entry", ldap.LDAPResultNoSuchObject, "", none, Wrong, false, false},
		{"no password on the entry", ldap.LDAPResultInappropriateAuthentication, "", none, Wrong, false, false},
		{"not a DN", ldap.LDAPResultInvalidDNSyntax, "", none, Wrong, false, false},
		{"AD 525", refused, adRefusal("525"), none, Unknown, false, false},
		{"AD 52e", refused, adRefusal("52e"), none, Wrong, false, false},
		{"AD 52E", refused, adRefusal("52E"), none, Wrong, false, false},
		{"AD 530", refused, adRefusal("530"), none, NotNow, true, false},
		{"AD 531", refused, adRefusal("531"), none, NotNow, true, false},
		{"AD 532", refused, adRefusal("532"), none, Expired, true, false},
		{"AD 533", refused, adRefusal("533"), none, Disabled, true, false},
		{"AD 701", refused, adRefusal("701"), none, Disabled, true, false},
		{"AD 773", refused, adRefusal("773"), none, MustChange, true, false},
		{"AD 775", refused, adRefusal("775"), none, Locked, false, false},
		{"AD, a code to come", refused, adRefusal("999"), none, Wrong, false, false},
		{"words like AD's", refused, "data 532", none, Wrong, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, answered := outcomeOf(test.code, test.message, test.policy)
			if !answered || o.Result != test.want || o.Proven != test.proven || o.OK() != test.letsIn {
				t.Errorf("%+v (%s), lets in: %v", o, o.Result, o.OK())
			}
		})
	}
	for _, code := range []uint16{ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired, ldap.LDAPResultReferral,
		ldap.LDAPResultProtocolError, ldap.LDAPResultOther, ldap.LDAPResultAuthMethodNotSupported} {
		if o, answered := outcomeOf(code, "", none); answered || o.OK() {
			t.Errorf("code %d says something of the password: %+v", code, o)
		}
	}
	if (Outcome{}).OK() {
		t.Error("an empty outcome lets in")
	}
}

func TestEveryResultHasAWordForTheAudit(t *testing.T) {
	seen := map[string]bool{}
	for r := Wrong; r <= NotNow; r++ {
		if seen[r.String()] {
			t.Errorf("%s stands for two", r)
		}
		seen[r.String()] = true
	}
	if Result(99).String() != "wrong" || Result(-1).String() != "wrong" {
		t.Error("a result that is none has a name")
	}
}

func TestWhatClosesAnAccount(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		attribute, value string
		closed           bool
	}{
		{"userAccountControl", "512", false}, {"userAccountControl", "514", true}, {"userAccountControl", "66050", true}, {"userAccountControl", "x", false},
		{"accountExpires", "0", false}, {"accountExpires", "9223372036854775807", false}, {"accountExpires", "132223104000000000", true},
		{"shadowExpire", "-1", false}, {"shadowExpire", "20781", false}, {"shadowExpire", "20780", true}, {"shadowExpire", "0", true}, {"shadowExpire", "", false},
		{"pwdAccountLockedTime", "000001010000Z", true}, {"pwdAccountLockedTime", "20261123110000Z", false},
		{"supannRessourceEtat", "{COMPTE}A", false}, {"supannRessourceEtat", "{COMPTE}I SupAnnInactif", true}, {"supannRessourceEtat", "{MAIL}I", false}, {"supannRessourceEtat", "{compte}s", true},
		{"nsAccountLock", "TRUE", true}, {"nsAccountLock", "false", false}, {"etat", "inactive", true}, {"etat", "actif", false},
	} {
		a := Attributes{Disabled: []string{test.attribute}}
		v := values(func(string) []string { return []string{test.value} })
		if got := a.closed(v, now); got != test.closed {
			t.Errorf("%s: %s closes %v", test.attribute, test.value, got)
		}
	}
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ticks := "134116992000000000" // end, in 100 ns since 1601
	if closes("accountexpires", ticks, end.Add(-time.Second)) || !closes("accountexpires", ticks, end) {
		t.Error("accountExpires is off by a second or more")
	}
}

func TestSchoolCodesAreReadInEveryWriting(t *testing.T) {
	got := uaiCodes([]string{"0590002B", "0590001a", "{UAI}0620003C", "0341278A$UAJ$PU$N$T3$CLG$340", " 0590002B ", "X", "", "{SIREN}123456789", "059000BB", "059000211B"})
	if len(got) != 4 || got[0] != "0341278A" || got[1] != "0590001A" || got[2] != "0590002B" || got[3] != "0620003C" {
		t.Errorf("%q", got)
	}
}

func TestAnObjectGUIDIsWrittenAsWindowsShowsIt(t *testing.T) {
	raw := string([]byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff})
	const text = "00112233-4455-6677-8899-aabbccddeeff"
	if got := canonicalID("objectGUID", raw); got != text {
		t.Errorf("%s", got)
	}
	if got, ok := storedID("objectGUID", text); !ok || got != raw {
		t.Errorf("%x, %v", got, ok)
	}
	for _, id := range []string{"", "x", text[:35], text + "0", "*", "00112233445566778899aabbccddeeff"} {
		if _, ok := storedID("objectGUID", id); ok {
			t.Errorf("%q is taken for an objectGUID", id)
		}
	}
	// A GUID may begin or end with what looks like a space.
	spaced := string([]byte{0x20, 0x0a, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x20})
	a := presets["ad"].attributes
	p := a.person("CN=x,DC=y", func(name string) []string {
		return map[string][]string{"objectGUID": {spaced}, "sAMAccountName": {"mdupont"}, "mail": {"a@b.test"},
			"proxyAddresses": {"SMTP:a@b.test", "smtp:c@b.test", "x500:/o=y"}}[name]
	}, time.Now())
	if p.ID != "00110a20-4455-6677-8899-aabbccddee20" || p.Login != "mdupont" || len(p.MailAliases) != 1 || p.MailAliases[0] != "c@b.test" {
		t.Errorf("%+v", p)
	}
}

func TestAGroupsNameIsReadFromItsDN(t *testing.T) {
	g := newGroupNames(Config{GroupsBase: "ou=groups,dc=academie,dc=test"}.settled())
	for dn, want := range map[string]string{
		"cn=helpdesk,ou=groups,dc=academie,dc=test":          "helpdesk",
		"CN=Helpdesk, OU=Groups, DC=Academie, DC=Test":       "Helpdesk",
		`cn=amis\, et alliés,ou=groups,dc=academie,dc=test`:  "amis, et alliés",
		"cn=helpdesk,ou=lille,ou=groups,dc=academie,dc=test": "helpdesk",
		"cn=helpdesk,ou=people,dc=academie,dc=test":          "",
		"cn=helpdesk":                                             "",
		"ou=groups,dc=academie,dc=test":                           "",
		"gid=helpdesk,ou=groups,dc=academie,dc=test":              "",
		`cn=helpdesk\,ou\=groups\,dc\=academie\,dc\=test,dc=evil`: "",
		"cn=x,ou=groups,dc=academie,dc=test,dc=evil":              "",
		"not a DN": "",
		"":         "",
	} {
		for range 2 { // the second time from memory
			if got := g.name(dn); got != want {
				t.Errorf("%q names %q, want %q", dn, got, want)
			}
		}
	}
}

func TestSearchFiltersHoldWhatIsTypedAsText(t *testing.T) {
	l, err := Open(Config{URLs: []string{"ldap://127.0.0.1:1"}, BindDN: "cn=x", BindPassword: "x", BaseDN: "dc=x"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, text := range []string{"dupont", "*)(uid=*", `\2a`, "a)(|(b", "()", "été", "a*b", "&|!", "xx\x00yy"} {
		filter, _ := l.searchFilter(t.Context(), Query{Text: text})
		if filter == "" {
			continue
		}
		packet, err := ldap.CompileFilter(filter)
		if err != nil {
			t.Errorf("%q: %s: %v", text, filter, err)
			continue
		}
		if got := len(packet.Children); got != 1+len(searchWords(text)) {
			t.Errorf("%q makes %d conditions: %s", text, got, filter)
		}
	}
}

func FuzzSearchFilter(f *testing.F) {
	l, err := Open(Config{URLs: []string{"ldap://127.0.0.1:1"}, BindDN: "cn=x", BindPassword: "x", BaseDN: "dc=x"}, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{"dupont", "*)(uid=*", `\2a`, "hé lène", "\xff(", "a b c d e f g"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, _ := l.searchFilter(t.Context(), Query{Text: text})
		if filter == "" {
			return
		}
		packet, err := ldap.CompileFilter(filter)
		if err != nil || len(packet.Children) != 1+len(searchWords(text)) {
			t.Errorf("%q: %s: %v", text, filter, err)
		}
	})
}
