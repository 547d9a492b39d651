package signin

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
	"beffroi/mfa/mfatest"
)

func TestRuleAsksForWhatResistsPhishing(t *testing.T) {
	each(t, Config{Rules: []Rule{{Name: "direction", Groups: []string{"HELPDESK"}, Applications: []string{"strong"}, Assurance: 3}}}, func(t *testing.T, g *rig) {
		g.usePasskeys(mfa.PasskeyConfig{})
		g.enrol("id-mdupont")
		g.enrol("id-ssmith")
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "mdupont", rightPassword)
		// First a factor that she has, then the one that she lacks.
		want(t, page, "factor")
		page = b.code(page, "id-mdupont")
		if page.left != nil || !strings.Contains(page.body, `action="/signin/enrol/passkey?`) || strings.Contains(page.body, `action="/signin/enrol?`) {
			t.Fatalf("%s at %s", asks(page), page.path)
		}
		want(t, b.get("/begin?app=strong&prompt=none"), "error login_required") // nothing is kept of half a sign-in
		key := mfatest.New(t, passkeyOrigin)
		want(t, b.post("/signin/enrol/passkey?"+flowOf(page), "answer", key.Create(b.options(page))), "done id-mdupont 3")
		// It is asked of nobody else, and nowhere else.
		other := g.browser()
		want(t, other.code(other.password(other.get("/begin?app=strong"), "ssmith", rightPassword), "id-ssmith"), "done id-ssmith 2")
		b.post("/logout")
		want(t, b.password(b.get("/begin?app=weak"), "mdupont", rightPassword), "done id-mdupont 1")
	})
}

func TestRow16AFactorOfAnHourAgoMakesNoOther(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{})
	g.usePasskeys(mfa.PasskeyConfig{})
	g.enrol("id-mdupont")
	b := g.browser()
	want(t, b.code(b.password(b.get("/begin?app=strong"), "mdupont", rightPassword), "id-mdupont"), "done id-mdupont 2")
	g.advance(time.Hour)
	page := b.get("/begin?app=strong&level=3")
	want(t, page, "factor")
	key := mfatest.New(t, passkeyOrigin)
	if a := b.get("/signin/passkey?" + flowOf(page)); a.status == 200 {
		want(t, b.post("/signin/enrol/passkey?"+flowOf(page), "answer", key.Create([]byte(a.body))), "factor")
	}
	page = b.code(page, "id-mdupont")
	want(t, b.post("/signin/enrol/passkey?"+flowOf(page), "answer", key.Create(b.options(page))), "done id-mdupont 3")
}

func TestRuleMayBePutOffUntilItMayNot(t *testing.T) {
	each(t, Config{Rules: []Rule{{Name: "everybody", Assurance: 2, Grace: 48 * time.Hour, Deferrals: 2}}}, func(t *testing.T, g *rig) {
		sign := func() answer {
			b := g.browser()
			page := b.password(b.get("/begin?app=weak"), "ssmith", rightPassword)
			if !strings.Contains(page.body, `action="/signin/later?`) {
				return page
			}
			return b.post("/signin/later?" + flowOf(page))
		}
		want(t, sign(), "done id-ssmith 1")
		want(t, sign(), "done id-ssmith 1")
		want(t, sign(), "enrol") // twice was all
		if len(g.trail("signin.later")) != 2 {
			t.Error("what was put off is not in the trail")
		}
		// What the application itself asks is never put off.
		b := g.browser()
		page := b.password(b.get("/begin?app=strong"), "plefebvre", rightPassword)
		want(t, page, "enrol")
		want(t, b.post("/signin/later?"+flowOf(page)), "enrol")

		// By time.
		late := g.browser()
		page = late.password(late.get("/begin?app=weak"), "plefebvre", rightPassword)
		want(t, late.post("/signin/later?"+flowOf(page)), "done id-plefebvre 1")
		g.advance(49 * time.Hour)
		late = g.browser()
		page = late.password(late.get("/begin?app=weak"), "plefebvre", rightPassword)
		want(t, page, "enrol")
		want(t, late.post("/signin/later?"+flowOf(page)), "enrol")
		// Who has a factor is not offered to wait.
		g.enrol("id-mdupont")
		own := g.browser()
		want(t, own.password(own.get("/begin?app=weak"), "mdupont", rightPassword), "factor")
	})
}

func TestFirstFactorMayNeedAPass(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{Rules: []Rule{{Name: "direction", Groups: []string{"tous-personnels"}, PassFirst: true}}})
	b := g.browser()
	page := b.password(b.get("/begin?app=strong"), "ssmith", rightPassword)
	if page.status != 403 || !strings.Contains(page.body, "Ask for a pass first") {
		t.Fatalf("%s\n%s", asks(page), page.body)
	}
	code := g.pass("id-ssmith", mfa.PassOptions{EnrolOnly: true})
	page = b.get("/signin?" + flowOf(page))
	want(t, page, "factor")
	want(t, b.factor(page, "pass", code), "enrol")
}

