package webmail

import (
	"bytes"
	"mime"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Bounds of a message's structure. A message beyond them is shown as far as
// they go; the source is always there to download.
const (
	maxDepth = 30
	maxParts = 400
)

// part is one node of a message. It comes from the server's BODYSTRUCTURE, or
// from our own reading of the bytes when the message is small or when the
// structure cannot be had (a childless multipart makes go-imap drop the
// connection).
type part struct {
	path        []int  // IMAP section: [1 2] is "1.2"; empty for a multipart at the top
	mediaType   string // "text/plain", lower case, always of the form a/b
	params      map[string]string
	disposition string // "", "inline", "attachment"
	filename    string // cleaned
	id          string // Content-ID without brackets
	encoding    string // lower case
	size        int64  // bytes as transferred
	children    []*part
	body        []byte // transferred bytes, when we parsed the message ourselves
	whole       bool   // body is set
}

func (p *part) section() string {
	words := make([]string, len(p.path))
	for i, n := range p.path {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ".")
}

func (p *part) multipart() bool { return strings.HasPrefix(p.mediaType, "multipart/") }

// find is the part of an IMAP section such as "1.2".
func (p *part) find(section string) *part {
	if !p.multipart() && p.section() == section {
		return p
	}
	for _, child := range p.children {
		if found := child.find(section); found != nil {
			return found
		}
	}
	return nil
}

// decoded is the part's content from its transferred bytes.
func (p *part) decoded(b []byte) []byte {
	switch p.encoding {
	case "base64":
		return decodeBase64(b)
	case "quoted-printable":
		return decodeQuoted(b)
	}
	return b
}

// decodedSize estimates the size of the content for people.
func (p *part) decodedSize() int64 {
	if p.encoding == "base64" {
		return p.size * 3 / 4 * 76 / 78
	}
	return p.size
}

// parseMessage reads the structure of a whole message. It accepts anything.
func parseMessage(raw []byte) (header, *part) {
	budget := maxParts
	head, body := splitHeader(raw)
	h := parseHeader(head)
	root := newPart(h, body, nil, 0, &budget)
	if !root.multipart() {
		root.path = []int{1}
	}
	return h, root
}

func newPart(h header, body []byte, path []int, depth int, budget *int) *part {
	*budget--
	p := &part{path: path, body: body, whole: true, size: int64(len(body)),
		encoding: strings.ToLower(strings.TrimSpace(h.get("content-transfer-encoding"))),
		id:       strings.Trim(strings.TrimSpace(h.get("content-id")), "<>")}
	kind, params := parseMediaType(h.get("content-type"), "text/plain")
	disposition, dispositionParams := parseMediaType(h.get("content-disposition"), "")
	p.describe(kind, params, disposition, dispositionParams)
	if !p.multipart() {
		return p
	}
	if depth < maxDepth {
		for i, child := range splitMultipart(body, params["boundary"], *budget) {
			head, content := splitHeader(child)
			if bytes.HasPrefix(child, []byte("\n")) || bytes.HasPrefix(child, []byte("\r\n")) {
				head = nil // a part without any header
			}
			if *budget <= 0 {
				break
			}
			at := append(append([]int(nil), path...), i+1)
			p.children = append(p.children, newPart(parseHeader(head), content, at, depth+1, budget))
		}
	}
	if len(p.children) == 0 { // childless, or too deep: what there is, as text
		p.mediaType = "text/plain"
		if len(p.path) == 0 {
			p.path = []int{1}
		}
	}
	return p
}

// splitMultipart cuts a body at its boundary lines. One pass; a missing end
// line ends with the data (RFC 2046 §5.1.1 asks for it, mail omits it).
func splitMultipart(body []byte, boundary string, most int) [][]byte {
	if boundary == "" {
		return nil
	}
	mark := []byte("--" + boundary)
	var parts [][]byte
	start := -1
	for at := 0; at < len(body) && len(parts) < most; {
		end := bytes.IndexByte(body[at:], '\n')
		next := len(body)
		line := body[at:]
		if end >= 0 {
			next = at + end + 1
			line = body[at : at+end]
		}
		if bytes.HasPrefix(line, mark) {
			tail := bytes.TrimRight(line[len(mark):], " \t\r")
			last := bytes.Equal(tail, []byte("--"))
			if last || len(tail) == 0 {
				if start >= 0 {
					parts = append(parts, trimNewline(body[start:at]))
				}
				start = next
				if last {
					return parts
				}
			}
		}
		at = next
	}
	if start >= 0 && start < len(body) && len(parts) < most {
		parts = append(parts, body[start:])
	}
	return parts
}

func trimNewline(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return bytes.TrimSuffix(b, []byte("\r"))
}

// parseMediaType reads "type/subtype; key=value…" (or a disposition) as far as
// it makes sense; fallback stands for what does not.
func parseMediaType(value, fallback string) (string, map[string]string) {
	kind, params, err := mime.ParseMediaType(value)
	if err != nil {
		params = map[string]string{}
		pieces := splitOutsideQuotes(value, ';')
		kind = strings.ToLower(strings.TrimSpace(pieces[0]))
		for _, piece := range pieces[1:] {
			key, v, _ := strings.Cut(piece, "=")
			key = strings.ToLower(strings.TrimSpace(key))
			if _, twice := params[key]; key != "" && !twice {
				params[key] = strings.Trim(strings.TrimSpace(v), `"`)
			}
		}
	}
	if fallback != "" && !validMediaType(kind) {
		kind = fallback
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(value)), "multipart") {
			kind = "multipart/mixed"
		}
	}
	return kind, params
}

