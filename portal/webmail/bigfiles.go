package webmail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
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
	"beffroi/portal/webmail/bigfile"
	"beffroi/templates"
)

// A file that is too large for a message goes to the portal in pieces while the
// person writes, and the message carries a link to it. Who has the link has the
// file, until it ends or is taken back; a code can be asked for as well.

// States of a large file; the migration says what each means.
const (
	fileReceiving = "receiving"
	fileChecking  = "checking"
	fileReady     = "ready"
	fileRefused   = "refused"
)

const (
	pieceMost     = 8 << 20 // bytes of one piece
	unsentFor     = 7 * 24 * time.Hour
	wrongCodes    = 8 // then the link is closed for a while
	lockedFor     = 30 * time.Minute
	mostLinks     = 50 // of one message
	downloadChunk = 1 << 20
)

// bigAbout is what is sealed of a large file.
type bigAbout struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Token   string `json:"token"`
	From    string `json:"from"` // name of whose it is
	Code    string `json:"code,omitempty"`
	To      string `json:"to,omitempty"` // whom it was sent to
	Subject string `json:"subject,omitempty"`
	Virus   string `json:"virus,omitempty"`
	Unseen  bool   `json:"unseen,omitempty"` // too large for the virus scanner
	Words   string `json:"words,omitempty"`  // of a visitor who left it
}

// bigFile is a row.
type bigFile struct {
	id, person, state        string
	about                    bigAbout
	size, received, download int64
	wrong, unlocks           int64
	created, ends            time.Time
	dropped                  string // the link by which somebody left it, "" for a file of one's own
}

const bigColumns = "id, person, state, about, size, received, downloads, wrong, unlocks, created, ends, dropped"

func (s *service) scanBig(scan func(...any) error) (f bigFile, err error) {
	var sealed string
	var created, ends int64
	if err := scan(&f.id, &f.person, &f.state, &sealed, &f.size, &f.received, &f.download, &f.wrong, &f.unlocks, &created, &ends, &f.dropped); err != nil {
		return f, err
	}
	f.created, f.ends = time.UnixMicro(created), time.UnixMicro(ends)
	plain, err := s.sealer.Open("mail_file:"+f.id, sealed)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal([]byte(plain), &f.about)
}

func (s *service) sealBig(id string, about bigAbout) (string, error) {
	text, err := json.Marshal(about)
	return s.sealer.Seal("mail_file:"+id, string(text)), err
}

// mine is a file of the person signed in. The error wraps errGone when it is not.
func (s *service) mine(ctx context.Context, id string) (bigFile, error) {
	f, err := s.scanBig(s.db.QueryRow(ctx, "SELECT "+bigColumns+" FROM mail_file WHERE id = $1 AND person = $2 AND ends > $3", id, s.person(ctx).Sub, s.now().UnixMicro()).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return f, fmt.Errorf("%w: file %q", errGone, id)
	}
	return f, err
}

func (f bigFile) link(origin string) string { return origin + "/f/" + f.about.Token }

// beginFile answers POST /mail-files, fields name, type and size: the file that
// pieces can be sent to.
func (s *service) beginFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	person := s.person(ctx)
	size, err := strconv.ParseInt(web.Field(r, "size"), 10, 64)
	if err != nil || size <= 0 {
		return s.fileSays(w, r, http.StatusBadRequest, "webmail.files.empty", nil)
	}
	if size > s.config.Files.MaxFile {
		return s.fileSays(w, r, http.StatusRequestEntityTooLarge, "webmail.files.toobig", map[string]any{"max": fileSize(web.Lang(ctx), s.config.Files.MaxFile)})
	}
	kind, _, _ := mime.ParseMediaType(web.Field(r, "type"))
	if !validMediaType(kind) {
		kind = "application/octet-stream"
	}
	f := bigFile{id: newCompositionID(), about: bigAbout{Name: cmp.Or(shorten(cleanFilename(web.Field(r, "name")), 200), "file"), Type: kind, Token: secret.Random(), From: cmp.Or(person.Name, person.Login)}}
	sealed, err := s.sealBig(f.id, f.about)
	if err != nil {
		return err
	}
	full := false
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		held, err := s.held(ctx, person.Sub)
		if err != nil {
			return err
		}
		if full = held+size > s.config.Files.Total; full {
			return nil
		}
		now := s.now()
		_, err = s.db.Exec(ctx, `INSERT INTO mail_file (id, person, state, token, about, size, received, downloads, wrong, unlocks, created, ends) VALUES ($1, $2, 'receiving', $3, $4, $5, 0, 0, 0, 0, $6, $7)`,
			f.id, person.Sub, secret.Hash(f.about.Token), sealed, size, now.UnixMicro(), now.Add(unsentFor).UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("begin a large file: %w", err)
	}
	if full {
		return s.fileSays(w, r, http.StatusInsufficientStorage, "webmail.files.full", map[string]any{"max": fileSize(web.Lang(ctx), s.config.Files.Total)})
	}
	return s.tellFile(w, f)
}

