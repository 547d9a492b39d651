package proconnect

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// all plays the scenes in order. A scene that cannot begin leaves the rules of
// those that need it unknown.
func (p *play) all(ctx context.Context) {
	if !p.discover(ctx) {
		return
	}
	browser := p.newBrowser()
	if !p.strangers(ctx, browser) {
		return
	}
	first := p.signIn(ctx, browser)
	if first == nil {
		return
	}
	tokens := p.redeem(ctx, first)
	if tokens == nil {
		return
	}
	if claims := p.idToken(ctx, tokens, first); claims != nil {
		p.userinfo(ctx, tokens, claims)
	}
	p.refusals(ctx, browser, first)
	p.levels(ctx, browser)
	p.signOut(ctx, browser, tokens)
}

// attempt is one authorization request.
type attempt struct {
	address, state, nonce string
	code                  string // once answered
}

const anyACR = `{"id_token":{"amr":null,"acr":null}}`

// ask makes an authorization request as ProConnect's code does; change holds
// names and values in turn, "" leaves one out.
func (p *play) ask(change ...string) *attempt {
	a := &attempt{state: random(), nonce: random()}
	q := url.Values{
		"client_id": {p.ClientID}, "response_type": {"code"}, "scope": {scopes}, "redirect_uri": {p.RedirectURI}, "state": {a.state}, "nonce": {a.nonce},
		"claims": {anyACR}, "acr_values": {"eidas1"}, "login_hint": {p.Mail},
		"siret_hint": {"13002526500013"}, "sp_id": {"beffroi-proconnect-test"}, "sp_name": {"Essai de ProConnect"}, "remember_me": {"false"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		if change[i+1] == "" {
			q.Del(change[i])
		} else {
			q.Set(change[i], change[i+1])
		}
	}
	a.address = p.meta.Authorization + "?" + q.Encode()
	return a
}

// essential is the parameters of a request that insists on one of the levels.
func essential(levels ...string) []string {
	acr := map[string]any{"essential": true, "values": levels}
	if len(levels) == 1 {
		acr = map[string]any{"essential": true, "value": levels[0]}
	}
	text, _ := json.Marshal(map[string]any{"id_token": map[string]any{"amr": nil, "acr": acr}}) // nothing that JSON lacks
	return []string{"acr_values", "", "claims", string(text)}
}

// discover reads what the provider says of itself.
func (p *play) discover(ctx context.Context) bool {
	err := p.getJSON(ctx, p.Issuer+"/.well-known/openid-configuration", &p.meta)
	if err == nil && p.meta.Issuer != p.Issuer {
		err = fmt.Errorf("issuer %q", p.meta.Issuer)
	}
	if !p.pass("discovery", err) || !p.pass("endpoints", p.meta.check()) {
		return false
	}
	err = p.getJSON(ctx, p.meta.JWKS, &p.keys)
	if err == nil {
		err = p.keys.check(p.IDTokenAlg, p.UserinfoAlg)
	}
	return p.pass("keys", err)
}

// strangers is what somebody who is not signed in meets.
func (p *play) strangers(ctx context.Context, b *browser) bool {
	silent := p.ask("prompt", "none")
	at, err := b.open(ctx, silent.address)
	if err != nil {
		return p.pass("request", err)
	}
	back := p.answer(at)
	if back == nil {
		return p.hold("redirect_uri", false, at.String())
	}
	p.hold("redirect_uri", true, "")
	if !p.accepted(back, "login_required") {
		return false
	}
	switch {
	case back.Get("error") != "login_required":
		p.hold("error_answer", false, "prompt=none: "+describe(back))
	case back.Get("state") != silent.state:
		p.hold("error_answer", false, fmt.Sprintf("prompt=none: state %q", back.Get("state")))
	default:
		p.hold("error_answer", true, "")
	}
	foreign := "https://proconnect.example.invalid/oidc-callback"
	at, err = b.open(ctx, p.ask("redirect_uri", foreign).address)
	switch {
	case err != nil:
		p.pass("foreign_redirect", err)
	case strings.HasPrefix(at.leads(), foreign), at.status < 400 && at.leads() == "":
		p.hold("foreign_redirect", false, at.String())
	default:
		p.hold("foreign_redirect", true, "")
	}
	return true
}

// accepted notes whether the provider took the request: an answer with an error
// other than the expected one says that it did not.
func (p *play) accepted(back url.Values, expected string) bool {
	switch code := back.Get("error"); {
	case code == "" || code == expected:
		p.hold("scopes", true, "")
		return p.hold("request", true, "")
	case code == "invalid_scope":
		return p.hold("scopes", false, describe(back))
	default:
		return p.hold("request", false, describe(back))
	}
}

// signIn is the person's first visit: the page, the password, the way back.
func (p *play) signIn(ctx context.Context, b *browser) *attempt {
	a := p.ask()
	at, err := b.open(ctx, a.address)
	if err != nil {
		p.pass("sign_in", err)
		return nil
	}
	if back := p.answer(at); back != nil {
		if p.accepted(back, "") {
			p.hold("sign_in", false, "no page was shown")
		}
		return nil
	}
	form := at.form("password")
	if form == nil {
		p.hold("sign_in", false, at.String())
		return nil
	}
	given := form.values.Get("username")
	hinted := p.hold("login_hint", given == p.Mail, fmt.Sprintf("username=%q", given))
	name := p.Login
	if hinted {
		name = p.Mail // as whoever only types the password
	}
	if at, err = b.submit(ctx, form, map[string]string{"username": name, "password": p.Password}); err == nil && hinted {
		again := at.form("password")
		p.hold("hint_signs_in", again == nil, at.String())
		if again != nil {
			at, err = b.submit(ctx, again, map[string]string{"username": p.Login, "password": p.Password})
		}
	}
	if err == nil {
		at, err = p.finish(ctx, b, at)
	}
	if err != nil {
		p.pass("sign_in", err)
		return nil
	}
	back := p.answer(at)
	if back == nil && at.leads() == "" {
		p.hold("sign_in", false, at.String())
		return nil
	}
	p.hold("sign_in", true, "")
	if back == nil {
		p.hold("callback", false, at.String())
		return nil
	}
	if !p.accepted(back, "") || !p.hold("callback", back.Get("code") != "", "no code: "+describe(back)) {
		return nil
	}
	p.hold("state", back.Get("state") == a.state, fmt.Sprintf("state=%q", back.Get("state")))
	iss, promised := back.Get("iss"), p.meta.ResponseIss
	p.hold("response_iss", iss == p.Issuer || iss == "" && !promised, fmt.Sprintf("iss=%q", iss))
	a.code = back.Get("code")
	return a
}

// finish gives the code of the second factor if a page asks for it.
func (p *play) finish(ctx context.Context, b *browser, at *page) (*page, error) {
	form := at.form("code")
	if form == nil || at.leads() != "" {
		return at, nil
	}
	if p.Code == nil {
		return nil, errNoCode
	}
	code, err := p.Code(ctx)
	if err != nil {
		return nil, err
	}
	return b.submit(ctx, form, map[string]string{"code": code})
}

// redeem is ProConnect's token request.
func (p *play) redeem(ctx context.Context, a *attempt) *tokens {
	t, err := p.token(ctx, a.code, p.ClientSecret)
	if err == nil {
		err = t.check()
	}
	if !p.pass("token", err) {
		return nil
	}
	return t
}

// idToken checks the ID token and gives its claims.
func (p *play) idToken(ctx context.Context, t *tokens, a *attempt) map[string]any {
	claims, err := p.verify(ctx, t.IDToken, p.IDTokenAlg)
	p.pass("id_token_signature", err)
	if claims == nil {
		return nil
	}
	p.hold("id_token_issuer", claims["iss"] == p.Issuer, fmt.Sprintf("iss=%v", claims["iss"]))
	p.hold("id_token_audience", forClient(claims, p.ClientID), fmt.Sprintf("aud=%v azp=%v", claims["aud"], claims["azp"]))
	p.pass("id_token_times", checkTimes(claims, p.Now()))
	p.hold("id_token_nonce", claims["nonce"] == a.nonce, fmt.Sprintf("nonce=%v", claims["nonce"]))
	acr, _ := claims["acr"].(string)
	p.hold("acr", slices.Contains(known, acr), fmt.Sprintf("acr=%v", claims["acr"]))
	p.pass("amr", checkMethods(claims["amr"], "pwd"))
	return claims
}

// refusals tries what must not work, with the code that was just spent.
func (p *play) refusals(ctx context.Context, b *browser, spent *attempt) {
	t, err := p.token(ctx, spent.code, p.ClientSecret)
	if err != nil {
		p.pass("code_once", err)
	} else {
		p.hold("code_once", t.status == http.StatusBadRequest && t.Error == "invalid_grant" && t.AccessToken == "", t.String())
	}
	// That ended what came of the code; the session is untouched.
	again := p.ask()
	if at, err := b.open(ctx, again.address); err != nil || p.answer(at) == nil {
		p.hold("wrong_secret", false, fmt.Sprint(at, " ", err))
		return
	} else {
		again.code = p.answer(at).Get("code")
	}
	t, err = p.token(ctx, again.code, "not-the-secret-of-proconnect")
	if err != nil {
		p.pass("wrong_secret", err)
		return
	}
	p.hold("wrong_secret", t.status == http.StatusUnauthorized && t.Error == "invalid_client" && t.AccessToken == "", t.String())
}

// levels asks for assurance in the ways that ProConnect does, by the session of
// the browser.
func (p *play) levels(ctx context.Context, b *browser) {
	acr, amr, saw := p.level(ctx, b, essential("eidas0-mfa", "eidas1-mfa", "eidas2", "eidas3")...)
	if p.hold("mfa", acr == "eidas1-mfa", saw) {
		p.pass("mfa_amr", checkMethods(amr, "mfa"))
	}
	// Who insists on eidas1 takes no other name, also from somebody known better.
	acr, _, saw = p.level(ctx, b, essential("eidas1")...)
	p.hold("essential_eidas1", acr == "eidas1", saw)
	acr, _, saw = p.level(ctx, b, essential("eidas3")...)
	p.hold("essential_unreachable", acr != "eidas3" && saw != "" && !strings.HasPrefix(saw, stuck), saw)
	acr, _, saw = p.level(ctx, b, "acr_values", "https://proconnect.gouv.fr/assurance/certification-dirigeant niveau-inconnu")
	p.hold("unknown_acr", slices.Contains(known, acr), saw)
	acr, _, saw = p.level(ctx, b, "scope", scopes+" portee_inconnue")
	p.hold("unknown_scope", acr != "", saw)
}

// stuck begins what is seen when no answer came back.
const stuck = "no answer: "

// level makes a request and gives the acr and amr of its answer, and what was
// seen in words.
func (p *play) level(ctx context.Context, b *browser, change ...string) (acr string, amr any, saw string) {
	a := p.ask(change...)
	at, err := b.open(ctx, a.address)
	if err == nil {
		at, err = p.finish(ctx, b, at)
	}
	if err != nil {
		return "", nil, stuck + err.Error()
	}
	back := p.answer(at)
	switch {
	case back == nil:
		return "", nil, stuck + at.String()
	case back.Get("state") != a.state:
		return "", nil, stuck + "the answer has another state"
	case back.Get("code") == "":
		return "", nil, describe(back)
	}
	t, err := p.token(ctx, back.Get("code"), p.ClientSecret)
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return "", nil, stuck + err.Error()
	}
	claims, _ := p.verify(ctx, t.IDToken, p.IDTokenAlg)
	acr, _ = claims["acr"].(string)
	return acr, claims["amr"], fmt.Sprintf("acr=%v amr=%v", claims["acr"], claims["amr"])
}

