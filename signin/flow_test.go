package signin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/db/dbtest"
)

func TestTwoTabsSigningInAtOnceBothWork(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		// Both tabs ask before either has a cookie.
		one, two := b.get("/begin?app=strong&state=one"), b.get("/begin?app=strong&state=two")
		one = b.password(one, "mdupont", rightPassword)
		two = b.password(two, "mdupont", rightPassword)
		want(t, one, "factor")
		want(t, two, "factor")
		done := b.code(one, "id-mdupont")
		want(t, done, "done id-mdupont 2")
		// The second tab need not give another code: it goes on with the session.
		late := b.code(two, "id-mdupont")
		want(t, late, "done id-mdupont 2")
		if late.left.Query().Get("raw") != "strong two" {
			t.Errorf("the second tab answered %s", late.left)
		}
		if late.left.Query().Get("sid") != done.left.Query().Get("sid") {
			t.Error("two sessions")
		}
		if n := g.rows("session"); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestTabsOpenedTogetherKeepTheirOwnCookies(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		pages := make([]answer, 5)
		var all sync.WaitGroup
		for i := range pages {
			all.Go(func() { pages[i] = b.get("/begin?app=weak") })
		}
		all.Wait()
		for _, page := range pages {
			want(t, b.password(page, "mdupont", rightPassword), "done id-mdupont 1")
		}
	})
}

func TestManyOpenTabsDoNotFillTheCookieJar(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	b := g.browser()
	var last answer
	for range 40 {
		last = b.get("/begin?app=weak")
		g.advance(time.Second)
	}
	u, _ := url.Parse(g.server.URL)
	if n := len(b.jar.Cookies(u)); n > maxCookies {
		t.Errorf("%d cookies", n)
	}
	want(t, b.password(last, "mdupont", rightPassword), "done id-mdupont 1")
}

func TestStolenFlowIsUselessInAnotherBrowser(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b, thief := g.browser(), g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, page, "factor")
		flow := page.path[strings.Index(page.path, "flow="):]
		for _, path := range []string{"/signin?", "/signin/factor?", "/signin/enrol?", "/signin/qr?"} {
			if a := thief.get(path + flow); a.status != http.StatusForbidden {
				t.Errorf("GET %s: %d", path, a.status)
			}
		}
		code, err := g.mfa.Code(context.Background(), "id-mdupont")
		if err != nil {
			t.Fatal(err)
		}
		if a := thief.post("/signin/factor?"+flow, "code", code); a.status != http.StatusForbidden {
			t.Errorf("POST of the code: %d", a.status)
		}
		if a := thief.post("/signin?"+flow, "username", "ssmith", "password", rightPassword); a.status != http.StatusForbidden {
			t.Errorf("POST of a password: %d", a.status)
		}
		if g.people.asked.Load() != 1 {
			t.Error("the thief's password reached the directory")
		}
		if len(g.trail("signin.browser")) == 0 {
			t.Error("no trace")
		}
		want(t, b.submit(page, "code", code), "done id-mdupont 2")
	})
}

func TestPlantedFlowCookieDoesNotSeeWhatItsVictimProves(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		attacker := g.browser()
		page := attacker.get("/begin?app=strong")
		u, _ := url.Parse(g.server.URL)
		victim := g.browser()
		victim.jar.SetCookies(u, attacker.jar.Cookies(u)) // planted, with the address of the flow
		want(t, victim.password(page, "plefebvre", rightPassword), "enrol")
		// The attacker knows the flow and the first half of its cookie.
		want(t, attacker.get(page.path), "password")
		flow := page.path[strings.Index(page.path, "flow="):]
		if a := attacker.get("/signin/qr?" + flow); a.status != http.StatusNotFound {
			t.Errorf("the victim's secret: %d", a.status)
		}
		code, err := g.mfa.Code(context.Background(), "id-plefebvre")
		if err != nil {
			t.Fatal(err)
		}
		want(t, attacker.post("/signin/enrol?"+flow, "code", code), "password")
	})
}

func TestFlowExpiresToTheSecond(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.get("/begin?app=strong")
		g.advance(15*time.Minute - time.Second)
		factor := b.password(page, "mdupont", rightPassword)
		want(t, factor, "factor")
		g.advance(time.Second)
		if a := b.code(factor, "id-mdupont"); a.status != http.StatusGone {
			t.Fatalf("an expired flow: %s", asks(a))
		}
		if g.rows("session") != 0 {
			t.Error("an expired flow began a session")
		}
		if n, err := g.service.Sweep(context.Background()); n != 1 || err != nil || g.rows("signin_flow") != 0 {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

func TestManyBrowsersWithOneCodeBeginOneSession(t *testing.T) {
	each(t, Config{FactorLimit: 100}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		browsers := make([]*browser, 12)
		pages := make([]answer, len(browsers))
		for i := range browsers {
			browsers[i] = g.browser()
			pages[i] = browsers[i].password(browsers[i].get("/begin?app=strong"), "mdupont", rightPassword)
		}
		code, err := g.mfa.Code(context.Background(), "id-mdupont")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range browsers {
			all.Go(func() { browsers[i].submit(pages[i], "code", code) })
		}
		all.Wait()
		if n := g.rows("session"); n != 1 {
			t.Errorf("%d sessions of one code", n)
		}
	})
}

func TestOneProofBeginsOneSession(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "plefebvre", rightPassword)
		code, err := g.mfa.Code(context.Background(), "id-plefebvre")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				same := g.browser()
				u, _ := url.Parse(g.server.URL)
				same.jar.SetCookies(u, b.jar.Cookies(u))
				same.submit(page, "code", code)
			})
		}
		all.Wait()
		if n := g.rows("session"); n != 1 {
			t.Errorf("%d sessions", n)
		}
		if n, _ := g.mfa.Count(context.Background(), "id-plefebvre"); n != 1 {
			t.Errorf("%d factors", n)
		}
	})
}

func TestApplicationRemovedWhileSigningIn(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.get("/begin?app=weak")
		g.protocol.mu.Lock()
		delete(g.protocol.apps, "weak")
		g.protocol.mu.Unlock()
		if a := b.password(page, "mdupont", rightPassword); a.status != http.StatusForbidden || g.people.asked.Load() != 0 {
			t.Fatalf("%s", asks(a))
		}
	})
}

func TestPolicyRaisedWhileSigningInIsObeyed(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.get("/begin?app=weak")
		g.protocol.mu.Lock()
		app := g.protocol.apps["weak"]
		app.Policy.Assurance = TwoFactors
		g.protocol.apps["weak"] = app
		g.protocol.mu.Unlock()
		want(t, b.password(page, "mdupont", rightPassword), "factor")
	})
}

func TestPolicyLoweredWhileSigningInEndsTheFlow(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, page, "factor")
		g.protocol.mu.Lock()
		app := g.protocol.apps["strong"]
		app.Policy.Assurance = OneFactor
		g.protocol.apps["strong"] = app
		g.protocol.mu.Unlock()
		want(t, b.get(page.path), "done id-mdupont 1")
		if n := g.rows("session"); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestFlowsAreCapped(t *testing.T) {
	each(t, Config{MaxFlows: 100}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		proven := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, proven, "factor")
		for range 250 {
			g.advance(time.Millisecond)
			g.browser().get("/begin?app=weak")
		}
		if n := g.rows("signin_flow"); n > 100 {
			t.Errorf("%d flows", n)
		}
		want(t, b.code(proven, "id-mdupont"), "done id-mdupont 2") // what was proven is not dropped for strangers
	})
}
