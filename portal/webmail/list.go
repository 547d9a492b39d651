package webmail

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	pageSize    = 50
	previewRead = 1200 // bytes of a message read for the start of its text
)

// row is one line of a message list.
type row struct {
	uid        imap.UID
	seq        uint32
	flags      []imap.Flag
	received   time.Time
	size       int64
	unreadable bool // the server's answer about it could not be understood
	summary
}

// summary is what never changes about a message, remembered between pages.
type summary struct {
	from, to   []address
	subject    string
	date       time.Time
	attachment bool
	preview    string
}

func (r row) has(f imap.Flag) bool {
	return slices.ContainsFunc(r.flags, func(g imap.Flag) bool { return strings.EqualFold(string(f), string(g)) })
}

var listFields = []string{"FROM", "TO", "CC", "SUBJECT", "DATE", "CONTENT-TYPE", "CONTENT-TRANSFER-ENCODING"}

// page is a mailbox seen from newest to oldest.
type page struct {
	box      string
	validity uint32
	total    int
	number   int // from 1
	rows     []row
	folders  []mailbox
	shares   bool // the server knows who may do what (ACL)
}

func (p page) pages() int { return max(1, (p.total+pageSize-1)/pageSize) }

// readPage reads one page by sequence numbers, straight from the server: first
// what is small and always well formed, then the headers of the messages not
// seen before. ENVELOPE and BODYSTRUCTURE stay out of it: one message that
// go-imap cannot parse there would close the connection for all fifty.
func (s *service) readPage(ctx context.Context, who owner, box string, number int) (*page, error) {
	var p page
	err := s.pools.Do(ctx, who, box, reads, func(c *conn) error {
		p = page{box: box, number: max(1, number)}
		total, err := c.open(box, true)
		if err != nil {
			return err
		}
		p.validity, p.total = c.validity, int(total)
		p.number = min(p.number, p.pages())
		p.shares = c.Caps().Has(imap.CapACL)
		if p.folders, err = mailboxes(c); err != nil {
			return err
		}
		if total == 0 {
			return nil
		}
		last := total - uint32((p.number-1)*pageSize)
		first := uint32(1)
		if last > pageSize {
			first = last - pageSize + 1
		}
		var seqs imap.SeqSet
		seqs.AddRange(first, last)
		found, err := c.Fetch(seqs, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true}).Collect()
		if err != nil {
			return err
		}
		for _, m := range found {
			if m.UID != 0 {
				p.rows = append(p.rows, row{uid: m.UID, seq: m.SeqNum, flags: m.Flags, received: m.InternalDate, size: m.RFC822Size})
			}
		}
		slices.SortFunc(p.rows, func(a, b row) int { return int(b.seq) - int(a.seq) })
		return s.fillFrom(c, who, &p)
	})
	if err == nil {
		return &p, nil
	}
	if errors.Is(err, errDropped) && len(p.rows) > 0 && ctx.Err() == nil {
		// Something about these messages makes the conversation break. Halving
		// finds the one; the others are shown. A server that always breaks it
		// is down.
		patience := 24
		if err := s.fillByHalves(ctx, who, &p, p.rows, &patience); err != nil {
			return nil, err
		}
		return &p, nil
	}
	return nil, err
}

// fillFrom completes the rows from what is remembered and from c.
func (s *service) fillFrom(c *conn, who owner, p *page) error {
	missing := s.summaries.fill(who.sub, p)
	if len(missing) == 0 {
		return nil
	}
	found, err := fetchSummaries(c, missing)
	if err != nil {
		return err
	}
	s.summaries.add(who.sub, p, found)
	s.summaries.fill(who.sub, p)
	return nil
}

// fillByHalves asks for fewer and fewer messages on fresh connections until
// only the ones that break the conversation are left out.
func (s *service) fillByHalves(ctx context.Context, who owner, p *page, rows []row, patience *int) error {
	if len(rows) == 0 {
		return nil
	}
	if *patience--; *patience < 0 {
		return errDown
	}
	var uids imap.UIDSet
	known := map[imap.UID]bool{}
	for _, r := range rows {
		uids.AddNum(r.uid)
		known[r.uid] = true
	}
	err := s.pools.Do(ctx, who, p.box, writes, func(c *conn) error { // "writes": not repeated by the pool
		if err := c.openAt(p.box, p.validity, true); err != nil {
			return err
		}
		found, err := fetchSummaries(c, uids)
		if err != nil {
			return err
		}
		s.summaries.add(who.sub, p, found)
		return nil
	})
	switch {
	case err == nil:
	case !errors.Is(err, errDropped) || ctx.Err() != nil:
		return err
	case len(rows) == 1:
		s.summaries.add(who.sub, p, map[imap.UID]summary{rows[0].uid: {date: rows[0].received, subject: unreadableSubject}})
	default:
		half := len(rows) / 2
		if err := s.fillByHalves(ctx, who, p, rows[:half], patience); err != nil {
			return err
		}
		if err := s.fillByHalves(ctx, who, p, rows[half:], patience); err != nil {
			return err
		}
	}
	s.summaries.fill(who.sub, p)
	return nil
}

