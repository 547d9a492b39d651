package dav

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var paris = func() *time.Location {
	loc, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err)
	}
	return loc
}()

// ics wraps the lines of one VEVENT.
func ics(lines ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:u\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

func parse(t *testing.T, text string) *Calendar {
	t.Helper()
	c, err := ParseCalendar(text, paris)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func day(text string) time.Time {
	at, err := time.ParseInLocation("2006-01-02", text, paris)
	if err != nil {
		panic(err)
	}
	return at
}

// starts lists the local starts of what takes place between two days.
func starts(t *testing.T, text, from, to string) string {
	t.Helper()
	all, err := parse(t, text).Expand(day(from), day(to), time.Time{})
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, o := range all {
		form := "0102T1504"
		if o.AllDay {
			form = "0102"
		}
		out = append(out, o.Start.Format(form))
	}
	return strings.Join(out, " ")
}

func TestOccurrencesFallWhereTheStandardPutsThem(t *testing.T) {
	const paris10 = "DTSTART;TZID=Europe/Paris:20261020T100000"
	for name, c := range map[string]struct {
		text     string
		from, to string
		want     string
	}{
		"once":                              {ics(paris10), "2026-10-19", "2026-10-26", "1020T1000"},
		"once, elsewhere in time":           {ics(paris10), "2026-10-21", "2026-10-26", ""},
		"weekly through the end of summer":  {ics(paris10, "RRULE:FREQ=WEEKLY"), "2026-10-19", "2026-11-10", "1020T1000 1027T1000 1103T1000"},
		"weekly in UTC does shift":          {ics("DTSTART:20261020T080000Z", "RRULE:FREQ=WEEKLY"), "2026-10-19", "2026-11-03", "1020T1000 1027T0900"},
		"every second week, years later":    {ics("DTSTART;TZID=Europe/Paris:20150105T090000", "RRULE:FREQ=WEEKLY;INTERVAL=2"), "2026-11-23", "2026-12-21", "1123T0900 1207T0900"},
		"daily, years later":                {ics("DTSTART;TZID=Europe/Paris:20100101T070000", "RRULE:FREQ=DAILY;INTERVAL=3"), "2026-11-23", "2026-11-30", "1124T0700 1127T0700"},
		"weekly on two days, years later":   {ics("DTSTART;TZID=Europe/Paris:20100104T070000", "RRULE:FREQ=WEEKLY;BYDAY=MO,TH"), "2026-11-23", "2026-11-30", "1123T0700 1126T0700"},
		"COUNT":                             {ics(paris10, "RRULE:FREQ=DAILY;COUNT=3"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000 1022T1000"},
		"UNTIL in UTC includes its moment":  {ics(paris10, "RRULE:FREQ=DAILY;UNTIL=20261022T080000Z"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000 1022T1000"},
		"UNTIL as a date includes its day":  {ics(paris10, "RRULE:FREQ=DAILY;UNTIL=20261022"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000 1022T1000"},
		"UNTIL in local time":               {ics(paris10, "RRULE:FREQ=DAILY;UNTIL=20261021T100000"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000"},
		"a rule in small letters":           {ics(paris10, "RRULE:freq=daily;count=2"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000"},
		"unknown parts of a rule":           {ics(paris10, "RRULE:FREQ=DAILY;COUNT=2;X-EVO=1;SKIP=OMIT"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000"},
		"last Friday of the month":          {ics("DTSTART;TZID=Europe/Paris:20260130T080000", "RRULE:FREQ=MONTHLY;BYDAY=-1FR"), "2026-11-01", "2027-01-01", "1127T0800 1225T0800"},
		"the 31st skips short months":       {ics("DTSTART;TZID=Europe/Paris:20260131T080000", "RRULE:FREQ=MONTHLY"), "2026-01-01", "2026-06-01", "0131T0800 0331T0800 0531T0800"},
		"29 February":                       {ics("DTSTART;VALUE=DATE:20240229", "RRULE:FREQ=YEARLY"), "2024-01-01", "2029-01-01", "0229 0229"},
		"EXDATE lists":                      {ics(paris10, "RRULE:FREQ=DAILY;COUNT=5", "EXDATE;TZID=Europe/Paris:20261021T100000,20261022T100000"), "2026-10-19", "2026-11-19", "1020T1000 1023T1000 1024T1000"},
		"EXDATE in UTC":                     {ics(paris10, "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:20261021T080000Z"), "2026-10-19", "2026-11-19", "1020T1000 1022T1000"},
		"EXDATE as a date":                  {ics(paris10, "RRULE:FREQ=DAILY;COUNT=3", "EXDATE;VALUE=DATE:20261021"), "2026-10-19", "2026-11-19", "1020T1000 1022T1000"},
		"EXDATE of the first":               {ics(paris10, "RRULE:FREQ=DAILY;COUNT=3", "EXDATE;TZID=Europe/Paris:20261020T100000"), "2026-10-19", "2026-11-19", "1021T1000 1022T1000"},
		"an empty EXDATE":                   {ics(paris10, "RRULE:FREQ=DAILY;COUNT=2", "EXDATE:"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000"},
		"RDATE lists":                       {ics(paris10, "RDATE;TZID=Europe/Paris:20261024T110000,20261102T120000"), "2026-10-19", "2026-11-19", "1020T1000 1024T1100 1102T1200"},
		"RDATE periods":                     {ics(paris10, "RDATE;VALUE=PERIOD:20261024T090000Z/PT1H"), "2026-10-19", "2026-11-19", "1020T1000 1024T1100"},
		"RDATE that repeats the rule":       {ics(paris10, "RRULE:FREQ=DAILY;COUNT=2", "RDATE;TZID=Europe/Paris:20261021T100000"), "2026-10-19", "2026-11-19", "1020T1000 1021T1000"},
		"a start outside its own rule":      {ics("DTSTART;TZID=Europe/Paris:20261020T100000", "RRULE:FREQ=WEEKLY;BYDAY=TH"), "2026-10-19", "2026-11-01", "1020T1000 1022T1000 1029T1000"},
		"whole days":                        {ics("DTSTART;VALUE=DATE:20261023", "DTEND;VALUE=DATE:20261026"), "2026-10-25", "2026-10-26", "1023"},
		"whole days are over at their end":  {ics("DTSTART;VALUE=DATE:20261023", "DTEND;VALUE=DATE:20261026"), "2026-10-26", "2026-10-27", ""},
		"a birthday":                        {ics("DTSTART;VALUE=DATE:19640229", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1"), "2026-01-01", "2028-12-31", "0228 0228 0229"},
		"whole days every week":             {ics("DTSTART;VALUE=DATE:20260302", "DURATION:P2D", "RRULE:FREQ=WEEKLY"), "2026-03-24", "2026-04-07", "0323 0330 0406"},
		"Outlook's names":                   {ics("DTSTART;TZID=Romance Standard Time:20261020T100000"), "2026-10-19", "2026-10-26", "1020T1000"},
		"Outlook's names, quoted":           {ics(`DTSTART;TZID="(UTC+01:00) Brussels, Copenhagen, Madrid, Paris":20261020T100000`), "2026-10-19", "2026-10-26", "1020T1000"},
		"New York":                          {ics("DTSTART;TZID=Eastern Standard Time:20261020T040000"), "2026-10-19", "2026-10-26", "1020T1000"},
		"Mozilla's prefix":                  {ics("DTSTART;TZID=/mozilla.org/20050126_1/America/Argentina/Buenos_Aires:20261020T050000"), "2026-10-19", "2026-10-26", "1020T1000"},
		"a zone nobody knows is one's own":  {ics("DTSTART;TZID=Mars/Olympus:20261020T100000"), "2026-10-19", "2026-10-26", "1020T1000"},
		"floating time":                     {ics("DTSTART:20261020T100000"), "2026-10-19", "2026-10-26", "1020T1000"},
		"the hour that does not exist":      {ics("DTSTART;TZID=Europe/Paris:20260322T023000", "RRULE:FREQ=WEEKLY;COUNT=3"), "2026-03-20", "2026-04-10", "0322T0230 0329T0330 0405T0230"},
		"no end":                            {ics("DTSTART:20261020T080000Z"), "2026-10-20", "2026-10-21", "1020T1000"},
		"an end before the start":           {ics("DTSTART:20261020T080000Z", "DTEND:20261019T080000Z"), "2026-10-20", "2026-10-21", "1020T1000"},
		"over midnight":                     {ics("DTSTART;TZID=Europe/Paris:20261020T220000", "DURATION:PT4H"), "2026-10-21", "2026-10-22", "1020T2200"},
		"30 February":                       {ics(paris10, "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), "2026-10-19", "2026-10-26", ErrTooComplex.Error()},
		"every second for ever":             {ics(paris10, "RRULE:FREQ=SECONDLY"), "2026-10-19", "2026-10-26", ErrTooComplex.Error()},
		"every second of the day":           {ics(paris10, "RRULE:FREQ=DAILY;BYSECOND="+numbers(60)+";BYMINUTE="+numbers(60)), "2026-10-19", "2026-10-26", ErrTooComplex.Error()},
		"cancelled ones are still shown":    {ics(paris10, "STATUS:CANCELLED"), "2026-10-19", "2026-10-26", "1020T1000"},
		"lower case names, tabs in folding": {"begin:vcalendar\nbegin:vevent\nuid:u\ndtstart;tzid=Europe/\n\tParis:2026\n 1020T100000\nend:vevent\nend:vcalendar\n", "2026-10-19", "2026-10-26", "1020T1000"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := starts(t, c.text, c.from, c.to); got != c.want {
				t.Errorf("%s – %s: %q, want %q", c.from, c.to, got, c.want)
			}
		})
	}
}

func numbers(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return strings.Join(all, ",")
}

func TestAZoneOfTheObjectItselfIsUnderstood(t *testing.T) {
	const zone = "BEGIN:VTIMEZONE\r\nTZID:Bureau\r\nBEGIN:STANDARD\r\nDTSTART:16011028T030000\r\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\n" +
		"BEGIN:DAYLIGHT\r\nDTSTART:16010325T020000\r\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
	text := strings.Replace(ics("DTSTART;TZID=Bureau:20261019T100000", "RRULE:FREQ=WEEKLY;COUNT=3"), "BEGIN:VEVENT", zone+"BEGIN:VEVENT", 1)
	c, err := ParseCalendar(text, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.Expand(day("2026-10-01"), day("2026-12-01"), time.Time{})
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for i, want := range []int{8, 9, 9} {
		if all[i].Start.Hour() != want {
			t.Errorf("occurrence %d starts at %v UTC", i, all[i].Start)
		}
	}
}

const series = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Other//App//EN\r\nX-WR-CALNAME:Équipe\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nEND:VTIMEZONE\r\n" +
	"BEGIN:VEVENT\r\nUID:team\r\nDTSTART;TZID=Europe/Paris:20261102T100000\r\nDTEND;TZID=Europe/Paris:20261102T110000\r\nRRULE:FREQ=WEEKLY;BYDAY=MO\r\nEXDATE;TZID=Europe/Paris:20261109T100000\r\n" +
	"SUMMARY;LANGUAGE=fr:Réunion d'équipe\r\nDESCRIPTION:Une ligne très longue qui est pliée au milieu de rien pour que la \r\n garde des octets soit visible\\, même ici\r\nX-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT30M\r\nATTENDEE;CN=\"Martin, Jean\";PARTSTAT=ACCEPTED:mailto:jmartin@academie.test\r\n" +
	"this line has no colon\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT15M\r\nX-MOZ:1\r\nEND:VALARM\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:team\r\nRECURRENCE-ID;TZID=Europe/Paris:20261123T100000\r\nDTSTART;TZID=Europe/Paris:20261124T140000\r\nDTEND;TZID=Europe/Paris:20261124T150000\r\nSUMMARY:Réunion déplacée\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"

func TestExceptionsReplaceTheirOccurrence(t *testing.T) {
	all, err := parse(t, series).Expand(day("2026-11-01"), day("2026-12-01"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range all {
		got = append(got, o.Start.Format("0102T15 ")+o.Summary)
	}
	want := "1102T10 Réunion d'équipe|1116T10 Réunion d'équipe|1124T14 Réunion déplacée|1130T10 Réunion d'équipe"
	if strings.Join(got, "|") != want {
		t.Fatalf("%q", got)
	}
	moved := all[2]
	found, err := parse(t, series).Find(moved.Key)
	if err != nil || !found.Start.Equal(moved.Start) || !found.Changed {
		t.Fatalf("%+v %v", found, err)
	}
	if _, err := parse(t, series).Find("20261109T090000Z"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the excluded one: %v", err)
	}
	if _, err := parse(t, series).Find("nonsense"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("nonsense: %v", err)
	}
	if all[0].Attendees[0] != "Martin, Jean" {
		t.Fatalf("attendees are %q", all[0].Attendees)
	}
}

func TestWhatIsNotEditedKeepsItsBytes(t *testing.T) {
	for _, text := range []string{series, strings.ReplaceAll(series, "\r\n", "\n"), "\r\n" + series, series + "\r\n\r\n", "\uFEFF" + series} {
		if got := parse(t, text).String(); got != text {
			t.Fatalf("reading and writing changes the object:\n%q\n%q", text, got)
		}
	}
	c := parse(t, series)
	o, err := c.Find("20261116T090000Z")
	if err != nil {
		t.Fatal(err)
	}
	now := day("2026-11-20")
	if err := c.ChangeAll(o, Fields{Summary: "Réunion d'équipe", Location: "Salle 4 ; étage 2", Description: o.Description, Start: o.Start, End: o.End}, now); err != nil {
		t.Fatal(err)
	}
	changed := map[string]bool{}
	for _, line := range strings.Split(c.String(), "\r\n") {
		if !strings.Contains(series, line+"\r\n") && line != "" {
			changed[strings.FieldsFunc(line, func(r rune) bool { return r == ':' || r == ';' })[0]] = true
		}
	}
	want := map[string]bool{"LOCATION": true, "DTSTAMP": true, "LAST-MODIFIED": true, "SEQUENCE": true}
	if fmt.Sprint(changed) != fmt.Sprint(want) {
		t.Fatalf("changed lines: %v", changed)
	}
	for _, line := range strings.Split(series, "\r\n") {
		if !strings.Contains(c.String(), line+"\r\n") && line != "" {
			t.Errorf("lost: %q", line)
		}
	}
}

func TestOneOccurrenceIsChangedAndTheOthersStay(t *testing.T) {
	c := parse(t, series)
	o, err := c.Find("20261116T090000Z")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 17, 16, 30, 0, 0, paris)
	if err := c.ChangeOne(o, Fields{Summary: "Report", Start: start, End: start.Add(time.Hour)}, day("2026-11-10")); err != nil {
		t.Fatal(err)
	}
	again := parse(t, c.String())
	if got := starts(t, again.String(), "2026-11-01", "2026-12-01"); got != "1102T1000 1117T1630 1124T1400 1130T1000" {
		t.Fatal(got)
	}
	if n := strings.Count(c.String(), "BEGIN:VALARM"); n != 2 {
		t.Fatalf("%d alarms: the exception keeps the event's own", n)
	}
	// The same occurrence, changed a second time, keeps its name.
	o, err = again.Find("20261116T090000Z")
	if err != nil || o.Summary != "Report" {
		t.Fatal(o, err)
	}
	if err := again.ChangeOne(o, Fields{Summary: "Report 2", Start: o.Start, End: o.End}, day("2026-11-10")); err != nil {
		t.Fatal(err)
	}
	if strings.Count(again.String(), "RECURRENCE-ID") != 2 {
		t.Fatal(again.String())
	}
	empty, err := again.RemoveOne(o, day("2026-11-10"))
	if err != nil || empty {
		t.Fatal(empty, err)
	}
	if got := starts(t, again.String(), "2026-11-01", "2026-12-01"); got != "1102T1000 1124T1400 1130T1000" {
		t.Fatal(got)
	}
}

func TestMovingASeriesMovesItsExceptions(t *testing.T) {
	c := parse(t, series)
	o, err := c.Find("20261130T090000Z")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 12, 1, 8, 30, 0, 0, paris) // a day later, an hour and a half earlier
	if err := c.ChangeAll(o, Fields{Summary: o.Summary, Start: start, End: start.Add(2 * time.Hour)}, day("2026-11-10")); err != nil {
		t.Fatal(err)
	}
	if got := starts(t, c.String(), "2026-11-01", "2026-12-10"); got != "1103T0830 1117T0830 1124T1400 1201T0830 1208T0830" {
		t.Fatal(got)
	}
	o, err = c.Find("20261201T073000Z")
	if err != nil || o.End.Sub(o.Start) != 2*time.Hour {
		t.Fatal(o, err)
	}
}

func TestAMoveThatWouldLoseSomethingIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"two days a week": ics("DTSTART;TZID=Europe/Paris:20261102T100000", "DTEND;TZID=Europe/Paris:20261102T110000", "RRULE:FREQ=WEEKLY;BYDAY=MO,TH"),
		"by month day":    ics("DTSTART;TZID=Europe/Paris:20261102T100000", "DTEND;TZID=Europe/Paris:20261102T110000", "RRULE:FREQ=MONTHLY;BYMONTHDAY=2"),
	} {
		c := parse(t, text)
		before := c.String()
		all, err := c.Expand(day("2026-11-01"), day("2026-11-05"), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		o := all[0]
		if err := c.ChangeAll(o, Fields{Start: o.Start.AddDate(0, 0, 1), End: o.End.AddDate(0, 0, 1)}, day("2026-11-01")); !errors.Is(err, ErrSeries) {
			t.Errorf("%s: %v", name, err)
		}
		if c.String() != before {
			t.Errorf("%s: changed all the same", name)
		}
	}
	c := parse(t, series)
	o, err := c.Find("20261130T090000Z")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ChangeAll(o, Fields{AllDay: true, Start: day("2026-11-30"), End: day("2026-12-01")}, day("2026-11-01")); !errors.Is(err, ErrSeries) {
		t.Errorf("whole days with exceptions: %v", err)
	}
}

func TestAnEventKeepsItsOwnZoneWhenItsTimeChanges(t *testing.T) {
	c := parse(t, ics("DTSTART;TZID=America/New_York:20261124T090000", "DURATION:PT1H", "SUMMARY:Call"))
	o, err := c.Find("")
	if err != nil || o.Start.Format("15:04") != "15:00" {
		t.Fatal(o, err)
	}
	if err := c.ChangeOne(o, Fields{Summary: "Call", Start: o.Start.Add(30 * time.Minute), End: o.End.Add(30 * time.Minute)}, day("2026-11-20")); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"DTSTART;TZID=America/New_York:20261124T093000\r\n", "DTEND;TZID=America/New_York:20261124T103000\r\n"} {
		if !strings.Contains(c.String(), line) {
			t.Errorf("%q is missing in\n%s", line, c.String())
		}
	}
	if strings.Contains(c.String(), "DURATION") {
		t.Error("an end and a duration together")
	}
}

func TestANewEventIsReadBackAsItWasMeant(t *testing.T) {
	text := "Titre, avec ; des \\ signes\net une ligne\r\nBEGIN:VEVENT"
	for _, f := range []Fields{
		{Summary: text, Location: text, Description: text + strings.Repeat("é", 500), Start: time.Date(2026, 10, 24, 23, 0, 0, 0, paris), End: time.Date(2026, 10, 25, 4, 0, 0, 0, paris)},
		{Summary: "Vacances", AllDay: true, Start: day("2026-10-17"), End: day("2026-11-02")},
	} {
		made := NewCalendar("new", f, paris, day("2026-01-01"))
		for _, line := range strings.Split(strings.TrimSuffix(made.String(), "\r\n"), "\r\n") {
			if len(line) > 75 {
				t.Errorf("line of %d octets", len(line))
			}
		}
		back, err := parse(t, made.String()).Find("")
		if err != nil {
			t.Fatal(err)
		}
		if !back.Start.Equal(f.Start) || !back.End.Equal(f.End) || back.AllDay != f.AllDay || back.Summary != strings.ReplaceAll(f.Summary, "\r\n", "\n") || back.Description != strings.ReplaceAll(f.Description, "\r\n", "\n") {
			t.Errorf("%+v came back as %+v", f, back)
		}
	}
	// Who does not know Europe/Paris finds its rules in the object.
	made := NewCalendar("new", Fields{Start: day("2026-07-01"), End: day("2026-07-01").Add(time.Hour)}, paris, day("2026-01-01"))
	loc := zoneOf(made.root.Components("VTIMEZONE")[0], "x")
	for _, at := range []string{"2026-01-15", "2026-03-29", "2026-07-01", "2026-10-25", "2026-12-31"} {
		_, want := day(at).Add(12 * time.Hour).Zone()
		if _, got := day(at).Add(12 * time.Hour).In(loc).Zone(); got != want {
			t.Errorf("%s: offset %d, want %d", at, got, want)
		}
	}
}

func TestObjectsThatCannotBeReadSaySoAndNothingBreaks(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "nothing but lines": "\r\n\r\n", "a card": "BEGIN:VCARD\nEND:VCARD\n", "no end": "BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "crossed": "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR\nEND:VEVENT\n",
		"HTML": "<html>404</html>", "deep": strings.Repeat("BEGIN:X\n", 100_000), "binary": "\x00\xff\xfe", "end only": "END:VCALENDAR\n",
	} {
		if _, err := ParseCalendar(text, paris); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"no start": ics("SUMMARY:x"), "a start that is none": ics("DTSTART:tomorrow"), "month 13": ics("DTSTART:20261301T000000"), "a rule that is none": ics("DTSTART:20261020T080000Z", "RRULE:nonsense"),
		"an exclusion that is none": ics("DTSTART:20261020T080000Z", "RRULE:FREQ=DAILY", "EXDATE:x"), "year 1": ics("DTSTART:00010101T000000"),
	} {
		if _, err := parse(t, text).Expand(day("2026-01-01"), day("2027-01-01"), time.Time{}); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAHostileRuleCostsItsTimeOnce(t *testing.T) {
	for _, rule := range []string{"FREQ=DAILY;BYYEARDAY=366;BYMONTH=2", "FREQ=MONTHLY;BYSETPOS=300;BYDAY=MO", "FREQ=WEEKLY;BYWEEKNO=53;BYMONTH=6", "FREQ=DAILY;INTERVAL=100000000", "FREQ=YEARLY;BYWEEKNO=60"} {
		c := parse(t, ics("DTSTART:19000101T080000Z", "RRULE:"+rule))
		_, _ = c.Expand(day("2026-01-01"), day("2027-01-01"), time.Time{})
		begun := time.Now()
		_, _ = c.Expand(day("2026-01-01"), day("2027-01-01"), time.Time{})
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s took %v again", rule, took)
		}
	}
	if _, err := parse(t, ics("DTSTART:19000101T080000Z", "RRULE:FREQ=DAILY")).Expand(day("2026-01-01"), day("2027-01-01"), time.Now().Add(-time.Second)); !errors.Is(err, ErrTooComplex) {
		t.Errorf("after the deadline: %v", err)
	}
}

func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.ics")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCalendar(string(text), paris)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if c.String() != string(text) {
			t.Errorf("%s: not written back as read", file)
		}
		all, err := c.Expand(day("2026-01-01"), day("2027-01-01"), time.Time{})
		if err != nil || len(all) == 0 {
			t.Errorf("%s: %d occurrences, %v", file, len(all), err)
		}
		for _, o := range all {
			if found, err := c.Find(o.Key); err != nil || !found.Start.Equal(o.Start) {
				t.Errorf("%s: %s is found at %v, %v", file, o.Key, found.Start, err)
			}
		}
	}
}

func FuzzCalendarIsWrittenBackAsRead(f *testing.F) {
	f.Add(series)
	f.Add(ics("DTSTART:20261020T080000Z", "RRULE:FREQ=DAILY"))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCalendar(text, paris)
		if err != nil {
			return
		}
		if c.String() != text {
			t.Errorf("%q became %q", text, c.String())
		}
		_, _ = c.Expand(day("2026-10-01"), day("2026-11-01"), time.Now().Add(100*time.Millisecond))
	})
}
