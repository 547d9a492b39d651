package signin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/db/dbtest"

	"pgregory.net/rapid"
)

func TestAccountSaysWhoIAm(t *testing.T) {
	each(t, Config{HelpdeskContact: "assistance@academie.test"}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.get("/account")
		want(t, page, "password")
		page = b.password(page, "mdupont", rightPassword)
		if page.status != http.StatusOK || page.path != "/account" {
			t.Fatalf("%d at %s", page.status, page.path)
		}
		for _, part := range []string{"Marie Dupont", "marie.dupont@academie.test", "tous personnels", "seul navigateur", `href="mailto:assistance@academie.test"`, `action="/logout"`, "Application d’authentification"} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the page lacks %q", part)
			}
		}
		if strings.Contains(page.body, sampleSecret) {
			t.Error("the page shows the secret")
		}
		g.people.change("id-mdupont", func(p *directory.Person) { p.Disabled = true })
		if a := b.get("/account"); a.status != http.StatusForbidden {
			t.Errorf("a disabled person's account: %d", a.status)
		}
	})
}

func TestPagesThatNeedASessionAskForOne(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	for _, route := range []struct{ method, path string }{
		{"GET", "/account"}, {"GET", "/account/"}, {"GET", "/account/signout"}, {"POST", "/account/signout"},
	} {
		var form url.Values
		if route.method == "POST" {
			form = url.Values{}
		}
		want(t, g.browser().do(route.method, route.path, form), "password")
	}
	for _, path := range []string{"/signin", "/signin/factor", "/signin/enrol", "/signin/qr", "/signin?flow=x", "/signin?flow=" + strings.Repeat("a", 31)} {
		if a := g.browser().get(path); a.status != http.StatusGone {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
	for _, path := range []string{"/signin", "/signin/factor", "/signin/enrol", "/signin/switch"} {
		if a := g.browser().post(path, "username", "mdupont", "password", rightPassword, "code", "123456"); a.status != http.StatusGone {
			t.Errorf("POST %s: %d", path, a.status)
		}
	}
	if g.people.asked.Load() != 0 {
		t.Error("a password without a flow reached the directory")
	}
	if a := g.browser().get("/signin/lost"); a.status != http.StatusOK {
		t.Errorf("the page of help: %d", a.status)
	}
}

func TestForeignOriginIsRefused(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	b := g.browser()
	page := b.get("/begin?app=weak")
	for _, evil := range []map[string]string{{"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}} {
		b.headers = evil
		if a := b.password(page, "mdupont", rightPassword); a.status != http.StatusForbidden {
			t.Errorf("%v: %d", evil, a.status)
		}
	}
	if g.people.asked.Load() != 0 {
		t.Error("the password reached the directory")
	}
	if len(g.trail("web.origin")) == 0 {
		t.Error("no trace of the refusal")
	}
}

func TestEveryPageSpeaksBothLanguages(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	g.enrol("id-mdupont")
	for lang, words := range map[string][]string{
		"fr": {"Connexion", "Votre code", "Protégez votre compte", "Retrouver l’accès", "n’est plus valable", "Mon compte", "ne vous est pas ouverte"},
		"en": {"Sign in", "Your code", "Protect your account", "Getting back in", "no longer valid", "My account", "is not open to you"},
	} {
		b := g.browser()
		b.headers["Accept-Language"] = lang
		var pages []answer
		page := b.get("/begin?app=strong")
		pages = append(pages, page)
		page = b.password(page, "mdupont", rightPassword)
		pages = append(pages, page)
		enrol := g.browser()
		enrol.headers["Accept-Language"] = lang
		pages = append(pages, enrol.password(enrol.get("/begin?app=strong"), "plefebvre", rightPassword))
		pages = append(pages, b.get("/signin/lost"))
		pages = append(pages, b.submit(page, "code", "000000"))
		g.advance(time.Minute)
		want(t, b.code(page, "id-mdupont"), "done id-mdupont 2")
		pages = append(pages, b.get("/account"), b.get("/begin?app=direction"))
		for i, p := range pages {
			if !strings.Contains(p.body, words[i]) {
				t.Errorf("%s: %s lacks %q", lang, p.path, words[i])
			}
			if !strings.Contains(p.body, `<html lang="`+lang+`"`) || strings.Contains(p.body, "signin.") && strings.Contains(p.body, ">signin.") {
				t.Errorf("%s: %s is not in its language", lang, p.path)
			}
			if strings.Contains(p.body, "style=") || strings.Contains(p.body, "<script>") || strings.Contains(p.body, "onclick") {
				t.Errorf("%s has inline script or style", p.path)
			}
		}
	}
}

func TestLanguageIsTheChoiceThenTheDirectorysThenTheBrowsers(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	b := g.browser() // asks for French
	page := b.get("/begin?app=strong")
	if !strings.Contains(page.body, "Connexion") {
		t.Fatal("the browser's language")
	}
	if proposed := g.browser().get("/begin?app=strong&locales=en-GB+fr"); !strings.Contains(proposed.body, "Sign in") {
		t.Error("the application's ui_locales")
	}
	page = b.password(page, "ssmith", rightPassword) // prefers English
	if !strings.Contains(page.body, "Protect your account") {
		t.Error("the directory's language")
	}
	chosen := g.browser()
	u, _ := url.Parse(g.server.URL)
	chosen.jar.SetCookies(u, []*http.Cookie{{Name: "beffroi_lang", Value: "fr", Path: "/"}})
	page = chosen.password(chosen.get("/begin?app=strong&locales=en"), "ssmith", rightPassword)
	if !strings.Contains(page.body, "Protégez votre compte") {
		t.Error("the choice")
	}
}

func TestLanguageMayBeChangedOnARefusedForm(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	b := g.browser()
	page := b.get("/begin?app=weak")
	refused := b.password(page, "mdupont", "wrong")
	if !strings.Contains(refused.body, `name="next" value="`+page.path+`"`) {
		t.Error("changing the language leaves the flow")
	}
}

func TestOutcomesAreToldOnlyAfterThePasswordIsProven(t *testing.T) {
	for result, words := range map[directory.Result]string{
		directory.MustChange: "Changez d’abord", directory.Expired: "a expiré", directory.Locked: "bloqué pour le moment",
		directory.Disabled: "compte est fermé", directory.NotNow: "Pas à cette heure",
	} {
		g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
		g.people.outcomes["id-mdupont"] = directory.Outcome{Result: result, Proven: true}
		b := g.browser()
		page := b.get("/begin?app=weak")
		if a := b.password(page, "mdupont", rightPassword); a.status != http.StatusForbidden || !strings.Contains(a.body, words) {
			t.Errorf("%s: %d without %q", result, a.status, words)
		}
		want(t, b.password(page, "mdupont", "not it"), "password")

		g.people.outcomes["id-mdupont"] = directory.Outcome{Result: result}
		silent := b.password(page, "mdupont", rightPassword)
		want(t, silent, "password")
		if strings.Contains(silent.body, words) {
			t.Errorf("%s: told to somebody who proved nothing", result)
		}
		if g.rows("session") != 0 {
			t.Errorf("%s: a session", result)
		}
	}
}

func TestDisabledPersonIsToldSoAfterThePassword(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	b := g.browser()
	page := b.get("/begin?app=weak")
	want(t, b.password(page, "ancien", "not it"), "password")
	if a := b.password(page, "ancien", rightPassword); a.status != http.StatusForbidden || !strings.Contains(a.body, "plus actif") || g.rows("session") != 0 {
		t.Errorf("%d", a.status)
	}
}

func TestDirectoryDownIsSaid(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		b := g.browser()
		page := b.get("/begin?app=weak")
		g.people.down.Store(true)
		for range 6 { // and counts against nobody
			if a := b.password(page, "mdupont", rightPassword); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "annuaire") {
				t.Fatalf("%d", a.status)
			}
		}
		g.people.down.Store(false)
		want(t, b.password(page, "mdupont", rightPassword), "done id-mdupont 1")
	})
}

