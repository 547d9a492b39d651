package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
)

func newSecret() string { return secret.Random() }

// finish answers the application on what the browser's session has proven
// already: single sign-on. Nothing is written here but what the protocol does.
func (s *Service) finish(w http.ResponseWriter, r *http.Request, f Flow, app Application, step Step) error {
	if f.Person != "" {
		// Proven in the flow and not yet in a session: the policy changed
		// between two steps.
		person, err := s.directory.ByID(r.Context(), f.Person)
		if err != nil {
			return s.directoryDown(err)
		}
		err = s.signIn(w, r, attempt{flow: f, app: app}, step, person, nil)
		if errors.Is(err, errMoved) {
			return s.back(w, r, f)
		}
		return err
	}
	sess := session.From(r.Context())
	// The session was loaded alive by this very request.
	person, err := s.gate.Admit(r.Context(), step.Person, app, "")
	if no := Refused(err); no != nil {
		return s.notAdmitted(w, r, f, app, no, step.Person)
	}
	if err != nil {
		return s.directoryDown(err)
	}
	return s.finishers[f.Protocol].Finish(w, r, f.Raw, Result{
		Person: person, SID: sess.SID, AuthTime: step.AuthTime, AMR: step.AMR, Level: step.Level,
	})
}

// signIn turns what was just proven into a session and the application's
// answer, all in one transaction: spent is the proof's own part of it (a code
// that is used up, an enrolment that is confirmed), the flow's proof is spent,
// the session begins, the audit is written and the protocol stores its code; or
// none of that. The answer leaves after the commit.
func (s *Service) signIn(w http.ResponseWriter, r *http.Request, a attempt, step Step, person directory.Person, spent func(ctx context.Context) error) error {
	f, app := a.flow, a.app
	no := Refused(admit(person, app))
	if no == nil || no.Reason == NotInGroup {
		if locked, err := s.lockedNow(r.Context(), person.ID); err != nil {
			return err
		} else if locked {
			no = &ErrRefused{Reason: Locked, Person: person}
		}
	}
	if no != nil && no.Reason != NotInGroup {
		return s.notAdmitted(w, r, f, app, no, person.ID) // gone, disabled or locked: no session either
	}
	ctx := web.RememberLanguage(r.Context(), w, r, person.Language)
	out := &held{header: w.Header().Clone()}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if spent != nil {
			if err := spent(ctx); err != nil {
				return err
			}
		}
		if err := s.spend(ctx, f); err != nil {
			return err
		}
		sess, err := s.startSession(ctx, out, r, step, person)
		if err != nil {
			return err
		}
		if err := s.trustBrowser(ctx, out, r, a, step, person); err != nil {
			return err
		}
		if err := s.audit.Record(ctx, actorOf(person), audit.Event{
			Action: "signin", Target: person.ID, Application: app.ID, Outcome: "ok",
			Detail: map[string]string{"acr": ACR(step.Level), "sid": sess.SID, "amr": strings.Join(step.AMR, " ")},
		}); err != nil {
			return err
		}
		r := r.WithContext(session.With(ctx, sess))
		if no != nil {
			return nil // signed in, though not to this application
		}
		return s.finishers[f.Protocol].Finish(out, r, f.Raw, Result{
			Person: person, SID: sess.SID, AuthTime: step.AuthTime, AMR: step.AMR, Level: step.Level,
		})
	})
	if err != nil {
		return err
	}
	if no != nil {
		maps.Copy(w.Header(), out.header)
		return s.notAdmitted(w, r.WithContext(ctx), f, app, no, person.ID)
	}
	out.release(w)
	return nil
}

// startSession begins or renews the browser's session. The same person keeps
// the session's public id and never loses a factor proven in it; another
// person's session in this browser ends, with its hooks.
func (s *Service) startSession(ctx context.Context, w http.ResponseWriter, r *http.Request, step Step, person directory.Person) (*session.Session, error) {
	before, data := dataOf(r.Context())
	switch {
	case before == nil:
		if err := s.endForgotten(ctx, r); err != nil {
			return nil, err
		}
	case before.Person != person.ID:
		if err := s.runHooks(ctx, before.Person, before.SID); err != nil {
			return nil, err
		}
	}
	passwordAt, factors := step.PasswordAt, step.Factors
	if before != nil && before.Person == person.ID {
		factors = merged(factors, data.Factors)
		if passwordAt.IsZero() {
			passwordAt = data.PasswordAt
		}
	}
	best := strongest(passwordAt, factors)
	origin := audit.OriginOf(ctx)
	now := sessionData{
		Agent: cut(origin.UserAgent, 300), Address: addressText(origin.IP),
		PasswordAt: passwordAt, Factors: factors, AMR: methods(passwordAt, best), Level: max(OneFactor, worth(passwordAt, best)),
		Login: person.Login, Name: displayName(person), Mail: person.Mail, Lang: person.Language,
	}
	if before != nil && before.Person == person.ID {
		// What rests on the old session needs it until the commit: signed out
		// everywhere meanwhile, it must not live on in the new one.
		if err := s.sessions.Save(ctx, before, now); errors.Is(err, session.ErrStale) {
			return nil, errMoved
		} else if err != nil {
			return nil, err
		}
	}
	return s.sessions.Start(ctx, w, r, person.ID, now)
}

// directoryDown says that the academy's directory does not answer.
func (s *Service) directoryDown(err error) error {
	return web.Fail(http.StatusServiceUnavailable, "signin.error.directory", err)
}

// held keeps an answer back until the transaction behind it is committed.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *held) Header() http.Header { return h.header }

func (h *held) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *held) Write(b []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	return h.body.Write(b)
}

func (h *held) release(w http.ResponseWriter) {
	clear(w.Header())
	maps.Copy(w.Header(), h.header)
	if h.status == 0 {
		h.status = http.StatusOK
	}
	w.WriteHeader(h.status)
	_, _ = h.body.WriteTo(w) // the visitor may have gone
}

// runHooks tells everybody who keeps something of a session that it has ended.
func (s *Service) runHooks(ctx context.Context, person, sid string) error {
	for _, hook := range s.ended {
		if err := hook(ctx, person, sid); err != nil {
			return fmt.Errorf("end session of %s: %w", person, err)
		}
	}
	return nil
}
