package webmail

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// turnsShown is how many messages of a conversation are listed, the newest ones.
const turnsShown = 60

// countConversations tells each row how many messages its conversation has. It
// is a comfort: without an answer the list says nothing of it.
func (s *service) countConversations(ctx context.Context, view *templates.WebmailBox, p *page) {
	var uids []imap.UID
	for _, r := range p.rows {
		uids = append(uids, r.uid)
	}
	counts, err := s.sizes(ctx, p.box, uids)
	if err != nil {
		s.log.WarnContext(ctx, "conversations not counted", "error", err)
		return
	}
	for i, r := range p.rows {
		if i < len(view.Rows) {
			view.Rows[i].Together = counts[r.uid]
		}
	}
}

// together is how many messages the conversation of one has, 0 when it is alone
// or not known yet.
func (s *service) together(ctx context.Context, at ref) int {
	counts, err := s.sizes(ctx, at.box, []imap.UID{at.uid})
	if err != nil {
		s.log.WarnContext(ctx, "conversation not counted", "error", err)
	}
	return counts[at.uid]
}

// sizes is how many messages the conversations of some of a mailbox have, those
// that are alone left out. It asks for a range of UIDs, as a page is one: a list
// of fifty would be compared with every message of the person wherever a planner
// takes those for few. Each conversation is counted once.
func (s *service) sizes(ctx context.Context, box string, uids []imap.UID) (map[imap.UID]int, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	args := []any{s.person(ctx).Sub, box, int64(slices.Min(uids)), int64(slices.Max(uids))}
	const page = "FROM mail_message WHERE person = $1 AND box = $2 AND uid BETWEEN $3 AND $4"
	size := map[string]int{}
	_, err := db.All(ctx, s.db, func(scan func(...any) error) (none struct{}, err error) {
		var conversation string
		var n int
		err = scan(&conversation, &n)
		size[conversation] = n
		return none, err
	}, "SELECT o.conversation, COUNT(DISTINCT o.own) FROM (SELECT DISTINCT conversation "+page+") AS c JOIN mail_message o ON o.person = $1 AND o.conversation = c.conversation GROUP BY o.conversation", args...)
	if err != nil || len(size) == 0 {
		return nil, err
	}
	counts := map[imap.UID]int{}
	_, err = db.All(ctx, s.db, func(scan func(...any) error) (none struct{}, err error) {
		var uid int64
		var conversation string
		err = scan(&uid, &conversation)
		if n := size[conversation]; n > 1 {
			counts[imap.UID(uid)] = n
		}
		return none, err
	}, "SELECT uid, conversation "+page, args...)
	return counts, err
}

// turn is a message of a conversation as the database names it.
type turn struct {
	ref
	own string
}

// turnsOf lists the messages of the conversation of one, each once: where it was
// asked from before elsewhere.
func (s *service) turnsOf(ctx context.Context, at ref) (turns []turn, err error) {
	all, err := db.All(ctx, s.db, func(scan func(...any) error) (t turn, err error) {
		var uid, validity int64
		err = scan(&t.box, &uid, &t.own, &validity)
		t.uid, t.validity = imap.UID(uid), uint32(validity)
		return t, err
	}, `SELECT o.box, o.uid, o.own, f.validity FROM mail_message m JOIN mail_message o ON o.person = m.person AND o.conversation = m.conversation
		JOIN mail_followed f ON f.person = o.person AND f.box = o.box
		WHERE m.person = $1 AND m.box = $2 AND m.uid = $3 ORDER BY o.received DESC, o.box, o.uid DESC LIMIT 500`, s.person(ctx).Sub, at.box, int64(at.uid))
	if err != nil {
		return nil, fmt.Errorf("conversation of %s: %w", at.path(), err)
	}
	place := map[string]int{}
	for _, t := range all {
		if i, ok := place[t.own]; !ok {
			place[t.own] = len(turns)
			turns = append(turns, t)
		} else if t.box == at.box && (turns[i].box != at.box || t.uid == at.uid) {
			turns[i] = t
		}
	}
	return turns, nil
}

