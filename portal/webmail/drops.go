package webmail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/i18n"
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/templates"
)

// The other way round: a link that a person gives to somebody outside, who leaves
// files there. What came is looked at by the virus scanner, told by a message, and
// kept among the person's large files.

const (
	mostDrops     = 50
	mostDropped   = 100 // files of one visit
	mostOfDrop    = 500 // files of one link that are kept at a time
	dropPiece     = 4 << 20
	maxGuestWords = 2000

	dropUnfinished = 24 * time.Hour // what a process that ended left of a visit
)

// dropAbout is what is sealed of a link.
type dropAbout struct {
	Title string `json:"title"`
	Token string `json:"token"`
	Code  string `json:"code,omitempty"`
	Name  string `json:"name"` // whose it is
	Mail  string `json:"mail"`
	Lang  string `json:"lang"`
}

type drop struct {
	id, person    string
	about         dropAbout
	unlocks       int64
	created, ends time.Time
}

const dropColumns = "id, person, about, unlocks, created, ends"

func (s *service) scanDrop(scan func(...any) error) (d drop, err error) {
	var sealed string
	var created, ends int64
	if err := scan(&d.id, &d.person, &sealed, &d.unlocks, &created, &ends); err != nil {
		return d, err
	}
	d.created, d.ends = time.UnixMicro(created), time.UnixMicro(ends)
	plain, err := s.sealer.Open("mail_drop:"+d.id, sealed)
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal([]byte(plain), &d.about)
}

func (d drop) link(origin string) string { return origin + "/d/" + d.about.Token }

// postDrops answers POST /mail/drops: a new link (fields title, days, code), or with
// do=remove one that leads nowhere any more.
func (s *service) postDrops(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	person := s.person(ctx)
	if web.Field(r, "do") == "remove" {
		if _, err := s.db.Exec(ctx, "DELETE FROM mail_drop WHERE id = $1 AND person = $2", web.Field(r, "id"), person.Sub); err != nil {
			return err
		}
		return web.Redirect(w, r, "/mail/files?done=closed")
	}
	code, days := s.linkOptions(web.Field(r, "code"), web.Field(r, "days"))
	d := drop{id: newCompositionID(), about: dropAbout{Title: shorten(strings.TrimSpace(cleanLine(web.Field(r, "title"))), 200), Token: secret.Random(), Code: code, Name: cmp.Or(person.Name, person.Login), Mail: person.Mail, Lang: string(web.Lang(ctx))}}
	if d.about.Title == "" {
		return s.filesPage(w, r, http.StatusUnprocessableEntity, &templates.WebmailFiles{Error: "webmail.drop.notitle"})
	}
	text, err := json.Marshal(d.about)
	if err != nil {
		return err
	}
	full := false
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		var n int
		if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_drop WHERE person = $1 AND ends > $2", person.Sub, s.now().UnixMicro()).Scan(&n); err != nil {
			return err
		}
		if full = n >= mostDrops; full {
			return nil
		}
		now := s.now()
		_, err := s.db.Exec(ctx, "INSERT INTO mail_drop (id, person, token, about, wrong, unlocks, created, ends) VALUES ($1, $2, $3, $4, 0, 0, $5, $6)",
			d.id, person.Sub, secret.Hash(d.about.Token), s.sealer.Seal("mail_drop:"+d.id, string(text)), now.UnixMicro(), now.Add(time.Duration(days)*24*time.Hour).UnixMicro())
		if err != nil {
			return err
		}
		return s.host.Record(ctx, "mail.drop", "", map[string]string{"link": d.id, "days": strconv.Itoa(days)})
	})
	if err != nil {
		return err
	}
	if full {
		return web.Fail(http.StatusConflict, "webmail.texts.many", errManyItems)
	}
	return web.Redirect(w, r, "/mail/files?done=opened")
}

// dropOf is the link that somebody followed.
func (s *service) dropOf(ctx context.Context, token string) (drop, error) {
	if len(token) != 43 {
		return drop{}, web.Fail(http.StatusNotFound, "webmail.drop.gone", errors.New("no such link"))
	}
	d, err := s.scanDrop(s.db.QueryRow(ctx, "SELECT "+dropColumns+" FROM mail_drop WHERE token = $1 AND ends > $2", secret.Hash(token), s.now().UnixMicro()).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return d, web.Fail(http.StatusNotFound, "webmail.drop.gone", errors.New("no such link"))
	}
	return d, err
}

// showDrop answers GET /d/{token}: where files are left, for whoever has the link.
func (s *service) showDrop(w http.ResponseWriter, r *http.Request) error {
	d, err := s.dropOf(r.Context(), r.PathValue("token"))
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("done"))
	return s.dropPage(w, r, http.StatusOK, d, &templates.WebmailDrop{N: n})
}

