package templates

import (
	"html/template"
	"time"
)

// OidcLogout asks whether to sign out, when an application or a link asks it
// without showing that it may.
type OidcLogout struct {
	Layout
	Client      string // id of the application that asks; empty when unknown
	Application string // its name
	Back        string // where to go afterwards
	State       string
	Locales     string // what the application proposed as languages
}

func (OidcLogout) Template() string { return "oidc_logout.html" }

// OidcLogoutRefused says why an application's request to sign out was not
// followed, and lets a person who is signed in do it here.
type OidcLogoutRefused struct {
	Layout
	Why         string // "unread", "hint", "unnamed" or "return"
	Application string // its name; empty when unknown
	SignedIn    bool
}

func (OidcLogoutRefused) Template() string { return "oidc_logout_refused.html" }

// OidcApp is an application as pages about it show it.
type OidcApp struct {
	ID, Name      string
	Host          string // where its answer goes: "glpi.example.org"; empty for this device
	Logo          string // address of its picture; empty when it has none of its own
	Contact       SigninContact
	Policy, Terms string // addresses; may be empty
	Newcomer      bool   // it registered itself: nobody of the academy chose its name
}

// OidcConsent asks what an application may learn and do.
type OidcConsent struct {
	Layout
	Request     string // goes into the form
	App         OidcApp
	Name, Login string   // who is asked
	Told        []string // "connaître votre nom", each in words
	Known       []string // what was allowed before, when only the rest is asked
}

func (OidcConsent) Template() string { return "oidc_consent.html" }

// OidcLeaving signs the other tools of the session out in the browser and goes
// back to the one that asked.
type OidcLeaving struct {
	Layout
	Frames []Frame
	Next   template.URL // a registered address of the application that asked
}

func (OidcLeaving) Template() string { return "oidc_leaving.html" }

// OidcConnected lists the applications that have something of a person.
type OidcConnected struct {
	Layout
	Apps    []OidcConnectedApp
	Closed  []OidcClosed // the latest first
	Revoked string       // name of the one that was just taken out
}

func (OidcConnected) Template() string { return "oidc_connected.html" }

// OidcConnectedApp is one of them.
type OidcConnectedApp struct {
	ID, Name, Home string
	Contact        SigninContact
	Told           []string // what it may know and do, in words
	Since, Used    time.Time
	Open           bool // it has access now
	Away           bool // while the person is away too
}

// OidcClosed is an access that was closed because a key to it was used twice.
type OidcClosed struct {
	Name string
	At   time.Time
}

// OidcLoggedOut says that it is done.
type OidcLoggedOut struct {
	Layout
	Frames      []Frame // the tools that are signed out with it
	Application string  // whose sign-out led here; empty when unknown
	Home        string  // its address
}

func (OidcLoggedOut) Template() string { return "oidc_loggedout.html" }

// OidcAnswer posts the answer of a sign-in to the application that asked
// (response_mode=form_post).
type OidcAnswer struct {
	Layout
	Application string // its name
	Action      string // its redirect URI
	Fields      []OidcField
}

// OidcField is one parameter of the answer.
type OidcField struct{ Name, Value string }

func (OidcAnswer) Template() string { return "oidc_answer.html" }

// OidcDevice asks for the code that a device shows (RFC 8628 §3.3).
type OidcDevice struct {
	Layout
	Code    string // typed before, or brought by a link
	Sent    bool   // it came by a link
	Problem string // "", "empty", "shape", "wrong", "wait", "gone" or "late"
	Minutes int    // how long a code lives, and how long one waits
}

func (OidcDevice) Template() string { return "oidc_device.html" }

// OidcDeviceConfirm asks whether a device may, or says what was answered.
type OidcDeviceConfirm struct {
	Layout
	Request     string // goes into the form
	Code        string // to compare with the device's
	App         OidcApp
	Name, Login string   // as whom
	Told        []string // "connaître votre nom", each in words
	Address     string   // where the device asked from; may be empty
	Near        bool     // that is where the reader is, too
	Minutes     int      // since it asked
	Decided     bool
	Allowed     bool
}

func (OidcDeviceConfirm) Template() string { return "oidc_device_confirm.html" }
