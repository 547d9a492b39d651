package webmail

import (
	"net/url"
	"strings"
	"testing"
)

func TestLabelsAreNamedPutFoundAndRemoved(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", simple)
	r.dovecot.Deliver("mdupont", strings.Replace(simple, "reunion@", "autre@", 1))
	b := r.browser("mdupont")
	b.get("/mail/labels")
	b.status(200)
	b.sees("Important", "Travail", "À faire", "Plus tard")
	b.post("/mail/labels", url.Values{"do": {"add"}, "name": {"  Élèves de 3e "}, "colour": {"teal"}})
	b.status(200)
	b.sees("Élèves de 3e", `value="eleves_de_3e"`)
	for _, bad := range []url.Values{
		{"do": {"add"}, "name": {"elèves DE 3e"}, "colour": {"red"}},
		{"do": {"add"}, "name": {""}, "colour": {"red"}},
		{"do": {"add"}, "name": {strings.Repeat("long", 20)}, "colour": {"red"}},
		{"do": {"change"}, "keyword": {"$label1"}, "name": {"Travail"}, "colour": {"red"}},
	} {
		b.post("/mail/labels", bad)
		b.status(422)
		b.sees(`role="alert"`)
	}
	b.post("/mail/labels", url.Values{"do": {"add"}, "name": {"x"}, "colour": {"url(//evil)"}})
	b.status(400)

	b.get("/mail/")
	key := b.keys()[0]
	b.post("/mail/INBOX/do", url.Values{"do": {"label/eleves_de_3e"}, "m": {key}, "back": {"/mail/INBOX/" + key}})
	b.status(200)
	b.sees(`mail-label label-teal`, "unlabel/eleves_de_3e")
	b.post("/mail/INBOX/do", url.Values{"do": {"label"}, "label": {"label/$label1"}, "m": b.keys(), "back": {"/mail/"}})
	if got := strings.Count(b.body, `mail-label label-red`); got != 2 {
		t.Fatalf("%d rows are important, want 2", got)
	}
	b.get("/mail/search?q=" + url.QueryEscape(`étiquette:"élèves de 3e"`))
	b.sees("Réunion pédagogique", "1 message", "label-teal")
	b.get("/mail/search?q=" + url.QueryEscape(`label:"important"`))
	b.sees("2 messages")
	b.get("/mail/search?q=" + url.QueryEscape(`label:"n’existe pas"`))
	b.status(422)

	// another name is no other keyword: what was labelled stays so
	b.post("/mail/labels", url.Values{"do": {"change"}, "keyword": {"eleves_de_3e"}, "name": {"Troisièmes"}, "colour": {"pink"}})
	b.get("/mail/INBOX/" + key)
	b.sees("Troisièmes", "label-pink")
	b.post("/mail/INBOX/do", url.Values{"do": {"unlabel/eleves_de_3e"}, "m": {key}, "back": {"/mail/"}})
	if strings.Contains(b.body, "mail-label label-pink") {
		t.Fatal("the label is still there")
	}
	b.post("/mail/INBOX/do", url.Values{"do": {"label/inconnue"}, "m": {key}})
	b.status(400)
	b.post("/mail/INBOX/do", url.Values{"do": {`label/\Deleted`}, "m": {key}})
	b.status(400)
	b.post("/mail/labels", url.Values{"do": {"remove"}, "keyword": {"$label1"}})
	b.get("/mail/")
	if strings.Contains(b.body, "label-red") {
		t.Fatal("a label that was removed is shown")
	}
	b.get("/mail/labels")
	b.sees("Remettre les étiquettes")
	b.post("/mail/labels", url.Values{"do": {"restore"}})
	if b.sees("Important", "Troisièmes"); strings.Contains(b.body, "Remettre") {
		t.Fatal("the labels are not all back")
	}
	b.post("/mail/labels", url.Values{"do": {"remove"}, "keyword": {"nulle"}})
	b.status(404)
	other := r.browser("jmartin")
	other.get("/mail/labels")
	other.sees("Important")
	if strings.Contains(other.body, "Troisièmes") {
		t.Fatal("labels of another person are shown")
	}
}

func TestWordsOfOtherProgramsAreLabelsToo(t *testing.T) {
	got := labelsOn([]label{{"$label1", labelValue{Name: "Important", Colour: "red"}}}, toFlags("\\Seen", "$Label1", "projet", "NonJunk", "$MDNSent", "projet", "a b"))
	if len(got) != 2 || got[0].Name != "Important" || got[1].Name != "projet" || got[1].Colour != "grey" {
		t.Fatalf("%v", got)
	}
	for name, want := range map[string]string{"Élèves de 3e": "eleves_de_3e", "Junk": "label_junk", "日本": "label_", `\Seen"`: "label_seen", "$label1": "label1"} {
		if got := keywordFor(name, nil); got != want || !validKeyword(got) {
			t.Errorf("keyword of %q: %q, want %q", name, got, want)
		}
	}
	if got := keywordFor("Projet", []label{{keyword: "PROJET"}}); got != "projet_2" {
		t.Errorf("a keyword twice: %q", got)
	}
}

func TestHowFullTheMailboxIs(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", simple)
	b := r.browser("mdupont")
	b.get("/mail/quota")
	b.status(200)
	b.sees("mail-quota", "1,1 Go")
}
