package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func scratch(t *testing.T, d *db.DB) {
	t.Helper()
	if _, err := d.Exec(t.Context(), "CREATE TABLE scratch (id BIGINT PRIMARY KEY, at BIGINT, n BIGINT NOT NULL)"); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	if err := d.QueryRow(t.Context(), "SELECT COUNT(*) FROM scratch").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTransactionsCommitTogetherOrNotAtAll(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		scratch(t, d)
		ran := 0
		boom := errors.New("boom")
		err := d.InTx(t.Context(), func(ctx context.Context) error {
			d.AfterCommit(ctx, func() { ran++ })
			if _, err := d.Exec(ctx, "INSERT INTO scratch (id, n) VALUES (1, 1)"); err != nil {
				return err
			}
			// A nested transaction is the same one: its work goes with the outer.
			if err := d.InTx(ctx, func(ctx context.Context) error {
				_, err := d.Exec(ctx, "INSERT INTO scratch (id, n) VALUES (2, 1)")
				return err
			}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) || count(t, d) != 0 || ran != 0 {
			t.Fatalf("after a failed transaction: err %v, %d rows, %d hooks; want boom, 0, 0", err, count(t, d), ran)
		}
		err = d.InTx(t.Context(), func(ctx context.Context) error {
			d.AfterCommit(ctx, func() { ran++ })
			_, err := d.Exec(ctx, "INSERT INTO scratch (id, n) VALUES (1, 1)")
			return err
		})
		if err != nil || count(t, d) != 1 || ran != 1 {
			t.Fatalf("after a good transaction: err %v, %d rows, %d hooks; want nil, 1, 1", err, count(t, d), ran)
		}
	})
}

func TestPanicRollsBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		scratch(t, d)
		func() {
			defer func() { _ = recover() }()
			_ = d.InTx(t.Context(), func(ctx context.Context) error {
				_, _ = d.Exec(ctx, "INSERT INTO scratch (id, n) VALUES (1, 1)")
				panic("stop")
			})
		}()
		if n := count(t, d); n != 0 {
			t.Fatalf("%d rows after a panic", n)
		}
	})
}

func TestUseOnceIsOneStatementForParallelCallers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		scratch(t, d)
		if _, err := d.Exec(t.Context(), "INSERT INTO scratch (id, n) VALUES (1, 0)"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		won := make(chan int, 40)
		for range 40 {
			wg.Go(func() {
				var n int
				err := d.QueryRow(t.Context(), "UPDATE scratch SET n = 1 WHERE id = 1 AND n = 0 RETURNING n").Scan(&n)
				if err == nil {
					won <- n
				} else if !errors.Is(err, db.ErrNotFound) {
					t.Errorf("a loser met %v, not ErrNotFound", err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d callers used what is good once", len(won))
		}
	})
}

func TestReadThenWriteTransactionsDoNotCollide(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		scratch(t, d)
		if _, err := d.Exec(t.Context(), "INSERT INTO scratch (id, n) VALUES (1, 0)"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if err := d.InTx(t.Context(), func(ctx context.Context) error {
					var n int
					if err := d.QueryRow(ctx, "SELECT n FROM scratch WHERE id = 1").Scan(&n); err != nil {
						return err
					}
					_, err := d.Exec(ctx, "UPDATE scratch SET n = n + 1 WHERE id = 1")
					return err
				}); err != nil {
					t.Errorf("transaction: %v", err)
				}
			})
		}
		wg.Wait()
		var n int
		if err := d.QueryRow(t.Context(), "SELECT n FROM scratch").Scan(&n); err != nil || n != 64 {
			t.Fatalf("n = %d (%v), want 64", n, err)
		}
	})
}

