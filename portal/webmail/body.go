package webmail

import (
	"strings"

	"beffroi/internal/i18n"
)

// body is what a message says and what it carries, chosen from its parts.
type body struct {
	html, plain *part            // the two forms of the text, either may be nil
	more        []*part          // further texts shown below the first one
	attachments []*part          // what is offered to download
	byID        map[string]*part // images that the HTML names by cid:
}

// pickBody walks the parts in the order of the message: the first text is the
// text, its alternatives beside it, everything else is attached.
func pickBody(root *part) body {
	b := body{byID: map[string]*part{}}
	b.walk(root, "")
	return b
}

func (b *body) walk(p *part, within string) {
	if p.multipart() {
		kind := strings.TrimPrefix(p.mediaType, "multipart/")
		if kind == "alternative" {
			b.alternatives(p)
			return
		}
		for _, child := range p.children {
			b.walk(child, kind)
		}
		return
	}
	if p.id != "" {
		if _, taken := b.byID[p.id]; !taken {
			b.byID[p.id] = p
		}
	}
	readable := p.mediaType == "text/plain" || p.mediaType == "text/html"
	switch {
	case readable && p.disposition != "attachment" && b.html == nil && b.plain == nil:
		b.take(p)
	case readable && p.disposition != "attachment" && p.filename == "" && len(b.more) < 10:
		b.more = append(b.more, p)
	case within == "related" && p.id != "" && strings.HasPrefix(p.mediaType, "image/") && p.disposition != "attachment":
		// shown where the HTML names it
	case p.mediaType == "application/pgp-signature" || p.mediaType == "application/pkcs7-signature" || p.mediaType == "application/x-pkcs7-signature":
		// nothing a person downloads; the source has it
	default:
		b.attachments = append(b.attachments, p)
	}
}

// alternatives takes one plain and one rich form. Outside them (a calendar
// invitation) lies what is attached.
func (b *body) alternatives(p *part) {
	if b.html != nil || b.plain != nil { // a second text: show its plain form
		inner := pickBody(&part{mediaType: "multipart/mixed", children: p.children})
		if inner.plain != nil {
			b.more = append(b.more, inner.plain)
		} else if inner.html != nil {
			b.more = append(b.more, inner.html)
		}
		return
	}
	for _, child := range p.children {
		inner := body{byID: b.byID}
		inner.walk(child, "")
		if inner.html != nil {
			b.html = inner.html // the last one is the richest (RFC 2046 §5.1.4)
		}
		if inner.plain != nil && b.plain == nil {
			b.plain = inner.plain
		}
		b.attachments = append(b.attachments, inner.attachments...)
	}
}

func (b *body) take(p *part) {
	if p.mediaType == "text/html" {
		b.html = p
	} else {
		b.plain = p
	}
}

// decodeText is a text part's content as UTF-8, from the bytes at hand.
func decodeText(p *part) string { return decodeTextOf(p, p.body) }

func decodeTextOf(p *part, transferred []byte) string {
	content := p.decoded(transferred)
	name := p.params["charset"]
	if name == "" && p.mediaType == "text/html" {
		name = metaCharset(content)
	}
	text := decodeCharset(content, name)
	text = strings.TrimPrefix(text, "\ufeff")
	return strings.ReplaceAll(text, "\x00", "")
}

// metaCharset is what an HTML document says of itself in its first bytes.
func metaCharset(content []byte) string {
	head := strings.ToLower(string(content[:min(len(content), 1024)]))
	i := strings.Index(head, "charset=")
	if i < 0 {
		return ""
	}
	name := strings.Trim(head[i+len("charset="):], `"' `)
	if end := strings.IndexAny(name, `"' />;`); end >= 0 {
		name = name[:end]
	}
	return name
}

// flowed tells whether a text part is format=flowed (RFC 3676).
func flowed(p *part) bool { return strings.EqualFold(p.params["format"], "flowed") }

// attachmentName is what a part without a name is called.
func attachmentName(p *part, l i18n.Lang) string {
	if p.filename != "" {
		return p.filename
	}
	extension := map[string]string{"message/rfc822": ".eml", "message/global": ".eml", "text/calendar": ".ics", "text/plain": ".txt",
		"text/html": ".html", "application/pdf": ".pdf", "image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif",
		"message/delivery-status": ".txt"}[p.mediaType]
	if strings.HasPrefix(p.mediaType, "message/") {
		return i18n.T(l, "webmail.attachment.message") + extension
	}
	return i18n.T(l, "webmail.attachment.unnamed", "section", p.section()) + extension
}
