package signin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/mfa"
)

const (
	rightPassword = "Beffroi-59!"
	sampleSecret  = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	appOrigin     = "http://app.test"
)

// people is a directory in memory that counts what it is asked.
type people struct {
	mu       sync.Mutex
	persons  map[string]directory.Person
	aliases  map[string]string // further names to sign in with → ID
	outcomes map[string]directory.Outcome
	slow     time.Duration
	down     atomic.Bool
	asked    atomic.Int64 // passwords checked
	onByID   func()       // runs once, before the next answer of ByID
}

func newPeople() *people {
	p := &people{persons: map[string]directory.Person{}, aliases: map[string]string{}, outcomes: map[string]directory.Outcome{}}
	for _, one := range []directory.Person{
		{ID: "id-mdupont", Login: "mdupont", DisplayName: "Marie Dupont", Mail: "marie.dupont@academie.test", Groups: []string{"helpdesk", "tous-personnels"}},
		{ID: "id-ssmith", Login: "ssmith", DisplayName: "Sarah Smith", Mail: "sarah.smith@academie.test", Language: "en", Groups: []string{"tous-personnels"}},
		{ID: "id-plefebvre", Login: "plefebvre", DisplayName: `Paul "<script>" Lefebvre`, Groups: []string{"tous-personnels"}},
		{ID: "id-gone", Login: "ancien", DisplayName: "Ancien Agent", Disabled: true},
	} {
		p.persons[one.ID] = one
	}
	p.aliases["marie.dupont@academie.test"] = "id-mdupont"
	return p
}

func (p *people) change(id string, fn func(*directory.Person)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.persons[id]
	fn(&one)
	p.persons[id] = one
}

func (p *people) find(login string) (directory.Person, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	typed := directory.CanonicalLogin(login)
	for _, one := range p.persons {
		if directory.CanonicalLogin(one.Login) == typed || p.aliases[typed] == one.ID {
			return one, true
		}
	}
	return directory.Person{}, false
}

func (p *people) Authenticate(ctx context.Context, login, password string) (directory.Person, directory.Outcome, error) {
	if p.down.Load() {
		return directory.Person{}, directory.Outcome{}, directory.ErrDown
	}
	if len(password) > 1024 {
		return directory.Person{}, directory.Outcome{Result: directory.Wrong}, nil
	}
	p.asked.Add(1)
	select {
	case <-time.After(p.slow):
	case <-ctx.Done():
		return directory.Person{}, directory.Outcome{}, ctx.Err()
	}
	one, ok := p.find(login)
	if !ok {
		return directory.Person{}, directory.Outcome{Result: directory.Unknown}, nil
	}
	p.mu.Lock()
	outcome, special := p.outcomes[one.ID]
	p.mu.Unlock()
	switch {
	case special && (password == rightPassword || !outcome.Proven):
		return one, outcome, nil
	case password == rightPassword:
		return one, directory.Outcome{Result: directory.OK, Proven: true}, nil
	}
	return one, directory.Outcome{Result: directory.Wrong}, nil
}

