package mfa

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
)

var helper = audit.Person("h1", "helper")

// seeds of RFC 6238 appendix B, one for each hash.
var seeds = map[string]string{
	"SHA1":   "12345678901234567890",
	"SHA256": "12345678901234567890123456789012",
	"SHA512": "1234567890123456789012345678901234567890123456789012345678901234",
}

func b32(raw string) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(raw))
}

// spec is a key as a test imports it.
func spec(serial, algorithm, hash string, digits int) KeySpec {
	return KeySpec{Serial: serial, Algorithm: algorithm, Hash: hash, Digits: digits, Period: 30, Seed: []byte(seeds[hash])}
}

// given imports a key and hands it to the person.
func given(t *testing.T, s *Service, k KeySpec, person string) {
	t.Helper()
	ctx := context.Background()
	if err := s.AddKeys(ctx, helper, "lot", "0590002B", []KeySpec{k}); err != nil {
		t.Fatal(err)
	}
	for _, m := range []KeyMove{{Step: StepAssign, Person: person, Holder: "Paul", Reason: "new"}, {Step: StepHand, Reason: "in person"}} {
		if _, err := s.MoveKey(ctx, helper, k.Serial, m); err != nil {
			t.Fatal(err)
		}
	}
}

// shown is what the key shows at a position.
func shown(t *testing.T, k KeySpec, at int64) string {
	t.Helper()
	v, err := codeOf(b32(string(k.Seed)), at, otp.Digits(k.Digits), keyHashes[k.Hash])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func stepOf(c *clock, k KeySpec) int64 { return c.now().Unix() / int64(k.Period) }

// active is given, and activated with the PIN 2468.
func active(t *testing.T, s *Service, c *clock, k KeySpec, person string) {
	t.Helper()
	given(t, s, k, person)
	at := int64(0)
	if k.Algorithm == "TOTP" {
		at = stepOf(c, k)
	}
	if err := s.ActivateKey(context.Background(), me, person, k.Serial, "2468", "2468"+shown(t, k, at)); err != nil {
		t.Fatal(err)
	}
}

func TestCodesOfKeysAreThoseOfTheRFCs(t *testing.T) {
	for counter, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} { // RFC 4226 appendix D
		if got := shown(t, spec("K", "HOTP", "SHA1", 6), int64(counter)); got != want {
			t.Errorf("HOTP at %d: %s, want %s", counter, got, want)
		}
	}
	for at, want := range map[int64][3]string{ // RFC 6238 appendix B
		59:          {"94287082", "46119246", "90693936"},
		1111111109:  {"07081804", "68084774", "25091201"},
		1111111111:  {"14050471", "67062674", "99943326"},
		1234567890:  {"89005924", "91819424", "93441116"},
		2000000000:  {"69279037", "90698825", "38618901"},
		20000000000: {"65353130", "77737706", "47863826"},
	} {
		for i, hash := range []string{"SHA1", "SHA256", "SHA512"} {
			if got := shown(t, spec("K", "TOTP", hash, 8), at/30); got != want[i] {
				t.Errorf("TOTP %s at %d: %s, want %s", hash, at, got, want[i])
			}
		}
	}
}

// oathtool is Debian's, of the OATH Toolkit: it shares no line with us.
func oathtool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("oathtool", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("oathtool %v: %v %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestCodesOfOathtoolAreAccepted(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		enrolled(t, s, "app")
		now := "--now=" + c.now().Format("2006-01-02 15:04:05") + " UTC"
		if err := s.VerifyTOTP(ctx, "app", oathtool(t, "--totp", now, "--base32", sample)); err != nil {
			t.Errorf("an authenticator app's: %v", err)
		}
		n := 0
		for hash, seed := range seeds {
			for _, digits := range []int{6, 8} {
				n++
				k := spec(fmt.Sprintf("T%d", n), "TOTP", hash, digits)
				active(t, s, c, k, k.Serial)
				later := "--now=" + c.now().Add(30*time.Second).Format("2006-01-02 15:04:05") + " UTC"
				code := oathtool(t, "--totp="+strings.ToLower(hash), fmt.Sprintf("--digits=%d", digits), later, fmt.Sprintf("%x", seed))
				if err := s.VerifyKey(ctx, k.Serial, "2468"+code); err != nil {
					t.Errorf("TOTP %s %d: %v", hash, digits, err)
				}
				if hash != "SHA1" {
					continue // HOTP is SHA-1, RFC 4226
				}
				h := spec(fmt.Sprintf("H%d", n), "HOTP", hash, digits)
				active(t, s, c, h, h.Serial)
				code = oathtool(t, "--hotp", fmt.Sprintf("--digits=%d", digits), "--counter=1", fmt.Sprintf("%x", seed))
				if err := s.VerifyKey(ctx, h.Serial, "2468"+code); err != nil {
					t.Errorf("HOTP %d: %v", digits, err)
				}
			}
		}
	})
}

