package demo

// roleLetters are what only that person gets: her work, in threads.
func roleLetters(login string) []letter {
	switch login {
	case "mdupont":
		return helpdeskLetters()
	case "jmartin":
		return headLetters()
	case "plefebvre":
		return teacherLetters()
	case "aadmin":
		return securityLetters()
	case "xpartenaire":
		return partnerLetters()
	}
	return nil
}

func helpdeskLetters() []letter {
	return []letter{
		{key: "wifi", from: "jmartin", to: "@assistance", cc: "me", ago: 1, at: "08:12", subject: "Wi-Fi en panne au premier étage", flags: answered, text: "Bonjour,\n\nPlus de Wi-Fi au premier étage depuis hier soir. Six classes sont touchées, et nous avons une évaluation en ligne cet après-midi.\n\n{from}"},
		{key: "wifi-2", answers: "wifi", folder: "Sent", from: "me", to: "jmartin", ago: 1, at: "08:25", subject: "Re: Wi-Fi en panne au premier étage", flags: read, text: "Bonjour,\n\nLe commutateur du local 112 ne répond plus. Un technicien part maintenant, il sera là vers 10 h.\n\n{name}\nAssistance informatique\n\n> Plus de Wi-Fi au premier étage depuis hier soir."},
		{key: "wifi-3", answers: "wifi-2", from: "jmartin", ago: 1, at: "11:03", subject: "Re: Wi-Fi en panne au premier étage", text: "C’est reparti, merci pour la rapidité !\n\n{from.first}\n\n> Un technicien part maintenant, il sera là vers 10 h."},
		{key: "tel", from: "plefebvre", to: "@assistance", cc: "me", ago: 0, at: "08:05", subject: "Téléphone perdu, plus de code", flags: urgent, text: "Bonjour,\n\nJ’ai perdu mon téléphone ce week-end et je ne peux plus me connecter. J’ai cours à 10 h 30. Pouvez-vous m’aider ?\n\n{from}\njoignable en salle des professeurs"},
		{from: "ssmith", to: "@assistance", cc: "me", ago: 2, at: "13:44", subject: "Language setting keeps going back to French", flags: answered, text: "Hello,\n\nEvery time I open the timetable tool it is in French again, although I chose English in the portal. Is it me?\n\nBest wishes,\n{from}"},
		{from: "~11", ago: 2, at: "16:20", subject: "Livraison des 40 portables", flags: starred, files: []attachment{csv("portables.csv", "numéro de série;modèle;affectation", "FR-0001;14 pouces;collège", "FR-0002;14 pouces;collège", "FR-0003;15 pouces;lycée"), picture("quai.png", "", chartFile(20, 35, 50, 40))}, text: "Bonjour {first},\n\nLe transporteur passe mercredi à 8 h 30. La liste est jointe ; il manque encore les étiquettes.\n\n{from}"},
		{from: "~12", ago: 4, at: "09:50", subject: "Planning d’astreinte : {nextmonth}", flags: read, files: []attachment{pdf("astreintes.pdf", "Astreintes du mois", "Première semaine : équipe 1", "Deuxième semaine : équipe 2", "Troisième semaine : équipe 1")}, text: "Bonjour,\n\nLe planning est joint. Dites-moi si un échange est nécessaire.\n\n{from}"},
		{from: "@securite", ago: 3, at: "17:45", subject: "Réinitialisations de la semaine : 12", flags: read, text: "Bonjour,\n\n12 seconds facteurs ont été réinitialisés cette semaine, tous tracés. Aucun écart.\n\nL’équipe sécurité"},
		{from: "~13", to: "@assistance, me", ago: 5, at: "10:32", subject: "Imprimante du secrétariat : bourrage", flags: read, text: "Toujours le bac 2. On a retiré trois trombones et un post-it.\n\n{from}"},
		{from: "~14", ago: 7, at: "08:58", subject: "Nouvelle collègue lundi", flags: read, text: "Bonjour {first},\n\nUne nouvelle gestionnaire arrive lundi. Peux-tu préparer un poste et ses accès ?\n\nMerci,\n{from}"},
		{from: "xpartenaire", to: "@assistance, me", ago: 6, at: "11:27", subject: "Accès partenaire : expiration le mois prochain", flags: answered, text: "Bonjour,\n\nMon accès expire à la fin du mois prochain, alors que la convention court jusqu’en juin. Faut-il une nouvelle demande ?\n\n{from}"},
		{from: "Supervision <supervision@supervision.academie.test>", ago: 0, at: "06:01", subject: "[RÉTABLI] pare-feu-lycee-03 répond", flags: read, text: "Hôte : pare-feu-lycee-03\nÉtat : RÉTABLI\nDurée : 4 min 12 s", headers: []string{"Auto-Submitted: auto-generated"}},
		{from: "Supervision <supervision@supervision.academie.test>", ago: 0, at: "05:57", subject: "[ALERTE] pare-feu-lycee-03 ne répond plus", flags: read, text: "Hôte : pare-feu-lycee-03\nÉtat : INJOIGNABLE", headers: []string{"Auto-Submitted: auto-generated"}},
	}
}

