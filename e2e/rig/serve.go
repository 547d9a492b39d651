package rig

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"beffroi/internal/testpeer"
)

// Parts are the servers beside which Beffroi runs. Dovecot and Radicale may be missing: then the portal has no such module.
type Parts struct {
	Database string // sqlite:… or postgres://…
	Slapd    *testpeer.SlapdServer
	Dovecot  *testpeer.DovecotServer
	Radicale *testpeer.RadicaleServer

	// TLS puts the provider behind a proxy that speaks TLS, as in production: its issuer is https then.
	TLS       *testpeer.Certificate
	Assurance int // factors asked by applications that say nothing; 0 is 2

	Standby  *testpeer.SlapdServer // a second directory server with the same people, asked when the first is down
	Settings string                // further YAML of the section provider, indented by two spaces
	Portal   string                // further YAML of the section portal, the same
	Lookup   string                // further YAML of the section directory, the same
	Apps     string                // further applications, YAML list items indented by two spaces
	Env      []string

	ports [4]int // provider, portal, admin, proxy
}

// Ports reserves the addresses before the servers that must know them start. It gives the issuer.
func (p *Parts) Ports(t testing.TB) (issuer string) {
	t.Helper()
	for i := range p.ports {
		if p.ports[i] == 0 {
			p.ports[i] = testpeer.FreePort(t)
		}
	}
	if p.TLS != nil {
		return fmt.Sprintf("https://localhost:%d", p.ports[3])
	}
	return fmt.Sprintf("http://localhost:%d", p.ports[0])
}

// Introspection is what Dovecot is told to ask.
func (p *Parts) Introspection(t testing.TB) string {
	t.Helper()
	p.Ports(t)
	return fmt.Sprintf("http://imap:imap-secret-for-tests@localhost:%d/oauth2/introspect", p.ports[0])
}

// secrets of the applications in the configuration, by ID.
var secrets = map[string]string{
	"portal": "portal-secret-for-tests", "imap": "imap-secret-for-tests", "dav": "dav-secret-for-tests",
	"demo-tool": "demo-tool-secret", "direction-tool": "direction-tool-secret",
}

// Serve writes a configuration, checks it with "beffroi check" and starts "beffroi serve" on it.
func Serve(t testing.TB, p *Parts) *Beffroi {
	t.Helper()
	issuer := p.Ports(t)
	binary, dir := Binary(t), testpeer.Dir(t)
	b := &Beffroi{
		Provider: issuer, Portal: fmt.Sprintf("http://127.0.0.1:%d", p.ports[1]),
		Admin: fmt.Sprintf("http://127.0.0.1:%d", p.ports[2]), State: []string{"-config", filepath.Join(dir, "beffroi.yaml")}, binary: binary,
	}
	if out, err := exec.Command(binary, "key", "create", filepath.Join(dir, "seal.key")).CombinedOutput(); err != nil {
		t.Fatalf("key create: %v\n%s", err, out)
	}
	Write(t, filepath.Join(dir, "ldap.secret"), p.Slapd.ServicePassword)
	for id, value := range secrets {
		Write(t, filepath.Join(dir, id+".secret"), value)
	}
	Write(t, filepath.Join(dir, "beffroi.yaml"), p.config(b, dir))
	if p.TLS != nil {
		p.proxy(t)
	}
	b.Server = testpeer.StartProgram(t, testpeer.Program{
		Name: "beffroi serve", Path: binary, Args: append([]string{"serve"}, b.State...), Env: p.Env,
		Ready: func(output string) bool { return strings.Contains(output, `"msg":"ready"`) },
	})
	return b
}

// proxy speaks TLS for the provider until the test ends.
func (p *Parts) proxy(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.ports[3]))
	if err != nil {
		t.Fatal(err)
	}
	behind := &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", p.ports[0])}
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
	}}
	go server.ServeTLS(listener, p.TLS.CertFile, p.TLS.KeyFile)
	t.Cleanup(func() { server.Close() })
}

