package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

// listener is an application's back-channel logout endpoint.
type listener struct {
	server *httptest.Server
	mu     sync.Mutex
	status int // of the next answers
	heard  []string
	forms  []map[string][]string
}

func (w *world) listen() *listener {
	l := &listener{status: http.StatusOK}
	l.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = r.ParseForm()
		l.heard = append(l.heard, r.PostForm.Get("logout_token"))
		l.forms = append(l.forms, r.Form)
		rw.Header().Set("Location", "/elsewhere") // matters to a 3xx only
		rw.WriteHeader(l.status)
	}))
	w.t.Cleanup(l.server.Close)
	return l
}

func (l *listener) answers(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

// tokens are those heard since the last call.
func (l *listener) tokens() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.heard
	l.heard, l.forms = nil, nil
	return all
}

// addClient registers an application and returns its credentials for world.post.
func (w *world) addClient(id string, change ...func(c *Client)) string {
	w.t.Helper()
	c := tool(change...)
	c.ID, c.Home = id, ""
	plain, err := w.p.clients.Add(w.t.Context(), audit.System("test"), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return id + ":" + plain
}

// hearing registers an application that listens at l.
func (w *world) hearing(id string, l *listener, change ...func(c *Client)) string {
	return w.addClient(id, append([]func(c *Client){func(c *Client) { c.BackchannelLogout = l.server.URL + "/logout" }}, change...)...)
}

// enters signs the world's person in to a client.
func (w *world) enters(credentials string, change ...string) answer {
	w.t.Helper()
	id, _, _ := strings.Cut(credentials, ":")
	a := w.redeem(credentials, w.code(id, change...))
	w.must(a, 200)
	return a
}

func (w *world) deliverAll() int {
	w.t.Helper()
	for tries := 0; ; {
		n, err := w.p.notifyDue(w.t.Context()) // so many at a time for one receiver
		if err != nil {
			w.t.Fatal(err)
		}
		if n == 0 {
			return tries
		}
		tries += n
	}
}

func (w *world) endsSession(sid string) {
	w.t.Helper()
	if err := w.p.SessionEnded(w.t.Context(), marie, sid); err != nil {
		w.t.Fatal(err)
	}
}

// logoutClaims checks what every logout token has, and returns what it says.
func (w *world) logoutClaims(client, token string) map[string]any {
	w.t.Helper()
	t, err := w.p.keys.verify(w.t.Context(), token)
	if err != nil {
		w.t.Fatalf("%v: %s", err, token)
	}
	events, _ := json.Marshal(t.claims["events"])
	iat, _ := t.claims["iat"].(float64)
	exp, _ := t.claims["exp"].(float64)
	switch {
	case t.typ != "logout+jwt", t.claims["iss"] != w.http.URL, t.claims["aud"] != client, string(events) != `{"http://schemas.openid.net/event/backchannel-logout":{}}`,
		int64(iat) != w.clock.now().Unix(), exp != iat+120, t.claims["jti"] == nil, t.claims["jti"] == "":
		w.t.Fatalf("%s %v", t.typ, t.claims)
	}
	if _, has := t.claims["nonce"]; has {
		w.t.Fatal("a nonce")
	}
	return t.claims
}

func (w *world) notices() []Notice {
	w.t.Helper()
	all, err := w.p.Notices(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestApplicationsHearThatASessionHasEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		one, two, three := w.listen(), w.listen(), w.listen()
		rp := w.hearing("rp", one, func(c *Client) { c.IDTokenAlg = ES256 })
		w.enters(rp)
		w.enters(rp)
		idToken := w.enters(w.hearing("lasting", two), "scope", "openid offline_access").text("id_token")
		w.enters("tool") // does not want to hear
		w.signIn(paul, "sid-2")
		w.enters(w.hearing("elsewhere", three))
		w.endsSession("sid-1")
		w.endsSession("sid-1") // noticed twice
		if n := w.deliverAll(); n != 2 {
			t.Fatalf("%d tries", n)
		}
		heard := one.tokens()
		if len(heard) != 1 || len(two.tokens()) != 1 || len(three.tokens()) != 0 {
			t.Fatal("not once each")
		}
		claims := w.logoutClaims("rp", heard[0])
		if claims["sid"] != "sid-1" || claims["sub"] != marie {
			t.Errorf("%v", claims)
		}
		if signed, _ := w.p.keys.verify(t.Context(), heard[0]); signed.key.alg != ES256 {
			t.Error("signed with", signed.key.alg)
		}
		w.endsSession("sid-1")
		if n := w.deliverAll(); n != 0 || len(w.notices()) != 0 {
			t.Error("told again")
		}
		// Neither is the other.
		w.notRedirected(w.get(logoutWith("id_token_hint", heard[0])))
		if _, err := w.p.readHint(t.Context(), heard[0]); err == nil {
			t.Error("a logout token passes for an ID token")
		}
		if w.logoutTyp(idToken) == "logout+jwt" {
			t.Error("an ID token passes for a logout token")
		}
	})
}

