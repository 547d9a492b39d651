package mfa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// maxName is how long a person's word for a factor may be, in characters.
const maxName = 60

// ErrName says that a factor of this kind has no name, or that the name is empty.
var ErrName = errors.New("mfa: no name")

// Rename gives a factor the person's own word for it, shortened to 60
// characters, and returns the factor as it is then. Whether the actor may is
// the caller's question. db.ErrNotFound when the person has no such factor,
// ErrName when nothing is left of the name.
func (s *Service) Rename(ctx context.Context, actor audit.Actor, person, id, name string) (f Factor, err error) {
	if name = cleanName(name); name == "" {
		return Factor{}, ErrName
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		for _, k := range kinds() {
			if k.named == "" {
				continue
			}
			n, err := s.db.Exec(ctx, "UPDATE "+k.named+" SET name = $1 WHERE person = $2 AND id = $3", name, person, id)
			if err != nil {
				return fmt.Errorf("rename factor %s of %s: %w", id, person, err)
			}
			if n == 0 {
				continue
			}
			all, err := k.list(s, ctx, person)
			if err != nil {
				return fmt.Errorf("rename factor %s of %s: %w", id, person, err)
			}
			for _, one := range all {
				if one.ID == id {
					f = one
				}
			}
			if err := s.changed(ctx, Change{Actor: actor, Person: person, What: "renamed", Factor: f}); err != nil {
				return err
			}
			return s.audit.Record(ctx, actor, audit.Event{Action: "mfa.rename", Target: person, Outcome: "ok",
				Detail: map[string]string{"kind": string(f.Kind), "factor": id, "name": name}})
		}
		return fmt.Errorf("rename factor %s of %s: %w", id, person, db.ErrNotFound)
	})
	return f, err
}

// cleanName keeps what can be read: one line, at most maxName characters.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, " "))
	name = strings.Join(strings.Fields(name), " ")
	if runes := []rune(name); len(runes) > maxName {
		name = strings.TrimSpace(string(runes[:maxName]))
	}
	return name
}
