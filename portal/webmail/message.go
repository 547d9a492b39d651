package webmail

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

const (
	wholeUpTo = 512 << 10 // messages up to this size are read in one command and parsed here
	salvage   = 32 << 20  // read of a larger message whose structure the server cannot tell us
	chunk     = 512 << 10 // of an attachment, read between two uses of a connection
)

// ref names a message for good: UIDs mean nothing under another UIDVALIDITY.
type ref struct {
	box      string
	validity uint32
	uid      imap.UID
}

func (r ref) key() string { return fmt.Sprintf("%d.%d", r.validity, r.uid) }
func (r ref) path() string {
	return "/mail/" + escapePath(slug(r.box)) + "/" + r.key()
}

// parseRef reads the "validity.uid" of an address.
func parseRef(box, key string) (ref, error) {
	validity, uid, ok := strings.Cut(key, ".")
	v, errV := strconv.ParseUint(validity, 10, 32)
	u, errU := strconv.ParseUint(uid, 10, 32)
	if !ok || errV != nil || errU != nil || u == 0 || box == "" {
		return ref{}, fmt.Errorf("%w: %q", errGone, key)
	}
	return ref{box, uint32(v), imap.UID(u)}, nil
}

// message is one message opened: its header and structure, and the bytes when
// it is small.
type message struct {
	ref
	flags    []imap.Flag
	received time.Time
	size     int64
	header   header
	root     *part
	body     body
	salvaged bool   // parsed from the bytes because the server's structure could not be read
	cut      bool   // salvaged, and longer than what was read
	signed   string // how: see signedKind
}

func (m *message) has(f imap.Flag) bool { return row{flags: m.flags}.has(f) }

// openMessage reads what the reading pane needs. Small messages take one
// command: flags and all bytes together.
func (s *service) openMessage(ctx context.Context, who owner, r ref) (*message, error) {
	m := &message{ref: r}
	var raw []byte
	err := s.pools.Do(ctx, who, r.box, reads, func(c *conn) error {
		if err := c.openAt(r.box, r.validity, true); err != nil {
			return err
		}
		first := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: wholeUpTo}}
		found, err := c.Fetch(imap.UIDSetNum(r.uid), &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
			BodySection: []*imap.FetchItemBodySection{first}}).Collect()
		if err != nil {
			return err
		}
		for _, f := range found {
			if f.UID == r.uid && len(f.BodySection) > 0 {
				m.flags, m.received, m.size = f.Flags, f.InternalDate, f.RFC822Size
				raw = f.BodySection[0].Bytes
				return nil
			}
		}
		return fmt.Errorf("%w: UID %d", errGone, r.uid)
	})
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) < wholeUpTo {
		m.header, m.root = parseMessage(raw)
		return m, s.understand(ctx, who, m)
	}
	head, _ := splitHeader(raw)
	m.header = parseHeader(head)
	if err := s.readStructure(ctx, who, m); err != nil {
		return nil, err
	}
	return m, s.understand(ctx, who, m)
}

// understand chooses what is shown of a message from its structure.
func (s *service) understand(ctx context.Context, who owner, m *message) error {
	m.unwrap()
	m.body = pickBody(m.root)
	return s.unpackTNEF(ctx, who, m)
}

// readStructure asks for BODYSTRUCTURE. go-imap closes the connection over one
// that it cannot parse: such a message is read whole, up to a bound, and
// remembered, so that its next page costs no connection.
func (s *service) readStructure(ctx context.Context, who owner, m *message) error {
	if !s.poison.has(who.sub, m.ref) {
		err := s.pools.Do(ctx, who, m.box, writes, func(c *conn) error {
			if err := c.openAt(m.box, m.validity, true); err != nil {
				return err
			}
			found, err := c.Fetch(imap.UIDSetNum(m.uid), &imap.FetchOptions{UID: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}}).Collect()
			if err != nil {
				return err
			}
			for _, f := range found {
				if f.UID == m.uid && f.BodyStructure != nil {
					m.root = fromStructure(f.BodyStructure)
					return nil
				}
			}
			return fmt.Errorf("%w: no structure", errGone)
		})
		if err == nil {
			return nil
		}
		if !errors.Is(err, errDropped) {
			return err
		}
		s.poison.add(who.sub, m.ref)
	}
	raw, err := io.ReadAll(io.LimitReader(&chunks{s: s, ctx: ctx, who: who, ref: m.ref}, salvage))
	if err != nil {
		return err
	}
	_, m.root = parseMessage(raw)
	m.salvaged, m.cut = true, len(raw) == salvage
	return nil
}

