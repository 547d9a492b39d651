package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"beffroi/internal/audit"
	"beffroi/internal/secret"
)

// where says which Beffroi a command is about.
type where struct {
	config, dir string
	json        bool
}

// configFlags adds -config, -dir and -json, which every command takes.
func configFlags(flags *flag.FlagSet) *where {
	w := &where{}
	flags.StringVar(&w.config, "config", "", "the configuration `FILE`")
	flags.StringVar(&w.dir, "dir", "", "the `DIR` of a demo, instead of -config")
	flags.BoolVar(&w.json, "json", false, "print JSON, for programs")
	return w
}

func usageError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return fmt.Errorf("%w: %v", errUsage, err)
}

// load reads the configuration. For a demo that is not running it starts the
// sample directory; done ends it.
func (w *where) load(ctx context.Context) (cfg *Config, done func(), err error) {
	done = func() {}
	switch {
	case w.config != "" && w.dir != "":
		return nil, nil, fmt.Errorf("%w: give -config or -dir, not both", errUsage)
	case w.config != "":
		cfg, err = LoadConfig(w.config)
	case w.dir != "":
		cfg, done, err = loadDemo(w.dir)
	default:
		return nil, nil, fmt.Errorf("%w: give -config FILE (or -dir DIR for a demo)", errUsage)
	}
	return cfg, done, err
}

// identity opens the parts that commands about people and applications need.
func (w *where) identity(ctx context.Context) (*house, func(), error) {
	cfg, done, err := w.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	h := &house{cfg: cfg, log: slog.New(slog.DiscardHandler), now: time.Now}
	closeAll := func() { h.close(); done() }
	if cfg.Provider.Listen == "" {
		closeAll()
		return nil, nil, errors.New("this configuration runs the portal only; people and applications belong to the provider")
	}
	if h.sealer, err = secret.LoadSealer(cfg.SealKeyFile); err == nil {
		err = h.openIdentity(ctx)
	}
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return h, closeAll, nil
}

// operator is who runs a command, for the audit trail.
func operator() audit.Actor {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); err == nil {
		if name != "" && name != u.Username {
			name += " as " + u.Username
		} else {
			name = u.Username
		}
	}
	if name == "" {
		name = fmt.Sprintf("uid %d", os.Getuid())
	}
	return audit.Operator(name)
}

// printJSON prints one value for programs.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// demoConfig is the configuration that a demo writes into its directory.
func demoConfig(dir string) string { return filepath.Join(dir, "beffroi.yaml") }
