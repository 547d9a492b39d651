package demo

import (
	"encoding/json"
	"strings"

	"github.com/emersion/go-sasl"
)

// oauthBearer is the server side of RFC 7628. The one in go-sasl is not used:
// it indexes an empty answer to its refusal (a client's blank line ends in a
// panic) and does not decode the authorization identity.
type oauthBearer struct {
	// sign in, or say why not: status is RFC 7628 §3.2.2's ("invalid_token",
	// "insufficient_scope"…), err what the protocol answers in the end.
	signIn  func(authzid, token string) (status string, err error)
	garbled error // what the protocol answers to a message nobody can read
	scope   string

	refused error
	over    bool
}

var _ sasl.Server = (*oauthBearer)(nil)

// Next takes the client's message. After a refusal the client gets the JSON
// that says why, and must answer (with 0x01, but anything will do) before the
// protocol's own failure (RFC 7628 §3.2.3).
func (b *oauthBearer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case b.over:
		return nil, true, sasl.ErrUnexpectedClientResponse
	case b.refused != nil:
		b.over = true
		return nil, true, b.refused
	case response == nil:
		return []byte{}, false, nil
	}
	authzid, token, ok := readBearerMessage(string(response))
	if !ok {
		return b.refuse("invalid_request", b.garbled)
	}
	if status, err := b.signIn(authzid, token); err != nil {
		return b.refuse(status, err)
	}
	b.over = true
	return nil, true, nil
}

func (b *oauthBearer) refuse(status string, err error) ([]byte, bool, error) {
	b.refused = err
	challenge, jerr := json.Marshal(sasl.OAuthBearerError{Status: status, Schemes: "bearer", Scope: b.scope})
	if jerr != nil {
		return nil, true, jerr
	}
	return challenge, false, nil
}

// readBearerMessage reads "n,a=user,^Ahost=…^Aport=…^Aauth=Bearer token^A^A"
// (RFC 7628 §3.1). Unknown keys are ignored, as §3.1 asks.
func readBearerMessage(s string) (authzid, token string, ok bool) {
	head, pairs, found := strings.Cut(s, "\x01")
	if !found {
		return "", "", false
	}
	gs2 := strings.Split(head, ",")
	// "y" is a client that could bind the channel and sees that we cannot.
	if len(gs2) != 3 || (gs2[0] != "n" && gs2[0] != "y") || gs2[2] != "" {
		return "", "", false
	}
	if gs2[1] != "" {
		name, isName := strings.CutPrefix(gs2[1], "a=")
		if !isName || name == "" {
			return "", "", false
		}
		authzid = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	}
	body, found := strings.CutSuffix(pairs, "\x01\x01")
	if !found {
		return "", "", false
	}
	for _, pair := range strings.Split(body, "\x01") {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return "", "", false
		}
		if key != "auth" {
			continue
		}
		scheme, credentials, _ := strings.Cut(value, " ")
		if token != "" || !strings.EqualFold(scheme, "Bearer") {
			return "", "", false
		}
		token = strings.TrimSpace(credentials)
	}
	return authzid, token, token != ""
}
