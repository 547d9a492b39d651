package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"beffroi/directory"
	"beffroi/helpdesk"
	"beffroi/internal/audit"
	"beffroi/internal/mailer"
	"beffroi/mfa"
	"beffroi/oidc"
	"beffroi/portal"
	"beffroi/signin"
)

// Config is the one configuration file. Each folder owns its part; here they
// are put together, and every mistake of all of them is reported at once.
type Config struct {
	Name           string           `yaml:"name"`
	SealKeyFile    string           `yaml:"seal_key_file"`
	Database       string           `yaml:"database"`
	DatabaseFile   string           `yaml:"database_file"`
	Admin          string           `yaml:"admin"`
	TrustedProxies []string         `yaml:"trusted_proxies"`
	Log            LogConfig        `yaml:"log"`
	Audit          AuditConfig      `yaml:"audit"`
	Provider       ProviderConfig   `yaml:"provider"`
	Directory      directory.Config `yaml:"directory"`
	Portal         PortalConfig     `yaml:"portal"`

	lines lines // where each key stands, for messages
}

// LogConfig says how the log is written, on standard error.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // json (default) or text
}

// AuditConfig says how long the trail is kept.
type AuditConfig struct {
	Keep audit.Keep `yaml:"keep"`
}

// ProviderConfig is the provider's part; absent Listen, it is not run.
type ProviderConfig struct {
	Listen      string             `yaml:"listen"`
	Session     SessionConfig      `yaml:"session"`
	SignIn      signin.Config      `yaml:"signin"`
	Passkeys    mfa.PasskeyConfig  `yaml:"passkeys"`
	Passes      mfa.PassConfig     `yaml:"passes"`
	OTPKeys     mfa.KeyConfig      `yaml:"otp_keys"`
	MailCodes   mfa.MailCodeConfig `yaml:"mail_codes"`
	Helpdesk    helpdesk.Config    `yaml:"helpdesk"`
	Mail        mailer.Config      `yaml:"mail"`
	oidc.Config `yaml:",inline"`
}

// PortalConfig is the portal's part; absent Listen, it is not run.
type PortalConfig struct {
	Listen        string        `yaml:"listen"`
	Database      string        `yaml:"database"`
	DatabaseFile  string        `yaml:"database_file"`
	Session       SessionConfig `yaml:"session"`
	portal.Config `yaml:",inline"`
}

// SessionConfig bounds a session.
type SessionConfig struct {
	Idle     time.Duration `yaml:"idle"`     // without a request; 2h when 0
	Absolute time.Duration `yaml:"absolute"` // in all; 12h when 0
}

// LoadConfig reads a configuration file. The error is a *ConfigError with every
// mistake, or the reason why the file cannot be read.
func LoadConfig(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, mistakes := parseConfig(text)
	mistakes = append(mistakes, c.validate(len(mistakes) > 0)...)
	if len(mistakes) > 0 {
		return nil, &ConfigError{Path: path, Mistakes: mistakes}
	}
	return c, nil
}

// mistakesOf turns a folder's Validate into mistakes with their key and line.
// A folder's error reads "key: what is wrong", the key within its section.
func (c *Config) mistakesOf(section string, errs []error) []Mistake {
	var all []Mistake
	for _, err := range errs {
		if app, ok := c.ofApplication(err.Error()); ok {
			all = append(all, app)
			continue
		}
		key, problem, ok := strings.Cut(err.Error(), ": ")
		if !ok {
			key, problem = "", err.Error()
		}
		var named *directory.Mistake
		if errors.As(err, &named) {
			key, problem = named.Key, named.Problem
		}
		all = append(all, c.mistake(strings.TrimSuffix(section+"."+strings.TrimPrefix(key, section+"."), "."), "%s", problem))
	}
	return all
}

// ofApplication reads a mistake of an application, which names it by its ID:
// `application "glpi": redirect_uris: …`.
func (c *Config) ofApplication(text string) (Mistake, bool) {
	for i, app := range c.Provider.Applications {
		rest, ok := strings.CutPrefix(text, fmt.Sprintf("application %q: ", app.ID))
		if !ok {
			continue
		}
		key, problem, _ := strings.Cut(rest, ": ")
		return c.mistake(fmt.Sprintf("provider.applications[%d].%s", i, key), "application %q: %s", app.ID, problem), true
	}
	return Mistake{}, false
}

func (c *Config) mistake(key, format string, args ...any) Mistake {
	return Mistake{Line: c.lines.of(key), Key: key, Problem: fmt.Sprintf(format, args...)}
}

