package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"beffroi/oidc"
)

const appUsage = "app add | edit | list | show | test | rotate-secret | remove ID, app invite [list | revoke ID]"

// runApp registers, changes, tries and removes applications of the provider.
func runApp(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: %s", errUsage, appUsage)
	}
	if args[0] == "invite" {
		return runInvite(ctx, out, args[1:])
	}
	flags := flag.NewFlagSet("app "+args[0], flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	var about appFlags
	keep := new(time.Duration)
	switch args[0] {
	case "add", "edit":
		about.add(flags)
	case "rotate-secret":
		flags.DurationVar(keep, "keep", 0, "how long the former secret goes on, as 24h; 0, it stops at once")
	}
	if args[0] == "add" || args[0] == "rotate-secret" {
		flags.StringVar(&about.secretFile, "secret-file", "", "a `FILE` with the secret, 32 characters or more, or - for standard input; none, one is made")
	}
	id, rest := leadingWord(args[1:])
	if err := flags.Parse(rest); err != nil {
		return usageError(err)
	}
	if id == "" && flags.NArg() > 0 {
		id = flags.Arg(0)
	}
	if id == "" && args[0] != "list" {
		return fmt.Errorf("%w: which? app %s ID", errUsage, args[0])
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	switch args[0] {
	case "add":
		return addApp(ctx, out, w, h, id, &about)
	case "edit":
		return editApp(ctx, out, w, h, id, &about)
	case "rotate-secret":
		return rotateSecret(ctx, out, w, h, id, *keep, about.secretFile)
	case "remove":
		if err := h.clients.Remove(ctx, operator(), id); err != nil {
			return err
		}
		return say(out, w, map[string]any{"id": id, "removed": true}, "%s: removed, with all that was issued to it.\n", id)
	case "list":
		return listApps(ctx, out, w, h)
	case "show":
		return showApp(ctx, out, w, h, id)
	case "test":
		found, err := h.clients.Examine(ctx, id, h.cfg.Provider.Config)
		if err != nil {
			return err
		}
		return sayFindings(out, w, found)
	}
	return fmt.Errorf("%w: app has no %q", errUsage, args[0])
}

func addApp(ctx context.Context, out io.Writer, w *where, h *house, id string, about *appFlags) error {
	one := oidc.Client{ID: id}
	if err := about.apply(&one); err != nil {
		return err
	}
	chosen, err := chosenSecret(about.secretFile, os.Stdin)
	if err != nil {
		return err
	}
	secret, err := h.clients.Add(ctx, operator(), one, chosen...)
	if err != nil {
		return err
	}
	return showSecret(out, w, id, secret, "added")
}

func editApp(ctx context.Context, out io.Writer, w *where, h *house, id string, about *appFlags) error {
	done, err := h.clients.Edit(ctx, operator(), id, about.apply)
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, done)
	}
	what := "changed: " + strings.Join(done.Changed, ", ")
	if done.TakenOver {
		what += "; it had registered itself, and can change itself no longer"
	}
	return showSecret(out, w, id, done.Secret, what)
}

func rotateSecret(ctx context.Context, out io.Writer, w *where, h *house, id string, keep time.Duration, file string) error {
	chosen, err := chosenSecret(file, os.Stdin)
	if err != nil {
		return err
	}
	secret, err := h.clients.RotateSecret(ctx, operator(), id, keep, strings.Join(chosen, ""))
	if err != nil {
		return err
	}
	former := "the former one stops within seconds"
	if keep > 0 {
		former = "the former one goes on until " + time.Now().Add(keep).Format("2006-01-02 15:04")
	}
	return showSecret(out, w, id, secret, "given a new secret; "+former)
}

func showSecret(out io.Writer, w *where, id, secret, what string) error {
	if w.json {
		return printJSON(out, map[string]string{"id": id, "client_secret": secret})
	}
	fmt.Fprintf(out, "%s: %s.\n", id, what)
	if secret == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "client_secret: %s\nIt is shown this once and stored as a hash.\n", secret)
	return err
}

func listApps(ctx context.Context, out io.Writer, w *where, h *house) error {
	all, err := h.clients.List(ctx)
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, append([]oidc.Entry{}, all...))
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tGROUPS\tASSURANCE\tFROM")
	for _, e := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", e.ID, title(e.Name), orDash(strings.Join(e.Groups, " ")), e.Assurance, from(e))
	}
	return t.Flush()
}

