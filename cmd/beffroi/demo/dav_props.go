package demo

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// property is one live property of a resource. What RFC 4791 and its kin keep
// out of allprop is quiet.
type davProperty struct {
	*node
	quiet bool
}

// properties lists what the resource is, in order. The store's lock is held.
func (s *DAVServer) properties(t *davTarget) []davProperty {
	var list []davProperty
	loud := func(n *node) { list = append(list, davProperty{n, false}) }
	quiet := func(n *node) { list = append(list, davProperty{n, true}) }
	principal := davPath(placePrincipals, t.login)

	quiet(dav("current-user-principal", href(principal)))
	quiet(dav("principal-collection-set", href(principal)))
	quiet(privileges(t))
	if t.place == "" || t.place == placePrincipals || len(t.parts) == 0 {
		s.topProperties(t, principal, loud, quiet)
		return list
	}
	owner := dav("owner", href(principal))
	if t.coll.owner == "" {
		owner = dav("owner") // the school's
	}
	quiet(owner)
	if t.obj != nil {
		loud(dav("resourcetype"))
		loud(textElement(nsDAV, "getetag", t.obj.etag))
		loud(textElement(nsDAV, "getcontenttype", t.obj.contentType()))
		loud(textElement(nsDAV, "getcontentlength", strconv.Itoa(len(t.obj.data))))
		loud(textElement(nsDAV, "getlastmodified", t.obj.modified.UTC().Format(http.TimeFormat)))
		return list
	}
	s.collectionProperties(t.coll, loud, quiet)
	return list
}

func (s *DAVServer) topProperties(t *davTarget, principal string, loud, quiet func(*node)) {
	account := t.home.account
	name := account.Name
	if t.place == placePrincipals {
		loud(dav("resourcetype", dav("collection"), dav("principal")))
		addresses := caldav("calendar-user-address-set")
		for _, address := range account.Addresses() {
			addresses.kids = append(addresses.kids, href("mailto:"+address))
		}
		quiet(addresses)
		quiet(textElement(nsCalDAV, "calendar-user-type", "INDIVIDUAL"))
		quiet(dav("principal-URL", href(principal)))
	} else {
		loud(dav("resourcetype", dav("collection")))
		if t.place == "" {
			name = "Académie"
		}
		quiet(dav("owner", href(principal)))
	}
	loud(textElement(nsDAV, "displayname", name))
	if t.place == "" || t.place == placePrincipals {
		quiet(caldav("calendar-home-set", href(davPath(placeCalendars, t.login))))
		quiet(carddav("addressbook-home-set", href(davPath(placeBooks, t.login))))
	}
	quiet(dav("supported-report-set"))
}

func (s *DAVServer) collectionProperties(c *collection, loud, quiet func(*node)) {
	token := s.store.syncToken(c, c.seq)
	loud(textElement(nsDAV, "displayname", c.displayName))
	loud(textElement(nsDAV, "creationdate", c.created.UTC().Format(time.RFC3339)))
	quiet(textElement(nsDAV, "sync-token", token))
	quiet(textElement(nsCS, "getctag", token))
	size := strconv.Itoa(mostObjectBytes)
	if c.isBook {
		loud(dav("resourcetype", dav("collection"), carddav("addressbook")))
		quiet(textElement(nsCardDAV, "addressbook-description", c.description))
		quiet(textElement(nsCardDAV, "max-resource-size", size))
		types := carddav("supported-address-data")
		for _, version := range []string{"3.0", "4.0"} {
			types.kids = append(types.kids, carddav("address-data-type").with("content-type", "text/vcard").with("version", version))
		}
		quiet(types)
		quiet(reports(carddav("addressbook-query"), carddav("addressbook-multiget"), dav("sync-collection")))
	} else {
		loud(dav("resourcetype", dav("collection"), caldav("calendar")))
		quiet(textElement(nsCalDAV, "calendar-description", c.description))
		quiet(textElement(nsCalDAV, "max-resource-size", size))
		quiet(caldav("supported-calendar-data", caldav("calendar-data").with("content-type", "text/calendar").with("version", "2.0")))
		components := caldav("supported-calendar-component-set")
		for _, name := range c.components {
			components.kids = append(components.kids, caldav("comp").with("name", name))
		}
		quiet(components)
		quiet(reports(caldav("calendar-query"), caldav("calendar-multiget"), dav("sync-collection")))
		for _, p := range []struct{ space, local, value string }{
			{nsApple, "calendar-color", c.color}, {nsApple, "calendar-order", c.order}, {nsCalDAV, "calendar-timezone", c.timezone},
		} {
			if p.value != "" {
				quiet(textElement(p.space, p.local, p.value))
			}
		}
	}
	for _, n := range c.dead {
		loud(n)
	}
}

func reports(names ...*node) *node {
	set := dav("supported-report-set")
	for _, name := range names {
		set.kids = append(set.kids, dav("supported-report", dav("report", name)))
	}
	return set
}

