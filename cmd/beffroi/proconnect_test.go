package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/cmd/beffroi/demo"
	"beffroi/cmd/beffroi/proconnect"
	"beffroi/internal/audit"
	"beffroi/internal/i18n"
)

// mutation breaks one rule, in one way.
type mutation struct {
	rule, how string
	make      func(m *mutant)
}

func (m *mutant) atAuthorize(expects func(form url.Values) bool, do func(a *reply)) {
	m.response = func(r *http.Request, form url.Values, a *reply) {
		if r.URL.Path == "/oauth2/authorize" && expects(form) {
			do(a)
		}
	}
}

func always(url.Values) bool { return true }

// refusal sends an error to the redirect URI of the request.
func (m *mutant) refusal(expects func(form url.Values) bool, code, description string) {
	m.response = func(r *http.Request, form url.Values, a *reply) {
		if r.URL.Path == "/oauth2/authorize" && expects(form) && !strings.Contains(form.Get("redirect_uri"), "example.invalid") {
			a.redirect(form.Get("redirect_uri") + "?" + url.Values{"error": {code}, "error_description": {description}, "state": {form.Get("state")}}.Encode())
		}
	}
}

// tokenAnswer changes the JSON of the first token answer.
func (m *mutant) tokenAnswer(change func(answer map[string]any)) {
	m.once = true
	m.response = func(r *http.Request, _ url.Values, a *reply) {
		if r.URL.Path != "/oauth2/token" || a.status != http.StatusOK {
			return
		}
		var answer map[string]any
		if err := json.Unmarshal(a.body, &answer); err != nil {
			m.t.Fatal(err)
		}
		change(answer)
		a.body = m.json(answer)
	}
}

