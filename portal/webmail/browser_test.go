package webmail

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"beffroi/internal/testpeer"
)

// TestAMessageFetchesAndRunsNothingInARealBrowser opens the whole corpus in
// Chromium, with every address of it leading to a server that counts.
func TestAMessageFetchesAndRunsNothingInARealBrowser(t *testing.T) {
	for name, content := range map[string]string{"apart": elsewhere, "in the portal's origin": ""} {
		t.Run(name, func(t *testing.T) { fetchesAndRunsNothing(t, content) })
	}
}

func fetchesAndRunsNothing(t *testing.T, content string) {
	var mu sync.Mutex
	var asked []string
	catcher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.String())
	}))
	defer catcher.Close()
	files, err := filepath.Glob("testdata/html/*.html")
	if err != nil {
		t.Fatal(err)
	}
	r := newRigShowing(t, content)
	r.portal.anyone = "mdupont"
	host := strings.TrimPrefix(catcher.URL, "http://")
	var paths []string
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("http://evil.test", catcher.URL, "https://evil.test", catcher.URL, "//evil.test", "//"+host, "alert(1)", "fetch('"+catcher.URL+"/script')").Replace(string(source))
		o := "From: a@b.test\r\nSubject: " + filepath.Base(name) + "\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + strings.ReplaceAll(text, "\n", "\r\n")
		paths = append(paths, r.put("mdupont", []byte(o)).path())
	}
	netLog := filepath.Join(t.TempDir(), "net.json")
	ctx := testpeer.StartChromium(t, testpeer.ChromiumOptions{NetLog: netLog})
	for i, path := range paths {
		if err := chromedp.Do(ctx, chromedp.Navigate(r.web.URL+path)); err != nil {
			t.Fatal(err)
		}
		title, err := chromedp.Run(ctx, chromedp.Title())
		if err != nil || !strings.HasPrefix(title, filepath.Base(files[i])) {
			t.Fatalf("%s: the page is %q, %v", files[i], title, err)
		}
		(&tab{t, ctx}).picture("hostile-" + filepath.Base(files[i]))
		if content != "" { // the editor is the same page whoever shows the document
			continue
		}
		if err := chromedp.Do(ctx, chromedp.Navigate(r.web.URL+"/mail/compose?reply="+url.QueryEscape(path))); err != nil {
			t.Fatal(err)
		}
		if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(".mail-rich"))); err != nil {
			t.Fatalf("%s: no editor: %v", files[i], err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	if len(asked) > 0 {
		t.Fatalf("asked for %q", asked)
	}
	stayedHere(t, netLog, r.web.URL, r.content.URL)
}

var requested = regexp.MustCompile(`"url":"((?:https?|wss?|ftp)://[^"/]+)`)

// stayedHere reads Chromium's own log of the network: every request went to these origins.
func stayedHere(t *testing.T, netLog string, origins ...string) {
	t.Helper()
	text, err := os.ReadFile(netLog)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, m := range requested.FindAllStringSubmatch(string(text), -1) {
		count[m[1]]++
	}
	if count[origins[0]] == 0 {
		t.Fatalf("the log knows nothing: %d bytes, %v", len(text), count)
	}
	t.Logf("requests: %v", count)
	for host := range count {
		if strings.HasSuffix(host, ".googleapis.com") || strings.HasSuffix(host, ".google.com") {
			continue // Chromium itself, whatever the page; nothing of the corpus leads there
		}
		if !slices.Contains(origins, host) {
			t.Errorf("the browser asked %s", host)
		}
	}
}
