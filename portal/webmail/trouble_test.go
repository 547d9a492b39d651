package webmail

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/portal"
)

// badServer is an IMAP server that behaves well until the command begins with
// word, and then as misbehave says. It knows one empty INBOX.
func badServer(t *testing.T, misbehave func(c net.Conn, tag, command string) bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			go serveBadly(c, misbehave)
		}
	}()
	return ln.Addr().String()
}

func serveBadly(c net.Conn, misbehave func(c net.Conn, tag, command string) bool) {
	if misbehave(c, "*", "GREETING") {
		return
	}
	fmt.Fprint(c, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] hello\r\n")
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		tag, command, _ := strings.Cut(lines.Text(), " ")
		if misbehave(c, tag, command) {
			return
		}
		switch word, _, _ := strings.Cut(command, " "); word {
		case "SELECT":
			fmt.Fprintf(c, "* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n%s OK [READ-WRITE] done\r\n", tag)
		case "LIST":
			fmt.Fprintf(c, "* LIST () \"/\" INBOX\r\n%s OK done\r\n", tag)
		case "STATUS":
			fmt.Fprintf(c, "* STATUS INBOX (MESSAGES 3 UNSEEN 1)\r\n%s OK done\r\n", tag)
		case "FETCH":
			for i := 1; i <= 3; i++ {
				fmt.Fprintf(c, "* %d FETCH (UID %d FLAGS () INTERNALDATE \"23-Nov-2026 10:00:00 +0000\" RFC822.SIZE 100)\r\n", i, i)
			}
			fmt.Fprintf(c, "%s OK done\r\n", tag)
		case "AUTHENTICATE":
			fmt.Fprintf(c, "%s OK [CAPABILITY IMAP4rev1] in\r\n", tag)
		case "UID": // misbehave has answered
		default:
			fmt.Fprintf(c, "%s OK done\r\n", tag)
		}
	}
}

func TestAServerInTroubleCostsAPageAndNothingElse(t *testing.T) {
	on := func(word string, then func(c net.Conn, tag string)) func(net.Conn, string, string) bool {
		return func(c net.Conn, tag, command string) bool {
			if !strings.HasPrefix(command, word) {
				return false
			}
			then(c, tag)
			return true
		}
	}
	silent := func(net.Conn, string) { time.Sleep(20 * time.Second) }
	drop := func(c net.Conn, _ string) { _ = c.Close() }
	say := func(text string) func(net.Conn, string) {
		return func(c net.Conn, tag string) {
			fmt.Fprint(c, strings.ReplaceAll(text, "TAG", tag))
			time.Sleep(20 * time.Second)
		}
	}
	for name, misbehave := range map[string]func(net.Conn, string, string) bool{
		"never greets":     on("GREETING", silent),
		"hangs up at once": on("GREETING", drop),
		"speaks HTTP":      on("GREETING", say("HTTP/1.1 400 Bad Request\r\n\r\n")),
		"never signs in":   on("AUTHENTICATE", silent),
		"never selects":    on("SELECT", silent),
		"half an answer":   on("LIST", say("* LIST () \"/\" IN")),
		"drops in LIST":    on("LIST", drop),
		"drops in FETCH":   on("FETCH", drop),
		"huge literal":     on("UID FETCH", say("* 1 FETCH (UID 1 BODY[HEADER] {4000000000}\r\nabc")),
		"nonsense":         on("SELECT", say("* \x00\xff ((((( \r\n* 1 2 3\r\nTAG MAYBE\r\n")),
		"unknown response": on("FETCH", say("* VANISHED 1:3\r\n* 1 FETCH (X-FOO 1)\r\nTAG OK\r\n")),
		"wrong tag":        on("SELECT", say("XYZ OK done\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := badServer(t, misbehave)
			r := newRigAt(t, newTokens(t), portal.MailConfig{IMAP: address, IMAPTLS: "none", Submission: address, SubmissionTLS: "none", Timeout: 700 * time.Millisecond})
			b := r.browser("mdupont")
			start := time.Now()
			b.get("/mail/")
			if took := time.Since(start); took > 10*time.Second {
				t.Fatalf("the page took %v", took)
			}
			if b.last.StatusCode != 502 && b.last.StatusCode != 504 {
				b.status(502)
			}
			b.sees("Le serveur de messagerie", "Vos messages sont en sûreté")
		})
	}
}

