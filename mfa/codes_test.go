package mfa

import (
	"context"
	"errors"
	"net/netip"
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

// told collects what a service says of its changes.
func told(s *Service) *[]Change {
	var all []Change
	var mu sync.Mutex
	s.OnChange(func(_ context.Context, c Change) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		return nil
	})
	return &all
}

func actions(t *testing.T, s *Service, action string) []audit.Row {
	t.Helper()
	rows, err := s.audit.List(context.Background(), audit.Filter{Action: action, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func held(t *testing.T, s *Service, person string) Held {
	t.Helper()
	h, err := s.Held(context.Background(), person)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func recoveryCodesOf(t *testing.T, s *Service, person string) []string {
	t.Helper()
	codes, err := s.NewRecoveryCodes(context.Background(), audit.Person(person, person), person)
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

func useRecovery(s *Service, person, code string) error {
	_, err := s.VerifyRecovery(context.Background(), audit.Person(person, person), person, code)
	return err
}

func usePass(s *Service, person, code string) error {
	_, err := s.VerifyPass(context.Background(), audit.Person(person, person), person, code)
	return err
}

func TestWrittenCodesAreReadAsTheyWereMeant(t *testing.T) {
	code := "01VV-ABCD-0101-HJKM"
	for _, typed := range []string{code, strings.ToLower(code), " 01vv abcd 0101 hjkm ", "O1UV ABCD OIOL HJKM", "01VV—ABCD–0101‑HJKM", "０１ＶＶＡＢＣＤ０１０１ＨＪＫＭ", "01VV\u202fABCD\u00a00101\u200bHJKM"} {
		if got := heard(typed, 16); got != "01VVABCD0101HJKM" {
			t.Errorf("%q is heard as %q", typed, got)
		}
	}
	for _, typed := range []string{"", "01VV-ABCD-0101-HJK", code + "0", "01VV-ABCD-0101-HJK!", "é1VV-ABCD-0101-HJKM", strings.Repeat("A", 4000), "01VV-ABCD-0101-HJK\x00"} {
		if got := heard(typed, 16); got != "" {
			t.Errorf("%q is heard as %q", typed, got)
		}
	}
	seen := map[string]bool{}
	for range 1000 {
		c := newCode(16)
		if len(c) != 16 || strings.Trim(c, alphabet) != "" || seen[c] || heard(spoken(c), 16) != c {
			t.Fatalf("%q", c)
		}
		seen[c] = true
	}
}

func TestRecoveryCodeIsGoodOnceAndCounted(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		changes := told(s)
		if err := useRecovery(s, "p1", "0000-0000-0000-0000"); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("without a set: %v", err)
		}
		codes := recoveryCodesOf(t, s, "p1")
		if len(codes) != 10 || held(t, s, "p1")[Recovery] != 10 || held(t, s, "p1").Lasting() != 0 {
			t.Fatalf("%d codes, held %v", len(codes), held(t, s, "p1"))
		}
		set, err := s.RecoverySet(context.Background(), "p1")
		if err != nil || set.Left != 10 || set.Noted || !set.Used.IsZero() {
			t.Fatalf("%+v, %v", set, err)
		}
		if err := s.NoteRecoveryCodes(context.Background(), "p1"); err != nil {
			t.Fatal(err)
		}
		c.advance(time.Hour)
		left, err := s.VerifyRecovery(context.Background(), me, "p1", strings.ToLower(codes[3]))
		if err != nil || left != 9 {
			t.Fatalf("first use: %d, %v", left, err)
		}
		if err := useRecovery(s, "p1", codes[3]); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("second use: %v", err)
		}
		for name, typed := range map[string]string{"another": "0000-0000-0000-0000", "none": "", "half": codes[4][:9]} {
			if err := useRecovery(s, "p1", typed); !errors.Is(err, ErrWrongCode) {
				t.Errorf("%s: %v", name, err)
			}
		}
		recoveryCodesOf(t, s, "p2")
		if err := useRecovery(s, "p2", codes[5]); !errors.Is(err, ErrWrongCode) {
			t.Errorf("another person's code: %v", err)
		}
		set, err = s.RecoverySet(context.Background(), "p1")
		if err != nil || set.Left != 9 || !set.Noted || !set.Used.Equal(c.now()) {
			t.Fatalf("%+v, %v", set, err)
		}
		if n := len(*changes); n != 3 || (*changes)[1].What != "used" || (*changes)[1].Factor.Left != 9 {
			t.Errorf("told: %+v", *changes)
		}
		if rows := actions(t, s, "mfa.recovery"); len(rows) != 1 || rows[0].Detail["left"] != "9" {
			t.Errorf("audit: %+v", rows)
		}
	})
}

func TestNewRecoveryCodesReplaceTheOld(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		old := recoveryCodesOf(t, s, "p1")
		first, _ := s.RecoverySet(context.Background(), "p1")
		fresh := recoveryCodesOf(t, s, "p1")
		for _, code := range old {
			if err := useRecovery(s, "p1", code); !errors.Is(err, ErrWrongCode) {
				t.Fatalf("an old code: %v", err)
			}
		}
		if err := useRecovery(s, "p1", fresh[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Remove(context.Background(), me, "p1", first.ID, ""); !errors.Is(err, db.ErrNotFound) {
			t.Fatalf("the old set could be removed in the place of the new: %v", err)
		}
		// Two at once: one set stands, whole.
		var sets [2][]string
		var all sync.WaitGroup
		for i := range sets {
			all.Go(func() { sets[i] = recoveryCodesOf(t, s, "p1") })
		}
		all.Wait()
		if held(t, s, "p1")[Recovery] != 10 {
			t.Fatal(held(t, s, "p1"))
		}
		good := [2]int{}
		for i, set := range sets {
			for _, code := range set {
				if useRecovery(s, "p1", code) == nil {
					good[i]++
				}
			}
		}
		if good != [2]int{10, 0} && good != [2]int{0, 10} {
			t.Fatalf("of two sets made at once %v are good", good)
		}
	})
}

// together runs n at once and counts how each ended.
func together(n int, fn func() error) (good, used, other int64, last error) {
	var g, u, o atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			switch err := fn(); {
			case err == nil:
				g.Add(1)
			case errors.Is(err, ErrUsedCode):
				u.Add(1)
			default:
				o.Add(1)
				mu.Lock()
				last = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return g.Load(), u.Load(), o.Load(), last
}

func TestWrittenCodeIsGoodOnceHoweverManyComeTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		codes := recoveryCodesOf(t, s, "p1")
		if good, used, other, err := together(100, func() error { return useRecovery(s, "p1", codes[0]) }); good != 1 || used != 99 || other != 0 {
			t.Errorf("recovery code: %d good, %d used, %d other (%v)", good, used, other, err)
		}
		if held(t, s, "p1")[Recovery] != 9 {
			t.Error(held(t, s, "p1"))
		}
		pass := issue(t, s, "p1", PassOptions{Once: true})
		if good, used, other, err := together(100, func() error { return usePass(s, "p1", pass) }); good != 1 || used != 99 || other != 0 {
			t.Errorf("pass: %d good, %d used, %d other (%v)", good, used, other, err)
		}
		if held(t, s, "p1")[Pass] != 0 {
			t.Error(held(t, s, "p1"))
		}
	})
}

