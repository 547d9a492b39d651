package webmail

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"

	"beffroi/internal/web"
	"beffroi/templates"
)

// Signatures of S/MIME (RFC 8551). A message that is one signed envelope is shown as
// what lies in it; whether the signature holds, and whose it is, is looked at apart,
// so that no message waits for it. Nothing outside is asked: a certificate that was
// revoked is not noticed.

const maxSigned = 32 << 20

// signedKind tells how a message is signed: "clear", "envelope", "" for not at all;
// or that it is "encrypted".
func signedKind(root *part) string {
	switch {
	case root.mediaType == "multipart/signed" && strings.Contains(strings.ToLower(root.params["protocol"]), "pkcs7-signature"):
		return "clear"
	case root.mediaType != "application/pkcs7-mime" && root.mediaType != "application/x-pkcs7-mime":
		return ""
	case strings.EqualFold(root.params["smime-type"], "signed-data"):
		return "envelope"
	case root.params["smime-type"] == "" || strings.EqualFold(root.params["smime-type"], "enveloped-data"), strings.EqualFold(root.params["smime-type"], "authEnveloped-data"):
		return "encrypted"
	}
	return ""
}

// unwrap puts what lies in a signed envelope in the place of the envelope.
func (m *message) unwrap() {
	m.signed = signedKind(m.root)
	if m.signed != "envelope" || !m.root.whole {
		return
	}
	p7, err := parseSigned(m.root.decoded(m.root.body))
	if err != nil || len(p7.Content) == 0 {
		return
	}
	_, m.root = parseMessage(p7.Content)
}

// Bounds of a CMS object in BER: the library that reads it takes a time that grows with
// elements times bytes, and a stack that grows with the depth.
const (
	maxBERDepth = 60
	maxBERWork  = 2 << 30 // elements times bytes
)

// parseSigned reads a CMS object within these bounds.
func parseSigned(b []byte) (*pkcs7.PKCS7, error) {
	if !tameBER(b) {
		return nil, errNoSignature
	}
	return pkcs7.Parse(b)
}

// tameBER walks the elements (X.690 §8.1) without reading what is in them. What is not
// well formed is left to the parser.
func tameBER(b []byte) bool {
	var open []int // ends of the elements around, -1 where the length is indefinite
	elements := 0
	for at := 0; at < len(b); {
		for len(open) > 0 && open[len(open)-1] >= 0 && at >= open[len(open)-1] {
			open = open[:len(open)-1]
		}
		if elements++; elements > maxBERWork/len(b) || len(open) > maxBERDepth {
			return false
		}
		tag := b[at]
		if at++; tag&0x1f == 0x1f {
			for at < len(b) && b[at] >= 0x80 {
				at++
			}
			at++
		}
		if at >= len(b) {
			return true
		}
		length, size := b[at], 0
		at++
		switch {
		case length == 0x80:
			open = append(open, -1)
			continue
		case length > 0x80:
			for n := int(length & 0x7f); n > 0 && at < len(b); n-- {
				if size = size<<8 | int(b[at]); size > len(b) {
					return true // longer than all: the parser refuses it
				}
				at++
			}
		default:
			size = int(length)
		}
		switch {
		case tag == 0 && size == 0 && len(open) > 0 && open[len(open)-1] < 0: // end of contents
			open = open[:len(open)-1]
		case tag&0x20 != 0:
			open = append(open, at+size)
		default:
			at += size
		}
	}
	return true
}

// signature is what can be said of one.
type signature struct {
	state  string // "good", "other" (somebody else's), "unknown" (authority), "broken"
	name   string // of who signed
	mail   string
	issuer string
}

var errNoSignature = errors.New("no signature that can be read")

