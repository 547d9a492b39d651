package mfa

import (
	"bytes"
	"context"
	"encoding/base32"
	"errors"
	"image/png"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/internal/secret"
)

const sample = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 23, 14, 5, 0, 0, time.UTC).Unix())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func service(t *testing.T, d *db.DB) (*Service, *clock) {
	t.Helper()
	c := newClock()
	return New(d, secret.NewSealer([32]byte{1}), audit.New(d, c.now), Config{Issuer: "Académie: Lille"}, c.now), c
}

var me = audit.Person("p1", "mdupont")

func code(t *testing.T, plain string, at time.Time) string {
	t.Helper()
	v, err := codeAt(plain, at.Unix()/period)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func enrolled(t *testing.T, s *Service, person string) {
	t.Helper()
	if err := s.Install(context.Background(), audit.System("test"), person, sample); err != nil {
		t.Fatal(err)
	}
}

func TestCodesAreThoseOfRFC6238(t *testing.T) {
	// Appendix B, SHA-1, the last six of eight digits.
	plain := base32.StdEncoding.EncodeToString([]byte("12345678901234567890"))
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got, err := CodeAt(" "+strings.ToLower(plain[:8])+" "+plain[8:], time.Unix(at, 0)); err != nil || got != want {
			t.Errorf("as it was noted down, at %d: %s %v, want %s", at, got, err, want)
		}
		if got := code(t, plain, time.Unix(at, 0)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

func TestCodeIsGoodOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		enrolled(t, s, "p1")
		v := code(t, sample, c.now())
		if err := s.VerifyTOTP(ctx, "p1", v); err != nil {
			t.Fatalf("first use: %v", err)
		}
		if err := s.VerifyTOTP(ctx, "p1", v); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("second use: %v", err)
		}
		// An earlier code, still within the skew, is spent with the later one.
		if err := s.VerifyTOTP(ctx, "p1", code(t, sample, c.now().Add(-period*time.Second))); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("earlier code after a later one: %v", err)
		}
		if err := s.VerifyTOTP(ctx, "p1", code(t, sample, c.now().Add(period*time.Second))); err != nil {
			t.Fatalf("the next code: %v", err)
		}
	})
}

func TestCodeIsGoodOnceHoweverManyComeTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		enrolled(t, s, "p1")
		v := code(t, sample, c.now())
		var good, used atomic.Int64
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				switch err := s.VerifyTOTP(context.Background(), "p1", v); {
				case err == nil:
					good.Add(1)
				case errors.Is(err, ErrUsedCode):
					used.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if good.Load() != 1 || used.Load() != 49 {
			t.Fatalf("%d accepted, %d refused as used", good.Load(), used.Load())
		}
	})
}

func TestCodeOfARolledBackSignInIsNotSpent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		enrolled(t, s, "p1")
		v := code(t, sample, c.now())
		broken := errors.New("broken")
		err := d.InTx(context.Background(), func(ctx context.Context) error {
			if err := s.VerifyTOTP(ctx, "p1", v); err != nil {
				t.Error(err)
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if err := s.VerifyTOTP(context.Background(), "p1", v); err != nil {
			t.Fatalf("after the roll-back: %v", err)
		}
	})
}

func TestOneStepOfSkewIsAcceptedAndNoMore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		for steps, want := range map[int]error{-2: ErrWrongCode, -1: nil, 0: nil, 1: nil, 2: ErrWrongCode} {
			person := string(rune('a' + steps + 2))
			enrolled(t, s, person)
			err := s.VerifyTOTP(context.Background(), person, code(t, sample, c.now().Add(time.Duration(steps)*period*time.Second)))
			if !errors.Is(err, want) {
				t.Errorf("%+d steps: %v, want %v", steps, err, want)
			}
		}
	})
}

func TestCodeMayBeWrittenAsAppsShowIt(t *testing.T) {
	s, c := service(t, dbtest.Open(t, "sqlite"))
	v := code(t, sample, c.now())
	for i, written := range []string{v[:3] + " " + v[3:], " " + v + "\t", v[:3] + "\u202f" + v[3:], v[:3] + "-" + v[3:]} {
		person := string(rune('a' + i))
		enrolled(t, s, person)
		if err := s.VerifyTOTP(context.Background(), person, written); err != nil {
			t.Errorf("%q: %v", written, err)
		}
	}
	enrolled(t, s, "z")
	for _, bad := range []string{"", "12345", "1234567", "abcdef", v + "1", "x" + v, strings.Repeat(v, 100)} {
		if err := s.VerifyTOTP(context.Background(), "z", bad); !errors.Is(err, ErrWrongCode) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOnlyTheOwnersFactorMakesTheCode(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		enrolled(t, s, "p1")
		if err := s.VerifyTOTP(ctx, "p2", code(t, sample, c.now())); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("a person without factor: %v", err)
		}
		// A row moved to another person in the database does not open.
		if _, err := d.Exec(ctx, "UPDATE mfa_factor SET person = 'p2' WHERE person = 'p1'"); err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyTOTP(ctx, "p2", code(t, sample, c.now())); !errors.Is(err, secret.ErrSeal) {
			t.Fatalf("a factor moved to another person: %v", err)
		}
	})
}

