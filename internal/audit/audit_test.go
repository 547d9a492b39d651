package audit_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func TestEventStandsOrFallsWithItsTransaction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := audit.New(d, time.Now)
		boom := errors.New("boom")
		err := d.InTx(t.Context(), func(ctx context.Context) error {
			if err := l.Record(ctx, audit.Operator("root"), audit.Event{Action: "mfa.reset", Target: "p1"}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if rows, err := l.List(t.Context(), audit.Filter{}); err != nil || len(rows) != 0 {
			t.Fatalf("%d rows of a change that did not happen (%v)", len(rows), err)
		}
		ctx := audit.WithOrigin(t.Context(), audit.Origin{IP: netip.MustParseAddr("192.0.2.7"), UserAgent: "Firefox\r\nforged line", RequestID: "abc"})
		if err := l.Record(ctx, audit.Person("p2", "Marie"), audit.Event{Action: "mfa.reset", Target: "p1", Application: "app", Detail: map[string]string{"reason": "lost\nphone"}}); err != nil {
			t.Fatal(err)
		}
		rows, err := l.List(t.Context(), audit.Filter{Person: "p1", Action: "mfa."})
		if err != nil || len(rows) != 1 {
			t.Fatalf("%d rows (%v)", len(rows), err)
		}
		r := rows[0]
		if r.Actor.ID != "p2" || r.Outcome != "ok" || r.Address != "192.0.2.7" || r.Request != "abc" || r.Detail["reason"] != "lost phone" || strings.Contains(r.Agent, "\n") {
			t.Errorf("row %+v", r)
		}
	})
}

func TestEventWithoutActorIsAnError(t *testing.T) {
	l := audit.New(dbtest.Open(t, "sqlite"), time.Now)
	if err := l.Record(t.Context(), audit.Actor{}, audit.Event{Action: "x"}); err == nil {
		t.Error("nobody did it, and it was written")
	}
}

func TestApplicationsThatTryAgainForEverCannotFillTheDisk(t *testing.T) {
	l := audit.New(dbtest.Open(t, "sqlite"), time.Now)
	for range 150 {
		l.Refuse(t.Context(), audit.Application("broken"), audit.Event{Action: "oidc.refresh"})
		l.Refuse(t.Context(), audit.Anonymous(), audit.Event{Action: "oidc.refresh"})
	}
	for range 2500 { // strangers from everywhere, who must not hide what applications do
		l.Refuse(t.Context(), audit.Anonymous(), audit.Event{Action: "oidc.code"})
	}
	l.Refuse(t.Context(), audit.Application("sound"), audit.Event{Action: "oidc.refresh"})
	l.Refuse(t.Context(), audit.Application("sound"), audit.Event{Action: "oidc.code"})
	for actor, want := range map[string]int{"broken": 100, "sound": 2, "": 200} {
		rows, err := l.List(t.Context(), audit.Filter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range rows {
			if r.Actor.ID == actor {
				n++
			}
		}
		if n != want {
			t.Errorf("%d rows of %q, want %d", n, actor, want)
		}
	}
}

func TestAnonymousRefusalsCannotFillTheDisk(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	at := time.Now()
	l := audit.New(d, func() time.Time { return at })
	from := func(ip string) context.Context {
		return audit.WithOrigin(t.Context(), audit.Origin{IP: netip.MustParseAddr(ip)})
	}
	for range 500 {
		l.Refuse(from("192.0.2.1"), audit.Anonymous(), audit.Event{Action: "oidc.authorize"})
	}
	l.Refuse(from("192.0.2.2"), audit.Anonymous(), audit.Event{Action: "oidc.authorize"})
	// One customer's IPv6 network is one address.
	for i := range 200 {
		l.Refuse(from(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}).String()), audit.Anonymous(), audit.Event{Action: "oidc.authorize"})
	}
	rows, err := l.List(t.Context(), audit.Filter{Limit: 1000})
	if err != nil || len(rows) != 100+1+100 {
		t.Fatalf("%d rows (%v), want 201", len(rows), err)
	}
	// Somebody known is never capped, and the count of what was left out is written.
	for range 30 {
		l.Refuse(from("192.0.2.1"), audit.Person("p", ""), audit.Event{Action: "oidc.refresh"})
	}
	at = at.Add(11 * time.Minute)
	l.Refuse(from("192.0.2.1"), audit.Anonymous(), audit.Event{Action: "oidc.authorize"})
	rows, err = l.List(t.Context(), audit.Filter{Limit: 1000})
	if err != nil || len(rows) != 201+30+2 {
		t.Fatalf("%d rows (%v), want 233", len(rows), err)
	}
	capped, err := l.List(t.Context(), audit.Filter{Action: "oidc.authorize.capped"})
	if err != nil || len(capped) != 1 || capped[0].Detail["count"] != "701" {
		t.Errorf("count of the capped: %+v (%v)", capped, err)
	}
}
