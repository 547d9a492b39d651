// Package contacts is one search over a person's address books and the
// academy's directory, and the cards of the books.
//
// It promises: one card or book that cannot be read never hides the others; a
// field that is not edited keeps its bytes; nobody's change is overwritten and
// what a person typed is never lost to a conflict. The directory is read only,
// through the provider's API; books lie on the CardDAV server, reached through
// portal/dav.
//
// Routes, all below /contacts/ and behind portal.Signed: the search (GET
// /contacts/), a colleague's page, a card's page, its form, its deletion and a
// new card. cmd/beffroi gives New to portal.New.
package contacts

import (
	"net/http"
	"sync"

	"beffroi/internal/web"
	"beffroi/portal"
)

// Contacts is the module.
type Contacts struct {
	portal *portal.Portal

	mu    sync.Mutex
	books map[string]readBook // by person and address: cards as last read
}

// New makes the module; Mount gives it its portal.
func New() *Contacts { return &Contacts{books: map[string]readBook{}} }

// Name is the first segment of the module's paths.
func (c *Contacts) Name() string { return "contacts" }

// Mount adds the routes.
func (c *Contacts) Mount(p *portal.Portal, mux web.Mux) {
	c.portal = p
	page := func(h web.Handler) http.Handler {
		return p.Signed(func(w http.ResponseWriter, r *http.Request) error { return portal.DAVError(h(w, r)) })
	}
	mux.Handle("GET /contacts", http.RedirectHandler("/contacts/", http.StatusMovedPermanently))
	mux.Handle("GET /contacts/{$}", page(c.search))
	mux.Handle("GET /contacts/person/{login}", page(c.colleague))
	mux.Handle("GET /contacts/new", page(c.newForm))
	mux.Handle("POST /contacts/new", page(c.create))
	mux.Handle("GET /contacts/card/{book}/{object}", page(c.show))
	mux.Handle("GET /contacts/card/{book}/{object}/edit", page(c.editForm))
	mux.Handle("POST /contacts/card/{book}/{object}/edit", page(c.edit))
	mux.Handle("GET /contacts/card/{book}/{object}/delete", page(c.confirmDelete))
	mux.Handle("POST /contacts/card/{book}/{object}/delete", page(c.remove))
}
