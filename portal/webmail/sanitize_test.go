package webmail

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	nethtml "golang.org/x/net/html"
)

// active finds what a browser could act on in sanitised markup, by parsing it
// again with the parser that browsers agree on.
func active(markup, style string) []string {
	var found []string
	if s := strings.ToLower(style); strings.Contains(s, "<") || activeStyle.MatchString(s) {
		found = append(found, "style sheet: "+style)
	}
	root, err := nethtml.Parse(strings.NewReader("<!doctype html><html><head><style>" + style + "</style></head><body>" + markup + "</body></html>"))
	if err != nil {
		return []string{err.Error()}
	}
	styles := 0
	var walk func(n *nethtml.Node)
	walk = func(n *nethtml.Node) {
		if n.Type == nethtml.CommentNode {
			found = append(found, "comment")
		}
		if n.Type == nethtml.ElementNode {
			switch n.Data {
			case "html", "head", "body":
			case "style":
				if styles++; styles > 1 {
					found = append(found, "second style")
				}
			default:
				if !allowed[n.Data] || n.Namespace != "" {
					found = append(found, "element "+n.Namespace+":"+n.Data)
				}
			}
			for _, a := range n.Attr {
				if bad := activeAttribute(n.Data, a); bad != "" {
					found = append(found, bad)
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(root)
	return found
}

var (
	activeStyle = regexp.MustCompile(`url\s*\(|var\s*\(|@import|@font-face|expression|behavior|binding|image-set|fixed|sticky|\\|--[a-z]+\s*:`)
	safeLink    = regexp.MustCompile(`^(https?://[^/@\s"<>]+([/?#]|$)|/mail/compose\?mailto=|tel:)`)
	safeImage   = regexp.MustCompile(`^data:image/(png|jpeg|gif|webp|avif|bmp);base64,[A-Za-z0-9+/=]+$`)
	safeKeys    = set(`class id title alt summary lang align valign dir width height border cellpadding cellspacing colspan rowspan start size hspace vspace bgcolor color face nowrap noshade reversed open type target rel style href src`)
)

func activeAttribute(element string, a nethtml.Attribute) string {
	switch {
	case !safeKeys[a.Key] || a.Namespace != "":
		return element + " attribute " + a.Key
	case a.Key == "href" && (element != "a" || !safeLink.MatchString(a.Val)):
		return "link " + a.Val
	case a.Key == "src" && (element != "img" || !safeImage.MatchString(a.Val)):
		return "source " + a.Val
	case a.Key == "style" && activeStyle.MatchString(strings.ToLower(a.Val)):
		return "style " + a.Val
	}
	return ""
}

func gif(string) (string, []byte) {
	return "image/gif", []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00")
}

func TestNothingActivePassesTheSanitiser(t *testing.T) {
	files, err := filepath.Glob("testdata/html/*.html")
	if err != nil || len(files) < 30 {
		t.Fatalf("corpus: %d files, %v", len(files), err)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		made := sanitize(string(source), gif, "/mail/compose")
		for _, bad := range active(made.Body, made.Style) {
			t.Errorf("%s: %s\nin %s\nstyle %s", name, bad, made.Body, made.Style)
		}
		if strings.Contains(made.Body, "onerror=") && !strings.Contains(made.Body, "&") {
			t.Errorf("%s: %s", name, made.Body)
		}
	}
}

func TestWhatAPersonWantsToSeeStays(t *testing.T) {
	made := sanitize(`<style>.a{color:#123456;padding:4px 8px} @media (max-width:600px){.a{width:100%}}</style>
		<body bgcolor="#eeeeee"><table width="600" cellpadding="4"><tr><td class="a" style="font-weight:bold;background-color:rgb(1,2,3)">Bonjour &amp; <b>bienvenue</b>
		<img src="cid:x" width="10" alt="logo"><a href="https://www.academie.test/a?b=1&c=2">ici</a><br></td></tr></table>`, gif, "/mail/compose")
	for _, want := range []string{`<div bgcolor="#eeeeee">`, `<table width="600" cellpadding="4">`, `style="font-weight:bold;background-color:rgb(1,2,3)"`,
		`Bonjour &amp; <b>bienvenue</b>`, `<img src="data:image/gif;base64,`, `alt="logo"`, `href="https://www.academie.test/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer nofollow" title="www.academie.test"`} {
		if !strings.Contains(made.Body, want) {
			t.Errorf("lost %s in %s", want, made.Body)
		}
	}
	if want := ".a{color:#123456;padding:4px 8px;}@media (max-width:600px){.a{width:100%;}}"; made.Style != want {
		t.Errorf("style %s", made.Style)
	}
	if made.Remote != 0 {
		t.Errorf("%d remote", made.Remote)
	}
}

func TestRemoteContentIsCountedAndNamedButNotFetched(t *testing.T) {
	made := sanitize(`<img src="https://cdn.test/a.png" alt="A"><img src="http://pixel.test/1.gif" width=1 height=1><td background="//bg.test/x"></td><p style="background:url(https://cdn.test/b)">x</p>`, nil, "")
	if made.Remote != 4 || strings.Join(made.Hosts, " ") != "cdn.test pixel.test bg.test" {
		t.Fatalf("%d %v", made.Remote, made.Hosts)
	}
	if !strings.Contains(made.Body, `<span class="beffroi-image">A</span>`) || strings.Contains(made.Body, "<img") {
		t.Fatal(made.Body)
	}
}

func TestALinkThatSaysAnotherHostShowsItsOwn(t *testing.T) {
	for text, want := range map[string]string{
		"https://www.education.gouv.fr/x": "[evil.test]", "education.gouv.fr": "[evil.test]", "cliquez ici": "", "evil.test": "", "www.evil.test/a": ""} {
		made := sanitize(`<a href="https://evil.test/">`+text+`</a>`, nil, "")
		if got := strings.Contains(made.Body, "[evil.test]"); got != (want != "") {
			t.Errorf("%q: %s", text, made.Body)
		}
	}
	made := sanitize(`<a href="https://éducation.test/">x</a>`, nil, "")
	if !strings.Contains(made.Body, `title="xn--ducation-90a.test"`) {
		t.Error(made.Body)
	}
}

func FuzzNothingActivePassesTheSanitiser(f *testing.F) {
	files, _ := filepath.Glob("testdata/html/*.html")
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(source))
	}
	f.Fuzz(func(t *testing.T, source string) {
		made := sanitize(source, gif, "/mail/compose")
		if bad := active(made.Body, made.Style); len(bad) > 0 {
			t.Fatalf("%v\nfrom %q\nmade %q style %q", bad, source, made.Body, made.Style)
		}
		again := sanitize(made.Body, gif, "/mail/compose")
		if bad := active(again.Body, again.Style); len(bad) > 0 {
			t.Fatalf("second pass: %v", bad)
		}
		textOf(made.Body)
	})
}
