package mfa

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
)

// KeyConfig bounds how far the academy's OTP keys may run ahead or astray.
type KeyConfig struct {
	Presses int           `yaml:"presses"` // HOTP: codes skipped before the next one is asked for too; 10 when 0
	Lost    int           `yaml:"lost"`    // HOTP: codes skipped before a key no longer resynchronises; 200 when 0
	Drift   time.Duration `yaml:"drift"`   // TOTP: how wrong a key's clock may be to resynchronise; 1h when 0
}

// Validate names what is wrong, each error as "key: problem".
func (c KeyConfig) Validate() (errs []error) {
	if c.Presses < 0 || c.Presses > 50 {
		errs = append(errs, errors.New("presses: must be between 1 and 50; 10 is usual"))
	}
	if c.Lost < 0 || c.Lost > 1000 {
		errs = append(errs, errors.New("lost: must be between 1 and 1000; 200 is usual"))
	}
	if c.Drift < 0 || c.Drift > 12*time.Hour {
		errs = append(errs, errors.New("drift: must be between 1m and 12h; 1h is usual"))
	}
	return errs
}

func (c KeyConfig) orUsual() KeyConfig {
	if c.Presses <= 0 {
		c.Presses = 10
	}
	if c.Lost <= 0 {
		c.Lost = 200
	}
	if c.Drift <= 0 {
		c.Drift = time.Hour
	}
	return c
}

// KeyState is where a key is in its life.
type KeyState string

const (
	KeyStock    KeyState = "stock"    // in a drawer of the academy or of a school
	KeyAssigned KeyState = "assigned" // meant for a person, not yet handed over
	KeyHanded   KeyState = "handed"   // in the person's hands, not yet activated
	KeyLoaned   KeyState = "loaned"   // the same, for a while
	KeyActive   KeyState = "active"   // the person's factor
	KeyBlocked  KeyState = "blocked"  // not to be used for now
	KeyLost     KeyState = "lost"
	KeyReturned KeyState = "returned" // back, to be looked at before somebody else gets it
	KeyRetired  KeyState = "retired"  // for good; its seed is gone
)

// KeyStates are all of them, in the order of a life.
var KeyStates = []KeyState{KeyStock, KeyAssigned, KeyHanded, KeyLoaned, KeyActive, KeyBlocked, KeyLost, KeyReturned, KeyRetired}

// OTPKey is a hardware key of the academy, without its seed.
type OTPKey struct {
	Serial    string
	Algorithm string // "HOTP" or "TOTP"
	Hash      string // "SHA1", "SHA256" or "SHA512"
	Digits    int
	Period    int // seconds, of a TOTP key
	Drift     time.Duration
	State     KeyState
	School    string // UAI; empty in the academy's own stock
	Person    string // empty unless it is somebody's
	Holder    string // that person's name, as it was when the key was given
	HasPIN    bool
	Ends      time.Time // of a loan
	Model     string
	Lot       string // the import it came with
	Created   time.Time
	Changed   time.Time
	Handed    time.Time
	Activated time.Time
	Used      time.Time
}

// Overdue tells whether the key was lent and should have come back.
func (k OTPKey) Overdue(now time.Time) bool { return !k.Ends.IsZero() && now.After(k.Ends) }

// Activates tells whether its person may make the key their factor now.
func (k OTPKey) Activates(now time.Time) bool {
	return (k.State == KeyHanded || k.State == KeyLoaned) && !k.Overdue(now)
}

// Until is the last moment of a loan, on its last day; zero when it is none.
func (k OTPKey) Until() time.Time {
	if k.Ends.IsZero() {
		return k.Ends
	}
	return k.Ends.Add(-time.Microsecond)
}

// InHand tells whether the key is with its person.
func (k OTPKey) InHand() bool {
	return slices.Contains([]KeyState{KeyHanded, KeyLoaned, KeyActive, KeyBlocked}, k.State)
}

