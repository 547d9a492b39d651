package templates

// WebError is the page of every failure: what happened, what to do next, and
// the request number for whoever helps.
type WebError struct {
	Layout
	Status  int
	Heading string
	Message string
	Next    string // what to do now, when the status alone does not tell
	Back    string // where "go on" leads; empty hides the button
}

func (WebError) Template() string { return "web_error.html" }
