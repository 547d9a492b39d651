// Package mailer sends the provider's own messages to people: a lost factor, a
// locked account. A message is queued in the transaction of what it tells, so
// that neither is without the other, and is sent by a worker after the commit:
// again and again, with growing waits, for three days. A message whose fate is
// not known (the connection broke after the text) is sent again under the same
// Message-ID.
//
// It promises: no header is made of what a person wrote; a server that hangs,
// or lies, costs nobody who signs in; without TLS nothing is sent but within
// this machine.
package mailer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/mail"
	"strings"
	"sync/atomic"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Message is what a person is told.
type Message struct {
	Person  string // ID
	To      string // address; empty: found by Resolve when it is sent
	Name    string // of the person; may be empty
	Topic   string // the same news of the same person is told once a minute
	Subject string
	Body    string // plain text, lines of any length
	Lang    string // "fr" or "en"
}

// Outbox queues and sends. Safe for concurrent use.
type Outbox struct {
	db      *db.DB
	sealer  *secret.Sealer
	server  *server
	from    mail.Address
	log     *slog.Logger
	now     func() time.Time
	ring    chan struct{}
	resolve func(ctx context.Context, person string) (string, error)

	sent, failed atomic.Int64
}

const (
	sendEvery = 10 * time.Second
	giveUp    = 72 * time.Hour
	keepSent  = 72 * time.Hour
	sameNews  = time.Minute
	sendTime  = time.Minute // for one message
	atOnce    = 50
)

