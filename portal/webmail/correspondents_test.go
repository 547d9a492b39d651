package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"beffroi/portal"
)

func (b *browser) completes(q string) (mails []string) {
	b.r.t.Helper()
	b.get("/mail/recipients?q=" + q)
	b.status(200)
	var list []recipient
	if err := json.Unmarshal([]byte(b.body), &list); err != nil {
		b.r.t.Fatal(err)
	}
	for _, one := range list {
		mails = append(mails, one.Mail)
	}
	return mails
}

func TestThoseWrittenToCompleteWhatIsTyped(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	send := func(to string) {
		t.Helper()
		f := b.write(to, "x", "y")
		f.Set("action", "send")
		b.upload(f, nil)
		b.sees("Message envoyé.")
	}
	if got := b.completes("smi"); len(got) != 1 || got[0] != "ssmith@academie.test" {
		t.Fatalf("%v", got)
	}
	send("Smithson <contact@mairie.test>")
	send("Smithson <contact@mairie.test>, ssmith@academie.test")
	send("jmartin@academie.test")
	got := b.completes("smi") // the one written to twice, then the colleague, once
	if len(got) != 2 || got[0] != "contact@mairie.test" || got[1] != "ssmith@academie.test" {
		t.Fatalf("%v", got)
	}
	if got := b.completes("mairie"); len(got) != 1 {
		t.Fatalf("%v", got)
	}
	if got := b.completes("panne"); len(got) != 0 { // the directory is away
		t.Fatalf("%v", got)
	}
	if got := r.browser("jmartin").completes("mairie"); len(got) != 0 {
		t.Fatalf("somebody else's: %v", got)
	}
	list, err := r.s.correspondents(t.Context(), "sub-mdupont")
	if err != nil || len(list) != 3 || list[0].Sent != 2 {
		t.Fatalf("%v %v", list, err)
	}
}

func TestOwnContactsAndGroupsComplete(t *testing.T) {
	r := newRig(t)
	r.s.contacts = func(_ context.Context, text string, _ int) ([]portal.Contact, error) {
		if text == "panne" {
			return nil, errors.New("away")
		}
		return []portal.Contact{{Name: "Zoé", About: "Mairie", Mails: []portal.Mailbox{{Name: "Zoé, L.", Mail: "zoe@ville.test"}}}, {Name: "Chorale", Group: true, Mails: []portal.Mailbox{{Name: "A", Mail: "a@ville.test"}, {Mail: "b@ville.test"}, {Mail: "pas une adresse"}}},
			{Name: "Sarah S", Mails: []portal.Mailbox{{Name: "Sarah S", Mail: "ssmith@academie.test"}}}}, nil
	}
	b := r.browser("mdupont")
	b.get("/mail/recipients?q=sarah")
	b.sees(`"Zoé"`, `"value":"\"Zoé, L.\" \u003czoe@ville.test\u003e"`, `"name":"Chorale","mail":"","about":"2 personnes","value":"A \u003ca@ville.test\u003e, b@ville.test"`, "Sarah Martin")
	if strings.Count(b.body, "ssmith@academie.test") != 2 { // once as mail, once in value
		t.Fatal(b.body)
	}
	b.get("/mail/recipients?q=panne")
	b.status(200)
}
