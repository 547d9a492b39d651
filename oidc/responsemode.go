package oidc

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// How the answer to an authorization request travels (OAuth 2.0 Multiple
// Response Types §2.1, Form Post Response Mode).
const (
	modeQuery    = "query"
	modeFragment = "fragment"
	modeFormPost = "form_post"
)

var responseModes = []string{modeQuery, modeFragment, modeFormPost}

// readMode settles how the application is answered, before anything of the
// request is refused: the refusal travels that way too. A mode that is not
// offered is refused by the usual way.
func (a *authRequest) readMode(form url.Values, no func(code, description string) error) error {
	types, asked := words(form.Get("response_type")), form.Get("response_mode")
	front := slices.Contains(types, "token") || slices.Contains(types, "id_token")
	a.mode = modeQuery
	if front {
		a.mode = modeFragment // what such a request expects, and its refusal with it
	}
	if len(form["response_mode"]) != 1 || asked == "" {
		return nil
	}
	switch {
	case !slices.Contains(responseModes, asked):
		return no("invalid_request", "response_mode must be query, fragment or form_post")
	case asked == modeFormPost && !strings.HasPrefix(a.redirectURI, "https:") && !strings.HasPrefix(a.redirectURI, "http:"):
		return no("invalid_request", "a form cannot be posted to an application's own scheme")
	case front && asked == modeQuery:
		return nil // never for those types; the type itself is refused next
	}
	a.mode = asked
	return nil
}

// redirectError is RFC 6749 §4.1.2.1.
func (p *Provider) redirectError(w http.ResponseWriter, r *http.Request, a *authRequest, code, description string) error {
	parameters := url.Values{"error": {code}}
	if description != "" {
		parameters.Set("error_description", description)
	}
	return p.redirectBack(w, r, a, parameters)
}

// redirectBack answers the application by the response mode of its request,
// with state as it came and iss (RFC 9207), which tells the application which
// provider answers.
func (p *Provider) redirectBack(w http.ResponseWriter, r *http.Request, a *authRequest, parameters url.Values) error {
	if a.state != "" {
		parameters.Set("state", a.state)
	}
	parameters.Set("iss", p.cfg.Issuer)
	to := ""
	switch a.mode {
	case modeFormPost:
		return p.postBack(w, r, a, parameters)
	case modeFragment:
		to = a.redirectURI + "#" + parameters.Encode() // none has a fragment: checkRegistered
	default:
		to = withParameters(a.redirectURI, parameters)
	}
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// postBack is a page that posts the answer to the application: by a script of
// ours, or by its button where scripts do not run. Its forms may end at this
// one application and nowhere else (T17).
func (p *Provider) postBack(w http.ResponseWriter, r *http.Request, a *authRequest, parameters url.Values) error {
	r = inLocales(r, a.form)
	lang := web.Lang(r.Context())
	page := &templates.OidcAnswer{Action: a.redirectURI, Application: a.client.app.Title(string(lang))}
	page.Title, page.Bare, page.JS = i18n.T(lang, "oidc.answer.title"), true, []string{"answer.js"}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		page.Fields = append(page.Fields, templates.OidcField{Name: name, Value: parameters.Get(name)})
	}
	scheme, rest, _ := strings.Cut(a.redirectURI, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	web.AllowFormAction(w, scheme+"://"+host)
	w.Header().Set("Cache-Control", "no-store")
	return web.Render(w, r, http.StatusOK, page)
}
