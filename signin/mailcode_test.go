package signin

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"beffroi/internal/audit"
	"beffroi/internal/db/dbtest"
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