func (s *service) dropPage(w http.ResponseWriter, r *http.Request, status int, d drop, page *templates.WebmailDrop) error {
	page.Layout = templates.Layout{Title: d.about.Title, Bare: true, CSS: []string{"webmail.css"}, JS: []string{"drop.js"}}
	page.Heading, page.Name, page.Ends, page.Code, page.Action = d.about.Title, d.about.Name, d.ends.In(s.location), d.about.Code != "", "/d/"+d.about.Token
	page.Most = fileSize(web.Lang(r.Context()), s.config.Files.MaxFile)
	w.Header().Set("X-Robots-Tag", "noindex")
	return web.Render(w, r, status, page)
}

// guestSays answers a visitor: the script with a sentence, others with the page.
func (s *service) guestSays(w http.ResponseWriter, r *http.Request, status int, d drop, key string) error {
	if r.Header.Get("Accept") == "application/json" {
		return s.fileSays(w, r, status, key, map[string]any{"max": fileSize(web.Lang(r.Context()), s.config.Files.MaxFile)})
	}
	return s.dropPage(w, r, status, d, &templates.WebmailDrop{Error: key})
}

var errDropFull = errors.New("no room for what is left here")

// postDrop answers POST /d/{token}, a form with code, name and words before the files:
// they are kept as they come.
func (s *service) postDrop(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	d, err := s.dropOf(ctx, r.PathValue("token"))
	if err != nil {
		return err
	}
	reader, err := r.MultipartReader()
	if err != nil {
		return web.Fail(http.StatusBadRequest, "webmail.error.form", err)
	}
	fields := map[string]string{}
	var came []bigFile
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.broke(ctx, w, r, d, came, err)
		}
		if part.FileName() == "" {
			value, err := io.ReadAll(io.LimitReader(part, maxGuestWords*4))
			if err != nil {
				return s.broke(ctx, w, r, d, came, err)
			}
			fields[part.FormName()] = string(value)
			continue
		}
		if len(came) == 0 { // nothing is read before the code is right
			if key, status, err := s.codeOpens(ctx, "mail_drop", d.id, d.about.Code, fields["code"], d.unlocks); err != nil || key != "" {
				if err != nil {
					return err
				}
				return s.guestSays(w, r, status, d, key)
			}
		}
		if len(came) >= mostDropped {
			return s.broke(ctx, w, r, d, came, errDropFull)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		f, err := s.receive(ctx, http.NewResponseController(w), d, part.FileName(), kind, fields, part)
		if err != nil {
			return s.broke(ctx, w, r, d, came, err)
		}
		if f.size > 0 {
			came = append(came, f)
		}
	}
	if len(came) == 0 {
		return s.guestSays(w, r, http.StatusUnprocessableEntity, d, "webmail.drop.nofile")
	}
	if err := s.announce(ctx, d, len(came)); err != nil {
		return err
	}
	next := "/d/" + d.about.Token + "?done=" + strconv.Itoa(len(came))
	if r.Header.Get("Accept") == "application/json" {
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(map[string]string{"next": next})
	}
	return web.Redirect(w, r, next)
}

// broke ends a visit in the middle: what came whole stays, and is told.
func (s *service) broke(ctx context.Context, w http.ResponseWriter, r *http.Request, d drop, came []bigFile, cause error) error {
	if len(came) > 0 {
		if err := s.announce(ctx, d, len(came)); err != nil {
			return err
		}
	}
	s.log.InfoContext(ctx, "files left by link broke off", "error", cause, "kept", len(came), "request", web.RequestID(ctx))
	var large *http.MaxBytesError
	if errors.Is(cause, errDropFull) || errors.As(cause, &large) {
		return s.guestSays(w, r, http.StatusRequestEntityTooLarge, d, "webmail.drop.toobig")
	}
	return s.guestSays(w, r, http.StatusBadRequest, d, "webmail.drop.broke")
}

