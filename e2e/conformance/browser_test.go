package conformance

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"beffroi/internal/testpeer"
)

// What the other tests do without script, as the suite's own browser half does, a real one does by itself: it posts the answer of
// response_mode=form_post, loads the frames of a front-channel logout, and goes back to the application.
func TestARealBrowserPostsTheAnswerAndLeavesByItself(t *testing.T) {
	certificate := testpeer.MakeCertificate(t)
	p := start(t, certificate, testpeer.Slapd(t), "sqlite:"+testpeer.Dir(t)+"/beffroi.db")
	m := &module{T: t, provider: p, plan: planOf("oidcc-formpost-basic-certification-test-plan")}
	a := m.static(framed)
	q := m.request(a)
	tab := testpeer.Chromium(t)
	if err := chromedp.Do(tab,
		chromedp.Navigate(m.endpoint("authorization_endpoint")+"?"+q.Encode()),
		chromedp.SendKeys(chromedp.CSS("#username"), p.person.Login), chromedp.SendKeys(chromedp.CSS("#password"), p.person.Password),
		chromedp.Click(chromedp.CSS("form button.btn-primary")),
	); err != nil {
		t.Fatal(err)
	}
	arrived := func(at string) string {
		t.Helper()
		var text string
		testpeer.WaitFor(m, "the browser at "+at, 30*time.Second, func() bool {
			seen, err := chromedp.Run(tab, chromedp.Evaluate[string]("document.readyState === 'complete' ? location.href + '\\n' + document.body.innerText : ''"))
			var found bool
			address, body, _ := strings.Cut(seen, "\n")
			text, found = body, err == nil && strings.HasPrefix(address, at)
			return found
		})
		return text
	}
	var c call
	if err := json.Unmarshal([]byte(arrived(a.redirect)), &c); err != nil {
		t.Fatal(err)
	}
	if c.Method != http.MethodPost || c.Form.Get("state") != q.Get("state") || c.Form.Get("iss") != p.party.issuer {
		t.Errorf("the answer arrives as %+v", c)
	}
	g := &grant{application: a, request: q, code: m.code(c.Form)}
	g.tokens = m.redeem(g)
	m.checkTokens(g.tokens)
	g.header, g.claims = m.checkIDToken(a, q, g.tokens)

	back := p.party.base + "/post_logout_redirect"
	leave := url.Values{"id_token_hint": {g.tokens.text("id_token")}, "post_logout_redirect_uri": {back}, "state": {random(10)}}
	if err := chromedp.Do(tab, chromedp.Navigate(m.endpoint("end_session_endpoint")+"?"+leave.Encode())); err != nil {
		t.Fatal(err)
	}
	arrived(back + "?state=" + leave.Get("state"))
	calls := p.party.calls("/frontchannel_logout")
	if len(calls) != 1 || calls[0].Query.Get("iss") != p.party.issuer || calls[0].Query.Get("sid") != g.claims["sid"] {
		t.Errorf("the frame was asked as %+v", calls)
	}
	again := m.request(a, with("prompt", "none"))
	if err := chromedp.Do(tab, chromedp.Navigate(m.endpoint("authorization_endpoint")+"?"+again.Encode())); err != nil {
		t.Fatal(err)
	}
	var refusal call
	if err := json.Unmarshal([]byte(arrived(a.redirect)), &refusal); err != nil {
		t.Fatal(err)
	}
	m.refusedWith(refusal.Form, interaction...)
}