func (w *world) logoutTyp(token string) string {
	t, err := w.p.keys.verify(w.t.Context(), token)
	if err != nil {
		w.t.Fatal(err)
	}
	return t.typ
}

// sidsOf are the sessions that the logout tokens name, sorted; "" for one that
// is about the person as a whole. Each must be about Marie.
func (w *world) sidsOf(client string, tokens []string) []string {
	w.t.Helper()
	var sids []string
	for _, one := range tokens {
		claims := w.logoutClaims(client, one)
		if claims["sub"] != marie {
			w.t.Errorf("about %v", claims["sub"])
		}
		sid, _ := claims["sid"].(string)
		sids = append(sids, sid)
	}
	slices.Sort(sids)
	return sids
}

// Back-Channel Logout §2.7: a session's end leaves offline_access; a sign-out
// everywhere does not, and is told to whoever still had something.
func TestSignOutEverywhereIsToldToEveryApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		l, s := w.listen(), w.listen()
		rp, strict := w.hearing("rp", l), w.hearing("strict", s, func(c *Client) { c.BackchannelSession = true })
		lasting := w.enters(rp, "scope", "openid offline_access")
		plain := w.enters(rp)
		w.enters(strict)
		w.signIn(marie, "sid-9")
		w.enters(strict)
		w.enters(rp)
		w.endsSession("sid-1")
		w.deliverAll()
		if len(l.tokens()) != 1 || len(s.tokens()) != 1 {
			t.Fatal("the session's end")
		}
		if w.active(rp, plain.text("access_token")) || !w.active(rp, lasting.text("access_token")) {
			t.Error("a session's end ends what rests on it, and that only")
		}
		w.endsSession("")
		w.deliverAll()
		// Of each session that still had something of it, and of the person.
		if sids := w.sidsOf("rp", l.tokens()); !slices.Equal(sids, []string{"", "sid-1", "sid-9"}) {
			t.Errorf("heard of %q", sids)
		}
		heard := s.tokens() // needs a session in each token
		if len(heard) != 1 || w.logoutClaims("strict", heard[0])["sid"] != "sid-9" {
			t.Errorf("%d tokens", len(heard))
		}
		w.refusedWith(w.refresh(rp, lasting.text("refresh_token")), "invalid_grant")
		w.endsSession("")
		if w.deliverAll() != 0 {
			t.Error("told again")
		}
	})
}

func TestTakingOneApplicationBackTellsThatOne(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		l, m := w.listen(), w.listen()
		rp, other := w.hearing("rp", l), w.hearing("still", m)
		ended, kept := w.enters(rp, "scope", "openid offline_access"), w.enters(other)
		if err := w.p.EndApplication(t.Context(), marie, "rp"); err != nil {
			t.Fatal(err)
		}
		w.deliverAll()
		if sids := w.sidsOf("rp", l.tokens()); !slices.Equal(sids, []string{"", "sid-1"}) {
			t.Errorf("heard of %q", sids)
		}
		if len(m.tokens()) != 0 || w.active(rp, ended.text("access_token")) || !w.active(other, kept.text("access_token")) {
			t.Error("not that one alone")
		}
	})
}

func TestANoticeStandsOrFallsWithTheSignOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		l := w.listen()
		a := w.enters(w.hearing("rp", l))
		failed := errors.New("something else failed")
		err := w.db.InTx(t.Context(), func(ctx context.Context) error {
			if err := w.p.SessionEnded(ctx, marie, "sid-1"); err != nil {
				return err
			}
			return failed
		})
		if !errors.Is(err, failed) || w.deliverAll() != 0 || len(l.tokens()) != 0 || !w.userinfoOK(a) {
			t.Errorf("%v", err)
		}
	})
}

func (w *world) userinfoOK(a answer) bool { return w.userinfo(a.text("access_token")).status == 200 }

func TestALogoutThatIsNotHeardIsTriedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		l, fine := w.listen(), w.listen()
		rp := w.hearing("rp", l)
		w.enters(rp)
		w.enters(w.hearing("fine", fine))
		w.signIn(marie, "sid-3")
		w.enters(rp)
		l.answers(http.StatusServiceUnavailable)
		w.endsSession("sid-1")
		w.endsSession("sid-3")
		w.deliverAll()
		if len(fine.tokens()) != 1 {
			t.Fatal("one that does not answer holds the others up")
		}
		jti := map[any]bool{}
		tries := l.tokens()
		for _, status := range []int{http.StatusBadGateway, http.StatusNotFound, http.StatusFound, http.StatusInternalServerError} {
			if w.deliverAll() != 0 {
				t.Fatal("tried again at once")
			}
			w.clock.pass(5 * time.Minute)
			l.answers(status)
			w.deliverAll()
			tries = append(tries, l.tokens()...)
		}
		waiting := w.notices()
		if len(waiting) != 2 || waiting[0].State != "pending" || !strings.Contains(waiting[0].Error, "500") || !waiting[0].Next.After(w.clock.now()) {
			t.Fatalf("%+v", waiting)
		}
		w.clock.pass(time.Hour)
		l.answers(http.StatusNoContent)
		w.deliverAll()
		last := l.tokens()
		for _, token := range append(tries, last...) {
			signed, err := w.p.keys.verify(t.Context(), token)
			if err != nil || jti[signed.claims["jti"]] {
				t.Fatal("a token was sent twice", err)
			}
			jti[signed.claims["jti"]] = true
		}
		if len(w.notices()) != 0 || len(last) != 2 {
			t.Errorf("%d delivered, %+v left", len(last), w.notices())
		}
	})
}

func TestALogoutIsGivenUpAfterADay(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		l := w.listen()
		w.enters(w.hearing("rp", l))
		l.server.Close() // nobody answers at all
		w.endsSession("sid-1")
		for range 40 {
			w.deliverAll()
			w.clock.pass(time.Hour)
		}
		given := w.notices()
		if len(given) != 1 || given[0].State != "failed" || given[0].Error == "" || given[0].Attempts < 20 || given[0].Attempts > 30 || w.trail("logout.failed", "") != 1 {
			t.Fatalf("%+v", given)
		}
		count, err := w.p.CountNotices(t.Context())
		if err != nil || count != (NoticeCount{Failed: 1}) {
			t.Errorf("%+v %v", count, err)
		}
		// An operator tries once more.
		if _, err := w.p.RetryNotice(t.Context(), audit.Operator("root"), "nothing"); !errors.Is(err, ErrNoNotice) {
			t.Error(err)
		}
		if n, err := w.p.RetryNotice(t.Context(), audit.Operator("root"), given[0].ID); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if count, _ := w.p.CountNotices(t.Context()); count.Pending != 1 || count.Failed != 0 {
			t.Errorf("%+v", count)
		}
		if w.deliverAll() != 1 || w.notices()[0].State != "pending" {
			t.Error("not tried")
		}
		w.clock.pass(32 * 24 * time.Hour)
		w.deliverAll()
		w.clock.pass(32 * 24 * time.Hour)
		if _, err := w.p.Sweep(t.Context()); err != nil || len(w.notices()) != 0 {
			t.Error("kept for ever", err)
		}
	})
}

