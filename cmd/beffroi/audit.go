package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"beffroi/internal/audit"
)

// runAudit reads the trail, newest first, or verifies, exports or purges it.
func runAudit(ctx context.Context, out io.Writer, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "verify":
			return runAuditVerify(ctx, out, args[1:])
		case "export":
			return runAuditExport(ctx, out, args[1:])
		case "purge":
			return runAuditPurge(ctx, out, args[1:])
		}
	}
	if len(args) == 0 || args[0] != "list" {
		return fmt.Errorf("%w: audit list | verify | export | purge", errUsage)
	}
	flags := flag.NewFlagSet("audit list", flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	of := flags.String("person", "", "only what this `LOGIN` did or what was done to them")
	application := flags.String("app", "", "only about this application `ID`")
	action := flags.String("action", "", "only this `ACTION`, or those that begin with it when it ends in a dot")
	limit := flags.Int("limit", 100, "at most this many")
	if err := flags.Parse(args[1:]); err != nil {
		return usageError(err)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	f := audit.Filter{Application: *application, Action: *action, Limit: *limit}
	if *of != "" {
		p, err := h.directory.ByLogin(ctx, *of)
		if err != nil {
			return fmt.Errorf("person %q: %w", *of, err)
		}
		f.Person = p.ID
	}
	rows, err := h.audit.List(ctx, f)
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, append([]audit.Row{}, rows...))
	}
	logins := map[string]string{} // of IDs; who has left keeps the ID
	login := func(id string) string {
		if _, ok := logins[id]; !ok {
			logins[id] = id
			if p, err := h.directory.ByID(ctx, id); err == nil && p.Login != "" {
				logins[id] = p.Login
			}
		}
		return logins[id]
	}
	for _, r := range rows {
		who := r.Actor.Name
		if who == "" {
			who = r.Actor.ID
		}
		if r.Target != "" && r.Target != r.Actor.ID {
			who += " → " + login(r.Target)
		}
		var detail []string
		for _, k := range slices.Sorted(maps.Keys(r.Detail)) {
			detail = append(detail, k+"="+r.Detail[k])
		}
		fmt.Fprintf(out, "%s %-7s %-24s %s %s %s %s %s\n", r.At.Local().Format("2006-01-02 15:04:05"), r.Outcome, r.Action, strings.TrimSpace(r.Actor.Kind+" "+who), r.Application, r.Address, strings.Join(detail, " "), r.Request)
	}
	return nil
}
