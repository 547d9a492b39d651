package demo

import (
	"slices"
	"strings"
	"testing"
)

const xmlNames = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:R="urn:ietf:params:xml:ns:carddav" xmlns:S="http://calendarserver.org/ns/" xmlns:A="http://apple.com/ns/ical/"`

func TestCalendarsAndBooksAreCreatedDescribedAndDeleted(t *testing.T) {
	c, _ := startDAV(t)
	c.want(201, c.do("MKCALENDAR", emptyCalendar, `<C:mkcalendar`+xmlNames+`><D:set><D:prop><D:displayname>Essai d’été</D:displayname><A:calendar-color>#b8322aff</A:calendar-color>
		<C:supported-calendar-component-set><C:comp name="VEVENT"/></C:supported-calendar-component-set></D:prop></D:set></C:mkcalendar>`))
	c.want(405, c.do("MKCALENDAR", emptyCalendar, ""))
	c.want(201, c.do("MKCOL", "/calendars/mdupont/taches/", `<D:mkcol`+xmlNames+`><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype><D:displayname>Tâches</D:displayname></D:prop></D:set></D:mkcol>`))
	book := `<D:mkcol` + xmlNames + `><D:set><D:prop><D:resourcetype><D:collection/><R:addressbook/></D:resourcetype><D:displayname>Parents</D:displayname></D:prop></D:set></D:mkcol>`
	c.want(201, c.do("MKCOL", "/addressbooks/mdupont/parents/", book))
	c.want(403, c.do("MKCOL", "/calendars/mdupont/carnet/", book))
	c.want(403, c.do("MKCOL", "/calendars/mdupont/dossier/", ""))
	c.want(403, c.do("MKCALENDAR", "/addressbooks/mdupont/agenda/", ""))
	c.want(403, c.do("MKCALENDAR", "/calendars/mdupont/x/", `<C:mkcalendar`+xmlNames+`><D:set><D:prop><D:getetag>"x"</D:getetag><D:displayname>X</D:displayname></D:prop></D:set></C:mkcalendar>`))
	c.want(404, c.do("PROPFIND", "/calendars/mdupont/x/", "", "Depth: 0"))
	a := c.want(207, c.do("PROPFIND", "/calendars/mdupont/", `<D:propfind`+xmlNames+`><D:prop><D:displayname/><A:calendar-color/><C:supported-calendar-component-set/></D:prop></D:propfind>`, "Depth: 1"))
	if n, _ := a.property(emptyCalendar, nsDAV, "displayname"); n == nil || n.text != "Essai d’été" {
		t.Error(a.body)
	}
	if n, _ := a.property(emptyCalendar, nsApple, "calendar-color"); n == nil || n.text != "#b8322aff" {
		t.Error(a.body)
	}
	if n, _ := a.property(emptyCalendar, nsCalDAV, "supported-calendar-component-set"); n == nil || len(n.kids) != 1 || n.kids[0].attr("name") != "VEVENT" {
		t.Error(a.body)
	}
	c.want(204, c.do("DELETE", emptyCalendar, ""))
	c.want(404, c.do("PROPFIND", emptyCalendar, "", "Depth: 0"))
	c.want(409, c.do("PUT", emptyCalendar+"a.ics", event("a", "DTSTART:20261123T100000Z")))
}

func TestPropertiesChangeTogetherOrNotAtAll(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	patch := func(inner string) answer {
		t.Helper()
		return c.want(207, c.do("PROPPATCH", emptyCalendar, `<D:propertyupdate`+xmlNames+`>`+inner+`</D:propertyupdate>`))
	}
	a := patch(`<D:set><D:prop><D:displayname>Nouveau</D:displayname><A:calendar-color>#00ff00ff</A:calendar-color><note xmlns="urn:x" kind="k"><inner>é</inner></note></D:prop></D:set>`)
	if _, status := a.property(emptyCalendar, nsDAV, "displayname"); status != "200" {
		t.Fatal(a.body)
	}
	a = patch(`<D:set><D:prop><D:displayname>Jamais</D:displayname><S:getctag>0</S:getctag></D:prop></D:set>`)
	if _, status := a.property(emptyCalendar, nsCS, "getctag"); status != "403" {
		t.Error(a.body)
	}
	if _, status := a.property(emptyCalendar, nsDAV, "displayname"); status != "424" {
		t.Error(a.body)
	}
	read := func() answer {
		return c.want(207, c.do("PROPFIND", emptyCalendar, `<D:propfind`+xmlNames+`><D:prop><D:displayname/><A:calendar-color/><note xmlns="urn:x"/></D:prop></D:propfind>`, "Depth: 0"))
	}
	a = read()
	if n, _ := a.property(emptyCalendar, nsDAV, "displayname"); n.text != "Nouveau" {
		t.Error(a.body)
	}
	if n, _ := a.property(emptyCalendar, "urn:x", "note"); n == nil || n.attr("kind") != "k" || n.kid("urn:x", "inner").text != "é" {
		t.Error(a.body)
	}
	patch(`<D:remove><D:prop><note xmlns="urn:x"/><A:calendar-color/></D:prop></D:remove>`)
	if _, status := read().property(emptyCalendar, "urn:x", "note"); status != "404" {
		t.Error("a removed property is still there")
	}
	a = c.want(207, c.do("PROPPATCH", "/calendars/mdupont/etablissement/", `<D:propertyupdate`+xmlNames+`><D:set><D:prop><D:displayname>À moi</D:displayname></D:prop></D:set></D:propertyupdate>`))
	if _, status := a.property("/calendars/mdupont/etablissement/", nsDAV, "displayname"); status != "403" {
		t.Error(a.body)
	}
}

