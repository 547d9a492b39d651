package mfa

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1" // RFC 6030 §6: MACs and derivation of old files; seeds rest under our own seal
	"crypto/sha256"
	"crypto/sha512"
	"encoding/xml"
	"errors"
	"hash"
	"io"
	"math/big"
	"strconv"
	"strings"
)

// The bounds of a PSKC document, beside those of any file.
const (
	pskcDepth      = 16
	pskcIterations = 2_000_000 // half a second of PBKDF2
)

// strictXML hands over the tokens of a document without DTD, of bounded depth.
type strictXML struct {
	*xml.Decoder
	depth int
}

func (s *strictXML) line() int {
	line, _ := s.InputPos()
	return line
}

// Token implements xml.TokenReader on raw tokens.
func (s *strictXML) Token() (xml.Token, error) {
	t, err := s.RawToken()
	switch t := t.(type) {
	case xml.Directive:
		return nil, &ErrKeyFile{"dtd", s.line()}
	case xml.StartElement:
		if s.depth++; s.depth > pskcDepth || len(t.Attr) > 32 {
			return nil, &ErrKeyFile{"depth", s.line()}
		}
	case xml.EndElement:
		s.depth--
	}
	return t, err
}

// The elements of RFC 6030, by their local names.
type (
	pskcPackage struct {
		Device struct {
			Manufacturer, SerialNo, Model string
		} `xml:"DeviceInfo"`
		Keys []pskcKey `xml:"Key"`
	}
	pskcKey struct {
		ID        string `xml:"Id,attr"`
		Algorithm string `xml:"Algorithm,attr"`
		Suite     string `xml:"AlgorithmParameters>Suite"`
		Format    struct {
			Length   string `xml:"Length,attr"`
			Encoding string `xml:"Encoding,attr"`
		} `xml:"AlgorithmParameters>ResponseFormat"`
		Data struct {
			Secret, Counter, TimeInterval pskcValue
		} `xml:"Data"`
	}
	pskcValue struct {
		Plain     *string        `xml:"PlainValue"`
		Encrypted *pskcEncrypted `xml:"EncryptedValue"`
		MAC       string         `xml:"ValueMAC"`
	}
	pskcEncrypted struct {
		Method struct {
			Algorithm string `xml:"Algorithm,attr"`
		} `xml:"EncryptionMethod"`
		Cipher string `xml:"CipherData>CipherValue"`
	}
	pskcEncryptionKey struct {
		KeyName string      `xml:"KeyName"`
		Derived *pskcDerive `xml:"DerivedKey"`
	}
	pskcDerive struct {
		Method struct {
			Algorithm  string `xml:"Algorithm,attr"`
			Salt       string `xml:"PBKDF2-params>Salt>Specified"`
			Iterations string `xml:"PBKDF2-params>IterationCount"`
			Length     string `xml:"PBKDF2-params>KeyLength"`
			PRF        struct {
				Algorithm string `xml:"Algorithm,attr"`
			} `xml:"PBKDF2-params>PRF"`
		} `xml:"KeyDerivationMethod"`
	}
	pskcMAC struct {
		Algorithm string         `xml:"Algorithm,attr"`
		Key       *pskcEncrypted `xml:"MACKey"`
	}
)

// pskcReader opens the values of one document.
type pskcReader struct {
	file   *keyFile
	open   KeySecrets
	key    []byte // that values are encrypted with; nil for a plain document
	mac    func() hash.Hash
	macKey []byte
}

