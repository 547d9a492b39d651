package webmail

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"beffroi/internal/i18n"
)

func TestALineOfWordsIsReadAsASearch(t *testing.T) {
	day := func(text string) time.Time { d, _ := time.Parse(time.DateOnly, text); return d }
	for line, want := range map[string]query{
		"":                                     {},
		"sortie musée":                         {text: []string{"sortie", "musée"}},
		`"sortie  au musée" -annulée`:          {text: []string{"sortie au musée"}, not: []string{"annulée"}},
		`« sortie au musée »`:                  {text: []string{"sortie au musée"}},
		`from:martin de:"Jean Martin"`:         {from: []string{"martin", "Jean Martin"}},
		`à:ann TO:bob objet:sortie`:            {to: []string{"ann", "bob"}, subject: []string{"sortie"}},
		"avec:pièce est:nonlu":                 {file: true, unread: true},
		"has:attachment is:flagged is:répondu": {file: true, flagged: true, answered: true},
		"depuis:01/09/2026 avant:2026-10-1x":   {},
		"after:2026-09-01 before:5/10/2026":    {since: day("2026-09-01"), before: day("2026-10-05")},
		`in:"Élèves 2026" https://x.test:8080`: {in: "Élèves 2026", text: []string{"https://x.test:8080"}},
		`"jamais fermé`:                        {text: []string{"jamais fermé"}},
		`a - b --c`:                            {text: []string{"a", "-", "b"}, not: []string{"-c"}},
		"a\r\nb\x00c\x7f":                      {text: []string{"a", "b", "c"}},
	} {
		got, err := parseQuery(line, time.UTC)
		if line == "depuis:01/09/2026 avant:2026-10-1x" {
			if err == nil {
				t.Errorf("%q is understood", line)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for line, key := range map[string]string{
		"avec:tout": "webmail.search.has", "est:beau": "webmail.search.is", "avant:hier": "webmail.search.date", "avant:2026-13-01": "webmail.search.date", "from:": "webmail.search.novalue", `objet:""`: "webmail.search.novalue",
		"-from:ann": "webmail.search.not", "after:2026-10-01 before:2026-10-01": "webmail.search.order", strings.Repeat("a ", 30): "webmail.search.many", "avant:31/02/2026": "webmail.search.date", "depuis:0001-01-01": "webmail.search.date",
	} {
		_, err := parseQuery(line, time.UTC)
		if bad, ok := err.(*queryError); !ok || bad.key != key {
			t.Errorf("%q: %v, want %s", line, err, key)
		}
	}
}

// FuzzQuery: no line of words hurts, and nothing but printable words comes out of it.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{`de:"Jean Martin" -x avec:pj`, `"`, "a:b:c", "is:unread\r\nA1 LOGOUT", "depuis:1/1/2026 avant:2/1/2026", "«»“”", "\xff\xfe:", "-- -\"", "in:\"\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		q, err := parseQuery(line, time.UTC)
		if err != nil {
			if _, ok := err.(*queryError); !ok {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		for _, list := range [][]string{q.text, q.not, q.from, q.to, q.subject, {q.in}} {
			for _, w := range list {
				if !utf8.ValidString(w) || strings.ContainsAny(w, "\r\n\x00\"") || len(w) > 3*mostQuery {
					t.Fatalf("%q gives %q", line, w)
				}
			}
		}
		if q.criteria(false) == nil || q.criteria(true) == nil {
			t.Fatal("no criteria")
		}
	})
}

func TestMessagesAreFoundInEveryMailbox(t *testing.T) {
	r := newRig(t)
	put := func(box, from, subject, text, date string, attached bool) ref {
		kind := "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text + "\r\n"
		if attached {
			kind = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text + "\r\n--b\r\nContent-Type: application/pdf; name=x.pdf\r\n\r\nx\r\n--b--\r\n"
		}
		received, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", date)
		if err != nil {
			t.Fatal(err)
		}
		r.s.now = func() time.Time { return received }
		defer func() { r.s.now = time.Now }()
		return r.putIn("mdupont", box, []byte("From: "+from+"\r\nTo: mdupont@academie.test\r\nCc: Zoe <zoe@perso.example>\r\nSubject: "+subject+"\r\nDate: "+date+"\r\n"+kind))
	}
	put("INBOX", "Ann <ann@perso.example>", "Sortie", "Nous irons au musée de Lens.", "Mon, 7 Sep 2026 10:00:00 +0200", false)
	put("Archive", "Bob <bob@perso.example>", "Compte rendu", "Le musée de Lens a plu aux élèves.", "Tue, 8 Sep 2026 10:00:00 +0200", true)
	put("Sent", "Marie Dupont <mdupont@academie.test>", "Re: Sortie", "Entendu pour Lens.", "Wed, 9 Sep 2026 10:00:00 +0200", false)
	put("Trash", "Eve <eve@perso.example>", "Musée", "Jeté : musée de Lens.", "Thu, 10 Sep 2026 10:00:00 +0200", false)
	r.putIn("jmartin", "INBOX", letter("Ann <ann@perso.example>", "musée", "m@x"))
	b := r.browser("mdupont")
	subjects := func(line string) string {
		t.Helper()
		b.get("/mail/search?q=" + url.QueryEscape(line))
		var all []string
		for _, m := range turnLine.FindAllString(b.body, -1) {
			_, rest, _ := strings.Cut(m, "<strong>")
			subject, _, _ := strings.Cut(rest, "</strong>")
			all = append(all, subject)
		}
		return strings.Join(all, " | ")
	}
	for line, want := range map[string]string{
		"musée":               "Compte rendu | Sortie",
		"Lens":                "Re: Sortie | Compte rendu | Sortie",
		"lens musée":          "Compte rendu | Sortie",
		`"musée de lens"`:     "Compte rendu | Sortie",
		"lens -musée":         "Re: Sortie",
		"de:bob":              "Compte rendu",
		"objet:sortie":        "Re: Sortie | Sortie",
		"à:zoe de:ann":        "Sortie",
		"avec:pièce":          "Compte rendu",
		"dans:corbeille":      "",
		"dans:corbeille lens": "Musée",
		"dans:Sent lens":      "Re: Sortie",
		"xyzzy":               "",
		`")) OR ALL (("`:      "",
	} {
		if got := subjects(line); got != want {
			t.Errorf("%q finds %q, want %q", line, got, want)
		}
	}
	b.get("/mail/search")
	b.sees("Des mots du message")
	b.get("/mail/search?q=xyzzy")
	b.status(200)
	b.sees("Aucun message ne correspond")
	b.get("/mail/search?q=est:beau")
	b.status(422)
	b.sees("« est:beau » n’est pas compris")
	b.get("/mail/search?q=dans:nulle-part+x")
	b.status(422)
	b.sees("Aucun dossier ne s’appelle « nulle-part »")
	// The long form becomes a line that can be kept.
	b.get("/mail/search?q=lens&from=bob+martin&after=2026-09-01&file=1")
	if got := b.last.Request.URL.Query().Get("q"); got != `lens from:"bob martin" after:2026-09-01 has:attachment` {
		t.Errorf("%q", got)
	}
	// A server too slow to search texts is asked for names and subjects, and the page says so.
	r.s.searchFor.text = time.Nanosecond
	if got := subjects("sortie"); got != "Re: Sortie | Sortie" {
		t.Errorf("%q", got)
	}
	b.sees("seuls les noms et les objets ont été regardés")
	r.s.searchFor.headers = time.Nanosecond
	if got := subjects("sortie"); got != "" {
		t.Errorf("%q", got)
	}
	b.sees("Sans réponse de ces dossiers")
}

func TestASearchIsPaged(t *testing.T) {
	r := newRig(t)
	r.dovecot.Fill("mdupont", 130)
	b := r.browser("mdupont")
	seen := map[string]bool{}
	for page := range 3 {
		b.get(fmt.Sprintf("/mail/search?q=message&page=%d", page+1))
		b.status(200)
		b.sees("130 messages trouvés")
		for _, m := range turnLine.FindAllString(b.body, -1) {
			seen[m] = true
		}
	}
	if len(seen) != 130 || strings.Contains(b.body, `rel="next"`) {
		t.Errorf("%d messages on three pages", len(seen))
	}
}

func TestAllThatWasExchangedWithOnePerson(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", simple)
	r.dovecot.Deliver("mdupont", "From: a@academie.test\nTo: hpetit@academie.test\nSubject: copie\n\nx\n")
	r.dovecot.Deliver("mdupont", "From: a@academie.test\nTo: b@academie.test\nSubject: autre\n\nhpetit@academie.test\n")
	b := r.browser("mdupont")
	path := b.rowAt("/mail/", 2)
	b.get(path)
	b.sees("Tous nos échanges", "/mail/search?q=person%3Ahpetit%40academie.test")
	b.get("/mail/search?q=person%3Ahpetit%40academie.test")
	b.sees("2 messages", "Réunion pédagogique", "copie")
	b.get("/mail/search?q=" + url.QueryEscape("personne:"))
	b.status(422)
}

func TestASearchIsKept(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", simple)
	b := r.browser("mdupont")
	b.get("/mail/search?q=" + url.QueryEscape("objet:réunion"))
	b.sees("Réunion pédagogique", "Garder cette recherche")
	for range 2 {
		b.post("/mail/searches", url.Values{"do": {"keep"}, "q": {"objet:réunion"}})
		b.status(200)
	}
	b.get("/mail/search")
	if got := strings.Count(b.body, "objet:réunion</a>"); got != 1 {
		t.Fatalf("it is there %d times", got)
	}
	if other := r.browser("jmartin"); strings.Contains(other.get("/mail/search"), "réunion") {
		t.Fatal("a search of another person is shown")
	}
	b.get("/mail/search?q=" + url.QueryEscape("objet:réunion"))
	b.post("/mail/searches", b.pageForm(url.Values{"do": {"remove"}}))
	b.sees("Garder cette recherche")
	b.post("/mail/searches", url.Values{"do": {"keep"}, "q": {" "}})
	b.status(400)
}

func TestConditionsAreChips(t *testing.T) {
	on, offered := chips(i18n.French, `sortie de:martin avec:pièce -bus objet:"au musée"`, time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC))
	var labels []string
	for _, c := range on {
		labels = append(labels, c.Label)
	}
	if got := strings.Join(labels, " | "); got != "De\u00a0: martin | Avec une pièce jointe | Objet\u00a0: au musée" {
		t.Fatal(got)
	}
	if len(on) != 3 || on[0].Href != "/mail/search?q="+url.QueryEscape(`sortie has:pièce -bus subject:"au musée"`) {
		t.Fatalf("%+v", on)
	}
	for _, c := range offered {
		u, _ := url.Parse(c.Href)
		if _, err := parseQuery(u.Query().Get("q"), time.UTC); err != nil {
			t.Errorf("%s leads to %q: %v", c.Label, u.Query().Get("q"), err)
		}
	}
	if len(offered) != 4 {
		t.Fatalf("%+v", offered)
	}
}

func FuzzChips(f *testing.F) {
	f.Add(`sortie de:martin avec:pièce -bus objet:"au musée" in:sent`)
	f.Fuzz(func(t *testing.T, line string) {
		on, offered := chips(i18n.English, line, time.Unix(0, 0))
		before := len(queryTokens(line))
		for _, c := range on {
			u, err := url.Parse(c.Href)
			if err != nil || len(queryTokens(u.Query().Get("q"))) >= before {
				t.Fatalf("%q: %q takes nothing off, %v", line, c.Href, err)
			}
		}
		for _, c := range offered {
			if u, err := url.Parse(c.Href); err != nil || len(queryTokens(u.Query().Get("q"))) <= before {
				t.Fatalf("%q: %q adds nothing, %v", line, c.Href, err)
			}
		}
	})
}
