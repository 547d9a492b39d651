package conformance

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// objectOf makes the claims of a request object of a request: its parameters, who asks and who is asked. The suite's has no times.
func (m *module) objectOf(a *application, q url.Values) map[string]any {
	claims := map[string]any{"iss": a.id, "aud": m.party.issuer}
	for name := range q {
		claims[name] = q.Get(name)
	}
	return claims
}

// outside is what stays in the address beside a request object: what RFC 6749 and OpenID Connect require there, and not state.
func outside(q url.Values, name, value string) url.Values {
	out := url.Values{name: {value}}
	for _, kept := range []string{"response_type", "client_id", "scope", "redirect_uri"} {
		out.Set(kept, q.Get(kept))
	}
	return out
}

// checkUnsignedUnlisted holds that discovery offers no unsigned request objects: then the suite skips what asks for them, and
// the modules here hold that they are refused.
func (m *module) checkUnsignedUnlisted() {
	m.Helper()
	algs := listed(m.metadata(), "request_object_signing_alg_values_supported")
	if len(algs) == 0 || slices.Contains(algs, "none") {
		m.Errorf("discovery lists request objects signed with %v", algs)
	}
}

// requestObjectUnsigned: OIDCCUnsignedRequestObjectSupportedCorrectlyOrRejectedAsUnsupported.
func requestObjectUnsigned(m *module) {
	m.checkUnsignedUnlisted()
	a := m.application()
	q := m.request(a)
	m.refusedUnsigned(a, outside(q, "request", unsigned(m.objectOf(a, q))))
}

// refusedUnsigned sends a request whose unsigned object must not count: neither what it says nor the request around it.
func (m *module) refusedUnsigned(a *application, q url.Values) {
	m.Helper()
	if m.plan.responseMode != "" {
		q.Set("response_mode", m.plan.responseMode)
	}
	m.refusedWith(m.authorize(a, q), "invalid_request_object", "request_not_supported", "request_uri_not_supported", "invalid_request_uri")
	if m.asked("password") {
		m.Error("somebody was asked for a password on the way to a refusal")
	}
}

// requestURIUnsigned: OIDCCRequestUriUnsigned and its twin of the Basic plan. An address that is not registered is not even asked.
func requestURIUnsigned(m *module) {
	m.checkUnsignedUnlisted()
	path := "/requesturi/" + random(64)
	a := m.register(func(document map[string]any) { document["request_uris"] = []string{m.party.base + path} })
	q := m.request(a)
	uri := m.party.publish(path, "application/oauth-authz-req+jwt", unsigned(m.objectOf(a, q)))
	m.refusedUnsigned(a, outside(q, "request_uri", uri))
	m.refusedUnsigned(a, outside(q, "request_uri", uri+"x"))
	if len(m.party.calls(path+"x")) > 0 {
		m.Error("the provider fetches an address that is not registered")
	}
}

// requestURISigned: OIDCCRequestUriSignedRS256. The registered address has a fragment, as the suite's has (Core §6.2).
func requestURISigned(m *module) {
	metadata := m.metadata()
	if metadata["request_uri_parameter_supported"] != true || !slices.Contains(listed(metadata, "request_object_signing_alg_values_supported"), "RS256") {
		m.Error("discovery does not offer request_uri with RS256")
	}
	path, fragment := "/requesturi/"+random(64), "#"+challenge(random(64))
	a := m.application(func(document map[string]any) {
		document["request_uris"] = []string{m.party.base + path + fragment}
		document["request_object_signing_alg"] = "RS256"
	})
	q := m.request(a)
	uri := m.party.publish(path, "application/oauth-authz-req+jwt", m.sign(a.key, m.objectOf(a, q)))
	m.complete(a, q, m.authorize(a, outside(q, "request_uri", uri+fragment)))
	if calls := m.party.calls(path); len(calls) == 0 {
		m.Error("the provider has not fetched the request object")
	}
	other := m.party.publish(path+"x", "application/oauth-authz-req+jwt", m.sign(a.key, m.objectOf(a, q)))
	m.refusedWith(m.authorize(a, outside(q, "request_uri", other)), "invalid_request_uri", "invalid_request")
	if len(m.party.calls(path+"x")) > 0 {
		m.Error("the provider fetches an address that is not registered")
	}
}

// requestObjectRedirect: OIDCCEnsureRequestObjectWithRedirectUri. The address outside is not registered: an unsigned object
// changes nothing, a signed one either counts or the provider refuses; nothing ever goes to the address outside.
func requestObjectRedirect(m *module) {
	a := m.application()
	bad := a.redirect + "/" + random(10)
	q := m.request(a)
	around := outside(q, "request", unsigned(m.objectOf(a, q)))
	around.Set("redirect_uri", bad)
	m.refusedHere(m.send(around))
	if a.key == nil {
		return // it has no keys to sign with
	}
	signed := maps.Clone(around)
	signed.Set("request", m.sign(a.key, m.objectOf(a, q)))
	page := m.send(signed)
	if to := page.Location(); strings.HasPrefix(to, bad) {
		m.Fatalf("the browser is sent to %s", to)
	}
	if page.Status >= 400 {
		m.refusedHere(page)
		return
	}
	m.complete(a, q, m.arrive(a, q, page))
}
