package webmail

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"beffroi/internal/testpeer"
	"beffroi/portal"
)

// TestEveryWayOfSigningIn reads, sends and sets an absence: three servers each.
func TestEveryWayOfSigningIn(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(testpeer.MasterPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []portal.MailConfig{{Auth: "oauthbearer"}, {Auth: "xoauth2"}, {Auth: "master", MasterUser: testpeer.MasterUser, MasterPasswordFile: password}} {
		t.Run(c.Auth, func(t *testing.T) {
			r := newRigShowing(t, "", func(to *portal.MailConfig) {
				to.Auth, to.MasterUser, to.MasterPasswordFile = c.Auth, c.MasterUser, c.MasterPasswordFile
			})
			b := r.browser("mdupont")
			r.dovecot.Deliver("mdupont", "From: a@dehors.test\nSubject: Pour Marie\n\nx\n")
			r.dovecot.Deliver("jmartin", "From: a@dehors.test\nSubject: Pour Jean\n\nx\n")
			b.get("/mail/")
			b.sees("Pour Marie")
			f := b.write("jmartin@academie.test", "Bonjour", "texte")
			f.Set("action", "send")
			b.upload(f, nil)
			r.waitFor("jmartin", 2)
			b.get("/mail/absence")
			b.post("/mail/absence", b.pageForm(url.Values{"on": {"1"}, "text": {"Absente"}, "subject": {"Absence"}}))
			b.status(200)
			j := r.browser("jmartin")
			j.get("/mail/")
			j.sees("Pour Jean", "Bonjour")
			// refused: said, and nobody else's mailbox
			if c.Auth != "master" {
				r.tokens.down.Store(true)
				r.tokens.rotate("mdupont")
				r.module.Forget("sub-mdupont")
				b.get("/mail/")
				b.status(502)
				b.sees("ne vous reconnaît pas")
			} else {
				r.portal.ended.Store(true) // the session has ended: no mailbox without it
				b.get("/mail/")
				if b.last.StatusCode == 200 {
					t.Fatal("the mailbox opens without a session")
				}
			}
		})
	}
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("autre\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRigShowing(t, "", func(to *portal.MailConfig) {
		to.Auth, to.MasterUser, to.MasterPasswordFile = "master", testpeer.MasterUser, wrong
	})
	b := r.browser("mdupont")
	b.get("/mail/")
	b.status(502)
}
