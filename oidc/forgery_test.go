package oidc

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"

	"beffroi/internal/db"
)

// forgeries are JWTs made of a genuine one without the key (RFC 8725 §2.1):
// no signature, HMAC with each form of the public key, another key's name,
// another person.
func (w *world) forgeries(token string) map[string]string {
	w.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	parts := strings.Split(token, ".")
	header := headerOf(token)
	alg, kid := header["alg"].(string), header["kid"].(string)
	head := func(alg, kid string) string {
		return b64(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"typ":%q}`, alg, kid, header["typ"]))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		w.t.Fatal(err)
	}
	set := w.p.keys.latest.Load()
	all := map[string]string{
		"another person":     parts[0] + "." + b64([]byte(strings.Replace(string(payload), marie, paul, 1))) + "." + parts[2],
		"no signature":       parts[0] + "." + parts[1] + ".",
		"two parts":          parts[0] + "." + parts[1],
		"no kid":             b64(fmt.Appendf(nil, `{"alg":%q}`, alg)) + "." + parts[1] + "." + parts[2],
		"critical":           b64(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"crit":["exp"]}`, alg, kid)) + "." + parts[1] + "." + parts[2],
		"its own key":        b64(fmt.Appendf(nil, `{"alg":%q,"kid":%q,"jwk":{"kty":"oct","k":"AA"}}`, alg, kid)) + "." + parts[1] + "." + parts[2],
		"as JSON":            fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]),
		"as encrypted":       token + ".AA.AA",
		"twice the key name": b64(fmt.Appendf(nil, `{"alg":"none","alg":%q,"kid":%q}`, alg, kid)) + "." + parts[1] + "." + parts[2],
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		all["alg "+none] = head(none, kid) + "." + parts[1] + "."
		all["alg "+none+", signature kept"] = head(none, kid) + "." + parts[1] + "." + parts[2]
	}
	der, err := x509.MarshalPKIXPublicKey(set.byID[kid].private.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	for name, key := range map[string][]byte{"the JWKS": set.jwks, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "nothing": nil, "the kid": []byte(kid)} {
		signing := head("HS256", kid) + "." + parts[1]
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signing))
		all["HMAC with "+name] = signing + "." + b64(mac.Sum(nil))
	}
	for _, other := range algorithms {
		if other != alg {
			all["said to be "+other] = head(other, kid) + "." + parts[1] + "." + parts[2]
			all["by the key of "+other] = head(alg, set.signing[other].kid) + "." + parts[1] + "." + parts[2]
			all["said to be "+other+" by its key"] = head(other, set.signing[other].kid) + "." + parts[1] + "." + parts[2]
		}
	}
	return all
}

// Row 21: alg none, a weak algorithm and RS/HS confusion, at every place that
// reads a JWT of ours.
func TestRow21NoForgedJWTPassesAnywhere(t *testing.T) {
	w := onOne(t)
	w.registerFormats()
	genuine := map[string]string{}
	for _, alg := range algorithms {
		id := "jwt-" + alg
		w.register(tool(func(c *Client) { c.ID, c.TokenFormat, c.TokenAlg, c.IDTokenAlg, c.Home = id, FormatJWT, alg, alg, "" }))
		a := w.tokens(id, "scope", "openid mail people")
		access, idToken := a.text("access_token"), a.text("id_token")
		genuine[id] = access
		for name, forged := range w.forgeries(access) {
			name = alg + ", " + name
			if w.active(id, forged) {
				t.Errorf("introspection: %s", name)
			}
			w.must(w.userinfo(forged), 401)
			w.must(w.post("/userinfo", "", url.Values{"access_token": {forged}}), 401)
			w.must(w.get("/api/people?q=dupont", "Authorization", "Bearer "+forged), 401)
			w.refusedWith(w.exchange(id, forged, "scope", "mail"), "invalid_grant")
			w.must(w.post("/oauth2/revoke", id, url.Values{"token": {forged}}), 200)
		}
		for name, forged := range w.forgeries(idToken) {
			name = alg + ", " + name
			w.redirectedWith(w.authorize(request(id, "id_token_hint", forged)), "invalid_request")
			out := w.get("/oauth2/logout?" + url.Values{"id_token_hint": {forged}, "post_logout_redirect_uri": {bye}}.Encode())
			if out.status != 400 || out.header.Get("Location") != "" || w.door.ended != 0 {
				t.Errorf("logout: %s: %d", name, out.status)
			}
		}
	}
	for id, access := range genuine {
		if !w.active(id, access) {
			t.Errorf("a forged token ended the genuine one of %s", id)
		}
	}
}

