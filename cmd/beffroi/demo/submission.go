package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"beffroi/internal/secret"
)

// mostSubmitted is the size limit announced to clients, in bytes.
const mostSubmitted = 20 << 20

func (s *MailServer) newSubmission() *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(conn *smtp.Conn) (smtp.Session, error) {
		return &submission{server: s, conn: conn}, nil
	}))
	server.Domain = "mail." + MailDomain
	server.MaxMessageBytes = mostSubmitted
	server.MaxRecipients = 200
	server.ReadTimeout = 5 * time.Minute
	server.WriteTimeout = time.Minute
	server.AllowInsecureAuth = true // loopback only, and never a password
	server.ErrorLog = quietLog{s.config.Log, "submission"}
	return server
}

// The provider's own account at the submission server.
const (
	MailerUser = "beffroi"
	MailerFrom = "ne-pas-repondre@" + MailDomain
)

// submission is one connection of RFC 6409: it takes mail of signed-in persons
// for persons of the academy, and refuses aloud whatever it cannot deliver.
type submission struct {
	server *MailServer
	conn   *smtp.Conn

	service bool // the provider itself
	sender  *maildrop
	end     time.Time

	from string
	to   []recipient
}

type recipient struct {
	address string
	drop    *maildrop // nil: outside the academy
}

var _ smtp.AuthSession = (*submission)(nil)

func (c *submission) AuthMechanisms() []string {
	if c.server.config.Mailer == "" {
		return []string{sasl.OAuthBearer}
	}
	return []string{sasl.OAuthBearer, sasl.Plain}
}

func (c *submission) Auth(mech string) (sasl.Server, error) {
	if mech == sasl.Plain && c.server.config.Mailer != "" {
		return sasl.NewPlainServer(func(_, user, password string) error {
			if user != MailerUser || !secret.Equal(password, c.server.config.Mailer) {
				return smtp.ErrAuthFailed
			}
			c.service = true
			return nil
		}), nil
	}
	if mech != sasl.OAuthBearer {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return &oauthBearer{signIn: c.signIn, scope: MailScope, garbled: smtp.ErrAuthFailed}, nil
}

func (c *submission) signIn(authzid, token string) (string, error) {
	drop, end, err := c.server.identify(context.Background(), authzid, token)
	switch {
	case errors.Is(err, errRefused):
		c.server.config.Log.Info("demo submission sign-in refused", "reason", err)
		return "invalid_token", smtp.ErrAuthFailed
	case err != nil:
		c.server.config.Log.Warn("demo submission sign-in impossible", "error", err)
		return "temporarily_unavailable", reply(454, 4, 7, 0, "the token cannot be checked now")
	}
	c.sender, c.end = drop, end
	return "", nil
}

func (c *submission) Mail(from string, _ *smtp.MailOptions) error {
	switch {
	case c.service && strings.EqualFold(from, MailerFrom):
		c.from = from
		return nil
	case c.sender == nil:
		return reply(530, 5, 7, 0, "authentication required")
	case !c.server.config.Now().Before(c.end):
		return reply(421, 4, 7, 0, "the token's time is over, connect and sign in again")
	case !slices.Contains(c.sender.account.Addresses(), strings.ToLower(from)):
		return reply(553, 5, 7, 1, "sender address not owned by "+c.sender.account.Login)
	}
	c.from = from
	return nil
}

func (c *submission) Rcpt(to string, _ *smtp.RcptOptions) error {
	drop := c.server.post.at(to)
	switch {
	case drop != nil:
	case strings.EqualFold(to[strings.LastIndexByte(to, '@')+1:], MailDomain):
		return reply(550, 5, 1, 1, "no such person at "+MailDomain)
	case c.service && c.server.config.Outside != "": // kept there, for who tries the demo
	default:
		// Nobody's mail may vanish: what is not delivered is not accepted.
		return reply(550, 5, 7, 1, "the demo delivers only inside "+MailDomain)
	}
	c.to = append(c.to, recipient{to, drop})
	return nil
}

// Data delivers to everyone or to no one: a full mailbox refuses the message
// before the first copy is made.
func (c *submission) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if !servable(body) {
		return reply(554, 5, 6, 0, "a multipart without parts is no message")
	}
	now := c.server.config.Now()
	copies := c.copies(body, now)
	for _, one := range copies {
		if one.drop == nil {
			continue
		}
		one.drop.open()
		one.drop.mu.Lock()
		err := one.drop.room(1, int64(len(one.raw)))
		one.drop.mu.Unlock()
		if err != nil {
			return reply(452, 4, 2, 2, "the mailbox of "+one.address+" is full")
		}
	}
	for _, one := range copies {
		var err error
		if one.drop == nil {
			err = keepOutside(c.server.config.Outside, one.address, one.raw, now)
		} else {
			err = one.drop.deliver(one.raw, now)
		}
		if err != nil {
			return reply(451, 4, 2, 0, "delivery to "+one.address+" failed: "+err.Error())
		}
	}
	return nil
}

type mailCopy struct {
	recipient
	raw []byte
}

// copies makes one message per mailbox, also when a person is named twice.
func (c *submission) copies(body []byte, now time.Time) []mailCopy {
	body = stripReturnPath(body)
	var list []mailCopy
	seen := make(map[*maildrop]bool)
	for _, to := range c.to {
		if to.drop != nil && seen[to.drop] {
			continue
		}
		seen[to.drop] = true
		list = append(list, mailCopy{to, append(c.trace(to.address, now), body...)})
	}
	return list
}

// trace writes the header lines that final delivery adds (RFC 5321 §4.4);
// ESMTPA is RFC 3848's word for "by a signed-in client".
func (c *submission) trace(to string, now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <%s>\r\n", c.from)
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n\tby mail.%s (Beffroi demo) with ESMTPA\r\n\tfor <%s>; %s\r\n",
		headerAtom(c.conn.Hostname()), peerAddress(c.conn.Conn()), MailDomain, to, now.Format(time.RFC1123Z))
	return b.Bytes()
}

// headerAtom keeps a client's own idea of its name harmless in a header.
func headerAtom(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == ':' || r == '[' || r == ']' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
	if s == "" {
		return "unknown"
	}
	return s
}

func peerAddress(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return "unknown"
	}
	if strings.Contains(host, ":") {
		host = "IPv6:" + host
	}
	return "[" + host + "]"
}

// stripReturnPath removes a Return-Path the client wrote: only delivery knows it.
func stripReturnPath(raw []byte) []byte {
	end := bytes.Index(raw, []byte("\r\n\r\n"))
	if end < 0 {
		end = len(raw)
	}
	var out []byte
	skipping := false
	for line := range bytes.Lines(raw[:end]) {
		folded := line[0] == ' ' || line[0] == '\t'
		if !folded {
			skipping = len(line) > 12 && strings.EqualFold(string(line[:12]), "return-path:")
		}
		if !skipping {
			out = append(out, line...)
		}
	}
	return append(out, raw[end:]...)
}

func (c *submission) Reset() { c.from, c.to = "", nil }

func (c *submission) Logout() error { return nil }

func reply(code, class, subject, detail int, text string) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}
