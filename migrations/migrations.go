// Package migrations holds the schema: NNNN_name.sql, one text for SQLite and
// PostgreSQL, applied in order by internal/db. A migration only adds, so that
// the release before it and the one after it both run on it; once released it
// is never edited. Statements end with a semicolon at the end of a line.
package migrations

import "embed"

// FS holds the migrations by file name.
//
//go:embed *.sql
var FS embed.FS
