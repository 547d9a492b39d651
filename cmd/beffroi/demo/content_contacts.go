package demo

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// card is one contact of the samples. Telephone numbers are of the ranges kept
// for fiction (01 99 00, 03 53 01, 06 39 98), addresses end in .test.
type card struct {
	given, family string
	org, title    string
	mail, mail2   string
	phone, mobile string
	street, city  string // city with its postcode: "59000 Lille"
	categories    string
	note          string
	birthday      string // 19790412
	version       string // 3.0 unless said
	photo         bool
	url           string
}

// vcard writes the card. Both versions, as other programs write them: 3.0 with
// TYPE=WORK,VOICE and inline base64, 4.0 with tel: and data: URIs.
func (c card) vcard(uid string) string {
	w := &icsWriter{}
	v4 := c.version == "4.0"
	w.line("BEGIN:VCARD")
	if v4 {
		w.line("VERSION:4.0")
	} else {
		w.line("VERSION:3.0")
	}
	w.line("PRODID:-//Beffroi//Contacts de démonstration//FR")
	w.line("UID:" + uid)
	full := strings.TrimSpace(c.given + " " + c.family)
	if full == "" {
		full = c.org
	}
	w.text("FN", full)
	w.line("N:" + icsText(c.family) + ";" + icsText(c.given) + ";;;")
	if c.org != "" {
		w.line("ORG:" + icsText(c.org))
	}
	w.text("TITLE", c.title)
	for i, mail := range []string{c.mail, c.mail2} {
		switch {
		case mail == "":
		case v4:
			w.line(fmt.Sprintf("EMAIL;TYPE=%s;PREF=%d:%s", []string{"work", "home"}[i], i+1, mail))
		default:
			w.line("EMAIL;TYPE=INTERNET," + []string{"WORK,PREF", "HOME"}[i] + ":" + mail)
		}
	}
	for i, phone := range []string{c.phone, c.mobile} {
		switch {
		case phone == "":
		case v4:
			w.line(`TEL;VALUE=uri;TYPE="` + []string{"work,voice", "cell"}[i] + `":tel:+33-` + strings.ReplaceAll(phone[1:], " ", "-"))
		default:
			w.line("TEL;TYPE=" + []string{"WORK,VOICE", "CELL"}[i] + ":" + phone)
		}
	}
	if c.street != "" {
		postcode, city, _ := strings.Cut(c.city, " ")
		w.line("ADR;TYPE=WORK:;;" + icsText(c.street) + ";" + icsText(city) + ";;" + postcode + ";France")
	}
	if c.birthday != "" {
		w.line("BDAY:" + c.birthday)
	}
	if c.categories != "" {
		w.line("CATEGORIES:" + c.categories) // a list: its commas separate
	}
	w.text("NOTE", c.note)
	if c.url != "" {
		w.line("URL:" + c.url)
	}
	if c.photo {
		encoded := base64.StdEncoding.EncodeToString(portraitFile(full))
		if v4 {
			w.line("PHOTO:data:image/jpeg;base64," + encoded)
		} else {
			w.line("PHOTO;ENCODING=b;TYPE=JPEG:" + encoded)
		}
	}
	w.line("REV:20261101T080000Z")
	w.line("END:VCARD")
	return w.b.String()
}

