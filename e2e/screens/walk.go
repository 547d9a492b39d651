package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"beffroi/e2e/visitor"
)

// The sample people of the demo. A code is good once, so each language has a
// person of its own.
const (
	password = "Beffroi-59!"
	secret   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	holder   = "plefebvre" // was handed an OTP key
)

var (
	person   = map[string]string{"fr": "mdupont", "en": "aadmin"}
	newcomer = map[string]string{"fr": holder, "en": "lwattrelos"} // no second factor yet
)

// step is one page: how to come there, and the picture's name.
type step struct {
	name string
	open func() error
}

// walkDemo goes from the closed door to every module. A page that cannot be
// reached is a finding; the walk goes on with the next.
func (c *camera) walkDemo() error {
	for _, s := range c.door() {
		c.try(s)
	}
	if err := c.signIn(person[c.lang]); err != nil {
		return fmt.Errorf("sign in as %s: %w", person[c.lang], err)
	}
	for _, s := range c.inside() {
		c.try(s)
	}
	return nil
}

func (c *camera) try(s step) {
	if err := s.open(); err != nil {
		c.finding(s.name, "not reached", err.Error())
		return
	}
	if err := c.take(s.name); err != nil {
		c.finding(s.name, "picture", err.Error())
	}
}

// door is what anyone sees before being let in.
func (c *camera) door() []step {
	return []step{
		{"signin", func() error { return c.open(c.portal + "/") }},
		{"signin-wrong", func() error { return c.password("mdupont", "wrong") }},
		{"lock-card", func() error { return c.open(c.provider + "/account/lock") }},
		{"lock-card-wrong", func() error {
			if err := c.do(chromedp.SetValue(chromedp.CSS(`input[name="login"]`), "mdupont")); err != nil {
				return err
			}
			return c.send("card", "0000-0000-0000-0000")
		}},
		{"signin-again", func() error { return c.open(c.portal + "/") }},
		{"signin-enrol", func() error { return c.password(newcomer[c.lang], password) }},
		{"signin-enrol-wrong", func() error { return c.send("code", "000000") }},
		{"signin-letter", func() error { return c.open(c.provider + "/enrol#ABCD-EFGH") }},
		{"signin-factor", func() error {
			if err := c.open(c.portal + "/"); err != nil {
				return err
			}
			return c.password(person[c.lang], password)
		}},
		{"signin-factor-wrong", func() error { return c.send("code", "000000") }},
	}
}

