package conformance

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// skew is what the suite forgives between clocks.
const skew = 5 * time.Minute

var signatures = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}

// keys reads the provider's key set and holds that it is sound: public, each key named once (ValidateJwksSequence).
func (m *module) keys() jose.JSONWebKeySet {
	m.Helper()
	r := m.get(m.endpoint("jwks_uri"), "")
	if r.status != http.StatusOK || r.json == nil {
		m.Fatalf("jwks_uri: %s", r)
	}
	var raw struct{ Keys []map[string]any }
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(r.body, &raw); err != nil {
		m.Fatal(err)
	}
	if err := json.Unmarshal(r.body, &set); err != nil {
		m.Fatal(err)
	}
	known := map[string]bool{}
	for i, k := range set.Keys {
		if !k.IsPublic() || !k.Valid() {
			m.Errorf("the key %s is not public or not valid", k.KeyID)
		}
		if k.KeyID == "" || known[k.KeyID] || k.Use != "sig" || k.Algorithm == "" {
			m.Errorf("a key is named %q (again: %v), use %q, alg %q", k.KeyID, known[k.KeyID], k.Use, k.Algorithm)
		}
		known[k.KeyID] = true
		for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if raw.Keys[i][secret] != nil {
				m.Errorf("the key %s shows %s", k.KeyID, secret)
			}
		}
	}
	if len(set.Keys) == 0 || len(set.Keys) != len(raw.Keys) {
		m.Fatalf("jwks_uri: %s", r)
	}
	return set
}

// verify checks a JWT of the provider against its keys and gives header and claims.
func (m *module) verify(text, alg string) (header, claims map[string]any) {
	m.Helper()
	signed, err := jose.ParseSignedCompact(text, signatures)
	if err != nil {
		m.Fatalf("no signed JWT: %v: %.200s", err, text)
	}
	head := signed.Signatures[0].Header
	if head.Algorithm != alg || head.KeyID == "" {
		m.Errorf("a JWT is signed with %s by %q, not with %s", head.Algorithm, head.KeyID, alg)
	}
	keys := m.keys()
	found := keys.Key(head.KeyID)
	if len(found) != 1 {
		m.Fatalf("the key %q is published %d times", head.KeyID, len(found))
	}
	if found[0].Algorithm != head.Algorithm {
		m.Errorf("the key %q is for %s and signs %s", head.KeyID, found[0].Algorithm, head.Algorithm)
	}
	payload, err := signed.Verify(found[0])
	if err != nil {
		m.Fatalf("the signature is wrong: %v", err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		m.Fatal(err)
	}
	part, _, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		m.Fatal(err)
	}
	if err := json.Unmarshal(raw, &header); err != nil {
		m.Fatal(err)
	}
	return header, claims
}

// checkIDToken holds OpenID Connect Core §2 and §3.1.3.7 (PerformStandardIdTokenChecks, and at_hash wherever it stands).
func (m *module) checkIDToken(a *application, q url.Values, tokens *response) (header, claims map[string]any) {
	m.Helper()
	header, claims = m.verify(tokens.text("id_token"), a.alg)
	m.checkForUs(a, "ID token", claims)
	now := time.Now()
	if exp := numeric(claims["exp"]); exp.IsZero() || exp.Before(now.Add(-skew)) || exp.After(now.AddDate(50, 0, 0)) {
		m.Errorf("exp is %v", claims["exp"])
	}
	if claims["iat"] == nil {
		m.Error("no iat")
	}
	if at := numeric(claims["auth_time"]); at.IsZero() || at.After(now.Add(skew)) || at.Before(now.AddDate(-1, 0, 0)) {
		m.Errorf("auth_time is %v", claims["auth_time"])
	}
	if sub, _ := claims["sub"].(string); sub == "" || len(sub) > 255 {
		m.Errorf("sub is %v", claims["sub"])
	}
	if acr, _ := claims["acr"].(string); acr == "" {
		m.Errorf("acr is %v", claims["acr"])
	}
	if azp := claims["azp"]; azp != nil && azp != a.id {
		m.Errorf("azp is %v", azp)
	}
	if nonce, _ := claims["nonce"].(string); nonce != q.Get("nonce") {
		m.Errorf("nonce is %v, not %q", claims["nonce"], q.Get("nonce"))
	}
	if hash := claims["at_hash"]; hash != leftHalf(a.alg, tokens.text("access_token")) {
		m.Errorf("at_hash is %v", hash)
	}
	m.checkStandardClaims("ID token", claims)
	m.checkUnrequested(q, claims)
	return header, claims
}

