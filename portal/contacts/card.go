package contacts

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"beffroi/internal/i18n"
	"beffroi/internal/secret"
	"beffroi/internal/web"
	"beffroi/portal/dav"
	"beffroi/templates"
)

const contentType = "text/vcard; charset=utf-8"

// show is a card's own page.
func (c *Contacts) show(w http.ResponseWriter, r *http.Request) error {
	t, err := c.open(r)
	if err != nil {
		return err
	}
	page := &templates.ContactsCard{Layout: c.portal.Layout(r.Context(), "contacts", "contacts.title"), Card: detail(t), Done: done(r),
		Edit: t.path + "/edit", Delete: t.path + "/delete"}
	if name := t.card.Name(); name != "" {
		page.Title = name
	}
	page.CSS = []string{"contacts.css"}
	return web.Render(w, r, http.StatusOK, page)
}

func detail(t target) templates.ContactDetail {
	d := templates.ContactDetail{Name: t.card.Name(), Initials: initials(t.card.Name()), Org: t.card.Org(), Title: t.card.Title(), Note: t.card.Note(),
		Address: t.card.Address(), Book: t.book.Name, ReadOnly: t.book.ReadOnly, Group: t.card.IsGroup()}
	for _, v := range t.card.Emails() {
		d.Emails = append(d.Emails, templates.ContactValue{Value: v.Value, Kind: v.Kind, Write: write(v.Value)})
	}
	for _, v := range t.card.Phones() {
		d.Phones = append(d.Phones, templates.ContactValue{Value: v.Value, Kind: v.Kind, Call: call(v.Value)})
	}
	return d
}

// newForm is empty, or holds what the page of a colleague gives along.
func (c *Contacts) newForm(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	given, family := splitName(q.Get("name"))
	f := templates.ContactForm{Given: given, Family: family, JobTitle: q.Get("title")}
	if q.Get("mail") != "" {
		f.Emails = []templates.ContactValue{{Value: q.Get("mail"), Kind: "work"}}
	}
	if q.Get("phone") != "" {
		f.Phones = []templates.ContactValue{{Value: q.Get("phone"), Kind: "work"}}
	}
	return c.renderForm(w, r, http.StatusOK, nil, f)
}

func splitName(name string) (given, family string) {
	given, family, _ = strings.Cut(strings.TrimSpace(name), " ")
	return given, family
}

