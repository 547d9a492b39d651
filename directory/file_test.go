package directory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/directory/directorytest"
)

// sample is the sample people in a small text.
const sample = `version: 1
# the tree itself is left out: nothing asks for it

dn: uid=mdupont,ou=people,dc=academie,dc=test
uid: mdupont
cn: Marie Dupont
sn: Dupont
givenName: Marie
displayName: Marie Dupont
mail: marie.dupont@academie.test
frEduRne: 0590001A
preferredLanguage: fr
userPassword: Beffroi-59!
memberOf: cn=helpdesk,ou=groups,dc=academie,dc=test

dn: uid=jmartin,ou=people,dc=academie,dc=test
uid: jmartin
cn: Jean-François Martin
sn: Martin
givenName: Jean-François
displayName:: SmVhbi1GcmFuw6dvaXMgTWFydGlu
mail: jean-francois.martin
 @academie.test
frEduRne: 0590002B$UAJ$PU$N$T3$CLG$340
frEduRneResp: 0590002B$UAJ$PU$N$T3$CLG$340
employeeType: DIR
preferredLanguage: fr
userPassword: {SSHA256}qCGmE+ZGHcL1Uzq9Yx6vS8k3vTLKaK6tj7VWf3qIUoFzYWx0
userPassword: Beffroi-59!

dn: uid=ssmith,ou=people,dc=academie,dc=test
uid: ssmith
cn: Sarah Smith
sn: Smith
givenName: Sarah
mail: sarah.smith@academie.test
frEduRne: 0590002B
userPassword: Beffroi-59!

dn: uid=plefebvre,ou=people,dc=academie,dc=test
uid: plefebvre
cn: Paul Lefebvre
sn: Lefebvre
givenName: Paul
mail: paul.lefebvre@academie.test
userPassword: Beffroi-59!

dn: uid=aadmin,ou=people,dc=academie,dc=test
uid: aadmin
cn: Aïcha Admin
sn: Admin
givenName: Aïcha
mail: aicha.admin@academie.test
frEduFonctAdm: RSSI
userPassword: Beffroi-59!

dn: uid=xpartenaire,ou=people,dc=academie,dc=test
uid: xpartenaire
cn: Xavier Partenaire
sn: Partenaire
givenName: Xavier
mail: xavier.partenaire@academie.test
userPassword: Beffroi-59!

dn: cn=tous-personnels,ou=groups,dc=academie,dc=test
cn: tous-personnels
member: UID=mdupont, OU=people, DC=academie, DC=test
member: uid=jmartin,ou=people,dc=academie,dc=test
member: uid=ssmith,ou=people,dc=academie,dc=test
member: uid=plefebvre,ou=people,dc=academie,dc=test
member: uid=aadmin,ou=people,dc=academie,dc=test

dn: cn=chefs-etablissement,ou=groups,dc=academie,dc=test
cn: chefs-etablissement
member: uid=jmartin,ou=people,dc=academie,dc=test

dn: cn=securite,ou=groups,dc=academie,dc=test
cn: securite
member: uid=aadmin,ou=people,dc=academie,dc=test

dn: cn=partenaires,ou=groups,dc=academie,dc=test
cn: partenaires
member: uid=xpartenaire,ou=people,dc=academie,dc=test

dn: cn=partenaires,ou=projets,dc=academie,dc=test
cn: faux-partenaires
member: uid=xpartenaire,ou=people,dc=academie,dc=test

`

const (
	base     = "dc=academie,dc=test"
	peopleDN = "ou=people," + base
	groupsDN = "ou=groups," + base
)

var bases = directory.Config{PeopleBase: peopleDN, GroupsBase: groupsDN}

