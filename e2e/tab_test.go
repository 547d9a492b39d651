package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"beffroi/e2e/rig"
	"beffroi/internal/testpeer"
)

// tab is one person's browser with a real engine. It notes what the pages complain about and fails the test for it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // console errors, exceptions, broken policies
	documents  int      // pages whose headers were checked
	checked    map[string]bool
}

func newTab(t *testing.T, o testpeer.ChromiumOptions) *tab {
	t.Helper()
	b := &tab{t: t, ctx: testpeer.StartChromium(t, o), checked: map[string]bool{}}
	if err := chromedp.Listen(b.ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, log.Enable, struct{}{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.complaints {
			t.Errorf("the browser complains: %s", c)
		}
		if b.documents == 0 {
			t.Error("the browser has loaded no page")
		}
	})
	return b
}

// listen runs within the loop that reads the browser's messages, so it only takes notes.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	complain := func(format string, args ...any) {
		b.complaints = append(b.complaints, fmt.Sprintf(format, args...))
	}
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			complain("%s %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		complain("exception: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError {
			complain("console.error at %v", e.StackTrace)
		}
	case *network.EventResponseReceived:
		if e.Type != network.ResourceTypeDocument || !strings.HasPrefix(e.Response.URL, "http") {
			return
		}
		b.documents++
		header := map[string]string{}
		for name, value := range e.Response.Headers {
			header[strings.ToLower(name)] = fmt.Sprint(value)
		}
		policy := header["content-security-policy"]
		document := strings.Contains(e.Response.URL, "/document/") && strings.HasPrefix(policy, "sandbox ") // a mail alone may style inline
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors") || strings.Contains(policy, "unsafe-") && !document {
			complain("%s: Content-Security-Policy %q", e.Response.URL, policy)
		}
		if !strings.Contains(header["x-content-type-options"], "nosniff") || header["referrer-policy"] == "" {
			complain("%s: headers %v", e.Response.URL, header)
		}
	}
}

// forgive drops complaints that a test has caused on purpose.
func (b *tab) forgive(containing string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.complaints[:0]
	for _, c := range b.complaints {
		if !strings.Contains(c, containing) {
			kept = append(kept, c)
		}
	}
	b.complaints = kept
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v; the page is %s", err, b)
	}
}

// open goes to an address and waits until its page stands.
func (b *tab) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
	b.until("true")
}

// until waits for a JavaScript condition on a page that is wholly there, across navigations.
func (b *tab) until(condition string) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && !!("+condition+")"))
		if err == nil && ok {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("waited in vain for %s (%v); the page is %s", condition, err, b)
		}
	}
}

// value gives what a JavaScript expression is.
func (b *tab) value(expression string) string {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// leaves does something that leads to another page and waits for that page.
func (b *tab) leaves(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String(window.beffroiStays = true)"))
		return err
	}))
	b.do(steps...)
	b.until("!window.beffroiStays")
}

// to does something and waits until the page has become what it should, with or without another page being loaded.
func (b *tab) to(condition string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.do(steps...)
	b.until(condition)
}

// keys types on the keyboard, wherever the focus is.
func (b *tab) keys(keys string) chromedp.Action[chromedp.Void] { return chromedp.KeyEvent(keys) }

// clickText follows the first visible link or button that shows a text.
func (b *tab) clickText(texts ...string) chromedp.Action[chromedp.Void] {
	list, _ := json.Marshal(texts) // strings always marshal
	find := fmt.Sprintf(`(() => {
		const wanted = %s;
		const all = [...document.querySelectorAll('a[href], button, summary')].filter(e => e.checkVisibility() && e.getClientRects().length);
		const hit = all.find(e => wanted.some(w => e.textContent.replace(/\s+/g, ' ').includes(w)));
		document.querySelectorAll('[data-e2e-hit]').forEach(e => e.removeAttribute('data-e2e-hit'));
		if (hit) hit.setAttribute('data-e2e-hit', '');
		return hit ? 'found' : 'none of ' + wanted + ' in ' + all.map(e => e.textContent.trim()).join(' | ');
	})()`, list)
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		said, err := chromedp.Run(ctx, chromedp.Evaluate[string](find))
		if err != nil {
			return err
		}
		if said != "found" {
			return fmt.Errorf("%s", said)
		}
		return chromedp.Do(ctx, chromedp.Click(chromedp.CSS("[data-e2e-hit]")))
	})
}

// String is what an error message shows of the page.
func (b *tab) String() string {
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + ' ' + document.body.innerText.replace(/\\s+/g, ' ').slice(0, 500)"))
	if err != nil {
		return err.Error()
	}
	return v
}

var axe = sync.OnceValues(func() (string, error) {
	root, err := rig.Root()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "templates", "npm", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		return "", fmt.Errorf("axe-core is not there; make assets, or sh templates/npm/build.sh -force: %w", err)
	}
	return string(text), nil
})

// accessible fails the test for every barrier on the page (WCAG 2.2 A and AA), and for a page without language, title or heading.
func (b *tab) accessible(name string) {
	b.t.Helper()
	source, err := axe()
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[chromedp.Void](source+";0")); err != nil {
		b.t.Fatalf("%s: load axe: %v", name, err)
	}
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], iframes: false}).then(r => JSON.stringify(
		r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + n.failureSummary).join(' | '))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: run axe: %v", name, err)
	}
	var barriers []string
	if err := json.Unmarshal([]byte(found), &barriers); err != nil {
		b.t.Fatal(err)
	}
	for _, barrier := range barriers {
		b.t.Errorf("%s: %s", name, barrier)
	}
	for what, expression := range map[string]string{
		"a language": "document.documentElement.lang", "a title": "document.title.trim()", "a first heading": "document.querySelector('h1')?.textContent?.trim() ?? ''", "a main part": "document.querySelector('main') ? 'yes' : ''",
	} {
		if b.value(expression) == "" {
			b.t.Errorf("%s has not %s", name, what)
		}
	}
	if wide := b.value("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide != "0" {
		b.t.Errorf("%s is %s pixels wider than its window", name, wide)
	}
}

// tabKey and enterKey move and send.
const (
	tabKey   = kb.Tab
	enterKey = kb.Enter
)

// onPassword fails unless the keyboard has come to the password.
func (b *tab) onPassword(ctx context.Context, _ *chromedp.Target) error {
	name, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.activeElement?.name ?? ''"))
	if err == nil && name != "password" {
		err = fmt.Errorf("after the Tab key the focus is on %q, not on the password", name)
	}
	return err
}
