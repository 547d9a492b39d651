package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
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
