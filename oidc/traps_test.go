package oidc

import (
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/url"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// The traps of fosite v0.49.0, T1 to T21, as they were proven against it
// (docs/decisions/0003). Each test fails when its trap is open.

func TestT01AWrongVerifierOpensNothingAndSpoilsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, client := range []string{"tool", "spa", "old"} {
			secretOf := client
			if client == "spa" {
				secretOf = ""
			}
			code := w.code(client)
			as := func(change ...string) answer {
				if client == "spa" {
					change = append(change, "client_id", "spa")
				}
				return w.redeem(secretOf, code, change...)
			}
			w.refusedWith(as("code_verifier", strings.Repeat("x", 43)), "invalid_grant")
			w.refusedWith(as("code_verifier", "-"), "invalid_grant") // the downgrade
			w.refusedWith(as("code_verifier", ""), "invalid_grant")
			w.refusedWith(as("code_verifier", "short"), "invalid_grant")
			w.refusedWith(as("code_verifier", challengeOf(verifier)), "invalid_grant") // S256, not plain
			if n := w.trail("oidc.code", "verifier"); n == 0 {
				t.Error("a wrong verifier leaves no trace")
			}
			w.must(as(), 200) // the owner is not locked out
		}
	})
}

func TestT01AVerifierForACodeWithoutChallengeIsRefused(t *testing.T) {
	w := onOne(t)
	code := w.code("old", "code_challenge", "-", "code_challenge_method", "-")
	w.refusedWith(w.redeem("old", code), "invalid_grant")
	w.must(w.redeem("old", code, "code_verifier", "-"), 200)
	for _, client := range []string{"tool", "spa"} {
		w.redirectedWith(w.authorize(request(client, "code_challenge", "-", "code_challenge_method", "-")), "invalid_request")
	}
	w.redirectedWith(w.authorize(request("tool", "code_challenge_method", "plain")), "invalid_request")
	w.redirectedWith(w.authorize(request("tool", "code_challenge_method", "-")), "invalid_request")
	w.redirectedWith(w.authorize(request("tool", "code_challenge", "abc")), "invalid_request")
	w.redirectedWith(w.authorize(request("old", "code_challenge", "-")), "invalid_request")
}

func TestT02MaxAgeIsReadStrictly(t *testing.T) {
	w := onOne(t)
	for _, bad := range []string{"abc", "-5", "", "1.5", "+1", " 1", "99999999999", "0x10", "1e3"} {
		w.redirectedWith(w.authorize(request("tool", "max_age", bad)), "invalid_request")
	}
	for text, want := range map[string]int64{"0": 0, "1": 1, "10000": 10000} {
		w.authorize(request("tool", "max_age", text))
		if got := w.door.last.MaxAge; got == nil || *got != want {
			t.Errorf("max_age=%s reaches signin as %v", text, got)
		}
	}
	w.authorize(request("tool"))
	if w.door.last.MaxAge != nil {
		t.Error("no max_age reaches signin as one")
	}
}

func TestT06ACodeIsGoodOnceHoweverManyRaceForIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for round := range 100 {
			code := w.code("tool")
			var wg sync.WaitGroup
			var mu sync.Mutex
			var won []answer
			for range 4 {
				wg.Go(func() {
					if a := w.redeem("tool", code); a.status == 200 {
						mu.Lock()
						won = append(won, a)
						mu.Unlock()
					} else if a.text("error") != "invalid_grant" {
						t.Errorf("a loser is told %s", a.body)
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("round %d: %d token sets of one code", round, len(won))
			}
			if w.active("tool", won[0].text("access_token")) {
				t.Fatalf("round %d: the code was used twice and its tokens live on", round)
			}
		}
		if w.trail("oidc.code", "used") == 0 {
			t.Error("no trace of the used codes")
		}
	})
}

