package templates

import (
	"html/template"
	"time"
)

// AccountLock asks before an account is locked: one button for who is signed
// in, else the login and the code of the printed card.
type AccountLock struct {
	Layout
	Name, Login string // who is signed in; both empty when nobody is
	Sessions    int    // browsers that would be signed out
	Typed       string // the login that was typed before
	Problem     string // "", "empty" or "card"
	Contact     SigninContact
}

func (AccountLock) Template() string { return "account_lock.html" }

// AccountNotme is behind the link of a message: "it was not me".
type AccountNotme struct {
	Layout
	State       string // "ask", "locked" (already; may still be asked), "used", "expired" or "unknown"
	Token       string // goes into the form
	Name, Login string
	Contact     SigninContact
}

func (AccountNotme) Template() string { return "account_notme.html" }

// AccountLocked says that an account is locked.
type AccountLocked struct {
	Layout
	State       string // "cut": just now, with what was ended; "refused": to somebody who signs in
	Name, Login string
	Since       time.Time
	Way         string // refused: "self", "link", "card" or "helper"
	Sessions    int    // cut: browsers signed out
	Already     bool   // cut: it was locked before
	Frames      []Frame
	Contact     SigninContact
}

func (AccountLocked) Template() string { return "account_locked.html" }

// AccountOverview is who I am, what protects me, and where I am signed in.
type AccountOverview struct {
	Layout
	Name, Login, Mail, Function string
	Groups                      []string
	Factors                     []AccountFactorInfo // the strongest first
	Recovery                    *AccountFactorInfo  // nil: there are no recovery codes
	Few                         int                 // so many recovery codes are few
	Devices                     []AccountFactorInfo // trusted browsers
	Passkeys                    bool                // can be made here
	HasPasskey, HasTOTP         bool
	MailCodes                   bool // codes may be sent by e-mail
	OTPKeys                     bool // keys of the academy are with the person
	Sessions                    []AccountSession
	Since                       time.Time // of this sign-in
	Strong                      int       // what it proved: 1 password, 2 two factors, 3 a passkey
	History                     []AccountEvent
	Accepted                    string // JSON for the browser's signal: the passkeys that still stand
	Done                        string // what was just done; may be empty
	Contact                     SigninContact
}

func (AccountOverview) Template() string { return "account_overview.html" }

// AccountFactorInfo is one second factor, without its secret.
type AccountFactorInfo struct {
	ID, Kind, Name, Detail string
	Left                   int // recovery codes
	Created, Used, Ends    time.Time
}

// AccountSession is one browser that is signed in.
type AccountSession struct {
	SID     string
	Browser string // "Firefox sur Windows"
	Place   string // the address, or the name of its network; may be empty
	Since   time.Time
	Seen    time.Time
	This    bool // the browser that asks
	Strong  int
}

// AccountEvent is one line of the history.
type AccountEvent struct {
	At          time.Time
	Text        string
	By          string // who else did it; empty: the person
	Application string
	Browser     string
	Place       string
	Bad         bool // something was refused
}

// AccountFactor is one factor, with what can be done about it.
type AccountFactor struct {
	Layout
	Factor  AccountFactorInfo
	Named   bool   // has a name of the person's own
	Last    bool   // the only lasting one
	Problem string // "", "name"
}

func (AccountFactor) Template() string { return "account_factor.html" }

// AccountPasskey makes a passkey.
type AccountPasskey struct {
	Layout
	Models  []string // the only ones, in words; empty: any
	Problem string   // "", "passkey", "model", "known" or "many"
}

func (AccountPasskey) Template() string { return "account_passkey.html" }

// AccountTOTP makes an authenticator app a factor, in the place of the one before.
type AccountTOTP struct {
	Layout
	URI     template.URL
	Secret  []string
	Replace bool   // there is one already
	Problem string // "", "empty" or "wrong"
}

func (AccountTOTP) Template() string { return "account_totp.html" }

// AccountMail is the address where codes go.
type AccountMail struct {
	Layout
	Address string // that counts; may be empty
	Factor  string // its ID
	Pending string // where a code went that was not typed yet
	Typed   string // an address that was not taken
	Problem string // "", "empty" or "wrong" (the code), "address", "own" or "many"
}

func (AccountMail) Template() string { return "account_mail.html" }

// AccountRecovery is about the recovery codes; Codes is filled once, when they
// are made.
type AccountRecovery struct {
	Layout
	Codes       []string
	Left        int
	Created     time.Time // zero: there are none
	Noted       bool
	Name, Login string
	Contact     SigninContact
}

func (AccountRecovery) Template() string { return "account_recovery.html" }

// AccountCard makes the printed card whose code locks the account.
type AccountCard struct {
	Layout
	Code        string // shown once
	Name, Login string
	Address     string // where the card is used
}

func (AccountCard) Template() string { return "account_card.html" }

// AccountSessions lists the browsers that are signed in.
type AccountSessions struct {
	Layout
	Sessions []AccountSession
	Devices  []AccountFactorInfo
	Done     string
}

func (AccountSessions) Template() string { return "account_sessions.html" }

// AccountHistory is what happened to the account, newest first.
type AccountHistory struct {
	Layout
	Events []AccountEvent
	Next   string // cursor of the older ones; empty: these are the oldest
	Older  bool   // not the first page
}

func (AccountHistory) Template() string { return "account_history.html" }

// AccountKeys lists the academy's OTP keys that are with the person.
type AccountKeys struct {
	Layout
	Keys    []AccountKey
	Serial  string // which one Problem is about
	Problem string // "", "key", "key-used", "key-gone", "locked", "pin-length", "pin-signs" or "pin-easy"
	Done    string
	Contact SigninContact
}

func (AccountKeys) Template() string { return "account_keys.html" }

// AccountKey is one of them.
type AccountKey struct {
	Serial, Model, State       string
	Ends, Used                 time.Time
	Activates, Active, Losable bool
}
