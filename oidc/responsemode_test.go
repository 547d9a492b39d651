package oidc

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"beffroi/signin"
)

// form is the first form of a page: where it is posted and what it holds, as a
// browser reads them.
func (a answer) form() (action, method string, fields url.Values) {
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		return "", "", nil
	}
	attr := func(n *html.Node, name string) string {
		for _, one := range n.Attr {
			if one.Key == name {
				return one.Val
			}
		}
		return ""
	}
	for n := range root.Descendants() {
		if n.Data != "form" || attr(n, "id") != "answer" {
			continue
		}
		fields = url.Values{}
		for input := range n.Descendants() {
			if input.Data == "input" {
				fields.Add(attr(input, "name"), attr(input, "value"))
			}
		}
		return attr(n, "action"), attr(n, "method"), fields
	}
	return "", "", nil
}

// posted is what a form_post page holds, or nothing.
func (a answer) posted() url.Values {
	if a.status != http.StatusOK {
		return nil
	}
	_, _, fields := a.form()
	return fields
}

// deliveries tells, for an answer in a response mode, whether it travels that
// way and to the redirect URI.
func (w *world) deliveredBy(a answer, mode, to string) bool {
	location := a.header.Get("Location")
	switch mode {
	case modeFormPost:
		action, method, fields := a.form()
		return a.status == 200 && location == "" && action == to && method == "post" && len(fields) > 0
	case modeFragment:
		return a.status == 303 && strings.HasPrefix(location, to+"#")
	}
	return a.status == 303 && strings.HasPrefix(location, to+"?") && !strings.Contains(location, "#")
}

// wrongs are ways to be refused at the redirect URI, with the error due.
var wrongs = []struct {
	code   string
	change []string
}{
	{"unsupported_response_type", []string{"response_type", "CODE"}},
	{"invalid_request", []string{"response_type", "-"}},
	{"invalid_request", []string{"code_challenge", "-"}},
	{"invalid_request", []string{"max_age", "x"}},
	{"invalid_request", []string{"prompt", "create"}},
	{"invalid_request", []string{"id_token_hint", "a.b.c"}},
	{"invalid_scope", []string{"scope", "openid reports"}},
	{"registration_not_supported", []string{"registration", "{}"}},
}

func TestT14SuccessAndErrorNameTheIssuerInEveryResponseMode(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, mode := range append([]string{"-"}, responseModes...) {
			a := w.authorize(request("tool", "response_mode", mode))
			q := a.location()
			if !w.deliveredBy(a, mode, back) || q.Get("iss") != w.http.URL || q.Get("state") != "st-1" || len(q) != 3 {
				t.Errorf("%s: %d %s %v", mode, a.status, a.header.Get("Location"), q)
			}
			w.must(w.redeem("tool", q.Get("code")), 200)
			for _, wrong := range wrongs {
				a := w.authorize(request("tool", append(wrong.change, "response_mode", mode)...))
				w.redirectedWith(a, wrong.code)
				if !w.deliveredBy(a, mode, back) || a.location().Get("state") != "st-1" {
					t.Errorf("%s: %v travels wrongly: %d %s", mode, wrong.change, a.status, a.header.Get("Location"))
				}
			}
			// What is found after the sign-in travels the same way.
			result := w.door.result
			w.door.result = nil
			a = w.authorize(request("tool", "response_mode", mode, "prompt", "none"))
			w.redirectedWith(a, signin.LoginRequired)
			if !w.deliveredBy(a, mode, back) {
				t.Errorf("%s: login_required travels wrongly", mode)
			}
			w.door.result = result
		}
	})
}

func TestT14ImplicitAndHybridAreRefusedWhereTheyWouldBeAnswered(t *testing.T) {
	w := onOne(t)
	for types, mode := range map[string]string{"token": modeFragment, "id_token": modeFragment, "code id_token": modeFragment, "code token": modeFragment, "id_token token": modeFragment,
		"none": modeQuery, "code code": modeQuery, "device": modeQuery} {
		a := w.authorize(request("tool", "response_type", types))
		w.redirectedWith(a, "unsupported_response_type")
		if !w.deliveredBy(a, mode, back) {
			t.Errorf("%s: %s", types, a.header.Get("Location"))
		}
		a = w.authorize(request("tool", "response_type", types, "response_mode", modeFormPost))
		w.redirectedWith(a, "unsupported_response_type")
		if !w.deliveredBy(a, modeFormPost, back) {
			t.Errorf("%s by form: %d", types, a.status)
		}
	}
	a := w.authorize(request("tool", "response_type", "id_token token", "response_mode", modeQuery))
	w.redirectedWith(a, "unsupported_response_type")
	if !w.deliveredBy(a, modeFragment, back) {
		t.Errorf("a token would travel in a query: %s", a.header.Get("Location"))
	}
}

