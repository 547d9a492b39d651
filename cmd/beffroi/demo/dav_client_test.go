package demo

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-webdav"
	caldavclient "github.com/emersion/go-webdav/caldav"
	carddavclient "github.com/emersion/go-webdav/carddav"
)

type bearerClient struct{ token string }

func (b bearerClient) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultClient.Do(req)
}

// Another's client reads what this server writes: discovery, properties,
// queries and sync as go-webdav understands the standards.
func TestAnIndependentClientUnderstandsTheServer(t *testing.T) {
	c, _ := startDAV(t)
	ctx, client := t.Context(), bearerClient{"mdupont-dav"}
	dav, err := webdav.NewClient(client, c.base)
	if err != nil {
		t.Fatal(err)
	}
	principal, err := dav.FindCurrentUserPrincipal(ctx)
	if err != nil || principal != "/principals/mdupont/" {
		t.Fatalf("principal %q, %v", principal, err)
	}
	cal, err := caldavclient.NewClient(client, c.base)
	if err != nil {
		t.Fatal(err)
	}
	home, err := cal.FindCalendarHomeSet(ctx, principal)
	if err != nil {
		t.Fatal(err)
	}
	calendars, err := cal.FindCalendars(ctx, home)
	if err != nil || len(calendars) != 2 {
		t.Fatalf("calendars %+v, %v", calendars, err)
	}
	for _, calendar := range calendars {
		if calendar.Name != "Personnel" && calendar.Name != "Établissement" || len(calendar.SupportedComponentSet) != 2 {
			t.Errorf("calendar %+v", calendar)
		}
		now := time.Now()
		objects, err := cal.QueryCalendar(ctx, calendar.Path, &caldavclient.CalendarQuery{
			CompRequest: caldavclient.CalendarCompRequest{Name: "VCALENDAR", AllProps: true, AllComps: true},
			CompFilter:  caldavclient.CompFilter{Name: "VCALENDAR", Comps: []caldavclient.CompFilter{{Name: "VEVENT", Start: now.AddDate(0, 0, -7), End: now.AddDate(0, 0, 7)}}},
		})
		if err != nil || len(objects) < 5 {
			t.Fatalf("%s: %d objects, %v", calendar.Path, len(objects), err)
		}
		got, err := cal.GetCalendarObject(ctx, objects[0].Path)
		if err != nil || got.ETag != objects[0].ETag || got.ETag == "" {
			t.Errorf("object %+v, %v", got, err)
		}
	}
	card, err := carddavclient.NewClient(client, c.base)
	if err != nil {
		t.Fatal(err)
	}
	books, err := card.FindAddressBooks(ctx, "/addressbooks/mdupont/")
	if err != nil || len(books) != 2 {
		t.Fatalf("books %+v, %v", books, err)
	}
	found, err := card.QueryAddressBook(ctx, books[0].Path, &carddavclient.AddressBookQuery{
		DataRequest: carddavclient.AddressDataRequest{AllProp: true},
		PropFilters: []carddavclient.PropFilter{{Name: "FN", TextMatches: []carddavclient.TextMatch{{Text: "haddad", MatchType: carddavclient.MatchContains}}}},
	})
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Card.Value("FN"), "Haddad") {
		t.Fatalf("found %+v, %v", found, err)
	}
	synced, err := card.SyncCollection(ctx, books[0].Path, &carddavclient.SyncQuery{})
	if err != nil || len(synced.Updated) < 20 || synced.SyncToken == "" {
		t.Fatalf("synced %+v, %v", synced, err)
	}
	again, err := card.SyncCollection(ctx, books[0].Path, &carddavclient.SyncQuery{SyncToken: synced.SyncToken})
	if err != nil || len(again.Updated)+len(again.Deleted) != 0 {
		t.Fatalf("synced again %+v, %v", again, err)
	}
}
