package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/signin"
)

// world is a provider over HTTP with a directory and a door that tests control.
// Everything else is the real thing.
type world struct {
	t      testing.TB
	db     *db.DB
	p      *Provider
	audit  *audit.Log
	people *people
	door   *testDoor
	http   *httptest.Server
	clock  *clock
	files  []Client
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// people is a directory in memory, and the gate before it.
type people struct {
	mu       sync.Mutex
	byID     map[string]directory.Person
	sessions map[string]string    // living sid → person
	ended    map[string]time.Time // last sign-out everywhere
	down     bool
	admitted int
}

func (d *people) ByID(_ context.Context, id string) (directory.Person, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return directory.Person{}, directory.ErrDown
	}
	p, ok := d.byID[id]
	if !ok {
		return directory.Person{}, directory.ErrUnknown
	}
	return p, nil
}

// password is everybody's.
const password = "Beffroi-59!"

func (d *people) Authenticate(ctx context.Context, login, given string) (p directory.Person, o directory.Outcome, err error) {
	p, err = d.ByLogin(ctx, login)
	switch {
	case err == directory.ErrUnknown:
		return p, directory.Outcome{Result: directory.Unknown}, nil
	case err != nil:
		return p, o, err
	case given != password:
		return p, directory.Outcome{Result: directory.Wrong}, nil
	case p.Disabled:
		return p, directory.Outcome{Result: directory.Disabled, Proven: true}, nil
	}
	return p, directory.Outcome{Result: directory.OK, Proven: true}, nil
}

func (d *people) ByLogin(ctx context.Context, login string) (directory.Person, error) {
	d.mu.Lock()
	found := ""
	for id, p := range d.byID {
		if p.Login == login {
			found = id
		}
	}
	d.mu.Unlock()
	return d.ByID(ctx, found)
}

func (d *people) Search(_ context.Context, q directory.Query) ([]directory.Person, error) {
	var found []directory.Person
	for _, p := range d.byID {
		if strings.Contains(strings.ToLower(p.DisplayName), strings.ToLower(q.Text)) {
			found = append(found, p)
		}
	}
	return found, nil
}

func (d *people) Ping(context.Context) error { return nil }

func (d *people) change(id string, fn func(p *directory.Person)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.byID[id]
	fn(&p)
	d.byID[id] = p
}

func (d *people) Admit(ctx context.Context, id string, app signin.Application, sid string) (directory.Person, error) {
	d.mu.Lock()
	d.admitted++
	alive := sid == "" || d.sessions[sid] == id
	d.mu.Unlock()
	if !alive {
		return directory.Person{}, &signin.ErrRefused{Reason: signin.SessionEnded}
	}
	p, err := d.ByID(ctx, id)
	switch {
	case err == directory.ErrUnknown:
		return p, &signin.ErrRefused{Reason: signin.Gone}
	case err != nil:
		return p, err
	case p.Disabled:
		return p, &signin.ErrRefused{Reason: signin.Disabled}
	case len(app.Policy.Groups) > 0 && !slices.ContainsFunc(app.Policy.Groups, func(g string) bool { return slices.Contains(p.Groups, g) }):
		return p, &signin.ErrRefused{Reason: signin.NotInGroup}
	}
	return p, nil
}

func (d *people) AdmitOffline(ctx context.Context, id string, app signin.Application, proven time.Time) (directory.Person, error) {
	d.mu.Lock()
	ended, ok := d.ended[id]
	d.mu.Unlock()
	if ok && !proven.After(ended) {
		return directory.Person{}, &signin.ErrRefused{Reason: signin.SessionEnded}
	}
	return d.Admit(ctx, id, app, "")
}

// testDoor signs in whoever the test says, at once.
type testDoor struct {
	w      *world
	mu     sync.Mutex
	result *signin.Result // nil: nobody is signed in
	last   signin.Request
	ended  int
}

func (d *testDoor) Begin(w http.ResponseWriter, r *http.Request, req signin.Request) error {
	d.mu.Lock()
	d.last = req
	result := d.result
	d.mu.Unlock()
	f := d.w.p.Finisher()
	if req.Protocol == DeviceProtocol {
		f = d.w.p.DeviceFinisher()
	}
	if result == nil {
		if req.Prompt == "none" {
			return f.Refuse(w, r, req.Raw, signin.Refusal{Reason: signin.LoginRequired})
		}
		return web.Redirect(w, r, "/signin?flow=1")
	}
	return f.Finish(w, r, req.Raw, *result)
}

