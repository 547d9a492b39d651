package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"

	"beffroi/internal/audit"
)

// foreignKey is a key pair of an application, made once for all tests.
var foreignKey = func() func(alg string) crypto.Signer {
	rsaKey := sync.OnceValue(func() crypto.Signer { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	ecKey := sync.OnceValue(func() crypto.Signer { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	edKey := sync.OnceValue(func() crypto.Signer { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
	return func(alg string) crypto.Signer {
		switch alg {
		case ES256:
			return ecKey()
		case EdDSA:
			return edKey()
		}
		return rsaKey()
	}
}()

// jwksOfTests is the public set of the keys above.
func jwksOfTests(algs ...string) json.RawMessage {
	set := jose.JSONWebKeySet{}
	for _, alg := range algs {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: foreignKey(alg).Public(), KeyID: "k-" + alg, Algorithm: alg, Use: "sig"})
	}
	b, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return b
}

// signForeign signs claims as an application would.
func signForeign(t testing.TB, alg string, claims map[string]any, header ...string) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", "k-"+alg)
	for i := 0; i+1 < len(header); i += 2 {
		options = options.WithHeader(jose.HeaderKey(header[i]), header[i+1])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: foreignKey(alg)}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// keyed registers the application "keyed", which authenticates by its keys.
func (w *world) keyed(change ...func(c *Client)) {
	w.t.Helper()
	c := tool(append([]func(c *Client){func(c *Client) {
		c.ID, c.SecretHashes, c.AuthMethod, c.JWKS = "keyed", nil, AuthKey, jwksOfTests(foreignAlgs...)
	}}, change...)...)
	if _, err := w.p.clients.Add(w.t.Context(), audit.Operator("root"), c); err != nil {
		w.t.Fatal(err)
	}
}

var serial atomic.Int64

// claims are those of a sound assertion; nil removes one.
func (w *world) claims(change map[string]any) map[string]any {
	now := w.clock.now()
	c := map[string]any{"iss": "keyed", "sub": "keyed", "aud": w.http.URL, "jti": fmt.Sprint("jti-", serial.Add(1)), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func asserted(token string, change ...string) url.Values {
	return pairs(url.Values{"client_assertion_type": {typeClientAssertion}, "client_assertion": {token}, "grant_type": {GrantClientCredentials}, "token": {"x"}}, change...)
}

func TestAnApplicationAuthenticatesByItsKeyEverywhere(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.keyed(func(c *Client) { c.Scopes = append(c.Scopes, "reports") })
		for _, alg := range foreignAlgs {
			for _, aud := range []any{w.http.URL, w.http.URL + "/oauth2/token", []string{w.http.URL}} {
				a := w.post("/oauth2/token", "", asserted(signForeign(t, alg, w.claims(map[string]any{"aud": aud}))))
				if a.status != 200 || a.text("access_token") == "" {
					t.Errorf("%s for %v: %d %s", alg, aud, a.status, a.body)
				}
			}
		}
		code := w.code("keyed")
		a := w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(nil)), "client_id", "keyed", "grant_type", GrantCode, "code", code, "redirect_uri", back, "code_verifier", verifier))
		w.must(a, 200)
		for path, status := range map[string]int{"/oauth2/introspect": 200, "/oauth2/revoke": 200, "/oauth2/par": 201} {
			for _, aud := range []string{w.http.URL, w.http.URL + "/oauth2/token", w.http.URL + path} {
				form := asserted(signForeign(t, ES256, w.claims(map[string]any{"aud": aud})), "token", a.text("access_token"))
				if path == "/oauth2/par" {
					form = request("keyed", "client_assertion", form.Get("client_assertion"), "client_assertion_type", typeClientAssertion)
				}
				w.must(w.post(path, "", form), status)
			}
		}
		if w.trail("oidc.client", "") != 0 {
			t.Error("a good assertion leaves a refusal")
		}
	})
}

func TestAnAssertionThatSaysAnythingElseIsRefused(t *testing.T) {
	w := onOne(t)
	w.keyed()
	now := w.clock.now()
	for name, change := range map[string]map[string]any{
		"another issuer":                  {"iss": "tool"},
		"another subject":                 {"sub": "tool"},
		"no issuer":                       {"iss": nil},
		"no subject":                      {"sub": nil},
		"a subject that is a number":      {"sub": 7},
		"no audience":                     {"aud": nil},
		"another audience":                {"aud": "https://other.example.test"},
		"a slash more":                    {"aud": w.http.URL + "/"},
		"another case":                    {"aud": strings.ToUpper(w.http.URL)},
		"an endpoint of elsewhere":        {"aud": w.http.URL + "/oauth2/introspect"},
		"two audiences":                   {"aud": []string{w.http.URL, "https://other.example.test"}},
		"an audience in a list in a list": {"aud": []any{[]string{w.http.URL}}},
		"no end":                          {"exp": nil},
		"an end as text":                  {"exp": fmt.Sprint(now.Add(time.Minute).Unix())},
		"expired now":                     {"exp": now.Unix()},
		"expired by a second":             {"exp": now.Add(-time.Second).Unix()},
		"far ahead":                       {"exp": now.Add(5*time.Minute + 11*time.Second).Unix()},
		"an endless life":                 {"exp": 1 << 39},
		"issued in the future":            {"iat": now.Add(11 * time.Second).Unix()},
		"issued in words":                 {"iat": "today"},
		"not yet good":                    {"nbf": now.Add(11 * time.Second).Unix()},
		"no jti":                          {"jti": nil},
		"an empty jti":                    {"jti": ""},
		"a jti that is a list":            {"jti": []string{"a"}},
		"a long jti":                      {"jti": strings.Repeat("j", 513)},
	} {
		a := w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(change))))
		if a.status != 401 || a.text("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name, change := range map[string]map[string]any{
		"no iat": {"iat": nil}, "a clock a little ahead": {"iat": now.Add(9 * time.Second).Unix(), "nbf": now.Add(9 * time.Second).Unix()},
		"five minutes": {"exp": now.Add(5 * time.Minute).Unix()}, "a claim more": {"extra": "x"},
	} {
		w.must(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(change)))), 200)
		_ = name
	}
	w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(nil), "typ", "oauth-authz-req+jwt"))), "invalid_client")
	for _, typ := range []string{"JWT", "client-authentication+jwt"} {
		w.must(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(nil), "typ", typ))), 200)
	}
	w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(nil)), "client_id", "tool")), "invalid_client")
	good := signForeign(t, RS256, w.claims(nil))
	for name, form := range map[string]url.Values{
		"no type": asserted(good, "client_assertion_type", "-"), "another type": asserted(good, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
		"a type only": asserted("", "client_assertion", "-"), "rubbish": asserted("a.b.c"), "more dots": asserted(good + ".x"), "a list": asserted("[" + good + "]"),
	} {
		if a := w.post("/oauth2/token", "", form); a.status != 401 || a.text("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	w.must(w.post("/oauth2/token", "", asserted(good)), 200) // nothing above has spent it
}

func TestOnlyTheRegisteredKeysAndAlgorithmsSign(t *testing.T) {
	w := onOne(t)
	w.keyed(func(c *Client) { c.JWKS = jwksOfTests(RS256) })
	w.keyed(func(c *Client) { c.ID, c.AssertionAlg = "strict", ES256 })
	for _, alg := range []string{ES256, EdDSA} {
		w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, alg, w.claims(nil)))), "invalid_client")
	}
	strict := map[string]any{"iss": "strict", "sub": "strict"}
	w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(strict)))), "invalid_client")
	w.must(w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(strict)))), 200)
	// What rests at the provider as a hash or as a public key signs nothing.
	for _, key := range [][]byte{[]byte(secret1), jwksOfTests(RS256), []byte(hashOf(secret1))} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, client := range []string{"keyed", "tool", "spa"} {
			payload, _ := json.Marshal(w.claims(map[string]any{"iss": client, "sub": client}))
			signed, err := signer.Sign(payload)
			if err != nil {
				t.Fatal(err)
			}
			token, _ := signed.CompactSerialize()
			w.refusedWith(w.post("/oauth2/token", "", asserted(token)), "invalid_client")
		}
	}
	none := "eyJhbGciOiJub25lIn0." + strings.Split(signForeign(t, RS256, w.claims(nil)), ".")[1] + "."
	w.refusedWith(w.post("/oauth2/token", "", asserted(none)), "invalid_client")
	// Another application's key, and a stranger's, look alike.
	unknown := w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(map[string]any{"iss": "nobody", "sub": "nobody"}))))
	wrong := w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(nil))))
	secretOnly := w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(map[string]any{"iss": "tool", "sub": "tool"}))))
	if unknown.body != wrong.body || unknown.body != secretOnly.body || unknown.status != 401 {
		t.Errorf("told apart: %s / %s / %s", unknown.body, wrong.body, secretOnly.body)
	}
}

