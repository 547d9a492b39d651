package webmail

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/portal/dav"
	"beffroi/templates"
)

// rig is the webmail in front of a mail server, with a portal whose visitors
// are who their cookie says.
type rig struct {
	t       testing.TB
	s       *service
	module  *Module
	web     *httptest.Server
	content *httptest.Server // strangers' documents, where they are shown apart
	dovecot *testpeer.DovecotServer
	tokens  *tokens
	portal  *fakePortal
}

// tokens stands for the provider: it gives and introspects tokens.
type tokens struct {
	mu      sync.Mutex
	number  atomic.Int64
	revoked map[string]bool
	current map[string]string
	server  *httptest.Server
	down    atomic.Bool // no token is good
}

func newTokens(t testing.TB) *tokens {
	k := &tokens{revoked: map[string]bool{}, current: map[string]string{}}
	k.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.PostFormValue("token")
		k.mu.Lock()
		login, good := strings.CutPrefix(token, "token-")
		good = good && !k.revoked[token] && !k.down.Load()
		k.mu.Unlock()
		login, _, _ = strings.Cut(login, "-")
		w.Header().Set("Content-Type", "application/json")
		if !good {
			_ = json.NewEncoder(w).Encode(map[string]any{"active": false})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"active": true, "username": login, "scope": "mail", "sub": "sub-" + login})
	}))
	t.Cleanup(k.server.Close)
	return k
}

func (k *tokens) give(login string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current[login] == "" || k.revoked[k.current[login]] {
		k.current[login] = fmt.Sprintf("token-%s-%d", login, k.number.Add(1))
	}
	return k.current[login]
}

// rotate makes the next token another one; the present one stays good.
func (k *tokens) rotate(login string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.current, login)
}

func (k *tokens) revoke(login string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoked[k.current[login]] = true
}

type visitor struct{}

// fakePortal is the part of the portal that the webmail calls.
type fakePortal struct {
	site   *web.Site
	tokens *tokens
	anyone string // who a visitor without a cookie is: for browsers
	ended  atomic.Bool

	mandates atomic.Int64
	dav      *dav.Server
	chosen   sync.Map
	recorded sync.Map
	gone     string // of these nobody is signed in
}

func (f *fakePortal) Signed(h web.Handler) http.Handler {
	return f.site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		c, err := r.Cookie("login")
		if err != nil && f.anyone != "" {
			c, err = &http.Cookie{Value: f.anyone}, nil
		}
		if err != nil {
			return web.Fail(http.StatusUnauthorized, "web.error.internal", err)
		}
		return h(w, r.WithContext(context.WithValue(r.Context(), visitor{}, c.Value)))
	})
}

func (f *fakePortal) TokenFor(ctx context.Context, audience string) (string, time.Time, error) {
	login, _ := ctx.Value(visitor{}).(string)
	if login == "" || audience != "imap" || f.ended.Load() {
		return "", time.Time{}, portal.ErrSignedOut
	}
	return f.tokens.give(login), time.Now().Add(time.Hour), nil
}

// Of finds a session of whoever signed in.
func (f *fakePortal) Of(ctx context.Context, person string) (context.Context, error) {
	if f.gone != "" && strings.HasPrefix(person, f.gone) {
		return nil, portal.ErrSignedOut
	}
	return f.As(ctx, strings.TrimPrefix(person, "sub-"))
}

// Record keeps what would stand in the audit trail.
func (f *fakePortal) Record(ctx context.Context, action, target string, detail map[string]string) error {
	f.recorded.Store(action+" "+personOf(ctx).Login+" "+target, detail)
	return nil
}

// HasCalendars tells whether a test has a calendar server.
func (f *fakePortal) HasCalendars() bool { return f.dav != nil }

func (f *fakePortal) Calendars(ctx context.Context) *dav.Client {
	return f.dav.For(personOf(ctx).Login)
}

// People is a directory of three.
func (f *fakePortal) People(_ context.Context, text string) (found []portal.Colleague, err error) {
	if text == "panne" {
		return nil, portal.ErrUnavailable
	}
	for _, c := range []portal.Colleague{{ID: "sub-jmartin", Login: "jmartin", Name: "Martin, Jean-François", Mail: "jmartin@academie.test", Title: "Principal", School: "0590002B"}, {Name: "Sans Adresse"}, {ID: "sub-ssmith", Login: "ssmith", Name: "Sarah Smith", Mail: "ssmith@academie.test"}, {ID: "sub-mdupont", Login: "mdupont", Name: "Marie Dupont", Mail: "mdupont@academie.test"}, {Name: "Sarah Martin", Mail: "smartin@academie.test"}} {
		if strings.Contains(strings.ToLower(c.Name+" "+c.Login+" "+c.Mail), strings.ToLower(text)) {
			found = append(found, c)
		}
	}
	return found, nil
}

