package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/session"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func store(d *db.DB, c *clock, secure bool) *session.Store {
	return session.New(d, session.Config{Site: "provider", Secure: secure, Idle: 2 * time.Hour, Absolute: 12 * time.Hour, Now: c.now})
}

func start(t *testing.T, s *session.Store, r *http.Request, person string) (*session.Session, *http.Cookie) {
	t.Helper()
	w := httptest.NewRecorder()
	sess, err := s.Start(t.Context(), w, r, person, map[string]int{"n": 1})
	if err != nil {
		t.Fatal(err)
	}
	return sess, w.Result().Cookies()[0]
}

func with(c *http.Cookie) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(c)
	return r
}

func load(t *testing.T, s *session.Store, c *http.Cookie) *session.Session {
	t.Helper()
	sess, err := s.Load(with(c))
	if err != nil {
		t.Fatal(err)
	}
	return sess
}

func TestCookieIsAHostCookieOverHTTPSAndPlainOverHTTP(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	c := &clock{time.Now()}
	_, secure := start(t, store(d, c, true), httptest.NewRequest("GET", "/", nil), "p")
	if secure.Name != "__Host-beffroi_provider" || !secure.Secure || !secure.HttpOnly || secure.SameSite != http.SameSiteLaxMode || secure.Path != "/" || secure.Domain != "" {
		t.Errorf("https cookie: %v", secure)
	}
	_, plain := start(t, store(d, c, false), httptest.NewRequest("GET", "/", nil), "p")
	if plain.Name != "beffroi_provider" || plain.Secure || !plain.HttpOnly {
		t.Errorf("http cookie: %v", plain)
	}
}

func TestDatabaseHoldsNoSecretThatOpensASession(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := store(d, &clock{time.Now()}, false)
		sess, c := start(t, s, httptest.NewRequest("GET", "/", nil), "p")
		var hash string
		if err := d.QueryRow(t.Context(), "SELECT secret_hash FROM session").Scan(&hash); err != nil {
			t.Fatal(err)
		}
		for _, guess := range []string{hash, sess.SID, strings.ToUpper(c.Value), c.Value[:42], c.Value + "A"} {
			if load(t, s, &http.Cookie{Name: c.Name, Value: guess}) != nil {
				t.Errorf("%q opened the session", guess)
			}
		}
		if load(t, s, c) == nil {
			t.Error("the cookie itself does not")
		}
		// Two cookies of the name: one was planted, so none is believed.
		r := with(c)
		r.AddCookie(&http.Cookie{Name: c.Name, Value: strings.Repeat("A", 43)})
		if got, err := s.Load(r); err != nil || got != nil {
			t.Errorf("two cookies: %v, %v", got, err)
		}
	})
}

func TestSigningInAgainRotatesTheSecret(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := store(d, &clock{time.Now()}, false)
		first, c1 := start(t, s, httptest.NewRequest("GET", "/", nil), "p")
		r := with(c1)
		r = r.WithContext(session.With(r.Context(), first))
		second, c2 := start(t, s, r, "p")
		if c1.Value == c2.Value || load(t, s, c1) != nil || load(t, s, c2) == nil {
			t.Error("the old secret still opens the session")
		}
		if second.SID != first.SID {
			t.Error("a step-up of the same person changed the sid that applications know")
		}
		r = with(c2)
		r = r.WithContext(session.With(r.Context(), second))
		if third, _ := start(t, s, r, "q"); third.SID == second.SID {
			t.Error("another person inherited the sid")
		}
	})
}

// A page that asks by itself does not keep an unattended computer signed in.
func TestWhatAPageAsksByItselfKeepsNoSessionAlive(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := &clock{time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
		s := store(d, c, false)
		_, cookie := start(t, s, httptest.NewRequest("GET", "/", nil), "p")
		for range 12 { // two hours
			c.t = c.t.Add(10*time.Minute - time.Second)
			for name, value := range map[string]string{"Accept": "text/event-stream", "X-Background": "1"} {
				r := with(cookie)
				r.Header.Set(name, value)
				if got, err := s.Load(r); err != nil || got == nil {
					t.Fatalf("%s: %v, %v", name, got, err)
				}
			}
		}
		c.t = c.t.Add(time.Minute)
		if load(t, s, cookie) != nil {
			t.Error("kept alive by nobody")
		}
	})
}

