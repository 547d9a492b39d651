package agenda

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"beffroi/internal/i18n"
	"beffroi/internal/web"
	"beffroi/portal"
	"beffroi/portal/dav"
)

// listFor is how long the list of calendars is remembered per person.
const listFor = 20 * time.Second

// A calendar is a collection with what this module adds.
type calendar struct {
	dav.Collection
	ID      string // in addresses: does not tell the path
	Palette int    // one of the colours of agenda.css
	Hidden  bool
}

type list struct {
	calendars []dav.Collection
	at        time.Time
}

// calendars lists the person's calendars. Who has none that can be written
// gets one, once.
func (a *Agenda) calendars(ctx context.Context) ([]calendar, error) {
	who := portal.Who(ctx).Sub
	a.mu.Lock()
	known, ok := a.lists[who]
	a.mu.Unlock()
	if !ok || a.portal.Now().Sub(known.at) > listFor {
		fresh, err := a.fetchCalendars(ctx)
		if err != nil {
			return nil, err
		}
		known = list{fresh, a.portal.Now()}
		a.mu.Lock()
		if len(a.lists) > 5000 {
			clear(a.lists)
		}
		a.lists[who] = known
		a.mu.Unlock()
	}
	hidden, err := a.portal.Preference(ctx, "agenda.hidden")
	if err != nil {
		return nil, err
	}
	var all []calendar
	for _, c := range known.calendars {
		id := calendarID(c.Href)
		all = append(all, calendar{Collection: c, ID: id, Palette: palette(c.Color, len(all)), Hidden: slices.Contains(strings.Fields(hidden), id)})
	}
	return all, nil
}

func (a *Agenda) fetchCalendars(ctx context.Context) ([]dav.Collection, error) {
	client := a.portal.Calendars(ctx)
	usable := func() (all []dav.Collection, writable bool, err error) {
		found, err := client.Collections(ctx, dav.Calendars)
		for _, c := range found {
			if c.Events {
				all = append(all, c)
				writable = writable || !c.ReadOnly
			}
		}
		return all, writable, err
	}
	all, writable, err := usable()
	if err != nil || writable {
		return all, err
	}
	name := i18n.T(web.Lang(ctx), "agenda.calendar.first")
	if err := client.CreateCalendar(ctx, "agenda", name, "#a5382a"); err != nil {
		if errors.Is(err, dav.ErrUnavailable) {
			return nil, err
		}
		return all, nil // a server that lets nobody make calendars; the page says there is none
	}
	all, _, err = usable()
	return all, err
}

func (a *Agenda) forgetCalendars(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.lists, portal.Who(ctx).Sub)
}

func calendarID(href string) string {
	sum := sha256.Sum256([]byte(href))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

func objectID(href string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(href[strings.LastIndexByte(href, '/')+1:]))
}

// An entry is one occurrence on a page.
type entry struct {
	dav.Occurrence
	calendar *calendar
	path     string // of its page
}

// gathered is what the visible calendars hold in a range.
type gathered struct {
	entries    []entry
	unreadable []string // titles or file names of events that cannot be shown
	failed     []string // names of calendars that cannot be read
}

// between reads the visible calendars side by side.
func (a *Agenda) between(ctx context.Context, calendars []calendar, from, to time.Time) (gathered, error) {
	client := a.portal.Calendars(ctx)
	deadline := time.Now().Add(1500 * time.Millisecond)
	var mu sync.Mutex
	var g gathered
	var firstError error
	var wg sync.WaitGroup
	slots := make(chan struct{}, 6)
	asked := 0
	for i := range calendars {
		c := &calendars[i]
		if c.Hidden {
			continue
		}
		asked++
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			objects, err := client.Between(ctx, c.Href, from, to)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				g.failed = append(g.failed, c.Name)
				firstError = err
				if errors.Is(err, dav.ErrNotFound) {
					a.forgetCalendars(ctx)
				}
				return
			}
			for _, o := range objects {
				a.addObject(&g, c, o, from, to, deadline)
			}
		})
	}
	wg.Wait()
	if asked > 0 && len(g.failed) == asked {
		return g, fmt.Errorf("none of %d calendars can be read: %w", asked, firstError)
	}
	sort.SliceStable(g.entries, func(i, j int) bool {
		x, y := g.entries[i], g.entries[j]
		if !x.Start.Equal(y.Start) {
			return x.Start.Before(y.Start)
		}
		return x.Summary < y.Summary
	})
	sort.Strings(g.failed)
	sort.Strings(g.unreadable)
	return g, nil
}

func (a *Agenda) addObject(g *gathered, c *calendar, o dav.Object, from, to, deadline time.Time) {
	file := o.Href[strings.LastIndexByte(o.Href, '/')+1:]
	if errors.Is(o.Err, dav.ErrNotFound) {
		return
	}
	if o.Err != nil {
		g.unreadable = append(g.unreadable, file)
		return
	}
	parsed, err := dav.ParseCalendar(o.Data, a.local)
	if err != nil {
		g.unreadable = append(g.unreadable, file)
		return
	}
	if !parsed.HasEvent() {
		return
	}
	occurrences, err := parsed.Expand(from, to, deadline)
	if err != nil {
		title := parsed.Title()
		if title == "" {
			title = file
		}
		g.unreadable = append(g.unreadable, title)
	}
	for _, occurrence := range occurrences {
		g.entries = append(g.entries, entry{occurrence, c, eventPath(c.ID, objectID(o.Href))})
	}
}

func eventPath(calendar, object string) string { return "/agenda/event/" + calendar + "/" + object }

// target is the event that an address names.
type target struct {
	calendar   calendar
	href       string
	path       string
	stored     dav.Object
	parsed     *dav.Calendar
	occurrence dav.Occurrence
}

// locate finds calendar and href of an address: only within the person's own
// list, whatever the address says.
func (a *Agenda) locate(r *http.Request) (target, error) {
	calendars, err := a.calendars(r.Context())
	if err != nil {
		return target{}, err
	}
	file, err := base64.RawURLEncoding.DecodeString(r.PathValue("object"))
	if err != nil || len(file) == 0 || strings.ContainsAny(string(file), "/?#\\") || strings.HasPrefix(string(file), ".") {
		return target{}, dav.ErrNotFound
	}
	for _, c := range calendars {
		if c.ID == r.PathValue("calendar") {
			return target{calendar: c, href: c.Href + string(file), path: eventPath(c.ID, r.PathValue("object"))}, nil
		}
	}
	return target{}, dav.ErrNotFound
}

// open reads the event that an address and the key of an occurrence name.
func (a *Agenda) open(r *http.Request, key string) (target, error) {
	t, err := a.locate(r)
	if err != nil {
		return t, err
	}
	if t.stored, err = a.portal.Calendars(r.Context()).Get(r.Context(), t.href); err != nil {
		return t, err
	}
	if t.parsed, err = dav.ParseCalendar(t.stored.Data, a.local); err != nil {
		return t, err
	}
	t.occurrence, err = t.parsed.Find(key)
	return t, err
}
