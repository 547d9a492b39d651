package demo

import (
	"bytes"
	"fmt"
	"io"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-message"
	"github.com/emersion/go-vcard"
)

// wholeAcademy is the six and enough others.
func wholeAcademy() []Account {
	people := []Account{
		{Login: "mdupont", Name: "Marie Dupont", Mail: "marie.dupont@academie.test", Lang: "fr"},
		{Login: "jmartin", Name: "Jacques Martin", Mail: "jacques.martin@academie.test", Lang: "fr", UAI: "0590002B", School: "Collège Jean-Zay"},
		{Login: "ssmith", Name: "Sarah Smith", Mail: "sarah.smith@academie.test", Lang: "en", UAI: "0590002B", School: "Collège Jean-Zay"},
		{Login: "plefebvre", Name: "Paul Lefebvre", Mail: "paul.lefebvre@academie.test", Lang: "fr", UAI: "0590002B", School: "Collège Jean-Zay"},
		{Login: "aadmin", Name: "Alice Admin", Mail: "alice.admin@academie.test", Lang: "fr"},
		{Login: "xpartenaire", Name: "Xavier Partenaire", Mail: "xavier@partenaire.test", Lang: "fr"},
	}
	for i := range 300 {
		login := fmt.Sprintf("agent%03d", i)
		people = append(people, Account{Login: login, Name: "Agent N° " + login, Mail: login + ".nom@academie.test", Lang: "fr", UAI: []string{"", "0590002B"}[i%2]})
	}
	return people
}

var (
	monday  = time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC)
	newYear = time.Date(2027, 1, 1, 0, 0, 1, 0, time.UTC)
)

func TestEveryMailboxIsFullOfReadableMailFromThePast(t *testing.T) {
	people := wholeAcademy()
	everyone := newDirectoryOfNames(people)
	for _, start := range []time.Time{monday, newYear} {
		for n, person := range people {
			if n > len(sampleLogins) && n%20 != 0 {
				continue // a few of the generated ones
			}
			inbox, subjects := 0, map[string]bool{}
			for _, f := range sampleMail(person, everyone, start) {
				for i, m := range f.messages {
					if m.received.After(start) {
						t.Errorf("%s/%s: mail from the future, %s", person.Login, f.name, m.received)
					}
					if i > 0 && m.received.Before(f.messages[i-1].received) {
						t.Errorf("%s/%s is not in order", person.Login, f.name)
					}
					entity, err := message.Read(bytes.NewReader(m.raw))
					if err != nil {
						t.Fatalf("%s/%s: %v\n%s", person.Login, f.name, err, m.raw[:300])
					}
					if !servable(m.raw) {
						t.Errorf("%s/%s: not servable", person.Login, f.name)
					}
					if bytes.Contains(bytes.ReplaceAll(m.raw, []byte("\r\n"), nil), []byte("\n")) {
						t.Errorf("%s/%s: a bare line end in %q", person.Login, f.name, entity.Header.Get("Subject"))
					}
					if err := readThrough(entity); err != nil {
						t.Errorf("%s/%s: %v", person.Login, f.name, err)
					}
					subject, _ := entity.Header.Text("Subject")
					if f.name == "INBOX" {
						inbox++
						subjects[subject] = true
					}
				}
			}
			if _, sample := roleOf(person.Login); sample && (inbox < 25 || inbox > 60) || !sample && (inbox < 3 || inbox > 6) {
				t.Errorf("%s has %d messages", person.Login, inbox)
			}
			if len(subjects) < inbox-1 {
				t.Errorf("%s: %d subjects for %d messages", person.Login, len(subjects), inbox)
			}
		}
	}
}

func roleOf(login string) (int, bool) {
	for i, one := range sampleLogins {
		if one == login {
			return i, true
		}
	}
	return 0, false
}

var unfilled = regexp.MustCompile(`\{[a-zA-Z~+.-]+\d*\}`)

func readThrough(entity *message.Entity) error {
	if parts := entity.MultipartReader(); parts != nil {
		for {
			part, err := parts.NextPart()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := readThrough(part); err != nil {
				return err
			}
		}
	}
	body, err := io.ReadAll(entity.Body)
	media, _, _ := entity.Header.ContentType()
	if err == nil && len(body) == 0 {
		err = fmt.Errorf("an empty %s", media)
	}
	// CSS holds braces, so only plain text is searched for forgotten blanks.
	if found := unfilled.Find(body); err == nil && media == "text/plain" && found != nil {
		err = fmt.Errorf("a blank left: %s", found)
	}
	return err
}

func TestTheOddMailIsThere(t *testing.T) {
	everyone := newDirectoryOfNames(wholeAcademy())
	var all strings.Builder
	longest, empty, undated := 0, 0, 0
	for _, f := range sampleMail(everyone.person("mdupont"), everyone, monday) {
		for _, m := range f.messages {
			all.Write(m.raw)
			entity, err := message.Read(bytes.NewReader(m.raw))
			if err != nil {
				t.Fatal(err)
			}
			subject, _ := entity.Header.Text("Subject")
			longest = max(longest, len([]rune(subject)))
			if subject == "" {
				empty++
			}
			if _, err := mail.ParseDate(entity.Header.Get("Date")); err != nil {
				undated++
			}
		}
	}
	if longest != 200 || empty < 2 || undated != 1 {
		t.Errorf("longest subject %d, without subject %d, without date %d", longest, empty, undated)
	}
	for _, want := range []string{"application/pdf", "image/png", "text/csv", docxMedia, "message/rfc822", "method=REQUEST", "charset=iso-8859-1", "cid:logo", "onerror", "<svg", "formaction", "=F0=9F=8E=84", "List-Unsubscribe", "multipart/related"} {
		if !strings.Contains(strings.ReplaceAll(all.String(), "=\r\n", ""), want) {
			t.Errorf("nothing holds %s", want)
		}
	}
}

