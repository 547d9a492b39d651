package i18n

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func catalogues(t *testing.T) map[Lang]catalogue {
	t.Helper()
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

func TestBothLanguagesSayTheSameThings(t *testing.T) {
	all := catalogues(t)
	for key, fr := range all[French] {
		en, ok := all[English][key]
		if !ok {
			t.Errorf("%s has no English sentence", key)
			continue
		}
		names := func(s sentence) []string {
			found := map[string]bool{}
			for _, text := range s {
				for _, p := range placeholder.FindAllString(text, -1) {
					found[p] = true
				}
			}
			return slices.Sorted(maps.Keys(found))
		}
		if f, e := names(fr), names(en); !slices.Equal(f, e) {
			t.Errorf("%s: French has %v, English %v", key, f, e)
		}
	}
	for key := range all[English] {
		if _, ok := all[French][key]; !ok {
			t.Errorf("%s has no French sentence", key)
		}
	}
}

func TestEveryKeyThatIsUsedExists(t *testing.T) {
	all := catalogues(t)
	folders := map[string]bool{}
	for key := range all[French] {
		folder, _, _ := strings.Cut(key, ".")
		folders[folder] = true
	}
	call := regexp.MustCompile("(?:\\bt |i18n\\.T\\([^,]+, |\\.T\\(|Fail\\([^,]+, |Key: +)[\"`]([a-z]+(?:\\.[a-zA-Z0-9_-]+)+)[\"`]")
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name == ".git" || name == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".html") && (!strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go")) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			seen++
			if strings.HasSuffix(m[1], ".html") || strings.HasSuffix(m[1], ".") {
				continue
			}
			if _, ok := all[French][m[1]]; !ok {
				t.Errorf("%s uses %q, which no file of sentences has", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("only %d uses found: the search is broken", seen)
	}
}

func TestSentencesAreSpokenNotComputed(t *testing.T) {
	for l, banned := range map[Lang][]string{French: {"Veuillez", "veuillez", "Erreur 4", "Erreur 5", "utilisateur"}, English: {"Please enter", "Error 4", "Error 5", "invalid"}} {
		for key, s := range catalogues(t)[l] {
			for _, text := range s {
				for _, word := range banned {
					if strings.Contains(text, word) {
						t.Errorf("%s %s says %q: %s", l, key, word, text)
					}
				}
			}
		}
	}
}

func TestPluralsAndNumbersFollowTheLanguage(t *testing.T) {
	var raw = `{"one":"{n} message","other":"{n} messages"}`
	s, err := readSentence(json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range Langs {
		catalogues(t)[l]["test.messages"] = s
		defer delete(catalogues(t)[l], "test.messages")
	}
	for _, c := range []struct {
		l    Lang
		n    int
		want string
	}{
		{French, 0, "0 message"}, {French, 1, "1 message"}, {French, 2, "2 messages"}, {French, 1234, "1 234 messages"},
		{English, 0, "0 messages"}, {English, 1, "1 message"}, {English, 1234, "1,234 messages"},
	} {
		if got := strings.ReplaceAll(T(c.l, "test.messages", "n", c.n), "\u202f", "\u00a0"); got != strings.ReplaceAll(c.want, " ", " ") && strings.ReplaceAll(got, "\u00a0", " ") != c.want {
			t.Errorf("%s %d: %q, want %q", c.l, c.n, got, c.want)
		}
	}
}

func TestLanguageIsMatched(t *testing.T) {
	for accept, want := range map[string]Lang{
		"": French, "fr": French, "fr-FR,fr;q=0.9,en;q=0.8": French, "en-GB,en;q=0.9": English, "en": English,
		"de-DE,de;q=0.9,en;q=0.5": English, "zh": French, "garbage;;;q=": French, "fr-CA": French, "en-US": English,
	} {
		if got := Match(accept); got != want {
			t.Errorf("Match(%q) = %s, want %s", accept, got, want)
		}
	}
}

func TestDatesAreWrittenAsPeopleSayThem(t *testing.T) {
	paris := time.FixedZone("CET", 3600)
	at := time.Date(2026, 11, 23, 14, 5, 0, 0, paris)
	for style, want := range map[string][2]string{
		"day": {"lundi 23 novembre 2026", "Monday 23 November 2026"}, "short": {"23/11/2026", "23/11/2026"},
		"time": {"14:05", "14:05"}, "datetime": {"23 novembre 2026 à 14:05", "23 November 2026 at 14:05"},
		"month": {"novembre 2026", "November 2026"}, "dayshort": {"lun. 23 nov.", "Mon 23 Nov"},
	} {
		if f, e := Date(French, at, style), Date(English, at, style); f != want[0] || e != want[1] {
			t.Errorf("%s: %q, %q", style, f, e)
		}
	}
	if got := Date(French, time.Date(2026, 5, 1, 0, 0, 0, 0, paris), "day"); got != "vendredi 1er mai 2026" {
		t.Error(got)
	}
	now = func() time.Time { return at }
	defer func() { now = time.Now }()
	for ago, want := range map[int][2]string{0: {"14:05", "14:05"}, 1: {"hier", "yesterday"}, 3: {"ven. 20", "Fri 20"}, 40: {"14 oct.", "14 Oct"}, 400: {"19/10/25", "19/10/25"}} {
		then := at.AddDate(0, 0, -ago)
		if f, e := Date(French, then, "relative"), Date(English, then, "relative"); f != want[0] || e != want[1] {
			t.Errorf("%d days ago: %q, %q", ago, f, e)
		}
	}
	if Date(French, time.Time{}, "day") != "" {
		t.Error("no time has a date")
	}
}
