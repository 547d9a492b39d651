package contacts

import (
	"errors"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/templates"
)

// pageSize is how many cards stand on a page.
const pageSize = 50

// search lists what matches, the person's own cards before colleagues; without
// a question, the person's cards.
func (c *Contacts) search(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	if utf8.RuneCountInString(q) > 100 {
		q = string([]rune(q)[:100])
	}
	page := &templates.ContactsList{Layout: c.portal.Layout(ctx, "contacts", "contacts.title"), Query: q, Done: done(r)}
	page.CSS, page.JS = []string{"contacts.css"}, []string{"contacts.js"}

	type directory struct {
		people []portal.Colleague
		err    error
	}
	asked := make(chan directory, 1)
	if utf8.RuneCountInString(q) >= 2 {
		go func() {
			people, err := c.portal.People(ctx, q)
			asked <- directory{people, err}
		}()
	} else {
		asked <- directory{}
	}
	books, err := c.list(ctx)
	var g gathered
	if err == nil {
		g = c.all(ctx, books)
	}
	found := <-asked
	for _, e := range []error{err, found.err} {
		if errors.Is(e, portal.ErrSignedOut) {
			return e
		}
	}
	if err != nil && (q == "" || found.err != nil) {
		return err // neither books nor directory
	}
	page.BooksFailed = err != nil
	page.DirectoryFailed = found.err != nil && !errors.Is(found.err, portal.ErrRefused)
	page.Failed, page.Unreadable = g.failed, g.unreadable
	for _, b := range books {
		page.Writable = page.Writable || !b.ReadOnly
	}
	c.fill(page, g.entries, q, r.URL.Query().Get("page"))
	for _, p := range found.people {
		page.Colleagues = append(page.Colleagues, templates.ContactRow{Name: p.Name, Sub: joinNotEmpty(" · ", p.Title, p.School), Mail: p.Mail, Phone: p.Phone,
			Initials: initials(p.Name), Href: "/contacts/person/" + url.PathEscape(p.Login), Write: write(p.Mail)})
	}
	return web.Render(w, r, http.StatusOK, page)
}

func (c *Contacts) fill(page *templates.ContactsList, entries []entry, q, number string) {
	asked := words(q)
	var kept []entry
	for _, e := range entries {
		if len(asked) == 0 || matches(e.folded, asked) {
			kept = append(kept, e)
		}
	}
	sort.SliceStable(kept, func(i, j int) bool { return kept[i].sortKey < kept[j].sortKey })
	page.Total = len(kept)
	n, _ := strconv.Atoi(number)
	n = max(1, min(n, (len(kept)+pageSize-1)/pageSize))
	from := (n - 1) * pageSize
	to := min(from+pageSize, len(kept))
	address := func(n int) string {
		v := url.Values{}
		if q != "" {
			v.Set("q", q)
		}
		if n > 1 {
			v.Set("page", strconv.Itoa(n))
		}
		if len(v) == 0 {
			return "/contacts/"
		}
		return "/contacts/?" + v.Encode()
	}
	if n > 1 {
		page.Previous = address(n - 1)
	}
	if to < len(kept) {
		page.Next = address(n + 1)
	}
	page.First, page.Last = min(from+1, len(kept)), to
	for _, e := range kept[min(from, len(kept)):to] {
		page.Cards = append(page.Cards, templates.ContactRow{Name: e.name, Sub: joinNotEmpty(" · ", e.org, e.mail), Mail: e.mail, Phone: e.phone,
			Initials: initials(e.name), Href: e.path, Write: write(e.mail)})
	}
}

// write is the address of a new message to somebody.
func write(mail string) string {
	if mail == "" {
		return ""
	}
	return "/mail/compose?" + url.Values{"to": {mail}}.Encode()
}

func joinNotEmpty(separator string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, separator)
}

func done(r *http.Request) string {
	switch r.URL.Query().Get("done") {
	case "created":
		return "contacts.done.created"
	case "saved":
		return "contacts.done.saved"
	case "deleted":
		return "contacts.done.deleted"
	}
	return ""
}

// colleague is the page of somebody of the directory.
func (c *Contacts) colleague(w http.ResponseWriter, r *http.Request) error {
	login := r.PathValue("login")
	if utf8.RuneCountInString(login) < 2 {
		return web.Fail(http.StatusNotFound, "contacts.nobody", nil)
	}
	people, err := c.portal.People(r.Context(), login)
	if err != nil {
		return err
	}
	for _, p := range people {
		if p.Login != login {
			continue
		}
		page := &templates.ContactsPerson{Layout: c.portal.Layout(r.Context(), "contacts", "contacts.title"), Colleague: templates.ContactDetail{
			Name: p.Name, Initials: initials(p.Name), Title: p.Title, School: p.School}}
		page.Title = p.Name
		page.CSS = []string{"contacts.css"}
		if p.Mail != "" {
			page.Colleague.Emails = []templates.ContactValue{{Value: p.Mail, Write: write(p.Mail)}}
		}
		if p.Phone != "" {
			page.Colleague.Phones = []templates.ContactValue{{Value: p.Phone, Call: call(p.Phone)}}
		}
		page.Keep = "/contacts/new?" + url.Values{"name": {p.Name}, "mail": {p.Mail}, "phone": {p.Phone}, "title": {p.Title}}.Encode()
		return web.Render(w, r, http.StatusOK, page)
	}
	return web.Fail(http.StatusNotFound, "contacts.nobody", nil)
}

// call is the number of a tel: link.
func call(phone string) string { return digits(phone) }
