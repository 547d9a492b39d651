package demo

import (
	"slices"
)

// lettersForAll are what every French-speaking person of the academy gets.
func lettersForAll(w *writer) []letter {
	ics := newICS(w.start)
	invitation := occasion{uid: "invitation-acces-2026@formation.academie.test", summary: "Atelier : prendre en main le nouveau portail", place: "Campus, salle 204", day: 8, from: "14:00", to: "16:00",
		notes: "Prévoir un ordinateur portable.", guests: []guest{{correspondent{"École académique de la formation continue", "formation@academie.test"}, "ACCEPTED", "CHAIR"}, {correspondent{w.reader.Name, w.reader.Mail}, "NEEDS-ACTION", ""}}}
	return []letter{
		{from: "@dsi", ago: 1, at: "16:42", subject: "Messagerie : interruption {J+3} de 20 h à 22 h", html: maintenanceHTML, text: `Bonjour,

La messagerie sera indisponible {J+3} de 20 h à 22 h pour une mise à jour.

  Messagerie          20 h – 22 h
  Agenda et contacts  20 h – 20 h 30
  Portail             aucune interruption

Les messages reçus pendant l’interruption arriveront ensuite : rien n’est perdu.

La direction des systèmes d’information`},
		{from: "@communication", ago: 0, at: "07:58", subject: "La lettre de l’académie – {month}", html: newsletterHTML, inline: []attachment{picture("logo.png", "logo@communication.academie.test", logoFile())},
			headers: []string{"List-Unsubscribe: <https://www.academie.test/lettre/desabonnement?u=7f3a>", "List-Id: La lettre de l'academie <lettre.communication.academie.test>", "Precedence: bulk"},
			text:    "La lettre de l’académie\n\nUne fresque pour les cent ans du collège\nInauguration {J+4} à 17 h.\n\nOrientation : les mini-stages ouvrent {J+6}.\nLecture : déjà 212 écoles.\n\nSe désabonner : https://www.academie.test/lettre/desabonnement?u=7f3a"},
		{from: "@drh", ago: 2, at: "10:15", subject: "Mouvement 2027 : ouverture du serveur et note de service", flags: urgent, files: []attachment{
			pdf("note-de-service-2026-118.pdf", "Note de service n° 2026-118", "Objet : mouvement des personnels, rentrée 2027", "", "Le serveur est ouvert pendant trois semaines.", "Les pièces justificatives sont déposées en ligne.", "Une permanence téléphonique est assurée de 9 h à 17 h.")}, text: `Madame, Monsieur,

Le serveur de saisie des vœux ouvre {J+2} à 12 h et ferme {J+17} à 18 h.
La note de service jointe précise le calendrier, les barèmes et les pièces à fournir.

Une permanence téléphonique est assurée de 9 h à 17 h.

Bien cordialement,
Le bureau des mouvements`},
		{from: "@formation", ago: 1, at: "11:05", subject: "Invitation : prendre en main le nouveau portail", files: []attachment{{name: "invitation.ics", media: "text/calendar; charset=utf-8", data: []byte(ics.object(invitation, "REQUEST")), method: "REQUEST"}}, text: `Bonjour {first},

Vous êtes inscrit·e à l’atelier « Prendre en main le nouveau portail », campus, salle 204.
Merci de répondre à l’invitation jointe.

L’équipe de l’École académique`},
		{from: "@drh", ago: 4, at: "06:30", subject: "Votre bulletin de paye est disponible", flags: read, text: `Bonjour {name},

Votre bulletin de paye ({month}) est disponible dans votre espace numérique sécurisé.
Il y reste conservé ; il n’est plus envoyé sur papier.

Ceci est un message automatique.`, headers: []string{"Auto-Submitted: auto-generated"}},
		{from: "@logistique", ago: 3, at: "09:20", subject: "Menus du restaurant administratif", flags: read, files: []attachment{picture("frequentation.png", "", chartFile(62, 81, 74, 90, 55)), csv("menus.csv", "jour;entrée;plat;dessert", "lundi;potage poireaux;carbonade, frites;faisselle", "mardi;endives aux noix;dos de cabillaud;tarte au sucre", "mercredi;betteraves;gratin de légumes;fruit", "jeudi;salade de mâche;waterzooi;riz au lait", "vendredi;œuf mimosa;lasagnes;compote")}, text: `Bonjour,

Voici les menus de la semaine prochaine. Mercredi, menu végétarien pour tous.
La fréquentation de la semaine est jointe : mieux vaut venir le vendredi !

Le restaurant administratif`},
		{key: "doodle", from: "~1", to: "me, ~2, ~3", ago: 2, at: "14:31", subject: "Date de la prochaine réunion ?", flags: answered, text: `Bonjour à tous,

Je propose {J+6} à 10 h ou {J+7} à 14 h, salle Vauban. Dites-moi ce qui vous arrange.

Bien à vous,
{from}`},
		{key: "doodle-2", answers: "doodle", from: "~2", to: "~1, me, ~3", ago: 2, at: "15:02", subject: "Re: Date de la prochaine réunion ?", flags: read, text: `Plutôt {J+7} pour moi, je suis en déplacement la veille.

{from.first}

> Je propose {J+6} à 10 h ou {J+7} à 14 h, salle Vauban.`},
		{key: "doodle-3", answers: "doodle", folder: "Sent", from: "me", to: "~1, ~2, ~3", ago: 2, at: "15:40", subject: "Re: Date de la prochaine réunion ?", flags: read, text: `Les deux me conviennent.

{first}

> Je propose {J+6} à 10 h ou {J+7} à 14 h, salle Vauban.`},
		{key: "doodle-4", answers: "doodle-3", from: "~1", to: "me, ~2, ~3", ago: 1, at: "08:47", subject: "Re: Date de la prochaine réunion ?", text: `Alors ce sera {J+7} à 14 h. J’ai réservé la salle.

{from.first}

> Les deux me conviennent.`},
		{from: "@securite", ago: 5, at: "17:10", subject: "Votre second facteur protège aussi vos collègues", flags: starred, text: `Bonjour {first},

Depuis la rentrée, la connexion demande un second facteur. Trois conseils :

 1. gardez vos codes de secours hors de votre téléphone ;
 2. ne validez jamais une demande que vous n’avez pas faite ;
 3. téléphone perdu ? Appelez l’assistance : elle vous remet en route en quelques minutes.

L’équipe sécurité`},
		{from: "@drh", ago: 8, at: "12:01", subject: "Demande de congé n° 2026-4411 : validée", flags: read, text: "Bonjour,\n\nVotre demande de congé n° 2026-4411 a été validée par votre responsable.\n\nMessage automatique, ne pas répondre.", headers: []string{"Auto-Submitted: auto-generated"}},
		{from: "@logistique", ago: 6, at: "15:55", subject: "Véhicule de service réservé", flags: read, text: "Bonjour {first},\n\nVotre réservation est confirmée : citadine électrique, place 14, {J+5} de 8 h à 18 h.\nLe badge se retire à l’accueil.\n\nLe parc automobile"},
		{from: "Prévention santé <lettre@prevention-sante.test>", ago: 7, at: "05:12", subject: "Grippe : une infirmière près de chez vous", html: healthHTML, headers: []string{"List-Unsubscribe: <mailto:stop@prevention-sante.test>", "Precedence: bulk"}},
		{from: "~5", ago: 9, at: "18:22", subject: "Absence : réponse automatique", flags: read, text: "Bonjour,\n\nJe suis absent·e jusqu’au {J+2}. En cas d’urgence, joindre le secrétariat au 03 53 01 20 00.\n\n{from}", headers: []string{"Auto-Submitted: auto-replied"}},
		{from: "~4", ago: 3, at: "13:15", subject: "Compte rendu à relire", flags: starred, files: []attachment{docx("compte-rendu-projet.docx", "Compte rendu de la réunion", "Présents : huit personnes. Excusés : deux.", "Décisions : le calendrier est adopté, le budget sera revu.", "Prochaine réunion dans quinze jours.")}, text: `Bonjour {first},

Voici le projet de compte rendu. Peux-tu y jeter un œil avant {J+1} ? J’ai laissé deux questions en rouge.

Merci !
{from}`},
		{key: "cle", from: "~6", ago: 10, at: "08:03", subject: "Clé USB trouvée en salle de réunion", flags: answered, text: "Bonjour,\n\nUne clé USB rouge est restée en salle Vauban. Elle est à l’accueil. Personne ne l’a branchée, promis.\n\n{from}"},
		{answers: "cle", folder: "Sent", from: "me", to: "~6", ago: 10, at: "08:30", subject: "Re: Clé USB trouvée en salle de réunion", flags: read, text: "Merci, c’est la mienne ! Je passe la prendre à midi.\n\n{first}\n\n> Une clé USB rouge est restée en salle Vauban."},
		{folder: "Sent", from: "me", to: "@logistique", ago: 7, at: "11:11", subject: "Commande de fournitures", flags: read, text: "Bonjour,\n\nPourriez-vous prévoir deux ramettes A3 et des feutres pour tableau blanc ?\n\nMerci,\n{name}"},
		{folder: "Drafts", from: "me", to: "~3", ago: 0, at: "09:02", subject: "Proposition de calendrier", flags: draft, text: "Bonjour,\n\nComme convenu, voici une proposition :\n- première étape : {J+10}\n- deuxième étape : "},
		{folder: "Drafts", from: "me", to: "@drh", ago: 4, at: "17:30", subject: "", flags: draft, text: "Bonjour,\n\nJe souhaiterais"},
		{folder: "Trash", from: "Boutique du bureau <promo@fournitures-bureau.test>", ago: 6, at: "04:44", subject: "-30 % sur les agrafeuses, 48 h seulement", flags: read, text: "Nos agrafeuses n’ont jamais été aussi peu chères."},
		{folder: "Junk", from: "Loterie <gagnant@loterie-internationale.test>", ago: 4, at: "02:17", subject: "Félicitation vous avez gagner 850.000 EUR", text: "Cher gagnant, contactez notre huissier avec votre RIB."},
	}
}

