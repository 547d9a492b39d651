package oidc

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/signin"
)

type doc map[string]any

// opened lets applications register themselves.
func (w *world) opened(mode string, policy RegistrationPolicy) {
	w.p.cfg.Registration = RegistrationConfig{Mode: mode, RegistrationPolicy: policy}.withDefaults()
}

func (w *world) invite(policy RegistrationPolicy, uses int, life time.Duration) string {
	w.t.Helper()
	plain, _, err := w.p.clients.Invite(w.t.Context(), audit.Operator("root"), Invite{Policy: policy, Uses: uses, Note: "tests"}, life)
	if err != nil {
		w.t.Fatal(err)
	}
	return plain
}

// sendJSON sends a document with a bearer token, if one is given.
func (w *world) sendJSON(method, path, token string, body any) answer {
	w.t.Helper()
	text, raw := body.(string)
	if !raw && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(b)
	}
	r, err := http.NewRequest(method, w.http.URL+path, strings.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.send(r)
}

const registeredBack = "https://new.example.test/callback"

func document(change doc) doc {
	d := doc{"client_name": "New tool", "redirect_uris": []string{registeredBack}, "grant_types": []string{GrantCode, GrantRefresh}}
	maps.Copy(d, change)
	maps.DeleteFunc(d, func(_ string, v any) bool { return v == "-" })
	return d
}

// newcomer registers at an open provider, or by an invitation.
func (w *world) newcomer(token string, change doc) answer {
	w.t.Helper()
	return w.sendJSON(http.MethodPost, "/oauth2/register", token, document(change))
}

func (w *world) manage(method string, a answer, body any) answer {
	w.t.Helper()
	uri := a.text("registration_client_uri")
	if !strings.HasPrefix(uri, w.http.URL) {
		w.t.Fatalf("registration_client_uri %q", uri)
	}
	return w.sendJSON(method, strings.TrimPrefix(uri, w.http.URL), a.text("registration_access_token"), body)
}

func TestRegistrationIsClosedUnlessOpened(t *testing.T) {
	w := onOne(t)
	for _, a := range []answer{w.newcomer("", nil), w.newcomer("bfi_guess", nil), w.sendJSON(http.MethodGet, "/oauth2/register/tool", "bfm_guess", nil)} {
		if a.status != 403 || a.text("error") != "access_denied" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if w.get("/.well-known/openid-configuration").json["registration_endpoint"] != nil {
		t.Error("discovery offers registration")
	}
	w.opened(RegistrationToken, RegistrationPolicy{})
	text, err := w.p.discoveryDocument()
	if err != nil || !strings.Contains(string(text), `"registration_endpoint": "`+w.http.URL+`/oauth2/register"`) {
		t.Errorf("%v %s", err, text)
	}
	for _, token := range []string{"", "bfi_guess", "guess", "bfi_"} {
		a := w.newcomer(token, nil)
		if a.status != 401 || a.text("error") != "invalid_token" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%q: %d %s", token, a.status, a.body)
		}
	}
	if w.trail("oidc.register", "invite") != 4 {
		t.Error("guessed invitations leave no trace")
	}
}

