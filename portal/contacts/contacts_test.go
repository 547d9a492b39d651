package contacts_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"beffroi/internal/testpeer"
	"beffroi/portal"
	"beffroi/portal/contacts"
	"beffroi/portal/portaltest"
)

func start(t *testing.T) (*portaltest.Rig, *testpeer.RadicaleServer) {
	t.Helper()
	s := testpeer.Radicale(t)
	rig := portaltest.New(t, portal.Config{DAV: portal.DAVConfig{CardDAV: s.URL, Auth: "header", Header: s.Header}}, contacts.New())
	rig.People = []portal.Colleague{{Login: "jmartin", Name: "Jean Martin", Mail: "jean.martin@academie.test", Phone: "+33 3 20 00 00 02", Title: "Principal", School: "0590002B"},
		{Login: "jmartinez", Name: "Julie Martinez", Mail: "julie@academie.test"}}
	return rig, s
}

func form(given, family string, more ...string) url.Values {
	f := url.Values{"given": {given}, "family": {family}, "org": {"Mairie"}, "email": {"z@ville.test", ""}, "email_kind": {"work", ""}, "phone": {"03 20 11 22 33"}, "phone_kind": {"cell"}, "note": {"<b>note</b>"}}
	for i := 0; i+1 < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return f
}

func create(t *testing.T, b *portaltest.Browser, f url.Values) string {
	t.Helper()
	f.Set("book", b.Get("/contacts/new").Want(t, 200, "Nouveau contact").Input("book"))
	made := b.Post("/contacts/new", f)
	made.Want(t, 303)
	path, _, _ := strings.Cut(made.Location, "?")
	return path
}

func TestFromAnEmptyBookToACardAndBack(t *testing.T) {
	rig, _ := start(t)
	b := rig.SignIn("mdupont")
	b.Get("/contacts/").Want(t, 200, "Votre carnet est encore vide")
	path := create(t, b, form("Zoé", "Lefèvre-Œuvrard"))
	b.Get(path).Want(t, 200, "Zoé Lefèvre-Œuvrard", "Mairie", "&lt;b&gt;note", `/mail/compose?to=z%40ville.test`, "tel:0320112233", "mobile")
	for _, q := range []string{"zoe", "LEFEVRE", "oeuvrard", "lef oe", "03 20 11", "ville", "mairie", "Zoé"} {
		b.Get("/contacts/?q="+url.QueryEscape(q)).Want(t, 200, "Zoé Lefèvre-Œuvrard")
	}
	b.Get("/contacts/?q=nobody").Want(t, 200, "Personne ne correspond")
	edit := b.Get(path+"/edit").Want(t, 200, "Lefèvre-Œuvrard")
	b.Post(path+"/edit", form("Zoé", "Durand", "etag", edit.Input("etag"), "email", "")).Want(t, 303)
	if page := b.Get(path).Want(t, 200, "Zoé Durand"); strings.Contains(page.Body, "z@ville.test") {
		t.Fatal("the removed address is still there")
	}
	b.Get("/contacts/").Want(t, 200, "Zoé Durand")
	ask := b.Get(path+"/delete").Want(t, 200, "Supprimer ce contact")
	b.Post(path+"/delete", url.Values{"etag": {ask.Input("etag")}}).Want(t, 303)
	b.Get("/contacts/").Want(t, 200, "Votre carnet est encore vide")
}

func TestOneSearchFindsCardsAndColleagues(t *testing.T) {
	rig, _ := start(t)
	b := rig.SignIn("mdupont")
	create(t, b, form("Martine", "Aubry"))
	b.Get("/contacts/?q=martin").Want(t, 200, "Martine Aubry", "Jean Martin", "Julie Martinez", "0590002B", "/mail/compose?to=jean.martin%40academie.test")
	b.Get("/contacts/person/jmartin").Want(t, 200, "Jean Martin", "Principal", "Ajouter à mon carnet")
	b.Get("/contacts/person/martin").Want(t, 404)
	b.Get("/contacts/new?name=Jean+Martin&mail=jean.martin%40academie.test").Want(t, 200, `value="Jean"`, `value="Martin"`, `value="jean.martin@academie.test"`)
}

