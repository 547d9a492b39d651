package webmail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"beffroi/internal/reach"
	"beffroi/internal/testpeer"
	"beffroi/portal"
)

var frameAddress = regexp.MustCompile(`<iframe class="mail-document" src="([^"]*)"`)

// frame is the address of the document in the page.
func (b *browser) frame() string {
	b.r.t.Helper()
	found := frameAddress.FindStringSubmatch(b.body)
	if found == nil {
		b.r.t.Fatalf("no document in %s:\n%s", b.last.Request.URL, b.body)
	}
	return strings.ReplaceAll(found[1], "&amp;", "&")
}

// look asks for an address as a frame does: no cookie is sent there, and none comes back.
func (r *rig) look(address string) (*http.Response, string) {
	r.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(address)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(res.Cookies()) > 0 {
		r.t.Errorf("%s sets a cookie", address)
	}
	return res, string(text)
}

func htmlMail(from, html string) []byte {
	return []byte("From: " + from + "\r\nTo: mdupont@academie.test\r\nSubject: Lettre\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html + "\r\n")
}

func TestStrangersAreShownOnAnOriginApart(t *testing.T) {
	r := newRigApart(t)
	now := time.Now()
	r.s.now = func() time.Time { return now }
	b := r.browser("mdupont")
	for name, raw := range hostileMail(t) {
		at := r.put("mdupont", raw)
		b.get(at.path())
		b.status(200)
		pageIsHarmless(t, name, b)
		if !strings.Contains(b.body, "mail-document") {
			continue
		}
		res, body := r.look(b.frame())
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(b.frame(), r.content.URL+"/document/") {
			t.Errorf("%s: %d of %s", name, res.StatusCode, b.frame())
		}
		documentIsHarmless(t, name, &browser{r: r, last: res, body: body})
	}

	at := r.put("mdupont", htmlMail("Ann <ann@perso.example>", `<p>Bonjour</p><a href="mailto:x@y.example">écrire</a>`))
	b.get(at.path())
	if policy := b.last.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src "+r.content.URL+";") && !strings.HasSuffix(policy, "frame-src "+r.content.URL) {
		t.Errorf("the page frames %s", policy)
	}
	address := b.frame()
	res, body := r.look(address)
	if policy := res.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors "+r.web.URL) || !strings.Contains(body, r.web.URL+"/mail/compose?mailto=") {
		t.Errorf("%s\n%s", policy, body)
	}

	// An address is what it was sealed for, until its end, while the session lasts, and names nothing to whoever reads it.
	ticket := address[strings.LastIndexByte(address, '/')+1:]
	if strings.Contains(address, "INBOX") || strings.Contains(address, "mdupont") {
		t.Errorf("the address tells: %s", address)
	}
	for what, wrong := range map[string]string{
		"another kind": r.content.URL + "/part/" + ticket, "cut": address[:len(address)-2], "changed": address[:len(address)-3] + "AAA", "nothing": r.content.URL + "/document/x",
	} {
		if res, body := r.look(wrong); res.StatusCode != http.StatusGone || strings.Contains(body, "Bonjour") {
			t.Errorf("%s: %d %s", what, res.StatusCode, body)
		}
	}
	for _, path := range []string{"/", "/mail/", "/static/app.css", at.path(), at.path() + "/document"} {
		if res, _ := r.look(r.content.URL + path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s is there too: %d", path, res.StatusCode)
		}
	}
	r.portal.ended.Store(true)
	if res, body := r.look(address); res.StatusCode != http.StatusGone || !strings.Contains(body, "Rouvrez le message") {
		t.Errorf("after the session: %d %s", res.StatusCode, body)
	}
	r.portal.ended.Store(false)
	now = now.Add(ticketLife)
	if res, _ := r.look(address); res.StatusCode != http.StatusGone {
		t.Errorf("after its time: %d", res.StatusCode)
	}
	// The old address leads to a new one.
	b.get(at.path() + "/document")
	if b.last.StatusCode != http.StatusOK || !strings.HasPrefix(b.last.Request.URL.String(), r.content.URL+"/document/") || !strings.Contains(b.body, "Bonjour") {
		t.Errorf("%d at %s", b.last.StatusCode, b.last.Request.URL)
	}
}

