package dav

import (
	"errors"
	"strings"
	"testing"
)

const card3 = "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Dupont;Marie;Anne\\, Louise;Mme;\r\nFN:Mme Marie Dupont\r\nORG:Rectorat;Division\\; des personnels\r\nCATEGORIES:a,b\r\nNICKNAME:x,y\r\n" +
	"item1.EMAIL;TYPE=INTERNET,WORK,pref:marie.dupont@academie.test\r\nitem1.X-ABLabel:_$!<Work>!$_\r\nTEL;HOME:0320000001\r\nTEL;TYPE=CELL:+33 6 00 00 00 01\r\n" +
	"PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8U\r\n HRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL\r\nX-CUSTOM;A=\"b;c:d\":kept\r\nEND:VCARD\r\n"

func card(t *testing.T, text string) *Card {
	t.Helper()
	c, err := ParseCard(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// changes lists the lines of b that a does not have, and those it lost.
func changes(a, b string) string {
	var out []string
	for _, l := range strings.Split(b, "\r\n") {
		if !strings.Contains(a, l) {
			out = append(out, "+"+l)
		}
	}
	for _, l := range strings.Split(a, "\r\n") {
		if !strings.Contains(b, l) {
			out = append(out, "-"+l)
		}
	}
	return strings.Join(out, "|")
}

func TestACardKeepsEveryByteThatIsNotEdited(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*CardFields)
		want string
	}{
		"nothing":         {func(*CardFields) {}, ""},
		"the address":     {func(f *CardFields) { f.Emails[0].Value = "m@x.test" }, "+item1.EMAIL;TYPE=INTERNET,WORK,pref:m@x.test|-item1.EMAIL;TYPE=INTERNET,WORK,pref:marie.dupont@academie.test"},
		"the use":         {func(f *CardFields) { f.Emails[0].Kind = "home" }, "+item1.EMAIL;TYPE=INTERNET,HOME,pref:marie.dupont@academie.test|-item1.EMAIL;TYPE=INTERNET,WORK,pref:marie.dupont@academie.test"},
		"a bare number":   {func(f *CardFields) { f.Phones[0].Value = "1" }, "+TEL;HOME:1|-TEL;HOME:0320000001"},
		"one number less": {func(f *CardFields) { f.Phones[0].Value = "" }, "-TEL;HOME:0320000001"},
		"one more":        {func(f *CardFields) { f.Phones = append(f.Phones, Value{"3", "work"}) }, "+TEL;TYPE=WORK:3"},
		"the first name":  {func(f *CardFields) { f.Given = "Maria" }, "+N:Dupont;Maria;Anne\\, Louise;Mme;|+FN:Maria Dupont|-N:Dupont;Marie;Anne\\, Louise;Mme;|-FN:Mme Marie Dupont"},
		"the office":      {func(f *CardFields) { f.Org = "École; A, B" }, "+ORG:École\\; A\\, B;Division\\; des personnels|-ORG:Rectorat;Division\\; des personnels"},
		"a note":          {func(f *CardFields) { f.Note = "ligne 1\r\nligne 2" }, "+NOTE:ligne 1\\nligne 2"},
		"line injection":  {func(f *CardFields) { f.Title = "x\r\nEND:VCARD\r\nBEGIN:VCARD" }, "+TITLE:x\\nEND:VCARD\\nBEGIN:VCARD"},
	} {
		t.Run(name, func(t *testing.T) {
			one := card(t, card3)
			f := one.Fields()
			c.edit(&f)
			one.Change(f)
			if got := changes(card3, one.String()); got != c.want {
				t.Errorf("changed: %s\nwant:    %s", got, c.want)
			}
			if again := card(t, one.String()); again.String() != one.String() {
				t.Error("not read back as written")
			}
		})
	}
}

func TestWhatACardSays(t *testing.T) {
	c := card(t, card3)
	if c.Name() != "Mme Marie Dupont" || c.Family() != "Dupont" || c.Org() != "Rectorat" || c.Emails()[0] != (Value{"marie.dupont@academie.test", "work"}) ||
		c.Phones()[0] != (Value{"0320000001", "home"}) || c.Phones()[1] != (Value{"+33 6 00 00 00 01", "cell"}) {
		t.Errorf("%q %q %q %v %v", c.Name(), c.Family(), c.Org(), c.Emails(), c.Phones())
	}
	old := card(t, "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Lef=C3=A8vre;Zo=C3=A9=\r\n;;;\r\nTEL;WORK;VOICE:03 20\r\nNOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=ISO-8859-1:caf=E9\r\nEND:VCARD\r\n")
	if old.Name() != "Zoé Lefèvre" || old.Phones()[0].Kind != "work" || old.Note() != "café" {
		t.Errorf("%q %v %q", old.Name(), old.Phones(), old.Note())
	}
	f := old.Fields()
	f.Note = "thé = été"
	old.Change(f)
	if again := card(t, old.String()); again.Note() != "thé = été" || again.Name() != "Zoé Lefèvre" || strings.Contains(again.String(), "thé") {
		t.Errorf("%q\n%s", again.Note(), again.String())
	}
	four := card(t, "BEGIN:VCARD\nVERSION:4.0\nFN:Équipe\nKIND:group\nTEL;VALUE=uri;TYPE=\"voice,home\":tel:+33-3-20\nEND:VCARD\n")
	if !four.IsGroup() || four.Phones()[0] != (Value{"+33-3-20", "home"}) {
		t.Errorf("%v", four.Phones())
	}
	for name, text := range map[string]string{"Only Org": "ORG:Only Org", "a@b.test": "EMAIL:a@b.test", "": "NOTE:x"} {
		if got := card(t, "BEGIN:VCARD\nVERSION:3.0\n"+text+"\nEND:VCARD\n").Name(); got != name {
			t.Errorf("%s is called %q", text, got)
		}
	}
	if _, err := ParseCard("BEGIN:VCALENDAR\nEND:VCALENDAR\n"); !errors.Is(err, ErrUnreadable) {
		t.Error(err)
	}
}

func TestANewCardIsReadBackAsItWasMeant(t *testing.T) {
	c := NewCard("u")
	f := CardFields{Given: "Zoé", Family: "d'Œuvre; fils", Org: "École, 2", Note: strings.Repeat("long é ", 60), Emails: []Value{{"z@x.test", "work"}, {"", ""}}, Phones: []Value{{"1", "cell"}}}
	c.Change(f)
	again := card(t, c.String())
	if again.Given() != f.Given || again.Family() != f.Family || again.Org() != f.Org || again.Note() != f.Note || len(again.Emails()) != 1 || again.Phones()[0] != f.Phones[0] || again.Name() != "Zoé d'Œuvre; fils" {
		t.Errorf("%+v\n%s", again.Fields(), c.String())
	}
}

func FuzzCardIsWrittenBackAsRead(f *testing.F) {
	f.Add(card3)
	f.Add("BEGIN:VCARD\nVERSION:2.1\nNOTE;QUOTED-PRINTABLE:a=\nb\nEND:VCARD\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCard(text)
		if err != nil {
			return
		}
		if c.String() != text {
			t.Errorf("%q became %q", text, c.String())
		}
		fields := c.Fields()
		fields.Title = "x"
		c.Change(fields)
		if again, err := ParseCard(c.String()); err != nil || again.Title() != "x" {
			t.Errorf("%q: %v", c.String(), err)
		}
	})
}
