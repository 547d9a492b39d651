package mfa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

const (
	// deviceGrace is how long the secret before the present one is still taken:
	// tabs of a browser that were sent at the same moment.
	deviceGrace = 10 * time.Second
	// maxDevices is how many browsers a person may trust; the one used longest
	// ago gives way.
	maxDevices = 20
)

// deviceKind is how trusted browsers are listed and removed. They are never
// asked for, and so not counted.
func deviceKind() kind {
	return kind{
		tables: []string{"mfa_device"},
		list: func(s *Service, ctx context.Context, person string) ([]Factor, error) {
			return db.All(ctx, s.db, scanDevice, "SELECT "+deviceColumns+" FROM mfa_device WHERE person = $1 AND ends > $2 ORDER BY created, id", person, db.At(s.now()))
		},
		remove: func(s *Service, ctx context.Context, person, id string) (Factor, error) {
			return scanDevice(s.db.QueryRow(ctx, "DELETE FROM mfa_device WHERE person = $1 AND id = $2 RETURNING "+deviceColumns, person, id).Scan)
		},
	}
}

const deviceColumns = "id, agent, address, created, used, ends"

// scanDevice reads a trusted browser: its name is what it called itself, its
// detail the address that it came from last.
func scanDevice(scan func(...any) error) (Factor, error) {
	f := Factor{Kind: Device}
	var created, used, ends db.Time
	err := scan(&f.ID, &f.Name, &f.Detail, &created, &used, &ends)
	f.Created, f.Used, f.Ends = created.Time, used.Time, ends.Time
	return f, err
}

// TrustDevice trusts the browser of ctx's request for a while, because a second
// factor was proven in it at proven, and returns what its cookie must hold.
// token is the cookie that it has; the trust behind that one ends.
func (s *Service) TrustDevice(ctx context.Context, actor audit.Actor, person, token string, proven time.Time, life time.Duration) (string, error) {
	id, value := secret.Random()[:22], secret.Random()
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if old, _, ok := splitDevice(token); ok {
			if _, err := s.db.Exec(ctx, "DELETE FROM mfa_device WHERE id = $1 AND person = $2", old, person); err != nil {
				return fmt.Errorf("trust device of %s: %w", person, err)
			}
		}
		now := s.now()
		agent, address := deviceOrigin(ctx)
		f, err := scanDevice(s.db.QueryRow(ctx, `INSERT INTO mfa_device (id, person, hash, previous, agent, address, proven, created, used, ends)
			VALUES ($1, $2, $3, '', $4, $5, $6, $7, $7, $8) RETURNING `+deviceColumns,
			id, person, secret.Hash(value), agent, address, db.At(proven), db.At(now), db.At(now.Add(life))).Scan)
		if err != nil {
			return fmt.Errorf("trust device of %s: %w", person, err)
		}
		_, err = s.db.Exec(ctx, `DELETE FROM mfa_device WHERE person = $1 AND id NOT IN
			(SELECT id FROM mfa_device WHERE person = $1 ORDER BY used DESC, id LIMIT $2)`, person, maxDevices)
		if err != nil {
			return fmt.Errorf("trust device of %s: %w", person, err)
		}
		if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "added", Factor: f}); err != nil {
			return err
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.device", Target: person, Outcome: "ok", Detail: map[string]string{"factor": id, "until": f.Ends.Format(time.RFC3339)}})
	})
	if err != nil {
		return "", err
	}
	return id + value, nil
}

// DeviceUse is what a trusted browser has shown.
type DeviceUse struct {
	OK     bool
	Proven time.Time // when a second factor was last proven in this browser
	Token  string    // what its cookie must hold from now on; empty: leave it
	Drop   bool      // the cookie is good for nothing any more
	Theft  bool      // a secret came a second time: the trust has ended
}

// UseDevice tells whether the browser with this cookie is trusted for the
// person, and gives it a new secret. A secret that was used up and comes again
// is in two browsers, of which one is a thief's: the trust ends for both, and
// the person is told. The cookie of somebody else says nothing.
func (s *Service) UseDevice(ctx context.Context, person, token string) (use DeviceUse, err error) {
	id, value, ok := splitDevice(token)
	if !ok {
		return DeviceUse{}, nil
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		use = DeviceUse{}
		now, next, hash := s.now(), secret.Random(), secret.Hash(value)
		agent, address := deviceOrigin(ctx)
		var proven db.Time
		err := s.db.QueryRow(ctx, `UPDATE mfa_device SET hash = $4, previous = hash, used = $5, agent = $6, address = $7
			WHERE id = $1 AND person = $2 AND hash = $3 AND ends > $5 RETURNING proven`, id, person, hash, secret.Hash(next), db.At(now), agent, address).Scan(&proven)
		if err == nil {
			use = DeviceUse{OK: true, Proven: proven.Time, Token: id + next}
			return nil
		}
		if !errors.Is(err, db.ErrNotFound) {
			return fmt.Errorf("use trusted device of %s: %w", person, err)
		}
		var whose, previous string
		var used, ends db.Time
		err = s.db.QueryRow(ctx, "SELECT person, previous, proven, used, ends FROM mfa_device WHERE id = $1", id).Scan(&whose, &previous, &proven, &used, &ends)
		switch {
		case errors.Is(err, db.ErrNotFound):
			use.Drop = true
			return nil
		case err != nil:
			return fmt.Errorf("use trusted device of %s: %w", person, err)
		case whose != person:
			return nil
		case !now.Before(ends.Time):
			use.Drop = true
			return nil
		case secret.Equal(previous, hash) && now.Sub(used.Time) < deviceGrace:
			use = DeviceUse{OK: true, Proven: proven.Time}
			return nil
		}
		use.Drop, use.Theft = true, true
		return s.endStolen(ctx, person, id)
	})
	return use, err
}

// endStolen ends a trust whose cookie was copied.
func (s *Service) endStolen(ctx context.Context, person, id string) error {
	f, err := scanDevice(s.db.QueryRow(ctx, "DELETE FROM mfa_device WHERE id = $1 AND person = $2 RETURNING "+deviceColumns, id, person).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return nil // another request has told already
	}
	if err != nil {
		return fmt.Errorf("end trusted device of %s: %w", person, err)
	}
	actor := audit.System("mfa")
	if err := s.changed(ctx, Change{Actor: actor, Person: person, What: Stolen, Factor: f}); err != nil {
		return err
	}
	return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.device.theft", Target: person, Outcome: "refused",
		Detail: map[string]string{"factor": id, "address": f.Detail}})
}

// ForgetDevices ends every trust of the person, in the transaction of ctx: part
// of a sign-out everywhere and of a lock.
func (s *Service) ForgetDevices(ctx context.Context, person string) (int64, error) {
	n, err := s.db.Exec(ctx, "DELETE FROM mfa_device WHERE person = $1", person)
	if err != nil {
		return 0, fmt.Errorf("forget devices of %s: %w", person, err)
	}
	return n, nil
}

// splitDevice parts a cookie into the device and its secret.
func splitDevice(token string) (id, value string, ok bool) {
	if len(token) != 22+43 {
		return "", "", false
	}
	return token[:22], token[22:], true
}

// deviceOrigin is what the browser of the request calls itself, and where it is.
func deviceOrigin(ctx context.Context) (agent, address string) {
	o := audit.OriginOf(ctx)
	if o.IP.IsValid() {
		address = o.IP.Unmap().String()
	}
	agent = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, o.UserAgent)
	return agent[:min(len(agent), 300)], address
}
