package dav_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/testpeer"
	"beffroi/portal/dav"
)

func paris(t *testing.T) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func as(login string) func(context.Context) string {
	return func(context.Context) string { return login }
}

func radicale(t *testing.T) *testpeer.RadicaleServer { return testpeer.Radicale(t) }

func person(t *testing.T, s *testpeer.RadicaleServer, login string) *dav.Client {
	t.Helper()
	server, err := dav.NewServer(s.URL, dav.Options{Auth: dav.TrustedHeader{Name: s.Header, Login: as(login)}})
	if err != nil {
		t.Fatal(err)
	}
	return server.For(login)
}

func TestRadicaleFromFirstVisitToDeletion(t *testing.T) {
	s := radicale(t)
	c := person(t, s, "mdupont")
	ctx := t.Context()
	list, err := c.Collections(ctx, dav.Calendars)
	if err != nil || len(list) != 0 {
		t.Fatalf("a new person has %d calendars, %v", len(list), err)
	}
	for range 2 { // two tabs
		if err := c.CreateCalendar(ctx, "agenda", "Agenda & réunions", "#a5382a"); err != nil {
			t.Fatal(err)
		}
	}
	list, err = c.Collections(ctx, dav.Calendars)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d calendars, %v", len(list), err)
	}
	cal := list[0]
	if cal.Name != "Agenda & réunions" || cal.Color != "#a5382a" || cal.ReadOnly || !cal.Events || cal.CTag == "" || cal.SyncToken == "" {
		t.Fatalf("calendar is %+v", cal)
	}

	loc := paris(t)
	start := time.Date(2026, 11, 24, 10, 0, 0, 0, loc)
	event := dav.NewCalendar("uid-1@portal", dav.Fields{Summary: "Conseil d'école ; salle 2", Start: start, End: start.Add(time.Hour), Repeat: "WEEKLY"}, loc, start)
	href := cal.Href + "uid-1.ics"
	if _, err := c.Create(ctx, href, "text/calendar; charset=utf-8", event.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(ctx, href, "text/calendar; charset=utf-8", event.String()); !errors.Is(err, dav.ErrConflict) {
		t.Fatalf("creating again: %v", err)
	}
	objects, err := c.Between(ctx, cal.Href, start.AddDate(0, 0, 21), start.AddDate(0, 0, 22))
	if err != nil || len(objects) != 1 || objects[0].Href != href || objects[0].Err != nil {
		t.Fatalf("the repetition three weeks later: %+v, %v", objects, err)
	}
	parsed, err := dav.ParseCalendar(objects[0].Data, loc)
	if err != nil {
		t.Fatal(err)
	}
	found, err := parsed.Expand(start.AddDate(0, 0, 21), start.AddDate(0, 0, 22), time.Time{})
	if err != nil || len(found) != 1 || !found[0].Start.Equal(start.AddDate(0, 0, 21)) || found[0].Summary != "Conseil d'école ; salle 2" {
		t.Fatalf("%+v %v", found, err)
	}

	changes, err := c.Sync(ctx, cal.Href, "")
	if err != nil || len(changes.Changed) != 1 {
		t.Fatalf("first sync: %+v, %v", changes, err)
	}
	stored, err := c.Get(ctx, href)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, href, `"another"`); !errors.Is(err, dav.ErrConflict) {
		t.Fatalf("deleting another version: %v", err)
	}
	if err := c.Delete(ctx, href, stored.ETag); err != nil {
		t.Fatal(err)
	}
	changes, err = c.Sync(ctx, cal.Href, changes.Token)
	if err != nil || len(changes.Deleted) != 1 || changes.Deleted[0] != href {
		t.Fatalf("second sync: %+v, %v", changes, err)
	}
	if _, err := c.Sync(ctx, cal.Href, "http://radicale.org/ns/sync/0000000000000000000000000000000000000000000000000000000000000000"); !errors.Is(err, dav.ErrToken) {
		t.Fatalf("unknown token: %v", err)
	}
	if _, err := c.Get(ctx, href); !errors.Is(err, dav.ErrNotFound) {
		t.Fatalf("after deletion: %v", err)
	}
}