func TestT06AUsedCodeEndsWhatCameOfIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		code := w.code("tool", "scope", "openid mail offline_access")
		a := w.redeem("tool", code)
		w.must(a, 200)
		child := w.exchange("tool", a.text("access_token"))
		w.must(child, 200)
		b := w.refresh("tool", a.text("refresh_token"))
		w.must(b, 200)
		w.refusedWith(w.redeem("tool", code), "invalid_grant")
		for name, token := range map[string]string{"access": a.text("access_token"), "refreshed": b.text("access_token"), "refresh": b.text("refresh_token"), "exchanged": child.text("access_token")} {
			if w.active("tool", token) {
				t.Errorf("the %s token lives on", name)
			}
		}
		w.must(w.userinfo(a.text("access_token")), 401)
		w.refusedWith(w.refresh("tool", b.text("refresh_token")), "invalid_grant")
		if w.trail("oidc.code", "used") != 1 {
			t.Error("a used code leaves no trace")
		}
	})
}

func TestT07SecretsAreComparedFastAndUnknownClientsTakeAsLong(t *testing.T) {
	w := onOne(t)
	unknown, wrong := w.introspect("nobody:wrong", "x"), w.introspect("tool:wrong", "x")
	if unknown.body != wrong.body || unknown.status != wrong.status {
		t.Errorf("an unknown client is told apart: %s / %s", unknown.body, wrong.body)
	}
	start := time.Now()
	for range 50 {
		w.refusedWith(w.introspect("tool:wrong", "x"), "invalid_client")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("50 wrong secrets took %s", took)
	}
	if w.trail("oidc.client", "secret") == 0 || w.trail("oidc.client", "unknown") == 0 {
		t.Error("wrong secrets leave no trace")
	}
	if n := w.trail("oidc.client", ""); n > 60 {
		t.Errorf("anonymous refusals are not capped: %d", n)
	}
	long := strings.Repeat("s", 200) // bcrypt would refuse more than 72 bytes
	if !secretMatches([]string{hashOf(long)}, long) || secretMatches([]string{hashOf(long)}, long[:72]) || secretMatches([]string{hashOf("")}, "") {
		t.Error("secret comparison")
	}
}

func TestT08AForeignClientSeesOnlyInactive(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool")
		for _, token := range []string{a.text("access_token"), a.text("refresh_token")} {
			for _, client := range []string{"other", "imap", "robot"} {
				if w.active(client, token) {
					t.Errorf("%s sees inside %s…", client, token[:8])
				}
			}
			if !w.active("tool", token) {
				t.Errorf("its own client does not see %s…", token[:8])
			}
		}
		// Neither a bearer token nor a public client's name opens the door.
		r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/oauth2/introspect", strings.NewReader("token="+a.text("access_token")))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "Bearer "+a.text("access_token"))
		w.must(w.send(r), 401)
		// Dovecot 2.3 authenticates by header and sends these two without a value.
		if a := w.post("/oauth2/introspect", "tool", url.Values{"token": {"x"}, "client_id": {""}, "client_secret": {""}}); a.status != 200 || a.text("active") == "true" {
			t.Errorf("parameters without a value count as sent: %d %s", a.status, a.body)
		}
		w.must(w.post("/oauth2/introspect", "", url.Values{"token": {"x"}, "client_id": {"spa"}}), 401)
		w.must(w.post("/oauth2/introspect", "", url.Values{"token": {"x"}}), 401)
	})
}

func TestT09TwoTabsRefreshingTogetherBothLive(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool", "scope", "openid offline_access")
		first := w.refresh("tool", a.text("refresh_token"))
		w.must(first, 200)
		w.clock.pass(9 * time.Second)
		second := w.refresh("tool", a.text("refresh_token"))
		w.must(second, 200)
		for _, b := range []answer{first, second} {
			if !w.active("tool", b.text("access_token")) {
				t.Error("a tab lost its token")
			}
			w.must(w.refresh("tool", b.text("refresh_token")), 200)
		}
		w.clock.pass(2 * time.Second) // 11 s after the first use
		w.refusedWith(w.refresh("tool", a.text("refresh_token")), "invalid_grant")
		if w.trail("oidc.refresh", "reused") != 1 {
			t.Error("reuse leaves no trace")
		}
		for _, b := range []answer{first, second} {
			if w.active("tool", b.text("access_token")) {
				t.Error("the family lives on after a reuse")
			}
			w.refusedWith(w.refresh("tool", b.text("refresh_token")), "invalid_grant")
		}
	})
}