// held is how many bytes of a person are kept.
func (s *service) held(ctx context.Context, sub string) (n int64, err error) {
	err = s.db.QueryRow(ctx, "SELECT COALESCE(SUM(size), 0) FROM mail_file WHERE person = $1 AND state <> 'refused'", sub).Scan(&n)
	return n, err
}

// tellFile answers the script with where a file stands.
func (s *service) tellFile(w http.ResponseWriter, f bigFile) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Upload-Offset", strconv.FormatInt(f.received, 10))
	return json.NewEncoder(w).Encode(map[string]any{"id": f.id, "offset": f.received, "state": cmp.Or(f.state, fileReceiving)})
}

// fileSays answers the script with a sentence for the person.
func (s *service) fileSays(w http.ResponseWriter, r *http.Request, status int, key string, values map[string]any) error {
	var args []any
	for k, v := range values {
		args = append(args, k, v)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(map[string]any{"error": i18n.T(web.Lang(r.Context()), key, args...)})
}

// fileAt answers GET /mail-files/{id}: how much of it is here.
func (s *service) fileAt(w http.ResponseWriter, r *http.Request) error {
	f, err := s.mine(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.tellFile(w, f)
}

// filePiece answers PATCH /mail-files/{id}: a piece at the offset of the header
// Upload-Offset, which must be what is here (as tus has it, version 1.0).
func (s *service) filePiece(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := s.mine(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	offset, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || offset != f.received || f.state != fileReceiving {
		w.Header().Set("Upload-Offset", strconv.FormatInt(f.received, 10))
		return s.fileSays(w, r, http.StatusConflict, "webmail.files.elsewhere", nil)
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(2 * time.Minute)) // a piece on a slow line
	n, err := s.large.Append(ctx, f.id, offset, io.LimitReader(r.Body, min(pieceMost, f.size-offset)))
	if err != nil && n == 0 {
		return fmt.Errorf("keep a piece of a large file: %w", err)
	}
	state := fileReceiving
	if offset+n == f.size {
		state = fileChecking
	}
	changed, err := s.db.Exec(ctx, "UPDATE mail_file SET received = $1, state = $2 WHERE id = $3 AND received = $4 AND state = 'receiving'", offset+n, state, f.id, offset)
	if err != nil {
		return fmt.Errorf("keep a piece of a large file: %w", err)
	}
	if changed == 0 {
		return s.fileSays(w, r, http.StatusConflict, "webmail.files.elsewhere", nil)
	}
	f.received, f.state = offset+n, state
	if state == fileChecking {
		if f, err = s.checked(ctx, f); err != nil {
			s.log.WarnContext(ctx, "large file not checked for viruses", "error", err, "request", web.RequestID(ctx))
			return s.fileSays(w, r, http.StatusServiceUnavailable, "webmail.files.unchecked", nil)
		}
		if f.state == fileRefused {
			return s.fileSays(w, r, http.StatusUnprocessableEntity, "webmail.files.virus", map[string]any{"virus": f.about.Virus})
		}
	}
	return s.tellFile(w, f)
}

// checkWait is how long a request waits for the virus scanner; then it goes on
// alone, and the script asks again.
const checkWait = 20 * time.Second

// checked has a file checked in the background, and waits a while for the end.
func (s *service) checked(ctx context.Context, f bigFile) (bigFile, error) {
	if _, busy := s.checking.LoadOrStore(f.id, true); busy {
		return f, nil
	}
	type end struct {
		f   bigFile
		err error
	}
	done := make(chan end, 1)
	s.work.Go(func() {
		defer s.checking.Delete(f.id)
		after, err := s.check(s.life, f)
		done <- end{after, err}
	})
	select {
	case e := <-done:
		return e.f, e.err
	case <-time.After(checkWait):
	case <-ctx.Done():
	}
	return f, nil
}

// check has the virus scanner look at a file that is all here. What it finds is
// removed. While it does not answer the file waits, and is not given out.
func (s *service) check(ctx context.Context, f bigFile) (bigFile, error) {
	waiting := f
	f.state = fileReady
	if s.scanner != nil {
		content, err := s.large.Open(ctx, f.id)
		if err != nil {
			return waiting, err
		}
		f.about.Virus, err = s.scanner.Scan(ctx, content)
		_ = content.Close()
		switch {
		case errors.Is(err, bigfile.ErrTooLarge):
			f.about.Unseen = true
		case err != nil:
			return waiting, err
		case f.about.Virus != "":
			f.state, f.about.Virus = fileRefused, shorten(cleanLine(f.about.Virus), 100)
		}
	}
	sealed, err := s.sealBig(f.id, f.about)
	if err != nil {
		return f, err
	}
	if _, err := s.db.Exec(ctx, "UPDATE mail_file SET state = $1, about = $2 WHERE id = $3 AND state = 'checking'", f.state, sealed, f.id); err != nil {
		return f, err
	}
	if f.state == fileRefused {
		s.log.WarnContext(ctx, "large file refused", "virus", f.about.Virus, "person", f.person)
		return f, s.large.Remove(ctx, f.id)
	}
	return f, nil
}

// checkAgain answers POST /mail-files/{id}/check: the scanner answers again.
func (s *service) checkAgain(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := s.mine(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	if f.state == fileChecking {
		if f, err = s.checked(ctx, f); err != nil {
			s.log.WarnContext(ctx, "large file not checked for viruses", "error", err)
			return s.fileSays(w, r, http.StatusServiceUnavailable, "webmail.files.unchecked", nil)
		}
	}
	if f.state == fileRefused {
		return s.fileSays(w, r, http.StatusUnprocessableEntity, "webmail.files.virus", map[string]any{"virus": f.about.Virus})
	}
	return s.tellFile(w, f)
}

// linked are the large files of a composition, in the order of the form.
func (s *service) linked(ctx context.Context, ids []string) (list []bigFile, err error) {
	for _, id := range ids {
		if len(list) >= mostLinks {
			break
		}
		f, err := s.mine(ctx, id)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// linkViews are the large files as the page to write on shows them.
func (s *service) linkViews(ctx context.Context, list []bigFile) (views []templates.MailLink) {
	for _, f := range list {
		views = append(views, templates.MailLink{ID: f.id, Name: f.about.Name, Size: fileSize(web.Lang(ctx), f.size), State: f.state, Part: int(f.received * 100 / max(f.size, 1))})
	}
	return views
}

// addLinks writes the links into a message that leaves (zero: now), and says how
// long they hold from then on. The problem is a file that is not all here yet.
func (s *service) addLinks(ctx context.Context, o *outgoing, list []bigFile, code string, days int, leaves time.Time) *problem {
	if len(list) == 0 {
		return nil
	}
	l := web.Lang(ctx)
	if leaves.IsZero() {
		leaves = s.now()
	}
	ends := leaves.Add(time.Duration(days) * 24 * time.Hour)
	until := i18n.Date(l, ends.In(s.location), "day")
	intro := i18n.T(l, "webmail.files.intro", "date", until)
	text, rich := "\n"+intro+"\n", "<div><br></div><div>"+html.EscapeString(intro)+"</div><ul>"
	for _, f := range list {
		if f.state == fileChecking {
			var err error
			if f, err = s.checked(ctx, f); err != nil {
				s.log.WarnContext(ctx, "large file not checked for viruses", "error", err)
			}
		}
		if f.state == fileRefused {
			return &problem{key: "webmail.files.virusin", what: f.about.Name, field: "files", status: http.StatusUnprocessableEntity, cause: errors.New("a virus was found")}
		}
		if f.state != fileReady {
			return &problem{key: "webmail.files.notready", what: f.about.Name, field: "files", status: http.StatusUnprocessableEntity, cause: errors.New("a large file is not here yet")}
		}
		f.about.Code, f.about.To, f.about.Subject = code, strings.Join(o.recipients(), ", "), o.subject
		sealed, err := s.sealBig(f.id, f.about)
		if err == nil {
			_, err = s.db.Exec(ctx, "UPDATE mail_file SET about = $1, ends = $2 WHERE id = $3 AND state = 'ready'", sealed, ends.UnixMicro(), f.id)
		}
		if err != nil {
			return &problem{key: "webmail.compose.notkept", status: http.StatusInternalServerError, cause: err}
		}
		line := f.about.Name + " (" + fileSize(l, f.size) + ")"
		text += "- " + line + "\n  " + f.link(s.portalOrigin) + "\n"
		rich += `<li><a href="` + html.EscapeString(f.link(s.portalOrigin)) + `">` + html.EscapeString(f.about.Name) + "</a> (" + html.EscapeString(fileSize(l, f.size)) + ")</li>"
	}
	if code != "" {
		text += i18n.T(l, "webmail.files.needcode") + "\n"
		rich += "</ul><div>" + html.EscapeString(i18n.T(l, "webmail.files.needcode")) + "</div>"
	} else {
		rich += "</ul>"
	}
	if o.html != "" {
		o.html = beforeQuote(o.html, rich)
		o.text = cleanText(plainOf(o.html))
		return nil
	}
	o.text = strings.TrimRight(o.text, "\n") + "\n" + text
	return nil
}

// beforeQuote puts something before what is quoted at the end, or at the end.
func beforeQuote(markup, more string) string {
	if i := strings.Index(markup, "<blockquote>"); i >= 0 && strings.HasSuffix(strings.TrimSpace(markup), "</blockquote>") {
		if j := strings.LastIndex(markup[:i], "<div>"); j >= 0 { // the line that says whose words follow
			return markup[:j] + more + markup[j:]
		}
	}
	return markup + more
}

// showFiles answers GET /mail/files: what the person shares by link.
func (s *service) showFiles(w http.ResponseWriter, r *http.Request) error {
	return s.filesPage(w, r, http.StatusOK, &templates.WebmailFiles{Done: r.URL.Query().Get("done")})
}

func (s *service) filesPage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailFiles) error {
	ctx := r.Context()
	l := web.Lang(ctx)
	list, err := db.All(ctx, s.db, s.scanBig, "SELECT "+bigColumns+" FROM mail_file WHERE person = $1 AND ends > $2 ORDER BY created DESC LIMIT 200", s.person(ctx).Sub, s.now().UnixMicro())
	if err != nil {
		return err
	}
	var held int64
	for _, f := range list {
		if f.state != fileRefused {
			held += f.size
		}
		v := templates.MailShared{ID: f.id, Name: f.about.Name, Size: fileSize(l, f.size), State: f.state, To: f.about.To, Subject: f.about.Subject, Virus: f.about.Virus, Ends: f.ends.In(s.location), Downloads: int(f.download), Code: f.about.Code != ""}
		if f.state == fileReady && f.about.To != "" {
			v.Link = f.link(s.portalOrigin)
		}
		if f.dropped != "" {
			v.From, v.Words, v.Unseen, v.Came = f.about.From, f.about.Words, f.about.Unseen, f.created.In(s.location)
			if f.state != fileReceiving {
				page.Received = append(page.Received, v)
			}
			continue
		}
		page.Files = append(page.Files, v)
	}
	if page.Drops, err = s.dropViews(ctx); err != nil {
		return err
	}
	page.Days, page.DaysOn = s.linkChoices(), s.config.Files.Days
	page.Used, page.Most = fileSize(l, held), fileSize(l, s.config.Files.Total)
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, "webmail.files.title"); err != nil {
		return err
	}
	return web.Render(w, r, status, page)
}

// dropFile answers POST /mail-files/{id}/remove, and DELETE /mail-files/{id}: the
// link leads nowhere any more.
func (s *service) dropFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	n, err := s.db.Exec(ctx, "DELETE FROM mail_file WHERE id = $1 AND person = $2", r.PathValue("id"), s.person(ctx).Sub)
	if err != nil {
		return err
	}
	if n > 0 {
		if err := s.large.Remove(ctx, r.PathValue("id")); err != nil {
			return err
		}
	}
	if r.Method == http.MethodDelete {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return web.Redirect(w, r, "/mail/files?done=removed")
}

// sweepFiles removes what has ended.
func (s *service) sweepFiles(ctx context.Context) (int64, error) {
	if s.large == nil {
		return 0, nil
	}
	ids, err := db.All(ctx, s.db, func(scan func(...any) error) (id string, err error) { return id, scan(&id) },
		"SELECT id FROM mail_file WHERE ends <= $1 LIMIT 200", s.now().UnixMicro())
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := s.large.Remove(ctx, id); err != nil { // before the row: nothing is left that nobody knows of
			return 0, err
		}
		if _, err := s.db.Exec(ctx, "DELETE FROM mail_file WHERE id = $1", id); err != nil {
			return 0, err
		}
	}
	if _, err := s.db.Exec(ctx, "DELETE FROM mail_drop WHERE ends <= $1", s.now().UnixMicro()); err != nil {
		return 0, err
	}
	return int64(len(ids)), nil
}

// linkOptions reads the code and the days of the form.
func (s *service) linkOptions(code, days string) (string, int) {
	n, err := strconv.Atoi(days)
	if err != nil || !slices.Contains(linkDays, n) || n > s.config.Files.Days {
		n = s.config.Files.Days
	}
	return shorten(strings.TrimSpace(cleanLine(code)), 60), n
}

// linkDays are the choices of how long a link holds.
var linkDays = []int{7, 30, 90}

// openFiles prepares the folder of large files, where there is to be one.
func (s *service) openFiles() (err error) {
	c := &s.config.Files
	if c.Dir == "" {
		return nil
	}
	c.Threshold, c.MaxFile, c.Total, c.Days = cmp.Or(c.Threshold, 10<<20), cmp.Or(c.MaxFile, 2<<30), cmp.Or(c.Total, 10<<30), cmp.Or(c.Days, 30)
	if c.Clamd != "" {
		if s.scanner, err = bigfile.NewScanner(c.Clamd); err != nil {
			return fmt.Errorf("files.clamd: %w", err)
		}
	}
	disk, err := bigfile.NewDisk(c.Dir)
	if err != nil {
		return err
	}
	s.large = disk
	return nil
}
