package webmail

import (
	"html"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	nethtml "golang.org/x/net/html"
	"golang.org/x/net/idna"
)

// The elements that a message may have. Everything else loses its tag and
// keeps its text, except the elements of dropped, which lose their content.
// There is no SVG and no MathML: their scripts, animations and name spaces are
// where sanitisers fail (CVE-2026-35543, 35545, 48848 of Roundcube).
var allowed = set(`
	a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del details dfn
	dir div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q s samp
	section small span strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr`)

var dropped = set(`
	script svg math iframe object embed applet noscript template title textarea select datalist audio video canvas frameset
	noframes noembed xmp plaintext map portal fencedframe dialog menu`)

var (
	void       = set(`br col hr img wbr`)
	alignments = set(`left right center justify top middle bottom baseline`)
)

const (
	maxOpenElements = 120     // deeper nesting is flattened
	maxDocument     = 4 << 20 // bytes of HTML read
	maxInlineImage  = 2 << 20 // bytes of one image carried inside the document
	maxInlineImages = 6 << 20 // and of all of them
	maxRemoteImages = 200     // that one document may ask for
)

// sanitized is a message's HTML made harmless, and what was left out of it.
type sanitized struct {
	Style  string   // sanitised style sheet
	Body   string   // sanitised, balanced markup
	Remote int      // remote images and backgrounds that were not loaded
	Shown  int      // remote images that the document asks for
	Hosts  []string // where they would have come from, each once
	Cut    bool     // the document was too long
}

// sanitizer walks the tokens once and writes what is allowed.
type sanitizer struct {
	out    strings.Builder
	style  strings.Builder
	open   []string // elements written and not closed
	result sanitized
	hosts  map[string]bool

	sources
	images int

	link linkState
}

// sources say where a document may take from, and lead to, beside itself.
type sources struct {
	inline  func(cid string) (mediaType string, data []byte) // an image of the message, nil when there is none
	compose string                                           // address that mailto: links lead to
	fetch   func(address string) string                      // where a remote picture is had, "" for nowhere; nil: none is
	own     []string                                         // domains that no link should seem to lead to
	narrow  bool                                             // only what people write themselves is kept (rich.go)
}

// linkState is the link being written: where it leads and what it says.
type linkState struct {
	host string
	text strings.Builder
}

// sanitize makes a document of a stranger harmless. The result never holds an
// element, attribute or address outside the lists of this file; it is served
// in a sandbox all the same (document.go).
func sanitize(source string, inline func(cid string) (string, []byte), compose string) sanitized {
	return sanitizeFrom(source, sources{inline: inline, compose: compose})
}

func sanitizeFrom(source string, from sources) sanitized {
	s := &sanitizer{hosts: map[string]bool{}, sources: from}
	most := maxDocument
	if from.narrow {
		most = maxWritten
	}
	if len(source) > most {
		source = strings.ToValidUTF8(source[:most], "")
		s.result.Cut = true
	}
	s.walk(nethtml.NewTokenizer(strings.NewReader(source)))
	for len(s.open) > 0 {
		s.close(s.open[len(s.open)-1])
	}
	s.result.Body = s.out.String()
	s.countStyle(s.style.String())
	s.result.Style = cleanStyleSheet(s.style.String())
	return s.result
}

func (s *sanitizer) walk(z *nethtml.Tokenizer) {
	skip, depth := "", 0 // inside a dropped element
	inStyle := false
	for {
		switch kind := z.Next(); kind {
		case nethtml.ErrorToken:
			if z.Err() != io.EOF {
				s.result.Cut = true
			}
			return
		case nethtml.TextToken:
			switch {
			case skip != "":
			case inStyle:
				if s.style.Len() < maxStyleSheet {
					s.style.Write(z.Raw())
					s.style.WriteByte('\n')
				}
			default:
				s.text(string(z.Text()))
			}
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken:
			t := z.Token()
			switch {
			case skip != "":
				if t.Data == skip && kind == nethtml.StartTagToken {
					depth++
				}
			case t.Data == "style":
				inStyle = kind == nethtml.StartTagToken
			case dropped[t.Data]:
				if kind == nethtml.StartTagToken {
					skip, depth = t.Data, 1
				}
			case t.Data == "body":
				s.body(t)
			case s.narrow && t.Data != "img" && !written[t.Data]:
				s.unwrap(t.Data)
			case allowed[t.Data]:
				s.start(t)
			}
		case nethtml.EndTagToken:
			t := z.Token()
			switch {
			case skip != "":
				if t.Data == skip {
					if depth--; depth == 0 {
						skip = ""
					}
				}
			case t.Data == "style":
				inStyle = false
			default:
				s.close(t.Data)
			}
		}
	}
}

