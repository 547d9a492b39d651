package webmail

import (
	"context"
	"net/http"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// settingsLayout is what the pages of the webmail's settings share.
func (s *service) settingsLayout(ctx context.Context, title string) (layout templates.Layout, list []templates.MailFolder, err error) {
	var folders []mailbox
	err = s.with(ctx, func(who owner) error {
		return s.pools.Do(ctx, who, "", reads, func(c *conn) (err error) {
			folders, err = mailboxes(c)
			return err
		})
	})
	if err != nil {
		return layout, nil, err
	}
	list, err = s.sidebar(ctx, folders, "")
	return s.layout(ctx, i18n.T(web.Lang(ctx), title), folders), list, err
}

// showSettings answers GET /mail/settings: where everything is set.
func (s *service) showSettings(w http.ResponseWriter, r *http.Request) error {
	page := &templates.WebmailSettings{}
	var err error
	if page.Layout, page.Folders, err = s.settingsLayout(r.Context(), "webmail.settings.title"); err != nil {
		return err
	}
	for _, one := range []struct{ key, icon, href string }{
		{"labels", "flag", "/mail/labels"},
		{"senders", "image", "/mail/pictures"},
	} {
		page.Links = append(page.Links, templates.MailSetting{Title: "webmail." + one.key + ".title", Hint: "webmail." + one.key + ".about", Icon: one.icon, Href: one.href})
	}
	return web.Render(w, r, http.StatusOK, page)
}
