package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func testCamera(t *testing.T, lang string) *camera {
	t.Helper()
	b, err := startBrowser(context.Background(), options{
		provider: "http://localhost:8080", portal: "http://127.0.0.1:8081", out: t.TempDir(),
		axe: "../../templates/npm/node_modules/axe-core/axe.min.js", only: regexp.MustCompile(""),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	if b.axe == "" {
		t.Fatal("axe-core is missing: run templates/npm/build.sh -force")
	}
	c, err := b.camera(lang)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// Every component, both themes, both sizes: axe finds nothing, nothing is wider
// than the window down to 320 pixels, the content security policy blocks nothing.
func TestComponentsAreAccessibleAndFitEveryWindow(t *testing.T) {
	for _, lang := range []string{"fr", "en"} {
		t.Run(lang, func(t *testing.T) {
			c := testCamera(t, lang)
			if err := c.walkComponents(); err != nil {
				t.Fatal(err)
			}
			if c.findings > 0 {
				t.Errorf("%d findings, printed above", c.findings)
			}
		})
	}
}

func TestScriptAddsComfortOnly(t *testing.T) {
	pages, err := componentPages("fr")
	if err != nil {
		t.Fatal(err)
	}
	var posts atomic.Int32
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		time.Sleep(300 * time.Millisecond)
		w.WriteHeader(http.StatusNoContent) // the page stays, as with a download
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	c := testCamera(t, "fr")
	is := func(t *testing.T, js string) bool {
		t.Helper()
		v, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](js))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	do := func(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := c.do(steps...); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("errors take the focus", func(t *testing.T) {
		do(t, chromedp.Navigate(server.URL+"/bare"))
		if !is(t, `document.activeElement.matches('.error-summary')`) {
			t.Error("the focus is elsewhere")
		}
	})
	do(t, chromedp.Navigate(server.URL+"/"))
	t.Run("a form is sent once", func(t *testing.T) {
		do(t, chromedp.Evaluate[chromedp.Void](`{const f=document.querySelector('form.stack');f.requestSubmit();f.requestSubmit();f.requestSubmit()}`), chromedp.Sleep(500*time.Millisecond))
		if n := posts.Load(); n != 1 {
			t.Errorf("sent %d times", n)
		}
		if !is(t, `document.querySelector('form.stack').getAttribute('aria-busy')==='true'`) {
			t.Error("the form does not say that it is busy")
		}
	})
	t.Run("a menu closes on Escape and gives the focus back", func(t *testing.T) {
		do(t, chromedp.Click(chromedp.CSS("details.person > summary")))
		if !is(t, `document.querySelector('details.person').open`) {
			t.Fatal("the menu did not open")
		}
		do(t, chromedp.Focus(chromedp.CSS("details.person a")), chromedp.KeyEvent("\x1b"))
		if is(t, `document.querySelector('details.person').open`) || !is(t, `document.activeElement.matches('.person > summary')`) {
			t.Error("the menu is open or the focus is lost")
		}
	})
	t.Run("a menu closes on a click elsewhere", func(t *testing.T) {
		do(t, chromedp.Click(chromedp.CSS("details.person > summary")), chromedp.MouseClickXY(400, 400))
		if is(t, `document.querySelector('details.person').open`) {
			t.Error("the menu is open")
		}
	})
	t.Run("Ctrl K goes to the search", func(t *testing.T) {
		do(t, chromedp.KeyEvent("k", chromedp.KeyModifiers(chromedp.ModifierCtrl)))
		if !is(t, `document.activeElement.matches('[type=search]')`) {
			t.Error("the focus is elsewhere")
		}
	})
	t.Run("the first Tab stop skips to the content", func(t *testing.T) {
		do(t, chromedp.Navigate(server.URL+"/"), chromedp.KeyEvent("\t"))
		if !is(t, `document.activeElement.matches('.skip') && document.activeElement.getBoundingClientRect().top >= 0`) {
			t.Error("no visible skip link")
		}
	})
}
