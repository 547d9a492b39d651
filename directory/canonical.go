package directory

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxLogin is how long a login may be, in bytes: longer ones belong to nobody.
// A mail address has 254 at most (RFC 5321 §4.5.3.1.3).
const maxLogin = 256

// maxPassword guards the server's hash from being fed megabytes.
const maxPassword = 1024

// CanonicalLogin is the one writing of a login that guesses are counted by: all
// spellings that some directory server takes for the same person fall together.
// Servers compare logins without regard to case, width, composition or spaces
// (RFC 4518 §2), and Active Directory without regard to accents, so that é and
// e count together here. The result is for counting and comparing only: two
// people may share it, so it never finds or names a person. It is at most 256
// bytes, and the same when given its own result.
func CanonicalLogin(login string) string {
	if len(login) > 4*maxLogin {
		login = login[:4*maxLogin]
	}
	folded := fold(login, true)
	if len(folded) > maxLogin {
		folded = strings.TrimRight(strings.ToValidUTF8(folded[:maxLogin], ""), " ")
	}
	return folded
}

// fold lowers case, unifies compatible characters and spaces and drops what does
// not show; accents too when bare.
func fold(s string, bare bool) string {
	if ascii := foldASCII(s); ascii != "" {
		return ascii
	}
	s = norm.NFKD.String(strings.ToValidUTF8(s, "\uFFFD"))
	var b strings.Builder
	b.Grow(len(s))
	space := false
	for _, r := range s {
		switch {
		case unicode.Is(unicode.White_Space, r), r == '\uFEFF':
			space = b.Len() > 0
			continue
		case ignorable(r), bare && unicode.Is(unicode.Mn, r) && r != '\u0345': // a mark whose capital is a letter
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		for _, low := range lower(r) {
			b.WriteRune(low)
		}
	}
	// Lower case may decompose further, and marks may have been freed by it.
	out := b.String()
	if bare {
		return strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			return r
		}, norm.NFKD.String(out))
	}
	return norm.NFKC.String(out)
}

// lower is the simple case folding of r, with the sharp s and the final sigma as
// servers fold them.
func lower(r rune) string {
	switch r {
	case 'ß', 'ẞ':
		return "ss"
	case 'ς':
		return "σ"
	}
	return string(unicode.ToLower(unicode.ToUpper(r)))
}

// foldASCII is fold for what most people type: letters, digits and marks without
// a space. Empty when s is anything else.
func foldASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return ""
		}
	}
	return strings.ToLower(s)
}

// ignorable characters show nothing and are mapped to nothing by RFC 4518 §2.2:
// controls, zero-width characters, soft hyphens, variation selectors.
func ignorable(r rune) bool {
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) ||
		unicode.Is(unicode.Variation_Selector, r) || r == '\u034F' || r == '\uFFFC'
}

// typedLogin is the login as it is looked for: composed (NFC) and without the
// spaces around it. ok is false when no directory could hold it: empty, too
// long, not UTF-8, or with characters that show nothing, which only serve to
// write one name in two ways.
func typedLogin(s string) (login string, ok bool) {
	if len(s) > maxLogin || !utf8.ValidString(s) {
		return "", false
	}
	login = norm.NFC.String(strings.TrimSpace(s))
	if login == "" || len(login) > maxLogin || strings.ContainsFunc(login, ignorable) {
		return "", false
	}
	return login, true
}

// usablePassword says whether a password may be sent: an empty one would be an
// unauthenticated bind, which succeeds (RFC 4513 §5.1.2), and some servers stop
// reading at NUL.
func usablePassword(password string) bool {
	return password != "" && len(password) <= maxPassword && !strings.ContainsRune(password, 0)
}

// FoldValue writes a value as directories compare it (caseIgnoreMatch): without
// regard to case, composition and repeated spaces. Accents count.
func FoldValue(value string) string { return fold(value, false) }
