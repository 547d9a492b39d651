// Package mfatest is an authenticator in memory for the tests of several
// folders: it registers and answers as a browser with a passkey would, and can
// be told to lie in any one thing and sign the lie, because a forger signs too.
package mfatest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	"github.com/fxamacker/cbor/v2"
)

// Authenticator holds one passkey of one person at one provider.
type Authenticator struct {
	virtualwebauthn.Authenticator
	Credential virtualwebauthn.Credential
	Origin     string
	Maker      *Maker // signs the statement about its model; nil: it speaks for itself
	t          testing.TB
}

// New makes an authenticator with a fresh key, in a browser at that origin.
func New(t testing.TB, origin string) *Authenticator {
	t.Helper()
	a := &Authenticator{Authenticator: virtualwebauthn.NewAuthenticator(), Origin: origin, t: t}
	for range 20 {
		// One key in 128 has a coordinate that begins with zeros, which the
		// library writes too short.
		a.Credential = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		if len(a.Credential.Key.AttestationData()) == 77 {
			return a
		}
	}
	t.Fatal("no key")
	return nil
}

// Lie changes one thing of an answer before it is signed.
type Lie func(*Answer)

// Answer is what a browser sends back, as far as tests lie in it.
type Answer struct {
	RPID       string
	Challenge  []byte
	Client     map[string]any // the client data: type, challenge, origin, …
	Credential virtualwebauthn.Credential
	Options    virtualwebauthn.AuthenticatorOptions
	UserHandle []byte
	Unsigned   func(body map[string]any) // changes the answer after it was signed
}

func (a *Authenticator) answer(rpid string, challenge []byte, lies []Lie) Answer {
	v := Answer{RPID: rpid, Challenge: challenge, Client: map[string]any{"origin": a.Origin}, Credential: a.Credential, Options: a.Options, UserHandle: a.Options.UserHandle}
	for _, lie := range lies {
		lie(&v)
	}
	return v
}

// Create answers navigator.credentials.create and remembers the user handle.
func (a *Authenticator) Create(options []byte, lies ...Lie) string {
	a.t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		a.t.Fatalf("%v\n%s", err, options)
	}
	a.Options.UserHandle = []byte(o.UserID)
	v := a.answer(o.RelyingPartyID, o.Challenge, lies)
	o.Challenge = v.Challenge
	rp := virtualwebauthn.RelyingParty{ID: v.RPID, Origin: a.Origin}
	made := a.Authenticator
	made.Options = v.Options
	body := a.read(virtualwebauthn.CreateAttestationResponse(rp, made, v.Credential, *o))
	response := body["response"].(map[string]any)
	client := a.client(response, v.Client)
	var object struct {
		Format    string         `cbor:"fmt"`
		AuthData  []byte         `cbor:"authData"`
		Statement map[string]any `cbor:"attStmt"`
	}
	a.must(cbor.Unmarshal(bytesOf(a.t, response["attestationObject"]), &object))
	if a.Maker != nil {
		object.Statement = map[string]any{"alg": -7, "sig": a.Maker.sign(a.t, object.AuthData, client), "x5c": [][]byte{a.Maker.leaf}}
	} else {
		object.Statement["sig"] = a.sign(v.Credential, object.AuthData, client)
	}
	raw, err := cbor.Marshal(object)
	a.must(err)
	response["attestationObject"] = base64.RawURLEncoding.EncodeToString(raw)
	response["transports"] = []string{"usb"}
	if v.Unsigned != nil {
		v.Unsigned(body)
	}
	return a.write(body)
}

// Get answers navigator.credentials.get, counting up.
func (a *Authenticator) Get(options []byte, lies ...Lie) string {
	a.t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		a.t.Fatalf("%v\n%s", err, options)
	}
	if a.Credential.Counter > 0 {
		a.Credential.Counter++
	}
	v := a.answer(o.RelyingPartyID, o.Challenge, lies)
	o.Challenge = v.Challenge
	rp := virtualwebauthn.RelyingParty{ID: v.RPID, Origin: a.Origin}
	made := a.Authenticator
	made.Options = v.Options
	made.Options.UserHandle = v.UserHandle
	body := a.read(virtualwebauthn.CreateAssertionResponse(rp, made, v.Credential, *o))
	response := body["response"].(map[string]any)
	client := a.client(response, v.Client)
	response["signature"] = base64.RawURLEncoding.EncodeToString(a.sign(v.Credential, bytesOf(a.t, response["authenticatorData"]), client))
	if v.Unsigned != nil {
		v.Unsigned(body)
	}
	return a.write(body)
}

// client writes the client data into the response and returns it.
func (a *Authenticator) client(response, changes map[string]any) []byte {
	a.t.Helper()
	var client map[string]any
	a.must(json.Unmarshal(bytesOf(a.t, response["clientDataJSON"]), &client))
	for k, v := range changes {
		client[k] = v
	}
	raw, err := json.Marshal(client)
	a.must(err)
	response["clientDataJSON"] = base64.RawURLEncoding.EncodeToString(raw)
	return raw
}

func (a *Authenticator) sign(c virtualwebauthn.Credential, authData, client []byte) []byte {
	a.t.Helper()
	sig, err := c.Key.Sign(digest(authData, client))
	a.must(err)
	return sig
}

func digest(authData, client []byte) []byte {
	of := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte{}, authData...), of[:]...))
	return sum[:]
}

func (a *Authenticator) read(text string) (body map[string]any) {
	a.t.Helper()
	a.must(json.Unmarshal([]byte(text), &body))
	return body
}

func (a *Authenticator) write(body map[string]any) string {
	a.t.Helper()
	raw, err := json.Marshal(body)
	a.must(err)
	return string(raw)
}

func (a *Authenticator) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func bytesOf(t testing.TB, text any) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text.(string))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Maker builds authenticators of one model, and vouches for them.
type Maker struct {
	Root []byte // its certificate, PEM
	leaf []byte
	key  *ecdsa.PrivateKey
}

// NewMaker makes a maker whose certificates last around now.
func NewMaker(t testing.TB, aaguid [16]byte, now time.Time) *Maker {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Clés de test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	must(err)
	m := &Maker{Root: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})}
	m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	model, err := asn1.Marshal(aaguid[:])
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), BasicConstraintsValid: true,
		Subject:         pkix.Name{Country: []string{"FR"}, Organization: []string{"Clés de test"}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "Clé de test"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}, Value: model}}}
	m.leaf, err = x509.CreateCertificate(rand.Reader, leaf, root, m.key.Public(), rootKey)
	must(err)
	return m
}

func (m *Maker) sign(t testing.TB, authData, client []byte) []byte {
	t.Helper()
	sig, err := m.key.Sign(rand.Reader, digest(authData, client), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}
