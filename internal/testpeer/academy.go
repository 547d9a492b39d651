package testpeer

import (
	"crypto/sha1" // the directory's own {SSHA} format
	"encoding/base64"
	"fmt"
	"strings"
)

// Password opens the account of every person of the test academy.
const Password = "Beffroi-59!"

const (
	baseDN       = "dc=academie,dc=test"
	peopleDN     = "ou=people," + baseDN
	groupsDN     = "ou=groups," + baseDN
	serviceDN    = "cn=beffroi,ou=services," + baseDN
	servicePass  = "service-secret"
	rootDN       = "cn=admin," + baseDN
	rootPassword = "admin-secret"
)

// Person is someone of the test academy.
type Person struct {
	Login, GivenName, FamilyName, Mail, Language string
	UAI, Responsible, Function, Kind             string
	Groups                                       []string
}

// DN is the person's place in the directory.
func (p Person) DN() string { return "uid=" + p.Login + "," + peopleDN }

// People are the six sample persons: the same logins, groups and schools as in the demo.
func People() []Person {
	return []Person{
		{"mdupont", "Marie", "Dupont", "marie.dupont@academie.test", "fr", "0590001A", "", "ADM", "ADM", []string{"tous-personnels", "helpdesk"}},
		{"jmartin", "Jean-François", "Martin", "jean-francois.martin@academie.test", "fr", "0590002B", "0590002B", "DIR", "DIR", []string{"tous-personnels", "chefs-etablissement"}},
		{"ssmith", "Sarah", "Smith", "sarah.smith@academie.test", "en", "0590002B", "", "", "ENS", []string{"tous-personnels"}},
		{"plefebvre", "Paul", "Lefebvre", "paul.lefebvre@academie.test", "fr", "0590003C", "", "", "ENS", []string{"tous-personnels"}},
		{"aadmin", "Aïcha", "Admin", "aicha.admin@academie.test", "fr", "0590001A", "", "RSSI", "ADM", []string{"tous-personnels", "securite"}},
		{"xpartenaire", "Xavier", "Partenaire", "xavier.partenaire@academie.test", "fr", "0599999Z", "", "", "EXT", []string{"partenaires"}},
	}
}

// GeneratePeople gives n teachers u000000, u000001 … of schools of about forty, all in tous-personnels and in the group of their school.
func GeneratePeople(n int) []Person {
	given := strings.Fields("Marie Jean Nathalie Philippe Isabelle Michel Sophie Alain Zoé Chloé François Hélène Noël Inès Éric Amélie")
	family := strings.Fields("Dupont Martin Lefèvre Leroy Deschamps Vandenberghe Delattre Wattrelos Carpentier Lemaître Hénin Dubois Caron")
	people := make([]Person, n)
	for i := range people {
		login, school := fmt.Sprintf("u%06d", i), fmt.Sprintf("059%04dA", 100+i/40)
		people[i] = Person{login, given[i*7%len(given)], family[i*5%len(family)], login + "@academie.test", "fr", school, "", "", "ENS",
			[]string{"tous-personnels", "etab-" + school}}
	}
	return people
}

// academyLDIF is the whole directory for slapadd, which runs no overlay: so memberOf and hashed passwords stand in the text.
func academyLDIF(people []Person) string {
	var b strings.Builder
	entry := func(dn string, lines ...string) {
		b.WriteString(ldifLine("dn", dn))
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			if value != "" {
				b.WriteString(ldifLine(name, value))
			}
		}
		b.WriteByte('\n')
	}
	entry(baseDN, "objectClass: dcObject", "objectClass: organization", "dc: academie", "o: Académie de test")
	for _, ou := range []string{"people", "groups", "services", "policies"} {
		entry("ou="+ou+","+baseDN, "objectClass: organizationalUnit", "ou: "+ou)
	}
	entry("cn=default,ou=policies,"+baseDN, "objectClass: device", "objectClass: pwdPolicy", "cn: default", "pwdAttribute: userPassword",
		"pwdMinLength: 8", "pwdCheckQuality: 2", "pwdInHistory: 3", "pwdMaxAge: 31536000", "pwdExpireWarning: 1209600", "pwdGraceAuthNLimit: 2",
		"pwdLockout: TRUE", "pwdMaxFailure: 10", "pwdLockoutDuration: 300", "pwdFailureCountInterval: 600", "pwdMustChange: TRUE",
		"pwdAllowUserChange: TRUE", "pwdSafeModify: FALSE")
	entry(serviceDN, "objectClass: applicationProcess", "objectClass: simpleSecurityObject", "cn: beffroi", "userPassword: "+ssha(servicePass, "service"))

	members := map[string][]string{}
	var groups []string
	for _, p := range people {
		lines := []string{"objectClass: inetOrgPerson", "objectClass: acPersonnel", "uid: " + p.Login,
			"cn: " + p.GivenName + " " + p.FamilyName, "sn: " + p.FamilyName, "givenName: " + p.GivenName,
			"displayName: " + p.GivenName + " " + p.FamilyName, "mail: " + p.Mail, "preferredLanguage: " + p.Language,
			"frEduRne: " + p.UAI, "frEduRneResp: " + p.Responsible, "frEduFonctAdm: " + p.Function, "employeeType: " + p.Kind,
			"userPassword: " + ssha(Password, p.Login)}
		if alias := p.Login + "@academie.test"; alias != p.Mail {
			lines = append(lines, "mailAlternateAddress: "+alias)
		}
		for _, g := range p.Groups {
			lines = append(lines, "memberOf: cn="+g+","+groupsDN)
			if members[g] == nil {
				groups = append(groups, g)
			}
			members[g] = append(members[g], "member: "+p.DN())
		}
		entry(p.DN(), lines...)
	}
	for _, g := range groups {
		entry("cn="+g+","+groupsDN, append([]string{"objectClass: groupOfNames", "cn: " + g}, members[g]...)...)
	}
	return b.String()
}

// ldifLine writes one attribute, in base64 unless it is plain ASCII (RFC 2849 §2).
func ldifLine(name, value string) string {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || i == 0 && (c == ' ' || c == ':' || c == '<') {
			return name + ":: " + base64.StdEncoding.EncodeToString([]byte(value)) + "\n"
		}
	}
	return name + ": " + value + "\n"
}

func ssha(password, salt string) string {
	sum := sha1.Sum([]byte(password + salt))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}
