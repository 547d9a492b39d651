package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// typeClientAssertion is the only client_assertion_type (RFC 7523 §2.2).
const typeClientAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Bounds of an assertion: how far ahead it may expire, so that what must be
// remembered of it is little, and how far another clock may be ahead of ours.
const (
	assertionMost = 5 * time.Minute
	clockSkew     = 10 * time.Second
)

// assertion is a signed statement whose signature, audience and times are good
// (RFC 7523 §3). Whether issuer and subject are who they should be is the
// caller's affair, and so is spending it.
type assertion struct {
	issuer, subject, jti string
	ends                 time.Time
	issued               time.Time // zero without iat
	claims               map[string]any
}

// errAssertion is an assertion that is signed as it should be and says what it
// must not. Its text may be told: whoever reads it holds the key.
type errAssertion struct{ says string }

func (e *errAssertion) Error() string { return e.says }

// errReplayed is returned for an assertion that was used before.
var errReplayed = &errAssertion{"was used before: each needs a jti of its own"}

// readAssertion verifies token by the keys of source. Its aud must be exactly
// one of here, so that an assertion made for another server, or for two,
// is not taken here. An error of type *errAssertion means the signature was good.
func (p *Provider) readAssertion(ctx context.Context, source keySource, token string, algs, here []string) (*assertion, error) {
	t, err := p.foreign.verify(ctx, source, token, algs)
	if err != nil {
		return nil, err
	}
	// Something else that the same key signs is no assertion: a request object,
	// a logout token, an access token say so in typ (RFC 8725 §3.11).
	typ := strings.TrimPrefix(strings.ToLower(t.typ), "application/")
	if strings.HasSuffix(typ, "+jwt") && typ != "client-authentication+jwt" {
		return nil, &errAssertion{"is of another typ than an assertion"}
	}
	a := &assertion{claims: t.claims}
	a.issuer, _ = t.claims["iss"].(string)
	a.subject, _ = t.claims["sub"].(string)
	a.jti, _ = t.claims["jti"].(string)
	now := p.now()
	ends, hasEnd := moment(t.claims["exp"])
	a.ends = ends
	aud := audiences(t.claims["aud"])
	switch {
	case a.issuer == "" || a.subject == "":
		return nil, &errAssertion{"needs iss and sub"}
	case len(aud) != 1 || !slices.Contains(here, aud[0]):
		return nil, &errAssertion{"must have one aud, exactly " + strings.Join(here, " or ")}
	case a.jti == "" || len(a.jti) > 512:
		return nil, &errAssertion{"needs a jti of at most 512 characters"}
	case !hasEnd:
		return nil, &errAssertion{"needs exp, in seconds"}
	case !now.Before(ends):
		return nil, &errAssertion{"has expired"}
	case ends.After(now.Add(assertionMost + clockSkew)):
		return nil, &errAssertion{"expires more than 5 minutes ahead"}
	}
	for _, name := range []string{"nbf", "iat"} {
		if v, has := t.claims[name]; has {
			at, ok := moment(v)
			if !ok || at.After(now.Add(clockSkew)) {
				return nil, &errAssertion{"has its " + name + " in the future, or not in seconds"}
			}
			if name == "iat" {
				a.issued = at
			}
		}
	}
	return a, nil
}

// spend marks an assertion used: errReplayed for all but the first who tries.
func (s *store) spend(ctx context.Context, a *assertion) error {
	n, err := s.db.Exec(ctx, "INSERT INTO oidc_assertion (id, ends) VALUES ($1, $2) ON CONFLICT DO NOTHING",
		secret.Hash(fmt.Sprintf("%q %q", a.issuer, a.jti)), db.At(a.ends.Add(time.Minute))) // the clocks of two replicas differ
	if err != nil {
		return fmt.Errorf("remember assertion: %w", err)
	}
	if n == 0 {
		return errReplayed
	}
	return nil
}