// inside is what the person sees once signed in.
func (c *camera) inside() []step {
	to := c.at
	from := c.beyond
	return slices.Concat([]step{
		{"portal-home", to("/")},
		{"portal-menu", func() error { return c.do(chromedp.Click(chromedp.CSS("details.person > summary"))) }},
	}, c.mail(), []step{
		{"agenda-week", to("/agenda/")},
		{"agenda-list", to("/agenda/?view=list")},
		{"agenda-event", from("/agenda/?view=list", c.links("event"))},
		{"agenda-new", to("/agenda/new")},
		{"contacts-list", to("/contacts/")},
		{"contacts-search", to("/contacts/?q=mar")},
		{"contacts-none", to("/contacts/?q=zzzzzz")},
		{"contacts-card", from("/contacts/?q=mar", c.links("card"))},
		{"contacts-new", to("/contacts/new")},
		{"account", func() error { return c.open(c.provider + "/account") }},
		{"account-factor", func() error { return c.follow(`.account-factors a[href^="/account/factors/"]`) }},
		{"account-passkey", func() error { return c.open(c.provider + "/account/passkeys/new") }},
		{"account-totp", func() error { return c.open(c.provider + "/account/totp/new") }},
		{"account-keys-none", func() error { return c.open(c.provider + "/account/key") }},
		{"account-mail", func() error { return c.open(c.provider + "/account/mail") }},
		{"account-mail-own", func() error { return c.send("address", "marie.dupont@academie.test") }},
		{"account-mail-sent", func() error { return c.send("address", c.outside()) }},
		{"account-mail-kept", func() error {
			code, err := c.mailed()
			if err != nil {
				return err
			}
			return c.send("code", code)
		}},
		{"account-recovery", func() error { return c.open(c.provider + "/account/recovery") }},
		{"account-recovery-made", func() error { return c.submit(`form[action="/account/recovery"] button`) }},
		{"account-card", func() error { return c.open(c.provider + "/account/card") }},
		{"account-card-made", func() error { return c.submit(`form[action="/account/card"] button`) }},
		{"account-sessions", func() error { return c.open(c.provider + "/account/sessions") }},
		{"account-history", func() error { return c.open(c.provider + "/account/history") }},
		{"account-phrase", func() error { return c.open(c.provider + "/account/phrase") }},
		{"account-phrase-made", func() error { return c.submit(`form[action="/account/phrase"] button`) }},
		{"helpdesk", func() error { return c.open(c.provider + "/helpdesk/") }},
		{"helpdesk-found", func() error { return c.open(c.provider + "/helpdesk/?q=0590002B") }},
		{"helpdesk-none", func() error { return c.open(c.provider + "/helpdesk/?q=zzzzzz") }},
		{"helpdesk-person", func() error {
			if err := c.open(c.provider + "/helpdesk/?q=" + map[string]string{"fr": "ssmith", "en": "xpartenaire"}[c.lang]); err != nil {
				return err
			}
			return c.follow(`a[href^="/helpdesk/"].row-link`)
		}},
		{"helpdesk-person-locked", func() error {
			if err := c.do(chromedp.SetValue(chromedp.CSS(`#reason`), "ticket 4711")); err != nil {
				return err
			}
			return c.submit(`button[formaction$="/lock"]`)
		}},
		{"helpdesk-requests", func() error { return c.open(c.provider + "/helpdesk/requests") }},
		{"helpdesk-refused", func() error {
			if err := c.open(c.provider + "/helpdesk/?q=jmartin"); err != nil {
				return err
			}
			return c.follow(`a[href^="/helpdesk/"].row-link`)
		}},
		{"helpdesk-follow-up", func() error { return c.open(c.provider + "/helpdesk/follow-up") }},
		{"helpdesk-follow-up-school", func() error { return c.open(c.provider + "/helpdesk/follow-up?school=0590002B") }},
		{"helpdesk-school", func() error { return c.open(c.provider + "/helpdesk/schools/0590002B") }},
		{"helpdesk-letters", func() error { return c.open(c.provider + "/helpdesk/schools/0590002B/letters") }},
		{"helpdesk-keys", func() error { return c.open(c.provider + "/helpdesk/keys") }},
		{"helpdesk-keys-none", func() error { return c.open(c.provider + "/helpdesk/keys?serial=ZZZ") }},
		{"helpdesk-key", func() error { return c.open(c.provider + "/helpdesk/keys/DEMO-0001") }},
		{"helpdesk-key-late", func() error { return c.open(c.provider + "/helpdesk/keys/DEMO-0004") }},
		{"helpdesk-key-stock", func() error { return c.open(c.provider + "/helpdesk/keys/DEMO-0003") }},
		{"helpdesk-import", func() error {
			return c.upload("serial,seed,counter\nNEW-0001,3132333435363738393031323334353637383930,0\nNEW-0002,short,0\nDEMO-0003,3132333435363738393031323334353637383930,0\n")
		}},
		{"account-lock", func() error { return c.open(c.provider + "/account/lock") }},
		{"consent", func() error {
			return c.open(c.authorize("demo-tool", "prompt", "consent", "scope", "openid profile email groups offline_access"))
		}},
		{"answer-posted", func() error {
			return c.openStill(c.authorize("demo-tool", "response_mode", "form_post"))
		}},
		{"consent-gone", func() error { return c.open(c.provider + "/oauth2/consent?request=gone") }},
		{"signin-choice", func() error { return c.open(c.authorize("demo-tool", "prompt", "select_account")) }},
		{"applications", func() error { return c.open(c.provider + "/account/applications") }},
		{"applications-revoked", func() error { return c.submit(`form[action="/account/applications"] button`) }},
		{"account-signout", func() error { return c.open(c.provider + "/account/signout") }},
		{"signin-expired", func() error { return c.open(c.provider + "/signin?flow=gone") }},
		{"signin-lost", func() error { return c.open(c.provider + "/signin/lost") }},
		{"redirect-refused", func() error {
			return c.open(c.provider + "/oauth2/authorize?client_id=demo-tool&response_type=code&redirect_uri=https%3A%2F%2Felsewhere.test%2F")
		}},
		{"logout-question", func() error { return c.open(c.provider + "/oauth2/logout?client_id=demo-tool") }},
		{"logout-refused", func() error {
			return c.open(c.provider + "/oauth2/logout?client_id=demo-tool&post_logout_redirect_uri=https%3A%2F%2Felsewhere.test%2F")
		}},
		{"refused", func() error { return c.open(c.authorize("direction-tool")) }},
		{"error-404", to("/nowhere")},
		{"error-404-provider", func() error { return c.open(c.provider + "/nowhere") }},
		{"device", func() error { return c.open(c.provider + "/device") }},
		{"device-wrong", func() error { return c.send("user_code", "wdjb-mjht") }},
		{"device-sent", func() error {
			code, err := c.device("demo-printer")
			if err != nil {
				return err
			}
			return c.open(c.provider + "/device?user_code=" + code)
		}},
		{"device-confirm", func() error { return c.submit(`input[name="user_code"]`) }},
		{"device-allowed", func() error { return c.submit(`button[value="allow"]`) }},
		{"device-refused", func() error {
			code, err := c.device("demo-printer")
			if err != nil {
				return err
			}
			if err := c.open(c.provider + "/device?user_code=" + code); err != nil {
				return err
			}
			if err := c.submit(`input[name="user_code"]`); err != nil {
				return err
			}
			return c.submit(`button[value="refuse"]`)
		}},
		{"device-expired", func() error { return c.open(c.provider + "/device/confirm?request=gone") }},
		{"signed-out", func() error {
			if err := c.open(c.portal + "/"); err != nil {
				return err
			}
			return c.submit(`form[action="/logout"] button`)
		}},
		{"signin-mail", func() error {
			if err := c.open(c.portal + "/"); err != nil {
				return err
			}
			if err := c.password(person[c.lang], password); err != nil {
				return err
			}
			return c.follow(`.signin-ways a[href*="by=mail"]`)
		}},
		{"signin-mail-sent", func() error { return c.submit(`form[action^="/signin/mailcode"] button`) }},
		{"signin-mail-wrong", func() error { return c.send("code", "00000000") }},
		{"signin-key", c.keyholder},
		{"signin-key-wrong", func() error { return c.send("code", "1234000000") }},
	})
}

