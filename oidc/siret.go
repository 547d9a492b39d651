package oidc

import (
	"errors"
	"strings"
	"unicode"
)

// laPoste is the only company whose establishments do not follow Luhn's
// formula: their digits add up to a multiple of five instead.
const laPoste = "356000000"

// parseSIRET reads the number of an establishment: 14 digits, spaces among them
// dropped, the last one Luhn's check digit (INSEE). Its first nine digits are the SIREN
// of the organisation, which has a check digit of its own.
func parseSIRET(s string) (string, error) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
	switch {
	case strings.ContainsAny(s, "eE") && strings.ContainsAny(s, ",."):
		return "", errors.New("a spreadsheet has rounded it: format the column as text and enter the 14 digits again")
	case len(s) != 14 || strings.Trim(s, "0123456789") != "":
		return "", errors.New("a SIRET is 14 digits")
	case strings.Trim(s, "0") == "":
		return "", errors.New("a SIRET of zeros belongs to nobody")
	case strings.HasPrefix(s, laPoste) && digitSum(s)%5 == 0:
		return s, nil
	case !luhn(s):
		return "", errors.New("its check digit is wrong (Luhn): a digit is mistyped")
	case !luhn(s[:9]):
		return "", errors.New("the check digit of its SIREN, the first nine digits, is wrong (Luhn)")
	}
	return s, nil
}

// luhn tells whether digits end in their check digit: from the right, every
// second one counts double, its own digits added.
func luhn(digits string) bool {
	sum := 0
	for i := range len(digits) {
		n := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			n *= 2
		}
		if n > 9 {
			n -= 9
		}
		sum += n
	}
	return sum%10 == 0
}

func digitSum(digits string) int {
	sum := 0
	for i := range len(digits) {
		sum += int(digits[i] - '0')
	}
	return sum
}
