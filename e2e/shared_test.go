package e2e

import (
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
	"beffroi/internal/testpeer"
)

// TestASharedComputerSignsOutByItself leaves the portal open on a computer that several people use.
func TestASharedComputerSignsOutByItself(t *testing.T) {
	t.Parallel()
	ctx := journey(t)
	parts := &rig.Parts{Database: "sqlite:" + testpeer.Dir(t) + "/beffroi.db", Slapd: testpeer.Slapd(t), Assurance: 1, Portal: "  shared_lock: 4s"}
	w := newWorld(t, rig.Serve(t, parts))
	v := w.browser(t, ctx, "ssmith")
	b := newTab(t, testpeer.ChromiumOptions{})
	for _, site := range []string{w.Portal, w.Provider} {
		for _, c := range v.Cookies(site + "/") {
			if _, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value, URL: site + "/"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.do(chromedp.Navigate(w.Portal + "/"))
	b.until("document.querySelector('details.person') && !document.body.dataset.lock && navigator.serviceWorker.controller")
	b.do(chromedp.Click(chromedp.CSS("details.person > summary")), chromedp.Click(chromedp.CSS("form[action='/shared'] button")))
	b.until("document.body.dataset.lock === '4' && document.querySelector('form.shared')")
	b.accessible("the home page of a shared computer")
	for range 3 { // somebody is there
		b.do(chromedp.Sleep(2_000_000_000), b.keys("x"))
	}
	b.until("document.querySelector('form.shared')")
	b.until("location.pathname === '/signed-out'") // nobody is
	b.until("(caches.keys().then((names) => (window.kept = names.length)), window.kept === 0 && localStorage.length === 0)")
	b.do(chromedp.Navigate(w.Provider + "/account"))
	b.until("document.querySelector('input[name=username]')")
}
