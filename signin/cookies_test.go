package signin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/mfa"
)

// cookieRig is one session and one flow whose password is proven, and what
// their cookies hold.
type cookieRig struct {
	service                   *Service
	sessionName, sessionValue string
	flow                      Flow
	flowName, browser, proof  string
}

func newCookieRig(t testing.TB) *cookieRig {
	t.Helper()
	d := dbtest.Open(t, "sqlite")
	now := func() time.Time { return noon }
	trail := audit.New(d, now)
	sessions := session.New(d, session.Config{Site: "provider", Now: now})
	service, err := New(Dependencies{DB: d, Audit: trail, Directory: newPeople(), MFA: mfa.New(d, secret.NewSealer([32]byte{1}), trail, mfa.Config{}, now), Sessions: sessions, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	c := &cookieRig{service: service, sessionName: sessions.CookieName()}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	if _, err := sessions.Start(t.Context(), w, r, "id-mdupont", sessionData{PasswordAt: noon, Level: OneFactor}); err != nil {
		t.Fatal(err)
	}
	c.sessionValue = w.Result().Cookies()[0].Value
	c.flow = newFlow(Request{Application: Application{ID: "weak"}, Protocol: "test", Raw: []byte("weak"), Received: noon}, noon.Add(time.Hour))
	c.flowName, c.browser = service.cookiePrefix()+c.flow.ID, newSecret()
	if err := service.storeFlow(t.Context(), &c.flow, c.browser); err != nil {
		t.Fatal(err)
	}
	proven := c.flow
	proven.Person, proven.PasswordAt = "id-mdupont", noon
	w, r = httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: c.flowName, Value: c.browser})
	if err := service.keepProof(t.Context(), w, r, proven); err != nil {
		t.Fatal(err)
	}
	c.proof = strings.TrimPrefix(w.Result().Cookies()[0].Value, c.browser)
	return c
}

// FuzzCookies sends cookie headers built of the real names and secrets, cut,
// joined and doubled: nothing but the one cookie, whole, gives a session or what
// was proven in a flow.
func FuzzCookies(f *testing.F) {
	c := newCookieRig(f)
	// In the input, S and F are the names of the two cookies, s the session's
	// secret, b and p the halves of the flow's, each between bars.
	words := strings.NewReplacer("|S|", c.sessionName, "|s|", c.sessionValue, "|F|", c.flowName, "|b|", c.browser, "|p|", c.proof)
	for _, seed := range []string{
		"|S|=|s|", "|S|=|s|; |S|=|s|", "|S|=|s|; |S|=x", "|S|=x; |S|=|s|", "|S|=\"|s|\"", "|S|= |s|", "|S|=|s|x", "|S|=x|s|", "|S|=|s|,|S|=|s|", "|S|", "|S|=", "=|s|", "|s|",
		"|S|=|s|\x00", "|S|=%20|s|", "|S|\t=|s|", "x|S|=|s|", "|S|x=|s|", "|S|=|b|", "|S|=|F|", "|S|=" + strings.Repeat("A", 43), "|S|=" + secret.Hash(c.sessionValue), "|S|=" + strings.ToLower(c.sessionValue),
		"|F|=|b||p|", "|F|=|b|", "|F|=|p||b|", "|F|=|b||b|", "|F|=|b||s|", "|F|=|p|", "|F|=|b||p|x", "|F|=|b||p|; |F|=|b|", "|F|=" + secret.Hash(c.browser) + secret.Hash(c.proof),
		"|S|=|s|; |F|=|b||p|", "|F|=|b||p|; a=b; |S|=|s|;", ";;;=;", strings.Repeat("|S|=|s|; ", 200), strings.Repeat("a=b; ", 3000) + "|S|=|s|", "\xff\xfe=\x80",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		r := httptest.NewRequest("GET", "/signin?flow="+c.flow.ID, nil)
		r.Header["Cookie"] = []string{words.Replace(pattern)}
		sess, err := c.service.sessions.Load(r)
		if err != nil {
			t.Fatal(err)
		}
		if named := r.CookiesNamed(c.sessionName); (sess != nil) != (len(named) == 1 && named[0].Value == c.sessionValue) {
			t.Errorf("session %v of %q", sess, r.Header["Cookie"])
		}
		if sess != nil && !strings.Contains(pattern, "|s|") && !strings.Contains(pattern, c.sessionValue) {
			t.Errorf("a session without its secret: %q", pattern)
		}
		named := r.CookiesNamed(c.flowName)
		one := len(named) == 1
		flow, err := c.service.flow(r)
		if err != nil && err != errOtherBrowser {
			t.Fatal(err)
		}
		if bound := one && len(named[0].Value)%43 == 0 && strings.HasPrefix(named[0].Value, c.browser) && len(named[0].Value) <= 86; (err == nil) != bound {
			t.Errorf("flow (%v) of %q", err, r.Header["Cookie"])
		}
		if proven := one && named[0].Value == c.browser+c.proof; (flow.Person != "") != proven {
			t.Errorf("%q is proven by %q", flow.Person, r.Header["Cookie"])
		}
	})
}
