package bigfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testpeer"
)

func TestPiecesBecomeAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	d, err := NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	const id = "abcdefgh2345"
	for _, piece := range []struct {
		at   int64
		text string
	}{{0, "premier "}, {8, "perdu"}, {8, "second"}} { // the second one is sent again
		if n, err := d.Append(ctx, id, piece.at, strings.NewReader(piece.text)); err != nil || n != int64(len(piece.text)) {
			t.Fatal(n, err)
		}
	}
	f, err := d.Open(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	f.Close()
	if string(got) != "premier second" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	for _, bad := range []string{"", "../../etc/passwd", "ABCDEFGHIJ", "abc/defghi", "a.b.c.d.e.f"} {
		if _, err := d.Append(ctx, bad, 0, strings.NewReader("x")); err == nil {
			t.Errorf("%q is an ID", bad)
		}
		if _, err := d.Open(ctx, bad); err == nil {
			t.Errorf("%q is an ID", bad)
		}
		if err := d.Remove(ctx, bad); err == nil {
			t.Errorf("%q is an ID", bad)
		}
	}
	for range 2 {
		if err := d.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Open(ctx, id); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := NewDisk(filepath.Join(os.DevNull, "x")); err == nil {
		t.Fatal("a folder that cannot be")
	}
}

func TestTheScannerFinds(t *testing.T) {
	c := testpeer.Clamd(t, "1M")
	for _, address := range []string{c.Address, "unix:" + c.Socket} {
		s, err := NewScanner(address)
		if err != nil {
			t.Fatal(err)
		}
		if virus, err := s.Scan(t.Context(), strings.NewReader("rien")); virus != "" || err != nil {
			t.Fatalf("%q %v", virus, err)
		}
		if virus, err := s.Scan(t.Context(), strings.NewReader("")); virus != "" || err != nil {
			t.Fatalf("empty: %q %v", virus, err)
		}
		long := strings.Repeat("x", 600_000) + testpeer.VirusText
		if virus, err := s.Scan(t.Context(), strings.NewReader(long)); virus != testpeer.Virus || err != nil {
			t.Fatalf("%q %v", virus, err)
		}
		if _, err := s.Scan(t.Context(), bytes.NewReader(make([]byte, 5<<20))); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	}
	broken := errors.New("disk")
	s, _ := NewScanner(c.Address)
	if _, err := s.Scan(t.Context(), io.MultiReader(strings.NewReader("a"), &failing{broken})); !errors.Is(err, broken) || errors.Is(err, ErrScanner) {
		t.Fatal(err)
	}
	c.Kill()
	if _, err := s.Scan(t.Context(), strings.NewReader("rien")); !errors.Is(err, ErrScanner) {
		t.Fatal(err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestAScannerThatTalksNonsenseFindsNothingClean(t *testing.T) {
	for _, answer := range []string{"", "stream: ERROR\x00", "garbage\x00"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, c, 22)
			_, _ = io.WriteString(c, answer)
			c.Close()
		}()
		s, _ := NewScanner(l.Addr().String())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		virus, err := s.Scan(ctx, strings.NewReader("rien"))
		cancel()
		l.Close()
		if err == nil {
			t.Errorf("%q: clean, %q", answer, virus)
		}
	}
	for _, bad := range []string{"", "unix:", "clamd"} {
		if _, err := NewScanner(bad); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}