func openFile(t *testing.T, text string, c directory.Config) *directory.LDIF {
	t.Helper()
	d, err := directory.NewLDIF(strings.NewReader(text), c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADirectoryInAFileKeepsThePromises(t *testing.T) {
	directorytest.Run(t, openFile(t, sample+directorytest.OddPeople(peopleDN, groupsDN), bases))
}

func TestADirectoryInAFileBringsAboutEveryOutcome(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	c := bases
	c.LockoutDuration = 5 * time.Minute
	d, err := directory.NewLDIF(strings.NewReader(sample), c, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	dn := "uid=ssmith," + peopleDN
	for _, test := range []struct {
		name, attribute, value string
		right, wrong           directory.Result
		proven                 bool
	}{
		{"nothing special", "description", "x", directory.OK, directory.Wrong, true},
		{"to be changed", "pwdReset", "TRUE", directory.MustChange, directory.Wrong, true},
		{"locked", "pwdAccountLockedTime", "20261123095900Z", directory.Locked, directory.Locked, false},
		{"lock over", "pwdAccountLockedTime", "20261123095459Z", directory.OK, directory.Wrong, true},
		{"locked for good", "pwdAccountLockedTime", "000001010000Z", directory.Disabled, directory.Disabled, true},
		{"at its end", "shadowExpire", "20780", directory.Disabled, directory.Disabled, true},
		{"not yet at its end", "shadowExpire", "20790", directory.OK, directory.Wrong, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := d.Set(dn, test.attribute, test.value); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = d.Set(dn, test.attribute) }()
			_, outcome, err := d.Authenticate(t.Context(), "ssmith", directorytest.Password)
			if err != nil || outcome.Result != test.right || outcome.Proven != test.proven {
				t.Errorf("right password: %+v, %v", outcome, err)
			}
			_, outcome, err = d.Authenticate(t.Context(), "ssmith", "faux")
			if err != nil || outcome.Result != test.wrong || outcome.Proven {
				t.Errorf("wrong password: %+v, %v", outcome, err)
			}
			if outcome.Result == directory.Locked && !outcome.Until.Equal(now.Add(4*time.Minute)) {
				t.Errorf("locked until %v", outcome.Until)
			}
		})
	}
	d.SetDown(true)
	if _, _, err := d.Authenticate(t.Context(), "ssmith", directorytest.Password); !errors.Is(err, directory.ErrDown) {
		t.Errorf("when down: %v", err)
	}
	if err := d.Ping(context.Background()); !errors.Is(err, directory.ErrDown) {
		t.Errorf("when down: %v", err)
	}
}

func TestGroupsWithinGroupsCountWhenAsked(t *testing.T) {
	text := sample + `dn: cn=encadrement,ou=groups,dc=academie,dc=test
cn: encadrement
member: cn=chefs-etablissement,ou=groups,dc=academie,dc=test
member: cn=encadrement,ou=groups,dc=academie,dc=test
`
	for _, nested := range []bool{false, true} {
		c := bases
		c.NestedGroups = nested
		p, err := openFile(t, text, c).ByLogin(t.Context(), "jmartin")
		if err != nil {
			t.Fatal(err)
		}
		want := "chefs-etablissement tous-personnels"
		if nested {
			want = "chefs-etablissement encadrement tous-personnels"
		}
		if got := strings.Join(p.Groups, " "); got != want {
			t.Errorf("nested %v: %s", nested, got)
		}
	}
}

func TestTwoPeopleWithOneLoginAreNobody(t *testing.T) {
	d := openFile(t, sample+"dn: uid=ssmith,ou=anciens,"+peopleDN+"\nuid: SSMITH\nuserPassword: Beffroi-59!\n", bases)
	_, outcome, err := d.Authenticate(t.Context(), "ssmith", directorytest.Password)
	if err != nil || outcome.Result != directory.Unknown {
		t.Errorf("%v, %v", outcome.Result, err)
	}
}

func TestLDIFRefusesWhatItCannotMean(t *testing.T) {
	for name, text := range map[string]string{
		"a value elsewhere":         "dn: uid=x,dc=y\njpegPhoto:< file:///etc/passwd\n",
		"a change that is no add":   "dn: uid=x,dc=y\nchangetype: delete\n",
		"a value before its entry":  "uid: x\n",
		"a continuation of nothing": " uid: x\n",
		"no colon":                  "dn: uid=x,dc=y\nuid\n",
		"bad base64":                "dn: uid=x,dc=y\nuid:: %%%\n",
		"the same entry twice":      "dn: uid=x,dc=y\nuid: x\n\ndn: UID=X, DC=Y\nuid: x\n",
		"a DN that is none":         "dn: x\nuid: x\n",
		"an entry within an entry":  "dn: uid=x,dc=y\ndn: uid=z,dc=y\n",
		"another version":           "version: 2\n\ndn: uid=x,dc=y\n",
	} {
		t.Run(name, func(t *testing.T) {
			if entries, err := directory.ParseLDIF(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "ldif line ") {
				t.Errorf("%v, %v", entries, err)
			}
		})
	}
}

func FuzzParseLDIF(f *testing.F) {
	f.Add(sample)
	f.Add("dn:: dWlkPXgsZGM9eQ==\r\nuid;lang-fr: x\r\n y\r\n")
	f.Add("version: 1\n\n# a\n b\ndn: cn=a+b=c,dc=y\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := directory.ParseLDIF(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range entries {
			if directory.NormalDN(e.DN) == "" && e.DN != "" {
				t.Errorf("%q came through as a DN", e.DN)
			}
		}
	})
}
