package oidc

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/secret"
	"beffroi/signin"
)

// Invented numbers whose check digits are right.
const (
	academySIRET = "17590000000019"
	schoolSIRET  = "19590002200011"
)

func sampleProConnect() ProConnectConfig {
	return ProConnectConfig{SIRET: academySIRET, MailDomains: []string{"academie.test"}, Phone: true,
		Schools: map[string]ProConnectSchool{"0590002B": {schoolSIRET, "Collège Jean-Zay"}}}
}

// fromProConnect is its authorization request, as its code makes it.
func fromProConnect(change ...string) url.Values {
	return pairs(url.Values{"response_type": {"code"}, "client_id": {"proconnect"}, "redirect_uri": {back}, "scope": {strings.Join(proconnectScopes, " ")},
		"state": {"st-1"}, "nonce": {"no-1"}, "acr_values": {"eidas1"}, "claims": {`{"id_token":{"amr":null,"acr":null}}`}, "login_hint": {"marie.dupont@academie.test"},
		"siret_hint": {schoolSIRET}, "sp_id": {"a-service"}, "sp_name": {"Un service"}, "remember_me": {"false"}}, change...)
}

// proconnectTokens plays a sign-in and the token request as ProConnect does.
func (w *world) proconnectTokens(change ...string) answer {
	w.t.Helper()
	code := w.authorize(fromProConnect(change...)).location().Get("code")
	a := w.post("/oauth2/token", "", url.Values{"grant_type": {GrantCode}, "code": {code}, "redirect_uri": {back}, "client_id": {"proconnect"}, "client_secret": {secret1},
		"sp_id": {"a-service"}, "sp_name": {"Un service"}})
	w.must(a, 200)
	return a
}

func TestProConnectLearnsWhoSomebodyIs(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.people.change(marie, func(p *directory.Person) {
			p.UAI, p.Kind, p.Phone = []string{"0590002B"}, "ADM", "+33 (0)3.20.00.00.01"
		})
		tokens := w.proconnectTokens()
		signed, err := w.p.keys.verify(t.Context(), tokens.text("id_token"))
		if err != nil {
			t.Fatal(err)
		}
		idToken := signed.claims
		if idToken["acr"] != "eidas1-mfa" || fmt.Sprint(idToken["amr"]) != "[pwd totp mfa]" || idToken["nonce"] != "no-1" || idToken["sub"] != marie {
			t.Errorf("ID token %v", idToken)
		}
		for _, personal := range []string{"name", "email", "given_name", "preferred_username", "groups", "siret"} {
			if idToken[personal] != nil {
				t.Errorf("the ID token, which comes back in addresses, says %s %v", personal, idToken[personal])
			}
		}
		answered := w.userinfo(tokens.text("access_token"))
		if w.must(answered, 200); answered.header.Get("Content-Type") != "application/jwt" {
			t.Errorf("userinfo is %s", answered.header.Get("Content-Type"))
		}
		userinfo, err := w.p.keys.verify(t.Context(), answered.body)
		if err != nil || userinfo.key.alg != ES256 {
			t.Fatal(err, userinfo)
		}
		if want := map[string]any{"iss": w.http.URL, "aud": "proconnect", "sub": marie, "uid": "mdupont", "given_name": "Marie", "usual_name": "Dupont",
			"email": "marie.dupont@academie.test", "siret": schoolSIRET, "siren": schoolSIRET[:9], "organizational_unit": "Collège Jean-Zay",
			"belonging_population": "agent", "phone_number": "+33 3 20 00 00 01"}; !maps.Equal(userinfo.claims, want) {
			t.Errorf("userinfo\n got %v\nwant %v", userinfo.claims, want)
		}
		if strings.Contains(tokens.text("scope"), "offline_access") || tokens.text("refresh_token") != "" {
			t.Errorf("more than was asked: %s", tokens.body)
		}
	})
}