// reheaded is a token with another header and signature.
func reheaded(token, header, signature string) string {
	parts := strings.Split(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "." + signature
}

// first changes the first ID token only: later ones are for other rules.
func first(change func(claims map[string]any)) func(m *mutant) {
	return func(m *mutant) { m.once, m.idToken = true, change }
}

// in sets a claim; nil is JSON's null.
func in(name string, value any) func(claims map[string]any) {
	return func(claims map[string]any) { claims[name] = value }
}

func without(name string) func(claims map[string]any) {
	return func(claims map[string]any) { delete(claims, name) }
}

// identity breaks a claim of userinfo in several ways: by values that do not
// fit, and by what is no text at all, which for a claim that may be missing is
// a rule of its own.
func identity(rule, name string, required bool, values ...any) []mutation {
	var all []mutation
	spoil := func(rule string, value any) {
		all = append(all, mutation{rule, fmt.Sprintf("%s is %.30q", name, fmt.Sprint(value)), func(m *mutant) { m.userinfo = in(name, value) }})
	}
	for _, value := range values {
		spoil(rule, value)
	}
	for _, value := range []any{nil, "", 12, strings.Repeat("x", 257)} {
		if required {
			spoil(rule, value)
		} else {
			spoil("optional", value)
		}
	}
	if required {
		all = append(all, mutation{rule, name + " is missing", func(m *mutant) { m.userinfo = without(name) }})
	}
	return all
}

func mutations() []mutation {
	all := []mutation{
		{"discovery", "a slash after the issuer", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if strings.HasPrefix(r.URL.Path, "/.well-known/") {
					a.body = bytes.Replace(a.body, []byte(`"issuer": "http://localhost:`), []byte(`"issuer": "http://LOCALHOST:`), 1)
				}
			}
		}},
		{"discovery", "not there", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if strings.HasPrefix(r.URL.Path, "/.well-known/") {
					a.page(404, "<h1>Not found</h1>")
				}
			}
		}},
		{"endpoints", "no end_session_endpoint", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				a.body = bytes.Replace(a.body, []byte(`"end_session_endpoint"`), []byte(`"end_session_endpoint_"`), 1)
			}
		}},
		{"endpoints", "http on the network", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				a.body = bytes.Replace(a.body, []byte(`"token_endpoint": "http://localhost`), []byte(`"token_endpoint": "http://id.example.fr`), 1)
			}
		}},
		{"keys", "no key for ES256", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/jwks" {
					a.body = bytes.ReplaceAll(a.body, []byte(`"ES256"`), []byte(`"ES384"`))
				}
			}
		}},
		{"redirect_uri", "an error page", func(m *mutant) {
			m.atAuthorize(always, func(a *reply) { a.page(400, "<main><h1>Adresse inconnue</h1></main>") })
		}},
		{"request", "PKCE is required", func(m *mutant) { m.refusal(always, "invalid_request", "PKCE is required") }},
		{"request", "an extra parameter is refused, once somebody is there", func(m *mutant) {
			m.refusal(func(f url.Values) bool { return f.Get("prompt") == "" }, "invalid_request", "siret_hint is unknown")
		}},
		{"scopes", "siret is unknown", func(m *mutant) { m.refusal(always, "invalid_scope", "siret") }},
		{"login_hint", "an empty field", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if at := bytes.Index(a.body, []byte(`name="username"`)); at > 0 {
					head, tail := a.body[:at], string(a.body[at:])
					begin := strings.Index(tail, `value="`) + len(`value="`)
					end := begin + strings.Index(tail[begin:], `"`)
					a.body = append(slices.Clone(head), tail[:begin]+tail[end:]...)
				}
			}
		}},
		{"hint_signs_in", "an address that nobody has", func(m *mutant) {
			m.request = func(r *http.Request, form url.Values) {
				if strings.Contains(form.Get("username"), "@") {
					form.Set("username", "nobody@academie.test")
				}
			}
		}},
		{"sign_in", "the account is closed", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/signin" && r.Method == http.MethodPost {
					a.page(403, "<main><h1>Votre compte est fermé</h1></main>")
				}
			}
		}},
		{"callback", "a redirect more on the way", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if a.hasCode() {
					a.redirect("https://waf.example.invalid/?next=" + url.QueryEscape(a.header.Get("Location")))
				}
			}
		}},
		{"callback", "without a code", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if a.hasCode() {
					a.location(func(q url.Values) { q.Del("code") })
				}
			}
		}},
		{"state", "missing", func(m *mutant) {
			m.once = true
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if a.hasCode() {
					a.location(func(q url.Values) { q.Del("state") })
				}
			}
		}},
		{"state", "another's", func(m *mutant) {
			m.once = true
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if a.hasCode() {
					a.location(func(q url.Values) { q.Set("state", "another") })
				}
			}
		}},
		{"response_iss", "another's", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if a.hasCode() {
					a.location(func(q url.Values) { q.Set("iss", "https://evil.example") })
				}
			}
		}},
		{"response_iss", "promised, and missing", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if a.hasCode() {
					a.location(func(q url.Values) { q.Del("iss") })
				}
			}
		}},
		{"token", "the secret is not taken from the body", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/oauth2/token" && a.status == 200 {
					a.status, a.body = 401, []byte(`{"error":"invalid_client"}`)
				}
			}
		}},
		{"token", "token_type", func(m *mutant) { m.tokenAnswer(in("token_type", "mac")) }},
		{"token", "no id_token", func(m *mutant) { m.tokenAnswer(without("id_token")) }},
		{"token", "an access token that is not ASCII", func(m *mutant) { m.tokenAnswer(in("access_token", "jeton-é")) }},
		{"id_token_signature", "alg none", func(m *mutant) {
			m.tokenAnswer(func(answer map[string]any) {
				answer["id_token"] = m.instead(answer["id_token"].(string), reheaded(answer["id_token"].(string), `{"alg":"none"}`, ""))
			})
		}},
		{"id_token_signature", "HS256", func(m *mutant) {
			m.tokenAnswer(func(answer map[string]any) {
				answer["id_token"] = m.instead(answer["id_token"].(string), reheaded(answer["id_token"].(string), `{"alg":"HS256"}`, "c2lnbmF0dXJl"))
			})
		}},
		{"id_token_signature", "a key that is not published", func(m *mutant) {
			m.idToken = in("more", true)
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/jwks" {
					a.body = bytes.ReplaceAll(a.body, []byte(`"mutant"`), []byte(`"other"`))
				}
			}
		}},
		{"id_token_issuer", "another's", first(in("iss", "https://evil.example"))},
		{"id_token_audience", "for another application", first(in("aud", "another"))},
		{"id_token_audience", "for two, by the other", first(func(c map[string]any) { c["aud"], c["azp"] = []string{"another", "proconnect"}, "another" })},
		{"id_token_times", "expired", first(func(c map[string]any) {
			c["exp"] = time.Now().Add(-time.Hour).Unix()
			c["iat"] = time.Now().Add(-2 * time.Hour).Unix()
		})},
		{"id_token_times", "of tomorrow", first(func(c map[string]any) {
			c["exp"] = time.Now().Add(25 * time.Hour).Unix()
			c["iat"] = time.Now().Add(24 * time.Hour).Unix()
		})},
		{"id_token_times", "without an end", first(without("exp"))},
		{"id_token_nonce", "another's", first(in("nonce", "another"))},
		{"id_token_nonce", "missing", first(without("nonce"))},
		{"acr", "in other words", first(in("acr", "https://refeds.org/profile/sfa"))},
		{"acr", "a number", first(in("acr", 1))},
		{"acr", "missing", first(without("acr"))},
		{"amr", "missing", first(without("amr"))},
		{"amr", "a word alone", first(in("amr", "pwd"))},
		{"amr", "a word of RFC 8176 that ProConnect does not know", first(in("amr", []string{"pwd", "otp"}))},
		{"amr", "null", first(in("amr", nil))},
		{"userinfo_signature", "not signed", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/userinfo" {
					a.body = m.json(claimsOf(m.t, string(a.body)))
					a.header.Set("Content-Type", "application/json")
				}
			}
		}},
		{"userinfo_signature", "alg none", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/userinfo" {
					a.body = []byte(reheaded(string(a.body), `{"alg":"none"}`, ""))
				}
			}
		}},
		{"userinfo_signature", "HS256", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/userinfo" {
					a.body = []byte(reheaded(string(a.body), `{"alg":"HS256"}`, "c2lnbmF0dXJl"))
				}
			}
		}},
		{"userinfo_signature", "refused", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/userinfo" {
					a.status, a.body = 401, nil
				}
			}
		}},
		{"userinfo_party", "for another application", func(m *mutant) { m.userinfo = in("aud", "another") }},
		{"userinfo_party", "of another issuer", func(m *mutant) { m.userinfo = in("iss", "https://evil.example") }},
		{"userinfo_sub", "somebody else", func(m *mutant) { m.userinfo = in("sub", "somebody-else") }},
		{"sub", "not ASCII", func(m *mutant) { m.idToken, m.userinfo = in("sub", "élodie"), in("sub", "élodie") }},
		{"sub", "too long", func(m *mutant) {
			m.idToken, m.userinfo = in("sub", strings.Repeat("x", 257)), in("sub", strings.Repeat("x", 257))
		}},
		{"siren", "of another", func(m *mutant) { m.userinfo = in("siren", "130025265") }},
		{"essential_eidas1", "more than was asked", func(m *mutant) {
			m.idToken = func(c map[string]any) {
				if m.redeemed > 1 && c["acr"] == "eidas1" {
					c["acr"] = "eidas1-mfa"
				}
			}
		}},
		{"mfa", "never told", func(m *mutant) {
			m.idToken = func(c map[string]any) {
				if c["acr"] == "eidas1-mfa" {
					c["acr"] = "eidas1"
				}
			}
		}},
		{"mfa", "refused", func(m *mutant) {
			m.refusal(func(f url.Values) bool { return strings.Contains(f.Get("claims"), "eidas1-mfa") }, "unmet_authentication_requirements", "")
		}},
		{"mfa_amr", "acr says so, amr does not", func(m *mutant) {
			m.idToken = func(c map[string]any) {
				if c["acr"] == "eidas1-mfa" {
					c["amr"] = []string{"pwd", "totp"}
				}
			}
		}},
		{"essential_unreachable", "told all the same", func(m *mutant) {
			lie := false
			m.request = func(r *http.Request, form url.Values) {
				if lie = strings.Contains(form.Get("claims"), `"value":"eidas3"`) || lie && form.Get("claims") == ""; lie && form.Has("claims") {
					form.Set("claims", `{"id_token":{"acr":null,"amr":null}}`)
				}
			}
			m.idToken = func(c map[string]any) {
				if lie {
					c["acr"] = "eidas3"
				}
			}
		}},
		{"essential_unreachable", "a dead end", func(m *mutant) {
			m.atAuthorize(func(f url.Values) bool { return strings.Contains(f.Get("claims"), `"value":"eidas3"`) }, func(a *reply) { a.page(403, "<h1>Non</h1>") })
		}},
		{"unknown_acr", "refused", func(m *mutant) {
			m.refusal(func(f url.Values) bool { return strings.Contains(f.Get("acr_values"), "niveau-inconnu") }, "invalid_request", "acr_values")
		}},
		{"unknown_scope", "refused", func(m *mutant) {
			m.refusal(func(f url.Values) bool { return strings.Contains(f.Get("scope"), "portee_inconnue") }, "invalid_scope", "portee_inconnue")
		}},
		{"error_answer", "without state", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if strings.Contains(a.header.Get("Location"), "login_required") {
					a.location(func(q url.Values) { q.Del("state") })
				}
			}
		}},
		{"code_once", "a second time", func(m *mutant) {
			m.response = func(r *http.Request, form url.Values, a *reply) {
				if r.URL.Path != "/oauth2/token" {
					return
				}
				if before, ok := m.answers[form.Get("code")]; ok {
					*a = before
				}
				m.answers[form.Get("code")] = reply{a.status, a.header.Clone(), a.body}
			}
		}},
		{"wrong_secret", "whatever it is", func(m *mutant) {
			secret := ""
			m.request = func(r *http.Request, form url.Values) {
				if r.URL.Path == "/oauth2/token" {
					if secret == "" {
						secret = form.Get("client_secret")
					}
					form.Set("client_secret", secret)
				}
			}
		}},
		{"foreign_redirect", "followed", func(m *mutant) {
			m.response = func(r *http.Request, form url.Values, a *reply) {
				if strings.Contains(form.Get("redirect_uri"), "example.invalid") {
					a.redirect(form.Get("redirect_uri") + "?code=1")
				}
			}
		}},
		{"logout", "a question first", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/oauth2/logout" {
					a.page(200, "<h1>Se déconnecter ?</h1>")
				}
			}
		}},
		{"logout", "the way back is lost", func(m *mutant) {
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/oauth2/logout" {
					a.redirect("http://127.0.0.1/elsewhere")
				}
			}
		}},
		{"logout", "client_id is wanted", func(m *mutant) {
			m.response = func(r *http.Request, form url.Values, a *reply) {
				if r.URL.Path == "/oauth2/logout" && !form.Has("client_id") {
					a.page(400, "<h1>client_id</h1>")
				}
			}
		}},
		{"logout_ends", "it does not", func(m *mutant) {
			back := ""
			m.request = func(r *http.Request, form url.Values) {
				if r.URL.Path == "/oauth2/logout" {
					back = form.Get("post_logout_redirect_uri")
					form.Set("id_token_hint", "spoilt")
				}
			}
			m.response = func(r *http.Request, _ url.Values, a *reply) {
				if r.URL.Path == "/oauth2/logout" {
					a.redirect(back)
				}
			}
		}},
		{"logout_expired", "an expired hint is no hint", func(m *mutant) {
			m.response = func(r *http.Request, form url.Values, a *reply) {
				if r.URL.Path != "/oauth2/logout" {
					return
				}
				if exp, _ := claimsOf(m.t, form.Get("id_token_hint"))["exp"].(json.Number).Int64(); exp < time.Now().Unix() {
					a.page(400, "<h1>Jeton expiré</h1>")
				}
			}
		}},
	}
	for _, more := range [][]mutation{
		identity("given_name", "given_name", true),
		identity("usual_name", "usual_name", true),
		identity("email", "email", true, "marie", "marie@localhost", "Marie Dupont <marie@academie.test>"),
		identity("uid", "uid", true, "élodie"),
		identity("siret", "siret", true, "13002526500014", "1300252650001", "00000000000001"),
		identity("siren", "siren", false, "12345"),
		identity("population", "belonging_population", false, "fonctionnaire"),
		identity("phone", "phone_number", false, "poste 12", "03.20.00.00.01"),
		identity("", "organizational_unit", false),
		identity("", "chorusdt:societe", false),
		identity("", "chorusdt:matricule", false),
	} {
		all = append(all, more...)
	}
	return append(all, mutation{"email_domain", "of nobody", func(m *mutant) { m.userinfo = in("email", "marie.dupont@elsewhere.test") }})
}