func (d *testDoor) Local(t time.Time) time.Time { return t }
func (d *testDoor) Highest() signin.Level       { return signin.TwoFactors }

func (d *testDoor) EndSession(ctx context.Context, _ http.ResponseWriter, _ *http.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended++
	if d.result == nil {
		return nil
	}
	person, sid := d.result.Person.ID, d.result.SID
	d.w.people.mu.Lock()
	delete(d.w.people.sessions, sid)
	d.w.people.mu.Unlock()
	d.result = nil
	return d.w.p.SessionEnded(ctx, person, sid)
}

const (
	marie   = "6a1f0f52-0000-4000-8000-000000000001"
	paul    = "6a1f0f52-0000-4000-8000-000000000002"
	back    = "https://tool.example.test/callback"
	secret1 = "tool-secret-of-the-tests"
)

var testSealer = secret.NewSealer([32]byte{7})

// testKeys makes the signing keys once for all tests of the binary.
var testKeys = sync.OnceValues(func() ([]*key, error) {
	var all []*key
	for _, alg := range algorithms {
		signer, err := generate(alg)
		if err != nil {
			return nil, err
		}
		k, err := newKey(alg, signer)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
})

func tool(change ...func(c *Client)) Client {
	c := Client{ID: "tool", Name: map[string]string{"fr": "L’outil", "en": "The tool"}, Home: "https://tool.example.test/", RedirectURIs: []string{back, "http://127.0.0.1/callback"},
		PostLogoutURIs: []string{"https://tool.example.test/bye"}, SecretHashes: []string{secret.Hash(secret1)},
		Scopes: []string{"openid", "profile", "email", "groups", "offline_access", "people", "applications", "mail", "dav"},
		Grants: []string{GrantCode, GrantRefresh, GrantClientCredentials, GrantExchange, GrantDevice}, ExchangeTo: []string{"imap", "nothing"}}
	for _, fn := range change {
		fn(&c)
	}
	return c
}

func defaultClients() []Client {
	return []Client{
		tool(),
		tool(func(c *Client) { c.ID, c.Home = "other", "" }),
		tool(func(c *Client) { c.ID, c.IDTokenAlg, c.PKCEWaived, c.Home = "old", ES256, true, "" }),
		tool(func(c *Client) { c.ID, c.Groups = "heads", []string{"chefs-etablissement"} }),
		narrowClient,
		tool(func(c *Client) { c.ID, c.Home, c.JWKS = "jar", "", jwksOfTests(foreignAlgs...) }),
		tool(func(c *Client) {
			c.ID, c.Public, c.SecretHashes, c.Grants, c.ExchangeTo, c.Home = "spa", true, nil, []string{GrantCode, GrantRefresh}, nil, ""
		}),
		tool(func(c *Client) { c.ID, c.Scopes, c.Home = "robot", []string{"reports", "stock"}, "" }),
		tool(func(c *Client) { c.ID, c.Assurance, c.Home = "vault", 2, "" }),
		{ID: "printer", Name: map[string]string{"fr": "L’imprimante", "en": "The printer"}, Public: true, Grants: []string{GrantDevice, GrantRefresh}, Contact: "3650"},
		{ID: "imap", Name: map[string]string{"fr": "Courrier"}, Audience: "imap", Scopes: []string{"mail"}, SecretHashes: []string{secret.Hash(secret1)}},
		{ID: "proconnect", Name: map[string]string{"fr": "ProConnect"}, Profile: ProfileProConnect, Assurance: 1, SecretHashes: []string{secret.Hash(secret1)},
			RedirectURIs: []string{back}, PostLogoutURIs: []string{"https://tool.example.test/bye"}},
		{ID: "dav", Name: map[string]string{"fr": "Agenda"}, Audience: "dav", Scopes: []string{"dav"}, SecretHashes: []string{secret.Hash(secret1)}},
	}
}

// newWorld starts a provider on d, at http://HOST of a test server.
func newWorld(t testing.TB, d *db.DB, settings ...func(c *Config)) *world {
	t.Helper()
	return buildWorld(t, d, func(_ *world, parts *Dependencies, _ *session.Store) func(web.Mux, *web.Site) {
		for _, set := range settings {
			set(&parts.Config)
		}
		return nil
	})
}

// buildWorld is newWorld with other parts: change replaces some, and returns
// what mounts their routes.
func buildWorld(t testing.TB, d *db.DB, change func(w *world, parts *Dependencies, sessions *session.Store) func(web.Mux, *web.Site)) *world {
	t.Helper()
	w := &world{t: t, db: d, clock: &clock{at: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}, files: defaultClients()}
	w.audit = audit.New(d, w.clock.now)
	w.people = &people{byID: map[string]directory.Person{
		marie: {ID: marie, Login: "mdupont", DisplayName: "Marie Dupont", GivenName: "Marie", FamilyName: "Dupont", Mail: "marie.dupont@academie.test", Language: "fr", Groups: []string{"helpdesk", "tous-personnels"}, UAI: []string{"0590001A"}, Phone: "+33 3 20 00 00 01", Title: "Adjointe"},
		paul:  {ID: paul, Login: "pmartin", DisplayName: `Paul "<script>" Martin`, Mail: "paul.martin@academie.test", Language: "en", Groups: []string{"chefs-etablissement"}},
	}, sessions: map[string]string{"sid-1": marie}, ended: map[string]time.Time{}}
	w.door = &testDoor{w: w}
	w.signIn(marie, "sid-1")

	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		one := *k
		one.serial, one.created, one.signs = 1, w.clock.now(), w.clock.now()
		if _, err := (&Keys{db: d, sealer: testSealer}).store(t.Context(), &one); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	w.http = httptest.NewUnstartedServer(mux)
	w.http.Start()
	t.Cleanup(w.http.Close)
	base, _ := url.Parse(w.http.URL)
	parts := Dependencies{DB: d, Sealer: testSealer, Audit: w.audit, Directory: w.people, Gate: w.people, SignIn: w.door,
		Config: Config{Issuer: w.http.URL, Applications: w.files, ProConnect: sampleProConnect()}, Log: slog.New(slog.DiscardHandler), Now: w.clock.now}
	sessions := session.New(d, session.Config{Site: "provider", Now: w.clock.now})
	mount := change(w, &parts, sessions)
	w.p, err = New(parts)
	if err != nil {
		t.Fatal(err)
	}
	site := web.NewSite(web.SiteConfig{Kind: "provider", Name: "Académie de test", BaseURL: base, ProviderURL: w.http.URL, Sessions: sessions, Audit: w.audit})
	w.p.Mount(mux, site)
	if mount != nil {
		mount(mux, site)
	}
	return w
}

// register adds an application as the configuration file would.
func (w *world) register(c Client) {
	w.t.Helper()
	if err := errors.Join(c.Validate()...); err != nil {
		w.t.Fatal(err)
	}
	c = c.withDefaults(1)
	w.p.clients.loading.Lock()
	defer w.p.clients.loading.Unlock()
	w.p.clients.fixed[c.ID] = &c
	stored, err := w.p.clients.stored(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.p.clients.current.Store(w.p.clients.assemble(stored))
}

// client is a registered application.
func (w *world) client(id string) *Client {
	w.t.Helper()
	c, err := w.p.clients.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { fn(t, newWorld(t, d)) })
}

// onBothWith is onBoth with other settings.
func onBothWith(t *testing.T, set func(c *Config), fn func(t *testing.T, w *world)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { fn(t, newWorld(t, d, set)) })
}

