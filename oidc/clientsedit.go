package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Add registers an application and returns its secret, shown this once ("" for
// one that has none): chosen, or one made here when chosen is not given. Every
// mistake is returned at once.
func (c *Clients) Add(ctx context.Context, actor audit.Actor, one Client, chosen ...string) (string, error) {
	one.SecretFile, one.SecretHashes = "", nil
	plain := ""
	switch wants := one.usesSecret(); {
	case len(chosen) > 0 && !wants:
		return "", fmt.Errorf("application %q: has no use for a secret", one.ID)
	case len(chosen) > 0:
		if plain = chosen[0]; checkChosen(plain) != nil {
			return "", fmt.Errorf("application %q: %w", one.ID, checkChosen(plain))
		}
	case wants:
		plain = secret.Random()
	}
	if plain != "" {
		one.SecretHashes = []string{secret.Hash(plain)}
	}
	if err := errors.Join(one.Validate()...); err != nil {
		return "", err
	}
	if one.Profile != "" {
		return "", fmt.Errorf("application %q: profile: %s is for the configuration file, where the mapping that it needs stands too", one.ID, one.Profile)
	}
	if c.fixed[one.ID] != nil {
		return "", fmt.Errorf("%s: %w", one.ID, ErrClientFixed)
	}
	if err := c.audienceIsFree(one); err != nil {
		return "", err
	}
	document, err := json.Marshal(one)
	if err != nil {
		return "", fmt.Errorf("register %s: %w", one.ID, err)
	}
	err = c.change(ctx, actor, audit.Event{Action: "app.add", Application: one.ID}, func(ctx context.Context) error {
		now := db.At(c.now())
		n, err := c.db.Exec(ctx, "INSERT INTO oidc_client (id, document, secrets, created, changed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
			one.ID, string(document), hashesJSON(one.SecretHashes), now, now)
		if err == nil && n == 0 {
			return fmt.Errorf("%s: %w", one.ID, ErrClientExists)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return plain, nil
}

// Remove forgets the application and ends all that was issued to it.
func (c *Clients) Remove(ctx context.Context, actor audit.Actor, id string) error {
	if c.fixed[id] != nil {
		return fmt.Errorf("%s: %w", id, ErrClientFixed)
	}
	return c.change(ctx, actor, audit.Event{Action: "app.remove", Application: id}, func(ctx context.Context) error {
		n, err := c.db.Exec(ctx, "DELETE FROM oidc_client WHERE id = $1", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: %w", id, ErrUnknownClient)
		}
		if _, err := c.db.Exec(ctx, "DELETE FROM oidc_token WHERE client = $1", id); err != nil {
			return err
		}
		// What people allowed is not for another application of the same name.
		if err := c.forgetConsents(ctx, id); err != nil {
			return err
		}
		_, err = c.db.Exec(ctx, "UPDATE oidc_grant SET ended = $1 WHERE client = $2 AND ended IS NULL", db.At(c.now()), id)
		return err
	})
}

// change runs a change and its audit row in one transaction, then renews the
// copy in memory.
func (c *Clients) change(ctx context.Context, actor audit.Actor, event audit.Event, fn func(context.Context) error) error {
	err := c.db.InTx(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return c.audit.Record(ctx, actor, event)
	})
	if err != nil {
		return err
	}
	c.loading.Lock()
	defer c.loading.Unlock()
	stored, err := c.stored(ctx)
	if err != nil {
		return err
	}
	c.current.Store(c.assemble(stored))
	return nil
}

// Edited is what a change of an application did.
type Edited struct {
	Changed []string `json:"changed"`                 // names of the fields, as the database has them
	Secret  string   `json:"client_secret,omitempty"` // shown this once: made because the application now needs one
	// TakenOver: it had registered itself, and manages itself no longer.
	TakenOver bool `json:"taken_over,omitempty"`
}

// Edit changes an application of the database. Every mistake of the outcome is
// returned at once, and nothing is changed then.
func (c *Clients) Edit(ctx context.Context, actor audit.Actor, id string, change func(*Client) error) (Edited, error) {
	var done Edited
	if c.fixed[id] != nil {
		return done, fmt.Errorf("%s: %w", id, ErrClientFixed)
	}
	detail := map[string]string{}
	err := c.change(ctx, actor, audit.Event{Action: "app.edit", Application: id, Detail: detail}, func(ctx context.Context) error {
		before, err := c.storedOne(ctx, id)
		if err != nil {
			return err
		}
		after := before.raw
		if err := change(&after); err != nil {
			return err
		}
		after.ID = id
		switch {
		case !after.usesSecret():
			after.SecretHashes, after.secrets.former = nil, ""
		case len(after.SecretHashes) == 0:
			done.Secret = after.freshSecret()
		}
		if err := errors.Join(after.Validate()...); err != nil {
			return err
		}
		if err := c.audienceIsFree(after); err != nil {
			return err
		}
		detail["changed"] = changedFields(before.raw, after)
		if done.Changed = strings.Fields(detail["changed"]); len(done.Changed) == 0 {
			return fmt.Errorf("%s: nothing is changed by this", id)
		}
		done.TakenOver = before.registration.by != ""
		return c.replace(ctx, before, after, done.Secret != "")
	})
	return done, err
}

// replace stores an application anew, unless somebody else has changed it
// since it was read. Its own token to change itself ends: what the operator
// has set must not be undone by it. So does the time that it was given: whoever
// takes it over decides when it goes.
func (c *Clients) replace(ctx context.Context, before Entry, after Client, fresh bool) error {
	document, err := json.Marshal(after)
	if err != nil {
		return fmt.Errorf("edit %s: %w", after.ID, err)
	}
	now := db.At(c.now())
	made := db.At(after.secrets.made)
	if fresh {
		made = now
	}
	n, err := c.db.Exec(ctx, "UPDATE oidc_client SET document = $1, secrets = $2, former = $3, secret_made = $4, registration = '', ends = NULL, changed = $5 WHERE id = $6 AND document = $7 AND secrets = $8",
		string(document), hashesJSON(after.SecretHashes), after.secrets.former, made, now, after.ID, before.document, hashesJSON(before.raw.SecretHashes))
	if err == nil && n == 0 {
		err = errors.New("somebody else changed it at the same moment")
	}
	if err != nil {
		return fmt.Errorf("edit %s: %w", after.ID, err)
	}
	return nil
}

// audienceIsFree holds that no other application is the resource that one says
// it is, by its audience or by an address.
func (c *Clients) audienceIsFree(one Client) error {
	for _, other := range c.current.Load().byID {
		for _, name := range one.names() {
			if other.ID != one.ID && slices.Contains(other.names(), name) {
				return fmt.Errorf("application %q: audience or resources: %q is already the application %s", one.ID, name, other.ID)
			}
		}
	}
	return nil
}

// changedFields names the fields in which two registrations differ, as the
// database has them, for the audit trail.
func changedFields(before, after Client) string {
	a, b := fieldsOf(before), fieldsOf(after)
	var names []string
	for name := range a {
		if string(a[name]) != string(b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, has := a[name]; !has {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func fieldsOf(c Client) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if document, err := json.Marshal(c); err == nil {
		_ = json.Unmarshal(document, &fields)
	}
	return fields
}
