package webmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

func (s *service) inbox(w http.ResponseWriter, r *http.Request) error {
	return s.showBox(w, r, "INBOX", nil)
}

func (s *service) list(w http.ResponseWriter, r *http.Request) error {
	return s.showBox(w, r, unslug(r.PathValue("box")), nil)
}

// read opens one message beside its list and marks it read.
func (s *service) read(w http.ResponseWriter, r *http.Request) error {
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	return s.showBox(w, r, at.box, &at)
}

// showBox is the page of a mailbox, with a message when at is given.
func (s *service) showBox(w http.ResponseWriter, r *http.Request, box string, at *ref) error {
	ctx := r.Context()
	l := web.Lang(ctx)
	number, _ := strconv.Atoi(r.URL.Query().Get("page"))
	var p *page
	var shown *templates.MailMessage
	var flags []imap.Flag
	pane := r.Header.Get("X-Pane") == "reading" && at != nil
	err := s.with(ctx, func(who owner) error {
		if at == nil {
			if err := errors.Join(s.wakeMine(ctx, who), s.remindMine(ctx, who)); err != nil {
				return err
			}
		}
		if at != nil {
			m, err := s.openMessage(ctx, who, *at)
			if err != nil {
				return err
			}
			flags = m.flags
			if ahead := r.Header.Get("X-Preload") != ""; !m.has(imap.FlagSeen) && !ahead { // read ahead is not read
				// A mailbox shared for reading refuses the flag: the message is shown all the same.
				if err := s.setFlags(ctx, who, []ref{*at}, imap.StoreFlagsAdd, imap.FlagSeen); err != nil && !keepsConnection(err) {
					return err
				}
			}
			if shown, err = s.messageView(ctx, who, m, r.URL.Query().Get("view"), r.URL.Query().Has("pictures")); err != nil {
				return err
			}
		}
		var err error
		p, err = s.readPage(ctx, who, box, number)
		return err
	})
	if err != nil {
		return err
	}
	all, err := s.labels(ctx)
	if err != nil {
		return err
	}
	view := &templates.WebmailBox{Message: shown}
	view.Folders, view.Box = s.folders(l, p.folders, box)
	if view.Folders, err = s.withMarks(ctx, view.Folders, all); err != nil {
		return err
	}
	view.Box.Page, view.Box.Labels = p.number, labelViews(all)
	if at := slices.IndexFunc(p.folders, func(m mailbox) bool { return m.name == box }); p.shares && at >= 0 && !p.folders[at].shared {
		view.Box.Share = boxPath(box) + "share"
	}
	if !slices.Contains([]string{roleDrafts, roleTrash, roleJunk}, view.Box.Role) {
		view.Box.Snooze, view.Box.Moments = boxPath(box)+"snooze", s.moments(l)
	}
	s.fillRows(l, view, p, at, all)
	if view.Box.Role == roleSnoozed {
		until, err := s.snoozedUntil(ctx, box)
		if err != nil {
			return err
		}
		for i, row := range view.Rows {
			view.Rows[i].Until = until[row.Key]
		}
	}
	s.countConversations(ctx, view, p)
	s.follow(ctx)
	if shown != nil {
		s.place(shown, view, p, at)
		shown.Labels = labelsOn(all, flags)
		if i := shown.Invitation; i != nil {
			i.Said, i.Kept = r.URL.Query().Get("answered"), r.URL.Query().Get("agenda")
		}
		shown.Snoozing = r.URL.Query().Has("snooze") && view.Box.Snooze != ""
		shown.Together = s.together(ctx, *at)
		s.allowFrame(w)
	}
	if pane {
		return web.Render(w, r, http.StatusOK, &templates.WebmailReading{Layout: templates.Layout{Title: shown.Subject}, Box: view.Box, Message: shown})
	}
	view.Layout = s.layout(ctx, view.Box.Label, p.folders)
	if shown != nil && shown.Subject != "" {
		view.Title = shown.Subject
	}
	s.badges.set(s.person(ctx).Sub, unreadIn(p.folders))
	view.Notice = noticeOf(l, r.URL.Query(), p.folders)
	if view.Outbox, err = s.waiting(ctx); err != nil {
		return err
	}
	return web.Render(w, r, http.StatusOK, view)
}