func headLetters() []letter {
	return []letter{
		{key: "ca", from: "~10", ago: 1, at: "09:35", subject: "Conseil d’administration : ordre du jour", flags: answered, files: []attachment{docx("ordre-du-jour.docx", "Ordre du jour", "1. Budget initial", "2. Voyages et sorties", "3. Règlement intérieur", "4. Questions diverses"), pdf("budget.pdf", "Budget initial", "Recettes : 412 300 EUR", "Dépenses : 411 950 EUR")}, text: "Monsieur le Principal,\n\nVoici le projet d’ordre du jour et le budget. Le quorum semble acquis : dix-neuf réponses.\n\n{from}"},
		{key: "ca-2", answers: "ca", folder: "Sent", from: "me", to: "~10", ago: 1, at: "10:05", subject: "Re: Conseil d’administration : ordre du jour", flags: read, text: "Merci. Ajoutez s’il vous plaît le point sur la cantine avant les questions diverses.\n\n{first}\n\n> Voici le projet d’ordre du jour et le budget."},
		{key: "dhg", from: "Division de l’organisation scolaire <dos@secretariat.academie.test>", ago: 3, at: "17:58", subject: "Dotation horaire globale : préparation de la rentrée", flags: urgent, files: []attachment{csv("dhg-0590002B.csv", "division;effectif;heures", "6e;112;104", "5e;108;104", "4e;115;110", "3e;109;112"), pdf("notice-dhg.pdf", "Notice", "La saisie est ouverte trois semaines.")}, text: "Mesdames et Messieurs les chefs d’établissement,\n\nLa dotation prévisionnelle de votre établissement est jointe. Retour attendu pour {J+12}.\n\nLa division de l’organisation scolaire"},
		{key: "wifi-2", from: "mdupont", ago: 1, at: "08:25", subject: "Re: Wi-Fi en panne au premier étage", flags: answered, text: "Bonjour,\n\nLe commutateur du local 112 ne répond plus. Un technicien part maintenant, il sera là vers 10 h.\n\n{from}\nAssistance informatique\n\n> Plus de Wi-Fi au premier étage depuis hier soir."},
		{key: "wifi", folder: "Sent", from: "me", to: "@assistance", ago: 1, at: "08:12", subject: "Wi-Fi en panne au premier étage", flags: read, text: "Bonjour,\n\nPlus de Wi-Fi au premier étage depuis hier soir. Six classes sont touchées, et nous avons une évaluation en ligne cet après-midi.\n\n{name}"},
		{key: "sortie", from: "ssmith", ago: 2, at: "14:14", subject: "Canterbury trip: second driver confirmed", flags: starred, text: "Dear Mr Martin,\n\nThe coach company has confirmed the second driver for the night departure. I still need your signature on the insurance form.\n\nBest wishes,\n{from}"},
		{from: "~11", ago: 0, at: "07:42", subject: "Incident à la cantine ce midi : point à faire", text: "Bonjour,\n\nRien de grave, mais deux familles ont appelé. Je vous propose d’en parler avant 10 h.\n\n{from}\nConseillère principale d’éducation"},
		{from: "xpartenaire", ago: 2, at: "10:40", subject: "Convention de partenariat : version finale", flags: starred, files: []attachment{docx("convention-2026.docx", "Convention de partenariat", "Entre l’académie et l’association", "Article 1. Objet", "Article 2. Interventions en classe"), pdf("annexe-financiere.pdf", "Annexe financière", "Six interventions, prises en charge par le partenaire")}, text: "Monsieur le Principal,\n\nVoici la version finale, avec vos remarques. Signature prévue {J+3} à 11 h au rectorat.\n\nCordialement,\n{from}"},
		{from: "Parent délégué <parents@federation-parents.test>", ago: 4, at: "21:33", subject: "Sécurité devant le collège", flags: answered, text: "Monsieur le Principal,\n\nLes voitures stationnent sur le passage piéton à 8 h. Pourrions-nous en parler avec la mairie ?\n\nLes parents délégués"},
		{from: "Mairie – Vie scolaire <scolaire@mairie.test>", ago: 5, at: "15:21", subject: "Rendez-vous confirmé", flags: read, text: "Monsieur,\n\nMadame l’adjointe vous recevra demain à 16 h. Le stationnement devant le collège sera à l’ordre du jour.\n\nService de la vie scolaire"},
		{from: "~12", ago: 6, at: "12:40", subject: "Emploi du temps : échange de salles", flags: read, text: "Bonjour,\n\nAccord des deux collègues pour échanger les salles 104 et 207 le jeudi.\n\n{from}"},
		{from: "Lycée Marie-Curie <ce.0590003c@academie.test>", ago: 3, at: "18:05", subject: "Mini-stages au lycée : onze de vos élèves", flags: read, text: "Bonjour Monsieur le Principal,\n\nOnze élèves de troisième viennent en mini-stage {J+6}. Nous les attendons à 9 h dans le hall, salle 210 ensuite.\n\nLe secrétariat\nLycée Marie-Curie"},
		{from: "Commission de sécurité <sdis@prevention.test>", ago: 9, at: "08:30", subject: "Visite périodique : {J+3} à 9 h", flags: read, files: []attachment{pdf("avis-de-visite.pdf", "Avis de visite", "Registre de sécurité à présenter", "Plans d’évacuation à jour")}, text: "Monsieur le chef d’établissement,\n\nLa commission se présentera {J+3} à 9 h. Merci de tenir le registre à disposition."},
		{folder: "Établissement", from: "~13", ago: 12, at: "17:17", subject: "Bilan de la vie scolaire : {lastmonth}", flags: read, files: []attachment{picture("retards.png", "", chartFile(30, 42, 25, 18, 22))}, text: "Bonjour,\n\nLes retards baissent. Le graphique est joint.\n\n{from}"},
	}
}

