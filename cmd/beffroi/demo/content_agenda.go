package demo

import (
	"slices"
	"strings"
	"time"
)

// sampleCollection is a calendar or an address book to start with.
type sampleCollection struct {
	name        string // in its address
	displayName string
	description string
	color       string
	order       string
	isBook      bool
	objects     []sampleObject
}

type sampleObject struct{ name, data string }

// sampleAgenda is a person's own calendar: a working life around the present
// week. Persons outside the six get its routine only.
func sampleAgenda(person Account, everyone *directoryOfNames, start time.Time) []sampleCollection {
	w := newICS(start)
	own := sampleCollection{name: "personnel", displayName: "Personnel", color: "#2f6f9fff", order: "1", description: "Agenda de " + person.Name}
	occasions, tasks := routine(person, everyone), []task(nil)
	if person.Lang == "en" {
		own.displayName, own.description = "Personal", person.Name+"’s calendar"
		occasions = routineInEnglish(person, everyone)
	}
	if slices.Contains(sampleLogins, person.Login) {
		occasions = append(occasions, roleOccasions(person, everyone)...)
		tasks = roleTasks(person)
	} else {
		occasions = occasions[:4]
	}
	for _, o := range occasions {
		name := o.uid
		o.uid += "." + person.Login + "@agenda." + MailDomain
		own.objects = append(own.objects, sampleObject{name + ".ics", w.object(o, "")})
	}
	for _, t := range tasks {
		name := t.uid
		t.uid += "." + person.Login + "@agenda." + MailDomain
		own.objects = append(own.objects, sampleObject{name + ".ics", w.todo(t)})
	}
	return []sampleCollection{own}
}

func guestOf(a Account, state string) guest {
	return guest{correspondent: correspondent{a.Name, a.Mail}, state: state}
}

