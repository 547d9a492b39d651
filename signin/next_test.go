package signin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"beffroi/mfa"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func seconds(n int64) *int64 { return &n }

// ago is d before noon; the zero duration stands for never.
func ago(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return noon.Add(-d)
}

// otp is a code given at t; none for the zero time.
func otp(t time.Time) []Given {
	if t.IsZero() {
		return nil
	}
	return []Given{{Method: mfa.TOTP, At: t}}
}

// decide is Next for somebody with so many authenticator apps, where passkeys
// are not used and no rule adds anything.
func decide(f Flow, s Proof, p Policy, apps int) Step {
	return Next(f, s, Requirement{Level: required(p, f.Assurance)}, Holding{Held: mfa.Held{mfa.TOTP: apps}}, noon)
}

func TestNextAsksForWhatIsMissing(t *testing.T) {
	type session struct {
		person           string
		password, factor time.Duration
	}
	type proven struct {
		person           string
		password, factor time.Duration
	}
	one, two := Policy{Assurance: OneFactor}, Policy{Assurance: TwoFactors}
	for _, c := range []struct {
		name    string
		policy  Policy
		asked   Level
		prompt  string
		chosen  string
		maxAge  *int64
		session session
		flow    proven
		factors int
		want    Kind
		reason  string
		person  string
		level   Level
	}{
		{name: "nobody is there", policy: one, want: AskPassword},
		{name: "nobody is there, two factors asked", policy: two, factors: 1, want: AskPassword},
		{name: "a policy that says nothing asks two factors", session: session{"p", time.Hour, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "password proven, one factor asked", policy: one, flow: proven{"p", time.Second, 0}, want: Done, person: "p", level: OneFactor},
		{name: "password proven, two asked", policy: two, flow: proven{"p", time.Second, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "password proven, two asked, none there", policy: two, flow: proven{"p", time.Second, 0}, want: AskEnrol, person: "p"},
		{name: "both proven", policy: two, flow: proven{"p", time.Minute, time.Second}, factors: 1, want: Done, person: "p", level: TwoFactors},
		{name: "a factor alone is nothing", policy: two, flow: proven{"p", 0, time.Second}, factors: 1, want: AskPassword},
		{name: "session with both", policy: two, session: session{"p", time.Hour, time.Hour}, factors: 1, want: Done, person: "p", level: TwoFactors},
		{name: "session with one, two asked: the factor is not skipped", policy: two, session: session{"p", time.Hour, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "session with one, two asked by the request", policy: one, asked: TwoFactors, session: session{"p", time.Hour, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "a request cannot ask for less than the policy", policy: two, asked: OneFactor, session: session{"p", time.Hour, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "session with one and no factor: no enrolment on an old password", policy: two, session: session{"p", time.Hour, 0}, want: AskPassword},
		{name: "session with one, factor given now", policy: two, session: session{"p", time.Hour, 0}, flow: proven{"p", 0, time.Second}, factors: 1, want: Done, person: "p", level: TwoFactors},
		{name: "session with both stays strong for a weak application", policy: one, session: session{"p", time.Hour, time.Hour}, want: Done, person: "p", level: TwoFactors},
		{name: "another person's session does not add its factor", policy: two, session: session{"q", time.Hour, time.Hour}, flow: proven{"p", time.Second, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "another person's session does not add its password", policy: two, session: session{"q", time.Hour, time.Hour}, flow: proven{"p", 0, time.Second}, factors: 1, want: AskPassword},
		{name: "prompt=login: the session does not count", policy: two, prompt: "login", session: session{"p", time.Hour, time.Hour}, factors: 1, want: AskPassword},
		{name: "prompt=login: nor does its factor", policy: two, prompt: "login", session: session{"p", time.Hour, time.Hour}, flow: proven{"p", time.Second, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "prompt=login: proven after the request arrived", policy: two, prompt: "login", session: session{"p", 10 * time.Second, 5 * time.Second}, factors: 1, want: Done, person: "p", level: TwoFactors},
		{name: "max_age: old enough to ask again", policy: one, maxAge: seconds(60), session: session{"p", 92 * time.Second, 0}, want: AskPassword},
		{name: "max_age: by a second", policy: one, maxAge: seconds(60), session: session{"p", 90 * time.Second, 0}, want: Done, person: "p", level: OneFactor},
		{name: "max_age=0 is prompt=login", policy: one, maxAge: seconds(0), session: session{"p", 31 * time.Second, 0}, want: AskPassword},
		{name: "max_age below zero counts as zero", policy: one, maxAge: seconds(-5), session: session{"p", 31 * time.Second, 0}, want: AskPassword},
		{name: "max_age beyond any number", policy: one, maxAge: seconds(1<<63 - 1), session: session{"p", time.Hour, 0}, want: Done, person: "p", level: OneFactor},
		{name: "max_age: a fresh password does not refresh an old factor", policy: two, maxAge: seconds(60), session: session{"p", 40 * time.Second, time.Hour}, factors: 1, want: AskFactor, person: "p"},
		{name: "prompt=none: nobody", policy: one, prompt: "none", want: Refuse, reason: LoginRequired},
		{name: "prompt=none: enough", policy: two, prompt: "none", session: session{"p", time.Hour, time.Hour}, factors: 1, want: Done, person: "p", level: TwoFactors},
		{name: "prompt=none: a factor is missing", policy: two, prompt: "none", session: session{"p", time.Hour, 0}, factors: 1, want: Refuse, reason: InteractionRequired},
		{name: "prompt=none: too old", policy: one, prompt: "none", maxAge: seconds(1), session: session{"p", time.Hour, 0}, want: Refuse, reason: LoginRequired},
		{name: "select_account: nobody is there to choose", policy: one, prompt: SelectAccount, want: AskPassword},
		{name: "select_account: the session is shown first", policy: one, prompt: SelectAccount, session: session{"p", time.Hour, 0}, want: AskAccount, person: "p"},
		{name: "select_account: chosen", policy: one, prompt: SelectAccount, chosen: "sid-p", session: session{"p", time.Hour, 0}, want: Done, person: "p", level: OneFactor},
		{name: "select_account: chosen, and a factor is missing", policy: two, prompt: SelectAccount, chosen: "sid-p", session: session{"p", time.Hour, 0}, factors: 1, want: AskFactor, person: "p"},
		{name: "select_account: chosen, and too old", policy: one, prompt: SelectAccount, chosen: "sid-p", maxAge: seconds(60), session: session{"p", time.Hour, 0}, want: AskPassword},
		{name: "select_account: chosen, and somebody else is there now", policy: one, prompt: SelectAccount, chosen: "sid-q", session: session{"p", time.Hour, 0}, want: AskPassword},
		{name: "select_account: another one", policy: one, prompt: SelectAccount, chosen: anotherAccount, session: session{"p", time.Hour, 0}, want: AskPassword},
		{name: "select_account: another one, proven", policy: two, prompt: SelectAccount, chosen: anotherAccount, session: session{"p", time.Hour, time.Hour}, flow: proven{"q", time.Second, 0}, factors: 1, want: AskFactor, person: "q"},
		{name: "select_account: proven since the request arrived", policy: one, prompt: SelectAccount, session: session{"p", 10 * time.Second, 0}, want: Done, person: "p", level: OneFactor},
		{name: "phishing-resistant, by the policy", policy: Policy{Assurance: PhishingResistant}, session: session{"p", time.Hour, time.Hour}, factors: 1, want: Refuse, reason: AccessDenied},
		{name: "phishing-resistant, by the request", policy: one, asked: PhishingResistant, session: session{"p", time.Hour, time.Hour}, factors: 1, want: Refuse, reason: AccessDenied},
		{name: "a level that does not exist", policy: Policy{Assurance: 4}, session: session{"p", time.Hour, time.Hour}, factors: 1, want: Refuse, reason: AccessDenied},
		{name: "a level below all", policy: Policy{Assurance: -1}, session: session{"p", time.Hour, time.Hour}, want: Refuse, reason: AccessDenied},
		{name: "a level that does not exist, asked by the request", policy: one, asked: 9, session: session{"p", time.Hour, time.Hour}, want: Refuse, reason: AccessDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Flow{Prompt: c.prompt, Chosen: c.chosen, MaxAge: c.maxAge, Assurance: c.asked, Received: noon.Add(-30 * time.Second), Expires: noon.Add(time.Minute),
				Person: c.flow.person, PasswordAt: ago(c.flow.password), Factors: otp(ago(c.flow.factor))}
			s := Proof{Person: c.session.person, SID: "sid-" + c.session.person, PasswordAt: ago(c.session.password), Factors: otp(ago(c.session.factor))}
			got := decide(f, s, c.policy, c.factors)
			if got.Kind != c.want || got.Reason != c.reason || got.Person != c.person || got.Level != c.level {
				t.Errorf("%s %q for %q at level %d, want %s %q for %q at level %d", got.Kind, got.Reason, got.Person, got.Level, c.want, c.reason, c.person, c.level)
			}
		})
	}
}

func TestFlowProvesNothingFromTheSecondItExpires(t *testing.T) {
	f := Flow{Received: noon.Add(-15 * time.Minute), Person: "p", PasswordAt: noon.Add(-time.Minute), Factors: otp(noon)}
	f.Expires = noon.Add(time.Second)
	if got := decide(f, Proof{}, Policy{}, 1); got.Kind != Done {
		t.Fatalf("a second before: %s", got.Kind)
	}
	f.Expires = noon
	if got := decide(f, Proof{}, Policy{}, 1); got.Kind != AskPassword {
		t.Fatalf("at its end: %s", got.Kind)
	}
}

// TestNoStateReachesDoneWithoutItsProof goes through every small state and
// holds Next against the rule written a second time, the other way round.
func TestNoStateReachesDoneWithoutItsProof(t *testing.T) {
	when := []time.Duration{0, time.Hour, 40 * time.Second, 10 * time.Second} // never, long ago, before the request, after it
	people := []string{"", "p", "q"}
	states := 0
	for _, prompt := range []string{"", "none", "login", SelectAccount, SelectAccount + " sid", SelectAccount + " " + anotherAccount} {
		prompt, chosen, _ := strings.Cut(prompt, " ")
		for _, maxAge := range []*int64{nil, seconds(0), seconds(30)} {
			for _, policy := range []Level{0, OneFactor, TwoFactors} {
				for _, asked := range []Level{0, OneFactor, TwoFactors} {
					for _, sp := range people {
						for _, spw := range when {
							for _, sf := range when {
								for _, fp := range people {
									for _, fpw := range when {
										for _, ff := range when {
											for _, factors := range []int{0, 1} {
												states++
												f := Flow{Prompt: prompt, Chosen: chosen, MaxAge: maxAge, Assurance: asked, Received: noon.Add(-30 * time.Second), Expires: noon.Add(time.Minute),
													Person: fp, PasswordAt: ago(fpw), Factors: otp(ago(ff))}
												s := Proof{Person: sp, SID: "sid", PasswordAt: ago(spw), Factors: otp(ago(sf))}
												holds(t, f, s, Policy{Assurance: policy}, factors)
											}
										}
									}
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d states", states)
}

func holds(t *testing.T, f Flow, s Proof, policy Policy, factors int) {
	t.Helper()
	step := decide(f, s, policy, factors)
	counts := func(at time.Time) bool {
		if at.IsZero() {
			return false
		}
		if !at.Before(f.Received) {
			return true
		}
		return f.Prompt != "login" && (f.Prompt != SelectAccount || f.Chosen == s.SID) && (f.MaxAge == nil || f.Received.Sub(at).Seconds() <= float64(*f.MaxAge))
	}
	byPerson := func(who string) (password, factor bool) {
		if f.Person == who {
			password, factor = !f.PasswordAt.IsZero(), len(f.Factors) > 0
		}
		if s.Person == who {
			password = password || counts(s.PasswordAt)
			factor = factor || counts(latest(s.Factors))
		}
		return password, factor
	}
	state := func() string {
		return fmt.Sprintf("flow %+v session %+v policy %+v factors %d: %+v", f, s, policy, factors, step)
	}
	switch step.Kind {
	case Done:
		password, factor := byPerson(step.Person)
		if step.Person == "" || !password || step.AuthTime.IsZero() {
			t.Fatalf("done without a password: %s", state())
		}
		if required(policy, f.Assurance) == TwoFactors && (!factor || step.Level != TwoFactors || latest(step.Factors).IsZero()) {
			t.Fatalf("done without the second factor: %s", state())
		}
		if step.Level == TwoFactors && !factor {
			t.Fatalf("says two factors without them: %s", state())
		}
		if f.Person != "" && step.Person != f.Person {
			t.Fatalf("done as somebody else: %s", state())
		}
	case AskEnrol:
		if factors > 0 || f.PasswordAt.IsZero() || f.Person != step.Person {
			t.Fatalf("enrols without a password of this flow, or beside a factor: %s", state())
		}
	case AskFactor:
		if password, _ := byPerson(step.Person); !password || factors == 0 {
			t.Fatalf("asks for a factor too early: %s", state())
		}
	case AskAccount:
		if f.Prompt != SelectAccount || f.Chosen != "" || s.Person == "" || step.Person != s.Person || f.Person != "" || step.Level != 0 {
			t.Fatalf("asks with which account for nothing: %s", state())
		}
	case Refuse:
		if f.Prompt != "none" {
			t.Fatalf("refuses a person who could go on: %s", state())
		}
	}
	if f.Prompt == "none" && step.Kind != Done && step.Kind != Refuse {
		t.Fatalf("shows a page although none may be shown: %s", state())
	}
}

func TestMoreAssuranceNeverNeedsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(label string) time.Time {
			d := time.Duration(rapid.Int64Range(0, 7200).Draw(t, label)) * time.Second
			if d == 0 {
				return time.Time{}
			}
			return noon.Add(-d)
		}
		f := Flow{
			Prompt: rapid.SampledFrom([]string{"", "none", "login"}).Draw(t, "prompt"), Received: noon.Add(-30 * time.Second), Expires: noon.Add(time.Minute),
			Person: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "flow person"), PasswordAt: at("flow password"), Factors: otp(at("flow factor")),
		}
		if rapid.Bool().Draw(t, "has max_age") {
			f.MaxAge = seconds(rapid.Int64Range(-10, 7200).Draw(t, "max_age"))
		}
		s := Proof{Person: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "session person"), PasswordAt: at("session password"), Factors: otp(at("session factor"))}
		factors := rapid.IntRange(0, 2).Draw(t, "factors")
		strong := decide(f, s, Policy{Assurance: TwoFactors}, factors)
		weak := decide(f, s, Policy{Assurance: OneFactor}, factors)
		if strong.Kind == Done && weak.Kind != Done {
			t.Fatalf("enough for two factors, not for one: %+v, %+v", strong, weak)
		}
		// What a request adds can only make it harder.
		f.Prompt = "login"
		if harder := decide(f, s, Policy{Assurance: TwoFactors}, factors); harder.Kind == Done && strong.Kind == AskPassword {
			t.Fatalf("prompt=login made it easier")
		}
	})
}

// TestFactorIsWorthWhatItProves holds every factor against what may be required.
func TestFactorIsWorthWhatItProves(t *testing.T) {
	f := Flow{Received: noon.Add(-30 * time.Second), Expires: noon.Add(time.Minute), Person: "p", PasswordAt: noon.Add(-10 * time.Second)}
	alone := f
	alone.PasswordAt = time.Time{}
	lately, hour := noon.Add(-5*time.Second), noon.Add(-time.Hour)
	code, passkey := Given{Method: mfa.TOTP, At: lately}, Given{Method: mfa.Passkey, At: lately}
	verified := Given{Method: mfa.Passkey, At: lately, Verified: true, Model: "m1"}
	trusted := Given{Method: mfa.Device, At: hour}
	enrols := Given{Method: mfa.Pass, At: lately, Enrols: true}
	two, three := Requirement{Level: TwoFactors, Trust: 48 * time.Hour}, Requirement{Level: PhishingResistant, Trust: 48 * time.Hour}
	fresh, noTrust := two, two
	fresh.Fresh, noTrust.Trust = 10*time.Minute, 0
	keys, model := two, three
	keys.Methods, model.Models = []mfa.Method{mfa.Key}, []string{"M1"}
	login := f
	login.Prompt = "login"
	for _, c := range []struct {
		name  string
		flow  Flow
		given Given
		need  Requirement
		want  Kind
		level Level
	}{
		{"a code for two factors", f, code, two, Done, TwoFactors},
		{"a code for what resists phishing", f, code, three, AskFactor, 0},
		{"a code without the password", alone, code, two, AskPassword, 0},
		{"a passkey beside the password", f, passkey, three, Done, PhishingResistant},
		{"a passkey that knew nobody, alone", alone, passkey, two, AskPassword, 0},
		{"a passkey that knew its owner, alone", alone, verified, three, Done, PhishingResistant},
		{"the right model", f, verified, model, Done, PhishingResistant},
		{"no model", f, passkey, model, AskFactor, 0},
		{"another method than the rule's", f, code, keys, AskFactor, 0},
		{"a trusted browser", f, trusted, two, Done, TwoFactors},
		{"a trusted browser where none is", f, trusted, noTrust, AskFactor, 0},
		{"a trusted browser for a fresh factor", f, trusted, fresh, AskFactor, 0},
		{"a trusted browser for a fresh sign-in", login, trusted, two, AskFactor, 0},
		{"a trusted browser for what resists phishing", f, trusted, three, AskFactor, 0},
		{"a pass for enrolling", f, enrols, two, AskEnrol, 0},
		{"a fresh code", f, code, fresh, Done, TwoFactors},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.flow.Factors = []Given{c.given}
			has := Holding{Held: mfa.Held{mfa.Passkey: 1, mfa.Key: 1}, Models: []string{"m1"}, Passkeys: true}
			if got := Next(c.flow, Proof{}, c.need, has, noon); got.Kind != c.want || got.Level != c.level {
				t.Errorf("%s at level %d, want %s at %d", got.Kind, got.Level, c.want, c.level)
			}
		})
	}
	old := Proof{Person: "p", SID: "s", PasswordAt: hour, Factors: []Given{{Method: mfa.TOTP, At: hour}}}
	bare := Flow{Received: noon, Expires: noon.Add(time.Minute)}
	if got := Next(bare, old, fresh, Holding{Held: mfa.Held{mfa.TOTP: 1}}, noon); got.Kind != AskFactor {
		t.Errorf("a code of an hour ago is fresh: %s", got.Kind)
	}
	if got := Next(bare, old, two, Holding{Held: mfa.Held{mfa.TOTP: 1}}, noon); got.Kind != Done {
		t.Errorf("a code of an hour ago: %s", got.Kind)
	}
}
