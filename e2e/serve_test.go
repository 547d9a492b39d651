package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"beffroi/e2e/rig"
	"beffroi/e2e/visitor"
	"beffroi/internal/testpeer"
)

// realServers starts Beffroi beside PostgreSQL, slapd, Dovecot and Radicale, with some mail, an agenda and a book for mdupont.
func realServers(t *testing.T) (*world, *rig.Parts, *testpeer.PostgresServer) {
	t.Helper()
	postgres := testpeer.StartPostgres(t, testpeer.PostgresOptions{})
	parts := &rig.Parts{Database: postgres.Database(), Slapd: testpeer.Slapd(t), Radicale: testpeer.Radicale(t)}
	parts.Dovecot = testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: parts.Introspection(t)})
	furnish(parts)
	return newWorld(t, rig.Serve(t, parts)), parts, postgres
}

// furnish gives the sample people something to find.
func furnish(p *rig.Parts) {
	p.Dovecot.Deliver("mdupont", "From: Sarah Smith <sarah.smith@academie.test>\nTo: marie.dupont@academie.test\nSubject: Conseil de classe\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0100\nMessage-ID: <conseil@academie.test>\nContent-Type: text/plain; charset=utf-8\n\nBonjour Marie,\n\nPeux-tu venir jeudi ?\n\nSarah\n")
	p.Dovecot.Deliver("mdupont", "From: Inconnu <piege@ailleurs.test>\nTo: marie.dupont@academie.test\nSubject: Offre\nDate: Mon, 23 Nov 2026 11:00:00 +0100\n"+
		"Message-ID: <offre@ailleurs.test>\nContent-Type: text/html; charset=utf-8\n\n<p>Bonjour <img src=\"http://pisteur.test/x.gif\"><script>alert(1)</script><b>gras</b></p>\n")
	for _, login := range []string{"mdupont", "ssmith"} {
		calendar := p.Radicale.MakeCalendar(login, "agenda", "Mon agenda")
		p.Radicale.Put(login, calendar+"rentree.ics", "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//FR\nBEGIN:VEVENT\nUID:rentree\nDTSTAMP:20261101T080000Z\n"+
			"DTSTART:"+time.Now().UTC().Truncate(time.Hour).Format("20060102T150405Z")+"\nDURATION:PT1H\nSUMMARY:Réunion de rentrée\nEND:VEVENT\nEND:VCALENDAR\n")
		book := p.Radicale.MakeBook(login, "contacts", "Mes contacts")
		p.Radicale.Put(login, book+"durand.vcf", "BEGIN:VCARD\nVERSION:3.0\nUID:durand\nFN:Claire Durand\nN:Durand;Claire;;;\nEMAIL:claire.durand@ailleurs.test\nEND:VCARD\n")
	}
}

func TestBesideRealServers(t *testing.T) {
	t.Parallel()
	w, parts, _ := realServers(t)
	if out, err := w.Command("check"); err != nil || !strings.Contains(out, "mail (filters)") {
		t.Errorf("beffroi check: %v\n%s", err, out)
	}
	t.Run("filters are kept on the mail server", func(t *testing.T) { filters(t, w) })
	providerJourneys(t, w, map[string]func(*testing.T, *world){
		"a person who leaves a group is out within a minute": func(t *testing.T, w *world) { leaves(t, w, parts) },
	})
	portalJourneys(t, w)
	t.Run("health and metrics stand on the admin address", func(t *testing.T) { health(t, w) })
	t.Run("readiness tells when the directory is gone", func(t *testing.T) { notReady(t, w, parts) })
}

// filters reads and sets an absence by ManageSieve, with a token of the provider.
func filters(t *testing.T, w *world) {
	ctx := journey(t)
	v := visitor.New()
	page := w.portal(t, ctx, v, "mdupont", "/mail/absence")
	form, err := page.Form("text")
	if err != nil {
		t.Fatal(err)
	}
	page, err = v.Submit(ctx, form, map[string]string{"on": "1", "text": "Je suis absente."}, "")
	if err != nil || page.Status != 200 || !page.Says("Absence enregistrée.") {
		t.Fatalf("%v %s", err, page)
	}
	if page = w.portal(t, ctx, v, "mdupont", "/mail/absence"); !page.Says("Je suis absente.") {
		t.Fatalf("the absence is not kept: %s", page)
	}
}

func health(t *testing.T, w *world) {
	for path, want := range map[string]string{"/healthz": "", "/readyz": "", "/metrics": "beffroi_"} {
		status, text := get(t, w.Admin+path)
		if status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %.200s", path, status, text)
		}
	}
	if status, _ := get(t, w.Provider+"/metrics"); status != 404 {
		t.Errorf("the provider's own address answers /metrics with %d", status)
	}
}

func leaves(t *testing.T, w *world, parts *rig.Parts) {
	ctx := journey(t)
	parts.Slapd.Add("dn: uid=depart,ou=people,dc=academie,dc=test\nobjectClass: inetOrgPerson\nuid: depart\ncn: Denis Départ\nsn: Depart\nmail: depart@academie.test\nuserPassword: Beffroi-59!\n")
	parts.Slapd.Modify("dn: cn=tous-personnels,ou=groups,dc=academie,dc=test\nchangetype: modify\nadd: member\nmember: uid=depart,ou=people,dc=academie,dc=test\n")
	tokens, _, page, err := visitor.New().Enter(ctx, w.demoApp, &visitor.Person{Login: "depart", Password: "Beffroi-59!"}, everything)
	if err != nil || tokens == nil {
		t.Fatalf("%v %s", err, page)
	}
	parts.Slapd.Modify("dn: cn=tous-personnels,ou=groups,dc=academie,dc=test\nchangetype: modify\ndelete: member\nmember: uid=depart,ou=people,dc=academie,dc=test\n")
	refresh := tokens.RefreshToken
	testpeer.WaitFor(t, "refusal of a refresh after leaving the group", 65*time.Second, func() bool {
		answer, err := w.demoApp.Refresh(ctx, refresh)
		if err != nil {
			t.Fatal(err)
		}
		if answer.RefreshToken != "" {
			refresh = answer.RefreshToken
			time.Sleep(time.Second)
		}
		return answer.Error != ""
	})
}

func notReady(t *testing.T, w *world, parts *rig.Parts) {
	parts.Slapd.Stop()
	testpeer.WaitFor(t, "readyz failing without a directory", 20*time.Second, func() bool {
		status, _ := get(t, w.Admin+"/readyz")
		return status == 503
	})
	if status, _ := get(t, w.Admin+"/healthz"); status != 200 {
		t.Error("without a directory the process counts as dead")
	}
	parts.Slapd.Start()
	testpeer.WaitFor(t, "readyz recovering", 30*time.Second, func() bool {
		status, _ := get(t, w.Admin+"/readyz")
		return status == 200
	})
}

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}
