package webmail

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
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
			if fresh, err := first.enqueue(ctx, "sub-mdupont", o.id, e, o.bytes(clock, false)); err != nil || !fresh {
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
