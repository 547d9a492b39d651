package webmail

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"beffroi/internal/web"
	"beffroi/templates"
)

// maxEmbedded is read of a message that is attached to another one.
const maxEmbedded = 8 << 20

// showEmbedded answers GET /mail/{box}/{ref}/message/{section}: a message that is
// attached to another one (RFC 2046 §5.2.1), as text. What is attached to it comes
// with the whole of it, downloaded.
func (s *service) showEmbedded(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	page := &templates.WebmailEmbedded{Back: at.path()}
	err = s.with(ctx, func(who owner) error {
		outer, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		p := outer.root.find(r.PathValue("section"))
		if p == nil || !embedded(p) {
			return fmt.Errorf("%w: no message in section %q", errGone, r.PathValue("section"))
		}
		raw, err := io.ReadAll(io.LimitReader(s.content(ctx, who, outer, p), maxEmbedded))
		if err != nil && len(raw) == 0 {
			return err
		}
		page.Save = at.path() + "/part/" + p.section()
		page.Message, err = s.embeddedView(ctx, raw)
		return err
	})
	if err != nil {
		return err
	}
	title := "webmail.embedded.title"
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, title); err != nil {
		return err
	}
	if page.Message.Subject != "" {
		page.Title = page.Message.Subject
	}
	return web.Render(w, r, http.StatusOK, page)
}

// embedded tells whether a part is a message.
func embedded(p *part) bool {
	return p.mediaType == "message/rfc822" || p.mediaType == "message/global"
}

// embeddedView is a message from its bytes, all of them here.
func (s *service) embeddedView(ctx context.Context, raw []byte) (*templates.MailMessage, error) {
	m := &message{}
	m.header, m.root = parseMessage(raw)
	m.body = pickBody(m.root)
	v := &templates.MailMessage{Subject: m.header.text("subject"), Date: m.header.date(s.now()).In(s.location), From: people(m.header.get("from")), To: people(m.header.get("to")), Cc: people(m.header.get("cc")), Cut: len(raw) >= maxEmbedded}
	text, err := s.plainText(ctx, owner{}, m)
	if err != nil {
		return nil, err
	}
	if len(text) > maxShownText {
		text, v.Cut = text[:maxShownText], true
	}
	if text != "" {
		v.Plain = textBlocks(cleanText(text), false, s.ownDomains(ctx))
	}
	l := web.Lang(ctx)
	for _, p := range m.body.attachments {
		v.Files = append(v.Files, templates.MailFile{Name: attachmentName(p, l), Size: fileSize(l, p.decodedSize()), Icon: "file"})
	}
	return v, nil
}