func TestARegisteredApplicationSignsPeopleIn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationToken, RegistrationPolicy{})
		a := w.newcomer(w.invite(RegistrationPolicy{Consent: ConsentNever}, 1, time.Hour), doc{"client_name#fr": "Nouvel outil", "scope": "openid email dav unknown", "contacts": []string{"dev@example.test"},
			"logo_uri": "https://new.example.test/logo.png", "policy_uri": "https://new.example.test/privacy", "tos_uri": "https://new.example.test/tos", "client_uri": "https://new.example.test/",
			"id_token_signed_response_alg": ES256, "default_max_age": 3600, "default_acr_values": []string{"https://refeds.org/profile/mfa"}, "require_auth_time": true,
			"post_logout_redirect_uris": []string{"https://new.example.test/bye"}, "initiate_login_uri": "https://new.example.test/start", "unknown_member": doc{"deep": true}, "jwks": nil,
			"backchannel_logout_uri": "https://new.example.test/bc", "backchannel_logout_session_required": true, "frontchannel_logout_uri": "https://new.example.test/fc"})
		w.must(a, 201)
		if a.header.Get("Cache-Control") != "no-store" || a.text("client_secret") == "" || a.json["client_secret_expires_at"] != 0.0 || a.text("token_endpoint_auth_method") != AuthBasic ||
			a.text("scope") != "openid email" || a.text("client_name") != "New tool" || a.text("client_name#fr") != "Nouvel outil" || a.json["default_max_age"] != 3600.0 ||
			a.json["client_id_issued_at"] != float64(w.clock.now().Unix()) || a.json["unknown_member"] != nil || fmt.Sprint(a.json["response_types"]) != "[code]" || a.json["jwks"] != nil {
			t.Errorf("%s", a.body)
		}
		id, secret := a.text("client_id"), a.text("client_secret")
		b := w.redeem(id+":"+secret, w.code(id, "redirect_uri", registeredBack, "scope", "openid email"), "redirect_uri", registeredBack)
		w.must(b, 200)
		if alg := w.idClaims(id, b.text("id_token")); alg["aud"] == nil {
			t.Errorf("%v", alg)
		}
		w.refusedWith(w.post("/oauth2/introspect", "", url.Values{"token": {"x"}, "client_id": {id}, "client_secret": {secret}}), "invalid_client") // by header only
		if e := w.entry(id); !e.Registered || e.Invite == "" || e.Consent != ConsentNever || e.Home != "" {
			t.Errorf("%+v", e)
		}
		if w.trail("app.register", "") != 1 {
			t.Error("a registration leaves no trace")
		}
		// Another replica hears of it at once, before it has read the registry again.
		if _, err := w.p.clients.Get(t.Context(), registeredPrefix+"nobody"); err != ErrUnknownClient {
			t.Error(err)
		}
	})
}

func TestAnotherReplicaKnowsANewApplicationAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationOpen, RegistrationPolicy{})
		other, err := OpenClients(t.Context(), w.db, w.audit, w.files, 1, w.clock.now)
		if err != nil {
			t.Fatal(err)
		}
		a := w.newcomer("", nil)
		w.must(a, 201)
		if c, err := other.Get(t.Context(), a.text("client_id")); err != nil || c.ID != a.text("client_id") {
			t.Errorf("%v", err)
		}
	})
}

func TestAnInvitationIsGoodAsOftenAsItSaysAndNoLonger(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationToken, RegistrationPolicy{})
		token := w.invite(RegistrationPolicy{}, 3, time.Hour)
		w.refusedWith(w.newcomer(token, doc{"redirect_uris": []string{"http://far.test/"}}), "invalid_redirect_uri") // a mistake uses nothing up
		var made, refused atomic.Int64
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				switch a := w.newcomer(token, nil); a.status {
				case 201:
					made.Add(1)
				case 401:
					refused.Add(1)
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
		if made.Load() != 3 || refused.Load() != 9 {
			t.Errorf("%d made, %d refused", made.Load(), refused.Load())
		}
		registered := 0
		for _, c := range mustList(t, w) {
			if c.Registered {
				registered++
			}
		}
		if registered != 3 {
			t.Errorf("%d stored", registered)
		}
		late := w.invite(RegistrationPolicy{}, 1, time.Hour)
		w.clock.pass(time.Hour)
		w.refusedWith(w.newcomer(late, nil), "invalid_token")
		revoked := w.invite(RegistrationPolicy{}, 1, time.Hour)
		all, err := w.p.clients.Invites(t.Context())
		if err != nil || len(all) != 3 {
			t.Fatal(all, err)
		}
		shown, _ := json.Marshal(all)
		if strings.Contains(string(shown), hashOf(revoked)) || strings.Contains(string(shown), revoked) {
			t.Errorf("a list shows an invitation: %s", shown)
		}
		if err := w.p.clients.RevokeInvite(t.Context(), audit.Operator("root"), all[0].ID); err != nil {
			t.Fatal(err)
		}
		w.refusedWith(w.newcomer(revoked, nil), "invalid_token")
		if err := w.p.clients.RevokeInvite(t.Context(), audit.Operator("root"), all[0].ID); err == nil {
			t.Error("revoked twice")
		}
	})
}

