package webmail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
)

// Conversations across mailboxes need to know which Message-IDs every message
// bears and answers; IMAP tells that of one mailbox at a time, and slowly. So the
// mailboxes are followed in the background while their owner is here: the newest
// messages first, a few hundred at a time, each time on a connection given back.
// No page waits for it: what is not followed yet is shown without a conversation.

const (
	followBatch  = 500 // UIDs asked for at once, more where they are sparse
	followWidest = 100_000
	followMost   = 30_000 // messages of one mailbox
	followBoxes  = 200
	followAgain  = 20 * time.Second // a mailbox is looked at again after this
	followLimit  = 3 * time.Minute  // one round
	followKept   = 90 * 24 * time.Hour
	idsOfOne     = 24 // Message-IDs looked at of one message
)

// following remembers who is being followed in this process.
type following struct {
	mu   sync.Mutex
	now  map[string]bool
	last map[string]time.Time
}

// begin tells whether a round may begin for a person.
func (f *following) begin(sub string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		f.now, f.last = map[string]bool{}, map[string]time.Time{}
	}
	if f.now[sub] || now.Sub(f.last[sub]) < followAgain {
		return false
	}
	if len(f.last) > 5000 {
		for other, at := range f.last {
			if now.Sub(at) >= followAgain {
				delete(f.last, other)
			}
		}
	}
	f.now[sub], f.last[sub] = true, now
	return true
}

func (f *following) end(sub string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.now, sub)
}

// follow begins a round in the background, with the session of the request.
func (s *service) follow(ctx context.Context) {
	sub := s.person(ctx).Sub
	if sub == "" || s.life.Err() != nil || !s.followed.begin(sub, s.now()) {
		return
	}
	s.work.Go(func() {
		defer s.followed.end(sub)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), followLimit)
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		if err := s.followAll(ctx); err != nil && ctx.Err() == nil {
			s.log.InfoContext(ctx, "mailboxes not followed", "error", err)
		}
	})
}

// followAll is one round: every mailbox whose messages people look for again.
func (s *service) followAll(ctx context.Context) error {
	var boxes []mailbox
	err := s.with(ctx, func(who owner) error {
		return s.pools.Do(ctx, who, "", reads, func(c *conn) (err error) {
			boxes, err = mailboxes(c)
			return err
		})
	})
	if err != nil {
		return err
	}
	boxes = slices.DeleteFunc(boxes, func(m mailbox) bool {
		return !m.openable || m.role == roleJunk || m.role == roleTrash || m.role == roleDrafts
	})
	boxes = boxes[:min(len(boxes), followBoxes)]
	if err := s.forgetOthers(ctx, boxes); err != nil {
		return err
	}
	for _, m := range boxes {
		if err := s.followBox(ctx, m.name); err != nil {
			if keepsConnection(err) || errors.Is(err, errGone) {
				continue // one mailbox that may not be opened
			}
			return fmt.Errorf("follow %q: %w", m.name, err)
		}
	}
	return nil
}

// forgetOthers removes what is known of mailboxes that are no longer there.
func (s *service) forgetOthers(ctx context.Context, boxes []mailbox) error {
	sub := s.person(ctx).Sub
	known, err := db.All(ctx, s.db, func(scan func(...any) error) (box string, err error) { return box, scan(&box) }, "SELECT box FROM mail_followed WHERE person = $1 AND box <> ''", sub)
	if err != nil {
		return err
	}
	for _, box := range known {
		if !slices.ContainsFunc(boxes, func(m mailbox) bool { return m.name == box }) {
			if err := s.forgetBox(ctx, sub, box); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *service) forgetBox(ctx context.Context, sub, box string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, table := range []string{"mail_message", "mail_followed"} {
			if _, err := s.db.Exec(ctx, "DELETE FROM "+table+" WHERE person = $1 AND box = $2", sub, box); err != nil {
				return err
			}
		}
		return nil
	})
}

