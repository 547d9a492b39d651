package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"beffroi/internal/db"
)

// runMigrate brings the databases of a configuration to this release. serve
// does it too; a command lets it be done before the old release is stopped.
func runMigrate(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("migrate", flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	if err := flags.Parse(args); err != nil {
		return usageError(err)
	}
	cfg, done, err := w.load(ctx)
	if err != nil {
		return err
	}
	defer done()
	type report struct {
		Database string   `json:"database"`
		Applied  []string `json:"applied"`
	}
	var reports []report
	for _, one := range cfg.databases() {
		applied, err := migrateOne(ctx, one.address)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		reports = append(reports, report{one.name, applied})
		if w.json {
			continue
		}
		if len(applied) == 0 {
			fmt.Fprintf(out, "%s: up to date\n", one.name)
		}
		for _, name := range applied {
			fmt.Fprintf(out, "%s: applied %s\n", one.name, name)
		}
	}
	if w.json {
		return printJSON(out, reports)
	}
	return nil
}

func migrateOne(ctx context.Context, address string) ([]string, error) {
	d, err := db.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	pending, err := d.Pending(ctx)
	if err != nil {
		return nil, err
	}
	return append([]string{}, pending...), d.Migrate(ctx)
}

type namedDatabase struct{ name, address string }

// databases lists the databases of a configuration, each once.
func (c *Config) databases() []namedDatabase {
	var all []namedDatabase
	if a, err := databaseAddress(c.Database, c.DatabaseFile); err == nil {
		all = append(all, namedDatabase{"database", a})
	}
	if c.Portal.Listen != "" {
		if a, err := databaseAddress(c.Portal.Database, c.Portal.DatabaseFile); err == nil {
			all = append(all, namedDatabase{"portal database", a})
		}
	}
	return all
}
