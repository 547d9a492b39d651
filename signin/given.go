package signin

import (
	"slices"
	"time"

	"beffroi/mfa"
)

// Given is one second factor as it was proven.
type Given struct {
	Method   mfa.Method `json:"method"`
	At       time.Time  `json:"at"`
	Verified bool       `json:"verified,omitempty"` // a passkey whose authenticator knew its owner: it stands for the password too
	Model    string     `json:"model,omitempty"`    // AAGUID of a passkey whose maker vouched for it
	Enrols   bool       `json:"enrols,omitempty"`   // a pass that lets its person enrol and nothing else
}

// alone tells whether it says by itself who somebody is: the passkey is what
// they hold, and the PIN or the finger behind it what they know or are.
func (g Given) alone() bool { return g.Method == mfa.Passkey && g.Verified }

// withGiven adds a proof in the place of the one of its method before.
func withGiven(all []Given, g Given) []Given {
	all = slices.DeleteFunc(slices.Clone(all), func(o Given) bool { return o.Method == g.Method })
	return append(all, g)
}

// merged keeps the latest proof of each method.
func merged(one, other []Given) []Given {
	all := slices.Clone(one)
	for _, g := range other {
		i := slices.IndexFunc(all, func(o Given) bool { return o.Method == g.Method })
		switch {
		case i < 0:
			all = append(all, g)
		case g.At.After(all[i].At):
			all[i] = g
		}
	}
	return all
}

// latest is when a factor was last given, trusted browsers apart: they only
// repeat what was given before. Zero when none was.
func latest(all []Given) (at time.Time) {
	for _, g := range all {
		if g.Method != mfa.Device && g.At.After(at) {
			at = g.At
		}
	}
	return at
}

// worth is what a password and one factor prove together; passwordAt is zero
// when no password was given. What can be typed can be typed into a false page
// as well: only a passkey, which answers to this address alone, resists that.
func worth(passwordAt time.Time, g Given) Level {
	switch {
	case g.alone(), g.Method == mfa.Passkey && !passwordAt.IsZero():
		return PhishingResistant
	case passwordAt.IsZero():
		return 0
	case g.At.IsZero(), g.Enrols:
		return OneFactor
	}
	return TwoFactors
}

// strongest is the factor that proves most beside the password, the latest of
// those that prove the same; zero when there is none.
func strongest(passwordAt time.Time, all []Given) (best Given) {
	for _, g := range all {
		if w, b := worth(passwordAt, g), worth(passwordAt, best); w > b || w == b && w > OneFactor && g.At.After(best.At) {
			best = g
		}
	}
	return best
}

// methods names what was proven, as RFC 8176 §2 does.
func methods(passwordAt time.Time, g Given) []string {
	var amr []string
	if !passwordAt.IsZero() {
		amr = append(amr, "pwd")
	}
	switch {
	case worth(passwordAt, g) < TwoFactors:
		return amr
	case g.Method == mfa.Passkey:
		amr = append(amr, "pop")
		if g.Verified {
			amr = append(amr, "user")
		}
	case g.Method != mfa.Device: // a trusted browser only says that there was one
		amr = append(amr, "otp")
	}
	return append(amr, "mfa")
}

// authTime is when the person last said who they are: by the password, or by
// a passkey that stands for it. Zero when they have not.
func authTime(passwordAt time.Time, all []Given) time.Time {
	for _, g := range all {
		if g.alone() && g.At.After(passwordAt) {
			passwordAt = g.At
		}
	}
	return passwordAt
}
