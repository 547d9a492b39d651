package oidc

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/i18n"
	"beffroi/signin"
)

// consenting is a real world in which marie is signed in and the application
// asks for consent by the rule.
func consenting(t *testing.T, rule string, fn func(t *testing.T, w *world, door *signin.Service, v *visitor)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, door, _ := realWorld(t, d)
		w.change("other", func(c *Client) { c.Consent = ConsentNever })
		w.change("tool", func(c *Client) { c.Consent = rule })
		v := w.visitor()
		if a := v.signIn(v.authorize("other", "scope", "openid"), "mdupont"); a.location().Get("code") == "" {
			t.Fatalf("not signed in: %d %s", a.status, a.body)
		}
		fn(t, w, door, v)
	})
}

func (v *visitor) authorize(client string, change ...string) answer {
	v.w.t.Helper()
	return v.get("/oauth2/authorize?" + request(client, change...).Encode())
}

// question follows an answer to the page that asks, and returns the page and
// the name of its request.
func (v *visitor) question(a answer) (page answer, request string) {
	v.w.t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Path != "/oauth2/consent" || a.location().Get("code") != "" {
		v.w.t.Fatalf("no question: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	page = v.get(a.header.Get("Location"))
	v.w.must(page, 200)
	return page, u.Query().Get("request")
}

func (v *visitor) answer(request, button string) answer {
	v.w.t.Helper()
	return v.post("/oauth2/consent", url.Values{"request": {request}, "answer": {button}})
}

func TestConsentIsAskedOnceAndAgainForWhatIsNew(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		page, id := v.question(v.authorize("tool", "scope", "openid email", "nonce", "n-2"))
		for _, part := range []string{"Autoriser L’outil", "connaître votre adresse de messagerie", "Marie Dupont", "tool.example.test"} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the page does not say %q", part)
			}
		}
		if strings.Contains(page.body, "quand vous n’êtes pas là") {
			t.Error("the page says more than is asked")
		}
		if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https://tool.example.test") {
			t.Errorf("the buttons may not lead to the application: %s", csp)
		}
		a := v.answer(id, "allow")
		tokens := w.redeem("tool", a.location().Get("code"))
		w.must(tokens, 200)
		claims := w.idClaims("tool", tokens.text("id_token"))
		if a.location().Get("state") != "st-1" || claims["nonce"] != "n-2" || tokens.text("scope") != "openid email" || claims["acr"] != acr1 {
			t.Errorf("%s %v %s", a.header.Get("Location"), claims, tokens.body)
		}
		rows, err := w.audit.List(t.Context(), audit.Filter{Action: "oidc.consent"})
		if err != nil || len(rows) != 1 || rows[0].Actor != audit.Person(marie, "mdupont") || rows[0].Application != "tool" || rows[0].Detail["scope"] != "openid email" {
			t.Errorf("%v %+v", err, rows)
		}

		// The same, and less, ask nothing more; prompt=none neither.
		for _, change := range [][]string{{"scope", "openid email"}, {"scope", "openid"}, {"scope", "openid", "prompt", "none"}} {
			if v.authorize("tool", change...).location().Get("code") == "" {
				t.Errorf("%v asks again", change)
			}
		}
		// More asks for what is new.
		w.redirectedWith(v.authorize("tool", "scope", "openid groups", "prompt", "none"), "consent_required")
		page, id = v.question(v.authorize("tool", "scope", "openid email groups offline_access"))
		asked, known, _ := strings.Cut(page.body, "<details class=\"told-known\"")
		if !strings.Contains(asked, "les groupes dont vous faites partie") || !strings.Contains(asked, "quand vous n’êtes pas là") ||
			strings.Contains(asked, "adresse de messagerie") || !strings.Contains(known, "adresse de messagerie") {
			t.Errorf("what is new is not told apart: %s", page.body)
		}
		w.redirectedWith(v.answer(id, "deny"), "access_denied")
		v.question(v.authorize("tool", "scope", "openid groups")) // saying no is not remembered as a yes
		if v.authorize("tool", "scope", "openid email").location().Get("code") == "" {
			t.Error("saying no to more took back what was allowed")
		}
	})
}

