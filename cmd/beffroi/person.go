package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/internal/db"
	"beffroi/signin"
)

// runPerson helps one person from the command line.
func runPerson(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: person show | unlock | lock | open | reset-factor LOGIN", errUsage)
	}
	flags := flag.NewFlagSet("person "+args[0], flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	reason := flags.String("reason", "asked at the command line", "why, for the audit trail")
	login, rest := leadingWord(args[1:])
	if err := flags.Parse(rest); err != nil {
		return usageError(err)
	}
	if login == "" && flags.NArg() > 0 {
		login = flags.Arg(0)
	}
	if login == "" {
		return fmt.Errorf("%w: whose? person %s LOGIN", errUsage, args[0])
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	p, err := h.directory.ByLogin(ctx, login)
	if errors.Is(err, directory.ErrUnknown) {
		return fmt.Errorf("nobody has the login %q in the directory", login)
	}
	if err != nil {
		return err
	}
	switch args[0] {
	case "show":
		return showPerson(ctx, out, w, h, p)
	case "unlock":
		if err := h.signin.Unlock(ctx, operator(), p.Login); err != nil {
			return err
		}
		return say(out, w, map[string]any{"login": p.Login, "unlocked": true}, "%s (%s): wrong guesses forgotten, sign-in is open again.\n", p.DisplayName, p.Login)
	case "lock":
		if err := h.signin.Lock(ctx, operator(), p.ID, *reason); err != nil {
			return err
		}
		return say(out, w, map[string]any{"login": p.Login, "locked": true}, "%s (%s): account locked, every session ended. `beffroi person open %s -reason …` opens it again.\n", p.DisplayName, p.Login, p.Login)
	case "open":
		err := h.signin.Open(ctx, operator(), p.ID, *reason)
		if errors.Is(err, db.ErrNotFound) {
			return fmt.Errorf("the account of %s is not locked", p.Login)
		}
		if err != nil {
			return err
		}
		return say(out, w, map[string]any{"login": p.Login, "locked": false}, "%s (%s): account opened, sign-in is possible again.\n", p.DisplayName, p.Login)
	case "reset-factor":
		n, err := h.mfa.Reset(ctx, operator(), p.ID, *reason)
		if err != nil {
			return err
		}
		return say(out, w, map[string]any{"login": p.Login, "removed": n}, "%s (%s): %d second factor(s) removed, every session ended. The next sign-in enrols a new one.\n", p.DisplayName, p.Login, n)
	}
	return fmt.Errorf("%w: person has no %q", errUsage, args[0])
}

// leadingWord lets LOGIN stand before the flags as well as after them.
func leadingWord(args []string) (word string, rest []string) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0], args[1:]
	}
	return "", args
}

func say(out io.Writer, w *where, machine any, format string, args ...any) error {
	if w.json {
		return printJSON(out, machine)
	}
	_, err := fmt.Fprintf(out, format, args...)
	return err
}

func showPerson(ctx context.Context, out io.Writer, w *where, h *house, p directory.Person) error {
	// ByLogin leaves groups to whoever needs them.
	if full, err := h.directory.ByID(ctx, p.ID); err == nil {
		p = full
	}
	factors, err := h.mfa.Factors(ctx, p.ID)
	if err != nil {
		return err
	}
	lock, err := h.signin.LockState(ctx, p.Login)
	if err != nil {
		return err
	}
	sessions, err := h.sessions.Count(ctx, p.ID)
	if err != nil {
		return err
	}
	shut, err := h.signin.LockOf(ctx, p.ID)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	if w.json {
		type factor struct {
			Kind    string    `json:"kind"`
			Name    string    `json:"name,omitempty"`
			Created time.Time `json:"created"`
			Used    time.Time `json:"used,omitzero"`
		}
		list := []factor{}
		for _, f := range factors {
			list = append(list, factor{string(f.Kind), f.Name, f.Created, f.Used})
		}
		return printJSON(out, map[string]any{
			"id": p.ID, "login": p.Login, "name": p.DisplayName, "mail": p.Mail, "dn": p.DN, "schools": p.UAI, "groups": p.Groups, "disabled": p.Disabled, "language": p.Language,
			"factors": list, "sessions": sessions,
			"password_failures": lock.Passwords, "password_locked_until": timeOrNil(lock.PasswordUntil),
			"locked_since": timeOrNil(shut.Since), "locked_by": shut.Way,
			"factor_failures": lock.Factors, "factor_locked_until": timeOrNil(lock.FactorUntil),
		})
	}
	fmt.Fprintf(out, "%s (%s)\n  id        %s\n  mail      %s\n  directory %s\n  schools   %s\n  groups    %s\n",
		p.DisplayName, p.Login, p.ID, p.Mail, p.DN, orDash(strings.Join(p.UAI, ", ")), orDash(strings.Join(p.Groups, ", ")))
	state := "active"
	if p.Disabled {
		state = "disabled in the directory"
	}
	if !shut.Since.IsZero() {
		state += ", LOCKED since " + shut.Since.Local().Format("2006-01-02 15:04") + map[string]string{
			signin.LockedBySelf: " by the person", signin.LockedByLink: " by the link of a message", signin.LockedByCard: " with the printed card", signin.LockedByHelper: " by " + orDash(shut.Actor.Name) + ": " + shut.Reason,
		}[shut.Way]
	}
	fmt.Fprintf(out, "  account   %s\n  password  %s\n  code      %s\n", state, guesses(lock.Passwords, lock.PasswordUntil), guesses(lock.Factors, lock.FactorUntil))
	if len(factors) == 0 {
		fmt.Fprintf(out, "  factors   none: the next sign-in enrols one\n")
	}
	for _, f := range factors {
		used := "never used"
		if !f.Used.IsZero() {
			used = "last used " + f.Used.Local().Format("2006-01-02 15:04")
		}
		fmt.Fprintf(out, "  factor    %s, since %s, %s\n", strings.TrimSpace(string(f.Kind)+" "+f.Name), f.Created.Local().Format("2006-01-02 15:04"), used)
	}
	_, err = fmt.Fprintf(out, "  sessions  %d\n", sessions)
	return err
}

func guesses(n int, until time.Time) string {
	switch {
	case !until.IsZero():
		return fmt.Sprintf("locked until %s after %d wrong guesses", until.Local().Format("15:04:05"), n)
	case n > 0:
		return fmt.Sprintf("open, %d wrong guesses lately", n)
	}
	return "open"
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
