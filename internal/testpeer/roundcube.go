package testpeer

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Where Debian puts Roundcube.
const (
	roundcubeSite     = "/var/lib/roundcube/public_html"
	roundcubeDefaults = "/etc/roundcube/defaults.inc.php"
)

// RoundcubeOptions say whose mailboxes are shown, and which provider signs people in, as which client.
type RoundcubeOptions struct {
	Port             int // of FreePort: the redirect URI is http://127.0.0.1:Port/index.php/login/oauth
	Dovecot          *DovecotServer
	Issuer           string
	ClientID, Secret string
	Resource         string // what its tokens are for (RFC 8707): a name that the provider gives the mail server
}

// RoundcubeServer is a Roundcube that signs in by OAuth alone.
type RoundcubeServer struct {
	*Server
	URL string // http://127.0.0.1:port
}

// Roundcube starts a Roundcube for this test.
func Roundcube(t testing.TB, o RoundcubeOptions) *RoundcubeServer {
	t.Helper()
	php, err := program("php")
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := os.ReadFile(roundcubeDefaults)
	if err != nil {
		t.Fatalf("Roundcube is not installed: %v; %s", err, installHint)
	}
	dir := testDir(t, "roundcube")
	for _, name := range []string{"logs", "temp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "defaults.inc.php"), defaults, 0o644); err != nil {
		t.Fatal(err)
	}
	_, imap, err := net.SplitHostPort(o.Dovecot.IMAP)
	if err != nil {
		t.Fatal(err)
	}
	_, submission, err := net.SplitHostPort(o.Dovecot.Submission)
	if err != nil {
		t.Fatal(err)
	}
	if err := configure(dir, "roundcube.inc.php", map[string]any{"Dir": dir, "IMAPPort": imap, "SubmissionPort": submission, "CAFile": o.Dovecot.CAFile, "Key": randomName(12),
		"Issuer": o.Issuer, "ClientID": o.ClientID, "Secret": o.Secret, "Resource": o.Resource}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "roundcube.inc.php"), filepath.Join(dir, "config.inc.php")); err != nil {
		t.Fatal(err)
	}
	address := loopback(o.Port)
	s := &RoundcubeServer{URL: "http://" + address}
	s.Server = run(t, &process{
		name: "Roundcube", log: filepath.Join(dir, "output.log"), logs: []string{filepath.Join(dir, "logs", "errors.log")},
		command: func() *exec.Cmd {
			cmd := exec.Command(php, "-S", address, "-t", roundcubeSite)
			cmd.Env = append(os.Environ(), "ROUNDCUBE_CONFIG_DIR="+dir, "PHP_CLI_SERVER_WORKERS=2")
			return cmd
		},
		ready: func() bool { return listening(o.Port) },
	})
	return s
}
