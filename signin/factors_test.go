package signin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
	"beffroi/mfa/mfatest"
)

func (g *rig) recovery(person string) []string {
	g.t.Helper()
	codes, err := g.mfa.NewRecoveryCodes(context.Background(), audit.System("test"), person)
	if err != nil {
		g.t.Fatal(err)
	}
	return codes
}

func (g *rig) pass(person string, o mfa.PassOptions) string {
	g.t.Helper()
	o.Reason = "test"
	code, err := g.mfa.IssuePass(context.Background(), audit.Operator("test"), person, o)
	if err != nil {
		g.t.Fatal(err)
	}
	return code
}

// factor answers the page of a factor in a chosen way.
func (b *browser) factor(a answer, by, code string, more ...string) answer {
	b.g.t.Helper()
	return b.post("/signin/factor?"+flowOf(a), append([]string{"by", by, "code", code}, more...)...)
}

func TestOneOfAHundredPostsOfACodeGetsIn(t *testing.T) {
	each(t, Config{FactorLimit: 100, AddressLimit: 1000, PasswordLimit: 100}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		recovery := g.recovery("id-mdupont")[0]
		for by, code := range map[string]func() string{
			"totp": func() string {
				g.advance(31 * time.Second)
				code, err := g.mfa.Code(context.Background(), "id-mdupont")
				if err != nil {
					t.Fatal(err)
				}
				return code
			},
			"recovery": func() string { return recovery },
			"pass":     func() string { return g.pass("id-mdupont", mfa.PassOptions{Life: time.Hour, Once: true}) },
		} {
			browsers, pages := make([]*browser, 100), make([]answer, 100)
			for i := range browsers {
				browsers[i] = g.browser()
				pages[i] = browsers[i].password(browsers[i].get("/begin?app=strong"), "mdupont", rightPassword)
				want(t, pages[i], "factor")
			}
			typed := code()
			var in atomic.Int64
			var all sync.WaitGroup
			for i, b := range browsers {
				all.Go(func() {
					if strings.HasPrefix(asks(b.factor(pages[i], by, typed)), "done") {
						in.Add(1)
					}
				})
			}
			all.Wait()
			if in.Load() != 1 {
				t.Errorf("%s: %d got in", by, in.Load())
			}
		}
	})
}

func TestRecoveryCodeStandsForALostPhone(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		codes := g.recovery("id-mdupont")
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, page, "factor")
		shown := b.get("/signin/factor?" + flowOf(page) + "&by=recovery")
		if !strings.Contains(shown.body, `name="by" value="recovery"`) || !strings.Contains(shown.body, "by=totp") {
			t.Fatal("the page of recovery codes")
		}
		want(t, b.factor(page, "recovery", "0000-0000-0000-0000"), "factor")
		want(t, b.factor(page, "totp", codes[0]), "factor") // not what it is for
		want(t, b.factor(page, "recovery", strings.ToLower(codes[0])), "done id-mdupont 2")
		second := g.browser()
		page = second.password(second.get("/begin?app=strong"), "mdupont", rightPassword)
		if a := second.factor(page, "recovery", codes[0]); asks(a) != "factor" || !strings.Contains(a.body, "déjà servi") {
			t.Errorf("a spent code: %s", asks(a))
		}
	})
}

func TestPassForEnrollingOpensNothingElse(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.usePasskeys(mfa.PasskeyConfig{})
		code := g.pass("id-ssmith", mfa.PassOptions{EnrolOnly: true})
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "ssmith", rightPassword)
		want(t, page, "factor")
		if !strings.Contains(page.body, `name="by" value="pass"`) {
			t.Fatal("the pass is not asked for")
		}
		want(t, b.post("/signin/enrol?"+flowOf(page), "code", "123456"), "factor") // not before the pass
		page = b.factor(page, "pass", code)
		want(t, page, "enrol")
		want(t, b.get("/begin?app=strong"), "password") // no session, nor another flow
		want(t, b.post("/signin/factor?"+flowOf(page), "by", "pass", "code", code), "enrol")
		key := mfatest.New(t, passkeyOrigin)
		want(t, b.post("/signin/enrol/passkey?"+flowOf(page), "answer", key.Create(b.options(page))), "done id-ssmith 3")
		if held, _ := g.mfa.Held(context.Background(), "id-ssmith"); held[mfa.Pass] != 0 {
			t.Error("the pass outlived what it was for")
		}
	})
}

func TestPassForADayOpensWhatTwoFactorsOpen(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	g.usePasskeys(mfa.PasskeyConfig{})
	g.enrol("id-mdupont")
	code := g.pass("id-mdupont", mfa.PassOptions{Life: time.Hour})
	b := g.browser()
	page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
	want(t, b.factor(page, "pass", code), "done id-mdupont 2")
	want(t, g.browser().factor(page, "pass", code), "status 403")
	// It is a proof of lately: on it the person makes a factor that resists phishing.
	want(t, b.get("/begin?app=strong&level=3"), "enrol")
	g.advance(61 * time.Minute)
	late := g.browser()
	page = late.password(late.get("/begin?app=strong"), "mdupont", rightPassword)
	if strings.Contains(page.body, "by=pass") {
		t.Error("a pass that has ended is asked for")
	}
}

