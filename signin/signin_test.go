package signin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

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
			if at := g.data(done).authTime(); !at.Equal(g.now()) {
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
