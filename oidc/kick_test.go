package oidc

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
	"beffroi/internal/testpeer"
)

// mailbox is an open IMAP connection.
type mailbox struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// openMailbox opens a connection to the real server with a token (RFC 7628).
func openMailbox(t *testing.T, dovecot *testpeer.DovecotServer, login, token string) *mailbox {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", dovecot.IMAPS, &tls.Config{InsecureSkipVerify: true}) // its certificate is not what is tested
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &mailbox{t, conn, bufio.NewReader(conn)}
	m.line(5 * time.Second) // the greeting
	blob := fmt.Sprintf("n,a=%s,\x01auth=Bearer %s\x01\x01", login, token)
	if answer := m.ask("AUTHENTICATE OAUTHBEARER " + base64.StdEncoding.EncodeToString([]byte(blob))); !strings.HasPrefix(answer, "a OK") {
		t.Fatalf("not let in: %s", answer)
	}
	return m
}

func (m *mailbox) line(patience time.Duration) (string, error) {
	_ = m.conn.SetReadDeadline(time.Now().Add(patience))
	return m.in.ReadString('\n')
}

// ask sends a command and returns its tagged answer, or why there is none.
func (m *mailbox) ask(command string) string {
	if _, err := fmt.Fprintf(m.conn, "a %s\r\n", command); err != nil {
		return err.Error()
	}
	for {
		line, err := m.line(10 * time.Second)
		if err != nil {
			return err.Error()
		}
		if strings.HasPrefix(line, "a ") {
			return line
		}
	}
}

func (m *mailbox) alive() bool { return strings.HasPrefix(m.ask("NOOP"), "a OK") }

// dies waits until the server has closed the connection.
func (m *mailbox) dies(name string) {
	m.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		line, err := m.line(time.Until(end))
		switch {
		case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
			m.t.Errorf("%s: the connection is still open", name)
			return
		case err != nil:
			return
		case strings.HasPrefix(line, "* BYE"):
			return
		}
	}
}

// mailWorld is a world whose tokens open mailboxes of a real Dovecot.
func mailWorld(t *testing.T) (*world, *testpeer.DovecotServer) {
	t.Helper()
	w := onOne(t)
	at, _ := url.Parse(w.http.URL)
	at.User, at.Path = url.UserPassword("imap", secret1), "/oauth2/introspect"
	dovecot := testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: at.String(), CacheTokens: true})
	w.p.kick = &kick{KickConfig{URLs: []string{dovecot.Doveadm}}.withDefaults(), secret.String(dovecot.APIKey)}
	return w, dovecot
}

func TestMailConnectionsAreClosedWhenSomebodySignsOut(t *testing.T) {
	w, dovecot := mailWorld(t)
	enter := func(person, sid, scope string) (*mailbox, answer) {
		t.Helper()
		w.clock.pass(time.Second)
		w.signIn(person, sid)
		a := w.tokens("tool", "scope", scope)
		x := w.exchange("tool", a.text("access_token"))
		w.must(x, 200)
		return openMailbox(t, dovecot, w.people.byID[person].Login, x.text("access_token")), a
	}
	paul, _ := enter(paul, "sid-paul", "openid mail")

	one, _ := enter(marie, "sid-1", "openid mail")
	lasting, _ := enter(marie, "sid-2", "openid mail offline_access")
	w.endsSession("sid-2")
	w.deliverAll()
	if !one.alive() || !lasting.alive() {
		t.Error("offline_access outlives its session, and so does its mail")
	}
	w.endsSession("sid-1")
	w.deliverAll()
	one.dies("the session ended")

	again, a := enter(marie, "sid-3", "openid mail offline_access")
	w.endsSession("")
	w.deliverAll()
	again.dies("signed out everywhere")
	if w.refresh("tool", a.text("refresh_token")).status == 200 {
		t.Error("the tokens live on")
	}

	taken, _ := enter(marie, "sid-4", "openid mail offline_access")
	if err := w.p.EndApplication(t.Context(), marie, "tool"); err != nil {
		t.Fatal(err)
	}
	w.deliverAll()
	taken.dies("the application was taken back")

	w.clock.pass(time.Second)
	w.signIn(marie, "sid-5")
	code := w.code("tool", "scope", "openid mail")
	x := w.exchange("tool", w.redeem("tool", code).text("access_token"))
	stolen := openMailbox(t, dovecot, "mdupont", x.text("access_token"))
	w.refusedWith(w.redeem("tool", code), "invalid_grant")
	w.deliverAll()
	stolen.dies("the code was used twice")
	if !paul.alive() {
		t.Error("somebody else's mail was closed")
	}
	if len(w.notices()) != 0 {
		t.Errorf("%+v", w.notices())
	}
}

