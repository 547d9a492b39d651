package db

import (
	"database/sql/driver"
	"fmt"
	"time"
)

// Time is a moment as the database keeps it: a BIGINT of Unix microseconds,
// the zero Time as NULL. A text timestamp compared wrongly across zones on
// SQLite, which made expiries late; a number cannot.
type Time struct{ time.Time }

// At is t cut to the microsecond, in UTC, so that what is written equals what
// is read back.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{time.UnixMicro(t.UnixMicro()).UTC()}
}

// Value implements driver.Valuer.
func (t Time) Value() (driver.Value, error) {
	if t.IsZero() {
		return nil, nil
	}
	return t.UnixMicro(), nil
}

// Scan implements sql.Scanner.
func (t *Time) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*t = Time{}
	case int64:
		*t = Time{time.UnixMicro(v).UTC()}
	default:
		return fmt.Errorf("db: a time is stored as %T, not as microseconds", src)
	}
	return nil
}
