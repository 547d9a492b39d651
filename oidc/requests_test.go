package oidc

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/signin"
)

func TestPromptSaysWhatTheSpecificationNamesAndNothingElse(t *testing.T) {
	w := onOne(t)
	for prompt, want := range map[string]string{"": "", "-": "", "none": "none", "login": "login", "select_account": signin.SelectAccount, "login select_account": "login", "login  login": "login"} {
		w.authorize(request("tool", "prompt", prompt))
		if got := w.door.last.Prompt; got != want {
			t.Errorf("prompt=%q reaches signin as %q, want %q", prompt, got, want)
		}
	}
	for _, prompt := range []string{"create", "login create", "none login", "none none", "none consent", "NONE", "Login", "signup", "consent,login", "login\x00"} {
		w.door.last = signin.Request{}
		w.redirectedWith(w.authorize(request("tool", "prompt", prompt)), "invalid_request")
		if w.door.last.Protocol != "" {
			t.Errorf("prompt=%q reached signin", prompt)
		}
	}
}

func TestHintsAndTastesAreTakenOrIgnoredButNeverRefused(t *testing.T) {
	w := onOne(t)
	for _, display := range []string{"page", "popup", "touch", "wap", "cinema", ""} {
		w.code("tool", "display", display)
	}
	w.code("tool", "claims_locales", "fr en", "siret_hint", "13002526500013", "sp_id", "x", "sp_name", "y", "remember_me", "1", "max-age", "x", "ACR_VALUES", "x")
	if raw := string(w.door.last.Raw); strings.Contains(raw, "siret") || strings.Contains(raw, "remember") || strings.Contains(raw, "display") {
		t.Errorf("unknown parameters are kept: %s", raw)
	}
	w.code("tool", "login_hint", "mdupont@academie.test", "ui_locales", "en-GB fr zz")
	if r := w.door.last; r.LoginHint != "mdupont@academie.test" || r.UILocales != "en-GB fr zz" {
		t.Errorf("%+v", r)
	}
	minute := int64(60)
	w.change("tool", func(c *Client) { c.DefaultMaxAge = &minute })
	if w.code("tool"); w.door.last.MaxAge == nil || *w.door.last.MaxAge != 60 {
		t.Errorf("default_max_age reaches signin as %v", w.door.last.MaxAge)
	}
	if w.code("tool", "max_age", "5"); *w.door.last.MaxAge != 5 {
		t.Errorf("max_age does not come before default_max_age: %d", *w.door.last.MaxAge)
	}
}

func TestAHintIsAnIDTokenSignedHereForThisApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, alg := range algorithms {
			w.change("old", func(c *Client) { c.IDTokenAlg = alg })
			tokens := w.tokens("old")
			hint := tokens.text("id_token")
			w.code("old", "id_token_hint", hint)
			if w.door.last.LoginHint != "mdupont" {
				t.Errorf("%s: the hint does not prefill the login: %q", alg, w.door.last.LoginHint)
			}
			w.redirectedWith(w.authorize(request("other", "id_token_hint", hint)), "invalid_request") // its aud is another
		}
		hint := w.tokens("tool").text("id_token")
		w.clock.pass(48 * time.Hour)
		w.signIn(marie, "sid-1")
		w.code("tool", "id_token_hint", hint) // expired, it still says who
		for name, forged := range w.forgedHints(hint) {
			a := w.authorize(request("tool", "id_token_hint", forged))
			if a.location().Get("error") != "invalid_request" && a.status != http.StatusBadRequest || a.location().Get("code") != "" {
				t.Errorf("%s: %d %s", name, a.status, a.header.Get("Location"))
			}
		}
		w.signIn(paul, "sid-2")
		for _, prompt := range []string{"", "none"} {
			w.redirectedWith(w.authorize(request("tool", "id_token_hint", hint, "prompt", prompt)), signin.LoginRequired)
		}
	})
}

func TestAnAccessTokenIsNoHint(t *testing.T) {
	w := onOne(t)
	w.registerFormats()
	for _, format := range []string{FormatJWT, FormatOldJWT} {
		w.change("tool", func(c *Client) { c.TokenFormat = format })
		access := w.tokens("tool").text("access_token")
		if strings.Count(access, ".") != 2 {
			t.Fatalf("%s: no JWT: %s", format, access)
		}
		w.redirectedWith(w.authorize(request("tool", "id_token_hint", access)), "invalid_request")
	}
}

