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

// authenticate tells which client sends the request: client_secret_basic,
// client_secret_post, or a public client by its client_id. Exactly one method
// (RFC 6749 §2.3). fosite calls it as its client authentication strategy.
func (p *Provider) authenticate(ctx context.Context, r *http.Request, form url.Values) (*Client, error) {
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		return nil, refused(fosite.ErrInvalidClient, "client assertions are not offered")
	}
	id, given := form.Get("client_id"), form.Get("client_secret")
	sent := given != "" // a parameter without a value counts as left out (RFC 6749 §3.2); Dovecot sends two such
	if headers := r.Header.Values("Authorization"); len(headers) > 0 {
		user, password, ok := r.BasicAuth()
		if !ok || len(headers) > 1 {
			return nil, refused(fosite.ErrInvalidClient, "one Authorization header, Basic, is expected")
		}
		if sent {
			return nil, refused(fosite.ErrInvalidRequest, "the client authenticates twice: by header and in the body")
		}
		// RFC 6749 §2.3.1 has both form-encoded; who does not encode sends the
		// same characters, since neither ids nor our secrets need encoding.
		user, password = formDecoded(user), formDecoded(password)
		if id != "" && id != user {
			return nil, refused(fosite.ErrInvalidRequest, "client_id differs from the Authorization header")
		}
		id, given, sent = user, password, true
	}
	if id == "" {
		return nil, refused(fosite.ErrInvalidClient, "the client does not say who it is")
	}
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
		if sent && given != "" {
			return nil, refused(fosite.ErrInvalidClient, "a public client sends no secret")
		}
		return c, nil
	}
	hashes := c.SecretHashes
	if len(hashes) == 0 {
		hashes = nobody
	}
	if !secretMatches(hashes, given) {
		p.refuse(ctx, nil, audit.Event{Action: "oidc.client", Application: c.ID, Detail: map[string]string{"reason": "secret"}})
		return nil, refused(fosite.ErrInvalidClient, "unknown client or wrong secret")
	}
	return c, nil
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

// refuse notes a refusal. A client that has proven who it is stands as the
// actor; everybody else is anonymous, and capped.
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
