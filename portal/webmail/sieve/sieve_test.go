package sieve

import (
	"bufio"
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"time"
)

var everything = []string{"fileinto", "imap4flags", "copy", "vacation", "date", "relational", "include", "mailbox", "body"}

var sample = Set{
	Rules: []Rule{
		{ID: "a", Name: "Lettres", Tests: []Test{{Field: "list", Value: "lettre.academie.test"}, {Field: "from", Not: true, Value: `le "chef" \ lui`}}, Folder: "Établissements/Collège", Label: "$label1", Read: true},
		{ID: "b", Name: "fermé", Off: true, Tests: []Test{{Field: "subject", Value: "x"}}, Flag: true},
		{ID: "c", Name: "gros", Any: true, Go: true, Tests: []Test{{Field: "size", Value: "5"}, {Field: "file"}, {Field: "body", Value: "vidéo"}, {Field: "to", Value: "tous@"}}, Redirect: "jmartin@academie.test"},
	},
	Absence:  Absence{On: true, From: "2026-12-19", Until: "2027-01-03", Subject: "Absente", Text: "Bonjour,\n\"je\" reviens.\n# beffroi-set: e30=\n.\nMarie", Addresses: []string{"mdupont@academie.test"}, Domain: "academie.test"},
	Includes: []string{"sogo"},
}

func TestASetIsReadAsItWasWritten(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	text, err := Write(sample, everything, paris)
	if err != nil {
		t.Fatal(err)
	}
	got, changed := Read(text)
	if changed || !reflect.DeepEqual(got, sample) {
		t.Fatalf("changed %v\n%+v", changed, got)
	}
	for _, want := range []string{
		`require ["body", "copy", "date", "fileinto", "imap4flags", "include", "mailbox", "relational", "vacation"];`,
		`not header :contains "from" "le \"chef\" \\ lui"`, `fileinto :create "Établissements/Collège";`, `addflag "\\Seen";`, `size :over 5M`,
		`currentdate :zone "+0100" :value "ge" "date" "2026-12-19"`, `include :personal :optional "sogo";`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the script lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "fermé") {
		t.Error("a rule that is off is written")
	}
	if got, changed := Read(strings.ReplaceAll(text, "\r\n", "\n")); changed || len(got.Rules) != 3 {
		t.Error("other line ends are another text")
	}
	edited := strings.Replace(text, "stop;", "keep;", 1)
	if got, changed := Read(edited); !changed || !reflect.DeepEqual(got, sample) {
		t.Error("an edited script is not seen as such")
	}
	for _, foreign := range []string{"# un autre\r\nkeep;", "garbage", setMark + "%%%"} {
		if got, changed := Read(foreign); !changed || len(got.Rules) != 0 {
			t.Errorf("%q: %v %v", foreign, got, changed)
		}
	}
	if _, changed := Read(""); changed {
		t.Error("no script is a changed one")
	}
	if _, err := Write(sample, []string{"fileinto"}, paris); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "vacation") {
		t.Errorf("a server without the extensions: %v", err)
	}
}

// server says answer and hangs up.
func server(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(answer))
			go func() { time.Sleep(300 * time.Millisecond); c.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestNonsenseIsAnError(t *testing.T) {
	for _, answer := range []string{"", "OK", "BYE \"no\"\r\n", "{99999999999}\r\n", "{-1}\r\n", "{5}xx", "\"" + strings.Repeat("a", 1<<20), strings.Repeat("a ", 1000) + "\r\n",
		"OK\r\n", "OK\r\nOK\r\n{3+}\r\nab", "NO \"x\"\r\n", "OK\r\nNO \"no token\"\r\n", strings.Repeat("\"a\"\r\n", 2<<20)} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		c, err := Dial(ctx, Options{Address: server(t, answer), Mode: "none", SASL: sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "l", Token: "t"})})
		cancel()
		if err == nil {
			c.Close()
			t.Errorf("%.40q is an answer", answer)
		}
		var no *Refused
		if !errors.Is(err, ErrDown) && !errors.Is(err, ErrSignIn) && !errors.As(err, &no) {
			t.Errorf("%.40q: %v", answer, err)
		}
	}
	if _, err := Dial(t.Context(), Options{Address: server(t, "OK\r\n"), Mode: "starttls"}); !errors.Is(err, ErrDown) {
		t.Errorf("without encryption: %v", err)
	}
}

// FuzzLine: whatever a server says, a line ends and its words come back.
func FuzzLine(f *testing.F) {
	f.Add([]byte("\"SIEVE\" \"fileinto\"\r\n"))
	f.Add([]byte("NO (QUOTA/MAXSIZE) {4}\r\nbien\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		client, other := net.Pipe()
		go func() { _, _ = other.Write(said); other.Close() }()
		c := &Conn{raw: client, r: bufio.NewReader(client), budget: 1 << 16}
		for {
			row, err := c.line()
			if err != nil {
				break
			}
			if len(row) == 0 {
				t.Fatal("a line without words")
			}
		}
		client.Close()
	})
}

// FuzzWrite: nothing that a person types leaves the string it is written in.
func FuzzWrite(f *testing.F) {
	f.Add("nom", "valeur", "Dossier", `texte "; stop; #`)
	f.Add("a\nkeep;", "\\", "\"", "\r\n.\r\nkeep;")
	f.Fuzz(func(t *testing.T, name, value, folder, text string) {
		set := Set{Rules: []Rule{{ID: "a", Name: name, Tests: []Test{{Field: "from", Value: value}, {Field: "size", Value: value}}, Folder: folder, Redirect: value}},
			Absence: Absence{On: true, Subject: name, Text: text, Addresses: []string{value}}, Includes: []string{name}}
		script, err := Write(set, everything, time.UTC)
		if err != nil {
			return
		}
		const want = `require [,,,,];ifallof(true){vacation:days1:subject:addresses[];}ifallof(header:contains,size:overM){redirect:copy;fileinto:create;stop;}include:personal:optional;`
		if got := bare(script); got != want && folder != "" && value != "" && name != "" {
			t.Fatalf("commands are\n%s, not\n%s\nin\n%s", got, want, script)
		}
	})
}

// bare is a script without its strings, comments, numbers of sizes and blanks.
func bare(script string) string {
	var out strings.Builder
	for i := 0; i < len(script); i++ {
		switch b := script[i]; {
		case b == '#':
			for i < len(script) && script[i] != '\n' {
				i++
			}
		case b == '"':
			for i++; i < len(script) && script[i] != '"'; i++ {
				if script[i] == '\\' {
					i++
				}
			}
		case b == ' ' || b == '\r' || b == '\n':
		default:
			out.WriteByte(b)
		}
	}
	words := out.String()
	if i := strings.Index(words, "size:over"); i >= 0 {
		rest := strings.TrimLeft(words[i+len("size:over"):], "0123456789")
		words = words[:i+len("size:over")] + rest
	}
	return strings.Replace(words, "require[", "require [", 1)
}
