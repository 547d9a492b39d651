package mfa

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
)

func mailService(t *testing.T, d *db.DB) (*Service, *clock) {
	t.Helper()
	c := newClock()
	cfg := Config{MailCodes: MailCodeConfig{Enabled: true, OwnDomains: []string{"academie.test", "Académie-Lille.FR."}}}
	return New(d, secret.NewSealer([32]byte{1}), audit.New(d, c.now), cfg, c.now), c
}

// mailed sends a code and returns what the message would hold.
func mailed(t *testing.T, s *Service, c MailCode, to MailTo) string {
	t.Helper()
	got := ""
	_, err := s.SendMailCode(context.Background(), me, c, to, func(_ context.Context, _, code string, _ time.Duration) error {
		got = code
		return nil
	})
	if err != nil || len(got) != mailDigits {
		t.Fatalf("%+v: %q, %v", c, got, err)
	}
	return got
}

func withMail(t *testing.T, s *Service, person, address string) {
	t.Helper()
	c := MailCode{Person: person, Purpose: MailConfirm, Attempt: "set up"}
	p, err := s.CheckMailCode(context.Background(), c, mailed(t, s, c, MailTo{Typed: address}))
	if err == nil {
		err = s.AddMail(context.Background(), audit.Person(person, person), p)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func useMail(s *Service, c MailCode, typed string) error {
	p, err := s.CheckMailCode(context.Background(), c, typed)
	if err != nil {
		return err
	}
	return s.UseMailCode(context.Background(), p)
}

func TestAddressCountsOnceACodeCameBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s, c := mailService(t, d)
		changes := told(s)
		of := MailCode{Person: "p1", Purpose: MailConfirm, Attempt: "a"}
		code := mailed(t, s, of, MailTo{Typed: " Marie@Gmail.COM. "})
		if held(t, s, "p1")[Mail] != 0 {
			t.Fatal("an address counts before its code came back")
		}
		if at, err := s.MailCodeSent(ctx, of); at != "Marie@gmail.com" || err != nil {
			t.Errorf("%q, %v", at, err)
		}
		p, err := s.CheckMailCode(ctx, of, code[:4]+" "+code[4:])
		if err != nil {
			t.Fatal(err)
		}
		if err := s.UseMailCode(ctx, p); !errors.Is(err, ErrWrongCode) {
			t.Errorf("a code that confirms signs in: %v", err)
		}
		if err := s.AddMail(ctx, me, p); err != nil {
			t.Fatal(err)
		}
		if err := s.AddMail(ctx, me, p); !errors.Is(err, ErrUsedCode) {
			t.Errorf("twice: %v", err)
		}
		if h := held(t, s, "p1"); h[Mail] != 1 || h.Lasting() != 1 || len(*changes) != 1 {
			t.Errorf("%v, %v", h, *changes)
		}
		all, err := s.Factors(ctx, "p1")
		if err != nil || len(all) != 1 || all[0].Kind != Mail || all[0].Detail != "M•••@g•••.com" {
			t.Fatalf("%+v, %v", all, err)
		}
		// Another address takes its place only with its own code, and what was
		// sent to the one before is good no more.
		signin := MailCode{Person: "p1", Purpose: MailSignIn, Attempt: "f"}
		stale := mailed(t, s, signin, MailTo{})
		staleProof, err := s.CheckMailCode(ctx, signin, stale)
		if err != nil {
			t.Fatal(err)
		}
		next := mailed(t, s, of, MailTo{Typed: "marie@orange.fr"})
		if at, _ := s.MailAddress(ctx, "p1"); at != "Marie@gmail.com" {
			t.Errorf("%q", at)
		}
		if p, err = s.CheckMailCode(ctx, of, next); err == nil {
			err = s.AddMail(ctx, me, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		if at, _ := s.MailAddress(ctx, "p1"); at != "marie@orange.fr" {
			t.Errorf("%q", at)
		}
		if err := s.UseMailCode(ctx, staleProof); err == nil {
			t.Error("a code that went to the address before is good")
		}
		// Removed with its codes, and with a reset.
		stale = mailed(t, s, signin, MailTo{})
		all, _ = s.Factors(ctx, "p1")
		if _, err := s.Remove(ctx, me, "p1", all[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		if err := useMail(s, signin, stale); !errors.Is(err, ErrWrongCode) {
			t.Errorf("%v", err)
		}
		if _, err := s.SendMailCode(ctx, me, signin, MailTo{}, nil); !errors.Is(err, ErrNoFactor) {
			t.Errorf("%v", err)
		}
		c.advance(2 * time.Hour)
		withMail(t, s, "p1", "marie@orange.fr")
		if n, err := s.Reset(ctx, me, "p1", "lost"); n != 1 || err != nil || held(t, s, "p1")[Mail] != 0 {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestRow03CodeOfOnePurposePersonOrAttemptIsGoodForNoOther(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s, c := mailService(t, d)
		withMail(t, s, "p1", "one@gmail.com")
		withMail(t, s, "p2", "two@gmail.com")
		c.advance(2 * time.Hour)
		var all []MailCode
		for _, person := range []string{"p1", "p2"} {
			for _, purpose := range []string{MailConfirm, MailSignIn, MailDesk} {
				for _, attempt := range []string{"one"} {
					all = append(all, MailCode{person, purpose, attempt})
				}
			}
		}
		all = append(all, MailCode{"p1", MailSignIn, "two"}, MailCode{"p2", MailSignIn, "two"})
		codes := map[MailCode]string{}
		for _, m := range all {
			codes[m] = mailed(t, s, m, MailTo{Typed: "new@gmail.com"})
		}
		for _, sent := range all {
			for _, used := range all {
				if sent == used {
					continue
				}
				// Fresh tries each time: the matrix is wider than a code has.
				if _, err := d.Exec(ctx, "UPDATE mfa_mail_code SET tries = 0"); err != nil {
					t.Fatal(err)
				}
				if _, err := s.CheckMailCode(ctx, used, codes[sent]); !errors.Is(err, ErrWrongCode) {
					t.Errorf("a code of %v is good for %v: %v", sent, used, err)
				}
			}
		}
		// A hash that is moved in the database is good for nothing either.
		if _, err := d.Exec(ctx, "UPDATE mfa_mail_code SET tries = 0, hash = (SELECT hash FROM mfa_mail_code WHERE person = 'p1' AND purpose = 'signin' AND attempt = 'one')"); err != nil {
			t.Fatal(err)
		}
		mine := MailCode{"p1", MailSignIn, "one"}
		for _, m := range all {
			if _, err := s.CheckMailCode(ctx, m, codes[mine]); (err == nil) != (m == mine) {
				t.Errorf("%v: %v", m, err)
			}
		}
		if err := useMail(s, mine, codes[mine]); err != nil {
			t.Error(err)
		}
		for _, p := range []MailProof{{}, {of: mine, hash: "x", address: "thief@evil.test", factor: ""}} {
			if s.UseMailCode(ctx, p) == nil || s.AddMail(ctx, me, p) == nil {
				t.Errorf("%+v is taken", p)
			}
		}
	})
}

func TestCodeByMailIsGoodOnceForTenMinutesAndFiveTries(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s, c := mailService(t, d)
		withMail(t, s, "p1", "one@gmail.com")
		of := MailCode{"p1", MailSignIn, "flow"}
		code := mailed(t, s, of, MailTo{})
		var n int
		if err := d.QueryRow(ctx, "SELECT COUNT(*) FROM mfa_mail_code WHERE hash LIKE $1", "%"+code+"%").Scan(&n); err != nil || n != 0 {
			t.Errorf("the code lies open: %d, %v", n, err)
		}
		var mu sync.Mutex
		good := 0
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if useMail(s, of, code) == nil {
					mu.Lock()
					good++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if good != 1 {
			t.Errorf("good %d times", good)
		}
		code = mailed(t, s, of, MailTo{})
		c.advance(10 * time.Minute)
		if err := useMail(s, of, code); !errors.Is(err, ErrWrongCode) {
			t.Errorf("too old: %v", err)
		}
		first := mailed(t, s, of, MailTo{})
		code = mailed(t, s, of, MailTo{})
		if first != code && useMail(s, of, first) == nil {
			t.Error("the code before is good still")
		}
		for i := range 4 {
			if err := useMail(s, of, fmt.Sprintf("%08d", i)); !errors.Is(err, ErrWrongCode) {
				t.Errorf("%v", err)
			}
		}
		if err := useMail(s, of, code); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the sixth try: %v", err)
		}
		// What counts is never written where a caller could undo it.
		err := d.InTx(ctx, func(ctx context.Context) error {
			_, err := s.CheckMailCode(ctx, of, code)
			_, other := s.SendMailCode(ctx, me, of, MailTo{}, nil)
			if !errors.Is(err, errInTransaction) || !errors.Is(other, errInTransaction) {
				t.Errorf("%v, %v", err, other)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		c.advance(25 * time.Hour)
		if n, err := s.Sweep(ctx); n == 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := d.QueryRow(ctx, "SELECT COUNT(*) FROM mfa_mail_count").Scan(&n); n != 0 || err != nil {
			t.Errorf("%d counts stay, %v", n, err)
		}
	})
}

func TestSpendingACodeByMailIsUndoneWithItsTransaction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s, _ := mailService(t, d)
		withMail(t, s, "p1", "one@gmail.com")
		of := MailCode{"p1", MailSignIn, "flow"}
		code := mailed(t, s, of, MailTo{})
		undone := errors.New("undone")
		p, err := s.CheckMailCode(ctx, of, code)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.InTx(ctx, func(ctx context.Context) error {
			if err := s.UseMailCode(ctx, p); err != nil {
				t.Error(err)
			}
			return undone
		}); !errors.Is(err, undone) {
			t.Fatal(err)
		}
		if err := useMail(s, of, code); err != nil {
			t.Error(err)
		}
	})
}

func TestMailboxBehindThisDoorIsNoSecondFactor(t *testing.T) {
	s, _ := mailService(t, dbtest.Open(t, "sqlite"))
	send := func(address string) error {
		_, err := s.SendMailCode(context.Background(), me, MailCode{"p1", MailConfirm, "a"}, MailTo{Typed: address, Mailboxes: []string{"marie@Lycée.example", "m@école.test"}},
			func(context.Context, string, string, time.Duration) error { return errors.New("would go") })
		return err
	}
	for _, address := range []string{
		"m@academie.test", "m@ACADEMIE.test", "m@academie.test.", "m@mail.academie.test", "m@ａｃａｄｅｍｉｅ.test", "m@academie。test",
		"m@académie-lille.fr", "m@xn--acadmie-lille-ehb.fr", "m@x.ACADÉMIE-lille.fr", "m@lycée.example", "m@xn--lyce-dpa.example", "m@eleves.lycée.example", "m@école.test",
	} {
		if err := send(address); !errors.Is(err, ErrOwnAddress) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{
		"", "m", "m@", "@gmail.com", "m@localhost", "m@[127.0.0.1]", "m@127.0.0.1", "m@a@gmail.com", "m@academie.test@gmail.com", "m%academie.test@gmail.com", "academie.test!m@gmail.com",
		`"m@academie.test"@gmail.com`, "Marie <m@gmail.com>", "m@gmail.com, x@gmail.com", "m@gmail.com\r\nBcc: x@y.test", "m..m@gmail.com", ".m@gmail.com", "é@gmail.com", "m@gmail..com", "m@gma il.com",
		"m(x)@gmail.com", strings.Repeat("m", 65) + "@gmail.com", "m@" + strings.Repeat("a", 64) + ".com", "m@" + strings.Repeat("a.", 130) + "com",
	} {
		if err := send(address); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"m@monacademie.test", "m@academie.test.example", "marie+codes@gmail.com"} {
		if err := send(address); err == nil || errors.Is(err, ErrAddress) || errors.Is(err, ErrOwnAddress) || errors.Is(err, ErrTooManyCodes) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestRow39CodesAreCappedPerPersonNetworkAndAddress(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := mailService(t, d)
		from := func(ip string) context.Context {
			return audit.WithOrigin(context.Background(), audit.Origin{IP: netip.MustParseAddr(ip)})
		}
		posted := 0
		send := func(ctx context.Context, person, address string) error {
			_, err := s.SendMailCode(ctx, me, MailCode{person, MailConfirm, "a"}, MailTo{Typed: address}, func(context.Context, string, string, time.Duration) error {
				posted++
				return errors.New("the transaction fails, and still counts")
			})
			return err
		}
		refused := func(what string, err error, want bool) {
			t.Helper()
			if errors.Is(err, ErrTooManyCodes) != want {
				t.Errorf("%s: %v", what, err)
			}
		}
		for i := range 6 {
			refused(fmt.Sprintf("person, %d", i), send(from("192.0.2.1"), "p1", fmt.Sprintf("a%d@gmail.com", i)), i == 5)
		}
		if posted != 5 {
			t.Errorf("%d messages", posted)
		}
		for i := range 6 { // in any case of letters
			refused(fmt.Sprintf("address, %d", i), send(from(fmt.Sprintf("192.0.2.%d", 10+i)), fmt.Sprintf("q%d", i), []string{"Same@gmail.com", "same@GMAIL.com"}[i%2]), i == 5)
		}
		// Whose address it is gets codes still.
		withMail(t, s, "owner", "other@gmail.com")
		for i := range 5 {
			_ = send(from("192.0.2.77"), fmt.Sprintf("t%d", i), "other@gmail.com")
		}
		mailed(t, s, MailCode{"owner", MailSignIn, "f"}, MailTo{})
		// IPv6 by /64, as a subscriber has it; the next network is another's.
		for i := range 61 {
			refused(fmt.Sprintf("network, %d", i), send(from(fmt.Sprintf("2001:db8::%x", i+1)), fmt.Sprintf("n%d", i), fmt.Sprintf("n%d@gmail.com", i)), i == 60)
		}
		refused("another network", send(from("2001:db8:0:1::1"), "n100", "n100@gmail.com"), false)
		refused("the same, as an IPv4 mapped one", send(from("::ffff:192.0.2.1"), "p1", "z@gmail.com"), true)
		// An hour gives way, a day holds.
		for hour := 1; hour <= 3; hour++ {
			c.advance(time.Hour)
			for i := range 5 {
				refused(fmt.Sprintf("hour %d, %d", hour, i), send(from("192.0.2.1"), "p1", fmt.Sprintf("h%d-%d@gmail.com", hour, i)), hour == 3)
			}
		}
		c.advance(24 * time.Hour)
		refused("the next day", send(from("192.0.2.1"), "p1", "b@gmail.com"), false)
		if len(actions(t, s, "mfa.mailcode")) == 0 {
			t.Error("a refusal leaves no trace")
		}
	})
}

func TestCapsHoldForManyAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := mailService(t, d)
		ctx := audit.WithOrigin(context.Background(), audit.Origin{IP: netip.MustParseAddr("192.0.2.1")})
		var mu sync.Mutex
		sent := 0
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				_, err := s.SendMailCode(ctx, me, MailCode{"p1", MailConfirm, fmt.Sprint(i)}, MailTo{Typed: fmt.Sprintf("m%d@gmail.com", i)}, func(context.Context, string, string, time.Duration) error { return nil })
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					sent++
				} else if !errors.Is(err, ErrTooManyCodes) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if sent != 5 {
			t.Errorf("%d were sent", sent)
		}
	})
}

func TestAddressOfADisabledWayIsNotAskedFor(t *testing.T) {
	d := dbtest.Open(t, "sqlite")
	s, _ := mailService(t, d)
	withMail(t, s, "p1", "one@gmail.com")
	s.mailCodes.Enabled = false
	if h := held(t, s, "p1"); h[Mail] != 0 || h.Lasting() != 0 {
		t.Errorf("%v", h)
	}
	if err := useMail(s, MailCode{"p1", MailSignIn, "f"}, "00000000"); !errors.Is(err, ErrNoFactor) {
		t.Error(err)
	}
	if all, _ := s.Factors(context.Background(), "p1"); len(all) != 1 {
		t.Error("it cannot be removed")
	}
	for want, c := range map[string]MailCodeConfig{"own_domains: is needed": {Enabled: true}, `own_domains[0]: "academie"`: {OwnDomains: []string{"academie"}}} {
		if errs := c.Validate(); len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%v", errs)
		}
	}
}
