package signin

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
)

var mailedCode = regexp.MustCompile(`\n    (\d{4}) (\d{4})\n`)

// mailed is the code of the last message.
func (n *told) mailed(t *testing.T) string {
	t.Helper()
	found := mailedCode.FindStringSubmatch(n.last(t).Body)
	if found == nil {
		t.Fatalf("no code in\n%s", n.last(t).Body)
	}
	return found[1] + found[2]
}

func TestRow24NobodyMarksAnAddressAsProven(t *testing.T) {
	ctx := context.Background()
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	news := &told{}
	g.service.teller = news
	g.enrol("id-mdupont")
	b := g.browser()
	want(t, b.code(b.password(b.get("/begin?app=strong"), "mdupont", rightPassword), "id-mdupont"), "done id-mdupont 2")
	if a := b.post("/account/mail", "address", "m@academie.test"); a.status != 422 {
		t.Errorf("%d", a.status)
	}
	b.post("/account/mail", "address", "marie@gmail.com", "verified", "1", "confirmed", "true", "code", "00000000", "person", "id-ssmith", "factor", "x", "purpose", "signin")
	for _, id := range []string{"id-mdupont", "id-ssmith"} {
		if at, err := g.mfa.MailAddress(ctx, id); at != "" || err != nil {
			t.Errorf("%s: %q, %v", id, at, err)
		}
	}
	code := news.mailed(t)
	b.post("/account/mail/confirm", "code", "wrong", "address", "thief@evil.test", "verified", "1")
	if at, _ := g.mfa.MailAddress(ctx, "id-mdupont"); at != "" {
		t.Errorf("%q", at)
	}
	b.post("/account/mail/confirm", "code", code, "address", "thief@evil.test", "person", "id-ssmith")
	if at, _ := g.mfa.MailAddress(ctx, "id-mdupont"); at != "marie@gmail.com" {
		t.Errorf("%q", at)
	}
	// The address then signs in, by a code of this attempt only.
	other := g.browser()
	page := other.password(other.get("/begin?app=strong"), "mdupont", rightPassword)
	if a := other.get("/signin/factor?" + flowOf(page) + "&by=mail"); !strings.Contains(a.body, "m•••@g•••.com") || !strings.Contains(a.body, `action="/signin/mailcode?`) {
		t.Errorf("%s", a.body)
	}
	other.post("/signin/mailcode?" + flowOf(page))
	code = news.mailed(t)
	third := g.browser()
	its := third.password(third.get("/begin?app=strong"), "mdupont", rightPassword)
	if a := third.factor(its, "mail", code); a.left != nil || a.status != 422 {
		t.Errorf("a code of another attempt: %d", a.status)
	}
	want(t, other.factor(page, "mail", code), "done id-mdupont 2")
	// The desk's codes are the helper's who had them sent.
	desk, helper := g.service.DeskCodes(), audit.Person("id-ssmith", "ssmith")
	if where, err := desk.SendCode(ctx, helper, "id-mdupont"); err != nil || where != "m•••@g•••.com" {
		t.Fatalf("%q, %v", where, err)
	}
	code = news.mailed(t)
	if desk.CheckCode(ctx, audit.Person("id-plefebvre", "x"), "id-mdupont", code) == nil || desk.CheckCode(ctx, helper, "id-mdupont", code) != nil || desk.CheckCode(ctx, helper, "id-mdupont", code) == nil {
		t.Error("the desk's code")
	}
}

// TestTheAddressOutsideHearsOfChangesToo: who has the password reads the mailbox
// here, and could remove the message.
func TestTheAddressOutsideHearsOfChangesToo(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		ctx := context.Background()
		news := &told{}
		g.service.teller = news
		g.enrol("id-mdupont")
		b := g.browser()
		want(t, b.code(b.password(b.get("/begin?app=strong"), "mdupont", rightPassword), "id-mdupont"), "done id-mdupont 2")
		// to says who was told since the last look.
		to := func() string {
			news.mu.Lock()
			defer news.mu.Unlock()
			var all []string
			for _, m := range news.all {
				if !strings.Contains(m.Body, "/account/notme?token=") {
					continue // a code
				}
				all = append(all, m.To)
			}
			news.all = nil
			return strings.Join(all, " ")
		}
		add := func(address string) {
			t.Helper()
			b.post("/account/mail", "address", address)
			b.post("/account/mail/confirm", "code", news.mailed(t))
			if at, err := g.mfa.MailAddress(ctx, "id-mdupont"); at != address || err != nil {
				t.Fatalf("%q, %v", at, err)
			}
		}
		const here = "marie.dupont@academie.test"
		to()
		for _, step := range []struct {
			what string
			do   func() error
			told string
		}{
			{"a first address", func() error { add("marie@gmail.com"); return nil }, here},
			{"another in its place", func() error { add("md@laposte.net"); return nil }, here + " marie@gmail.com"},
			{"recovery codes", func() error {
				_, err := g.mfa.NewRecoveryCodes(ctx, audit.Person("id-mdupont", "mdupont"), "id-mdupont")
				return err
			}, here + " md@laposte.net"},
			{"a lock", func() error { return g.service.Lock(ctx, audit.Operator("o"), "id-mdupont", "stolen") }, here + " md@laposte.net"},
			{"its end", func() error { return g.service.Open(ctx, audit.Operator("o"), "id-mdupont", "seen") }, here + " md@laposte.net"},
			{"the address removed", func() error {
				all, err := g.mfa.Factors(ctx, "id-mdupont")
				for _, f := range all {
					if f.Kind == mfa.Mail {
						_, err = g.mfa.Remove(ctx, audit.Person("id-mdupont", "mdupont"), "id-mdupont", f.ID, "")
					}
				}
				return err
			}, here + " md@laposte.net"},
			{"a reset", func() error { _, err := g.mfa.Reset(ctx, audit.Operator("o"), "id-mdupont", "lost"); return err }, here},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			if got := to(); got != step.told {
				t.Errorf("%s was told to %q, want %q", step.what, got, step.told)
			}
		}
	})
}
