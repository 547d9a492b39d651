package webmail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func hostileMail(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/mail/*.eml")
	if err != nil || len(files) < 25 {
		t.Fatalf("corpus: %d files, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(name), ".eml")] = raw
	}
	return all
}

// checkParsed holds what every message must keep to, whatever it was.
func checkParsed(t *testing.T, raw []byte) {
	t.Helper()
	h, root := parseMessage(raw)
	parts := 0
	var walk func(p *part, depth int)
	walk = func(p *part, depth int) {
		if parts++; parts > maxParts+1 || depth > maxDepth+1 {
			t.Fatalf("%d parts, depth %d", parts, depth)
		}
		if !validMediaType(p.mediaType) || !utf8.ValidString(p.filename) || strings.ContainsAny(p.filename, "/\\\r\n\"<>") {
			t.Fatalf("part %q %q", p.mediaType, p.filename)
		}
		if !p.multipart() {
			p.decoded(p.body)
		}
		for _, c := range p.children {
			walk(c, depth+1)
		}
	}
	walk(root, 0)
	b := pickBody(root)
	for _, p := range []*part{b.plain, b.html} {
		if p != nil && !utf8.ValidString(decodeText(p)) {
			t.Fatal("text is not UTF-8")
		}
	}
	if s := h.text("subject"); !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00\u202e") {
		t.Fatalf("subject %q", s)
	}
	for _, a := range parseAddresses(h.get("from"), 100) {
		if strings.ContainsAny(a.name+a.mail, "\r\n\x00") {
			t.Fatalf("address %q", a)
		}
	}
	summarise(raw, raw, time.Now())
}

func TestEveryHostileMessageIsReadWithinBounds(t *testing.T) {
	for name, raw := range hostileMail(t) {
		start := time.Now()
		checkParsed(t, raw)
		if took := time.Since(start); took > 3*time.Second { // 200 ms on a machine at rest; the race detector and neighbours take their share
			t.Errorf("%s took %v", name, took)
		}
	}
}

func FuzzEveryMessageIsReadWithinBounds(f *testing.F) {
	for _, raw := range hostileMail(f) {
		if len(raw) < 20000 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkParsed(t, raw) })
}

func TestHeadersAreDecodedAsPeopleMeantThem(t *testing.T) {
	for sent, want := range map[string]string{
		"=?utf-8?q?R=C3=A9union?=":               "Réunion",
		"=?utf-8?q?R=C3?= =?utf-8?q?=A9union?=":  "Réunion", // a character cut in two
		"Re: =?iso-8859-1?Q?=E9t=E9?= 2026":      "Re: été 2026",
		"=?windows-1252?q?=80uro?=":              "€uro",
		"=?utf-8*fr?b?w6l0w6k=?=":                "été",
		"d\xe9j\xe0 vu":                          "déjà vu",
		"=?x-klingon?q?=E9t=E9?=":                "été",
		"=?utf-8?q?a?= et =?utf-8?q?b?=":         "a et b",
		"=?koi8-r?b?8NLJ18XU?=":                  "Привет",
		"facture\u202egpj.exe":                   "facturegpj.exe",
		"=?utf-8?q?x=0D=0ABcc:_evil@evil.test?=": "x  Bcc: evil@evil.test",
		"=?utf-8?b?!!!!?= reste":                 " reste",
	} {
		if got := cleanLine(decodeWords(sent)); got != strings.TrimSpace(want) {
			t.Errorf("%q: %q, want %q", sent, got, want)
		}
	}
}

func TestFileNamesShowTheirRealEnd(t *testing.T) {
	for sent, want := range map[string]string{
		"../../etc/passwd":                  "passwd",
		`C:\docs\note.pdf`:                  "note.pdf",
		"photo.jpg                    .exe": "photo.jpg .exe",
		"facture\u202efdp.exe":              "facturefdp.exe",
		"a\"b<c>.txt":                       "a_b_c_.txt",
		".htaccess":                         "htaccess",
		strings.Repeat("é", 300) + ".exe":   strings.Repeat("é", 73) + "….exe",
	} {
		if got := cleanFilename(sent); got != want {
			t.Errorf("%q: %q, want %q", sent, got, want)
		}
	}
}

func TestAnImpossibleDateIsTheMomentOfReceipt(t *testing.T) {
	received := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for value, same := range map[string]bool{"Mon, 23 Nov 2026 10:00:00 +0100 (CET)": false, "hier": true, "": true, "Thu, 1 Jan 2099 00:00:00 +0000": true, "23 Nov 2026 09:00 +0000": false} {
		got := header{{"date", value}}.date(received)
		if got.Equal(received) != same {
			t.Errorf("%q: %v", value, got)
		}
	}
}