func (c *Contacts) create(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := readForm(r)
	if f.Problem = check(f); f.Problem != "" {
		return c.renderForm(w, r, http.StatusUnprocessableEntity, nil, f)
	}
	books, err := c.list(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(books, func(b book) bool { return b.ID == f.Book && !b.ReadOnly })
	if at < 0 {
		f.Problem = "contacts.problem.book"
		return c.renderForm(w, r, http.StatusUnprocessableEntity, nil, f)
	}
	uid := strings.ToLower(secret.Random())
	card := dav.NewCard(uid)
	card.Change(fields(f))
	href := books[at].Href + uid + ".vcf"
	if _, err := c.portal.AddressBooks(ctx).Create(ctx, href, contentType, card.String()); err != nil {
		return c.saveFailed(w, r, err, nil, f)
	}
	c.forget(ctx, books[at])
	return web.Redirect(w, r, cardPath(books[at].ID, href)+"?done=created")
}

func (c *Contacts) editForm(w http.ResponseWriter, r *http.Request) error {
	t, err := c.open(r)
	if err != nil {
		return err
	}
	if t.book.ReadOnly {
		return web.Fail(http.StatusForbidden, "contacts.problem.readonly", nil)
	}
	own := t.card.Fields()
	f := templates.ContactForm{Given: own.Given, Family: own.Family, Org: own.Org, JobTitle: own.Title, Note: own.Note, ETag: t.stored.ETag}
	for _, v := range own.Emails {
		f.Emails = append(f.Emails, templates.ContactValue{Value: v.Value, Kind: v.Kind})
	}
	for _, v := range own.Phones {
		f.Phones = append(f.Phones, templates.ContactValue{Value: v.Value, Kind: v.Kind})
	}
	return c.renderForm(w, r, http.StatusOK, &t, f)
}

// edit changes the card whose version the form was made from.
func (c *Contacts) edit(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f := readForm(r)
	t, err := c.open(r)
	if errors.Is(err, dav.ErrNotFound) && t.book.ID != "" {
		return c.gone(w, r, t, f)
	} else if err != nil {
		return err
	}
	if t.book.ReadOnly {
		return web.Fail(http.StatusForbidden, "contacts.problem.readonly", nil)
	}
	if f.Problem = check(f); f.Problem != "" {
		return c.renderForm(w, r, http.StatusUnprocessableEntity, &t, f)
	}
	if !dav.SameETag(f.ETag, t.stored.ETag) {
		return c.conflict(w, r, t, f)
	}
	t.card.Change(fields(f))
	_, err = c.portal.AddressBooks(ctx).Update(ctx, t.href, contentType, t.card.String(), t.stored.ETag)
	if errors.Is(err, dav.ErrConflict) {
		if t, err = c.open(r); errors.Is(err, dav.ErrNotFound) {
			return c.gone(w, r, t, f)
		} else if err != nil {
			return err
		}
		return c.conflict(w, r, t, f)
	}
	if err != nil {
		return c.saveFailed(w, r, err, &t, f)
	}
	c.forget(ctx, t.book)
	return web.Redirect(w, r, t.path+"?done=saved")
}

// conflict shows the person's input beside what somebody else saved meanwhile.
func (c *Contacts) conflict(w http.ResponseWriter, r *http.Request, t target, f templates.ContactForm) error {
	other := detail(t)
	f.Other, f.ETag = &other, t.stored.ETag
	return c.renderForm(w, r, http.StatusConflict, &t, f)
}

// gone keeps the input when the card was deleted meanwhile: saving makes it anew.
func (c *Contacts) gone(w http.ResponseWriter, r *http.Request, t target, f templates.ContactForm) error {
	f.Gone, f.ETag, f.Book = true, "", t.book.ID
	return c.renderForm(w, r, http.StatusConflict, nil, f)
}

func (c *Contacts) saveFailed(w http.ResponseWriter, r *http.Request, err error, t *target, f templates.ContactForm) error {
	switch {
	case errors.Is(err, dav.ErrForbidden):
		f.Problem = "contacts.problem.readonly"
	case errors.Is(err, dav.ErrTooLarge):
		f.Problem = "portal.dav.too_large"
	case errors.Is(err, dav.ErrUnavailable), errors.Is(err, dav.ErrConflict):
		f.Problem = "contacts.problem.unavailable"
	default:
		return err
	}
	return c.renderForm(w, r, http.StatusServiceUnavailable, t, f)
}

func (c *Contacts) renderForm(w http.ResponseWriter, r *http.Request, status int, t *target, f templates.ContactForm) error {
	ctx := r.Context()
	page := &templates.ContactsEdit{Layout: c.portal.Layout(ctx, "contacts", "contacts.new.title"), Action: "/contacts/new", Cancel: "/contacts/"}
	page.CSS, page.JS = []string{"contacts.css"}, []string{"contacts.js"}
	if t != nil {
		page.Title = i18n.T(web.Lang(ctx), "contacts.edit.title")
		page.Action, page.Cancel, page.BookName, page.Existing = t.path+"/edit", t.path, t.book.Name, true
	} else {
		books, err := c.list(ctx)
		if err != nil {
			return err
		}
		for _, b := range books {
			if !b.ReadOnly {
				page.Books = append(page.Books, templates.ContactBook{ID: b.ID, Name: b.Name})
			}
		}
		if len(page.Books) == 0 {
			return web.Fail(http.StatusForbidden, "contacts.problem.no_book", nil)
		}
	}
	// One empty line more than there are values: to add one without script.
	f.Emails = append(f.Emails, templates.ContactValue{Kind: "work"})
	f.Phones = append(f.Phones, templates.ContactValue{Kind: "work"})
	page.Form = f
	return web.Render(w, r, status, page)
}

func readForm(r *http.Request) templates.ContactForm {
	field := func(name string) string { return strings.TrimSpace(web.Field(r, name)) }
	f := templates.ContactForm{Given: field("given"), Family: field("family"), Org: field("org"), JobTitle: field("job_title"), Note: field("note"),
		Book: field("book"), ETag: field("etag")}
	f.Emails = pairs(r, "email", "email_kind")
	f.Phones = pairs(r, "phone", "phone_kind")
	return f
}

func pairs(r *http.Request, name, kindName string) []templates.ContactValue {
	kinds := r.PostForm[kindName]
	var all []templates.ContactValue
	for i, v := range r.PostForm[name] {
		if i == 50 {
			break
		}
		value := templates.ContactValue{Value: strings.TrimSpace(v)}
		if i < len(kinds) && slices.Contains([]string{"work", "home", "cell"}, kinds[i]) {
			value.Kind = kinds[i]
		}
		all = append(all, value)
	}
	for len(all) > 0 && all[len(all)-1].Value == "" && name != "" {
		// Empty lines at the end are those offered; one in the middle removes a value.
		all = all[:len(all)-1]
	}
	return all
}

// fields keeps empty values: they remove the card's own at their place.
func fields(f templates.ContactForm) dav.CardFields {
	out := dav.CardFields{Given: f.Given, Family: f.Family, Org: f.Org, Title: f.JobTitle, Note: f.Note}
	for _, v := range f.Emails {
		out.Emails = append(out.Emails, dav.Value{Value: v.Value, Kind: v.Kind})
	}
	for _, v := range f.Phones {
		out.Phones = append(out.Phones, dav.Value{Value: v.Value, Kind: v.Kind})
	}
	return out
}

// check gives the key of what is wrong, empty when nothing is.
func check(f templates.ContactForm) string {
	filled := func(v templates.ContactValue) bool { return v.Value != "" }
	if f.Given == "" && f.Family == "" && f.Org == "" && !slices.ContainsFunc(f.Emails, filled) {
		return "contacts.problem.name"
	}
	if len(f.Given)+len(f.Family)+len(f.Org)+len(f.JobTitle) > 2000 || len(f.Note) > 20_000 {
		return "portal.dav.too_large"
	}
	for _, v := range f.Emails {
		if filled(v) && (len(v.Value) > 254 || strings.Count(v.Value, "@") != 1 || strings.ContainsAny(v.Value, " <>,;\"\r\n") || strings.HasPrefix(v.Value, "@") || strings.HasSuffix(v.Value, "@")) {
			return "contacts.problem.mail"
		}
	}
	return ""
}

func (c *Contacts) confirmDelete(w http.ResponseWriter, r *http.Request) error {
	t, err := c.open(r)
	if err != nil {
		return err
	}
	if t.book.ReadOnly {
		return web.Fail(http.StatusForbidden, "contacts.problem.readonly", nil)
	}
	return c.renderDelete(w, r, http.StatusOK, t, false)
}

func (c *Contacts) renderDelete(w http.ResponseWriter, r *http.Request, status int, t target, changed bool) error {
	page := &templates.ContactsDelete{Layout: c.portal.Layout(r.Context(), "contacts", "contacts.delete.title"), Card: detail(t), Action: t.path + "/delete",
		Back: t.path, ETag: t.stored.ETag, Changed: changed}
	page.CSS = []string{"contacts.css"}
	return web.Render(w, r, status, page)
}

// remove deletes the card whose version the question showed.
func (c *Contacts) remove(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	t, err := c.open(r)
	if errors.Is(err, dav.ErrNotFound) && t.book.ID != "" {
		return web.Redirect(w, r, "/contacts/?done=deleted")
	} else if err != nil {
		return err
	}
	if t.book.ReadOnly {
		return web.Fail(http.StatusForbidden, "contacts.problem.readonly", nil)
	}
	if !dav.SameETag(web.Field(r, "etag"), t.stored.ETag) {
		return c.renderDelete(w, r, http.StatusConflict, t, true)
	}
	err = c.portal.AddressBooks(ctx).Delete(ctx, t.href, t.stored.ETag)
	switch {
	case errors.Is(err, dav.ErrConflict):
		if t, err = c.open(r); err != nil {
			return err
		}
		return c.renderDelete(w, r, http.StatusConflict, t, true)
	case errors.Is(err, dav.ErrForbidden):
		return web.Fail(http.StatusForbidden, "contacts.problem.readonly", err)
	case err != nil && !errors.Is(err, dav.ErrNotFound):
		return err
	}
	c.forget(ctx, t.book)
	return web.Redirect(w, r, "/contacts/?done=deleted")
}
