package webmail

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"beffroi/internal/testpeer"
)

// tab is a tab of a real browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, s := range steps {
		if err := chromedp.Do(b.ctx, s); err != nil {
			b.t.Fatal(err)
		}
	}
}

// holds waits until an expression of the page is true.
func (b *tab) holds(expression string) {
	b.t.Helper()
	var last bool
	var err error
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(40 * time.Millisecond) {
		if last, err = chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")")); err == nil && last {
			return
		}
	}
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + ' ' + document.body.innerText.slice(0, 1500)"))
	b.t.Fatalf("waited in vain for %s (%v); the page is %s", expression, err, text)
}

func (r *rig) someMessages(login string, n int) {
	r.t.Helper()
	for i := range n {
		r.dovecot.Deliver(login, fmt.Sprintf("From: Sarah Smith <ssmith@academie.test>\nTo: %s@academie.test, jmartin@academie.test\nSubject: Lettre %d\nMessage-ID: <l%d@academie.test>\nDate: Mon, 23 Nov 2026 10:%02d:00 +0100\n\nTexte de la lettre %d.\n", login, i, i, i, i))
	}
}

// TestTheWebmailWorksWithoutScript reads, answers, labels and moves, on a desk and
// on a telephone.
func TestTheWebmailWorksWithoutScript(t *testing.T) {
	for name, size := range map[string][2]int{"desk": {1280, 900}, "telephone": {390, 844}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.portal.anyone = "mdupont"
			r.someMessages("mdupont", 3)
			b := &tab{t, testpeer.StartChromium(t, testpeer.ChromiumOptions{NoScript: true, Width: size[0], Height: size[1]})}
			b.do(chromedp.Navigate(r.web.URL+"/mail/"), chromedp.Click(chromedp.CSS(".mail-row-link")))
			b.holds(`document.querySelector(".mail-text")?.textContent.includes("Texte de la lettre 2.")`)
			b.do(chromedp.Click(chromedp.CSS("a[data-key-r]")))
			b.holds(`document.querySelector("#text")`)
			b.do(chromedp.SendKeys(chromedp.CSS("#text"), "Merci. "), chromedp.Click(chromedp.CSS(`button.btn-primary[value=send]`)))
			b.holds(`document.querySelector(".mail-notice")`)
			if got := r.waitFor("ssmith", 1)[0]; !strings.Contains(got, "Merci.") || !strings.Contains(got, "In-Reply-To: <l2@academie.test>") {
				t.Fatal(got)
			}
			b.do(chromedp.Navigate(r.web.URL+"/mail/"), chromedp.Click(chromedp.CSS(`.mail-row:nth-child(2) input[name=m]`)),
				chromedp.SetValue(chromedp.CSS("#to-inbox"), "Archive"), chromedp.Click(chromedp.CSS(`.mail-bulk button[value=move]`)))
			b.holds(`document.body.textContent.includes("Message rangé dans « Archives »")`)
			if got := len(r.dovecot.Messages("mdupont", "Archive")); got != 1 {
				t.Fatalf("%d in the archive", got)
			}
			b.do(chromedp.Click(chromedp.CSS(`.mail-notice button.link`))) // undo
			b.holds(`document.querySelectorAll(".mail-row").length === 3`)
			b.do(chromedp.Click(chromedp.CSS(`.mail-row:nth-child(3) input[name=m]`)), chromedp.SetValue(chromedp.CSS("#label-bulk"), "label/$label1"), chromedp.Click(chromedp.CSS(`.mail-bulk button[value=label]`)))
			b.holds(`document.querySelector(".mail-row .mail-label")`)
		})
	}
}

// TestTenTabsHoldOneStream: the pages of a browser share what they are told.
func TestTenTabsHoldOneStream(t *testing.T) {
	r := newRig(t)
	r.portal.anyone = "mdupont"
	r.someMessages("mdupont", 1)
	streams := func() int {
		r.s.live.mu.Lock()
		defer r.s.live.mu.Unlock()
		if p := r.s.live.people["sub-mdupont"]; p != nil {
			return len(p.streams)
		}
		return 0
	}
	ctx := testpeer.Chromium(t)
	tabs := []*tab{{t, ctx}}
	for range 9 {
		other, closes := chromedp.NewContext(ctx)
		defer closes()
		tabs = append(tabs, &tab{t, other})
	}
	for _, b := range tabs {
		b.do(chromedp.Navigate(r.web.URL + "/mail/"))
	}
	settled := func(after time.Duration) {
		t.Helper()
		for end := time.Now().Add(after); streams() != 1; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d streams for %d tabs", streams(), len(tabs))
			}
		}
	}
	settled(5 * time.Second)
	time.Sleep(2500 * time.Millisecond) // the watching connection is there, and no tab asks for another stream
	settled(0)
	r.dovecot.Deliver("mdupont", "From: a@academie.test\nSubject: Arrive par le flux\n\nx\n")
	begun := time.Now()
	for _, b := range tabs {
		b.holds(`document.querySelector(".mail-rows")?.textContent.includes("Arrive par le flux")`)
	}
	t.Logf("all ten tabs show it after %s", time.Since(begun).Round(10*time.Millisecond))
	settled(0)
	tabs[1].do(chromedp.Navigate("about:blank")) // whoever held it, another one goes on
	tabs[0].do(chromedp.Navigate("about:blank"))
	time.Sleep(time.Second)
	settled(5 * time.Second)
}

