package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

var volatile = regexp.MustCompile(`flow=[a-zA-Z0-9_-]+`)

func TestFourWrongPasswordsAndNoMoreReachTheDirectory(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.get("/begin?app=weak")
		for range 7 {
			want(t, b.password(page, "mdupont", "wrong"), "password")
		}
		if n := g.people.asked.Load(); n != 4 {
			t.Fatalf("the directory was asked %d times", n)
		}
		// Locked: the right password is not even looked at.
		want(t, b.password(page, "mdupont", rightPassword), "password")
		if n := g.people.asked.Load(); n != 4 {
			t.Fatalf("the directory was asked %d times", n)
		}
		state, err := g.service.LockState(context.Background(), "mdupont")
		if err != nil || state.Passwords != 4 || !state.PasswordUntil.Equal(g.now().Add(10*time.Minute)) {
			t.Errorf("%+v %v", state, err)
		}
		g.advance(10*time.Minute - time.Second)
		page = b.get("/begin?app=weak")
		want(t, b.password(page, "mdupont", rightPassword), "password")
		g.advance(time.Second)
		want(t, b.password(page, "mdupont", rightPassword), "done id-mdupont 1")

		reasons := map[string]int{}
		for _, row := range g.trail("signin.password") {
			if row.Target != "id-mdupont" {
				t.Errorf("a refusal without its person: %+v", row)
			}
			reasons[row.Detail["reason"]]++
		}
		if reasons["wrong"] != 4 || reasons["locked"] != 5 {
			t.Errorf("audit %v", reasons)
		}
	})
}

func TestFortyParallelGuessesAskTheDirectoryFourTimes(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.people.slow = 5 * time.Millisecond
		spellings := []string{"mdupont", "MDUPONT", " mdupont", "marie.dupont@academie.test", "ｍdupont"}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				b := g.browser()
				b.password(b.get("/begin?app=weak"), spellings[i%len(spellings)], "wrong")
			})
		}
		all.Wait()
		if n := g.people.asked.Load(); n != 4 {
			t.Errorf("the directory was asked %d times", n)
		}
	})
}

func TestReplicasShareTheLimit(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		// Two services on one database, as two processes would be.
		other := newGuard(g.d, g.service.cfg, g.now)
		var asked atomic.Int64
		var all sync.WaitGroup
		for i := range 40 {
			guard := g.service.guard
			if i%2 == 1 {
				guard = other
			}
			all.Go(func() {
				_, err := guard.attempt(context.Background(), "password:p", 4, func(context.Context, func(context.Context) error) (bool, error) {
					asked.Add(1)
					return false, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n < 4 || n > 5 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestPasswordThatCannotBeSentDoesNotHideWhoIsCounted(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.get("/begin?app=weak")
		for range 4 {
			want(t, b.password(page, "mdupont", "wrong"), "password")
			want(t, b.password(page, "mdupont", strings.Repeat("x", 2000)), "password")
		}
		if n := g.people.asked.Load(); n > 4 {
			t.Errorf("the directory was asked %d times", n)
		}
		want(t, b.password(page, "mdupont", rightPassword), "password")
	})
}

func TestRow17EverySpellingOfALoginSharesOneCounter(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.get("/begin?app=weak")
		for _, login := range []string{"mdupont", "MDupont", "mdupont ", "marie.dupont@academie.test", "Marie.Dupont@Academie.Test", "ｍｄｕｐｏｎｔ"} {
			want(t, b.password(page, login, "wrong"), "password")
		}
		if n := g.people.asked.Load(); n != 4 {
			t.Errorf("the directory was asked %d times", n)
		}
		// Names that nobody has are counted too, or they could be told apart.
		for _, login := range []string{"nobody", "NOBODY", "nobody ", "nobody", "Nobody", "nobody"} {
			want(t, b.password(page, login, "wrong"), "password")
		}
		if n := g.people.asked.Load(); n != 8 {
			t.Errorf("the directory was asked %d times", n)
		}
	})
}

func TestWrongUnknownAndLockedLookTheSame(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.get("/begin?app=weak")
		look := func(login string) string {
			a := b.password(page, login, "wrong")
			if a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: status %d", login, a.status)
			}
			return volatile.ReplaceAllString(strings.ReplaceAll(a.body, login, "LOGIN"), "FLOW")
		}
		g.people.outcomes["id-ssmith"] = directory.Outcome{Result: directory.Locked} // by the directory, unproven
		first := look("mdupont")
		for _, other := range []string{look("nobody1"), look("ssmith"), look("ancien")} {
			if other != first {
				t.Error("told apart at once")
			}
		}
		for range 5 {
			look("mdupont")
			look("nobody1")
		}
		if look("mdupont") != first || look("nobody1") != first {
			t.Error("a locked one is told apart")
		}
	})
}

