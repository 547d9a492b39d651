package helpdesk

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/signin"
)

const (
	rightPassword = "Beffroi-59!"
	sampleSecret  = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
)

// people is a directory in memory; the parts of a search are held to the rules
// that the real one is tested for.
type people struct {
	mu   sync.Mutex
	list []directory.Person
}

func (p *people) find(fits func(directory.Person) bool) (directory.Person, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.list {
		if fits(one) {
			return one, nil
		}
	}
	return directory.Person{}, directory.ErrUnknown
}

func (p *people) ByID(_ context.Context, id string) (directory.Person, error) {
	return p.find(func(o directory.Person) bool { return o.ID == id })
}

func (p *people) ByLogin(_ context.Context, login string) (directory.Person, error) {
	return p.find(func(o directory.Person) bool { return strings.EqualFold(o.Login, login) })
}

func (p *people) Authenticate(ctx context.Context, login, password string) (directory.Person, directory.Outcome, error) {
	one, err := p.ByLogin(ctx, login)
	if err != nil {
		return one, directory.Outcome{Result: directory.Unknown}, nil
	}
	if password != rightPassword {
		return one, directory.Outcome{Result: directory.Wrong}, nil
	}
	return one, directory.Outcome{Result: directory.OK, Proven: true}, nil
}

func (p *people) Search(_ context.Context, q directory.Query) (found []directory.Person, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.list {
		within := slices.ContainsFunc(q.Within, func(w directory.Within) bool {
			return w.Everyone || given{Delegation: Delegation{Schools: w.Schools, Groups: w.Groups, Kinds: w.Kinds, Functions: w.Functions}}.serves(one)
		})
		text := strings.ToLower(one.DisplayName + " " + one.Login + " " + one.Mail)
		all := !slices.ContainsFunc(strings.Fields(strings.ToLower(q.Text)), func(word string) bool { return !strings.Contains(text, word) })
		if within && all && (len(q.AlsoIn) == 0 || anyFold(q.AlsoIn, one.UAI...)) {
			found = append(found, one)
		}
	}
	return found, nil
}

func (p *people) Roll(ctx context.Context, within []directory.Within) (all []directory.Member, err error) {
	found, err := p.Search(ctx, directory.Query{Within: within})
	for _, o := range found {
		all = append(all, directory.Member{ID: o.ID, Login: o.Login, DisplayName: o.DisplayName, Schools: o.UAI, Kind: o.Kind})
	}
	return all, err
}

func (p *people) Ping(context.Context) error { return nil }

// rig is the desk of the academy of may_test.go behind a real HTTP server.
type rig struct {
	t        *testing.T
	d        *db.DB
	people   *people
	mfa      *mfa.Service
	sessions *session.Store
	audit    *audit.Log
	signin   *signin.Service
	desk     *Desk
	server   *httptest.Server
	routes   []string
	clock    atomic.Int64
}

func (g *rig) now() time.Time          { return time.UnixMicro(g.clock.Load()).UTC() }
func (g *rig) advance(d time.Duration) { g.clock.Add(d.Microseconds()) }

// Handle notes what is mounted.
func (g *rig) mux() (*http.ServeMux, web.Mux) {
	m := http.NewServeMux()
	return m, noted{m, g}
}

type noted struct {
	*http.ServeMux
	g *rig
}

func (n noted) Handle(pattern string, h http.Handler) {
	n.g.routes = append(n.g.routes, pattern)
	n.ServeMux.Handle(pattern, h)
}

func newRig(t *testing.T, d *db.DB, change func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, d: d, people: &people{list: []directory.Person{marie, karim, sarah, head, paul, aicha, paie}}}
	g.clock.Store(noon.UnixMicro())
	sealer := secret.NewSealer([32]byte{1})
	g.audit = audit.New(d, g.now)
	g.mfa = mfa.New(d, sealer, g.audit, mfa.Config{Issuer: "Académie de Test"}, g.now)
	g.sessions = session.New(d, session.Config{Site: "provider", Now: g.now})
	var err error
	if g.signin, err = signin.New(signin.Dependencies{DB: d, Audit: g.audit, Directory: g.people, MFA: g.mfa, Sessions: g.sessions, Address: "http://id.test", Now: g.now}); err != nil {
		t.Fatal(err)
	}
	c := academy()
	if change != nil {
		change(&c)
	}
	if g.desk, err = New(Dependencies{DB: d, Sealer: sealer, Audit: g.audit, Directory: g.people, MFA: g.mfa, SignIn: g.signin, Roll: g.people, Name: "Académie de Test", Address: "http://id.test", Contact: "03 20 00 00 00", Config: c, Now: g.now}); err != nil {
		t.Fatal(err)
	}
	base, _ := url.Parse("http://id.test")
	site := web.NewSite(web.SiteConfig{Kind: "provider", Name: "Académie de Test", BaseURL: base, ProviderURL: "http://id.test", PortalURL: "http://portail.test", Sessions: g.sessions, Audit: g.audit, Person: signin.PersonInfo})
	plain, noting := g.mux()
	g.desk.Mount(noting, site)
	g.signin.Mount(plain, site)
	g.server = httptest.NewServer(plain)
	t.Cleanup(g.server.Close)
	return g
}

