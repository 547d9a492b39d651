package signin

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
	"beffroi/mfa/mfatest"

	"github.com/pquerna/otp/totp"
)

// signed is a browser in which the person has just proven password and code.
func (g *rig) signed(person, login string) *browser {
	g.t.Helper()
	b := g.browser()
	page := b.password(b.get("/begin?app=strong"), login, rightPassword)
	if got := asks(page); got != "factor" {
		g.t.Fatalf("%s for %s", got, login)
	}
	g.advance(31 * time.Second)
	want(g.t, b.code(page, person), "done "+person+" 2")
	return b
}

func TestPasskeyIsMadeNamedAndRemovedOnTheAccountPage(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.usePasskeys(mfa.PasskeyConfig{})
		g.enrol("id-mdupont")
		b := g.signed("id-mdupont", "mdupont")
		page := b.get("/account/passkeys/new")
		if !strings.Contains(page.body, `data-options="/account/passkeys/options"`) {
			t.Fatal(page.body)
		}
		key := mfatest.New(t, passkeyOrigin)
		answer := key.Create([]byte(b.get("/account/passkeys/options").body))
		made := b.post("/account/passkeys/new", "answer", answer)
		if made.path != "/account?done=passkey" || !strings.Contains(made.body, "sans mot de passe") {
			t.Fatalf("%d at %s", made.status, made.path)
		}
		if a := b.post("/account/passkeys/new", "answer", answer); a.status != http.StatusUnprocessableEntity {
			t.Errorf("the same answer again: %d", a.status)
		}
		id := regexp.MustCompile(`/account/factors/([\w-]+)`).FindStringSubmatch(made.body)[1] // the strongest stands first
		if a := b.post("/account/factors/"+id, "name", "  mon ordinateur  "); !strings.Contains(a.body, "mon ordinateur") {
			t.Errorf("renamed: %d", a.status)
		}
		if a := b.post("/account/factors/"+id, "name", " "); a.status != http.StatusUnprocessableEntity {
			t.Errorf("an empty name: %d", a.status)
		}

		// Nobody else touches it, and nobody who came in with a password alone.
		g.enrol("id-ssmith")
		other := g.signed("id-ssmith", "ssmith")
		for _, path := range []string{"/account/factors/" + id, "/account/factors/" + id + "/remove"} {
			if a := other.post(path, "name", "x"); a.status != http.StatusNotFound {
				t.Errorf("somebody else's at %s: %d", path, a.status)
			}
		}
		weak := g.browser()
		want(t, weak.password(weak.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
		want(t, weak.post("/account/factors/"+id+"/remove"), "factor")
		g.advance(31 * time.Minute)
		want(t, b.post("/account/factors/"+id+"/remove"), "factor")
		if held, _ := g.mfa.Held(context.Background(), "id-mdupont"); held[mfa.Passkey] != 1 {
			t.Fatalf("%v", held)
		}
		fresh := g.signed("id-mdupont", "mdupont")
		if a := fresh.post("/account/factors/" + id + "/remove"); a.path != "/account?done=removed" {
			t.Errorf("%d at %s", a.status, a.path)
		}
		again := g.browser()
		late := again.get("/begin?app=strong")
		want(t, again.post("/signin/passkey?"+flowOf(late), "answer", key.Get(again.options(late))), "password")
	})
}

func TestRow16NoPageOfTheAccountChangesAFactorWithoutAFreshOne(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	g.usePasskeys(mfa.PasskeyConfig{})
	g.enrol("id-mdupont")
	b := g.signed("id-mdupont", "mdupont")
	g.advance(31 * time.Minute)
	before, err := g.mfa.Factors(context.Background(), "id-mdupont")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range []string{
		"GET /account/factors/" + before[0].ID, "POST /account/factors/" + before[0].ID, "POST /account/factors/" + before[0].ID + "/remove",
		"GET /account/passkeys/new", "GET /account/passkeys/options", "POST /account/passkeys/new", "GET /account/totp/new", "GET /account/totp/qr", "POST /account/totp/new",
		"GET /account/recovery", "POST /account/recovery", "POST /account/recovery/noted", "GET /account/card", "POST /account/card", "GET /account/protect",
	} {
		method, path, _ := strings.Cut(route, " ")
		var form url.Values
		if method == "POST" {
			form = url.Values{"name": {"x"}, "code": {"123456"}, "answer": {"{}"}}
		}
		if a := b.do(method, path, form); asks(a) != "factor" {
			t.Errorf("%s: %s", route, asks(a))
		}
	}
	after, err := g.mfa.Factors(context.Background(), "id-mdupont")
	if err != nil || len(after) != len(before) || after[0].Name != before[0].Name {
		t.Errorf("%v, %v", after, err)
	}
}

func TestNewTelephoneTakesThePlaceOfTheOld(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.signed("id-mdupont", "mdupont")
		page := b.get("/account/totp/new")
		if !strings.Contains(page.body, "prendra la place") {
			t.Fatal(page.body)
		}
		if a := b.post("/account/totp/new", "code", "000000"); a.status != http.StatusUnprocessableEntity {
			t.Fatalf("a wrong code: %d", a.status)
		}
		old, err := g.mfa.Factors(context.Background(), "id-mdupont")
		if err != nil || len(old) != 1 {
			t.Fatal(old, err)
		}
		secret := strings.Join(regexp.MustCompile(`<span>([A-Z2-7]{4})</span>`).FindAllString(page.body, -1), "")
		secret = strings.NewReplacer("<span>", "", "</span>", "").Replace(secret)
		code, err := totp.GenerateCode(secret, g.now())
		if err != nil {
			t.Fatal(err)
		}
		if a := b.post("/account/totp/new", "code", code); a.path != "/account?done=totp" {
			t.Fatalf("%d at %s", a.status, a.path)
		}
		now, err := g.mfa.Factors(context.Background(), "id-mdupont")
		if err != nil || len(now) != 1 || now[0].ID == old[0].ID {
			t.Errorf("%v, %v", now, err)
		}
	})
}

