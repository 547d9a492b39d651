package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/session"
	"beffroi/internal/web"
)

type fixture struct {
	site  *web.Site
	audit *audit.Log
	log   *bytes.Buffer
}

func newSite(t *testing.T, base string, change ...func(*web.SiteConfig)) fixture {
	t.Helper()
	d := dbtest.Open(t, "sqlite")
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{audit: audit.New(d, time.Now), log: &bytes.Buffer{}}
	c := web.SiteConfig{Kind: "provider", Name: "Académie d’essai", BaseURL: u, Audit: f.audit, Log: slog.New(slog.NewTextHandler(f.log, nil)),
		Sessions: session.New(d, session.Config{Site: "provider"}), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, fn := range change {
		fn(&c)
	}
	f.site = web.NewSite(c)
	return f
}

func ok(w http.ResponseWriter, _ *http.Request) error {
	_, err := io.WriteString(w, "ok")
	return err
}

func do(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryPageCarriesTheHeaders(t *testing.T) {
	f := newSite(t, "https://id.example.test")
	for name, h := range map[string]web.Handler{"a page": ok, "an error": func(http.ResponseWriter, *http.Request) error { return errors.New("x") }} {
		res := do(f.site.Browser(h), httptest.NewRequest("GET", "/", nil))
		csp := res.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: policy without %q: %s", name, part, csp)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", name, csp)
		}
		for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Strict-Transport-Security": "max-age=31536000"} {
			if got := res.Header.Get(header); got != want {
				t.Errorf("%s: %s = %q, want %q", name, header, got, want)
			}
		}
	}
	plain := newSite(t, "http://localhost:8080")
	if got := do(plain.site.Browser(ok), httptest.NewRequest("GET", "/", nil)).Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("http promised https: %s", got)
	}
}

func TestPostFromAnotherOriginIsRefusedAndAudited(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	reached := false
	h := f.site.Browser(func(w http.ResponseWriter, r *http.Request) error { reached = true; return ok(w, r) })
	for name, header := range map[string][2]string{
		"another site": {"Origin", "https://evil.test"}, "null": {"Origin", "null"}, "cross-site": {"Sec-Fetch-Site", "cross-site"},
		"same-site": {"Sec-Fetch-Site", "same-site"}, "the other port": {"Origin", "http://localhost:8081"},
	} {
		r := httptest.NewRequest("POST", "http://localhost:8080/signin", strings.NewReader("username=x"))
		r.Header.Set(header[0], header[1])
		res := do(h, r)
		if res.StatusCode != http.StatusForbidden || reached {
			t.Errorf("%s: status %d, reached %v", name, res.StatusCode, reached)
		}
	}
	rows, err := f.audit.List(t.Context(), audit.Filter{Action: "web.origin"})
	if err != nil || len(rows) != 5 {
		t.Errorf("%d audit rows (%v), want 5", len(rows), err)
	}
	r := httptest.NewRequest("POST", "http://localhost:8080/signin", strings.NewReader("username=x"))
	r.Header.Set("Origin", "http://localhost:8080")
	if res := do(h, r); res.StatusCode != 200 || !reached {
		t.Errorf("own origin: %d", res.StatusCode)
	}
}

func TestVisitorAndOperatorSeeDifferentThings(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	res := do(f.site.Browser(func(http.ResponseWriter, *http.Request) error {
		return errors.New("dial 10.9.8.7: secret-host refused")
	}), httptest.NewRequest("GET", "/x", nil))
	page := body(t, res)
	id := res.Header.Get("X-Request-Id")
	if res.StatusCode != 500 || strings.Contains(page, "secret-host") || !strings.Contains(page, id) || id == "" {
		t.Errorf("status %d, number %q, page %s", res.StatusCode, id, page)
	}
	if !strings.Contains(f.log.String(), "secret-host") || !strings.Contains(f.log.String(), id) {
		t.Errorf("log %s", f.log)
	}
}