// signOut ends the session as ProConnect does: the hint alone says whose.
func (p *play) signOut(ctx context.Context, b *browser, t *tokens) {
	if !p.logout(ctx, b, "logout", t.IDToken) {
		return
	}
	at, err := b.open(ctx, p.ask("prompt", "none").address)
	if err != nil {
		p.pass("logout_ends", err)
		return
	}
	back := p.answer(at)
	p.hold("logout_ends", back.Get("error") == "login_required", describe(back))
	if p.Expire == nil {
		p.seen["logout_expired"] = Result{State: Unknown, Saw: "no expired ID token could be had"}
		return
	}
	fresh := p.newBrowser()
	a := p.ask()
	if at, err = fresh.open(ctx, a.address); err == nil {
		if form := at.form("password"); form != nil {
			at, err = fresh.submit(ctx, form, map[string]string{"username": p.Login, "password": p.Password})
		}
	}
	if err == nil {
		at, err = p.finish(ctx, fresh, at)
	}
	if err != nil || p.answer(at) == nil {
		p.seen["logout_expired"] = Result{State: Unknown, Saw: fmt.Sprint("the second sign-in: ", at, " ", err)}
		return
	}
	again, err := p.token(ctx, p.answer(at).Get("code"), p.ClientSecret)
	if err == nil {
		again.IDToken, err = p.Expire(ctx, again.IDToken)
	}
	if err != nil {
		p.seen["logout_expired"] = Result{State: Unknown, Saw: err.Error()}
		return
	}
	p.logout(ctx, fresh, "logout_expired", again.IDToken)
}

// logout asks for a sign-out and expects to be sent on at once. openid-client
// would add client_id; ProConnect takes it out again.
func (p *play) logout(ctx context.Context, b *browser, rule, hint string) bool {
	q := url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {p.PostLogoutURI}}
	at, err := b.get(ctx, p.meta.EndSession+"?"+q.Encode())
	if err != nil {
		return p.pass(rule, err)
	}
	return p.hold(rule, at.leads() == p.PostLogoutURI, at.String())
}

// answer is what came back to the redirect URI; nil when the browser is elsewhere.
func (p *play) answer(at *page) url.Values {
	if at == nil {
		return nil
	}
	address, query, _ := strings.Cut(at.leads(), "?")
	if address != p.RedirectURI {
		return nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil
	}
	return values
}

func describe(back url.Values) string {
	if back == nil {
		return "nothing came back"
	}
	if back.Get("error") == "" {
		return "a code"
	}
	return strings.TrimSpace(back.Get("error") + " " + back.Get("error_description"))
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
