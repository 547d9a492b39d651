package portal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	clientID     = "portal"
	clientSecret = "a secret with spaces & signs"
)

// op is a tiny provider that can be made to lie. It is strict where the real
// one is: codes are good once, PKCE is checked, a refresh token used again
// after its grace ends its family.
type op struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu        sync.Mutex
	codes     map[string]grant
	refresh   map[string]*family
	usedAt    map[string]time.Time
	next      map[string]string
	access    map[string]*family
	calls     map[string]int
	grace     time.Duration
	reused    int // families that died of reuse
	down      bool
	lifetime  int
	lie       func(claims map[string]any)
	sign      func(claims map[string]any) string
	noExplain bool // discovery without introspection and RFC 9207
	refuse    bool // refuses exchange
}

type grant struct {
	login, nonce, challenge, redirect string
}

type family struct {
	login string
	dead  bool
}

// One key of the provider and one of nobody's: making them takes long.
var ownKey, foreignKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newOP(t *testing.T) *op {
	t.Helper()
	o := &op{key: ownKey(), codes: map[string]grant{}, refresh: map[string]*family{}, usedAt: map[string]time.Time{}, next: map[string]string{},
		access: map[string]*family{}, calls: map[string]int{}, lifetime: 600}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", o.discovery)
	mux.HandleFunc("GET /jwks", o.jwks)
	mux.HandleFunc("POST /token", o.token)
	mux.HandleFunc("POST /introspect", o.introspect)
	mux.HandleFunc("POST /revoke", o.revoke)
	mux.HandleFunc("GET /userinfo", o.userinfo)
	mux.HandleFunc("GET /api/applications", o.applications)
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.calls[r.URL.Path]++
		down := o.down
		o.mu.Unlock()
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *op) count(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls[path]
}

func (o *op) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *op) discovery(w http.ResponseWriter, _ *http.Request) {
	d := map[string]any{"issuer": o.URL, "authorization_endpoint": o.URL + "/authorize", "token_endpoint": o.URL + "/token", "jwks_uri": o.URL + "/jwks",
		"userinfo_endpoint": o.URL + "/userinfo", "id_token_signing_alg_values_supported": []string{"RS256", "ES256", "none", "HS256"},
		"revocation_endpoint": o.URL + "/revoke", "end_session_endpoint": o.URL + "/logout"}
	if !o.noExplain {
		d["introspection_endpoint"] = o.URL + "/introspect"
		d["authorization_response_iss_parameter_supported"] = true
	}
	reply(w, 200, d)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (o *op) jwks(w http.ResponseWriter, _ *http.Request) {
	reply(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &o.key.PublicKey, KeyID: "k1", Algorithm: "RS256", Use: "sig"}}})
}

func (o *op) signed(claims map[string]any, alg jose.SignatureAlgorithm, key any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		panic(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		panic(err)
	}
	return text
}

func unsigned(claims map[string]any) string {
	body, _ := json.Marshal(claims)
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(body) + "."
}

func foreignEC() *ecdsa.PrivateKey {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return key
}

// idToken is what is told about a person, changed and signed as the test wants.
// The caller holds mu.
func (o *op) idToken(login, nonce, access string) string {
	half := sha256.Sum256([]byte(access))
	now := time.Now()
	claims := map[string]any{"iss": o.URL, "sub": "sub-of-" + login, "aud": clientID, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "nonce": nonce,
		"at_hash": base64.RawURLEncoding.EncodeToString(half[:16]), "preferred_username": login, "name": "Name of " + login, "email": login + "@academie.test",
		"groups": []string{"tous-personnels"}}
	if o.lie != nil {
		o.lie(claims)
	}
	if o.sign != nil {
		return o.sign(claims)
	}
	return o.signed(claims, jose.RS256, o.key)
}

