package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

//go:embed components.html
var componentsHTML string

// sample is the page of all components, framed as a page of the portal.
type sample struct {
	templates.Layout
}

func (sample) Template() string { return "components" }

// walkComponents serves the components and two error pages by itself.
func (c *camera) walkComponents() error {
	pages, err := componentPages(c.lang)
	if err != nil {
		return err
	}
	server := httptest.NewServer(pages)
	defer server.Close()
	for _, step := range []struct{ path, name string }{{"/", "components"}, {"/bare", "components-bare"}, {"/404", "components-404"}, {"/503", "components-503"}} {
		if err := c.open(server.URL + step.path); err != nil {
			return err
		}
		if err := c.take(step.name); err != nil {
			return err
		}
	}
	return nil
}

func serveComponents(ctx context.Context, address string) error {
	pages, err := componentPages("fr")
	if err != nil {
		return err
	}
	server := &http.Server{Addr: address, Handler: pages, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Printf("http://%s/ /bare /404 /503; Ctrl-C ends\n", address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// componentPages serves the sample pages under the policy of the real ones.
func componentPages(lang string) (*http.ServeMux, error) {
	set, err := template.New("").Funcs(web.Funcs(i18n.Lang(lang))).ParseFS(templates.HTML, "*.html")
	if err != nil {
		return nil, err
	}
	if _, err := set.Parse(componentsHTML); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/static/", web.Static())
	mux.HandleFunc("GET /sw.js", func(w http.ResponseWriter, _ *http.Request) { // samples need no network: a worker that does nothing
		w.Header().Set("Content-Type", "text/javascript")
	})
	mux.HandleFunc("GET /manifest.webmanifest", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/manifest+json")
		_, _ = io.WriteString(w, "{}")
	})
	serve := func(path string, page templates.Page) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			frame := page.Frame()
			frame.Lang, frame.Path, frame.RequestID = lang, path, "7k2m9qx04rtv"
			frame.Site = templates.SiteInfo{Name: "Académie de Flandre", Kind: "portal", Provider: "http://localhost:8080", Portal: "http://127.0.0.1:8081"}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
			if err := set.ExecuteTemplate(w, page.Template(), page); err != nil {
				fmt.Println("components:", err)
			}
		})
	}
	person := &templates.PersonInfo{Name: "Marie-Charlotte de la Fontaine-Beauregard", Login: "mcfontaine", Mail: "marie-charlotte.de-la-fontaine@academie.test"}
	page := &sample{Layout: templates.Layout{Title: "Composants", Module: "mail", Unread: 12, Person: person}}
	bare := &sample{Layout: templates.Layout{Title: "Connexion", Bare: true}}
	lost := &templates.WebError{Status: 404, Heading: i18n.T(i18n.Lang(lang), "web.error.heading.404"), Back: "/"}
	lost.Title, lost.Bare = lost.Heading, true
	down := &templates.WebError{Status: 503, Heading: i18n.T(i18n.Lang(lang), "web.error.heading.503"), Message: i18n.T(i18n.Lang(lang), "web.error.timeout"), Back: "/"}
	down.Title, down.Person, down.Module = down.Heading, person, "agenda"
	serve("/", page)
	serve("/bare", bare)
	serve("/404", lost)
	serve("/503", down)
	return mux, nil
}