// extent is how far a mailbox was read.
type extent struct{ validity, low, high int64 }

// claim takes a mailbox for this round; ok is false when another has just looked.
func (s *service) claim(ctx context.Context, sub, box string) (e extent, ok bool, err error) {
	now := s.now()
	if _, err := s.db.Exec(ctx, "INSERT INTO mail_followed (person, box, validity, low, high, checked) VALUES ($1, $2, 0, 0, 0, 0) ON CONFLICT (person, box) DO NOTHING", sub, box); err != nil {
		return e, false, err
	}
	err = s.db.QueryRow(ctx, "UPDATE mail_followed SET checked = $1 WHERE person = $2 AND box = $3 AND checked <= $4 RETURNING validity, low, high",
		now.UnixMicro(), sub, box, now.Add(-followAgain).UnixMicro()).Scan(&e.validity, &e.low, &e.high)
	if errors.Is(err, db.ErrNotFound) {
		return e, false, nil
	}
	return e, err == nil, err
}

// followBox reads what is new in one mailbox, then what is older than known.
func (s *service) followBox(ctx context.Context, box string) error {
	sub := s.person(ctx).Sub
	e, ok, err := s.claim(ctx, sub, box)
	if err != nil || !ok {
		return err
	}
	var validity, next int64
	err = s.with(ctx, func(who owner) error {
		return s.pools.Do(ctx, who, box, reads, func(c *conn) error {
			data, err := c.Status(box, &imap.StatusOptions{UIDNext: true, UIDValidity: true}).Wait()
			if err != nil {
				return gone(err)
			}
			validity, next = int64(data.UIDValidity), int64(data.UIDNext)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if next == 0 {
		return nil // a server that does not say what comes next is not followed
	}
	if e.validity != validity {
		if err := s.forgetBox(ctx, sub, box); err != nil {
			return err
		}
		if _, ok, err = s.claim(ctx, sub, box); err != nil || !ok {
			return err
		}
		e = extent{validity: validity, low: next, high: next - 1}
	}
	width := int64(followBatch)
	step := func(from, to int64, keep func(*extent)) error {
		var found []followedMessage
		err := s.with(ctx, func(who owner) (err error) {
			found, err = s.readIDs(ctx, who, box, uint32(validity), from, to)
			return err
		})
		if err != nil {
			return err
		}
		keep(&e)
		if len(found) < followBatch/4 {
			width = min(2*width, followWidest)
		} else {
			width = followBatch
		}
		return s.noteMessages(ctx, sub, box, found, e)
	}
	for e.high < next-1 {
		to := min(next-1, e.high+width)
		if err := step(e.high+1, to, func(e *extent) { e.high = to }); err != nil {
			return err
		}
	}
	for e.low > 1 {
		var n int
		if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_message WHERE person = $1 AND box = $2", sub, box).Scan(&n); err != nil {
			return err
		}
		if n >= followMost {
			return nil
		}
		from := max(1, e.low-width)
		if err := step(from, e.low-1, func(e *extent) { e.low = from }); err != nil {
			return err
		}
	}
	return nil
}

// followedMessage is what is kept of a message. ids are hashed, its own first.
type followedMessage struct {
	uid      imap.UID
	ids      []string
	received time.Time
}

var threadFields = []string{"MESSAGE-ID", "IN-REPLY-TO", "REFERENCES"}

// readIDs reads the Message-IDs of a range of UIDs.
func (s *service) readIDs(ctx context.Context, who owner, box string, validity uint32, from, to int64) (found []followedMessage, err error) {
	err = s.pools.Do(ctx, who, box, reads, func(c *conn) error {
		found = nil
		if err := c.openAt(box, validity, true); err != nil {
			return err
		}
		var uids imap.UIDSet
		uids.AddRange(imap.UID(from), imap.UID(to))
		head := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: threadFields, Peek: true}
		messages, err := c.Fetch(uids, &imap.FetchOptions{UID: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{head}}).Collect()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if int64(m.UID) < from || int64(m.UID) > to {
				continue // "5:*" of a server that turns ranges round
			}
			found = append(found, followedMessage{uid: m.UID, received: m.InternalDate, ids: hashedIDs(parseHeader(sectionOf(m, imap.PartSpecifierHeader)), box, validity, m.UID)})
		}
		return nil
	})
	return found, err
}

// hashedIDs are the Message-IDs of a message (RFC 5322 §3.6.4): its own, which is
// made of its place when it has none, what it answers, and what came before that:
// the first, which began the conversation, and the last ones.
func hashedIDs(h header, box string, validity uint32, uid imap.UID) []string {
	own := messageIDs(h.get("message-id"))
	if len(own) == 0 {
		own = []string{fmt.Sprintf("<%d.%d.%s>", validity, uid, box)}
	}
	all := append(own[:1], messageIDs(h.get("in-reply-to"))...)
	references := messageIDs(h.get("references"))
	if len(references) > idsOfOne {
		references = append(references[:1], references[len(references)-idsOfOne+1:]...)
	}
	all = append(all, references...)
	all = all[:min(len(all), idsOfOne)]
	var hashed []string
	for _, id := range all {
		sum := sha256.Sum256([]byte(id))
		if h := hex.EncodeToString(sum[:12]); !slices.Contains(hashed, h) {
			hashed = append(hashed, h)
		}
	}
	return hashed
}

// rowsAtOnce keeps a statement below what both databases take in parameters.
const rowsAtOnce = 150

// noteMessages writes a batch down, with how far the mailbox is read now: a crash
// repeats a batch and loses none.
func (s *service) noteMessages(ctx context.Context, sub, box string, found []followedMessage, e extent) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		// Whoever notes for the same person waits here: what joins conversations must see all of them.
		if _, err := s.db.Exec(ctx, "INSERT INTO mail_followed (person, box, validity, low, high, checked) VALUES ($1, '', 0, 0, 0, $2) ON CONFLICT (person, box) DO UPDATE SET checked = excluded.checked", sub, s.now().UnixMicro()); err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, "UPDATE mail_followed SET validity = $3, low = $4, high = $5 WHERE person = $1 AND box = $2", sub, box, e.validity, e.low, e.high); err != nil {
			return err
		}
		groups, err := s.grouped(ctx, sub, found)
		if err != nil {
			return err
		}
		var messages, ids [][]any
		for i, m := range found {
			messages = append(messages, []any{sub, box, int64(m.uid), m.ids[0], groups.of[i], db.At(m.received)})
		}
		for id, conversation := range groups.fresh {
			ids = append(ids, []any{sub, id, conversation})
		}
		if err := s.insertAll(ctx, "INSERT INTO mail_message (person, box, uid, own, conversation, received) VALUES ", " ON CONFLICT (person, box, uid) DO UPDATE SET own = excluded.own, conversation = excluded.conversation", messages); err != nil {
			return err
		}
		return s.insertAll(ctx, "INSERT INTO mail_message_id (person, id, conversation) VALUES ", " ON CONFLICT (person, id) DO NOTHING", ids)
	})
}

