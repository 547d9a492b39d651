package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"beffroi/internal/web"
	"beffroi/templates"
)

// problem is why a composition was not sent, for the page.
type problem struct {
	key, what, detail string
	field             string // "to", "cc", "bcc", "files": where the cure is
	status            int
	cause             error
}

// composed receives what was written: to send, to save as a draft, or to throw
// away. Whatever goes wrong, the page comes back with the text on it, and the
// whole composition is put aside as well.
func (s *service) composed(w http.ResponseWriter, r *http.Request) error {
	if err := parseForm(r); err != nil {
		return err
	}
	defer removeUploads(r)
	ctx := r.Context()
	form := r.PostForm
	page := pageOf(form)
	var wrongText *problem
	if source := form.Get("html"); source != "" {
		page.HTML, page.Text, wrongText = richOf(source)
	} else {
		page.Plain = true
	}
	rich := ""
	if plain := form.Get("plain"); plain != "" {
		if plain == "1" {
			page.HTML, page.Plain, wrongText = "", true, nil
		} else {
			rich = "&rich=1"
		}
		if err := s.host.SetPreference(ctx, preferPlain, strings.Trim(plain, " 0")); err != nil {
			s.log.InfoContext(ctx, "preference not kept", "error", err)
		}
	}
	if form.Get("action") == "discard" {
		return s.discard(w, r, page)
	}
	who, err := s.owner(ctx)
	links, errLinks := s.linked(ctx, form["link"])
	if errLinks != nil {
		wrongText = first(wrongText, &problem{key: "webmail.compose.notkept", status: http.StatusInternalServerError, cause: errLinks})
	}
	page.Links, page.LinkCode, page.LinkDays = s.linkViews(ctx, links), cleanLine(form.Get("link_code")), form.Get("link_days")
	later, unclear := s.laterOf(form)
	sending := form.Get("action") == "send" || !later.IsZero() || unclear != nil
	o, wrong := s.outgoing(ctx, who, page, form, r.MultipartForm, sending)
	for _, f := range links {
		o.links = append(o.links, f.id)
	}
	wrong = first(first(wrong, wrongText), unclear)
	switch {
	case err != nil:
		wrong = &problem{key: "webmail.compose.down", status: http.StatusServiceUnavailable, cause: err}
	case sending && wrong == nil && form.Get("sure") == "" && len(o.files)+len(links) == 0 && promisesFile(page.Subject, page.Text):
		wrong = &problem{key: "webmail.compose.nofile", status: 422, cause: errors.New("a file is promised and none is there")}
		page.Sure = true
	case sending && wrong == nil:
		final := *o // with the links, that the composition itself does not hold
		code, days := s.linkOptions(form.Get("link_code"), form.Get("link_days"))
		if wrong = s.addLinks(ctx, &final, links, code, days, later); wrong == nil {
			if unformatted(final.html) {
				final.html = "" // text says the same, and is shown in the reader's own colours
			}
			wrong = s.send(w, r, page, &final, later)
		}
		if wrong == nil {
			return nil
		}
	case !sending:
		if wrong == nil || wrong.field == "to" || wrong.field == "cc" || wrong.field == "bcc" {
			wrong = nil // a draft may hold what is not an address yet
		}
		if wrong == nil {
			at, err := s.saveDraft(ctx, who, o, page.Draft)
			if err == nil && form.Get("action") == "autosave" {
				return s.autosaved(w, at, o)
			}
			if err == nil {
				return web.Redirect(w, r, "/mail/compose?saved=1&draft="+url.QueryEscape(at.path())+rich)
			}
			wrong = &problem{key: "webmail.compose.draftfailed", status: http.StatusBadGateway, cause: err}
		}
	}
	if form.Get("action") == "autosave" { // the page stays as it is, and tries again
		s.log.InfoContext(ctx, "draft not saved by itself", "reason", wrong.key, "error", wrong.cause)
		w.WriteHeader(max(wrong.status, http.StatusUnprocessableEntity))
		return nil
	}
	s.log.InfoContext(ctx, "composition not sent", "reason", wrong.key, "error", wrong.cause, "request", web.RequestID(ctx))
	return s.giveBack(w, r, page, o, who, wrong)
}

