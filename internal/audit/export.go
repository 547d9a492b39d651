package audit

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"beffroi/internal/db"
)

// Exported is a row as an export holds it: with its place in the chain.
type Exported struct {
	Row
	Seq  int64  `json:"seq,omitempty"`
	Hash string `json:"hash,omitempty"`
}

// ExportFormats are "jsonl", a JSON object a line, and "csv".
var ExportFormats = []string{"jsonl", "csv"}

// Export writes the rows of a filter, the oldest first, and returns how many.
// Limit and Before of the filter do not count. A CSV is safe to open in a
// spreadsheet: no cell begins a formula.
func (l *Log) Export(ctx context.Context, w io.Writer, format string, f Filter) (n int64, err error) {
	write, flush, err := exporter(w, format)
	if err != nil {
		return 0, err
	}
	f.Before, f.Limit = "", 0
	where, args, err := f.where(f.Person)
	if err != nil {
		return 0, err
	}
	if f.Person != "" {
		where = "(actor = $1 OR target = $1) AND " + where
	}
	at, id := int64(-1), ""
	for {
		page := append(append([]any{}, args...), at, id)
		rows, err := db.All(ctx, l.db, scanChainRow, fmt.Sprintf("SELECT %s FROM audit WHERE (%s) AND (at > $%d OR at = $%d AND id > $%d) ORDER BY at, id LIMIT 1000",
			chainColumns, where, len(args)+1, len(args)+1, len(args)+2), page...)
		if err != nil {
			return n, fmt.Errorf("audit: export: %w", err)
		}
		for _, r := range rows {
			if r.detail != "" {
				if err := json.Unmarshal([]byte(r.detail), &r.Detail); err != nil {
					return n, fmt.Errorf("audit: export: row %s: %w", r.ID, err)
				}
			}
			if err := write(Exported{r.Row, r.seq, r.hash}, r.detail); err != nil {
				return n, fmt.Errorf("audit: export: %w", err)
			}
			at, id = r.At.UnixMicro(), r.ID
			n++
		}
		if len(rows) < 1000 {
			return n, flush()
		}
	}
}

// exporter writes rows in a format.
func exporter(w io.Writer, format string) (write func(Exported, string) error, flush func() error, err error) {
	switch format {
	case "jsonl":
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return func(e Exported, _ string) error { return encoder.Encode(e) }, func() error { return nil }, nil
	case "csv":
		table := csv.NewWriter(w)
		if err := table.Write([]string{"seq", "at", "outcome", "action", "actor_kind", "actor", "actor_name", "target", "application", "address", "agent", "request", "detail", "id", "hash"}); err != nil {
			return nil, nil, err
		}
		return func(e Exported, detail string) error {
			cells := []string{strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339Nano), e.Outcome, e.Action, e.Actor.Kind, e.Actor.ID, e.Actor.Name, e.Target, e.Application, e.Address, e.Agent, e.Request, detail}
			for i, c := range cells {
				cells[i] = PlainCell(c)
			}
			return table.Write(append(cells, e.ID, e.Hash)) // ours to the letter
		}, func() error { table.Flush(); return table.Error() }, nil
	}
	return nil, nil, fmt.Errorf("audit: %q is none of %s", format, strings.Join(ExportFormats, ", "))
}

// PlainCell keeps a spreadsheet from taking a cell for a formula.
func PlainCell(s string) string {
	if s != "" && strings.ContainsAny(s[:1], "=+-@\t\r") {
		return "'" + s
	}
	return s
}