func TestWrittenCodeOfARolledBackSignInIsNotSpent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		codes := recoveryCodesOf(t, s, "p1")
		pass := issue(t, s, "p1", PassOptions{Once: true})
		broken := errors.New("broken")
		err := d.InTx(context.Background(), func(ctx context.Context) error {
			if _, err := s.VerifyRecovery(ctx, me, "p1", codes[0]); err != nil {
				t.Error(err)
			}
			if _, err := s.VerifyPass(ctx, me, "p1", pass); err != nil {
				t.Error(err)
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if err := useRecovery(s, "p1", codes[0]); err != nil {
			t.Error(err)
		}
		if err := usePass(s, "p1", pass); err != nil {
			t.Error(err)
		}
		// A pepper made in a transaction that was undone is not gone on with.
		other, _ := service(t, dbtest.Open(t, d.Kind()))
		var lost []string
		err = other.db.InTx(context.Background(), func(ctx context.Context) (err error) {
			lost, err = other.NewRecoveryCodes(ctx, me, "p1")
			return errors.Join(err, broken)
		})
		if !errors.Is(err, broken) || other.pepper.Load() != nil {
			t.Fatal(err)
		}
		codes = recoveryCodesOf(t, other, "p1")
		if err := useRecovery(other, "p1", lost[0]); !errors.Is(err, ErrWrongCode) {
			t.Error(err)
		}
		again := New(other.db, secret.NewSealer([32]byte{1}), other.audit, Config{}, other.now)
		if err := useRecovery(again, "p1", codes[0]); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	})
}

