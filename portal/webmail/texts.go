package webmail

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"beffroi/internal/web"
	"beffroi/templates"
)

// Signatures and templates are texts that a person keeps to write with.

// textValue is what is kept of one.
type textValue struct {
	Name    string `json:"name"`
	Subject string `json:"subject,omitempty"` // of a template
	Text    string `json:"text"`
	New     bool   `json:"new,omitempty"`    // the signature of new messages
	Answer  bool   `json:"answer,omitempty"` // and of answers
}

const maxKeptText = 20_000

// showTexts answers GET /mail/texts, query kind and id to change one.
func (s *service) showTexts(w http.ResponseWriter, r *http.Request) error {
	page := &templates.WebmailTexts{Kind: kindSignature, ID: r.URL.Query().Get("id"), Done: r.URL.Query().Get("done")}
	if r.URL.Query().Get("kind") == kindTemplate {
		page.Kind = kindTemplate
	}
	return s.textsPage(w, r, http.StatusOK, page)
}

func (s *service) textsPage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailTexts) error {
	ctx := r.Context()
	for _, kind := range []string{kindSignature, kindTemplate} {
		kept, err := items[textValue](ctx, s, s.person(ctx).Sub, kind)
		if err != nil {
			return err
		}
		for _, one := range kept {
			v := templates.MailText{ID: one.id, Kind: kind, Name: one.value.Name, Subject: one.value.Subject, Text: one.value.Text, New: one.value.New, Answer: one.value.Answer}
			if kind == kindSignature {
				page.Signatures = append(page.Signatures, v)
			} else {
				page.Templates = append(page.Templates, v)
			}
			if page.Error == "" && kind == page.Kind && one.id == page.ID {
				page.Edit = v
			}
		}
	}
	if page.Error == "" && page.Edit.ID == "" {
		page.ID = ""
		page.Edit.New, page.Edit.Answer = len(page.Signatures) == 0, len(page.Signatures) == 0
	}
	var err error
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, "webmail.texts.title"); err != nil {
		return err
	}
	return web.Render(w, r, status, page)
}

// postTexts answers POST /mail/texts, field do: save or remove.
func (s *service) postTexts(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sub, id, kind := s.person(ctx).Sub, web.Field(r, "id"), web.Field(r, "kind")
	if kind != kindSignature && kind != kindTemplate || id != "" && !validCompositionID(id) {
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown kind"))
	}
	if web.Field(r, "do") == "remove" {
		if err := s.dropItem(ctx, sub, kind, id); err != nil {
			return err
		}
		return web.Redirect(w, r, "/mail/texts?done=removed")
	}
	v := textValue{Name: strings.TrimSpace(cleanLine(web.Field(r, "name"))), Subject: strings.TrimSpace(cleanLine(web.Field(r, "subject"))), Text: strings.TrimRight(cleanText(web.Field(r, "text")), "\n "),
		New: kind == kindSignature && web.Field(r, "new") != "", Answer: kind == kindSignature && web.Field(r, "answer") != ""}
	page := &templates.WebmailTexts{Kind: kind, ID: id, Edit: templates.MailText{ID: id, Kind: kind, Name: v.Name, Subject: v.Subject, Text: v.Text, New: v.New, Answer: v.Answer}}
	switch {
	case v.Name == "":
		page.Error = "webmail.texts.noname"
	case strings.TrimSpace(v.Text) == "":
		page.Error = "webmail.texts.notext"
	case len(v.Name) > 100 || len(v.Subject) > 900 || len(v.Text) > maxKeptText:
		page.Error = "webmail.texts.long"
	}
	if page.Error != "" {
		return s.textsPage(w, r, http.StatusUnprocessableEntity, page)
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		kept, err := items[textValue](ctx, s, sub, kind)
		if err != nil {
			return err
		}
		position := int64(len(kept))
		for i, one := range kept {
			if one.id == id {
				position = one.position
				continue
			}
			if v.New && one.value.New || v.Answer && one.value.Answer { // one signature each
				changed := kept[i].value
				changed.New, changed.Answer = changed.New && !v.New, changed.Answer && !v.Answer
				if err := s.putItem(ctx, sub, kind, one.id, one.position, changed); err != nil {
					return err
				}
			}
		}
		if id == "" {
			id = newCompositionID()
		}
		return s.putItem(ctx, sub, kind, id, position, v)
	})
	if errors.Is(err, errManyItems) {
		return web.Fail(http.StatusConflict, "webmail.texts.many", err)
	} else if err != nil {
		return err
	}
	return web.Redirect(w, r, "/mail/texts?done=saved")
}

// sign puts the person's signature where they will write: at the end of a new
// message after its mark (RFC 3676 §4.3), or above what is quoted.
func (s *service) sign(ctx context.Context, page *templates.WebmailCompose, answer bool) error {
	kept, err := items[textValue](ctx, s, s.person(ctx).Sub, kindSignature)
	if err != nil {
		return err
	}
	as, err := s.identityOf(ctx, page.As)
	if err != nil && !errors.Is(err, errNotYours) {
		return err
	}
	at := slices.IndexFunc(kept, func(one keptItem[textValue]) bool {
		if as.signature != "" {
			return one.id == as.signature
		}
		return !answer && one.value.New || answer && one.value.Answer
	})
	if at < 0 {
		return nil
	}
	text := kept[at].value.Text
	if answer {
		page.Text = "\n\n" + text + "\n" + page.Text
		if page.HTML != "" {
			page.HTML = "<div><br></div>" + richText(text) + page.HTML
		}
		return nil
	}
	page.Text += "\n\n-- \n" + text
	if page.HTML != "" {
		page.HTML += "<div><br></div>" + richText("-- \n"+text)
	}
	return nil
}

// keptTexts are the templates and signatures as the page to write on offers them.
func (s *service) keptTexts(ctx context.Context) (views []templates.MailInsert, err error) {
	for _, kind := range []string{kindTemplate, kindSignature} {
		kept, err := items[textValue](ctx, s, s.person(ctx).Sub, kind)
		if err != nil {
			return nil, err
		}
		for _, one := range kept {
			views = append(views, templates.MailInsert{ID: one.id, Name: one.value.Name, Subject: one.value.Subject, Text: one.value.Text, HTML: richText(one.value.Text)})
		}
	}
	return views, nil
}

// useTemplate begins a message with a template.
func (s *service) useTemplate(ctx context.Context, page *templates.WebmailCompose, id string) error {
	kept, err := items[textValue](ctx, s, s.person(ctx).Sub, kindTemplate)
	if err != nil {
		return err
	}
	for _, one := range kept {
		if one.id == id {
			page.Subject, page.Text, page.HTML = one.value.Subject, one.value.Text, richText(one.value.Text)
		}
	}
	return nil
}
