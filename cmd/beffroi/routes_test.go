package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"beffroi/cmd/beffroi/demo"
	"beffroi/internal/web"
)

// Who may call a route. Each names what a call without it must meet.
const (
	byAnyone        = "anyone"              // a document or a page that shows nothing of anybody
	byForm          = "a form of this site" // anyone, but never a form of another site
	byOutsideForm   = "another site's form" // read without cookies, and sent on as a GET
	byFlow          = "a browser with its flow"
	bySession       = "a browser with a session"
	byPortalSession = "a browser with a portal session"
	byClient        = "an application with its secret or key"
	byBearer        = "a bearer token with the scope"
	byInvitation    = "an invitation, or the token of the registration"
	byLogoutToken   = "a logout token of the provider"
	byTicket        = "an address that the portal sealed"
	byLink          = "a link to a file that somebody gave"
	byInner         = "whoever reaches the inner address"
)

// inventory is every route of the house. A route that is not here fails the
// test: whoever adds one says who may call it, and the test tries without.
var inventory = map[string]map[string]string{
	"provider": {
		"GET /{$}": byAnyone, "GET /static/": byAnyone, "GET /favicon.ico": byAnyone, "GET /robots.txt": byAnyone, "POST /language": byForm,

		"GET /signin": byFlow, "POST /signin": byFlow, "GET /signin/factor": byFlow, "POST /signin/factor": byFlow,
		"GET /signin/enrol": byFlow, "POST /signin/enrol": byFlow, "GET /signin/qr": byFlow, "POST /signin/account": byFlow, "POST /signin/switch": byFlow,
		"POST /signin/later": byFlow, "POST /signin/mailcode": byFlow, "GET /signin/passkey": byFlow, "POST /signin/passkey": byFlow, "POST /signin/enrol/passkey": byFlow, "POST /signin/enrol/key": byFlow,
		"GET /signin/lost": byAnyone, "GET /enrol": byAnyone,
		"GET /account": bySession, "GET /account/{$}": bySession, "GET /account/signout": bySession, "POST /account/signout": bySession,
		"GET /helpdesk": byAnyone /* leads to the desk */, "GET /helpdesk/{$}": bySession, "GET /helpdesk/requests": bySession, "POST /helpdesk/requests/{id}": bySession, "GET /helpdesk/{sub}": bySession,
		"POST /helpdesk/{sub}/{action}": bySession, "GET /account/phrase": bySession,
		"GET /helpdesk/schools/{uai}": bySession, "GET /helpdesk/schools/{uai}/letters": bySession, "POST /helpdesk/schools/{uai}/letters": bySession, "GET /helpdesk/follow-up": bySession, "GET /helpdesk/follow-up.csv": bySession, "GET /helpdesk/keys": bySession, "POST /helpdesk/keys/import": bySession, "GET /helpdesk/keys/imports/{id}": bySession, "POST /helpdesk/keys/imports/{id}": bySession,
		"GET /helpdesk/keys/{serial}": bySession, "POST /helpdesk/keys/{serial}": bySession, "GET /helpdesk/receipts/{serial}": bySession,
		"POST /account/phrase": bySession,
		"GET /account/protect": bySession, "GET /account/factors/{id}": bySession, "POST /account/factors/{id}": bySession, "POST /account/factors/{id}/remove": bySession,
		"GET /account/passkeys/new": bySession, "GET /account/passkeys/options": bySession, "POST /account/passkeys/new": bySession,
		"GET /account/totp/new": bySession, "GET /account/totp/qr": bySession, "POST /account/totp/new": bySession,
		"GET /account/key": bySession, "POST /account/key": bySession, "GET /account/mail": bySession, "POST /account/mail": bySession, "POST /account/mail/confirm": bySession, "GET /account/recovery": bySession, "POST /account/recovery": bySession, "POST /account/recovery/noted": bySession, "GET /account/card": bySession, "POST /account/card": bySession,
		"GET /account/sessions": bySession, "POST /account/sessions": bySession, "GET /account/history": bySession,
		"GET /account/lock": byAnyone /* asks for the card's code */, "POST /account/lock": byForm, "GET /account/notme": byAnyone /* asks for a link */, "POST /account/notme": byForm,
		"GET /account/applications": bySession, "POST /account/applications": bySession,
		"POST /logout": byForm, "GET /logout/done": byAnyone,

		"GET /.well-known/openid-configuration": byAnyone, "GET /.well-known/oauth-authorization-server": byAnyone, "GET /jwks": byAnyone,
		"GET /oauth2/authorize": byAnyone, "POST /oauth2/authorize": byOutsideForm, // a request, answered by the pages above
		"GET /oauth2/consent": bySession, "POST /oauth2/consent": bySession,
		"GET /oauth2/logout": byAnyone, "POST /oauth2/logout": byOutsideForm, "POST /oauth2/logout/confirm": byForm,
		"GET /device": byAnyone /* the page to type a code on */, "POST /device": bySession, "GET /device/confirm": bySession, "POST /device/confirm": bySession,

		"POST /oauth2/token": byClient, "POST /oauth2/device_authorization": byClient, "POST /oauth2/revoke": byClient, "POST /oauth2/introspect": byClient, "POST /oauth2/par": byClient,
		"OPTIONS /oauth2/token": byAnyone, "OPTIONS /oauth2/device_authorization": byAnyone, "OPTIONS /oauth2/revoke": byAnyone, "OPTIONS /oauth2/par": byAnyone,
		"POST /oauth2/register": byInvitation, "GET /oauth2/register/{id}": byInvitation, "PUT /oauth2/register/{id}": byInvitation, "DELETE /oauth2/register/{id}": byInvitation,
		"GET /userinfo": byBearer, "POST /userinfo": byBearer, "OPTIONS /userinfo": byAnyone, "GET /api/applications": byBearer, "GET /api/people": byBearer,
		"GET /api/helpdesk/people": byBearer, "GET /api/helpdesk/people/{person}": byBearer, "POST /api/helpdesk/people/{person}/reset": byBearer, "POST /api/helpdesk/people/{person}/unlock": byBearer,
		"POST /api/helpdesk/people/{person}/lock": byBearer, "POST /api/helpdesk/people/{person}/open": byBearer, "POST /api/helpdesk/people/{person}/sessions": byBearer,
		"GET /api/helpdesk/requests/{id}": byBearer, "GET /api/openapi.json": byAnyone,
	},
	"portal": {
		"GET /static/": byAnyone, "GET /favicon.ico": byAnyone, "GET /robots.txt": byAnyone, "POST /language": byForm,
		"GET /{$}": byPortalSession, "GET /login": byAnyone, "GET /callback": byAnyone, "POST /logout": byForm, "GET /signed-out": byAnyone,
		"POST /backchannel-logout": byLogoutToken,

		"GET /mail/{$}": byPortalSession, "GET /mail/badge": byPortalSession, "GET /mail/compose": byPortalSession, "POST /mail/compose": byPortalSession, "GET /mail/search": byPortalSession, "GET /mail/recipients": byPortalSession, "GET /mail/events": byPortalSession, "GET /mail/outbox": byPortalSession, "POST /mail/outbox": byPortalSession,
		"GET /mail/{box}/{$}": byPortalSession, "POST /mail/{box}/do": byPortalSession, "GET /mail/{box}/{ref}": byPortalSession, "GET /mail/{box}/{ref}/document": byPortalSession,
		"GET /mail/{box}/{ref}/conversation": byPortalSession, "POST /mail/{box}/{ref}/pictures": byPortalSession, "POST /mail/{box}/{ref}/unsubscribe": byPortalSession, "GET /mail/{box}/{ref}/files.zip": byPortalSession, "GET /mail/pictures": byPortalSession, "POST /mail/pictures": byPortalSession,
		"POST /mail/searches": byPortalSession, "GET /mail/import": byPortalSession, "POST /mail/import": byPortalSession, "GET /mail/{box}/export": byPortalSession, "GET /mail/notifications": byPortalSession, "POST /mail/notifications": byPortalSession, "GET /manifest.webmanifest": byAnyone, "GET /sw.js": byAnyone, "GET /offline": byAnyone, "GET /mail/scheduled": byPortalSession, "POST /mail/{box}/snooze": byPortalSession, "POST /mail/undo": byPortalSession, "GET /mail/quota": byPortalSession, "GET /mail/settings": byPortalSession, "GET /mail/files": byPortalSession, "POST /mail-files": byPortalSession, "GET /mail-files/{id}": byPortalSession, "PATCH /mail-files/{id}": byPortalSession, "DELETE /mail-files/{id}": byPortalSession, "POST /mail-files/{id}/check": byPortalSession, "POST /mail-files/{id}/remove": byPortalSession, "GET /mail/identities": byPortalSession, "POST /shared": byPortalSession, "GET /mail-files/{id}/content": byPortalSession, "POST /mail/drops": byPortalSession, "GET /d/{token}": byLink, "POST /d/{token}": byLink, "POST /mail/reminders": byPortalSession, "POST /mail/identities": byPortalSession, "GET /mail/labels": byPortalSession, "POST /mail/labels": byPortalSession, "GET /mail/texts": byPortalSession, "POST /mail/texts": byPortalSession, "GET /mail/shares": byPortalSession, "GET /mail/{box}/share": byPortalSession, "POST /mail/{box}/share": byPortalSession, "GET /mail/{box}/{ref}/sender": byPortalSession, "POST /mail/{box}/{ref}/receipt": byPortalSession, "GET /mail/{box}/{ref}/signature": byPortalSession, "POST /mail/{box}/{ref}/invitation": byPortalSession, "GET /mail/{box}/{ref}/message/{section}": byPortalSession,
		"GET /f/{token}": byLink, "POST /f/{token}": byLink, "GET /f/{token}/file": byLink,
		"GET /mail/{box}/{ref}/source": byPortalSession, "GET /mail/{box}/{ref}/part/{section}": byPortalSession,
		"GET /agenda": byAnyone, "GET /agenda/{$}": byPortalSession, "GET /agenda/badge": byPortalSession, "GET /agenda/new": byPortalSession, "POST /agenda/new": byPortalSession,
		"POST /agenda/calendars": byPortalSession, "GET /agenda/event/{calendar}/{object}": byPortalSession, "GET /agenda/event/{calendar}/{object}/edit": byPortalSession,
		"POST /agenda/event/{calendar}/{object}/edit": byPortalSession, "GET /agenda/event/{calendar}/{object}/delete": byPortalSession, "POST /agenda/event/{calendar}/{object}/delete": byPortalSession,
		"GET /contacts": byAnyone, "GET /contacts/{$}": byPortalSession, "GET /contacts/person/{login}": byPortalSession, "GET /contacts/new": byPortalSession, "POST /contacts/new": byPortalSession,
		"GET /contacts/card/{book}/{object}": byPortalSession, "GET /contacts/card/{book}/{object}/edit": byPortalSession, "POST /contacts/card/{book}/{object}/edit": byPortalSession,
		"GET /contacts/card/{book}/{object}/delete": byPortalSession, "POST /contacts/card/{book}/{object}/delete": byPortalSession,
	},
	"mail content": {"GET /document/{ticket}": byTicket, "GET /part/{ticket}": byTicket, "GET /picture/{ticket}": byTicket},
	"admin":        {"GET /healthz": byInner, "GET /readyz": byInner, "GET /metrics": byInner},
}

