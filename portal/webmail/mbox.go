package webmail

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/web"
	"beffroi/templates"
)

// A mailbox goes out as one mbox file (RFC 4155, "From " lines quoted with ">"), and
// files of other programs come in: mbox, or single messages.

const (
	importMost = 100 << 20 // bytes of one file
	importOne  = 40 << 20  // of one message
)

// exportBox answers GET /mail/{box}/export: every message of a mailbox, made while
// it is read.
func (s *service) exportBox(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	box := unslug(r.PathValue("box"))
	return s.with(ctx, func(who owner) error {
		var validity uint32
		var uids []imap.UID
		err := s.pools.Do(ctx, who, box, reads, func(c *conn) error {
			if _, err := c.open(box, true); err != nil {
				return err
			}
			validity = c.validity
			found, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
			if err == nil {
				uids = found.AllUIDs()
				slices.Sort(uids)
			}
			return err
		})
		if err != nil {
			return err
		}
		s.fileHeaders(w, "application/mbox", cleanFilename(strings.ReplaceAll(box, "/", "-"))+".mbox", false)
		out := bufio.NewWriterSize(&patientWriter{w, http.NewResponseController(w)}, 64<<10)
		for _, uid := range uids {
			err := s.exportOne(ctx, who, ref{box, validity, uid}, out)
			if errors.Is(err, errGone) {
				continue // thrown away meanwhile
			}
			if err != nil { // half a file must not look like a whole one
				s.log.WarnContext(ctx, "export of a mailbox broke off", "error", err)
				panic(http.ErrAbortHandler)
			}
		}
		if err := out.Flush(); err != nil {
			panic(http.ErrAbortHandler)
		}
		return nil
	})
}

func (s *service) exportOne(ctx context.Context, who owner, at ref, out *bufio.Writer) error {
	source := &chunks{s: s, ctx: ctx, who: who, ref: at}
	in := bufio.NewReaderSize(source, 32<<10)
	if _, err := in.Peek(1); err != nil && err != io.EOF {
		return err
	}
	if _, err := fmt.Fprintf(out, "From MAILER-DAEMON %s\n", s.now().UTC().Format(time.ANSIC)); err != nil {
		return err
	}
	begun := true // of a line
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			if begun && fromLine(line) {
				_ = out.WriteByte('>')
			}
			begun = err == nil
			if begun { // CRLF to LF
				line = append(bytes.TrimRight(line[:len(line)-1], "\r"), '\n')
			}
			if _, err := out.Write(line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			_, err := out.WriteString("\n\n")
			return err
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}

// fromLine tells whether a line must be quoted: "From " after any number of ">".
func fromLine(line []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) }

// showImport answers GET /mail/import.
func (s *service) showImport(w http.ResponseWriter, r *http.Request) error {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	bad, _ := strconv.Atoi(r.URL.Query().Get("bad"))
	return s.importPage(w, r, http.StatusOK, &templates.WebmailImport{Done: r.URL.Query().Has("n"), N: n, Bad: bad})
}

func (s *service) importPage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailImport) error {
	ctx := r.Context()
	var err error
	var folders []mailbox
	if page.Layout, page.Folders, folders, err = s.settingsParts(ctx, "webmail.import.title"); err != nil {
		return err
	}
	for _, m := range folders {
		if m.openable {
			page.Boxes = append(page.Boxes, templates.MailChoice{Value: slug(m.name), Label: roleLabel(web.Lang(ctx), m), On: m.role == roleArchive})
		}
	}
	page.Most = fileSize(web.Lang(ctx), importMost)
	return web.Render(w, r, status, page)
}

// postImport answers POST /mail/import, a form with the file file and the mailbox to.
func (s *service) postImport(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	reader, err := r.MultipartReader()
	if err != nil {
		return web.Fail(http.StatusBadRequest, "webmail.error.form", err)
	}
	control := http.NewResponseController(w)
	to, n, bad := "", 0, 0
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return importFailure(err)
		}
		switch part.FormName() {
		case "to":
			name, err := io.ReadAll(io.LimitReader(part, 2000))
			if err != nil {
				return importFailure(err)
			}
			to = unslug(string(name))
		case "file":
			if to == "" || part.FileName() == "" {
				return s.importPage(w, r, http.StatusUnprocessableEntity, &templates.WebmailImport{Error: "webmail.import.nofile"})
			}
			err := eachMessage(part, func(raw []byte) error {
				_ = control.SetReadDeadline(time.Now().Add(time.Minute))
				_ = control.SetWriteDeadline(time.Now().Add(2 * time.Minute))
				if !looksLikeMail(raw) {
					bad++
					return nil
				}
				n++
				return s.with(ctx, func(who owner) error {
					_, err := s.append(ctx, who, to, raw, []imap.Flag{imap.FlagSeen})
					return err
				})
			})
			switch {
			case err == nil:
			case n > 0: // what has come in stays, and is said
				s.log.InfoContext(ctx, "import broke off", "error", err, "messages", n-1)
				s.badges.forget(s.person(ctx).Sub)
				return s.importPage(w, r, http.StatusUnprocessableEntity, &templates.WebmailImport{Error: "webmail.import.broke", N: n - 1})
			case errors.Is(err, errTooLarge):
				return s.importPage(w, r, http.StatusUnprocessableEntity, &templates.WebmailImport{Error: "webmail.import.one"})
			default:
				return importFailure(err)
			}
		}
	}
	if n == 0 && bad == 0 {
		return s.importPage(w, r, http.StatusUnprocessableEntity, &templates.WebmailImport{Error: "webmail.import.nofile"})
	}
	s.badges.forget(s.person(ctx).Sub)
	return web.Redirect(w, r, "/mail/import?n="+strconv.Itoa(n)+"&bad="+strconv.Itoa(bad))
}

func importFailure(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return web.Fail(http.StatusRequestEntityTooLarge, "webmail.import.toobig", err)
	}
	return err
}

// looksLikeMail tells whether bytes begin with a header.
func looksLikeMail(raw []byte) bool {
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(raw[:min(len(raw), 256<<10)]))).ReadMIMEHeader()
	if err != nil && len(h) == 0 {
		return false
	}
	return h.Get("From") != "" || h.Get("Subject") != "" || h.Get("Received") != "" || h.Get("Date") != ""
}

var errTooLarge = errors.New("a message of the file is too large")

// eachMessage cuts a file into messages: an mbox at its "From " lines, anything
// else is one message. Line ends become those of mail.
func eachMessage(r io.Reader, do func(raw []byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	first, _ := in.Peek(5)
	mbox := string(first) == "From "
	var raw bytes.Buffer
	flush := func() error {
		text := bytes.TrimRight(raw.Bytes(), "\r\n")
		defer raw.Reset()
		if len(text) == 0 {
			return nil
		}
		return do(append(bytes.Clone(text), "\r\n"...))
	}
	begun, blank := true, true // of a line; the line before was empty
	for {
		line, err := in.ReadSlice('\n')
		whole := err == nil
		switch {
		case len(line) == 0:
		case mbox && begun && blank && bytes.HasPrefix(line, []byte("From ")):
			if err := flush(); err != nil {
				return err
			}
		default:
			if mbox && begun && line[0] == '>' && fromLine(line) {
				line = line[1:]
			}
			if raw.Len()+len(line) > importOne {
				return errTooLarge
			}
			blank = begun && len(bytes.TrimRight(line, "\r\n")) == 0
			if whole {
				raw.Write(bytes.TrimRight(line, "\r\n"))
				raw.WriteString("\r\n")
			} else {
				raw.Write(line)
			}
		}
		begun = whole
		if err == io.EOF {
			return flush()
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