// Public asks for nobody.
func (f *fakePortal) Public(h web.Handler) http.Handler { return f.site.Browser(h) }

// Mandate is given at once.
func (f *fakePortal) Mandate(w http.ResponseWriter, r *http.Request, next string) error {
	f.mandates.Add(1)
	return web.Redirect(w, r, next)
}

// Preference and SetPreference keep what one person chose.
func (f *fakePortal) Preference(ctx context.Context, name string) (string, error) {
	v, _ := f.chosen.Load(personOf(ctx).Sub + " " + name)
	text, _ := v.(string)
	return text, nil
}

func (f *fakePortal) SetPreference(ctx context.Context, name, value string) error {
	f.chosen.Store(personOf(ctx).Sub+" "+name, value)
	return nil
}

// EndMandates gives back what Mandate gave.
func (f *fakePortal) EndMandates(context.Context, string) error {
	f.mandates.Store(0)
	return nil
}

// Check says no when the session has ended.
func (f *fakePortal) Check(context.Context) error {
	if f.ended.Load() {
		return portal.ErrSignedOut
	}
	return nil
}

// As takes the login for the session.
func (f *fakePortal) As(ctx context.Context, sid string) (context.Context, error) {
	if f.ended.Load() {
		return nil, portal.ErrSignedOut
	}
	return context.WithValue(ctx, visitor{}, sid), nil
}

func (f *fakePortal) Refused(ctx context.Context, token string) {
	f.tokens.mu.Lock()
	defer f.tokens.mu.Unlock()
	f.tokens.revoked[token] = true
}

func personOf(ctx context.Context) portal.Person {
	login, _ := ctx.Value(visitor{}).(string)
	mail := login + "@academie.test"
	name := map[string]string{"mdupont": "Marie Dupont", "jmartin": "Jean-François Martin", "ssmith": "Sarah Smith"}[login]
	return portal.Person{Sub: "sub-" + login, Login: login, Name: name, Mail: mail, Groups: groupsOf[login]}
}

// groupsOf are the groups of people, where a test gives them some.
var groupsOf = map[string][]string{"mdupont": {"direction-0590001a", "enseignants"}}

// elsewhere stands for the address of the origin apart.
const elsewhere = "elsewhere"

// newRig starts the webmail in front of a Dovecot of its own.
func newRig(t testing.TB) *rig { t.Helper(); return newRigShowing(t, "") }

// newRigApart shows strangers' documents on an origin apart.
func newRigApart(t testing.TB) *rig { t.Helper(); return newRigShowing(t, elsewhere) }

func newRigShowing(t testing.TB, content string, changes ...func(*portal.MailConfig)) *rig {
	t.Helper()
	k := newTokens(t)
	address := strings.Replace(k.server.URL, "http://", "http://imap:secret@", 1) + "/introspect"
	d := testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: address})
	c := portal.MailConfig{IMAP: d.IMAP, IMAPTLS: "starttls", Submission: d.Submission, SubmissionTLS: "starttls", Sieve: d.Sieve, CAFile: d.CAFile, Timeout: 5 * time.Second, Content: portal.ContentConfig{BaseURL: content}}
	for _, change := range changes {
		change(&c)
	}
	r := newRigAt(t, k, c)
	r.dovecot = d
	return r
}

// newRigAt starts the webmail in front of whatever listens at the addresses.
func newRigAt(t testing.TB, k *tokens, c portal.MailConfig) *rig {
	t.Helper()
	return newRigOn(t, k, c, dbtest.Open(t, "sqlite"))
}

