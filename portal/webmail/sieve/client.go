// Package sieve speaks ManageSieve (RFC 5804) and writes the one script of
// Beffroi: filters and an absence, as Sieve (RFC 5228).
//
// It promises: what another program wrote is never lost (script.go); a server
// that talks nonsense costs an error within the deadline of the context.
package sieve

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/emersion/go-sasl"
)

// What a server did to us.
var (
	ErrDown   = errors.New("sieve server does not answer")
	ErrSignIn = errors.New("sieve server refuses the sign-in")
)

// Refused is a NO of the server: Code as in RFC 5804 §1.3 ("QUOTA/MAXSIZE"…), "" when it gave none.
type Refused struct{ Code, Text string }

func (r *Refused) Error() string { return "sieve server says no: " + r.Code + " " + r.Text }

// Options say which server, and who asks.
type Options struct {
	Address string // host:port
	Mode    string // "tls", "starttls" or "none"
	TLS     *tls.Config
	SASL    sasl.Client // who asks
}

// Script is one of the scripts on the server.
type Script struct {
	Name   string
	Active bool
}

// Conn is a connection after the sign-in. It is used by one goroutine.
type Conn struct {
	raw        net.Conn
	r          *bufio.Reader
	budget     int64 // bytes that the server may still send
	stop       func() bool
	mechanisms []string
	extensions []string
	starttls   bool
}

const (
	mostAnswer = 4 << 20
	mostLine   = 16 << 10
)

// Dial connects, encrypts as told and signs in. The
// whole conversation ends with ctx. The error wraps ErrDown or ErrSignIn.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	c := &Conn{raw: raw, budget: mostAnswer}
	c.stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
	if err := c.begin(ctx, o); err != nil {
		c.stop()
		_ = raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrDown, ctx.Err())
		}
		return nil, err
	}
	return c, nil
}

func (c *Conn) begin(ctx context.Context, o Options) error {
	if o.Mode == "tls" {
		if err := c.encrypt(ctx, o.TLS); err != nil {
			return err
		}
	}
	c.r = bufio.NewReaderSize(c.raw, mostLine)
	if err := c.greeting(); err != nil {
		return err
	}
	if o.Mode == "starttls" {
		if !c.starttls {
			return fmt.Errorf("%w: it offers no STARTTLS", ErrDown)
		}
		if _, err := c.command("STARTTLS"); err != nil {
			return err
		}
		if c.r.Buffered() > 0 { // what came before the handshake is nobody's word
			return fmt.Errorf("%w: it spoke before the handshake", ErrDown)
		}
		if err := c.encrypt(ctx, o.TLS); err != nil {
			return err
		}
		c.r = bufio.NewReaderSize(c.raw, mostLine)
		if err := c.greeting(); err != nil {
			return err
		}
	}
	if err := c.signIn(o); err != nil {
		return err
	}
	rows, err := c.command("CAPABILITY")
	if err != nil {
		return err
	}
	c.capabilities(rows)
	return nil
}

func (c *Conn) encrypt(ctx context.Context, config *tls.Config) error {
	over := tls.Client(c.raw, config)
	if err := over.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: TLS: %w", ErrDown, err)
	}
	c.raw = over
	return nil
}

func (c *Conn) greeting() error {
	rows, err := c.answer()
	if err != nil {
		return err
	}
	c.capabilities(rows)
	return nil
}

func (c *Conn) capabilities(rows [][]string) {
	for _, row := range rows {
		value := ""
		if len(row) > 1 {
			value = row[1]
		}
		switch strings.ToUpper(row[0]) {
		case "SIEVE":
			c.extensions = strings.Fields(value)
		case "SASL":
			c.mechanisms = strings.Fields(value)
		case "STARTTLS":
			c.starttls = true
		}
	}
}

func (c *Conn) signIn(o Options) error {
	name, first, err := o.SASL.Start()
	if err != nil {
		return err
	}
	if err := c.send("AUTHENTICATE " + quoted(name) + " " + literal(base64.StdEncoding.EncodeToString(first))); err != nil {
		return err
	}
	for {
		row, err := c.line()
		if err != nil {
			return err
		}
		switch verb := strings.ToUpper(row[0]); {
		case verb == "OK":
			return nil
		case verb == "NO":
			return fmt.Errorf("%w: %w", ErrSignIn, refusal(row))
		case verb == "BYE":
			return fmt.Errorf("%w: %s", ErrDown, strings.Join(row, " "))
		}
		// A challenge: the reason of a refusal (RFC 7628 §3.2.3).
		if err := c.send(quoted("AQ==")); err != nil {
			return err
		}
	}
}

// Extensions are the Sieve extensions that the server knows, "fileinto" and such.
func (c *Conn) Extensions() []string { return c.extensions }

// List names the scripts.
func (c *Conn) List() ([]Script, error) {
	rows, err := c.command("LISTSCRIPTS")
	if err != nil {
		return nil, err
	}
	var list []Script
	for _, row := range rows {
		list = append(list, Script{Name: row[0], Active: len(row) > 1 && strings.EqualFold(row[1], "ACTIVE")})
	}
	return list, nil
}

