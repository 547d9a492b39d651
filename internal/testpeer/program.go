package testpeer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// Program is a server that is not one of Debian's: the binary under test.
type Program struct {
	Name  string
	Path  string
	Args  []string
	Env   []string                 // beside the environment of this process
	Ready func(output string) bool // asked with what it printed since this start, until it says yes
}

// StartProgram runs a program for the length of the test like any other server here. Output holds what it printed.
func StartProgram(t testing.TB, p Program) *Server {
	t.Helper()
	log, before := filepath.Join(testDir(t, "program"), "output.log"), 0
	output := func() string {
		text, err := os.ReadFile(log)
		if err != nil {
			return ""
		}
		return string(text)
	}
	return run(t, &process{
		name: p.Name, log: log,
		ready: func() bool { return p.Ready(output()[before:]) },
		command: func() *exec.Cmd {
			before = len(output())
			cmd := exec.Command(p.Path, p.Args...)
			cmd.Env = append(os.Environ(), p.Env...)
			return cmd
		},
	})
}

// Output is everything that the server printed so far.
func (s *Server) Output() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return ""
	}
	return string(text)
}

// ProcessDir makes a folder that lasts as long as this program: for what all its tests share.
func ProcessDir(name string) (string, error) { return stateDir(name) }

// Dir makes a folder that every user may pass through, for one test.
func Dir(t testing.TB) string { t.Helper(); return testDir(t, "files") }

// WaitFor polls until ok says yes and fails the test when it has not within limit.
func WaitFor(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	if !waitFor(limit, ok) {
		t.Fatalf("%s: not within %s", what, limit)
	}
}

// Main lets a program that is no test, such as a bench, use this package: f gets what a test gets, and Fatal ends f with an error.
func Main(name string, out io.Writer, f func(t testing.TB)) (err error) {
	m := &mainTest{name: name, out: out}
	defer func() {
		for i := len(m.cleanups) - 1; i >= 0; i-- {
			m.cleanups[i]()
		}
	}()
	done := make(chan struct{})
	go func() { // a goroutine of its own, which Fatal ends from any depth
		defer close(done)
		f(m)
	}()
	<-done
	if m.failed {
		return errors.New(name + " failed")
	}
	return nil
}

// mainTest is as much of a testing.TB as this package's functions call.
type mainTest struct {
	testing.TB
	name     string
	out      io.Writer
	failed   bool
	cleanups []func()
}

func (m *mainTest) Helper()                           {}
func (m *mainTest) Name() string                      { return m.name }
func (m *mainTest) Failed() bool                      { return m.failed }
func (m *mainTest) Cleanup(f func())                  { m.cleanups = append(m.cleanups, f) }
func (m *mainTest) Log(args ...any)                   { fmt.Fprintln(m.out, args...) }
func (m *mainTest) Error(args ...any)                 { m.failed = true; m.Log(args...) }
func (m *mainTest) Fatal(args ...any)                 { m.Error(args...); runtime.Goexit() }
func (m *mainTest) Logf(format string, args ...any)   { m.Log(fmt.Sprintf(format, args...)) }
func (m *mainTest) Errorf(format string, args ...any) { m.Error(fmt.Sprintf(format, args...)) }
func (m *mainTest) Fatalf(format string, args ...any) { m.Fatal(fmt.Sprintf(format, args...)) }