// at opens a page of the portal.
func (c *camera) at(path string) func() error {
	return func() error { return c.open(c.portal + path) }
}

// beyond follows a link of a page of the portal.
func (c *camera) beyond(path, selector string) func() error {
	return func() error {
		if err := c.open(c.portal + path); err != nil {
			return err
		}
		return c.follow(selector)
	}
}

// outside is an address outside the academy, of the person of the walk.
func (c *camera) outside() string { return person[c.lang] + "@perso.example" }

// mailed is the code that came there.
func (c *camera) mailed() (string, error) {
	for range 50 { // it is sent in the background
		out, err := exec.Command(c.binary, "demo", "mail", c.outside(), "-dir", c.dir).Output()
		if code := regexp.MustCompile(`\b\d{4} ?\d{4}\b`).FindString(string(out)); err == nil && code != "" {
			return code, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "", fmt.Errorf("no code came to %s", c.outside())
}

// upload puts a file of OTP keys in and waits for its report.
func (c *camera) upload(text string) error {
	if err := c.open(c.provider + "/helpdesk/keys"); err != nil {
		return err
	}
	file := filepath.Join(c.out, "keys.csv")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(file) }()
	if err := c.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}), chromedp.SetValue(chromedp.CSS("#into"), "0590002B")); err != nil {
		return err
	}
	if err := c.submit(`form[action="/helpdesk/keys/import"] [type=submit]`); err != nil {
		return err
	}
	for range 50 {
		if c.has(`button[name=answer]`) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the file was not read: %s", c.location())
}

// keyholder stands at the second factor of somebody with an OTP key, which is
// activated first where it is not.
func (c *camera) keyholder() error {
	begin := func() error {
		if err := c.open(c.portal + "/"); err != nil {
			return err
		}
		return c.password(holder, password)
	}
	if err := begin(); err != nil {
		return err
	}
	if !c.has("#pin") {
		return nil
	}
	out, err := exec.Command(c.binary, "demo", "code", "-key", "DEMO-0001").Output()
	if err != nil {
		return err
	}
	if err := c.do(chromedp.SetValue(chromedp.CSS("#pin"), "4862")); err != nil {
		return err
	}
	if err := c.send("answer", "4862"+strings.TrimSpace(string(out))); err != nil {
		return err
	}
	for _, s := range []step{
		{"account-keys", func() error { return c.open(c.provider + "/account/key") }},
		{"signed-out-key", func() error {
			if err := c.open(c.provider + "/account/signout"); err != nil {
				return err
			}
			return c.submit(`main form [type=submit]`)
		}},
	} {
		c.try(s)
	}
	return begin()
}

