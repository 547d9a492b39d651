package webmail

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/templates"
)

const (
	searchAtOnce = 2 // mailboxes, so that other tabs find a connection
	searchLimit  = 20 * time.Second
	searchPages  = 20
)

// searchFor is how long one mailbox may take: for the text of its messages, and
// where that is too long, for names and subjects.
type searchFor struct{ text, headers time.Duration }

// foundIn is what one mailbox answered.
type foundIn struct {
	box      mailbox
	validity uint32
	total    int
	rows     []row // newest first, without summaries
	partly   bool  // only names and subjects were looked at
	failed   bool
}

// search answers GET /mail/search: query q, page, and the fields of the form with
// more to fill in, which become words of q.
func (s *service) search(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	l := web.Lang(ctx)
	values := r.URL.Query()
	if line, more := mergeFields(values); more {
		return web.Redirect(w, r, "/mail/search?q="+url.QueryEscape(line))
	}
	line := strings.TrimSpace(values.Get("q"))
	number, _ := strconv.Atoi(values.Get("page"))
	number = min(max(number, 1), searchPages)
	page := &templates.WebmailSearch{Query: line}
	all, err := s.labels(ctx)
	if err != nil {
		return err
	}
	q, wrong := parseQuery(line, s.location)
	for _, name := range q.labels {
		one, ok := labelNamed(all, name)
		if !ok && !validKeyword(name) {
			wrong = cmp.Or(wrong, error(&queryError{"webmail.search.label", name}))
		}
		q.keywords = append(q.keywords, imap.Flag(cmp.Or(one.keyword, name)))
	}
	var folders []mailbox
	var results []foundIn
	err = s.with(ctx, func(who owner) error {
		err := s.pools.Do(ctx, who, "", reads, func(c *conn) (err error) {
			folders, err = mailboxes(c)
			return err
		})
		if err != nil || wrong != nil || q.empty() {
			return err
		}
		boxes := searched(l, folders, q.in)
		if len(boxes) == 0 && q.in != "" {
			wrong = &queryError{"webmail.search.in", q.in}
			return nil
		}
		results, err = s.searchBoxes(ctx, who, boxes, q, number*pageSize+1)
		if err != nil {
			return err
		}
		return s.fillFound(ctx, who, results, number, page, l, all)
	})
	if err != nil {
		return err
	}
	page.Folders, _ = s.folders(l, folders, "")
	if page.Folders, err = s.withMarks(ctx, page.Folders, all); err != nil {
		return err
	}
	page.Labels = labelViews(all)
	if page.Kept, page.IsKept, err = s.keptSearches(ctx, line); err != nil {
		return err
	}
	for _, f := range folders {
		if f.openable {
			page.Boxes = append(page.Boxes, roleLabel(l, f))
		}
	}
	status := http.StatusOK
	var bad *queryError
	if errors.As(wrong, &bad) {
		page.Problem, status = i18n.T(l, bad.key, "word", shorten(cleanLine(bad.word), 60)), http.StatusUnprocessableEntity
	}
	page.Empty = wrong == nil && q.empty()
	page.Chips, page.Offered = chips(l, line, s.now().In(s.location))
	for _, f := range results {
		page.Total += f.total
		if f.partly {
			page.Partly = append(page.Partly, roleLabel(l, f.box))
		}
		if f.failed {
			page.Failed = append(page.Failed, roleLabel(l, f.box))
		}
	}
	address := func(n int) string {
		return "/mail/search?q=" + url.QueryEscape(line) + "&page=" + strconv.Itoa(n)
	}
	if number > 1 {
		page.Newer = address(number - 1)
	}
	if page.Total > number*pageSize && number < searchPages {
		page.Older = address(number + 1)
	}
	title := i18n.T(l, "webmail.search.title")
	if line != "" {
		title = line
	}
	page.Layout = s.layout(ctx, title, folders)
	return web.Render(w, r, status, page)
}

// mergeFields writes the fields of the long form as words of the line.
func mergeFields(v url.Values) (line string, more bool) {
	parts := []string{strings.TrimSpace(v.Get("q"))}
	for _, f := range []struct{ field, key string }{{"from", "from"}, {"to", "to"}, {"subject", "subject"}, {"after", "after"}, {"before", "before"}, {"in", "in"}, {"label", "label"}} {
		value := strings.TrimSpace(strings.ReplaceAll(v.Get(f.field), `"`, " "))
		if value == "" {
			continue
		}
		more = true
		if strings.ContainsAny(value, " ") {
			value = `"` + value + `"`
		}
		parts = append(parts, f.key+":"+value)
	}
	for field, word := range map[string]string{"file": "has:attachment", "unread": "is:unread"} {
		if v.Get(field) != "" {
			more = true
			parts = append(parts, word)
		}
	}
	return strings.TrimSpace(strings.Join(parts, " ")), more
}