func TestSessionEndsIdleAndAbsolutely(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := &clock{time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
		s := store(d, c, false)
		_, idle := start(t, s, httptest.NewRequest("GET", "/", nil), "p")
		c.t = c.t.Add(2*time.Hour - time.Second)
		if load(t, s, idle) == nil {
			t.Error("ended a second too early")
		}
		c.t = c.t.Add(2 * time.Hour)
		if load(t, s, idle) != nil {
			t.Error("outlived two idle hours")
		}
		_, busy := start(t, s, httptest.NewRequest("GET", "/", nil), "p")
		begun := c.t
		for c.t.Sub(begun) < 12*time.Hour-time.Hour {
			c.t = c.t.Add(time.Hour)
			if load(t, s, busy) == nil {
				t.Fatalf("a session in use ended after %v", c.t.Sub(begun))
			}
		}
		c.t = begun.Add(12 * time.Hour)
		if load(t, s, busy) != nil {
			t.Error("outlived twelve hours")
		}
		if n, err := s.Sweep(t.Context()); err != nil || n != 2 {
			t.Errorf("swept %d (%v), want 2", n, err)
		}
	})
}

func TestSaveNeverRevivesOrOverwrites(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := store(d, &clock{time.Now()}, false)
		_, c := start(t, s, httptest.NewRequest("GET", "/", nil), "p")
		one, two := load(t, s, c), load(t, s, c)
		if err := s.Save(t.Context(), one, "one"); err != nil {
			t.Fatal(err)
		}
		if err := s.Save(t.Context(), two, "two"); !errors.Is(err, session.ErrStale) {
			t.Errorf("second writer: %v, want ErrStale", err)
		}
		late := load(t, s, c)
		if string(late.Data) != `"one"` {
			t.Errorf("data %s", late.Data)
		}
		if n, err := s.EndAll(t.Context(), "p"); err != nil || n != 1 {
			t.Fatalf("ended %d (%v)", n, err)
		}
		if err := s.Save(t.Context(), late, "late"); !errors.Is(err, session.ErrStale) {
			t.Errorf("saving after the end: %v", err)
		}
		if load(t, s, c) != nil {
			t.Error("a slow request brought the session back")
		}
	})
}

func TestSitesDoNotShareSessions(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	provider := store(d, &clock{time.Now()}, false)
	portal := session.New(d, session.Config{Site: "portal"})
	sess, c := start(t, provider, httptest.NewRequest("GET", "/", nil), "p")
	if got := load(t, portal, &http.Cookie{Name: portal.CookieName(), Value: c.Value}); got != nil {
		t.Error("the provider's secret opened a portal session")
	}
	if _, err := portal.Alive(t.Context(), sess.SID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("Alive across sites: %v", err)
	}
	if n, err := portal.EndAll(t.Context(), "p"); err != nil || n != 0 {
		t.Errorf("portal ended %d of the provider's (%v)", n, err)
	}
}

func TestParallelSignInsEachGetTheirOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := store(d, &clock{time.Now()}, false)
		var wg sync.WaitGroup
		for i := range 40 {
			person := string(rune('A' + i))
			wg.Go(func() {
				w := httptest.NewRecorder()
				if _, err := s.Start(context.Background(), w, httptest.NewRequest("GET", "/", nil), person, nil); err != nil {
					t.Errorf("start: %v", err)
					return
				}
				got, err := s.Load(with(w.Result().Cookies()[0]))
				if err != nil || got == nil || got.Person != person {
					t.Errorf("cookie of %s opened %v (%v)", person, got, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestTwoTabsSigningInAgainAtOnceBothWork(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := store(d, &clock{time.Now()}, false)
		before, old := start(t, s, httptest.NewRequest("GET", "/", nil), "p")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				r := with(old)
				r = r.WithContext(session.With(r.Context(), before))
				w := httptest.NewRecorder()
				if _, err := s.Start(context.Background(), w, r, "p", nil); err != nil {
					t.Errorf("a tab met %v", err)
					return
				}
				if got, err := s.Load(with(w.Result().Cookies()[0])); err != nil || got == nil {
					t.Errorf("a tab's session is not there: %v, %v", got, err)
				}
			})
		}
		wg.Wait()
	})
}
