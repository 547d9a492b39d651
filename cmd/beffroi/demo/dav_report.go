package demo

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const mostMultiget = 5_000

// report dispatches on the body's root element (RFC 3253 §3.6).
func (s *DAVServer) report(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	root, err := readXML(r)
	if err != nil {
		return err
	}
	if root == nil {
		return davStatus(http.StatusBadRequest)
	}
	if !t.exists() {
		return davStatus(http.StatusNotFound)
	}
	if t.coll == nil {
		return davRefuse(http.StatusForbidden, dav("supported-report"))
	}
	asked, err := readWanted(root)
	if err != nil {
		return err
	}
	var answer *node
	switch {
	case root.is(nsCalDAV, "calendar-query") && !t.coll.isBook:
		answer, err = s.query(t, root, asked, nsCalDAV)
	case root.is(nsCardDAV, "addressbook-query") && t.coll.isBook:
		answer, err = s.query(t, root, asked, nsCardDAV)
	case root.is(nsCalDAV, "calendar-multiget") && !t.coll.isBook, root.is(nsCardDAV, "addressbook-multiget") && t.coll.isBook:
		answer, err = s.multiget(t, root, asked)
	case root.is(nsDAV, "sync-collection") && t.obj == nil:
		answer, err = s.sync(t, root, asked)
	default:
		err = davRefuse(http.StatusForbidden, dav("supported-report"))
	}
	if err != nil {
		return err
	}
	writeXML(w, http.StatusMultiStatus, answer)
	return nil
}

// query answers calendar-query and addressbook-query. Objects are filtered
// outside the lock: they do not change.
func (s *DAVServer) query(t *davTarget, root *node, asked wanted, space string) (*node, error) {
	filter := root.kid(space, "filter")
	if filter == nil {
		return nil, davRefuse(http.StatusForbidden, element(space, "valid-filter"))
	}
	floating := parisZone()
	if zone := root.kid(nsCalDAV, "timezone"); zone != nil {
		floating = zoneOf(zone.text, floating)
	}
	objects := s.store.list(t.coll)
	if t.obj != nil {
		objects = []*object{t.obj}
	}
	var found []*object
	for _, o := range objects {
		ok, err := false, error(nil)
		if space == nsCalDAV {
			ok, err = matchCalendar(filter, o.parsed, floating)
		} else {
			ok, err = matchBook(filter, o.parsed)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, o)
		}
	}
	limit := readLimit(root.kid(space, "limit"), space)
	cut := limit > 0 && len(found) > limit
	if cut {
		found = found[:limit]
	}
	answer := s.responses(t, found, asked)
	if cut {
		answer.kids = append(answer.kids, tooMany(t))
	}
	return answer, nil
}

// zoneOf reads the zone a VCALENDAR names in its VTIMEZONE.
func zoneOf(calendar string, otherwise *time.Location) *time.Location {
	root, err := parseComponent([]byte(strings.TrimSpace(calendar)))
	if err != nil {
		return otherwise
	}
	for _, c := range root.kids {
		if zone, err := time.LoadLocation(c.text("TZID")); c.name == "VTIMEZONE" && err == nil {
			return zone
		}
	}
	return otherwise
}

func (s *DAVServer) responses(t *davTarget, found []*object, asked wanted) *node {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	answer := dav("multistatus")
	for _, o := range found {
		answer.kids = append(answer.kids, s.response(t.in(o), asked))
	}
	return answer
}

func readLimit(limit *node, space string) int {
	n := limit.kid(space, "nresults")
	if n == nil {
		return 0
	}
	most, err := strconv.Atoi(strings.TrimSpace(n.text))
	if err != nil || most < 1 {
		return 0
	}
	return most
}

// tooMany says that the answer was cut (RFC 6352 §8.6.2, RFC 6578 §3.6).
func tooMany(t *davTarget) *node {
	at := &davTarget{login: t.login, place: t.place, parts: t.parts[:1]}
	return dav("response", href(at.path()), statusLine(http.StatusInsufficientStorage), dav("error", dav("number-of-matches-within-limits")))
}

// multiget answers for the objects named; one that is missing never hides the others.
func (s *DAVServer) multiget(t *davTarget, root *node, asked wanted) (*node, error) {
	answer := dav("multistatus")
	for _, k := range root.kids {
		if !k.is(nsDAV, "href") {
			continue
		}
		if len(answer.kids) >= mostMultiget {
			return nil, davStatus(http.StatusRequestEntityTooLarge)
		}
		path := strings.TrimSpace(k.text)
		one, status := s.named(t, path)
		if one == nil {
			answer.kids = append(answer.kids, dav("response", href(path), statusLine(status)))
			continue
		}
		s.store.mu.RLock()
		answer.kids = append(answer.kids, s.response(one, asked))
		s.store.mu.RUnlock()
	}
	return answer, nil
}

func (s *DAVServer) named(t *davTarget, path string) (*davTarget, int) {
	u, err := url.Parse(path)
	if err != nil {
		return nil, http.StatusNotFound
	}
	one, err := s.store.find(t.login, u.EscapedPath())
	if err != nil {
		return nil, http.StatusForbidden
	}
	if one.obj == nil || one.coll != t.coll {
		return nil, http.StatusNotFound
	}
	return one, 0
}

// sync answers sync-collection (RFC 6578): what changed since the token, what
// is gone, and the next token. With a limit the oldest changes come first and
// the token stands where they end.
func (s *DAVServer) sync(t *davTarget, root *node, asked wanted) (*node, error) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	since, token := uint64(0), ""
	if k := root.kid(nsDAV, "sync-token"); k != nil {
		token = strings.TrimSpace(k.text)
	}
	if token != "" {
		var ok bool
		if since, ok = s.store.sinceToken(t.coll, token); !ok {
			return nil, davRefuse(http.StatusForbidden, dav("valid-sync-token"))
		}
	}
	type step struct {
		seq  uint64
		name string
		obj  *object
	}
	var steps []step
	for name, o := range t.coll.objects {
		if o.seq > since {
			steps = append(steps, step{o.seq, name, o})
		}
	}
	for name, seq := range t.coll.gone {
		if seq > since && token != "" {
			steps = append(steps, step{seq, name, nil})
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.seq, b.seq) })
	next := t.coll.seq
	limit := readLimit(root.kid(nsDAV, "limit"), nsDAV)
	cut := limit > 0 && len(steps) > limit
	if cut {
		steps = steps[:limit]
		next = steps[limit-1].seq
	}
	answer := dav("multistatus")
	for _, one := range steps {
		if one.obj != nil {
			answer.kids = append(answer.kids, s.response(t.in(one.obj), asked))
		} else {
			path := (&davTarget{login: t.login, place: t.place, parts: []string{t.parts[0], one.name}}).path()
			answer.kids = append(answer.kids, dav("response", href(path), statusLine(http.StatusNotFound)))
		}
	}
	if cut {
		answer.kids = append(answer.kids, tooMany(t))
	}
	answer.kids = append(answer.kids, textElement(nsDAV, "sync-token", s.store.syncToken(t.coll, next)))
	return answer, nil
}
