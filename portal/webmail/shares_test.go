package webmail

import (
	"net/url"
	"strings"
	"testing"
)

func TestAFolderIsSharedAndSeen(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", simple)
	b, sarah := r.browser("mdupont"), r.browser("ssmith")
	b.get("/mail/")
	key := b.keys()[0]
	b.post("/mail/INBOX/do", url.Values{"do": {"archive"}, "m": {key}, "back": {"/mail/"}})
	sarah.get("/mail/")
	if strings.Contains(sarah.body, "shared~1") || strings.Contains(sarah.body, "mdupont") {
		t.Fatal("something is shared already")
	}
	defer func() {
		if _, ok := r.portal.recorded.Load("mail.share mdupont "); !ok {
			t.Error("not in the audit trail")
		}
	}()
	b.get("/mail/shares")
	b.status(200)
	b.sees("Archives", "/mail/Archive/share")
	b.get("/mail/Archive/share")
	b.status(200)
	b.sees("partagé avec personne", "Les sous-dossiers aussi")
	for typed, words := range map[string]string{"nobody": "ne connaît personne", "mdupont": "déjà à vous", "": "ne connaît personne"} {
		b.post("/mail/Archive/share", url.Values{"do": {"add"}, "who": {typed}, "rights": {"read"}})
		b.status(422)
		b.sees(words)
	}
	b.post("/mail/Archive/share", url.Values{"do": {"add"}, "who": {"ssmith"}, "rights": {"lrswipkxtea"}})
	b.status(400)
	b.post("/mail/Archive/share", url.Values{"do": {"add"}, "who": {`"Smith, Sarah" <ssmith@academie.test>, `}, "rights": {"read"}, "below": {"1"}})
	b.status(200)
	b.sees("Partage enregistré.", "Sarah Smith", "ssmith")

	r.module.Forget("sub-ssmith") // Dovecot shows what is shared to new connections
	sarah.get("/mail/")
	sarah.status(200)
	sarah.sees("Partagés avec moi", `<span class="clip">mdupont</span>`, "2026")
	sarah.get(boxPath("shared/mdupont/Archive/2026"))
	sarah.status(200)
	sarah.sees("Réunion pédagogique")
	sarah.get(sarah.rows()[0])
	sarah.status(200)
	sarah.sees("La réunion est à 14 h")
	box := boxPath("shared/mdupont/Archive/2026")
	sarah.get(box)
	sarah.post(box+"do", url.Values{"do": {"trash"}, "m": sarah.keys(), "back": {box}})
	if sarah.last.StatusCode < 400 {
		t.Fatal("who may read throws away")
	}
	sarah.get(box + "share")
	sarah.status(403)

	b.post("/mail/Archive/share", url.Values{"do": {"change"}, "who": {"ssmith"}, "rights": {"change"}, "below": {"1"}})
	b.sees(`value="change" selected`)
	sarah.get(box)
	sarah.post(box+"do", url.Values{"do": {"flag"}, "m": sarah.keys(), "back": {box}})
	sarah.status(403) // the connection still has the rights of before
	r.module.Forget("sub-ssmith")
	sarah.get(box)
	sarah.post(box+"do", url.Values{"do": {"flag"}, "m": sarah.keys(), "back": {box}})
	sarah.status(200)
	sarah.sees(`value="unflag:`)

	b.post("/mail/Archive/share", url.Values{"do": {"remove"}, "who": {"ssmith"}, "below": {"1"}})
	b.sees("Partage retiré.", "partagé avec personne")
	r.module.Forget("sub-ssmith")
	sarah.get(box)
	sarah.status(404)
}