func each(t *testing.T, fn func(t *testing.T, g *rig)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { fn(t, newRig(t, d, nil)) })
}

// browser is a visitor with cookies of their own.
type browser struct {
	g   *rig
	jar http.CookieJar
}

type answer struct {
	status int
	path   string
	body   string
}

func (g *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return &browser{g, jar}
}

func (b *browser) do(method, path string, form url.Values) answer {
	for range 10 {
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		req, err := http.NewRequest(method, b.g.server.URL+path, body)
		if err != nil {
			b.g.t.Error(err)
			return answer{}
		}
		req.Header.Set("Accept-Language", "fr")
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		client := &http.Client{Jar: b.jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res, err := client.Do(req)
		if err != nil {
			b.g.t.Error(err)
			return answer{}
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusSeeOther {
			return answer{res.StatusCode, path, string(text)}
		}
		method, path, form = http.MethodGet, res.Header.Get("Location"), nil
	}
	b.g.t.Error("too many redirects")
	return answer{}
}

func (b *browser) get(path string) answer { return b.do(http.MethodGet, path, nil) }

func (b *browser) post(path string, fields ...string) answer {
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Add(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, v)
}

var flowAction = regexp.MustCompile(`action="(/signin[^"]*)"`)

// signed is a browser of the person: with a second factor of now, or without any.
func (g *rig) signed(p directory.Person, factor bool) *browser {
	g.t.Helper()
	b := g.browser()
	path := "/account"
	if factor {
		if n, err := g.mfa.Count(context.Background(), p.ID); err != nil {
			g.t.Fatal(err)
		} else if n == 0 {
			if err := g.mfa.Install(context.Background(), audit.System("test"), p.ID, sampleSecret); err != nil {
				g.t.Fatal(err)
			}
		}
		path = "/account/protect" // asks for a second factor
	}
	page := b.get(path)
	page = b.post(flowAction.FindStringSubmatch(page.body)[1], "username", p.Login, "password", rightPassword)
	if factor {
		g.advance(31 * time.Second)
		code, err := g.mfa.Code(context.Background(), p.ID)
		if err != nil {
			g.t.Fatal(err)
		}
		page = b.post(flowAction.FindStringSubmatch(page.body)[1], "code", code)
	}
	if page.status != http.StatusOK || !strings.HasPrefix(page.path, "/account") {
		g.t.Fatalf("%s is not signed in: %d at %s", p.Login, page.status, page.path)
	}
	return b
}

func (g *rig) trail(action, target string) (rows []audit.Row) {
	g.t.Helper()
	rows, err := g.audit.List(context.Background(), audit.Filter{Action: action, Target: target, Limit: 1000})
	if err != nil {
		g.t.Fatal(err)
	}
	return rows
}

// done is the part of the trail that tells of what was done.
func (g *rig) done(action, target string) []audit.Row {
	g.t.Helper()
	return slices.DeleteFunc(g.trail(action, target), func(r audit.Row) bool { return r.Outcome != "ok" })
}

func (g *rig) factors(p directory.Person) int {
	g.t.Helper()
	all, err := g.mfa.Factors(context.Background(), p.ID)
	if err != nil {
		g.t.Fatal(err)
	}
	return len(all)
}

// verified notes that the helper knows the caller.
func (g *rig) verified(h Helper, p directory.Person) {
	g.t.Helper()
	if err := g.desk.Verify(context.Background(), h, p.ID, InPerson, "", "salle des maîtres"); err != nil {
		g.t.Fatal(err)
	}
}

// seated is a helper with a factor of now.
func (g *rig) seated(p directory.Person) Helper { return Helper{Person: p, FactorAt: g.now()} }

func listenAndServe(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
