package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"beffroi/internal/audit"
)

// What bounds a request object.
const (
	objectMost  = tokenMost // bytes
	objectLife  = time.Hour // how far exp may lie ahead, and nbf and iat behind
	fetchesMost = 16        // at the same time: anybody may make us fetch
	fetchesEach = 4         // of one application, whose address may be slow
	uriMost     = 512       // OpenID Connect Core §6.2
)

// fetching counts the request objects that are being fetched.
type fetching struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by application
}

func (f *fetching) begin(client string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all >= fetchesMost || f.of[client] >= fetchesEach {
		return false
	}
	if f.of == nil {
		f.of = map[string]int{}
	}
	f.all++
	f.of[client]++
	return true
}

func (f *fetching) end(client string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.of[client]--; f.of[client] == 0 {
		delete(f.of, client)
	}
}

// objectForm reads a request object (RFC 9101, OpenID Connect Core §6.1) and
// returns the request that it holds in plain form. fosite never sees it: its own
// reading takes unsigned objects, loses numbers and adds the scopes that stand
// outside (T3, T4).
//
// What the object says is all that counts (RFC 9101 §6.3). Of what stands beside
// it in form, client_id is the exception, and response_type where the object
// has none, since OAuth 2.0 wants both there.
func (p *Provider) objectForm(ctx context.Context, c *Client, form url.Values, object string) (url.Values, error) {
	no := func(description string) error {
		return c.refuseForm(form, "invalid_request_object", "the request object "+description)
	}
	algs := foreignAlgs
	if c.RequestAlg != "" {
		algs = []string{c.RequestAlg}
	}
	t, err := p.foreign.verify(ctx, c.keys(), object, algs)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		p.refuse(ctx, nil, audit.Event{Action: "oidc.authorize", Application: c.ID, Detail: map[string]string{"reason": "request_object"}})
		p.log.InfoContext(ctx, "request object refused", "application", c.ID, "error", err)
		return nil, no("is not signed as registered, by " + strings.Join(algs, ", ") + ": an unsigned one is not taken")
	}
	if err := p.checkObject(c, t); err != nil {
		return nil, no(err.Error())
	}
	plain, err := objectParameters(t.claims)
	if err != nil {
		return nil, no(err.Error())
	}
	for _, name := range []string{"client_id", "response_type"} {
		outer := form.Get(name)
		if plain.Has(name) && outer != "" && plain.Get(name) != outer {
			return nil, no("has another " + name + " than stands beside it")
		}
		if !plain.Has(name) && outer != "" {
			plain.Set(name, outer)
		}
	}
	return plain, nil
}

// checkObject holds that a signed JWT is a request object, of this application,
// for this provider and for now.
func (p *Provider) checkObject(c *Client, t *foreignToken) error {
	// RFC 8725 §3.11, RFC 9101 §10.8: another JWT that the same key signs, a
	// client assertion say, is no request.
	switch typ := strings.TrimPrefix(strings.ToLower(t.typ), "application/"); typ {
	case "", "jwt", "oauth-authz-req+jwt":
	default:
		return errors.New("is of another typ")
	}
	if t.claims["sub"] == c.ID {
		return errors.New("has the application for its sub, as a client assertion has")
	}
	names := 0
	for _, name := range []string{"iss", "client_id"} {
		if v, has := t.claims[name]; has {
			if v != c.ID {
				return errors.New("is of another " + name)
			}
			names++
		}
	}
	if names == 0 {
		return errors.New("names its application neither as iss nor as client_id")
	}
	if aud, has := t.claims["aud"]; has && !slices.Contains(audiences(aud), p.cfg.Issuer) {
		return errors.New("is for another aud than " + p.cfg.Issuer)
	}
	for _, name := range []string{"request", "request_uri"} {
		if _, has := t.claims[name]; has {
			return errors.New("holds " + name) // RFC 9101 §4
		}
	}
	return checkTimes(t.claims, p.now())
}

// checkTimes honours exp, nbf and iat where they are given.
func checkTimes(claims map[string]any, now time.Time) error {
	if v, has := claims["exp"]; has {
		switch at, ok := moment(v); {
		case !ok:
			return errors.New("has an exp that is no number of seconds")
		case !now.Before(at):
			return errors.New("has expired")
		case at.After(now.Add(objectLife + clockSkew)):
			return errors.New("expires more than an hour ahead")
		}
	}
	for _, name := range []string{"nbf", "iat"} {
		v, has := claims[name]
		if !has {
			continue
		}
		switch at, ok := moment(v); {
		case !ok:
			return errors.New("has an " + name + " that is no number of seconds")
		case at.After(now.Add(clockSkew)):
			return errors.New("has its " + name + " in the future")
		case name == "nbf" && at.Before(now.Add(-objectLife-clockSkew)):
			return errors.New("has its nbf more than an hour ago")
		}
	}
	return nil
}

// objectParameters are the parameters of a request object as a form would have
// them: numbers as they are written (T3), claims as its JSON text, the others
// as text. Members that are no parameter are left out.
func objectParameters(claims map[string]any) (url.Values, error) {
	plain := url.Values{}
	for name, value := range claims {
		if !slices.Contains(meaningful, name) && name != "registration" {
			continue
		}
		switch v := value.(type) {
		case string:
			plain.Set(name, v)
		case json.Number:
			plain.Set(name, v.String())
		case map[string]any:
			text, err := json.Marshal(v)
			if err != nil || name != "claims" && name != "registration" {
				return nil, errors.New("has an object for " + name)
			}
			plain.Set(name, string(text))
		case []any:
			if plain[name] = audiences(v); plain[name] == nil || name != resourceParameter {
				return nil, errors.New("has a list for " + name)
			}
		default:
			return nil, errors.New("has neither text nor a number for " + name)
		}
	}
	return plain, nil
}

// fetchObject returns the request object behind a request_uri. Only addresses
// that are registered for the application are knocked at (OpenID Connect Core
// §6.2, require_request_uri_registration).
func (p *Provider) fetchObject(ctx context.Context, c *Client, form url.Values, uri string) (string, error) {
	no := func(code, description string) error { return c.refuseForm(form, code, description) }
	if len(c.RequestURIs) == 0 {
		return "", no("request_uri_not_supported", "the application has registered no request_uri")
	}
	// A fragment may be a hash of what lies there: it tells a cache that this has changed (§6.2). Nothing is kept here, and the
	// certification suite's fragment is the hash of something else.
	address := withoutFragment(uri)
	registered := slices.ContainsFunc(c.RequestURIs, func(one string) bool { return withoutFragment(one) == address })
	if len(uri) > uriMost || !registered {
		return "", no("invalid_request_uri", "request_uri is not registered for the application")
	}
	if !p.fetches.begin(c.ID) {
		return "", no("temporarily_unavailable", "too many request objects are being fetched, try again")
	}
	defer p.fetches.end(c.ID)
	body, err := p.outside.to(c, address).get(ctx, address, "application/oauth-authz-req+jwt, application/jwt", objectMost)
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		p.log.InfoContext(ctx, "request object not fetched", "application", c.ID, "error", err)
		return "", no("invalid_request_uri", "request_uri does not answer with a request object")
	}
	return strings.TrimSpace(string(body)), nil
}

// withoutFragment cuts an address before its fragment.
func withoutFragment(uri string) string {
	address, _, _ := strings.Cut(uri, "#")
	return address
}
