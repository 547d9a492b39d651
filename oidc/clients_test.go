package oidc

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

func TestEveryMistakeOfARegistrationIsReportedAtOnce(t *testing.T) {
	below := int64(-1)
	errs := Client{ID: "a b", Public: true, PKCEWaived: true, SecretHashes: []string{"short"}, RedirectURIs: []string{"http://x.test/", "javascript:x"},
		PostLogoutURIs: []string{"https://x.test/#f"}, Scopes: []string{"a b"}, Grants: []string{"password", GrantClientCredentials}, Assurance: 4, IDTokenAlg: "none", UserinfoAlg: "HS256", Consent: "maybe", SubjectType: "private", AuthMethod: "tls", Profile: "x",
		TokenFormat: "saml", Home: "javascript:x", Groups: []string{" "}, ExchangeTo: []string{"imap"}, Audience: "i map", Name: map[string]string{"de": "x"},
		TokenAlg: "HS256", IntrospectionAlg: "none", RequestAlg: "none", AssertionAlg: "HS256", JWKS: []byte("{}"), JWKSURI: "http://far.test/keys",
		Logo: "https://counter.test/x.png", Contact: "somebody", Policy: "javascript:x", Terms: "http://far.test/terms", SectorURI: "http://x.test/",
		RequestURIs: []string{"ftp://x.test/"}, DefaultMaxAge: &below, DefaultACRs: []string{"a b"}, InitiateLogin: "http://127.0.0.1/start", Resources: []string{"x"},
		BackchannelLogout: "http://far.test/", FrontchannelLogout: "https://far.test/", AssertionIssuers: []AssertionIssuer{{Assurance: 3, JWKSFile: "x", JWKSURI: "http://far.test/"}}}.Validate()
	errs = append(errs, Client{ID: "b", Name: map[string]string{"fr": "b"}, RedirectURIs: []string{"https://a.test/", "https://b.test/"}, AuthMethod: AuthKey, SubjectType: SubjectPairwise,
		Grants: []string{GrantCode, GrantRefresh}, Resources: []string{"https://a.test/"}, BackchannelSession: true, FrontchannelSession: true, AssertionIssuers: []AssertionIssuer{{Issuer: "x", JWKSURI: "http://far.test/"}}}.Validate()...)
	errs = append(errs, Client{ID: "c", Name: map[string]string{"fr": "c"}, Audience: "c", ExchangeTo: []string{"imap"}}.Validate()...)
	all := errors.Join(errs...).Error()
	for _, key := range []string{"id:", "name:", "redirect_uris:", "post_logout_redirect_uris:", "scopes:", "grants:", "assurance:", "id_token_alg:", "userinfo_alg:", "consent:", "subject_type:", "auth_method:", "profile:", "token_format:", "home:", "groups:", "exchange_to:", "audience:", "pkce_waived:", "secret_sha256:", "secret_file:", "token_alg:", "introspection_alg:",
		"request_object_alg:", "assertion_alg:", "jwks:", "jwks_uri:", "logo:", "contact:", "policy:", "terms:", "sector_identifier_uri:", "request_uris:", "default_max_age:", "default_acr_values:", "initiate_login_uri:", "resources:",
		"backchannel_logout_uri:", "frontchannel_logout_uri:", "assertion_issuers[0].issuer:", "assertion_issuers[0].jwks_file:", "assertion_issuers[0].assurance:",
		`"b": jwks_file:`, `"b": subject_type:`, `"b": resources:`, "backchannel_logout_session_required:", "frontchannel_logout_session_required:", `"b": assertion_issuers:`, "assertion_issuers[0].jwks_uri:"} {
		if !strings.Contains(all, key) {
			t.Errorf("nothing about %s in\n%s", key, all)
		}
	}
	for _, c := range defaultClients() {
		if errs := c.Validate(); len(errs) > 0 {
			t.Errorf("%s: %v", c.ID, errs)
		}
	}
	if len((Client{ID: "x", Name: map[string]string{"en": "x"}, RedirectURIs: []string{back}}).Validate()) != 1 {
		t.Error("a confidential application without a secret")
	}
}

