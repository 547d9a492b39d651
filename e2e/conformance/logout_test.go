package conformance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// logoutDiscovery: OIDCCRpInitiatedLogoutDiscoveryEndpointVerification.
func logoutDiscovery(m *module) { m.checkEndpoints(m.metadata(), "end_session_endpoint") }

// backchannelDiscovery: OIDCCBackchannelLogoutDiscoveryEndpointVerification.
func backchannelDiscovery(m *module) {
	metadata := m.metadata()
	m.checkEndpoints(metadata, "end_session_endpoint")
	if metadata["backchannel_logout_supported"] != true || metadata["backchannel_logout_session_supported"] != true {
		m.Errorf("back-channel logout: %v, with sessions: %v", metadata["backchannel_logout_supported"], metadata["backchannel_logout_session_supported"])
	}
}

// frontchannelDiscovery: OIDCCFrontchannelLogoutDiscoveryEndpointVerification.
func frontchannelDiscovery(m *module) {
	metadata := m.metadata()
	m.checkEndpoints(metadata, "end_session_endpoint")
	if metadata["frontchannel_logout_supported"] != true || metadata["frontchannel_logout_session_supported"] != true {
		m.Errorf("front-channel logout: %v, with sessions: %v", metadata["frontchannel_logout_supported"], metadata["frontchannel_logout_session_supported"])
	}
}

// signOut signs somebody in at an application, then sends the browser to the end of the session with the suite's request. It
// gives the page that the provider answers with, or the redirect to the party.
func (m *module) signOut(id string, changes ...change) (*grant, url.Values, *visitor.Page) {
	m.Helper()
	g := m.flow(m.static(id), with("state", random(128)))
	q := url.Values{"id_token_hint": {g.tokens.text("id_token")}, "post_logout_redirect_uri": {m.party.base + "/post_logout_redirect"}, "state": {random(10)}}
	for _, f := range changes {
		f(q)
	}
	return g, q, m.open(m.endpoint("end_session_endpoint") + "?" + q.Encode())
}

// returned follows the browser back to the party and checks how it arrives.
func (m *module) returned(q url.Values, page *visitor.Page) {
	m.Helper()
	to := page.Location()
	if to == "" { // front-channel logout needs a page that loads frames
		to = page.Refresh()
	}
	if to == "" {
		to = page.LinkTo(m.party.base + "/post_logout_redirect")
	}
	at, err := url.Parse(to)
	if err != nil || at.Scheme+"://"+at.Host+at.Path != m.party.base+"/post_logout_redirect" {
		m.Fatalf("the browser does not come back: %s", page)
	}
	if arrived, err := m.browser.Get(m.Context(), to); err != nil || arrived.Status != http.StatusOK {
		m.Errorf("%s %v", arrived, err)
	}
	want := url.Values{}
	if q.Has("state") {
		want.Set("state", q.Get("state"))
	}
	if at.RawQuery != want.Encode() {
		m.Errorf("the browser comes back with %q, not %q", at.RawQuery, want.Encode())
	}
}

// checkSignedOut holds that prompt=none gets nothing any more.
func (m *module) checkSignedOut(g *grant) {
	m.Helper()
	answer := m.authorize(g.application, m.request(g.application, with("prompt", "none"), with("state", random(128))))
	m.refusedWith(answer, interaction...)
}

// stays holds that the browser is not sent to the party: it sees a refusal, or a question that it answers with yes. It gives the
// last page.
func (m *module) stays(page *visitor.Page) *visitor.Page {
	m.Helper()
	for range 2 {
		if page.Location() != "" || strings.Contains(page.Body, m.party.base) {
			m.Fatalf("the page leads to the application: %s", page)
		}
		if page.Status >= 400 {
			m.refusedHere(page)
			return page
		}
		i := slices.IndexFunc(page.Forms(), func(f *visitor.Form) bool { return strings.Contains(f.Action, "logout") })
		if i < 0 {
			return page
		}
		var err error
		if page, err = m.browser.Submit(m.Context(), page.Forms()[i], nil, m.party.base); err != nil {
			m.Fatal(err)
		}
	}
	return page
}

// logout: OIDCCRpInitiatedLogout.
func logout(m *module) {
	g, q, page := m.signOut(leaving)
	m.returned(q, page)
	m.checkSignedOut(g)
}

// logoutNoState: OIDCCRpInitiatedLogoutNoState.
func logoutNoState(m *module) {
	g, q, page := m.signOut(leaving, with("state", ""))
	m.returned(q, page)
	m.checkSignedOut(g)
}

// logoutBadRedirect: OIDCCRpInitiatedLogoutBadLogoutRedirectUri.
func logoutBadRedirect(m *module) {
	_, _, page := m.signOut(leaving, with("post_logout_redirect_uri", m.party.base+"/bad_post_logout_redirect_uri"))
	m.stays(page)
}

// logoutQueryAdded: OIDCCRpInitiatedLogoutQueryAddedToLogoutRedirectUri.
func logoutQueryAdded(m *module) {
	_, _, page := m.signOut(leaving, with("post_logout_redirect_uri", m.party.base+"/post_logout_redirect?foo=bar"))
	m.stays(page)
}

// logoutModifiedHint: OIDCCRpInitiatedLogoutModifiedIdTokenHint. The hint's signature is gone, alg is none.
func logoutModifiedHint(m *module) {
	_, _, page := m.signOut(leaving, func(q url.Values) {
		parts := strings.Split(q.Get("id_token_hint"), ".")
		q.Set("id_token_hint", b64(`{"alg":"none"}`)+"."+parts[1]+".")
	})
	m.stays(page)
}