func TestCodeOfAKeyIsGoodOnceHoweverManyComeTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		for _, k := range []KeySpec{spec("T", "TOTP", "SHA256", 8), spec("H", "HOTP", "SHA1", 6)} {
			active(t, s, c, k, k.Serial)
			at := int64(3)
			if k.Algorithm == "TOTP" {
				at = stepOf(c, k) + 1
			}
			answer := "2468" + shown(t, k, at)
			var good, used atomic.Int64
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					switch err := s.VerifyKey(context.Background(), k.Serial, answer); {
					case err == nil:
						good.Add(1)
					case errors.Is(err, ErrUsedCode), errors.Is(err, ErrWrongCode):
						used.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			all.Wait()
			if good.Load() != 1 || used.Load() != 99 {
				t.Errorf("%s: %d accepted, %d refused", k.Algorithm, good.Load(), used.Load())
			}
		}
	})
}

func TestWrongPINAndWrongCodeLookAlike(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		k := spec("T", "TOTP", "SHA1", 6)
		active(t, s, c, k, "p1")
		next := shown(t, k, stepOf(c, k)+1)
		far := shown(t, k, stepOf(c, k)+40)
		for _, answer := range []string{"1357" + next, "2468" + "000000", next, "2468", "", "2468 " + next + "0", "0" + next, "1357" + far, strings.Repeat("9", 5000)} {
			if err := s.VerifyKey(context.Background(), "p1", answer); err != ErrWrongCode { //nolint:errorlint // the very same, with nothing more to learn
				t.Errorf("%.20q: %v", answer, err)
			}
		}
		if err := s.VerifyKey(context.Background(), "p2", "2468"+next); !errors.Is(err, ErrNoFactor) {
			t.Errorf("somebody else: %v", err)
		}
		if err := s.VerifyKey(context.Background(), "p1", " 2468-"+next[:3]+" "+next[3:]); err != nil {
			t.Errorf("with spaces: %v", err)
		}
	})
}

func TestCounterKeyThatWasPressedInAPocketComesBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		k := spec("H", "HOTP", "SHA1", 6)
		active(t, s, c, k, "p1") // counter 0 is spent
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 8)); err != nil {
			t.Fatalf("seven presses further: %v", err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 8)); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("again: %v", err)
		}
		err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 100))
		var next *NextCode
		if !errors.As(err, &next) || !errors.Is(err, ErrWrongCode) {
			t.Fatalf("far ahead: %v", err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 101)); err == nil {
			t.Fatal("one code far ahead is enough, although nobody noted the first")
		}
		if err := s.NoteAhead(ctx, next); err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 103)); err == nil {
			t.Fatal("a code that does not follow is taken")
		}
		if err := s.VerifyKey(ctx, "p1", "1357"+shown(t, k, 101)); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("the next code behind a wrong PIN: %v", err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 101)); err != nil {
			t.Fatalf("the next code: %v", err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 102)); err != nil {
			t.Fatalf("in step again: %v", err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 1000)); err != ErrWrongCode { //nolint:errorlint // not even ahead
			t.Fatalf("lost: %v", err)
		}
		err = s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 150))
		if !errors.As(err, &next) {
			t.Fatal(err)
		}
		_ = s.NoteAhead(ctx, next)
		c.advance(aheadLife)
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, 151)); err == nil {
			t.Fatal("the first code is remembered for ever")
		}
	})
}