func TestTheRegistryAddsRotatesAndRemovesAndTheRunningProviderFollows(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		// A command runs in another process: its registry is another one.
		command, err := OpenClients(ctx, w.db, w.audit, w.files, 1, w.clock.now)
		if err != nil {
			t.Fatal(err)
		}
		operator := audit.Operator("root")
		plain, err := command.Add(ctx, operator, tool(func(c *Client) { c.ID, c.Name = "glpi", map[string]string{"fr": "GLPI"} }))
		if err != nil || len(plain) != 43 {
			t.Fatalf("%q %v", plain, err)
		}
		if _, err := command.Add(ctx, operator, tool(func(c *Client) { c.ID = "glpi" })); !errors.Is(err, ErrClientExists) {
			t.Errorf("twice: %v", err)
		}
		if _, err := command.Add(ctx, operator, tool()); !errors.Is(err, ErrClientFixed) {
			t.Errorf("an ID of the file: %v", err)
		}
		if _, err := command.Add(ctx, audit.Actor{}, tool(func(c *Client) { c.ID = "x" })); err == nil {
			t.Error("added by nobody")
		}
		w.clock.pass(5 * time.Second)
		a := w.redeem("glpi:"+plain, w.code("glpi"))
		w.must(a, 200)

		second, err := command.RotateSecret(ctx, operator, "glpi", 0, "")
		if err != nil || second == plain {
			t.Fatal(second, err)
		}
		w.clock.pass(5 * time.Second)
		w.refusedWith(w.introspect("glpi:"+plain, "x"), "invalid_client")
		w.must(w.introspect("glpi:"+second, "x"), 200)

		entries, err := command.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, e := range entries {
			if e.ID == "glpi" && !e.FromFile && !e.Created.IsZero() || e.ID == "tool" && e.FromFile {
				found++
			}
		}
		if found != 2 {
			t.Errorf("list: %d", len(entries))
		}
		if err := command.Remove(ctx, operator, "glpi"); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(5 * time.Second)
		w.refusedWith(w.introspect("glpi:"+second, "x"), "invalid_client")
		w.must(w.userinfo(a.text("access_token")), 401)
		w.notRedirected(w.authorize(request("glpi")))
		for _, action := range []string{"app.add", "app.rotate-secret", "app.remove"} {
			if w.trail(action, "") != 1 {
				t.Errorf("%s leaves no trace", action)
			}
		}
		if err := command.Remove(ctx, operator, "glpi"); !errors.Is(err, ErrUnknownClient) {
			t.Errorf("twice removed: %v", err)
		}
		if err := command.Remove(ctx, operator, "tool"); !errors.Is(err, ErrClientFixed) {
			t.Errorf("removed from the file: %v", err)
		}
		if _, err := command.RotateSecret(ctx, operator, "tool", 0, ""); !errors.Is(err, ErrClientFixed) {
			t.Errorf("rotated in the file: %v", err)
		}
		if _, err := command.RotateSecret(ctx, operator, "none", 0, ""); !errors.Is(err, ErrUnknownClient) {
			t.Errorf("rotated nothing: %v", err)
		}
	})
}

func TestTheSameApplicationInFileAndDatabaseIsAnError(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, a := t.Context(), audit.New(d, time.Now)
		c, err := OpenClients(ctx, d, a, nil, 1, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Add(ctx, audit.Operator("root"), tool()); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenClients(ctx, d, a, []Client{tool(), tool(), {ID: "bad id"}}, 1, time.Now); err == nil ||
			!strings.Contains(err.Error(), "in the database") || !strings.Contains(err.Error(), "stands twice") || !strings.Contains(err.Error(), "bad id") {
			t.Errorf("%v", err)
		}
		mail := func(id string) Client { return tool(func(c *Client) { c.ID, c.Audience = id, "imap" }) }
		if _, err := OpenClients(ctx, d, a, []Client{mail("a"), mail("b")}, 1, time.Now); err == nil || !strings.Contains(err.Error(), "one application only") {
			t.Errorf("two applications are one audience: %v", err)
		}
	})
}

