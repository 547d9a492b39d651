package oidc

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

// What providers before us got wrong, class by class.

func TestRow07NobodyIsAdmittedOnAnyGrantOnceDisabledGoneOrOutOfTheGroup(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		fall := map[string]func(){
			"disabled": func() { w.people.change(paul, func(p *directory.Person) { p.Disabled = true }) },
			"group":    func() { w.people.change(paul, func(p *directory.Person) { p.Groups = []string{"tous-personnels"} }) },
			"gone": func() {
				w.people.mu.Lock()
				delete(w.people.byID, paul)
				w.people.mu.Unlock()
			},
		}
		original, _ := w.people.ByID(t.Context(), paul)
		for name, change := range fall {
			w.signIn(paul, "sid-2")
			scopes := "openid mail people applications offline_access"
			offline, bound := w.tokens("heads", "scope", scopes), w.tokens("heads", "scope", "openid mail people applications")
			code := w.code("heads")
			exchanged := w.exchange("heads", offline.text("access_token"))
			w.must(exchanged, 200)
			change()
			w.refusedWith(w.redeem("heads", code), "invalid_grant")
			w.refusedWith(w.refresh("heads", offline.text("refresh_token")), "invalid_grant")
			w.refusedWith(w.refresh("heads", bound.text("refresh_token")), "invalid_grant")
			w.refusedWith(w.exchange("heads", offline.text("access_token")), "invalid_grant")
			for _, a := range []answer{offline, bound} {
				if w.active("heads", a.text("access_token")) || w.active("heads", a.text("refresh_token")) {
					t.Errorf("%s: introspection says active", name)
				}
				w.must(w.userinfo(a.text("access_token")), 401)
				w.must(w.get("/api/people?q=dup", "Authorization", "Bearer "+a.text("access_token")), 401)
				w.must(w.get("/api/applications", "Authorization", "Bearer "+a.text("access_token")), 401)
			}
			if w.active("imap", exchanged.text("access_token")) {
				t.Errorf("%s: the exchanged token is active", name)
			}
			w.people.mu.Lock()
			w.people.byID[paul] = original
			w.people.mu.Unlock()
			w.must(w.refresh("heads", offline.text("refresh_token")), 200) // nothing was spent by the refusals
		}
		if w.trail("oidc.admit", "disabled") == 0 || w.trail("oidc.admit", "not_in_group") == 0 {
			t.Error("refused admissions leave no trace")
		}
	})
}

func TestTheGateIsAskedOncePerGrant(t *testing.T) {
	w := onOne(t)
	asked := func(fn func()) int {
		before := w.people.admitted
		fn()
		return w.people.admitted - before
	}
	code := w.code("tool", "scope", "openid mail offline_access")
	var a answer
	if n := asked(func() { a = w.redeem("tool", code) }); n != 1 {
		t.Errorf("code: %d", n)
	}
	if n := asked(func() { w.must(w.refresh("tool", a.text("refresh_token")), 200) }); n != 1 {
		t.Errorf("refresh: %d", n)
	}
	if n := asked(func() { w.must(w.exchange("tool", a.text("access_token")), 200) }); n != 2 {
		t.Errorf("exchange (the application and the resource): %d", n)
	}
	w.people.down = true
	for _, b := range []answer{w.refresh("tool", a.text("refresh_token")), w.exchange("tool", a.text("access_token")), w.introspect("tool", a.text("access_token")), w.userinfo(a.text("access_token"))} {
		if b.status != http.StatusServiceUnavailable || b.text("error") != "temporarily_unavailable" {
			t.Errorf("directory down: %d %s", b.status, b.body)
		}
	}
}

