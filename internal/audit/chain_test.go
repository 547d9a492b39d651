package audit_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
)

type trail struct {
	t     *testing.T
	d     *db.DB
	log   *audit.Log
	chain *audit.Chain
	clock atomic.Int64
}

func newTrail(t *testing.T, d *db.DB) *trail {
	tr := &trail{t: t, d: d}
	tr.clock.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMicro())
	now := func() time.Time { return time.UnixMicro(tr.clock.Load()).UTC() }
	tr.log = audit.New(d, now)
	tr.chain = audit.NewChain(tr.log, secret.NewSealer([32]byte{1}), nil)
	return tr
}

func (tr *trail) write(n int) {
	tr.t.Helper()
	for i := range n {
		tr.clock.Add(1_000_000)
		err := tr.log.Record(context.Background(), audit.Person("id-p", "p"), audit.Event{Action: "mfa.reset", Target: "id-q", Application: "portal", Detail: map[string]string{"reason": fmt.Sprint("ticket ", i)}})
		if err != nil {
			tr.t.Fatal(err)
		}
	}
}

func (tr *trail) seal() {
	tr.t.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = tr.chain.Seal(context.Background()); err != nil {
			tr.t.Fatal(err)
		}
	}
}

func (tr *trail) exec(query string, args ...any) {
	tr.t.Helper()
	if n, err := tr.d.Exec(context.Background(), query, args...); err != nil || n == 0 {
		tr.t.Fatalf("%s: %d rows, %v", query, n, err)
	}
}

// broken is what Verify says, in a word: "" for a chain that holds.
func (tr *trail) broken(known ...audit.Head) string {
	tr.t.Helper()
	_, err := tr.chain.Verify(context.Background(), known...)
	var b *audit.Broken
	if errors.As(err, &b) {
		return fmt.Sprintf("%s %d", b.What, b.Seq)
	}
	if err != nil {
		tr.t.Fatal(err)
	}
	return ""
}

func TestChainHoldsAndFindsWhateverIsDoneToIt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		tr := newTrail(t, d)
		tr.write(10)
		tr.seal()
		report, err := tr.chain.Verify(context.Background())
		if err != nil || report.Rows != 10 || report.Unsealed != 0 || !report.Last.After(report.First) {
			t.Fatalf("%+v, %v", report, err)
		}
		// Each harm is mended before the next one.
		for column, value := range map[string]any{
			"at": int64(1), "actor_kind": "operator", "actor": "id-r", "actor_name": "r", "action": "mfa.rename", "target": "id-r", "application": "other",
			"outcome": "refused", "detail": `{"reason":"another"}`, "address": "192.0.2.1", "agent": "x", "request": "x",
		} {
			var before any
			if column == "at" {
				var n int64
				if err := d.QueryRow(context.Background(), "SELECT at FROM audit WHERE seq = 5").Scan(&n); err != nil {
					t.Fatal(err)
				}
				before = n
			} else {
				var s string
				if err := d.QueryRow(context.Background(), "SELECT "+column+" FROM audit WHERE seq = 5").Scan(&s); err != nil {
					t.Fatal(err)
				}
				before = s
			}
			tr.exec("UPDATE audit SET "+column+" = $1 WHERE seq = 5", value)
			if got := tr.broken(); got != "changed 5" {
				t.Errorf("%s changed: %q", column, got)
			}
			tr.exec("UPDATE audit SET "+column+" = $1 WHERE seq = 5", before)
		}
		if got := tr.broken(); got != "" {
			t.Fatalf("mended: %s", got)
		}
		tr.exec("UPDATE audit SET seq = 100 WHERE seq = 3") // swapped
		tr.exec("UPDATE audit SET seq = 3 WHERE seq = 4")
		tr.exec("UPDATE audit SET seq = 4 WHERE seq = 100")
		if got := tr.broken(); got != "changed 3" {
			t.Errorf("swapped: %q", got)
		}
	})
}

