package signin

import (
	"math"
	"slices"
	"time"

	"beffroi/mfa"
)

// Kind is what comes next in a flow.
type Kind int

const (
	AskPassword Kind = iota // the zero value asks for everything
	AskFactor               // one of the factors that the person has
	AskEnrol                // a factor to make: the person has none that is enough
	AskAccount              // with the account that is signed in here, or another one
	Refuse                  // no page may be shown, or no step would be enough
	Done                    // what the application asks for is proven
)

func (k Kind) String() string {
	return [...]string{"password", "factor", "enrol", "account", "refuse", "done"}[k]
}

// Step is the answer of Next.
type Step struct {
	Kind   Kind
	Reason string // Refuse: LoginRequired, InteractionRequired, AccessDenied or NeedsPass
	Person string // whose factor to ask for, or who is done; empty before that is known

	Methods []mfa.Method // AskFactor: any of these; AskEnrol: what may be made; best first
	Models  []string     // AskFactor, AskEnrol: the only passkeys that help; empty: any
	First   bool         // AskEnrol: on the password alone, the person has no factor
	Later   bool         // AskEnrol: may be put off

	// Done: what was proven and when.
	AuthTime   time.Time // the password, or the passkey in its place
	PasswordAt time.Time // zero when a passkey stood for it
	Factors    []Given   // all that counts here
	Level      Level     // what that is worth, never what was asked
	AMR        []string  // the same by its methods (RFC 8176)
}

// NeedsPass is the Reason of a Refuse: the person's first factor is made on a
// pass of the helpdesk only, and there is none.
const NeedsPass = "needs_pass"

// Proof is what a browser's session has proven; the zero Proof is no session.
type Proof struct {
	Person     string
	SID        string    // the session's public id
	PasswordAt time.Time // zero when a passkey stood for it
	Factors    []Given
}

// Holding is what a person could be asked for.
type Holding struct {
	mfa.Held
	Models   []string // attested AAGUIDs among the person's passkeys
	Passkeys bool     // this provider takes passkeys
	Keys     int      // OTP keys in the person's hands that are not active yet
}

// enrolFresh is how long ago a factor may have been given for another to be
// made on it.
const enrolFresh = 15 * time.Minute

// Next decides what comes next, and is the only place that does. It knows only
// what it is given: the flow with what was proven in it, the session of the
// browser, what is required of the person (see Service.require), what the person
// holds, and the time.
//
// The rules, in order:
//   - A flow that has expired proves nothing.
//   - Proofs of two people never add up: what was proven in the flow names the
//     person, and the session counts only when it is the same one's.
//   - A session counts as far as prompt and max_age let it, its password and its
//     factors each by its own time; with select_account, once it was chosen.
//   - No factor without the password before it, but for a passkey that knew its
//     owner.
//   - A trusted browser stands for a factor only where the requirement lets it,
//     and never where anything fresh is asked.
//   - Whoever has a factor makes another on one given lately; whoever has none on
//     a password given in this flow. A pass comes before either.
func Next(f Flow, s Proof, need Requirement, has Holding, now time.Time) Step {
	if need.Level < OneFactor || need.Level > PhishingResistant || need.Level == PhishingResistant && !has.Passkeys {
		return Step{Kind: Refuse, Reason: AccessDenied} // nothing here could ever prove that
	}
	expired := !now.Before(f.Expires)
	if expired {
		f.Person, f.PasswordAt, f.Factors = "", time.Time{}, nil
	}
	person, passwordAt, factors := proven(f, s)

	step := Step{Person: person}
	switch asks := has.answers(need); {
	case person == "" && f.Prompt == SelectAccount && f.Chosen == "" && s.Person != "":
		step = Step{Kind: AskAccount, Person: s.Person}
	case person == "" || authTime(passwordAt, factors).IsZero():
		step = Step{Kind: AskPassword}
	case meets(f, need, passwordAt, factors, now):
		step = done(step, need, f, passwordAt, factors, now)
		if later := need.Wish; later != nil && !f.Deferred && f.Prompt != "none" && !meets(f, later.on(need), passwordAt, factors, now) {
			if wish := enrol(Step{Person: person}, f, later.on(need), has, factors, now); wish.Kind == AskEnrol {
				wish.Later = true
				return wish
			}
		}
	case len(asks) > 0 && !givenToEnrol(factors):
		step.Kind, step.Methods, step.Models = AskFactor, asks, need.Models
	default:
		step = enrol(step, f, need, has, factors, now)
	}
	if f.Prompt == "none" && step.Kind != Done {
		reason := LoginRequired
		if person != "" {
			reason = InteractionRequired
		}
		return Step{Kind: Refuse, Reason: reason}
	}
	return step
}

