package signin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/audit"
)

func TestSignOutEverywhereEndsEveryBrowserAndEveryHalfMadeSignIn(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		one, two, half, other := g.browser(), g.browser(), g.browser(), g.browser()
		want(t, one.password(one.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, two.password(two.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, other.password(other.get("/begin?app=weak"), "ssmith", rightPassword), "done id-ssmith 1")
		waiting := half.password(half.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, waiting, "factor")

		page := one.get("/account/signout")
		if page.status != http.StatusOK || !strings.Contains(page.body, "2 navigateurs") {
			t.Fatalf("%d\n%s", page.status, page.body)
		}
		if a := one.post("/account/signout"); a.path != "/logout/done" || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.path)
		}
		want(t, one.get("/begin?app=weak"), "password")
		want(t, two.get("/begin?app=weak"), "password")
		if a := half.code(waiting, "id-mdupont"); a.left != nil {
			t.Errorf("a half-made sign-in went on: %s", asks(a))
		}
		want(t, other.get("/begin?app=weak"), "done id-ssmith 1")
		if len(g.ended) != 1 || g.ended[0] != "id-mdupont " {
			t.Errorf("ended %v", g.ended)
		}
		if rows := g.trail("signout.everywhere"); len(rows) != 1 || rows[0].Actor.ID != "id-mdupont" {
			t.Errorf("audit %+v", rows)
		}
	})
}

func TestSignOutEverywhereIsNotOutrunByAStepUp(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		page := b.get("/begin?app=strong")
		want(t, page, "factor")
		// Between reading the session and renewing it.
		g.people.onByID = func() {
			if err := g.service.SignOutEverywhere(context.Background(), audit.Operator("test"), "id-mdupont"); err != nil {
				t.Error(err)
			}
		}
		want(t, b.code(page, "id-mdupont"), "password")
		if n := g.rows("session"); n != 0 {
			t.Errorf("%d sessions outlived the sign-out", n)
		}
	})
}

func TestSignOutsAndStepUpsAtOnceLeaveNoSessionOfBefore(t *testing.T) {
	each(t, Config{FactorLimit: 100, AddressLimit: 1000}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		for range 6 {
			g.advance(time.Minute)
			b := g.browser()
			want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
			page := b.get("/begin?app=strong")
			var all sync.WaitGroup
			all.Go(func() { b.code(page, "id-mdupont") })
			all.Go(func() {
				if err := g.service.SignOutEverywhere(context.Background(), audit.Operator("test"), "id-mdupont"); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			if n := g.rows("session"); n != 0 {
				t.Fatalf("%d sessions outlived the sign-out", n)
			}
		}
	})
}

func TestResetOfFactorsEndsSessions(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		want(t, b.code(b.password(b.get("/begin?app=strong"), "mdupont", rightPassword), "id-mdupont"), "done id-mdupont 2")
		if _, err := g.mfa.Reset(context.Background(), audit.Operator("test"), "id-mdupont", "lost phone"); err != nil {
			t.Fatal(err)
		}
		page := b.get("/begin?app=strong")
		want(t, page, "password")
		want(t, b.password(page, "mdupont", rightPassword), "enrol")
		if len(g.ended) != 1 || g.ended[0] != "id-mdupont " {
			t.Errorf("ended %v", g.ended)
		}
	})
}

func TestLogoutEndsThisBrowserOnly(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		one, two := g.browser(), g.browser()
		first := one.password(one.get("/begin?app=weak"), "mdupont", rightPassword)
		want(t, two.password(two.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		if a := one.post("/logout"); a.path != "/logout/done" {
			t.Fatalf("%s", asks(a))
		}
		want(t, one.get("/begin?app=weak"), "password")
		want(t, two.get("/begin?app=weak"), "done id-mdupont 1")
		if len(g.ended) != 1 || g.ended[0] != "id-mdupont "+first.left.Query().Get("sid") {
			t.Errorf("ended %v", g.ended)
		}
		if a := one.post("/logout"); a.path != "/logout/done" {
			t.Fatalf("signing out twice: %s", asks(a))
		}
	})
}

func TestFailingHookKeepsTheSession(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		g.service.OnEnd(func(context.Context, string, string) error { return errors.New("tokens cannot be revoked") })
		if a := b.post("/logout"); a.status != http.StatusInternalServerError {
			t.Fatalf("%s", asks(a))
		}
		want(t, b.get("/begin?app=weak"), "done id-mdupont 1")
	})
}
