package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func each(t *testing.T, cfg Config, fn func(t *testing.T, g *rig)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { fn(t, newRig(t, d, cfg)) })
}

func TestPasswordAndCodeOpenAnApplication(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.get("/begin?app=strong&state=s1&hint=mdupont")
		want(t, page, "password")
		for _, part := range []string{`value="mdupont"`, "<strong>GLPI</strong>", `autocomplete="username webauthn"`, `autocomplete="current-password"`, `name="username"`, `name="password"`} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the page lacks %s", part)
			}
		}
		if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' "+appOrigin+";") {
			t.Errorf("the form may not lead to the application: %s", csp)
		}
		page = b.password(page, "MDupont", rightPassword)
		want(t, page, "factor")
		if !strings.Contains(page.body, `autocomplete="one-time-code"`) || !strings.Contains(page.body, `inputmode="numeric"`) {
			t.Error("the code's field is not what phones understand")
		}
		page = b.code(page, "id-mdupont")
		want(t, page, "done id-mdupont 2")
		q := page.left.Query()
		if q.Get("amr") != "pwd otp mfa" || q.Get("raw") != "strong s1" || page.status != http.StatusSeeOther {
			t.Errorf("%d %v", page.status, q)
		}
		if rows := g.trail("signin"); len(rows) != 1 || rows[0].Actor.ID != "id-mdupont" || rows[0].Application != "strong" || rows[0].Detail["acr"] != ACR(TwoFactors) {
			t.Errorf("audit %+v", rows)
		}
		// The next application asks nothing.
		want(t, b.get("/begin?app=weak"), "done id-mdupont 2")
	})
}

func TestWeakApplicationIsContentWithThePassword(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.password(b.get("/begin?app=weak"), "mdupont", rightPassword)
		want(t, page, "done id-mdupont 1")
		if page.left.Query().Get("amr") != "pwd" {
			t.Error(page.left)
		}
	})
}

func TestStepUpAsksForTheFactorOnly(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		first := b.password(b.get("/begin?app=weak"), "mdupont", rightPassword)
		want(t, first, "done id-mdupont 1")
		sid := first.left.Query().Get("sid")
		// A session never skips the second factor, however it is asked for.
		for _, path := range []string{"/begin?app=strong", "/begin?app=weak&level=2"} {
			want(t, b.get(path), "factor")
		}
		cookie := b.sessionCookie()
		page := b.get("/begin?app=strong")
		up := b.code(page, "id-mdupont")
		want(t, up, "done id-mdupont 2")
		if up.left.Query().Get("sid") != sid {
			t.Error("stepping up changed the session's public id")
		}
		if b.sessionCookie() == cookie {
			t.Error("stepping up kept the session's secret")
		}
		// Never downgraded: an application that asks less, even for a fresh
		// password, leaves the factor in place.
		g.advance(time.Minute)
		want(t, b.password(b.get("/begin?app=weak&prompt=login"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, b.get("/begin?app=strong"), "done id-mdupont 2")
	})
}

func (b *browser) sessionCookie() string {
	u, _ := url.Parse(b.g.server.URL)
	for _, c := range b.jar.Cookies(u) {
		if c.Name == b.g.sessions.CookieName() {
			return c.Value
		}
	}
	return ""
}

func TestFirstSignInEnrolsAFactor(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "plefebvre", rightPassword)
		want(t, page, "enrol")
		if !strings.Contains(page.body, `href="otpauth://totp/`) || !strings.Contains(page.body, `name="code"`) || !strings.Contains(page.body, `src="/signin/qr?`) {
			t.Fatalf("the enrolment lacks its parts:\n%s", page.body)
		}
		again := b.get(page.path)
		if again.body != page.body && secretOn(again) != secretOn(page) {
			t.Fatal("reloading changed the secret")
		}
		flow := page.path[strings.Index(page.path, "flow="):]
		picture := b.get("/signin/qr?" + flow)
		if picture.status != http.StatusOK || picture.header.Get("Content-Type") != "image/png" || !strings.HasPrefix(picture.body, "\x89PNG") {
			t.Fatalf("QR code: %d %s", picture.status, picture.header.Get("Content-Type"))
		}
		want(t, b.submit(page, "code", "000000"), "enrol")
		want(t, b.submit(page, "code", ""), "enrol")
		done := b.code(page, "id-plefebvre")
		want(t, done, "done id-plefebvre 2")
		if n, _ := g.mfa.Count(context.Background(), "id-plefebvre"); n != 1 {
			t.Errorf("%d factors", n)
		}
		// The picture is gone with the secret.
		if after := b.get("/signin/qr?" + flow); after.status != http.StatusNotFound {
			t.Errorf("QR code after the enrolment: %d", after.status)
		}
	})
}

func secretOn(a answer) string {
	_, rest, _ := strings.Cut(a.body, "secret=")
	s, _, _ := strings.Cut(rest, "&")
	return s
}