// logoutBadHint: OIDCCRpInitiatedLogoutBadIdTokenHint. Somebody else has signed it: with a key of their own, and with the
// application's secret.
func logoutBadHint(m *module) {
	_, q, page := m.signOut(leaving, func(q url.Values) {
		now := time.Now()
		q.Set("id_token_hint", m.sign(m.foreignKey(), map[string]any{
			"iss": m.party.issuer, "sub": random(10), "aud": leaving, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		}))
	})
	m.stays(page)
	q.Set("id_token_hint", m.signedWithSecret(q.Get("id_token_hint")))
	m.stays(m.open(m.endpoint("end_session_endpoint") + "?" + q.Encode()))
}

// logoutNoHint: OIDCCRpInitiatedLogoutNoIdTokenHint.
func logoutNoHint(m *module) {
	_, _, page := m.signOut(leaving, with("id_token_hint", ""))
	m.stays(page)
}

// logoutNoParameters: OIDCCRpInitiatedLogoutNoParams. The person is asked, says yes, and is signed out.
func logoutNoParameters(m *module) {
	g, _, page := m.signOut(leaving, with("id_token_hint", ""), with("post_logout_redirect_uri", ""), with("state", ""))
	m.signedOutHere(g, page)
}

// logoutOnlyState: OIDCCRpInitiatedLogoutOnlyState.
func logoutOnlyState(m *module) {
	g, _, page := m.signOut(leaving, with("id_token_hint", ""), with("post_logout_redirect_uri", ""))
	m.signedOutHere(g, page)
}

// logoutNoRedirect: OIDCCRpInitiatedLogoutNoPostLogoutRedirectUri.
func logoutNoRedirect(m *module) {
	g, _, page := m.signOut(leaving, with("post_logout_redirect_uri", ""))
	m.signedOutHere(g, page)
}

// signedOutHere holds that the browser ends on the provider's own page, signed out.
func (m *module) signedOutHere(g *grant, page *visitor.Page) {
	m.Helper()
	if page = m.stays(page); page.Status != http.StatusOK || !page.Says("déconnecté") {
		m.Errorf("no page says that the person is signed out: %s", page)
	}
	m.checkSignedOut(g)
}

// backchannelLogout: OIDCCBackChannelRpInitiatedLogout.
func backchannelLogout(m *module) {
	g, q, page := m.signOut(hearing)
	m.returned(q, page)
	var heard call
	testpeer.WaitFor(m, "the logout token", 30*time.Second, func() bool {
		for _, c := range m.party.calls("/backchannel_logout") {
			if claims := payload(c.Form.Get("logout_token")); claims["sid"] == g.claims["sid"] {
				heard = c
				return true
			}
		}
		return false
	})
	if heard.Method != http.MethodPost || heard.ContentType != "application/x-www-form-urlencoded" || len(heard.Form) != 1 || len(heard.Query) != 0 {
		m.Errorf("the logout request is %+v", heard)
	}
	m.checkLogoutToken(g, heard.Form.Get("logout_token"))
	m.checkSignedOut(g)
}

// checkLogoutToken holds Back-Channel Logout §2.4.
func (m *module) checkLogoutToken(g *grant, token string) {
	m.Helper()
	header, claims := m.verify(token, g.application.alg)
	m.checkForUs(g.application, "logout token", claims)
	if header["typ"] != "logout+jwt" {
		m.Errorf("the logout token's typ is %v", header["typ"])
	}
	if jti, _ := claims["jti"].(string); jti == "" || claims["iat"] == nil {
		m.Errorf("jti is %v, iat %v", claims["jti"], claims["iat"])
	}
	if exp := numeric(claims["exp"]); exp.IsZero() || time.Until(exp) > skew {
		m.Errorf("exp is %v", claims["exp"])
	}
	if got := marshal(claims["events"]); got != `{"http://schemas.openid.net/event/backchannel-logout":{}}` {
		m.Errorf("events is %s", got)
	}
	if claims["sid"] == nil || claims["sid"] != g.claims["sid"] || claims["sub"] != nil && claims["sub"] != g.claims["sub"] {
		m.Errorf("sid is %v of %v, sub %v of %v", claims["sid"], g.claims["sid"], claims["sub"], g.claims["sub"])
	}
	if claims["nonce"] != nil {
		m.Error("a logout token with a nonce could pass for an ID token")
	}
}

// frontchannelLogout: OIDCCFrontChannelRpInitiatedLogout.
func frontchannelLogout(m *module) {
	g, q, page := m.signOut(framed)
	i := slices.IndexFunc(page.Frames(), func(src string) bool { return strings.HasPrefix(src, m.party.base+"/frontchannel_logout") })
	if i < 0 {
		m.Fatalf("the page loads no frame of the application: %v: %s", page.Frames(), page)
	}
	frame, err := url.Parse(page.Frames()[i])
	if err != nil {
		m.Fatal(err)
	}
	want := url.Values{"iss": {m.party.issuer}, "sid": {g.claims["sid"].(string)}}
	if frame.RawQuery != want.Encode() {
		m.Errorf("the frame is asked with %s, not %s", frame.RawQuery, want.Encode())
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-src "+m.party.base) {
		m.Errorf("the page may not load the frame: %s", csp)
	}
	m.returned(q, page)
	m.checkSignedOut(g)
}
