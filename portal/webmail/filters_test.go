package webmail

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/portal/webmail/sieve"
)

// sieveAs opens the filters of a login as another program would.
func (r *rig) sieveAs(login string) *sieve.Conn {
	r.t.Helper()
	c, err := sieve.Dial(r.t.Context(), sieve.Options{Address: r.dovecot.Sieve, Mode: "starttls", TLS: r.s.sieve.tlsConfig(), SASL: r.s.sieve.auth.client(r.dovecot.Sieve, login, r.tokens.give(login))})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// pageForm is what the hidden fields of a page say.
func (b *browser) pageForm(more url.Values) url.Values {
	f := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(b.body, -1) {
		if f.Get(m[1]) == "" {
			f.Set(m[1], htmlText(m[2]))
		}
	}
	for k, v := range more {
		f[k] = v
	}
	return f
}

func TestFiltersWorkOnTheServer(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	b.get("/mail/settings")
	b.sees("Absence", "Filtres", "Étiquettes")
	b.get("/mail/filters")
	b.status(200)
	b.sees("Aucun filtre.")
	b.get("/mail/filters/edit?from=hpetit%40academie.test")
	b.status(200)
	b.sees(`value="hpetit@academie.test"`)
	f := b.pageForm(url.Values{"field": {"from", "subject"}, "not": {"", ""}, "value": {"hpetit@academie.test", "réunion"}, "folder": {"Archive"}, "label": {"$label2"}, "read": {"1"}, "do": {"more"}})
	b.post("/mail/filters/edit", f)
	b.status(200)
	if got := strings.Count(b.body, `class="mail-test"`); got != 3 {
		t.Fatalf("%d conditions are shown, want 3", got)
	}
	f.Set("do", "save")
	b.post("/mail/filters/edit", f)
	b.status(200)
	b.sees("Filtre enregistré.", "hpetit@academie.test", "Archives", "Travail", "marquer lu")

	r.dovecot.Deliver("mdupont", simple)
	r.dovecot.Deliver("mdupont", strings.Replace(simple, "hpetit@", "autre@", 1))
	b.get(boxPath("Archive"))
	b.sees("Réunion pédagogique", "label-orange")
	if strings.Contains(b.body, "mail-row unread") {
		t.Fatal("the filter did not mark it read")
	}
	b.get("/mail/")
	if got := len(b.rows()); got != 1 {
		t.Fatalf("%d messages stay in the inbox, want 1", got)
	}

	// mistakes are told, and what was typed stays
	b.get("/mail/filters/edit")
	fresh := b.pageForm(url.Values{"field": {"from"}, "not": {""}, "do": {"save"}})
	for _, bad := range []struct {
		with  url.Values
		words string
	}{
		{url.Values{"value": {""}, "read": {"1"}}, "au moins une condition"},
		{url.Values{"value": {"moi"}}, "ce qu’il faut faire"},
		{url.Values{"value": {"moi"}, "redirect": {"pas une adresse"}}, "pas une adresse"},
		{url.Values{"value": {"moi"}, "redirect": {"ami@dehors.test"}}, "academie.test"},
		{url.Values{"field": {"size"}, "value": {"beaucoup"}, "read": {"1"}}, "nombre entier"},
	} {
		form := url.Values{}
		for _, from := range []url.Values{fresh, bad.with} {
			for k, v := range from {
				form[k] = v
			}
		}
		b.post("/mail/filters/edit", form)
		b.status(422)
		b.sees(bad.words)
	}

	// a second tab with an old page changes nothing, and says so
	f.Set("name", "vieux")
	b.post("/mail/filters/edit", f)
	b.status(409)
	b.sees("entre-temps", `value="vieux"`)

	b.get("/mail/filters")
	b.post("/mail/filters", b.pageForm(url.Values{"do": {"off"}}))
	b.sees("Suspendu")
	r.dovecot.Deliver("mdupont", strings.Replace(simple, "reunion@", "autre2@", 1))
	b.get("/mail/")
	if got := len(b.rows()); got != 2 {
		t.Fatalf("%d messages in the inbox, want 2: the filter is paused", got)
	}
	b.get("/mail/filters")
	b.post("/mail/filters", b.pageForm(url.Values{"do": {"remove"}}))
	b.sees("Aucun filtre.")
	b.get(b.rowAt("/mail/", 0))
	b.sees("/mail/filters/edit?from=")
}

// rowAt is the address of a message of a list.
func (b *browser) rowAt(list string, at int) string {
	b.r.t.Helper()
	b.get(list)
	rows := b.rows()
	if at >= len(rows) {
		b.r.t.Fatalf("%s has %d messages", list, len(rows))
	}
	return rows[at]
}

func TestFiltersOfOtherProgramsGoOn(t *testing.T) {
	r := newRig(t)
	c := r.sieveAs("mdupont")
	const theirs = "require [\"imap4flags\"];\r\naddflag \"$label1\";\r\n"
	if err := c.Put("sogo", theirs); err != nil {
		t.Fatal(err)
	}
	if err := c.Activate("sogo"); err != nil {
		t.Fatal(err)
	}
	b := r.browser("mdupont")
	b.get("/mail/filters")
	b.sees("sogo", "autre logiciel")
	b.get("/mail/filters/edit")
	b.post("/mail/filters/edit", b.pageForm(url.Values{"field": {"subject"}, "not": {""}, "value": {"réunion"}, "flag": {"1"}, "go": {"1"}, "do": {"save"}}))
	b.status(200)
	b.sees("Ensuite s’appliquent", "sogo")
	r.dovecot.Deliver("mdupont", simple)
	b.get("/mail/")
	b.sees("label-red", `value="unflag:`) // theirs and ours

	// another program edits our script: its text is kept when ours is written again
	text, err := c.Get(sieve.Name)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(text, "addflag", "# by hand\r\n  addflag", 1)
	if err := c.Put(sieve.Name, edited); err != nil {
		t.Fatal(err)
	}
	b.get("/mail/filters")
	b.sees("gardé en copie")
	b.post("/mail/filters", b.pageForm(url.Values{"do": {"off"}}))
	b.status(200)
	scripts, err := c.List()
	if err != nil {
		t.Fatal(err)
	}
	kept := ""
	for _, one := range scripts {
		if regexp.MustCompile(`^beffroi-\d{4}-`).MatchString(one.Name) {
			kept = one.Name
		}
		if one.Active != (one.Name == sieve.Name) {
			t.Errorf("%s active: %v", one.Name, one.Active)
		}
	}
	if got, err := c.Get(kept); err != nil || got != edited {
		t.Fatalf("the copy of what was edited: %v\n%s", err, got)
	}
	if got, err := c.Get("sogo"); err != nil || got != theirs {
		t.Fatalf("their script is now %q, %v", got, err)
	}
}

func TestAnAbsenceAnswers(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	b.get("/mail/absence")
	b.status(200)
	b.sees("Aucune réponse automatique")
	today := time.Now().In(r.s.location)
	f := b.pageForm(url.Values{"on": {"1"}, "from": {today.Format(time.DateOnly)}, "until": {today.AddDate(0, 0, 7).Format(time.DateOnly)}, "subject": {"Absente"}, "text": {""}})
	b.post("/mail/absence", f)
	b.status(422)
	b.sees("Écrivez la réponse", `value="Absente"`)
	f.Set("text", "Bonjour,\r\nje reviens \"lundi\".\r\n.\r\nMarie")
	f.Set("until", today.AddDate(0, 0, -1).Format(time.DateOnly))
	b.post("/mail/absence", f)
	b.status(422)
	b.sees("avant le premier")
	f.Set("until", today.AddDate(0, 0, 7).Format(time.DateOnly))
	b.post("/mail/absence", f)
	b.status(200)
	b.sees("Absence enregistrée.", "en ce moment", "je reviens &#34;lundi&#34;.")

	r.dovecot.DeliverFrom("jmartin@academie.test", "mdupont", strings.NewReplacer("hpetit@", "jmartin@").Replace(simple))
	answers := r.waitFor("jmartin", 1)
	if !strings.Contains(answers[0], "Subject: Absente") || !strings.Contains(answers[0], "Auto-Submitted: auto-replied") || !strings.Contains(answers[0], "lundi") {
		t.Fatalf("the answer:\n%s", answers[0])
	}
	b.get("/mail/absence")
	later := b.pageForm(url.Values{"on": {"1"}, "from": {today.AddDate(0, 0, 3).Format(time.DateOnly)}, "text": {"Plus tard"}})
	b.post("/mail/absence", later)
	b.sees("à partir du premier jour")
	r.dovecot.DeliverFrom("ssmith@academie.test", "mdupont", strings.NewReplacer("hpetit@", "ssmith@").Replace(simple))
	time.Sleep(500 * time.Millisecond)
	if got := r.dovecot.Messages("ssmith", "INBOX"); len(got) != 0 {
		t.Fatalf("an absence that has not begun answers: %s", got)
	}
}

// waitFor waits until an inbox holds n messages.
func (r *rig) waitFor(login string, n int) []string {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := r.dovecot.Messages(login, "INBOX")
		if len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s has %d messages, not %d", login, len(got), n)
		}
	}
}

func TestASieveServerThatIsAwayIsSaid(t *testing.T) {
	r := newRig(t)
	r.s.sieve.address = "127.0.0.1:1"
	b := r.browser("mdupont")
	b.get("/mail/absence")
	b.status(502)
	b.sees("serveur")
	b.get("/mail/")
	b.status(200)
}