// Write makes a file that only its owner may read.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config is the configuration file as an operator would write it.
func (p *Parts) config(b *Beffroi, dir string) string {
	var y strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&y, format+"\n", args...) }
	line("name: Académie de test")
	line("seal_key_file: %s/seal.key", dir)
	line("database: %q", p.Database)
	line("admin: 127.0.0.1:%d", p.ports[2])
	if p.TLS != nil {
		line("trusted_proxies: [127.0.0.1/32]")
	}
	urls := []string{fmt.Sprintf("%q", p.Slapd.URL)}
	ca := p.Slapd.CAFile
	if p.Standby != nil {
		urls = append(urls, fmt.Sprintf("%q", p.Standby.URL))
		ca = p.bundle(dir)
	}
	line("directory:\n  urls: [%s]\n  start_tls: true\n  ca_file: %s\n  base_dn: %s\n  people_base: %s\n  groups_base: %s\n  bind_dn: %s\n  bind_password_file: %s/ldap.secret",
		strings.Join(urls, ", "), ca, p.Slapd.BaseDN, p.Slapd.PeopleDN, p.Slapd.GroupsDN, p.Slapd.ServiceDN, dir)
	if p.Lookup != "" {
		line("%s", strings.TrimRight(p.Lookup, "\n"))
	}
	line("portal:\n  listen: 127.0.0.1:%d\n  base_url: %s\n  issuer: %s\n  client_id: portal\n  client_secret_file: %s/portal.secret", p.ports[1], b.Portal, b.Provider, dir)
	if p.TLS != nil {
		line("  ca_file: %s", p.TLS.CAFile)
	}
	if p.Portal != "" {
		line("%s", strings.TrimRight(p.Portal, "\n"))
	}
	if p.Dovecot != nil {
		line("  mail:\n    imap: %s\n    imap_tls: starttls\n    submission: %s\n    submission_tls: starttls\n    sieve: %s\n    files: {dir: %s/files}\n    ca_file: %s", p.Dovecot.IMAP, p.Dovecot.Submission, p.Dovecot.Sieve, dir, p.Dovecot.CAFile)
	}
	if p.Radicale != nil {
		line("  dav:\n    caldav: %s/{login}/\n    carddav: %s/{login}/\n    auth: header\n    header: %s", p.Radicale.URL, p.Radicale.URL, p.Radicale.Header)
	}
	line("provider:\n  listen: 127.0.0.1:%d\n  issuer: %s\n  assurance: %d", p.ports[0], b.Provider, cmp.Or(p.Assurance, 2))
	if p.TLS != nil {
		line("  ca_file: %s", p.TLS.CAFile)
	}
	if p.Settings != "" {
		line("%s", strings.TrimRight(p.Settings, "\n"))
	}
	line("  applications:")
	line("  - id: portal\n    name: {fr: Le portail, en: The portal}\n    secret_file: %s/portal.secret\n    redirect_uris: [\"%s/callback\"]\n    post_logout_redirect_uris: [\"%s/signed-out\"]\n"+
		"    scopes: [openid, profile, email, groups, offline_access, applications, people, mail, dav]\n"+
		"    grants: [authorization_code, refresh_token, \"urn:ietf:params:oauth:grant-type:token-exchange\"]\n    exchange_to: [imap, dav]", dir, b.Portal, b.Portal)
	for id, scope := range map[string]string{"imap": "mail", "dav": "dav"} {
		line("  - id: %s\n    name: {fr: Serveur %s}\n    secret_file: %s/%s.secret\n    audience: %s\n    scopes: [%s]", id, id, dir, id, id, scope)
	}
	for id, group := range map[string]string{"demo-tool": "tous-personnels", "direction-tool": "chefs-etablissement"} {
		line("  - id: %s\n    name: {fr: Outil %s}\n    secret_file: %s/%s.secret\n    redirect_uris: [\"http://127.0.0.1/callback\"]\n    groups: [%s]\n    home: http://127.0.0.1:9/%s", id, id, dir, id, group, id)
	}
	y.WriteString(p.Apps)
	return y.String()
}

// bundle joins the authorities of both directory servers.
func (p *Parts) bundle(dir string) string {
	path := filepath.Join(dir, "directory-ca.pem")
	var all []byte
	for _, s := range []*testpeer.SlapdServer{p.Slapd, p.Standby} {
		text, err := os.ReadFile(s.CAFile)
		if err == nil {
			all = append(all, text...)
		}
	}
	if err := os.WriteFile(path, all, 0o600); err != nil {
		return p.Slapd.CAFile // beffroi then says what is wrong
	}
	return path
}
