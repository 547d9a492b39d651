package oidc

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/secret"
	"beffroi/signin"
)

// asks begins a device authorization.
func (w *world) asks(client string, change ...string) answer {
	w.t.Helper()
	form := pairs(url.Values{"scope": {"openid profile email"}}, change...)
	if client == "printer" {
		form.Set("client_id", client)
		client = ""
	}
	return w.post("/oauth2/device_authorization", client, form)
}

func (w *world) polls(client, code string) answer {
	w.t.Helper()
	form := url.Values{"grant_type": {GrantDevice}, "device_code": {code}}
	if client == "printer" {
		form.Set("client_id", client)
		client = ""
	}
	return w.post("/oauth2/token", client, form)
}

// confirms types the code and gives the answer.
func (v *guest) confirms(a answer, answered string) page {
	v.h.t.Helper()
	p := v.post("/device", "user_code", a.text("user_code"))
	p.must(v.h.t, 200, "Allow this device?", a.text("user_code"))
	return v.answers(p, answered)
}

func (v *guest) answers(p page, answered string) page {
	v.h.t.Helper()
	u, _ := url.Parse(p.path)
	return v.post("/device/confirm", "request", u.Query().Get("request"), "answer", answered)
}

func TestADeviceGetsTokensWhenItsPersonAllowsIt(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("printer", "scope", "openid profile email offline_access")
		h.must(a, 200)
		if a.text("verification_uri") != h.http.URL+"/device" || a.text("verification_uri_complete") != h.http.URL+"/device?user_code="+a.text("user_code") ||
			a.json["expires_in"] != 600.0 || a.json["interval"] != 5.0 || !strings.HasPrefix(a.text("device_code"), prefixDevice) || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s", a.body)
		}
		h.refusedWith(h.polls("printer", a.text("device_code")), "authorization_pending")

		phone := h.guest()
		phone.get("/device").must(t, 200, `autocapitalize="characters"`, `name="user_code"`)
		p := phone.post("/device", "user_code", strings.ToLower(strings.ReplaceAll(a.text("user_code"), "-", " ")))
		p.must(t, 200, "The printer") // the sign-in says what for
		p = phone.password(p, "mdupont")
		p.must(t, 200, "Allow this device?", a.text("user_code"), "The printer", "Marie Dupont", "know your mail address", "127.0.0.1", "your own network", "3650")
		h.clock.pass(6 * time.Second)
		h.refusedWith(h.polls("printer", a.text("device_code")), "authorization_pending") // typing allows nothing
		p = phone.answers(p, "allow")
		p.must(t, 200, "The device is allowed")

		b := h.polls("printer", a.text("device_code"))
		h.must(b, 200)
		claims := h.idClaims("printer", b.text("id_token"))
		if claims["sub"] != marie || claims["aud"] != "printer" || claims["nonce"] != nil || claims["name"] != "Marie Dupont" || claims["auth_time"] == nil {
			t.Errorf("ID token: %v", claims)
		}
		if b.text("scope") != "openid profile email offline_access" {
			t.Errorf("scope %q", b.text("scope"))
		}
		h.must(h.userinfo(b.text("access_token")), 200)
		c := h.post("/oauth2/token", "", url.Values{"grant_type": {GrantRefresh}, "client_id": {"printer"}, "refresh_token": {b.text("refresh_token")}})
		h.must(c, 200)
		h.clock.pass(11 * time.Second)
		h.refusedWith(h.post("/oauth2/token", "", url.Values{"grant_type": {GrantRefresh}, "client_id": {"printer"}, "refresh_token": {b.text("refresh_token")}}), "invalid_grant")
		rows, err := h.audit.List(t.Context(), audit.Filter{Action: "oidc.device", Limit: 10})
		if err != nil || len(rows) != 1 || rows[0].Outcome != "ok" || rows[0].Target != marie || rows[0].Application != "printer" || rows[0].Actor.Name != "mdupont" {
			t.Errorf("audit: %+v %v", rows, err)
		}
		phone.get(p.path).must(t, 200, "The device is allowed") // seen again, nothing is asked again
	})
}

