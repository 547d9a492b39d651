package mfa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// KeyStep is something that happens to a key.
type KeyStep string

const (
	StepImport     KeyStep = "import"     // it came with a file
	StepMove       KeyStep = "move"       // to a school, or back to the academy
	StepAssign     KeyStep = "assign"     // meant for a person
	StepUnassign   KeyStep = "unassign"   // after all not
	StepHand       KeyStep = "hand"       // given into the person's hands, against a receipt
	StepLend       KeyStep = "lend"       // given for a while
	StepActivate   KeyStep = "activate"   // the person chose a PIN and typed a first code
	StepDeactivate KeyStep = "deactivate" // no longer a factor, still in the person's hands
	StepResync     KeyStep = "resync"     // two codes told where the key is
	StepPIN        KeyStep = "pin"        // a new PIN
	StepForget     KeyStep = "forget"     // the PIN is forgotten: the person chooses a new one at the next sign-in
	StepBlock      KeyStep = "block"
	StepUnblock    KeyStep = "unblock"
	StepLose       KeyStep = "lose"
	StepReturn     KeyStep = "return"
	StepRestock    KeyStep = "restock" // looked at, may be given again
	StepRetire     KeyStep = "retire"
)

// keySteps is the life of a key: from where each step leads where. What does
// not stand here does not happen. Unblocking an activated key leads to active.
var keySteps = map[KeyStep]struct {
	from []KeyState
	to   KeyState // empty: stays as it is
}{
	StepMove:       {[]KeyState{KeyStock, KeyReturned}, ""},
	StepAssign:     {[]KeyState{KeyStock}, KeyAssigned},
	StepUnassign:   {[]KeyState{KeyAssigned}, KeyStock},
	StepHand:       {[]KeyState{KeyAssigned}, KeyHanded},
	StepLend:       {[]KeyState{KeyStock}, KeyLoaned},
	StepActivate:   {[]KeyState{KeyHanded, KeyLoaned}, KeyActive},
	StepDeactivate: {[]KeyState{KeyActive}, KeyHanded},
	StepResync:     {[]KeyState{KeyActive}, ""},
	StepPIN:        {[]KeyState{KeyActive}, ""},
	StepForget:     {[]KeyState{KeyActive}, ""},
	StepBlock:      {[]KeyState{KeyHanded, KeyLoaned, KeyActive}, KeyBlocked},
	StepUnblock:    {[]KeyState{KeyBlocked}, KeyHanded},
	StepLose:       {[]KeyState{KeyAssigned, KeyHanded, KeyLoaned, KeyActive, KeyBlocked}, KeyLost},
	StepReturn:     {[]KeyState{KeyHanded, KeyLoaned, KeyActive, KeyBlocked, KeyLost}, KeyReturned},
	StepRestock:    {[]KeyState{KeyReturned}, KeyStock},
	StepRetire:     {[]KeyState{KeyStock, KeyAssigned, KeyHanded, KeyLoaned, KeyActive, KeyBlocked, KeyLost, KeyReturned}, KeyRetired},
}

// ErrKeyStep says that a key cannot take a step where it is.
type ErrKeyStep struct {
	Step  KeyStep
	State KeyState
}

func (e *ErrKeyStep) Error() string {
	return fmt.Sprintf("mfa: no %s of a key that is %s", e.Step, e.State)
}

// AfterStep is the state that a step leads to. hasPIN: the key was activated.
func AfterStep(state KeyState, step KeyStep, hasPIN bool) (KeyState, error) {
	rule, known := keySteps[step]
	if !known || !slices.Contains(rule.from, state) {
		return "", &ErrKeyStep{step, state}
	}
	switch {
	case rule.to == "":
		return state, nil
	case step == StepUnblock && hasPIN:
		return KeyActive, nil
	}
	return rule.to, nil
}

// helperSteps are those that somebody takes for the person or for the stock,
// in the order in which pages offer them; the others are the person's own.
var helperSteps = []KeyStep{StepAssign, StepLend, StepHand, StepUnassign, StepMove, StepForget, StepUnblock, StepBlock, StepLose, StepReturn, StepRestock, StepRetire}

// StepsOf are the steps that a helper may take with a key as it is.
func StepsOf(k OTPKey) (steps []KeyStep) {
	for _, step := range helperSteps {
		if _, err := AfterStep(k.State, step, k.HasPIN); err == nil {
			steps = append(steps, step)
		}
	}
	return steps
}

