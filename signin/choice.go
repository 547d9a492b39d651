package signin

import (
	"fmt"
	"net/http"

	"beffroi/internal/db"
	"beffroi/internal/web"
	"beffroi/templates"
)

// anotherAccount is what a flow keeps when the person wants none of the accounts
// that are signed in.
const anotherAccount = "other"

// renderChoice asks with which account the application is to be opened.
func (s *Service) renderChoice(w http.ResponseWriter, r *http.Request, a attempt) error {
	r = inLanguage(r, a.flow.Locales)
	_, data := dataOf(r.Context())
	page := &templates.SigninChoice{SigninAttempt: s.about(r, a), SID: a.proof.SID, Login: data.Login}
	if page.Name = data.Name; page.Name == "" {
		page.Name = data.Login
	}
	return s.render(w, r, http.StatusOK, text(r, "signin.choice.title"), page)
}

// postAccount answers POST /signin/account, field account: the public id of the
// session that the page named, or "other". A session that has changed since is
// not the one that was chosen, so the question is asked again.
func (s *Service) postAccount(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	step, _, err := s.next(r.Context(), a)
	if err != nil {
		return err
	}
	chosen := web.Field(r, "account")
	if step.Kind != AskAccount || chosen != anotherAccount && chosen != a.proof.SID {
		return s.back(w, r, a.flow)
	}
	_, err = s.db.Exec(r.Context(), "UPDATE signin_flow SET chosen = $1 WHERE id = $2 AND expires > $3", chosen, a.flow.ID, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("keep chosen account: %w", err)
	}
	return s.back(w, r, a.flow)
}
