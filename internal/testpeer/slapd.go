package testpeer

import (
	"embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/go-ldap/ldap/v3"
)

//go:embed conf
var conf embed.FS

// configure writes one of the embedded configurations into dir, its blanks filled from data.
func configure(dir, name string, data any) error {
	t, err := template.ParseFS(conf, "conf/"+name)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	return t.Execute(f, data)
}

// SlapdServer is an OpenLDAP server with the test academy: password policy (locks after 10 failures), memberOf, referential integrity.
type SlapdServer struct {
	*Server
	URL    string // ldap://127.0.0.1:port, offers StartTLS
	TLSURL string // ldaps://127.0.0.1:port
	CAFile string // the authority of its certificate, which names localhost and 127.0.0.1

	BaseDN, PeopleDN, GroupsDN string
	ServiceDN, ServicePassword string // may search everything but passwords, and unlock
	RootDN, RootPassword       string // may do everything
}

// SlapdOptions choose who is in the directory.
type SlapdOptions struct {
	People  []Person // beside the six of People
	Threads int      // 0 is 4
}

// Slapd starts an OpenLDAP server for this test with the six sample persons. Their password is Password.
func Slapd(t testing.TB) *SlapdServer { t.Helper(); return StartSlapd(t, SlapdOptions{}) }

// StartSlapd is Slapd with options.
func StartSlapd(t testing.TB, o SlapdOptions) *SlapdServer {
	t.Helper()
	slapd, err := program("slapd")
	if err != nil {
		t.Fatal(err)
	}
	slapadd, err := program("slapadd")
	if err != nil {
		t.Fatal(err)
	}
	dir := testDir(t, "slapd")
	files, err := newPKI(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &SlapdServer{
		URL: "ldap://" + loopback(FreePort(t)), TLSURL: "ldaps://" + loopback(FreePort(t)), CAFile: files.CA,
		BaseDN: baseDN, PeopleDN: peopleDN, GroupsDN: groupsDN, ServiceDN: serviceDN, ServicePassword: servicePass,
		RootDN: rootDN, RootPassword: rootPassword,
	}
	if o.Threads == 0 {
		o.Threads = 4
	}
	settings := map[string]any{"Dir": dir, "PKI": files, "Base": baseDN, "ServiceDN": serviceDN, "RootDN": rootDN, "RootPassword": rootPassword, "Threads": o.Threads}
	if err := configure(dir, "academie.schema", nil); err != nil {
		t.Fatal(err)
	}
	if err := configure(dir, "slapd.conf", settings); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	load := exec.Command(slapadd, "-q", "-f", filepath.Join(dir, "slapd.conf"))
	load.Stdin = strings.NewReader(academyLDIF(append(People(), o.People...)))
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("load the directory: %v\n%s", err, out)
	}
	s.Server = run(t, &process{
		name: "slapd", log: filepath.Join(dir, "slapd.log"),
		// -d 0 keeps it in the foreground, silent
		command: func() *exec.Cmd {
			return exec.Command(slapd, "-d", "0", "-f", filepath.Join(dir, "slapd.conf"), "-h", s.URL+"/ "+s.TLSURL+"/")
		},
		ready: func() bool {
			c, err := s.connect()
			if err == nil {
				c.Close()
			}
			return err == nil
		},
	})
	return s
}

// connect gives a connection with all rights.
func (s *SlapdServer) connect() (*ldap.Conn, error) {
	c, err := ldap.DialURL(s.URL)
	if err != nil {
		return nil, err
	}
	if err := c.Bind(s.RootDN, s.RootPassword); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Add creates the entries of an LDIF text.
func (s *SlapdServer) Add(ldif string) {
	s.t.Helper()
	s.each(ldif, func(c *ldap.Conn, r record) error {
		add := ldap.NewAddRequest(r.dn, nil)
		for _, a := range r.attributes {
			add.Attribute(a.name, a.values)
		}
		return c.Add(add)
	})
}

// Modify carries out the changes of an LDIF text: "changetype: modify" with add, delete and replace, or "changetype: delete".
func (s *SlapdServer) Modify(ldif string) {
	s.t.Helper()
	s.each(ldif, func(c *ldap.Conn, r record) error {
		if r.deletes {
			return c.Del(ldap.NewDelRequest(r.dn, nil))
		}
		modify := ldap.NewModifyRequest(r.dn, nil)
		for _, a := range r.attributes {
			switch a.change {
			case "add":
				modify.Add(a.name, a.values)
			case "delete":
				modify.Delete(a.name, a.values)
			default:
				modify.Replace(a.name, a.values)
			}
		}
		return c.Modify(modify)
	})
}

// Attribute reads the values of one attribute, operational ones included, with all rights.
func (s *SlapdServer) Attribute(dn, name string) []string {
	s.t.Helper()
	c, err := s.connect()
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	found, err := c.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 5, false, "(objectClass=*)", []string{name}, nil))
	if err != nil {
		s.t.Fatalf("read %s of %s: %v", name, dn, err)
	}
	return found.Entries[0].GetAttributeValues(name)
}

func (s *SlapdServer) each(ldif string, do func(*ldap.Conn, record) error) {
	s.t.Helper()
	records, err := parseLDIF(ldif)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.connect()
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	for _, r := range records {
		if err := do(c, r); err != nil {
			s.t.Fatalf("%s: %v", r.dn, err)
		}
	}
}

// Binder gives a connection that tries passwords, for measuring what one bind costs. It is for one goroutine.
func (s *SlapdServer) Binder() func(dn, password string) error {
	s.t.Helper()
	c, err := ldap.DialURL(s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c.Bind
}
