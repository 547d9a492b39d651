package directory_test

import (
	"fmt"
	"strings"
	"testing"

	"beffroi/internal/testpeer"
)

func TestMoreGroupsThanTheServerGivesAtOnceAreAllRead(t *testing.T) {
	s := testpeer.Slapd(t)
	var text strings.Builder
	for i := range 520 { // the server's limit is 500
		fmt.Fprintf(&text, "dn: cn=projet-%03d,%s\nobjectClass: groupOfNames\ncn: projet-%03d\nmember: uid=ssmith,%s\n\n", i, s.GroupsDN, i, s.PeopleDN)
	}
	s.Add(text.String())
	for _, how := range []string{"member", "memberof", "both"} {
		c := academy(s)
		c.Groups = how
		if p := mustSignIn(t, open(t, c), "ssmith"); len(p.Groups) != 521 {
			t.Errorf("%s: %d groups of 521", how, len(p.Groups))
		}
	}
}

func TestNestedGroupsAreFollowedEvenInACircle(t *testing.T) {
	s := testpeer.Slapd(t)
	s.Add("dn: cn=encadrement," + s.GroupsDN + "\nobjectClass: groupOfNames\ncn: encadrement\nmember: cn=chefs-etablissement," + s.GroupsDN + "\n\n" +
		"dn: cn=cercle," + s.GroupsDN + "\nobjectClass: groupOfNames\ncn: cercle\nmember: cn=encadrement," + s.GroupsDN + "\n\n")
	s.Modify("dn: cn=chefs-etablissement," + s.GroupsDN + "\nchangetype: modify\nadd: member\nmember: cn=cercle," + s.GroupsDN + "\n")
	for _, how := range []string{"member", "memberof", "both"} {
		c := academy(s)
		c.Groups, c.NestedGroups = how, true
		p := mustSignIn(t, open(t, c), "jmartin")
		if got := strings.Join(p.Groups, " "); got != "cercle chefs-etablissement encadrement tous-personnels" {
			t.Errorf("%s: %s", how, got)
		}
	}
}

func TestAGroupOutsideTheGroupsCountsForNothing(t *testing.T) {
	s := testpeer.Slapd(t)
	s.Add("dn: cn=securite,ou=people," + s.BaseDN + "\nobjectClass: groupOfNames\ncn: securite\nmember: uid=ssmith," + s.PeopleDN + "\n\n")
	for _, how := range []string{"member", "memberof", "both"} {
		c := academy(s)
		c.Groups = how
		if p := mustSignIn(t, open(t, c), "ssmith"); strings.Join(p.Groups, " ") != "tous-personnels" {
			t.Errorf("%s: %v", how, p.Groups)
		}
	}
}
