package portal

import (
	"context"
	"errors"
	"fmt"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// Record writes into the audit trail what the person signed in did; target is the
// person whom it touches, "" for nobody. Inside a transaction it stands or falls with it.
func (p *Portal) Record(ctx context.Context, action, target string, detail map[string]string) error {
	who := Who(ctx)
	return p.audit.Record(ctx, audit.Person(who.Sub, who.Login), audit.Event{Action: action, Target: target, Application: p.Config.ClientID, Outcome: "ok", Detail: detail})
}

// Preference reads a choice of the person signed in, empty when none was made.
func (p *Portal) Preference(ctx context.Context, name string) (string, error) {
	var value string
	err := p.db.QueryRow(ctx, "SELECT value FROM portal_preference WHERE person = $1 AND name = $2", Who(ctx).Sub, name).Scan(&value)
	if errors.Is(err, db.ErrNotFound) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read preference %s: %w", name, err)
	}
	return value, nil
}

// SetPreference keeps a choice of the person signed in. At most 4096 bytes.
func (p *Portal) SetPreference(ctx context.Context, name, value string) error {
	if len(value) > 4096 {
		return fmt.Errorf("preference %s: too long", name)
	}
	_, err := p.db.Exec(ctx, `INSERT INTO portal_preference (person, name, value, changed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (person, name) DO UPDATE SET value = excluded.value, changed = excluded.changed`,
		Who(ctx).Sub, name, value, db.At(p.now()))
	if err != nil {
		return fmt.Errorf("keep preference %s: %w", name, err)
	}
	return nil
}