// sampleBooks are a person's two address books; generated persons have one
// with a few cards.
func sampleBooks(person Account, everyone *directoryOfNames, _ time.Time) []sampleCollection {
	contacts := sampleCollection{name: "contacts", displayName: "Contacts", isBook: true, description: "Carnet de " + person.Name}
	partners := sampleCollection{name: "partenaires", displayName: "Partenaires", isBook: true, description: "Associations, collectivités, entreprises"}
	if person.Lang == "en" {
		partners.displayName, partners.description = "Partners", "Associations, local authorities, companies"
		contacts.description = person.Name + "’s contacts"
	}
	add := func(c *sampleCollection, name string, one card) {
		c.objects = append(c.objects, sampleObject{name + ".vcf", one.vcard(name + "." + person.Login + "@contacts." + MailDomain)})
	}
	named := contactCards()
	if !slices.Contains(sampleLogins, person.Login) {
		named = named[:4]
	}
	for i, one := range named {
		add(&contacts, fmt.Sprintf("contact-%02d", i+1), one)
	}
	if len(named) > 4 {
		for i := range 6 {
			colleague := everyone.colleague(person, i+1)
			given, family, _ := strings.Cut(colleague.Name, " ")
			add(&contacts, fmt.Sprintf("collegue-%d", i+1), card{given: given, family: family, org: "Académie", title: "Collègue", mail: colleague.Mail, phone: fmt.Sprintf("03 53 01 2%d 1%d", i, i), categories: "Collègues", version: []string{"3.0", "4.0"}[i%2]})
		}
	}
	for i, one := range partnerCards() {
		add(&partners, fmt.Sprintf("partenaire-%02d", i+1), one)
	}
	return []sampleCollection{contacts, partners}
}

func contactCards() []card {
	return []card{
		{given: "Aurélie", family: "Caron", org: "Médecine de prévention", title: "Infirmière", mail: "a.caron@prevention-sante.test", phone: "03 53 01 40 12", mobile: "06 39 98 01 02", street: "4 rue des Tanneurs", city: "59000 Lille", categories: "Santé", photo: true},
		{given: "Benoît", family: "Legrand", org: "Mairie", title: "Service de la vie scolaire", mail: "scolaire@mairie.test", phone: "03 53 01 50 00", street: "Place de l’Hôtel-de-Ville", city: "59000 Lille", categories: "Collectivités,Mairie", note: "Joignable le matin.\nSecrétariat : poste 12."},
		{given: "Camille", family: "Duhem", org: "Autocars du Nord", title: "Réservations", mail: "reservations@autocars-nord.test", phone: "03 53 01 61 61", categories: "Transports,Sorties", note: "Devis sous 48 h."},
		{given: "David", family: "Roussel", org: "Fédération de parents", title: "Président", mail: "parents@federation-parents.test", mobile: "06 39 98 11 20", categories: "Parents", version: "4.0", photo: true},
		{given: "Élodie", family: "Petit-Marchand", org: "Inspection", title: "Inspectrice de mathématiques", mail: "e.petit@inspection.test", phone: "03 53 01 22 33", categories: "Inspection", version: "4.0"},
		{given: "Farid", family: "Haddad", org: "Dépannage Informatique Flandres", title: "Technicien", mail: "f.haddad@dif.test", phone: "03 53 01 70 07", mobile: "06 39 98 70 07", street: "12 rue du Port", city: "59140 Dunkerque", categories: "Informatique,Fournisseurs", note: "Numéro de contrat : 2026-0471 ; urgence 24 h sur 24."},
		{given: "Gaëlle", family: "Le Goff", org: "CDI", title: "Professeure documentaliste", mail: "g.legoff@lectures.test", categories: "Lecture", birthday: "19790412"},
		{given: "Hugo", family: "Vandamme", org: "Piscine municipale", title: "Régisseur", mail: "regie@piscine.test", phone: "03 53 01 80 80", categories: "Sport"},
		{given: "Inès", family: "Moreau", org: "Théâtre du Nord", title: "Relations publiques", mail: "i.moreau@theatre.test", mail2: "ines.moreau@boite.test", phone: "03 53 01 90 10", street: "Grand-Place", city: "59000 Lille", categories: "Culture,Sorties", url: "https://www.theatre.test/scolaires", photo: true},
		{given: "Joël", family: "Dubrulle", org: "Pompiers – prévention", title: "Capitaine", mail: "sdis@prevention.test", phone: "03 53 01 18 18", categories: "Sécurité"},
		{given: "Karine", family: "Bonnet", org: "Éditions du Beffroi", title: "Déléguée pédagogique", mail: "k.bonnet@editions-beffroi.test", mobile: "06 39 98 30 31", categories: "Éditeurs", version: "4.0"},
		{given: "Laurent", family: "D’Hondt", org: "Traiteur Au Bon Plat", mail: "contact@aubonplat.test", phone: "03 53 01 33 44", note: "Menus végétariens, compter 14 € par personne.", categories: "Fournisseurs"},
		{given: "Mélanie", family: "Ferrand", org: "Service social", title: "Assistante sociale", mail: "m.ferrand@service-social.test", phone: "03 53 01 45 45", categories: "Santé,Social", note: "Confidentiel."},
		{given: "Nicolas", family: "Øst", org: "Skolen i Byen", title: "Teacher", mail: "n.ost@skolen.test", categories: "Échanges,Erasmus", note: "Partenaire danois, écrit l’anglais.", version: "4.0"},
		{given: "Oliver", family: "Hart", org: "Westgate Academy", title: "Head of Languages", mail: "o.hart@westgate-academy.test", categories: "Échanges,eTwinning", photo: true},
		{given: "Pauline", family: "Six", org: "Musée des Beaux-Arts", title: "Médiatrice", mail: "p.six@musee.test", phone: "03 53 01 06 06", categories: "Culture"},
		{given: "Quentin", family: "Rousseaux", org: "Club d’échecs", mail: "q.rousseaux@echecs.test", mobile: "06 39 98 64 64", categories: "Sport"},
		{given: "Rachid", family: "Benkacem", org: "Maison des adolescents", title: "Éducateur", mail: "r.benkacem@mda.test", phone: "03 53 01 77 10", categories: "Social"},
		{given: "Sophie", family: "Vanneste", org: "Orientation", title: "Psychologue", mail: "s.vanneste@orientation.test", phone: "03 53 01 88 20", categories: "Orientation", birthday: "19850923"},
		{given: "Théo", family: "Lemaître", mail: "theo.lemaitre@boite.test", mobile: "06 39 98 55 12", categories: "Personnel", note: "Covoiturage du mardi."},
	}
}