func (s *sanitizer) text(text string) {
	if s.link.host != "" && s.link.text.Len() < 500 {
		s.link.text.WriteString(text)
	}
	s.out.WriteString(html.EscapeString(strings.Map(func(r rune) rune {
		if isDirectionMark(r) && r != '\u200e' && r != '\u200f' || r == 0 {
			return -1
		}
		return r
	}, text)))
}

// body keeps the colours that many newsletters set on <body>, on a div.
func (s *sanitizer) body(t nethtml.Token) {
	if len(s.open) == 0 {
		t.Data = "div"
		s.start(t)
	}
}

func (s *sanitizer) start(t nethtml.Token) {
	if !void[t.Data] && len(s.open) >= maxOpenElements {
		return
	}
	if t.Data == "img" {
		s.image(t)
		return
	}
	if t.Data == "a" { // links do not nest
		s.close("a")
	}
	s.out.WriteString("<" + t.Data)
	for _, a := range t.Attr {
		if value, ok := s.attribute(t.Data, a); ok && !s.narrow {
			s.write(a.Key, value)
		}
	}
	if t.Data == "a" {
		s.anchor(t)
	}
	s.out.WriteString(">")
	if !void[t.Data] {
		s.open = append(s.open, t.Data)
	}
}

// unwrap leaves out an element that is not kept, and not the line that it is.
func (s *sanitizer) unwrap(name string) {
	if name == "tr" || name == "table" || name == "h4" || name == "h5" || name == "h6" {
		s.out.WriteString("<br>")
	}
	if name == "td" || name == "th" {
		s.out.WriteString(" ")
	}
}

func (s *sanitizer) write(key, value string) {
	s.out.WriteString(" " + key + `="` + html.EscapeString(value) + `"`)
}

// close ends an element and what was left open inside it. An end without a
// beginning is nothing.
func (s *sanitizer) close(name string) {
	at := -1
	for i := len(s.open) - 1; i >= 0; i-- {
		if s.open[i] == name {
			at = i
			break
		}
		// A stray </div> in a cell must not close the table around it.
		if (s.open[i] == "td" || s.open[i] == "th") && name != "tr" && name != "table" && name != "tbody" {
			return
		}
	}
	if at < 0 {
		return
	}
	for len(s.open) > at {
		last := s.open[len(s.open)-1]
		s.open = s.open[:len(s.open)-1]
		s.out.WriteString("</" + last + ">")
		if last == "a" {
			s.afterLink()
		}
	}
}

// attribute tells whether an attribute may stay, and its value. Only values of
// a known shape pass: nothing here can name an address.
func (s *sanitizer) attribute(element string, a nethtml.Attribute) (string, bool) {
	v := strings.TrimSpace(a.Val)
	if a.Namespace != "" || len(v) > maxStyleAttr {
		return "", false
	}
	switch a.Key {
	case "style":
		clean := cleanStyle(v)
		s.countStyle(v)
		return clean, clean != ""
	case "class", "id", "title", "alt", "summary", "lang":
		return cleanLine(v), v != ""
	case "align", "valign":
		v = strings.ToLower(v)
		return v, alignments[v]
	case "dir":
		v = strings.ToLower(v)
		return v, v == "ltr" || v == "rtl" || v == "auto"
	case "width", "height", "border", "cellpadding", "cellspacing", "colspan", "rowspan", "start", "size", "hspace", "vspace":
		return v, measure(v)
	case "bgcolor", "color":
		return v, colour(v)
	case "face":
		return cleanLine(v), element == "font"
	case "nowrap", "noshade", "reversed", "open":
		return "", true
	case "type":
		return v, (element == "ol" || element == "ul" || element == "li") && len(v) == 1
	case "background", "srcset", "poster", "src", "lowsrc", "dynsrc":
		s.remote(v)
	}
	return "", false
}

func measure(v string) bool {
	v = strings.TrimSuffix(strings.TrimSuffix(v, "%"), "px")
	_, err := strconv.ParseUint(strings.TrimPrefix(v, "+"), 10, 16)
	return err == nil
}

func colour(v string) bool {
	for i := range len(v) {
		c := v[i] | 0x20
		if !(c >= 'a' && c <= 'z' || v[i] >= '0' && v[i] <= '9' || v[i] == '#' && i == 0) {
			return false
		}
	}
	return v != "" && len(v) < 24
}