// Row 21, the other half: what is signed here for one use opens no other.
func TestRow21OneKindOfTokenIsNeverTakenForAnother(t *testing.T) {
	w := onOne(t)
	w.registerFormats()
	w.keyed()
	w.register(tool(func(c *Client) { c.ID, c.UserinfoAlg, c.Home = "signed", RS256, "" }))
	for _, client := range []string{"jwt", "old-jwt"} {
		a := w.tokens(client, "scope", "openid mail groups")
		exchanged := w.exchange(client, a.text("access_token"), "audience", "dovecot", "scope", "mail").text("access_token")
		userinfo := w.userinfo(w.tokens("signed").text("access_token")).body
		introspection := w.introspectJWT(client, a.text("access_token")).body
		logout, err := w.p.logoutToken(t.Context(), w.client(client), notice{Person: marie, SID: "sid-1"})
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]string{"ID token": a.text("id_token"), "access token": a.text("access_token"), "exchanged": exchanged, "userinfo": userinfo, "introspection": introspection, "logout token": logout}
		for name, token := range kinds {
			if strings.Count(token, ".") != 2 {
				t.Fatalf("%s: %q", name, token)
			}
			if _, err := w.p.readHint(t.Context(), token); (err == nil) != (name == "ID token") {
				t.Errorf("%s as an id_token_hint: %v", name, err)
			}
			a := w.authorize(request(client, "id_token_hint", token))
			if (a.location().Get("code") != "") != (name == "ID token") {
				t.Errorf("%s as a hint of a request: %s", name, a.header.Get("Location"))
			}
			access := name == "access token" || name == "exchanged"
			if _, err := w.p.store.find(t.Context(), token); (err == nil) != access {
				t.Errorf("%s as an access token: %v", name, err)
			}
			if w.active(client, token) != access {
				t.Errorf("%s is introspected", name)
			}
			if status := w.userinfo(token).status; (status == 200) != (name == "access token") {
				t.Errorf("%s at userinfo: %d", name, status)
			}
			if !access {
				w.refusedWith(w.exchange(client, token, "scope", "mail"), "invalid_grant")
			}
			w.refusedWith(w.refresh(client, token), "invalid_grant")
			w.refusedWith(w.redeem(client, token), "invalid_grant")
			w.refusedWith(w.post("/oauth2/token", "", asserted(token)), "invalid_client")
			w.refusedWith(w.post("/oauth2/token", "", asserted(token, "client_id", "keyed")), "invalid_client")
			if e := w.authorize(request("jar", "request", token)).location().Get("error"); e != "invalid_request_object" {
				t.Errorf("%s as a request object: %q", name, e)
			}
		}
	}
}

// tokenCabinet is a world with one living token of each kind.
type tokenCabinet struct {
	w      *world
	tokens []string
}

func newTokenCabinet(t testing.TB) *tokenCabinet {
	w := onOne(t)
	c := &tokenCabinet{w: w}
	add := func(client string) {
		a := w.tokens(client, "scope", "openid mail offline_access")
		c.tokens = append(c.tokens, a.text("access_token"), a.text("refresh_token"))
	}
	add("tool")
	for _, alg := range algorithms {
		id := "jwt-" + alg
		w.register(tool(func(c *Client) { c.ID, c.TokenFormat, c.TokenAlg, c.Home = id, FormatJWT, alg, "" }))
		add(id)
	}
	return c
}

// holds asserts that a string is a token exactly when it is one of the tokens.
func (c *tokenCabinet) holds(t testing.TB, s string) {
	t.Helper()
	genuine := slices.Contains(c.tokens, s)
	l, err := c.w.p.store.find(t.Context(), s)
	if (err == nil) != genuine || err != nil && err != db.ErrNotFound {
		t.Fatalf("genuine %v, found %v (%v): %q", genuine, l != nil, err, s)
	}
	_, err = c.w.p.store.refreshToken(t.Context(), hashOf(s))
	if is := genuine && strings.HasPrefix(s, prefixRefresh); (err == nil) != is || err != nil && err != db.ErrNotFound {
		t.Fatalf("a refresh token %v, found %v: %q", is, err, s)
	}
}

