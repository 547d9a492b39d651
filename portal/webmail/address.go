package webmail

import (
	"errors"
	"net/mail"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// address is one sender or recipient.
type address struct {
	name string // cleaned, may be empty
	mail string // "local@host", may be empty when the sender wrote nonsense
}

// shown is what a list shows: the name, or the address where there is none.
func (a address) shown() string {
	if a.name != "" {
		return a.name
	}
	return a.mail
}

// parseAddresses reads the addresses of a received header, whatever it holds.
func parseAddresses(value string, most int) []address {
	var list []address
	for _, piece := range splitAddresses(value) {
		if len(list) >= most {
			break
		}
		if a, ok := parseReceived(piece); ok {
			list = append(list, a)
		}
	}
	return list
}

func parseReceived(piece string) (address, bool) {
	name, mailPart := piece, ""
	if open := strings.LastIndexByte(piece, '<'); open >= 0 {
		name = piece[:open]
		mailPart, _, _ = strings.Cut(piece[open+1:], ">")
	} else if at := strings.IndexByte(piece, '('); at > 0 && strings.Contains(piece[:at], "@") {
		mailPart = piece[:at]
		name = strings.TrimSuffix(strings.TrimSpace(piece[at+1:]), ")")
	} else if strings.Contains(piece, "@") {
		name, mailPart = "", piece
	}
	name = strings.TrimSpace(name)
	if len(name) > 1 && strings.HasPrefix(name, `"`) && strings.HasSuffix(name, `"`) {
		name = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(name[1 : len(name)-1])
	}
	a := address{name: cleanLine(decodeWords(name)), mail: cleanLine(strings.TrimSpace(mailPart))}
	if a.name == a.mail {
		a.name = ""
	}
	return a, a.name != "" || a.mail != ""
}

// splitAddresses cuts at the commas (and semicolons, which people and groups
// use) that stand outside quotes, brackets and comments. Group names go.
func splitAddresses(value string) []string {
	var pieces []string
	var quoted, angle bool
	comment, start := 0, 0
	cut := func(end int) {
		if piece := strings.TrimSpace(value[start:end]); piece != "" {
			pieces = append(pieces, piece)
		}
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && (quoted || comment > 0):
			i++
		case c == '"' && comment == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			comment++
		case c == ')' && comment > 0:
			comment--
		case comment > 0:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case angle:
		case c == ',' || c == ';' || c == '\n':
			cut(i)
			start = i + 1
		case c == ':' && !strings.Contains(value[start:i], "@"):
			start = i + 1
		}
	}
	cut(len(value))
	return pieces
}

// badRecipient says which of the addresses a person typed cannot be one.
type badRecipient struct{ typed string }

func (e *badRecipient) Error() string { return "not an address: " + e.typed }

const maxRecipients = 300

var errTooManyRecipients = errors.New("too many recipients")

// parseRecipients reads what a person typed into To, Cc or Bcc. Every address
// must be one: the first that is not is named in the error.
func parseRecipients(typed string) ([]address, error) {
	var list []address
	for _, piece := range splitAddresses(typed) {
		a, ok := parseReceived(piece)
		if !ok || a.mail == "" {
			return nil, &badRecipient{piece}
		}
		clean, ok := validMail(a.mail)
		if !ok {
			return nil, &badRecipient{piece}
		}
		a.mail = clean
		if len(list) >= maxRecipients {
			return nil, errTooManyRecipients
		}
		list = append(list, a)
	}
	return list, nil
}

// validMail checks an address for the envelope: ASCII local part, a host in
// its ASCII form, nothing that could end a line.
func validMail(s string) (string, bool) {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || len(s) > 254 || !utf8.ValidString(s) {
		return "", false
	}
	local, host := s[:at], s[at+1:]
	if !isASCII(local) || len(local) > 64 || strings.ContainsAny(local, " <>()[],;:\\\"") {
		return "", false
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil || ascii == "" || !isASCII(ascii) || strings.ContainsAny(ascii, " <>()[],;:\\\"@/") || strings.Contains(ascii, "..") {
		return "", false
	}
	parsed, err := mail.ParseAddress("<" + local + "@" + ascii + ">")
	if err != nil || parsed.Name != "" {
		return "", false
	}
	return local + "@" + strings.ToLower(ascii), true
}

// typed writes an address the way a person may edit it.
func (a address) typed() string {
	if a.name == "" {
		return a.mail
	}
	if strings.ContainsAny(a.name, `,;<>"()@:\`) {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.name) + `" <` + a.mail + `>`
	}
	return a.name + " <" + a.mail + ">"
}

func typedList(list []address) string {
	words := make([]string, 0, len(list))
	for _, a := range list {
		if a.mail != "" {
			words = append(words, a.typed())
		}
	}
	return strings.Join(words, ", ")
}