// foldersForAll are the letters people put away.
func foldersForAll() []letter {
	return []letter{
		{folder: "Établissement", from: "~4", ago: 15, at: "08:40", subject: "Calendrier des conseils de classe", flags: read, files: []attachment{pdf("conseils-de-classe.pdf", "Conseils de classe, premier trimestre", "6e : lundi 17 h", "5e : mardi 17 h", "4e : mercredi 17 h", "3e : jeudi 17 h")}, text: "Bonjour à tous,\n\nPour information, le calendrier des conseils de classe est joint. Les salles seront affichées la veille.\n\n{from}"},
		{folder: "Établissement", from: "~7", ago: 21, at: "16:00", subject: "Surveillance des couloirs : planning", flags: read, text: "Bonjour,\n\nLe planning est affiché en salle des professeurs.\n\n{from}"},
		{folder: "Établissement", from: "~8", ago: 26, at: "10:30", subject: "Clés du gymnase", flags: read, text: "Les clés sont désormais à la loge. Pensez à signer le cahier.\n\n{from}"},
		{folder: "Formation", from: "@formation", ago: 18, at: "09:00", subject: "Attestation de présence : documents accessibles", flags: read, files: []attachment{pdf("attestation.pdf", "Attestation de présence", "Module FC-2026-1042 : documents accessibles à tous", "Durée : 3 heures")}, text: "Bonjour {first},\n\nVotre attestation est jointe.\n\nL’École académique"},
		{folder: "Formation", from: "@formation", ago: 30, at: "09:00", subject: "Plan de formation : le catalogue est en ligne", flags: read, text: "Le catalogue compte 312 modules. Inscriptions jusqu’au {J+15}.\n\nL’École académique"},
		{folder: "Archives/2025", from: "@drh", ago: 230, at: "11:00", subject: "Campagne d’entretiens professionnels 2025", flags: read, text: "La campagne est ouverte jusqu’au 30 juin."},
		{folder: "Archives/2025", from: "~2", ago: 250, at: "14:20", subject: "Bilan de l’année scolaire", flags: read, text: "Bonjour,\n\nMerci à tous pour cette belle année. Le bilan est dans le dossier partagé.\n\n{from}"},
		{folder: "Archives/2025", from: "@dsi", ago: 260, at: "08:00", subject: "Changement d’imprimantes", flags: read, text: "Les nouvelles imprimantes sont en service. Le badge remplace le code."},
	}
}

// lettersForAnyone fills the small mailbox of a generated person: three to six
// letters, always the same ones for the same person.
func lettersForAnyone(person Account, w *writer) []letter {
	all := lettersForAll(w)
	if person.Lang == "en" {
		all = lettersInEnglish(w)
	}
	inbox := slices.DeleteFunc(all, func(l letter) bool { return l.folder != "" || l.answers != "" })
	seed := hashOf(person.Login)
	var some []letter
	for i := range min(3+seed%4, len(inbox)) {
		some = append(some, inbox[(seed/7+i*3)%len(inbox)])
	}
	slices.SortFunc(some, func(a, b letter) int { return a.ago - b.ago })
	return slices.CompactFunc(some, func(a, b letter) bool { return a.subject == b.subject })
}
