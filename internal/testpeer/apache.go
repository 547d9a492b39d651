package testpeer

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// apacheModules is where Debian puts them.
const apacheModules = "/usr/lib/apache2/modules"

// ApacheOptions say which provider guards the site, and as which client.
type ApacheOptions struct {
	Port             int // of FreePort: the redirect URI is http://127.0.0.1:Port/oidc
	Issuer           string
	ClientID, Secret string
}

// ApacheServer is an Apache whose pages mod_auth_openidc guards: / for the group tous-personnels, /heads/ for
// chefs-etablissement, /bye/ for everybody. X-Remote-User and X-Groups of an answer say what the module learnt.
type ApacheServer struct {
	*Server
	URL string // http://127.0.0.1:port
}

// Apache starts an Apache for this test.
func Apache(t testing.TB, o ApacheOptions) *ApacheServer {
	t.Helper()
	apache, err := program("apache2")
	if err != nil {
		t.Fatal(err)
	}
	if !isFile(filepath.Join(apacheModules, "mod_auth_openidc.so")) {
		t.Fatalf("mod_auth_openidc is not installed; %s", installHint)
	}
	dir := testDir(t, "apache")
	for path, text := range map[string]string{"www/index.html": "<h1>Salle des professeurs</h1>", "www/heads/index.html": "<h1>Bureau</h1>", "www/bye/index.html": "<h1>Au revoir</h1>"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o777); err != nil {
		t.Fatal(err)
	}
	address := loopback(o.Port)
	if err := configure(dir, "apache.conf", map[string]any{"Dir": dir, "Address": address, "Modules": apacheModules, "Issuer": o.Issuer, "ClientID": o.ClientID,
		"Secret": o.Secret, "Passphrase": randomName(16)}); err != nil {
		t.Fatal(err)
	}
	s := &ApacheServer{URL: "http://" + address}
	s.Server = run(t, &process{
		name: "Apache", log: filepath.Join(dir, "output.log"), logs: []string{filepath.Join(dir, "error.log")},
		command: func() *exec.Cmd {
			cmd := exec.Command(apache, "-D", "FOREGROUND", "-f", filepath.Join(dir, "apache.conf"))
			cmd.SysProcAttr = &syscall.SysProcAttr{}
			return cmd
		},
		ready: func() bool { return listening(o.Port) },
	})
	return s
}
