package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// frameLoaded tells whether the page after a sign-out has loaded the sample tool's frame.
const frameLoaded = `performance.getEntriesByType('resource').some((e) => e.initiatorType === 'iframe' && e.name.includes('/signed-out?iss='))`

// With and without script, the page after a sign-out loads what signs the other tools out, and goes on.
func TestSigningOutReachesTheOtherToolsInTheBrowser(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	for _, c := range []struct {
		login string
		o     testpeer.ChromiumOptions
	}{
		{"mdupont", testpeer.ChromiumOptions{Language: "fr"}},
		{"jmartin", testpeer.ChromiumOptions{Language: "en", NoScript: true, Width: 390, Height: 844}},
	} {
		t.Run(fmt.Sprintf("script %v", !c.o.NoScript), func(t *testing.T) {
			who := w.people[c.login]
			b := newTab(t, c.o)
			b.open(w.Portal + "/")
			b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=username]"), who.Login), chromedp.SendKeys(chromedp.CSS("input[name=password]"), who.Password),
				chromedp.SendKeys(chromedp.CSS("input[name=password]"), enterKey))
			code, err := who.Code("")
			if err != nil {
				t.Fatal(err)
			}
			b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=code]"), code), chromedp.SendKeys(chromedp.CSS("input[name=code]"), enterKey))
			tool := b.value(`[...document.querySelectorAll('main a')].find((a) => a.href.startsWith('http://127.0.0.1') && a.textContent.includes('émonstration') || a.textContent.includes('Demonstration')).href`)
			b.open(tool)
			b.until("document.body.innerText.includes('preferred_username')")
			b.forgive("Content-Security-Policy") // the sample tool's page has no style at all
			b.forgive("headers")
			b.open(w.Portal + "/")
			b.value(`document.querySelector('form[action="/logout"]').submit()`)
			if c.o.NoScript {
				b.until(frameLoaded) // the page stays for a moment
			}
			b.until("location.pathname === '/signed-out' && document.readyState === 'complete'")
			b.open(w.Portal + "/mail/")
			if !strings.HasPrefix(b.value("location.href"), w.Provider+"/signin") {
				t.Errorf("still signed in: %s", b)
			}
		})
	}
}

// The portal is a relying party like any other: it hears by the back channel that the provider's session has ended, long
// before it would have asked.
func TestSigningOutAtTheProviderEndsThePortalAtOnce(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	ctx := journey(t)
	marie := visitor.New()
	door, err := marie.Open(ctx, w.Portal+"/", "")
	if err != nil {
		t.Fatal(err)
	}
	if page, err := marie.SignIn(ctx, door, w.people["mdupont"], ""); err != nil || page.Status != 200 || !strings.HasPrefix(page.URL.String(), w.Portal) {
		t.Fatalf("%v %s", err, page)
	}
	account, err := marie.Open(ctx, w.Provider+"/account", "")
	if err != nil {
		t.Fatal(err)
	}
	var out *visitor.Form
	for _, f := range account.Forms() {
		if strings.HasSuffix(f.Action, "/logout") {
			out = f
		}
	}
	if out == nil {
		t.Fatalf("no way to sign out on %s", account)
	}
	if _, err := marie.Submit(ctx, out, nil, ""); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	testpeer.WaitFor(t, "the portal's session ending", 10*time.Second, func() bool { // it asks by itself every 30 s
		page, err := marie.Open(ctx, w.Portal+"/", "")
		if err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(page.URL.String(), w.Provider)
	})
	t.Logf("signed out of the portal after %s", time.Since(began).Round(time.Millisecond))
}