// privileges says what the person may do there (RFC 3744 §5.4).
func privileges(t *davTarget) *node {
	names := []string{"read", "read-current-user-privilege-set"}
	switch {
	case t.place == "" || t.place == placePrincipals:
	case len(t.parts) == 0:
		names = append(names, "bind", "unbind")
	case !t.coll.readOnly:
		names = append(names, "write", "write-content", "write-properties", "bind", "unbind")
	}
	set := dav("current-user-privilege-set")
	for _, name := range names {
		set.kids = append(set.kids, dav("privilege", dav(name)))
	}
	return set
}

// wanted is what a PROPFIND or REPORT asks for.
type wanted struct {
	names     []xml.Name // of DAV:prop
	all       bool
	namesOnly bool
	data      xml.Name // calendar-data or address-data when asked for, else zero
}

// readWanted reads DAV:prop, allprop or propname below the request's root.
func readWanted(root *node) (wanted, error) {
	var w wanted
	switch {
	case root == nil, root.kid(nsDAV, "allprop") != nil:
		w.all = true
		if include := root.kid(nsDAV, "include"); include != nil {
			for _, k := range include.kids {
				w.names = append(w.names, k.name)
			}
		}
	case root.kid(nsDAV, "propname") != nil:
		w.namesOnly = true
	case root.kid(nsDAV, "prop") != nil:
		for _, k := range root.kid(nsDAV, "prop").kids {
			if k.is(nsCalDAV, "calendar-data") || k.is(nsCardDAV, "address-data") {
				if k.kid(nsCalDAV, "expand") != nil {
					return w, &davError{status: http.StatusNotImplemented}
				}
				w.data = k.name
				continue
			}
			w.names = append(w.names, k.name)
		}
	}
	return w, nil
}

// response describes one resource: what it has and what it has not.
// The store's lock is held.
func (s *DAVServer) response(t *davTarget, w wanted) *node {
	live := s.properties(t)
	found, missing := dav("prop"), dav("prop")
	listed := make(map[xml.Name]bool)
	if w.all || w.namesOnly {
		for _, p := range live {
			if w.namesOnly {
				found.kids = append(found.kids, &node{name: p.name})
			} else if !p.quiet {
				found.kids = append(found.kids, p.node)
			}
			listed[p.name] = w.namesOnly || !p.quiet
		}
	}
names:
	for _, name := range w.names {
		if listed[name] {
			continue
		}
		listed[name] = true
		for _, p := range live {
			if p.name == name {
				found.kids = append(found.kids, p.node)
				continue names
			}
		}
		missing.kids = append(missing.kids, &node{name: name})
	}
	if w.data.Local != "" && t.obj != nil {
		found.kids = append(found.kids, &node{name: w.data, text: string(t.obj.data)})
	}
	answer := dav("response", href(t.path()))
	if len(found.kids) > 0 || len(missing.kids) == 0 {
		answer.kids = append(answer.kids, propstat(found, http.StatusOK))
	}
	if len(missing.kids) > 0 {
		answer.kids = append(answer.kids, propstat(missing, http.StatusNotFound))
	}
	return answer
}

func propstat(prop *node, status int) *node {
	return dav("propstat", prop, statusLine(status))
}

func statusLine(status int) *node {
	return textElement(nsDAV, "status", fmt.Sprintf("HTTP/1.1 %d %s", status, http.StatusText(status)))
}

// propfind answers for the resource and, at depth 1, for what it holds.
func (s *DAVServer) propfind(w http.ResponseWriter, r *http.Request, t *davTarget) error {
	root, err := readXML(r)
	if err != nil {
		return err
	}
	if root != nil && !root.is(nsDAV, "propfind") {
		return davStatus(http.StatusBadRequest)
	}
	asked, err := readWanted(root)
	if err != nil {
		return err
	}
	if !t.exists() {
		return davStatus(http.StatusNotFound)
	}
	depth := r.Header.Get("Depth")
	if depth != "0" && depth != "1" && t.obj == nil {
		return davRefuse(http.StatusForbidden, dav("propfind-finite-depth"))
	}
	s.store.mu.RLock()
	answer := dav("multistatus", s.response(t, asked))
	if depth == "1" {
		for _, kid := range t.kids() {
			answer.kids = append(answer.kids, s.response(kid, asked))
		}
	}
	s.store.mu.RUnlock()
	writeXML(w, http.StatusMultiStatus, answer)
	return nil
}

// kids are the resources right below; the store's lock is held.
func (t *davTarget) kids() []*davTarget {
	var list []*davTarget
	switch {
	case t.place == "":
		for _, place := range []string{placePrincipals, placeCalendars, placeBooks} {
			list = append(list, &davTarget{login: t.login, home: t.home, place: place})
		}
	case t.place == placePrincipals || t.obj != nil:
	case len(t.parts) == 0:
		for _, name := range sortedKeys(t.siblings()) {
			list = append(list, &davTarget{login: t.login, home: t.home, place: t.place, parts: []string{name}, coll: t.siblings()[name]})
		}
	default:
		for _, name := range sortedKeys(t.coll.objects) {
			list = append(list, t.in(t.coll.objects[name]))
		}
	}
	return list
}