// authenticateByKey is private_key_jwt (OpenID Connect Core §9).
func (p *Provider) authenticateByKey(ctx context.Context, r *http.Request, id, token string) (*Client, error) {
	if id == "" {
		_, id = asserts(token)
	}
	c, err := p.clients.Get(ctx, id)
	if err != nil && !errors.Is(err, ErrUnknownClient) {
		return nil, err
	}
	no := func(reason, format string, args ...any) error {
		event := audit.Event{Action: "oidc.client", Detail: map[string]string{"reason": reason}}
		if c != nil {
			event.Application = c.ID
		} else {
			event.Detail["client_id"] = id
		}
		p.refuse(ctx, nil, event)
		return refused(fosite.ErrInvalidClient, format, args...)
	}
	if c == nil || !c.accepts(AuthKey) {
		_, _ = p.foreign.verify(ctx, keySource{set: json.RawMessage(nobodysKeys)}, token, foreignAlgs) // answers as late
		return nil, no("unknown", "unknown client or wrong assertion")
	}
	algs := foreignAlgs
	if c.AssertionAlg != "" {
		algs = []string{c.AssertionAlg}
	}
	// The endpoint's own address is what some libraries name (RFC 9126 §2).
	a, err := p.readAssertion(ctx, c.keys(), token, algs, []string{p.cfg.Issuer, p.cfg.Issuer + "/oauth2/token", p.cfg.Issuer + r.URL.Path})
	if err == nil && (a.issuer != c.ID || a.subject != c.ID) {
		err = &errAssertion{"must have iss and sub equal to client_id"}
	}
	if err == nil {
		err = p.store.spend(ctx, a)
	}
	var says *errAssertion
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, errReplayed):
		return nil, no("replayed", "the client assertion %s", errReplayed.says)
	case errors.As(err, &says):
		return nil, no("assertion", "the client assertion %s", says.says)
	case ctx.Err() != nil:
		return nil, err
	}
	p.log.InfoContext(ctx, "client assertion refused", "application", c.ID, "error", err)
	return nil, no("assertion", "unknown client or wrong assertion")
}

// asserts is whom an assertion claims to be of, before anything of it is
// believed: it chooses the keys that must then verify it.
func asserts(token string) (issuer, subject string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > tokenMost {
		return "", ""
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err != nil || json.Unmarshal(b, &claims) != nil {
		return "", ""
	}
	return claims.Issuer, claims.Subject
}

// nobodysKeys verify an assertion of an unknown client, in vain: their private
// halves were thrown away.
const nobodysKeys = `{"keys":[
{"kty":"RSA","e":"AQAB","n":"nmS3FfgxGcbiHXd8PHOEmwC0xEPJSynkwDAMGnXP-7TTXvKlhuny3TP-70QEgI4pV17M2AzwuLVxWxS_4dUTqCO9dAO24QAuR-YR1yVNKhO2nLhQdWVpTBsOfUskhGE99CZgK-CNsWXIhZ6cfUPMjx27wqgPZMUeXhsiygeI3VUoxiIhf7kgYdrZTDmDqqGlxNtKjvWppBtiQ4J_OF1ntJWPcLpwng6usSyllbtZ-yNyCyAPrnTIg00t1sFDZIosO_tE0FCodMR9PzwFZaD4vilk3Fk5eYwAtkv3VmVYyP1FdLKU0xGa23pM0j69t_YHn46M3vz__eadkzZWWOLeDQ"},
{"kty":"EC","crv":"P-256","x":"ZHXFkNuaCCdYdJOOad3X3JjidwJfLVJRezHT4DeEodY","y":"nxy7ju_ej44GwnL5mocSgCh3wO30RXACVa553gGJuPg"},
{"kty":"OKP","crv":"Ed25519","x":"zuKRdEq00kh2ucQMX87mE0fQYT6schXCBL_k8NkrF3g"}]}`
