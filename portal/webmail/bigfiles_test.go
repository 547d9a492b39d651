package webmail

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"beffroi/internal/testpeer"
	"beffroi/portal"
	"beffroi/portal/webmail/bigfile"
)

// newRigLarge offers links to large files, with limits that a test can reach.
func newRigLarge(t *testing.T, clamd string) *rig {
	t.Helper()
	return newRigShowing(t, "", func(c *portal.MailConfig) {
		c.Files = portal.FilesConfig{Dir: filepath.Join(t.TempDir(), "files"), Clamd: clamd, MaxFile: 300 << 20, Total: 500 << 20, Threshold: 1 << 20}
	})
}

type said struct {
	ID     string `json:"id"`
	Offset int64  `json:"offset"`
	State  string `json:"state"`
	Error  string `json:"error"`
}

// sends a piece, or asks, as the script of the page does.
func (b *browser) file(method, path, offset, body string) (answer said) {
	b.r.t.Helper()
	req, _ := http.NewRequest(method, b.r.web.URL+path, strings.NewReader(body))
	if offset != "" {
		req.Header.Set("Upload-Offset", offset)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if text := b.do(req); text != "" {
		_ = json.Unmarshal([]byte(text), &answer)
	}
	return answer
}

func (b *browser) largeFile(name, content string) said {
	b.r.t.Helper()
	at := b.file("POST", "/mail-files", "", url.Values{"name": {name}, "type": {"video/mp4"}, "size": {jsonNumber(len(content))}}.Encode())
	b.status(200)
	return b.file("PATCH", "/mail-files/"+at.ID, "0", content)
}

func jsonNumber(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestALargeFileBecomesALink(t *testing.T) {
	c := testpeer.Clamd(t, "25M")
	r := newRigLarge(t, c.Address)
	b := r.browser("mdupont")
	content := strings.Repeat("0123456789", 300_000)
	at := b.file("POST", "/mail-files", "", url.Values{"name": {"vidéo \"finale\".mp4"}, "type": {"video/mp4"}, "size": {jsonNumber(len(content))}}.Encode())
	if at.ID == "" || at.Offset != 0 || at.State != "receiving" {
		t.Fatalf("%+v", at)
	}
	at = b.file("PATCH", "/mail-files/"+at.ID, "0", content[:1_000_000])
	if at.Offset != 1_000_000 {
		t.Fatalf("%+v", at)
	}
	again := b.file("PATCH", "/mail-files/"+at.ID, "0", content[:1_000_000]) // the answer was lost
	b.status(409)
	if again.Error == "" || b.last.Header.Get("Upload-Offset") != "1000000" {
		t.Fatalf("%+v %v", again, b.last.Header)
	}
	r.browser("jmartin").file("GET", "/mail-files/"+at.ID, "", "")
	j := r.browser("jmartin")
	j.file("PATCH", "/mail-files/"+at.ID, "1000000", "x")
	j.status(404)
	at = b.file("GET", "/mail-files/"+at.ID, "", "") // the page was closed, and resumes
	if at.Offset != 1_000_000 {
		t.Fatalf("%+v", at)
	}

	// not before it is here, and then with a code
	f := b.write("jmartin@academie.test", "La vidéo", "La voici.")
	f.Set("link", at.ID)
	f.Set("link_code", "lundi 4")
	f.Set("link_days", "7")
	f.Set("action", "send")
	b.upload(f, nil)
	b.status(422)
	b.sees("pas encore arrivé en entier", "vidéo", "33 %")
	f = b.form2()
	at = b.file("PATCH", "/mail-files/"+at.ID, "1000000", content[1_000_000:])
	if at.State != "ready" {
		t.Fatalf("%+v", at)
	}
	f.Set("action", "send")
	f.Set("html", "<div>La voici.</div>")
	b.upload(f, nil)
	b.status(200)
	raw := r.waitFor("jmartin", 1)[0]
	m := &message{}
	m.header, m.root = parseMessage([]byte(raw))
	m.body = pickBody(m.root)
	text := decodeText(m.body.plain)
	link := regexp.MustCompile(r.web.URL + `/f/[A-Za-z0-9_-]{43}`).FindString(text)
	if link == "" || !strings.Contains(text, "La voici.") || !strings.Contains(text, "Fichiers à télécharger, jusqu’au") || !strings.Contains(decodeText(m.body.html), link) || strings.Contains(raw, "lundi 4") || strings.Contains(raw, "X-Beffroi-Links") {
		t.Fatalf("the message:\n%s", raw)
	}
	path := strings.TrimPrefix(link, r.web.URL)

	// who has the link needs no account, and the code
	guest := &browser{r: r, client: &http.Client{Timeout: time.Minute}}
	guest.get(path)
	guest.status(200)
	guest.sees("vidéo", "3 Mo", "Marie Dupont", "Code donné")
	guest.get(path + "/file")
	guest.sees("Code donné")
	guest.post(path, url.Values{"code": {"mardi"}})
	guest.status(403)
	guest.sees("pas le bon code")
	guest.post(path, url.Values{"code": {"lundi 4"}})
	guest.status(200)
	if guest.body != content {
		t.Fatalf("%d bytes, want %d", len(guest.body), len(content))
	}
	h := guest.last.Header
	if !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%v", h)
	}
	for range wrongCodes {
		guest.post(path, url.Values{"code": {"mardi"}})
	}
	guest.post(path, url.Values{"code": {"lundi 4"}})
	guest.status(429)

	b.get("/mail/files")
	b.sees("vidéo", "jmartin@academie.test", "La vidéo", "1 téléchargement", "avec un code", link)
	j.post("/mail-files/"+at.ID+"/remove", nil)
	guest.get(path)
	guest.status(200)
	b.post("/mail-files/"+at.ID+"/remove", nil)
	b.sees("Lien repris")
	guest.get(path)
	guest.status(404)
	guest.sees("ne mène plus à rien")
	left, _ := filepath.Glob(filepath.Join(r.s.config.Files.Dir, "*", "*"))
	if len(left) != 0 {
		t.Fatalf("left on the disk: %v", left)
	}
}

// form2 is the form with what the list of links holds.
func (b *browser) form2() url.Values {
	f := b.form()
	for _, name := range []string{"link_code", "link_days"} {
		if m := regexp.MustCompile(`name="` + name + `"[^>]*value="([^"]*)"`).FindStringSubmatch(b.body); m != nil {
			f.Set(name, htmlText(m[1]))
		}
	}
	return f
}

func TestAVirusGoesNoFurther(t *testing.T) {
	c := testpeer.Clamd(t, "1M")
	r := newRigLarge(t, c.Address)
	b := r.browser("mdupont")
	at := b.largeFile("bien.exe", strings.Repeat("x", 1000)+testpeer.VirusText)
	b.status(422)
	if !strings.Contains(at.Error, testpeer.Virus) {
		t.Fatalf("%+v", at)
	}
	b.get("/mail/files")
	b.sees("Refusé par l’antivirus")
	at = b.largeFile("grand.mp4", strings.Repeat("y", 3<<20)) // more than the scanner takes: said to whoever downloads it
	b.status(200)
	f := b.write("jmartin@academie.test", "x", "y")
	f.Set("link", at.ID)
	f.Set("action", "send")
	b.upload(f, nil)
	link := linkIn(r.waitFor("jmartin", 1)[0])
	b.get(link)
	b.sees("n’a pas été vérifié")

	// while the scanner is away nothing is given out, and it can be tried again
	c.Stop()
	waiting := b.largeFile("attend.bin", strings.Repeat("z", 1000))
	b.status(503)
	if waiting.Error == "" {
		t.Fatal("nothing is said")
	}
	b.get("/mail/files")
	id := regexp.MustCompile(`/mail-files/([a-z2-7]{26})/remove`).FindStringSubmatch(b.body)[1]
	f = b.write("ssmith@academie.test", "x", "y")
	f.Set("link", id)
	f.Set("action", "send")
	b.upload(f, nil)
	b.status(422)
	c.Start()
	if at := b.file("POST", "/mail-files/"+id+"/check", "", ""); at.State != "ready" {
		t.Fatalf("%+v", at)
	}
}

func TestLargeFilesHaveLimitsAndAnEnd(t *testing.T) {
	r := newRigLarge(t, "")
	ahead := r.ahead()
	b := r.browser("mdupont")
	for _, bad := range []struct {
		size   string
		status int
	}{{"0", 400}, {"-1", 400}, {"x", 400}, {"400000000", 413}} {
		b.file("POST", "/mail-files", "", url.Values{"name": {"x"}, "size": {bad.size}}.Encode())
		b.status(bad.status)
	}
	b.file("POST", "/mail-files", "", url.Values{"name": {"x"}, "size": {"300000000"}}.Encode())
	b.status(200)
	b.file("POST", "/mail-files", "", url.Values{"name": {"x"}, "size": {"300000000"}}.Encode())
	b.status(507)
	at := b.largeFile("a.bin", strings.Repeat("a", 1000))
	f := b.write("jmartin@academie.test", "x", "y")
	f.Set("link", at.ID)
	f.Set("link_days", "7")
	f.Set("action", "draft")
	b.upload(f, nil)
	b.sees("a.bin", at.ID) // the draft keeps it
	f = b.form()
	f.Set("link", at.ID)
	f.Set("link_days", "7")
	f.Set("action", "send")
	b.upload(f, nil)
	link := linkIn(r.waitFor("jmartin", 1)[0])
	b.get(link + "/file")
	b.status(200)
	ahead.Store(int64(7*24*time.Hour + time.Minute))
	b.get(link)
	b.status(404)
	if n, err := r.s.sweepFiles(t.Context()); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	left, _ := filepath.Glob(filepath.Join(r.s.config.Files.Dir, "*", "*"))
	if len(left) != 0 {
		t.Fatalf("left on the disk: %v", left)
	}
	if _, err := bigfile.NewScanner("nowhere"); err == nil {
		t.Fatal("an address that is none")
	}
}

// TestALargeFileInARealBrowser attaches 200 MB beside a small file, and sends.
func TestALargeFileInARealBrowser(t *testing.T) {
	r := newRigLarge(t, "")
	r.portal.anyone = "mdupont"
	dir := t.TempDir()
	large, small := filepath.Join(dir, "film.bin"), filepath.Join(dir, "note.txt")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 200<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(small, []byte("petite note"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := testpeer.Chromium(t)
	for _, s := range []chromedp.Action[chromedp.Void]{
		chromedp.Navigate(r.web.URL + "/mail/compose?to=jmartin%40academie.test"),
		chromedp.WaitVisible(chromedp.CSS(".mail-rich")),
		chromedp.SendKeys(chromedp.CSS("#subject"), "Le film"),
		chromedp.SetUploadFiles(chromedp.CSS("#files"), []string{large, small}),
		chromedp.WaitVisible(chromedp.CSS(".mail-link progress[hidden]+.hint")),
		chromedp.Click(chromedp.CSS(`button.btn-primary[name=action][value=send]`)),
	} {
		if err := chromedp.Do(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	raw := r.waitFor("jmartin", 1)[0]
	link := linkIn(raw)
	if link == "" || !strings.Contains(raw, "note.txt") || len(raw) > 10_000 {
		t.Fatalf("%d bytes: %.3000s", len(raw), raw)
	}
	resp, err := http.Head(r.web.URL + link + "/file")
	if err != nil || resp.ContentLength != 200<<20 {
		t.Fatal(resp, err)
	}
}

// linkIn is the path of the link in a message.
func linkIn(raw string) string {
	_, root := parseMessage([]byte(raw))
	return regexp.MustCompile(`/f/[A-Za-z0-9_-]{43}`).FindString(decodeText(pickBody(root).plain))
}

func TestALinkHoldsFromWhenItsMessageLeaves(t *testing.T) {
	r := newRigLarge(t, "")
	b := r.browser("mdupont")
	at := b.largeFile("a.bin", strings.Repeat("x", 1000))
	if at.State != "ready" {
		t.Fatalf("%+v", at)
	}
	f := b.write("jmartin@academie.test", "Plus tard", "Voilà")
	leaves := time.Now().In(r.s.location).Add(20 * 24 * time.Hour).Truncate(time.Minute)
	f.Set("link", at.ID)
	f.Set("link_days", "7")
	f.Set("action", "later/"+leaves.Format(momentLayout))
	b.upload(f, nil)
	b.sees("Message programmé")
	var ends int64
	if err := r.s.db.QueryRow(t.Context(), "SELECT ends FROM mail_file WHERE id = $1", at.ID).Scan(&ends); err != nil {
		t.Fatal(err)
	}
	if want := leaves.Add(7 * 24 * time.Hour); !time.UnixMicro(ends).Equal(want) {
		t.Fatalf("the link ends %s, not %s", time.UnixMicro(ends), want)
	}
}
