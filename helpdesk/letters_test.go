package helpdesk

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/audit"
)

// readPDF is what is written in it, and on how many pages.
func readPDF(t *testing.T, body string) (words string, pages int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "letter.pdf")
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pdftotext", "-layout", file, "-").CombinedOutput()
	if err != nil {
		t.Fatalf("pdftotext: %v\n%s\n%.200s", err, out, body)
	}
	return string(out), strings.Count(string(out), "\f")
}

var letterCode = regexp.MustCompile(`http://id\.test/enrol\s+·\s+([0-9A-Z]{4}-[0-9A-Z]{4})`)

func TestALetterLeadsItsPersonToAFirstFactor(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		desk := g.signed(marie, true)
		if a := desk.post("/helpdesk/id-ssmith/letter", "reason", "nouvelle arrivée"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Vérifiez d’abord") {
			t.Fatalf("without a verified caller: %d", a.status)
		}
		g.verified(g.seated(marie), sarah)
		a := desk.post("/helpdesk/id-ssmith/letter", "reason", "nouvelle arrivée")
		if a.status != http.StatusOK || !strings.HasPrefix(a.body, "%PDF-") {
			t.Fatalf("%d %.300s", a.status, a.body)
		}
		words, pages := readPDF(t, a.body)
		found := letterCode.FindAllStringSubmatch(words, -1)
		if pages != 1 || len(found) != 1 || !strings.Contains(words, "Sarah Smith") || !strings.Contains(words, "0590002B") || !strings.Contains(words, "23 décembre 2026") {
			t.Fatalf("%d pages\n%s", pages, words)
		}
		code := found[0][1]
		for _, row := range append(g.trail("helpdesk.letter", sarah.ID), g.trail("mfa.pass", sarah.ID)...) {
			for _, v := range row.Detail {
				if strings.Contains(v, code) {
					t.Error("the trail holds the code")
				}
			}
		}

		// Three weeks later it is good, with the password, for enrolling and nothing else.
		g.advance(21 * 24 * time.Hour)
		b := g.browser()
		if a := b.get("/enrol"); a.status != http.StatusOK || !strings.Contains(a.body, `href="/account/protect"`) {
			t.Fatalf("%d", a.status)
		}
		page := b.get("/account/protect")
		page = b.post(flowAction.FindStringSubmatch(page.body)[1], "username", "ssmith", "password", rightPassword)
		page = b.post(flowAction.FindStringSubmatch(page.body)[1], "by", "pass", "code", strings.ToLower(code))
		if page.status != http.StatusOK || !strings.Contains(page.body, `action="/signin/enrol`) {
			t.Fatalf("%d at %s", page.status, page.path)
		}
		if a := b.get("/account/history"); !strings.HasPrefix(a.path, "/signin") {
			t.Errorf("the letter alone opens %s", a.path)
		}
		other := g.browser()
		page = other.get("/account/protect")
		page = other.post(flowAction.FindStringSubmatch(page.body)[1], "username", "ssmith", "password", rightPassword)
		if action := flowAction.FindStringSubmatch(page.body)[1]; strings.HasPrefix(action, "/signin/factor") {
			page = other.post(action, "by", "pass", "code", code)
		} else {
			page = other.post("/signin/factor"+action[strings.Index(action, "?"):], "by", "pass", "code", code)
		}
		if a := other.get("/account/protect"); !strings.HasPrefix(a.path, "/signin") {
			t.Errorf("good twice: %s", a.path)
		}
		if rows := g.done("mfa.pass.used", sarah.ID); len(rows) != 1 {
			t.Errorf("used %d times", len(rows))
		}
	})
}

func TestALetterToASensitiveAccountIsTheSecondPersons(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		desk, school := g.signed(marie, true), g.signed(head, true)
		g.verified(g.seated(marie), paie)
		if a := desk.post("/helpdesk/id-paie/letter", "reason", "nouvelle arrivée"); a.path != "/helpdesk/id-paie?done=asked" {
			t.Fatalf("%d at %s", a.status, a.path)
		}
		open, _, err := g.desk.openRequests(context.Background(), head.ID)
		if err != nil || len(open) != 1 {
			t.Fatal(open, err)
		}
		a := school.post("/helpdesk/requests/"+open[0].ID, "answer", "yes")
		if words, _ := readPDF(t, a.body); !strings.Contains(words, "Gilles Paie") {
			t.Errorf("%d %s", a.status, words)
		}
	})
}