func TestTrustedBrowserIsAskedForThePasswordOnly(t *testing.T) {
	each(t, Config{Trust: 30 * 24 * time.Hour}, func(t *testing.T, g *rig) {
		g.usePasskeys(mfa.PasskeyConfig{})
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		if !strings.Contains(page.body, "30 jours") {
			t.Fatal("trust is not offered")
		}
		code, err := g.mfa.Code(context.Background(), "id-mdupont")
		if err != nil {
			t.Fatal(err)
		}
		want(t, b.factor(page, "totp", code, "trust", "1"), "done id-mdupont 2")
		b.post("/logout")

		done := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, done, "done id-mdupont 2")
		if amr := done.left.Query().Get("amr"); amr != "pwd mfa" {
			t.Errorf("amr %q", amr)
		}
		// Nothing fresh, and nothing better, rests on it.
		g.advance(time.Hour)
		for _, query := range []string{"app=strong&prompt=login", "app=strong&max_age=60"} {
			page := b.get("/begin?" + query)
			want(t, page, "password")
			want(t, b.password(page, "mdupont", rightPassword), "factor")
		}
		want(t, b.get("/fresh"), "factor")
		want(t, b.get("/begin?app=strong&level=3"), "factor")
		// Another person in this browser, and another browser, are asked.
		g.enrol("id-ssmith")
		b.post("/logout")
		want(t, b.password(b.get("/begin?app=strong"), "ssmith", rightPassword), "factor")
		stranger := g.browser()
		want(t, stranger.password(stranger.get("/begin?app=strong"), "mdupont", rightPassword), "factor")
		// Signed out everywhere, the trust has gone.
		if err := g.service.SignOutEverywhere(context.Background(), audit.Person("id-mdupont", "mdupont"), "id-mdupont"); err != nil {
			t.Fatal(err)
		}
		want(t, b.password(b.get("/begin?app=strong"), "mdupont", rightPassword), "factor")
	})
}

func TestCopiedTrustEndsForBoth(t *testing.T) {
	each(t, Config{Trust: 30 * 24 * time.Hour}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b, thief := g.browser(), g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		code, err := g.mfa.Code(context.Background(), "id-mdupont")
		if err != nil {
			t.Fatal(err)
		}
		want(t, b.factor(page, "totp", code, "trust", "1"), "done id-mdupont 2")
		u, _ := url.Parse(g.server.URL)
		for _, c := range b.jar.Cookies(u) {
			if c.Name == "beffroi_device" {
				thief.jar.SetCookies(u, []*http.Cookie{c})
			}
		}
		g.advance(time.Minute)
		want(t, thief.password(thief.get("/begin?app=strong"), "mdupont", rightPassword), "done id-mdupont 2")
		g.advance(time.Minute)
		b.post("/logout")
		want(t, b.password(b.get("/begin?app=strong"), "mdupont", rightPassword), "factor")
		thief.post("/logout")
		want(t, thief.password(thief.get("/begin?app=strong"), "mdupont", rightPassword), "factor")
		if len(g.trail("mfa.device.theft")) != 1 {
			t.Error("no trace of the theft")
		}
	})
}

func TestTrustIsOfferedOnlyWhereARuleGivesIt(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{Trust: 30 * 24 * time.Hour, Rules: []Rule{{Name: "direction", Applications: []string{"strong"}, NoTrust: true}}})
	g.enrol("id-mdupont")
	b := g.browser()
	page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
	if strings.Contains(page.body, `name="trust"`) {
		t.Error("offered")
	}
	code, _ := g.mfa.Code(context.Background(), "id-mdupont")
	want(t, b.factor(page, "totp", code, "trust", "1"), "done id-mdupont 2")
	u, _ := url.Parse(g.server.URL)
	for _, c := range b.jar.Cookies(u) {
		if c.Name == "beffroi_device" {
			t.Error("trusted all the same")
		}
	}
}

func TestRow36OrdinarySignInsNeverCountAsGuesses(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		for range 8 { // twice the limit
			b := g.browser()
			page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
			b.get(page.path)
			b.get("/signin/lost?" + flowOf(page))
			g.advance(31 * time.Second)
			want(t, b.code(page, "id-mdupont"), "done id-mdupont 2")
		}
		half := g.browser()
		half.password(half.get("/begin?app=strong"), "mdupont", rightPassword) // and left there
		state, err := g.service.LockState(context.Background(), "mdupont")
		if err != nil || state != (LockState{}) {
			t.Errorf("%+v, %v", state, err)
		}
	})
}

func TestRow37AHookThatFailsNeitherOpensNorHalfOpens(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		broken := true
		g.mfa.OnChange(func(context.Context, mfa.Change) error {
			if broken {
				return context.DeadlineExceeded
			}
			return nil
		})
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "plefebvre", rightPassword)
		code, err := g.mfa.Code(context.Background(), "id-plefebvre")
		if err != nil {
			t.Fatal(err)
		}
		if a := b.submit(page, "code", code); a.left != nil || a.status < 500 {
			t.Fatalf("%s", asks(a))
		}
		if n, _ := g.mfa.Count(context.Background(), "id-plefebvre"); n != 0 || g.rows("session") != 0 {
			t.Errorf("%d factors, %d sessions", n, g.rows("session"))
		}
		broken = false
		want(t, b.submit(page, "code", code), "done id-plefebvre 2")
	})
}
