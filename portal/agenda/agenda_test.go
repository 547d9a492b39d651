package agenda_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testpeer"
	"beffroi/portal"
	"beffroi/portal/agenda"
	"beffroi/portal/portaltest"
)

func start(t *testing.T) (*portaltest.Rig, *testpeer.RadicaleServer) {
	t.Helper()
	s := testpeer.Radicale(t)
	return portaltest.New(t, portal.Config{DAV: portal.DAVConfig{CalDAV: s.URL, Auth: "header", Header: s.Header}}, agenda.New()), s
}

func form(title string, more ...string) url.Values {
	f := url.Values{"title": {title}, "start_day": {"2026-11-24"}, "start_time": {"10:00"}, "end_day": {"2026-11-24"}, "end_time": {"11:00"}, "place": {"Salle <4>"}, "description": {"Ordre du jour"}}
	for i := 0; i+1 < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return f
}

const week = "/agenda/?day=2026-11-24"

// create makes an event on the form and gives the address of its page.
func create(t *testing.T, b *portaltest.Browser, f url.Values) string {
	t.Helper()
	page := b.Get("/agenda/new?day=2026-11-24").Want(t, 200, "Mon agenda")
	_, rest, _ := strings.Cut(page.Body, `<option value="`)
	id, _, _ := strings.Cut(rest, `"`)
	f.Set("calendar", id)
	made := b.Post("/agenda/new", f)
	made.Want(t, 303)
	path := b.Get(week).Want(t, 200, f.Get("title")).Link("/agenda/event/")
	if path == "" {
		t.Fatal("no link to the event")
	}
	return path
}

func TestFromTheFirstVisitToTheDeletionOfAnEvent(t *testing.T) {
	rig, _ := start(t)
	b := rig.SignIn("mdupont")
	b.Get("/agenda/").Want(t, 200, "Mon agenda", "Nouveau")
	path := create(t, b, form("Conseil de classe"))
	b.Get(path).Want(t, 200, "Salle &lt;4&gt;", "Ordre du jour", "10:00", "mardi 24 novembre 2026")
	b.Get("/agenda/?view=list&day=2026-11-20").Want(t, 200, "Conseil de classe")
	b.Get("/agenda/badge").Want(t, 200, "Plus rien de prévu")

	edit := b.Get(path+"/edit").Want(t, 200, "Conseil de classe", `value="10:00"`)
	b.Post(path+"/edit", form("Conseil reporté", "etag", edit.Input("etag"), "start_time", "14:30", "end_time", "15:30")).Want(t, 303)
	b.Get(week).Want(t, 200, "Conseil reporté", "14:30")

	ask := b.Get(path+"/delete").Want(t, 200, "Supprimer cet événement")
	b.Post(path+"/delete", url.Values{"etag": {ask.Input("etag")}}).Want(t, 303)
	if page := b.Get(week).Want(t, 200); strings.Contains(page.Body, "Conseil reporté") {
		t.Fatal("the event is still there")
	}
	b.Get(path).Want(t, 404)
}

func TestTheSlowerEditorKeepsTheirInputAndSeesTheOther(t *testing.T) {
	rig, _ := start(t)
	one, two := rig.SignIn("mdupont"), rig.SignIn("mdupont")
	path := create(t, one, form("Réunion"))
	first, second := one.Get(path+"/edit"), two.Get(path+"/edit")
	one.Post(path+"/edit", form("Réunion chez Anne", "etag", first.Input("etag"))).Want(t, 303)
	conflict := two.Post(path+"/edit", form("Réunion à distance", "etag", second.Input("etag"))).Want(t, 409, "a été modifié entre-temps", "Réunion chez Anne", `value="Réunion à distance"`)
	one.Get(week).Want(t, 200, "Réunion chez Anne")
	two.Post(path+"/edit", form("Réunion à distance", "etag", conflict.Input("etag"))).Want(t, 303)
	one.Get(week).Want(t, 200, "Réunion à distance")

	// Deleting what somebody has just changed shows the change first.
	ask := one.Get(path + "/delete")
	two.Post(path+"/edit", form("Réunion à 11 h", "etag", two.Get(path+"/edit").Input("etag"))).Want(t, 303)
	ask = one.Post(path+"/delete", url.Values{"etag": {ask.Input("etag")}}).Want(t, 409, "Réunion à 11 h")
	edit := two.Get(path + "/edit")
	one.Post(path+"/delete", url.Values{"etag": {ask.Input("etag")}}).Want(t, 303)

	// Editing what somebody has just deleted keeps the input.
	gone := two.Post(path+"/edit", form("Ma version", "etag", edit.Input("etag"))).Want(t, 409, "a été supprimé entre-temps", `value="Ma version"`, `action="/agenda/new"`)
	_ = gone
}

