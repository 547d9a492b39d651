package signin

import (
	"slices"
	"strings"

	"beffroi/directory"
)

// Level is how surely a person is known.
type Level int

const (
	OneFactor         Level = 1 // a password
	TwoFactors        Level = 2 // a password and something the person holds
	PhishingResistant Level = 3 // what the person holds answers to this address only
)

// Highest is the highest level that a sign-in here can prove. What asks for
// more is refused at once: no page would help.
func (s *Service) Highest() Level {
	if s.mfa.Passkeys() {
		return PhishingResistant
	}
	return TwoFactors
}

// ACR is the name of a level in the audit trail, and for applications that
// speak no other vocabulary: from REFEDS, and "phr" of OpenID EAP ACR Values 1.0.
func ACR(l Level) string {
	switch {
	case l >= PhishingResistant:
		return "phr"
	case l == TwoFactors:
		return "https://refeds.org/profile/mfa"
	}
	return "https://refeds.org/profile/sfa"
}

// Application is what signing in must know of an application.
type Application struct {
	ID      string
	Name    map[string]string // by language, "fr" and "en"
	Policy  Policy
	Origins []string // where its answer may lead ("https://glpi.example"), for the page's form-action
	Logo    string   // address of its picture, already found to be on a host of its own; may be empty
	Contact string   // whom to ask about it: a telephone number, a mail address or an https address; may be empty
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
func required(p Policy, asked Level) Level { return max(p.Least(), asked) }

// Least is the level that the application asks of everybody.
func (p Policy) Least() Level {
	if p.Assurance == 0 {
		return TwoFactors
	}
	return p.Assurance
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
