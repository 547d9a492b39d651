package demo

import (
	"crypto/sha1" // the directory's own {SSHA} format
	"encoding/base64"
	"slices"
	"strings"
	"sync"

	"beffroi/directory"
)

// BaseDN is the top of the sample academy's tree.
const BaseDN = "dc=academie,dc=test"

// sampleMailDomain is where everybody has an address.
const sampleMailDomain = "academie.test"

// Groups that applications speak of. Beside them stand one per school
// ("etab-0590002B") and one per subject ("discipline-mathematiques").
const (
	groupStaff     = "tous-personnels"
	groupHeads     = "chefs-etablissement"
	groupHelpdesk  = "helpdesk"
	groupSecurity  = "securite"
	groupPartners  = "partenaires"
	groupSensitive = "comptes-sensibles" // whose factors no helper resets alone
	schoolPrefix   = "etab-"
	subjectPrefix  = "discipline-"
	serviceAccount = "cn=beffroi,ou=services," + BaseDN
	servicePass    = "beffroi-annuaire" // of the sample directory, which only listens on loopback
)

// Sample is a believable academy: everybody and everything in it is invented,
// and the same at each start.
type Sample struct {
	People  []SamplePerson // the six of the README first, then by school
	Schools []School       // the rectorate first
	Groups  []Group        // by name

	byLogin map[string]int
	byUAI   map[string]int
}

// School is a place where people work.
type School struct {
	UAI        string
	Name       string // "Collège Jean-Zay"
	Kind       string // Rectorat, École, Collège, Lycée, Lycée professionnel, Partenaire
	Street     string
	PostalCode string
	City       string
	Phone      string
	Mail       string // of its office: ce.0590002b@academie.test
	Head       string // login; empty when nobody heads it
	SIRET      string // invented, its check digits right
}

// SamplePerson is someone of the academy. ID is the entryUUID, made of the DN.
type SamplePerson struct {
	ID          string
	DN          string
	Login       string
	GivenName   string
	FamilyName  string
	DisplayName string
	Mail        string
	Aliases     []string
	Language    string // fr or en
	UAI         string // where the person works
	HeadOf      string // UAI; empty for nearly everybody
	Function    string // administrative function
	Kind        string // ENS teacher, ADM administration, DIR head, EXT partner
	Title       string
	Subject     string // what a teacher teaches
	Phone       string
	Number      string   // matricule
	Groups      []string // names, sorted
}

// Group is a group of people.
type Group struct {
	DN          string
	Name        string
	Description string
	Members     []string // logins, in the order of People
}

// Academy is the sample academy, the same one at each call: read it only.
var Academy = sync.OnceValue(buildAcademy)

// Person finds somebody by login.
func (s *Sample) Person(login string) (SamplePerson, bool) {
	i, ok := s.byLogin[login]
	if !ok {
		return SamplePerson{}, false
	}
	return s.People[i], true
}

// School finds a school by its code.
func (s *Sample) School(uai string) (School, bool) {
	i, ok := s.byUAI[uai]
	if !ok {
		return School{}, false
	}
	return s.Schools[i], true
}

// Accounts are the people as the mail and DAV servers know them.
func (s *Sample) Accounts() []Account {
	accounts := make([]Account, len(s.People))
	for i, p := range s.People {
		school, _ := s.School(p.UAI)
		accounts[i] = Account{Login: p.Login, Name: p.DisplayName, Mail: p.Mail, Aliases: p.Aliases, Lang: p.Language, UAI: p.UAI, School: school.Name}
	}
	return accounts
}

func personDN(login string) string { return "uid=" + login + ",ou=people," + BaseDN }
func groupDN(name string) string   { return "cn=" + name + ",ou=groups," + BaseDN }