func newRigOn(t testing.TB, k *tokens, c portal.MailConfig, d *db.DB) *rig {
	t.Helper()
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	mux, apart := http.NewServeMux(), http.NewServeMux()
	pages, content := httptest.NewServer(mux), httptest.NewServer(apart)
	if c.Content.BaseURL == elsewhere {
		c.Content.BaseURL = content.URL
	}
	m, err := New(Dependencies{Config: c, Origin: pages.URL, DB: d, Sealer: secret.NewSealer([32]byte{1}), Log: log, Location: time.FixedZone("CET", 3600)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, s: m.s, module: m, tokens: k}
	m.s.person = personOf
	m.s.config.Undo = c.Undo // at once, unless a test says otherwise
	m.s.session = func(ctx context.Context) string { return personOf(ctx).Login }
	mux.Handle("GET /static/", web.Static())
	r.web, r.content = pages, content
	base, _ := url.Parse(r.web.URL)
	site := web.NewSite(web.SiteConfig{Kind: "portal", Name: "Académie de Beffroi", BaseURL: base, PortalURL: r.web.URL, ProviderURL: "http://localhost:8080", Log: log, FrameSrc: []string{cmp.Or(c.Content.BaseURL, "'self'")},
		Person: func(ctx context.Context) *templates.PersonInfo {
			p := personOf(ctx)
			return &templates.PersonInfo{Name: p.Name, Login: p.Login, Mail: p.Mail}
		}})
	r.portal = &fakePortal{site: site, tokens: k}
	m.s.mount(r.portal, mux)
	base, _ = url.Parse(content.URL)
	m.Content(web.NewSite(web.SiteConfig{Kind: "content", Name: "Académie de Beffroi", BaseURL: base, Log: log}), apart)
	t.Cleanup(func() { r.web.Close(); r.content.Close(); m.Close() })
	return r
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	defer func() { _ = recover() }() // a background line after the test's end
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// browser is one visitor's browser.
type browser struct {
	r      *rig
	client *http.Client
	last   *http.Response
	body   string
}

func (r *rig) browser(login string) *browser {
	jar, _ := cookiejar.New(nil)
	u, _ := url.Parse(r.web.URL)
	jar.SetCookies(u, []*http.Cookie{{Name: "login", Value: login, Path: "/"}})
	return &browser{r: r, client: &http.Client{Jar: jar, Timeout: time.Minute}}
}

func (b *browser) do(req *http.Request) string {
	b.r.t.Helper()
	req.Header.Set("Accept-Language", "fr")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := b.client.Do(req)
	if err != nil {
		b.r.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.r.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	b.last, b.body = resp, string(body)
	return b.body
}

func (b *browser) get(path string) string {
	b.r.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, b.r.web.URL+path, nil)
	return b.do(req)
}

func (b *browser) post(path string, form url.Values) string {
	b.r.t.Helper()
	req, _ := http.NewRequest(http.MethodPost, b.r.web.URL+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

// upload sends the compose form with files.
func (b *browser) upload(form url.Values, files map[string]string) string {
	b.r.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for key, values := range form {
		for _, v := range values {
			_ = w.WriteField(key, v)
		}
	}
	for name, content := range files {
		part, _ := w.CreateFormFile("files", name)
		_, _ = part.Write([]byte(content))
	}
	_ = w.Close()
	req, _ := http.NewRequest(http.MethodPost, b.r.web.URL+"/mail/compose", &body)
	req.Header.Set("Content-Type", w.FormDataContentType())
	return b.do(req)
}

func (b *browser) status(want int) {
	b.r.t.Helper()
	if b.last.StatusCode != want {
		b.r.t.Fatalf("%s %s: status %d, want %d\n%s", b.last.Request.Method, b.last.Request.URL, b.last.StatusCode, want, textOf(sanitize(b.body, nil, "").Body))
	}
}

func (b *browser) sees(words ...string) {
	b.r.t.Helper()
	for _, w := range words {
		if !strings.Contains(b.body, w) {
			b.r.t.Fatalf("%s: the page does not say %q:\n%s", b.last.Request.URL, w, textOf(sanitize(b.body, nil, "").Body))
		}
	}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// form is the compose form as the page holds it.
func (b *browser) form() url.Values {
	f := url.Values{}
	_, after, _ := strings.Cut(b.body, "data-mail-compose")
	for _, m := range hiddenField.FindAllStringSubmatch(after, -1) {
		f.Set(m[1], htmlText(m[2]))
	}
	for _, name := range []string{"to", "cc", "bcc", "subject"} {
		if m := regexp.MustCompile(`name="` + name + `" type="text" value="([^"]*)"`).FindStringSubmatch(after); m != nil {
			f.Set(name, htmlText(m[1]))
		}
	}
	if m := regexp.MustCompile(`(?s)<textarea[^>]*>\n(.*?)</textarea>`).FindStringSubmatch(after); m != nil {
		f.Set("text", htmlText(m[1]))
	}
	for _, m := range regexp.MustCompile(`name="keep" value="([^"]*)"`).FindAllStringSubmatch(after, -1) {
		f.Add("keep", htmlText(m[1]))
	}
	return f
}

func htmlText(s string) string {
	return strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#43;", "+").Replace(s)
}

var rowHref = regexp.MustCompile(`class="mail-row-link" href="([^"]+)"`)

// rows are the addresses of the messages in the list, newest first.
func (b *browser) rows() []string {
	var list []string
	for _, m := range rowHref.FindAllStringSubmatch(b.body, -1) {
		list = append(list, htmlText(m[1]))
	}
	return list
}

func (b *browser) keys() []string {
	var list []string
	for _, m := range regexp.MustCompile(`name="m" value="([^"]+)" id=`).FindAllStringSubmatch(b.body, -1) {
		list = append(list, m[1])
	}
	return list
}

func toFlags(words ...string) (flags []imap.Flag) {
	for _, w := range words {
		flags = append(flags, imap.Flag(w))
	}
	return flags
}