func TestRow10SigningOutEndsWhatLivesByTheSessionAndEverywhereEndsAll(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		offline, bound := w.tokens("tool", "scope", "openid offline_access"), w.tokens("tool", "scope", "openid")
		unspent := w.code("tool")
		if err := w.door.EndSession(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		if w.active("tool", bound.text("access_token")) || w.active("tool", bound.text("refresh_token")) {
			t.Error("a token without offline_access outlives its session")
		}
		w.refusedWith(w.refresh("tool", bound.text("refresh_token")), "invalid_grant")
		w.refusedWith(w.redeem("tool", unspent), "invalid_grant")
		again := w.refresh("tool", offline.text("refresh_token"))
		w.must(again, 200)

		if err := w.p.SessionEnded(t.Context(), marie, ""); err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{offline.text("access_token"), again.text("access_token"), again.text("refresh_token")} {
			if w.active("tool", token) {
				t.Error("a token outlives the sign-out everywhere")
			}
		}
		w.must(w.userinfo(again.text("access_token")), 401)
		w.refusedWith(w.refresh("tool", again.text("refresh_token")), "invalid_grant")
	})
}

func TestASessionThatEndedByItselfTakesItsRefreshTokensAlong(t *testing.T) {
	w := onOne(t)
	bound := w.tokens("tool", "scope", "openid")
	w.people.mu.Lock()
	delete(w.people.sessions, "sid-1")
	w.people.mu.Unlock()
	w.refusedWith(w.refresh("tool", bound.text("refresh_token")), "invalid_grant")
}

func TestRow09TwoHundredParallelRefreshesLeaveOneFamily(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool", "scope", "openid offline_access")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var got []answer
		for range 200 {
			wg.Go(func() {
				b := w.refresh("tool", a.text("refresh_token"))
				mu.Lock()
				got = append(got, b)
				mu.Unlock()
			})
		}
		wg.Wait()
		for _, b := range got {
			w.must(b, 200)
		}
		var families, living int
		if err := w.db.QueryRow(t.Context(), "SELECT COUNT(DISTINCT grant_id) FROM oidc_token").Scan(&families); err != nil {
			t.Fatal(err)
		}
		if err := w.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM oidc_grant WHERE ended IS NULL").Scan(&living); err != nil {
			t.Fatal(err)
		}
		if families != 1 || living != 1 {
			t.Fatalf("%d families, %d living", families, living)
		}
		last := got[len(got)-1]
		w.must(w.refresh("tool", last.text("refresh_token")), 200)
		w.clock.pass(11 * time.Second)
		w.refusedWith(w.refresh("tool", a.text("refresh_token")), "invalid_grant")
		if w.active("tool", got[0].text("access_token")) || w.active("tool", last.text("refresh_token")) {
			t.Error("the family survives a reuse")
		}
	})
}

func TestRow19AnotherApplicationCannotUseACodeOrARefreshToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		code := w.code("tool")
		w.refusedWith(w.redeem("other", code), "invalid_grant")
		w.refusedWith(w.redeem("", code, "client_id", "spa"), "invalid_grant")
		a := w.redeem("tool", code)
		w.must(a, 200) // a stranger's guess spoils nothing
		w.refusedWith(w.redeem("other", code), "invalid_grant")
		w.refusedWith(w.refresh("other", a.text("refresh_token")), "invalid_grant")
		w.refusedWith(w.post("/oauth2/token", "", url.Values{"grant_type": {GrantRefresh}, "refresh_token": {a.text("refresh_token")}, "client_id": {"spa"}}), "invalid_grant")
		w.must(w.refresh("tool", a.text("refresh_token")), 200)
		if w.trail("oidc.code", "client") != 3 || w.trail("oidc.refresh", "client") != 2 {
			t.Errorf("traces: %d, %d", w.trail("oidc.code", "client"), w.trail("oidc.refresh", "client"))
		}
		code = w.code("tool", "redirect_uri", "http://127.0.0.1:4000/callback")
		w.refusedWith(w.redeem("tool", code, "redirect_uri", "http://127.0.0.1:4001/callback"), "invalid_grant")
		w.refusedWith(w.redeem("tool", code, "redirect_uri", "-"), "invalid_grant")
		w.must(w.redeem("tool", code, "redirect_uri", "http://127.0.0.1:4000/callback"), 200)
		if w.trail("oidc.code", "redirect_uri") != 2 {
			t.Error("a wrong redirect_uri leaves no trace")
		}
	})
}

