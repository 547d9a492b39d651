package demo

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"beffroi/directory"
)

func TestTheSixPeopleAreWhoTheReadmeSays(t *testing.T) {
	s := Academy()
	for i, want := range []struct{ login, name, mail, lang, uai, head, kind, groups string }{
		{"mdupont", "Marie Dupont", "marie.dupont@academie.test", "fr", "0590001A", "", "ADM", "helpdesk tous-personnels"},
		{"jmartin", "Jean-François Martin", "jean-francois.martin@academie.test", "fr", "0590002B", "0590002B", "DIR", "chefs-etablissement tous-personnels"},
		{"ssmith", "Sarah Smith", "sarah.smith@academie.test", "en", "0590002B", "", "ENS", "tous-personnels"},
		{"plefebvre", "Paul Lefebvre", "paul.lefebvre@academie.test", "fr", "0590002B", "", "ENS", "tous-personnels"},
		{"aadmin", "Aïcha Admin", "aicha.admin@academie.test", "fr", "0590001A", "", "ADM", "securite tous-personnels"},
		{"xpartenaire", "Xavier Partenaire", "xavier.partenaire@academie.test", "fr", "0599999Z", "", "EXT", "partenaires"},
	} {
		p, ok := s.Person(want.login)
		if !ok || s.People[i].Login != want.login {
			t.Errorf("%s is missing or not the %dth", want.login, i+1)
		}
		if p.DisplayName != want.name || p.Mail != want.mail || p.Language != want.lang || p.UAI != want.uai || p.HeadOf != want.head || p.Kind != want.kind ||
			strings.Join(p.Groups, " ") != want.groups || !slices.Contains(p.Aliases, want.login+"@academie.test") {
			t.Errorf("%+v", p)
		}
	}
	if p, _ := s.Person("mdupont"); p.ID != "f7b17eb1-ea57-5e51-ad88-2c931609df61" {
		t.Errorf("mdupont's identifier has changed to %s: everybody's sub changes with it", p.ID)
	}
}

func TestTheAcademyIsAlwaysTheSame(t *testing.T) {
	if a, b := buildAcademy().LDIF(), buildAcademy().LDIF(); a != b {
		t.Error("two academies differ")
	}
}

func TestTheAcademyIsBelievable(t *testing.T) {
	s := Academy()
	if n := len(s.People); n < 340 || n > 450 {
		t.Errorf("%d people", n)
	}
	if n := len(s.Schools); n < 30 || n > 35 {
		t.Errorf("%d schools", n)
	}
	logins, mails, ids, longest, shortest := map[string]bool{}, map[string]bool{}, map[string]bool{}, 0, 100
	login, mail := regexp.MustCompile(`^[a-z0-9]{2,21}$`), regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*@academie\.test$`)
	for _, p := range s.People {
		if logins[p.Login] || mails[p.Mail] || ids[p.ID] {
			t.Errorf("%s stands twice", p.Login)
		}
		logins[p.Login], mails[p.Mail], ids[p.ID] = true, true, true
		if !login.MatchString(p.Login) || !mail.MatchString(p.Mail) || strings.Index(p.Mail, "@") > 64 {
			t.Errorf("%s <%s>", p.Login, p.Mail)
		}
		if _, ok := s.School(p.UAI); !ok {
			t.Errorf("%s works nowhere: %s", p.Login, p.UAI)
		}
		if staff := slices.Contains(p.Groups, groupStaff); staff == (p.Kind == "EXT") || staff == slices.Contains(p.Groups, groupPartners) {
			t.Errorf("%s, %s, is in %v", p.Login, p.Kind, p.Groups)
		}
		if head := slices.Contains(p.Groups, groupHeads); head != (p.HeadOf != "") {
			t.Errorf("%s heads %q and is in %v", p.Login, p.HeadOf, p.Groups)
		}
		n := utf8.RuneCountInString(p.DisplayName)
		longest, shortest = max(longest, n), min(shortest, n)
	}
	if longest != 60 || shortest > 3 {
		t.Errorf("names have %d to %d letters", shortest, longest)
	}
	heads := map[string]bool{}
	for _, school := range s.Schools {
		if school.Kind != "Rectorat" && school.Kind != "Partenaire" && school.Head == "" || school.Head != "" && heads[school.Head] {
			t.Errorf("%s is headed by %q", school.Name, school.Head)
		}
		heads[school.Head] = true
	}
	for _, g := range s.Groups {
		if g.Description == "" || len(g.Members) == 0 {
			t.Errorf("%+v", g)
		}
	}
	if len(s.Accounts()) != len(s.People) {
		t.Error("somebody has no mailbox")
	}
}

func TestTheLDIFHoldsTheAcademy(t *testing.T) {
	entries, err := directory.ParseLDIF(strings.NewReader(Academy().LDIF()))
	if err != nil {
		t.Fatal(err)
	}
	people := 0
	for _, e := range entries {
		if len(e.Values("uid")) > 0 {
			people++
			if !directory.MatchesPassword(e.Values("userPassword")[0], Password) || strings.Contains(e.Values("userPassword")[0], Password) {
				t.Errorf("%s: %q", e.DN, e.Values("userPassword"))
			}
		}
	}
	if people != len(Academy().People) {
		t.Errorf("%d people of %d", people, len(Academy().People))
	}
}
