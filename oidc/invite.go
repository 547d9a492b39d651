package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// ErrUnknownInvite is returned for an invitation that is unknown, used up,
// revoked or over.
var ErrUnknownInvite = errors.New("no such invitation")

// Bounds of an invitation.
const (
	inviteMost     = 366 * 24 * time.Hour
	inviteUsesMost = 100_000
)

// Invite lets an application register itself: an initial access token (RFC
// 7591 §3) that carries what may be registered with it.
type Invite struct {
	ID      string             `json:"id"`
	Note    string             `json:"note,omitempty"` // for whom, in the operator's words
	Policy  RegistrationPolicy `json:"policy"`
	Uses    int                `json:"uses"` // how often it may be used
	Used    int                `json:"used"`
	Maker   string             `json:"maker"`
	Created time.Time          `json:"created"`
	Ends    time.Time          `json:"ends"`
}

// Invite makes an invitation, good for life, and returns its token, shown this
// once.
func (c *Clients) Invite(ctx context.Context, actor audit.Actor, one Invite, life time.Duration) (string, Invite, error) {
	errs := one.Policy.Validate()
	if one.Uses < 1 || one.Uses > inviteUsesMost {
		errs = append(errs, fmt.Errorf("uses: must be 1 to %d", inviteUsesMost))
	}
	if life < time.Minute || life > inviteMost {
		errs = append(errs, fmt.Errorf("expires: must be between a minute and %s", inviteMost))
	}
	if err := errors.Join(errs...); err != nil {
		return "", one, err
	}
	policy, err := json.Marshal(one.Policy)
	if err != nil {
		return "", one, fmt.Errorf("invite: %w", err)
	}
	plain, hash := newSecret(prefixInvite)
	now := c.now()
	one.ID, one.Maker, one.Created, one.Ends = secret.Random()[:10], actor.Name, db.At(now).Time, db.At(now.Add(life)).Time
	one.ID = strings.Trim(one.ID, "-_") + "i"
	err = c.db.InTx(ctx, func(ctx context.Context) error {
		_, err := c.db.Exec(ctx, "INSERT INTO oidc_invite (id, hash, note, policy, uses, used, maker, created, ends) VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8)",
			one.ID, hash, one.Note, string(policy), one.Uses, one.Maker, db.At(now), db.At(one.Ends))
		if err != nil {
			return fmt.Errorf("store invitation: %w", err)
		}
		return c.audit.Record(ctx, actor, audit.Event{Action: "app.invite", Detail: map[string]string{"invite": one.ID, "note": one.Note}})
	})
	return plain, one, err
}

const inviteColumns = "id, note, policy, uses, used, maker, created, ends"

func scanInvite(scan func(...any) error) (Invite, error) {
	var one Invite
	var policy string
	var created, ends db.Time
	if err := scan(&one.ID, &one.Note, &policy, &one.Uses, &one.Used, &one.Maker, &created, &ends); err != nil {
		return one, err
	}
	one.Created, one.Ends = created.Time, ends.Time
	if err := json.Unmarshal([]byte(policy), &one.Policy); err != nil {
		return one, fmt.Errorf("policy of invitation %s: %w", one.ID, err)
	}
	return one, nil
}

// Invites lists the invitations that were not revoked, the newest first.
func (c *Clients) Invites(ctx context.Context) ([]Invite, error) {
	all, err := db.All(ctx, c.db, scanInvite, "SELECT "+inviteColumns+" FROM oidc_invite ORDER BY created DESC, id")
	if err != nil {
		return nil, fmt.Errorf("read invitations: %w", err)
	}
	return all, nil
}

// RevokeInvite ends an invitation. What was registered with it goes on.
func (c *Clients) RevokeInvite(ctx context.Context, actor audit.Actor, id string) error {
	return c.db.InTx(ctx, func(ctx context.Context) error {
		n, err := c.db.Exec(ctx, "DELETE FROM oidc_invite WHERE id = $1", id)
		if err != nil {
			return fmt.Errorf("revoke invitation: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("%s: %w", id, ErrUnknownInvite)
		}
		return c.audit.Record(ctx, actor, audit.Event{Action: "app.invite-revoke", Detail: map[string]string{"invite": id}})
	})
}

// inviteOf is the invitation of a token, while it is good. It is not spent.
func (c *Clients) inviteOf(ctx context.Context, plain string) (Invite, error) {
	if !strings.HasPrefix(plain, prefixInvite) {
		return Invite{}, ErrUnknownInvite
	}
	one, err := scanInvite(c.db.QueryRow(ctx, "SELECT "+inviteColumns+" FROM oidc_invite WHERE hash = $1 AND used < uses AND ends > $2", secret.Hash(plain), db.At(c.now())).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return Invite{}, ErrUnknownInvite
	}
	if err != nil {
		return Invite{}, fmt.Errorf("read invitation: %w", err)
	}
	return one, nil
}

// spendInvite counts one use: one statement, so that as many succeed as there
// are uses, however many try.
func (c *Clients) spendInvite(ctx context.Context, id string) error {
	n, err := c.db.Exec(ctx, "UPDATE oidc_invite SET used = used + 1 WHERE id = $1 AND used < uses AND ends > $2", id, db.At(c.now()))
	if err != nil {
		return fmt.Errorf("spend invitation: %w", err)
	}
	if n == 0 {
		return ErrUnknownInvite
	}
	return nil
}
