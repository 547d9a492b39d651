package demo

import "strings"

// oddForEveryone is how many of oddLetters also reach those who read English.
const oddForEveryone = 7

// oddLetters are what real mailboxes hold and mail readers stumble over.
func oddLetters() []letter {
	return []letter{
		// A phishing attempt.
		{from: "Support Messagerie Académie <support@securite-compte.test>", ago: 0, at: "03:26", subject: "[URGENT] Votre boîte est pleine à 98 % – action requise", html: phishingHTML, headers: []string{"X-Priority: 1", "Reply-To: collecte@boite-gratuite.test"}},
		// Subjects: emoji, very long, none.
		{from: "@communication", ago: 1, at: "12:12", subject: "🎄 Repas de fin d’année : inscriptions ouvertes 🎉👩‍🏫", text: "Bonjour à toutes et à tous,\n\nLe repas de fin d’année a lieu {J+14} à 12 h 15 🍽️. Inscriptions jusqu’à {J+7}.\n\nLe comité des fêtes 🥳"},
		{from: "@secretariat", ago: 6, at: "16:16", flags: read, subject: longSubject(), text: "Bonjour,\n\nTout est dans l’objet.\n\nLe secrétariat général"},
		{from: "~9", ago: 2, at: "19:48", subject: "", text: "Voir ci-dessous, comme convenu au téléphone.\n\n{from}"},
		// A machine that never learnt to write a date.
		{from: "Copieur 2ᵉ étage <copieur-r2@academie.test>", ago: 5, at: "10:10", date: "Lun 0 Nov 26 25:61", flags: read, subject: "Numérisation depuis COPIEUR-R2", files: []attachment{pdf("scan0001.pdf", "Page numérisée", "Document de 1 page")}, text: "Ce message a été envoyé par le copieur du 2e étage.", headers: []string{"X-Mailer: MFP 1.0"}},
		// ISO-8859-1, quoted-printable, format of another age.
		{from: "Gestion des absences <absences@gestion.academie.test>", ago: 4, at: "07:00", latin1: true, flags: read, subject: "Relevé hebdomadaire : élèves absents à signaler", text: "Relevé hebdomadaire\n\nÉlèves à signaler : néant.\nDéjà traités : 3. Reçus à vérifier : 1.\nCoût des envois : 0,00 EUR\n\nCe message généré automatiquement n'appelle pas de réponse."},
		// Spam, reported as it should be: attached.
		{from: "~3", to: "@assistance, me", ago: 3, at: "08:21", subject: "TR: message suspect à analyser", files: []attachment{eml("message-suspect.eml", "Votre colis est en attente", "Votre colis est retenu. Payez 1,99 EUR sur http://livraison-rapide.test/colis pour le recevoir.")}, text: "Bonjour,\n\nJ’ai reçu ceci ce matin. Je n’ai pas cliqué. Le message complet est joint.\n\n{from}"},
		{from: "@examens", ago: 11, at: "14:00", flags: read, subject: "Convocation : surveillance du brevet blanc", files: []attachment{pdf("convocation.pdf", "Convocation", "Surveillance du brevet blanc", "Salle 104, 8 h 15"), csv("surveillants.csv", "salle;matin;après-midi", "104;8 h 15;13 h 15", "105;8 h 15;13 h 15")}, text: "Madame, Monsieur,\n\nVotre convocation est jointe. Merci d’arriver quinze minutes avant l’épreuve.\n\nLa division des examens et concours"},
	}
}

func oddLettersInEnglish() []letter {
	return []letter{
		{from: "Account Team <noreply@mailbox-upgrade.test>", ago: 3, at: "02:11", subject: "Your mailbox will be closed!!!", html: strings.NewReplacer("Votre boîte aux lettres est pleine à 98 %", "Your mailbox is 98 % full",
			"Cher utilisateur, sans action de votre part sous", "Dear user, without action on your part within", "24 heures", "24 hours", "vos courriels seront définitivement supprimés", "your messages will be deleted for good", "Valider mon compte", "Verify my account").Replace(phishingHTML)},
	}
}

func longSubject() string {
	s := "Rappel : procédure de transmission des états de service, des pièces justificatives de frais de déplacement et des ordres de mission permanents, à retourner au secrétariat général avant la clôture de l’exercice"
	runes := []rune(s)
	return string(runes[:min(200, len(runes))])
}
