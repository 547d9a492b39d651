package demo

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"beffroi/directory"
)

// LDAPServer is the sample academy behind LDAP (RFC 4511): bind, search, who am
// I, unbind. It is read-only and answers everything else with the proper code.
// What comes in is bounded in size, depth, number and time, so that no client
// can crash it or keep it busy. Not for anything but a demo: it speaks no TLS.
type LDAPServer struct {
	Addr         string // host:port
	BaseDN       string
	BindDN       string // the service account, which may search everything but passwords
	BindPassword string

	tree     *ldapTree
	listener net.Listener
	wait     sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

const (
	ldapMaxMessage = 64 << 10 // a request; the longest that is any use is a filter of a few hundred bytes
	ldapMaxConns   = 512
	ldapIdle       = 10 * time.Minute
	ldapHurry      = 10 * time.Second // for the rest of a message once begun, and for writing
)

// StartLDAP serves the sample academy on addr ("127.0.0.1:0" for any free port).
func StartLDAP(addr string) (*LDAPServer, error) {
	return startLDAP(addr, Academy().LDIF())
}

// startLDAP serves the entries of an LDIF text.
func startLDAP(addr, ldif string) (*LDAPServer, error) {
	entries, err := directory.ParseLDIF(strings.NewReader(ldif))
	if err != nil {
		return nil, fmt.Errorf("demo directory: %w", err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("demo directory: %w", err)
	}
	s := &LDAPServer{
		Addr: l.Addr().String(), BaseDN: BaseDN, BindDN: serviceAccount, BindPassword: servicePass,
		tree: newLDAPTree(entries), listener: l, conns: make(map[net.Conn]bool),
	}
	s.wait.Go(s.accept)
	return s, nil
}

// Close ends every connection and returns when nothing runs any more.
func (s *LDAPServer) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.wait.Wait()
	return err
}

func (s *LDAPServer) accept() {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many files open, and the like
			time.Sleep(50 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		if s.closed || len(s.conns) >= ldapMaxConns {
			s.mu.Unlock()
			_ = c.Close()
			continue
		}
		s.conns[c] = true
		s.wait.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
		s.mu.Unlock()
	}
}

// serve answers one client, one request after the other.
func (s *LDAPServer) serve(c net.Conn) {
	defer c.Close()
	client := &ldapClient{tree: s.tree, out: bufio.NewWriter(c)}
	in := bufio.NewReader(c)
	for {
		_ = c.SetDeadline(time.Now().Add(ldapIdle))
		if _, err := in.Peek(1); err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(ldapHurry))
		message, err := readLDAPMessage(in)
		if err != nil {
			client.disconnect(err)
			return
		}
		goesOn := client.handle(message)
		if goesOn && in.Buffered() > 0 {
			continue // answers to requests sent together leave together
		}
		if client.out.Flush() != nil || !goesOn {
			return
		}
	}
}