func TestSecretsRestSealed(t *testing.T) {
	s, _ := service(t, dbtest.Open(t, "sqlite"))
	ctx := context.Background()
	enrolled(t, s, "p1")
	e, err := s.BeginTOTP(ctx, "p2", "flow", "ssmith")
	if err != nil {
		t.Fatal(err)
	}
	var factor, pending string
	if err := s.db.QueryRow(ctx, "SELECT secret FROM mfa_factor").Scan(&factor); err != nil {
		t.Fatal(err)
	}
	if err := s.db.QueryRow(ctx, "SELECT secret FROM mfa_pending").Scan(&pending); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(factor, sample) || strings.Contains(pending, e.Secret) {
		t.Fatal("a secret stands in clear in the database")
	}
}

func TestEnrolmentShowsTheSameSecretAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		first, err := s.BeginTOTP(ctx, "p1", "flow1", "mdupont")
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.BeginTOTP(ctx, "p1", "flow1", "mdupont")
		if err != nil || again != first {
			t.Fatalf("reloaded: %v, %v", again, err)
		}
		other, err := s.BeginTOTP(ctx, "p1", "flow2", "mdupont")
		if err != nil || other.Secret == first.Secret {
			t.Fatalf("another attempt got the same secret (%v)", err)
		}
		c.advance(pendingLife)
		later, err := s.BeginTOTP(ctx, "p1", "flow1", "mdupont")
		if err != nil || later.Secret == first.Secret {
			t.Fatalf("a forgotten secret came back (%v)", err)
		}
	})
}

func TestParallelPagesOfAnAttemptShowOneSecret(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		var seen sync.Map
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				e, err := s.BeginTOTP(context.Background(), "p1", "flow", "mdupont")
				if err != nil {
					t.Error(err)
				}
				seen.Store(e.Secret, true)
			})
		}
		all.Wait()
		n := 0
		seen.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Fatalf("%d secrets", n)
		}
	})
}

func TestEnrolmentBecomesAFactorByItsFirstCode(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		e, err := s.BeginTOTP(ctx, "p1", "flow1", "mdupont")
		if err != nil {
			t.Fatal(err)
		}
		other, err := s.BeginTOTP(ctx, "p1", "flow2", "mdupont")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ConfirmTOTP(ctx, me, "p1", "flow1", "000000"); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("wrong code: %v", err)
		}
		v := code(t, e.Secret, c.now())
		if err := s.ConfirmTOTP(ctx, me, "p1", "flow2", v); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("the code of another attempt's secret: %v", err)
		}
		if err := s.ConfirmTOTP(ctx, me, "p1", "flow1", v); err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyTOTP(ctx, "p1", v); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("the code of the enrolment used again: %v", err)
		}
		if err := s.ConfirmTOTP(ctx, me, "p1", "flow2", code(t, other.Secret, c.now())); !errors.Is(err, ErrNotPending) {
			t.Fatalf("a second enrolment without the first factor: %v", err)
		}
		if _, err := s.BeginTOTP(ctx, "p1", "flow3", "mdupont"); err != nil {
			t.Fatal(err)
		}
		third, _ := s.BeginTOTP(ctx, "p1", "flow3", "mdupont")
		if err := s.ConfirmTOTP(ctx, me, "p1", "flow3", code(t, third.Secret, c.now())); !errors.Is(err, ErrNotPending) {
			t.Fatalf("a factor added without the one there is: %v", err)
		}
		if n, err := s.Count(ctx, "p1"); n != 1 || err != nil {
			t.Fatalf("%d factors, %v", n, err)
		}
	})
}

func TestEnrolmentExpires(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		e, err := s.BeginTOTP(ctx, "p1", "flow", "mdupont")
		if err != nil {
			t.Fatal(err)
		}
		c.advance(pendingLife)
		if err := s.ConfirmTOTP(ctx, me, "p1", "flow", code(t, e.Secret, c.now())); !errors.Is(err, ErrNotPending) {
			t.Fatalf("expired enrolment: %v", err)
		}
		if n, err := s.Sweep(ctx); n != 1 || err != nil {
			t.Fatalf("swept %d, %v", n, err)
		}
	})
}

func TestTwoConfirmationsAtOnceLeaveOneFactor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		codes := map[string]string{}
		for _, flow := range []string{"flow1", "flow2", "flow3"} {
			e, err := s.BeginTOTP(ctx, "p1", flow, "mdupont")
			if err != nil {
				t.Fatal(err)
			}
			codes[flow] = code(t, e.Secret, c.now())
		}
		var good atomic.Int64
		var all sync.WaitGroup
		for flow, v := range codes {
			all.Go(func() {
				err := s.ConfirmTOTP(ctx, me, "p1", flow, v)
				if err == nil {
					good.Add(1)
				} else if !errors.Is(err, ErrNotPending) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n, err := s.Count(ctx, "p1"); n != 1 || good.Load() != 1 || err != nil {
			t.Fatalf("%d factors, %d confirmed, %v", n, good.Load(), err)
		}
	})
}