// readPSKC reads RFC 6030: plain, under a pre-shared key, or under a password.
func readPSKC(f *keyFile, file []byte, open KeySecrets) error {
	strict := &strictXML{Decoder: xml.NewDecoder(bytes.NewReader(file))}
	d := xml.NewTokenDecoder(strict)
	p := &pskcReader{file: f, open: open}
	wrong := func(err error) error {
		var ours *ErrKeyFile
		if errors.As(err, &ours) {
			return ours
		}
		return &ErrKeyFile{"xml", strict.line()}
	}
	container := false
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			if !container {
				return &ErrKeyFile{"format", 1}
			}
			return nil
		}
		if err != nil {
			return wrong(err)
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if !container {
			if start.Name.Local != "KeyContainer" {
				return &ErrKeyFile{"format", strict.line()}
			}
			container = true
			continue
		}
		line := strict.line()
		switch start.Name.Local {
		case "EncryptionKey":
			var e pskcEncryptionKey
			if err := d.DecodeElement(&e, &start); err != nil {
				return wrong(err)
			}
			if err := p.encryptionKey(e, line); err != nil {
				return err
			}
		case "MACMethod":
			var m pskcMAC
			if err := d.DecodeElement(&m, &start); err != nil {
				return wrong(err)
			}
			if err := p.macMethod(m, line); err != nil {
				return err
			}
		case "KeyPackage":
			var one pskcPackage
			if err := d.DecodeElement(&one, &start); err != nil {
				return wrong(err)
			}
			if err := p.keyPackage(one, line); err != nil {
				return wrong(err)
			}
		default:
			if err := d.Skip(); err != nil {
				return wrong(err)
			}
		}
	}
}

// encryptionKey is RFC 6030 §6.1 (a key agreed on) and §6.2 (a password).
func (p *pskcReader) encryptionKey(e pskcEncryptionKey, line int) error {
	if e.Derived == nil {
		if len(p.open.Key) == 0 {
			return &ErrKeyFile{"need-key", line}
		}
		if n := len(p.open.Key); n != 16 && n != 24 && n != 32 {
			return &ErrKeyFile{"secret", line}
		}
		p.key = p.open.Key
		return nil
	}
	m := e.Derived.Method
	if p.open.Password == "" {
		return &ErrKeyFile{"need-password", line}
	}
	salt := base64Of(m.Salt)
	iterations, err1 := strconv.Atoi(strings.TrimSpace(m.Iterations))
	length, err2 := strconv.Atoi(strings.TrimSpace(m.Length))
	if strings.TrimSpace(m.Length) == "" {
		length, err2 = 16, nil
	}
	prf := sha1.New
	if m.PRF.Algorithm != "" {
		prf = macHash(m.PRF.Algorithm)
	}
	if !strings.HasSuffix(strings.ToLower(m.Algorithm), "pbkdf2") || prf == nil || len(salt) == 0 || err1 != nil || err2 != nil ||
		iterations < 1 || iterations > pskcIterations || length != 16 && length != 24 && length != 32 {
		return &ErrKeyFile{"derivation", line}
	}
	var err error
	if p.key, err = pbkdf2.Key(prf, p.open.Password, salt, iterations, length); err != nil {
		return &ErrKeyFile{"derivation", line}
	}
	return nil
}

// macHash is the hash of an HMAC by its XML name.
func macHash(name string) func() hash.Hash {
	switch _, short, _ := strings.Cut(strings.ToLower(name), "#"); strings.ReplaceAll(short, "-", "") {
	case "hmacsha1":
		return sha1.New
	case "hmacsha256", "hmacwithsha256":
		return sha256.New
	case "hmacsha512", "hmacwithsha512":
		return sha512.New
	}
	return nil
}

// macMethod reads with what encrypted values are authenticated: a key of its
// own, or without one the key that encrypts them (RFC 6030 §6.1.1).
func (p *pskcReader) macMethod(m pskcMAC, line int) error {
	if p.mac = macHash(m.Algorithm); p.mac == nil {
		return &ErrKeyFile{"cipher", line}
	}
	p.macKey = p.key
	if m.Key == nil || strings.TrimSpace(m.Key.Cipher) == "" {
		return nil
	}
	key, _, problem := p.decrypt(*m.Key)
	switch problem {
	case "":
		p.macKey = key
		return nil
	case "cipher":
		return &ErrKeyFile{"cipher", line}
	}
	return &ErrKeyFile{"secret", line}
}

// decrypt opens AES-CBC with the padding of XML Encryption (§5.2). What is
// authenticated, the IV and the ciphertext, is returned as well.
func (p *pskcReader) decrypt(e pskcEncrypted) (plain, authenticated []byte, problem string) {
	_, name, _ := strings.Cut(strings.ToLower(strings.TrimSpace(e.Method.Algorithm)), "#")
	size := map[string]int{"aes128-cbc": 16, "aes192-cbc": 24, "aes256-cbc": 32}[name]
	raw := base64Of(e.Cipher)
	switch {
	case size == 0:
		return nil, nil, "cipher"
	case len(p.key) != size, len(raw) < 2*aes.BlockSize, len(raw)%aes.BlockSize != 0, len(raw) > 4096:
		return nil, raw, "decrypt"
	}
	block, err := aes.NewCipher(p.key)
	if err != nil {
		return nil, raw, "decrypt"
	}
	plain = make([]byte, len(raw)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, raw[:aes.BlockSize]).CryptBlocks(plain, raw[aes.BlockSize:])
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, raw, "decrypt"
	}
	return plain[:len(plain)-pad], raw, ""
}

