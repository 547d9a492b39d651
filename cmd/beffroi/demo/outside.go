package demo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "github.com/emersion/go-message/charset" // what letters are written in
	"github.com/emersion/go-message/mail"
)

// Mail that the provider sends to an address outside the academy goes nowhere:
// it is kept in a folder, for `beffroi demo mail`.
const outsideMost = 200 // messages

// keepOutside writes a message for an address outside; the oldest make room.
func keepOutside(dir, address string, raw []byte, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files, err := outsideFiles(dir)
	if err != nil {
		return err
	}
	for ; len(files) >= outsideMost; files = files[1:] {
		if err := os.Remove(filepath.Join(dir, files[0])); err != nil {
			return err
		}
	}
	for n := now.UnixNano(); ; n++ {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%020d.eml", n)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.Write(append([]byte("Delivered-To: "+strings.ToLower(address)+"\r\n"), raw...))
		return errors.Join(err, f.Close())
	}
}

// outsideFiles are the names of the messages, the oldest first.
func outsideFiles(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".eml") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// Letter is a message that went to an address outside.
type Letter struct{ To, Subject, Text string }

// ErrNoLetter says that nothing came to an address.
var ErrNoLetter = errors.New("no mail has come there")

// Outside is the newest message that the demo of a directory sent to an address
// outside the academy.
func Outside(dir, address string) (Letter, error) {
	dir = filepath.Join(dir, "outside")
	files, err := outsideFiles(dir)
	if err != nil {
		return Letter{}, err
	}
	for _, name := range slices.Backward(files) {
		l, err := readLetter(filepath.Join(dir, name))
		if err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
		if strings.EqualFold(l.To, strings.TrimSpace(address)) {
			return l, nil
		}
	}
	return Letter{}, ErrNoLetter
}

func readLetter(path string) (l Letter, err error) {
	f, err := os.Open(path)
	if err != nil {
		return l, err
	}
	defer func() { _ = f.Close() }()
	r, err := mail.CreateReader(f)
	if err != nil {
		return l, err
	}
	l.To = r.Header.Get("Delivered-To")
	if l.Subject, err = r.Header.Subject(); err != nil {
		return l, err
	}
	for {
		part, err := r.NextPart()
		if err != nil {
			return l, fmt.Errorf("no text: %w", err)
		}
		if h, ok := part.Header.(*mail.InlineHeader); ok {
			if kind, _, _ := h.ContentType(); kind == "text/plain" {
				text, err := io.ReadAll(part.Body)
				l.Text = strings.ReplaceAll(string(text), "\r\n", "\n")
				return l, err
			}
		}
	}
}
