package visitor

import (
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// Text is what a person reads on the page.
func (p *Page) Text() string {
	root, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return p.Body
	}
	return textOf(root)
}

// Link is an anchor of a page.
type Link struct{ Href, Text string } // Href is absolute

// Links are the anchors of the page in order.
func (p *Page) Links() []Link {
	var links []Link
	p.walk(func(n *html.Node, enter bool) {
		if enter && n.Data == "a" && has(n, "href") {
			if to, err := p.URL.Parse(attr(n, "href")); err == nil {
				links = append(links, Link{to.String(), strings.Join(strings.Fields(textOf(n)), " ")})
			}
		}
	})
	return links
}

// Link finds the first anchor whose text contains one of the words; "" when there is none.
func (p *Page) Link(words ...string) string {
	for _, l := range p.Links() {
		for _, w := range words {
			if strings.Contains(l.Text, w) {
				return l.Href
			}
		}
	}
	return ""
}

// LinkTo finds the first anchor whose address contains part.
func (p *Page) LinkTo(part string) string {
	for _, l := range p.Links() {
		if strings.Contains(l.Href, part) {
			return l.Href
		}
	}
	return ""
}

// TOTPSecret is the secret of an enrolment page, from its otpauth link; "" elsewhere.
func (p *Page) TOTPSecret() string {
	for _, l := range p.Links() {
		if u, err := url.Parse(l.Href); err == nil && u.Scheme == "otpauth" {
			return u.Query().Get("secret")
		}
	}
	return ""
}

// Frames are the addresses of the page's frames.
func (p *Page) Frames() []string {
	var frames []string
	p.walk(func(n *html.Node, enter bool) {
		if enter && n.Data == "iframe" && attr(n, "src") != "" {
			if to, err := p.URL.Parse(attr(n, "src")); err == nil {
				frames = append(frames, to.String())
			}
		}
	})
	return frames
}

// Images are the addresses of the page's pictures.
func (p *Page) Images() []string {
	var images []string
	p.walk(func(n *html.Node, enter bool) {
		if enter && n.Data == "img" && attr(n, "src") != "" {
			if to, err := p.URL.Parse(attr(n, "src")); err == nil {
				images = append(images, to.String())
			}
		}
	})
	return images
}

// Refresh is where the page leads by itself after a while, by its header or a meta element; "" when it stays.
func (p *Page) Refresh() string {
	to := p.Header.Get("Refresh")
	p.walk(func(n *html.Node, enter bool) {
		if enter && n.Data == "meta" && strings.EqualFold(attr(n, "http-equiv"), "refresh") {
			to = attr(n, "content")
		}
	})
	_, address, found := strings.Cut(to, "url=")
	if !found {
		return ""
	}
	at, err := p.URL.Parse(address)
	if err != nil {
		return ""
	}
	return at.String()
}

// walk visits the page's elements, each twice: when it opens and when it closes.
func (p *Page) walk(visit func(n *html.Node, enter bool)) {
	root, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return
	}
	var down func(*html.Node)
	down = func(n *html.Node) {
		if n.Type == html.ElementNode {
			visit(n, true)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			down(c)
		}
		if n.Type == html.ElementNode {
			visit(n, false)
		}
	}
	down(root)
}

func textOf(n *html.Node) string {
	var b strings.Builder
	var down func(*html.Node)
	down = func(n *html.Node) {
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
			b.WriteByte(' ')
		case n.Type == html.ElementNode && (n.Data == "script" || n.Data == "style" || n.Data == "svg"):
			return
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			down(c)
		}
	}
	down(n)
	return strings.TrimSpace(b.String())
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}
