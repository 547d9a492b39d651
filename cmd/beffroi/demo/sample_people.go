package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"

	"beffroi/directory"
)

// buildAcademy makes the academy of the tables, always the same one: the seed
// of what looks like chance is fixed.
func buildAcademy() *Sample {
	b := &academyBuilder{
		Sample: &Sample{Schools: sampleSchools()},
		chance: rand.New(rand.NewPCG(59, 62)), // sample data: nothing is secret about it
		logins: make(map[string]bool), mails: make(map[string]bool),
	}
	b.wellKnown()
	for i := range b.Schools {
		b.staff(&b.Schools[i], i)
	}
	b.join()
	return b.Sample
}

type academyBuilder struct {
	*Sample
	chance *rand.Rand
	logins map[string]bool
	mails  map[string]bool
	odd    int // of oddPeople, how many have been placed
}

// wellKnown adds the six people of the README, in the groups that it names and
// no other: scripts rely on them.
func (b *academyBuilder) wellKnown() {
	for _, p := range []SamplePerson{
		{Login: "mdupont", GivenName: "Marie", FamilyName: "Dupont", UAI: "0590001A", Kind: "ADM", Function: "ADM",
			Title: "Attachée d’administration, assistance académique", Groups: []string{groupStaff, groupHelpdesk}},
		{Login: "jmartin", GivenName: "Jean-François", FamilyName: "Martin", UAI: "0590002B", HeadOf: "0590002B", Kind: "DIR", Function: "DIR",
			Title: "Principal", Groups: []string{groupStaff, groupHeads}},
		{Login: "ssmith", GivenName: "Sarah", FamilyName: "Smith", UAI: "0590002B", Kind: "ENS", Language: "en", Subject: "Anglais",
			Title: "Professeure d’anglais", Groups: []string{groupStaff}},
		{Login: "plefebvre", GivenName: "Paul", FamilyName: "Lefebvre", UAI: "0590002B", Kind: "ENS", Subject: "Mathématiques",
			Title: "Professeur de mathématiques", Groups: []string{groupStaff}},
		{Login: "aadmin", GivenName: "Aïcha", FamilyName: "Admin", UAI: "0590001A", Kind: "ADM", Function: "RSSI",
			Title: "Responsable de la sécurité des systèmes d’information", Groups: []string{groupStaff, groupSecurity}},
		{Login: "xpartenaire", GivenName: "Xavier", FamilyName: "Partenaire", UAI: "0599999Z", Kind: "EXT",
			Title: "Chargé de mission", Groups: []string{groupPartners}},
	} {
		b.add(p)
	}
}

// staff peoples a school: a head, administration, teachers.
func (b *academyBuilder) staff(school *School, nth int) {
	school0 := schoolPrefix + school.UAI
	work := func(kind, function, title, subject, headOf string, groups ...string) {
		given, family := b.name()
		b.add(SamplePerson{
			GivenName: given, FamilyName: family, UAI: school.UAI, HeadOf: headOf, Kind: kind, Function: function, Title: title, Subject: subject,
			Groups: append(groups, school0),
		})
	}
	switch school.Kind {
	case "Partenaire":
		for range 2 {
			work("EXT", "", "Intervenant extérieur", "", "", groupPartners)
		}
		return
	case "Rectorat":
		for _, title := range []string{"Secrétariat général", "Division des personnels enseignants", "Division des personnels enseignants", "Division des examens et concours",
			"Division des affaires financières", "Division de la logistique", "Direction des systèmes d’information", "Direction des systèmes d’information",
			"Direction des systèmes d’information", "Service juridique", "Service de la communication", "Inspection pédagogique", "Inspection pédagogique", "Service social"} {
			work("ADM", "ADM", title, "", "", groupStaff)
		}
		work("ADM", "ADM", "Assistance académique", "", "", groupStaff, groupHelpdesk)
		return
	case "École":
		work("DIR", "DIR", "Directeur d’école", "", school.UAI, groupStaff, groupHeads)
		for range 4 {
			work("ENS", "", "Professeur des écoles", "", "", groupStaff)
		}
		return
	}
	head := map[string]string{"Collège": "Principal"}[school.Kind]
	if head == "" {
		head = "Proviseur"
	}
	if school.UAI != "0590002B" { // jmartin heads it
		work("DIR", "DIR", head, "", school.UAI, groupStaff, groupHeads)
	}
	for _, title := range []string{head + " adjoint", "Secrétaire général d’EPLE", "Conseiller principal d’éducation"} {
		if title == "Secrétaire général d’EPLE" { // keeps the school's money
			work("ADM", "ADM", title, "", "", groupStaff, groupSensitive)
			continue
		}
		work("ADM", "ADM", title, "", "", groupStaff)
	}
	taught := subjectsAt[school.Kind]
	for i := range 9 + nth%4 {
		s := sampleSubjects[taught[i%len(taught)]]
		work("ENS", "", "Enseignement : "+lowerFirst(s.name), s.name, "", groupStaff, subjectPrefix+s.key)
	}
}