// receive keeps one file of a visitor, piece by piece, within the room of its owner.
func (s *service) receive(ctx context.Context, control *http.ResponseController, d drop, name, kind string, fields map[string]string, content io.Reader) (bigFile, error) {
	if !validMediaType(kind) {
		kind = "application/octet-stream"
	}
	f := bigFile{id: newCompositionID(), person: d.person, state: fileReceiving, about: bigAbout{Name: cmp.Or(shorten(cleanFilename(name), 200), "file"), Type: kind, Token: secret.Random(), From: shorten(cleanLine(fields["name"]), 200),
		Subject: d.about.Title, Words: shorten(strings.TrimSpace(cleanText(fields["words"])), maxGuestWords)}}
	sealed, err := s.sealBig(f.id, f.about)
	if err != nil {
		return f, err
	}
	held, err := s.held(ctx, d.person)
	if err != nil {
		return f, err
	}
	var kept int
	if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_file WHERE dropped = $1", d.id).Scan(&kept); err != nil {
		return f, err
	}
	if kept >= mostOfDrop {
		return f, errDropFull
	}
	now := s.now()
	_, err = s.db.Exec(ctx, `INSERT INTO mail_file (id, person, state, token, about, size, received, downloads, wrong, unlocks, created, ends, dropped) VALUES ($1, $2, 'receiving', $3, $4, 0, 0, 0, 0, 0, $5, $6, $7)`,
		f.id, d.person, secret.Hash(f.about.Token), sealed, now.UnixMicro(), now.Add(dropUnfinished).UnixMicro(), d.id)
	if err != nil {
		return f, fmt.Errorf("keep a file left by link: %w", err)
	}
	giveUp := func(cause error) (bigFile, error) {
		ctx := context.WithoutCancel(ctx)
		return f, errors.Join(cause, s.large.Remove(ctx, f.id), s.forgetFile(ctx, f.id))
	}
	for {
		_ = control.SetReadDeadline(time.Now().Add(2 * time.Minute))
		_ = control.SetWriteDeadline(time.Now().Add(4 * time.Minute))
		n, err := s.large.Append(ctx, f.id, f.size, io.LimitReader(content, dropPiece))
		f.size += n
		if f.size > s.config.Files.MaxFile || held+f.size > s.config.Files.Total {
			return giveUp(errDropFull)
		}
		if err != nil {
			return giveUp(err)
		}
		if n < dropPiece {
			break
		}
	}
	if f.size == 0 { // a field without a file
		return giveUp(nil)
	}
	f.state, f.received = fileChecking, f.size
	if _, err := s.db.Exec(ctx, "UPDATE mail_file SET size = $1, received = $1, state = 'checking', ends = $2 WHERE id = $3", f.size, now.Add(time.Duration(s.config.Files.Days)*24*time.Hour).UnixMicro(), f.id); err != nil {
		return giveUp(err)
	}
	if _, err := s.checked(ctx, f); err != nil { // it waits, and is looked at when its owner asks for it
		s.log.WarnContext(ctx, "large file not checked for viruses", "error", err)
	}
	return f, nil
}

func (s *service) forgetFile(ctx context.Context, id string) error {
	_, err := s.db.Exec(ctx, "DELETE FROM mail_file WHERE id = $1", id)
	return err
}

// announceEvery: whoever comes often is told of once in this time.
const announceEvery = 10 * time.Minute

// announce tells the owner by a message to themselves, that leaves as soon as they
// have a session. Nothing that the visitor wrote stands in it.
func (s *service) announce(ctx context.Context, d drop, n int) error {
	own, ok := validMail(d.about.Mail)
	if !ok {
		return nil
	}
	l := i18n.Lang(d.about.Lang)
	id := fixedID("drop", d.id, strconv.FormatInt(s.now().UnixNano()/int64(announceEvery), 10))
	o := &outgoing{id: id, from: address{d.about.Name, own}, to: []address{{d.about.Name, own}}, subject: i18n.T(l, "webmail.drop.came", "title", d.about.Title),
		text: i18n.T(l, "webmail.drop.came.text", "n", n, "title", d.about.Title) + "\n\n" + s.portalOrigin + "/mail/files\n"}
	e := envelope{From: own, To: []string{own}, Subject: o.subject, MessageID: o.messageID(), Quiet: true}
	_, err := s.enqueue(ctx, d.person, o.id, e, o.bytes(s.now().In(s.location), false), 0)
	return err
}

// takeFile answers GET /mail-files/{id}/content: one's own large file.
func (s *service) takeFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := s.mine(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	if f.state == fileChecking {
		if f, err = s.checked(ctx, f); err != nil {
			return web.Fail(http.StatusServiceUnavailable, "webmail.files.unchecked", err)
		}
	}
	if f.state != fileReady {
		return web.Fail(http.StatusConflict, "webmail.files.unchecked", fmt.Errorf("file is %s", f.state))
	}
	return s.serveFile(w, r, f)
}

// dropViews are the links of a person that still lead somewhere.
func (s *service) dropViews(ctx context.Context) (list []templates.MailDrop, err error) {
	all, err := db.All(ctx, s.db, s.scanDrop, "SELECT "+dropColumns+" FROM mail_drop WHERE person = $1 AND ends > $2 ORDER BY created DESC", s.person(ctx).Sub, s.now().UnixMicro())
	for _, d := range all {
		list = append(list, templates.MailDrop{ID: d.id, Title: d.about.Title, Link: d.link(s.portalOrigin), Ends: d.ends.In(s.location), Code: d.about.Code != ""})
	}
	return list, err
}

func (s *service) linkChoices() []int {
	list := slices.DeleteFunc(slices.Clone(linkDays), func(n int) bool { return n > s.config.Files.Days })
	if !slices.Contains(list, s.config.Files.Days) {
		list = append(list, s.config.Files.Days)
	}
	return list
}