func TestWrittenCodesRestHashed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		ctx := context.Background()
		shown := recoveryCodesOf(t, s, "p1")
		shown = append(shown, issue(t, s, "p1", PassOptions{}))
		card, err := s.NewLockCode(ctx, me, "p1")
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, card)
		token, err := s.TrustDevice(ctx, me, "p1", "", s.now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, token[22:])
		// All that these tables, the trail and the lists hold.
		var text strings.Builder
		for _, query := range []string{"SELECT hash FROM mfa_recovery_code", "SELECT hash FROM mfa_pass", "SELECT hash FROM mfa_lockcard", "SELECT hash || previous FROM mfa_device",
			"SELECT secret FROM mfa_pepper", "SELECT detail FROM audit"} {
			rows, err := db.All(ctx, d, func(scan func(...any) error) (v string, err error) { return v, scan(&v) }, query)
			if err != nil || len(rows) == 0 {
				t.Fatal(query, err)
			}
			text.WriteString(strings.Join(rows, "\n"))
		}
		factors, err := s.Factors(ctx, "p1")
		if err != nil || len(factors) != 3 {
			t.Fatalf("%+v, %v", factors, err)
		}
		for _, f := range factors {
			text.WriteString(f.ID + f.Name + f.Detail)
		}
		for _, code := range shown {
			plain := strings.ReplaceAll(code, "-", "")
			if strings.Contains(text.String(), plain) || strings.Contains(text.String(), code) || len(plain) < 20 && strings.Contains(text.String(), secret.Hash(plain)) {
				t.Errorf("%s stands somewhere", code)
			}
		}
	})
}

func TestResetLeavesNoWrittenCodePassOrDevice(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		ctx := context.Background()
		enrolled(t, s, "p1")
		codes := recoveryCodesOf(t, s, "p1")
		pass := issue(t, s, "p1", PassOptions{})
		token, err := s.TrustDevice(ctx, me, "p1", "", s.now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		others := recoveryCodesOf(t, s, "p2")
		n, err := s.Reset(ctx, me, "p1", "lost")
		if err != nil || n != 4 {
			t.Fatalf("%d factors, %v", n, err)
		}
		if len(held(t, s, "p1")) != 0 {
			t.Error(held(t, s, "p1"))
		}
		if err := useRecovery(s, "p1", codes[0]); !errors.Is(err, ErrNoFactor) {
			t.Error(err)
		}
		if err := usePass(s, "p1", pass); !errors.Is(err, ErrNoFactor) {
			t.Error(err)
		}
		if use, err := s.UseDevice(ctx, "p1", token); err != nil || use.OK || !use.Drop {
			t.Errorf("%+v, %v", use, err)
		}
		if err := useRecovery(s, "p2", others[0]); err != nil {
			t.Error(err)
		}
		// A set that the person removes takes its codes with it.
		recoveryCodesOf(t, s, "p1")
		set, _ := s.RecoverySet(ctx, "p1")
		if gone, err := s.Remove(ctx, me, "p1", set.ID, ""); err != nil || gone.Left != 10 || gone.Kind != Recovery {
			t.Errorf("%+v, %v", gone, err)
		}
		if len(held(t, s, "p1")) != 0 {
			t.Error(held(t, s, "p1"))
		}
	})
}