func TestTimesCompareAcrossZones(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		scratch(t, d)
		paris := time.FixedZone("CET", 3600)
		at := time.Date(2026, 11, 23, 16, 0, 0, 123456789, paris)
		if _, err := d.Exec(t.Context(), "INSERT INTO scratch (id, at, n) VALUES (1, $1, 0), (2, $2, 0)", db.At(at), db.Time{}); err != nil {
			t.Fatal(err)
		}
		var back, none db.Time
		if err := d.QueryRow(t.Context(), "SELECT at FROM scratch WHERE id = 1").Scan(&back); err != nil {
			t.Fatal(err)
		}
		if !back.Equal(db.At(at).Time) || back.Nanosecond() != 123456000 {
			t.Errorf("read back %v, wrote %v", back, at)
		}
		if err := d.QueryRow(t.Context(), "SELECT at FROM scratch WHERE id = 2").Scan(&none); err != nil || !none.IsZero() {
			t.Errorf("NULL read as %v (%v), want the zero time", none, err)
		}
		var later int
		if err := d.QueryRow(t.Context(), "SELECT COUNT(*) FROM scratch WHERE at > $1", db.At(at.UTC().Add(time.Minute))).Scan(&later); err != nil || later != 0 {
			t.Errorf("%d rows later than a minute after (%v), want 0", later, err)
		}
	})
}

func TestUniqueIsTold(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		scratch(t, d)
		insert := func() error {
			_, err := d.Exec(t.Context(), "INSERT INTO scratch (id, n) VALUES (1, 1)")
			return err
		}
		if err := insert(); err != nil || db.IsUnique(err) {
			t.Fatal(err)
		}
		if err := insert(); !db.IsUnique(err) {
			t.Fatalf("second insert: %v, want a unique violation", err)
		}
	})
}

func TestMigrationsRunOnceForReplicasStartingTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		files := fstest.MapFS{
			"9001_one.sql": {Data: []byte("-- a comment;\nCREATE TABLE one (\n id BIGINT PRIMARY KEY\n);\nINSERT INTO one (id) VALUES (1);\n")},
			"9002_two.sql": {Data: []byte("INSERT INTO one (id)\nSELECT id + 1 FROM one;\n")},
		}
		if _, err := d.Exec(t.Context(), "DELETE FROM schema_migration"); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if err := d.MigrateFrom(t.Context(), files); err != nil {
					t.Errorf("replica: %v", err)
				}
			})
		}
		wg.Wait()
		var n int
		if err := d.QueryRow(t.Context(), "SELECT COUNT(*) FROM one").Scan(&n); err != nil || n != 2 {
			t.Fatalf("%d rows (%v), want 2", n, err)
		}
	})
}

func TestMigrationIsAllOrNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if _, err := d.Exec(t.Context(), "DELETE FROM schema_migration"); err != nil {
			t.Fatal(err)
		}
		err := d.MigrateFrom(t.Context(), fstest.MapFS{
			"9001_one.sql": {Data: []byte("CREATE TABLE one (id BIGINT PRIMARY KEY);\n")},
			"9002_two.sql": {Data: []byte("CREATE NONSENSE;\n")},
		})
		if err == nil {
			t.Fatal("nonsense was applied")
		}
		if _, err := d.Exec(t.Context(), "CREATE TABLE one (id BIGINT PRIMARY KEY)"); err != nil {
			t.Fatalf("the first half stayed: %v", err)
		}
	})
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if _, err := d.Exec(t.Context(), "INSERT INTO schema_migration (number, name) VALUES (9999, '9999_future.sql')"); err != nil {
			t.Fatal(err)
		}
		if err := d.Migrate(t.Context()); !errors.Is(err, db.ErrNewer) {
			t.Fatalf("Migrate: %v, want ErrNewer", err)
		}
	})
}

func TestMisnamedMigrationIsAnError(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	for _, name := range []string{"0001.sql", "v1_a.sql", "12_b.sql", "0001_a.SQL"} {
		if err := d.MigrateFrom(t.Context(), fstest.MapFS{name: {Data: []byte("SELECT 1;")}}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestSQLiteKeepsWhatItAnswered(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := d.QueryRow(t.Context(), "SELECT * FROM pragma_"+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %s (%v), want %s", pragma, got, err, want)
		}
	}
}

func TestUnknownAddressIsRefused(t *testing.T) {
	for _, a := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "/tmp/x"} {
		if _, err := db.Open(t.Context(), a); err == nil {
			t.Errorf("%q was opened", a)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			d := dbtest.Open(b, kind)
			if _, err := d.Exec(b.Context(), "CREATE TABLE scratch (id TEXT PRIMARY KEY)"); err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				if _, err := d.Exec(b.Context(), "INSERT INTO scratch (id) VALUES ($1)", fmt.Sprint(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