func TestLettersToASchoolShowTheirNumberFirst(t *testing.T) {
	each(t, func(t *testing.T, g *rig) {
		jean := directory.Person{ID: "id-jean", Login: "jlast", DisplayName: "Jean Ñandú", UAI: []string{"0590002B"}, Kind: "ENS", Groups: []string{"tous-personnels"}, Language: "en"}
		luc := directory.Person{ID: "id-luc", Login: "lprotege", DisplayName: "Luc Protégé", UAI: []string{"0590002B"}, Kind: "ENS"}
		gone := directory.Person{ID: "id-gone", Login: "gparti", DisplayName: "Guy Parti", UAI: []string{"0590002B"}, Kind: "ENS", Disabled: true}
		g.people.list = append(g.people.list, jean, luc, gone)
		if err := g.mfa.Install(context.Background(), audit.System("test"), luc.ID, sampleSecret); err != nil {
			t.Fatal(err)
		}
		desk := g.signed(marie, true)
		path := "/helpdesk/schools/0590002B/letters"
		if a := desk.get("/helpdesk/schools/0590002B"); !strings.Contains(a.body, `href="`+path+`"`) {
			t.Error("the school's page does not lead to its letters")
		}
		page := desk.get(path)
		for _, part := range []string{"2 lettres à imprimer", `name="people" value="2"`, "Sarah Smith", "Jean Ñandú", "2 personnes à voir une par une", "Gilles Paie", "Jean-François Martin"} {
			if !strings.Contains(page.body, part) {
				t.Errorf("the page lacks %q", part)
			}
		}
		if strings.Contains(page.body, "Guy Parti") || strings.Contains(page.body, "Luc Protégé") {
			t.Error("a letter to who needs none")
		}
		passes := func() int {
			all, err := g.mfa.PassHolders(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		for name, c := range map[string]struct {
			path   string
			fields []string
			status int
		}{
			"another number":    {path, []string{"people", "3", "reason", "rentrée"}, http.StatusConflict},
			"no number":         {path, []string{"reason", "rentrée"}, http.StatusConflict},
			"everybody":         {path, []string{"people", "2", "reason", "rentrée", "who", "everyone"}, http.StatusBadRequest},
			"no reason":         {path, []string{"people", "2", "reason", " "}, http.StatusUnprocessableEntity},
			"another school":    {"/helpdesk/schools/0590003C/letters", []string{"people", "1", "reason", "rentrée"}, http.StatusForbidden},
			"no school at all":  {"/helpdesk/schools/*/letters", []string{"people", "2", "reason", "rentrée"}, http.StatusForbidden},
			"every school's %2": {"/helpdesk/schools/0590%25/letters", []string{"people", "2", "reason", "rentrée"}, http.StatusForbidden},
		} {
			if a := desk.post(c.path, c.fields...); a.status != c.status || passes() != 0 {
				t.Errorf("%s: %d, %d passes", name, a.status, passes())
			}
		}
		if a := desk.get(path + "?who=everyone"); a.status != http.StatusBadRequest {
			t.Errorf("an unknown choice: %d", a.status)
		}
		a := desk.post(path, "people", "2", "reason", "rentrée")
		words, pages := readPDF(t, a.body)
		if pages != 2 || passes() != 2 || !strings.Contains(words, "Bonjour Sarah Smith") || !strings.Contains(words, "Dear Jean Ñandú") {
			t.Fatalf("%d pages, %d passes\n%s", pages, passes(), words)
		}
		rows := g.done("helpdesk.letter", "")
		if len(rows) != 2 || rows[0].Detail["batch"] == "" || rows[0].Detail["batch"] != rows[1].Detail["batch"] || rows[0].Detail["people"] != "2" || rows[0].Detail["school"] != "0590002B" {
			t.Errorf("%+v", rows)
		}
		// Who has one is not written to again by mistake.
		if a := desk.post(path, "people", "2", "reason", "rentrée"); a.status != http.StatusConflict {
			t.Errorf("sent twice: %d", a.status)
		}
		if a := desk.get(path); !strings.Contains(a.body, "Personne ici n’a besoin") || !strings.Contains(a.body, "?who=again") {
			t.Error("the page does not say that letters are on their way")
		}
		if a := desk.post(path, "people", "2", "reason", "pli perdu", "who", "again"); !strings.HasPrefix(a.body, "%PDF-") {
			t.Errorf("again: %d", a.status)
		}
		if a := g.signed(head, true).get(path); a.status != http.StatusForbidden {
			t.Errorf("a head of school, to whom nobody gave letters: %d", a.status)
		}
	})
}
