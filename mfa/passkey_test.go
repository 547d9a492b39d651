package mfa

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/db/dbtest"
	"beffroi/mfa/mfatest"
)

const idOrigin = "https://id.example.fr"

func passkeyService(t *testing.T, d *db.DB) (*Service, *clock) {
	t.Helper()
	s, c := service(t, d)
	c.at.Store(time.Now().Unix()) // the library looks at the real clock as well
	if err := s.UsePasskeys(idOrigin, PasskeyConfig{}); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func enrolling(person, attempt string) Enrolling {
	return Enrolling{Person: person, Attempt: attempt, Login: "login-" + person, Name: "Name " + person, Actor: audit.Person(person, "login-"+person)}
}

func begin(t *testing.T, s *Service, e Enrolling) []byte {
	t.Helper()
	options, err := s.BeginPasskey(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// add finishes an enrolment.
func add(s *Service, e Enrolling, answer string) (Factor, error) {
	checked, err := s.CheckNewPasskey(context.Background(), e, answer)
	if err != nil {
		return Factor{}, err
	}
	return s.AddPasskey(context.Background(), checked)
}

func register(t *testing.T, s *Service, person string) (*mfatest.Authenticator, Factor) {
	t.Helper()
	a := mfatest.New(t, idOrigin)
	e := enrolling(person, "setup-"+person)
	f, err := add(s, e, a.Create(begin(t, s, e)))
	if err != nil {
		t.Fatal(err)
	}
	return a, f
}

func ask(t *testing.T, s *Service, person, attempt string) []byte {
	t.Helper()
	var options json.RawMessage
	var err error
	if person == "" {
		options, err = s.AskAnyPasskey(context.Background(), attempt, false)
	} else {
		options, err = s.AskPasskey(context.Background(), person, attempt)
	}
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// prove checks and uses an answer.
func prove(s *Service, person, attempt, answer string) (*PasskeyUse, error) {
	use, err := s.CheckPasskey(context.Background(), person, attempt, answer)
	if err != nil {
		return nil, err
	}
	return use, s.UsePasskey(context.Background(), use)
}

func TestPasskeyProvesItsOwner(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := passkeyService(t, d)
		ctx := context.Background()
		a, f := register(t, s, "p1")
		other, _ := register(t, s, "p2")

		held, err := s.Held(ctx, "p1")
		if err != nil || held[Passkey] != 1 || held.Lasting() != 1 {
			t.Fatal(held, err)
		}
		use, err := prove(s, "p1", "flow", a.Get(ask(t, s, "p1", "flow")))
		if err != nil || use.Person != "p1" || use.Factor != f.ID || !use.Verified || use.Attested {
			t.Fatalf("second factor: %+v %v", use, err)
		}
		c.advance(time.Minute)
		use, err = prove(s, "", "flow", a.Get(ask(t, s, "", "flow")))
		if err != nil || use.Person != "p1" {
			t.Fatalf("without a password: %+v %v", use, err)
		}
		use, err = prove(s, "", "flow2", other.Get(ask(t, s, "", "flow2")))
		if err != nil || use.Person != "p2" {
			t.Fatalf("the other one: %+v %v", use, err)
		}
		list, err := s.Factors(ctx, "p1")
		if err != nil || len(list) != 1 || list[0].Kind != Passkey || !list[0].Used.Equal(c.now()) {
			t.Fatal(list, err)
		}
	})
}

func TestUserVerificationIsThatOfTheAnswer(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		a, _ := register(t, s, "p1") // verified then
		unverified := func(v *mfatest.Answer) { v.Options.UserNotVerified = true }
		for i := range 2 {
			use, err := prove(s, "p1", "flow", a.Get(ask(t, s, "p1", "flow"), unverified))
			if err != nil || use.Verified {
				t.Fatalf("%d: as a second factor, a touch is enough and proves no more: %+v %v", i, use, err)
			}
		}
		if _, err := prove(s, "", "flow", a.Get(ask(t, s, "", "flow"), unverified)); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("without a password the authenticator must know its owner: %v", err)
		}
	})
}

