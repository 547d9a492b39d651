package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// registeredPrefix begins the ID of an application that registered itself.
const registeredPrefix = "r-"

var errRegistrationFull = errors.New("no more applications may register themselves")

// registration is what the database knows of an application that registered
// itself; zero for the others.
type registration struct {
	by     string // hash of the token that manages it
	invite string
	policy RegistrationPolicy
	ends   time.Time // zero: for good
}

// registered is what was just registered or changed, with what is shown once.
type registered struct {
	entry         Entry
	secret, token string
}

// ended tells whether the application's time is over.
func (c *Client) ended(now time.Time) bool {
	return !c.registration.ends.IsZero() && !now.Before(c.registration.ends)
}

// register stores an application that registers itself, in one transaction
// with the use of its invitation.
func (c *Clients) register(ctx context.Context, one Client, invite string, policy RegistrationPolicy, most int) (registered, error) {
	made := registered{}
	made.secret = one.freshSecret()
	var by string
	made.token, by = newSecret(prefixManage)
	now := c.now()
	ends := db.Time{}
	if policy.Life > 0 {
		ends = db.At(now.Add(policy.Life))
	}
	document, err := json.Marshal(one)
	if err != nil {
		return made, fmt.Errorf("register %s: %w", one.ID, err)
	}
	bound, err := json.Marshal(policy)
	if err != nil {
		return made, fmt.Errorf("register %s: %w", one.ID, err)
	}
	event := audit.Event{Action: "app.register", Application: one.ID, Detail: map[string]string{"invite": invite, "name": one.Name["en"], "name_fr": one.Name["fr"]}}
	err = c.change(ctx, audit.Anonymous(), event, func(ctx context.Context) error {
		if invite != "" {
			if err := c.spendInvite(ctx, invite); err != nil {
				return err
			}
		}
		n, err := c.db.Exec(ctx, `INSERT INTO oidc_client (id, document, secrets, created, changed, registration, invite, policy, ends)
			SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS TEXT), CAST($8 AS BIGINT)
			WHERE (SELECT COUNT(*) FROM oidc_client WHERE registration <> '' AND (ends IS NULL OR ends > CAST($4 AS BIGINT))) < CAST($9 AS BIGINT)`,
			one.ID, string(document), hashesJSON(one.SecretHashes), db.At(now), by, invite, string(bound), ends, most)
		if err != nil {
			return fmt.Errorf("store registration: %w", err)
		}
		if n == 0 {
			return errRegistrationFull
		}
		return nil
	})
	if err != nil {
		return made, err
	}
	made.entry, err = c.registered(ctx, one.ID, made.token)
	return made, err
}

// reregister replaces what the application has registered, and the token that
// managed it: of two changes at once, one finds it replaced.
func (c *Clients) reregister(ctx context.Context, actor audit.Actor, before Entry, one Client, token string) (registered, error) {
	made := registered{}
	var by string
	made.token, by = newSecret(prefixManage)
	switch {
	case !one.usesSecret():
		one.SecretHashes = nil
	case len(one.SecretHashes) == 0:
		made.secret = one.freshSecret()
	}
	document, err := json.Marshal(one)
	if err != nil {
		return made, fmt.Errorf("register %s: %w", one.ID, err)
	}
	now := db.At(c.now())
	// The former secret of a rotation goes on only with the present one.
	former := one.secrets.former
	if len(one.SecretHashes) == 0 {
		former = ""
	}
	secretMade := db.At(one.secrets.made)
	if made.secret != "" {
		secretMade = now
	}
	event := audit.Event{Action: "app.reregister", Application: one.ID, Detail: map[string]string{"changed": changedFields(before.raw, one)}}
	err = c.change(ctx, actor, event, func(ctx context.Context) error {
		n, err := c.db.Exec(ctx, "UPDATE oidc_client SET document = $1, secrets = $2, former = $3, secret_made = $4, registration = $5, changed = $6 WHERE id = $7 AND registration = $8",
			string(document), hashesJSON(one.SecretHashes), former, secretMade, by, now, one.ID, secret.Hash(token))
		if err != nil {
			return fmt.Errorf("store registration: %w", err)
		}
		if n == 0 {
			return ErrUnknownClient
		}
		if one.looksAs(&before.raw) {
			return nil
		}
		return c.forgetConsents(ctx, one.ID)
	})
	if err != nil {
		return made, err
	}
	made.entry, err = c.registered(ctx, one.ID, made.token)
	return made, err
}

// looksAs tells whether people who allowed the application before would take it
// for the same: it has the same name and answers to no place that it did not
// answer to. Whoever steals the token of a registration must not come by what
// people allowed to somebody else.
func (c *Client) looksAs(before *Client) bool {
	return maps.Equal(c.Name, before.Name) && !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool {
		return !slices.ContainsFunc(before.RedirectURIs, func(one string) bool { return originOf(one) == originOf(uri) })
	})
}

// forgetConsents takes back what everybody allowed the application.
func (c *Clients) forgetConsents(ctx context.Context, id string) error {
	if _, err := c.db.Exec(ctx, "DELETE FROM oidc_consent WHERE client = $1", id); err != nil {
		return fmt.Errorf("forget what %s was allowed: %w", id, err)
	}
	return nil
}

// registered is the application that a token manages, as it stands now.
func (c *Clients) registered(ctx context.Context, id, token string) (Entry, error) {
	e, err := c.storedOne(ctx, id)
	if err != nil {
		return e, err
	}
	if e.registration.by == "" || !secret.Equal(e.registration.by, secret.Hash(token)) || e.ended(c.now()) {
		return e, ErrUnknownClient
	}
	return e, nil
}

// sweep removes the applications whose time is over, and invitations that are.
func (c *Clients) sweep(ctx context.Context) (int64, error) {
	now := c.now()
	over, err := db.All(ctx, c.db, func(scan func(...any) error) (id string, err error) { return id, scan(&id) },
		"SELECT id FROM oidc_client WHERE ends IS NOT NULL AND ends <= $1", db.At(now))
	if err != nil {
		return 0, fmt.Errorf("find applications whose time is over: %w", err)
	}
	for i, id := range over {
		if err := c.Remove(ctx, audit.System("sweep"), id); err != nil && !errors.Is(err, ErrUnknownClient) {
			return int64(i), err
		}
	}
	// Kept a month, so that a list still tells what an application came by.
	n, err := c.db.Exec(ctx, "DELETE FROM oidc_invite WHERE ends < $1", db.At(now.Add(-30*24*time.Hour)))
	if err != nil {
		return int64(len(over)), fmt.Errorf("sweep invitations: %w", err)
	}
	return int64(len(over)) + n, nil
}

// usesSecret tells whether the application authenticates by a secret.
func (c *Client) usesSecret() bool { return !c.Public && c.AuthMethod != AuthKey }

// freshSecret gives the application a secret where it uses one, and returns it.
func (c *Client) freshSecret() string {
	c.SecretHashes = nil
	if !c.usesSecret() {
		return ""
	}
	plain := secret.Random()
	c.SecretHashes = []string{secret.Hash(plain)}
	return plain
}