func TestProConnectClaimsLeaveOutWhatIsNotKnown(t *testing.T) {
	p, mistakes := sampleProConnect().open()
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	all := strings.Join(proconnectScopes, " ")
	full := directory.Person{ID: marie, Login: "mdupont", GivenName: "Marie", FamilyName: "Dupont", Mail: "marie.dupont@academie.test", UAI: []string{"0590001A", "0590002B"},
		Kind: "adm", Phone: "03.20.00.00.01", Title: "Adjointe", EmployeeNumber: "59E0012345"}
	told := map[string]any{"uid": "mdupont", "given_name": "Marie", "usual_name": "Dupont", "email": "marie.dupont@academie.test", "siret": schoolSIRET, "siren": schoolSIRET[:9],
		"organizational_unit": "Collège Jean-Zay", "belonging_population": "agent", "phone_number": "03 20 00 00 01"}
	with := func(change map[string]any) map[string]any {
		m := maps.Clone(told)
		for name, value := range change {
			if m[name] = value; value == nil {
				delete(m, name)
			}
		}
		return m
	}
	for _, c := range []struct {
		name   string
		person func(p *directory.Person)
		conf   func(p *proconnect)
		scopes string
		want   map[string]any
	}{
		{"all that is known", nil, nil, all, told},
		{"only what was asked", nil, nil, "openid email", map[string]any{"email": "marie.dupont@academie.test"}},
		{"the school that somebody heads", func(p *directory.Person) { p.UAI, p.UAIResponsible = []string{"0590001A"}, []string{"0590002B"} }, nil, all, told},
		{"nobody's school", func(p *directory.Person) { p.UAI = nil }, nil, all, with(map[string]any{"siret": academySIRET, "siren": academySIRET[:9], "organizational_unit": nil})},
		{"an outsider", func(p *directory.Person) { p.Kind = "EXT" }, nil, all, with(map[string]any{"belonging_population": "partenaire"})},
		{"a kind that nobody named", func(p *directory.Person) { p.Kind = "XYZ" }, nil, all, with(map[string]any{"belonging_population": nil})},
		{"a telephone in words", func(p *directory.Person) { p.Phone = "poste 12" }, nil, all, with(map[string]any{"phone_number": nil})},
		{"telephones kept to ourselves", nil, func(p *proconnect) { p.phone = false }, all, with(map[string]any{"phone_number": nil})},
		{"spaces for a name", func(p *directory.Person) { p.GivenName = " \t" }, nil, all, with(map[string]any{"given_name": nil})},
		{"a login that is not ASCII", func(p *directory.Person) { p.Login = "mdupönt" }, nil, all, with(map[string]any{"uid": marie})},
		{"the number as uid", nil, func(p *proconnect) { p.uid = "employee_number" }, all, with(map[string]any{"uid": "59E0012345"})},
		{"no number as uid", func(p *directory.Person) { p.EmployeeNumber = "" }, func(p *proconnect) { p.uid = "employee_number" }, all, with(map[string]any{"uid": marie})},
		{"an address of another domain", func(p *directory.Person) {
			p.Mail, p.MailAliases = "m@elsewhere.test", []string{"b@elsewhere.test", "Marie@Academie.Test"}
		}, nil, all, with(map[string]any{"email": "Marie@Academie.Test"})},
		{"no address of ours", func(p *directory.Person) { p.Mail = "m@elsewhere.test" }, nil, all, with(map[string]any{"email": "m@elsewhere.test"})},
		{"a subdomain is another domain", func(p *directory.Person) { p.Mail, p.MailAliases = "m@x.academie.test", []string{"m@academie.test"} }, nil, all, with(map[string]any{"email": "m@academie.test"})},
		{"the title as unit", nil, func(p *proconnect) { p.unit = "title" }, all, with(map[string]any{"organizational_unit": "Adjointe"})},
		{"no unit", nil, func(p *proconnect) { p.unit = "none" }, all, with(map[string]any{"organizational_unit": nil})},
		{"a name of 300 characters", func(p *directory.Person) { p.FamilyName = strings.Repeat("é", 300) }, nil, all, with(map[string]any{"usual_name": strings.Repeat("é", 256)})},
		{"travel", nil, func(p *proconnect) { p.societe = "EDU" }, all, with(map[string]any{"chorusdt:societe": "EDU", "chorusdt:matricule": "59E0012345"})},
		{"travel without a number", func(p *directory.Person) { p.EmployeeNumber = "" }, func(p *proconnect) { p.societe = "EDU" }, all, told},
		{"nobody", func(p *directory.Person) { *p = directory.Person{ID: marie} }, nil, all, map[string]any{"uid": marie, "siret": academySIRET, "siren": academySIRET[:9]}},
	} {
		person, conf := full, *p
		if c.person != nil {
			c.person(&person)
		}
		if c.conf != nil {
			c.conf(&conf)
		}
		if got := conf.claims(person, words(c.scopes)); !maps.Equal(got, c.want) {
			t.Errorf("%s:\n got %v\nwant %v", c.name, got, c.want)
		}
	}
}

