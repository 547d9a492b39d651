package oidc

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"

	"beffroi/internal/audit"
)

func TestExamineSaysWhatIsWrongAndWhatIsWeak(t *testing.T) {
	w := onOne(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // weak on purpose
	if err != nil {
		t.Fatal(err)
	}
	weakSet, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: weak.Public(), KeyID: "small"}}})
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/keys":
			_, _ = rw.Write(jwksOfTests(RS256))
		case "/weak":
			_, _ = rw.Write(weakSet)
		case "/logo":
			_, _ = rw.Write([]byte("<svg xmlns='http://www.w3.org/2000/svg'/>"))
		case "/sector":
			_, _ = rw.Write([]byte(`["https://elsewhere.example.test/"]`))
		default:
			http.NotFound(rw, r)
		}
	}))
	t.Cleanup(site.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	examine := func(ca string, change ...func(c *Client)) []Finding {
		t.Helper()
		c := tool(append([]func(c *Client){func(c *Client) {
			c.ID, c.Home, c.PostLogoutURIs, c.ExchangeTo, c.Grants = "x", "", nil, nil, []string{GrantCode}
		}}, change...)...)
		if _, err := w.p.clients.Add(t.Context(), audit.Operator("root"), c); err != nil {
			t.Fatal(err)
		}
		found, err := w.p.clients.Examine(t.Context(), "x", Config{CAFile: ca})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.p.clients.Remove(t.Context(), audit.Operator("root"), "x"); err != nil {
			t.Fatal(err)
		}
		return found
	}
	has := func(found []Finding, state, what, says string) {
		t.Helper()
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.State == state && f.What == what && strings.Contains(f.Says, says) }) {
			t.Errorf("no %s of %s: %s in\n%+v", state, what, says, found)
		}
	}
	keyed := func(path string) func(c *Client) {
		return func(c *Client) {
			c.AuthMethod, c.AssertionAlg, c.JWKSURI, c.Logo = AuthKey, ES256, site.URL+path, site.URL+"/logo"
		}
	}

	plain := examine(ca, func(c *Client) {
		c.RedirectURIs, c.PKCEWaived, c.TokenFormat, c.TokenAlg = []string{site.URL + "/cb", "http://127.0.0.1/cb", "https://nowhere.invalid/cb"}, true, FormatOldJWT, ES256
		c.ExchangeTo, c.Grants = []string{"imap", "nothing"}, []string{GrantCode, GrantExchange}
	})
	has(plain, FoundOK, "registration", "sound")
	has(plain, FoundOK, "redirect URI", "person's own machine")
	has(plain, FoundWarn, "redirect URI", "cannot be reached from here")
	has(plain, FoundWarn, "sign-out", "no logout address")
	has(plain, FoundWarn, "rights", "everybody")
	has(plain, FoundWarn, "assurance", "password alone")
	has(plain, FoundWarn, "PKCE", "waived")
	has(plain, FoundWarn, "algorithms", "RS256 only")
	has(plain, FoundWarn, "authentication", "header and in the body")
	has(plain, FoundWarn, "access tokens", "they last until")
	has(plain, FoundWarn, "contact", "nobody")
	has(plain, FoundWrong, "audience", "nothing")
	has(plain, FoundOK, "secret", "since")

	// httptest's certificate is for 127.0.0.1, and good until 2084.
	loopback := func(c *Client) { c.RedirectURIs, c.BackchannelLogout = []string{site.URL + "/cb"}, site.URL+"/bc" }
	sound := examine(ca, loopback, keyed("/keys"))
	has(sound, FoundOK, "back-channel", "good until 2084")
	has(sound, FoundOK, "logo", "a picture")
	has(sound, FoundWrong, "keys", "no key can sign ES256")
	has(examine("", loopback), FoundWrong, "back-channel", "certificate")
	vouched := examine(ca, loopback, func(c *Client) {
		c.Grants = append(c.Grants, GrantJWTBearer)
		c.AssertionIssuers = []AssertionIssuer{{Issuer: "good", JWKSURI: site.URL + "/keys"}, {Issuer: "bad", JWKSURI: site.URL + "/logo"}}
	})
	has(vouched, FoundOK, "issuer good", "RS256")
	has(vouched, FoundWrong, "issuer bad", "not a JWK Set")
	has(examine(ca, loopback, keyed("/weak")), FoundWrong, "keys", "1024 bits")
	has(examine(ca, loopback, keyed("/nowhere")), FoundWrong, "keys", "404")
	has(examine(ca, loopback, func(c *Client) { c.SectorURI, c.SubjectType = site.URL+"/sector", SubjectPairwise }), FoundWrong, "sector", "does not list")
	has(examine(ca, loopback, func(c *Client) { c.Logo = site.URL + "/keys" }), FoundWrong, "logo", "not a picture")

	if _, err := w.p.clients.Add(t.Context(), audit.Operator("root"), tool(func(c *Client) { c.ID, c.ExchangeTo, c.Grants = "old-one", nil, []string{GrantCode} })); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.clients.RotateSecret(t.Context(), audit.Operator("root"), "old-one", 80*24*time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	found, err := w.p.clients.Examine(t.Context(), "old-one", Config{CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	has(found, FoundWarn, "secret", "the former one goes on")
	w.clock.pass(366 * 24 * time.Hour)
	found, err = w.p.clients.Examine(t.Context(), "old-one", Config{CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	has(found, FoundWarn, "secret", "older than a year")
	if _, err := w.p.clients.Examine(t.Context(), "nobody", Config{CAFile: ca}); err == nil {
		t.Error("nobody is examined")
	}
}

func TestAnEditChangesWhatItSaysAndTakesOverWhatRegisteredItself(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, root := t.Context(), audit.Operator("root")
		w.opened(RegistrationOpen, RegistrationPolicy{})
		a := w.newcomer("", nil)
		w.must(a, 201)
		id := a.text("client_id")
		done, err := w.p.clients.Edit(ctx, root, id, func(c *Client) error { c.Groups = []string{"helpdesk"}; c.ID = "tool"; return nil })
		if err != nil || !slices.Equal(done.Changed, []string{"groups"}) || !done.TakenOver || done.Secret != "" {
			t.Fatalf("%+v %v", done, err)
		}
		w.refusedWith(w.manage(http.MethodPut, a, document(doc{"client_id": id})), "invalid_token") // it cannot undo that
		w.clock.pass(48 * time.Hour)                                                                // beyond the life of what anybody registers
		if _, err := w.p.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		w.must(w.introspect(id+":"+a.text("client_secret"), "x"), 200) // it goes on, and its secret

		public := func(c *Client) error { c.AuthMethod, c.Public = AuthNone, true; return nil }
		if _, err := w.p.clients.Edit(ctx, root, id, public); err != nil {
			t.Fatal(err)
		}
		if e := w.entry(id); len(e.Secrets) != 0 || e.Registered {
			t.Errorf("%+v", e)
		}
		done, err = w.p.clients.Edit(ctx, root, id, func(c *Client) error { c.AuthMethod, c.Public = AuthPost, false; return nil })
		if err != nil || done.Secret == "" || !w.opens(id, done.Secret) || w.opens(id, a.text("client_secret")) {
			t.Errorf("%+v %v", done, err)
		}
		for name, change := range map[string]func(c *Client) error{
			"nothing": func(*Client) error { return nil }, "a mistake": func(c *Client) error { c.RedirectURIs = []string{"http://far.test/"}; return nil },
			"another's audience": func(c *Client) error { c.Audience = "imap"; return nil },
		} {
			if _, err := w.p.clients.Edit(ctx, root, id, change); err == nil {
				t.Errorf("%s is taken", name)
			}
		}
		if _, err := w.p.clients.Edit(ctx, root, "tool", public); err == nil {
			t.Error("edited in the file")
		}
		if _, err := w.p.clients.Edit(ctx, audit.Actor{}, id, func(c *Client) error { c.Icon = "x"; return nil }); err == nil || w.entry(id).Icon != "" {
			t.Error("edited by nobody")
		}
		rows, err := w.audit.List(ctx, audit.Filter{Action: "app.edit"})
		if err != nil || len(rows) != 3 || rows[2].Detail["changed"] != "groups" {
			t.Errorf("%v %v", rows, err)
		}
	})
}