// showConversation answers GET /mail/{box}/{ref}/conversation: its messages over
// all mailboxes, oldest first. Those that are gone are forgotten.
func (s *service) showConversation(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	turns, err := s.turnsOf(ctx, at)
	if err != nil {
		return err
	}
	view := &templates.WebmailConversation{Part: r.Header.Get("HX-Request") == "true", Back: at.path()}
	if len(turns) > turnsShown {
		view.More, turns = len(turns)-turnsShown, turns[:turnsShown]
	}
	var folders []mailbox
	rows := map[ref]row{}
	err = s.with(ctx, func(who owner) error {
		if err := s.pools.Do(ctx, who, "", reads, func(c *conn) (err error) {
			folders, err = mailboxes(c)
			return err
		}); err != nil {
			return err
		}
		found, err := s.readTurns(ctx, who, turns)
		rows = found
		return err
	})
	if err != nil {
		return err
	}
	l := web.Lang(ctx)
	for _, t := range slices.Backward(turns) {
		one, ok := rows[t.ref]
		if !ok {
			continue
		}
		v := templates.MailTurn{Href: t.path(), Who: names(one.from), Preview: one.preview, Date: one.date.In(s.location), Unread: !one.has(imap.FlagSeen), Current: t.ref == at}
		if one.unreadable || one.subject == unreadableSubject {
			v.Preview = i18n.T(l, "webmail.row.unreadable")
		}
		for _, m := range folders {
			if m.name != t.box {
				continue
			}
			v.Mine = m.role == roleSent
			if t.box != at.box {
				v.Box, v.Icon = roleLabel(l, m), roleIcons[m.role]
			}
		}
		view.Messages = append(view.Messages, v)
	}
	slices.SortStableFunc(view.Messages, func(a, b templates.MailTurn) int { return a.Date.Compare(b.Date) })
	if view.Part {
		return web.Render(w, r, http.StatusOK, view)
	}
	if view.Folders, err = s.sidebar(ctx, folders, at.box); err != nil {
		return err
	}
	view.Layout = s.layout(ctx, i18n.T(l, "webmail.conversation"), folders)
	return web.Render(w, r, http.StatusOK, view)
}

// readTurns reads the rows of messages in several mailboxes: what is remembered
// costs the flags only. A mailbox that cannot be read is left out.
func (s *service) readTurns(ctx context.Context, who owner, turns []turn) (map[ref]row, error) {
	rows := map[ref]row{}
	var refs []ref
	for _, t := range turns {
		refs = append(refs, t.ref)
	}
	for place, uids := range byMailbox(refs) {
		p := &page{box: place.box, validity: place.validity}
		err := s.pools.Do(ctx, who, place.box, reads, func(c *conn) error {
			p.rows = nil
			if err := c.openAt(place.box, place.validity, true); err != nil {
				return err
			}
			found, err := c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, Flags: true, InternalDate: true}).Collect()
			if err != nil {
				return err
			}
			for _, m := range found {
				p.rows = append(p.rows, row{uid: m.UID, flags: m.Flags, received: m.InternalDate})
			}
			return s.fillFrom(c, who, p)
		})
		if err != nil {
			if !keepsConnection(err) {
				return rows, err
			}
			continue
		}
		gone := slices.Clone(uids)
		for _, r := range p.rows {
			rows[ref{place.box, place.validity, r.uid}] = r
			gone = slices.DeleteFunc(gone, func(u imap.UID) bool { return u == r.uid })
		}
		if err := s.unfollow(ctx, who.sub, place.box, gone); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// unfollow forgets messages that are no longer where they were.
func (s *service) unfollow(ctx context.Context, sub, box string, uids []imap.UID) error {
	for chunk := range slices.Chunk(uids, 200) {
		args, marks := []any{sub, box}, make([]string, 0, len(chunk))
		for _, uid := range chunk {
			args = append(args, int64(uid))
			marks = append(marks, "$"+strconv.Itoa(len(args)))
		}
		if _, err := s.db.Exec(ctx, "DELETE FROM mail_message WHERE person = $1 AND box = $2 AND uid IN ("+strings.Join(marks, ", ")+")", args...); err != nil {
			return err
		}
	}
	return nil
}