func TestARequestMayBeLongUpToABound(t *testing.T) {
	w := onOne(t)
	for _, n := range []int{1, 64, 1000, 8000} {
		state := strings.Repeat("s", n)
		for _, mode := range responseModes {
			if got := w.authorize(request("tool", "state", state, "response_mode", mode)).location().Get("state"); got != state {
				t.Errorf("a state of %d comes back as %d by %s", n, len(got), mode)
			}
		}
	}
	nonce := strings.Repeat("n", 1024)
	if w.idClaims("tool", w.tokens("tool", "nonce", nonce).text("id_token"))["nonce"] != nonce {
		t.Error("a long nonce is cut")
	}
	w.notRedirected(w.authorize(request("tool", "state", strings.Repeat("s", maxAddress))))
	w.redirectedWith(w.authorize(request("tool", "nonce", strings.Repeat("n", 1025))), "invalid_request")
}

func TestAPostedRequestIsAsGoodAsOneInTheAddress(t *testing.T) {
	w := onOne(t)
	a := w.post("/oauth2/authorize", "", request("tool", "response_mode", modeFormPost))
	to, _ := url.Parse(a.header.Get("Location"))
	if a.status != 303 || to.Host != strings.TrimPrefix(w.http.URL, "http://") || to.Path != "/oauth2/authorize" {
		t.Fatalf("%d %s", a.status, a.header.Get("Location"))
	}
	if w.get(to.RequestURI()).location().Get("code") == "" {
		t.Error("no code")
	}
	twice := and(request("tool"), "state", "other")
	a = w.post("/oauth2/authorize", "", twice)
	to, _ = url.Parse(a.header.Get("Location"))
	w.redirectedWith(w.get(to.RequestURI()), "invalid_request")
	w.notRedirected(w.post("/oauth2/authorize?client_id=other", "", request("tool")))
}

