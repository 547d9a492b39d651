package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// desk is a helper's browser, and how it posts.
type desk struct {
	t *testing.T
	w *world
	*visitor.Visitor
}

func (w *world) desk(t *testing.T, login string) desk {
	t.Helper()
	d := desk{t, w, visitor.New()}
	w.enter(t, journey(t), d.Visitor, w.demoApp, login)
	return d
}

func (d desk) post(path string, fields ...string) *visitor.Page {
	d.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	p, err := d.Post(journey(d.t), d.w.Provider+path, form, d.w.Provider+"/helpdesk/")
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

// TestSensitiveAccountIsResetByTwo: the bursar's reset waits for her head of school, who agrees; the trail and her
// mail tell of it. The security officer is out of the helper's reach.
func TestSensitiveAccountIsResetByTwo(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	ctx := journey(t)
	lea := visitor.New()
	tokens, claims := w.enter(t, ctx, lea, w.demoApp, "lwattrelos")
	helper, head := w.desk(t, "mdupont"), w.desk(t, "jmartin")
	at := "/helpdesk/" + claims.Subject

	_, stranger := w.enter(t, ctx, visitor.New(), w.demoApp, "aadmin")
	if p := helper.post("/helpdesk/"+stranger.Subject+"/reset", "reason", "ticket 4712"); p.Status != 403 {
		t.Errorf("the security officer: %s", p)
	}

	if p := helper.post(at+"/reset", "reason", "ticket 4712, telephone lost"); p.Status != 422 {
		t.Errorf("before the caller is known: %s", p)
	}
	helper.post(at+"/verify", "way", "callback", "remark", "03 20 00 00 00")
	if p := helper.post(at+"/reset", "reason", "ticket 4712, telephone lost"); !strings.Contains(p.Location(), "done=asked") {
		t.Fatalf("%s", p)
	}
	if alive, err := w.demoApp.Refresh(ctx, tokens.RefreshToken); err != nil || alive.Error != "" {
		t.Fatalf("reset by one: %+v, %v", alive, err)
	} else {
		tokens = alive
	}
	waiting, err := head.Open(ctx, w.Provider+"/helpdesk/requests", "")
	if err != nil || !waiting.Says("ticket 4712") {
		t.Fatalf("%v %s", err, waiting)
	}
	request := regexp.MustCompile(`/helpdesk/requests/([\w-]{22})`).FindString(waiting.Body)
	if own, err := helper.Open(ctx, w.Provider+"/helpdesk/requests", ""); err != nil || strings.Contains(own.Body, `action="`+request+`"`) {
		t.Errorf("the helper may agree with herself: %v", err)
	}
	if p := helper.post(request, "answer", "yes"); p.Status != 403 {
		t.Errorf("the helper agrees with herself: %s", p)
	}
	if p := head.post(request, "answer", "yes"); !strings.Contains(p.Location(), "done=yes") {
		t.Fatalf("%s", p)
	}
	if p := head.post(request, "answer", "yes"); p.Status != 409 {
		t.Errorf("twice: %s", p)
	}
	if dead, err := w.demoApp.Refresh(ctx, tokens.RefreshToken); err != nil || dead.Error != "invalid_grant" {
		t.Errorf("the refresh token: %+v, %v", dead, err)
	}
	trail, err := w.Command("audit", "list", "-person", "lwattrelos")
	if err != nil || !strings.Contains(trail, "helpdesk.ask") || !strings.Contains(trail, "helpdesk.approve") || !strings.Contains(trail, "helpdesk.reset") || !strings.Contains(trail, "verified=callback") {
		t.Errorf("%v\n%s", err, trail)
	}
	w.people["lwattrelos"].Phone = nil
	again := visitor.New()
	w.enter(t, ctx, again, w.demoApp, "lwattrelos")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(300 * time.Millisecond) {
		p, err := again.Open(ctx, w.Portal+"/mail/", "")
		if err != nil {
			t.Fatal(err)
		}
		if p.Says("réinitialis", "were reset") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no mail tells of the reset: %s", p)
		}
	}
}

