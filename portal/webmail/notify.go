package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/web"
	"beffroi/templates"
)

// Notifications of the desktop are shown by one tab of a browser that was allowed
// to (Notifications API); when, and of whom, is the person's choice and goes with
// them from browser to browser.

const preferNotify = "webmail.notify"

// notifyRules is what the person chose. Times are HH:MM of the browser's clock; Only
// holds addresses, or domains after "@": empty for everybody.
type notifyRules struct {
	On    bool     `json:"on"`
	Quiet bool     `json:"quiet"`
	From  string   `json:"from"`
	Until string   `json:"until"`
	Only  []string `json:"only"`
	Boxes []string `json:"boxes"` // mailboxes beside the inbox, by their slugs
}

// mostNotified is how many mailboxes beside the inbox are watched for somebody.
const mostNotified = 10

var clockTime = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

func (s *service) notifyRules(ctx context.Context) (rules notifyRules, err error) {
	rules = notifyRules{From: "19:00", Until: "07:30", Only: []string{}, Boxes: []string{}}
	text, err := s.host.Preference(ctx, preferNotify)
	if err != nil || text == "" {
		return rules, err
	}
	return rules, json.Unmarshal([]byte(text), &rules)
}

// showNotify answers GET /mail/notifications: the page, or for the script (Accept:
// application/json) the rules.
func (s *service) showNotify(w http.ResponseWriter, r *http.Request) error {
	rules, err := s.notifyRules(r.Context())
	if err != nil {
		return err
	}
	if r.Header.Get("Accept") == "application/json" {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "private, no-store")
		return json.NewEncoder(w).Encode(rules)
	}
	return s.notifyPage(w, r, http.StatusOK, &templates.WebmailNotify{Done: r.URL.Query().Get("done") != ""}, rules)
}

func (s *service) notifyPage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailNotify, rules notifyRules) error {
	var err error
	var folders []mailbox
	if page.Layout, page.Folders, folders, err = s.settingsParts(r.Context(), "webmail.notify.title"); err != nil {
		return err
	}
	for _, m := range folders {
		if m.openable && !slices.Contains([]string{roleInbox, roleDrafts, roleSent, roleTrash, roleJunk, roleSnoozed}, m.role) {
			page.Boxes = append(page.Boxes, templates.MailChoice{Value: slug(m.name), Label: roleLabel(web.Lang(r.Context()), m), On: slices.Contains(rules.Boxes, slug(m.name))})
		}
	}
	page.On, page.Quiet, page.From, page.Until, page.Only = rules.On, rules.Quiet, rules.From, rules.Until, strings.Join(rules.Only, ", ")
	return web.Render(w, r, status, page)
}

// postNotify answers POST /mail/notifications.
func (s *service) postNotify(w http.ResponseWriter, r *http.Request) error {
	rules := notifyRules{On: web.Field(r, "on") != "", Quiet: web.Field(r, "quiet") != "", From: web.Field(r, "from"), Until: web.Field(r, "until"), Only: []string{}, Boxes: []string{}}
	for _, box := range r.PostForm["box"] {
		if len(rules.Boxes) < mostNotified && box != "" && len(box) < 300 {
			rules.Boxes = append(rules.Boxes, box)
		}
	}
	page := &templates.WebmailNotify{}
	if rules.Quiet && (!clockTime.MatchString(rules.From) || !clockTime.MatchString(rules.Until)) {
		page.Error = "webmail.notify.badtime"
	}
	for _, word := range strings.FieldsFunc(cleanLine(web.Field(r, "only")), func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		word = strings.ToLower(word)
		if _, ok := validMail("x" + word); !strings.HasPrefix(word, "@") || !ok {
			if _, ok := validMail(word); !ok {
				page.Error = "webmail.notify.badonly"
			}
		}
		rules.Only = append(rules.Only, word)
	}
	if len(rules.Only) > 50 {
		page.Error = "webmail.notify.badonly"
	}
	if page.Error != "" {
		return s.notifyPage(w, r, http.StatusUnprocessableEntity, page, rules)
	}
	text, err := json.Marshal(rules)
	if err == nil && len(text) > 4000 {
		err = web.Fail(http.StatusUnprocessableEntity, "webmail.notify.badonly", errors.New("too many senders"))
	}
	if err == nil {
		err = s.host.SetPreference(r.Context(), preferNotify, string(text))
	}
	if err != nil {
		return err
	}
	return web.Redirect(w, r, "/mail/notifications?done=1")
}

// otherBoxes is what is known of the mailboxes beside the inbox that somebody watches:
// the UID that the next message gets.
type otherBoxes map[string]imap.UID

// lookBeside tells what has come in them since the last look, by the connection that waits;
// the messages are read by another one. A mailbox that is gone is left out.
func (s *service) lookBeside(ctx context.Context, who owner, c *conn, known otherBoxes) (items []newsItem, err error) {
	rules, err := s.notifyRules(ctx)
	if err != nil || !rules.On {
		return nil, err
	}
	for _, word := range rules.Boxes {
		box := unslug(word)
		data, err := c.Status(box, &imap.StatusOptions{UIDNext: true, UIDValidity: true}).Wait()
		if err != nil {
			if keepsConnection(err) {
				delete(known, box)
				continue
			}
			return nil, err
		}
		before, seen := known[box]
		known[box] = data.UIDNext
		if !seen || data.UIDNext <= before {
			continue
		}
		var uids imap.UIDSet
		uids.AddRange(max(before, data.UIDNext-newsMost), data.UIDNext-1)
		err = s.pools.Do(ctx, who, box, reads, func(other *conn) error {
			if err := other.openAt(box, data.UIDValidity, true); err != nil {
				return err
			}
			unread, err := other.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{uids}, NotFlag: []imap.Flag{imap.FlagSeen}}, nil).Wait()
			if err != nil || len(unread.AllUIDs()) == 0 {
				return err
			}
			found, err := fetchSummaries(other, imap.UIDSetNum(unread.AllUIDs()...))
			for uid, one := range found {
				items = append(items, newsOf(ref{box, data.UIDValidity, uid}, one))
			}
			return err
		})
		if err != nil && !keepsConnection(err) {
			s.log.InfoContext(ctx, "new mail of a folder not read", "error", err)
		}
	}
	return items, nil
}
