package testpeer_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/go-ldap/ldap/v3"

	"beffroi/internal/testpeer"
)

func TestPostgresGivesEachTestAnEmptyDatabaseOfItsOwn(t *testing.T) {
	first, second := testpeer.Postgres(t), testpeer.Postgres(t)
	if first == second {
		t.Fatalf("both got %s", first)
	}
	for _, url := range []string{first, second} {
		exec(t, url, "CREATE TABLE only_here (id BIGINT PRIMARY KEY)")
	}
}

func TestPostgresKeepsWhatWasCommittedWhenItIsKilled(t *testing.T) {
	server := testpeer.StartPostgres(t, testpeer.PostgresOptions{})
	url := server.Database()
	exec(t, url, "CREATE TABLE kept (id BIGINT)")
	exec(t, url, "INSERT INTO kept (id) VALUES (1)")
	server.Kill()
	server.Start()
	exec(t, url, "DELETE FROM kept WHERE id = 1")
	server.Stop()
	server.Start()
	exec(t, url, "DROP TABLE kept")
}

func exec(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(context.Background(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestSlapdKnowsTheSampleAcademy(t *testing.T) {
	server := testpeer.Slapd(t)
	for _, url := range []string{server.URL, server.TLSURL} {
		c := dialLDAP(t, server, url)
		if err := c.Bind("uid=mdupont,"+server.PeopleDN, testpeer.Password); err != nil {
			t.Fatalf("%s: the sample password is refused: %v", url, err)
		}
		if err := c.Bind("uid=mdupont,"+server.PeopleDN, "wrong"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Fatalf("%s: a wrong password gives %v", url, err)
		}
		if err := c.Bind(server.ServiceDN, server.ServicePassword); err != nil {
			t.Fatal(err)
		}
		found, err := c.Search(ldap.NewSearchRequest(server.PeopleDN, ldap.ScopeWholeSubtree, 0, 0, 5, false, "(uid=jmartin)", []string{"memberOf", "givenName", "entryUUID", "userPassword"}, nil))
		if err != nil {
			t.Fatal(err)
		}
		p := found.Entries[0]
		if p.GetAttributeValue("givenName") != "Jean-François" || len(p.GetAttributeValues("memberOf")) != 2 || len(p.GetAttributeValue("entryUUID")) != 36 {
			t.Fatalf("jmartin is %v", p.Attributes)
		}
		if p.GetAttributeValue("userPassword") != "" {
			t.Fatal("the service account reads passwords")
		}
	}
}

func TestSlapdTakesChangesAndKeepsThemWhenKilled(t *testing.T) {
	server := testpeer.Slapd(t)
	server.Add("dn: uid=nouveau,ou=people,dc=academie,dc=test\nobjectClass: inetOrgPerson\nuid: nouveau\ncn:: Tm/Dqw==\nsn: Nouveau\nuserPassword: Beffroi-59!\n")
	server.Modify("dn: cn=helpdesk,ou=groups,dc=academie,dc=test\nchangetype: modify\nadd: member\nmember: uid=nouveau,ou=people,dc=academie,dc=test\n-\n\n" +
		"dn: uid=nouveau,ou=people,dc=academie,dc=test\nchangetype: modify\nreplace: sn\nsn: Changé\n")
	server.Kill()
	if c, err := ldap.DialURL(server.URL); err == nil {
		c.Close()
		t.Fatal("a killed server answers")
	}
	server.Start()
	if groups := server.Attribute("uid=nouveau,"+server.PeopleDN, "memberOf"); len(groups) != 1 {
		t.Fatalf("memberOf: %v", groups)
	}
	c := dialLDAP(t, server, server.URL)
	for range 10 {
		c.Bind("uid=nouveau,"+server.PeopleDN, "wrong")
	}
	if err := c.Bind("uid=nouveau,"+server.PeopleDN, testpeer.Password); err == nil {
		t.Fatal("ten wrong passwords do not lock the account")
	}
	server.Modify("dn: uid=nouveau,ou=people,dc=academie,dc=test\nchangetype: delete\n")
}

func TestSlapdHoldsThousands(t *testing.T) {
	server := testpeer.StartSlapd(t, testpeer.SlapdOptions{People: testpeer.GeneratePeople(2000)})
	if err := dialLDAP(t, server, server.URL).Bind("uid=u001999,"+server.PeopleDN, testpeer.Password); err != nil {
		t.Fatal(err)
	}
}

// dialLDAP connects with TLS, whichever way the URL asks for.
func dialLDAP(t *testing.T, server *testpeer.SlapdServer, url string) *ldap.Conn {
	t.Helper()
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(server.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	c, err := ldap.DialURL(url, ldap.DialWithTLSConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if url == server.URL {
		if err := c.StartTLS(config); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestRadicaleBelievesTheHeaderAndGuardsOwners(t *testing.T) {
	server := testpeer.Radicale(t)
	calendar := server.MakeCalendar("mdupont", "agenda", "Agenda")
	server.Put("mdupont", calendar+"1.ics", "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//FR\nBEGIN:VEVENT\nUID:1\nDTSTAMP:20261123T080000Z\nDTSTART:20261123T090000Z\nSUMMARY:Réunion\nEND:VEVENT\nEND:VCALENDAR\n")
	book := server.MakeBook("mdupont", "contacts", "Contacts")
	server.Put("mdupont", book+"1.vcf", "BEGIN:VCARD\nVERSION:3.0\nUID:1\nFN:Sarah Smith\nN:Smith;Sarah;;;\nEND:VCARD\n")
	if status, _ := server.Do("mdupont", "GET", calendar+"1.ics", "", ""); status != 200 {
		t.Fatalf("the owner gets %d", status)
	}
	if status, _ := server.Do("jmartin", "GET", calendar+"1.ics", "", ""); status != 403 {
		t.Fatalf("another person gets %d", status)
	}
}

func TestChromiumShowsAPageInTheLanguageAskedFor(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<title>%s</title><p id=p>before</p><script>document.getElementById("p").textContent="after"</script>`, r.Header.Get("Accept-Language"))
	}))
	defer page.Close()
	for _, c := range []struct {
		o           testpeer.ChromiumOptions
		title, text string
	}{{testpeer.ChromiumOptions{}, "fr", "after"}, {testpeer.ChromiumOptions{Language: "en", NoScript: true}, "en", "before"}} {
		ctx := testpeer.StartChromium(t, c.o)
		if err := chromedp.Do(ctx, chromedp.Navigate(page.URL)); err != nil {
			t.Fatal(err)
		}
		title, err := chromedp.Run(ctx, chromedp.Title())
		if err != nil || !strings.HasPrefix(title, c.title) {
			t.Fatalf("Accept-Language %q, %v", title, err)
		}
		text, err := chromedp.Run(ctx, chromedp.TextContent(chromedp.CSS("#p")))
		if err != nil || text != c.text {
			t.Fatalf("text %q, %v", text, err)
		}
	}
}

func TestPortsAreGivenOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port := testpeer.FreePort(t)
		if seen[port] {
			t.Fatalf("port %d given twice", port)
		}
		seen[port] = true
	}
}