// The lies of which each alone makes an answer worthless.
func lies(a *mfatest.Authenticator) map[string]mfatest.Lie {
	stranger := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
	rsa := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA)
	origin := func(o string) mfatest.Lie { return func(v *mfatest.Answer) { v.Client["origin"] = o } }
	return map[string]mfatest.Lie{
		"another origin":              origin("https://evil.example"),
		"an origin that ends alike":   origin("https://badid.example.fr"),
		"an origin that begins alike": origin("https://id.example.fr.evil.test"),
		"a domain below":              origin("https://a.id.example.fr"),
		"the domain above":            origin("https://example.fr"),
		"another port":                origin("https://id.example.fr:8443"),
		"the same port said":          origin("https://id.example.fr:443"),
		"without TLS":                 origin("http://id.example.fr"),
		"another case":                origin("https://ID.example.fr"),
		"a path":                      origin("https://id.example.fr/x"),
		"a user":                      origin("https://id.example.fr@evil.test"),
		"no origin":                   origin(""),
		"inside a frame of another":   func(v *mfatest.Answer) { v.Client["crossOrigin"] = true },
		"another relying party":       func(v *mfatest.Answer) { v.RPID = "evil.example" },
		"the relying party above":     func(v *mfatest.Answer) { v.RPID = "example.fr" },
		"the other type":              func(v *mfatest.Answer) { v.Client["type"] = "webauthn.other" },
		"another challenge":           func(v *mfatest.Answer) { v.Challenge = []byte("0123456789abcdef0123456789abcdef") },
		"no challenge":                func(v *mfatest.Answer) { v.Challenge = nil },
		"nobody present":              func(v *mfatest.Answer) { v.Options.UserNotPresent = true },
		"a state that cannot be":      func(v *mfatest.Answer) { v.Options.BackupState = true },
		"the key of another":          func(v *mfatest.Answer) { v.Credential.Key = stranger.Key },
		"another algorithm":           func(v *mfatest.Answer) { v.Credential.Key = rsa.Key },
		"a changed signature": func(v *mfatest.Answer) {
			v.Unsigned = func(body map[string]any) {
				r := body["response"].(map[string]any)
				r["clientDataJSON"] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(decode(r["clientDataJSON"]), "{", "{ ", 1)))
			}
		},
		"an id that is not the raw one": func(v *mfatest.Answer) {
			v.Unsigned = func(body map[string]any) { body["rawId"] = encode([]byte("another")) }
		},
		"not a public key": func(v *mfatest.Answer) {
			v.Unsigned = func(body map[string]any) { body["type"] = "password" }
		},
		"an extension nobody asked for": func(v *mfatest.Answer) {
			v.Unsigned = func(body map[string]any) { body["clientExtensionResults"] = map[string]any{"appid": true} }
		},
	}
}

func decode(text any) string {
	raw, _ := base64.RawURLEncoding.DecodeString(text.(string))
	return string(raw)
}

func TestRow04LiesOfAnAnswerAreRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		a, _ := register(t, s, "p1")
		other, _ := register(t, s, "p2")
		all := lies(a)
		all["another type: an enrolment's"] = func(v *mfatest.Answer) { v.Client["type"] = "webauthn.create" }
		all["it may be copied now"] = func(v *mfatest.Answer) { v.Options.BackupEligible = true }
		all["another person's handle"] = func(v *mfatest.Answer) { v.UserHandle = other.Options.UserHandle }
		all["a made-up handle"] = func(v *mfatest.Answer) { v.UserHandle = []byte("login-p1") }
		all["another person's credential"] = func(v *mfatest.Answer) { v.Credential, v.UserHandle = other.Credential, other.Options.UserHandle }
		all["another person's credential with this handle"] = func(v *mfatest.Answer) { v.Credential = other.Credential }
		all["a credential that nobody has"] = func(v *mfatest.Answer) { v.Credential.ID = []byte("0123456789abcdef") }
		for name, lie := range all {
			if _, err := prove(s, "p1", "flow", a.Get(ask(t, s, "p1", "flow"), lie)); !errors.Is(err, ErrWrongCode) {
				t.Errorf("as a second factor, %s: %v", name, err)
			}
			if name == "another person's credential" {
				continue // signs that person in, and is right
			}
			if _, err := prove(s, "", "flow", a.Get(ask(t, s, "", "flow"), lie)); !errors.Is(err, ErrWrongCode) {
				t.Errorf("without a password, %s: %v", name, err)
			}
		}
		noHandle := func(v *mfatest.Answer) { v.UserHandle = nil }
		if _, err := prove(s, "", "flow", a.Get(ask(t, s, "", "flow"), noHandle)); !errors.Is(err, ErrWrongCode) {
			t.Errorf("without a password and without a handle: %v", err)
		}
		for _, answer := range []string{"", "{}", "null", "[]", `{"id":"","rawId":""}`, strings.Repeat("a", 1<<17), strings.Repeat(`{"a":`, 5000)} {
			ask(t, s, "p1", "flow")
			if _, err := prove(s, "p1", "flow", answer); !errors.Is(err, ErrWrongCode) {
				t.Errorf("%.20q: %v", answer, err)
			}
		}
		if _, err := prove(s, "p1", "flow", a.Get(ask(t, s, "p1", "flow"))); err != nil {
			t.Errorf("and the truth is taken: %v", err)
		}
	})
}

func TestRow04LiesOfAnEnrolmentAreRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		a := mfatest.New(t, idOrigin)
		e := enrolling("p1", "flow")
		all := lies(a)
		all["another type: an answer's"] = func(v *mfatest.Answer) { v.Client["type"] = "webauthn.get" }
		// These make another credential, which is nobody's yet.
		delete(all, "the key of another")
		delete(all, "another algorithm")
		for name, lie := range all {
			if _, err := add(s, e, a.Create(begin(t, s, e), lie)); !errors.Is(err, ErrWrongCode) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if held, _ := s.Held(context.Background(), "p1"); held[Passkey] != 0 {
			t.Fatal("a lie was kept")
		}
		answer := a.Create(begin(t, s, e))
		if _, err := add(s, e, answer); err != nil {
			t.Fatalf("and the truth is taken: %v", err)
		}
		if _, err := add(s, e, answer); !errors.Is(err, ErrNotPending) {
			t.Fatalf("again: %v", err)
		}
	})
}

