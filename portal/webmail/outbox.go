package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
	"beffroi/portal"
)

// States of a message in the outbox; the migration says what each means.
const (
	stateQueued = "queued"
	stateSent   = "sent"
	stateFailed = "failed"
	stateDone   = "done"
)

// envelope is what the outbox keeps beside the message. It is sealed.
type envelope struct {
	From      string   `json:"from"`
	To        []string `json:"to"`
	Subject   string   `json:"subject"`
	MessageID string   `json:"message_id"`
	Kind      string   `json:"kind,omitempty"`   // "reply" or "forward": what to mark on Source
	Source    string   `json:"source,omitempty"` // path of the message answered
	Draft     string   `json:"draft,omitempty"`  // path of the draft to remove once sent
	Bcc       string   `json:"bcc,omitempty"`    // as typed, to go on after a failure
	Quiet     bool     `json:"quiet,omitempty"`  // no message of the person: it is not filed in Sent
	As        string   `json:"as,omitempty"`     // key of the identity, looked at again when it leaves
	Remind    int      `json:"remind,omitempty"` // days after which the writer hears when no answer came
	Filed     string   `json:"filed,omitempty"`  // mailbox for the copy, "" for the person's own
}

// leaseFor is how long one attempt owns a message. After a crash the next
// attempt begins when it has passed.
const leaseFor = 90 * time.Second

// waiting is a message of the outbox as the pages tell of it.
type waiting struct {
	id, state, reason string
	envelope          envelope
	attempts          int64
	due               bool      // nobody is working on it
	held              time.Time // may be taken back until then; zero when not
	scheduled         time.Time // leaves then; zero when at once
}

func (s *service) seal(sub, id, what, plain string) string {
	return s.sealer.Seal("mail_outbox:"+what+":"+sub+":"+id, plain)
}

func (s *service) unseal(sub, id, what, sealed string) (string, error) {
	return s.sealer.Open("mail_outbox:"+what+":"+sub+":"+id, sealed)
}

// enqueue writes the message down before anything is sent, and nothing is for as
// long as it is held. It answers false when the same composition is already on
// its way or sent: a second click.
func (s *service) enqueue(ctx context.Context, sub, id string, e envelope, raw []byte, held time.Duration) (bool, error) {
	return s.put(ctx, sub, id, e, raw, stateQueued, "", s.now().Add(held), false)
}

// schedule does the same with a message that leaves later.
func (s *service) schedule(ctx context.Context, sub, id string, e envelope, raw []byte, at time.Time) (bool, error) {
	return s.put(ctx, sub, id, e, raw, stateQueued, "", at, true)
}

// takeBack keeps a message from being sent that is still held: then it is one
// that failed, to be written on. It answers false when it is too late.
func (s *service) takeBack(ctx context.Context, sub, id string) (bool, error) {
	n, err := s.db.Exec(ctx, "UPDATE mail_outbox SET state = 'failed', reason = 'undone', lease = 0 WHERE person = $1 AND id = $2 AND state = 'queued' AND attempts = 0 AND lease >= $3",
		sub, id, s.now().UnixMicro())
	return n == 1, err
}

// keep puts aside a message that could be neither sent nor saved as a draft.
func (s *service) keep(ctx context.Context, sub, id string, e envelope, raw []byte, reason string) (bool, error) {
	return s.put(ctx, sub, id, e, raw, stateFailed, reason, s.now(), false)
}

func (s *service) put(ctx context.Context, sub, id string, e envelope, raw []byte, state, reason string, at time.Time, later bool) (bool, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	now, lease, due := s.now(), int64(0), int64(0)
	if at.After(now) {
		lease = at.UnixMicro()
	}
	if later {
		due = at.UnixMicro()
	}
	n, err := s.db.Exec(ctx, `INSERT INTO mail_outbox (person, id, state, envelope, message, reason, attempts, filings, created, lease, due)
		VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8, $9)
		ON CONFLICT (person, id) DO UPDATE SET state = excluded.state, envelope = excluded.envelope, message = excluded.message,
			reason = excluded.reason, attempts = 0, filings = 0, created = excluded.created, lease = excluded.lease, due = excluded.due
		WHERE mail_outbox.state = 'failed'`,
		sub, id, state, s.seal(sub, id, "envelope", string(text)), s.seal(sub, id, "message", string(raw)), reason, db.At(now), lease, due)
	if err != nil {
		return false, fmt.Errorf("write message to the outbox: %w", err)
	}
	return n == 1, nil
}