// TestRow02… holds that no endpoint which redirects, posts or refreshes leads
// anywhere but to a registered address, the provider's own pages, or nowhere.
func TestRow02NoEndpointLeadsToAnAddressThatIsNotRegistered(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, _, _ := realWorld(t, d)
		v, tokens := w.signedIn("tool", "mdupont")
		hint := tokens.text("id_token")
		own := map[string]bool{"/signin": true, "/oauth2/authorize": true, "/oauth2/logout": true, "/oauth2/consent": true, "/logout/done": true, "/account": true}
		registered := map[string]bool{"tool.example.test/callback": true, "tool.example.test/bye": true}
		lead := regexp.MustCompile(`(?i)(?:action|href|src|formaction|content)="([^"]*)"`)
		check := func(what string, a answer) {
			t.Helper()
			all := []string{a.header.Get("Location")}
			if _, to, ok := strings.Cut(a.header.Get("Refresh"), "url="); ok {
				all = append(all, to)
			}
			for _, m := range lead.FindAllStringSubmatch(a.body, -1) {
				if strings.Contains(m[1], "//") || strings.HasPrefix(strings.ToLower(strings.TrimSpace(m[1])), "javascript:") {
					all = append(all, m[1])
				}
			}
			for _, to := range all {
				if to == "" {
					continue
				}
				there, err := readAsBrowser(to)
				switch {
				case err != nil && strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && !strings.HasPrefix(to, `/\`):
					if path, _, _ := strings.Cut(to, "?"); !own[path] {
						t.Errorf("%s leads to %q", what, to)
					}
				case err == nil && "http://"+there.host+":"+there.port == w.http.URL && there.user == "":
				case err == nil && there.scheme == "https" && registered[there.host+there.path] && there.user == "":
				case err == nil && there.host == "tool.example.test" && there.path == "/" && there.query == "": // the home of the tool
				default:
					t.Errorf("%s leads to %q (%+v, %v)", what, to, there, err)
				}
			}
		}
		hostile := append([]string{"https://evil.test/", "//evil.test/", `/\evil.test`, "javascript:alert(1)", "https://evil.test/callback?https://tool.example.test/callback"}, hostileRedirects[:40]...)
		for _, uri := range hostile {
			for _, mode := range responseModes {
				for _, change := range [][]string{nil, {"response_type", "token"}, {"prompt", "none"}, {"prompt", "create"}, {"max_age", "x"}, {"request", "a.b.c"}, {"request_uri", uri}} {
					form := request("tool", append([]string{"redirect_uri", uri, "response_mode", mode}, change...)...)
					check("authorize "+mode, v.get("/oauth2/authorize?"+form.Encode()))
				}
			}
			check("authorize, posted", v.post("/oauth2/authorize", request("tool", "redirect_uri", uri)))
			check("state", v.get("/oauth2/authorize?"+request("tool", "state", uri, "response_mode", modeFormPost).Encode()))
			check("login_hint", v.get("/oauth2/authorize?"+request("tool", "login_hint", uri, "prompt", "login").Encode()))
			for _, form := range []url.Values{{"post_logout_redirect_uri": {uri}}, {"post_logout_redirect_uri": {uri}, "client_id": {"tool"}}, {"post_logout_redirect_uri": {uri}, "id_token_hint": {hint}}, {"id_token_hint": {uri}, "state": {uri}}} {
				check("logout", v.get("/oauth2/logout?"+form.Encode()))
				check("logout, posted", v.post("/oauth2/logout", form))
			}
			check("consent", v.get("/oauth2/consent?request="+url.QueryEscape(uri)))
			check("device", v.get("/device?user_code="+url.QueryEscape(uri)))
			check("signin", v.get("/signin?flow="+url.QueryEscape(uri)))
		}
		// What is registered is led to, in every mode, and once signed out too.
		for _, mode := range responseModes {
			a := v.get("/oauth2/authorize?" + request("tool", "response_mode", mode).Encode())
			check("authorize", a)
			if a.location().Get("code") == "" {
				t.Errorf("%s: no code: %d %s", mode, a.status, a.header.Get("Location"))
			}
		}
		for _, uri := range hostile {
			check("logout, confirmed", v.post("/oauth2/logout/confirm", url.Values{"client_id": {"tool"}, "post_logout_redirect_uri": {uri}, "state": {uri}}))
		}
		a := v.get(logoutWith("id_token_hint", hint))
		check("logout", a)
		if !strings.HasPrefix(a.header.Get("Location"), bye) {
			t.Errorf("%d %s", a.status, a.header.Get("Location"))
		}
	})
}

// hiddenField finds the hidden fields of a page.
var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// TestRow13… tampers every hidden field of the pages of this folder: none of
// them carries a decision, so none of the changes gets anybody anything.
func TestRow13TamperedHiddenFieldsGainNothing(t *testing.T) {
	consenting(t, ConsentAlways, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		question, _ := v.question(v.authorize("tool"))
		pages := []struct {
			path   string
			page   answer
			button []string
		}{ // in this order: the second signs out
			{"/oauth2/consent", question, []string{"answer", "allow"}},
			{"/oauth2/logout/confirm", v.get("/oauth2/logout?client_id=tool&state=s&ui_locales=fr&post_logout_redirect_uri=" + url.QueryEscape(bye)), nil},
		}
		stranger := w.visitor()
		theirs, _ := func() (answer, string) {
			stranger.signIn(stranger.authorize("other", "scope", "openid"), "pmartin")
			return stranger.question(stranger.authorize("tool"))
		}()
		foreign := hiddenField.FindStringSubmatch(strings.ReplaceAll(theirs.body, "\n", ""))
		for _, one := range pages {
			path, button := one.path, one.button
			fields := hiddenField.FindAllStringSubmatch(one.page.body, -1)
			if len(fields) == 0 {
				t.Fatalf("%s has no hidden fields: %s", path, one.page.body)
			}
			for _, tampered := range fields {
				if tampered[1] == "next" { // of the language switch, which is web's
					continue
				}
				for _, value := range append([]string{"", "x", "https://evil.test/", "other", "../../account", strings.Repeat("a", 5000), "' OR 1=1 --", foreign[2]}, hostileRedirects[:8]...) {
					form := url.Values{}
					for _, one := range fields {
						if one[1] != "next" {
							form.Set(one[1], one[2])
						}
					}
					form.Set(tampered[1], value)
					a := v.post(path, pairs(form, button...))
					there, err := readAsBrowser(a.header.Get("Location"))
					if a.location().Get("code") != "" && tampered[1] == "request" || err == nil && there.host != "tool.example.test" && "http://"+there.host+":"+there.port != w.http.URL {
						t.Errorf("%s: %s=%.60q leads to %d %s", path, tampered[1], value, a.status, a.header.Get("Location"))
					}
					if strings.Contains(a.header.Get("Location"), "evil.test/") && there.host != "tool.example.test" {
						t.Errorf("%s: %s=%q", path, tampered[1], value)
					}
				}
			}
		}
		// Nobody answered paul's question for him.
		if a := stranger.answer(foreign[2], "allow"); a.location().Get("code") == "" {
			t.Errorf("another browser used up the question: %d %s", a.status, a.header.Get("Location"))
		}
	})
	// The fields of a posted answer are the application's to check: a changed
	// code is no code, and another client's is not its own.
	w := onOne(t)
	a := w.authorize(request("tool", "response_mode", modeFormPost))
	code := a.location().Get("code")
	for i := range code {
		changed := code[:i] + string('A'+(code[i]+1)%26) + code[i+1:]
		if changed != code {
			w.refusedWith(w.redeem("tool", changed), "invalid_grant")
		}
	}
	w.refusedWith(w.redeem("other", code), "invalid_grant")
	w.must(w.redeem("tool", code), 200)
}

// TestTheFinisher… holds that what is read after the sign-in, though it lay in
// the database, is checked as strictly as before.
func TestTheFinisherTrustsItsBytesNoMoreThanTheBrowser(t *testing.T) {
	w := onOne(t)
	who := *w.door.result
	for _, raw := range []url.Values{
		request("tool", "redirect_uri", "https://evil.test/"), request("nobody"), request("tool", "scope", "openid reports"), request("tool", "response_type", "token"),
		request("tool", "code_challenge", "-"), and(request("tool"), "state", "x"), request("tool", "claims", "{"), request("tool", "resource", "https://evil.test/"), {},
	} {
		rec := httptest.NewRecorder()
		err := w.p.Finisher().Finish(rec, httptest.NewRequest(http.MethodPost, "/signin", nil), []byte(raw.Encode()), who)
		if to := rec.Header().Get("Location"); strings.Contains(to, "code=") || strings.HasPrefix(to, "https://evil.test") || err == nil && to == "" {
			t.Errorf("%v: %v %s", raw, err, to)
		}
	}
}

func TestDiscoveryNamesTheRequestsThatAreTaken(t *testing.T) {
	w := onOne(t)
	a := w.get("/.well-known/openid-configuration")
	for name, want := range map[string]any{
		"response_types_supported": []any{"code"}, "response_modes_supported": []any{"query", "fragment", "form_post"}, "claims_parameter_supported": true, "request_parameter_supported": true,
		"request_uri_parameter_supported": true, "require_request_uri_registration": true, "require_pushed_authorization_requests": false, "pushed_authorization_request_endpoint": w.http.URL + "/oauth2/par",
		"authorization_response_iss_parameter_supported": true,
	} {
		got, _ := json.Marshal(a.json[name])
		wanted, _ := json.Marshal(want)
		if string(got) != string(wanted) {
			t.Errorf("%s is %s, want %s", name, got, wanted)
		}
	}
	algs, _ := a.json["request_object_signing_alg_values_supported"].([]any)
	if slices.Contains(algs, any("none")) || len(algs) != len(foreignAlgs) {
		t.Errorf("request objects: %v", algs)
	}
}

// What Authelia's fork of fosite had to mend, tried against ours: arguments
// compared without their case, a missing redirect_uri that is no error.
func TestArgumentsAreCaseSensitive(t *testing.T) {
	w := onOne(t)
	for name, value := range map[string]string{"response_type": "Code", "code_challenge_method": "s256", "prompt": "None", "response_mode": "Fragment", "scope": "OPENID REPORTS openid reports"} {
		a := w.authorize(request("tool", name, value))
		if a.location().Get("error") == "" || a.location().Get("code") != "" {
			t.Errorf("%s=%s: %d %s", name, value, a.status, a.header.Get("Location"))
		}
	}
	if tokens := w.redeem("tool", w.code("tool", "scope", "openid EMAIL Profile")); tokens.text("scope") != "openid" {
		t.Errorf("scopes without their case: %s", tokens.text("scope"))
	}
	code := w.code("tool")
	for _, form := range []url.Values{
		{"Grant_Type": {GrantCode}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}},
		{"grant_type": {"Authorization_Code"}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}},
		{"grant_type": {GrantCode}, "CODE": {code}, "redirect_uri": {back}, "code_verifier": {verifier}},
		{"grant_type": {GrantCode}, "code": {code}, "redirect_uri": {back}, "Code_Verifier": {verifier}},
	} {
		if a := w.post("/oauth2/token", "tool", form); a.status != http.StatusBadRequest {
			t.Errorf("%v: %d %s", form, a.status, a.body)
		}
	}
	w.must(w.redeem("tool", code), 200)
}

func TestAMissingRedirectURIIsAnErrorEverywhere(t *testing.T) {
	w := onOne(t)
	one := tool(func(c *Client) { c.ID, c.RedirectURIs, c.Home = "single", []string{back}, "" })
	w.register(one) // with one address registered there would be no doubt which
	for _, value := range []string{"-", ""} {
		w.notRedirected(w.authorize(request("single", "redirect_uri", value)))
		w.notRedirected(w.authorize(request("single", "redirect_uri", value, "scope", "mail"))) // without openid too
		w.refusedWith(w.push("single", request("single", "redirect_uri", value)), "invalid_request")
		code := w.code("single")
		w.refusedWith(w.redeem("single", code, "redirect_uri", value), "invalid_grant")
		w.must(w.redeem("single", code), 200)
	}
}

func TestAnOmittedResponseModeIsTheQuery(t *testing.T) {
	w := onOne(t)
	for _, value := range []string{"-", ""} {
		if a := w.authorize(request("tool", "response_mode", value)); !w.deliveredBy(a, modeQuery, back) {
			t.Errorf("%d %s", a.status, a.header.Get("Location"))
		}
		if a := w.authorize(request("tool", "response_mode", value, "redirect_uri", "http://127.0.0.1/callback")); !w.deliveredBy(a, modeQuery, "http://127.0.0.1/callback") {
			t.Errorf("%d %s", a.status, a.header.Get("Location"))
		}
	}
}
