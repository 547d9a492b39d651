package oidc

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
)

// object is the content of a sound request object of "jar"; nil removes a claim.
func (w *world) object(change map[string]any) map[string]any {
	now := w.clock.now()
	c := map[string]any{"iss": "jar", "aud": w.http.URL, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	for name, values := range request("jar", "state", "inner", "scope", "openid email") {
		c[name] = values[0]
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// carrying is a request whose parameters are in an object; what stands beside
// it is what OAuth 2.0 wants, and the redirect URI so that refusals have an address.
func carrying(object string, change ...string) url.Values {
	return pairs(url.Values{"client_id": {"jar"}, "response_type": {"code"}, "redirect_uri": {back}, "state": {"outer"}, "request": {object}}, change...)
}

func TestARequestObjectIsTheRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, alg := range foreignAlgs {
			a := w.authorize(carrying(signForeign(t, alg, w.object(map[string]any{"response_mode": modeFragment})), "scope", "openid people", "redirect_uri", "-", "nonce", "outer", "max_age", "1"))
			if !w.deliveredBy(a, modeFragment, back) || a.location().Get("state") != "inner" || a.location().Get("code") == "" {
				t.Fatalf("%s: %d %s", alg, a.status, a.header.Get("Location"))
			}
			if w.door.last.MaxAge != nil || strings.Contains(string(w.door.last.Raw), "request=") {
				t.Errorf("%s: something beside the object counts: %s", alg, w.door.last.Raw)
			}
			tokens := w.redeem("jar", a.location().Get("code"))
			w.must(tokens, 200)
			if tokens.text("scope") != "openid email" || w.idClaims("jar", tokens.text("id_token"))["nonce"] != "no-1" {
				t.Errorf("%s: %s", alg, tokens.body)
			}
		}
		// client_id and response_type may stand outside only (OpenID Connect Core §6.1), the rest inside.
		object := signForeign(t, RS256, w.object(map[string]any{"client_id": nil, "response_type": nil, "aud": []string{"https://other.test", w.http.URL}, "nbf": w.clock.now().Unix()}), "typ", "oauth-authz-req+jwt")
		if w.authorize(carrying(object)).location().Get("code") == "" {
			t.Error("an object in the manner of OpenID Connect Core is refused")
		}
		// Pushed, it is the same (RFC 9126 §3).
		a := w.push("jar", url.Values{"client_id": {"jar"}, "request": {signForeign(t, ES256, w.object(nil))}})
		w.must(a, http.StatusCreated)
		if w.authorize(byReference("jar", a.text("request_uri"))).location().Get("state") != "inner" {
			t.Error("a pushed request object is not taken")
		}
	})
}

func TestT03NumbersAndScopesOfARequestObjectAreReadExactly(t *testing.T) {
	w := onOne(t)
	for text, want := range map[any]int64{json.Number("3600"): 3600, json.Number("0"): 0, "60": 60} {
		a := w.authorize(carrying(signForeign(t, RS256, w.object(map[string]any{"max_age": text}))))
		if a.location().Get("code") == "" || w.door.last.MaxAge == nil || *w.door.last.MaxAge != want {
			t.Errorf("max_age %v reaches signin as %v: %s", text, w.door.last.MaxAge, a.header.Get("Location"))
		}
	}
	for _, text := range []any{json.Number("3600.5"), json.Number("-1"), json.Number("1e3"), json.Number("99999999999"), "x"} {
		a := w.authorize(carrying(signForeign(t, RS256, w.object(map[string]any{"max_age": text}))))
		w.redirectedWith(a, "invalid_request")
		if a.location().Get("state") != "inner" {
			t.Error("what is wrong inside is answered as from outside")
		}
	}
	a := w.authorize(carrying(signForeign(t, RS256, w.object(map[string]any{"scope": "openid"})), "scope", "openid email people"))
	if tokens := w.redeem("jar", a.location().Get("code")); tokens.text("scope") != "openid" {
		t.Errorf("the scopes outside are added to the signed ones: %s", tokens.text("scope"))
	}
	a = w.authorize(carrying(signForeign(t, RS256, w.object(map[string]any{"claims": map[string]any{"id_token": map[string]any{"email": map[string]any{"essential": true}}}, "scope": "openid"}))))
	tokens := w.redeem("jar", a.location().Get("code"))
	if w.idClaims("jar", tokens.text("id_token"))["email"] == nil {
		t.Error("claims as an object is not read")
	}
	for _, odd := range []map[string]any{{"claims": []any{}}, {"claims": 1}, {"scope": []string{"openid"}}, {"state": true}, {"nonce": map[string]any{}}, {"redirect_uri": []string{back}}} {
		if a := w.authorize(carrying(signForeign(t, RS256, w.object(odd)))); a.location().Get("error") == "" || a.location().Get("code") != "" {
			t.Errorf("%v: %d %s", odd, a.status, a.header.Get("Location"))
		}
	}
}

