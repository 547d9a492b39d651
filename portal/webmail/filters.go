package webmail

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/portal/webmail/sieve"
	"beffroi/templates"
)

// Filters and the absence are one Sieve script on the mail server, that runs
// whether or not anybody is signed in. Scripts of other programs go on running
// after it.

const (
	mostRules = 100
	mostTests = 10
)

var (
	errFiltersChanged = errors.New("webmail: the filters were changed meanwhile")
	errFilterRefused  = errors.New("webmail: the server does not take the filters")
)

// filters are what the server has now.
type filters struct {
	set        sieve.Set
	version    string // of Beffroi's script, to see changes made meanwhile
	text       string
	changed    bool     // by another program
	active     string   // the script that runs, "" for none
	extensions []string // that the server knows
}

// foreign is the script of another program that runs instead of Beffroi's.
func (f filters) foreign() string {
	if f.active == sieve.Name {
		return ""
	}
	return f.active
}

// withSieve runs f on a connection of the person.
func (s *service) withSieve(ctx context.Context, f func(c *sieve.Conn) error) error {
	return s.with(ctx, func(who owner) error {
		ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
		defer cancel()
		c, err := sieve.Dial(ctx, sieve.Options{Address: s.sieve.address, Mode: s.sieve.mode, TLS: s.sieve.tlsConfig(), SASL: s.sieve.auth.client(s.sieve.address, who.login, who.token)})
		if err == nil {
			defer c.Close()
			err = f(c)
		}
		switch {
		case errors.Is(err, sieve.ErrSignIn):
			return fmt.Errorf("%w: %w", errSignIn, err)
		case errors.Is(err, sieve.ErrDown) && ctx.Err() != nil:
			return fmt.Errorf("%w: %w: %w", errDown, context.DeadlineExceeded, err)
		case errors.Is(err, sieve.ErrDown):
			return fmt.Errorf("%w: %w", errDown, err)
		}
		return err
	})
}

func readFilters(c *sieve.Conn) (f filters, err error) {
	scripts, err := c.List()
	if err != nil {
		return f, err
	}
	for _, one := range scripts {
		if one.Active {
			f.active = one.Name
		}
		if one.Name == sieve.Name {
			if f.text, err = c.Get(one.Name); err != nil {
				return f, err
			}
		}
	}
	f.extensions, f.version = c.Extensions(), sieve.Version(f.text)
	f.set, f.changed = sieve.Read(f.text)
	return f, nil
}

func (s *service) filters(ctx context.Context) (f filters, err error) {
	err = s.withSieve(ctx, func(c *sieve.Conn) (err error) {
		f, err = readFilters(c)
		return err
	})
	return f, err
}

// changeFilters writes the script anew after a change, which must have been made
// to this version. What another program wrote is kept: its own script runs after
// Beffroi's, and what it changed in Beffroi's is copied beside.
func (s *service) changeFilters(ctx context.Context, version string, change func(set *sieve.Set, extensions []string) error) error {
	return s.withSieve(ctx, func(c *sieve.Conn) error {
		f, err := readFilters(c)
		if err != nil {
			return err
		}
		if f.version != version {
			return errFiltersChanged
		}
		if err := change(&f.set, f.extensions); err != nil {
			return err
		}
		if other := f.foreign(); other != "" && !slices.Contains(f.set.Includes, other) {
			f.set.Includes = append(f.set.Includes, other)
		}
		text, err := sieve.Write(f.set, f.extensions, s.location)
		if err != nil {
			return fmt.Errorf("%w: %w", errFilterRefused, err)
		}
		if f.changed {
			if err := c.Put(fmt.Sprintf("%s-%s", sieve.Name, s.now().In(s.location).Format("2006-01-02-150405")), f.text); err != nil {
				return fmt.Errorf("%w: %w", errFilterRefused, err)
			}
		}
		if err := c.Put(sieve.Name, text); err != nil {
			var no *sieve.Refused
			if errors.As(err, &no) {
				return fmt.Errorf("%w: %w", errFilterRefused, err)
			}
			return err
		}
		return c.Activate(sieve.Name)
	})
}

