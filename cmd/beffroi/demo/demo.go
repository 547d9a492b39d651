// Package demo is the one-machine trial: a sample academy and the servers that
// an academy has (directory, mail, calendars and contacts, two small tools),
// inside this process, on loopback ports, reached by their real protocols. It
// promises that nothing outside the process and its folder is touched, that the
// same people keep the same identities over restarts, and that Close leaves
// nothing running. cmd/beffroi starts it and runs Beffroi itself against it,
// from a configuration file that it writes like an operator would.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"beffroi/internal/secret"
)

// Password is every sample person's.
const Password = "Beffroi-59!"

// TOTPSecret is the second factor that TOTPLogins start with (base32).
const TOTPSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// TOTPLogins have their second factor from the start; the others enrol.
var TOTPLogins = []string{"mdupont", "jmartin", "aadmin"}

// Options say where a demo lives.
type Options struct {
	Dir      string // its state; created
	Provider string // host:port to listen on
	Portal   string
	Content  string // of mail documents
	Admin    string
	Log      *slog.Logger
}

// Demo is the running servers.
type Demo struct {
	Config  string // the configuration file written for Beffroi
	Issuer  string
	Portal  string
	Content string // of mail documents
	LDAP    string // addresses of the sample servers
	IMAP    string
	SMTP    string
	DAV     string
	Sample  *Sample

	closers []func()
}

// resourceSecrets are made once for each demo.
var resourceSecrets = []string{"portal", "imap", "dav", "proconnect", "mailer"}

// Start starts the academy's servers and writes the configuration.
func Start(o Options) (d *Demo, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d = &Demo{Config: filepath.Join(o.Dir, "beffroi.yaml"), Sample: Academy()}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if d.Issuer, err = origin("localhost", o.Provider); err != nil {
		return nil, err
	}
	if d.Portal, err = origin("127.0.0.1", o.Portal); err != nil {
		return nil, err
	}
	if d.Content, err = origin("127.0.0.1", o.Content); err != nil {
		return nil, err
	}
	secrets, err := prepare(o.Dir)
	if err != nil {
		return nil, err
	}
	ldap, err := StartLDAP("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, func() { _ = ldap.Close() })
	people := d.Sample.Accounts()
	introspect := func(id string) Introspector {
		i := NewIntrospector(IntrospectConfig{URL: "http://" + o.Provider + "/oauth2/introspect", ClientID: id, Secret: secrets[id]})
		d.closers = append(d.closers, i.Close)
		return i.Introspect
	}
	mail, err := StartMail(MailConfig{IMAPAddr: "127.0.0.1:0", SubmissionAddr: "127.0.0.1:0", Introspect: introspect("imap"), People: people, Mailer: secrets["mailer"], Outside: filepath.Join(o.Dir, "outside"), Log: o.Log})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, func() { _ = mail.Close(context.Background()) })
	dav, err := StartDAV(DAVConfig{Addr: "127.0.0.1:0", Introspect: introspect("dav"), People: people, Log: o.Log})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, func() { _ = dav.Close(context.Background()) })
	tool, err := StartTool(ToolConfig{ClientID: "demo-tool", Secret: "demo-tool-secret", Issuer: d.Issuer, Portal: d.Portal, Name: "Outil de démonstration"})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, tool.Close)
	direction, err := StartTool(ToolConfig{ClientID: "direction-tool", Secret: "direction-tool-secret", Issuer: d.Issuer, Portal: d.Portal, Name: "Outil de direction"})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, direction.Close)
	d.LDAP, d.IMAP, d.SMTP, d.DAV = "ldap://"+ldap.Addr, mail.IMAPAddr, mail.SubmissionAddr, dav.URL
	ldapPassword := filepath.Join(o.Dir, "secrets", "ldap")
	if err := os.WriteFile(ldapPassword, []byte(ldap.BindPassword+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	schools := filepath.Join(o.Dir, "schools.csv")
	if err := os.WriteFile(schools, []byte(d.Sample.SchoolLines()), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return d, d.writeConfig(configValues{
		Dir: o.Dir, Provider: o.Provider, PortalAddr: o.Portal, ContentAddr: o.Content, Content: d.Content, Admin: o.Admin, Issuer: d.Issuer, Portal: d.Portal,
		LDAP: "ldap://" + ldap.Addr, BindDN: ldap.BindDN, BaseDN: ldap.BaseDN, IMAP: mail.IMAPAddr, Submission: mail.SubmissionAddr, DAV: dav.URL,
		Tool: tool.URL, Direction: direction.URL, SIRET: d.Sample.Schools[0].SIRET,
	})
}

// Guest is a sample person to try the demo as.
type Guest struct{ Login, About, Factor string }

// Guests are the people to sign in as, those of the README.
func (d *Demo) Guests() []Guest {
	var all []Guest
	for _, login := range []string{"mdupont", "jmartin", "ssmith", "plefebvre", "lwattrelos", "aadmin", "xpartenaire"} {
		p, ok := d.Sample.Person(login)
		if !ok {
			continue
		}
		g := Guest{Login: login, About: p.DisplayName + ", " + p.Title, Factor: "enrols at first sign-in"}
		if slices.Contains(TOTPLogins, login) {
			g.Factor = "ready"
		}
		all = append(all, g)
	}
	return all
}

// Close stops every server.
func (d *Demo) Close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
	d.closers = nil
}

// origin is what browsers call a listening address: passkeys need the name
// localhost for the provider; the portal's 127.0.0.1 shares no cookie with it.
func origin(host, addr string) (string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" || port == "0" {
		return "", fmt.Errorf("demo: %q is not an address such as 127.0.0.1:8080", addr)
	}
	return (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}).String(), nil
}