// openHouse is every part of the demo, mounted and not listening.
type openHouse struct {
	t       *testing.T
	house   *house
	base    map[string]string // address of each door
	secrets []string          // what no answer may hold
}

func newOpenHouse(t *testing.T) *openHouse {
	t.Helper()
	dir := t.TempDir()
	d, err := demo.Start(demo.Options{Dir: dir, Provider: freePort(t), Portal: freePort(t), Content: freePort(t), Admin: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	cfg, err := LoadConfig(d.Config)
	if err != nil {
		t.Fatal(err)
	}
	h, err := open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	o := &openHouse{t: t, house: h, base: map[string]string{"provider": d.Issuer, "portal": d.Portal, "mail content": d.Content, "admin": "http://127.0.0.1:9090"}}
	files, err := filepath.Glob(filepath.Join(dir, "secrets", "*"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, f := range append(files, filepath.Join(dir, "seal.key")) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		o.secrets = append(o.secrets, strings.TrimSpace(string(text)))
	}
	return o
}

// call asks a door, and fails the test for what no answer may do.
func (o *openHouse) call(door, method, path string, body url.Values, header map[string]string) *http.Response {
	o.t.Helper()
	r := httptest.NewRequest(method, o.base[door]+path, strings.NewReader(body.Encode()))
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	for _, one := range o.house.doors {
		if one.name == door {
			one.handler.ServeHTTP(w, r)
		}
	}
	res := w.Result()
	text, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(strings.NewReader(string(text)))
	all := string(text)
	for name, values := range res.Header {
		all += "\n" + name + ": " + strings.Join(values, "\n")
	}
	for _, secret := range o.secrets {
		if strings.Contains(all, secret) {
			o.t.Errorf("%s %s %s gives a secret away", door, method, path)
		}
	}
	if res.StatusCode >= 500 && res.StatusCode != http.StatusServiceUnavailable { // the portal has no provider here
		o.t.Errorf("%s %s %s: %d", door, method, path, res.StatusCode)
	}
	for _, c := range res.Cookies() {
		if strings.HasSuffix(c.Name, "beffroi_provider") || strings.HasSuffix(c.Name, "beffroi_portal") {
			if c.Value != "" {
				o.t.Errorf("%s %s %s starts a session", door, method, path)
			}
		}
	}
	return res
}

// answers tells whether a route of the door takes the request.
func (o *openHouse) answers(door, method, path string) bool {
	for _, one := range o.house.doors {
		if one.name == door {
			_, pattern := one.routes.mux.Handler(httptest.NewRequest(method, o.base[door]+path, nil))
			return pattern != ""
		}
	}
	return false
}

func text(res *http.Response) string {
	b, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(strings.NewReader(string(b)))
	return string(b)
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// each runs fn for every route: its method, an address that it answers, and who
// may call it.
func (o *openHouse) each(fn func(door, method, path, who string)) {
	o.t.Helper()
	for _, d := range o.house.doors {
		for _, pattern := range d.routes.patterns {
			who := inventory[d.name][pattern]
			if who == "" {
				o.t.Errorf("%s: the route %q has no row: who may call it?", d.name, pattern)
				continue
			}
			method, path, ok := strings.Cut(pattern, " ")
			if !ok {
				o.t.Errorf("%s: the route %q answers every method", d.name, pattern)
				continue
			}
			path = wildcard.ReplaceAllString(strings.TrimSuffix(path, "{$}"), "x")
			fn(d.name, method, path, who)
		}
		for pattern := range inventory[d.name] {
			if !slices.Contains(d.routes.patterns, pattern) {
				o.t.Errorf("%s: the row %q has no route", d.name, pattern)
			}
		}
	}
}

func TestRow05EveryRouteRefusesWhoeverMayNotCallIt(t *testing.T) {
	o := newOpenHouse(t)
	issuer := o.base["provider"]
	o.each(func(door, method, path, who string) {
		at := door + " " + method + " " + path
		var body url.Values
		if method == http.MethodPost || method == http.MethodPut {
			body = url.Values{"a": {"b"}}
		}
		res := o.call(door, method, path, body, nil)
		to, _ := url.Parse(res.Header.Get("Location"))
		switch who {
		case byAnyone, byForm:
			if res.StatusCode == http.StatusUnauthorized || strings.Contains(text(res), "access_token") {
				t.Errorf("%s: %d", at, res.StatusCode)
			}
		case byOutsideForm:
			if res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Location"), issuer+path+"?") {
				t.Errorf("%s: %d to %s", at, res.StatusCode, to)
			}
		case byFlow:
			if res.StatusCode != http.StatusGone || to.String() != "" {
				t.Errorf("%s without a flow: %d to %s", at, res.StatusCode, to)
			}
		case bySession:
			// Led to the sign-in, or told that there is nothing to answer.
			if !(res.StatusCode == http.StatusSeeOther && to.Path == "/signin") && res.StatusCode < 400 {
				t.Errorf("%s without a session: %d to %s", at, res.StatusCode, to)
			}
		case byPortalSession:
			// Led to the provider, or told that it does not answer; a form is told that its session is over.
			if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s without a session: %d to %s", at, res.StatusCode, to)
			}
		case byClient:
			for name, header := range map[string]map[string]string{"nobody": nil, "a wrong secret": {"Authorization": "Basic ZGVtby10b29sOndyb25n"}, "nobody known": {"Authorization": "Basic bm9ib2R5Ondyb25n"}} {
				form := url.Values{"grant_type": {"client_credentials"}, "token": {"bfa_x"}, "response_type": {"code"}, "redirect_uri": {"http://127.0.0.1/callback"}, "client_id": {"demo-tool"}}
				if header != nil {
					form.Del("client_id")
				}
				res := o.call(door, method, path, form, header)
				if res.StatusCode != http.StatusUnauthorized || !strings.Contains(text(res), "invalid_client") {
					t.Errorf("%s by %s: %d %s", at, name, res.StatusCode, text(res))
				}
			}
		case byBearer:
			if res.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s without a token: %d", at, res.StatusCode)
			}
			machine := o.call("provider", "POST", "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, map[string]string{"Authorization": "Basic ZGVtby10b29sOmRlbW8tdG9vbC1zZWNyZXQ="})
			token := regexp.MustCompile(`"access_token":"([^"]*)"`).FindStringSubmatch(text(machine))
			if token == nil {
				t.Fatalf("%s", text(machine))
			}
			for value, want := range map[string]int{"Bearer " + token[1]: http.StatusForbidden, "Bearer nonsense": http.StatusUnauthorized, "Basic ZGVtby10b29sOmRlbW8tdG9vbC1zZWNyZXQ=": http.StatusUnauthorized} {
				if res := o.call(door, method, path, nil, map[string]string{"Authorization": value}); res.StatusCode != want {
					t.Errorf("%s with %.12s…: %d", at, value, res.StatusCode)
				}
			}
		case byInvitation:
			for _, header := range []map[string]string{nil, {"Authorization": "Bearer nonsense"}} {
				if res := o.call(door, method, path, nil, header); res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
					t.Errorf("%s: %d %s", at, res.StatusCode, text(res))
				}
			}
		case byLogoutToken:
			for _, form := range []url.Values{nil, {"logout_token": {"nonsense"}}} {
				if res := o.call(door, method, path, form, nil); res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("%s: %d", at, res.StatusCode)
				}
			}
		case byTicket:
			for _, header := range []map[string]string{nil, {"Cookie": "beffroi_portal=x"}} {
				if res := o.call(door, method, path, nil, header); res.StatusCode != http.StatusGone || len(res.Cookies()) > 0 {
					t.Errorf("%s: %d", at, res.StatusCode)
				}
			}
			if res := o.call(door, method, path, nil, map[string]string{"Host": strings.TrimPrefix(o.base["portal"], "http://")}); res.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s under the portal's name: %d", at, res.StatusCode)
			}
		case byLink:
			if res := o.call(door, method, path, body, nil); res.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %d", at, res.StatusCode)
			}
		case byInner:
			for _, other := range []string{"provider", "portal"} {
				if res := o.call(other, method, path, nil, nil); res.StatusCode != http.StatusNotFound {
					t.Errorf("%s answers %s with %d", other, path, res.StatusCode)
				}
			}
		default:
			t.Errorf("%s: nobody knows who %q is", at, who)
		}
		// A form of another site changes nothing where a cookie could count.
		if method == http.MethodPost && slices.Contains([]string{byForm, byFlow, bySession, byPortalSession, byLink}, who) {
			for _, header := range []map[string]string{{"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}} {
				if res := o.call(door, method, path, body, header); res.StatusCode != http.StatusForbidden {
					t.Errorf("%s from another site: %d", at, res.StatusCode)
				}
			}
		}
	})
}

