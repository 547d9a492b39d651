package mailer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"os"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"beffroi/internal/secret"
)

// Config says through which server messages leave. Without a Submission none do.
type Config struct {
	Submission    string `yaml:"submission"`     // host:port of a submission server (RFC 6409)
	TLS           string `yaml:"tls"`            // "starttls" (default), "tls", or "none": within this machine only
	User          string `yaml:"user"`           // AUTH PLAIN; empty: without
	PasswordFile  string `yaml:"password_file"`  //
	From          string `yaml:"from"`           // "Académie <ne-pas-repondre@academie.example>"
	AuthorityFile string `yaml:"authority_file"` // who signed the server's certificate, PEM; empty: those of the system
}

// Configured tells whether messages are sent at all.
func (c Config) Configured() bool { return c.Submission != "" }

// Validate reports every value that makes no sense, by its key.
func (c Config) Validate() []error {
	if !c.Configured() {
		if c != (Config{}) {
			return []error{errors.New("mail.submission: is needed, as host:port")}
		}
		return nil
	}
	var errs []error
	host, port, err := net.SplitHostPort(c.Submission)
	if err != nil || host == "" || port == "" {
		errs = append(errs, fmt.Errorf("mail.submission: %q is not host:port", c.Submission))
	}
	switch c.TLS {
	case "", "starttls", "tls":
	case "none":
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			errs = append(errs, errors.New("mail.tls: none is for a server on this machine only"))
		}
	default:
		errs = append(errs, fmt.Errorf("mail.tls: %q is none of starttls, tls, none", c.TLS))
	}
	if from, err := mail.ParseAddress(c.From); err != nil || !strings.Contains(from.Address, "@") {
		errs = append(errs, fmt.Errorf("mail.from: %q is not an address", c.From))
	}
	if (c.User == "") != (c.PasswordFile == "") {
		errs = append(errs, errors.New("mail.password_file: user and password_file go together"))
	}
	if c.PasswordFile != "" {
		if _, err := os.ReadFile(c.PasswordFile); err != nil {
			errs = append(errs, fmt.Errorf("mail.password_file: %w", err))
		}
	}
	if _, err := c.authorities(); err != nil {
		errs = append(errs, fmt.Errorf("mail.authority_file: %w", err))
	}
	return errs
}

func (c Config) authorities() (*x509.CertPool, error) {
	if c.AuthorityFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.AuthorityFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", c.AuthorityFile)
	}
	return pool, nil
}

// server is where messages go.
type server struct {
	address, mode string
	tls           *tls.Config
	user          string
	password      secret.String
}

func (c Config) server() (*server, error) {
	pool, err := c.authorities()
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(c.Submission)
	s := &server{address: c.Submission, mode: c.TLS, tls: &tls.Config{ServerName: host, RootCAs: pool, MinVersion: tls.VersionTLS12}, user: c.User}
	if c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("mail.password_file: %w", err)
		}
		s.password = secret.String(strings.TrimRight(string(text), "\r\n"))
	}
	return s, nil
}

// refusal is a server's answer.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.code, r.text) }

// forGood tells whether trying again would bring the same answer.
func (r *refusal) forGood() bool { return r.code >= 550 && r.code < 554 || r.code == 555 }

// answered makes a server's answer of an error that is one.
func answered(err error) error {
	var no *smtp.SMTPError
	if errors.As(err, &no) {
		return &refusal{no.Code, line(no.Message)}
	}
	return err
}

// connect opens a connection and signs in.
func (s *server) connect(ctx context.Context) (*smtp.Client, func(), error) {
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	done := func() { stop(); _ = tcp.Close() }
	var client *smtp.Client
	switch s.mode {
	case "tls":
		over := tls.Client(tcp, s.tls)
		if err = over.HandshakeContext(ctx); err == nil {
			client = smtp.NewClient(over)
		}
	case "none":
		client = smtp.NewClient(tcp)
	default:
		client, err = smtp.NewClientStartTLS(tcp, s.tls)
	}
	if err == nil && s.user != "" {
		err = client.Auth(sasl.NewPlainClient("", s.user, s.password.Reveal()))
	}
	if err != nil {
		done()
		return nil, nil, answered(err)
	}
	return client, done, nil
}

// send hands one message over.
func (s *server) send(ctx context.Context, from, to string, raw []byte) error {
	client, done, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := client.Mail(from, nil); err != nil {
		return answered(err)
	}
	if err := client.Rcpt(to, nil); err != nil {
		return answered(err)
	}
	data, err := client.Data()
	if err != nil {
		return answered(err)
	}
	if _, err := bytes.NewReader(raw).WriteTo(data); err != nil {
		return err
	}
	if err := data.Close(); err != nil {
		return answered(err)
	}
	_ = client.Quit()
	return nil
}

// Check connects and signs in, and sends nothing: for `beffroi check`.
func (c Config) Check(ctx context.Context) error {
	s, err := c.server()
	if err != nil {
		return err
	}
	client, done, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer done()
	return client.Quit()
}