// filterFailure is the sentence for what came of a change.
func filterFailure(err error) error {
	switch {
	case errors.Is(err, errFiltersChanged):
		return web.Fail(http.StatusConflict, "webmail.filters.meanwhile", err)
	case errors.Is(err, sieve.ErrMissing):
		return web.Fail(http.StatusBadGateway, "webmail.filters.missing", err)
	case errors.Is(err, errFilterRefused):
		return web.Fail(http.StatusBadGateway, "webmail.filters.refused", err)
	}
	return err
}

// showFilters answers GET /mail/filters: the rules in their order.
func (s *service) showFilters(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := s.filters(ctx)
	if err != nil {
		return err
	}
	page := &templates.WebmailFilters{Version: f.version, Changed: f.changed, Foreign: f.foreign(), Includes: f.set.Includes, Done: r.URL.Query().Get("done")}
	all, err := s.labels(ctx)
	if err != nil {
		return err
	}
	l := web.Lang(ctx)
	var folders []mailbox
	if page.Layout, page.Folders, folders, err = s.settingsParts(ctx, "webmail.filters.title"); err != nil {
		return err
	}
	for _, rule := range f.set.Rules {
		page.Rules = append(page.Rules, ruleView(l, rule, folders, all))
	}
	return web.Render(w, r, http.StatusOK, page)
}

// ruleView says a rule in words.
func ruleView(l i18n.Lang, rule sieve.Rule, folders []mailbox, all []label) templates.MailRule {
	v := templates.MailRule{ID: rule.ID, Name: rule.Name, Off: rule.Off}
	var tests, does []string
	for _, t := range rule.Tests {
		key := "webmail.test." + t.Field
		if t.Not {
			key += ".not"
		}
		tests = append(tests, i18n.T(l, key, "value", t.Value))
	}
	glue := "webmail.filters.and"
	if rule.Any {
		glue = "webmail.filters.or"
	}
	v.Tests = strings.Join(tests, " "+i18n.T(l, glue)+" ")
	if rule.Folder != "" {
		name := rule.Folder
		for _, m := range folders {
			if m.name == rule.Folder {
				name = roleLabel(l, m)
			}
		}
		does = append(does, i18n.T(l, "webmail.does.folder", "folder", name))
	}
	if rule.Label != "" {
		one, _ := labelNamed(all, rule.Label)
		does = append(does, i18n.T(l, "webmail.does.label", "label", cmp.Or(one.Name, rule.Label)))
	}
	for _, d := range []struct {
		on  bool
		key string
	}{{rule.Read, "read"}, {rule.Flag, "flag"}} {
		if d.on {
			does = append(does, i18n.T(l, "webmail.does."+d.key))
		}
	}
	if rule.Redirect != "" {
		does = append(does, i18n.T(l, "webmail.does.redirect", "mail", rule.Redirect))
	}
	v.Does = strings.Join(does, i18n.T(l, "webmail.filters.comma")+" ")
	return v
}

// postFilters answers POST /mail/filters, field do: up, down, on, off, remove, or
// activate, that makes Beffroi's script the one that runs.
func (s *service) postFilters(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	do, id := web.Field(r, "do"), web.Field(r, "id")
	err := s.changeFilters(ctx, web.Field(r, "version"), func(set *sieve.Set, _ []string) error {
		if do == "activate" {
			return nil
		}
		at := slices.IndexFunc(set.Rules, func(one sieve.Rule) bool { return one.ID == id })
		if at < 0 {
			return errFiltersChanged
		}
		switch do {
		case "up", "down":
			to := at - 1
			if do == "down" {
				to = at + 1
			}
			if to >= 0 && to < len(set.Rules) {
				set.Rules[at], set.Rules[to] = set.Rules[to], set.Rules[at]
			}
		case "on", "off":
			set.Rules[at].Off = do == "off"
		case "remove":
			set.Rules = slices.Delete(set.Rules, at, at+1)
		default:
			return web.Fail(http.StatusBadRequest, "webmail.error.action", errors.New("unknown action"))
		}
		return nil
	})
	if err != nil {
		return filterFailure(err)
	}
	return web.Redirect(w, r, "/mail/filters")
}