// layout is what every mail page shares.
func (s *service) layout(ctx context.Context, title string, folders []mailbox) templates.Layout {
	return templates.Layout{Title: title, Wide: true, Module: "mail", Unread: int(unreadIn(folders)),
		CSS: []string{"webmail.css"}, JS: []string{"webmail.js"}}
}

func unreadIn(folders []mailbox) uint32 {
	if inbox := withRole(folders, roleInbox); inbox != nil {
		return inbox.unseen
	}
	return 0
}

// allowFrame lets the page frame documents of its own origin. The document
// itself is in a sandbox (document.go).
func (s *service) allowFrame(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", strings.Replace(h.Get("Content-Security-Policy"), "frame-src 'none'", "frame-src 'self'", 1))
}

var roleIcons = map[string]string{roleInbox: "inbox", roleDrafts: "draft", roleSent: "send", roleArchive: "archive", roleJunk: "junk", roleTrash: "trash", roleSnoozed: "bell", "": "folder"}

// roleLabel is what a folder is called in the reader's language.
func roleLabel(l i18n.Lang, m mailbox) string {
	switch m.role {
	case roleInbox:
		return i18n.T(l, "webmail.box.inbox")
	case roleDrafts:
		return i18n.T(l, "webmail.box.drafts")
	case roleSent:
		return i18n.T(l, "webmail.box.sent")
	case roleArchive:
		return i18n.T(l, "webmail.box.archive")
	case roleJunk:
		return i18n.T(l, "webmail.box.junk")
	case roleTrash:
		return i18n.T(l, "webmail.box.trash")
	case roleSnoozed:
		return i18n.T(l, "webmail.box.snoozed")
	}
	return cleanLine(m.label)
}

// sidebar is the list of folders and labels beside a page that is no mailbox.
func (s *service) sidebar(ctx context.Context, folders []mailbox, current string) ([]templates.MailFolder, error) {
	all, err := s.labels(ctx)
	if err != nil {
		return nil, err
	}
	list, _ := s.folders(web.Lang(ctx), folders, current)
	return s.withMarks(ctx, list, all)
}

// withMarks adds to the folders what is no folder: messages for later, and labels.
func (s *service) withMarks(ctx context.Context, list []templates.MailFolder, all []label) ([]templates.MailFolder, error) {
	n, err := s.countScheduled(ctx, s.person(ctx).Sub)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		at := slices.IndexFunc(list, func(f templates.MailFolder) bool { return f.Icon == roleIcons[roleSent] }) + 1
		list = slices.Insert(list, at, templates.MailFolder{Label: i18n.T(web.Lang(ctx), "webmail.scheduled.title"), Href: "/mail/scheduled", Icon: "clock", Unread: n})
	}
	return append(list, labelFolders(all)...), nil
}

// labelFolders are the labels as lines below the folders.
func labelFolders(all []label) (list []templates.MailFolder) {
	for i, one := range all {
		list = append(list, templates.MailFolder{Label: one.Name, Href: one.view().Href, Icon: "flag", Colour: one.Colour, Own: i == 0})
	}
	return list
}

func (s *service) folders(l i18n.Lang, all []mailbox, current string) ([]templates.MailFolder, templates.MailBox) {
	box := templates.MailBox{Label: cleanLine(current), Href: boxPath(current), Do: boxPath(current) + "do"}
	var list []templates.MailFolder
	own := false
	if archive := withRole(all, roleArchive); archive != nil {
		box.Archived = archive.holds(current)
	}
	others := false
	for _, m := range all {
		if m.shared && m.root {
			continue // a name that only holds what others share
		}
		f := templates.MailFolder{Label: roleLabel(l, m), Icon: roleIcons[m.role], Depth: min(m.depth, 4), Current: m.name == current}
		if m.openable {
			f.Href = boxPath(m.name)
		}
		if m.role != roleTrash && m.role != roleSent {
			f.Unread = int(m.unseen)
		}
		if m.role == roleDrafts {
			f.Unread = int(m.messages)
		}
		if m.role == "" && m.depth == 0 && !own && !m.shared {
			f.Own, own = true, true
		}
		if m.shared {
			f.Depth--
			if !others {
				f.Heading, others = i18n.T(l, "webmail.box.shared"), true
			}
			if f.Depth == 0 && !m.openable {
				f.Icon = "user"
			}
		}
		if f.Current {
			box.Label, box.Role = f.Label, m.role
			box.ToName = m.role == roleSent || m.role == roleDrafts
		}
		list = append(list, f)
		if m.openable && m.name != current && m.role != roleDrafts {
			move := f
			move.Href = slug(m.name)
			box.Moves = append(box.Moves, move)
		}
	}
	return list, box
}

