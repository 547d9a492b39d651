package oidc

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/audit"
)

// opens tells whether a secret opens.
func (w *world) opens(client, plain string) bool {
	w.t.Helper()
	a := w.post("/oauth2/introspect", "", url.Values{"token": {"x"}, "client_id": {client}, "client_secret": {plain}})
	if a.status != 200 {
		w.refusedWith(a, "invalid_client")
	}
	return a.status == 200
}

func (w *world) entry(id string) Entry {
	w.t.Helper()
	all, err := w.p.clients.List(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range all {
		if e.ID == id {
			return e
		}
	}
	w.t.Fatalf("no application %s", id)
	return Entry{}
}

func TestTheFormerSecretGoesOnForAsLongAsItWasGiven(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, root := t.Context(), audit.Operator("root")
		command, err := OpenClients(ctx, w.db, w.audit, w.files, 1, w.clock.now)
		if err != nil {
			t.Fatal(err)
		}
		rotate := func(keep time.Duration) string {
			t.Helper()
			plain, err := command.RotateSecret(ctx, root, "glpi", keep, "")
			if err != nil {
				t.Fatal(err)
			}
			w.clock.pass(5 * time.Second) // what the running provider needs to hear of it
			return plain
		}
		first, err := command.Add(ctx, root, tool(func(c *Client) { c.ID = "glpi" }))
		if err != nil {
			t.Fatal(err)
		}
		second := rotate(24 * time.Hour)
		if !w.opens("glpi", first) || !w.opens("glpi", second) {
			t.Error("one of two live secrets does not open")
		}
		if s := w.entry("glpi").Secrets; len(s) != 2 || !s[0].Until.IsZero() || s[1].Until.Sub(w.clock.now()) != 24*time.Hour-5*time.Second {
			t.Errorf("%+v", s)
		}
		w.clock.pass(24*time.Hour - 6*time.Second)
		if !w.opens("glpi", first) {
			t.Error("the former secret ends a second early")
		}
		w.clock.pass(time.Second)
		if w.opens("glpi", first) || !w.opens("glpi", second) {
			t.Error("the former secret goes on, or the present one does not") // no sweep has run
		}
		if s := w.entry("glpi").Secrets; len(s) != 1 {
			t.Errorf("%+v", s)
		}
		// Two at most: a second rotation ends the one that was still going on.
		third := rotate(time.Hour)
		fourth := rotate(time.Hour)
		if w.opens("glpi", second) || !w.opens("glpi", third) || !w.opens("glpi", fourth) {
			t.Error("three secrets live, or fewer than two")
		}
		fifth := rotate(0)
		if w.opens("glpi", third) || w.opens("glpi", fourth) || !w.opens("glpi", fifth) {
			t.Error("a rotation that keeps nothing keeps something")
		}
		if w.opens("other", fifth) {
			t.Error("another application opens by it")
		}
		shown, err := json.Marshal(w.entry("glpi"))
		if err != nil || strings.Contains(string(shown), hashOf(fifth)) || strings.Contains(string(shown), fifth) {
			t.Errorf("%v %s", err, shown)
		}
	})
}

func TestOneOfSeveralRotationsAtOnceWins(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		if _, err := w.p.clients.Add(t.Context(), audit.Operator("root"), tool(func(c *Client) { c.ID = "glpi" })); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var shown []string
		for range 8 {
			wg.Go(func() {
				if plain, err := w.p.clients.RotateSecret(t.Context(), audit.Operator("root"), "glpi", time.Hour, ""); err == nil {
					mu.Lock()
					defer mu.Unlock()
					shown = append(shown, plain)
				}
			})
		}
		wg.Wait()
		w.clock.pass(5 * time.Second)
		live := 0
		for _, plain := range shown {
			if w.opens("glpi", plain) {
				live++
			}
		}
		if want := min(len(shown), 2); live != want || live == 0 {
			t.Errorf("%d of %d secrets that were shown open, want %d", live, len(shown), want)
		}
	})
}

func TestAChosenSecretIsLongAndPlain(t *testing.T) {
	w := onOne(t)
	ctx, root := t.Context(), audit.Operator("root")
	chosen := "a chosen secret without spaces 12345"
	for _, bad := range []string{"", "short", chosen, strings.Repeat("x", 40), strings.Repeat("xy", 300), strings.Repeat("é", 20)} {
		if _, err := w.p.clients.Add(ctx, root, tool(func(c *Client) { c.ID = "glpi" }), bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	chosen = strings.ReplaceAll(chosen, " ", "+")
	if plain, err := w.p.clients.Add(ctx, root, tool(func(c *Client) { c.ID = "glpi" }), chosen); err != nil || plain != chosen {
		t.Fatal(plain, err)
	}
	if !w.opens("glpi", chosen) {
		t.Error("the chosen secret does not open")
	}
	if _, err := w.p.clients.RotateSecret(ctx, root, "glpi", 0, "short"); err == nil {
		t.Error("a short one is taken at rotation")
	}
	for _, keep := range []time.Duration{-time.Second, 91 * 24 * time.Hour} {
		if _, err := w.p.clients.RotateSecret(ctx, root, "glpi", keep, ""); err == nil {
			t.Errorf("kept for %s", keep)
		}
	}
	w.keyed()
	if _, err := w.p.clients.RotateSecret(ctx, root, "keyed", 0, ""); err == nil || errors.Is(err, ErrUnknownClient) {
		t.Errorf("an application with a key is given a secret: %v", err)
	}
	if _, err := w.p.clients.Add(ctx, root, tool(func(c *Client) { c.ID, c.Public, c.Grants, c.ExchangeTo = "app", true, nil, nil }), chosen); err == nil {
		t.Error("a public application is given a secret")
	}
}
