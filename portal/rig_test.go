package portal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
)

// rig is a portal on loopback before a provider of the tests.
type rig struct {
	t      *testing.T
	op     *op
	web    *httptest.Server
	portal *Portal
	db     *db.DB
	offset atomic.Int64 // how far the portal's clock is ahead
	config Config
	sealer *secret.Sealer
}

// probe is a module that shows what modules get.
type probe struct {
	p *Portal

	mu   sync.Mutex
	gone []string
	left []string
}

// Leave notes who signs out, and that there is still a token to finish with.
func (m *probe) Leave(ctx context.Context) {
	_, _, err := m.p.TokenFor(ctx, "imap")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = append(m.left, fmt.Sprint(Who(ctx).Login, " ", err))
}

// Forget notes whose session has ended.
func (m *probe) Forget(person string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = append(m.gone, person)
}

func (m *probe) forgotten() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone
}

func (*probe) Name() string { return "mail" }

func (m *probe) Mount(p *Portal, mux web.Mux) {
	m.p = p
	mux.Handle("GET /mail/who", p.Signed(func(w http.ResponseWriter, r *http.Request) error {
		person := Who(r.Context())
		_, err := fmt.Fprintf(w, "who=%s sub=%s sid=%t", person.Login, person.Sub, SessionID(r.Context()) != "")
		return err
	}))
	mux.Handle("GET /mail/token", p.Signed(func(w http.ResponseWriter, r *http.Request) error {
		token, expires, err := p.TokenFor(r.Context(), "imap")
		if err != nil {
			return err
		}
		// What reaches the browser is a fingerprint: whose, and which.
		owner := strings.Split(strings.TrimPrefix(token, "exchanged-imap-"), "-")[0]
		_, err = fmt.Fprintf(w, "who=%s token-of=%s valid=%t id=%s", Who(r.Context()).Login, owner, expires.After(p.Now()), secret.Hash(token))
		return err
	}))
	mux.Handle("GET /mail/later", p.Signed(func(w http.ResponseWriter, r *http.Request) error {
		return p.Mandate(w, r, "/mail/scheduled?done=later")
	}))
	mux.Handle("POST /mail/send", p.Signed(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(w, "sent by "+Who(r.Context()).Login)
		return err
	}))
}

func newRig(t *testing.T, d *db.DB, provider *op) *rig {
	t.Helper()
	r := &rig{t: t, op: provider, db: d, sealer: secret.NewSealer([32]byte{1, 2, 3})}
	var handler http.Handler
	r.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { handler.ServeHTTP(w, q) }))
	t.Cleanup(r.web.Close)
	r.config = Config{BaseURL: r.web.URL, Issuer: provider.URL, ClientID: clientID, ClientSecret: clientSecret}
	r.portal, handler = r.build()
	t.Cleanup(r.portal.Close)
	return r
}

// build makes another portal on the same database and origin: a replica, or
// the same one after a restart.
func (r *rig) build() (*Portal, http.Handler) {
	r.t.Helper()
	now := func() time.Time { return time.Now().Add(time.Duration(r.offset.Load())) }
	sessions := session.New(r.db, session.Config{Site: "portal", Now: now, Idle: 100 * time.Hour, Absolute: 1000 * time.Hour})
	base, _ := url.Parse(r.web.URL)
	trail := audit.New(r.db, now)
	log := slog.New(slog.DiscardHandler)
	site := web.NewSite(web.SiteConfig{Kind: "portal", Name: "Académie", BaseURL: base, ProviderURL: r.op.URL, PortalURL: r.web.URL, Sessions: sessions,
		Audit: trail, FormAction: []string{r.op.URL}, Log: log, Person: PersonInfo})
	p, err := New(Dependencies{Config: r.config, DB: r.db, Sealer: r.sealer, Audit: trail, Sessions: sessions, Site: site, Log: log, Now: now}, &probe{})
	if err != nil {
		r.t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.Mount(mux)
	return p, mux
}

func (r *rig) later(d time.Duration) { r.offset.Add(int64(d)) }

// browser keeps cookies and follows nothing by itself.
type browser struct {
	*http.Client
	rig *rig
}

func (r *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, r}
}

type page struct {
	status   int
	location string
	body     string
	header   http.Header
}

func (b *browser) get(path string) page { return b.do(http.MethodGet, path, nil) }

func (b *browser) do(method, path string, header map[string]string) page {
	b.rig.t.Helper()
	p, err := b.try(method, path, header)
	if err != nil {
		b.rig.t.Fatal(err)
	}
	return p
}

func (b *browser) try(method, path string, header map[string]string) (page, error) {
	address := path
	if strings.HasPrefix(path, "/") {
		address = b.rig.web.URL + path
	}
	request, err := http.NewRequest(method, address, nil)
	if err != nil {
		return page{}, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err := b.Do(request)
	if err != nil {
		return page{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return page{answer.StatusCode, answer.Header.Get("Location"), string(body), answer.Header}, err
}

// signIn walks from a page to the provider and back.
func (b *browser) signIn(login, path string) page {
	b.rig.t.Helper()
	sent := b.get(path)
	if sent.status != http.StatusSeeOther {
		b.rig.t.Fatalf("%s answers %d: %s", path, sent.status, sent.body)
	}
	return b.get(b.rig.op.authorize(b.rig.t, sent.location, login))
}

func sqlite(t *testing.T) *db.DB { return dbtest.Open(t, "sqlite") }

func signedInRig(t *testing.T) (*rig, *browser) {
	t.Helper()
	r := newRig(t, sqlite(t), newOP(t))
	b := r.browser()
	if back := b.signIn("mdupont", "/mail/who"); back.status != http.StatusSeeOther || back.location != "/mail/who" {
		t.Fatalf("the callback answers %d %q %s", back.status, back.location, back.body)
	}
	return r, b
}

func want(t *testing.T, p page, status int, contains string) {
	t.Helper()
	if p.status != status || !strings.Contains(p.body, contains) {
		t.Fatalf("answer is %d (%q), want %d with %q: %.1500s", p.status, p.location, status, contains, p.body)
	}
}