// checkForUs holds iss and aud of what the provider signs for an application, and iat where it stands.
func (m *module) checkForUs(a *application, what string, claims map[string]any) {
	m.Helper()
	if claims["iss"] != m.party.issuer {
		m.Errorf("%s: iss is %v", what, claims["iss"])
	}
	switch aud := claims["aud"].(type) {
	case string:
		if aud != a.id {
			m.Errorf("%s: aud is %v", what, aud)
		}
	case []any:
		if !slices.Contains(aud, any(a.id)) {
			m.Errorf("%s: aud is %v", what, aud)
		}
	default:
		m.Errorf("%s: aud is %v", what, aud)
	}
	if iat := claims["iat"]; iat != nil && time.Since(numeric(iat)).Abs() > skew {
		m.Errorf("%s: iat is %v", what, iat)
	}
}

// checkStandardClaims holds the types of OpenID Connect Core §5.1; what is not known must be left out, not be empty.
func (m *module) checkStandardClaims(what string, claims map[string]any) {
	m.Helper()
	for name, value := range claims {
		switch name {
		case "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website", "email",
			"gender", "birthdate", "zoneinfo", "locale", "phone_number", "sub":
			if s, ok := value.(string); !ok || s == "" {
				m.Errorf("%s: %s is %v", what, name, value)
			}
		case "email_verified", "phone_number_verified":
			if _, ok := value.(bool); !ok {
				m.Errorf("%s: %s is %v", what, name, value)
			}
		case "updated_at":
			if at := numeric(value); at.IsZero() || at.After(time.Now().Add(skew)) {
				m.Errorf("%s: updated_at is %v", what, value)
			}
		case "address":
			if object, ok := value.(map[string]any); !ok || len(object) == 0 {
				m.Errorf("%s: address is %v", what, value)
			}
		case "_claim_names", "_claim_sources":
			m.Errorf("%s: distributed claims are not offered: %s", what, name)
		}
	}
}

// ofScope are the claims that a scope brings (§5.4).
var ofScope = map[string][]string{
	"profile": {"name", "given_name", "family_name", "middle_name", "nickname", "profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale",
		"updated_at", "preferred_username"},
	"email": {"email", "email_verified"}, "address": {"address"}, "phone": {"phone_number", "phone_number_verified"},
}

// checkUnrequested holds that an ID token tells nothing that was not asked (EnsureIdTokenDoesNotContainNonRequestedClaims).
func (m *module) checkUnrequested(q url.Values, claims map[string]any) {
	m.Helper()
	expected := []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash", "nbf", "jti", "sid", "s_hash", "txn"}
	for _, s := range strings.Fields(q.Get("scope")) {
		expected = append(expected, ofScope[s]...)
	}
	for name := range claims {
		if !slices.Contains(expected, name) {
			m.Errorf("the ID token tells %s, which was not asked", name)
		}
	}
}

// numeric reads a NumericDate of whole seconds; zero when it is none.
func numeric(v any) time.Time {
	n, ok := v.(float64)
	if !ok || n <= 0 || n != float64(int64(n)) {
		return time.Time{}
	}
	return time.Unix(int64(n), 0)
}

// leftHalf is at_hash (§3.1.3.6): half of the hash that the signature uses. Ed25519 hashes with SHA-512.
func leftHalf(alg, token string) string {
	if alg == "EdDSA" {
		sum := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// payload reads the claims of a JWT without believing them.
func payload(token string) map[string]any {
	var claims map[string]any
	if parts := strings.Split(token, "."); len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		json.Unmarshal(text, &claims)
	}
	return claims
}
