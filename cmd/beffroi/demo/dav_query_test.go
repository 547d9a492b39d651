package demo

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func rangeQuery(component, start, end string) string {
	return fmt.Sprintf(`<C:calendar-query%s><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="%s"><C:time-range start="%s" end="%s"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`,
		xmlNames, component, start, end)
}

func TestATimeRangeFindsEventsByEveryRepetition(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	overridden := strings.Replace(event("moved", "DTSTART;TZID=Europe/Paris:20261102T100000\nDTEND;TZID=Europe/Paris:20261102T110000\nRRULE:FREQ=WEEKLY;COUNT=8"),
		"END:VCALENDAR", "BEGIN:VEVENT\r\nUID:moved\r\nRECURRENCE-ID;TZID=Europe/Paris:20261123T100000\r\nDTSTART;TZID=Europe/Paris:20261126T160000\r\nDTEND;TZID=Europe/Paris:20261126T170000\r\nEND:VEVENT\r\nEND:VCALENDAR", 1)
	for name, data := range map[string]string{
		"single":   event("single", "DTSTART:20261123T090000Z\nDTEND:20261123T100000Z"),
		"duration": event("duration", "DTSTART:20261122T230000Z\nDURATION:PT10H"),
		"instant":  event("instant", "DTSTART:20261123T090000Z"),
		"weekly":   event("weekly", "DTSTART;TZID=Europe/Paris:20260907T100000\nDTEND;TZID=Europe/Paris:20260907T110000\nRRULE:FREQ=WEEKLY;BYDAY=MO"),
		"excepted": event("excepted", "DTSTART;TZID=Europe/Paris:20260907T100000\nDTEND;TZID=Europe/Paris:20260907T110000\nRRULE:FREQ=WEEKLY\nEXDATE;TZID=Europe/Paris:20261116T100000,20261123T100000"),
		"ended":    event("ended", "DTSTART:20260907T090000Z\nDTEND:20260907T100000Z\nRRULE:FREQ=WEEKLY;UNTIL=20261116T235959Z"),
		"allday":   event("allday", "DTSTART;VALUE=DATE:20261123"),
		"multiday": event("multiday", "DTSTART;VALUE=DATE:20261120\nDTEND;VALUE=DATE:20261128"),
		"rdate":    event("rdate", "DTSTART:20260101T090000Z\nDTEND:20260101T100000Z\nRDATE:20260301T090000Z,20261123T093000Z"),
		"yearly":   event("yearly", "DTSTART;VALUE=DATE:19991123\nRRULE:FREQ=YEARLY"),
		"moved":    overridden,
		"tuesday":  event("tuesday", "DTSTART:20261124T090000Z\nDTEND:20261124T100000Z"),
	} {
		if a := c.do("PUT", emptyCalendar+name+".ics", data); a.StatusCode != 201 {
			t.Fatalf("%s: %s %s", name, a.Status, a.body)
		}
	}
	find := func(start, end string) []string {
		t.Helper()
		a := c.want(207, c.do("REPORT", emptyCalendar, rangeQuery("VEVENT", start, end), "Depth: 1"))
		var names []string
		for _, path := range a.hrefs() {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(path, emptyCalendar), ".ics"))
		}
		return names
	}
	// Monday 23 November 2026, 10:00 to 11:00 in Paris.
	if got, want := find("20261123T090000Z", "20261123T100000Z"), []string{"allday", "instant", "multiday", "rdate", "single", "weekly", "yearly"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if got, want := find("20261123T080000Z", "20261123T083000Z"), []string{"allday", "duration", "multiday", "yearly"}; !slices.Equal(got, want) {
		t.Errorf("earlier that day %v, want %v", got, want)
	}
	if got, want := find("20261126T150000Z", "20261126T160000Z"), []string{"moved", "multiday"}; !slices.Equal(got, want) {
		t.Errorf("where the moved occurrence went %v, want %v", got, want)
	}
	// 10:00 in Paris is 08:00 UTC in summer.
	if got, want := find("20260914T080000Z", "20260914T090000Z"), []string{"excepted", "weekly"}; !slices.Equal(got, want) {
		t.Errorf("in summer %v, want %v", got, want)
	}
	// A day begins at midnight in Paris, 23:00 UTC.
	if got := find("20261122T223000Z", "20261122T230000Z"); slices.Contains(got, "allday") {
		t.Error("the day began too early")
	}
	if got := find("20261122T230000Z", "20261122T233000Z"); !slices.Contains(got, "allday") {
		t.Error("the day began too late")
	}
	c.want(403, c.do("REPORT", emptyCalendar, rangeQuery("VEVENT", "20261123", "20261124")))
	c.want(403, c.do("REPORT", emptyCalendar, rangeQuery("VEVENT", "20261124T000000Z", "20261123T000000Z")))
	c.want(501, c.do("REPORT", emptyCalendar, `<C:calendar-query`+xmlNames+`><D:prop><C:calendar-data><C:expand start="20261123T000000Z" end="20261124T000000Z"/></C:calendar-data></D:prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>`))
}