func TestALogoutThatTheApplicationRefusesIsNotRepeatedForEver(t *testing.T) {
	w := onOne(t)
	l := w.listen()
	w.enters(w.hearing("rp", l))
	l.answers(http.StatusBadRequest)
	w.endsSession("sid-1")
	for range 10 {
		w.deliverAll()
		w.clock.pass(time.Hour)
	}
	if n := len(l.tokens()); n != 3 || w.notices()[0].State != "failed" || !strings.Contains(w.notices()[0].Error, "400") {
		t.Errorf("%d tries, %+v", n, w.notices())
	}
}

// Two replicas work on one queue; each notice reaches its application once.
func TestReplicasDoNotDeliverTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		l := w.listen()
		rp := w.hearing("rp", l)
		for i := range 30 {
			sid := "sid-x" + string(rune('a'+i))
			w.signIn(marie, sid)
			w.enters(rp)
			w.endsSession(sid)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if _, err := w.p.notifyDue(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		seen := map[any]bool{}
		for _, token := range l.tokens() {
			sid := w.logoutClaims("rp", token)["sid"]
			if seen[sid] {
				t.Errorf("%v twice", sid)
			}
			seen[sid] = true
		}
		if len(seen) != 30 || len(w.notices()) != 0 {
			t.Errorf("%d of 30 delivered", len(seen))
		}
	})
}

// A process that is killed while it delivers leaves a lease that runs out.
func TestAKilledDeliveryIsTakenUpAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		l := w.listen()
		w.enters(w.hearing("rp", l))
		w.endsSession("sid-1")
		if taken, err := w.p.store.takeNotices(t.Context()); err != nil || len(taken) != 1 {
			t.Fatal(taken, err)
		}
		if w.deliverAll() != 0 {
			t.Error("taken twice")
		}
		w.clock.pass(noticeLease + time.Second)
		if w.deliverAll() != 1 || len(l.tokens()) != 1 {
			t.Error("lost")
		}
	})
}

func TestNothingIsToldToAnApplicationThatIsGone(t *testing.T) {
	w := onOne(t)
	l := w.listen()
	w.enters(w.hearing("rp", l))
	w.endsSession("sid-1")
	if err := w.p.clients.Remove(t.Context(), audit.Operator("root"), "rp"); err != nil {
		t.Fatal(err)
	}
	if w.deliverAll() != 1 || len(l.tokens()) != 0 || len(w.notices()) != 0 {
		t.Error("told, or kept")
	}
}

func TestALogoutTokenNamesThePersonAsTheApplicationKnowsThem(t *testing.T) {
	w := onOne(t)
	l := w.listen()
	a := w.enters(w.hearing("rp", l, func(c *Client) { c.SubjectType, c.RedirectURIs = SubjectPairwise, []string{back} }))
	known := w.idClaims("rp", a.text("id_token"))["sub"]
	w.endsSession("sid-1")
	w.deliverAll()
	heard := l.tokens()
	if len(heard) != 1 || w.logoutClaims("rp", heard[0])["sub"] != known || known == marie {
		t.Errorf("known as %v", known)
	}
}

