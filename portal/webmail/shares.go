package webmail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// Mailboxes are shared by the mail server's access control lists (RFC 4314):
// whoever is named there sees the mailbox among their own, in any program.

// Rights that a person is given, in letters of RFC 4314 §2.1; each holds the one
// before it.
const (
	rightsRead   = "lrs"
	rightsChange = "lrswite"
	rightsManage = "lrswitekxa"
)

var rightsByName = map[string]string{"read": rightsRead, "change": rightsChange, "manage": rightsManage}

// nameOfRights is the level that letters come nearest to.
func nameOfRights(letters string) string {
	switch {
	case strings.ContainsRune(letters, 'a'):
		return "manage"
	case strings.ContainsAny(letters, "witedc"):
		return "change"
	}
	return "read"
}

// showShares answers GET /mail/shares: the mailboxes, to choose one.
func (s *service) showShares(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	page := &templates.WebmailShares{}
	var err error
	var folders []mailbox
	if page.Layout, page.Folders, folders, err = s.settingsParts(ctx, "webmail.shares.title"); err != nil {
		return err
	}
	l := web.Lang(ctx)
	for _, m := range folders {
		if m.openable && !m.shared {
			page.Boxes = append(page.Boxes, templates.MailFolder{Label: roleLabel(l, m), Href: boxPath(m.name) + "share", Icon: roleIcons[m.role], Depth: min(m.depth, 4)})
		}
	}
	return web.Render(w, r, http.StatusOK, page)
}

// showShare answers GET /mail/{box}/share: who may do what there.
func (s *service) showShare(w http.ResponseWriter, r *http.Request) error {
	return s.sharePage(w, r, http.StatusOK, &templates.WebmailShare{Done: r.URL.Query().Get("done")})
}

func (s *service) sharePage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailShare) error {
	ctx := r.Context()
	box := unslug(r.PathValue("box"))
	var folders []mailbox
	var known *mailbox
	err := s.with(ctx, func(who owner) error {
		return s.pools.Do(ctx, who, "", reads, func(c *conn) (err error) {
			page.Shares = nil
			if folders, err = mailboxes(c); err != nil {
				return err
			}
			if !c.Caps().Has(imap.CapACL) {
				return web.Fail(http.StatusNotFound, "webmail.share.never", errors.New("no ACL"))
			}
			at := slices.IndexFunc(folders, func(m mailbox) bool { return m.name == box && m.openable })
			if at < 0 {
				return fmt.Errorf("%w: %q", errGone, box)
			}
			known = &folders[at]
			list, err := c.GetACL(box).Wait()
			if err != nil {
				return refusedShare(err)
			}
			for id, rights := range list.Rights {
				if name := string(id); len(rights) > 0 && !strings.EqualFold(name, who.login) {
					page.Shares = append(page.Shares, templates.MailShare{Who: name, Rights: nameOfRights(rights.String())})
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	slices.SortFunc(page.Shares, func(a, b templates.MailShare) int { return strings.Compare(a.Who, b.Who) })
	for i := range page.Shares {
		page.Shares[i].Name = s.nameOf(ctx, page.Shares[i].Who)
	}
	l := web.Lang(ctx)
	page.Label, page.Do, page.Box = roleLabel(l, *known), boxPath(box)+"share", boxPath(box)
	page.Below = slices.ContainsFunc(folders, func(m mailbox) bool { return m.name != box && known.holds(m.name) })
	page.Rights = cmp.Or(page.Rights, "read")
	if page.Folders, err = s.sidebar(ctx, folders, box); err != nil {
		return err
	}
	page.Layout = s.layout(ctx, i18n.T(l, "webmail.share.title", "folder", page.Label), folders)
	page.JS = append(page.JS, "compose.js")
	return web.Render(w, r, status, page)
}

// refusedShare is the sentence for a server that refuses an access list.
func refusedShare(err error) error {
	if no := (*imap.Error)(nil); errors.As(err, &no) {
		return web.Fail(http.StatusForbidden, "webmail.share.refused", err)
	}
	return err
}

// nameOf is what the directory calls a login, "" when it does not say.
func (s *service) nameOf(ctx context.Context, login string) string {
	people, err := s.host.People(ctx, login)
	if err != nil {
		return ""
	}
	for _, p := range people {
		if strings.EqualFold(p.Login, login) {
			return cleanLine(p.Name)
		}
	}
	return ""
}

// postShare answers POST /mail/{box}/share: who gets rights, or none with do=remove.
func (s *service) postShare(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	box := unslug(r.PathValue("box"))
	do, typed := web.Field(r, "do"), web.Field(r, "who")
	rights, ok := rightsByName[web.Field(r, "rights")]
	page := &templates.WebmailShare{Who: typed, Rights: web.Field(r, "rights")}
	id := typed
	switch do {
	case "add":
		found, err := s.colleagueOf(ctx, typed)
		if err != nil {
			return err
		}
		if found == nil {
			page.Error = "webmail.share.unknown"
			return s.sharePage(w, r, http.StatusUnprocessableEntity, page)
		}
		login := strings.ToLower(found.Login)
		if strings.EqualFold(login, s.person(ctx).Login) {
			page.Error = "webmail.share.self"
			return s.sharePage(w, r, http.StatusUnprocessableEntity, page)
		}
		id = login
	case "change", "remove":
	default:
		ok = false
	}
	if !ok && do != "remove" || id == "" || len(id) > 200 || strings.HasPrefix(id, "-") || strings.EqualFold(id, s.person(ctx).Login) {
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown action or rights"))
	}
	err := s.with(ctx, func(who owner) error {
		return s.pools.Do(ctx, who, "", writes, func(c *conn) error {
			boxes := []string{box}
			if web.Field(r, "below") != "" {
				folders, err := mailboxes(c)
				if err != nil {
					return err
				}
				for _, m := range folders {
					if m.name == box {
						for _, other := range folders {
							if other.name != box && other.openable && m.holds(other.name) {
								boxes = append(boxes, other.name)
							}
						}
					}
				}
			}
			for _, name := range boxes {
				var err error
				if do == "remove" {
					err = deleteACL(c, name, id)
				} else {
					err = c.SetACL(name, imap.RightsIdentifier(id), imap.RightModificationReplace, imap.RightSet(rights)).Wait()
				}
				if err != nil {
					return refusedShare(err)
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := s.host.Record(ctx, "mail.share", "", map[string]string{"do": do, "mailbox": box, "with": id, "rights": rights}); err != nil {
		s.log.ErrorContext(ctx, "a share is not in the audit trail", "mailbox", box, "with", id, "error", err, "request", web.RequestID(ctx))
	}
	return web.Redirect(w, r, boxPath(box)+"share?done="+do)
}

// deleteACL takes all rights away. DELETEACL (RFC 4314 §3.2) would remove the entry
// too, but go-imap does not send it.
func deleteACL(c *conn, box, id string) error {
	return c.SetACL(box, imap.RightsIdentifier(id), imap.RightModificationReplace, nil).Wait()
}
