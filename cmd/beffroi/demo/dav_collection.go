package demo

import (
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// change is one property set (value not nil) or removed.
type propertyChange struct {
	name  xml.Name
	value *node
}

// readChanges reads the DAV:set and DAV:remove of PROPPATCH, MKCALENDAR and
// MKCOL, in their order.
func readChanges(root *node) []propertyChange {
	var list []propertyChange
	if root == nil {
		return nil
	}
	for _, action := range root.kids {
		if !action.is(nsDAV, "set") && !action.is(nsDAV, "remove") {
			continue
		}
		prop := action.kid(nsDAV, "prop")
		if prop == nil {
			continue
		}
		for _, p := range prop.kids {
			change := propertyChange{name: p.name}
			if action.name.Local == "set" {
				change.value = p
			}
			list = append(list, change)
		}
	}
	return list
}

// proppatch changes all the properties named, or none (RFC 4918 §9.2).
func (s *DAVServer) proppatch(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	root, err := readXML(r)
	if err != nil {
		return err
	}
	if root == nil || !root.is(nsDAV, "propertyupdate") {
		return davStatus(http.StatusBadRequest)
	}
	if !t.exists() {
		return davStatus(http.StatusNotFound)
	}
	changes := readChanges(root)
	s.store.mu.Lock()
	answer := t.change(changes, len(t.parts) == 1 && !t.coll.readOnly)
	s.store.mu.Unlock()
	writeXML(w, http.StatusMultiStatus, dav("multistatus", answer))
	return nil
}

// change applies the changes if every one is allowed, and says which were not.
// The store's lock is held.
func (t *davTarget) change(changes []propertyChange, writable bool) *node {
	refused, dependent := dav("prop"), dav("prop")
	for _, c := range changes {
		if writable && t.coll.accepts(c) {
			dependent.kids = append(dependent.kids, &node{name: c.name})
		} else {
			refused.kids = append(refused.kids, &node{name: c.name})
		}
	}
	answer := dav("response", href(t.path()))
	if len(refused.kids) == 0 {
		for _, c := range changes {
			t.coll.apply(c)
		}
		if len(changes) > 0 {
			t.coll.seq++ // getctag tells of it
		}
		answer.kids = append(answer.kids, propstat(dependent, http.StatusOK))
		return answer
	}
	forbidden := propstat(refused, http.StatusForbidden)
	forbidden.kids = append(forbidden.kids, dav("error", dav("cannot-modify-protected-property")))
	answer.kids = append(answer.kids, forbidden)
	if len(dependent.kids) > 0 {
		answer.kids = append(answer.kids, propstat(dependent, http.StatusFailedDependency))
	}
	return answer
}

// textProperties are the live properties a person may change.
func (c *collection) textProperties() map[xml.Name]*string {
	own := map[xml.Name]*string{{Space: nsDAV, Local: "displayname"}: &c.displayName}
	if c.isBook {
		own[xml.Name{Space: nsCardDAV, Local: "addressbook-description"}] = &c.description
		return own
	}
	own[xml.Name{Space: nsCalDAV, Local: "calendar-description"}] = &c.description
	own[xml.Name{Space: nsCalDAV, Local: "calendar-timezone"}] = &c.timezone
	own[xml.Name{Space: nsApple, Local: "calendar-color"}] = &c.color
	own[xml.Name{Space: nsApple, Local: "calendar-order"}] = &c.order
	return own
}

const mostDeadProperties = 100

// accepts tells whether the change is allowed. Everything the protocols define
// and textProperties does not name is protected.
func (c *collection) accepts(change propertyChange) bool {
	if field := c.textProperties()[change.name]; field != nil {
		return change.value == nil || len(change.value.text) <= 64<<10 && len(change.value.kids) == 0
	}
	if slices.Contains([]string{nsDAV, nsCalDAV, nsCardDAV, nsCS}, change.name.Space) &&
		change.name != (xml.Name{Space: nsCalDAV, Local: "schedule-calendar-transp"}) {
		return false
	}
	return change.value == nil || len(c.dead) < mostDeadProperties
}

func (c *collection) apply(change propertyChange) {
	field := c.textProperties()[change.name]
	switch {
	case field != nil && change.value != nil:
		*field = strings.TrimSpace(change.value.text)
	case field != nil:
		*field = ""
	case change.value != nil:
		c.dead[change.name] = change.value
	default:
		delete(c.dead, change.name)
	}
}

// mkcalendar creates a calendar (RFC 4791 §5.3.1).
func (s *DAVServer) mkcalendar(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	root, err := readXML(r)
	if err != nil {
		return err
	}
	if root != nil && !root.is(nsCalDAV, "mkcalendar") {
		return davStatus(http.StatusBadRequest)
	}
	if t.place != placeCalendars || len(t.parts) != 1 {
		return davRefuse(http.StatusForbidden, caldav("calendar-collection-location-ok"))
	}
	return s.create(w, t, readChanges(root), caldav("mkcalendar-response"))
}

// mkcol creates a calendar or a book, as its resourcetype says (RFC 5689).
// A plain collection has no place here.
func (s *DAVServer) mkcol(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	root, err := readXML(r)
	if err != nil {
		return err
	}
	if root != nil && !root.is(nsDAV, "mkcol") {
		return davStatus(http.StatusUnsupportedMediaType)
	}
	var kind *node
	var changes []propertyChange
	for _, c := range readChanges(root) {
		if c.name.Space == nsDAV && c.name.Local == "resourcetype" {
			kind = c.value
		} else {
			changes = append(changes, c)
		}
	}
	asked := kind.kid(nsCalDAV, "calendar") != nil && t.place == placeCalendars || kind.kid(nsCardDAV, "addressbook") != nil && t.place == placeBooks
	if !asked || len(t.parts) != 1 {
		return davRefuse(http.StatusForbidden, dav("valid-resourcetype"))
	}
	return s.create(w, t, changes, dav("mkcol-response"))
}

// create makes the collection with all its properties, or not at all.
func (s *DAVServer) create(w http.ResponseWriter, t *davTarget, changes []propertyChange, refusal *node) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	siblings := t.siblings()
	if siblings[t.parts[0]] != nil {
		return davRefuse(http.StatusMethodNotAllowed, dav("resource-must-be-null"))
	}
	if len(siblings) >= mostCollections {
		return davRefuse(http.StatusInsufficientStorage, dav("quota-not-exceeded"))
	}
	c := s.store.newCollection(t.place == placeBooks, t.login)
	c.displayName = t.parts[0]
	var rest []propertyChange
	for _, change := range changes {
		if change.name == (xml.Name{Space: nsCalDAV, Local: "supported-calendar-component-set"}) && !c.isBook && change.value != nil {
			if !c.support(change.value) {
				return davRefuse(http.StatusForbidden, caldav("supported-calendar-component"))
			}
			continue
		}
		rest = append(rest, change)
	}
	t.coll = c
	if answer := t.change(rest, true); len(answer.kids) > 1 && !allDone(answer) {
		refusal.kids = append(refusal.kids, answer.kids[1:]...)
		return davRefuse(http.StatusForbidden, refusal)
	}
	siblings[t.parts[0]] = c
	w.Header().Set("Location", t.path())
	w.Header().Set("Cache-Control", "no-cache") // RFC 4791 §5.3.1
	w.WriteHeader(http.StatusCreated)
	return nil
}

func allDone(response *node) bool {
	ok := statusLine(http.StatusOK).text
	for _, k := range response.kids {
		if k.is(nsDAV, "propstat") && k.kid(nsDAV, "status").text != ok {
			return false
		}
	}
	return true
}

// support takes the component set of a new calendar.
func (c *collection) support(set *node) bool {
	var names []string
	for _, comp := range set.kids {
		name := strings.ToUpper(comp.attr("name"))
		if !slices.Contains([]string{"VEVENT", "VTODO", "VJOURNAL"}, name) {
			return false
		}
		names = append(names, name)
	}
	c.components = names
	return len(names) > 0
}
