package helpdesk

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa"
)

var wordsShown = regexp.MustCompile(`<span lang="fr">([a-z]+)</span>`)

func TestHelperResetsAfterTheThreeWords(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		caller := g.signed(sarah, true)
		desk := g.signed(marie, true)

		found := desk.get("/helpdesk/?q=smith")
		if !strings.Contains(found.body, `href="/helpdesk/id-ssmith"`) {
			t.Fatalf("%d %s", found.status, found.body)
		}
		page := desk.get("/helpdesk/id-ssmith")
		for _, part := range []string{"Sarah Smith", "Compte actif", "Connexion", "1 navigateur connecté", "Réinitialiser toutes les protections"} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the page lacks %q", part)
			}
		}
		if a := desk.post("/helpdesk/id-ssmith/reset", "reason", "téléphone perdu, ticket 4711"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Vérifiez d’abord") || !strings.Contains(a.body, "ticket 4711") {
			t.Errorf("without the words: %d", a.status)
		}
		words := wordsShown.FindAllStringSubmatch(caller.post("/account/phrase").body, -1)
		if len(words) != 3 {
			t.Fatal(words)
		}
		said := strings.ToUpper(words[0][1]) + ", " + words[1][1] + "  " + words[2][1]
		if a := desk.post("/helpdesk/id-ssmith/verify", "way", "phrase", "phrase", said); a.path != "/helpdesk/id-ssmith?done=verified" {
			t.Fatalf("%d at %s", a.status, a.path)
		}
		if a := desk.post("/helpdesk/id-ssmith/verify", "way", "phrase", "phrase", said); a.status != http.StatusUnprocessableEntity {
			t.Error("the words are good twice")
		}
		if a := desk.post("/helpdesk/id-ssmith/reset", "reason", " x "); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Il manque le motif") {
			t.Errorf("without a reason: %d", a.status)
		}
		if a := desk.post("/helpdesk/id-ssmith/reset", "reason", "téléphone perdu, ticket 4711"); a.path != "/helpdesk/id-ssmith?done=reset" {
			t.Fatalf("%d at %s", a.status, a.path)
		}
		if g.factors(sarah) != 0 {
			t.Error("a factor is left")
		}
		if a := caller.get("/account/history"); strings.Contains(a.body, "Ce qui s’est passé") {
			t.Error("a session lives on")
		}
		if all := g.trail("helpdesk.reset", sarah.ID); len(all) != 3 {
			t.Errorf("%+v", all)
		}
		rows := g.done("helpdesk.reset", sarah.ID)
		if len(rows) != 1 || rows[0].Actor.ID != marie.ID || rows[0].Detail["verified"] != ByPhrase || rows[0].Detail["reason"] != "téléphone perdu, ticket 4711" || rows[0].Detail["delegation"] != "assistance" {
			t.Errorf("%+v", rows)
		}
		for _, row := range g.trail("helpdesk.", sarah.ID) {
			for _, v := range row.Detail {
				if strings.Contains(v, words[0][1]) {
					t.Error("the trail holds the words")
				}
			}
		}
	})
}

// roles are who may come to the desk.
func (g *rig) roles() map[string]func() *browser {
	return map[string]func() *browser{
		"nobody":                   g.browser,
		"a teacher":                func() *browser { return g.signed(sarah, true) },
		"a helper":                 func() *browser { return g.signed(marie, true) },
		"a head of school":         func() *browser { return g.signed(head, true) },
		"a helper with a password": func() *browser { return g.signed(karim, false) },
		"a stale helper": func() *browser {
			b := g.signed(marie, true)
			g.advance(61 * time.Minute)
			return b
		},
	}
}

