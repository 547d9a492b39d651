package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/portal"
)

func (b *browser) write(to, subject, text string) url.Values {
	b.r.t.Helper()
	b.get("/mail/compose")
	f := b.form()
	f.Set("to", to)
	f.Set("subject", subject)
	f.Set("text", text)
	f.Set("action", "send")
	return f
}

func TestOneBadRecipientMeansNothingIsSentAndNothingIsLost(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test, inconnu@academie.test", "Essai", "Mon texte précieux")
	b.upload(f, map[string]string{"note.txt": "pièce"})
	b.status(422)
	b.sees("Le serveur refuse l’adresse inconnu@academie.test", "à personne", "Mon texte précieux", "note.txt", "enregistré dans les brouillons", `id="to" name="to" type="text" value="jmartin@academie.test, inconnu@academie.test"`)
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 0 {
		t.Fatalf("sent all the same: %q", got)
	}
	drafts := r.dovecot.Messages("mdupont", "Drafts")
	if len(drafts) != 1 || !strings.Contains(drafts[0], "X-Beffroi-Composition: "+f.Get("id")) {
		t.Fatalf("drafts: %q", drafts)
	}
	f = b.form()
	f.Set("to", "jmartin@academie.test")
	f.Set("action", "send")
	b.upload(f, nil)
	b.status(200)
	b.sees("Message envoyé.")
	got := r.dovecot.Messages("jmartin", "INBOX")
	if len(got) != 1 || !strings.Contains(got[0], "note.txt") || strings.Contains(got[0], "X-Beffroi") {
		t.Fatalf("received %q", got)
	}
	if left := r.dovecot.Messages("mdupont", "Drafts"); len(left) != 0 {
		t.Fatalf("the draft is still there: %d", len(left))
	}
	if sent := r.dovecot.Messages("mdupont", "Sent"); len(sent) != 1 {
		t.Fatalf("%d copies in Sent", len(sent))
	}
}

func TestWhatIsTypedWrongIsSaidAndKept(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	for typed, want := range map[string]string{"jmartin": "« jmartin » n’est pas une adresse", "": "À qui envoyer", "a@b.test\r\nBcc: x@y.test": "n’est pas une adresse",
		"<script>alert(1)</script>": "n’est pas une adresse"} {
		f := b.write(typed, "Objet\r\nBcc: evil@evil.test", "texte")
		b.upload(f, map[string]string{"../a\r\nX: y.txt": "z"})
		b.status(422)
		b.sees(want, "enregistré dans les brouillons")
	}
	for _, raw := range r.dovecot.Messages("mdupont", "Drafts") {
		head, _ := splitHeader([]byte(raw))
		h := parseHeader(head)
		if h.get("bcc") != "" || h.get("x") != "" {
			t.Fatalf("a header was injected:\n%s", raw)
		}
	}
}

func TestTheSameFormSentTwiceIsSentOnce(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Une fois", "texte")
	for range 3 {
		b.upload(f, nil)
		b.status(200)
		b.sees("Message envoyé.")
	}
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 {
		t.Fatalf("received %d times", len(got))
	}
}

func TestADraftIsSavedAndContinued(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("Jean <jmartin@academie.test>, pas fini", "Brouillon", "\nLigne une\n> citée")
	f.Set("bcc", "secret@ailleurs.test")
	f.Set("action", "draft")
	for range 3 {
		b.upload(f, map[string]string{"a.txt": "1"})
		b.status(200)
		b.sees("Brouillon enregistré à")
		f = b.form()
		f.Set("action", "draft")
	}
	if got := r.dovecot.Messages("mdupont", "Drafts"); len(got) != 1 {
		t.Fatalf("%d drafts", len(got))
	}
	b.get("/mail/Drafts/")
	b.sees("Brouillon")
	b.get(b.rows()[0])
	f = b.form()
	if f.Get("bcc") != "secret@ailleurs.test" || strings.TrimRight(strings.ReplaceAll(f.Get("text"), "\r", ""), "\n") != "\nLigne une\n> citée" || !strings.Contains(f.Get("to"), "pas fini") || len(f["keep"]) != 3 {
		t.Fatalf("continued with %q", f)
	}
	f.Set("to", "jmartin@academie.test")
	f["keep"] = f["keep"][:1]
	f.Set("action", "send")
	b.upload(f, nil)
	b.sees("Message envoyé.")
	sent := r.dovecot.Messages("mdupont", "Sent")
	if len(sent) != 1 || strings.Contains(sent[0], "secret@ailleurs.test") || strings.Count(sent[0], "filename") != 1 {
		t.Fatalf("sent %q", sent)
	}
	if out := r.dovecot.Outside(); len(out) != 1 || out[0].To[0] != "secret@ailleurs.test" {
		t.Fatalf("the hidden copy went %v", out)
	}
	b.get("/mail/compose")
	f = b.form()
	f.Set("text", "à jeter")
	f.Set("action", "draft")
	b.upload(f, nil)
	f = b.form()
	f.Set("action", "discard")
	b.upload(f, nil)
	b.sees("Brouillon jeté.")
	if len(r.dovecot.Messages("mdupont", "Drafts")) != 0 || len(r.dovecot.Messages("mdupont", "Trash")) != 1 {
		t.Fatal("a discarded draft lies in the trash")
	}
}

func TestForwardingCarriesTheAttachments(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", string(hostileMail(t)["rtl-file-name"]))
	b := r.browser("mdupont")
	b.get("/mail/")
	b.get("/mail/compose?forward=" + url.QueryEscape(b.rows()[0]))
	b.sees("Transfert", "facturefdp.exe", "Message transféré")
	f := b.form()
	f.Set("to", "jmartin@academie.test")
	f.Set("action", "send")
	b.upload(f, nil)
	b.sees("Message envoyé.")
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 || strings.Count(got[0], "Content-Disposition: attachment") != 3 {
		t.Fatalf("received %q", got)
	}
}

// A process that is killed is one whose service stops at that point; another
// service on the same database takes over.
func TestAKillAtAnyPointLosesNothingAndFilesOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRig(t)
		c := portal.MailConfig{IMAP: r.dovecot.IMAP, IMAPTLS: "starttls", Submission: r.dovecot.Submission, SubmissionTLS: "starttls", CAFile: r.dovecot.CAFile}
		clock := time.Now()
		service := func() *service {
			s := newRigOn(t, r.tokens, c, d).s
			s.now = func() time.Time { return clock }
			return s
		}
		ctx := context.WithValue(t.Context(), visitor{}, "mdupont")
		for _, point := range []string{"before submission", "after submission", "before filing", "after filing"} {
			o := &outgoing{id: newCompositionID(), from: address{"Marie", "mdupont@academie.test"}, to: []address{{"", "jmartin@academie.test"}}, subject: point, text: "texte"}
			e := envelope{From: o.from.mail, To: o.recipients(), Subject: point, MessageID: o.messageID()}
			first := service()
			if fresh, err := first.enqueue(ctx, "sub-mdupont", o.id, e, o.bytes(clock, false), 0); err != nil || !fresh {
				t.Fatal(fresh, err)
			}
			killed, kill := context.WithCancel(ctx)
			switch point {
			case "before submission":
				kill()
			case "after submission":
				first.afterSubmit = kill
			case "before filing":
				first.afterSubmit = func() { first.pools.Close() }
			case "after filing":
				if _, err := d.Exec(ctx, "UPDATE mail_outbox SET state = 'sent', filings = 1 WHERE id = $1", o.id); err != nil {
					t.Fatal(err)
				}
				who, _ := first.owner(ctx)
				if err := submit(ctx, first.submission, who.login, who.token, e.From, e.To, o.bytes(clock, false)); err != nil {
					t.Fatal(err)
				}
				if _, err := first.append(ctx, who, "Sent", o.bytes(clock, false), nil); err != nil {
					t.Fatal(err)
				}
				kill()
			}
			if err := first.deliver(killed, "sub-mdupont", o.id, first.owner); err == nil {
				t.Fatalf("%s: the killed one says it is done", point)
			}
			kill()
			if _, err := d.Exec(ctx, "UPDATE mail_outbox SET state = CASE WHEN state = 'failed' THEN 'queued' ELSE state END WHERE id = $1", o.id); err != nil {
				t.Fatal(err) // a killed process writes no failure down
			}
			second := service()
			clock = clock.Add(20 * time.Minute)
			if err := second.deliver(ctx, "sub-mdupont", o.id, second.owner); err != nil {
				t.Fatalf("%s: %v", point, err)
			}
			if err := second.deliver(ctx, "sub-mdupont", o.id, second.owner); err != nil {
				t.Fatal(err)
			}
			copies, received := 0, 0
			for _, raw := range r.dovecot.Messages("mdupont", "Sent") {
				copies += strings.Count(raw, "Message-ID: "+e.MessageID)
			}
			for _, raw := range r.dovecot.Messages("jmartin", "INBOX") {
				received += strings.Count(raw, "Message-ID: "+e.MessageID)
			}
			if copies != 1 || received < 1 || received > 1 && point != "after submission" {
				t.Errorf("%s: %d copies in Sent, received %d times", point, copies, received)
			}
			if left, err := second.outbox(ctx, "sub-mdupont"); err != nil || len(left) != 0 {
				t.Errorf("%s: left in the outbox %v %v", point, left, err)
			}
		}
	})
}