func TestProConnectNeedsStateAndNonceInPlaceOfPKCE(t *testing.T) {
	w := onOne(t)
	for _, missing := range []string{"nonce", "state"} {
		w.redirectedWith(w.authorize(fromProConnect(missing, "-")), "invalid_request")
	}
	w.must(w.authorize(fromProConnect()), 303)
}

func TestNoScopeOfProConnectIsRefused(t *testing.T) {
	w := onOne(t)
	for _, scope := range proconnectScopes {
		if a := w.authorize(fromProConnect("scope", "openid "+scope)); a.location().Get("code") == "" {
			t.Errorf("%s: %s", scope, a.header.Get("Location"))
		}
	}
	// They are that application's alone.
	w.redirectedWith(w.authorize(request("tool", "scope", "openid siret")), "invalid_scope")
}

func TestProConnectAuthenticatesInTheBodyAlone(t *testing.T) {
	w := onOne(t)
	form := url.Values{"grant_type": {GrantCode}, "code": {w.authorize(fromProConnect()).location().Get("code")}, "redirect_uri": {back}}
	w.refusedWith(w.post("/oauth2/token", "proconnect", form), "invalid_client")
	form.Set("client_id", "proconnect")
	w.refusedWith(w.post("/oauth2/token", "", form), "invalid_client")
	form.Set("client_secret", secret1)
	w.must(w.post("/oauth2/token", "", form), 200)
}

// Its convention: nobody with a valid address is kept out. Two factors where a
// service insists, a password otherwise.
func TestProConnectIsServedByAPasswordUnlessMoreIsAsked(t *testing.T) {
	w := onOne(t)
	w.known(signin.OneFactor)
	idToken := func(change ...string) map[string]any {
		t.Helper()
		signed, err := w.p.keys.verify(t.Context(), w.proconnectTokens(change...).text("id_token"))
		if err != nil {
			t.Fatal(err)
		}
		return signed.claims
	}
	if c := idToken(); c["acr"] != "eidas1" || fmt.Sprint(c["amr"]) != "[pwd]" {
		t.Errorf("acr %v, amr %v", c["acr"], c["amr"])
	}
	essential := func(acr string) []string {
		return []string{"acr_values", "-", "claims", `{"id_token":{"amr":null,"acr":{"essential":true,` + acr + `}}}`}
	}
	w.authorize(fromProConnect(essential(`"values":["eidas0-mfa","eidas1-mfa","eidas2","eidas3"]`)...))
	if w.door.last.Assurance != signin.TwoFactors {
		t.Errorf("asked for level %d", w.door.last.Assurance)
	}
	w.redirectedWith(w.authorize(fromProConnect(essential(`"value":"eidas3"`)...)), "unmet_authentication_requirements")
	w.known(signin.TwoFactors)
	if c := idToken(essential(`"values":["eidas0-mfa","eidas1-mfa","eidas2","eidas3"]`)...); c["acr"] != "eidas1-mfa" {
		t.Errorf("acr %v", c["acr"])
	}
	if c := idToken(essential(`"value":"eidas1"`)...); c["acr"] != "eidas1" {
		t.Errorf("acr %v", c["acr"])
	}
	for _, unknown := range []string{"https://proconnect.gouv.fr/assurance/certification-dirigeant", "eidas2", "niveau-inconnu"} {
		if c := idToken("acr_values", unknown); c["acr"] != "eidas1-mfa" {
			t.Errorf("acr_values=%s: acr %v", unknown, c["acr"])
		}
	}
}

// What ProConnect is told has no effect on who else learns what.
func TestTheProfileChangesNothingForOthers(t *testing.T) {
	w := onOne(t)
	claims := w.userinfo(w.tokens("tool").text("access_token")).json
	if claims["preferred_username"] != "mdupont" || claims["siret"] != nil || claims["uid"] != nil {
		t.Errorf("%v", claims)
	}
}

