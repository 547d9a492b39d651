package helpdesk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/mfa"
	"beffroi/templates"
)

const (
	followWeeks   = 12                  // of resets
	followShown   = 100                 // schools, and keys of each list, on the page; the CSV has all schools
	followKept    = 5 * time.Minute     // how old a count may be
	followWait    = 2 * time.Second     // before the page says that it is counting
	followMost    = 64                  // counts that are kept
	followLongest = 5 * time.Minute     // a count takes
	passkeyUsed   = 60 * 24 * time.Hour // lately: then the OTP key in the drawer is not needed
	csvMark       = "\ufeff"            // tells spreadsheets that it is UTF-8
	csvType       = "text/csv; charset=utf-8"
)

// followMethods are the factors that the follow-up counts, in the order it shows them.
var followMethods = []mfa.Method{mfa.Passkey, mfa.Key, mfa.TOTP, mfa.Mail}

// followLine is what is counted of a school, or of everybody.
type followLine struct {
	School  string // UAI; empty: people of no school, or everybody
	People  int
	Without int // people without a lasting factor
	Holding map[mfa.Method]int
	Resets  [followWeeks]int
}

func (l followLine) resets() (n int) {
	for _, w := range l.Resets {
		n += w
	}
	return n
}

// follow is the state of affairs among those whom a helper serves: everybody
// once, then by school, where most are without a factor first.
type follow struct {
	At      time.Time
	Weeks   []time.Time // their Mondays, midnight; the last one runs on
	All     followLine
	Schools []followLine
}

// line is a school's, or everybody's for "". ok is false for a school that has
// nobody whom the helper serves.
func (f *follow) line(school string) (l followLine, ok bool) {
	if school == "" {
		return f.All, true
	}
	i := slices.IndexFunc(f.Schools, func(l followLine) bool { return l.School == school })
	if i < 0 {
		return l, false
	}
	return f.Schools[i], true
}

// counts keeps the last follow-up of each part of the directory: two helpers of
// the same delegation count once, and one count runs at a time.
type counts struct {
	mu   sync.Mutex
	turn sync.Mutex
	of   map[string]*counting
}

type counting struct {
	started time.Time
	done    chan struct{} // closed once result and err stand
	result  *follow
	err     error
}

func (c *counting) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// start gives the count of a key that runs or is fresh, or begins one.
func (c *counts) start(ctx context.Context, key string, now time.Time, count func(context.Context) (*follow, error)) *counting {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.of[key]; one != nil && (!one.over() || one.err == nil && now.Sub(one.started) < followKept) {
		return one
	}
	one := &counting{started: now, done: make(chan struct{})}
	if c.of == nil {
		c.of = map[string]*counting{}
	}
	c.of[key] = one
	for len(c.of) > followMost {
		oldest := key
		for k, o := range c.of {
			if o.started.Before(c.of[oldest].started) {
				oldest = k
			}
		}
		if oldest == key {
			break
		}
		delete(c.of, oldest)
	}
	go func() {
		c.turn.Lock()
		defer c.turn.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), followLongest) // goes on when the browser has left
		defer cancel()
		one.result, one.err = count(ctx)
		close(one.done)
	}()
	return one
}

// followUp begins or finds the count of all whom the helper serves.
func (d *Desk) followUp(ctx context.Context, h Helper) (*counting, error) {
	within, err := d.rules.Within(h, d.now())
	if err != nil {
		return nil, err
	}
	key, err := json.Marshal(within)
	if err != nil {
		return nil, err
	}
	return d.counts.start(ctx, string(key), d.now(), func(ctx context.Context) (*follow, error) { return d.count(ctx, within) }), nil
}

// count reads the directory, the factors and the trail.
func (d *Desk) count(ctx context.Context, within []directory.Within) (*follow, error) {
	people, err := d.roll.Roll(ctx, within)
	if err != nil {
		return nil, err
	}
	holders, err := d.mfa.Holders(ctx)
	if err != nil {
		return nil, err
	}
	f := &follow{At: d.now(), Weeks: mondays(d.now().In(d.signin.Zone()), followWeeks), All: followLine{Holding: map[mfa.Method]int{}}}
	schools := map[string]*followLine{}
	of := make(map[string][]*followLine, len(people))
	for _, p := range people {
		lines := []*followLine{&f.All}
		for _, uai := range schoolsWithin(p.Schools, within) {
			l := schools[uai]
			if l == nil {
				l = &followLine{School: uai, Holding: map[mfa.Method]int{}}
				schools[uai] = l
			}
			lines = append(lines, l)
		}
		of[p.ID] = lines
		for _, l := range lines {
			l.People++
			if len(holders[p.ID]) == 0 {
				l.Without++
			}
			for _, m := range holders[p.ID] {
				l.Holding[m]++
			}
		}
	}
	err = d.audit.Done(ctx, "helpdesk."+string(Reset), f.Weeks[0], func(person string, at time.Time) {
		week, found := slices.BinarySearchFunc(f.Weeks, at, time.Time.Compare)
		if !found {
			week--
		}
		for _, l := range of[person] {
			l.Resets[week]++
		}
	})
	if err != nil {
		return nil, err
	}
	for _, l := range schools {
		f.Schools = append(f.Schools, *l)
	}
	slices.SortFunc(f.Schools, func(a, b followLine) int {
		return cmp.Or(b.Without-a.Without, b.People-a.People, strings.Compare(a.School, b.School))
	})
	return f, nil
}

