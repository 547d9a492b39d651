package webmail

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const simple = "From: =?utf-8?q?H=C3=A9l=C3=A8ne?= Petit <hpetit@academie.test>\nTo: mdupont@academie.test\nSubject: =?utf-8?q?R=C3=A9union_p=C3=A9dagogique?=\nDate: Mon, 23 Nov 2026 10:01:00 +0100\nMessage-ID: <reunion@academie.test>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nBonjour Marie,\n\nLa réunion est à 14 h, voir https://exemple.test/ordre.\n\n> ancien\n> texte\n"

func TestAMessageIsListedReadAndAnswered(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", simple)
	b := r.browser("mdupont")
	b.get("/mail/")
	b.status(200)
	b.sees("Boîte de réception", "Réunion pédagogique", "Hélène Petit", "La réunion est à 14 h", "1–1 sur 1", "Corbeille")
	if !strings.Contains(b.body, `mail-row unread`) {
		t.Fatal("a new message is not shown as unread")
	}
	b.get(b.rows()[0])
	b.status(200)
	b.sees(`href="https://exemple.test/ordre"`, "ancien", "Répondre", "mail-quote")
	if strings.Contains(b.body, `mail-row unread`) {
		t.Fatal("an opened message is still unread")
	}
	reply := "/mail/compose?reply=" + url.QueryEscape(b.last.Request.URL.EscapedPath())
	b.get(reply)
	b.status(200)
	f := b.form()
	if f.Get("to") != "Hélène Petit <hpetit@academie.test>" || f.Get("subject") != "Re: Réunion pédagogique" || !strings.Contains(f.Get("text"), "> Bonjour Marie,") {
		t.Fatalf("reply form: %v", f)
	}
	f.Set("to", "jmartin@academie.test, dehors@ailleurs.test")
	f.Set("text", "Entendu.\n"+f.Get("text"))
	f.Set("action", "send")
	b.upload(f, map[string]string{"été.txt": "bonjour"})
	b.status(200)
	b.sees("Message envoyé.", "Répondu")

	sent := r.dovecot.Messages("mdupont", "Sent")
	if len(sent) != 1 {
		t.Fatalf("%d messages in Sent", len(sent))
	}
	for _, want := range []string{"In-Reply-To: <reunion@academie.test>", "Subject: =?utf-8?q?Re:_R=C3=A9union_p=C3=A9dagogique?=", "filename*=utf-8''%C3%A9t%C3%A9.txt", "Entendu."} {
		if !strings.Contains(sent[0], want) {
			t.Fatalf("the copy lacks %q:\n%s", want, sent[0])
		}
	}
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 || !strings.Contains(got[0], "Entendu.") {
		t.Fatalf("the recipient has %q", got)
	}
	if out := r.dovecot.Outside(); len(out) != 1 {
		t.Fatalf("outside: %v", out)
	}
	other := r.browser("jmartin")
	other.get("/mail/")
	other.get(other.rows()[0])
	other.sees("été.txt", "Entendu.")
	other.get(other.last.Request.URL.EscapedPath() + "/part/2")
	if other.body != "bonjour" || !strings.HasPrefix(other.last.Header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("attachment: %q %v", other.body, other.last.Header)
	}
}

func TestEveryPageOfTheWebmailNeedsASession(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/mail/", "/mail/badge", "/mail/compose", "/mail/INBOX/", "/mail/INBOX/1.1", "/mail/INBOX/1.1/document", "/mail/INBOX/1.1/source", "/mail/INBOX/1.1/part/1"} {
		resp, err := http.Get(r.web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a session: %d", path, resp.StatusCode)
		}
	}
}

func TestMessagesAreFlaggedMovedAndBroughtBack(t *testing.T) {
	r := newRig(t)
	r.dovecot.Fill("mdupont", 60)
	b := r.browser("mdupont")
	b.get("/mail/")
	b.sees("1–50 sur 60", "Plus anciens")
	if len(b.rows()) != 50 {
		t.Fatalf("%d rows", len(b.rows()))
	}
	keys := b.keys()
	b.post("/mail/INBOX/do", url.Values{"do": {"flag:" + keys[0]}, "back": {"/mail/"}})
	b.status(200)
	if strings.Count(b.body, `aria-pressed="true"`) != 1 {
		t.Fatal("the star is not on")
	}
	b.post("/mail/INBOX/do", url.Values{"do": {"trash"}, "m": keys[:3], "back": {"/mail/"}})
	b.sees("3 messages mis à la corbeille.", "Annuler", "1–50 sur 57")
	if got := len(r.dovecot.Messages("mdupont", "Trash")); got != 3 {
		t.Fatalf("%d in Trash", got)
	}
	undo := url.Values{}
	_, notice, _ := strings.Cut(b.body, "mail-notice")
	notice, _, _ = strings.Cut(notice, "</form>")
	for _, m := range hiddenField.FindAllStringSubmatch(notice, -1) {
		undo.Add(m[1], htmlText(m[2]))
	}
	b.post("/mail/undo", undo)
	b.sees("1–50 sur 60")
	b.post("/mail/INBOX/do", url.Values{"do": {"archive"}, "m": keys[4:5], "back": {"/mail/"}})
	b.sees("Message archivé.", "sur 59", "2026")
	if got := len(r.dovecot.Messages("mdupont", "Archive/2026")); got != 1 {
		t.Fatalf("%d in the archive of the year", got)
	}
	b.get("/mail/INBOX/?page=2")
	b.sees("51–59 sur 59", "Plus récents")
	b.post("/mail/INBOX/do", url.Values{"do": {"delete"}, "m": b.keys()[:1]})
	b.status(400)
	b.post("/mail/INBOX/do", url.Values{"do": {"trash"}, "back": {"/mail/"}})
	b.sees("Cochez d’abord")
}

func TestFoldersHaveAccentsDepthAndCounts(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", simple)
	b := r.browser("mdupont")
	b.get("/mail/")
	who := owner{sub: "sub-mdupont", login: "mdupont", token: r.tokens.give("mdupont")}
	who.expires = r.s.now().AddDate(0, 0, 1)
	err := r.s.pools.Do(t.Context(), who, "", writes, func(c *conn) error {
		for _, name := range []string{"Établissements", "Établissements/Collège Jean Jaurès", ".points", "a~b", "<b>"} {
			if err := c.Create(name, nil).Wait(); err != nil && name != ".points" {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.get("/mail/")
	b.sees("Établissements", "Collège Jean Jaurès", "depth-1", "&lt;b&gt;")
	key := b.keys()[0]
	b.post("/mail/INBOX/do", url.Values{"do": {"move"}, "m": {key}, "to": {slug("Établissements/Collège Jean Jaurès")}, "back": {"/mail/"}})
	b.sees("Message rangé dans « Collège Jean Jaurès »")
	b.get(boxPath("Établissements/Collège Jean Jaurès"))
	b.status(200)
	b.sees("Réunion pédagogique")
	b.get(boxPath("a~b"))
	b.status(200)
	b.get("/mail/Nulle%20part/")
	b.status(404)
	b.sees("n’est plus là")
}

func TestTheBadgeSaysHowManyMessagesAreUnread(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	b.get("/mail/badge")
	b.status(204)
	r.dovecot.Deliver("mdupont", simple)
	r.s.badges.forget("sub-mdupont")
	b.get("/mail/badge")
	b.status(200)
	b.sees("1 message non lu")
}
