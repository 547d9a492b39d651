package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"beffroi/internal/audit"
)

// chain is the chain of the provider's trail.
func (h *house) chain() *audit.Chain { return audit.NewChain(h.audit, h.sealer, h.log) }

// runAuditVerify walks the whole chain: it exits with an error at the first row
// that is not as it was written.
func runAuditVerify(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("audit verify", flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	known := flags.String("head", "", "a `HEAD` that was noted before (the log tells it each hour): it must still be in the chain")
	if err := flags.Parse(args); err != nil {
		return usageError(err)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	var heads []audit.Head
	if *known != "" {
		head, err := audit.ParseHead(*known)
		if err != nil {
			return fmt.Errorf("%w: %v", errUsage, err)
		}
		heads = append(heads, head)
	}
	chain := h.chain()
	// A server that runs chains within a second; without one, this does.
	for n := 1; n > 0; {
		if n, err = chain.Seal(ctx); err != nil {
			break
		}
	}
	var report audit.Report
	if err == nil {
		report, err = chain.Verify(ctx, heads...)
	}
	var broken *audit.Broken
	if errors.As(err, &broken) && w.json {
		if err := printJSON(out, map[string]any{"ok": false, "what": broken.What, "seq": broken.Seq, "id": broken.ID, "action": broken.Action, "at": timeOrNil(broken.At)}); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, map[string]any{"ok": true, "report": report})
	}
	_, err = fmt.Fprintf(out, "The trail holds: %d rows from %s to %s, each as it was written; %d removed because their time was over.\nHead %s\n",
		report.Rows, day(report.First), day(report.Last), report.Removed, report.Head)
	return err
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// runAuditExport writes the trail, or what is about one person, for others to read.
func runAuditExport(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("audit export", flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	login := flags.String("person", "", "only what this `LOGIN`, or this ID, did or what was done to them")
	application := flags.String("app", "", "only about this application `ID`")
	action := flags.String("action", "", "only this `ACTION`, or those that begin with it when it ends in a dot")
	from := flags.String("from", "", "from this `DAY` on, 2026-01-31")
	to := flags.String("to", "", "up to and with this `DAY`")
	format := flags.String("format", "jsonl", strings.Join(audit.ExportFormats, " or "))
	file := flags.String("out", "", "write to this `FILE`, which must not exist; else to the standard output")
	if err := flags.Parse(args); err != nil {
		return usageError(err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: audit export does not know %q", errUsage, flags.Arg(0))
	}
	f := audit.Filter{Application: *application, Action: *action}
	if f.From, err = dayFlag(*from); err == nil {
		f.To, err = dayFlag(*to)
	}
	if err != nil {
		return err
	}
	if !f.To.IsZero() {
		f.To = f.To.AddDate(0, 0, 1)
	}
	if !slices.Contains(audit.ExportFormats, *format) {
		return fmt.Errorf("%w: -format is one of %s", errUsage, strings.Join(audit.ExportFormats, ", "))
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	if *login != "" {
		f.Person = *login // somebody who has left has no login any more: then it is their ID
		if p, err := h.directory.ByLogin(ctx, *login); err == nil {
			f.Person = p.ID
		}
	}
	target := out
	if *file != "" {
		created, err := os.OpenFile(*file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, created.Close()) }()
		target = created
	}
	buffered := bufio.NewWriter(target)
	n, err := h.audit.Export(ctx, buffered, *format, f)
	if err = errors.Join(err, buffered.Flush()); err != nil {
		return err
	}
	if *login != "" && n == 0 {
		return fmt.Errorf("nothing in the trail is about %q", *login)
	}
	if err := h.audit.Record(ctx, operator(), audit.Event{Action: "audit.export", Target: f.Person, Outcome: "ok", Detail: map[string]string{"rows": fmt.Sprint(n), "format": *format}}); err != nil {
		return err
	}
	if *file != "" {
		_, err = fmt.Fprintf(out, "%d rows written to %s\n", n, *file)
	}
	return err
}

func dayFlag(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err != nil {
		return t, fmt.Errorf("%w: %q is not a day such as 2026-01-31", errUsage, text)
	}
	return t, nil
}

// runAuditPurge removes what is over; it says how many rows first.
func runAuditPurge(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("audit purge", flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	yes := flags.Bool("yes", false, "remove them; without it they are only counted")
	if err := flags.Parse(args); err != nil {
		return usageError(err)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	chain := h.chain()
	counts, err := chain.Over(ctx, h.cfg.Audit.Keep)
	if err == nil && *yes && len(counts) > 0 {
		counts, err = chain.Purge(ctx, operator(), h.cfg.Audit.Keep)
	}
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, map[string]any{"removed": *yes, "rows": counts})
	}
	var total int64
	for _, category := range slices.Sorted(maps.Keys(counts)) {
		total += counts[category]
		fmt.Fprintf(out, "%-16s %d\n", category, counts[category])
	}
	switch {
	case total == 0:
		_, err = fmt.Fprintln(out, "Nothing is over.")
	case *yes:
		_, err = fmt.Fprintf(out, "%d rows removed; the chain keeps their places.\n", total)
	default:
		_, err = fmt.Fprintf(out, "%d rows are over. `beffroi audit purge -yes …` removes them; a server that runs does so each hour.\n", total)
	}
	return err
}