func (s *service) fillRows(l i18n.Lang, view *templates.WebmailBox, p *page, at *ref, all []label) {
	view.Total = p.total
	if len(p.rows) > 0 {
		view.From = (p.number-1)*pageSize + 1
		view.To = view.From + len(p.rows) - 1
	}
	if p.number > 1 {
		view.Newer = pageAddress(view.Box.Href, p.number-1)
	}
	if p.number < p.pages() {
		view.Older = pageAddress(view.Box.Href, p.number+1)
	}
	for _, r := range p.rows {
		name := ref{p.box, p.validity, r.uid}
		row := templates.MailRow{Key: name.key(), Href: pageAddress(name.path(), p.number), Subject: r.subject, Preview: r.preview,
			Date: r.date.In(s.location), Unread: !r.has(imap.FlagSeen), Flagged: r.has(imap.FlagFlagged), Answered: r.has(imap.FlagAnswered),
			Forwarded: r.has(imap.FlagForwarded), Draft: r.has(imap.FlagDraft) || view.Box.Role == roleDrafts, Attachment: r.attachment || r.has("$HasAttachment"), Unreadable: r.unreadable,
			Current: at != nil && at.uid == r.uid, Labels: labelsOn(all, r.flags), NoAnswer: r.has(noAnswer)}
		if r.has("$HasNoAttachment") {
			row.Attachment = false
		}
		if r.unreadable {
			row.Subject, row.Preview = i18n.T(l, "webmail.row.unreadable"), ""
		}
		row.Who = names(r.from)
		if view.Box.ToName || row.NoAnswer {
			row.Who = names(r.to)
		}
		if row.Draft && view.Box.Role == roleDrafts {
			row.Href = "/mail/compose?draft=" + url.QueryEscape(name.path())
		}
		view.Rows = append(view.Rows, row)
	}
}

func names(list []address) string {
	words := make([]string, 0, len(list))
	for _, a := range list {
		words = append(words, a.shown())
	}
	return strings.Join(words, ", ")
}

func pageAddress(path string, number int) string {
	if number <= 1 {
		return path
	}
	return path + "?page=" + strconv.Itoa(number)
}

// place tells a message its neighbours in the list.
func (s *service) place(m *templates.MailMessage, view *templates.WebmailBox, p *page, at *ref) {
	for i, row := range p.rows {
		if row.uid != at.uid {
			continue
		}
		if i > 0 {
			m.Newer = view.Rows[i-1].Href
		}
		if i+1 < len(p.rows) {
			m.Older = view.Rows[i+1].Href
		}
	}
	m.Trash = view.Box.Role == roleTrash
	if view.Box.Role == roleDrafts {
		m.Draft = true
	}
	if m.Draft {
		m.Edit = "/mail/compose?draft=" + url.QueryEscape(m.Href)
	}
}

