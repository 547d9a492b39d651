package oidc

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/signin"
)

// connected returns the account page's part about one application, "" when it
// is not there.
func (v *visitor) connected(id string) string {
	v.w.t.Helper()
	page := v.get("/account/applications")
	v.w.must(page, 200)
	_, part, found := strings.Cut(page.body, `aria-labelledby="app-`+id+`"`)
	if !found {
		return ""
	}
	part, _, _ = strings.Cut(part, "</section>")
	return part
}

func TestConnectedApplicationsSayWhatEachMayDo(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		if page := v.get("/account/applications"); page.status != 200 || !strings.Contains(page.body, "Aucun outil") {
			t.Errorf("a code that nobody fetched is an access: %s", page.body)
		}
		_, id := v.question(v.authorize("tool", "scope", "openid email offline_access"))
		tokens := w.redeem("tool", v.answer(id, "allow").location().Get("code"))
		w.must(tokens, 200)
		w.must(w.redeem("other", v.authorize("other", "scope", "openid profile").location().Get("code")), 200)
		part := v.connected("tool")
		for _, say := range []string{"L’outil", "connaître votre adresse de messagerie", "garder cet accès quand vous n’êtes pas là", "Depuis le", "23/11/2026", "même quand vous n’êtes pas là", `value="tool"`} {
			if !strings.Contains(part, say) {
				t.Errorf("the part of the tool does not say %q: %s", say, part)
			}
		}
		if part := v.connected("other"); !strings.Contains(part, "connaître votre nom") || !strings.Contains(part, "tant que vous restez connecté") {
			t.Errorf("the other one: %s", part)
		}

		// Somebody else sees nothing of it.
		paul := w.visitor()
		paul.signIn(paul.authorize("heads"), "pmartin")
		if paul.connected("tool") != "" {
			t.Error("another person's application is shown")
		}

		// The one without offline_access ends with its day; what was allowed stays.
		w.clock.pass(25 * time.Hour)
		v.signIn(v.authorize("other", "scope", "openid"), "mdupont")
		if v.connected("other") != "" {
			t.Error("an access that has run out is shown")
		}
		w.clock.pass(31 * 24 * time.Hour) // unused for longer than a refresh token lives
		v.signIn(v.authorize("other", "scope", "openid"), "mdupont")
		if part := v.connected("tool"); !strings.Contains(part, "sans rien vous redemander") {
			t.Errorf("what is allowed and not used: %s", part)
		}
	})
}