func TestWhatBrowsersShowByThemselvesIsShownApart(t *testing.T) {
	r := newRigApart(t)
	part := func(kind, name, content string) string {
		return "--b\r\nContent-Type: " + kind + "; name=" + name + "\r\nContent-Disposition: attachment; filename=" + name + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(content)) + "\r\n"
	}
	at := r.put("mdupont", []byte("From: a@b.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
		part("application/pdf", "a.pdf", "%PDF-1.4 x")+part("application/pdf", "b.pdf", "<script>alert(1)</script>")+part("text/html", "c.html", "<script>alert(1)</script>")+part("text/plain", "d.txt", "<b>texte</b>")+
		part("image/svg+xml", "e.svg", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`)+"--b--\r\n"))
	b := r.browser("mdupont")
	for section, want := range map[string]struct{ kind, disposition, policy string }{
		"1": {"application/pdf", "inline", "default-src 'none'"}, "2": {"application/octet-stream", "attachment", "sandbox; default-src 'none'"}, "3": {"application/octet-stream", "attachment", "sandbox; default-src 'none'"},
		"4": {"text/plain; charset=utf-8", "inline", "sandbox; default-src 'none'"}, "5": {"application/octet-stream", "attachment", "sandbox; default-src 'none'"},
	} {
		b.get(at.path() + "/part/" + section + "?view=1")
		h := b.last.Header
		if b.last.StatusCode != 200 || !strings.HasPrefix(b.last.Request.URL.String(), r.content.URL+"/part/") || h.Get("Content-Type") != want.kind || !strings.HasPrefix(h.Get("Content-Disposition"), want.disposition) ||
			!strings.HasPrefix(h.Get("Content-Security-Policy"), want.policy) || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("part %s: %d at %s, %v", section, b.last.StatusCode, b.last.Request.URL, h)
		}
		b.get(at.path() + "/part/" + section)
		if h := b.last.Header; !strings.HasPrefix(b.last.Request.URL.String(), r.web.URL) || h.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
			t.Errorf("part %s, saved: %v", section, h)
		}
	}
}

// gallery is a stranger's server of pictures; it counts who asks.
type gallery struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

func newGallery(t *testing.T) *gallery {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 40, 30))); err != nil {
		t.Fatal(err)
	}
	g := &gallery{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.asked = append(g.asked, r)
		g.mu.Unlock()
		http.SetCookie(w, &http.Cookie{Name: "who", Value: "you"})
		switch r.URL.Path {
		case "/a.png", "/b.png":
			w.Header().Set("Content-Type", "text/html") // its word counts for nothing
			_, _ = w.Write(picture.Bytes())
		case "/svg.png":
			_, _ = io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`)
		case "/page.png":
			_, _ = io.WriteString(w, "<script>alert(1)</script>")
		case "/large.png":
			_, _ = w.Write(append(picture.Bytes(), make([]byte, pictureLimit)...))
		case "/away.png":
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gallery) paths() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, r := range g.asked {
		all = append(all, r.URL.Path)
	}
	g.asked = nil
	return strings.Join(all, " ")
}

var pictureLink = regexp.MustCompile(`<img src="([^"]*/picture/[^"]*)"`)

