package signin

import (
	"slices"
	"strings"
	"time"

	"beffroi/mfa"
)

// Requirement is what is required of one person for one request: the
// application's policy, what the request asks, and the rules that fit, the
// strictest of each.
type Requirement struct {
	Level     Level         // the least
	Methods   []mfa.Method  // the only factors that count; empty: any
	Models    []string      // AAGUIDs of the only passkeys that count, attested; empty: any
	Fresh     time.Duration // how long ago a factor may have been given; 0: as long as the session lives
	Trust     time.Duration // how long a browser may stand for a factor given in it before; 0: not at all
	PassFirst bool          // a first factor is made on a pass of the helpdesk
	Wish      *Wish         // what will be required once it can be put off no more
}

// Wish is a rule whose time has not come.
type Wish struct {
	Rule    string // its name
	Level   Level
	Methods []mfa.Method
	Models  []string
	Ends    time.Time // when it can be put off no more; zero: by Left alone
	Left    int       // how often it can still be put off; -1: as often as one likes
}

// on is the requirement with the wish fulfilled.
func (w *Wish) on(need Requirement) Requirement {
	need.Wish = nil
	return need.and(Requirement{Level: w.Level, Methods: w.Methods, Models: w.Models})
}

// and is both requirements.
func (r Requirement) and(o Requirement) Requirement {
	r.Level = max(r.Level, o.Level)
	r.Methods = both(r.Methods, o.Methods, func(a, b mfa.Method) bool { return a == b })
	r.Models = both(r.Models, o.Models, strings.EqualFold)
	if o.Fresh > 0 && (r.Fresh == 0 || o.Fresh < r.Fresh) {
		r.Fresh = o.Fresh
	}
	r.PassFirst = r.PassFirst || o.PassFirst
	return r
}

// both lists what stands in the two lists, of which an empty one means all. Lists
// that share nothing leave a value that nothing equals, not an empty list.
func both[T ~string](one, other []T, same func(a, b T) bool) []T {
	if len(one) == 0 {
		return other
	}
	if len(other) == 0 {
		return one
	}
	left := slices.DeleteFunc(slices.Clone(one), func(a T) bool {
		return !slices.ContainsFunc(other, func(b T) bool { return same(a, b) })
	})
	if len(left) == 0 {
		return []T{"none"}
	}
	return left
}

func contains(list []string, value string) bool {
	return value != "" && slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, value) })
}

// accepts tells whether a factor of the method counts.
func (r Requirement) accepts(m mfa.Method) bool {
	return len(r.Methods) == 0 || slices.Contains(r.Methods, m)
}

// trusts tells whether a trusted browser stands for a factor.
func (r Requirement) trusts(f Flow, g Given, now time.Time) bool {
	return r.mayTrust(f) && now.Sub(g.At) <= r.Trust
}

// mayTrust tells whether any trusted browser would do: not where something
// fresh, or better, is asked.
func (r Requirement) mayTrust(f Flow) bool {
	return r.Trust > 0 && r.Level <= TwoFactors && r.Fresh == 0 && len(r.Methods) == 0 && len(r.Models) == 0 && f.Prompt != "login" && f.MaxAge == nil
}

// typed are the methods that somebody can be asked for, best first.
var typed = []mfa.Method{mfa.Passkey, mfa.Key, mfa.TOTP, mfa.Mail, mfa.Pass, mfa.Recovery}

// answers lists what the person holds that would meet the requirement.
func (h Holding) answers(need Requirement) []mfa.Method {
	return slices.DeleteFunc(h.any(), func(m mfa.Method) bool {
		switch {
		case !need.accepts(m):
			return true
		case m != mfa.Passkey:
			return need.Level > TwoFactors || len(need.Models) > 0
		}
		return len(need.Models) > 0 && !slices.ContainsFunc(h.Models, func(id string) bool { return contains(need.Models, id) })
	})
}

// any lists everything that the person could be asked for.
func (h Holding) any() []mfa.Method {
	var all []mfa.Method
	for _, m := range typed {
		if h.Held[m] > 0 && (m != mfa.Passkey || h.Passkeys) {
			all = append(all, m)
		}
	}
	return all
}

// enrols lists what the person could make here that would be enough, best first.
func (r Requirement) enrols(has Holding) []mfa.Method {
	var can []mfa.Method
	if has.Passkeys && r.accepts(mfa.Passkey) {
		can = append(can, mfa.Passkey)
	}
	if r.Level <= TwoFactors && len(r.Models) == 0 && r.accepts(mfa.Key) && has.Keys > 0 {
		can = append(can, mfa.Key)
	}
	if r.Level <= TwoFactors && len(r.Models) == 0 && r.accepts(mfa.TOTP) && has.Held[mfa.TOTP] == 0 {
		can = append(can, mfa.TOTP)
	}
	return can
}
