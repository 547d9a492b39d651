package portal

import (
	"encoding/json"
	"net/http"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// The portal can be installed like an application (W3C Web Application Manifest):
// its own window, and a page that says so when there is no network. Nothing of
// anybody's is kept for that.

func (p *Portal) manifest(w http.ResponseWriter, r *http.Request) error {
	l := web.Lang(r.Context())
	w.Header().Set("Content-Type", "application/manifest+json")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	return json.NewEncoder(w).Encode(map[string]any{
		"name": p.site.Name(), "short_name": i18n.T(l, "portal.pwa.short"), "lang": string(l), "id": "/", "start_url": "/", "scope": "/", "display": "standalone",
		"background_color": "#ffffff", "theme_color": "#a5382a",
		"icons": []map[string]string{{"src": web.Asset("favicon.svg"), "sizes": "any", "type": "image/svg+xml", "purpose": "any"}},
	})
}

// worker answers GET /sw.js: a service worker's script must stand where its pages do.
func (p *Portal) worker(w http.ResponseWriter, r *http.Request) error {
	script, err := templates.Static.ReadFile("static/sw.js")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, err = w.Write(script)
	return err
}

func (p *Portal) offline(w http.ResponseWriter, r *http.Request) error {
	page := &templates.PortalOffline{Layout: p.Layout(r.Context(), "", "portal.offline.title")}
	page.Bare, page.Person = true, nil
	return web.Render(w, r, http.StatusOK, page)
}