func TestConsentIsAskedForClaimsOneByOne(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		wants := `{"userinfo":{"email":null},"id_token":{"given_name":{"essential":true},"auth_time":null}}`
		page, id := v.question(v.authorize("tool", "scope", "openid", "claims", wants))
		for _, part := range []string{"connaître votre adresse de messagerie", "connaître votre prénom"} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the page does not say %q", part)
			}
		}
		tokens := w.redeem("tool", v.answer(id, "allow").location().Get("code"))
		w.must(tokens, 200)
		if u := w.userinfo(tokens.text("access_token")); u.text("email") == "" {
			t.Errorf("allowed and not told: %s", u.body)
		}
		if v.authorize("tool", "scope", "openid", "claims", wants).location().Get("code") == "" {
			t.Error("asked again for the same")
		}
		v.question(v.authorize("tool", "scope", "openid", "claims", `{"userinfo":{"phone_number":null}}`))
		if v.authorize("tool", "scope", "openid").location().Get("code") == "" {
			t.Error("asked again for less")
		}
	})
}

func TestConsentIsAskedOfAPushedRequest(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		pushed := w.post("/oauth2/par", "tool", request("tool", "scope", "openid email", "state", "pushed", "client_id", "-"))
		w.must(pushed, 201)
		_, id := v.question(v.get("/oauth2/authorize?" + url.Values{"client_id": {"tool"}, "request_uri": {pushed.text("request_uri")}}.Encode()))
		a := v.answer(id, "allow").location()
		if a.Get("state") != "pushed" || a.Get("code") == "" {
			t.Errorf("%v", a)
		}
		w.must(w.redeem("tool", a.Get("code")), 200)
	})
}

func TestConsentIsForgottenWithItsApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		one := tool(func(c *Client) { c.ID = "passing" })
		for range 2 {
			if _, err := w.p.clients.Add(t.Context(), audit.Operator("root"), one); err != nil {
				t.Fatal(err)
			}
			if c, err := w.p.store.consent(t.Context(), marie, "passing"); err != nil || len(c.scopes) > 0 {
				t.Errorf("what another application of the name was allowed: %v %v", c, err)
			}
			if err := w.p.store.allow(t.Context(), marie, "passing", []string{"openid"}, nil); err != nil {
				t.Fatal(err)
			}
			if err := w.p.clients.Remove(t.Context(), audit.Operator("root"), "passing"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestConsentRules(t *testing.T) {
	consenting(t, ConsentNever, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		if v.authorize("tool").location().Get("code") == "" {
			t.Error("never: asked")
		}
		// prompt=consent asks whatever the rule (OpenID Connect Core §3.1.2.1), every time.
		for range 2 {
			_, id := v.question(v.authorize("tool", "prompt", "consent"))
			if v.answer(id, "allow").location().Get("code") == "" {
				t.Error("no code")
			}
		}
		w.change("tool", func(c *Client) { c.Consent = ConsentAlways })
		for range 2 {
			_, id := v.question(v.authorize("tool"))
			if v.answer(id, "allow").location().Get("code") == "" {
				t.Error("no code")
			}
		}
		w.redirectedWith(v.authorize("tool", "prompt", "none"), "consent_required")
	})
}

func TestConsentComesAfterTheSignInInOneTransaction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, _, _ := realWorld(t, d)
		w.change("tool", func(c *Client) { c.Consent = ConsentOnce })
		v := w.visitor()
		_, id := v.question(v.signIn(v.authorize("tool"), "mdupont"))
		if v.answer(id, "allow").location().Get("code") == "" {
			t.Error("no code")
		}
		// prompt=login consent: both, in that order.
		w.clock.pass(2 * time.Second)
		_, id = v.question(v.signIn(v.authorize("tool", "prompt", "login consent"), "mdupont"))
		if v.answer(id, "allow").location().Get("code") == "" {
			t.Error("no code")
		}
	})
}