func mustList(t *testing.T, w *world) []Entry {
	t.Helper()
	all, err := w.p.clients.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheInvitationSaysWhatMayBeRegistered(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationToken, RegistrationPolicy{})
	token := w.invite(RegistrationPolicy{Scopes: []string{"openid", "groups"}, Grants: []string{GrantCode}, RedirectHosts: []string{"new.example.test"}, Groups: []string{"helpdesk"}, Assurance: 2,
		Consent: ConsentAlways, PKCEWaived: true, Life: time.Hour}, 100, 24*time.Hour)
	w.refusedWith(w.newcomer(token, nil), "invalid_client_metadata") // refresh_token is not among the grants
	plain := doc{"grant_types": []string{GrantCode}}
	for name, change := range map[string]doc{
		"another host": {"redirect_uris": []string{"https://other.example.test/"}}, "a host below": {"redirect_uris": []string{"https://x.new.example.test/"}},
		"one of two": {"redirect_uris": []string{registeredBack, "https://evil.test/"}}, "a user before the host": {"redirect_uris": []string{"https://new.example.test@evil.test/"}},
		"an own scheme": {"redirect_uris": []string{"org.example.app:/cb"}, "token_endpoint_auth_method": "none"},
	} {
		maps.Copy(change, plain)
		if a := w.newcomer(token, change); a.status != 400 || a.text("error") != "invalid_redirect_uri" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, member := range []string{"jwks_uri", "logo_uri", "policy_uri", "tos_uri", "client_uri", "initiate_login_uri", "backchannel_logout_uri", "sector_identifier_uri"} {
		w.refusedWith(w.newcomer(token, doc{"grant_types": []string{GrantCode}, member: "https://evil.test/x"}), "invalid_client_metadata")
	}
	for _, member := range []string{"request_uris", "post_logout_redirect_uris"} {
		w.refusedWith(w.newcomer(token, doc{"grant_types": []string{GrantCode}, member: []string{"https://evil.test/x"}}), "invalid_client_metadata")
	}
	w.refusedWith(w.newcomer(token, doc{"grant_types": []string{GrantCode}, "scope": "mail dav"}), "invalid_client_metadata")
	a := w.newcomer(token, plain)
	w.must(a, 201)
	if e := w.entry(a.text("client_id")); !slices.Equal(e.Groups, []string{"helpdesk"}) || e.Assurance != 2 || e.Consent != ConsentAlways || !e.PKCEWaived || !slices.Equal(e.Scopes, []string{"openid", "groups"}) {
		t.Errorf("%+v", e)
	}
	if a.json["client_secret_expires_at"] != float64(w.clock.now().Add(time.Hour).Unix()) {
		t.Errorf("%s", a.body)
	}
	public := w.newcomer(token, doc{"grant_types": []string{GrantCode}, "token_endpoint_auth_method": "none"})
	w.must(public, 201)
	if w.entry(public.text("client_id")).PKCEWaived || public.json["client_secret"] != nil {
		t.Error("PKCE is waived for a public application, or it has a secret")
	}
	// Its time ends without a sweep, and a sweep takes it away.
	w.clock.pass(time.Hour)
	w.notRedirected(w.authorize(request(a.text("client_id"), "redirect_uri", registeredBack)))
	w.refusedWith(w.manage(http.MethodGet, a, nil), "invalid_token")
	if _, err := w.p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(mustList(t, w), func(e Entry) bool { return e.ID == a.text("client_id") }) {
		t.Error("it is still listed")
	}
}

func TestRow24NoMemberOfADocumentSetsWhatIsTheOperatorsToSet(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{Groups: []string{"helpdesk"}, Assurance: 2})
	hostile := doc{"id": "tool", "client_id": "tool", "groups": []string{}, "Groups": nil, "assurance": 1, "consent": "never", "profile": "proconnect", "audience": "imap2", "resources": []string{"https://x.test/"},
		"exchange_to": []string{"imap"}, "pkce_waived": true, "public": true, "token_format": "jwt", "token_alg": "ES256", "home": "https://evil.test/", "icon": "mail", "category": "x", "description": doc{"fr": "x"},
		"secret_sha256": []string{hashOf("known")}, "SecretHashes": []string{hashOf("known")}, "client_secret": "known", "assertion_issuers": []doc{{"issuer": "x"}}, "registration_access_token": "known",
		"Redirect_URIs": []string{"https://evil.test/"}, "SCOPE": "dav", "name": doc{"fr": "x"}, "scopes": []string{"dav"}, "grants": []string{GrantExchange}, "life": 1, "policy": "https://evil.test/"}
	a := w.newcomer("", hostile)
	w.must(a, 201)
	id := a.text("client_id")
	e := w.entry(id)
	if id == "tool" || !slices.Equal(e.Groups, []string{"helpdesk"}) || e.Assurance != 2 || e.Consent != ConsentOnce || e.Profile != "" || e.Audience != "" || e.Resources != nil || e.ExchangeTo != nil || e.PKCEWaived || e.Public ||
		e.TokenFormat != FormatOpaque || e.TokenAlg != RS256 || e.Home != "" || e.Icon != "" || e.Category != "" || e.Description != nil || len(e.AssertionIssuers) != 0 ||
		slices.Contains(e.SecretHashes, hashOf("known")) || slices.Contains(e.Scopes, "dav") || e.may(GrantExchange) || len(e.RedirectURIs) != 1 || e.Policy != "" || e.Name["fr"] != "New tool" {
		t.Errorf("%+v", e.Client)
	}
	if a.text("client_secret") == "known" || a.text("registration_access_token") == "known" {
		t.Error("the document chose a secret")
	}
	// Nobody here has consented for it: the person is asked.
	if to := w.authorize(request(id, "redirect_uri", registeredBack, "scope", "openid")).header.Get("Location"); !strings.HasPrefix(to, "/oauth2/consent") {
		t.Errorf("nobody is asked: %s", to)
	}
	for _, grant := range []string{GrantExchange, GrantJWTBearer, "password", "implicit"} {
		w.refusedWith(w.newcomer("", doc{"grant_types": []string{GrantCode, grant}}), "invalid_client_metadata")
	}
	// A change is bound as the registration was, also after the operator's rules have been edited in.
	changed := w.manage(http.MethodPut, a, document(doc{"client_id": id, "groups": []string{}, "assurance": 1, "scopes": []string{"dav"}, "scope": "openid dav", "client_name": "Other", "exchange_to": []string{"imap"}}))
	w.must(changed, 200)
	if e := w.entry(id); !slices.Equal(e.Groups, []string{"helpdesk"}) || e.Assurance != 2 || !slices.Equal(e.Scopes, []string{"openid"}) || e.ExchangeTo != nil || e.Consent != ConsentOnce {
		t.Errorf("%+v", e.Client)
	}
}

