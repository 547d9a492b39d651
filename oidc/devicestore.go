package oidc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/db"
	"beffroi/signin"
)

// device is one device authorization request (RFC 8628 §3.1) as stored.
type device struct {
	ID        string // hash of the device code
	Shown     string // the user code, sealed
	Client    string
	Scope     string
	Resources string // audiences that its tokens are for
	Address   string // where the device asked from
	Created   db.Time
	Expires   db.Time
	Person    string // who typed the code, in the session SID
	SID       string
	Level     signin.Level
	AMR       string
	AuthTime  db.Time
	Decided   db.Time // zero while it waits
	Allowed   bool
}

// createDevice stores a request; false when the user code is taken.
func (s *store) createDevice(ctx context.Context, d device, codeHash string, wait time.Duration) (bool, error) {
	n, err := s.db.Exec(ctx, `INSERT INTO oidc_device (id, code, shown, client, scope, resources, address, created, expires, wait, hurried, person, sid, level, amr, allowed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, FALSE, '', '', 0, '', FALSE) ON CONFLICT DO NOTHING`,
		d.ID, codeHash, d.Shown, d.Client, d.Scope, d.Resources, d.Address, d.Created, d.Expires, wait.Microseconds())
	if err != nil {
		return false, fmt.Errorf("store device: %w", err)
	}
	return n == 1, nil
}

const deviceColumns = `id, shown, client, scope, resources, address, created, expires, person, sid, level, amr, auth_time, decided, allowed`

func (d *device) fields() []any {
	return []any{&d.ID, &d.Shown, &d.Client, &d.Scope, &d.Resources, &d.Address, &d.Created, &d.Expires, &d.Person, &d.SID, &d.Level, &d.AMR, &d.AuthTime, &d.Decided, &d.Allowed}
}

// device returns the request of a device code, and when tokens were first made
// of it (zero: never). db.ErrNotFound.
func (s *store) device(ctx context.Context, id string) (d device, redeemed db.Time, err error) {
	err = s.db.QueryRow(ctx, "SELECT "+deviceColumns+", (SELECT MIN(t.created) FROM oidc_token t WHERE t.grant_id = d.id AND t.origin = 'code') FROM oidc_device d WHERE id = $1", id).
		Scan(append(d.fields(), &redeemed)...)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		err = fmt.Errorf("read device: %w", err)
	}
	return d, redeemed, err
}

// deviceByUserCode returns a request that still waits. db.ErrNotFound.
func (s *store) deviceByUserCode(ctx context.Context, codeHash string) (d device, err error) {
	err = s.db.QueryRow(ctx, "SELECT "+deviceColumns+" FROM oidc_device WHERE code = $1 AND decided IS NULL AND expires > $2", codeHash, db.At(s.now())).Scan(d.fields()...)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		err = fmt.Errorf("read user code: %w", err)
	}
	return d, err
}

// pollSlack is how much earlier than told a poll may arrive: the network is
// not a clock.
const pollSlack = time.Second

// poll notes a poll of a request that waits and tells whether it came too
// early, which makes every later wait longer by five seconds (RFC 8628 §3.5).
func (s *store) poll(ctx context.Context, id string) (hurried bool, err error) {
	now := s.now()
	err = s.db.QueryRow(ctx, `UPDATE oidc_device SET hurried = (polled IS NOT NULL AND polled + wait > $2),
		wait = CASE WHEN polled IS NOT NULL AND polled + wait > $2 THEN wait + $3 ELSE wait END, polled = $4
		WHERE id = $1 AND decided IS NULL RETURNING hurried`,
		id, db.At(now.Add(pollSlack)), (5 * time.Second).Microseconds(), db.At(now)).Scan(&hurried)
	if errors.Is(err, db.ErrNotFound) {
		return false, nil // decided this very moment: the next poll will hear of it
	}
	if err != nil {
		return false, fmt.Errorf("note poll: %w", err)
	}
	return hurried, nil
}

// claimDevice notes who typed the code, and in which session. The latest
// counts: the code may have been typed in the wrong browser before. False when
// the request waits no more.
func (s *store) claimDevice(ctx context.Context, id string, who signin.Result) (bool, error) {
	n, err := s.db.Exec(ctx, `UPDATE oidc_device SET person = $2, sid = $3, level = $4, amr = $5, auth_time = $6 WHERE id = $1 AND decided IS NULL AND expires > $7`,
		id, who.Person.ID, who.SID, int64(who.Level), strings.Join(who.AMR, " "), db.At(who.AuthTime), db.At(s.now()))
	if err != nil {
		return false, fmt.Errorf("claim device: %w", err)
	}
	return n == 1, nil
}

// decideDevice settles a request, once and at d.Decided, for the person and
// the session that typed its code: one statement. db.ErrNotFound when it is not
// theirs any more, is settled already or has expired.
func (s *store) decideDevice(ctx context.Context, d device, allow bool) error {
	n, err := s.db.Exec(ctx, "UPDATE oidc_device SET decided = $4, allowed = $5 WHERE id = $1 AND person = $2 AND sid = $3 AND decided IS NULL AND expires > $4",
		d.ID, d.Person, d.SID, d.Decided, allow)
	if err != nil {
		return fmt.Errorf("decide about device: %w", err)
	}
	if n == 0 {
		return db.ErrNotFound
	}
	return nil
}

// keepDevice is how long a request is remembered after its end, so that a
// device that comes late hears that it is late.
const keepDevice = time.Hour
