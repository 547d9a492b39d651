package testpeer

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// relay is the academy's outgoing mail server as Dovecot's submission sees it: mail for academie.test goes to the inbox of the
// person before it is accepted, mail for elsewhere is kept, mail to "inconnu@academie.test" is refused.
type relay struct {
	address string
	dovecot *DovecotServer

	mu      sync.Mutex
	outside []Sent
}

// Sent is a message that left the academy.
type Sent struct {
	From string
	To   []string
	Raw  string
}

func startRelay(t testing.TB, dovecot *DovecotServer) *relay {
	t.Helper()
	r := &relay{address: loopback(FreePort(t)), dovecot: dovecot}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &relaySession{relay: r}, nil }))
	server.Domain, server.MaxMessageBytes, server.ReadTimeout, server.WriteTimeout = "relais.academie.test", 40<<20, time.Minute, time.Minute
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return r
}

// Outside gives what was sent to addresses out of academie.test.
func (s *DovecotServer) Outside() []Sent {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return append([]Sent(nil), s.relay.outside...)
}

// loginOf gives the mailbox of an address of the academy; "" when the address is elsewhere.
func loginOf(address string) string {
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	if domain != "academie.test" {
		return ""
	}
	for _, p := range People() {
		if p.Mail == local+"@"+domain {
			return p.Login
		}
	}
	return local
}

type relaySession struct {
	relay *relay
	from  string
	to    []string
}

func (s *relaySession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *relaySession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if loginOf(to) == "inconnu" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *relaySession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var outside []string
	for _, to := range s.to {
		login := loginOf(to)
		if login == "" {
			outside = append(outside, to)
			continue
		}
		if err := s.relay.dovecot.deliver(s.from, login, raw); err != nil {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "cannot deliver now"}
		}
	}
	if len(outside) > 0 {
		s.relay.mu.Lock()
		defer s.relay.mu.Unlock()
		s.relay.outside = append(s.relay.outside, Sent{s.from, outside, string(raw)})
	}
	return nil
}

func (s *relaySession) Reset()        { s.from, s.to = "", nil }
func (s *relaySession) Logout() error { return nil }