func TestSecretSeenInOneBrowserIsNotEnrolledInAnother(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		thief, owner := g.browser(), g.browser()
		seen := secretOn(thief.password(thief.get("/begin?app=strong"), "plefebvre", rightPassword))
		page := owner.password(owner.get("/begin?app=strong"), "plefebvre", rightPassword)
		if seen == "" || secretOn(page) == seen {
			t.Fatalf("the owner is offered the secret that another browser saw")
		}
	})
}

func TestOldSessionDoesNotEnrolWithoutThePassword(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		want(t, b.password(b.get("/begin?app=weak"), "plefebvre", rightPassword), "done id-plefebvre 1")
		g.advance(time.Minute)
		page := b.get("/begin?app=strong")
		want(t, page, "password")
		if !strings.Contains(page.body, `value="plefebvre"`) {
			t.Error("the page forgot who is signed in")
		}
		want(t, b.password(page, "plefebvre", rightPassword), "enrol")
	})
}

func TestPromptNoneShowsNoPage(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		want(t, b.get("/begin?app=weak&prompt=none"), "error login_required")
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, b.get("/begin?app=weak&prompt=none"), "done id-mdupont 1")
		want(t, b.get("/begin?app=strong&prompt=none"), "error interaction_required")
		want(t, b.get("/begin?app=direction&prompt=none"), "error access_denied")
		g.advance(2 * time.Second)
		want(t, b.get("/begin?app=weak&prompt=none&max_age=1"), "error login_required")
		if n := g.rows("signin_flow"); n != 1 {
			t.Errorf("%d flows stored, want the one that needed a page", n)
		}
	})
}

func TestFreshSignInIsAskedForAndKeepsTheSession(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		first := b.password(b.get("/begin?app=weak"), "mdupont", rightPassword)
		g.advance(time.Minute)
		for _, path := range []string{"/begin?app=weak&prompt=login", "/begin?app=weak&max_age=0", "/begin?app=weak&max_age=59"} {
			page := b.get(path)
			want(t, page, "password")
			done := b.password(page, "mdupont", rightPassword)
			want(t, done, "done id-mdupont 1")
			if done.left.Query().Get("sid") != first.left.Query().Get("sid") {
				t.Error("the same person's fresh sign-in began another session")
			}
			if at := g.data(done).AuthTime; !at.Equal(g.now()) {
				t.Errorf("auth_time %s, want %s", at, g.now())
			}
			g.advance(time.Minute)
		}
		want(t, b.get("/begin?app=weak&max_age=60"), "done id-mdupont 1")
		if len(g.ended) != 0 {
			t.Errorf("ended %v", g.ended)
		}
	})
}

