package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"beffroi/directory"
	"beffroi/internal/testpeer"
)

func TestTheRollNamesEverybodyHoweverMany(t *testing.T) {
	s := testpeer.Slapd(t)
	var text strings.Builder
	for i := range 1203 { // three pages; the server gives 500 at once
		school := "0590009J"
		if i%3 == 0 {
			school = "0590008H$UAJ$ER"
		}
		fmt.Fprintf(&text, "dn: uid=prof%04d,%s\nobjectClass: inetOrgPerson\nobjectClass: acPersonnel\nuid: prof%04d\ncn: Prof %04d\nsn: Prof\nfrEduRne: %s\n\n", i, s.PeopleDN, i, i, school)
	}
	s.Add(text.String())
	c := academy(s)
	d := open(t, c)
	for name, q := range map[string]struct {
		within []directory.Within
		people int
	}{
		"everyone":           {[]directory.Within{{Everyone: true}}, 1203 + 6},
		"a school":           {[]directory.Within{{Schools: []string{"0590008H"}}}, 401},
		"two schools":        {[]directory.Within{{Schools: []string{"0590008H"}}, {Schools: []string{"0590009J"}}}, 1203},
		"a group":            {[]directory.Within{{Groups: []string{"chefs-etablissement"}}}, 1},
		"nothing":            {nil, 0},
		"a part of nothing":  {[]directory.Within{{}}, 0},
		"no school's code":   {[]directory.Within{{Schools: []string{"*"}}}, 0},
		"a group of nowhere": {[]directory.Within{{Groups: []string{"nowhere"}}}, 0},
	} {
		roll, err := d.Roll(t.Context(), q.within)
		if err != nil || len(roll) != q.people {
			t.Errorf("%s: %d people, %v, want %d", name, len(roll), err, q.people)
		}
		seen := map[string]bool{}
		for _, m := range roll {
			if m.ID == "" || m.Login == "" || seen[m.ID] {
				t.Fatalf("%s: %+v", name, m)
			}
			seen[m.ID] = true
			if strings.HasPrefix(m.Login, "prof") && (len(m.Schools) != 1 || m.DisplayName == "" || len(m.Schools[0]) != 8) {
				t.Fatalf("%s: %+v", name, m)
			}
		}
	}
	apart := academy(s)
	apart.Groups = "member"
	if _, err := open(t, apart).Roll(t.Context(), []directory.Within{{Groups: []string{"chefs-etablissement"}}}); !errors.Is(err, directory.ErrGroupsApart) {
		t.Errorf("by groups that the entries do not name: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if roll, err := d.Roll(gone, []directory.Within{{Everyone: true}}); err == nil || slices.ContainsFunc(roll, func(directory.Member) bool { return true }) {
		t.Errorf("half a list: %d %v", len(roll), err)
	}
}
