// Package db opens the database and runs the house's SQL on it: one text for
// SQLite (embedded default) and PostgreSQL. It promises that a statement given
// the context of InTx runs in that transaction, that "no row" is ErrNotFound,
// that times are microseconds (Time), and that the schema is applied once
// however many replicas start together. Each folder writes its own SQL.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNotFound is what Row.Scan answers when there is no row.
var ErrNotFound = errors.New("db: not found")

// DB is a database of either kind. Safe for concurrent use.
type DB struct {
	write, read *sql.DB // the same pool on PostgreSQL; one writer, several readers on SQLite
	postgres    bool
	stmts       sync.Map // SQLite: *sql.DB and query → *sql.Stmt, prepared once
}

// Open opens "sqlite:PATH" or "postgres://…". SQLite files are created with
// mode 0600 rights of the process; PostgreSQL must be reachable.
func Open(ctx context.Context, address string) (*DB, error) {
	switch {
	case strings.HasPrefix(address, "sqlite:"):
		return openSQLite(ctx, strings.TrimPrefix(address, "sqlite:"))
	case strings.HasPrefix(address, "postgres://"), strings.HasPrefix(address, "postgresql://"):
		return openPostgres(ctx, address)
	}
	return nil, fmt.Errorf("open database: address must start with sqlite: or postgres://")
}

func openPostgres(ctx context.Context, address string) (*DB, error) {
	pool, err := sql.Open("pgx", address)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	// More connections than this make PostgreSQL slower, not faster; waiting
	// requests queue in the pool instead of failing.
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(16)
	if err := pool.PingContext(ctx); err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("reach PostgreSQL: %w", err)
	}
	return &DB{write: pool, read: pool, postgres: true}, nil
}

func openSQLite(ctx context.Context, path string) (*DB, error) {
	if path == "" || path == ":memory:" {
		return nil, fmt.Errorf("open SQLite: a file path is needed")
	}
	// synchronous(FULL): what was answered is on the disk. _txlock=immediate:
	// a transaction that reads first and writes later would else fail with
	// SQLITE_BUSY whatever the timeout.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
	writer, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	writer.SetMaxOpenConns(1)
	if err := writer.PingContext(ctx); err != nil {
		_ = writer.Close()
		return nil, fmt.Errorf("open SQLite file %s: %w", path, err)
	}
	reader, err := sql.Open("sqlite", dsn)
	if err != nil {
		_ = writer.Close()
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	reader.SetMaxOpenConns(4)
	reader.SetMaxIdleConns(4)
	return &DB{write: writer, read: reader}, nil
}

// Close ends every connection.
func (d *DB) Close() error {
	err := d.write.Close()
	if d.read != d.write {
		err = errors.Join(err, d.read.Close())
	}
	return err
}

// Ping tells whether the database answers.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	return d.QueryRow(ctx, "SELECT 1").Scan(&one)
}

// Kind is "sqlite" or "postgres", for people.
func (d *DB) Kind() string {
	if d.postgres {
		return "postgres"
	}
	return "sqlite"
}

// Exec runs a statement and returns how many rows it touched.
func (d *DB) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := d.runner(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := r.exec(ctx, query, args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Row is one awaited row.
type Row struct {
	row *sql.Row
	err error
}

// Scan reads the row; ErrNotFound when there is none.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	err := r.row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// QueryRow runs a statement that answers at most one row.
func (d *DB) QueryRow(ctx context.Context, query string, args ...any) Row {
	r, err := d.runner(ctx, query)
	if err != nil {
		return Row{err: err}
	}
	return Row{row: r.queryRow(ctx, query, args)}
}

// Query runs a statement that answers rows. Close them, or use All.
func (d *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r, err := d.runner(ctx, query)
	if err != nil {
		return nil, err
	}
	return r.query(ctx, query, args)
}

// All runs a statement and collects what scan makes of each row.
func All[T any](ctx context.Context, d *DB, scan func(scan func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := d.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// IsUnique tells whether err is a broken unique constraint.
func IsUnique(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	return false
}
