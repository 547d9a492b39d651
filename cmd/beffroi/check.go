package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"beffroi/directory"
	"beffroi/internal/db"
	"beffroi/internal/secret"
	"beffroi/oidc"
)

// finding is what one check saw.
type finding struct {
	What  string `json:"what"`
	State string `json:"state"` // "ok", "warn" (works, and will not for long) or "wrong"
	Says  string `json:"says"`
}

// runCheck tries everything that a configuration names, without changing
// anything, and says in plain words what is wrong.
func runCheck(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
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
	findings := cfg.check(ctx)
	bad := 0
	for _, f := range findings {
		if f.State == "wrong" {
			bad++
		}
		if !w.json {
			fmt.Fprintf(out, "%-5s  %-18s %s\n", f.State, f.What, f.Says)
		}
	}
	if w.json {
		if err := printJSON(out, findings); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(findings))
	}
	return nil
}

func (c *Config) check(ctx context.Context) []finding {
	findings := []finding{{"configuration", "ok", "every key is known and has a sound value"}}
	note := func(what string, says string, err error) {
		if err != nil {
			findings = append(findings, finding{what, "wrong", err.Error()})
			return
		}
		findings = append(findings, finding{what, "ok", says})
	}
	sealer, err := secret.LoadSealer(c.SealKeyFile)
	if err == nil {
		note("sealing key", "key "+sealer.ID()+", readable by its owner only", nil)
	} else {
		note("sealing key", "", err)
	}
	for _, one := range c.databases() {
		says, err := checkDatabase(ctx, one.address)
		note(one.name, says, err)
	}
	if c.Provider.Listen != "" {
		findings = append(findings, checkDirectory(ctx, c.Directory)...)
		findings = append(findings, checkProConnect(c.Provider.Config)...)
		if c.Provider.Registration.Mode == oidc.RegistrationOpen {
			findings = append(findings, finding{"registration", "warn", "anybody may register an application (provider.registration.mode is open): for trials only"})
		}
	}
	if c.Provider.Listen != "" && c.Provider.Mail.Configured() {
		note("mail (messages to people)", "takes messages from "+c.Provider.Mail.From, c.Provider.Mail.Check(ctx))
	} else if c.Provider.Listen != "" {
		findings = append(findings, finding{"mail (messages to people)", "warn", "provider.mail is not configured: people are not told of changes to their account"})
	}
	if c.Provider.Listen != "" && len(c.Provider.Kick.URLs) > 0 {
		note("mail (doveadm)", "takes the key of kick.key_file", oidc.CheckKick(ctx, c.Provider.Config))
	}
	if c.Portal.Listen != "" && c.Portal.Mail.IMAP != "" {
		m := c.Portal.Mail
		says, err := checkMail(ctx, m.IMAP, m.IMAPTLS, m.CAFile, m.ServerName, imapDialogue)
		note("mail (IMAP)", says, err)
		if m.Submission != "" {
			says, err = checkMail(ctx, m.Submission, m.SubmissionTLS, m.CAFile, m.ServerName, smtpDialogue)
			note("mail (submission)", says, err)
		}
		if m.Sieve != "" {
			says, err = checkMail(ctx, m.Sieve, cmp.Or(m.SieveTLS, "starttls"), m.CAFile, m.ServerName, sieveDialogue)
			note("mail (filters)", says, err)
		}
	}
	return append(findings, checkClock())
}

func checkDatabase(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return "SQLite, to be created at " + path, nil
		}
	}
	d, err := db.Open(ctx, address)
	if err != nil {
		return "", fmt.Errorf("cannot be opened: %w", err)
	}
	defer d.Close()
	pending, err := d.Pending(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	if err := checkDatabaseClock(ctx, d); err != nil {
		return "", err
	}
	says := d.Kind() + ", schema up to date"
	if len(pending) > 0 {
		says = fmt.Sprintf("%s, %d migrations to apply at the next start (or by `beffroi migrate`)", d.Kind(), len(pending))
	}
	return says, nil
}

