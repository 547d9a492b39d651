package webmail

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFoldersWithoutSpecialUseAreKnownByTheirNames(t *testing.T) {
	all := []mailbox{{name: "Projets/2026", delimiter: "/", openable: true}, {name: "éléments envoyés", delimiter: "/", openable: true}, {name: "Zèbre", delimiter: "/", openable: true},
		{name: "CORBEILLE", delimiter: "/", openable: true}, {name: "Spam", delimiter: "/", openable: true}, {name: "INBOX", delimiter: "/", role: roleInbox, openable: true},
		{name: "Brouillons", delimiter: "/", openable: true}, {name: "Archives/2025", delimiter: "/", openable: true}, {name: "Archives", delimiter: "/", openable: true}, {name: "Projets", delimiter: "/"}}
	giveRoles(all)
	arrange(all)
	var got []string
	for _, m := range all {
		got = append(got, strings.Repeat(" ", m.depth)+m.label+"="+m.role)
	}
	want := "INBOX=inbox|Brouillons=drafts|éléments envoyés=sent|Archives=archive| 2025=|Spam=junk|CORBEILLE=trash|Projets=| 2026=|Zèbre="
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func TestAFolderKeptUnderInboxIsNoDeeper(t *testing.T) {
	all := []mailbox{{name: "INBOX", delimiter: ".", role: roleInbox, openable: true}, {name: "INBOX.Trash", delimiter: ".", openable: true}, {name: "INBOX.Projets.A", delimiter: ".", openable: true}}
	giveRoles(all)
	arrange(all)
	if all[1].role != roleTrash || all[1].depth != 0 || all[2].depth != 1 || !everythingUnderInbox(all) {
		t.Errorf("%+v", all)
	}
}

func TestAnyFolderNameGoesThroughAnAddress(t *testing.T) {
	for _, name := range []string{"INBOX", "a/b", "a~b", "a~1b", "~2x", ".", "..", "..a", "é è", "100%", "a?b#c", "a\\b", "+", "do", "compose"} {
		at, err := parsePath(ref{name, 7, 9}.path())
		if err != nil || at != (ref{name, 7, 9}) {
			t.Errorf("%q: %v %v", name, at, err)
		}
		if u, err := url.Parse(boxPath(name)); err != nil || strings.Contains(u.EscapedPath()[6:], "/..") || strings.HasPrefix(u.EscapedPath(), "/mail/.") {
			t.Errorf("%q: %s", name, boxPath(name))
		}
	}
}

func TestRecipientsAreReadAsPeopleTypeThem(t *testing.T) {
	for typed, want := range map[string]string{
		"a@b.test": "a@b.test", " a@b.test ; c@d.test,": "a@b.test, c@d.test", `"Dupont, Marie" <m@d.test>, Jean <j@d.test>`: `"Dupont, Marie" <m@d.test>, Jean <j@d.test>`,
		"x@Éducation.test": "x@xn--ducation-90a.test", "": "", "Groupe: a@b.test, c@d.test;": "a@b.test, c@d.test", "a@b.test\nc@d.test": "a@b.test, c@d.test"} {
		list, err := parseRecipients(typed)
		if err != nil || typedList(list) != want {
			t.Errorf("%q: %q %v", typed, typedList(list), err)
		}
	}
	for _, typed := range []string{"jean", "a@", "@b", "a b@c.test", "a@b c", "<a@b.test", "a@b..test", "a@b.test\r\nBcc: x@y.test z", "é@b.test", "a@b.test<script>"} {
		var bad *badRecipient
		if list, err := parseRecipients(typed); !errors.As(err, &bad) && err == nil && typed != "<a@b.test" {
			t.Errorf("%q is taken: %v", typed, list)
		}
	}
}

func FuzzAddressesNeverLeaveTheirLine(f *testing.F) {
	f.Add(`"Dupont, Marie" <m@d.test>, Jean <j@d.test>`)
	f.Add("a@b.test\r\nBcc: x@y.test")
	f.Add("g: a@b.test, =?utf-8?q?x=0D=0AY:?= <c@d.test>;")
	f.Fuzz(func(t *testing.T, typed string) {
		for _, a := range parseAddresses(typed, 50) {
			if strings.ContainsAny(a.name+a.mail, "\r\n\x00") || !utf8.ValidString(a.name+a.mail) {
				t.Fatalf("%q: %q", typed, a)
			}
		}
		list, err := parseRecipients(typed)
		if err != nil {
			return
		}
		for i, line := range strings.Split(wireAddresses(list), "\r\n") {
			if i > 0 && !strings.HasPrefix(line, " ") || strings.ContainsAny(line, "\r\n") {
				t.Fatalf("%q makes a header line %q", typed, line)
			}
		}
	})
}