func teacherLetters() []letter {
	return []letter{
		{key: "conseil", from: "~14", to: "me, ~10, ~11", ago: 1, at: "17:20", subject: "Conseil de classe de la 4e 3 : appréciations", flags: starred, text: "Chers collègues,\n\nMerci de saisir les appréciations avant {J+3} au soir. Il en manque encore neuf.\n\n{from}\nprofesseur principal de la 4e 3"},
		{key: "notes", from: "~10", ago: 2, at: "20:11", subject: "Barème du devoir commun", flags: answered, files: []attachment{csv("bareme.csv", "exercice;points", "1;4", "2;6", "3;5", "4;5"), pdf("sujet.pdf", "Devoir commun de mathématiques, quatrième", "Exercice 1 : calcul littéral", "Exercice 2 : théorème de Pythagore", "Exercice 3 : probabilités")}, text: "Salut {first},\n\nVoici le sujet et un barème. L’exercice 4 est peut-être un peu long ?\n\n{from.first}"},
		{answers: "notes", folder: "Sent", from: "me", to: "~10", ago: 2, at: "21:02", subject: "Re: Barème du devoir commun", flags: read, text: "Parfait. On peut enlever la question 4c et donner un point de plus à Pythagore.\n\n{first}\n\n> L’exercice 4 est peut-être un peu long ?"},
		{from: "~11", to: "me, ~10", ago: 0, at: "07:30", subject: "Échange d’heure jeudi ?", text: "Bonjour,\n\nPourrais-tu prendre la 4e 3 à 10 h 30 jeudi ? Je te rends l’heure vendredi.\n\n{from.first}"},
		{key: "tel-2", answers: "tel", from: "@assistance", ago: 0, at: "08:31", subject: "Re: Téléphone perdu, plus de code", text: "Bonjour {first},\n\nMerci de nous appeler depuis la salle des professeurs au 03 53 01 20 59 : nous vérifions votre identité et vous enregistrez un nouveau téléphone.\n\nMarie Dupont\nAssistance informatique\n\n> J’ai perdu mon téléphone ce week-end et je ne peux plus me connecter."},
		{key: "tel", folder: "Sent", from: "me", to: "@assistance", ago: 0, at: "08:05", subject: "Téléphone perdu, plus de code", flags: read, text: "Bonjour,\n\nJ’ai perdu mon téléphone ce week-end et je ne peux plus me connecter. J’ai cours à 10 h 30. Pouvez-vous m’aider ?\n\n{name}"},
		{from: "Olympiades <contact@olympiades-maths.test>", ago: 3, at: "10:00", subject: "Vos inscriptions sont enregistrées", flags: read, text: "Bonjour,\n\nOnze élèves inscrits. Épreuve le deuxième mercredi de mars, de 8 h à 12 h.\n\nLe comité"},
		{key: "visite", from: "ssmith", ago: 4, at: "12:50", subject: "3ᵉ B and your maths lab", flags: answered, text: "Hi {first},\n\nMy 3ᵉ B would love to measure the belfry in English with your pupils. Could they come to the maths lab one Thursday?\n\nThanks a lot,\n{from.first}"},
		{from: "Parent d’élève <famille.noe@boite.test>", ago: 5, at: "19:44", subject: "Noé (4e 3) : absence et devoirs", flags: answered, text: "Bonjour Monsieur,\n\nNoé est souffrant. Pourriez-vous nous dire ce qu’il y a à rattraper ?\n\nCordialement"},
		{from: "~12", to: "me, ~10, ~11, ~13", ago: 6, at: "11:11", subject: "Projet Python en quatrième", flags: read, files: []attachment{{name: "tortue.py", media: "text/x-python; charset=utf-8", data: []byte("from turtle import *\n\nfor _ in range(36):\n    forward(100)\n    left(170)\n")}, picture("tortue.png", "", chartFile(10, 30, 60, 90, 60, 30, 10))}, text: "Bonjour à tous,\n\nUne étoile en six lignes, pour commencer. Qui veut essayer en classe ?\n\n{from}"},
		{from: "@drh", ago: 7, at: "09:09", subject: "Heures supplémentaires effectives : {lastmonth}", flags: read, text: "Bonjour,\n\n6 heures validées, mises en paiement en {nextmonth}."},
		{from: "Éditions du Beffroi <specimens@editions-beffroi.test>", ago: 8, at: "06:45", subject: "Votre spécimen numérique de quatrième", html: "<html><body><p>Bonjour,</p><p><img src=\"https://images.editions-beffroi.test/4e.png\" width=\"180\" alt=\"Couverture\"></p><p>Le manuel de quatrième est à feuilleter <a href=\"https://www.editions-beffroi.test/4e\">en ligne</a>.</p></body></html>", flags: read},
		{from: "~13", ago: 9, at: "13:05", subject: "Club d’échecs : il manque deux cavaliers", flags: read, text: "Quelqu’un les a-t-il vus ? L’un est noir, l’autre rêve d’être une dame.\n\n{from.first}"},
	}
}