// checkDirectory tries every server, those in reserve too.
func checkDirectory(ctx context.Context, c directory.Config) []finding {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	d, err := directory.Open(c, time.Now)
	if err != nil {
		return []finding{{"directory", "wrong", err.Error()}}
	}
	defer d.Close()
	var all []finding
	for _, one := range d.Check(ctx) {
		if one.Err != nil {
			all = append(all, finding{"directory", "wrong", one.Server + ": " + one.Err.Error()})
			continue
		}
		all = append(all, finding{"directory", "ok", fmt.Sprintf("%s answers in %s, the service account can read people", one.Server, one.Took.Round(time.Millisecond))})
	}
	return all
}

// checkProConnect says what the federation will be told. That each rule of its
// contract can be held, the configuration's own check has seen.
func checkProConnect(c oidc.Config) []finding {
	var all []finding
	for _, app := range c.Applications {
		if app.Profile != oidc.ProfileProConnect {
			continue
		}
		if app.SecretFile != "" {
			if _, err := lineOf(app.SecretFile); err != nil {
				all = append(all, finding{"ProConnect", "wrong", app.ID + ": " + err.Error()})
				continue
			}
		}
		all = append(all, finding{"ProConnect", "ok", fmt.Sprintf("%s: %d schools have a SIRET of their own, addresses of %s; try it with `beffroi proconnect test`",
			app.ID, c.ProConnect.KnownSchools(), strings.Join(c.ProConnect.MailDomains, ", "))})
	}
	return all
}

// dialogue reads a server's greeting and abilities, and starts TLS when told.
type dialogue func(r *bufio.Reader, w io.Writer, startTLS bool) (abilities string, err error)

func checkMail(ctx context.Context, addr, mode, caFile, serverName string, speak dialogue) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("cannot be reached: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if serverName == "" {
		serverName, _, _ = net.SplitHostPort(addr)
	}
	conf := &tls.Config{ServerName: serverName}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return "", err
		}
		conf.RootCAs = x509.NewCertPool()
		conf.RootCAs.AppendCertsFromPEM(pem)
	}
	secure := func(c net.Conn) (*tls.Conn, error) {
		t := tls.Client(c, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("its certificate is not accepted for %q: %w", serverName, err)
		}
		return t, nil
	}
	if mode == "" || mode == "tls" {
		if conn, err = secure(conn); err != nil {
			return "", err
		}
	}
	if mode == "starttls" {
		if _, err := speak(bufio.NewReader(conn), conn, true); err != nil {
			return "", err
		}
		if conn, err = secure(&greeted{conn}); err != nil {
			return "", err
		}
	}
	abilities, err := speak(bufio.NewReader(conn), conn, false)
	if err != nil {
		return "", err
	}
	if !strings.Contains(strings.ToUpper(abilities), "OAUTHBEARER") {
		return "", errors.New("answers, but does not offer OAUTHBEARER: nobody could read mail without a password")
	}
	return "answers at " + addr + " and offers OAUTHBEARER", nil
}

func imapDialogue(r *bufio.Reader, w io.Writer, startTLS bool) (string, error) {
	if err := greeting(r, w); err != nil {
		return "", err
	}
	command, tag := "a1 CAPABILITY\r\n", "a1 "
	if startTLS {
		command = "a1 STARTTLS\r\n"
	}
	if _, err := io.WriteString(w, command); err != nil {
		return "", err
	}
	var all strings.Builder
	for range 50 {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("stopped answering: %w", err)
		}
		all.WriteString(line)
		if strings.HasPrefix(line, tag) {
			if !strings.HasPrefix(line, tag+"OK") {
				return "", fmt.Errorf("refused %s: %s", strings.TrimSpace(command), strings.TrimSpace(line))
			}
			return all.String(), nil
		}
	}
	return "", errors.New("answers without end")
}

