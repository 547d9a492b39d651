// Package rig builds the real binary and starts it the two ways that people do: as the one-machine demo, and as a server with
// its configuration file beside real PostgreSQL, slapd, Dovecot and Radicale. The journeys of e2e and the bench stand on it.
package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"beffroi/internal/testpeer"
)

var built = sync.OnceValues(func() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	// a copy of its own: whoever runs make meanwhile does not take it away; the flags are make's, so that Go's cache has it
	dir, err := testpeer.ProcessDir("binary")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "beffroi")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/beffroi")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	return path, nil
})

// Binary builds the binary, once for each test binary, and gives its path.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Root is the project's folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod above the working folder")
		}
	}
}

// Beffroi is a running binary.
type Beffroi struct {
	*testpeer.Server
	Provider string   // issuer
	Portal   string   // origin
	Admin    string   // http://host:port of health and metrics; "" when not known
	State    []string // the flags that make a subcommand speak of this one: -dir DIR or -config FILE

	binary string
}

// Command runs a subcommand against this Beffroi, as in Command("person", "unlock", "mdupont"), and gives what it printed on
// standard output and an error when it did not exit with 0.
func (b *Beffroi) Command(words ...string) (string, error) {
	// flags come after the words that name the subcommand, before its operands
	cmd := exec.Command(b.binary, append(words, b.State...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("beffroi %s: %w: %s", strings.Join(words, " "), err, stderr.String())
	}
	return string(out), nil
}
