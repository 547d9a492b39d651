package webmail

import (
	"bytes"
	"errors"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

func (b *browser) imports(to string, files map[string]string) {
	b.r.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	_ = w.WriteField("to", to)
	for name, content := range files {
		part, _ := w.CreateFormFile("file", name)
		_, _ = part.Write([]byte(content))
	}
	_ = w.Close()
	req, _ := http.NewRequest(http.MethodPost, b.r.web.URL+"/mail/import", &body)
	req.Header.Set("Content-Type", w.FormDataContentType())
	b.do(req)
}

func TestAMailboxGoesOutAndComesIn(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", "From: a@academie.test\nSubject: un\n\nFrom ici commence une ligne.\n>From là aussi.\n\nFin.\n")
	r.dovecot.Deliver("mdupont", "From: a@academie.test\nSubject: deux\n\n"+strings.Repeat("x", 200_000)+"\n")
	b := r.browser("mdupont")
	b.get("/mail/INBOX/export")
	b.status(200)
	mbox := b.body
	if got := strings.Count("\n"+mbox, "\nFrom MAILER-DAEMON "); got != 2 || !strings.Contains(mbox, "\n>From ici") || !strings.Contains(mbox, "\n>>From là") || strings.Contains(mbox, "\r") {
		t.Fatalf("%d messages:\n%.1500s", got, mbox)
	}
	if d := b.last.Header.Get("Content-Disposition"); !strings.Contains(d, "INBOX.mbox") {
		t.Fatal(d)
	}
	b.get("/mail/import")
	b.sees("mbox", "/mail/Archive/export")
	b.imports("Archive", map[string]string{"tout.mbox": mbox, "un.eml": "Subject: seul\r\nFrom: b@academie.test\r\n\r\ntexte", "photo.jpg": "\xff\xd8\xff\x00 rien"})
	b.status(200)
	b.sees("3 messages importés.", "1 morceau n’était pas un message")
	got := strings.Join(r.dovecot.Messages("mdupont", "Archive"), "\n")
	for _, want := range []string{"Subject: un", "Subject: deux", "Subject: seul", "\nFrom ici commence", "\n>From là aussi", strings.Repeat("x", 200_000)} {
		if !strings.Contains(strings.ReplaceAll(got, "\r", ""), want) {
			t.Errorf("the archive lacks %.40q", want)
		}
	}
	b.imports("Archive", nil)
	b.status(422)
	b.imports("Nulle part", map[string]string{"un.eml": "Subject: seul\r\n\r\ntexte"})
	if b.last.StatusCode < 400 {
		t.Fatal("imported nowhere")
	}
	b.get("/mail/Rien/export")
	b.status(404)
}

func FuzzEachMessage(f *testing.F) {
	f.Add([]byte("From a\nSubject: x\n\ny\n\nFrom b\nSubject: z\n\n>From c\n"))
	f.Add([]byte("Subject: x\r\n\r\ny"))
	f.Fuzz(func(t *testing.T, file []byte) {
		total := 0
		err := eachMessage(bytes.NewReader(file), func(raw []byte) error {
			if len(raw) == 0 || !bytes.HasSuffix(raw, []byte("\r\n")) {
				t.Fatalf("a message %q", raw)
			}
			total += len(raw)
			return nil
		})
		if err != nil && !errors.Is(err, errTooLarge) {
			t.Fatal(err)
		}
		if total > 2*len(file)+2 {
			t.Fatalf("%d bytes of %d", total, len(file))
		}
	})
}
