package demo

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/teambition/rrule-go"
)

// occasion is one event of the samples. Days count from Monday of the week the
// demo starts in: 0 is that Monday, -7 the one before, 9 Wednesday next week.
type occasion struct {
	uid      string
	summary  string
	place    string
	notes    string
	day      int
	from, to string // "09:00"; both empty for whole days
	days     int    // how many whole days; default 1
	rule     string // RRULE
	skipped  []int  // days left out (EXDATE)
	moved    []moved
	status   string // CONFIRMED unless said
	class    string
	category string
	guests   []guest // the first organizes
	alarm    string  // "-PT15M"
	url      string
	free     bool // TRANSP:TRANSPARENT
}

// moved is an occurrence that was changed (RECURRENCE-ID).
type moved struct {
	day      int // where it was
	to       int
	from, at string
	summary  string
	status   string
}

type guest struct {
	correspondent
	state string // ACCEPTED, DECLINED, TENTATIVE, NEEDS-ACTION
	role  string // REQ-PARTICIPANT unless said
}

// parisTimezone is the VTIMEZONE of Europe/Paris since 1996.
const parisTimezone = `BEGIN:VTIMEZONE
TZID:Europe/Paris
BEGIN:DAYLIGHT
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
TZNAME:CEST
DTSTART:19960331T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:CET
DTSTART:19961027T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
`

// icsWriter writes calendar objects; monday is midnight in Paris.
type icsWriter struct {
	monday time.Time
	b      strings.Builder
}

func newICS(start time.Time) *icsWriter {
	local := start.In(parisZone())
	back := (int(local.Weekday()) + 6) % 7
	return &icsWriter{monday: time.Date(local.Year(), local.Month(), local.Day()-back, 0, 0, 0, 0, local.Location())}
}

// line writes a content line, folded at 75 octets between characters (RFC 5545 §3.1).
func (w *icsWriter) line(s string) {
	limit := 75
	for len(s) > limit {
		cut := limit
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		w.b.WriteString(s[:cut] + "\r\n ")
		s, limit = s[cut:], 74
	}
	w.b.WriteString(s + "\r\n")
}

func icsText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, ",", `\,`, ";", `\;`).Replace(s)
}

// first is the first day that a rule itself names: a DTSTART beside its own
// rule is undefined (RFC 5545 §3.8.5.3).
func (w *icsWriter) first(o occasion) int {
	option, err := rrule.StrToROption(o.rule)
	if err != nil || o.rule == "" {
		return o.day
	}
	option.Dtstart = time.Date(w.monday.Year(), w.monday.Month(), w.monday.Day()+o.day, 12, 0, 0, 0, time.UTC)
	rule, err := rrule.NewRRule(*option)
	if err != nil {
		return o.day
	}
	if first, ok := rule.Iterator()(); ok {
		return o.day + int(first.Sub(option.Dtstart).Hours())/24
	}
	return o.day
}

// text writes a property when it has a value.
func (w *icsWriter) text(name, value string) {
	if value != "" {
		w.line(name + ":" + icsText(value))
	}
}

func (w *icsWriter) date(day int) string { return w.monday.AddDate(0, 0, day).Format("20060102") }

func (w *icsWriter) local(day int, at string) string {
	return w.date(day) + "T" + strings.ReplaceAll(at, ":", "") + "00"
}

// moment writes a DTSTART or its like: a DATE when at is empty.
func (w *icsWriter) moment(name string, day int, at string) {
	if at == "" {
		w.line(name + ";VALUE=DATE:" + w.date(day))
		return
	}
	w.line(name + ";TZID=Europe/Paris:" + w.local(day, at))
}

// object writes a whole calendar object; method is for mail only.
func (w *icsWriter) object(o occasion, method string) string {
	o.day = w.first(o)
	w.b.Reset()
	w.line("BEGIN:VCALENDAR")
	w.line("VERSION:2.0")
	w.line("PRODID:-//Beffroi//Agenda de démonstration//FR")
	w.line("CALSCALE:GREGORIAN")
	if method != "" {
		w.line("METHOD:" + method)
	}
	if o.from != "" {
		w.b.WriteString(strings.ReplaceAll(parisTimezone, "\n", "\r\n"))
	}
	w.event(o, nil)
	for i := range o.moved {
		w.event(o, &o.moved[i])
	}
	w.line("END:VCALENDAR")
	return w.b.String()
}