// poison remembers messages whose BODYSTRUCTURE breaks the connection.
type poison struct {
	mu    sync.Mutex
	known map[string]bool
}

func (p *poison) has(sub string, r ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[sub+"\x00"+r.box+"\x00"+r.key()]
}

func (p *poison) add(sub string, r ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) > 5000 {
		p.known = map[string]bool{}
	}
	p.known[sub+"\x00"+r.box+"\x00"+r.key()] = true
}

// chunks reads a section of a message piece by piece, each piece in a use of
// its own: a browser that downloads slowly holds no connection, and a message
// of 50 MB never stands in memory.
type chunks struct {
	s      *service
	ctx    context.Context
	who    owner
	ref    ref
	path   []int // nil for the whole message
	offset int64
	rest   []byte
	done   bool
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.rest) == 0 && !c.done {
		piece, err := c.next()
		if err != nil {
			return 0, err
		}
		c.rest = piece
		c.offset += int64(len(piece))
		c.done = len(piece) < chunk
	}
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *chunks) next() (piece []byte, err error) {
	section := &imap.FetchItemBodySection{Peek: true, Part: c.path, Partial: &imap.SectionPartial{Offset: c.offset, Size: chunk}}
	err = c.s.pools.Do(c.ctx, c.who, c.ref.box, reads, func(conn *conn) error {
		piece = nil
		if err := conn.openAt(c.ref.box, c.ref.validity, true); err != nil {
			return err
		}
		found, err := conn.Fetch(imap.UIDSetNum(c.ref.uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			return err
		}
		for _, f := range found {
			if f.UID == c.ref.uid && len(f.BodySection) > 0 {
				piece = f.BodySection[0].Bytes
				if len(piece) > chunk {
					return fmt.Errorf("asked %d bytes, got %d", chunk, len(piece))
				}
				return nil
			}
		}
		return fmt.Errorf("%w: section", errGone)
	})
	return piece, err
}

// content reads a part's decoded content as a stream.
func (s *service) content(ctx context.Context, who owner, m *message, p *part) io.Reader {
	if p.whole {
		return bytes.NewReader(p.decoded(p.body))
	}
	raw := &chunks{s: s, ctx: ctx, who: who, ref: m.ref, path: p.path}
	switch p.encoding {
	case "base64":
		return base64.NewDecoder(base64.RawStdEncoding, &base64Only{r: raw})
	case "quoted-printable":
		return quotedprintable.NewReader(raw)
	}
	return raw
}

// base64Only leaves out of a stream what is not base64, padding included:
// mail has it broken in every way.
type base64Only struct{ r io.Reader }

func (b *base64Only) Read(p []byte) (int, error) {
	for {
		n, err := b.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' {
				p[kept] = c
				kept++
			}
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

// textContent is a text part as UTF-8, as far as a page shows it.
func (s *service) textContent(ctx context.Context, who owner, m *message, p *part, most int64) (text string, cut bool, err error) {
	content, err := io.ReadAll(io.LimitReader(s.content(ctx, who, m, p), most+1))
	if err != nil && len(content) == 0 {
		return "", false, err
	}
	if int64(len(content)) > most {
		content, cut = content[:most], true
	}
	plain := *p
	plain.encoding = ""
	return decodeTextOf(&plain, content), cut, nil
}
