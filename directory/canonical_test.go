package directory_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"beffroi/directory"
)

func TestSpellingsOfOneLoginCountTogether(t *testing.T) {
	for want, spellings := range map[string][]string{
		"mdupont":     {"mdupont", "MDUPONT", " mdupont\t", "mdupont\u200b", "m\u00addupont", "ｍｄｕｐｏｎｔ", "mdupont\x00", "\ufeffmdupont", "mdu\u0301pont"},
		"helene.noel": {"hélène.noël", "HÉLÈNE.NOËL", "he\u0301le\u0300ne.noe\u0308l", "helene.noel"},
		"jean paul":   {"jean paul", "Jean  Paul", " jean\u00a0paul ", "jean\u2003paul"},
		"strasse":     {"straße", "STRASSE", "STRAẞE"},
		"ligne":       {"lıgne", "LIGNE", "lİgne"},
		"":            {"", " ", "\u200b", "\u0301"},
	} {
		for _, spelling := range spellings {
			if got := directory.CanonicalLogin(spelling); got != want {
				t.Errorf("%q counts as %q, want %q", spelling, got, want)
			}
		}
	}
}

func TestDifferentLoginsCountApart(t *testing.T) {
	seen := map[string]string{}
	for _, login := range []string{"mdupont", "mdupond", "m.dupont", "m dupont", "mdupont@academie.test", "m-dupont", "m_dupont", "mdupont1", "mdupont*"} {
		key := directory.CanonicalLogin(login)
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q count together", login, other)
		}
		seen[key] = login
	}
}

func TestCaseNeverTellsTwoLoginsApart(t *testing.T) {
	for r := rune(0); r <= 0x1ffff; r++ { // every letter that has a case is below
		if !utf8.ValidRune(r) {
			continue
		}
		s := string(r)
		want := directory.CanonicalLogin(s)
		for _, other := range []string{want, strings.ToUpper(s), strings.ToLower(s), strings.ToTitle(s)} {
			if got := directory.CanonicalLogin(other); got != want {
				t.Errorf("%U counts as %q, written %q as %q", r, want, other, got)
			}
		}
	}
}

func FuzzCanonicalLogin(f *testing.F) {
	for _, s := range []string{"mdupont", " MDUPONT", "he\u0301le\u0300ne", "straße", "ｍ", "\u200b", "\xff\xfe", strings.Repeat("é", 2000), "ΑΣ", "İ", "ﬃ", "ǅ", "a \u0301", "ﷺ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := directory.CanonicalLogin(s)
		if len(once) > 256 || !utf8.ValidString(once) {
			t.Errorf("%q: %q is too long or not text", s, once)
		}
		if twice := directory.CanonicalLogin(once); twice != once {
			t.Errorf("%q: %q, then %q", s, once, twice)
		}
		if upper := directory.CanonicalLogin(strings.ToUpper(s)); len(s) < 64 && utf8.ValidString(s) && upper != once {
			t.Errorf("%q: %q, in capitals %q", s, once, upper)
		}
	})
}
