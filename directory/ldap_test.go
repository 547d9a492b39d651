package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/directory/directorytest"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

// academy is the configuration for a test's slapd.
func academy(s *testpeer.SlapdServer) directory.Config {
	return directory.Config{
		URLs: []string{s.URL}, BindDN: s.ServiceDN, BindPassword: secret.String(s.ServicePassword),
		BaseDN: s.BaseDN, PeopleBase: s.PeopleDN, GroupsBase: s.GroupsDN,
		Timeout: 2 * time.Second,
	}
}

func open(t testing.TB, c directory.Config) *directory.LDAP {
	t.Helper()
	d, err := directory.Open(c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// mustSignIn fails unless the person gets in.
func mustSignIn(t *testing.T, d directory.Directory, login string) directory.Person {
	t.Helper()
	p, outcome, err := d.Authenticate(t.Context(), login, testpeer.Password)
	if err != nil || !outcome.OK() {
		t.Fatalf("sign in as %s: %v, %v", login, outcome.Result, err)
	}
	return p
}

// eventually waits until ok holds.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func TestSlapdKeepsThePromises(t *testing.T) {
	s := testpeer.Slapd(t)
	s.Add(directorytest.OddPeople(s.PeopleDN, s.GroupsDN))
	for name, change := range map[string]func(*directory.Config){
		"in clear":  func(*directory.Config) {},
		"StartTLS":  func(c *directory.Config) { c.StartTLS, c.CAFile = true, s.CAFile },
		"LDAPS":     func(c *directory.Config) { c.URLs, c.CAFile = []string{s.TLSURL}, s.CAFile },
		"memberOf":  func(c *directory.Config) { c.Groups = "memberof" },
		"member":    func(c *directory.Config) { c.Groups = "member" },
		"nested":    func(c *directory.Config) { c.NestedGroups = true },
		"one conn":  func(c *directory.Config) { c.PoolSize = 1 },
		"no memory": func(c *directory.Config) { c.Remember = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := academy(s)
			change(&c)
			directorytest.Run(t, open(t, c))
		})
	}
}

func TestAServerThatCannotProveItsNameIsRefused(t *testing.T) {
	s, other := testpeer.Slapd(t), testpeer.Slapd(t)
	port := strings.TrimPrefix(s.TLSURL, "ldaps://127.0.0.1")
	plain := strings.TrimPrefix(s.URL, "ldap://127.0.0.1")
	for name, test := range map[string]struct {
		url      string
		startTLS bool
		ca       string
		good     bool
	}{
		"LDAPS, its authority":              {"ldaps://localhost" + port, false, s.CAFile, true},
		"LDAPS, another authority":          {"ldaps://localhost" + port, false, other.CAFile, false},
		"LDAPS, the system's authorities":   {"ldaps://localhost" + port, false, "", false},
		"LDAPS, another host":               {"ldaps://127.0.0.2" + port, false, s.CAFile, false},
		"StartTLS, its authority":           {"ldap://localhost" + plain, true, s.CAFile, true},
		"StartTLS, another authority":       {"ldap://localhost" + plain, true, other.CAFile, false},
		"StartTLS, another host":            {"ldap://127.0.0.2" + plain, true, s.CAFile, false},
		"LDAPS where there is no TLS":       {"ldaps://localhost" + plain, false, s.CAFile, false},
		"StartTLS where TLS is under way":   {"ldap://localhost" + port, true, s.CAFile, false},
		"in clear where only TLS is spoken": {"ldap://localhost" + port, false, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := academy(s)
			c.URLs, c.StartTLS, c.CAFile = []string{test.url}, test.startTLS, test.ca
			_, outcome, err := open(t, c).Authenticate(t.Context(), "mdupont", testpeer.Password)
			if test.good != outcome.OK() || test.good != (err == nil) {
				t.Errorf("%v, %v", outcome.Result, err)
			}
			if err != nil && !errors.Is(err, directory.ErrDown) {
				t.Errorf("%v is not ErrDown", err)
			}
		})
	}
}

func TestAMemoryOfAPersonIsShortAndAskedOnce(t *testing.T) {
	s := testpeer.Slapd(t)
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	c := academy(s)
	d, err := directory.Open(c, func() time.Time { return time.Unix(0, now.Load()) })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	id := mustSignIn(t, d, "mdupont").ID
	helps := func() bool {
		p, err := d.ByID(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(p.Groups, " "), "helpdesk")
	}
	s.Modify("dn: cn=helpdesk," + s.GroupsDN + "\nchangetype: modify\nreplace: member\nmember: uid=ssmith," + s.PeopleDN + "\n")
	now.Add(int64(59 * time.Second))
	if !helps() {
		t.Error("forgotten before its time")
	}
	now.Add(int64(2 * time.Second))
	if helps() {
		t.Error("remembered for more than 60 s")
	}
	s.Modify("dn: cn=helpdesk," + s.GroupsDN + "\nchangetype: modify\nadd: member\nmember: uid=mdupont," + s.PeopleDN + "\n")
	if helps() {
		t.Error("the memory was not used")
	}
	mustSignIn(t, d, "mdupont")
	if !helps() {
		t.Error("a sign-in did not refresh the memory")
	}
	s.Modify("dn: uid=mdupont," + s.PeopleDN + "\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n")
	if _, outcome, err := d.Authenticate(t.Context(), "mdupont", testpeer.Password); err != nil || outcome.Result != directory.Disabled {
		t.Errorf("a closed account: %v, %v", outcome.Result, err)
	}
	if p, err := d.ByID(t.Context(), id); err != nil || !p.Disabled {
		t.Errorf("a sign-in saw that the account is closed, and the memory did not: %v", err)
	}
	s.Modify("dn: uid=mdupont," + s.PeopleDN + "\nchangetype: delete\n")
	now.Add(int64(61 * time.Second))
	if _, err := d.ByID(t.Context(), id); !errors.Is(err, directory.ErrUnknown) {
		t.Errorf("after the person has gone: %v", err)
	}
	s.Stop()
	id = "00000000-0000-4000-8000-000000000000"
	if _, err := d.ByID(t.Context(), id); !errors.Is(err, directory.ErrDown) {
		t.Errorf("without a server: %v", err)
	}
}