func TestTasksAreFoundByTheirDates(t *testing.T) {
	r := timeRange{time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	for props, want := range map[string]bool{
		"":                     true,
		"DUE:20261123T120000Z": true,
		"DUE:20261125T120000Z": false,
		"DTSTART:20261120T090000Z\nDUE:20261125T120000Z": true,
		"DTSTART:20261125T090000Z":                       false,
		"DTSTART:20261122T090000Z\nDURATION:P2D":         true,
		"COMPLETED:20261122T090000Z":                     false,
		"COMPLETED:20261123T090000Z":                     true,
		"CREATED:20261122T090000Z":                       true,
	} {
		root, err := parseComponent([]byte("BEGIN:VTODO\nUID:x\n" + props + "\nEND:VTODO"))
		if err != nil {
			t.Fatal(err)
		}
		if got := root.todoMeets(r, time.UTC); got != want {
			t.Errorf("%q: %v", props, got)
		}
	}
}

func TestCardsAreFoundByWhatTheySay(t *testing.T) {
	c, _ := startDAV(t)
	book := "/addressbooks/mdupont/essai/"
	c.want(201, c.do("MKCOL", book, `<D:mkcol`+xmlNames+`><D:set><D:prop><D:resourcetype><D:collection/><R:addressbook/></D:resourcetype></D:prop></D:set></D:mkcol>`))
	for name, props := range map[string]string{
		"anne":  "FN:Anne Élouan\r\nN:Élouan;Anne;;;\r\nitem1.EMAIL;TYPE=WORK,pref:anne@partenaire.test\r\nCATEGORIES:Mairie,Sport",
		"bruno": "FN:Bruno Keller\r\nTEL;TYPE=cell:+33 6 00 00 00 01",
	} {
		c.want(201, c.do("PUT", book+name+".vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:"+name+"\r\n"+props+"\r\nEND:VCARD\r\n"))
	}
	find := func(filter string) string {
		t.Helper()
		a := c.want(207, c.do("REPORT", book, `<R:addressbook-query`+xmlNames+`><D:prop><R:address-data/></D:prop>`+filter+`</R:addressbook-query>`, "Depth: 1"))
		return strings.ReplaceAll(strings.Join(a.hrefs(), " "), book, "")
	}
	for filter, want := range map[string]string{
		`<R:filter/>`: "anne.vcf bruno.vcf",
		`<R:filter><R:prop-filter name="FN"><R:text-match>éLOUAN</R:text-match></R:prop-filter></R:filter>`:                                               "anne.vcf",
		`<R:filter><R:prop-filter name="FN"><R:text-match match-type="starts-with">Keller</R:text-match></R:prop-filter></R:filter>`:                      "",
		`<R:filter><R:prop-filter name="FN"><R:text-match match-type="ends-with">keller</R:text-match></R:prop-filter></R:filter>`:                        "bruno.vcf",
		`<R:filter><R:prop-filter name="FN"><R:text-match negate-condition="yes">keller</R:text-match></R:prop-filter></R:filter>`:                        "anne.vcf",
		`<R:filter><R:prop-filter name="EMAIL"><R:param-filter name="TYPE"><R:text-match>work</R:text-match></R:param-filter></R:prop-filter></R:filter>`: "anne.vcf",
		`<R:filter><R:prop-filter name="TEL"><R:is-not-defined/></R:prop-filter></R:filter>`:                                                              "anne.vcf",
		`<R:filter><R:prop-filter name="FN"><R:text-match>anne</R:text-match></R:prop-filter><R:prop-filter name="TEL"/></R:filter>`:                      "anne.vcf bruno.vcf",
		`<R:filter test="allof"><R:prop-filter name="FN"/><R:prop-filter name="TEL"/></R:filter>`:                                                         "bruno.vcf",
		`<R:filter/><R:limit><R:nresults>1</R:nresults></R:limit>`:                                                                                        "anne.vcf  507",
	} {
		if got := find(filter); got != want {
			t.Errorf("%s: found %q, want %q", filter, got, want)
		}
	}
	c.want(403, c.do("REPORT", book, `<R:addressbook-query`+xmlNames+`><R:filter><R:prop-filter name="FN"><R:text-match collation="i;klingon">x</R:text-match></R:prop-filter></R:filter></R:addressbook-query>`))
	a := c.want(207, c.do("REPORT", book, `<R:addressbook-multiget`+xmlNames+`><D:prop><R:address-data/></D:prop><D:href>`+book+`gone.vcf</D:href><D:href>`+c.base+book+`bruno.vcf</D:href></R:addressbook-multiget>`))
	if got := a.hrefs(); !slices.Equal(got, []string{book + "gone.vcf 404", book + "bruno.vcf"}) {
		t.Errorf("multiget %v", got)
	}
	c.want(403, c.do("REPORT", book, rangeQuery("VEVENT", "20261123T000000Z", "20261124T000000Z")))
}
