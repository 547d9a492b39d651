package webmail

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-message/charset"
	"github.com/emersion/go-sasl"
)

// What a mail server did to us, as far as a page tells it.
var (
	errDown    = errors.New("mail server does not answer")            // dial, deadline, drop, nonsense
	errDropped = fmt.Errorf("%w: it ended the conversation", errDown) // in the middle of a use, not for want of time
	errSignIn  = errors.New("mail server refuses the sign-in")        // OAUTHBEARER refused
	errBusy    = errors.New("too many mail connections")              // bounds of the pool
	errGone    = errors.New("message or mailbox is not there")        // NONEXISTENT, unknown UID
	errTooLong = errors.New("mail server sends more than it may")     // byte limit of one use
)

// readLimit bounds what one use of a connection may read: a server that talks
// nonsense for ever costs this much and no more.
const readLimit = 96 << 20

// connectionAge is how long a connection is used: what somebody shares meanwhile
// is seen by new ones only (Dovecot).
const connectionAge = 10 * time.Minute

// endpoint is one mail server address, as configured.
type endpoint struct {
	address    string // host:port
	mode       string // "tls", "starttls", "none"
	serverName string // in the certificate
	roots      *x509.CertPool
	auth       signIn
}

func newEndpoint(address, mode, serverName, caFile string) (endpoint, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return endpoint{}, fmt.Errorf("mail server %q: %w", address, err)
	}
	e := endpoint{address: address, mode: mode, serverName: serverName}
	if e.serverName == "" {
		e.serverName = host
	}
	if mode == "none" {
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return endpoint{}, fmt.Errorf("mail server %q: without encryption only a loopback address is reached", address)
		}
	}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return endpoint{}, err
		}
		e.roots = x509.NewCertPool()
		if !e.roots.AppendCertsFromPEM(pem) {
			return endpoint{}, fmt.Errorf("%s holds no certificate", caFile)
		}
	}
	return e, nil
}

func (e endpoint) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: e.serverName, RootCAs: e.roots, MinVersion: tls.VersionTLS12}
}

// conn is one authenticated IMAP connection. It is used by one goroutine at a
// time, inside Pools.Do, and never escapes from there.
type conn struct {
	*imapclient.Client
	raw      *boundedConn
	tag      [32]byte // hash of the token that opened it
	expires  time.Time
	lastUsed time.Time
	born     time.Time

	changed  chan struct{} // something has happened in the mailbox that is open
	box      string        // selected mailbox, "" when none
	validity uint32
	writable bool
	others   []string // prefixes of the mailboxes of others, nil before they were asked for
}

// boundedConn counts what is read, so that one use has an end in bytes as the
// watchdog gives it one in time.
type boundedConn struct {
	net.Conn
	left atomic.Int64
}

func (b *boundedConn) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := b.Conn.Read(p)
	b.left.Add(-int64(n))
	return n, err
}

// wordDecoder knows the charsets of old mail, not only UTF-8 and Latin-1.
var wordDecoder = &mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) { return charset.Reader(name, r) }}

