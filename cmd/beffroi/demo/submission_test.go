package demo

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

func openSubmission(t *testing.T, s *MailServer, login string) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(s.SubmissionAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if login != "" {
		if err := c.Auth(bearer(login, login+"-mail")); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func send(t *testing.T, s *MailServer, login, from string, to []string, raw string) {
	t.Helper()
	if err := openSubmission(t, s, login).SendMail(from, to, strings.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
}

// newest reads the last message of a folder.
func newest(t *testing.T, s *MailServer, login, folder string) (string, uint32) {
	t.Helper()
	c := openIMAP(t, s, login, nil)
	selected, err := c.Select(folder, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if selected.NumMessages == 0 {
		return "", 0
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(imap.SeqSetNum(selected.NumMessages), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	return string(got[0].FindBodySection(whole)), selected.NumMessages
}

func code(err error) (int, smtp.EnhancedCode, string) {
	var e *smtp.SMTPError
	if errors.As(err, &e) {
		return e.Code, e.EnhancedCode, e.Message
	}
	return 0, smtp.EnhancedCode{}, ""
}

func TestSubmittedMailStandsInTheRecipientsInbox(t *testing.T) {
	s, _ := startMail(t)
	_, before := newest(t, s, "jmartin", "INBOX")
	raw := "Return-Path: <forged@elsewhere.test>\r\n" + report
	send(t, s, "mdupont", "mdupont@academie.test", []string{"Jacques.Martin@academie.test", "jmartin@ACADEMIE.test"}, raw)
	got, after := newest(t, s, "jmartin", "INBOX")
	if after != before+1 {
		t.Fatalf("%d messages more, want 1 although two addresses were named", after-before)
	}
	head, body, _ := strings.Cut(got, "From: Marie")
	if !strings.HasPrefix(head, "Return-Path: <mdupont@academie.test>\r\nReceived: from ") || !strings.Contains(head, "with ESMTPA") ||
		!strings.Contains(head, "for <Jacques.Martin@academie.test>") || strings.Contains(got, "forged") {
		t.Errorf("trace %q", head)
	}
	if "From: Marie"+body != report {
		t.Errorf("the message changed on its way: %q", body)
	}
}

func TestSubmissionOffersOAUTHBEARERAndNothingElse(t *testing.T) {
	s, p := startMail(t)
	l := dialLine(t, s.SubmissionAddr)
	l.hear()
	if err := l.PrintfLine("EHLO client.test"); err != nil {
		t.Fatal(err)
	}
	_, answer, err := l.ReadResponse(250)
	if err != nil || !strings.Contains(answer, "\nAUTH OAUTHBEARER\n") || !strings.Contains(answer, "SIZE 20971520") || strings.Contains(answer, "STARTTLS") {
		t.Fatalf("EHLO answers %q, %v", answer, err)
	}
	for _, mech := range []sasl.Client{sasl.NewPlainClient("", "mdupont", "mdupont-mail"), sasl.NewLoginClient("mdupont", "mdupont-mail")} {
		if got, _, _ := code(openSubmission(t, s, "").Auth(mech)); got != 504 {
			t.Errorf("password sign-in answered %d", got)
		}
	}
	p.give("wrong audience", "mdupont", "mail", "dav", time.Hour)
	for _, try := range [][2]string{{"mdupont", "guess"}, {"mdupont", "wrong audience"}, {"jmartin", "mdupont-mail"}} {
		c := openSubmission(t, s, "")
		err := c.Auth(bearer(try[0], try[1]))
		if refused, ok := err.(*sasl.OAuthBearerError); !ok || refused.Status != "invalid_token" {
			t.Errorf("%v: %v", try, err)
		}
		if got, _, _ := code(c.Mail("mdupont@academie.test", nil)); got != 530 {
			t.Errorf("%v: MAIL after a refusal answered %d", try, got)
		}
	}
}

func TestSubmissionRefusesAloudWhatItDoesNotDeliver(t *testing.T) {
	s, _ := startMail(t)
	for _, from := range []string{"jacques.martin@academie.test", "marie.dupont@elsewhere.test", ""} {
		if got, _, _ := code(openSubmission(t, s, "mdupont").Mail(from, nil)); got != 553 {
			t.Errorf("MAIL FROM <%s> answered %d, want 553", from, got)
		}
	}
	c := openSubmission(t, s, "mdupont")
	if err := c.Mail("Marie.Dupont@academie.test", nil); err != nil {
		t.Fatal(err)
	}
	if got, enhanced, _ := code(c.Rcpt("nobody@academie.test", nil)); got != 550 || enhanced != (smtp.EnhancedCode{5, 1, 1}) {
		t.Errorf("an unknown person answered %d %v", got, enhanced)
	}
	got, enhanced, text := code(c.Rcpt("someone@elsewhere.test", nil))
	if got != 550 || enhanced != (smtp.EnhancedCode{5, 7, 1}) || text != "the demo delivers only inside academie.test" {
		t.Errorf("an outsider answered %d %v %q", got, enhanced, text)
	}
	if got, _, _ := code(c.Rcpt("jmartin@academie.test", nil)); got != 0 {
		t.Fatalf("a colleague answered %d", got)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n")); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := code(w.Close()); got != 554 {
		t.Errorf("a multipart without parts answered %d", got)
	}
	if got, _, _ := code(openSubmission(t, s, "mdupont").Mail("mdupont@academie.test", &smtp.MailOptions{Size: 21 << 20})); got != 552 {
		t.Errorf("21 MB answered %d", got)
	}
}

func TestAnOversizedMessageIsRefusedAndNobodyGetsIt(t *testing.T) {
	s, _ := startMail(t)
	_, before := newest(t, s, "jmartin", "INBOX")
	big := append([]byte("Subject: gros\r\n\r\n"), bytes.Repeat([]byte(strings.Repeat("x", 990)+"\r\n"), 21_500)...)
	err := openSubmission(t, s, "mdupont").SendMail("mdupont@academie.test", []string{"jmartin@academie.test"}, bytes.NewReader(big))
	if got, _, _ := code(err); got != 552 {
		t.Errorf("answered %v", err)
	}
	if _, after := newest(t, s, "jmartin", "INBOX"); after != before {
		t.Error("delivered all the same")
	}
}

func TestAFullMailboxRefusesBeforeAnyoneGetsTheMessage(t *testing.T) {
	s, _ := startMail(t)
	full := s.post.of("plefebvre")
	full.open()
	full.mu.Lock()
	size := int64(mostMailBytes)
	for full.room(1, size) != nil {
		size -= 4 << 10
	}
	full.mu.Unlock()
	if err := full.deliver(make([]byte, size), time.Now()); err != nil {
		t.Fatal(err)
	}
	_, before := newest(t, s, "jmartin", "INBOX")
	raw := "Subject: tous\r\n\r\n" + strings.Repeat(strings.Repeat("y", 70)+"\r\n", 100)
	err := openSubmission(t, s, "mdupont").SendMail("mdupont@academie.test", []string{"jmartin@academie.test", "plefebvre@academie.test"}, strings.NewReader(raw))
	if got, _, _ := code(err); got != 452 {
		t.Errorf("answered %v", err)
	}
	if _, after := newest(t, s, "jmartin", "INBOX"); after != before {
		t.Error("one recipient got it, the other not")
	}
}

func TestAnExpiredTokenSendsNothingMoreOnAnOpenConnection(t *testing.T) {
	var late atomic.Int64
	s, _ := startMail(t, func(c *MailConfig) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
		c.LongestSession = time.Minute
	})
	c := openSubmission(t, s, "mdupont")
	late.Store(int64(time.Minute))
	if got, _, _ := code(c.Mail("mdupont@academie.test", nil)); got != 421 {
		t.Errorf("answered %d", got)
	}
}

func TestMailOfTheProviderToAnOutsiderIsKept(t *testing.T) {
	dir := t.TempDir()
	s, _ := startMail(t, func(c *MailConfig) { c.Mailer, c.Outside = "the mailer's password", filepath.Join(dir, "outside") })
	send := func(to ...string) {
		t.Helper()
		c := openSubmission(t, s, "")
		if err := c.Auth(sasl.NewPlainClient("", MailerUser, "the mailer's password")); err != nil {
			t.Fatal(err)
		}
		if err := c.SendMail(MailerFrom, to, strings.NewReader("Subject: =?utf-8?q?Cod=C3=A9?=\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nvoil=C3=A0 "+to[0]+"\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	send("one@perso.test", "two@perso.test")
	send("A/../../B@perso.test")
	send("One@perso.test")
	for address, want := range map[string]string{"one@perso.test": "voilà One@perso.test\n", "two@perso.test": "voilà one@perso.test\n", "a/../../b@perso.test": "voilà A/../../B@perso.test\n"} {
		l, err := Outside(dir, address)
		if err != nil || l.Subject != "Codé" || l.Text != want {
			t.Errorf("%s: %+v (%v)", address, l, err)
		}
	}
	if _, err := Outside(dir, "three@perso.test"); !errors.Is(err, ErrNoLetter) {
		t.Errorf("nothing came: %v", err)
	}
	if files, err := outsideFiles(filepath.Join(dir, "outside")); err != nil || len(files) != 4 {
		t.Errorf("%v (%v)", files, err)
	}
}