func TestT10EveryFieldOfFositesConfigurationIsSet(t *testing.T) {
	w := onOne(t)
	config := reflect.ValueOf(w.p.engine.Config).Elem()
	mayBeZero := map[string]bool{"SendDebugMessagesToClients": true, "EnablePKCEPlainChallengeMethod": true, "UseLegacyErrorFormat": true, "GrantTypeJWTBearerCanSkipClientAuth": true,
		"GrantTypeJWTBearerIDOptional": true, "GrantTypeJWTBearerIssuedDateOptional": true, "IsPushedAuthorizeEnforced": true, "MessageCatalog": true}
	for i := range config.NumField() {
		field := config.Type().Field(i)
		if config.Field(i).IsZero() && !mayBeZero[field.Name] {
			t.Errorf("%s is left to be filled lazily", field.Name)
		}
	}
	// Under -race this would show what is filled lazily all the same.
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { w.tokens("tool") })
	}
	wg.Wait()
}

func TestT11AtHashMatchesTheAlgorithmsOffered(t *testing.T) {
	const token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
	for _, alg := range []string{RS256, PS256, ES256} { // the example of OpenID Connect Core, A.3
		if got := leftHalf(alg, token); got != "77QmUPtjPfzWtF2AnpK9RQ" {
			t.Errorf("%s: at_hash %s", alg, got)
		}
	}
	sum := sha512.Sum512([]byte(token))
	if got := leftHalf(EdDSA, token); got != base64.RawURLEncoding.EncodeToString(sum[:32]) {
		t.Errorf("EdDSA: at_hash %s", got)
	}
}

func TestT12StateIsOptionalAndAnyLength(t *testing.T) {
	w := onOne(t)
	for _, state := range []string{"-", "x", strings.Repeat("s", 4000)} {
		a := w.authorize(request("tool", "state", state))
		if a.location().Get("code") == "" || state != "-" && a.location().Get("state") != state {
			t.Errorf("state of %d: %d %s", len(state), a.status, a.header.Get("Location"))
		}
	}
	w.code("tool", "nonce", "n") // a short nonce is fine at both ends
	w.must(w.redeem("tool", w.code("tool", "nonce", "-")), 200)
	w.redirectedWith(w.authorize(request("tool", "nonce", strings.Repeat("n", 1025))), "invalid_request")
}

func TestT13ClientErrorsCarryAChallengeAndUnknownGrantsTheirName(t *testing.T) {
	w := onOne(t)
	for name, a := range map[string]answer{
		"wrong secret": w.redeem("tool:wrong", "x"), "unknown": w.redeem("nobody", "x"), "none": w.redeem("", "x"),
		"assertion":            w.redeem("", "x", "client_assertion", "a.b.c", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
		"public with a secret": w.redeem("", "x", "client_id", "spa", "client_secret", "guess"),
	} {
		if a.status != 401 || a.text("error") != "invalid_client" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: %d %s %q", name, a.status, a.body, a.header.Get("WWW-Authenticate"))
		}
	}
	for _, grant := range []string{"password", "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer", "authorization_code refresh_token", "AUTHORIZATION_CODE"} {
		w.refusedWith(w.post("/oauth2/token", "tool", url.Values{"grant_type": {grant}}), "unsupported_grant_type")
	}
	w.refusedWith(w.post("/oauth2/token", "tool", url.Values{}), "invalid_request")
	twice := w.redeem("tool", "x", "client_secret", secret1)
	w.refusedWith(twice, "invalid_request")
	w.refusedWith(w.redeem("tool", "x", "client_id", "other"), "invalid_request")
	w.refusedWith(w.post("/oauth2/token", "imap", url.Values{"grant_type": {GrantCode}, "code": {"x"}}), "unauthorized_client")
	w.refusedWith(w.post("/oauth2/token", "imap", url.Values{"grant_type": {GrantClientCredentials}}), "unauthorized_client")
}