// instead gives a token that the mutant made and remembers what it was.
func (m *mutant) instead(original, made string) string {
	m.originals[made] = original
	return made
}

// trialRig is a running demo and people who have a second factor each.
type trialRig struct {
	h      *house
	logins []string
}

func newTrialRig(t *testing.T, enough int) *trialRig {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	startDemo(t, dir)
	h, done, err := (&where{dir: dir}).identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	rig := &trialRig{h: h}
	for _, p := range demo.Academy().People[6:] {
		if err := h.mfa.Install(t.Context(), audit.System("test"), p.ID, demo.TOTPSecret); err != nil {
			t.Fatal(err)
		}
		if rig.logins = append(rig.logins, p.Login); len(rig.logins) == enough {
			return rig
		}
	}
	t.Fatalf("only %d people", len(rig.logins))
	return nil
}

// try plays ProConnect with somebody who has not tried yet.
func (rig *trialRig) try(t *testing.T, change func(m *mutant)) (red []string, results []proconnect.Result, c proconnect.Config) {
	t.Helper()
	login := rig.logins[0]
	rig.logins = rig.logins[1:]
	c, err := trial{login: login}.config(t.Context(), rig.h, true)
	if err != nil {
		t.Fatal(err)
	}
	m := newMutant(t)
	change(m)
	c.Transport, c.Expire = m, m.expire(c.Expire)
	results, err = proconnect.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.State == proconnect.Red {
			red = append(red, r.Name)
		}
	}
	return red, results, c
}

