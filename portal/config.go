package portal

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // machines without a zone database still know Europe/Paris

	"beffroi/internal/secret"
)

// Config is the portal's part of the configuration file.
type Config struct {
	BaseURL          string        `yaml:"base_url"` // origin of the portal
	Issuer           string        `yaml:"issuer"`   // the provider's issuer, as its discovery says it
	CAFile           string        `yaml:"ca_file"`  // authorities for reaching the provider; empty: the system's
	ClientID         string        `yaml:"client_id"`
	ClientSecretFile string        `yaml:"client_secret_file"`
	ClientSecret     secret.String `yaml:"-"` // given directly by the demo, instead of the file
	Scopes           []string      `yaml:"scopes"`
	TimeZone         string        `yaml:"time_zone"`   // IANA name; default Europe/Paris
	Check            time.Duration `yaml:"check"`       // how often a session is checked at the provider; default and maximum 30s
	Patience         time.Duration `yaml:"patience"`    // how long sessions outlive a provider that does not answer; default 5m
	SharedLock       time.Duration `yaml:"shared_lock"` // on a computer that several people use, a session ends after so long without anybody; default 5m
	Help             string        `yaml:"help"`        // whom to ask, as shown to people: an address or a telephone number
	Mail             MailConfig    `yaml:"mail"`
	DAV              DAVConfig     `yaml:"dav"`
}

// MailConfig says where the mail servers are. The webmail is absent when IMAP
// is empty.
type MailConfig struct {
	IMAP               string        `yaml:"imap"`           // host:port
	IMAPTLS            string        `yaml:"imap_tls"`       // "tls", "starttls" or "none" (loopback only)
	Submission         string        `yaml:"submission"`     // host:port
	SubmissionTLS      string        `yaml:"submission_tls"` // the same words
	CAFile             string        `yaml:"ca_file"`        // empty: the system's authorities
	ServerName         string        `yaml:"server_name"`    // expected in the certificate; empty: the host
	Audience           string        `yaml:"audience"`       // default "imap"; the token serves IMAP and submission
	Auth               string        `yaml:"auth"`           // "oauthbearer" (default), "xoauth2", or "master" for servers that know no tokens
	MasterUser         string        `yaml:"master_user"`    // with auth: master, who opens everybody's mailbox
	MasterPasswordFile string        `yaml:"master_password_file"`
	Sieve              string        `yaml:"sieve"`            // host:port of ManageSieve, for filters and absences; empty: neither is offered
	SieveTLS           string        `yaml:"sieve_tls"`        // the words of imap_tls; default "starttls"
	Redirects          []string      `yaml:"redirect_domains"` // where filters may send copies: domains, or "*"; empty: the domain of the person's own address
	Timeout            time.Duration `yaml:"timeout"`          // of one answer of a server; default 15s
	MaxMessage         int64         `yaml:"max_message"`      // bytes of a message sent, attachments encoded; default 29360128
	Connections        int           `yaml:"max_connections"`  // per person; default 4
	Undo               time.Duration `yaml:"undo"`             // how long a message sent can be taken back; default 10s, at most 1m; negative: not at all
	Content            ContentConfig `yaml:"content"`
	Files              FilesConfig   `yaml:"files"`
	Functions          []Function    `yaml:"functions"`
	SignersFile        string        `yaml:"signers_file"` // PEM of the authorities whose S/MIME signatures count; empty: the system's
	AuthservID         string        `yaml:"authserv_id"`  // by which the receiving server signs Authentication-Results; empty: no sender is called verified
}

// FilesConfig is about files that are too large for a message: links lead to them.
type FilesConfig struct {
	Dir       string `yaml:"dir"`       // where they are kept, the same folder for every replica; empty: not offered
	Threshold int64  `yaml:"threshold"` // bytes from which a file becomes a link; default 10485760
	MaxFile   int64  `yaml:"max_file"`  // bytes of one; default 2147483648
	Total     int64  `yaml:"total"`     // bytes of all of one person; default 10737418240
	Days      int    `yaml:"days"`      // how long a link holds at most; default 30
	Clamd     string `yaml:"clamd"`     // virus scanner: unix:PATH or host:port; empty: none looks
}

