package testpeer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startLimit is how long a server may take to be ready; on two busy cores the slowest took 6 s.
const startLimit = 60 * time.Second

// process is one server that can be stopped, killed and started again with the same command.
type process struct {
	name    string
	command func() *exec.Cmd // a fresh command for each start, in the foreground
	log     string           // file that takes what it prints
	logs    []string         // other files worth showing when a test fails
	ready   func() bool

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended and been reaped
}

// spawner starts every process on one thread that lives as long as the program: the kernel sends a child's "parent died"
// signal when the thread that made it ends, and ordinary Go threads may.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func spawn(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // Ctrl-C reaches the tests only, which then end their servers
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = out, out
	if err := spawn(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	p.cmd, p.done = cmd, done
	ended := false
	ok := waitFor(startLimit, func() bool {
		select {
		case <-done:
			ended = true
			return true
		default:
			return p.ready()
		}
	})
	if ended || !ok {
		p.end(syscall.SIGKILL)
		return fmt.Errorf("%s did not start:\n%s", p.name, p.tail())
	}
	return nil
}

// end signals the process and its group, waits until it is gone, and kills it when it takes more than ten seconds.
func (p *process) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	if sig == syscall.SIGKILL {
		syscall.Kill(-p.cmd.Process.Pid, sig)
	} else {
		p.cmd.Process.Signal(sig)
	}
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
	p.cmd = nil
}

func (p *process) stop(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(sig)
}

// PID is the process's number, 0 when it does not run.
func (p *process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// tail is the end of the process's logs.
func (p *process) tail() string {
	var b strings.Builder
	for _, name := range append([]string{p.log}, p.logs...) {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || len(text) == 0 {
			continue
		}
		if len(text) > 6000 {
			text = text[len(text)-6000:]
		}
		fmt.Fprintf(&b, "--- %s: %s\n%s\n", p.name, name, text)
	}
	return b.String()
}

// Server is what every server of a test can do.
type Server struct {
	*process
	t testing.TB
}

// run starts the process for the length of the test, and shows its logs when the test fails.
func run(t testing.TB, p *process) *Server {
	t.Helper()
	s := &Server{process: p, t: t}
	s.Start()
	t.Cleanup(func() {
		s.stop(syscall.SIGKILL)
		if t.Failed() {
			t.Log(p.tail())
		}
	})
	return s
}

// Start starts a stopped or killed server again, on the same ports and state, and returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Stop ends the server in good order and returns when it is gone.
func (s *Server) Stop() { s.stop(syscall.SIGTERM) }

// Kill ends the server, its children included, with kill -9.
func (s *Server) Kill() { s.stop(syscall.SIGKILL) }

// Log is the end of what the server logged.
func (s *Server) Log() string { return s.tail() }