// matrix says what each role meets on each route about Sarah, in the word of
// meets. A route without a row fails.
var matrix = map[string]map[string]string{
	"GET /helpdesk":                        {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/{$}":                    {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/requests":               {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"POST /helpdesk/requests/{id}":         {"nobody": "sign-in", "a teacher": "refused", "a helper": "gone", "a head of school": "gone", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/{sub}":                  {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"POST /helpdesk/{sub}/{action}":        {"nobody": "sign-in", "a teacher": "refused", "a helper": "form", "a head of school": "refused", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/schools/{uai}":          {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/schools/{uai}/letters":  {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "refused", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"POST /helpdesk/schools/{uai}/letters": {"nobody": "sign-in", "a teacher": "refused", "a helper": "gone", "a head of school": "refused", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/follow-up":              {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/follow-up.csv":          {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/keys":                   {"nobody": "sign-in", "a teacher": "refused", "a helper": "ok", "a head of school": "ok", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"POST /helpdesk/keys/import":           {"nobody": "sign-in", "a teacher": "refused", "a helper": "form", "a head of school": "form", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/keys/imports/{id}":      {"nobody": "sign-in", "a teacher": "refused", "a helper": "missing", "a head of school": "missing", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"POST /helpdesk/keys/imports/{id}":     {"nobody": "sign-in", "a teacher": "refused", "a helper": "missing", "a head of school": "missing", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/keys/{serial}":          {"nobody": "sign-in", "a teacher": "refused", "a helper": "missing", "a head of school": "missing", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"POST /helpdesk/keys/{serial}":         {"nobody": "sign-in", "a teacher": "refused", "a helper": "missing", "a head of school": "missing", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /helpdesk/receipts/{serial}":      {"nobody": "sign-in", "a teacher": "refused", "a helper": "missing", "a head of school": "missing", "a helper with a password": "sign-in", "a stale helper": "sign-in"},
	"GET /account/phrase":                  {"nobody": "sign-in", "a teacher": "ok", "a helper": "ok", "a head of school": "ok", "a helper with a password": "refused", "a stale helper": "ok"},
	"POST /account/phrase":                 {"nobody": "sign-in", "a teacher": "ok", "a helper": "ok", "a head of school": "ok", "a helper with a password": "refused", "a stale helper": "ok"},
}

func meets(a answer) string {
	switch {
	case strings.HasPrefix(a.path, "/signin") || strings.Contains(a.body, `action="/signin`):
		return "sign-in"
	case a.status == http.StatusForbidden:
		return "refused"
	case a.status == http.StatusUnprocessableEntity:
		return "form"
	case a.status == http.StatusNotFound:
		return "missing"
	case a.status == http.StatusConflict:
		return "gone"
	case a.status == http.StatusOK:
		return "ok"
	}
	return http.StatusText(a.status)
}

func TestRow05EveryRouteOfTheDeskKnowsItsRoles(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), nil)
	for role, come := range g.roles() {
		for _, pattern := range g.routes {
			row, ok := matrix[pattern]
			if !ok {
				t.Fatalf("the route %q has no row", pattern)
			}
			method, path, _ := strings.Cut(pattern, " ")
			path = strings.NewReplacer("{$}", "", "{sub}", "id-ssmith", "{id}", "nothing", "{serial}", "nothing", "{uai}", "0590002B", "{action}", "reset").Replace(path)
			var form url.Values
			if method == "POST" {
				form = url.Values{"reason": {"une raison"}, "answer": {"yes"}}
			}
			if got := meets(come().do(method, path, form)); got != row[role] {
				t.Errorf("%s, %s: %s, want %s", role, pattern, got, row[role])
			}
		}
	}
	for pattern := range matrix {
		if !slices.Contains(g.routes, pattern) {
			t.Errorf("the row %q has no route", pattern)
		}
	}
	if g.factors(sarah) == 0 {
		t.Error("somebody reset her")
	}
}

func TestRow05EveryActionAsksTheDecider(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), nil)
	for _, p := range []directory.Person{marie, head, paul, aicha, karim} {
		if err := g.mfa.Install(context.Background(), audit.System("test"), p.ID, sampleSecret); err != nil {
			t.Fatal(err)
		}
	}
	desk := g.signed(marie, true)
	for _, p := range []directory.Person{marie, head, paul, aicha} {
		for _, action := range []string{"reset", "pass", "unlock", "lock", "open", "sessions", "keys", "verify", "code"} {
			a := desk.post("/helpdesk/"+p.ID+"/"+action, "reason", "une raison", "way", "in_person", "remark", "vue", "serial", "X", "factor", "x")
			switch {
			case action == "verify" && (p.ID == head.ID || p.ID == aicha.ID):
				// Served, though nothing may be done for them: the call is noted.
			case action == "code" && a.status == http.StatusNotFound:
			case a.status != http.StatusForbidden || !strings.Contains(a.body, "Vous ne pouvez pas agir"):
				t.Errorf("%s of %s: %d at %s", action, p.Login, a.status, a.path)
			}
		}
		if g.factors(p) == 0 {
			t.Errorf("%s was reset", p.Login)
		}
		if lock, err := g.signin.LockedSince(context.Background(), p.ID); err != nil || !lock.IsZero() {
			t.Errorf("%s was locked", p.Login)
		}
	}
	for _, action := range []string{"read", "approve", "nothing", "requests"} {
		if a := desk.post("/helpdesk/id-ssmith/"+action, "reason", "une raison"); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", action, a.status)
		}
	}
	if a := desk.get("/helpdesk/id-nobody"); a.status != http.StatusNotFound {
		t.Errorf("nobody: %d", a.status)
	}
	if n := len(g.trail("helpdesk.reset", head.ID)); n != 1 {
		t.Errorf("%d rows of a refused reset", n)
	}
	// A search never leaves the delegation.
	for q, want := range map[string]bool{"smith": true, "lefebvre": false, "0590003C": false, "0590002B": true, "admin": true} {
		if got := strings.Contains(desk.get("/helpdesk/?q="+q).body, `class="row-link`); got != want {
			t.Errorf("%s: found %v", q, got)
		}
	}
}

func TestSensitiveAccountTakesTwo(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		if err := g.mfa.Install(context.Background(), audit.System("test"), paie.ID, sampleSecret); err != nil {
			t.Fatal(err)
		}
		desk, principal := g.signed(marie, true), g.signed(head, true)
		desk.post("/helpdesk/id-paie/verify", "way", "callback", "remark", "03 20 00 00 02")
		if a := desk.post("/helpdesk/id-paie/reset", "reason", "nouveau téléphone"); a.path != "/helpdesk/id-paie?done=asked" {
			t.Fatalf("%d at %s", a.status, a.path)
		}
		if g.factors(paie) != 1 {
			t.Fatal("one was enough")
		}
		if a := desk.post("/helpdesk/id-paie/reset", "reason", "nouveau téléphone"); a.status != http.StatusUnprocessableEntity {
			t.Errorf("asked twice: %d", a.status)
		}
		list := principal.get("/helpdesk/requests")
		id := regexp.MustCompile(`/helpdesk/requests/([\w-]+)"`).FindStringSubmatch(list.body)
		if id == nil || !strings.Contains(list.body, "nouveau téléphone") || !strings.Contains(list.body, "Marie Dupont") {
			t.Fatal(list.body)
		}
		if a := desk.get("/helpdesk/requests"); strings.Contains(a.body, `action="/helpdesk/requests/`) {
			t.Error("she may agree to her own request")
		}
		if a := desk.post("/helpdesk/requests/"+id[1], "answer", "yes"); a.status != http.StatusForbidden {
			t.Errorf("her own: %d", a.status)
		}
		for _, answer := range []string{"", "maybe", "no"} {
			if a := principal.post("/helpdesk/requests/"+id[1], "answer", answer); a.status != http.StatusUnprocessableEntity {
				t.Errorf("%q: %d", answer, a.status)
			}
		}
		var all sync.WaitGroup
		results := make([]answer, 6)
		for i := range results {
			all.Go(func() { results[i] = principal.post("/helpdesk/requests/"+id[1], "answer", "yes") })
		}
		all.Wait()
		done := 0
		for _, a := range results {
			if a.path == "/helpdesk/requests?done=yes" {
				done++
			}
		}
		if done != 1 || g.factors(paie) != 0 {
			t.Errorf("done %d times, %d factors", done, g.factors(paie))
		}
		rows := g.done("helpdesk.reset", paie.ID)
		if len(rows) != 1 || rows[0].Actor.ID != head.ID || rows[0].Detail["asker"] != "Marie Dupont" || rows[0].Detail["verified"] != ByCallback {
			t.Errorf("%+v", rows)
		}
		for _, action := range []string{"helpdesk.ask", "helpdesk.approve"} {
			if len(g.done(action, paie.ID)) != 1 {
				t.Errorf("no row %s", action)
			}
		}
		if a := desk.get("/helpdesk/id-paie"); !strings.Contains(a.body, "accord de Jean-François Martin") {
			t.Error("the asker does not see it")
		}
	})
}

func TestRequestFallsWithItsAsker(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		if err := g.mfa.Install(ctx, audit.System("test"), paie.ID, sampleSecret); err != nil {
			t.Fatal(err)
		}
		ask := func() string {
			g.verified(g.seated(marie), paie)
			done, err := g.desk.Do(ctx, g.seated(marie), Order{Action: Reset, Person: paie.ID, Reason: "une raison"})
			if err != nil || done.Request == "" {
				t.Fatal(done, err)
			}
			return done.Request
		}
		id := ask()
		g.people.mu.Lock()
		g.people.list[0].Disabled = true // the asker
		g.people.mu.Unlock()
		if _, _, err := g.desk.Decide(ctx, g.seated(head), id, true, ""); Refused(err) == nil {
			t.Errorf("the asker was disabled: %v", err)
		}
		g.people.mu.Lock()
		g.people.list[0].Disabled = false
		g.people.mu.Unlock()
		if _, _, err := g.desk.Decide(ctx, g.seated(paul), id, true, ""); Refused(err) == nil {
			t.Errorf("a stranger: %v", err)
		}
		if _, _, err := g.desk.Decide(ctx, Helper{Application: "ticket-tool"}, id, true, ""); Refused(err) == nil {
			t.Errorf("an application: %v", err)
		}
		g.advance(24 * time.Hour)
		if _, _, err := g.desk.Decide(ctx, g.seated(head), id, true, ""); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("a day later: %v", err)
		}
		id = ask()
		if _, q, err := g.desk.Decide(ctx, g.seated(head), id, false, "je ne la connais pas"); err != nil || q.ID != id {
			t.Errorf("%v", err)
		}
		if _, _, err := g.desk.Decide(ctx, g.seated(karim), id, true, ""); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("after a no: %v", err)
		}
		if g.factors(paie) != 1 {
			t.Error("it was done all the same")
		}
	})
}

