package db

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

type txKey struct{ d *DB }

// transaction is what the context carries between InTx and the statements.
type transaction struct {
	tx    *sql.Tx
	after []func()
}

// InTx runs fn in a transaction: commit on nil, roll back on error or panic.
// A call inside fn (with the context given to fn) joins the same transaction.
func (d *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if _, joined := ctx.Value(txKey{d}).(*transaction); joined {
		return fn(ctx)
	}
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	t := &transaction{tx: tx}
	done := false
	defer func() {
		if !done {
			_ = tx.Rollback()
		}
	}()
	if err := fn(context.WithValue(ctx, txKey{d}, t)); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

// AfterCommit runs fn once the transaction of ctx is committed, never when it
// is rolled back; at once when ctx has none.
func (d *DB) AfterCommit(ctx context.Context, fn func()) {
	if t, ok := ctx.Value(txKey{d}).(*transaction); ok {
		t.after = append(t.after, fn)
		return
	}
	fn()
}

// InTransaction tells whether ctx carries a transaction of this database.
func (d *DB) InTransaction(ctx context.Context) bool {
	_, ok := ctx.Value(txKey{d}).(*transaction)
	return ok
}

// runner is where a statement goes: the transaction of ctx, or a pool.
type runner struct {
	d    *DB
	tx   *sql.Tx
	pool *sql.DB
}

func (d *DB) runner(ctx context.Context, query string) (runner, error) {
	if t, ok := ctx.Value(txKey{d}).(*transaction); ok {
		return runner{d: d, tx: t.tx}, nil
	}
	if strings.HasPrefix(strings.TrimLeft(query, " \t\r\n"), "SELECT") {
		return runner{d: d, pool: d.read}, nil
	}
	return runner{d: d, pool: d.write}, nil
}

// prepared returns the statement prepared once per pool. Only SQLite gains by
// it (three times faster); pgx keeps its own cache per connection.
func (r runner) prepared(ctx context.Context, query string) *sql.Stmt {
	if r.d.postgres || r.tx != nil {
		return nil
	}
	type key struct {
		pool  *sql.DB
		query string
	}
	if s, ok := r.d.stmts.Load(key{r.pool, query}); ok {
		return s.(*sql.Stmt)
	}
	// Prepared without the caller's deadline: the statement outlives the call.
	s, err := r.pool.PrepareContext(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil // the plain call reports the error
	}
	if old, loaded := r.d.stmts.LoadOrStore(key{r.pool, query}, s); loaded {
		_ = s.Close()
		return old.(*sql.Stmt)
	}
	return s
}

func (r runner) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if r.tx != nil {
		return r.tx.ExecContext(ctx, query, args...)
	}
	if s := r.prepared(ctx, query); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return r.pool.ExecContext(ctx, query, args...)
}

func (r runner) queryRow(ctx context.Context, query string, args []any) *sql.Row {
	if r.tx != nil {
		return r.tx.QueryRowContext(ctx, query, args...)
	}
	if s := r.prepared(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return r.pool.QueryRowContext(ctx, query, args...)
}

func (r runner) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if r.tx != nil {
		return r.tx.QueryContext(ctx, query, args...)
	}
	if s := r.prepared(ctx, query); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return r.pool.QueryContext(ctx, query, args...)
}
