package templates

import "time"

// AccountLock asks before an account is locked: one button for who is signed
// in, else the login and the code of the printed card.
type AccountLock struct {
	Layout
	Name, Login string // who is signed in; both empty when nobody is
	Sessions    int    // browsers that would be signed out
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
