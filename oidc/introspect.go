package oidc

import (
	"cmp"
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ory/fosite"

	"beffroi/internal/db"
	"beffroi/signin"
)

// inactive is all that a client learns about a token that is not its business,
// or not a token (RFC 7662 §2.2).
var inactive = map[string]any{"active": false}

// introspect is POST /oauth2/introspect. Only the client that a token was
// issued to and the audience that it was made for see inside (T8).
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) error {
	form, err := postedForm(r)
	if err != nil {
		return p.writeError(w, err)
	}
	c, err := p.confidential(r.Context(), r, form)
	if err != nil {
		return p.writeError(w, err)
	}
	if form.Get("token") == "" {
		return p.writeError(w, refused(fosite.ErrInvalidRequest, "token is missing"))
	}
	answer, err := p.describe(r.Context(), c, form.Get("token"))
	if err != nil {
		return p.writeError(w, err)
	}
	if !acceptsMedia(r, introspectionJWT) {
		return writeJSON(w, http.StatusOK, answer)
	}
	token, err := p.keys.sign(r.Context(), cmp.Or(c.IntrospectionAlg, RS256), typIntrospection,
		map[string]any{"iss": p.cfg.Issuer, "aud": c.ID, "iat": p.now().Unix(), "token_introspection": answer})
	if err != nil {
		return p.writeError(w, err)
	}
	return writeJWT(w, introspectionJWT, token)
}

// introspectionJWT is the form of RFC 9701 §4, signed, for who asks for it.
const introspectionJWT = "application/token-introspection+jwt"

// acceptsMedia tells whether the request names the media type among what it accepts
// (RFC 9110 §12.5.1), with any weight but 0.
func acceptsMedia(r *http.Request, media string) bool {
	for _, header := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(header, ",") {
			name, parameters, err := mime.ParseMediaType(one)
			if err != nil || name != media {
				continue
			}
			q, err := strconv.ParseFloat(parameters["q"], 64)
			return err != nil || q > 0
		}
	}
	return false
}

// describe is what c learns about a token.
func (p *Provider) describe(ctx context.Context, c *Client, plain string) (map[string]any, error) {
	l, err := p.store.find(ctx, plain)
	if errors.Is(err, db.ErrNotFound) {
		return inactive, nil
	}
	if err != nil {
		return nil, err
	}
	if l.Client != c.ID && (l.Refresh || !audienceHas(l.Audience, c.Audience)) {
		return inactive, nil
	}
	issuedTo, err := p.clients.Get(ctx, l.Client)
	if errors.Is(err, ErrUnknownClient) {
		return inactive, nil // removed
	}
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"active": true, "scope": l.Scope, "client_id": l.Client, "iss": p.cfg.Issuer, "iat": l.Created.Unix(), "exp": l.Ends.Unix()}
	if !l.Refresh {
		answer["token_type"] = "Bearer"
	}
	if l.Audience != "" {
		answer["aud"] = words(l.Audience)
	} else {
		answer["aud"] = []string{l.Client}
	}
	if l.Actors != "" {
		answer["act"] = actorClaim(l.Actors)
	}
	if l.grant.ID == "" {
		answer["sub"] = l.Client
		return answer, nil
	}
	person, err := p.admitNow(ctx, issuedTo, l)
	if signin.Refused(err) != nil {
		return inactive, nil
	}
	if err != nil {
		return nil, err
	}
	// A pairwise application must not find the person again by what no scope told it.
	tells := func(scope string) bool {
		return c.SubjectType != SubjectPairwise || slices.Contains(words(l.Scope), scope)
	}
	answer["sub"] = p.subject(c, person.ID)
	l.grant.putProof(answer)
	if l.grant.SID != "" {
		answer["sid"] = l.grant.SID
	}
	if tells("profile") {
		answer["username"] = person.Login
	}
	if person.Mail != "" && tells("email") {
		answer["email"] = person.Mail
	}
	if tells("groups") {
		putGroups(answer, person.Groups)
	}
	return answer, nil
}

// bearer returns the living access token that a person's application was given,
// with the scope it needs.
func (p *Provider) bearer(r *http.Request, plain, scope string) (*living, *Client, error) {
	l, c, err := p.livingBearer(r.Context(), plain)
	if err != nil {
		return nil, nil, err
	}
	if l.grant.ID == "" || !slices.Contains(words(l.Scope), scope) {
		return nil, nil, errScope(scope)
	}
	return l, c, nil
}

// livingBearer returns the living access token of a request to a resource of the
// provider itself, and whose it is. Tokens made for another audience are not for
// here: a mail server must not read the directory with them.
func (p *Provider) livingBearer(ctx context.Context, plain string) (*living, *Client, error) {
	if plain == "" {
		return nil, nil, errNoToken
	}
	l, err := p.store.find(ctx, plain)
	if errors.Is(err, db.ErrNotFound) || err == nil && (l.Refresh || l.Audience != "") {
		return nil, nil, errInvalidToken
	}
	if err != nil {
		return nil, nil, err
	}
	c, err := p.clients.Get(ctx, l.Client)
	if errors.Is(err, ErrUnknownClient) {
		return nil, nil, errInvalidToken
	}
	return l, c, err
}

// ActsForItself returns the application behind a request's bearer token, in its header, which
// must be one that it was given for itself (client_credentials) with one of the
// scopes, and still may have them. Otherwise it has answered (RFC 6750 §3) and
// the error is for the handler to return. A token of a person's application is
// refused: what a person may do is not what the application may.
func (p *Provider) ActsForItself(w http.ResponseWriter, r *http.Request, scopes ...string) (application string, err error) {
	plain, err := headerToken(r)
	if err != nil {
		return "", p.writeBearerError(w, err)
	}
	l, c, err := p.livingBearer(r.Context(), plain)
	if err != nil {
		return "", p.writeBearerError(w, err)
	}
	has := only(words(l.Scope), c.Scopes)
	if l.grant.ID != "" || !c.may(GrantClientCredentials) || !slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(has, s) }) {
		return "", p.writeBearerError(w, errScope(strings.Join(scopes, " ")))
	}
	return c.ID, nil
}
