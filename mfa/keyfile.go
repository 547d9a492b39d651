package mfa

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// The bounds of a file of keys.
const (
	MaxKeyFile = 8 << 20 // bytes
	maxKeys    = 20_000
	maxSerial  = 40
	leastSeed  = 16 // bytes: 128 bits, RFC 4226 §4 R6
	mostSeed   = 128
)

// KeySpec is a key as its maker describes it, with its seed. It is made by
// reading a file and goes into AddKeys, nowhere else.
type KeySpec struct {
	Serial    string
	Algorithm string // "HOTP" or "TOTP"
	Hash      string // "SHA1", "SHA256" or "SHA512"
	Digits    int
	Period    int // seconds, of a TOTP key
	Counter   int64
	Seed      []byte
	Model     string
}

// KeySecrets open an encrypted file; both may be empty.
type KeySecrets struct {
	Key      []byte // the pre-shared key
	Password string
}

// BadKey is an entry of a file that is no key, and why.
type BadKey struct {
	Line    int    `json:"line"`
	Serial  string `json:"serial,omitempty"`
	Problem string `json:"problem"`
	Found   string `json:"found,omitempty"` // what stands there instead; never anything of a seed
}

// What may be wrong with an entry; pages have a sentence for each.
var KeyProblems = []string{"serial", "seed", "seed-short", "seed-long", "algorithm", "hash", "digits", "period", "counter", "mac", "decrypt", "twice", "known", "yubico", "columns"}

// ErrKeyFile says why a file cannot be read at all.
type ErrKeyFile struct {
	Problem string
	Line    int // zero when it is not about one
}

// KeyFileProblems are what ErrKeyFile may say; pages have a sentence for each.
var KeyFileProblems = []string{"empty", "size", "many", "format", "xml", "dtd", "depth", "need-key", "need-password", "derivation", "cipher", "secret"}

func (e *ErrKeyFile) Error() string {
	return fmt.Sprintf("mfa: file of keys, line %d: %s", e.Line, e.Problem)
}

// keyFile is what a reader collects.
type keyFile struct {
	good  []KeySpec
	bad   []BadKey
	lines map[string]int
	tell  func(entries int) error
}

// add takes an entry if it is one, and says what is wrong otherwise.
func (f *keyFile) add(line int, k KeySpec, problem, found string) error {
	k.Serial = cleanSerial(k.Serial)
	if problem == "" {
		problem, found = k.problem()
	}
	if _, twice := f.lines[k.Serial]; problem == "" && twice {
		problem, found = "twice", fmt.Sprint(f.lines[k.Serial])
	}
	if problem == "" {
		f.lines[k.Serial] = line
		f.good = append(f.good, k)
	} else {
		serial := k.Serial
		if !isSerial(serial) {
			serial = ""
		}
		f.bad = append(f.bad, BadKey{Line: line, Serial: serial, Problem: problem, Found: shorten(found)})
	}
	if n := len(f.good) + len(f.bad); n > maxKeys {
		return &ErrKeyFile{"many", line}
	} else if f.tell != nil {
		return f.tell(n)
	}
	return nil
}

// problem names what is wrong with a key, and what stands there.
func (k *KeySpec) problem() (problem, found string) {
	switch {
	case !isSerial(k.Serial):
		return "serial", k.Serial
	case k.Algorithm != "HOTP" && k.Algorithm != "TOTP":
		return "algorithm", k.Algorithm
	case len(k.Seed) == 0:
		return "seed", ""
	case len(k.Seed) < leastSeed:
		return "seed-short", fmt.Sprint(len(k.Seed) * 8)
	case len(k.Seed) > mostSeed:
		return "seed-long", fmt.Sprint(len(k.Seed) * 8)
	case k.Hash != "SHA1" && k.Hash != "SHA256" && k.Hash != "SHA512":
		return "hash", k.Hash
	case k.Digits != 6 && k.Digits != 8:
		return "digits", fmt.Sprint(k.Digits)
	case k.Algorithm == "TOTP" && k.Period != 30 && k.Period != 60:
		return "period", fmt.Sprint(k.Period)
	case k.Counter < 0 || k.Counter > 1<<40:
		return "counter", fmt.Sprint(k.Counter)
	}
	return "", ""
}

// isSerial: what stands on the back of a key, and in an address without being escaped.
func isSerial(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return s != "" && len(s) <= maxSerial && strings.Trim(s, ".") != ""
}

func shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

// ReadKeys reads a file of keys: PSKC (RFC 6030), or the CSV of OATH and of
// Yubico's tool, found out by what stands in it. An entry that is no key does
// not keep the others from being read. tell, which may be nil, hears how many
// entries are done and may end the reading by an error.
func ReadKeys(file []byte, open KeySecrets, tell func(entries int) error) (format string, good []KeySpec, bad []BadKey, err error) {
	file = bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))
	f := &keyFile{lines: map[string]int{}, tell: tell}
	switch text := bytes.TrimSpace(file); {
	case len(file) > MaxKeyFile:
		return "", nil, nil, &ErrKeyFile{Problem: "size"}
	case len(text) == 0:
		return "", nil, nil, &ErrKeyFile{Problem: "empty"}
	case text[0] == '<':
		format, err = "PSKC", readPSKC(f, file, open)
	default:
		format, err = readKeyCSV(f, file)
	}
	if err != nil {
		return format, nil, nil, err
	}
	if len(f.good)+len(f.bad) == 0 {
		return format, nil, nil, &ErrKeyFile{Problem: "empty"}
	}
	if len(f.good) == 0 && opensNothing(f.bad) {
		return format, nil, nil, &ErrKeyFile{Problem: "secret"}
	}
	return format, f.good, f.bad, nil
}

// opensNothing: every entry fails for want of the right key or password.
func opensNothing(bad []BadKey) bool {
	for _, b := range bad {
		if b.Problem != "mac" && b.Problem != "decrypt" {
			return false
		}
	}
	return true
}

// entries guesses how many there are, for a progress bar.
func entries(file []byte) int {
	if bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))), []byte("<")) {
		return bytes.Count(file, []byte("KeyPackage>")) // closing tags; opening ones rarely end there
	}
	return bytes.Count(file, []byte("\n")) + 1
}

// seedOf reads a seed in hexadecimal or base32, whichever it is: 32 digits of
// the one are not 32 letters of the other but by a chance of 2^-40.
func seedOf(text string) []byte {
	text = strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimSpace(text))
	text = strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")
	if raw, err := hex.DecodeString(text); err == nil {
		return raw
	}
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(strings.ToUpper(text), "="))
	if err != nil {
		return nil
	}
	return raw
}

// base64Of reads base64 with the line breaks that XML allows.
func base64Of(text string) []byte {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil
	}
	return raw
}

func hashOf(text string) string {
	text = strings.ToUpper(strings.NewReplacer("-", "", "_", "", " ", "").Replace(text))
	text = strings.TrimPrefix(text, "HMAC")
	if text == "" || text == "SHA" {
		return "SHA1"
	}
	return text
}
