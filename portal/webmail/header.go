package webmail

import (
	"bytes"
	"encoding/base64"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

// header is a message's or a part's header as it was received: no line is ever
// a reason to refuse the message. go-message refuses the whole of it for one
// line without a colon.
type header []headerField

type headerField struct {
	key   string // lower case
	value string // unfolded, not decoded
}

const (
	maxHeaderBytes  = 512 << 10
	maxHeaderFields = 2000
)

// splitHeader cuts raw at the first empty line.
func splitHeader(raw []byte) (head, body []byte) {
	for i := 0; i < len(raw); {
		end := bytes.IndexByte(raw[i:], '\n')
		if end < 0 {
			return raw, nil
		}
		if line := bytes.TrimRight(raw[i:i+end], "\r"); len(line) == 0 {
			return raw[:i], raw[i+end+1:]
		}
		i += end + 1
	}
	return raw, nil
}

func parseHeader(raw []byte) header {
	if len(raw) > maxHeaderBytes {
		raw = raw[:maxHeaderBytes]
	}
	var h header
	for len(raw) > 0 && len(h) < maxHeaderFields {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(h) > 0 {
				h[len(h)-1].value += " " + string(bytes.TrimSpace(line))
			}
			continue
		}
		key, value, found := bytes.Cut(line, []byte(":"))
		name := strings.ToLower(string(bytes.TrimSpace(key)))
		if !found || name == "" || strings.ContainsAny(name, " \t") {
			continue
		}
		h = append(h, headerField{name, string(bytes.TrimSpace(value))})
	}
	return h
}

// get is the first value of a field, as sent; "" when there is none.
func (h header) get(key string) string {
	for _, f := range h {
		if f.key == key {
			return f.value
		}
	}
	return ""
}

// count is how often a field stands there.
func (h header) count(key string) (n int) {
	for _, f := range h {
		if f.key == key {
			n++
		}
	}
	return n
}

// text is the first value of a field, decoded and fit for showing.
func (h header) text(key string) string { return cleanLine(decodeWords(h.get(key))) }

// date is the Date field, or the moment the server received the message when
// the field cannot be understood.
func (h header) date(received time.Time) time.Time {
	value := h.get("date")
	if i := strings.IndexByte(value, '('); i > 0 {
		value = value[:i]
	}
	value = strings.Join(strings.Fields(value), " ")
	for _, layout := range []string{
		"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04 -0700", "2 Jan 2006 15:04 -0700",
		"Mon, 2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 06 15:04:05 -0700", time.RFC3339} {
		if t, err := time.Parse(layout, value); err == nil && t.Year() > 1970 && t.Before(received.AddDate(2, 0, 0)) {
			return t
		}
	}
	return received
}

// messageIDs lists the <…> of a field, brackets kept.
func messageIDs(value string) []string {
	var ids []string
	for {
		start := strings.IndexByte(value, '<')
		if start < 0 {
			return ids
		}
		end := strings.IndexByte(value[start:], '>')
		if end < 0 {
			return ids
		}
		id := value[start : start+end+1]
		if !strings.ContainsAny(id, " \t\r\n\"") && len(id) < 300 && isASCII(id) {
			ids = append(ids, id)
		}
		value = value[start+end+1:]
	}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf || s[i] < ' ' {
			return false
		}
	}
	return true
}

var encodedWord = regexp.MustCompile(`=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=`)

// decodeWords decodes RFC 2047 words; words of one charset that follow one
// another are decoded together, because many programs cut a character in two.
// What cannot be decoded is shown as it stands.
func decodeWords(s string) string {
	var out strings.Builder
	var bytesOf, charsetOf = []byte(nil), ""
	flush := func() {
		if bytesOf != nil {
			out.WriteString(decodeCharset(bytesOf, charsetOf))
			bytesOf = nil
		}
	}
	at := 0
	for _, m := range encodedWord.FindAllStringSubmatchIndex(s, 500) {
		between := s[at:m[0]]
		word, name := decodeWord(s[m[4]:m[5]], s[m[6]:m[7]]), strings.ToLower(s[m[2]:m[3]])
		if i := strings.IndexByte(name, '*'); i > 0 { // RFC 2231 §5 language
			name = name[:i]
		}
		if bytesOf == nil || name != charsetOf || strings.TrimSpace(between) != "" {
			flush()
			if strings.TrimSpace(between) != "" || at == 0 {
				out.WriteString(decodeCharset([]byte(between), ""))
			}
			bytesOf, charsetOf = []byte{}, name
		}
		bytesOf = append(bytesOf, word...)
		at = m[1]
	}
	flush()
	out.WriteString(decodeCharset([]byte(s[at:]), ""))
	return out.String()
}

func decodeWord(encoding, text string) []byte {
	if strings.EqualFold(encoding, "b") {
		return decodeBase64([]byte(text))
	}
	return decodeQuoted([]byte(strings.ReplaceAll(text, "_", " ")))
}

// decodeCharset turns bytes of a named charset into UTF-8. Without a name, or
// with one that nobody knows, it takes UTF-8 when it is that, else
// Windows-1252, which every byte string is.
func decodeCharset(b []byte, name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unknown-8bit", "x-unknown":
		if utf8.Valid(b) {
			return string(b)
		}
		name = "windows-1252"
	case "iso-8859-1", "latin1": // browsers and mail programs mean the superset
		name = "windows-1252"
	}
	r, err := charset.Reader(name, bytes.NewReader(b))
	if err == nil {
		decoded, err := io.ReadAll(io.LimitReader(r, int64(len(b))*4+16))
		if err == nil {
			return strings.ToValidUTF8(string(decoded), "\uFFFD")
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	if name != "windows-1252" {
		return decodeCharset(b, "windows-1252")
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

func decodeBase64(b []byte) []byte {
	clean := make([]byte, 0, len(b))
	for _, c := range b {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			clean = append(clean, c)
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}

func decodeQuoted(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '=' {
			out = append(out, b[i])
			continue
		}
		if i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		end := i + 1
		for end < len(b) && (b[end] == ' ' || b[end] == '\t' || b[end] == '\r') {
			end++
		}
		if end == len(b) || b[end] == '\n' { // soft line break
			i = end
			continue
		}
		out = append(out, '=')
	}
	return out
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// cleanLine makes one line that can be shown: no control characters, and none
// of the marks that turn the direction of text, with which "exe.fdp" reads
// "pdf.exe" and a sender's name reads as another's.
func cleanLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r), isDirectionMark(r), r == '\ufeff', r == utf8.RuneError:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	if len(s) > 2000 {
		s = strings.ToValidUTF8(s[:2000], "") + "…"
	}
	return s
}

func isDirectionMark(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\u200e' || r == '\u200f' || r == '\u061c'
}
