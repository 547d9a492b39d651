// Command beffroi is the academy's front door: the OpenID Connect provider, the
// portal, and the commands of whoever runs them. This file holds the names of
// the commands and their usage; each has a file of its own. serve.go, where all
// parts meet, is the page to read first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set at build time.
var version = "dev"

// command is one subcommand. run gets what follows its name.
type command struct {
	name, args, does string
	run              func(ctx context.Context, out io.Writer, args []string) error
}

func commands() []command {
	return []command{
		{"demo", "[-dir DIR] [-provider ADDR] [-portal ADDR] [-content ADDR] [-fresh] | code LOGIN | code -key SERIAL | mail ADDRESS", "try everything on this machine, with a sample academy", runDemo},
		{"serve", "-config FILE", "run the provider, the portal or both", runServe},
		{"check", "-config FILE", "try the configuration, the database, the directory, the mail servers and the clock", runCheck},
		{"migrate", "-config FILE", "bring the database to this release", runMigrate},
		{"app", "add | edit | list | show | test | rotate-secret | remove ID, invite [list | revoke ID]", "applications of the provider", runApp},
		{"person", "show | unlock | lock | open | reset-factor LOGIN", "help one person", runPerson},
		{"logout", "list | retry ID | retry -all", "sign-outs that applications have not heard of yet", runLogout},
		{"audit", "list | verify | export | purge", "read, prove, extract and thin out the audit trail", runAudit},
		{"proconnect", "test", "play ProConnect against the running provider, rule by rule", runProConnect},
		{"key", "create FILE | list [-pem DIR] | rotate [-alg ALG] [-now] | retire KID | rotate-seal [-resume] [-drop-old]", "make a sealing key, or a new one and seal everything with it; the keys that sign tokens", runKey},
		{"version", "", "print the release", func(_ context.Context, out io.Writer, _ []string) error {
			_, err := fmt.Fprintln(out, "beffroi", version)
			return err
		}},
	}
}

// errUsage ends a command whose words were off, after it has said how to call it.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit status, 0 only when
// what was asked has been done.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) > 0 {
		for _, c := range commands() {
			if c.name != args[0] {
				continue
			}
			err := c.run(ctx, out, args[1:])
			switch {
			case err == nil:
				return 0
			case errors.Is(err, flag.ErrHelp):
				return 0
			case errors.Is(err, errUsage):
				fmt.Fprintf(errs, "beffroi: %v\nusage: beffroi %s %s\n", err, c.name, c.args)
				return 2
			}
			fmt.Fprintf(errs, "beffroi: %v\n", err)
			return 1
		}
		if args[0] != "help" && args[0] != "-h" && args[0] != "--help" {
			fmt.Fprintf(errs, "beffroi: there is no command %q\n\n", args[0])
			usage(errs)
			return 2
		}
	}
	usage(out)
	if len(args) == 0 {
		return 2
	}
	return 0
}

func usage(w io.Writer) {
	fmt.Fprint(w, "beffroi: the academy's front door\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n             %s\n", c.name, c.does, c.args)
	}
	fmt.Fprint(w, "\nEvery command that needs a configuration takes -config FILE, or -dir DIR for a demo's.\n")
}
