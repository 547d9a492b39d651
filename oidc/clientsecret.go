package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Bounds of a secret that somebody chose, and of how long a former one goes on.
const (
	chosenLeast = 32
	chosenMost  = 512
	keepMost    = 90 * 24 * time.Hour
)

// SecretState tells of one secret of an application, never the secret.
type SecretState struct {
	Made  time.Time `json:"made,omitzero"`  // zero where it stands in the configuration file
	Until time.Time `json:"until,omitzero"` // zero for one that goes on
}

// storedSecrets is what the database knows of the secrets of an application.
type storedSecrets struct {
	former     string // hash of the one before the present
	formerEnds time.Time
	made       time.Time
}

// liveSecrets are the hashes of the secrets that open now. The former one ends
// at its time, whether or not anything has swept it.
func (c *Client) liveSecrets(now time.Time) []string {
	if c.secrets.former != "" && now.Before(c.secrets.formerEnds) {
		return append(slices.Clone(c.SecretHashes), c.secrets.former)
	}
	return c.SecretHashes
}

// secretStates tells how many secrets live, and until when.
func (c *Client) secretStates(now time.Time) []SecretState {
	states := []SecretState{}
	for range c.SecretHashes {
		states = append(states, SecretState{Made: c.secrets.made})
	}
	if len(c.liveSecrets(now)) > len(c.SecretHashes) {
		states = append(states, SecretState{Until: c.secrets.formerEnds})
	}
	return states
}

// checkChosen tells what is wrong with a secret that somebody brings.
func checkChosen(plain string) error {
	switch {
	case len(plain) < chosenLeast || len(plain) > chosenMost:
		return fmt.Errorf("a chosen secret has %d to %d characters", chosenLeast, chosenMost)
	case strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("a chosen secret has visible ASCII only: others would be sent in more than one way")
	case strings.Count(plain, plain[:1]) == len(plain):
		return errors.New("a chosen secret is not one character all along")
	}
	return nil
}

// RotateSecret gives the application a new secret and returns it, shown this
// once: chosen, or one made here when that is empty. The former one goes on for
// keep, at most 90 days; with zero it stops within seconds. One that was still
// going on from an earlier rotation ends: two live at most.
func (c *Clients) RotateSecret(ctx context.Context, actor audit.Actor, id string, keep time.Duration, chosen string) (string, error) {
	if c.fixed[id] != nil {
		return "", fmt.Errorf("%s: %w", id, ErrClientFixed)
	}
	if keep < 0 || keep > keepMost {
		return "", fmt.Errorf("a former secret goes on for at most %s", keepMost)
	}
	plain := chosen
	if plain == "" {
		plain = secret.Random()
	} else if err := checkChosen(plain); err != nil {
		return "", err
	}
	detail := map[string]string{"keep": keep.String()}
	err := c.change(ctx, actor, audit.Event{Action: "app.rotate-secret", Application: id, Detail: detail}, func(ctx context.Context) error {
		return c.rotate(ctx, id, secret.Hash(plain), keep)
	})
	if err != nil {
		return "", err
	}
	return plain, nil
}

func (c *Clients) rotate(ctx context.Context, id, hash string, keep time.Duration) error {
	var secrets string
	err := c.db.QueryRow(ctx, "SELECT secrets FROM oidc_client WHERE id = $1", id).Scan(&secrets)
	if errors.Is(err, db.ErrNotFound) {
		return fmt.Errorf("%s: %w", id, ErrUnknownClient)
	}
	if err != nil {
		return fmt.Errorf("read secrets of %s: %w", id, err)
	}
	var before []string
	if err := json.Unmarshal([]byte(secrets), &before); err != nil {
		return fmt.Errorf("secrets of application %s: %w", id, err)
	}
	if len(before) == 0 {
		return fmt.Errorf("%s has no secret: it is public or authenticates by its key", id)
	}
	now, former, ends := c.now(), "", db.Time{}
	if keep > 0 {
		former, ends = before[0], db.At(now.Add(keep))
	}
	n, err := c.db.Exec(ctx, "UPDATE oidc_client SET secrets = $1, former = $2, former_ends = $3, secret_made = $4, changed = $4 WHERE id = $5 AND secrets = $6",
		hashesJSON([]string{hash}), former, ends, db.At(now), id, secrets)
	if err == nil && n == 0 {
		err = errors.New("somebody else gave it a new secret at the same moment")
	}
	if err != nil {
		return fmt.Errorf("store secret of %s: %w", id, err)
	}
	return nil
}

func hashesJSON(hashes []string) string {
	if len(hashes) == 0 {
		return "[]"
	}
	return `["` + strings.Join(hashes, `","`) + `"]` // base64url: nothing to escape
}