func TestPanicIsAnAnswerNotADeadConnection(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	res := do(f.site.Browser(func(http.ResponseWriter, *http.Request) error { panic("at the disco") }), httptest.NewRequest("GET", "/", nil))
	if res.StatusCode != 500 || !strings.Contains(f.log.String(), "at the disco") || strings.Contains(body(t, res), "disco") {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestAddressBehindProxiesIsTheVisitors(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	seen := ""
	h := f.site.API(func(w http.ResponseWriter, r *http.Request) error {
		seen = web.ClientIP(r.Context()).String()
		return ok(w, r)
	})
	for name, c := range map[string]struct{ peer, forwarded, want string }{
		"no proxy":                     {"192.0.2.1:999", "", "192.0.2.1"},
		"header from a visitor":        {"192.0.2.1:999", "198.51.100.9", "192.0.2.1"},
		"trusted proxy":                {"10.0.0.1:999", "198.51.100.9", "198.51.100.9"},
		"two trusted proxies":          {"10.0.0.1:999", "198.51.100.9, 10.0.0.2", "198.51.100.9"},
		"forged beginning":             {"10.0.0.1:999", "1.1.1.1, 198.51.100.9", "198.51.100.9"},
		"garbage":                      {"10.0.0.1:999", "198.51.100.9, nonsense", "10.0.0.1"},
		"IPv4 in IPv6":                 {"[::ffff:192.0.2.1]:999", "", "192.0.2.1"},
		"trusted proxy without header": {"10.0.0.1:999", "", "10.0.0.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		do(h, r)
		if seen != c.want {
			t.Errorf("%s: %s, want %s", name, seen, c.want)
		}
	}
}

func TestBodiesAreLimited(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	read := func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.ReadAll(r.Body); err != nil {
			return err
		}
		return ok(w, r)
	}
	big := strings.Repeat("x", 65<<10)
	for name, h := range map[string]http.Handler{"page": f.site.Browser(read), "API": f.site.API(read)} {
		if res := do(h, httptest.NewRequest("POST", "/", strings.NewReader(big))); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	if res := do(f.site.Browser(web.MaxBody(1<<20, read)), httptest.NewRequest("POST", "/", strings.NewReader(big))); res.StatusCode != 200 {
		t.Errorf("an upload of 65 KiB where 1 MiB is allowed: %d", res.StatusCode)
	}
	if res := do(f.site.Browser(web.MaxBody(1<<20, read)), httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", 1<<20+1)))); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an upload over 1 MiB: %d", res.StatusCode)
	}
}

func TestFormActionTakesOriginsOnly(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	res := do(f.site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		web.AllowFormAction(w, "https://glpi.example.test", "http://127.0.0.1:*", "fr.academie.appli:", "data:", "https://evil.test; script-src *", "javascript:alert(1)", "https://x.test/path", "'unsafe-inline'")
		return ok(w, r)
	}), httptest.NewRequest("GET", "/", nil))
	csp := res.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "form-action 'self' https://glpi.example.test http://127.0.0.1:* fr.academie.appli:;") {
		t.Errorf("policy %s", csp)
	}
}

func TestPicturesOfOtherOriginsAreAllowedPerAnswer(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	res := do(f.site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		web.AllowImages(w, "https://glpi.example.test", "https://glpi.example.test", "https://x.test; script-src *", "*", "https://x.test/logo.png")
		web.AllowFormAction(w, "https://glpi.example.test")
		return ok(w, r)
	}), httptest.NewRequest("GET", "/", nil))
	csp := res.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "img-src 'self' data: https://glpi.example.test;") || !strings.Contains(csp, "form-action 'self' https://glpi.example.test;") {
		t.Errorf("policy %s", csp)
	}
	res = do(f.site.Browser(ok), httptest.NewRequest("GET", "/", nil))
	if csp := res.Header.Get("Content-Security-Policy"); strings.Contains(csp, "example.test") {
		t.Errorf("the next answer allows it too: %s", csp)
	}
}