func TestEveryRuleOfProConnectIsHeldAtStart(t *testing.T) {
	good := Client{ID: "proconnect", Name: map[string]string{"fr": "ProConnect"}, Profile: ProfileProConnect, SecretHashes: []string{secret.Hash(secret1)},
		RedirectURIs: []string{back}, PostLogoutURIs: []string{"https://tool.example.test/bye"}}
	if err := (Config{Issuer: "https://id.example.fr", Applications: []Client{good}, ProConnect: sampleProConnect()}).Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key    string
		change func(c *Client)
		conf   func(c *ProConnectConfig)
	}{
		{`"proconnect": public: `, func(c *Client) { c.Public, c.SecretHashes = true, nil }, nil},
		{`"proconnect": secret_file: `, func(c *Client) { c.SecretHashes = nil }, nil},
		{`"proconnect": auth_method: `, func(c *Client) { c.AuthMethod = AuthBasic }, nil},
		{`"proconnect": auth_method: `, func(c *Client) { c.AuthMethod = AuthKey }, nil},
		{`"proconnect": grants: `, func(c *Client) { c.Grants = []string{GrantClientCredentials} }, nil},
		{`"proconnect": redirect_uris: `, func(c *Client) { c.RedirectURIs = nil }, nil},
		{`"proconnect": redirect_uris: `, func(c *Client) { c.RedirectURIs = []string{"http://fca.example.test/cb"} }, nil},
		{`"proconnect": post_logout_redirect_uris: `, func(c *Client) { c.PostLogoutURIs = nil }, nil},
		{`"proconnect": groups: `, func(c *Client) { c.Groups = []string{"tous-personnels"} }, nil},
		{`"proconnect": assurance: `, func(c *Client) { c.Assurance = 3 }, nil},
		{`"proconnect": consent: `, func(c *Client) { c.Consent = ConsentOnce }, nil},
		{`"proconnect": par_required: `, func(c *Client) { c.PARRequired = true }, nil},
		{`"proconnect": userinfo_alg: `, func(c *Client) { c.UserinfoAlg = "HS256" }, nil},
		{`"proconnect": userinfo_alg: `, func(c *Client) { c.UserinfoAlg = EdDSA }, nil},
		{`"proconnect": id_token_alg: `, func(c *Client) { c.IDTokenAlg = PS256 }, nil},
		{"proconnect.siret: ", nil, func(c *ProConnectConfig) { c.SIRET = "" }},
		{"proconnect.siret: ", nil, func(c *ProConnectConfig) { c.SIRET = "17590000000018" }},
		{"proconnect.schools: ", nil, func(c *ProConnectConfig) {
			c.Schools = map[string]ProConnectSchool{"0590002B": {SIRET: "19590002200012"}}
		}},
		{"proconnect.schools: ", nil, func(c *ProConnectConfig) { c.Schools = map[string]ProConnectSchool{"59": {SIRET: schoolSIRET}} }},
		{"proconnect.schools: ", nil, func(c *ProConnectConfig) {
			c.Schools = map[string]ProConnectSchool{"0590002b": {SIRET: schoolSIRET}, "0590002B": {SIRET: schoolSIRET}}
		}},
		{"proconnect.schools_file: ", nil, func(c *ProConnectConfig) { c.SchoolsFile = "/nowhere.csv" }},
		{"proconnect.mail_domains: ", nil, func(c *ProConnectConfig) { c.MailDomains = nil }},
		{"proconnect.mail_domains: ", nil, func(c *ProConnectConfig) { c.MailDomains = []string{"@ac-lille.fr"} }},
		{"proconnect.uid: ", nil, func(c *ProConnectConfig) { c.UID = "numen" }},
		{"proconnect.organizational_unit: ", nil, func(c *ProConnectConfig) { c.OrganizationalUnit = "etablissement" }},
		{"proconnect.populations: ", nil, func(c *ProConnectConfig) { c.Populations = map[string]string{"EXT": "externe"} }},
	} {
		app, conf := good, sampleProConnect()
		if c.change != nil {
			c.change(&app)
		}
		if c.conf != nil {
			c.conf(&conf)
		}
		mistakes := Config{Issuer: "https://id.example.fr", Applications: []Client{app}, ProConnect: conf}.Validate()
		if !slices.ContainsFunc(mistakes, func(err error) bool { return strings.Contains(err.Error(), c.key) }) {
			t.Errorf("nothing said of %s, but %v", c.key, mistakes)
		}
	}
	// Without the application nobody needs the section; half a section is a mistake.
	if err := (Config{Issuer: "https://id.example.fr"}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{Issuer: "https://id.example.fr", ProConnect: ProConnectConfig{SIRET: academySIRET}}).Validate(); err == nil {
		t.Error("a section without mail_domains passes")
	}
}