// messageView is the message as the reading pane shows it.
// asked: the remote pictures of this message were asked for.
func (s *service) messageView(ctx context.Context, who owner, m *message, wanted string, asked bool) (*templates.MailMessage, error) {
	l := web.Lang(ctx)
	path := m.path()
	v := &templates.MailMessage{Key: m.key(), Href: path, Subject: m.header.text("subject"), Date: m.header.date(m.received).In(s.location),
		From: people(m.header.get("from")), To: people(m.header.get("to")), Cc: people(m.header.get("cc")),
		Flagged: m.has(imap.FlagFlagged), Answered: m.has(imap.FlagAnswered), Forwarded: m.has(imap.FlagForwarded), Draft: m.has(imap.FlagDraft),
		Source: path + "/source", Salvaged: m.salvaged, Cut: m.cut}
	if reply := people(m.header.get("reply-to")); len(reply) > 0 && (len(v.From) == 0 || reply[0].Mail != v.From[0].Mail) {
		v.ReplyTo = reply
	}
	if sender := people(m.header.get("sender")); len(sender) == 1 && len(v.From) > 0 && !strings.EqualFold(sender[0].Mail, v.From[0].Mail) {
		v.Sender = sender
	}
	escaped := url.QueryEscape(path)
	v.Reply, v.Forward = "/mail/compose?reply="+escaped, "/mail/compose?forward="+escaped
	if len(v.To)+len(v.Cc) > 1 {
		v.ReplyAll = "/mail/compose?reply=" + escaped + "&all=1"
	}

	rich := m.body.html != nil && !(wanted == "text")
	if rich {
		made, err := s.richBody(ctx, who, m, false, false)
		if err != nil {
			return nil, err
		}
		v.Remote, v.Hosts, v.Cut = made.Remote, made.Hosts, v.Cut || made.Cut
		if err := s.pictureView(ctx, v, asked); err != nil {
			return nil, err
		}
		v.Document = path + "/document"
		if s.apart() {
			if v.Document, err = s.sealedAddress(ctx, aDocument, ticket{Message: path, Pictures: v.Pictures != ""}); err != nil {
				return nil, err
			}
		}
		if m.body.plain != nil {
			v.OtherView, v.OtherPlain = path+"?view=text", true
		}
	} else if m.body.plain != nil {
		text, cut, err := s.textContent(ctx, who, m, m.body.plain, maxShownText)
		if err != nil {
			return nil, err
		}
		v.Plain, v.Cut = textBlocks(text, flowed(m.body.plain), s.ownDomains(ctx)), v.Cut || cut
		if m.body.html != nil {
			v.OtherView = path
		}
	} else if m.body.html != nil {
		made, err := s.richBody(ctx, who, m, false, false)
		if err != nil {
			return nil, err
		}
		v.Plain, v.OtherView = textBlocks(textOf(made.Body), false, s.ownDomains(ctx)), path
	}
	for _, p := range m.body.more {
		text, cut, err := s.textContent(ctx, who, m, p, maxShownText/4)
		if err != nil {
			return nil, err
		}
		if p.mediaType == "text/html" {
			text = textOf(sanitize(text, nil, "").Body)
		}
		v.More, v.Cut = append(v.More, textBlocks(text, flowed(p), s.ownDomains(ctx))), v.Cut || cut
	}
	var err error
	if v.Invitation, err = s.invitationView(ctx, who, m); err != nil {
		return nil, err
	}
	for _, p := range m.body.attachments {
		if v.Invitation != nil && p.mediaType == "text/calendar" && p.filename == "" {
			continue // shown above the text
		}
		v.Files = append(v.Files, s.attachmentView(l, path, p))
	}
	if len(v.Files) > 1 {
		v.AllFiles = path + "/files.zip"
	}
	if len(v.From) == 1 && v.From[0].Mail != "" && !strings.ContainsAny(v.From[0].Mail, `" `) {
		v.History = "/mail/search?q=" + url.QueryEscape("person:"+v.From[0].Mail)
	}
	switch m.signed {
	case "clear", "envelope":
		v.Signature = path + "/signature"
	case "encrypted":
		v.Encrypted = true
	}
	v.Print, v.Receipt = path+"/document?print", receiptFor(m)
	if s.sieve.address != "" {
		q := url.Values{}
		if id := listID(m.header); id != "" {
			q.Set("list", id)
		} else if len(v.From) == 1 && v.From[0].Mail != "" {
			q.Set("from", v.From[0].Mail)
		}
		v.Filter = "/mail/filters/edit?" + q.Encode()
	}
	s.unsubscribeView(v, m.header)
	for _, f := range m.header {
		if len(v.Headers) < 100 {
			v.Headers = append(v.Headers, templates.MailHeader{Name: headerName(f.key), Value: shorten(cleanLine(decodeCharset([]byte(f.value), "")), 1000)})
		}
	}
	return v, nil
}

