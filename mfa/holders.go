package mfa

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"beffroi/internal/db"
)

// lasting are the methods that make a person protected (see Held.Lasting).
var lasting = []Method{TOTP, Passkey, Key, Mail}

// Holders tells, of everybody who has a lasting factor, which methods they hold,
// in the order of Lasting. People without one are not named. It is one query for
// the whole academy: for the follow-up, not for a sign-in.
func (s *Service) Holders(ctx context.Context) (map[string][]Method, error) {
	all := map[string][]Method{}
	rows, err := s.db.Query(ctx, holdersQuery(), "", db.At(s.now()))
	if err != nil {
		return nil, fmt.Errorf("who holds which factors: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var person string
		var m Method
		if err := rows.Scan(&person, &m); err != nil {
			return nil, fmt.Errorf("who holds which factors: %w", err)
		}
		if slices.Contains(lasting, m) {
			all[person] = append(all[person], m)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("who holds which factors: %w", err)
	}
	return all, nil
}

// holdersQuery asks of everybody what Held asks of one person: each kind's own
// words, with every person ($1 is nobody) for the one.
var holdersQuery = sync.OnceValue(func() string {
	var parts []string
	for _, k := range kinds() {
		if k.held != "" {
			parts = append(parts, strings.Replace(strings.Replace(k.held, "SELECT ", "SELECT person, ", 1), "person = $1", "person <> $1", 1))
		}
	}
	return "SELECT DISTINCT person, method FROM (" + strings.Join(parts, " UNION ALL ") + ") AS held ORDER BY person, method"
})