func (p *people) ByID(_ context.Context, id string) (directory.Person, error) {
	if p.down.Load() {
		return directory.Person{}, directory.ErrDown
	}
	if fn := p.onByID; fn != nil {
		p.onByID = nil
		fn()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.persons[id]
	if !ok {
		return directory.Person{}, directory.ErrUnknown
	}
	return one, nil
}

func (p *people) ByLogin(_ context.Context, login string) (directory.Person, error) {
	if p.down.Load() {
		return directory.Person{}, directory.ErrDown
	}
	one, ok := p.find(login)
	if !ok {
		return directory.Person{}, directory.ErrUnknown
	}
	return one, nil
}

func (p *people) Search(context.Context, directory.Query) ([]directory.Person, error) {
	return nil, nil
}
func (p *people) Ping(context.Context) error { return nil }

// protocol answers applications with a redirect that tells what it was given.
type protocol struct {
	d       *db.DB
	mu      sync.Mutex
	apps    map[string]Application
	results []Result
	broken  atomic.Bool
}

func (p *protocol) Finish(w http.ResponseWriter, r *http.Request, raw []byte, who Result) error {
	if p.broken.Load() {
		return errors.New("the protocol cannot store its code")
	}
	p.mu.Lock()
	p.results = append(p.results, who)
	p.mu.Unlock()
	v := url.Values{"who": {who.Person.ID}, "level": {strconv.Itoa(int(who.Level))}, "sid": {who.SID}, "amr": {strings.Join(who.AMR, " ")}, "raw": {string(raw)}}
	return web.Redirect(w, r, appOrigin+"/callback?"+v.Encode())
}

func (p *protocol) Refuse(w http.ResponseWriter, r *http.Request, _ []byte, why Refusal) error {
	return web.Redirect(w, r, appOrigin+"/callback?error="+why.Reason)
}

func (p *protocol) Application(_ context.Context, raw []byte) (Application, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, _, _ := strings.Cut(string(raw), " ")
	app, ok := p.apps[id]
	if !ok {
		return Application{}, db.ErrNotFound
	}
	return app, nil
}

// rig is the sign-in of a small academy behind a real HTTP server.
type rig struct {
	t        *testing.T
	d        *db.DB
	people   *people
	protocol *protocol
	mfa      *mfa.Service
	sessions *session.Store
	audit    *audit.Log
	service  *Service
	server   *httptest.Server
	clock    atomic.Int64 // µs
	ended    []string
}

func (g *rig) now() time.Time          { return time.UnixMicro(g.clock.Load()).UTC() }
func (g *rig) advance(d time.Duration) { g.clock.Add(d.Microseconds()) }

func newRig(t *testing.T, d *db.DB, cfg Config) *rig {
	t.Helper()
	g := &rig{t: t, d: d, people: newPeople()}
	g.clock.Store(noon.UnixMicro())
	g.audit = audit.New(d, g.now)
	g.mfa = mfa.New(d, secret.NewSealer([32]byte{1}), g.audit, mfa.Config{Issuer: "Académie de Test", MailCodes: mfa.MailCodeConfig{Enabled: true, OwnDomains: []string{"academie.test"}}}, g.now)
	g.sessions = session.New(d, session.Config{Site: "provider", Now: g.now})
	service, err := New(Dependencies{DB: d, Audit: g.audit, Directory: g.people, MFA: g.mfa, Sessions: g.sessions, Address: "http://id.test", Config: cfg, Now: g.now})
	if err != nil {
		t.Fatal(err)
	}
	g.service = service
	service.OnEnd(func(_ context.Context, person, sid string) error {
		g.ended = append(g.ended, person+" "+sid)
		return nil
	})
	g.protocol = &protocol{d: d, apps: map[string]Application{
		"weak":      {ID: "weak", Name: map[string]string{"fr": "Outil simple", "en": "Simple tool"}, Policy: Policy{Assurance: OneFactor}, Origins: []string{appOrigin}},
		"strong":    {ID: "strong", Name: map[string]string{"fr": "GLPI", "en": "GLPI"}, Policy: Policy{Assurance: TwoFactors}, Origins: []string{appOrigin}},
		"direction": {ID: "direction", Name: map[string]string{"fr": "Pilotage"}, Policy: Policy{Assurance: OneFactor, Groups: []string{"chefs-etablissement"}}, Origins: []string{appOrigin}},
	}}
	service.Register("test", g.protocol)

	mux := http.NewServeMux()
	base, _ := url.Parse("http://id.test")
	site := web.NewSite(web.SiteConfig{Kind: "provider", Name: "Académie de Test", BaseURL: base, ProviderURL: "http://id.test", PortalURL: "http://portail.test", Sessions: g.sessions, Audit: g.audit, Person: PersonInfo})
	service.Mount(mux, site)
	mux.Handle("GET /begin", site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		q := r.URL.Query()
		app, err := g.protocol.Application(r.Context(), []byte(q.Get("app")))
		if err != nil {
			return err
		}
		req := Request{Application: app, Protocol: "test", Raw: []byte(q.Get("app") + " " + q.Get("state")), Prompt: q.Get("prompt"), LoginHint: q.Get("hint"), UILocales: q.Get("locales"), Received: g.now()}
		if v := q.Get("max_age"); v != "" {
			n, _ := strconv.ParseInt(v, 10, 64)
			req.MaxAge = &n
		}
		if v := q.Get("level"); v != "" {
			n, _ := strconv.Atoi(v)
			req.Assurance = Level(n)
		}
		return service.Begin(w, r, req)
	}))
	mux.Handle("GET /fresh", site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		v, ok, err := service.Fresh(w, r, "/fresh", 10*time.Minute)
		if ok {
			_, err = io.WriteString(w, "fresh "+v.Login)
		}
		return err
	}))
	g.server = httptest.NewServer(mux)
	t.Cleanup(g.server.Close)
	return g
}

// browser is a visitor with cookies of their own.
type browser struct {
	g       *rig
	jar     http.CookieJar
	headers map[string]string
}

