package signin

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
)

func TestRefusedApplicationSaysWhy(t *testing.T) {
	each(t, Config{HelpdeskContact: "03 20 00 00 00", GroupNames: map[string]map[string]string{"chefs-etablissement": {"fr": "chefs d’établissement"}}}, func(t *testing.T, g *rig) {
		b := g.browser()
		refused := b.password(b.get("/begin?app=direction"), "plefebvre", rightPassword)
		if refused.status != http.StatusForbidden || refused.left != nil {
			t.Fatalf("%s", asks(refused))
		}
		for _, part := range []string{"chefs d’établissement", "Pilotage", "plefebvre", "&lt;script&gt;", `href="tel:0320000000"`, "/signin/switch?flow="} {
			if !strings.Contains(refused.body, part) {
				t.Errorf("the page lacks %q", part)
			}
		}
		if rows := g.trail("signin.gate"); len(rows) != 1 || rows[0].Detail["reason"] != NotInGroup || rows[0].Target != "id-plefebvre" {
			t.Errorf("audit %+v", rows)
		}
		// Signed in all the same, and refused again at once.
		want(t, b.get("/begin?app=weak"), "done id-plefebvre 1")
		again := b.get("/begin?app=direction")
		if again.status != http.StatusForbidden || !strings.Contains(again.body, "/signin/switch?flow=") {
			t.Fatalf("%s", asks(again))
		}
		// Another account, without going back to the application.
		g.people.change("id-mdupont", func(p *directory.Person) { p.Groups = []string{"Chefs-Etablissement"} })
		_, rest, _ := strings.Cut(again.body, `action="/signin/switch?`)
		flow, _, _ := strings.Cut(rest, `"`)
		page := b.post("/signin/switch?" + flow)
		want(t, page, "password")
		want(t, b.password(page, "mdupont", rightPassword), "done id-mdupont 1")
	})
}

func TestGateAdmitsOnlyWhoMayEnterNow(t *testing.T) {
	each(t, Config{}, func(t *testing.T, g *rig) {
		ctx := context.Background()
		gate, open := g.service.Gate(), Application{ID: "open"}
		heads := Application{ID: "heads", Policy: Policy{Groups: []string{"chefs-etablissement", "helpdesk"}}}
		b := g.browser()
		sid := b.password(b.get("/begin?app=weak"), "mdupont", rightPassword).left.Query().Get("sid")

		check := func(name, person string, app Application, sid, reason string) {
			t.Helper()
			got, err := gate.Admit(ctx, person, app, sid)
			if reason == "" {
				if err != nil || got.ID != person {
					t.Errorf("%s: %v %v", name, got.ID, err)
				}
				return
			}
			if no := Refused(err); no == nil || no.Reason != reason {
				t.Errorf("%s: %v, want %s", name, err, reason)
			}
		}
		check("in the directory", "id-mdupont", open, "", "")
		check("with a session", "id-mdupont", open, sid, "")
		check("in one of the groups", "id-mdupont", heads, sid, "")
		check("in none of the groups", "id-ssmith", heads, "", NotInGroup)
		check("a group without a name admits nobody", "id-ssmith", Application{Policy: Policy{Groups: []string{""}}}, "", NotInGroup)
		check("disabled", "id-gone", open, "", Disabled)
		check("unknown", "id-nobody", open, "", Gone)
		check("nobody", "", open, "", Gone)
		check("another person's session", "id-ssmith", open, sid, SessionEnded)
		check("no such session", "id-mdupont", open, "0123456789012345678901", SessionEnded)

		g.people.change("id-mdupont", func(p *directory.Person) { p.Groups = nil })
		check("left the group", "id-mdupont", heads, sid, NotInGroup)
		g.people.down.Store(true)
		if _, err := gate.Admit(ctx, "id-mdupont", open, ""); err == nil || Refused(err) != nil {
			t.Errorf("with the directory down: %v", err)
		}
		g.people.down.Store(false)

		proven := g.now()
		if _, err := gate.AdmitOffline(ctx, "id-mdupont", open, proven); err != nil {
			t.Errorf("offline: %v", err)
		}
		g.advance(time.Second)
		if err := g.service.SignOutEverywhere(ctx, audit.Operator("test"), "id-mdupont"); err != nil {
			t.Fatal(err)
		}
		check("signed out everywhere", "id-mdupont", open, sid, SessionEnded)
		if _, err := gate.AdmitOffline(ctx, "id-mdupont", open, proven); Refused(err) == nil {
			t.Errorf("offline, proven before the sign-out everywhere: %v", err)
		}
		g.advance(time.Second)
		if _, err := gate.AdmitOffline(ctx, "id-mdupont", open, g.now()); err != nil {
			t.Errorf("offline, proven after it: %v", err)
		}
		g.advance(13 * time.Hour)
		check("expired", "id-mdupont", open, sid, SessionEnded)
	})
}
