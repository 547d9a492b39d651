package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"beffroi/internal/secret"
)

// keysOf lists every key that a configuration struct knows.
func keysOf(t reflect.Type, prefix string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("yaml")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case options == "inline":
			all = append(all, keysOf(f.Type, prefix)...)
		case name == "-" || !f.IsExported():
		case name == "":
			all = append(all, prefix+f.Name+" (has no yaml tag)")
		default:
			all = append(all, prefix+name)
			all = append(all, keysOf(f.Type, prefix+name+".")...)
		}
	}
	return all
}

// keysIn lists the keys that a document has; elements of lists are one place.
func keysIn(n *yaml.Node, prefix string, found map[string]bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := prefix + n.Content[i].Value
			found[key] = true
			keysIn(n.Content[i+1], key+".", found)
		}
	case yaml.SequenceNode, yaml.DocumentNode:
		for _, c := range n.Content {
			keysIn(c, prefix, found)
		}
	}
}

func exampleText(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "beffroi.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestExampleDocumentsEveryKey(t *testing.T) {
	var tree yaml.Node
	if err := yaml.Unmarshal(exampleText(t), &tree); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	keysIn(&tree, "", found)
	keys := keysOf(reflect.TypeFor[Config](), "")
	if len(keys) < 90 {
		t.Fatalf("only %d keys were found: the walk is broken", len(keys))
	}
	for _, key := range keys {
		if !found[key] {
			t.Errorf("beffroi.example.yaml does not show %s", key)
		}
	}
}