// ContentConfig is the origin of its own where strangers' documents are shown.
type ContentConfig struct {
	BaseURL    string `yaml:"base_url"`           // another host name than the portal's; empty: documents are shown on the portal's, in a sandbox
	Listen     string `yaml:"listen"`             // host:port; empty: where the portal listens, under this host name
	NoPictures bool   `yaml:"no_remote_pictures"` // remote pictures are never fetched, whoever asks
}

// DAVConfig says where the calendar and contact servers are. Agenda and
// contacts are each absent when their address is empty.
type DAVConfig struct {
	CalDAV   string        `yaml:"caldav"`   // URL to start discovery from; {login} stands for the person's login
	CardDAV  string        `yaml:"carddav"`  // the same
	Auth     string        `yaml:"auth"`     // "bearer" (default) or "header"
	Header   string        `yaml:"header"`   // with auth: header, the header that names the person, e.g. X-Remote-User
	CAFile   string        `yaml:"ca_file"`  // empty: the system's authorities
	Audience string        `yaml:"audience"` // of the bearer token; default "dav"
	Timeout  time.Duration `yaml:"timeout"`  // of one answer; default 10s
}

func (c Config) withDefaults() Config {
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"openid", "profile", "email", "groups", "offline_access", "applications", "people", "mail", "dav"}
	}
	if c.TimeZone == "" {
		c.TimeZone = "Europe/Paris"
	}
	if c.Check <= 0 || c.Check > 30*time.Second {
		c.Check = 30 * time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 5 * time.Minute
	}
	if c.SharedLock <= 0 {
		c.SharedLock = 5 * time.Minute
	}
	setDefault(&c.Mail.Audience, "imap")
	setDefault(&c.Mail.IMAPTLS, "tls")
	setDefault(&c.Mail.SubmissionTLS, "tls")
	setDefault(&c.Mail.SieveTLS, "starttls")
	setDefault(&c.DAV.Audience, "dav")
	setDefault(&c.DAV.Auth, "bearer")
	if c.Mail.Timeout <= 0 {
		c.Mail.Timeout = 15 * time.Second
	}
	if c.Mail.MaxMessage <= 0 {
		c.Mail.MaxMessage = 28 << 20 // 20 MB of files, encoded
	}
	if c.Mail.Connections <= 0 {
		c.Mail.Connections = 4
	}
	if c.DAV.Timeout <= 0 {
		c.DAV.Timeout = 10 * time.Second
	}
	return c
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// Location is the time zone of the agenda.
func (c Config) Location() *time.Location {
	loc, err := time.LoadLocation(c.withDefaults().TimeZone)
	if err != nil { // refused by Validate
		return time.UTC
	}
	return loc
}

// Validate names every mistake with its key, below "portal.".
func (c Config) Validate() []error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("portal.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if err := origin(c.BaseURL); err != nil {
		bad("base_url", "%v", err)
	}
	if err := secureURL(c.Issuer); err != nil {
		bad("issuer", "%v", err)
	}
	if c.ClientID == "" {
		bad("client_id", "is missing")
	}
	if c.ClientSecret == "" && c.ClientSecretFile == "" {
		bad("client_secret_file", "is missing")
	} else if _, err := c.secret(); err != nil {
		bad("client_secret_file", "%v", err)
	}
	if c.TimeZone != "" {
		if _, err := time.LoadLocation(c.TimeZone); err != nil {
			bad("time_zone", "%q is not a zone of the IANA database", c.TimeZone)
		}
	}
	for key, file := range map[string]string{"ca_file": c.CAFile, "mail.ca_file": c.Mail.CAFile, "mail.signers_file": c.Mail.SignersFile, "dav.ca_file": c.DAV.CAFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			bad(key, "%v", err)
		}
	}
	if c.SharedLock < 0 || c.SharedLock > time.Hour {
		bad("shared_lock", "is between 1s and 1h")
	}
	c.Mail.validate(bad)
	c.Mail.Content.validate(bad, c.BaseURL)
	c.DAV.validate(bad)
	return errs
}