// New makes an outbox. resolve finds the address of a person whose directory
// did not answer when the message was written.
func New(d *db.DB, s *secret.Sealer, c Config, resolve func(ctx context.Context, person string) (string, error), log *slog.Logger, now func() time.Time) (*Outbox, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	server, err := c.server()
	if err != nil {
		return nil, err
	}
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return nil, fmt.Errorf("mail.from: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Outbox{db: d, sealer: s, server: server, from: *from, log: log, now: now, ring: make(chan struct{}, 1), resolve: resolve}, nil
}

func purpose(id string) string { return "mail:" + id }

// Queue keeps a message in the caller's transaction. News that was told within
// the last minute is not told again.
func (o *Outbox) Queue(ctx context.Context, m Message) error {
	if m.Topic != "" {
		var n int
		err := o.db.QueryRow(ctx, "SELECT COUNT(*) FROM notice_outbox WHERE person = $1 AND topic = $2 AND created > $3", m.Person, m.Topic, db.At(o.now().Add(-sameNews))).Scan(&n)
		if err != nil {
			return fmt.Errorf("queue a message for %s: %w", m.Person, err)
		}
		if n > 0 {
			return nil
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("queue a message for %s: %w", m.Person, err)
	}
	id := secret.Random()[:22]
	_, err = o.db.Exec(ctx, "INSERT INTO notice_outbox (id, person, topic, message, created, next, tries, error) VALUES ($1, $2, $3, $4, $5, $5, 0, '')",
		id, m.Person, m.Topic, o.sealer.Seal(purpose(id), string(text)), db.At(o.now()))
	if err != nil {
		return fmt.Errorf("queue a message for %s: %w", m.Person, err)
	}
	o.db.AfterCommit(ctx, func() {
		select {
		case o.ring <- struct{}{}:
		default:
		}
	})
	return nil
}

// Run sends until ctx ends.
func (o *Outbox) Run(ctx context.Context) {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for {
		if _, err := o.Deliver(ctx); err != nil && ctx.Err() == nil {
			o.log.ErrorContext(ctx, "send messages", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-o.ring:
		}
	}
}

// Counts tells how many messages were sent and given up since the start.
func (o *Outbox) Counts() (sent, failed int64) { return o.sent.Load(), o.failed.Load() }

// Waiting counts the messages that are not sent yet.
func (o *Outbox) Waiting(ctx context.Context) (n int, err error) {
	err = o.db.QueryRow(ctx, "SELECT COUNT(*) FROM notice_outbox WHERE sent IS NULL AND message <> ''").Scan(&n)
	return n, err
}

type queued struct {
	id, message string
	created     db.Time
	tries       int
}

// Deliver sends what is due and returns how many were. Each is first put off, so
// that of several replicas one sends it, and a crash repeats it at most.
func (o *Outbox) Deliver(ctx context.Context) (n int, err error) {
	due, err := db.All(ctx, o.db, func(scan func(...any) error) (q queued, err error) {
		return q, scan(&q.id, &q.message, &q.created, &q.tries)
	}, "SELECT id, message, created, tries FROM notice_outbox WHERE sent IS NULL AND message <> '' AND next <= $1 ORDER BY next, id LIMIT $2", db.At(o.now()), atOnce)
	if err != nil {
		return 0, fmt.Errorf("outbox: %w", err)
	}
	for _, q := range due {
		taken, err := o.db.Exec(ctx, "UPDATE notice_outbox SET tries = tries + 1, next = $1 WHERE id = $2 AND tries = $3 AND sent IS NULL", db.At(o.now().Add(wait(q.tries))), q.id, q.tries)
		if err != nil {
			return n, fmt.Errorf("outbox: %w", err)
		}
		if taken == 0 {
			continue // another replica's
		}
		err = o.send(ctx, q)
		switch {
		case err == nil:
			n++
			o.sent.Add(1)
			if _, err := o.db.Exec(ctx, "UPDATE notice_outbox SET sent = $1, message = '', error = '' WHERE id = $2", db.At(o.now()), q.id); err != nil {
				return n, fmt.Errorf("outbox: %w", err)
			}
		case ctx.Err() != nil:
			return n, nil // ends: tried again at the next start
		default:
			var no *refusal
			if gone := errors.As(err, &no) && no.forGood() || o.now().Sub(q.created.Time) > giveUp; gone {
				o.failed.Add(1)
				o.log.ErrorContext(ctx, "a message to a person was given up", "id", q.id, "error", err)
				_, err = o.db.Exec(ctx, "UPDATE notice_outbox SET message = '', error = $1 WHERE id = $2", shorten(err.Error()), q.id)
			} else {
				o.log.WarnContext(ctx, "a message to a person waits", "id", q.id, "tries", q.tries+1, "error", err)
				_, err = o.db.Exec(ctx, "UPDATE notice_outbox SET error = $1 WHERE id = $2", shorten(err.Error()), q.id)
			}
			if err != nil {
				return n, fmt.Errorf("outbox: %w", err)
			}
		}
	}
	return n, nil
}

// wait is how long the next try waits after so many.
func wait(tries int) time.Duration {
	return min(time.Minute<<min(tries, 7), time.Hour)
}

func shorten(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

func (o *Outbox) send(ctx context.Context, q queued) error {
	text, err := o.sealer.Open(purpose(q.id), q.message)
	if err != nil {
		return err
	}
	var m Message
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	if m.To == "" {
		if m.To, err = o.resolve(ctx, m.Person); err != nil {
			return err
		}
		if m.To == "" {
			return &refusal{code: 550, text: "the directory has no address"}
		}
	}
	raw, err := o.compose(q.id, m)
	if err != nil {
		return &refusal{code: 553, text: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	return o.server.send(ctx, o.from.Address, m.To, raw)
}

// compose writes a message (RFC 5322), the same each time it is sent.
func (o *Outbox) compose(id string, m Message) ([]byte, error) {
	to, err := mail.ParseAddress(m.To)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", m.To, err)
	}
	to.Name = line(m.Name)
	domain := o.from.Address[strings.LastIndexByte(o.from.Address, '@')+1:]
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("Date", o.now().UTC().Format(time.RFC1123Z))
	header("From", o.from.String())
	header("To", to.String())
	header("Subject", mime.QEncoding.Encode("utf-8", line(m.Subject)))
	header("Message-ID", "<"+id+"@"+domain+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834 §5
	header("Content-Language", line(m.Lang))
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "base64")
	b.WriteString("\r\n")
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(m.Body, "\n", "\r\n")))
	for len(encoded) > 76 {
		b.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	b.WriteString(encoded + "\r\n")
	return b.Bytes(), nil
}

// line keeps what goes into a header on one line.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// Sweep removes what was sent, or given up, days ago.
func (o *Outbox) Sweep(ctx context.Context) (int64, error) {
	return o.db.Exec(ctx, "DELETE FROM notice_outbox WHERE message = '' AND created <= $1", db.At(o.now().Add(-keepSent)))
}
