package agenda

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/portal/dav"
	"beffroi/templates"
)

// listDays is how far the list view looks ahead.
const listDays = 30

const dayForm = "2006-01-02"

// overview is the week, or the list.
func (a *Agenda) overview(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	now := a.portal.Now().In(a.local)
	day := a.dayOf(r.URL.Query().Get("day"), now)
	view := "week"
	from, days, step := monday(day), 7, 7
	if r.URL.Query().Get("view") == "list" {
		view, from, days, step = "list", day, listDays, listDays
	}
	calendars, err := a.calendars(ctx)
	if err != nil {
		return err
	}
	to := from.AddDate(0, 0, days)
	g, err := a.between(ctx, calendars, from, to)
	if err != nil {
		return err
	}
	page := &templates.AgendaOverview{Layout: a.portal.Layout(ctx, "agenda", "agenda.title"), View: view, From: from, To: to.AddDate(0, 0, -1),
		Day: day.Format(dayForm), Today: now.Format(dayForm), Previous: from.AddDate(0, 0, -step).Format(dayForm), Next: to.Format(dayForm),
		Unreadable: g.unreadable, Failed: g.failed, Done: done(r), Here: r.URL.RequestURI(), Writable: slices.ContainsFunc(calendars, func(c calendar) bool { return !c.ReadOnly })}
	page.Wide, page.CSS, page.JS = view == "week", []string{"agenda.css"}, []string{"agenda.js"}
	page.Title = page.Title + " · " + span(web.Lang(ctx), page.From, page.To)
	page.Span = span(web.Lang(ctx), page.From, page.To)
	for _, c := range calendars {
		page.Calendars = append(page.Calendars, templates.AgendaCalendar{ID: c.ID, Name: c.Name, Palette: c.Palette, Hidden: c.Hidden, ReadOnly: c.ReadOnly})
	}
	page.Days = daysOf(g.entries, from, days, now)
	if view == "week" {
		a.fillWeek(page, g.entries, from, now)
	}
	return web.Render(w, r, http.StatusOK, page)
}

func (a *Agenda) fillWeek(page *templates.AgendaOverview, entries []entry, monday, now time.Time) {
	var columns [][]piece
	for i := range 7 {
		columns = append(columns, arrange(pieces(entries, monday.AddDate(0, 0, i))))
	}
	from, to := hours(columns)
	page.FirstHour, page.Hours = from, to-from
	for h := from; h < to; h++ {
		page.HourLabels = append(page.HourLabels, fmt.Sprintf("%02d:00", h))
	}
	for i, column := range columns {
		for _, p := range column {
			page.Days[i].Blocks = append(page.Days[i].Blocks, p.block(from))
		}
		if page.Days[i].Today && now.Hour() >= from && now.Hour() < to {
			page.Days[i].Now = true
			page.Days[i].NowHour, page.Days[i].NowMinute = now.Hour()-from, fives(now.Minute())
		}
	}
	page.Bars = bars(entries, monday)
}

// daysOf groups entries by day, for the list and for small screens. An event
// stands on each of its days.
func daysOf(entries []entry, from time.Time, n int, now time.Time) []templates.AgendaDay {
	var all []templates.AgendaDay
	for i := range n {
		day := from.AddDate(0, 0, i)
		next := day.AddDate(0, 0, 1)
		d := templates.AgendaDay{Date: day, Value: day.Format(dayForm), Today: day.Format(dayForm) == now.Format(dayForm), Weekend: day.Weekday() == time.Saturday || day.Weekday() == time.Sunday}
		for _, e := range entries {
			moment := e.Start.Equal(e.End) && !e.Start.Before(day) && e.Start.Before(next)
			if moment || e.Start.Before(next) && e.End.After(day) {
				it := item(e)
				it.Continued = e.Start.Before(day)
				it.EndsToday = !e.End.After(next)
				it.WholeDay = e.AllDay || it.Continued && e.End.After(next)
				d.Items = append(d.Items, it)
			}
		}
		all = append(all, d)
	}
	return all
}

func item(e entry) templates.AgendaItem {
	return templates.AgendaItem{Href: withKey(e.path, e.Key), Title: e.Summary, Place: e.Location, Start: e.Start, End: e.End, AllDay: e.AllDay,
		Repeats: e.Repeats, Cancelled: e.Status == "CANCELLED", Tentative: e.Status == "TENTATIVE", Palette: e.calendar.Palette, Calendar: e.calendar.Name}
}

func withKey(path, key string) string {
	if key == "" {
		return path
	}
	return path + "?at=" + url.QueryEscape(key)
}

// dayOf reads a day of an address; nonsense is today.
func (a *Agenda) dayOf(text string, now time.Time) time.Time {
	t, err := time.ParseInLocation(dayForm, text, a.local)
	if err != nil || t.Year() < 1900 || t.Year() > 2200 {
		return time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, a.local)
	}
	return t
}

