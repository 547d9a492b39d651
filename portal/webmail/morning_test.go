package webmail

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"beffroi/internal/testpeer"
	"beffroi/portal"
)

// picture keeps what the page looks like in the folder BEFFROI_PICTURES, where there is one, for those who look.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("BEFFROI_PICTURES")
	if dir == "" {
		return
	}
	shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestAMorningInTheWebmail does what people do all day, on a desk and on a telephone, in both languages, on Dovecot.
func TestAMorningInTheWebmail(t *testing.T) {
	dir := t.TempDir()
	large, photo := filepath.Join(dir, "film.bin"), filepath.Join(dir, "photo.png")
	if err := errJoin(os.WriteFile(large, nil, 0o600), os.Truncate(large, 200<<20)); err != nil {
		t.Fatal(err)
	}
	var encoded bytes.Buffer
	img := image.NewRGBA(image.Rect(0, 0, 60, 40))
	for x := range 60 {
		img.Set(x, x%40, color.RGBA{200, 30, 30, 255})
	}
	if err := errJoin(png.Encode(&encoded, img), os.WriteFile(photo, encoded.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{1280, 390} {
		for _, language := range []string{"fr", "en"} {
			name := fmt.Sprintf("%d-%s", width, language)
			t.Run(name, func(t *testing.T) { aMorning(t, name, width, language, large, photo) })
		}
	}
}

func errJoin(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func aMorning(t *testing.T, name string, width int, language, large, photo string) {
	r := newRigShowing(t, elsewhere, func(c *portal.MailConfig) {
		c.Files = portal.FilesConfig{Dir: filepath.Join(t.TempDir(), "files"), MaxFile: 300 << 20, Total: 500 << 20, Threshold: 1 << 20}
		c.Undo = 4 * time.Second
	})
	r.portal.anyone = "mdupont"
	r.someMessages("mdupont", 6)
	ctx, cancel := context.WithTimeout(testpeer.StartChromium(t, testpeer.ChromiumOptions{Language: language, Width: width, Height: 844}), 90*time.Second)
	defer cancel()
	b := &tab{t, ctx}
	open := func(subject string) {
		t.Helper()
		b.do(chromedp.Navigate(r.web.URL + "/mail/"))
		b.holds(`document.querySelector(".mail-row-link")`)
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`[...document.querySelectorAll(".mail-row-link")].find((a) => a.closest(".mail-row").textContent.includes(%q)).click()`, subject)))
		b.holds(fmt.Sprintf(`document.querySelector(".mail-title")?.textContent.trim() === %q && document.readyState === "complete"`, subject))
	}
	menu := func(key, choice string) {
		t.Helper()
		b.do(chromedp.Click(chromedp.CSS(`.mail-actions summary[` + key + `]`)))
		b.do(chromedp.Click(chromedp.CSS(`.mail-actions details[open] ` + choice)))
	}
	notice := func() { t.Helper(); b.holds(`document.querySelector(".mail-notice[role=status]")`) }

	// read
	open("Lettre 5")
	b.holds(`document.querySelector(".mail-text")?.textContent.includes("Texte de la lettre 5.")`)
	if lang, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.documentElement.lang")); err != nil || lang != language {
		t.Fatal(lang, err)
	}
	b.picture(name + "-read")
	// answer, with a picture in the text and 200 MB that become a link
	b.do(chromedp.Click(chromedp.CSS("a[data-key-r]")))
	b.holds(`document.querySelector(".mail-rich:not([hidden])") && document.readyState === "complete"`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".mail-rich").focus()`), chromedp.KeyEvent("Merci, voici."),
		chromedp.SetUploadFiles(chromedp.CSS("[data-mail-images]"), []string{photo}))
	b.holds(`document.querySelector(".mail-rich img")`)
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#files"), []string{large}), chromedp.WaitVisible(chromedp.CSS(".mail-link progress[hidden]+.hint")))
	b.picture(name + "-answer")
	send := chromedp.Click(chromedp.CSS(`button.btn-primary[name=action][value=send]`))
	b.do(send)
	// taken back, and sent again
	b.holds(`document.querySelector('#outbox button[value=undo]')`)
	b.picture(name + "-undo")
	b.do(chromedp.Click(chromedp.CSS(`#outbox button[value=undo]`)))
	b.holds(`document.querySelector(".mail-rich:not([hidden])")?.textContent.includes("Merci, voici.") && document.querySelector(".mail-rich img") && document.readyState === "complete"`)
	if got := r.dovecot.Messages("ssmith", "INBOX"); len(got) != 0 {
		t.Fatal("sent although it was taken back")
	}
	b.do(send)
	b.holds(`document.querySelector('#outbox button[value=undo]')`)
	raw := r.waitFor("ssmith", 1)[0]
	link := linkIn(raw)
	if link == "" || !strings.Contains(raw, "In-Reply-To: <l5@academie.test>") || !strings.Contains(raw, "image/png") || len(raw) > 30_000 {
		t.Fatalf("%d bytes: %.3000s", len(raw), raw)
	}
	if resp, err := http.Head(r.web.URL + link + "/file"); err != nil || resp.ContentLength != 200<<20 {
		t.Fatal(resp, err)
	}
	// schedule
	b.do(chromedp.Navigate(r.web.URL + "/mail/compose?to=jmartin%40academie.test"))
	b.holds(`document.querySelector(".mail-rich:not([hidden])") && document.readyState === "complete"`)
	b.do(chromedp.SendKeys(chromedp.CSS("#subject"), "Pour demain"), chromedp.Click(chromedp.CSS(".mail-send .mail-later summary")), chromedp.Click(chromedp.CSS(`.mail-later button[value^="later/"]`)))
	b.holds(`location.pathname === "/mail/scheduled" && document.body.textContent.includes("Pour demain")`)
	b.picture(name + "-scheduled")
	// snooze
	open("Lettre 4")
	menu("data-key-b", `button[name=at]`)
	notice()
	if got := r.dovecot.Messages("mdupont", "Snoozed"); len(got) != 1 {
		t.Fatalf("%d snoozed", len(got))
	}
	// archive
	open("Lettre 3")
	b.do(chromedp.Click(chromedp.CSS(`.mail-actions button[value=archive]`)))
	notice()
	for end := time.Now().Add(3 * time.Second); len(r.dovecot.Messages("mdupont", "Archive/2026")) != 1; time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not archived")
		}
	}
	b.picture(name + "-archived")
	// label
	open("Lettre 2")
	menu("data-key-l", `button[value^="label/"]`)
	b.holds(`document.querySelector(".mail-labels .mail-label")`)
	b.picture(name + "-label")
	// search
	b.do(chromedp.Navigate(r.web.URL+"/mail/search"), chromedp.SendKeys(chromedp.CSS("main [data-mail-search]"), "lettre 3\r"))
	b.holds(`document.querySelector(".mail-found")?.textContent.includes("Lettre 3")`) // archived a moment ago
	b.picture(name + "-search")
	// filter
	b.do(chromedp.Navigate(r.web.URL+"/mail/filters/edit"), chromedp.SendKeys(chromedp.CSS("#value-0"), "filtre"), chromedp.SetValue(chromedp.CSS("#field-0"), "subject"), chromedp.SetValue(chromedp.CSS("#folder"), "Trash"))
	b.picture(name + "-filter")
	b.do(chromedp.Click(chromedp.CSS(`button.btn-primary[value=save]`)))
	b.holds(`location.pathname === "/mail/filters" && document.querySelector(".mail-rule")`)
	b.picture(name + "-filters")
	r.dovecot.Deliver("mdupont", "From: a@academie.test\nSubject: au filtre\n\nx\n")
	if got := r.dovecot.Messages("mdupont", "Trash"); len(got) != 1 {
		t.Fatalf("%d filtered", len(got))
	}
	// vacation
	b.do(chromedp.Navigate(r.web.URL+"/mail/absence"), chromedp.Click(chromedp.CSS("#on")), chromedp.SendKeys(chromedp.CSS("#text"), "Je suis absente."))
	b.picture(name + "-absence")
	b.do(chromedp.Click(chromedp.CSS(`form[action="/mail/absence"] button.btn-primary`)))
	b.holds(`document.querySelector(".notice-ok")`)
	r.dovecot.DeliverFrom("jmartin@academie.test", "mdupont", "From: jmartin@academie.test\nTo: mdupont@academie.test\nSubject: Es-tu là\n\nx\n")
	if got := r.waitFor("jmartin", 1)[0]; !strings.Contains(got, "Je suis absente.") {
		t.Fatal(got)
	}
	// share with ssmith, who sees it
	b.do(chromedp.Navigate(r.web.URL+"/mail/Archive/share"), chromedp.SendKeys(chromedp.CSS("#who"), "ssmith@academie.test"), chromedp.Click(chromedp.CSS(`button.btn-primary[value=add]`)))
	b.holds(`document.querySelector(".notice-ok") && document.querySelector(".mail-rule")`)
	b.picture(name + "-share")
	r.module.Forget("sub-ssmith")
	s := r.browser("ssmith")
	s.get("/mail/")
	s.sees("shared~1mdupont~1Archive")
	s.get("/mail/" + url.PathEscape("shared~1mdupont~1Archive~12026") + "/")
	s.status(200)
	s.sees("Lettre 3")
	// the settings are what they were made
	b.do(chromedp.Navigate(r.web.URL + "/mail/settings"))
	b.picture(name + "-settings")
	b.do(chromedp.Navigate(r.web.URL + "/mail/identities"))
	b.picture(name + "-identities")
	b.do(chromedp.Navigate(r.web.URL + "/mail/files"))
	b.picture(name + "-files")
	// print
	open("Lettre 2")
	href, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector('.mail-actions a[href*="document?print"]').href`))
	if err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate(href))
	b.holds(`document.querySelector(".beffroi-print h1")?.textContent === "Lettre 2" && document.body.textContent.includes("Texte de la lettre 2.")`)
	pdf, err := chromedp.Run(b.ctx, chromedp.PrintToPDF())
	if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF-")) || len(pdf) < 2000 {
		t.Fatal(len(pdf), err)
	}
}
