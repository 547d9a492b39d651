package helpdesk

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/mfa"
)

const (
	phraseLife  = 10 * time.Minute // from the person's page to the helper's ear
	phraseTries = 5
	verifiedFor = 15 * time.Minute // for this helper and this person
	guessWindow = 10 * time.Minute
	guessMost   = 10 // wrong phrases and codes of one helper in a window
	remarkLeast = 3
)

// words are those of phrases: French, short, written as they are heard.
//
//go:embed words.txt
var wordList string

var phraseWords = sync.OnceValue(func() []string { return strings.Fields(wordList) })

// Verification is how a helper made sure who is calling; zero when they have not.
type Verification struct {
	Way    string // ByPhrase, ByCode, ByCallback or InPerson
	Remark string
	At     time.Time
}

var (
	// ErrWrongPhrase says that the words, or the code, are not the person's of now.
	ErrWrongPhrase = errors.New("helpdesk: not the words of now")
	// ErrTooManyGuesses says that the helper has tried wrong words too often.
	ErrTooManyGuesses = errors.New("helpdesk: too many wrong words")
	// ErrRemark says that a way of verifying needs a word on how it was done.
	ErrRemark = errors.New("helpdesk: how was the caller verified?")
	// ErrWay says that this way of verifying is not taken here.
	ErrWay = errors.New("helpdesk: no such way of verifying")
)

func phrasePurpose(person string) string { return "helpdesk-phrase:" + person }

// NewPhrase makes the person's three words, in the place of any before, and
// returns them with their end. Only the person sees them.
func (d *Desk) NewPhrase(ctx context.Context, actor audit.Actor, person string) (phrase string, ends time.Time, err error) {
	all := phraseWords()
	var three []string
	for range 3 {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(all))))
		if err != nil {
			return "", ends, err
		}
		three = append(three, all[n.Int64()])
	}
	phrase, ends = strings.Join(three, " "), d.now().Add(phraseLife)
	err = d.db.InTx(ctx, func(ctx context.Context) error {
		_, err := d.db.Exec(ctx, `INSERT INTO helpdesk_phrase (person, phrase, created, ends, tries) VALUES ($1, $2, $3, $4, 0)
			ON CONFLICT (person) DO UPDATE SET phrase = excluded.phrase, created = excluded.created, ends = excluded.ends, tries = 0`,
			person, d.sealer.Seal(phrasePurpose(person), phrase), db.At(d.now()), db.At(ends))
		if err != nil {
			return err
		}
		return d.audit.Record(ctx, actor, audit.Event{Action: "helpdesk.phrase", Target: person, Outcome: "ok"})
	})
	if err != nil {
		return "", ends, fmt.Errorf("phrase of %s: %w", person, err)
	}
	return phrase, ends, nil
}

// Phrase is the person's phrase that still counts; empty when there is none.
func (d *Desk) Phrase(ctx context.Context, person string) (phrase string, ends time.Time, err error) {
	var sealed string
	var until db.Time
	err = d.db.QueryRow(ctx, "SELECT phrase, ends FROM helpdesk_phrase WHERE person = $1 AND ends > $2 AND tries < $3", person, db.At(d.now()), phraseTries).Scan(&sealed, &until)
	if errors.Is(err, db.ErrNotFound) {
		return "", ends, nil
	}
	if err == nil {
		phrase, err = d.sealer.Open(phrasePurpose(person), sealed)
	}
	if err != nil {
		return "", ends, fmt.Errorf("phrase of %s: %w", person, err)
	}
	return phrase, until.Time, nil
}

