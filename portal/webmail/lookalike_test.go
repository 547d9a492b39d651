package webmail

import (
	"net/url"
	"strings"
	"testing"
)

func TestHostsThatLookLikeOurs(t *testing.T) {
	own := []string{"ac-lille.fr", "portail.ac-lille.fr"}
	for host, want := range map[string]bool{
		"ac-lille.fr": false, "www.ac-lille.fr": false, "portail.ac-lille.fr": false, "example.fr": false, "lille.fr": false, "ac-lyon.fr": false, "education.gouv.fr": false,
		"ac-1ille.fr": true, "ac-liile.fr": true, "www.ac-l1lle.fr": true, "aclille.fr": true, "ac-lille.fr.connexion.com": true, "x.ac-lille.fr.com": true, "ac-lille-fr.com": true,
		"xn--c-lille-7fg.fr": true, "xn--e1afmkfd.xn--p1ai": true, "xn--acadmie-fya.fr": true, "portai1.ac-lille.fr.io": true,
	} {
		if got := doubtful(host, own); got != want {
			t.Errorf("%s: doubtful %v", host, got)
		}
	}
	if domainImitated("marie@ac-1ille.fr", own) != "ac-lille.fr" || domainImitated("marie@ac-lille.fr", own) != "" || domainImitated("marie@dehors.fr", own) != "" {
		t.Error("addresses")
	}
}

func TestLookalikesWarnInHTMLAndText(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	r.dovecot.Deliver("mdupont", "From: x@academle.test\nSubject: a\nContent-Type: text/html; charset=utf-8\n\n<p><a href=\"https://www.academle.test/x\">Votre compte</a> <a href=\"https://exemple.test/\">ailleurs</a> <a href=\"https://аcademie.test/\">ici</a></p>\n")
	path := b.rowAt("/mail/", 0)
	b.get(path + "/document")
	b.sees("[www.academle.test]", "[xn--")
	if strings.Contains(b.body, "[exemple.test]") {
		t.Fatal("an honest link warns")
	}
	b.get(path + "/sender")
	b.sees("ressemble à academie.test")
	r.dovecot.Deliver("mdupont", "From: x@exemple.test\nSubject: b\n\nVoyez https://academie.test.vol.example/ et https://exemple.test/\n")
	path = b.rowAt("/mail/", 0)
	b.get(path)
	b.sees("[academie.test.vol.example]")
	if strings.Contains(b.body, "[exemple.test]") {
		t.Fatal("an honest link warns")
	}
	// what one answers carries no such marks
	b.get("/mail/compose?reply=" + url.QueryEscape(path))
	if strings.Contains(b.body, "[academie.test.vol.example]") {
		t.Fatal("quoted with a mark")
	}
}
