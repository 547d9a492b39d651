package directory_test

import (
	"fmt"
	"testing"
	"time"

	"beffroi/directory"
	"beffroi/internal/testpeer"
)

func TestThePasswordPolicyIsUnderstood(t *testing.T) {
	s := testpeer.Slapd(t)
	c := academy(s)
	c.LockoutDuration = 5 * time.Minute // as the policy of the test academy
	d := open(t, c)
	try := func(login, password string) directory.Outcome {
		t.Helper()
		_, outcome, err := d.Authenticate(t.Context(), login, password)
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	dn := "uid=plefebvre," + s.PeopleDN

	s.Modify("dn: " + dn + "\nchangetype: modify\nreplace: pwdReset\npwdReset: TRUE\n")
	if o := try("plefebvre", testpeer.Password); o.Result != directory.MustChange || !o.Proven || o.OK() {
		t.Errorf("to be changed: %+v", o)
	}
	if o := try("plefebvre", "faux"); o.Result != directory.Wrong || o.Proven {
		t.Errorf("to be changed, wrong password: %+v", o)
	}
	s.Modify("dn: " + dn + "\nchangetype: modify\ndelete: pwdReset\n")
	mustSignIn(t, d, "plefebvre")

	for range 10 {
		try("plefebvre", "faux")
	}
	try("plefebvre", testpeer.Password) // the search before it sees when the lock began
	o := try("plefebvre", testpeer.Password)
	if o.Result != directory.Locked || o.Proven || o.OK() {
		t.Fatalf("after ten wrong ones: %+v", o)
	}
	if left := time.Until(o.Until); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("locked until %v", o.Until)
	}
	p, err := d.ByLogin(t.Context(), "plefebvre")
	if err != nil || p.Disabled {
		t.Errorf("a lock that passes closes no account: %+v, %v", p, err)
	}
	s.Modify("dn: " + dn + "\nchangetype: modify\nreplace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n")
	try("plefebvre", testpeer.Password) // uses up what ByLogin saw within this second
	if o := try("plefebvre", testpeer.Password); o.Result != directory.Disabled || o.OK() {
		t.Errorf("locked for good: %+v", o)
	}
	if p, _ := d.ByLogin(t.Context(), "plefebvre"); !p.Disabled {
		t.Error("locked for good and not disabled")
	}
	if found, _ := d.Search(t.Context(), directory.Query{Text: "lefebvre paul"}); len(found) != 0 {
		t.Errorf("a closed account is found: %+v", found)
	}
}

func TestAnExpiredPasswordHasAFewSignInsLeft(t *testing.T) {
	s := testpeer.Slapd(t)
	policy := "dn: cn=default,ou=policies," + s.BaseDN + "\nchangetype: modify\nreplace: pwdMaxAge\npwdMaxAge: %s\n"
	// changing the password makes the server note when
	s.Modify("dn: uid=ssmith," + s.PeopleDN + "\nchangetype: modify\nreplace: userPassword\nuserPassword: Nouveau-2026!\n")
	s.Modify("dn: uid=ssmith," + s.PeopleDN + "\nchangetype: modify\ndelete: pwdReset\n")
	d := open(t, academy(s))
	try := func() directory.Outcome {
		_, outcome, err := d.Authenticate(t.Context(), "ssmith", "Nouveau-2026!")
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	s.Modify(fmt.Sprintf(policy, "86400"))
	if o := try(); !o.OK() || o.ExpiresIn <= 0 || o.ExpiresIn > 24*time.Hour {
		t.Errorf("soon to expire: %+v", o)
	}
	s.Modify(fmt.Sprintf(policy, "1"))
	time.Sleep(2100 * time.Millisecond) // the server counts whole seconds
	for i, want := range []directory.Result{directory.GraceLeft, directory.GraceLeft, directory.Expired} {
		o := try()
		if o.Result != want || !o.Proven || o.OK() != (want == directory.GraceLeft) {
			t.Errorf("sign-in %d after the end: %+v", i+1, o)
		}
		if want == directory.GraceLeft && o.Grace != 1-i {
			t.Errorf("sign-in %d after the end: %d left", i+1, o.Grace)
		}
	}
}
