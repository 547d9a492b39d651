package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"beffroi/e2e/rig"
)

// plan is a certification plan of the suite with the variant in which Beffroi runs it.
type plan struct {
	name         string
	responseMode string // "" is the default, query
	// registers is how the application authenticates that each module registers for itself. Where it is "", modules use those of
	// the configuration file, with client_secret_basic, but for the few that the suite runs with a registration only.
	registers string
	modules   []string
}

// plans are those of the suite's classes OIDCC…TestPlan, of the release that docs/conformance.md names, modules in their order.
// Form Post is Basic with response_mode=form_post.
var plans = []plan{
	{name: "oidcc-basic-certification-test-plan", modules: basic},
	{name: "oidcc-formpost-basic-certification-test-plan", responseMode: "form_post", registers: "client_secret_basic", modules: basic},
	{name: "oidcc-config-certification-test-plan", modules: []string{"oidcc-discovery-endpoint-verification"}},
	{name: "oidcc-dynamic-certification-test-plan", registers: "private_key_jwt", modules: []string{
		"oidcc-idtoken-rs256",
		"oidcc-idtoken-unsigned",
		"oidcc-userinfo-rs256",
		"oidcc-ensure-redirect-uri-in-authorization-request",
		"oidcc-redirect-uri-query-OK",
		"oidcc-redirect-uri-query-mismatch",
		"oidcc-redirect-uri-query-added",
		"oidcc-redirect-uri-regfrag",
		"oidcc-discovery-endpoint-verification",
		"oidcc-server",
		"oidcc-registration-logo-uri",
		"oidcc-registration-policy-uri",
		"oidcc-registration-tos-uri",
		"oidcc-registration-jwks-uri",
		"oidcc-registration-sector-uri",
		"oidcc-registration-sector-bad",
		"oidcc-server-rotate-keys",
		"oidcc-refresh-token-rp-key-rotation",
		"oidcc-request-uri-unsigned",
		"oidcc-request-uri-signed-rs256",
		"oidcc-ensure-request-object-with-redirect-uri",
		"oidcc-refresh-token",
		"oidcc-ensure-client-assertion-with-iss-aud-succeeds",
	}},
	{name: "oidcc-rp-initiated-logout-certification-test-plan", modules: []string{
		"oidcc-rp-initiated-logout-discovery-endpoint-verification",
		"oidcc-rp-initiated-logout",
		"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri",
		"oidcc-rp-initiated-logout-modified-id-token-hint",
		"oidcc-rp-initiated-logout-no-id-token-hint",
		"oidcc-rp-initiated-logout-no-params",
		"oidcc-rp-initiated-logout-no-post-logout-redirect-uri",
		"oidcc-rp-initiated-logout-no-state",
		"oidcc-rp-initiated-logout-only-state",
		"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri",
		"oidcc-rp-initiated-logout-bad-id-token-hint",
	}},
	{name: "oidcc-backchannel-rp-initiated-logout-certification-test-plan", modules: []string{
		"oidcc-backchannel-logout-discovery-endpoint-verification",
		"oidcc-backchannel-rp-initiated-logout",
	}},
	{name: "oidcc-frontchannel-rp-initiated-logout-certification-test-plan", modules: []string{
		"oidcc-frontchannel-logout-discovery-endpoint-verification",
		"oidcc-frontchannel-rp-initiated-logout",
	}},
	{name: "oidcc-3rdparty-init-login-certification-test-plan", registers: "private_key_jwt", modules: []string{
		"oidcc-3rd_party-init-login",
		"oidcc-3rd_party-init-login-nohttps",
	}},
}

var basic = []string{
	"oidcc-server",
	"oidcc-response-type-missing",
	"oidcc-idtoken-signature",
	"oidcc-idtoken-unsigned",
	"oidcc-userinfo-get",
	"oidcc-userinfo-post-header",
	"oidcc-userinfo-post-body",
	"oidcc-ensure-request-without-nonce-succeeds-for-code-flow",
	"oidcc-scope-profile",
	"oidcc-scope-email",
	"oidcc-scope-address",
	"oidcc-scope-phone",
	"oidcc-scope-all",
	"oidcc-alternate-happy-flow",
	"oidcc-display-page",
	"oidcc-display-popup",
	"oidcc-prompt-login",
	"oidcc-prompt-none-not-logged-in",
	"oidcc-prompt-none-logged-in",
	"oidcc-max-age-1",
	"oidcc-max-age-10000",
	"oidcc-ensure-request-with-unknown-parameter-succeeds",
	"oidcc-id-token-hint",
	"oidcc-login-hint",
	"oidcc-ui-locales",
	"oidcc-claims-locales",
	"oidcc-ensure-request-with-acr-values-succeeds",
	"oidcc-codereuse",
	"oidcc-codereuse-30seconds",
	"oidcc-ensure-registered-redirect-uri",
	"oidcc-ensure-post-request-succeeds",
	"oidcc-server-client-secret-post",
	"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
	"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported",
	"oidcc-claims-essential",
	"oidcc-ensure-request-object-with-redirect-uri",
	"oidcc-refresh-token",
	"oidcc-ensure-request-with-valid-pkce-succeeds",
}

