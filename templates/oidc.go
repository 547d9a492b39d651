package templates

// OidcLogout asks whether to sign out, when an application or a link asks it
// without showing that it may.
type OidcLogout struct {
	Layout
	Client      string // id of the application that asks; empty when unknown
	Application string // its name
	Back        string // where to go afterwards
	State       string
}

func (OidcLogout) Template() string { return "oidc_logout.html" }

// OidcLoggedOut says that it is done.
type OidcLoggedOut struct {
	Layout
	Application string // whose sign-out led here; empty when unknown
	Home        string // its address
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
