package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// everyAppFlag is an application that uses each flag but those that exclude
// one another.
var everyAppFlag = []string{"-name", "Paie", "-name-en", "Payroll", "-description", "Les paies", "-description-en", "Pay", "-home", "https://paie.example.test/", "-icon", "phone", "-category", "rh",
	"-logo", "https://paie.example.test/logo.png", "-contact", "paie@example.test", "-policy", "https://paie.example.test/p", "-terms", "https://paie.example.test/t",
	"-groups", "tous-personnels,chefs-etablissement", "-assurance", "2", "-consent", "once", "-profile", "", "-public=false", "-auth-method", "private_key_jwt", "-assertion-alg", "ES256", "-jwks", "KEYS",
	"-redirect", "https://paie.example.test/cb?a=1,2", "-redirect", "https://paie.example.test/cb2", "-post-logout", "https://paie.example.test/bye", "-scopes", "openid,profile", "-grants", "authorization_code,refresh_token,jwt-bearer,token-exchange",
	"-no-pkce", "-par-required", "-request-alg", "ES256", "-request-uri", "https://paie.example.test/r.jwt", "-default-max-age", "3600", "-default-acr", "https://refeds.org/profile/mfa", "-initiate-login", "https://paie.example.test/go",
	"-id-token-alg", "ES256", "-userinfo-alg", "PS256", "-introspection-alg", "ES256", "-token-format", "at+jwt", "-token-alg", "ES256", "-subject-type", "pairwise", "-sector-uri", "",
	"-backchannel-logout", "https://paie.example.test/bc", "-backchannel-session", "-frontchannel-logout", "https://paie.example.test/fc", "-frontchannel-session",
	"-audience", "paie", "-resources", "https://api.paie.example.test/", "-exchange-to", "imap", "-assertion-issuer", "https://bornes.example.test KEYS 2"}

const oneKey = `{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"ZHXFkNuaCCdYdJOOad3X3JjidwJfLVJRezHT4DeEodY","y":"nxy7ju_ej44GwnL5mocSgCh3wO30RXACVa553gGJuPg"}]}`

func TestApplicationsAreManagedByCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	startDemo(t, dir).stop()
	app := func(want int, args ...string) string {
		t.Helper()
		code, out := invoke(append(append([]string{"app"}, args...), "-dir", dir)...)
		if code != want {
			t.Fatalf("app %s: %d, %s", strings.Join(args, " "), code, out)
		}
		return out
	}
	show := func(id string) (e map[string]any) {
		t.Helper()
		if err := json.Unmarshal([]byte(app(0, "show", id, "-json")), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, []byte(oneKey), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"add", "paie"}
	for _, f := range everyAppFlag {
		flags = append(flags, strings.ReplaceAll(f, "KEYS", keys))
	}
	if out := app(0, flags...); strings.Contains(out, "client_secret") {
		t.Errorf("an application with a key is given a secret: %s", out)
	}
	all, _ := json.Marshal(show("paie"))
	for _, part := range []string{`"redirect_uris":["https://paie.example.test/cb?a=1,2","https://paie.example.test/cb2"]`, `"default_max_age":3600`, `"token_format":"at+jwt"`, `"userinfo_signed_response_alg":"PS256"`, `"assurance":2,"issuer":"https://bornes.example.test"`,
		`"consent":"once"`, `"subject_type":"pairwise"`, `"require_pushed_authorization_requests":true`, `"frontchannel_logout_session_required":true`, `"grants":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:jwt-bearer","urn:ietf:params:oauth:grant-type:token-exchange"]`, `"secrets":[]`} {
		if !strings.Contains(string(all), part) {
			t.Errorf("no %s in\n%s", part, all)
		}
	}
	if out := app(0, "show", "paie"); !strings.Contains(out, "back-channel logout") || !strings.Contains(out, "waived") {
		t.Errorf("%s", out)
	}

	// An edit touches what is given, and replaces a list as a whole.
	if out := app(0, "edit", "paie", "-redirect", "https://paie.example.test/new", "-name-en", "", "-no-pkce=false", "-default-max-age", ""); !strings.Contains(out, "changed: default_max_age, name, pkce_waived, redirect_uris") {
		t.Errorf("%s", out)
	}
	after := show("paie")
	if list, _ := json.Marshal(after["redirect_uris"]); string(list) != `["https://paie.example.test/new"]` || after["default_max_age"] != nil || after["consent"] != "once" || after["audience"] != "paie" {
		t.Errorf("%v", after)
	}
	if out := app(1, "edit", "paie", "-consent", "once"); !strings.Contains(out, "nothing is changed") {
		t.Errorf("%s", out)
	}
	if out := app(1, "edit", "paie", "-consent", "maybe", "-assurance", "9", "-logo", "https://counter.test/x.png"); !strings.Contains(out, "consent:") || !strings.Contains(out, "assurance:") || !strings.Contains(out, "logo:") {
		t.Errorf("not every mistake at once: %s", out)
	}
	if out := app(0, "edit", "paie", "-auth-method", "client_secret_basic", "-assertion-alg", ""); !strings.Contains(out, "client_secret: ") {
		t.Errorf("no secret, now that it needs one: %s", out)
	}
	app(1, "edit", "demo-tool", "-consent", "once") // of the configuration file
	app(1, "edit", "nobody", "-consent", "once")
	if _, out := invoke("audit", "list", "-action", "app.edit", "-dir", dir); !strings.Contains(out, "redirect_uris") {
		t.Errorf("%s", out)
	}

	chosen := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(chosen, []byte("a-chosen-secret-of-32-characters-or-more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := app(0, "rotate-secret", "paie", "-keep", "24h", "-secret-file", chosen); !strings.Contains(out, "client_secret: a-chosen-secret-of-32-characters-or-more\n") || !strings.Contains(out, "goes on until") {
		t.Errorf("%s", out)
	}
	if out := app(0, "show", "paie"); !strings.Contains(out, "the former one, until") || strings.Contains(out, "a-chosen-secret") {
		t.Errorf("%s", out)
	}

	// Whatever is wrong gives the status 1; the addresses of this one are nowhere.
	var found []struct{ What, State, Says string }
	code, out := invoke("app", "test", "paie", "-json", "-dir", dir)
	if text, _, _ := strings.Cut(out, "\nbeffroi:"); code != 1 || json.Unmarshal([]byte(text), &found) != nil || len(found) < 8 {
		t.Errorf("app test: %d, %s", code, out)
	}
	if code, out := invoke("app", "test", "demo-tool", "-dir", dir); code != 0 || !strings.Contains(out, "warn") {
		t.Errorf("app test of a sound one: %d, %s", code, out)
	}

	made := app(0, "invite", "-scopes", "openid", "-groups", "tous-personnels", "-pkce", "waived", "-expires", "1h", "-uses", "3", "-redirect-hosts", "new.example.test", "-note", "essai")
	if !strings.Contains(made, "initial_access_token: bfi_") || !strings.Contains(made, "closed in the configuration") {
		t.Errorf("%s", made)
	}
	id, _, _ := strings.Cut(made, ":")
	if out := app(0, "invite", "list"); !strings.Contains(out, "0/3") || !strings.Contains(out, "essai") || !strings.Contains(out, `"pkce_waived":true`) || strings.Contains(out, "bfi_") {
		t.Errorf("%s", out)
	}
	app(1, "invite", "-grants", "token-exchange")
	app(2, "invite", "-pkce", "maybe")
	app(2, "invite", "revoke")
	app(0, "invite", "revoke", id)
	app(1, "invite", "revoke", id)
	app(0, "remove", "paie")

	if code, out := invoke("check", "-dir", dir); strings.Contains(out, "may register") {
		t.Errorf("check: %d, %s", code, out)
	}
	config, err := os.ReadFile(demoConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	opened := strings.Replace(string(config), "\nprovider:\n", "\nprovider:\n  registration: {mode: open}\n", 1)
	if err := os.WriteFile(demoConfig(dir), []byte(opened), 0o600); err != nil || opened == string(config) {
		t.Fatal(err)
	}
	if code, out := invoke("check", "-dir", dir); !strings.Contains(out, "anybody may register") {
		t.Errorf("check of an open registration: %d, %s", code, out)
	}
}