// editFilter answers GET /mail/filters/edit: query id for a rule that is there, or
// from, list, subject to begin one with.
func (s *service) editFilter(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := s.filters(ctx)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	rule := sieve.Rule{}
	if id := q.Get("id"); id != "" {
		at := slices.IndexFunc(f.set.Rules, func(one sieve.Rule) bool { return one.ID == id })
		if at < 0 {
			return web.Fail(http.StatusNotFound, "webmail.filters.gone", errors.New("no such rule"))
		}
		rule = f.set.Rules[at]
	}
	for _, field := range []string{"from", "list", "subject"} {
		if value := shorten(cleanLine(q.Get(field)), 200); value != "" {
			rule.Tests = append(rule.Tests, sieve.Test{Field: field, Value: value})
			rule.Name = cmp.Or(rule.Name, value)
		}
	}
	return s.filterPage(w, r, http.StatusOK, &templates.WebmailFilter{Version: f.version}, rule)
}

func (s *service) filterPage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailFilter, rule sieve.Rule) error {
	ctx := r.Context()
	l := web.Lang(ctx)
	all, err := s.labels(ctx)
	if err != nil {
		return err
	}
	var folders []mailbox
	title := "webmail.filters.new"
	if rule.ID != "" {
		title = "webmail.filters.change"
	}
	if page.Layout, page.Folders, folders, err = s.settingsParts(ctx, title); err != nil {
		return err
	}
	page.ID, page.Name, page.Any, page.Read, page.Flag, page.Redirect, page.Go, page.Label = rule.ID, rule.Name, rule.Any, rule.Read, rule.Flag, rule.Redirect, rule.Go, rule.Label
	page.Labels, page.Fields = labelViews(all), sieve.Fields
	for _, m := range folders {
		if m.openable && m.role != roleDrafts && m.role != roleSent {
			page.Targets = append(page.Targets, templates.MailChoice{Value: m.name, Label: strings.Repeat("  ", m.depth) + roleLabel(l, m), On: m.name == rule.Folder})
		}
	}
	for _, t := range rule.Tests {
		page.Tests = append(page.Tests, templates.MailTest{Field: t.Field, Not: t.Not, Value: t.Value})
	}
	if rows := max(len(page.Tests), 1) + page.Extra; len(page.Tests) < mostTests {
		for len(page.Tests) < min(rows, mostTests) {
			page.Tests = append(page.Tests, templates.MailTest{Field: "from"})
		}
	}
	for i := range page.Tests {
		page.Tests[i].Number = i + 1
	}
	page.CanAdd = len(page.Tests) < mostTests
	page.Domains = strings.Join(s.redirects(ctx), ", ")
	return web.Render(w, r, status, page)
}

// redirects are the domains where filters may send copies, "*" for all.
func (s *service) redirects(ctx context.Context) []string {
	if len(s.config.Redirects) > 0 {
		return s.config.Redirects
	}
	if _, domain, ok := strings.Cut(s.person(ctx).Mail, "@"); ok {
		return []string{domain}
	}
	return nil
}

