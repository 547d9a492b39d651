package demo

import (
	"bufio"
	"slices"

	ber "github.com/go-asn1-ber/asn1-ber"

	"beffroi/directory"
)

// Requests and answers (RFC 4511 §4.2 to §4.14), by their tag.
const (
	opBind, opBindDone         = 0, 1
	opUnbind                   = 2
	opSearch                   = 3
	opEntry, opSearchDone      = 4, 5
	opModify, opModifyDone     = 6, 7
	opAdd, opAddDone           = 8, 9
	opDelete, opDeleteDone     = 10, 11
	opRename, opRenameDone     = 12, 13
	opCompare, opCompareDone   = 14, 15
	opAbandon                  = 16
	opExtended, opExtendedDone = 23, 24
)

// Result codes (RFC 4511 §4.1.9).
const (
	resultOK                  = 0
	resultProtocolError       = 2
	resultSizeLimit           = 4
	resultAuthMethod          = 7
	resultUnknownControl      = 12
	resultNoSuchObject        = 32
	resultInvalidDN           = 34
	resultInvalidCredentials  = 49
	resultInsufficientRights  = 50
	resultUnwilling           = 53
	oidWhoAmI                 = "1.3.6.1.4.1.4203.1.11.3" // RFC 4532
	oidNoticeOfDisconnection  = "1.3.6.1.4.1.1466.20036"  // RFC 4511 §4.4.1
	oidPaging                 = "1.2.840.113556.1.4.319"  // RFC 2696
	oidPasswordPolicy         = "1.3.6.1.4.1.42.2.27.8.5.1"
	diagnosticReadOnly        = "the demo directory is read-only"
	diagnosticPasswordMissing = "unauthenticated bind is not allowed"
)

// ldapClient is one connection's state: who it is bound as.
type ldapClient struct {
	tree  *ldapTree
	out   *bufio.Writer
	bound string // DN; "" when anonymous
}

// handle answers one request. False ends the connection.
func (c *ldapClient) handle(m *ldapMessage) bool {
	for _, control := range m.controls {
		if control.critical && control.oid != oidPaging {
			if done, ok := answerTo(int(m.op.Tag)); ok {
				c.done(m.id, done, resultUnknownControl, "control "+control.oid+" is not known")
			}
			return true
		}
	}
	switch m.op.Tag {
	case opBind:
		return c.bind(m)
	case opUnbind:
		return false
	case opSearch:
		return c.search(m)
	case opModify, opAdd, opDelete, opRename, opCompare:
		done, _ := answerTo(int(m.op.Tag))
		c.done(m.id, done, resultUnwilling, diagnosticReadOnly)
	case opAbandon: // each request is over before the next is read
	case opExtended:
		return c.extended(m)
	default:
		c.disconnect(errMalformed)
		return false
	}
	return true
}

// answerTo is the tag of the answer to a request.
func answerTo(op int) (done int, ok bool) {
	done, ok = map[int]int{opBind: opBindDone, opSearch: opSearchDone, opModify: opModifyDone, opAdd: opAddDone,
		opDelete: opDeleteDone, opRename: opRenameDone, opCompare: opCompareDone, opExtended: opExtendedDone}[op]
	return done, ok
}

// bind checks a name and a password (RFC 4511 §4.2). A failure leaves the
// connection anonymous.
func (c *ldapClient) bind(m *ldapMessage) bool {
	c.bound = ""
	if len(m.op.Children) != 3 {
		c.done(m.id, opBindDone, resultProtocolError, "")
		return false
	}
	version, _ := m.op.Children[0].Value.(int64)
	name, method := text(m.op.Children[1]), m.op.Children[2]
	switch {
	case version != 3:
		c.done(m.id, opBindDone, resultProtocolError, "version 3 only")
		return true
	case method.ClassType != ber.ClassContext || method.Tag != 0: // SASL is 3
		c.done(m.id, opBindDone, resultAuthMethod, "simple bind only")
		return true
	}
	password := text(method)
	if name == "" && password == "" {
		c.done(m.id, opBindDone, resultOK, "")
		return true
	}
	if password == "" {
		c.done(m.id, opBindDone, resultUnwilling, diagnosticPasswordMissing)
		return true
	}
	key := directory.NormalDN(name)
	if key == "" {
		c.done(m.id, opBindDone, resultInvalidDN, "")
		return true
	}
	entry := c.tree.byDN[key]
	if entry == nil || !slices.ContainsFunc(entry.entry.Values("userPassword"), func(stored string) bool { return directory.MatchesPassword(stored, password) }) {
		c.done(m.id, opBindDone, resultInvalidCredentials, "")
		return true
	}
	c.bound = entry.entry.DN
	c.done(m.id, opBindDone, resultOK, "")
	return true
}

// extended answers "who am I" (RFC 4532) and refuses the rest.
func (c *ldapClient) extended(m *ldapMessage) bool {
	if len(m.op.Children) == 0 || text(m.op.Children[0]) != oidWhoAmI {
		c.done(m.id, opExtendedDone, resultProtocolError, "not an operation of this server")
		return true
	}
	who := ""
	if c.bound != "" {
		who = "dn:" + c.bound
	}
	answer := result(opExtendedDone, resultOK, "")
	answer.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 11, who, ""))
	c.send(m.id, answer)
	return true
}

// disconnect tells the client why the connection ends (RFC 4511 §4.4.1).
func (c *ldapClient) disconnect(cause error) {
	if cause != errMalformed {
		return // it has left, or does not read
	}
	notice := result(opExtendedDone, resultProtocolError, cause.Error())
	notice.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 10, oidNoticeOfDisconnection, ""))
	c.send(0, notice)
	_ = c.out.Flush()
}

// done sends the answer that ends an operation.
func (c *ldapClient) done(id int64, op, code int, diagnostic string, controls ...*ber.Packet) {
	c.send(id, result(op, code, diagnostic), controls...)
}

// result is an LDAPResult (RFC 4511 §4.1.9).
func result(op, code int, diagnostic string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ber.Tag(op), nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(diagnostic))
	return p
}

// send writes a message. What fails shows at the next flush.
func (c *ldapClient) send(id int64, op *ber.Packet, controls ...*ber.Packet) {
	message := ber.NewSequence("")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	message.AppendChild(op)
	if len(controls) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, control := range controls {
			list.AppendChild(control)
		}
		message.AppendChild(list)
	}
	_, _ = c.out.Write(message.Bytes())
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}