// TestRow34EmptyAndConditionalRulesAskForNoLess: without rules, or when none fits,
// what the application asks stands.
func TestRow34EmptyAndConditionalRulesAskForNoLess(t *testing.T) {
	for name, list := range map[string][]Rule{
		"none":               nil,
		"for another group":  {{Name: "a", Groups: []string{"nobody"}, Assurance: 3}},
		"for another place":  {{Name: "a", From: []string{"school"}, Assurance: 3}, {Name: "b", Outside: []string{"world"}, Assurance: 3}},
		"for another tool":   {{Name: "a", Applications: []string{"other"}, Assurance: 3}},
		"all may be put off": {{Name: "a", Assurance: 2, Grace: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, dbtest.Open(t, "sqlite"), Config{Rules: list, Networks: map[string][]string{"school": {"10.0.0.0/8"}, "world": {"0.0.0.0/0", "::/0"}}})
			b := g.browser()
			want(t, b.get("/begin?app=strong"), "password")
			page := b.password(b.get("/begin?app=strong"), "ssmith", rightPassword)
			want(t, page, "enrol")
			want(t, b.post("/signin/later?"+flowOf(page)), "enrol")
		})
	}
}

func TestRulesFitByNetwork(t *testing.T) {
	r := newRules(Config{Networks: map[string][]string{"schools": {"10.59.0.0/16", "2001:db8::/32"}}, Rules: []Rule{{Name: "outside", Outside: []string{"schools"}}, {Name: "inside", From: []string{"schools"}}}})
	for text, rule := range map[string]string{"10.59.1.2": "inside", "::ffff:10.59.1.2": "inside", "10.60.0.1": "outside", "2001:db8::1": "inside", "2001:db9::1": "outside"} {
		if got := r.fit(directory.Person{}, "x", netip.MustParseAddr(text)); len(got) != 1 || got[0].Name != rule {
			t.Errorf("%s: %v", text, got)
		}
	}
	if got := r.fit(directory.Person{}, "x", netip.Addr{}); len(got) != 1 || got[0].Name != "outside" {
		t.Errorf("no address: %v", got)
	}
}

func TestRulesThatShareNothingLetNothingPass(t *testing.T) {
	need := Requirement{Level: TwoFactors, Methods: []mfa.Method{mfa.TOTP}}.and(Requirement{Methods: []mfa.Method{mfa.Key}})
	if need.accepts(mfa.TOTP) || need.accepts(mfa.Key) || len(need.Methods) == 0 {
		t.Errorf("%v", need.Methods)
	}
}

func TestMistakesInRulesAreNamed(t *testing.T) {
	c := Config{Trust: -1, Networks: map[string][]string{"a": {"10.0.0.0/8", "x"}, "b": nil}, Rules: []Rule{
		{}, {Name: "a", Assurance: 1}, {Name: "a", Assurance: 2, From: []string{"c"}, Methods: []string{"sms"}, Models: []string{"0"}, Grace: -1, Deferrals: -1, Trust: time.Hour, NoTrust: true, Groups: []string{" "}},
		{Name: "nothing to put off", NoTrust: true, Grace: time.Hour},
	}}
	var text []string
	for _, err := range c.Validate() {
		text = append(text, err.Error())
	}
	all := strings.Join(text, "\n")
	for _, part := range []string{"signin.trust", `"x" of a`, `"b" names no`, "rules[0].name", "rules[0]: asks for nothing", "rules[1].assurance", `rules[2].name: "a" stands twice`, `rules[2].from: "c"`, "rules[2].methods", "rules[2].models", "rules[2].grace", "rules[2].deferrals", "rules[2].trust", "rules[2]: holds an empty name", "rules[3].grace"} {
		if !strings.Contains(all, part) {
			t.Errorf("no word of %q in\n%s", part, all)
		}
	}
	if errs := (Config{Networks: map[string][]string{"schools": {"10.0.0.0/8"}}, Rules: []Rule{{Name: "a", Outside: []string{"schools"}, Assurance: 2}}}).Validate(); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestPeopleWhoAreGoneMeetNoRuleThatForgivesThem(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), Config{Rules: []Rule{{Name: "a", Groups: []string{"helpdesk"}, Assurance: 2}}})
	b := g.browser()
	page := b.get("/begin?app=weak")
	g.people.onByID = func() {
		g.people.mu.Lock()
		delete(g.people.persons, "id-mdupont")
		g.people.mu.Unlock()
	}
	if a := b.password(page, "mdupont", rightPassword); a.left != nil && a.left.Query().Get("level") == "2" {
		t.Errorf("%s", asks(a))
	}
}
