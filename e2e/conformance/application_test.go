package conformance

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"beffroi/internal/secret"
)

// application is the party as it is registered: in the configuration file, or by itself.
type application struct {
	id, secret string
	method     string // how it authenticates
	redirect   string
	alg        string           // of its ID tokens
	key        *jose.JSONWebKey // private_key_jwt and request objects
	answer     *response        // of its registration
}

// The applications of the configuration file. All ask one factor and no consent; PKCE is waived, as the suite's modules but one
// send none.
const (
	first    = "conformance"
	second   = "conformance-2" // the other application of oidcc-refresh-token
	posting  = "conformance-post"
	leaving  = "conformance-logout"
	hearing  = "conformance-backchannel"
	framed   = "conformance-frontchannel"
	password = "a-secret-of-forty-three-characters-for-tests" // of each of them
)

// applications is the YAML of the static ones.
func (p *party) applications() string {
	var y strings.Builder
	for _, id := range []string{first, second, posting, leaving, hearing, framed} {
		fmt.Fprintf(&y, "  - id: %s\n    name: {fr: Suite de conformité, en: Conformance suite}\n    secret_sha256: [%q]\n    redirect_uris: [%q]\n"+
			"    post_logout_redirect_uris: [%q]\n    scopes: [openid, profile, email, phone, offline_access]\n    assurance: 1\n    pkce_waived: true\n",
			id, secret.Hash(password), p.base+"/callback", p.base+"/post_logout_redirect")
		switch id {
		case posting:
			y.WriteString("    auth_method: client_secret_post\n")
		case hearing:
			fmt.Fprintf(&y, "    backchannel_logout_uri: %s/backchannel_logout\n    backchannel_logout_session_required: true\n", p.base)
		case framed:
			fmt.Fprintf(&y, "    frontchannel_logout_uri: %s/frontchannel_logout\n    frontchannel_logout_session_required: true\n", p.base)
		}
	}
	return y.String()
}

// static is an application of the configuration file.
func (m *module) static(id string) *application {
	a := &application{id: id, secret: password, method: "client_secret_basic", redirect: m.party.base + "/callback", alg: "RS256"}
	if id == posting {
		a.method = "client_secret_post"
	}
	return a
}

// application is the one that a module speaks for: in the plans with dynamic registration a fresh one.
func (m *module) application(change ...func(map[string]any)) *application {
	m.Helper()
	if m.plan.registers != "" {
		return m.register(change...)
	}
	return m.static(first)
}

// sharedKey is the key of most applications: making one costs as much as a hundred sign-ins.
var sharedKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newKey gives an RS256 key without a name, as the suite's applications have it (GenerateRS256ClientJWKs).
func (m *module) newKey() *jose.JSONWebKey {
	m.Helper()
	key, err := sharedKey()
	if err != nil {
		m.Fatal(err)
	}
	return &jose.JSONWebKey{Key: key, Algorithm: "RS256", Use: "sig"}
}

// anotherKey makes an RS256 key that no other is like, with a name of its own, for keys at an address.
func (m *module) anotherKey() *jose.JSONWebKey {
	m.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		m.Fatal(err)
	}
	return &jose.JSONWebKey{Key: key, KeyID: random(12), Algorithm: "RS256", Use: "sig"}
}

// publicSet is the JWK Set that the party publishes.
func publicSet(keys ...*jose.JSONWebKey) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	return set
}

// metadataOf is what an application says of itself when it registers (OIDCCCreateDynamicClientRegistrationRequest): it shows
// its keys also where it authenticates otherwise.
func (m *module) metadataOf(key *jose.JSONWebKey) map[string]any {
	return map[string]any{
		"client_name": "Conformance " + random(8), "grant_types": []string{"authorization_code"}, "response_types": []string{"code"},
		"jwks": publicSet(key), "token_endpoint_auth_method": cmp.Or(m.plan.registers, "client_secret_basic"), "redirect_uris": []string{m.party.base + "/callback"},
		"contacts": []string{"certification@academie.test"},
	}
}