// badObjects are objects that must be refused, however they arrive.
func (w *world) badObjects(t testing.TB) map[string]string {
	now := w.clock.now()
	b64 := base64.RawURLEncoding.EncodeToString
	payload, _ := json.Marshal(w.object(nil))
	hs := func(key []byte) string {
		signed := b64([]byte(`{"alg":"HS256"}`)) + "." + b64(payload)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signed))
		return signed + "." + b64(mac.Sum(nil))
	}
	good := signForeign(t, RS256, w.object(nil))
	parts := strings.Split(good, ".")
	foreign, _ := rsa.GenerateKey(rand.Reader, 2048)
	signer, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: foreign}, (&jose.SignerOptions{}).WithHeader("kid", "k-RS256"))
	signed, _ := signer.Sign(payload)
	byStranger, _ := signed.CompactSerialize()
	signedText := func(text string) string {
		signed := b64([]byte(`{"alg":"EdDSA","kid":"k-EdDSA"}`)) + "." + b64([]byte(text))
		signature, _ := foreignKey(EdDSA).Sign(rand.Reader, []byte(signed), crypto.Hash(0))
		return signed + "." + b64(signature)
	}
	bad := map[string]string{
		"unsigned": b64([]byte(`{"alg":"none"}`)) + "." + b64(payload) + ".", "unsigned, capitals": b64([]byte(`{"alg":"None"}`)) + "." + b64(payload) + ".",
		"by the client's secret": hs([]byte(secret1)), "by the public key as a secret": hs(jwksOfTests(RS256)), "of another's key": byStranger,
		"changed":   parts[0] + "." + b64([]byte(strings.Replace(string(payload), "openid email", "openid people", 1))) + "." + parts[2],
		"no JWT":    "a.b.c",
		"text":      "x",
		"encrypted": good + ".x.y",
		"longer":    good + "A", "shorter": good[:len(good)-1], "with a space": " " + good,
		"a name twice":          signedText(strings.Replace(string(payload), `"state":`, `"state":"first","state":`, 1)),
		"a name twice, escaped": signedText(strings.Replace(string(payload), `"state":`, `"st\u0061te":"first","state":`, 1)),
		"a claim asked twice":   signedText(strings.Replace(string(payload), `"state":`, `"claims":{"id_token":{"email":null,"email":null}},"state":`, 1)),
		"more than an object":   signedText(string(payload) + "{}"), "a list": signedText("[" + string(payload) + "]"), "nothing": signedText(""),
	}
	for name, change := range map[string]map[string]any{
		"of another iss": {"iss": "other"}, "iss as a list": {"iss": []string{"jar"}}, "for another aud": {"aud": "https://elsewhere.test"}, "aud with a slash": {"aud": w.http.URL + "/"}, "aud of numbers": {"aud": []any{1}},
		"of another client_id": {"client_id": "other"}, "of nobody": {"client_id": nil, "iss": nil}, "of another response_type": {"response_type": "token"},
		"expired": {"exp": now.Unix()}, "for ever": {"exp": now.Add(2 * time.Hour).Unix()}, "exp as text": {"exp": fmt.Sprint(now.Add(time.Minute).Unix())},
		"not yet": {"nbf": now.Add(time.Minute).Unix()}, "long ago": {"nbf": now.Add(-2 * time.Hour).Unix()}, "from the future": {"iat": now.Add(time.Hour).Unix()},
		"with an object": {"request": good}, "with an address": {"request_uri": pushedPrefix + "x"}, "a client assertion": {"sub": "jar"},
	} {
		bad[name] = signForeign(t, RS256, w.object(change))
	}
	bad["of another typ"] = signForeign(t, RS256, w.object(nil), "typ", "client-authentication+jwt")
	bad["a logout token"] = signForeign(t, RS256, w.object(nil), "typ", "logout+jwt")
	return bad
}

