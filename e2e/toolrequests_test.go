package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

// Tools that Debian does not have are played as their own source speaks: the same parameters, in the same places, and the
// same expectations of the answer. docs/integration says for each which release was read.

// toolPlay is one tool in front of the provider.
type toolPlay struct {
	name     string
	id       string
	redirect string
	settings string // further lines of its application
	begin    url.Values
	// token makes the request for tokens of a code.
	token func(endpoint, code string) *http.Request
	// check looks at what the tool makes of the answers.
	check func(t *testing.T, ctx context.Context, w *world, answer map[string]any)
}

func TestToolsAsTheySpeak(t *testing.T) {
	t.Parallel()
	plays := []toolPlay{moodle(), glpi(), nextcloud()}
	parts := &rig.Parts{Database: "sqlite:" + testpeer.Dir(t) + "/beffroi.db", Slapd: testpeer.Slapd(t)}
	for _, p := range plays {
		parts.Apps += fmt.Sprintf("  - id: %s\n    name: {fr: %s}\n    secret_sha256: [%s]\n    redirect_uris: [%q]\n    assurance: 1\n%s", p.id, p.name, secret.Hash(toolSecret), p.redirect, p.settings)
	}
	parts.Apps += grafanaApp + programApp + mobileApp
	w := newWorld(t, rig.Serve(t, parts))
	for _, p := range plays {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.play(t, w)
		})
	}
	t.Run("Grafana", func(t *testing.T) { t.Parallel(); grafana(t, w) })
	t.Run("a mobile application", func(t *testing.T) { t.Parallel(); mobile(t, w) })
	t.Run("a Go program", func(t *testing.T) { t.Parallel(); goProgram(t, w) })
}

// play goes through the code flow with the parameters of the tool and no others.
func (p toolPlay) play(t *testing.T, w *world) {
	ctx := journey(t)
	metadata, err := (&visitor.Application{Issuer: w.Provider}).Discover(ctx)
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"response_type": {"code"}, "client_id": {p.id}, "redirect_uri": {p.redirect}}
	for name, values := range p.begin {
		query[name] = values
	}
	back := w.through(t, ctx, visitor.New(), metadata.Authorization+"?"+query.Encode(), p.redirect, "ssmith")
	if back.Get("state") != query.Get("state") || back.Get("code") == "" {
		t.Fatalf("the tool gets %v", back)
	}
	answer := fetchJSON(t, p.token(metadata.Token, back.Get("code")).WithContext(ctx))
	p.check(t, ctx, w, answer)
}

// through signs somebody in from an authorization request and returns the parameters of the answer.
func (w *world) through(t *testing.T, ctx context.Context, v *visitor.Visitor, address, redirect, login string) url.Values {
	t.Helper()
	page, err := v.Open(ctx, address, redirect)
	if err != nil {
		t.Fatal(err)
	}
	if page, err = v.SignIn(ctx, page, w.people[login], redirect); err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(page.Location())
	if err != nil || page.Location() == "" {
		t.Fatalf("no answer to the tool: %s", page)
	}
	return to.Query()
}

// fetchJSON sends a request and fails unless the answer is 200 with a JSON object.
func fetchJSON(t *testing.T, r *http.Request) map[string]any {
	t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", r.URL, answer.StatusCode, body)
	}
	return object
}

func postOf(endpoint string, form url.Values) *http.Request {
	r, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err) // the test's own constants
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// userinfoOf asks as most tools do: GET, the token in the header.
func userinfoOf(t *testing.T, ctx context.Context, w *world, answer map[string]any) map[string]any {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Provider+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+answer["access_token"].(string))
	r.Header.Set("Accept", "application/json")
	return fetchJSON(t, r)
}

