package demo

import "strings"

// The names that the generated people are made of: as they are met in the Nord
// and the Pas-de-Calais, with accents, hyphens, apostrophes and particles.
var sampleGivenNames = strings.Split(`Marie,Jean,Nathalie,Philippe,Isabelle,Michel,Sophie,Alain,Zoé,Chloé,François,Hélène,Noël,Inès,Éric,Amélie,Jean-Baptiste,Anne-Sophie,`+
	`Marie-Thérèse,Jean-Christophe,Léa,Hugo,Mélanie,Jérôme,Cécile,Stéphane,Frédéric,Valérie,Karim,Fatima,Mohamed,Yasmina,Aurélie,Sébastien,Élodie,Mickaël,`+
	`Gaëlle,Loïc,Maëlys,Théo,Agnès,Benoît,Clémence,Raphaël,Joëlle,Régis,Solène,Xavier,Brigitte,Thierry,Sandrine,Laurent,Dorothée,Guillaume,Audrey,Nicolas,`+
	`Ludivine,Grégory,Émilie,Vincent,Bérénice,Kévin,Océane,Rémi,Séverine,Olivier,Catherine,Pascal,Véronique,Christophe,Delphine,Antoine,Justine,Maxime,`+
	`Louise,Arthur,Jade,Gabriel,Amina,Bilal,Nadia,Samir,Anaïs,Cédric,Angélique,Maïté,Françoise,Hervé,Josiane,Didier,Mathilde,Corentin,Pauline,Tanguy`, ",")

var sampleFamilyNames = strings.Split(`Martin,Lefèvre,Leroy,Deschamps,Vandenberghe,Delattre,Wattrelos,Carpentier,Lemaître,Hénin,Dubois,Caron,Lesage,Vanhoutte,Delannoy,Duquesne,`+
	`Delecroix,Dehaene,Vandamme,Verhaeghe,Desmet,Debruyne,Lecocq,Flament,Poulain,Bécourt,Legrand,Thérouanne,Masson,Dhaene,D’Hondt,De Backer,Van der Meersch,`+
	`Lheureux,Lenglet,Platel,Courtois,Mercier,Wallaert,Wacquet,Crépin,Gambier,Obin,Pruvost,Boidin,Cousin,Duhamel,Fournier,Hochart,Macrez,Noé,Pecqueur,Quenson,`+
	`Ricquebourg,Sénéchal,Talpaert,Vasseur,Wallon,Zunequin,Benali,Haddad,Belkacem,Kowalski,Nowak,Szymczak,Wójcik,Ferreira,Da Silva,Gomes,Russo,Ricci,Nguyen,`+
	`Traoré,Diallo,Ben Amar,El Mansouri,Le Goff,Müller,Ait-Ahmed,Roussel,Blondel,Dumortier,Delcourt,Becquart,Herbaut,Lotte,Morel,Petit,Bailleul,Boulanger`, ",")

// subject is something taught, with the title of who teaches it.
type subject struct{ key, name string }

var sampleSubjects = []subject{
	{"mathematiques", "Mathématiques"}, {"lettres", "Lettres"}, {"anglais", "Anglais"}, {"histoire-geographie", "Histoire-géographie"},
	{"svt", "Sciences de la vie et de la Terre"}, {"physique-chimie", "Physique-chimie"}, {"eps", "Éducation physique et sportive"},
	{"arts-plastiques", "Arts plastiques"}, {"education-musicale", "Éducation musicale"}, {"technologie", "Technologie"},
	{"allemand", "Allemand"}, {"espagnol", "Espagnol"}, {"neerlandais", "Néerlandais"}, {"philosophie", "Philosophie"}, {"ses", "Sciences économiques et sociales"},
	{"nsi", "Numérique et sciences informatiques"}, {"genie-civil", "Génie civil"}, {"documentation", "Documentation"},
}

// subjectsAt are the indexes of what is taught in a kind of school.
var subjectsAt = map[string][]int{
	"Collège":             {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 17},
	"Lycée":               {0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 17},
	"Lycée professionnel": {0, 1, 2, 3, 6, 7, 16, 17},
}

// oddPeople try what names can do to a page: one letter, sixty characters, a
// particle, a name that is a word of markup.
var oddPeople = []struct{ given, family string }{
	{"Ô", "Y"},
	{"Marie-Antoinette-Joséphine", "de Rosière de la Tour-Vandenbergh"},
	{"Jean-François-Régis", "O’Connor-N’Diaye"},
	{"Élisabeth", "Le Bœuf-Ÿsaÿe"},
	{"Nina", "Null"},
}
