package proconnect

import (
	"fmt"
	"io"
	"strings"

	"beffroi/internal/i18n"
)

// Print writes a line for each rule and, under a red one, what was seen, what
// ProConnect would show and what to change. It returns how many are red.
func Print(w io.Writer, lang i18n.Lang, colour bool, c Config, results []Result) (red int) {
	t := func(key string, args ...any) string { return i18n.T(lang, "proconnect."+key, args...) }
	about := []any{"issuer", c.Issuer, "client", c.ClientID, "login", c.Login, "id_token", c.IDTokenAlg, "userinfo", c.UserinfoAlg}
	paint := func(s, code string) string {
		if !colour {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	fmt.Fprintf(w, "%s\n\n", t("title", about...))
	unknown := 0
	for i, r := range results {
		code := map[State]string{OK: "32", Red: "1;31", Unknown: "2"}[r.State]
		state := t("state." + string(r.State))
		fmt.Fprintf(w, "%3d  %s%s %s\n", i+1, paint(state, code), strings.Repeat(" ", 6-len([]rune(state))), t("rule."+r.Name, about...))
		under := func(text string) { fmt.Fprintf(w, "            %s\n", text) }
		switch r.State {
		case Red:
			red++
			under(t("saw", "text", r.Saw))
			if r.Code != "" {
				under(t("shows", "code", r.Code))
			}
			under(t("fix", "text", t("fix."+r.Name, about...)))
		case Unknown:
			unknown++
			why := r.Saw
			if why == "" {
				why = t("before")
			}
			under(t("notseen", "text", why))
		}
	}
	fmt.Fprintln(w)
	switch {
	case red > 0:
	case unknown > 0:
		fmt.Fprintln(w, t("some", "n", unknown))
	default:
		fmt.Fprintln(w, t("green", "n", len(results)))
	}
	return red
}