func TestReturnPathsStayHere(t *testing.T) {
	for path, want := range map[string]string{
		"/mail/?page=2": "/mail/?page=2", "": "/", "https://evil.test/": "/", "//evil.test": "/", "/\\evil.test": "/", "/\t/evil.test": "/",
		"javascript:alert(1)": "/", "mail": "/", "/a\nb": "/", "/\x00": "/", "/ok#frag": "/ok#frag",
	} {
		if got := web.LocalPath(path); got != want {
			t.Errorf("LocalPath(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestLanguageIsChosenThenRememberedThenTheBrowsers(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	show := f.site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(w, string(web.Lang(r.Context())))
		return err
	})
	get := func(accept string, cookies ...*http.Cookie) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", accept)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		return body(t, do(show, r))
	}
	if get("en") != "en" || get("fr") != "fr" || get("") != "fr" || get("de") != "fr" {
		t.Error("the browser's language is not followed")
	}
	r := httptest.NewRequest("POST", "/language", strings.NewReader("lang=en&next=//evil.test"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res := do(f.site.Browser(f.site.ChooseLanguage), r)
	if res.StatusCode != 303 || res.Header.Get("Location") != "/" || len(res.Cookies()) != 1 {
		t.Fatalf("choice: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	chosen := res.Cookies()[0]
	res = do(f.site.Browser(func(w http.ResponseWriter, r *http.Request) error {
		_ = web.RememberLanguage(r.Context(), w, r, "fr-FR")
		return ok(w, r)
	}), httptest.NewRequest("GET", "/", nil))
	directory := res.Cookies()[0]
	if got := get("en", directory); got != "fr" {
		t.Errorf("directory fr, browser en: %s", got)
	}
	if got := get("fr", directory, chosen); got != "en" {
		t.Errorf("chosen en, directory fr: %s", got)
	}
	bad := httptest.NewRequest("POST", "/language", strings.NewReader("lang=xx"))
	bad.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if res := do(f.site.Browser(f.site.ChooseLanguage), bad); res.StatusCode != 400 {
		t.Errorf("unknown language: %d", res.StatusCode)
	}
}

func TestWrongHostIsSentToTheRightOne(t *testing.T) {
	base, _ := url.Parse("https://id.example.test")
	h := web.OnHost(base, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), "/oauth2/introspect")
	for target, want := range map[string]string{
		"https://id.example.test/signin?x=1": "", "https://10.0.0.5/oauth2/introspect": "",
		"https://evil.test/signin?x=%2F": "https://id.example.test/signin?x=%2F", "https://id.example.test:8443/a": "https://id.example.test/a",
	} {
		res := do(h, httptest.NewRequest("GET", target, nil))
		if got := res.Header.Get("Location"); got != want || (want == "" && res.StatusCode != 204) {
			t.Errorf("%s: %d to %q, want %q", target, res.StatusCode, got, want)
		}
	}
}

func TestUnknownPathsAndMethodsHavePages(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	mux := http.NewServeMux()
	mux.Handle("POST /signin", f.site.Browser(ok))
	mux.Handle("GET /mail/", f.site.Browser(ok))
	h := f.site.Routes(mux)
	if res := do(h, httptest.NewRequest("GET", "/nothing", nil)); res.StatusCode != 404 || !strings.Contains(body(t, res), "<h1") {
		t.Errorf("unknown path: %d", res.StatusCode)
	}
	if res := do(h, httptest.NewRequest("GET", "/signin", nil)); res.StatusCode != 405 || res.Header.Get("Allow") != "POST" || !strings.Contains(body(t, res), "<h1") {
		t.Errorf("wrong method: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	if res := do(h, httptest.NewRequest("GET", "/mail", nil)); res.StatusCode != 307 && res.StatusCode != 301 {
		t.Errorf("missing slash: %d", res.StatusCode)
	}
	if res := do(h, httptest.NewRequest("GET", "/mail/1", nil)); res.StatusCode != 200 {
		t.Errorf("known path: %d", res.StatusCode)
	}
}

func TestStaticFilesAreKeptForGoodUnderTheirHash(t *testing.T) {
	h := web.Static()
	r := httptest.NewRequest("GET", web.Asset("app.css"), nil)
	r.Header.Set("Accept-Encoding", "gzip")
	res := do(h, r)
	if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || res.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/css") {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res := do(h, httptest.NewRequest("GET", "/static/old/app.css", nil)); res.StatusCode != 200 || strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("an old hash: %d %s", res.StatusCode, res.Header.Get("Cache-Control"))
	}
	for _, path := range []string{"/static/x/../../etc/passwd", "/static/x/nothing.css", "/static/"} {
		if res := do(h, httptest.NewRequest("GET", path, nil)); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

func TestErrorPageSpeaksTheLanguageOfTheVisitor(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	h := f.site.Browser(func(http.ResponseWriter, *http.Request) error { return web.Fail(404, "web.error.not_found", nil) })
	for accept, want := range map[string]string{"fr": `lang="fr"`, "en": `lang="en"`} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Language", accept)
		if page := body(t, do(h, r)); !strings.Contains(page, want) || strings.Contains(page, "web.error") {
			t.Errorf("%s: %s", accept, page)
		}
	}
}

// A wrong password answers a POST: the other language must not lose the flow.
func TestLanguageSwitchComesBackToThePageOfTheForm(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	h := f.site.Browser(func(http.ResponseWriter, *http.Request) error { return web.Fail(400, "web.error.language", nil) })
	for _, c := range []struct{ method, target, referer, want string }{
		{"GET", "/signin?flow=1", "http://localhost:8080/elsewhere", "/signin?flow=1"},
		{"POST", "/mail/send", "http://localhost:8080/mail/compose?to=2", "/mail/compose?to=2"},
		{"POST", "/signin?flow=1", "", "/signin?flow=1"},
		{"POST", "/signin?flow=1", "http://evil.test/trap", "/signin?flow=1"},
	} {
		r := httptest.NewRequest(c.method, "http://localhost:8080"+c.target, nil)
		r.Header.Set("Referer", c.referer)
		if page := body(t, do(h, r)); !strings.Contains(page, `name="next" value="`+c.want+`"`) {
			t.Errorf("%s %s from %q: the page does not lead back to %s", c.method, c.target, c.referer, c.want)
		}
	}
}

func TestVisitorWhoLeavesIsNoFailureOfOurs(t *testing.T) {
	f := newSite(t, "http://localhost:8080")
	ctx, cancel := context.WithCancel(t.Context())
	h := f.site.Browser(func(http.ResponseWriter, *http.Request) error {
		cancel()
		return web.Fail(http.StatusBadGateway, "web.error.internal", errors.New("mail: context canceled"))
	})
	do(h, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	if _, failed := f.site.Counts(); failed != 0 || strings.Contains(f.log.String(), "ERROR") || !strings.Contains(f.log.String(), "status=499") {
		t.Errorf("%d failures, log %s", failed, f.log)
	}
}
