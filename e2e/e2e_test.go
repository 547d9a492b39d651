// Package e2e holds the journeys of people and applications through the real binary: over HTTP as the demo and beside real
// servers, in a real browser, and through crashes. It knows the product by its addresses, its pages and its commands only.
//
// What a journey needs stands in visitor (a browser without script, an application), in rig (the binary and its servers) and
// in internal/testpeer. screens takes pictures of every page, bench measures what each operation costs.
package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
)

// everything is the scope that the sample applications may ask without consent.
const everything = "openid profile email groups offline_access"

const (
	oneFactor  = "https://refeds.org/profile/sfa"
	twoFactors = "https://refeds.org/profile/mfa"
)

// world is a running Beffroi and the people who use it, each with the telephone that they hold all through the tests.
type world struct {
	*rig.Beffroi
	people map[string]*visitor.Person
	// demoApp and headApp are the sample applications: for all staff, and for heads of school.
	demoApp, headApp *visitor.Application

	mu       sync.Mutex
	browsers map[string]*shared // see browser
}

// shared is the browser of one person that several journeys use.
type shared struct {
	mu      sync.Mutex
	visitor *visitor.Visitor
}

// newWorld knows the sample people; those named in enrolled have the demo's secret on their telephone, the others enrol.
func newWorld(t *testing.T, b *rig.Beffroi, enrolled ...string) *world {
	t.Helper()
	w := &world{Beffroi: b, people: map[string]*visitor.Person{}, browsers: map[string]*shared{}}
	for _, login := range []string{"mdupont", "jmartin", "ssmith", "plefebvre", "lwattrelos", "aadmin", "xpartenaire"} {
		p := &visitor.Person{Login: login, Password: "Beffroi-59!"}
		if slices.Contains(enrolled, login) {
			phone, err := visitor.NewAuthenticator(rig.DemoTOTPSecret)
			if err != nil {
				t.Fatal(err)
			}
			p.Phone = phone
		}
		w.people[login] = p
	}
	// RFC 8252 §7.3: an application on the person's own machine takes whatever port is free
	w.demoApp = &visitor.Application{Issuer: b.Provider, ID: "demo-tool", Secret: "demo-tool-secret", RedirectURI: "http://127.0.0.1:49152/callback"}
	w.headApp = &visitor.Application{Issuer: b.Provider, ID: "direction-tool", Secret: "direction-tool-secret", RedirectURI: "http://127.0.0.1:49153/callback"}
	return w
}

// journey bounds one test: whatever hangs, fails.
func journey(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// enter signs somebody in with a browser at an application and fails the test unless that works.
func (w *world) enter(t *testing.T, ctx context.Context, v *visitor.Visitor, a *visitor.Application, login string) (*visitor.Tokens, *visitor.Claims) {
	t.Helper()
	tokens, claims, page, err := v.Enter(ctx, a, w.people[login], everything)
	if err != nil {
		t.Fatalf("%s at %s: %v", login, a.ID, err)
	}
	if tokens == nil {
		t.Fatalf("%s at %s is not let in: %s", login, a.ID, page)
	}
	return tokens, claims
}

// browser is the one that a person keeps open all day, signed in at the provider and the portal. The journeys that do not test
// signing in share it: a one-time code is good once, and the next one comes after half a minute.
func (w *world) browser(t *testing.T, ctx context.Context, login string) *visitor.Visitor {
	t.Helper()
	w.mu.Lock()
	b := w.browsers[login]
	if b == nil {
		b = &shared{}
		w.browsers[login] = b
	}
	w.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.visitor == nil {
		v := visitor.New()
		w.portal(t, ctx, v, login, "/")
		b.visitor = v
	}
	return b.visitor
}

// forget closes a person's shared browser: its session has been ended.
func (w *world) forget(login string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.browsers, login)
}

// auditRow is a line of the audit trail as "beffroi audit list -json" prints it.
type auditRow struct {
	Action, Outcome, Application, Address string
	Detail                                map[string]string
	Actor                                 struct{ Kind, ID, Name string }
	At                                    time.Time
}

// refusals counts the refusals of an action in the audit trail; want are "key=value" of its detail.
func (w *world) refusals(t *testing.T, action string, want ...string) int {
	t.Helper()
	n := 0
	for _, row := range w.audit(t) {
		if row.Action != action || row.Outcome != "refused" {
			continue
		}
		all := true
		for _, pair := range want {
			key, value, _ := strings.Cut(pair, "=")
			all = all && row.Detail[key] == value
		}
		if all {
			n++
		}
	}
	return n
}

func (w *world) audit(t *testing.T) []auditRow {
	t.Helper()
	out, err := w.Command("audit", "list", "-json", "-limit", "2000")
	if err != nil {
		t.Fatal(err)
	}
	var rows []auditRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("audit list -json: %v: %.300s", err, out)
	}
	return rows
}

// grows fails the test unless do leaves one more refusal of that kind in the audit trail.
func (w *world) grows(t *testing.T, action string, want []string, do func()) {
	t.Helper()
	before := w.refusals(t, action, want...)
	do()
	if after := w.refusals(t, action, want...); after <= before {
		t.Errorf("the audit trail has no new refusal %s %v", action, want)
	}
}