// name draws a name; the odd ones are spread among the first schools.
func (b *academyBuilder) name() (given, family string) {
	if n := len(b.People); n > 30 && n%23 == 0 && b.odd < len(oddPeople) {
		b.odd++
		return oddPeople[b.odd-1].given, oddPeople[b.odd-1].family
	}
	given = sampleGivenNames[b.chance.IntN(len(sampleGivenNames))]
	family = sampleFamilyNames[b.chance.IntN(len(sampleFamilyNames))]
	if b.chance.IntN(12) == 0 { // both spouses' names
		other := sampleFamilyNames[b.chance.IntN(len(sampleFamilyNames))]
		if other != family {
			family += "-" + other
		}
	}
	return given, family
}

// add completes a person and takes them in.
func (b *academyBuilder) add(p SamplePerson) {
	p.DisplayName = p.GivenName + " " + p.FamilyName
	if p.Language == "" {
		p.Language = "fr"
	}
	given, family := plain(p.GivenName), plain(p.FamilyName)
	if p.Login == "" {
		initials := ""
		for _, part := range strings.Split(given, "-") {
			initials += part[:1]
		}
		stem := initials + strings.ReplaceAll(family, "-", "")
		p.Login = free(b.logins, stem[:min(len(stem), 20)], "")
	}
	b.logins[p.Login] = true
	p.Mail = free(b.mails, given+"."+family, "@"+sampleMailDomain)
	b.mails[p.Mail] = true
	if p.Mail != p.Login+"@"+sampleMailDomain {
		p.Aliases = []string{p.Login + "@" + sampleMailDomain}
	}
	if p.Phone == "" {
		p.Phone = phone(5000 + len(b.People))
	}
	p.Number = fmt.Sprintf("59%06d", 1000+len(b.People))
	b.People = append(b.People, p)
}

// free is stem+suffix, or the first of stem2+suffix, stem3+suffix… that is not
// taken.
func free(taken map[string]bool, stem, suffix string) string {
	name := stem + suffix
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s%d%s", stem, n, suffix)
	}
	return name
}

// plain is a name as logins and addresses have it: "D’Hondt" is "dhondt", "Van
// der Meersch" is "van-der-meersch".
func plain(name string) string {
	name = strings.NewReplacer("œ", "oe", "Œ", "oe", "ł", "l", "’", "", "'", "", " ", "-").Replace(name)
	return strings.Map(func(r rune) rune {
		if r == '-' || r < unicode.MaxASCII && unicode.IsLetter(r) {
			return r
		}
		return -1
	}, directory.CanonicalLogin(name))
}

// lowerFirst is a phrase as it stands within another.
func lowerFirst(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(first)) + s[size:]
}

// phone is a number of the range kept for fiction in the north of France.
func phone(n int) string {
	return fmt.Sprintf("+33 3 53 01 %02d %02d", n/100%100, n%100)
}
