package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
)

// How a check of an application turned out.
const (
	FoundOK    = "ok"
	FoundWarn  = "warn"  // works, and is weaker than it could be
	FoundWrong = "wrong" // does not work, or will not
)

// Finding is what one check of an application saw, in plain words.
type Finding struct {
	What  string `json:"what"`
	State string `json:"state"`
	Says  string `json:"says"`
}

// certificateSoon is how long before its end a certificate is spoken of, and
// secretOld how old a secret may be without a word.
const (
	certificateSoon = 14 * 24 * time.Hour
	secretOld       = 365 * 24 * time.Hour
)

// Examine tries every address of an application and says what is weak about
// it, reaching them as a provider of the configuration does. Nothing is changed.
func (c *Clients) Examine(ctx context.Context, id string, cfg Config) ([]Finding, error) {
	all, err := c.List(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(e Entry) bool { return e.ID == id })
	if at < 0 {
		return nil, fmt.Errorf("%s: %w", id, ErrUnknownClient)
	}
	out, err := cfg.outside()
	if err != nil {
		return nil, err
	}
	x := &examiner{ctx: ctx, outside: out, now: c.now(), e: all[at], greeted: map[string]greeting{}}
	x.rules()
	x.addresses()
	x.documents()
	x.strength()
	x.audiences(all)
	return x.found, nil
}

// examiner goes over one application.
type examiner struct {
	ctx     context.Context
	outside *outside
	now     time.Time
	e       Entry
	greeted map[string]greeting // by scheme and host
	found   []Finding
}

type greeting struct {
	certificate time.Time // its end
	err         error
}

func (x *examiner) say(state, what, format string, args ...any) {
	x.found = append(x.found, Finding{what, state, fmt.Sprintf(format, args...)})
}

// rules are those that a registration is held to; they may have grown since.
func (x *examiner) rules() {
	mistakes := x.e.Validate()
	for _, err := range mistakes {
		var m *ClientMistake
		if errors.As(err, &m) {
			x.say(FoundWrong, m.Key, "%s", m.Problem)
		}
	}
	if len(mistakes) == 0 {
		x.say(FoundOK, "registration", "every value is sound")
	}
}

func (x *examiner) addresses() {
	for _, uri := range x.e.RedirectURIs {
		x.browsed("redirect URI", uri)
	}
	for _, uri := range x.e.PostLogoutURIs {
		x.browsed("post-logout URI", uri)
	}
	if x.e.FrontchannelLogout != "" {
		x.browsed("front-channel", x.e.FrontchannelLogout)
	}
	if x.e.Home != "" {
		x.browsed("home", x.e.Home)
	}
	switch {
	case x.e.BackchannelLogout != "":
		g := x.greet(x.e.BackchannelLogout)
		if g.err != nil {
			x.say(FoundWrong, "back-channel", "%s: %v: it will not hear of a sign-out", x.e.BackchannelLogout, g.err)
			return
		}
		x.certificate("back-channel", x.e.BackchannelLogout, g)
	case x.e.FrontchannelLogout == "" && x.e.may(GrantCode):
		x.say(FoundWarn, "sign-out", "no logout address: who signs out here stays signed in there, until its own session ends")
	}
}

// browsed is an address that people's browsers open; this machine may well not
// be able to.
func (x *examiner) browsed(what, uri string) {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		x.say(FoundWrong, what, "%s is not an address", uri)
	case u.Scheme != "https" && u.Scheme != "http":
		x.say(FoundOK, what, "%s opens the application on the person's own machine", uri)
	case isLoopback(u.Hostname()):
		x.say(FoundOK, what, "%s is on the person's own machine", uri)
	default:
		g := x.greet(uri)
		var untrusted *tls.CertificateVerificationError
		switch {
		case errors.As(g.err, &untrusted):
			x.say(FoundWrong, what, "%s: its certificate is not accepted: %v", uri, untrusted.Err)
		case g.err != nil:
			x.say(FoundWarn, what, "%s cannot be reached from here (people's browsers may): %v", uri, g.err)
		default:
			x.certificate(what, uri, g)
		}
	}
}

