package demo

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	mostObjectBytes = 1 << 20 // of one event or card, and of a request's XML
	mostObjects     = 10_000  // in one collection
	mostCollections = 50      // in one home
	mostTombstones  = 10_000
)

// davStore keeps every home. One lock guards it all; objects never change once
// stored, so that reports filter them outside the lock.
type davStore struct {
	boot string // tells this run's sync tokens from another's: the content starts afresh
	now  func() time.Time

	mu          sync.RWMutex
	people      map[string]*davHome
	schools     map[string]*collection
	collections int

	everyone *directoryOfNames
	start    time.Time
}

type davHome struct {
	account   Account
	filled    bool
	calendars map[string]*collection
	books     map[string]*collection
}

// collection is a calendar or an address book.
type collection struct {
	id       int
	isBook   bool
	owner    string // login; empty for a school's calendar
	readOnly bool
	created  time.Time

	displayName string
	description string
	color       string // Apple's "#rrggbbaa"; calendars only
	order       string
	timezone    string
	components  []string
	dead        map[xml.Name]*node // properties that mean nothing to the server

	objects map[string]*object
	gone    map[string]uint64 // removed objects: name and when, in seq
	seq     uint64            // counts changes
	floor   uint64            // tokens before it are forgotten
}

// object is one event, task or card.
type object struct {
	name     string
	data     []byte // as it was put
	etag     string // quoted, strong
	modified time.Time
	seq      uint64
	parsed   *component
	kind     string // VEVENT, VTODO, VJOURNAL, VCARD
	uid      string
}

func newDAVStore(people []Account, now func() time.Time) *davStore {
	var boot [8]byte
	_, _ = rand.Read(boot[:])
	s := &davStore{boot: hex.EncodeToString(boot[:]), now: now, start: now(),
		people: make(map[string]*davHome, len(people)), schools: make(map[string]*collection), everyone: newDirectoryOfNames(people)}
	for _, person := range people {
		s.people[person.Login] = &davHome{account: person}
	}
	return s
}

// davTarget is what a path names, for the person who asks.
type davTarget struct {
	login string
	home  *davHome
	place string   // "", "principals", "calendars", "addressbooks"
	parts []string // under the person's own tree: collection name, object name
	coll  *collection
	obj   *object
}

const (
	placePrincipals = "principals"
	placeCalendars  = "calendars"
	placeBooks      = "addressbooks"
)

// find resolves a path. It answers 403 for another person's tree, whether that
// person exists or not, and leaves coll and obj nil for what is not there (yet).
func (s *davStore) find(login, escapedPath string) (*davTarget, error) {
	home := s.home(login)
	if home == nil {
		return nil, davStatus(http.StatusForbidden)
	}
	t := &davTarget{login: login, home: home}
	var parts []string
	for _, part := range strings.Split(strings.Trim(escapedPath, "/"), "/") {
		name, err := url.PathUnescape(part)
		if err != nil || name == "." || name == ".." || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, davStatus(http.StatusBadRequest)
		}
		parts = append(parts, name)
	}
	if len(parts) == 1 && parts[0] == "" {
		return t, nil
	}
	if len(parts) > 4 || !slices.Contains([]string{placePrincipals, placeCalendars, placeBooks}, parts[0]) || slices.Contains(parts, "") {
		return nil, davStatus(http.StatusNotFound)
	}
	if len(parts) < 2 || (parts[0] == placePrincipals && len(parts) > 2) {
		return nil, davStatus(http.StatusNotFound)
	}
	if parts[1] != login {
		return nil, davRefuse(http.StatusForbidden, needPrivileges(escapedPath, "read"))
	}
	t.place, t.parts = parts[0], parts[2:]
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(t.parts) > 0 {
		t.coll = t.siblings()[t.parts[0]]
	}
	if t.coll != nil && len(t.parts) > 1 {
		t.obj = t.coll.objects[t.parts[1]]
	}
	return t, nil
}

func needPrivileges(path, privilege string) *node {
	return dav("need-privileges", dav("resource", href(path), dav("privilege", dav(privilege))))
}

func (t *davTarget) siblings() map[string]*collection {
	if t.place == placeBooks {
		return t.home.books
	}
	return t.home.calendars
}

// exists tells whether the path names something that is there.
func (t *davTarget) exists() bool {
	switch len(t.parts) {
	case 0:
		return true
	case 1:
		return t.coll != nil
	}
	return t.obj != nil
}

