package webmail

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func (r *rig) remindedMessage(b *browser, subject string) (messageID string) {
	r.t.Helper()
	f := b.write("jmartin@academie.test", subject, "Qu’en dites-vous ?")
	f.Set("remind", "2")
	f.Set("action", "draft")
	b.upload(f, nil)
	b.sees(`value="2" selected`)
	f = b.form()
	f.Set("remind", "2")
	f.Set("action", "send")
	b.upload(f, nil)
	all := r.waitFor("jmartin", 1)
	m := &message{}
	m.header, m.root = parseMessage([]byte(all[len(all)-1]))
	if m.header.get("x-beffroi-reminder") != "" {
		r.t.Fatal("those who get it see the reminder")
	}
	return m.header.get("message-id")
}

func TestWithoutAnAnswerAMessageComesBack(t *testing.T) {
	r := newRig(t)
	ahead := r.ahead()
	b := r.browser("mdupont")
	id := r.remindedMessage(b, "Devis")
	b.get("/mail/scheduled")
	b.sees("Reviendront sans réponse", "Devis", "jmartin@academie.test")
	// an absence is no answer
	r.dovecot.Deliver("mdupont", "From: jmartin@academie.test\nSubject: Absent\nAuto-Submitted: auto-replied\nIn-Reply-To: "+id+"\n\nabsent\n")
	if err := r.s.remindAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.dovecot.Messages("mdupont", "INBOX"); len(got) != 1 {
		t.Fatal("before its time")
	}
	ahead.Store(int64(49 * time.Hour))
	if err := r.s.remindAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := r.dovecot.Messages("mdupont", "INBOX")
	if len(got) != 2 || !strings.Contains(strings.Join(got, ""), "Devis") {
		t.Fatalf("%q", got)
	}
	b.get("/mail/")
	b.sees("Sans réponse", "Devis", "jmartin@academie.test")
	if got := r.dovecot.Messages("mdupont", "Sent"); len(got) != 1 {
		t.Fatal("it is gone from Sent")
	}
	if err := r.s.remindAll(t.Context()); err != nil || len(r.dovecot.Messages("mdupont", "INBOX")) != 2 {
		t.Fatal("it came twice", err)
	}
}

func TestAnAnsweredMessageStaysAway(t *testing.T) {
	r := newRig(t)
	ahead := r.ahead()
	b := r.browser("mdupont")
	id := r.remindedMessage(b, "Devis")
	r.dovecot.Deliver("mdupont", "From: jmartin@academie.test\nSubject: Re: Devis\nReferences: <autre@a.test> "+id+"\n\noui\n")
	b.post("/mail/INBOX/do", url.Values{"do": {"archive"}, "m": {b.keyOf(b.rowAt("/mail/", 0))}}) // answers are found wherever they lie
	ahead.Store(int64(49 * time.Hour))
	b.get("/mail/")
	if got := r.dovecot.Messages("mdupont", "INBOX"); len(got) != 0 {
		t.Fatalf("%q", got)
	}
	b.get("/mail/scheduled")
	if strings.Contains(b.body, "Devis") {
		t.Fatal("still waiting")
	}
}

func TestAReminderIsGivenUp(t *testing.T) {
	r := newRig(t)
	ahead := r.ahead()
	b := r.browser("mdupont")
	r.remindedMessage(b, "Devis")
	b.get("/mail/scheduled")
	_, after, _ := strings.Cut(b.body, `action="/mail/reminders"><input type="hidden" name="id" value="`)
	r.browser("jmartin").post("/mail/reminders", url.Values{"id": {after[:26]}})
	b.get("/mail/scheduled")
	b.sees("Devis")
	b.post("/mail/reminders", url.Values{"id": {after[:26]}})
	ahead.Store(int64(49 * time.Hour))
	b.get("/mail/")
	if got := r.dovecot.Messages("mdupont", "INBOX"); len(got) != 0 {
		t.Fatal("it came back all the same")
	}
}

// keyOf is the name of a message in its mailbox, from its address.
func (b *browser) keyOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
