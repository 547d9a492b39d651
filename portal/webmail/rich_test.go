package webmail

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	nethtml "golang.org/x/net/html"

	"beffroi/internal/testpeer"
)

// onePicture is a PNG of some pixels.
func onePicture(side int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for x := range side {
		img.Set(x, x, color.RGBA{R: 200, A: 255})
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

func dataURL(b []byte) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b)
}

// narrow fails when HTML holds anything that the editor does not make.
func narrow(t *testing.T, source, markup string) {
	t.Helper()
	z := nethtml.NewTokenizer(strings.NewReader(markup))
	for {
		kind := z.Next()
		if kind == nethtml.ErrorToken {
			return
		}
		if kind == nethtml.CommentToken || kind == nethtml.DoctypeToken {
			t.Fatalf("a comment in %q of %q", markup, source)
		}
		if kind != nethtml.StartTagToken && kind != nethtml.SelfClosingTagToken {
			continue
		}
		tag := z.Token()
		if !written[tag.Data] && tag.Data != "img" {
			t.Fatalf("<%s> in %q of %q", tag.Data, markup, source)
		}
		for _, a := range tag.Attr {
			switch {
			case tag.Data == "a" && a.Key == "href" && (strings.HasPrefix(a.Val, "http://") || strings.HasPrefix(a.Val, "https://") || strings.HasPrefix(a.Val, "mailto:")):
			case tag.Data == "img" && a.Key == "alt":
			case tag.Data == "img" && a.Key == "src" && strings.HasPrefix(a.Val, "data:image/") && !strings.Contains(a.Val, "svg"):
			default:
				t.Fatalf("%s=%q on <%s> in %q of %q", a.Key, a.Val, tag.Data, markup, source)
			}
		}
	}
}

func TestTheEditorKeepsLittle(t *testing.T) {
	files, err := filepath.Glob("testdata/html/*.html")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		narrow(t, name, editable(string(source), nil))
	}
	p := dataURL(onePicture(3))
	for source, want := range map[string]string{
		`<p class="x" style="color:red" onclick="x()">Bon<b>jour</b></p>`:                           `<p>Bon<b>jour</b></p>`,
		`<a href="https://exemple.test/a?b=1&amp;c" target="_top">là</a>`:                           `<a href="https://exemple.test/a?b=1&amp;c">là</a>`,
		`<a href="javascript:alert(1)">x</a><a href="mailto:a@b.test?bcc=c@d.e">y</a>`:              `<a>x</a><a href="mailto:a@b.test">y</a>`,
		`<img src="` + p + `" alt="moi" onerror="x()"><img src="http://a.test/p.png" alt="dehors">`: `<img src="` + p + `" alt="moi">dehors`,
		`<table><tr><td>a</td><td>b</td></tr></table><script>x</script><style>y</style>`:            `<br><br> a b`,
	} {
		if got := editable(source, nil); got != want {
			t.Errorf("%s\nis  %s\nnot %s", source, got, want)
		}
	}
}

func FuzzEditable(f *testing.F) {
	f.Add(`<div><b>a</b><blockquote>b<img src="data:image/png;base64,AAAA" alt=x></blockquote></div>`)
	f.Add(`<a href="mailto:a@b.test"><svg><a xlink:href="javascript:x">`)
	f.Fuzz(func(t *testing.T, source string) {
		once := editable(source, nil)
		narrow(t, source, once)
		if again := editable(once, nil); again != once {
			t.Fatalf("%q\nbecomes %q\nthen %q", source, once, again)
		}
		_ = plainOf(once)
		_, _ = wire(once, "academie.test")
	})
}

func TestRichTextAsText(t *testing.T) {
	for markup, want := range map[string]string{
		"<div>Bonjour,</div><div><br></div><div>à <b>demain</b></div>":                            "Bonjour,\n\nà demain\n",
		"<div>Oui</div><blockquote><div>un</div><blockquote>deux</blockquote>trois</blockquote>x": "Oui\n> un\n>> deux\n> trois\nx\n",
		"<ul><li>a</li><li>b</li></ul>":                                                           "- a\n- b\n",
		"":                                                                                        "\n",
	} {
		if got := plainOf(markup); got != want {
			t.Errorf("%q is %q, not %q", markup, got, want)
		}
	}
	if got := richText("a\n\n> b\n>> c\nd <e>\n"); got != "<div>a</div><div><br></div><blockquote><div>b</div><blockquote><div>c</div></blockquote></blockquote><div>d &lt;e&gt;</div>" {
		t.Error(got)
	}
}

