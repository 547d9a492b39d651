package webmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// act does one thing to the messages ticked, or to the one named behind a
// colon in the button ("flag:17.4"), and goes back to where it came from.
func (s *service) act(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	box := unslug(r.PathValue("box"))
	what, one, _ := strings.Cut(web.Field(r, "do"), ":")
	keyword := web.Field(r, "label")
	if verb, word, ok := strings.Cut(what, "/"); ok { // "label/$label1", of a menu
		what, keyword = verb, word
	} else if verb, word, ok := strings.Cut(keyword, "/"); ok && what == "label" { // of a list to choose from
		what, keyword = verb, word
	}
	keys := r.PostForm["m"]
	if one != "" {
		keys = []string{one}
	}
	refs, err := refsOf(keys, func(key string) (ref, error) { return parseRef(box, key) })
	if err != nil {
		return err
	}
	back := backTo(web.Field(r, "back"), box)
	if len(refs) == 0 {
		return s.goBack(w, r, back, url.Values{"done": {"none"}})
	}
	var said url.Values
	err = s.with(ctx, func(who owner) (err error) {
		said, err = s.doTo(ctx, who, what, refs, unslug(web.Field(r, "to")), keyword)
		return err
	})
	if err != nil {
		return err
	}
	s.badges.forget(s.person(ctx).Sub)
	if said.Get("left") != "" && r.Header.Get("X-Pane") == "" {
		back = leave(back, box)
	}
	said.Del("left")
	return s.goBack(w, r, back, said)
}

// mostRefs is how many messages one action is about.
const mostRefs = 500

// refsOf reads the messages of a form.
func refsOf(words []string, parse func(string) (ref, error)) (refs []ref, err error) {
	if len(words) > mostRefs {
		return nil, web.Fail(http.StatusBadRequest, "webmail.error.action", fmt.Errorf("%d messages at once", len(words)))
	}
	for _, word := range words {
		at, err := parse(word)
		if err != nil {
			return nil, err
		}
		refs = append(refs, at)
	}
	return refs, nil
}

// doTo carries out one action and tells what the next page says about it.
func (s *service) doTo(ctx context.Context, who owner, what string, refs []ref, to, keyword string) (url.Values, error) {
	said := url.Values{}
	switch what {
	case "read":
		return said, s.setFlags(ctx, who, refs, imap.StoreFlagsAdd, imap.FlagSeen)
	case "unread":
		said.Set("left", "1") // the message would be marked read again by its own page
		return said, s.setFlags(ctx, who, refs, imap.StoreFlagsDel, imap.FlagSeen)
	case "flag":
		return said, s.setFlags(ctx, who, refs, imap.StoreFlagsAdd, imap.FlagFlagged)
	case "unflag":
		return said, s.setFlags(ctx, who, refs, imap.StoreFlagsDel, imap.FlagFlagged)
	case "label", "unlabel":
		op := imap.StoreFlagsAdd
		if what == "unlabel" {
			op = imap.StoreFlagsDel
		}
		if keyword == "" {
			said.Set("done", "nolabel")
			return said, nil
		}
		return said, s.putLabel(ctx, who, refs, op, keyword)
	case "delete":
		said.Set("left", "1")
		said.Set("done", "delete")
		said.Set("n", strconv.Itoa(len(refs)))
		return said, s.deleteInTrash(ctx, who, refs)
	case "archive":
		moved, err := s.archive(ctx, who, refs)
		return saidMoved(said, what, refs, moved), err
	case "trash", "junk", "notjunk":
		role := map[string]string{"trash": roleTrash, "junk": roleJunk, "notjunk": roleInbox}[what]
		name := "INBOX"
		if role != roleInbox {
			var err error
			if name, err = s.ensureRole(ctx, who, role); err != nil {
				return nil, err
			}
		}
		to = name
	case "move":
		if to == "" {
			said.Set("done", "nowhere")
			return said, nil
		}
	default:
		return nil, web.Fail(http.StatusBadRequest, "webmail.error.action", fmt.Errorf("unknown action %q", what))
	}
	moved, err := s.move(ctx, who, refs, to)
	if err != nil {
		return nil, err
	}
	said.Set("to", slug(to))
	return saidMoved(said, what, refs, moved), nil
}

// saidMoved tells the next page what was moved, and how to undo it where the
// server said what the messages are called now: the mailbox they came from, then
// each of them.
func saidMoved(said url.Values, what string, refs, moved []ref) url.Values {
	said.Set("left", "1")
	said.Set("done", what)
	said.Set("n", strconv.Itoa(len(refs)))
	if len(moved) == len(refs) && len(moved) <= pageSize {
		words := []string{boxPath(refs[0].box)}
		for _, m := range moved {
			words = append(words, m.path())
		}
		said.Set("undo", strings.Join(words, " "))
	}
	return said
}

// undo answers POST /mail/undo: the messages m, by their addresses, go back to
// the mailbox to.
func (s *service) undo(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	to := unslug(web.Field(r, "to"))
	refs, err := refsOf(r.PostForm["m"], parsePath)
	if err != nil {
		return err
	}
	if to == "" || len(refs) == 0 {
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("nothing to undo"))
	}
	err = s.with(ctx, func(who owner) error {
		_, err := s.move(ctx, who, refs, to)
		return err
	})
	if err != nil {
		return err
	}
	s.badges.forget(s.person(ctx).Sub)
	return s.goBack(w, r, backTo(web.Field(r, "back"), to), nil)
}

