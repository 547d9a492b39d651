package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"beffroi/cmd/beffroi/demo"
	"beffroi/cmd/beffroi/proconnect"
	"beffroi/directory"
	"beffroi/internal/audit"
	"beffroi/internal/i18n"
	"beffroi/mfa"
	"beffroi/oidc"
)

// runProConnect plays ProConnect against the provider that runs, with a test
// account, and says which rules of its contract hold.
func runProConnect(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 || args[0] != "test" {
		return fmt.Errorf("%w: proconnect test [-login LOGIN -password-file FILE]", errUsage)
	}
	flags := flag.NewFlagSet("proconnect test", flag.ContinueOnError)
	flags.SetOutput(out)
	w := configFlags(flags)
	var about trial
	flags.StringVar(&about.app, "app", "", "`ID` of the application to play; the first one of the profile proconnect")
	flags.StringVar(&about.login, "login", "", "`LOGIN` of the test account; in a demo, "+demoGuest)
	flags.StringVar(&about.passwordFile, "password-file", "", "`FILE` with its password")
	flags.StringVar(&about.totpFile, "totp-file", "", "`FILE` with the secret of its second factor, as its enrolment showed it")
	if err := flags.Parse(args[1:]); err != nil {
		return usageError(err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: proconnect test does not know %q", errUsage, flags.Arg(0))
	}
	if w.dir != "" && !running(w.dir) {
		return fmt.Errorf("no demo runs in %s: start it with `beffroi demo -dir %s`", w.dir, w.dir)
	}
	h, done, err := w.identity(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, err := about.config(ctx, h, w.dir != "")
	if err != nil {
		return err
	}
	results, err := proconnect.Run(ctx, c)
	if err != nil {
		return err
	}
	red := 0
	if w.json {
		for _, r := range results {
			if r.State == proconnect.Red {
				red++
			}
		}
		if err := printJSON(out, results); err != nil {
			return err
		}
	} else {
		red = proconnect.Print(out, terminalLanguage(), colourful(out), c, results)
	}
	if red > 0 {
		return fmt.Errorf("%d of the %d rules of ProConnect do not hold", red, len(results))
	}
	return nil
}

// demoGuest is the sample person who tries: a member of staff with a second factor.
const demoGuest = "mdupont"

// trial is what the command line says.
type trial struct{ app, login, passwordFile, totpFile string }

// config finds out the rest: from the configuration, what was told to
// ProConnect; from the directory, the account's address.
func (t trial) config(ctx context.Context, h *house, inDemo bool) (proconnect.Config, error) {
	app, err := t.application(h.cfg.Provider.Applications)
	if err != nil {
		return proconnect.Config{}, err
	}
	if t.login == "" && inDemo {
		t.login = demoGuest
	}
	if t.login == "" || t.passwordFile == "" && !inDemo {
		return proconnect.Config{}, fmt.Errorf("%w: which test account? -login LOGIN -password-file FILE: somebody with an address of %s and a second factor (-totp-file FILE)",
			errUsage, strings.Join(h.cfg.Provider.ProConnect.MailDomains, ", "))
	}
	person, err := h.directory.ByLogin(ctx, t.login)
	if errors.Is(err, directory.ErrUnknown) {
		return proconnect.Config{}, fmt.Errorf("nobody has the login %q in the directory", t.login)
	}
	if err != nil {
		return proconnect.Config{}, err
	}
	c := proconnect.Config{
		Issuer: h.cfg.Provider.Issuer, ClientID: app.ID, RedirectURI: app.RedirectURIs[0], PostLogoutURI: app.PostLogoutURIs[0],
		IDTokenAlg: orDefault(app.IDTokenAlg, oidc.ES256), UserinfoAlg: orDefault(app.UserinfoAlg, oidc.ES256),
		Login: person.Login, Mail: h.cfg.Provider.ProConnect.AddressOf(person), Password: demo.Password, Expire: h.provider.LongExpired, Now: h.now,
	}
	for _, domain := range h.cfg.Provider.ProConnect.MailDomains {
		c.MailDomains = append(c.MailDomains, strings.ToLower(strings.TrimSpace(domain)))
	}
	if c.ClientSecret, err = lineOf(app.SecretFile); err != nil {
		return c, err
	}
	if t.passwordFile != "" {
		if c.Password, err = lineOf(t.passwordFile); err != nil {
			return c, err
		}
	}
	if c.Code, err = t.codes(h, person.ID, inDemo); err != nil {
		return c, err
	}
	if c.Transport, err = towards(h.cfg.Portal.CAFile); err != nil {
		return c, err
	}
	return c, h.audit.Record(ctx, operator(), audit.Event{Action: "proconnect.test", Target: person.ID, Application: app.ID, Outcome: "ok"})
}

func (t trial) application(all []oidc.Client) (oidc.Client, error) {
	for _, app := range all {
		if app.Profile != oidc.ProfileProConnect || t.app != "" && t.app != app.ID {
			continue
		}
		if app.SecretFile == "" {
			return app, fmt.Errorf("application %s: its secret stands as a hash only; give secret_file, which the test can send", app.ID)
		}
		return app, nil
	}
	if t.app != "" {
		return oidc.Client{}, fmt.Errorf("%s is no application of the profile proconnect in the configuration file", t.app)
	}
	return oidc.Client{}, errors.New("no application of the configuration file has the profile proconnect; docs/proconnect.md shows one")
}

// codes gives a code of the account's second factor, each once: in a demo what
// the telephone would show, otherwise by the secret that was given; nil for none.
func (t trial) codes(h *house, person string, inDemo bool) (func(context.Context) (string, error), error) {
	if t.totpFile == "" {
		if !inDemo {
			return nil, nil
		}
		return func(ctx context.Context) (string, error) {
			code, err := h.mfa.Code(ctx, person)
			var notYet *mfa.NotYet
			if errors.As(err, &notYet) {
				if err := sleepUntil(ctx, notYet.Until); err != nil {
					return "", err
				}
				code, err = h.mfa.Code(ctx, person)
			}
			return code, err
		}, nil
	}
	secret, err := lineOf(t.totpFile)
	if err != nil {
		return nil, err
	}
	if _, err := mfa.CodeAt(secret, h.now()); err != nil {
		return nil, fmt.Errorf("%s: %w", t.totpFile, err)
	}
	next := time.Time{}
	return func(ctx context.Context) (string, error) {
		const step = 30 * time.Second
		if now := h.now(); next.Before(now) {
			next = now
		} else if err := sleepUntil(ctx, next.Add(-step)); err != nil { // the code after this one is good already
			return "", err
		}
		code, err := mfa.CodeAt(secret, next)
		next = next.Add(step)
		return code, err
	}, nil
}

func sleepUntil(ctx context.Context, t time.Time) error {
	select {
	case <-time.After(time.Until(t) + 100*time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// towards reaches the provider by the portal's authorities, which are for that.
func towards(caFile string) (http.RoundTripper, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
	return t, nil
}

// lineOf reads a secret from a file, without the newline of an editor.
func lineOf(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func orDefault(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// terminalLanguage is what the environment asks for, French unless it is English.
func terminalLanguage() i18n.Lang {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			if strings.HasPrefix(v, "en") {
				return i18n.English
			}
			return i18n.French
		}
	}
	return i18n.French
}

// colourful tells whether out is a terminal that shows colours.
func colourful(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	about, err := f.Stat()
	return err == nil && about.Mode()&os.ModeCharDevice != 0
}