func TestARefusedDeviceGetsNothing(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("tool")
		phone := h.guest().signsIn("mdupont")
		p := phone.confirms(a, "refuse")
		p.must(t, 200, "The request is refused")
		b := h.polls("tool", a.text("device_code"))
		h.refusedWith(b, "access_denied")
		if b.status != 400 {
			t.Errorf("status %d", b.status)
		}
		phone.answers(p, "allow").must(t, 200, "The request is refused") // and the answer stays
		h.refusedWith(h.polls("tool", a.text("device_code")), "access_denied")
		phone.post("/device", "user_code", a.text("user_code")).must(t, 422, "No device is waiting")
		if h.trail("oidc.device", "person") != 1 {
			t.Error("the refusal leaves no trace")
		}
	})
}

func TestOnlyTheSessionThatTypedTheCodeMayAnswer(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("tool")
		maries, pauls, stranger := h.guest().signsIn("mdupont"), h.guest().signsIn("pmartin"), h.guest()
		p := maries.post("/device", "user_code", a.text("user_code"))
		p.must(t, 200, "Allow this device?")
		for name, other := range map[string]*guest{"another person": pauls, "nobody": stranger, "the same person elsewhere": h.guest().signsIn("mdupont")} {
			if seen := other.get(p.path); seen.status != 410 || strings.Contains(seen.body, a.text("user_code")) {
				t.Errorf("%s sees it: %d", name, seen.status)
			}
			other.answers(p, "allow")
			if got := h.polls("tool", a.text("device_code")); got.text("error") != "authorization_pending" {
				t.Fatalf("%s may answer: %s", name, got.body)
			}
			h.clock.pass(6 * time.Second)
		}
		// Typed again elsewhere, the page left open answers nothing any more.
		q := pauls.post("/device", "user_code", a.text("user_code"))
		q.must(t, 200, "Allow this device?")
		maries.answers(p, "allow").must(t, 410)
		h.refusedWith(h.polls("tool", a.text("device_code")), "authorization_pending")
		pauls.answers(q, "allow").must(t, 200, "The device is allowed")
		h.clock.pass(6 * time.Second)
		b := h.polls("tool", a.text("device_code"))
		h.must(b, 200)
		if sub := h.idClaims("tool", b.text("id_token"))["sub"]; sub != paul {
			t.Errorf("sub %v", sub)
		}
	})
}

func TestAnotherSiteCannotAnswerForADevice(t *testing.T) {
	h := newHouse(t, onOneDB(t))
	a := h.asks("tool")
	phone := h.guest().signsIn("mdupont")
	p := phone.post("/device", "user_code", a.text("user_code"))
	u, _ := url.Parse(p.path)
	for _, path := range []string{"/device", "/device/confirm"} {
		form := url.Values{"request": {u.Query().Get("request")}, "answer": {"allow"}, "user_code": {a.text("user_code")}}
		r, _ := http.NewRequest(http.MethodPost, h.http.URL+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		res, err := phone.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 403 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	h.refusedWith(h.polls("tool", a.text("device_code")), "authorization_pending")
	// A link answers nothing, and the code in it is only typed for the reader.
	phone.get("/device/confirm?answer=allow&request="+u.Query().Get("request")).must(t, 200, "Allow this device?")
	b := h.asks("tool")
	phone.get("/device?user_code="+b.text("user_code")).must(t, 200, `value="`+b.text("user_code")+`"`, "came by a link", `action="/device"`)
	h.refusedWith(h.polls("tool", b.text("device_code")), "authorization_pending")
}

func TestTheSignInForADeviceObeysItsApplication(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("heads")
		marys := h.guest().signsIn("mdupont")
		marys.post("/device", "user_code", a.text("user_code")).must(t, 403)
		h.refusedWith(h.polls("heads", a.text("device_code")), "authorization_pending")

		h.enrol(marie)
		b := h.asks("vault")
		p := marys.post("/device", "user_code", b.text("user_code"))
		p.must(t, 200, `name="code"`) // the session's password is not enough
		marys.get("/device/confirm?request="+secret.Hash(b.text("device_code"))).must(t, 410)
		p = marys.code(p, marie)
		p.must(t, 200, "Allow this device?")
		marys.answers(p, "allow").must(t, 200, "The device is allowed")
		c := h.polls("vault", b.text("device_code"))
		h.must(c, 200)
		if acr := h.idClaims("vault", c.text("id_token"))["acr"]; acr != signin.ACR(signin.TwoFactors) {
			t.Errorf("acr %v", acr)
		}
	})
}

func TestADeviceWaitsAsLongAsItIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.asks("tool")
		code := a.text("device_code")
		w.refusedWith(w.polls("tool", code), "authorization_pending")
		w.clock.pass(4 * time.Second) // a network is no clock: one second is forgiven
		w.refusedWith(w.polls("tool", code), "authorization_pending")
		w.clock.pass(3 * time.Second)
		w.refusedWith(w.polls("tool", code), "slow_down") // 10 s now
		w.clock.pass(8 * time.Second)
		w.refusedWith(w.polls("tool", code), "slow_down") // 15 s now
		w.clock.pass(15 * time.Second)
		w.refusedWith(w.polls("tool", code), "authorization_pending")
		w.clock.pass(10 * time.Second)
		w.refusedWith(w.polls("tool", code), "slow_down")

		b := w.asks("tool")
		w.clock.pass(deviceLife - time.Second)
		w.refusedWith(w.polls("tool", b.text("device_code")), "authorization_pending")
		w.clock.pass(time.Second)
		w.refusedWith(w.polls("tool", b.text("device_code")), "expired_token")
		if _, err := w.p.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.refusedWith(w.polls("tool", b.text("device_code")), "expired_token") // late, not unknown
		w.clock.pass(keepDevice + time.Second)
		if n, err := w.p.Sweep(t.Context()); err != nil || n == 0 {
			t.Fatalf("swept %d: %v", n, err)
		}
		w.refusedWith(w.polls("tool", b.text("device_code")), "invalid_grant")
	})
}

func TestAnExpiredUserCodeIsNotAccepted(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("tool")
		phone := h.guest().signsIn("mdupont")
		p := phone.post("/device", "user_code", a.text("user_code"))
		p.must(t, 200, "Allow this device?")
		h.clock.pass(deviceLife)
		phone.answers(p, "allow").must(t, 410, "run out")
		phone.get(p.path).must(t, 410, "run out")
		phone.post("/device", "user_code", a.text("user_code")).must(t, 422, "No device is waiting")
		h.refusedWith(h.polls("tool", a.text("device_code")), "expired_token")
	})
}

func TestTwoHundredParallelPollsHaveOneWinner(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("tool", "scope", "openid offline_access")
		h.guest().signsIn("mdupont").confirms(a, "allow").must(t, 200, "The device is allowed")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []answer
		for range 200 {
			wg.Go(func() {
				b := h.polls("tool", a.text("device_code"))
				mu.Lock()
				defer mu.Unlock()
				if b.status == 200 {
					won = append(won, b)
				} else if b.text("error") != "invalid_grant" {
					t.Errorf("a loser hears %d %s", b.status, b.body)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d winners", len(won))
		}
		if !h.active("tool", won[0].text("access_token")) || !h.active("tool", won[0].text("refresh_token")) {
			t.Error("the losers end the winner's tokens")
		}
		h.must(h.refresh("tool", won[0].text("refresh_token")), 200)

		// Whoever comes with the code afterwards has a copy of it.
		h.clock.pass(3 * time.Second)
		h.refusedWith(h.polls("other", a.text("device_code")), "invalid_grant")
		if !h.active("tool", won[0].text("access_token")) {
			t.Error("another application's guess ends the family")
		}
		h.refusedWith(h.polls("tool", a.text("device_code")), "invalid_grant")
		if h.active("tool", won[0].text("access_token")) || h.trail("oidc.device", "used") != 1 || h.trail("oidc.device", "client") != 1 {
			t.Error("a copied device code ends nothing, or leaves no trace")
		}
	})
}

func TestTwoHundredParallelAnswersMakeOneAuthorization(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("tool")
		phone := h.guest().signsIn("mdupont")
		p := phone.post("/device", "user_code", a.text("user_code"))
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { phone.answers(p, []string{"allow", "refuse"}[i%2]) })
		}
		wg.Wait()
		var allowed bool
		var grants int
		if err := h.db.QueryRow(t.Context(), "SELECT allowed FROM oidc_device").Scan(&allowed); err != nil {
			t.Fatal(err)
		}
		if err := h.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM oidc_grant").Scan(&grants); err != nil {
			t.Fatal(err)
		}
		rows, err := h.audit.List(t.Context(), audit.Filter{Action: "oidc.device", Limit: 1000})
		if err != nil || len(rows) != 1 || allowed != (grants == 1) || grants > 1 {
			t.Errorf("%d audit rows, allowed %v, %d authorizations, %v", len(rows), allowed, grants, err)
		}
	})
}

