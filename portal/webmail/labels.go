package webmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

// Labels are IMAP keywords (RFC 9051 §2.3.2): other programs see them, and the
// first five are those that Thunderbird knows. What a label is called, and its
// colour, is the person's and lies in the database.

// label is one label. Keyword is what messages bear.
type label struct {
	keyword string
	labelValue
}

// labelValue is what is kept of a label. A Name of "" is the translated one of a
// label that comes with Beffroi.
type labelValue struct {
	Name   string `json:"name,omitempty"`
	Colour string `json:"colour"`
	Hidden bool   `json:"hidden,omitempty"` // one that comes with Beffroi, and is not wanted
}

// labelColours are the classes of webmail.css, in the order of the choice.
var labelColours = []string{"red", "orange", "green", "blue", "violet", "pink", "teal", "grey"}

// ownLabels come with Beffroi, under the keywords of Thunderbird.
var ownLabels = []label{
	{"$label1", labelValue{Colour: "red"}}, {"$label2", labelValue{Colour: "orange"}}, {"$label3", labelValue{Colour: "green"}},
	{"$label4", labelValue{Colour: "blue"}}, {"$label5", labelValue{Colour: "violet"}},
}

// noLabels are keywords that programs set for themselves.
var noLabels = []string{"junk", "nonjunk", "notjunk", "forwarded", "mdnsent", "redirected", "unsent", "seen", "answered", "flagged", "draft", "deleted", "recent"}

// labels are those of the person signed in: Beffroi's first, then their own.
func (s *service) labels(ctx context.Context) ([]label, error) {
	kept, err := items[labelValue](ctx, s, s.person(ctx).Sub, kindLabel)
	if err != nil {
		return nil, err
	}
	l := web.Lang(ctx)
	list := slices.Clone(ownLabels)
	for _, one := range kept {
		if i := slices.IndexFunc(list, func(o label) bool { return o.keyword == one.id }); i >= 0 {
			list[i].labelValue = one.value
		} else {
			list = append(list, label{one.id, one.value})
		}
	}
	list = slices.DeleteFunc(list, func(o label) bool { return o.Hidden })
	for i := range list {
		if list[i].Name == "" {
			list[i].Name = i18n.T(l, "webmail.label."+strings.TrimPrefix(list[i].keyword, "$"))
		}
	}
	return list, nil
}

// labelsOn are the labels among the flags of a message: those that the person
// has, in their order, then what another program called by a word.
func labelsOn(all []label, flags []imap.Flag) (on []templates.MailLabel) {
	taken := map[string]bool{}
	has := map[string]bool{}
	for _, f := range flags {
		has[strings.ToLower(string(f))] = true
	}
	for _, one := range all {
		taken[strings.ToLower(one.keyword)] = true
		if has[strings.ToLower(one.keyword)] {
			on = append(on, one.view())
		}
	}
	for _, f := range flags {
		key := strings.ToLower(string(f))
		if taken[key] || len(on) >= 12 || !validKeyword(string(f)) || strings.HasPrefix(key, "$") || slices.Contains(noLabels, key) {
			continue
		}
		taken[key] = true
		on = append(on, label{string(f), labelValue{Name: string(f), Colour: "grey"}}.view())
	}
	return on
}

func (o label) view() templates.MailLabel {
	return templates.MailLabel{Keyword: o.keyword, Name: o.Name, Colour: o.Colour, Href: "/mail/search?q=" + url.QueryEscape(`label:"`+strings.ReplaceAll(o.Name, `"`, "")+`"`)}
}

func labelViews(all []label) []templates.MailLabel {
	views := make([]templates.MailLabel, len(all))
	for i, one := range all {
		views[i] = one.view()
	}
	return views
}

// validKeyword tells whether a word can be a keyword that a person set.
func validKeyword(s string) bool {
	if s == "" || len(s) > 60 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '$') {
			return false
		}
	}
	return true
}

// keywordFor makes the keyword of a new label from its name.
func keywordFor(name string, all []label) string {
	word := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r == ' ' || r == '-' || r == '_':
			return '_'
		}
		return -1
	}, fold(name))
	word = strings.Trim(word[:min(len(word), 40)], "_")
	if word == "" || slices.Contains(noLabels, word) {
		word = "label_" + word
	}
	for n, free := 2, word; ; n++ {
		if !slices.ContainsFunc(all, func(o label) bool { return strings.EqualFold(o.keyword, free) }) {
			return free
		}
		free = fmt.Sprintf("%s_%d", word, n)
	}
}

