package templates

// WebError is the page of every failure: what happened, what to do next, and
// the request number for whoever helps.
type WebError struct {
	Layout
	Status  int
	Heading string
	Message string
	Back    string // where "go on" leads; empty hides the button
}

func (WebError) Template() string { return "web_error.html" }