func TestLostRaceLeavesOneResetAndTwoRows(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		for round := range 5 {
			if err := g.mfa.Install(ctx, audit.System("test"), sarah.ID, sampleSecret); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			errs := make([]error, 2)
			for i, p := range []directory.Person{marie, karim} {
				g.verified(g.seated(p), sarah)
				all.Go(func() {
					_, errs[i] = g.desk.Do(ctx, g.seated(p), Order{Action: Reset, Person: sarah.ID, Reason: "téléphone perdu"})
				})
			}
			all.Wait()
			if !(errs[0] == nil && errors.Is(errs[1], ErrNothing) || errs[1] == nil && errors.Is(errs[0], ErrNothing)) {
				t.Fatalf("%v", errs)
			}
			rows := g.trail("helpdesk.reset", sarah.ID)
			if len(rows) != 2*(round+1) || len(g.trail("mfa.reset", sarah.ID)) != round+1 {
				t.Fatalf("%d rows, %d resets", len(rows), len(g.trail("mfa.reset", sarah.ID)))
			}
		}
	})
}

func TestWordsCannotBeGuessed(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		phrase, _, err := g.desk.NewPhrase(ctx, audit.Person(sarah.ID, sarah.Login), sarah.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i := range phraseTries {
			if err := g.desk.Verify(ctx, g.seated(marie), sarah.ID, ByPhrase, "abeille abricot acajou", ""); !errors.Is(err, ErrWrongPhrase) {
				t.Fatalf("try %d: %v", i, err)
			}
		}
		// By now the words are dead, whoever says them.
		if err := g.desk.Verify(ctx, g.seated(karim), sarah.ID, ByPhrase, phrase, ""); !errors.Is(err, ErrWrongPhrase) {
			t.Errorf("after five wrong ones: %v", err)
		}
		if shown, _, _ := g.desk.Phrase(ctx, sarah.ID); shown != "" {
			t.Error("dead words are still shown")
		}
		// Parallel tries are counted all.
		if phrase, _, err = g.desk.NewPhrase(ctx, audit.Person(sarah.ID, sarah.Login), sarah.ID); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() { _ = g.desk.Verify(ctx, g.seated(marie), sarah.ID, ByPhrase, "lilas lilas lilas", "") })
		}
		all.Wait()
		if err := g.desk.Verify(ctx, g.seated(marie), sarah.ID, ByPhrase, phrase, ""); !errors.Is(err, ErrTooManyGuesses) {
			t.Errorf("a helper who guessed: %v", err)
		}
		if v, _ := g.desk.Verification(ctx, g.seated(marie), sarah.ID); v.Way != "" {
			t.Errorf("%+v", v)
		}
		if n := len(g.trail("helpdesk.verify", sarah.ID)); n < 30 {
			t.Errorf("%d rows", n)
		}
		// The words are one person's, for one helper, for a quarter of an hour.
		g.advance(11 * time.Minute)
		if phrase, _, err = g.desk.NewPhrase(ctx, audit.Person(sarah.ID, sarah.Login), sarah.ID); err != nil {
			t.Fatal(err)
		}
		if err := g.desk.Verify(ctx, g.seated(marie), head.ID, ByPhrase, phrase, ""); !errors.Is(err, ErrWrongPhrase) {
			t.Errorf("another's words: %v", err)
		}
		if err := g.desk.Verify(ctx, g.seated(marie), sarah.ID, ByPhrase, phrase, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := g.desk.Do(ctx, g.seated(karim), Order{Action: Pass, Person: sarah.ID, Reason: "une raison"}); !errors.Is(err, ErrNotVerified) {
			t.Errorf("a colleague: %v", err)
		}
		g.advance(verifiedFor)
		if _, err := g.desk.Do(ctx, g.seated(marie), Order{Action: Pass, Person: sarah.ID, Reason: "une raison"}); !errors.Is(err, ErrNotVerified) {
			t.Errorf("a quarter of an hour later: %v", err)
		}
	})
}