func issue(t *testing.T, s *Service, person string, o PassOptions) string {
	t.Helper()
	if o.Reason == "" {
		o.Reason = "telephone lost"
	}
	code, err := s.IssuePass(context.Background(), audit.Person("helper", "mdupont"), person, o)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestPassIsGoodForItsPersonAndTime(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		changes := told(s)
		code := issue(t, s, "p1", PassOptions{Life: 15 * time.Minute})
		if len(code) != 9 || code[4] != '-' {
			t.Fatalf("%q cannot be read on the telephone", code)
		}
		if err := usePass(s, "p2", code); !errors.Is(err, ErrNoFactor) {
			t.Errorf("a person without: %v", err)
		}
		issue(t, s, "p2", PassOptions{})
		if err := usePass(s, "p2", code); !errors.Is(err, ErrWrongCode) {
			t.Errorf("another person's: %v", err)
		}
		for range 2 { // until it ends
			if err := usePass(s, "p1", code); err != nil {
				t.Fatal(err)
			}
		}
		c.advance(15*time.Minute - time.Second)
		if err := usePass(s, "p1", code); err != nil || held(t, s, "p1")[Pass] != 1 {
			t.Fatalf("in the last second: %v", err)
		}
		c.advance(time.Second)
		if err := usePass(s, "p1", code); !errors.Is(err, ErrWrongCode) || held(t, s, "p1")[Pass] != 0 {
			t.Fatalf("ended: %v", err)
		}
		if list, err := s.Factors(ctx, "p1"); err != nil || len(list) != 0 {
			t.Errorf("listed: %+v, %v", list, err)
		}
		if n := len(actions(t, s, "mfa.pass.used")); n != 3 {
			t.Errorf("%d uses in the trail", n)
		}
		used := 0
		for _, one := range *changes {
			if one.What == "used" {
				used++
			}
		}
		if used != 3 || (*changes)[0].Reason != "telephone lost" {
			t.Errorf("told: %+v", *changes)
		}
		if _, err := s.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if err := usePass(s, "p1", code); !errors.Is(err, ErrNoFactor) {
			t.Errorf("swept: %v", err)
		}
	})
}

func TestOnePassLivesPerPerson(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		ctx := context.Background()
		first := issue(t, s, "p1", PassOptions{Once: true})
		if err := usePass(s, "p1", first); err != nil {
			t.Fatal(err)
		}
		if err := usePass(s, "p1", first); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("once: %v", err)
		}
		second := issue(t, s, "p1", PassOptions{EnrolOnly: true})
		if err := usePass(s, "p1", first); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("the pass before: %v", err)
		}
		use, err := s.VerifyPass(ctx, me, "p1", second)
		if err != nil || !use.EnrolOnly {
			t.Fatalf("%+v, %v", use, err)
		}
		list, err := s.Factors(ctx, "p1")
		if err != nil || len(list) != 1 || list[0].Kind != Pass || list[0].Detail != PassEnrols || !list[0].Ends.Equal(s.now().Add(time.Hour)) {
			t.Fatalf("%+v, %v", list, err)
		}
		// Enrolled: it did what it was for.
		e, err := s.BeginTOTP(ctx, "p1", "flow", "mdupont")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ConfirmTOTP(ctx, me, "p1", "flow", code(t, e.Secret, s.now())); err != nil {
			t.Fatal(err)
		}
		if err := usePass(s, "p1", second); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("a pass for enrolling, after enrolling: %v", err)
		}
		third := issue(t, s, "p1", PassOptions{})
		if err := s.RevokePass(ctx, me, "p1", "not asked for"); err != nil {
			t.Fatal(err)
		}
		if err := usePass(s, "p1", third); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("revoked: %v", err)
		}
		if err := s.RevokePass(ctx, me, "p1", "again"); err != nil || len(actions(t, s, "mfa.pass.revoke")) != 1 {
			t.Fatal(err)
		}
	})
}

