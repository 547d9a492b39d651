package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"

	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/web"
)

// The device grant (RFC 8628): a television, a printer or a command line shows a
// code, and its person types it on a telephone or a computer. A request lives
// ten minutes and is polled every five seconds.
const (
	deviceLife = 10 * time.Minute
	deviceWait = 5 * time.Second
)

// deviceAuthorization is POST /oauth2/device_authorization (RFC 8628 §3.1).
func (p *Provider) deviceAuthorization(w http.ResponseWriter, r *http.Request) error {
	answer, err := p.beginDevice(r)
	if err != nil {
		return p.writeError(w, err)
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (p *Provider) beginDevice(r *http.Request) (map[string]any, error) {
	form, err := postedForm(r, resourceParameter)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	c, err := p.authenticate(ctx, r, form)
	if err != nil {
		return nil, err
	}
	if !c.may(GrantDevice) {
		return nil, refused(fosite.ErrUnauthorizedClient, "the application may not use device codes")
	}
	a, err := p.deviceAsks(ctx, c, form)
	if err != nil {
		return nil, err
	}
	if err := p.fewEnough(ctx, "device", deviceRequests); err != nil {
		return nil, err
	}
	code, hash := newSecret(prefixDevice)
	now := p.now()
	d := device{ID: hash, Client: c.ID, Scope: strings.Join(a.scopes, " "), Resources: a.resources, Created: db.At(now), Expires: db.At(now.Add(deviceLife))}
	if ip := web.ClientIP(ctx); ip.IsValid() {
		d.Address = ip.Unmap().String()
	}
	user, err := p.storeDevice(ctx, d)
	if err != nil {
		return nil, err
	}
	page := p.cfg.Issuer + "/device"
	return map[string]any{
		"device_code": code, "user_code": user, "verification_uri": page, "verification_uri_complete": page + "?user_code=" + user,
		"expires_in": int(deviceLife.Seconds()), "interval": int(deviceWait.Seconds()),
	}, nil
}

// deviceAsks settles scopes and resources as an authorization request does.
func (p *Provider) deviceAsks(ctx context.Context, c *Client, form url.Values) (*authRequest, error) {
	a := &authRequest{client: c}
	no := func(code, description string) error {
		return &fosite.RFC6749Error{ErrorField: code, DescriptionField: description, CodeField: http.StatusBadRequest}
	}
	if err := p.readScopes(ctx, a, form, no); err != nil {
		return nil, err
	}
	return a, p.readResources(ctx, a, form, no)
}

// storeDevice stores the request under a user code that no other one has.
func (p *Provider) storeDevice(ctx context.Context, d device) (user string, err error) {
	for range 5 {
		user = newUserCode()
		d.Shown = p.sealer.Seal("device:"+d.ID, user)
		ok, err := p.store.createDevice(ctx, d, userCodeHash(user), deviceWait)
		if err != nil || ok {
			return user, err
		}
	}
	return "", errors.New("oidc: no free user code after five tries")
}

// userAlphabet is RFC 8628 §6.1: letters that nobody confuses, and no vowels,
// so that no code is a word. 20^8 codes.
const userAlphabet = "BCDFGHJKLMNPQRSTVWXZ"

// newUserCode returns a random code as it is shown: WDJB-MJHT.
func newUserCode() string {
	code := make([]byte, 0, 9)
	var b [1]byte
	for len(code) < 9 {
		_, _ = rand.Read(b[:])
		switch {
		case len(code) == 4:
			code = append(code, '-')
		case b[0] < 240: // a multiple of 20: every letter is as likely
			code = append(code, userAlphabet[b[0]%20])
		}
	}
	return string(code)
}

// readUserCode reads what somebody typed, in any case and with whatever stands
// between the letters; ok is false for what cannot be a code.
func readUserCode(typed string) (code string, ok bool) {
	if len(typed) > 64 {
		return "", false
	}
	letters := strings.Map(func(r rune) rune {
		if strings.ContainsRune("-–—‐‑−_.· \u00a0\u202f\t", r) {
			return -1
		}
		return r
	}, strings.ToUpper(typed))
	if len(letters) != 8 || strings.Trim(letters, userAlphabet) != "" {
		return "", false
	}
	return letters[:4] + "-" + letters[4:], true
}

// userCodeHash is what a shown code is found by.
func userCodeHash(shown string) string { return secret.Hash("user code " + shown) }
