package helpdesk

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/web"
)

// bearer stands for the provider: the token is "APPLICATION SCOPE…".
type bearer struct{}

func (bearer) ActsForItself(w http.ResponseWriter, r *http.Request, scopes ...string) (string, error) {
	words := strings.Fields(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	for _, has := range words[min(1, len(words)):] {
		for _, s := range scopes {
			if has == s {
				return words[0], nil
			}
		}
	}
	return "", web.Fail(http.StatusForbidden, "web.error.not_found", nil)
}

type apiAnswer struct {
	status int
	header http.Header
	body   map[string]any
}

func (g *rig) api() http.Handler {
	g.t.Helper()
	mux := http.NewServeMux()
	base, _ := url.Parse("http://id.test")
	site := web.NewSite(web.SiteConfig{Kind: "provider", BaseURL: base, Audit: g.audit})
	g.desk.MountAPI(mux, site, bearer{}, "http://id.test")
	return mux
}

func (g *rig) call(server, method, path, token, body string, header ...string) apiAnswer {
	g.t.Helper()
	req, err := http.NewRequest(method, server+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Error(err)
		return apiAnswer{}
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	a := apiAnswer{status: res.StatusCode, header: res.Header}
	if err := json.Unmarshal(text, &a.body); err != nil {
		g.t.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	return a
}

func newAPIRig(t *testing.T, d *db.DB) (*rig, string) {
	t.Helper()
	g := newRig(t, d, func(c *Config) {
		c.Delegations[1].Actions = []string{"read", "reset", "unlock", "lock", "open", "sessions"}
	})
	server := listenAndServe(t, g.api())
	for _, p := range []string{sarah.ID, head.ID, paul.ID, paie.ID} {
		if err := g.mfa.Install(context.Background(), audit.System("test"), p, sampleSecret); err != nil {
			t.Fatal(err)
		}
	}
	return g, server
}

func TestTicketingToolResetsUnderTheSameRules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		g, server := newAPIRig(t, d)
		const token = "ticket-tool helpdesk:reset"
		order := `{"reason":"ticket 4711","verified":"callback"}`
		for who, want := range map[string]struct {
			status int
			reason string
		}{"jmartin": {403, Rights}, "plefebvre": {403, Scope}, "nobody": {404, Unknown}, head.ID: {403, Rights}} {
			if a := g.call(server, "POST", "/api/helpdesk/people/"+who+"/reset", token, order); a.status != want.status || a.body["reason"] != want.reason {
				t.Errorf("%s: %d %v", who, a.status, a.body)
			}
		}
		for body, want := range map[string]string{
			`{"verified":"callback"}`: "no_reason", `{"reason":"ticket 4711"}`: "not_verified", `{"reason":"ticket 4711","verified":"phrase"}`: "not_verified", `{"reason":"ticket 4711","phrase":"lilas lilas lilas"}`: "wrong_phrase",
			`{"reason":"ticket 4711","verified":"callback","person":"id-jmartin"}`: "body", `[]`: "body", ``: "body", order + order: "body", `{"reason":"ticket 4711","verified":"callback","agent":"nobody"}`: "agent",
			`{"reason":"ticket 4711","verified":"callback","agent":"ssmith"}`: Self,
		} {
			if a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", token, body); a.body["reason"] != want || a.status < 400 {
				t.Errorf("%s: %d %v", body, a.status, a.body)
			}
		}
		for _, other := range []string{"ticket-tool helpdesk:read", "ticket-tool", "other-tool helpdesk:reset"} {
			if a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", other, order); a.status != 403 {
				t.Errorf("%s: %d", other, a.status)
			}
		}
		if a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset?everyone=1", token, order); a.status != 400 || a.body["reason"] != "unknown_parameter" {
			t.Errorf("%d %v", a.status, a.body)
		}
		if a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", token, order, "Content-Type", "application/x-www-form-urlencoded"); a.status != 415 || a.body["reason"] != "content_type" {
			t.Errorf("as a form: %d %v", a.status, a.body)
		}
		if g.factors(sarah) != 1 {
			t.Fatal("reset by one of those")
		}
		a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", token, order, "Idempotency-Key", "k1")
		if a.status != 200 || a.body["status"] != "done" || a.body["removed"] != 1.0 {
			t.Fatalf("%d %v", a.status, a.body)
		}
		if a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", token, order, "Idempotency-Key", "k1"); a.status != 200 || a.body["removed"] != 1.0 || a.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("again: %d %v", a.status, a.body)
		}
		if a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", token, `{"reason":"another","verified":"callback"}`, "Idempotency-Key", "k1"); a.status != 422 {
			t.Errorf("another order with the key: %d %v", a.status, a.body)
		}
		if a := g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", token, order); a.status != 409 || a.body["reason"] != "nothing" {
			t.Errorf("nothing left: %d %v", a.status, a.body)
		}
		rows := g.done("helpdesk.reset", sarah.ID)
		if len(rows) != 1 || rows[0].Actor != audit.Application("ticket-tool") || rows[0].Detail["verified"] != ByCallback || rows[0].Detail["delegation"] != "tickets" {
			t.Errorf("%+v", rows)
		}
		// The sensitive account waits, and a person agrees.
		a = g.call(server, "POST", "/api/helpdesk/people/gpaie/reset", token, order)
		id, _ := a.body["request"].(string)
		if a.status != 202 || id == "" || g.factors(paie) != 1 {
			t.Fatalf("%d %v", a.status, a.body)
		}
		if _, _, err := g.desk.Decide(context.Background(), g.seated(head), id, true, ""); err != nil {
			t.Fatal(err)
		}
		if a := g.call(server, "GET", "/api/helpdesk/requests/"+id, token, ""); a.body["state"] != "done" || g.factors(paie) != 0 {
			t.Errorf("%d %v", a.status, a.body)
		}
		if a := g.call(server, "GET", "/api/helpdesk/requests/x", token, ""); a.status != 404 {
			t.Errorf("%d %v", a.status, a.body)
		}
	})
}

func TestSameOrderInParallelIsCarriedOutOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		g, server := newAPIRig(t, d)
		var all sync.WaitGroup
		answers := make([]apiAnswer, 10)
		for i := range answers {
			all.Go(func() {
				answers[i] = g.call(server, "POST", "/api/helpdesk/people/ssmith/reset", "ticket-tool helpdesk:reset", `{"reason":"ticket 4711","verified":"callback"}`, "Idempotency-Key", "same")
			})
		}
		all.Wait()
		for _, a := range answers {
			if a.status != 200 && (a.status != 409 || a.body["reason"] != "in_progress") {
				t.Errorf("%d %v", a.status, a.body)
			}
		}
		if n := len(g.trail("helpdesk.reset", sarah.ID)); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestToolFindsAndReadsOnlyWhomItServes(t *testing.T) {
	g, server := newAPIRig(t, dbtest.Open(t, "sqlite"))
	const token = "ticket-tool helpdesk:read"
	a := g.call(server, "GET", "/api/helpdesk/people?q=smith", token, "")
	people, _ := a.body["people"].([]any)
	if a.status != 200 || len(people) != 1 || people[0].(map[string]any)["sub"] != sarah.ID {
		t.Errorf("%d %v", a.status, a.body)
	}
	for query, reason := range map[string]string{"": "q", "?q=": "q", "?q=s": "q", "?q=smith&everyone=true": "unknown_parameter", "?name=smith": "unknown_parameter"} {
		if a := g.call(server, "GET", "/api/helpdesk/people"+query, token, ""); a.status != 400 || a.body["reason"] != reason {
			t.Errorf("%s: %d %v", query, a.status, a.body)
		}
	}
	if a := g.call(server, "GET", "/api/helpdesk/people?q=lefebvre", token, ""); len(a.body["people"].([]any)) != 0 {
		t.Errorf("%v", a.body)
	}
	a = g.call(server, "GET", "/api/helpdesk/people/ssmith", token, "")
	if a.status != 200 || len(a.body["factors"].([]any)) != 1 {
		t.Errorf("%d %v", a.status, a.body)
	}
	text, _ := json.Marshal(a.body)
	if strings.Contains(string(text), sampleSecret) {
		t.Error("the secret")
	}
	if a := g.call(server, "GET", "/api/helpdesk/people/plefebvre", token, ""); a.status != 403 || a.body["reason"] != Scope {
		t.Errorf("%d %v", a.status, a.body)
	}
}

func TestDocumentIsTheTable(t *testing.T) {
	g, server := newAPIRig(t, dbtest.Open(t, "sqlite"))
	a := g.call(server, "GET", "/api/openapi.json", "", "")
	paths, _ := a.body["paths"].(map[string]any)
	n := 0
	seen := map[string]bool{}
	for _, item := range paths {
		for _, call := range item.(map[string]any) {
			id := call.(map[string]any)["operationId"].(string)
			if seen[id] {
				t.Errorf("%s stands twice", id)
			}
			seen[id] = true
			n++
		}
	}
	if a.status != 200 || a.body["openapi"] != "3.1.0" || n != len(operations) {
		t.Errorf("%d, %d operations of %d", a.status, n, len(operations))
	}
	var refs func(v any)
	schemas := a.body["components"].(map[string]any)["schemas"].(map[string]any)
	refs = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
				t.Errorf("%s leads nowhere", ref)
			}
			for _, one := range v {
				refs(one)
			}
		case []any:
			for _, one := range v {
				refs(one)
			}
		}
	}
	refs(a.body)
}