// KeyMove is a step with what it needs.
type KeyMove struct {
	Step   KeyStep
	Reason string
	School string    // StepMove: where to; empty is the academy's own stock
	Person string    // StepAssign, StepLend: whose
	Holder string    // that person's name
	Ends   time.Time // StepLend

	pin string // StepActivate, StepPIN: sealed
}

var (
	// ErrKeyReason says that a step was asked for without telling why.
	ErrKeyReason = errors.New("mfa: a step in a key's life needs a reason")
	// ErrKeyPerson says that a key was to be given without saying to whom, or
	// lent without an end.
	ErrKeyPerson = errors.New("mfa: whose key, and until when?")
	// ErrKeyMoved says that somebody else was faster: the key is no longer as it
	// was read.
	ErrKeyMoved = errors.New("mfa: the key changed meanwhile")
)

// ErrKeyCount says that a mass action would touch another number of keys than
// was confirmed.
type ErrKeyCount struct{ Confirmed, Now int }

func (e *ErrKeyCount) Error() string {
	return fmt.Sprintf("mfa: %d keys were confirmed, %d would be touched", e.Confirmed, e.Now)
}

// MoveKey takes one step with one key, on behalf of a helper: whether they may
// is the caller's question. One transaction with its audit row. *ErrKeyStep
// when the key cannot take it, db.ErrNotFound when there is no such key.
func (s *Service) MoveKey(ctx context.Context, actor audit.Actor, serial string, m KeyMove) (k OTPKey, err error) {
	if !slices.Contains(helperSteps, m.Step) {
		return k, fmt.Errorf("mfa: %q is no step that a helper takes", m.Step)
	}
	if strings.TrimSpace(m.Reason) == "" {
		return k, ErrKeyReason
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		row, err := s.keyRow(ctx, cleanSerial(serial))
		if err != nil {
			return fmt.Errorf("key %s: %w", serial, err)
		}
		if err := s.applyKeyStep(ctx, actor, row, m); err != nil {
			return err
		}
		row, err = s.keyRow(ctx, row.Serial)
		k = row.OTPKey
		return err
	})
	return k, err
}

// LoseKey is the person's own word that their key is gone.
func (s *Service) LoseKey(ctx context.Context, actor audit.Actor, person, serial string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		row, err := s.ownKey(ctx, person, serial)
		if err != nil {
			return err
		}
		return s.applyKeyStep(ctx, actor, row, KeyMove{Step: StepLose})
	})
}

// ownKey is a key of the person, db.ErrNotFound for anybody else's.
func (s *Service) ownKey(ctx context.Context, person, serial string) (keyRow, error) {
	row, err := s.keyRow(ctx, cleanSerial(serial))
	if err == nil && (person == "" || row.Person != person) {
		err = db.ErrNotFound
	}
	if err != nil {
		return keyRow{}, fmt.Errorf("key %s of %s: %w", serial, person, err)
	}
	return row, nil
}

// MoveKeys takes one step with every key of a filter, if they are as many as
// was confirmed: all of them or none. A filter that asks for nothing is refused.
func (s *Service) MoveKeys(ctx context.Context, actor audit.Actor, f KeyFilter, confirmed int, m KeyMove) error {
	if f.Empty() {
		return fmt.Errorf("%w: a mass action needs one", ErrKeyFilter)
	}
	if m.Step != StepMove && m.Step != StepRetire && m.Step != StepRestock {
		return fmt.Errorf("mfa: %q is no step for many keys at once", m.Step)
	}
	if strings.TrimSpace(m.Reason) == "" {
		return ErrKeyReason
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		where, args := f.where()
		rows, err := db.All(ctx, s.db, scanKey, "SELECT "+keyColumns+" FROM mfa_key WHERE "+where+" ORDER BY serial", args...)
		if err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		if len(rows) != confirmed {
			return &ErrKeyCount{confirmed, len(rows)}
		}
		for _, row := range rows {
			if err := s.applyKeyStep(ctx, actor, row, m); err != nil {
				return fmt.Errorf("key %s: %w", row.Serial, err)
			}
		}
		return nil
	})
}

