package demo

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// The sample mail, agenda and contacts. Everything is made of the same few
// tables at each start: only dates follow the clock, so that "this week" is
// this week. Senders who can be answered exist: colleagues come from the
// academy, services are read by one of the sample persons.

// directoryOfNames finds the people that content speaks of.
type directoryOfNames struct {
	byLogin  map[string]Account
	people   []Account            // without the named sample persons, by login
	bySchool map[string][]Account // the same, by school code
}

// sampleLogins have a full mailbox; everyone else a small one.
var sampleLogins = []string{"mdupont", "jmartin", "ssmith", "plefebvre", "aadmin", "xpartenaire"}

func newDirectoryOfNames(people []Account) *directoryOfNames {
	d := &directoryOfNames{byLogin: make(map[string]Account, len(people)), bySchool: make(map[string][]Account)}
	sorted := slices.Clone(people)
	slices.SortFunc(sorted, func(a, b Account) int { return cmp.Compare(a.Login, b.Login) })
	for _, person := range sorted {
		d.byLogin[person.Login] = person
		if !slices.Contains(sampleLogins, person.Login) {
			d.people = append(d.people, person)
			d.bySchool[person.UAI] = append(d.bySchool[person.UAI], person)
		}
	}
	return d
}

func (d *directoryOfNames) person(login string) Account {
	if person, ok := d.byLogin[login]; ok {
		return person
	}
	return Account{Login: login, Name: login, Mail: login + "@" + MailDomain}
}

// colleague is the n-th colleague of a person, always the same one: from the
// same school when it has enough people.
func (d *directoryOfNames) colleague(of Account, n int) Account {
	pool := d.bySchool[of.UAI]
	if len(pool) < 8 {
		pool = d.people
	}
	if len(pool) == 0 {
		return Account{Login: "assistance", Name: "Assistance informatique", Mail: "assistance@" + MailDomain}
	}
	at := (hashOf(of.Login) + n*7) % len(pool)
	if pool[at].Login == of.Login {
		at = (at + 1) % len(pool)
	}
	return pool[at]
}

func hashOf(s string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return int(h.Sum32() & 0x7fffffff)
}

// services are the addresses without a person. What is written to them reaches
// the reader, so that answering a circular works in the demo too.
var services = map[string]struct{ name, reader string }{
	"assistance":    {"Assistance informatique", "mdupont"},
	"dsi":           {"Direction des systèmes d’information", "mdupont"},
	"drh":           {"Rectorat – Ressources humaines", "mdupont"},
	"formation":     {"École académique de la formation continue", "mdupont"},
	"communication": {"Communication – Rectorat", "mdupont"},
	"secretariat":   {"Secrétariat général", "mdupont"},
	"logistique":    {"Moyens généraux et logistique", "mdupont"},
	"examens":       {"Division des examens et concours", "mdupont"},
	"securite":      {"Sécurité des systèmes d’information", "aadmin"},
}

// letter is one sample message, in the shorthand that the tables use.
//
// Persons are written as a login ("jmartin"), "~3" (the reader's third
// colleague), "@dsi" (a service), "me", or a whole address ("X <x@y.test>").
// Texts know {first}, {name}, {mail}, {school} (the reader's), {from} and
// {from.first} (the sender's), {J+3} and {D+3} (a working day from today,
// in French and in English), {lastmonth}, {month} and {nextmonth} (in French).
type letter struct {
	key     string // makes the Message-ID; other letters answer to it
	answers string // the key of the letter this one answers
	folder  string // INBOX when empty
	from    string
	to, cc  string // comma separated; "me" when empty
	ago     int    // working days before the start
	at      string // "09:12"
	subject string
	text    string
	html    string
	files   []attachment
	inline  []attachment // shown by cid: in html
	latin1  bool         // ISO-8859-1, quoted-printable
	date    string       // written as is, however broken
	headers []string     // further "Name: value" lines
	flags   []imap.Flag  // unread when it lacks \Seen
}

type attachment struct {
	name   string
	media  string
	data   []byte
	cid    string
	method string // of an invitation
}

// Flags, short enough for the tables.
var (
	read     = []imap.Flag{imap.FlagSeen}
	starred  = []imap.Flag{imap.FlagSeen, imap.FlagFlagged}
	answered = []imap.Flag{imap.FlagSeen, imap.FlagAnswered}
	urgent   = []imap.Flag{imap.FlagFlagged}
	draft    = []imap.Flag{imap.FlagSeen, imap.FlagDraft}
)

type sampleFolder struct {
	name     string
	messages []sampleMessage
}

type sampleMessage struct {
	raw      []byte
	flags    []imap.Flag
	received time.Time
}

// sampleMail is what a person's mailbox holds at the start, oldest first.
func sampleMail(person Account, everyone *directoryOfNames, start time.Time) []sampleFolder {
	w := &writer{reader: person, everyone: everyone, start: start.In(parisZone())}
	var letters []letter
	switch {
	case !slices.Contains(sampleLogins, person.Login):
		letters = lettersForAnyone(person, w)
	case person.Lang == "en":
		letters = slices.Concat(lettersInEnglish(w), oddLettersInEnglish(), oddLetters()[:oddForEveryone], foldersInEnglish())
	default:
		letters = slices.Concat(lettersForAll(w), oddLetters(), foldersForAll(), roleLetters(person.Login))
	}
	byFolder := make(map[string][]sampleMessage)
	for i, l := range letters {
		byFolder[l.folder] = append(byFolder[l.folder], w.write(l, i))
	}
	var folders []sampleFolder
	for name, messages := range byFolder {
		slices.SortStableFunc(messages, func(a, b sampleMessage) int { return a.received.Compare(b.received) })
		if name == "" {
			name = "INBOX"
		}
		folders = append(folders, sampleFolder{name, messages})
	}
	slices.SortFunc(folders, func(a, b sampleFolder) int { return cmp.Compare(a.name, b.name) })
	return folders
}

