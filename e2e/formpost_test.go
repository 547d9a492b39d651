package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
	"beffroi/internal/testpeer"
)

// An application that pushes its request and has its answer posted is opened by itself in a browser with script, by a
// button in one without, in both languages.
func TestAPostedAnswerOpensTheToolInTheBrowser(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	for _, c := range []struct {
		login, button string
		o             testpeer.ChromiumOptions
	}{
		{"mdupont", "Continuer", testpeer.ChromiumOptions{Language: "fr"}},
		{"jmartin", "Continue", testpeer.ChromiumOptions{Language: "en", NoScript: true, Width: 390, Height: 844}},
	} {
		t.Run(fmt.Sprintf("script %v", !c.o.NoScript), func(t *testing.T) {
			ctx := journey(t)
			posted := make(chan url.Values, 1)
			tool := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/callback" {
					http.NotFound(rw, r)
					return
				}
				if r.ParseForm() == nil && r.Method == http.MethodPost && r.URL.RawQuery == "" {
					posted <- r.PostForm
				}
				rw.Header().Set("Content-Type", "text/html; charset=utf-8")
				fmt.Fprint(rw, "<!doctype html><html lang=fr><title>Outil</title><link rel=icon href='data:,'><p>arrivé")
			}))
			t.Cleanup(tool.Close)
			app := w.demoAppOn(tool.URL + "/callback")
			attempt, err := app.Push(ctx, everything, map[string]string{"response_mode": "form_post", "ui_locales": c.o.Language})
			if err != nil {
				t.Fatal(err)
			}
			b := newTab(t, c.o)
			who := w.people[c.login]
			b.open(attempt.URL)
			b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=username]"), who.Login), chromedp.SendKeys(chromedp.CSS("input[name=password]"), who.Password),
				chromedp.SendKeys(chromedp.CSS("input[name=password]"), enterKey))
			if b.value("!!document.querySelector('input[name=code]')") == "true" {
				code, err := who.Code("")
				if err != nil {
					t.Fatal(err)
				}
				b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=code]"), code), chromedp.SendKeys(chromedp.CSS("input[name=code]"), enterKey))
			}
			if c.o.NoScript {
				if button := b.value("document.querySelector('#answer button').innerText"); button != c.button {
					t.Errorf("the button says %q", button)
				}
				b.leaves(chromedp.Click(chromedp.CSS("#answer button")))
			}
			b.until("document.body.innerText.includes('arrivé')")
			b.forgive(tool.URL) // its page has no headers of ours
			answer := <-posted
			if answer.Get("state") != attempt.State || answer.Get("iss") != w.Provider || len(answer) != 3 {
				t.Fatalf("posted: %v", answer)
			}
			tokens, err := app.Redeem(ctx, answer.Get("code"), attempt.Verifier)
			if err != nil || tokens.AccessToken == "" {
				t.Fatalf("%v %+v", err, tokens)
			}
			if claims, err := app.Verify(ctx, tokens.IDToken, attempt.Nonce); err != nil || claims == nil {
				t.Errorf("ID token: %v", err)
			}
			// A reference is good once: going back does not enter again.
			b.open(attempt.URL)
			if !strings.HasPrefix(b.value("location.href"), w.Provider) {
				t.Errorf("a used reference leads to %s", b)
			}
			b.forgive("request_uri") // 400
		})
	}
}