func TestEachRuleOfProConnectTurnsRedAloneWhenItIsBroken(t *testing.T) {
	all := mutations()
	rig := newTrialRig(t, len(all)+1)
	red, results, _ := rig.try(t, func(*mutant) {})
	for _, r := range results {
		if r.State != proconnect.OK {
			t.Errorf("nothing is broken, and %s is %s: %s", r.Name, r.State, r.Saw)
		}
	}
	if red != nil {
		t.FailNow()
	}
	tried := map[string]bool{}
	for _, mutation := range all {
		t.Run(mutation.rule+" "+mutation.how, func(t *testing.T) {
			red, results, _ := rig.try(t, mutation.make)
			if !slices.Equal(red, []string{mutation.rule}) {
				t.Errorf("red: %v", red)
				for _, r := range results {
					if r.State != proconnect.OK {
						t.Logf("%s %s: %s", r.State, r.Name, r.Saw)
					}
				}
			}
		})
		tried[mutation.rule] = true
	}
	for _, rule := range proconnect.Rules {
		if !tried[rule.Name] {
			t.Errorf("no mutation breaks %s", rule.Name)
		}
	}
}

func TestARedRuleSaysWhatWasSeenAndWhatToChange(t *testing.T) {
	rig := newTrialRig(t, 1)
	_, results, c := rig.try(t, func(m *mutant) {
		m.response = func(r *http.Request, _ url.Values, a *reply) {
			if r.URL.Path == "/userinfo" {
				a.body = m.json(claimsOf(m.t, string(a.body)))
				a.header.Set("Content-Type", "application/json")
			}
		}
	})
	for lang, want := range map[i18n.Lang][]string{
		i18n.French:  {"ROUGE", "ProConnect affiche Y020027", "vu : 200 application/json", "à changer : Déclarez ES256", "une règle d’avant n’est pas tenue"},
		i18n.English: {"RED", "ProConnect shows Y020027", "seen: 200 application/json", "to change: Declare ES256", "an earlier rule does not hold"},
	} {
		var out strings.Builder
		if red := proconnect.Print(&out, lang, false, c, results); red != 1 {
			t.Errorf("%d red rules", red)
		}
		for _, s := range append(want, c.Issuer) {
			if !strings.Contains(out.String(), s) {
				t.Errorf("%s: no %q in\n%s", lang, s, out.String())
			}
		}
		if strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "proconnect.") && strings.Contains(out.String(), "proconnect.rule") {
			t.Errorf("%s: colours without a terminal, or a sentence that is missing:\n%s", lang, out.String())
		}
		out.Reset()
		if proconnect.Print(&out, lang, true, c, results); !strings.Contains(out.String(), "\x1b[1;31m") {
			t.Errorf("%s: a terminal gets no colour", lang)
		}
	}
}

