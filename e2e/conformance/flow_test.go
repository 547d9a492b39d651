package conformance

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"beffroi/e2e/visitor"
)

// change adds to a request or takes from it.
type change func(url.Values)

// with sets a parameter; the empty value takes it away.
func with(name, value string) change {
	return func(q url.Values) {
		if value == "" {
			q.Del(name)
		} else {
			q.Set(name, value)
		}
	}
}

// request is the suite's authorization request: scope openid, a random state and nonce, no PKCE (CreateAuthorizationRequestSteps).
func (m *module) request(a *application, changes ...change) url.Values {
	q := url.Values{"response_type": {"code"}, "client_id": {a.id}, "redirect_uri": {a.redirect}, "scope": {"openid"}, "state": {random(10)}, "nonce": {random(10)}}
	if m.plan.responseMode != "" {
		q.Set("response_mode", m.plan.responseMode)
	}
	for _, f := range changes {
		f(q)
	}
	return q
}

// send sends the browser with a request and gives the page that it meets.
func (m *module) send(q url.Values) *visitor.Page {
	m.Helper()
	m.shown = nil
	return m.open(m.endpoint("authorization_endpoint") + "?" + q.Encode())
}

// open sends the browser to an address and gives the first page that waits for somebody, or the redirect to the party.
func (m *module) open(address string) *visitor.Page {
	m.Helper()
	page, err := m.browser.Open(m.Context(), address, m.party.base)
	if err != nil {
		m.Fatal(err)
	}
	return page
}

// asked tells whether the provider has shown that page since the browser was sent.
func (m *module) asked(what string) bool { return slices.Contains(m.shown, what) }

// authorize sends the browser with a request, signs the person in where asked, consents where asked, and gives what arrived at
// the redirect URI.
func (m *module) authorize(a *application, q url.Values) url.Values {
	m.Helper()
	return m.arrive(a, q, m.send(q))
}

// arrive follows the browser from a page to the redirect URI.
func (m *module) arrive(a *application, q url.Values, page *visitor.Page) url.Values {
	m.Helper()
	for range 8 {
		if to := page.Location(); strings.HasPrefix(to, m.party.base) {
			return m.received(a, q, m.open(to))
		}
		form, changes := m.next(page)
		if form == nil {
			m.Fatalf("the browser stops before the redirect URI: %s", page)
		}
		// a browser holds a form to this on every redirect that follows
		if csp := page.Header.Get("Content-Security-Policy"); !slices.ContainsFunc(strings.Split(csp, ";"), func(rule string) bool {
			words := strings.Fields(rule)
			return len(words) > 0 && words[0] == "form-action" && slices.Contains(words, m.party.base)
		}) {
			m.Errorf("the form may not lead to the application: %s", csp)
		}
		var err error
		if page, err = m.browser.Submit(m.Context(), form, changes, m.party.base); err != nil {
			m.Fatal(err)
		}
		if strings.HasPrefix(page.URL.String(), m.party.base) {
			return m.received(a, q, page)
		}
	}
	m.Fatalf("the provider asks without end, at last: %s", page)
	return nil
}

// next is the form that the person sends from a page, and what they fill in: their password, their consent, or the answer of a
// page with response_mode=form_post, which a browser with script sends by itself.
func (m *module) next(page *visitor.Page) (*visitor.Form, map[string]string) {
	for _, f := range page.Forms() {
		switch {
		case strings.HasPrefix(f.Action, m.party.base):
			return f, nil
		case f.Types["password"] == "password" && !m.asked("password"):
			m.shown = append(m.shown, "password")
			return f, map[string]string{"username": m.person.Login, "password": m.person.Password}
		case f.Types["answer"] == "button" && !m.asked("consent"):
			m.shown = append(m.shown, "consent")
			return f, map[string]string{"answer": "allow"}
		}
	}
	return nil, nil
}

