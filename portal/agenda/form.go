package agenda

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/portal/dav"
	"beffroi/templates"
)

const contentType = "text/calendar; charset=utf-8"

// newForm offers the next full hour, or the day and time of the address.
func (a *Agenda) newForm(w http.ResponseWriter, r *http.Request) error {
	now := a.portal.Now().In(a.local)
	start := time.Date(now.Year(), now.Month(), now.Day(), now.Hour()+1, 0, 0, 0, a.local)
	if q := r.URL.Query(); q.Get("day") != "" {
		day := a.dayOf(q.Get("day"), now)
		start = time.Date(day.Year(), day.Month(), day.Day(), 9, 0, 0, 0, a.local)
		if t, err := time.Parse("15:04", q.Get("time")); err == nil {
			start = time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), 0, 0, a.local)
		}
	}
	f := formOf(dav.Occurrence{Start: start, End: start.Add(time.Hour)})
	return a.renderForm(w, r, http.StatusOK, nil, f)
}

// create stores a new event under an address nobody else can have.
func (a *Agenda) create(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := readForm(r)
	fields, problem := a.fields(f)
	calendars, err := a.calendars(ctx)
	if err != nil {
		return err
	}
	var chosen *calendar
	for i := range calendars {
		if calendars[i].ID == f.Calendar {
			chosen = &calendars[i]
		}
	}
	switch {
	case problem == "" && chosen == nil:
		problem = "agenda.problem.calendar"
	case problem == "" && chosen.ReadOnly:
		problem = "agenda.problem.readonly"
	}
	if problem != "" {
		f.Problem = problem
		return a.renderForm(w, r, http.StatusUnprocessableEntity, nil, f)
	}
	fields.Repeat, fields.Until = a.repeat(f)
	uid := strings.ToLower(secret.Random())
	event := dav.NewCalendar(uid, fields, a.local, a.portal.Now())
	if _, err := a.portal.Calendars(ctx).Create(ctx, chosen.Href+uid+".ics", contentType, event.String()); err != nil {
		return a.saveFailed(w, r, err, nil, f)
	}
	return web.Redirect(w, r, "/agenda/?done=created&day="+fields.Start.Format(dayForm))
}

func (a *Agenda) repeat(f templates.AgendaForm) (string, time.Time) {
	until, err := time.ParseInLocation(dayForm, f.Until, a.local)
	if err != nil {
		until = time.Time{}
	}
	switch f.Repeat {
	case "daily", "weekly", "monthly", "yearly":
		return strings.ToUpper(f.Repeat), until
	}
	return "", time.Time{}
}

// editForm shows an event to be changed.
func (a *Agenda) editForm(w http.ResponseWriter, r *http.Request) error {
	t, err := a.open(r, r.URL.Query().Get("at"))
	if err != nil {
		return err
	}
	if t.calendar.ReadOnly {
		return web.Fail(http.StatusForbidden, "agenda.problem.readonly", nil)
	}
	f := formOf(t.occurrence)
	f.ETag, f.Scope = t.stored.ETag, "one"
	return a.renderForm(w, r, http.StatusOK, &t, f)
}

// edit changes one event, or one occurrence of it, or all of them. The version
// that the form was made from must still be the stored one.
func (a *Agenda) edit(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := readForm(r)
	t, err := a.open(r, f.Key)
	if errors.Is(err, dav.ErrNotFound) && t.calendar.ID != "" {
		return a.gone(w, r, t, f)
	} else if err != nil {
		return err
	}
	if t.calendar.ReadOnly {
		return web.Fail(http.StatusForbidden, "agenda.problem.readonly", nil)
	}
	fields, problem := a.fields(f)
	if problem != "" {
		f.Problem = problem
		return a.renderForm(w, r, http.StatusUnprocessableEntity, &t, f)
	}
	if !dav.SameETag(f.ETag, t.stored.ETag) {
		return a.conflict(w, r, t, f)
	}
	change := t.parsed.ChangeOne
	if f.Scope == "all" && t.occurrence.Repeats {
		change = t.parsed.ChangeAll
	}
	if err := change(t.occurrence, fields, a.portal.Now()); errors.Is(err, dav.ErrSeries) {
		f.Problem = "agenda.problem.series"
		return a.renderForm(w, r, http.StatusUnprocessableEntity, &t, f)
	} else if err != nil {
		return err
	}
	_, err = a.portal.Calendars(ctx).Update(ctx, t.href, contentType, t.parsed.String(), t.stored.ETag)
	if errors.Is(err, dav.ErrConflict) {
		if t, err = a.open(r, f.Key); errors.Is(err, dav.ErrNotFound) {
			return a.gone(w, r, t, f)
		} else if err != nil {
			return err
		}
		return a.conflict(w, r, t, f)
	}
	if err != nil {
		return a.saveFailed(w, r, err, &t, f)
	}
	return web.Redirect(w, r, "/agenda/?done=saved&day="+fields.Start.Format(dayForm))
}

// conflict shows the person's input beside what somebody else saved meanwhile.
// Saving again replaces that version knowingly.
func (a *Agenda) conflict(w http.ResponseWriter, r *http.Request, t target, f templates.AgendaForm) error {
	other := a.detail(t)
	f.Other, f.ETag = &other, t.stored.ETag
	return a.renderForm(w, r, http.StatusConflict, &t, f)
}

