package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
	"beffroi/internal/testpeer"
)

// spaPage has no inline script, as the guide asks of those who follow it.
const spaPage = `<!doctype html><html lang="fr"><title>Tableau de bord</title><body data-issuer="%s"><main><h1>Tableau de bord</h1><p id="state">…</p>
<button id="in">Se connecter</button><button id="renew">Renouveler</button><button id="out">Se déconnecter</button></main><script type="module" src="/spa.js"></script></body></html>`

func TestSinglePageApplication(t *testing.T) {
	t.Parallel()
	root, err := rig.Root()
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(testpeer.Dir(t), "spa.js")
	build := exec.Command(filepath.Join(root, "templates/npm/node_modules/.bin/esbuild"), filepath.Join(root, "e2e/npm/spa.js"), "--bundle", "--format=esm", "--log-level=warning", "--outfile="+bundle)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("bundle: %v\n%s", err, out)
	}
	port := testpeer.FreePort(t)
	site := fmt.Sprintf("http://127.0.0.1:%d", port)
	parts := &rig.Parts{Database: "sqlite:" + testpeer.Dir(t) + "/beffroi.db", Slapd: testpeer.Slapd(t)}
	parts.Apps = fmt.Sprintf("  - id: spa\n    name: {fr: Tableau de bord}\n    public: true\n    redirect_uris: [\"%s/callback\"]\n    post_logout_redirect_uris: [\"%s/\"]\n    scopes: [openid, profile]\n    assurance: 1\n", site, site)
	w := newWorld(t, rig.Serve(t, parts))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /spa.js", func(rw http.ResponseWriter, r *http.Request) { http.ServeFile(rw, r, bundle) })
	mux.HandleFunc("GET /", func(rw http.ResponseWriter, _ *http.Request) {
		h := rw.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src "+w.Provider+"; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		fmt.Fprintf(rw, spaPage, w.Provider)
	})
	server := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", port), Handler: mux}
	go server.ListenAndServe()
	t.Cleanup(func() { server.Close() })

	b := newTab(t, testpeer.ChromiumOptions{})
	b.open(site + "/")
	b.until("document.querySelector('#state').textContent === 'out'")
	b.leaves(chromedp.Click(chromedp.CSS("#in")))
	b.until("document.activeElement?.name === 'username'")
	who := w.people["ssmith"]
	b.do(b.keys(who.Login), b.keys(tabKey), b.keys(who.Password), b.keys(enterKey))
	b.until("document.querySelector('#state')?.textContent.startsWith('in as ssmith')")
	b.do(chromedp.Click(chromedp.CSS("#renew")))
	b.until("document.querySelector('#state').textContent === 'renewed'")
	b.leaves(chromedp.Click(chromedp.CSS("#out")))
	b.until("document.querySelector('#state')?.textContent === 'out'")
	b.open(w.Provider + "/account")
	b.until("document.querySelector('input[type=password]')")
	b.forgive("favicon.ico")
}
