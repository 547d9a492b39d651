package templates

import (
	"io/fs"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	declared  = regexp.MustCompile(`(--[a-z0-9-]+):\s*([^;]+);`)
	variable  = regexp.MustCompile(`var\((--[a-z0-9-]+)`)
	colour    = regexp.MustCompile(`(?i)#[0-9a-f]{3,8}\b|\b(?:rgba?|hsla?|oklch|lab)\(|:\s*(?:white|black|red|green|blue|gr[ae]y|orange|yellow)\b`)
	comment   = regexp.MustCompile(`(?s)/\*.*?\*/`)
	rootBlock = regexp.MustCompile(`(?s):root(?::not\(\[data-theme="light"\]\)|\[data-theme="dark"\])?\s*\{(.*?)\}`)
	printed   = regexp.MustCompile(`(?s)@media print \{.*?\n\}`)
)

func sheet(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(Static, name)
	if err != nil {
		t.Fatal(err)
	}
	return comment.ReplaceAllString(string(text), "")
}

// tokens returns the three lists of app.css: light, dark by the system's
// preference, dark by choice.
func tokens(t *testing.T) (light, preferred, chosen map[string]string) {
	t.Helper()
	return tokensOf(t, "static/app.css")
}

func tokensOf(t *testing.T, name string) (light, preferred, chosen map[string]string) {
	t.Helper()
	lists := map[string]map[string]string{}
	css := sheet(t, name)
	for _, m := range rootBlock.FindAllStringSubmatch(css, -1) {
		head, _, _ := strings.Cut(m[0], "{")
		head = strings.TrimSpace(head)
		if lists[head] == nil {
			lists[head] = map[string]string{}
			for _, d := range declared.FindAllStringSubmatch(m[1], -1) {
				lists[head][d[1]] = d[2]
			}
		}
	}
	return lists[`:root`], lists[`:root:not([data-theme="light"])`], lists[`:root[data-theme="dark"]`]
}

func TestDarkIsTheSameByPreferenceAndByChoice(t *testing.T) {
	light, preferred, chosen := tokens(t)
	if len(chosen) == 0 || !maps.Equal(preferred, chosen) {
		t.Errorf("the two dark lists differ:\n%v\n%v", preferred, chosen)
	}
	for name := range chosen {
		if light[name] == "" {
			t.Errorf("%s is dark only", name)
		}
	}
}

func TestContrastHolds(t *testing.T) {
	grounds := []string{"--paper", "--raised", "--sunken"}
	type pair struct {
		over    []string
		on      []string
		atLeast float64
		why     string
	}
	pairs := []pair{
		{[]string{"--ink"}, append(grounds, "--brick-soft", "--ok-soft", "--warn-soft", "--bad-soft"), 7, "body text, AAA"},
		{[]string{"--ink-2", "--ink-3", "--brick", "--ok", "--warn", "--bad"}, grounds, 4.5, "text, AA"},
		{[]string{"--ink-2", "--brick-strong"}, []string{"--brick-soft"}, 4.5, "text on a selected row"},
		{[]string{"--brick-strong"}, grounds, 4.5, "text, AA"},
		{[]string{"--brick-ink"}, []string{"--brick", "--brick-strong"}, 4.5, "the primary button"},
		{[]string{"--ok"}, []string{"--ok-soft"}, 4.5, "a chip"},
		{[]string{"--warn"}, []string{"--warn-soft"}, 4.5, "a chip"},
		{[]string{"--bad"}, []string{"--bad-soft"}, 4.5, "a chip"},
		{[]string{"--paper"}, []string{"--ink"}, 7, "a toast"},
		{[]string{"--edge"}, grounds, 3, "edges of controls, WCAG 1.4.11"},
	}
	light, _, dark := tokens(t)
	for theme, list := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, p := range pairs {
			for _, over := range p.over {
				for _, on := range p.on {
					if got := contrast(t, list[over], list[on]); got < p.atLeast {
						t.Errorf("%s: %s on %s is %.2f, needs %.1f (%s)", theme, over, on, got, p.atLeast, p.why)
					}
				}
			}
		}
	}
}

// A page may add hues of its own where they are content (the calendars): they
// stand in :root like the tokens, in both themes, and are seen on every ground.
func TestHuesOfAPageAreSeen(t *testing.T) {
	light, _, dark := tokens(t)
	names, err := fs.Glob(Static, "static/*.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "static/app.css" {
			continue
		}
		own, preferred, chosen := tokensOf(t, name)
		if !maps.Equal(preferred, chosen) {
			t.Errorf("%s: the two dark lists differ", name)
		}
		for _, theme := range []struct{ hues, grounds map[string]string }{{own, light}, {chosen, dark}} {
			for hue, value := range theme.hues {
				if !strings.HasPrefix(value, "#") {
					continue
				}
				for _, ground := range []string{"--paper", "--raised", "--sunken"} {
					if got := contrast(t, value, theme.grounds[ground]); got < 3 {
						t.Errorf("%s: %s %s on %s is %.2f, needs 3", name, hue, value, ground, got)
					}
				}
			}
		}
	}
}

// contrast is the ratio of WCAG 2.2 between two colours written #rrggbb.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (math.Max(x, y) + .05) / (math.Min(x, y) + .05)
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	v, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil || len(hex) != 7 {
		t.Fatalf("colour %q: write it #rrggbb", hex)
	}
	linear := func(c uint64) float64 {
		s := float64(c&0xff) / 255
		if s <= .04045 {
			return s / 12.92
		}
		return math.Pow((s+.055)/1.055, 2.4)
	}
	return .2126*linear(v>>16) + .7152*linear(v>>8) + .0722*linear(v)
}

func TestOnlyTokensNameColours(t *testing.T) {
	names, err := fs.Glob(Static, "static/*.css")
	if err != nil {
		t.Fatal(err)
	}
	light, _, _ := tokens(t)
	for _, name := range names {
		if name == "static/mailcontent.css" { // goes into a document of its own, always light: the values, not the names
			for _, found := range colour.FindAllString(sheet(t, name), -1) {
				if !slices.Contains(slices.Collect(maps.Values(light)), found) {
					t.Errorf("%s names %q, which is no token's value", name, found)
				}
			}
			continue
		}
		css := printed.ReplaceAllString(rootBlock.ReplaceAllString(sheet(t, name), ""), "")
		for _, found := range colour.FindAllString(css, -1) {
			t.Errorf("%s names the colour %q: use a token of app.css", name, found)
		}
		own := map[string]bool{}
		for _, d := range declared.FindAllStringSubmatch(sheet(t, name), -1) {
			own[d[1]] = true
		}
		for _, m := range variable.FindAllStringSubmatch(css, -1) {
			if light[m[1]] == "" && !own[m[1]] {
				t.Errorf("%s uses %s, which app.css does not define", name, m[1])
			}
		}
		if strings.Contains(css, "@import") || strings.Contains(css, "url(") {
			t.Errorf("%s asks for another file", name)
		}
	}
}
