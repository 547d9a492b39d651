package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	zitadel "github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
)

// Relying parties that others have written, each as its documentation says: what they take from the provider is what the
// academy's tools take.
func TestRelyingPartiesOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, rig.Demo(t), "mdupont", "jmartin", "aadmin")
	t.Run("openid-client, as ProConnect uses it", func(t *testing.T) { asProConnect(t, w) })
	t.Run("openid-client", func(t *testing.T) { withOpenIDClient(t, w) })
	t.Run("go-oidc", func(t *testing.T) { withGoOIDC(t, w) })
	t.Run("zitadel", func(t *testing.T) { withZitadel(t, w) })
}

// visit signs somebody in where a relying party sends them, and gives the address at which the browser ends.
func visit(ctx context.Context, v *visitor.Visitor, who *visitor.Person, address, stop string) (string, error) {
	page, err := v.Open(ctx, address, stop)
	if err != nil {
		return "", err
	}
	if page, err = v.SignIn(ctx, page, who, stop); err != nil {
		return "", err
	}
	if to := page.Location(); to != "" {
		return to, nil
	}
	if page.Status != http.StatusOK {
		return "", fmt.Errorf("%s", page)
	}
	return page.URL.String(), nil
}

// nodeRun runs a relying party of e2e/npm with somebody's browser and decodes what it learnt.
func nodeRun(t *testing.T, mode string, settings map[string]string, visit func(address string) (string, error), learnt any) {
	t.Helper()
	root, err := rig.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "e2e", "npm")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "openid-client")); err != nil {
		t.Fatalf("openid-client is not there: sh e2e/npm/install.sh (%v)", err)
	}
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(journey(t), "node", "openid-client.mjs", mode, string(text))
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer in.Close()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var step struct {
			Open   string
			Done   json.RawMessage
			Failed string
		}
		if err := json.Unmarshal(lines.Bytes(), &step); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		switch {
		case step.Failed != "":
			t.Fatalf("openid-client: %s", step.Failed)
		case step.Done != nil:
			if err := json.Unmarshal(step.Done, learnt); err != nil {
				t.Fatal(err)
			}
			return
		}
		at, err := visit(step.Open)
		if err != nil {
			t.Fatalf("%s: %v", step.Open, err)
		}
		if err := json.NewEncoder(in).Encode(map[string]string{"at": at}); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("openid-client ended early: %v\n%s", lines.Err(), stderr.String())
}