func TestBadRegistrationDocumentsAreRefusedWithTheirName(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{})
	many := make([]string, 21)
	for i := range many {
		many[i] = fmt.Sprintf("https://new.example.test/%d", i)
	}
	private := `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]}`
	for code, changes := range map[string][]doc{
		"invalid_redirect_uri": {{"redirect_uris": "-"}, {"redirect_uris": []string{}}, {"redirect_uris": []string{"https://new.example.test/#f"}}, {"redirect_uris": []string{"http://new.example.test/"}},
			{"redirect_uris": []string{"javascript:alert(1)"}}, {"redirect_uris": []string{"org.example.app:/cb"}}, {"redirect_uris": []string{"https://*.example.test/"}}, {"redirect_uris": []string{"https://u@new.example.test/"}}},
		"invalid_client_metadata": {{"redirect_uris": registeredBack}, {"redirect_uris": []any{7}}, {"redirect_uris": many}, {"redirect_uris": []string{"https://new.example.test/" + strings.Repeat("x", 2048)}},
			{"client_name": 7}, {"client_name": strings.Repeat("n", 101)}, {"client_name": "a\nb"}, {"client_name": "abc\u202ecba"}, {"client_name": "a\u200bb"}, {"client_name#fr": []string{"x"}},
			{"response_types": []string{"token"}}, {"response_types": []string{"code", "id_token"}}, {"grant_types": []string{GrantRefresh}}, {"grant_types": GrantCode},
			{"token_endpoint_auth_method": "client_secret_jwt"}, {"token_endpoint_auth_method": "tls_client_auth"}, {"token_endpoint_auth_method": AuthKey}, {"token_endpoint_auth_method": AuthKey, "jwks": json.RawMessage(private)},
			{"jwks": doc{"keys": []any{}}}, {"jwks": "x"}, {"jwks": json.RawMessage(jwksOfTests(RS256)), "jwks_uri": "https://new.example.test/jwks"}, {"jwks_uri": "http://new.example.test/jwks"}, {"jwks_uri": "file:///etc/passwd"},
			{"id_token_signed_response_alg": "none"}, {"id_token_signed_response_alg": "HS256"}, {"userinfo_signed_response_alg": "none"}, {"request_object_signing_alg": "none"}, {"id_token_encrypted_response_alg": "RSA-OAEP"},
			{"subject_type": "private"}, {"subject_type": "pairwise", "redirect_uris": []string{"https://a.test/", "https://b.test/"}}, {"sector_identifier_uri": "http://new.example.test/"},
			{"logo_uri": "https://counter.test/x.png"}, {"logo_uri": "javascript:alert(1)"}, {"policy_uri": "javascript:alert(1)"}, {"tos_uri": "data:text/html,x"}, {"client_uri": "javascript:alert(1)"},
			{"contacts": []string{"javascript:alert(1)"}}, {"default_max_age": -1}, {"default_max_age": "60"}, {"default_max_age": 1.5}, {"default_acr_values": "x"}, {"require_auth_time": "yes"},
			{"initiate_login_uri": "http://new.example.test/"}, {"initiate_login_uri": "javascript:x"}, {"post_logout_redirect_uris": []string{"javascript:x"}}, {"request_uris": []string{"http://169.254.169.254/"}},
			{"backchannel_logout_uri": "http://new.example.test/"}, {"frontchannel_logout_uri": "https://other.test/"}, {"application_type": "desktop"}, {"scope": 7}, {"scope": "root"}},
		"invalid_software_statement": {{"software_statement": "a.b.c"}},
	} {
		for _, change := range changes {
			a := w.newcomer("", change)
			if a.status != 400 || a.text("error") != code {
				t.Errorf("%v: %d %s, want %s", change, a.status, a.body, code)
			}
		}
	}
	for name, body := range map[string]string{"not JSON": "x=y", "a list": "[]", "null": "null", "nothing": "", "two": `{} {}`, "twice": `{"redirect_uris":["https://a.test/"],"redirect_uris":["https://b.test/"]}`, "deep": strings.Repeat("[", 20000)} {
		if a := w.sendJSON(http.MethodPost, "/oauth2/register", "", body); a.status != 400 || a.text("error") != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := w.sendJSON(http.MethodPost, "/oauth2/register", "", `{"client_name":"`+strings.Repeat("x", 33<<10)+`"}`); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("33 KiB: %d %s", a.status, a.body)
	}
	r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/oauth2/register", strings.NewReader(`{"redirect_uris":["https://a.test/"]}`))
	r.Header.Set("Content-Type", "text/plain")
	w.refusedWith(w.send(r), "invalid_client_metadata")
	if n := len(mustList(t, w)); n != len(w.files) {
		t.Errorf("%d applications", n)
	}
}