func TestRow07ADevicesPersonIsAskedAboutAtEveryStep(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		for name, fall := range map[string]func(){
			"disabled": func() { h.people.change(paul, func(p *directory.Person) { p.Disabled = true }) },
			"group":    func() { h.people.change(paul, func(p *directory.Person) { p.Groups = nil }) },
			"everywhere": func() {
				if err := h.signin.SignOutEverywhere(t.Context(), audit.System("test"), paul); err != nil {
					t.Fatal(err)
				}
			},
		} {
			before, _ := h.people.ByID(t.Context(), paul)
			pauls := h.guest().signsIn("pmartin")
			allowed, asked, offline := h.asks("heads"), h.asks("heads"), h.asks("heads", "scope", "openid offline_access")
			pauls.confirms(allowed, "allow").must(t, 200, "The device is allowed")
			pauls.confirms(offline, "allow").must(t, 200, "The device is allowed")
			p := pauls.post("/device", "user_code", asked.text("user_code"))
			p.must(t, 200, "Allow this device?")
			fall()
			if q := pauls.answers(p, "allow"); q.status != 403 && q.status != 410 {
				t.Errorf("%s: may still allow: %d", name, q.status)
			}
			h.refusedWith(h.polls("heads", allowed.text("device_code")), "invalid_grant")
			h.refusedWith(h.polls("heads", offline.text("device_code")), "invalid_grant")
			h.refusedWith(h.polls("heads", asked.text("device_code")), "authorization_pending")
			h.people.change(paul, func(p *directory.Person) { *p = before })
			h.clock.pass(time.Minute)
		}
	})
}

func TestWrongUserCodesAreCountedAgainstWhoTypesThem(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("tool")
		wrong := func() string {
			for {
				if code := newUserCode(); code != a.text("user_code") {
					return code
				}
			}
		}
		maries := h.guest().signsIn("mdupont")
		for range wrongOfPerson {
			maries.post("/device", "user_code", wrong()).must(t, 422, "No device is waiting")
		}
		maries.post("/device", "user_code", a.text("user_code")).must(t, 429, "wait 10 minutes") // not even the right one
		h.guest().signsIn("mdupont").post("/device", "user_code", a.text("user_code")).must(t, 429)
		h.guest().signsIn("pmartin").post("/device", "user_code", a.text("user_code")).must(t, 200, "Allow this device?")
		if h.trail("oidc.device", "code") != wrongOfPerson || h.trail("oidc.device", "guesses") != 2 {
			t.Error("wrong codes leave no trace")
		}

		// People who have not signed in are not counted one by one: they sign in.
		stranger := h.guest()
		for range wrongOfStrangers - wrongOfPerson {
			stranger.post("/device", "user_code", wrong()).must(t, 422)
		}
		p := stranger.post("/device", "user_code", a.text("user_code"))
		p.must(t, 200, "the page for devices", `name="password"`)
		p = stranger.password(p, "pmartin")
		p.must(t, 200, `name="user_code"`)
		stranger.post("/device", "user_code", a.text("user_code")).must(t, 200, "Allow this device?")

		h.clock.pass(tallyWindow)
		maries = h.guest().signsIn("mdupont")
		b := h.asks("tool")
		for range 2 * wrongOfPerson { // right ones cost nothing
			maries.post("/device", "user_code", b.text("user_code")).must(t, 200, "Allow this device?")
		}
	})
}

func TestOfParallelGuessesNoMoreThanTheLimitAreLookedAt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		taken := 0
		for range 200 {
			wg.Go(func() {
				ok, err := w.p.store.take(t.Context(), "code:somebody", wrongOfPerson)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if ok {
					taken++
				}
			})
		}
		wg.Wait()
		if taken != wrongOfPerson {
			t.Errorf("%d of %d", taken, wrongOfPerson)
		}
		w.clock.pass(tallyWindow - time.Second)
		if ok, _ := w.p.store.take(t.Context(), "code:somebody", wrongOfPerson); ok {
			t.Error("the window is too short")
		}
		w.clock.pass(time.Second)
		if ok, _ := w.p.store.take(t.Context(), "code:somebody", wrongOfPerson); !ok {
			t.Error("the window never ends")
		}
	})
}

