package webmail

import (
	"archive/zip"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"beffroi/internal/web"
)

// allFiles answers GET /mail/{box}/{ref}/files.zip: every attachment in one file,
// as they were sent. It is made while it is read: nothing is kept.
func (s *service) allFiles(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	return s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		if len(m.body.attachments) == 0 {
			return fmt.Errorf("%w: no attachments", errGone)
		}
		name := strings.TrimSpace(cleanFilename(m.header.text("subject")))
		if name == "" {
			name = "message"
		}
		s.fileHeaders(w, "application/zip", shorten(name, 80)+".zip", false)
		archive := zip.NewWriter(&patientWriter{w, http.NewResponseController(w)})
		taken := map[string]bool{}
		for _, p := range m.body.attachments {
			entry, err := archive.CreateHeader(&zip.FileHeader{Name: unlike(taken, attachmentName(p, web.Lang(ctx))), Method: zip.Store, Modified: m.header.date(m.received)})
			if err == nil {
				_, err = io.Copy(entry, s.content(ctx, who, m, p))
			}
			if err != nil {
				// Half an archive must not look like a whole one.
				s.log.WarnContext(ctx, "archive of attachments broke off", "error", err)
				panic(http.ErrAbortHandler)
			}
		}
		if err := archive.Close(); err != nil {
			panic(http.ErrAbortHandler)
		}
		return nil
	})
}

// unlike is a name that no other file of an archive has, in any case of letters.
func unlike(taken map[string]bool, name string) string {
	name = strings.ReplaceAll(cleanFilename(name), "/", "_")
	if name == "" || name == "." || name == ".." {
		name = "file"
	}
	extension := path.Ext(name)
	for n, free := 2, name; ; n++ {
		if !taken[strings.ToLower(free)] {
			taken[strings.ToLower(free)] = true
			return free
		}
		free = fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(name, extension), n, extension)
	}
}

// patientWriter gives the browser time for each piece.
type patientWriter struct {
	io.Writer
	control *http.ResponseController
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(time.Minute))
	return p.Writer.Write(b)
}
