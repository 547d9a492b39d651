package directory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/testpeer"
)

func TestTheSecondServerAnswersWhileTheFirstIsGone(t *testing.T) {
	first, second := testpeer.Slapd(t), testpeer.Slapd(t)
	// The same person with another name tells which server answered.
	second.Modify("dn: uid=ssmith," + second.PeopleDN + "\nchangetype: modify\nreplace: displayName\ndisplayName: Second\n")
	var log syncBuffer
	c := academy(first)
	c.URLs = []string{first.URL, second.URL}
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	d := open(t, c)

	if p := mustSignIn(t, d, "ssmith"); p.DisplayName != "Sarah Smith" {
		t.Fatalf("the first server was not asked first: %q", p.DisplayName)
	}
	first.Kill()
	for range 20 {
		if p := mustSignIn(t, d, "ssmith"); p.DisplayName != "Second" {
			t.Fatalf("%q", p.DisplayName)
		}
	}
	first.Start()
	eventually(t, 15*time.Second, "the first server is asked again", func() bool {
		return mustSignIn(t, d, "ssmith").DisplayName == "Sarah Smith"
	})
	second.Stop()
	mustSignIn(t, d, "ssmith")
	first.Stop()
	began := time.Now()
	_, outcome, err := d.Authenticate(t.Context(), "ssmith", testpeer.Password)
	if !errors.Is(err, directory.ErrDown) || outcome.OK() {
		t.Errorf("with none left: %v, %v", outcome.Result, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s to see that none is left", took)
	}
	if err := d.Ping(t.Context()); !errors.Is(err, directory.ErrDown) {
		t.Errorf("Ping: %v", err)
	}
	for _, said := range []string{"directory server lost", "directory server back"} {
		if !strings.Contains(log.String(), said) {
			t.Errorf("the log does not say %q:\n%s", said, log.String())
		}
	}
}

func TestARestartOfSlapdIsNotNoticed(t *testing.T) {
	s := testpeer.Slapd(t)
	d := open(t, academy(s))
	for range 3 {
		var wait sync.WaitGroup
		for range 8 { // fill both pools
			wait.Go(func() { mustSignIn(t, d, "mdupont") })
		}
		wait.Wait()
		s.Kill()
		s.Start()
		for range 10 {
			mustSignIn(t, d, "mdupont")
		}
	}
}

// silent listens, accepts, and never says a word.
func silent(t *testing.T) (address string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			t.Cleanup(func() { c.Close() })
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), connections
}

func TestASilentServerCostsItsTimeOnce(t *testing.T) {
	s := testpeer.Slapd(t)
	hung, _ := silent(t)
	c := academy(s)
	c.URLs = []string{"ldap://" + hung, s.URL}
	c.Timeout = 400 * time.Millisecond
	d := open(t, c)
	began := time.Now()
	mustSignIn(t, d, "mdupont")
	if took := time.Since(began); took < c.Timeout || took > 3*c.Timeout {
		t.Errorf("the first sign-in took %s", took)
	}
	began = time.Now()
	for range 50 {
		mustSignIn(t, d, "mdupont")
	}
	if took := time.Since(began); took > c.Timeout {
		t.Errorf("the next fifty took %s", took)
	}
}

func TestASilentServerAloneIsSoonGivenUp(t *testing.T) {
	for name, url := range map[string]string{"in clear": "ldap://%s", "LDAPS": "ldaps://%s"} {
		t.Run(name, func(t *testing.T) {
			hung, connections := silent(t)
			d := open(t, directory.Config{
				URLs: []string{fmt.Sprintf(url, hung)}, BindDN: "cn=x", BindPassword: "x", BaseDN: base,
				Timeout: 200 * time.Millisecond, PoolSize: 4,
			})
			began := time.Now()
			var wait sync.WaitGroup
			for range 200 {
				wait.Go(func() {
					_, outcome, err := d.Authenticate(t.Context(), "mdupont", testpeer.Password)
					if !errors.Is(err, directory.ErrDown) || outcome.OK() {
						t.Errorf("%v, %v", outcome.Result, err)
					}
				})
			}
			wait.Wait()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("two hundred visitors waited %s", took)
			}
			if n := connections.Load(); n > 40 {
				t.Errorf("%d connections to a server that says nothing", n)
			}
		})
	}
}

// pause stops a server in its tracks, its connections open, or lets it go on.
func pause(t *testing.T, s *testpeer.SlapdServer, signal syscall.Signal) {
	t.Helper()
	pid := s.PID()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
	if signal != syscall.SIGSTOP {
		return
	}
	// A thread that runs on the other core may answer once more: wait until all have stopped.
	testpeer.WaitFor(t, "slapd standing still", 5*time.Second, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			return false
		}
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err != nil {
				continue // ended meanwhile
			}
			// "pid (name) state …": the name may hold anything but the last parenthesis
			if _, rest, ok := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " "); !ok || rest[0] != 'T' {
				return false
			}
		}
		return true
	})
}

func TestAVisitorWhoLeavesWaitsForNothing(t *testing.T) {
	s := testpeer.Slapd(t)
	d := open(t, academy(s))
	mustSignIn(t, d, "mdupont")
	pause(t, s, syscall.SIGSTOP)
	defer pause(t, s, syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, _, err := d.Authenticate(ctx, "mdupont", testpeer.Password)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	pause(t, s, syscall.SIGCONT)
	mustSignIn(t, d, "mdupont")
}

// syncBuffer is a log that several write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