// TestALetterInTheBrowser: a helper prints a letter, its code is carried from the address to the step that asks for it, and
// a first factor is made with it.
func TestALetterInTheBrowser(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	ctx := journey(t)
	helper := w.desk(t, "mdupont")
	found, err := helper.Open(ctx, w.Provider+"/helpdesk/?q=plefebvre", "")
	if err != nil {
		t.Fatal(err)
	}
	at := strings.TrimPrefix(regexp.MustCompile(`href="/helpdesk/[0-9a-f-]{36}"`).FindString(found.Body), `href="`)
	at = strings.TrimSuffix(at, `"`)
	helper.post(at+"/verify", "way", "in_person", "remark", "carte professionnelle")
	p := helper.post(at+"/letter", "reason", "arrivée à l’école")
	file := filepath.Join(t.TempDir(), "lettre.pdf")
	if err := os.WriteFile(file, []byte(p.Body), 0o600); err != nil {
		t.Fatal(err)
	}
	words, err := exec.Command("pdftotext", "-layout", file, "-").CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s %s", err, words, p)
	}
	printed := regexp.MustCompile(`(http\S+/enrol)\s+·\s+([0-9A-Z]{4}-[0-9A-Z]{4})`).FindSubmatch(words)
	if printed == nil || !bytes.Contains(words, []byte("Paul Lefebvre")) {
		t.Fatalf("%s", words)
	}
	address, code := string(printed[1]), string(printed[2])

	b := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	b.open(address + "#" + code)
	b.until("location.hash === ''")
	if shown := b.value("document.querySelector('[data-letter-shown]').textContent"); shown != code {
		t.Errorf("shown: %q", shown)
	}
	b.accessible("the letter's page")
	b.leaves(b.clickText("Commencer"))
	b.signIn(w, "plefebvre")
	if filled := b.value("document.querySelector('#code').value"); filled != code {
		t.Fatalf("filled in: %q in %s", filled, b)
	}
	b.leaves(chromedp.Click(chromedp.CSS(`main form.stack button[type=submit]`)))
	b.until(`document.querySelector('form[action^="/signin/enrol?"]')`)
	b.accessible("enrolment on a letter")
	if left := b.value("sessionStorage.getItem('letter')"); left != "null" {
		t.Errorf("the tab keeps %q", left)
	}
	trail, err := w.Command("audit", "list", "-person", "plefebvre")
	if err != nil || !strings.Contains(trail, "helpdesk.letter") || !strings.Contains(trail, "mfa.pass.used") || strings.Contains(trail, code) {
		t.Errorf("%v\n%s", err, trail)
	}
}

// TestAThousandKeysAreImportedInTheBrowser shows how far it is, a line for each bad entry, and takes nothing in before it is told to.
func TestAThousandKeysAreImportedInTheBrowser(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	var text strings.Builder
	text.WriteString(`<?xml version="1.0" encoding="UTF-8"?><KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc">`)
	for i := range 1002 {
		seed := fmt.Sprintf("seed-of-essai-key-%02d-%04d", i%7, i)
		if i >= 1000 {
			seed = "short"
		}
		fmt.Fprintf(&text, `<KeyPackage><DeviceInfo><SerialNo>LOT-%04d</SerialNo></DeviceInfo><Key Id="LOT-%04d" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:totp"><AlgorithmParameters><ResponseFormat Length="6" Encoding="DECIMAL"/></AlgorithmParameters><Data><Secret><PlainValue>%s</PlainValue></Secret><TimeInterval><PlainValue>30</PlainValue></TimeInterval></Data></Key></KeyPackage>`,
			i, i, base64.StdEncoding.EncodeToString([]byte(seed)))
	}
	text.WriteString(`</KeyContainer>`)
	file := filepath.Join(t.TempDir(), "lot.xml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	b := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	b.open(w.Provider + "/helpdesk/keys")
	b.signIn(w, "mdupont")
	code, err := w.people["mdupont"].Code("")
	if err != nil {
		t.Fatal(err)
	}
	b.typeCode(code)
	b.accessible("the OTP keys")
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}), chromedp.SetValue(chromedp.CSS("#into"), "0590002B"))
	began := time.Now()
	b.leaves(chromedp.Click(chromedp.CSS(`form[action="/helpdesk/keys/import"] button[type=submit]`)))
	b.until(`document.querySelector('button[value=take]')`)
	read := time.Since(began)
	b.accessible("an import that is read")
	if lines := b.value("document.querySelectorAll('#report ~ .table-wrap tbody tr').length"); lines != "2" {
		t.Errorf("%s lines of report in %s", lines, b)
	}
	if n := b.value("document.querySelector('input[name=good]').value"); n != "1000" {
		t.Errorf("%s good keys", n)
	}
	began = time.Now()
	b.do(chromedp.Click(chromedp.CSS("#only")))
	b.leaves(chromedp.Click(chromedp.CSS(`button[value=take]`)))
	b.until(`document.querySelector('a[href^="/helpdesk/keys?lot="]')`)
	t.Logf("1,000 keys: read after %s, in stock after %s more", read.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	b.leaves(chromedp.Click(chromedp.CSS(`a[href^="/helpdesk/keys?lot="]`)))
	b.until(`document.body.innerText.includes('LOT-0000')`)
	b.accessible("a list of keys")
	b.leaves(b.clickText("LOT-0000"))
	b.accessible("an OTP key")
}