// ruleOf reads the form. wrong is the key of what is wrong with it.
func (s *service) ruleOf(ctx context.Context, form url.Values) (rule sieve.Rule, wrong string) {
	rule = sieve.Rule{ID: form.Get("id"), Name: strings.TrimSpace(cleanLine(form.Get("name"))), Any: form.Get("any") == "1", Folder: form.Get("folder"), Label: form.Get("label"),
		Read: form.Get("read") != "", Flag: form.Get("flag") != "", Redirect: strings.TrimSpace(cleanLine(form.Get("redirect"))), Go: form.Get("go") != ""}
	say := func(key string) { wrong = cmp.Or(wrong, key) }
	if len(rule.Name) > 120 {
		rule.Name = shorten(rule.Name, 120)
	}
	fields, values, nots := form["field"], form["value"], form["not"]
	for i := range min(len(fields), len(values), len(nots), mostTests) {
		t := sieve.Test{Field: fields[i], Not: nots[i] == "1", Value: strings.TrimSpace(cleanLine(values[i]))}
		if t.Value == "" && t.Field != "file" {
			continue
		}
		if !slices.Contains(sieve.Fields, t.Field) || len(t.Value) > 300 {
			say("webmail.filters.badtest")
			continue
		}
		if t.Field == "size" {
			if n, err := strconv.Atoi(t.Value); err != nil || n < 1 || n > 1000 {
				say("webmail.filters.badsize")
			}
		}
		if t.Field == "file" {
			t.Value = ""
		}
		rule.Tests = append(rule.Tests, t)
	}
	if len(rule.Tests) == 0 {
		say("webmail.filters.notest")
	}
	if rule.Folder == "" && rule.Label == "" && !rule.Read && !rule.Flag && rule.Redirect == "" {
		say("webmail.filters.nothing")
	}
	if rule.Label != "" && !validKeyword(rule.Label) || len(rule.Folder) > 500 || strings.ContainsAny(rule.Folder, "\r\n\x00") {
		say("webmail.filters.badtest")
	}
	if rule.Redirect != "" {
		mail, ok := validMail(rule.Redirect)
		if !ok {
			say("webmail.filters.badmail")
		} else {
			rule.Redirect = mail
			domain := strings.ToLower(mail[strings.LastIndexByte(mail, '@')+1:])
			allowed := s.redirects(ctx)
			if !slices.Contains(allowed, "*") && !slices.ContainsFunc(allowed, func(d string) bool { return strings.EqualFold(d, domain) }) {
				say("webmail.filters.outside")
			}
		}
	}
	if rule.Name == "" && len(rule.Tests) > 0 {
		rule.Name = cmp.Or(rule.Tests[0].Value, i18n.T(web.Lang(ctx), "webmail.field.file"))
	}
	return rule, wrong
}

// postFilter answers POST /mail/filters/edit, field do: more, another condition,
// or save.
func (s *service) postFilter(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	version := web.Field(r, "version")
	rule, wrong := s.ruleOf(ctx, r.PostForm)
	page := &templates.WebmailFilter{Version: version}
	if web.Field(r, "do") == "more" {
		page.Extra = 1
		return s.filterPage(w, r, http.StatusOK, page, rule)
	}
	if wrong != "" {
		page.Error = wrong
		page.Domains = strings.Join(s.redirects(ctx), ", ")
		return s.filterPage(w, r, http.StatusUnprocessableEntity, page, rule)
	}
	err := s.changeFilters(ctx, version, func(set *sieve.Set, _ []string) error {
		at := slices.IndexFunc(set.Rules, func(one sieve.Rule) bool { return one.ID == rule.ID })
		switch {
		case rule.ID == "" && len(set.Rules) >= mostRules:
			return web.Fail(http.StatusConflict, "webmail.filters.many", errors.New("too many rules"))
		case rule.ID == "":
			rule.ID = strings.ToLower(rand.Text()[:12])
			set.Rules = append(set.Rules, rule)
		case at < 0:
			return errFiltersChanged
		default:
			rule.Off = set.Rules[at].Off
			set.Rules[at] = rule
		}
		return nil
	})
	if errors.Is(err, errFiltersChanged) || errors.Is(err, errFilterRefused) { // what was typed stays
		page.Error = "webmail.filters.refused"
		if errors.Is(err, sieve.ErrMissing) {
			page.Error = "webmail.filters.missing"
		}
		if errors.Is(err, errFiltersChanged) {
			f, err := s.filters(ctx)
			if err != nil {
				return err
			}
			page.Error, page.Version = "webmail.filters.again", f.version
			if !slices.ContainsFunc(f.set.Rules, func(one sieve.Rule) bool { return one.ID == rule.ID }) {
				rule.ID = ""
			}
		}
		s.log.InfoContext(ctx, "filter not written", "error", err, "request", web.RequestID(ctx))
		return s.filterPage(w, r, http.StatusConflict, page, rule)
	}
	if err != nil {
		return err
	}
	return web.Redirect(w, r, "/mail/filters?done=saved")
}

