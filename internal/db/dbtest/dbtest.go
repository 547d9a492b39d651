// Package dbtest gives a test a fresh, migrated database of each kind. A test
// about stored data runs on both or it proves half.
package dbtest

import (
	"context"
	"path/filepath"
	"testing"

	"beffroi/internal/db"
	"beffroi/internal/testpeer"
)

// Each runs fn as the subtests "sqlite" and "postgres".
func Each(t *testing.T, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) { fn(t, Open(t, kind)) })
	}
}

// Open opens one fresh, migrated database of the kind, closed with the test.
func Open(t testing.TB, kind string) *db.DB {
	t.Helper()
	address := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
	if kind == "postgres" {
		address = testpeer.Postgres(t)
	}
	d, err := db.Open(context.Background(), address)
	if err != nil {
		t.Fatalf("open %s: %v", kind, err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.Migrate(context.Background()); err != nil {
		t.Fatalf("migrate %s: %v", kind, err)
	}
	return d
}
