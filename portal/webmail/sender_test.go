package webmail

import (
	"strings"
	"testing"

	"beffroi/portal"
)

func TestTheProofOfASender(t *testing.T) {
	const mail = "ssmith@academie.test"
	for head, want := range map[string]senderProof{
		"Authentication-Results: mx.academie.test; dmarc=pass header.from=academie.test":                                                                                 proved,
		"Authentication-Results: MX.academie.test 1; spf=pass smtp.mailfrom=x.test; dmarc=pass (p=reject) header.from=academie.test":                                     proved,
		"Authentication-Results: mx.academie.test; auth=pass smtp.auth=SSmith@academie.test":                                                                             proved,
		"Authentication-Results: mx.academie.test; auth=pass smtp.auth=jmartin@academie.test":                                                                            notSaid,
		"Authentication-Results: mx.academie.test; dmarc=fail header.from=academie.test":                                                                                 notProved,
		"Authentication-Results: mx.academie.test; dmarc=pass header.from=evil.test":                                                                                     notProved,
		"Authentication-Results: mx.academie.test; dmarc=none":                                                                                                           notSaid,
		"Authentication-Results: evil.test; dmarc=pass header.from=academie.test":                                                                                        notSaid,
		"Authentication-Results: (mx.academie.test;) evil.test; dmarc=pass header.from=academie.test":                                                                    notSaid,
		"Authentication-Results: mx.academie.test; spf=pass (dmarc=pass header.from=academie.test;) smtp.mailfrom=a":                                                     notSaid,
		"Authentication-Results: mx.academie.test; dmarc=fail header.from=academie.test\nAuthentication-Results: mx.academie.test; dmarc=pass header.from=academie.test": notProved, // the topmost is ours
		"": notSaid,
	} {
		if got := proofOf(parseHeader([]byte(head+"\n")), "mx.academie.test", mail); got != want {
			t.Errorf("%q: %v, want %v", head, got, want)
		}
	}
	if got := proofOf(parseHeader([]byte("Authentication-Results: ; dmarc=pass header.from=academie.test\n")), "", mail); got != notSaid {
		t.Error("without a name of ours somebody is verified")
	}
}

func TestAColleagueIsVerifiedAndAStrangerIsNot(t *testing.T) {
	r := newRigShowing(t, "", func(c *portal.MailConfig) { c.AuthservID = "mx.academie.test" })
	const proof = "Authentication-Results: mx.academie.test; dmarc=pass header.from=academie.test\n"
	b := r.browser("mdupont")
	for _, c := range []struct{ head, from, says string }{
		{proof, "Sarah Smith <ssmith@academie.test>", "Collègue vérifié"},
		{"", "Sarah Smith <ssmith@academie.test>", ""},
		{"Authentication-Results: mx.academie.test; dmarc=fail header.from=academie.test\n", "Sarah Smith <ssmith@academie.test>", "pas pu vérifier"},
		{"Authentication-Results: mx.academie.test; dmarc=pass header.from=dehors.test\n", "SMITH Sarah <sarah@dehors.test>", "collègue Sarah Smith"},
		{proof, "ssmith@academie.test <pirate@dehors.test>", "montre une autre adresse"},
		{proof, "Quelqu'un <autre@dehors.test>", ""},
		{proof, "Sarah Smith <ssmith@academie.test>\nFrom: pirate@dehors.test", ""},
	} {
		r.dovecot.Deliver("mdupont", c.head+"From: "+c.from+"\nTo: mdupont@academie.test\nSubject: x\n\ntexte\n")
		path := b.rowAt("/mail/", 0)
		b.get(path)
		b.sees(path + "/sender")
		b.get(path + "/sender")
		b.status(200)
		if c.says == "" && strings.TrimSpace(b.body) != "" || !strings.Contains(b.body, c.says) {
			t.Errorf("%s%s: %q, want %q", c.head, c.from, b.body, c.says)
		}
	}
}