func TestWordsAreNotShownToAPasswordAlone(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), nil)
	weak := g.signed(sarah, false)
	for _, a := range []answer{weak.get("/account/phrase"), weak.post("/account/phrase")} {
		if a.status != http.StatusForbidden || wordsShown.MatchString(a.body) {
			t.Errorf("%d", a.status)
		}
	}
	if phrase, _, _ := g.desk.Phrase(context.Background(), sarah.ID); phrase != "" {
		t.Error("they were made")
	}
}

func TestRow25NoPageOfTheDeskShowsASecret(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), nil)
	ctx := context.Background()
	desk := g.signed(marie, true)
	if err := g.mfa.Install(ctx, audit.System("test"), sarah.ID, sampleSecret); err != nil {
		t.Fatal(err)
	}
	codes, err := g.mfa.NewRecoveryCodes(ctx, audit.System("test"), sarah.ID)
	if err != nil {
		t.Fatal(err)
	}
	phrase, _, err := g.desk.NewPhrase(ctx, audit.System("test"), sarah.ID)
	if err != nil {
		t.Fatal(err)
	}
	desk.post("/helpdesk/id-ssmith/verify", "way", "in_person", "remark", "au guichet")
	made := desk.post("/helpdesk/id-ssmith/pass", "reason", "une raison", "life", "60", "use", "enrol")
	pass := regexp.MustCompile(`helpdesk-code">([0-9A-Z-]+)<`).FindStringSubmatch(made.body)
	if made.status != http.StatusOK || pass == nil {
		t.Fatal(made.body)
	}
	code, err := g.mfa.Code(ctx, sarah.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/helpdesk/", "/helpdesk/?q=smith", "/helpdesk/id-ssmith", "/helpdesk/requests"} {
		body := desk.get(path).body
		for what, secret := range map[string]string{"the TOTP secret": sampleSecret, "a code": code, "a recovery code": codes[0], "the words": phrase, "the pass": pass[1]} {
			if strings.Contains(body, secret) {
				t.Errorf("%s shows %s", path, what)
			}
		}
	}
	if held, _ := g.mfa.Held(ctx, sarah.ID); held[mfa.Pass] != 1 {
		t.Errorf("%v", held)
	}
	if a := desk.post("/helpdesk/id-ssmith/pass", "reason", "une raison", "revoke", "1"); a.path != "/helpdesk/id-ssmith?done=revoke" {
		t.Errorf("%d at %s", a.status, a.path)
	}
}

