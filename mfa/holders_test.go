package mfa

import (
	"slices"
	"strings"
	"testing"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func TestHoldersAreThoseWhoHoldALastingFactor(t *testing.T) {
	for _, k := range kinds() {
		if k.held != "" && (!strings.HasPrefix(k.held, "SELECT ") || strings.Count(k.held, "person = $1") != 1) {
			t.Errorf("Holders cannot ask this of everybody: %s", k.held)
		}
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		enrolled(t, s, "p1")
		enrolled(t, s, "p2")
		holders, err := s.Holders(t.Context())
		if err != nil || len(holders) != 2 || !slices.Equal(holders["p1"], []Method{TOTP}) || holders["p3"] != nil {
			t.Errorf("%v %v", holders, err)
		}
		for person, methods := range holders {
			held, err := s.Held(t.Context(), person)
			if err != nil || held.Lasting() == 0 || held[methods[0]] == 0 {
				t.Errorf("%s: %v, but %v: %v", person, methods, held, err)
			}
		}
	})
}
