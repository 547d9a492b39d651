package webmail

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/portal"
)

func newRigFunctions(t *testing.T) *rig {
	t.Helper()
	return newRigShowing(t, "", func(c *portal.MailConfig) {
		c.Functions = []portal.Function{{Group: "direction-*", Address: "ce.*@academie.test", Name: "Direction *"}}
	})
}

func TestWhoIsInTheGroupWritesAsTheFunction(t *testing.T) {
	r := newRigFunctions(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Réunion", "lundi")
	b.sees("Direction 0590001a &lt;ce.0590001a@academie.test&gt;")
	f.Set("as", "f:ce.0590001a@academie.test")
	f.Set("action", "draft")
	b.upload(f, nil)
	b.sees(`value="f:ce.0590001a@academie.test" selected`)
	f = b.form()
	f.Set("as", "f:ce.0590001a@academie.test")
	f.Set("action", "send")
	b.upload(f, nil)
	raw := r.waitFor("jmartin", 1)[0]
	if !strings.Contains(raw, `From: "Direction 0590001a" <ce.0590001a@academie.test>`) || strings.Contains(raw, "Sender:") || strings.Contains(raw, "X-Beffroi-Identity") {
		t.Fatal(raw)
	}
	// what is written to the function is answered by it, to nobody twice
	r.dovecot.Deliver("mdupont", "From: a@dehors.test\nTo: ce.0590001a@academie.test, mdupont@academie.test\nSubject: pour nous\n\nx\n")
	r.dovecot.Deliver("mdupont", "From: a@dehors.test\nTo: ce.0590001a@academie.test, b@dehors.test\nSubject: pour la fonction\n\nx\n")
	b.get("/mail/compose?all=1&reply=" + url.QueryEscape(b.rowAt("/mail/", 0)))
	b.sees(`value="f:ce.0590001a@academie.test" selected`)
	if f := b.form(); f.Get("cc") != "b@dehors.test" || f.Get("to") != "a@dehors.test" {
		t.Fatal(f)
	}
	b.get("/mail/compose?reply=" + url.QueryEscape(b.rowAt("/mail/", 1)))
	if strings.Contains(b.body, `value="f:ce.0590001a@academie.test" selected`) {
		t.Fatal("one's own address comes first")
	}
	// others may not, whatever they send
	j := r.browser("jmartin")
	f = j.write("ssmith@academie.test", "Faux", "je suis la direction")
	if strings.Contains(j.body, "ce.0590001a") {
		t.Fatal("offered to somebody else")
	}
	f.Set("as", "f:ce.0590001a@academie.test")
	f.Set("action", "send")
	j.upload(f, nil)
	j.status(422)
	j.sees("Vous ne pouvez plus écrire depuis l’adresse choisie", "je suis la direction")
	if got := r.dovecot.Messages("ssmith", "INBOX"); len(got) != 0 {
		t.Fatal(got)
	}
}

func TestAGroupLeftBeforeItsTimeSendsNothing(t *testing.T) {
	r := newRigFunctions(t)
	ahead := r.ahead()
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Demain", "texte")
	f.Set("as", "f:ce.0590001a@academie.test")
	f.Set("action", "later/"+time.Now().In(r.s.location).Add(26*time.Hour).Format(momentLayout))
	b.upload(f, nil)
	b.sees("Message programmé")
	r.s.config.Functions = nil
	ahead.Store(int64(27 * time.Hour))
	if err := r.s.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.get("/mail/")
	b.sees("Vous ne pouvez plus écrire depuis l’adresse choisie", "Demain")
	if got := r.dovecot.Messages("jmartin", "INBOX"); len(got) != 0 {
		t.Fatal(got)
	}
}

func TestAColleagueWritesInOnesName(t *testing.T) {
	r := newRig(t)
	j, b := r.browser("jmartin"), r.browser("mdupont")
	j.post("/mail/identities", url.Values{"do": {"delegate"}, "who": {"personne"}})
	j.status(422)
	j.post("/mail/identities", url.Values{"do": {"delegate"}, "who": {"Marie Dupont <mdupont@academie.test>,"}})
	j.sees("peut maintenant écrire en votre nom", "mdupont@academie.test")
	if _, ok := r.portal.recorded.Load("mail.delegate jmartin sub-mdupont"); !ok {
		t.Fatal("not in the audit trail")
	}
	b.get("/mail/identities")
	b.sees("Jean-François Martin", "en son nom")
	f := b.write("ssmith@academie.test", "De la part du principal", "texte")
	f.Set("as", "d:sub-jmartin")
	f.Set("action", "send")
	b.upload(f, nil)
	raw := strings.ReplaceAll(r.waitFor("ssmith", 1)[0], "\r\n", "\n")
	if !strings.Contains(raw, "<jmartin@academie.test>\nSender: <mdupont@academie.test>") || !strings.Contains(raw, "Return-Path: <mdupont@academie.test>") {
		t.Fatal(raw)
	}
	s := r.browser("ssmith")
	s.get(s.rowAt("/mail/", 0))
	s.sees("Envoyé par", "mdupont@academie.test")
	// the other way round it was never said; and it ends
	f = j.write("ssmith@academie.test", "Faux", "texte")
	f.Set("as", "d:sub-mdupont")
	f.Set("action", "send")
	j.upload(f, nil)
	j.status(422)
	j.post("/mail/identities", url.Values{"do": {"dismiss"}, "id": {"sub-mdupont"}})
	j.sees("n’écrit plus en votre nom")
	if _, ok := r.portal.recorded.Load("mail.dismiss jmartin sub-mdupont"); !ok {
		t.Fatal("not in the audit trail")
	}
	f = b.write("ssmith@academie.test", "Encore", "texte")
	f.Set("as", "d:sub-jmartin")
	f.Set("action", "send")
	b.upload(f, nil)
	b.status(422)
}

func TestAHeadingOfOnesOwn(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	for _, bad := range []url.Values{{"label": {""}}, {"label": {"recteur@academie.test"}}, {"label": {"x"}, "reply_to": {"pas une adresse"}}} {
		bad.Set("do", "save")
		b.post("/mail/identities", bad)
		b.status(422)
	}
	b.post("/mail/texts", url.Values{"do": {"save"}, "kind": {"signature"}, "name": {"3e B"}, "text": {"Votre professeure"}})
	b.post("/mail/identities", url.Values{"do": {"save"}, "label": {"3e B"}, "reply_to": {"classe@dehors.test"}})
	b.sees("Marie Dupont (3e B)", "réponses à classe@dehors.test")
	key := regexp.MustCompile(`/mail/compose\?as=([a-z0-9]{26})`).FindStringSubmatch(b.body)[1]
	f := b.write("jmartin@academie.test", "Sortie", "texte")
	f.Set("as", key)
	f.Set("action", "send")
	b.upload(f, nil)
	if raw := r.waitFor("jmartin", 1)[0]; !strings.Contains(raw, `From: "Marie Dupont (3e B)" <mdupont@academie.test>`) || !strings.Contains(raw, "Reply-To: <classe@dehors.test>") {
		t.Fatal(raw)
	}
}

func TestFunctionsOfGroups(t *testing.T) {
	all := []portal.Function{{Group: "direction-*", Address: "CE.*@a.test", Name: "Direction *", Sent: "partage/ce.*/Sent"}, {Group: "dsi", Address: "dsi@a.test"}}
	got := portal.FunctionsOf(all, []string{"direction-0590001a", "direction-", "direction-x@evil.test", "direction-a/b", "dsi", "dsi2"})
	if len(got) != 2 || got[0].Address != "ce.0590001a@a.test" || got[0].Sent != "partage/ce.0590001a/Sent" || got[1].Address != "dsi@a.test" {
		t.Fatalf("%+v", got)
	}
}