func TestPersonTakesAnApplicationOut(t *testing.T) {
	consenting(t, ConsentOnce, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		get := func(scope string) answer {
			t.Helper()
			a := v.authorize("tool", "scope", scope)
			if a.location().Get("code") == "" {
				_, id := v.question(a)
				a = v.answer(id, "allow")
			}
			tokens := w.redeem("tool", a.location().Get("code"))
			w.must(tokens, 200)
			return tokens
		}
		online, offline := get("openid"), get("openid offline_access")
		kept := w.redeem("other", v.authorize("other", "scope", "openid").location().Get("code"))
		w.must(kept, 200)
		paul := w.visitor()
		_, id := paul.question(paul.signIn(paul.authorize("tool", "scope", "openid"), "pmartin"))
		his := w.redeem("tool", paul.answer(id, "allow").location().Get("code"))

		// Another site cannot press the button.
		r, _ := http.NewRequest(http.MethodPost, w.http.URL+"/account/applications", strings.NewReader("application=tool"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if a := v.do(r); a.status != http.StatusForbidden || !w.active("tool", offline.text("access_token")) {
			t.Errorf("another site: %d", a.status)
		}
		if a := v.post("/account/applications", url.Values{"application": {"nobody"}}); a.status != http.StatusNotFound {
			t.Errorf("an unknown application: %d", a.status)
		}
		if a := w.visitor().post("/account/applications", url.Values{"application": {"tool"}}); !asked(a) || !w.active("tool", offline.text("access_token")) {
			t.Errorf("nobody signed in: %d %s", a.status, a.header.Get("Location"))
		}

		a := v.post("/account/applications", url.Values{"application": {"tool"}})
		if a.status != http.StatusSeeOther || a.header.Get("Location") != "/account/applications?revoked=tool" {
			t.Fatalf("%d %s", a.status, a.header.Get("Location"))
		}
		if page := v.get(a.header.Get("Location")); !strings.Contains(page.body, "L’outil n’a plus accès") || v.connected("tool") != "" {
			t.Error("the page does not say it, or shows it still")
		}
		for _, gone := range []answer{online, offline} {
			w.inactive("tool", gone.text("access_token"))
			w.refusedWith(w.refresh("tool", gone.text("refresh_token")), "invalid_grant")
		}
		if !w.active("other", kept.text("access_token")) || !w.active("tool", his.text("access_token")) {
			t.Error("another application, or another person, lost its access")
		}
		v.question(v.authorize("tool", "scope", "openid")) // what was allowed is forgotten
		rows, err := w.audit.List(t.Context(), audit.Filter{Action: "oidc.disconnect"})
		if err != nil || len(rows) != 1 || rows[0].Actor != audit.Person(marie, "mdupont") || rows[0].Target != marie || rows[0].Application != "tool" {
			t.Errorf("%v %+v", err, rows)
		}
	})
}

func TestApplicationHearsThatItWasTakenOut(t *testing.T) {
	consenting(t, ConsentNever, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		l := w.listen()
		rp := w.hearing("rp", l)
		w.must(w.redeem(rp, v.authorize("rp", "scope", "openid offline_access").location().Get("code")), 200)
		v.post("/account/applications", url.Values{"application": {"other"}})
		w.deliverAll()
		if heard := l.tokens(); len(heard) != 0 {
			t.Errorf("heard of another application: %d", len(heard))
		}
		v.post("/account/applications", url.Values{"application": {"rp"}})
		w.deliverAll()
		heard := l.tokens()
		if len(heard) == 0 || w.logoutClaims("rp", heard[0])["sub"] != marie {
			t.Errorf("heard %d", len(heard))
		}
	})
}

func TestPersonIsToldOfATokenUsedTwice(t *testing.T) {
	consenting(t, ConsentNever, func(t *testing.T, w *world, _ *signin.Service, v *visitor) {
		stolen := w.redeem("tool", v.authorize("tool", "scope", "openid offline_access").location().Get("code"))
		w.must(stolen, 200)
		w.must(w.refresh("tool", stolen.text("refresh_token")), 200)
		w.clock.pass(time.Minute)
		for range 3 {
			w.refusedWith(w.refresh("tool", stolen.text("refresh_token")), "invalid_grant")
		}
		page := v.get("/account/applications")
		if n := strings.Count(page.body, "a fermé l’accès de L’outil : un jeton a servi deux fois"); n != 1 || !strings.Contains(page.body, "Le 23 novembre 2026 à 09:01") {
			t.Errorf("told %d times: %s", n, page.body)
		}
		rows, err := w.audit.About(t.Context(), marie, "oidc.refresh", w.clock.now().Add(-time.Hour), 10)
		if err != nil || len(rows) != 3 || rows[2].Target != marie || rows[2].Application != "tool" || rows[2].Actor != audit.Application("tool") {
			t.Errorf("the trail does not name both: %v %+v", err, rows)
		}
		paul := w.visitor()
		paul.signIn(paul.authorize("other"), "pmartin")
		if strings.Contains(paul.get("/account/applications").body, "deux fois") {
			t.Error("somebody else is told")
		}
		w.clock.pass(closedShown)
		v.signIn(v.authorize("other"), "mdupont")
		if strings.Contains(v.get("/account/applications").body, "deux fois") {
			t.Error("still told a month later")
		}
	})
}

func TestConnectedApplicationsAskWhoIsThere(t *testing.T) {
	consenting(t, ConsentNever, func(t *testing.T, w *world, _ *signin.Service, _ *visitor) {
		v := w.visitor()
		if a := v.signIn(v.get("/account/applications"), "pmartin"); a.header.Get("Location") != "/account/applications" {
			t.Errorf("after signing in: %d %s", a.status, a.header.Get("Location"))
		}
	})
}