// schoolsWithin are the schools of a person that the parts of the directory are
// about: all of them where a part names none. Someone of no school has "".
func schoolsWithin(of []string, within []directory.Within) (all []string) {
	any := slices.ContainsFunc(within, func(w directory.Within) bool { return len(w.Schools) == 0 })
	for _, uai := range of {
		if any || slices.ContainsFunc(within, func(w directory.Within) bool { return anyFold(w.Schools, uai) }) {
			if uai = strings.ToUpper(uai); !slices.Contains(all, uai) {
				all = append(all, uai)
			}
		}
	}
	if len(of) == 0 {
		all = []string{""}
	}
	return all
}

// mondays are the midnights that begin n weeks of the calendar, the last one
// that of now.
func mondays(now time.Time, n int) []time.Time {
	monday := time.Date(now.Year(), now.Month(), now.Day()-(int(now.Weekday())+6)%7, 0, 0, 0, 0, now.Location())
	weeks := make([]time.Time, n)
	for i := range weeks {
		weeks[i] = monday.AddDate(0, 0, -7*(n-1-i))
	}
	return weeks
}

// share is n of 100, rounded down: 100 says that nobody is missing.
func share(n, all int) int {
	if all == 0 {
		return 0
	}
	return n * 100 / all
}

// follower is a helper with the school of the query, "" for all.
func (d *Desk) follower(w http.ResponseWriter, r *http.Request) (h Helper, school string, ok bool, err error) {
	school = strings.ToUpper(strings.TrimSpace(r.URL.Query().Get("school")))
	path := "/helpdesk/follow-up"
	if school != "" {
		path += "?school=" + url.QueryEscape(school)
	}
	if h, ok, err = d.helper(w, r, path); !ok {
		return h, "", false, err
	}
	if d.roll == nil {
		return h, "", false, web.Fail(http.StatusNotFound, "web.error.not_found", nil)
	}
	if school != "" && !uaiCode.MatchString(school) {
		return h, "", false, web.Fail(http.StatusBadRequest, "helpdesk.follow.unknown", nil)
	}
	return h, school, true, nil
}

// counted waits for a count, as long as is given.
func (d *Desk) counted(ctx context.Context, h Helper, wait time.Duration) (f *follow, err error) {
	c, err := d.followUp(ctx, h)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if errors.Is(c.err, directory.ErrDown) {
		return nil, web.Fail(http.StatusServiceUnavailable, "helpdesk.error.directory", c.err)
	}
	return c.result, c.err
}

// showFollowUp answers GET /helpdesk/follow-up, query school: who has which
// factor, by school; resets by week; OTP keys that could come back.
func (d *Desk) showFollowUp(w http.ResponseWriter, r *http.Request) error {
	h, school, ok, err := d.follower(w, r)
	if !ok {
		return err
	}
	page := &templates.HelpdeskFollowUp{School: school}
	f, err := d.counted(r.Context(), h, followWait)
	if err != nil {
		return err
	}
	title := text(r, "helpdesk.follow.title")
	if f == nil {
		w.Header().Set("Refresh", "2") // works without a script
		page.Counting = true
		return render(w, r, http.StatusOK, title, page)
	}
	line, ok := f.line(school)
	if !ok {
		return web.Fail(http.StatusBadRequest, "helpdesk.follow.unknown", nil)
	}
	running, err := d.rules.running(h, d.now())
	if err != nil {
		return err
	}
	info := func(l followLine) templates.HelpdeskFollowLine {
		out := templates.HelpdeskFollowLine{School: l.School, People: l.People, With: l.People - l.Without, Without: l.Without, Share: share(l.People-l.Without, l.People), Resets: l.resets(), Whole: l.School != "" && d.rules.servesSchool(running, l.School)}
		for _, m := range followMethods {
			out.Counts = append(out.Counts, templates.HelpdeskFollowCount{Kind: string(m), N: l.Holding[m], Share: share(l.Holding[m], l.People)})
		}
		return out
	}
	page.At, page.Line = d.signin.Local(f.At), info(line)
	for _, m := range followMethods {
		page.Methods = append(page.Methods, string(m))
	}
	most := slices.Max(line.Resets[:])
	page.Resets = most > 0
	for i, monday := range f.Weeks {
		page.Weeks = append(page.Weeks, templates.HelpdeskFollowWeek{Monday: monday, N: line.Resets[i], Share: share(line.Resets[i], most)})
	}
	for _, l := range f.Schools {
		if l.School != "" {
			page.Choices = append(page.Choices, l.School)
		}
		if school == "" && len(page.Schools) < followShown {
			page.Schools = append(page.Schools, info(l))
		}
	}
	slices.Sort(page.Choices)
	page.More = school == "" && len(f.Schools) > followShown
	if err := d.followKeys(r.Context(), h, school, page); err != nil {
		return err
	}
	return render(w, r, http.StatusOK, title, page)
}

