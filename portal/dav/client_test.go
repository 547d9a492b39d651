package dav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answers serves fixed answers by method and path, as servers of other makes
// give them.
func answers(t *testing.T, routes map[string]func(w http.ResponseWriter, r *http.Request)) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := routes[r.Method+" "+r.URL.EscapedPath()]; h != nil {
			h(w, r)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(s.Close)
	server, err := NewServer(s.URL+"/SOGo/dav/{login}/", Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return server.For("mdupont")
}

func multi(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = fmt.Fprint(w, body)
	}
}

const sogoHome = `<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>/SOGo/dav/mdupont/</D:href><D:propstat><D:prop>` +
	`<n1:calendar-home-set xmlns:n1="urn:ietf:params:xml:ns:caldav"><D:href>/SOGo/dav/mdupont/Calendar/</D:href></n1:calendar-home-set></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>`

func TestSOGosAnswersAreUnderstood(t *testing.T) {
	c := answers(t, map[string]func(http.ResponseWriter, *http.Request){
		"PROPFIND /SOGo/dav/mdupont/": multi(sogoHome),
		"PROPFIND /SOGo/dav/mdupont/Calendar/": multi(`<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:" xmlns:n1="urn:ietf:params:xml:ns:caldav" xmlns:n2="http://apple.com/ns/ical/" xmlns:n3="http://calendarserver.org/ns/">
<D:response><D:href>/SOGo/dav/mdupont/Calendar/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response><D:href>/SOGo/dav/mdupont/Calendar/personal/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/><n1:calendar/></D:resourcetype><D:displayname>Agenda &amp; co</D:displayname><n2:calendar-color>#A5382AFF
</n2:calendar-color><n3:getctag>17</n3:getctag><n1:supported-calendar-component-set><n1:comp name="VEVENT"/><n1:comp name="VTODO"/></n1:supported-calendar-component-set></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><D:current-user-privilege-set/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
<D:response><D:href>/SOGo/dav/mdupont/Calendar/jmartin_personal/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/><n1:calendar/></D:resourcetype><D:displayname>Jean</D:displayname>
<D:current-user-privilege-set><D:privilege><D:read/></D:privilege><D:privilege><D:read-acl/></D:privilege></D:current-user-privilege-set></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response><D:href>https://evil.test/Calendar/x/</D:href><D:propstat><D:prop><D:resourcetype><n1:calendar/></D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
</D:multistatus>`),
	})
	list, err := c.Collections(t.Context(), Calendars)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if a := list[0]; a.Name != "Agenda & co" || a.Color != "#a5382a" || a.ReadOnly || a.CTag != "17" || !a.Events {
		t.Errorf("%+v", a)
	}
	if b := list[1]; b.Name != "Jean" || !b.ReadOnly {
		t.Errorf("%+v", b)
	}
}