func parseForm(r *http.Request) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var err error
	if kind == "multipart/form-data" {
		err = r.ParseMultipartForm(maxUpload + 2<<20) // all in memory: nothing is left on the disk
	} else {
		err = r.ParseForm()
	}
	if err == nil {
		return nil
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return web.Fail(http.StatusRequestEntityTooLarge, "webmail.error.upload", err)
	}
	return web.Fail(http.StatusBadRequest, "webmail.error.form", err)
}

func removeUploads(r *http.Request) {
	if r.MultipartForm != nil {
		_ = r.MultipartForm.RemoveAll()
	}
}

// pageOf is the form as the page shows it again.
func pageOf(form url.Values) *templates.WebmailCompose {
	p := &templates.WebmailCompose{As: cleanLine(form.Get("as")), ID: form.Get("id"), Kind: form.Get("kind"), Source: form.Get("source"), Draft: form.Get("draft"),
		InReplyTo: strings.Join(messageIDs(form.Get("in_reply_to")), " "), References: strings.Join(messageIDs(form.Get("references")), " "),
		To: cleanLine(form.Get("to")), Cc: cleanLine(form.Get("cc")), Bcc: cleanLine(form.Get("bcc")), Subject: cleanLine(form.Get("subject")),
		Text: cleanText(form.Get("text")), Back: backTo(form.Get("back"), "INBOX"), Focus: "text", At: cleanLine(form.Get("at")), Receipt: form.Get("receipt") != "", Remind: daysOf(form.Get("remind"))}
	for _, value := range form["keep"] {
		if _, _, name, ok := cutKept(value); ok && len(p.Kept) < 100 {
			p.Kept = append(p.Kept, templates.MailKept{Value: value, Name: cleanFilename(name)})
		}
	}
	if !validCompositionID(p.ID) {
		p.ID = newCompositionID()
	}
	if p.Kind != "reply" && p.Kind != "forward" {
		p.Kind = ""
	}
	if _, err := parsePath(p.Source); err != nil {
		p.Source = ""
	}
	if _, err := parsePath(p.Draft); err != nil {
		p.Draft = ""
	}
	return p
}

// outgoing is the composition from the form. Even with a problem it holds
// everything that could be read, to be put aside.
func (s *service) outgoing(ctx context.Context, who owner, page *templates.WebmailCompose, form url.Values, upload *multipart.Form, sending bool) (*outgoing, *problem) {
	person := s.person(ctx)
	o := &outgoing{id: page.ID, from: address{person.Name, person.Mail}, subject: page.Subject, text: page.Text, html: page.HTML, receipt: page.Receipt, remind: page.Remind,
		references: messageIDs(page.References), source: page.Source, kind: page.Kind, typed: map[string]string{}}
	if ids := messageIDs(page.InReplyTo); len(ids) > 0 {
		o.inReplyTo = ids[0]
	}
	var wrong *problem
	if as, err := s.identityOf(ctx, page.As); err == nil {
		o.as, o.from, o.replyTo, o.sent = as.key, as.from, as.replyTo, as.sent
		if as.sender {
			o.sender = person.Mail
		}
	} else if errors.Is(err, errNotYours) {
		page.As = ""
		wrong = &problem{key: "webmail.compose.notyours", field: "as", status: 422, cause: err}
	} else {
		wrong = &problem{key: "webmail.compose.notkept", status: http.StatusInternalServerError, cause: err}
	}
	for _, f := range []struct {
		name, typed string
		list        *[]address
	}{{"to", page.To, &o.to}, {"cc", page.Cc, &o.cc}, {"bcc", page.Bcc, &o.bcc}} {
		list, err := parseRecipients(f.typed)
		*f.list = list
		var bad *badRecipient
		switch {
		case err == nil:
			continue
		case errors.As(err, &bad):
			wrong = first(wrong, &problem{key: "webmail.compose.badaddress", what: shorten(cleanLine(bad.typed), 100), field: f.name, status: 422, cause: err})
		default:
			wrong = first(wrong, &problem{key: "webmail.compose.toomany", what: fmt.Sprint(maxRecipients), field: f.name, status: 422, cause: err})
		}
		o.typed[f.name] = f.typed
	}
	if from, ok := validMail(o.from.mail); ok {
		o.from.mail = from
	} else {
		wrong = first(wrong, &problem{key: "webmail.compose.noaddress", status: 422, cause: fmt.Errorf("%s has no mail address", person.Login)})
	}
	if len(page.Text) > maxText {
		wrong = first(wrong, &problem{key: "webmail.compose.toolong", status: 422, cause: errors.New("text too long")})
		o.text = strings.ToValidUTF8(page.Text[:maxText], "")
	}
	files, err := s.files(ctx, who, form["keep"], upload)
	o.files, o.whole = files, err == nil
	switch {
	case errors.Is(err, errTooBig):
		wrong = &problem{key: "webmail.compose.toobig", field: "files", status: http.StatusRequestEntityTooLarge, cause: err}
	case err != nil:
		wrong = &problem{key: "webmail.compose.files", field: "files", status: http.StatusBadGateway, cause: err}
	}
	if wrong == nil && sending && len(o.recipients()) == 0 {
		wrong = &problem{key: "webmail.compose.norecipient", field: "to", status: 422, cause: errors.New("no recipient")}
	}
	return o, wrong
}

