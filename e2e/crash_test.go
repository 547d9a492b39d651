package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// crowd is people who sign in over and over, each with their own telephone, while things break.
const crowd = 24

// TestNothingIsHalfMadeWhenServersAreKilled kills Beffroi and each server that it needs with kill -9 while a crowd signs in,
// and afterwards asks everybody in again: nobody may be locked out, have lost their second factor, or hold a token that is
// neither good nor refused.
func TestNothingIsHalfMadeWhenServersAreKilled(t *testing.T) {
	t.Parallel()
	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
	parts := &rig.Parts{Database: postgres.Database(), Slapd: testpeer.StartSlapd(t, testpeer.SlapdOptions{People: testpeer.GeneratePeople(crowd)})}
	w := newWorld(t, rig.Serve(t, parts))
	people := make([]*visitor.Person, crowd)
	for i := range people {
		people[i] = &visitor.Person{Login: fmt.Sprintf("u%06d", i), Password: testpeer.Password}
	}
	for _, victim := range []struct {
		name        string
		kill, start func()
	}{
		{"Beffroi", w.Kill, w.Start},
		{"PostgreSQL", postgres.Kill, postgres.Start},
		{"slapd", parts.Slapd.Kill, parts.Slapd.Start},
	} {
		t.Run(victim.name, func(t *testing.T) { survives(t, w, people, victim.kill, victim.start) })
	}
}

// kept is what one sign-in was given before the crash.
type kept struct {
	who    *visitor.Person
	tokens *visitor.Tokens
	sub    string
}

func survives(t *testing.T, w *world, people []*visitor.Person, kill, start func()) {
	ctx := journey(t)
	var mu sync.Mutex
	var held []kept
	subjects := map[string]string{}
	note := func(who *visitor.Person, tokens *visitor.Tokens, claims *visitor.Claims) {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, kept{who, tokens, claims.Subject})
		if before := subjects[who.Login]; before != "" && before != claims.Subject {
			t.Errorf("%s was %s and is %s", who.Login, before, claims.Subject)
		}
		subjects[who.Login] = claims.Subject
	}
	var stop atomic.Bool
	var tried, let atomic.Int64
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; !stop.Load(); i = (i + 4) % len(people) {
				tried.Add(1)
				short, cancel := context.WithTimeout(ctx, 20*time.Second)
				tokens, claims, _, err := visitor.New().Enter(short, w.demoApp, people[i], everything)
				cancel()
				if err == nil && tokens != nil {
					let.Add(1)
					note(people[i], tokens, claims)
				}
				if i+4 >= len(people) {
					return // each of the crowd once: their codes are good once
				}
			}
		})
	}
	testpeer.WaitFor(t, "somebody in", 40*time.Second, func() bool { return let.Load() >= 2 })
	kill()
	time.Sleep(300 * time.Millisecond)
	start()
	wg.Wait()
	stop.Store(true)
	t.Logf("%d sign-ins tried, %d went through", tried.Load(), let.Load())
	testpeer.WaitFor(t, "readiness after the restart", 30*time.Second, func() bool {
		status, _ := get(t, w.Admin+"/readyz")
		return status == 200
	})
	for _, k := range held { // what was given is good: a token is not lost by a crash
		answer, err := w.demoApp.Refresh(ctx, k.tokens.RefreshToken)
		if err != nil || answer.Error != "" {
			t.Errorf("a refresh token of %s given before the crash: %+v %v", k.who.Login, answer, err)
		}
		if status, info, err := w.demoApp.UserInfo(ctx, k.tokens.AccessToken); err != nil || status != 200 || info["sub"] != k.sub {
			t.Errorf("an access token of %s given before the crash: %d %v %v", k.who.Login, status, info, err)
		}
	}
	var all sync.WaitGroup
	for _, who := range people {
		all.Go(func() {
			if err := comesBack(ctx, w, who); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// comesBack signs somebody in after a crash. Somebody whose enrolment the crash interrupted is shown the same secret again;
// one whose code went through just before the crash uses the next one.
func comesBack(ctx context.Context, w *world, who *visitor.Person) error {
	var last error
	for range 2 {
		tokens, _, page, err := visitor.New().Enter(ctx, w.demoApp, who, everything)
		switch {
		case err != nil:
			last = fmt.Errorf("%s after the crash: %w", who.Login, err)
		case tokens == nil:
			last = fmt.Errorf("%s after the crash is not let in: %s", who.Login, page)
		default:
			return nil
		}
	}
	return last
}