func TestT15T21OnlyTheRegisteredRedirectURIIsFollowed(t *testing.T) {
	w := onOne(t)
	w.notRedirected(w.authorize(request("nobody")))
	for _, uri := range hostileRedirects {
		w.notRedirected(w.authorize(request("tool", "redirect_uri", uri)))
	}
	w.notRedirected(w.authorize(request("tool", "redirect_uri", "-")))
	w.notRedirected(w.authorize(request("tool", "client_id", "-")))
	w.notRedirected(w.authorize(request("imap")))
	for _, name := range []string{"client_id", "redirect_uri"} {
		form := request("tool")
		form.Add(name, form.Get(name))
		w.notRedirected(w.authorize(form))
	}
	if w.trail("oidc.authorize", "redirect_uri") == 0 || w.trail("oidc.authorize", "client") == 0 {
		t.Error("a foreign redirect URI leaves no trace")
	}
	// Registered on https, 127.0.0.1 has no free port.
	c := tool(func(c *Client) { c.RedirectURIs = []string{"https://127.0.0.1/cb"} })
	if matchRedirect(c.RedirectURIs, "http://127.0.0.1:6666/cb") || matchRedirect(c.RedirectURIs, "https://127.0.0.1:6666/cb") {
		t.Error("an https loopback address takes a port")
	}
}

func TestT15DuplicateParametersAreRefused(t *testing.T) {
	w := onOne(t)
	for name := range request("tool", "prompt", "login", "max_age", "1", "unknown", "x") {
		if name == "client_id" || name == "redirect_uri" {
			continue // their own test: nothing is redirected
		}
		form := request("tool", "prompt", "login", "max_age", "1", "unknown", "x")
		form.Add(name, form.Get(name))
		a := w.authorize(form)
		w.redirectedWith(a, "invalid_request")
		if name == "state" && a.location().Has("state") {
			t.Error("one of two states was chosen")
		}
	}
	code := w.code("tool")
	for _, name := range []string{"grant_type", "code", "redirect_uri", "code_verifier"} {
		form := url.Values{"grant_type": {GrantCode}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}}
		form.Add(name, form.Get(name))
		w.refusedWith(w.post("/oauth2/token", "tool", form), "invalid_request")
	}
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		w.refusedWith(w.post(path, "tool", url.Values{"token": {"a", "b"}}), "invalid_request")
	}
	w.must(w.redeem("tool", code), 200)
}

func TestT16ARefreshNarrowsAndLeaksNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool", "scope", "openid email profile offline_access")
		if claims := w.idClaims("tool", a.text("id_token")); claims["rat"] != nil {
			t.Error("the ID token tells rat")
		}
		b := w.refresh("tool", a.text("refresh_token"), "scope", "openid email")
		w.must(b, 200)
		if b.text("scope") != "openid email" {
			t.Errorf("scope %q", b.text("scope"))
		}
		claims := w.idClaims("tool", b.text("id_token"))
		if claims["nonce"] != nil || claims["rat"] != nil || claims["name"] != nil || claims["email"] == nil {
			t.Errorf("refreshed ID token: %v", claims)
		}
		if claims["auth_time"] != float64(w.clock.now().Add(-time.Minute).Unix()) || claims["acr"] != "https://refeds.org/profile/mfa" || claims["sid"] != "sid-1" {
			t.Errorf("a refresh changed the assurance: %v", claims)
		}
		if u := w.userinfo(b.text("access_token")); u.json["name"] != nil {
			t.Errorf("the narrowed token still tells %s", u.body)
		}
		c := w.refresh("tool", b.text("refresh_token"))
		if c.text("scope") != "openid email profile offline_access" {
			t.Errorf("the refresh token lost the scope of its authorization: %q", c.text("scope"))
		}
		w.refusedWith(w.refresh("tool", c.text("refresh_token"), "scope", "openid groups"), "invalid_scope")
		w.must(w.refresh("tool", c.text("refresh_token")), 200) // a refusal spends nothing
	})
}