// Verify notes how the helper made sure that the caller is the person. said is
// the phrase or the code; remark, for the other ways, how it was done.
// ErrWrongPhrase, ErrTooManyGuesses, ErrRemark or ErrWay. Whether the helper
// serves the person is the caller's question.
func (d *Desk) Verify(ctx context.Context, h Helper, person, way, said, remark string) error {
	remark = strings.Join(strings.Fields(remark), " ")
	if !slices.Contains(d.ways(), way) {
		return ErrWay
	}
	var err error
	switch way {
	case ByPhrase:
		err = d.checkPhrase(ctx, h, person, said)
	case ByCode:
		err = d.guess(ctx, h, func() (bool, error) {
			err := d.codes.CheckCode(ctx, h.actor(), person, said)
			if errors.Is(err, mfa.ErrWrongCode) || errors.Is(err, mfa.ErrUsedCode) || errors.Is(err, mfa.ErrNoFactor) {
				return false, nil
			}
			return err == nil, err
		})
	default:
		if n := utf8.RuneCountInString(remark); n < remarkLeast || n > reasonMost {
			return ErrRemark
		}
	}
	if err != nil {
		if errors.Is(err, ErrWrongPhrase) || errors.Is(err, ErrTooManyGuesses) {
			d.audit.Refuse(ctx, h.actor(), audit.Event{Action: "helpdesk.verify", Target: person, Outcome: "refused", Detail: map[string]string{"way": way}})
		}
		return err
	}
	err = d.db.InTx(ctx, func(ctx context.Context) error {
		_, err := d.db.Exec(ctx, `INSERT INTO helpdesk_verified (helper, person, way, remark, at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (helper, person) DO UPDATE SET way = excluded.way, remark = excluded.remark, at = excluded.at`, h.id(), person, way, remark, db.At(d.now()))
		if err != nil {
			return err
		}
		detail := map[string]string{"way": way}
		if remark != "" {
			detail["remark"] = remark
		}
		return d.audit.Record(ctx, h.actor(), audit.Event{Action: "helpdesk.verify", Target: person, Outcome: "ok", Detail: detail})
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", person, err)
	}
	return nil
}

// ways are those that can be taken now.
func (d *Desk) ways() []string {
	return slices.DeleteFunc(slices.Clone(allWays), func(way string) bool {
		return !d.rules.Verifies(way) || way == ByCode && d.codes == nil
	})
}

// Verification is how the helper verified the caller, if that still counts.
func (d *Desk) Verification(ctx context.Context, h Helper, person string) (v Verification, err error) {
	var at db.Time
	err = d.db.QueryRow(ctx, "SELECT way, remark, at FROM helpdesk_verified WHERE helper = $1 AND person = $2 AND at > $3", h.id(), person, db.At(d.now().Add(-verifiedFor))).
		Scan(&v.Way, &v.Remark, &at)
	v.At = at.Time
	if errors.Is(err, db.ErrNotFound) {
		return Verification{}, nil
	}
	if err != nil {
		return Verification{}, fmt.Errorf("verification of %s: %w", person, err)
	}
	return v, nil
}

// guess runs check unless the helper has been wrong too often, and counts when
// it was wrong. No transaction: what is rolled back must still count.
func (d *Desk) guess(ctx context.Context, h Helper, check func() (bool, error)) error {
	var count int
	err := d.db.QueryRow(ctx, `INSERT INTO helpdesk_guess (helper, count, since) VALUES ($1, 1, $2)
		ON CONFLICT (helper) DO UPDATE SET
			count = CASE WHEN helpdesk_guess.since <= $3 THEN 1 ELSE helpdesk_guess.count + 1 END,
			since = CASE WHEN helpdesk_guess.since <= $3 THEN excluded.since ELSE helpdesk_guess.since END
		RETURNING count`, h.id(), db.At(d.now()), db.At(d.now().Add(-guessWindow))).Scan(&count)
	if err != nil {
		return fmt.Errorf("count guesses of %s: %w", h, err)
	}
	if count > guessMost {
		return ErrTooManyGuesses
	}
	right, err := check()
	if err != nil {
		return err
	}
	if !right {
		return ErrWrongPhrase
	}
	_, err = d.db.Exec(ctx, "DELETE FROM helpdesk_guess WHERE helper = $1", h.id())
	return err
}

// checkPhrase takes the phrase, once. Each try counts against the phrase too, so
// that several helpers, or one with several names, guess no more than one.
func (d *Desk) checkPhrase(ctx context.Context, h Helper, person, said string) error {
	return d.guess(ctx, h, func() (bool, error) {
		var sealed string
		err := d.db.QueryRow(ctx, "UPDATE helpdesk_phrase SET tries = tries + 1 WHERE person = $1 AND ends > $2 AND tries < $3 RETURNING phrase", person, db.At(d.now()), phraseTries).Scan(&sealed)
		if errors.Is(err, db.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("phrase of %s: %w", person, err)
		}
		phrase, err := d.sealer.Open(phrasePurpose(person), sealed)
		if err != nil {
			return false, fmt.Errorf("phrase of %s: %w", person, err)
		}
		if !secret.Equal(heardPhrase(said), phrase) {
			return false, nil
		}
		n, err := d.db.Exec(ctx, "DELETE FROM helpdesk_phrase WHERE person = $1 AND phrase = $2", person, sealed)
		return n == 1, err
	})
}

// heardPhrase is the phrase that was meant by what a helper typed: in any case
// and spacing, with commas or dashes.
func heardPhrase(said string) string {
	if len(said) > 200 {
		return ""
	}
	return strings.Join(strings.FieldsFunc(strings.ToLower(said), func(r rune) bool { return !('a' <= r && r <= 'z') }), " ")
}
