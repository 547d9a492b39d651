// Package arch holds the house together: its test reads every Go file of the project and fails when a folder imports what
// it must not, when a library is used outside its one home, or when a call stands somewhere that the house has banned.
// docs/architecture.md explains the rules; this package is where they are written down to the letter.
//
// Nothing imports it. Run it with: go test ./internal/arch -count=1
package arch

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// module is the import path of the project.
const module = "beffroi"

// mayImport says which folders of the project a folder and what lies below it may import. The first line that fits holds;
// "portal/*" fits only what lies below. A folder named on the right stands for everything below it too.
var mayImport = []struct {
	folder string
	may    []string
}{
	{"cmd/beffroi/proconnect", []string{"internal/i18n"}},                                                                       // plays another's part: nothing of the provider may help it
	{"cmd", []string{"cmd", "oidc", "helpdesk", "signin", "mfa", "directory", "portal", "templates", "migrations", "internal"}}, // where the parts meet
	{"oidc", []string{"signin", "directory", "templates", "internal"}},                                                          // protocols never import one another
	{"helpdesk", []string{"signin", "directory", "mfa", "templates", "internal"}},
	{"signin", []string{"directory", "mfa", "templates", "internal"}},
	{"mfa", []string{"templates", "internal"}}, // a factor belongs to an ID, not to LDAP
	{"directory/directorytest", []string{"directory", "internal"}},
	{"directory", []string{"internal/secret"}}, // the boundary to the academy
	{"portal/*", []string{"portal", "templates", "internal"}},
	{"portal", []string{"portal/dav", "templates", "internal"}},   // a relying party like any other; it is given its modules
	{"internal/testpeer", nil},                                    // real servers for tests: knows nothing of us
	{"internal", []string{"internal", "templates", "migrations"}}, // never a product folder
	{"templates", nil},
	{"migrations", nil},
	{"e2e", []string{"internal", "templates", "e2e"}}, // drives the binary from outside; takes pictures of the components
}

// homes says which folders may use a library. Test files are free.
var homes = map[string][]string{
	"github.com/ory/fosite":         {"oidc"},
	"github.com/go-ldap/ldap":       {"directory", "internal/testpeer"},
	"github.com/go-webauthn":        {"mfa"},
	"github.com/descope":            {"mfa/mfatest"},
	"github.com/pquerna/otp":        {"mfa"},
	"github.com/boombuler/barcode":  {"mfa"},
	"github.com/emersion/go-imap":   {"portal/webmail", "cmd/beffroi/demo"},
	"codeberg.org/go-pdf/fpdf":      {"internal/letter"},
	"github.com/jackc/pgx":          {"internal/db", "internal/testpeer"},
	"modernc.org/sqlite":            {"internal/db"},
	"github.com/gorilla/sessions":   {"internal/session"},
	"github.com/coreos/go-oidc":     {"portal", "cmd/beffroi/demo"}, // relying parties both
	"github.com/chromedp":           {"internal/testpeer", "e2e"},
	"go.uber.org/goleak":            {},
	"pgregory.net/rapid":            {},
	"github.com/stretchr/testify":   {},
	"github.com/golang/mock":        {},
	"github.com/zitadel/oidc":       {},
	"github.com/emersion/go-webdav": {"cmd/beffroi/demo"},
}

// directoryLibraries are the only modules that the directory may use beside the standard library.
var directoryLibraries = []string{"github.com/go-ldap/ldap", "golang.org/x/text"}

// testOnly are the folders that only tests may import.
var testOnly = []string{"internal/testpeer", "internal/arch", "internal/db/dbtest", "directory/directorytest", "portal/portaltest", "mfa/mfatest", "e2e"}

// randomByDesign may use math/rand: sample data that must come out the same each time, benches, test helpers.
var randomByDesign = []string{"cmd/beffroi/demo", "e2e", "internal/testpeer"}

// Graph gives, for each folder of the project ("portal/webmail"), the import paths in its production files.
type Graph map[string][]string

// Violations lists every import that breaks a rule, sorted, each as a sentence. It is empty for a house in order.
func Violations(g Graph) []string {
	var found []string
	for folder, imports := range g {
		for _, path := range imports {
			if why := forbidden(folder, path); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", folder, path, why))
			}
		}
	}
	sort.Strings(found)
	return found
}

// forbidden says why a folder may not import a path; "" when it may.
func forbidden(folder, path string) string {
	target, ours := strings.CutPrefix(path, module+"/")
	switch {
	case ours:
		return forbiddenFolder(folder, target)
	case isTestHelper(folder):
		return ""
	case (path == "math/rand" || path == "math/rand/v2") && !withinAny(folder, randomByDesign):
		return "whoever can guess the next number owns the session: crypto/rand"
	case path == "testing":
		return "only tests import testing"
	}
	for library, home := range homes {
		if within(path, library) && !withinAny(folder, home) {
			if len(home) == 0 {
				return library + " is for tests only"
			}
			return library + " has its home in " + strings.Join(home, ", ")
		}
	}
	if within(folder, "directory") && strings.Contains(firstElement(path), ".") && !withinAny(path, directoryLibraries) {
		return "the directory uses only " + strings.Join(directoryLibraries, ", ")
	}
	return ""
}

func forbiddenFolder(folder, target string) string {
	if withinAny(target, testOnly) && !isTestHelper(folder) {
		return "only tests import it"
	}
	for _, rule := range mayImport {
		if below, ok := strings.CutSuffix(rule.folder, "/*"); within(folder, rule.folder) || ok && strings.HasPrefix(folder, below+"/") {
			if withinAny(target, rule.may) {
				return ""
			}
			return fmt.Sprintf("%s may import only %s", rule.folder, list(rule.may))
		}
	}
	return "no rule says what this folder may import: add one to internal/arch"
}

// isTestHelper tells the folders that exist for tests alone.
func isTestHelper(folder string) bool { return withinAny(folder, testOnly) }

// within tells whether a path is the folder or lies below it.
func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func withinAny(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return within(path, f) })
}

func firstElement(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

func list(folders []string) string {
	if len(folders) == 0 {
		return "nothing of ours"
	}
	return strings.Join(folders, ", ")
}