func TestSeveralClientAuthenticationMethodsInOneRequestAreRefused(t *testing.T) {
	w := onOne(t)
	w.keyed()
	good := signForeign(t, RS256, w.claims(nil))
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
		for name, a := range map[string]answer{
			"header and body":      w.post(path, "tool", url.Values{"grant_type": {GrantClientCredentials}, "token": {"x"}, "client_secret": {secret1}}),
			"header and assertion": w.post(path, "tool", asserted(good)),
			"secret and assertion": w.post(path, "", asserted(good, "client_id", "tool", "client_secret", secret1)),
			"all three":            w.post(path, "tool", asserted(good, "client_secret", secret1)),
			"header and type":      w.post(path, "tool", asserted("", "client_assertion", "-")),
		} {
			if a.status != 400 || a.text("error") != "invalid_request" {
				t.Errorf("%s at %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	w.must(w.post("/oauth2/token", "", asserted(good)), 200)
}

func TestTheRegisteredMethodIsTheOnlyOne(t *testing.T) {
	w := onOne(t)
	plain := map[string]string{}
	for id, method := range map[string]string{"by-basic": AuthBasic, "by-post": AuthPost, "by-either": ""} {
		var err error
		if plain[id], err = w.p.clients.Add(t.Context(), audit.Operator("root"), tool(func(c *Client) { c.ID, c.AuthMethod, c.Scopes = id, method, []string{"reports"} })); err != nil {
			t.Fatal(err)
		}
	}
	form := func(id, secret string) url.Values {
		return url.Values{"grant_type": {GrantClientCredentials}, "client_id": {id}, "client_secret": {secret}}
	}
	for id, secret := range plain {
		for method, a := range map[string]answer{
			AuthBasic: w.post("/oauth2/token", id+":"+secret, url.Values{"grant_type": {GrantClientCredentials}}), AuthPost: w.post("/oauth2/token", "", form(id, secret)),
		} {
			want := 200
			if id == "by-basic" && method == AuthPost || id == "by-post" && method == AuthBasic {
				want = 401
			}
			w.must(a, want)
		}
	}
	// A wrong secret by the wrong method says no more than any wrong secret.
	if a, b := w.post("/oauth2/token", "", form("by-basic", "guess")), w.post("/oauth2/token", "", form("nobody", "guess")); a.body != b.body {
		t.Errorf("%s / %s", a.body, b.body)
	}
	w.refusedWith(w.post("/oauth2/token", "", form("spa", "guess")), "invalid_client")
}

func TestRow22AnAssertionIsGoodOnceHoweverManyPresentIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.keyed()
		w.keyed(func(c *Client) { c.ID = "keyed2" })
		claims := w.claims(nil)
		token := signForeign(t, ES256, claims)
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				switch a := w.post("/oauth2/token", "", asserted(token)); {
				case a.status == 200:
					won.Add(1)
				case a.status == 401 && a.text("error") == "invalid_client":
					lost.Add(1)
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 49 {
			t.Errorf("%d won, %d lost", won.Load(), lost.Load())
		}
		if w.trail("oidc.client", "replayed") == 0 {
			t.Error("a replay leaves no trace")
		}
		// Signed anew, the same jti is still used; at another endpoint too; another application has its own.
		w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, claims))), "invalid_client")
		w.refusedWith(w.post("/oauth2/introspect", "", asserted(token)), "invalid_client")
		other := maps.Clone(claims)
		other["iss"], other["sub"] = "keyed2", "keyed2"
		w.must(w.post("/oauth2/token", "", asserted(signForeign(t, ES256, other))), 200)
		// It is forgotten only when it has expired, and is refused for that then.
		count := func() (n int) {
			if err := w.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM oidc_assertion").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, step := range []struct {
			pass time.Duration
			left int
		}{{30 * time.Second, 2}, {3 * time.Minute, 0}} {
			w.clock.pass(step.pass)
			if _, err := w.p.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := count(); n != step.left {
				t.Errorf("%d remembered after %s, want %d", n, step.pass, step.left)
			}
			w.refusedWith(w.post("/oauth2/token", "", asserted(token)), "invalid_client")
		}
	})
}