func TestTheDeviceEndpointKnowsItsClients(t *testing.T) {
	w := onOne(t)
	w.refusedWith(w.asks("tool:wrong"), "invalid_client")
	w.refusedWith(w.post("/oauth2/device_authorization", "", url.Values{"client_id": {"tool"}}), "invalid_client")
	w.refusedWith(w.post("/oauth2/device_authorization", "", url.Values{"client_id": {"nobody"}}), "invalid_client")
	w.refusedWith(w.post("/oauth2/device_authorization", "", url.Values{"client_id": {"spa"}}), "unauthorized_client")
	w.refusedWith(w.post("/oauth2/token", "", url.Values{"client_id": {"spa"}, "grant_type": {GrantDevice}, "device_code": {"x"}}), "unauthorized_client")
	w.refusedWith(w.asks("tool", "scope", "openid reports"), "invalid_scope")
	w.refusedWith(w.polls("tool", "bfd_unknown"), "invalid_grant")
	w.refusedWith(w.polls("tool", ""), "invalid_request")
	a := w.asks("tool")
	w.refusedWith(w.polls("other", a.text("device_code")), "invalid_grant")
	w.refusedWith(w.polls("printer", a.text("device_code")), "invalid_grant")
	w.refusedWith(w.polls("tool", a.text("user_code")), "invalid_grant")
	w.refusedWith(w.polls("tool", secret.Hash(a.text("device_code"))), "invalid_grant")
	w.refusedWith(w.redeem("tool", a.text("device_code")), "invalid_grant")
	for range deviceRequests {
		if ok, err := w.p.store.take(t.Context(), fromAddress("device", testAddress), deviceRequests); err != nil || !ok {
			break
		}
	}
	if b := w.asks("tool"); b.status != 429 || b.text("error") != "temporarily_unavailable" {
		t.Errorf("a flood: %d %s", b.status, b.body)
	}
}

func TestAnAllowedDeviceCodeIsNoAuthorizationCode(t *testing.T) {
	h := newHouse(t, onOneDB(t))
	a := h.asks("old")
	h.guest().signsIn("mdupont").confirms(a, "allow")
	h.refusedWith(h.redeem("old", a.text("device_code"), "code_verifier", "-"), "invalid_grant")
	h.refusedWith(h.redeem("old", a.text("device_code"), "code_verifier", "-", "redirect_uri", "-"), "invalid_grant")
	h.must(h.polls("old", a.text("device_code")), 200)
}

func TestUserCodesAreReadAsPeopleTypeThem(t *testing.T) {
	for typed, want := range map[string]string{
		"WDJB-MJHT": "WDJB-MJHT", "wdjbmjht": "WDJB-MJHT", " wdjb mjht ": "WDJB-MJHT", "Wdjb–Mjht": "WDJB-MJHT", "W D J B M J H T": "WDJB-MJHT", "wdjb\u00a0mjht": "WDJB-MJHT",
		"": "", "WDJB-MJH": "", "WDJB-MJHTT": "", "WDJB-MJHA": "", "WDJB-MJH1": "", "ＷDJB-MJHT": "", "WDJB/MJHT": "", strings.Repeat("-", 80) + "WDJBMJHT": "",
	} {
		if got, ok := readUserCode(typed); got != want || ok != (want != "") {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
	seen := map[rune]int{}
	for range 2000 {
		code := newUserCode()
		if again, ok := readUserCode(code); !ok || again != code {
			t.Fatalf("%q", code)
		}
		for _, r := range code {
			seen[r]++
		}
	}
	for _, r := range userAlphabet {
		if n := seen[r]; n < 600 || n > 1000 { // 800 on average
			t.Errorf("%c comes %d times in 16,000", r, n)
		}
	}
}

func TestNoDeviceCodeRestsInTheDatabase(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("printer")
		h.guest().post("/device", "user_code", a.text("user_code")).must(t, 200)
		for _, plain := range []string{a.text("device_code"), a.text("user_code"), strings.ReplaceAll(a.text("user_code"), "-", "")} {
			var n int
			if err := h.db.QueryRow(t.Context(), `SELECT (SELECT COUNT(*) FROM oidc_device WHERE id || code || shown || client || scope || address LIKE $1) +
				(SELECT COUNT(*) FROM signin_flow WHERE CAST(raw AS TEXT) LIKE $1)`, "%"+plain+"%").Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows hold %s: %v", n, plain, err)
			}
		}
	})
}

