package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"beffroi/internal/reach"
)

// outside reaches the addresses that applications have registered: their keys,
// their request objects, where they hear of a sign-out. An address that
// somebody else wrote down is a way to make this server knock at doors of the
// inner network (server-side request forgery), so: https, or http to this machine
// itself where the address says so; no redirect is followed; an answer is bounded in size
// and time; and a name that resolves to a link-local, multicast or, unless it is
// a loopback address itself, loopback address is refused when it is dialled.
type outside struct {
	far, near *http.Client // near: addresses that name this machine
	// either is for names that may stand for this machine although they do not say
	// so: those of the configuration, or, where the provider itself is on
	// loopback, all: a trial with everything on one machine.
	either     *http.Client
	local      []string
	everywhere bool
	// strangers is for addresses that nobody of the academy has looked at: those of
	// applications that registered themselves. It stays out of inner networks.
	strangers *outside
}

const outsidePatience = 5 * time.Second

// outside is how a provider of this configuration reaches applications.
func (c Config) outside() (*outside, error) {
	issuer, err := url.Parse(c.Issuer)
	if err != nil {
		return nil, err
	}
	return newOutside(c.CAFile, isLoopback(issuer.Hostname()), c.LocalNames...)
}

// newOutside trusts the authorities of caFile, or the system's when it is empty.
// The hosts local, or with everywhere all of them, may be this machine.
func newOutside(caFile string, everywhere bool, local ...string) (*outside, error) {
	var trusted *tls.Config
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		trusted = &tls.Config{RootCAs: x509.NewCertPool()}
		if !trusted.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca_file: holds no certificate")
		}
	}
	near := outsideClient(trusted, func(ip netip.Addr) error { return reach.May(ip, true, false) })
	of := func(inner bool) *outside {
		return &outside{near: near, local: local, everywhere: everywhere,
			far:    outsideClient(trusted, func(ip netip.Addr) error { return reach.May(ip, false, inner) }),
			either: outsideClient(trusted, func(ip netip.Addr) error { return reach.May(ip, ip.Unmap().IsLoopback(), inner) })}
	}
	o := of(true)
	o.strangers = of(false)
	return o, nil
}

func outsideClient(trusted *tls.Config, may func(netip.Addr) error) *http.Client {
	dialer := reach.Dialer(outsidePatience, may)
	return &http.Client{
		Timeout: outsidePatience,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: trusted, ForceAttemptHTTP2: true, MaxIdleConns: 16, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: outsidePatience, ResponseHeaderTimeout: outsidePatience, MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// to is how an address of an application is reached.
func (o *outside) to(c *Client, address string) *outside {
	if c.keptOut(address) {
		return o.strangers
	}
	return o
}

// keptOut tells whether an address is only the application's own word.
func (c *Client) keptOut(address string) bool {
	return c.registration.by != "" && !c.registration.policy.names(address)
}

// checkOutside tells why an address is not one that this provider would reach.
func checkOutside(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("is not an address")
	case u.User != nil:
		return errors.New("no user name in the address")
	case !plainHost(u):
		return errors.New("names no host in plain letters")
	case u.Scheme == "http" && isLoopback(u.Hostname()), u.Scheme == "https":
		return nil
	}
	return errors.New("must be https; http only on loopback")
}

// hostName is what every reader of an address takes for a host.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?$`)

// plainHost tells whether the host is a name or an IP address as it is usually
// written: a semicolon or a comma in it would be taken here for a part of the
// name, and elsewhere, in a Content-Security-Policy, for the end of it.
func plainHost(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.Zone() == "" || hostName.MatchString(u.Hostname())
}

// get returns the body of address, at most most bytes long. An answer other
// than 200 is an error.
func (o *outside) get(ctx context.Context, address, accept string, most int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	return o.do(r, most)
}

// post sends a form; an answer other than 200 or 204 is an error.
func (o *outside) post(ctx context.Context, address string, form url.Values) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err = o.do(r, 16<<10)
	return err
}

// client is the one that dials what a host may mean.
func (o *outside) client(host string) *http.Client {
	switch {
	case isLoopback(host):
		return o.near
	case o.everywhere, slices.ContainsFunc(o.local, func(name string) bool { return strings.EqualFold(name, host) }):
		return o.either
	}
	return o.far
}

func (o *outside) do(r *http.Request, most int64) ([]byte, error) {
	if err := checkOutside(r.URL.String()); err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL.Redacted(), err)
	}
	client := o.client(r.URL.Hostname())
	r.Header.Set("User-Agent", "Beffroi")
	res, err := client.Do(r)
	if err != nil {
		return nil, err // names the address
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", r.URL.Redacted(), err)
	case int64(len(body)) > most:
		return nil, fmt.Errorf("%s: the answer is longer than %d bytes", r.URL.Redacted(), most)
	case res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNoContent:
		return nil, &answeredError{r.URL.Redacted(), res.StatusCode}
	}
	return body, nil
}

// answeredError is an answer that says no.
type answeredError struct {
	address string
	status  int
}

func (e *answeredError) Error() string {
	return fmt.Sprintf("%s: answered %d %s", e.address, e.status, http.StatusText(e.status))
}
