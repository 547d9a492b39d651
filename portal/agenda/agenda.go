// Package agenda shows a person's calendars and changes their events. It keeps
// nothing of its own but which calendars are hidden: everything lies on the
// CalDAV server, reached through portal/dav.
//
// It promises: one calendar or event that cannot be read never hides the
// others; nobody's change is overwritten, and what a person typed is never lost
// to a conflict; a page works without script.
//
// Routes, all below /agenda/ and behind portal.Signed: the week and the list
// (GET /agenda/), an event's page, its form, its deletion, a new event, hiding
// calendars, and the badge of the launcher. cmd/beffroi gives New to portal.New.
package agenda

import (
	"net/http"
	"sync"
	"time"

	"beffroi/internal/web"
	"beffroi/portal"
)

// Agenda is the module.
type Agenda struct {
	portal *portal.Portal
	local  *time.Location

	mu    sync.Mutex
	lists map[string]list // by person: the calendars, remembered briefly
}

// New makes the module; Mount gives it its portal.
func New() *Agenda { return &Agenda{lists: map[string]list{}} }

// Name is the first segment of the module's paths.
func (a *Agenda) Name() string { return "agenda" }

// Badge is the fragment for the launcher: the next event of today.
func (a *Agenda) Badge() string { return "/agenda/badge" }

// Mount adds the routes.
func (a *Agenda) Mount(p *portal.Portal, mux web.Mux) {
	a.portal, a.local = p, p.Config.Location()
	page := func(h web.Handler) http.Handler {
		return p.Signed(func(w http.ResponseWriter, r *http.Request) error { return portal.DAVError(h(w, r)) })
	}
	mux.Handle("GET /agenda", http.RedirectHandler("/agenda/", http.StatusMovedPermanently))
	mux.Handle("GET /agenda/{$}", page(a.overview))
	mux.Handle("GET /agenda/badge", page(a.badge))
	mux.Handle("GET /agenda/new", page(a.newForm))
	mux.Handle("POST /agenda/new", page(a.create))
	mux.Handle("POST /agenda/calendars", page(a.choose))
	mux.Handle("GET /agenda/event/{calendar}/{object}", page(a.show))
	mux.Handle("GET /agenda/event/{calendar}/{object}/edit", page(a.editForm))
	mux.Handle("POST /agenda/event/{calendar}/{object}/edit", page(a.edit))
	mux.Handle("GET /agenda/event/{calendar}/{object}/delete", page(a.confirmDelete))
	mux.Handle("POST /agenda/event/{calendar}/{object}/delete", page(a.remove))
}
