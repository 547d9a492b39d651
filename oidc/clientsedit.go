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
)

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
// has set must not be undone by it.
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
	n, err := c.db.Exec(ctx, "UPDATE oidc_client SET document = $1, secrets = $2, former = $3, secret_made = $4, registration = '', changed = $5 WHERE id = $6 AND document = $7 AND secrets = $8",
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
