package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// mailRow is the first message of a list.
const mailRow = "main a.mail-row-link"

// signInByKeyboard types what the pages ask, never touching the mouse: each form has its first field focused.
func (b *tab) signInByKeyboard(w *world, login string) {
	b.t.Helper()
	who := w.people[login]
	b.until("document.activeElement?.name === 'username'")
	b.accessible("the sign-in page")
	b.leaves(b.keys(who.Login), b.keys(tabKey), chromedp.Func(b.onPassword), b.keys(who.Password), b.keys(enterKey))
	b.until("document.querySelector('input[name=code]')")
	secret := ""
	if b.value("!!document.querySelector('a[href^=\"otpauth:\"]')") == "true" {
		secret = b.value(`new URL(document.querySelector('a[href^="otpauth:"]').href).searchParams.get('secret')`)
		b.accessible("the enrolment page")
		b.do(chromedp.Focus(chromedp.CSS("input[name=code]"))) // the page begins with what to do first
	} else {
		b.accessible("the page of the second factor")
	}
	code, err := who.Code(secret)
	if err != nil {
		b.t.Fatal(err)
	}
	b.until("document.activeElement?.name === 'code'")
	b.leaves(b.keys(code), b.keys(enterKey))
}

func TestPeopleWorkInTheBrowser(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	marie := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	subject := fmt.Sprintf("Sortie au musée %d", time.Now().Unix())

	marie.open(w.Portal + "/")
	marie.signInByKeyboard(w, "mdupont")
	if at := marie.value("location.href"); at != w.Portal+"/" {
		t.Fatalf("after signing in the browser is at %s", at)
	}
	if lang := marie.value("document.documentElement.lang"); lang != "fr" {
		t.Errorf("the launcher speaks %s", lang)
	}
	if !strings.Contains(marie.String(), "Marie Dupont") {
		t.Errorf("the launcher does not name her: %s", marie)
	}
	marie.accessible("the launcher")

	marie.leaves(chromedp.Click(chromedp.CSS(`main a[href$="/mail/"]`)))
	if !strings.HasPrefix(marie.value("location.pathname"), "/mail/") || marie.value("!!document.querySelector('input[type=password]')") == "true" {
		t.Fatalf("the webmail is not open: %s", marie)
	}
	marie.accessible("the list of messages")
	marie.to("document.querySelector('.mail-message')", chromedp.Click(chromedp.CSS(mailRow)))
	marie.accessible("a message")
	marie.to("document.querySelector('textarea[name=text]')", chromedp.Click(chromedp.CSS(`main a[href*="reply="]`)))
	marie.accessible("the page to write on")
	marie.do(chromedp.SetValue(chromedp.CSS("input[name=to]"), "sarah.smith@academie.test"), chromedp.SetValue(chromedp.CSS("input[name=subject]"), subject),
		chromedp.SendKeys(chromedp.CSS(".mail-rich"), "Bonjour Sarah, jeudi me convient. "))
	marie.until(`document.querySelector("[data-mail-saved]:not([hidden])")?.textContent.includes("Brouillon enregistré")`) // by itself
	marie.to("!document.querySelector('textarea[name=text]')", chromedp.Click(chromedp.CSS(`button[name=action][value=send]`)))
	marie.until(`document.querySelector('#outbox button[value="undo"]')`)
	marie.accessible("a message that can be taken back")
	marie.leaves(chromedp.Click(chromedp.CSS(`#outbox button[value="undo"]`)))
	marie.to("!document.querySelector('textarea[name=text]')", chromedp.Click(chromedp.CSS(`button[name=action][value=send]`)))
	marie.until(`document.querySelector("#outbox .notice")`)
	marie.until(`!document.querySelector("#outbox .notice")`) // it has left, and the page says so by itself
	marie.open(w.Portal + "/mail/")
	marie.to(fmt.Sprintf("document.body.innerText.includes(%q)", subject), marie.clickText(sent...))

	t.Run("the colleague reads it in English", func(t *testing.T) { readsInEnglish(t, w, subject) })

	title := fmt.Sprintf("Conseil %d", time.Now().Unix())
	marie.open(w.Portal + "/agenda/")
	marie.accessible("the week")
	marie.open(w.Portal + "/agenda/?view=list")
	marie.accessible("the list of days")
	marie.leaves(chromedp.Click(chromedp.CSS(`main a[href^="/agenda/new"]`)))
	marie.accessible("the page of a new event")
	marie.leaves(chromedp.SendKeys(chromedp.CSS("input[name=title]"), title), chromedp.SendKeys(chromedp.CSS("input[name=title]"), enterKey))
	marie.open(w.Portal + "/agenda/")
	marie.until(fmt.Sprintf("document.body.textContent.includes(%q)", title))

	marie.open(w.Portal + "/contacts/")
	marie.accessible("the contacts")
	marie.do(chromedp.SendKeys(chromedp.CSS("main input[name=q]"), "martin"))
	marie.until("document.querySelector('#found')?.textContent.includes('Martin')") // found while typing, without leaving the page
	marie.accessible("the contacts found")
	marie.open(w.Provider + "/account")
	marie.accessible("the account page")

	marie.open(w.Portal + "/nowhere-at-all")
	marie.accessible("the page that is not there")
	marie.forgive("404")
}

