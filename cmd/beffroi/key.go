package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"beffroi/internal/secret"
)

// runKey makes a sealing key file. It never overwrites one.
func runKey(_ context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("key", flag.ContinueOnError)
	flags.SetOutput(out)
	asJSON := flags.Bool("json", false, "print JSON, for programs")
	if len(args) == 0 || args[0] != "create" {
		return fmt.Errorf("%w: key create FILE", errUsage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return usageError(err)
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("%w: key create FILE", errUsage)
	}
	path := flags.Arg(0)
	if err := secret.CreateKeyFile(path); err != nil {
		return err
	}
	if *asJSON {
		return printJSON(out, map[string]string{"file": path})
	}
	_, err := fmt.Fprintf(out, "%s: a new sealing key, readable by its owner only.\nKeep a copy apart from the database's back-ups: without it, what it sealed is lost.\n", path)
	return err
}
