package testpeer

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// mailUID owns the mailboxes; it needs no entry among the machine's users.
const mailUID = 5000

// DovecotOptions say who answers for tokens and where mail goes.
type DovecotOptions struct {
	// IntrospectionURL is the provider's RFC 7662 endpoint with the credentials of a client that may ask, as in
	// http://imap:secret@localhost:8080/oauth2/introspect. A token opens the mailbox of its username when its scope has "mail".
	IntrospectionURL string
	// Keys is a folder of public keys, AZP/ALG/KID, with which Dovecot checks JWTs of Issuer for Audience itself and asks
	// nobody; IntrospectionURL is not used then.
	Keys, Issuer, Audience string
	// Relay is the address of the SMTP server that takes what people send; by default one of our own that delivers to
	// the inboxes of this Dovecot, see DovecotServer.Outside.
	Relay string
	// CacheTokens lets Dovecot remember a good token for 60 s, as in production; tests of revocation want it off.
	CacheTokens bool
	// Quota of each mailbox, as "10M"; "1G" by default.
	Quota string
	// FullText keeps a full-text index (Xapian).
	FullText bool
}

// DovecotServer is an IMAP and submission server that accepts tokens only (OAUTHBEARER, XOAUTH2). Mailboxes appear when first used, with
// Drafts, Sent, Trash, Junk and Archive.
type DovecotServer struct {
	*Server
	IMAP       string // host:port, offers STARTTLS
	IMAPS      string // host:port, TLS from the first byte
	Submission string // host:port, offers STARTTLS
	Sieve      string // host:port of ManageSieve, offers STARTTLS
	Doveadm    string // address of its HTTP interface, http://host:port/doveadm/v1
	APIKey     string // what that interface asks
	CAFile     string // the authority of its certificate, which names localhost and 127.0.0.1

	dir, lmtp string
	relay     *relay
}