func TestT04OnlyAnObjectSignedByTheApplicationForUsIsTaken(t *testing.T) {
	w := onOne(t)
	for name, object := range w.badObjects(t) {
		a := w.authorize(carrying(object))
		w.redirectedWith(a, "invalid_request_object")
		if a.location().Get("state") != "outer" {
			t.Errorf("%s: the refusal has the state %q", name, a.location().Get("state"))
		}
		w.notRedirected(w.authorize(carrying(object, "redirect_uri", "-")))                    // its own redirect URI is not believed
		w.notRedirected(w.authorize(carrying(object, "redirect_uri", "https://evil.test/cb"))) // nor a foreign one
		w.refusedWith(w.push("jar", carrying(object, "redirect_uri", "-")), "invalid_request_object")
	}
	if w.door.last.Protocol != "" {
		t.Error("a bad object reached signin")
	}
	if w.trail("oidc.authorize", "request_object") == 0 {
		t.Error("a forged object leaves no trace")
	}
	good := signForeign(t, RS256, w.object(nil))
	// No keys are registered for "tool": nothing can be signed by it.
	w.redirectedWith(w.authorize(carrying(good, "client_id", "tool")), "invalid_request_object")
	// The redirect URI inside is looked at as any other.
	w.notRedirected(w.authorize(carrying(signForeign(t, RS256, w.object(map[string]any{"redirect_uri": "https://evil.test/cb"})))))
	w.notRedirected(w.authorize(carrying(signForeign(t, RS256, w.object(map[string]any{"redirect_uri": nil})))))
	// One algorithm may be registered as the only one.
	w.change("jar", func(c *Client) { c.RequestAlg = ES256 })
	w.redirectedWith(w.authorize(carrying(good)), "invalid_request_object")
	if w.authorize(carrying(signForeign(t, ES256, w.object(nil)))).location().Get("code") == "" {
		t.Error("the registered algorithm is refused")
	}
	w.redirectedWith(w.authorize(carrying(signForeign(t, ES256, w.object(nil)), "request_uri", "https://jar.test/object")), "invalid_request")
	form := carrying(signForeign(t, ES256, w.object(nil)))
	form.Add("request", "x")
	w.redirectedWith(w.authorize(form), "invalid_request")
	form = carrying(signForeign(t, ES256, w.object(nil)))
	form.Add("state", "again")
	w.redirectedWith(w.authorize(form), "invalid_request")
}

// shelf is where an application keeps its request objects.
type shelf struct {
	http  *httptest.Server
	body  atomic.Pointer[string]
	asked atomic.Int32
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{}
	s.put("")
	s.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		switch r.URL.Path {
		case "/moved":
			http.Redirect(rw, r, "/object", http.StatusFound)
		case "/object", "/other":
			_, _ = rw.Write([]byte(*s.body.Load()))
		default:
			http.NotFound(rw, r)
		}
	}))
	t.Cleanup(s.http.Close)
	return s
}

func (s *shelf) put(body string) { s.body.Store(&body) }

func TestARequestObjectIsFetchedFromARegisteredAddressOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		s := newShelf(t)
		w.change("jar", func(c *Client) {
			c.RequestURIs = []string{s.http.URL + "/object#registered", s.http.URL + "/gone", s.http.URL + "/moved"}
		})
		at := func(uri string, change ...string) url.Values {
			return carrying("", append([]string{"request", "-", "request_uri", uri}, change...)...)
		}
		s.put(signForeign(t, PS256, w.object(nil)) + "\n")
		sum := sha256.Sum256([]byte(*s.body.Load()))
		hash := base64.RawURLEncoding.EncodeToString(sum[:])
		for _, uri := range []string{"/object", "/object#" + hash, "/object#anything"} {
			if a := w.authorize(at(s.http.URL+uri, "scope", "openid people")); a.location().Get("code") == "" || a.location().Get("state") != "inner" {
				t.Errorf("%s: %d %s", uri, a.status, a.header.Get("Location"))
			}
		}
		// Once at the entry; after the sign-in it is not asked for again (T5).
		result, before := w.door.result, s.asked.Load()
		w.door.result = nil
		w.authorize(at(s.http.URL + "/object"))
		s.put("something else by now")
		rec := httptest.NewRecorder()
		if err := w.p.Finisher().Finish(rec, httptest.NewRequest(http.MethodPost, "/signin", nil), w.door.last.Raw, *result); err != nil || !strings.Contains(rec.Header().Get("Location"), "code=") {
			t.Errorf("%v %s", err, rec.Header().Get("Location"))
		}
		if n := s.asked.Load() - before; n != 1 {
			t.Errorf("fetched %d times for one sign-in", n)
		}
		w.door.result = result
		for name, one := range map[string]struct{ uri, code string }{
			"not an object": {s.http.URL + "/object", "invalid_request_object"},
			"gone":          {s.http.URL + "/gone", "invalid_request_uri"}, "elsewhere by redirect": {s.http.URL + "/moved", "invalid_request_uri"},
		} {
			w.redirectedWith(w.authorize(at(one.uri)), one.code)
			w.notRedirected(w.authorize(at(one.uri, "redirect_uri", "-")))
			_ = name
		}
		s.put(strings.Repeat("x", objectMost+1))
		w.redirectedWith(w.authorize(at(s.http.URL+"/object")), "invalid_request_uri")
		for _, object := range w.badObjects(t) {
			s.put(object)
			if a := w.authorize(at(s.http.URL + "/object")); a.location().Get("error") != "invalid_request_object" && strings.TrimSpace(object) == object {
				t.Errorf("%s: %s", object, a.header.Get("Location"))
			}
		}
	})
}