func TestRemovedRowsAreMissed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, c := range []struct {
			seq  int
			want string
		}{{10, "missing 10"}, {1, "missing 1"}, {5, "missing 1"}} {
			if c.seq == 10 {
				tr := newTrail(t, d)
				tr.write(10)
				tr.seal()
			}
			tr := newTrail(t, d)
			tr.exec("DELETE FROM audit WHERE seq = $1", c.seq)
			if got := tr.broken(); got != c.want {
				t.Errorf("row %d removed: %q", c.seq, got)
			}
		}
	})
}

func TestForgersWithoutTheKeyAreFound(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		tr := newTrail(t, d)
		tr.write(6)
		tr.seal()
		var head audit.Head
		if err := d.QueryRow(context.Background(), "SELECT seq, hash FROM audit_head").Scan(&head.Seq, &head.Hash); err != nil {
			t.Fatal(err)
		}
		// The end is cut off, and the head put back to what the chain has there.
		tr.exec("DELETE FROM audit WHERE seq = 6")
		tr.exec("UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)")
		if got := tr.broken(); got != "head 5" {
			t.Errorf("cut off: %q", got)
		}
		if _, err := tr.chain.Seal(context.Background()); err != nil {
			t.Errorf("nothing to chain: %v", err)
		}
		tr.write(1)
		if _, err := tr.chain.Seal(context.Background()); err == nil {
			t.Error("a forged head was built upon")
		}
		// Rows that say they were removed in time.
		tr.exec("UPDATE audit_head SET seq = $1, hash = $2", head.Seq, head.Hash)
		tr.exec("INSERT INTO audit_link (seq, hash, seal) VALUES (6, $1, $2)", head.Hash, secret.NewSealer([32]byte{2}).Seal("audit-link:6", head.Hash))
		if got := tr.broken(); got != "removal 6" {
			t.Errorf("a false removal: %q", got)
		}
	})
}

func TestWholeTrailPutBackIsFoundByANotedHead(t *testing.T) {
	tr := newTrail(t, dbtest.Open(t, "sqlite"))
	tr.write(3)
	tr.seal()
	early, err := tr.chain.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tr.write(2)
	tr.seal()
	late, err := tr.chain.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	one, _ := audit.ParseHead(early.Head)
	two, _ := audit.ParseHead(late.Head)
	if got := tr.broken(one, two); got != "" {
		t.Errorf("both are in it: %s", got)
	}
	// As if the database of another day, well sealed, stood here.
	other := newTrail(t, dbtest.Open(t, "sqlite"))
	other.write(4)
	other.seal()
	if got := other.broken(two); got != "past 5" {
		t.Errorf("shorter: %q", got)
	}
	other.clock.Add(5)
	other.write(2)
	other.seal()
	if got := other.broken(one); got != "past 3" {
		t.Errorf("another chain: %q", got)
	}
	if _, err := audit.ParseHead("12:x"); err == nil {
		t.Error("no head")
	}
}

func TestManySealAndWriteTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		tr := newTrail(t, d)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { tr.write(20) })
			all.Go(func() {
				for range 10 {
					if _, err := tr.chain.Seal(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		tr.seal()
		report, err := tr.chain.Verify(context.Background())
		if err != nil || report.Rows != 80 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

func TestRowCommittedLateIsChainedAllTheSame(t *testing.T) {
	d := dbtest.Open(t, "postgres") // SQLite has one writer: nothing commits late
	tr := newTrail(t, d)
	err := d.InTx(context.Background(), func(ctx context.Context) error {
		if err := tr.log.Record(ctx, audit.Person("id-p", "p"), audit.Event{Action: "signin", Target: "id-p"}); err != nil {
			return err
		}
		tr.write(3)
		tr.seal() // the row above is not to be seen yet
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tr.seal()
	if report, err := tr.chain.Verify(context.Background()); err != nil || report.Rows != 4 || report.Unsealed != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestWhatIsOverIsRemovedAndTheChainHolds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		tr := newTrail(t, d)
		ctx := context.Background()
		for range 3 {
			for _, action := range []string{"signin", "mfa.reset", "signin.lock", "app.add", "nobody.knows"} {
				tr.clock.Add(1_000_000)
				if err := tr.log.Record(ctx, audit.Operator("o"), audit.Event{Action: action}); err != nil {
					t.Fatal(err)
				}
			}
		}
		tr.seal()
		keep := audit.Keep{SignIn: 6, Security: 12, Administration: 24}
		tr.clock.Add((7 * 31 * 24 * time.Hour).Microseconds())
		over, err := tr.chain.Over(ctx, keep)
		if err != nil || over[audit.CategorySignIn] != 3 || len(over) != 1 {
			t.Fatalf("%v, %v", over, err)
		}
		if counts, err := tr.chain.Purge(ctx, audit.Operator("o"), keep); err != nil || counts[audit.CategorySignIn] != 3 {
			t.Fatalf("%v, %v", counts, err)
		}
		tr.seal()
		report, err := tr.chain.Verify(ctx)
		if err != nil || report.Rows != 13 || report.Removed != 3 { // 12 and the purge's own
			t.Fatalf("%+v, %v", report, err)
		}
		if rows, _ := tr.log.List(ctx, audit.Filter{Action: "audit.purge"}); len(rows) != 1 || rows[0].Detail["signin"] != "3" {
			t.Errorf("%+v", rows)
		}
		if counts, err := tr.chain.Purge(ctx, audit.Operator("o"), keep); err != nil || len(counts) != 0 {
			t.Errorf("again: %v, %v", counts, err)
		}
		tr.clock.Add((6 * 31 * 24 * time.Hour).Microseconds())
		if counts, err := tr.chain.Purge(ctx, audit.Operator("o"), keep); err != nil || counts[audit.CategorySecurity] != 9 {
			t.Errorf("%v, %v", counts, err)
		}
		tr.exec("DELETE FROM audit WHERE action = 'app.add' AND seq = (SELECT MIN(seq) FROM audit WHERE action = 'app.add')")
		if got := tr.broken(); !strings.HasPrefix(got, "missing") {
			t.Errorf("removed by hand: %q", got)
		}
	})
}

func TestExportIsWholeAndHarmless(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		tr := newTrail(t, d)
		ctx := context.Background()
		tr.write(3)
		tr.clock.Add(1)
		if err := tr.log.Record(ctx, audit.Person("id-x", "=HYPERLINK(1)"), audit.Event{Action: "signin", Target: "id-x", Detail: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		tr.seal()
		var b strings.Builder
		if n, err := tr.log.Export(ctx, &b, "jsonl", audit.Filter{Person: "id-q"}); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
			var e audit.Exported
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq == 0 || e.Hash == "" || e.Target != "id-q" || !strings.HasPrefix(e.Detail["reason"], "ticket") {
				t.Errorf("%s: %v", line, err)
			}
		}
		b.Reset()
		if n, err := tr.log.Export(ctx, &b, "csv", audit.Filter{}); n != 4 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		table, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil || len(table) != 5 || table[4][6] != "'=HYPERLINK(1)" {
			t.Errorf("%v, %v", table, err)
		}
		if _, err := tr.log.Export(ctx, &b, "xml", audit.Filter{}); err == nil {
			t.Error("a format of nowhere")
		}
	})
}

// TestEveryActionOfTheHouseHasItsTime reads the house: an action whose first
// word has no category would be kept by accident.
func TestEveryActionOfTheHouseHasItsTime(t *testing.T) {
	action := regexp.MustCompile(`Action: "([a-z]+)[."]`)
	seen := map[string]bool{}
	for _, folder := range []string{"oidc", "signin", "mfa", "helpdesk", "portal", "cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range action.FindAllStringSubmatch(string(text), -1) {
				seen[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 8 {
		t.Fatalf("only %v: the search is broken", seen)
	}
	for word := range seen {
		if !audit.Known(word) {
			t.Errorf("nobody says how long %s.… is kept", word)
		}
	}
}