// followKeys adds the keys that could come back, to a page of a helper who sees keys.
func (d *Desk) followKeys(ctx context.Context, h Helper, school string, page *templates.HelpdeskFollowUp) error {
	schools, all, err := d.rules.KeySchools(h, d.now())
	if Refused(err) != nil {
		return nil
	}
	if err != nil {
		return err
	}
	page.Keys = true
	filter := scoped(mfa.KeyFilter{School: school}, schools, all)
	unused, err := d.mfa.KeysUnneeded(ctx, filter, d.now().Add(-passkeyUsed), followShown)
	if err != nil {
		return err
	}
	for _, k := range unused {
		page.Unneeded = append(page.Unneeded, d.keyInfo(k))
	}
	late, err := d.mfa.KeysOverdue(ctx, filter, followShown)
	if err != nil {
		return err
	}
	for _, k := range late {
		page.Late = append(page.Late, d.keyInfo(k))
	}
	return nil
}

// showFollowUpCSV answers GET /helpdesk/follow-up.csv, query school: a line for
// each school, as spreadsheets in French read it: UTF-8 with a byte order mark,
// semicolons. It is in the trail.
func (d *Desk) showFollowUpCSV(w http.ResponseWriter, r *http.Request) error {
	h, school, ok, err := d.follower(w, r)
	if !ok {
		return err
	}
	f, err := d.counted(r.Context(), h, followLongest)
	if err != nil {
		return err
	}
	if f == nil {
		return web.Fail(http.StatusServiceUnavailable, "helpdesk.follow.long", nil)
	}
	lines := f.Schools
	if school != "" {
		one, ok := f.line(school)
		if !ok {
			return web.Fail(http.StatusBadRequest, "helpdesk.follow.unknown", nil)
		}
		lines = []followLine{one}
	}
	var b bytes.Buffer
	b.WriteString(csvMark)
	table := csv.NewWriter(&b)
	table.Comma = ';'
	head := []string{text(r, "helpdesk.follow.school"), text(r, "helpdesk.follow.people"), text(r, "helpdesk.follow.without")}
	for _, m := range followMethods {
		head = append(head, text(r, "mfa.kind."+string(m)))
	}
	head = append(head, text(r, "helpdesk.follow.resets"))
	for _, monday := range f.Weeks {
		head = append(head, text(r, "helpdesk.follow.week", "date", monday.Format(time.DateOnly)))
	}
	rows := [][]string{head}
	for _, l := range lines {
		row := []string{l.School, strconv.Itoa(l.People), strconv.Itoa(l.Without)}
		for _, m := range followMethods {
			row = append(row, strconv.Itoa(l.Holding[m]))
		}
		row = append(row, strconv.Itoa(l.resets()))
		for _, n := range l.Resets {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = audit.PlainCell(cell)
		}
		if err := table.Write(row); err != nil {
			return err
		}
	}
	table.Flush()
	detail := map[string]string{"what": "follow-up", "rows": strconv.Itoa(len(lines))}
	if school != "" {
		detail["school"] = school
	}
	if err := d.audit.Record(r.Context(), h.actor(), audit.Event{Action: "helpdesk.export", Outcome: "ok", Detail: detail}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", csvType)
	w.Header().Set("Content-Disposition", `attachment; filename="`+i18n.T(web.Lang(r.Context()), "helpdesk.follow.file")+"-"+d.signin.Local(f.At).Format(time.DateOnly)+`.csv"`)
	_, err = w.Write(b.Bytes())
	return err
}
