package webmail

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"beffroi/internal/db"
	"beffroi/internal/web"
	"beffroi/templates"
)

// Whose remote pictures are shown without being asked for: a sender's, or those
// of everybody of a domain. From is what the message says of itself: who forges
// it has pictures shown, and learns nothing of the reader that the portal does
// not hide (picture.go).

// mostSenders is how many a person may accept.
const mostSenders = 500

var errManySenders = errors.New("webmail: too many accepted senders")

// pictureView fills in whether the remote pictures of a message are shown.
func (s *service) pictureView(ctx context.Context, v *templates.MailMessage, asked bool) error {
	if !s.showsPictures() || v.Remote == 0 {
		return nil
	}
	v.CanShow = true
	if len(v.From) == 1 {
		if clean, ok := validMail(v.From[0].Mail); ok {
			v.SenderMail = strings.ToLower(clean)
			v.SenderSite = v.SenderMail[strings.LastIndexByte(v.SenderMail, '@')+1:]
		}
	}
	if v.SenderMail != "" {
		accepted, err := s.acceptedAs(ctx, v.SenderMail)
		if err != nil {
			return err
		}
		v.Pictures = strings.TrimPrefix(accepted, "@")
	}
	if v.Pictures == "" && asked {
		v.Pictures = "once"
	}
	return nil
}

// acceptedAs is the entry that accepts a sender, "" when none does.
func (s *service) acceptedAs(ctx context.Context, mail string) (string, error) {
	var entry string
	err := s.db.QueryRow(ctx, "SELECT sender FROM mail_pictures WHERE person = $1 AND sender IN ($2, $3) ORDER BY sender DESC LIMIT 1",
		s.person(ctx).Sub, mail, mail[strings.LastIndexByte(mail, '@'):]).Scan(&entry)
	if errors.Is(err, db.ErrNotFound) {
		return "", nil
	}
	return entry, err
}

// postPictures answers POST /mail/{box}/{ref}/pictures, field do: sender, domain or forget.
func (s *service) postPictures(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	var view templates.MailMessage
	err = s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		view = templates.MailMessage{From: people(m.header.get("from")), Remote: 1} // whose they are is read again: the form does not say
		return s.pictureView(ctx, &view, false)
	})
	if err != nil {
		return err
	}
	sub := s.person(ctx).Sub
	switch do := web.Field(r, "do"); {
	case view.SenderMail == "":
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("nobody's pictures can be accepted"))
	case do == "sender":
		err = s.accept(ctx, sub, view.SenderMail)
	case do == "domain":
		err = s.accept(ctx, sub, "@"+view.SenderSite)
	case do == "forget":
		_, err = s.db.Exec(ctx, "DELETE FROM mail_pictures WHERE person = $1 AND sender IN ($2, $3)", sub, view.SenderMail, "@"+view.SenderSite)
	default:
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown action"))
	}
	if errors.Is(err, errManySenders) {
		return web.Fail(http.StatusConflict, "webmail.senders.many", err)
	}
	if err != nil {
		return err
	}
	return web.Redirect(w, r, at.path())
}

func (s *service) accept(ctx context.Context, sub, sender string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		var n int
		if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mail_pictures WHERE person = $1", sub).Scan(&n); err != nil {
			return err
		}
		if n >= mostSenders {
			return errManySenders
		}
		_, err := s.db.Exec(ctx, "INSERT INTO mail_pictures (person, sender, created) VALUES ($1, $2, $3) ON CONFLICT (person, sender) DO NOTHING", sub, sender, db.At(s.now()))
		return err
	})
}

// showSenders answers GET /mail/pictures: whose pictures are shown.
func (s *service) showSenders(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	page := &templates.WebmailSenders{}
	var err error
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, "webmail.senders.title"); err != nil {
		return err
	}
	page.Senders, err = db.All(ctx, s.db, func(scan func(...any) error) (templates.MailSender, error) {
		var one templates.MailSender
		var created db.Time
		err := scan(&one.Value, &created)
		one.Name, one.Domain = strings.CutPrefix(one.Value, "@")
		one.Since = created.In(s.location)
		return one, err
	}, "SELECT sender, created FROM mail_pictures WHERE person = $1 ORDER BY sender", s.person(ctx).Sub)
	if err != nil {
		return err
	}
	return web.Render(w, r, http.StatusOK, page)
}

// postSenders answers POST /mail/pictures: the sender is accepted no more.
func (s *service) postSenders(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if _, err := s.db.Exec(ctx, "DELETE FROM mail_pictures WHERE person = $1 AND sender = $2", s.person(ctx).Sub, web.Field(r, "sender")); err != nil {
		return err
	}
	return web.Redirect(w, r, "/mail/pictures")
}
