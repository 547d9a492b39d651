package webmail

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAReceiptIsGivenWhenTheReaderSaysSo(t *testing.T) {
	r := newRig(t)
	b := r.browser("mdupont")
	f := b.write("jmartin@academie.test", "Convocation", "demain")
	f.Set("receipt", "1")
	f.Set("action", "draft")
	b.upload(f, nil)
	b.sees(`name="receipt" value="1" checked`)
	f = b.form()
	f.Set("receipt", "1")
	f.Set("action", "send")
	b.upload(f, nil)
	if got := r.waitFor("jmartin", 1)[0]; !strings.Contains(got, `Disposition-Notification-To: "Marie Dupont" <mdupont@academie.test>`) {
		t.Fatal(got)
	}
	j := r.browser("jmartin")
	path := j.rowAt("/mail/", 0)
	j.get(path)
	j.sees("mdupont@academie.test demande un accusé de lecture")
	time.Sleep(300 * time.Millisecond)
	if got := r.dovecot.Messages("mdupont", "INBOX"); len(got) != 0 {
		t.Fatal("a receipt was sent by itself")
	}
	j.post(path+"/receipt", url.Values{"do": {"all"}})
	j.status(400)
	j.post(path+"/receipt", url.Values{"do": {"send"}})
	j.status(200)
	if strings.Contains(j.body, "accusé de lecture") {
		t.Fatal("it is asked again")
	}
	got := r.waitFor("mdupont", 1)[0]
	for _, want := range []string{"report-type=disposition-notification", "Final-Recipient: rfc822;jmartin@academie.test", "Disposition: manual-action/MDN-sent-manually; displayed", "Auto-Submitted: auto-replied", "Return-Path: <>", "Original-Message-ID: <"} {
		if !strings.Contains(got, want) {
			t.Errorf("the receipt lacks %q:\n%s", want, got)
		}
	}
	j.post(path+"/receipt", url.Values{"do": {"send"}}) // twice
	time.Sleep(300 * time.Millisecond)
	if got := r.dovecot.Messages("mdupont", "INBOX"); len(got) != 1 {
		t.Fatalf("%d receipts", len(got))
	}
	if got := r.dovecot.Messages("jmartin", "Sent"); len(got) != 0 {
		t.Fatal("a receipt lies among what was sent")
	}
	r.dovecot.Deliver("jmartin", "From: a@dehors.test\nDisposition-Notification-To: b@dehors.test\nList-Id: <l.test>\nSubject: x\n\ny\n")
	j.get(j.rowAt("/mail/", 0))
	if strings.Contains(j.body, "accusé de lecture") {
		t.Fatal("a list is given receipts")
	}
}
