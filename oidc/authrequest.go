package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"beffroi/internal/audit"
	"beffroi/internal/web"
	"beffroi/signin"
)

// promptValues is what prompt may say (discovery: prompt_values_supported).
var promptValues = []string{"none", "login", "consent", "select_account"}

// authRequest is an authorization request that has passed the front door.
type authRequest struct {
	client      *Client
	redirectURI string
	mode        string // how it is answered: one of responseModes
	state       string
	nonce       string
	challenge   string
	scopes      []string // granted
	prompt      string   // "", "none", "login" or "select_account", as signin understands it
	consent     bool     // prompt=consent: ask the person
	maxAge      *int64
	loginHint   string
	uiLocales   string
	hintSub     string // whom the id_token_hint names, as the client knows the person
	wish        acrWish
	claims      claimsRequest
	resources   string       // audiences that the tokens will be for
	least       signin.Level // what these ask of the sign-in, at least
	form        url.Values   // what has a meaning here, and nothing else
}

// meaningful parameters are kept across the sign-in; others are ignored.
var meaningful = []string{"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"response_mode", "prompt", "max_age", "login_hint", "ui_locales", "id_token_hint", "acr_values", "claims", resourceParameter}

// parseAuthorize reads a request in plain form, at the entry and again after
// the sign-in. Its errors are *authError, which may be sent to the application,
// or *web.Error, which must not: where the redirect URI is not known to be the
// application's, nothing is redirected.
func (p *Provider) parseAuthorize(ctx context.Context, form url.Values) (*authRequest, error) {
	again := repeated(form, resourceParameter)
	c, err := p.asking(ctx, form)
	if err != nil {
		return nil, err
	}
	a := &authRequest{client: c, redirectURI: form.Get("redirect_uri")}
	if len(form["redirect_uri"]) > 1 || !c.may(GrantCode) || !matchRedirect(c.RedirectURIs, a.redirectURI) {
		p.refuse(ctx, nil, audit.Event{Action: "oidc.authorize", Application: c.ID, Detail: map[string]string{"reason": "redirect_uri", "redirect_uri": a.redirectURI}})
		return nil, web.Fail(http.StatusBadRequest, "oidc.error.redirect", errors.New("redirect_uri is not registered for "+c.ID))
	}
	if len(form["state"]) == 1 {
		a.state = form.Get("state")
	}
	no := func(code, description string) error {
		return &authError{request: a, code: code, description: description}
	}
	if err := a.readMode(form, no); err != nil {
		return nil, err
	}
	if again != "" {
		return nil, no("invalid_request", "the parameter "+printable(again)+" stands twice")
	}
	if err := a.readShape(form, no); err != nil {
		return nil, err
	}
	if err := p.readScopes(ctx, a, form, no); err != nil {
		return nil, err
	}
	if err := p.readResources(ctx, a, form, no); err != nil {
		return nil, err
	}
	if err := a.readPKCE(form, no); err != nil {
		return nil, err
	}
	if err := p.readIdentity(ctx, a, form, no); err != nil {
		return nil, err
	}
	a.form = url.Values{}
	for _, name := range meaningful {
		if form.Has(name) {
			a.form[name] = form[name]
		}
	}
	if len(a.form.Encode()) > keptMost {
		return nil, no("invalid_request", "the request is too long")
	}
	return a, nil
}

// readShape reads how the request is made and answered.
func (a *authRequest) readShape(form url.Values, no func(code, description string) error) error {
	if form.Get("registration") != "" {
		return no("registration_not_supported", "the parameter registration is not offered")
	}
	switch form.Get("response_type") {
	case "code":
	case "":
		return no("invalid_request", "response_type is missing")
	default:
		return no("unsupported_response_type", "only response_type=code is offered")
	}
	if a.nonce = form.Get("nonce"); len(a.nonce) > 1024 {
		return no("invalid_request", "nonce is longer than 1024 characters")
	}
	if a.client.isProConnect() && (a.nonce == "" || a.state == "") {
		// In place of PKCE, which it does not use, they tie the code to its request.
		return no("invalid_request", "state and nonce are required of this application")
	}
	return nil
}

// readScopes settles what is granted: a scope that nobody here knows is ignored
// (OpenID Connect Core §3.1.2.1), one that the application may not have is refused.
func (p *Provider) readScopes(ctx context.Context, a *authRequest, form url.Values, no func(code, description string) error) error {
	set, err := p.clients.snapshot(ctx)
	if err != nil {
		return err
	}
	for _, s := range words(form.Get("scope")) {
		switch {
		case slices.Contains(a.client.Scopes, s):
			if !slices.Contains(a.scopes, s) {
				a.scopes = append(a.scopes, s)
			}
		case set.scopes[s]:
			return no("invalid_scope", "the application may not ask for the scope "+printable(s))
		}
	}
	return nil
}

// readPKCE: S256 and nothing else, required unless waived for the application.
func (a *authRequest) readPKCE(form url.Values, no func(code, description string) error) error {
	a.challenge = form.Get("code_challenge")
	method := form.Get("code_challenge_method")
	switch {
	case a.challenge == "" && method != "":
		return no("invalid_request", "code_challenge is missing")
	case a.challenge == "" && a.client.PKCEWaived:
		return nil
	case a.challenge == "":
		return no("invalid_request", "PKCE is required: code_challenge is missing")
	case method != "S256":
		return no("invalid_request", "code_challenge_method must be S256")
	case len(a.challenge) != 43 || !hashToken.MatchString(a.challenge):
		return no("invalid_request", "code_challenge must be a SHA-256 in base64url, 43 characters")
	}
	return nil
}

// readIdentity reads what the request says of the person and of the sign-in.
func (p *Provider) readIdentity(ctx context.Context, a *authRequest, form url.Values, no func(code, description string) error) error {
	prompts := words(form.Get("prompt"))
	for _, s := range prompts {
		if !slices.Contains(promptValues, s) {
			return no("invalid_request", "this prompt is not offered")
		}
	}
	switch {
	case slices.Contains(prompts, "none"):
		if len(prompts) > 1 {
			return no("invalid_request", "prompt=none stands alone")
		}
		a.prompt = "none"
	case slices.Contains(prompts, "login"):
		a.prompt = "login" // asks whose name and password, whoever is signed in
	case slices.Contains(prompts, signin.SelectAccount):
		a.prompt = signin.SelectAccount
	}
	a.consent = slices.Contains(prompts, "consent")
	if form.Has("max_age") {
		n, ok := seconds(form.Get("max_age"))
		if !ok {
			return no("invalid_request", "max_age must be a number of seconds") // T2
		}
		a.maxAge = &n
	} else if a.client.DefaultMaxAge != nil {
		a.maxAge = a.client.DefaultMaxAge
	}
	a.loginHint, a.uiLocales = form.Get("login_hint"), form.Get("ui_locales")
	var err error
	if a.claims, err = readClaims(form.Get("claims")); err != nil {
		return no("invalid_request", "claims "+err.Error())
	}
	// acr_values is a wish, in order of preference (§3.1.2.1); what claims says
	// of acr is said more exactly.
	a.wish = a.claims.acr
	if len(a.wish.names) == 0 {
		a.wish = acrWish{names: words(form.Get("acr_values"))}
	}
	if len(a.wish.names) == 0 {
		a.wish.names = a.client.DefaultACRs
	}
	if _, ok := a.wish.level(p.signin.Highest()); !ok {
		return no("unmet_authentication_requirements", "no sign-in here proves what acr asks")
	}
	if form.Get("id_token_hint") != "" {
		hint, err := p.readHint(ctx, form.Get("id_token_hint"))
		if err != nil || hint.client != a.client.ID {
			return no("invalid_request", "id_token_hint is not an ID token of this application")
		}
		a.hintSub = hint.sub
		if a.loginHint == "" {
			a.loginHint = hint.login
		}
	}
	return nil
}

// seconds reads a plain decimal number, at most ten digits.
func seconds(s string) (int64, bool) {
	if s == "" || len(s) > 10 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// request is the accepted request as fosite reads it. What fosite is strict
// about without need is made plain first: a state is always there (T12), only
// granted scopes are asked.
func (a *authRequest) request() *http.Request {
	form := url.Values{}
	for name, values := range a.form {
		form[name] = values
	}
	form.Set("scope", strings.Join(a.scopes, " "))
	form.Set("state", "ours")
	form.Del("response_mode")
	form.Del(resourceParameter)
	return &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/oauth2/authorize"}, Header: http.Header{}, Form: form, PostForm: url.Values{}}
}
