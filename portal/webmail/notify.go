package webmail

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

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
}

var clockTime = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

func (s *service) notifyRules(ctx context.Context) (rules notifyRules, err error) {
	rules = notifyRules{From: "19:00", Until: "07:30", Only: []string{}}
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
	if page.Layout, page.Folders, _, err = s.settingsParts(r.Context(), "webmail.notify.title"); err != nil {
		return err
	}
	page.On, page.Quiet, page.From, page.Until, page.Only = rules.On, rules.Quiet, rules.From, rules.Until, strings.Join(rules.Only, ", ")
	return web.Render(w, r, status, page)
}

// postNotify answers POST /mail/notifications.
func (s *service) postNotify(w http.ResponseWriter, r *http.Request) error {
	rules := notifyRules{On: web.Field(r, "on") != "", Quiet: web.Field(r, "quiet") != "", From: web.Field(r, "from"), Until: web.Field(r, "until"), Only: []string{}}
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