// writer turns letters into messages for one reader.
type writer struct {
	reader   Account
	everyone *directoryOfNames
	start    time.Time
}

func (w *writer) write(l letter, index int) sampleMessage {
	when := w.moment(l.ago, l.at, index)
	sender := w.who(l.from)
	fill := w.filler(sender)
	l.subject, l.text, l.html = fill(l.subject), fill(l.text), fill(l.html)
	to := l.to
	if to == "" {
		to = "me"
	}
	raw := compose(written{
		letter: l, from: sender, to: w.several(to), cc: w.several(l.cc), when: when,
		id: messageID(l.key, w.reader.Login, index), answersID: answerID(l.answers, w.reader.Login),
	})
	return sampleMessage{raw: raw, flags: l.flags, received: when}
}

func messageID(key, login string, index int) string {
	if key == "" {
		key = "m" + strconv.Itoa(index)
	}
	return fmt.Sprintf("%s.%s@courrier.%s", key, login, MailDomain)
}

func answerID(key, login string) string {
	if key == "" {
		return ""
	}
	return messageID(key, login, 0)
}

// moment is a working day before the start, at that time of day; never later
// than the start itself.
func (w *writer) moment(ago int, at string, index int) time.Time {
	day := workday(w.start, -ago)
	clock, err := time.Parse("15:04", at)
	if err != nil {
		clock = time.Date(0, 1, 1, 8+index%9, index*13%60, 0, 0, time.UTC)
	}
	t := time.Date(day.Year(), day.Month(), day.Day(), clock.Hour(), clock.Minute(), index*17%60, 0, w.start.Location())
	if !t.Before(w.start) {
		t = w.start.Add(-time.Duration(3+index%40) * time.Minute)
	}
	return t
}

// workday counts days from Monday to Friday; 0 is the day itself.
func workday(from time.Time, n int) time.Time {
	step := 1
	if n < 0 {
		step, n = -1, -n
	}
	for n > 0 {
		from = from.AddDate(0, 0, step)
		if from.Weekday() != time.Saturday && from.Weekday() != time.Sunday {
			n--
		}
	}
	return from
}

type correspondent struct{ name, address string }

func (c correspondent) first() string {
	first, _, _ := strings.Cut(c.name, " ")
	return first
}

func (w *writer) who(spec string) correspondent {
	account := w.reader
	switch {
	case spec == "me":
	case strings.HasPrefix(spec, "@"):
		return correspondent{services[spec[1:]].name, spec[1:] + "@" + MailDomain}
	case strings.HasPrefix(spec, "~"):
		n, _ := strconv.Atoi(spec[1:])
		account = w.everyone.colleague(w.reader, n)
	case strings.Contains(spec, "<"):
		name, rest, _ := strings.Cut(spec, "<")
		return correspondent{strings.TrimSpace(name), strings.TrimSuffix(rest, ">")}
	default:
		account = w.everyone.person(spec)
	}
	return correspondent{account.Name, account.Mail}
}

func (w *writer) several(specs string) []correspondent {
	var list []correspondent
	for spec := range strings.SplitSeq(specs, ",") {
		if spec = strings.TrimSpace(spec); spec != "" {
			list = append(list, w.who(spec))
		}
	}
	return list
}

var blank = regexp.MustCompile(`\{([a-z]+(?:\.first)?|[JD][+-]\d+|~\d+)\}`)

// filler fills the blanks of a text.
func (w *writer) filler(sender correspondent) func(string) string {
	me := correspondent{w.reader.Name, w.reader.Mail}
	school := w.reader.School
	if school == "" {
		school = "rectorat"
	}
	return func(s string) string {
		return blank.ReplaceAllStringFunc(s, func(found string) string {
			name := found[1 : len(found)-1]
			switch name {
			case "first":
				return me.first()
			case "name":
				return me.name
			case "mail":
				return me.address
			case "school":
				return school
			case "from":
				return sender.name
			case "from.first":
				return sender.first()
			case "lastmonth", "month", "nextmonth":
				shift := map[string]int{"lastmonth": -1, "nextmonth": 1}[name]
				return frenchMonths[(int(w.start.Month())-1+shift+12)%12+1]
			}
			if name[0] == '~' {
				return w.who(name).name
			}
			n, err := strconv.Atoi(name[1:])
			if err != nil {
				return found
			}
			day := workday(w.start, n)
			if name[0] == 'D' {
				return day.Format("Monday 2 January")
			}
			return frenchDay(day)
		})
	}
}

var (
	frenchDays   = []string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"}
	frenchMonths = []string{"", "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}
)

func frenchDay(t time.Time) string {
	day := strconv.Itoa(t.Day())
	if day == "1" {
		day = "1er"
	}
	return frenchDays[t.Weekday()] + " " + day + " " + frenchMonths[t.Month()]
}