// verify looks at the signature of a whole message. at is when it was received.
func verify(raw []byte, from string, at time.Time, roots *x509.CertPool) (signature, error) {
	head, content := splitHeader(raw)
	h := parseHeader(head)
	kind, params := parseMediaType(h.get("content-type"), "text/plain")
	var p7 *pkcs7.PKCS7
	switch top := (&part{mediaType: kind, params: params}); signedKind(top) {
	case "clear":
		pieces := splitMultipart(content, params["boundary"], 3)
		if len(pieces) < 2 {
			return signature{}, errNoSignature
		}
		sigHead, sigBody := splitHeader(pieces[1])
		holder := &part{encoding: strings.ToLower(strings.TrimSpace(parseHeader(sigHead).get("content-transfer-encoding")))}
		var err error
		if p7, err = parseSigned(holder.decoded(sigBody)); err != nil {
			return signature{}, errors.Join(errNoSignature, err)
		}
		p7.Content = canonicalLines(pieces[0])
	case "envelope":
		holder := &part{encoding: strings.ToLower(strings.TrimSpace(h.get("content-transfer-encoding")))}
		var err error
		if p7, err = parseSigned(holder.decoded(content)); err != nil {
			return signature{}, errors.Join(errNoSignature, err)
		}
	default:
		return signature{}, errNoSignature
	}
	if len(p7.Signers) != 1 || len(p7.Certificates) > 50 {
		return signature{}, errNoSignature
	}
	signer := p7.GetOnlySigner()
	if signer == nil {
		return signature{}, errNoSignature
	}
	mails := mailsOf(signer)
	s := signature{name: cleanLine(signer.Subject.CommonName), issuer: cleanLine(nameOfAuthority(signer))}
	if len(mails) > 0 {
		s.mail = cleanLine(mails[0])
	}
	if err := p7.Verify(); err != nil {
		s.state = "broken"
		return s, nil
	}
	between := x509.NewCertPool()
	for _, c := range p7.Certificates {
		between.AddCert(c)
	}
	_, err := signer.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}})
	if err != nil {
		s.state = "unknown"
		return s, nil
	}
	s.state = "other"
	for _, mail := range mails {
		if strings.EqualFold(mail, from) {
			s.state, s.mail = "good", cleanLine(mail)
		}
	}
	return s, nil
}

// canonicalLines ends lines as they were signed (RFC 8551 §3.1.1).
func canonicalLines(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

var emailAddress = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1} // RFC 5280 §4.1.2.6

func mailsOf(c *x509.Certificate) []string {
	mails := append([]string(nil), c.EmailAddresses...)
	for _, name := range c.Subject.Names {
		if text, ok := name.Value.(string); ok && name.Type.Equal(emailAddress) {
			mails = append(mails, text)
		}
	}
	return mails
}

func nameOfAuthority(c *x509.Certificate) string {
	if len(c.Issuer.Organization) > 0 {
		return c.Issuer.Organization[0]
	}
	return c.Issuer.CommonName
}

// showSignature answers GET /mail/{box}/{ref}/signature, as a part of the message's page.
func (s *service) showSignature(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	at, err := parseRef(unslug(r.PathValue("box")), r.PathValue("ref"))
	if err != nil {
		return err
	}
	view := &templates.WebmailSignature{}
	err = s.with(ctx, func(who owner) error {
		m, err := s.openMessage(ctx, who, at)
		if err != nil {
			return err
		}
		if m.signed != "clear" && m.signed != "envelope" {
			return nil
		}
		found, err := s.verifySignature(ctx, who, m)
		switch {
		case errors.Is(err, errNoSignature):
			view.State = "broken"
			return nil
		case err != nil:
			return err
		}
		view.State, view.Name, view.Mail, view.Issuer = found.state, found.name, found.mail, found.issuer
		return nil
	})
	if err != nil {
		return err
	}
	return web.Render(w, r, http.StatusOK, view)
}

func (s *service) verifySignature(ctx context.Context, who owner, m *message) (signature, error) {
	if m.size > maxSigned {
		return signature{}, errNoSignature
	}
	raw, err := io.ReadAll(io.LimitReader(&chunks{s: s, ctx: ctx, who: who, ref: m.ref}, maxSigned+1))
	if err != nil {
		return signature{}, err
	}
	from := ""
	if list := parseAddresses(m.header.get("from"), 2); len(list) == 1 && m.header.count("from") == 1 {
		from = list[0].mail
	}
	return verify(raw, from, m.received, s.signers)
}

// openSigners reads the authorities whose signatures count; nil is those of the system.
func openSigners(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " holds no certificate")
	}
	return pool, nil
}
