package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

// The academy's tools that Debian has, set up as docs/integration says, beside a running Beffroi.

const toolSecret = "a-secret-of-the-tools-for-tests"

func TestApacheModAuthOpenIDC(t *testing.T) {
	t.Parallel()
	ctx := journey(t)
	port := testpeer.FreePort(t)
	site := fmt.Sprintf("http://127.0.0.1:%d", port)
	parts := &rig.Parts{Database: "sqlite:" + testpeer.Dir(t) + "/beffroi.db", Slapd: testpeer.Slapd(t)}
	parts.Apps = fmt.Sprintf("  - id: apache\n    name: {fr: Salle des professeurs}\n    secret_sha256: [%s]\n    redirect_uris: [\"%s/oidc\"]\n    post_logout_redirect_uris: [\"%s/bye/\"]\n"+
		"    backchannel_logout_uri: \"%s/oidc?logout=backchannel\"\n    scopes: [openid, profile, email, groups]\n    grants: [authorization_code]\n    assurance: 1\n", secret.Hash(toolSecret), site, site, site)
	w := newWorld(t, rig.Serve(t, parts))
	testpeer.Apache(t, testpeer.ApacheOptions{Port: port, Issuer: w.Provider, ClientID: "apache", Secret: toolSecret})

	v := visitor.New()
	enter := func(path string) *visitor.Page {
		t.Helper()
		page, err := v.Open(ctx, site+path, "")
		if err != nil {
			t.Fatal(err)
		}
		if page, err = v.SignIn(ctx, page, w.people["ssmith"], ""); err != nil {
			t.Fatal(err)
		}
		return page
	}
	page := enter("/")
	if page.Status != http.StatusOK || !page.Says("salle des professeurs") || page.Header.Get("X-Remote-User") != "ssmith" || !strings.Contains(page.Header.Get("X-Groups"), "tous-personnels") {
		t.Fatalf("signed in: %s %q %q", page, page.Header.Get("X-Remote-User"), page.Header.Get("X-Groups"))
	}
	if page := enter("/heads/"); page.Status != http.StatusUnauthorized && page.Status != http.StatusForbidden {
		t.Errorf("a teacher opens the page of heads of school: %s", page)
	}
	// A sign-out elsewhere reaches the tool by the back channel.
	account, err := v.Open(ctx, w.Provider+"/account/signout", "")
	if err != nil {
		t.Fatal(err)
	}
	forms := account.Forms()
	for _, f := range forms {
		if strings.HasSuffix(f.Action, "/account/signout") && f.Method == http.MethodPost {
			if _, err := v.Submit(ctx, f, nil, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	testpeer.WaitFor(t, "the sign-out reaching Apache", 20*time.Second, func() bool {
		page, err := v.Get(ctx, site+"/")
		return err == nil && page.Location() != ""
	})

	// The tool's own sign-out goes through the provider and comes back.
	if page := enter("/"); page.Status != http.StatusOK {
		t.Fatalf("signed in again: %s", page)
	}
	page, err = v.Open(ctx, site+"/oidc?logout="+site+"/bye/", "")
	if err != nil {
		t.Fatal(err)
	}
	if !page.Says("au revoir") {
		t.Errorf("signed out: %s", page)
	}
	if page, err = v.Open(ctx, w.Provider+"/account", ""); err != nil || !strings.Contains(page.URL.Path, "signin") {
		t.Errorf("after the tool's sign-out the provider's session lives: %s %v", page, err)
	}
}

func TestRoundcubeOnDovecot(t *testing.T) {
	t.Parallel()
	ctx := journey(t)
	port := testpeer.FreePort(t)
	site := fmt.Sprintf("http://127.0.0.1:%d", port)
	parts := &rig.Parts{Database: "sqlite:" + testpeer.Dir(t) + "/beffroi.db", Slapd: testpeer.Slapd(t)}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t)})
	parts.Dovecot.Deliver("ssmith", "From: Marie Dupont <marie.dupont@academie.test>\nTo: sarah.smith@academie.test\nSubject: Sortie au beffroi\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0100\nMessage-ID: <sortie@academie.test>\nContent-Type: text/plain; charset=utf-8\n\nBonjour.\n")
	parts.Apps = fmt.Sprintf("  - id: roundcube\n    name: {fr: Roundcube}\n    secret_sha256: [%s]\n    redirect_uris: [\"%s/index.php/login/oauth\"]\n    scopes: [openid, profile, mail, offline_access]\n"+
		"    grants: [authorization_code, refresh_token]\n    exchange_to: [imap]\n    pkce_waived: true\n    assurance: 1\n", secret.Hash(toolSecret), site)
	w := newWorld(t, rig.Serve(t, parts))
	testpeer.Roundcube(t, testpeer.RoundcubeOptions{Port: port, Dovecot: parts.Dovecot, Issuer: w.Provider, ClientID: "roundcube", Secret: toolSecret, Resource: "imap"})

	v := visitor.New()
	page, err := v.Open(ctx, site+"/", "")
	if err != nil {
		t.Fatal(err)
	}
	if page, err = v.SignIn(ctx, page, w.people["ssmith"], ""); err != nil {
		t.Fatal(err)
	}
	if page.Status != http.StatusOK || !strings.HasPrefix(page.URL.String(), site) || strings.Contains(page.Body, "login-form") {
		t.Fatalf("signed in: %s", page)
	}
	list, err := v.Get(ctx, site+"/?_task=mail&_action=list&_mbox=INBOX&_remote=1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(list.Body, "Sortie au beffroi") {
		t.Errorf("the list: %s", list)
	}
}

