package webmail

import (
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ahead lets the clock of the webmail be moved.
func (r *rig) ahead() *atomic.Int64 {
	var by atomic.Int64
	r.s.now = func() time.Time { return time.Now().Add(time.Duration(by.Load())) }
	return &by
}

func TestAMessageLeavesAtItsTime(t *testing.T) {
	r := newRig(t)
	ahead := r.ahead()
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Pour demain", "Le texte")
	b.sees("Demain matin", `value="later/`)
	for at, words := range map[string]string{"": "Choisissez un jour", "2020-01-01T08:00": "déjà passé", "2199-01-01T08:00": "90 jours"} {
		bad := url.Values{}
		for k, v := range f {
			bad[k] = v
		}
		bad.Set("action", "later")
		bad.Set("at", at)
		b.upload(bad, nil)
		b.status(422)
		b.sees(words, "Le texte")
	}
	f = b.form() // the draft of the refusal
	at := time.Now().In(r.s.location).Add(26 * time.Hour).Truncate(time.Minute)
	f.Set("action", "later/"+at.Format(momentLayout))
	b.upload(f, map[string]string{"a.txt": "pièce"})
	b.status(200)
	b.sees("Message programmé", "Pour demain", "jmartin@academie.test", "Envois programmés")
	if r.portal.mandates.Load() != 1 {
		t.Fatal("no mandate was asked for")
	}
	if got := r.dovecot.Messages("mdupont", "Drafts"); len(got) != 0 {
		t.Fatalf("%d drafts beside what is scheduled", len(got))
	}
	b.get("/mail/")
	b.sees("Envois programmés")
	if strings.Contains(b.body, "Annuler l’envoi") {
		t.Fatal("it is shown as if it left at once")
	}
	// a sign-out sends nothing before its time
	ctx, err := r.portal.As(t.Context(), "mdupont")
	if err != nil {
		t.Fatal(err)
	}
	r.module.Leave(ctx)
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 0 {
		t.Fatal("sent before its time", err)
	}
	// taken back, changed, and scheduled again
	b.get("/mail/scheduled")
	b.post("/mail/outbox", url.Values{"do": {"undo"}, "id": {f.Get("id")}})
	b.status(200)
	b.sees("Le texte", "a.txt")
	again := b.form()
	again.Set("text", "Le texte, relu")
	again.Set("action", "later/"+at.Format(momentLayout))
	b.upload(again, nil)
	b.sees("Message programmé")
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 0 {
		t.Fatal("sent before its time", err)
	}
	ahead.Store(int64(26*time.Hour + time.Minute))
	if err := r.s.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := r.dovecot.Messages("jmartin", "INBOX")
	if len(got) != 1 || !strings.Contains(got[0], "Le texte, relu") || !strings.Contains(got[0], "Date: "+at.Format("Mon, 02 Jan 2006 15:04:00")) {
		t.Fatalf("received %q", got)
	}
	if r.portal.mandates.Load() != 0 {
		t.Fatal("the mandate was not given back")
	}
	if err := r.s.takeUp(t.Context()); err != nil || len(r.dovecot.Messages("jmartin", "INBOX")) != 1 {
		t.Fatal("sent twice", err)
	}
}

func TestWhatIsScheduledCanLeaveNow(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Finalement", "tout de suite")
	f.Set("action", "later")
	f.Set("at", time.Now().In(r.s.location).Add(50*time.Hour).Format(momentLayout))
	b.upload(f, nil)
	b.sees("Message programmé")
	b.post("/mail/outbox", url.Values{"do": {"now"}, "id": {f.Get("id")}})
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 {
		t.Fatalf("%d messages arrived", len(got))
	}
	b.get("/mail/scheduled")
	b.sees("Aucun envoi programmé.")
}

func TestSomebodySignedOutIsInNobodysWay(t *testing.T) {
	r := newRig(t)
	ahead := r.ahead()
	for i := range 60 { // of people who are gone
		sub := "gone-" + strings.Repeat("x", i)
		if _, err := r.s.schedule(t.Context(), sub, "id", envelope{}, []byte("x"), r.s.now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Le dernier", "texte")
	f.Set("action", "later")
	f.Set("at", time.Now().In(r.s.location).Add(2*time.Hour).Format(momentLayout))
	b.upload(f, nil)
	ahead.Store(int64(3 * time.Hour))
	r.portal.gone = "gone-"
	if err := r.s.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 {
		t.Fatalf("%d messages arrived", len(got))
	}
}

func TestASnoozedMessageComesBack(t *testing.T) {
	r := newRig(t)
	ahead := r.ahead()
	r.dovecot.Deliver("mdupont", simple)
	r.dovecot.Deliver("mdupont", strings.NewReplacer("reunion@", "autre@", "p=C3=A9dagogique", "autre").Replace(simple))
	b := r.browser("mdupont")
	b.get(b.rowAt("/mail/", 1))
	b.sees("Revoir plus tard", "Demain matin")
	path := b.last.Request.URL.EscapedPath()
	key := path[strings.LastIndexByte(path, '/')+1:]
	b.post("/mail/INBOX/snooze", url.Values{"m": {key}, "at": {"hier"}, "back": {path}})
	b.status(422)
	b.get(path + "?snooze")
	b.sees(`type="datetime-local"`)
	at := time.Now().In(r.s.location).Add(3 * time.Hour).Format(momentLayout)
	b.post("/mail/INBOX/snooze", url.Values{"m": {key}, "at": {at}, "back": {path}})
	b.status(200)
	b.sees("Message mis en attente.", "Annuler", "1–1 sur 1", "En attente")
	b.get(boxPath("Snoozed"))
	b.sees("Réunion pédagogique", "revient ")
	waiting := b.keys()
	b.get("/mail/")
	if len(b.rows()) != 1 {
		t.Fatal("it came back before its time")
	}
	if err := r.s.wakeAll(t.Context()); err != nil || len(r.dovecot.Messages("mdupont", "INBOX")) != 1 {
		t.Fatal("it came back before its time", err)
	}
	// put off again, from where it waits
	later := time.Now().In(r.s.location).Add(30 * time.Hour).Format(momentLayout)
	b.post(boxPath("Snoozed")+"snooze", url.Values{"m": waiting, "at": {later}})
	b.status(200)
	ahead.Store(int64(4 * time.Hour))
	if err := r.s.wakeAll(t.Context()); err != nil || len(r.dovecot.Messages("mdupont", "INBOX")) != 1 {
		t.Fatal("it came back at the time of before", err)
	}
	ahead.Store(int64(31 * time.Hour))
	b.get("/mail/") // who looks brings it back at once
	b.sees("1–2 sur 2")
	if first, _, _ := strings.Cut(b.body, "</li>"); !strings.Contains(b.body, "mail-row unread") {
		t.Fatalf("what comes back is not unread: %s", first)
	}
	b.get(boxPath("Snoozed"))
	b.sees("Ce dossier est vide.")

	// the worker does the same for somebody who has a session and does not look
	ahead.Store(0)
	b.get("/mail/")
	b.post("/mail/INBOX/snooze", url.Values{"m": b.keys(), "at": {at}, "back": {"/mail/"}})
	b.sees("2 messages mis en attente.")
	ahead.Store(int64(4 * time.Hour))
	if err := r.s.wakeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(r.dovecot.Messages("mdupont", "INBOX")); got != 2 {
		t.Fatalf("%d in the inbox", got)
	}
	var left int
	if err := r.s.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM mail_snooze").Scan(&left); err != nil || left != 0 {
		t.Fatalf("%d rows left, %v", left, err)
	}
}