func TestEveryRuleHasItsSentences(t *testing.T) {
	for _, rule := range proconnect.Rules {
		for _, lang := range i18n.Langs {
			for _, key := range []string{"proconnect.rule." + rule.Name, "proconnect.fix." + rule.Name} {
				if i18n.T(lang, key) == key {
					t.Errorf("%s has no %s", lang, key)
				}
			}
		}
	}
}

func TestTheGuideExplainsEveryRedLine(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "proconnect.md"))
	if err != nil {
		t.Fatal(err)
	}
	about := []any{"issuer", "https://id.example.fr", "client", "proconnect", "login", "LOGIN", "id_token", "ES256", "userinfo", "ES256"}
	for i, rule := range proconnect.Rules {
		code := rule.Code
		if code != "" {
			code = "`" + code + "`"
		}
		row := fmt.Sprintf("| %d | %s | %s | %s |", i+1, i18n.T(i18n.English, "proconnect.rule."+rule.Name, about...), code, i18n.T(i18n.English, "proconnect.fix."+rule.Name, about...))
		if !strings.Contains(string(guide), "\n"+row+"\n") {
			t.Errorf("docs/proconnect.md lacks the row\n%s", row)
		}
	}
}

func TestProConnectCommandTriesARunningDemo(t *testing.T) {
	t.Setenv("LC_ALL", "fr_FR.UTF-8")
	dir := filepath.Join(t.TempDir(), "demo")
	if code, out := invoke("proconnect", "test", "-dir", dir); code != 1 || !strings.Contains(out, "holds no demo") {
		t.Errorf("without a demo: %d, %s", code, out)
	}
	startDemo(t, dir).stop()
	if code, out := invoke("proconnect", "test", "-dir", dir); code != 1 || !strings.Contains(out, "no demo runs") {
		t.Errorf("on a demo that has stopped: %d, %s", code, out)
	}
	startDemo(t, dir)
	code, out := invoke("proconnect", "test", "-dir", dir)
	if code != 0 || !strings.Contains(out, fmt.Sprintf("%d règles, toutes tenues.", len(proconnect.Rules))) {
		t.Errorf("%d, %s", code, out)
	}
	secret := filepath.Join(dir, "totp")
	password := filepath.Join(dir, "password")
	for path, text := range map[string]string{secret: demo.TOTPSecret + "\n", password: demo.Password + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As in an academy: the configuration, an account of its own.
	config := demoConfig(dir)
	code, out = invoke("proconnect", "test", "-config", config, "-login", "jmartin", "-password-file", password, "-totp-file", secret, "-json")
	var results []proconnect.Result
	if err := json.Unmarshal([]byte(out), &results); code != 0 || err != nil || len(results) != len(proconnect.Rules) {
		t.Errorf("%d, %v, %s", code, err, out)
	}
	// Without the second factor, what needs it is red and says so.
	code, out = invoke("proconnect", "test", "-config", config, "-login", "aadmin", "-password-file", password)
	if code != 1 || strings.Count(out, "ROUGE") != 1 || !strings.Contains(out, "second facteur") {
		t.Errorf("%d, %s", code, out)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"proconnect"}, 2, "proconnect test"}, {[]string{"proconnect", "play"}, 2, "proconnect test"}, {[]string{"proconnect", "test", "-config", config}, 2, "which test account"},
		{[]string{"proconnect", "test", "-config", config, "-login", "nobody-here", "-password-file", password}, 1, "nobody has the login"},
		{[]string{"proconnect", "test", "-config", config, "-app", "portal", "-login", "aadmin", "-password-file", password}, 1, "no application of the profile"},
		{[]string{"proconnect", "test", "-config", config, "-login", "aadmin", "-password-file", password, "-totp-file", password}, 1, "base32"},
	} {
		if code, out := invoke(c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v: %d, %s", c.args, code, out)
		}
	}
	if code, out := invoke("audit", "list", "-action", "proconnect.", "-dir", dir); code != 0 || strings.Count(out, "proconnect.test") < 3 {
		t.Errorf("audit: %d, %s", code, out)
	}
}

func TestTheLanguageOfATerminal(t *testing.T) {
	for env, want := range map[string]i18n.Lang{"": i18n.French, "C.UTF-8": i18n.French, "fr_FR.UTF-8": i18n.French, "en_GB.UTF-8": i18n.English} {
		t.Setenv("LC_ALL", "")
		t.Setenv("LC_MESSAGES", "")
		t.Setenv("LANG", env)
		if got := terminalLanguage(); got != want {
			t.Errorf("LANG=%q: %s", env, got)
		}
	}
	t.Setenv("LC_ALL", "en_US.UTF-8")
	t.Setenv("LANG", "fr_FR.UTF-8")
	if got := terminalLanguage(); got != i18n.English {
		t.Errorf("LC_ALL does not win: %s", got)
	}
}
