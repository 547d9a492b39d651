package arch

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// The lists of bad input that the provider is held to: rows are classes of bugs that other providers shipped and that
// concern one like ours, T1 to T21 the traps of fosite v0.49.0 as they were proven against it, and the last are its
// defects that Authelia's fork mended.
var (
	rows    = []int{1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 27, 30, 32, 33, 34, 35, 36, 37, 38, 39}
	traps   = 21
	defects = []string{"RFC9068MustConditions", "ArgumentsAreCaseSensitive", "RefreshRequestedScope", "RefreshKeepsItsOriginalRequest", "RFC7523IssuedAt", "PKCE", "AbsentRedirectURI",
		"IDTokenHint", "Revocation", "OmittedResponseMode", "BadRefreshToken", "RefreshedJWT", "SeveralAuthenticationMethods", "RulesAreHeldPerClient"}
)

func TestEveryRowOfBadInputHasATestOfItsName(t *testing.T) {
	var tests []string
	for _, s := range house(t) {
		if !s.Test {
			continue
		}
		for _, d := range s.File.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests = append(tests, f.Name.Name)
			}
		}
	}
	for _, name := range missing(tests) {
		t.Errorf("no test is named %s…", name)
	}
	if found := missing([]string{"TestRow011A", "TestRow01", "TestT011A", "TestIT01A", "TestT15T21Only", "TestFositeDefect"}); len(found) != len(rows)+traps-2+len(defects) {
		t.Errorf("names that only resemble one are taken for it: missing are %d", len(found))
	}
}

// missing are the beginnings of names that no test has.
func missing(tests []string) (all []string) {
	names := strings.Join(tests, "\n")
	want := func(name, pattern string) {
		if !regexp.MustCompile(`(?m)^Test` + pattern).MatchString(names) {
			all = append(all, "Test"+name)
		}
	}
	for _, n := range rows {
		want(fmt.Sprintf("Row%02d", n), fmt.Sprintf(`Row%02d[A-Z]`, n))
	}
	for n := 1; n <= traps; n++ {
		want(fmt.Sprintf("T%02d", n), fmt.Sprintf(`(T\d\d)*T%02d(T\d\d)*[A-Z]`, n))
	}
	for _, d := range defects {
		want("FositeDefect"+d, "FositeDefect"+d)
	}
	return all
}