func TestTheRightPasswordForgetsWrongOnes(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		for range 4 {
			b := g.browser()
			page := b.get("/begin?app=weak")
			for range 3 {
				want(t, b.password(page, "mdupont", "wrong"), "password")
			}
			want(t, b.password(page, "mdupont", rightPassword), "done id-mdupont 1")
		}
	})
}

// TestSigningInCostsNoGuess: none of the steps of an honest sign-in counts
// against the person, however often it is done.
func TestSigningInCostsNoGuess(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		for range 6 { // more than any limit
			b := g.browser()
			g.advance(time.Minute)
			page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
			want(t, page, "factor")
			want(t, b.get(page.path), "factor") // reloaded
			want(t, b.code(page, "id-mdupont"), "done id-mdupont 2")
			g.advance(time.Minute)
			page = b.password(b.get("/begin?app=strong&prompt=login"), "mdupont", rightPassword)
			want(t, b.code(page, "id-mdupont"), "done id-mdupont 2")
		}
		if state, err := g.service.LockState(t.Context(), "mdupont"); err != nil || state != (LockState{}) {
			t.Errorf("%+v %v", state, err)
		}
		if n := g.rows("signin_guess"); n != 0 {
			t.Errorf("%d guesses are kept", n)
		}
	})
}

func TestSlowGuessesNeverPassTheLimitInAnyWindow(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		var asked []time.Time
		for range 60 { // one guess every two and a half minutes
			page := b.get("/begin?app=weak")
			before := g.people.asked.Load()
			b.password(page, "mdupont", "wrong")
			if g.people.asked.Load() > before {
				asked = append(asked, g.now())
			}
			g.advance(150 * time.Second)
		}
		for i := range asked {
			n := 0
			for _, other := range asked[i:] {
				if other.Sub(asked[i]) < 10*time.Minute {
					n++
				}
			}
			if n > 4 {
				t.Fatalf("%d guesses within ten minutes", n)
			}
		}
	})
}

func TestVisitorWhoLeavesEarlyIsCountedAllTheSame(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.people.slow = 30 * time.Millisecond
		for range 8 {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			_, _, _, err := g.service.checkPassword(ctx, "mdupont", "wrong", "weak")
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if n := g.people.asked.Load(); n > 4 {
			t.Errorf("the directory was asked %d times", n)
		}
	})
}