// monday begins the week of a day; both languages of the house begin there.
func monday(day time.Time) time.Time {
	back := (int(day.Weekday()) + 6) % 7
	return time.Date(day.Year(), day.Month(), day.Day()-back, 0, 0, 0, 0, day.Location())
}

// span writes "23 – 29 novembre 2026".
func span(l i18n.Lang, from, to time.Time) string {
	month := func(t time.Time) string { return i18n.Date(l, t, "month") }
	name := func(t time.Time) string { return strings.TrimSuffix(month(t), fmt.Sprintf(" %d", t.Year())) }
	day := func(t time.Time) string {
		if l == i18n.French && t.Day() == 1 {
			return "1er"
		}
		return fmt.Sprint(t.Day())
	}
	switch {
	case from.Year() != to.Year():
		return day(from) + " " + month(from) + " – " + day(to) + " " + month(to)
	case from.Month() != to.Month():
		return day(from) + " " + name(from) + " – " + day(to) + " " + month(to)
	}
	return day(from) + " – " + day(to) + " " + month(to)
}

// done is the key of the sentence that confirms what was just done.
func done(r *http.Request) string {
	switch r.URL.Query().Get("done") {
	case "created":
		return "agenda.done.created"
	case "saved":
		return "agenda.done.saved"
	case "deleted":
		return "agenda.done.deleted"
	}
	return ""
}

// badge tells the next event of today. It never fails: the launcher keeps its
// own words then.
func (a *Agenda) badge(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	lang := web.Lang(ctx)
	now := a.portal.Now().In(a.local)
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, a.local)
	var g gathered
	calendars, err := a.calendars(ctx)
	if err == nil {
		g, err = a.between(ctx, calendars, now, midnight)
	}
	if err != nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	text := i18n.T(lang, "agenda.badge.none")
	var next *entry
	for i, e := range g.entries {
		if e.Status == "CANCELLED" || e.AllDay && next != nil || !e.AllDay && e.Start.Before(now) && next != nil {
			continue
		}
		if next == nil || next.AllDay || next.Start.Before(now) && !e.AllDay {
			next = &g.entries[i]
		}
	}
	if next != nil {
		title := next.Summary
		if title == "" {
			title = i18n.T(lang, "agenda.untitled")
		}
		switch {
		case next.AllDay:
			text = i18n.T(lang, "agenda.badge.allday", "title", title)
		case next.Start.Before(now):
			text = i18n.T(lang, "agenda.badge.until", "time", next.End.Format("15:04"), "title", title)
		default:
			text = i18n.T(lang, "agenda.badge.next", "time", next.Start.Format("15:04"), "title", title)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err = w.Write([]byte(template.HTMLEscapeString(text)))
	return err
}

// choose hides or shows a calendar.
func (a *Agenda) choose(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	calendars, err := a.calendars(ctx)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return err
	}
	var hidden []string
	for _, c := range calendars {
		if !slices.Contains(r.PostForm["show"], c.ID) {
			hidden = append(hidden, c.ID)
		}
	}
	if err := a.portal.SetPreference(ctx, "agenda.hidden", strings.Join(hidden, " ")); err != nil {
		return err
	}
	next := web.LocalPath(web.Field(r, "next"))
	if !strings.HasPrefix(next, "/agenda/") {
		next = "/agenda/"
	}
	return web.Redirect(w, r, next)
}

// show is an event's own page.
func (a *Agenda) show(w http.ResponseWriter, r *http.Request) error {
	key := r.URL.Query().Get("at")
	t, err := a.open(r, key)
	if err != nil {
		return err
	}
	page := &templates.AgendaEvent{Layout: a.portal.Layout(r.Context(), "agenda", "agenda.event.title"), Event: a.detail(t), Done: done(r),
		Back: "/agenda/?day=" + t.occurrence.Start.Format(dayForm), Edit: withKey(t.path+"/edit", key), Delete: withKey(t.path+"/delete", key)}
	if t.occurrence.Summary != "" {
		page.Title = t.occurrence.Summary
	}
	page.CSS = []string{"agenda.css"}
	return web.Render(w, r, http.StatusOK, page)
}

func (a *Agenda) detail(t target) templates.AgendaDetail {
	o := t.occurrence
	d := templates.AgendaDetail{AgendaItem: item(entry{o, &t.calendar, t.path}), Description: o.Description, Organizer: o.Organizer, Attendees: o.Attendees,
		ReadOnly: t.calendar.ReadOnly, LastDay: lastDay(o)}
	if o.Repeats {
		freq, interval, until := t.parsed.Rule()
		d.Rule, d.Interval, d.Until = strings.ToLower(freq), interval, until
		d.Exception = o.Changed
	}
	return d
}

// lastDay of an event: the exclusive end of a whole-day event is the day after.
func lastDay(o dav.Occurrence) time.Time {
	if o.AllDay {
		return o.End.AddDate(0, 0, -1)
	}
	return o.End
}
