package oidc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Kinds of notices.
const noticeApplication = "backchannel" // to an application: Back-Channel Logout 1.0

// States of a notice.
const (
	noticePending = "pending"
	noticeDone    = "done"
	noticeFailed  = "failed"
)

// notice tells somebody that a person has signed out.
type notice struct {
	ID       string
	Kind     string
	Client   string
	Person   string
	SID      string // "" for all sessions of the person
	Login    string
	Attempts int
	Created  db.Time

	once string // the session whose end is told once; "" tells each time
}

const (
	noticeLease  = 30 * time.Second // longer than a try takes
	noticeLife   = 24 * time.Hour   // then it is given up
	noticeKept   = 24 * time.Hour   // what was delivered: as long as a session may end twice
	failureKept  = 30 * 24 * time.Hour
	noticesEach  = 8 // of one application at a time, so that none keeps the others waiting
	noticesTaken = 64
)

// noticeWaits are the pauses between tries; the last one repeats.
var noticeWaits = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour}

// noticeWait is the pause after so many tries.
func noticeWait(attempts int) time.Duration {
	return noticeWaits[min(max(attempts-1, 0), len(noticeWaits)-1)]
}

// addNotice queues a notice in the transaction of ctx.
func (s *store) addNotice(ctx context.Context, n notice) error {
	now := db.At(s.now())
	_, err := s.db.Exec(ctx, `INSERT INTO oidc_notice (id, kind, client, person, sid, login, once, state, due, attempts, error, created, changed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', $9, $9) ON CONFLICT DO NOTHING`,
		secret.Random()[:22], n.Kind, n.Client, n.Person, n.SID, n.Login, null(n.once), noticePending, now)
	if err != nil {
		return fmt.Errorf("queue notice for %s: %w", n.Client, err)
	}
	return nil
}

// takeNotices leases notices that are due: one statement, so that no two
// replicas deliver the same one at the same moment. A lease that is not ended
// (the process was killed) runs out.
func (s *store) takeNotices(ctx context.Context) ([]notice, error) {
	now := db.At(s.now())
	var waiting bool // looked at first: a write every second would disturb SQLite's one writer
	if err := s.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM oidc_notice WHERE due <= $1)", now).Scan(&waiting); err != nil || !waiting {
		return nil, err
	}
	all, err := db.All(ctx, s.db, func(scan func(...any) error) (n notice, err error) {
		return n, scan(&n.ID, &n.Kind, &n.Client, &n.Person, &n.SID, &n.Login, &n.Attempts, &n.Created)
	}, `UPDATE oidc_notice SET due = $2, attempts = attempts + 1
		WHERE id IN (SELECT id FROM (
			SELECT id, due, ROW_NUMBER() OVER (PARTITION BY kind, client ORDER BY due, id) AS place FROM oidc_notice WHERE due <= $1
		) ready WHERE place <= $3 ORDER BY due, id LIMIT $4) AND due <= $1
		RETURNING id, kind, client, person, sid, login, attempts, created`,
		now, db.At(now.Add(noticeLease)), noticesEach, noticesTaken)
	if err != nil {
		return nil, fmt.Errorf("take notices: %w", err)
	}
	return all, nil
}

// settleNotice ends a notice, delivered or given up.
func (s *store) settleNotice(ctx context.Context, id, state, why string) error {
	_, err := s.db.Exec(ctx, "UPDATE oidc_notice SET state = $1, error = $2, due = NULL, changed = $3 WHERE id = $4", state, why, db.At(s.now()), id)
	if err != nil {
		return fmt.Errorf("settle notice %s: %w", id, err)
	}
	return nil
}

// delayNotice sets the next try, of the same receiver's others too: one that
// does not answer is not asked again for each of them.
func (s *store) delayNotice(ctx context.Context, n notice, due time.Time, why string) error {
	now := db.At(s.now())
	if _, err := s.db.Exec(ctx, "UPDATE oidc_notice SET due = $1, error = $2, changed = $3 WHERE id = $4", db.At(due), why, now, n.ID); err != nil {
		return fmt.Errorf("delay notice %s: %w", n.ID, err)
	}
	_, err := s.db.Exec(ctx, "UPDATE oidc_notice SET due = $1 WHERE kind = $2 AND client = $3 AND due < $1", db.At(due), n.Kind, n.Client)
	if err != nil {
		return fmt.Errorf("delay notices of %s: %w", n.Client, err)
	}
	return nil
}

