package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"time"

	"beffroi/internal/i18n"
	"beffroi/templates"
)

// parsed holds the templates once per language.
var parsed = sync.OnceValues(func() (map[i18n.Lang]*template.Template, error) {
	all := map[i18n.Lang]*template.Template{}
	for _, l := range i18n.Langs {
		t, err := template.New("").Funcs(Funcs(l)).ParseFS(templates.HTML, "*.html")
		if err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
		all[l] = t
	}
	return all, nil
})

// LoadPages parses the templates; a program that starts says so first.
func LoadPages() error {
	if _, err := parsed(); err != nil {
		return err
	}
	return i18n.Load()
}

// Funcs are the functions that templates may call, bound to a language:
//
//	t KEY NAME VALUE…   the sentence
//	date TIME STYLE     see i18n.Date
//	asset NAME          the hashed address of a file under static/
//	icon NAME           a picture of the sprite, hidden from screen readers
//	lang                "fr" or "en"
func Funcs(l i18n.Lang) template.FuncMap {
	return template.FuncMap{
		"t":     func(key string, args ...any) string { return i18n.T(l, key, args...) },
		"date":  func(t time.Time, style string) string { return i18n.Date(l, t, style) },
		"asset": Asset,
		"icon":  icon,
		"lang":  func() string { return string(l) },
	}
}

func icon(name string) template.HTML {
	for _, c := range name {
		if (c < 'a' || c > 'z') && c != '-' && (c < '0' || c > '9') {
			return ""
		}
	}
	return template.HTML(`<svg class="icon" aria-hidden="true" focusable="false"><use href="` + Asset("icons.svg") + "#" + name + `"></use></svg>`)
}

// Render writes a page. It is written whole or not at all: a template that
// fails half-way becomes an error page, not half a page.
func Render(w http.ResponseWriter, r *http.Request, status int, page templates.Page) error {
	ctx := r.Context()
	l := Lang(ctx)
	sets, err := parsed()
	if err != nil {
		return err
	}
	frame := page.Frame()
	frame.Lang, frame.RequestID = string(l), RequestID(ctx)
	frame.Path = herePath(r)
	if s, ok := ctx.Value(siteKey).(*Site); ok {
		frame.Site = templates.SiteInfo{Name: s.cfg.Name, Kind: s.cfg.Kind, Provider: s.cfg.ProviderURL, Portal: s.cfg.PortalURL}
		if frame.Person == nil && s.cfg.Person != nil {
			frame.Person = s.cfg.Person(ctx)
		}
	}
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	if err := sets[l].ExecuteTemplate(buffer, page.Template(), page); err != nil {
		return fmt.Errorf("render %s: %w", page.Template(), err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(l))
	h.Add("Vary", "Cookie, Accept-Language")
	w.WriteHeader(status)
	_, err = buffer.WriteTo(w)
	return err
}

// herePath is where to come back to. After a form that is the page the form
// stood on: its own address may take POST only, and the query says which flow.
func herePath(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return r.URL.RequestURI()
	}
	if page, err := url.Parse(r.Referer()); err == nil && page.Host == r.Host {
		return page.RequestURI()
	}
	return r.URL.RequestURI()
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