// prepare creates what a demo keeps: the sealing key and the secrets between
// its parts.
func prepare(dir string) (map[string]string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	key := filepath.Join(dir, "seal.key")
	if _, err := os.Stat(key); errors.Is(err, os.ErrNotExist) {
		if err := secret.CreateKeyFile(key); err != nil {
			return nil, err
		}
	}
	secrets := map[string]string{}
	for _, name := range resourceSecrets {
		path := filepath.Join(dir, "secrets", name)
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			text = []byte(secret.Random() + "\n")
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		secrets[name] = strings.TrimSpace(string(text))
	}
	for name, value := range map[string]string{"demo-tool": "demo-tool-secret", "direction-tool": "direction-tool-secret", "ticket-tool": "ticket-tool-secret"} {
		if err := os.WriteFile(filepath.Join(dir, "secrets", name), []byte(value+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	return secrets, nil
}

// Reset removes what a demo keeps, and only that: DIR may hold other files.
func Reset(dir string) error {
	var errs []error
	for _, name := range []string{"beffroi.yaml", "beffroi.db", "beffroi.db-wal", "beffroi.db-shm", "seal.key", "seeded", "schools.csv"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "outside")); err != nil {
		errs = append(errs, err)
	}
	for _, name := range append([]string{"ldap", "demo-tool", "direction-tool", "ticket-tool"}, resourceSecrets...) {
		if err := os.Remove(filepath.Join(dir, "secrets", name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

type configValues struct {
	Dir, Provider, PortalAddr, Admin, Issuer, Portal string
	ContentAddr, Content                             string
	LDAP, BindDN, BaseDN, IMAP, Submission, DAV      string
	Tool, Direction, SIRET                           string
}

var configText = template.Must(template.New("").Parse(`# Written by "beffroi demo" at each start. The ports of the sample servers change.
name: Académie de démonstration
seal_key_file: {{.Dir}}/seal.key
database: sqlite:{{.Dir}}/beffroi.db
admin: {{.Admin}}
log: {level: warn, format: text}

provider:
  listen: {{.Provider}}
  issuer: {{.Issuer}}
  assurance: 2
  signin:
    helpdesk_contact: assistance@academie.test
    group_names:
      tous-personnels: {fr: personnels de l’académie, en: academy staff}
      chefs-etablissement: {fr: chefs d’établissement, en: heads of school}
      helpdesk: {fr: assistance académique, en: helpdesk}
      securite: {fr: sécurité, en: security}
      partenaires: {fr: partenaires, en: partners}
    trust: 720h
    rules:
      - {name: heads of school tool, applications: [direction-tool], fresh: 10m, no_trust: true}
      - {name: the helpdesk, applications: [helpdesk], no_trust: true, assurance: 2}
  # People are told of changes by mail: read it in the portal.
  mail:
    submission: {{.Submission}}
    tls: none
    user: beffroi
    password_file: {{.Dir}}/secrets/mailer
    from: "Académie de démonstration <ne-pas-repondre@academie.test>"
  # Codes by e-mail, to addresses outside: beffroi demo mail ADDRESS prints what came there.
  mail_codes: {enabled: true, own_domains: [academie.test]}
  # Who helps whom: see the README.
  helpdesk:
    heads: true
    privileged: [securite, chefs-etablissement, helpdesk]
    sensitive: {groups: [comptes-sensibles]}
    delegations:
      - name: Assistance des écoles 0590001A et 0590002B
        helpers: {groups: [helpdesk]}
        schools: [0590001A, 0590002B]
        actions: [read, reset, pass, unlock, lock, open, sessions, keys, letter]
      - name: Sécurité
        helpers: {groups: [securite]}
        everyone: true
        actions: [read, lock, sessions, keys]
      - name: Outil de tickets
        helpers: {applications: [ticket-tool]}
        schools: [0590001A, 0590002B]
        actions: [read, reset]
  # What the State's federation is told; beffroi proconnect test plays it.
  proconnect:
    siret: "{{.SIRET}}"
    schools_file: {{.Dir}}/schools.csv
    mail_domains: [academie.test]
    phone: true
    chorusdt: {societe: EDU}
  applications:
    - id: portal
      name: {fr: Le portail, en: The portal}
      secret_file: {{.Dir}}/secrets/portal
      redirect_uris: ["{{.Portal}}/callback"]
      post_logout_redirect_uris: ["{{.Portal}}/signed-out"]
      backchannel_logout_uri: {{.Portal}}/backchannel-logout
      scopes: [openid, profile, email, groups, offline_access, applications, people, mail, dav]
      grants: [authorization_code, refresh_token, "urn:ietf:params:oauth:grant-type:token-exchange"]
      exchange_to: [imap, dav]
    - id: imap
      name: {fr: Serveur de courrier, en: Mail server}
      secret_file: {{.Dir}}/secrets/imap
      audience: imap
      scopes: [mail]
    - id: dav
      name: {fr: Agendas et contacts, en: Calendars and contacts}
      secret_file: {{.Dir}}/secrets/dav
      audience: dav
      scopes: [dav]
    - id: demo-tool
      name: {fr: Outil de démonstration, en: Demonstration tool}
      description: {fr: "Montre ce qu’une application apprend de vous", en: "Shows what an application learns about you"}
      secret_file: {{.Dir}}/secrets/demo-tool
      redirect_uris: ["http://127.0.0.1/callback", "{{.Tool}}callback"]
      frontchannel_logout_uri: {{.Tool}}signed-out
      frontchannel_logout_session_required: true
      scopes: [openid, profile, email, groups, offline_access]
      grants: [authorization_code, refresh_token, client_credentials]
      groups: [tous-personnels]
      home: {{.Tool}}
      icon: apps
      logo: {{.Tool}}logo.svg
      contact: outil@academie.test
      policy: https://academie.test/donnees
    - id: direction-tool
      name: {fr: Outil de direction, en: Heads of school tool}
      description: {fr: "Réservé aux chefs d’établissement", en: "For heads of school only"}
      secret_file: {{.Dir}}/secrets/direction-tool
      redirect_uris: ["http://127.0.0.1/callback"]
      scopes: [openid, profile, email, groups, offline_access]
      groups: [chefs-etablissement]
      home: {{.Direction}}
      icon: school
      logo: {{.Direction}}logo.svg
      contact: "+33 3 20 00 00 01"
    - id: ticket-tool
      name: {fr: Outil de tickets, en: Ticketing tool}
      description: {fr: "Agit par lui-même, à l’adresse /api/helpdesk", en: "Acts by itself, at /api/helpdesk"}
      secret_file: {{.Dir}}/secrets/ticket-tool
      scopes: ["helpdesk:reset"]
      grants: [client_credentials]
      contact: assistance@academie.test
    - id: proconnect
      name: {fr: ProConnect, en: ProConnect}
      profile: proconnect
      secret_file: {{.Dir}}/secrets/proconnect
      assurance: 1
      redirect_uris: ["http://127.0.0.1/proconnect/oidc-callback"]
      post_logout_redirect_uris: ["http://127.0.0.1/proconnect/logout-callback"]
    - id: demo-printer
      name: {fr: Imprimante de la salle des maîtres, en: Staff room printer}
      description: {fr: "Un appareil sans clavier", en: "A device without a keyboard"}
      public: true
      scopes: [openid, profile, email, offline_access]
      grants: ["urn:ietf:params:oauth:grant-type:device_code", refresh_token]
      groups: [tous-personnels]
      contact: assistance@academie.test

directory:
  urls: ["{{.LDAP}}"]
  bind_dn: "{{.BindDN}}"
  bind_password_file: {{.Dir}}/secrets/ldap
  base_dn: "{{.BaseDN}}"

portal:
  listen: {{.PortalAddr}}
  base_url: {{.Portal}}
  issuer: {{.Issuer}}
  client_id: portal
  client_secret_file: {{.Dir}}/secrets/portal
  help: assistance@academie.test
  mail:
    imap: {{.IMAP}}
    imap_tls: none
    files: {dir: {{.Dir}}/files}
    submission: {{.Submission}}
    submission_tls: none
    content: {base_url: "{{.Content}}", listen: {{.ContentAddr}}}
  dav:
    caldav: {{.DAV}}
    carddav: {{.DAV}}
`))

func (d *Demo) writeConfig(v configValues) error {
	var err error
	if v.Dir, err = filepath.Abs(v.Dir); err != nil {
		return err
	}
	var b strings.Builder
	if err := configText.Execute(&b, v); err != nil {
		return err
	}
	// Written aside and renamed: a command that reads it meanwhile sees one whole file.
	aside := d.Config + ".new"
	if err := os.WriteFile(aside, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return os.Rename(aside, d.Config)
}