// Row 23: a token that is cut, lengthened, or changed in any one byte is none.
func TestRow23AMutatedTokenIsNoToken(t *testing.T) {
	c := newTokenCabinet(t)
	for _, token := range c.tokens {
		c.holds(t, token)
		changed := []string{token[1:], token + "A", token + "=", token + "==", token + ".", " " + token, token + " ", token + "\n", "\r\n" + token, token + "\x00", strings.ToUpper(token), strings.ToLower(token),
			hashOf(token), url.QueryEscape(token + "+"), token + token, prefixAccess + token, prefixRefresh + token}
		for i := range len(token) {
			for _, b := range []byte{token[i] ^ 0x20, token[i] ^ 1, token[i] ^ 2, token[i] + 1, token[i] - 1, 'A', '.', '=', '\n', 0, 0xff} {
				if b != token[i] {
					changed = append(changed, token[:i]+string([]byte{b})+token[i+1:])
				}
			}
			changed = append(changed, token[:i], token[i+1:], token[:i]+token[i+1:], token[:i]+"\n"+token[i:], token[:i]+"="+token[i:])
		}
		for _, s := range changed {
			c.holds(t, s)
		}
	}
	// The same holds where a token comes in, each in its own way.
	w, opaque, refresh := c.w, c.tokens[0], c.tokens[1]
	for _, s := range []string{opaque[:len(opaque)-1], opaque + "A", strings.ToUpper(opaque), refresh, c.tokens[2] + "\n", c.tokens[2] + "="} {
		if w.active("tool", s) && s != refresh {
			t.Errorf("%q is active", s)
		}
		w.must(w.post("/userinfo", "", url.Values{"access_token": {s}}), 401)
		w.refusedWith(w.refresh("tool", s+"x"), "invalid_grant")
	}
	w.refusedWith(w.refresh("tool", opaque), "invalid_grant")
	w.refusedWith(w.redeem("tool", refresh), "invalid_grant")
}

// Row 23 for ES256, where whoever has a token could write its signature in a
// second way.
func TestRow23AnECDSASignatureHasOneForm(t *testing.T) {
	c := newTokenCabinet(t)
	n := elliptic.P256().Params().N
	twins := 0
	for _, token := range c.tokens {
		if header := headerOf(token); header == nil || header["alg"] != ES256 {
			continue
		}
		dot := strings.LastIndexByte(token, '.')
		signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
		if err != nil {
			t.Fatal(err)
		}
		new(big.Int).Sub(n, new(big.Int).SetBytes(signature[32:])).FillBytes(signature[32:])
		c.holds(t, token[:dot+1]+base64.RawURLEncoding.EncodeToString(signature))
		twins++
	}
	if twins == 0 {
		t.Fatal("no ES256 token")
	}
}

// FuzzTokenString changes living tokens in ways that a table does not think of:
// nothing but the exact string is ever a token.
func FuzzTokenString(f *testing.F) {
	c := newTokenCabinet(f)
	for which := range c.tokens {
		for how := range 8 {
			f.Add(uint8(which), uint8(how), uint16(5), uint16(40), "A")
		}
	}
	f.Add(uint8(2), uint8(6), uint16(0), uint16(1), `{"alg":"none"}`)
	f.Add(uint8(2), uint8(7), uint16(0), uint16(4), "")
	f.Fuzz(func(t *testing.T, which, how uint8, at, to uint16, with string) {
		c.holds(t, c.mutate(which, how, at, to, with))
	})
}

// mutate is deterministic in what it does and not in the token: each process
// that fuzzes has tokens of its own.
func (c *tokenCabinet) mutate(which, how uint8, at, to uint16, with string) string {
	token := c.tokens[int(which)%len(c.tokens)]
	i, j := int(at)%(len(token)+1), int(to)%(len(token)+1)
	if i > j {
		i, j = j, i
	}
	other := strings.Split(c.tokens[int(to)%len(c.tokens)], ".")
	parts := strings.Split(token, ".")
	switch how % 8 {
	case 0:
		return token[:i] + with + token[i:]
	case 1:
		return token[:i] + with + token[j:]
	case 2:
		return token[i:j]
	case 3:
		return token[:i] + strings.ToUpper(token[i:j]) + token[j:]
	case 4:
		b := []byte(token)
		for n := range len(with) {
			b[(i+n)%len(b)] ^= with[n]
		}
		return string(b)
	case 5:
		return with
	case 6:
		parts[i%len(parts)] = base64.RawURLEncoding.EncodeToString([]byte(with))
	case 7:
		parts[i%len(parts)] = other[i%len(other)]
	}
	return strings.Join(parts, ".")
}
