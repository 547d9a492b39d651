package signin

import (
	"net/http"

	"beffroi/templates"
)

// letterJS keeps the code of an enrolment letter from its address to the step
// that asks for it: in the tab's memory, never in a request but that step's own.
var letterJS = []string{"letter.js"}

// showLetter answers GET /enrol, the address that an enrolment letter names. The
// code behind its # stays in the browser. It shows nothing of anybody.
func (s *Service) showLetter(w http.ResponseWriter, r *http.Request) error {
	page := &templates.SigninLetter{Contact: s.contact()}
	if sess, data := dataOf(r.Context()); sess != nil {
		page.Name = data.Name
	}
	page.JS = letterJS
	return s.render(w, r, http.StatusOK, text(r, "signin.letter.title"), page)
}
