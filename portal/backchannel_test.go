package portal

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// sessionsNamed lets the provider give each person a sid: "sid-of-LOGIN".
func (o *op) sessionsNamed() {
	o.set(func() {
		o.lie = func(claims map[string]any) { claims["sid"] = "sid-of-" + claims["preferred_username"].(string) }
	})
}

func (o *op) logoutClaims(change func(claims map[string]any)) map[string]any {
	claims := map[string]any{"iss": o.URL, "aud": clientID, "iat": time.Now().Unix(), "exp": time.Now().Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"sub": "sub-of-mdupont", "sid": "sid-of-mdupont", "events": map[string]any{logoutEvent: map[string]any{}}}
	change(claims)
	return claims
}

func (o *op) logoutToken(change func(claims map[string]any)) string {
	return o.signed(o.logoutClaims(change), jose.RS256, o.key)
}

func unchanged(map[string]any) {}

// tell posts a logout token to the portal and returns the status.
func (r *rig) tell(form url.Values) int {
	r.t.Helper()
	res, err := http.PostForm(r.web.URL+"/backchannel-logout", form)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Cache-Control") != "no-store" {
		r.t.Error("the answer may be kept")
	}
	return res.StatusCode
}

func (b *browser) in() bool {
	b.rig.t.Helper()
	return strings.Contains(b.get("/mail/who").body, "who=")
}

func TestTheProviderEndsItsSessionHereAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		o := newOP(t)
		o.sessionsNamed()
		r := newRig(t, d, o)
		marie, marieAgain, paul := r.browser(), r.browser(), r.browser()
		marie.signIn("mdupont", "/")
		marieAgain.signIn("mdupont", "/") // the same session of the provider
		paul.signIn("pmartin", "/")
		marie.get("/mail/token")
		token := o.logoutToken(unchanged)
		if status := r.tell(url.Values{"logout_token": {token}}); status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
		if marie.in() || marieAgain.in() || !paul.in() {
			t.Errorf("signed in: %v %v, somebody else: %v", marie.in(), marieAgain.in(), paul.in())
		}
		if !slices.Equal(r.portal.modules[0].(*probe).forgotten(), []string{"sub-of-mdupont", "sub-of-mdupont"}) {
			t.Errorf("forgotten: %v", r.portal.modules[0].(*probe).forgotten())
		}
		r.portal.Close() // waits for what was given back
		o.set(func() {
			for _, f := range o.refresh {
				if f.login == "mdupont" && !f.dead {
					t.Error("a refresh token lives on that nobody has")
				}
			}
		})
		if status := r.tell(url.Values{"logout_token": {token}}); status != http.StatusBadRequest {
			t.Errorf("a second time: %d", status)
		}
		rows, err := r.portal.audit.List(t.Context(), audit.Filter{Action: "portal.signout"})
		if err != nil || len(rows) != 2 {
			t.Errorf("%d rows in the trail: %v", len(rows), err)
		}
		marie.signIn("mdupont", "/")
		if !marie.in() {
			t.Error("cannot sign in again")
		}
		if n, err := r.portal.Sweep(t.Context()); n < 2 || err != nil {
			t.Errorf("swept %d: %v", n, err)
		}
		// Swept origins of others stay.
		if r.tell(url.Values{"logout_token": {o.logoutToken(func(c map[string]any) { c["sub"], c["sid"] = "sub-of-pmartin", "sid-of-pmartin" })}}) != http.StatusOK || paul.in() {
			t.Error("the sweep took what was needed")
		}
	})
}

func TestAPersonIsSignedOutEverywhereByTheProvider(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		o := newOP(t) // names no sessions
		r := newRig(t, d, o)
		one, two, other := r.browser(), r.browser(), r.browser()
		one.signIn("mdupont", "/")
		two.signIn("mdupont", "/")
		other.signIn("pmartin", "/")
		for _, b := range []*browser{one, two, other} {
			b.get("/mail/token")
		}
		if status := r.tell(url.Values{"logout_token": {o.logoutToken(func(c map[string]any) { delete(c, "sid") })}}); status != http.StatusOK {
			t.Fatal(status)
		}
		if one.in() || two.in() || !other.in() {
			t.Errorf("%v %v %v", one.in(), two.in(), other.in())
		}
	})
}