func TestTheSlowerEditorOfACardKeepsTheirInput(t *testing.T) {
	rig, _ := start(t)
	one, two := rig.SignIn("mdupont"), rig.SignIn("mdupont")
	path := create(t, one, form("Anne", "Petit"))
	first, second := one.Get(path+"/edit"), two.Get(path+"/edit")
	one.Post(path+"/edit", form("Anne", "Grand", "etag", first.Input("etag"))).Want(t, 303)
	conflict := two.Post(path+"/edit", form("Anne", "Moyen", "etag", second.Input("etag"))).Want(t, 409, "a été modifiée entre-temps", "Anne Grand", `value="Moyen"`)
	two.Post(path+"/edit", form("Anne", "Moyen", "etag", conflict.Input("etag"))).Want(t, 303)
	edit, ask := one.Get(path+"/edit"), two.Get(path+"/delete")
	two.Post(path+"/delete", url.Values{"etag": {ask.Input("etag")}}).Want(t, 303)
	one.Post(path+"/edit", form("Anne", "Dernier", "etag", edit.Input("etag"))).Want(t, 409, "a été supprimée entre-temps", `value="Dernier"`, `action="/contacts/new"`)
}

func TestACardOfAnotherApplicationKeepsItsLines(t *testing.T) {
	rig, s := start(t)
	b := rig.SignIn("mdupont")
	b.Get("/contacts/").Want(t, 200)
	s.Put("mdupont", "/mdupont/contacts/old.vcf", "BEGIN:VCARD\nVERSION:3.0\nUID:old\nFN:Rosa Parks\nN:Parks;Rosa;Louise;;\nitem1.EMAIL;TYPE=INTERNET:rosa@x.test\nitem1.X-ABLabel:Perso\nCATEGORIES:a,b\nX-SOCIALPROFILE;TYPE=x:y\nEND:VCARD\n")
	path := b.Get("/contacts/?q=parks").Want(t, 200, "Rosa Parks").Link("/contacts/card/")
	edit := b.Get(path + "/edit")
	b.Post(path+"/edit", url.Values{"given": {"Rosa"}, "family": {"Parks"}, "email": {"rosa.parks@x.test"}, "email_kind": {""}, "etag": {edit.Input("etag")}}).Want(t, 303)
	_, stored := s.Do("mdupont", "GET", "/mdupont/contacts/old.vcf", "", "")
	for _, line := range []string{"item1.EMAIL;TYPE=INTERNET:rosa.parks@x.test", "item1.X-ABL", "CATEGORIES:a,b", "N:Parks;Rosa;Louise;;", "X-SOCIALPROFILE;TYPE=x:y"} {
		if !strings.Contains(strings.ToUpper(stored), strings.ToUpper(line)) {
			t.Errorf("%q is missing in\n%s", line, stored)
		}
	}
}

func TestAMistakeKeepsWhatWasTyped(t *testing.T) {
	rig, _ := start(t)
	b := rig.SignIn("mdupont")
	b.Post("/contacts/new", url.Values{"note": {"gardée"}}).Want(t, 422, "Donnez au moins un nom", "gardée")
	b.Post("/contacts/new", form("A", "B", "email", "a@b@c")).Want(t, 422, "n’est pas complète", `value="a@b@c"`)
	b.Post("/contacts/new", form("A", "B", "book", "nobody")).Want(t, 422, "Choisissez un carnet")
}

func TestManyCardsComeByPagesAndOneBadCardHidesNone(t *testing.T) {
	rig, s := start(t)
	b := rig.SignIn("mdupont")
	b.Get("/contacts/").Want(t, 200)
	for i := range 60 {
		s.Put("mdupont", fmt.Sprintf("/mdupont/contacts/c%d.vcf", i), fmt.Sprintf("BEGIN:VCARD\nVERSION:3.0\nUID:c%d\nFN:Élève %02d\nN:%02d;Élève;;;\nEND:VCARD\n", i, i, i))
	}
	b.Get("/contacts/").Want(t, 200, "Élève 00", "Élève 49", "1 – 50 sur 60", "page=2")
	b.Get("/contacts/?page=2").Want(t, 200, "Élève 50", "Élève 59", "51 – 60 sur 60")
	b.Get("/contacts/?page=999").Want(t, 200, "Élève 59")
	b.Get("/contacts/?page=-3").Want(t, 200, "Élève 00")
}

func TestNobodyReachesAnotherPersonsCards(t *testing.T) {
	rig, _ := start(t)
	mine, other := rig.SignIn("mdupont"), rig.SignIn("ssmith")
	path := create(t, mine, form("Secrète", "Amie"))
	if page := other.Get("/contacts/?q=secrete").Want(t, 200); strings.Contains(page.Body, "Amie") {
		t.Fatal("found by somebody else")
	}
	for _, p := range []string{path, path + "/edit", path + "/delete"} {
		other.Get(p).Want(t, 404)
	}
	other.Post(path+"/delete", url.Values{"etag": {`"x"`}}).Want(t, 404)
	mine.Get(path).Want(t, 200, "Amie")
}
