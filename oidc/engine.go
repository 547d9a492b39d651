package oidc

import (
	"context"
	"crypto/sha512"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/ory/fosite"
	"github.com/ory/fosite/token/jwt"

	"beffroi/directory"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Prefixes tell secrets apart in logs that should not have them, and let a
// scanner find one that was committed somewhere.
const (
	prefixCode    = "bfc_"
	prefixAccess  = "bfa_"
	prefixRefresh = "bfr_"
	prefixDevice  = "bfd_"
)

// newSecret returns a token of 256 random bits and the hash it is stored as.
func newSecret(prefix string) (plain, hash string) {
	plain = prefix + secret.Random()
	return plain, secret.Hash(plain)
}

// newEngine sets up fosite's core: it reads requests, dispatches to the grants
// of this folder and names errors. Every field is set here, because fosite
// fills the empty ones lazily, which is a data race (trap T10).
func (p *Provider) newEngine() *fosite.Fosite {
	none := template.Must(template.New("form_post").Parse(""))
	client := retryablehttp.NewClient()
	client.RetryMax = 0
	client.Logger = nil
	return fosite.NewOAuth2Provider(fositeStore{p.clients}, &fosite.Config{
		AccessTokenLifespan:                p.cfg.AccessLife,
		VerifiableCredentialsNonceLifespan: time.Minute,
		RefreshTokenLifespan:               p.cfg.RefreshLife,
		AuthorizeCodeLifespan:              p.cfg.CodeLife,
		IDTokenLifespan:                    p.cfg.IDTokenLife,
		IDTokenIssuer:                      p.cfg.Issuer,
		HashCost:                           12,
		DisableRefreshTokenValidation:      true,
		SendDebugMessagesToClients:         false,
		ScopeStrategy:                      fosite.ExactScopeStrategy,
		AudienceMatchingStrategy:           fosite.ExactAudienceMatchingStrategy,
		EnforcePKCE:                        true,
		EnforcePKCEForPublicClients:        true,
		EnablePKCEPlainChallengeMethod:     false,
		AllowedPromptValues:                promptValues,
		TokenURL:                           p.cfg.Issuer + "/oauth2/token",
		JWKSFetcherStrategy:                noFetch{},
		TokenEntropy:                       32,
		RedirectSecureChecker:              fosite.IsRedirectURISecureStrict,
		RefreshTokenScopes:                 []string{},
		MinParameterEntropy:                1, // state is optional (T12)
		UseLegacyErrorFormat:               false,
		GrantTypeJWTBearerMaxDuration:      time.Minute,
		ClientAuthenticationStrategy: func(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
			c, err := p.authenticate(ctx, r, form)
			if err != nil {
				return nil, err
			}
			return fositeClient{c}, nil
		},
		ResponseModeHandlerExtension:    &fosite.DefaultResponseModeHandler{},
		MessageCatalog:                  nil, // errors of the protocol are in English
		FormPostHTMLTemplate:            none,
		OmitRedirectScopeParam:          true,
		SanitationWhiteList:             []string{"code", "redirect_uri"},
		JWTScopeClaimKey:                jwt.JWTScopeFieldString,
		AccessTokenIssuer:               p.cfg.Issuer,
		ClientSecretsHasher:             noHasher{},
		HTTPClient:                      client,
		AuthorizeEndpointHandlers:       fosite.AuthorizeEndpointHandlers{&codeGrant{p}},
		TokenEndpointHandlers:           fosite.TokenEndpointHandlers{&codeGrant{p}, &refreshGrant{p}, &clientGrant{p}, &exchangeGrant{p}, &deviceGrant{p}, &bearerGrant{p}},
		TokenIntrospectionHandlers:      fosite.TokenIntrospectionHandlers{},
		RevocationHandlers:              fosite.RevocationHandlers{},
		PushedAuthorizeEndpointHandlers: fosite.PushedAuthorizeEndpointHandlers{},
		GlobalSecret:                    []byte(secret.Random())[:32], // of nothing: no token here is an HMAC
		RotatedGlobalSecrets:            [][]byte{},
		HMACHasher:                      sha512.New512_256,
		PushedAuthorizeRequestURIPrefix: "urn:ietf:params:oauth:request_uri:",
		PushedAuthorizeContextLifespan:  time.Minute,
		IsPushedAuthorizeEnforced:       false,
	})
}

// issue is one authorization or token request on its way: what fosite carries
// from reading the request to answering it.
type issue struct {
	client   *Client
	targets  []*Client        // the resources that the access token is for; none, the provider
	source   *Client          // of an exchange: whom the subject token was issued to, when that is another
	grant    grant            // the authorization behind it; zero for an application itself
	person   directory.Person // as the gate saw the person, just now
	scopes   []string         // of the access token
	granted  []string         // with targets: the scopes before they were narrowed to those
	spends   string           // hash of the code or refresh token that is used up
	stores   token            // what the answer stores
	asserted *assertion       // of a JWT bearer grant: used up
	tells    string           // of an exchange: issued_token_type
	expires  map[fosite.TokenType]time.Time
}

// idScopes are the scopes of the ID token.
func (i *issue) idScopes() []string {
	if i.granted != nil {
		return i.granted
	}
	return i.scopes
}

func (i *issue) SetExpiresAt(t fosite.TokenType, at time.Time) {
	if i.expires == nil {
		i.expires = map[fosite.TokenType]time.Time{}
	}
	i.expires[t] = at
}
func (i *issue) GetExpiresAt(t fosite.TokenType) time.Time { return i.expires[t] }
func (i *issue) GetUsername() string                       { return i.person.Login }
func (i *issue) GetSubject() string                        { return i.grant.Person }
func (i *issue) Clone() fosite.Session                     { c := *i; return &c }

// issueOf returns what the grants of this folder put into a request.
func issueOf(r fosite.Requester) *issue {
	i, _ := r.GetSession().(*issue)
	return i
}

// fositeClient shows a Client to fosite. Its secret is never compared there.
type fositeClient struct{ *Client }

func (c fositeClient) GetID() string                      { return c.ID }
func (c fositeClient) GetHashedSecret() []byte            { return nil }
func (c fositeClient) GetRedirectURIs() []string          { return c.RedirectURIs }
func (c fositeClient) GetGrantTypes() fosite.Arguments    { return c.Grants }
func (c fositeClient) GetResponseTypes() fosite.Arguments { return fosite.Arguments{"code"} }
func (c fositeClient) GetScopes() fosite.Arguments        { return c.Scopes }
func (c fositeClient) IsPublic() bool                     { return c.Public }
func (c fositeClient) GetAudience() fosite.Arguments      { return nil }
func (c fositeClient) GetResponseModes() []fosite.ResponseModeType {
	return []fosite.ResponseModeType{fosite.ResponseModeDefault, fosite.ResponseModeQuery}
}

// fositeStore is all the storage that fosite's core asks for. The grants of
// this folder use the store directly.
type fositeStore struct{ clients *Clients }

func (s fositeStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	c, err := s.clients.Get(ctx, id)
	if err != nil {
		return nil, fosite.ErrNotFound.WithWrap(err)
	}
	return fositeClient{c}, nil
}

// Client assertions are read and remembered in assertion.go, never by fosite.
func (fositeStore) ClientAssertionJWTValid(context.Context, string) error {
	return fosite.ErrJTIKnown
}

func (fositeStore) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return fosite.ErrJTIKnown
}

// noHasher stands where fosite would put bcrypt: secrets are compared in
// clientauth.go and never by fosite.
type noHasher struct{}

func (noHasher) Compare(context.Context, []byte, []byte) error { return fosite.ErrInvalidClient }
func (noHasher) Hash(context.Context, []byte) ([]byte, error)  { return nil, fosite.ErrServerError }

// noFetch never fetches a client's keys: clientkeys.go does.
type noFetch struct{}

func (noFetch) Resolve(context.Context, string, bool) (*jose.JSONWebKeySet, error) {
	return nil, fosite.ErrInvalidClient
}

// words splits a space-separated list.
func words(s string) []string { return strings.Fields(s) }

// soonest is the earlier of two moments.
func soonest(a, b time.Time) db.Time {
	if b.Before(a) {
		return db.At(b)
	}
	return db.At(a)
}
