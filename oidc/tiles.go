package oidc

import (
	"net/http"
	"sort"
	"unicode/utf8"

	"github.com/ory/fosite"

	"beffroi/directory"
	"beffroi/signin"
)

// Tile is an application as the portal's home page shows it.
type Tile struct {
	ID          string            `json:"id"`
	Name        map[string]string `json:"name"`
	Description map[string]string `json:"description"`
	Home        string            `json:"home"`
	Icon        string            `json:"icon"`
	Assurance   int               `json:"assurance"` // 2: it asks a second factor
	Category    string            `json:"category"`
}

// applications is GET /api/applications (scope applications): what the person
// may open and has somewhere to open, by ID.
func (p *Provider) applications(w http.ResponseWriter, r *http.Request) error {
	plain, err := bearerToken(r)
	if err != nil {
		return p.writeBearerError(w, err)
	}
	person, _, _, err := p.personOf(r, plain, "applications")
	if err != nil {
		return p.writeBearerError(w, err)
	}
	set, err := p.clients.snapshot(r.Context())
	if err != nil {
		return p.writeBearerError(w, err)
	}
	tiles := []Tile{}
	for _, c := range set.byID {
		if c.Home == "" {
			continue
		}
		switch _, err := p.gate.Admit(r.Context(), person.ID, c.app, ""); {
		case signin.Refused(err) != nil:
			continue
		case err != nil:
			return p.writeBearerError(w, err)
		}
		description := c.Description
		if description == nil {
			description = map[string]string{}
		}
		tiles = append(tiles, Tile{ID: c.ID, Name: c.Name, Description: description, Home: c.Home, Icon: c.Icon, Assurance: c.Assurance, Category: c.Category})
	}
	sort.Slice(tiles, func(i, j int) bool { return tiles[i].ID < tiles[j].ID })
	return writeJSON(w, http.StatusOK, tiles)
}

// Found is a person as the directory search answers.
type Found struct {
	ID     string `json:"id"` // as the application knows people: their sub
	Login  string `json:"login"`
	Name   string `json:"name"`
	Mail   string `json:"mail"`
	Phone  string `json:"phone"`
	Title  string `json:"title"`
	School string `json:"school"` // UAI code of the first school
}

// What a search may ask and is answered.
const (
	searchLeast = 2
	searchMost  = 50
)

// people is GET /api/people?q= (scope people): at most 50 persons of the
// directory whose name, address or login matches.
func (p *Provider) people(w http.ResponseWriter, r *http.Request) error {
	plain, err := bearerToken(r)
	if err != nil {
		return p.writeBearerError(w, err)
	}
	_, c, _, err := p.personOf(r, plain, "people")
	if err != nil {
		return p.writeBearerError(w, err)
	}
	text := r.URL.Query().Get("q")
	if n := utf8.RuneCountInString(text); n < searchLeast || n > 200 || !utf8.ValidString(text) {
		return p.writeBearerError(w, refused(fosite.ErrInvalidRequest, "q must be 2 to 200 characters"))
	}
	persons, err := p.directory.Search(r.Context(), directory.Query{Text: text, Limit: searchMost})
	if err != nil {
		return p.writeBearerError(w, err)
	}
	found := []Found{}
	for _, one := range persons[:min(len(persons), searchMost)] {
		f := Found{ID: p.subject(c, one.ID), Login: one.Login, Name: one.DisplayName, Mail: one.Mail, Phone: one.Phone, Title: one.Title}
		if len(one.UAI) > 0 {
			f.School = one.UAI[0]
		}
		found = append(found, f)
	}
	return writeJSON(w, http.StatusOK, found)
}