func TestClockThatIsHalfAnHourWrongResynchronises(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		for _, off := range []int64{60, -60} {
			person := fmt.Sprint("p", off)
			k := spec("T"+fmt.Sprint(off), "TOTP", "SHA1", 6)
			active(t, s, c, k, person)
			there := func() int64 { return stepOf(c, k) + off }
			if err := s.ResyncKey(ctx, me, person, k.Serial, shown(t, k, there()), shown(t, k, there()+2), ""); !errors.Is(err, ErrWrongCode) {
				t.Fatalf("%+d: codes that do not follow: %v", off, err)
			}
			if err := s.ResyncKey(ctx, me, person, k.Serial, shown(t, k, there()), shown(t, k, there()+1), ""); err != nil {
				t.Fatalf("%+d: %v", off, err)
			}
			c.advance(60 * time.Second)
			if err := s.VerifyKey(ctx, person, "2468"+shown(t, k, there())); err != nil {
				t.Fatalf("%+d: after resynchronising: %v", off, err)
			}
			// The drift is remembered, and goes along slowly.
			c.advance(30 * time.Second)
			if err := s.VerifyKey(ctx, person, "2468"+shown(t, k, there()+1)); err != nil {
				t.Fatalf("%+d: one step further off: %v", off, err)
			}
			got, err := s.OTPKey(ctx, k.Serial)
			if err != nil || got.Drift != time.Duration(off+1)*30*time.Second {
				t.Fatalf("%+d: drift %v %v", off, got.Drift, err)
			}
			c.advance(30 * time.Second)
			if err := s.VerifyKey(ctx, person, "2468"+shown(t, k, there()+2)); err != nil {
				t.Fatalf("%+d: the window did not move along: %v", off, err)
			}
			if err := s.ResyncKey(ctx, me, person, k.Serial, shown(t, k, stepOf(c, k)+200), shown(t, k, stepOf(c, k)+201), ""); !errors.Is(err, ErrWrongCode) {
				t.Fatalf("beyond the bound: %v", err)
			}
			c.advance(time.Hour)
		}
	})
}

