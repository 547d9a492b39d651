package webmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/internal/reach"
)

// Remote pictures tell their sender when, where and on what a message was read.
// They are left out until the person asks, and then fetched by this server: the
// sender learns that somebody of the academy looked, and no more. The address is
// a stranger's word, so only the internet is dialled (internal/reach).

const (
	pictureLimit    = 8 << 20 // bytes of one
	picturePatience = 6 * time.Second
	picturesAtOnce  = 32 // of everybody
)

// pictureClient fetches pictures. may decides on each address that is dialled,
// that of a redirect too.
func pictureClient(may func(netip.Addr) error) *http.Client {
	return &http.Client{
		Timeout: picturePatience,
		Transport: &http.Transport{
			DialContext: reach.Dialer(3*time.Second, may).DialContext, ForceAttemptHTTP2: true, MaxIdleConns: 32, MaxConnsPerHost: 6, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: 3 * time.Second, ResponseHeaderTimeout: 5 * time.Second, MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("too many redirects")
			}
			r.Header.Del("Referer")
			return pictureAddress(r.URL)
		},
	}
}

func onlyInternet(ip netip.Addr) error { return reach.May(ip, false, false) }

// pictureAddress tells why an address is none that pictures are fetched from.
func pictureAddress(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, u.Opaque != "":
		return fmt.Errorf("%q is no address of a picture", u.Redacted())
	case !slices.Contains([]string{"", "80", "443", "8080", "8443"}, u.Port()):
		return fmt.Errorf("port %s is not for the web", u.Port())
	case !plainHost(strings.ToLower(u.Hostname())):
		return fmt.Errorf("%q is no host", u.Hostname())
	}
	return nil
}

// remoteAddress is the address of a picture in a mail, made new from its parts.
func remoteAddress(address string) string {
	address = browserURL(address)
	if strings.HasPrefix(address, "//") {
		address = "https:" + address
	}
	target, _ := linkTarget(address, "")
	u, err := url.Parse(target)
	if err != nil || pictureAddress(u) != nil {
		return ""
	}
	u.Fragment = ""
	return u.String()
}

// contentPicture fetches one remote picture. What is no picture, by its first
// bytes, is not passed on.
func (s *service) contentPicture(w http.ResponseWriter, r *http.Request, t ticket) error {
	kind, content, err := s.fetchPicture(r.Context(), t.Picture)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // a document in a sandbox is of no origin
	h.Set("Cache-Control", "private, max-age=600")
	_, err = w.Write(content)
	return err
}

func (s *service) fetchPicture(ctx context.Context, address string) (kind string, content []byte, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, err
	}
	if err := pictureAddress(u); err != nil {
		return "", nil, err
	}
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Accept", "image/avif,image/webp,image/png,image/jpeg,image/gif")
	r.Header.Set("User-Agent", "Mozilla/5.0") // the same for everybody
	answer, err := s.pictures.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return "", nil, fmt.Errorf("%s answers %d", u.Hostname(), answer.StatusCode)
	}
	if content, err = io.ReadAll(io.LimitReader(answer.Body, pictureLimit+1)); err != nil {
		return "", nil, err
	}
	kind = rasterType(content)
	switch {
	case len(content) > pictureLimit:
		return "", nil, fmt.Errorf("a picture of %s is larger than %d bytes", u.Hostname(), pictureLimit)
	case kind == "":
		return "", nil, fmt.Errorf("what %s sends is no picture", u.Hostname())
	}
	return kind, content, nil
}
