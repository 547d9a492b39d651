package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

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

// ldapMessage is a request: what RFC 4511 §4.1.1 calls an LDAPMessage.
type ldapMessage struct {
	id       int64
	op       *ber.Packet
	controls []ldapControl
}

// ldapControl is what comes along with a request (RFC 4511 §4.1.11).
type ldapControl struct {
	oid      string
	critical bool
}

var errMalformed = errors.New("malformed message")

// readLDAPMessage reads one message. The length is judged before anything is
// read for it, and the depth before anything is decoded.
func readLDAPMessage(in *bufio.Reader) (*ldapMessage, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, err
	}
	header, length := 2, int(head[1])
	if length >= 0x80 { // long form (X.690 §8.1.3.5)
		octets := length & 0x7f
		if octets == 0 || octets > 4 {
			return nil, errMalformed
		}
		if head, err = in.Peek(2 + octets); err != nil {
			return nil, err
		}
		header, length = 2+octets, 0
		for _, b := range head[2:] {
			length = length<<8 | int(b)
		}
	}
	if head[0] != 0x30 || length > ldapMaxMessage {
		return nil, errMalformed
	}
	raw := make([]byte, header+length)
	if _, err := io.ReadFull(in, raw); err != nil {
		return nil, err
	}
	if !shallow(raw) {
		return nil, errMalformed
	}
	packet, err := ber.DecodePacketErr(raw)
	if err != nil {
		return nil, errMalformed
	}
	return parseLDAPMessage(packet)
}

// ldapMaxDepth is how deep the elements of a message may lie in one another. A
// filter is two deeper than its deepest part.
const ldapMaxDepth = 40

// shallow says whether the elements of an encoded message nest soundly and not
// too deep, without decoding them.
func shallow(raw []byte) bool {
	ends := make([]int, 0, ldapMaxDepth)
	for at := 0; at < len(raw); {
		for len(ends) > 0 && ends[len(ends)-1] == at {
			ends = ends[:len(ends)-1]
		}
		constructed := raw[at]&0x20 != 0
		if raw[at]&0x1f == 0x1f || at+1 >= len(raw) { // no tag of LDAP needs more than a byte
			return false
		}
		length := int(raw[at+1])
		at += 2
		if length >= 0x80 {
			octets := length & 0x7f
			if octets == 0 || octets > 4 || at+octets > len(raw) {
				return false
			}
			length = 0
			for _, b := range raw[at : at+octets] {
				length = length<<8 | int(b)
			}
			at += octets
		}
		end := at + length
		if end > len(raw) || len(ends) > 0 && end > ends[len(ends)-1] {
			return false
		}
		if !constructed {
			at = end
			continue
		}
		if ends = append(ends, end); len(ends) > ldapMaxDepth {
			return false
		}
	}
	return true
}

// parseLDAPMessage takes a message apart.
func parseLDAPMessage(packet *ber.Packet) (*ldapMessage, error) {
	if len(packet.Children) < 2 || len(packet.Children) > 3 {
		return nil, errMalformed
	}
	id, ok := packet.Children[0].Value.(int64)
	op := packet.Children[1]
	if !ok || id < 1 || id > 1<<31-1 || op.ClassType != ber.ClassApplication {
		return nil, errMalformed
	}
	m := &ldapMessage{id: id, op: op}
	if len(packet.Children) == 3 {
		for _, child := range packet.Children[2].Children {
			if len(child.Children) == 0 {
				return nil, errMalformed
			}
			control := ldapControl{oid: text(child.Children[0])}
			if len(child.Children) > 1 {
				control.critical, _ = child.Children[1].Value.(bool)
			}
			m.controls = append(m.controls, control)
		}
	}
	return m, nil
}

// text is what a string element holds, whatever its tag.
func text(p *ber.Packet) string {
	if p.TagType == ber.TypeConstructed {
		return ""
	}
	return string(p.Data.Bytes())
}
