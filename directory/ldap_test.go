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
	if err := syscall.Kill(s.PID(), signal); err != nil {
		t.Fatal(err)
	}
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

func TestThePasswordPolicyIsUnderstood(t *testing.T) {
	s := testpeer.Slapd(t)
	c := academy(s)
	c.LockoutDuration = 5 * time.Minute // as the policy of the test academy
	d := open(t, c)
	try := func(login, password string) directory.Outcome {
		t.Helper()
		_, outcome, err := d.Authenticate(t.Context(), login, password)
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	dn := "uid=plefebvre," + s.PeopleDN

	s.Modify("dn: " + dn + "\nchangetype: modify\nreplace: pwdReset\npwdReset: TRUE\n")
	if o := try("plefebvre", testpeer.Password); o.Result != directory.MustChange || !o.Proven || o.OK() {
		t.Errorf("to be changed: %+v", o)
	}
	if o := try("plefebvre", "faux"); o.Result != directory.Wrong || o.Proven {
		t.Errorf("to be changed, wrong password: %+v", o)
	}
	s.Modify("dn: " + dn + "\nchangetype: modify\ndelete: pwdReset\n")
	mustSignIn(t, d, "plefebvre")

	for range 10 {
		try("plefebvre", "faux")
	}
	try("plefebvre", testpeer.Password) // the search before it sees when the lock began
	o := try("plefebvre", testpeer.Password)
	if o.Result != directory.Locked || o.Proven || o.OK() {
		t.Fatalf("after ten wrong ones: %+v", o)
	}
	if left := time.Until(o.Until); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("locked until %v", o.Until)
	}
	p, err := d.ByLogin(t.Context(), "plefebvre")
	if err != nil || p.Disabled {
		t.Errorf("a lock that passes closes no account: %+v, %v", p, err)
	}
	s.Modify("dn: " + dn + "\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n")
	if o := try("plefebvre", testpeer.Password); o.Result != directory.Disabled || o.OK() {
		t.Errorf("locked for good: %+v", o)
	}
	if p, _ := d.ByLogin(t.Context(), "plefebvre"); !p.Disabled {
		t.Error("locked for good and not disabled")
	}
	if found, _ := d.Search(t.Context(), directory.Query{Text: "lefebvre paul"}); len(found) != 0 {
		t.Errorf("a closed account is found: %+v", found)
	}
}

func TestAnExpiredPasswordHasAFewSignInsLeft(t *testing.T) {
	s := testpeer.Slapd(t)
	policy := "dn: cn=default,ou=policies," + s.BaseDN + "\nchangetype: modify\nreplace: pwdMaxAge\npwdMaxAge: %s\n"
	// changing the password makes the server note when
	s.Modify("dn: uid=ssmith," + s.PeopleDN + "\nchangetype: modify\nreplace: userPassword\nuserPassword: Nouveau-2026!\n")
	s.Modify("dn: uid=ssmith," + s.PeopleDN + "\nchangetype: modify\ndelete: pwdReset\n")
	d := open(t, academy(s))
	try := func() directory.Outcome {
		_, outcome, err := d.Authenticate(t.Context(), "ssmith", "Nouveau-2026!")
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	s.Modify(fmt.Sprintf(policy, "86400"))
	if o := try(); !o.OK() || o.ExpiresIn <= 0 || o.ExpiresIn > 24*time.Hour {
		t.Errorf("soon to expire: %+v", o)
	}
	s.Modify(fmt.Sprintf(policy, "1"))
	time.Sleep(2100 * time.Millisecond) // the server counts whole seconds
	for i, want := range []directory.Result{directory.GraceLeft, directory.GraceLeft, directory.Expired} {
		o := try()
		if o.Result != want || !o.Proven || o.OK() != (want == directory.GraceLeft) {
			t.Errorf("sign-in %d after the end: %+v", i+1, o)
		}
		if want == directory.GraceLeft && o.Grace != 1-i {
			t.Errorf("sign-in %d after the end: %d left", i+1, o.Grace)
		}
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

func TestMoreGroupsThanTheServerGivesAtOnceAreAllRead(t *testing.T) {
	s := testpeer.Slapd(t)
	var text strings.Builder
	for i := range 520 { // the server's limit is 500
		fmt.Fprintf(&text, "dn: cn=projet-%03d,%s\nobjectClass: groupOfNames\ncn: projet-%03d\nmember: uid=ssmith,%s\n\n", i, s.GroupsDN, i, s.PeopleDN)
	}
	s.Add(text.String())
	for _, how := range []string{"member", "memberof", "both"} {
		c := academy(s)
		c.Groups = how
		if p := mustSignIn(t, open(t, c), "ssmith"); len(p.Groups) != 521 {
			t.Errorf("%s: %d groups of 521", how, len(p.Groups))
		}
	}
}

func TestNestedGroupsAreFollowedEvenInACircle(t *testing.T) {
	s := testpeer.Slapd(t)
	s.Add("dn: cn=encadrement," + s.GroupsDN + "\nobjectClass: groupOfNames\ncn: encadrement\nmember: cn=chefs-etablissement," + s.GroupsDN + "\n\n" +
		"dn: cn=cercle," + s.GroupsDN + "\nobjectClass: groupOfNames\ncn: cercle\nmember: cn=encadrement," + s.GroupsDN + "\n\n")
	s.Modify("dn: cn=chefs-etablissement," + s.GroupsDN + "\nchangetype: modify\nadd: member\nmember: cn=cercle," + s.GroupsDN + "\n")
	for _, how := range []string{"member", "memberof", "both"} {
		c := academy(s)
		c.Groups, c.NestedGroups = how, true
		p := mustSignIn(t, open(t, c), "jmartin")
		if got := strings.Join(p.Groups, " "); got != "cercle chefs-etablissement encadrement tous-personnels" {
			t.Errorf("%s: %s", how, got)
		}
	}
}

func TestAGroupOutsideTheGroupsCountsForNothing(t *testing.T) {
	s := testpeer.Slapd(t)
	s.Add("dn: cn=securite,ou=people," + s.BaseDN + "\nobjectClass: groupOfNames\ncn: securite\nmember: uid=ssmith," + s.PeopleDN + "\n\n")
	for _, how := range []string{"member", "memberof", "both"} {
		c := academy(s)
		c.Groups = how
		if p := mustSignIn(t, open(t, c), "ssmith"); strings.Join(p.Groups, " ") != "tous-personnels" {
			t.Errorf("%s: %v", how, p.Groups)
		}
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
	measure := func(login string) time.Duration {
		best := time.Hour
		for range 30 {
			began := time.Now()
			if _, outcome, err := d.Authenticate(t.Context(), login, "faux"); err != nil || outcome.OK() {
				t.Fatal(outcome.Result, err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	s.Modify("dn: cn=default,ou=policies," + s.BaseDN + "\nchangetype: modify\nreplace: pwdLockout\npwdLockout: FALSE\n")
	measure("mdupont")
	known, unknown := measure("mdupont"), measure("personne.inconnue")
	if unknown < known/2 || unknown > 3*known {
		t.Errorf("a wrong password takes %s, an unknown login %s", known, unknown)
	}
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