// outbox lists what is not finished, oldest first.
func (s *service) outbox(ctx context.Context, sub string) ([]waiting, error) {
	now := s.now().UnixMicro()
	return db.All(ctx, s.db, func(scan func(...any) error) (waiting, error) {
		var w waiting
		var sealed string
		var lease, due int64
		if err := scan(&w.id, &w.state, &sealed, &w.reason, &w.attempts, &lease, &due); err != nil {
			return w, err
		}
		w.due = lease < now && w.state != stateFailed
		if w.state == stateQueued && w.attempts == 0 && lease >= now {
			w.held = time.UnixMicro(lease)
			if due > 0 {
				w.scheduled = w.held
			}
		}
		plain, err := s.unseal(sub, w.id, "envelope", sealed)
		if err != nil {
			return w, err
		}
		return w, json.Unmarshal([]byte(plain), &w.envelope)
	}, "SELECT id, state, envelope, reason, attempts, lease, due FROM mail_outbox WHERE person = $1 AND state <> 'done' ORDER BY created", sub)
}

// kept is the bytes of a message that failed, to go on writing it.
func (s *service) kept(ctx context.Context, sub, id string) (envelope, []byte, error) {
	var e envelope
	var sealed, sealedEnvelope string
	err := s.db.QueryRow(ctx, "SELECT envelope, message FROM mail_outbox WHERE person = $1 AND id = $2 AND state = 'failed'", sub, id).Scan(&sealedEnvelope, &sealed)
	if errors.Is(err, db.ErrNotFound) {
		return e, nil, fmt.Errorf("%w: outbox %s", errGone, id)
	} else if err != nil {
		return e, nil, err
	}
	plain, err := s.unseal(sub, id, "envelope", sealedEnvelope)
	if err != nil {
		return e, nil, err
	}
	if err := json.Unmarshal([]byte(plain), &e); err != nil {
		return e, nil, err
	}
	raw, err := s.unseal(sub, id, "message", sealed)
	return e, []byte(raw), err
}

// forget removes a failed message that is now a draft, or that the person gave up.
func (s *service) forget(ctx context.Context, sub, id string) error {
	_, err := s.db.Exec(ctx, "DELETE FROM mail_outbox WHERE person = $1 AND id = $2 AND state = 'failed'", sub, id)
	return err
}

// state is where a composition stands, "" when the outbox does not know it.
func (s *service) state(ctx context.Context, sub, id string) (state, reason string, err error) {
	err = s.db.QueryRow(ctx, "SELECT state, reason FROM mail_outbox WHERE person = $1 AND id = $2", sub, id).Scan(&state, &reason)
	if errors.Is(err, db.ErrNotFound) {
		return "", "", nil
	}
	return state, reason, err
}

// deliver takes one message as far as it goes: submitted, filed in Sent, marks
// set, done. Each step is written down before the next begins, and one attempt
// at a time owns the message, in whatever process.
func (s *service) deliver(ctx context.Context, sub, id string, credentials func(context.Context) (owner, error)) error {
	now := s.now()
	var state, sealedEnvelope, sealed string
	var attempts, filings, due int64
	err := s.db.QueryRow(ctx, `UPDATE mail_outbox SET lease = $1, attempts = attempts + 1
		WHERE person = $2 AND id = $3 AND lease < $4 AND state IN ('queued', 'sent')
		RETURNING state, envelope, message, attempts, filings, due`,
		now.Add(leaseFor).UnixMicro(), sub, id, now.UnixMicro()).Scan(&state, &sealedEnvelope, &sealed, &attempts, &filings, &due)
	if errors.Is(err, db.ErrNotFound) {
		return nil // somebody else has it, or it is finished
	} else if err != nil {
		return err
	}
	plain, err := s.unseal(sub, id, "envelope", sealedEnvelope)
	if err != nil {
		return err
	}
	var e envelope
	if err := json.Unmarshal([]byte(plain), &e); err != nil {
		return err
	}
	raw, err := s.unseal(sub, id, "message", sealed)
	if err != nil {
		return err
	}
	who, err := credentials(ctx)
	if err != nil {
		return s.after(ctx, sub, id, state, attempts, fmt.Errorf("%w: %w", errNotSent, err))
	}
	if state == stateQueued {
		if attempts > 1 {
			s.repeats.Add(1)
			s.log.WarnContext(ctx, "message submitted again, its fate was not known", "message_id", e.MessageID, "attempt", attempts)
		}
		if e.As != "" {
			if err := s.mayWriteAs(ctx, e.As); err != nil {
				return s.after(ctx, sub, id, state, attempts, fmt.Errorf("%w: %w", errNotSent, err))
			}
		}
		if err := s.submit(ctx, who, e, []byte(raw)); err != nil {
			return s.after(ctx, sub, id, state, attempts, err)
		}
		if s.afterSubmit != nil {
			s.afterSubmit()
		}
		if _, err := s.db.Exec(ctx, "UPDATE mail_outbox SET state = 'sent', reason = '' WHERE person = $1 AND id = $2", sub, id); err != nil {
			return err
		}
	}
	if !e.Quiet {
		if err := s.file(ctx, who, sub, id, e, []byte(raw), filings); err != nil {
			return s.after(ctx, sub, id, stateSent, attempts, err)
		}
		if err := s.remind(ctx, sub, id, e); err != nil {
			return s.after(ctx, sub, id, stateSent, attempts, err)
		}
		s.finish(ctx, who, id, e)
	}
	_, err = s.db.Exec(ctx, "UPDATE mail_outbox SET state = 'done', envelope = '', message = '', reason = '' WHERE person = $1 AND id = $2", sub, id)
	if err != nil || due == 0 {
		return err
	}
	return s.endMandates(ctx, sub)
}

