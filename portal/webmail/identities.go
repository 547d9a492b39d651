package webmail

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"beffroi/internal/web"
	"beffroi/templates"
)

// showIdentities answers GET /mail/identities, query id to change one.
func (s *service) showIdentities(w http.ResponseWriter, r *http.Request) error {
	return s.identitiesPage(w, r, http.StatusOK, &templates.WebmailIdentities{ID: r.URL.Query().Get("id"), Done: r.URL.Query().Get("done")})
}

func (s *service) identitiesPage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailIdentities) error {
	ctx := r.Context()
	person := s.person(ctx)
	texts, err := items[textValue](ctx, s, person.Sub, kindSignature)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, one := range texts {
		names[one.id] = one.value.Name
	}
	kept, err := items[ownIdentity](ctx, s, person.Sub, kindIdentity)
	if err != nil {
		return err
	}
	for _, one := range kept {
		v := templates.MailIdentity{ID: one.id, Name: one.value.named(person.Name), Mail: person.Mail, Label: one.value.Label, ReplyTo: one.value.ReplyTo, Signature: one.value.Signature, SignatureName: names[one.value.Signature]}
		page.Own = append(page.Own, v)
		if page.Error == "" && one.id == page.ID {
			page.Edit = v
		}
	}
	if page.Error == "" && page.Edit.ID == "" {
		page.ID = ""
	}
	for _, one := range texts {
		page.Signatures = append(page.Signatures, templates.MailChoice{Value: one.id, Label: one.value.Name, On: one.id == page.Edit.Signature})
	}
	all, err := s.identities(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		v := templates.MailIdentity{ID: strings.TrimPrefix(one.key, "d:"), Name: cmp.Or(one.from.name, one.from.mail), Mail: one.from.mail}
		switch {
		case strings.HasPrefix(one.key, "f:"):
			page.Functions = append(page.Functions, v)
		case one.sender:
			page.InNameOf = append(page.InNameOf, v)
		}
	}
	mine, err := s.delegations(ctx, "owner", person.Sub)
	if err != nil {
		return err
	}
	for _, d := range mine {
		page.Delegates = append(page.Delegates, templates.MailIdentity{ID: d.delegate, Name: cmp.Or(d.about.Delegate, d.about.DelegateMail), Mail: d.about.DelegateMail})
	}
	page.Name, page.Mail = cmp.Or(person.Name, person.Login), person.Mail
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, "webmail.identities.title"); err != nil {
		return err
	}
	page.JS = append(page.JS, "compose.js")
	return web.Render(w, r, status, page)
}

// postIdentities answers POST /mail/identities, field do: save and remove (one's own),
// delegate, dismiss (whom one let write in one's name) and decline (in whose name one
// writes).
func (s *service) postIdentities(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sub, id, do := s.person(ctx).Sub, web.Field(r, "id"), web.Field(r, "do")
	page := &templates.WebmailIdentities{}
	var err error
	switch do {
	case "save":
		if id != "" && !validCompositionID(id) {
			return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown identity"))
		}
		v := ownIdentity{Label: strings.TrimSpace(cleanLine(web.Field(r, "label"))), ReplyTo: strings.TrimSpace(cleanLine(web.Field(r, "reply_to"))), Signature: web.Field(r, "signature")}
		page.ID, page.Edit = id, templates.MailIdentity{ID: id, Label: v.Label, ReplyTo: v.ReplyTo, Signature: v.Signature}
		switch mail, ok := validMail(v.ReplyTo); {
		case v.Label == "":
			page.Error = "webmail.identities.nolabel"
		case len(v.Label) > 100 || strings.ContainsAny(v.Label, `<>@"`):
			page.Error = "webmail.identities.badlabel"
		case v.ReplyTo != "" && !ok:
			page.Error = "webmail.identities.badreply"
		default:
			v.ReplyTo = mail
		}
		if page.Error != "" {
			return s.identitiesPage(w, r, http.StatusUnprocessableEntity, page)
		}
		err = s.putItem(ctx, sub, kindIdentity, cmp.Or(id, newCompositionID()), s.now().UnixMicro(), v)
	case "remove":
		err = s.dropItem(ctx, sub, kindIdentity, id)
	case "delegate":
		page.Who = web.Field(r, "who")
		found, err := s.colleagueOf(ctx, page.Who)
		if err != nil {
			return err
		}
		switch {
		case found == nil || found.ID == "" || found.Mail == "":
			page.Error = "webmail.share.unknown"
		case found.ID == sub:
			page.Error = "webmail.identities.self"
		}
		if page.Error != "" {
			return s.identitiesPage(w, r, http.StatusUnprocessableEntity, page)
		}
		if err := s.delegate(ctx, *found); errors.Is(err, errManyItems) {
			return web.Fail(http.StatusConflict, "webmail.texts.many", err)
		} else if err != nil {
			return err
		}
	case "dismiss", "decline":
		owner, delegate := sub, id
		if do == "decline" {
			owner, delegate = id, sub
		}
		err = s.db.InTx(ctx, func(ctx context.Context) error {
			n, err := s.db.Exec(ctx, "DELETE FROM mail_delegate WHERE owner = $1 AND delegate = $2", owner, delegate)
			if err != nil || n == 0 {
				return err
			}
			return s.host.Record(ctx, "mail."+do, id, nil)
		})
	default:
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown action"))
	}
	if errors.Is(err, errManyItems) {
		return web.Fail(http.StatusConflict, "webmail.texts.many", err)
	} else if err != nil {
		return err
	}
	return web.Redirect(w, r, "/mail/identities?done="+do)
}
