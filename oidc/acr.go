package oidc

import (
	"slices"

	"beffroi/signin"
)

// Vocabularies of acr. One level has a name in each; an application is answered
// in the one that it speaks.
const (
	refeds = "refeds" // refeds.org/profile, and "phr" of OpenID EAP ACR Values 1.0
	eidas  = "eidas"  // as ProConnect spells it
)

// acrNames are the names known here and the level that each stands for, the
// usual name of a level first. What is not here cannot be reached: eidas2 and
// eidas3 also say how the person's papers were looked at, which nobody here knows.
var acrNames = []acrNamed{
	{signin.ACR(signin.OneFactor), signin.OneFactor, refeds},
	{signin.ACR(signin.TwoFactors), signin.TwoFactors, refeds},
	{signin.ACR(signin.PhishingResistant), signin.PhishingResistant, refeds},
	{"eidas1", signin.OneFactor, eidas},
	{"eidas0", signin.OneFactor, eidas},
	{"eidas1-mfa", signin.TwoFactors, eidas},
	{"eidas0-mfa", signin.TwoFactors, eidas},
}

type acrNamed struct {
	name       string
	level      signin.Level
	vocabulary string
}

// levelOf is the level that a name stands for; 0 and "" for an unknown name.
func levelOf(acr string) (level signin.Level, vocabulary string) {
	for _, n := range acrNames {
		if n.name == acr {
			return n.level, n.vocabulary
		}
	}
	return 0, ""
}

// acrsOffered are the names that a sign-in here can prove, for discovery;
// highest is the highest level of one.
func acrsOffered(highest signin.Level) []string {
	var names []string
	for _, n := range acrNames {
		if n.level <= highest {
			names = append(names, n.name)
		}
	}
	return names
}

// acrWish is what a request says of how surely the person must be known: by
// acr_values, by the claim acr, or, where it says nothing, by the application's
// default_acr_values.
type acrWish struct {
	names     []string // the best first
	essential bool     // OpenID Connect Core §5.5.1.1: one of the names, or no answer
}

// level is the assurance that the wish asks of the sign-in: that of the first
// name which can be reached (highest is the highest level), 0 for none. A wish that nothing here can fulfil is
// not ok when it is essential, and otherwise asks nothing.
func (w acrWish) level(highest signin.Level) (level signin.Level, ok bool) {
	for _, name := range w.names {
		if l, _ := levelOf(name); l >= signin.OneFactor && l <= highest {
			return l, true
		}
	}
	return 0, !w.essential || len(w.names) == 0
}

// answer is the acr of somebody known at the level: never the name of a
// stronger one. A name that the wish has for exactly this level is taken as it
// is spelled there; of two such, the usual one, which says more (eidas1 also
// means that the academy knows who it is). An essential wish is answered with
// the strongest of its names that is true, even where more was proven; not ok
// when none is.
func (w acrWish) answer(level signin.Level, c *Client) (acr string, ok bool) {
	best := signin.Level(0)
	for _, name := range w.names {
		l, _ := levelOf(name)
		if l <= level && (l > best || l == best && l > 0 && usualOf(name, acr)) {
			acr, best = name, l
		}
	}
	switch {
	case best == level, best > 0 && w.essential:
		return acr, true
	case w.essential && len(w.names) > 0:
		return "", false
	}
	return acrName(level, w.vocabulary(c)), true
}

// vocabulary is that of the first name of the wish that is known, else the application's own.
func (w acrWish) vocabulary(c *Client) string {
	for _, name := range w.names {
		if _, v := levelOf(name); v != "" {
			return v
		}
	}
	if c.Profile == ProfileProConnect {
		return eidas
	}
	return refeds
}

// usualOf tells whether name is more usual than other, a name of the same level.
func usualOf(name, other string) bool {
	_, a := levelOf(name)
	_, b := levelOf(other)
	place := func(wanted string) int {
		return slices.IndexFunc(acrNames, func(n acrNamed) bool { return n.name == wanted })
	}
	return a == b && place(name) < place(other)
}

// acrName is the strongest name of the vocabulary that the level deserves.
func acrName(level signin.Level, vocabulary string) string {
	name, best := "", signin.Level(0)
	for _, n := range acrNames {
		if n.vocabulary == vocabulary && n.level <= level && n.level > best {
			name, best = n.name, n.level
		}
	}
	return name
}

// amrFor spells the methods of a sign-in as the application reads them: RFC 8176
// has otp where ProConnect says totp.
func amrFor(c *Client, amr []string) []string {
	if c.Profile != ProfileProConnect {
		return amr
	}
	amr = slices.Clone(amr)
	for i, m := range amr {
		if m == "otp" {
			amr[i] = "totp"
		}
	}
	return amr
}

// level is how surely the person of an authorization was known when it was
// given. Rows of before the column was there have it in their acr.
func (g *grant) level() signin.Level {
	if g.Level != 0 {
		return g.Level
	}
	l, _ := levelOf(g.ACR)
	return l
}
