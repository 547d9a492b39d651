package conformance

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// registrationRefused checks an error of the registration endpoint (RFC 7591 §3.2.2).
func (m *module) registrationRefused(r *response, codes ...string) {
	m.Helper()
	if r.status != http.StatusBadRequest || !isJSON(r.header) || !slices.Contains(codes, r.text("error")) {
		m.Errorf("the registration is answered %s, not 400 %v", r, codes)
	}
	if r.json["client_id"] != nil {
		m.Error("a refusal comes with a client_id")
	}
}

// registeredRedirect: OIDCCEnsureRegisteredRedirectUri.
func registeredRedirect(m *module) {
	a := m.application()
	m.refusedHere(m.send(m.request(a, with("redirect_uri", a.redirect+"/"+random(10)))))
}

// redirectMissing: OIDCCEnsureRedirectUriInAuthorizationRequest. The application has two.
func redirectMissing(m *module) {
	a := m.application(func(document map[string]any) {
		document["redirect_uris"] = []string{m.party.base + "/callback", "https://example.org/redirect"}
	})
	m.refusedHere(m.send(m.request(a, with("redirect_uri", ""))))
}

func withQuery(m *module) func(map[string]any) {
	return func(document map[string]any) {
		document["redirect_uris"] = []string{m.party.base + "/callback?bar=foo"}
	}
}

// redirectQueryOK: OIDCCRedirectUriQueryOK.
func redirectQueryOK(m *module) { m.flow(m.application(withQuery(m))) }

// redirectQueryMismatch: OIDCCRedirectUriQueryMismatch.
func redirectQueryMismatch(m *module) {
	a := m.application(withQuery(m))
	m.refusedHere(m.send(m.request(a, with("redirect_uri", m.party.base+"/callback?foo=bar"))))
}

// redirectQueryAdded: OIDCCRedirectUriQueryAdded.
func redirectQueryAdded(m *module) {
	a := m.application()
	m.refusedHere(m.send(m.request(a, with("redirect_uri", a.redirect+"?foo=bar"))))
}

// redirectFragment: OIDCCRedirectUriRegFrag.
func redirectFragment(m *module) {
	document := m.metadataOf(m.newKey())
	document["redirect_uris"] = []string{m.party.base + "/callback#foobar"}
	m.registrationRefused(m.sendRegistration(document), "invalid_redirect_uri", "invalid_client_metadata")
}

// approvalPage registers an application that says one thing more of itself and gives the page on which somebody who has signed
// in approves it: "during approval" is where Registration §2 wants logo, policy and terms.
func (m *module) approvalPage(name, value string) *visitor.Page {
	m.Helper()
	a := m.application(func(document map[string]any) { document[name] = value })
	if a.answer.text(name) != value {
		m.Errorf("%s is registered as %q", name, a.answer.text(name))
	}
	form, changes := m.next(m.send(m.request(a)))
	if form == nil {
		m.Fatal("nobody is asked to sign in")
	}
	page, err := m.browser.Submit(m.Context(), form, changes, m.party.base)
	if err != nil {
		m.Fatal(err)
	}
	if _, err := page.Form("answer"); err != nil {
		m.Fatal(err)
	}
	return page
}

// registrationLogo: OIDCCRegistrationLogoUri.
func registrationLogo(m *module) {
	uri := m.party.publish("/logo.png", "image/png", "not really")
	page := m.approvalPage("logo_uri", uri)
	if !slices.Contains(page.Images(), uri) {
		m.Errorf("the page shows %v and not %s", page.Images(), uri)
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, m.party.base) {
		m.Errorf("the page may not load the logo: %s", csp)
	}
}

// registrationPolicy: OIDCCRegistrationPolicyUri.
func registrationPolicy(m *module) {
	if uri := m.party.base + "/policy"; m.approvalPage("policy_uri", uri).LinkTo(uri) != uri {
		m.Errorf("no link leads to %s", uri)
	}
}

// registrationTerms: OIDCCRegistrationTosUri.
func registrationTerms(m *module) {
	if uri := m.party.base + "/terms"; m.approvalPage("tos_uri", uri).LinkTo(uri) != uri {
		m.Errorf("no link leads to %s", uri)
	}
}

// registrationJWKSURI: OIDCCRegistrationJwksUri.
func registrationJWKSURI(m *module) {
	path, key := "/jwks/"+random(10), m.anotherKey()
	uri := m.party.publish(path, "application/json", marshal(publicSet(key)))
	a := m.application(func(document map[string]any) {
		delete(document, "jwks")
		document["jwks_uri"] = uri
	})
	a.key = key
	m.flow(a)
	if len(m.party.calls(path)) == 0 {
		m.Error("nobody has fetched the keys")
	}
}

// pairwise registers for a sub that other sectors do not share.
func (m *module) pairwise(redirects ...string) func(map[string]any) {
	uri := m.party.publish("/redirect_uris/"+random(10)+".json", "application/json", marshal(redirects))
	return func(document map[string]any) {
		document["subject_type"], document["sector_identifier_uri"] = "pairwise", uri
	}
}

// registrationSector: OIDCCRegistrationSectorUri. The sub is then another one than everybody's.
func registrationSector(m *module) {
	if !slices.Contains(listed(m.metadata(), "subject_types_supported"), "pairwise") {
		m.Error("discovery does not list pairwise")
	}
	g := m.flow(m.application(m.pairwise(m.party.base + "/callback")))
	if public := m.flow(m.static(first)); public.claims["sub"] == g.claims["sub"] {
		m.Errorf("sub is %v for everybody", g.claims["sub"])
	}
}

// registrationSectorBad: OIDCCRegistrationSectorBad.
func registrationSectorBad(m *module) {
	document := m.metadataOf(m.newKey())
	m.pairwise("https://example.com/op")(document)
	m.registrationRefused(m.sendRegistration(document), "invalid_client_metadata")
}

// serverRotatesKeys: OIDCCServerRotateKeys. The operator rotates; the old keys stay published.
func serverRotatesKeys(m *module) {
	before := m.keys()
	if out, err := m.Command("key", "rotate"); err != nil {
		m.Fatalf("%v %s", err, out)
	}
	testpeer.WaitFor(m, "a new key", 60*time.Second, func() bool {
		for _, k := range m.keys().Keys {
			if len(before.Key(k.KeyID)) == 0 {
				return true
			}
		}
		return false
	})
	after := m.keys()
	for _, k := range before.Keys {
		if len(after.Key(k.KeyID)) != 1 {
			m.Errorf("the key %s is gone", k.KeyID)
		}
	}
	m.flow(m.static(first))
}

// initiateLogin: OIDCC3rdPartyInitLogin.
func initiateLogin(m *module) {
	uri := m.party.base + "/initiate_login"
	a := m.application(func(document map[string]any) { document["initiate_login_uri"] = uri })
	if a.answer.text("initiate_login_uri") != uri {
		m.Errorf("registered with initiate_login_uri %q", a.answer.text("initiate_login_uri"))
	}
	r := m.get(a.answer.text("registration_client_uri"), a.answer.text("registration_access_token"))
	if r.status != http.StatusOK || !isJSON(r.header) || r.text("initiate_login_uri") != uri {
		m.Errorf("the registration reads %s", r)
	}
}

// initiateLoginWithoutTLS: OIDCC3rdPartyInitLoginNonHttps.
func initiateLoginWithoutTLS(m *module) {
	document := m.metadataOf(m.newKey())
	document["initiate_login_uri"] = strings.Replace(m.party.base, "https://", "http://", 1) + "/initiate_login"
	m.registrationRefused(m.sendRegistration(document), "invalid_client_metadata")
}