func TestKeysAtAnAddressFollowTheirRotation(t *testing.T) {
	w := onOne(t)
	var set atomic.Pointer[json.RawMessage]
	var hold atomic.Pointer[[2]chan struct{}]
	first := jwksOfTests(ES256)
	set.Store(&first)
	keys := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if h := hold.Load(); h != nil {
			h[0] <- struct{}{}
			<-h[1]
		}
		_, _ = rw.Write(*set.Load())
	}))
	t.Cleanup(keys.Close)
	w.keyed(func(c *Client) { c.JWKS, c.JWKSURI = nil, keys.URL })
	w.must(w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(nil)))), 200)
	second := jwksOfTests(RS256)
	set.Store(&second)
	w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(nil)))), "invalid_client") // asked a moment ago
	w.clock.pass(time.Second)
	w.must(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(nil)))), 200)
	w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(nil)))), "invalid_client")
	// While the address is slow to answer, the keys that are known go on.
	slow, release := make(chan struct{}), make(chan struct{})
	hold.Store(&[2]chan struct{}{slow, release})
	w.clock.pass(2 * time.Second)
	stranger := make(chan answer)
	go func() { stranger <- w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(nil)))) }()
	<-slow
	w.must(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(nil)))), 200)
	hold.Store(nil)
	close(release)
	w.refusedWith(<-stranger, "invalid_client")
	keys.Close()
	w.clock.pass(16 * time.Minute)
	w.must(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(nil)))), 200) // what was known goes on
}
