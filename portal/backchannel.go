package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// skew is how far the provider's clock may be ahead.
const skew = 2 * time.Minute

// backchannel is POST /backchannel-logout: the provider says that one of its
// sessions, or a person everywhere, has signed out (OpenID Connect Back-Channel
// Logout 1.0 §2.5). No cookie is read: the signed token is all that counts.
func (p *Portal) backchannel(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store") // §2.8
	if err := r.ParseForm(); err != nil || len(r.PostForm["logout_token"]) != 1 {
		return refuseLogout(w, errors.New("one logout_token is needed"))
	}
	f, err := p.provider(r.Context())
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable) // the provider tries again
		return err
	}
	t, err := p.logoutToken(r.Context(), f, r.PostForm.Get("logout_token"))
	if err != nil {
		p.audit.Refuse(r.Context(), audit.Anonymous(), audit.Event{Action: "portal.signout", Application: p.Config.ClientID, Outcome: "refused", Detail: map[string]string{"reason": err.Error()}})
		return refuseLogout(w, err)
	}
	if err := p.obey(r.Context(), f, t); err != nil {
		if errors.Is(err, errSeen) {
			return refuseLogout(w, err)
		}
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// refuseLogout is §2.8: 400, and the reason for whoever reads the provider's log.
func refuseLogout(w http.ResponseWriter, why error) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request", "error_description": why.Error()})
	return why
}

// logoutToken checks a logout token (§2.6). go-oidc checks the signature, iss,
// aud, exp, the event, sub or sid, and that there is a jti and no nonce.
func (p *Portal) logoutToken(ctx context.Context, f *found, raw string) (*oidc.LogoutToken, error) {
	t, err := f.verifier.VerifyLogout(p.withClient(ctx), raw)
	if err != nil {
		return nil, err
	}
	if t.IssuedAt.IsZero() || t.IssuedAt.After(p.now().Add(skew)) {
		return nil, errors.New("the logout token was issued in the future, or nobody knows when")
	}
	return t, nil
}

var errSeen = errors.New("this logout token was used before")

// obey ends the portal sessions that the token is about, and what was opened
// for them.
func (p *Portal) obey(ctx context.Context, f *found, t *oidc.LogoutToken) error {
	return p.db.InTx(ctx, func(ctx context.Context) error {
		// Remembered for longer than it is valid, whatever the clocks say.
		n, err := p.db.Exec(ctx, "INSERT INTO portal_logout_token (jti, ends) VALUES ($1, $2) ON CONFLICT DO NOTHING", t.TokenID, db.At(latest(t.Expiry, p.now()).Add(time.Hour)))
		if err != nil {
			return fmt.Errorf("remember logout token: %w", err)
		}
		if n == 0 {
			return errSeen
		}
		if t.SessionID == "" {
			if _, err := p.sessions.EndAll(ctx, t.Subject); err != nil {
				return fmt.Errorf("sign out by the provider: %w", err)
			}
			if _, err := p.mandates.EndAll(ctx, t.Subject); err != nil {
				return fmt.Errorf("sign out by the provider: %w", err)
			}
			p.db.AfterCommit(ctx, func() { p.vaults.dropOf(t.Subject); p.forget(t.Subject) })
			return p.noteSignOut(ctx, t.Subject, "everywhere")
		}
		return p.endOrigin(ctx, f, t)
	})
}

// endOrigin ends the portal sessions that rest on one session of the provider.
// Their grant is given back: with offline_access it would outlive them unused.
func (p *Portal) endOrigin(ctx context.Context, f *found, t *oidc.LogoutToken) error {
	names, err := db.All(ctx, p.db, func(scan func(...any) error) (s string, err error) { return s, scan(&s) }, "SELECT session FROM portal_origin WHERE sid = $1", t.SessionID)
	if err != nil {
		return fmt.Errorf("portal sessions of a provider session: %w", err)
	}
	for _, name := range names {
		row, err := p.sessions.Alive(ctx, name)
		if errors.Is(err, db.ErrNotFound) || err == nil && t.Subject != "" && row.Person != t.Subject {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := p.sessions.EndSID(ctx, name); err != nil {
			return fmt.Errorf("sign out by the provider: %w", err)
		}
		if err := p.noteSignOut(ctx, row.Person, "session"); err != nil {
			return err
		}
		p.db.AfterCommit(ctx, func() {
			p.vaults.drop(name)
			p.forget(row.Person)
			if _, kept, err := p.unpack(row); err == nil {
				p.giveBack(context.WithoutCancel(ctx), f, kept)
			}
		})
	}
	return nil
}

func (p *Portal) noteSignOut(ctx context.Context, person, what string) error {
	return p.audit.Record(ctx, audit.System("provider"), audit.Event{Action: "portal.signout", Target: person, Application: p.Config.ClientID, Outcome: "ok", Detail: map[string]string{"ends": what}})
}

// forget tells the modules that a session of the person has ended.
func (p *Portal) forget(person string) {
	for _, m := range p.modules {
		if keeper, ok := m.(interface{ Forget(person string) }); ok {
			keeper.Forget(person)
		}
	}
}

// keepOrigin notes, in the transaction that starts a portal session, which
// session of the provider it rests on.
func (p *Portal) keepOrigin(ctx context.Context, session, sid string) error {
	if sid == "" {
		return nil
	}
	if _, err := p.db.Exec(ctx, "INSERT INTO portal_origin (session, sid) VALUES ($1, $2)", session, sid); err != nil {
		return fmt.Errorf("start portal session: %w", err)
	}
	return nil
}

// Sweep forgets what belonged to sessions that are gone, and logout tokens that
// nobody could use any more.
func (p *Portal) Sweep(ctx context.Context) (int64, error) {
	origins, err := p.db.Exec(ctx, "DELETE FROM portal_origin WHERE NOT EXISTS (SELECT 1 FROM session s WHERE s.site = 'portal' AND s.sid = portal_origin.session)")
	if err != nil {
		return 0, fmt.Errorf("sweep portal sessions: %w", err)
	}
	tokens, err := p.db.Exec(ctx, "DELETE FROM portal_logout_token WHERE ends < $1", db.At(p.now()))
	if err != nil {
		return origins, fmt.Errorf("sweep logout tokens: %w", err)
	}
	if _, err := p.db.Exec(ctx, "DELETE FROM portal_shared WHERE NOT EXISTS (SELECT 1 FROM session s WHERE s.site = 'portal' AND s.sid = portal_shared.sid)"); err != nil {
		return origins + tokens, fmt.Errorf("sweep shared computers: %w", err)
	}
	mandates, err := p.mandates.Sweep(ctx)
	if err != nil {
		return origins + tokens, fmt.Errorf("sweep mandates: %w", err)
	}
	return origins + tokens + mandates, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