// received checks how an answer came and gives its parameters.
func (m *module) received(a *application, q url.Values, page *visitor.Page) url.Values {
	m.Helper()
	var c call
	if err := json.Unmarshal([]byte(page.Body), &c); err != nil {
		m.Fatalf("no callback: %s", page)
	}
	redirect, err := url.Parse(a.redirect)
	if err != nil || c.Path != redirect.Path {
		m.Fatalf("the answer came to %s, not to %s", c.Path, a.redirect)
	}
	for name, values := range redirect.Query() { // a registered query stays
		if !slices.Equal(c.Query[name], values) {
			m.Errorf("the redirect URI's own parameter %s arrives as %v", name, c.Query[name])
		}
		delete(c.Query, name)
	}
	answer := c.Query
	if m.plan.responseMode == "form_post" {
		if c.Method != http.MethodPost || c.ContentType != "application/x-www-form-urlencoded" {
			m.Errorf("form_post arrives as %s %s", c.Method, c.ContentType)
		}
		if len(c.Query) > 0 {
			m.Errorf("form_post leaves parameters in the address: %v", c.Query)
		}
		answer = c.Form
	} else if c.Method != http.MethodGet {
		m.Errorf("the answer arrives as %s", c.Method)
	}
	for name, values := range answer {
		if len(values) != 1 {
			m.Errorf("the parameter %s stands %d times", name, len(values))
		}
	}
	if answer.Get("iss") != m.party.issuer { // RFC 9207; discovery promises it
		m.Errorf("iss is %q", answer.Get("iss"))
	}
	if state := q.Get("state"); state != "" && answer.Get("state") != state {
		m.Errorf("state is %q, not %q", answer.Get("state"), state)
	}
	return answer
}

// code is the code of an answer that is a success.
func (m *module) code(answer url.Values) string {
	m.Helper()
	if answer.Get("error") != "" {
		m.Fatalf("the provider answers %s: %s", answer.Get("error"), answer.Get("error_description"))
	}
	if answer.Get("code") == "" {
		m.Fatalf("no code: %v", answer)
	}
	return answer.Get("code")
}

// refusedWith checks an error answer at the redirect URI (performGenericAuthorizationEndpointErrorResponseValidation).
func (m *module) refusedWith(answer url.Values, codes ...string) {
	m.Helper()
	if !slices.Contains(codes, answer.Get("error")) {
		m.Errorf("the answer is %v, not the error %v", answer, codes)
	}
	if answer.Has("code") {
		m.Error("an error comes with a code")
	}
	for name := range answer {
		if !slices.Contains([]string{"error", "error_description", "error_uri", "state", "iss"}, name) {
			m.Errorf("unexpected parameter %s in an error", name)
		}
	}
	checkDescription(m, answer.Get("error_description"))
}

// checkDescription holds RFC 6749 §4.1.2.1 and §5.2.
func checkDescription(m *module, text string) {
	m.Helper()
	for _, r := range text {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			m.Errorf("error_description holds %q: %s", r, text)
		}
	}
}

// refusedHere checks that the browser sees a refusal of the provider's own and goes nowhere.
func (m *module) refusedHere(page *visitor.Page) {
	m.Helper()
	if page.Status < 400 || page.Status > 499 || page.Location() != "" {
		m.Fatalf("no refusal: %s", page)
	}
	if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || page.Text() == "" {
		m.Errorf("the refusal is no page: %s", page)
	}
	for _, f := range page.Forms() {
		if strings.HasPrefix(f.Action, m.party.base) {
			m.Errorf("the refusal leads to %s", f.Action)
		}
	}
}

// grant is what one authorization brought.
type grant struct {
	application *application
	request     url.Values
	code        string
	tokens      *response
	header      map[string]any // of the ID token
	claims      map[string]any // of the ID token
}

func (g *grant) access() string { return g.tokens.text("access_token") }

// flow is the whole of a successful authorization: answer, code, tokens, ID token, userinfo, each checked.
func (m *module) flow(a *application, changes ...change) *grant {
	m.Helper()
	q := m.request(a, changes...)
	return m.complete(a, q, m.authorize(a, q))
}