func TestTheOutboxKeepsNothingReadable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRigOn(t, newTokens(t), portal.MailConfig{IMAP: "127.0.0.1:1", IMAPTLS: "none", Submission: "127.0.0.1:1", SubmissionTLS: "none"}, d)
		ctx := t.Context()
		e := envelope{From: "a@b.test", To: []string{"secret@b.test"}, Subject: "confidentiel"}
		if kept, err := r.s.keep(ctx, "sub-x", "id", e, []byte("texte confidentiel"), "down"); err != nil || !kept {
			t.Fatal(kept, err)
		}
		var text string
		if err := d.QueryRow(ctx, "SELECT envelope || message || reason FROM mail_outbox WHERE person = $1", "sub-x").Scan(&text); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "confidentiel") || strings.Contains(text, "secret") {
			t.Fatal(text)
		}
		if _, raw, err := r.s.kept(ctx, "sub-x", "id"); err != nil || string(raw) != "texte confidentiel" {
			t.Fatal(string(raw), err)
		}
		if _, _, err := r.s.kept(ctx, "sub-other", "id"); !errors.Is(err, errGone) {
			t.Fatalf("another person's: %v", err)
		}
		r.s.now = func() time.Time { return time.Now().Add(25 * time.Hour) }
		if err := r.s.sweepOutbox(ctx); err != nil {
			t.Fatal(err)
		}
		if left, err := r.s.outbox(ctx, "sub-x"); err != nil || len(left) != 1 {
			t.Fatalf("a message that failed was swept: %v %v", left, err)
		}
	})
}

func TestWithEveryMailServerDownTheTextIsKeptOnThePortal(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Essai", "Mon texte précieux")
	r.dovecot.Stop()
	r.s.pools.Close() // processes of Dovecot that still hold a connection answer on
	r.s.pools.closed = false
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a submission server that never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r.s.submission.address, r.s.submitFor = ln.Addr().String(), time.Second
	b.upload(f, map[string]string{"note.txt": "pièce"})
	b.status(502)
	b.sees("Le serveur d’envoi ne répond pas", "gardé ici, sur le portail", "Mon texte précieux", "note.txt")
	r.dovecot.Start()
	r.s.submission.address = r.dovecot.Submission
	r.s.submitFor = 20 * time.Second
	b.get("/mail/")
	b.sees("Reprendre", "Essai")
	b.get("/mail/compose?outbox=" + f.Get("id"))
	b.sees("Mon texte précieux", "note.txt")
	f = b.form()
	f.Set("action", "send")
	b.upload(f, nil)
	b.sees("Message envoyé.")
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 || !strings.Contains(got[0], "note.txt") {
		t.Fatalf("received %q", got)
	}
}