// gone keeps the input of somebody whose event was deleted meanwhile: saving
// makes it anew.
func (a *Agenda) gone(w http.ResponseWriter, r *http.Request, t target, f templates.AgendaForm) error {
	f.Gone, f.Key, f.ETag, f.Calendar = true, "", "", t.calendar.ID
	return a.renderForm(w, r, http.StatusConflict, nil, f)
}

// saveFailed keeps the input when the server does not take it.
func (a *Agenda) saveFailed(w http.ResponseWriter, r *http.Request, err error, t *target, f templates.AgendaForm) error {
	switch {
	case errors.Is(err, dav.ErrForbidden):
		f.Problem = "agenda.problem.readonly"
	case errors.Is(err, dav.ErrTooLarge):
		f.Problem = "portal.dav.too_large"
	case errors.Is(err, dav.ErrUnavailable), errors.Is(err, dav.ErrConflict):
		f.Problem = "agenda.problem.unavailable"
	default:
		return err
	}
	return a.renderForm(w, r, http.StatusServiceUnavailable, t, f)
}

func formOf(o dav.Occurrence) templates.AgendaForm {
	return templates.AgendaForm{Title: o.Summary, Place: o.Location, Description: o.Description, AllDay: o.AllDay, Key: o.Key,
		StartDay: o.Start.Format(dayForm), StartTime: o.Start.Format("15:04"), EndDay: lastDay(o).Format(dayForm), EndTime: o.End.Format("15:04")}
}

func readForm(r *http.Request) templates.AgendaForm {
	field := func(name string) string { return strings.TrimSpace(web.Field(r, name)) }
	return templates.AgendaForm{Title: field("title"), Place: field("place"), Description: field("description"), AllDay: field("allday") != "",
		StartDay: field("start_day"), StartTime: field("start_time"), EndDay: field("end_day"), EndTime: field("end_time"),
		Calendar: field("calendar"), Repeat: field("repeat"), Until: field("until"), Scope: field("scope"), Key: field("key"), ETag: field("etag")}
}

// fields reads the form; problem is the key of a sentence, empty when all is well.
func (a *Agenda) fields(f templates.AgendaForm) (fields dav.Fields, problem string) {
	fields = dav.Fields{Summary: f.Title, Location: f.Place, Description: f.Description, AllDay: f.AllDay}
	if f.Title == "" {
		return fields, "agenda.problem.title"
	}
	if len(f.Title) > 1000 || len(f.Place) > 1000 || len(f.Description) > 50_000 {
		return fields, "portal.dav.too_large"
	}
	at := func(day, clock string) (time.Time, error) {
		if f.AllDay {
			return time.ParseInLocation(dayForm, day, a.local)
		}
		if len(clock) > 5 { // some browsers send seconds
			clock = clock[:5]
		}
		return time.ParseInLocation(dayForm+" 15:04", day+" "+clock, a.local)
	}
	if f.EndDay == "" {
		f.EndDay = f.StartDay
	}
	var err error
	if fields.Start, err = at(f.StartDay, f.StartTime); err != nil {
		return fields, "agenda.problem.start"
	}
	if fields.End, err = at(f.EndDay, f.EndTime); err != nil {
		return fields, "agenda.problem.end"
	}
	if f.AllDay {
		fields.End = fields.End.AddDate(0, 0, 1)
	}
	if fields.Check() != nil {
		return fields, "agenda.problem.end"
	}
	return fields, ""
}

// renderForm shows the form: of t, or of a new event when t is nil.
func (a *Agenda) renderForm(w http.ResponseWriter, r *http.Request, status int, t *target, f templates.AgendaForm) error {
	ctx := r.Context()
	page := &templates.AgendaEdit{Layout: a.portal.Layout(ctx, "agenda", "agenda.new.title"), Form: f, Action: "/agenda/new", Cancel: "/agenda/", Zone: a.zoneNote(ctx)}
	page.CSS, page.JS = []string{"agenda.css"}, []string{"agenda.js"}
	if t != nil {
		page.Title = i18n.T(web.Lang(ctx), "agenda.edit.title")
		page.Action, page.Cancel = t.path+"/edit", withKey(t.path, t.occurrence.Key)
		page.Existing, page.Repeats, page.CalendarName = true, t.occurrence.Repeats, t.calendar.Name
		return web.Render(w, r, status, page)
	}
	calendars, err := a.calendars(ctx)
	if err != nil {
		return err
	}
	for _, c := range calendars {
		if !c.ReadOnly {
			page.Calendars = append(page.Calendars, templates.AgendaCalendar{ID: c.ID, Name: c.Name, Palette: c.Palette})
		}
	}
	if len(page.Calendars) == 0 {
		return web.Fail(http.StatusForbidden, "agenda.problem.no_calendar", nil)
	}
	if page.Form.Calendar == "" {
		page.Form.Calendar = page.Calendars[0].ID
	}
	if f.StartDay != "" {
		page.Cancel = "/agenda/?day=" + f.StartDay
	}
	return web.Render(w, r, status, page)
}

// zoneNote tells in which zone times are meant, where that is not the
// academy's own matter of course.
func (a *Agenda) zoneNote(context.Context) string {
	if a.local.String() == "Europe/Paris" {
		return ""
	}
	_, offset := a.portal.Now().In(a.local).Zone()
	return fmt.Sprintf("%s (UTC%+d)", a.local, offset/3600)
}
