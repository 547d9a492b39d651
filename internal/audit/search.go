package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"beffroi/internal/db"
)

// Row is one line of the trail.
type Row struct {
	ID          string            `json:"id"`
	At          time.Time         `json:"at"`
	Actor       Actor             `json:"actor"`
	Action      string            `json:"action"`
	Target      string            `json:"target,omitempty"`
	Application string            `json:"application,omitempty"`
	Outcome     string            `json:"outcome"`
	Detail      map[string]string `json:"detail,omitempty"`
	Address     string            `json:"address,omitempty"`
	Agent       string            `json:"agent,omitempty"`
	Request     string            `json:"request,omitempty"`
}

// Cursor names the row's place among the newest first: given as Filter.Before,
// it continues after this row.
func (r Row) Cursor() string { return strconv.FormatInt(r.At.UnixMicro(), 10) + "." + r.ID }

// Filter chooses rows; empty fields match everything.
type Filter struct {
	Person      string // as actor or as target
	Actor       string // the ID of who acted
	Target      string
	Application string
	Action      string   // exact, or a prefix ending in "."
	Actions     []string // any of these; the same as Action when that is empty
	Outcome     string
	From, To    time.Time // at or after From, before To
	Before      string    // the Cursor of the last row seen
	Limit       int       // 100 when zero
}

// ErrCursor is returned for a Before that no row has given.
var ErrCursor = fmt.Errorf("audit: not the cursor of a row")

// Search returns the newest rows first. Each of Person, Actor, Target, Action
// and From reads an index, so that pages may ask it of a trail of any size.
func (l *Log) Search(ctx context.Context, f Filter) ([]Row, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	if f.Person == "" {
		where, args, err := f.where("")
		if err != nil {
			return nil, err
		}
		return db.All(ctx, l.db, scanRow, fmt.Sprintf(`SELECT %s FROM audit WHERE %s ORDER BY at DESC, id LIMIT %d`, columns, where, f.Limit), args...)
	}
	// One condition "actor or target" makes a planner choose between one index
	// and none: two halves, each of the newest only, read one each.
	where, args, err := f.where(f.Person)
	if err != nil {
		return nil, err
	}
	half := func(column string) string {
		return fmt.Sprintf(`SELECT * FROM (SELECT %s FROM audit WHERE %s = $1 AND %s <> '' AND %s ORDER BY at DESC, id LIMIT %d) AS by_%s`, columns, column, column, where, f.Limit, column)
	}
	return db.All(ctx, l.db, scanRow, fmt.Sprintf(`SELECT * FROM (%s UNION %s) AS person ORDER BY at DESC, id LIMIT %d`, half("actor"), half("target"), f.Limit), args...)
}

// List is Search under the name that commands use.
func (l *Log) List(ctx context.Context, f Filter) ([]Row, error) { return l.Search(ctx, f) }

// About returns the newest rows of one action whose target is the person, later
// than since.
func (l *Log) About(ctx context.Context, person, action string, since time.Time, limit int) ([]Row, error) {
	return db.All(ctx, l.db, scanRow, `SELECT `+columns+` FROM audit WHERE target = $1 AND at > $2 AND action = $3 ORDER BY at DESC, id LIMIT $4`,
		person, db.At(since), action, limit)
}

// where is the condition of everything but Person, whose value takes $1 when it
// is given. Only the conditions that are asked for stand in it: one text with
// all of them could use no index.
func (f Filter) where(person string) (string, []any, error) {
	var parts []string
	var args []any
	if person != "" {
		args = append(args, person)
	}
	add := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		parts = append(parts, condition)
	}
	if f.Actor != "" {
		add("actor = ? AND actor <> ''", f.Actor)
	}
	if f.Target != "" {
		add("target = ?", f.Target)
	}
	if f.Application != "" {
		add("application = ?", f.Application)
	}
	if f.Outcome != "" {
		add("outcome = ?", f.Outcome)
	}
	actions := f.Actions
	if f.Action != "" {
		actions = []string{f.Action}
	}
	var either []string
	var values []any
	for _, a := range actions {
		if strings.HasSuffix(a, ".") {
			either, values = append(either, `action LIKE ? ESCAPE '!'`), append(values, like.Replace(a)+"%")
		} else {
			either, values = append(either, `action = ?`), append(values, a)
		}
	}
	if len(either) > 0 {
		add("("+strings.Join(either, " OR ")+")", values...)
	}
	if !f.From.IsZero() {
		add("at >= ?", db.At(f.From))
	}
	if !f.To.IsZero() {
		add("at < ?", db.At(f.To))
	}
	if f.Before != "" {
		at, id, ok := strings.Cut(f.Before, ".")
		micros, err := strconv.ParseInt(at, 10, 64)
		if !ok || err != nil {
			return "", nil, ErrCursor
		}
		add("at <= ? AND (at < ? OR id > ?)", micros, micros, id)
	}
	if len(parts) == 0 {
		return "1 = 1", args, nil
	}
	return strings.Join(parts, " AND "), args, nil
}

var like = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// Done tells of each time that an action was done (its outcome "ok") at or after
// from, to whom and when, in no order. It is for counting: nothing else of the
// row is read.
func (l *Log) Done(ctx context.Context, action string, from time.Time, each func(target string, at time.Time)) error {
	rows, err := l.db.Query(ctx, `SELECT target, at FROM audit WHERE action = $1 AND at >= $2 AND outcome = 'ok'`, action, db.At(from))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var target string
		var at db.Time
		if err := rows.Scan(&target, &at); err != nil {
			return err
		}
		each(target, at.Time)
	}
	return rows.Err()
}

const columns = "id, at, actor_kind, actor, actor_name, action, target, application, outcome, detail, address, agent, request"

func scanRow(scan func(...any) error) (Row, error) {
	var r Row
	var at db.Time
	var detail string
	err := scan(&r.ID, &at, &r.Actor.Kind, &r.Actor.ID, &r.Actor.Name, &r.Action, &r.Target, &r.Application, &r.Outcome, &detail, &r.Address, &r.Agent, &r.Request)
	r.At = at.Time
	if err == nil && detail != "" {
		err = json.Unmarshal([]byte(detail), &r.Detail)
	}
	return r, err
}