func TestAMessageCanBeTakenBackForAWhile(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	var ahead atomic.Int64
	r.s.now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	r.s.config.Undo = 10 * time.Second
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Trop vite", "Le texte")
	b.upload(f, map[string]string{"a.txt": "une pièce"})
	b.status(200)
	b.sees("Trop vite", "Message envoyé dans 10 secondes.", "Annuler l’envoi")
	b.get("/mail/outbox") // the part alone, for the script
	b.sees("Annuler l’envoi")
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 0 {
		t.Fatal("it left at once")
	}
	other := r.browser("jmartin")
	other.post("/mail/outbox", url.Values{"do": {"undo"}, "id": {f.Get("id")}})
	other.sees("Trop tard")
	b.post("/mail/outbox", url.Values{"do": {"undo"}, "id": {f.Get("id")}})
	b.status(200)
	b.sees("Le texte", "a.txt", `value="jmartin@academie.test"`)

	// It is written on and sent; nobody wakes a message that was taken back.
	ahead.Store(int64(time.Minute))
	if err := r.s.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 0 {
		t.Fatal("it left all the same")
	}
	again := b.form()
	again.Set("text", "Le texte, relu")
	again.Set("action", "send")
	b.upload(again, nil)
	b.sees("Annuler l’envoi")

	// Its process ended: another one sends it when its time has come, and not before.
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 0 {
		t.Fatal("sent before its time", err)
	}
	ahead.Add(int64(10*time.Second + outboxSlack + time.Second))
	if err := r.s.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := r.dovecot.Messages("jmartin", "INBOX")
	if len(got) != 1 || !strings.Contains(got[0], "Le texte, relu") || !strings.Contains(got[0], "a.txt") {
		t.Fatalf("received %q", got)
	}
	b.post("/mail/outbox", url.Values{"do": {"undo"}, "id": {again.Get("id")}})
	b.sees("Trop tard : le message est parti.")
	if sent := r.dovecot.Messages("mdupont", "Sent"); len(sent) != 1 {
		t.Errorf("%d copies", len(sent))
	}
	// Whoever signs out at once has sent it.
	b.upload(b.write("jmartin@academie.test", "Et au revoir", "texte"), nil)
	b.sees("Annuler l’envoi")
	r.module.Leave(context.WithValue(t.Context(), visitor{}, "mdupont"))
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 2 {
		t.Fatalf("%d received after the sign-out", len(got))
	}
	// A token that is refused costs an attempt, not the message.
	b.upload(b.write("jmartin@academie.test", "Refusé", "texte"), nil)
	ahead.Add(int64(time.Minute))
	r.portal.tokens.down.Store(true)
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 2 {
		t.Fatal("sent with a token that is refused", err)
	}
	r.portal.tokens.down.Store(false)
	ahead.Add(int64(time.Hour))
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 3 {
		t.Fatal("not sent afterwards", err)
	}
	// Without a session it waits; nothing is lost.
	b.upload(b.write("jmartin@academie.test", "Plus tard", "texte"), nil)
	ahead.Add(int64(time.Minute))
	r.portal.ended.Store(true)
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 3 {
		t.Fatal("sent without a session", err)
	}
	r.portal.ended.Store(false)
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 4 {
		t.Fatal("not sent when there is one", err)
	}
}