// complete goes on from the answer at the redirect URI.
func (m *module) complete(a *application, q url.Values, answer url.Values) *grant {
	m.Helper()
	g := &grant{application: a, request: q, code: m.code(answer)}
	g.tokens = m.redeem(g)
	m.checkTokens(g.tokens)
	g.header, g.claims = m.checkIDToken(a, q, g.tokens)
	m.userinfo(g)
	return g
}

// redeem sends the code; changes go into the form.
func (m *module) redeem(g *grant, changes ...change) *response {
	m.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {g.code}, "redirect_uri": {g.application.redirect}}
	for _, f := range changes {
		f(form)
	}
	return m.post(m.endpoint("token_endpoint"), form, m.authenticate(g.application, form))
}

// refresh uses a refresh token for an application.
func (m *module) refresh(a *application, token string, changes ...change) *response {
	m.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	for _, f := range changes {
		f(form)
	}
	return m.post(m.endpoint("token_endpoint"), form, m.authenticate(a, form))
}

// checkTokens holds RFC 6749 §5.1.
func (m *module) checkTokens(r *response) {
	m.Helper()
	if r.status != http.StatusOK || r.json == nil || r.json["error"] != nil {
		m.Fatalf("token endpoint: %s", r)
	}
	if !isJSON(r.header) || !strings.Contains(r.header.Get("Cache-Control"), "no-store") {
		m.Errorf("token endpoint: headers %v", r.header)
	}
	if !strings.EqualFold(r.text("token_type"), "Bearer") {
		m.Errorf("token_type is %q", r.text("token_type"))
	}
	if n, ok := r.json["expires_in"].(float64); !ok || n <= 0 || n != float64(int64(n)) {
		m.Errorf("expires_in is %v", r.json["expires_in"])
	}
	for _, name := range []string{"access_token", "refresh_token"} {
		if token := r.text(name); token != "" || name == "access_token" {
			m.checkRandom(name, token)
		}
	}
}

// checkRandom holds a secret of 128 bits at least, in characters that RFC 6749 appendix A allows.
func (m *module) checkRandom(what, text string) {
	m.Helper()
	different := map[rune]bool{}
	for _, r := range text {
		different[r] = true
		if r < 0x20 || r > 0x7e {
			m.Errorf("%s holds %q", what, r)
		}
	}
	if len(text) < 22 || len(different) < 12 {
		m.Errorf("%s is short or repeats itself: %d characters, %d different ones", what, len(text), len(different))
	}
}

// tokenRefused checks an error of the token endpoint (RFC 6749 §5.2).
func (m *module) tokenRefused(r *response, code string) {
	m.Helper()
	want := http.StatusBadRequest
	if code == "invalid_client" {
		want = http.StatusUnauthorized
	}
	if r.status != want || r.text("error") != code || !isJSON(r.header) {
		m.Errorf("token endpoint answers %s, not %d %s", r, want, code)
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if r.json[name] != nil {
			m.Errorf("a refusal comes with %s", name)
		}
	}
	checkDescription(m, r.text("error_description"))
}

// userinfo asks as the suite does after each token response, and checks the answer.
func (m *module) userinfo(g *grant) map[string]any {
	m.Helper()
	r := m.get(m.endpoint("userinfo_endpoint"), g.access())
	if r.status != http.StatusOK {
		m.Fatalf("userinfo: %s", r)
	}
	if strings.HasPrefix(r.header.Get("Content-Type"), "application/jwt") {
		return nil // an application that asked for it: userinfoSigned reads it
	}
	return m.checkUserinfo(g, r)
}

func (m *module) checkUserinfo(g *grant, r *response) map[string]any {
	m.Helper()
	if r.status != http.StatusOK || !isJSON(r.header) || r.json == nil {
		m.Fatalf("userinfo: %s", r)
	}
	m.checkStandardClaims("userinfo", r.json)
	if sub, _ := r.json["sub"].(string); sub == "" || sub != g.claims["sub"] {
		m.Errorf("userinfo's sub is %v, the ID token's %v", r.json["sub"], g.claims["sub"])
	}
	return r.json
}

func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// names are the members of a set of claims, sorted.
func names(claims map[string]any) []string { return slices.Sorted(maps.Keys(claims)) }

// random is n characters that nobody guesses.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