func TestRow04AChallengeIsGoodOnceAndWhereItWasMade(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := passkeyService(t, d)
		a, _ := register(t, s, "p1")
		b, _ := register(t, s, "p2")

		answer := a.Get(ask(t, s, "p1", "flow"))
		if _, err := prove(s, "p1", "flow", answer); err != nil {
			t.Fatal(err)
		}
		if _, err := prove(s, "p1", "flow", answer); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the same answer again: %v", err)
		}
		ask(t, s, "p1", "flow")
		if _, err := prove(s, "p1", "flow", answer); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the same answer to the next challenge: %v", err)
		}

		options := ask(t, s, "p1", "flow")
		ask(t, s, "p1", "other")
		if _, err := prove(s, "p1", "other", a.Get(options)); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the challenge of another flow: %v", err)
		}
		ask(t, s, "", "flow")
		if _, err := prove(s, "", "flow", a.Get(ask(t, s, "p1", "flow"))); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the challenge of a second factor, without a password: %v", err)
		}
		if _, err := prove(s, "p1", "flow", a.Get(ask(t, s, "", "flow"))); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the challenge of a sign-in, as a second factor: %v", err)
		}
		ask(t, s, "p1", "flow")
		if _, err := prove(s, "p1", "flow", b.Get(ask(t, s, "p2", "flow"))); !errors.Is(err, ErrWrongCode) {
			t.Errorf("the challenge of another person in the same flow: %v", err)
		}
		wrong := a.Get(ask(t, s, "p1", "flow"), func(v *mfatest.Answer) { v.Client["origin"] = "https://evil.test" })
		_, _ = prove(s, "p1", "flow", wrong)
		if _, err := prove(s, "p1", "flow", answer); !errors.Is(err, ErrWrongCode) {
			t.Errorf("a challenge after a wrong answer: %v", err)
		}

		answer = a.Get(ask(t, s, "p1", "flow"))
		c.advance(passkeyTime)
		if _, err := prove(s, "p1", "flow", answer); !errors.Is(err, ErrWrongCode) {
			t.Errorf("too late: %v", err)
		}
		e := enrolling("p1", "flow")
		options = begin(t, s, e)
		if _, err := add(s, enrolling("p1", "other"), mfatest.New(t, idOrigin).Create(options)); !errors.Is(err, ErrNotPending) {
			t.Errorf("an enrolment of another flow: %v", err)
		}
		if _, err := add(s, enrolling("p2", "flow"), mfatest.New(t, idOrigin).Create(options)); !errors.Is(err, ErrNotPending) {
			t.Errorf("an enrolment of another person: %v", err)
		}
		c.advance(passkeyTime)
		if _, err := add(s, e, mfatest.New(t, idOrigin).Create(options)); !errors.Is(err, ErrNotPending) {
			t.Errorf("an enrolment too late: %v", err)
		}
		if n, err := s.Sweep(context.Background()); err != nil || n == 0 {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

func TestRow04ACredentialBelongsToOnePerson(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		a, _ := register(t, s, "p1")
		e := enrolling("p1", "again")
		options := begin(t, s, e)
		excluded := virtualwebauthn.Credential{ID: a.Credential.ID}
		o, err := virtualwebauthn.ParseAttestationOptions(string(options))
		if err != nil || !excluded.IsExcludedForAttestation(*o) {
			t.Errorf("the person's own is not excluded: %v", err)
		}
		if _, err := add(s, e, a.Create(options)); !errors.Is(err, ErrKnownPasskey) {
			t.Errorf("the same again, whatever the browser did: %v", err)
		}
		thief := mfatest.New(t, idOrigin)
		thief.Credential.ID = a.Credential.ID
		e = enrolling("p2", "theft")
		if _, err := add(s, e, thief.Create(begin(t, s, e))); !errors.Is(err, ErrKnownPasskey) {
			t.Errorf("another person with the same credential: %v", err)
		}
		if use, err := prove(s, "", "flow", a.Get(ask(t, s, "", "flow"))); err != nil || use.Person != "p1" {
			t.Errorf("and it is still its owner's: %+v %v", use, err)
		}
		// At the same time: one of them.
		var added atomic.Int64
		var all sync.WaitGroup
		shared := mfatest.New(t, idOrigin)
		for _, p := range []string{"q1", "q2", "q3", "q4"} {
			e := enrolling(p, "together "+p)
			answer := shared.Create(begin(t, s, e))
			all.Go(func() {
				switch _, err := add(s, e, answer); {
				case err == nil:
					added.Add(1)
				case !errors.Is(err, ErrKnownPasskey):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if added.Load() != 1 {
			t.Errorf("%d people hold one credential", added.Load())
		}
	})
}

func TestRow04ACounterThatGoesBackIsRefusedAndAudited(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		a := mfatest.New(t, idOrigin)
		a.Credential.Counter = 5
		e := enrolling("p1", "setup")
		if _, err := add(s, e, a.Create(begin(t, s, e))); err != nil {
			t.Fatal(err)
		}
		if _, err := prove(s, "p1", "flow", a.Get(ask(t, s, "p1", "flow"))); err != nil { // 6
			t.Fatal(err)
		}
		for _, counter := range []uint32{6, 5, 0} {
			back := func(v *mfatest.Answer) { v.Credential.Counter = counter }
			for _, person := range []string{"p1", ""} {
				if _, err := prove(s, person, "flow", a.Get(ask(t, s, person, "flow"), back)); !errors.Is(err, ErrWrongCode) {
					t.Errorf("%d after 6: %v", counter, err)
				}
			}
		}
		rows, err := s.audit.List(context.Background(), audit.Filter{Action: "mfa.clone"})
		if err != nil || len(rows) != 6 || rows[0].Target != "p1" || rows[0].Outcome != "refused" || rows[0].Detail["before"] != "6" {
			t.Fatal(rows, err)
		}
		// Two of the same, looked at together: the first that is kept wins.
		a.Credential.Counter = 20
		twin := *a
		one, err := s.CheckPasskey(context.Background(), "p1", "flow1", a.Get(ask(t, s, "p1", "flow1")))
		if err != nil {
			t.Fatal(err)
		}
		two, err := s.CheckPasskey(context.Background(), "p1", "flow2", twin.Get(ask(t, s, "p1", "flow2")))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.UsePasskey(context.Background(), one); err != nil {
			t.Fatal(err)
		}
		if err := s.UsePasskey(context.Background(), two); !errors.Is(err, ErrWrongCode) {
			t.Fatalf("the twin: %v", err)
		}
	})
}

func TestRow04OneOfManyEqualAnswersWins(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		a, _ := register(t, s, "p1")
		for _, person := range []string{"p1", ""} {
			answer := a.Get(ask(t, s, person, "flow"))
			var good, refused atomic.Int64
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					switch _, err := prove(s, person, "flow", answer); {
					case err == nil:
						good.Add(1)
					case errors.Is(err, ErrWrongCode):
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			all.Wait()
			if good.Load() != 1 || refused.Load() != 49 {
				t.Fatalf("%q: %d accepted, %d refused", person, good.Load(), refused.Load())
			}
		}
	})
}