func TestADraftIsSavedByItself(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	b.upload(func() url.Values {
		f := b.write("", "Brouillon", "un")
		f.Set("action", "draft")
		return f
	}(), map[string]string{"a.txt": "A", "b.txt": "B"})
	f := b.form()
	save := func(text string) {
		t.Helper()
		f.Set("text", text)
		f.Set("action", "autosave")
		b.upload(f, nil)
		b.status(200)
		var answer struct {
			Draft string
			Keep  []string
		}
		if err := json.Unmarshal([]byte(b.body), &answer); err != nil || len(answer.Keep) != 2 {
			t.Fatalf("%v: %s", err, b.body)
		}
		f.Set("draft", answer.Draft)
		f["keep"] = answer.Keep
	}
	save("deux")
	save("trois")
	drafts := r.dovecot.Messages("mdupont", "Drafts")
	if len(drafts) != 1 || !strings.Contains(drafts[0], "trois") || !strings.Contains(drafts[0], "a.txt") || !strings.Contains(drafts[0], "b.txt") {
		t.Fatalf("%d drafts: %q", len(drafts), drafts)
	}
	// What is no address yet is saved too; a server that is down is said, and the page stays.
	f.Set("to", "pas fini")
	save("quatre")
	f.Set("draft", "/mail/Drafts/1.1")
	f.Set("keep", "/mail/Drafts/1.1#2#a.txt")
	b.upload(f, nil)
	if b.last.StatusCode < 400 {
		t.Errorf("%d for what cannot be kept", b.last.StatusCode)
	}
	// A second tab of the same message saved it elsewhere: both go when it is sent.
	drafts = r.dovecot.Messages("mdupont", "Drafts")
	r.putIn("mdupont", "Drafts", []byte("Subject: Brouillon\r\nX-Beffroi-Composition: "+f.Get("id")+"\r\n\r\nun autre onglet\r\n"))
	r.putIn("mdupont", "Drafts", []byte("Subject: Autre\r\nX-Beffroi-Composition: aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\nun autre message\r\n"))
	f.Del("keep")
	f.Set("draft", "")
	f.Set("to", "jmartin@academie.test")
	f.Set("action", "send")
	b.upload(f, nil)
	b.sees("Message envoyé.")
	if left := r.dovecot.Messages("mdupont", "Drafts"); len(drafts) != 1 || len(left) != 1 || !strings.Contains(left[0], "un autre message") {
		t.Errorf("%q, then %q", drafts, left)
	}
}

func TestAForgottenAttachmentIsAskedAboutOnce(t *testing.T) {
	for text, promised := range map[string]bool{
		"Bonjour,\nvous trouverez ci-joint le compte rendu.": true, "Le document est en pièce jointe": true, "Je vous joins la liste": true, "Please find attached the minutes": true, "See the attachment": true, "cf. PJ": false,
		"Bonjour,\nà demain.": false, "> vous trouverez ci-joint le compte rendu\nMerci !": false, "Elle s’est jointe à nous": false, "un moment attaché": false,
	} {
		if got := promisesFile("Réunion", text); got != promised {
			t.Errorf("%q: %v", text, got)
		}
	}
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Compte rendu", "Voici la pièce jointe.")
	b.upload(f, map[string]string{"cr.txt": "x"})
	b.sees("Message envoyé.")
	b.upload(b.write("jmartin@academie.test", "Compte rendu", "Voici la pièce jointe."), nil)
	b.status(422)
	b.sees("Vous parlez d’une pièce jointe", "tel quel", "Voici la pièce jointe.")
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 {
		t.Fatalf("%d received", len(got))
	}
	f = b.form()
	f.Set("action", "send")
	b.upload(f, nil)
	b.status(200)
	b.sees("Message envoyé.")
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 2 {
		t.Fatalf("%d received", len(got))
	}
}

func TestRecipientsAreCompletedFromTheDirectory(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	for q, want := range map[string]string{
		"martin": `[{"name":"Martin, Jean-François","mail":"jmartin@academie.test","about":"Principal · 0590002B","value":"\"Martin, Jean-François\" \u003cjmartin@academie.test\u003e"},` +
			`{"name":"Sarah Martin","mail":"smartin@academie.test","about":"","value":"Sarah Martin \u003csmartin@academie.test\u003e"}]`,
		"adresse": "[]", "m": "[]", "panne": "[]", strings.Repeat("m", 100): "[]",
	} {
		b.get("/mail/recipients?q=" + url.QueryEscape(q))
		b.status(200)
		if strings.TrimSpace(b.body) != want {
			t.Errorf("%q: %s", q, b.body)
		}
	}
	// What is put in the field is understood when it is sent.
	b.upload(b.write(`"Martin, Jean-François" <jmartin@academie.test>, `, "Essai", "texte"), nil)
	b.sees("Message envoyé.")
}
