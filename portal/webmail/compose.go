package webmail

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"html"
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

const (
	maxUpload = 20 << 20 // bytes of all attachments of a message
	maxText   = 1 << 20  // bytes of what is written
)

// compose is the page to write on: empty, answering, forwarding, or going on
// with a draft or with a message that could not be sent.
func (s *service) compose(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q := r.URL.Query()
	page := &templates.WebmailCompose{ID: newCompositionID(), Back: "/mail/", Focus: "to", Plain: s.plainly(ctx), As: cleanLine(q.Get("as"))}
	var folders []mailbox
	err := s.with(ctx, func(who owner) error {
		var err error
		switch {
		case q.Has("reply"):
			if err = s.composeReply(ctx, who, page, q.Get("reply"), q.Get("all") != ""); err == nil {
				err = s.sign(ctx, page, true)
			}
		case q.Has("forward"):
			if err = s.composeForward(ctx, who, page, q.Get("forward")); err == nil {
				err = s.sign(ctx, page, true)
			}
		case q.Has("draft"):
			err = s.composeDraft(ctx, who, page, q.Get("draft"))
		case q.Has("outbox"):
			err = s.composeKept(ctx, page, q.Get("outbox"))
		default:
			composeNew(page, q)
			if q.Has("template") {
				err = s.useTemplate(ctx, page, q.Get("template"))
			}
			if err == nil {
				err = s.sign(ctx, page, false)
			}
		}
		if err != nil {
			return err
		}
		return s.pools.Do(ctx, who, "", reads, func(c *conn) error {
			folders, err = mailboxes(c)
			return err
		})
	})
	if err != nil {
		return err
	}
	if q.Has("rich") {
		page.Plain = false
	}
	if q.Get("saved") != "" {
		page.Saved, page.SavedAt = "draft", s.now().In(s.location)
	}
	return s.showCompose(w, r, http.StatusOK, page, folders)
}

func newCompositionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func validCompositionID(id string) bool {
	if len(id) != 26 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !(c >= 'a' && c <= 'z' || c >= '2' && c <= '7') {
			return false
		}
	}
	return true
}

func (s *service) showCompose(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailCompose, folders []mailbox) error {
	ctx := r.Context()
	l := web.Lang(ctx)
	title := i18n.T(l, "webmail.compose.title")
	if page.Subject != "" {
		title = page.Subject
	}
	page.Layout = s.layout(ctx, title, folders)
	var err error
	if page.Folders, err = s.sidebar(ctx, folders, ""); err != nil {
		return err
	}
	all, err := s.identities(ctx)
	if err != nil {
		return err
	}
	page.Senders = senderViews(all, page.As)
	page.From = s.signed(ctx, page.As)
	if page.Inserts, err = s.keptTexts(ctx); err != nil {
		return err
	}
	page.Moments, page.Reminders = s.moments(l), reminderDays
	if s.large != nil {
		page.Threshold, page.UploadMost, page.LinkChoices = s.config.Files.Threshold, maxUpload, s.linkChoices()
		page.LinkDays = cmp.Or(page.LinkDays, strconv.Itoa(s.config.Files.Days))
	}
	page.JS = append(append([]string{"dist/editor.js"}, page.JS...), "compose.js")
	if page.HTML == "" {
		page.HTML = richText(page.Text)
	}
	page.MaxUpload = fileSize(l, maxUpload*1000*1000/(1<<20))
	page.More = page.More || page.Cc != "" || page.Bcc != ""
	return web.Render(w, r, status, page)
}

// composeNew fills in what a link said: to=…, or a whole mailto: address.
func composeNew(page *templates.WebmailCompose, q url.Values) {
	page.To, page.Cc, page.Subject, page.Text = cleanLine(q.Get("to")), cleanLine(q.Get("cc")), cleanLine(q.Get("subject")), ""
	if page.To != "" {
		page.Focus = "subject"
	}
	address := q.Get("mailto")
	if address == "" || len(address) > 8000 {
		return
	}
	u, err := url.Parse(address)
	if err != nil || !strings.EqualFold(u.Scheme, "mailto") {
		return
	}
	to, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return
	}
	more := u.Query()
	page.To, page.Cc = cleanLine(strings.Join(append([]string{to}, more["to"]...), ", ")), cleanLine(more.Get("cc"))
	page.Subject, page.Text, page.Focus = cleanLine(more.Get("subject")), cleanText(more.Get("body")), "text"
}

