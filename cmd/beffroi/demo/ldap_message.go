package demo

import (
	"bufio"
	"errors"
	"io"

	ber "github.com/go-asn1-ber/asn1-ber"
)

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
	return p.Data.String()
}
