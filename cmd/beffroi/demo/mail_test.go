package demo

import (
	"context"
	"encoding/base64"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func somePeople() []Account {
	return []Account{
		{Login: "mdupont", Name: "Marie Dupont", Mail: "marie.dupont@academie.test", Lang: "fr"},
		{Login: "jmartin", Name: "Jacques Martin", Mail: "jacques.martin@academie.test", Lang: "fr", UAI: "0590002B", School: "Collège Jean-Zay"},
		{Login: "ssmith", Name: "Sarah Smith", Mail: "sarah.smith@academie.test", Lang: "en", UAI: "0590002B", School: "Collège Jean-Zay"},
		{Login: "plefebvre", Name: "Paul Lefebvre", Mail: "paul.lefebvre@academie.test", Lang: "fr", UAI: "0590002B", School: "Collège Jean-Zay"},
		{Login: "nbenali", Name: "Nadia Benali", Mail: "nadia.benali@academie.test", Lang: "fr"},
	}
}

func startMail(t *testing.T, change ...func(*MailConfig)) (*MailServer, *provider) {
	t.Helper()
	p := startProvider(t)
	c := MailConfig{IMAPAddr: "127.0.0.1:0", SubmissionAddr: "127.0.0.1:0", Introspect: p.introspect, People: somePeople()}
	for _, f := range change {
		f(&c)
	}
	s, err := StartMail(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, p
}

func bearer(login, token string) sasl.Client {
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: login, Token: token})
}