// insertAll inserts rows, as many at once as a statement takes.
func (s *service) insertAll(ctx context.Context, head, tail string, rows [][]any) error {
	for chunk := range slices.Chunk(rows, rowsAtOnce) {
		var q strings.Builder
		var args []any
		q.WriteString(head)
		for i, row := range chunk {
			if i > 0 {
				q.WriteString(", ")
			}
			q.WriteString("(")
			for j, v := range row {
				if j > 0 {
					q.WriteString(", ")
				}
				args = append(args, v)
				q.WriteString("$" + strconv.Itoa(len(args)))
			}
			q.WriteString(")")
		}
		if _, err := s.db.Exec(ctx, q.String()+tail, args...); err != nil {
			return err
		}
	}
	return nil
}

// grouping is which conversation each message of a batch belongs to, and the
// Message-IDs that are not written down yet.
type grouping struct {
	of    []string
	fresh map[string]string
}

// grouped finds the conversations of a batch: messages with an ID in common are
// one. What two conversations have in common makes one of them, for good.
func (s *service) grouped(ctx context.Context, sub string, found []followedMessage) (g grouping, err error) {
	known, err := s.conversationsOf(ctx, sub, found)
	if err != nil {
		return g, err
	}
	parent := map[string]string{} // conversation → the one that it became
	var root func(string) string
	root = func(c string) string {
		if p, ok := parent[c]; ok && p != c {
			parent[c] = root(p)
			return parent[c]
		}
		return c
	}
	g.fresh = map[string]string{}
	at := func(id string) string {
		if c, ok := known[id]; ok {
			return root(c)
		}
		if c, ok := g.fresh[id]; ok {
			return root(c)
		}
		return ""
	}
	for _, m := range found {
		mine := ""
		for _, id := range m.ids {
			if c := at(id); c != "" && (mine == "" || c < mine) {
				mine = c
			}
		}
		if mine == "" {
			mine = m.ids[0]
		}
		for _, id := range m.ids {
			if c := at(id); c != "" && c != mine {
				parent[c] = mine
			}
			if _, ok := known[id]; !ok {
				g.fresh[id] = mine
			}
		}
		g.of = append(g.of, mine)
	}
	for i := range g.of {
		g.of[i] = root(g.of[i])
	}
	for id, c := range g.fresh {
		g.fresh[id] = root(c)
	}
	was := map[string]bool{}
	for _, c := range known {
		was[c] = true
	}
	for c := range was {
		if now := root(c); now != c {
			for _, table := range []string{"mail_message", "mail_message_id"} {
				if _, err := s.db.Exec(ctx, "UPDATE "+table+" SET conversation = $1 WHERE person = $2 AND conversation = $3", now, sub, c); err != nil {
					return g, err
				}
			}
		}
	}
	return g, nil
}