func TestEverythingExpiresToTheSecond(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		late := w.code("tool")
		w.clock.pass(time.Minute)
		w.refusedWith(w.redeem("tool", late), "invalid_grant")

		a := w.tokens("tool", "scope", "openid mail offline_access")
		w.clock.pass(15*time.Minute - time.Second)
		if !w.active("tool", a.text("access_token")) {
			t.Error("expired too early")
		}
		w.must(w.userinfo(a.text("access_token")), 200)
		w.clock.pass(time.Second)
		if w.active("tool", a.text("access_token")) {
			t.Error("introspection of an expired token")
		}
		w.must(w.userinfo(a.text("access_token")), 401)
		w.refusedWith(w.exchange("tool", a.text("access_token")), "invalid_grant")
		w.clock.pass(30*24*time.Hour - 15*time.Minute - time.Second)
		b := w.refresh("tool", a.text("refresh_token"))
		w.must(b, 200)
		w.clock.pass(30 * 24 * time.Hour)
		w.refusedWith(w.refresh("tool", b.text("refresh_token")), "invalid_grant")

		// A family that is always refreshed ends in the end, too.
		c := w.tokens("tool", "scope", "openid offline_access")
		for day := 0; day < 180; day += 20 {
			next := w.refresh("tool", c.text("refresh_token"))
			w.must(next, 200)
			c = next
			w.clock.pass(20 * 24 * time.Hour)
		}
		w.refusedWith(w.refresh("tool", c.text("refresh_token")), "invalid_grant")
	})
}

func TestNoTokenOrCodeRestsInTheDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		code := w.code("tool", "scope", "openid offline_access")
		a := w.redeem("tool", code)
		for _, plain := range []string{code, a.text("access_token"), a.text("refresh_token")} {
			for _, column := range []string{"access_hash || COALESCE(refresh_hash, '') || COALESCE(parent, '') || COALESCE(grant_id, '')"} {
				var n int
				if err := d.QueryRow(t.Context(), "SELECT COUNT(*) FROM oidc_token WHERE "+column+" LIKE $1", "%"+plain+"%").Scan(&n); err != nil || n != 0 {
					t.Errorf("%d rows hold %s…: %v", n, plain[:6], err)
				}
			}
		}
		var sealed string
		if err := d.QueryRow(t.Context(), "SELECT sealed FROM oidc_key WHERE alg = 'RS256'").Scan(&sealed); err != nil || !strings.HasPrefix(sealed, "v1.") {
			t.Errorf("the key rests as %.20q: %v", sealed, err)
		}
	})
}

func TestNothingThatAVisitorWritesBecomesMarkup(t *testing.T) {
	w := onOne(t)
	evil := `"><script>alert(1)</script>`
	for name, a := range map[string]answer{
		"client":       w.authorize(request(evil)),
		"redirect":     w.authorize(request("tool", "redirect_uri", evil)),
		"logout state": w.get("/oauth2/logout?" + url.Values{"state": {evil}, "client_id": {"tool"}}.Encode()),
	} {
		if strings.Contains(a.body, "<script>alert") || strings.Contains(a.header.Get("Location"), "<script") {
			t.Errorf("%s: %s", name, a.body)
		}
		if csp := a.header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: CSP %q", name, csp)
		}
	}
	a := w.authorize(request("tool", "state", evil+"\r\nX-Evil: 1", "response_type", "x"))
	if a.header.Get("X-Evil") != "" || a.location().Get("state") != evil+"\r\nX-Evil: 1" {
		t.Errorf("state: %q", a.header.Get("Location"))
	}
	b := w.redeem(evil, "x")
	if strings.Contains(b.body, "<script>") {
		t.Errorf("%s", b.body)
	}
	w.signIn(paul, "sid-2")
	u := w.userinfo(w.tokens("tool").text("access_token"))
	if strings.Contains(u.body, "<script>") || u.text("name") != `Paul "<script>" Martin` || u.header.Get("Content-Type") != "application/json" || u.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("userinfo: %s %v", u.body, u.header)
	}
}