// KeyEvent is one line of a key's life.
type KeyEvent struct {
	At             time.Time
	Step           KeyStep
	State          KeyState // after it
	Author         string
	School, Person string
	Holder, Reason string
}

// keyRow is a key with what must not leave the package.
type keyRow struct {
	OTPKey
	seed, pin  string // sealed
	next       int64
	drift      int64 // in steps
	ahead      int64
	aheadUntil time.Time
}

func keySeedPurpose(serial string) string { return "key:" + serial }
func keyPINPurpose(serial string) string  { return "key-pin:" + serial }

const keyColumns = `serial, algorithm, hash, digits, period, seed, next, drift, ahead, ahead_until, state, school, person, holder, ends, pin, model, lot,
	created, changed, handed, activated, used`

func scanKey(scan func(...any) error) (keyRow, error) {
	var r keyRow
	var aheadUntil, ends, created, changed, handed, activated, used db.Time
	err := scan(&r.Serial, &r.Algorithm, &r.Hash, &r.Digits, &r.Period, &r.seed, &r.next, &r.drift, &r.ahead, &aheadUntil, &r.State, &r.School, &r.Person, &r.Holder,
		&ends, &r.pin, &r.Model, &r.Lot, &created, &changed, &handed, &activated, &used)
	r.aheadUntil, r.Ends, r.Created, r.Changed = aheadUntil.Time, ends.Time, created.Time, changed.Time
	r.Handed, r.Activated, r.Used = handed.Time, activated.Time, used.Time
	r.HasPIN = r.pin != ""
	r.Drift = time.Duration(r.drift) * time.Duration(r.Period) * time.Second
	return r, err
}

// keyKind is how an OTP key counts as a factor. The key itself outlives its
// holder: a reset takes the PIN, so that the person must activate it again.
func keyKind() kind {
	return kind{
		held: "SELECT 'key' AS method FROM mfa_key WHERE person = $1 AND state = 'active' AND (ends IS NULL OR ends > $2)",
		list: func(s *Service, ctx context.Context, person string) ([]Factor, error) {
			rows, err := s.activeKeys(ctx, person)
			list := make([]Factor, len(rows))
			for i, r := range rows {
				list[i] = r.factor()
			}
			return list, err
		},
		removeAs: func(s *Service, ctx context.Context, actor audit.Actor, person, serial, reason string) (Factor, error) {
			k, err := s.ownKey(ctx, person, serial)
			if err == nil && k.State != KeyActive {
				err = db.ErrNotFound
			}
			if err != nil {
				return Factor{}, err
			}
			return k.factor(), s.applyKeyStep(ctx, actor, k, KeyMove{Step: StepDeactivate, Reason: reason})
		},
		reset: func(s *Service, ctx context.Context, actor audit.Actor, person, reason string) (n int64, err error) {
			rows, err := s.activeKeys(ctx, person)
			for _, k := range rows {
				if err := s.applyKeyStep(ctx, actor, k, KeyMove{Step: StepDeactivate, Reason: reason}); err != nil {
					return 0, err
				}
			}
			return int64(len(rows)), err
		},
	}
}

func (k OTPKey) factor() Factor {
	return Factor{ID: k.Serial, Kind: Key, Detail: k.Serial, Created: k.Activated, Used: k.Used, Ends: k.Ends}
}

func (s *Service) keyRow(ctx context.Context, serial string) (keyRow, error) {
	return scanKey(s.db.QueryRow(ctx, "SELECT "+keyColumns+" FROM mfa_key WHERE serial = $1", serial).Scan)
}

// activeKeys are the keys that a person signs in with.
func (s *Service) activeKeys(ctx context.Context, person string) ([]keyRow, error) {
	rows, err := db.All(ctx, s.db, scanKey, "SELECT "+keyColumns+" FROM mfa_key WHERE person = $1 AND state = 'active' AND (ends IS NULL OR ends > $2) ORDER BY activated, serial",
		person, db.At(s.now()))
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", person, err)
	}
	return rows, nil
}