func TestAKickThatFailsIsTriedAgain(t *testing.T) {
	w, dovecot := mailWorld(t)
	a := w.tokens("tool", "scope", "openid mail offline_access")
	w.must(w.exchange("tool", a.text("access_token")), 200)
	right := w.p.kick.key
	for name, c := range map[string]struct {
		break_, mend func()
		says         string
	}{
		"a wrong key":         {func() { w.p.kick.key = "wrong" }, func() { w.p.kick.key = right }, "401"},
		"the server is down":  {dovecot.Stop, dovecot.Start, "refused"},
		"not doveadm's place": {func() { w.p.kick.cfg.URLs = []string{w.http.URL + "/robots.txt"} }, func() { w.p.kick.cfg.URLs = []string{dovecot.Doveadm} }, "answered"},
	} {
		c.break_()
		w.endsSession("") // whoever has nothing open is kicked in vain, which is fine
		w.deliverAll()
		waiting := w.notices()
		if len(waiting) != 1 || waiting[0].Kind != "kick" || !strings.Contains(waiting[0].Error, c.says) || strings.Contains(waiting[0].Error, right.Reveal()) {
			t.Fatalf("%s: %+v", name, waiting)
		}
		c.mend()
		w.clock.pass(time.Minute)
		w.deliverAll()
		if left := w.notices(); len(left) != 0 {
			t.Errorf("%s: %+v", name, left)
		}
	}
}

func TestALoginIsNoPatternForDoveadm(t *testing.T) {
	w := onOne(t)
	w.p.kick = &kick{KickConfig{URLs: []string{"http://127.0.0.1:1/doveadm/v1"}}.withDefaults(), "key"}
	for _, login := range []string{"*", "m*", "?dupont"} {
		if err := w.p.closeMail(t.Context(), notice{Login: login}); err == nil || !strings.Contains(err.Error(), "pattern") {
			t.Errorf("%s: %v", login, err)
		}
	}
}

// Nobody is kicked who never had a token for the mail server, and the login is
// the one of the latest token: after the person is gone from the directory.
func TestAKickNamesTheLoginOfTheLatestToken(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.p.kick = &kick{KickConfig{URLs: []string{"http://127.0.0.1:1/"}}.withDefaults(), "key"}
		w.tokens("tool", "scope", "openid mail")
		w.endsSession("")
		if len(w.notices()) != 0 {
			t.Fatalf("%+v", w.notices())
		}
		for _, login := range []string{"mdupont", "mmartin"} {
			w.clock.pass(time.Minute)
			w.people.change(marie, func(p *directory.Person) { p.Login = login })
			w.signIn(marie, "sid-1")
			w.must(w.exchange("tool", w.tokens("tool", "scope", "openid mail").text("access_token")), 200)
		}
		delete(w.people.byID, marie)
		w.endsSession("")
		taken, err := w.p.store.takeNotices(t.Context())
		if err != nil || len(taken) != 1 || taken[0].Kind != noticeKick || taken[0].Login != "mmartin" {
			t.Errorf("%+v %v", taken, err)
		}
		w.clock.pass(400 * 24 * time.Hour)
		if _, err := w.p.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.endsSession("")
		if taken, _ := w.p.store.takeNotices(t.Context()); len(taken) != 1 { // the one of before
			t.Errorf("a login is remembered for ever: %+v", taken)
		}
	})
}

func TestKickSettingsAreChecked(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]KickConfig{
		"kick.urls:":                    {URLs: []string{"http://imap.example.test:8080/"}, KeyFile: key},
		"kick.key_file: is needed":      {URLs: []string{"https://imap.example.test:8080/"}},
		"kick.key_file: is empty":       {URLs: []string{"https://imap.example.test:8080/"}, KeyFile: key},
		"kick.key_file: is of no use":   {KeyFile: key},
		"kick.user: must contain":       {User: "nobody"},
		"kick.key_file: open /nowhere:": {URLs: []string{"https://imap.example.test:8080/"}, KeyFile: "/nowhere"},
	} {
		if err := errors.Join(Config{Issuer: "https://id.test", Kick: c}.Validate()...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestCheckTriesTheMailServersKey(t *testing.T) {
	dovecot := testpeer.Dovecot(t, testpeer.DovecotOptions{IntrospectionURL: "http://127.0.0.1:1/"})
	key := filepath.Join(t.TempDir(), "key")
	for text, fine := range map[string]bool{dovecot.APIKey: true, "wrong": false} {
		if err := os.WriteFile(key, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := CheckKick(t.Context(), Config{Kick: KickConfig{URLs: []string{dovecot.Doveadm}, KeyFile: key}})
		if fine != (err == nil) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := CheckKick(t.Context(), Config{}); err != nil {
		t.Error(err)
	}
}
