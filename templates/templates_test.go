package templates

import (
	"go/ast"
	"go/parser"
	"go/token"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/jba/templatecheck"
	"golang.org/x/net/html"
)

// The functions of internal/web, by name and type; what they answer does not
// matter to a check of types.
var funcs = template.FuncMap{
	"t":     func(key string, args ...any) string { return key },
	"date":  func(t time.Time, style string) string { return style },
	"asset": func(name string) string { return name },
	"icon":  func(name string) template.HTML { return "" },
	"lang":  func() string { return "fr" },
}

func parse(t *testing.T) *template.Template {
	t.Helper()
	all, err := template.New("").Funcs(funcs).ParseFS(HTML, "*.html")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryTemplateFitsItsPage(t *testing.T) {
	all := parse(t)
	for _, page := range pages {
		name := page.Template()
		if all.Lookup(name) == nil {
			t.Errorf("%T: no block %q", page, name)
			continue
		}
		if err := templatecheck.CheckHTML(all.Lookup(name), page); err != nil {
			t.Errorf("%T: %v", page, err)
		}
	}
}

func TestEveryBlockOfAPageHasItsStruct(t *testing.T) {
	structs := map[string]string{}
	for _, page := range pages {
		structs[page.Template()] = reflect.TypeOf(page).Elem().Name()
	}
	for _, block := range parse(t).Templates() {
		name := block.Name()
		if !strings.HasSuffix(name, ".html") || block.Tree == nil {
			continue
		}
		if emptyFile(block) {
			continue // the file itself, which holds only {{define}} blocks
		}
		if structs[name] == "" {
			t.Errorf("%s: no page renders it", name)
			continue
		}
		want := strings.ToLower(strings.NewReplacer("_", "", ".html", "").Replace(name))
		if strings.ToLower(structs[name]) != want {
			t.Errorf("%s is rendered by %s: the two names should agree", name, structs[name])
		}
	}
}

func emptyFile(block *template.Template) bool {
	return strings.TrimSpace(block.Tree.Root.String()) == ""
}

func TestEveryPageIsListed(t *testing.T) {
	listed := []string{}
	for _, page := range pages {
		listed = append(listed, reflect.TypeOf(page).Elem().Name())
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != "Template" {
				continue
			}
			kind := f.Recv.List[0].Type
			if star, ok := kind.(*ast.StarExpr); ok {
				kind = star.X
			}
			if id, ok := kind.(*ast.Ident); ok && !slices.Contains(listed, id.Name) {
				t.Errorf("%s: add &%s{} to pages in pages_test.go", name, id.Name)
			}
		}
	}
}

var (
	action    = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	iconName  = regexp.MustCompile(`\bicon "([^"]+)"`)
	assetName = regexp.MustCompile(`\basset "([^"]+)"`)
	symbol    = regexp.MustCompile(`<symbol id="([^"]+)"`)
)

// eachTemplate calls fn with the text of every template file.
func eachTemplate(t *testing.T, fn func(name, text string)) {
	t.Helper()
	names, err := fs.Glob(HTML, "*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(HTML, name)
		if err != nil {
			t.Fatal(err)
		}
		fn(name, string(text))
	}
}

// eachElement calls fn with every start tag; actions read as "¤".
func eachElement(t *testing.T, fn func(name string, tag html.Token)) {
	t.Helper()
	eachTemplate(t, func(name, text string) {
		z := html.NewTokenizer(strings.NewReader(action.ReplaceAllString(text, "¤")))
		for {
			switch z.Next() {
			case html.ErrorToken:
				return
			case html.StartTagToken, html.SelfClosingTagToken:
				fn(name, z.Token())
			}
		}
	})
}