// modules are the tests, by the module that each plays.
var modules = map[string]func(*module){
	"oidcc-server":                server,
	"oidcc-response-type-missing": responseTypeMissing,
	"oidcc-idtoken-signature":     idTokenSignature,
	"oidcc-idtoken-rs256":         idTokenSignature,
	"oidcc-idtoken-unsigned":      idTokenUnsigned,
	"oidcc-userinfo-get":          userinfoGet,
	"oidcc-userinfo-post-header":  userinfoPostHeader,
	"oidcc-userinfo-post-body":    userinfoPostBody,
	"oidcc-userinfo-rs256":        userinfoSigned,

	"oidcc-scope-profile":    scope("profile"),
	"oidcc-scope-email":      scope("email"),
	"oidcc-scope-address":    scope("address"),
	"oidcc-scope-phone":      scope("phone"),
	"oidcc-scope-all":        scope("email", "phone", "address", "profile"),
	"oidcc-claims-essential": claimsEssential,

	"oidcc-ensure-request-without-nonce-succeeds-for-code-flow": withoutNonce,
	"oidcc-alternate-happy-flow":                                alternateOrder,
	"oidcc-display-page":                                        accepts("display", "page"),
	"oidcc-display-popup":                                       accepts("display", "popup"),
	"oidcc-ensure-request-with-unknown-parameter-succeeds":      accepts("extra", "foobar"),
	"oidcc-claims-locales":                                      accepts("claims_locales", "se"),
	"oidcc-login-hint":                                          loginHint,
	"oidcc-ui-locales":                                          uiLocales,
	"oidcc-ensure-request-with-acr-values-succeeds":             acrValues,
	"oidcc-ensure-post-request-succeeds":                        postRequest,
	"oidcc-server-client-secret-post":                           secretPost,
	"oidcc-ensure-request-with-valid-pkce-succeeds":             validPKCE,

	"oidcc-prompt-login":              promptLogin,
	"oidcc-prompt-none-not-logged-in": promptNoneNotLoggedIn,
	"oidcc-prompt-none-logged-in":     promptNoneLoggedIn,
	"oidcc-max-age-1":                 maxAge1,
	"oidcc-max-age-10000":             maxAge10000,
	"oidcc-id-token-hint":             idTokenHint,

	"oidcc-codereuse":                                     codeReuse,
	"oidcc-codereuse-30seconds":                           codeReuseAfter30Seconds,
	"oidcc-refresh-token":                                 refreshToken,
	"oidcc-refresh-token-rp-key-rotation":                 refreshTokenKeyRotation,
	"oidcc-ensure-client-assertion-with-iss-aud-succeeds": assertionForIssuer,

	"oidcc-ensure-registered-redirect-uri":               registeredRedirect,
	"oidcc-ensure-redirect-uri-in-authorization-request": redirectMissing,
	"oidcc-redirect-uri-query-OK":                        redirectQueryOK,
	"oidcc-redirect-uri-query-mismatch":                  redirectQueryMismatch,
	"oidcc-redirect-uri-query-added":                     redirectQueryAdded,
	"oidcc-redirect-uri-regfrag":                         redirectFragment,

	"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported":    requestURIUnsigned,
	"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported": requestObjectUnsigned,
	"oidcc-ensure-request-object-with-redirect-uri":                                requestObjectRedirect,
	"oidcc-request-uri-unsigned":                                                   requestURIUnsigned,
	"oidcc-request-uri-signed-rs256":                                               requestURISigned,

	"oidcc-discovery-endpoint-verification": discovery,
	"oidcc-registration-logo-uri":           registrationLogo,
	"oidcc-registration-policy-uri":         registrationPolicy,
	"oidcc-registration-tos-uri":            registrationTerms,
	"oidcc-registration-jwks-uri":           registrationJWKSURI,
	"oidcc-registration-sector-uri":         registrationSector,
	"oidcc-registration-sector-bad":         registrationSectorBad,
	"oidcc-server-rotate-keys":              serverRotatesKeys,
	"oidcc-3rd_party-init-login":            initiateLogin,
	"oidcc-3rd_party-init-login-nohttps":    initiateLoginWithoutTLS,

	"oidcc-rp-initiated-logout-discovery-endpoint-verification":         logoutDiscovery,
	"oidcc-rp-initiated-logout":                                         logout,
	"oidcc-rp-initiated-logout-no-state":                                logoutNoState,
	"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri":            logoutBadRedirect,
	"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri": logoutQueryAdded,
	"oidcc-rp-initiated-logout-modified-id-token-hint":                  logoutModifiedHint,
	"oidcc-rp-initiated-logout-bad-id-token-hint":                       logoutBadHint,
	"oidcc-rp-initiated-logout-no-id-token-hint":                        logoutNoHint,
	"oidcc-rp-initiated-logout-no-params":                               logoutNoParameters,
	"oidcc-rp-initiated-logout-only-state":                              logoutOnlyState,
	"oidcc-rp-initiated-logout-no-post-logout-redirect-uri":             logoutNoRedirect,
	"oidcc-backchannel-logout-discovery-endpoint-verification":          backchannelDiscovery,
	"oidcc-backchannel-rp-initiated-logout":                             backchannelLogout,
	"oidcc-frontchannel-logout-discovery-endpoint-verification":         frontchannelDiscovery,
	"oidcc-frontchannel-rp-initiated-logout":                            frontchannelLogout,
}

