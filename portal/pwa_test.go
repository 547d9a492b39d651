package portal

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"beffroi/internal/testpeer"
	"beffroi/internal/web"
)

func TestThePortalSaysThatThereIsNoNetwork(t *testing.T) {
	r := newRig(t, sqlite(t), newOP(t))
	b := r.browser()
	var m struct {
		Name, Display string
		Icons         []struct{ Src string }
	}
	answer := b.get("/manifest.webmanifest")
	if err := json.Unmarshal([]byte(answer.body), &m); err != nil || m.Name != "Académie" || m.Display != "standalone" || len(m.Icons) != 1 || answer.header.Get("Content-Type") != "application/manifest+json" {
		t.Fatalf("%v %s", err, answer.body)
	}
	want(t, b.get("/offline"), 200, "Pas de réseau")
	if worker := b.get("/sw.js"); worker.status != 200 || !strings.HasPrefix(worker.header.Get("Content-Type"), "text/javascript") {
		t.Fatalf("%d %v", worker.status, worker.header)
	}

	// a browser that has been here, and then has no network
	pages := r.web.Config.Handler
	both := http.NewServeMux()
	both.Handle("GET /static/", web.Static())
	both.Handle("/", pages)
	site := httptest.NewServer(both)
	ctx := testpeer.Chromium(t)
	b.signIn("mdupont", "/mail/who") // whoever is signed out leaves nothing behind
	here, err := url.Parse(r.web.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(here) {
		if _, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value, URL: site.URL + "/"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(site.URL+"/")); err != nil {
		t.Fatal(err)
	}
	holds := func(expression string) {
		t.Helper()
		var err error
		var last bool
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if last, err = chromedp.Run(ctx, chromedp.Evaluate[bool](expression)); err == nil && last {
				return
			}
		}
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
		t.Fatalf("waited in vain for %s: %v; %s", expression, err, text)
	}
	holds("!!navigator.serviceWorker.controller")
	site.CloseClientConnections()
	site.Close()
	_ = chromedp.Do(ctx, chromedp.Navigate(site.URL+"/mail/"))
	holds(`document.querySelector("h1")?.textContent === "Pas de réseau"`)
	holds(`getComputedStyle(document.querySelector(".btn")).borderRadius !== "0px"`) // its style was kept too
	if kept, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.querySelectorAll("form").length`)); err != nil || kept > 1 {
		t.Fatalf("%d forms on a page without a network, %v", kept, err)
	}
}