func TestNothingInTheSamplesPointsOutsideReservedDomains(t *testing.T) {
	everyone := newDirectoryOfNames(wholeAcademy())
	host := regexp.MustCompile(`(?:@|https?://)([A-Za-z0-9.-]+)`)
	for _, login := range sampleLogins {
		person := everyone.person(login)
		var all []string
		for _, f := range sampleMail(person, everyone, monday) {
			for _, m := range f.messages {
				entity, err := message.Read(bytes.NewReader(m.raw))
				if err != nil {
					t.Fatal(err)
				}
				for fields := entity.Header.Fields(); fields.Next(); {
					if fields.Key() != "Content-Type" {
						all = append(all, fields.Value())
					}
				}
				if parts := entity.MultipartReader(); parts == nil {
					body, _ := io.ReadAll(entity.Body)
					all = append(all, string(body))
				}
			}
		}
		for _, c := range append(append(sampleAgenda(person, everyone, monday), sampleBooks(person, everyone, monday)...), schoolAgenda(person, everyone, monday)) {
			for _, o := range c.objects {
				all = append(all, strings.ReplaceAll(o.data, "\r\n ", ""))
			}
		}
		for _, text := range all {
			for _, found := range host.FindAllStringSubmatch(text, -1) {
				if name := strings.TrimSuffix(found[1], "."); !strings.HasSuffix(name, ".test") && name != "www.w3.org" && strings.Contains(name, ".") {
					t.Errorf("%s: %s", login, found[0])
				}
			}
		}
	}
}

func TestTheSameStartMakesTheSameContent(t *testing.T) {
	everyone := newDirectoryOfNames(wholeAcademy())
	for _, login := range []string{"mdupont", "ssmith", "agent007"} {
		person := everyone.person(login)
		make := func() string {
			return fmt.Sprint(sampleMail(person, everyone, monday), sampleAgenda(person, everyone, monday), sampleBooks(person, everyone, monday))
		}
		if first, second := make(), make(); first != second {
			t.Errorf("%s: twice is not the same", login)
		}
	}
}

func TestSampleEventsAndCardsAreSound(t *testing.T) {
	everyone := newDirectoryOfNames(wholeAcademy())
	for _, start := range []time.Time{monday, newYear} {
		week := timeRange{newICS(start).monday, newICS(start).monday.AddDate(0, 0, 5)}
		for _, login := range append(sampleLogins, "agent001") {
			person := everyone.person(login)
			shown, cards := 0, 0
			for _, c := range append(append(sampleAgenda(person, everyone, start), schoolAgenda(person, everyone, start)), sampleBooks(person, everyone, start)...) {
				uids := make(map[string]bool)
				for _, o := range c.objects {
					parsed, err := parseObject([]byte(o.data), c.isBook)
					if err != nil {
						t.Fatalf("%s %s: %v\n%s", login, o.name, err, o.data)
					}
					if uids[parsed.uid] {
						t.Errorf("%s: UID %s twice", login, parsed.uid)
					}
					uids[parsed.uid] = true
					for line := range strings.SplitSeq(o.data, "\r\n") {
						if len(line) > 75 || strings.Contains(line, "\n") {
							t.Errorf("%s: line %q", o.name, line)
						}
					}
					if c.isBook {
						cards++
						if _, err := vcard.NewDecoder(strings.NewReader(o.data)).Decode(); err != nil {
							t.Errorf("%s: %v", o.name, err)
						}
						continue
					}
					calendar, err := ical.NewDecoder(strings.NewReader(o.data)).Decode()
					if err != nil {
						t.Fatalf("%s: %v", o.name, err)
					}
					for _, event := range calendar.Events() {
						if _, err := event.RecurrenceSet(parisZone()); err != nil {
							t.Errorf("%s: %v", o.name, err)
						}
					}
					if meets, err := matchAnyKid(caldav("comp-filter", caldav("time-range").with("start", week.start.UTC().Format("20060102T150405Z")).with("end", week.end.UTC().Format("20060102T150405Z"))).with("name", "VEVENT"), parsed.root, parisZone()); err != nil {
						t.Error(err)
					} else if meets {
						shown++
					}
				}
			}
			if _, sample := roleOf(login); sample && (shown < 18 || cards < 28) || !sample && (shown < 5 || cards < 10) {
				t.Errorf("%s: %d events this week, %d cards", login, shown, cards)
			}
		}
	}
}

func TestServersStartAtOnceAndFillAMailboxFast(t *testing.T) {
	p := startProvider(t)
	began := time.Now()
	s, err := StartMail(MailConfig{IMAPAddr: "127.0.0.1:0", SubmissionAddr: "127.0.0.1:0", Introspect: p.introspect, People: wholeAcademy()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	d, err := StartDAV(DAVConfig{Addr: "127.0.0.1:0", Introspect: p.introspect, People: wholeAcademy()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close(t.Context()) }()
	started := time.Since(began)
	began = time.Now()
	s.post.of("mdupont").open()
	d.store.home("mdupont")
	filled := time.Since(began)
	t.Logf("started in %s, filled one home in %s", started, filled)
	if started > 200*time.Millisecond || filled > time.Second {
		t.Errorf("started in %s, filled one home in %s", started, filled)
	}
}

func TestMailToAServiceReachesItsReader(t *testing.T) {
	s, _ := startMail(t)
	send(t, s, "jmartin", "jmartin@academie.test", []string{"assistance@academie.test"}, report)
	if got, _ := newest(t, s, "mdupont", "INBOX"); !strings.HasSuffix(got, report) {
		t.Error("nothing came")
	}
}