func TestAnUnknownResponseModeIsRefused(t *testing.T) {
	w := onOne(t)
	for _, mode := range []string{"jwt", "query.jwt", "form_post.jwt", "web_message", "QUERY", "query ", "form_post fragment"} {
		a := w.authorize(request("tool", "response_mode", mode))
		w.redirectedWith(a, "invalid_request")
		if !w.deliveredBy(a, modeQuery, back) {
			t.Errorf("%s: %s", mode, a.header.Get("Location"))
		}
	}
	if a := w.authorize(request("tool", "response_mode", "")); a.location().Get("code") == "" {
		t.Error("response_mode without a value is not left out")
	}
	form := request("tool", "response_mode", modeFragment)
	form.Add("response_mode", modeFormPost)
	a := w.authorize(form)
	w.redirectedWith(a, "invalid_request")
	if !w.deliveredBy(a, modeQuery, back) {
		t.Error("one of two response modes was chosen")
	}
}

var inline = regexp.MustCompile(`(?i)<script[^>]*>[^<]|\son[a-z]+\s*=|<style|\sstyle\s*=|javascript:`)

func TestT17TheFormPostPageRunsNothingInline(t *testing.T) {
	w := onOne(t)
	a := w.authorize(request("tool", "response_mode", modeFormPost))
	w.must(a, 200)
	if inline.MatchString(a.body) {
		t.Errorf("inline script or style: %s", a.body)
	}
	if !strings.Contains(a.body, "<button") || !strings.Contains(a.body, "/answer.") {
		t.Errorf("no button or no script: %s", a.body)
	}
	policy := a.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "form-action 'self' https://tool.example.test;") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "127.0.0.1") {
		t.Errorf("policy: %s", policy)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("headers: %v", a.header)
	}
	a = w.authorize(request("tool", "response_mode", modeFormPost, "redirect_uri", "http://127.0.0.1:4711/callback"))
	if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' http://127.0.0.1:4711;") {
		t.Errorf("policy of a loopback address: %s", policy)
	}
	fr, en := w.get("/oauth2/authorize?"+request("tool", "response_mode", modeFormPost).Encode(), "Accept-Language", "fr"), w.get("/oauth2/authorize?"+request("tool", "response_mode", modeFormPost).Encode(), "Accept-Language", "en")
	if !strings.Contains(fr.body, "Continuer") || !strings.Contains(en.body, "Continue<") || !strings.Contains(fr.body, "L’outil") {
		t.Error("the page speaks one language only")
	}
}

func TestRow27HostileStateAndNamesStayText(t *testing.T) {
	w := onOne(t)
	hostile := []string{`"><script>alert(1)</script>`, `' onfocus=alert(1) autofocus='`, `</form><form action=//evil.test>`, "javascript:alert(1)", "{{.}}", "<!--", "&quot;&lt;", "é\u202e𝕏", "%0d%0aSet-Cookie: x=1"}
	for _, state := range hostile {
		for _, mode := range responseModes {
			a := w.authorize(request("tool", "response_mode", mode, "state", state))
			if got := a.location().Get("state"); got != state {
				t.Errorf("%s: state %q came back as %q", mode, state, got)
			}
			if a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s: state writes a header", mode)
			}
			if mode == modeFormPost {
				if _, _, fields := a.form(); len(fields) != 3 || strings.Contains(a.body, "<script>alert") || strings.Count(a.body, "<form") != strings.Count(a.body, "</form") {
					t.Errorf("state %q is markup: %s", state, a.body)
				}
			}
		}
		// Where nothing may be redirected, the page repeats nothing of the request.
		for _, form := range []url.Values{request(state), request("tool", "redirect_uri", state), request("tool", "client_id", "-", "state", state)} {
			a := w.authorize(form)
			w.notRedirected(a)
			if strings.Contains(a.body, state) && state != "<!--" || inline.MatchString(a.body) {
				t.Errorf("%q stands in the error page: %s", state, a.body)
			}
		}
	}
}