// dialIMAP connects, encrypts as configured and signs in with the token. It
// ends at ctx's deadline whatever the server does: go-imap has no deadline of
// its own, so the raw connection is closed under it.
func dialIMAP(ctx context.Context, e endpoint, login, token string, expires time.Time) (*conn, error) {
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDown, err)
	}
	raw := &boundedConn{Conn: tcp}
	raw.left.Store(readLimit)
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	fail := func(what string, err error) (*conn, error) {
		_ = tcp.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%w: %s: %w", errDown, what, err)
	}

	changed := make(chan struct{}, 1)
	note := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	options := &imapclient.Options{WordDecoder: wordDecoder, TLSConfig: e.tlsConfig(), UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(uint32) { note() },
		Mailbox: func(m *imapclient.UnilateralDataMailbox) {
			if m.NumMessages != nil {
				note()
			}
		},
		Fetch: func(m *imapclient.FetchMessageData) { _, _ = m.Collect(); note() },
	}}
	var client *imapclient.Client
	switch e.mode {
	case "tls":
		options.TLSConfig.NextProtos = []string{"imap"}
		over := tls.Client(raw, options.TLSConfig)
		if err := over.HandshakeContext(ctx); err != nil {
			return fail("TLS", err)
		}
		client = imapclient.New(over, options)
	case "starttls":
		if client, err = imapclient.NewStartTLS(raw, options); err != nil {
			return fail("STARTTLS", err)
		}
	default:
		client = imapclient.New(raw, options)
	}
	if err := client.WaitGreeting(); err != nil {
		return fail("greeting", err)
	}
	err = client.Authenticate(e.auth.client(e.address, login, token))
	if err != nil {
		_ = tcp.Close()
		var no *imap.Error
		if errors.As(err, &no) || isBearerError(err) {
			return nil, fmt.Errorf("%w: %w", errSignIn, err)
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%w: sign in: %w", errDown, err)
	}
	if client.Caps() == nil { // asked once here, under the watchdog
		return fail("capabilities", ctx.Err())
	}
	return &conn{Client: client, raw: raw, changed: changed, tag: sha256.Sum256([]byte(token)), expires: expires, born: time.Now()}, nil
}

// isBearerError: the JSON answer of RFC 7628 §3.2.2, which go-sasl returns as
// an error of its own type.
func isBearerError(err error) bool {
	var bearer *sasl.OAuthBearerError
	return errors.As(err, &bearer)
}

// alive tells whether the reader of the connection still runs. A cut cable
// shows only at the next command.
func (c *conn) alive() bool {
	select {
	case <-c.Closed():
		return false
	default:
		return true
	}
}

// drop closes the connection without waiting: Client.Close waits for the
// reader, and a reader that waits for a consumer never ends.
func (c *conn) drop() { _ = c.raw.Close() }

// open selects a mailbox, or refreshes it when it is already selected (136 ms
// against 1 on a mailbox of 60,000). It returns how many messages there are.
func (c *conn) open(box string, writable bool) (messages uint32, err error) {
	if c.box == box && (c.writable || !writable) && c.Mailbox() != nil {
		if err := c.Noop().Wait(); err != nil {
			return 0, err
		}
		if m := c.Mailbox(); m != nil {
			return m.NumMessages, nil
		}
	}
	c.box = ""
	data, err := c.Select(box, &imap.SelectOptions{ReadOnly: !writable}).Wait()
	if err != nil {
		return 0, gone(err)
	}
	c.box, c.validity, c.writable = box, data.UIDValidity, writable
	return data.NumMessages, nil
}

// selected is how many messages the mailbox has that is open, 0 when none is.
func (c *conn) selected() uint32 {
	if m := c.Mailbox(); c.box != "" && m != nil {
		return m.NumMessages
	}
	return 0
}

// keeps tells whether the mailbox that is open keeps a flag (RFC 9051 §7.1,
// PERMANENTFLAGS): a server may take others and forget them.
func (c *conn) keeps(flag imap.Flag) bool {
	m := c.Mailbox()
	if m == nil || m.PermanentFlags == nil {
		return true
	}
	own := strings.HasPrefix(string(flag), `\`)
	return slices.ContainsFunc(m.PermanentFlags, func(f imap.Flag) bool {
		return strings.EqualFold(string(f), string(flag)) || !own && f == imap.FlagWildcard
	})
}

// openAt selects a mailbox whose UIDVALIDITY must be the one that the page was
// made from: else the UIDs name other messages.
func (c *conn) openAt(box string, validity uint32, writable bool) error {
	if _, err := c.open(box, writable); err != nil {
		return err
	}
	if c.validity != validity {
		return fmt.Errorf("%w: UIDVALIDITY of %q is %d, not %d", errGone, box, c.validity, validity)
	}
	return nil
}

// gone marks a refused SELECT: servers rarely send NONEXISTENT, and a mailbox
// that cannot be opened is not there for this person.
func gone(err error) error {
	var no *imap.Error
	if errors.As(err, &no) && no.Type == imap.StatusResponseTypeNo {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}