func TestPasskeysAreNamedRenamedAndRemoved(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := passkeyService(t, d)
		ctx := context.Background()
		var told []string
		s.OnChange(func(_ context.Context, c Change) error {
			told = append(told, c.What+" "+c.Factor.Name)
			return nil
		})
		var ids []string
		for range 2 {
			a := mfatest.New(t, idOrigin)
			a.Aaguid = [16]byte{0xcb, 0x69, 0x48, 0x1e, 0x8f, 0xf7, 0x40, 0x39, 0x93, 0xec, 0x0a, 0x27, 0x29, 0xa1, 0x54, 0xa8}
			e := enrolling("p1", "flow")
			f, err := add(s, e, a.Create(begin(t, s, e)))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, f.ID)
			c.advance(time.Second)
		}
		if _, err := s.Rename(ctx, me, "p1", ids[1], "  Clé\tdu  bureau\u202e "+strings.Repeat("é", 100)); err != nil {
			t.Fatal(err)
		}
		list, err := s.Factors(ctx, "p1")
		if err != nil || len(list) != 2 || list[0].Name != "YubiKey 5" || !strings.HasPrefix(list[1].Name, "Clé du bureau éé") || len([]rune(list[1].Name)) != maxName || list[1].Detail != "YubiKey 5" {
			t.Fatalf("%+v %v", list, err)
		}
		if _, err := s.Rename(ctx, me, "p1", ids[0], " \u200b "); !errors.Is(err, ErrName) {
			t.Error(err)
		}
		for _, person := range []string{"p2", ""} {
			if _, err := s.Rename(ctx, me, person, ids[0], "x"); !errors.Is(err, db.ErrNotFound) {
				t.Errorf("another's: %v", err)
			}
			if _, err := s.Remove(ctx, me, person, ids[0], ""); !errors.Is(err, db.ErrNotFound) {
				t.Errorf("another's: %v", err)
			}
		}
		accepted, err := s.Accepted(ctx, "p1")
		if err != nil || strings.Count(string(accepted), `","`) < 1 || !strings.Contains(string(accepted), `"rpId":"id.example.fr"`) {
			t.Fatal(string(accepted), err)
		}
		if gone, err := s.Remove(ctx, me, "p1", ids[0], ""); err != nil || gone.Name != "YubiKey 5" || gone.Kind != Passkey {
			t.Fatal(gone, err)
		}
		if n, err := s.Reset(ctx, me, "p1", "lost"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if list, _ := s.Factors(ctx, "p1"); len(list) != 0 {
			t.Fatal(list)
		}
		if len(told) != 5 || told[0] != "added YubiKey 5" || told[1] != "added YubiKey 5 (2)" || told[3] != "removed YubiKey 5" {
			t.Fatal(told)
		}
	})
}