func (g *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return &browser{g: g, jar: jar, headers: map[string]string{"Accept-Language": "fr"}}
}

// answer is where a visit ended: the last page, or a redirect that left for an
// application.
type answer struct {
	status int
	path   string // of the last page, with its query
	body   string
	left   *url.URL // where the application was answered; nil when it was not
	header http.Header
}

func (b *browser) do(method, path string, form url.Values) answer {
	b.g.t.Helper()
	for range 10 {
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		req, err := http.NewRequest(method, b.g.server.URL+path, body)
		if err != nil {
			b.g.t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		for k, v := range b.headers {
			req.Header.Set(k, v)
		}
		client := &http.Client{Jar: b.jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res, err := client.Do(req)
		if err != nil {
			b.g.t.Error(err)
			return answer{}
		}
		raw, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		a := answer{status: res.StatusCode, path: path, body: string(raw), header: res.Header}
		if res.StatusCode != http.StatusSeeOther {
			return a
		}
		to, err := url.Parse(res.Header.Get("Location"))
		if err != nil {
			b.g.t.Fatal(err)
		}
		if to.Host != "" {
			a.left = to
			return a
		}
		method, path, form = http.MethodGet, to.RequestURI(), nil
	}
	b.g.t.Error("too many redirects")
	return answer{}
}

func (b *browser) get(path string) answer { b.g.t.Helper(); return b.do(http.MethodGet, path, nil) }
func (b *browser) post(path string, fields ...string) answer {
	b.g.t.Helper()
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, v)
}

var actionOf = regexp.MustCompile(`<form class="stack(?: stack-s)?" method="post" action="([^"]+)"`)

// submit sends the page's form.
func (b *browser) submit(a answer, fields ...string) answer {
	b.g.t.Helper()
	found := actionOf.FindStringSubmatch(a.body)
	if found == nil {
		b.g.t.Fatalf("no form on %s (%d):\n%s", a.path, a.status, a.body)
	}
	return b.post(found[1], fields...)
}

func (b *browser) password(a answer, login, password string) answer {
	b.g.t.Helper()
	return b.submit(a, "username", login, "password", password)
}

// code sends the present code of the person.
func (b *browser) code(a answer, person string) answer {
	b.g.t.Helper()
	v, err := b.g.mfa.Code(context.Background(), person)
	if err != nil {
		b.g.t.Fatal(err)
	}
	return b.submit(a, "code", v, "by", "totp")
}

func (g *rig) enrol(person string) {
	g.t.Helper()
	if err := g.mfa.Install(context.Background(), audit.System("test"), person, sampleSecret); err != nil {
		g.t.Fatal(err)
	}
}

// asks tells which step a page is.
func asks(a answer) string {
	switch {
	case a.left != nil && a.left.Query().Has("error"):
		return "error " + a.left.Query().Get("error")
	case a.left != nil:
		return "done " + a.left.Query().Get("who") + " " + a.left.Query().Get("level")
	case strings.Contains(a.body, `action="/signin?`):
		return "password"
	case strings.Contains(a.body, `action="/signin/factor?`):
		return "factor"
	case strings.Contains(a.body, `action="/signin/enrol`):
		return "enrol"
	case strings.Contains(a.body, `action="/signin/account?`):
		return "account"
	}
	return "status " + strconv.Itoa(a.status)
}

func want(t *testing.T, a answer, expected string) {
	t.Helper()
	if got := asks(a); got != expected {
		t.Fatalf("%s, want %s (%d at %s)\n%s", got, expected, a.status, a.path, a.body)
	}
}

func (g *rig) trail(action string) []audit.Row {
	g.t.Helper()
	rows, err := g.audit.List(context.Background(), audit.Filter{Action: action, Limit: 1000})
	if err != nil {
		g.t.Fatal(err)
	}
	return rows
}

func (g *rig) rows(table string) int {
	g.t.Helper()
	if !slices.Contains([]string{"session", "signin_flow", "signin_guess", "audit"}, table) {
		g.t.Fatal(table)
	}
	var n int
	if err := g.d.QueryRow(context.Background(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
		g.t.Fatal(err)
	}
	return n
}

func (g *rig) data(a answer) sessionData {
	g.t.Helper()
	sess, err := g.sessions.Alive(context.Background(), a.left.Query().Get("sid"))
	if err != nil {
		g.t.Fatal(err)
	}
	var data sessionData
	if err := json.Unmarshal(sess.Data, &data); err != nil {
		g.t.Fatal(err)
	}
	return data
}