func attribute(tag html.Token, name string) (string, bool) {
	for _, a := range tag.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// The content security policy would block these, silently, in the browser.
func TestNoTemplateHoldsInlineScriptOrStyle(t *testing.T) {
	eachElement(t, func(name string, tag html.Token) {
		for _, a := range tag.Attr {
			key := strings.TrimLeft(a.Key, "¤")
			switch {
			case key == "style":
				t.Errorf("%s: <%s style=…>", name, tag.Data)
			case strings.HasPrefix(key, "on"), strings.HasPrefix(key, "hx-on"):
				t.Errorf("%s: <%s %s=…>", name, tag.Data, a.Key)
			case strings.HasPrefix(strings.TrimSpace(strings.ToLower(a.Val)), "javascript:"), strings.HasPrefix(a.Val, "js:"):
				t.Errorf("%s: <%s %s=%q>", name, tag.Data, a.Key, a.Val)
			case (key == "src" || key == "hx-get" || key == "hx-post") && strings.Contains(a.Val, "//"):
				t.Errorf("%s: <%s %s=%q> asks another site", name, tag.Data, a.Key, a.Val)
			}
		}
		if src, _ := attribute(tag, "src"); tag.Data == "script" && src == "" {
			t.Errorf("%s: <script> without src", name)
		}
		if tag.Data == "style" {
			t.Errorf("%s: <style>", name)
		}
		if target, _ := attribute(tag, "target"); target == "_blank" {
			if rel, _ := attribute(tag, "rel"); !strings.Contains(rel, "noopener") && !strings.Contains(rel, "noreferrer") {
				t.Errorf("%s: target=_blank without rel=noopener", name)
			}
		}
	})
}

func TestEveryFormPictureAndFrameSaysWhatItIs(t *testing.T) {
	eachElement(t, func(name string, tag html.Token) {
		switch tag.Data {
		case "form":
			method, _ := attribute(tag, "method")
			if role, _ := attribute(tag, "role"); method == "" && role != "search" {
				t.Errorf("%s: <form> without method", name)
			}
		case "img":
			if _, ok := attribute(tag, "alt"); !ok {
				t.Errorf("%s: <img> without alt", name)
			}
		case "iframe":
			if _, ok := attribute(tag, "title"); !ok {
				t.Errorf("%s: <iframe> without title", name)
			}
		}
	})
}

// Sentences come from the catalogue. Names of languages, keys and code stand
// as they are: inside <kbd>, <code>, or an element with lang or translate=no.
func TestEverySentenceIsTranslated(t *testing.T) {
	spoken := []string{"title", "aria-label", "placeholder", "alt", "content"}
	eachTemplate(t, func(name, text string) {
		z := html.NewTokenizer(strings.NewReader(action.ReplaceAllString(text, "¤")))
		free := 0 // inside an element whose text is not translated
		var open []bool
		for {
			switch z.Next() {
			case html.ErrorToken:
				return
			case html.StartTagToken:
				tag := z.Token()
				if void[tag.Data] {
					break
				}
				_, own := attribute(tag, "lang")
				no, _ := attribute(tag, "translate")
				exempt := tag.Data == "kbd" || tag.Data == "code" || tag.Data == "script" || own && tag.Data != "html" || no == "no"
				open = append(open, exempt)
				if exempt {
					free++
				}
				for _, a := range tag.Attr {
					if tag.Data != "meta" && slices.Contains(spoken, a.Key) && words(a.Val) {
						t.Errorf("%s: %s=%q is not translated", name, a.Key, a.Val)
					}
				}
			case html.EndTagToken:
				if len(open) > 0 {
					if open[len(open)-1] {
						free--
					}
					open = open[:len(open)-1]
				}
			case html.TextToken:
				if s := string(z.Text()); free == 0 && words(s) {
					t.Errorf("%s: %q is not translated", name, strings.Join(strings.Fields(s), " "))
				}
			}
		}
	})
}

var void = map[string]bool{"meta": true, "link": true, "input": true, "img": true, "br": true, "hr": true, "source": true, "wbr": true, "col": true}

// words tells whether s holds two letters in a row: a word somebody reads.
func words(s string) bool {
	run := 0
	for _, c := range s {
		if !unicode.IsLetter(c) {
			run = 0
			continue
		}
		if run++; run > 1 {
			return true
		}
	}
	return false
}

func TestEveryIconIsDrawn(t *testing.T) {
	sprite, err := fs.ReadFile(Static, "static/icons.svg")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for _, m := range symbol.FindAllSubmatch(sprite, -1) {
		drawn[string(m[1])] = true
	}
	eachTemplate(t, func(name, text string) {
		for _, m := range iconName.FindAllStringSubmatch(text, -1) {
			if !drawn[m[1]] {
				t.Errorf("%s: no icon %q in static/icons.svg", name, m[1])
			}
		}
	})
}

func TestEveryAssetExists(t *testing.T) {
	eachTemplate(t, func(name, text string) {
		for _, m := range assetName.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], "dist/") {
				continue // built by npm/build.sh
			}
			if _, err := os.Stat(filepath.Join("static", m[1])); err != nil {
				t.Errorf("%s: no file static/%s", name, m[1])
			}
		}
	})
}

func TestInitialsAreThoseOfFirstAndLastName(t *testing.T) {
	for name, want := range map[string]string{
		"Marie Dupont": "MD", "Élodie de la Tour": "ÉT", "madonna": "M", "": "?", "  ": "?",
	} {
		if got := (PersonInfo{Name: name}).Initials(); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	if got := (PersonInfo{Login: "mdupont"}).Initials(); got != "M" {
		t.Errorf("login only: got %q", got)
	}
}