func planOf(name string) plan {
	return plans[slices.IndexFunc(plans, func(p plan) bool { return p.name == name })]
}

// untested are the modules of plans that have no test.
func untested(of []plan) []string {
	var names []string
	for _, p := range of {
		for _, name := range p.modules {
			if modules[name] == nil {
				names = append(names, p.name+"/"+name)
			}
		}
	}
	return names
}

// The counts are those of the suite's plans: a module that disappears from the table would otherwise disappear from the run.
func TestEveryModuleOfEveryPlanHasATestAndNoOther(t *testing.T) {
	if names := untested(plans); len(names) > 0 {
		t.Errorf("without a test: %v", names)
	}
	if names := untested([]plan{{name: "invented", modules: []string{"oidcc-server", "oidcc-tomorrow"}}}); !slices.Equal(names, []string{"invented/oidcc-tomorrow"}) {
		t.Errorf("a module without a test is not noticed: %v", names)
	}
	counts := map[string]int{
		"oidcc-basic-certification-test-plan": 38, "oidcc-formpost-basic-certification-test-plan": 38, "oidcc-config-certification-test-plan": 1,
		"oidcc-dynamic-certification-test-plan": 23, "oidcc-rp-initiated-logout-certification-test-plan": 11,
		"oidcc-backchannel-rp-initiated-logout-certification-test-plan": 2, "oidcc-frontchannel-rp-initiated-logout-certification-test-plan": 2,
		"oidcc-3rdparty-init-login-certification-test-plan": 2,
	}
	used := map[string]bool{}
	for _, p := range plans {
		once := map[string]bool{}
		for _, name := range p.modules {
			used[name], once[name] = true, true
		}
		if len(p.modules) != counts[p.name] || len(once) != counts[p.name] {
			t.Errorf("%s has %d modules, %d different ones, and not %d", p.name, len(p.modules), len(once), counts[p.name])
		}
		delete(counts, p.name)
	}
	if len(counts) > 0 {
		t.Errorf("plans that are not run: %v", counts)
	}
	for name := range modules {
		if !used[name] {
			t.Errorf("%s belongs to no plan", name)
		}
	}
}

func TestEveryModuleHasItsLineInTheDocumentation(t *testing.T) {
	root, err := rig.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plans {
		_, section, found := strings.Cut(string(text), "`"+p.name+"`")
		if !found {
			t.Errorf("docs/conformance.md does not name %s", p.name)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, name := range p.modules {
			if strings.Count(section, "\n| "+name+" | ") != 1 {
				t.Errorf("docs/conformance.md has not one line on %s of %s", name, p.name)
			}
		}
	}
}
