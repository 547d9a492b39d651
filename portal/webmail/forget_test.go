package webmail

import (
	"testing"
	"time"
)

// A sign-out closes what is open: the idle connections at once, the one in use
// when its use ends; another person's stay.
func TestConnectionsOfWhoeverSignedOutAreClosed(t *testing.T) {
	r := newRig(t)
	person := func(login string) owner {
		return owner{sub: "sub-" + login, login: login, token: r.tokens.give(login), expires: time.Now().Add(time.Hour)}
	}
	marie, paul := person("mdupont"), person("pmartin")
	var idle, busy, other *conn
	do := func(who owner, fn func(c *conn) error) {
		t.Helper()
		if err := r.s.pools.Do(t.Context(), who, "", reads, fn); err != nil {
			t.Fatal(err)
		}
	}
	do(paul, func(c *conn) error { other = c; return nil })
	do(marie, func(c *conn) error {
		busy = c
		do(marie, func(c *conn) error { idle = c; return nil })
		r.module.Forget(marie.sub)
		if !dies(idle) {
			t.Error("an idle connection lives on")
		}
		return c.Noop().Wait() // what is being done is finished
	})
	if !dies(busy) || !other.alive() {
		t.Errorf("the one in use lives on: %v, somebody else's lives on: %v", busy.alive(), other.alive())
	}
	do(marie, func(c *conn) error { return c.Noop().Wait() }) // another session of the person dials again
	r.s.pools.mu.Lock()
	defer r.s.pools.mu.Unlock()
	if r.s.pools.open != 2 {
		t.Errorf("%d connections counted", r.s.pools.open)
	}
}

// dies tells whether a connection is closed: its reader sees it a moment after.
func dies(c *conn) bool {
	select {
	case <-c.Closed():
		return true
	case <-time.After(3 * time.Second):
		return false
	}
}
