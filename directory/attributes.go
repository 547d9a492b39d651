package directory

import (
	"slices"
	"strings"
)

// Attributes says which attribute of the directory means what. An empty name
// takes the preset's; "-" means that the directory has no such thing.
type Attributes struct {
	ID             string `yaml:"id"`    // unchanging identifier: entryUUID, objectGUID
	Login          string `yaml:"login"` // what a person types
	DisplayName    string `yaml:"display_name"`
	CommonName     string `yaml:"common_name"` // searched for any part; the display name when there is none
	GivenName      string `yaml:"given_name"`
	FamilyName     string `yaml:"family_name"`
	Mail           string `yaml:"mail"`
	MailAliases    string `yaml:"mail_aliases"`
	Language       string `yaml:"language"`
	UAI            string `yaml:"uai"`
	UAIResponsible string `yaml:"uai_responsible"`
	Function       string `yaml:"function"`
	Kind           string `yaml:"kind"`
	Title          string `yaml:"title"`
	Phone          string `yaml:"phone"`
	EmployeeNumber string `yaml:"employee_number"`

	// Disabled lists attributes of which each can close an account. The
	// meaning of userAccountControl, accountExpires, shadowExpire,
	// pwdAccountLockedTime, nsAccountLock and supannRessourceEtat is known; any
	// other closes the account when it reads TRUE, yes, 1 or inactive.
	Disabled []string `yaml:"disabled"`

	MemberOf  string `yaml:"member_of"`  // on the person: the DNs of the groups
	Member    string `yaml:"member"`     // on the group: the DNs of the people; memberUid holds logins
	GroupName string `yaml:"group_name"` // on the group
}

// preset is what a kind of directory calls things.
type preset struct {
	attributes   Attributes
	peopleFilter string
}

// presets by name. "ent" follows the attribute names of the SDET directory
// annex, where a school is a DN on the person (ENTPersonStructRattach), so the
// codes themselves must be named if the directory copies them.
var presets = map[string]preset{
	"openldap": {
		attributes: Attributes{
			ID: "entryUUID", Login: "uid", DisplayName: "displayName", CommonName: "cn", GivenName: "givenName", FamilyName: "sn",
			Mail: "mail", MailAliases: "mailAlternateAddress", Language: "preferredLanguage",
			UAI: "frEduRne", UAIResponsible: "frEduRneResp", Function: "frEduFonctAdm", Kind: "employeeType",
			Title: "title", Phone: "telephoneNumber", EmployeeNumber: "employeeNumber", Disabled: []string{"pwdAccountLockedTime", "shadowExpire"},
			MemberOf: "memberOf", Member: "member", GroupName: "cn",
		},
		peopleFilter: "(objectClass=inetOrgPerson)",
	},
	"supann": {
		attributes: Attributes{
			ID: "entryUUID", Login: "uid", DisplayName: "displayName", CommonName: "cn", GivenName: "givenName", FamilyName: "sn",
			Mail: "mail", MailAliases: "mailAlternateAddress", Language: "preferredLanguage",
			UAI: "supannEtablissement", UAIResponsible: "-", Function: "supannRoleGenerique", Kind: "eduPersonPrimaryAffiliation",
			Title: "title", Phone: "telephoneNumber", EmployeeNumber: "supannEmpId", Disabled: []string{"supannRessourceEtat", "pwdAccountLockedTime", "shadowExpire"},
			MemberOf: "memberOf", Member: "member", GroupName: "cn",
		},
		peopleFilter: "(objectClass=supannPerson)",
	},
	"ent": {
		attributes: Attributes{
			ID: "entryUUID", Login: "ENTPersonLogin", DisplayName: "displayName", CommonName: "cn", GivenName: "givenName", FamilyName: "sn",
			Mail: "mail", MailAliases: "ENTPersonMailAutre", Language: "preferredLanguage",
			UAI: "-", UAIResponsible: "-", Function: "-", Kind: "ENTPersonProfils",
			Title: "title", Phone: "telephoneNumber", EmployeeNumber: "-", Disabled: []string{"pwdAccountLockedTime"},
			MemberOf: "memberOf", Member: "member", GroupName: "cn",
		},
		peopleFilter: "(objectClass=ENTPerson)",
	},
	"ad": {
		attributes: Attributes{
			ID: "objectGUID", Login: "sAMAccountName", DisplayName: "displayName", CommonName: "cn", GivenName: "givenName", FamilyName: "sn",
			Mail: "mail", MailAliases: "proxyAddresses", Language: "preferredLanguage",
			UAI: "-", UAIResponsible: "-", Function: "-", Kind: "employeeType",
			Title: "title", Phone: "telephoneNumber", EmployeeNumber: "employeeID", Disabled: []string{"userAccountControl", "accountExpires"},
			MemberOf: "memberOf", Member: "member", GroupName: "cn",
		},
		peopleFilter: "(&(objectCategory=person)(objectClass=user))",
	},
}

// presetOf finds a preset by any of its names.
func presetOf(name string) (preset, bool) {
	switch name = strings.ToLower(name); name {
	case "", "inetorgperson":
		name = "openldap"
	}
	p, ok := presets[name]
	return p, ok
}

// or fills the names left empty with those of base and clears those set to "-".
func (a Attributes) or(base Attributes) Attributes {
	names, defaults := a.names(), base.names()
	for i, name := range names {
		if *name.attribute == "" {
			*name.attribute = *defaults[i].attribute
		}
		if *name.attribute == "-" {
			*name.attribute = ""
		}
	}
	if a.Disabled == nil {
		a.Disabled = base.Disabled
	}
	if slices.Equal(a.Disabled, []string{"-"}) {
		a.Disabled = []string{}
	}
	return a
}

// namedAttribute is one field of Attributes with its configuration key.
type namedAttribute struct {
	key       string
	attribute *string
}

// names lists the single-valued fields, always in the same order.
func (a *Attributes) names() []namedAttribute {
	return []namedAttribute{
		{"id", &a.ID}, {"login", &a.Login}, {"display_name", &a.DisplayName}, {"common_name", &a.CommonName},
		{"given_name", &a.GivenName}, {"family_name", &a.FamilyName}, {"mail", &a.Mail}, {"mail_aliases", &a.MailAliases},
		{"language", &a.Language}, {"uai", &a.UAI}, {"uai_responsible", &a.UAIResponsible}, {"function", &a.Function},
		{"kind", &a.Kind}, {"title", &a.Title}, {"phone", &a.Phone}, {"employee_number", &a.EmployeeNumber},
		{"member_of", &a.MemberOf}, {"member", &a.Member}, {"group_name", &a.GroupName},
	}
}

// wanted is the list of attributes to ask for a person; groups adds memberOf.
func (a Attributes) wanted(groups bool) []string {
	var list []string
	for _, name := range a.names() {
		switch name.key {
		case "member", "group_name":
			continue
		case "member_of":
			if !groups {
				continue
			}
		}
		if *name.attribute != "" && !slices.Contains(list, *name.attribute) {
			list = append(list, *name.attribute)
		}
	}
	return append(list, a.Disabled...)
}