func TestARemovedPasskeyProvesNothingAnyMore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		ctx := context.Background()
		a, f := register(t, s, "p1")
		use, err := s.CheckPasskey(ctx, "p1", "flow", a.Get(ask(t, s, "p1", "flow")))
		if err != nil {
			t.Fatal(err)
		}
		signIn := a.Get(ask(t, s, "", "flow"))
		if _, err := s.Remove(ctx, me, "p1", f.ID, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.UsePasskey(ctx, use); !errors.Is(err, ErrWrongCode) {
			t.Errorf("checked before, used after: %v", err)
		}
		if _, err := prove(s, "", "flow", signIn); !errors.Is(err, ErrWrongCode) {
			t.Errorf("asked before: %v", err)
		}
		if _, err := s.AskPasskey(ctx, "p1", "flow"); !errors.Is(err, ErrNoFactor) {
			t.Errorf("nothing to ask for: %v", err)
		}
	})
}

func TestAFirstPasskeyIsTheFirst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := passkeyService(t, d)
		first := enrolling("p1", "flow")
		first.First = true
		checked, err := s.CheckNewPasskey(context.Background(), first, mfatest.New(t, idOrigin).Create(begin(t, s, first)))
		if err != nil {
			t.Fatal(err)
		}
		enrolled(t, s, "p1") // meanwhile, elsewhere
		if _, err := s.AddPasskey(context.Background(), checked); !errors.Is(err, ErrNotPending) {
			t.Fatal(err)
		}
		e := enrolling("p2", "flow")
		for range maxPasskeys {
			if _, err := add(s, e, mfatest.New(t, idOrigin).Create(begin(t, s, e))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.BeginPasskey(context.Background(), e); !errors.Is(err, ErrTooMany) {
			t.Fatal(err)
		}
	})
}