// A factor is reset at the command line while the application that must hear of it is down, and Beffroi is killed
// meanwhile: mail connections die within seconds, and the application hears of it when it is back.
func TestSignOutsAreToldThoughBeffroiIsKilled(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	up, heard := false, []string{}
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !up {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		heard = append(heard, r.FormValue("logout_token"))
	}))
	defer listener.Close()

	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{Durable: true})
	parts := &rig.Parts{Database: postgres.Database(), Slapd: testpeer.Slapd(t)}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t), CacheTokens: true})
	dir := testpeer.Dir(t)
	rig.Write(t, filepath.Join(dir, "doveadm.key"), parts.Dovecot.APIKey)
	rig.Write(t, filepath.Join(dir, "mailer.secret"), "mailer-secret-for-tests")
	parts.Settings = fmt.Sprintf("  kick:\n    urls: [%q]\n    key_file: %s/doveadm.key", parts.Dovecot.Doveadm, dir)
	parts.Apps = fmt.Sprintf("  - id: mailer\n    name: {fr: Lecteur de courrier}\n    secret_file: %s/mailer.secret\n    redirect_uris: [\"http://127.0.0.1/callback\"]\n"+
		"    scopes: [openid, offline_access, mail]\n    grants: [authorization_code, refresh_token, \"urn:ietf:params:oauth:grant-type:token-exchange\"]\n    exchange_to: [imap]\n"+
		"    backchannel_logout_uri: %s/logout\n", dir, listener.URL)
	w := newWorld(t, rig.Serve(t, parts))
	ctx := journey(t)

	mailer := &visitor.Application{Issuer: w.Provider, ID: "mailer", Secret: "mailer-secret-for-tests", RedirectURI: "http://127.0.0.1:49154/callback"}
	tokens, _, page, err := visitor.New().Enter(ctx, mailer, w.people["mdupont"], "openid offline_access mail")
	if err != nil || tokens == nil {
		t.Fatalf("%v %s", err, page)
	}
	mail, err := mailer.Token(ctx, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {tokens.AccessToken},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "audience": {"imap"}})
	if err != nil || mail.AccessToken == "" {
		t.Fatalf("%+v %v", mail, err)
	}
	conn, in := openIMAP(t, parts.Dovecot, "mdupont", mail.AccessToken)

	if out, err := w.Command("person", "reset-factor", "mdupont"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	began := time.Now()
	for {
		_ = conn.SetReadDeadline(began.Add(15 * time.Second))
		line, err := in.ReadString('\n')
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Fatal("the mail connection outlives the reset")
		}
		if err != nil || strings.HasPrefix(line, "* BYE") {
			break
		}
	}
	t.Logf("the mail connection was closed after %s", time.Since(began).Round(time.Millisecond))

	pending := func() (n int) {
		out, err := w.Command("logout", "list", "-json")
		var all []struct{ State, Application, Error string }
		if err != nil || json.Unmarshal([]byte(out), &all) != nil {
			t.Fatalf("%v %s", err, out)
		}
		for _, one := range all {
			if one.State == "pending" && one.Application == "mailer" && strings.Contains(one.Error, "503") {
				n++
			}
		}
		return n
	}
	testpeer.WaitFor(t, "a try that failed", 20*time.Second, func() bool { return pending() == 2 }) // about the session, and about the person
	testpeer.WaitFor(t, "the metrics telling of these two alone", 20*time.Second, func() bool {
		_, text := get(t, w.Admin+"/metrics")
		return strings.Contains(text, "beffroi_logout_pending 2\n") && strings.Contains(text, "beffroi_logout_failed 0\n")
	})
	w.Kill()
	w.Start()
	mu.Lock()
	up = true
	mu.Unlock()
	if out, err := w.Command("logout", "retry", "-all"); err != nil || !strings.Contains(out, "2 to be tried again") {
		t.Errorf("%v %s", err, out)
	}
	testpeer.WaitFor(t, "the application hearing of it", 40*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(heard) >= 2
	})
	testpeer.WaitFor(t, "an empty list", 10*time.Second, func() bool {
		out, err := w.Command("logout", "list")
		return err == nil && strings.HasPrefix(out, "Every sign-out")
	})
	if len(heard) != 2 {
		t.Errorf("heard %d times", len(heard))
	}
}

// openIMAP opens a mailbox with a token.
func openIMAP(t *testing.T, s *testpeer.DovecotServer, login, token string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", s.IMAPS, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	blob := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("n,a=%s,\x01auth=Bearer %s\x01\x01", login, token)))
	if _, err := fmt.Fprintf(conn, "a AUTHENTICATE OAUTHBEARER %s\r\n", blob); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "a ") {
			if !strings.HasPrefix(line, "a OK") {
				t.Fatalf("not let in: %s", line)
			}
			return conn, in
		}
	}
}