func TestPassNeedsAReasonAndALifeWithinBounds(t *testing.T) {
	s, _ := service(t, dbtest.Open(t, "sqlite"))
	ctx := context.Background()
	if _, err := s.IssuePass(ctx, me, "p1", PassOptions{}); !errors.Is(err, ErrReason) {
		t.Error(err)
	}
	for _, life := range []time.Duration{time.Minute, 8*time.Hour + 1, -time.Hour, 1000 * time.Hour} {
		if _, err := s.IssuePass(ctx, me, "p1", PassOptions{Life: life, Reason: "x"}); !errors.Is(err, ErrPassLife) {
			t.Errorf("%s: %v", life, err)
		}
	}
	if _, err := s.IssuePass(ctx, audit.Actor{}, "p1", PassOptions{Reason: "x"}); err == nil || held(t, s, "p1")[Pass] != 0 {
		t.Errorf("nobody issued a pass: %v", err)
	}
	code, err := s.IssuePass(ctx, me, "p1", PassOptions{Letter: true, Life: time.Minute, Reason: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.Factors(ctx, "p1"); err != nil || len(all) != 1 || all[0].Detail != PassEnrols || all[0].Left != 1 || all[0].Ends.Sub(s.now()) != 30*24*time.Hour {
		t.Errorf("a letter's pass: %+v, %v", all, err)
	}
	if holders, err := s.PassHolders(ctx); err != nil || len(holders) != 1 || !holders["p1"] {
		t.Errorf("holders %v, %v", holders, err)
	}
	if use, err := s.VerifyPass(ctx, me, "p1", code); err != nil || !use.EnrolOnly {
		t.Errorf("%+v, %v", use, err)
	}
	if holders, err := s.PassHolders(ctx); err != nil || len(holders) != 0 {
		t.Errorf("a used pass is held: %v, %v", holders, err)
	}
	for c, wrong := range map[PassConfig]int{
		{}:                                           0,
		{Life: 15 * time.Minute}:                     0,
		{Most: 30 * time.Minute}:                     0,
		{Life: time.Minute}:                          1,
		{Most: 48 * time.Hour}:                       1,
		{Life: time.Second, Most: 1}:                 2,
		{Life: 10 * time.Hour}:                       1,
		{Letter: 24 * time.Hour}:                     0,
		{Letter: time.Hour}:                          1,
		{Letter: 61 * 24 * time.Hour}:                1,
		{Letter: -time.Hour}:                         1,
		{Life: 10 * time.Hour, Most: 12 * time.Hour}: 0,
	} {
		if errs := c.Validate(); len(errs) != wrong {
			t.Errorf("%+v: %v", c, errs)
		}
	}
}

func TestLockCardNamesItsPersonUntilReplaced(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		ctx := context.Background()
		first, err := s.NewLockCode(ctx, me, "p1")
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.NewLockCode(ctx, audit.Person("p2", "ssmith"), "p2")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if who, err := s.CheckLockCode(ctx, strings.ToLower(first)); err != nil || who != "p1" {
				t.Fatalf("%s, %v", who, err)
			}
		}
		second, err := s.NewLockCode(ctx, me, "p1")
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{first, "", "0000-0000-0000-0000", second[:18]} {
			if who, err := s.CheckLockCode(ctx, bad); !errors.Is(err, ErrNoCard) {
				t.Errorf("%q: %s, %v", bad, who, err)
			}
		}
		if who, err := s.CheckLockCode(ctx, second); err != nil || who != "p1" {
			t.Errorf("%s, %v", who, err)
		}
		if who, err := s.CheckLockCode(ctx, other); err != nil || who != "p2" {
			t.Errorf("%s, %v", who, err)
		}
		// It opens nothing.
		recoveryCodesOf(t, s, "p1")
		if err := useRecovery(s, "p1", second); !errors.Is(err, ErrWrongCode) {
			t.Errorf("a lock code as a recovery code: %v", err)
		}
		if len(held(t, s, "p2")) != 0 {
			t.Error(held(t, s, "p2"))
		}
	})
}

// seenFrom is a request of a browser.
func seenFrom(ip, agent string) context.Context {
	return audit.WithOrigin(context.Background(), audit.Origin{IP: netip.MustParseAddr(ip), UserAgent: agent})
}

func TestTrustedDeviceGetsANewSecretWithEachUse(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := seenFrom("192.0.2.7", "Firefox\n/145")
		proven := s.now()
		first, err := s.TrustDevice(ctx, me, "p1", "", proven, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		token := first
		for range 3 {
			c.advance(time.Minute)
			use, err := s.UseDevice(seenFrom("198.51.100.1", "Firefox/146"), "p1", token)
			if err != nil || !use.OK || use.Token == "" || use.Token == token || !use.Proven.Equal(proven) || use.Drop {
				t.Fatalf("%+v, %v", use, err)
			}
			token = use.Token
		}
		list, err := s.Factors(ctx, "p1")
		if err != nil || len(list) != 1 || list[0].Name != "Firefox/146" || list[0].Detail != "198.51.100.1" || !list[0].Used.Equal(c.now()) || !list[0].Ends.Equal(proven.Add(24*time.Hour)) {
			t.Fatalf("%+v, %v", list, err)
		}
		if len(held(t, s, "p1")) != 0 {
			t.Error("a trusted device can be asked for")
		}
		// Somebody else's cookie says nothing, and ends nothing.
		if use, err := s.UseDevice(ctx, "p2", token); err != nil || use != (DeviceUse{}) {
			t.Fatalf("another person: %+v, %v", use, err)
		}
		for _, bad := range []string{"", "x", token[:64], token + "x", strings.Repeat("x", 65), strings.Repeat("x", 10000)} {
			if use, err := s.UseDevice(ctx, "p1", bad); err != nil || use.OK || use.Theft {
				t.Errorf("%q: %+v, %v", bad[:min(len(bad), 70)], use, err)
			}
		}
		// Trusted again in the same browser: one row.
		again, err := s.TrustDevice(ctx, me, "p1", token, s.now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if use, err := s.UseDevice(ctx, "p1", token); err != nil || use.OK || !use.Drop || use.Theft {
			t.Fatalf("the trust before: %+v, %v", use, err)
		}
		c.advance(time.Hour)
		if use, err := s.UseDevice(ctx, "p1", again); err != nil || use.OK || !use.Drop || use.Theft {
			t.Fatalf("ended: %+v, %v", use, err)
		}
	})
}

