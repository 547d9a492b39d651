package webmail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
)

// Receipts of reading (RFC 8098): asked for by a field of the message, and given
// only when the reader says so. $MDNSent marks a message that was answered so, or
// will not be.

const mdnSent = imap.Flag("$MDNSent")

// receiptFor is who asks for a receipt of a message, "" when nobody does, or when
// that was settled.
func receiptFor(m *message) string {
	if m.has(mdnSent) || m.has(imap.FlagDraft) || m.header.count("disposition-notification-to") != 1 || m.header.get("list-id") != "" {
		return ""
	}
	if kind, _ := parseMediaType(m.header.get("content-type"), ""); strings.EqualFold(kind, "multipart/report") {
		return ""
	}
	if auto := m.header.get("auto-submitted"); auto != "" && !strings.EqualFold(strings.TrimSpace(auto), "no") {
		return "" // RFC 3834 §2
	}
	list := parseAddresses(m.header.get("disposition-notification-to"), 2)
	if len(list) != 1 {
		return ""
	}
	mail, _ := validMail(list[0].mail)
	return mail
}

// postReceipt answers POST /mail/{box}/{ref}/receipt, field do: send or ignore.
func (s *service) postReceipt(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	do := web.Field(r, "do")
	if do != "send" && do != "ignore" {
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown action"))
	}
	person := s.person(ctx)
	err = s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		to := receiptFor(m)
		if to == "" {
			return nil // settled in another tab
		}
		if own, ok := validMail(person.Mail); do == "send" && ok {
			// The name is made of the message: a second click sends no second receipt.
			id := fixedID("receipt", who.sub, at.path())
			raw, e := s.receipt(web.Lang(ctx), id, address{person.Name, own}, to, m)
			fresh, err := s.enqueue(ctx, who.sub, id, e, raw, 0)
			if err != nil {
				return err
			}
			if fresh {
				s.resume(ctx, who.sub, id, 0)
			}
		}
		if err := s.setFlags(ctx, who, []ref{at}, imap.StoreFlagsAdd, mdnSent); err != nil && !errors.Is(err, errReadOnly) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return web.Redirect(w, r, at.path())
}

// fixedID is the name in the outbox of a message that is made once for the same words.
func fixedID(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// receipt is the notification itself. Its envelope has no sender (RFC 8098 §3), so
// that nothing ever answers it.
func (s *service) receipt(l i18n.Lang, id string, from address, to string, m *message) ([]byte, envelope) {
	o := &outgoing{id: id, from: from}
	subject := i18n.T(l, "webmail.receipt.subject", "subject", m.header.text("subject"))
	boundary := "beffroi-m-" + id
	var b bytes.Buffer
	original := ""
	if ids := messageIDs(m.header.get("message-id")); len(ids) > 0 {
		original = ids[0]
	}
	fmt.Fprintf(&b, "Date: %s\r\nFrom: %s\r\nTo: <%s>\r\nSubject: %s\r\nMessage-ID: %s\r\n", s.now().In(s.location).Format("Mon, 02 Jan 2006 15:04:05 -0700"), wireAddresses([]address{from}), to, wireText(subject), o.messageID())
	if original != "" {
		fmt.Fprintf(&b, "In-Reply-To: %s\r\nReferences: %s\r\n", original, original)
	}
	fmt.Fprintf(&b, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=disposition-notification;\r\n boundary=\"%s\"\r\n\r\n--%s\r\n", boundary, boundary)
	writeText(&b, "plain", i18n.T(l, "webmail.receipt.text", "subject", m.header.text("subject"), "date", i18n.Date(l, s.now().In(s.location), "datetime"))+"\n")
	fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: message/disposition-notification\r\n\r\nReporting-UA: Beffroi\r\nFinal-Recipient: rfc822;%s\r\n", boundary, from.mail)
	if original != "" {
		fmt.Fprintf(&b, "Original-Message-ID: %s\r\n", original)
	}
	fmt.Fprintf(&b, "Disposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--%s--\r\n", boundary)
	return b.Bytes(), envelope{To: []string{to}, Subject: subject, MessageID: o.messageID(), Quiet: true}
}