// from is where an application comes from.
func from(e oidc.Entry) string {
	switch {
	case e.FromFile:
		return "file"
	case e.Registered && e.Invite != "":
		return "itself, invited by " + e.Invite
	case e.Registered:
		return "itself"
	}
	return "database"
}

func title(name map[string]string) string {
	if name["fr"] != "" {
		return name["fr"]
	}
	return name["en"]
}

// showApp prints what is registered; what is not is left out.
func showApp(ctx context.Context, out io.Writer, w *where, h *house, id string) error {
	all, err := h.clients.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.ID != id {
			continue
		}
		if w.json {
			return printJSON(out, e)
		}
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, row := range appRows(e) {
			if len(row.values) > 0 && row.values[0] != "" {
				fmt.Fprintf(t, "%s\t%s\n", row.name, strings.Join(row.values, "\n\t"))
			}
		}
		return t.Flush()
	}
	return fmt.Errorf("%s: %w", id, oidc.ErrUnknownClient)
}

type appRow struct {
	name   string
	values []string
}

func appRows(e oidc.Entry) []appRow {
	var rows []appRow
	row := func(name string, values ...string) { rows = append(rows, appRow{name, values}) }
	yes := func(name string, is bool) {
		if is {
			row(name, "yes")
		}
	}
	row("id", e.ID)
	row("from", from(e))
	row("name", title(e.Name))
	row("description", title(e.Description))
	row("home", e.Home)
	row("logo", e.Logo)
	row("contact", e.Contact)
	row("policy", e.Policy)
	row("terms", e.Terms)
	row("groups", orDash(strings.Join(e.Groups, " ")))
	row("assurance", fmt.Sprint(e.Assurance))
	row("consent", e.Consent)
	row("profile", e.Profile)
	yes("public", e.Public)
	row("authentication", e.AuthMethod)
	row("assertions", e.AssertionAlg)
	if len(e.JWKS) > 0 {
		row("keys", "registered")
	}
	row("keys at", e.JWKSURI)
	row("secrets", secretLines(e.Secrets)...)
	row("redirect URIs", e.RedirectURIs...)
	row("post-logout URIs", e.PostLogoutURIs...)
	row("scopes", strings.Join(e.Scopes, " "))
	row("grants", e.Grants...)
	row("PKCE", map[bool]string{true: "waived", false: "required"}[e.PKCEWaived])
	yes("pushed requests only", e.PARRequired)
	row("request objects", e.RequestAlg)
	row("request URIs", e.RequestURIs...)
	if e.DefaultMaxAge != nil {
		row("default max_age", fmt.Sprint(*e.DefaultMaxAge))
	}
	row("default acr", e.DefaultACRs...)
	row("initiate login", e.InitiateLogin)
	row("ID token", e.IDTokenAlg)
	row("userinfo", e.UserinfoAlg)
	row("introspection", e.IntrospectionAlg)
	row("access token", e.TokenFormat+" "+e.TokenAlg)
	row("subject", e.SubjectType)
	row("sector", e.SectorURI)
	row("back-channel logout", e.BackchannelLogout)
	row("front-channel logout", e.FrontchannelLogout)
	row("audience", e.Audience)
	row("resources", e.Resources...)
	row("tokens for", e.ExchangeTo...)
	for _, i := range e.AssertionIssuers {
		row("assertions by", i.Issuer)
	}
	if !e.Ends.IsZero() {
		row("ends", e.Ends.Local().Format("2006-01-02 15:04"))
	}
	return rows
}

// secretLines tells of the secrets that live, never the secrets.
func secretLines(all []oidc.SecretState) []string {
	var lines []string
	for _, s := range all {
		switch {
		case !s.Until.IsZero():
			lines = append(lines, "the former one, until "+s.Until.Local().Format("2006-01-02 15:04"))
		case !s.Made.IsZero():
			lines = append(lines, "one, since "+s.Made.Local().Format("2006-01-02 15:04"))
		default:
			lines = append(lines, "one, in the configuration file")
		}
	}
	return lines
}

// sayFindings prints a line per finding; it fails when one of them is wrong.
func sayFindings(out io.Writer, w *where, found []oidc.Finding) error {
	bad := 0
	for _, f := range found {
		if f.State == oidc.FoundWrong {
			bad++
		}
		if !w.json {
			fmt.Fprintf(out, "%-5s  %-18s %s\n", f.State, f.What, f.Says)
		}
	}
	if w.json {
		if err := printJSON(out, found); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(found))
	}
	return nil
}
