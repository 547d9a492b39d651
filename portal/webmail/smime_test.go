package webmail

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"beffroi/portal"
)

// authority signs certificates of people.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{name}}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, _ = x509.ParseCertificate(der)
	return authority{c, key}
}

func (a authority) sign(t testing.TB, mail string, usage x509.ExtKeyUsage, content []byte, detached bool) []byte {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Marie Dupont"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), EmailAddresses: []string{mail}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	signed, err := pkcs7.NewSignedData(content)
	if err != nil {
		t.Fatal(err)
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSigner(leaf, key, pkcs7.SignerInfoConfig{}); err != nil {
		t.Fatal(err)
	}
	if detached {
		signed.Detach()
	}
	out, err := signed.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func base64Lines(b []byte) string {
	text := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(text) > 76 {
		out.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	return out.String() + text + "\r\n"
}

const signedEntity = "Content-Type: text/plain; charset=utf-8\r\n\r\nLe budget est vot\u00e9.\r\n"

func clearSigned(from, entity string, signature []byte) string {
	return "From: Marie Dupont <" + from + ">\r\nTo: jmartin@academie.test\r\nSubject: Budget\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=s\r\n\r\n--s\r\n" +
		entity + "\r\n--s\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64Lines(signature) + "\r\n--s--\r\n"
}

func TestSignaturesAreLookedAt(t *testing.T) {
	known, other := newAuthority(t, "IGC de test"), newAuthority(t, "Inconnue")
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: known.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRigShowing(t, "", func(c *portal.MailConfig) { c.SignersFile = file })
	j := r.browser("jmartin")
	entity := []byte(signedEntity)
	good := known.sign(t, "mdupont@academie.test", x509.ExtKeyUsageEmailProtection, entity, true)
	for _, c := range []struct{ name, mail, want string }{
		{"good", clearSigned("mdupont@academie.test", signedEntity, good), "Signature valide"},
		{"another sender", clearSigned("ssmith@academie.test", signedEntity, good), "qui n’est pas l’expéditeur"},
		{"changed", clearSigned("mdupont@academie.test", strings.Replace(signedEntity, "vot", "rejet", 1), good), "il a été modifié"},
		{"unknown authority", clearSigned("mdupont@academie.test", signedEntity, other.sign(t, "mdupont@academie.test", x509.ExtKeyUsageEmailProtection, entity, true)), "n’est pas reconnue ici"},
		{"a certificate for something else", clearSigned("mdupont@academie.test", signedEntity, known.sign(t, "mdupont@academie.test", x509.ExtKeyUsageServerAuth, entity, true)), "n’est pas reconnue ici"},
		{"no signature at all", clearSigned("mdupont@academie.test", signedEntity, []byte("rien")), "il a été modifié"},
		{"an envelope", "From: mdupont@academie.test\r\nSubject: Budget\r\nMIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64Lines(known.sign(t, "mdupont@academie.test", x509.ExtKeyUsageEmailProtection, entity, false)), "Signature valide"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.dovecot.Deliver("jmartin", c.mail)
			path := j.rowAt("/mail/", 0)
			j.get(path)
			j.sees("Le budget est", path+"/signature")
			if strings.Contains(j.body, `class="clip">smime.p7`) {
				t.Fatal("the signature is offered as an attachment")
			}
			j.get(path + "/signature")
			j.status(200)
			j.sees(c.want)
			if strings.Contains(j.body, "Signature valide") != (c.want == "Signature valide") {
				t.Fatal(j.body)
			}
		})
	}
	r.dovecot.Deliver("jmartin", "From: a@dehors.test\r\nSubject: x\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n")
	j.get(j.rowAt("/mail/", 0))
	j.sees("Ce message est chiffré", "smime.p7m")
}

func TestWildBERCostsNothing(t *testing.T) {
	a := newAuthority(t, "x")
	if !tameBER(a.sign(t, "a@b.test", x509.ExtKeyUsageEmailProtection, bytes.Repeat([]byte("ligne\r\n"), 1<<20), false)) {
		t.Fatal("an honest signature is refused")
	}
	for name, b := range map[string][]byte{
		"deep":        bytes.Repeat([]byte{0x30, 0x80}, 8<<20),
		"deep, short": bytes.Repeat([]byte{0x30, 0x83, 0x10, 0, 0}, 1<<20),
		"many":        append([]byte{0x24, 0x80}, bytes.Repeat([]byte{4, 1, 65}, 8<<20)...),
	} {
		if tameBER(b) {
			t.Errorf("%s: goes to the parser", name)
		}
		if _, err := verify([]byte("Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n"+string(b)), "a@b.test", time.Now(), nil); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// tnef builds winmail.dat with the files, named as Outlook does.
func tnef(files map[string]string) []byte {
	var b bytes.Buffer
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	attribute := func(level byte, id uint32, data []byte) {
		b.WriteByte(level)
		le(id)
		le(uint32(len(data)))
		b.Write(data)
		var sum uint16
		for _, c := range data {
			sum += uint16(c)
		}
		le(sum)
	}
	le(uint32(tnefSignature))
	le(uint16(1))
	attribute(1, 0x00089006, []byte{0, 0, 1, 0})
	for name, content := range files {
		attribute(2, attAttachRend, make([]byte, 14))
		attribute(2, attAttachTitle, []byte("COURT~1.PDF\x00"))
		attribute(2, attAttachData, []byte(content))
		var props bytes.Buffer
		pl := func(v any) { _ = binary.Write(&props, binary.LittleEndian, v) }
		pl(uint32(2))
		pl(uint16(0x0003)) // a number, before the name
		pl(uint16(0x0e20))
		pl(uint32(7))
		var units []byte
		for _, r := range name + "\x00" {
			units = binary.LittleEndian.AppendUint16(units, uint16(r))
		}
		pl(uint16(0x001f))
		pl(uint16(prLongFilename))
		pl(uint32(1))
		pl(uint32(len(units)))
		props.Write(units)
		for props.Len()%4 != 0 {
			props.WriteByte(0)
		}
		attribute(2, attAttachment, props.Bytes())
	}
	return b.Bytes()
}

func TestWinmailGivesItsFiles(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	whole := tnef(map[string]string{"Emploi du temps été.pdf": "%PDF-1.7 contenu"})
	mail := func(content []byte) string {
		return "From: a@dehors.test\r\nSubject: Outlook\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nbonjour\r\n--b\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64Lines(content) + "\r\n--b--\r\n"
	}
	r.dovecot.Deliver("mdupont", mail(whole))
	path := b.rowAt("/mail/", 0)
	b.get(path)
	b.sees("Emploi du temps été.pdf", path+"/part/2.1001")
	if strings.Contains(b.body, "winmail.dat") {
		t.Fatal("winmail.dat is still offered")
	}
	b.get(path + "/part/2.1001")
	b.status(200)
	b.sees("%PDF-1.7 contenu")
	b.get(path + "/part/2.1002")
	b.status(404)
	// forwarded, it goes along as what it is
	b.get("/mail/compose?forward=" + path)
	b.sees("Emploi du temps été.pdf")
	// large enough to be read piece by piece
	r.dovecot.Deliver("mdupont", mail(tnef(map[string]string{"grand.bin": strings.Repeat("0123456789abcdef", 60_000)})))
	path = b.rowAt("/mail/", 0)
	b.get(path)
	b.sees("grand.bin")
	b.get(path + "/part/2.1001")
	if len(b.body) != 960_000 {
		t.Fatal(len(b.body))
	}
	// damaged: one file, as it came
	r.dovecot.Deliver("mdupont", mail(whole[:20]))
	b.get(b.rowAt("/mail/", 0))
	b.sees("winmail.dat")
}

func FuzzTNEF(f *testing.F) {
	f.Add(tnef(map[string]string{"a.pdf": "x", "b": ""}))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for _, one := range readTNEF(b) {
			total += len(one.content)
			if strings.ContainsAny(one.name, "/\\\x00\n") || one.name == "" {
				t.Fatalf("name %q", one.name)
			}
		}
		if total > len(b) {
			t.Fatal("more comes out than went in")
		}
	})
}

func FuzzSignature(f *testing.F) {
	for _, name := range []string{"clear", "envelope"} {
		raw, err := os.ReadFile("testdata/smime/" + name + ".eml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	pool := x509.NewCertPool()
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := verify(raw, "a@b.test", time.Now(), pool); err == nil && s.state == "good" {
			t.Fatal("good without any authority")
		}
	})
}