// showAbsence answers GET /mail/absence.
func (s *service) showAbsence(w http.ResponseWriter, r *http.Request) error {
	f, err := s.filters(r.Context())
	if err != nil {
		return err
	}
	page := &templates.WebmailAbsence{Version: f.version, Foreign: f.foreign(), Done: r.URL.Query().Get("done")}
	return s.absencePage(w, r, http.StatusOK, page, f.set.Absence)
}

func (s *service) absencePage(w http.ResponseWriter, r *http.Request, status int, page *templates.WebmailAbsence, a sieve.Absence) error {
	ctx := r.Context()
	var err error
	if page.Layout, page.Folders, _, err = s.settingsParts(ctx, "webmail.absence.title"); err != nil {
		return err
	}
	page.On, page.From, page.Until, page.Subject, page.Text, page.Inside = a.On, a.From, a.Until, a.Subject, a.Text, a.Domain != ""
	if _, domain, ok := strings.Cut(s.person(ctx).Mail, "@"); ok {
		page.Domain = domain
	}
	today := s.now().In(s.location).Format(time.DateOnly)
	switch {
	case !a.On:
		page.State = "off"
	case a.Until != "" && a.Until < today:
		page.State = "over"
	case a.From > today:
		page.State = "later"
	default:
		page.State = "now"
	}
	return web.Render(w, r, status, page)
}

// postAbsence answers POST /mail/absence.
func (s *service) postAbsence(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	a := sieve.Absence{On: web.Field(r, "on") != "", From: web.Field(r, "from"), Until: web.Field(r, "until"), Subject: strings.TrimSpace(cleanLine(web.Field(r, "subject"))),
		Text: strings.TrimSpace(cleanText(web.Field(r, "text")))}
	page := &templates.WebmailAbsence{Version: web.Field(r, "version")}
	if mail, ok := validMail(s.person(ctx).Mail); ok {
		a.Addresses = []string{mail}
		if web.Field(r, "inside") != "" {
			a.Domain = mail[strings.LastIndexByte(mail, '@')+1:]
		}
	}
	for _, day := range []string{a.From, a.Until} {
		if _, err := time.Parse(time.DateOnly, day); err != nil && day != "" {
			page.Error = "webmail.absence.badday"
		}
	}
	switch {
	case page.Error != "":
	case a.On && a.Text == "":
		page.Error = "webmail.absence.notext"
	case len(a.Text) > 8000 || len(a.Subject) > 300:
		page.Error = "webmail.absence.long"
	case a.From != "" && a.Until != "" && a.Until < a.From:
		page.Error = "webmail.absence.order"
	}
	if page.Error != "" {
		return s.absencePage(w, r, http.StatusUnprocessableEntity, page, a)
	}
	err := s.changeFilters(ctx, page.Version, func(set *sieve.Set, _ []string) error {
		set.Absence = a
		return nil
	})
	if errors.Is(err, errFiltersChanged) {
		f, err := s.filters(ctx)
		if err != nil {
			return err
		}
		page.Error, page.Version = "webmail.filters.again", f.version
		return s.absencePage(w, r, http.StatusConflict, page, a)
	}
	if err != nil {
		return filterFailure(err)
	}
	return web.Redirect(w, r, "/mail/absence?done=saved")
}

// listID is the name of the list that a message came by (RFC 2919), "" for none.
func listID(h header) string {
	id := h.text("list-id")
	if i, j := strings.LastIndexByte(id, '<'), strings.LastIndexByte(id, '>'); i >= 0 && j > i {
		id = id[i+1 : j]
	}
	return shorten(cleanLine(id), 200)
}
