package demo

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"beffroi/internal/secret"
)

// ToolConfig describes one sample application.
type ToolConfig struct {
	ClientID, Secret, Issuer, Portal, Name string
}

// Tool is a small application like those of the academy: an ordinary relying
// party that shows what it learns about whoever opens it.
type Tool struct {
	URL string // its home page

	cfg    ToolConfig
	server *http.Server
	mu     sync.Mutex
	begun  map[string]attempt // by state
}

type attempt struct {
	verifier, nonce string
	at              time.Time
}

// StartTool listens on a free loopback port.
func StartTool(c ToolConfig) (*Tool, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("demo tool: %w", err)
	}
	t := &Tool{cfg: c, URL: "http://" + ln.Addr().String() + "/", begun: map[string]attempt{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", t.home)
	mux.HandleFunc("GET /callback", t.callback)
	mux.HandleFunc("GET /signed-out", t.signedOut)
	mux.HandleFunc("GET /logo.svg", t.logo)
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second}
	go func() { _ = t.server.Serve(ln) }()
	return t, nil
}

// Close stops the tool.
func (t *Tool) Close() { _ = t.server.Close() }

func (t *Tool) client(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	provider, err := oidc.NewProvider(ctx, t.cfg.Issuer)
	if err != nil {
		return nil, nil, err
	}
	return provider, &oauth2.Config{
		ClientID: t.cfg.ClientID, ClientSecret: t.cfg.Secret, Endpoint: provider.Endpoint(), RedirectURL: t.URL + "callback",
		Scopes: []string{"openid", "profile", "email", "groups"},
	}, nil
}

// maxBegun bounds the attempts that are remembered.
const maxBegun = 1000

func (t *Tool) home(w http.ResponseWriter, r *http.Request) {
	_, conf, err := t.client(r.Context())
	if err != nil {
		t.page(w, http.StatusBadGateway, toolPage{Problem: err.Error()})
		return
	}
	state := secret.Random()
	a := attempt{verifier: oauth2.GenerateVerifier(), nonce: secret.Random(), at: time.Now()}
	t.mu.Lock()
	for key, old := range t.begun {
		if len(t.begun) >= maxBegun || time.Since(old.at) > time.Hour {
			delete(t.begun, key)
		}
	}
	t.begun[state] = a
	t.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "tool_state", Value: state, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, conf.AuthCodeURL(state, oauth2.S256ChallengeOption(a.verifier), oidc.Nonce(a.nonce)), http.StatusFound)
}

func (t *Tool) callback(w http.ResponseWriter, r *http.Request) {
	claims, err := t.redeem(r)
	if err != nil {
		t.page(w, http.StatusForbidden, toolPage{Problem: err.Error()})
		return
	}
	t.page(w, http.StatusOK, *claims)
}

// signedOut is what the provider's page after a sign-out loads in a hidden frame
// (OpenID Connect Front-Channel Logout 1.0).
func (t *Tool) signedOut(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("iss") != t.cfg.Issuer {
		t.page(w, http.StatusForbidden, toolPage{Problem: "cette demande ne vient pas du service de connexion"})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "tool_state", Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors "+t.cfg.Issuer)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, "ok") // a frame that stays empty never says that it has loaded
}

func (t *Tool) redeem(r *http.Request) (*toolPage, error) {
	q := r.URL.Query()
	cookie, err := r.Cookie("tool_state")
	if err != nil || cookie.Value == "" || cookie.Value != q.Get("state") {
		return nil, errors.New("cette réponse n’a pas été demandée depuis ce navigateur")
	}
	t.mu.Lock()
	a, ok := t.begun[cookie.Value]
	delete(t.begun, cookie.Value)
	t.mu.Unlock()
	if !ok {
		return nil, errors.New("cette réponse a déjà servi")
	}
	if code := q.Get("error"); code != "" {
		return nil, fmt.Errorf("%s : %s", code, q.Get("error_description"))
	}
	provider, conf, err := t.client(r.Context())
	if err != nil {
		return nil, err
	}
	token, err := conf.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(a.verifier))
	if err != nil {
		return nil, err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: t.cfg.ClientID}).Verify(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	if id.Nonce != a.nonce {
		return nil, errors.New("le jeton ne répond pas à cette demande")
	}
	p := &toolPage{}
	return p, id.Claims(p)
}

// toolLogo is what the sign-in pages show beside the tool's name.
const toolLogo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48"><rect width="48" height="48" rx="10" fill="#245a78"/><path d="M19 11h10M21 11v10l-8 14a2 2 0 0 0 2 3h18a2 2 0 0 0 2-3l-8-14V11M16.5 29h15" fill="none" stroke="#fff" stroke-width="2.5" stroke-linecap="round" stroke-linejoin="round"/></svg>`

func (t *Tool) logo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = io.WriteString(w, toolLogo)
}

type toolPage struct {
	Tool, Portal, Problem string

	Name   string   `json:"name"`
	Login  string   `json:"preferred_username"`
	Mail   string   `json:"email"`
	Groups []string `json:"groups"`
	ACR    string   `json:"acr"`
	AMR    []string `json:"amr"`
}

var toolHTML = template.Must(template.New("").Parse(`<!doctype html>
<html lang="fr"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Tool}}</title></head>
<body><main><h1>{{.Tool}}</h1>
{{if .Problem}}<p>L’ouverture n’a pas abouti : {{.Problem}}</p>
{{else}}<p>Bonjour {{.Name}}. Voici ce que cette application a appris de vous, sans voir votre mot de passe :</p>
<dl><dt>preferred_username</dt><dd>{{.Login}}</dd><dt>email</dt><dd>{{.Mail}}</dd>
<dt>groups</dt><dd>{{range .Groups}}{{.}} {{end}}</dd><dt>acr</dt><dd>{{.ACR}}</dd><dt>amr</dt><dd>{{range .AMR}}{{.}} {{end}}</dd></dl>{{end}}
<p><a href="{{.Portal}}/">Revenir au portail</a></p></main></body></html>
`))

func (t *Tool) page(w http.ResponseWriter, status int, p toolPage) {
	p.Tool, p.Portal = t.cfg.Name, t.cfg.Portal
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = toolHTML.Execute(w, p)
}