func routine(me Account, everyone *directoryOfNames) []occasion {
	c := func(n int) Account { return everyone.colleague(me, n) }
	return []occasion{
		{uid: "reunion-equipe", summary: "Réunion d’équipe", place: "Salle Vauban", day: -70, from: "09:00", to: "10:00", rule: "FREQ=WEEKLY;BYDAY=MO",
			notes: "Tour de table, points en cours, planning de la semaine.\nLe compte rendu est dans le dossier partagé.", category: "Réunion", alarm: "-PT15M",
			skipped: []int{-21}, moved: []moved{{day: 7, to: 8, from: "14:00", at: "15:00", summary: "Réunion d’équipe (déplacée au mardi)"}},
			guests: []guest{guestOf(me, "ACCEPTED"), guestOf(c(1), "ACCEPTED"), guestOf(c(2), "TENTATIVE"), guestOf(c(3), "NEEDS-ACTION")}},
		{uid: "point-numerique", summary: "Point numérique", place: "Visioconférence", url: "https://visio.academie.test/point-numerique", day: -67, from: "11:00", to: "11:45",
			rule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=TH", category: "Réunion", notes: "Tous les quinze jours, ordre du jour envoyé la veille."},
		{uid: "comite-pilotage", summary: "Comité de pilotage", place: "Rectorat, salle du conseil", day: -62, from: "14:00", to: "16:30", rule: "FREQ=MONTHLY;BYDAY=1TU", category: "Réunion",
			notes: "Premier mardi du mois.\nDocuments la semaine précédente."},
		{uid: "pause-marche", summary: "Marche du midi", place: "Citadelle", day: -56, from: "12:30", to: "13:15", rule: "FREQ=WEEKLY;BYDAY=TU,FR", free: true, class: "PRIVATE", category: "Personnel"},
		{uid: "teletravail", summary: "Télétravail", day: -38, rule: "FREQ=WEEKLY;BYDAY=FR;COUNT=30", free: true, skipped: []int{11}},
		{uid: "formation-accessibilite", summary: "Formation : documents accessibles à tous", place: "Campus, bâtiment C, salle 204", day: 1, from: "09:30", to: "12:30", category: "Formation",
			notes: "Apporter un ordinateur portable.\nInscription n° FC-2026-1187, émargement à 9 h 15.", guests: []guest{{correspondent{"École académique de la formation continue", "formation@academie.test"}, "ACCEPTED", "CHAIR"}, guestOf(me, "ACCEPTED")}},
		{uid: "atelier", summary: "Atelier « classer ses courriels »", place: "Salle informatique 2", day: 2, from: "10:00", to: "12:00", category: "Formation"},
		{uid: "rendez-vous-medecine", summary: "Visite médicale", place: "Médecine de prévention, 2ᵉ étage", day: 2, from: "11:00", to: "11:30", class: "PRIVATE", category: "Personnel", alarm: "-PT1H"},
		{uid: "preparation-ca", summary: "Préparation du conseil d’administration", place: "Bureau 112", day: 3, from: "15:00", to: "16:30", category: "Réunion",
			notes:  "1. Budget initial\n2. Voyages et sorties\n3. Règlement intérieur\n4. Questions diverses",
			guests: []guest{guestOf(me, "ACCEPTED"), guestOf(c(4), "ACCEPTED"), guestOf(c(5), "DECLINED"), guestOf(c(6), "NEEDS-ACTION"), {correspondent{"Division des examens et concours", "examens@academie.test"}, "TENTATIVE", "OPT-PARTICIPANT"}}},
		{uid: "dejeuner", summary: "Déjeuner avec " + c(2).Name, place: "Restaurant administratif", day: 3, from: "12:15", to: "13:30", status: "TENTATIVE", free: true},
		{uid: "seminaire", summary: "Séminaire des personnels", place: "Centre de congrès", day: 8, days: 3, notes: "Mercredi à vendredi. Navette à 8 h 15 devant la gare.", category: "Séminaire"},
		{uid: "visite-annulee", summary: "Visite de la plateforme logistique", place: "Zone d’activités Nord", day: 4, from: "14:00", to: "17:00", status: "CANCELLED", notes: "Annulée par l’organisateur : travaux sur le site."},
		{uid: "anniversaire", summary: "Anniversaire de " + c(1).Name, day: -362, rule: "FREQ=YEARLY", free: true, category: "Personnel"},
		{uid: "entretien", summary: "Entretien professionnel annuel", place: "Bureau 208", day: -4, from: "10:30", to: "11:30", class: "CONFIDENTIAL"},
		{uid: "bilan", summary: "Bilan du trimestre", place: "Salle Vauban", day: 15, from: "09:00", to: "12:00", category: "Réunion"},
		{uid: "conges", summary: "Congés", day: 28, days: 9, free: true, category: "Congés"},
	}
}

func routineInEnglish(me Account, everyone *directoryOfNames) []occasion {
	c := func(n int) Account { return everyone.colleague(me, n) }
	return []occasion{
		{uid: "department", summary: "Languages department meeting", place: "Staff room, 1st floor", day: -70, from: "12:45", to: "13:30", rule: "FREQ=WEEKLY;BYDAY=MO", category: "Meeting", alarm: "-PT10M",
			notes: "Round the table, then the shared test.", skipped: []int{-21}, moved: []moved{{day: 7, to: 8, from: "12:45", at: "13:30", summary: "Languages department meeting (moved to Tuesday)"}},
			guests: []guest{guestOf(c(1), "ACCEPTED"), guestOf(me, "ACCEPTED"), guestOf(c(2), "TENTATIVE"), guestOf(c(3), "NEEDS-ACTION")}},
		{uid: "etwinning-call", summary: "eTwinning call with Westgate Academy", place: "Video call", url: "https://visio.academie.test/etwinning", day: -67, from: "16:15", to: "17:00",
			rule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=TH", category: "Project", notes: "Every other Thursday. Agenda in the shared notebook."},
		{uid: "club", summary: "Drama club", place: "Theatre room", day: -62, from: "17:00", to: "18:30", rule: "FREQ=WEEKLY;BYDAY=TU"},
		{uid: "swimming", summary: "Swimming", place: "Piscine Grange", day: -56, from: "19:00", to: "20:00", rule: "FREQ=WEEKLY;BYDAY=WE", class: "PRIVATE", category: "Personal"},
		{uid: "library", summary: "Monthly reading group", place: "Town library", day: -60, from: "18:00", to: "19:30", rule: "FREQ=MONTHLY;BYDAY=1TH", free: true},
		{uid: "lesson-observation", summary: "Lesson observation – trainee teacher", place: "Room 14", day: 1, from: "09:30", to: "10:25", notes: "Feedback straight after, in the staff room."},
		{uid: "parents", summary: "Parents of Lina (3ᵉ B)", place: "Room 14", day: 2, from: "17:00", to: "17:30", class: "CONFIDENTIAL"},
		{uid: "report-cards", summary: "Report cards – deadline", day: 3, free: true, notes: "All comments in before midnight."},
		{uid: "phone-call", summary: "Call with the coach company", day: 2, from: "17:15", to: "17:45", notes: "Departure time, seat belts, second driver.", category: "Canterbury"},
		{uid: "assistant", summary: "Meet the new language assistant", place: "Reception", day: 3, from: "08:30", to: "09:00"},
		{uid: "trip", summary: "Canterbury trip", place: "Canterbury, Kent", day: 9, days: 3, notes: "48 pupils, 4 adults. Passport copies in the blue folder.", category: "Canterbury"},
		{uid: "night-departure", summary: "Coach to Calais – night departure", place: "School gate", day: 8, from: "23:30", to: "03:45", category: "Canterbury"},
		{uid: "dentist", summary: "Dentist", day: 4, from: "11:00", to: "11:45", class: "PRIVATE", category: "Personal"},
		{uid: "webinar", summary: "Webinar: assessing speaking (cancelled)", day: 4, from: "14:00", to: "15:30", status: "CANCELLED"},
		{uid: "mum", summary: "Mum’s birthday", day: -361, rule: "FREQ=YEARLY", free: true, category: "Personal"},
		{uid: "holiday", summary: "Flight home", place: "Lille-Lesquin", day: 26, from: "07:10", to: "09:40", status: "TENTATIVE"},
	}
}

// roleOccasions are what only that person has.
func roleOccasions(me Account, everyone *directoryOfNames) []occasion {
	p := everyone.person
	switch me.Login {
	case "mdupont":
		return []occasion{
			{uid: "permanence", summary: "Permanence assistance", place: "Plateau d’assistance", day: -67, from: "13:30", to: "17:00", rule: "FREQ=WEEKLY;BYDAY=TH", category: "Assistance"},
			{uid: "livraison-portables", summary: "Livraison des 40 portables", place: "Quai de déchargement", day: 2, from: "08:30", to: "09:30", alarm: "-PT30M"},
			{uid: "accueil-agent", summary: "Accueil d’un nouvel agent", place: "Bureau 014", day: 1, from: "14:00", to: "15:00", guests: []guest{guestOf(me, "ACCEPTED"), guestOf(everyone.colleague(me, 9), "ACCEPTED")}},
		}
	case "jmartin":
		return []occasion{
			{uid: "conseil-direction", summary: "Conseil de direction", place: "Bureau du principal", day: -67, from: "08:30", to: "10:00", rule: "FREQ=WEEKLY;BYDAY=TH", category: "Direction"},
			{uid: "conseil-administration", summary: "Conseil d’administration", place: "Salle polyvalente", day: 8, from: "18:00", to: "20:30", category: "Direction", notes: "Quorum à vérifier. Budget, voyages, règlement intérieur."},
			{uid: "visite-securite", summary: "Commission de sécurité", place: "Tout l’établissement", day: 3, from: "09:00", to: "12:00", category: "Direction"},
			{uid: "mairie", summary: "Rendez-vous à la mairie", place: "Hôtel de ville", day: 1, from: "16:00", to: "17:00"},
		}
	case "plefebvre":
		return []occasion{
			{uid: "cours-4e3", summary: "4e 3 – mathématiques", place: "Salle 207", day: -70, from: "08:25", to: "09:20", rule: "FREQ=WEEKLY;BYDAY=MO,TU,TH", category: "Cours", skipped: []int{-49, -48, -46}},
			{uid: "cours-3e5", summary: "3e 5 – mathématiques", place: "Salle 207", day: -70, from: "10:30", to: "11:25", rule: "FREQ=WEEKLY;BYDAY=MO,WE,FR", category: "Cours"},
			{uid: "club-echecs", summary: "Club d’échecs", place: "CDI", day: -66, from: "12:30", to: "13:20", rule: "FREQ=WEEKLY;BYDAY=FR"},
			{uid: "olympiades", summary: "Entraînement aux olympiades", place: "Salle 210", day: 2, from: "14:00", to: "16:00"},
		}
	case "aadmin":
		return []occasion{
			{uid: "veille", summary: "Veille et alertes", day: -70, from: "08:30", to: "09:00", rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", class: "CONFIDENTIAL", category: "Sécurité"},
			{uid: "bascule", summary: "Renouvellement des certificats", place: "Salle serveurs", day: 3, from: "18:30", to: "20:30", category: "Sécurité", notes: "Ouvrir le ticket de changement avant 18 h. Retour arrière : anciens certificats dans le coffre."},
			{uid: "audit", summary: "Audit interne – restitution", place: "Salle Vauban", day: 1, from: "10:30", to: "12:00", guests: []guest{guestOf(me, "ACCEPTED"), guestOf(p("mdupont"), "ACCEPTED"), guestOf(p("jmartin"), "NEEDS-ACTION")}},
			{uid: "exercice-crise", summary: "Exercice de crise cyber", place: "Salle de crise", day: 10, from: "09:00", to: "17:00", category: "Sécurité"},
		}
	case "xpartenaire":
		return []occasion{
			{uid: "intervention-1", summary: "Intervention en classe de 4ᵉ", place: "Collège, salle polyvalente", day: 1, from: "13:30", to: "15:20", category: "Intervention"},
			{uid: "convention", summary: "Signature de la convention", place: "Rectorat, salle du conseil", day: 3, from: "11:00", to: "12:00", guests: []guest{guestOf(p("jmartin"), "ACCEPTED"), guestOf(me, "ACCEPTED")}},
			{uid: "comite-suivi", summary: "Comité de suivi du partenariat", place: "Visioconférence", day: -63, from: "10:00", to: "11:00", rule: "FREQ=MONTHLY;BYDAY=-1MO"},
		}
	case "ssmith":
		return []occasion{
			{uid: "class-3b", summary: "3ᵉ B – English", place: "Room 14", day: -70, from: "09:25", to: "10:20", rule: "FREQ=WEEKLY;BYDAY=MO,TU,TH", category: "Class"},
			{uid: "class-6c", summary: "6ᵉ C – English", place: "Room 14", day: -70, from: "14:00", to: "14:55", rule: "FREQ=WEEKLY;BYDAY=MO,TU,FR", category: "Class"},
		}
	}
	return nil
}

func roleTasks(me Account) []task {
	if me.Lang == "en" {
		return []task{
			{uid: "task-passports", summary: "Collect the last passport copies", due: 4, priority: 1, percent: 60},
			{uid: "task-test", summary: "Mark the 6ᵉ C vocabulary test", due: 2},
			{uid: "task-poster", summary: "Drama club poster", due: -3, done: true},
		}
	}
	return []task{
		{uid: "tache-compte-rendu", summary: "Envoyer le compte rendu de la réunion d’équipe", due: 1, priority: 1, percent: 40},
		{uid: "tache-formation", summary: "Choisir les formations du second semestre", notes: "Serveur ouvert jusqu’à vendredi.", due: 4, priority: 5},
		{uid: "tache-inventaire", summary: "Mettre à jour l’inventaire", due: 10},
		{uid: "tache-badge", summary: "Renouveler le badge de parking", due: -3, done: true},
	}
}

// schoolAgenda is the calendar that everyone of a school reads and nobody writes.
func schoolAgenda(person Account, _ *directoryOfNames, start time.Time) sampleCollection {
	w := newICS(start)
	school := person.School
	if school == "" {
		school = "Rectorat"
	}
	c := sampleCollection{name: "etablissement", displayName: "Établissement", color: "#b3541eff", order: "2", description: school}
	local := start.In(parisZone())
	christmas := daysFrom(w.monday, time.Date(local.Year(), 12, 19, 0, 0, 0, 0, local.Location()))
	occasions := schoolLife(christmas)
	if !strings.HasPrefix(school, "Collège") && !strings.HasPrefix(school, "Lycée") && !strings.HasPrefix(school, "École") {
		occasions = officeLife(christmas)
	}
	for _, o := range occasions {
		if strings.HasPrefix(school, "Lycée") {
			o.summary, o.notes = lyceeWords.Replace(o.summary), lyceeWords.Replace(o.notes)
			for i := range o.moved {
				o.moved[i].summary = lyceeWords.Replace(o.moved[i].summary)
			}
		}
		name := o.uid
		o.uid += "." + strings.ToLower(person.UAI) + "@agenda." + MailDomain
		c.objects = append(c.objects, sampleObject{name + ".ics", w.object(o, "")})
	}
	return c
}

// lyceeWords say in a lycée what schoolLife says of a collège.
var lyceeWords = strings.NewReplacer("6ᵉ lundi, 5ᵉ mardi, 4ᵉ mercredi, 3ᵉ jeudi", "secondes lundi et mardi, premières mercredi, terminales jeudi", "des 4ᵉ", "des premières",
	"Brevet blanc", "Bac blanc", "vie collégienne", "vie lycéenne", "familles de CM2 et des écoles", "familles de troisième et des collèges", "sécurité routière", "premiers secours")

func schoolLife(christmas int) []occasion {
	return []occasion{
		{uid: "conseil-pedagogique", summary: "Conseil pédagogique", place: "Salle des professeurs", day: -69, from: "12:30", to: "13:30", rule: "FREQ=WEEKLY;BYDAY=TU", skipped: []int{-20}},
		{uid: "conseils-classe", summary: "Conseils de classe du premier trimestre", place: "Salle 101", day: 7, from: "17:00", to: "19:30", rule: "FREQ=DAILY;COUNT=4", notes: "6ᵉ lundi, 5ᵉ mardi, 4ᵉ mercredi, 3ᵉ jeudi.",
			moved: []moved{{day: 9, to: 11, from: "17:30", at: "20:00", summary: "Conseils de classe des 4ᵉ (reportés au vendredi)"}}},
		{uid: "parents-professeurs", summary: "Rencontre parents-professeurs", place: "Hall et salles du rez-de-chaussée", day: 3, from: "17:00", to: "20:00"},
		{uid: "brevet-blanc", summary: "Brevet blanc", place: "Gymnase", day: 9, days: 2},
		{uid: "portes-ouvertes", summary: "Journée portes ouvertes", day: 19, from: "09:00", to: "12:30", notes: "Accueil des familles de CM2 et des écoles du secteur."},
		{uid: "evacuation", summary: "Exercice d’évacuation", day: 2, from: "10:10", to: "10:30", status: "CANCELLED", notes: "Reporté : intempéries annoncées."},
		{uid: "photo", summary: "Photos de classe", place: "Cour d’honneur", day: 1, from: "08:30", to: "12:00"},
		{uid: "vie-collegienne", summary: "Conseil de la vie collégienne", place: "Salle du foyer", day: -60, from: "13:00", to: "14:00", rule: "FREQ=MONTHLY;BYDAY=2TH"},
		{uid: "securite-routiere", summary: "Attestation de sécurité routière", place: "Salle informatique", day: 4, from: "13:30", to: "16:30"},
		{uid: "reunion-syndicale", summary: "Heure d’information", place: "Salle des professeurs", day: 4, from: "12:00", to: "13:00", free: true},
		{uid: "pont", summary: "Établissement fermé", day: 11, free: true},
		{uid: "noel", summary: "Vacances de Noël", day: christmas, days: 16, free: true},
		{uid: "semaine-a", summary: "Semaine A", day: -70, days: 5, rule: "FREQ=WEEKLY;INTERVAL=2", free: true},
		{uid: "semaine-b", summary: "Semaine B", day: -63, days: 5, rule: "FREQ=WEEKLY;INTERVAL=2", free: true},
	}
}

// officeLife is the shared calendar of places that are no school.
func officeLife(christmas int) []occasion {
	return []occasion{
		{uid: "chefs-de-service", summary: "Réunion des chefs de service", place: "Salle du conseil", day: -70, from: "08:30", to: "09:30", rule: "FREQ=WEEKLY;BYDAY=MO", skipped: []int{-21},
			moved: []moved{{day: 7, to: 8, from: "08:30", at: "09:30", summary: "Réunion des chefs de service (déplacée au mardi)"}}},
		{uid: "comite-social", summary: "Comité social d’administration", place: "Salle du conseil", day: 3, from: "14:00", to: "17:30"},
		{uid: "visite-securite", summary: "Exercice d’évacuation", day: 2, from: "10:10", to: "10:30", status: "CANCELLED", notes: "Reporté : intempéries annoncées."},
		{uid: "don-du-sang", summary: "Don du sang", place: "Hall d’accueil", day: 1, from: "09:00", to: "16:00", free: true},
		{uid: "petit-dejeuner", summary: "Petit déjeuner des nouveaux arrivants", place: "Restaurant administratif", day: 4, from: "08:30", to: "09:30"},
		{uid: "commission-technique", summary: "Commission technique", place: "Visioconférence", day: -60, from: "10:00", to: "12:00", rule: "FREQ=MONTHLY;BYDAY=2TH"},
		{uid: "inventaire", summary: "Inventaire physique", day: 9, days: 2},
		{uid: "forum-metiers", summary: "Forum des métiers de l’académie", place: "Centre de congrès", day: 17, from: "09:00", to: "17:00"},
		{uid: "marche-midi", summary: "Chorale du midi", place: "Salle polyvalente", day: -67, from: "12:30", to: "13:15", rule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=TH", free: true},
		{uid: "pont", summary: "Services fermés", day: 11, free: true},
		{uid: "noel", summary: "Fermeture de fin d’année", day: christmas, days: 16, free: true},
	}
}

func daysFrom(a, b time.Time) int {
	return int(b.Sub(a).Hours()+12) / 24
}
