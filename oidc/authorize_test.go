package oidc

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"beffroi/internal/web"
)

// FuzzAuthorize holds what the front door promises for any query: it answers
// with a request whose redirect URI is registered, with an error for such a
// URI, or with a page; and what it accepts, it accepts again from its own form.
func FuzzAuthorize(f *testing.F) {
	w := onOne(f)
	idToken, err := w.p.keys.sign(f.Context(), RS256, typJWT, map[string]any{"iss": w.p.cfg.Issuer, "aud": "tool", "sub": marie, "at_hash": "x"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []url.Values{
		request("tool"), request("tool", "max_age", "0"), request("tool", "prompt", "none login"), request("spa"), request("nobody"), request("old", "code_challenge", "-", "code_challenge_method", "-"),
		request("tool", "request", "x"), request("tool", "redirect_uri", "http://127.0.0.1:1/callback"), request("tool", "id_token_hint", idToken), request("tool", "acr_values", "a https://refeds.org/profile/mfa"), {},
	} {
		f.Add(seed.Encode())
	}
	f.Add(request("tool").Encode() + "&state=2")
	f.Add(request("tool").Encode() + "&client_id=other")
	f.Add("client_id=tool&redirect_uri=" + url.QueryEscape(back) + "&%00=%zz&;")
	f.Fuzz(func(t *testing.T, query string) { w.holdsForQuery(t, query) })
}

// TestTheFrontDoorHoldsForAnyCombination is the same for every pair of odd
// values of two parameters, in every run of the tests.
func TestTheFrontDoorHoldsForAnyCombination(t *testing.T) {
	w := onOne(t)
	odd := []string{"", "-", "x", "none", "login none", "0", "-1", "openid  openid", "S256", "plain", "code", "code token", "query", "\x00", "é", strings.Repeat("a", 2000), "http://127.0.0.1:1/callback", "https://refeds.org/profile/mfa", "a.b.c"}
	for i, first := range meaningful {
		for _, second := range meaningful[i+1:] {
			for _, v := range odd {
				for _, u := range odd {
					for _, client := range []string{"tool", "old"} {
						w.holdsForQuery(t, request(client, first, v, second, u).Encode())
					}
				}
			}
		}
	}
}

func (w *world) holdsForQuery(t *testing.T, query string) {
	t.Helper()
	form, err := url.ParseQuery(query)
	if err != nil {
		return
	}
	a, err := w.p.parseAuthorize(t.Context(), form)
	var e *authError
	var page *web.Error
	switch {
	case errors.As(err, &e):
		if !matchRedirect(e.request.client.RedirectURIs, e.request.redirectURI) || e.code == "" {
			t.Fatalf("an error would go to %q", e.request.redirectURI)
		}
	case errors.As(err, &page):
		if page.Status != 400 {
			t.Fatalf("page %d", page.Status)
		}
	case err != nil:
		t.Fatal(err)
	default:
		if !matchRedirect(a.client.RedirectURIs, a.redirectURI) || a.challenge == "" && !a.client.PKCEWaived || !within(a.scopes, a.client.Scopes) {
			t.Fatalf("accepted: %+v", a)
		}
		again, err := url.ParseQuery(a.form.Encode())
		if err != nil {
			t.Fatal(err)
		}
		b, err := w.p.parseAuthorize(t.Context(), again)
		if err != nil || b.redirectURI != a.redirectURI || b.state != a.state || b.nonce != a.nonce || b.challenge != a.challenge || strings.Join(b.scopes, " ") != strings.Join(a.scopes, " ") || b.prompt != a.prompt {
			t.Fatalf("read twice, it differs: %v\n%+v\n%+v", err, a, b)
		}
		if _, err := w.p.engine.NewAuthorizeRequest(t.Context(), a.request()); err != nil {
			t.Fatalf("our door accepts what fosite refuses: %v %+v", err, a)
		}
	}
}
