package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"

	"beffroi/migrations"
)

// ErrNewer is returned by Migrate when the database was written by a newer
// release: running on would lose what that release added.
var ErrNewer = errors.New("the database is newer than this program; install the newer release or restore a back-up")

// lockID is the PostgreSQL advisory lock that replicas starting together queue on.
const lockID = 0x62656666

type migration struct {
	number int
	name   string
	text   string
}

// Migrate applies what is missing of the embedded migrations, all or nothing,
// under a lock. A database that knows more than this program is ErrNewer.
func (d *DB) Migrate(ctx context.Context) error { return d.MigrateFrom(ctx, migrations.FS) }

// Pending returns the names of the migrations not applied yet.
func (d *DB) Pending(ctx context.Context) ([]string, error) {
	all, err := readMigrations(migrations.FS)
	if err != nil {
		return nil, err
	}
	applied, err := d.applied(ctx)
	if err != nil && !strings.Contains(err.Error(), "schema_migration") {
		return nil, err
	}
	var names []string
	for _, m := range all {
		if !applied[m.number] {
			names = append(names, m.name)
		}
	}
	return names, nil
}

// MigrateFrom is Migrate with other files.
func (d *DB) MigrateFrom(ctx context.Context, files fs.FS) error {
	all, err := readMigrations(files)
	if err != nil {
		return err
	}
	return d.InTx(ctx, func(ctx context.Context) error {
		if d.postgres {
			if _, err := d.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockID)); err != nil {
				return fmt.Errorf("lock for migration: %w", err)
			}
		}
		if _, err := d.Exec(ctx, "CREATE TABLE IF NOT EXISTS schema_migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL)"); err != nil {
			return fmt.Errorf("create schema_migration: %w", err)
		}
		applied, err := d.applied(ctx)
		if err != nil {
			return err
		}
		known := map[int]bool{}
		for _, m := range all {
			known[m.number] = true
		}
		for n := range applied {
			if !known[n] {
				return fmt.Errorf("migration %04d is unknown here: %w", n, ErrNewer)
			}
		}
		for _, m := range all {
			if applied[m.number] {
				continue
			}
			if err := d.apply(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *DB) applied(ctx context.Context) (map[int]bool, error) {
	numbers, err := All(ctx, d, func(scan func(...any) error) (n int, err error) { return n, scan(&n) },
		"SELECT number FROM schema_migration")
	if err != nil {
		return nil, fmt.Errorf("read schema_migration: %w", err)
	}
	applied := map[int]bool{}
	for _, n := range numbers {
		applied[n] = true
	}
	return applied, nil
}

func (d *DB) apply(ctx context.Context, m migration) error {
	for _, statement := range statements(m.text) {
		if _, err := d.Exec(ctx, statement); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	if _, err := d.Exec(ctx, "INSERT INTO schema_migration (number, name) VALUES ($1, $2)", m.number, m.name); err != nil {
		return fmt.Errorf("note migration %s: %w", m.name, err)
	}
	return nil
}

// readMigrations reads NNNN_name.sql. A file of any other name is an error:
// a migration that is silently skipped is found months later.
func readMigrations(files fs.FS) ([]migration, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	seen := map[int]string{}
	var all []migration
	for _, e := range entries {
		name := e.Name()
		number, rest, ok := strings.Cut(name, "_")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || len(number) != 4 || !strings.HasSuffix(rest, ".sql") {
			return nil, fmt.Errorf("migration %q: the name must be NNNN_name.sql", name)
		}
		if other := seen[n]; other != "" {
			return nil, fmt.Errorf("migrations %s and %s have the same number", other, name)
		}
		seen[n] = name
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{n, name, string(text)})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].number < all[j].number })
	return all, nil
}

// statements splits at semicolons that end a line; comment lines are dropped.
func statements(text string) []string {
	var out []string
	var b strings.Builder
	for _, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "--") {
			continue
		}
		b.WriteString(line + "\n")
		if strings.HasSuffix(trimmed, ";") {
			out = append(out, strings.TrimSuffix(strings.TrimSpace(b.String()), ";"))
			b.Reset()
		}
	}
	if rest := strings.TrimSpace(b.String()); rest != "" {
		out = append(out, rest)
	}
	return out
}