// sendRegistration sends a registration document.
func (m *module) sendRegistration(document map[string]any) *response {
	m.Helper()
	body, err := json.Marshal(document)
	if err != nil {
		m.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, m.endpoint("registration_endpoint"), strings.NewReader(string(body)))
	if err != nil {
		m.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return m.do(r)
}

// register registers an application (CallDynamicRegistrationEndpointAndVerifySuccessfulResponse) and removes it when the module ends.
func (m *module) register(change ...func(map[string]any)) *application {
	m.Helper()
	key := m.newKey()
	document := m.metadataOf(key)
	for _, f := range change {
		f(document)
	}
	r := m.sendRegistration(document)
	if r.status != http.StatusCreated || !isJSON(r.header) || r.json == nil {
		m.Fatalf("registration: %s", r)
	}
	a := &application{id: r.text("client_id"), secret: r.text("client_secret"), method: r.text("token_endpoint_auth_method"), key: key, answer: r, alg: "RS256"}
	if a.id == "" || a.method != document["token_endpoint_auth_method"] {
		m.Fatalf("registration: client_id or token_endpoint_auth_method is wrong: %s", r)
	}
	if a.secret != "" {
		if _, ok := r.json["client_secret_expires_at"].(float64); !ok {
			m.Errorf("a client_secret without client_secret_expires_at: %s", r)
		}
	}
	uri, token := r.text("registration_client_uri"), r.text("registration_access_token")
	if !strings.HasPrefix(uri, "https://") || token == "" {
		m.Errorf("registration_client_uri %q, registration_access_token %q", uri, token)
	}
	redirects, _ := document["redirect_uris"].([]string)
	a.redirect = redirects[0]
	if alg := r.text("id_token_signed_response_alg"); alg != "" {
		a.alg = alg
	}
	m.Cleanup(func() { m.unregister(a) })
	return a
}

// unregister is RFC 7592 §2.3; the token is worth nothing afterwards.
func (m *module) unregister(a *application) {
	uri := a.answer.text("registration_client_uri")
	for _, want := range []int{http.StatusNoContent, http.StatusUnauthorized} {
		r, err := http.NewRequest(http.MethodDelete, uri, nil)
		if err != nil {
			m.Error(err)
			return
		}
		r.Header.Set("Authorization", "Bearer "+a.answer.text("registration_access_token"))
		answer, err := m.party.client.Do(r)
		if err != nil {
			m.Error(err)
			return
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			m.Errorf("unregistering answers %d, not %d", answer.StatusCode, want)
		}
	}
}

// authenticate adds what shows that the application asks; aud replaces the audience of an assertion.
func (m *module) authenticate(a *application, form url.Values, aud ...string) func(*http.Request) {
	m.Helper()
	switch a.method {
	case "client_secret_post":
		form.Set("client_id", a.id)
		form.Set("client_secret", a.secret)
	case "private_key_jwt":
		audience := m.endpoint("token_endpoint")
		if len(aud) > 0 {
			audience = aud[0]
		}
		now := time.Now()
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", m.sign(a.key, map[string]any{
			"iss": a.id, "sub": a.id, "aud": audience, "jti": random(20), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}))
	default:
		return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(a.id), url.QueryEscape(a.secret)) }
	}
	return func(*http.Request) {}
}

// sign makes a JWT without a typ, as the suite does.
func (m *module) sign(key *jose.JSONWebKey, claims map[string]any) string {
	m.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, nil)
	if err != nil {
		m.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		m.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		m.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		m.Fatal(err)
	}
	return text
}

// unsigned makes a JWT with alg none.
func unsigned(claims map[string]any) string {
	payload, _ := json.Marshal(claims) // maps of plain values always can
	return b64(`{"alg":"none"}`) + "." + b64(string(payload)) + "."
}

// foreignKey is a key that the provider has never seen.
func (m *module) foreignKey() *jose.JSONWebKey {
	m.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.Fatal(err)
	}
	return &jose.JSONWebKey{Key: key, KeyID: random(12), Algorithm: "ES256", Use: "sig"}
}

// signedWithSecret signs the claims of a JWT anew, with the application's secret (HS256).
func (m *module) signedWithSecret(token string) string {
	m.Helper()
	return m.sign(&jose.JSONWebKey{Key: []byte(password), Algorithm: "HS256"}, payload(token))
}
