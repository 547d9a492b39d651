package oidc

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"beffroi/directory"
)

// ProConnectConfig says how the academy's directory is told to ProConnect.
type ProConnectConfig struct {
	// SIRET of the academy: for everybody whose schools have none here.
	SIRET string `yaml:"siret"`
	// Schools by UAI code, here or in a file of lines "UAI;SIRET;name".
	Schools     map[string]ProConnectSchool `yaml:"schools"`
	SchoolsFile string                      `yaml:"schools_file"`
	// MailDomains are those whose addresses ProConnect sends here. Of a person's
	// addresses, the first one of these domains is told.
	MailDomains []string `yaml:"mail_domains"`
	// UID is what the claim uid says: "login" (default), "id", "mail" or "employee_number".
	UID string `yaml:"uid"`
	// Populations gives the claim belonging_population by kind of staff, beside
	// or instead of ENS, ADM, DIR: agent and EXT: partenaire; "" tells nothing.
	Populations map[string]string `yaml:"populations"`
	// OrganizationalUnit is "school" (default: its name among Schools), "title" or "none".
	OrganizationalUnit string `yaml:"organizational_unit"`
	// Phone tells telephone numbers.
	Phone bool `yaml:"phone"`
	// ChorusDT is for the State's travel software; empty, its claims are left out.
	ChorusDT ChorusDT `yaml:"chorusdt"`
}

// ProConnectSchool is a place where people work.
type ProConnectSchool struct {
	SIRET string `yaml:"siret"`
	Name  string `yaml:"name"`
}

// ChorusDT names the ministry; the person's employee number goes with it.
type ChorusDT struct {
	Societe string `yaml:"societe"`
}

// What belonging_population may say.
var populations = []string{"agent", "prestataire", "partenaire", "stagiaire"}

