package demo

import (
	"fmt"
	"strings"
)

// sampleSchools are invented, in towns of the Nord and the Pas-de-Calais. The
// first two are of the six people of the README.
func sampleSchools() []School {
	rows := []struct{ uai, kind, name, street, postal, city string }{
		{"0590001A", "Rectorat", "Rectorat de l’académie", "20 rue du Beffroi", "59000", "Lille"},
		{"0590002B", "Collège", "Collège Jean-Zay", "14 avenue des Tilleuls", "59160", "Lomme"},
		{"0590003C", "Lycée", "Lycée Marie-Curie", "3 place de la Filature", "59150", "Wattrelos"},
		{"0599101P", "Collège", "Collège Simone-Veil", "8 rue du Canal", "59500", "Douai"},
		{"0599102R", "Collège", "Collège Louise-Michel", "25 rue Haute", "59300", "Valenciennes"},
		{"0599103S", "Collège", "Collège Jules-Mousseron", "2 rue du Terril", "59220", "Denain"},
		{"0599104T", "Collège", "Collège Albert-Calmette", "41 boulevard Pasteur", "59140", "Dunkerque"},
		{"0599105U", "Collège", "Collège Marguerite-Yourcenar", "6 route de Cassel", "59190", "Hazebrouck"},
		{"0599106V", "Collège", "Collège Matisse", "17 rue de la Sambre", "59600", "Maubeuge"},
		{"0599107W", "Collège", "Collège du Mont-Noir", "1 chemin des Moulins", "59270", "Bailleul"},
		{"0599108X", "Collège", "Collège Rosa-Parks", "33 rue de Lannoy", "59100", "Roubaix"},
		{"0599109Y", "Collège", "Collège Ambroise-Croizat", "12 rue des Filles-Dieu", "59400", "Cambrai"},
		{"0599110Z", "Lycée", "Lycée Pierre-Mendès-France", "90 boulevard Gambetta", "59200", "Tourcoing"},
		{"0599111A", "Lycée", "Lycée de l’Escaut", "5 quai des Mines", "59300", "Valenciennes"},
		{"0599112B", "Lycée", "Lycée Olympe-de-Gouges", "22 rue de Bouvines", "59800", "Lille"},
		{"0599113C", "Lycée", "Lycée Jean-Bart-des-Dunes", "70 avenue de la Mer", "59240", "Dunkerque"},
		{"0599114D", "Lycée professionnel", "Lycée professionnel des Métiers-d’Art", "9 rue du Verre", "59490", "Somain"},
		{"0599115E", "Lycée professionnel", "Lycée professionnel Ada-Lovelace", "15 rue de l’Innovation", "59650", "Villeneuve-d’Ascq"},
		{"0599116F", "École", "École primaire Les Hirondelles", "4 rue de l’Église", "59242", "Templeuve-en-Pévèle"},
		{"0599117G", "École", "École élémentaire Jacques-Prévert", "11 rue des Écoles", "59280", "Armentières"},
		{"0599118H", "École", "École maternelle du Petit-Bois", "2 allée des Charmes", "59650", "Villeneuve-d’Ascq"},
		{"0629201J", "Collège", "Collège Germaine-Tillion", "19 rue d’Artois", "62000", "Arras"},
		{"0629202K", "Collège", "Collège Émile-Basly-des-Cités", "7 rue de la Fosse-Quatre", "62300", "Lens"},
		{"0629203L", "Collège", "Collège de la Côte-d’Opale", "36 rue des Falaises", "62930", "Wimereux"},
		{"0629204M", "Collège", "Collège Jean-Rostand-du-Marais", "3 rue des Maraîchers", "62500", "Saint-Omer"},
		{"0629205N", "Collège", "Collège Gabrielle-Petit", "28 rue du Littoral", "62100", "Calais"},
		{"0629206P", "Lycée", "Lycée Robespierre-le-Jeune", "1 place du Théâtre", "62000", "Arras"},
		{"0629207R", "Lycée", "Lycée Auguste-Mariette-du-Port", "45 boulevard Daunou", "62200", "Boulogne-sur-Mer"},
		{"0629208S", "Lycée professionnel", "Lycée professionnel des Deux-Caps", "60 rue de Verdun", "62100", "Calais"},
		{"0629209T", "École", "École primaire Marie-et-Pierre-Curie", "18 rue de la Mairie", "62400", "Béthune"},
		{"0629210U", "École", "École élémentaire Charles-Perrault", "5 rue des Lilas", "62800", "Liévin"},
		{"0599999Z", "Partenaire", "Association Passerelle numérique", "2 rue de la Gare", "59000", "Lille"},
	}
	schools := make([]School, len(rows))
	for i, row := range rows {
		schools[i] = School{
			UAI: row.uai, Kind: row.kind, Name: row.name, Street: row.street, PostalCode: row.postal, City: row.city,
			// Numbers kept for fiction by the regulator: 03 53 01 00 00 to 03 53 01 99 99.
			Phone: phone(100 * (i + 1)), Mail: "ce." + strings.ToLower(row.uai) + "@" + sampleMailDomain, SIRET: sampleSIRET(row.kind, row.uai),
		}
	}
	return schools
}

// sampleSIRET is made as those of schools are: 19, the department and the number
// of the UAI code, a check digit, then the establishment and its check digit.
func sampleSIRET(kind, uai string) string {
	first := map[string]string{"Rectorat": "17", "Partenaire": "89"}[kind]
	if first == "" {
		first = "19"
	}
	return withCheckDigit(withCheckDigit(first+uai[1:7]) + "0001")
}

// withCheckDigit adds the digit that makes Luhn's sum a multiple of ten.
func withCheckDigit(digits string) string {
	sum := 0
	for i := range len(digits) {
		n := int(digits[len(digits)-1-i]-'0') * (2 - i%2)
		sum += n/10 + n%10
	}
	return fmt.Sprintf("%s%d", digits, (10-sum%10)%10)
}

// SchoolLines are the schools as the file proconnect.schools_file lists them.
func (s *Sample) SchoolLines() string {
	var b strings.Builder
	b.WriteString("UAI;SIRET;Nom\n")
	for _, school := range s.Schools {
		fmt.Fprintf(&b, "%s;%s;%s\n", school.UAI, school.SIRET, school.Name)
	}
	return b.String()
}