func (s *service) submit(ctx context.Context, who owner, e envelope, raw []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.submitFor)
	defer cancel()
	return submit(ctx, s.submission, who.login, who.token, e.From, e.To, raw)
}

// file appends the copy to Sent. Before a second try it looks whether the
// first one arrived after all.
func (s *service) file(ctx context.Context, who owner, sub, id string, e envelope, raw []byte, filings int64) error {
	sent, err := s.ensureRole(ctx, who, roleSent)
	if err != nil {
		return err
	}
	if e.Filed != "" && filings < mostFilings { // that of a function, while it takes it
		sent = e.Filed
	}
	if filings > 0 {
		there, err := s.holds(ctx, who, sent, e.MessageID)
		if there || err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	if _, err := s.db.Exec(ctx, "UPDATE mail_outbox SET filings = filings + 1 WHERE person = $1 AND id = $2", sub, id); err != nil {
		return err
	}
	_, err = s.append(ctx, who, sent, raw, []imap.Flag{imap.FlagSeen})
	if sent == e.Filed && err != nil && keepsConnection(err) { // a clear no: one's own then
		s.log.InfoContext(ctx, "the copy of a message stays with its writer", "mailbox", sent, "error", err)
		e.Filed = ""
		return s.file(ctx, who, sub, id, e, raw, filings)
	}
	return err
}

// mostFilings is how often a mailbox that is not one's own is tried.
const mostFilings = 4

// holds tells whether a mailbox has a message of this Message-ID.
func (s *service) holds(ctx context.Context, who owner, box, messageID string) (there bool, err error) {
	err = s.pools.Do(ctx, who, box, reads, func(c *conn) error {
		if _, err := c.open(box, true); err != nil {
			return err
		}
		found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}}}, nil).Wait()
		if err != nil {
			return err
		}
		there = len(found.AllUIDs()) > 0
		return nil
	})
	return there, err
}

// finish sets the marks that may be lost without harm.
func (s *service) finish(ctx context.Context, who owner, id string, e envelope) {
	if r, err := parsePath(e.Source); err == nil {
		flag := imap.FlagAnswered
		if e.Kind == "forward" {
			flag = imap.FlagForwarded
		}
		if err := s.setFlags(ctx, who, []ref{r}, imap.StoreFlagsAdd, flag); err != nil {
			s.log.InfoContext(ctx, "the answered message could not be marked", "error", err)
		}
	}
	if err := s.removeDrafts(ctx, who, id, e.Draft); err != nil {
		s.log.InfoContext(ctx, "the draft of a sent message could not be removed", "error", err)
	}
}

// removeDrafts removes the draft of a composition, and what else was saved of it
// from another tab, or while it was sent.
func (s *service) removeDrafts(ctx context.Context, who owner, id, draft string) error {
	if r, err := parsePath(draft); err == nil {
		if err := s.expunge(ctx, who, []ref{r}); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	drafts, err := s.ensureRole(ctx, who, roleDrafts)
	if err != nil {
		return err
	}
	var left []ref
	err = s.pools.Do(ctx, who, drafts, reads, func(c *conn) error {
		if _, err := c.open(drafts, true); err != nil {
			return err
		}
		left = nil
		found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "X-Beffroi-Composition", Value: id}}}, nil).Wait()
		if err != nil {
			return err
		}
		for _, uid := range found.AllUIDs() {
			left = append(left, ref{drafts, c.validity, uid})
		}
		return nil
	})
	if err != nil || len(left) == 0 {
		return err
	}
	return s.expunge(ctx, who, left)
}