// What is not in the inventory does not exist: no debugging page, no listing, no
// other method.
func TestRow26NothingAnswersThatIsNotInTheInventory(t *testing.T) {
	o := newOpenHouse(t)
	known := map[string][]string{} // door and path → methods
	o.each(func(door, method, path, _ string) {
		known[door+path] = append(known[door+path], method)
	})
	o.each(func(door, _, path, _ string) {
		methods := known[door+path]
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "FOO"} {
			if slices.Contains(methods, method) || method == "HEAD" && slices.Contains(methods, "GET") {
				continue
			}
			if o.answers(door, method, path) {
				continue // another row: "do" is read as a message's name
			}
			res := o.call(door, method, path, nil, nil)
			if res.StatusCode != http.StatusMethodNotAllowed && res.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s %s: %d", door, method, path, res.StatusCode)
			}
			if res.StatusCode == http.StatusMethodNotAllowed && res.Header.Get("Allow") == "" {
				t.Errorf("%s %s %s: no Allow", door, method, path)
			}
		}
		if slices.Contains(methods, "GET") {
			get, head := o.call(door, "GET", path, nil, nil), o.call(door, "HEAD", path, nil, nil)
			if get.StatusCode != head.StatusCode {
				t.Errorf("%s HEAD %s: %d, GET %d", door, path, head.StatusCode, get.StatusCode)
			}
		}
	})
	for _, door := range []string{"provider", "portal", "admin"} {
		for _, path := range []string{"/debug/pprof/", "/debug/vars", "/metrics/x", "/.env", "/.git/config", "/admin", "/actuator", "/server-status", "/static/", "/static/x/", "/secrets/portal",
			"/beffroi.yaml", "/beffroi.db", "/oauth2/", "/oauth2", "/api", "/api/", "/.well-known/", "/mail/../secrets/portal", "/static/..%2f..%2fbeffroi.yaml", "//evil.test/", "/%2e%2e/beffroi.db", "/signin/debug", "/oauth2/introspect/x"} {
			res := o.call(door, "GET", path, nil, nil)
			if res.StatusCode == http.StatusOK || strings.HasPrefix(res.Header.Get("Location"), "//") || strings.HasPrefix(res.Header.Get("Location"), "http") {
				t.Errorf("%s %s: %d to %s", door, path, res.StatusCode, res.Header.Get("Location"))
			}
		}
	}
}