func TestOnlyAMakerThatIsBelievedVouches(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, c := passkeyService(t, d)
		model := [16]byte{0xcb, 0x69, 0x48, 0x1e, 0x8f, 0xf7, 0x40, 0x39, 0x93, 0xec, 0x0a, 0x27, 0x29, 0xa1, 0x54, 0xa8}
		const allowed, other = "cb69481e-8ff7-4039-93ec-0a2729a154a8", "ee882879-721c-4913-9775-3dfcce97072a"
		maker, forger := mfatest.NewMaker(t, model, c.now()), mfatest.NewMaker(t, model, c.now())
		file := filepath.Join(t.TempDir(), "roots.pem")
		if err := os.WriteFile(file, maker.Root, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := PasskeyConfig{Attestation: "direct", RootsFile: file}
		if errs := cfg.Validate(); len(errs) > 0 {
			t.Fatal(errs)
		}
		if err := s.UsePasskeys(idOrigin, cfg); err != nil {
			t.Fatal(err)
		}
		try := func(models []string, by *mfatest.Maker, aaguid [16]byte) (Factor, *PasskeyUse, error) {
			a := mfatest.New(t, idOrigin)
			a.Maker, a.Aaguid = by, aaguid
			e := enrolling("p1", "flow")
			e.Models = models
			options := begin(t, s, e)
			if !strings.Contains(string(options), `"attestation":"direct"`) {
				t.Fatal(string(options))
			}
			f, err := add(s, e, a.Create(options))
			if err != nil {
				return f, nil, err
			}
			use, err := prove(s, "p1", "flow", a.Get(ask(t, s, "p1", "flow")))
			if _, gone := s.Remove(context.Background(), me, "p1", f.ID, ""); gone != nil {
				t.Fatal(gone)
			}
			return f, use, err
		}
		for name, v := range map[string]struct {
			models   []string
			by       *mfatest.Maker
			aaguid   [16]byte
			attested bool
			err      error
		}{
			"its maker vouches":                      {nil, maker, model, true, nil},
			"a maker that nobody knows":              {nil, forger, model, false, nil},
			"it speaks for itself":                   {nil, nil, model, false, nil},
			"its maker vouches for another model":    {nil, maker, [16]byte{1}, false, ErrWrongCode},
			"one of the models that may":             {[]string{other, strings.ToUpper(allowed)}, maker, model, true, nil},
			"none of the models that may":            {[]string{other}, maker, model, false, ErrModel},
			"may, says a maker that nobody knows":    {[]string{allowed}, forger, model, false, ErrModel},
			"may, says itself":                       {[]string{allowed}, nil, model, false, ErrModel},
			"says no model where only some may":      {[]string{allowed}, nil, [16]byte{}, false, ErrModel},
			"says no model where any may":            {nil, nil, [16]byte{}, false, nil},
			"a rule that names nothing but nonsense": {[]string{"x"}, maker, model, false, ErrModel},
		} {
			_, use, err := try(v.models, v.by, v.aaguid)
			if !errors.Is(err, v.err) || err == nil && (use.Attested != v.attested || use.AAGUID == "") {
				t.Errorf("%s: %+v %v", name, use, err)
			}
		}
		cfg.AAGUIDs = []string{other}
		if err := s.UsePasskeys(idOrigin, cfg); err != nil {
			t.Fatal(err)
		}
		if _, _, err := try(nil, maker, model); !errors.Is(err, ErrModel) {
			t.Errorf("none of the configuration's: %v", err)
		}
		if names := s.AllowedModels(nil); len(names) != 1 || names[0] != "YubiKey 5" {
			t.Error(names)
		}
	})
}

func TestPasskeyConfigSaysEveryMistake(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	errs := PasskeyConfig{Attestation: "indirect", RootsFile: empty, AAGUIDs: []string{"x", "00000000-0000-0000-0000-000000000000"}, Origins: []string{"https://id.example.fr/", "http://id.example.fr"}}.Validate()
	if len(errs) != 7 {
		t.Errorf("%d: %v", len(errs), errors.Join(errs...))
	}
	if errs := (PasskeyConfig{Attestation: "direct", AAGUIDs: []string{"cb69481e-8ff7-4039-93ec-0a2729a154a8"}}).Validate(); len(errs) != 1 {
		t.Error(errs)
	}
	s, _ := service(t, dbtest.Open(t, "sqlite"))
	for origin, want := range map[string]bool{"http://127.0.0.1:8080": false, "http://[::1]:8080": false, "http://localhost:8080": true, "https://ID.example.fr": true} {
		s.passkeys = nil
		if err := s.UsePasskeys(origin, PasskeyConfig{}); err != nil || s.Passkeys() != want {
			t.Errorf("%s: %v %v", origin, s.Passkeys(), err)
		}
	}
	if err := s.UsePasskeys(idOrigin, PasskeyConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := s.UsePasskeys(idOrigin, PasskeyConfig{Origins: []string{"https://badid.example.fr"}}); err == nil {
		t.Error("an origin beside the host was taken")
	}
	if _, err := s.AskAnyPasskey(context.Background(), "flow", true); err != nil {
		t.Error(err)
	}
}
