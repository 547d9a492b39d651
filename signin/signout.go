package signin

import (
	"context"
	"fmt"
	"net/http"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/templates"
)

// EndSession signs this browser out, runs the hooks and clears the cookie.
// Without a session it only clears the cookie.
func (s *Service) EndSession(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	sess, data := dataOf(r.Context())
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if sess == nil {
			if err := s.endForgotten(ctx, r); err != nil {
				return err
			}
		} else {
			if err := s.runHooks(ctx, sess.Person, sess.SID); err != nil {
				return err
			}
			if err := s.audit.Record(ctx, audit.Person(sess.Person, data.Login), audit.Event{Action: "signout", Target: sess.Person, Outcome: "ok", Detail: map[string]string{"sid": sess.SID}}); err != nil {
				return err
			}
		}
		if err := s.forgetProofs(ctx, r); err != nil {
			return err
		}
		return s.sessions.End(ctx, w, r)
	})
}

// endForgotten ends the session that the browser's cookie still names though it
// has expired: it would be removed here without anybody being told.
func (s *Service) endForgotten(ctx context.Context, r *http.Request) error {
	gone, err := s.sessions.Drop(ctx, r)
	if err != nil {
		return err
	}
	return s.tellEnded(ctx, gone)
}

func (s *Service) tellEnded(ctx context.Context, gone []session.Ended) error {
	for _, one := range gone {
		if err := s.runHooks(ctx, one.Person, one.SID); err != nil {
			return err
		}
	}
	return nil
}

// sweptAtOnce bounds how many sessions end in one transaction.
const sweptAtOnce = 100

// SweepSessions ends the sessions that have expired, with their hooks, and
// returns how many those were.
func (s *Service) SweepSessions(ctx context.Context) (all int64, err error) {
	for n := sweptAtOnce; n == sweptAtOnce; {
		err := s.db.InTx(ctx, func(ctx context.Context) error {
			gone, err := s.sessions.Expired(ctx, sweptAtOnce)
			if err != nil {
				return err
			}
			n = len(gone)
			return s.tellEnded(ctx, gone)
		})
		if err != nil {
			return all, err
		}
		all += int64(n)
	}
	return all, nil
}

// SignOutEverywhere ends every session of the person and all that rests on
// them, offline tokens too (by the hooks and by Gate.AdmitOffline).
func (s *Service) SignOutEverywhere(ctx context.Context, actor audit.Actor, person string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.endEverywhere(ctx, person); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "signout.everywhere", Target: person, Outcome: "ok"})
	})
}

// endEverywhere is SignOutEverywhere in the caller's transaction, without its
// audit row: a reset of factors ends in it too.
func (s *Service) endEverywhere(ctx context.Context, person string) error {
	_, err := s.db.Exec(ctx, `INSERT INTO signin_ended (person, ended) VALUES ($1, $2)
		ON CONFLICT (person) DO UPDATE SET ended = excluded.ended`, person, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("sign %s out everywhere: %w", person, err)
	}
	// Flows before sessions: one that is being finished is waited for here, and
	// its session is then seen below.
	if _, err := s.db.Exec(ctx, "DELETE FROM signin_flow WHERE person = $1 AND person <> ''", person); err != nil {
		return fmt.Errorf("sign %s out everywhere: %w", person, err)
	}
	if _, err := s.mfa.ForgetDevices(ctx, person); err != nil {
		return err
	}
	// Until none is left: PostgreSQL does not show a statement the session that
	// replaced the one it was waiting for, and such a statement ends none.
	for left := 1; left > 0; {
		if _, err = s.sessions.EndAll(ctx, person); err == nil {
			left, err = s.sessions.Count(ctx, person)
		}
		if err != nil {
			return fmt.Errorf("sign %s out everywhere: %w", person, err)
		}
	}
	return s.runHooks(ctx, person, "")
}

// postLogout answers POST /logout.
func (s *Service) postLogout(w http.ResponseWriter, r *http.Request) error {
	sess, _ := dataOf(r.Context())
	frames, err := s.frames(r.Context(), sess)
	if err != nil {
		return err
	}
	if err := s.EndSession(r.Context(), w, r); err != nil {
		return err
	}
	return s.signedOut(w, r, frames)
}

// frames are the tools of a session that sign out in the browser itself.
func (s *Service) frames(ctx context.Context, sess *session.Session) (all []templates.Frame, err error) {
	if sess == nil {
		return nil, nil
	}
	for _, of := range s.leaving {
		some, err := of(ctx, sess.Person, sess.SID)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// signedOut leads to the page after a sign-out; one that has frames to load is
// shown at once.
func (s *Service) signedOut(w http.ResponseWriter, r *http.Request, frames []templates.Frame) error {
	if len(frames) == 0 {
		return web.Redirect(w, r, "/logout/done")
	}
	return s.renderSignedOut(w, r, frames)
}

// showSignedOut answers GET /logout/done.
func (s *Service) showSignedOut(w http.ResponseWriter, r *http.Request) error {
	return s.renderSignedOut(w, r, nil)
}

func (s *Service) renderSignedOut(w http.ResponseWriter, r *http.Request, frames []templates.Frame) error {
	page := &templates.SigninNotice{Reason: "signedout", Frames: frames}
	page.Title, page.Bare, page.CSS = text(r, "signin.signedout.title"), true, signinCSS
	web.AllowFrames(w, frames)
	return web.Render(w, r, http.StatusOK, page)
}

// postSwitch answers POST /signin/switch: the flow goes on as somebody else.
func (s *Service) postSwitch(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := s.load(w, r)
	if !ok {
		return err
	}
	if err := s.EndSession(r.Context(), w, r); err != nil {
		return err
	}
	return s.back(w, r, a.flow)
}

// showSignOut answers GET /account/signout: the question before.
func (s *Service) showSignOut(w http.ResponseWriter, r *http.Request) error {
	sess, _, err := s.needSession(w, r, "/account/signout")
	if sess == nil {
		return err
	}
	n, err := s.sessions.Count(r.Context(), sess.Person)
	if err != nil {
		return err
	}
	page := &templates.SigninSignout{Sessions: n}
	page.Title, page.CSS = text(r, "signin.everywhere.title"), signinCSS
	return web.Render(w, r, http.StatusOK, page)
}

// postSignOut answers POST /account/signout: everywhere, this browser too.
func (s *Service) postSignOut(w http.ResponseWriter, r *http.Request) error {
	sess, data, err := s.needSession(w, r, "/account/signout")
	if sess == nil {
		return err
	}
	frames, err := s.frames(r.Context(), sess)
	if err != nil {
		return err
	}
	if err := s.SignOutEverywhere(r.Context(), audit.Person(sess.Person, data.Login), sess.Person); err != nil {
		return err
	}
	if err := s.sessions.End(r.Context(), w, r); err != nil {
		return err
	}
	return s.signedOut(w, r, frames)
}