func first(a, b *problem) *problem {
	if a != nil {
		return a
	}
	return b
}

var errTooBig = errors.New("attachments too big")

// files collects the attachments: those of the message being answered or of
// the draft that stay, and those just chosen.
func (s *service) files(ctx context.Context, who owner, keep []string, upload *multipart.Form) ([]file, error) {
	var list []file
	room := int64(maxUpload)
	add := func(name, kind string, r io.Reader) error {
		content, err := io.ReadAll(io.LimitReader(r, room+1))
		if err != nil {
			return err
		}
		if room -= int64(len(content)); room < 0 {
			return errTooBig
		}
		list = append(list, file{name, kind, content})
		return nil
	}
	opened := map[string]*message{}
	for _, value := range keep {
		where, section, _, ok := cutKept(value)
		if !ok || len(list) > 100 {
			continue
		}
		m := opened[where]
		if m == nil {
			var err error
			if m, err = s.holder(ctx, who, where); err != nil {
				return list, err
			}
			opened[where] = m
		}
		p := m.root.find(section)
		if p == nil {
			return list, fmt.Errorf("%w: %s", errGone, value)
		}
		if err := add(attachmentName(p, web.Lang(ctx)), p.mediaType, s.content(ctx, who, m, p)); err != nil {
			return list, err
		}
	}
	if upload == nil {
		return list, nil
	}
	for _, head := range upload.File["files"] {
		if head.Filename == "" && head.Size == 0 {
			continue
		}
		f, err := head.Open()
		if err != nil {
			return list, err
		}
		err = add(head.Filename, typeOf(head), f)
		_ = f.Close()
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

// cutKept reads "where#section#name".
func cutKept(value string) (where, section, name string, ok bool) {
	pieces := strings.SplitN(value, "#", 3)
	if len(pieces) != 3 {
		return "", "", "", false
	}
	return pieces[0], pieces[1], pieces[2], true
}

// typeOf takes the browser's word for the type of an upload, or the name's.
func typeOf(head *multipart.FileHeader) string {
	kind, _, err := mime.ParseMediaType(head.Header.Get("Content-Type"))
	if err != nil || kind == "application/octet-stream" {
		kind, _, _ = mime.ParseMediaType(mime.TypeByExtension(strings.ToLower(path.Ext(head.Filename))))
	}
	if !validMediaType(kind) {
		kind = "application/octet-stream"
	}
	return kind
}

// holder is the message that an attachment to keep is part of.
func (s *service) holder(ctx context.Context, who owner, where string) (*message, error) {
	id, ok := strings.CutPrefix(where, "outbox/")
	if !ok {
		return s.openPath(ctx, who, where)
	}
	_, raw, err := s.kept(ctx, s.person(ctx).Sub, id)
	if err != nil {
		return nil, err
	}
	m := &message{}
	m.header, m.root = parseMessage(raw)
	m.body = pickBody(m.root)
	return m, nil
}

// sendLater takes on a message that leaves at a time of its own.
func (s *service) sendLater(w http.ResponseWriter, r *http.Request, page *templates.WebmailCompose, o *outgoing, raw []byte, at time.Time) *problem {
	ctx := r.Context()
	if _, err := s.schedule(ctx, s.person(ctx).Sub, o.id, s.envelopeOf(o, page), raw, at); err != nil {
		return &problem{key: "webmail.compose.notkept", status: http.StatusInternalServerError, cause: err}
	}
	s.remember(ctx, o)
	// The message waits as what it is now: its draft would be another one.
	err := s.with(ctx, func(who owner) error { return s.removeDrafts(ctx, who, o.id, page.Draft) })
	if err != nil {
		s.log.InfoContext(ctx, "the draft of a message for later could not be removed", "error", err)
	}
	if err := s.host.Mandate(w, r, "/mail/scheduled?done=later&id="+o.id); err != nil {
		s.log.WarnContext(ctx, "answer after sending", "error", err)
	}
	return nil
}

// send takes the message on: written down first, then delivered. It answers
// the browser itself unless there is a problem to show.
func (s *service) send(w http.ResponseWriter, r *http.Request, page *templates.WebmailCompose, o *outgoing, later time.Time) *problem {
	ctx := r.Context()
	sub := s.person(ctx).Sub
	at := later
	if at.IsZero() {
		at = s.now()
	}
	raw := o.bytes(at.In(s.location), false)
	if int64(len(raw)) > s.config.MaxMessage {
		return &problem{key: "webmail.compose.toobig", field: "files", status: http.StatusRequestEntityTooLarge, cause: errTooBig}
	}
	if !later.IsZero() {
		return s.sendLater(w, r, page, o, raw, later)
	}
	fresh, err := s.enqueue(ctx, sub, o.id, s.envelopeOf(o, page), raw, s.config.Undo)
	if err != nil {
		return &problem{key: "webmail.compose.notkept", status: http.StatusInternalServerError, cause: err}
	}
	if fresh {
		s.remember(ctx, o)
	}
	answer := func(done string) *problem {
		s.badges.forget(sub)
		said := url.Values{}
		if done != "" {
			said.Set("done", done)
		}
		if err := s.goBack(w, r, page.Back, said); err != nil {
			s.log.WarnContext(ctx, "answer after sending", "error", err)
		}
		return nil
	}
	if fresh && s.config.Undo > 0 { // how it ends is told by the outbox
		s.resume(ctx, sub, o.id, s.config.Undo)
		return answer("")
	}
	if fresh {
		select {
		case err = <-s.resume(ctx, sub, o.id, 0):
		case <-time.After(waitFor):
			return answer("sending")
		}
	}
	state, reason, err2 := s.state(context.WithoutCancel(ctx), sub, o.id) // also of a second click
	switch {
	case err2 != nil:
		return &problem{key: "webmail.compose.notkept", status: http.StatusInternalServerError, cause: err2}
	case state == stateDone, state == stateSent:
		return answer("sent")
	case state == stateFailed:
		key, what, detail := explain(reason)
		p := &problem{key: key, what: what, detail: detail, status: http.StatusBadGateway, cause: err}
		if strings.HasPrefix(reason, "recipient ") {
			p.field, p.status = fieldOf(page, what), 422
		}
		return p
	}
	return answer("sending")
}

func (s *service) envelopeOf(o *outgoing, page *templates.WebmailCompose) envelope {
	from := o.from.mail
	if o.sender != "" {
		from = o.sender
	}
	return envelope{From: from, As: o.as, Filed: o.sent, Remind: o.remind, To: o.recipients(), Subject: o.subject, MessageID: o.messageID(), Kind: o.kind, Source: o.source,
		Draft: page.Draft, Bcc: page.Bcc}
}

func fieldOf(page *templates.WebmailCompose, mail string) string {
	for _, f := range []struct{ name, typed string }{{"to", page.To}, {"cc", page.Cc}, {"bcc", page.Bcc}} {
		if strings.Contains(strings.ToLower(f.typed), strings.ToLower(mail)) {
			return f.name
		}
	}
	return "to"
}

// explain turns the outbox's reason into the key of a sentence, what it names
// and the server's own words.
func explain(reason string) (key, what, detail string) {
	code, detail, _ := strings.Cut(reason, "\n")
	switch {
	case strings.HasPrefix(code, "recipient "):
		return "webmail.compose.refusedrecipient", strings.TrimPrefix(code, "recipient "), detail
	case code == "size":
		return "webmail.compose.toobigserver", "", detail
	case code == "refused":
		return "webmail.compose.refused", "", detail
	case code == "signin":
		return "webmail.compose.signin", "", detail
	case code == "identity":
		return "webmail.compose.notyours", "", detail
	case code == "draft":
		return "webmail.compose.draftfailed", "", detail
	case code == "undone":
		return "webmail.outbox.undone", "", detail
	}
	return "webmail.compose.down", "", detail
}

// giveBack shows the page again with the reason, the text and what became of
// it: saved to Drafts, or when that server is down too, kept on the portal.
func (s *service) giveBack(w http.ResponseWriter, r *http.Request, page *templates.WebmailCompose, o *outgoing, who owner, wrong *problem) error {
	ctx := r.Context()
	l := web.Lang(ctx)
	sub := s.person(ctx).Sub
	page.Error, page.ErrorSubject, page.ErrorDetail, page.ErrorField = wrong.key, wrong.what, wrong.detail, wrong.field
	page.More = wrong.field == "cc" || wrong.field == "bcc"
	where := ""
	if who.token != "" && wrong.field != "files" {
		if at, err := s.saveDraft(ctx, who, o, page.Draft); err == nil {
			page.Draft, where, page.Saved = at.path(), at.path(), "draft"
			if err := s.forget(ctx, sub, o.id); err != nil {
				return err
			}
		}
	}
	if page.Saved == "" {
		reason := "draft"
		if state, known, err := s.state(ctx, sub, o.id); err == nil && state == stateFailed && known != "" {
			reason = known
		}
		if kept, err := s.keep(ctx, sub, o.id, s.envelopeOf(o, page), o.bytes(s.now().In(s.location), true), reason); kept && err == nil {
			where, page.Saved = "outbox/"+o.id, "kept"
		}
	}
	page.SavedAt = s.now().In(s.location)
	if where != "" && (o.whole || page.Kept == nil) {
		page.Kept = nil
		for i, f := range o.files {
			page.Kept = append(page.Kept, templates.MailKept{Value: fmt.Sprintf("%s#%d#%s", where, i+2, f.name), Name: f.name, Size: fileSize(l, int64(len(f.content)))})
		}
	}
	return s.showCompose(w, r, wrong.status, page, nil)
}

// discard throws a composition away; a saved draft goes to the trash.
func (s *service) discard(w http.ResponseWriter, r *http.Request, page *templates.WebmailCompose) error {
	ctx := r.Context()
	if err := s.forget(ctx, s.person(ctx).Sub, page.ID); err != nil {
		return err
	}
	if at, err := parsePath(page.Draft); err == nil {
		err := s.with(ctx, func(who owner) error {
			trash, err := s.ensureRole(ctx, who, roleTrash)
			if err != nil {
				return err
			}
			_, err = s.move(ctx, who, []ref{at}, trash)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.goBack(w, r, page.Back, url.Values{"done": {"discard"}})
}

// autosaved tells the page where its draft is now, and by which names its
// attachments are kept there.
func (s *service) autosaved(w http.ResponseWriter, at ref, o *outgoing) error {
	answer := struct {
		Draft string   `json:"draft"`
		Keep  []string `json:"keep"`
		Time  string   `json:"time"`
	}{Draft: at.path(), Keep: []string{}, Time: s.now().In(s.location).Format("15:04")}
	for i, f := range o.files {
		answer.Keep = append(answer.Keep, fmt.Sprintf("%s#%d#%s", at.path(), i+2, f.name))
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}

// promises are the words by which people announce an attachment.
var promises = regexp.MustCompile(`(?i)\b(?:ci[- ]?joints?|ci[- ]?jointes?|pi[èe]ces?[- ]jointes?|en pj|en p\.j\.|je (?:te|vous) joins|je joins|trouverez? (?:en pi[èe]ce|joint)|attached|attachments?|enclosed)\b`)

// promisesFile tells whether what the person wrote, without what they quote,
// speaks of an attachment.
func promisesFile(subject, text string) bool {
	if prefix := strings.ToLower(subject); !strings.HasPrefix(prefix, "re:") && !strings.HasPrefix(prefix, "fwd:") && promises.MatchString(subject) {
		return true
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, ">") || !promises.MatchString(line) {
			continue
		}
		return true
	}
	return false
}