func headerName(key string) string {
	parts := strings.Split(cleanLine(key), "-")
	for i, p := range parts {
		if p != "" {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "-")
}

func people(value string) []templates.MailAddress {
	var list []templates.MailAddress
	for _, a := range parseAddresses(value, 200) {
		one := templates.MailAddress{Name: a.name, Mail: a.mail}
		if clean, ok := validMail(a.mail); ok {
			a.mail = clean
			one.Href = "/mail/compose?to=" + url.QueryEscape(a.typed())
		}
		list = append(list, one)
	}
	return list
}

func (s *service) attachmentView(l i18n.Lang, path string, p *part) templates.MailFile {
	f := templates.MailFile{Name: attachmentName(p, l), Type: p.mediaType, Size: fileSize(l, p.decodedSize()),
		Href: path + "/part/" + p.section(), Icon: "file"}
	switch {
	case strings.HasPrefix(p.mediaType, "image/") && p.mediaType != "image/svg+xml":
		f.Icon, f.Preview = "image", f.Href+"?view=1"
	case p.mediaType == "text/plain", p.mediaType == "application/pdf" && s.apart():
		f.Preview = f.Href + "?view=1"
	case embedded(p):
		f.Icon, f.Preview = "mail", path+"/message/"+p.section()
	case strings.HasPrefix(p.mediaType, "message/"):
		f.Icon = "mail"
	case p.mediaType == "text/calendar":
		f.Icon = "calendar"
	}
	return f
}

func fileSize(l i18n.Lang, n int64) string {
	switch {
	case n < 1000:
		return i18n.T(l, "webmail.size.bytes", "n", int(n))
	case n < 1000_000:
		return i18n.T(l, "webmail.size.kilo", "n", int((n+500)/1000))
	}
	unit, key := int64(1000_000), "webmail.size.mega"
	if n >= 1000_000_000 {
		unit, key = 1000_000_000, "webmail.size.giga"
	}
	tenths := (n + unit/20) / (unit / 10)
	if tenths >= 100 || tenths%10 == 0 {
		return i18n.T(l, key, "size", (tenths+5)/10)
	}
	point := ","
	if l == i18n.English {
		point = "."
	}
	return i18n.T(l, key, "size", fmt.Sprintf("%d%s%d", tenths/10, point, tenths%10))
}

// waiting is the outbox as the pages tell it; what is due is taken up again.
func (s *service) waiting(ctx context.Context) ([]templates.MailWaiting, error) {
	sub := s.person(ctx).Sub
	all, err := s.outbox(ctx, sub)
	if err != nil {
		return nil, err
	}
	l := web.Lang(ctx)
	var list []templates.MailWaiting
	for _, one := range all {
		if !one.scheduled.IsZero() {
			continue // on a page of its own
		}
		if one.due {
			s.resume(ctx, sub, one.id, 0)
		}
		v := templates.MailWaiting{ID: one.id, Subject: one.envelope.Subject, State: one.state}
		if !one.held.IsZero() {
			v.State, v.Held = "held", int(one.held.Sub(s.now()).Milliseconds())
			v.Reason = i18n.T(l, "webmail.outbox.held", "n", int(max(1, (one.held.Sub(s.now())+time.Second-1)/time.Second)))
			list = append(list, v)
			continue
		}
		switch one.state {
		case stateQueued:
			v.Reason = i18n.T(l, "webmail.outbox.queued")
			if one.attempts > 1 {
				v.Reason = i18n.T(l, "webmail.outbox.again")
			}
		case stateSent:
			v.Reason = i18n.T(l, "webmail.outbox.filing")
		default:
			key, what, detail := explain(one.reason)
			v.Reason, v.Detail = i18n.T(l, key, "what", what), detail
			v.Edit = "/mail/compose?outbox=" + one.id
		}
		list = append(list, v)
	}
	return list, nil
}

// resume delivers in the background, with the session of whoever looks, once a
// message that is held may go.
func (s *service) resume(ctx context.Context, sub, id string, held time.Duration) <-chan error {
	done := make(chan error, 1)
	if s.life.Err() != nil {
		done <- s.life.Err()
		return done
	}
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		if held > 0 {
			select {
			case <-time.After(held + 50*time.Millisecond):
			case <-s.life.Done():
				return
			}
		}
		for try := 0; ; try++ {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseFor-5*time.Second)
			stop := context.AfterFunc(s.life, cancel)
			err := s.deliver(ctx, sub, id, s.owner)
			stop()
			cancel()
			if try == 0 {
				done <- err
				if err := s.sweepOutbox(context.WithoutCancel(ctx)); err != nil {
					s.log.Warn("old rows of the outbox could not be removed", "error", err)
				}
			}
			if err == nil || try >= 5 || s.life.Err() != nil {
				return
			}
			state, _, err2 := s.state(context.WithoutCancel(ctx), sub, id)
			if err2 != nil || state == stateFailed || state == stateDone || state == "" {
				return
			}
			select {
			case <-time.After(backoff(int64(try)+1) + time.Second):
			case <-s.life.Done():
				return
			}
		}
	}()
	return done
}
