package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/session"
	"beffroi/internal/web"
)

// On a computer that several people use, a session is short: it ends some minutes
// after its person last did something, here and at the provider. The page does it by
// itself (app.js); the server does it for a page that cannot. Nothing is kept in the
// browser: no page of the worker, and what the browser kept is cleared at the end.

// sharedGrace is how much longer than the page the server waits.
const sharedGrace = time.Minute

// sharedSeenEvery is how often it is written down that somebody is there.
const sharedSeenEvery = 20 * time.Second

// idlePaths are asked for by pages that nobody looks at.
var idlePaths = []string{"/mail/events", "/mail/badge", "/mail/quota", "/mail/outbox", "/sw.js"}

// sharedOf tells whether a session is of a shared computer, and when its person was
// last there.
func (p *Portal) sharedOf(ctx context.Context, sid string) (shared bool, seen time.Time, err error) {
	var at int64
	err = p.db.QueryRow(ctx, "SELECT seen FROM portal_shared WHERE sid = $1", sid).Scan(&at)
	if errors.Is(err, db.ErrNotFound) {
		return false, seen, nil
	} else if err != nil {
		return false, seen, fmt.Errorf("shared computer: %w", err)
	}
	return true, time.UnixMicro(at), nil
}

// present notes that the person of a shared session does something. over: they were
// away for too long.
func (p *Portal) present(ctx context.Context, r *http.Request, sid string) (shared, over bool, err error) {
	shared, seen, err := p.sharedOf(ctx, sid)
	if err != nil || !shared {
		return false, false, err
	}
	now := p.now()
	if now.Sub(seen) > p.Config.SharedLock+sharedGrace {
		return true, true, nil
	}
	if now.Sub(seen) > sharedSeenEvery && !slices.Contains(idlePaths, r.URL.Path) && r.Header.Get("X-Background") == "" {
		if _, err := p.db.Exec(ctx, "UPDATE portal_shared SET seen = $1 WHERE sid = $2 AND seen < $1", now.UnixMicro(), sid); err != nil {
			return true, false, fmt.Errorf("shared computer: %w", err)
		}
	}
	return true, false, nil
}

// endShared signs out whoever was away for too long: a page is led through the
// provider. Anything else is told to sign in again, and the session stays what it is,
// over, until a page ends it there too: else the provider would let the next one in.
func (p *Portal) endShared(w http.ResponseWriter, r *http.Request) error {
	p.log.InfoContext(r.Context(), "session of a shared computer ended", "request", web.RequestID(r.Context()))
	if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") != "cors" && r.Header.Get("HX-Request") == "" {
		return p.logout(w, r)
	}
	return p.askToSignIn(w, r)
}

// overShared tells whether the session of a request is one that endShared must end.
func (p *Portal) overShared(r *http.Request) (bool, error) {
	row := session.From(r.Context())
	if row == nil {
		return false, nil
	}
	_, over, err := p.present(r.Context(), r, row.SID)
	return over, err
}

// setShared answers POST /shared, field on: this computer is shared ("1"), or not.
func (p *Portal) setShared(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sid := SessionID(ctx)
	var err error
	if web.Field(r, "on") == "1" {
		_, err = p.db.Exec(ctx, "INSERT INTO portal_shared (sid, seen) VALUES ($1, $2) ON CONFLICT (sid) DO NOTHING", sid, p.now().UnixMicro())
		w.Header().Set("Clear-Site-Data", `"cache"`) // what was kept before
	} else {
		_, err = p.db.Exec(ctx, "DELETE FROM portal_shared WHERE sid = $1", sid)
	}
	if err != nil {
		return fmt.Errorf("shared computer: %w", err)
	}
	return web.Redirect(w, r, returnPath(web.Field(r, "next")))
}

// leaveShared tells the browser to forget, and forgets the session's row.
func (p *Portal) leaveShared(ctx context.Context, w http.ResponseWriter, row *session.Session) {
	n, err := p.db.Exec(ctx, "DELETE FROM portal_shared WHERE sid = $1", row.SID)
	if err != nil {
		p.log.WarnContext(ctx, "shared computer", "error", err)
	}
	if n > 0 {
		w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	}
}
