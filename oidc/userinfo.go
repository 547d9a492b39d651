package oidc

import (
	"io"
	"net/http"
	"strings"

	"github.com/ory/fosite"

	"beffroi/directory"
	"beffroi/signin"
)

var (
	// errNoToken has no code: RFC 6750 §3.1 wants a bare challenge.
	errNoToken      = &fosite.RFC6749Error{ErrorField: "", DescriptionField: "an access token is needed", CodeField: http.StatusUnauthorized}
	errInvalidToken = &fosite.RFC6749Error{ErrorField: "invalid_token", DescriptionField: "the access token is unknown, expired, ended or for another audience", CodeField: http.StatusUnauthorized}
	errWeak         = &fosite.RFC6749Error{ErrorField: "insufficient_user_authentication", DescriptionField: "the application asks a stronger sign-in than the one behind this token", CodeField: http.StatusUnauthorized}
)

// errTooWeak asks for a stronger sign-in, by the name that the application would
// ask it by (RFC 9470 §3).
type errTooWeak struct{ acr string }

func (errTooWeak) Error() string { return errWeak.ErrorField }
func (errTooWeak) Unwrap() error { return errWeak }

func errScope(scope string) error {
	return &fosite.RFC6749Error{ErrorField: "insufficient_scope", DescriptionField: "the access token needs the scope " + scope, CodeField: http.StatusForbidden}
}

// userinfo is GET and POST /userinfo (OpenID Connect Core §5.3).
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) error {
	plain, err := bearerToken(r)
	if err != nil {
		return p.writeBearerError(w, err)
	}
	person, c, l, err := p.personOf(r, plain, "openid")
	if err != nil {
		return p.writeBearerError(w, err)
	}
	claims := p.userinfoClaims(r.Context(), c, person, l)
	if c.UserinfoAlg == "" {
		return writeJSON(w, http.StatusOK, claims)
	}
	// Signed for an application that is registered so, whatever its Accept
	// header says (OpenID Connect Core §5.3.2). Without exp: no ID token.
	claims["iss"], claims["aud"] = p.cfg.Issuer, c.ID
	token, err := p.keys.sign(r.Context(), c.UserinfoAlg, typJWT, claims)
	if err != nil {
		return p.writeBearerError(w, err)
	}
	return writeJWT(w, "application/jwt", token)
}

// writeJWT answers with a signed token that nobody may keep.
func writeJWT(w http.ResponseWriter, contentType, token string) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	_, err := io.WriteString(w, token)
	return err
}

// personOf is the person behind a token with the scope, as the gate sees the
// person now, and the application that the token was issued to.
func (p *Provider) personOf(r *http.Request, plain, scope string) (directory.Person, *Client, *living, error) {
	l, c, err := p.bearer(r, plain, scope)
	if err != nil {
		return directory.Person{}, nil, nil, err
	}
	person, err := p.admitNow(r.Context(), c, l)
	switch why := signin.Refused(err); {
	case why == nil:
	case why.Reason == signin.TooWeak:
		return directory.Person{}, nil, nil, errTooWeak{acrName(c.app.Policy.Least(), acrWish{}.vocabulary(c))}
	default:
		return directory.Person{}, nil, nil, errInvalidToken.WithWrap(err)
	}
	return person, c, l, err
}

// bearerToken finds the token of a request (RFC 6750 §2.1, §2.2): in the
// header, or in the posted form, not in both and never in the address.
func bearerToken(r *http.Request) (string, error) {
	posted := ""
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "" && r.ContentLength != 0 {
		form, err := postedForm(r)
		if err != nil {
			return "", err
		}
		posted = form.Get("access_token")
	}
	if len(r.Header.Values("Authorization")) == 0 {
		return posted, nil
	}
	if posted != "" {
		return "", refused(fosite.ErrInvalidRequest, "the token stands more than once")
	}
	return headerToken(r)
}

// headerToken finds the token in the header alone (RFC 6750 §2.1): for resources
// whose requests have bodies of their own, which is left unread. Empty without one.
func headerToken(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", nil
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if len(headers) > 1 {
		return "", refused(fosite.ErrInvalidRequest, "the token stands more than once")
	}
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	return strings.TrimSpace(token), nil
}
