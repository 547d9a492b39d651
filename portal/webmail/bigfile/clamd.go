package bigfile

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// What a scanner says of a file.
var (
	ErrTooLarge = errors.New("the virus scanner takes no file of this size")
	ErrScanner  = errors.New("the virus scanner does not answer")
)

// Scanner speaks the protocol of clamd (INSTREAM, clamd(8)).
type Scanner struct {
	network, address string
}

// NewScanner reads "unix:/run/clamav/clamd.ctl" or "host:port".
func NewScanner(address string) (*Scanner, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path == "" {
			return nil, errors.New("no path after unix:")
		}
		return &Scanner{"unix", path}, nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, err
	}
	return &Scanner{"tcp", address}, nil
}

const scanChunk = 256 << 10

// Scan sends a file through the scanner: virus is the name of what was found, ""
// for nothing. The error is ErrTooLarge, or wraps ErrScanner.
func (s *Scanner) Scan(ctx context.Context, r io.Reader) (virus string, err error) {
	ctx, cancel := context.WithTimeout(ctx, scanFor)
	defer cancel()
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, s.network, s.address)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrScanner, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	sent := s.send(c, r)
	var unread *unreadable
	if errors.As(sent, &unread) {
		return "", unread.error
	}
	// The answer counts even when not all was taken: a limit is told so.
	answer, err := bufio.NewReader(io.LimitReader(c, 4096)).ReadString(0)
	answer = strings.TrimRight(answer, "\x00\n")
	switch {
	case strings.HasSuffix(answer, ": OK") && sent == nil:
		return "", nil
	case strings.HasSuffix(answer, " FOUND"):
		_, name, _ := strings.Cut(strings.TrimSuffix(answer, " FOUND"), ": ")
		return name, nil
	case strings.Contains(answer, "size limit exceeded"):
		return "", ErrTooLarge
	case answer != "":
		return "", fmt.Errorf("%w: %q", ErrScanner, answer)
	}
	return "", fmt.Errorf("%w: %w", ErrScanner, errors.Join(sent, err))
}

// unreadable is an error of the file, not of the scanner.
type unreadable struct{ error }

func (s *Scanner) send(w io.Writer, r io.Reader) error {
	if _, err := io.WriteString(w, "zINSTREAM\x00"); err != nil {
		return err
	}
	buffer := make([]byte, 4+scanChunk)
	for {
		n, err := io.ReadFull(r, buffer[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buffer, uint32(n))
			if _, err := w.Write(buffer[:4+n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			_, err := w.Write([]byte{0, 0, 0, 0})
			return err
		}
		if err != nil {
			return &unreadable{err}
		}
	}
}
