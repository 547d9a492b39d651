package proconnect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
)

// metadata is what ProConnect reads of the discovery document.
type metadata struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	UserInfo      string `json:"userinfo_endpoint"`
	EndSession    string `json:"end_session_endpoint"`
	JWKS          string `json:"jwks_uri"`
	ResponseIss   bool   `json:"authorization_response_iss_parameter_supported"`
}

// check tells which address is missing or not fit to be called.
func (m metadata) check() error {
	var wrong []string
	for _, one := range []struct{ name, address string }{
		{"authorization_endpoint", m.Authorization}, {"token_endpoint", m.Token}, {"userinfo_endpoint", m.UserInfo},
		{"end_session_endpoint", m.EndSession}, {"jwks_uri", m.JWKS},
	} {
		u, err := url.Parse(one.address)
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !thisMachine(u.Hostname())) {
			wrong = append(wrong, fmt.Sprintf("%s=%q", one.name, one.address))
		}
	}
	if wrong != nil {
		return errors.New(strings.Join(wrong, " "))
	}
	return nil
}

func thisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// keySet is the published keys.
type keySet struct{ jose.JSONWebKeySet }

// check tells for which algorithm no key is published.
func (s keySet) check(algorithms ...string) error {
	for _, alg := range algorithms {
		if !slices.ContainsFunc(s.Keys, func(k jose.JSONWebKey) bool { return k.Algorithm == alg && k.IsPublic() && k.Valid() }) {
			return fmt.Errorf("no key for %s", alg)
		}
	}
	return nil
}

// machine sends what ProConnect's servers send.
func (p *play) machine(r *http.Request) (status int, contentType string, body []byte, err error) {
	r.Header.Set("Accept-Encoding", "identity") // as its code does, for the bridge between its two networks
	client := &http.Client{Transport: p.Transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, most))
	contentType, _, _ = mime.ParseMediaType(res.Header.Get("Content-Type"))
	return res.StatusCode, contentType, body, err
}

func (p *play) getJSON(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	status, kind, body, err := p.machine(r)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK || kind != "application/json" && kind != "application/jwk-set+json":
		return fmt.Errorf("%s: %d %s", r.URL.Path, status, kind)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", r.URL.Path, err)
	}
	return nil
}

// tokens is an answer of the token endpoint.
type tokens struct {
	status      int
	kind        string
	AccessToken string      `json:"access_token"`
	TokenType   string      `json:"token_type"`
	ExpiresIn   json.Number `json:"expires_in"`
	IDToken     string      `json:"id_token"`
	Error       string      `json:"error"`
	Description string      `json:"error_description"`
}

func (t *tokens) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s %s", t.status, t.kind, t.Error, t.Description))
}

// check is what openid-client and TokenDto ask of it.
func (t *tokens) check() error {
	ascii := !strings.ContainsFunc(t.AccessToken, func(r rune) bool { return r > unicode.MaxASCII })
	switch {
	case t.status != http.StatusOK || t.kind != "application/json":
		return errors.New(t.String())
	case t.AccessToken == "" || !ascii:
		return fmt.Errorf("access_token=%q", t.AccessToken)
	case !strings.EqualFold(t.TokenType, "Bearer"):
		return fmt.Errorf("token_type=%q", t.TokenType)
	case t.IDToken == "":
		return errors.New("no id_token")
	}
	return nil
}

// token is the token request: client_secret_post, and what the provider of the
// ministry of ecology wanted to be told.
func (p *play) token(ctx context.Context, code, secret string) (*tokens, error) {
	body := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.RedirectURI}, "client_id": {p.ClientID}, "client_secret": {secret},
		"sp_id": {"beffroi-proconnect-test"}, "sp_name": {"Essai de ProConnect"}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.meta.Token, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	r.Header.Set("Accept", "application/json")
	status, kind, text, err := p.machine(r)
	if err != nil {
		return nil, err
	}
	t := &tokens{status: status, kind: kind}
	if kind == "application/json" {
		if err := json.Unmarshal(text, t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// verify checks the signature of a JWT by the published keys and the one
// algorithm. The claims are given whenever they can be read, so that the other
// rules about them can be looked at.
func (p *play) verify(_ context.Context, token, alg string) (map[string]any, error) {
	claims := readPart(token, 1)
	header := readPart(token, 0)
	if claims == nil || header == nil {
		return nil, fmt.Errorf("%q is not a JWT", cut(token, 40))
	}
	if header["alg"] != alg {
		return claims, fmt.Errorf("alg=%v", header["alg"])
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		return claims, err
	}
	for _, k := range p.keys.Keys {
		if kid, ok := header["kid"]; ok && kid != k.KeyID || k.Algorithm != "" && k.Algorithm != alg || k.Use != "" && k.Use != "sig" {
			continue
		}
		if _, err := parsed.Verify(k); err == nil {
			return claims, nil
		}
	}
	return claims, fmt.Errorf("alg=%v kid=%v: by none of the published keys", header["alg"], header["kid"])
}

// readPart reads one part of a JWT without believing it.
func readPart(token string, i int) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var values map[string]any
	if d.Decode(&values) != nil {
		return nil
	}
	return values
}

// forClient is OpenID Connect Core §3.1.3.7, 3 to 5: for this client, and not
// for several without saying who asked.
func forClient(claims map[string]any, client string) bool {
	if azp, ok := claims["azp"]; ok && azp != client {
		return false
	}
	switch aud := claims["aud"].(type) {
	case string:
		return aud == client
	case []any:
		return slices.Contains(aud, any(client)) && (len(aud) == 1 || claims["azp"] == client)
	}
	return false
}

// checkTimes: both times are there, neither of them wrong by this clock.
func checkTimes(claims map[string]any, now time.Time) error {
	iat, ok1 := seconds(claims["iat"])
	exp, ok2 := seconds(claims["exp"])
	const skew = 30
	if !ok1 || !ok2 || exp <= now.Unix()-skew || iat > now.Unix()+skew || exp <= iat {
		return fmt.Errorf("iat=%v exp=%v", claims["iat"], claims["exp"])
	}
	return nil
}

func seconds(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return int64(f), err == nil
}

// checkMethods: amr is a list of words that ProConnect knows, one among them.
func checkMethods(amr any, needed string) error {
	list, ok := amr.([]any)
	for _, one := range list {
		word, isWord := one.(string)
		ok = ok && isWord && slices.Contains(methods, word)
	}
	if !ok || !slices.Contains(list, any(needed)) {
		return fmt.Errorf("amr=%v", amr)
	}
	return nil
}