// searched are the mailboxes to look in: the one that is named, by its role, its
// label or its whole name, or all but what was thrown away.
func searched(l i18n.Lang, all []mailbox, name string) (boxes []mailbox) {
	for _, m := range all {
		if !m.openable {
			continue
		}
		if name == "" {
			if m.counted && m.messages == 0 { // not opened: a connection keeps the large one that it has open
				continue
			}
			if m.role != roleTrash && m.role != roleJunk && len(boxes) < followBoxes {
				boxes = append(boxes, m)
			}
			continue
		}
		if wanted := fold(name); wanted == fold(m.name) || wanted == fold(m.label) || wanted == fold(roleLabel(l, m)) || wanted == m.role {
			boxes = append(boxes, m)
		}
	}
	return boxes
}

// searchBoxes looks in every mailbox, a few at a time. One that does not answer
// costs its own results only.
func (s *service) searchBoxes(ctx context.Context, who owner, boxes []mailbox, q query, most int) ([]foundIn, error) {
	ctx, cancel := context.WithTimeout(ctx, searchLimit)
	defer cancel()
	results := make([]foundIn, len(boxes))
	slots := make(chan struct{}, searchAtOnce)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var refused error
	for i, box := range boxes {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f := foundIn{box: box}
			err := s.searchBox(ctx, s.searchFor.text, who, &f, q.criteria(false), most)
			if err != nil && len(q.text)+len(q.not) > 0 && ctx.Err() == nil && !errors.Is(err, errSignIn) {
				f = foundIn{box: box, partly: true}
				err = s.searchBox(ctx, s.searchFor.headers, who, &f, q.criteria(true), most)
			}
			if err != nil {
				s.log.InfoContext(ctx, "mailbox not searched", "error", err)
				f = foundIn{box: box, failed: true}
				if errors.Is(err, errSignIn) {
					mu.Lock()
					refused = err
					mu.Unlock()
				}
			}
			results[i] = f
		})
	}
	wg.Wait()
	return results, refused
}

// searchBox asks one mailbox; of what is found, the newest ones are read.
func (s *service) searchBox(ctx context.Context, limit time.Duration, who owner, f *foundIn, criteria *imap.SearchCriteria, most int) error {
	return s.pools.DoFor(ctx, limit, who, f.box.name, writes, func(c *conn) error { // "writes": not asked twice
		total, err := c.open(f.box.name, true)
		if err != nil || total == 0 {
			return err
		}
		f.validity = c.validity
		data, err := c.UIDSearch(criteria, nil).Wait()
		if err != nil {
			return err
		}
		uids := data.AllUIDs()
		f.total = len(uids)
		slices.Sort(uids)
		uids = uids[max(0, len(uids)-most):]
		if len(uids) == 0 {
			return nil
		}
		messages, err := c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, Flags: true, InternalDate: true}).Collect()
		if err != nil {
			return err
		}
		for _, m := range messages {
			f.rows = append(f.rows, row{uid: m.UID, flags: m.Flags, received: m.InternalDate})
		}
		return nil
	})
}

// fillFound puts what was found everywhere in one order, the newest first, and
// reads the rows of the page.
func (s *service) fillFound(ctx context.Context, who owner, results []foundIn, number int, page *templates.WebmailSearch, l i18n.Lang, all []label) error {
	type hit struct {
		at  ref
		row row
		box mailbox
	}
	var hits []hit
	for _, f := range results {
		for _, r := range f.rows {
			hits = append(hits, hit{ref{f.box.name, f.validity, r.uid}, r, f.box})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(b.row.received.Compare(a.row.received), strings.Compare(a.at.box, b.at.box), cmp.Compare(b.at.uid, a.at.uid))
	})
	first := min((number-1)*pageSize, len(hits))
	hits = hits[first:min(first+pageSize, len(hits))]
	var turns []turn
	for _, h := range hits {
		turns = append(turns, turn{ref: h.at})
	}
	rows, err := s.readTurns(ctx, who, turns)
	if err != nil {
		return err
	}
	for _, h := range hits {
		r, ok := rows[h.at]
		if !ok {
			continue
		}
		one := templates.MailFound{Href: h.at.path(), Who: names(r.from), Subject: r.subject, Preview: r.preview, Date: r.date.In(s.location), Unread: !r.has(imap.FlagSeen),
			Flagged: r.has(imap.FlagFlagged), Attachment: r.attachment || r.has("$HasAttachment"), Box: roleLabel(l, h.box), Icon: roleIcons[h.box.role], Labels: labelsOn(all, r.flags)}
		if h.box.role == roleSent || h.box.role == roleDrafts {
			one.Who = names(r.to)
		}
		if h.box.role == roleDrafts {
			one.Href = "/mail/compose?draft=" + url.QueryEscape(h.at.path())
		}
		if r.unreadable {
			one.Subject, one.Preview = i18n.T(l, "webmail.row.unreadable"), ""
		}
		page.Found = append(page.Found, one)
	}
	return nil
}