// mailProgram is an application that has tokens for the mail server.
const mailProgram = "  - id: programme\n    name: {fr: Programme de courrier}\n    public: true\n    redirect_uris: [\"http://127.0.0.1/callback\"]\n    scopes: [openid, mail]\n    exchange_to: [imap]\n    assurance: 1\n"

// mailToken signs ssmith in at the mail program and returns an access token for one mail server.
func mailToken(t *testing.T, ctx context.Context, w *world, audience string) string {
	t.Helper()
	app := &visitor.Application{Issuer: w.Provider, ID: "programme", RedirectURI: "http://127.0.0.1:49157/callback"}
	attempt, err := app.Begin(ctx, "openid mail", map[string]string{"resource": audience})
	if err != nil {
		t.Fatal(err)
	}
	back := w.through(t, ctx, visitor.New(), attempt.URL, app.RedirectURI, "ssmith")
	tokens := fetchJSON(t, postOf(w.Provider+"/oauth2/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {app.ID}, "code": {back.Get("code")}, "redirect_uri": {app.RedirectURI},
		"code_verifier": {attempt.Verifier}}).WithContext(ctx))
	return tokens["access_token"].(string)
}

func TestDovecotAsksOnceForAnOpaqueToken(t *testing.T) {
	t.Parallel()
	ctx := journey(t)
	parts := &rig.Parts{Database: "sqlite:" + testpeer.Dir(t) + "/beffroi.db", Slapd: testpeer.Slapd(t), Apps: mailProgram}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t)})
	w := newWorld(t, rig.Serve(t, parts))
	token := mailToken(t, ctx, w, "imap")
	asked := func() string {
		_, text := get(t, w.Admin+"/metrics")
		for line := range strings.Lines(text) {
			if n, ok := strings.CutPrefix(line, `beffroi_http_requests_total{site="provider"} `); ok {
				return strings.TrimSpace(n)
			}
		}
		t.Fatal("no count of requests")
		return ""
	}
	count := func() int {
		n, err := strconv.Atoi(asked())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	if ok, said := opens(t, parts.Dovecot, "ssmith", token); !ok {
		t.Fatalf("her own mailbox: %s", said)
	}
	if n := count() - before; n != 1 {
		t.Errorf("Dovecot asked %d times", n)
	}
	if ok, _ := opens(t, parts.Dovecot, "mdupont", token); ok {
		t.Error("the token opens another mailbox")
	}
}