func TestRecoveryCodesAreShownOnce(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.signed("id-mdupont", "mdupont")
		made := b.post("/account/recovery")
		codes := regexp.MustCompile(`<code>([0-9A-Z-]{19})</code>`).FindAllStringSubmatch(made.body, -1)
		if len(codes) != 10 {
			t.Fatalf("%d codes\n%s", len(codes), made.body)
		}
		for _, path := range []string{"/account/recovery", "/account", "/account/history", "/account/sessions"} {
			if a := b.get(path); a.status != http.StatusOK || strings.Contains(a.body, codes[0][1]) {
				t.Errorf("%s: %d", path, a.status)
			}
		}
		b.post("/account/recovery/noted")
		other := g.browser()
		page := other.password(other.get("/begin?app=strong"), "mdupont", rightPassword)
		want(t, other.factor(page, "recovery", codes[3][1]), "done id-mdupont 2")
		if a := other.get("/account"); !strings.Contains(a.body, "9 codes de secours") {
			t.Error("the count")
		}
	})
}

func TestOneBrowserIsSignedOutFromAnother(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.signed("id-mdupont", "mdupont")
		far := g.browser()
		far.headers["User-Agent"] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
		done := far.password(far.get("/begin?app=weak"), "mdupont", rightPassword)
		want(t, done, "done id-mdupont 1")
		page := b.get("/account/sessions")
		if !strings.Contains(page.body, "Firefox sur Windows") || strings.Count(page.body, `name="sid"`) != 2 {
			t.Fatal(page.body)
		}
		sid := done.left.Query().Get("sid")
		// Not by somebody else who knows its name.
		g.enrol("id-ssmith")
		g.signed("id-ssmith", "ssmith").post("/account/sessions", "sid", sid)
		if _, err := g.sessions.Alive(context.Background(), sid); err != nil {
			t.Fatal("somebody else ended it")
		}
		g.ended = nil
		if a := b.post("/account/sessions", "sid", sid); a.path != "/account/sessions?done=session" {
			t.Fatalf("%d at %s", a.status, a.path)
		}
		want(t, far.get("/account"), "password")
		if len(g.ended) != 1 || g.ended[0] != "id-mdupont "+sid {
			t.Errorf("the hooks: %v", g.ended)
		}
		if rows := g.trail("signin.session"); len(rows) != 1 || rows[0].Actor.ID != "id-mdupont" {
			t.Errorf("%+v", rows)
		}
		if a := b.get("/account/history"); !strings.Contains(a.body, "déconnecté à distance") {
			t.Error("the history does not tell")
		}
	})
}

func TestCardLocksFromAnyBrowser(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.enrol("id-mdupont")
		b := g.signed("id-mdupont", "mdupont")
		made := b.post("/account/card")
		found := regexp.MustCompile(`account-code">([0-9A-Z-]+)<`).FindStringSubmatch(made.body)
		if found == nil {
			t.Fatal(made.body)
		}
		stranger := g.browser()
		for name, fields := range map[string][]string{
			"nothing": {}, "no card": {"login", "mdupont"}, "a wrong card": {"login", "mdupont", "card", "0000-0000-0000-0000"}, "another's login": {"login", "ssmith", "card", found[1]}, "nobody's login": {"login", "nobody", "card", found[1]},
		} {
			if a := stranger.post("/account/lock", fields...); a.status != http.StatusUnprocessableEntity || strings.Contains(a.body, "Marie") {
				t.Errorf("%s: %d", name, a.status)
			}
		}
		if since, _ := g.service.LockedSince(context.Background(), "id-mdupont"); !since.IsZero() {
			t.Fatal("locked by a wrong card")
		}
		if a := stranger.post("/account/lock", "login", "MDUPONT", "card", strings.ToLower(found[1])); a.status != http.StatusOK {
			t.Fatalf("%d\n%s", a.status, a.body)
		}
		want(t, b.get("/account"), "password")
		lock, err := g.service.LockOf(context.Background(), "id-mdupont")
		if err != nil || lock.Way != LockedByCard || lock.Actor.Kind != audit.Anonymous().Kind {
			t.Errorf("%+v, %v", lock, err)
		}
	})
}

func TestHistoryHasWordsForWhatHappens(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	g.enrol("id-mdupont")
	b := g.browser()
	page := b.get("/begin?app=strong")
	b.password(page, "mdupont", "not it")
	page = b.password(page, "mdupont", rightPassword)
	b.submit(page, "code", "000000")
	g.advance(time.Minute)
	want(t, b.code(page, "id-mdupont"), "done id-mdupont 2")
	if err := g.service.Unlock(context.Background(), audit.Person("id-ssmith", "ssmith"), "mdupont"); err != nil {
		t.Fatal(err)
	}
	a := b.get("/account/history")
	for _, part := range []string{"Mot de passe faux", "Mot de passe accepté", "Code ou clé faux", "Connexion", "Essais faux oubliés", "par Sarah Smith"} {
		if !strings.Contains(a.body, part) {
			t.Errorf("the history lacks %q", part)
		}
	}
	if b.get("/account/history?before=nonsense").status != http.StatusOK {
		t.Error("a cursor of nowhere")
	}
}
