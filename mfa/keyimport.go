package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// ErrKeyKnown says that keys of these serials are in the inventory already.
type ErrKeyKnown struct{ Serials []string }

func (e *ErrKeyKnown) Error() string {
	return fmt.Sprintf("mfa: %d keys are in the inventory already, %s among them", len(e.Serials), e.Serials[0])
}

// AddKeys puts keys into the stock of a school (empty: of the academy): all of
// them or none. lot names what they came with.
func (s *Service) AddKeys(ctx context.Context, actor audit.Actor, lot, school string, list []KeySpec) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		var known []string
		now := db.At(s.now())
		for _, k := range list {
			k.Serial = cleanSerial(k.Serial)
			if problem, found := k.problem(); problem != "" {
				return fmt.Errorf("add key %s: %s %s", k.Serial, problem, found)
			}
			n, err := s.db.Exec(ctx, `INSERT INTO mfa_key (serial, algorithm, hash, digits, period, seed, next, drift, ahead, state, school, person, holder, pin, model, lot, created, changed)
				VALUES ($1, $2, $3, $4, $5, $6, $7, 0, -1, 'stock', $8, '', '', '', $9, $10, $11, $11) ON CONFLICT (serial) DO NOTHING`,
				k.Serial, k.Algorithm, k.Hash, k.Digits, k.Period, s.sealer.Seal(keySeedPurpose(k.Serial), noPadding.EncodeToString(k.Seed)), k.Counter, school, k.Model, lot, now)
			if err != nil {
				return fmt.Errorf("add key %s: %w", k.Serial, err)
			}
			if n == 0 {
				known = append(known, k.Serial)
				continue
			}
			if err := s.keyEvent(ctx, actor, KeyEvent{Step: StepImport, State: KeyStock, School: school, Reason: lot}, k.Serial); err != nil {
				return err
			}
		}
		if len(known) > 0 {
			return &ErrKeyKnown{known}
		}
		detail := map[string]string{"lot": lot, "keys": fmt.Sprint(len(list))}
		if school != "" {
			detail["school"] = school
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "key.import", Outcome: "ok", Detail: detail})
	})
}

// KeyUpload is a file of keys on its way in.
type KeyUpload struct {
	Name    string // of the file
	School  string // whose stock the keys go to; empty: the academy's
	File    []byte
	Secrets KeySecrets
}

// Where an import is.
const (
	ImportReading    = "reading"
	ImportReady      = "ready"      // read: somebody looks at the report and decides
	ImportUnreadable = "unreadable" // the file as a whole is no file of keys
	ImportTaken      = "taken"
	ImportDropped    = "dropped"
)

// KeyImport is an import without what was uploaded.
type KeyImport struct {
	ID             string // the lot of its keys
	State          string
	Name, Format   string
	School, Author string
	Done, Total    int // entries, while reading
	Good, Bad      int
	Report         []BadKey // the first maxReport of them
	Created, Ended time.Time
}

const (
	maxReport   = 1000
	readLease   = 30 * time.Second
	importLife  = 24 * time.Hour
	tellEvery   = 100 // entries
	importTrail = 400 * 24 * time.Hour
)

var (
	// ErrImportState says that an import is not one to decide about: read by
	// nobody yet, taken, dropped or too old.
	ErrImportState = errors.New("mfa: this import is not waiting for a decision")
	// ErrImportBad says that a file has bad entries and nobody said to take the others.
	ErrImportBad = errors.New("mfa: the file has entries that are no keys")
)

func keyImportPurpose(id string) string { return "key-import:" + id }

// staged is what rests sealed between upload and decision.
type staged struct {
	File    []byte     `json:",omitempty"`
	Secrets KeySecrets `json:",omitzero"`
	Keys    []KeySpec  `json:",omitempty"`
}

func (s *Service) sealStaged(id string, what staged) (string, error) {
	plain, err := json.Marshal(what)
	if err != nil {
		return "", fmt.Errorf("import %s: %w", id, err)
	}
	return s.sealer.Seal(keyImportPurpose(id), string(plain)), nil
}

// StageKeys takes an upload in, and reads nothing yet: ReadImports does, after
// a restart as well. *ErrKeyFile when it is too big or empty.
func (s *Service) StageKeys(ctx context.Context, actor audit.Actor, u KeyUpload) (id string, err error) {
	switch {
	case len(u.File) == 0:
		return "", &ErrKeyFile{Problem: "empty"}
	case len(u.File) > MaxKeyFile:
		return "", &ErrKeyFile{Problem: "size"}
	}
	// A lot is read aloud and typed: its day, and a few letters.
	id = s.now().UTC().Format("20060102-") + strings.NewReplacer("-", "a", "_", "b").Replace(strings.ToLower(secret.Random()[:6]))
	upload, err := s.sealStaged(id, staged{File: u.File, Secrets: u.Secrets})
	if err != nil {
		return "", err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.Exec(ctx, `INSERT INTO mfa_key_import (id, state, name, format, school, actor, author, upload, done, total, good, bad, report, lease, created)
			VALUES ($1, $2, $3, '', $4, $5, $6, $7, 0, $8, 0, 0, '', 0, $9)`,
			id, ImportReading, shorten(u.Name), u.School, actor.Kind+":"+actor.ID, actor.Name, upload, entries(u.File), db.At(s.now()))
		if err != nil {
			return fmt.Errorf("import %s: %w", id, err)
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "key.upload", Outcome: "ok", Detail: map[string]string{"lot": id, "file": u.Name, "bytes": fmt.Sprint(len(u.File))}})
	})
	if err != nil {
		return "", err
	}
	select {
	case s.staged <- struct{}{}:
	default:
	}
	return id, nil
}