func TestMessagesThatBreakTheConversationAreShownAsUnreadable(t *testing.T) {
	address := badServer(t, func(c net.Conn, tag, command string) bool {
		if !strings.HasPrefix(command, "UID FETCH") {
			return false
		}
		set := strings.Fields(command)[2]
		if strings.Contains(set, "2") || strings.Contains(set, ":") {
			_ = c.Close()
			return true
		}
		head := "Subject: bon " + set + "\r\n\r\n"
		fmt.Fprintf(c, "* %s FETCH (UID %s BODY[HEADER.FIELDS (FROM)] {%d}\r\n%s BODY[TEXT]<0> {2}\r\nab)\r\n%s OK done\r\n", set, set, len(head), head, tag)
		return false
	})
	r := newRigAt(t, newTokens(t), portal.MailConfig{IMAP: address, IMAPTLS: "none", Submission: address, SubmissionTLS: "none", Timeout: 5 * time.Second})
	b := r.browser("mdupont")
	b.get("/mail/")
	b.status(200)
	b.sees("bon 1", "bon 3", "Message illisible")
}

func TestAHungOrRestartedDovecotDelaysAndNothingMore(t *testing.T) {
	r := newRig(t)
	r.s.pools.limits.use = 1500 * time.Millisecond
	r.dovecot.Deliver("mdupont", simple)
	b := r.browser("mdupont")
	b.get("/mail/")
	b.status(200)
	thaw := r.dovecot.Freeze()
	start := time.Now()
	b.get("/mail/")
	took := time.Since(start)
	thaw()
	b.status(504)
	b.sees("met trop longtemps")
	if took > 8*time.Second {
		t.Fatalf("took %v", took)
	}
	r.s.pools.limits.use = 10 * time.Second
	b.get("/mail/")
	b.status(200)
	r.dovecot.Restart()
	b.get("/mail/") // the idle connections are dead: nobody sees it
	b.status(200)
	r.dovecot.Kill()
	b.get("/mail/") // an honest page, or the last answer of a process that survived
	if b.last.StatusCode != 200 {
		b.status(502)
	}
	r.dovecot.Start()
	b.get("/mail/")
	b.status(200)
	b.sees("Réunion pédagogique")
}

func TestARevokedTokenIsFetchedAgainAndThenRefused(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	b.get("/mail/")
	b.status(200)
	r.tokens.revoke("mdupont") // the next TokenFor gives another token: other connections
	b.get("/mail/")
	b.status(200)
	who := owner{sub: "sub-mdupont", login: "mdupont", token: "nonsense", expires: time.Now().Add(time.Hour)}
	err := r.s.pools.Do(t.Context(), who, "", reads, func(*conn) error { return nil })
	if err == nil || failure(err).Error() == "" || !strings.Contains(failure(err).Error(), "webmail.error.signin") {
		t.Fatalf("a bad token: %v", err)
	}
}

func TestTwoPersonsNeverSeeEachOther(t *testing.T) {
	r := newRig(t)
	people := []string{"mdupont", "jmartin", "ssmith"}
	for _, login := range people {
		r.dovecot.Deliver(login, strings.Replace(simple, "Subject: =?utf-8?q?R=C3=A9union_p=C3=A9dagogique?=", "Subject: secret de "+login, 1))
	}
	var wait sync.WaitGroup
	for _, login := range people {
		for range 4 {
			wait.Go(func() {
				b := r.browser(login)
				for i := range 8 {
					switch i % 4 {
					case 0:
						b.get("/mail/")
					case 1:
						b.get(b.rows()[0])
					case 2:
						b.post("/mail/INBOX/do", url.Values{"do": {"flag:" + b.keys()[0]}, "back": {"/mail/"}})
					case 3:
						r.tokens.rotate(login)
						b.get("/mail/")
					}
					if b.last.StatusCode != 200 || !strings.Contains(b.body, "secret de "+login) {
						t.Errorf("%s: status %d", login, b.last.StatusCode)
						return
					}
					for _, other := range people {
						if other != login && strings.Contains(b.body, "secret de "+other) {
							t.Errorf("%s sees the mail of %s", login, other)
							return
						}
					}
				}
			})
		}
	}
	wait.Wait()
	r.s.pools.mu.Lock()
	defer r.s.pools.mu.Unlock()
	for sub, box := range r.s.pools.people {
		if n := len(box.idle); n > r.s.pools.limits.perPerson || box.users != 0 {
			t.Errorf("%s: %d idle connections, %d users", sub, n, box.users)
		}
	}
}
