package signin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
	"beffroi/mfa/mfatest"
)

const passkeyOrigin = "http://id.test"

func (g *rig) usePasskeys(c mfa.PasskeyConfig) {
	g.t.Helper()
	if err := g.mfa.UsePasskeys(passkeyOrigin, c); err != nil {
		g.t.Fatal(err)
	}
}

// passkey gives the person a passkey.
func (g *rig) passkey(person string) *mfatest.Authenticator {
	g.t.Helper()
	ctx := context.Background()
	a := mfatest.New(g.t, passkeyOrigin)
	e := mfa.Enrolling{Person: person, Attempt: "set-up " + person, Login: person, Name: person, Actor: audit.System("test")}
	options, err := g.mfa.BeginPasskey(ctx, e)
	if err != nil {
		g.t.Fatal(err)
	}
	checked, err := g.mfa.CheckNewPasskey(ctx, e, a.Create(options))
	if err == nil {
		_, err = g.mfa.AddPasskey(ctx, checked)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// flowOf is the query of the flow that a page is of.
func flowOf(a answer) string {
	_, query, _ := strings.Cut(a.path, "?")
	v, _ := url.ParseQuery(query)
	return "flow=" + v.Get("flow")
}

// options asks for a passkey's options as the page's script does.
func (b *browser) options(a answer) []byte {
	b.g.t.Helper()
	got := b.get("/signin/passkey?" + flowOf(a))
	if got.status != http.StatusOK {
		b.g.t.Fatalf("options: %d %s", got.status, got.body)
	}
	return []byte(got.body)
}

func TestPasskeySignsInWithoutAPassword(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.usePasskeys(mfa.PasskeyConfig{})
		key := g.passkey("id-ssmith")
		b := g.browser()
		page := b.get("/begin?app=strong&level=3")
		if !strings.Contains(page.body, `data-passkey="get" data-wait`) {
			t.Fatal("the page of the password does not offer passkeys")
		}
		answer := key.Get(b.options(page))
		done := b.post("/signin/passkey?"+flowOf(page), "answer", answer)
		want(t, done, "done id-ssmith 3")
		if amr := done.left.Query().Get("amr"); amr != "pop user mfa" {
			t.Errorf("amr %q", amr)
		}
		data := g.data(done)
		if !data.PasswordAt.IsZero() || data.Level != PhishingResistant || !data.authTime().Equal(g.now()) {
			t.Errorf("%+v", data)
		}
		if rows := g.trail("signin"); len(rows) != 1 || rows[0].Actor.ID != "id-ssmith" || rows[0].Detail["acr"] != "phr" {
			t.Errorf("%+v", rows)
		}
		// Single sign-on counts it for everything.
		want(t, b.get("/begin?app=weak"), "done id-ssmith 3")

		// An answer is good once, and in its own browser and flow.
		thief := g.browser()
		other := thief.get("/begin?app=weak")
		want(t, thief.post("/signin/passkey?"+flowOf(other), "answer", answer), "password")
		g.advance(time.Second)
		again := b.get("/begin?app=weak&prompt=login")
		want(t, b.post("/signin/passkey?"+flowOf(again), "answer", answer), "password")
		if a := thief.post("/signin/passkey?"+flowOf(again), "answer", answer); a.status != http.StatusForbidden {
			t.Errorf("in another browser's flow: %d", a.status)
		}
	})
}

