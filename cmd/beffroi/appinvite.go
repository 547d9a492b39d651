package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"beffroi/oidc"
)

// runInvite makes, lists and revokes invitations: initial access tokens by
// which an application registers itself.
func runInvite(ctx context.Context, out io.Writer, args []string) error {
	what, rest := leadingWord(args)
	flags := flag.NewFlagSet(strings.TrimSpace("app invite "+what), flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	var one oidc.Invite
	life := 24 * time.Hour
	var id string
	switch what {
	case "":
		inviteFlags(flags, &one, &life)
	case "revoke":
		id, rest = leadingWord(rest)
	case "list":
	default:
		return fmt.Errorf("%w: app invite [list | revoke ID]", errUsage)
	}
	if err := flags.Parse(rest); err != nil {
		return usageError(err)
	}
	if id == "" && flags.NArg() > 0 {
		id = flags.Arg(0)
	}
	if what == "revoke" && id == "" {
		return fmt.Errorf("%w: which? app invite revoke ID", errUsage)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	switch what {
	case "list":
		return listInvites(ctx, out, w, h)
	case "revoke":
		if err := h.clients.RevokeInvite(ctx, operator(), id); err != nil {
			return err
		}
		return say(out, w, map[string]any{"id": id, "revoked": true}, "%s: revoked. What was registered with it goes on.\n", id)
	}
	token, made, err := h.clients.Invite(ctx, operator(), one, life)
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, struct {
			oidc.Invite
			Token string `json:"initial_access_token"`
		}{made, token})
	}
	fmt.Fprintf(out, "%s: an invitation to register at %s/oauth2/register, good %d times until %s.\ninitial_access_token: %s\nIt is shown this once and stored as a hash.\n",
		made.ID, h.cfg.Provider.Issuer, made.Uses, made.Ends.Local().Format("2006-01-02 15:04"), token)
	if mode := h.cfg.Provider.Registration.Mode; mode == "" || mode == oidc.RegistrationClosed {
		fmt.Fprintln(out, "Registration is closed in the configuration: set provider.registration.mode to token, or it opens nothing.")
	}
	return nil
}

func inviteFlags(flags *flag.FlagSet, one *oidc.Invite, life *time.Duration) {
	list := func(name, usage string, split func(string) []string, into *[]string) {
		flags.Func(name, usage, func(value string) error { *into = append(*into, split(value)...); return nil })
	}
	flags.StringVar(&one.Note, "note", "", "for `WHOM`, in your words")
	flags.IntVar(&one.Uses, "uses", 1, "how many applications may register with it")
	flags.DurationVar(life, "expires", 24*time.Hour, "how long it is good")
	flags.DurationVar(&one.Policy.Life, "life", 0, "how long what is registered lives; 0, for good")
	list("scopes", "`SCOPES` they may ask", commas, &one.Policy.Scopes)
	list("grants", "`GRANTS` they may use", grantNames, &one.Policy.Grants)
	list("redirect-hosts", "`HOSTS` where their addresses may be, exact; none, anywhere", commas, &one.Policy.RedirectHosts)
	list("groups", "`GROUPS` whose members may open them; none, everyone", commas, &one.Policy.Groups)
	flags.IntVar(&one.Policy.Assurance, "assurance", 0, "`N`: 1 password, 2 a second factor, 3 one that resists phishing; 0, the provider's default")
	flags.StringVar(&one.Policy.Consent, "consent", "", "`WHEN` a person is asked: never, once (default) or always")
	flags.Func("pkce", "required (default) or waived", func(value string) error {
		if value != "required" && value != "waived" {
			return fmt.Errorf("must be required or waived")
		}
		one.Policy.PKCEWaived = value == "waived"
		return nil
	})
}

func listInvites(ctx context.Context, out io.Writer, w *where, h *house) error {
	all, err := h.clients.Invites(ctx)
	if err != nil {
		return err
	}
	if w.json {
		return printJSON(out, append([]oidc.Invite{}, all...))
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUSED\tUNTIL\tBY\tFOR\tMAY")
	for _, one := range all {
		may, err := json.Marshal(one.Policy)
		if err != nil {
			return err
		}
		if string(may) == "{}" {
			may = []byte("what the configuration allows")
		}
		fmt.Fprintf(t, "%s\t%d/%d\t%s\t%s\t%s\t%s\n", one.ID, one.Used, one.Uses, one.Ends.Local().Format("2006-01-02 15:04"), one.Maker, orDash(one.Note), may)
	}
	return t.Flush()
}
