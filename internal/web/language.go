package web

import (
	"context"
	"net/http"
	"strings"

	"beffroi/internal/i18n"
)

// The cookies of the language: chosen by the person, or taken from the
// directory at sign-in. A choice wins over the directory, the directory over
// the browser.
const (
	chosenCookie    = "beffroi_lang"
	directoryCookie = "beffroi_lang_person"
)

func (s *Site) language(r *http.Request) i18n.Lang {
	for _, name := range []string{chosenCookie, directoryCookie} {
		if c, err := r.Cookie(name); err == nil {
			if l, ok := i18n.Valid(c.Value); ok {
				return l
			}
		}
	}
	return i18n.Match(r.Header.Get("Accept-Language"))
}

// RememberLanguage notes the directory's preferredLanguage of who signs in;
// a choice made by hand stays above it. It returns the context to go on with.
func RememberLanguage(ctx context.Context, w http.ResponseWriter, r *http.Request, preferred string) context.Context {
	if preferred == "" {
		return ctx
	}
	setLanguage(w, r, directoryCookie, i18n.Match(preferred))
	return PreferLanguage(ctx, r, preferred)
}

// PreferLanguage speaks the preferred language in this answer only, unless the
// visitor has chosen one by hand.
func PreferLanguage(ctx context.Context, r *http.Request, preferred string) context.Context {
	if _, err := r.Cookie(chosenCookie); err == nil || preferred == "" {
		return ctx
	}
	return WithLang(ctx, i18n.Match(preferred))
}

func setLanguage(w http.ResponseWriter, r *http.Request, name string, l i18n.Lang) {
	s, _ := r.Context().Value(siteKey).(*Site)
	secure := s != nil && s.cfg.BaseURL != nil && s.cfg.BaseURL.Scheme == "https"
	http.SetCookie(w, &http.Cookie{Name: name, Value: string(l), Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode})
}

// ChooseLanguage answers POST /language (fields lang and next): keeps the
// choice in a cookie and goes back to the page.
func (s *Site) ChooseLanguage(w http.ResponseWriter, r *http.Request) error {
	l, ok := i18n.Valid(Field(r, "lang"))
	if !ok {
		return Fail(http.StatusBadRequest, "web.error.language", nil)
	}
	setLanguage(w, r, chosenCookie, l)
	return Redirect(w, r, LocalPath(Field(r, "next")))
}

// LocalPath returns next when it is a path of this very site, else "/". A
// browser reads "//host", "/\host" and control characters as another site.
func LocalPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t\x00") {
		return "/"
	}
	for _, c := range next {
		if c < ' ' || c == 0x7f {
			return "/"
		}
	}
	return next
}
