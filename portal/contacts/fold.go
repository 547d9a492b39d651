package contacts

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// fold makes texts comparable the way people type them: without accents, in
// lower case, ligatures spelled out, everything else than letters and digits a
// space.
func fold(s string) string {
	var b strings.Builder
	space := true
	for _, r := range norm.NFKD.String(strings.ToLower(s)) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r == 'œ':
			b.WriteString("oe")
			space = false
		case r == 'æ':
			b.WriteString("ae")
			space = false
		case r == 'ß':
			b.WriteString("ss")
			space = false
		case r == 'ø':
			b.WriteByte('o')
			space = false
		case unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(r)
			space = false
		case !space:
			b.WriteByte(' ')
			space = true
		}
	}
	return strings.TrimSpace(b.String())
}

// matches tells whether every word of a folded search begins a word of a
// folded text.
func matches(folded string, words []string) bool {
	padded := " " + folded
	for _, w := range words {
		if !strings.Contains(padded, " "+w) {
			return false
		}
	}
	return true
}

// words of a search; telephone numbers lose their spaces.
func words(text string) []string {
	if d := digits(text); len(d) >= 4 && strings.Trim(text, "0123456789+ .-()/") == "" {
		return []string{strings.TrimPrefix(d, "+")}
	}
	return strings.Fields(fold(text))
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '+' {
			return r
		}
		return -1
	}, s)
}

// initials of a name, two at most.
func initials(name string) string {
	fields := strings.FieldsFunc(name, unicode.IsSpace)
	var out []rune
	for _, i := range []int{0, len(fields) - 1} {
		if i < 0 || i == 0 && len(out) > 0 {
			break
		}
		for _, r := range fields[i] {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				out = append(out, unicode.ToUpper(r))
				break
			}
		}
	}
	return string(out)
}