// sweepNotices forgets what nobody needs to know any more.
func (s *store) sweepNotices(ctx context.Context) (int64, error) {
	now := s.now()
	n, err := s.db.Exec(ctx, "DELETE FROM oidc_notice WHERE state = $1 AND changed < $2 OR state = $3 AND changed < $4",
		noticeDone, db.At(now.Add(-noticeKept)), noticeFailed, db.At(now.Add(-failureKept)))
	if err != nil {
		return 0, fmt.Errorf("sweep notices: %w", err)
	}
	return n, nil
}

// Notice is a notice as operators see it.
type Notice struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"` // "backchannel" or "kick"
	Client   string    `json:"application"`
	Person   string    `json:"person"`
	SID      string    `json:"sid,omitempty"` // empty: all sessions of the person
	State    string    `json:"state"`         // "pending" or "failed"
	Attempts int       `json:"attempts"`
	Error    string    `json:"error,omitempty"` // of the last try
	Created  time.Time `json:"created"`
	Next     time.Time `json:"next,omitzero"` // pending: the next try
}

// Notices lists what is not delivered: pending ones by their next try, then
// those that were given up, the latest first.
func (p *Provider) Notices(ctx context.Context) ([]Notice, error) {
	all, err := db.All(ctx, p.store.db, func(scan func(...any) error) (n Notice, err error) {
		var created, next db.Time
		err = scan(&n.ID, &n.Kind, &n.Client, &n.Person, &n.SID, &n.State, &n.Attempts, &n.Error, &created, &next)
		n.Created, n.Next = created.Time, next.Time
		return n, err
	}, `SELECT id, kind, client, person, sid, state, attempts, error, created, due FROM oidc_notice
		WHERE state <> $1 ORDER BY CASE state WHEN $2 THEN 0 ELSE 1 END, due, changed DESC, id`, noticeDone, noticePending)
	if err != nil {
		return nil, fmt.Errorf("list notices: %w", err)
	}
	return all, nil
}

// ErrNoNotice is returned by RetryNotice for an id that is not waiting.
var ErrNoNotice = errors.New("no such notice, or it was delivered")

// RetryNotice makes a notice due at once, with a full life before it; an empty
// id, all of them. It returns how many.
func (p *Provider) RetryNotice(ctx context.Context, actor audit.Actor, id string) (n int64, err error) {
	err = p.store.db.InTx(ctx, func(ctx context.Context) error {
		now := db.At(p.now())
		n, err = p.store.db.Exec(ctx, "UPDATE oidc_notice SET state = $1, due = $2, created = $2, changed = $2, attempts = 0 WHERE state <> $3 AND (id = $4 OR $4 = '')",
			noticePending, now, noticeDone, id)
		if err != nil {
			return fmt.Errorf("retry notices: %w", err)
		}
		if n == 0 && id != "" {
			return fmt.Errorf("%s: %w", id, ErrNoNotice)
		}
		return p.audit.Record(ctx, actor, audit.Event{Action: "logout.retry", Detail: map[string]string{"notice": id, "count": fmt.Sprint(n)}})
	})
	p.wake()
	return n, err
}

// NoticeCount is how the deliveries stand.
type NoticeCount struct {
	Pending, Failed int
	Oldest          time.Duration // since the oldest pending one was queued
}

// CountNotices tells how the deliveries stand, for metrics.
func (p *Provider) CountNotices(ctx context.Context) (c NoticeCount, err error) {
	var oldest db.Time
	err = p.store.db.QueryRow(ctx, `SELECT COUNT(CASE WHEN state = $1 THEN 1 END), COUNT(CASE WHEN state = $2 THEN 1 END), MIN(CASE WHEN state = $1 THEN created END)
		FROM oidc_notice WHERE state <> $3`, noticePending, noticeFailed, noticeDone).Scan(&c.Pending, &c.Failed, &oldest)
	if err != nil {
		return c, fmt.Errorf("count notices: %w", err)
	}
	if !oldest.IsZero() {
		c.Oldest = p.now().Sub(oldest.Time)
	}
	return c, nil
}
