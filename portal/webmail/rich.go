package webmail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	nethtml "golang.org/x/net/html"

	"beffroi/portal"
)

// What people write is rich text of few elements: the editor offers them, and
// nothing else is kept of what they paste or answer. It stands in the portal's own
// page while it is written, so it is narrower than what a message may show.
var written = set(`a b blockquote br code div em h1 h2 h3 hr i li ol p pre s strong u ul`)

const (
	maxWritten = 14 << 20 // bytes of what is written, pictures included
	quoteStyle = `style="margin:0 0 0 0.5em;padding:0 0 0 0.8em;border-left:2px solid #b0b0b0"`
)

// editable makes HTML safe to stand in the editor: elements of written, links to
// the web and to addresses, and pictures as data: URLs. Nothing has a style, a
// class or a name.
func editable(source string, inline func(cid string) (string, []byte)) string {
	return sanitizeFrom(source, sources{inline: inline, narrow: true}).Body
}

// writtenLink is where a link of a written message may lead.
func writtenLink(address string) string {
	if target, host := linkTarget(address, ""); host != "" {
		return target
	}
	u, err := url.Parse(address)
	if err != nil || !strings.EqualFold(u.Scheme, "mailto") {
		return ""
	}
	name, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return ""
	}
	mail, ok := validMail(name)
	if !ok {
		return ""
	}
	return "mailto:" + url.PathEscape(mail)
}

// richText is written text as the editor begins with it, one line a block.
func richText(text string) string {
	var out strings.Builder
	depth := 0
	level := func(to int) {
		for ; depth < to; depth++ {
			out.WriteString("<blockquote>")
		}
		for ; depth > to; depth-- {
			out.WriteString("</blockquote>")
		}
	}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		quotes := 0
		for strings.HasPrefix(line, ">") && quotes < 20 {
			quotes, line = quotes+1, strings.TrimPrefix(line[1:], " ")
		}
		level(quotes)
		if line == "" {
			out.WriteString("<div><br></div>")
		} else {
			out.WriteString("<div>" + html.EscapeString(line) + "</div>")
		}
	}
	level(0)
	return out.String()
}

// plainOf is what HTML of editable says as text: quotes as lines after ">".
func plainOf(markup string) string {
	var out, run strings.Builder
	depth := 0
	flush := func() {
		if strings.TrimSpace(textOf(run.String())) == "" && !strings.Contains(run.String(), "<br") {
			run.Reset()
			return
		}
		prefix := strings.Repeat(">", depth)
		for _, line := range strings.Split(strings.TrimRight(textOf(run.String()), "\n"), "\n") {
			switch {
			case prefix == "":
				out.WriteString(line)
			case line == "":
				out.WriteString(prefix)
			default:
				out.WriteString(prefix + " " + line)
			}
			out.WriteByte('\n')
		}
		run.Reset()
	}
	z := nethtml.NewTokenizer(strings.NewReader(markup))
	for {
		kind := z.Next()
		if kind == nethtml.ErrorToken {
			flush()
			return strings.TrimRight(out.String(), "\n") + "\n"
		}
		raw := string(z.Raw())
		name, _ := z.TagName()
		switch {
		case string(name) == "blockquote" && kind == nethtml.StartTagToken:
			flush()
			depth++
		case string(name) == "blockquote" && kind == nethtml.EndTagToken:
			flush()
			depth = max(0, depth-1)
		default:
			run.WriteString(strings.ReplaceAll(strings.ReplaceAll(raw, "\u00a0", " "), "&nbsp;", " ")) // the editor's, where two spaces meet
		}
	}
}

// editableBody is what a message says, for the editor.
func (s *service) editableBody(ctx context.Context, who owner, m *message) (string, error) {
	if m.body.html == nil {
		text, err := s.plainText(ctx, who, m)
		return richText(cleanText(text)), err
	}
	source, _, err := s.textContent(ctx, who, m, m.body.html, maxDocument)
	if err != nil {
		return "", err
	}
	carried, err := s.inlineImages(ctx, who, m, source)
	if err != nil {
		return "", err
	}
	return editable(source, m.inline(carried)), nil
}

