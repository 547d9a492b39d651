package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// waiting is an application on the person's machine that says what it was answered.
func waiting(t *testing.T, w *world) *visitor.Application {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, r *http.Request) {
		h := res.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(res, "<!doctype html><title>answered</title><link rel=icon href=data:,><p>answered")
	}))
	t.Cleanup(server.Close)
	return &visitor.Application{Issuer: w.Provider, ID: w.demoApp.ID, Secret: w.demoApp.Secret, RedirectURI: server.URL + "/callback"}
}

func TestPeopleAllowAndTakeBackByKeyboard(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "aadmin")
	ctx, app := journey(t), waiting(t, w)
	begin := func(prompt string) *visitor.Attempt {
		t.Helper()
		a, err := app.Begin(ctx, everything, map[string]string{"prompt": prompt})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	b := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	b.open(w.Portal + "/")
	b.signInByKeyboard(w, "mdupont")

	// The question: the first thing that the Tab key comes to in the form is "Autoriser".
	asked := begin("consent")
	b.open(asked.URL)
	b.accessible("the question of consent")
	if !strings.Contains(b.String(), "Outil de démonstration") || !strings.Contains(b.String(), "quand vous n’êtes pas là") {
		t.Errorf("the question does not say who asks for what: %s", b)
	}
	if b.value("document.querySelector('img.app-logo')?.naturalWidth > 0") != "true" {
		t.Error("the application's logo is not shown")
	}
	b.do(chromedp.Focus(chromedp.CSS("main .signin-who button")))
	b.leaves(b.keys(tabKey), b.keys(enterKey))
	code, err := asked.Code(b.value("location.href"))
	if err != nil {
		t.Fatalf("%v; the page is %s", err, b)
	}
	tokens, err := app.Redeem(ctx, code, asked.Verifier)
	if err != nil || tokens.RefreshToken == "" {
		t.Fatalf("%v %+v", err, tokens)
	}
	// No is an answer as well.
	asked = begin("consent")
	b.open(asked.URL)
	b.do(chromedp.Focus(chromedp.CSS("main .signin-who button")))
	b.leaves(b.keys(tabKey), b.keys(tabKey), b.keys(enterKey))
	if _, err := asked.Code(b.value("location.href")); err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("after no: %v; the page is %s", err, b)
	}

	// Another account, or this one.
	chosen := begin("select_account")
	b.open(chosen.URL)
	b.accessible("the choice of an account")
	b.until("document.activeElement?.name === 'account'")
	b.leaves(b.keys(enterKey))
	if _, err := chosen.Code(b.value("location.href")); err != nil {
		t.Errorf("%v; the page is %s", err, b)
	}

	b.open(w.Provider + "/account/applications")
	b.accessible("the connected applications")
	b.do(chromedp.Focus(chromedp.CSS(`section[aria-labelledby="app-demo-tool"] button`)))
	b.leaves(b.keys(enterKey))
	b.until("document.activeElement?.getAttribute('role') === 'status'") // told at once, to a screen reader too
	b.accessible("the connected applications, one less")
	if b.value(`!!document.querySelector('[aria-labelledby="app-demo-tool"]')`) == "true" {
		t.Errorf("it is there still: %s", b)
	}
	if again, err := app.Refresh(ctx, tokens.RefreshToken); err != nil || again.Error != "invalid_grant" {
		t.Errorf("a refresh after the access was taken back: %v %+v", err, again)
	}

	b.open(w.Provider + "/oauth2/consent?request=gone")
	b.accessible("the question that is not there")
	b.forgive("410")
}

func TestConsentWorksWithoutJavaScriptOnATelephone(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "aadmin")
	ctx, app := journey(t), waiting(t, w)
	asked, err := app.Begin(ctx, everything, map[string]string{"prompt": "consent"})
	if err != nil {
		t.Fatal(err)
	}
	b := newTab(t, testpeer.ChromiumOptions{Language: "fr", Width: 390, Height: 844, NoScript: true})
	b.open(asked.URL)
	who := w.people["aadmin"]
	b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=username]"), who.Login), chromedp.SendKeys(chromedp.CSS("input[name=password]"), who.Password+enterKey))
	if b.value("!!document.querySelector('input[name=code]')") == "true" {
		code, err := who.Code("")
		if err != nil {
			t.Fatal(err)
		}
		b.leaves(chromedp.SendKeys(chromedp.CSS("input[name=code]"), code+enterKey))
	}
	if !strings.Contains(b.String(), "Autoriser Outil de démonstration") {
		t.Fatalf("not asked: %s", b)
	}
	b.leaves(chromedp.Click(chromedp.CSS(`button[name=answer][value=allow]`)))
	if _, err := asked.Code(b.value("location.href")); err != nil {
		t.Errorf("%v; the page is %s", err, b)
	}
	b.open(w.Provider + "/account/applications")
	if !strings.Contains(b.String(), "Outil de démonstration") {
		t.Errorf("it is not listed: %s", b)
	}
	b.leaves(chromedp.Click(chromedp.CSS(`section[aria-labelledby="app-demo-tool"] button`)))
	if !strings.Contains(b.String(), "n’a plus accès") {
		t.Errorf("not told: %s", b)
	}
}