func TestAnotherPersonInTheSameBrowserEndsTheFirstSession(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		first := b.code(b.password(b.get("/begin?app=strong"), "mdupont", rightPassword), "id-mdupont")
		want(t, first, "done id-mdupont 2")
		g.advance(time.Second)
		second := b.password(b.get("/begin?app=weak&prompt=login"), "ssmith", rightPassword)
		want(t, second, "done id-ssmith 1") // and not with Marie's factor
		if len(g.ended) != 1 || g.ended[0] != "id-mdupont "+first.left.Query().Get("sid") {
			t.Errorf("ended %v", g.ended)
		}
		if n := g.rows("session"); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

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

func TestReplayedCodeIsRefused(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		one, two := g.browser(), g.browser()
		a, b := one.password(one.get("/begin?app=strong"), "mdupont", rightPassword), two.password(two.get("/begin?app=strong"), "mdupont", rightPassword)
		code, err := g.mfa.Code(context.Background(), "id-mdupont")
		if err != nil {
			t.Fatal(err)
		}
		want(t, one.submit(a, "code", code), "done id-mdupont 2")
		refused := two.submit(b, "code", code)
		want(t, refused, "factor")
		if !strings.Contains(refused.body, "déjà servi") {
			t.Error("the page does not say why")
		}
		if rows := g.trail("signin.factor"); len(rows) != 1 || rows[0].Detail["reason"] != "used" {
			t.Errorf("audit %+v", rows)
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

func TestNothingIsKeptWhenTheProtocolFails(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		code, err := g.mfa.Code(context.Background(), "id-mdupont")
		if err != nil {
			t.Fatal(err)
		}
		g.protocol.broken.Store(true)
		if a := b.submit(page, "code", code); a.status != http.StatusInternalServerError || b.sessionCookie() != "" {
			t.Fatalf("%s, cookie %q", asks(a), b.sessionCookie())
		}
		if g.rows("session") != 0 || len(g.trail("signin")) != 0 {
			t.Error("half a sign-in")
		}
		g.protocol.broken.Store(false)
		want(t, b.submit(page, "code", code), "done id-mdupont 2") // the code was not spent
	})
}

func TestRefusedApplicationSaysWhy(t *testing.T) {
	each(t, Config{HelpdeskContact: "03 20 00 00 00", GroupNames: map[string]map[string]string{"chefs-etablissement": {"fr": "chefs d’établissement"}}}, func(t *testing.T, g *rig) {
		b := g.browser()
		refused := b.password(b.get("/begin?app=direction"), "plefebvre", rightPassword)
		if refused.status != http.StatusForbidden || refused.left != nil {
			t.Fatalf("%s", asks(refused))
		}
		for _, part := range []string{"chefs d’établissement", "Pilotage", "plefebvre", "&lt;script&gt;", `href="tel:0320000000"`, "/signin/switch?flow="} {
			if !strings.Contains(refused.body, part) {
				t.Errorf("the page lacks %q", part)
			}
		}
		if rows := g.trail("signin.gate"); len(rows) != 1 || rows[0].Detail["reason"] != NotInGroup || rows[0].Target != "id-plefebvre" {
			t.Errorf("audit %+v", rows)
		}
		// Signed in all the same, and refused again at once.
		want(t, b.get("/begin?app=weak"), "done id-plefebvre 1")
		again := b.get("/begin?app=direction")
		if again.status != http.StatusForbidden || !strings.Contains(again.body, "/signin/switch?flow=") {
			t.Fatalf("%s", asks(again))
		}
		// Another account, without going back to the application.
		g.people.change("id-mdupont", func(p *directory.Person) { p.Groups = []string{"Chefs-Etablissement"} })
		_, rest, _ := strings.Cut(again.body, `action="/signin/switch?`)
		flow, _, _ := strings.Cut(rest, `"`)
		page := b.post("/signin/switch?" + flow)
		want(t, page, "password")
		want(t, b.password(page, "mdupont", rightPassword), "done id-mdupont 1")
	})
}

func TestGateAdmitsOnlyWhoMayEnterNow(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		ctx := context.Background()
		gate, open := g.service.Gate(), Application{ID: "open"}
		heads := Application{ID: "heads", Policy: Policy{Groups: []string{"chefs-etablissement", "helpdesk"}}}
		b := g.browser()
		sid := b.password(b.get("/begin?app=weak"), "mdupont", rightPassword).left.Query().Get("sid")

		check := func(name, person string, app Application, sid, reason string) {
			t.Helper()
			got, err := gate.Admit(ctx, person, app, sid)
			if reason == "" {
				if err != nil || got.ID != person {
					t.Errorf("%s: %v %v", name, got.ID, err)
				}
				return
			}
			if no := Refused(err); no == nil || no.Reason != reason {
				t.Errorf("%s: %v, want %s", name, err, reason)
			}
		}
		check("in the directory", "id-mdupont", open, "", "")
		check("with a session", "id-mdupont", open, sid, "")
		check("in one of the groups", "id-mdupont", heads, sid, "")
		check("in none of the groups", "id-ssmith", heads, "", NotInGroup)
		check("a group without a name admits nobody", "id-ssmith", Application{Policy: Policy{Groups: []string{""}}}, "", NotInGroup)
		check("disabled", "id-gone", open, "", Disabled)
		check("unknown", "id-nobody", open, "", Gone)
		check("nobody", "", open, "", Gone)
		check("another person's session", "id-ssmith", open, sid, SessionEnded)
		check("no such session", "id-mdupont", open, "0123456789012345678901", SessionEnded)

		g.people.change("id-mdupont", func(p *directory.Person) { p.Groups = nil })
		check("left the group", "id-mdupont", heads, sid, NotInGroup)
		g.people.down.Store(true)
		if _, err := gate.Admit(ctx, "id-mdupont", open, ""); err == nil || Refused(err) != nil {
			t.Errorf("with the directory down: %v", err)
		}
		g.people.down.Store(false)

		proven := g.now()
		if _, err := gate.AdmitOffline(ctx, "id-mdupont", open, proven); err != nil {
			t.Errorf("offline: %v", err)
		}
		g.advance(time.Second)
		if err := g.service.SignOutEverywhere(ctx, audit.Operator("test"), "id-mdupont"); err != nil {
			t.Fatal(err)
		}
		check("signed out everywhere", "id-mdupont", open, sid, SessionEnded)
		if _, err := gate.AdmitOffline(ctx, "id-mdupont", open, proven); Refused(err) == nil {
			t.Errorf("offline, proven before the sign-out everywhere: %v", err)
		}
		g.advance(time.Second)
		if _, err := gate.AdmitOffline(ctx, "id-mdupont", open, g.now()); err != nil {
			t.Errorf("offline, proven after it: %v", err)
		}
		g.advance(13 * time.Hour)
		check("expired", "id-mdupont", open, sid, SessionEnded)
	})
}

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