// TestRow15NoSequenceOfPostsRaisesAssurance sends steps out of order, empty, twice
// and from other flows, and holds every answer that an application gets against
// what the browser really proved. Others were taken past a factor by an empty
// post (CVE-2026-49443) or by a change between two steps (GHSA-wc43-73w7-x2f5).
func TestRow15NoSequenceOfPostsRaisesAssurance(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	g := newRig(t, d, Config{PasswordLimit: 100, FactorLimit: 100, AddressLimit: 1_000_000, MaxFlows: 10_000_000})
	g.enrol("id-mdupont")
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		b := g.browser()
		password, factor := map[string]bool{}, map[string]bool{} // proven in this browser since it was last signed out
		var flows []string
		for range rapid.IntRange(1, 14).Draw(t, "steps") {
			g.advance(time.Minute) // the next code
			flow := "flow=none"
			if len(flows) > 0 {
				flow = rapid.SampledFrom(flows).Draw(t, "flow")
			}
			var a answer
			switch action := rapid.SampledFrom([]string{"begin", "begin", "password", "password", "wrong", "factor", "factor", "enrol", "empty", "get", "qr", "account", "doubled", "switch", "logout"}).Draw(t, "action"); action {
			case "begin":
				a = b.get("/begin?app=" + rapid.SampledFrom([]string{"weak", "strong"}).Draw(t, "app") + "&prompt=" + rapid.SampledFrom([]string{"", "none", "login", SelectAccount}).Draw(t, "prompt") +
					"&level=" + rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, "level asked"))
				if i := strings.Index(a.path, "flow="); i > 0 {
					flows = append(flows, a.path[i:])
				}
			case "password":
				login := rapid.SampledFrom([]string{"mdupont", "plefebvre"}).Draw(t, "login")
				asked := g.people.asked.Load()
				a = b.post("/signin?"+flow, "username", login, "password", rightPassword)
				if g.people.asked.Load() > asked {
					password["id-"+login] = true
				}
			case "wrong":
				a = b.post("/signin?"+flow, "username", "mdupont", "password", "wrong", "code", "123456", "person", "id-mdupont", "level", "2")
			case "factor", "enrol":
				who := rapid.SampledFrom([]string{"id-mdupont", "id-plefebvre"}).Draw(t, "whose code")
				code, err := g.mfa.Code(ctx, who)
				if err != nil {
					code = "123456"
				} else {
					factor[who] = true
				}
				a = b.post("/signin/"+action+"?"+flow, "code", code, "username", "mdupont")
			case "empty":
				a = b.post(rapid.SampledFrom([]string{"/signin?", "/signin/factor?", "/signin/enrol?"}).Draw(t, "where")+flow, "code", "", "password", "", "username", "")
			case "doubled":
				twice := url.Values{"code": {"", "123456"}, "username": {"mdupont", "plefebvre"}, "password": {"wrong", rightPassword}, "level": {"2", "2"}}
				asked := g.people.asked.Load()
				a = b.do(http.MethodPost, rapid.SampledFrom([]string{"/signin?", "/signin/factor?", "/signin/enrol?"}).Draw(t, "where")+flow+"&level=2", twice)
				if g.people.asked.Load() > asked && a.left != nil {
					t.Fatal("the second of two passwords was read")
				}
			case "get":
				a = b.get(rapid.SampledFrom([]string{"/signin?", "/signin/factor?", "/signin/enrol?"}).Draw(t, "where") + flow)
			case "account":
				choice := rapid.SampledFrom([]string{"", anotherAccount, "sid", "the page's"}).Draw(t, "choice")
				if page := b.get("/signin?" + flow); choice == "the page's" {
					_, after, _ := strings.Cut(page.body, `name="account" value="`)
					choice, _, _ = strings.Cut(after, `"`)
				}
				a = b.post("/signin/account?"+flow, "account", choice, "person", "id-mdupont", "level", "2")
			case "qr":
				a = b.get("/signin/qr?" + flow)
			case "switch":
				a = b.post("/signin/switch?" + flow)
			case "logout":
				a = b.post("/logout")
				clear(password)
				clear(factor)
			}
			if a.status >= 500 {
				t.Fatalf("status %d", a.status)
			}
			if a.left == nil || a.left.Query().Has("error") {
				continue
			}
			who, level := a.left.Query().Get("who"), a.left.Query().Get("level")
			if !password[who] {
				t.Fatalf("signed in as %s without the password", who)
			}
			if level == "2" && !factor[who] {
				t.Fatalf("%s has two factors without a code", who)
			}
			// A session may know of a factor that a fresh sign-in did not ask for again; never the other way round.
			n, _ := strconv.Atoi(level)
			if data := g.data(a); Level(n) > data.Level || Level(n) == data.Level && a.left.Query().Get("amr") != strings.Join(data.AMR, " ") || n == 1 && a.left.Query().Get("amr") != "pwd" {
				t.Fatalf("the answer says level %s and %s, the session %+v", level, a.left.Query().Get("amr"), data)
			}
			if strings.HasPrefix(a.left.Query().Get("raw"), "strong") && level != "2" {
				t.Fatalf("the strong application was answered at level %s", level)
			}
		}
	})
}

func TestFreshAsksForAFactorOfLately(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.browser()
		page := b.get("/fresh")
		page = b.password(page, "mdupont", rightPassword)
		want(t, page, "factor")
		if a := b.code(page, "id-mdupont"); a.body != "fresh mdupont" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := b.get("/fresh"); a.body != "fresh mdupont" {
			t.Fatalf("asked twice: %s", a.body)
		}
		g.advance(11 * time.Minute)
		page = b.get("/fresh")
		if got := asks(page); got != "password" && got != "factor" {
			t.Fatalf("%s after eleven minutes", got)
		}
	})
}
