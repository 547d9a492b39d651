package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ory/fosite"

	"beffroi/internal/audit"
	"beffroi/internal/secret"
)

// nobody is compared when there is no client or no secret, so that an unknown
// client answers as late as a wrong secret.
var nobody = []string{secret.Hash("nobody has this secret")}

// authenticate tells which client sends the request, by exactly one method (RFC
// 6749 §2.3): client_secret_basic, client_secret_post, private_key_jwt, or for a
// public client its client_id. fosite calls it as its client authentication
// strategy, every other endpoint of applications calls it itself.
func (p *Provider) authenticate(ctx context.Context, r *http.Request, form url.Values) (*Client, error) {
	// A parameter without a value counts as left out (RFC 6749 §3.2): Dovecot sends two such.
	id, given, assertion := form.Get("client_id"), form.Get("client_secret"), form.Get("client_assertion")
	headers := r.Header.Values("Authorization")
	method, ways := AuthNone, 0
	for _, way := range []struct {
		sent   bool
		method string
	}{{len(headers) > 0, AuthBasic}, {given != "", AuthPost}, {assertion != "" || form.Get("client_assertion_type") != "", AuthKey}} {
		if way.sent {
			method = way.method
			ways++
		}
	}
	if ways > 1 {
		return nil, refused(fosite.ErrInvalidRequest, "the client authenticates in more than one way: by header, secret or assertion, only one of them")
	}
	switch method {
	case AuthBasic:
		user, password, ok := r.BasicAuth()
		if !ok || len(headers) > 1 {
			return nil, refused(fosite.ErrInvalidClient, "one Authorization header, Basic, is expected")
		}
		// RFC 6749 §2.3.1 has both form-encoded; who does not encode sends the
		// same characters, since neither ids nor our secrets need encoding.
		user, given = formDecoded(user), formDecoded(password)
		if id != "" && id != user {
			return nil, refused(fosite.ErrInvalidRequest, "client_id differs from the Authorization header")
		}
		id = user
	case AuthKey:
		if form.Get("client_assertion_type") != typeClientAssertion || assertion == "" {
			return nil, refused(fosite.ErrInvalidClient, "client_assertion needs client_assertion_type, exactly %s", typeClientAssertion)
		}
		return p.authenticateByKey(ctx, r, id, assertion)
	}
	if id == "" {
		return nil, refused(fosite.ErrInvalidClient, "the client does not say who it is")
	}
	return p.authenticateBySecret(ctx, id, method, given)
}

// authenticateBySecret compares before it looks at anything else, so that what
// an answer says and how long it takes tells a stranger nothing.
func (p *Provider) authenticateBySecret(ctx context.Context, id, method, given string) (*Client, error) {
	c, err := p.clients.Get(ctx, id)
	if errors.Is(err, ErrUnknownClient) {
		secretMatches(nobody, given)
		p.refuse(ctx, nil, audit.Event{Action: "oidc.client", Detail: map[string]string{"reason": "unknown", "client_id": id}})
		return nil, refused(fosite.ErrInvalidClient, "unknown client or wrong secret")
	}
	if err != nil {
		return nil, err
	}
	if c.Public {
		if given != "" {
			return nil, refused(fosite.ErrInvalidClient, "a public client sends no secret")
		}
		return c, nil
	}
	hashes := c.liveSecrets(p.now())
	if len(hashes) == 0 {
		hashes = nobody
	}
	if !secretMatches(hashes, given) {
		p.refuse(ctx, nil, audit.Event{Action: "oidc.client", Application: c.ID, Detail: map[string]string{"reason": "secret"}})
		return nil, refused(fosite.ErrInvalidClient, "unknown client or wrong secret")
	}
	if !c.accepts(method) {
		p.refuse(ctx, nil, audit.Event{Action: "oidc.client", Application: c.ID, Detail: map[string]string{"reason": "method", "method": method}})
		return nil, refused(fosite.ErrInvalidClient, "the client is registered to authenticate by %s", c.AuthMethod)
	}
	return c, nil
}

// accepts tells whether the client may authenticate by a method.
func (c *Client) accepts(method string) bool {
	switch {
	case c.Public:
		return method == AuthNone
	case c.AuthMethod != "":
		return method == c.AuthMethod
	}
	return method == AuthBasic || method == AuthPost
}

// confidential is authenticate for endpoints where a name alone is no proof.
func (p *Provider) confidential(ctx context.Context, r *http.Request, form url.Values) (*Client, error) {
	c, err := p.authenticate(ctx, r, form)
	if err == nil && c.Public {
		return nil, refused(fosite.ErrInvalidClient, "a public client may not ask this")
	}
	return c, err
}

// secretMatches looks at every hash, whichever matches.
func secretMatches(hashes []string, given string) bool {
	hash, ok := secret.Hash(given), false
	for _, h := range hashes {
		ok = secret.Equal(h, hash) || ok
	}
	return ok && given != ""
}

func formDecoded(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return decoded
}

// refuse notes a refusal, within the audit's caps. A client that has proven who
// it is stands as the actor; everybody else is anonymous.
func (p *Provider) refuse(ctx context.Context, c *Client, e audit.Event) {
	e.Outcome = "refused"
	if c != nil && e.Application == "" {
		e.Application = c.ID
	}
	p.audit.Refuse(ctx, actorOf(c), e)
}

func actorOf(c *Client) audit.Actor {
	if c == nil || c.Public {
		return audit.Anonymous()
	}
	return audit.Application(c.ID)
}
