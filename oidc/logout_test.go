package oidc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const bye = "https://tool.example.test/bye"

// forgedHints are ID tokens that this provider did not sign.
func (w *world) forgedHints(idToken string) map[string]string {
	parts := strings.Split(idToken, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	none := b64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1]
	kid := w.p.keys.latest.Load().signing[RS256].kid
	hs := b64([]byte(`{"alg":"HS256","kid":"`+kid+`"}`)) + "." + parts[1]
	mac := hmac.New(sha256.New, w.p.keys.latest.Load().jwks)
	mac.Write([]byte(hs))
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	other := b64([]byte(strings.Replace(string(payload), marie, paul, 1)))
	wrongIssuer, _ := w.p.keys.sign(w.t.Context(), RS256, typJWT, map[string]any{"iss": "https://evil.test", "aud": "tool", "sub": marie, "at_hash": "x"})
	return map[string]string{
		"alg none":       none + ".",
		"alg none, kept": none + "." + parts[2],
		"HMAC":           hs + "." + b64(mac.Sum(nil)),
		"another person": parts[0] + "." + other + "." + parts[2],
		"other alg":      b64([]byte(`{"alg":"ES256","kid":"`+kid+`"}`)) + "." + parts[1] + "." + parts[2],
		"no kid":         b64([]byte(`{"alg":"RS256"}`)) + "." + parts[1] + "." + parts[2],
		"crit":           b64([]byte(`{"alg":"RS256","kid":"`+kid+`","crit":["x"]}`)) + "." + parts[1] + "." + parts[2],
		"cut":            idToken[:len(idToken)-1],
		"two parts":      parts[0] + "." + parts[1],
		"other issuer":   wrongIssuer,
		"nonsense":       "nonsense",
		"huge":           strings.Repeat("a", 9000),
	}
}

func TestTheApplicationSignsItsPersonOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.tokens("tool")
		idToken := a.text("id_token")
		w.clock.pass(24 * time.Hour) // an expired ID token still names its client
		w.signInAgain()
		b := w.get("/oauth2/logout?" + url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {bye}, "state": {"s&1"}}.Encode())
		if b.status != http.StatusSeeOther || b.header.Get("Location") != bye+"?state=s%261" {
			t.Fatalf("%d %s %s", b.status, b.header.Get("Location"), b.body)
		}
		if w.door.ended != 1 {
			t.Error("the session lives on")
		}
		b = w.get("/oauth2/logout?" + url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {bye}}.Encode())
		if b.header.Get("Location") != bye {
			t.Errorf("without state: %s", b.header.Get("Location"))
		}
		for _, query := range []string{"", "state=x", "id_token_hint=" + idToken, "client_id=tool"} {
			if b := w.get("/oauth2/logout?" + query); b.status != 200 || b.header.Get("Location") != "" {
				t.Errorf("%.20s: %d %s", query, b.status, b.header.Get("Location"))
			}
		}
		posted := w.post("/oauth2/logout", "", url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {bye}})
		u, _ := url.Parse(posted.header.Get("Location"))
		if b := w.get(u.RequestURI()); b.header.Get("Location") != bye {
			t.Errorf("posted: %d %s", b.status, b.header.Get("Location"))
		}
	})
}

// signInAgain renews the door's session.
func (w *world) signInAgain() { w.signIn(marie, "sid-1") }

func TestSigningOutNeverLeadsElsewhere(t *testing.T) {
	w := onOne(t)
	idToken := w.tokens("tool").text("id_token")
	for _, uri := range append([]string{bye + "?x=1", bye + "/", bye + "#", "https://evil.test/", back, "http://127.0.0.1:9/callback", "javascript:alert(1)", strings.ToUpper(bye)}, hostileRedirects...) {
		a := w.get("/oauth2/logout?" + url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {uri}}.Encode())
		w.notRedirected(a)
		b := w.post("/oauth2/logout/confirm", "", url.Values{"client_id": {"tool"}, "post_logout_redirect_uri": {uri}})
		w.notRedirected(b)
	}
	w.notRedirected(w.get("/oauth2/logout?" + url.Values{"post_logout_redirect_uri": {bye}}.Encode()))
	w.notRedirected(w.get("/oauth2/logout?" + url.Values{"post_logout_redirect_uri": {bye}, "client_id": {"nobody"}}.Encode()))
	w.notRedirected(w.get("/oauth2/logout?" + url.Values{"id_token_hint": {idToken}, "client_id": {"other"}}.Encode()))
	w.notRedirected(w.get("/oauth2/logout?" + url.Values{"state": {"a", "b"}}.Encode()))
	for name, hint := range w.forgedHints(idToken) {
		a := w.get("/oauth2/logout?" + url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}}.Encode())
		if a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("%s: %d %s", name, a.status, a.header.Get("Location"))
		}
	}
	if w.door.ended != 0 {
		t.Error("a refused request signed somebody out")
	}
	if w.trail("oidc.logout", "post_logout_redirect_uri") == 0 {
		t.Error("no trace")
	}
}

func TestAForeignPageCannotConfirmASignOut(t *testing.T) {
	w := onOne(t)
	r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/oauth2/logout/confirm", strings.NewReader(""))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://evil.test")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if a := w.send(r); a.status != http.StatusForbidden || w.door.ended != 0 {
		t.Errorf("%d, ended %d", a.status, w.door.ended)
	}
}
