package webmail

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testpeer"
)

// leave sends files by a link, as a browser without script does; code, name and words
// stand before them.
func (b *browser) leave(path string, fields [][2]string, files ...[2]string) string {
	b.r.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, f := range fields {
		_ = w.WriteField(f[0], f[1])
	}
	for _, f := range files {
		part, _ := w.CreateFormFile("files", f[0])
		_, _ = part.Write([]byte(f[1]))
	}
	_ = w.Close()
	req, _ := http.NewRequest(http.MethodPost, b.r.web.URL+path, &body)
	req.Header.Set("Content-Type", w.FormDataContentType())
	return b.do(req)
}

func (b *browser) dropLink(form url.Values) string {
	b.r.t.Helper()
	b.post("/mail/drops", form)
	b.status(200)
	b.sees("Le lien est prêt")
	link := regexp.MustCompile(b.r.web.URL + `(/d/[A-Za-z0-9_-]{43})`).FindStringSubmatch(b.body)
	if link == nil {
		b.r.t.Fatal(b.body)
	}
	return link[1]
}

func TestSomebodyOutsideLeavesFiles(t *testing.T) {
	c := testpeer.Clamd(t, "25M")
	r := newRigLarge(t, c.Address)
	b := r.browser("mdupont")
	b.post("/mail/drops", url.Values{"title": {" "}})
	b.status(422)
	path := b.dropLink(url.Values{"title": {"Photos de la sortie"}, "days": {"7"}, "code": {"lundi 4"}})
	guest := &browser{r: r, client: &http.Client{Timeout: time.Minute}}
	guest.get("/d/" + strings.Repeat("x", 43))
	guest.status(404)
	guest.get(path)
	guest.status(200)
	guest.sees("Photos de la sortie", "Marie Dupont", "Code")
	guest.leave(path, [][2]string{{"code", "mardi"}, {"name", "Papa"}}, [2]string{"a.jpg", "xxxx"})
	guest.status(403)
	guest.leave(path, [][2]string{{"name", "Papa"}}, [2]string{"a.jpg", "xxxx"})
	guest.status(403)
	guest.leave(path, [][2]string{{"code", "lundi 4"}, {"name", "Papa"}})
	guest.status(422)
	photo := strings.Repeat("0123456789", 900_000)
	guest.leave(path, [][2]string{{"code", "lundi 4"}, {"name", "Papa <script>"}, {"words", "Voilà\nbises"}}, [2]string{"été.jpg", photo}, [2]string{"b.txt", testpeer.VirusText})
	guest.status(200)
	guest.sees("Vos 2 fichiers sont bien arrivés")
	b.get("/mail/files")
	b.sees("été.jpg", "Papa &lt;script&gt;", "Voilà", "Photos de la sortie")
	if got := strings.Count(b.body, "/content\""); got != 1 {
		t.Fatalf("%d files can be taken: the one with a virus too?", got)
	}
	content := regexp.MustCompile(`/mail-files/[a-z0-9]+/content`).FindString(b.body)
	b.get(content)
	b.status(200)
	if b.body != photo || !strings.Contains(b.last.Header.Get("Content-Disposition"), "attachment") {
		t.Fatal("the file is not what was left")
	}
	j := r.browser("jmartin")
	j.get(content)
	j.status(404)
	guest.get(content)
	if guest.last.StatusCode == 200 {
		t.Fatal("anybody takes it")
	}
	// the owner is told, as soon as they have a session
	if err := r.s.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	ahead := r.ahead()
	ahead.Store(int64(time.Minute))
	if err := r.s.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := r.waitFor("mdupont", 1)
	if len(told) != 1 || !strings.Contains(told[0], "/mail/files") || strings.Contains(told[0], "Papa") || strings.Contains(told[0], "bises") {
		t.Fatalf("%q", told)
	}
	// whoever comes again at once is told of once
	guest.leave(path, [][2]string{{"code", "lundi 4"}, {"name", "Papa"}}, [2]string{"c.txt", "encore"})
	guest.status(200)
	guest.leave(path, [][2]string{{"code", "lundi 4"}, {"name", "Papa"}}, [2]string{"d.txt", "encore"})
	guest.status(200)
	var waits int
	if err := r.s.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM mail_outbox WHERE state <> 'done'").Scan(&waits); err != nil || waits > 1 {
		t.Fatalf("%d messages about it, %v", waits, err)
	}
	// closed: what came stays
	id := regexp.MustCompile(`name="id" value="([a-z0-9]{26})"><button class="btn btn-s" name="do"`).FindStringSubmatch(b.get("/mail/files"))[1]
	j.post("/mail/drops", url.Values{"do": {"remove"}, "id": {id}})
	guest.get(path)
	guest.status(200)
	b.post("/mail/drops", url.Values{"do": {"remove"}, "id": {id}})
	b.sees("ne mène plus nulle part", "été.jpg")
	guest.get(path)
	guest.status(404)
}

func TestWhatIsLeftKeepsToItsRoom(t *testing.T) {
	r := newRigLarge(t, "")
	r.s.config.Files.MaxFile, r.s.config.Files.Total = 6<<20, 8<<20
	b := r.browser("mdupont")
	path := b.dropLink(url.Values{"title": {"Dossier"}})
	guest := &browser{r: r, client: &http.Client{Timeout: time.Minute}}
	small, large := strings.Repeat("s", 5<<20), strings.Repeat("l", 7<<20)
	guest.leave(path, [][2]string{{"name", "x"}}, [2]string{"a", small}, [2]string{"b", small})
	guest.status(413)
	guest.sees("Les fichiers arrivés en entier sont gardés")
	guest.leave(path, [][2]string{{"name", "x"}}, [2]string{"c", large})
	guest.status(413)
	b.get("/mail/files")
	if got := strings.Count(b.body, "/content\""); got != 1 {
		t.Fatalf("%d files", got)
	}
	// a line that breaks leaves nothing behind
	read, write := io.Pipe()
	req, _ := http.NewRequest(http.MethodPost, r.web.URL+path, read)
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	go func() {
		_, _ = write.Write([]byte("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"d\"\r\n\r\n" + strings.Repeat("d", 1<<20)))
		_ = write.CloseWithError(io.ErrUnexpectedEOF)
	}()
	if _, err := guest.client.Do(req); err == nil {
		t.Fatal("a broken upload was accepted")
	}
	for range 50 {
		var n int
		if err := r.s.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM mail_file").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("half a file stays")
}
