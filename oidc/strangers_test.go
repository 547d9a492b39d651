package oidc

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// What a stranger who may register an application can make this server do.

func TestWhatRegistersItselfIsReachedAsAStranger(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{})
	const host, within = "https://10.9.8.7", "inner network"
	a := w.newcomer("", doc{"jwks_uri": host + "/jwks", "request_uris": []string{host + "/object"}, "backchannel_logout_uri": host + "/logout", "token_endpoint_auth_method": AuthKey})
	w.must(a, 201)
	c := w.client(a.text("client_id"))
	start := time.Now()
	if _, err := w.p.foreign.of(t.Context(), c.keys(), false); err == nil || !strings.Contains(err.Error(), within) {
		t.Errorf("jwks_uri: %v", err)
	}
	if err := w.p.tellApplication(t.Context(), notice{Client: c.ID, Person: marie}); err == nil || !strings.Contains(err.Error(), within) {
		t.Errorf("backchannel_logout_uri: %v", err)
	}
	w.redirectedWith(w.authorize(url.Values{"client_id": {c.ID}, "redirect_uri": {registeredBack}, "request_uri": {host + "/object"}}), "invalid_request_uri")
	w.refusedWith(w.newcomer("", doc{"sector_identifier_uri": host + "/sector"}), "invalid_client_metadata")
	if took := time.Since(start); took > outsidePatience {
		t.Errorf("somebody was dialled, for %s", took)
	}
	// Whoever is known, and hosts that the operator has named, may be within.
	known := tool(func(c *Client) { c.JWKSURI = host + "/jwks" })
	if known.keys().stranger || w.p.outside.to(&known, host) != w.p.outside {
		t.Error("the operator's own applications are kept out")
	}
	named := w.newcomer(w.invite(RegistrationPolicy{RedirectHosts: []string{"new.example.test", "10.9.8.7"}}, 1, time.Hour), doc{"jwks_uri": host + "/jwks"})
	w.must(named, 201)
	one := w.client(named.text("client_id"))
	if one.keys().stranger || w.p.outside.to(one, host) != w.p.outside || w.p.outside.to(one, "https://10.9.8.8") == w.p.outside {
		t.Error("the invitation names one host, and that one is")
	}
	// An edit by the operator makes it one of the house.
	if _, err := w.p.clients.Edit(t.Context(), audit.Operator("root"), c.ID, func(c *Client) error { c.Contact = "3650"; return nil }); err != nil {
		t.Fatal(err)
	}
	if w.client(c.ID).keys().stranger {
		t.Error("an application that the operator has taken over is a stranger still")
	}
}

func TestKeysOfStrangersAreKeptApartAndBounded(t *testing.T) {
	w := onOne(t)
	f := w.p.foreign
	ask := func(uri string, stranger bool) {
		if _, err := f.of(t.Context(), keySource{uri: uri, stranger: stranger}, false); err == nil {
			t.Fatal("keys where there are none")
		}
	}
	const host = "http://127.0.0.1:1/"
	ask(host, false)
	for i := range foreignSets + 50 {
		ask(fmt.Sprint(host, i), true)
	}
	if n := len(f.known); n > foreignSets {
		t.Errorf("%d addresses are remembered", n)
	}
	if f.known[keyAddress{host, false}] == nil {
		t.Error("strangers push out what applications of the house have published")
	}
	ask(host, true)
	if len(f.known) < 2 || f.known[keyAddress{host, true}] == f.known[keyAddress{host, false}] {
		t.Error("one address has one answer for both")
	}
}