// validate checks what was read. A section without listen is not run and may be
// half filled; but when keys could not be read, its listen may be among them,
// so that all that stands there is checked.
func (c *Config) validate(misread bool) []Mistake {
	var all []Mistake
	wrong := func(key, format string, args ...any) { all = append(all, c.mistake(key, format, args...)) }

	if c.Name == "" {
		wrong("name", "the academy has no name; pages show it")
	}
	if c.SealKeyFile == "" {
		wrong("seal_key_file", "is needed: make one with `beffroi key create FILE`")
	} else if _, err := os.Stat(c.SealKeyFile); err != nil {
		wrong("seal_key_file", "%v", err)
	}
	if c.Provider.Listen == "" && c.Portal.Listen == "" {
		wrong("provider.listen", "neither the provider nor the portal is to be run; give one of them an address")
	}
	if _, err := logger(c.Log, os.Stderr); err != nil {
		wrong("log", "%v", err)
	}
	all = append(all, c.mistakesOf("audit", c.Audit.Keep.Validate())...)
	if _, err := c.proxies(); err != nil {
		wrong("trusted_proxies", "%v", err)
	}
	if c.Provider.Listen != "" || c.Portal.Database == "" && c.Portal.DatabaseFile == "" {
		if _, err := databaseAddress(c.Database, c.DatabaseFile); err != nil {
			wrong("database", "%v", err)
		}
	}
	runs := func(listen, section string) bool { return listen != "" || misread && c.lines[section] > 0 }
	if runs(c.Provider.Listen, "provider") {
		all = append(all, c.validateProvider()...)
	}
	if runs(c.Portal.Listen, "portal") {
		all = append(all, c.validatePortal()...)
	}
	return all
}

func (c *Config) validateProvider() []Mistake {
	var all []Mistake
	all = append(all, c.mistakesOf("directory", c.Directory.Validate())...)
	all = append(all, c.mistakesOf("provider", c.Provider.Config.Validate())...)
	all = append(all, c.mistakesOf("provider", c.Provider.SignIn.Validate())...)
	all = append(all, c.mistakesOf("provider", c.Provider.Passkeys.Validate())...)
	all = append(all, c.mistakesOf("provider", c.Provider.Passes.Validate())...)
	all = append(all, c.mistakesOf("provider.otp_keys", c.Provider.OTPKeys.Validate())...)
	all = append(all, c.mistakesOf("provider", c.Provider.Helpdesk.Validate())...)
	all = append(all, c.mistakesOf("provider", c.Provider.Mail.Validate())...)
	all = append(all, c.mistakesOf("provider", c.Provider.MailCodes.Validate())...)
	if c.Provider.MailCodes.Enabled && !c.Provider.Mail.Configured() {
		all = append(all, c.mistake("provider.mail_codes.enabled", "needs provider.mail: the server that codes leave by"))
	}
	all = append(all, c.validateOrigin("provider.issuer", c.Provider.Issuer)...)
	all = append(all, c.validateSession("provider.session", c.Provider.Session)...)
	return all
}

func (c *Config) validatePortal() []Mistake {
	all := c.mistakesOf("portal", c.Portal.Config.Validate())
	all = append(all, c.validateOrigin("portal.base_url", c.Portal.BaseURL)...)
	all = append(all, c.validateSession("portal.session", c.Portal.Session)...)
	if c.Portal.Database != "" || c.Portal.DatabaseFile != "" {
		if _, err := databaseAddress(c.Portal.Database, c.Portal.DatabaseFile); err != nil {
			all = append(all, c.mistake("portal.database", "%v", err))
		}
	}
	return all
}

// validateOrigin holds that an address is an origin: https, or http on this
// machine only.
func (c *Config) validateOrigin(key, address string) []Mistake {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return []Mistake{c.mistake(key, "is needed, as https://host")}
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return []Mistake{c.mistake(key, "%q is not an origin such as https://id.example.fr", address)}
	case u.Scheme == "https", u.Scheme == "http" && onLoopback(u.Hostname()):
		return nil
	}
	return []Mistake{c.mistake(key, "%q must be https: only this machine itself may be reached by http", address)}
}

func (c *Config) validateSession(section string, s SessionConfig) []Mistake {
	var all []Mistake
	if s.Idle < 0 || s.Idle > 24*time.Hour {
		all = append(all, c.mistake(section+".idle", "%s is not between 0 and 24h", s.Idle))
	}
	if s.Absolute < 0 || s.Absolute > 7*24*time.Hour {
		all = append(all, c.mistake(section+".absolute", "%s is not between 0 and 168h", s.Absolute))
	}
	return all
}

func onLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}

// databaseAddress is the address given, or the content of the file that holds
// it because it names a password.
func databaseAddress(address, file string) (string, error) {
	if address != "" && file != "" {
		return "", errors.New("give the address or the file that holds it, not both")
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		address = strings.TrimSpace(string(text))
	}
	if !strings.HasPrefix(address, "sqlite:") && !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		return "", errors.New("must be sqlite:PATH or postgres://…")
	}
	return address, nil
}

func (c *Config) proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, s := range c.TrustedProxies {
		if ip, err := netip.ParseAddr(s); err == nil {
			all = append(all, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network", s)
		}
		all = append(all, p)
	}
	return all, nil
}