func syncBody(token, more string) string {
	return `<D:sync-collection` + xmlNames + `><D:sync-token>` + token + `</D:sync-token><D:sync-level>1</D:sync-level>` + more + `<D:prop><D:getetag/></D:prop></D:sync-collection>`
}

func TestSyncTellsWhatChangedSinceTheToken(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	sync := func(token, more string) (hrefs []string, next string) {
		t.Helper()
		a := c.want(207, c.do("REPORT", emptyCalendar, syncBody(token, more)))
		return a.hrefs(), a.root.kid(nsDAV, "sync-token").text
	}
	put := func(name string) {
		t.Helper()
		if status := c.do("PUT", emptyCalendar+name, event(name, "DTSTART:20261123T100000Z")).StatusCode; status/100 != 2 {
			t.Fatal(status)
		}
	}
	for _, name := range []string{"a.ics", "b.ics", "c.ics"} {
		put(name)
	}
	all, token := sync("", "")
	if len(all) != 3 {
		t.Fatalf("first sync: %v", all)
	}
	put("b.ics")
	put("d.ics")
	c.want(204, c.do("DELETE", emptyCalendar+"a.ics", ""))
	changed, next := sync(token, "")
	if want := []string{emptyCalendar + "b.ics", emptyCalendar + "d.ics", emptyCalendar + "a.ics 404"}; !slices.Equal(changed, want) {
		t.Errorf("changes %v, want %v", changed, want)
	}
	if nothing, same := sync(next, ""); len(nothing) != 0 || same != next {
		t.Errorf("nothing changed, and yet %v", nothing)
	}
	var pages []string
	for range 5 {
		page, after := sync(token, "<D:limit><D:nresults>2</D:nresults></D:limit>")
		token = after
		more := false
		for _, path := range page {
			if path == emptyCalendar+" 507" {
				more = true
			} else {
				pages = append(pages, path)
			}
		}
		if !more {
			break
		}
	}
	if !slices.Equal(pages, changed) || token != next {
		t.Errorf("by pages %v, at once %v", pages, changed)
	}
	for _, bad := range []string{"urn:x", token + "9", strings.Replace(token, ":sync:", ":sync:0", 1)} {
		a := c.want(403, c.do("REPORT", emptyCalendar, syncBody(bad, "")))
		if a.root.kid(nsDAV, "valid-sync-token") == nil {
			t.Error(a.body)
		}
	}
	// A calendar made anew under the same address must not accept the old one's token.
	c.want(204, c.do("DELETE", emptyCalendar, ""))
	c.makeCalendar()
	c.want(403, c.do("REPORT", emptyCalendar, syncBody(token, "")))
}

func TestAnEventMovesFromOneCalendarToAnother(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	c.want(201, c.do("MKCALENDAR", "/calendars/mdupont/autre/", ""))
	etag := c.want(201, c.do("PUT", emptyCalendar+"a.ics", event("a", "DTSTART:20261123T100000Z"))).Header.Get("ETag")
	c.want(412, c.do("MOVE", emptyCalendar+"a.ics", "", "Destination: "+c.base+"/calendars/mdupont/autre/a.ics", `If-Match: "x"`))
	moved := c.want(201, c.do("MOVE", emptyCalendar+"a.ics", "", "Destination: "+c.base+"/calendars/mdupont/autre/a.ics", "If-Match: "+etag))
	c.want(404, c.do("GET", emptyCalendar+"a.ics", ""))
	if got := c.want(200, c.do("GET", "/calendars/mdupont/autre/a.ics", "")); got.Header.Get("ETag") != moved.Header.Get("ETag") {
		t.Error("another ETag than MOVE said")
	}
	c.want(403, c.do("MOVE", "/calendars/mdupont/autre/a.ics", "", "Destination: /calendars/mdupont/etablissement/a.ics"))
	c.want(409, c.do("MOVE", "/calendars/mdupont/autre/a.ics", "", "Destination: /addressbooks/mdupont/contacts/a.ics"))
	c.want(502, c.do("MOVE", "/calendars/mdupont/autre/a.ics", "", "Destination: http://elsewhere.test/a.ics"))
}