func TestAddressOfAnEnrolmentIsOneThatAppsRead(t *testing.T) {
	s, _ := service(t, dbtest.Open(t, "sqlite"))
	e, err := s.BeginTOTP(context.Background(), "p1", "flow", "marie:dupont&x=1")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(e.URI)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" {
		t.Fatalf("%s: %v", e.URI, err)
	}
	if u.Path != "/Académie Lille:marie dupont&x=1" {
		t.Errorf("label %q", u.Path)
	}
	q := u.Query()
	if q.Get("secret") != e.Secret || q.Get("issuer") != "Académie Lille" {
		t.Errorf("parameters %v", q)
	}
	if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(e.Secret); err != nil || len(raw) != 20 {
		t.Errorf("secret %q: %v", e.Secret, err)
	}
	picture, err := e.QR()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
		t.Error(err)
	}
}

func TestResetLeavesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		var told []string
		s.OnReset(func(_ context.Context, actor audit.Actor, person string) error {
			told = append(told, actor.ID+" "+person)
			return nil
		})
		enrolled(t, s, "p1")
		enrolled(t, s, "p2")
		if _, err := s.BeginTOTP(ctx, "p1", "flow", "mdupont"); err != nil {
			t.Fatal(err)
		}
		helper := audit.Person("h1", "helper")
		if _, err := s.Reset(ctx, helper, "p1", ""); !errors.Is(err, ErrReason) {
			t.Fatalf("without a reason: %v", err)
		}
		if _, err := s.Reset(ctx, audit.Actor{}, "p1", "lost phone"); err == nil {
			t.Fatal("a reset without an actor")
		}
		if n, _ := s.Count(ctx, "p1"); n != 1 {
			t.Fatal("a refused reset removed the factor")
		}
		told = nil
		n, err := s.Reset(ctx, helper, "p1", "lost phone")
		if err != nil || n != 1 || len(told) != 1 || told[0] != "h1 p1" {
			t.Fatalf("%d, %v, told %v", n, err, told)
		}
		if err := s.VerifyTOTP(ctx, "p1", code(t, sample, c.now())); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("after the reset: %v", err)
		}
		if _, err := s.Code(ctx, "p1"); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("a pending enrolment outlived the reset: %v", err)
		}
		if n, _ := s.Count(ctx, "p2"); n != 1 {
			t.Fatal("another person's factor is gone")
		}
		rows, err := s.audit.List(ctx, audit.Filter{Action: "mfa.reset"})
		if err != nil || len(rows) != 1 || rows[0].Actor.ID != "h1" || rows[0].Target != "p1" || rows[0].Detail["reason"] != "lost phone" {
			t.Fatalf("audit %v, %v", rows, err)
		}
	})
}

func TestResetFailsWholeWhenAHookFails(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		broken := errors.New("sessions cannot be ended")
		s.OnReset(func(context.Context, audit.Actor, string) error { return broken })
		enrolled(t, s, "p1")
		if n, err := s.Reset(context.Background(), me, "p1", "lost phone"); n != 0 || !errors.Is(err, broken) {
			t.Fatalf("%d, %v", n, err)
		}
		if n, _ := s.Count(context.Background(), "p1"); n != 1 {
			t.Fatal("half a reset")
		}
	})
}

func TestSampleCodeIsTheNextThatIsAccepted(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		enrolled(t, s, "p1")
		enrolled(t, s, "p1") // a second start changes nothing
		if n, _ := s.Count(ctx, "p1"); n != 1 {
			t.Fatalf("%d factors", n)
		}
		for range 2 {
			v, err := s.Code(ctx, "p1")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.VerifyTOTP(ctx, "p1", v); err != nil {
				t.Fatal(err)
			}
		}
		_, err := s.Code(ctx, "p1")
		var notYet *NotYet
		if !errors.As(err, &notYet) {
			t.Fatalf("a third code at once: %v", err)
		}
		c.advance(notYet.Until.Sub(c.now()))
		v, err := s.Code(ctx, "p1")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyTOTP(ctx, "p1", v); err != nil {
			t.Fatalf("after waiting: %v", err)
		}

		e, err := s.BeginTOTP(ctx, "p2", "flow", "ssmith")
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Code(ctx, "p2"); err != nil || v != code(t, e.Secret, c.now()) {
			t.Fatalf("code of a pending enrolment: %s, %v", v, err)
		}
		if err := s.Install(ctx, me, "p3", "short"); err == nil {
			t.Fatal("a short secret was installed")
		}
	})
}