func TestOneBadObjectNeverHidesTheOthers(t *testing.T) {
	object := func(name, data string) string {
		return `<d:response><d:href>/c/` + name + `</d:href><d:propstat><d:prop><d:getetag>W/"1"</d:getetag><c:calendar-data>` + data + `</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`
	}
	body := `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">` + object("good.ics", "BEGIN:VCALENDAR&#13;\nEND:VCALENDAR") +
		object("control.ics", "a\x0b\x00b") + object("reference.ics", "a&#11;&#xFFFFFFFF;&#0;b") + object("latin.ics", "caf\xe9") + object("empty.ics", "") +
		`<d:response><d:href>/c/gone.ics</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>` +
		`<d:response><d:href>/c/%2e%2e/%2e%2e/etc</d:href></d:response><d:response><d:href>//evil.test/x.ics</d:href></d:response><d:response><d:href>http://user@127.0.0.1/x</d:href></d:response>` +
		object("last.ics", "BEGIN:VCALENDAR\nEND:VCALENDAR") + `</d:multistatus>`
	c := answers(t, map[string]func(http.ResponseWriter, *http.Request){"REPORT /c/": multi(body), "REPORT /cut/": multi(body[:strings.Index(body, "caf\xe9")])})
	all, err := c.Between(t.Context(), "/c/", time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range all {
		got = append(got, fmt.Sprintf("%s:%t", o.Href, o.Err == nil))
	}
	if strings.Join(got, " ") != "/c/good.ics:true /c/control.ics:true /c/reference.ics:true /c/latin.ics:true /c/empty.ics:false /c/gone.ics:false /c/last.ics:true" {
		t.Fatal(got)
	}
	if cut, err := c.Between(t.Context(), "/cut/", time.Now(), time.Now().Add(time.Hour)); err != nil || len(cut) != 3 {
		t.Fatalf("an answer that breaks off: %d objects, %v", len(cut), err)
	}
}

func TestAnAnswerIsBoundedAndStaysOnItsServer(t *testing.T) {
	deep := strings.Repeat("<a>", 10_000)
	c := answers(t, map[string]func(http.ResponseWriter, *http.Request){
		"REPORT /deep/":     multi(`<d:multistatus xmlns:d="DAV:">` + deep),
		"REPORT /entities/": multi(`<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><d:multistatus xmlns:d="DAV:">&b;</d:multistatus>`),
		"REPORT /html/":     multi(`<html><body>Login</body></html>`),
		"REPORT /nothing/":  multi(``),
		"REPORT /elsewhere/": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.test/", http.StatusMovedPermanently)
		},
		"REPORT /circle/": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/circle/", http.StatusMovedPermanently)
		},
		"REPORT /slow/": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		},
		"REPORT /endless/": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusMultiStatus)
			for range maxAnswer/1024 + 10 {
				if _, err := w.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		},
		"REPORT /moved": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/here/", http.StatusMovedPermanently)
		},
		"REPORT /here/": multi(`<d:multistatus xmlns:d="DAV:"/>`),
	})
	for _, path := range []string{"/deep/", "/entities/", "/html/", "/nothing/", "/elsewhere/", "/circle/", "/slow/", "/endless/"} {
		begun := time.Now()
		if _, err := c.Between(t.Context(), path, time.Now(), time.Now()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", path, err)
		}
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
	if _, err := c.Between(t.Context(), "/moved", time.Now(), time.Now()); err != nil {
		t.Errorf("moved on the same server: %v", err)
	}
}

func TestEveryWriteIsConditional(t *testing.T) {
	var header http.Header
	store := func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		w.Header().Set("ETag", `W/"weak"`)
		w.WriteHeader(http.StatusNoContent)
	}
	c := answers(t, map[string]func(http.ResponseWriter, *http.Request){"PUT /x.ics": store, "DELETE /x.ics": store,
		"PUT /late.ics": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPreconditionFailed) }})
	ctx := t.Context()
	if tag, err := c.Create(ctx, "/x.ics", "text/calendar", "x"); err != nil || header.Get("If-None-Match") != "*" || tag != `W/"weak"` {
		t.Error(tag, err, header)
	}
	if tag, err := c.Update(ctx, "/x.ics", "text/calendar", "x", `W/"old"`); err != nil || header.Get("If-Match") != `W/"old"` || tag != `W/"weak"` {
		t.Error(tag, err, header)
	}
	if err := c.Delete(ctx, "/x.ics", `"v"`); err != nil || header.Get("If-Match") != `"v"` {
		t.Error(err, header)
	}
	if _, err := c.Update(ctx, "/x.ics", "text/calendar", "x", ""); !errors.Is(err, ErrNoETag) {
		t.Error(err)
	}
	if err := c.Delete(ctx, "/x.ics", ""); !errors.Is(err, ErrNoETag) {
		t.Error(err)
	}
	if _, err := c.Update(ctx, "/late.ics", "text/calendar", "x", `"v"`); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if !SameETag(`W/"1"`, `"1"`) || SameETag("", "") || SameETag(`"1"`, `"2"`) {
		t.Error("ETags are compared wrongly")
	}
}

func TestALoginThatCannotStandInAHeaderIsNobody(t *testing.T) {
	for _, login := range []string{"", "a\r\nX-Remote-User: root", "émile", "a b"} {
		r, _ := http.NewRequest(http.MethodGet, "http://x.test", nil)
		err := TrustedHeader{Name: "X-Remote-User", Login: func(context.Context) string { return login }}.Authorize(t.Context(), r)
		if !errors.Is(err, ErrSignIn) || len(r.Header) != 0 {
			t.Errorf("%q: %v %v", login, err, r.Header)
		}
	}
}