// writtenPicture is a picture in HTML of editable.
var writtenPicture = regexp.MustCompile(`<img src="data:(image/[a-z]+);base64,([A-Za-z0-9+/=]+)"`)

// picture is one that a message carries where its text shows it.
type picture struct {
	id string // without < and >
	file
}

// wire is written HTML as it is sent: pictures by cid: (RFC 2392), and quotes that
// every program shows as such.
func wire(markup, host string) (document string, pictures []picture) {
	known := map[string]bool{}
	body := writtenPicture.ReplaceAllStringFunc(markup, func(tag string) string {
		m := writtenPicture.FindStringSubmatch(tag)
		content, err := base64.StdEncoding.DecodeString(m[2])
		if err != nil {
			return "<img"
		}
		sum := sha256.Sum256(content)
		id := hex.EncodeToString(sum[:12]) + "@" + host
		if !known[id] {
			known[id] = true
			pictures = append(pictures, picture{id, file{"image." + strings.TrimPrefix(m[1], "image/"), m[1], content}})
		}
		return `<img style="max-width:100%;height:auto" src="cid:` + id + `"`
	})
	body = strings.ReplaceAll(body, "<blockquote>", "<blockquote "+quoteStyle+">")
	return "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>" + body + "</body></html>\n", pictures
}

// writeRich writes the two forms of the text, the rich one last (RFC 2046 §5.1.4),
// with its pictures beside it (RFC 2387).
func (o *outgoing) writeRich(b *bytes.Buffer) {
	_, host, _ := strings.Cut(o.from.mail, "@")
	if host == "" {
		host = "localhost"
	}
	document, pictures := wire(o.html, host)
	alternative, related := "beffroi-a-"+o.id, "beffroi-r-"+o.id
	b.WriteString("Content-Type: multipart/alternative; boundary=\"" + alternative + "\"\r\n\r\n--" + alternative + "\r\n")
	writeText(b, "plain", o.text)
	b.WriteString("\r\n--" + alternative + "\r\n")
	if len(pictures) == 0 {
		writeText(b, "html", document)
	} else {
		b.WriteString("Content-Type: multipart/related; type=\"text/html\"; boundary=\"" + related + "\"\r\n\r\n--" + related + "\r\n")
		writeText(b, "html", document)
		for _, p := range pictures {
			b.WriteString("\r\n--" + related + "\r\nContent-ID: <" + p.id + ">\r\n")
			writeFile(b, p.file, "inline")
		}
		b.WriteString("\r\n--" + related + "--\r\n")
	}
	b.WriteString("\r\n--" + alternative + "--\r\n")
}

// formatting is what text alone cannot say.
var formatting = regexp.MustCompile(`<(?:a|b|code|em|h1|h2|h3|hr|i|img|ol|pre|s|strong|u|ul)[ >]`)

// unformatted tells whether HTML of editable is lines and quotes only.
func unformatted(markup string) bool { return !formatting.MatchString(markup) }

// richOf takes what was written in the editor from the form: clean HTML, and as
// text. Pictures that are too large are a problem, not lost in silence.
func richOf(source string) (markup, text string, wrong *problem) {
	if len(source) > maxWritten {
		return "", "", &problem{key: "webmail.compose.pictures", field: "files", status: http.StatusRequestEntityTooLarge, cause: errTooBig}
	}
	markup = editable(source, nil)
	if strings.Count(markup, "<img ") < strings.Count(source, "<img ") {
		wrong = &problem{key: "webmail.compose.pictures", field: "files", status: http.StatusRequestEntityTooLarge, cause: errors.New("a picture is too large, or is none")}
	}
	if len(writtenPicture.ReplaceAllString(markup, "")) > maxText {
		wrong = first(wrong, &problem{key: "webmail.compose.toolong", status: http.StatusUnprocessableEntity, cause: errors.New("text too long")})
	}
	return markup, cleanText(plainOf(markup)), wrong
}

// plainly tells whether a person writes plain text.
func (s *service) plainly(ctx context.Context) bool {
	value, err := s.host.Preference(ctx, preferPlain)
	if err != nil && !errors.Is(err, portal.ErrSignedOut) {
		s.log.InfoContext(ctx, "preference not read", "error", err)
	}
	return value == "1"
}

const preferPlain = "webmail.plain"