func TestKeySetBackDoesNotTakeAStepTwice(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		k := spec("T", "TOTP", "SHA1", 6)
		active(t, s, c, k, "p1")
		seen := stepOf(c, k) // typed when the key was activated
		if err := s.ResyncKey(ctx, me, "p1", "T", shown(t, k, seen-20), shown(t, k, seen-19), ""); err != nil {
			t.Fatal(err)
		}
		if err := s.ResyncKey(ctx, me, "p1", "T", shown(t, k, seen-20), shown(t, k, seen-19), ""); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("the same two codes again: %v", err)
		}
		c.advance(20 * 30 * time.Second) // the key, ten minutes late, shows what it showed when it was activated
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, seen)); !errors.Is(err, ErrUsedCode) {
			t.Fatalf("a step that was typed before: %v", err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, seen+1)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestForgottenPINIsRenewedWithTwoCodes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		k := spec("H", "HOTP", "SHA1", 6)
		active(t, s, c, k, "p1")
		if err := s.RenewPIN(ctx, me, "p1", "9753", shown(t, k, 5), shown(t, k, 6)); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("nobody took the PIN away: %v", err)
		}
		if _, err := s.MoveKey(ctx, helper, "H", KeyMove{Step: StepForget, Reason: "forgotten"}); err != nil {
			t.Fatal(err)
		}
		for _, answer := range []string{"2468" + shown(t, k, 1), shown(t, k, 1)} {
			if err := s.VerifyKey(ctx, "p1", answer); !errors.Is(err, ErrNewPIN) {
				t.Fatalf("%s: %v", answer, err)
			}
		}
		if err := s.RenewPIN(ctx, me, "p1", "9753", shown(t, k, 5), shown(t, k, 7)); !errors.Is(err, ErrWrongCode) {
			t.Fatal(err)
		}
		if err := s.RenewPIN(ctx, me, "p1", "9753", shown(t, k, 5), shown(t, k, 6)); err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyKey(ctx, "p1", "9753"+shown(t, k, 7)); err != nil {
			t.Fatal(err)
		}
		if err := s.ChangePIN(ctx, me, "p1", "H", "9753"+shown(t, k, 8), "aB12"); err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyKey(ctx, "p1", "9753"+shown(t, k, 9)); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("the old PIN: %v", err)
		}
		if err := s.VerifyKey(ctx, "p1", "Ab12"+shown(t, k, 10)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPINsThatAFinderWouldTryAreRefused(t *testing.T) {
	for pin, reason := range map[string]string{"123": "length", "123456789": "length", "1234": "easy", "9876": "easy", "0000": "easy", "abcd": "easy", "12é4": "signs", "": "length", "12_4": "signs"} {
		var no *ErrPIN
		if err := CheckKeyPIN(pin); !errors.As(err, &no) || no.Reason != reason {
			t.Errorf("%q: %v, want %s", pin, err, reason)
		}
	}
	for _, pin := range []string{"2468", "k3yn0t", " 13 57 ", "99999998"} {
		if err := CheckKeyPIN(pin); err != nil {
			t.Errorf("%q: %v", pin, err)
		}
	}
}

// The whole table: what does not stand here must be refused.
func TestEachStepOfAKeysLifeStartsWhereItMay(t *testing.T) {
	allowed := map[KeyStep]map[KeyState]KeyState{
		StepMove:       {KeyStock: KeyStock, KeyReturned: KeyReturned},
		StepAssign:     {KeyStock: KeyAssigned},
		StepUnassign:   {KeyAssigned: KeyStock},
		StepHand:       {KeyAssigned: KeyHanded},
		StepLend:       {KeyStock: KeyLoaned},
		StepActivate:   {KeyHanded: KeyActive, KeyLoaned: KeyActive},
		StepDeactivate: {KeyActive: KeyHanded},
		StepResync:     {KeyActive: KeyActive},
		StepPIN:        {KeyActive: KeyActive},
		StepForget:     {KeyActive: KeyActive},
		StepBlock:      {KeyHanded: KeyBlocked, KeyLoaned: KeyBlocked, KeyActive: KeyBlocked},
		StepUnblock:    {KeyBlocked: KeyHanded},
		StepLose:       {KeyAssigned: KeyLost, KeyHanded: KeyLost, KeyLoaned: KeyLost, KeyActive: KeyLost, KeyBlocked: KeyLost},
		StepReturn:     {KeyHanded: KeyReturned, KeyLoaned: KeyReturned, KeyActive: KeyReturned, KeyBlocked: KeyReturned, KeyLost: KeyReturned},
		StepRestock:    {KeyReturned: KeyStock},
		StepRetire: {KeyStock: KeyRetired, KeyAssigned: KeyRetired, KeyHanded: KeyRetired, KeyLoaned: KeyRetired, KeyActive: KeyRetired, KeyBlocked: KeyRetired, KeyLost: KeyRetired,
			KeyReturned: KeyRetired},
		StepImport: {}, "": {}, "delete": {},
	}
	for step := range keySteps {
		if allowed[step] == nil {
			t.Errorf("%s is not in the table of this test", step)
		}
	}
	for step, from := range allowed {
		for _, state := range append([]KeyState{"", "gone"}, KeyStates...) {
			got, err := AfterStep(state, step, false)
			want, may := from[state]
			var no *ErrKeyStep
			if may && (err != nil || got != want) || !may && !errors.As(err, &no) {
				t.Errorf("%s of a key that is %q: %q %v, want %q", step, state, got, err, want)
			}
		}
	}
	if got, err := AfterStep(KeyBlocked, StepUnblock, true); got != KeyActive || err != nil {
		t.Errorf("a key that was activated before it was blocked: %s %v", got, err)
	}
}

func TestLifeOfAKeyIsWrittenDown(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		var told []string
		s.OnChange(func(_ context.Context, ch Change) error {
			told = append(told, ch.What+" "+ch.Factor.Detail)
			return nil
		})
		ended := 0
		s.OnReset(func(context.Context, audit.Actor, string) error { ended++; return nil })
		k := spec("T1", "TOTP", "SHA1", 6)
		active(t, s, c, k, "p1")
		if held, err := s.Held(ctx, "p1"); err != nil || held[Key] != 1 || held.Lasting() != 1 {
			t.Fatalf("%v %v", held, err)
		}
		if list, err := s.Factors(ctx, "p1"); err != nil || len(list) != 1 || list[0].Kind != Key || list[0].Detail != "T1" {
			t.Fatalf("%+v %v", list, err)
		}
		if _, err := s.MoveKey(ctx, helper, "t1 ", KeyMove{Step: StepBlock}); !errors.Is(err, ErrKeyReason) {
			t.Fatalf("without a reason: %v", err)
		}
		if _, err := s.MoveKey(ctx, helper, "T1", KeyMove{Step: StepActivate, Reason: "x"}); err == nil {
			t.Fatal("a helper activates a key")
		}
		for _, step := range []KeyStep{StepBlock, StepUnblock} {
			if _, err := s.MoveKey(ctx, helper, "T1", KeyMove{Step: step, Reason: "seen elsewhere"}); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
		}
		if held, _ := s.Held(ctx, "p1"); held[Key] != 1 {
			t.Fatal("unblocked, and not active")
		}
		if err := s.LoseKey(ctx, me, "p2", "T1"); !errors.Is(err, db.ErrNotFound) {
			t.Fatalf("somebody else loses it: %v", err)
		}
		if err := s.LoseKey(ctx, me, "p1", "T1"); err != nil {
			t.Fatal(err)
		}
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, stepOf(c, k)+1)); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("a lost key signs in: %v", err)
		}
		for _, step := range []KeyStep{StepReturn, StepRetire} {
			if _, err := s.MoveKey(ctx, helper, "T1", KeyMove{Step: step, Reason: "found, broken"}); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
		}
		var seed string
		if err := d.QueryRow(ctx, "SELECT seed FROM mfa_key WHERE serial = 'T1'").Scan(&seed); err != nil || seed != "" {
			t.Fatalf("a retired key keeps its seed: %v", err)
		}
		life, err := s.KeyLife(ctx, "T1")
		steps := map[KeyStep]int{}
		for _, e := range life {
			steps[e.Step]++
		}
		if err != nil || len(life) != 9 || steps[StepImport] != 1 || steps[StepHand] != 1 || steps[StepActivate] != 1 || steps[StepLose] != 1 {
			t.Fatalf("%v %v", steps, err)
		}
		if got := strings.Join(told, ", "); got != "added T1, removed T1, added T1, removed T1" || ended != 1 {
			t.Fatalf("told %s; %d times ended", got, ended)
		}
		rows, err := audit.New(d, c.now).List(ctx, audit.Filter{Action: "key."})
		if err != nil || len(rows) != 9 {
			t.Fatalf("%d rows in the audit, %v", len(rows), err)
		}
		for _, r := range rows {
			if r.Actor.ID == "h1" && r.Action != "key.import" && r.Detail["reason"] == "" {
				t.Errorf("%s of a helper has no reason", r.Action)
			}
		}
	})
}

