package webmail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/emersion/go-smtp"
)

// refusedBy is the submission server's clear no: nothing was accepted, and
// trying again without a change brings nothing.
type refusedBy struct {
	recipient string // the address it is about, "" for the message as a whole
	answer    string // the server's words
	code      int
}

func (e *refusedBy) Error() string {
	return fmt.Sprintf("submission refused (%d %s) %s", e.code, e.answer, e.recipient)
}

// Errors of submit that are not a clear no.
var (
	errNotSent = errors.New("not sent")              // certainly not accepted; may work later
	errUnclear = errors.New("may have been sent")    // the connection ended after the text, before the answer
	errNoLogin = errors.New("submission refuses us") // the token was refused; certainly not accepted
)

// submit hands a message to the submission server. Every recipient must be
// accepted or nothing is sent: a message that reached nineteen of twenty
// people without saying so is worse than one that did not leave.
func submit(ctx context.Context, e endpoint, login, token, from string, to []string, raw []byte) error {
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.address)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	defer tcp.Close()
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()

	var client *smtp.Client
	switch e.mode {
	case "tls":
		over := tls.Client(tcp, e.tlsConfig())
		if err := over.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("%w: TLS: %w", errNotSent, err)
		}
		client = smtp.NewClient(over)
	case "starttls":
		if client, err = smtp.NewClientStartTLS(tcp, e.tlsConfig()); err != nil {
			return fmt.Errorf("%w: STARTTLS: %w", errNotSent, err)
		}
	default:
		client = smtp.NewClient(tcp)
	}
	if err := client.Auth(e.auth.client(e.address, login, token)); err != nil {
		var no *smtp.SMTPError
		if errors.As(err, &no) && no.Code >= 500 || isBearerError(err) {
			return fmt.Errorf("%w: %w: %w", errNotSent, errNoLogin, err)
		}
		return fmt.Errorf("%w: sign in: %w", errNotSent, err)
	}
	if most, ok := client.MaxMessageSize(); ok && most > 0 && len(raw) > most {
		return &refusedBy{code: 552, answer: fmt.Sprintf("%d > %d", len(raw), most)}
	}
	if err := client.Mail(from, nil); err != nil {
		return clearNo(err, "")
	}
	for _, recipient := range to {
		if err := client.Rcpt(recipient, nil); err != nil {
			_ = client.Reset()
			return clearNo(err, recipient)
		}
	}
	data, err := client.Data()
	if err != nil {
		return clearNo(err, "")
	}
	// Without the final dot the server must throw the text away (RFC 5321
	// §4.1.1.4): an error before Close means not sent.
	if _, err := bytes.NewReader(raw).WriteTo(data); err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err := data.Close(); err != nil {
		var no *smtp.SMTPError
		if errors.As(err, &no) {
			return clearNo(err, "")
		}
		return fmt.Errorf("%w: %w", errUnclear, err)
	}
	_ = client.Quit()
	return nil
}

func clearNo(err error, recipient string) error {
	var no *smtp.SMTPError
	if !errors.As(err, &no) {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	if no.Code < 500 && recipient == "" {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	return &refusedBy{recipient: recipient, code: no.Code, answer: shorten(cleanLine(strings.ReplaceAll(no.Message, "\n", " ")), 200)}
}
