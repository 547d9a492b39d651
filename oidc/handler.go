package oidc

import (
	"net/http"

	"beffroi/internal/web"
)

// Mount adds the provider's routes.
func (p *Provider) Mount(mux web.Mux, site *web.Site) {
	mux.Handle("GET /.well-known/openid-configuration", site.API(p.public(p.discovery)))
	mux.Handle("GET /.well-known/oauth-authorization-server", site.API(p.public(p.discovery)))
	mux.Handle("GET /jwks", site.API(p.jwks))

	// A person's browser. The POSTs come from other sites and carry no cookie:
	// they are sent on as a GET. What changes something is posted to /confirm.
	mux.Handle("GET /oauth2/authorize", site.Browser(p.authorize))
	mux.Handle("POST /oauth2/authorize", site.API(p.authorizePost))
	mux.Handle("GET /oauth2/consent", site.Browser(p.consentPage))
	mux.Handle("POST /oauth2/consent", site.Browser(p.consentAnswer))
	mux.Handle("GET /account/applications", site.Browser(p.connectedPage))
	mux.Handle("POST /account/applications", site.Browser(p.disconnect))
	mux.Handle("GET /oauth2/logout", site.Browser(p.logout))
	mux.Handle("POST /oauth2/logout", site.API(p.logoutPost))
	mux.Handle("POST /oauth2/logout/confirm", site.Browser(p.logoutConfirm))
	mux.Handle("GET /device", site.Browser(p.showDevice))
	mux.Handle("POST /device", site.Browser(p.postDevice))
	mux.Handle("GET /device/confirm", site.Browser(p.showDeviceConfirm))
	mux.Handle("POST /device/confirm", site.Browser(p.postDeviceConfirm))

	// Applications, by their secret. A page may call those that take no secret.
	mux.Handle("POST /oauth2/token", site.API(fromAnywhere(p.token)))
	mux.Handle("POST /oauth2/device_authorization", site.API(fromAnywhere(p.deviceAuthorization)))
	mux.Handle("OPTIONS /oauth2/device_authorization", site.API(preflight))
	mux.Handle("POST /oauth2/revoke", site.API(fromAnywhere(p.revoke)))
	mux.Handle("POST /oauth2/introspect", site.API(p.introspect))
	mux.Handle("POST /oauth2/par", site.API(fromAnywhere(p.par)))
	mux.Handle("OPTIONS /oauth2/par", site.API(preflight))
	mux.Handle("OPTIONS /oauth2/token", site.API(preflight))
	mux.Handle("OPTIONS /oauth2/revoke", site.API(preflight))

	// Applications, by an invitation and by the token of their registration.
	mux.Handle("POST /oauth2/register", site.API(p.register))
	mux.Handle("GET /oauth2/register/{id}", site.API(p.manage))
	mux.Handle("PUT /oauth2/register/{id}", site.API(p.manage))
	mux.Handle("DELETE /oauth2/register/{id}", site.API(p.manage))

	// Resources of the provider, by a bearer token.
	mux.Handle("GET /userinfo", site.API(fromAnywhere(p.userinfo)))
	mux.Handle("POST /userinfo", site.API(fromAnywhere(p.userinfo)))
	mux.Handle("OPTIONS /userinfo", site.API(preflight))
	mux.Handle("GET /api/applications", site.API(p.applications))
	mux.Handle("GET /api/people", site.API(p.people))
}

// fromAnywhere lets an application that runs in a browser read the answer. No
// cookie is looked at behind it, so another origin gains nothing it did not bring.
func fromAnywhere(h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Origin") != "" {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate")
		}
		return h(w, r)
	}
}

func preflight(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
