package webmail

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"beffroi/internal/i18n"
	"beffroi/templates"
)

// Chips are the conditions of a search, each with a way to take it off, and those that
// people add most.

// text is the token as it is typed.
func (t queryToken) text() string {
	value := t.value
	if t.quoted || strings.ContainsAny(value, " :") || value == "" {
		value = `"` + value + `"`
	}
	if t.key != "" {
		value = t.key + ":" + value
	}
	if t.not {
		value = "-" + value
	}
	return value
}

// searchAddress is the page of a search.
func searchAddress(tokens []queryToken) string {
	words := make([]string, 0, len(tokens))
	for _, t := range tokens {
		words = append(words, t.text())
	}
	return "/mail/search?q=" + url.QueryEscape(strings.Join(words, " "))
}

// chips are those of a line. Only what stands before a colon becomes one: words stay
// where they were typed.
func chips(l i18n.Lang, line string, now time.Time) (on, offered []templates.MailChip) {
	tokens := queryTokens(line)
	if len(tokens) == 0 || len(tokens) > mostWords {
		return nil, nil
	}
	for i, t := range tokens {
		if t.key == "" || t.value == "" {
			continue
		}
		rest := slices.Delete(slices.Clone(tokens), i, i+1)
		on = append(on, templates.MailChip{Label: chipLabel(l, t), Href: searchAddress(rest)})
	}
	has := func(key, value string) bool {
		return slices.ContainsFunc(tokens, func(t queryToken) bool {
			return t.key == key && (value == "" || queryStates[fold(t.value)] == value)
		})
	}
	offer := func(t queryToken, key string) {
		offered = append(offered, templates.MailChip{Label: i18n.T(l, key), Href: searchAddress(append(slices.Clone(tokens), t))})
	}
	if !has("has", "") {
		offer(queryToken{key: "has", value: "attachment"}, "webmail.search.file")
	}
	if !has("is", "unread") && !has("is", "read") {
		offer(queryToken{key: "is", value: "unread"}, "webmail.search.unread")
	}
	if !has("is", "flagged") {
		offer(queryToken{key: "is", value: "flagged"}, "webmail.chip.flagged")
	}
	if !has("after", "") && !has("before", "") {
		offer(queryToken{key: "after", value: now.AddDate(0, 0, -30).Format("2006-01-02")}, "webmail.chip.month")
	}
	if !has("in", "") {
		offer(queryToken{key: "in", value: roleSent}, "webmail.chip.sent")
	}
	return on, offered
}

func chipLabel(l i18n.Lang, t queryToken) string {
	value := shorten(cleanLine(t.value), 60)
	colon := i18n.T(l, "webmail.colon") + " "
	switch t.key {
	case "has":
		return i18n.T(l, "webmail.search.file")
	case "is":
		switch queryStates[fold(t.value)] {
		case "unread":
			return i18n.T(l, "webmail.search.unread")
		case "flagged":
			return i18n.T(l, "webmail.chip.flagged")
		}
		return value
	case "from", "to", "subject":
		return i18n.T(l, "webmail.head."+t.key) + colon + value
	case "after", "before":
		if at, err := time.Parse("2006-01-02", t.value); err == nil {
			value = i18n.Date(l, at, "short")
		}
		return i18n.T(l, "webmail.search."+t.key) + colon + value
	case "in":
		return i18n.T(l, "webmail.search.box") + colon + value
	case "label":
		return i18n.T(l, "webmail.label") + colon + value
	}
	return value // a person
}