func (x *examiner) certificate(what, uri string, g greeting) {
	switch left := g.certificate.Sub(x.now); {
	case g.certificate.IsZero():
		x.say(FoundOK, what, "%s answers", uri)
	case left < certificateSoon:
		x.say(FoundWarn, what, "%s answers, and its certificate ends on %s", uri, g.certificate.Format(time.DateOnly))
	default:
		x.say(FoundOK, what, "%s answers, its certificate is good until %s", uri, g.certificate.Format(time.DateOnly))
	}
}

// greet opens a connection and shakes hands; nothing is asked, so that nothing
// happens there.
func (x *examiner) greet(uri string) greeting {
	u, err := url.Parse(uri)
	if err != nil {
		return greeting{err: err}
	}
	key := u.Scheme + "://" + u.Host
	g, known := x.greeted[key]
	if !known {
		g.certificate, g.err = x.outside.to(&x.e.Client, uri).shake(x.ctx, u)
		x.greeted[key] = g
	}
	return g
}

// shake opens a connection to a host, with TLS for https, and returns when its
// certificate ends.
func (o *outside) shake(ctx context.Context, u *url.URL) (ends time.Time, err error) {
	transport, ok := o.client(u.Hostname()).Transport.(*http.Transport)
	if !ok {
		return ends, errors.New("no transport")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, outsidePatience)
	defer cancel()
	conn, err := transport.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return ends, err
	}
	defer conn.Close()
	if u.Scheme != "https" {
		return ends, nil
	}
	trusted := &tls.Config{}
	if transport.TLSClientConfig != nil {
		trusted.RootCAs = transport.TLSClientConfig.RootCAs
	}
	trusted.ServerName = u.Hostname()
	secured := tls.Client(conn, trusted)
	if err := secured.HandshakeContext(ctx); err != nil {
		return ends, err
	}
	return secured.ConnectionState().PeerCertificates[0].NotAfter, nil
}

// documents are fetched as the provider itself would.
func (x *examiner) documents() {
	if c := &x.e.Client; !c.keys().empty() {
		x.keys("keys", c.keys(), map[string]string{"assertions": c.AssertionAlg, "request objects": c.RequestAlg})
	}
	for _, one := range x.e.AssertionIssuers {
		x.keys("issuer "+one.Issuer, keySource{set: one.JWKS, uri: one.JWKSURI}, nil)
	}
	if uri := x.e.SectorURI; uri != "" {
		var listed []string
		body, err := x.outside.to(&x.e.Client, uri).get(x.ctx, uri, "application/json", foreignMost)
		if err == nil {
			err = json.Unmarshal(body, &listed)
		}
		switch {
		case err != nil:
			x.say(FoundWrong, "sector", "%s: %v", uri, err)
		case !within(x.e.RedirectURIs, listed):
			x.say(FoundWrong, "sector", "%s does not list every redirect URI", uri)
		default:
			x.say(FoundOK, "sector", "%s lists every redirect URI", uri)
		}
	}
	if uri := x.e.Logo; uri != "" {
		body, err := x.outside.to(&x.e.Client, uri).get(x.ctx, uri, "image/*", 1<<20)
		switch {
		case err != nil:
			x.say(FoundWarn, "logo", "%s: %v", uri, err)
		case !strings.HasPrefix(http.DetectContentType(body), "image/") && !bytes.Contains(body, []byte("<svg")):
			x.say(FoundWrong, "logo", "%s is not a picture", uri)
		default:
			x.say(FoundOK, "logo", "%s is a picture of %d KiB", uri, (len(body)+1023)/1024)
		}
	}
	for _, uri := range x.e.RequestURIs {
		if g := x.greet(uri); g.err != nil {
			x.say(FoundWrong, "request URI", "%s: %v", uri, g.err)
		} else {
			x.certificate("request URI", uri, g)
		}
	}
}