// deleteInTrash removes for good, and only what lies in the trash.
func (s *service) deleteInTrash(ctx context.Context, who owner, refs []ref) error {
	trash, err := s.ensureRole(ctx, who, roleTrash)
	if err != nil {
		return err
	}
	for _, r := range refs {
		if r.box != trash && !strings.HasPrefix(r.box, trash+"/") && !strings.HasPrefix(r.box, trash+".") {
			return web.Fail(http.StatusBadRequest, "webmail.error.nottrash", errors.New("delete outside the trash"))
		}
	}
	return s.expunge(ctx, who, refs)
}

// backTo accepts only addresses of the webmail.
func backTo(path, box string) string {
	u, err := url.Parse(path)
	if err != nil || u.Host != "" || u.Scheme != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/mail/") || strings.Contains(u.Path, "//") {
		return boxPath(box)
	}
	return path
}

// leave is the list that a message's page stands in; a list stays itself.
func leave(back, box string) string {
	u, err := url.Parse(back)
	if err != nil {
		return boxPath(box)
	}
	if _, err := parsePath(u.EscapedPath()); err != nil {
		return back
	}
	number, _ := strconv.Atoi(u.Query().Get("page"))
	return pageAddress(boxPath(box), number)
}

func (s *service) goBack(w http.ResponseWriter, r *http.Request, back string, said url.Values) error {
	if r.Header.Get("X-Pane") != "" { // the script has changed the page already
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	u, err := url.Parse(back)
	if err != nil {
		return err
	}
	q := u.Query()
	for _, key := range []string{"done", "n", "to", "undo"} {
		q.Del(key)
	}
	for key, values := range said {
		q[key] = values
	}
	u.RawQuery = q.Encode()
	return web.Redirect(w, r, u.String())
}

// noticeOf reads from the address what was just done.
func noticeOf(l i18n.Lang, q url.Values, folders []mailbox) *templates.MailNotice {
	n, _ := strconv.Atoi(q.Get("n"))
	to := ""
	for _, m := range folders {
		if slug(m.name) == q.Get("to") {
			to = roleLabel(l, m)
		}
	}
	notice := &templates.MailNotice{Kind: "ok"}
	switch q.Get("done") {
	case "trash":
		notice.Text = i18n.T(l, "webmail.done.trash", "n", n)
	case "archive":
		notice.Text = i18n.T(l, "webmail.done.archive", "n", n)
	case "junk":
		notice.Text = i18n.T(l, "webmail.done.junk", "n", n)
	case "move", "notjunk":
		notice.Text = i18n.T(l, "webmail.done.move", "n", n, "to", to)
	case "delete":
		notice.Text = i18n.T(l, "webmail.done.delete", "n", n)
	case "sent":
		notice.Text = i18n.T(l, "webmail.done.sent")
	case "sending":
		notice.Kind, notice.Text = "warn", i18n.T(l, "webmail.done.sending")
	case "discard":
		notice.Text = i18n.T(l, "webmail.done.discard")
	case "snoozed":
		notice.Text = i18n.T(l, "webmail.done.snoozed", "n", n)
	case "unsubscribed":
		notice.Text = i18n.T(l, "webmail.done.unsubscribed")
	case "stillsubscribed":
		notice.Kind, notice.Text = "warn", i18n.T(l, "webmail.done.stillsubscribed")
	case "late":
		notice.Kind, notice.Text = "warn", i18n.T(l, "webmail.done.late")
	case "none":
		notice.Kind, notice.Text = "warn", i18n.T(l, "webmail.done.none")
	case "nolabel":
		notice.Kind, notice.Text = "warn", i18n.T(l, "webmail.done.nolabel")
	case "nowhere":
		notice.Kind, notice.Text = "warn", i18n.T(l, "webmail.done.nowhere")
	default:
		return nil
	}
	if words := strings.Fields(q.Get("undo")); len(words) > 1 && len(words) <= pageSize+1 {
		if box, err := url.PathUnescape(strings.Trim(strings.TrimPrefix(words[0], "/mail/"), "/")); err == nil {
			notice.Undo = &templates.MailUndo{To: box, Paths: words[1:]}
		}
	}
	return notice
}

// outboxAction is for what lies in the outbox: give up a message that failed,
// or try now one that waits.
func (s *service) outboxAction(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sub, id := s.person(ctx).Sub, web.Field(r, "id")
	said := url.Values{}
	switch web.Field(r, "do") {
	case "undo":
		ok, err := s.takeBack(ctx, sub, id)
		if err != nil {
			return err
		}
		if ok {
			return web.Redirect(w, r, "/mail/compose?outbox="+url.QueryEscape(id))
		}
		said.Set("done", "late")
	case "now": // a message for later
		if _, err := s.db.Exec(ctx, "UPDATE mail_outbox SET lease = 0, due = $3 WHERE person = $1 AND id = $2 AND state = 'queued' AND attempts = 0", sub, id, s.now().UnixMicro()); err != nil {
			return err
		}
		select {
		case <-s.resume(ctx, sub, id, 0):
		case <-time.After(waitFor):
		}
	case "discard":
		if err := s.forget(ctx, sub, id); err != nil {
			return err
		}
		said.Set("done", "discard")
	case "retry":
		if _, err := s.db.Exec(ctx, "UPDATE mail_outbox SET lease = 0 WHERE person = $1 AND id = $2 AND state IN ('queued', 'sent') AND lease < $3",
			sub, id, s.now().UnixMicro()); err != nil {
			return err
		}
	}
	return s.goBack(w, r, "/mail/", said)
}

// showOutbox answers GET /mail/outbox: what is not finished, as the part of a page.
func (s *service) showOutbox(w http.ResponseWriter, r *http.Request) error {
	view := &templates.WebmailOutbox{}
	var err error
	if view.Outbox, err = s.waiting(r.Context()); err != nil {
		return err
	}
	return web.Render(w, r, http.StatusOK, view)
}