func TestARichMessageIsSentWithItsPictures(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Plan du lycée", "")
	picture := onePicture(40)
	f.Set("html", `<div>Voici <b>le plan</b><script>x()</script></div><div><img src="`+dataURL(picture)+`" alt="plan.png"></div><blockquote>ancien</blockquote>`)
	f.Set("text", "")
	draft := url.Values{}
	for k, v := range f {
		draft[k] = v
	}
	draft.Set("action", "draft")
	b.upload(draft, map[string]string{"note.txt": "une note"})
	b.status(200)
	b.sees("Voici &lt;b&gt;le plan&lt;/b&gt;", "note.txt", "data:image/png;base64,") // written on where it was left
	if strings.Contains(b.body, "keep-1") {
		t.Fatal("a picture of the text is shown as attached")
	}
	f = b.form()
	f.Set("html", `<div>Voici <b>le plan</b></div><div><img src="`+dataURL(picture)+`" alt="plan.png"></div><blockquote>ancien</blockquote>`)
	f.Set("action", "send")
	b.upload(f, nil)
	b.status(200)
	raw := r.dovecot.Messages("jmartin", "INBOX")
	if len(raw) != 1 {
		t.Fatalf("%d messages", len(raw))
	}
	for _, want := range []string{"multipart/alternative", "multipart/related", "Content-ID: <", "Content-Disposition: inline", "multipart/mixed", "note.txt"} {
		if !strings.Contains(raw[0], want) {
			t.Errorf("the message lacks %s:\n%s", want, raw[0])
		}
	}
	m := &message{}
	m.header, m.root = parseMessage([]byte(raw[0]))
	m.body = pickBody(m.root)
	if got := decodeText(m.body.plain); strings.ReplaceAll(got, "\r", "") != "Voici le plan\n> ancien\n" {
		t.Errorf("as text: %q", got)
	}
	if len(m.body.attachments) != 1 || m.body.attachments[0].filename != "note.txt" {
		t.Errorf("attached: %v", m.body.attachments)
	}
	j := r.browser("jmartin")
	j.get("/mail/")
	j.get(j.rows()[0])
	j.status(200)
	j.get(j.last.Request.URL.EscapedPath() + "/document")
	j.sees("<b>le plan</b>", dataURL(picture))

	// what cannot be carried is said, and nothing is sent
	f = b.write("jmartin@academie.test", "Trop", "")
	f.Set("html", `<div>x<img src="data:image/png;base64,`+strings.Repeat("AAAA", 1<<20)+`"></div>`)
	f.Set("action", "send")
	b.upload(f, nil)
	b.status(413)
	b.sees("Une image du texte est trop grande")
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 1 {
		t.Fatal("it was sent all the same")
	}
}

func TestWhatHasNoFormIsSentAsText(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Simple", "")
	f.Set("html", "<div>Bonjour,</div><div><br></div><div>à demain &lt;3</div><blockquote><div>oui</div></blockquote>")
	f.Set("action", "send")
	b.upload(f, nil)
	raw := r.waitFor("jmartin", 1)[0]
	_, root := parseMessage([]byte(raw))
	if body := pickBody(root); body.html != nil || strings.ReplaceAll(decodeText(body.plain), "\r", "") != "Bonjour,\n\nà demain <3\n> oui\n" {
		t.Fatal(raw)
	}
	for _, kept := range []string{`<a href="https://a.test">x</a>`, "<b>x</b>", "<ul><li>x</li></ul>", `<img src="data:image/png;base64,AA==" alt="">`, "<hr>"} {
		if unformatted("<div>" + kept + "</div>") {
			t.Errorf("%s is lost", kept)
		}
	}
}

func TestPlainTextIsAChoiceThatStays(t *testing.T) {
	r := newRig(t)
	r.dovecot.Deliver("mdupont", strings.Replace(simple, "text/plain", "text/html", 1))
	b := r.browser("mdupont")
	path := b.rowAt("/mail/", 0)
	b.get("/mail/compose?reply=" + url.QueryEscape(path))
	b.sees(`data-mail-html="rich"`, "&lt;blockquote&gt;")
	f := b.form()
	f.Set("html", "<div>Du <b>gras</b></div>")
	f.Set("plain", "1")
	f.Set("action", "draft")
	b.upload(f, nil)
	b.sees(`data-mail-html="plain"`, "Du gras")
	b.get("/mail/compose")
	b.sees(`data-mail-html="plain"`)
	f = b.form()
	f.Set("text", "Simple\n> cité")
	f.Set("plain", "0")
	f.Set("action", "draft")
	b.upload(f, nil)
	b.sees(`data-mail-html="rich"`, "&lt;div&gt;Simple&lt;/div&gt;&lt;blockquote&gt;")
	b.get("/mail/compose")
	b.sees(`data-mail-html="rich"`)
}

// TestTheEditorInARealBrowser writes with the keyboard, the toolbar and a picture.
func TestTheEditorInARealBrowser(t *testing.T) {
	r := newRig(t)
	r.portal.anyone = "mdupont"
	file := filepath.Join(t.TempDir(), "plan.png")
	if err := os.WriteFile(file, onePicture(2000), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := testpeer.Chromium(t)
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		for _, s := range steps {
			if err := chromedp.Do(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	do(chromedp.Navigate(r.web.URL+"/mail/compose?to=jmartin%40academie.test"),
		chromedp.WaitVisible(chromedp.CSS(".mail-rich")),
		chromedp.SendKeys(chromedp.CSS("#subject"), "Plan"),
		chromedp.Focus(chromedp.CSS(".mail-rich")),
		chromedp.KeyEvent("Bonjour, "),
		chromedp.Click(chromedp.CSS("[data-edit=bold]")),
		chromedp.KeyEvent("important"),
		chromedp.SetUploadFiles(chromedp.CSS("[data-mail-images]"), []string{file}),
		chromedp.WaitVisible(chromedp.CSS(".mail-rich img")))
	for end := time.Now().Add(20 * time.Second); len(r.dovecot.Messages("mdupont", "Drafts")) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no draft was saved by itself")
		}
	}
	do(chromedp.Click(chromedp.CSS(`button.btn-primary[name=action][value=send]`)))
	raw := r.waitFor("jmartin", 1)[0]
	m := &message{}
	m.header, m.root = parseMessage([]byte(raw))
	m.body = pickBody(m.root)
	rich := decodeText(m.body.html)
	if !strings.Contains(rich, "Bonjour,") || !strings.Contains(rich, "<b>important") || !strings.Contains(raw, "Bonjour, important") || !strings.Contains(rich, `src="cid:`) || !strings.Contains(raw, "Content-Type: image/jpeg") {
		t.Fatalf("%s\n%.2000s", rich, raw)
	}
}