func smtpDialogue(r *bufio.Reader, w io.Writer, startTLS bool) (string, error) {
	if err := greeting(r, w); err != nil {
		return "", err
	}
	abilities, err := smtpCommand(r, w, "EHLO localhost\r\n", "250")
	if err != nil || !startTLS {
		return abilities, err
	}
	return smtpCommand(r, w, "STARTTLS\r\n", "220")
}

// sieveDialogue reads the greeting (RFC 5804 §1.7), that a server says again after
// STARTTLS.
func sieveDialogue(r *bufio.Reader, w io.Writer, startTLS bool) (string, error) {
	said := func() (string, error) {
		var all strings.Builder
		for range 50 {
			line, err := r.ReadString('\n')
			if err != nil {
				return "", fmt.Errorf("stopped answering: %w", err)
			}
			all.WriteString(line)
			if strings.HasPrefix(line, "OK") {
				return all.String(), nil
			}
			if strings.HasPrefix(line, "NO") || strings.HasPrefix(line, "BYE") {
				return "", fmt.Errorf("refused: %s", strings.TrimSpace(line))
			}
		}
		return "", errors.New("talks too much")
	}
	abilities, err := said()
	if err != nil || !startTLS {
		return abilities, err
	}
	if _, err := io.WriteString(w, "STARTTLS\r\n"); err != nil {
		return "", err
	}
	return said()
}

func smtpCommand(r *bufio.Reader, w io.Writer, command, want string) (string, error) {
	if _, err := io.WriteString(w, command); err != nil {
		return "", err
	}
	var all strings.Builder
	for range 50 {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("stopped answering: %w", err)
		}
		all.WriteString(line)
		if !strings.HasPrefix(line, want) {
			return "", fmt.Errorf("refused %s: %s", strings.TrimSpace(command), strings.TrimSpace(line))
		}
		if len(line) < 4 || line[3] != '-' {
			return all.String(), nil
		}
	}
	return "", errors.New("answers without end")
}

// greeting reads the first line of a server, unless it was read before TLS.
func greeting(r *bufio.Reader, w io.Writer) error {
	if t, ok := w.(*tls.Conn); ok {
		if _, upgraded := t.NetConn().(*greeted); upgraded {
			return nil
		}
	}
	line, err := r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("says nothing: %w", err)
	}
	if !strings.HasPrefix(line, "* OK") && !strings.HasPrefix(line, "220") {
		return fmt.Errorf("greets with %q", strings.TrimSpace(line))
	}
	return nil
}

// greeted is a connection whose greeting was read before TLS began.
type greeted struct{ net.Conn }

// checkClock asks the kernel whether something keeps its clock right: codes
// and tokens are only as good as the clock.
func checkClock() finding {
	const unsynchronized = 5 // TIME_ERROR of adjtimex(2)
	now := time.Now().UTC().Format("2006-01-02 15:04:05 MST")
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	switch {
	case err != nil:
		return finding{"clock", "warn", "it is " + now + " here; the system does not tell whether anything keeps that right"}
	case state == unsynchronized:
		return finding{"clock", "warn", "it is " + now + " here, and nothing keeps it right: run an NTP client (systemd-timesyncd, chrony), or codes will soon be refused"}
	}
	return finding{"clock", "ok", "it is " + now + ", kept right by the system"}
}

// clockTolerance is how far two clocks may be apart: a code lives 30 seconds.
const clockTolerance = 10 * time.Second

// checkDatabaseClock compares this machine's clock with the database's.
func checkDatabaseClock(ctx context.Context, d *db.DB) error {
	if d.Kind() != "postgres" {
		return nil
	}
	var there db.Time
	before := time.Now()
	if err := d.QueryRow(ctx, "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)").Scan(&there); err != nil {
		return err
	}
	if apart := there.Sub(before).Abs(); apart > clockTolerance {
		return fmt.Errorf("its clock and this machine's are %s apart: set them right, or sessions and codes will end at the wrong time", apart.Round(time.Second))
	}
	return nil
}
