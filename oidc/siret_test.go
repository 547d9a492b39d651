package oidc

import "testing"

func TestSIRETIsFourteenDigitsThatLuhnAccepts(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"13002526500013", "13002526500013"}, // DINUM
		{"130 025 265 00013", "13002526500013"},
		{" 130\u00a0025\u202f265 00013\n", "13002526500013"},
		{"35600000000048", "35600000000048"}, // La Poste, its seat: Luhn holds
		{"35600000049837", "35600000049837"}, // La Poste, an office: digits add up to a multiple of five
		{"13002526500014", ""},
		{"31002526500013", ""},
		{"35600000049838", ""},
		{"1300252650001", ""}, {"130025265000130", ""}, {"", ""}, {"00000000000000", ""}, {"1300252650001X", ""},
		{"１３００２５２６５０００１３", ""}, {"1,30025E+13", ""}, {"1.30025E+13", ""},
		{"89974287600009", ""},
	} {
		got, err := parseSIRET(c.given)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v; want %q", c.given, got, err, c.want)
		}
	}
}

// One mistyped digit, and two neighbours exchanged, are what Luhn's formula is for.
func TestAMistypedSIRETIsRefused(t *testing.T) {
	const right = "13002526500013"
	for i := range len(right) {
		for d := byte('0'); d <= '9'; d++ {
			if d != right[i] {
				if s := right[:i] + string(d) + right[i+1:]; accepts(s) {
					t.Errorf("%s passes", s)
				}
			}
		}
		if i > 0 && right[i] != right[i-1] && right[i]+right[i-1] != '0'+'9' {
			if s := right[:i-1] + string(right[i]) + string(right[i-1]) + right[i+1:]; accepts(s) {
				t.Errorf("%s passes", s)
			}
		}
	}
}

func accepts(s string) bool { _, err := parseSIRET(s); return err == nil }
