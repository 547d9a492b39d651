package e2e

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/e2e/visitor"
)

// providerJourneys are what applications and attackers do at the provider. They run side by side on one Beffroi, as they would
// in life: people share it, and whoever waits for the next one-time code holds nobody up.
func providerJourneys(t *testing.T, w *world, more map[string]func(*testing.T, *world)) {
	t.Run("side by side", func(t *testing.T) {
		for name, f := range more {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t, w)
			})
		}
		for name, f := range map[string]func(*testing.T, *world){
			"a person with two factors opens the tool":            opensTheTool,
			"the first sign-in enrols, a refusal tells why":       enrolsAndIsRefused,
			"a second application asks nothing":                   singleSignOn,
			"a request without pages gets an answer":              withoutPages,
			"max_age=0 asks the password again":                   freshness,
			"a code is good once":                                 codeIsGoodOnce,
			"a code is good once even for eight who race":         codeRace,
			"a stolen code without its verifier is worth nothing": wrongVerifier,
			"a one-time code is good once":                        replayedTOTP,
			"a redirect URI is exact but for the loopback port":   exactRedirect,
			"a form from another origin is refused":               foreignOrigin,
			"a refresh token rotates and dies of reuse":           refreshReuse,
			"a revoked token is dead":                             revocation,
			"a stranger learns nothing of a token":                foreignIntrospection,
			"four wrong passwords close the account for a while":  lockout,
			"two tabs sign in at once":                            twoTabs,
			"every page carries its headers":                      headers,
			"names in any writing are one person":                 oneIdentity,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t, w)
			})
		}
	})
	t.Run("signing out everywhere ends refresh tokens", func(t *testing.T) { signOutEverywhere(t, w) })
}

func opensTheTool(t *testing.T, w *world) {
	ctx := journey(t)
	tokens, claims := w.enter(t, ctx, visitor.New(), w.demoApp, "mdupont")
	if claims.ACR != twoFactors {
		t.Errorf("acr is %q", claims.ACR)
	}
	for _, method := range []string{"pwd", "otp", "mfa"} {
		if !slices.Contains(claims.AMR, method) {
			t.Errorf("amr %v lacks %s", claims.AMR, method)
		}
	}
	if claims.Algorithm != "RS256" {
		t.Errorf("the ID token is signed by %s", claims.Algorithm)
	}
	status, info, err := w.demoApp.UserInfo(ctx, tokens.AccessToken)
	if err != nil || status != 200 {
		t.Fatalf("userinfo: %d %v", status, err)
	}
	if info["sub"] != claims.Subject || info["preferred_username"] != "mdupont" {
		t.Errorf("userinfo says sub %v, preferred_username %v; the ID token sub %s", info["sub"], info["preferred_username"], claims.Subject)
	}
	groups := texts(info["groups"])
	if !slices.Contains(groups, "tous-personnels") || !slices.Contains(groups, "helpdesk") || slices.Contains(groups, "chefs-etablissement") {
		t.Errorf("groups are %v", groups)
	}
	if info["groups_csv"] != strings.Join(groups, ",") {
		t.Errorf("groups_csv is %v", info["groups_csv"])
	}
	if strings.Contains(claims.Subject, "mdupont") {
		t.Errorf("sub %q tells the login", claims.Subject)
	}
	status, fields, _, err := w.demoApp.Introspect(ctx, tokens.AccessToken)
	if err != nil || status != 200 || fields["active"] != true || fields["username"] != "mdupont" || fields["acr"] != twoFactors {
		t.Errorf("introspection: %d %v %v", status, fields, err)
	}
}