// conversationsOf looks up the Message-IDs of a batch.
func (s *service) conversationsOf(ctx context.Context, sub string, found []followedMessage) (map[string]string, error) {
	seen, all := map[string]bool{}, []string(nil)
	for _, m := range found {
		for _, id := range m.ids {
			if !seen[id] {
				seen[id] = true
				all = append(all, id)
			}
		}
	}
	known := map[string]string{}
	for chunk := range slices.Chunk(all, 500) {
		args, marks := []any{sub}, make([]string, 0, len(chunk))
		for _, id := range chunk {
			args = append(args, id)
			marks = append(marks, "$"+strconv.Itoa(len(args)))
		}
		_, err := db.All(ctx, s.db, func(scan func(...any) error) (none struct{}, err error) {
			var id, conversation string
			err = scan(&id, &conversation)
			known[id] = conversation
			return none, err
		}, "SELECT id, conversation FROM mail_message_id WHERE person = $1 AND id IN ("+strings.Join(marks, ", ")+")", args...)
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}

// Sweep forgets what was followed for people who have not been here for long.
func (m *Module) Sweep(ctx context.Context) (int64, error) {
	s := m.s
	gone, err := db.All(ctx, s.db, func(scan func(...any) error) (sub string, err error) { return sub, scan(&sub) },
		"SELECT person FROM mail_followed GROUP BY person HAVING MAX(checked) < $1 LIMIT 20", s.now().Add(-followKept).UnixMicro())
	if err != nil {
		return 0, err
	}
	for _, sub := range gone {
		err := s.db.InTx(ctx, func(ctx context.Context) error {
			for _, table := range []string{"mail_message", "mail_message_id", "mail_followed"} {
				if _, err := s.db.Exec(ctx, "DELETE FROM "+table+" WHERE person = $1", sub); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	files, err := s.sweepFiles(ctx)
	return int64(len(gone)) + files, err
}