// payloadOf reads a JWT as tools do that trust the connection they got it by.
func payloadOf(t *testing.T, token any) map[string]any {
	t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %v", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// moodle: lib/oauthlib.php and lib/classes/oauth2 of Moodle 4.5. No PKCE, no nonce, the secret in the body; the person is what
// userinfo says, and given_name, family_name and email must be there.
func moodle() toolPlay {
	redirect := "https://moodle.academie.test/admin/oauth2callback.php"
	return toolPlay{
		name: "Moodle", id: "moodle", redirect: redirect, settings: "    pkce_waived: true\n    grants: [authorization_code, refresh_token]\n",
		begin: url.Values{"scope": {"openid profile email"}, "state": {"Zx9sesskeyQ"}},
		token: func(endpoint, code string) *http.Request {
			return postOf(endpoint, url.Values{"code": {code}, "grant_type": {"authorization_code"}, "redirect_uri": {redirect}, "client_id": {"moodle"}, "client_secret": {toolSecret}})
		},
		check: func(t *testing.T, ctx context.Context, w *world, answer map[string]any) {
			who := userinfoOf(t, ctx, w, answer)
			for _, name := range []string{"sub", "preferred_username", "given_name", "family_name", "email"} {
				if who[name] == nil || who[name] == "" {
					t.Errorf("userinfo lacks %s: %v", name, who)
				}
			}
			again := fetchJSON(t, postOf(w.Provider+"/oauth2/token", url.Values{"refresh_token": {answer["refresh_token"].(string)}, "grant_type": {"refresh_token"},
				"client_id": {"moodle"}, "client_secret": {toolSecret}}).WithContext(ctx))
			if again["access_token"] == nil || again["access_token"] == answer["access_token"] {
				t.Errorf("refreshed: %v", again)
			}
		},
	}
}

// glpi: src/Provider.php of the plug-in singlesignon. Its state is a CSRF token, its redirect URI has a path after the script,
// and it asks approval_prompt=auto, which means nothing here.
func glpi() toolPlay {
	redirect := "https://glpi.academie.test/plugins/singlesignon/front/callback.php/provider/1"
	return toolPlay{
		name: "GLPI", id: "glpi", redirect: redirect, settings: "    pkce_waived: true\n    grants: [authorization_code]\n",
		begin: url.Values{"scope": {"openid profile email groups"}, "state": {"6a1f0f52c0ffee-csrf"}, "approval_prompt": {"auto"}},
		token: func(endpoint, code string) *http.Request {
			r := postOf(endpoint, url.Values{"client_id": {"glpi"}, "client_secret": {toolSecret}, "redirect_uri": {redirect}, "grant_type": {"authorization_code"}, "code": {code}})
			r.Header.Set("Accept", "application/json")
			return r
		},
		check: func(t *testing.T, ctx context.Context, w *world, answer map[string]any) {
			who := userinfoOf(t, ctx, w, answer)
			groups, _ := who["groups"].([]any)
			if who["preferred_username"] != "ssmith" || who["email"] == nil || len(groups) == 0 {
				t.Errorf("userinfo: %v", who)
			}
		},
	}
}

// nextcloud: lib/Controller/LoginController.php of user_oidc 8. It asks for claims one by one, one of which nobody has here,
// uses PKCE because discovery offers it, and reads the person from the ID token.
func nextcloud() toolPlay {
	redirect := "https://nuage.academie.test/index.php/apps/user_oidc/code"
	verifier := strings.Repeat("Nextcloud9", 12) + "verifier"
	challenge := oauth2.S256ChallengeFromVerifier(verifier)
	wanted := `{"id_token":{"email":null,"name":null,"quota":null,"groups":null,"preferred_username":{"essential":true}},"userinfo":{"email":null,"name":null,"quota":null,"groups":null,"preferred_username":{"essential":true}}}`
	return toolPlay{
		name: "Nextcloud", id: "nextcloud", redirect: redirect, settings: "    grants: [authorization_code]\n",
		begin: url.Values{"scope": {"openid email profile groups"}, "state": {"STATE0NEXTCLOUD"}, "nonce": {"NONCE0NEXTCLOUD"}, "claims": {wanted}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}},
		token: func(endpoint, code string) *http.Request {
			return postOf(endpoint, url.Values{"code": {code}, "redirect_uri": {redirect}, "grant_type": {"authorization_code"}, "code_verifier": {verifier}, "client_id": {"nextcloud"}, "client_secret": {toolSecret}})
		},
		check: func(t *testing.T, ctx context.Context, w *world, answer map[string]any) {
			claims := payloadOf(t, answer["id_token"])
			groups, _ := claims["groups"].([]any)
			if claims["preferred_username"] != "ssmith" || claims["nonce"] != "NONCE0NEXTCLOUD" || claims["aud"] != "nextcloud" || claims["azp"] != "nextcloud" || claims["name"] == nil || len(groups) == 0 {
				t.Errorf("ID token: %v", claims)
			}
			if _, there := claims["quota"]; there {
				t.Error("a claim that nobody has is in the ID token")
			}
		},
	}
}

var grafanaApp = fmt.Sprintf("  - id: grafana\n    name: {fr: Grafana}\n    secret_sha256: [%s]\n    redirect_uris: [\"https://mesures.academie.test/login/generic_oauth\"]\n"+
	"    grants: [authorization_code, refresh_token]\n    assurance: 1\n", secret.Hash(toolSecret))

