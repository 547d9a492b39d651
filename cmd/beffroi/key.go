package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"beffroi/internal/secret"
	"beffroi/oidc"
)

// runKey makes a sealing key file, and lists, rotates and retires the keys that
// tokens are signed with.
func runKey(ctx context.Context, out io.Writer, args []string) error {
	const usage = "key create FILE | list [-pem DIR] | rotate [-alg ALG] [-now] | retire KID | rotate-seal [-resume] [-drop-old]"
	if len(args) == 0 {
		return fmt.Errorf("%w: %s", errUsage, usage)
	}
	flags := flag.NewFlagSet("key "+args[0], flag.ContinueOnError)
	flags.SetOutput(out)
	if args[0] == "rotate-seal" {
		return runRotateSeal(ctx, out, args[1:])
	}
	if args[0] == "create" {
		return createSealingKey(out, flags, args[1:])
	}
	w := configFlags(flags)
	var alg, pem string
	var now bool
	switch args[0] {
	case "list":
		flags.StringVar(&pem, "pem", "", "instead, keep the public keys in this `DIR` as Dovecot reads them")
	case "rotate":
		flags.StringVar(&alg, "alg", "", "only the keys of this `ALG`: RS256, PS256, ES256 or EdDSA")
		flags.BoolVar(&now, "now", false, "let it sign within seconds, although applications do not know it yet")
	}
	kid, rest := leadingWord(args[1:])
	if err := flags.Parse(rest); err != nil {
		return usageError(err)
	}
	if kid == "" && flags.NArg() > 0 {
		kid = flags.Arg(0)
	}
	if (kid == "") != (args[0] != "retire") {
		return fmt.Errorf("%w: %s", errUsage, usage)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	keys := h.provider.Keys()
	switch args[0] {
	case "list":
		if pem != "" {
			return writeKeys(ctx, out, w, h, pem)
		}
		return listKeys(ctx, out, w, keys)
	case "rotate":
		return rotateKeys(ctx, out, w, keys, alg, now)
	case "retire":
		err := keys.Retire(ctx, operator(), kid)
		if errors.Is(err, oidc.ErrOnlyKey) {
			return fmt.Errorf("%w: `beffroi key rotate -now` first, and wait until the new one signs", err)
		}
		if err != nil {
			return err
		}
		return say(out, w, map[string]any{"kid": kid, "retired": true},
			"%s: retired. Within minutes applications refuse what it signed; sign-outs that name such a token still work.\n", kid)
	}
	return fmt.Errorf("%w: %s", errUsage, usage)
}

// createSealingKey never overwrites a file.
func createSealingKey(out io.Writer, flags *flag.FlagSet, args []string) error {
	asJSON := flags.Bool("json", false, "print JSON, for programs")
	if err := flags.Parse(args); err != nil {
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

const keyTime = "2006-01-02 15:04 MST"

func listKeys(ctx context.Context, out io.Writer, w *where, keys *oidc.Keys) error {
	all, err := keys.List(ctx)
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, append([]oidc.KeyInfo{}, all...))
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KID\tALG\tSTATE\tSIGNS FROM\tPUBLISHED UNTIL")
	for _, k := range all {
		until := "-"
		if !k.Until.IsZero() {
			until = k.Until.Local().Format(keyTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", k.KID, k.Alg, k.State, k.Signs.Local().Format(keyTime), until)
	}
	return t.Flush()
}

func rotateKeys(ctx context.Context, out io.Writer, w *where, keys *oidc.Keys, alg string, now bool) error {
	algs := oidc.Algorithms()
	if alg != "" {
		algs = []string{alg}
	}
	var made []oidc.KeyInfo
	for _, alg := range algs {
		k, err := keys.Rotate(ctx, operator(), alg, now)
		if err != nil {
			return err
		}
		made = append(made, k)
	}
	if w.json {
		return printJSON(out, made)
	}
	for _, k := range made {
		fmt.Fprintf(out, "%s %s: published; it signs from %s.\n", k.Alg, k.KID, k.Signs.Local().Format(time.DateTime+" MST"))
	}
	if now {
		fmt.Fprintln(out, "Applications that remember the published keys and do not ask again when they meet a new one refuse sign-ins for up to 5 minutes, some until they are restarted.")
	}
	return nil
}