func (t *davTarget) path() string {
	if t.place == "" {
		return "/"
	}
	path := davPath(t.place, t.login)
	for i, part := range t.parts {
		path += url.PathEscape(part)
		if i == 0 {
			path += "/"
		}
	}
	return path
}

func davPath(place string, parts ...string) string {
	path := "/" + place + "/"
	for _, part := range parts {
		path += url.PathEscape(part) + "/"
	}
	return path
}

// in names an object of the target's collection.
func (t *davTarget) in(obj *object) *davTarget {
	return &davTarget{login: t.login, home: t.home, place: t.place, parts: []string{t.parts[0], obj.name}, coll: t.coll, obj: obj}
}

// home fills a person's home at the first call; nil for a stranger.
func (s *davStore) home(login string) *davHome {
	s.mu.RLock()
	home := s.people[login]
	ready := home == nil || home.filled
	s.mu.RUnlock()
	if ready {
		return home
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if home.filled {
		return home
	}
	home.filled = true
	home.calendars, home.books = make(map[string]*collection), make(map[string]*collection)
	for _, sample := range sampleAgenda(home.account, s.everyone, s.start) {
		home.calendars[sample.name] = s.fill(sample, login)
	}
	for _, sample := range sampleBooks(home.account, s.everyone, s.start) {
		home.books[sample.name] = s.fill(sample, login)
	}
	school := s.schools[home.account.UAI]
	if school == nil {
		school = s.fill(schoolAgenda(home.account, s.everyone, s.start), "")
		school.readOnly = true
		s.schools[home.account.UAI] = school
	}
	home.calendars["etablissement"] = school
	return home
}

func (s *davStore) fill(sample sampleCollection, owner string) *collection {
	c := s.newCollection(sample.isBook, owner)
	c.displayName, c.description, c.color, c.order = sample.displayName, sample.description, sample.color, sample.order
	for _, o := range sample.objects {
		parsed, err := parseObject([]byte(o.data), sample.isBook)
		if err != nil {
			continue // a test holds that every sample parses
		}
		c.put(o.name, []byte(o.data), parsed, s.start)
	}
	return c
}

// newCollection makes an empty one. s.mu is held.
func (s *davStore) newCollection(isBook bool, owner string) *collection {
	s.collections++
	c := &collection{id: s.collections, isBook: isBook, owner: owner, created: s.now(), seq: 1, dead: make(map[xml.Name]*node),
		objects: make(map[string]*object), gone: make(map[string]uint64)}
	if !isBook {
		c.components = []string{"VEVENT", "VTODO"}
	}
	return c
}

// put stores bytes under a name. The ETag holds the change's number beside the
// content's hash: the same bytes put again get a new one, and another run of
// the demo with other content cannot meet an old one. s.mu is held.
func (c *collection) put(name string, data []byte, parsed parsedObject, now time.Time) *object {
	c.seq++
	sum := sha256.Sum256(data)
	o := &object{name: name, data: data, modified: now.Truncate(time.Second), seq: c.seq, parsed: parsed.root, kind: parsed.kind, uid: parsed.uid,
		etag: fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(sum[:8]), c.seq)}
	c.objects[name] = o
	delete(c.gone, name)
	return o
}

// remove leaves a tombstone for sync-collection. s.mu is held.
func (c *collection) remove(name string) {
	c.seq++
	delete(c.objects, name)
	c.gone[name] = c.seq
	if len(c.gone) > mostTombstones {
		c.floor = c.seq
		clear(c.gone)
	}
}

// byUID finds an object of the same UID under another name. s.mu is held.
func (c *collection) byUID(uid, butNot string) *object {
	for _, o := range c.objects {
		if o.uid == uid && o.name != butNot {
			return o
		}
	}
	return nil
}

// list is every object, by name, for use outside the lock.
func (s *davStore) list(c *collection) []*object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*object, 0, len(c.objects))
	for _, o := range c.objects {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b *object) int { return cmp.Compare(a.name, b.name) })
	return list
}

func (s *davStore) syncToken(c *collection, seq uint64) string {
	return fmt.Sprintf("urn:x-beffroi-demo:sync:%s:%d:%d", s.boot, c.id, seq)
}

// sinceToken reads a token of this collection and run.
func (s *davStore) sinceToken(c *collection, token string) (seq uint64, ok bool) {
	number, ok := strings.CutPrefix(token, fmt.Sprintf("urn:x-beffroi-demo:sync:%s:%d:", s.boot, c.id))
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	return seq, err == nil && seq >= c.floor && seq <= c.seq
}