func TestTheProfileIsForTheConfigurationFile(t *testing.T) {
	w := onOne(t)
	one := Client{ID: "federation", Name: map[string]string{"fr": "F"}, Profile: ProfileProConnect, RedirectURIs: []string{back}, PostLogoutURIs: []string{back}}
	if _, err := w.p.clients.Add(t.Context(), audit.System("test"), one); err == nil || !strings.Contains(err.Error(), "profile") {
		t.Errorf("%v", err)
	}
}

func TestSchoolsAreReadFromAFile(t *testing.T) {
	for _, c := range []struct{ name, text, want, wrong string }{
		{"semicolons", "UAI;SIRET;Nom\n0590002B;" + schoolSIRET + ";Collège Jean-Zay\n0590001A;175 900 000 00019;\n", "0590001A:" + academySIRET + ":, 0590002B:" + schoolSIRET + ":Collège Jean-Zay", ""},
		{"commas, a byte order mark, Windows lines", "\ufeff0590002b," + schoolSIRET + ",\"Jean-Zay, Lomme\"\r\n# later\r\n", "0590002B:" + schoolSIRET + ":Jean-Zay, Lomme", ""},
		{"a spreadsheet's rounding", "0590002B;1,9590002E+13\n", "", "spreadsheet"},
		{"a mistyped digit", "0590001A;" + academySIRET + "\n0590002B;19590002200012\n", "", "line 2: 0590002B"},
		{"twice", "0590002B;" + schoolSIRET + "\n0590002b;" + schoolSIRET + "\n", "", "stands twice"},
		{"one column", "0590002B\n", "", "line 1: has 1 fields"},
		{"Latin-1", "0590002B;" + schoolSIRET + ";Coll\xe8ge\n", "", "UTF-8"},
	} {
		path := filepath.Join(t.TempDir(), "schools.csv")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, mistakes := ProConnectConfig{SIRET: academySIRET, MailDomains: []string{"academie.test"}, SchoolsFile: path}.open()
		if c.wrong != "" {
			if len(mistakes) != 1 || !strings.HasPrefix(mistakes[0].Error(), "proconnect.schools_file: ") || !strings.Contains(mistakes[0].Error(), c.wrong) {
				t.Errorf("%s: %v", c.name, mistakes)
			}
			continue
		}
		var got []string
		for _, uai := range slices.Sorted(maps.Keys(p.schools)) {
			got = append(got, uai+":"+p.schools[uai].SIRET+":"+p.schools[uai].Name)
		}
		if mistakes != nil || strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %v %v", c.name, got, mistakes)
		}
	}
}

func TestALongExpiredTokenIsAHintAndNothingElse(t *testing.T) {
	w := onOne(t)
	tokens := w.tokens("tool")
	old, err := w.p.LongExpired(t.Context(), tokens.text("id_token"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.p.keys.verify(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if exp, _ := token.claims["exp"].(int64); exp >= w.clock.now().Unix() || token.claims["aud"] != "tool" || token.claims["sub"] != marie {
		t.Errorf("%v", token.claims)
	}
	if w.active("tool", old) {
		t.Error("it is an active token")
	}
	if a := w.userinfo(old); a.status != 401 {
		t.Errorf("userinfo takes it: %d", a.status)
	}
	for _, other := range []string{tokens.text("access_token"), "", "a.b.c", strings.ToUpper(tokens.text("id_token"))} {
		if _, err := w.p.LongExpired(t.Context(), other); err == nil {
			t.Errorf("%.20q was made older", other)
		}
	}
}
