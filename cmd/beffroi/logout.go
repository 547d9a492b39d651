package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"beffroi/oidc"
)

// runLogout shows which sign-outs could not be told, and tries them again.
func runLogout(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 || args[0] != "list" && args[0] != "retry" {
		return fmt.Errorf("%w: logout list | retry ID | retry -all", errUsage)
	}
	flags := flag.NewFlagSet("logout "+args[0], flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	all := false
	if args[0] == "retry" {
		flags.BoolVar(&all, "all", false, "every one that waits or was given up")
	}
	id, rest := leadingWord(args[1:])
	if err := flags.Parse(rest); err != nil {
		return usageError(err)
	}
	if id == "" && flags.NArg() > 0 {
		id = flags.Arg(0)
	}
	switch {
	case args[0] == "retry" && (id == "") != all:
		return fmt.Errorf("%w: which? logout retry ID, or logout retry -all", errUsage)
	case args[0] == "list" && id != "":
		return fmt.Errorf("%w: logout list does not know %q", errUsage, id)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	if args[0] == "retry" {
		n, err := h.provider.RetryNotice(ctx, operator(), id)
		if err != nil {
			return err
		}
		return say(out, w, map[string]int64{"retried": n}, "%d to be tried again, within seconds by the running provider.\n", n)
	}
	return listLogouts(ctx, out, w, h)
}

func listLogouts(ctx context.Context, out io.Writer, w *where, h *house) error {
	all, err := h.provider.Notices(ctx)
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, append([]oidc.Notice{}, all...))
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "Every sign-out has been told to whoever must hear of it.")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tTO\tSINCE\tTRIES\tNEXT\tLAST ERROR")
	for _, n := range all {
		to, next := n.Client, "-"
		if to == "" {
			to = n.Kind
		}
		if !n.Next.IsZero() {
			next = n.Next.Local().Format(time.TimeOnly)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", n.ID, n.State, to, n.Created.Local().Format("2006-01-02 15:04"), n.Attempts, next, orDash(n.Error))
	}
	return t.Flush()
}
