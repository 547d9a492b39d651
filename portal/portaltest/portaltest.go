// Package portaltest gives the tests of modules a real portal on loopback, with
// a small provider that lets in whomever the test names.
package portaltest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/portal"
)

// Rig is a portal with its provider. People is what /api/people answers.
type Rig struct {
	URL    string
	Portal *portal.Portal
	People []portal.Colleague

	t        testing.TB
	provider *httptest.Server
	key      *rsa.PrivateKey
	mu       sync.Mutex
	codes    map[string][2]string // login and nonce by code
	tokens   map[string]string    // login by access token
}

// New starts a portal with these modules and the DAV servers of c.
func New(t testing.TB, c portal.Config, modules ...portal.Module) *Rig {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r := &Rig{t: t, key: key, codes: map[string][2]string{}, tokens: map[string]string{}}
	r.provider = httptest.NewServer(http.HandlerFunc(r.answer))
	t.Cleanup(r.provider.Close)
	var handler http.Handler
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { handler.ServeHTTP(w, q) }))
	t.Cleanup(site.Close)
	r.URL = site.URL
	c.BaseURL, c.Issuer, c.ClientID, c.ClientSecret = site.URL, r.provider.URL, "portal", "secret"
	d := dbtest.Open(t, "sqlite")
	base, _ := url.Parse(site.URL)
	log := slog.New(slog.DiscardHandler)
	sessions := session.New(d, session.Config{Site: "portal"})
	trail := audit.New(d, time.Now)
	s := web.NewSite(web.SiteConfig{Kind: "portal", Name: "Académie", BaseURL: base, PortalURL: site.URL, ProviderURL: r.provider.URL, Sessions: sessions, Audit: trail, Log: log, Person: portal.PersonInfo})
	r.Portal, err = portal.New(portal.Dependencies{Config: c, DB: d, Sealer: secret.NewSealer([32]byte{7}), Audit: trail, Sessions: sessions, Site: s, Log: log, Now: time.Now}, modules...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Portal.Close)
	mux := http.NewServeMux()
	r.Portal.Mount(mux)
	handler = mux
	return r
}

// answer is the whole provider.
func (r *Rig) answer(w http.ResponseWriter, q *http.Request) {
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	at := r.provider.URL
	switch q.URL.Path {
	case "/.well-known/openid-configuration":
		reply(map[string]any{"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token", "jwks_uri": at + "/jwks",
			"introspection_endpoint": at + "/introspect", "id_token_signing_alg_values_supported": []string{"RS256"}})
	case "/jwks":
		reply(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &r.key.PublicKey, KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	case "/introspect":
		reply(map[string]bool{"active": true})
	case "/api/people":
		r.mu.Lock()
		defer r.mu.Unlock()
		found := []portal.Colleague{}
		for _, p := range r.People {
			if strings.Contains(strings.ToLower(p.Name+p.Login), strings.ToLower(q.URL.Query().Get("q"))) {
				found = append(found, p)
			}
		}
		reply(found)
	case "/api/applications":
		reply([]any{})
	case "/token":
		reply(r.token(q))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (r *Rig) token(q *http.Request) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	token := rand.Text()
	if subject := q.FormValue("subject_token"); subject != "" {
		r.tokens[token] = r.tokens[subject]
		return map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600}
	}
	who := r.codes[q.FormValue("code")]
	r.tokens[token] = who[0]
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: r.key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	id, err := jwt.Signed(signer).Claims(map[string]any{"iss": r.provider.URL, "sub": "sub-" + who[0], "aud": "portal", "nonce": who[1], "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"preferred_username": who[0], "name": "Name of " + who[0], "email": who[0] + "@academie.test", "groups": []string{}}).Serialize()
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return map[string]any{"access_token": token, "refresh_token": rand.Text(), "id_token": id, "token_type": "Bearer", "expires_in": 3600}
}

// Browser is one visitor; redirects are not followed by themselves.
type Browser struct {
	rig    *Rig
	client *http.Client
}

// Page is an answer.
type Page struct {
	Status         int
	Location, Body string
	Header         http.Header
}

// SignIn opens a browser in which login is signed in.
func (r *Rig) SignIn(login string) *Browser {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	b := &Browser{r, &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	u, err := url.Parse(b.Get("/").Location)
	if err != nil {
		r.t.Fatal(err)
	}
	code := rand.Text()
	r.mu.Lock()
	r.codes[code] = [2]string{login, u.Query().Get("nonce")}
	r.mu.Unlock()
	if back := b.Get("/callback?" + url.Values{"code": {code}, "state": {u.Query().Get("state")}}.Encode()); back.Location != "/" {
		r.t.Fatalf("sign in as %s: %d %s", login, back.Status, back.Body)
	}
	return b
}

// Get opens a page.
func (b *Browser) Get(path string) Page { return b.send(http.MethodGet, path, "") }

// Post sends a form.
func (b *Browser) Post(path string, form url.Values) Page {
	return b.send(http.MethodPost, path, form.Encode())
}

func (b *Browser) send(method, path, body string) Page {
	b.rig.t.Helper()
	q, err := http.NewRequest(method, b.rig.URL+path, strings.NewReader(body))
	if err != nil {
		b.rig.t.Fatal(err)
	}
	q.Header.Set("Sec-Fetch-Site", "same-origin")
	q.Header.Set("Accept-Language", "fr")
	if method == http.MethodPost {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := b.client.Do(q)
	if err != nil {
		b.rig.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.rig.t.Fatal(err)
	}
	return Page{answer.StatusCode, answer.Header.Get("Location"), string(text), answer.Header}
}

// Want fails the test unless the page has this status and holds these texts.
func (p Page) Want(t testing.TB, status int, texts ...string) Page {
	t.Helper()
	if p.Status != status {
		t.Fatalf("status is %d (%s), want %d: %.2000s", p.Status, p.Location, status, p.Body)
	}
	for _, text := range texts {
		if !strings.Contains(p.Body, text) {
			t.Fatalf("%q is missing: %.6000s", text, p.Body)
		}
	}
	return p
}

// Input is the value of the hidden field of a form.
func (p Page) Input(name string) string {
	_, rest, _ := strings.Cut(p.Body, `name="`+name+`" value="`)
	value, _, _ := strings.Cut(rest, `"`)
	return strings.NewReplacer("&#34;", `"`, "&amp;", "&", "&#39;", "'", "&#43;", "+").Replace(value)
}

// Link is the first address that begins like this.
func (p Page) Link(prefix string) string {
	_, rest, ok := strings.Cut(p.Body, `href="`+prefix)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return prefix + strings.ReplaceAll(value, "&amp;", "&")
}