func TestPasskeyIsASecondFactor(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.usePasskeys(mfa.PasskeyConfig{})
		key := g.passkey("id-ssmith")
		other := g.passkey("id-plefebvre")
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "ssmith", rightPassword)
		want(t, page, "factor")
		post := func(answer string) answer {
			return b.post("/signin/factor?"+flowOf(page), "by", "passkey", "answer", answer)
		}
		want(t, post(""), "factor")
		want(t, post("{}"), "factor")
		b.options(page)
		want(t, post(other.Get(b.options(page))), "factor") // somebody else's
		badOrigin := *key
		badOrigin.Origin = "http://id.test.evil.test"
		want(t, post(badOrigin.Get(b.options(page))), "factor")
		done := post(key.Get(b.options(page)))
		want(t, done, "done id-ssmith 3")
		if amr := done.left.Query().Get("amr"); amr != "pwd pop user mfa" {
			t.Errorf("amr %q", amr)
		}
		if n := len(g.trail("signin.factor")); n < 3 {
			t.Errorf("%d refusals in the trail", n)
		}
	})
}

func TestPasskeyWithoutItsOwnerIsNoSignIn(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	g.usePasskeys(mfa.PasskeyConfig{})
	key := g.passkey("id-ssmith")
	unverified := func(a *mfatest.Answer) { a.Options.UserNotVerified = true }
	b := g.browser()
	page := b.get("/begin?app=strong")
	want(t, b.post("/signin/passkey?"+flowOf(page), "answer", key.Get(b.options(page), unverified)), "password")
	// Beside the password it is a second factor: something held.
	page = b.password(page, "ssmith", rightPassword)
	done := b.post("/signin/factor?"+flowOf(page), "by", "passkey", "answer", key.Get(b.options(page), unverified))
	want(t, done, "done id-ssmith 3")
	if amr := done.left.Query().Get("amr"); amr != "pwd pop mfa" {
		t.Errorf("amr %q", amr)
	}
	// Alone it does not outlive the password for who asks for a new one.
	g.advance(time.Hour)
	want(t, b.get("/begin?app=weak&max_age=60"), "password")
}

func TestPasskeyOpensNoClosedAccount(t *testing.T) {
	for name, shut := range map[string]func(g *rig){
		"disabled": func(g *rig) { g.people.change("id-ssmith", func(p *directory.Person) { p.Disabled = true }) },
		"gone": func(g *rig) {
			g.people.mu.Lock()
			delete(g.people.persons, "id-ssmith")
			g.people.mu.Unlock()
		},
		"locked": func(g *rig) {
			if err := g.service.Lock(context.Background(), audit.Operator("test"), "id-ssmith", "test"); err != nil {
				g.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
			g.usePasskeys(mfa.PasskeyConfig{})
			key := g.passkey("id-ssmith")
			b := g.browser()
			page := b.get("/begin?app=strong")
			answer := key.Get(b.options(page))
			shut(g)
			if a := b.post("/signin/passkey?"+flowOf(page), "answer", answer); a.status != http.StatusForbidden || a.left != nil {
				t.Errorf("%s at %s", asks(a), a.path)
			}
			if g.rows("session") != 0 {
				t.Error("a session")
			}
		})
	}
}

func TestFirstFactorMayBeAPasskey(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		g.usePasskeys(mfa.PasskeyConfig{})
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "plefebvre", rightPassword)
		want(t, page, "enrol")
		key := mfatest.New(t, passkeyOrigin)
		options := b.options(page)
		thief := g.browser()
		if a := thief.post("/signin/enrol/passkey?"+flowOf(page), "answer", key.Create(options)); a.status != http.StatusForbidden {
			t.Errorf("another browser: %d", a.status)
		}
		done := b.post("/signin/enrol/passkey?"+flowOf(page), "answer", key.Create(options))
		want(t, done, "done id-plefebvre 3")
		if held, _ := g.mfa.Held(context.Background(), "id-plefebvre"); held[mfa.Passkey] != 1 {
			t.Errorf("%v", held)
		}
		// The same answer makes no second one, nor a session.
		late := g.browser().get("/begin?app=strong")
		want(t, late, "password")
		second := g.browser()
		page = second.password(second.get("/begin?app=strong"), "plefebvre", rightPassword)
		want(t, page, "factor")
		want(t, second.post("/signin/enrol/passkey?"+flowOf(page), "answer", key.Create(options)), "factor")
	})
}