// cleanText is text of many lines without control characters.
func cleanText(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"), "\r", "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

func (s *service) composeReply(ctx context.Context, who owner, page *templates.WebmailCompose, path string, all bool) error {
	m, err := s.openPath(ctx, who, path)
	if err != nil {
		return err
	}
	l := web.Lang(ctx)
	identities, err := s.identities(ctx)
	if err != nil {
		return err
	}
	own := map[string]bool{}
	for _, one := range identities {
		own[fold(one.from.mail)] = !one.sender
	}
	page.As = identityFor(identities, m.header)
	to := parseAddresses(m.header.get("reply-to"), 20)
	if len(to) == 0 {
		to = parseAddresses(m.header.get("from"), 20)
	}
	if len(to) > 0 && own[fold(to[0].mail)] { // one's own message: go on with those it went to
		to = parseAddresses(m.header.get("to"), 200)
		page.As = identityWith(identities, m.header.get("from"))
	}
	var cc []address
	if all {
		seen := own
		for _, a := range to {
			seen[fold(a.mail)] = true
		}
		for _, a := range append(parseAddresses(m.header.get("to"), 200), parseAddresses(m.header.get("cc"), 200)...) {
			if a.mail != "" && !seen[fold(a.mail)] {
				seen[fold(a.mail)] = true
				cc = append(cc, a)
			}
		}
	}
	text, err := s.quotable(ctx, who, m)
	if err != nil {
		return err
	}
	page.To, page.Cc, page.Subject = typedList(to), typedList(cc), prefixed("Re: ", m.header.text("subject"))
	page.Kind, page.Source, page.Back, page.Focus = "reply", m.path(), m.path(), "text"
	intro := i18n.T(l, "webmail.quote.intro", "date", i18n.Date(l, m.header.date(m.received).In(s.location), "datetime"), "name", names(parseAddresses(m.header.get("from"), 1)))
	page.Text = "\n\n" + intro + "\n" + quote(text)
	if !page.Plain {
		rich, err := s.editableBody(ctx, who, m)
		if err != nil {
			return err
		}
		page.HTML = "<div><br></div>" + "<div>" + html.EscapeString(intro) + "</div><blockquote>" + rich + "</blockquote>"
	}
	s.thread(page, m)
	return nil
}

// thread carries the names of the messages answered (RFC 5322 §3.6.4).
func (s *service) thread(page *templates.WebmailCompose, m *message) {
	ids := messageIDs(m.header.get("message-id"))
	if len(ids) == 0 {
		return
	}
	before := messageIDs(m.header.get("references"))
	if len(before) == 0 {
		before = messageIDs(m.header.get("in-reply-to"))
	}
	page.InReplyTo = ids[0]
	page.References = strings.Join(append(before, ids[0]), " ")
}

func (s *service) composeForward(ctx context.Context, who owner, page *templates.WebmailCompose, path string) error {
	m, err := s.openPath(ctx, who, path)
	if err != nil {
		return err
	}
	l := web.Lang(ctx)
	text, err := s.quotable(ctx, who, m)
	if err != nil {
		return err
	}
	page.Subject = prefixed("Fwd: ", m.header.text("subject"))
	page.Kind, page.Source, page.Back = "forward", m.path(), m.path()
	lines := []string{"", "", i18n.T(l, "webmail.forward.intro")}
	for _, f := range []struct{ key, value string }{
		{"webmail.head.from", typedList(parseAddresses(m.header.get("from"), 5))},
		{"webmail.head.date", i18n.Date(l, m.header.date(m.received).In(s.location), "datetime")},
		{"webmail.head.subject", m.header.text("subject")},
		{"webmail.head.to", typedList(parseAddresses(m.header.get("to"), 50))},
		{"webmail.head.cc", typedList(parseAddresses(m.header.get("cc"), 50))}} {
		if f.value != "" {
			lines = append(lines, i18n.T(l, f.key)+i18n.T(l, "webmail.colon")+" "+f.value)
		}
	}
	page.Text = strings.Join(lines, "\n") + "\n\n" + text
	if !page.Plain {
		rich, err := s.editableBody(ctx, who, m)
		if err != nil {
			return err
		}
		page.HTML = richText(strings.Join(lines, "\n")) + "<div><br></div>" + rich
	}
	page.Kept = keptOf(l, m)
	return nil
}

// composeDraft goes on with a draft, one of ours or of another program.
func (s *service) composeDraft(ctx context.Context, who owner, page *templates.WebmailCompose, path string) error {
	m, err := s.openPath(ctx, who, path)
	if err != nil {
		return err
	}
	if err := s.fillWritten(ctx, who, page, m); err != nil {
		return err
	}
	page.Draft, page.Kept, page.Focus = m.path(), keptOf(web.Lang(ctx), m), "text"
	return nil
}

// composeKept goes on with a message of the outbox that could not be sent.
func (s *service) composeKept(ctx context.Context, page *templates.WebmailCompose, id string) error {
	e, raw, err := s.kept(ctx, s.person(ctx).Sub, id)
	if err != nil {
		return err
	}
	m := &message{}
	m.header, m.root = parseMessage(raw)
	m.body = pickBody(m.root)
	if err := s.fillWritten(ctx, owner{}, page, m); err != nil {
		return err
	}
	page.ID, page.Draft, page.Kind, page.Source, page.Bcc, page.Focus = id, e.Draft, e.Kind, e.Source, e.Bcc, "text"
	page.As, page.Remind = e.As, e.Remind
	page.Kept = keptBy(web.Lang(ctx), "outbox/"+id, m)
	return nil
}

// fillWritten fills the page from a message that was being written.
func (s *service) fillWritten(ctx context.Context, who owner, page *templates.WebmailCompose, m *message) error {
	text, err := s.plainText(ctx, who, m)
	if err != nil {
		return err
	}
	page.To, page.Cc, page.Bcc = typedOr(m.header, "to"), typedOr(m.header, "cc"), typedOr(m.header, "bcc")
	page.Subject, page.Text = m.header.text("subject"), text
	page.Plain = m.body.html == nil
	if !page.Plain {
		if page.HTML, err = s.editableBody(ctx, who, m); err != nil {
			return err
		}
	}
	page.Receipt, page.As = m.header.get("disposition-notification-to") != "", m.header.text("x-beffroi-identity")
	page.Remind = daysOf(m.header.get("x-beffroi-reminder"))
	page.InReplyTo = strings.Join(messageIDs(m.header.get("in-reply-to")), " ")
	page.References = strings.Join(messageIDs(m.header.get("references")), " ")
	if kind, source, ok := strings.Cut(m.header.text("x-beffroi-source"), " "); ok {
		if _, err := parsePath(source); err == nil && (kind == "reply" || kind == "forward") {
			page.Kind, page.Source = kind, source
		}
	}
	if s.large != nil {
		links, err := s.linked(ctx, strings.Fields(m.header.get("x-beffroi-links")))
		if err != nil {
			return err
		}
		page.Links = s.linkViews(ctx, links)
	}
	if id := m.header.get("x-beffroi-composition"); validCompositionID(id) {
		state, _, err := s.state(ctx, s.person(ctx).Sub, id)
		if err != nil {
			return err
		}
		if state == "" || state == stateFailed { // else it was sent: what is written now is another message
			page.ID = id
		}
	}
	return nil
}

// typedOr is a recipients' field as a person edits it; a draft may hold what is
// not an address yet.
func typedOr(h header, key string) string {
	list := parseAddresses(h.get(key), maxRecipients)
	for _, a := range list {
		if a.mail == "" {
			return h.text(key)
		}
	}
	return typedList(list)
}

func (s *service) openPath(ctx context.Context, who owner, path string) (*message, error) {
	at, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	return s.openMessage(ctx, who, at)
}

// plainText is what a message says, as text.
func (s *service) plainText(ctx context.Context, who owner, m *message) (string, error) {
	if m.body.plain != nil {
		text, _, err := s.textContent(ctx, who, m, m.body.plain, maxText/2)
		return strings.Join(textLines(text, flowed(m.body.plain)), "\n"), err
	}
	if m.body.html != nil {
		made, err := s.richBody(ctx, who, m, false, false)
		return textOf(made.Body), err
	}
	return "", nil
}

func (s *service) quotable(ctx context.Context, who owner, m *message) (string, error) {
	text, err := s.plainText(ctx, who, m)
	if err != nil {
		return "", err
	}
	text = cleanText(text)
	if i := strings.Index(text, "\n-- \n"); i > 0 { // not the signature
		text = text[:i]
	}
	if len(text) > maxText/4 {
		text = strings.ToValidUTF8(text[:maxText/4], "") + "\n[…]"
	}
	return text, nil
}

func quote(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ">") || line == "" {
			lines[i] = ">" + line
		} else {
			lines[i] = "> " + line
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// prefixed puts "Re: " or "Fwd: " before a subject that has no such mark yet.
func prefixed(prefix, subject string) string {
	lower := strings.ToLower(subject)
	marks := []string{"re:", "ré:", "re :", "ré :", "aw:"}
	if prefix != "Re: " {
		marks = []string{"fwd:", "fw:", "tr:", "tr :"}
	}
	for _, m := range marks {
		if strings.HasPrefix(lower, m) {
			return subject
		}
	}
	return prefix + subject
}

func keptOf(l i18n.Lang, m *message) []templates.MailKept { return keptBy(l, m.path(), m) }

// keptBy names the attachments of a message by "where#section".
func keptBy(l i18n.Lang, where string, m *message) []templates.MailKept {
	var list []templates.MailKept
	for _, p := range m.body.attachments {
		list = append(list, templates.MailKept{Value: where + "#" + p.section() + "#" + attachmentName(p, l), Name: attachmentName(p, l), Size: fileSize(l, p.decodedSize())})
	}
	return list
}

// saveDraft writes the composition to Drafts, then removes the version before
// it: at no moment is there none.
func (s *service) saveDraft(ctx context.Context, who owner, o *outgoing, before string) (ref, error) {
	drafts, err := s.ensureRole(ctx, who, roleDrafts)
	if err != nil {
		return ref{}, err
	}
	at, err := s.append(ctx, who, drafts, o.bytes(s.now().In(s.location), true), []imap.Flag{imap.FlagDraft, imap.FlagSeen})
	if err != nil {
		return ref{}, err
	}
	if at.uid == 0 {
		if at, err = s.newest(ctx, who, drafts, o.messageID()); err != nil {
			return ref{}, err
		}
	}
	if old, err := parsePath(before); err == nil && old.box == drafts && old != at {
		if err := s.expunge(ctx, who, []ref{old}); err != nil {
			s.log.InfoContext(ctx, "an older version of a draft could not be removed", "error", err)
		}
	}
	return at, nil
}

// newest finds a message just appended on a server without UIDPLUS.
func (s *service) newest(ctx context.Context, who owner, box, messageID string) (at ref, err error) {
	err = s.pools.Do(ctx, who, box, reads, func(c *conn) error {
		if _, err := c.open(box, true); err != nil {
			return err
		}
		found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}}}, nil).Wait()
		if err != nil {
			return err
		}
		uids := found.AllUIDs()
		if len(uids) == 0 {
			return fmt.Errorf("%w: message just appended", errGone)
		}
		at = ref{box, c.validity, uids[len(uids)-1]}
		return nil
	})
	return at, err
}

// waitFor is how long the send button waits for the end of the story before
// the page says that it is on its way.
const waitFor = 12 * time.Second
