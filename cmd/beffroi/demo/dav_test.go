package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

type davClient struct {
	t     *testing.T
	base  string
	token string
}

func startDAV(t *testing.T) (*davClient, *provider) {
	t.Helper()
	p := startProvider(t)
	s, err := StartDAV(DAVConfig{Addr: "127.0.0.1:0", Introspect: p.introspect, People: somePeople()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &davClient{t, strings.TrimSuffix(s.URL, "/"), "mdupont-dav"}, p
}

type answer struct {
	*http.Response
	body string
	root *node
}

// do sends a request; headers are "Name: value".
func (c *davClient) do(method, path, body string, headers ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		req.Header.Add(key, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{res, string(read), nil}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/xml") {
		if a.root, err = parseXML(read); err != nil {
			c.t.Fatalf("%s %s answers bad XML: %v\n%s", method, path, err, read)
		}
	}
	return a
}

func (c *davClient) want(status int, a answer) answer {
	c.t.Helper()
	if a.StatusCode != status {
		c.t.Fatalf("%s %s answered %s, want %d\n%s", a.Request.Method, a.Request.URL.Path, a.Status, status, a.body)
	}
	return a
}

// hrefs lists the resources of a multistatus; a status of their own is appended.
func (a answer) hrefs() []string {
	var list []string
	for _, r := range a.root.kids {
		if !r.is(nsDAV, "response") {
			continue
		}
		path := r.kid(nsDAV, "href").text
		if status := r.kid(nsDAV, "status"); status != nil {
			path += " " + strings.Fields(status.text)[1]
		}
		list = append(list, path)
	}
	return list
}

// property finds a property of a resource in a multistatus, and its status.
func (a answer) property(path, space, local string) (*node, string) {
	for _, r := range a.root.kids {
		if r.kid(nsDAV, "href") == nil || r.kid(nsDAV, "href").text != path {
			continue
		}
		for _, ps := range r.kids {
			if n := ps.kid(nsDAV, "prop").kid(space, local); n != nil {
				return n, strings.Fields(ps.kid(nsDAV, "status").text)[1]
			}
		}
	}
	return nil, ""
}

func event(uid, more string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nBEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20261101T000000Z\r\n" +
		strings.ReplaceAll(more, "\n", "\r\n") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

const emptyCalendar = "/calendars/mdupont/essai/"

func (c *davClient) makeCalendar() {
	c.t.Helper()
	c.want(201, c.do("MKCALENDAR", emptyCalendar, ""))
}

func TestOnlyAPersonsOwnLiveDAVTokenOpensHerTree(t *testing.T) {
	c, p := startDAV(t)
	p.give("expired", "mdupont", "dav", "dav", -time.Second)
	p.give("wrong scope", "mdupont", "mail", "dav", time.Hour)
	p.give("wrong audience", "mdupont", "dav", "imap", time.Hour)
	p.give("stranger", "stranger", "dav", "dav", time.Hour)
	for _, token := range []string{"", "guess", "expired", "wrong scope", "wrong audience", "mdupont-mail"} {
		c.token = token
		a := c.want(401, c.do("PROPFIND", "/", "", "Depth: 0"))
		if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer realm=") || (token != "") != strings.Contains(got, `error="invalid_token"`) {
			t.Errorf("%q: WWW-Authenticate %q", token, got)
		}
	}
	c.token = ""
	for _, header := range []string{"Authorization: Basic bWR1cG9udDptZHVwb250LWRhdg==", "Authorization: Bearer", "Authorization: mdupont-dav"} {
		c.want(401, c.do("PROPFIND", "/", "", "Depth: 0", header))
	}
	c.want(401, c.do("PROPFIND", "/?access_token=mdupont-dav", "", "Depth: 0"))
	c.token = "stranger"
	c.want(403, c.do("PROPFIND", "/", "", "Depth: 0"))
	p.Server.Close()
	c.token = "ssmith-dav"
	c.want(503, c.do("PROPFIND", "/", "", "Depth: 0"))
}

func TestNobodyReachesAnotherPersonsTree(t *testing.T) {
	c, _ := startDAV(t)
	for _, path := range []string{"/principals/jmartin/", "/calendars/jmartin/", "/calendars/jmartin/personnel/", "/addressbooks/jmartin/contacts/x.vcf",
		"/calendars/no-such-person/", "/calendars/mdupont%2F..%2Fjmartin/", "/calendars/jmartin/etablissement/"} {
		for _, method := range []string{"PROPFIND", "GET", "PUT", "DELETE", "REPORT", "PROPPATCH", "MKCALENDAR", "MOVE"} {
			c.want(403, c.do(method, path, "", "Depth: 0"))
		}
	}
	c.want(400, c.do("PROPFIND", "/calendars/mdupont/%2e%2e/jmartin/", "", "Depth: 0"))
	c.makeCalendar()
	c.want(201, c.do("PUT", emptyCalendar+"a.ics", event("a", "DTSTART:20261123T100000Z")))
	c.want(403, c.do("MOVE", emptyCalendar+"a.ics", "", "Destination: /calendars/jmartin/personnel/a.ics"))
	a := c.want(207, c.do("REPORT", emptyCalendar, `<C:calendar-multiget xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><C:calendar-data/></D:prop>`+
		`<D:href>/calendars/jmartin/personnel/x.ics</D:href><D:href>`+emptyCalendar+`a.ics</D:href></C:calendar-multiget>`))
	if got := strings.Join(a.hrefs(), ", "); got != "/calendars/jmartin/personnel/x.ics 403, "+emptyCalendar+"a.ics" {
		t.Errorf("multiget answered %s", got)
	}
}

func TestAClientFindsItsWayFromTheWellKnownAddresses(t *testing.T) {
	c, _ := startDAV(t)
	for _, name := range []string{"caldav", "carddav"} {
		if a := c.do("PROPFIND", "/.well-known/"+name, ""); a.StatusCode != 307 || a.Header.Get("Location") != "/" {
			t.Errorf("%s: %s %s", name, a.Status, a.Header.Get("Location"))
		}
	}
	ask := func(path, props string, depth string) answer {
		t.Helper()
		return c.want(207, c.do("PROPFIND", path, `<?xml version="1.0"?><propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:R="urn:ietf:params:xml:ns:carddav"
			xmlns:S="http://calendarserver.org/ns/" xmlns:A="http://apple.com/ns/ical/"><prop>`+props+`</prop></propfind>`, "Depth: "+depth))
	}
	a := ask("/", "<current-user-principal/><displayname/><nonsense xmlns='urn:x'/>", "0")
	principal, status := a.property("/", nsDAV, "current-user-principal")
	if status != "200" || principal.kid(nsDAV, "href").text != "/principals/mdupont/" {
		t.Fatal(a.body)
	}
	if _, status := a.property("/", "urn:x", "nonsense"); status != "404" {
		t.Error(a.body)
	}
	a = ask("/principals/mdupont/", "<C:calendar-home-set/><R:addressbook-home-set/><C:calendar-user-address-set/>", "0")
	for space, want := range map[string][2]string{nsCalDAV: {"calendar-home-set", "/calendars/mdupont/"}, nsCardDAV: {"addressbook-home-set", "/addressbooks/mdupont/"}} {
		if n, _ := a.property("/principals/mdupont/", space, want[0]); n == nil || n.kid(nsDAV, "href").text != want[1] {
			t.Errorf("%s: %s", want[0], a.body)
		}
	}
	a = ask("/calendars/mdupont/", "<resourcetype/><displayname/><S:getctag/><sync-token/><C:supported-calendar-component-set/><current-user-privilege-set/><supported-report-set/>", "1")
	for _, path := range []string{"/calendars/mdupont/personnel/", "/calendars/mdupont/etablissement/"} {
		kind, _ := a.property(path, nsDAV, "resourcetype")
		if kind.kid(nsCalDAV, "calendar") == nil {
			t.Fatalf("%s is no calendar: %s", path, a.body)
		}
		for _, p := range [][2]string{{nsDAV, "displayname"}, {nsCS, "getctag"}, {nsDAV, "sync-token"}, {nsCalDAV, "supported-calendar-component-set"}} {
			if n, status := a.property(path, p[0], p[1]); n == nil || status != "200" {
				t.Errorf("%s has no %s", path, p[1])
			}
		}
		rights, _ := a.property(path, nsDAV, "current-user-privilege-set")
		writes := false
		for _, privilege := range rights.kids {
			writes = writes || privilege.kid(nsDAV, "write") != nil
		}
		if writes != strings.Contains(path, "personnel") {
			t.Errorf("%s: may write: %v", path, writes)
		}
	}
	a = ask("/addressbooks/mdupont/", "<resourcetype/>", "1")
	if kind, _ := a.property("/addressbooks/mdupont/contacts/", nsDAV, "resourcetype"); kind.kid(nsCardDAV, "addressbook") == nil {
		t.Error(a.body)
	}
	c.want(403, c.do("PROPFIND", "/", "", "Depth: infinity"))
	c.want(400, c.do("PROPFIND", "/", `<!DOCTYPE x [<!ENTITY e "boum">]><propfind xmlns="DAV:"><prop>&e;</prop></propfind>`, "Depth: 0"))
	c.want(400, c.do("PROPFIND", "/", strings.Repeat("<a>", 200)+strings.Repeat("</a>", 200), "Depth: 0"))
}

func TestObjectsComeBackByteForByte(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	// Odd order, lower case, a folded line in the middle of a character's neighbours, bare LF, unknown properties.
	data := "BEGIN:VCALENDAR\nprodid:-//x//\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nX-ÉTRANGE;FOO=\"a:b;c\":é&<>]]>\r\nUID:bytes\r\nSUMMARY:Réunion de très longue haleine avec\r\n  pliage\r\n" +
		"DTSTART;TZID=Europe/Paris:20261123T100000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n\r\n"
	put := c.want(201, c.do("PUT", emptyCalendar+"caf%C3%A9%20%26%20th%C3%A9.ics", data, "Content-Type: text/calendar; charset=utf-8"))
	got := c.want(200, c.do("GET", emptyCalendar+"caf%C3%A9%20&%20th%C3%A9.ics", ""))
	if got.body != data || got.Header.Get("ETag") != put.Header.Get("ETag") || strings.HasPrefix(put.Header.Get("ETag"), "W/") {
		t.Errorf("GET changed it: %q (%s, put %s)", got.body, got.Header.Get("ETag"), put.Header.Get("ETag"))
	}
	c.want(304, c.do("GET", emptyCalendar+"caf%C3%A9%20&%20th%C3%A9.ics", "", "If-None-Match: "+got.Header.Get("ETag")))
	a := c.want(207, c.do("REPORT", emptyCalendar, `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/><C:calendar-data/></D:prop>`+
		`<C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>`))
	path := emptyCalendar + "caf%C3%A9%20&%20th%C3%A9.ics"
	inside, _ := a.property(path, nsCalDAV, "calendar-data")
	if inside == nil || inside.text != data {
		t.Errorf("REPORT changed it: %+v\n%s", inside, a.body)
	}
}

func TestNobodysChangeIsOverwritten(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	path := emptyCalendar + "a.ics"
	one, two := event("a", "DTSTART:20261123T100000Z\nSUMMARY:un"), event("a", "DTSTART:20261123T100000Z\nSUMMARY:deux")
	c.want(412, c.do("PUT", path, one, "If-Match: *"))
	c.want(412, c.do("PUT", path, one, `If-Match: "x"`))
	first := c.want(201, c.do("PUT", path, one, "If-None-Match: *")).Header.Get("ETag")
	c.want(412, c.do("PUT", path, two, "If-None-Match: *"))
	c.want(412, c.do("PUT", path, two, "If-None-Match: "+first))
	second := c.want(204, c.do("PUT", path, two, `If-Match: "other", `+first)).Header.Get("ETag")
	c.want(412, c.do("PUT", path, one, "If-Match: "+first))
	c.want(412, c.do("PUT", path, one, "If-Match: W/"+second))
	if got := c.do("GET", path, ""); got.body != two || got.Header.Get("ETag") != second {
		t.Errorf("stored %q", got.body)
	}
	third := c.want(204, c.do("PUT", path, two, "If-Match: "+second)).Header.Get("ETag")
	if third == second {
		t.Error("the ETag did not change with a new PUT")
	}
	c.want(412, c.do("DELETE", path, "", "If-Match: "+second))
	c.want(204, c.do("DELETE", path, "", "If-Match: "+third))
	c.want(404, c.do("DELETE", path, ""))
	c.want(412, c.do("DELETE", path, "", "If-Match: "+third))
	c.want(404, c.do("GET", path, ""))
}

func TestOfManyWhoChangeAnEventAtOnceOneWins(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	etag := c.want(201, c.do("PUT", emptyCalendar+"a.ics", event("a", "DTSTART:20261123T100000Z"))).Header.Get("ETag")
	statuses := make(chan int)
	for i := range 16 {
		go func() {
			statuses <- c.do("PUT", emptyCalendar+"a.ics", event("a", fmt.Sprintf("DTSTART:20261123T100000Z\nSUMMARY:%d", i)), "If-Match: "+etag).StatusCode
		}()
	}
	won := 0
	for range 16 {
		switch status := <-statuses; status {
		case 204:
			won++
		case 412:
		default:
			t.Errorf("status %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d changes won", won)
	}
}

func TestWhatIsNoEventOrCardIsRefusedWithItsReason(t *testing.T) {
	c, _ := startDAV(t)
	c.makeCalendar()
	good := event("a", "DTSTART:20261123T100000Z")
	c.want(201, c.do("PUT", emptyCalendar+"a.ics", good))
	for _, try := range []struct{ name, path, body, want string }{
		{"garbage", emptyCalendar + "x.ics", "garbage", "valid-calendar-data"},
		{"unclosed", emptyCalendar + "x.ics", strings.TrimSuffix(good, "END:VCALENDAR\r\n"), "valid-calendar-data"},
		{"not UTF-8", emptyCalendar + "x.ics", event("x", "DTSTART:20261123T100000Z\nSUMMARY:\xe9t\xe9"), "valid-calendar-data"},
		{"a method", emptyCalendar + "x.ics", strings.Replace(event("x", "DTSTART:20261123T100000Z"), "PRODID", "METHOD:REQUEST\r\nPRODID", 1), "valid-calendar-object-resource"},
		{"two UIDs", emptyCalendar + "x.ics", strings.Replace(event("x", "DTSTART:20261123T100000Z"), "END:VCALENDAR", "BEGIN:VEVENT\r\nUID:y\r\nDTSTART:20261123T100000Z\r\nEND:VEVENT\r\nEND:VCALENDAR", 1), "valid-calendar-object-resource"},
		{"journal", emptyCalendar + "x.ics", strings.ReplaceAll(event("x", "DTSTART:20261123T100000Z"), "VEVENT", "VJOURNAL"), "supported-calendar-component"},
		{"too big", emptyCalendar + "x.ics", event("x", "DTSTART:20261123T100000Z\nDESCRIPTION:"+strings.Repeat("x", mostObjectBytes)), "max-resource-size"},
		{"the UID of another", emptyCalendar + "x.ics", good, "no-uid-conflict"},
		{"a changed UID", emptyCalendar + "a.ics", event("b", "DTSTART:20261123T100000Z"), "no-uid-conflict"},
		{"no card", "/addressbooks/mdupont/contacts/x.vcf", "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Sans UID\r\nEND:VCARD\r\n", "valid-address-data"},
		{"an old card", "/addressbooks/mdupont/contacts/x.vcf", "BEGIN:VCARD\r\nVERSION:2.1\r\nFN:X\r\nUID:x\r\nEND:VCARD\r\n", "supported-address-data"},
		{"a shared calendar", "/calendars/mdupont/etablissement/x.ics", event("x", "DTSTART:20261123T100000Z"), "need-privileges"},
	} {
		a := c.do("PUT", try.path, try.body)
		if a.StatusCode != 403 && a.StatusCode != 409 || a.root == nil || len(a.root.kids) != 1 || a.root.kids[0].name.Local != try.want {
			t.Errorf("%s: %s %s", try.name, a.Status, a.body)
		}
	}
	c.want(415, c.do("PUT", emptyCalendar+"x.ics", good, "Content-Type: text/vcard"))
	c.want(415, c.do("PUT", emptyCalendar+"x.ics", good, "Content-Type: text/calendar; charset=iso-8859-1"))
	c.want(409, c.do("PUT", "/calendars/mdupont/nulle-part/x.ics", good))
	c.want(405, c.do("LOCK", emptyCalendar, ""))
	c.want(403, c.do("DELETE", "/calendars/mdupont/etablissement/", ""))
	c.want(403, c.do("DELETE", "/calendars/mdupont/", ""))
}
