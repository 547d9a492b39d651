package templates

import (
	"html/template"
	"strings"
	"time"
)

// SigninAttempt is what the pages of one attempt to sign in share.
type SigninAttempt struct {
	Flow        string // goes into the form's address
	Application string // "GLPI", in the reader's language
	Logo        string // address of its picture, on its own host; may be empty
	Name        string // who is signing in, once known
}

// SigninPassword is the name-and-password form.
type SigninPassword struct {
	Layout
	SigninAttempt
	Login    string // typed before, or proposed by the application
	Problem  string // "", "empty", "wrong" or "passkey"
	Limit    int    // wrong passwords before one must wait
	Minutes  int    // how long
	Passkeys bool   // may take the place of the password
}

func (SigninPassword) Template() string { return "signin_password.html" }

// SigninChoice asks with which account to go on.
type SigninChoice struct {
	Layout
	SigninAttempt
	SID   string // goes into the form: the session that Name and Login are of
	Login string
}

func (SigninChoice) Template() string { return "signin_choice.html" }

// SigninLetter is where an enrolment letter leads.
type SigninLetter struct {
	Layout
	Name    string // who is signed in here, perhaps somebody else
	Contact SigninContact
}

func (SigninLetter) Template() string { return "signin_letter.html" }

// SigninFactor asks for the code of a second factor.
type SigninFactor struct {
	Layout
	SigninAttempt
	By        string   // the factor asked for: "totp", "passkey", "key", "mail", "recovery" or "pass"
	Others    []string // what may be given instead
	Models    []string // passkey: the only models that help, in words; empty: any
	MailTo    string   // mail: where the code goes, most of it hidden
	Sent      bool     // mail: a code is on its way
	TrustDays int      // for how long this browser may be trusted; 0: not at all
	Trusting  bool     // it was ticked before
	Problem   string   // "", "empty", "wrong", "used", "locked"; of a key: "next", "pin"; of mail: "many", "own", "pin-…"
	Minutes   int      // how long one waits when locked
}

func (SigninFactor) Template() string { return "signin_factor.html" }

// Renews tells that a PIN is chosen anew, on two codes of the key.
func (p SigninFactor) Renews() bool { return p.By == "key" && strings.HasPrefix(p.Problem, "pin") }

// SigninEnrol shows a new secret and asks for its first code.
type SigninEnrol struct {
	Layout
	SigninAttempt
	TOTP       bool         // an authenticator app may be taken
	URI        template.URL // otpauth://
	Secret     []string     // base32, in groups of four to read aloud
	Serials    []string     // OTP keys that may be activated
	Serial     string       // the one that was chosen before
	Passkey    bool         // a passkey may be made
	Models     []string     // the only models, in words; empty: any
	Another    bool         // beside a factor that the person has
	Later      bool         // may be put off
	LaterLeft  int          // how often; -1: as often as one likes
	LaterUntil time.Time    // until when; zero: no end
	Problem    string       // "", "empty" or "wrong" (the code); "passkey", "model" or "known" (the passkey); "key…", "pin-…" or "locked" (the key)
}

func (SigninEnrol) Template() string { return "signin_enrol.html" }

// SigninContact is whom to ask.
type SigninContact struct {
	Text string       // empty when none is configured
	Link template.URL // tel:, mailto: or https:; empty for plain text
}

// SigninLost says what to do without one's phone or password.
type SigninLost struct {
	Layout
	Flow    string // to go back to; may be empty
	Contact SigninContact
}

func (SigninLost) Template() string { return "signin_lost.html" }

// SigninRefused says why an application stays closed to this person.
type SigninRefused struct {
	Layout
	SigninAttempt
	Login   string
	Reason  string   // "gone", "disabled", "not_in_group" or "session_ended"
	Groups  []string // those that would open it, in words
	Contact SigninContact

	AppContact SigninContact // whom to ask about the application; may be empty
}

func (SigninRefused) Template() string { return "signin_refused.html" }

// SigninOutcome says why a right password does not open the account today.
type SigninOutcome struct {
	Layout
	SigninAttempt
	Reason  string    // directory.Result: "must-change", "expired", "locked", "disabled", "not-now"
	Until   time.Time // locked: until when, if known
	Contact SigninContact
}

func (SigninOutcome) Template() string { return "signin_outcome.html" }

// SigninNotice is a page that ends here: "expired", "browser", "application",
// "level", "pass" or "signedout".
type SigninNotice struct {
	Layout
	Frames  []Frame // "signedout": the tools that are signed out with it
	Reason  string
	Contact SigninContact
}

func (SigninNotice) Template() string { return "signin_notice.html" }

// SigninSignout asks before signing out everywhere.
type SigninSignout struct {
	Layout
	Sessions int
}

func (SigninSignout) Template() string { return "signin_signout.html" }