func TestRemotePicturesAreFetchedWhenAskedAndByThePortal(t *testing.T) {
	r := newRigApart(t)
	g := newGallery(t)
	port := g.URL[strings.LastIndexByte(g.URL, ':'):]
	// The test's stranger lives on this machine, at a port of the web; everything else of the way is as it is.
	r.s.pictures = pictureClient(func(ip netip.Addr) error {
		if ip.Unmap().IsLoopback() {
			return nil
		}
		return reach.May(ip, false, false)
	})
	r.s.pictures.Transport.(*http.Transport).Proxy = func(q *http.Request) (*url.URL, error) {
		if strings.HasSuffix(q.URL.Hostname(), "gallery.example") {
			return url.Parse(g.URL)
		}
		return nil, nil
	}
	at := r.put("mdupont", htmlMail("Ann <Ann@News.example>", `<img src="http://gallery.example/a.png" alt="A"><img src="http://gallery.example/pixel.png" width="1" height="1"><img srcset="http://gallery.example/b.png 2x"><p style="background:url(http://gallery.example/bg.png)">x</p>`))
	b := r.browser("mdupont")
	b.get(at.path())
	if !b.says("Afficher les images") || !b.says("Toujours pour ann@news.example") || !b.says("Toujours pour news.example") {
		t.Errorf("%s", b.body)
	}
	if _, body := r.look(b.frame()); pictureLink.MatchString(body) || g.paths() != "" {
		t.Errorf("fetched before being asked:\n%s", body)
	}
	b.get(at.path() + "?pictures")
	res, body := r.look(b.frame())
	links := pictureLink.FindAllStringSubmatch(body, -1)
	if len(links) != 2 || !strings.Contains(res.Header.Get("Content-Security-Policy"), "img-src data: "+r.content.URL+";") || strings.Contains(body, "gallery.example") || g.paths() != "" {
		t.Fatalf("%d pictures in\n%s", len(links), body)
	}
	for _, link := range links {
		res, picture := r.look(link[1])
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/png" || !strings.HasPrefix(picture, "\x89PNG") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	}
	g.mu.Lock()
	for _, q := range g.asked {
		if q.Header.Get("Cookie") != "" || q.Header.Get("Referer") != "" || q.Header.Get("Accept-Language") != "" || q.Header.Get("X-Forwarded-For") != "" || q.Header.Get("User-Agent") != "Mozilla/5.0" {
			t.Errorf("the stranger learns: %v", q.Header)
		}
	}
	g.mu.Unlock()
	if got := g.paths(); got != "/a.png /b.png" {
		t.Errorf("asked for %s", got)
	}

	// What is no picture is not passed on; an address of the inner network is not dialled, however one comes there.
	ctx := t.Context()
	for _, bad := range []string{
		"http://gallery.example/svg.png", "http://gallery.example/page.png", "http://gallery.example/large.png", "http://gallery.example/none.png", "http://gallery.example/away.png?to=http://10.1.2.3/x.png",
		"http://gallery.example/away.png?to=http://169.254.169.254/latest", "http://gallery.example/away.png?to=file:///etc/passwd", "http://gallery.example/away.png?to=http://gallery.example:25/", "http://10.1.2.3/a.png", "http://[fd00::1]/a.png",
		"ftp://gallery.example/a.png", "http://gallery.example:22/a.png", "http://user@gallery.example/a.png", "//gallery.example/a.png", "javascript:alert(1)",
	} {
		if kind, _, err := r.s.fetchPicture(ctx, bad); err == nil {
			t.Errorf("%s gives a %s", bad, kind)
		}
	}
	g.paths()
	r.s.pictures = pictureClient(onlyInternet)
	for _, inner := range []string{"http://127.0.0.1" + port + "/a.png", "http://localhost/a.png", "http://[::1]/a.png"} {
		if _, _, err := r.s.fetchPicture(ctx, inner); err == nil || g.paths() != "" {
			t.Errorf("%s was reached", inner)
		}
	}
	// A sealed address of a picture opens no document, and ends.
	if res, _ := r.look(strings.Replace(links[0][1], "/picture/", "/document/", 1)); res.StatusCode != http.StatusGone {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestPicturesOfAcceptedSendersAreShown(t *testing.T) {
	r := newRigApart(t)
	picture := `<img src="https://gallery.example/a.png">`
	ann := r.put("mdupont", htmlMail("Ann <Ann@News.example>", picture))
	bob := r.put("mdupont", htmlMail("Bob <bob@news.example>", picture))
	sub := r.put("mdupont", htmlMail("Eve <eve@sub.news.example>", picture))
	two := r.put("mdupont", htmlMail("ann@news.example, bob@news.example", picture))
	b := r.browser("mdupont")
	shown := func(at ref) bool {
		t.Helper()
		b.get(at.path())
		b.status(200)
		_, body := r.look(b.frame())
		return pictureLink.MatchString(body)
	}
	b.post(ann.path()+"/pictures", url.Values{"do": {"sender"}, "sender": {"bob@news.example"}}) // the form does not say whose
	b.status(200)
	if !b.says("vous acceptez celles de ann@news.example") || !shown(ann) || shown(bob) || shown(sub) || shown(two) {
		t.Errorf("one sender: %s", b.body)
	}
	b.post(bob.path()+"/pictures", url.Values{"do": {"domain"}})
	if !shown(ann) || !shown(bob) || shown(sub) || shown(two) {
		t.Error("a domain is not what lies below it")
	}
	b.get("/mail/pictures")
	if !b.says("ann@news.example") || !b.says("tout le domaine") {
		t.Errorf("%s", b.body)
	}
	if other := r.browser("jmartin"); other.get("/mail/pictures") == "" || !other.says("Aucun expéditeur accepté") {
		t.Error("somebody else's choice")
	}
	b.post("/mail/pictures", url.Values{"sender": {"@news.example"}})
	if !shown(ann) || shown(bob) {
		t.Error("the domain was removed, the sender was not")
	}
	b.post(ann.path()+"/pictures", url.Values{"do": {"forget"}})
	if shown(ann) {
		t.Error("still shown")
	}
	b.post(ann.path()+"/pictures", url.Values{"do": {"everybody"}})
	b.status(400)
	b.post(two.path()+"/pictures", url.Values{"do": {"sender"}})
	b.status(400)

	// Where the operator said no, nobody is asked.
	r.s.config.Content = portal.ContentConfig{BaseURL: r.content.URL, NoPictures: true}
	b.get(ann.path() + "?pictures")
	if _, body := r.look(b.frame()); b.says("Afficher les images") || pictureLink.MatchString(body) {
		t.Errorf("%s", body)
	}
}

// TestAPictureIsSeenInARealBrowser: the sandboxed document of no origin gets it.
func TestAPictureIsSeenInARealBrowser(t *testing.T) {
	r := newRigApart(t)
	g := newGallery(t)
	r.s.pictures = pictureClient(func(netip.Addr) error { return nil })
	r.s.pictures.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(g.URL) }
	r.portal.anyone = "mdupont"
	at := r.put("mdupont", htmlMail("ann@news.example", `<img src="http://gallery.example/a.png">`))
	ctx := testpeer.Chromium(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(r.web.URL+at.path()+"?pictures")); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if got := g.paths(); got != "" {
			if got != "/a.png" {
				t.Errorf("asked for %s", got)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	var page string
	page, _ = chromedp.Run(ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML.slice(0, 3000)"))
	t.Fatal(fmt.Sprintf("the picture was not asked for\n%s", page))
}

// says tells whether the page has the words, as they are read.
func (b *browser) says(words string) bool {
	text := strings.Join(strings.Fields(textOf(sanitize(b.body, nil, "").Body)), " ")
	return strings.Contains(text, words)
}