// value opens one value. The MAC is checked before anything is decrypted:
// padding alone would tell a wrong key from a right one only most of the time.
func (p *pskcReader) value(v pskcValue) (raw []byte, plain string, problem string) {
	switch {
	case v.Plain != nil:
		return nil, *v.Plain, ""
	case v.Encrypted == nil:
		return nil, "", ""
	case p.mac == nil || strings.TrimSpace(v.MAC) == "":
		return nil, "", "mac"
	}
	mac := hmac.New(p.mac, p.macKey)
	mac.Write(base64Of(v.Encrypted.Cipher))
	if !hmac.Equal(mac.Sum(nil), base64Of(v.MAC)) {
		return nil, "", "mac"
	}
	raw, _, problem = p.decrypt(*v.Encrypted)
	if problem != "" {
		return nil, "", "decrypt"
	}
	return raw, "", ""
}

func (p *pskcReader) keyPackage(one pskcPackage, line int) error {
	if len(one.Keys) == 0 {
		return p.file.add(line, KeySpec{Serial: one.Device.SerialNo}, "seed", "")
	}
	for _, k := range one.Keys {
		spec, problem, found := p.spec(one, k)
		if err := p.file.add(line, spec, problem, found); err != nil {
			return err
		}
	}
	return nil
}

// spec reads one key. RFC 6030 §4.2: the serial is the device's, else the key's id.
func (p *pskcReader) spec(one pskcPackage, k pskcKey) (spec KeySpec, problem, found string) {
	spec = KeySpec{Serial: one.Device.SerialNo, Hash: hashOf(k.Suite), Digits: 6, Period: 30,
		Model: shorten(strings.TrimSpace(strings.TrimSpace(one.Device.Manufacturer) + " " + strings.TrimSpace(one.Device.Model)))}
	if strings.TrimSpace(spec.Serial) == "" {
		spec.Serial = k.ID
	}
	name := strings.ToUpper(k.Algorithm)
	name = name[strings.LastIndexAny(name, ":#")+1:]
	if spec.Algorithm = strings.TrimPrefix(name, "OATH-"); spec.Algorithm != "HOTP" && spec.Algorithm != "TOTP" {
		return spec, "algorithm", k.Algorithm
	}
	if enc := strings.ToUpper(strings.TrimSpace(k.Format.Encoding)); enc != "" && enc != "DECIMAL" {
		return spec, "digits", enc
	}
	var err error
	if text := strings.TrimSpace(k.Format.Length); text != "" {
		if spec.Digits, err = strconv.Atoi(text); err != nil {
			return spec, "digits", text
		}
	}
	raw, plain, problem := p.value(k.Data.Secret)
	if problem != "" {
		return spec, problem, ""
	}
	if spec.Seed = raw; raw == nil {
		spec.Seed = base64Of(plain)
	}
	if text, ok := p.number(k.Data.TimeInterval); ok {
		if spec.Period, err = strconv.Atoi(text); err != nil {
			return spec, "period", text
		}
	}
	if text, ok := p.number(k.Data.Counter); ok && spec.Algorithm == "HOTP" {
		if spec.Counter, err = strconv.ParseInt(text, 10, 64); err != nil {
			return spec, "counter", text
		}
	}
	return spec, "", ""
}

// number is a value that is a number: its text, or its bytes in network order.
func (p *pskcReader) number(v pskcValue) (text string, ok bool) {
	raw, plain, problem := p.value(v)
	switch {
	case problem != "":
		return problem, true // said as what stands there
	case raw != nil:
		return new(big.Int).SetBytes(raw[:min(len(raw), 16)]).String(), true
	}
	plain = strings.TrimSpace(plain)
	return plain, plain != ""
}