// TestTwentyTasksByKeyboard does a morning's work without a mouse.
func TestTwentyTasksByKeyboard(t *testing.T) {
	r := newRig(t)
	r.portal.anyone = "mdupont"
	r.someMessages("mdupont", 8)
	b := &tab{t, testpeer.Chromium(t)}
	b.do(chromedp.Navigate(r.web.URL + "/mail/"))
	subject := func(text string) string {
		return fmt.Sprintf(`document.querySelector(".mail-title")?.textContent.trim() === %q`, text)
	}
	for i, task := range []struct{ what, keys, holds string }{
		{"open the first message", "j", subject("Lettre 7")},
		{"the next one", "j", subject("Lettre 6")},
		{"back to the first", "k", subject("Lettre 7")},
		{"see the keys", "?", `document.querySelector("[data-mail-keys]").open`},
		{"close them", kb.Escape, `!document.querySelector("[data-mail-keys]").open`},
		{"star it", "s", `document.querySelector(".mail-actions [data-key-s]")?.getAttribute("aria-pressed") === "true"`},
		{"open the labels", "l", `document.activeElement?.closest(".menu-panel")`},
		{"give the first one", kb.Enter, `document.querySelector(".mail-labels")?.textContent.includes("Important")`},
		{"answer", "r", `document.querySelector(".mail-rich") && document.activeElement?.closest(".mail-rich")`},
		{"write", "Bien reçu.", `document.querySelector(".mail-rich").textContent.includes("Bien reçu.")`},
		{"send, and be back at the message", "\x00", subject("Lettre 7")},
		{"archive it", "e", `document.body.textContent.includes("Message archivé.")`},
		{"open the next", "j", subject("Lettre 6")},
		{"throw it away", "#", `document.body.textContent.includes("Message mis à la corbeille.")`},
		{"open the next", "j", subject("Lettre 5")},
		{"put it off", "b", `document.activeElement?.closest(".menu-panel")`},
		{"until the first time offered", kb.Enter, `document.body.textContent.includes("Message mis en attente.")`},
		{"go to the search", "/", `document.activeElement?.type === "search"`},
		{"look for a word", kb.Backspace + "lettre" + kb.Enter /* the driver types the slash all the same */, `location.pathname === "/mail/search" && document.querySelector(".mail-found")?.textContent.includes("Lettre 4")`},
		{"begin a message", "c", `document.activeElement?.id === "to"`},
		{"to somebody of the directory", "martin", `document.querySelector("#to-list:not([hidden]) li")`},
		{"take the first", kb.ArrowDown + kb.Enter, `document.querySelector("#to").value.includes("jmartin@academie.test")`},
	} {
		if task.keys == "\x00" {
			b.do(chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(2))) // Ctrl
		} else {
			b.do(chromedp.KeyEvent(task.keys))
		}
		t.Logf("%d %s", i+1, task.what)
		b.holds("(" + task.holds + `) && document.readyState === "complete"`) // a key pressed before the scripts run is lost
		if task.what == "look for a word" {
			b.do(chromedp.Evaluate[chromedp.Void]("document.activeElement.blur()"))
		}
	}
	if got := r.waitFor("ssmith", 1)[0]; !strings.Contains(got, "Bien =C3=A9") && !strings.Contains(got, "Bien re") {
		t.Fatal(got)
	}
	for box, want := range map[string]int{"Archive/2026": 1, "Trash": 1, "Snoozed": 1, "Sent": 1} {
		if got := len(r.dovecot.Messages("mdupont", box)); got != want {
			t.Errorf("%d messages in %s, want %d", got, box, want)
		}
	}
}

// TestWhatIsReadAheadStaysUnread: the pointer rests on a message, then opens it.
func TestWhatIsReadAheadStaysUnread(t *testing.T) {
	r := newRig(t)
	r.portal.anyone = "mdupont"
	r.someMessages("mdupont", 2)
	b := &tab{t, testpeer.StartChromium(t, testpeer.ChromiumOptions{Width: 1400, Height: 900})}
	b.do(chromedp.Navigate(r.web.URL + "/mail/"))
	b.holds(`document.querySelector(".mail-row.unread")`)
	unread := func() int { return strings.Count(r.browser("mdupont").get("/mail/"), `mail-row unread"`) }
	b.do(chromedp.Evaluate[chromedp.Void](`window.asked = []; const real = window.fetch; window.fetch = (a, o) => { window.asked.push(String(a) + " " + (o?.headers?.["X-Preload"] ?? "")); return real(a, o); };
		document.querySelector(".mail-row").dispatchEvent(new PointerEvent("pointerover", { bubbles: true }))`))
	b.holds(`window.asked.some((a) => a.endsWith(" 1"))`)
	time.Sleep(400 * time.Millisecond)
	if got := unread(); got != 2 {
		t.Fatalf("%d unread after reading ahead", got)
	}
	b.do(chromedp.Evaluate[chromedp.Void](`window.asked = []; document.querySelector(".mail-row-link").click()`))
	b.holds(`document.querySelector(".mail-title")?.textContent.trim() === "Lettre 1"`)
	b.holds(`!window.asked.some((a) => a.includes("/mail/INBOX/1") && !a.includes("/do") && !a.includes("/sender"))`)
	for end := time.Now().Add(3 * time.Second); unread() != 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d unread after opening it", unread())
		}
	}
}