func openIMAP(t *testing.T, s *MailServer, login string, options *imapclient.Options) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(s.IMAPAddr, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Authenticate(bearer(login, login+"-mail")); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyAPersonsOwnLiveMailTokenOpensHerMailbox(t *testing.T) {
	s, p := startMail(t)
	p.give("expired", "mdupont", "mail", "imap", -time.Second)
	p.give("wrong scope", "mdupont", "openid", "imap", time.Hour)
	p.give("wrong audience", "mdupont", "mail", "dav", time.Hour)
	p.give("no such mailbox", "stranger", "mail", "imap", time.Hour)
	for name, try := range map[string][2]string{
		"unknown token":   {"mdupont", "guess"},
		"expired":         {"mdupont", "expired"},
		"wrong scope":     {"mdupont", "wrong scope"},
		"wrong audience":  {"mdupont", "wrong audience"},
		"someone else's":  {"jmartin", "mdupont-mail"},
		"nobody named":    {"", "mdupont-mail"},
		"other case":      {"MDupont", "mdupont-mail"},
		"dav token":       {"mdupont", "mdupont-dav"},
		"no such mailbox": {"stranger", "no such mailbox"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := imapclient.DialInsecure(s.IMAPAddr, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Authenticate(bearer(try[0], try[1]))
			refused, ok := err.(*sasl.OAuthBearerError)
			if !ok || refused.Status != "invalid_token" || refused.Schemes != "bearer" || refused.Scope != "mail" {
				t.Fatalf("answer %v (%+v), want RFC 7628's invalid_token", err, refused)
			}
			if c.State() != imap.ConnStateNotAuthenticated {
				t.Fatal("signed in all the same")
			}
		})
	}
	openIMAP(t, s, "mdupont", nil)
}

func TestPasswordsAreRefusedWhateverTheCommand(t *testing.T) {
	s, _ := startMail(t)
	c, err := imapclient.DialInsecure(s.IMAPAddr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	caps := c.Caps()
	if !caps.Has("AUTH=OAUTHBEARER") || caps.Has("AUTH=PLAIN") || !caps.Has(imap.CapSASLIR) {
		t.Fatalf("capabilities %v", caps)
	}
	if err := c.Login("mdupont", "Beffroi-59!").Wait(); err == nil {
		t.Fatal("LOGIN succeeded")
	}
	if err := c.Authenticate(sasl.NewPlainClient("", "mdupont", "mdupont-mail")); err == nil {
		t.Fatal("PLAIN succeeded")
	}
}

// line is a bare protocol client for what the libraries would not send.
type line struct {
	t *testing.T
	*textproto.Conn
}

func dialLine(t *testing.T, addr string) line {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	text := textproto.NewConn(conn)
	t.Cleanup(func() { text.Close() })
	return line{t, text}
}

func (l line) say(s string) string {
	l.t.Helper()
	if err := l.PrintfLine("%s", s); err != nil {
		l.t.Fatal(err)
	}
	return l.hear()
}

func (l line) hear() string {
	l.t.Helper()
	answer, err := l.ReadLine()
	if err != nil {
		l.t.Fatal(err)
	}
	return answer
}

func TestARefusedTokenIsExplainedBeforeTheCommandFails(t *testing.T) {
	s, _ := startMail(t)
	message := base64.StdEncoding.EncodeToString([]byte("n,a=mdupont,\x01host=x\x01auth=Bearer guess\x01\x01"))
	for _, last := range []string{"AQ==", ""} { // 0x01 as RFC 7628 asks, and a client that only sends a blank line
		l := dialLine(t, s.IMAPAddr)
		if greeting := l.hear(); !strings.Contains(greeting, "AUTH=OAUTHBEARER") {
			t.Fatal(greeting)
		}
		challenge, ok := strings.CutPrefix(l.say("a AUTHENTICATE OAUTHBEARER "+message), "+ ")
		decoded, err := base64.StdEncoding.DecodeString(challenge)
		if !ok || err != nil || string(decoded) != `{"status":"invalid_token","schemes":"bearer","scope":"mail"}` {
			t.Fatalf("challenge %q %v", decoded, err)
		}
		if answer := l.say(last); !strings.HasPrefix(answer, "a NO [AUTHENTICATIONFAILED]") {
			t.Fatalf("answer %q", answer)
		}
	}
}

func TestGarbledBearerMessagesAreRefused(t *testing.T) {
	for _, message := range []string{
		"", "n,,", "n,a=mdupont,\x01auth=Bearer t", "n,a=mdupont,\x01auth=Bearer t\x01", "p=tls-unique,a=mdupont,\x01auth=Bearer t\x01\x01",
		"n,a=,\x01auth=Bearer t\x01\x01", "n,u=mdupont,\x01auth=Bearer t\x01\x01", "n,a=mdupont,\x01auth=Basic t\x01\x01",
		"n,a=mdupont,\x01auth=Bearer \x01\x01", "n,a=mdupont,\x01auth=Bearer a\x01auth=Bearer b\x01\x01", "n,a=mdupont,\x01host=x\x01\x01",
		"\x00mdupont\x00Beffroi-59!",
	} {
		if login, token, ok := readBearerMessage(message); ok {
			t.Errorf("%q read as %q, %q", message, login, token)
		}
	}
	login, token, ok := readBearerMessage("n,a=a=2Cb=3Dc,\x01host=h\x01port=143\x01unknown=1\x01auth=bEaReR t\x01\x01")
	if !ok || login != "a,b=c" || token != "t" {
		t.Errorf("read %q, %q, %v", login, token, ok)
	}
}

func TestAConnectionEndsWithItsToken(t *testing.T) {
	s, p := startMail(t)
	p.give("short", "mdupont", "mail", "imap", 2*time.Second)
	c, err := imapclient.DialInsecure(s.IMAPAddr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Authenticate(bearer("mdupont", "short")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Closed():
	case <-time.After(5 * time.Second):
		t.Fatal("the connection outlived its token")
	}
}

func TestAConnectionEndsAfterTheLongestSession(t *testing.T) {
	s, _ := startMail(t, func(c *MailConfig) { c.LongestSession = 100 * time.Millisecond })
	c := openIMAP(t, s, "mdupont", nil)
	select {
	case <-c.Closed():
	case <-time.After(5 * time.Second):
		t.Fatal("the connection outlived the longest session")
	}
}

func TestNobodyIsLetInWhileTheProviderIsDown(t *testing.T) {
	s, p := startMail(t)
	p.Server.Close()
	c, err := imapclient.DialInsecure(s.IMAPAddr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Authenticate(bearer("mdupont", "mdupont-mail"))
	if refused, ok := err.(*sasl.OAuthBearerError); !ok || refused.Status != "temporarily_unavailable" {
		t.Fatalf("answer %v", err)
	}
}

func TestClosingTheServersLeavesOpenConnectionsNoChance(t *testing.T) {
	p := startProvider(t)
	s, err := StartMail(MailConfig{IMAPAddr: "127.0.0.1:0", SubmissionAddr: "127.0.0.1:0", Introspect: p.introspect, People: somePeople()})
	if err != nil {
		t.Fatal(err)
	}
	idle := openIMAP(t, s, "mdupont", nil)
	if _, err := idle.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Idle(); err != nil {
		t.Fatal(err)
	}
	dialLine(t, s.IMAPAddr).hear()
	dialLine(t, s.SubmissionAddr).hear()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := net.DialTimeout("tcp", s.IMAPAddr, time.Second); err == nil {
		t.Fatal("still listening")
	}
}