// Links, redirects and cookies are built of the configuration, never of what a
// request calls this host.
func TestRow38NoAnswerRepeatsTheHostThatWasAsked(t *testing.T) {
	o := newOpenHouse(t)
	forged := map[string]string{"X-Forwarded-Host": "evil.test", "X-Forwarded-Server": "evil.test", "X-Original-Host": "evil.test", "Forwarded": "host=evil.test;proto=https", "X-Forwarded-Proto": "gopher"}
	o.each(func(door, method, path, _ string) {
		if door == "admin" {
			return
		}
		for _, host := range []string{"", "evil.test", "evil.test:8080", strings.TrimPrefix(o.base[door], "http://") + ".evil.test"} {
			header := map[string]string{"Host": host}
			for name, value := range forged {
				header[name] = value
			}
			if host == "" {
				delete(header, "Host")
			}
			var body url.Values
			if method == http.MethodPost {
				body = url.Values{"a": {"b"}}
			}
			res := o.call(door, method, path, body, header)
			all := text(res)
			for name, values := range res.Header {
				all += "\n" + name + ": " + strings.Join(values, "\n")
			}
			if strings.Contains(all, "evil.test") || strings.Contains(all, "gopher") {
				t.Errorf("%s %s %s as %q: the answer repeats it", door, method, path, host)
			}
			machine := slices.ContainsFunc(machinePaths, func(p string) bool { return strings.HasPrefix(path, p) })
			if door == "mail content" && host != "" {
				if res.StatusCode != http.StatusMisdirectedRequest {
					t.Errorf("%s %s %s as %q: %d", door, method, path, host, res.StatusCode)
				}
				continue
			}
			if host != "" && !(door == "provider" && machine) && (res.StatusCode != http.StatusTemporaryRedirect || !strings.HasPrefix(res.Header.Get("Location"), o.base[door]+"/")) {
				t.Errorf("%s %s %s as %q: %d to %s", door, method, path, host, res.StatusCode, res.Header.Get("Location"))
			}
		}
	})
}

