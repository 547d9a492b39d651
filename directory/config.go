package directory

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"beffroi/internal/secret"
)

// Config says where the directory is and how it is read. Only URLs, BaseDN and
// the service account must be given.
type Config struct {
	// URLs are the servers in the order they are asked: the second is used only
	// while the first does not answer. "ldaps://annuaire.example.fr" or
	// "ldap://annuaire.example.fr:389".
	URLs     []string `yaml:"urls"`
	StartTLS bool     `yaml:"start_tls"` // on ldap:// addresses
	CAFile   string   `yaml:"ca_file"`   // PEM; the system's authorities when empty

	// Cleartext allows ldap:// without StartTLS to another machine, where
	// passwords can then be read on the way. Loopback needs no permission.
	Cleartext bool `yaml:"cleartext"`

	// The service account, which only searches.
	BindDN           string        `yaml:"bind_dn"`
	BindPasswordFile string        `yaml:"bind_password_file"`
	BindPassword     secret.String `yaml:"-"` // for trials and tests, instead of the file

	BaseDN     string `yaml:"base_dn"`
	PeopleBase string `yaml:"people_base"` // where people are; BaseDN when empty
	GroupsBase string `yaml:"groups_base"` // where groups are; BaseDN when empty. A group elsewhere counts for nothing

	Preset       string     `yaml:"preset"` // openldap (also called inetOrgPerson), supann, ent or ad; openldap when empty
	Attributes   Attributes `yaml:"attributes"`
	PeopleFilter string     `yaml:"people_filter"` // who is a person; the preset's when empty
	GroupFilter  string     `yaml:"group_filter"`  // which groups count; all that name a member when empty

	// Groups says how a person's groups are found: "memberof" reads them on the
	// person, which costs nothing but needs the server to keep the attribute;
	// "member" searches the groups that name the person; "both", the default,
	// joins the two.
	Groups       string `yaml:"groups"`
	NestedGroups bool   `yaml:"nested_groups"` // a group within a group counts

	PoolSize int           `yaml:"pool_size"` // connections of each of the two kinds to each server; 8 when 0
	Timeout  time.Duration `yaml:"timeout"`   // of each operation; 5 s when 0
	Remember time.Duration `yaml:"remember"`  // how old a Person may be; 60 s when 0, at most 60 s, never when negative

	Log *slog.Logger `yaml:"-"` // servers lost and found; nothing is logged when nil

	// LockoutDuration is the directory's own (pwdLockoutDuration): it tells
	// when a locked account opens again. Unknown when 0.
	LockoutDuration time.Duration `yaml:"lockout_duration"`
}

// Mistake is one thing wrong in a Config. Key is the configuration key, within
// the folder's section: "bind_password_file", "attributes.login".
type Mistake struct {
	Key     string
	Problem string
}

func (m *Mistake) Error() string { return m.Key + ": " + m.Problem }

const (
	defaultPoolSize = 8
	maxPoolSize     = 256
	defaultTimeout  = 5 * time.Second
	maxTimeout      = time.Minute
	maxRemember     = 60 * time.Second
)

// How groups are found.
const (
	groupsByMemberOf = "memberof"
	groupsByMember   = "member"
	groupsByBoth     = "both"
)

