package contacts

import (
	"strings"
	"testing"

	"beffroi/portal/dav"
)

func TestPeopleAndGroupsAreFound(t *testing.T) {
	var entries []entry
	for _, text := range []string{
		"UID:1\nFN:Zoé Lefèvre\nN:Lefèvre;Zoé;;;\nEMAIL:zoe@ville.test\nORG:Mairie\nCATEGORIES:Chorale,Voisins\\, rue haute",
		"UID:urn:uuid:2\nFN:Ali Zerrouki\nN:Zerrouki;Ali;;;\nEMAIL:ali@ville.test\nCATEGORIES:Chorale",
		"UID:3\nFN:Sans adresse\nN:Sans;Zo;;;",
		"UID:4\nKIND:group\nFN:Zone nord\nMEMBER:urn:uuid:1\nMEMBER:urn:uuid:2\nMEMBER:urn:uuid:2\nMEMBER:mailto:autre@ville.test\nMEMBER:urn:uuid:3\nMEMBER:urn:uuid:absent",
		"UID:5\nX-ADDRESSBOOKSERVER-KIND:group\nFN:Zone vide",
	} {
		card, err := dav.ParseCard("BEGIN:VCARD\nVERSION:3.0\n" + text + "\nEND:VCARD\n")
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entryOf(card, book{}, "/x.vcf"))
	}
	find := func(q string) string {
		var said []string
		for _, one := range findIn(entries, words(q), 8) {
			s := one.Name
			for _, m := range one.Mails {
				s += " " + m.Mail
			}
			said = append(said, s)
		}
		return strings.Join(said, " | ")
	}
	for q, want := range map[string]string{
		"zo":      "Zoé Lefèvre zoe@ville.test | Zone nord zoe@ville.test ali@ville.test autre@ville.test",
		"chorale": "Chorale zoe@ville.test ali@ville.test",
		"voisins": "Voisins, rue haute zoe@ville.test",
		"zerr al": "Ali Zerrouki ali@ville.test",
		"rien":    "",
	} {
		if got := find(q); got != want {
			t.Errorf("%s: %s, want %s", q, got, want)
		}
	}
}