// keys are those that somebody signs with; wanted are the algorithms that must
// be among them, by what is signed.
func (x *examiner) keys(what string, source keySource, wanted map[string]string) {
	set, where := []byte(source.set), "its JWK Set"
	if len(set) == 0 {
		where = source.uri
		var err error
		if set, err = x.outside.to(&x.e.Client, where).get(x.ctx, where, "application/json", foreignMost); err != nil {
			x.say(FoundWrong, what, "%v", err)
			return
		}
	}
	keys, err := parseKeys(set)
	if err != nil {
		x.say(FoundWrong, what, "%s %v", where, err)
		return
	}
	var usable []string
	for _, k := range keys {
		for _, alg := range foreignAlgs {
			if fitsAlg(k, alg) && !slices.Contains(usable, alg) {
				usable = append(usable, alg)
			}
		}
	}
	for name, alg := range wanted {
		if alg != "" && !slices.Contains(usable, alg) {
			x.say(FoundWrong, what, "%s: no key can sign %s, the algorithm registered for its %s", where, alg, name)
		}
	}
	x.say(FoundOK, what, "%s: %d keys, for %s", where, len(keys), strings.Join(usable, ", "))
}

// fitsAlg tells whether a key can verify an algorithm.
func fitsAlg(k jose.JSONWebKey, alg string) bool {
	if k.Algorithm != "" {
		return k.Algorithm == alg
	}
	kind := map[string]string{RS256: "*rsa.PublicKey", PS256: "*rsa.PublicKey", ES256: "*ecdsa.PublicKey", EdDSA: "ed25519.PublicKey"}[alg]
	return fmt.Sprintf("%T", k.Key) == kind
}

// strength says what is weaker than it could be.
func (x *examiner) strength() {
	e := x.e
	weak := func(is bool, what, format string, args ...any) {
		if is {
			x.say(FoundWarn, what, format, args...)
		}
	}
	people := e.may(GrantCode) || e.may(GrantDevice)
	weak(people && len(e.Groups) == 0, "rights", "open to everybody who has an account: groups says who may open it")
	weak(people && e.Assurance < 2, "assurance", "a password alone opens it: assurance 2 asks a second factor")
	weak(e.PKCEWaived, "PKCE", "waived: a stolen code can be used by a thief who has its secret")
	weak(e.may(GrantCode) && e.IDTokenAlg == RS256, "algorithms", "ID tokens are signed RS256 only: ES256 and PS256 are better where the application reads them")
	weak(e.usesSecret() && e.AuthMethod == "", "authentication", "its secret is taken in the header and in the body: auth_method names the one that it uses")
	weak(e.usesSecret() && e.AuthMethod == AuthPost, "authentication", "its secret is in the body of requests, which logs of proxies keep more often than headers")
	weak(e.TokenFormat != FormatOpaque, "access tokens", "JWT: a sign-out does not end those that are out, they last until they expire")
	weak(e.Contact == "" && people, "contact", "nobody to ask: contact is shown when something goes wrong there")
	weak(!e.Ends.IsZero() && e.Ends.Sub(x.now) < certificateSoon, "life", "it ends on %s", e.Ends.Format(time.DateOnly))
	for _, s := range e.Secrets {
		switch {
		case !s.Until.IsZero():
			weak(true, "secret", "the former one goes on until %s", s.Until.Format("2006-01-02 15:04"))
		case !s.Made.IsZero() && x.now.Sub(s.Made) > secretOld:
			weak(true, "secret", "older than a year, since %s: beffroi app rotate-secret", s.Made.Format(time.DateOnly))
		case !s.Made.IsZero():
			x.say(FoundOK, "secret", "since %s", s.Made.Format(time.DateOnly))
		}
	}
}

// audiences are those that it may have tokens for: somebody must be them.
func (x *examiner) audiences(all []Entry) {
	for _, audience := range x.e.ExchangeTo {
		if !slices.ContainsFunc(all, func(e Entry) bool { return e.Audience == audience }) {
			x.say(FoundWrong, "audience", "%s: no application is this audience, tokens for it are refused", audience)
		}
	}
}