func TestCopiedDeviceCookieEndsTheTrust(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		changes := told(s)
		ctx := seenFrom("192.0.2.7", "Firefox/145")
		stolen, err := s.TrustDevice(ctx, me, "p1", "", s.now(), 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		mine, err := s.UseDevice(ctx, "p1", stolen)
		if err != nil || !mine.OK {
			t.Fatalf("%+v, %v", mine, err)
		}
		// Tabs sent at the same moment carry the secret before, and get none.
		c.advance(deviceGrace - time.Second)
		if use, err := s.UseDevice(ctx, "p1", stolen); err != nil || !use.OK || use.Token != "" {
			t.Fatalf("another tab: %+v, %v", use, err)
		}
		c.advance(time.Second)
		thief, err := s.UseDevice(seenFrom("203.0.113.9", "curl"), "p1", stolen)
		if err != nil || thief.OK || !thief.Theft || !thief.Drop {
			t.Fatalf("the copy: %+v, %v", thief, err)
		}
		for _, token := range []string{mine.Token, stolen} {
			if use, err := s.UseDevice(ctx, "p1", token); err != nil || use.OK || use.Theft || !use.Drop {
				t.Fatalf("afterwards: %+v, %v", use, err)
			}
		}
		rows := actions(t, s, "mfa.device.theft")
		if len(rows) != 1 || rows[0].Target != "p1" || rows[0].Address != "203.0.113.9" {
			t.Errorf("trail: %+v", rows)
		}
		if n := len(*changes); n != 2 || (*changes)[1].What != Stolen || (*changes)[1].Factor.Name != "Firefox/145" {
			t.Errorf("told: %+v", *changes)
		}
	})
}

func TestDeviceSecretRotatesOnceHoweverManyTabsCome(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		ctx := seenFrom("192.0.2.7", "Firefox/145")
		token, err := s.TrustDevice(ctx, me, "p1", "", s.now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var fresh atomic.Int64
		good, used, other, err := together(50, func() error {
			use, err := s.UseDevice(ctx, "p1", token)
			if use.Token != "" {
				fresh.Add(1)
			}
			if err == nil && !use.OK {
				err = errors.New("refused")
			}
			return err
		})
		if good != 50 || used+other != 0 || fresh.Load() != 1 {
			t.Fatalf("%d good, %d new secrets, %v", good, fresh.Load(), err)
		}
	})
}

func TestPersonTrustsNoMoreBrowsersThanThereAreReasonsFor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := seenFrom("192.0.2.7", "Firefox/145")
		var first, last string
		for i := range maxDevices + 1 {
			token, err := s.TrustDevice(ctx, me, "p1", "", s.now(), 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = token
			}
			last = token
			c.advance(time.Second)
		}
		if use, err := s.UseDevice(ctx, "p1", first); err != nil || use.OK {
			t.Fatalf("the oldest stays: %+v, %v", use, err)
		}
		if use, err := s.UseDevice(ctx, "p1", last); err != nil || !use.OK {
			t.Fatalf("the newest is gone: %+v, %v", use, err)
		}
		if n, err := s.ForgetDevices(context.Background(), "p1"); err != nil || n != maxDevices {
			t.Fatal(n, err)
		}
	})
}
