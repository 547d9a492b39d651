package demo

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
)

// The namespaces of the protocol, and the prefixes we write them with.
const (
	nsDAV     = "DAV:"
	nsCalDAV  = "urn:ietf:params:xml:ns:caldav"
	nsCardDAV = "urn:ietf:params:xml:ns:carddav"
	nsCS      = "http://calendarserver.org/ns/"
	nsApple   = "http://apple.com/ns/ical/"
)

var prefixes = []struct{ prefix, space string }{
	{"D", nsDAV}, {"C", nsCalDAV}, {"CR", nsCardDAV}, {"CS", nsCS}, {"A", nsApple},
}

// node is an XML element: its text is all character data in it, its kids keep
// their order. Enough for DAV, where text and elements never mix.
type node struct {
	name  xml.Name
	attrs []xml.Attr // without namespace declarations
	text  string
	kids  []*node
}

func element(space, local string, kids ...*node) *node {
	return &node{name: xml.Name{Space: space, Local: local}, kids: kids}
}

func textElement(space, local, text string) *node {
	return &node{name: xml.Name{Space: space, Local: local}, text: text}
}

func dav(local string, kids ...*node) *node     { return element(nsDAV, local, kids...) }
func caldav(local string, kids ...*node) *node  { return element(nsCalDAV, local, kids...) }
func carddav(local string, kids ...*node) *node { return element(nsCardDAV, local, kids...) }
func href(path string) *node                    { return textElement(nsDAV, "href", path) }

func (n *node) with(key, value string) *node {
	n.attrs = append(n.attrs, xml.Attr{Name: xml.Name{Local: key}, Value: value})
	return n
}

func (n *node) is(space, local string) bool {
	return n != nil && n.name.Space == space && n.name.Local == local
}

// kid is the first child of that name, or nil.
func (n *node) kid(space, local string) *node {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.is(space, local) {
			return k
		}
	}
	return nil
}

func (n *node) attr(key string) string {
	for _, a := range n.attrs {
		if a.Name.Space == "" && a.Name.Local == key {
			return a.Value
		}
	}
	return ""
}

const deepestXML = 64

var errNoXML = errors.New("the body is no XML of this protocol")

// readXML reads a request's body; nil when it is empty.
func readXML(r *http.Request) (*node, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	root, err := parseXML(body)
	if err != nil {
		return nil, davStatus(http.StatusBadRequest)
	}
	return root, nil
}

// readBody reads at most mostObjectBytes.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			return nil, davStatus(http.StatusRequestEntityTooLarge)
		}
		return nil, davStatus(http.StatusBadRequest)
	}
	return body, nil
}

func parseXML(body []byte) (*node, error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	var root *node
	var open []*node
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name}
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					n.attrs = append(n.attrs, a)
				}
			}
			switch {
			case len(open) >= deepestXML, len(open) == 0 && root != nil:
				return nil, errNoXML
			case len(open) == 0:
				root = n
			default:
				parent := open[len(open)-1]
				parent.kids = append(parent.kids, n)
			}
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(token)
			}
		case xml.Directive: // a DOCTYPE has no business here
			return nil, errNoXML
		}
	}
	if root == nil {
		return nil, errNoXML
	}
	return root, nil
}

// writeXML answers with a document. Carriage returns are written as character
// references, so that calendar data keeps its line ends through any XML reader.
func writeXML(w http.ResponseWriter, status int, root *node) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	root.write(&b, true)
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func (n *node) write(b *bytes.Buffer, root bool) {
	tag := n.name.Local
	declared := false
	for _, p := range prefixes {
		if p.space == n.name.Space {
			tag, declared = p.prefix+":"+tag, true
		}
	}
	b.WriteString("<" + tag)
	if root {
		for _, p := range prefixes {
			writeAttr(b, "xmlns:"+p.prefix, p.space)
		}
	}
	if !declared {
		writeAttr(b, "xmlns", n.name.Space)
	}
	for _, a := range n.attrs {
		switch a.Name.Space {
		case "":
			writeAttr(b, a.Name.Local, a.Value)
		case "xml", "http://www.w3.org/XML/1998/namespace":
			writeAttr(b, "xml:"+a.Name.Local, a.Value)
		}
	}
	if n.text == "" && len(n.kids) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	if len(n.kids) == 0 || strings.TrimSpace(n.text) != "" {
		_ = xml.EscapeText(b, []byte(n.text))
	}
	for _, k := range n.kids {
		k.write(b, false)
	}
	b.WriteString("</" + tag + ">")
}

func writeAttr(b *bytes.Buffer, key, value string) {
	b.WriteString(" " + key + `="`)
	_ = xml.EscapeText(b, []byte(value))
	b.WriteByte('"')
}
