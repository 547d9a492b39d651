package oidc

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"

	"beffroi/internal/audit"
)

// fuzzKey is the same in every process, and Ed25519 signs the same text the
// same way: what is a good assertion in one is good in all.
var fuzzKey = ed25519.NewKeyFromSeed([]byte("thirty-two bytes of no surprise."))

func fuzzWorld(f *testing.F) *world {
	f.Helper()
	w := onOne(f)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: fuzzKey.Public(), KeyID: "k", Algorithm: EdDSA}}})
	if err != nil {
		f.Fatal(err)
	}
	c := tool(func(c *Client) { c.ID, c.SecretHashes, c.AuthMethod, c.JWKS = "keyed", nil, AuthKey, set })
	if _, err := w.p.clients.Add(context.Background(), audit.Operator("root"), c); err != nil {
		f.Fatal(err)
	}
	w.p.cfg.Issuer = "https://id.example.test"
	return w
}

func signFuzz(t testing.TB, payload []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: fuzzKey}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
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

const goodClaims = `{"iss":"keyed","sub":"keyed","aud":"https://id.example.test","jti":"%s","exp":%d}`

// FuzzClientAssertion holds that a text which is not, to the letter, an
// assertion that the client has signed authenticates nobody.
func FuzzClientAssertion(f *testing.F) {
	w := fuzzWorld(f)
	ends := w.clock.now().Add(time.Minute).Unix()
	good := signFuzz(f, fmt.Appendf(nil, goodClaims, "a", ends))
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, seed := range []string{good, good + "A", good + "=", good + " ", good[:len(good)-1], header + "." + payload + ".", header + ".." + signature, "eyJhbGciOiJub25lIn0." + payload + ".",
		"eyJhbGciOiJIUzI1NiJ9." + payload + "." + signature, payload + "." + payload + "." + signature, "..", "", "{}", `{"payload":"` + payload + `","signatures":[{"protected":"` + header + `","signature":"` + signature + `"}]}`,
		signFuzz(f, []byte(`{"iss":"keyed","sub":"keyed","sub":"tool"}`)), signFuzz(f, fmt.Appendf(nil, goodClaims, "late", 1))} {
		f.Add(seed, "")
		f.Add(seed, "keyed")
		f.Add(seed, "tool")
	}
	r, err := http.NewRequest(http.MethodPost, "https://id.example.test/oauth2/token", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token, client string) {
		c, err := w.p.authenticateByKey(t.Context(), r, client, token)
		if err == nil && (token != good || c.ID != "keyed" || client != "" && client != "keyed") {
			t.Fatalf("%q as %q authenticates %s", token, client, c.ID)
		}
	})
}

// FuzzAssertionClaims holds that what the right key has signed is taken only
// when it says what RFC 7523 §3 asks, as another reader reads it.
func FuzzAssertionClaims(f *testing.F) {
	w := fuzzWorld(f)
	now := w.clock.now()
	for _, seed := range []string{`{"iss":"keyed","sub":"keyed","aud":"https://id.example.test","jti":"a","exp":%d}`, `{"iss":"keyed","sub":"keyed","aud":["https://id.example.test"],"jti":"b","exp":%d,"iat":%[1]d}`,
		`{"iss":"keyed","sub":"keyed","aud":["https://id.example.test","x"],"jti":"b","exp":%d}`, `{"iss":"keyed","sub":"keyed","aud":"https://id.example.test/","jti":"b","exp":%d}`, `{"iss":"keyed","iss":"keyed","sub":"keyed","exp":%d}`,
		`{"iss":"keyed","sub":"keyed","aud":"https://id.example.test","jti":"c","exp":%d.5}`, `{"iss":"keyed","sub":"keyed","aud":"https://id.example.test","jti":"c","exp":%de3}`, `{"iss":"keyed","sub":"keyed","aud":"https://id.example.test","jti":"c","exp":"%d"}`} {
		f.Add(fmt.Appendf(nil, seed, now.Add(time.Minute).Unix()))
	}
	f.Add([]byte("null"))
	f.Add([]byte("[]"))
	keys := w.client("keyed").keys()
	f.Fuzz(func(t *testing.T, payload []byte) {
		a, err := w.p.readAssertion(t.Context(), keys, signFuzz(t, payload), foreignAlgs, []string{"https://id.example.test"})
		if err != nil {
			return
		}
		var said map[string]any
		if err := json.Unmarshal(payload, &said); err != nil {
			t.Fatalf("%s is taken and is not JSON to others: %v", payload, err)
		}
		before := func(name string, most time.Duration) bool {
			at, is := said[name].(float64)
			return said[name] == nil && name != "exp" || is && at < float64(now.Add(most).Unix())+1
		}
		if exp, _ := said["exp"].(float64); exp < float64(now.Unix()) || !before("exp", assertionMost+clockSkew) || !before("iat", clockSkew) || !before("nbf", clockSkew) {
			t.Fatalf("%s is taken at %d", payload, now.Unix())
		}
		if list, ok := said["aud"].([]any); ok && len(list) == 1 {
			said["aud"] = list[0]
		}
		if said["aud"] != "https://id.example.test" || said["jti"] != a.jti || said["iss"] != a.issuer || said["sub"] != a.subject || a.jti == "" || a.issuer == "" || a.subject == "" {
			t.Fatalf("%s is taken", payload)
		}
	})
}