// labelNamed finds the label of a name or keyword.
func labelNamed(all []label, name string) (label, bool) {
	for _, one := range all {
		if fold(one.Name) == fold(name) || strings.EqualFold(one.keyword, name) {
			return one, true
		}
	}
	return label{}, false
}

// showLabels answers GET /mail/labels: the labels, to name, colour and remove.
func (s *service) showLabels(w http.ResponseWriter, r *http.Request) error {
	return s.labelsPage(w, r, http.StatusOK, &templates.WebmailLabels{})
}

func (s *service) labelsPage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailLabels) error {
	ctx := r.Context()
	all, err := s.labels(ctx)
	if err != nil {
		return err
	}
	page.Labels, page.Colours = labelViews(all), labelColours
	page.Missing = slices.ContainsFunc(ownLabels, func(one label) bool {
		return !slices.ContainsFunc(all, func(o label) bool { return o.keyword == one.keyword })
	})
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, "webmail.labels.title"); err != nil {
		return err
	}
	return web.Render(w, r, status, page)
}

// postLabels answers POST /mail/labels, field do: add, change, remove or restore.
func (s *service) postLabels(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	sub := s.person(ctx).Sub
	all, err := s.labels(ctx)
	if err != nil {
		return err
	}
	do, keyword := web.Field(r, "do"), web.Field(r, "keyword")
	name, colour := strings.Join(strings.Fields(cleanLine(web.Field(r, "name"))), " "), web.Field(r, "colour")
	at := slices.IndexFunc(all, func(o label) bool { return o.keyword == keyword })
	if do == "restore" { // those that come with Beffroi and were removed
		for _, one := range ownLabels {
			if !slices.ContainsFunc(all, func(o label) bool { return o.keyword == one.keyword }) {
				if err := s.dropItem(ctx, sub, kindLabel, one.keyword); err != nil {
					return err
				}
			}
		}
		return web.Redirect(w, r, "/mail/labels")
	}
	if do != "add" && at < 0 {
		return web.Fail(http.StatusNotFound, "webmail.labels.gone", errors.New("unknown label"))
	}
	if do == "remove" {
		if slices.ContainsFunc(ownLabels, func(o label) bool { return o.keyword == keyword }) {
			err = s.putItem(ctx, sub, kindLabel, keyword, int64(at), labelValue{Hidden: true})
		} else {
			err = s.dropItem(ctx, sub, kindLabel, keyword)
		}
		if err != nil {
			return err
		}
		return web.Redirect(w, r, "/mail/labels")
	}
	wrong := &templates.WebmailLabels{Name: name, Colour: colour, Keyword: keyword}
	other, taken := labelNamed(all, name)
	switch {
	case do != "add" && do != "change" || !slices.Contains(labelColours, colour):
		return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown action or colour"))
	case name == "":
		wrong.Error = "webmail.labels.noname"
	case len(name) > 60 || strings.Contains(name, `"`):
		wrong.Error = "webmail.labels.long"
	case taken && (do == "add" || other.keyword != keyword):
		wrong.Error = "webmail.labels.taken"
	}
	if wrong.Error != "" {
		return s.labelsPage(w, r, http.StatusUnprocessableEntity, wrong)
	}
	position := int64(at)
	if do == "add" {
		keyword, position = keywordFor(name, append(slices.Clone(ownLabels), all...)), int64(len(all))
	}
	err = s.putItem(ctx, sub, kindLabel, keyword, position, labelValue{Name: name, Colour: colour})
	if errors.Is(err, errManyItems) {
		return web.Fail(http.StatusConflict, "webmail.labels.many", err)
	} else if err != nil {
		return err
	}
	return web.Redirect(w, r, "/mail/labels")
}

// putLabel puts a label on messages, or takes it away.
func (s *service) putLabel(ctx context.Context, who owner, refs []ref, op imap.StoreFlagsOp, keyword string) error {
	all, err := s.labels(ctx)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(all, func(o label) bool { return o.keyword == keyword })
	if !known && (op == imap.StoreFlagsAdd || !validKeyword(keyword)) {
		return web.Fail(http.StatusBadRequest, "webmail.labels.gone", fmt.Errorf("unknown label %q", keyword))
	}
	return s.setFlags(ctx, who, refs, op, imap.Flag(keyword))
}