func TestAWrongSettingIsSaidInPlainWords(t *testing.T) {
	s := testpeer.Slapd(t)
	for name, test := range map[string]struct {
		change func(*directory.Config)
		says   string
	}{
		"a wrong password of the service account": {func(c *directory.Config) { c.BindPassword = "faux" }, "the account " + s.ServiceDN + " is refused"},
		"a people base that does not exist":       {func(c *directory.Config) { c.PeopleBase = "ou=rien," + s.BaseDN }, `search below "ou=rien,` + s.BaseDN + `"`},
		"an identifier nobody has":                {func(c *directory.Config) { c.Attributes.ID = "employeeNumber" }, "has no employeeNumber"},
		"nobody listening":                        {func(c *directory.Config) { c.URLs = []string{"ldap://127.0.0.1:1"} }, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c := academy(s)
			test.change(&c)
			_, _, err := open(t, c).Authenticate(t.Context(), "mdupont", testpeer.Password)
			if !errors.Is(err, directory.ErrDown) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v does not say %q", err, test.says)
			}
		})
	}
}

func TestCheckTriesTheReserveToo(t *testing.T) {
	s, other := testpeer.Slapd(t), testpeer.Slapd(t)
	c := academy(s)
	c.URLs, c.CAFile = []string{s.URL, "ldap://127.0.0.1:1", other.TLSURL}, s.CAFile
	findings := open(t, c).Check(t.Context())
	if len(findings) != 3 || findings[0].Err != nil || findings[0].Took <= 0 {
		t.Fatalf("%+v", findings)
	}
	for i, says := range map[int]string{1: "connection refused", 2: "certificate"} {
		if err := findings[i].Err; err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", findings[i].Server, err, says)
		}
	}
	for name, test := range map[string]struct {
		change func(*directory.Config)
		says   string
	}{
		"nobody matches": {func(c *directory.Config) { c.PeopleFilter = "(objectClass=supannPerson)" }, "matches (objectClass=supannPerson)"},
		"no identifier":  {func(c *directory.Config) { c.Attributes.ID = "employeeNumber" }, "has no employeeNumber"},
		"a wrong base":   {func(c *directory.Config) { c.PeopleBase = "ou=rien," + s.BaseDN }, "ou=rien"},
		"a wrong secret": {func(c *directory.Config) { c.BindPassword = "faux" }, "is refused"},
	} {
		c := academy(s)
		test.change(&c)
		if err := open(t, c).Check(t.Context())[0].Err; err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v does not say %q", name, err, test.says)
		}
	}
}

func TestARefusedServiceAccountIsNotTriedAgainAndAgain(t *testing.T) {
	s := testpeer.Slapd(t)
	c := academy(s)
	c.BindPassword = "faux"
	d := open(t, c)
	for range 100 {
		if _, _, err := d.Authenticate(t.Context(), "mdupont", testpeer.Password); !errors.Is(err, directory.ErrDown) {
			t.Fatal(err)
		}
	}
	// The policy of the test academy locks after ten.
	c.BindPassword = secret.String(s.ServicePassword)
	mustSignIn(t, open(t, c), "mdupont")
}

func TestAPasswordFileLosesOnlyItsNewline(t *testing.T) {
	s := testpeer.Slapd(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(s.ServicePassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := academy(s)
	c.BindPassword, c.BindPasswordFile = "", file
	mustSignIn(t, open(t, c), "mdupont")
}

func TestAnUnknownLoginTakesAsLongAsAWrongPassword(t *testing.T) {
	s := testpeer.Slapd(t)
	d := open(t, academy(s))
	s.Modify("dn: cn=default,ou=policies," + s.BaseDN + "\nchangetype: modify\nreplace: pwdLockout\npwdLockout: FALSE\n")
	try := func(login string) time.Duration {
		began := time.Now()
		if _, outcome, err := d.Authenticate(t.Context(), login, "faux"); err != nil || outcome.OK() {
			t.Fatal(outcome.Result, err)
		}
		return time.Since(began)
	}
	// By turns and at their best, so that what else the machine does weighs on both.
	var known, unknown time.Duration
	for range 5 {
		known, unknown = time.Hour, time.Hour
		for range 60 {
			known, unknown = min(known, try("mdupont")), min(unknown, try("personne.inconnue"))
		}
		if unknown >= known/2 && unknown <= 3*known {
			return
		}
	}
	t.Errorf("a wrong password takes %s, an unknown login %s", known, unknown)
}

// BenchmarkSignIn is one sign-in at slapd: search, bind, search of groups.
func BenchmarkSignIn(b *testing.B) {
	s := testpeer.Slapd(b)
	for _, how := range []string{"memberof", "both"} {
		b.Run(how, func(b *testing.B) {
			c := academy(s)
			c.Groups = how
			d := open(b, c)
			b.ReportAllocs()
			for b.Loop() {
				if _, outcome, err := d.Authenticate(b.Context(), "mdupont", testpeer.Password); err != nil || !outcome.OK() {
					b.Fatal(outcome.Result, err)
				}
			}
		})
	}
}