func TestOneDateOfASeriesOrAllOfThem(t *testing.T) {
	rig, _ := start(t)
	b := rig.SignIn("mdupont")
	path := create(t, b, form("Permanence", "repeat", "weekly"))
	base, _, _ := strings.Cut(path, "?")
	at := func(key string) string { return base + "/edit?at=" + key }
	b.Get("/agenda/?day=2026-12-01").Want(t, 200, "Permanence", "at=20261201T090000Z")
	edit := b.Get(at("20261201T090000Z")).Want(t, 200, "seulement cette date")
	b.Post(base+"/edit", form("Permanence à la mairie", "etag", edit.Input("etag"), "key", "20261201T090000Z", "scope", "one", "start_day", "2026-12-02", "end_day", "2026-12-02")).Want(t, 303)
	b.Get("/agenda/?day=2026-12-01").Want(t, 200, "Permanence à la mairie")
	if page := b.Get("/agenda/?day=2026-12-08").Want(t, 200, "Permanence"); strings.Contains(page.Body, "mairie") {
		t.Fatal("the other dates changed too")
	}
	ask := b.Get(base+"/delete?at=20261208T090000Z").Want(t, 200, "Supprimer seulement cette date")
	b.Post(base+"/delete", url.Values{"etag": {ask.Input("etag")}, "key": {"20261208T090000Z"}, "scope": {"one"}}).Want(t, 303)
	if page := b.Get("/agenda/?day=2026-12-08").Want(t, 200); strings.Contains(page.Body, "Permanence") {
		t.Fatal("the date is still there")
	}
	edit = b.Get(at("20261215T090000Z"))
	b.Post(base+"/edit", form("Permanence du soir", "etag", edit.Input("etag"), "key", "20261215T090000Z", "scope", "all", "start_day", "2026-12-15", "end_day", "2026-12-15", "start_time", "17:00", "end_time", "18:00")).Want(t, 303)
	b.Get(week).Want(t, 200, "Permanence du soir", "17:00")
	b.Get("/agenda/?day=2026-12-22").Want(t, 200, "Permanence du soir", "17:00")
	if page := b.Get("/agenda/?day=2026-12-08").Want(t, 200); strings.Contains(page.Body, "Permanence") {
		t.Fatal("the removed date came back")
	}
	ask = b.Get(base+"/delete?at=20261222T160000Z").Want(t, 200)
	b.Post(base+"/delete", url.Values{"etag": {ask.Input("etag")}, "key": {"20261222T160000Z"}, "scope": {"all"}}).Want(t, 303)
	if page := b.Get(week).Want(t, 200); strings.Contains(page.Body, "Permanence") {
		t.Fatal("the series is still there")
	}
}

func TestAMistakeInTheFormKeepsWhatWasTyped(t *testing.T) {
	rig, _ := start(t)
	b := rig.SignIn("mdupont")
	b.Get("/agenda/").Want(t, 200)
	for problem, f := range map[string]url.Values{
		"Il manque un titre": form(""), "La fin doit venir après": form("x", "end_time", "09:00"), "n’est pas lisible": form("x", "start_day", "demain"), "Choisissez un calendrier": form("x", "calendar", "nobody"),
	} {
		b.Post("/agenda/new", f).Want(t, 422, problem, "Ordre du jour", "Salle &lt;4&gt;")
	}
}

func TestAnUnreadableEventIsNamedAndTheOthersStand(t *testing.T) {
	rig, s := start(t)
	b := rig.SignIn("mdupont")
	create(t, b, form("Lisible"))
	s.Put("mdupont", "/mdupont/agenda/odd.ics", "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:odd\nDTSTAMP:20261101T000000Z\nDTSTART:20261124T080000Z\nRRULE:FREQ=SECONDLY\nSUMMARY:Sirène\nEND:VEVENT\nEND:VCALENDAR\n")
	b.Get(week).Want(t, 200, "Lisible", "Un événement ne peut pas être affiché", "Sirène")
}

func TestHiddenCalendarsStayHiddenAndNobodyElseSees(t *testing.T) {
	rig, s := start(t)
	b := rig.SignIn("mdupont")
	create(t, b, form("Visible"))
	s.MakeCalendar("mdupont", "projet", "Projet")
	time.Sleep(10 * time.Millisecond)
	b.Post("/agenda/calendars", url.Values{"next": {week}}).Want(t, 303)
	if page := b.Get(week).Want(t, 200); strings.Contains(page.Body, ">Visible<") {
		t.Fatal("hidden calendars are shown")
	}
	if to := b.Post("/agenda/calendars", url.Values{"next": {"//evil.test/"}}).Location; to != "/agenda/" {
		t.Fatalf("leads to %q", to)
	}
	other := rig.SignIn("ssmith")
	if page := other.Get(week).Want(t, 200); strings.Contains(page.Body, "Visible") {
		t.Fatal("somebody else's event is shown")
	}
	path := create(t, other, form("Le sien"))
	for _, p := range []string{path, path + "/edit", path + "/delete", "/agenda/event/AAAAAAAAAAAA/eC5pY3M", "/agenda/event/../../x", "/agenda/event/a/Li4vLi4veA"} {
		if got := b.Get(p); got.Status != 404 && got.Status != 307 && got.Status != 301 {
			t.Errorf("%s answers %d", p, got.Status)
		}
	}
}

func TestASilentServerIsSaidPlainlyAndInTime(t *testing.T) {
	rig, s := start(t)
	b := rig.SignIn("mdupont")
	create(t, b, form("Avant"))
	s.Stop()
	begun := time.Now()
	b.Get(week).Want(t, 503, "ne répond pas")
	b.Get("/agenda/badge").Want(t, 204)
	b.Get("/").Want(t, 200, "Name of mdupont")
	if took := time.Since(begun); took > 15*time.Second {
		t.Fatalf("took %v", took)
	}
}
