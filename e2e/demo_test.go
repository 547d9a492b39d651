package e2e

import (
	"strings"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
)

func TestTheDemo(t *testing.T) {
	t.Parallel() // most of it waits for the next one-time code
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	if !strings.Contains(w.Output(), "Beffroi-59!") || !strings.Contains(w.Output(), "plefebvre") {
		t.Errorf("the demo does not tell its accounts:\n%s", w.Output())
	}
	providerJourneys(t, w, nil)
	portalJourneys(t, w)
	t.Run("the command prints the present code of a person", func(t *testing.T) { printsCodes(t, w) })
	t.Run("a second start is quick and keeps what people have made", func(t *testing.T) { keepsState(t, w) })
}

func printsCodes(t *testing.T, w *world) {
	ctx := journey(t)
	who := &visitor.Person{Login: "jmartin", Password: "Beffroi-59!"}
	attempt, err := w.headApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor.New()
	page, err := v.Open(ctx, attempt.URL, w.headApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.Form("password")
	if err != nil {
		t.Fatal(err)
	}
	if page, err = v.Submit(ctx, form, map[string]string{"username": who.Login, "password": who.Password}, w.headApp.RedirectURI); err != nil {
		t.Fatal(err)
	}
	code, err := w.Command("demo", "code", "jmartin")
	if err != nil {
		t.Fatal(err)
	}
	if form, err = page.Form("code"); err != nil {
		t.Fatal(err)
	}
	if page, err = v.Submit(ctx, form, map[string]string{"code": strings.TrimSpace(code)}, w.headApp.RedirectURI); err != nil {
		t.Fatal(err)
	}
	if _, err := attempt.Code(page.Location()); err != nil {
		t.Errorf("the code %q that the command printed: %v: %s", code, err, page)
	}
	if _, err := w.Command("demo", "code", "nobody"); err == nil {
		t.Error("the command prints a code for nobody")
	}
}

func keepsState(t *testing.T, w *world) {
	ctx := journey(t)
	before, claims := w.enter(t, ctx, w.browser(t, ctx, "plefebvre"), w.demoApp, "plefebvre")
	took := w.Restart()
	t.Logf("ready after %s", took)
	if took > 8*time.Second { // 3 s alone on the machine; the tests share it with others
		t.Errorf("the demo takes %s to be ready", took)
	}
	_, again := w.enter(t, ctx, visitor.New(), w.demoApp, "plefebvre") // with the same telephone
	if again.Subject != claims.Subject {
		t.Errorf("plefebvre was %s and is %s", claims.Subject, again.Subject)
	}
	if answer, err := w.demoApp.Refresh(ctx, before.RefreshToken); err != nil || answer.Error != "" {
		t.Errorf("a refresh token of before: %+v %v", answer, err)
	}
}