func (o *op) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if id != clientID || secret != clientSecret {
		reply(w, 401, map[string]string{"error": "invalid_client"})
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	invalid := func(why string) { reply(w, 400, map[string]string{"error": "invalid_grant", "error_description": why}) }
	switch r.FormValue("grant_type") {
	case "authorization_code":
		g, ok := o.codes[r.FormValue("code")]
		delete(o.codes, r.FormValue("code"))
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if !ok || g.redirect != r.FormValue("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			invalid("code")
			return
		}
		o.issue(w, &family{login: g.login}, g.nonce)
	case "refresh_token":
		old := r.FormValue("refresh_token")
		f := o.refresh[old]
		if f == nil || f.dead {
			invalid("unknown or dead")
			return
		}
		if used, again := o.usedAt[old]; again && time.Since(used) > o.grace {
			f.dead = true
			o.reused++
			invalid("used again")
			return
		} else if !again {
			o.usedAt[old] = time.Now()
		}
		o.calls["refresh"]++
		o.issue(w, f, "")
	case "urn:ietf:params:oauth:grant-type:token-exchange":
		o.calls["exchange"]++
		f := o.access[r.FormValue("subject_token")]
		switch {
		case f == nil || f.dead:
			invalid("subject token")
		case o.refuse:
			reply(w, 400, map[string]string{"error": "invalid_target"})
		default:
			token := "exchanged-" + r.FormValue("audience") + "-" + f.login + "-" + rand.Text()
			o.access[token] = f
			reply(w, 200, map[string]any{"access_token": token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": o.lifetime})
		}
	default:
		reply(w, 400, map[string]string{"error": "unsupported_grant_type"})
	}
}

func (o *op) issue(w http.ResponseWriter, f *family, nonce string) {
	access, refresh := "access-"+f.login+"-"+rand.Text(), "refresh-"+f.login+"-"+rand.Text()
	o.access[access], o.refresh[refresh] = f, f
	answer := map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": o.lifetime}
	if nonce != "" {
		answer["id_token"] = o.idToken(f.login, nonce, access)
	}
	reply(w, 200, answer)
}

func (o *op) introspect(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.access[r.FormValue("token")]
	reply(w, 200, map[string]any{"active": f != nil && !f.dead})
}

func (o *op) revoke(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.refresh[r.FormValue("token")]; f != nil {
		f.dead = true
	}
	w.WriteHeader(200)
}

func (o *op) bearer(r *http.Request) *family {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if f == nil || f.dead {
		return nil
	}
	return f
}

func (o *op) userinfo(w http.ResponseWriter, r *http.Request) {
	f := o.bearer(r)
	if f == nil {
		w.WriteHeader(401)
		return
	}
	reply(w, 200, map[string]any{"sub": "sub-of-" + f.login, "preferred_username": f.login, "name": "Name of " + f.login, "groups": []string{"g"}})
}

func (o *op) applications(w http.ResponseWriter, r *http.Request) {
	f := o.bearer(r)
	if f == nil {
		w.WriteHeader(401)
		return
	}
	reply(w, 200, []Tile{{ID: "glpi", Name: map[string]string{"fr": "Tile of " + f.login}, Home: "https://glpi.academie.test/", Assurance: 2},
		{ID: "bad", Name: map[string]string{"fr": "Wicked"}, Home: "javascript:alert(1)"}, {ID: clientID, Name: map[string]string{"fr": "Itself"}, Home: "https://x.test/"}})
}

// authorize is what the provider's pages would answer for a person: the address
// of the callback.
func (o *op) authorize(t *testing.T, location, login string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, o.URL+"/authorize?") {
		t.Fatalf("not sent to the provider but to %q", location)
	}
	q := u.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("client_id") != clientID || len(q.Get("state")) < 43 || len(q.Get("nonce")) < 43 {
		t.Fatalf("request is %v", q)
	}
	code := "code-" + rand.Text()
	o.set(func() { o.codes[code] = grant{login, q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri")} })
	return fmt.Sprintf("%s?code=%s&state=%s&iss=%s", q.Get("redirect_uri"), code, url.QueryEscape(q.Get("state")), url.QueryEscape(o.URL))
}

// kill ends everything that was given to a person: sign-out everywhere.
func (o *op) kill(login string) {
	o.set(func() {
		for _, f := range o.refresh {
			if f.login == login {
				f.dead = true
			}
		}
	})
}