func TestQuestionIsForOneSessionOneAnswerAndAWhile(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, door *signin.Service, v *visitor) {
		closed := func(name string, v *visitor, id string) {
			t.Helper()
			for _, a := range []answer{v.get("/oauth2/consent?request=" + url.QueryEscape(id)), v.answer(id, "allow"), v.answer(id, "deny")} {
				if a.status != http.StatusGone || a.header.Get("Location") != "" || strings.Contains(a.body, "L’outil") {
					t.Errorf("%s: %d %s", name, a.status, a.header.Get("Location"))
				}
			}
		}
		ask := func() string {
			t.Helper()
			_, id := v.question(v.authorize("tool", "scope", "openid"))
			return id
		}
		id := ask()
		closed("nobody", w.visitor(), id)
		other := w.visitor()
		other.signIn(other.authorize("other"), "pmartin")
		closed("somebody else", other, id)
		same := w.visitor()
		same.signIn(same.authorize("other"), "mdupont")
		closed("the same person in another browser", same, id)
		if w.trail("oidc.consent", "session") == 0 {
			t.Error("a question of another session leaves no trace")
		}
		for _, wrong := range []string{"", id[:42], id + "A", strings.ToLower(id), hashOf(id), "../" + id} {
			closed("tampered", v, wrong)
		}
		if a := v.post("/oauth2/consent", url.Values{"request": {id}, "answer": {"yes"}}); a.status != http.StatusBadRequest {
			t.Errorf("a button that is not there: %d", a.status)
		}
		if a := v.post("/oauth2/consent?request="+id+"&answer=allow", url.Values{}); a.status != http.StatusGone {
			t.Errorf("an answer in the address: %d", a.status)
		}
		if v.answer(id, "allow").location().Get("code") == "" {
			t.Fatal("the right browser is refused")
		}
		closed("answered", v, id)

		w.change("tool", func(c *Client) { c.Consent = ConsentAlways })
		id = ask()
		w.redirectedWith(v.answer(id, "deny"), "access_denied")
		closed("denied", v, id)
		id = ask()
		w.clock.pass(questionLife)
		closed("too old, to the second", v, id)
		id = ask()
		v.post("/logout", url.Values{})
		v.signIn(v.authorize("other"), "mdupont")
		closed("signed out meanwhile, and in again", v, id)
		id = ask()
		if err := door.SignOutEverywhere(t.Context(), audit.Operator("root"), marie); err != nil {
			t.Fatal(err)
		}
		closed("signed out everywhere meanwhile", v, id)
		w.clock.pass(time.Hour)
		if _, err := w.p.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		var left int
		if err := w.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM oidc_question").Scan(&left); err != nil || left != 0 {
			t.Errorf("%d questions are left: %v", left, err)
		}
	})
}

func TestManyAnswersAtOnceGiveOneCode(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		_, id := v.question(v.authorize("tool"))
		var wg sync.WaitGroup
		codes := make(chan string, 20)
		for range 20 {
			wg.Go(func() {
				r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/oauth2/consent", strings.NewReader(url.Values{"request": {id}, "answer": {"allow"}}.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Header.Set("Sec-Fetch-Site", "same-origin")
				res, err := v.http.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close()
				if u, err := res.Location(); err == nil && u.Query().Get("code") != "" {
					codes <- u.Query().Get("code")
				} else if res.StatusCode != http.StatusGone {
					t.Errorf("status %d", res.StatusCode)
				}
			})
		}
		wg.Wait()
		if len(codes) != 1 {
			t.Errorf("%d codes", len(codes))
		}
	})
}

