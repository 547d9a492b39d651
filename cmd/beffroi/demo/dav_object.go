package demo

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// get answers with an object's bytes.
func (s *DAVServer) get(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	if t.obj == nil {
		if t.exists() {
			return &davError{status: http.StatusMethodNotAllowed, headers: map[string]string{"Allow": davMethods}}
		}
		return davStatus(http.StatusNotFound)
	}
	w.Header().Set("ETag", t.obj.etag)
	w.Header().Set("Content-Type", t.obj.contentType())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", t.obj.modified, bytes.NewReader(t.obj.data)) // also the conditions of GET
	return nil
}

func (o *object) contentType() string {
	if o.kind == "VCARD" {
		return "text/vcard; charset=utf-8"
	}
	return "text/calendar; charset=utf-8; component=" + o.kind
}

// put creates or replaces an object, if the conditions hold at that very moment.
func (s *DAVServer) put(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	if len(t.parts) < 2 {
		return davStatus(http.StatusMethodNotAllowed)
	}
	if t.coll == nil {
		return davStatus(http.StatusConflict) // RFC 4918 §9.7.1
	}
	if t.coll.readOnly {
		return davRefuse(http.StatusForbidden, needPrivileges(t.path(), "write-content"))
	}
	body, err := s.readObject(r, t.coll)
	if err != nil {
		return err
	}
	parsed, err := parseObject(body, t.coll.isBook)
	if err != nil {
		return err
	}
	if !t.coll.isBook && !t.coll.takes(parsed.kind) {
		return davRefuse(http.StatusForbidden, caldav("supported-calendar-component"))
	}

	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if t.siblings()[t.parts[0]] != t.coll {
		return davStatus(http.StatusConflict) // the collection was deleted meanwhile
	}
	name := t.parts[1]
	before := t.coll.objects[name]
	if err := holds(r, before); err != nil {
		return err
	}
	if other := t.coll.byUID(parsed.uid, name); other != nil {
		return davRefuse(http.StatusConflict, uidConflict(t.coll, t.in(other).path()))
	}
	if before != nil && before.uid != parsed.uid {
		return davRefuse(http.StatusConflict, uidConflict(t.coll, t.path()))
	}
	if before == nil && len(t.coll.objects) >= mostObjects {
		return davRefuse(http.StatusInsufficientStorage, dav("quota-not-exceeded"))
	}
	after := t.coll.put(name, body, parsed, s.config.Now())
	w.Header().Set("ETag", after.etag)
	if before == nil {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

func (c *collection) takes(kind string) bool {
	for _, name := range c.components {
		if name == kind {
			return true
		}
	}
	return false
}

func uidConflict(c *collection, path string) *node {
	if c.isBook {
		return carddav("no-uid-conflict", href(path))
	}
	return caldav("no-uid-conflict", href(path))
}

// readObject reads the body of a PUT: UTF-8 of the collection's media type.
func (s *DAVServer) readObject(r *http.Request, c *collection) ([]byte, error) {
	want, space, condition := "text/calendar", nsCalDAV, "supported-calendar-data"
	if c.isBook {
		want, space, condition = "text/vcard", nsCardDAV, "supported-address-data"
	}
	if header := r.Header.Get("Content-Type"); header != "" {
		media, params, err := mime.ParseMediaType(header)
		if err != nil || (media != want && media != "application/octet-stream") || (params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8")) {
			return nil, davRefuse(http.StatusUnsupportedMediaType, element(space, condition))
		}
	}
	body, err := readBody(r)
	var refused *davError
	if errors.As(err, &refused) && refused.status == http.StatusRequestEntityTooLarge || len(body) > mostObjectBytes {
		return nil, davRefuse(http.StatusForbidden, element(space, "max-resource-size"))
	}
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(body) {
		return nil, davRefuse(http.StatusForbidden, invalidData(c.isBook))
	}
	return body, nil
}

// delete removes an object or a whole collection.
func (s *DAVServer) delete(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	if len(t.parts) == 0 {
		return davStatus(http.StatusForbidden)
	}
	if t.coll == nil {
		return davStatus(http.StatusNotFound)
	}
	if t.coll.readOnly {
		return davRefuse(http.StatusForbidden, needPrivileges(t.path(), "unbind"))
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if t.siblings()[t.parts[0]] != t.coll {
		return davStatus(http.StatusNotFound)
	}
	if len(t.parts) == 1 {
		delete(t.siblings(), t.parts[0])
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	obj := t.coll.objects[t.parts[1]]
	if obj == nil {
		if r.Header.Get("If-Match") != "" {
			return davStatus(http.StatusPreconditionFailed)
		}
		return davStatus(http.StatusNotFound)
	}
	if err := holds(r, obj); err != nil {
		return err
	}
	t.coll.remove(obj.name)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// move takes an object to another collection of the same kind, as an agenda
// does when an event changes calendar. The UID goes along, so both ends change
// under one lock.
func (s *DAVServer) move(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	if len(t.parts) < 2 || t.obj == nil {
		return davStatus(http.StatusNotFound)
	}
	to, err := s.destination(r, t)
	if err != nil {
		return err
	}
	for _, end := range []*davTarget{t, to} {
		if end.coll.readOnly {
			return davRefuse(http.StatusForbidden, needPrivileges(end.path(), "write"))
		}
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if t.siblings()[t.parts[0]] != t.coll || to.siblings()[to.parts[0]] != to.coll {
		return davStatus(http.StatusConflict)
	}
	from, obj := t.coll, t.coll.objects[t.parts[1]]
	if obj == nil {
		return davStatus(http.StatusNotFound)
	}
	if err := holds(r, obj); err != nil {
		return err
	}
	name := to.parts[1]
	replaced := to.coll.objects[name]
	switch other := to.coll.byUID(obj.uid, name); {
	case replaced == obj:
		return davStatus(http.StatusForbidden) // onto itself
	case replaced != nil && strings.EqualFold(r.Header.Get("Overwrite"), "F"):
		return davStatus(http.StatusPreconditionFailed)
	case other != nil && other != obj:
		return davRefuse(http.StatusConflict, uidConflict(to.coll, to.in(other).path()))
	case !to.coll.isBook && !to.coll.takes(obj.kind):
		return davRefuse(http.StatusForbidden, caldav("supported-calendar-component"))
	}
	from.remove(obj.name)
	moved := to.coll.put(name, obj.data, parsedObject{obj.parsed, obj.kind, obj.uid}, s.config.Now())
	w.Header().Set("ETag", moved.etag)
	w.Header().Set("Location", to.path())
	if replaced == nil {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

func (s *DAVServer) destination(r *http.Request, t *davTarget) (*davTarget, error) {
	u, err := url.Parse(r.Header.Get("Destination"))
	if err != nil || u.Path == "" {
		return nil, davStatus(http.StatusBadRequest)
	}
	if u.Host != "" && u.Host != r.Host {
		return nil, davStatus(http.StatusBadGateway) // RFC 4918 §9.9.4
	}
	to, err := s.store.find(t.login, u.EscapedPath())
	if err != nil {
		return nil, err
	}
	if to.place != t.place || len(to.parts) < 2 || to.coll == nil {
		return nil, davStatus(http.StatusConflict)
	}
	return to, nil
}

// holds applies If-Match and If-None-Match (RFC 9110 §13.1) to what is stored;
// obj is nil when nothing is.
func holds(r *http.Request, obj *object) error {
	if values := r.Header.Values("If-Match"); len(values) > 0 {
		if obj == nil || !names(values, obj.etag) {
			return davStatus(http.StatusPreconditionFailed)
		}
	}
	if values := r.Header.Values("If-None-Match"); len(values) > 0 {
		if obj != nil && names(values, obj.etag) {
			return davStatus(http.StatusPreconditionFailed)
		}
	}
	return nil
}

// names tells whether a list of ETags holds this one. A weak one never does:
// writing needs the strong comparison.
func names(values []string, etag string) bool {
	for _, value := range values {
		for _, one := range strings.Split(value, ",") {
			if one = strings.TrimSpace(one); one == "*" || one == etag {
				return true
			}
		}
	}
	return false
}