// Whatever a request calls its way back, no route leads a browser to a place
// that is not in the configuration.
func TestRow02NoRouteLeadsElsewhere(t *testing.T) {
	o := newOpenHouse(t)
	elsewhere := []string{"https://evil.test/x", "//evil.test/x", "/\\evil.test/x", "/\t/evil.test/x", "https:evil.test/x", "javascript:alert(1)//evil.test", "https://localhost@evil.test/x", "%2f%2fevil.test"}
	names := []string{"next", "redirect_uri", "post_logout_redirect_uri", "return", "return_to", "returnUrl", "url", "target", "service", "RelayState", "continue", "back", "goto", "iss", "request_uri", "resume"}
	leads := func(res *http.Response) string {
		_, refresh, _ := strings.Cut(res.Header.Get("Refresh"), "url=")
		for _, after := range []string{res.Header.Get("Location"), refresh, res.Header.Get("HX-Redirect")} {
			u, err := url.Parse(after)
			if after != "" && (err != nil || u.Host != "" && u.Scheme+"://"+u.Host != o.base["provider"] && u.Scheme+"://"+u.Host != o.base["portal"] || strings.HasPrefix(u.Path, "//") || strings.ContainsAny(after, "\\\t")) {
				return after
			}
		}
		for _, attribute := range []string{"href", "action", "src", "formaction"} {
			if m := regexp.MustCompile(attribute + `="[^"?#]*evil\.test[^"]*"`).FindString(text(res)); m != "" {
				return m
			}
		}
		return ""
	}
	o.each(func(door, method, path, _ string) {
		for _, value := range elsewhere {
			for _, known := range []string{"", "demo-tool"} {
				form := url.Values{"client_id": {known}, "response_type": {"code"}, "scope": {"openid"}, "state": {value}, "lang": {"en"}, "error": {"access_denied"}}
				for _, name := range names {
					form.Set(name, value)
				}
				if known == "" {
					form.Del("client_id")
				}
				var res *http.Response
				if method == http.MethodPost || method == http.MethodPut {
					res = o.call(door, method, path, form, nil)
				} else {
					res = o.call(door, method, path+"?"+form.Encode(), nil, nil)
				}
				if to := leads(res); to != "" {
					t.Errorf("%s %s %s with %q leads to %s", door, method, path, value, to)
				}
			}
		}
	})
}

var _ web.Mux = (*routes)(nil)
