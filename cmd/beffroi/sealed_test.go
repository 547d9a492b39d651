package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/mailer"
	"beffroi/internal/secret"
	"beffroi/mfa"
)

// TestEveryPlaceThatSealsIsCounted: whoever seals somewhere new looks at the
// registry of columns first.
func TestEveryPlaceThatSealsIsCounted(t *testing.T) {
	want := map[string]int{
		"oidc/keyrotation.go": 1, "oidc/subject.go": 1, "oidc/device.go": 1, "mfa/keyimport.go": 2, "mfa/totp.go": 1, "mfa/store.go": 1, "mfa/keycode.go": 1, "mfa/paper.go": 1,
		"helpdesk/verify.go": 1, "internal/audit/keep.go": 1, "internal/audit/chain.go": 1, "internal/mailer/mailer.go": 1, "portal/token.go": 1, "portal/webmail/outbox.go": 1, "portal/webmail/items.go": 1, "portal/webmail/drops.go": 1, "portal/webmail/reminder.go": 1, "portal/webmail/identity.go": 1, "portal/webmail/bigfiles.go": 1, "portal/webmail/content.go": 1 /* an address, kept nowhere */, "portal/login.go": 1,
	}
	call := regexp.MustCompile(`\b(?:sealer|s)\.Seal\([a-zA-Z"]`)
	for _, folder := range []string{"oidc", "mfa", "signin", "helpdesk", "portal", "internal"} {
		root := filepath.Join("..", "..")
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			name, _ := filepath.Rel(root, path)
			if strings.HasPrefix(name, filepath.Join("internal", "secret")) {
				return nil
			}
			text, err := os.ReadFile(path)
			if n := len(call.FindAllString(string(text), -1)); n != want[filepath.ToSlash(name)] {
				t.Errorf("%s seals %d times, %d are known: does sealedColumns have the column?", name, n, want[filepath.ToSlash(name)])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRotationLosesNothing seals everything that there is with a new key while
// others write, on both databases; afterwards the new key alone opens it.
func TestRotationLosesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		path := filepath.Join(t.TempDir(), "seal.key")
		if err := secret.CreateKeyFile(path); err != nil {
			t.Fatal(err)
		}
		old, err := secret.LoadSealer(path)
		if err != nil {
			t.Fatal(err)
		}
		h := &house{log: nil, db: d, portalDB: d, sealer: old, now: time.Now}
		h.audit = audit.New(d, h.now)
		keys := mfa.New(d, old, h.audit, mfa.Config{}, h.now)
		outbox, err := mailer.New(d, old, mailer.Config{Submission: "127.0.0.1:1", TLS: "none", From: "a@b.test"}, nil, nil, h.now)
		if err != nil {
			t.Fatal(err)
		}
		actor := audit.Operator("test")
		fill := func(person string) {
			if err := keys.Install(ctx, actor, person, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"); err != nil {
				t.Error(err)
			}
			if _, err := keys.BeginTOTP(ctx, person+" new", "attempt", person); err != nil {
				t.Error(err)
			}
			if err := outbox.Queue(ctx, mailer.Message{Person: person, To: "p@b.test"}); err != nil {
				t.Error(err)
			}
		}
		for i := range 30 {
			fill(strings.Repeat("p", i+1))
		}
		if err := keys.AddKeys(ctx, actor, "lot", "", []mfa.KeySpec{{Serial: "K1", Algorithm: "TOTP", Hash: "SHA1", Digits: 6, Period: 30, Seed: []byte("0123456789abcdef0123")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.NewRecoveryCodes(ctx, actor, "p"); err != nil {
			t.Fatal(err)
		}
		chain := audit.NewChain(h.audit, old, nil)
		for n := 1; n > 0; {
			if n, err = chain.Seal(ctx); err != nil {
				t.Fatal(err)
			}
		}

		if err := secret.AddKey(path); err != nil {
			t.Fatal(err)
		}
		if h.sealer, err = secret.LoadSealer(path); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { // a server that does not know the new key yet, and opens with both
			for i := range 20 {
				fill(strings.Repeat("q", i+1))
			}
		})
		for range 3 { // interrupted and run again is the same as run again
			for _, c := range sealedColumns {
				if _, err := reseal(ctx, d, h.sealer, c); err != nil {
					t.Fatal(err)
				}
			}
		}
		all.Wait()
		for _, c := range sealedColumns {
			if _, err := reseal(ctx, d, h.sealer, c); err != nil {
				t.Fatal(err)
			}
		}
		unused, err := h.unusedKeys(ctx, d)
		if err != nil || len(unused) != 1 || unused[0] != h.sealer.IDs()[1] {
			t.Fatalf("%v, %v", unused, err)
		}
		if err := secret.DropKeys(path, unused); err != nil {
			t.Fatal(err)
		}
		alone, err := secret.LoadSealer(path)
		if err != nil || len(alone.IDs()) != 1 {
			t.Fatal(alone.IDs(), err)
		}
		again := mfa.New(d, alone, h.audit, mfa.Config{}, h.now)
		for _, person := range []string{"p", "pp", "qqq"} {
			if _, err := again.Code(ctx, person); err != nil {
				t.Errorf("%s: %v", person, err)
			}
		}
		if _, err := audit.NewChain(h.audit, alone, nil).Verify(ctx); err != nil {
			t.Error(err)
		}
		// No table has a sealed value in a column that nobody knows.
		tables := "SELECT name FROM sqlite_master WHERE type = 'table'"
		columns := "SELECT name FROM pragma_table_info($1) WHERE type LIKE '%TEXT%'"
		if d.Kind() == "postgres" {
			tables = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()"
			columns = "SELECT CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 AND data_type = 'text'"
		}
		names, err := db.All(ctx, d, func(scan func(...any) error) (s string, err error) { err = scan(&s); return s, err }, tables)
		if err != nil || len(names) < 20 {
			t.Fatal(names, err)
		}
		for _, table := range names {
			cols, err := db.All(ctx, d, func(scan func(...any) error) (s string, err error) { err = scan(&s); return s, err }, columns, table)
			if err != nil {
				t.Fatal(err)
			}
			for _, col := range cols {
				var n int
				if err := d.QueryRow(ctx, "SELECT COUNT(*) FROM "+table+" WHERE "+col+" LIKE $1", "v1."+old.IDs()[0]+".%").Scan(&n); err != nil {
					t.Fatal(table, col, err)
				}
				if n > 0 {
					t.Errorf("%d values of %s.%s are sealed with the old key", n, table, col)
				}
			}
		}
	})
}

func TestRingIsFollowedAndItsMistakesAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := secret.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	server, err := secret.LoadSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	before := server.Seal("x", "one")
	if err := secret.AddKey(path); err != nil {
		t.Fatal(err)
	}
	command, err := secret.LoadSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	after := command.Seal("x", "two")
	if plain, err := command.Open("x", before); err != nil || plain != "one" {
		t.Error("the new ring does not open what the old key sealed")
	}
	if _, err := command.Open("y", before); err == nil {
		t.Error("for another purpose")
	}
	if command.Newest(before) || !command.Newest(after) {
		t.Error("which is the newest?")
	}
	// A value names a key that the server does not know: it looks, once a second at most.
	plain, err := server.Open("x", after)
	for end := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		plain, err = server.Open("x", after)
	}
	if err != nil || plain != "two" {
		t.Errorf("a running server does not follow: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{"a broken line": {string(text) + "zz\n", 0o600, "line 3"}, "readable by others": {string(text), 0o644, "may be read by others"}, "empty": {"", 0o600, "line 1"}} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(bad, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := secret.LoadSealer(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
