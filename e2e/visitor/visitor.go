// Package visitor drives a running Beffroi over HTTP the way a browser and an application do, knowing nothing of its
// insides: pages are read as HTML, forms are filled by the names of their fields, redirects are followed one by one, tokens
// are checked against the published keys. The journeys of e2e and the bench share it.
//
// Errors name the address and show the beginning of the page that was not as expected.
package visitor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// Visitor is one browser without script: cookies, one page at a time.
type Visitor struct {
	Language string // Accept-Language
	client   *http.Client
}

// transport is shared by all visitors: a fresh browser costs no fresh connection, as behind a proxy.
var transport = &http.Transport{
	DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	MaxIdleConnsPerHost: 512, MaxIdleConns: 2048, IdleConnTimeout: 30 * time.Second,
}

// Trust makes every visitor and application believe the authorities of a PEM file. It is called before the first of them speaks.
func Trust(caFile string) error {
	text, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no certificate", caFile)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return nil
}

// New gives a browser without cookies that asks for French.
func New() *Visitor {
	jar, _ := cookiejar.New(nil) // fails never
	return &Visitor{Language: "fr", client: &http.Client{
		Jar: jar, Transport: transport, Timeout: 60 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Page is one answer, read to its end.
type Page struct {
	Status int
	URL    *url.URL // that was asked
	Header http.Header
	Body   string
}

// Location is where a redirect leads, absolute; "" for another answer.
func (p *Page) Location() string {
	if p.Status < 300 || p.Status > 399 {
		return ""
	}
	to, err := p.URL.Parse(p.Header.Get("Location"))
	if err != nil {
		return ""
	}
	return to.String()
}

// String is what an error message shows of a page.
func (p *Page) String() string {
	text := strings.Join(strings.Fields(p.Text()), " ")
	if len(text) > 600 {
		text = text[:600] + "…"
	}
	return fmt.Sprintf("%s://%s%s: %d %s %s", p.URL.Scheme, p.URL.Host, p.URL.Path, p.Status, p.Header.Get("Location"), text)
}

// Get asks for one page and follows nothing.
func (v *Visitor) Get(ctx context.Context, address string) (*Page, error) {
	return v.send(ctx, http.MethodGet, address, nil, "")
}

// send sends one request as a browser does; from is the page that it comes from, "" for a typed address.
func (v *Visitor) send(ctx context.Context, method, address string, form url.Values, from string) (*Page, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Language", v.Language)
	request.Header.Set("Accept", "text/html,*/*;q=0.8")
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", originOf(from))
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		if originOf(from) == originOf(address) {
			request.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		request.Header.Set("Referer", from)
	}
	answer, err := v.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	return &Page{Status: answer.StatusCode, URL: request.URL, Header: answer.Header, Body: string(text)}, nil
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "null"
	}
	return u.Scheme + "://" + u.Host
}

// Open asks for a page and follows redirects up to a page, or up to an address that begins with stop (which is not asked; the
// redirect to it is returned). stop may be "".
func (v *Visitor) Open(ctx context.Context, address, stop string) (*Page, error) {
	p, err := v.Get(ctx, address)
	if err != nil {
		return nil, err
	}
	return v.follow(ctx, p, stop)
}

func (v *Visitor) follow(ctx context.Context, p *Page, stop string) (*Page, error) {
	for range 15 {
		to := p.Location()
		if to == "" || stop != "" && strings.HasPrefix(to, stop) {
			return p, nil
		}
		var err error
		if p, err = v.Get(ctx, to); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("redirects without end, the last to %s", p)
}

// Form is a form of a page.
type Form struct {
	Method, Action, Enctype string // Action is absolute
	Values                  url.Values
	Types                   map[string]string // of its fields: "text", "hidden", "password", "textarea"…
	Autocomplete            map[string]string
	page                    *Page
}

// Form finds the form that has a field of that name, or a button.
func (p *Page) Form(field string) (*Form, error) {
	for _, f := range p.Forms() {
		if _, ok := f.Types[field]; ok {
			return f, nil
		}
	}
	return nil, fmt.Errorf("no form with a field %q on %s", field, p)
}

// Submit sends a form with some of its fields changed and follows redirects as Open does.
func (v *Visitor) Submit(ctx context.Context, f *Form, changes map[string]string, stop string) (*Page, error) {
	for name, value := range changes {
		f.Values.Set(name, value)
	}
	if f.Method == http.MethodGet {
		return v.Open(ctx, f.Action+"?"+f.Values.Encode(), stop)
	}
	p, err := v.send(ctx, http.MethodPost, f.Action, f.Values, f.page.URL.String())
	if err != nil {
		return nil, err
	}
	return v.follow(ctx, p, stop)
}

// Post sends a form from a page of another origin, as a hostile site would make a browser do.
func (v *Visitor) Post(ctx context.Context, address string, form url.Values, from string) (*Page, error) {
	return v.send(ctx, http.MethodPost, address, form, from)
}

// Do sends a request as it is, with the browser's cookies, and follows nothing: for what a script sends.
func (v *Visitor) Do(r *http.Request) (*http.Response, error) { return v.client.Do(r) }

// Cookies are what the browser would send to an address.
func (v *Visitor) Cookies(address string) []*http.Cookie {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return v.client.Jar.Cookies(u)
}

// Forms are the forms of the page in order.
func (p *Page) Forms() []*Form {
	var forms []*Form
	var current *Form
	p.walk(func(n *html.Node, enter bool) {
		switch {
		case n.Data == "form" && enter:
			current = &Form{Method: http.MethodGet, Action: p.URL.String(), Values: url.Values{}, Types: map[string]string{}, Autocomplete: map[string]string{}, page: p}
			if strings.EqualFold(attr(n, "method"), "post") {
				current.Method = http.MethodPost
			}
			if to, err := p.URL.Parse(attr(n, "action")); err == nil && attr(n, "action") != "" {
				current.Action = to.String()
			}
			current.Enctype = attr(n, "enctype")
			forms = append(forms, current)
		case n.Data == "form":
			current = nil
		case current != nil && enter:
			current.add(n)
		}
	})
	return forms
}

// add takes one field into the form with the value that it has on the page.
func (f *Form) add(n *html.Node) {
	name, kind := attr(n, "name"), n.Data
	if name == "" {
		return
	}
	switch n.Data {
	case "input":
		kind = attr(n, "type")
		if kind == "checkbox" || kind == "radio" {
			if has(n, "checked") {
				value := attr(n, "value")
				if value == "" {
					value = "on"
				}
				f.Values.Add(name, value)
			}
		} else if kind != "submit" && kind != "file" {
			f.Values.Add(name, attr(n, "value"))
		}
	case "textarea":
		f.Values.Add(name, strings.TrimPrefix(textOf(n), "\n"))
	case "select":
		f.Values.Add(name, selected(n))
	case "button":
	default:
		return
	}
	f.Types[name] = kind
	f.Autocomplete[name] = attr(n, "autocomplete")
}

// selected is the value of the chosen option, the first one when none is.
func selected(n *html.Node) string {
	first, chosen, any := "", "", false
	for o := range n.Descendants() {
		if o.Type != html.ElementNode || o.Data != "option" {
			continue
		}
		value := attr(o, "value")
		if !has(o, "value") {
			value = textOf(o)
		}
		if !any {
			first, any = value, true
		}
		if has(o, "selected") {
			chosen = value
		}
	}
	if chosen != "" {
		return chosen
	}
	return first
}
