package signin

import (
	"math"
	"time"
)

// Kind is what comes next in a flow.
type Kind int

const (
	AskPassword Kind = iota // the zero value asks for everything
	AskFactor               // the code of a factor that the person has
	AskEnrol                // the person has none: make one, with its first code
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
	Reason string // Refuse: LoginRequired, InteractionRequired or AccessDenied
	Person string // whose factor to ask for, or who is done; empty before that is known

	// Done: what was proven and when.
	AuthTime time.Time // the password
	FactorAt time.Time // the second factor; zero with one factor only
	Level    Level     // what that is worth, never what was asked
	AMR      []string  // the same by its methods (RFC 8176)
}

// Proof is what a browser's session has proven; the zero Proof is no session.
type Proof struct {
	Person   string
	SID      string    // the session's public id
	AuthTime time.Time // of the password
	FactorAt time.Time // zero when none was given
}

// Next decides what comes next, and is the only place that does. It knows only
// what it is given: the flow with what was proven in it, the session of the
// browser, the application's policy, how many factors the flow's or the
// session's person has (see subject), and the time.
//
// The rules, in order:
//   - A flow that has expired proves nothing.
//   - Proofs of two people never add up: what was proven in the flow names the
//     person, and the session counts only when it is the same one's.
//   - A session counts as far as prompt and max_age let it, its password and its
//     factor each by its own time; with select_account, once it was chosen.
//   - No factor without the password before it; no new factor on an old password:
//     enrolling asks for one given in this flow.
func Next(f Flow, s Proof, policy Policy, factors int, now time.Time) Step {
	level := required(policy, f.Assurance)
	if !level.Reachable() {
		return Step{Kind: Refuse, Reason: AccessDenied} // nothing here could ever prove that
	}
	expired := !now.Before(f.Expires)
	if expired {
		f.Person, f.PasswordAt, f.FactorAt = "", time.Time{}, time.Time{}
	}
	person, passwordAt, factorAt := proven(f, s)

	step := Step{Person: person}
	switch {
	case person == "" && f.Prompt == SelectAccount && f.Chosen == "" && s.Person != "":
		step = Step{Kind: AskAccount, Person: s.Person}
	case person == "" || passwordAt.IsZero():
		step = Step{Kind: AskPassword}
	case worth(factorAt) >= level:
		step.Kind, step.AuthTime, step.FactorAt = Done, passwordAt, factorAt
		step.Level, step.AMR = worth(factorAt), methods(factorAt)
	case factors > 0:
		step.Kind = AskFactor
	case f.Person != person || f.PasswordAt.IsZero():
		step = Step{Kind: AskPassword}
	default:
		step.Kind = AskEnrol
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

// worth is the level of a password and, when it was given, a second factor. The
// only kind there is, a code of a telephone or a key, can be typed into a false
// page as well: it proves two factors and never PhishingResistant.
func worth(factorAt time.Time) Level {
	if factorAt.IsZero() {
		return OneFactor
	}
	return TwoFactors
}

// methods names what worth counts, as RFC 8176 §2 does.
func methods(factorAt time.Time) []string {
	if factorAt.IsZero() {
		return []string{"pwd"}
	}
	return []string{"pwd", "otp", "mfa"}
}

// subject is whose factors Next must be told of; empty when it will not ask.
func subject(f Flow, s Proof) string {
	person, _, _ := proven(f, s)
	return person
}

// proven adds up what flow and session have shown of one person.
func proven(f Flow, s Proof) (person string, passwordAt, factorAt time.Time) {
	if f.Person != "" {
		person, passwordAt, factorAt = f.Person, f.PasswordAt, f.FactorAt
	}
	if s.Person == "" || person != "" && person != s.Person {
		return person, passwordAt, factorAt
	}
	if passwordAt.IsZero() && f.counts(s, s.AuthTime) {
		person, passwordAt = s.Person, s.AuthTime
	}
	// A session's factor adds to a password of the same person, never stands alone.
	if factorAt.IsZero() && !passwordAt.IsZero() && f.counts(s, s.FactorAt) {
		factorAt = s.FactorAt
	}
	return person, passwordAt, factorAt
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