// ReadImports reads what was uploaded, here or by another replica that has
// gone, until ctx ends. report hears what went wrong.
func (s *Service) ReadImports(ctx context.Context, report func(error)) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		for {
			more, err := s.ReadImport(ctx)
			if err != nil && ctx.Err() == nil {
				report(err)
			}
			if !more || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.staged:
		case <-tick.C:
		}
	}
}

// ReadImport reads one upload that waits, and tells whether there was one.
func (s *Service) ReadImport(ctx context.Context) (bool, error) {
	var id, upload string
	err := s.db.QueryRow(ctx, `UPDATE mfa_key_import SET lease = $1, done = 0
		WHERE id = (SELECT id FROM mfa_key_import WHERE state = $2 AND lease < $3 ORDER BY created LIMIT 1) AND state = $2 AND lease < $3
		RETURNING id, upload`, s.now().Add(readLease).UnixMicro(), ImportReading, s.now().UnixMicro()).Scan(&id, &upload)
	if errors.Is(err, db.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("next import: %w", err)
	}
	plain, err := s.sealer.Open(keyImportPurpose(id), upload)
	if err != nil {
		return true, fmt.Errorf("import %s: %w", id, err)
	}
	var what staged
	if err := json.Unmarshal([]byte(plain), &what); err != nil {
		return true, fmt.Errorf("import %s: %w", id, err)
	}
	format, good, bad, err := ReadKeys(what.File, what.Secrets, func(n int) error {
		if n%tellEvery != 0 {
			return nil
		}
		_, err := s.db.Exec(ctx, "UPDATE mfa_key_import SET done = $1, lease = $2 WHERE id = $3 AND state = $4", n, s.now().Add(readLease).UnixMicro(), id, ImportReading)
		return err
	})
	var unreadable *ErrKeyFile
	if errors.As(err, &unreadable) {
		return true, s.endReading(ctx, id, ImportUnreadable, format, nil, []BadKey{{Line: unreadable.Line, Problem: unreadable.Problem}})
	}
	if err != nil {
		return true, fmt.Errorf("import %s: %w", id, err)
	}
	good, known, err := s.withoutKnown(ctx, good)
	if err != nil {
		return true, err
	}
	return true, s.endReading(ctx, id, ImportReady, format, good, append(bad, known...))
}

// withoutKnown sorts out keys that are in the inventory already.
func (s *Service) withoutKnown(ctx context.Context, list []KeySpec) (good []KeySpec, known []BadKey, err error) {
	for _, k := range list {
		var state string
		switch err := s.db.QueryRow(ctx, "SELECT state FROM mfa_key WHERE serial = $1", k.Serial).Scan(&state); {
		case err == nil:
			known = append(known, BadKey{Serial: k.Serial, Problem: "known", Found: state})
		case errors.Is(err, db.ErrNotFound):
			good = append(good, k)
		default:
			return nil, nil, fmt.Errorf("key %s: %w", k.Serial, err)
		}
	}
	return good, known, nil
}

// endReading keeps what was read, and no longer the file nor what opened it.
func (s *Service) endReading(ctx context.Context, id, state, format string, good []KeySpec, bad []BadKey) error {
	upload := ""
	if len(good) > 0 {
		var err error
		if upload, err = s.sealStaged(id, staged{Keys: good}); err != nil {
			return err
		}
	}
	report, err := json.Marshal(bad[:min(len(bad), maxReport)])
	if err != nil {
		return fmt.Errorf("import %s: %w", id, err)
	}
	_, err = s.db.Exec(ctx, "UPDATE mfa_key_import SET state = $1, format = $2, upload = $3, done = $4, total = $4, good = $5, bad = $6, report = $7 WHERE id = $8 AND state = $9",
		state, format, upload, len(good)+len(bad), len(good), len(bad), string(report), id, ImportReading)
	if err != nil {
		return fmt.Errorf("import %s: %w", id, err)
	}
	return nil
}

const importColumns = "id, state, name, format, school, author, done, total, good, bad, report, created, ended"

func scanImport(scan func(...any) error) (i KeyImport, err error) {
	var created, ended db.Time
	var report string
	err = scan(&i.ID, &i.State, &i.Name, &i.Format, &i.School, &i.Author, &i.Done, &i.Total, &i.Good, &i.Bad, &report, &created, &ended)
	i.Created, i.Ended = created.Time, ended.Time
	if err == nil && report != "" {
		err = json.Unmarshal([]byte(report), &i.Report)
	}
	return i, err
}