// OTPKey returns one key, db.ErrNotFound when there is none of that serial.
func (s *Service) OTPKey(ctx context.Context, serial string) (OTPKey, error) {
	r, err := s.keyRow(ctx, cleanSerial(serial))
	if err != nil {
		return OTPKey{}, fmt.Errorf("key %s: %w", serial, err)
	}
	return r.OTPKey, nil
}

// KeysOf returns every key that is meant for the person or with the person,
// lost ones too.
func (s *Service) KeysOf(ctx context.Context, person string) ([]OTPKey, error) {
	if person == "" {
		return nil, nil
	}
	return s.keys(ctx, "SELECT "+keyColumns+" FROM mfa_key WHERE person = $1 ORDER BY created, serial", person)
}

func (s *Service) keys(ctx context.Context, query string, args ...any) ([]OTPKey, error) {
	rows, err := db.All(ctx, s.db, scanKey, query, args...)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	list := make([]OTPKey, len(rows))
	for i, r := range rows {
		list[i] = r.OTPKey
	}
	return list, nil
}

// KeyLife returns what happened to a key, newest first.
func (s *Service) KeyLife(ctx context.Context, serial string) ([]KeyEvent, error) {
	return db.All(ctx, s.db, func(scan func(...any) error) (e KeyEvent, err error) {
		var at db.Time
		err = scan(&at, &e.Step, &e.State, &e.Author, &e.School, &e.Person, &e.Holder, &e.Reason)
		e.At = at.Time
		return e, err
	}, "SELECT at, step, state, author, school, person, holder, reason FROM mfa_key_event WHERE serial = $1 ORDER BY at DESC, id LIMIT 500", serial)
}

// KeyFilter chooses keys. Its zero value chooses all; a mass action refuses it.
type KeyFilter struct {
	Serial string   // beginning of a serial
	School string   // UAI; NoSchool for the academy's own stock
	State  KeyState // one state
	Lot    string   // one import
	Of     []string // nil, or the only schools whose keys may be seen: the scope of a helper, not a wish
}

// NoSchool is a KeyFilter's word for keys that are at no school.
const NoSchool = "-"

// ErrKeyFilter says that a filter is unknown, or that a mass action has none.
var ErrKeyFilter = errors.New("mfa: unknown filter of keys")

// ParseKeyFilter reads serial, school, state and lot. What it does not know is
// an error, never "all": a slip of the pen must not move every key.
func ParseKeyFilter(values url.Values) (f KeyFilter, err error) {
	for name, v := range values {
		if len(v) != 1 {
			return KeyFilter{}, fmt.Errorf("%w: %s stands there %d times", ErrKeyFilter, name, len(v))
		}
		one := strings.TrimSpace(v[0])
		switch name {
		case "serial":
			f.Serial = cleanSerial(one)
		case "school":
			f.School = one
		case "lot":
			f.Lot = one
		case "state":
			f.State = KeyState(one)
			if one != "" && !slices.Contains(KeyStates, f.State) {
				return KeyFilter{}, fmt.Errorf("%w: no key is ever %q", ErrKeyFilter, one)
			}
		default:
			return KeyFilter{}, fmt.Errorf("%w: %q", ErrKeyFilter, name)
		}
	}
	return f, nil
}

// Values is the filter as ParseKeyFilter reads it.
func (f KeyFilter) Values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"serial": f.Serial, "school": f.School, "state": string(f.State), "lot": f.Lot} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// Empty tells whether nothing is asked for, whatever the scope.
func (f KeyFilter) Empty() bool { return len(f.Values()) == 0 }