func TestAStrangerCannotSendThisServerToItsOwnDoors(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{})
	w.p.cfg.Issuer = "https://id.example.test"
	for _, change := range []doc{{"jwks_uri": "http://127.0.0.1:9090/metrics"}, {"jwks_uri": "http://localhost/x"}, {"backchannel_logout_uri": "http://[::1]/x"}, {"request_uris": []string{"http://127.8.8.8/x"}}} {
		w.refusedWith(w.newcomer("", change), "invalid_client_metadata")
	}
}

func TestARegistrationIsReadChangedAndEndedByItsToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationToken, RegistrationPolicy{})
		invite := w.invite(RegistrationPolicy{Consent: ConsentNever}, 10, time.Hour)
		a := w.newcomer(invite, nil)
		w.must(a, 201)
		other := w.newcomer(invite, nil)
		id, secret := a.text("client_id"), a.text("client_secret")
		tokens := w.redeem(id+":"+secret, w.code(id, "redirect_uri", registeredBack, "scope", "openid profile"), "redirect_uri", registeredBack)
		w.must(tokens, 200)

		for name, token := range map[string]string{"none": "", "another's": other.text("registration_access_token"), "an invitation": invite, "its secret": secret, "an access token": tokens.text("access_token"), "cut": a.text("registration_access_token")[:40]} {
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				b := w.sendJSON(method, "/oauth2/register/"+id, token, document(doc{"client_id": id}))
				if b.status != 401 || b.text("error") != "invalid_token" {
					t.Errorf("%s %s: %d %s", method, name, b.status, b.body)
				}
			}
		}
		for _, foreign := range []string{"tool", "nobody", "spa"} {
			w.must(w.sendJSON(http.MethodGet, "/oauth2/register/"+foreign, a.text("registration_access_token"), nil), 401)
			w.must(w.sendJSON(http.MethodGet, "/oauth2/register/"+foreign, "", nil), 401)
		}

		read := w.manage(http.MethodGet, a, nil)
		w.must(read, 200)
		if read.json["client_secret"] != nil || read.text("client_id") != id || read.text("registration_access_token") != a.text("registration_access_token") {
			t.Errorf("%s", read.body)
		}
		for name, change := range map[string]doc{"no client_id": {"client_id": "-"}, "another's": {"client_id": other.text("client_id")}, "a wrong secret": {"client_secret": "guess"}, "what the provider sets": {"client_id_issued_at": 1}, "a token": {"registration_access_token": "x"}} {
			d := document(doc{"client_id": id})
			maps.Copy(d, change)
			maps.DeleteFunc(d, func(_ string, v any) bool { return v == "-" })
			if b := w.manage(http.MethodPut, a, d); b.status != 400 || b.text("error") != "invalid_client_metadata" {
				t.Errorf("%s: %d %s", name, b.status, b.body)
			}
		}
		b := w.manage(http.MethodPut, a, document(doc{"client_id": id, "client_secret": secret, "client_name": "Renamed", "logo_uri": "https://new.example.test/l.png"}))
		w.must(b, 200)
		if b.json["client_secret"] != nil || b.text("client_name") != "Renamed" || b.text("registration_access_token") == a.text("registration_access_token") {
			t.Errorf("%s", b.body)
		}
		w.refusedWith(w.manage(http.MethodGet, a, nil), "invalid_token") // the former token is spent
		if w.opens(id, secret) {
			t.Error("by post, though registered for basic")
		}
		w.must(w.introspect(id+":"+secret, "x"), 200) // the secret goes on
		rows, err := w.audit.List(t.Context(), audit.Filter{Action: "app.reregister"})
		if err != nil || len(rows) != 1 || rows[0].Detail["changed"] != "logo_uri name" {
			t.Errorf("%v %v", rows, err)
		}

		// What is left out of a change is forgotten; a way of authentication that needs a secret anew gets one.
		c := w.manage(http.MethodPut, b, document(doc{"client_id": id, "token_endpoint_auth_method": "none"}))
		w.must(c, 200)
		if c.json["logo_uri"] != nil || c.json["client_secret"] != nil || c.json["client_secret_expires_at"] != nil {
			t.Errorf("%s", c.body)
		}
		w.refusedWith(w.introspect(id+":"+secret, "x"), "invalid_client")
		d := w.manage(http.MethodPut, c, document(doc{"client_id": id, "token_endpoint_auth_method": AuthPost}))
		w.must(d, 200)
		if d.text("client_secret") == "" || d.text("client_secret") == secret || !w.opens(id, d.text("client_secret")) || w.opens(id, secret) {
			t.Errorf("%s", d.body)
		}

		w.must(w.manage(http.MethodDelete, d, nil), 204)
		w.refusedWith(w.manage(http.MethodGet, d, nil), "invalid_token")
		w.must(w.userinfo(tokens.text("access_token")), 401)
		w.notRedirected(w.authorize(request(id, "redirect_uri", registeredBack)))
		if w.trail("app.remove", "") != 1 || w.trail("oidc.register", "token") == 0 {
			t.Error("no trace")
		}
	})
}

func TestOfTwoChangesAtOnceOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationOpen, RegistrationPolicy{})
		a := w.newcomer("", nil)
		w.must(a, 201)
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				b := w.manage(http.MethodPut, a, document(doc{"client_id": a.text("client_id"), "client_name": fmt.Sprint("Name ", i)}))
				if b.status == 200 {
					won.Add(1)
				} else {
					w.refusedWith(b, "invalid_token")
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d changes won", won.Load())
		}
	})
}

func TestTheTextsOfAStrangerAreTextOnThePages(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		w.opened(RegistrationOpen, RegistrationPolicy{})
		hostile := `"><script>alert(1)</script><img src=x onerror=alert(1)>`
		a := w.newcomer("", doc{"client_name": hostile, "logo_uri": `https://new.example.test/x.png?"onerror=alert(1)//`, "policy_uri": `https://new.example.test/p?'"><script>`, "tos_uri": `https://new.example.test/t?"><script>`, "scope": "openid email"})
		w.must(a, 201)
		page, _ := v.question(v.authorize(a.text("client_id"), "redirect_uri", registeredBack, "scope", "openid email"))
		if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<img src=x") || strings.Contains(page.body, `"onerror`) || strings.Contains(page.body, `"><script>`) || !strings.Contains(page.body, "&lt;script&gt;alert(1)") {
			t.Errorf("%s", page.body)
		}
		if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self';") || strings.Contains(csp, "unsafe") || strings.Count(csp, "script-src") != 1 {
			t.Errorf("%s", csp)
		}
		const warning = "s’est inscrit lui-même"
		if !strings.Contains(page.body, warning) {
			t.Error("nobody tells the person that a stranger chose the name")
		}
		if page, _ := v.question(v.authorize("tool", "scope", "openid email")); strings.Contains(page.body, warning) {
			t.Error("the academy's own tool is called a stranger")
		}
	})
}