// onOne runs a test that stores nothing of interest.
func onOne(t testing.TB) *world { t.Helper(); return newWorld(t, dbtest.Open(t, "sqlite")) }

func (w *world) signIn(person, sid string) {
	w.people.mu.Lock()
	defer w.people.mu.Unlock()
	w.people.sessions[sid] = person
	w.door.mu.Lock()
	defer w.door.mu.Unlock()
	w.door.result = &signin.Result{Person: w.people.byID[person], SID: sid, AuthTime: w.clock.now().Add(-time.Minute), AMR: []string{"pwd", "otp", "mfa"}, Level: signin.TwoFactors}
}

// answer is what an endpoint said.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (a answer) text(name string) string { s, _ := a.json[name].(string); return s }

// location is what an authorization answer tells the application, whichever
// way it travels.
func (a answer) location() url.Values {
	if a.header.Get("Location") == "" {
		return a.posted()
	}
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return nil
	}
	if u.Fragment != "" {
		q, _ := url.ParseQuery(u.EscapedFragment())
		return q
	}
	return u.Query()
}

var browser = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func (w *world) send(r *http.Request) answer {
	w.t.Helper()
	res, err := browser.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(body)}
	_ = json.Unmarshal(body, &a.json)
	return a
}

func (w *world) get(path string, header ...string) answer {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, w.http.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.send(r)
}

// post sends a form, as the client by Basic when one is named ("id" or
// "id:secret").
func (w *world) post(path, client string, form url.Values) answer {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.http.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		id, pass, ok := strings.Cut(client, ":")
		if !ok {
			pass = secret1
		}
		r.SetBasicAuth(id, pass)
	}
	return w.send(r)
}