// Dovecot starts a Dovecot for this test. It needs root, as Dovecot changes users.
func Dovecot(t testing.TB, o DovecotOptions) *DovecotServer {
	t.Helper()
	dovecot, err := program("dovecot")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Fatal("Dovecot can only be started by root: run the tests as root")
	}
	dir := testDir(t, "dovecot")
	files, err := newPKI(dir)
	if err != nil {
		t.Fatal(err)
	}
	imap, imaps, submission, lmtp, doveadm, sieve := FreePort(t), FreePort(t), FreePort(t), FreePort(t), FreePort(t), FreePort(t)
	if o.Quota == "" {
		o.Quota = "1G"
	}
	s := &DovecotServer{Doveadm: "http://" + loopback(doveadm) + "/doveadm/v1", APIKey: "api-key-for-tests", IMAP: loopback(imap), IMAPS: loopback(imaps), Submission: loopback(submission), Sieve: loopback(sieve), CAFile: files.CA, dir: dir, lmtp: loopback(lmtp)}
	if o.Relay == "" {
		s.relay = startRelay(t, s)
		o.Relay = s.relay.address
	}
	relayHost, relayPort, err := net.SplitHostPort(o.Relay)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"run", "state", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "mail"), mailUID, mailUID); err != nil {
		t.Fatal(err)
	}
	settings := map[string]any{"Dir": dir, "PKI": files, "IMAP": imap, "IMAPS": imaps, "Submission": submission, "LMTP": lmtp, "Doveadm": doveadm, "APIKey": s.APIKey, "Sieve": sieve, "Quota": o.Quota, "FullText": o.FullText,
		"RelayHost": relayHost, "RelayPort": relayPort, "IntrospectionURL": o.IntrospectionURL, "Keys": o.Keys, "Issuer": o.Issuer, "Audience": o.Audience, "CacheTokens": o.CacheTokens}
	for _, name := range []string{"dovecot.conf", "oauth2.conf.ext"} {
		if err := configure(dir, name, settings); err != nil {
			t.Fatal(err)
		}
	}
	// The one account with a password: a program of the academy that sends mail.
	if err := os.WriteFile(filepath.Join(dir, "service.passwd"), []byte(ServiceUser+":{PLAIN}"+ServicePassword+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Who opens everybody's mailbox, for servers without tokens.
	if err := os.WriteFile(filepath.Join(dir, "master.passwd"), []byte(MasterUser+":{PLAIN}"+MasterPassword+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "dovecot.log")
	if err := os.WriteFile(log, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(log, 0o666); err != nil { // its processes write there under several users
		t.Fatal(err)
	}
	s.Server = run(t, &process{
		name: "Dovecot", log: filepath.Join(dir, "output.log"), logs: []string{log},
		command: func() *exec.Cmd { return exec.Command(dovecot, "-F", "-c", filepath.Join(dir, "dovecot.conf")) },
		ready: func() bool {
			return listening(imap) && listening(submission) && listening(lmtp) && listening(doveadm) && listening(sieve)
		},
	})
	return s
}

// The account of Dovecot's submission that has a password.
const (
	ServiceUser     = "beffroi"
	ServicePassword = "password-of-beffroi"
	MasterUser      = "portal-master"
	MasterPassword  = "password-of-the-master"
)

// Restart stops Dovecot in good order and starts it again.
func (s *DovecotServer) Restart() { s.t.Helper(); s.Stop(); s.Start() }

// Kill ends every process of Dovecot with kill -9.
func (s *DovecotServer) Kill() {
	s.Server.Kill()
	os.Remove(filepath.Join(s.dir, "run", "master.pid"))
}

// Deliver puts a message into the inbox of a login, as a mail server would. Line ends may be plain.
func (s *DovecotServer) Deliver(login, raw string) {
	s.t.Helper()
	if err := s.deliver("postmaster@academie.test", login, []byte(raw)); err != nil {
		s.t.Fatalf("deliver to %s: %v", login, err)
	}
}

// DeliverFrom does the same for an envelope of this sender: whom an absence answers.
func (s *DovecotServer) DeliverFrom(from, login, raw string) {
	s.t.Helper()
	if err := s.deliver(from, login, []byte(raw)); err != nil {
		s.t.Fatalf("deliver to %s: %v", login, err)
	}
}

func (s *DovecotServer) deliver(from, login string, raw []byte) error {
	conn, err := net.DialTimeout("tcp", s.lmtp, 5*time.Second)
	if err != nil {
		return err
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.Mail(from, nil); err != nil {
		return err
	}
	if err := c.Rcpt(login, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(crlf(raw)); err != nil {
		return err
	}
	return w.Close()
}

// crlf ends each line as mail does.
func crlf(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// Messages gives the messages of a login's folder ("INBOX", "Sent"…) as they lie on the disk, oldest first.
func (s *DovecotServer) Messages(login, folder string) []string {
	s.t.Helper()
	var found []string
	for _, sub := range []string{"new", "cur"} {
		names, err := filepath.Glob(filepath.Join(s.maildir(login, folder), sub, "*"))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil { // moved from new to cur meanwhile
				raw, err = os.ReadFile(strings.Replace(name, "/new/", "/cur/", 1) + ":2,")
			}
			if err == nil {
				found = append(found, string(raw))
			}
		}
	}
	return found
}

// Fill puts n messages into a login's inbox at once, dated a minute apart up to now, every third unread, every tenth with an attachment.
func (s *DovecotServer) Fill(login string, n int) {
	s.t.Helper()
	dir := s.maildir(login, "INBOX")
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	start := time.Now().Add(-time.Duration(n) * time.Minute)
	for i := range n {
		at := start.Add(time.Duration(i) * time.Minute)
		flags := "S"
		if i%3 == 0 {
			flags = ""
		}
		name := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%06dP1.test:2,%s", at.Unix(), i, flags))
		raw := sampleMessage(login, i, at)
		if err := os.WriteFile(name, []byte(raw), 0o600); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			s.t.Fatal(err)
		}
	}
	own := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", mailUID, mailUID), filepath.Join(s.dir, "mail", login))
	if out, err := own.CombinedOutput(); err != nil {
		s.t.Fatalf("chown: %v: %s", err, out)
	}
}

// Index reads a login's inbox into the full-text index, and waits for it.
func (s *DovecotServer) Index(login string) {
	s.t.Helper()
	out, err := exec.Command("doveadm", "-c", filepath.Join(s.dir, "dovecot.conf"), "index", "-u", login, "INBOX").CombinedOutput()
	if err != nil {
		s.t.Fatalf("index: %v: %s", err, out)
	}
}

func sampleMessage(login string, i int, at time.Time) string {
	head := fmt.Sprintf("From: Sarah Smith <sarah.smith@academie.test>\r\nTo: %s@academie.test\r\nSubject: Message %d\r\nDate: %s\r\nMessage-ID: <%d.%s@academie.test>\r\nMIME-Version: 1.0\r\n",
		login, i, at.Format(time.RFC1123Z), i, login)
	text := "Content-Type: text/plain; charset=utf-8\r\n\r\nBonjour,\r\n\r\nCeci est un message.\r\n"
	if i%10 != 0 {
		return head + text
	}
	return head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + text +
		"--b\r\nContent-Type: application/pdf; name=note.pdf\r\nContent-Disposition: attachment; filename=note.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--b--\r\n"
}

// maildir is where a folder lies on the disk (Maildir++: folders beside one another, their names after a dot).
func (s *DovecotServer) maildir(login, folder string) string {
	dir := filepath.Join(s.dir, "mail", login, "Maildir")
	if folder != "" && folder != "INBOX" {
		dir = filepath.Join(dir, "."+strings.ReplaceAll(folder, "/", "."))
	}
	return dir
}

// Freeze stops Dovecot's processes without closing their connections, as a hung server does, until thaw is called.
func (s *DovecotServer) Freeze() (thaw func()) {
	pid := s.PID()
	syscall.Kill(-pid, syscall.SIGSTOP)
	return func() { syscall.Kill(-pid, syscall.SIGCONT) }
}