func TestWhoIsHintedIsWhoMustSignIn(t *testing.T) {
	w := onOne(t)
	idToken := w.tokens("tool").text("id_token")
	if w.authorize(request("tool", "id_token_hint", idToken)).location().Get("code") == "" {
		t.Fatal("the hinted person is signed in and refused")
	}
	if w.door.last.LoginHint != "mdupont" {
		t.Errorf("login hint %q", w.door.last.LoginHint)
	}
	w.signIn(paul, "sid-2")
	w.redirectedWith(w.authorize(request("tool", "id_token_hint", idToken)), "login_required")
	w.redirectedWith(w.authorize(request("tool", "id_token_hint", idToken, "prompt", "none")), "login_required")
	w.redirectedWith(w.authorize(request("other", "id_token_hint", idToken)), "invalid_request")
	for name, hint := range w.forgedHints(idToken) {
		a := w.authorize(request("tool", "id_token_hint", hint))
		if a.location().Get("error") != "invalid_request" {
			t.Errorf("%s: %s", name, a.header.Get("Location"))
		}
	}
}

func TestPromptsAreReadAsASet(t *testing.T) {
	w := onOne(t)
	for prompt, want := range map[string]string{"login": "login", "none": "none", "consent": "", "select_account": "select_account", "login consent": "login", "consent select_account": "select_account", "login select_account": "login", "": ""} {
		w.authorize(request("tool", "prompt", prompt))
		if w.door.last.Prompt != want {
			t.Errorf("prompt=%q reaches signin as %q", prompt, w.door.last.Prompt)
		}
	}
	for _, prompt := range []string{"none login", "login none", "create", "LOGIN", "nonsense login"} {
		w.redirectedWith(w.authorize(request("tool", "prompt", prompt)), "invalid_request")
	}
	w.door.result = nil
	w.redirectedWith(w.authorize(request("tool", "prompt", "none")), "login_required")
	if a := w.authorize(request("tool")); a.header.Get("Location") != "/signin?flow=1" {
		t.Errorf("nobody signed in: %s", a.header.Get("Location"))
	}
}

func TestUnknownScopesAreIgnoredAndForbiddenOnesRefused(t *testing.T) {
	w := onOne(t)
	a := w.tokens("tool", "scope", "openid address nonsense email openid")
	if a.text("scope") != "openid email" {
		t.Errorf("scope %q", a.text("scope"))
	}
	w.redirectedWith(w.authorize(request("tool", "scope", "openid reports")), "invalid_scope") // another application's
	w.redirectedWith(w.authorize(request("tool", "scope", "openid phone")), "invalid_scope")
}

// What the statement itself refuses, whatever was read before it: a refresh
// token that another request has spent meanwhile, longer ago than the grace.
func TestRow09ARefreshTokenIsSpentByTheStatementThatReplacesIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool", "scope", "openid offline_access")
		old := hashOf(a.text("refresh_token"))
		next := func(after time.Duration) error {
			_, access := newSecret(prefixAccess)
			_, refresh := newSecret(prefixRefresh)
			now := w.clock.now().Add(after)
			return w.p.store.rotate(t.Context(), old, token{AccessHash: access, Client: "tool", Scope: "openid", Created: db.At(now), AccessEnds: db.At(now.Add(time.Minute)), RefreshHash: refresh, RefreshEnds: db.At(now.Add(time.Hour))})
		}
		for _, after := range []time.Duration{0, 10 * time.Second} {
			if err := next(after); err != nil {
				t.Errorf("after %s: %v", after, err)
			}
		}
		if err := next(10*time.Second + time.Microsecond); !errors.Is(err, errSpent) {
			t.Errorf("after the grace: %v", err)
		}
		if _, err := w.p.store.endPerson(t.Context(), marie); err != nil {
			t.Fatal(err)
		}
		if err := next(0); !errors.Is(err, errSpent) {
			t.Errorf("after a sign-out: %v", err)
		}
	})
}
