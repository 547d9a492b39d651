package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"beffroi/oidc"
)

// list is a flag that may be given several times, or with commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }
func (l *list) Set(s string) error {
	for _, one := range strings.Split(s, ",") {
		if one = strings.TrimSpace(one); one != "" {
			*l = append(*l, one)
		}
	}
	return nil
}

// addresses is a flag that may be given several times; an address may hold a comma.
type addresses []string

func (a *addresses) String() string     { return strings.Join(*a, " ") }
func (a *addresses) Set(s string) error { *a = append(*a, s); return nil }

// appFlags are what `app add` may say of an application.
type appFlags struct {
	nameFR, nameEN, aboutFR, aboutEN string
	client                           oidc.Client
	redirects, logouts               addresses
	groups, scopes, grants, exchange list
}

func (a *appFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&a.nameFR, "name", "", "its `NAME` in French")
	flags.StringVar(&a.nameEN, "name-en", "", "its `NAME` in English")
	flags.StringVar(&a.aboutFR, "description", "", "one `LINE` about it in French")
	flags.StringVar(&a.aboutEN, "description-en", "", "one `LINE` about it in English")
	flags.StringVar(&a.client.Home, "home", "", "the `URL` that its tile opens; none, no tile")
	flags.StringVar(&a.client.Icon, "icon", "", "`NAME` of the tile's icon")
	flags.StringVar(&a.client.Category, "category", "", "`NAME` of the tile's category")
	flags.Var(&a.redirects, "redirect", "a redirect `URI`, exact; may be repeated")
	flags.Var(&a.logouts, "post-logout", "a post-logout redirect `URI`, exact; may be repeated")
	flags.Var(&a.groups, "groups", "`GROUPS` whose members may open it; none, everyone")
	flags.IntVar(&a.client.Assurance, "assurance", 0, "`N` factors asked: 1 or 2; 0, the provider's default")
	flags.Var(&a.scopes, "scopes", "`SCOPES` it may ask")
	flags.Var(&a.grants, "grants", "`GRANTS` it may use")
	flags.Var(&a.exchange, "exchange-to", "`AUDIENCES` for which it may exchange tokens")
	flags.StringVar(&a.client.Audience, "audience", "", "the resource `NAME` that it is, for introspection")
	flags.StringVar(&a.client.IDTokenAlg, "id-token-alg", "", "`ALG` of its ID tokens: RS256, PS256, ES256 or EdDSA")
	flags.BoolVar(&a.client.Public, "public", false, "it can keep no secret (in a browser, on a telephone)")
	flags.BoolVar(&a.client.PKCEWaived, "no-pkce", false, "it cannot do PKCE (old software only)")
}

func (a *appFlags) application(id string) oidc.Client {
	c := a.client
	c.ID = id
	c.Name, c.Description = byLanguage(a.nameFR, a.nameEN), byLanguage(a.aboutFR, a.aboutEN)
	c.RedirectURIs, c.PostLogoutURIs = a.redirects, a.logouts
	c.Groups, c.Scopes, c.Grants, c.ExchangeTo = a.groups, a.scopes, a.grants, a.exchange
	return c
}

func byLanguage(fr, en string) map[string]string {
	m := map[string]string{}
	if fr != "" {
		m["fr"] = fr
	}
	if en != "" {
		m["en"] = en
	}
	return m
}

// runApp registers, shows and removes applications of the provider.
func runApp(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: app add | list | show | rotate-secret | remove", errUsage)
	}
	flags := flag.NewFlagSet("app "+args[0], flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	var about appFlags
	if args[0] == "add" {
		about.add(flags)
	}
	keep := new(time.Duration)
	if args[0] == "rotate-secret" {
		flags.DurationVar(keep, "keep", 0, "how long the former secret goes on, as 24h; 0, it stops at once")
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
		secret, err := h.clients.Add(ctx, operator(), about.application(id))
		if err != nil {
			return err
		}
		return showSecret(out, w, id, secret, "added")
	case "rotate-secret":
		secret, err := h.clients.RotateSecret(ctx, operator(), id, *keep, "")
		if err != nil {
			return err
		}
		former := "the former one stops within seconds"
		if *keep > 0 {
			former = "the former one goes on until " + time.Now().Add(*keep).Format("2006-01-02 15:04")
		}
		return showSecret(out, w, id, secret, "given a new secret; "+former)
	case "remove":
		if err := h.clients.Remove(ctx, operator(), id); err != nil {
			return err
		}
		return say(out, w, map[string]any{"id": id, "removed": true}, "%s: removed, with all that was issued to it.\n", id)
	case "list":
		return listApps(ctx, out, w, h)
	case "show":
		return showApp(ctx, out, w, h, id)
	}
	return fmt.Errorf("%w: app has no %q", errUsage, args[0])
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
	fmt.Fprintln(t, "ID\tNAME\tGROUPS\tFACTORS\tFROM")
	for _, e := range all {
		from := "database"
		if e.FromFile {
			from = "file"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", e.ID, title(e.Name), orDash(strings.Join(e.Groups, " ")), e.Assurance, from)
	}
	return t.Flush()
}

func title(name map[string]string) string {
	if name["fr"] != "" {
		return name["fr"]
	}
	return name["en"]
}

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
		row := func(name string, values ...string) {
			fmt.Fprintf(t, "%s\t%s\n", name, orDash(strings.Join(values, "\n\t")))
		}
		row("id", e.ID)
		row("name", title(e.Name))
		row("redirect URIs", e.RedirectURIs...)
		row("post-logout URIs", e.PostLogoutURIs...)
		row("groups", e.Groups...)
		row("factors", fmt.Sprint(e.Assurance))
		row("scopes", strings.Join(e.Scopes, " "))
		row("grants", e.Grants...)
		row("audience", e.Audience)
		row("exchanges to", e.ExchangeTo...)
		row("ID token", e.IDTokenAlg)
		row("home", e.Home)
		row("public", fmt.Sprint(e.Public))
		row("PKCE", map[bool]string{true: "waived", false: "required"}[e.PKCEWaived])
		row("secrets", secretLines(e.Secrets)...)
		return t.Flush()
	}
	return fmt.Errorf("%s: %w", id, oidc.ErrUnknownClient)
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
