package webmail

import (
	"strings"
	"testing"
)

func TestAnAttachedMessageIsShown(t *testing.T) {
	r := newRig(t)
	const inner = "From: Fraude <f@evil.test>\nTo: mdupont@academie.test\nSubject: =?utf-8?q?Votre_bo=C3=AEte?=\nDate: Mon, 23 Nov 2026 10:01:00 +0100\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=i\n\n--i\nContent-Type: text/html\n\n<p>Cliquez <script>x()</script><a href=\"https://evil.test/\">ici</a></p>\n--i\nContent-Type: application/pdf; name=facture.pdf\nContent-Disposition: attachment\n\nPDF\n--i--\n"
	outer := "From: jmartin@academie.test\nSubject: signalement\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: text/plain\n\nvoir\n--o\nContent-Type: message/rfc822\nContent-Disposition: attachment; filename=s.eml\n\n" + inner + "\n--o--\n"
	r.dovecot.Deliver("mdupont", outer)
	r.dovecot.Deliver("mdupont", strings.Replace(outer, "voir", strings.Repeat("long\n", 150_000), 1)) // read from the server's structure
	b := r.browser("mdupont")
	for at := range 2 {
		path := b.rowAt("/mail/", at)
		b.get(path)
		b.sees(path + "/message/2")
		b.get(path + "/message/2")
		b.status(200)
		b.sees("Votre boîte", "f@evil.test", "Cliquez", "facture.pdf", path+"/part/2")
		if strings.Contains(b.body, "x()") {
			t.Fatal("script of the message is on the page")
		}
		b.get(path + "/message/1")
		b.status(404)
	}
}
