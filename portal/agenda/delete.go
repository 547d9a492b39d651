package agenda

import (
	"errors"
	"net/http"

	"beffroi/internal/web"
	"beffroi/portal/dav"
	"beffroi/templates"
)

// confirmDelete asks once: a deleted event cannot be brought back from here.
func (a *Agenda) confirmDelete(w http.ResponseWriter, r *http.Request) error {
	t, err := a.open(r, r.URL.Query().Get("at"))
	if err != nil {
		return err
	}
	if t.calendar.ReadOnly {
		return web.Fail(http.StatusForbidden, "agenda.problem.readonly", nil)
	}
	return a.renderDelete(w, r, http.StatusOK, t, false)
}

func (a *Agenda) renderDelete(w http.ResponseWriter, r *http.Request, status int, t target, changed bool) error {
	page := &templates.AgendaDelete{Layout: a.portal.Layout(r.Context(), "agenda", "agenda.delete.title"), Event: a.detail(t), Action: t.path + "/delete",
		Back: withKey(t.path, t.occurrence.Key), Key: t.occurrence.Key, ETag: t.stored.ETag, Changed: changed}
	page.CSS = []string{"agenda.css"}
	return web.Render(w, r, status, page)
}

// remove deletes the event, or takes one occurrence out of its series. What
// somebody changed since the question was asked is shown before anything goes.
func (a *Agenda) remove(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	key, etag := web.Field(r, "key"), web.Field(r, "etag")
	t, err := a.open(r, key)
	if errors.Is(err, dav.ErrNotFound) && t.calendar.ID != "" {
		return web.Redirect(w, r, "/agenda/?done=deleted") // somebody else was faster; that was the wish
	} else if err != nil {
		return err
	}
	if t.calendar.ReadOnly {
		return web.Fail(http.StatusForbidden, "agenda.problem.readonly", nil)
	}
	if !dav.SameETag(etag, t.stored.ETag) {
		return a.renderDelete(w, r, http.StatusConflict, t, true)
	}
	client := a.portal.Calendars(ctx)
	whole := true
	if t.occurrence.Repeats && web.Field(r, "scope") != "all" {
		if whole, err = t.parsed.RemoveOne(t.occurrence, a.portal.Now()); err != nil {
			return err
		}
	}
	if whole {
		err = client.Delete(ctx, t.href, t.stored.ETag)
	} else {
		_, err = client.Update(ctx, t.href, contentType, t.parsed.String(), t.stored.ETag)
	}
	switch {
	case errors.Is(err, dav.ErrConflict):
		if t, err = a.open(r, key); err != nil {
			return err
		}
		return a.renderDelete(w, r, http.StatusConflict, t, true)
	case errors.Is(err, dav.ErrForbidden):
		return web.Fail(http.StatusForbidden, "agenda.problem.readonly", err)
	case err != nil && !errors.Is(err, dav.ErrNotFound):
		return err
	}
	return web.Redirect(w, r, "/agenda/?done=deleted&day="+t.occurrence.Start.Format(dayForm))
}
