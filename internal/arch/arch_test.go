package arch

import (
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestEveryFolderImportsOnlyWhatItMay(t *testing.T) {
	for _, v := range Violations(Imports(house(t))) {
		t.Error(v)
	}
}

func TestNothingBannedStandsInTheHouse(t *testing.T) {
	for _, s := range house(t) {
		for _, v := range Banned(s) {
			t.Error(v)
		}
	}
}

func TestEveryFolderSaysWhatItPromises(t *testing.T) {
	said, seen := map[string]bool{}, map[string]bool{}
	for _, s := range house(t) {
		if s.Test && !strings.HasPrefix(s.Folder, "e2e") {
			continue
		}
		seen[s.Folder] = true
		if s.File.Doc != nil && len(s.File.Doc.Text()) > 60 {
			said[s.Folder] = true
		}
	}
	for folder := range seen {
		if !said[folder] {
			t.Errorf("%s: no file opens with a comment that says what the folder promises", folder)
		}
	}
}

// Every sentence here names a mistake that someone will make one day; the check must see it.
func TestPlantedMistakesAreSeen(t *testing.T) {
	for name, c := range map[string]struct{ folder, path string }{
		"the portal reaches into the provider":    {"portal", "beffroi/oidc"},
		"a module reaches into the directory":     {"portal/webmail", "beffroi/directory"},
		"a module reaches into the sign-in":       {"portal/agenda", "beffroi/signin"},
		"the portal chooses its modules":          {"portal", "beffroi/portal/webmail"},
		"the sign-in knows a protocol":            {"signin", "beffroi/oidc"},
		"a factor knows the directory":            {"mfa", "beffroi/directory"},
		"the directory knows the database":        {"directory", "beffroi/internal/db"},
		"the directory takes a library":           {"directory", "github.com/jackc/pgx/v5"},
		"plumbing knows the product":              {"internal/web", "beffroi/signin"},
		"pages know the product":                  {"templates", "beffroi/internal/db"},
		"fosite leaves its home":                  {"signin", "github.com/ory/fosite/handler/oauth2"},
		"LDAP leaves its home":                    {"signin", "github.com/go-ldap/ldap/v3"},
		"IMAP leaves its home":                    {"portal/agenda", "github.com/emersion/go-imap/v2/imapclient"},
		"SQL drivers leave their home":            {"oidc", "github.com/jackc/pgx/v5/pgxpool"},
		"a session library leaves its home":       {"portal", "github.com/gorilla/sessions"},
		"one-time passwords leave their home":     {"signin", "github.com/pquerna/otp/totp"},
		"WebAuthn leaves its home":                {"signin", "github.com/go-webauthn/webauthn/protocol"},
		"guessable numbers":                       {"signin", "math/rand/v2"},
		"a test server in production":             {"cmd/beffroi", "beffroi/internal/testpeer"},
		"a test library in production":            {"oidc", "github.com/stretchr/testify/require"},
		"a folder without a rule":                 {"utils", "beffroi/oidc"},
		"end-to-end tests reach into the product": {"e2e", "beffroi/oidc"},
	} {
		if found := Violations(Graph{c.folder: {c.path}}); len(found) != 1 {
			t.Errorf("%s (%s imports %s): %v", name, c.folder, c.path, found)
		}
	}
}

func TestWhatTheHouseAllowsIsAllowed(t *testing.T) {
	allowed := Graph{
		"cmd/beffroi":             {"beffroi/oidc", "beffroi/portal/webmail", "beffroi/cmd/beffroi/demo", "net/http"},
		"cmd/beffroi/demo":        {"math/rand/v2", "github.com/emersion/go-imap/v2"},
		"oidc":                    {"beffroi/signin", "beffroi/directory", "beffroi/internal/db", "github.com/ory/fosite"},
		"portal/webmail":          {"beffroi/portal", "beffroi/templates", "beffroi/internal/web", "github.com/emersion/go-imap/v2"},
		"portal/agenda":           {"beffroi/portal/dav"},
		"directory":               {"beffroi/internal/secret", "github.com/go-ldap/ldap/v3", "golang.org/x/text/unicode/norm"},
		"directory/directorytest": {"testing", "beffroi/directory", "beffroi/internal/testpeer"},
		"internal/db":             {"beffroi/migrations", "modernc.org/sqlite"},
		"internal/db/dbtest":      {"testing", "beffroi/internal/db", "beffroi/internal/testpeer"},
		"e2e/bench":               {"beffroi/internal/testpeer", "math/rand/v2"},
	}
	for _, v := range Violations(allowed) {
		t.Error(v)
	}
}

func TestPlantedCallsAreSeen(t *testing.T) {
	for text, test := range map[string]bool{
		"import \"net/http\"\nfunc h(w http.ResponseWriter) { http.Error(w, \"no\", 500) }": false,
		"func init() {}": false,
		"import \"testing\"\nfunc TestX(t *testing.T) { t.Skip(\"no server\") }": true,
		"// TO" + "DO later\nvar x int":                                          false,
	} {
		if found := bannedIn(t, text, test); len(found) != 1 {
			t.Errorf("%q: %v", text, found)
		}
	}
}

// Row 30: a secret compared byte by byte is seen wherever it is written (TestNothingBannedStandsInTheHouse looks there).
func TestRow30ASecretComparedByteByByteIsSeen(t *testing.T) {
	for _, text := range []string{
		"func f(given, clientSecret string) bool { return given == clientSecret }",
		"func f(c struct{ Secret string }, given string) bool { return c.Secret != given }",
		"import \"beffroi/internal/secret\"\nfunc f(a, b string) bool { return secret.Hash(a) == b }",
		"import \"bytes\"\nfunc f(passwordHash, given []byte) bool { return bytes.Equal(given, passwordHash) }",
	} {
		if found := bannedIn(t, text, false); len(found) != 1 {
			t.Errorf("%q: %v", text, found)
		}
	}
}

func TestWhatTellsNothingMayBeCompared(t *testing.T) {
	if found := bannedIn(t, "func f(secret string, hash []byte) bool { return secret == \"\" || hash != nil || len(secret) == 43 }", false); len(found) != 0 {
		t.Error(found)
	}
}

// bannedIn is what Banned says of a file.
func bannedIn(t *testing.T, text string, test bool) []string {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "p.go", "package p\n"+text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return Banned(Source{Name: "p.go", Test: test, File: file, set: set})
}

func TestTheBinaryCarriesNoTestLibrary(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/beffroi")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, path := range strings.Fields(string(out)) {
		for _, library := range []string{"github.com/stretchr/testify", "github.com/golang/mock", "go.uber.org/mock", "github.com/chromedp", "testing"} {
			if within(path, library) {
				t.Errorf("cmd/beffroi is built with %s", path)
			}
		}
	}
}

func house(t *testing.T) []Source {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 20 {
		t.Fatalf("only %d Go files found under %s", len(sources), dir)
	}
	return sources
}
