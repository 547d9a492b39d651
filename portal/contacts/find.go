package contacts

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"beffroi/portal"
)

// mostMembers is how many people a group expands to.
const mostMembers = 200

// Find looks in the person's own books for those whose every word begins a word of
// text, at most n of them: people with an address, and groups with those of their
// members. Text has two letters at least.
func (c *Contacts) Find(ctx context.Context, text string, n int) ([]portal.Contact, error) {
	asked := words(text)
	if utf8.RuneCountInString(text) < 2 || len(asked) == 0 {
		return nil, nil
	}
	books, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	return findIn(c.all(ctx, books).entries, asked, n), nil
}

func findIn(entries []entry, asked []string, n int) (found []portal.Contact) {
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.sortKey, b.sortKey) })
	byUID, byCategory := map[string]entry{}, map[string][]entry{}
	var categories []string
	for _, e := range entries {
		if e.uid != "" {
			byUID[e.uid] = e
		}
		for _, category := range e.categories {
			if _, ok := byCategory[category]; !ok {
				categories = append(categories, category)
			}
			byCategory[category] = append(byCategory[category], e)
		}
	}
	for _, e := range entries {
		if len(found) >= n {
			return found
		}
		if !matches(e.folded, asked) {
			continue
		}
		one := portal.Contact{Name: e.name, About: e.org, Group: e.group}
		if !e.group && e.mail != "" {
			one.Mails = []portal.Mailbox{{Name: e.name, Mail: e.mail}}
		}
		for _, member := range e.members {
			if mail, ok := strings.CutPrefix(member, "mailto:"); ok {
				one.Mails = with(one.Mails, portal.Mailbox{Mail: mail})
			} else if m, ok := byUID[strings.TrimPrefix(member, "urn:uuid:")]; ok && m.mail != "" {
				one.Mails = with(one.Mails, portal.Mailbox{Name: m.name, Mail: m.mail})
			}
		}
		if len(one.Mails) > 0 {
			found = append(found, one)
		}
	}
	for _, category := range categories {
		if len(found) >= n || !matches(fold(category), asked) {
			continue
		}
		one := portal.Contact{Name: category, Group: true}
		for _, m := range byCategory[category] {
			if m.mail != "" {
				one.Mails = with(one.Mails, portal.Mailbox{Name: m.name, Mail: m.mail})
			}
		}
		if len(one.Mails) > 0 {
			found = append(found, one)
		}
	}
	return found
}

// with adds a member that is not there yet, up to mostMembers.
func with(list []portal.Mailbox, one portal.Mailbox) []portal.Mailbox {
	if len(list) >= mostMembers || slices.ContainsFunc(list, func(o portal.Mailbox) bool { return strings.EqualFold(o.Mail, one.Mail) }) {
		return list
	}
	return append(list, one)
}