func (c MailConfig) validate(bad func(key, format string, args ...any)) {
	if c.Undo > mostUndo {
		bad("mail.undo", "is at most %s", mostUndo)
	}
	for i, f := range c.Functions {
		if err := f.check(); err != nil {
			bad(fmt.Sprintf("mail.functions[%d]", i), "%v", err)
		}
	}
	if f := c.Files; f.Dir != "" {
		for key, n := range map[string]int64{"threshold": f.Threshold, "max_file": f.MaxFile, "total": f.Total, "days": int64(f.Days)} {
			if n < 0 {
				bad("mail.files."+key, "is not below zero")
			}
		}
		if f.MaxFile > 0 && f.Total > 0 && f.MaxFile > f.Total {
			bad("mail.files.max_file", "is more than all files together (mail.files.total)")
		}
		if _, _, err := net.SplitHostPort(f.Clamd); f.Clamd != "" && err != nil && !strings.HasPrefix(f.Clamd, "unix:/") {
			bad("mail.files.clamd", "%q is neither unix:/PATH nor host:port", f.Clamd)
		}
	}
	if c.IMAP == "" && c.Submission == "" {
		return
	}
	switch c.Auth {
	case "", "oauthbearer", "xoauth2":
	case "master":
		if c.MasterUser == "" {
			bad("mail.master_user", "is missing: who opens everybody's mailbox")
		}
		if _, err := os.Stat(c.MasterPasswordFile); err != nil {
			bad("mail.master_password_file", "%v", err)
		}
		for _, server := range []struct{ key, mode string }{{"imap", c.IMAPTLS}, {"submission", c.SubmissionTLS}} {
			if server.mode == "none" {
				bad("mail."+server.key+"_tls", "a master password goes encrypted only")
			}
		}
	default:
		bad("mail.auth", "is oauthbearer, xoauth2 or master, not %q", c.Auth)
	}
	servers := []struct{ key, addr, tls string }{
		{"mail.imap", c.IMAP, c.IMAPTLS}, {"mail.submission", c.Submission, c.SubmissionTLS}, {"mail.sieve", c.Sieve, c.SieveTLS}}
	if c.Sieve == "" {
		servers = servers[:2]
	}
	for _, server := range servers {
		host, _, err := net.SplitHostPort(server.addr)
		if err != nil {
			bad(server.key, "%q is not host:port", server.addr)
			continue
		}
		switch server.tls {
		case "", "tls", "starttls":
		case "none":
			if !loopback(host) {
				bad(server.key+"_tls", "without encryption only a loopback address is reached, not %q", host)
			}
		default:
			bad(server.key+"_tls", "is tls, starttls or none, not %q", server.tls)
		}
	}
}

// mostUndo: whoever waits longer for an answer thinks that nothing was sent.
const mostUndo = time.Minute

func (c ContentConfig) validate(bad func(key, format string, args ...any), portal string) {
	if c.BaseURL == "" {
		if c.Listen != "" {
			bad("mail.content.base_url", "is missing: the address under which browsers find mail.content.listen")
		}
		return
	}
	if err := origin(c.BaseURL); err != nil {
		bad("mail.content.base_url", "%v", err)
		return
	}
	content, _ := url.Parse(c.BaseURL)
	if other, err := url.Parse(portal); err == nil && strings.EqualFold(content.Host, other.Host) {
		bad("mail.content.base_url", "is the portal's own; another host name keeps what strangers wrote away from it")
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			bad("mail.content.listen", "%q is not host:port", c.Listen)
		}
	}
}

func (c DAVConfig) validate(bad func(key, format string, args ...any)) {
	for key, address := range map[string]string{"dav.caldav": c.CalDAV, "dav.carddav": c.CardDAV} {
		if address == "" {
			continue
		}
		if err := secureURL(strings.ReplaceAll(address, "{login}", "x")); err != nil {
			bad(key, "%v", err)
		}
	}
	switch c.Auth {
	case "", "bearer":
	case "header":
		if c.Header == "" {
			bad("dav.header", "names the header that the server trusts; it is missing")
		}
	default:
		bad("dav.auth", "is bearer or header, not %q", c.Auth)
	}
}

func (c Config) secret() (secret.String, error) {
	if c.ClientSecret != "" {
		return c.ClientSecret, nil
	}
	text, err := os.ReadFile(c.ClientSecretFile)
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(text))
	if value == "" {
		return "", fmt.Errorf("%s is empty", c.ClientSecretFile)
	}
	return secret.String(value), nil
}

func origin(text string) error {
	if err := secureURL(text); err != nil {
		return err
	}
	u, _ := url.Parse(text)
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is more than scheme and host", text)
	}
	return nil
}

// secureURL accepts https anywhere and http on loopback.
func secureURL(text string) error {
	if text == "" {
		return errors.New("is missing")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return fmt.Errorf("%q is not an address", text)
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q: https, or http on a loopback address", text)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
