package oidc

import (
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"beffroi/internal/audit"
)

func TestOnlyAnApplicationsOwnTokenWithTheScopeActsForIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		tickets := Client{ID: "tickets", Name: map[string]string{"fr": "Tickets"}, Scopes: []string{"helpdesk:reset", "helpdesk:read", "profile"}, Grants: []string{GrantClientCredentials}}
		secret, err := w.p.clients.Add(t.Context(), audit.Operator("root"), tickets)
		if err != nil {
			t.Fatal(err)
		}
		own := func(scope string) string {
			form := url.Values{"grant_type": {GrantClientCredentials}}
			if scope != "" {
				form.Set("scope", scope)
			}
			a := w.post("/oauth2/token", "tickets:"+secret, form)
			w.must(a, 200)
			return a.text("access_token")
		}
		acts := func(token string, scopes ...string) (string, int, string) {
			r := httptest.NewRequest("POST", "/api/x", nil)
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			rec := httptest.NewRecorder()
			id, err := w.p.ActsForItself(rec, r, scopes...)
			if (err == nil) != (id != "") {
				t.Errorf("%q and %v", id, err)
			}
			return id, rec.Code, rec.Header().Get("WWW-Authenticate")
		}
		reset := own("helpdesk:reset")
		if id, _, _ := acts(reset, "helpdesk:reset"); id != "tickets" {
			t.Errorf("acts as %q", id)
		}
		if id, _, _ := acts(own(""), "helpdesk:unlock", "helpdesk:read"); id != "tickets" {
			t.Errorf("one scope of several: acts as %q", id)
		}
		order := httptest.NewRequest("POST", "/api/x", strings.NewReader(`{"reason":"lost"}`))
		order.Header.Set("Authorization", "Bearer "+reset)
		order.Header.Set("Content-Type", "application/json")
		if id, err := w.p.ActsForItself(httptest.NewRecorder(), order, "helpdesk:reset"); id != "tickets" || err != nil {
			t.Errorf("with an order as JSON: %q, %v", id, err)
		}
		if body, err := io.ReadAll(order.Body); string(body) != `{"reason":"lost"}` || err != nil {
			t.Errorf("left of the order: %q, %v", body, err)
		}
		persons := w.tokens("tool", "scope", "openid profile").text("access_token")
		for name, c := range map[string]struct {
			token, scope string
			status       int
			code         string
		}{
			"without a token":                 {"", "helpdesk:reset", 401, ""},
			"a token of nobody":               {"bfa_x", "helpdesk:reset", 401, "invalid_token"},
			"without the scope":               {reset, "helpdesk:read", 403, "insufficient_scope"},
			"a person's token":                {persons, "profile", 403, "insufficient_scope"},
			"a scope that speaks of a person": {own(""), "profile", 403, "insufficient_scope"},
			"a refresh token":                 {w.tokens("tool", "scope", "openid offline_access").text("refresh_token"), "openid", 401, "invalid_token"},
		} {
			id, status, challenge := acts(c.token, c.scope)
			if id != "" || status != c.status || c.code == "" && strings.Contains(challenge, "error") || !strings.Contains(challenge, c.code) {
				t.Errorf("%s: %q, %d, %s", name, id, status, challenge)
			}
		}
		if _, err := w.p.clients.Edit(t.Context(), audit.Operator("root"), "tickets", func(c *Client) error { c.Scopes = []string{"helpdesk:read"}; return nil }); err != nil {
			t.Fatal(err)
		}
		if id, status, _ := acts(reset, "helpdesk:reset"); id != "" || status != 403 {
			t.Errorf("a scope that was taken back: %q %d", id, status)
		}
		if err := w.p.clients.Remove(t.Context(), audit.Operator("root"), "tickets"); err != nil {
			t.Fatal(err)
		}
		if id, status, _ := acts(reset, "helpdesk:reset"); id != "" || status != 401 {
			t.Errorf("an application that is gone: %q %d", id, status)
		}
	})
}