func securityLetters() []letter {
	return []letter{
		{key: "hameconnage", from: "@assistance", ago: 0, at: "08:44", subject: "Hameçonnage en cours : 14 signalements", flags: urgent, files: []attachment{eml("signalement.eml", "Votre boîte est pleine à 98 %", "Validez votre compte sur http://messagerie-academie.securite-compte.test/")}, text: "Bonjour {first},\n\n14 signalements depuis 7 h. Le domaine est securite-compte.test. Un exemplaire est joint.\n\nMarie Dupont"},
		{answers: "hameconnage", folder: "Sent", from: "me", to: "mdupont", ago: 0, at: "08:52", subject: "Re: Hameçonnage en cours : 14 signalements", flags: read, text: "Merci. Domaine bloqué sur les passerelles, retrait demandé à l’hébergeur. Je prépare un message pour tous.\n\n{first}\n\n> 14 signalements depuis 7 h."},
		{key: "audit", from: "~10", ago: 2, at: "16:00", subject: "Audit interne : rapport provisoire", flags: starred, files: []attachment{pdf("rapport-provisoire.pdf", "Rapport provisoire d’audit", "Points forts : second facteur généralisé, journal inviolable", "À améliorer : comptes de service, délais de révocation")}, text: "Bonjour,\n\nLe rapport provisoire est joint. Vos remarques sont attendues pour {J+5}.\n\n{from}"},
		{from: "Journal d’audit <audit@journal.academie.test>", ago: 0, at: "06:00", subject: "Synthèse quotidienne : 3 points à voir", files: []attachment{csv("synthese.csv", "heure;action;issue;nombre", "02:14;connexion;refusée;41", "03:26;second facteur;refusé;3", "05:01;application inconnue;refusée;1")}, text: "41 connexions refusées depuis une même adresse (ralentie, aucun compte verrouillé).\n3 codes déjà utilisés, refusés.\n1 adresse de retour inconnue, refusée.", headers: []string{"Auto-Submitted: auto-generated"}},
		{from: "Journal d’audit <audit@journal.academie.test>", ago: 1, at: "06:00", subject: "Synthèse quotidienne : rien à signaler", flags: read, text: "12 418 connexions, 0 anomalie.", headers: []string{"Auto-Submitted: auto-generated"}},
		{from: "Autorité de certification <certificats@certification.test>", ago: 3, at: "04:00", subject: "Certificat portail.academie.test : expire dans 21 jours", flags: starred, text: "Le certificat expire dans 21 jours. Le renouvellement automatique est prévu {J+3}."},
		{from: "mdupont", ago: 4, at: "15:33", subject: "Procédure : perte de téléphone", flags: answered, files: []attachment{docx("procedure-perte.docx", "Perte de téléphone", "1. Vérifier l’identité par rappel", "2. Réinitialiser le second facteur", "3. Tracer le motif")}, text: "Bonjour {first},\n\nJ’ai réécrit la procédure en une page. Ça te va ?\n\n{from.first}"},
		{from: "jmartin", ago: 5, at: "09:15", subject: "Accès d’un stagiaire", flags: read, text: "Bonjour,\n\nUn stagiaire arrive pour trois semaines. Quels droits minimaux proposez-vous ?\n\n{from}"},
		{from: "CERT sectoriel <alerte@cert-education.test>", ago: 2, at: "18:40", subject: "[CERT] Bulletin 2026-47 : deux vulnérabilités critiques", flags: starred, text: "Deux vulnérabilités critiques dans des passerelles de messagerie. Correctifs disponibles.\nGravité : 9,1 et 9,8. Exploitation constatée.\n\nhttps://www.cert-education.test/2026-47"},
		{from: "~11", ago: 6, at: "10:20", subject: "Revue des habilitations : liste", flags: read, files: []attachment{csv("habilitations.csv", "groupe;membres;dernière revue", "helpdesk;12;2026-05", "securite;4;2026-05", "chefs-etablissement;118;2026-09")}, text: "Bonjour,\n\nLa liste des groupes à revoir est jointe.\n\n{from}"},
		{from: "~12", ago: 8, at: "14:44", subject: "Exercice de crise : scénario", flags: read, text: "Bonjour,\n\nScénario retenu : le portail est injoignable un jour de résultats. Gardez-le pour vous.\n\n{from}"},
		{from: "xpartenaire", ago: 9, at: "11:50", subject: "Questionnaire de sécurité complété", flags: read, files: []attachment{pdf("questionnaire.pdf", "Questionnaire de sécurité", "Hébergement : Union européenne", "Second facteur : oui")}, text: "Bonjour,\n\nLe questionnaire complété est joint.\n\n{from}"},
	}
}