// applyKeyStep takes a step with the key as it was read, within the caller's
// transaction: of two that read the same, the second meets ErrKeyMoved.
func (s *Service) applyKeyStep(ctx context.Context, actor audit.Actor, k keyRow, m KeyMove) error {
	to, err := AfterStep(k.State, m.Step, k.HasPIN)
	if err != nil {
		return err
	}
	was := k
	now := s.now()
	k.State = to
	switch m.Step {
	case StepMove:
		k.School = m.School
	case StepAssign, StepLend:
		if m.Person == "" || (m.Step == StepLend) != m.Ends.After(now) {
			return ErrKeyPerson
		}
		k.Person, k.Holder, k.Ends = m.Person, m.Holder, m.Ends
		if m.Step == StepLend {
			k.Handed = now
		}
	case StepHand:
		k.Handed = now
	case StepActivate:
		k.pin, k.Activated = m.pin, now
	case StepPIN:
		k.pin = m.pin
	case StepForget, StepDeactivate, StepLose:
		k.pin = ""
	case StepUnassign, StepReturn, StepRestock, StepRetire:
		k.Person, k.Holder, k.pin, k.Ends, k.Handed, k.Activated = "", "", "", time.Time{}, time.Time{}, time.Time{}
	}
	if m.Step == StepRetire {
		k.seed = ""
	}
	n, err := s.db.Exec(ctx, `UPDATE mfa_key SET state = $1, school = $2, person = $3, holder = $4, ends = $5, pin = $6, seed = $7, handed = $8, activated = $9, changed = $10,
			ahead = -1, ahead_until = NULL
		WHERE serial = $11 AND state = $12 AND school = $13 AND person = $14 AND pin = $15`,
		string(k.State), k.School, k.Person, k.Holder, db.At(k.Ends), k.pin, k.seed, db.At(k.Handed), db.At(k.Activated), db.At(now),
		k.Serial, string(was.State), was.School, was.Person, was.pin)
	if err != nil {
		return fmt.Errorf("%s of key %s: %w", m.Step, k.Serial, err)
	}
	if n == 0 {
		return ErrKeyMoved
	}
	person, holder := k.Person, k.Holder
	if person == "" {
		person, holder = was.Person, was.Holder
	}
	if err := s.keyEvent(ctx, actor, KeyEvent{Step: m.Step, State: k.State, School: k.School, Person: person, Holder: holder, Reason: m.Reason}, k.Serial); err != nil {
		return err
	}
	if err := s.tellKeyStep(ctx, actor, was, k, m); err != nil {
		return err
	}
	detail := map[string]string{"serial": k.Serial, "state": string(k.State)}
	for name, value := range map[string]string{"school": k.School, "reason": m.Reason} {
		if value != "" {
			detail[name] = value
		}
	}
	return s.audit.Record(ctx, actor, audit.Event{Action: "key." + string(m.Step), Target: person, Outcome: "ok", Detail: detail})
}

// tellKeyStep tells the person of what changes their protection, and ends what
// rests on a key that somebody else took from them. Reset and Remove tell of
// their own doing.
func (s *Service) tellKeyStep(ctx context.Context, actor audit.Actor, was, k keyRow, m KeyMove) error {
	c := Change{Actor: actor, Person: was.Person, Factor: was.factor(), Reason: m.Reason}
	switch {
	case m.Step == StepDeactivate:
		return nil
	case m.Step == StepPIN || m.Step == StepForget:
		c.What = "pin"
	case was.State != KeyActive && k.State == KeyActive:
		c.What, c.Factor = "added", k.factor()
	case was.State == KeyActive && k.State != KeyActive:
		c.What = "removed"
		if m.Reason != "" {
			if err := s.ended(ctx, actor, was.Person); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	return s.changed(ctx, c)
}

func (s *Service) keyEvent(ctx context.Context, actor audit.Actor, e KeyEvent, serial string) error {
	_, err := s.db.Exec(ctx, `INSERT INTO mfa_key_event (id, serial, at, step, state, actor, author, school, person, holder, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		secret.Random()[:22], serial, db.At(s.now()), string(e.Step), string(e.State), actor.Kind+":"+actor.ID, actor.Name, e.School, e.Person, e.Holder, e.Reason)
	if err != nil {
		return fmt.Errorf("life of key %s: %w", serial, err)
	}
	return nil
}
