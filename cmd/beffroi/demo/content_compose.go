package demo

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"golang.org/x/text/encoding/charmap"
)

// written is a letter with its persons and time filled in.
type written struct {
	letter
	from      correspondent
	to, cc    []correspondent
	when      time.Time
	id        string
	answersID string
}

// compose writes RFC 5322. Boundaries come from the Message-ID: the same
// letter is the same bytes at each start, dates aside.
func compose(m written) []byte {
	var b bytes.Buffer
	head := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	if m.folder == "" {
		head("Return-Path", "<"+m.from.address+">")
		head("Received", "from relais.academie.test (relais.academie.test [192.0.2.25])\r\n\tby mail.academie.test with ESMTPS; "+m.when.Format(time.RFC1123Z))
	}
	date := m.date
	if date == "" {
		date = m.when.Format(time.RFC1123Z)
	}
	head("Date", date)
	head("From", address(m.from))
	head("To", addresses(m.to))
	if len(m.cc) > 0 {
		head("Cc", addresses(m.cc))
	}
	head("Subject", encodeSubject(m.subject, m.latin1))
	head("Message-ID", "<"+m.id+">")
	if m.answersID != "" {
		head("In-Reply-To", "<"+m.answersID+">")
		head("References", "<"+m.answersID+">")
	}
	for _, line := range m.headers {
		b.WriteString(line + "\r\n")
	}
	head("MIME-Version", "1.0")
	m.body().write(&b, boundaryOf(m.id))
	return b.Bytes()
}

func address(c correspondent) string {
	return (&mail.Address{Name: c.name, Address: c.address}).String()
}

func addresses(list []correspondent) string {
	var out []string
	for _, c := range list {
		out = append(out, address(c))
	}
	return strings.Join(out, ",\r\n\t")
}

// encodeSubject writes RFC 2047 words, one a line.
func encodeSubject(s string, latin1 bool) string {
	if latin1 {
		return strings.ReplaceAll(mime.QEncoding.Encode("iso-8859-1", string(toLatin1(s))), "?= =?", "?=\r\n =?")
	}
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

func toLatin1(s string) []byte {
	out, err := charmap.ISO8859_1.NewEncoder().Bytes([]byte(strings.NewReplacer("’", "'", "–", "-", "œ", "oe", "…", "...").Replace(s)))
	if err != nil {
		return []byte(s)
	}
	return out
}

func boundaryOf(id string) string { return fmt.Sprintf("=_beffroi_%08x", hashOf(id)) }

// part is a node of the MIME tree: either kids or data.
type part struct {
	media   string
	headers []string
	data    []byte
	base64  bool
	kids    []*part
}

// body builds the usual tree: mixed(related(alternative(text, html), inline…), files…),
// leaving out every level that would hold one thing.
func (m written) body() *part {
	charset := "utf-8"
	if m.latin1 {
		charset = "iso-8859-1"
	}
	text := func(kind, s string) *part {
		data := []byte(strings.ReplaceAll(strings.TrimSpace(s)+"\n", "\n", "\r\n"))
		if m.latin1 {
			data = toLatin1(string(data))
		}
		return &part{media: "text/" + kind + "; charset=" + charset, data: data}
	}
	var whole *part
	if m.text != "" || m.html == "" {
		whole = text("plain", m.text)
	}
	if m.html != "" {
		html := text("html", m.html)
		if whole == nil {
			whole = html
		} else {
			whole = &part{media: "multipart/alternative", kids: []*part{whole, html}}
		}
	}
	// An invitation is shown by mail readers when it stands beside the text (RFC 6047 §2.4).
	var files []*part
	for _, f := range m.files {
		if f.method != "" {
			invitation := &part{media: "text/calendar; charset=utf-8; method=" + f.method, data: f.data}
			if !strings.HasPrefix(whole.media, "multipart/alternative") {
				whole = &part{media: "multipart/alternative", kids: []*part{whole}}
			}
			whole.kids = append(whole.kids, invitation)
		}
		files = append(files, f.part())
	}
	if len(m.inline) > 0 {
		whole = &part{media: "multipart/related", kids: []*part{whole}}
		for _, f := range m.inline {
			whole.kids = append(whole.kids, f.part())
		}
	}
	if len(files) > 0 {
		whole = &part{media: "multipart/mixed", kids: append([]*part{whole}, files...)}
	}
	return whole
}

func (f attachment) part() *part {
	p := &part{media: f.media, data: f.data, base64: true}
	if f.media == "message/rfc822" {
		p.base64 = false // RFC 2046 §5.2.1 allows no encoding there
	}
	disposition := "attachment"
	if f.cid != "" {
		disposition = "inline"
		p.headers = append(p.headers, "Content-ID: <"+f.cid+">")
	}
	if f.name != "" {
		p.headers = append(p.headers, "Content-Disposition: "+mime.FormatMediaType(disposition, map[string]string{"filename": f.name}))
	}
	return p
}

func (p *part) write(b *bytes.Buffer, boundary string) {
	if len(p.kids) > 0 {
		fmt.Fprintf(b, "Content-Type: %s; boundary=%q\r\n\r\n", p.media, boundary)
		for i, kid := range p.kids {
			fmt.Fprintf(b, "--%s\r\n", boundary)
			kid.write(b, fmt.Sprintf("%s_%d", boundary, i))
			b.WriteString("\r\n")
		}
		fmt.Fprintf(b, "--%s--\r\n", boundary)
		return
	}
	fmt.Fprintf(b, "Content-Type: %s\r\n", p.media)
	for _, h := range p.headers {
		b.WriteString(h + "\r\n")
	}
	switch {
	case p.base64:
		b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		encoded := base64.StdEncoding.EncodeToString(p.data)
		for len(encoded) > 76 {
			b.WriteString(encoded[:76] + "\r\n")
			encoded = encoded[76:]
		}
		b.WriteString(encoded)
	case strings.HasPrefix(p.media, "message/"):
		b.WriteString("\r\n")
		b.Write(p.data)
	default:
		b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
		w := quotedprintable.NewWriter(b)
		_, _ = w.Write(p.data)
		_ = w.Close()
	}
}