var (
	uaiCode    = regexp.MustCompile(`^[0-9]{7}[A-Z]$`)
	mailDomain = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$`)
	// phoneNumber is what ProConnect keeps of telephone numbers.
	phoneNumber = regexp.MustCompile(`^\+?(?:[0-9][ -]?){6,14}[0-9]$`)
)

// used tells whether anything of the section is written.
func (c ProConnectConfig) used() bool {
	return c.SIRET != "" || len(c.Schools) > 0 || c.SchoolsFile != "" || len(c.MailDomains) > 0 || c.UID != "" || len(c.Populations) > 0 ||
		c.OrganizationalUnit != "" || c.Phone || c.ChorusDT != ChorusDT{}
}

// proconnect is the mapping, read and found sound.
type proconnect struct {
	siret       string
	schools     map[string]ProConnectSchool
	domains     []string
	uid         string
	populations map[string]string // by kind in capital letters
	unit        string
	phone       bool
	societe     string
}

// open reads the section and the file it names. Every mistake is returned, each
// beginning with its key.
func (c ProConnectConfig) open() (*proconnect, []error) {
	var all []error
	wrong := func(key, format string, args ...any) {
		all = append(all, fmt.Errorf("proconnect.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	p := &proconnect{schools: map[string]ProConnectSchool{}, uid: c.UID, unit: c.OrganizationalUnit, phone: c.Phone, societe: strings.TrimSpace(c.ChorusDT.Societe),
		populations: map[string]string{"ENS": "agent", "ADM": "agent", "DIR": "agent", "EXT": "partenaire"}}
	var err error
	switch p.siret, err = parseSIRET(c.SIRET); {
	case c.SIRET == "":
		wrong("siret", "is needed: the academy's, for everybody whose school has none")
	case err != nil:
		wrong("siret", "%q: %v", c.SIRET, err)
	}
	c.openSchools(p, wrong)
	if len(c.MailDomains) == 0 {
		wrong("mail_domains", "is needed: the domains of the academy's addresses, as declared to ProConnect")
	}
	for _, one := range c.MailDomains {
		d := strings.ToLower(strings.TrimSpace(one))
		if !mailDomain.MatchString(d) {
			wrong("mail_domains", "%q is not a domain such as ac-lille.fr", one)
		}
		p.domains = append(p.domains, d)
	}
	if p.uid == "" {
		p.uid = "login"
	}
	if !slices.Contains([]string{"login", "id", "mail", "employee_number"}, p.uid) {
		wrong("uid", "must be one of login, id, mail, employee_number, not %q", c.UID)
	}
	if p.unit == "" {
		p.unit = "school"
	}
	if !slices.Contains([]string{"school", "title", "none"}, p.unit) {
		wrong("organizational_unit", "must be one of school, title, none, not %q", c.OrganizationalUnit)
	}
	for kind, population := range c.Populations {
		if population != "" && !slices.Contains(populations, population) {
			wrong("populations", "%s: must be one of %s, not %q", kind, strings.Join(populations, ", "), population)
		}
		p.populations[strings.ToUpper(kind)] = population
	}
	return p, all
}

// openSchools joins the schools of the section and those of its file.
func (c ProConnectConfig) openSchools(p *proconnect, wrong func(key, format string, args ...any)) {
	add := func(key, where, uai string, school ProConnectSchool) {
		uai = strings.ToUpper(strings.TrimSpace(uai))
		siret, err := parseSIRET(school.SIRET)
		switch {
		case !uaiCode.MatchString(uai):
			wrong(key, "%s%q is not a UAI code such as 0590002B", where, uai)
		case err != nil:
			wrong(key, "%s%s: siret %q: %v", where, uai, school.SIRET, err)
		case p.schools[uai] != ProConnectSchool{}:
			wrong(key, "%s%s stands twice", where, uai)
		default:
			p.schools[uai] = ProConnectSchool{siret, limited(school.Name)}
		}
	}
	codes := make([]string, 0, len(c.Schools))
	for uai := range c.Schools {
		codes = append(codes, uai)
	}
	sort.Strings(codes)
	for _, uai := range codes {
		add("schools", "", uai, c.Schools[uai])
	}
	if c.SchoolsFile == "" {
		return
	}
	text, err := os.ReadFile(c.SchoolsFile)
	if err != nil {
		wrong("schools_file", "%v", err)
		return
	}
	if err := readSchools(text, func(line int, uai string, school ProConnectSchool) {
		add("schools_file", fmt.Sprintf("line %d: ", line), uai, school)
	}); err != nil {
		wrong("schools_file", "%v", err)
	}
}

// readSchools reads lines of UAI, SIRET and, if known, name, separated by
// semicolons or commas, as spreadsheets write them. A first line that begins
// with "uai" is a heading.
func readSchools(text []byte, add func(line int, uai string, school ProConnectSchool)) error {
	if !utf8.Valid(text) {
		return errors.New("is not written in UTF-8")
	}
	content := strings.TrimPrefix(string(text), "\ufeff")
	r := csv.NewReader(strings.NewReader(content))
	if first, _, _ := strings.Cut(content, "\n"); strings.Contains(first, ";") {
		r.Comma = ';'
	}
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	for n := 0; ; n++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		if n == 0 && strings.HasPrefix(strings.ToLower(row[0]), "uai") {
			continue
		}
		if len(row) < 2 || len(row) > 3 {
			return fmt.Errorf("line %d: has %d fields, not UAI;SIRET or UAI;SIRET;name", line, len(row))
		}
		school := ProConnectSchool{SIRET: row[1]}
		if len(row) == 3 {
			school.Name = row[2]
		}
		add(line, row[0], school)
	}
}

// claims is what userinfo tells ProConnect of a person beside sub. It is pure;
// what is not known, or would be refused, is left out, never null or empty.
func (p *proconnect) claims(person directory.Person, scopes []string) map[string]any {
	claims := map[string]any{}
	put := func(scope, name, value string) {
		if value = limited(value); value != "" && slices.Contains(scopes, scope) {
			claims[name] = value
		}
	}
	school := p.school(person)
	siret := p.siret
	if school.SIRET != "" {
		siret = school.SIRET
	}
	put("uid", "uid", p.uidOf(person))
	put("given_name", "given_name", person.GivenName)
	put("usual_name", "usual_name", person.FamilyName)
	put("email", "email", p.mailOf(person))
	put("siret", "siret", siret)
	if siret != "" {
		put("siren", "siren", siret[:9])
	}
	switch p.unit {
	case "school":
		put("organizational_unit", "organizational_unit", school.Name)
	case "title":
		put("organizational_unit", "organizational_unit", person.Title)
	}
	put("belonging_population", "belonging_population", p.populations[strings.ToUpper(person.Kind)])
	if p.phone {
		put("phone", "phone_number", plainPhone(person.Phone))
	}
	if p.societe != "" && person.EmployeeNumber != "" {
		put("chorusdt", "chorusdt:societe", p.societe)
		put("chorusdt", "chorusdt:matricule", person.EmployeeNumber)
	}
	return claims
}

// missing lists the claims without which ProConnect turns the person away (Y500006).
func missingForProConnect(claims map[string]any) []string {
	var missing []string
	for _, name := range []string{"uid", "given_name", "usual_name", "email"} {
		if claims[name] == nil {
			missing = append(missing, name)
		}
	}
	return missing
}

// school is where the person works: the first of the schools that the person
// heads, else of those where the person works, that the mapping knows.
func (p *proconnect) school(person directory.Person) ProConnectSchool {
	for _, uai := range append(slices.Clone(person.UAIResponsible), person.UAI...) {
		if school, ok := p.schools[uai]; ok {
			return school
		}
	}
	return ProConnectSchool{}
}

// uidOf is ASCII, as ProConnect wants it. Who has no such value is told by the
// directory's own identifier, which nobody else has.
func (p *proconnect) uidOf(person directory.Person) string {
	value := map[string]string{"login": person.Login, "id": person.ID, "mail": p.mailOf(person), "employee_number": person.EmployeeNumber}[p.uid]
	if value == "" || len(value) > maxClaim || strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII }) {
		return person.ID
	}
	return value
}

// mailOf is the person's address in one of the declared domains: ProConnect may
// refuse another (Y500027). Without one, it is the main address.
func (p *proconnect) mailOf(person directory.Person) string {
	for _, address := range append([]string{person.Mail}, person.MailAliases...) {
		_, domain, ok := strings.Cut(address, "@")
		if ok && slices.Contains(p.domains, strings.ToLower(domain)) {
			return address
		}
	}
	return person.Mail
}

// KnownSchools is how many schools have a SIRET of their own.
func (c ProConnectConfig) KnownSchools() int {
	p, _ := c.open()
	return len(p.schools)
}

// AddressOf is the mail address by which ProConnect knows the person; "" for none.
func (c ProConnectConfig) AddressOf(person directory.Person) string {
	p, _ := c.open()
	return p.mailOf(person)
}

// plainPhone writes a number as ProConnect reads it, or not at all.
func plainPhone(number string) string {
	number = strings.NewReplacer("(0)", "", ".", " ", "/", " ", "\u00a0", " ", "\u202f", " ").Replace(strings.TrimSpace(number))
	number = strings.Join(strings.Fields(number), " ")
	if !phoneNumber.MatchString(number) {
		return ""
	}
	return number
}

// maxClaim is how many characters ProConnect takes.
const maxClaim = 256

// limited is a text of at most maxClaim characters, without the spaces around it.
func limited(s string) string {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > maxClaim {
		s = strings.TrimSpace(string([]rune(s)[:maxClaim]))
	}
	return s
}