// Get reads a script.
func (c *Conn) Get(name string) (string, error) {
	rows, err := c.command("GETSCRIPT " + literal(name))
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("%w: no script in the answer", ErrDown)
	}
	return rows[0][0], nil
}

// Put writes a script; the server checks it first and answers *Refused.
func (c *Conn) Put(name, text string) error {
	_, err := c.command("PUTSCRIPT " + literal(name) + " " + literal(text))
	return err
}

// Activate makes a script the one that runs; "" lets none run.
func (c *Conn) Activate(name string) error {
	_, err := c.command("SETACTIVE " + literal(name))
	return err
}

// Delete removes a script that does not run.
func (c *Conn) Delete(name string) error {
	_, err := c.command("DELETESCRIPT " + literal(name))
	return err
}

// Close ends the conversation.
func (c *Conn) Close() {
	_ = c.send("LOGOUT")
	c.stop()
	_ = c.raw.Close()
}

func (c *Conn) command(line string) ([][]string, error) {
	if err := c.send(line); err != nil {
		return nil, err
	}
	return c.answer()
}

func (c *Conn) send(line string) error {
	if _, err := io.WriteString(c.raw, line+"\r\n"); err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return nil
}

// answer reads lines up to the one that ends them (RFC 5804 §1.2).
func (c *Conn) answer() (rows [][]string, err error) {
	for {
		row, err := c.line()
		if err != nil {
			return nil, err
		}
		switch strings.ToUpper(row[0]) {
		case "OK":
			return rows, nil
		case "NO":
			return nil, refusal(row)
		case "BYE":
			return nil, fmt.Errorf("%w: %s", ErrDown, strings.Join(row[1:], " "))
		}
		rows = append(rows, trimMarks(row))
	}
}

// A string of the server is kept apart from an atom by this mark while a line is
// read: a script named "OK" does not end the answer.
const stringMark = "\x00"

func trimMarks(row []string) []string {
	for i := range row {
		row[i] = strings.TrimPrefix(row[i], stringMark)
	}
	return row
}

func refusal(row []string) *Refused {
	r := &Refused{}
	for _, word := range row[1:] {
		text, isString := strings.CutPrefix(word, stringMark)
		switch {
		case isString:
			r.Text = text
		case strings.HasPrefix(word, "("):
			r.Code = strings.ToUpper(strings.Trim(word, "()"))
		}
	}
	return r
}

// line reads one line of words: atoms, strings with stringMark before them, and
// what stands in parentheses as one word.
func (c *Conn) line() (row []string, err error) {
	for {
		b, err := c.byte()
		if err != nil {
			return nil, err
		}
		switch b {
		case ' ', '\r':
		case '\n':
			if len(row) == 0 {
				continue
			}
			return row, nil
		case '"':
			word, err := c.rest('"')
			if err != nil {
				return nil, err
			}
			row = append(row, stringMark+word)
		case '{':
			word, err := c.literal()
			if err != nil {
				return nil, err
			}
			row = append(row, stringMark+word)
		case '(':
			word, err := c.rest(')')
			if err != nil {
				return nil, err
			}
			row = append(row, "("+word+")")
		default:
			word := []byte{b}
			for {
				next, err := c.r.Peek(1)
				if err != nil {
					return nil, fmt.Errorf("%w: %w", ErrDown, err)
				}
				if strings.IndexByte(" \r\n\"({", next[0]) >= 0 || len(word) > mostLine {
					break
				}
				b, err := c.byte()
				if err != nil {
					return nil, err
				}
				word = append(word, b)
			}
			row = append(row, string(word))
		}
		if len(row) > 100 {
			return nil, fmt.Errorf("%w: a line of too many words", ErrDown)
		}
	}
}

func (c *Conn) byte() (byte, error) {
	if c.budget--; c.budget < 0 {
		return 0, fmt.Errorf("%w: it says too much", ErrDown)
	}
	b, err := c.r.ReadByte()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return b, nil
}

// rest reads to an end that no backslash stands before.
func (c *Conn) rest(end byte) (string, error) {
	var word []byte
	for len(word) <= mostLine {
		b, err := c.byte()
		if err != nil {
			return "", err
		}
		switch b {
		case end:
			return string(word), nil
		case '\\':
			if b, err = c.byte(); err != nil {
				return "", err
			}
		}
		word = append(word, b)
	}
	return "", fmt.Errorf("%w: a string without an end", ErrDown)
}

func (c *Conn) literal() (string, error) {
	size, err := c.rest('}')
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(size, "+"), 10, 64)
	if err != nil || n < 0 || n > c.budget {
		return "", fmt.Errorf("%w: a string of %q bytes", ErrDown, size)
	}
	for _, want := range "\r\n" {
		if b, err := c.byte(); err != nil || rune(b) != want {
			return "", fmt.Errorf("%w: a string without its line: %v", ErrDown, err)
		}
	}
	text := make([]byte, n)
	c.budget -= n
	if _, err := io.ReadFull(c.r, text); err != nil {
		return "", fmt.Errorf("%w: %w", ErrDown, err)
	}
	return string(text), nil
}

// literal writes a string that may hold anything.
func literal(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }
