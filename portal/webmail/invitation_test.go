package webmail

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testpeer"
	"beffroi/portal/dav"
)

const invitationMail = `From: Chef <chef@academie.test>
To: mdupont@academie.test
Subject: Invitation
Date: Fri, 27 Nov 2026 08:00:00 +0100
Message-ID: <invite-1@academie.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8

Conseil de classe
--c
Content-Type: text/calendar; charset=utf-8; method=@method

BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Autre//FR
METHOD:@method
BEGIN:VEVENT
UID:conseil-1@academie.test
SEQUENCE:@seq
DTSTAMP:20261127T070000Z
DTSTART;TZID=Europe/Paris:20261201T140000
DTEND;TZID=Europe/Paris:20261201T@end
SUMMARY:Conseil de classe\, 3e B
LOCATION:Salle 12
ORGANIZER;CN=Le Chef:mailto:chef@academie.test
ATTENDEE;CN=Marie;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:mdupont@academie.test
ATTENDEE;CN=Jean;PARTSTAT=ACCEPTED:mailto:jmartin@academie.test
END:VEVENT
END:VCALENDAR
--c--

--b--
`

func invite(method, sequence, end string) string {
	return strings.NewReplacer("@method", method, "@seq", sequence, "@end", end).Replace(invitationMail)
}

func TestAnInvitationIsAnsweredAndKept(t *testing.T) {
	r := newRig(t)
	radicale := testpeer.Radicale(t)
	server, err := dav.NewServer(radicale.URL, dav.Options{Auth: dav.TrustedHeader{Name: radicale.Header, Login: func(context.Context) string { return "mdupont" }}})
	if err != nil {
		t.Fatal(err)
	}
	r.portal.dav = server
	client := server.For("mdupont")
	events := func() (all []dav.Occurrence) {
		t.Helper()
		list, err := client.Collections(t.Context(), dav.Calendars)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			found, err := client.Between(t.Context(), one.Href, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range found {
				c, err := dav.ParseCalendar(o.Data, time.UTC)
				if err != nil {
					t.Fatal(err)
				}
				occurrences, err := c.Expand(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(o.Data, "METHOD") {
					t.Fatal("stored with METHOD:\n" + o.Data)
				}
				all = append(all, occurrences...)
			}
		}
		return all
	}
	b := r.browser("mdupont")
	r.dovecot.Deliver("mdupont", invite("REQUEST", "0", "160000"))
	path := b.rowAt("/mail/", 0)
	b.get(path)
	b.sees("Conseil de classe, 3e B", "Salle 12", "mardi 1er décembre 2026, 14:00", "16:00", "Le Chef", "Accepter", "2 personnes")
	b.post(path+"/invitation", url.Values{"do": {"peut-être"}})
	b.status(400)
	b.post(path+"/invitation", url.Values{"do": {"ACCEPTED"}})
	b.status(200)
	b.sees("Votre réponse part", "Vous avez accepté", "Décliner")
	answer := r.waitFor("chef", 1)[0]
	for _, want := range []string{"method=REPLY", "METHOD:REPLY", "UID:conseil-1@academie.test", "PARTSTAT=3DACCEPTED", "mailto:mdupont@academie.test"} {
		if !strings.Contains(strings.ReplaceAll(answer, "=\n", ""), want) && !strings.Contains(strings.ReplaceAll(answer, "=\r\n", ""), want) {
			t.Errorf("the answer lacks %q:\n%s", want, answer)
		}
	}
	if got := events(); len(got) != 1 || got[0].Summary != "Conseil de classe, 3e B" || !got[0].End.Equal(time.Date(2026, 12, 1, 15, 0, 0, 0, time.UTC)) {
		t.Fatalf("%+v", got)
	}
	// moved: the same event is changed
	r.dovecot.Deliver("mdupont", invite("REQUEST", "1", "170000"))
	path = b.rowAt("/mail/", 0)
	b.post(path+"/invitation", url.Values{"do": {"TENTATIVE"}})
	b.sees("Vous avez répondu peut-être")
	if got := events(); len(got) != 1 || !got[0].End.Equal(time.Date(2026, 12, 1, 16, 0, 0, 0, time.UTC)) {
		t.Fatalf("%+v", got)
	}
	// somebody else, and an older message, change nothing
	for _, other := range []string{strings.ReplaceAll(invite("CANCEL", "9", "170000"), "chef@academie.test", "pirate@dehors.test"), strings.ReplaceAll(invite("REQUEST", "9", "233000"), "chef@academie.test", "pirate@dehors.test"), invite("REQUEST", "0", "233000")} {
		r.dovecot.Deliver("mdupont", other)
		path = b.rowAt("/mail/", 0)
		do := "ACCEPTED"
		if strings.Contains(other, "METHOD:CANCEL") {
			do = "remove"
		}
		b.post(path+"/invitation", url.Values{"do": {do}})
		b.sees("n’a pas pu être mis à jour")
		if got := events(); len(got) != 1 || !got[0].End.Equal(time.Date(2026, 12, 1, 16, 0, 0, 0, time.UTC)) {
			t.Fatalf("%+v", got)
		}
	}
	// called off
	r.dovecot.Deliver("mdupont", invite("CANCEL", "2", "170000"))
	path = b.rowAt("/mail/", 0)
	b.get(path)
	b.sees("Événement annulé", "Retirer de mon agenda")
	b.post(path+"/invitation", url.Values{"do": {"ACCEPTED"}})
	b.status(409)
	b.post(path+"/invitation", url.Values{"do": {"remove"}})
	b.sees("n’est plus dans votre agenda")
	if got := events(); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	// a calendar server that is away: the answer leaves all the same
	radicale.Kill()
	r.dovecot.Deliver("mdupont", invite("REQUEST", "3", "160000"))
	path = b.rowAt("/mail/", 0)
	b.post(path+"/invitation", url.Values{"do": {"DECLINED"}})
	b.status(200)
	b.sees("Vous avez décliné", "n’a pas pu être mis à jour")
	if got := r.waitFor("chef", 4); len(got) != 4 {
		t.Fatal(len(got))
	}
	if got := r.dovecot.Messages("mdupont", "Sent"); len(got) != 0 {
		t.Fatal("answers lie among what was sent")
	}
}

func TestAnInvitationThatIsNoneIsAnAttachment(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	for _, text := range []string{"BEGIN:VCALENDAR\nEND:VEVENT\n", "rien", "BEGIN:VCALENDAR\nBEGIN:VTODO\nEND:VTODO\nEND:VCALENDAR\n", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:pas une date\nEND:VEVENT\nEND:VCALENDAR\n"} {
		r.dovecot.Deliver("mdupont", "From: a@dehors.test\nSubject: x\nContent-Type: text/calendar; method=REQUEST\n\n"+text)
		path := b.rowAt("/mail/", 0)
		b.get(path)
		b.status(200)
		if strings.Contains(b.body, "mail-invite") {
			t.Fatalf("shown as an invitation: %q", text)
		}
		b.post(path+"/invitation", url.Values{"do": {"ACCEPTED"}})
		b.status(404)
	}
}