// Run takes up messages that nobody is working on: those of a process that
// ended, for people who have not looked since. It needs a session of theirs.
func (m *Module) Run(ctx context.Context) {
	s := m.s
	tick := time.NewTicker(outboxEvery)
	defer tick.Stop()
	for {
		if err := s.takeUp(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "outbox", "error", err)
		}
		if err := s.wakeAll(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "messages that come back", "error", err)
		}
		if err := s.remindAll(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "reminders", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Leave sends what could still be taken back before its person signs out: then
// nobody has a token to send it with.
func (m *Module) Leave(ctx context.Context) {
	s := m.s
	sub := s.person(ctx).Sub
	ids, err := db.All(ctx, s.db, func(scan func(...any) error) (id string, err error) { return id, scan(&id) },
		"UPDATE mail_outbox SET lease = 0 WHERE person = $1 AND state = 'queued' AND attempts = 0 AND due < $2 RETURNING id", sub, s.now().UnixMicro())
	for _, id := range ids {
		err = errors.Join(err, s.deliver(ctx, sub, id, s.owner))
	}
	if err != nil {
		s.log.WarnContext(ctx, "not sent before the sign-out; it leaves after the next sign-in", "error", err)
	}
}

const (
	outboxEvery = 10 * time.Second
	outboxSlack = 5 * time.Second // left to the process that wrote it down
)

// takeUp goes through all that is due: somebody who is signed out must not stand
// in the way of those behind.
func (s *service) takeUp(ctx context.Context) error {
	type one struct {
		sub, id string
		lease   int64
	}
	after := one{lease: -1}
	for {
		due, err := db.All(ctx, s.db, func(scan func(...any) error) (o one, err error) { return o, scan(&o.sub, &o.id, &o.lease) },
			`SELECT person, id, lease FROM mail_outbox WHERE state IN ('queued', 'sent') AND lease < $1 AND (lease > $2 OR lease = $2 AND id > $3) ORDER BY lease, id LIMIT 50`,
			s.now().Add(-outboxSlack).UnixMicro(), after.lease, after.id)
		if err != nil || len(due) == 0 {
			return err
		}
		for _, o := range due {
			after = o
			theirs, err := s.host.Of(ctx, o.sub)
			if errors.Is(err, portal.ErrSignedOut) {
				continue // when they sign in again
			}
			if err != nil {
				s.log.InfoContext(ctx, "no session for the outbox", "error", err)
				continue
			}
			if err := s.deliver(theirs, o.sub, o.id, s.owner); err != nil {
				s.log.InfoContext(ctx, "message of the outbox not finished", "error", err)
			}
		}
	}
}

// after writes down how an attempt ended. A clear no is told to the person, and
// so is a first attempt that certainly sent nothing where the person waits for
// it. All else is tried again, with the same Message-ID: for two days or so, as
// long as there is a session of theirs.
func (s *service) after(ctx context.Context, sub, id, state string, attempts int64, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var no *refusedBy
	next, lease, reason := state, s.now().Add(backoff(attempts)), ""
	switch {
	case state == stateSent:
	case errors.As(cause, &no), errors.Is(cause, errNotYours):
		next, reason = stateFailed, reasonOf(cause)
	case errors.Is(cause, errNotSent) && (attempts == 1 && s.config.Undo <= 0 || attempts > mostAttempts):
		next, reason = stateFailed, reasonOf(cause)
	}
	if _, err := s.db.Exec(ctx, "UPDATE mail_outbox SET state = $1, reason = $2, lease = $3 WHERE person = $4 AND id = $5 AND state <> 'done'",
		next, reason, lease.UnixMicro(), sub, id); err != nil {
		return err
	}
	s.log.WarnContext(ctx, "message not finished", "id", id, "state", next, "attempt", attempts, "error", cause)
	return cause
}

// mostAttempts, with a quarter of an hour between them, are two days.
const mostAttempts = 200

func backoff(attempts int64) time.Duration {
	return min(15*time.Second<<min(attempts, 10), 15*time.Minute)
}

// reasonOf is a short code for the page, with the server's words after a space.
func reasonOf(err error) string {
	var no *refusedBy
	switch {
	case errors.As(err, &no) && no.recipient != "":
		return fmt.Sprintf("recipient %s\n%d %s", no.recipient, no.code, no.answer)
	case errors.As(err, &no) && no.code == 552:
		return fmt.Sprintf("size\n%s", no.answer)
	case errors.As(err, &no):
		return fmt.Sprintf("refused\n%d %s", no.code, no.answer)
	case errors.Is(err, errNotYours):
		return "identity"
	case errors.Is(err, errNoLogin), errors.Is(err, errSignIn):
		return "signin"
	}
	return "down"
}

// sweep forgets what was sent a day ago.
func (s *service) sweepOutbox(ctx context.Context) error {
	_, err := s.db.Exec(ctx, "DELETE FROM mail_outbox WHERE state = 'done' AND created < $1", db.At(s.now().Add(-24*time.Hour)))
	return err
}
