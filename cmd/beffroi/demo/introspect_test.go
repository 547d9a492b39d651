package demo

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// provider stands for Beffroi's introspection endpoint: it knows a few tokens
// and the resource "imap" and "dav" with the secret "resource-secret".
type provider struct {
	*httptest.Server
	introspect Introspector

	mu     sync.Mutex
	tokens map[string]map[string]any
	asked  int
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{tokens: make(map[string]map[string]any)}
	p.Server = httptest.NewServer(http.HandlerFunc(p.answer))
	h := NewIntrospector(IntrospectConfig{URL: p.URL, ClientID: "imap", Secret: "resource-secret"})
	p.introspect = h.Introspect
	t.Cleanup(func() { h.Close(); p.Close() })
	for _, login := range []string{"mdupont", "jmartin", "ssmith", "plefebvre"} {
		p.give(login+"-mail", login, "mail", "imap", time.Hour)
		p.give(login+"-dav", login, "dav", "dav", time.Hour)
	}
	return p
}

func (p *provider) give(token, login, scope string, aud any, life time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[token] = map[string]any{"active": true, "username": login, "scope": scope, "aud": aud,
		"client_id": "portal", "exp": time.Now().Add(life).Unix()}
}

func (p *provider) answer(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if r.Method != http.MethodPost || id != "imap" || secret != "resource-secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	w.Header().Set("Content-Type", "application/json")
	if claims, ok := p.tokens[r.PostFormValue("token")]; ok {
		_ = json.NewEncoder(w).Encode(claims)
		return
	}
	_, _ = w.Write([]byte(`{"active":false}`))
}

func TestIntrospectionRemembersGoodAnswersOnlyAndNeverPastTheTokensEnd(t *testing.T) {
	p := startProvider(t)
	now := time.Now()
	h := NewIntrospector(IntrospectConfig{URL: p.URL, ClientID: "imap", Secret: "resource-secret", Remember: time.Hour, Now: func() time.Time { return now }})
	defer h.Close()
	ask := func(token string) Introspection {
		t.Helper()
		answer, err := h.Introspect(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	p.give("short", "mdupont", "mail", []string{"imap", "other"}, 4*time.Second)
	for range 3 {
		if got := ask("short"); !got.Active || got.Username != "mdupont" || len(got.Aud) != 2 {
			t.Fatalf("answer %+v", got)
		}
	}
	if p.asked != 1 {
		t.Fatalf("asked %d times for one token, want once", p.asked)
	}
	now = now.Add(5 * time.Second)
	ask("short")
	if p.asked != 2 {
		t.Fatal("a memory outlived its token")
	}
	p.give("long", "mdupont", "mail", "imap", time.Hour)
	ask("long")
	now = now.Add(10 * time.Second)
	ask("long")
	if p.asked != 4 {
		t.Fatal("an answer was remembered longer than 10 s")
	}
	for range 2 {
		if ask("nobody's").Active {
			t.Fatal("an unknown token is active")
		}
	}
	if p.asked != 6 {
		t.Fatal("a refusal was remembered")
	}
	if ask("").Active || p.asked != 6 {
		t.Fatal("an empty token needs no question")
	}
}

func TestIntrospectionThatFailsIsAnErrorAndNotARefusal(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"wrong client": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"no json":      func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"endless":      func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 100_000))) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"strange claims": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"active":true,"aud":{"a":1}}`)) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			h := NewIntrospector(IntrospectConfig{URL: server.URL, ClientID: "imap"})
			defer h.Close()
			if got, err := h.Introspect(context.Background(), "token"); err == nil || got.Active {
				t.Fatalf("answer %+v, error %v", got, err)
			}
		})
	}
}

func TestATokenOpensOnlyTheResourceItWasIssuedFor(t *testing.T) {
	now := time.Now()
	good := Introspection{Active: true, Username: "mdupont", Scope: "openid mail", Aud: []string{"imap"}, Expires: now.Add(time.Minute)}
	if err := good.Grants("imap", "mail", now); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Introspection){
		"inactive":            func(i *Introspection) { i.Active = false },
		"expired this second": func(i *Introspection) { i.Expires = now },
		"other audience":      func(i *Introspection) { i.Aud = []string{"dav"} },
		"no audience":         func(i *Introspection) { i.Aud = nil },
		"part of the scope":   func(i *Introspection) { i.Scope = "mailbox email" },
		"nobody":              func(i *Introspection) { i.Username = "" },
	} {
		bad := good
		spoil(&bad)
		if bad.Grants("imap", "mail", now) == nil {
			t.Errorf("%s: granted", name)
		}
	}
}