func TestFieldsOfAFormGiveNoRights(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), nil)
	ctx := context.Background()
	for _, p := range []directory.Person{head, sarah} {
		if err := g.mfa.Install(ctx, audit.System("test"), p.ID, sampleSecret); err != nil {
			t.Fatal(err)
		}
	}
	desk := g.signed(marie, true)
	forged := []string{"reason", "une raison", "verified", "phrase", "way", "phrase", "person", head.ID, "sub", head.ID, "application", "ticket-tool", "action", "reset", "helper", karim.ID, "second", "false", "life", "999999"}
	if a := desk.post("/helpdesk/id-ssmith/reset", forged...); a.status != http.StatusUnprocessableEntity {
		t.Errorf("%d at %s", a.status, a.path)
	}
	if a := desk.post("/helpdesk/id-ssmith/pass", forged...); a.status != http.StatusUnprocessableEntity {
		t.Errorf("%d at %s", a.status, a.path)
	}
	if g.factors(head) != 1 || g.factors(sarah) != 1 {
		t.Error("something was reset")
	}
}

func TestEveryActionDoesWhatItSays(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		caller, desk := g.signed(sarah, true), g.signed(marie, true)
		post := func(action, done string, fields ...string) {
			t.Helper()
			a := desk.post("/helpdesk/id-ssmith/"+action, append([]string{"reason", "ticket 4712"}, fields...)...)
			if a.path != "/helpdesk/id-ssmith?done="+done {
				t.Errorf("%s: %d at %s", action, a.status, a.path)
			}
		}
		if a := desk.post("/helpdesk/id-ssmith/unlock", "reason", "ticket 4712"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "rien à faire") {
			t.Errorf("nothing to unlock: %d", a.status)
		}
		wrong := g.browser()
		page := wrong.get("/account")
		for range 5 {
			wrong.post(flowAction.FindStringSubmatch(page.body)[1], "username", "ssmith", "password", "not it")
		}
		if a := desk.get("/helpdesk/id-ssmith"); !strings.Contains(a.body, "Mot de passe pas regardé") || !strings.Contains(a.body, "Mot de passe faux") {
			t.Error("the page does not say that the password is not looked at")
		}
		post("unlock", "unlock")
		post("sessions", "sessions")
		if a := caller.get("/account/sessions"); strings.Contains(a.body, "name=\"sid\"") {
			t.Error("still signed in")
		}
		post("lock", "lock")
		if lock, err := g.signin.LockOf(ctx, sarah.ID); err != nil || lock.Actor.ID != marie.ID || lock.Reason != "ticket 4712" {
			t.Errorf("%+v, %v", lock, err)
		}
		if a := desk.post("/helpdesk/id-ssmith/open", "reason", "ticket 4712"); a.status != http.StatusUnprocessableEntity {
			t.Error("opened for an unknown caller")
		}
		g.verified(g.seated(marie), sarah)
		post("open", "open")
		factors, err := g.mfa.Factors(ctx, sarah.ID)
		if err != nil || len(factors) != 1 {
			t.Fatal(factors, err)
		}
		post("reset", "factor", "factor", factors[0].ID)
		if g.factors(sarah) != 0 {
			t.Error("the factor stands")
		}
	})
}

func TestHeadSeesTheirSchoolAndNoOther(t *testing.T) {
	g := newRig(t, dbtest.Open(t, "sqlite"), nil)
	principal := g.signed(head, true)
	a := principal.get("/helpdesk/schools/0590002B")
	for _, part := range []string{"3 personnes", "2 personnes sans protection", "Sarah Smith", "Gilles Paie"} {
		if !strings.Contains(a.body, part) {
			t.Errorf("the school lacks %q", part)
		}
	}
	for _, uai := range []string{"0590001A", "0590003C", "x", "0590002B%27"} {
		if a := principal.get("/helpdesk/schools/" + uai); a.status != http.StatusForbidden || strings.Contains(a.body, "Paul") {
			t.Errorf("%s: %d", uai, a.status)
		}
	}
	if a := principal.get("/helpdesk/"); !strings.Contains(a.body, "/helpdesk/schools/0590002B") || strings.Contains(a.body, "/helpdesk/schools/0590001A") {
		t.Error("the way there")
	}
}