// demoSecret is the secret that a demo made for an application.
func demoSecret(t *testing.T, w *world, id string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.State[1], "secrets", id))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func asProConnect(t *testing.T, w *world) {
	ctx, v := journey(t), visitor.New()
	const mail, redirect, after = "marie.dupont@academie.test", "http://127.0.0.1/proconnect/oidc-callback", "http://127.0.0.1/proconnect/logout-callback"
	// Marie types her password only: the address that she gave to ProConnect is in the form.
	who := &visitor.Person{Login: mail, Password: w.people["mdupont"].Password, Phone: w.people["mdupont"].Phone}
	type answer struct {
		Claims struct {
			Subject string   `json:"sub"`
			ACR     string   `json:"acr"`
			AMR     []string `json:"amr"`
			Name    string   `json:"name"`
		}
		Userinfo map[string]any
	}
	var learnt struct {
		Plain, Strong, Least answer
		Beyond, Out          string
	}
	nodeRun(t, "proconnect", map[string]string{"issuer": w.Provider, "id": "proconnect", "secret": demoSecret(t, w, "proconnect"), "redirect": redirect, "after": after, "mail": mail},
		func(address string) (string, error) {
			page, err := v.Open(ctx, address, "http://127.0.0.1/proconnect/")
			if err != nil {
				return "", err
			}
			if form, err := page.Form("password"); err == nil && form.Values.Get("username") != mail {
				return "", fmt.Errorf("the form has %q, not what login_hint said", form.Values.Get("username"))
			}
			if page, err = v.SignIn(ctx, page, who, "http://127.0.0.1/proconnect/"); err != nil || page.Location() == "" {
				return "", fmt.Errorf("%v: %s", err, page)
			}
			return page.Location(), nil
		}, &learnt)
	if a := learnt.Plain.Claims; a.ACR != "eidas1" || !slices.Equal(a.AMR, []string{"pwd"}) || a.Name != "" {
		t.Errorf("a password: %+v", a)
	}
	if a := learnt.Strong.Claims; a.ACR != "eidas1-mfa" || !slices.Contains(a.AMR, "mfa") || !slices.Contains(a.AMR, "totp") {
		t.Errorf("two factors: %+v", a)
	}
	if a := learnt.Least.Claims; a.ACR != "eidas1" {
		t.Errorf("eidas1, essential, from somebody known better: %+v", a)
	}
	if learnt.Beyond == "a code" || strings.Contains(learnt.Beyond, " ") {
		t.Errorf("eidas3, essential: %s", learnt.Beyond)
	}
	if learnt.Out != after {
		t.Errorf("the sign-out ended at %s", learnt.Out)
	}
	for name, want := range map[string]any{"given_name": "Marie", "usual_name": "Dupont", "email": mail, "uid": "mdupont", "belonging_population": "agent",
		"organizational_unit": "Rectorat de l’académie", "sub": learnt.Plain.Claims.Subject, "chorusdt:societe": "EDU"} {
		if got := learnt.Plain.Userinfo[name]; got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	for name, value := range learnt.Plain.Userinfo {
		if value == nil || value == "" {
			t.Errorf("%s is empty: it would have to be left out", name)
		}
	}
}

func withOpenIDClient(t *testing.T, w *world) {
	ctx, v, a := journey(t), visitor.New(), w.demoApp
	var learnt struct {
		Claims, Userinfo map[string]any
		Rotated          bool
		Out, After       string
	}
	nodeRun(t, "ordinary", map[string]string{"issuer": a.Issuer, "id": a.ID, "secret": a.Secret, "redirect": a.RedirectURI},
		func(address string) (string, error) {
			return visit(ctx, v, w.people["mdupont"], address, a.RedirectURI)
		}, &learnt)
	if learnt.Userinfo["preferred_username"] != "mdupont" || learnt.Userinfo["sub"] != learnt.Claims["sub"] || !learnt.Rotated {
		t.Errorf("%+v", learnt)
	}
	if !strings.HasPrefix(learnt.Out, w.Provider+"/oauth2/logout") || learnt.After != "invalid_grant" {
		t.Errorf("the sign-out ended at %s, and a refresh token gives %s after it", learnt.Out, learnt.After)
	}
}

func withGoOIDC(t *testing.T, w *world) {
	ctx, v, a := journey(t), visitor.New(), w.demoApp
	provider, err := oidc.NewProvider(ctx, a.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	conf := &oauth2.Config{ClientID: a.ID, ClientSecret: a.Secret, Endpoint: provider.Endpoint(), RedirectURL: a.RedirectURI, Scopes: []string{oidc.ScopeOpenID, "profile", "email", "groups"}}
	verifier := oauth2.GenerateVerifier()
	at, err := visit(ctx, v, w.people["aadmin"], conf.AuthCodeURL("a-state", oauth2.S256ChallengeOption(verifier), oidc.Nonce("a-nonce")), a.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := conf.Exchange(ctx, codeOf(t, at, "a-state"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: a.ID}).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := idToken.VerifyAccessToken(tokens.AccessToken); err != nil || idToken.Nonce != "a-nonce" {
		t.Errorf("at_hash: %v, nonce %q", err, idToken.Nonce)
	}
	expired := *tokens
	expired.Expiry = expired.Expiry.AddDate(0, 0, -1)
	source := conf.TokenSource(ctx, &expired) // refreshes at once
	info, err := provider.UserInfo(ctx, source)
	if err != nil || info.Subject != idToken.Subject || info.Email == "" {
		t.Errorf("userinfo: %+v %v", info, err)
	}
	fresh, err := source.Token()
	if err != nil || fresh.RefreshToken == tokens.RefreshToken {
		t.Fatalf("refresh: %v", err)
	}
	var more struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&more); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Open(ctx, more.EndSession+"?"+url.Values{"id_token_hint": {raw}}.Encode(), ""); err != nil {
		t.Fatal(err)
	}
	fresh.Expiry = expired.Expiry
	if _, err := conf.TokenSource(ctx, fresh).Token(); err == nil {
		t.Error("a refresh token outlived the sign-out")
	}
}

func withZitadel(t *testing.T, w *world) {
	ctx, v, a := journey(t), visitor.New(), w.demoApp
	nonce := "a-nonce" // of the sign-in; what a refresh answers has none (OpenID Connect Core §12.2)
	party, err := rp.NewRelyingPartyOIDC(ctx, a.Issuer, a.ID, a.Secret, a.RedirectURI, []string{"openid", "profile", "email"},
		rp.WithVerifierOpts(rp.WithNonce(func(context.Context) string { return nonce })))
	if err != nil {
		t.Fatal(err)
	}
	verifier := oauth2.GenerateVerifier()
	address := rp.AuthURL("a-state", party, rp.WithCodeChallenge(oauth2.S256ChallengeFromVerifier(verifier)), rp.AuthURLOpt(rp.WithURLParam("nonce", nonce)))
	at, err := visit(ctx, v, w.people["jmartin"], address, a.RedirectURI)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := rp.CodeExchange[*zitadel.IDTokenClaims](ctx, codeOf(t, at, "a-state"), party, rp.WithCodeVerifier(verifier))
	if err != nil {
		t.Fatal(err)
	}
	nonce = ""
	fresh, err := rp.RefreshTokens[*zitadel.IDTokenClaims](ctx, party, tokens.RefreshToken, "", "")
	if err != nil || fresh.RefreshToken == tokens.RefreshToken {
		t.Fatalf("refresh: %v", err)
	}
	info, err := rp.Userinfo[*zitadel.UserInfo](ctx, fresh.AccessToken, fresh.TokenType, tokens.IDTokenClaims.Subject, party)
	if err != nil || info.PreferredUsername != "jmartin" || !bool(info.EmailVerified) {
		t.Errorf("userinfo: %+v %v", info, err)
	}
	// It posts the sign-out itself and is told where to send the browser.
	to, err := rp.EndSession(ctx, party, tokens.IDToken, "", "a-state", "", nil)
	if err != nil || to == nil {
		t.Fatalf("%v %v", to, err)
	}
	if _, err := v.Open(ctx, to.String(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := rp.RefreshTokens[*zitadel.IDTokenClaims](ctx, party, fresh.RefreshToken, "", ""); err == nil {
		t.Error("a refresh token outlived the sign-out")
	}
}

// codeOf reads the answer that came to the redirect URI.
func codeOf(t *testing.T, address, state string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if u.Query().Get("state") != state || u.Query().Get("code") == "" {
		t.Fatalf("no code at %s", address)
	}
	return u.Query().Get("code")
}