const verifier = "a-verifier-of-the-tests-that-has-43-characters"

func challengeOf(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pairs makes a form of name, value pairs; a value "-" removes the name.
func pairs(form url.Values, change ...string) url.Values {
	for i := 0; i+1 < len(change); i += 2 {
		if change[i+1] == "-" {
			form.Del(change[i])
		} else {
			form.Set(change[i], change[i+1])
		}
	}
	return form
}

func request(client string, change ...string) url.Values {
	return pairs(url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {back}, "scope": {"openid profile email groups"},
		"state": {"st-1"}, "nonce": {"no-1"}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"}}, change...)
}

func (w *world) authorize(form url.Values) answer {
	w.t.Helper()
	return w.get("/oauth2/authorize?" + form.Encode())
}

// code signs in and returns a fresh code.
func (w *world) code(client string, change ...string) string {
	w.t.Helper()
	a := w.authorize(request(client, change...))
	code := a.location().Get("code")
	if a.status != http.StatusSeeOther || code == "" {
		w.t.Fatalf("no code: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	return code
}

func (w *world) redeem(client, code string, change ...string) answer {
	w.t.Helper()
	return w.post("/oauth2/token", client, pairs(url.Values{"grant_type": {GrantCode}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}}, change...))
}

// tokens signs in and returns the token answer.
func (w *world) tokens(client string, change ...string) answer {
	w.t.Helper()
	a := w.redeem(client, w.code(client, change...))
	w.must(a, 200)
	return a
}

func (w *world) refresh(client, token string, change ...string) answer {
	w.t.Helper()
	return w.post("/oauth2/token", client, pairs(url.Values{"grant_type": {GrantRefresh}, "refresh_token": {token}}, change...))
}

func (w *world) exchange(client, subject string, change ...string) answer {
	w.t.Helper()
	return w.post("/oauth2/token", client, pairs(url.Values{"grant_type": {GrantExchange}, "subject_token": {subject}, "subject_token_type": {typeAccessToken}, "audience": {"imap"}}, change...))
}

func (w *world) introspect(client, token string) answer {
	w.t.Helper()
	return w.post("/oauth2/introspect", client, url.Values{"token": {token}})
}

func (w *world) userinfo(token string) answer {
	w.t.Helper()
	return w.get("/userinfo", "Authorization", "Bearer "+token)
}

func (w *world) must(a answer, status int) {
	w.t.Helper()
	if a.status != status {
		w.t.Fatalf("status %d, want %d: %s %s", a.status, status, a.header.Get("Location"), a.body)
	}
}

// refusedWith asserts a protocol error in the body.
func (w *world) refusedWith(a answer, code string) {
	w.t.Helper()
	if a.status < 400 || a.text("error") != code || a.text("access_token") != "" || a.text("id_token") != "" {
		w.t.Fatalf("got %d %s, want the error %s", a.status, a.body, code)
	}
}

// redirectedWith asserts a protocol error at the redirect URI.
func (w *world) redirectedWith(a answer, code string) {
	w.t.Helper()
	q := a.location()
	if a.status != http.StatusSeeOther && len(a.posted()) == 0 || q.Get("error") != code || q.Get("code") != "" || q.Get("iss") != w.http.URL {
		w.t.Fatalf("got %d %s %s, want the error %s at the redirect URI", a.status, a.header.Get("Location"), a.body, code)
	}
}

// notRedirected asserts a page that leads nowhere.
func (w *world) notRedirected(a answer) {
	w.t.Helper()
	if a.status < 400 || a.status >= 500 || a.header.Get("Location") != "" || a.header.Get("Refresh") != "" {
		w.t.Fatalf("got %d %s, want an error page", a.status, a.header.Get("Location"))
	}
}

func (w *world) active(client, token string) bool {
	w.t.Helper()
	a := w.introspect(client, token)
	w.must(a, 200)
	active, _ := a.json["active"].(bool)
	if !active && strings.TrimSpace(a.body) != `{"active":false}` {
		w.t.Fatalf("an inactive token says more: %s", a.body)
	}
	return active
}

// trail returns how many audit rows have the action and the reason.
func (w *world) trail(action, reason string) int {
	w.t.Helper()
	rows, err := w.audit.List(w.t.Context(), audit.Filter{Action: action, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, r := range rows {
		if reason == "" || r.Detail["reason"] == reason {
			n++
		}
	}
	return n
}

func hashOf(s string) string { return secret.Hash(s) }