func readsInEnglish(t *testing.T, w *world, subject string) {
	sarah := newTab(t, testpeer.ChromiumOptions{Language: "en", Width: 390, Height: 844})
	sarah.open(w.Portal + "/mail/")
	sarah.signInByKeyboard(w, "ssmith")
	if lang := sarah.value("document.documentElement.lang"); lang != "en" {
		t.Errorf("the webmail speaks %s", lang)
	}
	sarah.until(fmt.Sprintf("document.body.innerText.includes(%q)", subject))
	sarah.accessible("the list of messages on a telephone")
	sarah.to("document.body.innerText.includes('jeudi me convient')", sarah.clickText(subject))
	sarah.accessible("a message on a telephone")
	for name, path := range map[string]string{"launcher": "/", "agenda": "/agenda/", "contacts": "/contacts/"} {
		sarah.open(w.Portal + path)
		sarah.accessible("the " + name + " on a telephone")
	}
}

func TestSignInWorksWithoutJavaScript(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	b := newTab(t, testpeer.ChromiumOptions{NoScript: true})
	who := w.people["jmartin"]
	b.open(w.Portal + "/")
	b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=username]"), who.Login), chromedp.SendKeys(chromedp.CSS("input[name=password]"), who.Password),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), enterKey))
	code, err := who.Code("")
	if err != nil {
		t.Fatal(err)
	}
	b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=code]"), code), chromedp.SendKeys(chromedp.CSS("input[name=code]"), enterKey))
	if at := b.value("location.href"); at != w.Portal+"/" {
		t.Fatalf("the browser is at %s", b)
	}
	b.open(w.Portal + "/mail/")
	b.to("document.querySelector('.mail-message')", chromedp.Click(chromedp.CSS(mailRow)))
	b.open(w.Portal + "/agenda/")
	b.open(w.Portal + "/contacts/?q=dupont")
	if !strings.Contains(b.String(), "Dupont") {
		t.Errorf("the search finds nobody: %s", b)
	}
}

// TestNewMailComesByItself: a page that is only looked at shows what has come, in the list, in the count and in its title, and the
// tab does not ask for it again and again.
func TestNewMailComesByItself(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	ctx := journey(t)
	marie := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	marie.open(w.Portal + "/mail/")
	marie.signInByKeyboard(w, "mdupont")
	marie.until(`document.querySelector(".mail-rows")`)
	before := marie.value(`document.querySelector('.modules a[href="/mail/"] .badge').textContent`)
	marie.value("window.stays = true")
	subject := fmt.Sprintf("Arrivée %d", time.Now().Unix())
	jean := visitor.New()
	w.send(t, ctx, jean, w.portal(t, ctx, jean, "jmartin", "/mail/compose"), map[string]string{"to": "marie.dupont@academie.test", "subject": subject, "text": "Bonjour."})
	marie.until(fmt.Sprintf("document.querySelector('.mail-rows')?.textContent.includes(%q)", subject))
	marie.until(fmt.Sprintf(`document.querySelector('.modules a[href="/mail/"] .badge').textContent !== %q`, before))
	if marie.value("window.stays") != "true" {
		t.Error("the page was loaded again")
	}
	if said := marie.value(`document.getElementById("live").textContent`); !strings.Contains(said, subject) {
		t.Errorf("a reader of the screen hears %q", said)
	}
	marie.accessible("the list that changed by itself")
}

// TestRecipientsAreCompleted by the keyboard alone, from the directory.
func TestRecipientsAreCompleted(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	marie := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	marie.open(w.Portal + "/mail/compose")
	marie.signInByKeyboard(w, "mdupont")
	marie.until(`document.activeElement?.id === "to"`)
	marie.do(marie.keys("sarah smi"))
	marie.until(`document.querySelector("#to-list:not([hidden]) > li")`)
	marie.accessible("the suggestions")
	marie.do(marie.keys(kb.ArrowDown), marie.keys(enterKey))
	if got := marie.value(`document.querySelector("#to").value`); got != "Sarah Smith <sarah.smith@academie.test>, " {
		t.Errorf("%q", got)
	}
	marie.do(marie.keys("jean-f"))
	marie.until(`document.querySelector("#to-list:not([hidden]) > li")`)
	marie.do(marie.keys(kb.ArrowDown), marie.keys(tabKey))
	if got := marie.value(`document.querySelector("#to").value`); !strings.HasPrefix(got, "Sarah Smith <sarah.smith@academie.test>, Jean-François") || !strings.HasSuffix(got, ">, ") {
		t.Errorf("%q", got)
	}
	marie.do(marie.keys("zzzz"), marie.keys(kb.Escape))
	if marie.value(`document.activeElement?.id`) != "to" || marie.value(`document.querySelector("#to-list").hidden`) != "true" {
		t.Errorf("the field was left: %s", marie)
	}
	marie.value("document.querySelector('[data-mail-compose]').remove()") // nothing is to be saved
}