// KeyImport returns one import.
func (s *Service) KeyImport(ctx context.Context, id string) (KeyImport, error) {
	i, err := scanImport(s.db.QueryRow(ctx, "SELECT "+importColumns+" FROM mfa_key_import WHERE id = $1", id).Scan)
	if err != nil {
		return i, fmt.Errorf("import %s: %w", id, err)
	}
	return i, nil
}

// KeyImports lists imports, newest first.
func (s *Service) KeyImports(ctx context.Context, limit int) ([]KeyImport, error) {
	return db.All(ctx, s.db, scanImport, "SELECT "+importColumns+" FROM mfa_key_import ORDER BY created DESC, id LIMIT $1", limit)
}

// TakeImport puts the keys that were read into the stock: all of them or none.
// good is the number that was shown to whoever decides; with bad entries in the
// file, onlyGood says that the others are wanted nevertheless. *ErrKeyCount,
// ErrImportBad, ErrImportState; *ErrKeyKnown when another import was faster.
func (s *Service) TakeImport(ctx context.Context, actor audit.Actor, id string, good int, onlyGood bool) error {
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		i, err := s.KeyImport(ctx, id)
		if err != nil {
			return err
		}
		switch {
		case i.State != ImportReady || i.Good == 0:
			return ErrImportState
		case i.Good != good:
			return &ErrKeyCount{good, i.Good}
		case i.Bad > 0 && !onlyGood:
			return ErrImportBad
		}
		keys, err := s.stagedKeys(ctx, id)
		if err != nil {
			return err
		}
		n, err := s.db.Exec(ctx, "UPDATE mfa_key_import SET state = $1, upload = '', ended = $2 WHERE id = $3 AND state = $4", ImportTaken, db.At(s.now()), id, ImportReady)
		if err != nil {
			return fmt.Errorf("import %s: %w", id, err)
		}
		if n == 0 {
			return ErrImportState
		}
		return s.AddKeys(ctx, actor, id, i.School, keys)
	})
	var known *ErrKeyKnown
	if errors.As(err, &known) {
		return errors.Join(err, s.recount(ctx, id))
	}
	return err
}

func (s *Service) stagedKeys(ctx context.Context, id string) ([]KeySpec, error) {
	var upload string
	if err := s.db.QueryRow(ctx, "SELECT upload FROM mfa_key_import WHERE id = $1", id).Scan(&upload); err != nil {
		return nil, fmt.Errorf("import %s: %w", id, err)
	}
	plain, err := s.sealer.Open(keyImportPurpose(id), upload)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", id, err)
	}
	var what staged
	if err := json.Unmarshal([]byte(plain), &what); err != nil {
		return nil, fmt.Errorf("import %s: %w", id, err)
	}
	return what.Keys, nil
}

// recount reports keys that came into the inventory since the file was read.
func (s *Service) recount(ctx context.Context, id string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		i, err := s.KeyImport(ctx, id)
		if err != nil || i.State != ImportReady {
			return err
		}
		keys, err := s.stagedKeys(ctx, id)
		if err != nil {
			return err
		}
		good, known, err := s.withoutKnown(ctx, keys)
		if err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, "UPDATE mfa_key_import SET state = $1 WHERE id = $2 AND state = $3", ImportReading, id, ImportReady); err != nil {
			return fmt.Errorf("import %s: %w", id, err)
		}
		return s.endReading(ctx, id, ImportReady, i.Format, good, append(i.Report, known...))
	})
}

// DropImport forgets what was uploaded.
func (s *Service) DropImport(ctx context.Context, actor audit.Actor, id string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		n, err := s.db.Exec(ctx, "UPDATE mfa_key_import SET state = $1, upload = '', ended = $2 WHERE id = $3 AND state IN ($4, $5, $6)",
			ImportDropped, db.At(s.now()), id, ImportReading, ImportReady, ImportUnreadable)
		if err != nil {
			return fmt.Errorf("import %s: %w", id, err)
		}
		if n == 0 {
			return ErrImportState
		}
		return s.audit.Record(ctx, actor, audit.Event{Action: "key.drop", Outcome: "ok", Detail: map[string]string{"lot": id}})
	})
}

// sweepImports drops what nobody decided about within a day.
func (s *Service) sweepImports(ctx context.Context) (int64, error) {
	n, err := s.db.Exec(ctx, "UPDATE mfa_key_import SET state = $1, upload = '', ended = $2 WHERE created <= $3 AND state IN ($4, $5, $6)",
		ImportDropped, db.At(s.now()), db.At(s.now().Add(-importLife)), ImportReading, ImportReady, ImportUnreadable)
	if err != nil {
		return 0, err
	}
	gone, err := s.db.Exec(ctx, "DELETE FROM mfa_key_import WHERE created <= $1", db.At(s.now().Add(-importTrail)))
	return n + gone, err
}