func TestResetTakesThePINAndLeavesTheKeyInTheInventory(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		k := spec("T", "TOTP", "SHA1", 6)
		active(t, s, c, k, "p1")
		if n, err := s.Reset(ctx, helper, "p1", "new telephone"); n != 1 || err != nil {
			t.Fatalf("%d %v", n, err)
		}
		got, err := s.OTPKey(ctx, "T")
		if err != nil || got.State != KeyHanded || got.Person != "p1" || got.HasPIN {
			t.Fatalf("%+v %v", got, err)
		}
		c.advance(time.Minute)
		if err := s.ActivateKey(ctx, me, "p1", "T", "1357", "1357"+shown(t, k, stepOf(c, k))); err != nil {
			t.Fatal(err)
		}
		if f, err := s.Remove(ctx, me, "p1", "T", ""); err != nil || f.Kind != Key {
			t.Fatalf("%+v %v", f, err)
		}
		if held, _ := s.Held(ctx, "p1"); held[Key] != 0 {
			t.Fatal("removed, and still a factor")
		}
	})
}

func TestLentKeyEndsByItself(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := service(t, d)
		ctx := context.Background()
		k := spec("T", "TOTP", "SHA1", 6)
		if err := s.AddKeys(ctx, helper, "lot", "", []KeySpec{k}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.MoveKey(ctx, helper, "T", KeyMove{Step: StepLend, Person: "p1", Reason: "forgot hers"}); !errors.Is(err, ErrKeyPerson) {
			t.Fatalf("lent without an end: %v", err)
		}
		if _, err := s.MoveKey(ctx, helper, "T", KeyMove{Step: StepLend, Person: "p1", Ends: c.now().Add(24 * time.Hour), Reason: "forgot hers"}); err != nil {
			t.Fatal(err)
		}
		c.advance(25 * time.Hour)
		var late *ErrKeyStep
		if err := s.ActivateKey(ctx, me, "p1", "T", "2468", "2468"+shown(t, k, stepOf(c, k))); !errors.As(err, &late) {
			t.Fatalf("activated after its end: %v", err)
		}
		c.advance(-25 * time.Hour)
		if err := s.ActivateKey(ctx, me, "p1", "T", "2468", "2468"+shown(t, k, stepOf(c, k))); err != nil {
			t.Fatal(err)
		}
		c.advance(25 * time.Hour)
		if err := s.VerifyKey(ctx, "p1", "2468"+shown(t, k, stepOf(c, k))); !errors.Is(err, ErrNoFactor) {
			t.Fatalf("after its end: %v", err)
		}
		if held, _ := s.Held(ctx, "p1"); held[Key] != 0 {
			t.Fatal("counted after its end")
		}
		if got, _ := s.OTPKey(ctx, "T"); !got.Overdue(c.now()) || !got.Until().Before(got.Ends) || got.Ends.Sub(got.Until()) > time.Second {
			t.Fatal("not overdue")
		}
	})
}

func TestTwoHelpersGiveAKeyOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		if err := s.AddKeys(context.Background(), helper, "lot", "", []KeySpec{spec("T", "TOTP", "SHA1", 6)}); err != nil {
			t.Fatal(err)
		}
		var good atomic.Int64
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				_, err := s.MoveKey(context.Background(), helper, "T", KeyMove{Step: StepAssign, Person: fmt.Sprint("p", i), Reason: "new"})
				var no *ErrKeyStep
				if err == nil {
					good.Add(1)
				} else if !errors.As(err, &no) && !errors.Is(err, ErrKeyMoved) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if good.Load() != 1 {
			t.Fatalf("given %d times", good.Load())
		}
	})
}

func TestRow33UnknownFilterOfKeysIsAnError(t *testing.T) {
	for _, q := range []string{"scholl=0590002B", "state=handy", "school=A&school=B", "state=stock&limit=5", "serial="} {
		v, _ := url.ParseQuery(q)
		f, err := ParseKeyFilter(v)
		if q == "serial=" {
			if err != nil || !f.Empty() {
				t.Errorf("%s: %+v %v", q, f, err)
			}
			continue
		}
		if !errors.Is(err, ErrKeyFilter) {
			t.Errorf("%s: %+v %v", q, f, err)
		}
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := service(t, d)
		ctx := context.Background()
		var list []KeySpec
		for i := range 30 {
			list = append(list, spec(fmt.Sprintf("A%02d", i), "TOTP", "SHA1", 6))
		}
		if err := s.AddKeys(ctx, helper, "lot-a", "0590001A", list); err != nil {
			t.Fatal(err)
		}
		if err := s.AddKeys(ctx, helper, "lot-b", "0590002B", []KeySpec{spec("B1", "TOTP", "SHA1", 6)}); err != nil {
			t.Fatal(err)
		}
		move := KeyMove{Step: StepMove, School: "0590003C", Reason: "the right school"}
		if err := s.MoveKeys(ctx, helper, KeyFilter{}, 31, move); !errors.Is(err, ErrKeyFilter) {
			t.Fatalf("without a filter: %v", err)
		}
		if err := s.MoveKeys(ctx, helper, KeyFilter{Of: []string{"0590001A"}}, 30, move); !errors.Is(err, ErrKeyFilter) {
			t.Fatalf("with a scope only: %v", err)
		}
		var count *ErrKeyCount
		if err := s.MoveKeys(ctx, helper, KeyFilter{Lot: "lot-a"}, 31, move); !errors.As(err, &count) || count.Now != 30 {
			t.Fatalf("another number than was confirmed: %v", err)
		}
		if _, err := s.MoveKey(ctx, helper, "A07", KeyMove{Step: StepAssign, Person: "p1", Reason: "new"}); err != nil {
			t.Fatal(err)
		}
		var no *ErrKeyStep
		if err := s.MoveKeys(ctx, helper, KeyFilter{Lot: "lot-a"}, 30, move); !errors.As(err, &no) {
			t.Fatalf("one of them is with a person: %v", err)
		}
		if n, _ := s.CountKeys(ctx, KeyFilter{School: "0590003C"}); n != 0 {
			t.Fatalf("%d moved, although one could not", n)
		}
		if err := s.MoveKeys(ctx, helper, KeyFilter{Lot: "lot-a", State: KeyStock}, 29, move); err != nil {
			t.Fatal(err)
		}
		if n, _ := s.CountKeys(ctx, KeyFilter{School: "0590003C"}); n != 29 {
			t.Fatalf("%d moved", n)
		}
		// A scope of no school sees nothing, and a serial is no pattern.
		for _, f := range []KeyFilter{{Of: []string{}}, {Serial: "%"}, {Serial: "A0%"}} {
			if list, err := s.Keys(ctx, f, "", 50); err != nil || len(list) != 0 {
				t.Errorf("%+v: %d keys, %v", f, len(list), err)
			}
		}
		stock, err := s.Stock(ctx, KeyFilter{})
		if err != nil || len(stock) != 3 || stock[0].All != 1 || stock[0].Count[KeyAssigned] != 1 {
			t.Fatalf("%+v %v", stock, err)
		}
	})
}

func TestKeysThatCouldComeBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := passkeyService(t, d)
		ctx := context.Background()
		given(t, s, spec("K1", "TOTP", "SHA1", 6), "p1") // uses a passkey
		given(t, s, spec("K2", "TOTP", "SHA1", 6), "p2") // made one, long ago
		given(t, s, spec("K3", "TOTP", "SHA1", 6), "p3") // has none; lent
		if err := s.AddKeys(ctx, helper, "lot", "0590002B", []KeySpec{spec("K4", "TOTP", "SHA1", 6)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.MoveKey(ctx, helper, "K4", KeyMove{Step: StepLend, Person: "p4", Holder: "Léa", Reason: "for a week", Ends: c.now().Add(7 * 24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		one, _ := register(t, s, "p1")
		two, _ := register(t, s, "p2")
		if _, err := prove(s, "p2", "flow", two.Get(ask(t, s, "p2", "flow"))); err != nil {
			t.Fatal(err)
		}
		since := c.now().Add(time.Second)
		c.advance(time.Minute)
		if _, err := prove(s, "p1", "flow", one.Get(ask(t, s, "p1", "flow"))); err != nil {
			t.Fatal(err)
		}
		serials := func(keys []OTPKey, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, k := range keys {
				all = append(all, k.Serial)
			}
			return strings.Join(all, " ")
		}
		if got := serials(s.KeysUnneeded(ctx, KeyFilter{}, since, 10)); got != "K1" {
			t.Errorf("unneeded: %q", got)
		}
		if got := serials(s.KeysUnneeded(ctx, KeyFilter{}, since.Add(-time.Hour), 10)); got != "K1 K2" {
			t.Errorf("unneeded for an hour: %q", got)
		}
		if got := serials(s.KeysUnneeded(ctx, KeyFilter{Of: []string{"0590001A"}}, since, 10)); got != "" {
			t.Errorf("of another school: %q", got)
		}
		if got := serials(s.KeysOverdue(ctx, KeyFilter{}, 10)); got != "" {
			t.Errorf("overdue before its day: %q", got)
		}
		c.advance(8 * 24 * time.Hour)
		if got := serials(s.KeysOverdue(ctx, KeyFilter{School: "0590002B"}, 10)); got != "K4" {
			t.Errorf("overdue: %q", got)
		}
		for _, serial := range []string{"K1", "K4"} {
			if _, err := s.MoveKey(ctx, helper, serial, KeyMove{Step: StepReturn, Reason: "back"}); err != nil {
				t.Fatal(err)
			}
		}
		if got := serials(s.KeysUnneeded(ctx, KeyFilter{}, since, 10)) + serials(s.KeysOverdue(ctx, KeyFilter{}, 10)); got != "" {
			t.Errorf("back in the drawer: %q", got)
		}
	})
}
