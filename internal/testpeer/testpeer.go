// Package testpeer starts the real servers that Beffroi lives with, for tests and benches: PostgreSQL, OpenLDAP's slapd,
// Dovecot, Radicale, Apache, Roundcube and Chromium, each from its Debian package, on free loopback ports, with its state in a folder of its own.
//
// It promises three things. A missing program fails the test, with the command that installs it; nothing is ever skipped.
// No server outlives the program that started it: the kernel kills it when the test binary dies, a panic or kill -9
// included, and its folder is removed. And a failed test shows the end of the logs of the servers that it used.
//
// Postgres is shared by the tests of one binary, each of which gets a database of its own; every other server belongs to the
// test that asked for it and stops with it. They start in 0.1 to 1 s. Stop, Start and Kill (kill -9) are there for tests of
// failover and crashes: a restarted server keeps its ports and its state.
//
// BEFFROI_TEST_DIR moves the folder that holds all state (default: beffroi-test under the system's temporary folder).
package testpeer

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// installHint is what a failing test tells the reader to type.
const installHint = "install what the tests need with: sudo sh internal/testpeer/install.sh (make test does it, as root)"

// root is the folder under which everything is kept; any user may pass through it, as PostgreSQL and Dovecot run under their own.
func root() (string, error) {
	dir := os.Getenv("BEFFROI_TEST_DIR")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "beffroi-test")
		if uid := os.Geteuid(); uid != 0 {
			dir += "-" + strconv.Itoa(uid)
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// janitor removes a folder once its standard input closes, which the kernel does whatever way this program ends.
const janitor = `cat >/dev/null; for i in 1 2 3 4 5 6; do rm -rf "$1" 2>/dev/null && exit 0; sleep 0.3; done`

// stateDir makes a folder that is removed when this program ends, however it ends.
func stateDir(name string) (string, error) {
	base, err := root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, fmt.Sprintf("%s-%d-%s", name, os.Getpid(), randomName(4)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("sh", "-c", janitor, "sh", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	janitors.Store(dir, input)
	return dir, cmd.Start()
}

// janitors keeps the standard inputs of the janitors open: the garbage collector would close them.
var janitors sync.Map

// testDir is stateDir for one test: also removed when the test ends.
func testDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := stateDir(name)
	if err != nil {
		t.Fatalf("folder for %s: %v", name, err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// randomName gives n random bytes in hexadecimal.
func randomName(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

var ports struct {
	sync.Mutex
	next  int
	locks []*os.File // held until this program ends: a port belongs to one test binary at a time
}

// FreePort reserves a loopback TCP port below the range from which the kernel hands out ports by itself. No other call
// gives it again, in any test binary that runs at the same time, so a server may be stopped and started on it.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freePort() (int, error) {
	const low, high = 20000, 32000
	base, err := root()
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(base, "ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = low + os.Getpid()*37%(high-low) // binaries that run side by side start looking at different places
	}
	for range high - low {
		port := ports.next
		if ports.next++; ports.next == high {
			ports.next = low
		}
		lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return 0, err
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && unused(port) {
			ports.locks = append(ports.locks, lock)
			return port, nil
		}
		lock.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d", low, high)
}

func unused(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// loopback is the address of a port on this machine.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// program finds an installed program, also in the folders of system programs that a plain PATH lacks.
func program(name string, also ...string) (string, error) {
	for _, pattern := range also {
		found, _ := filepath.Glob(filepath.Join(pattern, name))
		if len(found) > 0 {
			return found[len(found)-1], nil // the newest version, as names sort
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed; %s", name, installHint)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// waitFor polls until ok says yes, for at most limit.
func waitFor(limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// listening tells whether something answers on the port.
func listening(port int) bool {
	c, err := net.DialTimeout("tcp", loopback(port), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
