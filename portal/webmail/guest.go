package webmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/templates"
)

// What whoever has a link sees of a large file, and how its bytes are given out.

// guestFile is the file of a link that somebody followed.
func (s *service) guestFile(ctx context.Context, token string) (bigFile, error) {
	if len(token) != 43 {
		return bigFile{}, web.Fail(http.StatusNotFound, "webmail.files.gone", errors.New("no such link"))
	}
	f, err := s.scanBig(s.db.QueryRow(ctx, "SELECT "+bigColumns+" FROM mail_file WHERE token = $1 AND ends > $2 AND state = 'ready'", secret.Hash(token), s.now().UnixMicro()).Scan)
	if errors.Is(err, db.ErrNotFound) {
		return f, web.Fail(http.StatusNotFound, "webmail.files.gone", errors.New("no such link"))
	}
	return f, err
}

// showGuest answers GET /f/{token}: what can be downloaded, to whoever has the link.
func (s *service) showGuest(w http.ResponseWriter, r *http.Request) error {
	f, err := s.guestFile(r.Context(), r.PathValue("token"))
	if err != nil {
		return err
	}
	return s.guestPage(w, r, http.StatusOK, f, "")
}

func (s *service) guestPage(w http.ResponseWriter, r *http.Request, status int, f bigFile, wrong string) error {
	l := web.Lang(r.Context())
	page := &templates.WebmailGuest{Layout: templates.Layout{Title: f.about.Name, Bare: true, CSS: []string{"webmail.css"}}, Name: f.about.Name, Size: fileSize(l, f.size), From: f.about.From,
		Ends: f.ends.In(s.location), Code: f.about.Code != "", Unseen: f.about.Unseen, Error: wrong, Action: "/f/" + f.about.Token}
	w.Header().Set("X-Robots-Tag", "noindex")
	return web.Render(w, r, status, page)
}

// giveFile answers POST /f/{token} and GET /f/{token}/file, of a link without a
// code: the file itself.
func (s *service) giveFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := s.guestFile(ctx, r.PathValue("token"))
	if err != nil {
		return err
	}
	if f.about.Code != "" && r.Method != http.MethodPost {
		return web.Redirect(w, r, "/f/"+f.about.Token)
	}
	if key, status, err := s.codeOpens(ctx, "mail_file", f.id, f.about.Code, web.Field(r, "code"), f.unlocks); err != nil {
		return err
	} else if key != "" {
		return s.guestPage(w, r, status, f, key)
	}
	return s.serveFile(w, r, f)
}

// codeOpens checks the code that closes a link, of the table that it stands in; key is
// the sentence for a wrong one, "" when it is right or none is needed.
func (s *service) codeOpens(ctx context.Context, table, id, code, given string, unlocks int64) (key string, status int, err error) {
	switch {
	case code == "":
	case unlocks > s.now().UnixMicro():
		return "webmail.files.locked", http.StatusTooManyRequests, nil
	case !secret.Equal(strings.TrimSpace(given), code):
		_, err := s.db.Exec(ctx, "UPDATE "+table+" SET wrong = CASE WHEN wrong + 1 >= $1 THEN 0 ELSE wrong + 1 END, unlocks = CASE WHEN wrong + 1 >= $1 THEN $2 ELSE unlocks END WHERE id = $3",
			wrongCodes, s.now().Add(lockedFor).UnixMicro(), id)
		return "webmail.files.wrongcode", http.StatusForbidden, err
	}
	return "", 0, nil
}

// serveFile sends the bytes, and counts who begins to take them.
func (s *service) serveFile(w http.ResponseWriter, r *http.Request, f bigFile) error {
	ctx := r.Context()
	content, err := s.large.Open(ctx, f.id)
	if err != nil {
		return fmt.Errorf("open a large file: %w", err)
	}
	defer content.Close()
	if first := r.Header.Get("Range"); r.Method != http.MethodHead && (first == "" || strings.HasPrefix(first, "bytes=0-")) {
		if _, err := s.db.Exec(ctx, "UPDATE mail_file SET downloads = downloads + 1, wrong = 0 WHERE id = $1", f.id); err != nil {
			return err
		}
	}
	s.fileHeaders(w, "application/octet-stream", f.about.Name, false)
	control := http.NewResponseController(w)
	http.ServeContent(&slowly{w, control}, r, "", f.created, content)
	return nil
}

// slowly gives the browser time for each piece of a large file.
type slowly struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (s *slowly) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		_ = s.control.SetWriteDeadline(time.Now().Add(2 * time.Minute))
		n, err := s.ResponseWriter.Write(b[:min(len(b), downloadChunk)])
		written, b = written+n, b[n:]
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