func enrolsAndIsRefused(t *testing.T, w *world) {
	ctx := journey(t)
	who := w.people["plefebvre"]
	attempt, err := w.headApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor.New()
	page, err := v.Open(ctx, attempt.URL, w.headApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.Form("username")
	if err != nil {
		t.Fatal(err)
	}
	if form.Types["password"] != "password" || form.Autocomplete["username"] != "username webauthn" || form.Autocomplete["password"] != "current-password" {
		t.Errorf("sign-in form: %v %v", form.Types, form.Autocomplete)
	}
	page, err = v.SignIn(ctx, page, who, w.headApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != 403 || strings.Contains(page.Body, "code=") {
		t.Fatalf("plefebvre at direction-tool: %s", page)
	}
	if !page.Says("direction", "accès") {
		t.Errorf("the refusal does not say why: %s", page)
	}
	if who.Phone == nil {
		// a refusal before the factor is fine too; then the tool enrols
		t.Log("refused before a second factor was asked")
	}
	w.enter(t, ctx, visitor.New(), w.demoApp, "plefebvre")
	if who.Phone == nil {
		t.Error("plefebvre has opened a tool that asks two factors with one")
	}
	w.enter(t, ctx, w.browser(t, ctx, "jmartin"), w.headApp, "jmartin")
}

func singleSignOn(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "jmartin")
	_, first := w.enter(t, ctx, v, w.headApp, "jmartin")
	attempt, err := w.demoApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := v.Get(ctx, attempt.URL)
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != 302 && page.Status != 303 || !strings.HasPrefix(page.Location(), w.demoApp.RedirectURI) {
		t.Fatalf("with a session the application is answered at once, not by %s", page)
	}
	code, err := attempt.Code(page.Location())
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := w.demoApp.Redeem(ctx, code, attempt.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.demoApp.Verify(ctx, tokens.IDToken, attempt.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	if second.Subject != first.Subject || second.SID != first.SID || second.AuthTime != first.AuthTime || second.ACR != twoFactors {
		t.Errorf("two applications hear of one sign-in as %+v and %+v", first, second)
	}
}

func withoutPages(t *testing.T, w *world) {
	ctx := journey(t)
	attempt, err := w.demoApp.Begin(ctx, everything, map[string]string{"prompt": "none"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := visitor.New().Open(ctx, attempt.URL, w.demoApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(page.Location())
	if err != nil || to.Query().Get("error") != "login_required" || to.Query().Get("state") != attempt.State {
		t.Fatalf("prompt=none without a session: %s", page)
	}
}

func freshness(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "aadmin")
	for _, extra := range []map[string]string{{"max_age": "0"}, {"prompt": "login"}} {
		attempt, err := w.demoApp.Begin(ctx, everything, extra)
		if err != nil {
			t.Fatal(err)
		}
		page, err := v.Open(ctx, attempt.URL, w.demoApp.RedirectURI)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := page.Form("password"); err != nil {
			t.Errorf("%v: %v", extra, err)
		}
	}
}

// codeOf gives a fresh code for somebody who is signed in, not yet redeemed.
func (w *world) codeOf(t *testing.T, ctx context.Context, login string) (string, *visitor.Attempt) {
	t.Helper()
	attempt, err := w.demoApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := w.browser(t, ctx, login).Open(ctx, attempt.URL, w.demoApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	code, err := attempt.Code(page.Location())
	if err != nil {
		t.Fatalf("%v: %s", err, page)
	}
	return code, attempt
}

func codeIsGoodOnce(t *testing.T, w *world) {
	ctx := journey(t)
	code, attempt := w.codeOf(t, ctx, "ssmith")
	first, err := w.demoApp.Redeem(ctx, code, attempt.Verifier)
	if err != nil || first.AccessToken == "" {
		t.Fatalf("%+v %v", first, err)
	}
	w.grows(t, "oidc.code", []string{"reason=used"}, func() {
		second, err := w.demoApp.Redeem(ctx, code, attempt.Verifier)
		if err != nil || second.Status != 400 || second.Error != "invalid_grant" {
			t.Errorf("a used code gives %+v %v", second, err)
		}
	})
	// RFC 6749 §4.1.2: what a code gave that is used twice should be revoked
	if _, fields, _, err := w.demoApp.Introspect(ctx, first.AccessToken); err != nil || fields["active"] != false {
		t.Errorf("the tokens of a code used twice live on: %v %v", fields, err)
	}
}

func codeRace(t *testing.T, w *world) {
	ctx := journey(t)
	code, attempt := w.codeOf(t, ctx, "ssmith")
	var wins, failures atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			tokens, err := w.demoApp.Redeem(ctx, code, attempt.Verifier)
			switch {
			case err != nil || tokens.Status >= 500:
				failures.Add(1)
			case tokens.AccessToken != "":
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 || failures.Load() != 0 {
		t.Errorf("of eight who redeem one code at once %d win, %d meet an error of the server", wins.Load(), failures.Load())
	}
}

func wrongVerifier(t *testing.T, w *world) {
	ctx := journey(t)
	code, attempt := w.codeOf(t, ctx, "plefebvre")
	w.grows(t, "oidc.code", nil, func() {
		for _, verifier := range []string{strings.Repeat("x", 43), "", attempt.Verifier + "x"} {
			tokens, err := w.demoApp.Redeem(ctx, code, verifier)
			if err != nil || tokens.Error == "" || tokens.AccessToken != "" {
				t.Errorf("verifier %q gives %+v %v", verifier, tokens, err)
			}
		}
	})
}

func replayedTOTP(t *testing.T, w *world) {
	ctx := journey(t)
	who := w.people["mdupont"]
	w.enter(t, ctx, visitor.New(), w.demoApp, "mdupont")
	attempt, err := w.demoApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor.New()
	page, err := v.Open(ctx, attempt.URL, w.demoApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.Form("password")
	if err != nil {
		t.Fatal(err)
	}
	page, err = v.Submit(ctx, form, map[string]string{"username": who.Login, "password": who.Password}, w.demoApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	w.grows(t, "signin.factor", nil, func() {
		form, err := page.Form("code")
		if err != nil {
			t.Fatal(err)
		}
		page, err = v.Submit(ctx, form, map[string]string{"code": who.Phone.Last()}, w.demoApp.RedirectURI)
		if err != nil {
			t.Fatal(err)
		}
		if page.Location() != "" {
			t.Fatalf("a code used before opens the door: %s", page)
		}
		if _, err := page.Form("code"); err != nil {
			t.Errorf("after a replayed code: %v", err)
		}
	})
	if page, err = v.SignIn(ctx, page, who, w.demoApp.RedirectURI); err != nil || page.Location() == "" {
		t.Errorf("the next code does not open the door: %s %v", page, err)
	}
}

func exactRedirect(t *testing.T, w *world) {
	ctx := journey(t)
	w.grows(t, "oidc.authorize", []string{"reason=redirect_uri"}, func() {
		for _, uri := range []string{"http://127.0.0.1:49152/callbacks", "http://127.0.0.1:49152/callback/", "http://127.0.0.1:49152/Callback",
			"http://127.0.0.1:49152/callback?x=1", "http://127.0.0.2:49152/callback", "https://127.0.0.1:49152/callback", "http://127.0.0.1:49152@evil.test/callback",
			"http://evil.test/callback", "http://127.0.0.1/callback#x", ""} {
			attempt, err := w.demoApp.Begin(ctx, everything, map[string]string{"redirect_uri": uri})
			if err != nil {
				t.Fatal(err)
			}
			page, err := visitor.New().Get(ctx, attempt.URL)
			if err != nil {
				t.Fatal(err)
			}
			if page.Location() != "" && !strings.HasPrefix(page.Location(), w.Provider) || page.Status < 400 && uri != "" {
				t.Errorf("redirect_uri %q is answered by %s", uri, page)
			}
		}
	})
	// any port of the loopback address is the same application (RFC 8252 §7.3)
	w.enter(t, ctx, w.browser(t, ctx, "mdupont"), w.demoAppOn("http://127.0.0.1:61234/callback"), "mdupont")
}

// demoAppOn is the demo tool listening elsewhere on the person's machine.
func (w *world) demoAppOn(uri string) *visitor.Application {
	return &visitor.Application{Issuer: w.Provider, ID: w.demoApp.ID, Secret: w.demoApp.Secret, RedirectURI: uri}
}

func foreignOrigin(t *testing.T, w *world) {
	ctx := journey(t)
	attempt, err := w.demoApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor.New()
	page, err := v.Open(ctx, attempt.URL, w.demoApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.Form("password")
	if err != nil {
		t.Fatal(err)
	}
	form.Values.Set("username", "mdupont")
	form.Values.Set("password", w.people["mdupont"].Password)
	w.grows(t, "web.origin", nil, func() {
		for _, from := range []string{"http://evil.test/page", w.Portal + "/"} {
			answer, err := v.Post(ctx, form.Action, form.Values, from)
			if err != nil {
				t.Fatal(err)
			}
			if answer.Status != 403 {
				t.Errorf("a form from %s is answered by %s", from, answer)
			}
		}
	})
}

func refreshReuse(t *testing.T, w *world) {
	ctx := journey(t)
	tokens, claims := w.enter(t, ctx, w.browser(t, ctx, "aadmin"), w.demoApp, "aadmin")
	if tokens.RefreshToken == "" {
		t.Fatal("offline_access gives no refresh token")
	}
	refresh := func(token string) *visitor.Tokens {
		t.Helper()
		answer, err := w.demoApp.Refresh(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	second := refresh(tokens.RefreshToken)
	if second.Error != "" || second.RefreshToken == "" || second.RefreshToken == tokens.RefreshToken {
		t.Fatalf("refresh: %+v", second)
	}
	if c, err := w.demoApp.Verify(ctx, second.IDToken, ""); err != nil || c.Subject != claims.Subject || c.AuthTime != claims.AuthTime || c.ACR != twoFactors {
		t.Errorf("the refreshed ID token says %+v %v", c, err)
	}
	again := refresh(tokens.RefreshToken) // within ten seconds: another tab
	if again.Error != "" || again.AccessToken == "" {
		t.Fatalf("the second tab gets %+v", again)
	}
	// somebody else's application cannot use it at all
	if stolen, err := w.headApp.Refresh(ctx, second.RefreshToken); err != nil || stolen.Error == "" {
		t.Errorf("another application refreshes: %+v %v", stolen, err)
	}
	time.Sleep(11 * time.Second)
	w.grows(t, "oidc.refresh", []string{"reason=reused"}, func() {
		if late := refresh(tokens.RefreshToken); late.Error != "invalid_grant" {
			t.Errorf("after ten seconds a used refresh token gives %+v", late)
		}
	})
	for _, token := range []string{second.RefreshToken, again.RefreshToken} {
		if dead := refresh(token); dead.Error != "invalid_grant" {
			t.Errorf("the family lives on: %+v", dead)
		}
	}
	if _, fields, _, err := w.demoApp.Introspect(ctx, second.AccessToken); err != nil || fields["active"] != false {
		t.Errorf("the family's access token lives on: %v %v", fields, err)
	}
}

func revocation(t *testing.T, w *world) {
	ctx := journey(t)
	tokens, _ := w.enter(t, ctx, w.browser(t, ctx, "plefebvre"), w.demoApp, "plefebvre")
	if status, err := w.headApp.Revoke(ctx, tokens.RefreshToken); err != nil || status >= 500 {
		t.Fatalf("%d %v", status, err)
	}
	if answer, err := w.demoApp.Refresh(ctx, tokens.RefreshToken); err != nil || answer.Error != "" {
		t.Fatalf("another application has revoked our token: %+v %v", answer, err)
	} else {
		tokens = answer
	}
	if status, err := w.demoApp.Revoke(ctx, tokens.RefreshToken); err != nil || status != 200 {
		t.Fatalf("revoke: %d %v", status, err)
	}
	if answer, err := w.demoApp.Refresh(ctx, tokens.RefreshToken); err != nil || answer.Error != "invalid_grant" {
		t.Errorf("a revoked token refreshes: %+v %v", answer, err)
	}
	if _, fields, _, err := w.demoApp.Introspect(ctx, tokens.AccessToken); err != nil || fields["active"] != false {
		t.Errorf("its access token lives on: %v %v", fields, err)
	}
	if status, _, err := w.demoApp.UserInfo(ctx, tokens.AccessToken); err != nil || status != 401 {
		t.Errorf("userinfo answers a dead token with %d %v", status, err)
	}
	if status, err := w.demoApp.Revoke(ctx, "nothing"); err != nil || status != 200 {
		t.Errorf("revoking an unknown token: %d %v (RFC 7009 §2.2)", status, err)
	}
}

func foreignIntrospection(t *testing.T, w *world) {
	ctx := journey(t)
	tokens, _ := w.enter(t, ctx, w.browser(t, ctx, "ssmith"), w.demoApp, "ssmith")
	for _, token := range []string{tokens.AccessToken, tokens.RefreshToken, "nothing"} {
		status, _, text, err := w.headApp.Introspect(ctx, token)
		if err != nil || status != 200 || strings.TrimSpace(text) != `{"active":false}` {
			t.Errorf("another application learns %d %s %v", status, text, err)
		}
	}
	nobody := &visitor.Application{Issuer: w.Provider, ID: "nobody", Secret: "nothing"}
	if status, _, _, err := nobody.Introspect(ctx, tokens.AccessToken); err != nil || status != 401 {
		t.Errorf("no client gets %d %v", status, err)
	}
	impostor := &visitor.Application{Issuer: w.Provider, ID: "demo-tool", Secret: "wrong"}
	w.grows(t, "oidc.client", []string{"reason=secret"}, func() {
		if status, _, _, err := impostor.Introspect(ctx, tokens.AccessToken); err != nil || status != 401 {
			t.Errorf("a wrong secret gets %d %v", status, err)
		}
	})
}

func lockout(t *testing.T, w *world) {
	ctx := journey(t)
	try := func(login, password string) *visitor.Page {
		t.Helper()
		attempt, err := w.demoApp.Begin(ctx, everything, nil)
		if err != nil {
			t.Fatal(err)
		}
		v := visitor.New()
		page, err := v.Open(ctx, attempt.URL, w.demoApp.RedirectURI)
		if err != nil {
			t.Fatal(err)
		}
		form, err := page.Form("password")
		if err != nil {
			t.Fatal(err)
		}
		if page, err = v.Submit(ctx, form, map[string]string{"username": login, "password": password}, w.demoApp.RedirectURI); err != nil {
			t.Fatal(err)
		}
		return page
	}
	for range 4 {
		if page := try("xpartenaire", "wrong"); page.Status >= 500 {
			t.Fatalf("a wrong password: %s", page)
		}
	}
	locked, unknown := try("xpartenaire", "Beffroi-59!"), try("nobody-at-all", "wrong")
	if _, err := locked.Form("password"); err != nil {
		t.Fatalf("the fifth try is let through: %s", locked)
	}
	if locked.Status != unknown.Status || strings.ReplaceAll(locked.Text(), "xpartenaire", "") == "" {
		t.Errorf("a locked account looks unlike an unknown one: %s and %s", locked, unknown)
	}
	if out, err := w.Command("person", "unlock", "xpartenaire"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if _, err := try("xpartenaire", "Beffroi-59!").Form("password"); err == nil {
		t.Error("an unlocked account stays locked")
	}
}

func twoTabs(t *testing.T, w *world) {
	ctx := journey(t)
	v, who := visitor.New(), w.people["ssmith"]
	var attempts [2]*visitor.Attempt
	var pages [2]*visitor.Page
	for i := range attempts {
		var err error
		if attempts[i], err = w.demoApp.Begin(ctx, everything, nil); err != nil {
			t.Fatal(err)
		}
		if pages[i], err = v.Open(ctx, attempts[i].URL, w.demoApp.RedirectURI); err != nil {
			t.Fatal(err)
		}
	}
	for i, page := range pages {
		page, err := v.SignIn(ctx, page, who, w.demoApp.RedirectURI)
		if err != nil {
			t.Fatalf("tab %d: %v", i+1, err)
		}
		if _, err := attempts[i].Code(page.Location()); err != nil {
			t.Errorf("tab %d: %v: %s", i+1, err, page)
		}
	}
}

func signOutEverywhere(t *testing.T, w *world) {
	ctx := journey(t)
	v := w.browser(t, ctx, "jmartin")
	defer w.forget("jmartin")
	tokens, _ := w.enter(t, ctx, v, w.demoApp, "jmartin")
	page, err := v.Open(ctx, w.Provider+"/account", "")
	if err != nil || page.Status != 200 {
		t.Fatalf("account: %s %v", page, err)
	}
	if !page.Says("Martin") {
		t.Errorf("the account page does not name the person: %s", page)
	}
	if page, err = v.Open(ctx, w.Provider+"/account/signout", ""); err != nil || page.Status != 200 {
		t.Fatalf("%s %v", page, err)
	}
	var form *visitor.Form
	for _, f := range page.Forms() {
		if strings.HasSuffix(f.Action, "/account/signout") {
			form = f
		}
	}
	if form == nil {
		t.Fatalf("no form to sign out everywhere: %s", page)
	}
	if page, err = v.Submit(ctx, form, nil, ""); err != nil || page.Status >= 400 {
		t.Fatalf("%s %v", page, err)
	}
	if answer, err := w.demoApp.Refresh(ctx, tokens.RefreshToken); err != nil || answer.Error != "invalid_grant" {
		t.Errorf("after signing out everywhere a token refreshes: %+v %v", answer, err)
	}
	if _, fields, _, err := w.demoApp.Introspect(ctx, tokens.AccessToken); err != nil || fields["active"] != false {
		t.Errorf("after signing out everywhere an access token lives: %v %v", fields, err)
	}
	attempt, err := w.demoApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	if page, err = v.Open(ctx, attempt.URL, w.demoApp.RedirectURI); err != nil {
		t.Fatal(err)
	}
	if _, err := page.Form("password"); err != nil {
		t.Errorf("after signing out everywhere: %v", err)
	}
}

func headers(t *testing.T, w *world) {
	ctx := journey(t)
	attempt, err := w.demoApp.Begin(ctx, everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor.New()
	page, err := v.Open(ctx, attempt.URL, w.demoApp.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	pages := []*visitor.Page{page}
	for _, address := range []string{w.Provider + "/nothing-here", w.Provider + "/oauth2/authorize", w.Portal + "/nothing-here", w.Portal + "/signed-out"} {
		p, err := v.Get(ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, p)
	}
	for _, p := range pages {
		checkHeaders(t, p)
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action") || !strings.Contains(csp, "http://127.0.0.1:49152") && !strings.Contains(csp, "http://127.0.0.1:*") {
		t.Errorf("the sign-in form may not lead back to the application: %s", csp)
	}
	for _, c := range v.Cookies(w.Provider) {
		if strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("cookie %s cannot be kept over http", c.Name)
		}
	}
}

// checkHeaders holds what every page of either site carries.
func checkHeaders(t *testing.T, p *visitor.Page) {
	t.Helper()
	csp := p.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors") || strings.Contains(csp, "unsafe-") {
		t.Errorf("%s: Content-Security-Policy %q", p.URL, csp)
	}
	if p.Header.Get("X-Content-Type-Options") != "nosniff" || p.Header.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("%s: %v", p.URL, p.Header)
	}
	for _, inline := range []string{" style=\"", " onclick=", "<style", "javascript:"} {
		if strings.Contains(p.Body, inline) {
			t.Errorf("%s holds %q", p.URL, inline)
		}
	}
}

func oneIdentity(t *testing.T, w *world) {
	ctx := journey(t)
	_, plain := w.enter(t, ctx, w.browser(t, ctx, "plefebvre"), w.demoApp, "plefebvre")
	loud := &visitor.Person{Login: " PLefebvre ", Password: w.people["plefebvre"].Password, Phone: w.people["plefebvre"].Phone}
	_, claims, page, err := visitor.New().Enter(ctx, w.demoApp, loud, everything)
	if err != nil || claims == nil {
		t.Fatalf("an upper case name with spaces: %v %s", err, page)
	}
	if claims.Subject != plain.Subject || claims.Login != "plefebvre" {
		t.Errorf("one person is %q and %q", plain.Subject, claims.Subject)
	}
	for _, name := range []string{"*", "plefebvre)(uid=*", "plefebvre\x00", "uid=plefebvre,ou=people", ""} {
		stranger := &visitor.Person{Login: name, Password: "Beffroi-59!"}
		if tokens, _, page, _ := visitor.New().Enter(ctx, w.demoApp, stranger, everything); tokens != nil || page != nil && page.Status >= 500 {
			t.Errorf("the name %q: %s", name, page)
		}
	}
	empty := &visitor.Person{Login: "plefebvre", Password: ""}
	if tokens, _, _, _ := visitor.New().Enter(ctx, w.demoApp, empty, everything); tokens != nil {
		t.Error("an empty password opens the door")
	}
}

// texts makes strings of a JSON array.
func texts(v any) []string {
	var all []string
	items, _ := v.([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			all = append(all, s)
		}
	}
	return all
}
