package webmail

import (
	"context"
	"net/http"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// settingsParts is what the pages of the webmail's settings share, and the folders.
func (s *service) settingsParts(ctx context.Context, title string) (layout templates.Layout, list []templates.MailFolder, folders []mailbox, err error) {
	err = s.with(ctx, func(who owner) error {
		return s.pools.Do(ctx, who, "", reads, func(c *conn) (err error) {
			folders, err = mailboxes(c)
			return err
		})
	})
	if err != nil {
		return layout, nil, nil, err
	}
	list, err = s.sidebar(ctx, folders, "")
	return s.layout(ctx, i18n.T(web.Lang(ctx), title), folders), list, folders, err
}

// showSettings answers GET /mail/settings: where everything is set.
func (s *service) showSettings(w http.ResponseWriter, r *http.Request) error {
	page := &templates.WebmailSettings{}
	var err error
	if page.Layout, page.Folders, _, err = s.settingsParts(r.Context(), "webmail.settings.title"); err != nil {
		return err
	}
	shares := false
	err = s.with(r.Context(), func(who owner) error {
		return s.pools.Do(r.Context(), who, "", reads, func(c *conn) error {
			shares = c.Caps().Has(imap.CapACL)
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, one := range []struct {
		key, icon, href string
		offered         bool
	}{
		{"absence", "clock", "/mail/absence", s.sieve.address != ""},
		{"filters", "list", "/mail/filters", s.sieve.address != ""},
		{"files", "link", "/mail/files", s.large != nil},
		{"texts", "edit", "/mail/texts", true},
		{"identities", "user", "/mail/identities", true},
		{"labels", "flag", "/mail/labels", true},
		{"shares", "users", "/mail/shares", shares},
		{"notify", "bell", "/mail/notifications", true},
		{"import", "upload", "/mail/import", true},
		{"senders", "image", "/mail/pictures", true},
	} {
		if one.offered {
			page.Links = append(page.Links, templates.MailSetting{Title: "webmail." + one.key + ".title", Hint: "webmail." + one.key + ".about", Icon: one.icon, Href: one.href})
		}
	}
	return web.Render(w, r, http.StatusOK, page)
}