func TestAnotherPersonMayTakeOverADevicesQuestion(t *testing.T) {
	h := newHouse(t, onOneDB(t))
	a := h.asks("tool")
	shared := h.guest().signsIn("mdupont")
	p := shared.post("/device", "user_code", a.text("user_code"))
	h.clock.pass(time.Second)
	q := shared.answers(p, "switch")
	q.must(t, 200, `name="password"`)
	shared.password(q, "pmartin").must(t, 200, "Allow this device?", `Paul "<script>" Martin`)
	h.refusedWith(h.polls("tool", a.text("device_code")), "authorization_pending")
	shared.answers(p, "nonsense").must(t, 400)
	shared.answers(p, "allow").must(t, 200, "The device is allowed")
	h.clock.pass(6 * time.Second)
	if sub := h.idClaims("tool", h.polls("tool", a.text("device_code")).text("id_token"))["sub"]; sub != paul {
		t.Errorf("sub %v", sub)
	}
}

func TestADevicesTokensAreForTheResourcesThatItNamed(t *testing.T) {
	inHouses(t, func(t *testing.T, h *house) {
		a := h.asks("tool", "scope", "openid mail", "resource", "imap")
		h.must(a, 200)
		h.guest().signsIn("mdupont").confirms(a, "allow").must(t, 200, "The device is allowed")
		b := h.polls("tool", a.text("device_code"))
		h.must(b, 200)
		if b.text("scope") != "mail" || !h.active("imap", b.text("access_token")) || h.userinfo(b.text("access_token")).status != 401 {
			t.Errorf("%s", b.body)
		}
		// What the resource asks of the sign-in is asked while the person is there.
		h.enrol(marie)
		h.change("imap", func(c *Client) { c.Assurance = 2 })
		a = h.asks("tool", "scope", "openid mail", "resource", "imap")
		v := h.guest().signsIn("mdupont")
		p := v.code(v.post("/device", "user_code", a.text("user_code")), marie).must(t, 200, "Allow this device?")
		v.answers(p, "allow").must(t, 200, "The device is allowed")
		h.must(h.polls("tool", a.text("device_code")), 200)
		h.refusedWith(h.asks("tool", "scope", "openid mail", "resource", "dav"), "invalid_target")
		h.refusedWith(h.asks("tool", "scope", "openid", "resource", "imap"), "invalid_scope")
	})
}

func TestAnotherLibrarysDeviceSignsIn(t *testing.T) {
	h := newHouse(t, onOneDB(t))
	provider, err := gooidc.NewProvider(t.Context(), h.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := provider.Endpoint()
	if endpoint.DeviceAuthURL != h.http.URL+"/oauth2/device_authorization" {
		t.Fatalf("discovery names %q", endpoint.DeviceAuthURL)
	}
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	device := oauth2.Config{ClientID: "printer", Endpoint: endpoint, Scopes: []string{"openid", "profile", "offline_access"}}
	asked, err := device.DeviceAuth(t.Context())
	if err != nil || asked.Interval != 5 || asked.VerificationURI == "" || asked.VerificationURIComplete == "" {
		t.Fatalf("%+v %v", asked, err)
	}
	complete, err := url.Parse(asked.VerificationURIComplete)
	if err != nil {
		t.Fatal(err)
	}
	phone := h.guest().signsIn("mdupont")
	p := phone.get(complete.RequestURI())
	p.must(t, 200, asked.UserCode)
	p = phone.submit(p, "user_code", asked.UserCode)
	phone.answers(p, "allow").must(t, 200, "The device is allowed")
	asked.Interval = 1 // of real seconds; the provider's clock stands still
	tokens, err := device.DeviceAccessToken(t.Context(), asked)
	if err != nil || tokens.RefreshToken == "" {
		t.Fatalf("%+v %v", tokens, err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if sub := h.idClaims("printer", raw)["sub"]; sub != marie {
		t.Errorf("sub %v", sub)
	}
}
