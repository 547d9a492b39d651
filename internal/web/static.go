package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"

	"beffroi/templates"
)

type asset struct {
	body, gzipped []byte
	kind, version string // version is of its content
}

// assets reads every file under static/ once, with its version and gzip form.
var assets = sync.OnceValue(func() map[string]asset {
	all := map[string]asset{}
	_ = fs.WalkDir(templates.Static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".ttf") { // the fonts are for printed letters
			return err
		}
		body, err := fs.ReadFile(templates.Static, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		a := asset{body: body, version: hex.EncodeToString(sum[:5]), kind: mime.TypeByExtension(path.Ext(name))}
		if strings.HasSuffix(name, ".js") {
			a.kind = "text/javascript; charset=utf-8"
		}
		if a.kind == "" {
			a.kind = "application/octet-stream"
		}
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		_, _ = z.Write(body)
		_ = z.Close()
		if b.Len() < len(body)*9/10 {
			a.gzipped = b.Bytes()
		}
		all[strings.TrimPrefix(name, "static/")] = a
		return nil
	})
	return all
})

// Asset is the address of a file under static/, with its version in it: a browser
// keeps it for good and fetches it again only when it changed.
func Asset(name string) string {
	return "/static/" + assets()[name].version + "/" + name
}

// Static serves /static/HASH/NAME.
func Static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/static/"), "/")
		a, ok := assets()[name]
		if !ok || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.kind)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
		h.Set("Vary", "Accept-Encoding")
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		if version != a.version {
			h.Set("Cache-Control", "no-cache") // an old page asks for a new file
		}
		body := a.body
		if a.gzipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = a.gzipped
		}
		if r.Method == http.MethodHead {
			return
		}
		_, _ = w.Write(body)
	})
}
