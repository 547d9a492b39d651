package webmail

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/emersion/go-sasl"

	"beffroi/portal"
)

// signIn is how a connection says whose it is: by the person's token, as the servers
// take it, or, for servers that know no tokens, as the master user in the name of the
// person (SASL PLAIN with an authorization identity, RFC 4616).
type signIn struct {
	mechanism        string // "oauthbearer", "xoauth2" or "master"
	master, password string
}

// newSignIn reads the configuration. It reads the password's file.
func newSignIn(c portal.MailConfig) (signIn, error) {
	a := signIn{mechanism: c.Auth, master: c.MasterUser}
	if a.mechanism == "" {
		a.mechanism = "oauthbearer"
	}
	if a.mechanism != "master" {
		return a, nil
	}
	text, err := os.ReadFile(c.MasterPasswordFile)
	if err != nil {
		return a, fmt.Errorf("master_password_file: %w", err)
	}
	a.password = strings.TrimSpace(string(text))
	return a, nil
}

// tokens tells whether connections are opened by tokens.
func (a signIn) tokens() bool { return a.mechanism != "master" }

// client begins the conversation with the server at address.
func (a signIn) client(address, login, token string) sasl.Client {
	switch a.mechanism {
	case "master":
		return sasl.NewPlainClient(login, a.master, a.password)
	case "xoauth2":
		return &xoauth2{login, token}
	}
	host, port, _ := net.SplitHostPort(address)
	number, _ := net.LookupPort("tcp", port)
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: login, Token: token, Host: host, Port: number})
}

// xoauth2 is the mechanism before OAUTHBEARER, which Exchange Online and Gmail take.
type xoauth2 struct{ login, token string }

func (x *xoauth2) Start() (mechanism string, first []byte, err error) {
	return "XOAUTH2", []byte("user=" + x.login + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

// Next hears why the token was refused: the only thing that the server says.
func (x *xoauth2) Next(challenge []byte) ([]byte, error) {
	refused := &sasl.OAuthBearerError{}
	if err := json.Unmarshal(challenge, refused); err != nil {
		refused.Status = "invalid_token"
	}
	return nil, refused
}
