package e2e

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// withAuthenticator gives the browser a platform authenticator that knows its
// owner. present answers at once, as a person who is there does.
func (b *tab) withAuthenticator() (present func(bool)) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		b.t.Fatal(err)
	}
	made, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: false,
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return func(yes bool) {
		b.t.Helper()
		if _, err := chromedp.Call(b.ctx, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: made.AuthenticatorID, Enabled: yes}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// signIn types name, password and code.
func (b *tab) signIn(w *world, login string) {
	b.t.Helper()
	b.do(chromedp.SetValue(chromedp.CSS("#username"), login), chromedp.SetValue(chromedp.CSS("#password"), w.people[login].Password))
	b.leaves(chromedp.Click(chromedp.CSS(`form[action^="/signin?"] button[type=submit]`)))
}

func (b *tab) typeCode(code string) {
	b.t.Helper()
	b.do(chromedp.SetValue(chromedp.CSS("#code"), code))
	b.leaves(chromedp.Click(chromedp.CSS(`main form.stack button[type=submit]`)))
}

// TestFactorsInTheBrowser: a passkey is made, signs in without a password, as a
// second factor and from the name field, is removed; recovery codes; a trusted
// browser; the fresh factor that the heads' tool asks for.
func TestFactorsInTheBrowser(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	b := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	present := b.withAuthenticator()
	account := w.Provider + "/account"
	out := func() {
		t.Helper()
		b.open(account)
		b.leaves(chromedp.Click(chromedp.CSS(`main form[action="/logout"] button`)))
	}

	// Signed in with password and code, she adds a passkey.
	b.open(account + "/passkeys/new")
	b.signIn(w, "jmartin")
	code, err := w.people["jmartin"].Code("")
	if err != nil {
		t.Fatal(err)
	}
	b.typeCode(code)
	b.accessible("the page of a new passkey")
	present(true)
	b.to(`location.search === "?done=passkey"`, chromedp.Click(chromedp.CSS("[data-passkey-start]")))
	b.accessible("my security")
	b.open(account + "/recovery")
	b.leaves(chromedp.Click(chromedp.CSS(`form[action="/account/recovery"] button`)))
	b.accessible("the recovery codes")
	recovery := b.value(`document.querySelector(".account-codes code").textContent`)
	out()

	// Without a password, by the button; nobody answers the name field meanwhile.
	present(false)
	b.open(w.Portal + "/")
	b.value(`(() => {
		const get = navigator.credentials.get.bind(navigator.credentials);
		navigator.credentials.get = async (options) => {
			if (options.mediation !== "conditional") await new Promise((go) => { window.here = go; });
			return get(options);
		};
	})()`) // a request that finds nobody there is not answered when somebody comes
	b.do(chromedp.Click(chromedp.CSS("[data-passkey-start]"))) // takes the place of the request in the name field
	b.until(`window.here`)
	present(true)
	b.value(`here()`)
	b.until(fmt.Sprintf("location.href === %q", w.Portal+"/"))
	if !strings.Contains(b.String(), "Martin") {
		t.Errorf("the launcher does not name him: %s", b)
	}
	out()

	// From the name field (conditional UI): the request of the page is answered.
	b.open(w.Portal + "/")
	b.until(fmt.Sprintf("location.href === %q", w.Portal+"/"))
	out()

	// As second factor.
	present(false)
	b.open(account + "/history")
	b.signIn(w, "jmartin")
	if at := b.value("location.pathname"); at != "/account/history" {
		t.Fatalf("the history asks for more than a password: %s", at)
	}
	b.open(w.Portal + "/")
	b.until(`document.querySelector('input[name=by][value=passkey]')`)
	b.accessible("the page of a passkey")
	present(true)
	b.to(fmt.Sprintf("location.href === %q", w.Portal+"/"), chromedp.Click(chromedp.CSS("[data-passkey-start]")))
	out()

	// With a recovery code, and the browser is trusted from then on.
	present(false)
	b.open(w.Portal + "/")
	b.signIn(w, "jmartin")
	b.leaves(chromedp.Click(chromedp.CSS(`a[href*="by=recovery"]`)))
	b.accessible("the page of a recovery code")
	b.do(chromedp.Click(chromedp.CSS("#trust")))
	b.typeCode(recovery)
	b.until(fmt.Sprintf("location.href === %q", w.Portal+"/"))
	out()
	b.open(w.Portal + "/")
	b.signIn(w, "jmartin")
	b.until(fmt.Sprintf("location.href === %q", w.Portal+"/"))

	// The heads' tool asks for a fresh factor: the trusted browser is not enough.
	attempt, err := w.headApp.Begin(journey(t), "openid", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.open(attempt.URL)
	b.until(`document.querySelector('input[name=by]')`)

	// The passkey is removed, and opens nothing any more.
	present(true)
	b.to(`location.protocol === "chrome-error:" || location.host.startsWith("127.0.0.1:4915")`, chromedp.Click(chromedp.CSS("[data-passkey-start]")))
	b.open(account)
	b.leaves(chromedp.Click(chromedp.CSS(`.account-factors a[href^="/account/factors/"]`)))
	b.accessible("the page of a factor")
	b.leaves(chromedp.Click(chromedp.CSS(`form[action$="/remove"] button`)))
	if got := b.value("location.search"); got != "?done=removed" {
		t.Errorf("removed: %s", b)
	}
	b.forgive("4915") // nobody listens for the heads' tool here
}

// TestDeskResetsAndCutsEverything: the helper resets a teacher after the three
// words and is refused for others; a head agrees; all of it is in the trail and
// in the mail; what the teacher had open is dead at once. The lock of a second
// browser cuts a live webmail.
func TestDeskResetsAndCutsEverything(t *testing.T) {
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	ctx := journey(t)
	sarah := w.people["ssmith"]
	in := visitor.New()
	tokens, claims, _, err := in.Enter(ctx, w.demoApp, sarah, "openid offline_access")
	if err != nil {
		t.Fatal(err)
	}
	mail, err := in.Open(ctx, w.Portal+"/mail/", "")
	if err != nil || !mail.Says("INBOX", "Inbox", "Boîte") {
		t.Fatalf("%v\n%s", err, mail)
	}
	phrase, err := in.Open(ctx, w.Provider+"/account/phrase", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = in.Post(ctx, w.Provider+"/account/phrase", url.Values{}, w.Provider+"/account/phrase"); err == nil {
		phrase, err = in.Open(ctx, w.Provider+"/account/phrase", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	words := wordsOf(phrase.Body)
	if len(words) != 3 {
		t.Fatalf("%v in\n%s", words, phrase)
	}

	desk := visitor.New()
	if _, _, _, err := desk.Enter(ctx, w.demoApp, w.people["mdupont"], "openid"); err != nil {
		t.Fatal(err)
	}
	at := w.Provider + "/helpdesk/" + claims.Subject
	post := func(v *visitor.Visitor, address string, form url.Values) *visitor.Page {
		t.Helper()
		p, err := v.Post(ctx, address, form, w.Provider+"/helpdesk/")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	post(desk, at+"/verify", url.Values{"way": {"phrase"}, "phrase": {strings.Join(words, " ")}})
	if p := post(desk, at+"/reset", url.Values{"reason": {"ticket 4711, telephone lost"}}); !strings.Contains(p.Location(), "done=reset") {
		t.Fatalf("%s", p)
	}
	cut := time.Now()
	if dead, err := w.demoApp.Refresh(ctx, tokens.RefreshToken); err != nil || dead.Error != "invalid_grant" {
		t.Errorf("the refresh token: %+v, %v", dead, err)
	}
	if p, err := in.Open(ctx, w.Provider+"/account/sessions", ""); err == nil && strings.HasPrefix(p.URL.Path, "/account/sessions") {
		t.Error("the session lives")
	}
	for {
		p, err := in.Open(ctx, w.Portal+"/mail/", "")
		if err == nil && !strings.HasPrefix(p.URL.String(), w.Portal+"/mail/") {
			break
		}
		if time.Since(cut) > 5*time.Second {
			t.Errorf("the webmail lives five seconds later: %v", err)
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	trail, err := w.Command("audit", "list", "-person", "ssmith")
	if err != nil || !strings.Contains(trail, "helpdesk.reset") || !strings.Contains(trail, "verified=phrase") || !strings.Contains(trail, "helpdesk.phrase") {
		t.Errorf("%v\n%s", err, trail)
	}
	for _, other := range []string{"jmartin", "mdupont"} {
		found, err := desk.Open(ctx, w.Provider+"/helpdesk/?q="+other, "")
		if err != nil {
			t.Fatal(err)
		}
		who := ""
		for _, l := range found.Links() {
			if strings.HasPrefix(l.Href, w.Provider+"/helpdesk/") && len(l.Href) > len(w.Provider+"/helpdesk/")+30 {
				who = l.Href
			}
		}
		if p := post(desk, who+"/reset", url.Values{"reason": {"une raison"}}); !p.Says("ne pouvez pas agir", "cannot act") {
			t.Errorf("%s: %s", other, p)
		}
	}
	if !strings.Contains(trail, "mdupont → ssmith") {
		t.Errorf("the trail does not say to whom:\n%s", trail)
	}
	if report, err := w.Command("audit", "verify"); err != nil || !strings.Contains(report, "The trail holds") {
		t.Errorf("%v\n%s", err, report)
	}

	// She enrols again, reads of the reset in her mail, and locks from a second browser.
	sarah.Phone = nil
	again, second := visitor.New(), visitor.New()
	if _, _, _, err := again.Enter(ctx, w.demoApp, sarah, "openid"); err != nil {
		t.Fatal(err)
	}
	seen := false
	for end := time.Now().Add(30 * time.Second); !seen && time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		p, err := again.Open(ctx, w.Portal+"/mail/", "")
		if err != nil {
			t.Fatal(err)
		}
		seen = p.Says("were reset")
	}
	if !seen {
		t.Error("no mail tells of the reset")
	}
	if _, _, _, err := second.Enter(ctx, w.demoApp, sarah, "openid"); err != nil {
		t.Fatal(err)
	}
	post(second, w.Provider+"/account/lock", url.Values{})
	cut = time.Now()
	for {
		p, err := again.Open(ctx, w.Portal+"/mail/", "")
		if err == nil && !strings.HasPrefix(p.URL.String(), w.Portal+"/mail/") {
			break
		}
		if time.Since(cut) > 5*time.Second {
			t.Errorf("the webmail lives five seconds after the lock: %v", err)
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// wordsOf finds the three words on the phrase's page.
func wordsOf(page string) (words []string) {
	for rest := page; ; {
		_, after, ok := strings.Cut(rest, `<span lang="fr">`)
		if !ok {
			return words
		}
		word, tail, _ := strings.Cut(after, "<")
		words, rest = append(words, word), tail
	}
}

// TestKeyAndMailCodeInTheBrowser: a teacher activates the OTP key that the school handed over, adds an address outside the
// academy, and signs in by a code that came there; an address behind this very door is refused.
func TestKeyAndMailCodeInTheBrowser(t *testing.T) {
	w := newWorld(t, rig.Demo(t))
	command := func(words ...string) string {
		t.Helper()
		out, err := w.Command(words...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", words, err, out)
		}
		return strings.TrimSpace(out)
	}
	mailed := func(not string) string {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // sent in the background
			out, err := w.Command("demo", "mail", "paul@perso.example")
			if code := regexp.MustCompile(`\b\d{4} ?\d{4}\b`).FindString(out); err == nil && code != "" && code != not {
				return code
			}
		}
		t.Fatal("no code came")
		return ""
	}
	b := newTab(t, testpeer.ChromiumOptions{Language: "fr"})
	home := fmt.Sprintf("location.href === %q", w.Portal+"/")
	b.open(w.Portal + "/")
	b.signIn(w, "plefebvre")
	b.accessible("the activation of a key")
	b.do(chromedp.SetValue(chromedp.CSS("#pin"), "4862"), chromedp.SetValue(chromedp.CSS("#answer"), "4862"+command("demo", "code", "-key", "DEMO-0001")))
	b.leaves(chromedp.Click(chromedp.CSS(`form[action^="/signin/enrol/key"] button`)))
	b.until(home)

	b.open(w.Provider + "/account/mail")
	add := func(address string) {
		t.Helper()
		b.do(chromedp.SetValue(chromedp.CSS("#address"), address))
		b.leaves(chromedp.Click(chromedp.CSS(`form[action="/account/mail"] button`)))
	}
	for _, own := range []string{"paul.lefebvre@academie.test", "x@sous.ACADEMIE.test"} {
		add(own)
		b.until(`document.querySelector("#problem") && !document.querySelector("#code")`)
	}
	b.accessible("an address that is refused")
	add("paul@perso.example")
	code := mailed("")
	b.do(chromedp.SetValue(chromedp.CSS("#code"), code))
	b.leaves(chromedp.Click(chromedp.CSS(`form[action="/account/mail/confirm"] button`)))
	b.until(`location.pathname === "/account"`)

	b.open(w.Provider + "/account/signout")
	b.leaves(chromedp.Click(chromedp.CSS(`main form [type=submit]`)))
	b.open(w.Portal + "/")
	b.signIn(w, "plefebvre")
	b.leaves(chromedp.Click(chromedp.CSS(`a[href*="by=mail"]`)))
	b.leaves(chromedp.Click(chromedp.CSS(`form[action^="/signin/mailcode"] button`)))
	b.accessible("the page of a code by e-mail")
	b.typeCode(code) // was used
	b.until(`document.querySelector("#problem")`)
	b.typeCode(mailed(code))
	b.until(home)
	b.forgive("422") // what was refused above
}
