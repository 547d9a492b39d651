package webmail

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	r := newRig(t)
	rich, _ := os.ReadFile("/tmp/look/rich.eml")
	r.dovecot.Fill("mdupont", 60)
	r.browser("mdupont").get("/mail/")
	r.dovecot.Deliver("mdupont", string(rich))
	long := strings.Repeat("Anne-Charlotte de la Rochefoucauld-Montbel ", 2)
	r.dovecot.Deliver("mdupont", "From: \""+long+"\" <anne-charlotte.de-la-rochefoucauld-montbel@academie.test>\nTo: mdupont@academie.test, a@b.test, c@d.test, \"Jean Martin\" <jm@academie.test>\nCc: x@y.test\nSubject: "+strings.Repeat("Un objet vraiment long ", 8)+"\nDate: Mon, 23 Nov 2026 17:01:00 +0100\nMessage-ID: <l@a.test>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\nBonjour Marie,\n\nVoici le compte rendu, à relire avant vendredi : https://documents.academie.test/comptes-rendus/2026/novembre/reunion-pedagogique-du-23.html\n\nBien à vous,\nAnne-Charlotte\n\nLe 22 novembre, Marie Dupont a écrit :\n> Chère Anne-Charlotte,\n> pourriez-vous m'envoyer le compte rendu ?\n>> avant lundi\n> Merci beaucoup,\n> Marie\n> ligne\n> ligne\n--b\nContent-Type: application/pdf; name=x.pdf\nContent-Disposition: attachment; filename=\"Compte rendu de la réunion du conseil pédagogique élargi du 23 novembre 2026.pdf\"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n--b\nContent-Type: image/png; name=plan.png\nContent-Disposition: attachment; filename=plan.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==\n--b--\n")
	r.dovecot.Deliver("ssmith", simple)
	b := r.browser("mdupont")
	b.get("/mail/")
	longPath, richPath := b.rows()[0], b.rows()[1]
	b.get("/mail/")
	b.post("/mail/INBOX/do", url.Values{"do": {"flag:" + b.keys()[3]}})
	target, _ := url.Parse(r.web.URL)
	proxy := func(login string) string {
		p := httputil.NewSingleHostReverseProxy(target)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Header.Set("Cookie", "login="+login)
			p.ServeHTTP(w, q)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	many, one, zero := proxy("mdupont"), proxy("ssmith"), proxy("jmartin")
	shot := func(name, address string, w, h int, more ...string) {
		args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1", "--user-data-dir=/tmp/look/profile-" + name, fmt.Sprintf("--window-size=%d,%d", w, h), "--screenshot=/tmp/look/" + name + ".png", "--virtual-time-budget=3000"}, more...)
		args = append(args, address)
		if out, err := exec.Command("chromium", args...).CombinedOutput(); err != nil {
			t.Logf("%s: %v %s", name, err, out)
		}
		os.RemoveAll("/tmp/look/profile-" + name)
	}
	fr, en, dark := "--accept-lang=fr", "--accept-lang=en", "--blink-settings=preferredColorScheme=0"
	want := os.Getenv("LOOK")
	do := func(name, address string, w, h int, more ...string) {
		if want == "" || strings.Contains(name, want) {
			shot(name, address, w, h, more...)
		}
	}
	do("list-1280", many+"/mail/", 1280, 800, fr)
	do("read-1280", many+longPath, 1280, 800, fr)
	do("rich-1280-dark", many+richPath, 1280, 800, en, dark)
	do("read-1000", many+longPath, 1000, 768, fr)
	do("list-390", many+"/mail/", 500, 844, fr)
	do("read-390", many+longPath, 500, 844, fr)
	do("compose-1280", many+"/mail/compose?reply="+url.QueryEscape(longPath), 1280, 800, fr)
	do("compose-390", many+"/mail/compose", 500, 844, en, dark)
	do("one-1280", one+"/mail/", 1280, 800, en)
	do("zero-1280", zero+"/mail/", 1366, 768, fr, dark)
}