// tabTo presses Tab until the focus is on what the selector names, as somebody without a mouse does, and checks that the focus
// is always seen.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 80 {
		b.do(b.keys(tabKey))
		if b.value(fmt.Sprintf("document.activeElement?.matches(%q)", selector)) == "true" {
			if b.value("[null, '::after'].every(part => getComputedStyle(document.activeElement, part).outlineStyle === 'none')") == "true" {
				b.t.Errorf("%s: nothing shows that it has the focus", selector)
			}
			return
		}
	}
	b.t.Fatalf("the Tab key does not reach %s; the page is %s", selector, b)
}

// TestDeskByKeyboard: found, verified, reset, undone by nobody but the person: no mouse.
func TestDeskByKeyboard(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	sarah := visitor.New()
	w.portal(t, journey(t), sarah, "ssmith", "/")
	b := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	b.open(w.Provider + "/helpdesk/")
	b.signInByKeyboard(w, "mdupont")
	b.until("document.activeElement?.id === 'q'")
	b.leaves(b.keys("ssmith"), b.keys(enterKey))
	b.tabTo("a.row-link")
	b.leaves(b.keys(enterKey))
	b.tabTo("input[name=way]")
	b.do(b.keys(kb.ArrowDown), b.keys(kb.ArrowDown))
	for b.value("document.activeElement.value") != "callback" {
		b.do(b.keys(kb.ArrowDown))
	}
	b.tabTo("#remark")
	b.do(b.keys("rappelée au 03 20 00 00 00"))
	b.tabTo(`form[action$="/verify"] button[type=submit]`)
	b.leaves(b.keys(enterKey))
	if b.value("location.search") != "?done=verified" {
		t.Fatalf("not verified: %s", b)
	}
	b.tabTo("#reason")
	b.do(b.keys("téléphone perdu"))
	b.tabTo(`button[formaction$="/reset"]:not([name])`)
	b.leaves(b.keys(enterKey))
	if b.value("location.search") != "?done=reset" || b.value("document.activeElement?.hasAttribute('data-focus')") != "true" {
		t.Errorf("after the reset: %s", b)
	}
	b.accessible("the page of a person who was reset")

	for _, page := range []string{"/helpdesk/follow-up", "/helpdesk/keys", "/helpdesk/schools/0590002B", "/helpdesk/schools/0590002B/letters", "/account", "/account/sessions", "/account/recovery"} {
		b.open(w.Provider + page)
		// Everything that can be pressed takes the focus.
		if left := b.value(`[...document.querySelectorAll("main a, main button, main input:not([type=hidden]), main select, main textarea, main summary")].filter(e => e.checkVisibility() && !e.disabled && (e.tabIndex < 0 || (e.tagName === "A" && !e.href))).map(e => e.outerHTML).join("\n")`); left != "" {
			t.Errorf("%s: out of the keyboard's reach: %s", page, left)
		}
	}
}