func TestT05AnAddressThatIsNotRegisteredIsNeverFetched(t *testing.T) {
	w := onOne(t)
	s := newShelf(t)
	s.put(signForeign(t, RS256, w.object(nil)))
	at := func(client, uri string) answer {
		return w.authorize(carrying("", "client_id", client, "request", "-", "request_uri", uri))
	}
	w.redirectedWith(at("tool", s.http.URL+"/object"), "request_uri_not_supported")
	w.change("jar", func(c *Client) { c.RequestURIs = []string{s.http.URL + "/object"} })
	for _, uri := range []string{s.http.URL + "/other", s.http.URL + "/object?x", s.http.URL + "/object/", s.http.URL + "/Object", s.http.URL + "/./object", strings.Replace(s.http.URL, "http", "HTTP", 1) + "/object", s.http.URL + "/object%23",
		w.http.URL + "/jwks", "http://169.254.169.254/latest", "file:///etc/passwd", "https://jar.test/object", "urn:x", s.http.URL + "/object#" + strings.Repeat("a", uriMost)} {
		w.redirectedWith(at("jar", uri), "invalid_request_uri")
	}
	w.redirectedWith(at("jar", pushedPrefix+"abc"), "invalid_request_uri")
	w.redirectedWith(w.authorize(request("tool", "registration", "{}")), "registration_not_supported")
	if n := s.asked.Load(); n != 0 {
		t.Errorf("knocked %d times at an address that nobody registered", n)
	}
	// A slow address keeps its own application waiting, many of them everybody.
	took := func(client string) (n int) {
		for w.p.fetches.begin(client) {
			n++
		}
		return n
	}
	if n := took("slow"); n != fetchesEach {
		t.Errorf("%d at once of one application", n)
	}
	if a := at("jar", s.http.URL+"/object"); a.location().Get("error") == "temporarily_unavailable" {
		t.Error("one slow address keeps the others waiting")
	}
	for i := range fetchesMost {
		took(fmt.Sprint("slow", i))
	}
	w.redirectedWith(at("jar", s.http.URL+"/object"), "temporarily_unavailable")
	w.p.fetches.end("slow")
	if a := at("jar", s.http.URL+"/object"); a.location().Get("error") == "temporarily_unavailable" {
		t.Error("what was ended still counts")
	}
}

// FuzzRequestObject holds what the entry promises for any content that the
// application has signed: a request of that very application with a registered
// redirect URI and no scope from outside, or a refusal.
func FuzzRequestObject(f *testing.F) {
	w := onOne(f)
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"k-EdDSA"}`))
	for _, change := range []map[string]any{nil, {"max_age": 60}, {"claims": map[string]any{"id_token": nil}}, {"client_id": "other"}, {"redirect_uri": 1}, {"exp": 1}, {"scope": "openid people reports"}, {"request_uri": "x"}, {"aud": []any{"x", 1}}} {
		b, _ := json.Marshal(w.object(change))
		f.Add(string(b))
	}
	f.Add(`{"iss":"jar","iss":"other"}`)
	f.Add(`[]`)
	f.Add(`{"iss":"jar","redirect_uri":"` + back + `","max_age":1e400}`)
	f.Fuzz(func(t *testing.T, payload string) {
		signed := header + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		signature, err := foreignKey(EdDSA).Sign(rand.Reader, []byte(signed), crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := w.p.resolve(t.Context(), carrying(signed+"."+base64.RawURLEncoding.EncodeToString(signature), "scope", "openid people"))
		if err == nil {
			var a *authRequest
			if a, err = w.p.parseAuthorize(t.Context(), plain); err == nil {
				if a.client.ID != "jar" || !matchRedirect(a.client.RedirectURIs, a.redirectURI) || !strings.Contains(payload, "people") && strings.Contains(strings.Join(a.scopes, " "), "people") {
					t.Fatalf("accepted: %+v", a)
				}
				return
			}
		}
		if code := pushCode(err); code == "" {
			t.Fatalf("%v", err)
		}
	})
}
