// Package conformance plays the OpenID Foundation's certification suite against the real binary, over HTTPS, on both
// databases: one subtest per module, under the Foundation's own names, nested as TestConformance/DATABASE/PLAN/MODULE. A module
// checks what its namesake in the suite checks; where the suite would end with a warning, the better behaviour is asserted;
// where it would skip because something is not offered, the refusal is asserted. Nothing is skipped.
//
// docs/conformance.md says what passes, what is refused, what does not apply, and how to run the suite itself.
//
//	go test ./e2e/conformance -run 'TestConformance/sqlite/oidcc-basic-certification-test-plan/oidcc-server$'
package conformance

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// provider is one running Beffroi on one database, with the relying party that plays the suite against it.
type provider struct {
	*rig.Beffroi
	party  *party
	person *visitor.Person
	places chan struct{} // how many modules work at a time; whoever waits gives its place back
}

// module is one run of one module of a plan.
type module struct {
	*testing.T
	*provider
	plan    plan
	browser *visitor.Visitor // its own, without cookies at the start
	shown   []string         // what the provider asked on the way: "password", "consent"
}

// busy is how many modules work at a time: two cores are busy with fewer than this.
const busy = 8

func TestConformance(t *testing.T) {
	if names := untested(plans); len(names) > 0 {
		t.Fatalf("modules without a test: %v", names)
	}
	certificate := testpeer.MakeCertificate(t)
	if err := visitor.Trust(certificate.CAFile); err != nil {
		t.Fatal(err)
	}
	slapd := testpeer.Slapd(t)
	slapd.Modify("dn: uid=mdupont,ou=people,dc=academie,dc=test\nchangetype: modify\nadd: telephoneNumber\ntelephoneNumber: +33 3 20 00 00 00\n")
	databases := map[string]string{
		"sqlite":     "sqlite:" + filepath.Join(testpeer.Dir(t), "beffroi.db"),
		"postgresql": testpeer.StartPostgres(t, testpeer.PostgresOptions{}).Database(),
	}
	sideBySide(t, []string{"sqlite", "postgresql"}, func(t *testing.T, database string) {
		p := start(t, certificate, slapd, databases[database])
		names := make([]string, 0, len(plans))
		for _, plan := range plans {
			names = append(names, plan.name)
		}
		sideBySide(t, names, func(t *testing.T, name string) {
			plan := planOf(name)
			sideBySide(t, plan.modules, func(t *testing.T, name string) {
				p.places <- struct{}{}
				defer func() { <-p.places }()
				run := modules[name]
				run(&module{T: t, provider: p, plan: plan, browser: visitor.New()})
			})
		})
	})
}

// sideBySide runs subtests at the same time, however few cores there are: some wait half a minute.
func sideBySide(t *testing.T, names []string, f func(t *testing.T, name string)) {
	t.Helper()
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() { t.Run(name, func(t *testing.T) { f(t, name) }) })
	}
	all.Wait()
}

// start runs a Beffroi with the suite's applications.
func start(t *testing.T, certificate testpeer.Certificate, slapd *testpeer.SlapdServer, database string) *provider {
	t.Helper()
	party := newParty(t, certificate)
	parts := &rig.Parts{Database: database, Slapd: slapd, TLS: &certificate, Assurance: 1, Apps: party.applications(), Settings: settings}
	party.issuer = parts.Ports(t)
	return &provider{
		Beffroi: rig.Serve(t, parts), party: party, places: make(chan struct{}, busy),
		person: &visitor.Person{Login: "mdupont", Password: testpeer.Password},
	}
}

// rest waits as the suite does, without keeping others from working.
func (m *module) rest(d time.Duration) {
	<-m.places
	time.Sleep(d)
	m.places <- struct{}{}
}

// settings of the provider for the run: the Dynamic plan's applications register themselves, and send no PKCE.
const settings = "  registration:\n    mode: open\n    pkce_waived: true\n"