// Whatever ends the real session, the application hears it.
func TestEverySessionEndIsTold(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, door, factors := realWorld(t, d)
		l := w.listen()
		rp := w.hearing("rp", l)
		enter := func() (*visitor, string) {
			w.clock.pass(time.Second) // later than the last end
			v := w.visitor()
			a := v.signIn(v.get("/oauth2/authorize?"+request("rp", "scope", "openid offline_access").Encode()), "mdupont")
			tokens := w.redeem(rp, a.location().Get("code"))
			w.must(tokens, 200)
			sid, _ := w.idClaims("rp", tokens.text("id_token"))["sid"].(string)
			return v, sid
		}
		again := func(v *visitor, login string) {
			w.clock.pass(time.Second) // or the former sign-in is as fresh as the request
			v.signIn(v.get("/oauth2/authorize?"+request("tool", "prompt", "login").Encode()), login)
		}
		for name, end := range map[string]func(v *visitor){
			"the person signs out":                     func(v *visitor) { v.post("/logout", nil) },
			"an application signs the person out":      func(v *visitor) { v.post("/oauth2/logout/confirm", nil) },
			"somebody else signs in":                   func(v *visitor) { again(v, "pmartin") },
			"the session expires":                      func(*visitor) { w.clock.pass(13 * time.Hour); sweep(t, door.SweepSessions) },
			"it is not used":                           func(*visitor) { w.clock.pass(3 * time.Hour); sweep(t, door.SweepSessions) },
			"expired, and the browser signs in again":  func(v *visitor) { w.clock.pass(3 * time.Hour); again(v, "mdupont") },
			"expired, and the browser signs out":       func(v *visitor) { w.clock.pass(3 * time.Hour); v.post("/logout", nil) },
			"expired, then swept and signed out again": func(v *visitor) { w.clock.pass(3 * time.Hour); sweep(t, door.SweepSessions); v.post("/logout", nil) },
			"the person signs out twice at once":       func(v *visitor) { w.endsTwice(v) },
		} {
			v, sid := enter()
			end(v)
			w.deliverAll()
			heard := l.tokens()
			if len(heard) != 1 || w.logoutClaims("rp", heard[0])["sid"] != sid {
				t.Errorf("%s: heard %d times", name, len(heard))
			}
		}
		v, _ := enter()
		again(v, "mdupont") // the same person proves the password again: one session goes on
		if w.deliverAll() != 0 {
			t.Error("a step-up is told as a sign-out")
		}
		for name, end := range map[string]func(){
			"everywhere": func() { v.post("/account/signout", nil) },
			"reset": func() {
				if _, err := factors.Reset(t.Context(), audit.Operator("root"), marie, "lost"); err != nil {
					t.Fatal(err)
				}
			},
		} {
			var sid string
			v, sid = enter()
			end()
			w.deliverAll()
			if sids := w.sidsOf("rp", l.tokens()); !slices.Contains(sids, "") || !slices.Contains(sids, sid) {
				t.Errorf("%s: heard of %q", name, sids)
			}
		}
	})
}

func (w *world) endsTwice(v *visitor) {
	var wg sync.WaitGroup
	cookies := v.http.Jar.Cookies(mustURL(w.http.URL))
	for range 4 {
		wg.Go(func() {
			r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/logout", nil)
			for _, c := range cookies {
				r.AddCookie(c)
			}
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				w.t.Error(err)
				return
			}
			res.Body.Close()
		})
	}
	wg.Wait()
}

func sweep(t *testing.T, run func(context.Context) (int64, error)) {
	t.Helper()
	if _, err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLogoutAddressesAreCheckedAtRegistration(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Client)
		key    string
	}{
		"plain http":             {func(c *Client) { c.BackchannelLogout = "http://tool.example.test/x" }, "backchannel_logout_uri"},
		"a fragment":             {func(c *Client) { c.BackchannelLogout = "https://tool.example.test/x#y" }, "backchannel_logout_uri"},
		"a user name":            {func(c *Client) { c.BackchannelLogout = "https://a@tool.example.test/x" }, "backchannel_logout_uri"},
		"another scheme":         {func(c *Client) { c.BackchannelLogout = "gopher://tool.example.test/" }, "backchannel_logout_uri"},
		"sid without an address": {func(c *Client) { c.BackchannelSession = true }, "backchannel_logout_session_required"},
		"a frame elsewhere":      {func(c *Client) { c.FrontchannelLogout = "https://other.example.test/out" }, "frontchannel_logout_uri"},
		"a frame's port":         {func(c *Client) { c.FrontchannelLogout = "https://tool.example.test:444/out" }, "frontchannel_logout_uri"},
		"a frame by http":        {func(c *Client) { c.FrontchannelLogout = "http://tool.example.test/out" }, "frontchannel_logout_uri"},
		"a frame's sid":          {func(c *Client) { c.FrontchannelSession = true }, "frontchannel_logout_session_required"},
	} {
		client := tool(c.change)
		if err := errors.Join(client.Validate()...); err == nil || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := tool(func(c *Client) {
		c.BackchannelLogout, c.BackchannelSession, c.FrontchannelLogout = "https://10.0.0.7:8443/out?x=1", true, "https://tool.example.test/out?x=1"
	})
	if err := errors.Join(good.Validate()...); err != nil || !slices.Contains(good.RedirectURIs, back) {
		t.Error(err)
	}
}

func mustURL(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u
}
