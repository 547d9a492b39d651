package testpeer

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ClamdServer is a virus scanner that knows one virus, VirusText.
type ClamdServer struct {
	*Server
	Address string // host:port
	Socket  string // path of its UNIX socket
}

// VirusText makes a file one that Clamd refuses, as Virus.
const (
	VirusText = "beffroi-test-virus-0123456789"
	Virus     = "Beffroi.Test.UNOFFICIAL"
)

// Clamd starts a clamd for this test that takes streams up to most, as "25M".
func Clamd(t testing.TB, most string) *ClamdServer {
	t.Helper()
	clamd, err := program("clamd")
	if err != nil {
		t.Fatal(err)
	}
	dir := testDir(t, "clamd")
	if err := os.Mkdir(filepath.Join(dir, "signatures"), 0o755); err != nil {
		t.Fatal(err)
	}
	signature := "Beffroi.Test:0:*:" + hex.EncodeToString([]byte(VirusText)) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "signatures", "test.ndb"), []byte(signature), 0o644); err != nil {
		t.Fatal(err)
	}
	port := FreePort(t)
	if err := configure(dir, "clamd.conf", map[string]any{"Dir": dir, "Port": port, "Most": most}); err != nil {
		t.Fatal(err)
	}
	s := &ClamdServer{Address: loopback(port), Socket: filepath.Join(dir, "clamd.ctl")}
	s.Server = run(t, &process{
		name: "clamd", log: filepath.Join(dir, "output.log"), logs: []string{filepath.Join(dir, "clamd.log")},
		command: func() *exec.Cmd { return exec.Command(clamd, "--config-file="+filepath.Join(dir, "clamd.conf")) },
		ready:   func() bool { return listening(port) },
	})
	return s
}
