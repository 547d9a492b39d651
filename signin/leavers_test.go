package signin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
)

// sessionsOf counts the rows of a person's sessions.
func (g *rig) sessionsOf(person string) (n int) {
	g.t.Helper()
	if err := g.d.QueryRow(context.Background(), "SELECT COUNT(*) FROM session WHERE person = $1", person).Scan(&n); err != nil {
		g.t.Fatal(err)
	}
	return n
}

func TestWhoeverLeftIsSignedOutWhenTheGateMeetsThem(t *testing.T) {
	for reason, leave := range map[string]func(g *rig){
		Disabled: func(g *rig) { g.people.change("id-mdupont", func(p *directory.Person) { p.Disabled = true }) },
		Gone: func(g *rig) {
			g.people.mu.Lock()
			defer g.people.mu.Unlock()
			delete(g.people.persons, "id-mdupont")
		},
	} {
		t.Run(reason, func(t *testing.T) {
			each(t, Config{}, func(t *testing.T, g *rig) {
				b, other := g.browser(), g.browser()
				want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
				want(t, other.password(other.get("/begin?app=weak"), "ssmith", rightPassword), "done id-ssmith 1")
				leave(g)
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						_, err := g.service.Gate().Admit(context.Background(), "id-mdupont", Application{ID: "weak"}, "")
						if no := Refused(err); no == nil || no.Reason != reason {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if g.sessionsOf("id-mdupont") != 0 || g.sessionsOf("id-ssmith") != 1 {
					t.Error("sessions live on, or somebody else's ended")
				}
				if !slices.Equal(g.ended, []string{"id-mdupont "}) {
					t.Errorf("told %v", g.ended)
				}
				if rows := g.trail("signout.left"); len(rows) != 1 || rows[0].Detail["reason"] != reason || rows[0].Actor.Kind != "system" {
					t.Errorf("trail %+v", rows)
				}
				want(t, b.get("/begin?app=weak"), "password")
			})
		})
	}
}

func TestWhoeverLeftIsFoundThoughNobodyAsks(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b, other := g.browser(), g.browser()
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, other.password(other.get("/begin?app=weak"), "ssmith", rightPassword), "done id-ssmith 1")
		look := func(expected int) {
			t.Helper()
			if gone, err := g.service.LookForLeavers(context.Background()); gone != expected || err != nil {
				t.Errorf("%d found, want %d: %v", gone, expected, err)
			}
		}
		look(0)
		g.people.change("id-mdupont", func(p *directory.Person) { p.Disabled = true })
		g.people.down.Store(true)
		if _, err := g.service.LookForLeavers(context.Background()); !errors.Is(err, directory.ErrDown) {
			t.Errorf("the directory is down: %v", err)
		}
		if g.sessionsOf("id-mdupont") != 1 {
			t.Error("signed out because the directory did not answer")
		}
		g.people.down.Store(false)
		look(1)
		look(0)
		if g.sessionsOf("id-mdupont") != 0 || g.sessionsOf("id-ssmith") != 1 || len(g.ended) != 1 {
			t.Errorf("told %v", g.ended)
		}
	})
}

// holderOf is somebody who keeps something of a thousand people.
type holderOf struct {
	mu   sync.Mutex
	held map[string]bool
	asks int
}

func (h *holderOf) Holds(_ context.Context, person string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[person], nil
}

func (h *holderOf) Holders(_ context.Context, after string, n int) (people []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asks++
	for id := range h.held {
		if id > after {
			people = append(people, id)
		}
	}
	slices.Sort(people)
	return people[:min(n, len(people))], nil
}

// A directory that has lost everybody must not sign the academy out.
func TestADirectoryThatLosesEverybodySignsFewOut(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		h := &holderOf{held: map[string]bool{}}
		for i := range 1100 {
			h.held[fmt.Sprintf("p%04d", i)] = true
		}
		g.service.AlsoHolds(h)
		g.service.OnEnd(func(_ context.Context, person, _ string) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			delete(h.held, person)
			return nil
		})
		g.people.mu.Lock()
		for i := range 1100 { // they are all known
			id := fmt.Sprintf("p%04d", i)
			g.people.persons[id] = directory.Person{ID: id, Login: id}
		}
		g.people.mu.Unlock()
		for range 3 {
			if gone, err := g.service.LookForLeavers(context.Background()); gone != 0 || err != nil {
				t.Fatal(gone, err)
			}
		}
		g.people.mu.Lock()
		clear(g.people.persons)
		g.people.mu.Unlock()
		total := 0
		for range 3 { // within one minute
			gone, err := g.service.LookForLeavers(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			total += gone
		}
		if total != leaversMost {
			t.Errorf("%d signed out in a minute", total)
		}
		// They are refused all the same, and signed out as the minutes pass.
		if _, err := g.service.Gate().Admit(context.Background(), "p1099", Application{ID: "weak"}, ""); Refused(err) == nil {
			t.Error("admitted", err)
		}
		g.advance(time.Minute)
		if gone, _ := g.service.LookForLeavers(context.Background()); gone != leaversMost {
			t.Errorf("%d in the next minute", gone)
		}
	})
}
