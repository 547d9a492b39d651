package directory_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
)

// good is the least that a configuration needs.
func good() directory.Config {
	return directory.Config{URLs: []string{"ldaps://annuaire.academie.test"}, BindDN: "cn=beffroi,dc=x", BindPassword: "secret", BaseDN: "dc=x"}
}

func TestTheLeastConfigurationIsEnough(t *testing.T) {
	for _, preset := range []string{"", "openldap", "inetOrgPerson", "supann", "ent", "ad", "AD"} {
		c := good()
		c.Preset = preset
		if mistakes := c.Validate(); len(mistakes) > 0 {
			t.Errorf("%s: %v", preset, mistakes)
		}
	}
}

func TestEveryMistakeIsReportedWithItsKey(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := directory.Config{
		URLs:   []string{"http://x", "ldap://annuaire.academie.test", "ldap:///dc=x", "ldaps://x/dc=y", "ldaps://z", "ldaps://z", "::"},
		CAFile: empty, BindDN: "beffroi", BindPasswordFile: empty, PeopleBase: "people", PeopleFilter: "(uid=", GroupFilter: "cn",
		Groups: "all", PoolSize: 100000, Timeout: time.Hour, Remember: time.Hour, LockoutDuration: -1,
		Attributes: directory.Attributes{ID: "-", Login: "uid)(", Mail: "e mail", Disabled: []string{"x y"}, MemberOf: "-", Member: "-"},
	}
	var keys []string
	for _, err := range c.Validate() {
		var mistake *directory.Mistake
		if !errors.As(err, &mistake) || !strings.HasPrefix(err.Error(), mistake.Key+": ") || mistake.Problem == "" {
			t.Errorf("%v names no key", err)
			continue
		}
		keys = append(keys, mistake.Key)
	}
	for _, key := range []string{"urls", "start_tls", "ca_file", "bind_dn", "bind_password_file", "base_dn", "people_base", "people_filter", "group_filter",
		"groups", "pool_size", "timeout", "remember", "lockout_duration", "attributes.id", "attributes.login", "attributes.mail", "attributes.disabled",
		"attributes.member_of", "attributes.member"} {
		if !slices.Contains(keys, key) {
			t.Errorf("nothing is said of %s", key)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k != "urls" })); n != 5 {
		t.Errorf("%d mistakes in urls, of 5", n)
	}
	if _, err := directory.Open(c, time.Now); err == nil || !strings.Contains(err.Error(), "pool_size") || !strings.Contains(err.Error(), "bind_dn") {
		t.Errorf("Open says %v", err)
	}
	for _, mistake := range (directory.Config{Preset: "novell"}).Validate() {
		keys = append(keys, mistake.Error())
	}
	if !strings.Contains(strings.Join(keys, "\n"), "preset: \"novell\"") {
		t.Error("nothing is said of the preset")
	}
}

func TestPasswordsDoNotCrossTheNetworkInClear(t *testing.T) {
	for url, allowed := range map[string]bool{
		"ldap://127.0.0.1:389": true, "ldap://localhost": true, "ldap://[::1]": true,
		"ldap://10.0.0.1": false, "ldap://annuaire": false, "ldap://localhost.academie.test": false, "ldap://127.0.0.1.academie.test": false,
	} {
		c := good()
		c.URLs = []string{url}
		if got := len(c.Validate()) == 0; got != allowed {
			t.Errorf("%s: allowed %v", url, got)
		}
		c.StartTLS = true
		if mistakes := c.Validate(); len(mistakes) > 0 {
			t.Errorf("%s with StartTLS: %v", url, mistakes)
		}
		c.StartTLS, c.Cleartext = false, true
		if mistakes := c.Validate(); len(mistakes) > 0 {
			t.Errorf("%s, permitted: %v", url, mistakes)
		}
	}
}

func TestTheServicePasswordIsNotPrinted(t *testing.T) {
	if text := strings.ToLower(sprint(good())); strings.Contains(text, "secret") {
		t.Error(text)
	}
}

func TestEveryAttributeCanBeNamedOtherwise(t *testing.T) {
	text := `dn: cn=x,ou=people,dc=y
numen: 59E
nom-usage: Dupont
prenom: Marie
complet: Marie Dupont
courriel: marie@academie.test
autre: alias@academie.test
langue: en
rne: 0590001A
rneresp: 0590002B
fonction: ADM
type: ADM
grade: Attachée
tel: 03 20 00 00 00
matricule: 59E0012345
uuid: ABC
etat: inactive
userPassword: p
equipe: nom=projet,ou=equipes,dc=y

dn: nom=autre,ou=equipes,dc=y
nom: autre
participant: cn=x,ou=people,dc=y
`
	d := openFile(t, text, directory.Config{BaseDN: "dc=y", Attributes: directory.Attributes{
		ID: "uuid", Login: "numen", DisplayName: "complet", CommonName: "-", GivenName: "prenom", FamilyName: "nom-usage", Mail: "courriel", MailAliases: "autre",
		Language: "langue", UAI: "rne", UAIResponsible: "rneresp", Function: "fonction", Kind: "type", Title: "grade", Phone: "tel", EmployeeNumber: "matricule",
		Disabled: []string{"etat"}, MemberOf: "equipe", Member: "participant", GroupName: "nom",
	}})
	p, err := d.ByLogin(t.Context(), "59e")
	if err != nil {
		t.Fatal(err)
	}
	want := directory.Person{ID: "abc", DN: "cn=x,ou=people,dc=y", Login: "59E", DisplayName: "Marie Dupont", GivenName: "Marie", FamilyName: "Dupont",
		Mail: "marie@academie.test", MailAliases: []string{"alias@academie.test"}, Language: "en", UAI: []string{"0590001A"}, UAIResponsible: []string{"0590002B"},
		Function: "ADM", Kind: "ADM", Title: "Attachée", Phone: "03 20 00 00 00", EmployeeNumber: "59E0012345", Groups: []string{"autre", "projet"}, Disabled: true}
	if got, want := sprint(p), sprint(want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func sprint(v any) string { return fmt.Sprintf("%+v", v) }