func TestASecretMayComeFromAFile(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	path := filepath.Join(t.TempDir(), "secret")
	file := tool(func(c *Client) { c.SecretHashes, c.SecretFile = nil, path })
	open := func() (*Clients, error) {
		return OpenClients(t.Context(), d, audit.New(d, time.Now), []Client{file}, 1, time.Now)
	}
	if _, err := open(); err == nil {
		t.Error("a missing file")
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err == nil {
		t.Error("a short secret")
	}
	if err := os.WriteFile(path, []byte("a-secret-of-good-length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := open()
	if err != nil {
		t.Fatal(err)
	}
	one, err := c.Get(t.Context(), "tool")
	if err != nil || !secretMatches(one.SecretHashes, "a-secret-of-good-length") {
		t.Errorf("%v", err)
	}
}

func TestReadingTheRegistryCostsNoQueryPerRequest(t *testing.T) {
	w := onOne(t)
	before := w.p.clients.current.Load()
	for range 50 {
		w.introspect("tool", "x")
	}
	if w.p.clients.current.Load() != before {
		t.Error("the registry was read again within its time")
	}
	w.clock.pass(2 * time.Second)
	w.introspect("tool", "x")
	if w.p.clients.current.Load() == before {
		t.Error("the registry was not read again")
	}
}

func TestSweepRemovesWhatIsDeadAndNothingElse(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		count := func() (grants, tokens int) {
			if err := errors.Join(w.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM oidc_grant").Scan(&grants), w.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM oidc_token").Scan(&tokens)); err != nil {
				t.Fatal(err)
			}
			return grants, tokens
		}
		sweep := func() {
			if _, err := w.p.Sweep(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		offline := w.tokens("tool", "scope", "openid offline_access")
		w.tokens("tool", "scope", "openid")
		w.must(w.post("/oauth2/token", "robot", url.Values{"grant_type": {GrantClientCredentials}}), 200)
		sweep()
		if g, n := count(); g != 2 || n != 3 {
			t.Fatalf("living things were swept: %d, %d", g, n)
		}
		first := offline
		for range 12 {
			w.clock.pass(24*time.Hour + time.Minute)
			next := w.refresh("tool", offline.text("refresh_token"))
			w.must(next, 200)
			offline = next
			sweep()
		}
		if g, n := count(); g != 1 || n > 10 {
			t.Errorf("%d grants, %d tokens after twelve days", g, n)
		}
		// A long spent token stays spent, whatever was swept of its children.
		w.refusedWith(w.refresh("tool", first.text("refresh_token")), "invalid_grant")
		w.must(w.refresh("tool", offline.text("refresh_token")), 200)
		// Reuse of one that is still remembered ends the family.
		w.clock.pass(time.Minute)
		w.refusedWith(w.refresh("tool", offline.text("refresh_token")), "invalid_grant")
		if w.trail("oidc.refresh", "reused") != 1 {
			t.Error("no trace")
		}
		w.clock.pass(181 * 24 * time.Hour)
		sweep()
		if g, n := count(); g != 0 || n != 0 {
			t.Errorf("left over: %d, %d", g, n)
		}
	})
}

func TestTheConfigurationReportsEveryMistake(t *testing.T) {
	all := errors.Join(Config{Issuer: "http://id.example.org/", CodeLife: time.Hour, LeastAssured: 5, Applications: []Client{{ID: "-"}}}.Validate()...).Error()
	for _, key := range []string{"issuer:", "code_life:", "assurance:", `"-"`} {
		if !strings.Contains(all, key) {
			t.Errorf("nothing about %s in %s", key, all)
		}
	}
	for _, issuer := range []string{"", "id.example.org", "https://id.example.org/", "https://id.example.org?x", "http://id.example.org"} {
		if len((Config{Issuer: issuer}).Validate()) == 0 {
			t.Errorf("issuer %q", issuer)
		}
	}
	for _, issuer := range []string{"https://id.example.org", "http://localhost:8080", "http://127.0.0.1:1"} {
		if errs := (Config{Issuer: issuer}).Validate(); len(errs) > 0 {
			t.Errorf("issuer %q: %v", issuer, errs)
		}
	}
}