func TestWrongCodesHaveACounterOfTheirOwn(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		for range 4 {
			want(t, b.submit(page, "code", "000000"), "factor")
		}
		locked := b.code(page, "id-mdupont")
		want(t, locked, "factor")
		if locked.status != http.StatusTooManyRequests || !strings.Contains(locked.body, "10") {
			t.Errorf("%d: the page does not say how long", locked.status)
		}
		// A browser that starts over does not get new guesses; the password is unharmed.
		other := g.browser()
		again := other.password(other.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, again, "factor")
		if a := other.code(again, "id-mdupont"); a.left != nil {
			t.Fatal("a new flow gave new guesses")
		}
		state, err := g.service.LockState(context.Background(), "mdupont")
		if err != nil || state.Factors != 4 || state.FactorUntil.IsZero() || state.Passwords != 0 {
			t.Errorf("%+v %v", state, err)
		}
		if err := g.service.Unlock(context.Background(), audit.Operator("root"), "MDUPONT"); err != nil {
			t.Fatal(err)
		}
		want(t, other.code(again, "id-mdupont"), "done id-mdupont 2")
		if rows := g.trail("signin.unlock"); len(rows) != 1 || rows[0].Target != "id-mdupont" {
			t.Errorf("audit %+v", rows)
		}
		if err := g.service.Unlock(context.Background(), audit.Operator("root"), "nobody"); !errors.Is(err, directory.ErrUnknown) {
			t.Errorf("unlocking nobody: %v", err)
		}
	})
}

func TestAnAddressIsDelayedAndNotBlocked(t *testing.T) {
	each(t, Config{AddressLimit: 10, PasswordLimit: 100, DelayMax: 40 * time.Millisecond}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.get("/begin?app=weak")
		for i := range 10 {
			b.password(page, fmt.Sprintf("nobody%d", i), "wrong")
		}
		start := time.Now()
		want(t, b.password(page, "mdupont", rightPassword), "done id-mdupont 1")
		if took := time.Since(start); took < 40*time.Millisecond {
			t.Errorf("not delayed: %s", took)
		}
		g.advance(10 * time.Minute)
		if err := g.service.guard.wait(context.Background(), addressKey(netip.MustParseAddr("127.0.0.1"))); err != nil {
			t.Error(err)
		}
	})
}

func TestDelayedAnswersAreBounded(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{AddressLimit: 10, DelayMax: 200 * time.Millisecond})
	ctx := context.Background()
	key := addressKey(netip.MustParseAddr("192.0.2.1"))
	for range 20 {
		if err := g.service.guard.blame(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	var busy atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := g.service.guard.wait(ctx, key); errors.Is(err, errBusy) {
				busy.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := busy.Load(); n != 50-maxSleepersAddress {
		t.Errorf("%d turned away", n)
	}
	if g.service.guard.asleep != 0 || len(g.service.guard.sleepers) != 0 {
		t.Error("sleepers are left")
	}
}

func TestAnIPv6NetworkIsOneAddress(t *testing.T) {
	one, two := addressKey(netip.MustParseAddr("2001:db8::1")), addressKey(netip.MustParseAddr("2001:db8::ffff:1"))
	if one != two || one == addressKey(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("a /64 is not one address")
	}
	if addressKey(netip.MustParseAddr("::ffff:192.0.2.1")) != addressKey(netip.MustParseAddr("192.0.2.1")) {
		t.Error("a mapped address is another one")
	}
	if addressKey(netip.Addr{}) != "" {
		t.Error("no address is counted")
	}
}

func TestStrangersCannotFillTheTables(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		g := newRig(t, d, Config{})
		seen := map[string]bool{}
		for i := range 200_000 {
			seen[unknownKey(fmt.Sprintf("stranger%d", i))] = true
		}
		if len(seen) > unknownBuckets {
			t.Errorf("%d counters", len(seen))
		}
		if _, err := g.service.guard.take(context.Background(), "unknown:1", 4); err != nil {
			t.Fatal(err)
		}
		g.advance(10 * time.Minute)
		if n, err := g.service.Sweep(context.Background()); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

func TestAuditDoesNotKeepWhatAStrangerTyped(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	b := g.browser()
	b.password(b.get("/begin?app=weak"), "Beffroi-59!", "x") // the password in the wrong field
	rows := g.trail("signin.password")
	if len(rows) != 1 || rows[0].Detail["login"] != "Be…" || rows[0].Detail["reason"] != "unknown" {
		t.Errorf("%+v", rows)
	}
}