func partnerLetters() []letter {
	return []letter{
		{key: "convention", from: "jmartin", ago: 2, at: "11:30", subject: "Re: Convention de partenariat : version finale", flags: answered, text: "Bonjour,\n\nVersion reçue, elle me convient. À {J+3}, 11 h.\n\n{from}\n\n> Voici la version finale, avec vos remarques."},
		{folder: "Sent", from: "me", to: "jmartin", ago: 2, at: "10:40", subject: "Convention de partenariat : version finale", flags: read, files: []attachment{docx("convention-2026.docx", "Convention de partenariat", "Article 1. Objet")}, text: "Monsieur le Principal,\n\nVoici la version finale, avec vos remarques. Signature prévue {J+3} à 11 h au rectorat.\n\nCordialement,\n{name}"},
		{from: "mdupont", ago: 5, at: "09:17", subject: "Re: Accès partenaire : expiration le mois prochain", flags: starred, text: "Bonjour,\n\nPas de nouvelle demande : la prolongation jusqu’en juin est faite. Rien à changer de votre côté.\n\n{from}\nAssistance informatique\n\n> Mon accès expire à la fin du mois prochain."},
		{folder: "Sent", from: "me", to: "@assistance", ago: 6, at: "11:27", subject: "Accès partenaire : expiration le mois prochain", flags: read, text: "Bonjour,\n\nMon accès expire à la fin du mois prochain, alors que la convention court jusqu’en juin. Faut-il une nouvelle demande ?\n\n{name}"},
		{from: "~10", ago: 1, at: "13:13", subject: "Intervention en 4ᵉ : matériel", text: "Bonjour,\n\nLa salle polyvalente a un vidéoprojecteur mais pas d’enceintes. Pouvez-vous apporter les vôtres ?\n\n{from}"},
		{from: "~11", ago: 3, at: "16:06", subject: "Autorisations de prise de vue", flags: read, files: []attachment{pdf("autorisation.pdf", "Autorisation de prise de vue", "À faire signer par les représentants légaux")}, text: "Bonjour,\n\nLe formulaire est joint. Trois familles ont refusé, je vous donne les noms sur place.\n\n{from}"},
		{from: "Comptabilité <comptabilite@association-partenaire.test>", ago: 4, at: "10:01", subject: "Frais de déplacement : justificatifs", flags: read, files: []attachment{csv("frais.csv", "date;trajet;montant", "12/11;gare – collège;8,40", "19/11;gare – lycée;11,20")}, text: "Bonjour,\n\nIl manque le justificatif du 19.\n\nLa comptabilité"},
		{from: "~12", ago: 6, at: "15:45", subject: "Merci des 4ᵉ A !", flags: starred, files: []attachment{picture("merci.png", "", chartFile(90, 60, 90, 60, 90))}, text: "Bonjour,\n\nLes élèves ont adoré. Ils ont dessiné ceci pour vous.\n\n{from}"},
		{from: "@communication", ago: 7, at: "09:40", subject: "Portrait de partenaire : relecture", flags: answered, text: "Bonjour,\n\nVoici le texte du portrait. Votre accord avant {J+2} ?\n\n« Depuis trois ans, l’association intervient dans quarante classes… »"},
		{from: "aadmin", ago: 9, at: "10:10", subject: "Questionnaire de sécurité : merci", flags: read, text: "Bonjour,\n\nQuestionnaire reçu et conforme. Prochaine revue dans un an.\n\n{from}\nSécurité des systèmes d’information"},
	}
}