// where is the filter in SQL, its parameters from $1 on.
func (f KeyFilter) where() (text string, args []any) {
	var parts []string
	add := func(format string, value any) {
		args = append(args, value)
		parts = append(parts, strings.ReplaceAll(format, "?", "$"+strconv.Itoa(len(args))))
	}
	if f.Serial != "" {
		add("substr(serial, 1, "+strconv.Itoa(len(f.Serial))+") = ?", f.Serial)
	}
	switch f.School {
	case "":
	case NoSchool:
		add("school = ?", "")
	default:
		add("school = ?", f.School)
	}
	if f.State != "" {
		add("state = ?", string(f.State))
	}
	if f.Lot != "" {
		add("lot = ?", f.Lot)
	}
	if f.Of != nil {
		var marks []string
		for _, uai := range f.Of {
			args = append(args, uai)
			marks = append(marks, "$"+strconv.Itoa(len(args)))
		}
		parts = append(parts, "school IN ("+strings.Join(append(marks, "NULL"), ", ")+")")
	}
	if len(parts) == 0 {
		return "1 = 1", nil
	}
	return strings.Join(parts, " AND "), args
}

// Keys lists keys by serial, those after one serial only.
func (s *Service) Keys(ctx context.Context, f KeyFilter, after string, limit int) ([]OTPKey, error) {
	where, args := f.where()
	args = append(args, after, limit)
	return s.keys(ctx, fmt.Sprintf("SELECT %s FROM mfa_key WHERE %s AND serial > $%d ORDER BY serial LIMIT $%d", keyColumns, where, len(args)-1, len(args)), args...)
}

// inHand are the states of InHand, for a query.
const inHand = "('handed', 'loaned', 'active', 'blocked')"

// KeysUnneeded lists keys of a filter that are with a person who has used a
// passkey since: they could come back. Those that were used longest ago first.
func (s *Service) KeysUnneeded(ctx context.Context, f KeyFilter, since time.Time, limit int) ([]OTPKey, error) {
	where, args := f.where()
	args = append(args, db.At(since), limit)
	return s.keys(ctx, fmt.Sprintf(`SELECT %s FROM mfa_key WHERE %s AND state IN %s AND person IN (SELECT person FROM mfa_passkey WHERE used >= $%d)
		ORDER BY COALESCE(used, 0), serial LIMIT $%d`, keyColumns, where, inHand, len(args)-1, len(args)), args...)
}

// KeysOverdue lists keys of a filter that were lent and should have come back,
// the longest overdue first.
func (s *Service) KeysOverdue(ctx context.Context, f KeyFilter, limit int) ([]OTPKey, error) {
	where, args := f.where()
	args = append(args, db.At(s.now()), limit)
	return s.keys(ctx, fmt.Sprintf("SELECT %s FROM mfa_key WHERE %s AND state IN %s AND ends < $%d ORDER BY ends, serial LIMIT $%d", keyColumns, where, inHand, len(args)-1, len(args)), args...)
}

// CountKeys counts the keys of a filter.
func (s *Service) CountKeys(ctx context.Context, f KeyFilter) (n int, err error) {
	where, args := f.where()
	err = s.db.QueryRow(ctx, "SELECT COUNT(*) FROM mfa_key WHERE "+where, args...).Scan(&n)
	return n, err
}

// StockCount is how many keys a school has in each state.
type StockCount struct {
	School string // empty: the academy's own stock
	Count  map[KeyState]int
	All    int
}

// Stock counts the keys of a filter by school and state.
func (s *Service) Stock(ctx context.Context, f KeyFilter) ([]StockCount, error) {
	where, args := f.where()
	var list []StockCount
	_, err := db.All(ctx, s.db, func(scan func(...any) error) (none struct{}, err error) {
		var school string
		var state KeyState
		var n int
		if err = scan(&school, &state, &n); err != nil {
			return none, err
		}
		if len(list) == 0 || list[len(list)-1].School != school {
			list = append(list, StockCount{School: school, Count: map[KeyState]int{}})
		}
		last := &list[len(list)-1]
		last.Count[state] += n
		last.All += n
		return none, nil
	}, "SELECT school, state, COUNT(*) FROM mfa_key WHERE "+where+" GROUP BY school, state ORDER BY school, state", args...)
	return list, err
}

// cleanSerial writes a serial as it is kept: capital letters, no spaces.
func cleanSerial(serial string) string {
	return strings.ToUpper(strings.Join(strings.Fields(serial), ""))
}
