package webmail

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// contentStyle dresses the mail document: it has no other style sheet of ours.
var contentStyle = sync.OnceValue(func() string {
	b, _ := templates.Static.ReadFile("static/mailcontent.css")
	return string(b)
})

// document is the HTML of a message as a page of its own. The policy makes it
// an origin of nobody, without script, forms or any fetch; only its own style
// and the pictures it carries are left.
func (s *service) document(w http.ResponseWriter, r *http.Request) error {
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	print := r.URL.Query().Has("print")
	if s.apart() {
		return s.away(w, r, aDocument, ticket{Message: at.path(), Print: print})
	}
	return s.writeDocument(w, r, at, false, print)
}

// writeDocument: to be printed, a message of plain text is a document too, and
// who wrote what to whom stands above it.
func (s *service) writeDocument(w http.ResponseWriter, r *http.Request, at ref, pictures, print bool) error {
	ctx := r.Context()
	var made sanitized
	err := s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		switch {
		case m.body.html != nil:
			made, err = s.richBody(ctx, who, m, true, pictures)
		case print && m.body.plain != nil:
			var text string
			text, _, err = s.textContent(ctx, who, m, m.body.plain, maxShownText)
			made.Body = "<pre>" + html.EscapeString(text) + "</pre>"
		case !print:
			err = fmt.Errorf("%w: no HTML", errGone)
		}
		if print {
			made.Body = s.printHead(ctx, m) + made.Body
		}
		return err
	})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", s.documentPolicy())
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-store")
	_, err = fmt.Fprintf(w, `<!doctype html><html lang="%s"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>%s</title><style>%s</style><style>%s</style></head><body>%s</body></html>`,
		web.Lang(ctx), html.EscapeString("–"), contentStyle(), made.Style, made.Body)
	return err
}

// printHead is what stands above a message on paper.
func (s *service) printHead(ctx context.Context, m *message) string {
	l := web.Lang(ctx)
	var b strings.Builder
	b.WriteString(`<div class="beffroi-print"><h1>` + html.EscapeString(m.header.text("subject")) + "</h1>")
	line := func(key, value string) {
		if value != "" {
			b.WriteString("<p><b>" + html.EscapeString(i18n.T(l, key)) + "</b> " + html.EscapeString(value) + "</p>")
		}
	}
	line("webmail.head.from", typedList(parseAddresses(m.header.get("from"), 5)))
	line("webmail.head.date", i18n.Date(l, m.header.date(m.received).In(s.location), "datetime"))
	line("webmail.head.to", typedList(parseAddresses(m.header.get("to"), 50)))
	line("webmail.head.cc", typedList(parseAddresses(m.header.get("cc"), 50)))
	var files []string
	for _, p := range m.body.attachments {
		files = append(files, attachmentName(p, l))
	}
	line("webmail.attachments", strings.Join(files, ", "))
	return b.String() + "</div>"
}

// documentPolicy: in a sandboxed document 'self' would be nobody, so origins
// are written out; the portal's own is only there to frame it.
func (s *service) documentPolicy() string {
	pictures, around := "data:", "'self'"
	if s.apart() {
		pictures, around = "data: "+s.contentOrigin, s.portalOrigin
	}
	return "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src " + pictures + "; style-src 'unsafe-inline'; " +
		"form-action 'none'; base-uri 'none'; frame-ancestors " + around
}

// richBody sanitises the message's HTML. With images it carries along the
// pictures that came with the message, and with remote asks for those that did not.
func (s *service) richBody(ctx context.Context, who owner, m *message, images, remote bool) (sanitized, error) {
	source, cut, err := s.textContent(ctx, who, m, m.body.html, maxDocument)
	if err != nil {
		return sanitized{}, err
	}
	var inline func(string) (string, []byte)
	if images {
		carried, err := s.inlineImages(ctx, who, m, source)
		if err != nil {
			return sanitized{}, err
		}
		inline = m.inline(carried)
	}
	from := sources{inline: inline, compose: s.composeAddress(), own: s.ownDomains(ctx)}
	if remote && s.showsPictures() {
		from.fetch = func(address string) string {
			if address = remoteAddress(address); address == "" {
				return ""
			}
			sealed, err := s.sealedAddress(ctx, aPicture, ticket{Message: m.path(), Picture: address})
			if err != nil {
				return ""
			}
			return sealed
		}
	}
	made := sanitizeFrom(source, from)
	made.Cut = made.Cut || cut
	return made, nil
}

func (s *service) composeAddress() string {
	if s.apart() {
		return s.portalOrigin + "/mail/compose"
	}
	return "/mail/compose"
}

// showsPictures tells whether remote pictures can be asked for: only on an
// origin apart, and where the operator has not said no.
func (s *service) showsPictures() bool { return s.apart() && !s.config.Content.NoPictures }

// inlineImages reads the pictures that the HTML names, all in one command, as
// far as they fit in a document.
// inline finds the picture of a cid: (RFC 2392) among those carried, by section.
func (m *message) inline(carried map[string][]byte) func(cid string) (string, []byte) {
	return func(cid string) (string, []byte) {
		if unescaped, err := url.PathUnescape(cid); err == nil {
			cid = unescaped
		}
		if p := m.body.byID[cid]; p != nil {
			return p.mediaType, carried[p.section()]
		}
		return "", nil
	}
}

