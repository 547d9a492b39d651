package oidc

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/signin"
)

// house is a world whose door and gate are signin's own: people type their
// passwords into its pages, in browsers that keep cookies.
type house struct {
	*world
	signin   *signin.Service
	sessions *session.Store
	mfa      *mfa.Service
}

const sampleSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

func newHouse(t testing.TB, d *db.DB) *house {
	t.Helper()
	h := &house{}
	h.world = buildWorld(t, d, func(w *world, parts *Dependencies, sessions *session.Store) func(web.Mux, *web.Site) {
		h.sessions = sessions
		h.mfa = mfa.New(d, testSealer, w.audit, mfa.Config{Issuer: "Académie de test"}, w.clock.now)
		var err error
		h.signin, err = signin.New(signin.Dependencies{DB: d, Audit: w.audit, Directory: w.people, MFA: h.mfa, Sessions: sessions, Now: w.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		parts.Gate, parts.SignIn = h.signin.Gate(), h.signin
		return h.signin.Mount
	})
	for _, id := range []string{marie, paul} {
		h.people.change(id, func(p *directory.Person) { p.Language = "en" })
	}
	h.signin.Register(Protocol, h.p.Finisher())
	h.signin.Register(DeviceProtocol, h.p.DeviceFinisher())
	h.signin.OnEnd(h.p.SessionEnded)
	h.signin.OnLeave(h.p.Frames)
	h.signin.AlsoHolds(h.p)
	return h
}

// inHouses runs a test on SQLite and on PostgreSQL.
func inHouses(t *testing.T, fn func(t *testing.T, h *house)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { fn(t, newHouse(t, d)) })
}

// guest is a browser with cookies of its own.
type guest struct {
	h      *house
	client *http.Client
	lang   string
}

// page is where a visit ended: a page, or an address elsewhere.
type page struct {
	status int
	path   string
	body   string
	left   url.Values // the parameters of the answer to an application; nil when none was given
	header http.Header
}

func (h *house) guest() *guest {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &guest{h: h, lang: "en", client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// do visits a page of the provider and follows redirects within it.
func (v *guest) do(method, path string, form url.Values) page {
	v.h.t.Helper()
	for range 10 {
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		r, err := http.NewRequest(method, v.h.http.URL+path, body)
		if err != nil {
			v.h.t.Fatal(err)
		}
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		r.Header.Set("Accept-Language", v.lang)
		res, err := v.client.Do(r)
		if err != nil {
			v.h.t.Error(err)
			return page{}
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		p := page{status: res.StatusCode, path: path, body: html.UnescapeString(string(text)), header: res.Header}
		if res.StatusCode != http.StatusSeeOther {
			return p
		}
		to, err := url.Parse(res.Header.Get("Location"))
		if err != nil {
			v.h.t.Fatal(err)
		}
		if to.Host != "" {
			p.left = to.Query()
			return p
		}
		method, path, form = http.MethodGet, to.RequestURI(), nil
	}
	v.h.t.Error("too many redirects")
	return page{}
}

func (v *guest) get(path string) page { v.h.t.Helper(); return v.do(http.MethodGet, path, nil) }

func (v *guest) post(path string, fields ...string) page {
	v.h.t.Helper()
	return v.do(http.MethodPost, path, pairs(url.Values{}, fields...))
}

var formAction = regexp.MustCompile(`<form class="stack[^"]*" method="post" action="([^"]+)"`)

// submit sends the page's form.
func (v *guest) submit(p page, fields ...string) page {
	v.h.t.Helper()
	found := formAction.FindStringSubmatch(p.body)
	if found == nil {
		v.h.t.Fatalf("no form on %s (%d):\n%s", p.path, p.status, p.body)
	}
	return v.post(found[1], fields...)
}

// signsIn opens the account page with a password.
func (v *guest) signsIn(login string) *guest {
	v.h.t.Helper()
	p := v.password(v.get("/account"), login)
	if p.status != 200 || !strings.HasPrefix(p.path, "/account") {
		v.h.t.Fatalf("%s is not signed in: %d at %s", login, p.status, p.path)
	}
	return v
}

func (v *guest) password(p page, login string) page {
	v.h.t.Helper()
	return v.submit(p, "username", login, "password", password)
}

// code sends the present code of the person's second factor.
func (v *guest) code(p page, person string) page {
	v.h.t.Helper()
	code, err := v.h.mfa.Code(v.h.t.Context(), person)
	if err != nil {
		v.h.t.Fatal(err)
	}
	return v.submit(p, "code", code)
}

// enrol gives the person a second factor.
func (h *house) enrol(person string) {
	h.t.Helper()
	if err := h.mfa.Install(h.t.Context(), audit.System("test"), person, sampleSecret); err != nil {
		h.t.Fatal(err)
	}
}

// onOneDB is SQLite, for tests that store nothing of interest.
func onOneDB(t testing.TB) *db.DB { t.Helper(); return dbtest.Open(t, "sqlite") }

// testAddress is where every request of the tests comes from.
var testAddress = netip.MustParseAddr("127.0.0.1")

// contains is "yes" or "no".
func (p page) contains(text string) string {
	if strings.Contains(p.body, text) {
		return "yes"
	}
	return "no"
}

func (p page) must(t testing.TB, status int, text ...string) page {
	t.Helper()
	if p.status != status {
		t.Fatalf("status %d at %s, want %d\n%s", p.status, p.path, status, p.body)
	}
	for _, one := range text {
		if !strings.Contains(p.body, one) {
			t.Fatalf("%q is not on %s\n%s", one, p.path, p.body)
		}
	}
	return p
}