// LDIF is the academy as a directory holds it: tree, service account, people
// with hashed passwords, groups, memberOf and entryUUID. slapadd takes it with
// the schema of the preset openldap.
func (s *Sample) LDIF() string {
	w := &ldifWriter{}
	w.entry(BaseDN, "objectClass", "dcObject", "objectClass", "organization", "dc", "academie", "o", "Académie de démonstration")
	for _, unit := range []string{"people", "groups", "services"} {
		w.entry("ou="+unit+","+BaseDN, "objectClass", "organizationalUnit", "ou", unit)
	}
	w.entry(serviceAccount, "objectClass", "applicationProcess", "objectClass", "simpleSecurityObject", "cn", "beffroi",
		"userPassword", hashedPassword(servicePass, serviceAccount))
	for _, p := range s.People {
		school, _ := s.School(p.UAI)
		w.begin(p.DN)
		w.put("objectClass", "inetOrgPerson")
		w.put("objectClass", "acPersonnel")
		w.put("entryUUID", p.ID)
		w.put("uid", p.Login)
		w.put("cn", p.DisplayName)
		w.put("sn", p.FamilyName)
		w.put("givenName", p.GivenName)
		w.put("displayName", p.DisplayName)
		w.put("mail", p.Mail)
		for _, alias := range p.Aliases {
			w.put("mailAlternateAddress", alias)
		}
		w.put("preferredLanguage", p.Language)
		w.put("frEduRne", p.UAI)
		w.put("frEduRneResp", p.HeadOf)
		w.put("frEduFonctAdm", p.Function)
		w.put("employeeType", p.Kind)
		w.put("title", p.Title)
		w.put("telephoneNumber", p.Phone)
		w.put("employeeNumber", p.Number)
		w.put("l", school.City)
		w.put("o", school.Name)
		w.put("userPassword", hashedPassword(Password, p.DN))
		for _, name := range p.Groups {
			w.put("memberOf", groupDN(name))
		}
		w.end()
	}
	for _, g := range s.Groups {
		w.begin(g.DN)
		w.put("objectClass", "groupOfNames")
		w.put("cn", g.Name)
		w.put("description", g.Description)
		for _, login := range g.Members {
			w.put("member", personDN(login))
		}
		w.end()
	}
	return w.String()
}

// hashedPassword is {SSHA} with a salt made of the DN: the same at each start.
func hashedPassword(password, dn string) string {
	salt := sha1.Sum([]byte("sample salt " + dn))
	sum := sha1.Sum(append([]byte(password), salt[:8]...))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt[:8]...))
}

// ldifWriter writes entries (RFC 2849).
type ldifWriter struct{ strings.Builder }

func (w *ldifWriter) begin(dn string) { w.put("dn", dn) }
func (w *ldifWriter) end()            { w.WriteByte('\n') }

// put writes one value, none when it is empty; in base64 unless it is plain.
func (w *ldifWriter) put(name, value string) {
	if value == "" {
		return
	}
	plain := value[0] != ' ' && value[0] != ':' && value[0] != '<' && !strings.HasSuffix(value, " ")
	for i := range len(value) {
		plain = plain && value[i] >= ' ' && value[i] <= '~'
	}
	if plain {
		w.WriteString(name + ": " + value + "\n")
		return
	}
	w.WriteString(name + ":: " + base64.StdEncoding.EncodeToString([]byte(value)) + "\n")
}

// entry writes a whole entry from names and values in turn.
func (w *ldifWriter) entry(dn string, pairs ...string) {
	w.begin(dn)
	for i := 0; i+1 < len(pairs); i += 2 {
		w.put(pairs[i], pairs[i+1])
	}
	w.end()
}

// join fills in what follows from the rest: identifiers, groups both ways,
// indexes.
func (s *Sample) join() {
	s.byLogin, s.byUAI = make(map[string]int), make(map[string]int)
	for i, school := range s.Schools {
		s.byUAI[school.UAI] = i
	}
	groups := make(map[string]*Group)
	for i := range s.People {
		p := &s.People[i]
		p.DN = personDN(p.Login)
		p.ID = directory.EntryUUID(p.DN)
		s.byLogin[p.Login] = i
		if p.HeadOf != "" {
			s.Schools[s.byUAI[p.HeadOf]].Head = p.Login
		}
		slices.Sort(p.Groups)
		for _, name := range p.Groups {
			if groups[name] == nil {
				groups[name] = &Group{DN: groupDN(name), Name: name, Description: s.describe(name, p.Subject)}
			}
			groups[name].Members = append(groups[name].Members, p.Login)
		}
	}
	for _, g := range groups {
		s.Groups = append(s.Groups, *g)
	}
	slices.SortFunc(s.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
}

// describe words what a group is.
func (s *Sample) describe(name, subject string) string {
	if uai, ok := strings.CutPrefix(name, schoolPrefix); ok {
		school, _ := s.School(uai)
		return "Personnels – " + school.Name + ", " + school.City
	}
	if strings.HasPrefix(name, subjectPrefix) {
		return "Enseignants – " + subject
	}
	return map[string]string{
		groupStaff:     "Tous les personnels de l’académie",
		groupHeads:     "Chefs d’établissement",
		groupHelpdesk:  "Assistance académique",
		groupSensitive: "Comptes sensibles : deux personnes pour les réinitialiser",
		groupSecurity:  "Sécurité des systèmes d’information",
		groupPartners:  "Partenaires de l’académie",
	}[name]
}