// withFiles puts a real file under every path of /etc/beffroi that text names.
func withFiles(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	text = strings.ReplaceAll(text, "/etc/beffroi", dir)
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := secret.CreateKeyFile(filepath.Join(dir, "seal.key")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"portal", "imap", "dav", "ldap", "doveadm", "mail"} {
		if err := os.WriteFile(filepath.Join(dir, "secrets", name), []byte("a-secret-of-32-characters-or-more\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(testCA), 0o600); err != nil {
		t.Fatal(err)
	}
	return text
}

func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "beffroi.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadConfig(path)
}

func TestExampleIsSound(t *testing.T) {
	if _, err := load(t, withFiles(t, string(exampleText(t)))); err != nil {
		t.Fatal(err)
	}
}

func TestEveryMistakeIsReportedAtOnceWithKeyAndLine(t *testing.T) {
	text := withFiles(t, string(exampleText(t)))
	for from, to := range map[string]string{
		"name: Académie de Lille":            "name: Académie de Lille\nnmae: twice",
		"issuer: https://id.example.fr\n  s": "issuer: http://id.example.fr\n  s",
		"  assurance: 2           #":         "  assurance: 7           #",
		"code_life: 1m":                      "code_life: 5",
		"preset: openldap":                   "preset: novell",
		"/secrets/ldap":                      "/secrets/nowhere",
		"imap_tls: tls":                      "imap_tls: maybe",
		"https://glpi.example.fr/front":      "https://*.example.fr/front",
		"10.0.0.0/28":                        "ten",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("the example no longer has %q", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	_, err := load(t, text)
	if err == nil {
		t.Fatal("nine mistakes were accepted")
	}
	got := err.Error()
	for _, part := range []string{
		"nmae: is not a key", "provider.issuer:", "provider.assurance:", "5s" /* or a duration error */, "directory.preset:", "directory.bind_password_file:",
		"portal.mail.imap_tls:", `application "glpi"`, "trusted_proxies:",
	} {
		if part == "5s" {
			part = "code_life"
			if strings.Contains(got, "cannot unmarshal") {
				part = "cannot unmarshal"
			}
		}
		if !strings.Contains(got, part) {
			t.Errorf("nothing about %q in:\n%s", part, got)
		}
	}
	for _, line := range strings.Split(got, "\n")[1:] {
		if !strings.HasPrefix(line, "  line ") {
			t.Errorf("no line number: %s", line)
		}
	}
}

func TestWhatProConnectWouldRefuseIsRefusedAtStart(t *testing.T) {
	for from, change := range map[string]struct{ to, key string }{
		`siret: "17590000000019"`:                              {`siret: "17590000000018"`, "provider.proconnect.siret: "},
		`siret: "17590000000019" `:                             {`siret: "" `, "provider.proconnect.siret: is needed"},
		`siret: "19590002200011"`:                              {`siret: "19590002200012"`, "provider.proconnect.schools: 0590002B"},
		"mail_domains: [ac-lille.fr]":                          {"mail_domains: []", "provider.proconnect.mail_domains: "},
		`schools_file: ""`:                                     {"schools_file: /nowhere.csv", "provider.proconnect.schools_file: "},
		"      profile: proconnect\n":                          {"      profile: proconnect\n      groups: [tous-personnels]\n", `.groups: application "proconnect"`},
		"      profile: proconnect":                            {"      profile: proconnect\n      userinfo_alg: PS256", `.userinfo_alg: application "proconnect"`},
		"profile: proconnect":                                  {"profile: proconnect\n      auth_method: client_secret_basic", `.auth_method: application "proconnect"`},
		"https://auth.agentconnect.gouv.fr":                    {"http://auth.agentconnect.gouv.fr", `.redirect_uris: application "proconnect"`},
		"      secret_file: /etc/beffroi/secrets/proconnect\n": {"", `.secret_file: application "proconnect"`},
	} {
		example := string(exampleText(t))
		if !strings.Contains(example, from) {
			t.Fatalf("the example no longer has %q", from)
		}
		_, err := load(t, withFiles(t, strings.Replace(example, from, change.to, 1)))
		if err == nil || !strings.Contains(err.Error(), change.key) || !strings.Contains(err.Error(), "\n  line ") {
			t.Errorf("%q → %q: got %v", from, change.to, err)
		}
	}
}

func TestMisspeltListenHidesNothing(t *testing.T) {
	text := withFiles(t, string(exampleText(t)))
	text = strings.Replace(text, "  listen: 127.0.0.1:8081", "  lisen: 127.0.0.1:8081", 1)
	text = strings.Replace(text, "imap_tls: tls", "imap_tls: maybe", 1)
	_, err := load(t, text)
	if err == nil || !strings.Contains(err.Error(), "lisen") || !strings.Contains(err.Error(), "portal.mail.imap_tls") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutSealingKeyNothingStarts(t *testing.T) {
	text := withFiles(t, string(exampleText(t)))
	text = strings.Replace(text, "/seal.key", "/no.key", 1)
	if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), "seal_key_file") {
		t.Errorf("got %v", err)
	}
}

// testCA is a certificate of nobody: only its form is read.
const testCA = `-----BEGIN CERTIFICATE-----
MIIBhTCCASugAwIBAgIUKlhRCKjZt/t9uZ6mlDKLaGFyC78wCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMQmVmZnJvaSB0ZXN0MCAXDTI2MTEyMzE4NTkxNVoYDzIxMjYx
MDMwMTg1OTE1WjAXMRUwEwYDVQQDDAxCZWZmcm9pIHRlc3QwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAASqUbtRlg2rM1ZC/CcfLN4ABtkpMuMOro9Qb11fGFbLn9Y8
t3j/vwo+zCFm/ffuWUe5hb0Kg844Hj0NATnqwSmjo1MwUTAdBgNVHQ4EFgQUDji6
GYyrIbenJw0j3sTYRxyL8j4wHwYDVR0jBBgwFoAUDji6GYyrIbenJw0j3sTYRxyL
8j4wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAqRH6RIdGhFzo
5OgDlYwUdhx/n1GbSvf5N0G8t+cY7pcCICZ19sNgQ0voHhH8XjgVU/ZwMEmgtmzI
G13VPkP+G8ov
-----END CERTIFICATE-----
`