func TestTwoEditorsNeverOverwriteOneAnother(t *testing.T) {
	s := radicale(t)
	c := person(t, s, "mdupont")
	ctx := t.Context()
	if err := c.CreateCalendar(ctx, "agenda", "Agenda", ""); err != nil {
		t.Fatal(err)
	}
	list, err := c.Collections(ctx, dav.Calendars)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	loc := paris(t)
	start := time.Date(2026, 11, 24, 10, 0, 0, 0, loc)
	href := list[0].Href + "shared.ics"
	if _, err := c.Create(ctx, href, "text/calendar", dav.NewCalendar("shared", dav.Fields{Summary: "0", Start: start, End: start}, loc, start).String()); err != nil {
		t.Fatal(err)
	}
	// Eight editors add one line each, again and again when they lose.
	const editors, rounds = 8, 4
	var lost atomic.Int64
	var wg sync.WaitGroup
	for e := range editors {
		wg.Go(func() {
			for r := range rounds {
				for {
					o, err := c.Get(ctx, href)
					if err != nil {
						t.Error(err)
						return
					}
					parsed, err := dav.ParseCalendar(o.Data, loc)
					if err != nil {
						t.Error(err)
						return
					}
					occ, err := parsed.Find("")
					if err != nil {
						t.Error(err)
						return
					}
					f := dav.Fields{Summary: occ.Summary + " " + string(rune('a'+e)) + string(rune('0'+r)), Start: occ.Start, End: occ.End}
					if err := parsed.ChangeOne(occ, f, time.Now()); err != nil {
						t.Error(err)
						return
					}
					_, err = c.Update(ctx, href, "text/calendar", parsed.String(), o.ETag)
					if errors.Is(err, dav.ErrConflict) {
						lost.Add(1)
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					break
				}
			}
		})
	}
	wg.Wait()
	o, err := c.Get(ctx, href)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := dav.ParseCalendar(o.Data, loc)
	if err != nil {
		t.Fatal(err)
	}
	occ, err := parsed.Find("")
	if err != nil {
		t.Fatal(err)
	}
	for e := range editors {
		for r := range rounds {
			if word := string(rune('a'+e)) + string(rune('0'+r)); !strings.Contains(occ.Summary, word) {
				t.Errorf("the change %s was lost: %q", word, occ.Summary)
			}
		}
	}
	t.Logf("%d conflicts met", lost.Load())
}

func TestOneBadCardNeverHidesTheOthers(t *testing.T) {
	s := radicale(t)
	c := person(t, s, "ssmith")
	ctx := t.Context()
	if err := c.CreateAddressBook(ctx, "contacts", "Contacts"); err != nil {
		t.Fatal(err)
	}
	books, err := c.Collections(ctx, dav.AddressBooks)
	if err != nil || len(books) != 1 || books[0].Name != "Contacts" || books[0].ReadOnly {
		t.Fatal(books, err)
	}
	for _, name := range []string{"Ada", "Zoé"} {
		card := dav.NewCard(name + "@portal")
		card.Change(dav.CardFields{Given: name, Family: "Lœwe", Emails: []dav.Value{{Value: name + "@example.test", Kind: "work"}}})
		if _, err := c.Create(ctx, books[0].Href+name[:2]+".vcf", "text/vcard; charset=utf-8", card.String()); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := c.Cards(ctx, books[0].Href)
	if err != nil || len(objects) != 2 {
		t.Fatal(objects, err)
	}
	if again, err := c.Multiget(ctx, dav.AddressBooks, books[0].Href, []string{objects[0].Href, books[0].Href + "none.vcf"}); err != nil || len(again) != 2 {
		t.Fatal(again, err)
	} else if (again[0].Err == nil) == (again[1].Err == nil) || again[0].Data+again[1].Data != objects[0].Data {
		t.Fatalf("one is there and one is not: %+v", again)
	}
}

func TestAnotherPersonsCalendarIsRefused(t *testing.T) {
	s := radicale(t)
	mine := person(t, s, "mdupont")
	if err := mine.CreateCalendar(t.Context(), "agenda", "Agenda", ""); err != nil {
		t.Fatal(err)
	}
	other := person(t, s, "ssmith")
	if _, err := other.Between(t.Context(), "/mdupont/agenda/", time.Now(), time.Now().Add(time.Hour)); !errors.Is(err, dav.ErrForbidden) && !errors.Is(err, dav.ErrNotFound) {
		t.Fatalf("reading: %v", err)
	}
	if _, err := other.Create(t.Context(), "/mdupont/agenda/x.ics", "text/calendar", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"); err == nil {
		t.Fatal("writing was let through")
	}
}
