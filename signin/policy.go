package signin

import (
	"slices"
	"strings"

	"beffroi/directory"
)

// Level is how surely a person is known.
type Level int

const (
	OneFactor  Level = 1 // a password
	TwoFactors Level = 2 // a password and something the person holds
)

// ACR is the name of a level for applications, from REFEDS.
func ACR(l Level) string {
	if l >= TwoFactors {
		return "https://refeds.org/profile/mfa"
	}
	return "https://refeds.org/profile/sfa"
}

// LevelOf is the inverse of ACR; 0 for a name it does not know.
func LevelOf(acr string) Level {
	switch acr {
	case ACR(OneFactor):
		return OneFactor
	case ACR(TwoFactors):
		return TwoFactors
	}
	return 0
}

// Application is what signing in must know of an application.
type Application struct {
	ID      string
	Name    map[string]string // by language, "fr" and "en"
	Policy  Policy
	Origins []string // where its answer may lead ("https://glpi.example"), for the page's form-action
}

// Title is the application's name in the language, or in any it has.
func (a Application) Title(lang string) string {
	for _, l := range []string{lang, "fr", "en"} {
		if a.Name[l] != "" {
			return a.Name[l]
		}
	}
	return a.ID
}

// Policy is what an application requires.
type Policy struct {
	Groups []string // any of them; empty admits everyone in the directory
	// Assurance is the least level. The zero value asks two factors: who
	// forgets to say gets the safer door.
	Assurance Level
}

// required is the level that a request must reach.
func required(p Policy, asked Level) Level {
	least := p.Assurance
	if least == 0 {
		least = TwoFactors
	}
	return max(least, asked)
}

// allows tells whether the person's groups satisfy the policy. Names compare
// exactly but for case, as LDAP compares cn.
func (p Policy) allows(person directory.Person) bool {
	if len(p.Groups) == 0 {
		return true
	}
	return slices.ContainsFunc(p.Groups, func(wanted string) bool {
		return wanted != "" && slices.ContainsFunc(person.Groups, func(has string) bool { return strings.EqualFold(has, wanted) })
	})
}