// done fills a step with what was proven.
func done(step Step, need Requirement, f Flow, passwordAt time.Time, factors []Given, now time.Time) Step {
	counting := slices.DeleteFunc(slices.Clone(factors), func(g Given) bool { return g.Method == mfa.Device && !need.trusts(f, g, now) })
	best := strongest(passwordAt, counting)
	step.Kind, step.AuthTime, step.PasswordAt, step.Factors = Done, authTime(passwordAt, counting), passwordAt, counting
	step.Level, step.AMR = max(OneFactor, worth(passwordAt, best)), methods(passwordAt, best)
	return step
}

// meets tells whether what was proven is what is required.
func meets(f Flow, need Requirement, passwordAt time.Time, factors []Given, now time.Time) bool {
	if need.Level == OneFactor && need.Fresh == 0 {
		return !authTime(passwordAt, factors).IsZero()
	}
	return slices.ContainsFunc(factors, func(g Given) bool {
		switch {
		case worth(passwordAt, g) < max(need.Level, TwoFactors) || g.Enrols:
			return false
		case g.Method == mfa.Device:
			return need.trusts(f, g, now)
		case need.Fresh > 0 && g.At.Before(f.Received) && now.Sub(g.At) > need.Fresh:
			return false
		}
		return need.accepts(g.Method) && (len(need.Models) == 0 || g.Method == mfa.Passkey && contains(need.Models, g.Model))
	})
}

// enrol says how the person comes to a factor that is enough.
func enrol(step Step, f Flow, need Requirement, has Holding, factors []Given, now time.Time) Step {
	can := need.enrols(has)
	if len(can) == 0 {
		return Step{Kind: Refuse, Reason: AccessDenied}
	}
	current := slices.ContainsFunc(factors, func(g Given) bool { return g.Method != mfa.Device && now.Sub(g.At) <= enrolFresh })
	switch held := has.any(); {
	case current:
		step.Kind = AskEnrol
	case len(held) > 0:
		step.Kind, step.Methods = AskFactor, held
		return step
	case need.PassFirst:
		return Step{Kind: Refuse, Reason: NeedsPass, Person: step.Person}
	case f.Person != step.Person || f.PasswordAt.IsZero():
		return Step{Kind: AskPassword}
	default:
		step.Kind, step.First = AskEnrol, true
	}
	step.Methods, step.Models = can, need.Models
	return step
}

// givenToEnrol tells whether a pass was given that is good for enrolling only:
// asking again would go in circles.
func givenToEnrol(factors []Given) bool {
	return slices.ContainsFunc(factors, func(g Given) bool { return g.Enrols })
}

// subject is whose factors Next must be told of; empty when it will not ask.
func subject(f Flow, s Proof) string {
	person, _, _ := proven(f, s)
	return person
}

// proven adds up what flow and session have shown of one person.
func proven(f Flow, s Proof) (person string, passwordAt time.Time, factors []Given) {
	if f.Person != "" {
		person, passwordAt, factors = f.Person, f.PasswordAt, f.Factors
	}
	if s.Person == "" || person != "" && person != s.Person {
		return person, passwordAt, factors
	}
	if passwordAt.IsZero() && f.counts(s, s.PasswordAt) {
		person, passwordAt = s.Person, s.PasswordAt
	}
	var more []Given
	for _, g := range s.Factors {
		if f.counts(s, g.At) {
			more = append(more, g)
		}
	}
	if person == "" && !authTime(time.Time{}, more).IsZero() {
		person = s.Person
	}
	// A session's factors add to a password of the same person, or to a passkey.
	if all := merged(factors, more); !authTime(passwordAt, all).IsZero() {
		factors = all
	}
	return person, passwordAt, factors
}

// counts tells whether what a session proved at t may count for the flow's
// request: OpenID Connect Core §3.1.2.1, prompt and max_age. What was proven
// after the request arrived always may, or a slow person would go in circles.
func (f Flow) counts(s Proof, t time.Time) bool {
	switch {
	case t.IsZero():
		return false
	case !t.Before(f.Received):
		return true
	case f.Prompt == "login":
		return false
	case f.Prompt == SelectAccount && (s.SID == "" || f.Chosen != s.SID):
		return false
	case f.MaxAge == nil:
		return true
	}
	if *f.MaxAge >= math.MaxInt32 { // 68 years: no session is older
		return true
	}
	return f.Received.Sub(t) <= time.Duration(*f.MaxAge)*time.Second
}