// unreadableSubject marks a summary that could not be had. No real subject
// holds a NUL.
const unreadableSubject = "\x00"

func fetchSummaries(c *conn, uids imap.UIDSet) (map[imap.UID]summary, error) {
	head := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: listFields, Peek: true}
	text := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText, Peek: true, Partial: &imap.SectionPartial{Size: previewRead}}
	messages, err := c.Fetch(uids, &imap.FetchOptions{UID: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{head, text}}).Collect()
	if err != nil {
		return nil, err
	}
	found := map[imap.UID]summary{}
	for _, m := range messages {
		found[m.UID] = summarise(sectionOf(m, imap.PartSpecifierHeader), sectionOf(m, imap.PartSpecifierText), m.InternalDate)
	}
	return found, nil
}

// sectionOf finds an answered section by what it is; servers spell the list of
// header fields their own way.
func sectionOf(m *imapclient.FetchMessageBuffer, specifier imap.PartSpecifier) []byte {
	for _, s := range m.BodySection {
		if s.Section.Specifier == specifier {
			return s.Bytes
		}
	}
	return nil
}

func summarise(head, text []byte, received time.Time) summary {
	h := parseHeader(head)
	kind, _ := parseMediaType(h.get("content-type"), "text/plain")
	return summary{
		from: parseAddresses(h.get("from"), 3), to: parseAddresses(h.get("to"), 3),
		subject: h.text("subject"), date: h.date(received),
		attachment: kind == "multipart/mixed" || !strings.HasPrefix(kind, "text/") && !strings.HasPrefix(kind, "multipart/"),
		preview:    preview(head, text),
	}
}

// preview is the start of a message's text, from its first bytes.
func preview(head, text []byte) string {
	raw := append(append(append([]byte(nil), head...), "\r\n\r\n"...), text...)
	_, root := parseMessage(raw)
	b := pickBody(root)
	if b.plain != nil {
		lines := strings.FieldsFunc(decodeText(b.plain), func(r rune) bool { return r == '\n' })
		var own []string
		for _, l := range lines {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, ">") && !strings.HasPrefix(l, "--") {
				own = append(own, l)
			}
		}
		return shorten(cleanLine(strings.Join(own, " ")), 140)
	}
	if b.html != nil {
		return shorten(cleanLine(strings.Join(strings.Fields(textOf(sanitize(decodeText(b.html), nil, "").Body)), " ")), 140)
	}
	return ""
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.TrimSpace(strings.ToValidUTF8(s[:most], "")) + "…"
}

// summaries remembers what was read about messages, a few hundred for each
// person, so that the next page costs one small answer.
type summaries struct {
	now func() time.Time

	mu     sync.Mutex
	people map[string]*generation
}

// generation is two maps: when the young one is full it becomes the old one,
// and what nobody asked for in the meantime goes.
type generation struct {
	young, old map[summaryKey]summary
	used       time.Time
}

type summaryKey struct {
	box      string
	validity uint32
	uid      imap.UID
}

const (
	summariesKept = 300
	summariesFor  = 15 * time.Minute
)

// fill completes the rows that are known and returns the others.
func (s *summaries) fill(sub string, p *page) (missing imap.UIDSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.of(sub)
	for i := range p.rows {
		r := &p.rows[i]
		key := summaryKey{p.box, p.validity, r.uid}
		known, ok := g.young[key]
		if !ok {
			if known, ok = g.old[key]; ok {
				g.put(key, known)
			}
		}
		if !ok {
			missing.AddNum(r.uid)
			r.unreadable, r.date = true, r.received
			continue
		}
		r.summary = known
		r.unreadable = known.subject == unreadableSubject
	}
	return missing
}

func (s *summaries) add(sub string, p *page, found map[imap.UID]summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.of(sub)
	for uid, one := range found {
		g.put(summaryKey{p.box, p.validity, uid}, one)
	}
}

func (g *generation) put(key summaryKey, one summary) {
	if len(g.young) >= summariesKept {
		g.young, g.old = map[summaryKey]summary{}, g.young
	}
	g.young[key] = one
}

func (s *summaries) of(sub string) *generation {
	now := s.now()
	if s.people == nil {
		s.people = map[string]*generation{}
	}
	g := s.people[sub]
	if g == nil {
		for other, old := range s.people {
			if now.Sub(old.used) > summariesFor {
				delete(s.people, other)
			}
		}
		g = &generation{young: map[summaryKey]summary{}}
		s.people[sub] = g
	}
	g.used = now
	return g
}
