package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/testpeer"
)

// lineWriter collects what a running command prints and tells when a line has come.
type lineWriter struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *lineWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func freePort(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testpeer.FreePort(t)) // nobody else's, in any test binary
}

type liveDemo struct {
	out              *lineWriter
	provider, portal string
	stop             func() int
}

func startDemo(t *testing.T, dir string, flags ...string) liveDemo {
	t.Helper()
	d := liveDemo{out: &lineWriter{}, provider: freePort(t), portal: freePort(t)}
	ctx, cancel := context.WithCancel(context.Background())
	status := make(chan int, 1)
	var errs lineWriter
	go func() {
		status <- run(ctx, append([]string{"demo", "-dir", dir, "-provider", d.provider, "-portal", d.portal, "-content", freePort(t)}, flags...), d.out, &errs)
	}()
	var once sync.Once
	ended := -1
	d.stop = func() int {
		once.Do(func() { cancel(); ended = <-status })
		return ended
	}
	t.Cleanup(func() { d.stop() })
	for range 600 {
		if strings.Contains(d.out.String(), "\nready provider=") {
			return d
		}
		select {
		case code := <-status:
			status <- code
			t.Fatalf("the demo ended with %d: %s%s", code, d.out, &errs)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("the demo is not ready: %s%s", d.out, &errs)
	return d
}

// invoke runs a subcommand and returns its status and what it printed.
func invoke(args ...string) (int, string) {
	var out, errs bytes.Buffer
	code := run(context.Background(), args, &out, &errs)
	return code, out.String() + errs.String()
}

var sixDigits = regexp.MustCompile(`^\d{6}\n$`)

func TestDemoKeepsItsStateAndAnswersCommandsRunningOrNot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	d := startDemo(t, dir)
	_, port, _ := net.SplitHostPort(d.provider)
	if want := "\nready provider=http://localhost:" + port + " portal=http://" + d.portal + "\n"; !strings.Contains(d.out.String(), want) {
		t.Errorf("no line %q in %s", want, d.out)
	}
	for _, login := range []string{"mdupont", "jmartin", "aadmin"} {
		if code, out := invoke("demo", "code", login, "-dir", dir); code != 0 || !sixDigits.MatchString(out) {
			t.Errorf("code of %s: %d, %q", login, code, out)
		}
	}
	if code, out := invoke("demo", "code", "-key", "demo-0001", "-dir", dir); code != 0 || !sixDigits.MatchString(out) {
		t.Errorf("code of an OTP key: %d, %q", code, out)
	}
	for _, args := range [][]string{{"code", "-key", "DEMO-0099"}, {"mail", "nobody@perso.test"}, {"mail"}} {
		if code, out := invoke(append(append([]string{"demo"}, args...), "-dir", dir)...); code == 0 || out == "" {
			t.Errorf("demo %v: %d, %q", args, code, out)
		}
	}
	if code, out := invoke("demo", "code", "ssmith", "-dir", dir); code == 0 || !strings.Contains(out, "no second factor yet") {
		t.Errorf("code of somebody without a factor: %d, %q", code, out)
	}
	if code, out := invoke("check", "-dir", dir); code != 0 {
		t.Errorf("check: %d, %s", code, out)
	}
	if code, out := invoke("demo", "-dir", dir, "-provider", freePort(t), "-portal", freePort(t)); code == 0 || !strings.Contains(out, "runs in") {
		t.Errorf("a second demo in the same folder: %d, %s", code, out)
	}
	code, out := invoke("app", "add", "glpi", "-dir", dir, "-json", "-name", "GLPI", "-redirect", "https://glpi.example.test/cb", "-groups", "tous-personnels")
	var added map[string]string
	if err := json.Unmarshal([]byte(out), &added); code != 0 || err != nil || len(added["client_secret"]) != 43 {
		t.Errorf("app add: %d, %s (%v)", code, out, err)
	}
	for _, args := range [][]string{{"app", "show", "glpi"}, {"app", "list"}, {"app", "show", "glpi", "-json"}, {"app", "list", "-json"}} {
		if code, out := invoke(append(args, "-dir", dir)...); code != 0 || !strings.Contains(out, "glpi") || strings.Contains(out, added["client_secret"]) {
			t.Errorf("%v: %d, %s", args, code, out)
		}
	}
	if code, out := invoke("app", "rotate-secret", "demo-tool", "-dir", dir); code == 0 || !strings.Contains(out, "configuration file") {
		t.Errorf("rotating what stands in the file: %d, %s", code, out)
	}
	rotatesKeys(t, dir, d.provider)
	if code, out := invoke("person", "reset-factor", "mdupont", "-reason", "lost", "-dir", dir); code != 0 || !strings.Contains(out, "1 second factor") {
		t.Errorf("reset: %d, %s", code, out)
	}
	if code, out := invoke("person", "reset-factor", "jmartin", "-dir", dir); code != 0 {
		t.Errorf("reset without a reason: %d, %s", code, out)
	}
	if code, out := invoke("person", "unlock", "jmartin", "-dir", dir, "-json"); code != 0 || !strings.Contains(out, `"unlocked": true`) {
		t.Errorf("unlock: %d, %s", code, out)
	}
	for _, one := range []struct {
		says string
		args []string
	}{
		{"account locked", []string{"lock", "ssmith", "-reason", "stolen laptop"}}, {"LOCKED since", []string{"show", "ssmith"}}, {"stolen laptop", []string{"show", "ssmith"}},
		{`"locked": false`, []string{"open", "ssmith", "-reason", "seen in person", "-json"}}, {"is not locked", []string{"open", "ssmith"}},
	} {
		if code, out := invoke(append(append([]string{"person"}, one.args...), "-dir", dir)...); (code == 0) != (one.says != "is not locked") || !strings.Contains(out, one.says) {
			t.Errorf("person %v: %d, %s", one.args, code, out)
		}
	}
	if code := d.stop(); code != 0 {
		t.Errorf("stopped with %d", code)
	}

	// Stopped, the commands still work; what was changed is still so.
	if code, out := invoke("person", "show", "MDUPONT", "-dir", dir, "-json"); code != 0 || !strings.Contains(out, `"factors": []`) || !strings.Contains(out, `"login": "mdupont"`) {
		t.Errorf("person show on a stopped demo: %d, %s", code, out)
	}
	if code, _ := invoke("person", "show", "nobody", "-dir", dir); code == 0 {
		t.Error("nobody was found")
	}
	again := startDemo(t, dir)
	if code, out := invoke("person", "show", "mdupont", "-dir", dir); code != 0 || !strings.Contains(out, "factors   none") {
		t.Errorf("the second start undid the reset: %d, %s", code, out)
	}
	if !strings.Contains(again.out.String(), "Kept from before") || !strings.Contains(again.out.String(), "start afresh") {
		t.Errorf("the second start does not say what it kept: %s", again.out)
	}
	if code, out := invoke("audit", "list", "-person", "mdupont", "-action", "mfa.", "-dir", dir); code != 0 || !strings.Contains(out, "mfa.reset") || !strings.Contains(out, "reason=lost") {
		t.Errorf("audit: %d, %s", code, out)
	}
	again.stop()

	fresh := startDemo(t, dir, "-fresh")
	if code, out := invoke("person", "show", "mdupont", "-dir", dir); code != 0 || !strings.Contains(out, "factor    totp") {
		t.Errorf("-fresh kept the reset: %d, %s", code, out)
	}
	if strings.Contains(fresh.out.String(), "Kept from before") {
		t.Error("-fresh says it kept something")
	}
}

// rotatesKeys holds that a command rotates the keys of the demo that runs.
func rotatesKeys(t *testing.T, dir, provider string) {
	t.Helper()
	list := func() (kids map[string]string) {
		code, out := invoke("key", "list", "-dir", dir, "-json")
		var all []struct{ Kid, Alg, State string }
		if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil {
			t.Fatalf("key list: %d, %s", code, out)
		}
		kids = map[string]string{}
		for _, k := range all {
			kids[k.Alg+" "+k.State] = k.Kid
		}
		return kids
	}
	first := list()
	if len(first) != 4 || first["EdDSA current"] == "" {
		t.Fatalf("key list: %v", first)
	}
	pems := t.TempDir()
	pem := func(kid string) bool {
		if code, out := invoke("key", "list", "-pem", pems, "-dir", dir); code != 0 {
			t.Errorf("key list -pem: %d, %s", code, out)
		}
		text, _ := os.ReadFile(filepath.Join(pems, "portal", "ES256", kid))
		return strings.HasPrefix(string(text), "-----BEGIN PUBLIC KEY-----\n")
	}
	if !pem(first["ES256 current"]) {
		t.Error("the public key is not written")
	}
	if code, out := invoke("key", "retire", first["ES256 current"], "-dir", dir); code != 1 || !strings.Contains(out, "rotate -now") {
		t.Errorf("the only key was retired: %d, %s", code, out)
	}
	if code, out := invoke("key", "rotate", "-alg", "ES256", "-dir", dir); code != 0 || !strings.Contains(out, "it signs from") || strings.Contains(out, "refuse") {
		t.Errorf("key rotate: %d, %s", code, out)
	}
	next := list()["ES256 next"]
	if code, out := invoke("key", "rotate", "-alg", "ES256", "-now", "-dir", dir); code != 0 || !strings.Contains(out, next) || !strings.Contains(out, "refuse sign-ins") {
		t.Errorf("key rotate -now: %d, %s", code, out)
	}
	for range 200 {
		if list()["ES256 current"] == next {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if code, out := invoke("key", "retire", first["ES256 current"], "-dir", dir); code != 0 {
		t.Errorf("key retire: %d, %s", code, out)
	}
	if pem(first["ES256 current"]) || !pem(next) {
		t.Error("a reader of the folder still believes the retired key, or does not know the next")
	}
	for range 200 {
		res, err := http.Get("http://" + provider + "/jwks")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if strings.Contains(string(body), next) && !strings.Contains(string(body), first["ES256 current"]) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the running provider does not notice")
}

func TestDemoPagesAnswerAtOnce(t *testing.T) {
	d := startDemo(t, filepath.Join(t.TempDir(), "demo"))
	_, port, _ := net.SplitHostPort(d.provider)
	res, err := http.Get("http://localhost:" + port + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var document map[string]any
	if err := json.NewDecoder(res.Body).Decode(&document); err != nil || document["issuer"] != "http://localhost:"+port {
		t.Errorf("issuer %v (%v)", document["issuer"], err)
	}
	jar, _ := cookiejar.New(nil) // a sign-in is bound to its browser
	page, err := (&http.Client{Jar: jar}).Get("http://" + d.portal + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	text, _ := io.ReadAll(page.Body)
	if page.StatusCode != 200 || !strings.Contains(string(text), `name="username"`) || page.Request.URL.Host != "localhost:"+port {
		t.Errorf("the portal led to %s: %d", page.Request.URL, page.StatusCode)
	}
}

func TestCommandsSayWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 2, "front door"}, {[]string{"help"}, 0, "serve"}, {[]string{"frobnicate"}, 2, "no command"}, {[]string{"serve"}, 2, "-config"},
		{[]string{"serve", "-config", "/nowhere.yaml"}, 1, "nowhere"}, {[]string{"person", "show", "-dir", t.TempDir()}, 2, "whose"},
		{[]string{"person", "show", "x", "-dir", t.TempDir()}, 1, "no demo"}, {[]string{"check", "-config", "a", "-dir", "b"}, 2, "not both"},
		{[]string{"app"}, 2, "app add"}, {[]string{"key", "create"}, 2, "FILE"}, {[]string{"key", "retire"}, 2, "KID"}, {[]string{"key", "list", "x"}, 2, "KID"}, {[]string{"serve", "-nonsense"}, 2, "nonsense"}, {[]string{"version"}, 0, "beffroi"},
	} {
		if code, out := invoke(c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v: %d, %s", c.args, code, out)
		}
	}
}

func TestKeyCommandNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if code, out := invoke("key", "create", path); code != 0 {
		t.Fatal(out)
	}
	before, _ := os.ReadFile(path)
	if code, _ := invoke("key", "create", path); code == 0 {
		t.Error("the second one succeeded")
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) || len(after) != 65 {
		t.Error("the key was changed")
	}
}
