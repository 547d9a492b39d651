package portal

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func TestATokenIsExchangedOnceAndKeptUntilItExpires(t *testing.T) {
	r, b := signedInRig(t)
	first := b.get("/mail/token")
	want(t, first, 200, "who=mdupont token-of=mdupont valid=true")
	for range 5 {
		if again := b.get("/mail/token"); again.body != first.body {
			t.Fatalf("another token: %s", again.body)
		}
	}
	if n := r.op.count("exchange"); n != 1 {
		t.Fatalf("%d exchanges", n)
	}
	// A restart forgets nothing: the token lies sealed in the session.
	p, handler := r.build()
	r.web.Config.Handler = handler
	t.Cleanup(p.Close)
	if again := b.get("/mail/token"); again.body != first.body || r.op.count("exchange") != 1 {
		t.Fatalf("after a restart: %s", again.body)
	}
	r.later(601 * time.Second)
	if again := b.get("/mail/token"); again.status != 200 || again.body == first.body {
		t.Fatalf("after its end: %d %s", again.status, again.body)
	}
	if r.op.count("refresh") != 1 || r.op.count("exchange") != 2 {
		t.Fatalf("%d refreshes, %d exchanges", r.op.count("refresh"), r.op.count("exchange"))
	}
}

func TestParallelRequestsRefreshOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRig(t, d, newOP(t)) // a provider without any grace: a second use ends the family
		b := r.browser()
		want(t, b.signIn("mdupont", "/mail/token"), http.StatusSeeOther, "")
		for round := 1; round <= 4; round++ {
			r.later(700 * time.Second)
			var wg sync.WaitGroup
			for range 24 {
				wg.Go(func() {
					p, err := b.try(http.MethodGet, "/mail/token", nil)
					if err != nil || p.status != 200 || !strings.Contains(p.body, "valid=true") {
						t.Errorf("round %d: %v %d %s", round, err, p.status, p.body)
					}
				})
			}
			wg.Wait()
			if n := r.op.count("refresh"); n != round {
				t.Fatalf("%d refreshes after %d rounds", n, round)
			}
		}
	})
}

func TestTwoReplicasShareOneGrant(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		provider := newOP(t)
		provider.grace = time.Second // as the real one, which gives ten
		r := newRig(t, d, provider)
		b := r.browser()
		want(t, b.signIn("mdupont", "/mail/token"), http.StatusSeeOther, "")
		p, other := r.build()
		t.Cleanup(p.Close)
		one := r.web.Config.Handler
		var turn sync.Mutex
		n := 0
		r.web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			turn.Lock()
			n++
			h := one
			if n%2 == 0 {
				h = other
			}
			turn.Unlock()
			h.ServeHTTP(w, q)
		})
		for round := range 3 {
			r.later(700 * time.Second)
			var wg sync.WaitGroup
			for range 12 {
				wg.Go(func() {
					if p, err := b.try(http.MethodGet, "/mail/token", nil); err != nil || p.status != 200 {
						t.Errorf("round %d: %v %d %.300s", round, err, p.status, p.body)
					}
				})
			}
			wg.Wait()
			time.Sleep(provider.grace + 50*time.Millisecond) // whoever still holds an old token would now kill the family
		}
		if provider.reused != 0 {
			t.Fatalf("%d families died of reuse", provider.reused)
		}
	})
}

func TestSignOutEverywhereIsNoticedWithinAMinute(t *testing.T) {
	r, b := signedInRig(t)
	r.later(20 * time.Second)
	calls := r.op.count("/introspect")
	for range 5 {
		want(t, b.get("/mail/who"), 200, "who=mdupont")
	}
	if r.op.count("/introspect") != calls {
		t.Fatal("the provider is asked at every page")
	}
	r.op.kill("mdupont")
	r.later(39 * time.Second)
	gone := b.get("/mail/who")
	if gone.status != http.StatusSeeOther || !strings.HasPrefix(gone.location, r.op.URL+"/authorize") {
		t.Fatalf("59 seconds later: %d %s", gone.status, gone.body)
	}
	var left int
	if err := r.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM session WHERE site = $1", "portal").Scan(&left); err != nil || left != 0 {
		t.Fatalf("%d sessions left, %v", left, err)
	}
}

func TestAGrantThatEndedEndsTheSessionAtTheNextToken(t *testing.T) {
	r, b := signedInRig(t)
	r.op.kill("mdupont")
	want(t, b.get("/mail/token"), http.StatusSeeOther, "")
	want(t, b.get("/mail/who"), http.StatusSeeOther, "")
}

func TestPagesOutliveASilentProviderForAWhile(t *testing.T) {
	r, b := signedInRig(t)
	want(t, b.get("/mail/token"), 200, "")
	r.op.set(func() { r.op.down = true })
	r.later(2 * time.Minute)
	want(t, b.get("/mail/who"), 200, "who=mdupont")
	want(t, b.get("/mail/token"), 200, "who=mdupont") // kept and still good
	want(t, b.get("/"), 200, "Name of mdupont")
	r.later(4 * time.Minute)
	want(t, b.get("/mail/who"), http.StatusServiceUnavailable, "")
	r.op.set(func() { r.op.down = false })
	r.later(6 * time.Second)
	want(t, b.get("/mail/who"), 200, "who=mdupont")
	r.op.set(func() { r.op.down = true })
	r.later(11 * time.Minute)
	want(t, b.get("/mail/token"), http.StatusServiceUnavailable, "")
	r.op.set(func() { r.op.down = false })
	r.later(6 * time.Second)
	want(t, b.get("/mail/token"), 200, "valid=true")
}

func TestAnAudienceThatIsRefusedSaysSo(t *testing.T) {
	r, b := signedInRig(t)
	r.op.set(func() { r.op.refuse = true })
	want(t, b.get("/mail/token"), http.StatusForbidden, "")
	want(t, b.get("/mail/who"), 200, "who=mdupont")
}

func TestBrowsersInAMixNeverShareAnything(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		provider := newOP(t)
		provider.grace = 10 * time.Second
		r := newRig(t, d, provider)
		const people, rounds = 8, 25
		browsers := make([]*browser, people)
		for i := range browsers {
			browsers[i] = r.browser()
			want(t, browsers[i].signIn(fmt.Sprintf("p%d", i), "/mail/who"), http.StatusSeeOther, "")
		}
		var wg sync.WaitGroup
		for i, b := range browsers {
			login := fmt.Sprintf("p%d", i)
			for tab := range 2 {
				wg.Go(func() {
					for n := range rounds {
						path, mark := "/mail/token", "who="+login+" token-of="+login+" "
						switch (n + tab) % 3 {
						case 1:
							path, mark = "/mail/who", "who="+login+" sub=sub-of-"+login+" "
						case 2:
							path, mark = "/", "Tile of "+login
						}
						p, err := b.try(http.MethodGet, path, nil)
						if err != nil || p.status != 200 || !strings.Contains(p.body, mark) {
							t.Errorf("%s at %s: %v %d %.200s", login, path, err, p.status, p.body)
							return
						}
						if i == 0 && tab == 0 && n%8 == 7 {
							r.later(11 * time.Minute) // everybody refreshes at once
						}
					}
				})
			}
		}
		wg.Wait()
	})
}
