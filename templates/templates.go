// Package templates holds what the pages are made of: one HTML file and one Go
// struct per page, the style sheets, the scripts and the icons, all embedded.
// It is data: it imports nothing of the project. internal/web parses it once
// per language and fills Layout; the folder that owns a page fills the rest.
package templates

import (
	"embed"
	"strings"
	"unicode/utf8"
)

// HTML holds every page and part, parsed together.
//
//go:embed *.html
var HTML embed.FS

// Static holds what /static/ serves; dist/ is filled by `make assets`.
//
//go:embed static
var Static embed.FS

// Page is a struct that can be rendered. Embed Layout and pass a pointer.
type Page interface {
	// Template names the {{define}} block to run.
	Template() string
	// Frame returns the embedded Layout, filled before rendering.
	Frame() *Layout
}

// Layout is what every page shares. The handler sets Title and, where useful,
// the fields down to JS; rendering fills the others.
type Layout struct {
	Title  string
	Bare   bool     // the narrow card of the sign-in pages
	Wide   bool     // use the whole width (mail, agenda)
	Module string   // "home", "mail", "agenda", "contacts": marked in the navigation
	Unread int      // shown in the title and the navigation when above zero
	CSS    []string // further style sheets under static/
	JS     []string // further scripts under static/, as modules

	Lang      string
	Path      string // path and query of this page, to come back to
	Site      SiteInfo
	Person    *PersonInfo // nil when nobody is signed in
	RequestID string
}

// Frame lets rendering reach the Layout of any page.
func (l *Layout) Frame() *Layout { return l }

// SiteInfo names the place: the academy and the two origins.
type SiteInfo struct {
	Name     string // "Académie de …"
	Kind     string // "provider" or "portal"
	Provider string // origin of the provider, without a trailing slash
	Portal   string // origin of the portal, without a trailing slash
}

// Frame is a tool that is being signed out by a hidden frame of the page.
type Frame struct{ Name, URL string }

// PersonInfo is who is signed in, as shown in the top bar.
type PersonInfo struct {
	Name, Login, Mail string
	Lock              int // seconds without anybody after which a page of a shared computer signs out; 0 on one's own
}

// Initials gives one or two letters for the round mark of a person: the first
// letters of the first and the last word of the name.
func (p PersonInfo) Initials() string {
	words := strings.Fields(p.Name)
	if len(words) == 0 {
		words = strings.Fields(p.Login)
	}
	if len(words) == 0 {
		return "?"
	}
	initials := firstLetter(words[0])
	if len(words) > 1 {
		initials += firstLetter(words[len(words)-1])
	}
	return strings.ToUpper(initials)
}

func firstLetter(word string) string {
	r, _ := utf8.DecodeRuneInString(word)
	return string(r)
}