func TestSecretsAreNeverReadableAgain(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{})
	w.keyed()
	a := w.newcomer("", doc{"jwks": json.RawMessage(jwksOfTests(RS256))})
	w.must(a, 201)
	invite := w.invite(RegistrationPolicy{}, 1, time.Hour)
	list, err := json.Marshal(mustList(t, w))
	if err != nil {
		t.Fatal(err)
	}
	invites, err := w.p.clients.Invites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	invitesShown, _ := json.Marshal(invites)
	read := w.manage(http.MethodGet, a, nil)
	w.must(read, 200)
	token := a.text("registration_access_token")
	for place, shown := range map[string]string{"GET": strings.ReplaceAll(read.body, token, ""), "list": string(list), "invitations": string(invitesShown), "tiles": w.get("/.well-known/openid-configuration").body} {
		for _, hidden := range []string{a.text("client_secret"), hashOf(a.text("client_secret")), token, hashOf(token), invite, hashOf(invite), secret1, hashOf(secret1), `"client_secret"`, `"secret`, `"SecretHashes`, `"secret_sha256`, `"d":`} {
			if hidden != "" && strings.Contains(strings.ReplaceAll(shown, `"secrets":`, ""), hidden) {
				t.Errorf("%s shows %s", place, hidden)
			}
		}
	}
}

func TestOnlySoManyApplicationsRegisterThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationOpen, RegistrationPolicy{})
		w.p.cfg.Registration.Most = 2
		for range 2 {
			w.must(w.newcomer("", nil), 201)
		}
		w.refusedWith(w.newcomer("", nil), "access_denied")
		w.clock.pass(24 * time.Hour) // the life of what anybody registered
		w.must(w.newcomer("", nil), 201)
	})
}