// fetches is where a style asks for an address. Its place in a lower-case copy
// would not do: lower case may be longer, as it is of a broken character.
var fetches = regexp.MustCompile(`(?i)url\(`)

// countStyle counts what a style would have fetched, to say so.
func (s *sanitizer) countStyle(style string) {
	rest := style
	for {
		at := fetches.FindStringIndex(rest)
		if at == nil {
			return
		}
		rest = rest[at[1]:]
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			end = len(rest)
		}
		s.remote(strings.Trim(rest[:end], `"' `))
		rest = rest[end:]
	}
}

// remote counts an address that was not fetched.
func (s *sanitizer) remote(address string) {
	u, err := url.Parse(browserURL(address))
	if err != nil || u.Host == "" {
		return
	}
	s.result.Remote++
	if host := u.Hostname(); !s.hosts[host] && len(s.result.Hosts) < 20 {
		s.hosts[host] = true
		s.result.Hosts = append(s.result.Hosts, host)
	}
}

// browserURL removes what a browser ignores in an address before it looks for
// the scheme: "java\nscript:" is a script for it.
func browserURL(address string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || isDirectionMark(r) {
			return -1
		}
		return r
	}, address))
}

// anchor writes where a link leads, if that is a place for people.
func (s *sanitizer) anchor(t nethtml.Token) {
	s.link = linkState{}
	for _, a := range t.Attr {
		if a.Key != "href" || a.Namespace != "" {
			continue
		}
		address := browserURL(a.Val)
		if s.narrow {
			if target := writtenLink(address); target != "" {
				s.write("href", target)
			}
			return
		}
		target, host := linkTarget(address, s.compose)
		if target == "" {
			return
		}
		s.write("href", target)
		s.write("target", "_blank")
		s.write("rel", "noopener noreferrer nofollow")
		if host != "" {
			s.write("title", host)
			s.link.host = host
		}
		return
	}
}

// linkTarget is the address a link may lead to, made new from its parts, and
// the host to show ("" for mail and telephone).
func linkTarget(address, compose string) (target, host string) {
	if len(address) > 4000 {
		return "", ""
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", ""
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https":
		if u.Host == "" || u.User != nil { // "https://bank.fr@evil.example": nobody needs it in a mail
			return "", ""
		}
		name := u.Hostname()
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			ascii = strings.ToLower(name)
			if !isASCII(ascii) {
				return "", ""
			}
		}
		if !plainHost(ascii) {
			return "", ""
		}
		port := u.Port()
		u.Host = ascii
		if strings.Contains(ascii, ":") {
			u.Host = "[" + ascii + "]"
		}
		if port != "" {
			u.Host += ":" + port
		}
		return u.String(), ascii
	case "mailto":
		if compose == "" {
			return "", ""
		}
		return compose + "?mailto=" + url.QueryEscape(address), ""
	case "tel":
		return "tel:" + strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r == '+' {
				return r
			}
			return -1
		}, u.Opaque), ""
	}
	return "", ""
}

// plainHost: letters, digits and what names and IP addresses are made of. Go
// accepts quotes in a host; nobody is reached there.
func plainHost(host string) bool {
	for i := range len(host) {
		c := host[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c == ':') {
			return false
		}
	}
	return host != "" && host[0] != '-'
}

// afterLink shows the real host behind a link whose text names another one.
func (s *sanitizer) afterLink() {
	host, text := s.link.host, strings.TrimSpace(s.link.text.String())
	s.link = linkState{}
	if host == "" || text == "" {
		return
	}
	said := hostIn(text)
	if said != "" && !sameSite(said, host) || !s.narrow && doubtful(host, s.own) {
		s.out.WriteString(`<span class="beffroi-host"> [` + html.EscapeString(host) + `]</span>`)
	}
}

// hostIn is the host that a link's text shows, when it looks like one.
func hostIn(text string) string {
	text = strings.ToLower(strings.Fields(text + " .")[0])
	text = strings.TrimPrefix(strings.TrimPrefix(text, "https://"), "http://")
	if i := strings.IndexAny(text, "/?#:"); i >= 0 {
		text = text[:i]
	}
	dot := strings.LastIndexByte(text, '.')
	if dot <= 0 || len(text)-dot < 3 || strings.ContainsAny(text, "@()<>\"'") {
		return ""
	}
	return text
}

func sameSite(a, b string) bool {
	a, b = strings.TrimPrefix(a, "www."), strings.TrimPrefix(b, "www.")
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}
