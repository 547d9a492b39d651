package portal

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/session"
	"beffroi/internal/web"
	"beffroi/templates"
)

// tilesFor is how long a person's tiles are remembered: a new group shows up
// after that, at most.
const tilesFor = time.Minute

// Tile is one application as the provider's /api/applications lists it.
type Tile struct {
	ID          string            `json:"id"`
	Name        map[string]string `json:"name"`        // by language, fr and en
	Description map[string]string `json:"description"` // the same
	Home        string            `json:"home"`
	Icon        string            `json:"icon"` // name of a picture of the sprite
	Assurance   int               `json:"assurance"`
	Category    string            `json:"category"`
}

// Layout is the frame of a page of the portal: title (a key), module, person.
func (p *Portal) Layout(ctx context.Context, module, titleKey string, args ...any) templates.Layout {
	return templates.Layout{Title: i18n.T(web.Lang(ctx), titleKey, args...), Module: module, Person: PersonInfo(ctx)}
}

// PersonInfo names who is signed in for the top bar, nil when nobody is. It
// serves web.SiteConfig.Person, so that pages of errors name the person too.
func PersonInfo(ctx context.Context) *templates.PersonInfo {
	person := Who(ctx)
	if person.Sub == "" {
		row := session.From(ctx)
		if row == nil {
			return nil
		}
		var r record
		if json.Unmarshal(row.Data, &r) != nil || r.Person.Sub == "" {
			return nil
		}
		person = r.Person
	}
	v, _ := ctx.Value(contextKey{}).(visit)
	return &templates.PersonInfo{Name: person.Name, Login: person.Login, Mail: person.Mail, Lock: int(v.lock / time.Second)}
}

func (p *Portal) home(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	lang := web.Lang(ctx)
	person := Who(ctx)
	page := &templates.PortalHome{Layout: p.Layout(ctx, "home", "portal.home.title"),
		Name: person.Name, Today: p.now().In(p.Config.Location()), Help: p.Config.Help}
	page.CSS = []string{"portal.css"}
	for _, m := range p.modules {
		key := "portal.module." + m.Name()
		icon := m.Name()
		if icon == "agenda" {
			icon = "calendar"
		}
		tool := templates.PortalTile{Name: i18n.T(lang, key), Description: i18n.T(lang, key+".hint"), Home: "/" + m.Name() + "/", Icon: icon}
		if b, ok := m.(interface{ Badge() string }); ok {
			tool.Badge = b.Badge()
		}
		page.Modules = append(page.Modules, tool)
	}
	tiles, err := p.tiles(ctx)
	if err != nil {
		p.log.WarnContext(ctx, "the tiles could not be listed", "error", err)
		page.TilesFailed = true
	}
	page.Groups = groupTiles(tiles, lang, p.Config.ClientID)
	return web.Render(w, r, http.StatusOK, page)
}

// tiles asks the provider what the person may open, at most once a minute.
func (p *Portal) tiles(ctx context.Context) ([]Tile, error) {
	v, err := p.vaultOf(ctx)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	tiles, at := v.tiles, v.tilesAt
	v.mu.Unlock()
	if !at.IsZero() && p.now().Sub(at) < tilesFor {
		return tiles, nil
	}
	token, err := p.accessToken(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var fresh []Tile
	if err := p.get(ctx, strings.TrimRight(p.Config.Issuer, "/")+"/api/applications", token, &fresh); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tiles, v.tilesAt = fresh, p.now()
	return fresh, nil
}

// groupTiles orders tiles by category, then by name; what has no address or an
// address that is not a web page is left out, and so is the portal itself.
func groupTiles(tiles []Tile, lang i18n.Lang, self string) []templates.PortalTiles {
	byCategory := map[string][]templates.PortalTile{}
	for _, t := range tiles {
		u, err := url.Parse(t.Home)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || t.ID == self {
			continue
		}
		icon := t.Icon
		if icon == "" {
			icon = "app"
		}
		tile := templates.PortalTile{Name: inLanguage(t.Name, lang, t.ID), Description: inLanguage(t.Description, lang, ""), Home: t.Home,
			Icon: icon, Strong: t.Assurance >= 2, Outside: true}
		byCategory[t.Category] = append(byCategory[t.Category], tile)
	}
	var groups []templates.PortalTiles
	for name, list := range byCategory {
		sort.Slice(list, func(i, j int) bool { return strings.ToLower(list[i].Name) < strings.ToLower(list[j].Name) })
		groups = append(groups, templates.PortalTiles{Name: name, Tiles: list})
	}
	sort.Slice(groups, func(i, j int) bool { return groups[i].Name < groups[j].Name })
	return groups
}

func inLanguage(words map[string]string, lang i18n.Lang, fallback string) string {
	for _, l := range append([]i18n.Lang{lang}, i18n.Langs...) {
		if text := words[string(l)]; text != "" {
			return text
		}
	}
	return fallback
}
