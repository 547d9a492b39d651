package signin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"beffroi/directory"
	"beffroi/mfa"
)

// A trusted browser keeps a secret in a cookie that changes at each use. It
// stands for a factor given in it before, where the requirement lets it.

func (s *Service) trustCookie() string {
	if s.sessions.Secure() {
		return "__Host-beffroi_device"
	}
	return "beffroi_device"
}

// trustToken is the browser's secret; of several cookies with the name none is
// believed: one was planted.
func (s *Service) trustToken(r *http.Request) string {
	cookies := r.CookiesNamed(s.trustCookie())
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

func (s *Service) setTrustCookie(w http.ResponseWriter, value string, life time.Duration) {
	c := &http.Cookie{Name: s.trustCookie(), Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: s.sessions.Secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// useTrust goes on without asking for a factor when the browser is trusted for
// the person: done tells that it has answered.
func (s *Service) useTrust(w http.ResponseWriter, r *http.Request, a attempt, step Step, need Requirement) (done bool, err error) {
	token := s.trustToken(r)
	if token == "" || !need.mayTrust(a.flow) {
		return false, nil
	}
	use, err := s.mfa.UseDevice(r.Context(), step.Person, token)
	if err != nil {
		return false, err
	}
	if use.Drop {
		s.setTrustCookie(w, "", 0)
	}
	if use.Token != "" {
		s.setTrustCookie(w, use.Token, need.Trust)
	}
	given := Given{Method: mfa.Device, At: use.Proven}
	if !use.OK || !need.trusts(a.flow, given, s.now()) {
		return false, nil
	}
	person, err := s.directory.ByID(r.Context(), step.Person)
	if errors.Is(err, directory.ErrUnknown) {
		return true, s.notAdmitted(w, r, a.flow, a.app, &ErrRefused{Reason: Gone}, step.Person)
	}
	if err != nil {
		return true, s.directoryDown(err)
	}
	a.flow.Person, a.flow.Factors = person.ID, withGiven(a.flow.Factors, given)
	after, _, err := s.next(r.Context(), a)
	if err != nil || after.Kind != Done {
		return false, err
	}
	err = s.signIn(w, r, a, after, person, nil)
	if errors.Is(err, errMoved) {
		return true, s.back(w, r, a.flow)
	}
	return true, err
}

// trustBrowser trusts the browser on what was just proven in it, when the person
// asked for it.
func (s *Service) trustBrowser(ctx context.Context, w http.ResponseWriter, r *http.Request, a attempt, step Step, person directory.Person) error {
	proven := latest(step.Factors)
	if a.trust == 0 || proven.IsZero() {
		return nil
	}
	token, err := s.mfa.TrustDevice(ctx, actorOf(person), person.ID, s.trustToken(r), proven, a.trust)
	if err != nil {
		return err
	}
	s.setTrustCookie(w, token, a.trust)
	return nil
}
