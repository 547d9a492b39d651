package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// wish is a note to oneself; VTODO is a word of iCalendar.
var wish = regexp.MustCompile(`\b(TODO|FIXME)\b`)

// secretName is how the house names what a stranger must not guess, and its hash.
var secretName = regexp.MustCompile(`(?i)(secret|password|passcode|verifier|challenge|hash|digest|hmac)$`)

// isSecret tells by its name whether an expression is a secret.
func isSecret(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return secretName.MatchString(e.Name)
	case *ast.SelectorExpr:
		return secretName.MatchString(e.Sel.Name)
	case *ast.CallExpr:
		return isSecret(e.Fun)
	case *ast.IndexExpr:
		return isSecret(e.X)
	case *ast.ParenExpr:
		return isSecret(e.X)
	}
	return false
}

// isConstant tells whether an expression is written in the source, so that
// comparing with it tells nothing.
func isConstant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return e.Name == "nil"
	}
	return false
}

// Source is one parsed Go file of the project.
type Source struct {
	Name   string // path from the project's root
	Folder string
	Test   bool
	File   *ast.File
	set    *token.FileSet
}

// Read parses every Go file under root but what npm, git and builds put there.
func Read(root string) ([]Source, error) {
	set := token.NewFileSet()
	var sources []Source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		sources = append(sources, Source{Name: name, Folder: filepath.ToSlash(filepath.Dir(name)), Test: strings.HasSuffix(name, "_test.go"), File: file, set: set})
		return nil
	})
	return sources, err
}

// Imports builds the graph of the production files.
func Imports(sources []Source) Graph {
	g := Graph{}
	for _, s := range sources {
		if s.Test {
			continue
		}
		for _, spec := range s.File.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err == nil {
				g[s.Folder] = append(g[s.Folder], path)
			}
		}
	}
	return g
}

// Banned lists the calls and words of one file that the house does not have, each with its line.
func Banned(s Source) []string {
	var found []string
	say := func(at token.Pos, why string) {
		found = append(found, fmt.Sprintf("%s:%d: %s", s.Name, s.set.Position(at).Line, why))
	}
	http := localName(s.File, "net/http", "http")
	ast.Inspect(s.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				say(n.Pos(), "init(): parts are joined in cmd/beffroi/serve.go, in sight")
			}
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && !s.Test && (isSecret(n.X) && !isConstant(n.Y) || isSecret(n.Y) && !isConstant(n.X)) {
				say(n.Pos(), "a secret compared by "+n.Op.String()+" tells by its time how much of a guess is right: secret.Equal")
			}
		case *ast.CallExpr:
			selector, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch name := selector.Sel.Name; {
			case on.Name == "bytes" && name == "Equal" && !s.Test && slices.ContainsFunc(n.Args, isSecret):
				say(n.Pos(), "a secret compared by bytes.Equal tells by its time how much of a guess is right: secret.Equal")
			case http != "" && on.Name == http && name == "Error" && !s.Test:
				say(n.Pos(), "http.Error goes on after it: handlers return an error")
			case s.Test && (name == "Skip" || name == "Skipf" || name == "SkipNow"):
				say(n.Pos(), "a test that skips proves nothing: let it fail")
			}
		}
		return true
	})
	for _, group := range s.File.Comments {
		for _, c := range group.List {
			if wish.MatchString(c.Text) {
				say(c.Pos(), "a wish in a comment: file it where someone will read it")
			}
		}
	}
	return found
}

// localName is the name under which a file uses an import; "" when it does not.
func localName(file *ast.File, path, name string) string {
	for _, spec := range file.Imports {
		if spec.Path.Value == strconv.Quote(path) {
			if spec.Name != nil {
				return spec.Name.Name
			}
			return name
		}
	}
	return ""
}