// validMediaType: two tokens. The type of a part is written into pages and
// headers, so nothing else passes (CVE-2026-54432 of Roundcube went this way).
func validMediaType(kind string) bool {
	main, sub, ok := strings.Cut(kind, "/")
	return ok && token(main) && token(sub)
}

func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) < 80
}

func splitOutsideQuotes(s string, separator byte) []string {
	var pieces []string
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == separator && !quoted:
			pieces = append(pieces, s[start:i])
			start = i + 1
		}
	}
	return append(pieces, s[start:])
}

func (p *part) describe(kind string, params map[string]string, disposition string, dispositionParams map[string]string) {
	p.mediaType = strings.ToLower(kind)
	if !validMediaType(p.mediaType) {
		p.mediaType = "application/octet-stream"
	}
	p.params = params
	if d := strings.ToLower(disposition); d == "attachment" || d == "inline" {
		p.disposition = d
	} else if d != "" { // RFC 2183 §2.8: unknown means attachment
		p.disposition = "attachment"
	}
	name := dispositionParams["filename"]
	if name == "" {
		name = params["name"]
	}
	p.filename = cleanFilename(decodeWords(name))
}

// cleanFilename keeps what a file can be called, without folders and without
// marks that hide the real extension.
func cleanFilename(name string) string {
	name = cleanLine(name)
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"|?*`, r) || r == '\u00a0' {
			return '_'
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ") // "facture.pdf          .exe" shows its end
	name = strings.TrimLeft(name, ".")
	if len(name) > 150 {
		ext := ""
		if i := strings.LastIndexByte(name, '.'); i > len(name)-12 {
			ext = name[i:]
		}
		name = strings.ToValidUTF8(name[:150-len(ext)], "") + "…" + ext
	}
	return name
}

// fromStructure is the server's BODYSTRUCTURE as parts.
func fromStructure(bs imap.BodyStructure) *part {
	budget := maxParts
	root := structurePart(bs, nil, 0, &budget)
	if !root.multipart() {
		root.path = []int{1}
	}
	return root
}

func structurePart(bs imap.BodyStructure, path []int, depth int, budget *int) *part {
	*budget--
	p := &part{path: path}
	disposition, dispositionParams := "", map[string]string{}
	if d := bs.Disposition(); d != nil {
		disposition, dispositionParams = d.Value, lowerKeys(d.Params)
	}
	switch bs := bs.(type) {
	case *imap.BodyStructureMultiPart:
		params := map[string]string{}
		if bs.Extended != nil {
			params = lowerKeys(bs.Extended.Params)
		}
		p.describe("multipart/"+strings.ToLower(bs.Subtype), params, disposition, dispositionParams)
		for i, child := range bs.Children {
			if depth >= maxDepth || *budget <= 0 {
				break
			}
			p.children = append(p.children, structurePart(child, append(append([]int(nil), path...), i+1), depth+1, budget))
		}
		if len(p.children) == 0 {
			p.mediaType = "application/octet-stream"
		}
	case *imap.BodyStructureSinglePart:
		p.encoding = strings.ToLower(bs.Encoding)
		p.size = int64(bs.Size)
		p.id = strings.Trim(bs.ID, "<>")
		p.describe(strings.ToLower(bs.Type+"/"+bs.Subtype), lowerKeys(bs.Params), disposition, dispositionParams)
	}
	return p
}

// lowerKeys makes parameters of a BODYSTRUCTURE like those of a header: keys in
// lower case, and the encoded and cut ones of RFC 2231 put together, which
// servers pass on as they are.
func lowerKeys(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	line := "a/b"
	for k, v := range m {
		k = strings.ToLower(k)
		out[k] = v
		if strings.Contains(k, "*") && len(m) < 100 {
			if !strings.HasSuffix(k, "*") {
				v = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
			}
			line += "; " + k + "=" + v
		}
	}
	if line == "a/b" {
		return out
	}
	if _, decoded, err := mime.ParseMediaType(line); err == nil {
		for k, v := range decoded {
			out[k] = v
		}
	}
	return out
}