func TestTheSectorDocumentListsEveryRedirectURI(t *testing.T) {
	w := onOne(t)
	var listed atomic.Value
	listed.Store(`["` + registeredBack + `", "https://b.example.test/cb"]`)
	sector := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(listed.Load().(string))) }))
	t.Cleanup(sector.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sector.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.p.outside, err = newOutside(ca, false); err != nil {
		t.Fatal(err)
	}
	w.opened(RegistrationOpen, RegistrationPolicy{})
	pairwise := func(uris ...string) answer {
		return w.newcomer("", doc{"subject_type": "pairwise", "sector_identifier_uri": sector.URL + "/sector.json", "redirect_uris": uris})
	}
	w.must(pairwise(registeredBack), 201)
	w.must(pairwise(registeredBack, "https://b.example.test/cb"), 201)
	w.refusedWith(pairwise(registeredBack, "https://c.example.test/cb"), "invalid_client_metadata")
	for _, bad := range []string{`{}`, `"x"`, `[1]`, `[]`, "", "x"} {
		listed.Store(bad)
		a := pairwise(registeredBack)
		w.refusedWith(a, "invalid_client_metadata")
		if strings.Contains(a.body, sector.URL) || strings.Contains(a.body, "status") {
			t.Errorf("the answer tells what was seen: %s", a.body)
		}
	}
	sector.Close()
	w.refusedWith(pairwise(registeredBack), "invalid_client_metadata")
}

func TestARegisteredKeyAuthenticates(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{Grants: []string{GrantCode, GrantClientCredentials}, Scopes: []string{"openid", "reports"}})
	a := w.newcomer("", doc{"grant_types": []string{GrantClientCredentials}, "redirect_uris": "-", "token_endpoint_auth_method": AuthKey, "token_endpoint_auth_signing_alg": ES256, "jwks": json.RawMessage(jwksOfTests(ES256, RS256))})
	w.must(a, 201)
	if a.json["client_secret"] != nil {
		t.Errorf("%s", a.body)
	}
	id := a.text("client_id")
	w.must(w.post("/oauth2/token", "", asserted(signForeign(t, ES256, w.claims(map[string]any{"iss": id, "sub": id})))), 200)
	w.refusedWith(w.post("/oauth2/token", "", asserted(signForeign(t, RS256, w.claims(map[string]any{"iss": id, "sub": id})))), "invalid_client")
}

func TestARegistrationPolicyReportsEveryMistake(t *testing.T) {
	errs := RegistrationConfig{Mode: "maybe", Most: -1, RegistrationPolicy: RegistrationPolicy{Scopes: []string{"a b"}, Grants: []string{GrantExchange}, RedirectHosts: []string{"*.example.test", "https://x.test", "a@b", ""},
		Assurance: 4, Consent: "maybe", Life: time.Second}}.validate()
	var all strings.Builder
	for _, err := range errs {
		all.WriteString(err.Error() + "\n")
	}
	for _, key := range []string{"registration.mode:", "registration.most:", "registration.scopes:", "registration.grants:", "registration.redirect_hosts:", "registration.assurance:", "registration.consent:", "registration.life:"} {
		if !strings.Contains(all.String(), key) {
			t.Errorf("nothing about %s in\n%s", key, all.String())
		}
	}
	if strings.Count(all.String(), "redirect_hosts") != 4 {
		t.Error(all.String())
	}
}

func TestAnApplicationThatMovesOrIsRenamedIsAllowedAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationOpen, RegistrationPolicy{})
		for name, c := range map[string]struct {
			change doc
			anew   bool
		}{
			"nothing":      {doc{}, false},
			"another path": {doc{"redirect_uris": []string{registeredBack, "https://new.example.test/other"}}, false},
			"its keys":     {doc{"default_max_age": 3600}, false},
			"another host": {doc{"redirect_uris": []string{registeredBack, "https://evil.example.test/callback"}}, true},
			"another port": {doc{"redirect_uris": []string{"https://new.example.test:8443/callback"}}, true},
			"another name": {doc{"client_name": "Payroll"}, true},
		} {
			a := w.newcomer("", nil)
			w.must(a, 201)
			id := a.text("client_id")
			if err := w.p.store.allow(t.Context(), marie, id, []string{"openid", "profile", "email"}, nil); err != nil {
				t.Fatal(err)
			}
			asked := func() bool {
				e := w.entry(id)
				return strings.HasPrefix(w.authorize(request(id, "scope", "openid email", "redirect_uri", e.RedirectURIs[len(e.RedirectURIs)-1])).header.Get("Location"), "/oauth2/consent?")
			}
			if asked() {
				t.Fatal("asked though it was allowed")
			}
			c.change["client_id"] = id
			w.must(w.manage(http.MethodPut, a, document(c.change)), 200)
			if asked() != c.anew {
				t.Errorf("%s: asked %v", name, !c.anew)
			}
		}
	})
}
