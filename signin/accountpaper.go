package signin

import (
	"net/http"

	"beffroi/internal/web"
	"beffroi/templates"
)

// What a person prints: recovery codes, and the card whose code locks the
// account. Both are shown once, on the answer to the form that makes them.

const (
	recoveryPath = "/account/recovery"
	cardPath     = "/account/card"
)

// showRecovery answers GET /account/recovery: how many codes are left.
func (s *Service) showRecovery(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, recoveryPath)
	if person.ID == "" {
		return err
	}
	set, err := s.mfa.RecoverySet(r.Context(), person.ID)
	if err != nil {
		return err
	}
	page := &templates.AccountRecovery{Left: set.Left, Created: s.Local(set.Created), Noted: set.Noted, Contact: s.contact()}
	return s.renderMine(w, r, http.StatusOK, text(r, "account.recovery.title"), page)
}

// postRecovery answers POST /account/recovery: new codes, in the place of any before.
func (s *Service) postRecovery(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, recoveryPath)
	if person.ID == "" {
		return err
	}
	codes, err := s.mfa.NewRecoveryCodes(r.Context(), actorOf(person), person.ID)
	if err != nil {
		return err
	}
	page := &templates.AccountRecovery{Codes: codes, Left: len(codes), Created: s.Local(s.now()), Name: displayName(person), Login: person.Login, Contact: s.contact()}
	return s.renderMine(w, r, http.StatusOK, text(r, "account.recovery.title"), page)
}

// postRecoveryNoted answers POST /account/recovery/noted: they are written down.
func (s *Service) postRecoveryNoted(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, recoveryPath)
	if person.ID == "" {
		return err
	}
	if err := s.mfa.NoteRecoveryCodes(r.Context(), person.ID); err != nil {
		return err
	}
	return web.Redirect(w, r, "/account?done=recovery")
}

// showCard answers GET /account/card.
func (s *Service) showCard(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, cardPath)
	if person.ID == "" {
		return err
	}
	return s.renderMine(w, r, http.StatusOK, text(r, "account.card.title"), &templates.AccountCard{Name: displayName(person), Login: person.Login, Address: s.address + "/account/lock"})
}

// postCard answers POST /account/card: a new card, the one before is void.
func (s *Service) postCard(w http.ResponseWriter, r *http.Request) error {
	person, _, err := s.mayChange(w, r, cardPath)
	if person.ID == "" {
		return err
	}
	code, err := s.mfa.NewLockCode(r.Context(), actorOf(person), person.ID)
	if err != nil {
		return err
	}
	return s.renderMine(w, r, http.StatusOK, text(r, "account.card.title"), &templates.AccountCard{Code: code, Name: displayName(person), Login: person.Login, Address: s.address + "/account/lock"})
}