// grafana: pkg/login/social/connectors of Grafana 11 stands on golang.org/x/oauth2, so that is what plays here, with the
// settings of the guide (use_pkce, auth_style left to find out).
func grafana(t *testing.T, w *world) {
	ctx := journey(t)
	conf := &oauth2.Config{ClientID: "grafana", ClientSecret: toolSecret, RedirectURL: "https://mesures.academie.test/login/generic_oauth", Scopes: []string{"openid", "profile", "email", "groups", "offline_access"},
		Endpoint: oauth2.Endpoint{AuthURL: w.Provider + "/oauth2/authorize", TokenURL: w.Provider + "/oauth2/token", AuthStyle: oauth2.AuthStyleAutoDetect}}
	verifier := oauth2.GenerateVerifier()
	back := w.through(t, ctx, visitor.New(), conf.AuthCodeURL("grafana-state", oauth2.S256ChallengeOption(verifier)), conf.RedirectURL, "ssmith")
	token, err := conf.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	claims := payloadOf(t, token.Extra("id_token"))
	groups, _ := claims["groups"].([]any)
	if claims["email"] == nil || claims["name"] == nil || len(groups) == 0 || claims["preferred_username"] != "ssmith" {
		t.Errorf("what Grafana reads: %v", claims)
	}
	token.Expiry = token.Expiry.AddDate(-1, 0, 0)
	if fresh, err := conf.TokenSource(ctx, token).Token(); err != nil || fresh.AccessToken == token.AccessToken {
		t.Errorf("refresh: %v", err)
	}
}

var programApp = fmt.Sprintf("  - id: go-program\n    name: {fr: Programme}\n    secret_sha256: [%s]\n    redirect_uris: [\"http://127.0.0.1/callback\"]\n    assurance: 1\n", secret.Hash(toolSecret))

// goProgram is the program of docs/integration/go.md: go-oidc and x/oauth2.
func goProgram(t *testing.T, w *world) {
	ctx := journey(t)
	provider, err := oidc.NewProvider(ctx, w.Provider)
	if err != nil {
		t.Fatal(err)
	}
	conf := &oauth2.Config{ClientID: "go-program", ClientSecret: toolSecret, RedirectURL: "http://127.0.0.1:49155/callback", Scopes: []string{oidc.ScopeOpenID, "profile", "groups"}, Endpoint: provider.Endpoint()}
	verifier, nonce := oauth2.GenerateVerifier(), secret.Random()
	back := w.through(t, ctx, visitor.New(), conf.AuthCodeURL("state-of-go", oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce)), conf.RedirectURL, "ssmith")
	token, err := conf.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: conf.ClientID}).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if id.Nonce != nonce {
		t.Error("another nonce")
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		t.Error(err)
	}
	info, err := provider.UserInfo(ctx, conf.TokenSource(ctx, token))
	if err != nil || info.Subject != id.Subject {
		t.Errorf("userinfo: %v", err)
	}
}

const mobileApp = "  - id: mobile\n    name: {fr: Agenda de poche}\n    public: true\n    redirect_uris: [\"fr.academie.agenda:/callback\"]\n    scopes: [openid, profile, offline_access]\n    assurance: 1\n"

// mobile is an application on a telephone (RFC 8252): a scheme of its own, PKCE, no secret, and refresh tokens that rotate.
func mobile(t *testing.T, w *world) {
	ctx := journey(t)
	app := &visitor.Application{Issuer: w.Provider, ID: "mobile", RedirectURI: "fr.academie.agenda:/callback"}
	attempt, err := app.Begin(ctx, "openid profile offline_access", nil)
	if err != nil {
		t.Fatal(err)
	}
	back := w.through(t, ctx, visitor.New(), attempt.URL, app.RedirectURI, "ssmith")
	redeem := url.Values{"grant_type": {"authorization_code"}, "client_id": {"mobile"}, "code": {back.Get("code")}, "redirect_uri": {app.RedirectURI}, "code_verifier": {attempt.Verifier}}
	first := fetchJSON(t, postOf(w.Provider+"/oauth2/token", redeem).WithContext(ctx))
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {"mobile"}, "refresh_token": {first["refresh_token"].(string)}}
	second := fetchJSON(t, postOf(w.Provider+"/oauth2/token", refresh).WithContext(ctx))
	if second["refresh_token"] == first["refresh_token"] {
		t.Error("the refresh token of a telephone does not rotate")
	}
	if back.Get("iss") != w.Provider {
		t.Errorf("iss: %v", back)
	}
}
