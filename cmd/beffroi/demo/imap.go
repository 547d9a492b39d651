package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	_ "github.com/emersion/go-message/charset" // SEARCH and ENVELOPE of mail that is not UTF-8
	"github.com/emersion/go-sasl"
)

// mostAppendBytes leaves room for what the submission server lets through, so
// that whatever was sent can be kept in Sent.
const mostAppendBytes = mostSubmitted + 5<<20

func (s *MailServer) newIMAP() *imapserver.Server {
	return imapserver.New(&imapserver.Options{
		NewSession: func(conn *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			s.sessions.Add(1)
			return &imapSession{server: s, conn: conn}, nil, nil
		},
		Caps: imap.CapSet{
			imap.CapIMAP4rev1: {}, imap.CapNamespace: {}, imap.CapUIDPlus: {}, imap.CapESearch: {}, imap.CapSearchRes: {},
			imap.CapListExtended: {}, imap.CapListStatus: {}, imap.CapMove: {}, imap.CapStatusSize: {}, imap.CapBinary: {},
			imap.CapChildren: {}, imap.CapSpecialUse: {}, imap.CapCreateSpecialUse: {}, imap.CapLiteralPlus: {},
		},
		Logger: quietLog{s.config.Log, "imap"},
		// Loopback only, and a bearer token instead of a password.
		InsecureAuth: true,
	})
}

// quietLog gives the libraries' chatter (mostly clients that hung up) to debug.
type quietLog struct {
	log  *slog.Logger
	from string
}

func (q quietLog) Printf(format string, args ...any) {
	q.log.Debug("demo "+q.from, "message", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (q quietLog) Println(args ...any) {
	q.log.Debug("demo "+q.from, "message", strings.TrimSpace(fmt.Sprintln(args...)))
}

// imapSession is one connection. What it does not override, imapmemserver does.
type imapSession struct {
	*imapmemserver.UserSession // nil until signed in

	server   *MailServer
	conn     *imapserver.Conn
	drop     *maildrop
	readOnly bool // EXAMINE: the library leaves that to the session
	end      *time.Timer
}

var (
	_ imapserver.SessionIMAP4rev2   = (*imapSession)(nil)
	_ imapserver.SessionSASL        = (*imapSession)(nil)
	_ imapserver.SessionAppendLimit = (*imapSession)(nil)
)

func (c *imapSession) AppendLimit() uint32 { return mostAppendBytes }

func (c *imapSession) Close() error {
	defer c.server.sessions.Done()
	if c.end != nil {
		c.end.Stop()
	}
	return c.UserSession.Close() // a nil receiver is fine
}

// Login refuses: no password ever reaches this server.
func (c *imapSession) Login(string, string) error {
	return refusal(imap.ResponseCodePrivacyRequired, "LOGIN is disabled: sign in with OAUTHBEARER")
}

func (c *imapSession) AuthenticateMechanisms() []string { return []string{sasl.OAuthBearer} }

func (c *imapSession) Authenticate(mech string) (sasl.Server, error) {
	if mech != sasl.OAuthBearer {
		return nil, refusal("", "Only OAUTHBEARER is accepted here")
	}
	return &oauthBearer{signIn: c.signIn, scope: MailScope, garbled: refusal(imap.ResponseCodeAuthenticationFailed, "Unreadable OAUTHBEARER message")}, nil
}

func (c *imapSession) signIn(authzid, token string) (string, error) {
	drop, end, err := c.server.identify(context.Background(), authzid, token)
	switch {
	case errors.Is(err, errRefused):
		c.server.config.Log.Info("demo imap sign-in refused", "reason", err)
		return "invalid_token", refusal(imap.ResponseCodeAuthenticationFailed, "The token is not good for this mailbox")
	case err != nil:
		c.server.config.Log.Warn("demo imap sign-in impossible", "error", err)
		return "temporarily_unavailable", refusal(imap.ResponseCodeUnavailable, "The token cannot be checked now")
	}
	c.drop = drop
	c.UserSession = imapmemserver.NewUserSession(drop.open())
	c.end = time.AfterFunc(end.Sub(c.server.config.Now()), func() { _ = c.conn.Bye("The token's time is over, sign in again") })
	return "", nil
}

func (c *imapSession) Select(name string, options *imap.SelectOptions) (*imap.SelectData, error) {
	data, err := c.UserSession.Select(name, options)
	c.readOnly = err == nil && options.ReadOnly
	return data, err
}

func (c *imapSession) Append(name string, r imap.LiteralReader, options *imap.AppendOptions) (*imap.AppendData, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if !servable(raw) {
		return nil, refusal("", "A multipart without parts is no message")
	}
	c.drop.mu.Lock()
	defer c.drop.mu.Unlock()
	if err := c.room(1, int64(len(raw))); err != nil {
		return nil, err
	}
	return c.UserSession.Append(name, literalBytes{bytes.NewReader(raw)}, options)
}

func (c *imapSession) Copy(set imap.NumSet, dest string) (*imap.CopyData, error) {
	c.drop.mu.Lock()
	defer c.drop.mu.Unlock()
	// The set is not sized here: refusing when nothing fits at all is enough to bound growth.
	if err := c.room(1, 0); err != nil {
		return nil, err
	}
	return c.UserSession.Copy(set, dest)
}

func (c *imapSession) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	if c.readOnly {
		return errReadOnly
	}
	c.drop.mu.Lock()
	defer c.drop.mu.Unlock()
	return c.UserSession.Move(w, set, dest)
}

func (c *imapSession) Store(w *imapserver.FetchWriter, set imap.NumSet, flags *imap.StoreFlags, options *imap.StoreOptions) error {
	if c.readOnly {
		return errReadOnly
	}
	return c.UserSession.Store(w, set, flags, options)
}

func (c *imapSession) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if c.readOnly {
		return nil // CLOSE of an examined mailbox removes nothing, in silence (RFC 3501 §6.4.2)
	}
	return c.UserSession.Expunge(w, uids)
}

// Fetch never marks as read what was opened with EXAMINE.
func (c *imapSession) Fetch(w *imapserver.FetchWriter, set imap.NumSet, options *imap.FetchOptions) error {
	if c.readOnly {
		for _, section := range options.BodySection {
			section.Peek = true
		}
	}
	return c.UserSession.Fetch(w, set, options)
}

// Idle looks for news four times a second. The library's own waits for a sign
// that it misses when mail comes between the command and the waiting.
func (c *imapSession) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
			if err := c.Poll(w, true); err != nil {
				return err
			}
		}
	}
}

func (c *imapSession) room(n int, size int64) error {
	if err := c.drop.room(n, size); errors.Is(err, errOverQuota) {
		return refusal(imap.ResponseCodeOverQuota, "The mailbox is full")
	} else if err != nil {
		return err
	}
	return nil
}

var errReadOnly = refusal("", "The mailbox was opened read-only")

func refusal(code imap.ResponseCode, text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}
