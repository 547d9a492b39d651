package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"beffroi/internal/db"
)

// Keep says for how many months the trail is kept, by category. Zero is 12.
// The CNIL recommends 6 to 12 months for logs, and more only with a reason
// (délibération no 2021-122 of 14 October 2021).
type Keep struct {
	SignIn         int `yaml:"signin"`         // sign-ins, sign-outs, what was refused at the door, tokens
	Security       int `yaml:"security"`       // factors, locks, the helpdesk, OTP keys
	Administration int `yaml:"administration"` // applications, signing keys, the trail itself
}

// The categories of the trail.
const (
	CategorySignIn         = "signin"
	CategorySecurity       = "security"
	CategoryAdministration = "administration"
)

// categories tell by the first word of an action. What is not here is kept as
// long as security is.
var categories = map[string]string{
	"signin": CategorySignIn, "signout": CategorySignIn, "oidc": CategorySignIn, "portal": CategorySignIn, "web": CategorySignIn, "proconnect": CategorySignIn,
	"mfa": CategorySecurity, "key": CategorySecurity, "helpdesk": CategorySecurity,
	"app": CategoryAdministration, "logout": CategoryAdministration, "audit": CategoryAdministration, "seal": CategoryAdministration,
}

// securitySignIns are of the door by their name, and of security by what they do.
var securitySignIns = []string{"signin.lock", "signin.open", "signin.unlock"}

// Category is how an action is kept.
func Category(action string) string {
	if slices.Contains(securitySignIns, action) {
		return CategorySecurity
	}
	word, _, _ := strings.Cut(action, ".")
	if c := categories[word]; c != "" {
		return c
	}
	return CategorySecurity
}

// Validate reports every value that makes no sense, by its key.
func (k Keep) Validate() []error {
	var errs []error
	for _, one := range k.list() {
		if one.months < 1 || one.months > 60 {
			errs = append(errs, fmt.Errorf("keep.%s: must be between 1 and 60 months", one.category))
		}
	}
	return errs
}

// Warnings names what is allowed and needs a reason.
func (k Keep) Warnings() []string {
	var all []string
	for _, one := range k.list() {
		if one.months < 6 || one.months > 12 {
			all = append(all, fmt.Sprintf("audit.keep.%s: %d months; the CNIL recommends 6 to 12, write down why", one.category, one.months))
		}
	}
	return all
}

type kept struct {
	category string
	months   int
}

func (k Keep) list() []kept {
	or := func(n int) int {
		if n == 0 {
			return 12
		}
		return n
	}
	return []kept{{CategorySignIn, or(k.SignIn)}, {CategorySecurity, or(k.Security)}, {CategoryAdministration, or(k.Administration)}}
}

// until is the moment before which a category's rows are over.
func (k Keep) until(now time.Time) map[string]time.Time {
	all := map[string]time.Time{}
	for _, one := range k.list() {
		all[one.category] = now.AddDate(0, -one.months, 0)
	}
	return all
}

// purgeAtOnce bounds one transaction of a purge.
const purgeAtOnce = 500

// Over counts the rows whose time is over, by category.
func (c *Chain) Over(ctx context.Context, k Keep) (map[string]int64, error) {
	counts := map[string]int64{}
	until := k.until(c.log.now())
	newest := slices.MaxFunc(slices.Collect(maps.Values(until)), time.Time.Compare)
	_, err := db.All(ctx, c.log.db, func(scan func(...any) error) (action string, err error) {
		var at db.Time
		if err = scan(&action, &at); err == nil && at.Before(until[Category(action)]) {
			counts[Category(action)]++
		}
		return action, err
	}, "SELECT action, at FROM audit WHERE at < $1 AND seq IS NOT NULL", db.At(newest))
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return counts, nil
}

// Purge removes the rows whose time is over. Each leaves its place in the chain,
// sealed, so that the rest can still be verified; the purge itself is in the trail.
func (c *Chain) Purge(ctx context.Context, actor Actor, k Keep) (counts map[string]int64, err error) {
	counts = map[string]int64{}
	until := k.until(c.log.now())
	newest := slices.MaxFunc(slices.Collect(maps.Values(until)), time.Time.Compare)
	var total, after int64
	for {
		n, last, err := c.purgeSome(ctx, until, newest, after, counts)
		if err != nil {
			return counts, err
		}
		total += n
		if last == 0 {
			break
		}
		after = last
	}
	if total == 0 {
		return counts, nil
	}
	detail := map[string]string{}
	for category, n := range counts {
		detail[category] = fmt.Sprint(n)
	}
	return counts, c.log.Record(ctx, actor, Event{Action: "audit.purge", Outcome: "ok", Detail: detail})
}

// purgeSome removes a few, from a place in the chain on; last is 0 at its end.
func (c *Chain) purgeSome(ctx context.Context, until map[string]time.Time, newest time.Time, after int64, counts map[string]int64) (n, last int64, err error) {
	d := c.log.db
	removed := map[string]int64{}
	err = d.InTx(ctx, func(ctx context.Context) error {
		clear(removed)
		n, last = 0, 0
		rows, err := db.All(ctx, d, scanChainRow, "SELECT "+chainColumns+" FROM audit WHERE seq > $1 AND at < $2 ORDER BY seq LIMIT $3", after, db.At(newest), purgeAtOnce)
		if err != nil {
			return err
		}
		for _, r := range rows {
			last = r.seq
			category := Category(r.Action)
			if !r.At.Before(until[category]) {
				continue
			}
			if _, err := d.Exec(ctx, "INSERT INTO audit_link (seq, hash, seal) VALUES ($1, $2, $3)", r.seq, r.hash, c.sealer.Seal(linkPurpose(r.seq), r.hash)); err != nil {
				return err
			}
			gone, err := d.Exec(ctx, "DELETE FROM audit WHERE id = $1", r.ID)
			if err == nil && gone != 1 {
				err = errors.New("a row went meanwhile")
			}
			if err != nil {
				return err
			}
			removed[category]++
			n++
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("audit: purge: %w", err)
	}
	for category, many := range removed {
		counts[category] += many
	}
	return n, last, nil
}

// Known tells whether a first word of actions has a category of its own.
func Known(word string) bool { return categories[word] != "" }
