package testpeer_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"beffroi/internal/testpeer"
)

// introspection answers as a provider does: the token "token-of-LOGIN" is good and belongs to LOGIN; it counts its questions.
func introspection(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		user, password, _ := r.BasicAuth()
		login, good := strings.CutPrefix(r.PostFormValue("token"), "token-of-")
		w.Header().Set("Content-Type", "application/json")
		if user != "imap" || password != "secret" || !good {
			json.NewEncoder(w).Encode(map[string]any{"active": false})
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"active": true, "username": login, "scope": "mail", "sub": "1234"})
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http://", "http://imap:secret@", 1) + "/introspect", asked
}

func TestDovecotOpensMailboxesToTokensOnly(t *testing.T) {
	url, asked := introspection(t)
	server := testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: url})
	c := login(t, server, "mdupont", "token-of-mdupont")
	list, err := c.List("", "*", nil).Collect()
	if err != nil || len(list) != 6 {
		t.Fatalf("folders: %v, %v", list, err)
	}
	if asked.Load() == 0 {
		t.Fatal("nobody asked the provider")
	}
	for _, bad := range []struct{ user, token string }{{"mdupont", "token-of-jmartin"}, {"mdupont", "garbage"}} {
		c := dialIMAP(t, server)
		if err := c.Authenticate(bearer(bad.user, bad.token)); err == nil {
			t.Fatalf("%v opens a mailbox", bad)
		}
	}
	if err := dialIMAP(t, server).Login("mdupont", testpeer.Password).Wait(); err == nil {
		t.Fatal("a password opens a mailbox")
	}
}

func TestMailSentThroughDovecotArrives(t *testing.T) {
	url, _ := introspection(t)
	server := testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: url})
	c, err := smtp.Dial(server.Submission)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(bearer("mdupont", "token-of-mdupont")); err != nil {
		t.Fatal(err)
	}
	to := []string{"jean-francois.martin@academie.test", "quelquun@ailleurs.test"}
	if err := c.SendMail("marie.dupont@academie.test", to, strings.NewReader("Subject: essai\r\n\r\nBonjour.\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := server.Messages("jmartin", "INBOX"); len(got) != 1 || !strings.Contains(got[0], "Subject: essai") {
		t.Fatalf("inbox: %q", got)
	}
	if got := server.Outside(); len(got) != 1 || got[0].To[0] != to[1] {
		t.Fatalf("outside: %v", got)
	}
	server.Kill()
	server.Start()
	server.Deliver("jmartin", "Subject: suite\n\nRe.\n")
	if got := server.Messages("jmartin", "INBOX"); len(got) != 2 {
		t.Fatalf("after a crash: %q", got)
	}
}

func TestDovecotHoldsALargeMailbox(t *testing.T) {
	url, _ := introspection(t)
	server := testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: url})
	server.Fill("mdupont", 1000)
	selected, err := login(t, server, "mdupont", "token-of-mdupont").Select("INBOX", nil).Wait()
	if err != nil || selected.NumMessages != 1000 {
		t.Fatalf("INBOX: %+v, %v", selected, err)
	}
}

func bearer(user, token string) sasl.Client {
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: token})
}

func dialIMAP(t *testing.T, server *testpeer.DovecotServer) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(server.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func login(t *testing.T, server *testpeer.DovecotServer, user, token string) *imapclient.Client {
	t.Helper()
	c := dialIMAP(t, server)
	if err := c.Authenticate(bearer(user, token)); err != nil {
		t.Fatal(err)
	}
	return c
}
