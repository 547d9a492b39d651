package oidc

import (
	"net/url"
	"sync"
	"testing"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

// Somebody is disabled while every kind of token of theirs is in use: whichever
// question notices it first, all of it ends and the application hears of it once.
func TestWhateverNoticesThatSomebodyLeftEndsAllOfItOnce(t *testing.T) {
	for name, ask := range map[string]func(w *world, v *visitor, rp string, a answer){
		"refresh":       func(w *world, _ *visitor, rp string, a answer) { w.refresh(rp, a.text("refresh_token")) },
		"introspection": func(w *world, _ *visitor, rp string, a answer) { w.introspect(rp, a.text("access_token")) },
		"userinfo":      func(w *world, _ *visitor, _ string, a answer) { w.userinfo(a.text("access_token")) },
		"exchange":      func(w *world, _ *visitor, rp string, a answer) { w.exchange(rp, a.text("access_token")) },
		"single sign-on": func(w *world, v *visitor, _ string, _ answer) {
			v.get("/oauth2/authorize?" + request("tool", "prompt", "none").Encode())
		},
		"my account": func(w *world, v *visitor, _ string, _ answer) { v.get("/account") },
		"all at once": func(w *world, _ *visitor, rp string, a answer) {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() { w.introspect(rp, a.text("access_token")) })
			}
			all.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				w, _, _ := realWorld(t, d)
				l := w.listen()
				rp := w.hearing("rp", l)
				v := w.visitor()
				a := w.redeem(rp, v.signIn(v.get("/oauth2/authorize?"+request("rp", "scope", "openid offline_access mail").Encode()), "mdupont").location().Get("code"))
				w.must(a, 200)
				_, paul := w.signedIn("tool", "pmartin")
				w.people.change(marie, func(p *directory.Person) { p.Disabled = true })
				ask(w, v, rp, a)
				w.deliverAll()
				if sids := w.sidsOf("rp", l.tokens()); len(sids) != 2 || sids[0] != "" || sids[1] == "" {
					t.Fatalf("heard of %q", sids) // of the person, and of the session
				}
				if holds, err := w.p.Holds(t.Context(), marie); holds || err != nil {
					t.Error("an authorization lives on", err)
				}
				if rows, err := w.audit.List(t.Context(), audit.Filter{Action: "signout.left"}); len(rows) != 1 || err != nil {
					t.Errorf("%d rows in the trail: %v", len(rows), err)
				}
				// Enabled again, nothing comes back by itself.
				w.people.change(marie, func(p *directory.Person) { p.Disabled = false })
				w.refusedWith(w.refresh(rp, a.text("refresh_token")), "invalid_grant")
				if v.here() || !w.active("tool", paul.text("access_token")) {
					t.Error("a session came back, or somebody else's ended")
				}
			})
		})
	}
}

func TestALookFindsWhoeverHoldsTokensAndLeft(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, door, _ := realWorld(t, d)
		l := w.listen()
		rp := w.hearing("rp", l)
		v := w.visitor()
		a := w.redeem(rp, v.signIn(v.get("/oauth2/authorize?"+request("rp", "scope", "openid offline_access").Encode()), "mdupont").location().Get("code"))
		w.must(a, 200)
		v.post("/logout", url.Values{}) // the session has ended; offline_access lives on
		w.deliverAll()
		l.tokens()
		w.people.change(marie, func(p *directory.Person) { p.Disabled = true })
		if gone, err := door.LookForLeavers(t.Context()); gone != 1 || err != nil {
			t.Fatal(gone, err)
		}
		w.deliverAll()
		if sids := w.sidsOf("rp", l.tokens()); len(sids) != 2 || w.active(rp, a.text("access_token")) {
			t.Error("not told, or not ended")
		}
	})
}