func (w *icsWriter) event(o occasion, m *moved) {
	stamp := w.monday.AddDate(0, 0, -14).UTC().Format("20060102T150405Z")
	day, from, to, summary, status := o.day, o.from, o.to, o.summary, o.status
	w.line("BEGIN:VEVENT")
	w.line("UID:" + o.uid)
	w.line("DTSTAMP:" + stamp)
	w.line("CREATED:" + stamp)
	w.line("LAST-MODIFIED:" + stamp)
	if m != nil {
		w.moment("RECURRENCE-ID", m.day, o.from)
		day = m.to
		if m.from != "" {
			from, to = m.from, m.at
		}
		if m.summary != "" {
			summary = m.summary
		}
		status = m.status
	}
	w.moment("DTSTART", day, from)
	if from == "" {
		w.moment("DTEND", day+max(o.days, 1), "")
	} else {
		end := day
		if to < from {
			end++ // past midnight
		}
		w.moment("DTEND", end, to)
	}
	if m == nil {
		if o.rule != "" {
			w.line("RRULE:" + o.rule)
		}
		for _, skipped := range o.skipped {
			w.moment("EXDATE", skipped, o.from)
		}
	} else {
		w.line("SEQUENCE:1")
	}
	w.text("SUMMARY", summary)
	w.text("LOCATION", o.place)
	w.text("DESCRIPTION", o.notes)
	w.text("CATEGORIES", o.category)
	if status == "" {
		status = "CONFIRMED"
	}
	w.line("STATUS:" + status)
	if o.class != "" {
		w.line("CLASS:" + o.class)
	}
	if o.url != "" {
		w.line("URL:" + o.url)
	}
	if o.free {
		w.line("TRANSP:TRANSPARENT")
	}
	for i, g := range o.guests {
		if i == 0 {
			w.line(fmt.Sprintf("ORGANIZER;CN=%q:mailto:%s", g.name, g.address))
		}
		role := g.role
		if role == "" {
			role = "REQ-PARTICIPANT"
		}
		w.line(fmt.Sprintf("ATTENDEE;CN=%q;ROLE=%s;PARTSTAT=%s;RSVP=TRUE:mailto:%s", g.name, role, g.state, g.address))
	}
	if o.alarm != "" {
		w.line("BEGIN:VALARM")
		w.line("ACTION:DISPLAY")
		w.line("TRIGGER:" + o.alarm)
		w.text("DESCRIPTION", summary)
		w.line("END:VALARM")
	}
	w.line("END:VEVENT")
}

// task is a VTODO.
type task struct {
	uid, summary, notes string
	due                 int
	priority            int
	percent             int
	done                bool
}

func (w *icsWriter) todo(t task) string {
	w.b.Reset()
	stamp := w.monday.AddDate(0, 0, -7).UTC().Format("20060102T150405Z")
	for _, line := range []string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Beffroi//Agenda de démonstration//FR", "BEGIN:VTODO", "UID:" + t.uid, "DTSTAMP:" + stamp, "CREATED:" + stamp} {
		w.line(line)
	}
	w.text("SUMMARY", t.summary)
	w.text("DESCRIPTION", t.notes)
	w.moment("DUE", t.due, "")
	if t.priority > 0 {
		w.line(fmt.Sprintf("PRIORITY:%d", t.priority))
	}
	if t.done {
		w.line("STATUS:COMPLETED")
		w.line("PERCENT-COMPLETE:100")
		w.line("COMPLETED:" + w.monday.AddDate(0, 0, -2).UTC().Format("20060102T150405Z"))
	} else {
		w.line("STATUS:NEEDS-ACTION")
		w.line(fmt.Sprintf("PERCENT-COMPLETE:%d", t.percent))
	}
	w.line("END:VTODO")
	w.line("END:VCALENDAR")
	return w.b.String()
}