func TestKeysThatAreTooShortTooLongOrTooManyAreRefused(t *testing.T) {
	rsa := func(bits uint) string {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return fmt.Sprintf(`{"kty":"RSA","e":"AQAB","n":%q}`, base64.RawURLEncoding.EncodeToString(n.SetBit(n, 0, 1).Bytes()))
	}
	const ed = `{"kty":"OKP","crv":"Ed25519","x":"zuKRdEq00kh2ucQMX87mE0fQYT6schXCBL_k8NkrF3g"}`
	for name, c := range map[string]struct {
		keys []string
		ok   bool
	}{
		"2048 bits": {[]string{rsa(2048)}, true}, "8192 bits": {[]string{rsa(8192)}, true}, "1024 bits": {[]string{rsa(1024)}, false}, "8193 bits": {[]string{rsa(8193)}, false},
		"a long one among others": {[]string{ed, rsa(200_000)}, false}, "fifty": {strings.Split(strings.Repeat(ed+" ", keysMost-1)+ed, " "), true}, "more": {strings.Split(strings.Repeat(ed+" ", keysMost)+ed, " "), false},
	} {
		if _, err := parseKeys([]byte(`{"keys":[` + strings.Join(c.keys, ",") + `]}`)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// busy makes an address one request short of its limit.
func (w *world) busy(what string, most int) {
	w.t.Helper()
	for _, ip := range []netip.Addr{testAddress, {}} {
		if _, err := w.db.Exec(w.t.Context(), "INSERT INTO oidc_tally (key, count, since) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET count = excluded.count", fromAddress(what, ip), most-1, db.At(w.clock.now())); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestAnAddressRegistersAndPushesOnlySoOften(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.opened(RegistrationOpen, RegistrationPolicy{})
		tooMany := func(a answer) {
			t.Helper()
			if a.status != http.StatusTooManyRequests || a.text("error") != "temporarily_unavailable" {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		first := w.newcomer("", nil)
		w.must(first, 201)
		w.busy("register", registrationMost)
		w.refusedWith(w.newcomer("", doc{"redirect_uris": "x"}), "invalid_client_metadata") // counts, whatever comes of it
		tooMany(w.newcomer("", nil))
		tooMany(w.newcomer(w.invite(RegistrationPolicy{}, 1, time.Hour), nil))
		tooMany(w.manage(http.MethodPut, first, document(doc{"client_id": first.text("client_id")})))
		w.must(w.manage(http.MethodGet, first, nil), 200)
		w.must(w.push("", request("spa")), http.StatusCreated)
		w.busy("par", pushesByName)
		w.must(w.push("", request("spa")), http.StatusCreated)
		tooMany(w.push("", request("spa")))
		w.must(w.push("tool", request("tool")), http.StatusCreated) // has proven who it is
		w.clock.pass(tallyWindow)
		w.must(w.newcomer("", nil), 201)
		w.must(w.push("", request("spa")), http.StatusCreated)
	})
}

// A certification suite or a trial on one machine has names of its own for it.
func TestANameMayMeanThisMachineOnlyWhereTheConfigurationSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		host string
		pick func(o *outside) any
	}{
		"any name, of a provider elsewhere": {Config{Issuer: "https://id.example.test"}, "suite.example.test", func(o *outside) any { return o.far }},
		"a name of the configuration":       {Config{Issuer: "https://id.example.test", LocalNames: []string{"suite.example.test"}}, "Suite.example.test", func(o *outside) any { return o.either }},
		"another name":                      {Config{Issuer: "https://id.example.test", LocalNames: []string{"suite.example.test"}}, "a.suite.example.test", func(o *outside) any { return o.far }},
		"any name, of a provider here":      {Config{Issuer: "https://localhost:8443"}, "suite.example.test", func(o *outside) any { return o.either }},
		"localhost itself":                  {Config{Issuer: "https://id.example.test"}, "localhost", func(o *outside) any { return o.near }},
	} {
		o, err := c.cfg.outside()
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range []*outside{o, o.strangers} {
			if any(one.client(c.host)) != c.pick(one) {
				t.Errorf("%s: %s", name, c.host)
			}
		}
	}
	if errs := (Config{Issuer: "https://id.example.test", LocalNames: []string{"https://suite.example.test"}}).Validate(); len(errs) != 1 {
		t.Errorf("an address for a name: %v", errs)
	}
}

// A pairwise sub is its sector's own: whoever writes another's address into a
// registration, and needs no code to arrive there, must not come by it.
func TestAStrangerDoesNotJoinASectorByWritingItDown(t *testing.T) {
	w := onOne(t)
	w.opened(RegistrationOpen, RegistrationPolicy{Grants: []string{GrantCode, GrantDevice}})
	joining := doc{"subject_type": "pairwise", "redirect_uris": []string{"https://tool.example.test/x"}, "grant_types": []string{GrantCode, GrantDevice}}
	w.refusedWith(w.newcomer("", joining), "invalid_client_metadata")
	joining["grant_types"] = []string{GrantCode}
	a := w.newcomer("", joining)
	w.must(a, 201)
	joining["grant_types"], joining["client_id"] = []string{GrantCode, GrantDevice}, a.text("client_id")
	w.refusedWith(w.manage(http.MethodPut, a, document(joining)), "invalid_client_metadata")
}