func TestAForgedLogoutTokenSignsNobodyOut(t *testing.T) {
	o := newOP(t)
	o.sessionsNamed()
	r := newRig(t, sqlite(t), o)
	b := r.browser()
	b.signIn("mdupont", "/")
	without := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	with := func(name string, value any) func(map[string]any) { return func(c map[string]any) { c[name] = value } }
	idToken := ""
	o.set(func() { idToken = o.idToken("mdupont", "", "access") })
	for name, token := range map[string]string{
		"not signed":         unsigned(o.logoutClaims(unchanged)),
		"signed by another":  o.signed(o.logoutClaims(unchanged), jose.RS256, foreignKey()),
		"signed with a word": o.signed(o.logoutClaims(unchanged), jose.HS256, []byte(strings.Repeat(clientSecret, 2))),
		"of another issuer":  o.logoutToken(with("iss", "https://evil.test")),
		"for another":        o.logoutToken(with("aud", "glpi")),
		"expired":            o.logoutToken(with("exp", time.Now().Add(-time.Second).Unix())),
		"without an end":     o.logoutToken(without("exp")),
		"of tomorrow": o.logoutToken(func(c map[string]any) {
			c["iat"], c["exp"] = time.Now().Add(time.Hour).Unix(), time.Now().Add(2*time.Hour).Unix()
		}),
		"without a beginning": o.logoutToken(without("iat")),
		"without the event":   o.logoutToken(without("events")),
		"with another event":  o.logoutToken(with("events", map[string]any{"https://schemas.openid.net/secevent/risc/event-type/account-disabled": map[string]any{}})),
		"with a nonce":        o.logoutToken(with("nonce", "n")),
		"without a name":      o.logoutToken(without("jti")),
		"about nobody":        o.logoutToken(func(c map[string]any) { delete(c, "sub"); delete(c, "sid") }),
		"an ID token":         idToken,
		"nonsense":            "nonsense",
		"nothing":             "",
	} {
		if status := r.tell(url.Values{"logout_token": {token}}); status != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, status)
		}
	}
	good := o.logoutToken(unchanged)
	for name, form := range map[string]url.Values{"no token": {}, "two": {"logout_token": {good, good}}} {
		if status := r.tell(form); status != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, status)
		}
	}
	if res, err := http.Get(r.web.URL + "/backchannel-logout?logout_token=" + good); err != nil || res.StatusCode == http.StatusOK {
		t.Error("a GET is obeyed", err)
	}
	if status := r.tell(url.Values{"logout_token": {o.logoutToken(func(c map[string]any) { c["sub"] = "sub-of-pmartin" })}}); status != http.StatusOK {
		t.Errorf("the session of somebody else: %d", status) // nothing of that name is here
	}
	if !b.in() {
		t.Fatal("signed out by a forgery")
	}
	if status := r.tell(url.Values{"logout_token": {good}}); status != http.StatusOK || b.in() {
		t.Error("the real one is not obeyed")
	}
}

func TestALogoutTokenIsGoodOnceHoweverManyComeTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		o := newOP(t)
		r := newRig(t, d, o)
		token := o.logoutToken(unchanged)
		statuses := make([]int, 20)
		var wg sync.WaitGroup
		for i := range statuses {
			wg.Go(func() { statuses[i] = r.tell(url.Values{"logout_token": {token}}) })
		}
		wg.Wait()
		obeyed := 0
		for _, s := range statuses {
			if s == http.StatusOK {
				obeyed++
			}
		}
		if obeyed != 1 {
			t.Errorf("%v", statuses)
		}
	})
}