func (s *service) inlineImages(ctx context.Context, who owner, m *message, source string) (map[string][]byte, error) {
	images := map[string][]byte{}
	var wanted []*part
	room := int64(maxInlineImages)
	for id, p := range m.body.byID {
		if !strings.Contains(source, "cid:"+id) && !strings.Contains(source, "cid:"+url.PathEscape(id)) {
			continue
		}
		if p.whole {
			images[p.section()] = p.decoded(p.body)
		} else if p.size < maxInlineImage*3/2 && room > p.size && len(wanted) < 60 {
			room -= p.size
			wanted = append(wanted, p)
		}
	}
	if len(wanted) == 0 {
		return images, nil
	}
	options := &imap.FetchOptions{UID: true}
	for _, p := range wanted {
		options.BodySection = append(options.BodySection, &imap.FetchItemBodySection{Peek: true, Part: p.path})
	}
	err := s.pools.Do(ctx, who, m.box, reads, func(c *conn) error {
		if err := c.openAt(m.box, m.validity, true); err != nil {
			return err
		}
		found, err := c.Fetch(imap.UIDSetNum(m.uid), options).Collect()
		if err != nil {
			return err
		}
		for _, f := range found {
			for i, p := range wanted {
				if raw := f.FindBodySection(options.BodySection[i]); raw != nil {
					images[p.section()] = p.decoded(raw)
				}
			}
		}
		return nil
	})
	return images, err
}

// download sends an attachment. It is never a page of the portal's: with its
// headers a browser saves it. What browsers show by themselves is shown on the
// origin apart, or, without one, a plain image or text in a sandbox.
func (s *service) download(w http.ResponseWriter, r *http.Request) error {
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	section, view := r.PathValue("section"), r.URL.Query().Get("view") != ""
	if view && s.apart() {
		return s.away(w, r, aPart, ticket{Message: at.path(), Section: section})
	}
	return s.writePart(w, r, at, section, view)
}

func (s *service) writePart(w http.ResponseWriter, r *http.Request, at ref, section string, view bool) error {
	ctx := r.Context()
	return s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		p := m.root.find(section)
		if p == nil {
			return fmt.Errorf("%w: part", errGone)
		}
		content := s.content(ctx, who, m, p)
		kind, inline := "application/octet-stream", false
		first := make([]byte, 64<<10)
		n, err := io.ReadFull(content, first)
		first = first[:n]
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF && n == 0 {
			return err // nothing is written yet: the page can still say it
		}
		if view {
			if raster := rasterType(first); raster != "" {
				kind, inline = raster, true
			} else if s.apart() && bytes.HasPrefix(first, []byte("%PDF-")) {
				kind, inline = "application/pdf", true
			} else if p.mediaType == "text/plain" {
				text, _, err := s.textContent(ctx, who, m, p, 4*maxShownText)
				if err != nil {
					return err
				}
				kind, inline, first, content = "text/plain; charset=utf-8", true, []byte(text), strings.NewReader("")
			}
		}
		s.fileHeaders(w, kind, attachmentName(p, web.Lang(ctx)), inline)
		return s.stream(w, first, content)
	})
}

func (s *service) fileHeaders(w http.ResponseWriter, kind, name string, inline bool) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	policy := "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
	if kind != "application/pdf" || !inline { // browsers show no PDF in a sandbox: it has an origin without anything instead
		policy = "sandbox; " + policy
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-store")
	disposition := "attachment"
	if inline {
		disposition = "inline"
	}
	if v := mime.FormatMediaType(disposition, map[string]string{"filename": name}); v != "" {
		disposition = v
	}
	h.Set("Content-Disposition", disposition)
}

// stream copies, giving the browser time for each piece rather than for the
// whole: 50 MB over a school's line takes longer than any page may.
func (s *service) stream(w http.ResponseWriter, first []byte, rest io.Reader) error {
	control := http.NewResponseController(w)
	buffer := first
	for {
		_ = control.SetWriteDeadline(time.Now().Add(time.Minute))
		if len(buffer) > 0 {
			if _, err := w.Write(buffer); err != nil {
				return nil // the browser left
			}
		}
		if cap(first) < 64<<10 {
			first = make([]byte, 64<<10)
		}
		n, err := rest.Read(first[:cap(first)])
		buffer = first[:n]
		if err == io.EOF && n == 0 {
			return nil
		}
		if err != nil && err != io.EOF {
			// Half a file must not look like a whole one.
			s.log.Warn("attachment broke off", "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}

// source sends the message as it was received.
func (s *service) source(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	return s.with(ctx, func(who owner) error {
		content := &chunks{s: s, ctx: ctx, who: who, ref: at}
		first := make([]byte, 64<<10)
		n, err := io.ReadFull(content, first)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if r.URL.Query().Get("save") != "" {
			s.fileHeaders(w, "message/rfc822", "message.eml", false)
		} else {
			s.fileHeaders(w, "text/plain; charset=utf-8", "message.txt", true)
		}
		return s.stream(w, first[:n], content)
	})
}