func partnerCards() []card {
	return []card{
		{org: "Association Lire ensemble", mail: "contact@lire-ensemble.test", phone: "03 53 01 10 10", street: "8 rue du Beffroi", city: "59500 Douai", categories: "Lecture", url: "https://www.lire-ensemble.test"},
		{given: "Ursule", family: "Maes", org: "Conseil départemental", title: "Collèges", mail: "colleges@departement.test", phone: "03 53 01 20 20", categories: "Collectivités", version: "4.0"},
		{given: "Victor", family: "Paquet", org: "Région – lycées", title: "Gestionnaire du patrimoine", mail: "lycees@region.test", phone: "03 53 01 30 30", categories: "Collectivités"},
		{given: "Wendy", family: "Thomas", org: "Campus des métiers", title: "Directrice", mail: "w.thomas@campus-metiers.test", mobile: "06 39 98 90 90", categories: "Orientation,Entreprises", photo: true},
		{given: "Xavier", family: "Noël", org: "Fabrique numérique", title: "Animateur", mail: "x.noel@fabrique.test", categories: "Numérique", version: "4.0", note: "Imprimante 3D disponible le jeudi."},
		{given: "Yasmina", family: "Kaci", org: "Sport pour tous", mail: "y.kaci@sport-pour-tous.test", phone: "03 53 01 44 01", categories: "Sport"},
		{given: "Zoé", family: "Lambert", org: "Librairie des Remparts", title: "Libraire", mail: "librairie@remparts.test", phone: "03 53 01 55 09", street: "31 rue des Remparts", city: "62000 Arras", categories: "Lecture,Fournisseurs"},
		{org: "Transports du littoral", mail: "groupes@transports-littoral.test", phone: "03 53 01 62 62", categories: "Transports"},
	}
}
