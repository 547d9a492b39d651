package webmail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strconv"
	"strings"
	"time"
)

// outgoing is a message as it was written, before it is bytes.
type outgoing struct {
	id          string // of the composition: [a-z0-9]{26}; the Message-ID is made of it
	from        address
	as          string // key of the identity
	sender      string // address that stands in Sender, "" when it is From's
	replyTo     string
	sent        string // mailbox for the copy, "" for one's own
	to, cc, bcc []address
	subject     string
	text        string
	html        string   // of editable; "" for plain text
	inReplyTo   string   // <…> or ""
	references  []string // <…>
	source      string   // path of the message answered or forwarded, "" when new
	kind        string   // "reply", "forward" or ""
	files       []file
	remind      int               // days after which the writer hears when no answer came
	receipt     bool              // a receipt of reading is asked for
	links       []string          // large files that go along as links: for drafts
	whole       bool              // every attachment could be read
	typed       map[string]string // "to", "cc", "bcc" as typed, where it is not addresses yet: for drafts
}

// file is one attachment.
type file struct {
	name      string
	mediaType string
	content   []byte
}

func (o *outgoing) recipients() []string {
	var all []string
	seen := map[string]bool{}
	for _, list := range [][]address{o.to, o.cc, o.bcc} {
		for _, a := range list {
			if !seen[a.mail] {
				seen[a.mail] = true
				all = append(all, a.mail)
			}
		}
	}
	return all
}

// messageID is the same for every attempt to send this composition.
func (o *outgoing) messageID() string {
	_, host, ok := strings.Cut(o.from.mail, "@")
	if !ok || host == "" {
		host = "localhost"
	}
	return "<" + o.id + "@" + host + ">"
}

// bytes is the message for the wire. A draft carries what the composition
// needs to go on (Bcc and where it came from); a sent message does not.
func (o *outgoing) bytes(at time.Time, draft bool) []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	field("Date", at.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	field("From", wireAddresses([]address{o.from}))
	if o.sender != "" {
		field("Sender", "<"+o.sender+">")
	}
	if o.replyTo != "" {
		field("Reply-To", "<"+o.replyTo+">")
	}
	field("To", o.recipientsField("to", o.to, draft))
	field("Cc", o.recipientsField("cc", o.cc, draft))
	if draft {
		field("Bcc", o.recipientsField("bcc", o.bcc, draft))
		field("X-Beffroi-Composition", o.id)
		if o.source != "" {
			field("X-Beffroi-Source", wireText(o.kind+" "+o.source))
		}
		field("X-Beffroi-Identity", wireText(o.as))
		if o.remind > 0 {
			field("X-Beffroi-Reminder", strconv.Itoa(o.remind))
		}
		field("X-Beffroi-Links", strings.Join(o.links, "\r\n "))
	}
	if o.receipt {
		field("Disposition-Notification-To", wireAddresses([]address{o.from}))
	}
	field("Subject", wireText(o.subject))
	field("Message-ID", o.messageID())
	field("In-Reply-To", o.inReplyTo)
	references := o.references
	if len(references) > 20 { // the first, and the nearest
		references = append(references[:1:1], references[len(references)-19:]...)
	}
	field("References", strings.Join(references, "\r\n "))
	field("MIME-Version", "1.0")
	if len(o.files) == 0 {
		o.writeBody(&b)
		return b.Bytes()
	}
	boundary := "beffroi-" + o.id
	b.WriteString("Content-Type: multipart/mixed; boundary=\"" + boundary + "\"\r\n\r\n--" + boundary + "\r\n")
	o.writeBody(&b)
	for _, f := range o.files {
		b.WriteString("\r\n--" + boundary + "\r\n")
		writeFile(&b, f, "attachment")
	}
	b.WriteString("\r\n--" + boundary + "--\r\n")
	return b.Bytes()
}

func (o *outgoing) recipientsField(name string, list []address, draft bool) string {
	if typed := o.typed[name]; typed != "" && draft {
		return wireText(typed)
	}
	return wireAddresses(list)
}

// writeBody writes what is said, in one form or two.
func (o *outgoing) writeBody(b *bytes.Buffer) {
	if o.html != "" {
		o.writeRich(b)
		return
	}
	writeText(b, "plain", o.text)
}

func writeText(b *bytes.Buffer, kind, text string) {
	b.WriteString("Content-Type: text/" + kind + "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	text = strings.ReplaceAll(text, "\r\n", "\n")
	_, _ = w.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	_ = w.Close()
	if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
		b.WriteString("\r\n")
	}
}

func writeFile(b *bytes.Buffer, f file, how string) {
	kind := f.mediaType
	if !validMediaType(kind) || strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/") {
		kind = "application/octet-stream"
	}
	// mime.FormatMediaType writes names beyond ASCII as RFC 2231 says and
	// quotes the others; a name cannot end the line.
	disposition := mime.FormatMediaType(how, map[string]string{"filename": cleanFilename(f.name)})
	if disposition == "" {
		disposition = how
	}
	b.WriteString("Content-Type: " + kind + "\r\nContent-Disposition: " + foldParameters(disposition) + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	encoded := base64.StdEncoding.EncodeToString(f.content)
	for len(encoded) > 76 {
		b.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	b.WriteString(encoded + "\r\n")
}

func foldParameters(s string) string { return strings.ReplaceAll(s, "; ", ";\r\n ") }

// wireText encodes a header value. Line ends became spaces in cleanLine: what
// a person types never makes a header of its own.
func wireText(s string) string {
	encoded := mime.QEncoding.Encode("utf-8", cleanLine(s))
	if strings.HasPrefix(encoded, "=?") {
		return strings.ReplaceAll(encoded, "?= =?", "?=\r\n =?")
	}
	return foldWords(encoded)
}

// foldWords breaks a long value at spaces (RFC 5322 §2.1.1: 998 at most, 78
// better).
func foldWords(s string) string {
	var out strings.Builder
	line := 12
	for i, word := range strings.Split(s, " ") {
		if i > 0 {
			if line+len(word) > 74 && word != "" {
				out.WriteString("\r\n")
				line = 0
			}
			out.WriteByte(' ')
		}
		for len(word) > 900 {
			out.WriteString(word[:900] + "\r\n ")
			word = word[900:]
		}
		out.WriteString(word)
		line += len(word) + 1
	}
	return out.String()
}

func wireAddresses(list []address) string {
	words := make([]string, 0, len(list))
	for _, a := range list {
		if a.mail == "" {
			continue
		}
		words = append(words, wireAddress(a))
	}
	return strings.Join(words, ",\r\n ")
}

func wireAddress(a address) string {
	name := cleanLine(a.name)
	switch {
	case name == "":
		return "<" + a.mail + ">"
	case !isASCII(name) || strings.Contains(name, "=?"):
		// B has no character that a phrase may not hold.
		return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", forceEncode(name)), "?= =?", "?=\r\n =?") + " <" + a.mail + ">"
	}
	return fmt.Sprintf(`"%s" <%s>`, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name), a.mail)
}

// forceEncode makes sure that the encoder sees something to encode: a name
// that looks like an encoded word must not be decoded by the reader.
func forceEncode(name string) string {
	if isASCII(name) {
		return strings.ReplaceAll(name, "=?", "= ?")
	}
	return name
}