// links names the first link to an item of a list.
func (c *camera) links(kind string) string {
	return map[string]string{
		"mail":  `main a.mail-row-link`,
		"event": `main a[href^="/agenda/event/"][href*="personal"], main a[href^="/agenda/event/"]`,
		"card":  `main .row-link`,
	}[kind]
}

// device lets an application ask for a device code and returns what the device
// would show.
func (c *camera) device(client string) (string, error) {
	res, err := http.PostForm(c.provider+"/oauth2/device_authorization", url.Values{"client_id": {client}, "scope": {"openid profile email offline_access"}})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct {
		Code string `json:"user_code"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Code == "" {
		return "", fmt.Errorf("device code for %s: status %d, %w", client, res.StatusCode, err)
	}
	return answer.Code, nil
}

func (c *camera) follow(selector string) error {
	href := c.attribute(selector, "href")
	if href == "" {
		return fmt.Errorf("%s: nothing matches %s", c.location(), selector)
	}
	return c.open(href)
}

// send fills one field and sends its form by the Enter key's way.
func (c *camera) send(field, value string) error {
	sel := chromedp.CSS(fmt.Sprintf("input[name=%q]", field))
	if !c.has(string(sel)) {
		return fmt.Errorf("no field %q at %s", field, c.location())
	}
	if err := c.do(chromedp.SetValue(sel, value)); err != nil {
		return err
	}
	return c.submit(string(sel))
}

// submit sends the form around an element, by that element when it is a button,
// and waits for the answer.
func (c *camera) submit(selector string) error {
	js := fmt.Sprintf(`(()=>{window.stale=true;const e=document.querySelector(%q),f=e.form;f.requestSubmit(e.type==='submit'?e:f.querySelector('[type=submit]'))})()`, selector)
	if err := c.do(chromedp.Evaluate[chromedp.Void](js)); err != nil {
		return err
	}
	for range 100 {
		time.Sleep(50 * time.Millisecond)
		fresh, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](`!window.stale && document.readyState==='complete'`))
		if err == nil && fresh {
			return nil
		}
	}
	return fmt.Errorf("no answer to the form at %s", c.location())
}

func (c *camera) password(login, word string) error {
	name, field := chromedp.CSS(`input[name="username"]`), chromedp.CSS(`input[name="password"]`)
	if !c.has(string(name)) {
		if err := c.open(c.portal + "/"); err != nil {
			return err
		}
	}
	if !c.has(string(name)) {
		return fmt.Errorf("no sign-in form at %s", c.location())
	}
	if err := c.do(chromedp.SetValue(name, login), chromedp.SetValue(field, word)); err != nil {
		return err
	}
	return c.submit(string(field))
}

// signIn goes through password and code, whatever page it starts from.
func (c *camera) signIn(login string) error {
	if err := c.open(c.portal + "/"); err != nil {
		return err
	}
	if c.has(`input[name="password"]`) {
		if err := c.password(login, password); err != nil {
			return err
		}
	}
	telephone, err := visitor.NewAuthenticator(secret)
	if err != nil {
		return err
	}
	for range 3 {
		if !c.has(`input[name="code"]`) {
			return nil
		}
		if err := c.send("code", telephone.Code()); err != nil { // refused once when another visitor used it just before
			return err
		}
	}
	if c.has(`input[name="code"]`) {
		return fmt.Errorf("the code was refused at %s", c.location())
	}
	return nil
}

// authorize is the address that an application sends a browser to.
func (c *camera) authorize(client string, change ...string) string {
	verifier := sha256.Sum256([]byte(rand.Text()))
	form := url.Values{
		"client_id": {client}, "response_type": {"code"}, "redirect_uri": {"http://127.0.0.1/callback"},
		"scope": {"openid profile"}, "state": {rand.Text()}, "nonce": {rand.Text()},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(verifier[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	return c.provider + "/oauth2/authorize?" + form.Encode()
}