func TestT18LargeAndStrangeBodiesAreRefused(t *testing.T) {
	w := onOne(t)
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
		a := w.post(path, "tool", url.Values{"grant_type": {GrantCode}, "code": {strings.Repeat("x", 9<<20)}})
		if a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s reads 9 MiB: %d", path, a.status)
		}
		for _, media := range []string{"multipart/form-data; boundary=x", "application/json", "text/plain", ""} {
			r, _ := http.NewRequest(http.MethodPost, w.http.URL+path, strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx\r\n--x--\r\n"))
			r.Header.Set("Content-Type", media)
			r.SetBasicAuth("tool", secret1)
			if a := w.send(r); a.status != 400 || a.text("error") != "invalid_request" {
				t.Errorf("%s takes %q: %d %s", path, media, a.status, a.body)
			}
		}
		w.must(w.get(path+"?grant_type=client_credentials&client_id=tool&client_secret="+secret1), http.StatusMethodNotAllowed)
	}
	r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/oauth2/token?client_id=tool&client_secret="+secret1+"&grant_type=client_credentials", strings.NewReader("x=y"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a := w.send(r); a.status < 400 {
		t.Errorf("secrets are read from the address: %s", a.body)
	}
	w.notRedirected(w.authorize(request("tool", "state", strings.Repeat("s", 13<<10))))
}

func TestT19NoTestLibraryIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "testify") || strings.Contains(line, "gomock") || strings.Contains(line, "fosite/storage") || strings.Contains(line, "fosite/compose") {
			t.Errorf("linked: %s", strings.TrimSpace(line))
		}
	}
}

func TestT20AcrIsWhatWasDoneNotWhatWasAsked(t *testing.T) {
	w := onOne(t)
	w.door.result.Level, w.door.result.AMR = 1, []string{"pwd"}
	a := w.tokens("tool", "acr_values", "https://refeds.org/profile/mfa 0", "claims", `{"id_token":{"acr":null},"userinfo":{"acr":{"value":"0"}}}`)
	if w.door.last.Assurance != 2 {
		t.Errorf("acr_values reaches signin as %d", w.door.last.Assurance)
	}
	if claims := w.idClaims("tool", a.text("id_token")); claims["acr"] != "https://refeds.org/profile/sfa" {
		t.Errorf("acr %v", claims["acr"])
	}
	if i := w.introspect("tool", a.text("access_token")); i.text("acr") != "https://refeds.org/profile/sfa" {
		t.Errorf("introspection: %s", i.body)
	}
	w.authorize(request("tool", "acr_values", "urn:unknown"))
	if w.door.last.Assurance != 0 {
		t.Error("an unknown acr asks something")
	}
}

func TestFositeStillSpeaksOfWhatWeHandIt(t *testing.T) {
	// The engine sees only requests that passed our door; this holds that it
	// answers them as we expect after an upgrade.
	w := onOne(t)
	r := &authRequest{form: request("tool"), scopes: []string{"openid"}}
	ar, err := w.p.engine.NewAuthorizeRequest(t.Context(), r.request())
	if err != nil {
		t.Fatal(err)
	}
	if ar.GetRedirectURI().String() != back || !ar.GetResponseTypes().ExactOne("code") {
		t.Errorf("%v %v", ar.GetRedirectURI(), ar.GetResponseTypes())
	}
}