// FuzzRegistrationDocument holds that no document sets what is not its to set,
// and that what is answered, sent again, registers the same.
func FuzzRegistrationDocument(f *testing.F) {
	policy := RegistrationPolicy{RedirectHosts: []string{"new.example.test", "127.0.0.1"}}.withDefaults()
	base := Client{ID: "r-fuzz", Groups: []string{"helpdesk"}, Assurance: 2, Consent: ConsentOnce}
	full, err := json.Marshal(document(doc{"client_name#fr": "Neuf", "scope": "openid email", "logo_uri": "https://new.example.test/l", "contacts": []string{"a@example.test"}, "default_max_age": 60, "jwks": json.RawMessage(jwksOfTests(RS256)),
		"token_endpoint_auth_method": AuthKey, "subject_type": "pairwise", "request_uris": []string{"https://new.example.test/r"}, "backchannel_logout_uri": "https://new.example.test/b", "backchannel_logout_session_required": true}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, seed := range []string{`{}`, `null`, `[]`, `{"redirect_uris":["https://new.example.test/cb"]}`, `{"redirect_uris":["https://new.example.test@evil.test/"]}`, `{"redirect_uris":["http://127.0.0.1/cb"],"token_endpoint_auth_method":"none","application_type":"native"}`,
		`{"redirect_uris":["https://new.example.test\\@evil.test/"]}`, `{"redirect_uris":["https://new.example.test/cb"],"groups":[],"Groups":[],"assurance":1,"consent":"never","profile":"proconnect","id":"tool","client_id":"tool"}`,
		`{"redirect_uris":["https://new.example.test/cb"],"client_name":"\u202e"}`, `{"redirect_uris":["https://new.example.test/cb"],"logo_uri":"javascript:alert(1)"}`, `{"redirect_uris":["https://new.example.test/cb"],"default_max_age":1e400}`,
		`{"redirect_uris":["https://new.example.test/cb"],"redirect_uris":["https://evil.test/"]}`, `{"grant_types":["client_credentials"]}`, `{"software_statement":"a.b.c"}`, `{"redirect_uris":["https://NEW.example.test/cb"]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseMetadata(body)
		if err != nil {
			return
		}
		c, err := m.apply(base, policy)
		if err != nil {
			return
		}
		if c.ID != base.ID || !slices.Equal(c.Groups, base.Groups) || c.Assurance != 2 || c.Consent != ConsentOnce || c.Profile != "" || c.Audience != "" || c.Resources != nil || c.ExchangeTo != nil || c.AssertionIssuers != nil ||
			c.PKCEWaived || c.Home != "" || c.SecretHashes != nil || c.TokenFormat != "" || !within(c.Scopes, policy.Scopes) || !within(c.Grants, policy.Grants) {
			t.Fatalf("%s sets %+v", body, c)
		}
		for _, uri := range c.RedirectURIs {
			if err := checkRegistered(uri, c.Public); err != nil || !slices.Contains(policy.RedirectHosts, hostOf(uri)) {
				t.Fatalf("%s registers %s (%v)", body, uri, err)
			}
		}
		c = c.withDefaults(1)
		answer, err := json.Marshal(metadataOf(&c))
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseMetadata(answer)
		if err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		same, err := again.apply(base, policy)
		if err != nil {
			t.Fatalf("%s is answered and not taken: %v", answer, err)
		}
		if same = same.withDefaults(1); changedFields(c, same) != "" {
			t.Fatalf("%s registers otherwise than %s: %s", answer, body, changedFields(c, same))
		}
	})
}
