package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"beffroi/cmd/beffroi/demo"
	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/mfa"
)

// runDemo runs everything on this machine, or prints a sample person's code.
func runDemo(ctx context.Context, out io.Writer, args []string) error {
	if len(args) > 0 && args[0] == "code" {
		return demoCode(ctx, out, args[1:])
	}
	if len(args) > 0 && args[0] == "mail" {
		return demoMail(out, args[1:])
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(out)
	var o demo.Options
	flags.StringVar(&o.Dir, "dir", ".demo", "the `DIR` that keeps the demo's state; created")
	flags.StringVar(&o.Provider, "provider", "127.0.0.1:8080", "where the provider listens")
	flags.StringVar(&o.Portal, "portal", "127.0.0.1:8081", "where the portal listens")
	flags.StringVar(&o.Content, "content", "", "where mail documents are shown (default: the port after the portal's, or a free one)")
	fresh := flags.Bool("fresh", false, "forget what an earlier demo kept in DIR")
	if err := flags.Parse(args); err != nil {
		return usageError(err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: demo does not know %q", errUsage, flags.Arg(0))
	}
	return serveDemo(ctx, out, o, *fresh)
}

func serveDemo(ctx context.Context, out io.Writer, o demo.Options, fresh bool) error {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockDir(o.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if fresh {
		if err := demo.Reset(o.Dir); err != nil {
			return err
		}
	}
	for what, addr := range map[string]string{"provider": o.Provider, "portal": o.Portal} {
		if err := free(addr); err != nil {
			return fmt.Errorf("the %s cannot listen: %w\nIs another demo running? Other ports: beffroi demo -provider 127.0.0.1:18080 -portal 127.0.0.1:18081", what, err)
		}
	}
	if o.Content == "" {
		if o.Content, err = contentAddr(o.Portal); err != nil {
			return err
		}
	}
	o.Admin = "127.0.0.1:9090"
	if free(o.Admin) != nil {
		o.Admin = "127.0.0.1:0" // another demo has it; nobody relies on a second one's metrics
	}
	if o.Log, err = logger(LogConfig{Level: "warn", Format: "text"}, os.Stderr); err != nil {
		return err
	}
	d, err := demo.Start(o)
	if err != nil {
		return err
	}
	defer d.Close()
	cfg, err := LoadConfig(d.Config)
	if err != nil {
		return err
	}
	h, err := open(ctx, cfg, o.Log)
	if err != nil {
		return err
	}
	defer h.close()
	again, err := seed(ctx, h, o.Dir)
	if err != nil {
		return err
	}
	if err := h.listen(); err != nil {
		return err
	}
	o.Admin = h.listensAt("admin")
	announce(out, d, o, again)
	h.work(ctx)
	fmt.Fprintln(out, "stopping…")
	return nil
}

// contentAddr is a free address beside the portal's.
func contentAddr(portal string) (string, error) {
	host, port, err := net.SplitHostPort(portal)
	if err != nil {
		return "", err
	}
	if n, err := strconv.Atoi(port); err == nil {
		if next := net.JoinHostPort(host, strconv.Itoa(n+1)); free(next) == nil {
			return next, nil
		}
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String(), nil
}

// seed gives the sample people who have one their second factor, once: what is
// changed in a demo stays changed.
func seed(ctx context.Context, h *house, dir string) (again bool, err error) {
	mark := filepath.Join(dir, "seeded")
	if _, err := os.Stat(mark); err == nil {
		return true, nil
	}
	for _, login := range demo.TOTPLogins {
		p, err := h.directory.ByLogin(ctx, login)
		if err != nil {
			return false, fmt.Errorf("sample person %s: %w", login, err)
		}
		if err := h.mfa.Install(ctx, audit.System("demo"), p.ID, demo.TOTPSecret); err != nil {
			return false, err
		}
	}
	for _, k := range demo.Keys() {
		if err := seedKey(ctx, h, k); err != nil {
			return false, fmt.Errorf("sample key %s: %w", k.Serial, err)
		}
	}
	return false, os.WriteFile(mark, nil, 0o600)
}

// seedKey brings a sample OTP key to its place. One that an interrupted start
// left behind stays as it is.
func seedKey(ctx context.Context, h *house, k demo.Key) error {
	actor := audit.System("demo")
	err := h.mfa.AddKeys(ctx, actor, "demo", k.School, []mfa.KeySpec{{Serial: k.Serial, Algorithm: "TOTP", Hash: "SHA1", Digits: 6, Period: 30, Seed: k.Seed(), Model: "Porte-clés"}})
	var known *mfa.ErrKeyKnown
	if errors.As(err, &known) {
		return nil
	}
	if err != nil || k.Login == "" {
		return err
	}
	p, err := h.directory.ByLogin(ctx, k.Login)
	if err != nil {
		return err
	}
	assign := mfa.KeyMove{Step: mfa.StepAssign, Person: p.ID, Holder: p.DisplayName, Reason: "demo"}
	steps := map[string][]mfa.KeyMove{
		"assigned": {assign},
		"handed":   {assign, {Step: mfa.StepHand, Reason: "demo"}},
		"lost":     {assign, {Step: mfa.StepHand, Reason: "demo"}, {Step: mfa.StepLose, Reason: "demo"}},
		"overdue":  {{Step: mfa.StepLend, Person: p.ID, Holder: p.DisplayName, Ends: time.Now().Add(time.Second), Reason: "demo"}},
	}
	for _, m := range steps[k.State] {
		if _, err := h.mfa.MoveKey(ctx, actor, k.Serial, m); err != nil {
			return err
		}
	}
	return nil
}

func announce(out io.Writer, d *demo.Demo, o demo.Options, again bool) {
	fmt.Fprintf(out, "\nBeffroi, with a sample academy\n\n  portal    %s\n  provider  %s\n  content   %s (of mail)\n  metrics   http://%s/metrics\n  state     %s\n\n", d.Portal, d.Issuer, d.Content, o.Admin, o.Dir)
	fmt.Fprintf(out, "  directory %s\n  mail      imap://%s  smtp://%s (submission)\n  agendas   %s (contacts too)\n\n", d.LDAP, d.IMAP, d.SMTP, d.DAV)
	if again {
		fmt.Fprintf(out, "Kept from before: second factors, sessions, keys, preferences. The sample mail,\ncalendars and contacts start afresh each time; -fresh forgets the rest too.\n\n")
	} else {
		fmt.Fprintf(out, "Second factors, sessions, keys and preferences are kept for the next start; the\nsample mail, calendars and contacts start afresh each time.\n\n")
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  LOGIN\tWHO\tSECOND FACTOR\n")
	for _, p := range d.Guests() {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", p.Login, p.About, p.Factor)
	}
	_ = t.Flush()
	fmt.Fprintf(out, "\n  password of all  %s\n  present code     bin/beffroi demo code LOGIN%s\n\nCtrl-C stops it.\n\n", demo.Password, dirFlag(o.Dir))
	fmt.Fprintf(out, "ready provider=%s portal=%s\n", d.Issuer, d.Portal)
}

func dirFlag(dir string) string {
	if dir == ".demo" {
		return ""
	}
	return " -dir " + dir
}

// demoMail prints the newest mail that went to an address outside the academy.
func demoMail(out io.Writer, args []string) error {
	flags := flag.NewFlagSet("demo mail", flag.ContinueOnError)
	flags.SetOutput(out)
	w := &where{}
	flags.StringVar(&w.dir, "dir", ".demo", "the demo's `DIR`")
	flags.BoolVar(&w.json, "json", false, "print JSON, for programs")
	address, rest := leadingWord(args)
	if err := flags.Parse(rest); err != nil {
		return usageError(err)
	}
	if address == "" && flags.NArg() > 0 {
		address = flags.Arg(0)
	}
	if address == "" {
		return fmt.Errorf("%w: whose? demo mail ADDRESS", errUsage)
	}
	l, err := demo.Outside(w.dir, address)
	if errors.Is(err, demo.ErrNoLetter) {
		return fmt.Errorf("%s: %w; people of %s read theirs in the portal", address, err, demo.MailDomain)
	}
	if err != nil {
		return err
	}
	return say(out, w, map[string]string{"to": l.To, "subject": l.Subject, "text": l.Text}, "%s\n\n%s\n", l.Subject, strings.TrimSpace(l.Text))
}

// demoCode prints the code that a sample person's telephone, or a sample OTP
// key, would show now.
func demoCode(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("demo code", flag.ContinueOnError)
	flags.SetOutput(out)
	w := &where{}
	flags.StringVar(&w.dir, "dir", ".demo", "the demo's `DIR`")
	flags.BoolVar(&w.json, "json", false, "print JSON, for programs")
	key := flags.String("key", "", "of the OTP key with this `SERIAL` instead: "+demo.Keys()[0].Serial)
	login, rest := leadingWord(args)
	if err := flags.Parse(rest); err != nil {
		return usageError(err)
	}
	if *key != "" {
		k, err := demo.KeyOf(*key)
		if err != nil {
			return err
		}
		code, err := mfa.SampleCode(k.Seed(), time.Now())
		if err != nil {
			return err
		}
		return say(out, w, map[string]string{"serial": k.Serial, "code": code}, "%s\n", code)
	}
	if login == "" && flags.NArg() > 0 {
		login = flags.Arg(0)
	}
	if login == "" {
		return fmt.Errorf("%w: whose? demo code LOGIN", errUsage)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	p, err := h.directory.ByLogin(ctx, login)
	if errors.Is(err, directory.ErrUnknown) {
		return fmt.Errorf("nobody has the login %q in the sample academy", login)
	}
	if err != nil {
		return err
	}
	code, err := h.mfa.Code(ctx, p.ID)
	var notYet *mfa.NotYet
	if errors.As(err, &notYet) {
		// Every code of this moment is used: the next one is seconds away.
		select {
		case <-time.After(time.Until(notYet.Until) + 100*time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		code, err = h.mfa.Code(ctx, p.ID)
	}
	if errors.Is(err, mfa.ErrNoFactor) {
		return fmt.Errorf("%s has no second factor yet: sign in with the password, the next page shows the secret, and then this command prints its code", login)
	}
	if err != nil {
		return err
	}
	return say(out, w, map[string]string{"login": p.Login, "code": code}, "%s\n", code)
}

// loadDemo reads a demo's configuration. When the demo does not run, its
// directory does not either: the sample one is started for the command.
func loadDemo(dir string) (*Config, func(), error) {
	path := demoConfig(dir)
	if _, err := os.Stat(path); err != nil {
		return nil, nil, fmt.Errorf("%s holds no demo; start one with `beffroi demo -dir %s`", dir, dir)
	}
	cfg, err := LoadConfig(path)
	if err != nil {
		return nil, nil, err
	}
	if len(cfg.Directory.URLs) > 0 && answers(strings.TrimPrefix(cfg.Directory.URLs[0], "ldap://")) && running(dir) {
		return cfg, func() {}, nil
	}
	ldap, err := demo.StartLDAP("127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	cfg.Directory.URLs, cfg.Directory.BindDN = []string{"ldap://" + ldap.Addr}, ldap.BindDN
	return cfg, func() { _ = ldap.Close() }, nil
}

func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// free tells why an address cannot be listened on.
func free(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return ln.Close()
}

// lockDir makes sure that one demo at a time runs in a directory.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("a demo runs in %s already", dir)
	}
	return func() { _ = f.Close() }, nil
}

// running tells whether a demo holds the lock of dir.
func running(dir string) bool {
	unlock, err := lockDir(dir)
	if err != nil {
		return true
	}
	unlock()
	return false
}