// TestConsentAsksTheGateAgain: what changed between question and answer counts.
func TestConsentAsksTheGateAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world)
		want   string
	}{
		{"disabled", func(w *world) { w.people.change(marie, func(p *directory.Person) { p.Disabled = true }) }, "access_denied"},
		{"out of the group", func(w *world) { w.change("tool", func(c *Client) { c.Groups = []string{"chefs-etablissement"} }) }, "access_denied"},
		{"a scope taken away", func(w *world) { w.change("tool", func(c *Client) { c.Scopes = []string{"openid"} }) }, "invalid_scope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
				_, id := v.question(v.authorize("tool"))
				c.change(w)
				w.redirectedWith(v.answer(id, "allow"), c.want)
			})
		})
	}
	t.Run("the redirect URI taken away", func(t *testing.T) {
		consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
			_, id := v.question(v.authorize("tool"))
			w.change("tool", func(c *Client) { c.RedirectURIs = []string{"https://elsewhere.example.test/"} })
			w.notRedirected(v.answer(id, "allow"))
		})
	})
	t.Run("two factors asked now", func(t *testing.T) {
		consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
			_, id := v.question(v.authorize("tool"))
			w.change("tool", func(c *Client) { c.Assurance = 2 })
			if a := v.answer(id, "allow"); !asked(a) {
				t.Errorf("not asked for the factor: %d %s", a.status, a.header.Get("Location"))
			}
		})
	})
}

func TestConsentMayBeGivenAsSomebodyElse(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		_, id := v.question(v.authorize("tool"))
		w.clock.pass(time.Second)
		page, again := v.question(v.signIn(v.answer(id, "switch"), "pmartin"))
		if !strings.Contains(page.body, "&lt;script&gt;") || strings.Contains(page.body, "<script>\"") {
			t.Error("the page does not name him, or as it should not")
		}
		tokens := w.redeem("tool", v.answer(again, "allow").location().Get("code"))
		w.must(tokens, 200)
		if w.idClaims("tool", tokens.text("id_token"))["sub"] != paul {
			t.Error("not his code")
		}
		if c, err := w.p.store.consent(t.Context(), marie, "tool"); err != nil || len(c.scopes) > 0 {
			t.Errorf("hers is kept: %v %v", c, err)
		}
	})
}

func TestScopesAreSaidInWordsAndOnce(t *testing.T) {
	for _, c := range []struct {
		scopes, claims string
		want           []string
	}{
		{"openid profile", "name given_name uid", []string{"vous reconnaître d’une visite à l’autre", "connaître votre nom et votre identifiant"}},
		{"openid", "name email email_verified acr sub gossip", []string{"vous reconnaître d’une visite à l’autre", "connaître votre nom", "connaître votre adresse de messagerie"}},
		{"given_name usual_name siren siret", "", []string{"connaître votre prénom", "connaître votre nom de famille", "connaître le numéro SIRET de votre établissement"}},
		{"reports", "", []string{"utiliser le droit « reports », propre à cet outil"}},
		{"", "", nil},
	} {
		if got := told(i18n.French, words(c.scopes), words(c.claims)); !slices.Equal(got, c.want) {
			t.Errorf("%s, %s: %q", c.scopes, c.claims, got)
		}
	}
	for _, s := range knownScopes {
		for _, lang := range i18n.Langs {
			if key := "oidc.told." + s; i18n.T(lang, key) == key {
				t.Errorf("%s has no sentence in %s", s, lang)
			}
		}
	}
}

func TestLogoIsOfTheApplicationsOwnHost(t *testing.T) {
	c := tool()
	for logo, shown := range map[string]bool{
		"https://tool.example.test/logo.svg": true, "http://127.0.0.1/logo.png": true,
		"http://tool.example.test/logo.svg": false, "https://example.test/logo.svg": false, "https://evil.test/logo.svg": false,
		"https://tool.example.test@evil.test/": false, "https://tool.example.test.evil.test/": false, "data:image/svg+xml,x": false, "javascript:alert(1)": false, "": false,
	} {
		c.Logo = logo
		if got := c.application().Logo; got != logo && got != "" || (got != "") != shown {
			t.Errorf("%q: shown %q", logo, got)
		}
	}
}
