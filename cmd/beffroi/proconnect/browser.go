package proconnect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// patience is how long one request may take.
const patience = 20 * time.Second

// most bounds what is read of an answer.
const most = 2 << 20

var errNoCode = errors.New("the account is asked for a second factor, and no code of it is at hand")

// browser is the person's: cookies, forms, no script. It follows redirects
// within the provider and stops before any other address.
type browser struct {
	client *http.Client
	home   string // scheme://host of the provider
}

func (p *play) newBrowser() *browser {
	jar, _ := cookiejar.New(nil) // fails never
	return &browser{home: p.Issuer, client: &http.Client{Jar: jar, Transport: p.Transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is one answer.
type page struct {
	status int
	url    *url.URL
	to     string // where a redirect leads, absolute
	body   string
}

// leads is where a redirect goes; "" for a page.
func (at *page) leads() string {
	if at == nil {
		return ""
	}
	return at.to
}

// String is what a report shows of a page: where it is, and its headings.
func (at *page) String() string {
	if at == nil {
		return "no answer"
	}
	s := fmt.Sprintf("%d %s", at.status, at.url.Path)
	if at.to != "" {
		return s + " → " + cut(at.to, 200)
	}
	return strings.TrimSpace(s + " " + cut(at.heading(), 200))
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

func (b *browser) get(ctx context.Context, address string) (*page, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return b.send(r)
}

func (b *browser) send(r *http.Request) (*page, error) {
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	res, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL.Path, err)
	}
	at := &page{status: res.StatusCode, url: r.URL, body: string(body)}
	if location := res.Header.Get("Location"); res.StatusCode/100 == 3 && location != "" {
		to, err := r.URL.Parse(location)
		if err != nil {
			return nil, fmt.Errorf("%s: a redirect to %q", r.URL.Path, location)
		}
		at.to = to.String()
	}
	return at, nil
}

// open gets an address and follows.
func (b *browser) open(ctx context.Context, address string) (*page, error) {
	at, err := b.get(ctx, address)
	return b.follow(ctx, at, err)
}

// submit sends a form with some fields changed, and follows.
func (b *browser) submit(ctx context.Context, f *form, fields map[string]string) (*page, error) {
	for name, value := range fields {
		f.values.Set(name, value)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.action, strings.NewReader(f.values.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", b.home)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	at, err := b.send(r)
	return b.follow(ctx, at, err)
}

func (b *browser) follow(ctx context.Context, at *page, err error) (*page, error) {
	for range 15 {
		if err != nil || at.to == "" || !strings.HasPrefix(at.to, b.home+"/") {
			return at, err
		}
		at, err = b.get(ctx, at.to)
	}
	return nil, fmt.Errorf("redirects without end, the last to %s", at)
}

// form is a form of a page with the values that it has there.
type form struct {
	action string // absolute
	values url.Values
}

// form finds the form with a field of that name; nil when there is none.
func (at *page) form(field string) *form {
	root, err := html.Parse(strings.NewReader(at.body))
	if err != nil {
		return nil
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		f := &form{action: at.url.String(), values: url.Values{}}
		if to, err := at.url.Parse(attr(n, "action")); err == nil {
			f.action = to.String()
		}
		for input := range n.Descendants() {
			kind := attr(input, "type")
			if input.Type == html.ElementNode && input.Data == "input" && attr(input, "name") != "" && kind != "checkbox" && kind != "radio" && kind != "submit" {
				f.values.Set(attr(input, "name"), attr(input, "value"))
			}
		}
		if f.values.Has(field) {
			return f
		}
	}
	return nil
}

// heading is what the page says it is.
func (at *page) heading() string {
	root, err := html.Parse(strings.NewReader(at.body))
	if err != nil {
		return ""
	}
	var found []string
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && (n.Data == "h1" || n.Data == "main" && found == nil || attr(n, "role") == "alert") {
			found = append(found, strings.Join(strings.Fields(text(n)), " "))
		}
	}
	if len(found) > 1 {
		found = found[1:] // what main says is said again by its parts
	}
	return strings.Join(found, " · ")
}

func text(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data + " "
	}
	var b strings.Builder
	for c := range n.ChildNodes() {
		if c.Data != "script" && c.Data != "style" && c.Data != "svg" {
			b.WriteString(text(c))
		}
	}
	return b.String()
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