var attributeName = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)(;[A-Za-z0-9-]+)*$`)

// Validate returns every mistake, each a *Mistake naming its key; none when the
// configuration can be tried. It reads the files it names and asks no server.
func (c Config) Validate() []error {
	var mistakes []error
	wrong := func(key, format string, args ...any) {
		mistakes = append(mistakes, &Mistake{key, fmt.Sprintf(format, args...)})
	}
	c.validateServers(wrong)
	c.validateAccount(wrong)
	c.validateTree(wrong)
	c.validateAttributes(wrong)
	switch c.Groups {
	case "", groupsByMemberOf, groupsByMember, groupsByBoth:
	default:
		wrong("groups", "%q is none of memberof, member, both", c.Groups)
	}
	if c.PoolSize < 0 || c.PoolSize > maxPoolSize {
		wrong("pool_size", "%d is not between 1 and %d", c.PoolSize, maxPoolSize)
	}
	if c.Timeout < 0 || c.Timeout > maxTimeout {
		wrong("timeout", "%s is not between 0 and %s", c.Timeout, maxTimeout)
	}
	if c.Remember > maxRemember {
		wrong("remember", "%s is more than %s, which is promised to whoever closes an account", c.Remember, maxRemember)
	}
	if c.LockoutDuration < 0 {
		wrong("lockout_duration", "%s is negative", c.LockoutDuration)
	}
	return mistakes
}

func (c Config) validateServers(wrong func(key, format string, args ...any)) {
	if len(c.URLs) == 0 {
		wrong("urls", "no server is named")
	}
	for i, raw := range c.URLs {
		u, err := url.Parse(raw)
		switch {
		case err != nil:
			wrong("urls", "%q is not an address", raw)
			continue
		case u.Scheme != "ldap" && u.Scheme != "ldaps":
			wrong("urls", "%q begins with neither ldap:// nor ldaps://", raw)
			continue
		case u.Hostname() == "":
			wrong("urls", "%q names no host", raw)
			continue
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
			wrong("urls", "%q has more than a host and a port: the base goes to base_dn, the account to bind_dn", raw)
		case slices.Contains(c.URLs[:i], raw):
			wrong("urls", "%q stands twice", raw)
		}
		if u.Scheme == "ldap" && !c.StartTLS && !c.Cleartext && !loopback(u.Hostname()) {
			wrong("start_tls", "passwords would cross the network to %s in clear: use ldaps:// or start_tls: true", u.Host)
		}
	}
	if _, err := c.authorities(); err != nil {
		wrong("ca_file", "%v", err)
	}
}

func (c Config) validateAccount(wrong func(key, format string, args ...any)) {
	if c.BindDN == "" {
		wrong("bind_dn", "the account that searches is not named")
	} else if _, err := ldap.ParseDN(c.BindDN); err != nil && !strings.Contains(c.BindDN, "@") { // Active Directory also takes name@domain
		wrong("bind_dn", "%q is not a DN", c.BindDN)
	}
	if c.BindPassword != "" && c.BindPasswordFile != "" {
		wrong("bind_password_file", "a password is given beside the file")
		return
	}
	if _, err := c.password(); err != nil {
		wrong("bind_password_file", "%v", err)
	}
}

func (c Config) validateTree(wrong func(key, format string, args ...any)) {
	for _, base := range []struct{ key, dn string }{{"base_dn", c.BaseDN}, {"people_base", c.PeopleBase}, {"groups_base", c.GroupsBase}} {
		if base.dn == "" {
			if base.key == "base_dn" && (c.PeopleBase == "" || c.GroupsBase == "") {
				wrong("base_dn", "the top of the tree is not named")
			}
			continue
		}
		if _, err := ldap.ParseDN(base.dn); err != nil {
			wrong(base.key, "%q is not a DN", base.dn)
		}
	}
	for _, filter := range []struct{ key, text string }{{"people_filter", c.PeopleFilter}, {"group_filter", c.GroupFilter}} {
		if filter.text == "" {
			continue
		}
		if _, err := ldap.CompileFilter(filter.text); err != nil {
			wrong(filter.key, "%q is not an LDAP filter: %v", filter.text, err)
		}
	}
}

func (c Config) validateAttributes(wrong func(key, format string, args ...any)) {
	base, ok := presetOf(c.Preset)
	if !ok {
		wrong("preset", "%q is none of openldap, inetOrgPerson, supann, ent, ad", c.Preset)
		return
	}
	for _, name := range c.Attributes.names() {
		if *name.attribute != "" && *name.attribute != "-" && !attributeName.MatchString(*name.attribute) {
			wrong("attributes."+name.key, "%q is not the name of an attribute", *name.attribute)
		}
	}
	for _, name := range c.Attributes.Disabled {
		if name != "-" && !attributeName.MatchString(name) {
			wrong("attributes.disabled", "%q is not the name of an attribute", name)
		}
	}
	a := c.Attributes.or(base.attributes)
	for _, needed := range []struct{ key, attribute string }{{"id", a.ID}, {"login", a.Login}, {"group_name", a.GroupName}} {
		if needed.attribute == "" {
			wrong("attributes."+needed.key, "cannot be left out")
		}
	}
	if c.Groups != groupsByMember && a.MemberOf == "" {
		wrong("attributes.member_of", "is left out, so groups must be member")
	}
	if c.Groups != groupsByMemberOf && a.Member == "" {
		wrong("attributes.member", "is left out, so groups must be memberof")
	}
}

// settled is the configuration with every default filled in.
func (c Config) settled() Config {
	base, _ := presetOf(c.Preset)
	c.Attributes = c.Attributes.or(base.attributes)
	c.PeopleFilter = firstOf(c.PeopleFilter, base.peopleFilter)
	c.PeopleBase = firstOf(c.PeopleBase, c.BaseDN)
	c.GroupsBase = firstOf(c.GroupsBase, c.BaseDN)
	c.Groups = firstOf(c.Groups, groupsByBoth)
	if c.PoolSize == 0 {
		c.PoolSize = defaultPoolSize
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Remember == 0 {
		c.Remember = maxRemember
	}
	return c
}

// password reads the service account's password; one newline at its end, left
// there by an editor, is not part of it.
func (c Config) password() (string, error) {
	password := c.BindPassword.Reveal()
	if c.BindPasswordFile != "" {
		content, err := os.ReadFile(c.BindPasswordFile)
		if err != nil {
			return "", err
		}
		password = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	}
	if password == "" {
		// An empty one would be an anonymous bind that succeeds (RFC 4513 §5.1.2).
		return "", fmt.Errorf("the account's password is missing")
	}
	return password, nil
}

// authorities reads CAFile; nil means the system's.
func (c Config) authorities() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate", c.CAFile)
	}
	return pool, nil
}

// tls is the configuration for one server: its certificate must be for the host
// that its address names, from a known authority. There is no switch to waive it.
func (c Config) tls(host string) (*tls.Config, error) {
	roots, err := c.authorities()
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

// address is where to dial for a URL.
func address(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme])
}
