// Package directorytest holds what every directory promises, as tests: the LDIF
// directory, the demo's LDAP server and a real slapd all pass it. A directory to
// be tested is loaded with the sample people (mdupont, jmartin, ssmith,
// plefebvre, aadmin, xpartenaire and their groups) and with OddPeople.
package directorytest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
)

// Password opens the account of everybody in the suite.
const Password = "Beffroi-59!"

// Logins of the odd people.
const (
	accented = "hélène.noël"
	comma    = `o'brien, "jr" + (chef)*\`
	double   = "double.un"
)

// LongLogin has 70 characters.
var LongLogin = "a." + strings.Repeat("tres-long-nom-", 5)[:68]

// OddPeople is the LDIF of people and groups whose names try the escaping of
// filters and DNs, to be loaded beside the sample people.
func OddPeople(peopleDN, groupsDN string) string {
	var b strings.Builder
	alias := ""
	person := func(rdn, family, mail string, logins ...string) {
		line(&b, "dn", "uid="+rdn+","+peopleDN)
		b.WriteString("objectClass: inetOrgPerson\n")
		if alias != "" {
			b.WriteString("objectClass: acPersonnel\n")
			line(&b, "mailAlternateAddress", alias)
		}
		for _, login := range logins {
			line(&b, "uid", login)
		}
		line(&b, "cn", "Bizarre "+family)
		line(&b, "sn", family)
		line(&b, "givenName", "Bizarre")
		line(&b, "mail", mail)
		line(&b, "userPassword", Password)
		b.WriteString("\n")
	}
	person(accented, "Noël", "helene.noel@academie.test", accented)
	person(commaRDN, "O'Brien", "obrien@academie.test", comma)
	person(LongLogin, "Long", "long@academie.test", LongLogin)
	person("double.un", "Double", "double@academie.test", "double.deux", "double.un")
	person("ssmith@elsewhere.test", "Smith", "sarah@elsewhere.test", "ssmith@elsewhere.test")
	person("impostor", "Impostor", "ssmith@elsewhere.test", "impostor")
	alias = "twin@academie.test"
	person("twin.one", "Twin", "twin.one@academie.test", "twin.one")
	person("twin.two", "Twin", "twin.two@academie.test", "twin.two")
	alias = "second@academie.test"
	person("first", "First", "first@academie.test", "first")
	line(&b, "dn", `cn=amis\, (et) alliés*,`+groupsDN)
	b.WriteString("objectClass: groupOfNames\n")
	line(&b, "cn", "amis, (et) alliés*")
	line(&b, "member", "uid="+commaRDN+","+peopleDN)
	b.WriteString("\n")
	return b.String()
}

// commaRDN is the login comma as it stands in a DN (RFC 4514 §2.4).
const commaRDN = `o'brien\, \"jr\" \+ (chef)*\\`

// line writes one attribute, in base64 unless it is plain.
func line(b *strings.Builder, name, value string) {
	for _, r := range value {
		if r < ' ' || r > '~' {
			fmt.Fprintf(b, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
			return
		}
	}
	fmt.Fprintf(b, "%s: %s\n", name, value)
}

// Run holds a directory to its promises.
func Run(t *testing.T, d directory.Directory) {
	s := suite{d}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the right password lets in and tells who", s.rightPassword},
		{"groups come with the person", s.groups},
		{"a wrong password does not", s.wrongPasswords},
		{"one person has one identity whatever they type", s.oneIdentity},
		{"a mail address is as good as the login, if it is one person's", s.addresses},
		{"odd names are found, and nobody else", s.oddNames},
		{"what is typed is never a filter nor a DN", s.injections},
		{"an unknown login looks like a wrong password", s.unknown},
		{"a person is found by ID", s.byID},
		{"nobody is found by what is no ID", s.noID},
		{"search finds by any word and never everybody", s.search},
		{"search stays within the parts it is given", s.within},
		{"a context that has ended is honoured", s.context},
		{"the answer belongs to the caller", s.ownership},
		{"many at once each get their own answer", s.concurrency},
		{"it answers a ping", s.ping},
	} {
		t.Run(test.name, test.run)
	}
}

type suite struct{ d directory.Directory }

// signIn authenticates and fails when the directory is down.
func (s suite) signIn(t *testing.T, login, password string) (directory.Person, directory.Outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p, outcome, err := s.d.Authenticate(ctx, login, password)
	if err != nil {
		t.Fatalf("sign in as %q: %v", login, err)
	}
	return p, outcome
}

func (s suite) rightPassword(t *testing.T) {
	p, outcome := s.signIn(t, "jmartin", Password)
	if !outcome.OK() || !outcome.Proven {
		t.Fatalf("outcome %+v", outcome)
	}
	if p.Login != "jmartin" || p.GivenName != "Jean-François" || p.FamilyName != "Martin" || p.DisplayName != "Jean-François Martin" ||
		p.Mail != "jean-francois.martin@academie.test" || p.Language != "fr" || p.Disabled {
		t.Errorf("%+v", p)
	}
	if !slices.Equal(p.UAI, []string{"0590002B"}) || !slices.Equal(p.UAIResponsible, []string{"0590002B"}) || p.Kind != "DIR" {
		t.Errorf("school %v, head of %v, kind %q", p.UAI, p.UAIResponsible, p.Kind)
	}
	if len(p.ID) != 36 || p.ID != strings.ToLower(p.ID) {
		t.Errorf("ID %q is not a UUID in lower case", p.ID)
	}
}

func (s suite) groups(t *testing.T) {
	for login, want := range map[string][]string{
		"mdupont":     {"helpdesk", "tous-personnels"},
		"jmartin":     {"chefs-etablissement", "tous-personnels"},
		"ssmith":      {"tous-personnels"},
		"plefebvre":   {"tous-personnels"},
		"aadmin":      {"securite", "tous-personnels"},
		"xpartenaire": {"partenaires"},
		comma:         {"amis, (et) alliés*"},
	} {
		p, outcome := s.signIn(t, login, Password)
		if !outcome.OK() {
			t.Errorf("%s: %v", login, outcome.Result)
		}
		// the sample academy also has groups by school and by subject
		got := slices.DeleteFunc(slices.Clone(p.Groups), func(g string) bool {
			return strings.HasPrefix(g, "etab-") || strings.HasPrefix(g, "discipline-")
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s: groups %v, want %v", login, got, want)
		}
		if !slices.IsSorted(p.Groups) {
			t.Errorf("%s: groups are not sorted: %v", login, p.Groups)
		}
	}
}

func (s suite) wrongPasswords(t *testing.T) {
	for _, password := range []string{"", " ", "x", "\x00", Password + "\x00", Password + " ", strings.ToLower(Password), "{SSHA}", "*",
		strings.Repeat("x", 5000), "\xff\xfe", Password[:len(Password)-1]} {
		p, outcome := s.signIn(t, "ssmith", password)
		if outcome.OK() || outcome.Proven || outcome.Result != directory.Wrong {
			t.Errorf("password %.20q: %v", password, outcome.Result)
		}
		if len(p.Groups) > 0 {
			t.Errorf("password %.20q: groups %v without a password", password, p.Groups)
		}
	}
	if _, outcome := s.signIn(t, "ssmith", Password); !outcome.OK() {
		t.Errorf("after wrong ones the right one: %v", outcome.Result)
	}
}

func (s suite) oneIdentity(t *testing.T) {
	for _, spellings := range [][]string{
		{"mdupont", "MDUPONT", "MDupont", " mdupont", "mdupont  ", "\tmdupont\n", "mdupont\u00a0"},
		{accented, "HÉLÈNE.NOËL", "he\u0301le\u0300ne.noe\u0308l", "HE\u0301LE\u0300NE.NOE\u0308L ", "Hélène.Noël"},
		{double, "double.deux", "DOUBLE.DEUX"},
	} {
		first, outcome := s.signIn(t, spellings[0], Password)
		if !outcome.OK() {
			t.Errorf("%q: %v", spellings[0], outcome.Result)
			continue
		}
		for _, spelling := range spellings[1:] {
			p, outcome := s.signIn(t, spelling, Password)
			if !outcome.OK() || p.ID != first.ID || p.Login != first.Login || p.DN != first.DN {
				t.Errorf("%q: %v, %s %q; %q is %s %q", spelling, outcome.Result, p.ID, p.Login, spellings[0], first.ID, first.Login)
			}
		}
	}
}

func (s suite) addresses(t *testing.T) {
	want, outcome := s.signIn(t, "jmartin", Password)
	if !outcome.OK() {
		t.Fatalf("outcome %+v", outcome)
	}
	for _, typed := range []string{"jean-francois.martin@academie.test", " Jean-Francois.MARTIN@Academie.Test "} {
		p, outcome := s.signIn(t, typed, Password)
		if !outcome.OK() || p.ID != want.ID || p.Login != "jmartin" {
			t.Errorf("%q: %+v, %s", typed, outcome, p.Login)
		}
		if byLogin, err := s.d.ByLogin(t.Context(), typed); err != nil || byLogin.ID != want.ID {
			t.Errorf("ByLogin %q: %v, %v", typed, byLogin.ID, err)
		}
		if p, outcome := s.signIn(t, typed, "wrong"); outcome.OK() || p.ID != want.ID {
			t.Errorf("%q with a wrong password: %+v of %q: guesses would not be counted for the person", typed, outcome, p.ID)
		}
	}
	if p, outcome := s.signIn(t, "second@academie.test", Password); !outcome.OK() || p.Login != "first" {
		t.Errorf("a further address: %+v of %q", outcome, p.Login)
	}
	for _, typed := range []string{"twin@academie.test", "nobody@academie.test", "*@academie.test", "jmartin@academie.test)(uid=*", "@academie.test", "jmartin@", "jean-francois.martin@academie.test.", "jmartin@academie.test@academie.test"} {
		if p, outcome := s.signIn(t, typed, Password); outcome.Result != directory.Unknown || p.ID != "" {
			t.Errorf("%q opens the account of %q: %+v", typed, p.Login, outcome)
		}
	}
	// Having somebody's login as an address opens nothing of theirs, nor shuts them out.
	if p, outcome := s.signIn(t, "ssmith@elsewhere.test", Password); !outcome.OK() || p.Login != "ssmith@elsewhere.test" {
		t.Errorf("a login that is somebody else's address: %+v of %q", outcome, p.Login)
	}
}

func (s suite) oddNames(t *testing.T) {
	for _, login := range []string{accented, comma, LongLogin} {
		p, outcome := s.signIn(t, login, Password)
		if !outcome.OK() || p.Login != login {
			t.Errorf("%q: %v, %q", login, outcome.Result, p.Login)
		}
		if _, outcome := s.signIn(t, login, "faux"); outcome.Result != directory.Wrong {
			t.Errorf("%q with a wrong password: %v", login, outcome.Result)
		}
	}
	p, _ := s.signIn(t, double, Password)
	if p.Login != double {
		t.Errorf("of two logins %q was chosen, not the one in the DN", p.Login)
	}
}

// injected is what people type who know LDAP.
var injected = []string{
	"", " ", "*", "m*", "*dupont", "mdupont*", "mdupont)(uid=*", "*)(uid=*", "*)(|(uid=*", "mdupont)(&", "mdupont))(|(uid=*",
	"mdupont\x00", "\x00mdupont", "mdupont\x00)(uid=*", `mdupont\2a`, `\6d\64\75\70\6f\6e\74`, `\2a`, "(uid=mdupont)", "uid=mdupont",
	"uid=mdupont,ou=people,dc=academie,dc=test", "mdupont,ou=people,dc=academie,dc=test", "mdupont+cn=Marie Dupont", "cn=beffroi",
	"beffroi", "admin", "cn=admin,dc=academie,dc=test", "mdupont\u200b", "m\u00addupont", "mdup\u202eont", "mdupont\n(uid=*)",
	"mdu\xffpont", "\xc0\xaa", "../mdupont", "mdupont@academie.test\x00", "%6ddupont", "ｍｄｕｐｏｎｔ*", strings.Repeat("(", 200), strings.Repeat("*", 200),
	strings.Repeat("a", 300), strings.Repeat("é", 300), strings.Repeat("a", 100000), "nobody-has-this-name",
}

func (s suite) injections(t *testing.T) {
	for _, login := range injected {
		for _, password := range []string{Password, ""} {
			p, outcome := s.signIn(t, login, password)
			if outcome.OK() || outcome.Proven || p.ID != "" {
				t.Errorf("%.40q with %q: %v, %q", login, password, outcome.Result, p.Login)
			}
		}
		if p, err := s.d.ByLogin(t.Context(), login); !errors.Is(err, directory.ErrUnknown) {
			t.Errorf("ByLogin(%.40q): %q, %v", login, p.Login, err)
		}
		if p, err := s.d.ByID(t.Context(), login); !errors.Is(err, directory.ErrUnknown) {
			t.Errorf("ByID(%.40q): %q, %v", login, p.Login, err)
		}
		people, err := s.d.Search(t.Context(), directory.Query{Text: login, Limit: 100})
		if err != nil {
			t.Errorf("Search(%.40q): %v", login, err)
		}
		if len(people) > 1 {
			t.Errorf("Search(%.40q) found %d people", login, len(people))
		}
	}
}

func (s suite) unknown(t *testing.T) {
	p, outcome := s.signIn(t, "personne.inconnue", Password)
	if outcome.Result != directory.Unknown || outcome.OK() || outcome.Proven || p.ID != "" {
		t.Errorf("%+v %+v", p, outcome)
	}
	if _, err := s.d.ByLogin(t.Context(), "personne.inconnue"); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("ByLogin: %v", err)
	}
}

func (s suite) byID(t *testing.T) {
	signedIn, _ := s.signIn(t, "mdupont", Password)
	for _, id := range []string{signedIn.ID, strings.ToUpper(signedIn.ID)} {
		p, err := s.d.ByID(t.Context(), id)
		if err != nil || p.ID != signedIn.ID || p.Login != "mdupont" || !slices.Equal(p.Groups, signedIn.Groups) {
			t.Errorf("ByID(%s): %+v, %v", id, p, err)
		}
	}
	p, err := s.d.ByLogin(t.Context(), "MDupont ")
	if err != nil || p.ID != signedIn.ID || !slices.Equal(p.Groups, signedIn.Groups) {
		t.Errorf("ByLogin: %+v, %v", p, err)
	}
}

func (s suite) noID(t *testing.T) {
	signedIn, _ := s.signIn(t, "mdupont", Password)
	for _, id := range []string{"", "*", signedIn.ID + "*", "mdupont", signedIn.DN, "00000000-0000-4000-8000-000000000000", signedIn.ID + "\x00", signedIn.ID[:35]} {
		if p, err := s.d.ByID(t.Context(), id); !errors.Is(err, directory.ErrUnknown) {
			t.Errorf("ByID(%q): %q, %v", id, p.Login, err)
		}
	}
}

func (s suite) search(t *testing.T) {
	for text, want := range map[string]string{
		"dupont":                    "mdupont",
		"Marie DUPONT":              "mdupont",
		"dupont marie":              "mdupont",
		"jean-françois":             "jmartin",
		"jean-franc":                "jmartin", // by the mail address
		"Noël bizarre":              accented,
		"helene":                    accented,
		"smi":                       "ssmith",
		"xpart":                     "xpartenaire",
		"sarah.smith@":              "ssmith",
		"sarah.smith@academie.test": "ssmith",
		"SECOND@academie.test":      "first", // an alias
		"@academie.test":            "",
		"dupont personne":           "",
		"zzzzzzzz":                  "",
		"academie.test":             "",
		"bizarre brien":             comma,
		" lefebvre   paul ":         "plefebvre",
	} {
		people, err := s.d.Search(t.Context(), directory.Query{Text: text, Limit: 100})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		found := slices.ContainsFunc(people, func(p directory.Person) bool { return p.Login == want })
		if want == "" && len(people) > 0 || want != "" && !found {
			t.Errorf("%q found %d people, want %q among them", text, len(people), want)
		}
	}
	for _, text := range []string{"", " ", "m", "*", "**", " * ", "\x00", "a\u200b"} {
		people, err := s.d.Search(t.Context(), directory.Query{Text: text})
		if err != nil || len(people) > 0 {
			t.Errorf("%q found %d people, %v", text, len(people), err)
		}
	}
	people, err := s.d.Search(t.Context(), directory.Query{Text: "bizarre", Limit: 2})
	if err != nil || len(people) != 2 {
		t.Errorf("a limit of 2 gave %d, %v", len(people), err)
	}
	people, _ = s.d.Search(t.Context(), directory.Query{Text: "bizarre"})
	names := make([]string, len(people))
	for i, p := range people {
		names[i] = p.FamilyName
	}
	if !slices.Equal(names, []string{"Double", "First", "Impostor", "Long", "Noël", "O'Brien", "Smith", "Twin", "Twin"}) {
		t.Errorf("order %q", names)
	}
}

// within asks the same of parts of the directory: whatever a part names, it finds
// nobody else, and a part that names nothing finds nobody at all.
func (s suite) within(t *testing.T) {
	jmartin, ssmith, aadmin, xpartenaire := "jmartin", "ssmith", "aadmin", "xpartenaire"
	all := []string{"mdupont", jmartin, ssmith, aadmin, xpartenaire}
	for name, c := range map[string]struct {
		q     directory.Query
		found []string
	}{
		"a school":                   {directory.Query{Within: []directory.Within{{Schools: []string{"0590002b"}}}}, []string{jmartin, ssmith}},
		"a school and a word":        {directory.Query{Text: "smith", Within: []directory.Within{{Schools: []string{"0590002B"}}}}, []string{ssmith}},
		"another school":             {directory.Query{Text: "smith", Within: []directory.Within{{Schools: []string{"0590001A"}}}}, nil},
		"two parts":                  {directory.Query{Within: []directory.Within{{Schools: []string{"0590002B"}, Kinds: []string{"DIR"}}, {Functions: []string{"RSSI"}}}}, []string{jmartin, aadmin}},
		"a group":                    {directory.Query{Within: []directory.Within{{Groups: []string{"partenaires"}}}}, []string{xpartenaire}},
		"a group of a school":        {directory.Query{Within: []directory.Within{{Groups: []string{"partenaires"}, Schools: []string{"0590002B"}}}}, nil},
		"a group that is not there":  {directory.Query{Within: []directory.Within{{Groups: []string{"*"}}}}, nil},
		"a school that is not there": {directory.Query{Within: []directory.Within{{Schools: []string{"*"}}}}, nil},
		"a kind written as a filter": {directory.Query{Within: []directory.Within{{Kinds: []string{"*"}}}}, nil},
		"everyone":                   {directory.Query{Text: "smith", Within: []directory.Within{{Everyone: true}}}, []string{ssmith}},
		"a part that names nothing":  {directory.Query{Within: []directory.Within{{}}}, nil},
		"no part":                    {directory.Query{Text: "smith", Within: []directory.Within{}}, nil},
		"also in":                    {directory.Query{Text: "smith", Within: []directory.Within{{Everyone: true}}, AlsoIn: []string{"0590001A"}}, nil},
		"too short a text":           {directory.Query{Text: "s", Within: []directory.Within{{Schools: []string{"0590002B"}}}}, nil},
		"the head of a school":       {directory.Query{HeadsOf: "0590002B"}, []string{jmartin}},
		"the head of no school":      {directory.Query{HeadsOf: "*"}, nil},
	} {
		c.q.Limit = 100
		people, err := s.d.Search(t.Context(), c.q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var found []string
		for _, p := range people {
			if slices.Contains(all, p.Login) {
				found = append(found, p.Login)
			}
		}
		slices.Sort(found)
		slices.Sort(c.found)
		if !slices.Equal(found, c.found) {
			t.Errorf("%s: found %v, want %v", name, found, c.found)
		}
	}
}

func (s suite) context(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, outcome, err := s.d.Authenticate(ctx, "mdupont", Password)
	if err == nil || outcome.OK() {
		t.Errorf("Authenticate: %v, %v", outcome.Result, err)
	}
	if _, err := s.d.ByLogin(ctx, "mdupont"); !errors.Is(err, context.Canceled) {
		t.Errorf("ByLogin: %v", err)
	}
	if _, err := s.d.ByID(ctx, "00000000-0000-4000-8000-000000000000"); !errors.Is(err, context.Canceled) {
		t.Errorf("ByID: %v", err)
	}
	if _, err := s.d.Search(ctx, directory.Query{Text: "dupont"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Search: %v", err)
	}
}

func (s suite) ownership(t *testing.T) {
	first, _ := s.signIn(t, "mdupont", Password)
	first.Groups[0], first.UAI[0] = "securite", "9999999Z"
	for range 2 {
		p, err := s.d.ByID(t.Context(), first.ID)
		if err != nil || slices.Contains(p.Groups, "securite") || slices.Contains(p.UAI, "9999999Z") {
			t.Fatalf("the caller's change came back: %v %v %v", p.Groups, p.UAI, err)
		}
		p.Groups[0] = "securite"
	}
}

func (s suite) concurrency(t *testing.T) {
	logins := []string{"mdupont", "jmartin", "ssmith", "plefebvre", "aadmin", "xpartenaire", accented, comma}
	var wait sync.WaitGroup
	for i := range 64 {
		wait.Go(func() {
			login := logins[i%len(logins)]
			password, right := Password, i%16 != 2 // some of them type a wrong one
			if !right {
				password = "faux"
			}
			p, outcome, err := s.d.Authenticate(t.Context(), login, password)
			if err != nil || outcome.OK() != right || p.Login != login {
				t.Errorf("%q: %q, %v, %v", login, p.Login, outcome.Result, err)
				return
			}
			if q, err := s.d.ByID(t.Context(), p.ID); err != nil || q.Login != login {
				t.Errorf("%q by ID: %q, %v", login, q.Login, err)
			}
		})
	}
	wait.Wait()
}

func (s suite) ping(t *testing.T) {
	if err := s.d.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
