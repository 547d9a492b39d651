package dav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Namespaces as servers write them.
const (
	nsDAV    = "DAV:"
	nsCalDAV = "urn:ietf:params:xml:ns:caldav"
	nsCard   = "urn:ietf:params:xml:ns:carddav"
	nsApple  = "http://apple.com/ns/ical/"
	nsCS     = "http://calendarserver.org/ns/"
	nsInf    = "http://inf-it.com/ns/ab/" // colours of address books
)

const maxXMLDepth = 32

// node is one element of an answer.
type node struct {
	name     xml.Name
	attrs    []xml.Attr
	children []*node
	text     strings.Builder
}

func (n *node) child(space, local string) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name.Space == space && c.name.Local == local {
			return c
		}
	}
	return nil
}

func (n *node) all(space, local string) []*node {
	if n == nil {
		return nil
	}
	var found []*node
	for _, c := range n.children {
		if c.name.Space == space && c.name.Local == local {
			found = append(found, c)
		}
	}
	return found
}

func (n *node) value() string {
	if n == nil {
		return ""
	}
	return strings.TrimSpace(n.text.String())
}

func (n *node) attr(local string) string {
	for _, a := range n.attrs {
		if a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// parseXML reads an answer into nodes. Document types are refused, depth is
// bounded. When the text breaks off half-way, what came before is returned
// beside the error.
func parseXML(body []byte) (*node, error) {
	decoder := xml.NewDecoder(bytes.NewReader(clean(body)))
	decoder.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	decoder.Entity = map[string]string{}
	root := &node{}
	stack := []*node{root}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return first1(root), fmt.Errorf("%w: answer is not XML: %w", ErrUnavailable, err)
		}
		top := stack[len(stack)-1]
		switch t := token.(type) {
		case xml.StartElement:
			if len(stack) > maxXMLDepth {
				return nil, fmt.Errorf("%w: answer is nested too deep", ErrUnavailable)
			}
			n := &node{name: t.Name, attrs: t.Attr}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text.Write(t)
		case xml.Directive:
			return nil, fmt.Errorf("%w: answer has a document type", ErrUnavailable)
		}
	}
	if len(root.children) == 0 {
		return nil, fmt.Errorf("%w: answer is empty", ErrUnavailable)
	}
	return root.children[0], nil
}

func first1(root *node) *node {
	if len(root.children) == 0 {
		return nil
	}
	return root.children[0]
}

var characterReference = regexp.MustCompile(`&#(x[0-9a-fA-F]{1,8}|[0-9]{1,10});`)

// clean replaces what XML 1.0 forbids: one object with a control character or
// with broken UTF-8 would otherwise make the whole answer unreadable.
func clean(body []byte) []byte {
	body = characterReference.ReplaceAllFunc(body, func(reference []byte) []byte {
		text, base := string(reference[2:len(reference)-1]), 10
		if text[0] == 'x' {
			text, base = text[1:], 16
		}
		n, err := strconv.ParseInt(text, base, 64)
		if err != nil || !allowed(rune(n)) || n > utf8.MaxRune {
			return []byte("\uFFFD")
		}
		return reference
	})
	if utf8.Valid(body) && bytes.IndexFunc(body, func(r rune) bool { return !allowed(r) }) < 0 {
		return body
	}
	return bytes.Map(func(r rune) rune {
		if allowed(r) {
			return r
		}
		return utf8.RuneError
	}, bytes.ToValidUTF8(body, []byte("\uFFFD")))
}

func allowed(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000
}

// response is one entry of a multistatus (RFC 4918 §14.24).
type response struct {
	href   string // resolved path
	status int    // of the whole entry; 200 when it carries properties
	prop   *node  // the properties that were found
}

// multistatus reads an answer to PROPFIND or REPORT. Entries whose href leads
// elsewhere are left out.
func (c *Client) multistatus(from string, body []byte) (entries []response, syncToken string, err error) {
	root, err := parseXML(body)
	if root == nil {
		return nil, "", err
	}
	if root.name.Space != nsDAV || root.name.Local != "multistatus" {
		return nil, "", fmt.Errorf("%w: answer is a %.40q, not a multistatus", ErrUnavailable, root.name.Local)
	}
	for _, r := range root.all(nsDAV, "response") {
		href, bad := c.resolve(from, r.child(nsDAV, "href").value())
		if bad != nil {
			continue
		}
		entry := response{href: href, status: 200, prop: &node{}}
		if s := r.child(nsDAV, "status"); s != nil {
			entry.status = statusCode(s.value())
		}
		for _, ps := range r.all(nsDAV, "propstat") {
			if statusCode(ps.child(nsDAV, "status").value()) == 200 {
				entry.prop.children = append(entry.prop.children, childrenOf(ps.child(nsDAV, "prop"))...)
			}
		}
		entries = append(entries, entry)
	}
	if err != nil && len(entries) > 0 {
		entries = entries[:len(entries)-1] // the last one may be half an entry
		if len(entries) > 0 {
			err = nil
		}
	}
	return entries, root.child(nsDAV, "sync-token").value(), err
}

func childrenOf(n *node) []*node {
	if n == nil {
		return nil
	}
	return n.children
}

// statusCode reads "HTTP/1.1 200 OK".
func statusCode(line string) int {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}
